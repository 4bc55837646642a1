/*
 * vm/event-set.h under random sequences: below the cap against a model that is as simple as the rules (a list
 * that is searched and spliced), at the cap against what must always hold: the bound, the sums, nothing
 * passes an event that bears on the state, and of those the last word stands last.
 */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "vm/event-set.h"

static EventSet set;

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

static void fill(void)
{
	event_set_init(&set);
	for (unsigned i = 0; i < EVENT_SET_MAX; i++) {
		char name[16];

		snprintf(name, sizeof name, "FILL%u", i);
		add_full(&set, EVENT_UNKNOWN, EVENT_ORIGIN_QEMU, name, "", NULL, 1);
	}
}

/* ---- the model ---- */
typedef struct Row {
	EventId id;
	EventOrigin origin;
	const char *name; /* static */
	const char *key;  /* static */
	unsigned data;    /* of the last arrival */
	uint32_t count;
	uint64_t first_usec, last_usec;
	bool first;
} Row;

typedef struct Model {
	GArray *rows;
} Model;

static bool same(const Row *a, const Row *b)
{
	return a->id == b->id && a->origin == b->origin && g_strcmp0(a->name, b->name) == 0 &&
	       strcmp(a->key, b->key) == 0;
}

static bool state_after(const Model *model, unsigned index)
{
	for (unsigned i = index + 1; i < model->rows->len; i++)
		if (event_row(g_array_index(model->rows, Row, i).id)->state)
			return true;
	return false;
}

/* The one that may take it in, or -1. */
static int model_find(const Model *model, const Row *in)
{
	for (unsigned i = model->rows->len; i > 0; i--) {
		const Row *row = &g_array_index(model->rows, Row, i - 1);

		if (same(row, in) && !row->first)
			return state_after(model, i - 1) ? -1 : (int)(i - 1);
	}
	return -1;
}

static bool model_has(const Model *model, const Row *in)
{
	for (unsigned i = 0; i < model->rows->len; i++)
		if (same(&g_array_index(model->rows, Row, i), in))
			return true;
	return false;
}

static void model_add(Model *model, Row in)
{
	EventMerge merge = event_row(in.id)->merge;
	int index = merge == EVENT_MERGE_NEVER ? -1 : model_find(model, &in);

	if (merge == EVENT_MERGE_AFTER_FIRST && !model_has(model, &in))
		in.first = true;
	else if (index >= 0) {
		Row old = g_array_index(model->rows, Row, index);

		in.count += old.count;
		in.first_usec = old.first_usec;
		g_array_remove_index(model->rows, (unsigned)index);
	}
	g_array_append_val(model->rows, in);
}

static const struct {
	EventId id;
	EventOrigin origin;
	const char *name, *key;
} choices[] = {
	{EVENT_STOP, EVENT_ORIGIN_QEMU, NULL, ""},
	{EVENT_STOP, EVENT_ORIGIN_RESYNC, NULL, ""},
	{EVENT_RESUME, EVENT_ORIGIN_QEMU, NULL, ""},
	{EVENT_RESET, EVENT_ORIGIN_QEMU, NULL, ""},
	{EVENT_SHUTDOWN, EVENT_ORIGIN_QEMU, NULL, ""},
	{EVENT_GUEST_PANICKED, EVENT_ORIGIN_QEMU, NULL, ""},
	{EVENT_MEMORY_FAILURE, EVENT_ORIGIN_QEMU, NULL, "a"},
	{EVENT_MEMORY_FAILURE, EVENT_ORIGIN_QEMU, NULL, "b"},
	{EVENT_VNC_CONNECTED, EVENT_ORIGIN_QEMU, NULL, "x"},
	{EVENT_VNC_CONNECTED, EVENT_ORIGIN_QEMU, NULL, "y"},
	{EVENT_BLOCK_IO_ERROR, EVENT_ORIGIN_QEMU, NULL, "d"},
	{EVENT_BALLOON_CHANGE, EVENT_ORIGIN_QEMU, NULL, ""},
	{EVENT_RTC_CHANGE, EVENT_ORIGIN_QEMU, NULL, ""},
	{EVENT_VSERPORT_CHANGE, EVENT_ORIGIN_QEMU, NULL, "p"},
	{EVENT_VSERPORT_CHANGE, EVENT_ORIGIN_QEMU, NULL, "q"},
	{EVENT_GUEST_CRASHLOADED, EVENT_ORIGIN_QEMU, NULL, ""},
	{EVENT_DEVICE_DELETED, EVENT_ORIGIN_QEMU, NULL, "dev"},
	{EVENT_UNKNOWN, EVENT_ORIGIN_QEMU, "NEW", ""},
	{EVENT_UNKNOWN, EVENT_ORIGIN_QEMU, "NEWER", ""},
	{EVENT_UNRESPONSIVE, EVENT_ORIGIN_ROOST, NULL, ""},
	{EVENT_RESPONSIVE, EVENT_ORIGIN_ROOST, NULL, ""},
};

#define N_CHOICES G_N_ELEMENTS(choices)

static void add_choice(unsigned choice, unsigned number)
{
	char data[32];

	snprintf(data, sizeof data, "{\"n\": %u}", number);
	add_full(&set, choices[choice].id, choices[choice].origin, choices[choice].name, choices[choice].key,
		data, number);
}

static void compare(const Model *model)
{
	const EventEntry *entry = set.head;

	g_assert_cmpuint(set.n, ==, model->rows->len);
	for (unsigned i = 0; i < model->rows->len; i++, entry = entry->next) {
		const Row *row = &g_array_index(model->rows, Row, i);
		char data[32];

		snprintf(data, sizeof data, "{\"n\": %u}", row->data);
		g_assert_nonnull(entry);
		g_assert_cmpint(entry->id, ==, row->id);
		g_assert_cmpint(entry->origin, ==, row->origin);
		g_assert_cmpstr(entry->name, ==, row->name);
		g_assert_cmpstr(entry->key, ==, row->key);
		g_assert_cmpuint(entry->count, ==, row->count);
		g_assert_cmpuint(entry->first_usec, ==, row->first_usec);
		g_assert_cmpuint(entry->last_usec, ==, row->last_usec);
		g_assert_cmpint(entry->first, ==, row->first);
		g_assert_cmpstr(entry->data, ==, data);
	}
	g_assert_null(entry);
}

static void test_random_below_cap(void)
{
	for (unsigned round = 0; round < 300; round++) {
		Model model = {g_array_new(FALSE, FALSE, sizeof(Row))};
		unsigned n_kinds = (unsigned)g_test_rand_int_range(1, N_CHOICES + 1);
		unsigned offset = (unsigned)g_test_rand_int_range(0, N_CHOICES);

		event_set_init(&set);
		for (unsigned n = 1; n <= EVENT_SET_MAX; n++) {
			unsigned choice =
				(offset + (unsigned)g_test_rand_int_range(0, (gint32)n_kinds)) % N_CHOICES;

			add_choice(choice, n);
			model_add(&model,
				(Row){choices[choice].id, choices[choice].origin, choices[choice].name,
					choices[choice].key, n, 1, n, n, false});
			if (n % 16 == 0)
				compare(&model);
		}
		g_assert_false(set.overflowed);
		event_set_clear(&set);
		g_array_unref(model.rows);
	}
}

/* The sums of what QEMU said, by name; all unknown names are one. */
typedef struct Sums {
	uint64_t of[EVENT_ID_MAX][EVENT_ORIGIN_RESYNC + 1];
} Sums;

static void sum_up(const EventSet *of, Sums *sums)
{
	for (const EventEntry *entry = of->head; entry; entry = entry->next)
		sums->of[entry->id][entry->origin] += entry->count;
}

static void assert_bound(const EventSet *of)
{
	bool seen[EVENT_ID_MAX][EVENT_ORIGIN_RESYNC + 1][2] = {0};
	unsigned n = 0, n_names = 0;

	for (const EventEntry *entry = of->head; entry; entry = entry->next, n++) {
		n_names += !seen[entry->id][entry->origin][entry->first];
		seen[entry->id][entry->origin][entry->first] = true;
		g_assert_true(entry->next ? entry->next->prev == entry : of->tail == entry);
		g_assert_cmpuint(entry->first_usec, <=, entry->last_usec);
	}
	g_assert_cmpuint(n, ==, of->n);
	g_assert_cmpuint(n, <=, EVENT_SET_MAX + n_names);
}

/* The last S event that stood behind `entry` before something was added. */
static const EventEntry *last_state(void)
{
	const EventEntry *entry = set.tail;

	while (entry && !event_row(entry->id)->state)
		entry = entry->prev;
	return entry;
}

static bool stands_behind(const EventEntry *entry, const EventEntry *before)
{
	for (; entry; entry = entry->prev)
		if (entry == before)
			return true;
	return false;
}

/* Adds one, and checks that nothing but what bears on the state has passed the last that does. */
static void add_and_check_order(unsigned choice, unsigned number)
{
	const EventEntry *state = last_state(), *before_state = state ? state->prev : NULL;
	const EventRow *row = event_row(choices[choice].id);

	add_choice(choice, number);
	if (row->reason) {
		/* Kept its place, or came last. */
	} else if (row->state) {
		/* The net state: what came last stands last. */
		g_assert_cmpint(last_state()->id, ==, choices[choice].id);
	} else if (state) {
		g_assert_true(last_state() == state);
		/* Nobody who stood before it is gone from there. */
		g_assert_true(state->prev == before_state);
		g_assert_true(!before_state || stands_behind(state, before_state));
	}
}

static void test_random_at_cap(void)
{
	for (unsigned round = 0; round < 60; round++) {
		Sums sums = {0}, found = {0};
		unsigned n_kinds = (unsigned)g_test_rand_int_range(1, N_CHOICES + 1);

		fill();
		sum_up(&set, &sums);
		for (unsigned n = 1; n <= 400; n++) {
			unsigned choice = (unsigned)g_test_rand_int_range(0, (gint32)n_kinds);

			add_and_check_order(choice, n);
			sums.of[choices[choice].id][choices[choice].origin]++;
		}
		assert_bound(&set);
		sum_up(&set, &found);
		g_assert_cmpmem(&sums, sizeof sums, &found, sizeof found);
		event_set_clear(&set);
	}
}

/* From one set to another, as from the mail to the outbox, in batches of any size. */
static void test_random_through(void)
{
	for (unsigned round = 0; round < 60; round++) {
		Sums sums = {0}, found = {0};
		EventSet out;
		int batch = g_test_rand_int_range(1, 600);

		event_set_init(&set);
		event_set_init(&out);
		for (unsigned n = 1; n <= 1500; n++) {
			unsigned choice = (unsigned)g_test_rand_int_range(0, N_CHOICES);
			EventSet taken;

			add_choice(choice, n);
			sums.of[choices[choice].id][choices[choice].origin]++;
			if (g_test_rand_int_range(0, batch) != 0 && n < 1500)
				continue;
			event_set_take(&set, &taken);
			assert_bound(&taken);
			for (const EventEntry *entry = taken.head; entry; entry = entry->next)
				event_set_add_entry(&out, entry);
			event_set_clear(&taken);
			assert_bound(&out);
			if (g_test_rand_int_range(0, 3) != 0)
				continue;
			/* Emitted. */
			sum_up(&out, &found);
			event_set_clear(&out);
		}
		sum_up(&out, &found);
		g_assert_cmpmem(&sums, sizeof sums, &found, sizeof found);
		event_set_clear(&out);
		event_set_clear(&set);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/event-set-random/below-cap", test_random_below_cap);
	g_test_add_func("/event-set-random/at-cap", test_random_at_cap);
	g_test_add_func("/event-set-random/through", test_random_through);
	return g_test_run();
}
