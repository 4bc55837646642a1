#include "vm/files.h"

#include "qemu/command-line.h"

bool vm_files_prepare_firmware(Vm *vm, const VmConfig *config, char **ret_path, GError **error)
{
	const char *template = qemu_firmware_variables(config->firmware);
	int r;

	*ret_path = NULL;
	if (!template)
		return true;
	r = state_dir_make_nvram(vm->engine->options.state_dir, config->uuid, template, ret_path);
	if (r < 0)
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED,
			"Firmware: its variables can't be stored: %s", g_strerror(-r));
	return r >= 0;
}
