#include "vm/checks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/command-line.h"
#include "qemu/image.h"
#include "qemu/support.h"
#include "util/fd.h"
#include "util/text.h"
#include "vm/files.h"

void start_facts_clear(StartFacts *facts)
{
	for (unsigned i = 0; i < facts->n_disks; i++)
		disk_images_clear(&facts->disks[i]);
	g_clear_pointer(&facts->disks, g_free);
	facts->n_disks = 0;
	fd_close(&facts->kernel_fd);
	fd_close(&facts->initrd_fd);
}

Rights *vm_owner_rights(Vm *vm, uint64_t deadline_usec, GError **error)
{
	g_autofree char *complaint = NULL;
	Rights *rights;
	int r = rights_new(vm->engine->options.helper, vm->owner_uid, deadline_usec, &rights, &complaint);

	if (r >= 0)
		return rights;
	g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED,
		"OwnerUID: files can't be reached with the rights of user %u: %s", vm->owner_uid, complaint);
	return NULL;
}

static void G_GNUC_PRINTF(3, 4) add(GPtrArray *problems, VmError code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_ptr_array_add(problems, g_error_new_valist(VM_ERROR, code, format, args));
	va_end(args);
}

static void check_file(Rights *rights, const char *key, const char *path, int *ret_fd, GPtrArray *problems)
{
	g_autofree char *shown = text_path(path);
	struct stat st;

	if (path[0] == '\0')
		return;
	*ret_fd = rights_open(rights, path, O_RDONLY);
	if (*ret_fd == -EISDIR || *ret_fd == -ENOTBLK)
		add(problems, VM_ERROR_STORAGE_FAILED, "%s: %s: is no regular file", key, shown);
	else if (*ret_fd < 0)
		add(problems, VM_ERROR_STORAGE_FAILED, "%s: %s: %s", key, shown, g_strerror(-*ret_fd));
	else if (fstat(*ret_fd, &st) < 0)
		add(problems, VM_ERROR_STORAGE_FAILED, "%s: %s: %s", key, shown, g_strerror(errno));
	else if (!S_ISREG(st.st_mode))
		add(problems, VM_ERROR_STORAGE_FAILED, "%s: %s: is no regular file", key, shown);
	else if (st.st_size == 0)
		add(problems, VM_ERROR_STORAGE_FAILED, "%s: %s: is empty", key, shown);
}

static void check_memory(const VmConfig *config, GPtrArray *problems)
{
	uint64_t host = host_memory();

	if (config->memory > host)
		add(problems, VM_ERROR_INVALID_CONFIG,
			"Memory: %" G_GUINT64_FORMAT " MiB is more than the host has (%" G_GUINT64_FORMAT
			" MiB)",
			config->memory >> 20, host >> 20);
}

static void check_accelerator(Engine *engine, const VmConfig *config, VmAccelerator *ret, GPtrArray *problems)
{
	g_autofree char *why = NULL;

	*ret = VM_ACCELERATOR_TCG;
	if (config->accelerator == VM_ACCELERATOR_TCG)
		return;
	assert_worker(__func__);
	if (engine_kvm_works(engine, &why))
		*ret = VM_ACCELERATOR_KVM;
	else if (config->accelerator == VM_ACCELERATOR_KVM)
		add(problems, VM_ERROR_NOT_SUPPORTED, "Accelerator: KVM does not work on this host: %s", why);
	else if (g_str_equal(config->cpu_model, "host"))
		add(problems, VM_ERROR_NOT_SUPPORTED,
			"CPUModel: 'host' needs KVM, which does not work on this host: %s", why);
}

static void check_firmware(const VmConfig *config, GPtrArray *problems)
{
	const char *files[] = {
		qemu_firmware_code(config->firmware), qemu_firmware_variables(config->firmware)};

	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++)
		if (files[i] && access(files[i], R_OK) < 0)
			add(problems, VM_ERROR_NOT_SUPPORTED,
				"Firmware: '%s' is not installed on this host: %s: %s",
				vm_firmware_to_string(config->firmware), files[i], g_strerror(errno));
}

/* One that Start will make. */
static void check_new_image(Rights *rights, const VmConfig *config, unsigned index, GPtrArray *problems)
{
	const char *path = config->disks[index].path;
	g_autofree char *folder = g_path_get_dirname(path), *shown = text_path(path);
	int r = rights_access(rights, folder, W_OK | X_OK);

	if (r < 0)
		add(problems, VM_ERROR_STORAGE_FAILED, "Disks[%u].Path: %s: can't be made: %s", index, shown,
			g_strerror(-r));
	if (access(qemu_image_tool(), X_OK) < 0)
		add(problems, VM_ERROR_NOT_SUPPORTED, "Disks[%u].Size: %s: %s", index, qemu_image_tool(),
			g_strerror(errno));
}

/* ---- what this QEMU can do ---- */
static void add_unsupported(const char *complaint, void *user)
{
	add(user, VM_ERROR_NOT_SUPPORTED, "%s", complaint);
}

void vm_check_support(Engine *engine, const VmConfig *config, GPtrArray *problems)
{
	g_autofree char *complaint = NULL;
	g_autoptr(QemuCapabilities) capabilities = engine_capabilities(engine, &complaint);

	if (capabilities)
		qemu_check_support(config, capabilities, add_unsupported, problems);
}

bool vm_check_supported(Engine *engine, const VmConfig *config, GError **error)
{
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);

	vm_check_support(engine, config, problems);
	if (problems->len > 0)
		g_propagate_error(error, g_error_copy(problems->pdata[0]));
	return problems->len == 0;
}

void vm_check_qemu(Engine *engine, GPtrArray *problems)
{
	g_autofree char *complaint = NULL;
	g_autoptr(QemuCapabilities) capabilities = engine_capabilities(engine, &complaint);

	if (!capabilities)
		add(problems, VM_ERROR_QEMU_FAILED, "%s", complaint);
}

/* ---- all of it ---- */
static void check_files(Rights *rights, const VmConfig *config, StartFacts *facts, GPtrArray *problems)
{
	for (unsigned i = 0; i < config->n_disks; i++) {
		GError *error = NULL;

		if (vm_files_image_is_missing(rights, &config->disks[i]))
			check_new_image(rights, config, i, problems);
		else if (config->disks[i].path[0] != '\0' &&
			 !vm_disks_open(rights, config, i, &facts->disks[i], &error))
			g_ptr_array_add(problems, error);
	}
	check_file(rights, "Kernel", config->kernel, &facts->kernel_fd, problems);
	check_file(rights, "Initrd", config->initrd, &facts->initrd_fd, problems);
}

void vm_check_start(
	Engine *engine, const VmConfig *config, Rights *rights, StartFacts *facts, GPtrArray *problems)
{
	assert_worker(__func__);
	if (access(engine->qemu_binary, X_OK) < 0)
		add(problems, VM_ERROR_QEMU_FAILED, "%s: %s", engine->qemu_binary, g_strerror(errno));
	else
		vm_check_support(engine, config, problems);
	facts->disks = g_new0(DiskImages, config->n_disks + 1);
	facts->n_disks = config->n_disks;
	if (rights)
		check_files(rights, config, facts, problems);
	check_firmware(config, problems);
	check_memory(config, problems);
	check_accelerator(engine, config, &facts->accelerator, problems);
}
