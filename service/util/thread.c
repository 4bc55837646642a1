#include "util/thread.h"

#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>

const Role role_bus = {1U << 0}, role_event = {1U << 1}, role_worker = {1U << 2};

static _Thread_local unsigned thread_roles;
static _Thread_local unsigned thread_n_leaves;
static _Thread_local unsigned thread_n_locks;

/* A broken rule of the locks is a programming error: it ends the process, in release builds too, because what
 * comes after it would be a deadlock or a wrong answer. */
#define CHECK(condition, what)                                                                               \
	do {                                                                                                 \
		if (G_UNLIKELY(!(condition)))                                                                \
			g_error("%s: %s", __func__, what);                                                   \
	} while (0)

void thread_adopt_role(const Role *role)
{
	thread_roles |= role->bit;
}

bool thread_has_role(const Role *role)
{
	return (thread_roles & role->bit) != 0;
}

void thread_assert_role(const Role *role, const char *where)
{
	if (G_UNLIKELY(!thread_has_role(role)))
		g_error("%s: called from the wrong thread (needs role %u, has %u)", where, role->bit,
			thread_roles);
}

void thread_assert_unlocked(const char *where)
{
	if (G_UNLIKELY(thread_n_leaves != 0 || thread_n_locks != 0))
		g_error("%s: may block, but a lock is held", where);
}

typedef struct ThreadStart {
	const Role *role;
	void (*func)(void *data);
	void *data;
	char name[16];
} ThreadStart;

static void *thread_main(void *data)
{
	ThreadStart start = *(ThreadStart *)data;

	g_free(data);
	pthread_setname_np(pthread_self(), start.name);
	thread_adopt_role(start.role);
	start.func(start.data);
	return NULL;
}

static int thread_start_full(pthread_t *ret_thread, bool detached, const char *name, const Role *role,
	void (*func)(void *data), void *data)
{
	ThreadStart *start = g_new0(ThreadStart, 1);
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int r;

	start->role = role;
	start->func = func;
	start->data = data;
	g_strlcpy(start->name, name, sizeof start->name);

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	/* Hundreds of workers may sleep at once; none of them recurses. */
	pthread_attr_setstacksize(&attr, 512 * 1024);
	pthread_attr_setdetachstate(&attr, detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
	r = pthread_create(&thread, &attr, thread_main, start);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0) {
		g_free(start);
		return -r;
	}
	if (ret_thread)
		*ret_thread = thread;
	return 0;
}

int thread_start(const char *name, const Role *role, void (*func)(void *data), void *data)
{
	return thread_start_full(NULL, true, name, role, func, data);
}

int thread_start_joinable(
	pthread_t *ret_thread, const char *name, const Role *role, void (*func)(void *data), void *data)
{
	return thread_start_full(ret_thread, false, name, role, func, data);
}

void thread_join(pthread_t thread)
{
	int r = pthread_join(thread, NULL);

	CHECK(r == 0, "pthread_join failed");
}

/* The functions below are what the annotations are about: the analysis stops here. */

void leaf_init(Leaf *leaf)
{
	pthread_mutex_init(&leaf->mutex, NULL);
}

void leaf_done(Leaf *leaf)
{
	pthread_mutex_destroy(&leaf->mutex);
}

void leaf_lock(Leaf *leaf) NO_THREAD_SAFETY_ANALYSIS
{
	CHECK(thread_n_leaves == 0, "a leaf mutex is held already");
	pthread_mutex_lock(&leaf->mutex);
	thread_n_leaves++;
}

void leaf_unlock(Leaf *leaf) NO_THREAD_SAFETY_ANALYSIS
{
	CHECK(thread_n_leaves == 1, "no leaf mutex is held");
	thread_n_leaves--;
	pthread_mutex_unlock(&leaf->mutex);
}

void cond_init(Cond *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&cond->cond, &attr);
	pthread_condattr_destroy(&attr);
}

void cond_done(Cond *cond)
{
	pthread_cond_destroy(&cond->cond);
}

void cond_signal(Cond *cond)
{
	pthread_cond_signal(&cond->cond);
}

void cond_broadcast(Cond *cond)
{
	pthread_cond_broadcast(&cond->cond);
}

bool cond_wait_until(Cond *cond, Leaf *leaf, uint64_t deadline_usec) NO_THREAD_SAFETY_ANALYSIS
{
	struct timespec ts = {
		.tv_sec = (time_t)(deadline_usec / G_USEC_PER_SEC),
		.tv_nsec = (long)(deadline_usec % G_USEC_PER_SEC) * 1000,
	};
	int r;

	CHECK(thread_n_leaves == 1 && thread_n_locks == 0, "waits with a lock held");
	if (deadline_usec == UINT64_MAX)
		r = pthread_cond_wait(&cond->cond, &leaf->mutex);
	else
		r = pthread_cond_timedwait(&cond->cond, &leaf->mutex, &ts);
	CHECK(r == 0 || r == ETIMEDOUT, "pthread_cond_timedwait failed");
	return r == 0;
}

void lock_init(Lock *lock)
{
	pthread_mutex_init(&lock->mutex, NULL);
}

void lock_done(Lock *lock)
{
	pthread_mutex_destroy(&lock->mutex);
}

void lock_take(Lock *lock) NO_THREAD_SAFETY_ANALYSIS
{
	CHECK(thread_n_leaves == 0, "a leaf mutex is held");
	CHECK(thread_n_locks == 0, "another VM lock is held");
	CHECK(!thread_has_role(&role_bus) || thread_has_role(&role_worker),
		"the bus thread takes no VM lock");
	pthread_mutex_lock(&lock->mutex);
	thread_n_locks++;
}

bool lock_try(Lock *lock) NO_THREAD_SAFETY_ANALYSIS
{
	CHECK(thread_n_leaves == 0, "a leaf mutex is held");
	CHECK(thread_n_locks == 0, "another VM lock is held");
	if (pthread_mutex_trylock(&lock->mutex) != 0)
		return false;
	thread_n_locks++;
	return true;
}

void lock_release(Lock *lock) NO_THREAD_SAFETY_ANALYSIS
{
	CHECK(thread_n_locks == 1 && thread_n_leaves == 0, "not held, or a leaf is still held");
	thread_n_locks--;
	pthread_mutex_unlock(&lock->mutex);
}
