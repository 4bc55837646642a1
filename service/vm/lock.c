/*
 * The protocol of the VM lock: file, list, deliver, lock, unlock, drain, publish, take. tests/model/roost.pml
 * models these functions one by one; a change here begins there.
 *
 * Why nothing is lost: events are filed in the mail, whoever holds the lock. The holder looks into the mail
 * once more after it has released. So either that look sees an event and lists the VM again, or the event was
 * filed after it, and then the event thread's trylock comes after the release and succeeds. The look takes
 * the mail mutex, since an atomic read could pass the release; the trylock must not fail without cause, which
 * pthread's does not.
 */
#include <string.h>

#include "util/clock.h"
#include "util/fd.h"
#include "vm/link.h"
#include "vm/vm.h"

void vm_list(Vm *vm)
{
	vm_ref(vm);
	if (!inbox_post_once(&vm->engine->ready, &vm->ready_item))
		vm_unref(vm);
}

static bool waiter_wants(const Waiter *waiter, const EventRecord *record)
{
	return waiter && waiter->want_event && waiter->event_id == record->id &&
	       (!waiter->event_key || g_strcmp0(waiter->event_key, record->key) == 0);
}

void vm_file_event(Vm *vm, const EventRecord *record)
{
	const EventRow *row = event_row(record->id);
	g_autofree char *key = NULL;
	EventRecord keyed = *record;
	bool overflowed;

	/* Out of the hold: the data may be long. */
	if (row->keys[0]) {
		key = event_key(record->id, record->data, record->data_size);
		keyed.key = key;
	}
	leaf_lock(&vm->mail.mutex);
	event_set_add(&vm->mail.events, &keyed);
	overflowed = vm->mail.events.overflowed;
	if (overflowed) {
		vm->mail.events.overflowed = false;
		vm->mail.resync_wanted = true;
		vm->mail.listed_for_io = true;
	}
	if (row->wakes)
		for (unsigned i = 0; i < VM_LANE_MAX; i++)
			if (waiter_wants(vm->mail.waiters[i], &keyed)) {
				vm->mail.waiters[i]->has_event = true;
				cond_signal(&vm->mail.waiters[i]->cond);
			}
	leaf_unlock(&vm->mail.mutex);
	if (overflowed)
		vm_list(vm);
}

EventRecord vm_own_record(EventId id)
{
	uint64_t now_usec = clock_realtime_usec();

	return (EventRecord){
		.id = id,
		.origin = EVENT_ORIGIN_ROOST,
		.key = "",
		.count = 1,
		.first_usec = now_usec,
		.last_usec = now_usec,
	};
}

bool vm_file_reply(Vm *vm, uint64_t command_id, QmpReply *reply_consume)
{
	EventRecord back = vm_own_record(EVENT_RESPONSIVE);
	bool awaited = false;

	atomic_store(&vm->last_answer_usec, clock_monotonic_usec());
	leaf_lock(&vm->mail.mutex);
	for (unsigned i = 0; i < VM_LANE_MAX; i++) {
		Waiter *waiter = vm->mail.waiters[i];

		if (waiter && waiter->command_id == command_id && !waiter->reply) {
			waiter->reply = g_steal_pointer(&reply_consume);
			cond_signal(&waiter->cond);
			awaited = true;
		}
	}
	/* QMP answers in order: whatever it answers, it is awake. */
	if (vm->mail.silent) {
		vm->mail.silent = false;
		event_set_add(&vm->mail.events, &back);
	}
	leaf_unlock(&vm->mail.mutex);
	qmp_reply_free(reply_consume);
	return awaited;
}

void vm_file_exit(Vm *vm, bool known, int code, int signal, const char *last_words)
{
	EventRecord record = vm_own_record(EVENT_EXIT);
	g_autofree char *data = NULL, *words = g_strdup(last_words), *old_words = NULL;
	g_autoptr(QemuProcess) process = NULL;
	autofd int send_fd = -1;
	GString *send;

	if (known) {
		data = signal != 0 ? g_strdup_printf("{\"signal\":%d}", signal)
				   : g_strdup_printf("{\"code\":%d}", code);
		record.data = data;
		record.data_size = strlen(data);
	}
	leaf_lock(&vm->mail.mutex);
	event_set_add(&vm->mail.events, &record);
	vm->mail.n_exits++;
	for (unsigned i = 0; i < VM_LANE_MAX; i++)
		if (vm->mail.waiters[i]) {
			vm->mail.waiters[i]->has_exit = true;
			cond_signal(&vm->mail.waiters[i]->cond);
		}
	process = g_steal_pointer(&vm->mail.process);
	old_words = g_steal_pointer(&vm->mail.last_words);
	vm->mail.last_words = g_steal_pointer(&words);
	send = g_steal_pointer(&vm->mail.send);
	send_fd = g_steal_fd(&vm->mail.send_fd);
	vm->mail.silent = false;
	vm->mail.shutdown_deadline_usec = vm->mail.quit_deadline_usec = 0;
	leaf_unlock(&vm->mail.mutex);
	if (send)
		g_string_free(send, TRUE);
}

void vm_file_closed(Vm *vm, const char *why)
{
	EventRecord record = vm_own_record(EVENT_UNRESPONSIVE);
	autofd int send_fd = -1;
	GString *send;
	g_autofree char *text = g_strdup(why), *old = NULL;

	leaf_lock(&vm->mail.mutex);
	for (unsigned i = 0; i < VM_LANE_MAX; i++)
		if (vm->mail.waiters[i]) {
			vm->mail.waiters[i]->has_closed = true;
			cond_signal(&vm->mail.waiters[i]->cond);
		}
	send = g_steal_pointer(&vm->mail.send);
	send_fd = g_steal_fd(&vm->mail.send_fd);
	vm->mail.silent = true;
	event_set_add(&vm->mail.events, &record);
	old = g_steal_pointer(&vm->mail.closed_why);
	vm->mail.closed_why = g_steal_pointer(&text);
	leaf_unlock(&vm->mail.mutex);
	if (send)
		g_string_free(send, TRUE);
}

/* publish(vm): what is staged, and a view if the old one is out of date, into the outbox; then once into the
 * inbox. */
static void vm_publish(Vm *vm) REQUIRES(vm->lock)
{
	VmView *view;

	if (!vm->dirty && outbox_is_empty(&vm->staged))
		return;
	view = vm->dirty ? vm_make_view(vm) : NULL;
	vm->dirty = false;
	leaf_lock(&vm->mail.mutex);
	if (view)
		outbox_put_view(&vm->mail.out, view);
	for (unsigned i = 0; i < vm->staged.n_changes; i++)
		outbox_put_change(&vm->mail.out, &vm->staged.changes[i]);
	if (event_set_is_empty(&vm->mail.out.events))
		event_set_take(&vm->staged.events, &vm->mail.out.events);
	for (EventEntry *entry = vm->staged.events.head; entry; entry = entry->next)
		event_set_add_entry(&vm->mail.out.events, entry);
	leaf_unlock(&vm->mail.mutex);
	outbox_clear(&vm->staged);

	vm_ref(vm);
	if (!inbox_post_once(&vm->engine->inbox, &vm->post_item))
		vm_unref(vm);
}

void vm_drain(Vm *vm)
{
	EventSet taken;

	leaf_lock(&vm->mail.mutex);
	event_set_take(&vm->mail.events, &taken);
	leaf_unlock(&vm->mail.mutex);
	for (EventEntry *entry = taken.head; entry; entry = entry->next) {
		vm_apply(vm, entry);
		if (!event_row(entry->id)->internal)
			event_set_add_entry(&vm->staged.events, entry);
	}
	event_set_clear(&taken);
	vm_publish(vm);
}

void vm_lock(Vm *vm)
{
	atomic_fetch_add(&vm->n_lock_waiters, 1);
	lock_take(&vm->lock);
	atomic_fetch_sub(&vm->n_lock_waiters, 1);
	vm_drain(vm);
}

void vm_unlock(Vm *vm)
{
	bool events_left, internal;

	vm_drain(vm);
	internal = vm->wanted != 0 && lane_want(&vm->lanes[VM_LANE_QMP], vm->wanted);
	vm->wanted = 0;
	lock_release(&vm->lock);
	leaf_lock(&vm->mail.mutex);
	events_left = !event_set_is_empty(&vm->mail.events);
	leaf_unlock(&vm->mail.mutex);
	if (events_left)
		vm_list(vm);
	if (internal)
		vm_start_internal(vm);
}

void vm_try_apply(Vm *vm)
{
	/* A worker that waits for the lock will drain as soon as it has it. */
	if (atomic_load(&vm->n_lock_waiters) > 0)
		return;
	if (lock_try(&vm->lock))
		vm_unlock(vm);
}

void vm_deliver(Vm *vm)
{
	vm_link_serve(vm);
	vm_try_apply(vm);
}

void vm_take_outbox(Vm *vm, bool clear_posted, Outbox *ret_outbox)
{
	/* Before the look: what is published from here on posts the VM again. */
	if (clear_posted)
		inbox_clear_posted(&vm->engine->inbox, &vm->post_item);
	leaf_lock(&vm->mail.mutex);
	outbox_take(&vm->mail.out, ret_outbox);
	leaf_unlock(&vm->mail.mutex);
}

GVariant *vm_event_data(const EventEntry *entry)
{
	GVariantDict dict;

	if (!entry->truncated)
		return qmp_data_to_vardict(entry->data, entry->data_size);
	g_variant_dict_init(&dict, NULL);
	g_variant_dict_insert(&dict, "Truncated", "b", TRUE);
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

const char *vm_event_name(const EventEntry *entry)
{
	return entry->id == EVENT_UNKNOWN ? entry->name : event_row(entry->id)->name;
}
