/*
 * The engine's way of one method: commands and answers, waiting, cancelling, undoing. The test speaks for
 * QEMU, word by word, and does the bus thread's part (tests/engine/). What is kept in queues and who may run
 * is in test-engine-queue.c, states in test-engine-state.c, connections in test-engine-link.c.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"
#include "world.h"

static World *world;
static Guest *guest;

static void begin(const WorldOptions *options) ON_BUS_THREAD
{
	world = world_new(options);
	guest = guest_new(world, "vm", NULL);
	guest_boot(guest);
}

static void end(void) ON_BUS_THREAD
{
	world_free(world);
}

static bool is_paused(void)
{
	return guest->view->state == VM_STATE_PAUSED;
}

/* ---- answers ---- */
static void test_event_before_reply(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id;

	begin(NULL);
	call = world_call(guest, &operation_pause);
	id = guest_expect(guest, "stop");
	guest_event(guest, "STOP", NULL);
	guest_event(guest, "RTC_CHANGE", "{\"offset\": 1}");
	guest_return(guest, id, "{}");
	/* Who has the reply reads the new state, and has seen the events. */
	world_expect_ok(world, call);
	g_assert_true(is_paused());
	guest_expect_log(guest, "running>paused(user) STOP RTC_CHANGE Pause:ok");

	/* A second time there is nothing to be done. */
	world_expect_ok(world, world_call(guest, &operation_pause));
	guest_expect_silence(guest);
	guest_expect_log(guest, "Pause:ok");
	end();
}

static void test_event_during_wait(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id;

	begin(NULL);
	call = world_call(guest, &operation_pause);
	id = guest_expect(guest, "stop");
	/* A method in flight holds up no event. */
	guest_event(guest, "BALLOON_CHANGE", "{\"actual\": 1}");
	guest_expect_log(guest, "BALLOON_CHANGE");
	guest_event(guest, "STOP", NULL);
	guest_expect_log(guest, "running>paused(user) STOP");
	g_assert_cmpuint(call->n_replies, ==, 0);
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	end();
}

static void test_error(void) ON_BUS_THREAD
{
	Call *call;

	begin(NULL);
	call = world_call(guest, &operation_pause);
	guest_fail(guest, guest_expect(guest, "stop"), "not today");
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	g_assert_nonnull(strstr(call->error->message, "not today"));
	g_assert_cmpint(guest->view->state, ==, VM_STATE_RUNNING);
	g_assert_true(guest->view->responsive);
	end();
}

static void test_execute_qmp(void) ON_BUS_THREAD
{
	OperationArgs args = {.execute_qmp = {.command = g_strdup("{\"execute\": \"query-kvm\"}")}};
	Call *call;
	const char *text;

	begin(NULL);
	call = world_call_with(guest, &operation_execute_qmp, args);
	guest_return(guest, guest_expect(guest, "query-kvm"), "{\"enabled\": false}");
	world_expect_ok(world, call);
	g_variant_get(call->result, "(&s)", &text);
	g_assert_cmpstr(text, ==, "{\"enabled\": false}");

	args.execute_qmp.command = g_strdup("{\"execute\": 7}");
	world_expect(world, world_call_with(guest, &operation_execute_qmp, args), VM_ERROR_INVALID_ARGS);
	guest_expect_silence(guest);

	/* What may change something is followed by a look at what is true. */
	args.execute_qmp.command = g_strdup("{\"execute\": \"stop\"}");
	call = world_call_with(guest, &operation_execute_qmp, args);
	guest_return(guest, guest_expect(guest, "stop"), "{}");
	guest_return(guest, guest_expect(guest, "query-status"), "{\"status\": \"paused\"}");
	world_expect_ok(world, call);
	WORLD_UNTIL(world, is_paused());
	g_assert_true(guest_log_has(guest, "running>paused(resync) STOP@resync"));
	end();
}

/* ---- waiting for an event ---- */
static bool run_wait_deleted(Operation *op, GError **error) NO_THREAD_SAFETY_ANALYSIS
{
	return operation_execute_and_wait(op, "device_del", NULL, EVENT_DEVICE_DELETED, "/a", error);
}
static const OperationType wait_deleted = {
	"Detach", VM_LANE_QMP, DEADLINE_DEVICE, true, run_wait_deleted, NULL};

static void test_event_and_reply(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id;

	begin(NULL);
	/* One that came before was somebody else's. */
	guest_event(guest, "RESET", NULL);
	guest_expect_log(guest, "RESET");
	for (unsigned round = 0; round < 2; round++) {
		call = world_call(guest, &operation_reset);
		id = guest_expect(guest, "system_reset");
		if (round == 0)
			guest_event(guest, "RESET", NULL);
		else
			guest_return(guest, id, "{}");
		guest_event(guest, "BALLOON_CHANGE", "{\"actual\": 1}");
		WORLD_UNTIL(world, guest_log_has(guest, "BALLOON_CHANGE"));
		g_assert_cmpuint(call->n_replies, ==, 0);
		if (round == 0)
			guest_return(guest, id, "{}");
		else
			guest_event(guest, "RESET", NULL);
		world_expect_ok(world, call);
		g_string_truncate(guest->log, 0);
	}
	end();
}

static void test_event_of_a_key(void) ON_BUS_THREAD
{
	Call *call;

	begin(NULL);
	call = world_call(guest, &wait_deleted);
	guest_return(guest, guest_expect(guest, "device_del"), "{}");
	guest_event(guest, "DEVICE_DELETED", "{\"path\": \"/b\"}");
	guest_event(guest, "DEVICE_DELETED", "{\"path\": \"/a/virtio-backend\"}");
	guest_expect_log(guest, "DEVICE_DELETED DEVICE_DELETED");
	g_assert_cmpuint(call->n_replies, ==, 0);
	guest_event(guest, "DEVICE_DELETED", "{\"device\": \"x\", \"path\": \"/a\"}");
	world_expect_ok(world, call);
	end();
}

static void test_event_never_comes_after_error(void) ON_BUS_THREAD
{
	Call *call;

	begin(NULL);
	call = world_call(guest, &wait_deleted);
	guest_fail(guest, guest_expect(guest, "device_del"), "no such device");
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	end();
}

/* ---- QEMU that does not answer ---- */
static const WorldOptions quick = {.deadline_scale = 0.02}; /* a command has 0.2 s */

static void test_timeout(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id;

	begin(&quick);
	call = world_call(guest, &operation_pause);
	id = guest_expect(guest, "stop");
	world_expect(world, call, VM_ERROR_TIMEOUT);
	g_assert_false(guest->view->responsive);
	g_assert_cmpuint(guest->view->unresponsive_since_usec, >, 0);
	guest_expect_log(guest, "Pause:Timeout");

	/* The next ones fail at once, and say nothing to QEMU. */
	call = world_call(guest, &operation_reset);
	world_expect(world, call, VM_ERROR_UNRESPONSIVE);
	guest_expect_silence(guest);

	/* It was carried out after all: any answer shows that QEMU is back, and what is true is asked. */
	guest_return(guest, id, "{}");
	id = guest_expect(guest, "query-status");
	WORLD_UNTIL(world, guest->view->responsive);
	guest_return(guest, id, "{\"status\": \"paused\", \"running\": false}");
	guest_expect_log(guest, "Reset:Unresponsive running>paused(resync) STOP@resync");
	g_assert_cmpuint(guest->view->unresponsive_since_usec, ==, 0);
	call = world_call(guest, &operation_resume);
	guest_return(guest, guest_expect(guest, "cont"), "{}");
	world_expect_ok(world, call);
	end();
}

static void test_timeout_of_the_event(void) ON_BUS_THREAD
{
	Call *call;

	begin(&quick);
	call = world_call(guest, &wait_deleted);
	guest_return(guest, guest_expect(guest, "device_del"), "{}");
	world_expect(world, call, VM_ERROR_TIMEOUT);
	/* It answered: it is awake. */
	g_assert_true(guest->view->responsive);
	end();
}

static void test_late_and_given_up(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id, late_id;

	begin(NULL);
	call = world_call(guest, &operation_pause);
	late_id = guest_expect(guest, "stop");
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, call->id), ==, 0);
	world_expect(world, call, VM_ERROR_CANCELLED);
	/* The next command has its own answer; the late one is nobody's, and causes a look. */
	call = world_call(guest, &operation_reset);
	id = guest_expect(guest, "system_reset");
	guest_event(guest, "STOP", NULL);
	guest_return(guest, late_id, "{}");
	guest_return(guest, guest_expect(guest, "query-status"), "{\"status\": \"paused\"}");
	guest_event(guest, "RESET", NULL);
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	guest_expect_log(guest, "Pause:Cancelled running>paused(user) STOP RESET Reset:ok");
	end();
}

static void test_garbage(void) ON_BUS_THREAD
{
	Call *call;

	begin(NULL);
	call = world_call(guest, &operation_pause);
	guest_expect(guest, "stop");
	guest_say(guest, "this is no QMP");
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	/* It is reached again, and asked. */
	guest_accept(guest);
	guest_handshake(guest);
	guest_return(guest, guest_expect(guest, "query-status"), "{\"status\": \"running\"}");
	WORLD_UNTIL(world, guest->view->responsive);
	end();
}

/* ---- cancelling ---- */
static void test_cancel(void) ON_BUS_THREAD
{
	Call *call, *other;

	begin(NULL);
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, 0), ==, -ENOENT);
	call = world_call(guest, &operation_pause);
	other = world_call(guest, &operation_reset);
	guest_expect(guest, "stop");
	/* By number: one that is queued, or another's, is not the current one. */
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, other->id), ==, -ENOENT);
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, call->id + 1000), ==, -ENOENT);
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_AGENT, call->id), ==, -ENOENT);
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, call->id), ==, 0);
	world_expect(world, call, VM_ERROR_CANCELLED);
	/* And 0 for whoever it is. */
	guest_expect(guest, "system_reset");
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, 0), ==, 0);
	world_expect(world, other, VM_ERROR_CANCELLED);
	guest_expect_log(guest, "Pause:Cancelled Reset:Cancelled");
	end();
}

static bool run_committed(Operation *op, GError **error) NO_THREAD_SAFETY_ANALYSIS
{
	return operation_commit(op, error) && operation_execute(op, "committed", NULL, NULL, error);
}
static const OperationType committed = {
	"Committed", VM_LANE_QMP, DEADLINE_COMMAND, true, run_committed, NULL};

static void test_cancel_too_late(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id;

	begin(NULL);
	call = world_call(guest, &committed);
	id = guest_expect(guest, "committed");
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, call->id), ==, -EALREADY);
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, 0), ==, -EALREADY);
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	end();
}

/* ---- undoing ---- */
static atomic_int undo_result; /* of the last undo step: 0, or the code of its error + 1 */
static GString *undo_order;    /* the worker's until the reply */

static void undo_first(Operation *op)
{
	g_string_append(undo_order, "first ");
}

static void undo_by_command(Operation *op) NO_THREAD_SAFETY_ANALYSIS
{
	g_autoptr(GError) error = NULL;

	g_string_append(undo_order, "command ");
	operation_execute(op, "undo", NULL, NULL, &error);
	atomic_store(&undo_result, error ? error->code + 1 : 0);
}

static void undo_last(Operation *op)
{
	g_string_append(undo_order, "last ");
}

static bool run_with_undo(Operation *op, GError **error) NO_THREAD_SAFETY_ANALYSIS
{
	operation_push_undo(op, undo_first);
	operation_push_undo(op, undo_by_command);
	operation_push_undo(op, undo_last);
	return operation_execute(op, "try", NULL, NULL, error);
}
static const OperationType with_undo = {"Try", VM_LANE_QMP, DEADLINE_COMMAND, true, run_with_undo, NULL};

static void begin_undo(void) ON_BUS_THREAD
{
	begin(NULL);
	undo_order = g_string_new(NULL);
	atomic_store(&undo_result, -1);
}

static void end_undo(const char *order) ON_BUS_THREAD
{
	g_assert_cmpstr(undo_order->str, ==, order);
	g_string_free(undo_order, TRUE);
	end();
}

static void test_undo(void) ON_BUS_THREAD
{
	Call *call;

	begin_undo();
	call = world_call(guest, &with_undo);
	guest_fail(guest, guest_expect(guest, "try"), "no");
	guest_return(guest, guest_expect(guest, "undo"), "{}");
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	g_assert_nonnull(strstr(call->error->message, "no"));
	g_assert_cmpint(atomic_load(&undo_result), ==, 0);
	end_undo("last command first ");
}

static void test_no_undo_after_success(void) ON_BUS_THREAD
{
	Call *call;

	begin_undo();
	call = world_call(guest, &with_undo);
	guest_return(guest, guest_expect(guest, "try"), "{}");
	world_expect_ok(world, call);
	end_undo("");
}

static void test_undo_ignores_cancel(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id;

	begin_undo();
	call = world_call(guest, &with_undo);
	guest_expect(guest, "try");
	operation_cancel(guest->vm, VM_LANE_QMP, call->id);
	id = guest_expect(guest, "undo");
	/* A second time, and by another way. */
	operation_cancel(guest->vm, VM_LANE_QMP, call->id);
	guest_event(guest, "BALLOON_CHANGE", "{\"actual\": 1}");
	guest_expect_log(guest, "BALLOON_CHANGE");
	g_assert_cmpint(atomic_load(&undo_result), ==, -1);
	guest_return(guest, id, "{}");
	world_expect(world, call, VM_ERROR_CANCELLED);
	g_assert_cmpint(atomic_load(&undo_result), ==, 0);
	end_undo("last command first ");
}

static void test_undo_heeds_exit(void) ON_BUS_THREAD
{
	Call *call;

	begin_undo();
	call = world_call(guest, &with_undo);
	guest_fail(guest, guest_expect(guest, "try"), "no");
	guest_expect(guest, "undo");
	guest_die(guest, SIGTERM);
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	g_assert_cmpint(atomic_load(&undo_result), ==, VM_ERROR_QEMU_FAILED + 1);
	end_undo("last command first ");
}

/* ---- the exit ---- */
static void test_exit_during_wait(void) ON_BUS_THREAD
{
	Call *call;

	begin(NULL);
	call = world_call(guest, &operation_pause);
	guest_expect(guest, "stop");
	g_assert_cmpint(write(guest->output, "the last words\n", 15), ==, 15);
	guest_die(guest, SIGTERM);
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	g_assert_nonnull(strstr(call->error->message, "signal 15"));
	g_assert_nonnull(strstr(call->error->message, "the last words"));
	guest_expect_log(guest, "running>crashed(qemu-exit) EXIT@roost Pause:QemuFailed");
	g_assert_cmpuint(guest->view->pid, ==, 0);
	g_assert_true(guest->view->last_exit.known && guest->view->last_exit.has_signal);
	g_assert_cmpint(guest->view->last_exit.signal, ==, SIGTERM);
	g_assert_cmpstr(guest->view->last_exit.message, ==, "the last words");
	end();
}

static void test_last_words_come_first(void) ON_BUS_THREAD
{
	begin(NULL);
	/* What it said before it ended is applied before its end. */
	guest_event(guest, "SHUTDOWN", "{\"guest\": false, \"reason\": \"host-signal\"}");
	guest_die(guest, SIGTERM);
	WORLD_UNTIL(world, guest_log_has(guest, "SHUTDOWN") && guest_log_has(guest, "EXIT@roost"));
	g_assert_true(strstr(guest->log->str, "SHUTDOWN") < strstr(guest->log->str, "EXIT@roost"));
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	end();
}

static atomic_bool holds_lock;

/* Holds the VM lock while QEMU exits: the exit is filed, and not applied, when it asks QEMU. */
static bool run_late_question(Operation *op, GError **error) NO_THREAD_SAFETY_ANALYSIS
{
	uint64_t until_usec = world_patience();
	bool filed = false;

	atomic_store(&holds_lock, true);
	while (!filed) {
		world_check_patience(until_usec, G_STRLOC, "the exit is filed");
		leaf_lock(&op->vm->mail.mutex);
		filed = op->vm->mail.n_exits != op->vm->n_exits;
		leaf_unlock(&op->vm->mail.mutex);
	}
	return operation_execute(op, "question", NULL, NULL, error);
}
static const OperationType late_question = {
	"Question", VM_LANE_QMP, DEADLINE_COMMAND, true, run_late_question, NULL};

static void test_exit_before_wait(void) ON_BUS_THREAD
{
	Call *call;

	begin(NULL);
	atomic_store(&holds_lock, false);
	call = world_call(guest, &late_question);
	WORLD_UNTIL(world, atomic_load(&holds_lock));
	g_assert_cmpint(write(guest->output, "bad option\n", 11), ==, 11);
	guest_die(guest, SIGTERM);
	/* Its own words, whoever was quicker. */
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	g_assert_nonnull(strstr(call->error->message, "bad option"));
	end();
}

static void test_other_vm_unharmed(void) ON_BUS_THREAD
{
	Guest *other;
	Call *call, *quick_call;
	uint64_t id;

	begin(NULL);
	other = guest_new(world, "other", NULL);
	guest_boot(other);
	call = world_call(guest, &operation_pause);
	id = guest_expect(guest, "stop");
	quick_call = world_call(other, &operation_reset);
	guest_return(other, guest_expect(other, "system_reset"), "{}");
	guest_event(other, "RESET", NULL);
	world_expect_ok(world, quick_call);
	g_assert_cmpuint(call->n_replies, ==, 0);
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	end();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_bus);
	g_test_add_func("/engine/event-before-reply", test_event_before_reply);
	g_test_add_func("/engine/event-during-wait", test_event_during_wait);
	g_test_add_func("/engine/error", test_error);
	g_test_add_func("/engine/execute-qmp", test_execute_qmp);
	g_test_add_func("/engine/event-and-reply", test_event_and_reply);
	g_test_add_func("/engine/event-of-a-key", test_event_of_a_key);
	g_test_add_func("/engine/event-never-comes-after-error", test_event_never_comes_after_error);
	g_test_add_func("/engine/timeout", test_timeout);
	g_test_add_func("/engine/timeout-of-the-event", test_timeout_of_the_event);
	g_test_add_func("/engine/late-and-given-up", test_late_and_given_up);
	g_test_add_func("/engine/garbage", test_garbage);
	g_test_add_func("/engine/cancel", test_cancel);
	g_test_add_func("/engine/cancel-too-late", test_cancel_too_late);
	g_test_add_func("/engine/undo", test_undo);
	g_test_add_func("/engine/no-undo-after-success", test_no_undo_after_success);
	g_test_add_func("/engine/undo-ignores-cancel", test_undo_ignores_cancel);
	g_test_add_func("/engine/undo-heeds-exit", test_undo_heeds_exit);
	g_test_add_func("/engine/exit-during-wait", test_exit_during_wait);
	g_test_add_func("/engine/last-words-come-first", test_last_words_come_first);
	g_test_add_func("/engine/exit-before-wait", test_exit_before_wait);
	g_test_add_func("/engine/other-vm-unharmed", test_other_vm_unharmed);
	return g_test_run();
}
