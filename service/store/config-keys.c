/*
 * The keys of a definition: one row each, with its type, its field, and what its values may be. A row without
 * a signature is a key of the contract that this version refuses by name; to carry it out is to complete the
 * row.
 */
#include "store/config-keys.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#define QUOTE_MAX               64
#define KERNEL_COMMAND_LINE_MAX 2047 /* what x86 kernels take (COMMAND_LINE_SIZE) */
#define VM_MEMORY_MAX           (16ULL << 40)
#define MAC_LENGTH              17

char *config_quote(const char *text)
{
	GString *quoted = g_string_new("'");

	for (const char *p = text; *p; p = g_utf8_next_char(p)) {
		if (p - text >= QUOTE_MAX) {
			g_string_append(quoted, "...");
			break;
		}
		if (g_unichar_iscntrl(g_utf8_get_char(p)))
			g_string_append_printf(quoted, "\\x%02x", (unsigned)g_utf8_get_char(p));
		else
			g_string_append_unichar(quoted, g_utf8_get_char(p));
	}
	return g_string_free(g_string_append_c(quoted, '\''), FALSE);
}

G_GNUC_PRINTF(2, 3) static int problem(char **ret_problem, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	*ret_problem = g_strdup_vprintf(format, args);
	va_end(args);
	return -EINVAL;
}

/* ---- strings ---- */
static bool has_control_character(const char *text)
{
	for (; *text; text++)
		if (g_ascii_iscntrl(*text))
			return true;
	return false;
}

static int check_vm_name(const char *text, char **ret_problem)
{
	g_autofree char *complaint = NULL;

	if (vm_name_is_valid(text, &complaint))
		return 0;
	g_assert(g_str_has_prefix(complaint, "Name: "));
	return problem(ret_problem, "%s", complaint + strlen("Name: "));
}

static int check_description(const char *text, char **ret_problem)
{
	size_t length = strlen(text);

	if (length > VM_DESCRIPTION_MAX)
		return problem(
			ret_problem, "has %zu bytes, at most %d are allowed", length, VM_DESCRIPTION_MAX);
	return 0;
}

/* "" is none. */
static int check_path(const char *text, char **ret_problem)
{
	size_t length = strlen(text);

	if (length == 0)
		return 0;
	if (length >= PATH_MAX)
		return problem(ret_problem, "has %zu bytes, a path at most %d", length, PATH_MAX - 1);
	if (has_control_character(text))
		return problem(ret_problem, "has a control character");
	if (*text != '/') {
		g_autofree char *quoted = config_quote(text);

		return problem(ret_problem, "%s is not an absolute path", quoted);
	}
	return 0;
}

static int check_kernel_command_line(const char *text, char **ret_problem)
{
	size_t length = strlen(text);

	if (length > KERNEL_COMMAND_LINE_MAX)
		return problem(ret_problem, "has %zu bytes, at most %d are allowed", length,
			KERNEL_COMMAND_LINE_MAX);
	if (has_control_character(text))
		return problem(ret_problem, "has a control character");
	return 0;
}

static int check_device_name(const char *text, char **ret_problem)
{
	size_t length = strlen(text);
	bool good = length >= 1 && length <= VM_DEVICE_NAME_MAX && g_ascii_isalpha(*text);

	for (size_t i = 1; good && i < length; i++)
		good = g_ascii_isalnum(text[i]) || strchr("_-", text[i]);
	if (!good) {
		g_autofree char *quoted = config_quote(text);

		return problem(ret_problem,
			"%s must be of 1 to %u letters, digits, '_' and '-', the first a letter", quoted,
			VM_DEVICE_NAME_MAX);
	}
	return 0;
}

/* ---- setters and getters: by type, the row says the rest ---- */
#define FIELD(type, key, object)       ((type *)(void *)((char *)(object) + (key)->offset))
#define FIELD_CONST(type, key, object) ((const type *)(const void *)((const char *)(object) + (key)->offset))

static int set_string(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	int r;

	r = key->check(g_variant_get_string(value, NULL), ret_problem);
	if (r < 0)
		return r;
	*FIELD(char *, key, object) = g_variant_dup_string(value, NULL);
	return 0;
}

static GVariant *get_string(const ConfigKey *key, const void *object)
{
	return g_variant_new_string(*FIELD_CONST(char *, key, object));
}

static int set_uuid(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	const char *text = g_variant_get_string(value, NULL);
	char uuid[37];

	if (!vm_uuid_normalize(text, uuid)) {
		g_autofree char *quoted = config_quote(text);

		return problem(
			ret_problem, "%s is not a UUID (32 hex digits, or 8-4-4-4-12 of them)", quoted);
	}
	*FIELD(char *, key, object) = g_strdup(uuid);
	return 0;
}

static int set_mac(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	const char *text = g_variant_get_string(value, NULL);
	g_autofree char *quoted = config_quote(text);
	bool good = strlen(text) == MAC_LENGTH;

	for (unsigned i = 0; good && i < MAC_LENGTH; i++)
		good = i % 3 == 2 ? text[i] == ':' : g_ascii_isxdigit(text[i]);
	if (!good)
		return problem(ret_problem, "%s is not a MAC address (xx:xx:xx:xx:xx:xx)", quoted);
	if (g_ascii_xdigit_value(text[1]) & 1)
		return problem(ret_problem, "%s is a multicast address", quoted);
	if (strcmp(text, "00:00:00:00:00:00") == 0)
		return problem(ret_problem, "%s is the address of nobody", quoted);
	*FIELD(char *, key, object) = g_ascii_strdown(text, -1);
	return 0;
}

static int set_boolean(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	*FIELD(bool, key, object) = g_variant_get_boolean(value);
	return 0;
}

static GVariant *get_boolean(const ConfigKey *key, const void *object)
{
	return g_variant_new_boolean(*FIELD_CONST(bool, key, object));
}

static int check_number(const ConfigKey *key, uint64_t number, char **ret_problem)
{
	if (number < key->min || number > key->max)
		return problem(ret_problem,
			"%" G_GUINT64_FORMAT " is not between %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT,
			number, key->min, key->max);
	return 0;
}

static int set_uint32(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	uint32_t number = g_variant_get_uint32(value);
	int r;

	r = check_number(key, number, ret_problem);
	if (r < 0)
		return r;
	*FIELD(uint32_t, key, object) = number;
	return 0;
}

static GVariant *get_uint32(const ConfigKey *key, const void *object)
{
	return g_variant_new_uint32(*FIELD_CONST(uint32_t, key, object));
}

static int set_uint64(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	uint64_t number = g_variant_get_uint64(value);
	int r;

	r = check_number(key, number, ret_problem);
	if (r < 0)
		return r;
	*FIELD(uint64_t, key, object) = number;
	return 0;
}

static GVariant *get_uint64(const ConfigKey *key, const void *object)
{
	return g_variant_new_uint64(*FIELD_CONST(uint64_t, key, object));
}

static int set_memory(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	uint64_t bytes = g_variant_get_uint64(value);

	if (bytes < VM_MEMORY_MIN || bytes > VM_MEMORY_MAX)
		return problem(ret_problem,
			"%" G_GUINT64_FORMAT " bytes are not between 1 MiB and 16 TiB (the unit is bytes)",
			bytes);
	if (bytes % VM_MEMORY_MIN != 0)
		return problem(ret_problem, "%" G_GUINT64_FORMAT " bytes are not a multiple of 1 MiB (%llu)",
			bytes, VM_MEMORY_MIN);
	*FIELD(uint64_t, key, object) = bytes;
	return 0;
}

G_STATIC_ASSERT(sizeof(VmMachineType) == sizeof(unsigned) && sizeof(DiskBus) == sizeof(unsigned));

static int set_word(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	const char *text = g_variant_get_string(value, NULL);
	int word = config_words_from_string(key->words, text);

	if (word < 0) {
		g_autofree char *quoted = config_quote(text);
		g_autofree char *list = NULL;

		if (key->words->later && g_strv_contains(key->words->later, text)) {
			problem(ret_problem, "%s is not supported by this version yet", quoted);
			return -EOPNOTSUPP;
		}
		if (key->words->n_words == 1)
			return problem(ret_problem, "%s is not '%s'", quoted, key->words->words[0]);
		list = g_strjoinv("', '", (char **)key->words->words);
		return problem(ret_problem, "%s is not one of '%s'", quoted, list);
	}
	if (key->offset != CONFIG_NO_FIELD)
		*FIELD(unsigned, key, object) = (unsigned)word;
	return 0;
}

static GVariant *get_word(const ConfigKey *key, const void *object)
{
	unsigned word = key->offset == CONFIG_NO_FIELD ? 0 : *FIELD_CONST(unsigned, key, object);

	return g_variant_new_string(config_words_to_string(key->words, word));
}

/* ---- the words ---- */
#define WORDS(...)                                                                                           \
	.words = (const char *const[]){__VA_ARGS__, NULL},                                                   \
	.n_words = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)
#define LATER_WORDS(...)                                                                                     \
	.later = (const char *const[])                                                                       \
	{                                                                                                    \
		__VA_ARGS__, NULL                                                                            \
	}

const ConfigWords config_machine_type_words = {WORDS("q35", "pc")};
const ConfigWords config_accelerator_words = {WORDS("auto", "kvm", "tcg")};
const ConfigWords config_disk_format_words = {WORDS("raw", "qcow2")};
const ConfigWords config_disk_device_words = {WORDS("disk", "cdrom", "floppy")};
const ConfigWords config_disk_bus_words = {
	WORDS("virtio", "ide", "fdc"), LATER_WORDS("sata", "nvme", "scsi", "usb")};
const ConfigWords config_console_type_words = {WORDS("serial", "virtio")};
static const ConfigWords display_words = {WORDS("none"), LATER_WORDS("vnc", "spice", "dbus")};
static const ConfigWords nic_type_words = {WORDS("user"), LATER_WORDS("none", "bridge", "tap")};
static const ConfigWords nic_model_words = {WORDS("virtio"), LATER_WORDS("e1000", "e1000e", "rtl8139")};

/* ---- the tables ---- */
#define STRING(type, field, check_func)                                                                      \
	.signature = "s", .set = set_string, .get = get_string, .offset = offsetof(type, field),             \
	.check = check_func
#define BOOLEAN(type, field)                                                                                 \
	.signature = "b", .set = set_boolean, .get = get_boolean, .offset = offsetof(type, field)
#define WORD(type, field, enum_words)                                                                        \
	.signature = "s", .set = set_word, .get = get_word, .offset = offsetof(type, field),                 \
	.words = &enum_words
#define ONE_WORD(enum_words)                                                                                 \
	.signature = "s", .set = set_word, .get = get_word, .offset = CONFIG_NO_FIELD, .words = &enum_words
#define LIST(config_list) .signature = "aa{sv}", .list = &config_list
#define TABLE(rows)                                                                                          \
	{                                                                                                    \
		.keys = rows, .n_keys = G_N_ELEMENTS(rows)                                                   \
	}

static const ConfigKey disk_keys[] = {
	{"Name", STRING(DiskConfig, name, check_device_name)},
	{"Path", STRING(DiskConfig, path, check_path)},
	{"Format", WORD(DiskConfig, format, config_disk_format_words), .required = true},
	{"Bus", WORD(DiskConfig, bus, config_disk_bus_words)},
	{"Device", WORD(DiskConfig, device, config_disk_device_words)},
	{"ReadOnly", BOOLEAN(DiskConfig, read_only)},
	{"Cache"},
	{"Discard"},
	{"Serial"},
	{"BootIndex"},
	{"Size"},
	{"DetectZeroes"},
	{"AIO"},
	{"IOThread"},
	{"Shareable"},
	{"IOLimits"},
	{"ErrorPolicy"},
	{"WriteThreshold"},
	{"File"},
};
static const ConfigTable disk_table = TABLE(disk_keys);
static const ConfigList disk_list = {
	.table = &disk_table,
	.array_offset = offsetof(VmConfig, disks),
	.count_offset = offsetof(VmConfig, n_disks),
	.element_size = sizeof(DiskConfig),
	.max = VM_DISKS_MAX,
	.check = config_disk_check,
	.prefix = config_disk_prefix,
};

static const ConfigKey nic_keys[] = {
	{"Name", STRING(NicConfig, name, check_device_name)},
	{"Type", ONE_WORD(nic_type_words)},
	{"MAC", .signature = "s", .set = set_mac, .get = get_string, .offset = offsetof(NicConfig, mac)},
	{"Model", ONE_WORD(nic_model_words)},
	{"Bridge"},
};
static const ConfigTable nic_table = TABLE(nic_keys);
static const ConfigList nic_list = {
	.table = &nic_table,
	.array_offset = offsetof(VmConfig, nics),
	.count_offset = offsetof(VmConfig, n_nics),
	.element_size = sizeof(NicConfig),
	.max = VM_NICS_MAX,
	.check = config_nic_check,
	.prefix = config_nic_prefix,
};

static const ConfigKey console_keys[] = {
	{"Name", STRING(ConsoleConfig, name, check_device_name)},
	{"Type", WORD(ConsoleConfig, type, config_console_type_words)},
};
static const ConfigTable console_table = TABLE(console_keys);
static const ConfigList console_list = {
	.table = &console_table,
	.array_offset = offsetof(VmConfig, consoles),
	.count_offset = offsetof(VmConfig, n_consoles),
	.element_size = sizeof(ConsoleConfig),
	.max = VM_CONSOLES_MAX,
	.check = config_console_check,
	.prefix = config_console_prefix,
};

static const ConfigKey vm_keys[] = {
	{"Name", STRING(VmConfig, name, check_vm_name), .required = true},
	{"UUID", .signature = "s", .set = set_uuid, .get = get_string, .offset = offsetof(VmConfig, uuid)},
	{"Description", STRING(VmConfig, description, check_description)},
	{"VCPUs", .signature = "u", .set = set_uint32, .get = get_uint32, .offset = offsetof(VmConfig, vcpus),
		.min = 1, .max = VM_VCPUS_MAX},
	{"Memory", .signature = "t", .set = set_memory, .get = get_uint64,
		.offset = offsetof(VmConfig, memory), .required = true},
	{"MachineType", WORD(VmConfig, machine_type, config_machine_type_words)},
	{"Accelerator", WORD(VmConfig, accelerator, config_accelerator_words)},
	{"CPUModel"},
	{"Firmware"},
	{"Kernel", STRING(VmConfig, kernel, check_path)},
	{"Initrd", STRING(VmConfig, initrd, check_path)},
	{"KernelCommandLine", STRING(VmConfig, kernel_command_line, check_kernel_command_line)},
	{"Disks", LIST(disk_list)},
	{"NICs", LIST(nic_list)},
	{"Consoles", LIST(console_list)},
	{"Display", ONE_WORD(display_words)},
	{"RNG"},
	{"Panic", BOOLEAN(VmConfig, panic)},
	{"Watchdog"},
	{"OnWatchdog"},
	{"Autostart", BOOLEAN(VmConfig, autostart)},
	/* A bound, so that a deadline made of it can't wrap around, and JSON's signed numbers hold it. */
	{"ShutdownTimeout", .signature = "t", .set = set_uint64, .get = get_uint64,
		.offset = offsetof(VmConfig, shutdown_timeout_usec), .max = VM_SHUTDOWN_TIMEOUT_MAX_USEC},
	{"Metadata"},
	{"QemuArguments"},
	{"MaxMemory"},
	{"Agent"},
	{"TPM"},
	{"OnPowerOff"},
	{"OnReboot"},
	{"OnCrash"},
	{"StartOrder"},
	{"StartDelay"},
	{"OnHostShutdown"},
	{"OnHostSleep"},
};
const ConfigTable config_vm_table = TABLE(vm_keys);
G_STATIC_ASSERT(G_N_ELEMENTS(vm_keys) <= 64 && G_N_ELEMENTS(disk_keys) <= 64);
G_STATIC_ASSERT(offsetof(DiskConfig, name) == 0 && offsetof(NicConfig, name) == 0 &&
		offsetof(ConsoleConfig, name) == 0);

const ConfigKey *config_table_find(const ConfigTable *table, const char *name)
{
	for (unsigned i = 0; i < table->n_keys; i++)
		if (strcmp(table->keys[i].name, name) == 0)
			return &table->keys[i];
	return NULL;
}
