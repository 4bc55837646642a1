#pragma once
/*
 * Inbox: a list of items that many threads append to and one thread takes from, with a bell (an eventfd) that
 * the consumer's event loop watches. Two of them exist: the bus inbox (consumed by the bus thread) and the
 * ready list (consumed by the event thread).
 *
 * Items are intrusive. An item that is appended by inbox_post_once() is in the list at most once: its flag
 * `posted` belongs to the inbox's mutex, is set when it is appended, and is cleared either as the item is
 * taken (the ready list) or later by inbox_clear_posted() (the bus inbox, which may keep an item back, still
 * posted). Whoever clears it must do so before looking at what the item stands for: then nothing that is
 * filed afterwards is missed.
 */
#include "util/thread.h"

typedef struct InboxItem InboxItem;
struct InboxItem {
	InboxItem *next; /* inbox mutex */
	bool posted;     /* inbox mutex */
	uint8_t kind;    /* immutable; what the consumer knows it by */
};

typedef struct Inbox {
	Leaf mutex;
	InboxItem *head, **tail; /* mutex */
	int bell;                /* immutable */
} Inbox;

/* Any thread. 0 or a negative errno (eventfd(2)). */
int inbox_init(Inbox *inbox);
void inbox_done(Inbox *inbox);

/* Any thread: appends `item` unless it is posted already. Returns whether it was appended: then the list
 * holds what the caller promises to keep alive (a reference). Rings the bell when the list was empty. */
bool inbox_post_once(Inbox *inbox, InboxItem *item);

/* Any thread: appends an item that is in no list. */
void inbox_post(Inbox *inbox, InboxItem *item);

/* The consumer: silences the bell. Before the first inbox_take() of a turn. */
void inbox_clear_bell(Inbox *inbox);

/* The consumer: takes the oldest item, or NULL. `clear`: clears `posted` in the same hold. */
InboxItem *inbox_take(Inbox *inbox, bool clear);

/* The consumer: clears `posted` of an item that was taken without. */
void inbox_clear_posted(Inbox *inbox, InboxItem *item);
