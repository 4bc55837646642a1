/*
 * What an event does to the state of its VM. Each handler runs with the VM lock held, on whatever thread
 * holds it, and is memory work only: what needs QEMU asked is appended as a command whose answer is filed
 * like an event, what needs a system call becomes internal work.
 *
 * A guest's STOP does not say why. The reason comes before it, in an event of its own (BLOCK_IO_ERROR,
 * WATCHDOG, GUEST_PANICKED), or was known beforehand (Pause): it waits in the hints until the STOP arrives.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "qemu/command-line.h"
#include "util/clock.h"
#include "util/log.h"
#include "vm/vm.h"

/* ---- the state ---- */
static void show_state(Vm *vm, bool own) REQUIRES(vm->lock)
{
	StateChange change = {.from = vm->shown_state, .to = vm->state, .reason = vm->reason, .own = own};

	if (vm->shown_state != vm->state)
		outbox_put_change(&vm->staged, &change);
	vm->shown_state = vm->state;
	vm->shown_reason = vm->reason;
	vm->shown_since_usec = vm->state_since_usec;
	vm->dirty = true;
}

void vm_set_state(Vm *vm, VmState state, VmReason reason, bool own)
{
	if (vm->state == state && vm->reason == reason)
		return;
	if (vm->state != state)
		vm->state_since_usec = clock_realtime_usec();
	vm->state = state;
	vm->reason = reason;
	if (!vm->hints.holds_state)
		show_state(vm, own);
}

void vm_hold_state(Vm *vm)
{
	vm->hints.holds_state = true;
}

void vm_release_state(Vm *vm)
{
	vm->hints.holds_state = false;
	if (vm->state == vm->shown_state) {
		/* It came and went: to everybody else nothing has happened. */
		vm->reason = vm->shown_reason;
		vm->state_since_usec = vm->shown_since_usec;
	} else {
		show_state(vm, true);
	}
}

VmView *vm_make_view(Vm *vm)
{
	VmView *view = vm_view_new();

	view->version = ++vm->view_version;
	view->n_exits = vm->n_exits;
	view->config = vm_config_ref(vm->config);
	view->running_config = vm->running_config ? vm_config_ref(vm->running_config) : NULL;
	view->accelerator = vm->pid != 0 ? vm->accelerator : vm->config->accelerator;
	view->state = vm->shown_state;
	view->reason = vm->shown_reason;
	view->state_since_usec = vm->shown_since_usec;
	view->agent_connected = vm->agent_connected;
	view->responsive = vm->responsive;
	view->unresponsive_since_usec = vm->responsive ? 0 : vm->unresponsive_since_usec;
	view->pid = vm->pid;
	view->unit = g_strdup(vm->unit ? vm->unit : "");
	view->owner_uid = vm->owner_uid;
	view->revision = vm->revision;
	view->persistent = vm->persistent;
	view->last_exit = vm->last_exit;
	view->last_exit.message = g_strdup(vm->last_exit.message);
	view->gone = vm->gone;
	return view;
}

void vm_send(Vm *vm, const char *command, GVariant *arguments)
{
	g_autofree char *line = qmp_command_format(command, arguments, engine_next_command_id());

	leaf_lock(&vm->mail.mutex);
	if (vm->mail.send) {
		g_string_append(vm->mail.send, line);
		vm->mail.listed_for_io = true;
	}
	leaf_unlock(&vm->mail.mutex);
	vm_list(vm);
}

void vm_set_deadlines(Vm *vm, uint64_t shutdown_usec, uint64_t quit_usec)
{
	leaf_lock(&vm->mail.mutex);
	vm->mail.shutdown_deadline_usec = shutdown_usec;
	vm->mail.quit_deadline_usec = quit_usec;
	vm->mail.listed_for_io = true;
	leaf_unlock(&vm->mail.mutex);
	vm_list(vm);
}

void vm_set_alarm(Vm *vm, VmAlarm alarm, uint64_t usec)
{
	leaf_lock(&vm->mail.mutex);
	vm->mail.alarms_usec[alarm] = clock_monotonic_usec() + engine_scaled_usec(vm->engine, usec);
	vm->mail.listed_for_io = true;
	leaf_unlock(&vm->mail.mutex);
	vm_list(vm);
}

uint64_t vm_shutdown_deadline_usec(Vm *vm)
{
	uint64_t deadline_usec;

	leaf_lock(&vm->mail.mutex);
	deadline_usec = vm->mail.shutdown_deadline_usec;
	leaf_unlock(&vm->mail.mutex);
	return deadline_usec;
}

/* ---- QEMU stops and goes on ---- */
static VmReason take_stop_reason(Vm *vm, VmReason otherwise) REQUIRES(vm->lock)
{
	VmReason reason = vm->hints.stop_reason;

	vm->hints.stop_reason = VM_REASON_MAX;
	return reason != VM_REASON_MAX ? reason : otherwise;
}

static void apply_stop(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	/* After a power-off the STOP belongs to it, and QEMU is being ended or restarted, or kept so. */
	if (vm->hints.powered_off || vm->hints.restarting || vm->hints.preserved ||
		!vm_state_is_active(vm->state) || vm->state == VM_STATE_STARTING)
		return;
	vm_set_state(vm, VM_STATE_PAUSED, take_stop_reason(vm, VM_REASON_USER), false);
	policy_stopped(vm);
}

static void apply_resume(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	VmReason reason =
		vm->hints.restart_reason != VM_REASON_MAX ? vm->hints.restart_reason : VM_REASON_USER;

	vm->hints.stop_reason = vm->hints.restart_reason = VM_REASON_MAX;
	vm->hints.preserved = false;
	/* A Start's own step: what comes after it, a power-off or an error, must find the VM running. */
	if (vm->state == VM_STATE_STARTING)
		vm_set_state(vm, VM_STATE_RUNNING, vm->reason, true);
	else if (vm->state == VM_STATE_PAUSED || vm->state == VM_STATE_SUSPENDED)
		vm_set_state(vm, VM_STATE_RUNNING, reason, false);
}

static void apply_suspend(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	if (vm->state == VM_STATE_RUNNING)
		vm_set_state(vm, VM_STATE_SUSPENDED, VM_REASON_GUEST, false);
}

static void apply_wakeup(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	if (vm->state == VM_STATE_SUSPENDED)
		vm_set_state(vm, VM_STATE_RUNNING, VM_REASON_GUEST, false);
}

static void apply_reset(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	vm->hints.preserved = vm->hints.watchdog_resets = false;
	if (vm->hints.restarting || vm->hints.restart_lost) {
		vm->hints.restarting = vm->hints.restart_lost = false;
		vm_send(vm, "cont", NULL);
		return;
	}
	/* A guest that was asked to reboot and did so itself, perhaps before Reboot has had its answer: there
	 * is nothing left to wait for. */
	if (vm->hints.reboot_asked && !vm->hints.powered_off) {
		vm->hints.shutdown_asked = vm->hints.reboot_asked = false;
		vm_set_deadlines(vm, 0, 0);
		if (vm->state == VM_STATE_STOPPING)
			vm_set_state(vm, VM_STATE_RUNNING, VM_REASON_USER, true);
	}
}

/* ---- reasons that come before ---- */
static bool data_is(const EventEntry *entry, const char *key, const char *value)
{
	g_autofree char *found = qmp_data_get(entry->data, entry->data_size, key);

	return strcmp(found, value) == 0;
}

static void apply_io_error(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	if (data_is(entry, "action", "stop"))
		vm->hints.stop_reason =
			data_is(entry, "nospace", "true") ? VM_REASON_NO_SPACE : VM_REASON_IO_ERROR;
}

static void apply_watchdog(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	if (data_is(entry, "action", "pause"))
		vm->hints.stop_reason = VM_REASON_WATCHDOG;
	if (data_is(entry, "action", "reset"))
		vm->hints.watchdog_resets = true;
	/* QEMU ends without a SHUTDOWN then. */
	if (data_is(entry, "action", "poweroff"))
		vm->hints.off_reason = VM_REASON_WATCHDOG;
}

static void apply_panic(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	/* Then a STOP follows, and OnCrash is carried out; or a SHUTDOWN behind it. One that goes on has not
	 * stopped. */
	if (data_is(entry, "action", "pause"))
		vm->hints.stop_reason = VM_REASON_PANIC;
	if (data_is(entry, "action", "poweroff"))
		vm->hints.off_reason = VM_REASON_PANIC;
}

/* ---- the guest powers off; QEMU ends ---- */
static void apply_shutdown(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	/* A reset that was asked for past us while QEMU stops at resets. */
	bool asked_reset = data_is(entry, "reason", "host-qmp-system-reset");

	if (!asked_reset && !data_is(entry, "guest", "true") && !data_is(entry, "reason", "guest-panic")) {
		/* From the host: quit or a signal; QEMU ends by itself. */
		vm->hints.powered_off_clean = true;
		return;
	}
	if (vm->hints.powered_off || !vm_state_is_active(vm->state))
		return;
	vm->hints.powered_off = true;
	if (asked_reset || vm->hints.reboot_asked)
		policy_restart_guest(vm, VM_REASON_USER);
	else if (data_is(entry, "reason", "guest-panic"))
		policy_panicked(vm, true);
	else if (data_is(entry, "reason", "guest-reset") && policy_stops_resets(vm))
		policy_reset(vm);
	else
		policy_powered_off(vm);
}

static void apply_shutdown_timeout(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	bool due;

	/* A Shutdown that came since has set another time. */
	leaf_lock(&vm->mail.mutex);
	due = vm->mail.shutdown_deadline_usec != 0 &&
	      vm->mail.shutdown_deadline_usec <= clock_monotonic_usec();
	if (due)
		vm->mail.shutdown_deadline_usec = 0;
	leaf_unlock(&vm->mail.mutex);
	if (!due || !vm->hints.shutdown_asked || vm->hints.powered_off)
		return;
	if (vm->hints.force) {
		vm->hints.force_killed = true;
		vm_end_process(vm);
		return;
	}
	vm->hints.shutdown_asked = vm->hints.reboot_asked = false;
	/* It may have been paused meanwhile, by whomever. */
	if (vm->state == VM_STATE_STOPPING)
		vm_set_state(vm, VM_STATE_RUNNING, VM_REASON_SHUTDOWN_TIMEOUT, true);
}

static void apply_reset_window(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	policy_close_reset_window(vm);
}

static void apply_dump_completed(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	g_autofree char *words = qmp_data_get(entry->data, entry->data_size, "error");

	dump_completed(vm, !data_is(entry, "result.status", "completed"), words);
}

static void apply_dump_timeout(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	dump_timed_out(vm);
}

/* `kill_reason`: VM_REASON_MAX if it was not killed. */
static VmState state_after_exit(Vm *vm, VmReason kill_reason, VmReason *ret_reason) REQUIRES(vm->lock)
{
	const VmLastExit *last = &vm->last_exit;

	if (kill_reason != VM_REASON_MAX || vm->hints.force_killed) {
		*ret_reason = kill_reason != VM_REASON_MAX ? kill_reason : VM_REASON_KILLED;
		return VM_STATE_OFF;
	}
	*ret_reason = VM_REASON_QEMU_EXIT;
	if (vm->hints.off_reason != VM_REASON_MAX) {
		*ret_reason = vm->hints.off_reason;
		return VM_STATE_OFF;
	}
	if (vm->hints.powered_off_clean || (last->has_code && last->code == 0))
		return VM_STATE_OFF;
	return VM_STATE_CRASHED;
}

static void forget_process(Vm *vm) REQUIRES(vm->lock)
{
	vm->n_exits++;
	vm->pid = 0;
	vm->agent_connected = false;
	vm->responsive = true;
	vm->running_config = vm_config_unref(vm->running_config);
	g_clear_pointer(&vm->unit, g_free);
	if (vm->claims_owner != 0)
		claims_release(vm->engine->claims, vm->claims_owner);
	vm->claims_owner = 0;
	vm->wanted |= VM_WANT_CLEANUP;
	vm->dirty = true;
	/* Whoever sets them holds the VM lock: none can be set for this process from here on. */
	leaf_lock(&vm->mail.mutex);
	vm->mail.shutdown_deadline_usec = vm->mail.quit_deadline_usec = 0;
	memset(vm->mail.alarms_usec, 0, sizeof vm->mail.alarms_usec);
	leaf_unlock(&vm->mail.mutex);
}

static void log_exit(Vm *vm, VmState state, VmReason reason) REQUIRES(vm->lock)
{
	bool crashed = state == VM_STATE_CRASHED;

	log_vm_kind(crashed ? LOG_WARNING : LOG_INFO, crashed ? LOG_KIND_CRASHED : LOG_KIND_ENDED,
		vm->config->name, vm->uuid, "its QEMU (process %u) has ended: %s", vm->pid,
		vm_reason_to_string(reason));
}

static void apply_exit(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	g_autofree char *code = qmp_data_get(entry->data, entry->data_size, "code");
	g_autofree char *signal = qmp_data_get(entry->data, entry->data_size, "signal");
	char *words;
	VmReason reason, kill_reason;
	VmState state;

	leaf_lock(&vm->mail.mutex);
	kill_reason = vm->mail.killed ? vm->mail.kill_reason : VM_REASON_MAX;
	words = g_steal_pointer(&vm->mail.last_words);
	leaf_unlock(&vm->mail.mutex);

	g_free(vm->last_exit.message);
	vm->last_exit = (VmLastExit){
		.known = true,
		.time_usec = entry->last_usec,
		.has_code = code[0] != '\0',
		.code = atoi(code),
		.has_signal = signal[0] != '\0',
		.signal = atoi(signal),
		.message = words ? words : g_strdup(""),
	};
	state = state_after_exit(vm, kill_reason, &reason);
	log_exit(vm, state, reason);
	vm->last_exit.reason = vm->state == VM_STATE_STARTING && kill_reason == VM_REASON_MAX
				       ? VM_REASON_START_FAILED
				       : reason;
	forget_process(vm);
	if (vm->hints.holds_state)
		vm_release_state(vm);
	/* A Start that is under way finds out by itself, and says what became of it. */
	if (vm->state != VM_STATE_STARTING) {
		vm_set_state(vm, state, reason, false);
		if (state == VM_STATE_CRASHED)
			policy_qemu_died(vm);
	}
	vm->hints = VM_HINTS_NONE;
}

/* systemd, whose child it was, says how it ended. */
static void apply_exit_status(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	g_autofree char *exit = qmp_data_get(entry->data, entry->data_size, "exit");
	g_autofree char *code = qmp_data_get(entry->data, entry->data_size, "code");
	g_autofree char *signal = qmp_data_get(entry->data, entry->data_size, "signal");
	VmLastExit *last = &vm->last_exit;

	/* By now another one may have been the last. */
	if (!last->known || last->has_code || last->has_signal ||
		g_ascii_strtoull(exit, NULL, 10) != vm->n_exits)
		return;
	last->has_code = code[0] != '\0';
	last->code = atoi(code);
	last->has_signal = signal[0] != '\0';
	last->signal = atoi(signal);
	vm->dirty = true;
}

/* ---- found different ---- */
static const struct {
	const char *status; /* query-status; QEMU's RunState */
	VmState state;
	VmReason reason;
} run_states[] = {
	{"running", VM_STATE_RUNNING, VM_REASON_RESYNC},
	{"paused", VM_STATE_PAUSED, VM_REASON_RESYNC},
	{"prelaunch", VM_STATE_PAUSED, VM_REASON_RESYNC},
	{"debug", VM_STATE_PAUSED, VM_REASON_RESYNC},
	{"save-vm", VM_STATE_PAUSED, VM_REASON_RESYNC},
	{"restore-vm", VM_STATE_PAUSED, VM_REASON_RESYNC},
	{"finish-migrate", VM_STATE_PAUSED, VM_REASON_RESYNC},
	{"inmigrate", VM_STATE_PAUSED, VM_REASON_RESYNC},
	{"postmigrate", VM_STATE_PAUSED, VM_REASON_RESYNC},
	{"colo", VM_STATE_PAUSED, VM_REASON_RESYNC},
	{"io-error", VM_STATE_PAUSED, VM_REASON_IO_ERROR},
	{"internal-error", VM_STATE_PAUSED, VM_REASON_RESYNC},
	{"watchdog", VM_STATE_PAUSED, VM_REASON_WATCHDOG},
	{"guest-panicked", VM_STATE_PAUSED, VM_REASON_PANIC},
	{"suspended", VM_STATE_SUSPENDED, VM_REASON_GUEST},
};

static void stage_resync_event(Vm *vm, VmState state) REQUIRES(vm->lock)
{
	uint64_t now_usec = clock_realtime_usec();
	EventRecord record = {
		.id = state == VM_STATE_RUNNING     ? EVENT_RESUME
		      : state == VM_STATE_SUSPENDED ? EVENT_SUSPEND
						    : EVENT_STOP,
		.origin = EVENT_ORIGIN_RESYNC,
		.key = "",
		.count = 1,
		.first_usec = now_usec,
		.last_usec = now_usec,
	};

	event_set_add(&vm->staged.events, &record);
}

static void apply_resync_status(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	g_autofree char *status = qmp_data_get(entry->data, entry->data_size, "status");

	/* The answer stands in the stream among the events, so at this place it is the truth. A Start and a
	 * power-off know better what QEMU's status means for them. */
	if (!vm_state_is_active(vm->state) || vm->state == VM_STATE_STARTING || vm->hints.powered_off ||
		vm->hints.restarting)
		return;
	if (policy_heard_again(vm, strcmp(status, "running") == 0))
		return;
	if (strcmp(status, "shutdown") == 0) {
		if (!vm->hints.preserved)
			policy_powered_off(vm);
		return;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(run_states); i++) {
		if (strcmp(status, run_states[i].status) != 0)
			continue;
		/* What told the reason may have been merged away in a flood. */
		if (vm->state == run_states[i].state && run_states[i].reason != VM_REASON_RESYNC &&
			run_states[i].state == VM_STATE_PAUSED && vm->reason == VM_REASON_USER)
			vm_set_state(vm, vm->state, run_states[i].reason, false);
		/* While it is stopping a guest runs. */
		if (vm->state == run_states[i].state ||
			(vm->state == VM_STATE_STOPPING && run_states[i].state == VM_STATE_RUNNING))
			return;
		stage_resync_event(vm, run_states[i].state);
		vm_set_state(vm, run_states[i].state, run_states[i].reason, false);
		policy_stopped(vm);
		return;
	}
}

/* ---- the agent's port ---- */
static void set_agent(Vm *vm, bool connected) REQUIRES(vm->lock)
{
	if (vm->agent_connected == connected)
		return;
	vm->agent_connected = connected;
	vm->dirty = true;
}

static void apply_port(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	if (vm->running_config && vm->running_config->agent && data_is(entry, "id", QEMU_AGENT_ID))
		set_agent(vm, data_is(entry, "open", "true"));
}

static void apply_resync_agent(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	bool connected = data_is(entry, "open", "true");
	uint64_t now_usec = clock_realtime_usec();
	g_autofree char *data = g_strdup_printf(
		"{\"id\": \"%s\", \"open\": %s}", QEMU_AGENT_ID, connected ? "true" : "false");
	const EventRecord record = {
		.id = EVENT_VSERPORT_CHANGE,
		.origin = EVENT_ORIGIN_RESYNC,
		.key = QEMU_AGENT_ID,
		.data = data,
		.data_size = strlen(data),
		.count = 1,
		.first_usec = now_usec,
		.last_usec = now_usec,
	};

	if (!vm->running_config || !vm->running_config->agent || vm->agent_connected == connected)
		return;
	event_set_add(&vm->staged.events, &record);
	set_agent(vm, connected);
}

/* ---- awake or not ---- */
static void apply_unresponsive(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	policy_unresponsive(vm);
	if (!vm->responsive || vm->pid == 0)
		return;
	vm->responsive = false;
	vm->unresponsive_since_usec = entry->last_usec;
	vm->dirty = true;
	log_vm_kind(LOG_WARNING, LOG_KIND_UNRESPONSIVE, vm->config->name, vm->uuid, "QEMU does not answer");
}

static void apply_responsive(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock)
{
	if (vm->responsive)
		return;
	vm->responsive = true;
	vm->dirty = true;
	log_vm_kind(LOG_INFO, LOG_KIND_RESPONSIVE, vm->config->name, vm->uuid, "QEMU answers again");
}

typedef void (*ApplyFunc)(Vm *vm, const EventEntry *entry);

static const ApplyFunc handlers[EVENT_ID_MAX] = {
	[EVENT_SHUTDOWN] = apply_shutdown,
	[EVENT_RESET] = apply_reset,
	[EVENT_STOP] = apply_stop,
	[EVENT_RESUME] = apply_resume,
	[EVENT_SUSPEND] = apply_suspend,
	[EVENT_WAKEUP] = apply_wakeup,
	[EVENT_WATCHDOG] = apply_watchdog,
	[EVENT_GUEST_PANICKED] = apply_panic,
	[EVENT_BLOCK_IO_ERROR] = apply_io_error,
	[EVENT_EXIT] = apply_exit,
	[EVENT_EXIT_STATUS] = apply_exit_status,
	[EVENT_RESYNC_STATUS] = apply_resync_status,
	[EVENT_UNRESPONSIVE] = apply_unresponsive,
	[EVENT_RESPONSIVE] = apply_responsive,
	[EVENT_SHUTDOWN_TIMEOUT] = apply_shutdown_timeout,
	[EVENT_RESET_WINDOW] = apply_reset_window,
	[EVENT_VSERPORT_CHANGE] = apply_port,
	[EVENT_RESYNC_AGENT] = apply_resync_agent,
	[EVENT_DUMP_COMPLETED] = apply_dump_completed,
	[EVENT_DUMP_TIMEOUT] = apply_dump_timeout,
};

void vm_apply(Vm *vm, const EventEntry *entry)
{
	if (handlers[entry->id])
		handlers[entry->id](vm, entry);
}
