/*
 * From a dict to a VmConfig. A dict is read in its order, key by key, by the rows of its table; the first
 * problem ends it. What concerns several keys comes after, and what is missing last. The dict is from
 * outside: its size is bounded before anything is walked, and each message names the key and says no more
 * than 64 bytes of what was in it.
 */
#include "store/config-keys.h"

#include <errno.h>
#include <string.h>

#include "util/text.h"

static int read_dict(ConfigReader *reader, GVariant *dict, void *object);

bool config_reader_given(const ConfigReader *reader, const char *key)
{
	const ConfigKey *row = config_table_find(reader->table, key);

	return row && (reader->given & (1ULL << (row - reader->table->keys)));
}

int config_reader_complain(const ConfigReader *reader, int error, const char *key, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	*reader->ret_complaint = g_strdup_printf("%s%s: %s", reader->where, key, text);
	return error;
}

/* ---- a misspelt key ---- */
static const char *suggest(const ConfigTable *table, const char *name)
{
	unsigned best = text_distance_limit(name);
	const char *suggestion = NULL;

	for (unsigned i = 0; i < table->n_keys; i++) {
		unsigned distance = text_distance(name, table->keys[i].name);

		if (distance < best) {
			best = distance;
			suggestion = table->keys[i].name;
		}
	}
	return suggestion;
}

static int complain_unknown(const ConfigReader *reader, const char *name)
{
	const char *suggestion = suggest(reader->table, name);
	g_autofree char *shown = text_key(name);

	if (suggestion)
		return config_reader_complain(
			reader, -EINVAL, shown, "unknown key; did you mean '%s'?", suggestion);
	return config_reader_complain(reader, -EINVAL, shown, "unknown key");
}

int vm_config_check_key(const char *key, char **ret_complaint)
{
	ConfigReader reader = {.table = &config_vm_table, .where = "", .ret_complaint = ret_complaint};
	const ConfigKey *row = config_table_find(&config_vm_table, key);

	if (!row)
		return complain_unknown(&reader, key);
	if (!row->signature)
		return config_reader_complain(&reader, -EOPNOTSUPP, key, "not supported by this version yet");
	return 0;
}

static int check_required(const ConfigReader *reader)
{
	for (unsigned i = 0; i < reader->table->n_keys; i++)
		if (reader->table->keys[i].required && !(reader->given & (1ULL << i)))
			return config_reader_complain(
				reader, -EINVAL, reader->table->keys[i].name, "is required");
	return 0;
}

/* ---- lists of devices ---- */
static int read_list(const ConfigReader *reader, const char *name, const ConfigList *list, GVariant *value,
	VmConfig *config)
{
	size_t n = g_variant_n_children(value);
	char *array;

	if (n > list->max)
		return config_reader_complain(
			reader, -EINVAL, name, "has %zu entries, at most %u are allowed", n, list->max);
	if (n == 0)
		return 0;
	array = g_malloc0_n(n, list->element_size);
	*(void **)(void *)((char *)config + list->array_offset) = array;
	*(unsigned *)(void *)((char *)config + list->count_offset) = (unsigned)n;
	for (unsigned i = 0; i < n; i++) {
		g_autoptr(GVariant) dict = g_variant_get_child_value(value, i);
		g_autofree char *where = g_strdup_printf("%s[%u].", name, i);
		ConfigReader element = {
			.table = list->table, .where = where, .ret_complaint = reader->ret_complaint};
		int r;

		r = read_dict(&element, dict, array + i * list->element_size);
		if (r < 0)
			return r;
		r = list->check(&element, config, i);
		if (r < 0)
			return r;
		r = check_required(&element);
		if (r < 0)
			return r;
	}
	config_list_name_rest(list, config);
	return 0;
}

/* ---- one dict ---- */
static int complain_type(const ConfigReader *reader, const char *key, GVariant *value, const char *wanted)
{
	g_autofree char *given = text_quote(g_variant_get_type_string(value));

	return config_reader_complain(reader, -EINVAL, key, "has type %s, needs '%s'", given, wanted);
}

static int read_entry(ConfigReader *reader, const char *name, GVariant *value, void *object)
{
	const ConfigKey *key = config_table_find(reader->table, name);
	g_autofree char *problem = NULL;
	uint64_t bit;
	int r;

	if (!key)
		return complain_unknown(reader, name);
	bit = 1ULL << (key - reader->table->keys);
	if (reader->given & bit)
		return config_reader_complain(reader, -EINVAL, name, "is given twice");
	reader->given |= bit;
	if (!key->signature)
		return config_reader_complain(reader, -EOPNOTSUPP, name, "not supported by this version yet");
	if (!g_variant_is_of_type(value, G_VARIANT_TYPE(key->signature)))
		return complain_type(reader, name, value, key->signature);
	if (key->list)
		return read_list(reader, name, key->list, value, object);
	r = key->set(key, object, value, &problem);
	if (r < 0)
		return config_reader_complain(reader, r, name, "%s", problem);
	return 0;
}

static int read_dict(ConfigReader *reader, GVariant *dict, void *object)
{
	GVariantIter iter;
	const char *name;
	GVariant *value;
	int r = 0;

	g_variant_iter_init(&iter, dict);
	while (r >= 0 && g_variant_iter_next(&iter, "{&sv}", &name, &value)) {
		r = read_entry(reader, name, value, object);
		g_variant_unref(value);
	}
	return r;
}

/* ---- the whole ---- */
static int check_together(const ConfigReader *reader, const VmConfig *config)
{
	bool has_kernel = config->kernel && *config->kernel;

	if (!has_kernel && config->initrd && *config->initrd)
		return config_reader_complain(reader, -EINVAL, "Initrd", "needs Kernel");
	if (!has_kernel && config->kernel_command_line && *config->kernel_command_line)
		return config_reader_complain(reader, -EINVAL, "KernelCommandLine", "needs Kernel");
	if (config->firmware == VM_FIRMWARE_UEFI_SECURE && config->machine_type != VM_MACHINE_TYPE_Q35)
		return config_reader_complain(
			reader, -EINVAL, "Firmware", "'uefi-secure' needs MachineType 'q35'");
	if (config->watchdog == VM_WATCHDOG_IB700 && config->machine_type != VM_MACHINE_TYPE_PC)
		return config_reader_complain(reader, -EINVAL, "Watchdog", "'ib700' needs MachineType 'pc'");
	if (config->watchdog == VM_WATCHDOG_NONE && config->on_watchdog != VM_WATCHDOG_ACTION_RESET)
		return config_reader_complain(reader, -EINVAL, "OnWatchdog", "needs Watchdog");
	if (config->accelerator == VM_ACCELERATOR_TCG && g_strcmp0(config->cpu_model, "host") == 0)
		return config_reader_complain(
			reader, -EINVAL, "CPUModel", "'host' does not go with Accelerator 'tcg'");
	if (config->memory_max != 0 && config->memory_max < config->memory)
		return config_reader_complain(reader, -EINVAL, "MemoryMax",
			"%" G_GUINT64_FORMAT " bytes are less than Memory (%" G_GUINT64_FORMAT ")",
			config->memory_max, config->memory);
	return check_required(reader);
}

static void fill_rest(VmConfig *config)
{
	char **const texts[] = {&config->description, &config->cpu_model, &config->kernel, &config->initrd,
		&config->kernel_command_line};

	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		if (!*texts[i])
			*texts[i] = g_strdup("");
	if (!config->uuid)
		config->uuid = g_uuid_string_random();
	config_nics_address_rest(config);
}

static int check_size(size_t size, char **ret_complaint)
{
	if (size <= VM_CONFIG_SIZE_MAX)
		return 0;
	*ret_complaint =
		g_strdup_printf("config: has %zu bytes, at most %d are allowed", size, VM_CONFIG_SIZE_MAX);
	return -EFBIG;
}

int vm_config_new_from_variant(GVariant *dict, VmConfig **ret_config, char **ret_complaint)
{
	ConfigReader reader = {.table = &config_vm_table, .where = "", .ret_complaint = ret_complaint};
	g_autoptr(VmConfig) config = NULL;
	g_autoptr(GVariant) normal = NULL, whole = NULL;
	int r;

	if (!g_variant_is_of_type(dict, G_VARIANT_TYPE_VARDICT))
		return complain_type(&reader, "config", dict, "a{sv}");
	r = check_size(g_variant_get_size(dict), ret_complaint);
	if (r < 0)
		return r;
	normal = g_variant_get_normal_form(dict);

	config = g_new0(VmConfig, 1);
	ref_init(&config->ref);
	config->vcpus = 1;
	config->on_reboot = VM_POLICY_RESTART;
	config->on_crash = VM_POLICY_PRESERVE;
	config->shutdown_timeout_usec = VM_DEFAULT_SHUTDOWN_TIMEOUT_USEC;
	r = read_dict(&reader, normal, config);
	if (r < 0)
		return r;
	r = check_together(&reader, config);
	if (r < 0)
		return r;
	fill_rest(config);
	/* What is given back must be taken again, with all defaults in. */
	whole = g_variant_ref_sink(vm_config_to_variant(config));
	r = check_size(g_variant_get_size(whole), ret_complaint);
	if (r < 0)
		return r;
	*ret_config = g_steal_pointer(&config);
	return 0;
}
