/* qmp/wire.h, commands: what Roost's own look like, and what is let through of a caller's. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "qmp/wire.h"

static void test_format(void)
{
	static const struct {
		const char *arguments, *line;
	} rows[] = {
		{NULL, "{\"execute\":\"c\",\"id\":7}\n"},
		{"@a{sv} {}", "{\"execute\":\"c\",\"arguments\":{},\"id\":7}\n"},
		{"{'a': <'x'>, 'b': <true>, 'c': <false>}",
			"{\"execute\":\"c\",\"arguments\":{\"a\":\"x\",\"b\":true,\"c\":false},\"id\":7}\n"},
		{"{'a': <byte 255>, 'b': <int16 -1>, 'c': <uint16 65535>, 'd': <-1>, 'e': <uint32 "
		 "4294967295>}",
			"{\"execute\":\"c\",\"arguments\":{\"a\":255,\"b\":-1,\"c\":65535,\"d\":-1,\"e\":"
			"4294967295},\"id\":7}\n"},
		{"{'a': <int64 -9223372036854775808>, 'b': <uint64 18446744073709551615>, 'c': <0.5>}",
			"{\"execute\":\"c\",\"arguments\":{\"a\":-9223372036854775808,\"b\":"
			"18446744073709551615,\"c\":0.5},\"id\":7}\n"},
		{"{'a': <['x', 'y']>, 'b': <[<1>, <'z'>]>, 'c': <{'d': <{'e': 'f'}>}>, 'g': <@as []>}",
			"{\"execute\":\"c\",\"arguments\":{\"a\":[\"x\",\"y\"],\"b\":[1,\"z\"],\"c\":{\"d\":{"
			"\"e\":\"f\"}},\"g\":[]},\"id\":7}\n"},
		{"{'\"': <'a\"b\\\\c\\n\\t\\u0001\\u007f\xc3\xa4'>}",
			"{\"execute\":\"c\",\"arguments\":{\"\\\"\":"
			"\"a\\\"b\\\\c\\u000a\\u0009\\u0001\\u007f\xc3\xa4\"},\"id\":7}\n"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		GVariant *arguments = NULL;
		g_autofree char *line = NULL;

		if (rows[i].arguments)
			arguments =
				g_variant_parse(G_VARIANT_TYPE_VARDICT, rows[i].arguments, NULL, NULL, NULL);
		g_assert_true(arguments || !rows[i].arguments);
		line = qmp_command_format("c", arguments, 7);
		g_assert_cmpstr(line, ==, rows[i].line);
		g_clear_pointer(&arguments, g_variant_unref);
	}
}

static void test_floating(void)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);

	g_variant_builder_add(&builder, "{sv}", "inf", g_variant_new_double((double)INFINITY));
	g_variant_builder_add(&builder, "{sv}", "nan", g_variant_new_double((double)NAN));

	g_autofree char *line = qmp_command_format("a\"b", g_variant_builder_end(&builder), UINT64_MAX);

	g_assert_cmpstr(line, ==,
		"{\"execute\":\"a\\\"b\",\"arguments\":{\"inf\":null,\"nan\":null},\"id\":"
		"18446744073709551615}\n");
}

static void test_caller(void)
{
	static const struct {
		const char *json, *line, *name;
	} rows[] = {
		{"{\"execute\":\"query-status\"}", "{\"execute\":\"query-status\",\"id\":9}\n",
			"query-status"},
		{" { \"arguments\" : { \"a\" : [1 , \"\\n}\"] } , \"execute\" : \"q\\u0041\" } ",
			"{\"execute\":\"q\\u0041\",\"arguments\":{ \"a\" : [1 , \"\\n}\"] },\"id\":9}\n",
			"qA"},
		{"{\r\n\"execute\":\"q\",\"arguments\":{\r\n\"a\":\n1}}\n",
			"{\"execute\":\"q\",\"arguments\":{  \"a\": 1},\"id\":9}\n", "q"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *line = NULL, *name = NULL;
		char *complaint = NULL;

		g_assert_cmpint(qmp_command_format_json(rows[i].json, 9, &line, &name, &complaint), ==, 0);
		g_assert_cmpstr(line, ==, rows[i].line);
		g_assert_cmpstr(name, ==, rows[i].name);
		g_assert_null(complaint);
	}
}

static void assert_refused(const char *json, const char *expected)
{
	g_autofree char *complaint = NULL;
	char *line = NULL, *name = NULL;

	g_assert_cmpint(qmp_command_format_json(json, 9, &line, &name, &complaint), ==, -EINVAL);
	g_assert_cmpstr(complaint, ==, expected);
	g_assert_null(line);
	g_assert_null(name);
}

static void test_caller_refused(void)
{
	static const struct {
		const char *json, *complaint;
	} rows[] = {
		{"", "command: is not a JSON object"},
		{"query-status", "command: is not a JSON object"},
		{"\"query-status\"", "command: is not a JSON object"},
		{"[]", "command: is not a JSON object"},
		{"{\"execute\":\"q\"", "command: is not a JSON object"},
		{"{\"execute\":\"q\"}{\"execute\":\"q\"}", "command: is not a JSON object"},
		{"{\"execute\":\"q\"}\n{\"execute\":\"quit\"}", "command: is not a JSON object"},
		{"{\"execute\":\"\xff\"}", "command: is not a JSON object"},
		{"{\"execute\":\"q\\u0000\"}", "command: is not a JSON object"},
		{"{}", "command.execute: is required"},
		{"{\"execute\":1}", "command.execute: is not the name of a command"},
		{"{\"execute\":null}", "command.execute: is not the name of a command"},
		{"{\"execute\":\"\"}", "command.execute: is not the name of a command"},
		{"{\"execute\":\"q\",\"arguments\":[]}", "command.arguments: is not an object"},
		{"{\"execute\":\"q\",\"arguments\":null}", "command.arguments: is not an object"},
		{"{\"execute\":\"q\",\"id\":1}", "command.id: not allowed, Roost gives commands their ids"},
		{"{\"exec-oob\":\"q\"}", "command.exec-oob: not allowed, commands are executed in order"},
		{"{\"execute\":\"q\",\"execute\":\"r\"}", "command.execute: is given twice"},
		{"{\"execute\":\"q\",\"argument\":{}}", "command.argument: unknown member of a QMP command"},
		{"{\"a\":1,\"id\":1}", "command.a: unknown member of a QMP command"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		assert_refused(rows[i].json, rows[i].complaint);
}

static void test_caller_bounds(void)
{
	g_autofree char *text = g_strnfill(256 * 1024, ' '), *deep = g_strnfill(40, '['),
			*key = g_strnfill(63, 'k');
	g_autofree char *large = g_strdup_printf("{\"execute\":\"q\"}%s", text);
	g_autofree char *nested = g_strdup_printf("{\"execute\":\"q\",\"arguments\":{\"a\":%s}}", deep);
	/* A name is not cut in the middle of a character. */
	g_autofree char *half = g_strdup_printf("{\"%s\xc3\xa4xxx\":1}", key);
	g_autofree char *half_complaint =
		g_strdup_printf("command.'%s...': unknown member of a QMP command", key);

	assert_refused(large, "command: has 262159 bytes, at most 262144 are allowed");
	assert_refused(nested, "command: is nested deeper than 32 levels");
	assert_refused(half, half_complaint);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/command/format", test_format);
	g_test_add_func("/command/floating", test_floating);
	g_test_add_func("/command/caller", test_caller);
	g_test_add_func("/command/caller-refused", test_caller_refused);
	g_test_add_func("/command/caller-bounds", test_caller_bounds);
	return g_test_run();
}
