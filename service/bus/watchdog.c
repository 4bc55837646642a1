#include "bus/watchdog.h"

#include <systemd/sd-daemon.h>

#include "util/clock.h"
#include "util/log.h"

#define ASKS_IN_TIME 4 /* how often in the time that systemd gives */

static void on_watchdog_time(void *user)
{
	Bus *bus = user;

	assert_bus_thread(__func__);
	if (engine_has_answered(bus->engine)) {
		sd_notify(false, bus->watchdog.told ? "STATUS=\nWATCHDOG=1" : "WATCHDOG=1");
		engine_ask(bus->engine);
		bus->watchdog.told = false;
	} else if (!bus->watchdog.told) {
		/* A busy host does this, too: systemd decides. */
		log_warning("The event thread has not moved for %.1f s",
			(double)bus->watchdog.period_usec / USEC_PER_SEC);
		sd_notify(false, "STATUS=The event thread does not move");
		bus->watchdog.told = true;
	}
	timer_set(&bus->watchdog.timer, clock_monotonic_usec() + bus->watchdog.period_usec);
}

int watchdog_init(Bus *bus)
{
	uint64_t usec;
	int r = sd_watchdog_enabled(false, &usec);

	if (r <= 0)
		return r;
	bus->watchdog.period_usec = usec / ASKS_IN_TIME;
	r = timer_init(&bus->watchdog.timer, bus->loop, on_watchdog_time, bus);
	if (r >= 0)
		timer_set(&bus->watchdog.timer, clock_monotonic_usec());
	return r;
}

void watchdog_done(Bus *bus)
{
	timer_done(&bus->watchdog.timer);
}
