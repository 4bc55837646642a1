#pragma once
/*
 * Watchdog: systemd restarts a roostd that does not say often enough that it goes on (WatchdogSec= of its
 * unit). It goes on if both of its loops do: the bus thread, by its timer, asks the event thread for a sign
 * of life, and tells systemd only when the sign that it asked for last time has come. It waits for none.
 */
#include "bus/service.h"

/* Nothing, unless systemd wants to be told (sd_watchdog_enabled(3)). 0 or a negative errno. */
int watchdog_init(Bus *bus);
void watchdog_done(Bus *bus);
