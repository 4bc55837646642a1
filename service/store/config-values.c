/*
 * What the values of keys may be: checks of strings, and setters and getters by type. Each says what is wrong
 * without naming the key, in words that show no more than 64 bytes of what came from outside.
 */
#include "store/config-values.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "util/text.h"

#define KERNEL_COMMAND_LINE_MAX 2047 /* what x86 kernels take (COMMAND_LINE_SIZE) */
#define MAC_LENGTH              17

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

int config_check_vm_name(const char *text, char **ret_problem)
{
	g_autofree char *complaint = NULL;

	if (vm_name_is_valid(text, &complaint))
		return 0;
	g_assert(g_str_has_prefix(complaint, "Name: "));
	return problem(ret_problem, "%s", complaint + strlen("Name: "));
}

int config_check_description(const char *text, char **ret_problem)
{
	size_t length = strlen(text);

	if (length > VM_DESCRIPTION_MAX)
		return problem(
			ret_problem, "has %zu bytes, at most %d are allowed", length, VM_DESCRIPTION_MAX);
	return 0;
}

/* "" is none. */
int config_check_path(const char *text, char **ret_problem)
{
	size_t length = strlen(text);

	if (length == 0)
		return 0;
	if (length >= PATH_MAX)
		return problem(ret_problem, "has %zu bytes, a path at most %d", length, PATH_MAX - 1);
	if (has_control_character(text))
		return problem(ret_problem, "has a control character");
	if (*text != '/') {
		g_autofree char *quoted = text_quote(text);

		return problem(ret_problem, "%s is not an absolute path", quoted);
	}
	return 0;
}

int config_check_kernel_command_line(const char *text, char **ret_problem)
{
	size_t length = strlen(text);

	if (length > KERNEL_COMMAND_LINE_MAX)
		return problem(ret_problem, "has %zu bytes, at most %d are allowed", length,
			KERNEL_COMMAND_LINE_MAX);
	if (has_control_character(text))
		return problem(ret_problem, "has a control character");
	return 0;
}

bool vm_cpu_model_is_valid(const char *name)
{
	size_t length = strlen(name);
	bool good = length <= VM_CPU_MODEL_MAX && (length == 0 || g_ascii_isalnum(*name));

	for (size_t i = 1; good && i < length; i++)
		good = g_ascii_isalnum(name[i]) || strchr("._-", name[i]);
	return good;
}

/* Which there are is QEMU's to say. */
int config_check_cpu_model(const char *text, char **ret_problem)
{
	if (!vm_cpu_model_is_valid(text)) {
		g_autofree char *quoted = text_quote(text);

		return problem(ret_problem,
			"%s must be of at most %d letters, digits, '.', '_' and '-', the first a letter or "
			"digit",
			quoted, VM_CPU_MODEL_MAX);
	}
	return 0;
}

int config_check_serial(const char *text, char **ret_problem)
{
	size_t length = strlen(text);
	bool good = length <= VM_DISK_SERIAL_MAX;

	for (size_t i = 0; good && i < length; i++)
		good = g_ascii_isalnum(text[i]) || strchr("._-", text[i]);
	if (!good) {
		g_autofree char *quoted = text_quote(text);

		return problem(ret_problem, "%s must be of at most %d letters, digits, '.', '_' and '-'",
			quoted, VM_DISK_SERIAL_MAX);
	}
	return 0;
}

int config_check_device_name(const char *text, char **ret_problem)
{
	size_t length = strlen(text);
	bool good = length >= 1 && length <= VM_DEVICE_NAME_MAX && g_ascii_isalpha(*text);

	for (size_t i = 1; good && i < length; i++)
		good = g_ascii_isalnum(text[i]) || strchr("_-", text[i]);
	if (!good) {
		g_autofree char *quoted = text_quote(text);

		return problem(ret_problem,
			"%s must be of 1 to %u letters, digits, '_' and '-', the first a letter", quoted,
			VM_DEVICE_NAME_MAX);
	}
	return 0;
}

/* ---- setters and getters: by type, the row says the rest ---- */
#define FIELD(type, key, object)       ((type *)(void *)((char *)(object) + (key)->offset))
#define FIELD_CONST(type, key, object) ((const type *)(const void *)((const char *)(object) + (key)->offset))

int config_set_string(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	int r;

	r = key->check(g_variant_get_string(value, NULL), ret_problem);
	if (r < 0)
		return r;
	*FIELD(char *, key, object) = g_variant_dup_string(value, NULL);
	return 0;
}

GVariant *config_get_string(const ConfigKey *key, const void *object)
{
	return g_variant_new_string(*FIELD_CONST(char *, key, object));
}

int config_set_uuid(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	const char *text = g_variant_get_string(value, NULL);
	char uuid[37];

	if (!vm_uuid_normalize(text, uuid)) {
		g_autofree char *quoted = text_quote(text);

		return problem(
			ret_problem, "%s is not a UUID (32 hex digits, or 8-4-4-4-12 of them)", quoted);
	}
	*FIELD(char *, key, object) = g_strdup(uuid);
	return 0;
}

int config_set_mac(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	const char *text = g_variant_get_string(value, NULL);
	g_autofree char *quoted = text_quote(text);
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

int config_set_boolean(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	*FIELD(bool, key, object) = g_variant_get_boolean(value);
	return 0;
}

GVariant *config_get_boolean(const ConfigKey *key, const void *object)
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

int config_set_uint32(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	uint32_t number = g_variant_get_uint32(value);
	int r;

	r = check_number(key, number, ret_problem);
	if (r < 0)
		return r;
	*FIELD(uint32_t, key, object) = number;
	return 0;
}

GVariant *config_get_uint32(const ConfigKey *key, const void *object)
{
	return g_variant_new_uint32(*FIELD_CONST(uint32_t, key, object));
}

int config_set_uint64(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	uint64_t number = g_variant_get_uint64(value);
	int r;

	r = check_number(key, number, ret_problem);
	if (r < 0)
		return r;
	*FIELD(uint64_t, key, object) = number;
	return 0;
}

GVariant *config_get_uint64(const ConfigKey *key, const void *object)
{
	return g_variant_new_uint64(*FIELD_CONST(uint64_t, key, object));
}

int config_set_memory(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
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

int config_set_size(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	uint64_t bytes = g_variant_get_uint64(value);

	if (bytes != 0 && (bytes < VM_DISK_SIZE_MIN || bytes > VM_DISK_SIZE_MAX))
		return problem(ret_problem,
			"%" G_GUINT64_FORMAT " bytes are not between 1 MiB and 64 TiB (the unit is bytes)",
			bytes);
	if (bytes % 512 != 0)
		return problem(ret_problem, "%" G_GUINT64_FORMAT " bytes are not a multiple of 512", bytes);
	*FIELD(uint64_t, key, object) = bytes;
	return 0;
}

static int check_pair(const char *key, const char *value, char **ret_problem)
{
	g_autofree char *quoted = text_quote(key);
	size_t length = strlen(value);

	if (*key == '\0' || strlen(key) > VM_METADATA_KEY_MAX || has_control_character(key))
		return problem(ret_problem, "the key %s must be of 1 to %d bytes without control characters",
			quoted, VM_METADATA_KEY_MAX);
	if (length > VM_METADATA_VALUE_MAX)
		return problem(ret_problem, "the value of %s has %zu bytes, at most %d are allowed", quoted,
			length, VM_METADATA_VALUE_MAX);
	return 0;
}

int config_set_pairs(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	size_t n = g_variant_n_children(value);
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GPtrArray) pairs = NULL;

	if (n > VM_METADATA_MAX)
		return problem(ret_problem, "has %zu entries, at most %d are allowed", n, VM_METADATA_MAX);
	pairs = g_ptr_array_new_full(2 * (unsigned)n + 1, g_free);
	for (size_t i = 0; i < n; i++) {
		const char *name, *text;
		g_autofree char *quoted = NULL;
		int r;

		g_variant_get_child(value, i, "{&s&s}", &name, &text);
		quoted = text_quote(name);
		r = check_pair(name, text, ret_problem);
		if (r < 0)
			return r;
		g_ptr_array_add(pairs, g_strdup(name));
		if (!g_hash_table_add(seen, g_ptr_array_index(pairs, pairs->len - 1)))
			return problem(ret_problem, "the key %s is given twice", quoted);
		g_ptr_array_add(pairs, g_strdup(text));
	}
	g_ptr_array_add(pairs, NULL);
	*FIELD(char **, key, object) = (char **)g_ptr_array_steal(pairs, NULL);
	return 0;
}

GVariant *config_get_pairs(const ConfigKey *key, const void *object)
{
	const char *const *pairs = *FIELD_CONST(char *const *, key, object);
	GVariantBuilder builder;

	g_variant_builder_init(&builder, G_VARIANT_TYPE("a{ss}"));
	for (; pairs && *pairs; pairs += 2)
		g_variant_builder_add(&builder, "{ss}", pairs[0], pairs[1]);
	return g_variant_builder_end(&builder);
}

G_STATIC_ASSERT(sizeof(VmMachineType) == sizeof(unsigned) && sizeof(DiskBus) == sizeof(unsigned));

int config_set_strings(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	g_autofree const char **strings = g_variant_get_strv(value, NULL);
	unsigned n = g_strv_length((char **)strings);

	if (n > VM_QEMU_ARGUMENTS_MAX)
		return problem(
			ret_problem, "has %u entries, at most %d are allowed", n, VM_QEMU_ARGUMENTS_MAX);
	for (unsigned i = 0; i < n; i++) {
		size_t length = strlen(strings[i]);

		if (length > VM_QEMU_ARGUMENT_MAX)
			return problem(ret_problem, "entry %u has %zu bytes, at most %d are allowed", i,
				length, VM_QEMU_ARGUMENT_MAX);
		if (has_control_character(strings[i]))
			return problem(ret_problem, "entry %u has a control character", i);
	}
	*FIELD(char **, key, object) = g_strdupv((char **)strings);
	return 0;
}

GVariant *config_get_strings(const ConfigKey *key, const void *object)
{
	const char *const *strings = *FIELD_CONST(char *const *, key, object);

	return g_variant_new_strv(strings, strings ? -1 : 0);
}

static int refuse_word(const ConfigWords *words, const char *text, char **ret_problem)
{
	g_autofree char *quoted = text_quote(text);
	/* "" is none of what there is. */
	const char *const *first = words->words + (words->open_ended && **words->words == '\0');
	g_autofree char *list = g_strjoinv("', '", (char **)first);

	if (words->later && g_strv_contains(words->later, text)) {
		problem(ret_problem, "%s is not supported by this version yet", quoted);
		return -EOPNOTSUPP;
	}
	if (words->open_ended) {
		problem(ret_problem, "%s is not supported; there are '%s'", quoted, list);
		return -EOPNOTSUPP;
	}
	return problem(ret_problem, "%s is not one of '%s'", quoted, list);
}

int config_set_word(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
{
	const char *text = g_variant_get_string(value, NULL);
	int word = config_words_from_string(key->words, text);

	if (word < 0)
		return refuse_word(key->words, text, ret_problem);
	*FIELD(unsigned, key, object) = (unsigned)word;
	return 0;
}

GVariant *config_get_word(const ConfigKey *key, const void *object)
{
	return g_variant_new_string(config_words_to_string(key->words, *FIELD_CONST(unsigned, key, object)));
}
