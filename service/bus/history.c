#include "bus/history.h"

/* Two lists go through each event: all events, and those of its VM. Dropping the oldest of either is O(1). */
typedef struct Speaker Speaker;
typedef struct Item Item;
struct Item {
	HistoryEvent event;
	char *name; /* event.name */
	Speaker *speaker;
	GList all, own; /* links; data is the item */
};

/* What is known of one VM. */
struct Speaker {
	char *vm;
	GQueue items;
	uint64_t last, dropped; /* the last number given, the last one dropped; 0: none */
	bool forgotten;
};

struct History {
	GQueue items;
	GHashTable *speakers; /* path -> Speaker */
	uint64_t last, dropped;
};

static void speaker_free(void *data)
{
	Speaker *speaker = data;

	g_free(speaker->vm);
	g_free(speaker);
}

History *history_new(void)
{
	History *history = g_new0(History, 1);

	g_queue_init(&history->items);
	history->speakers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, speaker_free);
	return history;
}

static void drop(History *history, Item *item)
{
	Speaker *speaker = item->speaker;

	history->dropped = MAX(history->dropped, item->event.sequence);
	speaker->dropped = MAX(speaker->dropped, item->event.sequence);
	g_queue_unlink(&history->items, &item->all);
	g_queue_unlink(&speaker->items, &item->own);
	g_variant_unref(item->event.data);
	g_free(item->name);
	g_free(item);
	if (speaker->forgotten && speaker->items.length == 0)
		g_hash_table_remove(history->speakers, speaker->vm);
}

History *history_free(History *history)
{
	if (!history)
		return NULL;
	while (history->items.head)
		drop(history, history->items.head->data);
	g_hash_table_unref(history->speakers);
	g_free(history);
	return NULL;
}

static Speaker *get_speaker(History *history, const char *vm)
{
	Speaker *speaker = g_hash_table_lookup(history->speakers, vm);

	if (!speaker) {
		speaker = g_new0(Speaker, 1);
		speaker->vm = g_strdup(vm);
		g_queue_init(&speaker->items);
		g_hash_table_insert(history->speakers, speaker->vm, speaker);
	}
	speaker->forgotten = false;
	return speaker;
}

uint64_t history_add(History *history, const HistoryEvent *event)
{
	Speaker *speaker = get_speaker(history, event->vm);
	Item *item = g_new0(Item, 1);
	uint64_t previous = speaker->last;

	g_assert(event->sequence > history->last);
	item->event = *event;
	item->event.vm = speaker->vm;
	item->event.name = item->name = g_strdup(event->name);
	item->event.previous = previous;
	g_variant_ref(event->data);
	item->speaker = speaker;
	item->all.data = item->own.data = item;
	history->last = speaker->last = event->sequence;
	g_queue_push_tail_link(&history->items, &item->all);
	g_queue_push_tail_link(&speaker->items, &item->own);
	if (speaker->items.length > HISTORY_VM_MAX)
		drop(history, speaker->items.head->data);
	else if (history->items.length > HISTORY_MAX)
		drop(history, history->items.head->data);
	return previous;
}

uint64_t history_last(const History *history, const char *vm)
{
	const Speaker *speaker;

	if (!vm)
		return history->last;
	speaker = g_hash_table_lookup(history->speakers, vm);
	return speaker ? speaker->last : 0;
}

bool history_knows(const History *history, const char *vm)
{
	return g_hash_table_contains(history->speakers, vm);
}

void history_forget(History *history, const char *vm)
{
	Speaker *speaker = g_hash_table_lookup(history->speakers, vm);

	if (!speaker)
		return;
	speaker->forgotten = true;
	if (speaker->items.length == 0)
		g_hash_table_remove(history->speakers, vm);
}

bool history_read(
	const History *history, const char *vm, uint64_t after, uint32_t max, HistoryFunc func, void *user)
{
	const Speaker *speaker = vm ? g_hash_table_lookup(history->speakers, vm) : NULL;
	uint64_t dropped = vm ? (speaker ? speaker->dropped : 0) : history->dropped;
	const GQueue *items = vm ? (speaker ? &speaker->items : NULL) : &history->items;
	bool from_the_future = after > history->last;
	uint32_t n = 0;

	/* The service was restarted since the reader asked the last time: its numbers are of another series.
	 */
	if (from_the_future)
		after = 0;
	for (const GList *l = items ? items->head : NULL; l && (max == 0 || n < max); l = l->next) {
		const Item *item = l->data;

		if (item->event.sequence <= after)
			continue;
		if (!func(&item->event, user))
			break;
		n++;
	}
	return from_the_future || dropped > after;
}
