/*
 * A line is a head and arguments; each head has a row in a table with the shape of its arguments: n a number,
 * w a word, t the rest of the line (may be empty), e an event, j JSON.
 */
#include "script.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/fd.h"
#include "util/json.h"

typedef struct Line {
	const char *path;
	unsigned number;
	char *rest; /* what was not taken yet */
} Line;

static G_NORETURN void refuse(const Line *line, const char *complaint, const char *culprit)
{
	fprintf(stderr, "mock-qemu: %s:%u: %s: %s\n", line->path, line->number, complaint, culprit);
	exit(2);
}

static char *take_word(Line *line)
{
	char *word;

	line->rest += strspn(line->rest, " \t");
	word = line->rest;
	line->rest += strcspn(line->rest, " \t");
	if (*line->rest)
		*line->rest++ = '\0';
	if (!*word)
		refuse(line, "something is missing", "end of line");
	return word;
}

static uint64_t take_number(Line *line)
{
	const char *word = take_word(line);
	guint64 number;

	if (!g_ascii_string_to_unsigned(word, 10, 0, G_MAXUINT32, &number, NULL))
		refuse(line, "not a number", word);
	return number;
}

static char *take_rest(Line *line)
{
	char *text = g_strstrip(line->rest);

	line->rest = text + strlen(text);
	return g_strdup(text);
}

static char *take_json(Line *line, bool is_event)
{
	char *text = take_rest(line);
	JsonSlice slice;

	if (json_scan(text, strlen(text), 64, NULL, NULL) < 0)
		refuse(line, "not JSON", text);
	if (is_event && (!json_find(text, strlen(text), "event", &slice) || slice.value[0] != '"'))
		refuse(line, "not an event", text);
	return text;
}

static const struct {
	const char *name;
	const char *arguments;
	RuleKind kind;
} rule_table[] = {
	{"delay", "n", RULE_DELAY},
	{"silent", "", RULE_SILENT},
	{"event", "e", RULE_EVENT},
	{"error", "wt", RULE_ERROR},
	{"exit", "nt", RULE_EXIT},
	{"garbage", "", RULE_GARBAGE},
	{"half", "", RULE_HALF},
	{"return", "j", RULE_RETURN},
	{"sleep", "n", RULE_SLEEP},
	{"say", "t", RULE_SAY},
	{"split", "n", RULE_SPLIT},
	{"long", "n", RULE_LONG},
	{"deep", "n", RULE_DEEP},
	{"cut", "t", RULE_CUT},
};

static void parse_on(Script *script, Line *line)
{
	Rule *rule = g_new0(Rule, 1);
	const char *name;
	size_t i = 0;

	rule->command = g_strdup(take_word(line));
	name = take_word(line);
	while (i < G_N_ELEMENTS(rule_table) && strcmp(name, rule_table[i].name) != 0)
		i++;
	if (i == G_N_ELEMENTS(rule_table))
		refuse(line, "unknown action", name);
	rule->kind = rule_table[i].kind;
	for (const char *shape = rule_table[i].arguments; *shape; shape++) {
		if (*shape == 'n')
			rule->number = take_number(line);
		else if (*shape == 'w')
			rule->word = g_strdup(take_word(line));
		else if (*shape == 't')
			rule->text = take_rest(line);
		else
			rule->text = take_json(line, *shape == 'e');
	}
	g_ptr_array_add(script->rules, rule);
}

/* `every` and `after`. */
static void parse_timer(Script *script, Line *line, bool once)
{
	Timer *timer = g_new0(Timer, 1);
	const char *action;

	timer->once = once;
	timer->period_usec = take_number(line) * 1000;
	if (!once && timer->period_usec == 0)
		refuse(line, "a period of nothing", "0");
	action = take_word(line);
	if (strcmp(action, "event") == 0) {
		timer->event = take_json(line, true);
	} else if (strcmp(action, "exit") == 0 && once) {
		timer->exits = true;
		timer->code = (int)take_number(line);
	} else {
		refuse(line, "unknown action", action);
	}
	g_ptr_array_add(script->timers, timer);
}

static void parse_ignore(Script *script, Line *line)
{
	const char *what = take_word(line);

	if (strcmp(what, "powerdown") == 0)
		script->ignore_powerdown = true;
	else if (strcmp(what, "sigterm") == 0)
		script->ignore_sigterm = true;
	else
		refuse(line, "cannot be ignored", what);
}

static void parse_line(Script *script, Line *line)
{
	const char *head;

	line->rest += strspn(line->rest, " \t\r");
	if (*line->rest == '\0' || *line->rest == '#')
		return;
	head = take_word(line);
	if (strcmp(head, "on") == 0) {
		parse_on(script, line);
	} else if (strcmp(head, "every") == 0 || strcmp(head, "after") == 0) {
		parse_timer(script, line, *head == 'a');
	} else if (strcmp(head, "flood") == 0 || strcmp(head, "pace") == 0) {
		script->flood_rate = *head == 'p' ? take_number(line) : 0;
		if (*head == 'p' && script->flood_rate == 0)
			refuse(line, "a rate of nothing", "0");
		script->flood_count = take_number(line);
		if (script->flood_count == 0)
			script->flood_count = UINT64_MAX;
		g_free(script->flood);
		script->flood = take_json(line, true);
	} else if (strcmp(head, "ignore") == 0) {
		parse_ignore(script, line);
	} else if (strcmp(head, "record") == 0) {
		g_free(script->record);
		script->record = take_rest(line);
	} else {
		refuse(line, "not understood", head);
	}
	if (*g_strstrip(line->rest))
		refuse(line, "too much", line->rest);
}

static void rule_free(void *data)
{
	Rule *rule = data;

	g_free(rule->command);
	g_free(rule->word);
	g_free(rule->text);
	g_free(rule);
}

static void timer_free(void *data)
{
	Timer *timer = data;

	g_free(timer->event);
	g_free(timer);
}

Script *script_load(const char *path)
{
	Script *script = g_new0(Script, 1);
	Line line = {.path = path};
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	script->rules = g_ptr_array_new_with_free_func(rule_free);
	script->timers = g_ptr_array_new_with_free_func(timer_free);
	if (!path)
		return script;
	if (!g_file_get_contents(path, &text, NULL, &error))
		refuse(&line, "cannot be read", error->message);
	lines = g_strsplit(text, "\n", -1);
	for (char **each = lines; *each; each++) {
		line.number++;
		line.rest = *each;
		parse_line(script, &line);
	}
	return script;
}

Script *script_free(Script *script)
{
	g_ptr_array_unref(script->rules);
	g_ptr_array_unref(script->timers);
	g_free(script->flood);
	g_free(script->record);
	g_free(script);
	return NULL;
}

const Rule *script_find(const Script *script, const char *command, RuleKind kind)
{
	for (guint i = 0; i < script->rules->len; i++) {
		const Rule *rule = script->rules->pdata[i];

		if (rule->kind == kind && strcmp(rule->command, command) == 0)
			return rule;
	}
	return NULL;
}

const Rule *script_find_ending(const Script *script, const char *command)
{
	for (guint i = 0; i < script->rules->len; i++) {
		const Rule *rule = script->rules->pdata[i];

		if (rule->kind >= RULE_SILENT && strcmp(rule->command, command) == 0)
			return rule;
	}
	return NULL;
}

void script_append_line(const char *path, const char *text)
{
	autofd int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	g_autofree char *line = g_strconcat(text, "\n", NULL);

	if (fd < 0 || fd_write_all(fd, line, strlen(line)) < 0)
		fprintf(stderr, "mock-qemu: %s: can't be written\n", path);
}
