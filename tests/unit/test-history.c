/* The history of events: order, bounds, gaps. */
#include <glib.h>

#include "bus/history.h"

static uint64_t add(History *history, const char *vm, uint64_t sequence)
{
	g_autoptr(GVariant) data = g_variant_ref_sink(g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0));
	HistoryEvent event = {
		.vm = vm, .sequence = sequence, .name = "RESET", .count = 1, .origin = "qemu", .data = data};

	return history_add(history, &event);
}

typedef struct Reading {
	GArray *sequences;
	unsigned stop_after; /* 0: never */
} Reading;

static bool collect(const HistoryEvent *event, void *user)
{
	Reading *reading = user;

	g_assert_cmpstr(event->name, ==, "RESET");
	if (reading->stop_after != 0 && reading->sequences->len == reading->stop_after)
		return false;
	g_array_append_val(reading->sequences, event->sequence);
	return true;
}

/* Reads, and checks the gap, how many came, the first and the last. */
static void check(const History *history, const char *vm, uint64_t after, uint32_t max, bool gap, unsigned n,
	uint64_t first, uint64_t last)
{
	g_autoptr(GArray) sequences = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	Reading reading = {.sequences = sequences};

	g_assert_cmpint(history_read(history, vm, after, max, collect, &reading), ==, gap);
	g_assert_cmpuint(sequences->len, ==, n);
	if (n > 0) {
		g_assert_cmpuint(g_array_index(sequences, uint64_t, 0), ==, first);
		g_assert_cmpuint(g_array_index(sequences, uint64_t, n - 1), ==, last);
	}
	for (unsigned i = 1; i < sequences->len; i++)
		g_assert_cmpuint(
			g_array_index(sequences, uint64_t, i - 1), <, g_array_index(sequences, uint64_t, i));
}

static void test_small(void)
{
	g_autoptr(History) history = history_new();

	check(history, NULL, 0, 0, false, 0, 0, 0);
	g_assert_cmpuint(add(history, "/a", 1), ==, 0);
	g_assert_cmpuint(add(history, "/b", 2), ==, 0);
	g_assert_cmpuint(add(history, "/a", 3), ==, 1);
	g_assert_cmpuint(history_last(history, NULL), ==, 3);
	g_assert_cmpuint(history_last(history, "/b"), ==, 2);
	g_assert_cmpuint(history_last(history, "/c"), ==, 0);
	check(history, NULL, 0, 0, false, 3, 1, 3);
	check(history, NULL, 1, 0, false, 2, 2, 3);
	check(history, NULL, 3, 0, false, 0, 0, 0);
	check(history, NULL, 0, 2, false, 2, 1, 2);
	check(history, "/a", 0, 0, false, 2, 1, 3);
	check(history, "/a", 1, 0, false, 1, 3, 3);
	check(history, "/c", 0, 0, false, 0, 0, 0);
}

/* A noisy VM loses its own past, and the others keep theirs. */
static void test_noisy(void)
{
	g_autoptr(History) history = history_new();

	add(history, "/quiet", 1);
	for (uint64_t i = 2; i <= 1000; i++)
		g_assert_cmpuint(add(history, "/noisy", i), ==, i == 2 ? 0 : i - 1);
	check(history, "/noisy", 0, 0, true, HISTORY_VM_MAX, 1001 - HISTORY_VM_MAX, 1000);
	check(history, "/noisy", 1000 - HISTORY_VM_MAX, 0, false, HISTORY_VM_MAX, 1001 - HISTORY_VM_MAX,
		1000);
	check(history, "/noisy", 999 - HISTORY_VM_MAX, 0, true, HISTORY_VM_MAX, 1001 - HISTORY_VM_MAX, 1000);
	check(history, "/quiet", 0, 0, false, 1, 1, 1);
	check(history, NULL, 0, 0, true, HISTORY_VM_MAX + 1, 1, 1000);
}

static void test_full(void)
{
	g_autoptr(History) history = history_new();
	uint64_t n = HISTORY_MAX + 100;

	for (uint64_t i = 1; i <= n; i++) {
		g_autofree char *vm = g_strdup_printf("/%u", (unsigned)(i % 40));

		add(history, vm, i);
	}
	check(history, NULL, 0, 0, true, HISTORY_MAX, 101, n);
	check(history, NULL, 100, 0, false, HISTORY_MAX, 101, n);
	check(history, NULL, 99, 0, true, HISTORY_MAX, 101, n);
}

/* A number that was not given yet is of an earlier life of the service. */
static void test_future(void)
{
	g_autoptr(History) history = history_new();

	check(history, NULL, 5, 0, true, 0, 0, 0);
	add(history, "/a", 1);
	check(history, NULL, 5, 0, true, 1, 1, 1);
	check(history, NULL, 1, 0, false, 0, 0, 0);
}

static void test_forget(void)
{
	g_autoptr(History) history = history_new();

	add(history, "/gone", 1);
	history_forget(history, "/gone");
	history_forget(history, "/never");
	g_assert_true(history_knows(history, "/gone"));
	check(history, "/gone", 0, 0, false, 1, 1, 1);
	for (uint64_t i = 2; i <= HISTORY_MAX + 1; i++) {
		g_autofree char *vm = g_strdup_printf("/%u", (unsigned)(i % 40));

		add(history, vm, i);
	}
	g_assert_false(history_knows(history, "/gone"));
	/* It is defined again, and goes on. */
	add(history, "/gone", HISTORY_MAX + 2);
	g_assert_true(history_knows(history, "/gone"));
	check(history, "/gone", 1, 0, false, 1, HISTORY_MAX + 2, HISTORY_MAX + 2);
}

/* The reader's own limit. */
static void test_stop(void)
{
	g_autoptr(History) history = history_new();
	g_autoptr(GArray) sequences = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	Reading reading = {.sequences = sequences, .stop_after = 3};

	for (uint64_t i = 1; i <= 10; i++)
		add(history, "/a", i);
	g_assert_false(history_read(history, NULL, 0, 0, collect, &reading));
	g_assert_cmpuint(sequences->len, ==, 3);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/history/small", test_small);
	g_test_add_func("/history/noisy", test_noisy);
	g_test_add_func("/history/full", test_full);
	g_test_add_func("/history/future", test_future);
	g_test_add_func("/history/forget", test_forget);
	g_test_add_func("/history/stop", test_stop);
	return g_test_run();
}
