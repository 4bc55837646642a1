#include "vm/event-set.h"

#include <string.h>

#include "qmp/wire.h"

const char *event_origin_to_string(EventOrigin origin)
{
	static const char *const names[] = {"qemu", "roost", "resync"};

	g_assert((unsigned)origin < G_N_ELEMENTS(names));
	return names[origin];
}

void event_set_init(EventSet *set)
{
	*set = (EventSet){.next_order = 1};
}

static void entry_free(EventEntry *entry)
{
	g_free(entry->name);
	g_free(entry->key);
	g_free(entry->data);
	g_free(entry);
}

void event_set_clear(EventSet *set)
{
	EventEntry *next;

	for (EventEntry *entry = set->head; entry; entry = next) {
		next = entry->next;
		entry_free(entry);
	}
	event_set_init(set);
}

void event_set_take(EventSet *set, EventSet *ret)
{
	*ret = *set;
	event_set_init(set);
}

/* ---- keys ---- */
static char *key_part(const char *alternatives, const char *data, size_t data_size)
{
	g_auto(GStrv) paths = g_strsplit(alternatives, "|", -1);

	for (unsigned i = 0; paths[i]; i++) {
		g_autofree char *value = qmp_data_get(data, data_size, paths[i]);

		if (value[0] != '\0')
			return g_steal_pointer(&value);
	}
	return g_strdup("");
}

char *event_key(EventId id, const char *data, size_t data_size)
{
	const EventRow *row = event_row(id);
	GString *key = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(row->keys) && row->keys[i] && data; i++) {
		g_autofree char *part = key_part(row->keys[i], data, data_size);

		if (i > 0)
			g_string_append_c(key, '\n');
		/* Keys can be of a guest's choosing; what is beyond this length does not tell them apart. */
		g_string_append_len(key, part, (gssize)MIN(strlen(part), 256));
	}
	return g_string_free(key, FALSE);
}

/* ---- lists ---- */
static void link_last(EventSet *set, EventEntry *entry)
{
	entry->prev = set->tail;
	entry->next = NULL;
	if (set->tail)
		set->tail->next = entry;
	else
		set->head = entry;
	set->tail = entry;
	entry->order = set->next_order++;
	if (event_row(entry->id)->state)
		set->last_state_order = entry->order;
}

static void unlink_entry(EventSet *set, EventEntry *entry)
{
	if (entry->prev)
		entry->prev->next = entry->next;
	else
		set->head = entry->next;
	if (entry->next)
		entry->next->prev = entry->prev;
	else
		set->tail = entry->prev;
}

static void move_to_end(EventSet *set, EventEntry *entry)
{
	if (set->tail != entry) {
		unlink_entry(set, entry);
		link_last(set, entry);
	}
	/* The newest of its name comes first in the search. */
	if (set->last_of[entry->id] != entry) {
		entry->same_next->same_prev = entry->same_prev;
		if (entry->same_prev)
			entry->same_prev->same_next = entry->same_next;
		entry->same_prev = set->last_of[entry->id];
		entry->same_prev->same_next = entry;
		entry->same_next = NULL;
		set->last_of[entry->id] = entry;
	}
}

/* What comes in: a record, with its name and key looked at. */
typedef struct Incoming {
	const EventRecord *record;
	const char *key;
	bool first, truncated;
} Incoming;

static bool same_event(const EventEntry *entry, const Incoming *in)
{
	const EventRecord *record = in->record;

	if (entry->origin != record->origin)
		return false;
	if (entry->id == EVENT_UNKNOWN &&
		(strlen(entry->name) != MIN(record->name_size, EVENT_NAME_MAX) ||
			strncmp(entry->name, record->name, strlen(entry->name)) != 0))
		return false;
	return strcmp(entry->key, in->key) == 0;
}

/* An entry may move to the end unless something that bears on the state stands behind it. */
static bool may_move(const EventSet *set, const EventEntry *entry)
{
	return entry->order >= set->last_state_order;
}

static EventEntry *find_mergeable(EventSet *set, const Incoming *in)
{
	EventMerge merge = event_row(in->record->id)->merge;

	if (merge == EVENT_MERGE_NEVER || in->first)
		return NULL;
	for (EventEntry *entry = set->last_of[in->record->id]; entry; entry = entry->same_prev)
		if (!entry->first && same_event(entry, in))
			/* An older entry of the same event stands behind even more: no need to look on. */
			return may_move(set, entry) ? entry : NULL;
	return NULL;
}

static bool is_first_of_its_kind(const EventSet *set, const Incoming *in)
{
	for (const EventEntry *entry = set->last_of[in->record->id]; entry; entry = entry->same_prev)
		if (same_event(entry, in))
			return false;
	return true;
}

static void set_data(EventEntry *entry, const Incoming *in)
{
	const EventRecord *record = in->record;
	bool keep = record->data && record->data_size <= EVENT_DATA_MAX;

	/* At the cap an unknown event may have to share another's entry: then its data would stand under a
	 * wrong name. */
	if (entry->name && (strlen(entry->name) != MIN(record->name_size, EVENT_NAME_MAX) ||
				   strncmp(entry->name, record->name, strlen(entry->name)) != 0))
		keep = false;

	entry->truncated = in->truncated || (record->data && !keep);
	/* A flood repeats itself: the same text need not be copied again. */
	if (keep && entry->data && entry->data_size == record->data_size &&
		memcmp(entry->data, record->data, record->data_size) == 0)
		return;
	g_free(entry->data);
	entry->data = keep ? g_strndup(record->data, record->data_size) : NULL;
	entry->data_size = keep ? (uint32_t)record->data_size : 0;
}

static EventEntry *merge_into(EventSet *set, EventEntry *entry, const Incoming *in)
{
	const EventRecord *record = in->record;

	entry->count = record->count > UINT32_MAX - entry->count ? UINT32_MAX : entry->count + record->count;
	entry->first_usec = MIN(entry->first_usec, record->first_usec);
	entry->last_usec = MAX(entry->last_usec, record->last_usec);
	set_data(entry, in);
	if (strcmp(entry->key, in->key) != 0) {
		g_free(entry->key);
		entry->key = g_strdup(in->key);
	}
	/* At the cap an entry may have to take in what it must not carry past: then it keeps its place. One
	 * that is a state moves all the same: of these the last word counts. */
	if (may_move(set, entry) || (event_row(entry->id)->state && !event_row(entry->id)->reason))
		move_to_end(set, entry);
	return entry;
}

static EventEntry *append(EventSet *set, const Incoming *in)
{
	const EventRecord *record = in->record;
	EventEntry *entry = g_new0(EventEntry, 1);

	entry->id = record->id;
	entry->origin = record->origin;
	entry->first = in->first;
	entry->count = record->count;
	entry->first_usec = record->first_usec;
	entry->last_usec = record->last_usec;
	entry->key = g_strdup(in->key);
	if (record->id == EVENT_UNKNOWN)
		entry->name = g_strndup(record->name, MIN(record->name_size, EVENT_NAME_MAX));
	set_data(entry, in);
	entry->same_prev = set->last_of[entry->id];
	if (entry->same_prev)
		entry->same_prev->same_next = entry;
	set->last_of[entry->id] = entry;
	link_last(set, entry);
	set->n++;
	return entry;
}

/* At the cap the events of one name and origin share their newest entry, whatever their keys. Not so reasons,
 * whose keys are the VM's own devices and few: an error that stops the guest is not hidden by one that is
 * only reported. */
static EventEntry *find_shared(EventSet *set, const Incoming *in)
{
	bool reason = event_row(in->record->id)->reason;

	for (EventEntry *entry = set->last_of[in->record->id]; entry; entry = entry->same_prev)
		if (!entry->first && entry->origin == in->record->origin &&
			(!reason || same_event(entry, in)))
			return entry;
	return NULL;
}

static EventEntry *add(EventSet *set, Incoming *in)
{
	EventEntry *entry = find_mergeable(set, in);

	if (entry)
		return merge_into(set, entry, in);
	if (set->n >= EVENT_SET_MAX) {
		set->overflowed = true;
		entry = find_shared(set, in);
		if (entry)
			return merge_into(set, entry, in);
		/* A name has one first beyond the cap, not one for each key. */
		in->first = in->first && !set->last_of[in->record->id];
	}
	return append(set, in);
}

const EventEntry *event_set_add(EventSet *set, const EventRecord *record)
{
	g_autofree char *key = NULL;
	Incoming in = {.record = record, .key = ""};

	if (record->key) {
		in.key = record->key;
	} else if (event_row(record->id)->keys[0] && record->data) {
		key = event_key(record->id, record->data, record->data_size);
		in.key = key;
	}
	if (event_row(record->id)->merge == EVENT_MERGE_AFTER_FIRST)
		in.first = is_first_of_its_kind(set, &in);
	return add(set, &in);
}

void event_set_add_entry(EventSet *set, const EventEntry *entry)
{
	EventRecord record = {
		.id = entry->id,
		.origin = entry->origin,
		.name = entry->name,
		.name_size = entry->name ? strlen(entry->name) : 0,
		.data = entry->data,
		.data_size = entry->data_size,
		.count = entry->count,
		.first_usec = entry->first_usec,
		.last_usec = entry->last_usec,
	};
	Incoming in = {
		.record = &record, .key = entry->key, .first = entry->first, .truncated = entry->truncated};

	/* What was a first in its set is one here only if none is waiting yet. */
	if (in.first)
		in.first = is_first_of_its_kind(set, &in);
	add(set, &in);
}
