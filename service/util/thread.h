#pragma once
/*
 * Threads, locks and roles, on pthread.
 *
 * Roost has three kinds of threads: one bus thread, one event thread, and workers. A function that belongs to
 * one of them says so in its prototype (ON_BUS_THREAD, ON_EVENT_THREAD, ON_WORKER): clang checks the call
 * graph at compile time, and entry points (callbacks of libraries, thread starts) assert it at run time, in
 * release builds too.
 *
 * There are two kinds of locks. A Leaf guards O(1) work on shared data: while it is held, no other lock may
 * be taken and nothing may be waited for (but a condition that belongs to it). The VM lock (a Lock) is held
 * for computation only, and is taken before a leaf, never after one, and never two at a time. These rules are
 * asserted at run time by counters local to the thread.
 *
 * pthread and not GLib's threads, because ThreadSanitizer sees pthread and does not see an uninstrumented
 * GLib.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __clang__
#define TSA(x) __attribute__((x))
#else
#define TSA(x)
#endif

/* A role is a capability that a thread has for life. Tests may give several to one thread. */
typedef struct TSA(capability("role")) Role {
	unsigned bit;
} Role;

extern const Role role_bus, role_event, role_worker;

#define ON_BUS_THREAD             TSA(requires_capability(role_bus))
#define ON_EVENT_THREAD           TSA(requires_capability(role_event))
#define ON_WORKER                 TSA(requires_capability(role_worker))
#define ACQUIRES(lock)            TSA(acquire_capability(lock))
#define RELEASES(lock)            TSA(release_capability(lock))
#define REQUIRES(lock)            TSA(requires_capability(lock))
#define TRY_ACQUIRES(lock)        TSA(try_acquire_capability(true, lock))
#define NO_THREAD_SAFETY_ANALYSIS TSA(no_thread_safety_analysis)

/* Any thread: gives the calling thread a role, in addition to those it has. At its start, once. */
void thread_adopt_role(const Role *role);

/* Any thread: whether the calling thread has the role. */
bool thread_has_role(const Role *role);

/* Any thread: aborts with a message when the calling thread lacks the role. */
void thread_assert_role(const Role *role, const char *where);

/* The assertions that the compiler understands, too: for the entry points of callbacks. */
static inline void assert_bus_thread(const char *where) TSA(assert_capability(role_bus))
{
	thread_assert_role(&role_bus, where);
}
static inline void assert_event_thread(const char *where) TSA(assert_capability(role_event))
{
	thread_assert_role(&role_event, where);
}
static inline void assert_worker(const char *where) TSA(assert_capability(role_worker))
{
	thread_assert_role(&role_worker, where);
}

/* Any thread: starts a detached thread with all signals blocked, the role adopted and the name set (15
 * characters). Returns 0 or a negative errno (pthread_create(3)). */
int thread_start(const char *name, const Role *role, void (*func)(void *data), void *data);

/* The same, but the thread is to be joined by thread_join(). */
int thread_start_joinable(
	pthread_t *ret_thread, const char *name, const Role *role, void (*func)(void *data), void *data);
void thread_join(pthread_t thread);

/* ---- the leaf mutex ---- */
typedef struct TSA(capability("leaf mutex")) Leaf {
	pthread_mutex_t mutex;
} Leaf;

void leaf_init(Leaf *leaf);
void leaf_done(Leaf *leaf);
/* Asserts that the calling thread holds no other leaf. */
void leaf_lock(Leaf *leaf) ACQUIRES(leaf);
void leaf_unlock(Leaf *leaf) RELEASES(leaf);

/* ---- a condition under a leaf; CLOCK_MONOTONIC ---- */
typedef struct Cond {
	pthread_cond_t cond;
} Cond;

void cond_init(Cond *cond);
void cond_done(Cond *cond);
void cond_signal(Cond *cond);
void cond_broadcast(Cond *cond);
/* Sleeps until signalled or until deadline_usec (monotonic; UINT64_MAX: none). May wake without cause.
 * Returns false when the deadline has passed. */
bool cond_wait_until(Cond *cond, Leaf *leaf, uint64_t deadline_usec) REQUIRES(leaf);

/* ---- the long lock: the VM lock ---- */
typedef struct TSA(capability("lock")) Lock {
	pthread_mutex_t mutex;
} Lock;

void lock_init(Lock *lock);
void lock_done(Lock *lock);
/* Asserts that the calling thread holds neither a leaf nor another Lock. */
void lock_take(Lock *lock) ACQUIRES(lock);
/* Fails only if the lock is held by somebody (pthread's trylock has no spurious failures). */
bool lock_try(Lock *lock) TRY_ACQUIRES(lock);
void lock_release(Lock *lock) RELEASES(lock);

/* Any thread: asserts that the calling thread holds no lock at all: to be called before anything that may
 * block. */
void thread_assert_unlocked(const char *where);
