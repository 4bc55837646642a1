#include "bus/options.h"

#include <stdint.h>
#include <string.h>

#include "util/text.h"
#include "vm/error.h"

static const struct {
	char type;
	const char *signature, *words;
} types[] = {
	{'b', "b", "a boolean"},
	{'u', "u", "a 32-bit count"},
	{'t', "t", "a 64-bit count"},
	{'s', "s", "a string"},
	{'o', "o", "an object path"},
	{OPTION_STRINGS, "as", "an array of strings"},
};

static unsigned find_type(char type)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++)
		if (types[i].type == type)
			return i;
	g_assert_not_reached();
}

static const OptionRow *find_row(const char *key, const OptionRow *rows, size_t n_rows)
{
	for (size_t i = 0; i < n_rows; i++)
		if (strcmp(rows[i].key, key) == 0)
			return &rows[i];
	return NULL;
}

static bool refuse_unknown(
	const char *key, const char *member, const OptionRow *rows, size_t n_rows, GError **error)
{
	g_autoptr(GString) known = g_string_new(NULL);
	g_autofree char *shown = text_key(key);

	for (size_t i = 0; i < n_rows; i++)
		g_string_append_printf(known, "%s%s", i == 0 ? "" : ", ", rows[i].key);
	g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS, "options.%s: unknown, %s takes %s", shown, member,
		n_rows == 0 ? "no options yet" : known->str);
	return false;
}

static bool put_value(GVariant *value, const OptionRow *row, void *target, GError **error)
{
	char *at = (char *)target + row->offset;
	unsigned type = find_type(row->type);

	if (strcmp(g_variant_get_type_string(value), types[type].signature) != 0) {
		g_autofree char *given = text_quote(g_variant_get_type_string(value));

		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS,
			"options.%s: must be %s (%s), not of type %s", row->key, types[type].words,
			types[type].signature, given);
		return false;
	}
	switch (row->type) {
	case 'b':
		*(bool *)at = g_variant_get_boolean(value);
		break;
	case 'u':
		*(uint32_t *)at = g_variant_get_uint32(value);
		break;
	case 't':
		*(uint64_t *)at = g_variant_get_uint64(value);
		break;
	case 's':
	case 'o':
		*(const char **)at = g_variant_get_string(value, NULL);
		break;
	case OPTION_STRINGS:
		*(char ***)at = g_variant_dup_strv(value, NULL);
		break;
	default:
		g_assert_not_reached();
	}
	if (row->set_offset != OPTION_NO_FLAG)
		*(bool *)((char *)target + row->set_offset) = true;
	return true;
}

bool options_parse(GVariant *dict, const char *member, const OptionRow *rows, size_t n_rows, void *target,
	GError **error)
{
	GVariantIter iter;
	const char *key;
	GVariant *child;
	uint64_t seen = 0;

	g_assert(n_rows <= 64);
	g_variant_iter_init(&iter, dict);
	while (g_variant_iter_next(&iter, "{&sv}", &key, &child)) {
		g_autoptr(GVariant) value = child;
		const OptionRow *row = find_row(key, rows, n_rows);

		if (!row)
			return refuse_unknown(key, member, rows, n_rows, error);
		if (seen & (1ULL << (row - rows))) {
			g_set_error(
				error, VM_ERROR, VM_ERROR_INVALID_ARGS, "options.%s: is given twice", key);
			return false;
		}
		seen |= 1ULL << (row - rows);
		if (!put_value(value, row, target, error))
			return false;
	}
	return true;
}
