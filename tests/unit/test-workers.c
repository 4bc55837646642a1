/* exec/workers.h: the bound, the reserve, the internal class, reuse, the end of idle threads, and waiting by
 * counting. */
#include <errno.h>
#include <glib.h>
#include <sched.h>
#include <stdatomic.h>

#include "exec/workers.h"
#include "util/clock.h"

#define LONG_USEC (60 * USEC_PER_SEC)

/* Work that runs until it is let go. */
typedef struct Gate {
	Leaf mutex;
	Cond cond;
	bool open;
	unsigned n_entered, n_left;
	bool was_worker;
} Gate;

static void gate_init(Gate *gate)
{
	*gate = (Gate){.was_worker = true};
	leaf_init(&gate->mutex);
	cond_init(&gate->cond);
}

static void gate_done(Gate *gate)
{
	cond_done(&gate->cond);
	leaf_done(&gate->mutex);
}

static void pass(void *data)
{
	Gate *gate = data;

	leaf_lock(&gate->mutex);
	gate->n_entered++;
	gate->was_worker = gate->was_worker && thread_has_role(&role_worker) && !thread_has_role(&role_bus);
	cond_broadcast(&gate->cond);
	while (!gate->open)
		cond_wait_until(&gate->cond, &gate->mutex, UINT64_MAX);
	gate->n_left++;
	cond_broadcast(&gate->cond);
	leaf_unlock(&gate->mutex);
}

static void gate_wait(Gate *gate, unsigned n_entered, unsigned n_left)
{
	uint64_t deadline_usec = clock_monotonic_usec() + LONG_USEC;

	leaf_lock(&gate->mutex);
	while (gate->n_entered < n_entered || gate->n_left < n_left)
		g_assert_true(cond_wait_until(&gate->cond, &gate->mutex, deadline_usec));
	leaf_unlock(&gate->mutex);
}

static void gate_open(Gate *gate)
{
	leaf_lock(&gate->mutex);
	gate->open = true;
	cond_broadcast(&gate->cond);
	leaf_unlock(&gate->mutex);
}

static void assert_count(Workers *workers, unsigned n_threads, unsigned n_busy)
{
	unsigned threads, busy;

	workers_count(workers, &threads, &busy);
	g_assert_cmpuint(threads, ==, n_threads);
	g_assert_cmpuint(busy, ==, n_busy);
}

static void wait_idle(Workers *workers)
{
	g_assert_true(workers_wait_idle(workers, clock_monotonic_usec() + LONG_USEC));
}

static void test_bound(void)
{
	Workers *workers = workers_new(4, 2, 1, LONG_USEC);
	Gate gate;

	gate_init(&gate);
	assert_count(workers, 0, 0);
	g_assert_cmpint(workers_run(workers, WORKER_NORMAL, pass, &gate), ==, 0);
	g_assert_cmpint(workers_run(workers, WORKER_NORMAL, pass, &gate), ==, 0);
	/* What is left is for the favoured. */
	g_assert_cmpint(workers_run(workers, WORKER_NORMAL, pass, &gate), ==, -EAGAIN);
	g_assert_cmpint(workers_run(workers, WORKER_FAVOURED, pass, &gate), ==, 0);
	g_assert_cmpint(workers_run(workers, WORKER_FAVOURED, pass, &gate), ==, 0);
	g_assert_cmpint(workers_run(workers, WORKER_FAVOURED, pass, &gate), ==, -EAGAIN);
	/* Internal work is counted beside. */
	g_assert_cmpint(workers_run(workers, WORKER_INTERNAL, pass, &gate), ==, 0);
	g_assert_cmpint(workers_run(workers, WORKER_INTERNAL, pass, &gate), ==, -EAGAIN);
	gate_wait(&gate, 5, 0);
	assert_count(workers, 5, 5);
	gate_open(&gate);
	wait_idle(workers);
	g_assert_cmpuint(gate.n_left, ==, 5);
	g_assert_true(gate.was_worker);
	workers_free(workers);
	gate_done(&gate);
}

static void test_favoured_fill_first(void)
{
	Workers *workers = workers_new(4, 2, 1, LONG_USEC);
	Gate gate;

	gate_init(&gate);
	for (unsigned i = 0; i < 3; i++)
		g_assert_cmpint(workers_run(workers, WORKER_FAVOURED, pass, &gate), ==, 0);
	/* Whoever has them: the last two are not for the others. */
	g_assert_cmpint(workers_run(workers, WORKER_NORMAL, pass, &gate), ==, -EAGAIN);
	g_assert_cmpint(workers_run(workers, WORKER_FAVOURED, pass, &gate), ==, 0);
	gate_open(&gate);
	wait_idle(workers);
	workers_free(workers);
	gate_done(&gate);
}

static void test_reuse(void)
{
	Workers *workers = workers_new(2, 0, 1, LONG_USEC);
	Gate gate;

	gate_init(&gate);
	gate.open = true;
	for (unsigned i = 1; i <= 100; i++) {
		g_assert_cmpint(
			workers_run(workers, i % 2 == 0 ? WORKER_NORMAL : WORKER_INTERNAL, pass, &gate), ==,
			0);
		gate_wait(&gate, i, i);
		wait_idle(workers);
		/* An idle thread takes it, whatever its class was before. */
		assert_count(workers, 1, 0);
	}
	workers_free(workers);
	gate_done(&gate);
}

static void test_idle_ones_end(void)
{
	Workers *workers = workers_new(8, 0, 1, 1000);
	uint64_t deadline_usec = clock_monotonic_usec() + LONG_USEC;
	unsigned threads, busy;
	Gate gate;

	gate_init(&gate);
	for (unsigned i = 0; i < 8; i++)
		g_assert_cmpint(workers_run(workers, WORKER_NORMAL, pass, &gate), ==, 0);
	gate_wait(&gate, 8, 0);
	assert_count(workers, 8, 8);
	gate_open(&gate);
	do {
		g_assert_cmpuint(clock_monotonic_usec(), <, deadline_usec);
		sched_yield();
		workers_count(workers, &threads, &busy);
	} while (threads > 0);
	/* And others come when there is work. */
	g_assert_cmpint(workers_run(workers, WORKER_NORMAL, pass, &gate), ==, 0);
	wait_idle(workers);
	workers_free(workers);
	gate_done(&gate);
}

static void test_wait_idle_stuck(void)
{
	Workers *workers = workers_new(4, 0, 1, LONG_USEC);
	uint64_t deadline_usec;
	Gate gate, quick;

	gate_init(&gate);
	gate_init(&quick);
	quick.open = true;
	/* Nothing to wait for, even at a deadline that has passed. */
	g_assert_true(workers_wait_idle(workers, 1));
	g_assert_cmpint(workers_run(workers, WORKER_NORMAL, pass, &gate), ==, 0);
	g_assert_cmpint(workers_run(workers, WORKER_NORMAL, pass, &quick), ==, 0);
	g_assert_cmpint(workers_run(workers, WORKER_INTERNAL, pass, &quick), ==, 0);
	gate_wait(&gate, 1, 0);
	deadline_usec = clock_monotonic_usec() + 20 * USEC_PER_MSEC;
	g_assert_false(workers_wait_idle(workers, deadline_usec));
	g_assert_cmpuint(clock_monotonic_usec(), >=, deadline_usec);
	gate_wait(&quick, 2, 2);
	/* It is left behind, and frees everything when it comes back after all. */
	workers_free(workers);
	gate_open(&gate);
	gate_wait(&gate, 1, 1);
	gate_done(&gate);
	gate_done(&quick);
}

static void test_wait_idle_internal(void)
{
	Workers *workers = workers_new(4, 0, 1, LONG_USEC);
	Gate gate;

	gate_init(&gate);
	g_assert_cmpint(workers_run(workers, WORKER_INTERNAL, pass, &gate), ==, 0);
	g_assert_false(workers_wait_idle(workers, 1));
	gate_open(&gate);
	wait_idle(workers);
	workers_free(workers);
	gate_done(&gate);
}

/* ---- many at once ---- */
typedef struct Load {
	Workers *workers;
	atomic_uint n_run, n_now, n_most;
	unsigned n_accepted;
} Load;

static void work(void *data)
{
	Load *load = data;
	unsigned now = atomic_fetch_add(&load->n_now, 1) + 1, most = atomic_load(&load->n_most);

	while (now > most && !atomic_compare_exchange_weak(&load->n_most, &most, now))
		;
	if (now % 3 == 0)
		sched_yield();
	atomic_fetch_sub(&load->n_now, 1);
	atomic_fetch_add(&load->n_run, 1);
}

static void give_work(void *data)
{
	Load *load = data;

	for (unsigned i = 0; i < 5000; i++) {
		int r = workers_run(load->workers, i % 2 == 0 ? WORKER_NORMAL : WORKER_FAVOURED, work, load);

		if (r == 0)
			load->n_accepted++;
		else
			g_assert_cmpint(r, ==, -EAGAIN);
	}
}

static void test_many(void)
{
	/* Idle threads end while others are given work. */
	Workers *workers = workers_new(6, 2, 1, 20);
	Load load = {.workers = workers}, other = {.workers = workers};
	pthread_t thread;

	g_assert_cmpint(thread_start_joinable(&thread, "giver", &role_event, give_work, &load), ==, 0);
	give_work(&other);
	thread_join(thread);
	wait_idle(workers);
	g_assert_cmpuint(atomic_load(&load.n_run), ==, load.n_accepted);
	g_assert_cmpuint(atomic_load(&other.n_run), ==, other.n_accepted);
	g_assert_cmpuint(load.n_accepted + other.n_accepted, >, 0);
	g_assert_cmpuint(MAX(atomic_load(&load.n_most), atomic_load(&other.n_most)), <=, 6);
	workers_free(workers);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/workers/bound", test_bound);
	g_test_add_func("/workers/favoured-fill-first", test_favoured_fill_first);
	g_test_add_func("/workers/reuse", test_reuse);
	g_test_add_func("/workers/idle-ones-end", test_idle_ones_end);
	g_test_add_func("/workers/wait-idle-stuck", test_wait_idle_stuck);
	g_test_add_func("/workers/wait-idle-internal", test_wait_idle_internal);
	g_test_add_func("/workers/many", test_many);
	return g_test_run();
}
