#include "exec/workers.h"

#include <errno.h>
#include <glib.h>
#include <stdatomic.h>

#include "util/clock.h"

/* What an idle thread sleeps on. Lives on that thread's stack. */
typedef struct Seat Seat;
struct Seat {
	Seat *next; /* mutex */
	Cond cond;
	WorkerClass class; /* mutex */
	WorkerFunc func;   /* mutex; set: there is work */
	void *data;        /* mutex */
};

struct Workers {
	Leaf mutex;
	Cond quiet;                          /* signalled when the last busy thread is done */
	unsigned max, reserve, max_internal; /* immutable */
	uint64_t idle_usec;                  /* immutable */
	unsigned n_threads, n_busy,
		n_inside; /* mutex; n_inside: busy with internal work, not counted in n_busy */
	Seat *idle;       /* mutex; the one that became idle last is first: the others age */
	bool ending;      /* mutex */
};

typedef struct WorkerStart {
	Workers *workers;
	Seat seat;
} WorkerStart;

Workers *workers_new(unsigned max, unsigned reserve, unsigned max_internal, uint64_t idle_usec)
{
	Workers *workers = g_new0(Workers, 1);

	g_assert(reserve < max);
	leaf_init(&workers->mutex);
	cond_init(&workers->quiet);
	workers->max = max;
	workers->reserve = reserve;
	workers->max_internal = max_internal;
	workers->idle_usec = idle_usec;
	return workers;
}

static void unlink_seat_locked(Workers *workers, Seat *seat) REQUIRES(workers->mutex)
{
	for (Seat **p = &workers->idle; *p; p = &(*p)->next)
		if (*p == seat) {
			*p = seat->next;
			return;
		}
	g_assert_not_reached();
}

static void count_locked(Workers *workers, WorkerClass class, int by) REQUIRES(workers->mutex)
{
	unsigned *n = class == WORKER_INTERNAL ? &workers->n_inside : &workers->n_busy;

	*n = (unsigned)((int)*n + by);
	if (workers->n_busy + workers->n_inside == 0)
		cond_broadcast(&workers->quiet);
}

/* Sits down and waits for work. False: the thread is to end. */
static bool sit_locked(Workers *workers, Seat *seat) REQUIRES(workers->mutex)
{
	uint64_t until = clock_monotonic_usec() + workers->idle_usec;

	seat->func = NULL;
	seat->next = workers->idle;
	workers->idle = seat;
	while (!seat->func) {
		if (workers->ending ||
			(!cond_wait_until(&seat->cond, &workers->mutex, until) && !seat->func)) {
			unlink_seat_locked(workers, seat);
			return false;
		}
	}
	return true;
}

static void worker_main(void *data)
{
	WorkerStart *start = data;
	Workers *workers = start->workers;
	Seat seat = start->seat;
	bool more, last;

	g_free(start);
	cond_init(&seat.cond);
	do {
		seat.func(seat.data);
		thread_assert_unlocked(__func__);
		leaf_lock(&workers->mutex);
		count_locked(workers, seat.class, -1);
		more = !workers->ending && sit_locked(workers, &seat);
		if (!more)
			workers->n_threads--;
		last = workers->ending && workers->n_threads == 0;
		leaf_unlock(&workers->mutex);
	} while (more);
	cond_done(&seat.cond);
	if (last) {
		cond_done(&workers->quiet);
		leaf_done(&workers->mutex);
		g_free(workers);
	}
}

static bool may_run_locked(Workers *workers, WorkerClass class) REQUIRES(workers->mutex)
{
	switch (class) {
	case WORKER_INTERNAL:
		return workers->n_inside < workers->max_internal;
	case WORKER_FAVOURED:
		return workers->n_busy < workers->max;
	case WORKER_NORMAL:
		return workers->n_busy < workers->max - workers->reserve;
	}
	g_assert_not_reached();
}

int workers_run(Workers *workers, WorkerClass class, WorkerFunc func, void *data)
{
	WorkerStart *start;
	int r;

	leaf_lock(&workers->mutex);
	if (workers->ending || !may_run_locked(workers, class)) {
		leaf_unlock(&workers->mutex);
		return -EAGAIN;
	}
	count_locked(workers, class, +1);
	if (workers->idle) {
		Seat *seat = workers->idle;

		workers->idle = seat->next;
		seat->class = class;
		seat->data = data;
		seat->func = func;
		cond_signal(&seat->cond);
		leaf_unlock(&workers->mutex);
		return 0;
	}
	workers->n_threads++;
	leaf_unlock(&workers->mutex);

	start = g_new0(WorkerStart, 1);
	start->workers = workers;
	start->seat = (Seat){.class = class, .func = func, .data = data};
	r = thread_start("worker", &role_worker, worker_main, start);
	if (r < 0) {
		g_free(start);
		leaf_lock(&workers->mutex);
		workers->n_threads--;
		count_locked(workers, class, -1);
		leaf_unlock(&workers->mutex);
	}
	return r;
}

void workers_count(Workers *workers, unsigned *ret_threads, unsigned *ret_busy)
{
	leaf_lock(&workers->mutex);
	*ret_threads = workers->n_threads;
	*ret_busy = workers->n_busy + workers->n_inside;
	leaf_unlock(&workers->mutex);
}

bool workers_wait_idle(Workers *workers, uint64_t deadline_usec)
{
	bool idle, in_time = true;

	leaf_lock(&workers->mutex);
	while (workers->n_busy + workers->n_inside > 0 && in_time)
		in_time = cond_wait_until(&workers->quiet, &workers->mutex, deadline_usec);
	idle = workers->n_busy + workers->n_inside == 0;
	leaf_unlock(&workers->mutex);
	return idle;
}

void workers_free(Workers *workers)
{
	bool last;

	leaf_lock(&workers->mutex);
	workers->ending = true;
	for (Seat *seat = workers->idle; seat; seat = seat->next)
		cond_signal(&seat->cond);
	last = workers->n_threads == 0;
	leaf_unlock(&workers->mutex);
	if (last) {
		cond_done(&workers->quiet);
		leaf_done(&workers->mutex);
		g_free(workers);
	}
}
