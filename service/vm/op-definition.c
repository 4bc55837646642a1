/*
 * Define, SetAutostart, Rename, Undefine: what is durable. Each commits before it writes: the caller of one
 * that takes too long on slow storage is told so, but it is carried out, and the VM's other operations wait
 * for it.
 */
#include <errno.h>

#include "util/log.h"
#include "vm/checks.h"
#include "vm/files.h"
#include "vm/operation.h"

static void set_storage_error(const Operation *op, int r, const char *what, GError **error)
{
	const EngineOptions *options = &op->vm->engine->options;
	g_autofree char *path = op->vm->persistent ? state_dir_path(options->state_dir, op->vm->uuid)
						   : runtime_dir_vm_path(options->runtime_dir, op->vm->uuid);

	g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED, "%s: the definition can't be %s: %s", path,
		what, g_strerror(-r));
}

/* Writes a definition, the lock released; a transient VM's is not durable. */
static bool write_definition(Operation *op, const VmConfig *config, uint64_t revision, GError **error)
	REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;
	int r;

	if (!operation_commit(op, error))
		return false;
	operation_block(op);
	r = vm_files_write_definition(vm, config, revision);
	if (!operation_unblock(op, error))
		return false;
	if (r < 0)
		set_storage_error(op, r, "stored", error);
	return r >= 0;
}

bool operation_check_supported(Operation *op, const VmConfig *config, GError **error)
{
	bool supported;

	assert_worker(__func__);
	operation_release(op);
	supported = vm_check_supported(op->vm->engine, config, error);
	operation_retake(op);
	return supported;
}

static bool run_define(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	if (!operation_check_supported(op, op->vm->config, error) ||
		!write_definition(op, op->vm->config, op->vm->revision, error))
		return false;
	op->vm->dirty = true;
	return true;
}

bool operation_change_definition(Operation *op, VmConfig *changed_consume, GError **error)
{
	g_autoptr(VmConfig) changed = changed_consume;
	Vm *vm = op->vm;

	if (!write_definition(op, changed, vm->revision + 1, error))
		return false;
	vm_config_unref(vm->config);
	vm->config = g_steal_pointer(&changed);
	vm->revision++;
	vm->dirty = true;
	return true;
}

static bool run_set_autostart(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;
	g_autoptr(VmConfig) changed = NULL;

	if (!vm->persistent) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE,
			"%s: the VM '%s' is transient: it is not there when the host starts",
			op->type->member, vm->config->name);
		return false;
	}
	if (vm->config->autostart == op->args.set_autostart.autostart)
		return true;
	changed = vm_config_with_autostart(vm->config, op->args.set_autostart.autostart);
	return operation_change_definition(op, g_steal_pointer(&changed), error);
}

/* The name is reserved already, and given up by the bus thread if this fails. */
static bool run_rename(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;
	g_autoptr(VmConfig) changed = NULL;

	if (g_str_equal(vm->config->name, op->args.rename.name))
		return true;
	changed = vm_config_with_name(vm->config, op->args.rename.name);
	return operation_change_definition(op, g_steal_pointer(&changed), error);
}

static void clear_rename(OperationArgs *args)
{
	g_free(args->rename.name);
}

typedef struct Removal {
	char *image; /* the first that could not be removed */
	int r_images, r_definition, r_variables, r_runtime, r_dumps;
} Removal;

/* Images first: while one is left, the VM is, and can be undefined again. */
static void remove_files(Vm *vm, bool storage, uint64_t deadline_usec, Removal *ret)
{
	StateDir *dir = vm->engine->options.state_dir;

	if (storage)
		ret->r_images = vm_files_remove_images(vm, deadline_usec, &ret->image);
	if (ret->r_images < 0)
		return;
	ret->r_definition = state_dir_remove(dir, vm->uuid);
	/* A file that somebody else removed is gone, too. */
	if (ret->r_definition == -ENOENT)
		ret->r_definition = 0;
	if (ret->r_definition < 0)
		return;
	ret->r_variables = state_dir_remove_nvram(dir, vm->uuid);
	ret->r_images = state_dir_forget_images(dir, vm->uuid);
	if (storage)
		ret->r_dumps = state_dir_remove_dumps(dir, vm->uuid);
	ret->r_runtime = vm_files_remove_runtime(vm);
}

static void warn_if_left(Vm *vm, int r, const char *what) REQUIRES(vm->lock)
{
	if (r < 0)
		log_vm(LOG_WARNING, vm->config->name, vm->uuid, "%s left: %s", what, g_strerror(-r));
}

static bool run_undefine(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	g_autofree char *image = NULL;
	Removal removal = {0};
	Vm *vm = op->vm;

	/* By its UUID the state folder may have another's files. */
	if (!vm->persistent) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE,
			"%s: the VM '%s' is transient: it goes when it stops", op->type->member,
			vm->config->name);
		return false;
	}
	if (vm_state_is_active(vm->state)) {
		operation_refuse_state(op, "off or crashed", error);
		return false;
	}
	if (!operation_commit(op, error))
		return false;
	operation_block(op);
	remove_files(vm, op->args.undefine.storage, op->deadline_usec, &removal);
	image = removal.image;
	if (!operation_unblock(op, error))
		return false;
	if (op->args.undefine.storage && removal.r_images < 0) {
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED, "%s: can't be removed: %s",
			image ? image : "options.Storage: its images", g_strerror(-removal.r_images));
		return false;
	}
	if (removal.r_definition < 0) {
		set_storage_error(op, removal.r_definition, "removed", error);
		return false;
	}
	warn_if_left(op->vm, removal.r_variables, "its firmware's variables are");
	warn_if_left(op->vm, removal.r_images, "the record of its images is");
	warn_if_left(op->vm, removal.r_dumps, "dumps of its memory are");
	warn_if_left(op->vm, removal.r_runtime, "run-time files are");
	vm->gone = true;
	vm->dirty = true;
	return true;
}

const OperationType operation_define = {"DefineVM", VM_LANE_QMP, DEADLINE_DEVICE, false, run_define, NULL};
const OperationType operation_set_autostart = {
	"SetAutostart", VM_LANE_QMP, DEADLINE_DEVICE, false, run_set_autostart, NULL};
const OperationType operation_undefine = {
	"Undefine", VM_LANE_QMP, DEADLINE_DEVICE, false, run_undefine, NULL};
const OperationType operation_rename = {
	"Rename", VM_LANE_QMP, DEADLINE_DEVICE, false, run_rename, clear_rename};
