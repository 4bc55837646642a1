#pragma once
/*
 * Timer: a moment at which to look at something, on an sd-event loop. It may be set often: a system call is
 * made only when it is set to an earlier moment than before. So it sometimes fires too early, and its owner
 * looks and sets it again.
 */
#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct Timer {
	sd_event_source *source;
	uint64_t at_usec; /* monotonic; UINT64_MAX: not set */
	void (*fired)(void *user);
	void *user;
} Timer;

/* 0 or a negative errno (sd_event_add_time(3)). The timer may not move in memory. */
int timer_init(Timer *timer, sd_event *loop, void (*fired)(void *user), void *user);
void timer_done(Timer *timer);

/* At this moment or before. UINT64_MAX: nothing. */
void timer_set(Timer *timer, uint64_t at_usec);
