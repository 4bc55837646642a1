#include "util/text.h"

#include <glib.h>

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
