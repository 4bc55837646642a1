/* Values that a caller may send. What comes of them is the service's to say. */
#include <string.h>

#include "bad-input.h"

#define MEBIBYTE  (1024U * 1024)
#define N_MANY    10000U
#define N_NUMBERS 12U

#define GIANT_SIZE   (128 * 1024)
#define GIANT_LENGTH 1000

static void value_free(gpointer data)
{
	Value *value = data;

	g_free(value->name);
	g_variant_unref(value->value);
	g_free(value);
}

Values *values_new(void)
{
	return g_ptr_array_new_with_free_func(value_free);
}

void values_add(Values *values, const char *name, GVariant *value)
{
	Value *v = g_new0(Value, 1);

	v->name = g_strdup(name);
	v->value = g_variant_ref_sink(value);
	g_ptr_array_add(values, v);
}

bool value_is_giant(GVariant *value)
{
	return g_variant_get_size(value) > GIANT_SIZE ||
	       (g_variant_is_container(value) && g_variant_n_children(value) > GIANT_LENGTH);
}

static void add_text(Values *values, const char *text)
{
	g_autofree char *escaped = g_strescape(text, NULL);
	g_autofree char *name = g_strdup_printf("\"%s\"", escaped);

	values_add(values, name, g_variant_new_string(text));
}

static void add_run(Values *values, const char *start, gsize length)
{
	g_autofree char *name = g_strdup_printf(
		"%s%s%" G_GSIZE_FORMAT "*a", start, *start ? "+" : "", length - MIN(length, strlen(start)));
	char *text = g_strnfill(length, 'a');

	memcpy(text, start, MIN(length, strlen(start)));
	values_add(values, name, g_variant_new_take_string(text));
}

/* ---- wrong types ---- */
static GVariant *many_bytes(void)
{
	GVariant *children[200];

	for (gsize i = 0; i < G_N_ELEMENTS(children); i++)
		children[i] = g_variant_new_byte((guint8)i);
	return g_variant_new_tuple(children, G_N_ELEMENTS(children));
}

/* a(a(a(...))), as deep as a signature may be, and empty. */
static GVariant *deep_arrays(void)
{
	g_autoptr(GString) type = g_string_new("s");

	for (guint i = 0; i < 31; i++) {
		g_string_prepend(type, "a(");
		g_string_append_c(type, ')');
	}
	return g_variant_new_array(G_VARIANT_TYPE(type->str + 1), NULL, 0);
}

Values *values_of_other_types(const char *signature)
{
	static const char *const texts[] = {"true", "byte 0x61", "1", "uint32 1", "uint64 1", "1.5", "'text'",
		"objectpath '/x'", "signature 's'", "handle 0", "['text']", "@av [<'text'>]", "@a{sv} {}",
		"@a{ss} {}", "@aa{sv} []", "('text', 1)", "<'text'>", NULL};
	Values *values = values_new();

	for (gsize i = 0; texts[i]; i++)
		values_add(values, NULL, g_variant_new_parsed(texts[i]));
	values_add(values, NULL, many_bytes());
	values_add(values, NULL, deep_arrays());
	for (guint i = values->len; i > 0; i--) {
		Value *value = values->pdata[i - 1];
		const char *type = g_variant_get_type_string(value->value);

		value->is_type = true;
		value->name = strlen(type) < 20 ? g_strdup_printf("(%s)", type)
						: g_strdup_printf("(%.8s...)", type);
		if (strcmp(type, signature) == 0)
			g_ptr_array_remove_index(values, i - 1);
	}
	return values;
}

/* ---- strings ---- */
static const char *const texts[] = {"", " ", "a", "A b", "-a", "..", "../x", "a/b", "a\nb", "\x01",
	"a\x1b[31mb", "\xc3\xa9",
	/* A control character of the second set, a line separator, a mark that turns the direction, an emoji,
	 * a noncharacter. */
	"a\xc2\x85"
	"b",
	"a\xe2\x80\xa8"
	"b",
	"\xe2\x80\xae"
	"abc",
	"\xf0\x9f\x98\x80", "\xef\xbf\xbe", "%s%n", "a'b", "a: b", "a,b=c", "$(x)", "target-off",
	"TARGET-OFF", "target-of", "0123456789abcdef0123456789ABCDEF", "00000000-0000-0000-0000-000000000000",
	"01234567-89ab-cdef-0123-456789abcdeg", "0ff0ff00-0000-4000-8000-000000000002", "52:54:00:00:00:01",
	"53:54:00:00:00:01", "/", "/no/such/file", "relative/path", "/proc/self/fd/0", "/dev/null", "/a\nb",
	"/a\xe2\x80\xa8"
	"b",
	NULL};

/* Those that a list or a dict is made of. */
static const char *const few_texts[] = {"", "a", "a\nb", "\x01", "\xc3\xa9",
	"a\xc2\x85"
	"b",
	"\xe2\x80\xae"
	"abc",
	"\xef\xbf\xbe", "%s%n", "a: b", "Name", NULL};

static const gsize lengths[] = {64, 65, 256, 257, 4095, 4096, 65536, MEBIBYTE};
static const gsize path_lengths[] = {255, 256, 4095, 4096, MEBIBYTE};

static const char *const files[] = {"empty-file", "folder", "fifo", "socket", "dangling", "looping",
	"kernel/x", "file with spaces: and more", NULL};

static void add_strings(Values *values, const char *dir)
{
	for (gsize i = 0; texts[i]; i++)
		add_text(values, texts[i]);
	for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++)
		add_run(values, "", lengths[i]);
	for (gsize i = 0; i < G_N_ELEMENTS(path_lengths); i++)
		add_run(values, "/", path_lengths[i]);
	for (gsize i = 0; files[i]; i++) {
		g_autofree char *path = g_build_filename(dir, files[i], NULL);
		g_autofree char *name = g_strdup_printf("<dir>/%s", files[i]);

		values_add(values, name, g_variant_new_string(path));
	}
}

/* ---- numbers ---- */
static GVariant *number_of(const char *signature, guint64 number)
{
	switch (*signature) {
	case 'y':
		return g_variant_new_byte((guint8)number);
	case 'n':
		return g_variant_new_int16((gint16)number);
	case 'q':
		return g_variant_new_uint16((guint16)number);
	case 'i':
		return g_variant_new_int32((gint32)number);
	case 'u':
		return g_variant_new_uint32((guint32)number);
	case 'x':
		return g_variant_new_int64((gint64)number);
	case 't':
		return g_variant_new_uint64(number);
	case 'd':
		return g_variant_new_double((double)number);
	default:
		return NULL;
	}
}

/* How many bits there are for it. */
static guint number_bits(const char *signature)
{
	switch (*signature) {
	case 'y':
		return 8;
	case 'n':
	case 'q':
		return 16;
	case 'i':
	case 'u':
		return 32;
	default:
		return 64;
	}
}

static void add_number(Values *values, const char *signature, guint64 number)
{
	g_autoptr(GVariant) value = g_variant_ref_sink(number_of(signature, number));
	g_autofree char *name = g_variant_print(value, FALSE);

	values_add(values, name, value);
}

static void add_numbers(Values *values, const char *signature)
{
	guint64 max = number_bits(signature) == 64 ? G_MAXUINT64 : (1ULL << number_bits(signature)) - 1;
	const guint64 numbers[] = {0, 1, 2, 255, 256, max / 2, max / 2 + 1, max - 1, max};

	for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
		if (numbers[i] <= max)
			add_number(values, signature, numbers[i]);
	if (number_bits(signature) == 64) {
		add_number(values, signature, G_MAXUINT32);
		add_number(values, signature, 1ULL << 32);
	}
}

/* ---- arrays and dicts ---- */
GVariant *value_repeated(GVariant *element, gsize n)
{
	g_autoptr(GVariant) owned = g_variant_ref_sink(element);
	g_autofree GVariant **children = g_new(GVariant *, n + 1);

	for (gsize i = 0; i < n; i++)
		children[i] = owned;
	return g_variant_new_array(g_variant_get_type(owned), children, n);
}

GVariant *value_nested(unsigned depth)
{
	GVariant *value = g_variant_new_string("x");

	for (unsigned i = 0; i < depth; i++)
		value = g_variant_new_variant(value);
	return value;
}

static GVariant *pair(const char *key, const char *value)
{
	return g_variant_new_dict_entry(g_variant_new_string(key), g_variant_new_string(value));
}

/* Many that are all different: "a{ss}". */
static GVariant *many_pairs(gsize n)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{ss}"));

	for (gsize i = 0; i < n; i++) {
		g_autofree char *key = g_strdup_printf("key%" G_GSIZE_FORMAT, i);

		g_variant_builder_add(&builder, "{ss}", key, "value");
	}
	return g_variant_builder_end(&builder);
}

static GVariant *many_strings(gsize n)
{
	return value_repeated(g_variant_new_string("a"), n);
}

static void add_string_arrays(Values *values)
{
	for (gsize i = 0; few_texts[i]; i++) {
		g_autofree char *escaped = g_strescape(few_texts[i], NULL);
		g_autofree char *name = g_strdup_printf("[\"%s\"]", escaped);

		values_add(values, name, g_variant_new_strv(&few_texts[i], 1));
	}
	values_add(values, "[]", g_variant_new_strv(NULL, 0));
	for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++) {
		g_autofree char *name = g_strdup_printf("[%" G_GSIZE_FORMAT "*a]", lengths[i]);
		g_autofree char *text = g_strnfill(lengths[i], 'a');

		values_add(values, name, value_repeated(g_variant_new_string(text), 1));
	}
	values_add(values, "[\"a\", \"a\"]", many_strings(2));
	values_add(values, "10,000 * \"a\"", many_strings(N_MANY));
}

static void add_pairs(Values *values)
{
	values_add(values, "{}", g_variant_new_array(G_VARIANT_TYPE("{ss}"), NULL, 0));
	for (gsize i = 0; few_texts[i]; i++) {
		g_autofree char *escaped = g_strescape(few_texts[i], NULL);
		g_autofree char *key = g_strdup_printf("{\"%s\": \"x\"}", escaped);
		g_autofree char *value = g_strdup_printf("{\"x\": \"%s\"}", escaped);

		values_add(values, key, value_repeated(pair(few_texts[i], "x"), 1));
		values_add(values, value, value_repeated(pair("x", few_texts[i]), 1));
	}
	for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++) {
		g_autofree char *text = g_strnfill(lengths[i], 'a');
		g_autofree char *key = g_strdup_printf("{%" G_GSIZE_FORMAT "*a: \"x\"}", lengths[i]);
		g_autofree char *value = g_strdup_printf("{\"x\": %" G_GSIZE_FORMAT "*a}", lengths[i]);

		values_add(values, key, value_repeated(pair(text, "x"), 1));
		values_add(values, value, value_repeated(pair("x", text), 1));
	}
	values_add(values, "a key twice", value_repeated(pair("x", "x"), 2));
	values_add(values, "10,000 keys", many_pairs(N_MANY));
}

static void add_objects(Values *values)
{
	static const char *const paths[] = {"/", PATH, PATH "/vm",
		PATH "/vm/ffffffffffffffffffffffffffffffff", PATH "/vm/a/b", PATH "/vm/_2e_2e",
		"/org/freedesktop/DBus", NULL};
	g_autofree char *large = g_strnfill(MEBIBYTE, 'a');

	for (gsize i = 0; paths[i]; i++)
		values_add(values, paths[i], g_variant_new_object_path(paths[i]));
	*large = '/';
	values_add(values, "/+1048575*a", g_variant_new_object_path(large));
}

static void add_devices(Values *values)
{
	GVariant *empty = g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0);

	values_add(values, "[]", g_variant_new_array(G_VARIANT_TYPE_VARDICT, NULL, 0));
	values_add(values, "[{}]", value_repeated(empty, 1));
	values_add(values, "10,000 * {}",
		value_repeated(g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0), N_MANY));
}

Values *values_of_type(const char *signature, const char *dir)
{
	Values *values = values_new();

	if (strcmp(signature, "s") == 0)
		add_strings(values, dir);
	else if (strcmp(signature, "as") == 0)
		add_string_arrays(values);
	else if (strcmp(signature, "a{ss}") == 0)
		add_pairs(values);
	else if (strcmp(signature, "aa{sv}") == 0)
		add_devices(values);
	else if (strcmp(signature, "o") == 0)
		add_objects(values);
	else if (strcmp(signature, "v") == 0)
		values_add(values, "nested 16 deep", value_nested(16));
	else if (strchr("ynqiuxtd", *signature))
		add_numbers(values, signature);
	else if (strcmp(signature, "b") == 0)
		for (guint i = 0; i < 2; i++)
			values_add(values, i ? "true" : "false", g_variant_new_boolean(i));
	return values;
}

/* ---- by name ---- */
/* What is read as something, and not quite that. */
static const struct {
	const char *name, *value;
} by_name[] = {
	{"command", "{}"},
	{"command", "[]"},
	{"command", "null"},
	{"command", "{\"execute\": 1}"},
	{"command", "{\"execute\": \"\"}"},
	{"command", "{\"execute\": \"query-status\""},
	{"command", "{\"execute\": \"query-status\"}{}"},
	{"command", "{\"execute\": \"query-status\", \"id\": 1}"},
	{"command", "{\"execute\": \"query-status\", \"execute\": \"stop\"}"},
	{"command", "{\"execute\": \"query-status\", \"arguments\": []}"},
	{"command", "{\"execute\": \"query-status\", \"arguments\": {\"a\": 1}}"},
	{"command", "{\"execute\": \"query-status\", \"a\\nb\": {}}"},
	{"command", "{\"execute\": \"no-such-command\"}"},
	{"command", "{\"execute\": \"a\\u001b[31mb\"}"},
	{"command", "{\"execute\": \"query-\\u0000\"}"},
	{"command", "{\"execute\": \"query-status\"}"},
	{"MAC", "00:00:00:00:00:00"},
	{"MAC", "FF:FF:FF:FF:FF:FF"},
	{"CPUModel", "host"},
	{"Bus", "fdc"},
	{"Bus", "ide"},
	{"Device", "cdrom"},
	{"Device", "floppy"},
	{"Watchdog", "ib700"},
	{"MachineType", "pc"},
	{"Mode", "agent"},
};

Values *values_of_name(const char *name)
{
	Values *values = values_new();

	for (gsize i = 0; i < G_N_ELEMENTS(by_name); i++)
		if (strcmp(by_name[i].name, name) == 0)
			add_text(values, by_name[i].value);
	if (strcmp(name, "command") == 0) {
		g_autofree char *deep = g_strnfill(10000, '['), *many = g_strnfill(1000, 'a');
		g_autofree char *command =
			g_strdup_printf("{\"execute\": \"query-status\", \"arguments\": {\"a\": %s}}", deep);

		values_add(values, "arrays 10,000 deep", g_variant_new_string(command));
		g_free(command);
		command = g_strdup_printf("{\"execute\": \"%s\"}", many);
		values_add(values, "a command of 1000 bytes", g_variant_new_string(command));
	}
	return values;
}

/* ---- around limits ---- */
static GVariant *counted(const char *signature, guint64 n, GVariant *element)
{
	if (strcmp(signature, "as") == 0)
		return many_strings(n);
	if (strcmp(signature, "a{ss}") == 0)
		return many_pairs(n);
	return element ? value_repeated(element, n) : NULL;
}

static void add_around(Values *values, const char *signature, guint64 n, GVariant *element)
{
	if (*signature != 'd' && strchr("ynqiuxt", *signature)) {
		if (number_bits(signature) == 64 || n >> number_bits(signature) == 0)
			add_number(values, signature, n);
	} else if (*signature == 's' && n <= 65536) {
		add_run(values, "", n);
	} else if (*signature == 'a' && n <= 20000) {
		GVariant *value = counted(signature, n, element);
		g_autofree char *name = g_strdup_printf("%" G_GUINT64_FORMAT " entries", n);

		if (value)
			values_add(values, name, value);
	}
	if (strcmp(signature, "as") == 0 && n > 0 && n <= 65536) {
		g_autofree char *text = g_strnfill(n, 'a'),
				*name = g_strdup_printf("[%" G_GUINT64_FORMAT "*a]", n);

		values_add(values, name, value_repeated(g_variant_new_string(text), 1));
	}
	if (strcmp(signature, "a{ss}") == 0 && n > 0 && n <= 65536) {
		g_autofree char *text = g_strnfill(n, 'a');
		g_autofree char *key = g_strdup_printf("{%" G_GUINT64_FORMAT "*a: \"x\"}", n);
		g_autofree char *value = g_strdup_printf("{\"x\": %" G_GUINT64_FORMAT "*a}", n);

		values_add(values, key, value_repeated(pair(text, "x"), 1));
		values_add(values, value, value_repeated(pair("x", text), 1));
	}
}

Values *values_around(const char *signature, const GArray *numbers, GVariant *element)
{
	Values *values = values_new();

	for (guint i = 0; i < MIN(numbers->len, N_NUMBERS); i++) {
		guint64 n = g_array_index(numbers, guint64, i);

		for (guint64 m = n > 0 ? n - 1 : n; m <= n + 1 && m >= n - (n > 0); m++)
			add_around(values, signature, m, element);
	}
	return values;
}

/* ---- a{sv} ---- */
GVariant *dict_add(GVariant *dict, const char *key, GVariant *value)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);
	g_autoptr(GVariant) owned = g_variant_ref_sink(dict);

	for (gsize i = 0; i < g_variant_n_children(owned); i++) {
		g_autoptr(GVariant) entry = g_variant_get_child_value(owned, i);

		g_variant_builder_add_value(&builder, entry);
	}
	g_variant_builder_add(&builder, "{sv}", key, value);
	return g_variant_builder_end(&builder);
}

GVariant *dict_put(GVariant *dict, const char *key, GVariant *value)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);
	g_autoptr(GVariant) owned = g_variant_ref_sink(dict), kept = value ? g_variant_ref_sink(value) : NULL;
	bool found = false;

	for (gsize i = 0; i < g_variant_n_children(owned); i++) {
		g_autoptr(GVariant) entry = g_variant_get_child_value(owned, i);
		const char *name;

		g_variant_get(entry, "{&sv}", &name, NULL);
		if (strcmp(name, key) != 0)
			g_variant_builder_add_value(&builder, entry);
		else if (kept)
			g_variant_builder_add(&builder, "{sv}", key, kept);
		found |= strcmp(name, key) == 0;
	}
	if (kept && !found)
		g_variant_builder_add(&builder, "{sv}", key, kept);
	return g_variant_builder_end(&builder);
}

static void add_unknown(Values *values, GVariant *base, const char *key, const char *name)
{
	g_autofree char *escaped = g_strescape(key, NULL);
	g_autofree char *given = g_strdup_printf("with \"%s\"", escaped);

	values_add(values, name ? name : given, dict_add(base, key, g_variant_new_boolean(TRUE)));
}

static GVariant *many_keys(GVariant *base, const char *format_or_key, bool same)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);

	for (gsize i = 0; i < g_variant_n_children(base); i++) {
		g_autoptr(GVariant) entry = g_variant_get_child_value(base, i);

		g_variant_builder_add_value(&builder, entry);
	}
	for (gsize i = 0; i < N_MANY; i++) {
		g_autofree char *key = same ? g_strdup(format_or_key)
					    : g_strdup_printf("%s%" G_GSIZE_FORMAT, format_or_key, i);

		g_variant_builder_add(&builder, "{sv}", key, g_variant_new_boolean(TRUE));
	}
	return g_variant_builder_end(&builder);
}

/* [([([("x",)],)],)] */
static GVariant *nested_arrays(unsigned depth)
{
	GVariant *value = g_variant_new_string("x");

	for (unsigned i = 0; i < depth; i++) {
		value = g_variant_new_tuple(&value, 1);
		value = g_variant_new_array(NULL, &value, 1);
	}
	return value;
}

Values *values_of_dict(GVariant *base)
{
	static const char *const keys[] = {"Bogus", "", "a\nb", "a\x1b[31mb", "\xc3\xa9",
		"\xe2\x80\xae"
		"abc",
		"%s%n", "../x", "A: b", "Memroy", "memory", NULL};
	static const unsigned depths[] = {2, 16, 25, 26, 29, 30, 31, 32, 48, 56};
	static const unsigned array_depths[] = {8, 14, 28};
	static const gsize key_lengths[] = {24, 25, 64, 65, MEBIBYTE};
	Values *values = values_new();

	for (gsize i = 0; keys[i]; i++)
		add_unknown(values, base, keys[i], NULL);
	for (gsize i = 0; i < G_N_ELEMENTS(key_lengths); i++) {
		g_autofree char *key = g_strnfill(key_lengths[i], 'k');
		g_autofree char *name = g_strdup_printf("with %" G_GSIZE_FORMAT "*k", key_lengths[i]);

		add_unknown(values, base, key, name);
	}
	for (gsize i = 0; i < G_N_ELEMENTS(depths); i++) {
		g_autofree char *name = g_strdup_printf("a value %u deep", depths[i]);

		values_add(values, name, dict_add(base, "Deep", value_nested(depths[i])));
	}
	for (gsize i = 0; i < G_N_ELEMENTS(array_depths); i++) {
		g_autofree char *name = g_strdup_printf("arrays of structs %u deep", array_depths[i]);

		values_add(values, name, dict_add(base, "Deep", nested_arrays(array_depths[i])));
	}
	values_add(values, "10,000 unknown keys", many_keys(base, "Key", false));
	values_add(values, "an unknown key 10,000 times", many_keys(base, "Key", true));
	return values;
}
