#pragma once
/* The time, in microseconds; tests may put a fake one in its place. Any thread. */
#include <stdint.h>

#define USEC_PER_MSEC 1000ULL
#define USEC_PER_SEC  1000000ULL

/* CLOCK_MONOTONIC: for deadlines. */
uint64_t clock_monotonic_usec(void);

/* CLOCK_REALTIME: for what people read. */
uint64_t clock_realtime_usec(void);

/* Tests: both clocks stand still at the given values until set again; 0, 0 goes back to the real ones. */
void clock_set_fake(uint64_t monotonic_usec, uint64_t realtime_usec);
