/*
 * Commands to bytes. Those of Roost itself come as a name and a GVariant and are written from scratch. A
 * caller's own JSON is checked member by member and then passed on as it stands, under our id: what QEMU
 * makes of it is between the caller and QEMU, but which line it is, and which reply belongs to it, is ours.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "qmp/wire.h"
#include "util/json.h"
#include "util/text.h"

#define CALLER_COMMAND_MAX (256U * 1024)

static void append_string(GString *line, const char *text)
{
	g_string_append_c(line, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			g_string_append_c(line, '\\');
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			g_string_append_printf(line, "\\u%04x", (unsigned)*text);
		else
			g_string_append_c(line, *text);
	}
	g_string_append_c(line, '"');
}

static void append_double(GString *line, double value)
{
	char text[G_ASCII_DTOSTR_BUF_SIZE];

	/* JSON has no word for the rest; QEMU then names the argument that is not a number. */
	g_string_append(line, isfinite(value) ? g_ascii_dtostr(text, sizeof text, value) : "null");
}

static void append_value(GString *line, GVariant *value);

static void append_dict(GString *line, GVariant *dict)
{
	GVariantIter iter;
	GVariant *entry;
	const char *separator = "";

	g_string_append_c(line, '{');
	g_variant_iter_init(&iter, dict);
	while ((entry = g_variant_iter_next_value(&iter))) {
		g_autoptr(GVariant) key = g_variant_get_child_value(entry, 0);
		g_autoptr(GVariant) value = g_variant_get_child_value(entry, 1);

		g_string_append(line, separator);
		append_string(line, g_variant_get_string(key, NULL));
		g_string_append_c(line, ':');
		append_value(line, value);
		separator = ",";
		g_variant_unref(entry);
	}
	g_string_append_c(line, '}');
}

static void append_children(GString *line, GVariant *array)
{
	g_string_append_c(line, '[');
	for (gsize i = 0; i < g_variant_n_children(array); i++) {
		g_autoptr(GVariant) value = g_variant_get_child_value(array, i);

		if (i > 0)
			g_string_append_c(line, ',');
		append_value(line, value);
	}
	g_string_append_c(line, ']');
}

static void append_container(GString *line, GVariant *value)
{
	if (g_variant_is_of_type(value, G_VARIANT_TYPE_VARIANT)) {
		g_autoptr(GVariant) inner = g_variant_get_variant(value);

		append_value(line, inner);
	} else if (g_variant_is_of_type(value, G_VARIANT_TYPE("a{s*}"))) {
		append_dict(line, value);
	} else {
		append_children(line, value);
	}
}

static void append_value(GString *line, GVariant *value)
{
	switch (g_variant_classify(value)) {
	case G_VARIANT_CLASS_STRING:
	case G_VARIANT_CLASS_OBJECT_PATH:
	case G_VARIANT_CLASS_SIGNATURE:
		append_string(line, g_variant_get_string(value, NULL));
		break;
	case G_VARIANT_CLASS_BOOLEAN:
		g_string_append(line, g_variant_get_boolean(value) ? "true" : "false");
		break;
	case G_VARIANT_CLASS_BYTE:
		g_string_append_printf(line, "%u", g_variant_get_byte(value));
		break;
	case G_VARIANT_CLASS_INT16:
		g_string_append_printf(line, "%d", g_variant_get_int16(value));
		break;
	case G_VARIANT_CLASS_UINT16:
		g_string_append_printf(line, "%u", g_variant_get_uint16(value));
		break;
	case G_VARIANT_CLASS_INT32:
		g_string_append_printf(line, "%d", g_variant_get_int32(value));
		break;
	case G_VARIANT_CLASS_UINT32:
		g_string_append_printf(line, "%u", g_variant_get_uint32(value));
		break;
	case G_VARIANT_CLASS_INT64:
		g_string_append_printf(line, "%" G_GINT64_FORMAT, g_variant_get_int64(value));
		break;
	case G_VARIANT_CLASS_UINT64:
		g_string_append_printf(line, "%" G_GUINT64_FORMAT, g_variant_get_uint64(value));
		break;
	case G_VARIANT_CLASS_DOUBLE:
		append_double(line, g_variant_get_double(value));
		break;
	default:
		append_container(line, value);
		break;
	}
}

static void append_id(GString *line, uint64_t id)
{
	g_string_append_printf(line, ",\"id\":%" G_GUINT64_FORMAT "}\n", id);
}

char *qmp_command_format(const char *name, GVariant *arguments, uint64_t id)
{
	g_autoptr(GVariant) owned = arguments ? g_variant_ref_sink(arguments) : NULL;
	GString *line = g_string_new("{\"execute\":");

	append_string(line, name);
	if (owned) {
		g_string_append(line, ",\"arguments\":");
		append_value(line, owned);
	}
	append_id(line, id);
	return g_string_free(line, FALSE);
}

/* ---- a caller's own ---- */

typedef struct CallerCommand {
	JsonSlice execute, arguments;
	char *complaint;
} CallerCommand;

/* What QMP knows at this level; all else is refused by name. */
static const struct {
	const char *key;
	const char *complaint; /* NULL: taken */
	size_t offset;
} member_table[] = {
	{"execute", NULL, offsetof(CallerCommand, execute)},
	{"arguments", NULL, offsetof(CallerCommand, arguments)},
	{"id", "not allowed, Roost gives commands their ids", 0},
	{"exec-oob", "not allowed, commands are executed in order", 0},
};

static void take_member(const JsonSlice *member, void *user)
{
	CallerCommand *command = user;
	g_autofree char *key = NULL, *shown = NULL;

	if (command->complaint)
		return;
	key = g_strndup(member->key, member->key_size);
	for (size_t i = 0; i < G_N_ELEMENTS(member_table); i++) {
		JsonSlice *slot = (JsonSlice *)((char *)command + member_table[i].offset);

		if (strcmp(key, member_table[i].key) != 0)
			continue;
		if (member_table[i].complaint)
			command->complaint =
				g_strdup_printf("command.%s: %s", key, member_table[i].complaint);
		else if (slot->value)
			command->complaint = g_strdup_printf("command.%s: is given twice", key);
		else
			*slot = *member;
		return;
	}
	shown = text_key(key);
	command->complaint = g_strdup_printf("command.%s: unknown member of a QMP command", shown);
}

static char *check_text(const char *json, size_t size, CallerCommand *command)
{
	int r;

	if (size > CALLER_COMMAND_MAX)
		return g_strdup_printf(
			"command: has %zu bytes, at most %u are allowed", size, CALLER_COMMAND_MAX);
	r = json_scan(json, size, QMP_DEPTH_MAX, take_member, command);
	if (r == -E2BIG)
		return g_strdup_printf("command: is nested deeper than %d levels", QMP_DEPTH_MAX);
	if (r < 0)
		return g_strdup("command: is not a JSON object");
	if (command->complaint)
		return g_steal_pointer(&command->complaint);
	if (!command->execute.value)
		return g_strdup("command.execute: is required");
	if (command->execute.value[0] != '"' || command->execute.value_size <= 2)
		return g_strdup("command.execute: is not the name of a command");
	if (command->arguments.value && command->arguments.value[0] != '{')
		return g_strdup("command.arguments: is not an object");
	return NULL;
}

int qmp_command_format_json(
	const char *json, uint64_t id, char **ret_line, char **ret_name, char **ret_complaint)
{
	CallerCommand command = {0};
	char *complaint = check_text(json, strlen(json), &command);
	GString *line;

	if (complaint) {
		g_free(command.complaint);
		*ret_complaint = complaint;
		return -EINVAL;
	}
	line = g_string_new("{\"execute\":");
	g_string_append_len(line, command.execute.value, (gssize)command.execute.value_size);
	if (command.arguments.value) {
		g_string_append(line, ",\"arguments\":");
		g_string_append_len(line, command.arguments.value, (gssize)command.arguments.value_size);
	}
	/* Strings contain no raw line ends, so these were between tokens. */
	for (char *c = line->str; *c; c++) {
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	}
	append_id(line, id);
	*ret_name = json_slice_to_string(command.execute.value, command.execute.value_size);
	*ret_line = g_string_free(line, FALSE);
	return 0;
}
