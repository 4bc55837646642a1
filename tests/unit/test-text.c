/* util/text.h: what comes from outside, made fit to be shown. */
#include <glib.h>
#include <limits.h>

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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/text/printable", test_printable);
	g_test_add_func("/text/distance", test_distance);
	return g_test_run();
}
