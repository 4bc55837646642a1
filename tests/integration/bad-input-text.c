/* What holds for every error's text, and how a text is written down. */
#include <string.h>

#include "bad-input.h"

#define TEXT_MAX   4096
#define QUOTED_MAX 64
/* Paths of files are told whole, as far as they are of a sensible length. */
#define QUOTED_PATH_MAX 255
/* Longer strings are looked for by their beginning. */
#define COMPARED_MAX 8192

static const char *const known_errors[] = {
	ROOST_ERROR("LimitReached"),
	ROOST_ERROR("InvalidState"),
	ROOST_ERROR("NotSupported"),
	ROOST_ERROR("InvalidConfig"),
	ROOST_ERROR("VMExists"),
	ROOST_ERROR("StorageFailed"),
	ROOST_ERROR("NoSuchVM"),
	ROOST_ERROR("NoSuchDevice"),
	ROOST_ERROR("QemuFailed"),
	ROOST_ERROR("Busy"),
	ROOST_ERROR("Conflict"),
	DBUS_ERROR("InvalidArgs"),
	DBUS_ERROR("UnknownObject"),
	DBUS_ERROR("UnknownMethod"),
	DBUS_ERROR("UnknownInterface"),
	DBUS_ERROR("UnknownProperty"),
	DBUS_ERROR("PropertyReadOnly"),
	DBUS_ERROR("LimitsExceeded"),
	NULL,
};

/* What sd-bus answers itself: it names what was called and what is wrong with it, in its own order. */
static const char *const other_words[] = {
	"Invalid arguments '*' to call *(), expecting '*'.",
	"Unknown object '*'.",
	"Unknown method * or interface *.",
	"Unknown method '*' on interface '*'.",
	"Unknown interface * or property *.",
	"Unknown interface '*'.",
	"Property '*' is not writable.",
	/* A key that nobody knows is its own culprit. */
	"*: unknown key*",
	NULL,
};

const char *text_short_error(const char *error)
{
	if (g_str_has_prefix(error, ROOST_ERROR("")))
		return error + strlen(ROOST_ERROR(""));
	if (g_str_has_prefix(error, DBUS_ERROR("")))
		return error + strlen("org.freedesktop.") /* DBus.Error.X */;
	return error;
}

/* ---- what was sent ---- */
static bool shows_much_of(const char *text, const char *sent, gsize sent_length)
{
	gsize max = *sent == '/' ? QUOTED_PATH_MAX : QUOTED_MAX, length = strlen(text);

	if (sent_length <= max || length <= max)
		return false;
	sent_length = MIN(sent_length, COMPARED_MAX);
	for (gsize i = 0; i + max + 1 <= sent_length; i++)
		if (memmem(text, length, sent + i, max + 1))
			return true;
	return false;
}

static void check_sent(const char *text, GVariant *sent)
{
	if (g_variant_is_of_type(sent, G_VARIANT_TYPE_STRING) ||
		g_variant_is_of_type(sent, G_VARIANT_TYPE_OBJECT_PATH)) {
		gsize length;
		const char *string = g_variant_get_string(sent, &length);

		if (shows_much_of(text, string, length))
			g_error("the text shows too much of what was sent: %s", text);
	} else if (g_variant_is_container(sent)) {
		/* A giant is many of the same. */
		for (gsize i = 0; i < MIN(g_variant_n_children(sent), 64); i++) {
			g_autoptr(GVariant) child = g_variant_get_child_value(sent, i);

			check_sent(text, child);
		}
	}
}

/* ---- the rules ---- */
static bool is_line(const char *text, bool may_have_lines)
{
	if (!g_utf8_validate(text, -1, NULL) || *text == '\0')
		return false;
	for (const char *c = text; *c; c = g_utf8_next_char(c)) {
		GUnicodeType type = g_unichar_type(g_utf8_get_char(c));

		if (*c == '\n' && may_have_lines)
			continue;
		if (!g_unichar_isprint(g_utf8_get_char(c)) || type == G_UNICODE_LINE_SEPARATOR ||
			type == G_UNICODE_PARAGRAPH_SEPARATOR)
			return false;
	}
	return true;
}

static bool has_other_words(const char *text)
{
	for (gsize i = 0; other_words[i]; i++)
		if (g_pattern_match_simple(other_words[i], text))
			return true;
	return false;
}

/* "Disks" stands for "Disks[3].Path", too; and an argument `name` for the key Name that it becomes. */
static bool names_culprit(const char *text, const Culprits *culprits)
{
	const char *colon = strstr(text, ": ");

	for (gsize i = 0; colon && culprits->names[i]; i++) {
		gsize length = strlen(culprits->names[i]);

		if (g_ascii_strncasecmp(text, culprits->names[i], length) == 0 && strchr(":[.", text[length]))
			return true;
	}
	return false;
}

void text_check(const char *error, const char *text, const Culprits *culprits, GVariant *args)
{
	bool quotes_qemu = strcmp(error, ROOST_ERROR("QemuFailed")) == 0;

	if (!g_strv_contains(known_errors, error))
		g_error("%s is no error of the contract's: %s", error, text);
	if (!is_line(text, quotes_qemu) || strlen(text) > TEXT_MAX) {
		g_autofree char *escaped = g_strescape(text, NULL);

		g_error("%s has a text that can't be shown: %s", error, escaped);
	}
	if (args && !quotes_qemu)
		check_sent(text, args);
	if (culprits && culprits->names && !has_other_words(text) && !names_culprit(text, culprits))
		g_error("%s does not begin with its culprit (%s...): %s", error, culprits->names[0], text);
}

/* ---- writing it down ---- */
static struct {
	const char *pattern, *replacement;
	GRegex *regex;
} replacements[] = {
	{"\\((?!0{8})[0-9a-f]{8}-[0-9a-f-]{27}\\)", "(<uuid>)", NULL},
	{"/vm/(?!f{32})[0-9a-f]{32}", "/vm/<id>", NULL},
	{"process \\d+", "process <pid>", NULL},
	{"this QEMU \\([0-9.]+\\)", "this QEMU (<version>)", NULL},
	{"not \\d+ any more", "not <n> any more", NULL},
	{"no head \\d+,", "no head <n>,", NULL},
	{"the VM 'target-(off|running)'", "the VM '<vm>'", NULL},
	{"(?s)QEMU refuses ([^:]*): .*", "QEMU refuses \\1: <QEMU's words>", NULL},
	{"revision \\d+", "revision <n>", NULL},
	{"host has \\(\\d+ MiB\\)", "host has (<n> MiB)", NULL},
	/* The long runs. */
	{"([a-z])\\1{23,}", "\\1\\1\\1[~]\\1\\1\\1", NULL},
};

static char *replace_patterns(char *text_consume)
{
	for (gsize i = 0; i < G_N_ELEMENTS(replacements); i++) {
		g_autofree char *text = text_consume;

		if (!replacements[i].regex)
			replacements[i].regex =
				g_regex_new(replacements[i].pattern, G_REGEX_OPTIMIZE, 0, NULL);
		text_consume = g_regex_replace(
			replacements[i].regex, text, -1, 0, replacements[i].replacement, 0, NULL);
	}
	return text_consume;
}

/* As the service quotes it. */
static char *quote(const char *text)
{
	GString *quoted = g_string_new("'");
	const char *c = text;

	for (; *c && g_utf8_next_char(c) - text <= QUOTED_MAX; c = g_utf8_next_char(c)) {
		g_autofree char *one = g_strndup(c, (gsize)(g_utf8_next_char(c) - c));

		if (is_line(one, false))
			g_string_append(quoted, one);
		else
			g_string_append_printf(quoted, "\\x%02x", g_utf8_get_char(c));
	}
	g_string_append(quoted, *c ? "...'" : "'");
	return g_string_free(quoted, FALSE);
}

static void replace_number(GString *text, guint64 number, const char *before, const char *after)
{
	g_autofree char *find = g_strdup_printf("%s%" G_GUINT64_FORMAT "%s", before, number, after);
	g_autofree char *replacement = g_strdup_printf("%s<n>%s", before, after);

	g_string_replace(text, find, replacement, 1);
}

/* A key that looks like one is not quoted. */
static void replace_key(GString *text, const char *key)
{
	g_autofree char *first = g_strdup_printf("%s: ", key), *later = g_strdup_printf(".%s: ", key);

	if (!strstr(text->str, ": unknown"))
		return;
	if (g_str_has_prefix(text->str, first)) {
		g_string_erase(text, 0, (gssize)strlen(key));
		g_string_prepend(text, "<it>");
	} else {
		g_string_replace(text, later, ".<it>: ", 1);
	}
}

static void replace_sent(GString *text, GVariant *sent)
{
	if (g_variant_is_of_type(sent, G_VARIANT_TYPE_STRING) ||
		g_variant_is_of_type(sent, G_VARIANT_TYPE_OBJECT_PATH)) {
		g_autofree char *quoted = quote(g_variant_get_string(sent, NULL));

		g_string_replace(text, quoted, "<it>", 0);
		replace_key(text, g_variant_get_string(sent, NULL));
		replace_number(text, strlen(g_variant_get_string(sent, NULL)), "has ", " bytes");
	} else if (g_variant_is_of_type(sent, G_VARIANT_TYPE_UINT32)) {
		replace_number(text, g_variant_get_uint32(sent), ": ", " ");
	} else if (g_variant_is_of_type(sent, G_VARIANT_TYPE_UINT64)) {
		replace_number(text, g_variant_get_uint64(sent), ": ", " ");
	} else if (g_variant_is_container(sent)) {
		gsize n = g_variant_n_children(sent);

		replace_number(text, n, "has ", " entries");
		/* The one that it has, a dict entry's two, or what was added last. */
		for (gsize i = n <= 2 ? 0 : n - 1; i < n; i++) {
			g_autoptr(GVariant) child = g_variant_get_child_value(sent, i);

			replace_sent(text, child);
		}
	}
}

char *text_normalize(const char *text, const char *dir, const char *type, GVariant *sent)
{
	g_autoptr(GString) result = g_string_new(text);
	g_autofree char *quoted = type ? quote(type) : NULL, *whole = g_strdup_printf("'%s'", type);

	if (sent)
		replace_sent(result, sent);
	g_string_replace(result, dir, "<dir>", 0);
	if (type)
		g_string_replace(result, quoted, "'<type>'", 0);
	g_string_replace(result, whole, "'<type>'", 0);
	return replace_patterns(g_strdup(result->str));
}

void text_collect_numbers(const char *text, guint64 but, guint64 nor, GArray *numbers)
{
	g_autoptr(GRegex) quoted = g_regex_new("'[^']*'", 0, 0, NULL);
	g_autoptr(GRegex) number = g_regex_new("(?<![\\w.\\[<-])(\\d+)(?![\\w-])( [KMGT]iB)?", 0, 0, NULL);
	g_autofree char *bare = g_regex_replace_literal(quoted, text, -1, 0, "''", 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;

	for (g_regex_match(number, bare, 0, &match); g_match_info_matches(match);
		g_match_info_next(match, NULL)) {
		g_autofree char *digits = g_match_info_fetch(match, 1), *unit = g_match_info_fetch(match, 2);
		guint64 n = g_ascii_strtoull(digits, NULL, 10);
		bool known = n == but || n == nor;

		if (unit && *unit)
			n <<= unit[1] == 'K' ? 10 : unit[1] == 'M' ? 20 : unit[1] == 'G' ? 30 : 40;
		for (guint i = 0; i < numbers->len; i++)
			known |= g_array_index(numbers, guint64, i) == n;
		if (!known)
			g_array_append_val(numbers, n);
	}
}
