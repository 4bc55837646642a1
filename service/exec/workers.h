#pragma once
/*
 * Workers: threads that run one function at a time, started when there is work, ended when idle for a while.
 *
 * There is no queue: work either gets a thread at once or is refused. So a function that sleeps for long
 * costs one thread and delays nobody. The number is bounded; the last `reserve` threads are for work that is
 * `favoured` (VMs whose QEMU answered a moment ago), so that hung VMs can't take them all. Internal work has
 * a small bound of its own beside that, so that it is never refused for what callers do.
 */
#include "util/thread.h"

typedef struct Workers Workers;
typedef void (*WorkerFunc)(void *data);

typedef enum WorkerClass {
	WORKER_NORMAL,
	WORKER_FAVOURED, /* may use the reserve */
	WORKER_INTERNAL, /* counted apart, bounded by max_internal */
} WorkerClass;

/* Any thread. Threads that were idle for idle_usec end. */
Workers *workers_new(unsigned max, unsigned reserve, unsigned max_internal, uint64_t idle_usec);

/* Any thread, no lock held: runs func(data) on an idle thread or a new one, with the worker role. 0; -EAGAIN:
 * the bound is reached; or a negative errno of pthread_create(3). */
int workers_run(Workers *workers, WorkerClass class, WorkerFunc func, void *data);

/* Any thread: a picture of the moment. */
void workers_count(Workers *workers, unsigned *ret_threads, unsigned *ret_busy);

/* Any thread, no lock held: waits until no thread is busy. True, or false at the deadline. By counting: a
 * thread that is stuck is left behind. */
bool workers_wait_idle(Workers *workers, uint64_t deadline_usec);

/* Any thread: ends the idle threads. Frees when no thread is left; if some are stuck, leaves them and the
 * memory. */
void workers_free(Workers *workers);
