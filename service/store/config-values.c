/*
 * What the values of keys may be: checks of strings, and setters and getters by type. Each says what is wrong
 * without naming the key, in words that show no more than 64 bytes of what came from outside.
 */
#include "store/config-values.h"

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
		g_autofree char *quoted = config_quote(text);

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

int config_check_device_name(const char *text, char **ret_problem)
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
		g_autofree char *quoted = config_quote(text);

		return problem(
			ret_problem, "%s is not a UUID (32 hex digits, or 8-4-4-4-12 of them)", quoted);
	}
	*FIELD(char *, key, object) = g_strdup(uuid);
	return 0;
}

int config_set_mac(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
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

G_STATIC_ASSERT(sizeof(VmMachineType) == sizeof(unsigned) && sizeof(DiskBus) == sizeof(unsigned));

int config_set_word(const ConfigKey *key, void *object, GVariant *value, char **ret_problem)
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

GVariant *config_get_word(const ConfigKey *key, const void *object)
{
	unsigned word = key->offset == CONFIG_NO_FIELD ? 0 : *FIELD_CONST(unsigned, key, object);

	return g_variant_new_string(config_words_to_string(key->words, word));
}
