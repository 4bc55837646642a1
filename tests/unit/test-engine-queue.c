/*
 * Who may run, and what takes a place away: Kill, deadlines, the bounds, and the engine's own work.
 * tests/engine/ has the world; test-engine.c the way of one method.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "util/clock.h"
#include "world.h"

static World *world;
static Guest *guest;
static Gate gate;

static void begin(const WorldOptions *options) ON_BUS_THREAD
{
	world = world_new(options);
	guest = guest_new(world, "vm", NULL);
	gate_init(&gate);
}

static void end(void) ON_BUS_THREAD
{
	world_free(world);
	gate_done(&gate);
}

/* ---- operations that block ---- */
static atomic_uint n_touched; /* runs that went on after the system call */

/* A system call that takes long; no QEMU is needed. */
static bool run_blocked(Operation *op, GError **error) NO_THREAD_SAFETY_ANALYSIS
{
	operation_block(op);
	gate_pass(&gate);
	if (!operation_unblock(op, error))
		return false;
	atomic_fetch_add(&n_touched, 1);
	op->vm->revision++;
	op->vm->dirty = true;
	return true;
}
static const OperationType blocked = {"Blocked", VM_LANE_QMP, DEADLINE_COMMAND, false, run_blocked, NULL};

static bool run_committed(Operation *op, GError **error) NO_THREAD_SAFETY_ANALYSIS
{
	return operation_commit(op, error) && run_blocked(op, error);
}
static const OperationType committed = {
	"Committed", VM_LANE_QMP, DEADLINE_COMMAND, false, run_committed, NULL};

static bool run_nothing(Operation *op, GError **error)
{
	return true;
}
static const OperationType nothing = {"Nothing", VM_LANE_QMP, DEADLINE_COMMAND, false, run_nothing, NULL};
static const OperationType agent_nothing = {
	"AgentNothing", VM_LANE_AGENT, DEADLINE_COMMAND, false, run_nothing, NULL};

static void test_in_order(void) ON_BUS_THREAD
{
	Call *calls[LANE_QUEUE_MAX + 1], *call = NULL;
	g_autoptr(GError) error = NULL;
	LanePicture picture;

	begin(NULL);
	calls[0] = world_call(guest, &blocked);
	for (unsigned i = 1; i <= LANE_QUEUE_MAX; i++)
		calls[i] = world_call(guest, &nothing);
	/* The twelfth: told who holds the place. */
	g_assert_false(world_try_call(guest, &nothing, NULL, &call, &error));
	g_assert_error(error, VM_ERROR, VM_ERROR_BUSY);
	g_assert_nonnull(strstr(error->message, "Blocked"));
	lane_look(&guest->vm->lanes[VM_LANE_QMP], &picture);
	g_assert_cmpuint(picture.n_queued, ==, LANE_QUEUE_MAX);
	g_assert_cmpuint(picture.current_id, ==, calls[0]->id);
	g_assert_cmpuint(picture.deadline_usec, >, picture.since_usec);

	/* The agent's lane is another. */
	world_expect_ok(world, world_call(guest, &agent_nothing));
	gate_open(&gate);
	for (unsigned i = 0; i <= LANE_QUEUE_MAX; i++)
		world_expect_ok(world, calls[i]);
	guest_expect_log(guest,
		"AgentNothing:ok Blocked:ok Nothing:ok Nothing:ok Nothing:ok Nothing:ok Nothing:ok "
		"Nothing:ok Nothing:ok Nothing:ok Nothing:ok Nothing:ok");
	end();
}

static void test_take_back(void) ON_BUS_THREAD
{
	Call *first, *second, *third;

	begin(NULL);
	first = world_call(guest, &blocked);
	second = world_call(guest, &nothing);
	third = world_call(guest, &nothing);
	g_assert_false(operation_take_back(guest->vm, VM_LANE_QMP, first->id));
	g_assert_true(operation_take_back(guest->vm, VM_LANE_QMP, second->id));
	g_assert_false(operation_take_back(guest->vm, VM_LANE_QMP, second->id));
	gate_open(&gate);
	world_expect_ok(world, third);
	/* It will not come. */
	guest_expect_log(guest, "Blocked:ok Nothing:ok");
	g_assert_cmpuint(second->n_replies, ==, 0);
	end();
}

/* ---- deadlines ---- */
static void test_expire_queued(void) ON_BUS_THREAD
{
	Call *first, *second;

	begin(NULL);
	first = world_call(guest, &blocked);
	second = world_call(guest, &nothing);
	g_assert_cmpint(operation_expire(guest->vm, VM_LANE_QMP, second->id), ==, OPERATION_EXPIRY_GONE);
	g_assert_cmpint(operation_expire(guest->vm, VM_LANE_QMP, second->id), ==, OPERATION_EXPIRY_NONE);
	gate_open(&gate);
	world_expect_ok(world, first);
	WORLD_UNTIL(world, guest_is_at_rest(guest));
	g_assert_cmpuint(second->n_replies, ==, 0);
	g_assert_cmpint(operation_expire(guest->vm, VM_LANE_QMP, first->id), ==, OPERATION_EXPIRY_NONE);
	end();
}

static void test_expire_blocked(void) ON_BUS_THREAD
{
	Call *lost, *next;
	uint64_t revision;

	begin(NULL);
	revision = guest->view->revision;
	atomic_store(&n_touched, 0);
	lost = world_call(guest, &blocked);
	gate_wait(&gate, 1, 0);
	next = world_call(guest, &nothing);
	g_assert_cmpint(operation_expire(guest->vm, VM_LANE_QMP, lost->id), ==, OPERATION_EXPIRY_GONE);
	/* Its successor has the place, while it still hangs. */
	world_expect_ok(world, next);
	WORLD_UNTIL(world, guest_is_at_rest(guest));
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, lost->id), ==, -ENOENT);

	/* When it comes back it touches nothing, and answers nobody. */
	gate_open(&gate);
	gate_wait(&gate, 1, 1);
	world_expect_ok(world, world_call(guest, &nothing));
	g_assert_true(workers_wait_idle(world->engine->workers, world_patience()));
	world_turn(world, 0);
	g_assert_cmpuint(atomic_load(&n_touched), ==, 0);
	g_assert_cmpuint(lost->n_replies, ==, 0);
	g_assert_cmpuint(guest->view->revision, ==, revision);
	guest_expect_log(guest, "Nothing:ok Nothing:ok");
	end();
}

static void test_expire_committed(void) ON_BUS_THREAD
{
	Call *late, *next;

	begin(NULL);
	late = world_call(guest, &committed);
	gate_wait(&gate, 1, 0);
	next = world_call(guest, &nothing);
	/* Its caller is told that it takes too long, but the place is kept. */
	g_assert_cmpint(operation_expire(guest->vm, VM_LANE_QMP, late->id), ==, OPERATION_EXPIRY_LATE);
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, late->id), ==, -EALREADY);
	world_turn(world, 10);
	g_assert_cmpuint(next->n_replies, ==, 0);
	gate_open(&gate);
	world_expect_ok(world, late);
	world_expect_ok(world, next);
	g_assert_cmpuint(guest->view->revision, ==, 2);
	guest_expect_log(guest, "Committed:ok Nothing:ok");
	end();
}

static void test_turn_came_too_late(void) ON_BUS_THREAD
{
	static const WorldOptions quick = {.deadline_scale = 0.03};
	Call *first, *second;
	uint64_t until_usec;

	begin(&quick);
	first = world_call(guest, &committed);
	second = world_call(guest, &nothing);
	until_usec = clock_monotonic_usec() + engine_deadline_usec(world->engine, DEADLINE_COMMAND);
	WORLD_UNTIL(world, clock_monotonic_usec() > until_usec);
	gate_open(&gate);
	world_expect_ok(world, first);
	world_expect(world, second, VM_ERROR_TIMEOUT);
	end();
}

static void test_cancel_blocked(void) ON_BUS_THREAD
{
	Call *call;

	begin(NULL);
	atomic_store(&n_touched, 0);
	call = world_call(guest, &blocked);
	gate_wait(&gate, 1, 0);
	g_assert_cmpint(operation_cancel(guest->vm, VM_LANE_QMP, call->id), ==, 0);
	gate_open(&gate);
	world_expect(world, call, VM_ERROR_CANCELLED);
	g_assert_cmpuint(atomic_load(&n_touched), ==, 0);
	end();
}

/* ---- threads ---- */
static void test_limit(void) ON_BUS_THREAD
{
	static const WorldOptions two = {.max_workers = 3, .reserved_workers = 1};
	g_autoptr(GError) error = NULL;
	Guest *guests[3];
	Call *calls[3], *call = NULL;

	begin(&two);
	guests[0] = guest;
	guests[1] = guest_new(world, "second", NULL);
	guests[2] = guest_new(world, "third", NULL);
	calls[0] = world_call(guests[0], &blocked);
	calls[1] = world_call(guests[1], &blocked);
	gate_wait(&gate, 2, 0);
	g_assert_false(world_try_call(guests[2], &blocked, NULL, &call, &error));
	g_assert_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED);
	/* Nothing has happened: not even a place is taken. */
	g_assert_true(guest_is_at_rest(guests[2]));
	/* One that QEMU answered for a moment ago has the reserve. */
	atomic_store(&guests[2]->vm->last_answer_usec, clock_monotonic_usec());
	calls[2] = world_call(guests[2], &blocked);
	gate_wait(&gate, 3, 0);
	gate_open(&gate);
	for (unsigned i = 0; i < 3; i++)
		world_expect_ok(world, calls[i]);
	g_assert_true(workers_wait_idle(world->engine->workers, world_patience()));
	world_expect_ok(world, world_call(guests[2], &nothing));
	end();
}

static void test_lost_and_no_thread(void) ON_BUS_THREAD
{
	static const WorldOptions one = {.max_workers = 1};
	Call *lost, *second, *third;

	begin(&one);
	lost = world_call(guest, &blocked);
	gate_wait(&gate, 1, 0);
	second = world_call(guest, &nothing);
	third = world_call(guest, &nothing);
	/* The stuck one has the only thread: its successors fail, each once. */
	g_assert_cmpint(operation_expire(guest->vm, VM_LANE_QMP, lost->id), ==, OPERATION_EXPIRY_GONE);
	world_expect(world, second, VM_ERROR_LIMIT_REACHED);
	world_expect(world, third, VM_ERROR_LIMIT_REACHED);
	g_assert_true(guest_is_at_rest(guest));
	gate_open(&gate);
	g_assert_true(workers_wait_idle(world->engine->workers, world_patience()));
	world_expect_ok(world, world_call(guest, &nothing));
	g_assert_cmpuint(lost->n_replies, ==, 0);
	end();
}

/* ---- Kill ---- */
static void test_kill_during_wait(void) ON_BUS_THREAD
{
	Call *call, *rename;
	uint64_t before;

	begin(NULL);
	guest_boot(guest);
	call = world_call(guest, &operation_pause);
	rename = world_call(guest, &nothing);
	guest_expect(guest, "stop");
	/* The QEMU does not answer, the monitor stays open: that keeps nobody. */
	before = operation_next_id();
	g_assert_true(vm_kill(guest->vm, before, VM_REASON_KILLED));
	world_expect(world, call, VM_ERROR_CANCELLED);
	/* What needs no QEMU is not cancelled. */
	world_expect_ok(world, rename);
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_KILLED);
	g_assert_cmpint(guest->view->last_exit.signal, ==, SIGKILL);
	g_assert_true(guest_log_has(guest, "running>off(killed) EXIT@roost"));
	g_assert_cmpuint(guest->vm->mail.n_exits, ==, 1);
	/* There is none any more. */
	g_assert_false(vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED));
	end();
}

static void test_kill_cancels_queued(void) ON_BUS_THREAD
{
	Call *first, *second;

	begin(NULL);
	guest_boot(guest);
	first = world_call(guest, &blocked);
	second = world_call(guest, &operation_pause);
	gate_wait(&gate, 1, 0);
	vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
	/* The bus thread takes queued ones back; one that it left is refused when its turn comes. */
	gate_open(&gate);
	world_expect_ok(world, first);
	world_expect(world, second, VM_ERROR_CANCELLED);
	WORLD_UNTIL(world, guest->view->pid == 0);
	end();
}

static void test_kill_before_process(void) ON_BUS_THREAD
{
	Call *call;

	begin(NULL);
	world_start_gate = &gate;
	call = guest_start(guest);
	gate_wait(&gate, 1, 0);
	/* There is no process to be seen yet. */
	g_assert_false(vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED));
	gate_open(&gate);
	world_expect(world, call, VM_ERROR_CANCELLED);
	world_start_gate = NULL;
	WORLD_UNTIL(world, guest->view->pid == 0 && guest->view->state == VM_STATE_OFF);
	g_assert_cmpint(guest->view->last_exit.signal, ==, SIGKILL);
	/* One that is accepted afterwards starts. */
	guest_accept(guest);
	g_string_truncate(guest->log, 0);
	WORLD_UNTIL(world, guest_is_at_rest(guest));
	guest_boot(guest);
	end();
}

static void test_kill_during_start(void) ON_BUS_THREAD
{
	Call *call;

	begin(NULL);
	call = guest_start(guest);
	guest_accept(guest);
	guest_handshake(guest);
	guest_expect(guest, "cont");
	g_assert_true(vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED));
	world_expect(world, call, VM_ERROR_CANCELLED);
	WORLD_UNTIL(world, guest->view->pid == 0 && guest->view->state == VM_STATE_OFF);
	end();
}

static void test_kill_unresponsive(void) ON_BUS_THREAD
{
	static const WorldOptions quick = {.deadline_scale = 0.02};

	begin(&quick);
	guest_boot(guest);
	world_expect(world, world_call(guest, &operation_pause), VM_ERROR_TIMEOUT);
	g_assert_false(guest->view->responsive);
	g_assert_true(vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED));
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	g_assert_true(guest->view->responsive);
	end();
}

static atomic_bool lock_held, lock_wanted_back;

static void hold_lock(void *data) NO_THREAD_SAFETY_ANALYSIS
{
	vm_lock(data);
	atomic_store(&lock_held, true);
	while (!atomic_load(&lock_wanted_back))
		g_thread_yield();
	vm_unlock(data);
}

static bool has_waiter(const Guest *of)
{
	bool waits;

	leaf_lock(&of->vm->mail.mutex);
	waits = of->vm->mail.waiters[VM_LANE_QMP] != NULL;
	leaf_unlock(&of->vm->mail.mutex);
	return waits;
}

static bool exit_is_filed(const Guest *of)
{
	bool filed;

	leaf_lock(&of->vm->mail.mutex);
	filed = of->vm->mail.n_exits > 0;
	leaf_unlock(&of->vm->mail.mutex);
	return filed;
}

static void test_kill_after_reply(void) ON_BUS_THREAD
{
	pthread_t holder;
	Call *call;
	uint64_t id;

	begin(NULL);
	guest_boot(guest);
	call = world_call(guest, &operation_pause);
	id = guest_expect(guest, "stop");
	WORLD_UNTIL(world, has_waiter(guest));
	/* The answer comes, but before the lock is its again QEMU is killed. */
	g_assert_cmpint(thread_start_joinable(&holder, "holder", &role_worker, hold_lock, guest->vm), ==, 0);
	WORLD_UNTIL(world, atomic_load(&lock_held));
	guest_return(guest, id, "{}");
	WORLD_UNTIL(world, !has_waiter(guest));
	vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
	WORLD_UNTIL(world, exit_is_filed(guest));
	atomic_store(&lock_wanted_back, true);
	thread_join(holder);
	world_expect(world, call, VM_ERROR_CANCELLED);
	end();
}

/* ---- the engine's own work ---- */
static bool has_record(const Guest *of)
{
	ProcessRecord record;

	return runtime_dir_read_process(world->runtime_dir, of->vm->uuid, &record) == 0;
}

static bool has_folder(const Guest *of)
{
	g_autofree char *path = runtime_dir_vm_path(world->runtime_dir, of->vm->uuid);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void test_cleanup(void) ON_BUS_THREAD
{
	begin(NULL);
	guest_boot(guest);
	g_assert_true(has_record(guest));
	vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
	WORLD_UNTIL(world, !has_folder(guest));
	end();
}

static void test_cleanup_after_operation(void) ON_BUS_THREAD
{
	Call *call, *next;

	begin(NULL);
	guest_boot(guest);
	call = world_call(guest, &committed);
	next = world_call(guest, &nothing);
	gate_wait(&gate, 1, 0);
	vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
	/* The lane is taken: it waits its turn, and goes before the queue. */
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_true(has_folder(guest));
	gate_open(&gate);
	world_expect_ok(world, call);
	world_expect_ok(world, next);
	g_assert_false(has_folder(guest));
	end();
}

static void test_cleanup_spares_the_next(void) ON_BUS_THREAD
{
	unsigned n_slots = 0;
	Guest *other;

	begin(NULL);
	other = guest_new(world, "other", NULL);
	guest_boot(guest);
	/* All slots are taken: the cleanup stands in line, and a Start is quicker. */
	while (internal_slot_take(other->vm, false))
		n_slots++;
	g_assert_cmpuint(n_slots, ==, world->engine->max_internal);
	vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_string_truncate(guest->log, 0);
	guest_boot(guest);
	while (n_slots-- > 0)
		internal_slot_give(world->engine);
	g_assert_true(workers_wait_idle(world->engine->workers, world_patience()));
	world_expect_ok(world, world_call(guest, &nothing));
	g_assert_true(has_record(guest));
	end();
}

static void test_slots_go_round(void) ON_BUS_THREAD
{
	Guest *guests[12];
	unsigned n_slots = 0;

	begin(NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(guests); i++) {
		g_autofree char *name = g_strdup_printf("vm%u", i);

		guests[i] = guest_new(world, name, NULL);
		guest_boot(guests[i]);
	}
	while (internal_slot_take(guest->vm, false))
		n_slots++;
	for (unsigned i = 0; i < G_N_ELEMENTS(guests); i++)
		vm_kill(guests[i]->vm, operation_next_id(), VM_REASON_KILLED);
	for (unsigned i = 0; i < G_N_ELEMENTS(guests); i++)
		WORLD_UNTIL(world, guests[i]->view->pid == 0);
	/* One slot is enough for all that stand in line. */
	internal_slot_give(world->engine);
	for (unsigned i = 0; i < G_N_ELEMENTS(guests); i++)
		WORLD_UNTIL(world, !has_folder(guests[i]));
	while (--n_slots > 0)
		internal_slot_give(world->engine);
	g_assert_true(workers_wait_idle(world->engine->workers, world_patience()));
	g_assert_cmpuint(world->engine->n_internal, ==, 0);
	end();
}

static void test_lost_place_and_wanted(void) ON_BUS_THREAD
{
	Call *lost;

	begin(NULL);
	guest_boot(guest);
	lost = world_call(guest, &blocked);
	gate_wait(&gate, 1, 0);
	vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_true(has_folder(guest));
	/* The place is free, nobody waits for it, and the stuck one may never come back. */
	g_assert_cmpint(operation_expire(guest->vm, VM_LANE_QMP, lost->id), ==, OPERATION_EXPIRY_GONE);
	WORLD_UNTIL(world, !has_folder(guest));
	gate_open(&gate);
	end();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_bus);
	g_test_add_func("/engine-queue/in-order", test_in_order);
	g_test_add_func("/engine-queue/take-back", test_take_back);
	g_test_add_func("/engine-queue/expire-queued", test_expire_queued);
	g_test_add_func("/engine-queue/expire-blocked", test_expire_blocked);
	g_test_add_func("/engine-queue/expire-committed", test_expire_committed);
	g_test_add_func("/engine-queue/turn-came-too-late", test_turn_came_too_late);
	g_test_add_func("/engine-queue/cancel-blocked", test_cancel_blocked);
	g_test_add_func("/engine-queue/limit", test_limit);
	g_test_add_func("/engine-queue/lost-and-no-thread", test_lost_and_no_thread);
	g_test_add_func("/engine-queue/kill/during-wait", test_kill_during_wait);
	g_test_add_func("/engine-queue/kill/cancels-queued", test_kill_cancels_queued);
	g_test_add_func("/engine-queue/kill/before-process", test_kill_before_process);
	g_test_add_func("/engine-queue/kill/during-start", test_kill_during_start);
	g_test_add_func("/engine-queue/kill/unresponsive", test_kill_unresponsive);
	g_test_add_func("/engine-queue/kill/after-reply", test_kill_after_reply);
	g_test_add_func("/engine-queue/cleanup", test_cleanup);
	g_test_add_func("/engine-queue/cleanup-after-operation", test_cleanup_after_operation);
	g_test_add_func("/engine-queue/cleanup-spares-the-next", test_cleanup_spares_the_next);
	g_test_add_func("/engine-queue/slots-go-round", test_slots_go_round);
	g_test_add_func("/engine-queue/lost-place-and-wanted", test_lost_place_and_wanted);
	return g_test_run();
}
