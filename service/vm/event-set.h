#pragma once
/*
 * EventSet: a bounded, ordered set of events, coalesced as they are added by the table's rules. A VM has two:
 * what was filed and is not applied yet, and (in its outbox) what was applied and is not emitted yet. Both
 * coalesce alike, and counts add up, so the counts of what comes out are the counts of what went in.
 *
 * Order: entries stand in the order of their last arrival. An entry that takes in another event moves to the
 * end, but never passes an event that bears on the state: then a new entry is made instead, so that a reason
 * stays before the stop that it explains.
 *
 * Bound: EVENT_SET_MAX entries; beyond, the events of one name and origin share an entry (all unknown names
 * one), beside a first that is kept as it is: EVENT_SET_MAX plus a few times EVENT_ID_MAX at the worst.
 * Memory: data over EVENT_DATA_MAX bytes is not kept.
 *
 * Pure; the owner's mutex guards it. Adding is O(1) but for keyed events, which search the entries of their
 * name.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vm/event-table.h"

#define EVENT_SET_MAX  256
#define EVENT_DATA_MAX 4096
#define EVENT_NAME_MAX 64

typedef enum EventOrigin { EVENT_ORIGIN_QEMU, EVENT_ORIGIN_ROOST, EVENT_ORIGIN_RESYNC } EventOrigin;
const char *event_origin_to_string(EventOrigin origin);

typedef struct EventEntry EventEntry;
struct EventEntry {
	EventEntry *prev, *next;           /* all, in order */
	EventEntry *same_prev, *same_next; /* those of one id */
	EventId id;
	EventOrigin origin;
	bool first; /* of EVENT_MERGE_AFTER_FIRST: takes in nothing */
	uint64_t order;
	uint32_t count;
	uint64_t first_usec, last_usec; /* realtime */
	char *name;                     /* of EVENT_UNKNOWN only: QEMU's */
	char *key;                      /* "" when the row has no keys */
	char *data;                     /* JSON text, or NULL */
	uint32_t data_size;
	bool truncated; /* the data was too large to be kept */
};

typedef struct EventSet {
	EventEntry *head, *tail;
	EventEntry *last_of[EVENT_ID_MAX];
	unsigned n;
	uint64_t next_order;
	uint64_t last_state_order; /* of the newest entry that bears on the state */
	bool overflowed;           /* merged at the cap since it was last cleared: the VM wants a resync */
} EventSet;

void event_set_init(EventSet *set);
void event_set_clear(EventSet *set);

/* One event as it comes. The strings are borrowed. */
typedef struct EventRecord {
	EventId id;
	EventOrigin origin;
	const char *name; /* for EVENT_UNKNOWN */
	size_t name_size;
	const char *data; /* JSON text, or NULL */
	size_t data_size;
	const char *key; /* event_key() of it; NULL: to be computed */
	uint32_t count;
	uint64_t first_usec, last_usec;
} EventRecord;

/* Returns the entry that took it in: valid until the set changes. */
const EventEntry *event_set_add(EventSet *set, const EventRecord *record);

/* Adds what an entry of another set stands for. */
void event_set_add_entry(EventSet *set, const EventEntry *entry);

/* Moves everything from `set` to the uninitialised *ret, O(1). */
void event_set_take(EventSet *set, EventSet *ret);

static inline bool event_set_is_empty(const EventSet *set)
{
	return !set->head;
}

/* Any thread: the key of an event by its row; the caller frees. */
char *event_key(EventId id, const char *data, size_t data_size);
