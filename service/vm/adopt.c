/*
 * A QEMU that outlived the roostd that started it. It is found by its record in the run-time folder (pid and
 * start time), watched by pidfd, and its monitor reached again by its path; until it has answered, the VM
 * counts as running and not responsive. What changed meanwhile is found by the resync that follows every
 * reconnect. It can be killed at any time.
 */
#include <errno.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "vm/files.h"
#include "vm/link.h"
#include "vm/operation.h"
#include "vm/registry.h"

static VmHandoff *make_handoff(
	const VmConfig *config, QemuProcess *process_consume, const char *unit, const char *folder)
{
	VmHandoff *handoff = vm_handoff_new(process_consume);
	g_autofree char *output = NULL;

	handoff->vm_name = g_strdup(config->name);
	handoff->unit = g_strdup(unit);
	handoff->qmp_path = g_strdup_printf("%s/qmp", folder);
	output = g_build_filename(folder, VM_OUTPUT_NAME, NULL);
	/* Without it, what QEMU says is not heard. */
	handoff->output_fd = MAX(fd_open_fifo(output), -1);
	handoff->has_agent = config->agent;
	handoff->has_nics = config->n_nics > 0;
	handoff->n_consoles = config->n_consoles;
	handoff->console_fds = g_new(int, config->n_consoles + 1);
	handoff->console_paths = g_new0(char *, config->n_consoles + 1);
	for (unsigned i = 0; i < config->n_consoles; i++) {
		handoff->console_fds[i] = -1;
		handoff->console_paths[i] =
			g_strdup_printf("%s/console-%s", folder, config->consoles[i].name);
	}
	return handoff;
}

/* The images it had when it was started, by number: their storage is not touched. Returns the claims' owner;
 * 0: none. */
static uint64_t claim_recorded(Engine *engine, const char *name, const ProcessRecord *record)
{
	g_autofree Claim *claims = g_new0(Claim, record->n_claims + 1);
	g_autofree char *holder = NULL;
	uint64_t owner = operation_next_id();
	unsigned index;

	for (unsigned i = 0; i < record->n_claims; i++)
		claims[i] = (Claim){.device = (dev_t)record->claims[i].device,
			.inode = (ino_t)record->claims[i].inode,
			.write = record->claims[i].write};
	if (claims_take(engine->claims, owner, name, claims, record->n_claims, &index, &holder) == 0)
		return owner;
	log_warning("An image of the VM %s is in use by the VM '%s', too", name, holder);
	return 0;
}

/* A record without a pid was written before a QEMU was spawned, by a roostd that did not live to write the
 * pid: then the QEMU is found by its command line. */
static int open_recorded(
	const Engine *engine, const char *uuid, ProcessRecord *record, QemuProcess **ret_process)
{
	const EngineOptions *options = &engine->options;
	int r;

	if (record->pid == 0) {
		r = qemu_process_find(uuid, options->has_qemu_user ? options->qemu_uid : geteuid(),
			&record->pid, &record->start_time);
		if (r < 0)
			return r;
	}
	return qemu_process_open(record->pid, record->start_time, ret_process);
}

/* Nobody told it to end: a guest's power-off leaves QEMU waiting for us. How it ended is not to be known any
 * more. */
static void ended_meanwhile(Vm *vm) NO_THREAD_SAFETY_ANALYSIS
{
	vm->state = vm->shown_state = VM_STATE_CRASHED;
	vm->reason = vm->shown_reason = VM_REASON_QEMU_EXIT;
	vm->last_exit = (VmLastExit){
		.known = true,
		.time_usec = clock_realtime_usec(),
		.reason = VM_REASON_QEMU_EXIT,
		.message = g_strdup("it ended while the service was down"),
	};
	vm->wanted |= VM_WANT_CLEANUP;
	vm->started_id = operation_next_id();
	log_vm(LOG_WARNING, vm->config->name, vm->uuid, "its QEMU ended while the service was down");
	policy_qemu_died(vm);
	outbox_put_view(&vm->mail.out, vm_make_view(vm));
	/* The event thread, once it runs, has the folder removed. */
	vm_list(vm);
}

/* What the QEMU was started with. Without a record of it, it is taken to be what is defined now. */
static VmConfig *recorded_config(Vm *vm, const VmConfig *defined)
{
	g_auto(Definition) definition = {0};
	int r = runtime_dir_read_definition(
		vm->engine->options.runtime_dir, vm->uuid, RUNTIME_DEFINITION_RUNNING, &definition);

	if (r >= 0)
		return g_steal_pointer(&definition.config);
	log_vm(LOG_WARNING, defined->name, vm->uuid,
		"what its QEMU was started with can't be read (%s): changes that wait for the next start "
		"don't show",
		g_strerror(-r));
	return vm_config_ref((VmConfig *)defined);
}

int vm_adopt_process(Vm *vm) NO_THREAD_SAFETY_ANALYSIS
{
	RuntimeDir *dir = vm->engine->options.runtime_dir;
	g_autofree char *folder = NULL;
	g_autoptr(QemuProcess) process = NULL;
	ProcessRecord record;
	int r;

	r = runtime_dir_read_process(dir, vm->uuid, &record);
	if (r >= 0) {
		r = open_recorded(vm->engine, vm->uuid, &record, &process);
		if (r == -ESRCH && vm->persistent)
			ended_meanwhile(vm);
	}
	if (r == -ENOENT || r == -ESRCH)
		return 0;
	if (r < 0) {
		log_vm(LOG_WARNING, vm->config->name, vm->uuid, "the record of its process can't be used: %s",
			g_strerror(-r));
		return r;
	}
	folder = runtime_dir_vm_path(dir, vm->uuid);
	vm->epoch = record.epoch;
	vm->started_id = operation_next_id();
	vm->pid = (uint32_t)process->pid;
	vm->accelerator = record.accelerator;
	vm->unit = record.unit[0] != '\0' ? g_strdup(record.unit) : NULL;
	vm->running_config = recorded_config(vm, vm->config);
	vm->responsive = false;
	vm->unresponsive_since_usec = clock_realtime_usec();
	vm->state = vm->shown_state = VM_STATE_RUNNING;
	vm->reason = vm->shown_reason = VM_REASON_RESYNC;
	vm->mail.process = qemu_process_ref(process);
	vm->mail.silent = true;
	vm->claims_owner = claim_recorded(vm->engine, vm->config->name, &record);
	outbox_put_view(&vm->mail.out, vm_make_view(vm));
	log_vm(LOG_INFO, vm->config->name, vm->uuid, "its QEMU (process %u) still runs", vm->pid);
	vm_hand_over(vm, make_handoff(vm->running_config, g_steal_pointer(&process), vm->unit, folder));
	return 1;
}

/* ---- transient VMs: they are where their QEMU is ---- */
typedef struct Transients {
	Engine *engine;
	Registry *registry;
} Transients;

static void load_transient(const char *uuid, void *user)
{
	const Transients *transients = user;
	g_auto(Definition) definition = {0};
	g_autoptr(GError) error = NULL;
	g_autoptr(Vm) vm = NULL;
	int r;

	assert_bus_thread(__func__);
	if (runtime_dir_read_definition(transients->engine->options.runtime_dir, uuid,
		    RUNTIME_DEFINITION_TRANSIENT, &definition) < 0)
		return;
	vm = vm_new(transients->engine, vm_config_ref(definition.config), definition.owner_uid,
		definition.revision);
	vm_make_transient(vm, definition.bound_to);
	if (!registry_reserve(transients->registry, vm, definition.config->name, &error)) {
		log_error("%s: not taken over: %s", definition.config->name, error->message);
		return;
	}
	r = vm_adopt_process(vm);
	if (r > 0) {
		registry_publish(transients->registry, vm);
		return;
	}
	registry_remove(transients->registry, vm);
	/* One of which it can't be told stays on record, to be looked at. */
	if (r == 0) {
		log_vm(LOG_WARNING, definition.config->name, uuid,
			"a transient VM; its QEMU ended while the service was down");
		vm_files_remove_runtime(vm);
	}
}

void vm_adopt_transients(Engine *engine, Registry *registry)
{
	Transients transients = {.engine = engine, .registry = registry};
	int r = runtime_dir_foreach(engine->options.runtime_dir, load_transient, &transients);

	if (r < 0)
		log_warning("The run-time folder can't be read: %s", g_strerror(-r));
}

/* ---- QEMUs of no VM ---- */
typedef struct Orphans {
	Engine *engine;
	bool (*is_known)(const char *uuid, void *user);
	void *user;
} Orphans;

static void look_at_folder(const char *uuid, void *user)
{
	const Orphans *orphans = user;
	RuntimeDir *dir = orphans->engine->options.runtime_dir;
	g_autoptr(QemuProcess) process = NULL;
	ProcessRecord record;
	int r;

	if (orphans->is_known(uuid, orphans->user))
		return;
	r = runtime_dir_read_process(dir, uuid, &record);
	/* One of which it can't be told stays, to be looked at. */
	if (r < 0 && r != -ENOENT)
		return;
	if (r < 0 || open_recorded(orphans->engine, uuid, &record, &process) < 0) {
		runtime_dir_remove_vm(dir, uuid);
		return;
	}
	log_warning("Process %d is the QEMU of a VM that is not defined any more (%s): it is left alone, and "
		    "its images are "
		    "not given to others until roostd is restarted without it",
		(int)process->pid, uuid);
	claim_recorded(orphans->engine, uuid, &record);
}

void vm_adopt_orphans(Engine *engine, bool (*is_known)(const char *uuid, void *user), void *user)
{
	Orphans orphans = {.engine = engine, .is_known = is_known, .user = user};
	int r = runtime_dir_foreach(engine->options.runtime_dir, look_at_folder, &orphans);

	if (r < 0)
		log_warning("The run-time folder can't be read: %s", g_strerror(-r));
}

bool vm_find_stray(Engine *engine, const char *uuid, uint32_t *ret_pid)
{
	g_autoptr(QemuProcess) process = NULL;
	ProcessRecord record;

	if (runtime_dir_read_process(engine->options.runtime_dir, uuid, &record) < 0 ||
		open_recorded(engine, uuid, &record, &process) < 0)
		return false;
	*ret_pid = (uint32_t)process->pid;
	return true;
}
