#include "exec/inbox.h"

#include <glib.h>

#include "util/fd.h"

int inbox_init(Inbox *inbox)
{
	int bell = bell_new();

	if (bell < 0)
		return bell;
	leaf_init(&inbox->mutex);
	inbox->head = NULL;
	inbox->tail = &inbox->head;
	inbox->bell = bell;
	return 0;
}

void inbox_done(Inbox *inbox)
{
	g_assert(!inbox->head);
	fd_close(&inbox->bell);
	leaf_done(&inbox->mutex);
}

/* Returns whether the list was empty. */
static bool append_locked(Inbox *inbox, InboxItem *item) REQUIRES(inbox->mutex)
{
	bool was_empty = !inbox->head;

	item->next = NULL;
	*inbox->tail = item;
	inbox->tail = &item->next;
	return was_empty;
}

bool inbox_post_once(Inbox *inbox, InboxItem *item)
{
	bool append, ring = false;

	leaf_lock(&inbox->mutex);
	append = !item->posted;
	if (append) {
		item->posted = true;
		ring = append_locked(inbox, item);
	}
	leaf_unlock(&inbox->mutex);
	/* After the hold: a system call is no O(1) work. The consumer can't miss the item: it takes until the
	 * list is empty, and from an empty list on somebody rings. */
	if (ring)
		bell_ring(inbox->bell);
	return append;
}

void inbox_post(Inbox *inbox, InboxItem *item)
{
	bool ring;

	leaf_lock(&inbox->mutex);
	ring = append_locked(inbox, item);
	leaf_unlock(&inbox->mutex);
	if (ring)
		bell_ring(inbox->bell);
}

void inbox_clear_bell(Inbox *inbox)
{
	bell_clear(inbox->bell);
}

InboxItem *inbox_take(Inbox *inbox, bool clear)
{
	InboxItem *item;

	leaf_lock(&inbox->mutex);
	item = inbox->head;
	if (item) {
		inbox->head = item->next;
		if (!inbox->head)
			inbox->tail = &inbox->head;
		item->next = NULL;
		if (clear)
			item->posted = false;
	}
	leaf_unlock(&inbox->mutex);
	return item;
}

void inbox_clear_posted(Inbox *inbox, InboxItem *item)
{
	leaf_lock(&inbox->mutex);
	item->posted = false;
	leaf_unlock(&inbox->mutex);
}
