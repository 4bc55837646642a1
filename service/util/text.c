#include "util/text.h"

#include <glib.h>
#include <limits.h>
#include <string.h>

#define QUOTE_MAX      64
#define PATH_MAX_SHOWN 255
#define CUT            " [...] "

static bool is_visible(gunichar c)
{
	GUnicodeType type = g_unichar_type(c);

	return g_unichar_isprint(c) && type != G_UNICODE_LINE_SEPARATOR &&
	       type != G_UNICODE_PARAGRAPH_SEPARATOR;
}

char *text_printable(const char *text, bool lines)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);
	GString *result = g_string_new(NULL);

	for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
		gunichar c = g_utf8_get_char(p);

		if ((c == '\n' && lines) || is_visible(c))
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

/* The longest start of at most `max` bytes that ends between two characters. */
static size_t start_length(const char *text, size_t length, size_t max)
{
	size_t n = MIN(length, max);

	while (n > 0 && n < length && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

char *text_quote(const char *text)
{
	size_t length = strnlen(text, QUOTE_MAX + 1);
	g_autofree char *start = g_strndup(text, start_length(text, length, QUOTE_MAX));
	g_autofree char *shown = text_printable(start, false);

	return g_strdup_printf("'%s%s'", shown, length > QUOTE_MAX ? "..." : "");
}

char *text_key(const char *key)
{
	size_t length = strnlen(key, QUOTE_MAX + 1);
	bool plain = length >= 1 && length <= QUOTE_MAX;

	for (size_t i = 0; plain && i < length; i++)
		plain = g_ascii_isalnum(key[i]) || strchr("_-", key[i]);
	return plain ? g_strdup(key) : text_quote(key);
}

char *text_cut_middle(const char *text, size_t max)
{
	size_t length = strlen(text), n_start, n_end;
	const char *end;

	g_assert(max > 2 * strlen(CUT));
	if (length <= max)
		return g_strdup(text);
	n_start = start_length(text, length, (max - strlen(CUT)) / 4);
	n_end = max - strlen(CUT) - n_start;
	end = text + length - n_end;
	while (((unsigned char)*end & 0xc0) == 0x80)
		end++;
	return g_strdup_printf("%.*s" CUT "%s", (int)n_start, text, end);
}

char *text_path(const char *path)
{
	g_autofree char *shown = text_printable(path, false);

	return text_cut_middle(shown, PATH_MAX_SHOWN);
}
