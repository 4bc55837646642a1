#pragma once
/*
 * Idle exit: a service that has nothing to do ends, and is started again by whoever calls its name.
 *
 * No call may be lost by it. So first the name is given up: who calls it from then on is answered by a new
 * roostd, which waits for this one to be gone. Then the bus is asked something: what it had sent before its
 * answer has come by then. Has a call come meanwhile, the name is taken again, and nothing was; else this is
 * the end. systemd is told before all that (STOPPING=1): else it would take one that still runs for started,
 * when a call asks for a start between the name and the end, and the caller would wait in vain. Then there is
 * no way back: what has come meanwhile is answered, and this is the end.
 */
#include "bus/service.h"

/* `usec` without a call, a VM that runs, or an operation; 0: never. 0 or a negative errno. */
int idle_init(Bus *bus, uint64_t usec) ON_BUS_THREAD;
void idle_done(Bus *bus);
