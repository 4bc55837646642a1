#pragma once
/*
 * A reference count for what two threads hold at once: views, process handles, VMs. Everything else has one
 * owner. C11 atomics, so that ThreadSanitizer sees the order between the last use and the free.
 */
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct Ref {
	atomic_uint count;
} Ref;

/* Any thread: sets the count to 1. */
static inline void ref_init(Ref *ref)
{
	atomic_init(&ref->count, 1);
}

/* Any thread that holds a reference: takes one more. */
static inline void ref_get(Ref *ref)
{
	unsigned old = atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);

	g_assert(old > 0 && old < G_MAXUINT / 2);
}

/* Any thread that holds a reference: drops it. True: it was the last, and the caller frees. */
static inline bool ref_put(Ref *ref)
{
	unsigned old = atomic_fetch_sub_explicit(&ref->count, 1, memory_order_acq_rel);

	g_assert(old > 0);
	return old == 1;
}
