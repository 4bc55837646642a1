#pragma once
/*
 * What a mock-qemu is told to do wrong. A script that is not understood ends the program with status 2 and
 * the line's number on standard error: a test must not pass because of a misspelt rule.
 *
 * It is the file named by a word mock=PATH in the kernel's command line (-append), so that each VM may have
 * its own, or by the environment variable ROOST_MOCK_SCRIPT. A line each (# starts a comment):
 *
 *   on COMMAND delay MS            the reply comes late; later commands wait, events do not
 *   on COMMAND event JSON          sent as the command comes, before its reply; any number of them
 *   on COMMAND error CLASS DESC    instead of the reply, and nothing is done
 *   on COMMAND return JSON         instead of the reply, and nothing is done
 *   on COMMAND silent              never answered, nor is anything after it (a new connection is)
 *   on COMMAND garbage             a line that is no JSON instead of the reply
 *   on COMMAND half                the first half of a reply, and then silence
 *   on COMMAND split MS            the first half of the reply, and MS later the rest
 *   on COMMAND cut [TEXT]          TEXT, or half a reply, and it hangs up; it can be connected to again
 *   on COMMAND say TEXT            this line, as it is, before the reply; any number of them
 *   on COMMAND long MIB            instead of the reply, a string of so many MiB in one
 *   on COMMAND deep N              instead of the reply, N lists in each other in one
 *   on COMMAND exit CODE           dies instead of replying, without a word
 *   on start exit CODE [TEXT]      ends at once, TEXT on standard error
 *   on start sleep MS              does nothing for a while, as a QEMU that is slow to start
 *   on start silent                never says a word on QMP, no greeting either
 *   every MS event JSON            from the start; sent once QMP is through its handshake
 *   after MS event JSON            likewise, once
 *   after MS exit CODE             dies
 *   flood COUNT JSON               from the first cont, as fast as the socket takes it; COUNT 0: without end
 *   pace RATE COUNT JSON           the same, so many a second
 *   ignore powerdown               a guest that does not listen
 *   ignore sigterm                 only SIGKILL ends it
 *   record PATH                    the names of commands are appended to this file, a line each, as they come
 *
 * An event's JSON is without a timestamp, {"event": "X", "data": {...}}; $N in it becomes the number of the
 * event.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum RuleKind {
	RULE_DELAY,
	RULE_EVENT,
	RULE_SLEEP,
	RULE_SAY,
	RULE_SPLIT,
	/* Instead of the reply; the first of them counts. */
	RULE_SILENT,
	RULE_ERROR,
	RULE_EXIT,
	RULE_GARBAGE,
	RULE_HALF,
	RULE_RETURN,
	RULE_LONG,
	RULE_DEEP,
	RULE_CUT,
} RuleKind;

typedef struct Rule {
	char *command; /* or "start" */
	RuleKind kind;
	uint64_t number; /* milliseconds, an exit code, MiB, or levels */
	char *word;      /* the class of an error */
	char *text;      /* JSON, or words */
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
	uint64_t flood_rate;  /* a second; 0: as fast as they are taken */
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

/* Appends a line to a file, which tells the test something. */
void script_append_line(const char *path, const char *text);
