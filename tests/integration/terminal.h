#pragma once
/*
 * A VM's console as somebody who sits at it has it: the fd of OpenConsole, what was read from it so far, and
 * how far that was looked at. A wait is for a text behind the last one that was waited for.
 */
#include "fixture.h"

typedef struct Terminal {
	Client *client; /* borrowed */
	char *vm;
	int fd;
	GString *text; /* all that came */
	gsize seen;
} Terminal;

Terminal *terminal_open(Client *client, const char *vm, const char *console, bool read_only);
Terminal *terminal_close(Terminal *terminal);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Terminal, terminal_close)

void terminal_type(Terminal *terminal, const char *text);
/* Waits until it has been read by roostd, whatever becomes of it. */
void terminal_type_and_flush(Terminal *terminal, const char *text);
/* Waits for a text. */
void terminal_expect(Terminal *terminal, const char *text);
/* Waits for the end. */
void terminal_expect_end(Terminal *terminal);
/* Runs a command in the shell that is there; what it printed, with plain line ends. The caller frees. */
char *terminal_run(Terminal *terminal, const char *command);
