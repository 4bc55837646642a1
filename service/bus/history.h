#pragma once
/*
 * History: the Event signals of the last while, for GetEvents: 4,096, of one VM at most 512, so that a noisy
 * VM does not push the others out. What was dropped leaves its number behind, so that a reader knows of the
 * gap.
 *
 * Pure; the bus thread's alone. VMs are known by their object paths; a VM that is undefined stays in it with
 * what it said.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define HISTORY_MAX    4096
#define HISTORY_VM_MAX 512

typedef struct HistoryEvent {
	const char *vm; /* borrowed from the history */
	uint64_t sequence;
	const char *name; /* interned: names of events are few, but for those that are unknown: these are
			     copied */
	uint32_t count;
	uint64_t previous, first_usec, last_usec;
	const char *origin; /* static */
	GVariant *data;     /* a{sv}; a reference */
} HistoryEvent;

typedef struct History History;

History *history_new(void);
History *history_free(History *history);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(History, history_free)

/* Adds an event: sequence numbers grow. `vm` and `name` are copied, `data` is referenced. Returns the VM's
 * previous number (0: none), which the history keeps for it: event->previous is not looked at. */
uint64_t history_add(History *history, const HistoryEvent *event);

/* The number of the last event of all (`vm` NULL) or of one VM; 0: none. */
uint64_t history_last(const History *history, const char *vm);

/* Whether there is anything to know about this VM. */
bool history_knows(const History *history, const char *vm);

/* The VM is gone: what is known of it goes with its last event. */
void history_forget(History *history, const char *vm);

/* Calls `func` for the events after `after`, oldest first, of one VM or of all (NULL), until it returns false
 * or `max` (0: no limit) were given. Returns whether events that should have been among them, or before them,
 * are gone. */
typedef bool (*HistoryFunc)(const HistoryEvent *event, void *user);
bool history_read(
	const History *history, const char *vm, uint64_t after, uint32_t max, HistoryFunc func, void *user);
