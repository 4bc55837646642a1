/*
 * Definitions and transient VMs under random load: clients that create, define, change, rename, start, kill
 * and undefine VMs of a few names and UUIDs, and leave the bus amid it; in a second test roostd is killed,
 * too.
 *
 * What must be true at any time: whoever keeps the objects and their properties up to date by signals alone
 * has what GetManagedObjects says. At the end: every call of a client that is still there was answered once;
 * no name or UUID is reserved by nobody, no VM is bound to somebody who left, and when all VMs are gone
 * neither a file nor a QEMU is left.
 *
 * ROOST_STRESS_SECONDS: how long in all (10); ROOST_SEED: repeats a run.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../integration/fixture.h"

#define N_CLIENTS     5
#define N_NAMES       5
#define N_UUIDS       5
#define N_OUTSTANDING 4 /* per client */

static const char *const uuids[N_UUIDS] = {
	"00000000-0000-4000-8000-000000000000",
	"00000000-0000-4000-8000-000000000001",
	"00000000-0000-4000-8000-000000000002",
	"00000000-0000-4000-8000-000000000003",
	"00000000-0000-4000-8000-000000000004",
};

static const char *const scripts[] = {
	"on watchdog-set-action return {}\n",
	"on start exit 1\n",
	"on cont delay 20\n",
	"on query-status delay 10\non watchdog-set-action delay 10\n",
	"after 30 exit 3\n",
	"on cont event {\"event\":\"GUEST_PANICKED\",\"data\":{\"action\":\"poweroff\"}}\n",
};

typedef struct Caller {
	Client *client;
	gsize position;      /* messages before it were looked at */
	GHashTable *answers; /* serial -> member; NULL: answered */
	guint n_outstanding;
} Caller;

typedef struct World {
	Fixture *fixture;
	char *paths[N_UUIDS];
	char *scripts[G_N_ELEMENTS(scripts)];
	Caller callers[N_CLIENTS];
	GRand *random;
	GHashTable *results; /* member and error name -> count */
	GHashTable *
		members; /* serial of any client -> member; serials of two clients may meet, it is for show */
	/* As the fixture's client has been told. */
	gsize position;
	GHashTable *objects; /* path -> GHashTable: property -> GVariant */
	guint n_looks, n_ends;
} World;

static const char *const known_errors[] = {
	ROOST_ERROR("InvalidState"),
	ROOST_ERROR("Busy"),
	ROOST_ERROR("Cancelled"),
	ROOST_ERROR("QemuFailed"),
	ROOST_ERROR("Timeout"),
	ROOST_ERROR("Unresponsive"),
	ROOST_ERROR("VMExists"),
	ROOST_ERROR("NoSuchVM"),
	ROOST_ERROR("Conflict"),
	DBUS_ERROR("UnknownObject"),
	/* A file of a VM that is about to be gone; roostd has ended. */
	ROOST_ERROR("StorageFailed"),
	DBUS_ERROR("NoReply"),
	DBUS_ERROR("ServiceUnknown"),
	NULL,
};

static guint pick(World *world, guint n)
{
	return (guint)g_rand_int_range(world->random, 0, (gint32)n);
}

/* ---- calls ---- */
static GVariant *make(World *world, bool transient)
{
	bool bind = transient && pick(world, 2) == 0;
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GError) error = NULL;
	GVariant *args;

	g_string_printf(text,
		"({'Name': <'n%u'>, 'UUID': <'%s'>, 'Memory': <uint64 67108864>, 'Kernel': <'%s'>, "
		"'KernelCommandLine': <'mock=%s'>, 'Accelerator': <'tcg'>, 'Watchdog': <'i6300esb'>, "
		"'OnWatchdog': <'pause'>, 'Metadata': <@a{ss} {%s}>}",
		pick(world, N_NAMES), uuids[pick(world, N_UUIDS)], world->fixture->kernel,
		world->scripts[pick(world, G_N_ELEMENTS(scripts))], bind ? "'bound': ''" : "");
	if (transient)
		g_string_append_printf(text, ", @a{sv} {'Paused': <%s>, 'BindToCaller': <%s>}",
			pick(world, 4) == 0 ? "true" : "false", bind ? "true" : "false");
	g_string_append(text, transient ? ")" : ",)");
	args = g_variant_parse(
		G_VARIANT_TYPE(transient ? "(a{sv}a{sv})" : "(a{sv})"), text->str, NULL, NULL, &error);
	g_assert_no_error(error);
	return args;
}

static GVariant *make_change(World *world)
{
	g_autoptr(GString) text = g_string_new("(@a{sv} {'RNG': <true>");
	g_autoptr(GError) error = NULL;
	GVariant *args;

	if (pick(world, 2) == 0)
		g_string_append_printf(text, ", 'Name': <'n%u'>", pick(world, N_NAMES));
	if (pick(world, 2) == 0)
		g_string_append_printf(text, ", 'Description': <'%u'>", pick(world, 100));
	if (pick(world, 2) == 0)
		g_string_append_printf(
			text, ", 'OnWatchdog': <'%s'>", pick(world, 2) == 0 ? "none" : "pause");
	g_string_append(text, "}, @a{sv} {");
	if (pick(world, 4) == 0)
		g_string_append_printf(text, "'Revision': <uint64 %u>", 1 + pick(world, 5));
	g_string_append(text, "})");
	args = g_variant_parse(G_VARIANT_TYPE("(a{sv}a{sv})"), text->str, NULL, NULL, &error);
	g_assert_no_error(error);
	return args;
}

static guint32 send_to_vm(World *world, Client *client, const char **ret_member)
{
	static const char *const members[] = {"Start", "Start", "Kill", "Kill", "Rename", "Rename", "Rename",
		"Update", "Update", "Update", "Update", "Undefine", "Undefine", "Shutdown", "CancelOperation",
		"SetAutostart"};
	const char *member = members[pick(world, G_N_ELEMENTS(members))];
	g_autofree char *name = g_strdup_printf("n%u", pick(world, N_NAMES));
	GVariant *args = NULL;

	*ret_member = member;
	if (strcmp(member, "Rename") == 0)
		args = g_variant_new("(s)", name);
	else if (strcmp(member, "Update") == 0)
		args = make_change(world);
	else if (strcmp(member, "CancelOperation") == 0)
		args = g_variant_new("(t)", (guint64)0);
	else if (strcmp(member, "SetAutostart") == 0)
		args = g_variant_new("(b)", g_rand_boolean(world->random));
	else if (strcmp(member, "Kill") != 0)
		args = fixture_no_options();
	return client_send(client, world->paths[pick(world, N_UUIDS)], VM, member, args);
}

static guint32 send_random(World *world, Client *client, const char **ret_member)
{
	switch (pick(world, 10)) {
	case 0:
	case 1:
		*ret_member = "CreateVM";
		return client_send(client, PATH, MANAGER, "CreateVM", make(world, true));
	case 2:
		*ret_member = "DefineVM";
		return client_send(client, PATH, MANAGER, "DefineVM", make(world, false));
	case 3: {
		g_autofree char *name = g_strdup_printf("n%u", pick(world, N_NAMES));

		*ret_member = "KillVM";
		return client_send(client, PATH, MANAGER, "KillVM", g_variant_new("(s)", name));
	}
	default:
		return send_to_vm(world, client, ret_member);
	}
}

/* ---- answers ---- */
static void count(World *world, GDBusMessage *reply, const char *member)
{
	const char *name = g_dbus_message_get_error_name(reply);
	g_autofree char *key = g_strdup_printf("%s: %s", member, name ? name : "done");
	g_autoptr(GError) error = NULL;
	guint n;

	if (name && !g_strv_contains(known_errors, name)) {
		g_dbus_message_to_gerror(reply, &error);
		g_error("%s failed by %s", member, error->message);
	}
	n = GPOINTER_TO_UINT(g_hash_table_lookup(world->results, key));
	g_hash_table_insert(world->results, g_steal_pointer(&key), GUINT_TO_POINTER(n + 1));
}

static void look(World *world, Caller *caller)
{
	gsize end = client_mark(caller->client);

	for (; caller->position < end; caller->position++) {
		GDBusMessage *message = client_message(caller->client, caller->position);
		gpointer serial = GUINT_TO_POINTER(g_dbus_message_get_reply_serial(message)), member;

		if (!g_hash_table_lookup_extended(caller->answers, serial, NULL, &member))
			continue;
		/* Once. */
		g_assert_nonnull(member);
		count(world, message, member);
		g_hash_table_insert(caller->answers, serial, NULL);
		caller->n_outstanding--;
	}
}

static void await_answers(World *world, Caller *caller, guint n_left)
{
	look(world, caller);
	while (caller->n_outstanding > n_left) {
		client_await_message(caller->client, caller->position);
		look(world, caller);
	}
}

static void caller_init(World *world, Caller *caller)
{
	*caller = (Caller){
		.client = client_new(world->fixture->address), .answers = g_hash_table_new(NULL, NULL)};
}

static void caller_done(Caller *caller)
{
	client_free(caller->client);
	g_hash_table_unref(caller->answers);
}

static void call_once(World *world, Caller *caller)
{
	const char *member;
	guint32 serial;

	await_answers(world, caller, N_OUTSTANDING - 1);
	serial = send_random(world, caller->client, &member);
	g_hash_table_insert(caller->answers, GUINT_TO_POINTER(serial), (gpointer)member);
	caller->n_outstanding++;
}

/* ---- what is told ---- */
static void put_properties(GHashTable *object, GVariant *dict)
{
	GVariantIter iter;
	const char *name;
	GVariant *value;

	g_variant_iter_init(&iter, dict);
	while (g_variant_iter_next(&iter, "{&sv}", &name, &value))
		g_hash_table_insert(object, g_strdup(name), value);
}

static GHashTable *object_new(GVariant *interfaces)
{
	GHashTable *object =
		g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_variant_unref);
	g_autoptr(GVariant) dict = g_variant_lookup_value(interfaces, VM, G_VARIANT_TYPE_VARDICT);

	put_properties(object, dict);
	return object;
}

static void take_signal(World *world, GDBusMessage *message)
{
	const char *member = g_dbus_message_get_member(message), *path = g_dbus_message_get_path(message),
		   *name;
	GVariant *body = g_dbus_message_get_body(message);
	GHashTable *object;

	if (g_dbus_message_get_message_type(message) != G_DBUS_MESSAGE_TYPE_SIGNAL)
		return;
	if (strcmp(member, "InterfacesAdded") == 0) {
		g_autoptr(GVariant) interfaces = g_variant_get_child_value(body, 1);

		g_variant_get_child(body, 0, "&o", &path);
		g_assert_false(g_hash_table_contains(world->objects, path));
		g_hash_table_insert(world->objects, g_strdup(path), object_new(interfaces));
	} else if (strcmp(member, "InterfacesRemoved") == 0) {
		g_variant_get_child(body, 0, "&o", &path);
		g_assert_true(g_hash_table_remove(world->objects, path));
	} else if (strcmp(member, "VMNew") == 0) {
		g_variant_get(body, "(&s&o)", &name, &path);
		object = g_hash_table_lookup(world->objects, path);
		g_assert_cmpstr(g_variant_get_string(g_hash_table_lookup(object, "Name"), NULL), ==, name);
	} else if (strcmp(member, "PropertiesChanged") == 0 && g_str_has_prefix(path, PATH "/vm/")) {
		g_autoptr(GVariant) dict = g_variant_get_child_value(body, 1);

		object = g_hash_table_lookup(world->objects, path);
		g_assert_nonnull(object);
		put_properties(object, dict);
	}
}

static void take_signals(World *world, gsize end)
{
	for (; world->position < end; world->position++)
		take_signal(world, client_message(world->fixture->client, world->position));
}

static void assert_same(const char *path, GHashTable *told, GHashTable *asked)
{
	GHashTableIter iter;
	gpointer name, value;

	g_hash_table_iter_init(&iter, asked);
	while (g_hash_table_iter_next(&iter, &name, &value)) {
		GVariant *other = g_hash_table_lookup(told, name);
		g_autofree char *a = NULL, *b = NULL;

		/* It is not told. */
		if (strcmp(name, "EventSequence") == 0)
			continue;
		g_assert_nonnull(other);
		if (g_variant_equal(other, value))
			continue;
		a = g_variant_print(other, TRUE);
		b = g_variant_print(value, TRUE);
		g_error("%s: %s was told as %s, and is %s", path, (char *)name, a, b);
	}
}

/* The reply stands among the signals: at its place both are the same. */
static void check_told(World *world)
{
	Client *c = world->fixture->client;
	gsize reply = client_await_reply(
		c, client_send(c, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL));
	g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GVariant) objects =
		g_variant_get_child_value(g_dbus_message_get_body(client_message(c, reply)), 0);
	GVariantIter iter;
	GVariant *interfaces;
	const char *path;
	guint n = 0;

	take_signals(world, reply);
	g_variant_iter_init(&iter, objects);
	while (g_variant_iter_next(&iter, "{&o@a{sa{sv}}}", &path, &interfaces)) {
		g_autoptr(GHashTable) object = NULL;
		GHashTable *told = g_hash_table_lookup(world->objects, path);

		if (strcmp(path, PATH) != 0) {
			object = object_new(interfaces);
			g_assert_nonnull(told);
			assert_same(path, told, object);
			g_assert_true(g_hash_table_add(
				names, g_variant_dup_string(g_hash_table_lookup(object, "Name"), NULL)));
			n++;
		}
		g_variant_unref(interfaces);
	}
	g_assert_cmpuint(n, ==, g_hash_table_size(world->objects));
	world->n_looks++;
}

/* From what there is now on. */
static void begin_anew(World *world)
{
	Client *c = world->fixture->client;
	gsize reply = client_await_reply(
		c, client_send(c, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL));
	g_autoptr(GVariant) objects =
		g_variant_get_child_value(g_dbus_message_get_body(client_message(c, reply)), 0);
	GVariantIter iter;
	GVariant *interfaces;
	const char *path;

	g_hash_table_remove_all(world->objects);
	g_variant_iter_init(&iter, objects);
	while (g_variant_iter_next(&iter, "{&o@a{sa{sv}}}", &path, &interfaces)) {
		if (strcmp(path, PATH) != 0)
			g_hash_table_insert(world->objects, g_strdup(path), object_new(interfaces));
		g_variant_unref(interfaces);
	}
	world->position = reply + 1;
}

/* ---- the end ---- */
static bool is_transient(GHashTable *object)
{
	return !g_variant_get_boolean(g_hash_table_lookup(object, "Persistent"));
}

static void await_gone(World *world, const char *path)
{
	Client *c = world->fixture->client;

	while (g_hash_table_contains(world->objects, path)) {
		client_await_message(c, world->position);
		take_signals(world, client_mark(c));
	}
}

static bool is_bound(World *world, const char *path)
{
	Client *c = world->fixture->client;
	GDBusMessage *reply = client_message(
		c, client_await_reply(c, client_send(c, path, VM, "GetConfig", fixture_no_options())));
	g_autoptr(GVariant) config = NULL, metadata = NULL;

	if (g_dbus_message_get_error_name(reply))
		return false;
	config = g_variant_get_child_value(g_dbus_message_get_body(reply), 0);
	metadata = g_variant_lookup_value(config, "Metadata", NULL);
	return g_variant_n_children(metadata) > 0;
}

/* Nobody is left to whom a VM could be bound. */
static void await_bound(World *world)
{
	for (guint i = 0; i < N_UUIDS; i++)
		if (is_bound(world, world->paths[i]))
			await_gone(world, world->paths[i]);
}

static void remove_all(World *world)
{
	Client *c = world->fixture->client;

	for (guint i = 0; i < N_UUIDS; i++) {
		GHashTable *object;

		take_signals(world, client_sync(c));
		object = g_hash_table_lookup(world->objects, world->paths[i]);
		if (!object)
			continue;
		/* One that is going already may be gone. */
		client_await_reply(c, client_send(c, world->paths[i], VM, "Kill", NULL));
		if (!is_transient(object))
			client_do(c, world->paths[i], VM, "Undefine", fixture_no_options());
		await_gone(world, world->paths[i]);
	}
}

/* Every name and UUID is to be had. */
static void check_free(World *world)
{
	for (guint i = 0; i < N_NAMES; i++) {
		g_autofree char *name = g_strdup_printf("n%u", i),
				*uuid = g_strdup_printf("'UUID': <'%s'>", uuids[i % N_UUIDS]);
		g_autofree char *path = fixture_define(world->fixture, name, NULL, uuid);

		client_do(world->fixture->client, PATH, MANAGER, "GetVM", g_variant_new("(s)", name));
		client_do(world->fixture->client, path, VM, "Undefine", fixture_no_options());
	}
}

static void assert_empty(World *world, const char *below)
{
	g_autofree char *path = g_build_filename(world->fixture->dir, below, NULL);
	g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
	const char *name = folder ? g_dir_read_name(folder) : NULL;

	if (name)
		g_error("%s/%s is left", path, name);
}

static void assert_property(World *world, const char *name, guint32 expected)
{
	g_autoptr(GVariant) value = client_get(world->fixture->client, PATH, MANAGER, name);

	g_assert_cmpuint(g_variant_get_uint32(value), ==, expected);
}

static void check_all(World *world)
{
	for (guint i = 0; i < N_CLIENTS; i++)
		await_answers(world, &world->callers[i], 0);
	check_told(world);
	for (guint i = 0; i < N_CLIENTS; i++) {
		client_sync(world->callers[i].client);
		look(world, &world->callers[i]);
		caller_done(&world->callers[i]);
	}
	await_bound(world);
	remove_all(world);
	check_told(world);
	assert_property(world, "NVMs", 0);
	assert_property(world, "NRunning", 0);
	check_free(world);
	fixture_stop_roostd(world->fixture);
	assert_empty(world, "run/vm");
	assert_empty(world, "state/vms");
	assert_empty(world, "state/nvram");
	assert_empty(world, "state/images");
}

/* ---- a round ---- */
static void world_init(World *world)
{
	guint32 seed =
		g_getenv("ROOST_SEED") ? (guint32)strtoul(g_getenv("ROOST_SEED"), NULL, 0) : g_random_int();

	g_test_message("ROOST_SEED=%u", seed);
	*world = (World){.random = g_rand_new_with_seed(seed), .fixture = fixture_new(NULL)};
	world->results = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	world->objects =
		g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_hash_table_unref);
	for (guint i = 0; i < N_UUIDS; i++) {
		g_auto(GStrv) parts = g_strsplit(uuids[i], "-", 0);
		g_autofree char *hex = g_strjoinv("", parts);

		world->paths[i] = g_strdup_printf(PATH "/vm/%s", hex);
	}
	for (guint i = 0; i < G_N_ELEMENTS(scripts); i++) {
		g_autofree char *name = g_strdup_printf("script%u", i);

		world->scripts[i] = fixture_write(world->fixture, name, scripts[i], strlen(scripts[i]));
	}
	for (guint i = 0; i < N_CLIENTS; i++)
		caller_init(world, &world->callers[i]);
	begin_anew(world);
}

static void report(World *world)
{
	g_autoptr(GList) keys = g_list_sort(g_hash_table_get_keys(world->results), (GCompareFunc)g_strcmp0);

	g_test_message("%u looks, roostd was ended %u times", world->n_looks, world->n_ends);
	for (GList *l = keys; l; l = l->next)
		g_test_message("  %u %s", GPOINTER_TO_UINT(g_hash_table_lookup(world->results, l->data)),
			(char *)l->data);
}

static void world_done(World *world)
{
	report(world);
	for (guint i = 0; i < N_UUIDS; i++)
		g_free(world->paths[i]);
	for (guint i = 0; i < G_N_ELEMENTS(scripts); i++)
		g_free(world->scripts[i]);
	g_hash_table_unref(world->objects);
	g_hash_table_unref(world->results);
	g_rand_free(world->random);
	fixture_free(world->fixture);
}

static void end_roostd(World *world)
{
	if (g_rand_boolean(world->random))
		fixture_kill_roostd(world->fixture);
	else
		fixture_stop_roostd(world->fixture);
	fixture_start_roostd(world->fixture);
	begin_anew(world);
	world->n_ends++;
}

static void run(World *world, bool ends)
{
	const char *text = g_getenv("ROOST_STRESS_SECONDS");
	gint64 until = g_get_monotonic_time() + (text ? atoi(text) : 10) * G_TIME_SPAN_SECOND / 2;

	while (g_get_monotonic_time() < until) {
		Caller *caller = &world->callers[pick(world, N_CLIENTS)];
		guint what = pick(world, 1000);

		if (what < 10) {
			caller_done(caller);
			caller_init(world, caller);
		} else if (what < 30) {
			check_told(world);
		} else if (what < 35 && ends) {
			end_roostd(world);
		} else {
			call_once(world, caller);
		}
	}
}

static void test(gconstpointer ends)
{
	World world;

	world_init(&world);
	run(&world, ends != NULL);
	check_all(&world);
	world_done(&world);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_data_func("/stress/names", NULL, test);
	g_test_add_data_func("/stress/names/roostd-ends", "ends", test);
	return g_test_run();
}
