#include "bus/calls-private.h"

#include <errno.h>
#include <string.h>

#include "bus/audit.h"
#include "bus/authority.h"
#include "bus/autostart.h"
#include "bus/errors.h"
#include "bus/problems.h"
#include "bus/properties.h"
#include "bus/publish.h"
#include "bus/senders.h"
#include "bus/units.h"
#include "bus/variant.h"
#include "util/clock.h"
#include "util/log.h"

/* ---- the life of a call ---- */
/* It is answered, or nobody waits for the answer any more: it counts no longer. */
void call_close(Call *call)
{
	authority_forget(call);
	call->message = sd_bus_message_unref(call->message);
	senders_leave(call);
	call_uncount(call);
}

void call_leave_young(Call *call)
{
	if (call->young)
		g_queue_unlink(&call->bus->young, &call->young_link);
	call->young = false;
}

void call_leave_due(Call *call)
{
	if (call->due_line >= 0)
		g_queue_unlink(&call->bus->due[call->due_line], &call->due_link);
	call->due_line = -1;
}

/* Its operation is done or given up, or it was a Kill that is answered: it does not hold the VM any more. */
void call_leave_vm(Call *call)
{
	call_leave_young(call);
	call_leave_due(call);
	if (call->line)
		g_queue_unlink(call->line, &call->line_link);
	call->line = NULL;
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

void call_free(Call *call)
{
	call_close(call);
	call_leave_vm(call);
	g_free(call->sender_name);
	g_free(call->vm_name);
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
	call->taken_usec = clock_monotonic_usec();
	call->sender_name = g_strdup(sender ? sender : "");
	if (sender)
		senders_take(call, sender);
	else
		call_unidentified(call);
}

/* ---- answers ---- */
void call_answer_error(Call *call, const GError *error)
{
	assert_bus_thread(__func__);
	audit_call(call, NULL, error);
	if (call->message) {
		int r = error_reply(call->message, error);

		/* A connection that is lost is told of once, a moment later. */
		if (r < 0 && r != -ENOTCONN && !call->bus->lost)
			log_warning("%s: a reply could not be sent: %s", call->row->name, g_strerror(-r));
	}
	call_close(call);
}

/* Fails a call that has no operation (any more). */
void call_fail(Call *call, GError *error_consume)
{
	call_answer_error(call, error_consume);
	g_error_free(error_consume);
	call_free(call);
}

static int append_result(sd_bus_message *reply, const Bus *bus, const Operation *op) ON_BUS_THREAD
{
	if (op->type == &operation_define || op->type == &operation_create)
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

		call_answer_error(call, error);
		return;
	}
	audit_call(call, op ? bus_vm_of(op->vm) : NULL, NULL);
	call_close(call);
}

void call_reply(Call *call, int (*append)(sd_bus_message *reply, const void *data), const void *data)
{
	sd_bus_message *reply = NULL;
	int r = 0;

	if (call->message && sd_bus_message_get_expect_reply(call->message)) {
		r = sd_bus_message_new_method_return(call->message, &reply);
		if (r >= 0)
			r = append(reply, data);
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
bool call_count(Call *call, unsigned max, GError **error)
{
	void *key = GUINT_TO_POINTER(call->uid);
	unsigned n = GPOINTER_TO_UINT(g_hash_table_lookup(call->bus->calls_by_uid, key));

	if (n >= max) {
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED,
			"%s: %u calls of uid %u are not answered yet", call->row->name, n, call->uid);
		return false;
	}
	g_hash_table_insert(call->bus->calls_by_uid, key, GUINT_TO_POINTER(n + 1));
	call->counted = true;
	return true;
}

void call_uncount(Call *call)
{
	GHashTable *table = call->bus->calls_by_uid;
	void *key = GUINT_TO_POINTER(call->uid);
	unsigned n;

	if (!call->counted)
		return;
	n = GPOINTER_TO_UINT(g_hash_table_lookup(table, key));
	g_assert(n > 0);
	if (n == 1)
		g_hash_table_remove(table, key);
	else
		g_hash_table_insert(table, key, GUINT_TO_POINTER(n - 1));
	call->counted = false;
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
		call_fail(call, error);
}

void call_unidentified(Call *call)
{
	call_fail(call, g_error_new(VM_ERROR, VM_ERROR_ACCESS_DENIED, "%s: the bus does not tell who calls",
				call->row->name));
}

/* The VM that was made for it goes with the last reference. */
static void forget_validation(Bus *bus, BusVm *bv)
{
	bus->n_validating--;
	bus_vm_unref(bv);
}

/* Its operation will never come: what was reserved for it is free again. */
void call_abandon(Call *call) ON_BUS_THREAD
{
	if (call->reserves)
		registry_release_name(call->bus->registry, call->vm->vm);
	else if (call->type == &operation_create)
		vm_want_cleanup(call->vm->vm);
	else if (call->type == &operation_validate)
		forget_validation(call->bus, call->vm);
}

/* The caller left the bus: what waits is taken back, what runs is carried out. */
void call_drop(Call *call)
{
	BusVm *bv = call->vm;

	assert_bus_thread(__func__);
	call_close(call);
	if (!bv || !call->type || operation_take_back(bv->vm, call->type->lane, call->id)) {
		if (bv) {
			bus_vm_ref(bv);
			call_abandon(call);
		}
		call_free(call);
		if (bv) {
			publish_overlay(bv);
			bus_vm_unref(bv);
		}
	}
}

/* ---- operations ---- */
void call_set_due(Call *call, int line, uint64_t due_usec)
{
	call_leave_due(call);
	call->due_line = line;
	call->due_usec = due_usec;
	call->due_link.data = call;
	g_queue_push_tail_link(&call->bus->due[line], &call->due_link);
	timer_set(&call->bus->calls_timer, due_usec);
}

void call_enter_vm(Call *call, BusVm *bv, GQueue *list)
{
	call->vm = bus_vm_ref(bv);
	if (bv->picture.view)
		call->vm_name = g_strdup(bus_vm_name(bv));
	g_strlcpy(call->vm_uuid, bv->vm->uuid, sizeof call->vm_uuid);
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
	call_enter_vm(call, bv, &bv->calls);
	g_hash_table_insert(call->bus->calls_by_id, &call->id, call);
	call->young = true;
	call->young_link.data = call;
	g_queue_push_tail_link(&call->bus->young, &call->young_link);
	timer_set(&call->bus->calls_timer, call->accepted_usec + CALLS_YOUNG_USEC);
	call_set_due(call, type->deadline, op->deadline_usec + CALLS_GRACE_USEC);
	return true;
}

static bool reserves_name(const Operation *op)
{
	return (op->type == &operation_rename && op->args.rename.reserves) ||
	       (op->type == &operation_update && op->args.update.reserves);
}

/* What becomes of the VM, before it is told. A new name is followed as its view is installed. */
static PublishChange settle(Bus *bus, BusVm *bv, const Operation *op) ON_BUS_THREAD
{
	if (op->type == &operation_define) {
		if (!op->error) {
			registry_publish(bus->registry, op->vm);
			return PUBLISH_NEW;
		}
		registry_remove(bus->registry, op->vm);
		bus_vm_unref(bv);
	} else if (op->error && reserves_name(op)) {
		registry_release_name(bus->registry, op->vm);
	} else if (op->type == &operation_validate) {
		forget_validation(bus, bv);
	}
	return PUBLISH_PLAIN;
}

static void answer_operation(Call *call, const Operation *op) ON_BUS_THREAD
{
	size_t size = op->result ? g_variant_get_size(op->result) : 0;

	if (op->error) {
		call_answer_error(call, op->error);
	} else if (size > BUS_REPLY_MAX) {
		g_autoptr(GError) error = g_error_new(VM_ERROR, VM_ERROR_LIMIT_REACHED,
			"%s: done, but the reply would have %zu bytes, more than %u MiB", call->row->name,
			size, BUS_REPLY_MAX >> 20);

		call_answer_error(call, error);
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
	if (op->own)
		own_start_done(bus, op);
	if (bv) {
		bus_vm_ref(bv);
		change = settle(bus, bv, op);
		if (call)
			call_leave_vm(call);
		publish_vm(bv, change);
		if (call)
			answer_operation(call, op);
		calls_look_at_kills(bv);
		if (op->own)
			restart_look_at(bv);
		bus_vm_unref(bv);
	}
	if (op->type->makes_qemu)
		units_start_done(bus, op->vm);
	if (call)
		call_free(call);
	operation_unref(op);
}

int calls_init(Bus *bus)
{
	bus->calls_by_id = g_hash_table_new(g_int64_hash, g_int64_equal);
	bus->calls_by_uid = g_hash_table_new(NULL, NULL);
	g_queue_init(&bus->young);
	for (unsigned i = 0; i < DUE_MAX; i++)
		g_queue_init(&bus->due[i]);
	return timer_init(&bus->calls_timer, bus->loop, calls_on_time, bus);
}

void calls_done(Bus *bus)
{
	g_clear_pointer(&bus->calls_by_id, g_hash_table_unref);
	g_clear_pointer(&bus->calls_by_uid, g_hash_table_unref);
	timer_done(&bus->calls_timer);
}
