#pragma once
/*
 * Limiter: how much one VM may put on the bus: 50 batches and 500 signals in any second. A VM that was quiet
 * may send a few batches at once: its first event is never delayed. A batch is never split, so one with many
 * signals is paid for by a longer pause after it.
 *
 * Pure; two leaky buckets. `*_until` is the time up to which what was sent is paid for; as long as that is no
 * further ahead of now than the burst, there is room.
 */
#include <stdbool.h>
#include <stdint.h>

#define LIMITER_BATCHES_PER_SEC 50
#define LIMITER_SIGNALS_PER_SEC 500

typedef struct Limiter {
	uint64_t batches_until, signals_until; /* monotonic */
} Limiter;

/* When the next batch may be sent: `now` or earlier means at once. */
uint64_t limiter_next_usec(const Limiter *limiter);

/* A batch of so many signals was sent. Batches that go before a reply are sent whatever the limiter says;
 * they count, too, but the pause they cost is never longer than a second. */
void limiter_charge(Limiter *limiter, uint64_t now_usec, unsigned n_signals);
