#include "bus/limiter.h"

#include <glib.h>

#include "util/clock.h"

/* A fifth of the limit may come at once, the rest is spread evenly: together no more than the limit in any
 * second. */
#define BURST_SHARE 5

typedef struct Bucket {
	uint64_t cost_usec, burst_usec;
} Bucket;

#define BUCKET(per_sec)                                                                                      \
	{                                                                                                    \
		.cost_usec = USEC_PER_SEC / ((per_sec) - (per_sec) / BURST_SHARE),                           \
		.burst_usec = (USEC_PER_SEC / ((per_sec) - (per_sec) / BURST_SHARE)) *                       \
			      ((per_sec) / BURST_SHARE - 1)                                                  \
	}

static const Bucket batches = BUCKET(LIMITER_BATCHES_PER_SEC);
static const Bucket signals = BUCKET(LIMITER_SIGNALS_PER_SEC);

static uint64_t next_of(const Bucket *bucket, uint64_t until)
{
	return until > bucket->burst_usec ? until - bucket->burst_usec : 0;
}

uint64_t limiter_next_usec(const Limiter *limiter)
{
	return MAX(next_of(&batches, limiter->batches_until), next_of(&signals, limiter->signals_until));
}

static void charge(const Bucket *bucket, uint64_t *until, uint64_t now, uint64_t n)
{
	uint64_t limit = now + bucket->burst_usec + USEC_PER_SEC;

	*until = MIN(MAX(*until, now) + n * bucket->cost_usec, limit);
}

void limiter_charge(Limiter *limiter, uint64_t now_usec, unsigned n_signals)
{
	charge(&batches, &limiter->batches_until, now_usec, 1);
	charge(&signals, &limiter->signals_until, now_usec, n_signals);
}
