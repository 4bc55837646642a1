/* What one VM may put on the bus, second by second, on a clock that the test moves. */
#include <glib.h>

#include "bus/limiter.h"
#include "util/clock.h"

#define START (1000 * USEC_PER_SEC)

static void test_quiet(void)
{
	Limiter limiter = {0};

	g_assert_cmpuint(limiter_next_usec(&limiter), <=, START);
	limiter_charge(&limiter, START, 1);
	/* And a few more at once. */
	g_assert_cmpuint(limiter_next_usec(&limiter), <=, START);
	limiter_charge(&limiter, START, 1);
	g_assert_cmpuint(limiter_next_usec(&limiter), <=, START);
	/* An hour later it is as new. */
	limiter_charge(&limiter, START + 3600 * USEC_PER_SEC, 1);
	g_assert_cmpuint(limiter_next_usec(&limiter), <=, START + 3600 * USEC_PER_SEC);
}

/* Sends whenever it is allowed, in steps of a millisecond, and returns the most that fell into one second. */
static unsigned flood(unsigned n_signals, bool count_signals, unsigned seconds)
{
	Limiter limiter = {0};
	g_autofree unsigned *sent = g_new0(unsigned, seconds * 1000);
	unsigned window = 0, most = 0;

	for (unsigned ms = 0; ms < seconds * 1000; ms++) {
		uint64_t now = START + ms * USEC_PER_MSEC;

		while (limiter_next_usec(&limiter) <= now) {
			limiter_charge(&limiter, now, n_signals);
			sent[ms] += count_signals ? n_signals : 1;
		}
		window += sent[ms];
		if (ms >= 1000)
			window -= sent[ms - 1000];
		most = MAX(most, window);
	}
	return most;
}

static void test_batches(void)
{
	unsigned most = flood(1, false, 10);

	g_assert_cmpuint(most, <=, LIMITER_BATCHES_PER_SEC);
	g_assert_cmpuint(most, >, LIMITER_BATCHES_PER_SEC * 3 / 4);
}

static void test_signals(void)
{
	unsigned most = flood(20, true, 10);

	/* A batch is not split, so the last one may go over. */
	g_assert_cmpuint(most, <=, LIMITER_SIGNALS_PER_SEC + 20);
	g_assert_cmpuint(most, >, LIMITER_SIGNALS_PER_SEC * 3 / 4);
}

/* One giant batch is followed by a pause that pays for it, up to a second. */
static void test_giant(void)
{
	Limiter limiter = {0};

	limiter_charge(&limiter, START, 300);
	g_assert_cmpuint(limiter_next_usec(&limiter), >, START + USEC_PER_SEC / 4);
	g_assert_cmpuint(limiter_next_usec(&limiter), <=, START + USEC_PER_SEC);
	limiter_charge(&limiter, START, 1000000);
	g_assert_cmpuint(limiter_next_usec(&limiter), <=, START + USEC_PER_SEC);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/limiter/quiet", test_quiet);
	g_test_add_func("/limiter/batches", test_batches);
	g_test_add_func("/limiter/signals", test_signals);
	g_test_add_func("/limiter/giant", test_giant);
	return g_test_run();
}
