#pragma once
/*
 * Link: what the event thread has of a VM whose QEMU runs: the monitor, the process's end, its output, its
 * consoles, and the timers (hang detection, resync, the deadlines of Shutdown and of quit). A link is made
 * when Start (or a restart of the service) hands a process over, and ends when the process's exit has been
 * filed, after the last byte of the monitor.
 *
 * The event thread never waits, and never touches the VM's state: it files.
 */
#include "vm/vm.h"

/* In a VM's run-time folder: what QEMU writes goes through this FIFO, so that a later roostd hears it, too.
 */
#define VM_OUTPUT_NAME "output"

/* What a new process brings: everything here is owned, and taken over by the event thread. */
struct VmHandoff {
	QemuProcess *process;
	char *vm_name;    /* for the log */
	char *unit;       /* likewise; NULL: none */
	char *qmp_path;   /* for a reconnect */
	int qmp_fd;       /* connected; -1: to be reconnected by path */
	int output_fd;    /* the reading end of QEMU's standard output and error; -1: none */
	int *console_fds; /* connected or -1; one for each console of the config */
	char **console_paths;
	unsigned n_consoles;
	bool has_agent; /* a port for it */
	bool has_nics;
};

/* Any thread. */
VmHandoff *vm_handoff_new(QemuProcess *process_consume);
VmHandoff *vm_handoff_free(VmHandoff *handoff);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmHandoff, vm_handoff_free)

/* A worker: hands a process to the event thread; from here on commands can be sent and its exit will be
 * filed. */
void vm_hand_over(Vm *vm, VmHandoff *handoff_consume);

/* The event thread, from vm_deliver(): takes what is in the mail for it: a handoff, commands to be written,
 * console readers, deadlines. */
void vm_link_serve(Vm *vm) ON_EVENT_THREAD;

/* The event thread, at the end: frees the link without filing anything. */
void vm_link_drop(Vm *vm) ON_EVENT_THREAD;

/* Before threads start: if a QEMU that an earlier roostd started for this VM still lives, takes it over: the
 * VM counts as running (StateReason `resync`) and not responsive until its monitor has been reached and
 * asked. 1: there is one. 0: none was recorded, or it has ended. A negative errno: it can't be told. */
int vm_adopt_process(Vm *vm);
/* Before threads start, after all VMs were loaded: QEMUs that an earlier roostd started for VMs that are not
 * defined any more (a damaged file, an older backup) are named in the log, and their images claimed; folders
 * without a process are removed. */
void vm_adopt_orphans(Engine *engine, bool (*is_known)(const char *uuid, void *user), void *user);
/* A worker, no lock held: whether a process lives that is recorded in the folder of a VM that is off. */
bool vm_find_stray(Engine *engine, const char *uuid, uint32_t *ret_pid);
