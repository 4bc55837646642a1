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

/* The images it had when it was started, by number: their storage is not touched. */
static void adopt_claims(Vm *vm, const ProcessRecord *record)
{
	g_autofree Claim *claims = g_new0(Claim, record->n_claims + 1);
	g_autofree char *holder = NULL;
	uint64_t owner = operation_next_id();
	unsigned index;

	for (unsigned i = 0; i < record->n_claims; i++)
		claims[i] = (Claim){.device = (dev_t)record->claims[i].device,
			.inode = (ino_t)record->claims[i].inode,
			.write = record->claims[i].write};
	if (claims_take(vm->engine->claims, owner, vm->config->name, claims, record->n_claims, &index,
		    &holder) < 0)
		log_vm(LOG_WARNING, vm->config->name, vm->uuid,
			"an image that it has is in use by the VM '%s', too", holder);
	else
		vm->claims_owner = owner;
}

bool vm_adopt_process(Vm *vm) NO_THREAD_SAFETY_ANALYSIS
{
	RuntimeDir *dir = vm->engine->options.runtime_dir;
	g_autofree char *folder = NULL;
	g_autoptr(QemuProcess) process = NULL;
	ProcessRecord record;
	int r;

	r = runtime_dir_read_process(dir, vm->uuid, &record);
	if (r >= 0)
		r = qemu_process_open(record.pid, record.start_time, &process);
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
	adopt_claims(vm, &record);
	outbox_put_view(&vm->mail.out, vm_make_view(vm));
	log_vm(LOG_INFO, vm->config->name, vm->uuid, "its QEMU (process %u) still runs", vm->pid);
	vm_hand_over(vm, make_handoff(vm, g_steal_pointer(&process), folder));
	return true;
}
