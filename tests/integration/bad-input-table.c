/*
 * The table. A line of it is
 *
 *   subject | cases | error: text
 *
 * Cases of a subject in which the same came out are one line. Where a subject has several ways (a key: the
 * methods that take definitions; a VM's method: the VM that is off and the one that runs), `subject @ ways`
 * says for which of them the line holds; without, for all that were tried.
 */
#include <stdlib.h>
#include <string.h>

#include "bad-input.h"

typedef struct Case {
	char *name;
	GPtrArray *ways, *outcomes; /* static strings of ours; owned */
} Case;

typedef struct Subject {
	char *name;
	GPtrArray *cases; /* Case */
} Subject;

struct Table {
	GPtrArray *subjects;
	GHashTable *by_name; /* -> Subject */
	GHashTable *cases;   /* "subject\ncase" -> Case */
};

static void case_free(gpointer data)
{
	Case *c = data;

	g_free(c->name);
	g_ptr_array_unref(c->ways);
	g_ptr_array_unref(c->outcomes);
	g_free(c);
}

static void subject_free(gpointer data)
{
	Subject *subject = data;

	g_free(subject->name);
	g_ptr_array_unref(subject->cases);
	g_free(subject);
}

Table *table_new(void)
{
	Table *table = g_new0(Table, 1);

	table->subjects = g_ptr_array_new_with_free_func(subject_free);
	table->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	table->cases = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return table;
}

Table *table_free(Table *table)
{
	if (!table)
		return NULL;
	g_hash_table_unref(table->cases);
	g_hash_table_unref(table->by_name);
	g_ptr_array_unref(table->subjects);
	g_free(table);
	return NULL;
}

static Subject *find_subject(Table *table, const char *name)
{
	Subject *subject = g_hash_table_lookup(table->by_name, name);

	if (subject)
		return subject;
	subject = g_new0(Subject, 1);
	subject->name = g_strdup(name);
	subject->cases = g_ptr_array_new_with_free_func(case_free);
	g_ptr_array_add(table->subjects, subject);
	g_hash_table_insert(table->by_name, subject->name, subject);
	return subject;
}

static Case *find_case(Table *table, Subject *subject, const char *name)
{
	g_autofree char *key = g_strdup_printf("%s\n%s", subject->name, name);
	Case *c = g_hash_table_lookup(table->cases, key);

	if (c)
		return c;
	c = g_new0(Case, 1);
	c->name = g_strdup(name);
	c->ways = g_ptr_array_new_with_free_func(g_free);
	c->outcomes = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(subject->cases, c);
	g_hash_table_insert(table->cases, g_steal_pointer(&key), c);
	return c;
}

static bool has_word(const GPtrArray *words, const char *word)
{
	for (guint i = 0; i < words->len; i++)
		if (strcmp(words->pdata[i], word) == 0)
			return true;
	return false;
}

void table_add(
	Table *table, const char *subject_name, const char *way, const char *case_name, const char *outcome)
{
	Subject *subject = find_subject(table, subject_name);
	Case *c = find_case(table, subject, case_name);

	/* The same again says the same. */
	if (has_word(c->ways, way))
		return;
	g_ptr_array_add(c->ways, g_strdup(way));
	g_ptr_array_add(c->outcomes, g_strdup(outcome));
}

bool table_has_case(Table *table, const char *subject, const char *way, const char *case_name)
{
	g_autofree char *key = g_strdup_printf("%s\n%s", subject, case_name);
	const Case *c = g_hash_table_lookup(table->cases, key);

	return c && has_word(c->ways, way);
}

guint table_count(Table *table, const char *subject_name, const char *way, const char *outcome)
{
	const Subject *subject = find_subject(table, subject_name);
	guint n = 0;

	for (guint i = 0; i < subject->cases->len; i++) {
		const Case *c = subject->cases->pdata[i];

		for (guint j = 0; j < c->ways->len; j++)
			n += strcmp(c->ways->pdata[j], way) == 0 &&
			     strcmp(c->outcomes->pdata[j], outcome) == 0;
	}
	return n;
}

/* The number that a case's name begins with: what was sent. */
static guint64 number_of(const Case *c)
{
	const char *name = c->name;

	while (*name && !g_ascii_isdigit(*name))
		name++;
	return g_ascii_strtoull(name, NULL, 10);
}

GArray *table_numbers(Table *table, const char *subject_name)
{
	Subject *subject = find_subject(table, subject_name);
	GArray *numbers = g_array_new(FALSE, FALSE, sizeof(guint64));

	for (guint i = 0; i < subject->cases->len; i++) {
		const Case *c = subject->cases->pdata[i];
		guint64 sent = number_of(c);

		for (guint j = 0; j < c->outcomes->len; j++)
			text_collect_numbers(c->outcomes->pdata[j], sent, sent + (*c->name == '/'), numbers);
	}
	return numbers;
}

/* ---- printing ---- */
/* All ways that were tried are one. */
static bool is_uniform(const Case *c)
{
	for (guint i = 1; i < c->outcomes->len; i++)
		if (strcmp(c->outcomes->pdata[i], c->outcomes->pdata[0]) != 0)
			return false;
	return true;
}

static bool same(const Case *a, const Case *b)
{
	if (is_uniform(a) && is_uniform(b))
		return strcmp(a->outcomes->pdata[0], b->outcomes->pdata[0]) == 0;
	if (a->ways->len != b->ways->len)
		return false;
	for (guint i = 0; i < a->ways->len; i++)
		if (strcmp(a->ways->pdata[i], b->ways->pdata[i]) != 0 ||
			strcmp(a->outcomes->pdata[i], b->outcomes->pdata[i]) != 0)
			return false;
	return true;
}

/* The ways that have this outcome; `done` is set for them. */
static GString *ways_of(const Case *c, guint first, bool *done)
{
	GString *ways = g_string_new(NULL);

	for (guint i = first; i < c->ways->len; i++)
		if (strcmp(c->outcomes->pdata[i], c->outcomes->pdata[first]) == 0) {
			g_string_append_printf(
				ways, "%s%s", ways->len ? ", " : "", (char *)c->ways->pdata[i]);
			done[i] = true;
		}
	return ways;
}

static void print_group(const Subject *subject, const Case *c, const char *names, GString *text)
{
	g_autofree bool *done = g_new0(bool, c->ways->len + 1);

	for (guint i = 0; i < c->ways->len; i++) {
		g_autoptr(GString) ways = NULL;
		guint n = 0;

		if (done[i])
			continue;
		ways = ways_of(c, i, done);
		for (guint j = i; j < c->ways->len; j++)
			n += strcmp(c->outcomes->pdata[j], c->outcomes->pdata[i]) == 0;
		if (n == c->ways->len)
			g_string_append_printf(
				text, "%s | %s | %s\n", subject->name, names, (char *)c->outcomes->pdata[i]);
		else
			g_string_append_printf(text, "%s @ %s | %s | %s\n", subject->name, ways->str, names,
				(char *)c->outcomes->pdata[i]);
	}
}

static void print_subject(const Subject *subject, GString *text)
{
	g_autofree bool *done = g_new0(bool, subject->cases->len + 1);

	for (guint i = 0; i < subject->cases->len; i++) {
		g_autoptr(GString) names = g_string_new(NULL);
		const Case *c = subject->cases->pdata[i];

		if (done[i])
			continue;
		for (guint j = i; j < subject->cases->len; j++) {
			const Case *other = subject->cases->pdata[j];

			if (!same(c, other))
				continue;
			done[j] = true;
			g_string_append_printf(names, "%s%s", names->len ? "; " : "", other->name);
		}
		print_group(subject, c, names->str, text);
	}
}

char *table_print(Table *table)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < table->subjects->len; i++)
		print_subject(table->subjects->pdata[i], text);
	return g_string_free(text, FALSE);
}

/* ---- the golden file ---- */
#define SECTION "== "

/* The sections: title line and body alternate. */
static char *read_golden(const char *path)
{
	char *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return g_strdup("");
	return text;
}

/* Where the section's body is; its end. NULL: there is none. */
static const char *find_section(const char *golden, const char *section, const char **ret_end)
{
	g_autofree char *title = g_strdup_printf(SECTION "%s\n", section);
	const char *start = strstr(golden, title), *end;

	if (!start)
		return NULL;
	start += strlen(title);
	end = g_str_has_prefix(start, SECTION) ? start : strstr(start, "\n" SECTION);
	*ret_end = !end ? start + strlen(start) : end == start ? end : end + 1;
	return start;
}

static void rewrite(const char *path, const char *golden, const char *section, const char *body)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GError) error = NULL;
	const char *end, *start = find_section(golden, section, &end);

	if (start)
		g_string_append_len(text, golden, start - golden);
	else
		g_string_append_printf(text, "%s" SECTION "%s\n", golden, section);
	g_string_append(text, body);
	if (start)
		g_string_append(text, end);
	g_file_set_contents(path, text->str, -1, &error);
	g_assert_no_error(error);
	g_test_message("%s: section '%s' is rewritten", path, section);
}

/* The first lines that differ are what a reader of the log wants. */
void table_assert_same(const char *wanted, const char *found, const char *complaint)
{
	g_auto(GStrv) a = g_strsplit(wanted, "\n", -1), b = g_strsplit(found, "\n", -1);
	guint n = 0;

	if (strcmp(wanted, found) == 0)
		return;
	for (guint i = 0; a[i] && n < 20; i++)
		if (!g_strv_contains((const char *const *)b, a[i])) {
			g_test_message("- %s", a[i]);
			n++;
		}
	for (guint i = 0; b[i] && n < 40; i++)
		if (!g_strv_contains((const char *const *)a, b[i])) {
			g_test_message("+ %s", b[i]);
			n++;
		}
	g_error("%s", complaint);
}

void table_compare(Table *table, const char *section)
{
	g_autofree char *path = g_test_build_filename(G_TEST_DIST, "bad-input.table", NULL);
	g_autofree char *golden = read_golden(path), *body = table_print(table), *wanted = NULL;
	const char *end, *start;

	if (g_getenv("ROOST_REGENERATE_GOLDEN")) {
		rewrite(path, golden, section, body);
		return;
	}
	start = find_section(golden, section, &end);
	wanted = start ? g_strndup(start, (gsize)(end - start)) : g_strdup("");
	table_assert_same(
		wanted, body, "bad-input.table differs: ROOST_REGENERATE_GOLDEN=1 rewrites it, to be read");
}
