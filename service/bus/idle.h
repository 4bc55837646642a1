#pragma once
/*
 * Idle exit: a service that has nothing to do ends, and is started again by whoever calls its name.
 *
 * No call may be lost by it. So first the name is given up: who calls it from then on is answered by a new
 * roostd, which waits for this one to be gone. Then the bus is asked something: what it had sent before its
 * answer has come by then. Has a call come meanwhile, the name is taken again, and nothing was; else this is
 * the end.
 *
 * A systemd that is asked for a service that runs has nothing to do, and the call would wait for nobody. So
 * it is told before the name is given up: from then on it starts another one, after the end of this one. The
 * name can't be taken again then, and calls that come meanwhile are answered without it.
 */
#include "bus/service.h"

/* `usec` without a call, a VM that runs, or an operation; 0: never. 0 or a negative errno. */
int idle_init(Bus *bus, uint64_t usec) ON_BUS_THREAD;
void idle_done(Bus *bus);
