/*
 * Waiting for QEMU. A waiter is registered in the same hold of the mail in which its command is appended, so
 * its answer can't come before it is there; and it is refused there if QEMU's exit is filed already, or the
 * operation was cancelled or killed: whoever does one of these marks the waiters that are registered, in the
 * same mutex, so neither can slip between. Marks stay until the waiter is unregistered; the VM lock plays no
 * part in being woken.
 */
#include "util/clock.h"
#include "util/fd.h"
#include "vm/unit.h"

static WaitResult refuse_locked(Vm *vm, const Waiter *waiter, const LaneEntry *entry) REQUIRES(vm->mail.mutex)
{
	if (waiter->cancellable && vm->mail.kill_before > entry->id)
		return WAIT_KILLED;
	if (waiter->cancellable && atomic_load(&entry->cancelled))
		return WAIT_CANCELLED;
	if (vm->mail.n_exits != vm->n_exits)
		return WAIT_EXIT;
	if (!vm->mail.send && !waiter->exit_only)
		return WAIT_NO_QEMU;
	/* That of a command which was given up before it was sent. */
	if (waiter->fd && vm->mail.send_fd >= 0)
		return WAIT_NO_QEMU;
	return WAIT_OK;
}

static bool is_answered(const Waiter *waiter)
{
	return waiter->reply && (!waiter->want_event || waiter->has_event || waiter->reply->failed);
}

static bool is_over(const Waiter *waiter)
{
	return is_answered(waiter) || waiter->has_exit || waiter->is_killed || waiter->is_cancelled ||
	       (waiter->has_closed && !waiter->exit_only);
}

static WaitResult result_locked(Vm *vm, const Waiter *waiter, const LaneEntry *entry) REQUIRES(vm->mail.mutex)
{
	if (is_answered(waiter) && (waiter->reply_suffices || !waiter->has_exit))
		return WAIT_OK;
	if (waiter->is_killed)
		return WAIT_KILLED;
	if (waiter->has_exit)
		return vm->mail.kill_before > entry->id ? WAIT_KILLED : WAIT_EXIT;
	if (waiter->is_cancelled)
		return WAIT_CANCELLED;
	if (waiter->has_closed)
		return WAIT_CLOSED;
	return WAIT_TIMEOUT;
}

/* When it is found not to answer, it counts as silent from now on: from when it was asked. */
static WaitResult sleep_until_over(
	Vm *vm, VmLane lane, Waiter *waiter, uint64_t deadline_usec, const LaneEntry *entry)
{
	uint64_t asked_usec = clock_monotonic_usec();
	uint64_t patience_usec = engine_scaled_usec(vm->engine, ENGINE_PATIENCE_USEC);
	EventRecord hung = vm_own_record(EVENT_UNRESPONSIVE);
	bool in_time = true, ask = false;
	WaitResult result;

	leaf_lock(&vm->mail.mutex);
	while (!is_over(waiter) && in_time)
		in_time = cond_wait_until(&waiter->cond, &vm->mail.mutex, deadline_usec);
	result = result_locked(vm, waiter, entry);
	/* Not when the command was answered and only its event is missing: then QEMU is awake. And one that
	 * had only the last moment of an operation's time has not shown anything yet: it is asked. */
	if (result == WAIT_TIMEOUT && !waiter->reply && !waiter->exit_only && !vm->mail.silent) {
		if (clock_monotonic_usec() - asked_usec >= patience_usec) {
			vm->mail.silent = true;
			event_set_add(&vm->mail.events, &hung);
		} else {
			vm->mail.resync_wanted = vm->mail.listed_for_io = ask = true;
		}
	}
	g_assert(vm->mail.waiters[lane] == waiter);
	vm->mail.waiters[lane] = NULL;
	leaf_unlock(&vm->mail.mutex);
	if (ask)
		vm_list(vm);
	return result;
}

static bool was_killed(Vm *vm, const LaneEntry *entry)
{
	bool killed;

	leaf_lock(&vm->mail.mutex);
	killed = vm->mail.kill_before > entry->id;
	leaf_unlock(&vm->mail.mutex);
	return killed;
}

WaitResult vm_wait(
	Vm *vm, VmLane lane, Waiter *waiter, const char *line, uint64_t deadline_usec, const LaneEntry *entry)
{
	uint64_t n_exits = vm->n_exits;
	WaitResult result;

	leaf_lock(&vm->mail.mutex);
	result = refuse_locked(vm, waiter, entry);
	if (result == WAIT_OK) {
		g_assert(!vm->mail.waiters[lane]);
		vm->mail.waiters[lane] = waiter;
		if (waiter->fd) {
			vm->mail.send_fd_offset = vm->mail.send->len;
			vm->mail.send_fd = g_steal_fd(waiter->fd);
		}
		if (line) {
			g_string_append(vm->mail.send, line);
			vm->mail.listed_for_io = true;
		}
	}
	leaf_unlock(&vm->mail.mutex);
	if (result != WAIT_OK) {
		vm_drain(vm);
		return result;
	}
	vm_list(vm);

	vm_unlock(vm);
	result = sleep_until_over(vm, lane, waiter, deadline_usec, entry);
	vm_lock(vm);
	if (result == WAIT_OK && !waiter->reply_suffices && vm->n_exits != n_exits)
		result = was_killed(vm, entry) ? WAIT_KILLED : WAIT_EXIT;
	return result;
}

void vm_wake_cancelled(Vm *vm, VmLane lane, uint64_t operation_id)
{
	Waiter *waiter;

	leaf_lock(&vm->mail.mutex);
	waiter = vm->mail.waiters[lane];
	if (waiter && waiter->cancellable && waiter->operation_id == operation_id) {
		waiter->is_cancelled = true;
		cond_signal(&waiter->cond);
	}
	if (vm->mail.launch && vm->mail.launch->operation_id == operation_id)
		unit_request_cancel(vm->mail.launch);
	leaf_unlock(&vm->mail.mutex);
}
