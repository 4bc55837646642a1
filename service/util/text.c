#include "util/text.h"

#include <glib.h>
#include <limits.h>
#include <string.h>

char *text_printable(const char *text, bool lines)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);
	GString *result = g_string_new(NULL);

	for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
		gunichar c = g_utf8_get_char(p);

		if ((c == '\n' && lines) || !g_unichar_iscntrl(c))
			g_string_append_unichar(result, c);
		else
			g_string_append_printf(result, "\\x%02x", c);
	}
	return g_string_free(result, FALSE);
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	return MIN(a, MIN(b, c));
}

/* Optimal string alignment. */
unsigned text_distance(const char *a, const char *b)
{
	unsigned d[TEXT_DISTANCE_MAX + 1][TEXT_DISTANCE_MAX + 1];
	size_t n_a = strlen(a), n_b = strlen(b);

	if (n_a > TEXT_DISTANCE_MAX || n_b > TEXT_DISTANCE_MAX)
		return UINT_MAX;
	for (unsigned i = 0; i <= n_a; i++)
		d[i][0] = i;
	for (unsigned j = 0; j <= n_b; j++)
		d[0][j] = j;
	for (unsigned i = 1; i <= n_a; i++)
		for (unsigned j = 1; j <= n_b; j++) {
			char x = g_ascii_tolower(a[i - 1]), y = g_ascii_tolower(b[j - 1]);

			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (x != y));
			if (i > 1 && j > 1 && x == g_ascii_tolower(b[j - 2]) &&
				y == g_ascii_tolower(a[i - 2]))
				d[i][j] = MIN(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[n_a][n_b];
}

unsigned text_distance_limit(const char *text)
{
	return MIN(3, (unsigned)(strlen(text) / 3) + 1);
}
