#include "bus/calls.h"

#include <errno.h>
#include <string.h>

#include "bus/autostart.h"
#include "bus/errors.h"
#include "bus/problems.h"
#include "bus/properties.h"
#include "bus/publish.h"
#include "bus/senders.h"
#include "bus/variant.h"
#include "util/clock.h"
#include "util/log.h"

/* ---- the life of a call ---- */
/* It is answered, or nobody waits for the answer any more: it counts no longer. */
static void close_call(Call *call)
{
	Bus *bus = call->bus;

	call->message = sd_bus_message_unref(call->message);
	senders_leave(call);
	if (call->counted) {
		void *key = GUINT_TO_POINTER(call->uid);
		unsigned n = GPOINTER_TO_UINT(g_hash_table_lookup(bus->calls_by_uid, key));

		g_assert(n > 0);
		if (n == 1)
			g_hash_table_remove(bus->calls_by_uid, key);
		else
			g_hash_table_insert(bus->calls_by_uid, key, GUINT_TO_POINTER(n - 1));
		call->counted = false;
	}
}

static void leave_young(Call *call)
{
	if (call->young)
		g_queue_unlink(&call->bus->young, &call->young_link);
	call->young = false;
}

static void leave_due(Call *call)
{
	if (call->due_line >= 0)
		g_queue_unlink(&call->bus->due[call->due_line], &call->due_link);
	call->due_line = -1;
}

/* Its operation is done or given up, or it was a Kill that is answered: it does not hold the VM any more. */
static void leave_vm(Call *call)
{
	leave_young(call);
	leave_due(call);
	if (!call->vm)
		return;
	if (call->type) {
		g_queue_unlink(&call->vm->calls, &call->vm_link);
		g_hash_table_remove(call->bus->calls_by_id, &call->id);
	} else {
		g_queue_unlink(&call->vm->kills, &call->vm_link);
		call->bus->n_kills--;
	}
	g_clear_pointer(&call->vm, bus_vm_unref);
}

static void call_free(Call *call)
{
	close_call(call);
	leave_vm(call);
	g_free(call->sender_name);
	g_free(call);
}

void calls_take(Bus *bus, sd_bus_message *message, const MemberRow *row)
{
	const char *sender = sd_bus_message_get_sender(message);
	Call *call = g_new0(Call, 1);

	call->bus = bus;
	call->message = sd_bus_message_ref(message);
	call->row = row;
	call->due_line = -1;
	call->sender_name = g_strdup(sender ? sender : "");
	if (sender)
		senders_take(call, sender);
	else
		call_unidentified(call);
}

/* ---- answers ---- */
static void answer_error(Call *call, const GError *error)
{
	if (call->message) {
		int r = error_reply(call->message, error);

		if (r < 0 && !call->bus->lost)
			log_warning("%s: a reply could not be sent: %s", call->row->name, g_strerror(-r));
	}
	close_call(call);
}

/* Fails a call that has no operation (any more). */
static void fail(Call *call, GError *error_consume)
{
	answer_error(call, error_consume);
	g_error_free(error_consume);
	call_free(call);
}

static int append_result(sd_bus_message *reply, const Bus *bus, const Operation *op) ON_BUS_THREAD
{
	if (op->type == &operation_define)
		return sd_bus_message_append(reply, "o", bus_vm_of(op->vm)->path);
	if (op->type == &operation_validate)
		return problems_append_validation(reply, bus, op);
	return op->result ? variant_append_body(reply, op->result, op->fd) : 0;
}

/* Answers with what the operation brought; NULL: nothing. */
static void answer_result(Call *call, const Operation *op) ON_BUS_THREAD
{
	sd_bus_message *reply = NULL;
	int r = 0;

	if (call->message && sd_bus_message_get_expect_reply(call->message)) {
		r = sd_bus_message_new_method_return(call->message, &reply);
		if (r >= 0 && op)
			r = append_result(reply, call->bus, op);
		if (r >= 0)
			r = sd_bus_send(call->bus->connection, reply, NULL);
		sd_bus_message_unref(reply);
	}
	if (r < 0) {
		g_autoptr(GError) error = g_error_new(VM_ERROR,
			r == -EMFILE || r == -ENFILE ? VM_ERROR_LIMIT_REACHED : VM_ERROR_FAILED,
			"%s: done, but the reply could not be sent: %s", call->row->name, g_strerror(-r));

		answer_error(call, error);
	}
	close_call(call);
}

void call_reply_problems(Call *call, const GPtrArray *problems)
{
	sd_bus_message *reply = NULL;
	int r = 0;

	if (call->message && sd_bus_message_get_expect_reply(call->message)) {
		r = sd_bus_message_new_method_return(call->message, &reply);
		if (r >= 0)
			r = problems_append(reply, problems);
		if (r >= 0)
			r = sd_bus_send(call->bus->connection, reply, NULL);
		sd_bus_message_unref(reply);
	}
	if (r < 0)
		log_warning("%s: a reply could not be sent: %s", call->row->name, g_strerror(-r));
	call_free(call);
}

void call_reply_empty(Call *call)
{
	answer_result(call, NULL);
	call_free(call);
}

/* ---- who calls ---- */
bool call_count(Call *call, GError **error)
{
	void *key = GUINT_TO_POINTER(call->uid);
	unsigned n = GPOINTER_TO_UINT(g_hash_table_lookup(call->bus->calls_by_uid, key));

	if (n >= CALLS_UID_MAX) {
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED,
			"%s: %u calls of uid %u are not answered yet", call->row->name, n, call->uid);
		return false;
	}
	g_hash_table_insert(call->bus->calls_by_uid, key, GUINT_TO_POINTER(n + 1));
	call->counted = true;
	return true;
}

void call_identified(Call *call, uint32_t uid)
{
	GError *error = NULL;

	assert_bus_thread(__func__);
	if (call->begun)
		return;
	call->begun = true;
	call->uid = uid;
	if (!member_begin(call, &error))
		fail(call, error);
}

void call_unidentified(Call *call)
{
	fail(call, g_error_new(VM_ERROR, VM_ERROR_ACCESS_DENIED, "%s: the bus does not tell who calls",
			   call->row->name));
}

/* The VM that was made for it goes with the last reference. */
static void forget_validation(Bus *bus, BusVm *bv)
{
	bus->n_validating--;
	bus_vm_unref(bv);
}

/* Its operation will never come: what was reserved for it is free again. */
static void abandon(Call *call) ON_BUS_THREAD
{
	if (call->type == &operation_rename)
		registry_settle_name(call->bus->registry, call->vm->vm, false);
	else if (call->type == &operation_validate)
		forget_validation(call->bus, call->vm);
}

/* The caller left the bus: what waits is taken back, what runs is carried out. */
void call_drop(Call *call)
{
	BusVm *bv = call->vm;

	assert_bus_thread(__func__);
	close_call(call);
	if (!bv || !call->type || operation_take_back(bv->vm, call->type->lane, call->id)) {
		if (bv) {
			bus_vm_ref(bv);
			abandon(call);
		}
		call_free(call);
		if (bv) {
			publish_overlay(bv);
			bus_vm_unref(bv);
		}
	}
}

/* ---- operations ---- */
static void set_due(Call *call, int line, uint64_t due_usec)
{
	leave_due(call);
	call->due_line = line;
	call->due_usec = due_usec;
	call->due_link.data = call;
	g_queue_push_tail_link(&call->bus->due[line], &call->due_link);
	timer_set(&call->bus->calls_timer, due_usec);
}

static void enter_vm(Call *call, BusVm *bv, GQueue *list)
{
	call->vm = bus_vm_ref(bv);
	call->vm_link.data = call;
	g_queue_push_tail_link(list, &call->vm_link);
	call->accepted_usec = clock_monotonic_usec();
}

bool call_submit(
	Call *call, BusVm *bv, const OperationType *type, OperationArgs *args_consume, GError **error)
{
	g_autoptr(Operation) op = NULL;

	assert_bus_thread(__func__);
	op = operation_new(type, bv->vm, args_consume);
	if (!operation_submit(op, error))
		return false;
	call->type = type;
	call->id = op->entry.id;
	call->since_usec = op->entry.since_usec;
	call->deadline_usec = op->entry.deadline_usec;
	enter_vm(call, bv, &bv->calls);
	g_hash_table_insert(call->bus->calls_by_id, &call->id, call);
	call->young = true;
	call->young_link.data = call;
	g_queue_push_tail_link(&call->bus->young, &call->young_link);
	timer_set(&call->bus->calls_timer, call->accepted_usec + CALLS_YOUNG_USEC);
	set_due(call, type->deadline, op->deadline_usec + CALLS_GRACE_USEC);
	return true;
}

/* What becomes of the VM, before it is told. */
static PublishChange settle(Bus *bus, BusVm *bv, const Operation *op) ON_BUS_THREAD
{
	if (op->type == &operation_define) {
		if (!op->error) {
			registry_publish(bus->registry, op->vm);
			return PUBLISH_NEW;
		}
		registry_remove(bus->registry, op->vm);
		bus_vm_unref(bv);
	} else if (op->type == &operation_undefine && !op->error) {
		registry_remove(bus->registry, op->vm);
		bus_vm_unref(bv);
		return PUBLISH_GONE;
	} else if (op->type == &operation_rename) {
		registry_settle_name(bus->registry, op->vm, !op->error);
	} else if (op->type == &operation_validate) {
		forget_validation(bus, bv);
	}
	return PUBLISH_PLAIN;
}

static void answer_operation(Call *call, const Operation *op) ON_BUS_THREAD
{
	size_t size = op->result ? g_variant_get_size(op->result) : 0;

	if (op->error) {
		answer_error(call, op->error);
	} else if (size > BUS_REPLY_MAX) {
		g_autoptr(GError) error = g_error_new(VM_ERROR, VM_ERROR_LIMIT_REACHED,
			"%s: done, but the reply would have %zu bytes, more than %u MiB", call->row->name,
			size, BUS_REPLY_MAX >> 20);

		answer_error(call, error);
	} else {
		answer_result(call, op);
	}
}

void calls_operation_done(Bus *bus, Operation *op)
{
	Call *call = g_hash_table_lookup(bus->calls_by_id, &op->entry.id);
	BusVm *bv = bus_vm_of(op->vm);
	PublishChange change;

	/* Without a call it comes late: it was answered already, but what it did is true all the same. */
	if (bv) {
		bus_vm_ref(bv);
		change = settle(bus, bv, op);
		if (call)
			leave_vm(call);
		publish_vm(bv, change);
		if (call)
			answer_operation(call, op);
		calls_look_at_kills(bv);
		bus_vm_unref(bv);
	}
	if (op->own)
		autostart_done(bus, op);
	if (call)
		call_free(call);
	operation_unref(op);
}

/* ---- Kill ---- */
static bool kill_waits_for(const BusVm *bv, uint64_t kill_id)
{
	for (const GList *l = bv->calls.head; l; l = l->next) {
		const Call *call = l->data;

		if (call->id < kill_id && call->type->needs_qemu)
			return true;
	}
	return false;
}

void calls_look_at_kills(BusVm *bv)
{
	GList *next;

	for (GList *l = bv->kills.head; l; l = next) {
		Call *call = l->data;

		next = l->next;
		if (bv->picture.view->n_exits < call->exits_wanted || kill_waits_for(bv, call->id))
			continue;
		call_reply_empty(call);
	}
}

/* Takes the VM's queued operations back that need QEMU and came before the Kill; answers them Cancelled. */
static void cancel_queued(BusVm *bv, uint64_t kill_id) ON_BUS_THREAD
{
	GQueue taken = G_QUEUE_INIT;
	GList *next;
	Call *call;

	for (GList *l = bv->calls.head; l; l = next) {
		call = l->data;
		next = l->next;
		if (call->id >= kill_id || !call->type->needs_qemu ||
			!operation_take_back(bv->vm, call->type->lane, call->id))
			continue;
		leave_vm(call);
		g_queue_push_tail(&taken, call);
	}
	publish_overlay(bv);
	while ((call = g_queue_pop_head(&taken)))
		fail(call,
			g_error_new(VM_ERROR, VM_ERROR_CANCELLED, "%s: cancelled by Kill", call->row->name));
}

void call_kill(Call *call, BusVm *bv)
{
	Bus *bus = call->bus;
	uint64_t length = (uint64_t)((double)ENGINE_KILL_USEC * bus->engine->options.deadline_scale);

	assert_bus_thread(__func__);
	bus_vm_ref(bv);
	call->id = operation_next_id();
	call->since_usec = clock_realtime_usec();
	enter_vm(call, bv, &bv->kills);
	bus->n_kills++;
	set_due(call, DUE_KILL, call->accepted_usec + length);
	call->exits_wanted = vm_kill(bv->vm, call->id);
	cancel_queued(bv, call->id);
	publish_kept(bv);
	calls_look_at_kills(bv);
	bus_vm_unref(bv);
}

/* ---- deadlines ---- */
static GError *timeout_error(const Call *call)
{
	const BusVm *bv = call->vm;
	const Call *holder = bv->calls.head ? bv->calls.head->data : NULL;
	double seconds = (double)(clock_monotonic_usec() - call->accepted_usec) / USEC_PER_SEC;

	if (!call->type)
		return g_error_new(VM_ERROR, VM_ERROR_TIMEOUT,
			"%s: QEMU of the VM '%s' (process %u) has not ended in %.1f s", call->row->name,
			bus_vm_name(bv), bv->picture.view->pid, seconds);
	if (holder && holder != call)
		return g_error_new(VM_ERROR, VM_ERROR_TIMEOUT,
			"%s: the VM '%s' is held by %s (operation %" G_GUINT64_FORMAT
			" of %s) for more than %.1f s",
			call->row->name, bus_vm_name(bv), holder->type->member, holder->id,
			holder->sender_name, seconds);
	return g_error_new(VM_ERROR, VM_ERROR_TIMEOUT, "%s: not done in %.1f s, it may still be carried out",
		call->row->name, seconds);
}

static void expire(Call *call) ON_BUS_THREAD
{
	g_autoptr(GError) error = timeout_error(call);
	OperationExpiry expiry = OPERATION_EXPIRY_GONE;
	BusVm *bv = bus_vm_ref(call->vm);

	if (call->type)
		expiry = operation_expire(bv->vm, call->type->lane, call->id);
	switch (expiry) {
	case OPERATION_EXPIRY_NONE:
		set_due(call, DUE_AGAIN, clock_monotonic_usec() + CALLS_AGAIN_USEC);
		break;
	case OPERATION_EXPIRY_LATE:
		/* It still holds the VM, and is shown. */
		leave_due(call);
		answer_error(call, error);
		break;
	case OPERATION_EXPIRY_GONE:
		abandon(call);
		leave_vm(call);
		publish_overlay(bv);
		answer_error(call, error);
		call_free(call);
		calls_look_at_kills(bv);
		break;
	}
	bus_vm_unref(bv);
}

static void show_grown(Bus *bus, uint64_t now) ON_BUS_THREAD
{
	while (bus->young.head) {
		Call *call = bus->young.head->data;

		if (call->accepted_usec + CALLS_YOUNG_USEC > now)
			break;
		leave_young(call);
		publish_overlay(call->vm);
	}
}

static void on_calls_time(void *user)
{
	Bus *bus = user;
	uint64_t now = clock_monotonic_usec();

	assert_bus_thread(__func__);
	show_grown(bus, now);
	for (unsigned i = 0; i < DUE_MAX; i++)
		while (bus->due[i].head && ((Call *)bus->due[i].head->data)->due_usec <= now)
			expire(bus->due[i].head->data);
	if (bus->young.head)
		timer_set(
			&bus->calls_timer, ((Call *)bus->young.head->data)->accepted_usec + CALLS_YOUNG_USEC);
	for (unsigned i = 0; i < DUE_MAX; i++)
		if (bus->due[i].head)
			timer_set(&bus->calls_timer, ((Call *)bus->due[i].head->data)->due_usec);
}

/* ---- what is shown ---- */
static CurrentOperation describe(const Call *call)
{
	return (CurrentOperation){.id = call->id,
		.member = call->type->member,
		.sender = call->sender_name,
		.uid = call->uid,
		.since_usec = call->since_usec,
		.deadline_usec = call->deadline_usec};
}

/* Operations of a lane are done in the order of their numbers, so the first that is not done is the current
 * one. */
void calls_current(const BusVm *bv, CurrentOperation *ret_current, uint32_t *ret_n_queued)
{
	const Call *current = NULL;
	uint32_t n_queued = 0;

	for (const GList *l = bv->calls.head; l; l = l->next) {
		const Call *call = l->data;

		if (call->type->lane != VM_LANE_QMP)
			continue;
		if (!current)
			current = call;
		else if (!call->young)
			n_queued++;
	}
	*ret_current = current && !current->young ? describe(current) : (CurrentOperation){0};
	*ret_n_queued = n_queued;
}

static int append_one(const Call *call, bool queued, sd_bus_message *message)
{
	CurrentOperation op = describe(call);
	int r = sd_bus_message_open_container(message, 'a', "{sv}");

	if (r >= 0)
		r = properties_append_operation(message, &op);
	if (r >= 0)
		r = sd_bus_message_append(
			message, "{sv}{sv}", "VM", "o", call->vm->path, "Queued", "b", (int)queued);
	return r < 0 ? r : sd_bus_message_close_container(message);
}

int calls_append_list(const BusVm *bv, sd_bus_message *message)
{
	bool lane_taken_up[VM_LANE_MAX] = {false};
	int r = 0;

	for (const GList *l = bv->calls.head; l && r >= 0; l = l->next) {
		const Call *call = l->data;

		r = append_one(call, lane_taken_up[call->type->lane], message);
		lane_taken_up[call->type->lane] = true;
	}
	return r;
}

/* ---- the end ---- */
static GError *ending_error(const Call *call)
{
	return g_error_new(VM_ERROR, VM_ERROR_CANCELLED, "%s: roostd is shutting down", call->row->name);
}

void calls_begin_shutdown(Bus *bus)
{
	g_autoptr(GList) calls = NULL;
	Call *waiting;

	while ((waiting = senders_first_waiting(bus)))
		fail(waiting, ending_error(waiting));
	calls = g_hash_table_get_values(bus->calls_by_id);
	/* First those that wait: else they begin when those before them are cancelled. */
	for (GList *l = calls; l; l = l->next) {
		Call *call = l->data;

		if (operation_take_back(call->vm->vm, call->type->lane, call->id)) {
			leave_vm(call);
			fail(call, ending_error(call));
			l->data = NULL;
		}
	}
	/* One that can't be cancelled any more comes back by itself. */
	for (GList *l = calls; l; l = l->next) {
		Call *call = l->data;

		if (call)
			operation_cancel(call->vm->vm, call->type->lane, call->id);
	}
}

bool calls_are_over(const Bus *bus)
{
	return g_hash_table_size(bus->calls_by_id) == 0 && bus->n_kills == 0;
}

void calls_finish(Bus *bus)
{
	g_autoptr(GList) calls = g_hash_table_get_values(bus->calls_by_id);
	Call *waiting;

	while ((waiting = senders_first_waiting(bus)))
		fail(waiting, ending_error(waiting));
	for (GList *l = calls; l; l = l->next) {
		leave_vm(l->data);
		fail(l->data, ending_error(l->data));
	}
	while (bus->due[DUE_KILL].head) {
		Call *call = bus->due[DUE_KILL].head->data;

		fail(call, ending_error(call));
	}
}

int calls_init(Bus *bus)
{
	bus->calls_by_id = g_hash_table_new(g_int64_hash, g_int64_equal);
	bus->calls_by_uid = g_hash_table_new(NULL, NULL);
	g_queue_init(&bus->young);
	for (unsigned i = 0; i < DUE_MAX; i++)
		g_queue_init(&bus->due[i]);
	return timer_init(&bus->calls_timer, bus->loop, on_calls_time, bus);
}

void calls_done(Bus *bus)
{
	g_clear_pointer(&bus->calls_by_id, g_hash_table_unref);
	g_clear_pointer(&bus->calls_by_uid, g_hash_table_unref);
	timer_done(&bus->calls_timer);
}
