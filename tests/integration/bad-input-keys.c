/*
 * The keys of definitions: all that GetConfig gives, those of devices too, through all methods that take a
 * definition. What the contract has beyond is refused by name.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bad-input.h"

/* So often all ways are tried. */
#define N_SAME_REFUSALS 4

/* The contract's keys that GetConfig need not have yet. */
static const struct {
	const char *list, *key, *value;
} later_keys[] = {
	{NULL, "MaxMemory", "uint64 1073741824"},
	{NULL, "TPM", "true"},
	{NULL, "StartOrder", "uint32 1"},
	{NULL, "StartDelay", "uint64 1"},
	{NULL, "OnHostShutdown", "'save'"},
	{NULL, "OnHostSleep", "'pause'"},
	{NULL, "Display", "'spice'"},
	{NULL, "Display", "'dbus'"},
	{"NICs", "Bridge", "'br0'"},
	{"NICs", "Type", "'bridge'"},
	{"NICs", "Type", "'tap'"},
	{"Disks", "DetectZeroes", "'on'"},
	{"Disks", "AIO", "'native'"},
	{"Disks", "IOThread", "true"},
	{"Disks", "Shareable", "true"},
	{"Disks", "IOLimits", "@a{st} {}"},
	{"Disks", "ErrorPolicy", "'stop'"},
	{"Disks", "WriteThreshold", "uint64 1"},
	{"Disks", "File", "handle 0"},
};

/* A method that takes a definition. */
typedef struct Way {
	const Method *method;
	unsigned index;
	bool whole; /* not the changes alone */
} Way;

typedef struct Keys {
	World *world;
	const Service *service;
	GArray *ways;          /* Way */
	const char **culprits; /* all keys, and the arguments' names */
} Keys;

/* Where a key is. */
typedef struct Spot {
	const char *list; /* NULL: at the top */
	const char *key;
	GVariant *device; /* of the list, as GetConfig gave it */
} Spot;

static char *spot_name(const Spot *spot)
{
	return spot->list ? g_strdup_printf("%s[0].%s", spot->list, spot->key) : g_strdup(spot->key);
}

/* ---- a definition on its way in ---- */
/* The outcome, and what came of it is undone. */
static char *send_dict(
	const Keys *keys, const Way *way, GVariant *dict, const char *type, GVariant *sent, int fd)
{
	World *world = keys->world;
	const Culprits culprits = {.names = keys->culprits};
	g_autoptr(GVariant) owned = g_variant_take_ref(dict);
	g_auto(Answer) answer = {0};
	g_autofree char *outcome = NULL;

	world_ask_fd(world, way->whole ? PATH : world->off.path, way->method->interface, way->method->name,
		method_arguments(world, way->method, way->index, owned), fd, &answer);
	outcome = world_outcome(world, &answer, &culprits, owned, type, sent);
	if (answer.error)
		return g_steal_pointer(&outcome);
	if (!way->whole) {
		world_restore_config(world, &world->off);
	} else if (strcmp(way->method->result, "(o)") == 0) {
		const char *path;

		g_variant_get(answer.result, "(&o)", &path);
		world_remove_vm(world, path);
	}
	return g_steal_pointer(&outcome);
}

/* Starting QEMU takes its time: what the others find fine is started once for each subject. */
static bool starts_qemu(const Method *method)
{
	return strcmp(method->name, "CreateVM") == 0;
}

typedef GVariant *(*MakeFunc)(const Keys *keys, const Way *way, const Spot *spot, GVariant *value);

/* Whether this refusal was seen often enough to know that all ways say it. */
static bool is_known(Table *table, const char *subject, const Way *way, const char *outcome)
{
	return strcmp(outcome, "ok") != 0 &&
	       table_count(table, subject, way->method->name, outcome) > N_SAME_REFUSALS;
}

/* All ways, with what `make` makes of the value. */
static void try_ways(const Keys *keys, const char *subject, const char *name, const Spot *spot,
	GVariant *value, const char *type, MakeFunc make)
{
	Table *table = keys->world->table;
	/* What does not fit a definition gets into none: a whole one and a change are enough. */
	bool refused = false, known = false, is_giant = value && value_is_giant(value);

	for (guint i = 0; i < keys->ways->len && !known; i++) {
		const Way *way = &g_array_index(keys->ways, Way, i);
		const char *method = way->method->name;
		g_autofree char *outcome = NULL;

		if (table_has_case(table, subject, method, name) || (is_giant && i > 0 && way->whole) ||
			(starts_qemu(way->method) && !refused &&
				table_count(table, subject, method, "ok") > 0))
			continue;
		outcome = send_dict(keys, way, make(keys, way, spot, value), type, value, -1);
		refused |= strcmp(outcome, "ok") != 0;
		table_add(table, subject, method, name, outcome);
		known = i == 0 && is_known(table, subject, way, outcome);
	}
}

/* ---- making them ---- */
static GVariant *no_changes(void)
{
	return g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0);
}

static GVariant *base_of(const Keys *keys, const Way *way)
{
	return way->whole ? keys->world->base : no_changes();
}

static GVariant *put_at(const Keys *keys, const Way *way, const Spot *spot, GVariant *value)
{
	GVariant *device;

	if (!spot->list)
		return dict_put(base_of(keys, way), spot->key, value);
	device = dict_put(spot->device, spot->key, value);
	return dict_put(base_of(keys, way), spot->list, value_repeated(device, 1));
}

static GVariant *give_twice(const Keys *keys, const Way *way, const Spot *spot, GVariant *value)
{
	GVariant *device;

	if (!spot->list)
		return dict_add(dict_put(base_of(keys, way), spot->key, value), spot->key, value);
	device = dict_add(dict_put(spot->device, spot->key, value), spot->key, value);
	return dict_put(base_of(keys, way), spot->list, value_repeated(device, 1));
}

/* The value is the whole dict, and the base not among it. */
static GVariant *take_whole(const Keys *keys, const Way *way, const Spot *spot, GVariant *value)
{
	return g_variant_ref(value);
}

/* ---- a key ---- */
static void try_values(const Keys *keys, const Spot *spot, const Values *values)
{
	g_autofree char *subject = spot_name(spot);

	for (guint i = 0; i < values->len; i++) {
		const Value *value = values->pdata[i];

		try_ways(keys, subject, value->name, spot, value->value,
			value->is_type ? g_variant_get_type_string(value->value) : NULL, put_at);
	}
}

/* A device of a list, without what each must have for itself. */
static GVariant *common_device(GVariant *list)
{
	g_autoptr(GVariant) device = NULL;

	if (!g_variant_is_of_type(list, G_VARIANT_TYPE("aa{sv}")))
		return NULL;
	device = g_variant_get_child_value(list, 0);
	return g_variant_ref_sink(dict_put(dict_put(device, "Name", NULL), "MAC", NULL));
}

/* A file descriptor where none belongs. */
static void try_key_fd(const Keys *keys, const Spot *spot, const char *subject)
{
	g_autoptr(GVariant) handle = g_variant_ref_sink(g_variant_new_handle(0));
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	for (guint i = 0; i < keys->ways->len; i++) {
		const Way *way = &g_array_index(keys->ways, Way, i);
		g_autofree char *outcome =
			send_dict(keys, way, put_at(keys, way, spot, handle), "h", NULL, fd);

		table_add(keys->world->table, subject, way->method->name, "(h), with its file", outcome);
	}
	close(fd);
}

static void try_key(const Keys *keys, const Spot *spot, GVariant *good)
{
	const char *signature = g_variant_get_type_string(good);
	g_autofree char *subject = spot_name(spot);
	g_autoptr(GPtrArray) wrong = values_of_other_types(signature);
	g_autoptr(GPtrArray) right = values_of_type(signature, keys->world->fixture->dir),
			     named = values_of_name(spot->key), around = NULL;
	g_autoptr(GVariant) element = common_device(good);
	g_autoptr(GArray) numbers = NULL;

	g_assert_cmpuint(right->len, >, 0);
	try_ways(keys, subject, "absent", spot, NULL, NULL, put_at);
	try_ways(keys, subject, "twice", spot, good, NULL, give_twice);
	try_values(keys, spot, wrong);
	try_key_fd(keys, spot, subject);
	try_values(keys, spot, right);
	try_values(keys, spot, named);
	numbers = table_numbers(keys->world->table, subject);
	around = values_around(signature, numbers, element);
	try_values(keys, spot, around);
	world_assert_whole(keys->world);
	world_renew_client(keys->world);
}

static void try_key_unset(const Keys *keys, const char *key)
{
	World *world = keys->world;
	const char *const unset[] = {key, NULL};
	const Culprits culprits = {.names = keys->culprits};
	g_auto(Answer) answer = {0};
	g_autofree char *outcome = NULL;

	world_ask(world, world->off.path, VM, "Update",
		g_variant_new("(@a{sv}@a{sv})", no_changes(),
			dict_put(no_changes(), "Unset", g_variant_new_strv(unset, 1))),
		&answer);
	outcome = world_outcome(world, &answer, &culprits, NULL, NULL, NULL);
	table_add(world->table, "Update options.Unset, each key", "", key, outcome);
	world_restore_config(world, &world->off);
}

/* ---- a list of devices ---- */
static void try_list(const Keys *keys, const char *list, GVariant *good)
{
	g_autoptr(GVariant) device = g_variant_get_child_value(good, 0);
	g_autoptr(GVariant) whole = common_device(good);
	g_autoptr(GPtrArray) dicts = values_of_dict(whole), lists = values_new();
	const Spot at_top = {.key = list};

	for (guint i = 0; i < dicts->len; i++) {
		const Value *value = dicts->pdata[i];

		values_add(lists, value->name, value_repeated(value->value, 1));
	}
	values_add(lists, "two of the same", value_repeated(device, 2));
	values_add(lists, "10,000 of the same", value_repeated(whole, 10000));
	try_values(keys, &at_top, lists);
	for (gsize i = 0; i < g_variant_n_children(device); i++) {
		Spot spot = {.list = list, .device = device};
		g_autoptr(GVariant) value = NULL;

		g_variant_get_child(device, i, "{&sv}", &spot.key, &value);
		try_key(keys, &spot, value);
	}
}

/* ---- the whole ---- */
static void try_dicts(const Keys *keys)
{
	const Spot nowhere = {.key = ""};
	g_autoptr(GVariant) empty = g_variant_ref_sink(no_changes());
	g_autoptr(GPtrArray) alone = values_of_dict(empty), together = values_of_dict(keys->world->base);

	try_ways(keys, "(definition)", "empty", &nowhere, empty, NULL, take_whole);
	for (guint i = 0; i < alone->len; i++) {
		const Value *value = alone->pdata[i];
		g_autofree char *name = g_strdup_printf("nothing but a dict %s", value->name);

		try_ways(keys, "(definition)", name, &nowhere, value->value, NULL, take_whole);
	}
	for (guint i = 0; i < together->len; i++) {
		const Value *value = together->pdata[i];

		try_ways(keys, "(definition)", value->name, &nowhere, value->value, NULL, take_whole);
	}
}

static void try_later_keys(const Keys *keys)
{
	for (gsize i = 0; i < G_N_ELEMENTS(later_keys); i++) {
		const Spot spot = {.key = later_keys[i].key, .list = later_keys[i].list};
		g_autoptr(GVariant) list = NULL, device = NULL,
				    value = g_variant_ref_sink(g_variant_new_parsed(later_keys[i].value));
		g_autofree char *subject = NULL;
		Spot with_device = spot;

		if (spot.list) {
			list = g_variant_lookup_value(keys->world->base, spot.list, G_VARIANT_TYPE("aa{sv}"));
			device = g_variant_get_child_value(list, 0);
			with_device.device = device;
		}
		subject = spot_name(&with_device);
		if (g_variant_is_of_type(value, G_VARIANT_TYPE_HANDLE))
			try_key_fd(keys, &with_device, subject);
		else
			try_ways(keys, subject, later_keys[i].value, &with_device, value, NULL, put_at);
	}
}

/* Those that start QEMU come last. */
static void learn_ways(Keys *keys, bool qemu)
{
	for (guint i = 0; i < keys->service->methods->len; i++) {
		const Method *method = keys->service->methods->pdata[i];

		for (unsigned j = 0; j < method->n_arguments; j++) {
			const Way way = {.method = method, .index = j, .whole = !method->is_vm};

			if (method->arguments[j].kind == DICT_CONFIG && starts_qemu(method) == qemu)
				g_array_append_val(keys->ways, way);
		}
	}
}

static const char **learn_culprits(const Keys *keys)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	GVariantIter iter;
	const char *key;

	g_variant_iter_init(&iter, keys->world->off.config);
	while (g_variant_iter_next(&iter, "{&sv}", &key, NULL))
		g_ptr_array_add(names, (char *)key);
	for (gsize i = 0; i < G_N_ELEMENTS(later_keys); i++)
		g_ptr_array_add(names, (char *)later_keys[i].key);
	g_ptr_array_add(names, (char *)"config");
	g_ptr_array_add(names, (char *)"changes");
	g_ptr_array_add(names, (char *)"options");
	g_ptr_array_add(names, NULL);
	return (const char **)g_ptr_array_free(g_steal_pointer(&names), FALSE);
}

void matrix_keys(World *world, const Service *service)
{
	g_autoptr(GArray) ways = g_array_new(FALSE, FALSE, sizeof(Way));
	Keys keys = {.world = world, .service = service, .ways = ways};
	GVariantIter iter;
	const char *key;
	GVariant *value;

	keys.culprits = learn_culprits(&keys);
	learn_ways(&keys, false);
	learn_ways(&keys, true);
	try_dicts(&keys);
	g_variant_iter_init(&iter, world->off.config);
	while (g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
		g_autoptr(GVariant) owned = value;
		const Spot spot = {.key = key};

		try_key(&keys, &spot, owned);
		try_key_unset(&keys, key);
		if (g_variant_is_of_type(owned, G_VARIANT_TYPE("aa{sv}")))
			try_list(&keys, key, owned);
	}
	try_later_keys(&keys);
	g_free(keys.culprits);
}
