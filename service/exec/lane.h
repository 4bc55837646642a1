#pragma once
/*
 * Lane: where the operations of a VM run one after the other. At most one is current; the others wait in the
 * order of their acceptance. A VM has two lanes, QMP and the guest agent.
 *
 * The lane keeps no thread. Whoever makes an entry current (submit, next, expire) must see to it that a
 * worker runs it; the worker that is done with an entry asks for the next one in the same hold in which it
 * gives its place back, so an entry that was queued meanwhile is never forgotten.
 *
 * The place of a current entry has three states. RUNNING: its worker computes, or waits for QEMU with a
 * deadline of its own. BLOCKED: its worker is in a system call that may never return; then the bus thread may
 * take the place away at the entry's deadline (LOST), and the worker finds out when it comes back, before it
 * touches anything. COMMITTED: it can no longer be cancelled, nor lose its place.
 *
 * Internal work is asked for by bits, `wanted`. They are looked at before the queue, in the same hold, and
 * run as the lane's own entry `internal`.
 *
 * All functions: any thread, no leaf held, O(1) or O(queue), which is bounded.
 */
#include <stdatomic.h>

#include "util/thread.h"

typedef enum LanePlace {
	LANE_NEW,
	LANE_QUEUED,
	LANE_RUNNING,
	LANE_BLOCKED,
	LANE_COMMITTED,
	LANE_LOST,
	LANE_DONE,
} LanePlace;

typedef struct LaneEntry LaneEntry;
struct LaneEntry {
	LaneEntry *next;       /* lane mutex */
	LanePlace place;       /* lane mutex */
	atomic_bool cancelled; /* set by lane_cancel(), read by anyone */

	/* Immutable from submit on. */
	uint64_t id;            /* the service's series of acceptance */
	const char *member;     /* static: the D-Bus member, or the internal operation's name */
	uint64_t since_usec;    /* realtime, of acceptance */
	uint64_t deadline_usec; /* realtime, for show */
};

typedef struct Lane {
	Leaf mutex;
	LaneEntry *current;      /* mutex */
	LaneEntry *head, **tail; /* mutex */
	unsigned n_queued;       /* mutex */
	unsigned wanted;         /* mutex: bits of internal work */
	unsigned taken;          /* mutex: the bits that the current internal entry carries out */
	LaneEntry internal;      /* the entry that stands for internal work */
} Lane;

void lane_init(Lane *lane);
/* Asserts that the lane is empty. */
void lane_done(Lane *lane);

/* 1: the entry is current, and the caller finds it a worker. 0: queued. -EBUSY: max_queued wait already. */
int lane_submit(Lane *lane, LaneEntry *entry, unsigned max_queued);

/* The worker, done with `done`, which had the place: gives it to the next. If `internal_allowed`, wanted bits
 * come first: then the result is &lane->internal. NULL: nothing waits, or `done` had lost its place. */
LaneEntry *lane_next(Lane *lane, LaneEntry *done, bool internal_allowed);

/* Asks for internal work. True: the lane is at rest, somebody must start it by lane_begin_wanted(). */
bool lane_want(Lane *lane, unsigned bits);
/* Makes &lane->internal current if the lane is at rest and something is wanted. */
bool lane_begin_wanted(Lane *lane);
/* The internal entry, current and not begun yet, gives its place to the next and is wanted again. */
LaneEntry *lane_put_back(Lane *lane);
/* Whether the lane is at rest and something is wanted. */
bool lane_has_wanted(Lane *lane);
/* The worker that runs &lane->internal: which bits it is to carry out. */
unsigned lane_taken(Lane *lane);

/* The worker, before and after a system call that may hang, without the VM lock. lane_unblock() returns false
 * when the place was lost meanwhile: then the caller touches nothing of the VM any more. */
void lane_block(Lane *lane, LaneEntry *entry);
bool lane_unblock(Lane *lane, LaneEntry *entry);

/* The worker: begins the commit section. False: it was cancelled before. */
bool lane_commit(Lane *lane, LaneEntry *entry);

/* The bus thread, at the deadline of entry `id`. */
typedef enum LaneExpiry {
	LANE_EXPIRY_NONE,   /* it is done */
	LANE_EXPIRY_KEPT,   /* it is running or committed: it keeps its place */
	LANE_EXPIRY_QUEUED, /* it was queued: *ret_removed is the caller's now */
	LANE_EXPIRY_LOST,   /* it lost its place; *ret_next, if any, is current and needs a worker */
} LaneExpiry;
LaneExpiry lane_expire(Lane *lane, uint64_t id, LaneEntry **ret_removed, LaneEntry **ret_next);

/* Marks the current entry as cancelled if it is `id` (0: any). 0, with its number in *ret_id; -ENOENT:
 * another, or none, is current; -EALREADY: it is committed. An internal entry can't be cancelled (-ENOENT).
 */
int lane_cancel(Lane *lane, uint64_t id, uint64_t *ret_id);

/* Removes entry `id` if it is still queued. NULL: it is not. */
LaneEntry *lane_remove(Lane *lane, uint64_t id);

/* What the moment shows. The current entry may be an internal one (id 0). */
typedef struct LanePicture {
	bool busy;
	uint64_t current_id;
	const char *member;
	uint64_t since_usec, deadline_usec;
	unsigned n_queued;
} LanePicture;
void lane_look(Lane *lane, LanePicture *ret);
