/* util/text.h: what comes from outside, made fit to be shown. */
#include <glib.h>

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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/text/printable", test_printable);
	return g_test_run();
}
