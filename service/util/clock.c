#include "util/clock.h"

#include <stdatomic.h>
#include <time.h>

static atomic_uint_fast64_t fake_monotonic_usec, fake_realtime_usec;

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_monotonic_usec(void)
{
	uint64_t fake = atomic_load_explicit(&fake_monotonic_usec, memory_order_relaxed);

	return fake != 0 ? fake : read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_realtime_usec(void)
{
	uint64_t fake = atomic_load_explicit(&fake_realtime_usec, memory_order_relaxed);

	return fake != 0 ? fake : read_clock(CLOCK_REALTIME);
}

void clock_set_fake(uint64_t monotonic_usec, uint64_t realtime_usec)
{
	atomic_store(&fake_monotonic_usec, monotonic_usec);
	atomic_store(&fake_realtime_usec, realtime_usec);
}
