/*
 * A dump of the guest's memory, for OnCrash and OnWatchdog. The guest is stopped. It has two steps of
 * internal work, each with a thread of its own for as long as it takes: one opens the file, hands it to QEMU
 * (which has no right to open any) and tells it to begin; the other puts away what has come of it, and goes
 * on with the policy. While QEMU writes nobody waits: the event that it is done begins the second step, and
 * so does a time that it should not need. A Kill ends QEMU, and what is not whole goes with its run-time
 * files.
 *
 * A dump that was begun by an earlier roostd is QEMU's to tell: it is waited for, or put away if it is done.
 */
#include <errno.h>
#include <string.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "vm/operation.h"

#define FD_NAME        "roost-dump"
#define HEADROOM       (64ULL << 20) /* beyond the guest's memory: video memory, firmware, headers */
#define DUMP_USEC      (60 * USEC_PER_SEC)
#define BYTES_PER_USEC 16 /* 16 MB/s, at least */

void dump_want(Vm *vm, VmPolicy then, const char *why)
{
	vm->hints.dump = VM_DUMP_WANTED;
	vm->hints.dump_then = then;
	vm->wanted |= VM_WANT_DUMP;
	log_vm(LOG_WARNING, vm->config->name, vm->uuid, "%s: its memory is dumped", why);
}

static void set_deadline(Vm *vm) REQUIRES(vm->lock)
{
	vm->hints.dump = VM_DUMP_RUNNING;
	vm_set_alarm(vm, VM_ALARM_DUMP, DUMP_USEC + vm->running_config->memory / BYTES_PER_USEC);
}

void dump_completed(Vm *vm, bool failed, const char *words)
{
	if (vm->hints.dump != VM_DUMP_RUNNING)
		return;
	if (failed)
		log_vm(LOG_WARNING, vm->config->name, vm->uuid, "QEMU could not dump its memory: %s", words);
	vm->hints.dump = failed ? VM_DUMP_FAILED : VM_DUMP_DONE;
	vm->wanted |= VM_WANT_DUMP;
}

void dump_timed_out(Vm *vm)
{
	if (vm->hints.dump != VM_DUMP_RUNNING)
		return;
	log_vm(LOG_WARNING, vm->config->name, vm->uuid,
		"its memory is not dumped in time: it is given up, and QEMU with it");
	vm->hints.dump = VM_DUMP_NONE;
	vm->hints.off_reason = vm->reason;
	vm_end_process(vm);
}

/* ---- the first step ---- */
/* What an earlier roostd has begun. */
static bool look_for_earlier(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	StateDir *dir = op->vm->engine->options.state_dir;
	g_autoptr(QmpReply) reply = NULL;
	g_autofree char *status = NULL;
	Vm *vm = op->vm;
	bool has_partial;

	operation_release(op);
	has_partial = state_dir_has_partial_dump(dir, vm->uuid);
	operation_retake(op);
	if (!has_partial)
		return true;
	if (!operation_execute(op, "query-dump", NULL, &reply, error))
		return false;
	status = qmp_data_get(reply->text, strlen(reply->text), "status");
	if (vm->hints.dump != VM_DUMP_WANTED)
		return true;
	if (strcmp(status, "active") == 0)
		set_deadline(op->vm);
	else if (strcmp(status, "completed") == 0)
		vm->hints.dump = VM_DUMP_DONE;
	return true;
}

static bool open_file(Operation *op, int *ret_fd, GError **error) REQUIRES(op->vm->lock)
{
	uint64_t bytes = op->vm->running_config->memory + op->vm->running_config->memory / 64 + HEADROOM;
	int r;

	operation_release(op);
	r = state_dir_begin_dump(op->vm->engine->options.state_dir, op->vm->uuid, bytes, ret_fd);
	operation_retake(op);
	if (r == -ENOSPC)
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED,
			"there is no room for %" G_GUINT64_FORMAT " MiB in the state folder", bytes >> 20);
	else if (r < 0)
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED, "the state folder: %s", g_strerror(-r));
	return r >= 0;
}

static bool run_dump(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;
	uint64_t epoch = vm->epoch;
	autofd int fd = -1;

	if (!look_for_earlier(op, error))
		return false;
	if (vm->hints.dump != VM_DUMP_WANTED || vm->pid == 0)
		return true;
	if (!open_file(op, &fd, error))
		return false;
	if (!operation_execute_fd(op, "getfd", g_variant_new_parsed("{'fdname': <%s>}", FD_NAME),
		    g_steal_fd(&fd), NULL, error))
		return false;
	/* It may be done before it has answered. */
	if (vm->hints.dump != VM_DUMP_WANTED || vm->epoch != epoch)
		return true;
	set_deadline(op->vm);
	return operation_execute(op, "dump-guest-memory",
		g_variant_new_parsed(
			"{'paging': <false>, 'protocol': <%s>, 'detach': <true>}", "fd:" FD_NAME),
		NULL, error);
}

static const OperationType operation_dump = {"dump", VM_LANE_QMP, DEADLINE_DEVICE, true, run_dump, NULL};

static void begin(Vm *vm) ON_WORKER
{
	g_autoptr(GError) error = NULL;

	if (operation_run_own(&operation_dump, vm, &error))
		return;
	vm_lock(vm);
	log_vm(LOG_WARNING, vm->config->name, vm->uuid, "its memory can't be dumped: %s", error->message);
	if (vm->hints.dump != VM_DUMP_NONE)
		vm->hints.dump = VM_DUMP_FAILED;
	vm_unlock(vm);
}

/* ---- the second ---- */
static void put_away(Vm *vm, bool whole) ON_WORKER
{
	StateDir *dir = vm->engine->options.state_dir;
	g_autofree char *path = NULL;
	int r = whole ? state_dir_finish_dump(dir, vm->uuid, &path) : 0;

	if (!whole || r < 0)
		state_dir_drop_dump(dir, vm->uuid);
	vm_lock(vm);
	if (path)
		log_vm(LOG_WARNING, vm->config->name, vm->uuid, "its memory is in %s", path);
	else if (r < 0)
		log_vm(LOG_WARNING, vm->config->name, vm->uuid, "the dump of its memory can't be kept: %s",
			g_strerror(-r));
	/* It may have ended since. */
	if (vm->hints.dump == VM_DUMP_DONE || vm->hints.dump == VM_DUMP_FAILED) {
		vm->hints.dump = VM_DUMP_NONE;
		policy_after_dump(vm, vm->hints.dump_then);
	}
	vm_unlock(vm);
}

static VmDump look(Vm *vm) ON_WORKER
{
	VmDump dump;

	vm_lock(vm);
	dump = vm->hints.dump;
	vm_unlock(vm);
	return dump;
}

void dump_run(Vm *vm)
{
	VmDump dump = look(vm);

	if (dump == VM_DUMP_WANTED) {
		begin(vm);
		dump = look(vm);
	}
	if (dump == VM_DUMP_DONE || dump == VM_DUMP_FAILED)
		put_away(vm, dump == VM_DUMP_DONE);
}
