#include "bus/timer.h"

#include <glib.h>

#include "util/clock.h"

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	Timer *timer = userdata;

	timer->at_usec = UINT64_MAX;
	timer->fired(timer->user);
	return 0;
}

int timer_init(Timer *timer, sd_event *loop, void (*fired)(void *user), void *user)
{
	int r;

	*timer = (Timer){.at_usec = UINT64_MAX, .fired = fired, .user = user};
	r = sd_event_add_time(loop, &timer->source, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_time, timer);
	if (r >= 0)
		r = sd_event_source_set_enabled(timer->source, SD_EVENT_OFF);
	return r < 0 ? r : 0;
}

void timer_done(Timer *timer)
{
	timer->source = sd_event_source_disable_unref(timer->source);
}

void timer_set(Timer *timer, uint64_t at_usec)
{
	if (at_usec >= timer->at_usec || !timer->source)
		return;
	timer->at_usec = at_usec;
	sd_event_source_set_time(timer->source, at_usec);
	sd_event_source_set_enabled(timer->source, SD_EVENT_ONESHOT);
}
