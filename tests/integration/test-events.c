/* Events: nothing is lost or counted twice, a noisy VM is bounded, and the history knows what it has
 * forgotten. */
#include <stdlib.h>

#include "fixture.h"

#define CRASH "{\"event\": \"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}}"

/* The arguments of an Event signal. */
typedef struct Event {
	guint64 sequence, previous;
	const char *name;
	guint count;
} Event;

static bool get_event(GDBusMessage *message, const char *path, Event *ret)
{
	if (g_dbus_message_get_message_type(message) != G_DBUS_MESSAGE_TYPE_SIGNAL ||
		g_strcmp0(g_dbus_message_get_path(message), path) != 0 ||
		g_strcmp0(g_dbus_message_get_member(message), "Event") != 0)
		return false;
	g_variant_get(g_dbus_message_get_body(message), "(t&sutttsa{sv})", &ret->sequence, &ret->name,
		&ret->count, &ret->previous, NULL, NULL, NULL, NULL);
	return true;
}

/* Waits until the counts of this event add up to `total`; checks the chain of numbers; returns how many
 * signals it took. */
static guint await_total(Client *c, gsize mark, const char *path, const char *name, guint64 total)
{
	guint64 sum = 0, previous = 0;
	gsize position = mark;
	guint n = 0;

	while (sum < total) {
		Event event;

		position = client_await(c, position, path, "Event", NULL);
		g_assert_true(get_event(client_message(c, position++), path, &event));
		if (previous != 0)
			g_assert_cmpuint(event.previous, ==, previous);
		g_assert_cmpuint(event.sequence, >, event.previous);
		previous = event.sequence;
		if (!g_str_equal(event.name, name))
			continue;
		sum += event.count;
		n++;
	}
	g_assert_cmpuint(sum, ==, total);
	return n;
}

static void test_flood(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "flood 200000 " CRASH "\n", NULL);
	g_autofree char *db = fixture_define(f, "db", NULL, NULL);
	gint64 since;
	gsize mark = client_mark(c);
	guint n;

	fixture_start_vm(f, db);
	since = g_get_monotonic_time();
	fixture_start_vm(f, web);
	/* Another VM goes on. */
	for (unsigned i = 0; i < 10; i++) {
		client_do(c, db, VM, "Pause", NULL);
		client_do(c, db, VM, "Resume", NULL);
	}
	n = await_total(c, mark, web, "GUEST_CRASHLOADED", 200000);
	g_test_message(
		"200000 events in %u signals, %.1f s", n, (double)(g_get_monotonic_time() - since) / 1e6);
	/* What a method brings along comes besides: there were two. */
	g_assert_cmpuint(n, <=, (guint)((g_get_monotonic_time() - since) / 20000) + 60);
	client_do(c, web, VM, "Pause", NULL);
}

/* However long it lasts. */
static void test_rate(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "flood 0 " CRASH "\n", NULL);
	gsize position;
	gint64 since;

	fixture_start_vm(f, web);
	position = client_mark(c);
	since = g_get_monotonic_time();
	for (unsigned i = 0; i < 150; i++)
		position = client_await(c, position, web, "Event", "(*, 'GUEST_CRASHLOADED', *") + 1;
	/* 50 batches a second, the first ten of them at once. */
	g_assert_cmpint(g_get_monotonic_time() - since, >, 2 * G_TIME_SPAN_SECOND);
	/* In the midst of it, it is paused, and killed. */
	client_do(c, web, VM, "Pause", NULL);
	client_assert_property(c, web, "State", "'paused'");
	client_do(c, web, VM, "Resume", NULL);
	client_do(c, web, VM, "Kill", NULL);
	client_assert_property(c, web, "State", "'off'");
}

/* Names that nobody knows, each another: counted, bounded. */
static void test_unknown(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "flood 20000 {\"event\": \"WEIRD_$N\"}\n", NULL);
	guint64 sum = 0;
	gsize position = client_mark(c);
	guint n = 0;

	fixture_start_vm(f, web);
	while (sum < 20000) {
		Event event;

		position = client_await(c, position, web, "Event", "(*, 'WEIRD_*");
		g_assert_true(get_event(client_message(c, position++), web, &event));
		sum += event.count;
		n++;
	}
	g_assert_cmpuint(sum, ==, 20000);
	g_test_message("%u signals", n);
}

/* ---- the history ---- */
typedef struct History {
	GVariant *events;
	gboolean gap;
	gsize n;
	guint64 first, last;
} History;

static History get_events(Client *c, guint64 after, guint max, const char *vm)
{
	GVariant *options = vm ? g_variant_new_parsed("{'VM': <%o>}", vm) : g_variant_new_parsed("@a{sv} {}");
	g_autoptr(GVariant) result =
		client_call(c, PATH, MANAGER, "GetEvents", g_variant_new("(tu@a{sv})", after, max, options));
	History history = {0};
	guint64 last = 0;

	g_variant_get(result, "(b@a(otsutttsa{sv}))", &history.gap, &history.events);
	history.n = g_variant_n_children(history.events);
	for (gsize i = 0; i < history.n; i++) {
		g_autoptr(GVariant) event = g_variant_get_child_value(history.events, i);
		const char *path;
		guint64 sequence;

		g_variant_get(event, "(&otsutttsa{sv})", &path, &sequence, NULL, NULL, NULL, NULL, NULL, NULL,
			NULL);
		if (vm)
			g_assert_cmpstr(path, ==, vm);
		g_assert_cmpuint(sequence, >, last);
		last = sequence;
		if (i == 0)
			history.first = sequence;
	}
	history.last = last;
	g_variant_unref(history.events);
	return history;
}

/* A script with many different events at each stop: none of them may be merged. */
static char *many_events(void)
{
	GString *script = g_string_new(NULL);

	for (unsigned i = 0; i < 60; i++)
		g_string_append_printf(script,
			"on stop event {\"event\": \"DEVICE_DELETED\", \"data\": {\"path\": \"/dev/%u\"}}\n",
			i);
	return g_string_free(script, FALSE);
}

static void test_history(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *script = many_events();
	g_autofree char *web = fixture_define(f, "web", script, NULL),
			*db = fixture_define(f, "db", NULL, NULL);
	g_autoptr(GVariant) sequence = NULL, own = NULL;
	History all, half, noisy, quiet;

	g_assert_cmpuint(get_events(c, 0, 0, NULL).n, ==, 0);
	fixture_start_vm(f, db);
	client_do(c, db, VM, "Pause", NULL);
	fixture_start_vm(f, web);
	all = get_events(c, 0, 0, NULL);
	g_assert_false(all.gap);
	g_assert_cmpuint(all.first, ==, 1);
	g_assert_cmpuint(all.n, ==, all.last);
	half = get_events(c, 1, 1, NULL);
	g_assert_true(half.n == 1 && half.first == 2 && !half.gap);
	for (unsigned i = 0; i < 12; i++) {
		client_do(c, web, VM, "Pause", NULL);
		client_do(c, web, VM, "Resume", NULL);
	}
	/* The noisy one has lost its past, the other has not. */
	noisy = get_events(c, 0, 0, web);
	g_assert_true(noisy.gap);
	g_assert_cmpuint(noisy.n, ==, 512);
	quiet = get_events(c, 0, 0, db);
	g_assert_false(quiet.gap);
	g_assert_cmpuint(quiet.n, ==, 2);
	g_assert_true(get_events(c, 0, 0, NULL).gap);
	g_assert_false(get_events(c, noisy.first - 1, 0, web).gap);
	/* What GetEvents gives is what was signalled. */
	sequence = client_get(c, PATH, MANAGER, "EventSequence");
	g_assert_cmpuint(g_variant_get_uint64(sequence), ==, noisy.last);
	own = client_get(c, web, VM, "EventSequence");
	g_assert_cmpuint(g_variant_get_uint64(own), ==, noisy.last);
	g_assert_cmpuint(
		client_count(c, 0, client_sync(c), web, "Event", "(*, 'DEVICE_DELETED', 1, *"), ==, 12 * 60);
	/* A number from an earlier life of the service. */
	g_assert_true(get_events(c, noisy.last + 1000, 0, NULL).gap);
	/* What a VM that is gone has said stays. */
	client_do(c, db, VM, "Kill", NULL);
	client_do(c, db, VM, "Undefine", fixture_no_options());
	g_assert_cmpuint(get_events(c, 0, 0, db).n, >=, 2);
}

/* The data are QEMU's, in D-Bus's types. */
static void test_data(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web",
		"on stop event {\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"device\": \"d\", \"node-name\": "
		"\"n\", "
		"\"operation\": \"write\", \"action\": \"stop\", \"nospace\": true, \"reason\": \"No space "
		"left\"}}\n"
		"on stop event {\"event\": \"ODD\", \"data\": {\"i\": -5, \"d\": 1.5, \"n\": null, \"a\": "
		"[1, \"x\"], "
		"\"o\": {\"k\": false}}}\n",
		NULL);
	gsize mark;

	fixture_start_vm(f, web);
	mark = client_mark(c);
	client_do(c, web, VM, "Pause", NULL);
	client_await(c, mark, web, "Event",
		"(*, 'BLOCK_IO_ERROR', 1, *, 'qemu', {*'nospace': <true>*'reason': <'No space left'>*");
	client_await(c, mark, web, "Event",
		"(*, 'ODD', 1, *, 'qemu', {'i': <int64 -5>, 'd': <1.5>, 'a': <[<int64 1>, <'x'>]>, 'o': "
		"<{'k': <false>}>})");
}

/* The order within a batch: properties, states, events. */
static void test_order(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	gsize mark, properties, state, event, reply;
	guint32 serial;

	fixture_start_vm(f, web);
	/* Held up, so that all of it is one batch. */
	mark = client_mark(c);
	serial = client_send(c, web, VM, "Pause", NULL);
	g_variant_unref(client_result(c, serial));
	reply = client_await_reply(c, serial);
	properties = client_find(c, mark, reply, web, "PropertiesChanged", "*'State': <'paused'>*");
	state = client_find(c, mark, reply, web, "StateChanged", NULL);
	event = client_find(c, mark, reply, web, "Event", "(*, 'STOP', *");
	g_assert_cmpuint(properties, <, state);
	g_assert_cmpuint(state, <, reply);
	g_assert_cmpuint(event, <, reply);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/events/flood", test_flood);
	g_test_add_func("/events/rate", test_rate);
	g_test_add_func("/events/unknown", test_unknown);
	g_test_add_func("/events/history", test_history);
	g_test_add_func("/events/data", test_data);
	g_test_add_func("/events/order", test_order);
	return g_test_run();
}
