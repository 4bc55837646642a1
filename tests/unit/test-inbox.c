/* exec/inbox.h: order, at most once, the bell; and that nothing is missed under many producers. */
#include <glib.h>
#include <poll.h>

#include "exec/inbox.h"
#include "util/clock.h"

static bool rings(const Inbox *inbox)
{
	struct pollfd p = {.fd = inbox->bell, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void test_order(void)
{
	InboxItem items[3] = {{.kind = 7}, {.kind = 8}, {.kind = 9}};
	Inbox inbox;

	g_assert_cmpint(inbox_init(&inbox), ==, 0);
	g_assert_null(inbox_take(&inbox, true));
	for (unsigned i = 0; i < 3; i++)
		inbox_post(&inbox, &items[i]);
	for (unsigned i = 0; i < 3; i++)
		g_assert_true(inbox_take(&inbox, true) == &items[i]);
	g_assert_null(inbox_take(&inbox, true));
	/* Emptied, it takes again. */
	inbox_post(&inbox, &items[1]);
	g_assert_true(inbox_take(&inbox, true) == &items[1]);
	g_assert_cmpuint(items[1].kind, ==, 8);
	inbox_done(&inbox);
}

static void test_once(void)
{
	InboxItem a = {0}, b = {0};
	Inbox inbox;

	g_assert_cmpint(inbox_init(&inbox), ==, 0);
	g_assert_true(inbox_post_once(&inbox, &a));
	g_assert_true(inbox_post_once(&inbox, &b));
	g_assert_false(inbox_post_once(&inbox, &a));
	/* Taken without being cleared, it counts as posted still: the consumer keeps it back. */
	g_assert_true(inbox_take(&inbox, false) == &a);
	g_assert_false(inbox_post_once(&inbox, &a));
	g_assert_true(inbox_take(&inbox, true) == &b);
	g_assert_true(inbox_post_once(&inbox, &b));
	inbox_clear_posted(&inbox, &a);
	g_assert_true(inbox_post_once(&inbox, &a));
	g_assert_true(inbox_take(&inbox, true) == &b);
	g_assert_true(inbox_take(&inbox, true) == &a);
	g_assert_null(inbox_take(&inbox, true));
	inbox_done(&inbox);
}

static void test_bell(void)
{
	InboxItem a = {0}, b = {0};
	Inbox inbox;

	g_assert_cmpint(inbox_init(&inbox), ==, 0);
	g_assert_false(rings(&inbox));
	inbox_post(&inbox, &a);
	g_assert_true(rings(&inbox));
	inbox_clear_bell(&inbox);
	/* The list is not empty: whoever has cleared the bell is about to take all of it. */
	inbox_post_once(&inbox, &b);
	g_assert_false(rings(&inbox));
	inbox_take(&inbox, true);
	inbox_take(&inbox, true);
	inbox_post_once(&inbox, &b);
	g_assert_true(rings(&inbox));
	/* Posted already: no second ring. */
	inbox_clear_bell(&inbox);
	g_assert_false(inbox_post_once(&inbox, &b));
	g_assert_false(rings(&inbox));
	inbox_take(&inbox, true);
	inbox_done(&inbox);
}

/* ---- many producers ---- */
#define PRODUCERS 4
#define ROUNDS    20000
#define SHARED    8

typedef struct Numbered {
	InboxItem item;
	unsigned producer, number;
} Numbered;

/* What a posted-once item stands for: the consumer must see every value, or a later one. */
typedef struct Slot {
	InboxItem item;
	Leaf mutex;
	unsigned wanted; /* mutex */
	unsigned seen;   /* the consumer's */
} Slot;

typedef struct Load {
	Inbox inbox;
	Slot slots[SHARED];
	Numbered *items[PRODUCERS];
} Load;

typedef struct Producer {
	Load *load;
	unsigned index;
} Producer;

static void produce(void *data)
{
	Producer *producer = data;
	Load *load = producer->load;

	for (unsigned i = 0; i < ROUNDS; i++) {
		Numbered *numbered = &load->items[producer->index][i];
		Slot *slot = &load->slots[i % SHARED];

		numbered->item.kind = 1;
		numbered->producer = producer->index;
		numbered->number = i;
		inbox_post(&load->inbox, &numbered->item);
		leaf_lock(&slot->mutex);
		slot->wanted++;
		leaf_unlock(&slot->mutex);
		inbox_post_once(&load->inbox, &slot->item);
	}
}

static void consume_one(Load *load, InboxItem *item, unsigned *n_of)
{
	Slot *slot = (Slot *)item;

	if (item->kind == 1) {
		Numbered *numbered = (Numbered *)item;

		/* The order of each producer is kept. */
		g_assert_cmpuint(numbered->number, ==, n_of[numbered->producer]);
		n_of[numbered->producer]++;
		return;
	}
	/* Cleared before the look: what is wanted from here on posts it again. */
	inbox_clear_posted(&load->inbox, item);
	leaf_lock(&slot->mutex);
	slot->seen = slot->wanted;
	leaf_unlock(&slot->mutex);
}

static bool is_complete(Load *load, const unsigned *n_of)
{
	for (unsigned i = 0; i < PRODUCERS; i++)
		if (n_of[i] < ROUNDS)
			return false;
	for (unsigned i = 0; i < SHARED; i++)
		if (load->slots[i].seen < PRODUCERS * ROUNDS / SHARED)
			return false;
	return true;
}

static void test_producers(void)
{
	Load *load = g_new0(Load, 1);
	Producer producers[PRODUCERS];
	pthread_t threads[PRODUCERS];
	unsigned n_of[PRODUCERS] = {0};
	uint64_t deadline_usec = clock_monotonic_usec() + 120 * USEC_PER_SEC;

	g_assert_cmpint(inbox_init(&load->inbox), ==, 0);
	for (unsigned i = 0; i < SHARED; i++)
		leaf_init(&load->slots[i].mutex);
	for (unsigned i = 0; i < PRODUCERS; i++) {
		load->items[i] = g_new0(Numbered, ROUNDS);
		producers[i] = (Producer){load, i};
		g_assert_cmpint(
			thread_start_joinable(&threads[i], "producer", &role_worker, produce, &producers[i]),
			==, 0);
	}
	while (!is_complete(load, n_of)) {
		struct pollfd p = {.fd = load->inbox.bell, .events = POLLIN};
		InboxItem *item;

		g_assert_cmpuint(clock_monotonic_usec(), <, deadline_usec);
		/* A ring that is missing shows as a timeout here. */
		g_assert_cmpint(poll(&p, 1, 60 * 1000), ==, 1);
		inbox_clear_bell(&load->inbox);
		while ((item = inbox_take(&load->inbox, false)))
			consume_one(load, item, n_of);
	}
	for (unsigned i = 0; i < PRODUCERS; i++) {
		thread_join(threads[i]);
		g_free(load->items[i]);
	}
	while (inbox_take(&load->inbox, true))
		;
	inbox_done(&load->inbox);
	g_free(load);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/inbox/order", test_order);
	g_test_add_func("/inbox/once", test_once);
	g_test_add_func("/inbox/bell", test_bell);
	g_test_add_func("/inbox/producers", test_producers);
	return g_test_run();
}
