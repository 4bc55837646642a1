/*
 * Update: a definition changed as a whole, or not at all.
 *
 * The change is read and checked first. Then what QEMU can change while it runs is changed there, each step
 * with its undo; then the definition is stored. What QEMU can't, or will not, waits for the next start:
 * PendingChanges.
 */
#include <errno.h>

#include "qemu/command-line.h"
#include "util/log.h"
#include "vm/files.h"
#include "vm/operation.h"

/* ---- what QEMU can change ---- */
typedef struct LiveChange {
	const char *key;
	/* Whether it is to be changed and can be. */
	bool (*wanted)(const VmConfig *running, const VmConfig *changed);
	const char *command;
	GVariant *(*arguments)(const VmConfig *config); /* floating */
	/* The running definition with this change. */
	VmConfig *(*applied)(const VmConfig *running, const VmConfig *changed);
	UndoFunc undo;
} LiveChange;

static bool watchdog_wanted(const VmConfig *running, const VmConfig *changed)
{
	return running->watchdog != VM_WATCHDOG_NONE && running->watchdog == changed->watchdog &&
	       running->on_watchdog != changed->on_watchdog;
}

static GVariant *watchdog_arguments(const VmConfig *config)
{
	return g_variant_new_parsed("{'action': <%s>}", qemu_watchdog_action(config->on_watchdog));
}

static VmConfig *watchdog_applied(const VmConfig *running, const VmConfig *changed)
{
	return vm_config_with_on_watchdog(running, changed->on_watchdog);
}

static void watchdog_undo(Operation *op);

static bool reboot_wanted(const VmConfig *running, const VmConfig *changed)
{
	return running->on_reboot != changed->on_reboot;
}

static GVariant *reboot_arguments(const VmConfig *config)
{
	return g_variant_new_parsed(
		"{'reboot': <%s>}", config->on_reboot == VM_POLICY_RESTART ? "reset" : "shutdown");
}

static VmConfig *reboot_applied(const VmConfig *running, const VmConfig *changed)
{
	return vm_config_with_on_reboot(running, changed->on_reboot);
}

static void reboot_undo(Operation *op);

static const LiveChange live_changes[] = {
	{"OnWatchdog", watchdog_wanted, "watchdog-set-action", watchdog_arguments, watchdog_applied,
		watchdog_undo},
	{"OnReboot", reboot_wanted, "set-action", reboot_arguments, reboot_applied, reboot_undo},
};

/* running_config still says what it was. */
static void undo_live(Operation *op, const LiveChange *live) REQUIRES(op->vm->lock)
{
	g_autoptr(GError) error = NULL;
	Vm *vm = op->vm;

	if (vm->running_config &&
		!operation_execute(op, live->command, live->arguments(vm->running_config), NULL, &error))
		log_vm(LOG_WARNING, vm->config->name, vm->uuid, "%s is not undone: %s", live->key,
			error->message);
}

static void watchdog_undo(Operation *op) REQUIRES(op->vm->lock)
{
	undo_live(op, &live_changes[0]);
}

static void reboot_undo(Operation *op) REQUIRES(op->vm->lock)
{
	undo_live(op, &live_changes[1]);
}

/* Whether there is a QEMU to be asked. */
static bool can_be_asked(const Operation *op) REQUIRES(op->vm->lock)
{
	const Vm *vm = op->vm;

	return vm->pid != 0 && vm->responsive && vm->running_config && !operation_is_before_kill(op);
}

/* Whether it was done, or will be, is not known: QEMU, which goes by the order, is told to have it from
 * before. Its answer may be long in coming, and is not waited for. */
static void give_up(Operation *op, const LiveChange *live) REQUIRES(op->vm->lock)
{
	if (op->vm->running_config)
		vm_send(op->vm, live->command, live->arguments(op->vm->running_config));
}

/* True: go on; *ret_running is the running definition with what was changed, or NULL: nothing was. */
static bool apply_live(Operation *op, const VmConfig *changed, VmConfig **ret_running, GError **error)
	REQUIRES(op->vm->lock)
{
	g_autoptr(VmConfig) running = NULL;
	Vm *vm = op->vm;

	for (unsigned i = 0; i < G_N_ELEMENTS(live_changes); i++) {
		const LiveChange *live = &live_changes[i];
		g_autoptr(GError) refusal = NULL;
		VmConfig *applied;

		if (!can_be_asked(op) || !live->wanted(vm->running_config, changed))
			continue;
		if (!operation_execute(op, live->command, live->arguments(changed), NULL, &refusal)) {
			if (g_error_matches(refusal, VM_ERROR, VM_ERROR_TIMEOUT) ||
				g_error_matches(refusal, VM_ERROR, VM_ERROR_CANCELLED)) {
				give_up(op, live);
				g_propagate_error(error, g_steal_pointer(&refusal));
				return false;
			}
			log_vm(LOG_INFO, vm->config->name, vm->uuid, "%s waits for the next start: %s",
				live->key, refusal->message);
			continue;
		}
		if (!vm->running_config)
			continue; /* QEMU has ended since */
		operation_push_undo(op, live->undo);
		applied = live->applied(running ? running : vm->running_config, changed);
		vm_config_unref(running);
		running = applied;
	}
	*ret_running = g_steal_pointer(&running);
	return true;
}

/* For a later roostd: what this QEMU has. */
static void record_running(Operation *op) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;
	g_autoptr(VmConfig) config = vm_config_ref(vm->running_config);
	Definition definition = {.config = config, .owner_uid = vm->owner_uid, .revision = vm->revision};
	int r;

	operation_release(op);
	r = runtime_dir_write_definition(
		vm->engine->options.runtime_dir, vm->uuid, RUNTIME_DEFINITION_RUNNING, &definition);
	operation_retake(op);
	if (r < 0)
		log_vm(LOG_WARNING, config->name, vm->uuid, "what its QEMU has can't be recorded: %s",
			g_strerror(-r));
}

/* ---- the operation ---- */
static bool read_change(Operation *op, VmConfig **ret_changed, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;
	g_autoptr(VmConfig) changed = NULL;
	g_autofree char *complaint = NULL;
	int r;

	if (op->args.update.has_revision && op->args.update.revision != vm->revision) {
		g_set_error(error, VM_ERROR, VM_ERROR_CONFLICT,
			"options.Revision: the definition of the VM '%s' is of revision %" G_GUINT64_FORMAT
			", not %" G_GUINT64_FORMAT " any more",
			vm->config->name, vm->revision, op->args.update.revision);
		return false;
	}
	r = vm_config_change(vm->config, op->args.update.changes, (const char *const *)op->args.update.unset,
		&changed, &complaint);
	if (r < 0) {
		g_set_error_literal(error, VM_ERROR,
			r == -EOPNOTSUPP ? VM_ERROR_NOT_SUPPORTED : VM_ERROR_INVALID_CONFIG, complaint);
		return false;
	}
	if (!vm->persistent && changed->autostart) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_CONFIG,
			"Autostart: a transient VM is not there when the host starts");
		return false;
	}
	*ret_changed = g_steal_pointer(&changed);
	return true;
}

static void set_result(Operation *op) REQUIRES(op->vm->lock)
{
	g_auto(GStrv) pending = vm_config_pending(op->vm->config, op->vm->running_config);

	op->result = g_variant_ref_sink(
		g_variant_new("(@as)", g_variant_new_strv((const char *const *)pending, pending ? -1 : 0)));
}

static bool run_update(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	g_autoptr(VmConfig) changed = NULL, running = NULL;
	Vm *vm = op->vm;
	uint64_t epoch = vm->epoch;
	bool changes;

	if (!read_change(op, &changed, error))
		return false;
	changes = !vm_config_equal(vm->config, changed);
	/* What is defined already may still wait for a QEMU that did not answer then. */
	if ((changes && !operation_check_supported(op, changed, error)) ||
		!apply_live(op, changed, &running, error) ||
		(changes && !operation_change_definition(op, g_steal_pointer(&changed), error)))
		return false;
	if (running && vm->running_config && vm->epoch == epoch) {
		vm_config_unref(vm->running_config);
		vm->running_config = g_steal_pointer(&running);
		vm->dirty = true;
		record_running(op);
	}
	set_result(op);
	return true;
}

static void clear_update(OperationArgs *args)
{
	g_clear_pointer(&args->update.changes, g_variant_unref);
	g_strfreev(args->update.unset);
}

const OperationType operation_update = {
	"Update", VM_LANE_QMP, DEADLINE_DEVICE, false, run_update, clear_update};
