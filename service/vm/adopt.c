/*
 * A QEMU that outlived the roostd that started it. It is found by its record in the run-time folder (pid and
 * start time), watched by pidfd, and its monitor reached again by its path; until it has answered, the VM
 * counts as running and not responsive. What changed meanwhile is found by the resync that follows every
 * reconnect. It can be killed at any time.
 */
#include <errno.h>

#include "util/clock.h"
#include "util/log.h"
#include "vm/link.h"
#include "vm/operation.h"

static VmHandoff *make_handoff(Vm *vm, QemuProcess *process_consume, const char *folder)
{
	VmHandoff *handoff = vm_handoff_new(process_consume);

	handoff->vm_name = g_strdup(vm->config->name);
	handoff->qmp_path = g_strdup_printf("%s/qmp", folder);
	handoff->n_consoles = vm->config->n_consoles;
	handoff->console_fds = g_new(int, vm->config->n_consoles + 1);
	handoff->console_paths = g_new0(char *, vm->config->n_consoles + 1);
	for (unsigned i = 0; i < vm->config->n_consoles; i++) {
		handoff->console_fds[i] = -1;
		handoff->console_paths[i] =
			g_strdup_printf("%s/console-%s", folder, vm->config->consoles[i].name);
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
static int open_recorded(const char *uuid, ProcessRecord *record, QemuProcess **ret_process)
{
	int r;

	if (record->pid == 0) {
		r = qemu_process_find(uuid, &record->pid, &record->start_time);
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
	log_vm(LOG_WARNING, vm->config->name, vm->uuid, "its QEMU ended while the service was down");
	outbox_put_view(&vm->mail.out, vm_make_view(vm));
	/* The event thread, once it runs, has the folder removed. */
	vm_list(vm);
}

bool vm_adopt_process(Vm *vm) NO_THREAD_SAFETY_ANALYSIS
{
	RuntimeDir *dir = vm->engine->options.runtime_dir;
	g_autofree char *folder = NULL;
	g_autoptr(QemuProcess) process = NULL;
	ProcessRecord record;
	int r;

	r = runtime_dir_read_process(dir, vm->uuid, &record);
	if (r >= 0) {
		r = open_recorded(vm->uuid, &record, &process);
		if (r == -ESRCH)
			ended_meanwhile(vm);
	}
	if (r < 0) {
		if (r != -ENOENT && r != -ESRCH)
			log_vm(LOG_WARNING, vm->config->name, vm->uuid,
				"the record of its process can't be used: %s", g_strerror(-r));
		return false;
	}
	folder = runtime_dir_vm_path(dir, vm->uuid);
	vm->epoch = record.epoch;
	vm->pid = (uint32_t)process->pid;
	vm->accelerator = record.accelerator;
	vm->running_config = vm_config_ref(vm->config);
	vm->responsive = false;
	vm->unresponsive_since_usec = clock_realtime_usec();
	vm->state = vm->shown_state = VM_STATE_RUNNING;
	vm->reason = vm->shown_reason = VM_REASON_RESYNC;
	vm->mail.process = qemu_process_ref(process);
	vm->mail.silent = true;
	vm->claims_owner = claim_recorded(vm->engine, vm->config->name, &record);
	outbox_put_view(&vm->mail.out, vm_make_view(vm));
	log_vm(LOG_INFO, vm->config->name, vm->uuid, "its QEMU (process %u) still runs", vm->pid);
	vm_hand_over(vm, make_handoff(vm, g_steal_pointer(&process), folder));
	return true;
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

	if (orphans->is_known(uuid, orphans->user) || runtime_dir_read_process(dir, uuid, &record) < 0)
		return;
	if (open_recorded(uuid, &record, &process) < 0) {
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
		open_recorded(uuid, &record, &process) < 0)
		return false;
	*ret_pid = (uint32_t)process->pid;
	return true;
}
