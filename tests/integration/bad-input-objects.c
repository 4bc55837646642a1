/* What is not there: objects, interfaces, members, properties. And what is there and can't be written to. */
#include <string.h>

#include "bad-input.h"

#define PROPERTIES "org.freedesktop.DBus.Properties"

/* What is beyond sd-bus drops: bad-input-wire.c. */
#define PATH_SIZE_MAX 65536

/* Of an interface, a member: what the bus takes for one. */
#define LONG_NAME_LENGTH 255

typedef struct Place {
	const char *name, *path, *interface, *member;
} Place;

static char *replace_word(char *text_consume, const char *word)
{
	g_autofree char *owned = text_consume;
	GString *text = g_string_new(owned);

	g_string_replace(text, word, "<it>", 0);
	return g_string_free(text, FALSE);
}

static void try_place(World *world, const Place *place, GVariant *args, const char *subject)
{
	const Culprits anyone = {0};
	g_auto(Answer) answer = {0};
	g_autoptr(GVariant) sent = g_variant_ref_sink(g_variant_new_string(place->path));
	g_autofree char *outcome = NULL;

	world_ask(world, place->path, place->interface, place->member, args, &answer);
	outcome = world_outcome(world, &answer, &anyone, sent, NULL, NULL);
	/* One line for all methods. */
	if (strcmp(place->name, place->member) == 0)
		outcome = replace_word(outcome, place->member);
	table_add(world->table, subject, "", place->name, outcome);
	/* Nothing of this is anything. */
	if (!answer.error)
		g_error("%s: %s succeeds", subject, place->name);
}

static GVariant *no_options(void)
{
	return g_variant_new_parsed("(@a{sv} {},)");
}

/* ---- objects ---- */
static void try_objects(World *world)
{
	g_autofree char *upper = g_ascii_strup(strrchr(world->off.path, '/') + 1, -1);
	g_autofree char *upper_path = g_strdup_printf(PATH "/vm/%s", upper);
	g_autofree char *below = g_strconcat(world->off.path, "/disk", NULL);
	g_autofree char *longer = g_strconcat(world->off.path, "0", NULL);
	g_autofree char *shorter = g_strndup(world->off.path, strlen(world->off.path) - 1);
	g_autofree char *escaped = g_strconcat(PATH "/vm/", "_2e_2e", NULL);
	g_autofree char *large = g_strnfill(PATH_SIZE_MAX, 'a');
	g_autofree char *large_below = g_strdup_printf("%s/%.*s", world->off.path, 60000, large);
	const Place places[] = {
		{"/", "/", VM, "Start"},
		{"/org", "/org", VM, "Start"},
		{PATH, PATH, VM, "Start"},
		{PATH "/vm", PATH "/vm", VM, "Start"},
		{"no VM's", PATH "/vm/ffffffffffffffffffffffffffffffff", VM, "Start"},
		{"in upper case", upper_path, VM, "Start"},
		{"below a VM", below, VM, "Start"},
		{"a digit more", longer, VM, "Start"},
		{"a digit less", shorter, VM, "Start"},
		{"..", escaped, VM, "Start"},
		{"/org/freedesktop/DBus", "/org/freedesktop/DBus", VM, "Start"},
		{"60,000 bytes, below a VM", large_below, VM, "Start"},
		{"64 KiB", large, VM, "Start"},
		{"a VM, called as the Manager", world->off.path, MANAGER, "ListVMs"},
	};

	*large = '/';
	for (gsize i = 0; i < G_N_ELEMENTS(places); i++)
		try_place(world, &places[i], strcmp(places[i].member, "Start") == 0 ? no_options() : NULL,
			"(objects)");
}

/* ---- members ---- */
static void try_members(World *world, const Service *service)
{
	g_autofree char *name = g_strnfill(LONG_NAME_LENGTH, 'a');
	g_autofree char *interface = g_strnfill(LONG_NAME_LENGTH, 'a');
	const Place places[] = {
		{"no such method of Manager", PATH, MANAGER, "NoSuchMethod"},
		{"no such method of a VM", world->off.path, VM, "NoSuchMethod"},
		{"in lower case", world->off.path, VM, "start"},
		{"a method of 255 bytes", world->off.path, VM, name},
		{"a signal", world->off.path, VM, "StateChanged"},
		{"a property", world->off.path, VM, "State"},
		{"no such interface", world->off.path, "org.roost1.NoSuchInterface", "Start"},
		{"an interface of 255 bytes", world->off.path, interface, "Start"},
		{"no interface", world->off.path, NULL, "NoSuchMethod"},
		{"no such method of Peer", PATH, "org.freedesktop.DBus.Peer", "NoSuchMethod"},
		{"no such method of Introspectable", PATH, "org.freedesktop.DBus.Introspectable",
			"NoSuchMethod"},
		{"no such method of Properties", PATH, PROPERTIES, "NoSuchMethod"},
		{"no such method of ObjectManager", PATH, "org.freedesktop.DBus.ObjectManager",
			"NoSuchMethod"},
		{"ObjectManager of a VM", world->off.path, "org.freedesktop.DBus.ObjectManager",
			"GetManagedObjects"},
	};

	interface[100] = '.';
	for (gsize i = 0; i < G_N_ELEMENTS(places); i++)
		try_place(world, &places[i], NULL, "(members)");
	/* Each method is of its own interface alone. */
	for (guint i = 0; i < service->methods->len; i++) {
		const Method *method = service->methods->pdata[i];
		const Place place = {method->name, method->is_vm ? world->off.path : PATH, "org.roost1.Other",
			method->name};

		if (method->is_ours)
			try_place(world, &place, method_arguments(world, method, 0, NULL),
				"(another interface)");
	}
}

/* ---- properties ---- */
static void try_get(
	World *world, const char *path, const char *case_name, const char *interface, const char *name)
{
	g_autoptr(GVariant) args = g_variant_ref_sink(g_variant_new("(ss)", interface, name));
	const Culprits anyone = {0};
	g_auto(Answer) answer = {0};
	g_autofree char *outcome = NULL;

	world_ask(world, path, PROPERTIES, "Get", args, &answer);
	outcome = world_outcome(world, &answer, &anyone, args, NULL, NULL);
	table_add(world->table, "(properties) Get", "", case_name, outcome);
	g_assert_nonnull(answer.error);
}

static void try_set(World *world, const char *path, const char *interface, const char *name, GVariant *value)
{
	g_autoptr(GVariant) args = g_variant_ref_sink(g_variant_new("(ssv)", interface, name, value));
	g_autofree char *case_name = g_strdup_printf("%s (%s)", name, g_variant_get_type_string(value));
	const Culprits anyone = {0};
	g_auto(Answer) answer = {0};
	g_autofree char *outcome = NULL;

	world_ask(world, path, PROPERTIES, "Set", args, &answer);
	outcome = replace_word(world_outcome(world, &answer, &anyone, args, NULL, NULL), name);
	table_add(world->table, "(properties) Set", "", case_name, outcome);
	g_assert_nonnull(answer.error);
}

static void set_all(World *world, const GDBusNodeInfo *node, const char *path, const char *interface)
{
	GDBusInterfaceInfo *info = g_dbus_node_info_lookup_interface((GDBusNodeInfo *)node, interface);

	for (GDBusPropertyInfo **property = info->properties; property && *property; property++) {
		g_auto(Answer) answer = {0};
		g_autoptr(GVariant) value = NULL,
				    other = g_variant_ref_sink(g_variant_new_parsed("(1, 'a')"));

		world_ask(world, path, PROPERTIES, "Get", g_variant_new("(ss)", interface, (*property)->name),
			&answer);
		g_assert_null(answer.error);
		g_variant_get(answer.result, "(v)", &value);
		/* Not the value that it has either. */
		try_set(world, path, interface, (*property)->name, value);
		try_set(world, path, interface, (*property)->name, other);
	}
}

static void try_properties(World *world, const Service *service)
{
	g_autofree char *large = g_strnfill(1024 * 1024, 'a');
	g_autoptr(GVariant) value = g_variant_ref_sink(g_variant_new_string("x"));

	try_get(world, PATH, "no such property of Manager", MANAGER, "NoSuchProperty");
	try_get(world, world->off.path, "no such property of a VM", VM, "NoSuchProperty");
	try_get(world, world->off.path, "in lower case", VM, "state");
	try_get(world, world->off.path, "a method", VM, "Start");
	try_get(world, world->off.path, "no such interface", "org.roost1.NoSuchInterface", "State");
	try_get(world, PATH, "a VM's, of Manager", VM, "State");
	try_get(world, world->off.path, "of no interface, which there is", "", "NoSuchProperty");
	try_get(world, world->off.path, "a name of 1 MiB", VM, large);
	try_get(world, world->off.path, "an interface of 1 MiB", large, "State");
	try_get(world, world->off.path, "a name that is none", VM, "a\nb\x1b[31m");
	try_get(world, world->off.path, "an interface that is none", "a\nb", "State");
	try_get(world, world->off.path, "a name that is empty", VM, "");
	try_set(world, PATH, MANAGER, "NoSuchProperty", value);
	try_set(world, world->off.path, VM, "NoSuchProperty", value);
	try_set(world, world->off.path, "org.roost1.NoSuchInterface", "State", value);
	set_all(world, service->manager, PATH, MANAGER);
	set_all(world, service->vm, world->off.path, VM);
}

void matrix_objects(World *world, const Service *service)
{
	try_objects(world);
	try_members(world, service);
	try_properties(world, service);
	world_renew_client(world);
}
