/*
 * A definition as JSON. The keys of its Config and their types are those of config-keys.c: a JSON number
 * becomes what the key wants if it fits, and everything else becomes what it looks like; the reader of the
 * dict then complains about keys and types in the words that a D-Bus caller would get.
 */
#include "store/definition-json.h"

#include <errno.h>
#include <string.h>

#include "store/config-keys.h"
#include "util/json.h"
#include "util/text.h"

#define DEFINITION_DEPTH_MAX 8

void definition_clear(Definition *definition)
{
	g_clear_pointer(&definition->config, vm_config_unref);
	g_clear_pointer(&definition->bound_to, g_free);
}

/* ---- writing ---- */
char *definition_to_json(const Definition *definition, size_t *ret_size)
{
	g_autoptr(GVariant) config = g_variant_ref_sink(vm_config_to_variant(definition->config));
	g_autoptr(JsonNode) root = json_node_new(JSON_NODE_OBJECT);
	g_autoptr(JsonGenerator) generator = json_generator_new();
	JsonObject *object = json_object_new();
	GString *text;

	json_object_set_int_member(object, "FormatVersion", DEFINITION_FORMAT_VERSION);
	json_object_set_int_member(object, "OwnerUID", definition->owner_uid);
	json_object_set_int_member(object, "Revision", (gint64)definition->revision);
	if (definition->bound_to)
		json_object_set_string_member(object, "BoundTo", definition->bound_to);
	json_object_set_member(object, "Config", json_gvariant_serialize(config));
	json_node_take_object(root, object);
	json_generator_set_root(generator, root);
	json_generator_set_pretty(generator, TRUE);
	text = json_generator_to_gstring(generator, g_string_new(NULL));
	/* json-glib 1.6 escapes the control characters below this one only; JSON wants this one escaped, too.
	 */
	g_string_replace(text, "\x1f", "\\u001f", 0);
	g_string_append_c(text, '\n');
	*ret_size = text->len;
	return g_string_free(text, FALSE);
}

/* ---- reading ---- */
static bool node_is_integer(JsonNode *node)
{
	return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
}

static GVariant *object_to_dict(JsonObject *object, const ConfigTable *table, const char **ret_null_key);

/* NULL: a list that has something else than objects in it. */
static GVariant *array_to_dicts(JsonArray *array, const ConfigTable *table, const char **ret_null_key)
{
	GVariantBuilder builder;

	for (unsigned i = 0; i < json_array_get_length(array); i++)
		if (!JSON_NODE_HOLDS_OBJECT(json_array_get_element(array, i)))
			return NULL;
	g_variant_builder_init(&builder, G_VARIANT_TYPE("aa{sv}"));
	for (unsigned i = 0; i < json_array_get_length(array); i++)
		g_variant_builder_add_value(&builder,
			object_to_dict(json_array_get_object_element(array, i), table, ret_null_key));
	return g_variant_builder_end(&builder);
}

static bool is_string(JsonNode *node)
{
	return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING;
}

/* Whether it is what the signature says, "as" or "a{ss}": json-glib, asked to convert something else, leaks
 * what it had converted until then. */
static bool holds_strings(JsonNode *node, const char *signature)
{
	g_autoptr(GList) nodes = NULL;

	if (g_str_equal(signature, "as") && JSON_NODE_HOLDS_ARRAY(node))
		nodes = json_array_get_elements(json_node_get_array(node));
	else if (g_str_equal(signature, "a{ss}") && JSON_NODE_HOLDS_OBJECT(node))
		nodes = json_object_get_values(json_node_get_object(node));
	else
		return false;
	for (GList *l = nodes; l; l = l->next)
		if (!is_string(l->data))
			return false;
	return true;
}

static GVariant *node_to_variant(JsonNode *node, const ConfigKey *key, const char **ret_null_key)
{
	GVariant *value = NULL;

	if (key && key->list && JSON_NODE_HOLDS_ARRAY(node)) {
		value = array_to_dicts(json_node_get_array(node), key->list->table, ret_null_key);
	} else if (key && key->signature && holds_strings(node, key->signature)) {
		value = json_gvariant_deserialize(node, key->signature, NULL);
	} else if (key && key->signature && node_is_integer(node)) {
		gint64 number = json_node_get_int(node);

		if (*key->signature == 't' && number >= 0)
			value = g_variant_new_uint64((guint64)number);
		else if (*key->signature == 'u' && number >= 0 && number <= G_MAXUINT32)
			value = g_variant_new_uint32((guint32)number);
	}
	return value ? value : json_to_variant(node);
}

/* D-Bus has no null: *ret_null_key is the first key whose value is one. */
static GVariant *object_to_dict(JsonObject *object, const ConfigTable *table, const char **ret_null_key)
{
	GVariantBuilder builder;
	JsonObjectIter iter;
	const char *name;
	JsonNode *node;

	g_variant_builder_init(&builder, G_VARIANT_TYPE_VARDICT);
	json_object_iter_init_ordered(&iter, object);
	while (json_object_iter_next_ordered(&iter, &name, &node)) {
		GVariant *value = node_to_variant(node, config_table_find(table, name), ret_null_key);

		if (value)
			g_variant_builder_add(&builder, "{sv}", name, value);
		else if (!*ret_null_key)
			*ret_null_key = name;
	}
	return g_variant_builder_end(&builder);
}

static int read_config(JsonNode *node, VmConfig **ret_config, char **ret_complaint)
{
	g_autoptr(GVariant) dict = NULL;
	const char *null_key = NULL;

	if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
		*ret_complaint = g_strdup(node ? "Config: is not an object" : "Config: is required");
		return -EINVAL;
	}
	/* One that is drawn now would be another one at each start. */
	if (!json_object_has_member(json_node_get_object(node), "UUID")) {
		*ret_complaint = g_strdup("Config: has no UUID");
		return -EINVAL;
	}
	dict = g_variant_ref_sink(object_to_dict(json_node_get_object(node), &config_vm_table, &null_key));
	if (null_key) {
		g_autofree char *quoted = text_quote(null_key);

		*ret_complaint = g_strdup_printf("Config: %s is null", quoted);
		return -EINVAL;
	}
	return vm_config_new_from_variant(dict, ret_config, ret_complaint);
}

static int read_number(
	JsonObject *object, const char *key, gint64 min, gint64 max, gint64 *ret, char **ret_complaint)
{
	JsonNode *node = json_object_get_member(object, key);
	gint64 number;

	if (!node || !node_is_integer(node)) {
		*ret_complaint =
			g_strdup_printf("%s: %s", key, node ? "is not a whole number" : "is required");
		return -EINVAL;
	}
	number = json_node_get_int(node);
	if (number < min || number > max) {
		*ret_complaint = g_strdup_printf("%s: %" G_GINT64_FORMAT " is out of range", key, number);
		return -EINVAL;
	}
	*ret = number;
	return 0;
}

static int read_bound_to(JsonObject *object, char **ret, char **ret_complaint)
{
	JsonNode *node = json_object_get_member(object, "BoundTo");

	if (node && !is_string(node)) {
		*ret_complaint = g_strdup("BoundTo: is not a string");
		return -EINVAL;
	}
	*ret = node ? g_strdup(json_node_get_string(node)) : NULL;
	return 0;
}

static int read_members(JsonObject *object, Definition *ret, char **ret_complaint)
{
	static const char *const known[] = {
		"FormatVersion", "OwnerUID", "Revision", "BoundTo", "Config", NULL};
	g_autofree char *bound_to = NULL;
	gint64 version, owner_uid, revision;
	JsonObjectIter iter;
	const char *name;
	int r;

	r = read_number(object, "FormatVersion", 1, G_MAXINT64, &version, ret_complaint);
	if (r < 0)
		return r;
	if (version > DEFINITION_FORMAT_VERSION) {
		*ret_complaint = g_strdup_printf("FormatVersion: %" G_GINT64_FORMAT
						 " is newer than %d, which this version reads",
			version, DEFINITION_FORMAT_VERSION);
		return -EPROTONOSUPPORT;
	}
	json_object_iter_init_ordered(&iter, object);
	while (json_object_iter_next_ordered(&iter, &name, NULL))
		if (!g_strv_contains(known, name)) {
			g_autofree char *quoted = text_quote(name);

			*ret_complaint = g_strdup_printf("%s: unknown member", quoted);
			return -EINVAL;
		}
	r = read_number(object, "OwnerUID", 0, G_MAXUINT32 - 1, &owner_uid, ret_complaint);
	if (r < 0)
		return r;
	r = read_number(object, "Revision", 1, G_MAXINT64, &revision, ret_complaint);
	if (r < 0)
		return r;
	r = read_bound_to(object, &bound_to, ret_complaint);
	if (r < 0)
		return r;
	r = read_config(json_object_get_member(object, "Config"), &ret->config, ret_complaint);
	if (r < 0)
		return r;
	ret->bound_to = g_steal_pointer(&bound_to);
	ret->owner_uid = (uint32_t)owner_uid;
	ret->revision = (uint64_t)revision;
	return 0;
}

int definition_from_json(const char *text, size_t size, Definition *ret, char **ret_complaint)
{
	g_autoptr(JsonNode) root = NULL;
	int r;

	if (size == 0) {
		*ret_complaint = g_strdup("is empty");
		return -EBADMSG;
	}
	r = json_parse(text, size, DEFINITION_JSON_MAX, DEFINITION_DEPTH_MAX, &root);
	if (r < 0) {
		*ret_complaint = g_strdup(r == -E2BIG   ? "is nested too deeply"
					  : r == -EFBIG ? "is too large"
							: "is not JSON, or not all of it");
		return r;
	}
	if (!JSON_NODE_HOLDS_OBJECT(root)) {
		*ret_complaint = g_strdup("is not a JSON object");
		return -EBADMSG;
	}
	return read_members(json_node_get_object(root), ret, ret_complaint);
}
