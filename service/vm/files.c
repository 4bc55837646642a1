#include "vm/files.h"

#include <errno.h>
#include <unistd.h>

#include "qemu/command-line.h"

bool vm_files_prepare_firmware(Vm *vm, const VmConfig *config, char **ret_path, GError **error)
{
	const char *files[] = {
		qemu_firmware_code(config->firmware), qemu_firmware_variables(config->firmware)};
	int r;

	*ret_path = NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		if (!files[i])
			return true;
		if (access(files[i], R_OK) < 0) {
			g_set_error(error, VM_ERROR, VM_ERROR_NOT_SUPPORTED,
				"Firmware: '%s' is not installed on this host: %s: %s",
				vm_firmware_to_string(config->firmware), files[i], g_strerror(errno));
			return false;
		}
	}
	r = state_dir_make_nvram(vm->engine->options.state_dir, config->uuid, files[1], ret_path);
	if (r < 0)
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED,
			"Firmware: its variables can't be stored: %s", g_strerror(-r));
	return r >= 0;
}
