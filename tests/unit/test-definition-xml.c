/*
 * interfaces/definition.xml tells clients, and the manual, which keys there are. Here it is compared with
 * what the service does: row by row with the tables of keys, both ways; and what can't be read off a table
 * (what is filled in, lengths, bounds, what goes on which bus) by definitions that must be taken or refused.
 */
#include <errno.h>
#include <string.h>

#include "config-text.h"
#include "store/config-values.h"

/* ---- the file, as a tree ---- */
typedef struct Element {
	char *name; /* of the key or word, not of the element */
	GHashTable *attributes;
	GString *prose;
	GPtrArray *keys, *words; /* of Element */
} Element;

static void element_free(void *data)
{
	Element *element = data;

	g_free(element->name);
	g_hash_table_unref(element->attributes);
	g_string_free(element->prose, TRUE);
	g_ptr_array_unref(element->keys);
	g_ptr_array_unref(element->words);
	g_free(element);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Element, element_free)

static Element *element_new(const char **names, const char **values)
{
	Element *element = g_new0(Element, 1);

	element->attributes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	element->prose = g_string_new(NULL);
	element->keys = g_ptr_array_new_with_free_func(element_free);
	element->words = g_ptr_array_new_with_free_func(element_free);
	for (; *names; names++, values++)
		g_hash_table_insert(element->attributes, g_strdup(*names), g_strdup(*values));
	element->name = g_strdup(g_hash_table_lookup(element->attributes, "name"));
	return element;
}

static const char *attribute(const Element *element, const char *name)
{
	return g_hash_table_lookup(element->attributes, name);
}

static uint64_t number_of(const Element *element, const char *name)
{
	const char *text = attribute(element, name);
	uint64_t number;

	if (!text)
		return 0;
	if (!g_ascii_string_to_unsigned(text, 10, 0, UINT64_MAX, &number, NULL))
		g_error("%s: %s: '%s' is no number", element->name, name, text);
	return number;
}

static bool is_yes(const Element *element, const char *name)
{
	const char *text = attribute(element, name);

	if (text && strcmp(text, "yes") != 0)
		g_error("%s: %s: '%s' is not 'yes'", element->name, name, text);
	return text;
}

static Element *find(const GPtrArray *elements, const char *name)
{
	for (unsigned i = 0; i < elements->len; i++) {
		Element *element = elements->pdata[i];

		if (strcmp(element->name, name) == 0)
			return element;
	}
	return NULL;
}

static void on_start(GMarkupParseContext *context, const char *kind, const char **names, const char **values,
	void *user, GError **error)
{
	GPtrArray *open = user;
	Element *parent = open->len > 0 ? open->pdata[open->len - 1] : NULL;
	Element *element = element_new(names, values);
	GPtrArray *siblings = !parent ? NULL : strcmp(kind, "word") == 0 ? parent->words : parent->keys;

	if (strcmp(kind, !parent ? "definition" : siblings == parent->words ? "word" : "key") != 0)
		g_error("<%s> is not known", kind);
	if (parent) {
		if (!element->name || find(siblings, element->name))
			g_error("<%s name=\"%s\"> is there twice", kind, element->name);
		g_ptr_array_add(siblings, element);
	}
	g_ptr_array_add(open, element);
}

static void on_end(GMarkupParseContext *context, const char *kind, void *user, GError **error)
{
	GPtrArray *open = user;

	/* The root stays. */
	if (open->len > 1)
		g_ptr_array_set_size(open, (int)open->len - 1);
}

static void on_text(GMarkupParseContext *context, const char *text, gsize size, void *user, GError **error)
{
	GPtrArray *open = user;

	g_string_append_len(((Element *)open->pdata[open->len - 1])->prose, text, (gssize)size);
}

static Element *read_file(void)
{
	static const GMarkupParser parser = {
		.start_element = on_start, .end_element = on_end, .text = on_text};
	g_autofree char *path = g_build_filename(g_getenv("INTERFACES"), "definition.xml", NULL);
	g_autoptr(GPtrArray) open = g_ptr_array_new();
	g_autoptr(GMarkupParseContext) context = g_markup_parse_context_new(&parser, 0, open, NULL);
	g_autofree char *text = NULL;
	g_autoptr(GError) error = NULL;
	gsize size;

	g_file_get_contents(path, &text, &size, &error);
	g_assert_no_error(error);
	g_markup_parse_context_parse(context, text, (gssize)size, &error);
	g_assert_no_error(error);
	g_markup_parse_context_end_parse(context, &error);
	g_assert_no_error(error);
	return open->pdata[0];
}

/* Calls `func` for each key that is carried out, those of lists included; `list` is the key whose entries
 * have it. */
typedef void (*KeyFunc)(const Element *list, const Element *key, const ConfigKey *row);

static void foreach_key(KeyFunc func)
{
	g_autoptr(Element) root = read_file();
	unsigned n = 0;

	for (unsigned i = 0; i < config_vm_table.n_keys; i++) {
		const ConfigKey *row = &config_vm_table.keys[i];
		const Element *key = find(root->keys, row->name);

		if (!row->signature)
			continue;
		g_assert_nonnull(key);
		func(NULL, key, row);
		n++;
		for (unsigned j = 0; row->list && j < row->list->table->n_keys; j++) {
			const ConfigKey *inner = &row->list->table->keys[j];

			if (!inner->signature)
				continue;
			func(key, find(key->keys, inner->name), inner);
			n++;
		}
	}
	g_assert_cmpuint(n, >, 20);
}

/* ---- row by row ---- */
static void compare_words(const char *where, const Element *key, const ConfigWords *words)
{
	unsigned n_later = words && words->later ? g_strv_length((char **)words->later) : 0;
	unsigned n = words ? words->n_words : 0;

	if (key->words->len != n + n_later)
		g_error("%s%s: definition.xml has %u words, the service %u", where, key->name,
			key->words->len, n + n_later);
	for (unsigned i = 0; i < n + n_later; i++) {
		const char *name = i < n ? words->words[i] : words->later[i - n];
		const Element *word = find(key->words, name);

		if (!word)
			g_error("%s%s: definition.xml lacks the word '%s'", where, key->name, name);
		if (is_yes(word, "later") != (i >= n))
			g_error("%s%s: '%s': carried out, or later?", where, key->name, name);
		if (i < n && word->prose->len == 0)
			g_error("%s%s: '%s' has no prose", where, key->name, name);
	}
}

static void compare_key(const char *where, const Element *key, const ConfigKey *row)
{
	const char *type = attribute(key, "type");

	if (is_yes(key, "later") != !row->signature)
		g_error("%s%s: carried out, or later?", where, row->name);
	if (g_strcmp0(type, row->signature) != 0)
		g_error("%s%s: its type is '%s' in definition.xml, '%s' in the service", where, row->name,
			type, row->signature);
	if (is_yes(key, "required") != row->required)
		g_error("%s%s: required?", where, row->name);
	if (row->signature && !row->required && !attribute(key, "default") == !attribute(key, "made"))
		g_error("%s%s: needs a default, or how it is made, and not both", where, row->name);
	if (row->signature && !attribute(key, "since"))
		g_error("%s%s: since when?", where, row->name);
	g_strstrip(key->prose->str);
	if (key->prose->str[0] == '\0')
		g_error("%s%s: has no prose", where, row->name);
	compare_words(where, key, row->words);
}

static void compare_table(const char *where, const GPtrArray *keys, const ConfigTable *table)
{
	for (unsigned i = 0; i < keys->len; i++)
		if (!config_table_find(table, ((Element *)keys->pdata[i])->name))
			g_error("%s%s: the service has no such key", where,
				((Element *)keys->pdata[i])->name);
	for (unsigned i = 0; i < table->n_keys; i++) {
		const ConfigKey *row = &table->keys[i];
		const Element *key = find(keys, row->name);
		g_autofree char *inner = g_strdup_printf("%s%s.", where, row->name);

		if (!key)
			g_error("%s%s: definition.xml has no such key", where, row->name);
		compare_key(where, key, row);
		if (!row->list) {
			g_assert_cmpuint(key->keys->len, ==, 0);
			continue;
		}
		g_assert_cmpuint(number_of(key, "max-items"), ==, row->list->max);
		compare_table(inner, key->keys, row->list->table);
	}
}

static void test_rows(void)
{
	g_autoptr(Element) root = read_file();

	compare_table("", root->keys, &config_vm_table);
}

/* ---- definitions with one thing in them ---- */
static GVariant *entry_with(const Element *list, const char *key, GVariant *value)
{
	GVariantDict entry;

	g_variant_dict_init(&entry, NULL);
	if (strcmp(list->name, "Disks") == 0) {
		g_variant_dict_insert(&entry, "Path", "s", "/d");
		g_variant_dict_insert(&entry, "Format", "s", "raw");
	}
	if (key)
		g_variant_dict_insert_value(&entry, key, value);
	return g_variant_dict_end(&entry);
}

/* The least that there must be, and what other keys need. `list` NULL: the key is the definition's own. */
static GVariant *definition_with(const Element *list, const char *key, GVariant *value)
{
	g_autoptr(GVariant) base = parse_dict("{" BASE ", 'Kernel': <'/k'>, 'Watchdog': <'i6300esb'>}");
	GVariantDict dict;

	g_variant_dict_init(&dict, base);
	if (list) {
		GVariant *entry = entry_with(list, key, value);

		g_variant_dict_insert_value(
			&dict, list->name, g_variant_new_array(G_VARIANT_TYPE_VARDICT, &entry, 1));
	} else if (key) {
		g_variant_dict_insert_value(&dict, key, value);
	}
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static void check_taken(GVariant *dict, bool wanted, const char *what, const Element *key)
{
	g_autofree char *complaint = NULL;
	g_autoptr(VmConfig) config = NULL;
	int r = vm_config_new_from_variant(dict, &config, &complaint);

	if ((r == 0) != wanted)
		g_error("%s: %s is %s by the service: %s", key->name, what, r == 0 ? "taken" : "refused",
			complaint ? complaint : "");
	if (!wanted)
		g_assert_cmpint(r, ==, -EINVAL);
}

static void check_value(
	const Element *list, const Element *key, GVariant *value, bool wanted, const char *what)
{
	g_autoptr(GVariant) dict = definition_with(list, key->name, value);

	check_taken(dict, wanted, what, key);
}

/* ---- what is filled in ---- */
static GVariant *filled_in(GVariant *dict, const char *list, const char *key)
{
	g_autofree char *complaint = NULL;
	g_autoptr(VmConfig) config = NULL;
	g_autoptr(GVariant) whole = NULL, entries = NULL, entry = NULL;

	if (vm_config_new_from_variant(dict, &config, &complaint) < 0)
		g_error("%s", complaint);
	whole = g_variant_ref_sink(vm_config_to_variant(config));
	if (!list)
		return g_variant_lookup_value(whole, key, NULL);
	entries = g_variant_lookup_value(whole, list, NULL);
	entry = g_variant_get_child_value(entries, 0);
	return g_variant_lookup_value(entry, key, NULL);
}

static char *to_text(GVariant *value)
{
	if (g_variant_is_of_type(value, G_VARIANT_TYPE_STRING))
		return g_variant_dup_string(value, NULL);
	if (g_variant_is_container(value) && g_variant_n_children(value) == 0)
		return g_strdup("");
	return g_variant_print(value, FALSE);
}

static void check_default(const Element *list, const Element *key, const ConfigKey *row)
{
	g_autoptr(GVariant) base = list ? definition_with(list, NULL, NULL) : parse_dict("{" BASE "}");
	g_autoptr(GVariant) value = filled_in(base, list ? list->name : NULL, key->name);
	g_autofree char *text = to_text(value);

	/* A disk without a path is none: see test_buses(). */
	if (row->required || (list && strcmp(key->name, "Path") == 0))
		return;
	if (attribute(key, "made")) {
		g_assert_cmpstr(text, !=, "");
		return;
	}
	if (strcmp(text, attribute(key, "default")) != 0)
		g_error("%s: its default is '%s' in definition.xml, '%s' is filled in", key->name,
			attribute(key, "default"), text);
}

static void test_defaults(void)
{
	foreach_key(check_default);
}

/* ---- bounds of numbers ---- */
static GVariant *number(const ConfigKey *row, uint64_t value)
{
	return *row->signature == 'u' ? g_variant_new_uint32((uint32_t)value) : g_variant_new_uint64(value);
}

static void check_bounds(const Element *list, const Element *key, const ConfigKey *row)
{
	uint64_t min = number_of(key, "min"), max = number_of(key, "max");
	uint64_t multiple = MAX(number_of(key, "multiple"), 1);

	if (strcmp(row->signature, "u") != 0 && strcmp(row->signature, "t") != 0)
		return;
	if (!attribute(key, "min") || !attribute(key, "max"))
		g_error("%s: needs min and max", key->name);
	check_value(list, key, number(row, min), true, "min");
	check_value(list, key, number(row, max), true, "max");
	check_value(list, key, number(row, max + multiple), false, "more than max");
	if (min > 0)
		check_value(list, key, number(row, min - 1), false, "less than min");
	if (min > 1)
		check_value(list, key, number(row, 0), is_yes(key, "zero"), "0");
	if (multiple > 1) {
		check_value(list, key, number(row, min + multiple), true, "a multiple");
		check_value(list, key, number(row, min + 1), false, "no multiple");
		check_value(list, key, number(row, min + multiple / 2), false, "half a multiple");
	}
}

static void test_bounds(void)
{
	foreach_key(check_bounds);
}

/* ---- lengths ---- */
static char *text_of(const ConfigKey *row, uint64_t length)
{
	char *text = g_strnfill(length, 'a');

	if (row->check == config_check_path && length > 0)
		*text = '/';
	return text;
}

static void check_string(const Element *list, const Element *key, const ConfigKey *row)
{
	uint64_t min = number_of(key, "min-bytes"), max = number_of(key, "max-bytes");
	g_autofree char *longest = text_of(row, max), *over = text_of(row, max + 1);

	if (max == 0) {
		if (!row->words && !attribute(key, "made"))
			g_error("%s: needs max-bytes", key->name);
		return;
	}
	check_value(list, key, g_variant_new_string(longest), true, "max-bytes");
	check_value(list, key, g_variant_new_string(over), false, "more than max-bytes");
	if (min > 0)
		check_value(list, key, g_variant_new_string(""), false, "the empty string");
}

/* `n` strings, or pairs of strings, of these lengths. */
static GVariant *container(const ConfigKey *row, uint64_t n, uint64_t key_length, uint64_t length)
{
	bool pairs = strcmp(row->signature, "a{ss}") == 0;
	GVariantBuilder builder;

	g_variant_builder_init(&builder, G_VARIANT_TYPE(row->signature));
	for (uint64_t i = 0; i < n; i++) {
		g_autofree char *value = g_strnfill(length, 'v'), *name = g_strnfill(key_length, 'k');

		/* Each another. */
		if (key_length >= 4)
			memcpy(name, (char[]){(char)('a' + i / 16), (char)('a' + i % 16)}, 2);
		if (pairs)
			g_variant_builder_add(&builder, "{ss}", name, value);
		else
			g_variant_builder_add(&builder, "s", value);
	}
	return g_variant_builder_end(&builder);
}

static void check_container(const Element *list, const Element *key, const ConfigKey *row)
{
	uint64_t items = number_of(key, "max-items"), max = number_of(key, "max-bytes");
	uint64_t key_max = number_of(key, "max-key-bytes");

	g_assert_true(items > 0 && max > 0);
	check_value(list, key, container(row, items, 4, 1), true, "max-items");
	check_value(list, key, container(row, items + 1, 4, 1), false, "more than max-items");
	check_value(list, key, container(row, 1, 4, max), true, "max-bytes");
	check_value(list, key, container(row, 1, 4, max + 1), false, "more than max-bytes");
	if (strcmp(row->signature, "a{ss}") != 0)
		return;
	check_value(list, key, container(row, 1, key_max, 1), true, "max-key-bytes");
	check_value(list, key, container(row, 1, key_max + 1, 1), false, "more than max-key-bytes");
}

static void check_length(const Element *list, const Element *key, const ConfigKey *row)
{
	if (strcmp(row->signature, "s") == 0)
		check_string(list, key, row);
	else if (*row->signature == 'a' && !row->list)
		check_container(list, key, row);
}

static void test_lengths(void)
{
	foreach_key(check_length);
}

/* ---- how many of a kind, and what goes on which bus ---- */
/* A definition with `n` devices that have this word; NULL: that don't say. `kind`: what a disk is. */
static GVariant *devices(
	const Element *list, const Element *key, const char *word, const char *kind, uint64_t n)
{
	g_autoptr(GVariant) base = parse_dict("{" BASE "}");
	GVariantBuilder entries;
	GVariantDict dict;

	g_variant_builder_init(&entries, G_VARIANT_TYPE("aa{sv}"));
	for (uint64_t i = 0; i < n; i++) {
		GVariantDict entry;

		g_variant_dict_init(&entry, NULL);
		if (kind) {
			g_variant_dict_insert(&entry, "Format", "s", "raw");
			g_variant_dict_insert(&entry, "Device", "s", kind);
		}
		if (g_strcmp0(kind, "disk") == 0)
			g_variant_dict_insert(&entry, "Path", "s", "/d");
		if (word)
			g_variant_dict_insert(&entry, key->name, "s", word);
		g_variant_builder_add_value(&entries, g_variant_dict_end(&entry));
	}
	g_variant_dict_init(&dict, base);
	g_variant_dict_insert_value(&dict, list->name, g_variant_builder_end(&entries));
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static void check_room(const Element *list, const Element *key, const Element *word, const char *kind)
{
	uint64_t max = number_of(word, "max");
	g_autoptr(GVariant) most = devices(list, key, word->name, kind, max);
	g_autoptr(GVariant) over = devices(list, key, word->name, kind, max + 1);

	check_taken(most, true, word->name, key);
	check_taken(over, false, word->name, key);
}

static bool names(const Element *word, const char *name, const char *kind)
{
	g_auto(GStrv) kinds = g_strsplit(attribute(word, name) ? attribute(word, name) : "", " ", -1);

	return g_strv_contains((const char *const *)kinds, kind);
}

static void check_bus(const Element *list, const Element *key, const Element *bus, const char *kind)
{
	g_autoptr(GVariant) one = devices(list, key, bus->name, kind, 1);
	g_autoptr(GVariant) silent = devices(list, key, NULL, kind, 1);
	g_autoptr(GVariant) value = filled_in(silent, list->name, key->name);
	bool is_default = strcmp(g_variant_get_string(value, NULL), bus->name) == 0;

	check_taken(one, names(bus, "for", kind), bus->name, key);
	if (is_default != names(bus, "default-for", kind))
		g_error("Bus: '%s' is %sthe default for a %s", bus->name, is_default ? "" : "not ", kind);
	if (names(bus, "for", kind))
		check_room(list, key, bus, kind);
	if (strcmp(kind, "disk") != 0) {
		g_autoptr(GVariant) path = filled_in(silent, list->name, "Path");

		g_assert_cmpstr(
			g_variant_get_string(path, NULL), ==, attribute(find(list->keys, "Path"), "default"));
	}
}

static void check_kinds(const Element *list, const Element *key, const ConfigKey *row)
{
	bool is_bus = list && strcmp(list->name, "Disks") == 0 && strcmp(key->name, "Bus") == 0;

	for (unsigned i = 0; i < key->words->len; i++) {
		const Element *word = key->words->pdata[i];

		if (!is_bus && attribute(word, "max"))
			check_room(list, key, word, NULL);
		for (int kind = 0; is_bus && kind < DISK_DEVICE_MAX; kind++)
			check_bus(list, key, word, disk_device_to_string((DiskDevice)kind));
	}
}

static void test_kinds(void)
{
	foreach_key(check_kinds);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (!g_getenv("INTERFACES"))
		g_error("INTERFACES is not set: run the tests by meson");
	g_test_add_func("/definition-xml/rows", test_rows);
	g_test_add_func("/definition-xml/defaults", test_defaults);
	g_test_add_func("/definition-xml/bounds", test_bounds);
	g_test_add_func("/definition-xml/lengths", test_lengths);
	g_test_add_func("/definition-xml/kinds", test_kinds);
	return g_test_run();
}
