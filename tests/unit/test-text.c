/* util/text.h: what comes from outside, made fit to be shown. */
#include <glib.h>
#include <limits.h>
#include <string.h>

#include "util/text.h"

static void test_printable(void)
{
	static const struct {
		const char *text, *one_line, *lines;
	} rows[] = {
		{"", "", ""},
		{"plain, ä and \xf0\x9f\x90\xa6", "plain, ä and \xf0\x9f\x90\xa6",
			"plain, ä and \xf0\x9f\x90\xa6"},
		{"two\nlines", "two\\x0alines", "two\nlines"},
		{"\x1b[31mred\t\x7f", "\\x1b[31mred\\x09\\x7f", "\\x1b[31mred\\x09\\x7f"},
		{"c1 \xc2\x9b", "c1 \\x9b", "c1 \\x9b"},
		{"bad \xff.", "bad \xef\xbf\xbd.", "bad \xef\xbf\xbd."},
		/* From right to left, a line separator, a noncharacter. */
		{"a\xe2\x80\xae"
		 "b",
			"a\\x202eb", "a\\x202eb"},
		{"a\xe2\x80\xa8"
		 "b",
			"a\\x2028b", "a\\x2028b"},
		{"\xef\xbf\xbe", "\\xfffe", "\\xfffe"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *one_line = text_printable(rows[i].text, false);
		g_autofree char *lines = text_printable(rows[i].text, true);

		g_assert_cmpstr(one_line, ==, rows[i].one_line);
		g_assert_cmpstr(lines, ==, rows[i].lines);
	}
}

static void test_distance(void)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} rows[] = {
		{"", "", 0},
		{"Memory", "Memory", 0},
		{"memory", "Memory", 0},
		{"Memroy", "Memory", 1},
		{"Memry", "Memory", 1},
		{"Memoryy", "Memory", 1},
		{"Nemory", "Memory", 1},
		{"Skylake-Serve", "Skylake-Server-v5", 4},
		{"", "abc", 3},
		{"0123456789012345678901234567890x", "0123456789012345678901234567890y", 1},
		{"0123456789012345678901234567890xx", "0", UINT_MAX},
		{"0", "0123456789012345678901234567890xx", UINT_MAX},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_assert_cmpuint(text_distance(rows[i].a, rows[i].b), ==, rows[i].distance);
		g_assert_cmpuint(text_distance(rows[i].b, rows[i].a), ==, rows[i].distance);
	}
	g_assert_cmpuint(text_distance_limit("ab"), ==, 1);
	g_assert_cmpuint(text_distance_limit("Memroy"), ==, 3);
	g_assert_cmpuint(text_distance_limit("a very long word indeed"), ==, 3);
}

static void test_quote(void)
{
	g_autofree char *long_text = g_strnfill(64, 'a'), *longer = g_strnfill(65, 'a'),
			*cut = g_strconcat("'", long_text, "...'", NULL),
			*whole = g_strconcat("'", long_text, "'", NULL);
	/* The 64th byte is the first half of a character. */
	g_autofree char *half = g_strdup_printf("%.63s\xc3\xa4", long_text),
			*half_cut = g_strdup_printf("'%.63s...'", long_text);
	const struct {
		const char *text, *quoted, *key;
	} rows[] = {
		{"", "''", "''"},
		{"Name_1-", "'Name_1-'", "Name_1-"},
		{"a b", "'a b'", "'a b'"},
		{"a\nb", "'a\\x0ab'", "'a\\x0ab'"},
		{"\xff\xff", "'\xef\xbf\xbd\xef\xbf\xbd'", "'\xef\xbf\xbd\xef\xbf\xbd'"},
		{long_text, whole, long_text},
		{longer, cut, cut},
		{half, half_cut, half_cut},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *quoted = text_quote(rows[i].text), *key = text_key(rows[i].text);

		g_assert_cmpstr(quoted, ==, rows[i].quoted);
		g_assert_cmpstr(key, ==, rows[i].key);
	}
}

/* Of every length, and in the middle of characters as well. */
static void test_cut(void)
{
	g_autofree char *as = g_strnfill(300, 'a'), *path = NULL, *shown = NULL;
	g_autoptr(GString) umlauts = g_string_new(NULL);

	for (unsigned i = 0; i < 300; i++)
		g_string_append(umlauts, "\xc3\xa4");
	for (size_t max = 20; max <= 620; max++) {
		g_autofree char *a = text_cut_middle(as, max), *u = text_cut_middle(umlauts->str, max);

		g_assert_cmpuint(strlen(a), ==, MIN(max, 300));
		g_assert_cmpuint(strlen(u), <=, MIN(max, 600));
		g_assert_cmpuint(strlen(u) + 3, >=, MIN(max, 600));
		g_assert_true(g_utf8_validate(u, -1, NULL));
		g_assert_true((strstr(u, " [...] ") != NULL) == (max < 600));
	}
	path = g_strdup_printf("/%s/last\n", as);
	shown = text_path(path);
	g_assert_cmpuint(strlen(shown), ==, 255);
	g_assert_true(g_str_has_prefix(shown, "/aaa"));
	g_assert_true(g_str_has_suffix(shown, "/last\\x0a"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/text/printable", test_printable);
	g_test_add_func("/text/distance", test_distance);
	g_test_add_func("/text/quote", test_quote);
	g_test_add_func("/text/cut", test_cut);
	return g_test_run();
}
