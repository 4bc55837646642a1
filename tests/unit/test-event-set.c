/* vm/event-set.h: how events are coalesced, in which order they stand, and the bound: rule by rule. Random
 * sequences are in test-event-set-random.c. */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "vm/event-set.h"

static EventSet set;

static void setup(void)
{
	event_set_init(&set);
}

static void add_full(EventSet *to, EventId id, EventOrigin origin, const char *name, const char *key,
	const char *data, uint64_t time_usec)
{
	EventRecord record = {
		.id = id,
		.origin = origin,
		.name = name,
		.name_size = name ? strlen(name) : 0,
		.key = key,
		.data = data,
		.data_size = data ? strlen(data) : 0,
		.count = 1,
		.first_usec = time_usec,
		.last_usec = time_usec,
	};
	const EventEntry *entry = event_set_add(to, &record);

	g_assert_cmpint(entry->id, ==, id);
	g_assert_cmpuint(entry->count, >=, 1);
}

static void add(EventId id, const char *data)
{
	static uint64_t now_usec;

	add_full(&set, id, EVENT_ORIGIN_QEMU, NULL, NULL, data, ++now_usec);
}

static void add_unknown(const char *name)
{
	add_full(&set, EVENT_UNKNOWN, EVENT_ORIGIN_QEMU, name, NULL, NULL, 1);
}

/* "STOP RESET*2 ..." */
static char *describe(const EventSet *of)
{
	GString *text = g_string_new(NULL);

	for (const EventEntry *entry = of->head; entry; entry = entry->next) {
		g_string_append_printf(text, "%s%s", text->len > 0 ? " " : "",
			entry->id == EVENT_UNKNOWN ? entry->name : event_row(entry->id)->name);
		if (entry->count > 1)
			g_string_append_printf(text, "*%u", entry->count);
	}
	return g_string_free(text, FALSE);
}

static void assert_set(const char *expected)
{
	g_autofree char *text = describe(&set);

	g_assert_cmpstr(text, ==, expected);
}

static void done(void)
{
	event_set_clear(&set);
	g_assert_true(event_set_is_empty(&set));
}

/* ---- the classes ---- */
static void test_last(void)
{
	setup();
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 1}");
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 2}");
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 3}");
	assert_set("BALLOON_CHANGE*3");
	g_assert_cmpstr(set.head->data, ==, "{\"actual\": 3}");
	done();
}

static void test_by_key(void)
{
	setup();
	add(EVENT_VSERPORT_CHANGE, "{\"id\": \"a\", \"open\": true}");
	add(EVENT_VSERPORT_CHANGE, "{\"id\": \"b\", \"open\": true}");
	add(EVENT_VSERPORT_CHANGE, "{\"id\": \"a\", \"open\": false}");
	/* The merged one takes the place of its last arrival. */
	assert_set("VSERPORT_CHANGE VSERPORT_CHANGE*2");
	g_assert_cmpstr(set.head->key, ==, "b");
	g_assert_cmpstr(set.tail->key, ==, "a");
	g_assert_cmpstr(set.tail->data, ==, "{\"id\": \"a\", \"open\": false}");
	done();
}

static void test_count(void)
{
	setup();
	add(EVENT_GUEST_CRASHLOADED, NULL);
	add(EVENT_GUEST_CRASHLOADED, "{\"action\": \"run\"}");
	add(EVENT_GUEST_CRASHLOADED, "{\"action\": \"run\"}");
	assert_set("GUEST_CRASHLOADED*3");
	g_assert_cmpstr(set.head->data, ==, "{\"action\": \"run\"}");
	done();
}

static void test_never(void)
{
	setup();
	add(EVENT_DEVICE_DELETED, "{\"path\": \"/a\"}");
	add(EVENT_DEVICE_DELETED, "{\"path\": \"/a\"}");
	add(EVENT_DEVICE_DELETED, "{\"path\": \"/b\"}");
	assert_set("DEVICE_DELETED DEVICE_DELETED DEVICE_DELETED");
	done();
}

static void test_after_first(void)
{
	setup();
	add(EVENT_GUEST_PANICKED, "{\"action\": \"run\", \"n\": 1}");
	add(EVENT_GUEST_PANICKED, "{\"action\": \"run\", \"n\": 2}");
	add(EVENT_GUEST_PANICKED, "{\"action\": \"run\", \"n\": 3}");
	assert_set("GUEST_PANICKED GUEST_PANICKED*2");
	g_assert_true(set.head->first);
	g_assert_cmpstr(set.head->data, ==, "{\"action\": \"run\", \"n\": 1}");
	g_assert_cmpstr(set.tail->data, ==, "{\"action\": \"run\", \"n\": 3}");
	done();
}

static void test_after_first_by_key(void)
{
	static const char *const kinds[] = {"{\"recipient\": \"guest\", \"action\": \"inject\"}",
		"{\"recipient\": \"hypervisor\", \"action\": \"inject\"}",
		"{\"recipient\": \"guest\", \"action\": \"fatal\"}"};

	setup();
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
			add(EVENT_MEMORY_FAILURE, kinds[i]);
	/* The first of each kind, then each kind's rest. */
	assert_set("MEMORY_FAILURE MEMORY_FAILURE MEMORY_FAILURE MEMORY_FAILURE*2 MEMORY_FAILURE*2 "
		   "MEMORY_FAILURE*2");
	done();
}

static void test_alternative_keys(void)
{
	setup();
	add(EVENT_BLOCK_IO_ERROR,
		"{\"device\": \"d\", \"node-name\": \"n\", \"operation\": \"read\", \"action\": \"report\"}");
	add(EVENT_BLOCK_IO_ERROR,
		"{\"device\": \"\", \"node-name\": \"d\", \"operation\": \"read\", \"action\": \"report\"}");
	assert_set("BLOCK_IO_ERROR*2");
	add(EVENT_BLOCK_IO_ERROR,
		"{\"device\": \"d\", \"node-name\": \"n\", \"operation\": \"read\", \"action\": \"stop\"}");
	assert_set("BLOCK_IO_ERROR*2 BLOCK_IO_ERROR");
	done();
}

static void test_key(void)
{
	static const char ost[] = "{\"info\": {\"slot\": \"3\", \"slot-type\": \"DIMM\"}}";
	g_autofree char *two = event_key(EVENT_ACPI_DEVICE_OST, ost, sizeof ost - 1);
	g_autofree char *none = event_key(EVENT_STOP, "{\"a\": 1}", 8);
	g_autofree char *no_data = event_key(EVENT_VSERPORT_CHANGE, NULL, 0);
	g_autofree char *absent = event_key(EVENT_VSERPORT_CHANGE, "{\"open\": true}", 14);
	g_autofree char *filler = g_strnfill(5000, 'x');
	g_autofree char *data = g_strdup_printf("{\"id\": \"%s\"}", filler);
	g_autofree char *bounded = event_key(EVENT_VSERPORT_CHANGE, data, strlen(data));

	g_assert_cmpstr(two, ==, "DIMM\n3");
	g_assert_cmpstr(none, ==, "");
	g_assert_cmpstr(no_data, ==, "");
	g_assert_cmpstr(absent, ==, "");
	g_assert_cmpuint(strlen(bounded), ==, 256);
}

static void test_unknown(void)
{
	g_autofree char *longer = g_strnfill(EVENT_NAME_MAX + 10, 'N');

	setup();
	add_unknown("A");
	add_unknown("B");
	add_unknown("A");
	assert_set("A B A");
	add_unknown(longer);
	g_assert_cmpuint(strlen(set.tail->name), ==, EVENT_NAME_MAX);
	done();
}

static void test_origins_apart(void)
{
	setup();
	add_full(&set, EVENT_STOP, EVENT_ORIGIN_QEMU, NULL, "", NULL, 1);
	add_full(&set, EVENT_STOP, EVENT_ORIGIN_RESYNC, NULL, "", NULL, 2);
	add_full(&set, EVENT_STOP, EVENT_ORIGIN_RESYNC, NULL, "", NULL, 3);
	assert_set("STOP STOP*2");
	g_assert_cmpint(set.tail->origin, ==, EVENT_ORIGIN_RESYNC);
	g_assert_cmpstr(event_origin_to_string(EVENT_ORIGIN_QEMU), ==, "qemu");
	g_assert_cmpstr(event_origin_to_string(EVENT_ORIGIN_ROOST), ==, "roost");
	g_assert_cmpstr(event_origin_to_string(EVENT_ORIGIN_RESYNC), ==, "resync");
	done();
}

/* ---- order ---- */
static void test_never_passes_state(void)
{
	static const char *const error =
		"{\"device\": \"d\", \"operation\": \"write\", \"action\": \"stop\"}";

	setup();
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 1}");
	add(EVENT_BLOCK_IO_ERROR, error);
	add(EVENT_STOP, NULL);
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 2}");
	add(EVENT_BLOCK_IO_ERROR, error);
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 3}");
	/* The reason stays before its stop; what comes after it is a new entry. */
	assert_set("BALLOON_CHANGE BLOCK_IO_ERROR STOP BALLOON_CHANGE BLOCK_IO_ERROR BALLOON_CHANGE");
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 4}");
	assert_set("BALLOON_CHANGE BLOCK_IO_ERROR STOP BALLOON_CHANGE BLOCK_IO_ERROR BALLOON_CHANGE*2");
	done();
}

static void test_state_keeps_order(void)
{
	setup();
	for (unsigned i = 0; i < 3; i++) {
		add(EVENT_STOP, NULL);
		add(EVENT_RESUME, NULL);
	}
	add(EVENT_RESUME, NULL);
	assert_set("STOP RESUME STOP RESUME STOP RESUME*2");
	done();
}

static void test_state_passes_others(void)
{
	setup();
	add(EVENT_RESET, NULL);
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 1}");
	add(EVENT_RESET, NULL);
	assert_set("BALLOON_CHANGE RESET*2");
	/* And what was passed by it can't pass it again. */
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 2}");
	assert_set("BALLOON_CHANGE RESET*2 BALLOON_CHANGE");
	done();
}

static void test_migration_statuses(void)
{
	setup();
	add(EVENT_MIGRATION, "{\"status\": \"setup\"}");
	add(EVENT_MIGRATION, "{\"status\": \"active\"}");
	add(EVENT_MIGRATION, "{\"status\": \"active\"}");
	add(EVENT_STOP, NULL);
	add(EVENT_MIGRATION, "{\"status\": \"completed\"}");
	assert_set("MIGRATION MIGRATION*2 STOP MIGRATION");
	done();
}

/* ---- what an entry keeps ---- */
static void test_times(void)
{
	setup();
	add_full(&set, EVENT_RTC_CHANGE, EVENT_ORIGIN_QEMU, NULL, NULL, NULL, 100);
	add_full(&set, EVENT_RTC_CHANGE, EVENT_ORIGIN_QEMU, NULL, NULL, NULL, 200);
	add_full(&set, EVENT_RTC_CHANGE, EVENT_ORIGIN_QEMU, NULL, NULL, NULL, 300);
	g_assert_cmpuint(set.head->first_usec, ==, 100);
	g_assert_cmpuint(set.head->last_usec, ==, 300);
	done();
}

static void test_truncated(void)
{
	g_autofree char *filler = g_strnfill(EVENT_DATA_MAX, 'x');
	g_autofree char *large = g_strdup_printf("{\"actual\": \"%s\"}", filler);
	g_autofree char *fits = g_strndup(filler, EVENT_DATA_MAX);

	setup();
	add(EVENT_BALLOON_CHANGE, large);
	g_assert_true(set.head->truncated);
	g_assert_null(set.head->data);
	g_assert_cmpuint(set.head->data_size, ==, 0);
	/* The last value counts. */
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 1}");
	g_assert_false(set.head->truncated);
	add(EVENT_BALLOON_CHANGE, large);
	g_assert_true(set.head->truncated);
	add(EVENT_BALLOON_CHANGE, fits);
	g_assert_false(set.head->truncated);
	g_assert_cmpuint(set.head->data_size, ==, EVENT_DATA_MAX);
	/* No data is no truncated data. */
	add(EVENT_BALLOON_CHANGE, NULL);
	g_assert_false(set.head->truncated);
	g_assert_null(set.head->data);
	assert_set("BALLOON_CHANGE*5");
	done();
}

static void test_take(void)
{
	EventSet taken;

	setup();
	add(EVENT_STOP, NULL);
	add(EVENT_RESUME, NULL);
	event_set_take(&set, &taken);
	g_assert_true(event_set_is_empty(&set));
	g_assert_false(event_set_is_empty(&taken));
	g_assert_cmpuint(taken.n, ==, 2);
	/* What comes then has nothing to do with what was taken. */
	add(EVENT_STOP, NULL);
	assert_set("STOP");
	g_assert_cmpuint(taken.n, ==, 2);
	event_set_clear(&taken);
	done();
	/* Of nothing there is nothing to take. */
	event_set_take(&set, &taken);
	g_assert_true(event_set_is_empty(&taken));
}

static void test_add_entry(void)
{
	EventSet other;

	setup();
	event_set_init(&other);
	for (unsigned i = 0; i < 3; i++)
		add_full(&other, EVENT_GUEST_PANICKED, EVENT_ORIGIN_QEMU, NULL, "", "{}", 10 + i);
	add_full(&other, EVENT_UNKNOWN, EVENT_ORIGIN_QEMU, "NAME", "", NULL, 20);
	for (const EventEntry *entry = other.head; entry; entry = entry->next)
		event_set_add_entry(&set, entry);
	assert_set("GUEST_PANICKED GUEST_PANICKED*2 NAME");
	g_assert_cmpuint(set.head->next->first_usec, ==, 11);
	g_assert_cmpuint(set.head->next->last_usec, ==, 12);
	/* A first of its own set is none where one waits already. */
	for (const EventEntry *entry = other.head; entry; entry = entry->next)
		event_set_add_entry(&set, entry);
	assert_set("GUEST_PANICKED NAME GUEST_PANICKED*5 NAME");
	event_set_clear(&other);
	done();
}

static void test_add_entry_truncated(void)
{
	g_autofree char *large = g_strnfill(EVENT_DATA_MAX + 1, 'x');
	EventSet other;

	setup();
	event_set_init(&other);
	add_full(&other, EVENT_BALLOON_CHANGE, EVENT_ORIGIN_QEMU, NULL, "", large, 1);
	event_set_add_entry(&set, other.head);
	g_assert_true(set.head->truncated);
	event_set_clear(&other);
	done();
}

/* ---- the cap ---- */
static void fill(void)
{
	setup();
	for (unsigned i = 0; i < EVENT_SET_MAX; i++) {
		char name[16];

		snprintf(name, sizeof name, "FILL%u", i);
		add_unknown(name);
	}
	g_assert_cmpuint(set.n, ==, EVENT_SET_MAX);
	g_assert_false(set.overflowed);
}

static void test_cap_unknown(void)
{
	fill();
	add_unknown("X");
	add_unknown("Y");
	add_unknown("FILL0");
	g_assert_cmpuint(set.n, ==, EVENT_SET_MAX);
	g_assert_true(set.overflowed);
	g_assert_cmpuint(set.tail->count, ==, 4);
	done();
}

static void test_cap_reserve(void)
{
	static const char *const path[] = {"{\"path\": \"/a\"}", "{\"path\": \"/b\"}", "{\"path\": \"/c\"}"};

	fill();
	/* One entry for each name; it takes in the others of the name, whatever their keys. */
	for (unsigned i = 0; i < 3; i++)
		add(EVENT_DEVICE_DELETED, path[i]);
	g_assert_cmpuint(set.n, ==, EVENT_SET_MAX + 1);
	g_assert_true(set.overflowed);
	g_assert_cmpuint(set.tail->count, ==, 3);
	g_assert_cmpstr(set.tail->key, ==, "/c");
	g_assert_cmpstr(set.tail->data, ==, "{\"path\": \"/c\"}");
	add(EVENT_SHUTDOWN, "{\"guest\": true}");
	g_assert_cmpuint(set.n, ==, EVENT_SET_MAX + 2);
	g_assert_cmpint(set.tail->id, ==, EVENT_SHUTDOWN);
	done();
}

static void test_cap_all_names(void)
{
	unsigned n_firsts = 0;

	for (unsigned id = 0; id < EVENT_ID_MAX; id++)
		n_firsts += event_row((EventId)id)->merge == EVENT_MERGE_AFTER_FIRST;
	fill();
	for (unsigned round = 0; round < 3; round++)
		for (unsigned id = 0; id < EVENT_ID_MAX; id++)
			if (id != EVENT_UNKNOWN)
				add((EventId)id, NULL);
	/* One entry for each name, and a first for those that keep one. */
	g_assert_cmpuint(set.n, <=, EVENT_SET_MAX + EVENT_ID_MAX + n_firsts);
	done();
}

static void test_cap_net_state(void)
{
	fill();
	for (unsigned i = 0; i < 3; i++) {
		add(EVENT_STOP, NULL);
		g_assert_cmpint(set.tail->id, ==, EVENT_STOP);
		add(EVENT_RESUME, NULL);
		g_assert_cmpint(set.tail->id, ==, EVENT_RESUME);
	}
	g_assert_cmpuint(set.tail->count, ==, 3);
	g_assert_cmpuint(set.tail->prev->count, ==, 3);
	done();
}

static void test_cap_keeps_first(void)
{
	fill();
	add(EVENT_MEMORY_FAILURE, "{\"recipient\": \"guest\", \"action\": \"fatal\", \"n\": 1}");
	add(EVENT_MEMORY_FAILURE, "{\"recipient\": \"guest\", \"action\": \"fatal\", \"n\": 2}");
	add(EVENT_MEMORY_FAILURE, "{\"recipient\": \"guest\", \"action\": \"inject\", \"n\": 3}");
	/* The first as it is, then all the others, of whatever kind. */
	g_assert_cmpuint(set.n, ==, EVENT_SET_MAX + 2);
	g_assert_cmpuint(set.tail->count, ==, 2);
	g_assert_cmpuint(set.tail->prev->count, ==, 1);
	g_assert_cmpstr(
		set.tail->prev->data, ==, "{\"recipient\": \"guest\", \"action\": \"fatal\", \"n\": 1}");
	done();
}

static void test_cap_never_passes_state(void)
{
	fill();
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 1}");
	add(EVENT_STOP, NULL);
	add(EVENT_BALLOON_CHANGE, "{\"actual\": 2}");
	g_assert_cmpint(set.tail->id, ==, EVENT_STOP);
	g_assert_cmpint(set.tail->prev->id, ==, EVENT_BALLOON_CHANGE);
	g_assert_cmpuint(set.tail->prev->count, ==, 2);
	done();
}

static void test_cap_origins_apart(void)
{
	fill();
	add_full(&set, EVENT_STOP, EVENT_ORIGIN_RESYNC, NULL, "", NULL, 1);
	add_full(&set, EVENT_STOP, EVENT_ORIGIN_QEMU, NULL, "", NULL, 2);
	/* Counts of what QEMU said are exact: nothing of ours is mixed into them. */
	g_assert_cmpint(set.tail->origin, ==, EVENT_ORIGIN_QEMU);
	g_assert_cmpuint(set.tail->count, ==, 1);
	done();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/event-set/last", test_last);
	g_test_add_func("/event-set/by-key", test_by_key);
	g_test_add_func("/event-set/count", test_count);
	g_test_add_func("/event-set/never", test_never);
	g_test_add_func("/event-set/after-first", test_after_first);
	g_test_add_func("/event-set/after-first-by-key", test_after_first_by_key);
	g_test_add_func("/event-set/alternative-keys", test_alternative_keys);
	g_test_add_func("/event-set/key", test_key);
	g_test_add_func("/event-set/unknown", test_unknown);
	g_test_add_func("/event-set/origins-apart", test_origins_apart);
	g_test_add_func("/event-set/never-passes-state", test_never_passes_state);
	g_test_add_func("/event-set/state-keeps-order", test_state_keeps_order);
	g_test_add_func("/event-set/state-passes-others", test_state_passes_others);
	g_test_add_func("/event-set/migration-statuses", test_migration_statuses);
	g_test_add_func("/event-set/times", test_times);
	g_test_add_func("/event-set/truncated", test_truncated);
	g_test_add_func("/event-set/take", test_take);
	g_test_add_func("/event-set/add-entry", test_add_entry);
	g_test_add_func("/event-set/add-entry-truncated", test_add_entry_truncated);
	g_test_add_func("/event-set/cap/unknown", test_cap_unknown);
	g_test_add_func("/event-set/cap/reserve", test_cap_reserve);
	g_test_add_func("/event-set/cap/all-names", test_cap_all_names);
	g_test_add_func("/event-set/cap/net-state", test_cap_net_state);
	g_test_add_func("/event-set/cap/keeps-first", test_cap_keeps_first);
	g_test_add_func("/event-set/cap/never-passes-state", test_cap_never_passes_state);
	g_test_add_func("/event-set/cap/origins-apart", test_cap_origins_apart);
	return g_test_run();
}
