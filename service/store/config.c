/*
 * VmConfig as a value: references, copies, the words of its enumerations, names and UUIDs. What makes one
 * from a dict is in config-parse.c, and which keys there are in config-keys.c.
 */
#include "store/config-keys.h"

#include <errno.h>
#include <string.h>

#include "util/text.h"

/* ---- enumerations ---- */
const char *config_words_to_string(const ConfigWords *words, unsigned value)
{
	return value < words->n_words ? words->words[value] : NULL;
}

int config_words_from_string(const ConfigWords *words, const char *text)
{
	if (text)
		for (unsigned i = 0; i < words->n_words; i++)
			if (strcmp(words->words[i], text) == 0)
				return (int)i;
	return -EINVAL;
}

#define DEFINE_ENUM(prefix, Type, enum_words)                                                                \
	const char *prefix##_to_string(Type value)                                                           \
	{                                                                                                    \
		return config_words_to_string(&enum_words, (unsigned)value);                                 \
	}                                                                                                    \
	int prefix##_from_string(const char *s)                                                              \
	{                                                                                                    \
		return config_words_from_string(&enum_words, s);                                             \
	}

DEFINE_ENUM(vm_machine_type, VmMachineType, config_machine_type_words)
DEFINE_ENUM(vm_accelerator, VmAccelerator, config_accelerator_words)
DEFINE_ENUM(vm_firmware, VmFirmware, config_firmware_words)
DEFINE_ENUM(vm_display, VmDisplay, config_display_words)
DEFINE_ENUM(vm_watchdog, VmWatchdog, config_watchdog_words)
DEFINE_ENUM(vm_watchdog_action, VmWatchdogAction, config_watchdog_action_words)
DEFINE_ENUM(vm_policy, VmPolicy, config_crash_policy_words)
DEFINE_ENUM(nic_type, NicType, config_nic_type_words)
DEFINE_ENUM(nic_model, NicModel, config_nic_model_words)
DEFINE_ENUM(disk_format, DiskFormat, config_disk_format_words)
DEFINE_ENUM(disk_device, DiskDevice, config_disk_device_words)
DEFINE_ENUM(disk_bus, DiskBus, config_disk_bus_words)
DEFINE_ENUM(disk_cache, DiskCache, config_disk_cache_words)
DEFINE_ENUM(console_type, ConsoleType, config_console_type_words)

/* ---- the value ---- */
VmConfig *vm_config_ref(VmConfig *config)
{
	ref_get(&config->ref);
	return config;
}

VmConfig *vm_config_unref(VmConfig *config)
{
	if (!config || !ref_put(&config->ref))
		return NULL;
	for (unsigned i = 0; i < config->n_disks; i++) {
		g_free(config->disks[i].name);
		g_free(config->disks[i].path);
		g_free(config->disks[i].serial);
	}
	for (unsigned i = 0; i < config->n_nics; i++) {
		g_free(config->nics[i].name);
		g_free(config->nics[i].mac);
	}
	for (unsigned i = 0; i < config->n_consoles; i++)
		g_free(config->consoles[i].name);
	g_free(config->disks);
	g_free(config->nics);
	g_free(config->consoles);
	g_free(config->name);
	g_free(config->uuid);
	g_free(config->description);
	g_free(config->cpu_model);
	g_strfreev(config->metadata);
	g_strfreev(config->qemu_arguments);
	g_free(config->kernel);
	g_free(config->initrd);
	g_free(config->kernel_command_line);
	g_free(config);
	return NULL;
}

static VmConfig *config_copy(const VmConfig *config)
{
	VmConfig *copy = g_new(VmConfig, 1);

	/* All but the count, which others change meanwhile. It comes first. */
	G_STATIC_ASSERT(offsetof(VmConfig, ref) == 0);
	memcpy((char *)copy + sizeof copy->ref, (const char *)config + sizeof config->ref,
		sizeof *copy - sizeof copy->ref);
	ref_init(&copy->ref);
	copy->name = g_strdup(config->name);
	copy->uuid = g_strdup(config->uuid);
	copy->description = g_strdup(config->description);
	copy->cpu_model = g_strdup(config->cpu_model);
	copy->metadata = g_strdupv(config->metadata);
	copy->qemu_arguments = g_strdupv(config->qemu_arguments);
	copy->kernel = g_strdup(config->kernel);
	copy->initrd = g_strdup(config->initrd);
	copy->kernel_command_line = g_strdup(config->kernel_command_line);
	copy->disks = g_memdup2(config->disks, config->n_disks * sizeof *config->disks);
	for (unsigned i = 0; i < copy->n_disks; i++) {
		copy->disks[i].name = g_strdup(config->disks[i].name);
		copy->disks[i].path = g_strdup(config->disks[i].path);
		copy->disks[i].serial = g_strdup(config->disks[i].serial);
	}
	copy->nics = g_memdup2(config->nics, config->n_nics * sizeof *config->nics);
	for (unsigned i = 0; i < copy->n_nics; i++) {
		copy->nics[i].name = g_strdup(config->nics[i].name);
		copy->nics[i].mac = g_strdup(config->nics[i].mac);
	}
	copy->consoles = g_memdup2(config->consoles, config->n_consoles * sizeof *config->consoles);
	for (unsigned i = 0; i < copy->n_consoles; i++)
		copy->consoles[i].name = g_strdup(config->consoles[i].name);
	return copy;
}

VmConfig *vm_config_with_autostart(const VmConfig *config, bool autostart)
{
	VmConfig *copy = config_copy(config);

	copy->autostart = autostart;
	return copy;
}

VmConfig *vm_config_with_name(const VmConfig *config, const char *name)
{
	VmConfig *copy = config_copy(config);

	g_free(copy->name);
	copy->name = g_strdup(name);
	return copy;
}

VmConfig *vm_config_with_on_watchdog(const VmConfig *config, VmWatchdogAction action)
{
	VmConfig *copy = config_copy(config);

	copy->on_watchdog = action;
	return copy;
}

VmConfig *vm_config_with_on_reboot(const VmConfig *config, VmPolicy policy)
{
	VmConfig *copy = config_copy(config);

	copy->on_reboot = policy;
	return copy;
}

bool vm_config_has_panic(const VmConfig *config)
{
	return config->panic || config->on_crash != VM_POLICY_PRESERVE;
}

/* ---- giving it back ---- */
static GVariant *table_to_variant(const ConfigTable *table, const void *object);

static GVariant *list_to_variant(const ConfigList *list, const VmConfig *config)
{
	const char *array = config_list_array(list, config);
	GVariantBuilder builder;

	g_variant_builder_init(&builder, G_VARIANT_TYPE("aa{sv}"));
	for (unsigned i = 0; i < config_list_count(list, config); i++)
		g_variant_builder_add_value(
			&builder, table_to_variant(list->table, array + i * list->element_size));
	return g_variant_builder_end(&builder);
}

static GVariant *table_to_variant(const ConfigTable *table, const void *object)
{
	GVariantBuilder builder;

	g_variant_builder_init(&builder, G_VARIANT_TYPE_VARDICT);
	for (unsigned i = 0; i < table->n_keys; i++) {
		const ConfigKey *key = &table->keys[i];

		if (key->list)
			g_variant_builder_add(
				&builder, "{sv}", key->name, list_to_variant(key->list, object));
		else if (key->get)
			g_variant_builder_add(&builder, "{sv}", key->name, key->get(key, object));
	}
	return g_variant_builder_end(&builder);
}

GVariant *vm_config_to_variant(const VmConfig *config)
{
	return table_to_variant(&config_vm_table, config);
}

/* ---- names and UUIDs ---- */
bool vm_uuid_normalize(const char *text, char ret_uuid[static 37])
{
	size_t length = strnlen(text, 37);
	bool dashed = length == 36;
	char uuid[37];

	if (!dashed && length != 32)
		return false;
	for (unsigned i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash && !dashed)
			uuid[i] = '-';
		else if (dash ? *text == '-' : g_ascii_isxdigit(*text))
			uuid[i] = g_ascii_tolower(*text++);
		else
			return false;
	}
	uuid[36] = '\0';
	memcpy(ret_uuid, uuid, sizeof uuid);
	return true;
}

bool vm_name_is_valid(const char *name, char **ret_complaint)
{
	g_autofree char *quoted = text_quote(name);
	size_t length = strlen(name);
	char uuid[37];

	if (length == 0) {
		*ret_complaint = g_strdup("Name: is empty");
		return false;
	}
	if (length > VM_NAME_MAX) {
		*ret_complaint = g_strdup_printf("Name: %s has more than %d characters", quoted, VM_NAME_MAX);
		return false;
	}
	for (size_t i = 0; i < length; i++)
		if (!g_ascii_isalnum(name[i]) && (i == 0 || !strchr("._-", name[i]))) {
			*ret_complaint =
				g_strdup_printf("Name: %s must be of letters, digits, '.', '_' and '-', "
						"the first a letter or digit",
					quoted);
			return false;
		}
	if (vm_uuid_normalize(name, uuid)) {
		*ret_complaint = g_strdup_printf("Name: %s has the form of a UUID", quoted);
		return false;
	}
	return true;
}
