#include "schema.h"

#include <string.h>

#include "schema-lines.h"

/* The words of a line after its name, by name; commands as "command NAME". */
static GHashTable *read_schema(void)
{
	GHashTable *lines = g_hash_table_new(g_str_hash, g_str_equal);

	for (size_t i = 0; i < G_N_ELEMENTS(schema_lines); i++) {
		char **words = g_strsplit(schema_lines[i], " ", -1);

		if (strcmp(words[0], "command") == 0)
			g_hash_table_insert(lines, g_strconcat("command ", words[1], NULL), words + 2);
		else
			g_hash_table_insert(lines, words[0], words + 1);
	}
	return lines;
}

static char **line_of(const char *name)
{
	static GHashTable *lines;

	if (!lines)
		lines = read_schema();
	return g_hash_table_lookup(lines, name);
}

static char **line_of_command(const char *command)
{
	g_autofree char *name = g_strconcat("command ", command, NULL);

	return line_of(name);
}

bool schema_has_command(const char *command)
{
	return line_of_command(command) != NULL;
}

static char *check(const char *type, JsonNode *node, const char *name);

static char *ill_typed(const char *name, const char *expected)
{
	return g_strdup_printf("Invalid parameter type for '%s', expected: %s", name, expected);
}

static char *check_builtin(const char *type, JsonNode *node, const char *name)
{
	static const struct {
		const char *type, *word;
		GType first, second;
	} builtins[] = {
		{"str", "string", G_TYPE_STRING, G_TYPE_STRING},
		{"int", "integer", G_TYPE_INT64, G_TYPE_INT64},
		{"number", "number", G_TYPE_INT64, G_TYPE_DOUBLE},
		{"boolean", "boolean", G_TYPE_BOOLEAN, G_TYPE_BOOLEAN},
		{"bool", "boolean", G_TYPE_BOOLEAN, G_TYPE_BOOLEAN},
	};
	GType actual = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_INVALID;

	if (strcmp(type, "null") == 0)
		return JSON_NODE_HOLDS_NULL(node) ? NULL : ill_typed(name, "null");
	for (size_t i = 0; i < G_N_ELEMENTS(builtins); i++)
		if (strcmp(builtins[i].type, type) == 0)
			return actual == builtins[i].first || actual == builtins[i].second
				       ? NULL
				       : ill_typed(name, builtins[i].word);
	return NULL; /* any */
}

static char *check_enum(char **values, JsonNode *node, const char *name)
{
	const char *value;

	if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
		return ill_typed(name, "string");
	value = json_node_get_string(node);
	if (g_strv_contains((const char *const *)values, value))
		return NULL;
	return g_strdup_printf("Parameter '%s' does not accept value '%s'", name, value);
}

static char *check_array(const char *type, JsonNode *node, const char *name)
{
	char *complaint = NULL;
	JsonArray *array;

	if (!JSON_NODE_HOLDS_ARRAY(node))
		return ill_typed(name, "array");
	array = json_node_get_array(node);
	for (guint i = 0; i < json_array_get_length(array) && !complaint; i++) {
		g_autofree char *element = g_strdup_printf("%s[%u]", name, i);

		complaint = check(type, json_array_get_element(array, i), element);
	}
	return complaint;
}

/* Takes the members of a type out of `left`, and checks them. */
static char *take_members(const char *type, JsonObject *object, GHashTable *left, const char *prefix)
{
	char **words = line_of(type);
	const char *tag = NULL;
	char *complaint = NULL;

	for (char **word = words + 1; *word && !complaint; word++) {
		const char *colon = strchr(*word, ':');
		bool optional = colon && colon[-1] == '?';
		g_autofree char *member = NULL, *name = NULL;

		if (**word == '@') {
			tag = json_object_get_string_member_with_default(object, *word + 1, "");
			continue;
		}
		member = g_strndup(*word, (gsize)(colon - *word) - optional);
		if (**word == '=') {
			if (g_strcmp0(tag, member + 1) == 0)
				complaint = take_members(colon + 1, object, left, prefix);
			continue;
		}
		name = g_strconcat(prefix, *prefix ? "." : "", member, NULL);
		if (g_hash_table_remove(left, member))
			complaint = check(colon + 1, json_object_get_member(object, member), name);
		else if (!optional)
			complaint = g_strdup_printf("Parameter '%s' is missing", name);
	}
	return complaint;
}

static char *check_object(const char *type, JsonNode *node, const char *name)
{
	g_autoptr(GHashTable) left = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GList) members = NULL;
	GHashTableIter iter;
	gpointer member;
	char *complaint;

	if (!JSON_NODE_HOLDS_OBJECT(node))
		return ill_typed(name, "object");
	members = json_object_get_members(json_node_get_object(node));
	for (GList *each = members; each; each = each->next)
		g_hash_table_add(left, each->data);
	complaint = take_members(type, json_node_get_object(node), left, name);
	g_hash_table_iter_init(&iter, left);
	if (!complaint && g_hash_table_iter_next(&iter, &member, NULL))
		complaint = g_strdup_printf(
			"Parameter '%s%s%s' is unexpected", name, *name ? "." : "", (const char *)member);
	return complaint;
}

/* The complaint of the one that was meant: it is not about the type as such. */
static char *check_alternate(char **types, JsonNode *node, const char *name)
{
	g_autofree char *ill = g_strdup_printf("Invalid parameter type for '%s',", name);
	char *best = NULL;

	for (; *types; types++) {
		char *complaint = check(*types, node, name);

		if (!complaint) {
			g_free(best);
			return NULL;
		}
		if (!best || g_str_has_prefix(best, ill)) {
			g_free(best);
			best = g_steal_pointer(&complaint);
		}
		g_free(complaint);
	}
	return best;
}

static char *check(const char *type, JsonNode *node, const char *name)
{
	char **words = line_of(type);

	if (!words)
		return check_builtin(type, node, name);
	if (strcmp(words[0], "enum") == 0)
		return check_enum(words + 1, node, name);
	if (strcmp(words[0], "array") == 0)
		return check_array(words[1], node, name);
	if (strcmp(words[0], "alternate") == 0)
		return check_alternate(words + 1, node, name);
	return check_object(type, node, name);
}

/* This takes what no schema says, the properties of whatever device it is. */
static bool takes_anything(const char *command)
{
	return strcmp(command, "device_add") == 0;
}

char *schema_check(const char *command, const char *arguments)
{
	char **words = line_of_command(command);
	g_autoptr(JsonNode) node = json_from_string(arguments ? arguments : "{}", NULL);

	if (!words)
		return g_strdup_printf("The command %s has not been found", command);
	if (!node || takes_anything(command))
		return NULL;
	return check(words[0], node, "");
}
