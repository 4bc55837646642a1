/* util/json.h: what is JSON and what is not, at every prefix and with every byte damaged; bounds; the way to
 * GVariant. */
#include <errno.h>
#include <string.h>

#include "util/json.h"

#define DEPTH 32

static int scan(const char *text)
{
	return json_scan(text, strlen(text), DEPTH, NULL, NULL);
}

static const char *const good[] = {
	"{}",
	"[]",
	" { } ",
	"\t[\r\n]",
	"null",
	"true",
	"false",
	"0",
	"-0",
	"12",
	"-12",
	"0.5",
	"1e5",
	"1E+5",
	"1.25e-3",
	"\"\"",
	"\"x\"",
	"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uD83D\\ude00\"",
	"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
	"[1,2,[3,{}],{\"a\":[]}]",
	"{\"a\":1,\"b\":[true,false,null],\"c\":{\"d\":\"e\"}}",
	"{ \"a\" : 1 , \"a\" : 2 }",
	"\"\x7f\"",
	"18446744073709551615",
	"-9223372036854775808",
	"18446744073709551616.0",
	"1e999",
};

static const char *const bad[] = {
	"",
	" ",
	"{",
	"}",
	"[",
	"]",
	"{]",
	"[}",
	"{\"a\"}",
	"{\"a\":}",
	"{\"a\":1,}",
	"{,}",
	"{a:1}",
	"{\"a\" 1}",
	"{1:2}",
	"[1,]",
	"[,1]",
	"[1 2]",
	"[1:2]",
	"[1x",
	"[1x]",
	"{\"a\":1]",
	"{\"a\":1;}",
	"nul",
	"nulll",
	"True",
	"tru",
	"truefalse",
	"{} {}",
	"1 2",
	"01",
	"-",
	"-x",
	"+1",
	".5",
	"1.",
	"1.e5",
	"1e",
	"1e+",
	"0x10",
	"1-",
	"--1",
	"NaN",
	"Infinity",
	"'a'",
	"\"",
	"\"a",
	"\"\\",
	"\"\\\"",
	"\"\\x\"",
	"\"\\u\"",
	"\"\\u12\"",
	"\"\\u123g\"",
	"\"\\u0000\"",
	"\"\\ud800\"",
	"\"\\udc00\"",
	"\"\\ud800\\ud800\"",
	"\"\\ud800x\"",
	"\"\\ud800\\n\"",
	"\"\\ud800\\u\"",
	"\"\n\"",
	"\"\x1f\"",
	"\"\x80\"",
	"\"\xc0\x80\"",
	"\"\xc3\"",
	"\"\xc3\x28\"",
	"\"\xed\xa0\x80\"",
	"\"\xf4\x90\x80\x80\"",
	"\"\xff\"",
	"\xef\xbb\xbf{}",
	"/* */{}",
	"{}//",
	"18446744073709551616",
	"-9223372036854775809",
	"99999999999999999999999",
};

static void test_accepts(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(JsonNode) node = NULL;

		g_test_message("%s", good[i]);
		g_assert_cmpint(scan(good[i]), ==, 0);
		g_assert_cmpint(json_parse(good[i], strlen(good[i]), 1024, DEPTH, &node), ==, 0);
		g_assert_nonnull(node);
	}
}

static void test_refuses(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *shown = g_strescape(bad[i], NULL);
		JsonNode *node = NULL;

		g_test_message("%s", shown);
		g_assert_cmpint(scan(bad[i]), ==, -EBADMSG);
		g_assert_cmpint(json_parse(bad[i], strlen(bad[i]), 1024, DEPTH, &node), ==, -EBADMSG);
		g_assert_null(node);
	}
	/* A NUL is an end of text for C only. */
	g_assert_cmpint(json_scan("{}\0", 3, DEPTH, NULL, NULL), ==, -EBADMSG);
	g_assert_cmpint(json_scan("\"a\0b\"", 5, DEPTH, NULL, NULL), ==, -EBADMSG);
	g_assert_cmpint(json_scan("\"\\\0\"", 4, DEPTH, NULL, NULL), ==, -EBADMSG);
}

static void test_depth(void)
{
	for (unsigned max = 0; max <= 64; max += 8) {
		for (unsigned depth = 0; depth <= 70; depth++) {
			g_autoptr(GString) text = g_string_new(NULL);

			for (unsigned i = 0; i < depth; i++)
				g_string_append(text, i % 2 ? "{\"a\":" : "[");
			g_string_append(text, "1");
			for (unsigned i = depth; i > 0; i--)
				g_string_append(text, i % 2 ? "]" : "}");
			g_assert_cmpint(json_scan(text->str, text->len, max, NULL, NULL), ==,
				depth > max ? -E2BIG : 0);
		}
	}
	/* No more than the bits there are, whatever is asked; and no stack is used. */
	g_autofree char *deep = g_strnfill(1000000, '[');

	g_assert_cmpint(json_scan(deep, 1000000, 1000000, NULL, NULL), ==, -E2BIG);
	g_assert_cmpint(json_scan(deep, 64, 1000000, NULL, NULL), ==, -EBADMSG);
	g_assert_cmpint(json_scan(deep, 65, 1000000, NULL, NULL), ==, -E2BIG);
}

static void append_member(const JsonSlice *member, void *user)
{
	g_string_append_printf(user, "<%.*s|%.*s>", (int)member->key_size, member->key,
		(int)member->value_size, member->value);
}

static void test_members(void)
{
	static const struct {
		const char *text;
		int result;
		const char *members;
	} rows[] = {
		{"{}", 0, ""},
		{" { \"a\" : 1 , \"b\":\t\"x\\\"y\" }\r\n", 0, "<a|1><b|\"x\\\"y\">"},
		{"{\"a\":{\"b\":{\"c\":1}},\"d\":[ {\"e\":2} ],\"f\":{}}", 0,
			"<a|{\"b\":{\"c\":1}}><d|[ {\"e\":2} ]><f|{}>"},
		{"{\"a\":1,\"a\":2}", 0, "<a|1><a|2>"},
		{"{\"\\u0061\":null}", 0, "<\\u0061|null>"},
		{"{\"\":-1.5e3}", 0, "<|-1.5e3>"},
		{"{\"a\":1,\"b\":nope}", -EBADMSG, "<a|1>"},
		{"{\"a\":1", -EBADMSG, "<a|1>"},
		{"[{\"a\":1}]", -EBADMSG, ""},
		{"\"a\"", -EBADMSG, ""},
		{"  ", -EBADMSG, ""},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GString) members = g_string_new(NULL);

		g_assert_cmpint(json_scan(rows[i].text, strlen(rows[i].text), DEPTH, append_member, members),
			==, rows[i].result);
		g_assert_cmpstr(members->str, ==, rows[i].members);
	}
}

/* Every prefix, and every byte replaced by every other: never a crash or a read past the end (the copies are
 * exact, for the sanitizers), and whatever passes must be taken by json-glib too. */
static void test_damage(void)
{
	static const char text[] = "{\"timestamp\": {\"seconds\": 17, \"microseconds\": 2}, \"e\": "
				   "\"S\\u00e4\\ud83d\\ude00\xc3\xa4\", \"d\": [-1.5e+3, "
				   "true]}";
	size_t size = strlen(text);

	for (size_t i = 0; i < size; i++) {
		g_autofree char *prefix = g_memdup2(text, MAX(i, 1));

		g_assert_cmpint(json_scan(prefix, i, DEPTH, NULL, NULL), ==, -EBADMSG);
	}
	for (size_t i = 0; i < size; i++) {
		for (int c = 0; c < 256; c++) {
			g_autofree char *damaged = g_memdup2(text, size);
			g_autoptr(JsonNode) node = NULL;
			int r;

			damaged[i] = (char)c;
			r = json_parse(damaged, size, size, DEPTH, &node);
			g_assert_true(r == 0 || r == -EBADMSG);
			g_assert_true((r == 0) == (node != NULL));
		}
	}
}

static void test_find(void)
{
	const char *text = "{\"a\":1, \"b\": {\"c\": 2}, \"d\": \"x\", \"a\": 3}";
	JsonSlice slice = {0};

	g_assert_true(json_find(text, strlen(text), "b", &slice));
	g_assert_cmpmem(slice.value, slice.value_size, "{\"c\": 2}", 8);
	g_assert_true(json_find(slice.value, slice.value_size, "c", &slice));
	g_assert_cmpmem(slice.value, slice.value_size, "2", 1);
	g_assert_true(json_find(text, strlen(text), "a", &slice));
	g_assert_cmpmem(slice.value, slice.value_size, "3", 1);
	g_assert_false(json_find(text, strlen(text), "c", &slice));
	g_assert_false(json_find(text, strlen(text), "", &slice));
	g_assert_false(json_find("[1]", 3, "a", &slice));
	g_assert_false(json_find("{\"a\":1", 6, "a", &slice));
}

static void test_strings(void)
{
	static const struct {
		const char *text, *value;
	} rows[] = {
		{"\"\"", ""},
		{"\"a b\"", "a b"},
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
		{"\"\\u00e4\\u20AC\\uD83D\\uDE00\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\"x\xc3\xa4y\"", "x\xc3\xa4y"},
		{"1", NULL},
		{"", NULL},
		{"\"", NULL},
		{"\"a", NULL},
		{"\"a\" ", NULL},
		{"\"a\"\"", NULL},
		{"\"\\u0000\"", NULL},
		{"\"\xff\"", NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *value = json_slice_to_string(rows[i].text, strlen(rows[i].text));

		g_assert_cmpstr(value, ==, rows[i].value);
	}
}

static void test_parse_size(void)
{
	g_autoptr(JsonNode) node = NULL;

	g_assert_cmpint(json_parse("{}  ", 4, 3, DEPTH, &node), ==, -EFBIG);
	g_assert_cmpint(json_parse("[[]]", 4, 4, 1, &node), ==, -E2BIG);
	g_assert_null(node);
	g_assert_cmpint(json_parse("{}  ", 4, 4, DEPTH, &node), ==, 0);
	g_assert_nonnull(node);
}

static void test_variant(void)
{
	static const struct {
		const char *text, *variant;
	} rows[] = {
		{"null", NULL},
		{"true", "true"},
		{"-9223372036854775808", "int64 -9223372036854775808"},
		{"9223372036854775807", "int64 9223372036854775807"},
		{"1.5", "1.5"},
		{"1e3", "1000.0"},
		{"\"\xc3\xa4\"", "'\xc3\xa4'"},
		{"[]", "@av []"},
		{"[1,null,[false]]", "[<int64 1>, <[<false>]>]"},
		{"{}", "@a{sv} {}"},
		{"{\"b\":{},\"a\":null,\"c\":\"x\"}", "{'b': <@a{sv} {}>, 'c': <'x'>}"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(JsonNode) node = NULL;
		GVariant *variant;
		g_autofree char *printed = NULL;

		g_assert_cmpint(json_parse(rows[i].text, strlen(rows[i].text), 1024, DEPTH, &node), ==, 0);
		variant = json_to_variant(node);
		if (variant) {
			g_assert_true(g_variant_is_floating(variant));
			printed = g_variant_print(variant, TRUE);
			g_variant_unref(variant);
		}
		g_assert_cmpstr(printed, ==, rows[i].variant);
	}
}

static char *vardict(const char *text, size_t size, size_t max_string)
{
	g_autoptr(GVariant) variant = g_variant_ref_sink(json_text_to_vardict(text, size, max_string));

	g_assert_true(g_variant_is_of_type(variant, G_VARIANT_TYPE_VARDICT));
	return g_variant_print(variant, TRUE);
}

static void test_vardict(void)
{
	static const struct {
		const char *text;
		size_t max_string;
		const char *variant;
	} rows[] = {
		{"{\"a\":\"abcdef\",\"b\":[\"abcdef\"]}", 4, "{'a': <'abcd'>, 'b': <[<'abcd'>]>}"},
		/* Two bytes, three, four: never half a character. */
		{"{\"a\":\"ab\xc3\xa4\"}", 3, "{'a': <'ab'>}"},
		{"{\"a\":\"ab\xe2\x82\xac\"}", 4, "{'a': <'ab'>}"},
		{"{\"a\":\"\xf0\x9f\x98\x80\"}", 3, "{'a': <''>}"},
		{"{\"a\":\"ab\xc3\xa4\"}", 4, "{'a': <'ab\xc3\xa4'>}"},
		{"[1]", 4, "@a{sv} {}"},
		{"", 4, "@a{sv} {}"},
		{"{\"a\":1", 4, "@a{sv} {}"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *printed = vardict(rows[i].text, strlen(rows[i].text), rows[i].max_string);

		g_assert_cmpstr(printed, ==, rows[i].variant);
	}
}

/* What a hostile QEMU may send: many members, long keys, deep nesting. The result stays fit for a bus. */
static void test_vardict_bounds(void)
{
	g_autoptr(GString) text = g_string_new("{\"first\":1");
	g_autoptr(GVariant) variant = NULL;
	unsigned depth = 0;

	for (unsigned i = 0; i < 100000; i++)
		g_string_append_printf(text, ",\"key%u\":\"value\"", i);
	g_string_append(text, "}");
	variant = g_variant_ref_sink(json_text_to_vardict(text->str, text->len, 4096));
	g_assert_cmpuint(g_variant_get_size(variant), <, 32U * 1024);
	g_assert_true(g_variant_lookup(variant, "first", "x", NULL));
	g_clear_pointer(&variant, g_variant_unref);

	g_string_assign(text, "");
	for (unsigned i = 0; i < DEPTH; i++)
		g_string_append(text, "{\"a\":");
	g_string_append(text, "1");
	for (unsigned i = 0; i < DEPTH; i++)
		g_string_append(text, "}");
	variant = g_variant_ref_sink(json_text_to_vardict(text->str, text->len, 4096));
	for (;;) {
		GVariant *inner = g_variant_lookup_value(variant, "a", G_VARIANT_TYPE_VARDICT);

		depth++;
		if (!inner)
			break;
		g_variant_unref(variant);
		variant = inner;
	}
	g_assert_cmpuint(depth, ==, 16);
}

/* The budget of a flood, far below what any machine does, so that only a change of order fails it. */
static void test_speed(void)
{
	static const char line[] =
		"{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 123456}, \"event\": "
		"\"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}}";
	unsigned n = g_test_perf() ? 3000000 : 300000;
	gint64 start = g_get_monotonic_time(), took;

	for (unsigned i = 0; i < n; i++)
		g_assert_cmpint(json_scan(line, sizeof line - 1, DEPTH, NULL, NULL), ==, 0);
	took = g_get_monotonic_time() - start;
	g_test_message("%.2f million lines a second", (double)n / (double)took);
	g_assert_cmpint(took, <, n * 10);
}

/* ---- elements ---- */
static void take_element(const JsonSlice *element, void *user)
{
	g_assert_null(element->key);
	g_string_append_printf(user, "<%.*s>", (int)element->value_size, element->value);
}

static void test_elements(void)
{
	static const struct {
		const char *text, *elements;
		int result;
	} rows[] = {
		{"[]", "", 0},
		{" [ 1 , \"a,]\" ,null] ", "<1><\"a,]\"><null>", 0},
		{"[{\"a\":[1,2]},[[3],4],{}]", "<{\"a\":[1,2]}><[[3],4]><{}>", 0},
		{"{\"a\":1}", "", -EBADMSG},
		{"1", "", -EBADMSG},
		{"", "", -EBADMSG},
		{" ", "", -EBADMSG},
		{"[1,2", "<1><2>", -EBADMSG},
		{"[1,]", "<1>", -EBADMSG},
		{"[1]2", "<1>", -EBADMSG},
		{"[1,{\"a\":[[[]]]}]", "<1>", -E2BIG},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GString) heard = g_string_new(NULL);

		g_assert_cmpint(
			json_scan_elements(rows[i].text, strlen(rows[i].text), 4, take_element, heard), ==,
			rows[i].result);
		g_assert_cmpstr(heard->str, ==, rows[i].elements);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/json/accepts", test_accepts);
	g_test_add_func("/json/refuses", test_refuses);
	g_test_add_func("/json/depth", test_depth);
	g_test_add_func("/json/members", test_members);
	g_test_add_func("/json/elements", test_elements);
	g_test_add_func("/json/damage", test_damage);
	g_test_add_func("/json/find", test_find);
	g_test_add_func("/json/strings", test_strings);
	g_test_add_func("/json/parse-size", test_parse_size);
	g_test_add_func("/json/variant", test_variant);
	g_test_add_func("/json/vardict", test_vardict);
	g_test_add_func("/json/vardict-bounds", test_vardict_bounds);
	g_test_add_func("/json/speed", test_speed);
	return g_test_run();
}
