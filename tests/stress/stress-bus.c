/*
 * Eight clients, ten VMs, random lifecycle calls and kills, over a private bus: first with the stand-in, then
 * with real QEMU.
 *
 * What must be true at the end: every call was answered exactly once, with success or with an error that the
 * contract has; every VM's State is what its QEMU says; whoever rebuilt the states from signals alone has the
 * same; each VM's `previous` chain is whole; what a VM that was left alone was made to send adds up by
 * `Count`.
 *
 * ROOST_STRESS_SECONDS: how long in all (10); ROOST_SEED: repeats a run.
 */
#include <stdlib.h>
#include <string.h>

#include "../integration/fixture.h"

#define N_CLIENTS     8
#define N_VMS         10
#define N_OUTSTANDING 3 /* per client */
#define N_FLOOD       50000

typedef struct Caller {
	Client *client;
	gsize position;      /* messages before it were looked at */
	GHashTable *answers; /* serial -> number of replies */
	guint n_outstanding, n_sent;
} Caller;

typedef struct World {
	Fixture *fixture;
	char *vms[N_VMS];
	char *flooder;
	Caller callers[N_CLIENTS];
	GHashTable *errors; /* name -> count */
	GRand *random;
	guint n_done;
} World;

static const char *const known_errors[] = {
	ROOST_ERROR("InvalidState"),
	ROOST_ERROR("Busy"),
	ROOST_ERROR("Cancelled"),
	ROOST_ERROR("Timeout"),
	ROOST_ERROR("Unresponsive"),
	ROOST_ERROR("QemuFailed"),
	ROOST_ERROR("LimitReached"),
	NULL,
};

static guint stress_seconds(void)
{
	const char *text = g_getenv("ROOST_STRESS_SECONDS");

	return text ? (guint)atoi(text) : 10;
}

/* ---- calls ---- */
static guint32 send_random(World *world, Client *client, const char *vm)
{
	switch (g_rand_int_range(world->random, 0, 12)) {
	case 0:
	case 1:
	case 2:
		return client_send(client, vm, VM, "Start", fixture_no_options());
	case 3:
		return client_send(client, vm, VM, "Pause", NULL);
	case 4:
		return client_send(client, vm, VM, "Resume", NULL);
	case 5:
		return client_send(client, vm, VM, "Reset", NULL);
	case 6:
		return client_send(client, vm, VM, "Shutdown", g_variant_new_parsed("(@a{sv} {},)"));
	case 7:
		return client_send(client, vm, VM, "Reboot", g_variant_new_parsed("(@a{sv} {},)"));
	case 8:
		return client_send(
			client, vm, VM, "SetAutostart", g_variant_new("(b)", g_rand_boolean(world->random)));
	case 9:
		return client_send(client, vm, VM, "CancelOperation", g_variant_new("(t)", (guint64)0));
	case 10:
		return client_send(
			client, vm, VM, "ExecuteQMP", g_variant_new("(s)", "{\"execute\":\"query-status\"}"));
	default:
		return client_send(client, vm, VM, "Kill", NULL);
	}
}

static void count_error(World *world, GDBusMessage *reply)
{
	const char *name = g_dbus_message_get_error_name(reply);
	g_autoptr(GError) error = NULL;
	guint n;

	if (!name)
		return;
	if (!g_strv_contains(known_errors, name)) {
		g_dbus_message_to_gerror(reply, &error);
		g_error("a call failed by %s", error->message);
	}
	n = GPOINTER_TO_UINT(g_hash_table_lookup(world->errors, name));
	g_hash_table_insert(world->errors, g_strdup(name), GUINT_TO_POINTER(n + 1));
}

/* Looks at what has come to a client; replies to its calls are counted. */
static void look(World *world, Caller *caller)
{
	gsize end = client_mark(caller->client);

	for (; caller->position < end; caller->position++) {
		GDBusMessage *message = client_message(caller->client, caller->position);
		gpointer serial = GUINT_TO_POINTER(g_dbus_message_get_reply_serial(message)), n;

		if (!g_hash_table_lookup_extended(caller->answers, serial, NULL, &n))
			continue;
		g_assert_cmpuint(GPOINTER_TO_UINT(n), ==, 0);
		g_hash_table_insert(caller->answers, serial, GUINT_TO_POINTER(1));
		caller->n_outstanding--;
		world->n_done++;
		count_error(world, message);
	}
}

static void call_once(World *world, Caller *caller)
{
	const char *vm = world->vms[g_rand_int_range(world->random, 0, N_VMS)];
	guint32 serial;

	look(world, caller);
	while (caller->n_outstanding >= N_OUTSTANDING) {
		client_await_message(caller->client, caller->position);
		look(world, caller);
	}
	serial = send_random(world, caller->client, vm);
	g_hash_table_insert(caller->answers, GUINT_TO_POINTER(serial), GUINT_TO_POINTER(0));
	caller->n_outstanding++;
	caller->n_sent++;
}

/* ---- the end: what must be true ---- */
static void check_answers(World *world)
{
	for (guint i = 0; i < N_CLIENTS; i++) {
		Caller *caller = &world->callers[i];

		while (caller->n_outstanding > 0) {
			client_await_message(caller->client, caller->position);
			look(world, caller);
		}
		/* A second answer to any of them would have come by now. */
		client_sync(caller->client);
		look(world, caller);
		g_assert_cmpuint(g_hash_table_size(caller->answers), ==, caller->n_sent);
	}
}

/* A guest that was asked to shut down may take its time, or never do it: it is not waited for. */
static void await_rest(World *world, const char *vm)
{
	g_autoptr(GVariant) state = client_get(world->fixture->client, vm, VM, "State");

	if (strcmp(g_variant_get_string(state, NULL), "stopping") == 0)
		client_do(world->fixture->client, vm, VM, "Kill", NULL);
}

/* Whether the State is what QEMU says; `maybe`: it changed while it was looked at (a guest that powers off
 * late). */
static bool state_is_true(Client *client, const char *vm, bool *ret_maybe)
{
	g_autoptr(GVariant) state = client_get(client, vm, VM, "State"), after = NULL;
	const char *text = g_variant_get_string(state, NULL), *status;
	GDBusMessage *reply;
	bool runs;

	if (strcmp(text, "off") == 0 || strcmp(text, "crashed") == 0) {
		g_autoptr(GVariant) pid = client_get(client, vm, VM, "PID");

		*ret_maybe = false;
		return g_variant_get_uint32(pid) == 0;
	}
	reply = client_message(client,
		client_await_reply(client, client_send(client, vm, VM, "ExecuteQMP",
						   g_variant_new("(s)", "{\"execute\":\"query-status\"}"))));
	after = client_get(client, vm, VM, "State");
	*ret_maybe = !g_variant_equal(state, after);
	if (g_dbus_message_get_error_name(reply))
		return false;
	g_variant_get(g_dbus_message_get_body(reply), "(&s)", &status);
	runs = strstr(status, "\"running\": true") != NULL;
	return runs == (strcmp(text, "running") == 0);
}

static void check_state(World *world, const char *vm)
{
	bool is_true, maybe;

	do {
		await_rest(world, vm);
		is_true = state_is_true(world->fixture->client, vm, &maybe);
	} while (!is_true && maybe);
	g_assert_true(is_true);
}

/* Event signals of all VMs as the fixture's client heard them: the chain of each, and the flooder's sum. */
static guint64 check_events(World *world)
{
	g_autoptr(GHashTable) last = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	Client *client = world->fixture->client;
	gsize end = client_sync(client);
	guint64 sum = 0, newest = 0;

	for (gsize i = 0; i < end; i++) {
		GDBusMessage *message = client_message(client, i);
		const char *path = g_dbus_message_get_path(message), *name;
		guint64 sequence, previous, *known;
		guint32 count;

		if (g_strcmp0(g_dbus_message_get_member(message), "Event") != 0)
			continue;
		g_variant_get(g_dbus_message_get_body(message), "(t&suttt&s@a{sv})", &sequence, &name, &count,
			&previous, NULL, NULL, NULL, NULL);
		known = g_hash_table_lookup(last, path);
		g_assert_cmpuint(previous, ==, known ? *known : 0);
		g_assert_cmpuint(sequence, >, newest);
		newest = sequence;
		g_hash_table_insert(last, g_strdup(path), g_memdup2(&sequence, sizeof sequence));
		if (g_strcmp0(path, world->flooder) == 0 && strcmp(name, "GUEST_CRASHLOADED") == 0)
			sum += count;
	}
	return sum;
}

/* The states as signals told them, against GetManagedObjects. */
static void check_rebuilt(World *world)
{
	g_autoptr(GHashTable) states = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_autoptr(GVariant) objects = client_call(world->fixture->client, PATH,
		"org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL);
	g_autoptr(GVariant) dict = NULL;
	Client *client = world->fixture->client;
	gsize end = client_sync(client);

	for (gsize i = 0; i < end; i++) {
		GDBusMessage *message = client_message(client, i);
		g_autoptr(GVariant) changed = NULL;
		const char *state;

		if (g_strcmp0(g_dbus_message_get_member(message), "PropertiesChanged") != 0)
			continue;
		changed = g_variant_get_child_value(g_dbus_message_get_body(message), 1);
		if (g_variant_lookup(changed, "State", "&s", &state))
			g_hash_table_insert(
				states, g_strdup(g_dbus_message_get_path(message)), g_strdup(state));
	}
	dict = g_variant_get_child_value(objects, 0);
	for (guint i = 0; i < N_VMS; i++) {
		const char *told = g_hash_table_lookup(states, world->vms[i]), *now;
		g_autoptr(GVariant) interfaces =
			g_variant_lookup_value(dict, world->vms[i], G_VARIANT_TYPE("a{sa{sv}}"));
		g_autoptr(GVariant) properties =
			g_variant_lookup_value(interfaces, VM, G_VARIANT_TYPE_VARDICT);

		g_assert_true(g_variant_lookup(properties, "State", "&s", &now));
		g_assert_cmpstr(told ? told : "off", ==, now);
	}
}

/* ---- a round ---- */
static void world_init(World *world, const FixtureOptions *options)
{
	guint32 seed =
		g_getenv("ROOST_SEED") ? (guint32)strtoul(g_getenv("ROOST_SEED"), NULL, 0) : g_random_int();

	g_test_message("ROOST_SEED=%u", seed);
	world->random = g_rand_new_with_seed(seed);
	world->fixture = fixture_new(options);
	world->errors = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	for (guint i = 0; i < N_VMS; i++) {
		g_autofree char *name = g_strdup_printf("vm%u", i);

		world->vms[i] = fixture_define(world->fixture, name,
			i % 3 == 0 ? "on stop delay 30\non cont event "
				     "{\"event\":\"RTC_CHANGE\",\"data\":{\"offset\":1}}\n"
				   : "every 5 event {\"event\":\"BALLOON_CHANGE\",\"data\":{\"actual\":1}}\n",
			options->real_qemu ? "'Accelerator': <'tcg'>, 'MachineType': <'pc'>" : NULL);
	}
	for (guint i = 0; i < N_CLIENTS; i++)
		world->callers[i] = (Caller){
			.client = client_new(world->fixture->address),
			.answers = g_hash_table_new(NULL, NULL),
		};
}

static void world_done(World *world)
{
	for (guint i = 0; i < N_CLIENTS; i++) {
		client_free(world->callers[i].client);
		g_hash_table_unref(world->callers[i].answers);
	}
	for (guint i = 0; i < N_VMS; i++)
		g_free(world->vms[i]);
	g_free(world->flooder);
	g_hash_table_unref(world->errors);
	g_rand_free(world->random);
	fixture_free(world->fixture);
}

static void run_clients(World *world, double seconds)
{
	gint64 until = g_get_monotonic_time() + (gint64)(seconds * G_TIME_SPAN_SECOND);

	while (g_get_monotonic_time() < until)
		call_once(world, &world->callers[g_rand_int_range(world->random, 0, N_CLIENTS)]);
}

static void report(World *world)
{
	GHashTableIter iter;
	gpointer name, n;

	g_test_message("%u calls answered", world->n_done);
	g_hash_table_iter_init(&iter, world->errors);
	while (g_hash_table_iter_next(&iter, &name, &n))
		g_test_message("  %u by %s", GPOINTER_TO_UINT(n), (char *)name);
}

static void check_all(World *world)
{
	check_answers(world);
	for (guint i = 0; i < N_VMS; i++)
		check_state(world, world->vms[i]);
	check_rebuilt(world);
	report(world);
	g_assert_cmpuint(world->n_done, >, 50);
	for (guint i = 0; i < N_VMS; i++)
		client_do(world->fixture->client, world->vms[i], VM, "Kill", NULL);
}

static void test_stand_in(void)
{
	FixtureOptions options = {0};
	World world = {0};

	world_init(&world, &options);
	world.flooder = fixture_define(world.fixture, "flooder",
		"flood " G_STRINGIFY(
			N_FLOOD) " {\"event\":\"GUEST_CRASHLOADED\",\"data\":{\"action\":\"run\"}}\n",
		NULL);
	fixture_start_vm(world.fixture, world.flooder);
	run_clients(&world, stress_seconds() / 2.0);
	check_all(&world);
	/* QMP answers in order: behind this answer no event of the flood is left. */
	g_variant_unref(client_call(world.fixture->client, world.flooder, VM, "ExecuteQMP",
		g_variant_new("(s)", "{\"execute\":\"query-status\"}")));
	g_assert_cmpuint(check_events(&world), ==, N_FLOOD);
	client_do(world.fixture->client, world.flooder, VM, "Kill", NULL);
	world_done(&world);
}

static void test_real_qemu(void)
{
	FixtureOptions options = {.real_qemu = true};
	World world = {0};

	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return;
	}
	world_init(&world, &options);
	run_clients(&world, stress_seconds() / 2.0);
	check_all(&world);
	check_events(&world);
	world_done(&world);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/stress/bus/stand-in", test_stand_in);
	g_test_add_func("/stress/bus/real-qemu", test_real_qemu);
	return g_test_run();
}
