#pragma once
/*
 * Senders: who a unique name is. The bus is asked once per connection, and asynchronously: an unanswered
 * question holds up only the calls of that connection, which keep their order. What was learnt is forgotten
 * when the connection ends: a unique name is never given twice.
 */
#include "bus/calls.h"

int senders_init(Bus *bus);
void senders_done(Bus *bus);

/* Takes the call into its sender's line; call_identified() follows, perhaps from within. */
void senders_take(Call *call, const char *name);

/* The call is answered or dropped. */
void senders_leave(Call *call);

/* Of the calls of the same sender, of which it is one: those that wait for polkit. Theirs to keep. */
GQueue *senders_line(Call *call);

/* Shutdown: the calls whose senders are not known yet, one at a time. */
/* The unit of systemd's that the caller's connection was opened from; NULL: it is not known. Borrowed. */
const char *senders_unit(const Call *call);
Call *senders_first_waiting(Bus *bus);
