#pragma once
/*
 * What a mock-qemu is told to do wrong; mock-qemu.c's head has the language. A script that is not understood
 * ends the program with status 2 and the line's number on standard error: a test must not pass because of a
 * misspelt rule.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum RuleKind {
	RULE_DELAY,
	RULE_EVENT,
	RULE_SLEEP,
	/* Instead of the reply; the first of them counts. */
	RULE_SILENT,
	RULE_ERROR,
	RULE_EXIT,
	RULE_GARBAGE,
	RULE_HALF,
	RULE_RETURN,
} RuleKind;

typedef struct Rule {
	char *command; /* or "start" */
	RuleKind kind;
	uint64_t number; /* milliseconds, or an exit code */
	char *word;      /* the class of an error */
	char *text;      /* JSON, or words for people */
} Rule;

typedef struct Timer {
	uint64_t period_usec;
	uint64_t due_usec; /* UINT64_MAX: never again */
	bool once;
	bool exits;
	int code;
	char *event;
} Timer;

typedef struct Script {
	GPtrArray *rules;  /* Rule */
	GPtrArray *timers; /* Timer */
	char *flood;
	uint64_t flood_count; /* still to be sent; UINT64_MAX: no end */
	bool ignore_powerdown, ignore_sigterm;
	char *record; /* a path, or NULL */
} Script;

/* `path` NULL: a script that says nothing. Exits the program when it is no good. */
Script *script_load(const char *path);
Script *script_free(Script *script);

/* The first rule of a kind for a command; NULL: none. */
const Rule *script_find(const Script *script, const char *command, RuleKind kind);
/* The first that stands in for the reply. */
const Rule *script_find_ending(const Script *script, const char *command);
