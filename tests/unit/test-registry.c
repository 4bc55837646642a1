/* vm/registry.h: names and UUIDs, reserved and visible. VMs are made without an engine's threads. */
#include <glib.h>
#include <string.h>

#include "vm/registry.h"

#define UUID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define UUID_B "bbbbbbbb-0000-4000-8000-000000000002"
#define HEX_A  "aaaaaaaa000040008000000000000001"

static Engine engine;

typedef struct World {
	Registry *registry;
	Vm *a, *b;
} World;

static Vm *make_vm(const char *name, const char *uuid)
{
	g_autoptr(GVariant) dict = NULL;
	g_autofree char *complaint = NULL;
	VmConfig *config = NULL;
	GVariantDict builder;

	g_variant_dict_init(&builder, NULL);
	g_variant_dict_insert(&builder, "Name", "s", name);
	g_variant_dict_insert(&builder, "UUID", "s", uuid);
	g_variant_dict_insert(&builder, "Memory", "t", (guint64)64 << 20);
	dict = g_variant_ref_sink(g_variant_dict_end(&builder));
	g_assert_cmpint(vm_config_new_from_variant(dict, &config, &complaint), ==, 0);
	return vm_new(&engine, config, 0, 1);
}

static void setup(World *world, gconstpointer data) ON_BUS_THREAD
{
	world->registry = registry_new();
	world->a = make_vm("alpha", UUID_A);
	world->b = make_vm("beta", UUID_B);
}

static void teardown(World *world, gconstpointer data) ON_BUS_THREAD
{
	registry_free(world->registry);
	vm_unref(world->a);
	vm_unref(world->b);
}

static void add(World *world, Vm *vm, const char *name) ON_BUS_THREAD
{
	g_autoptr(GError) error = NULL;

	registry_reserve(world->registry, vm, name, &error);
	g_assert_no_error(error);
	registry_publish(world->registry, vm);
}

static Vm *find(World *world, const char *text) ON_BUS_THREAD
{
	g_autoptr(GError) error = NULL;
	Vm *vm = registry_find(world->registry, text, &error);

	if (!vm)
		g_assert_error(error, VM_ERROR, VM_ERROR_NO_SUCH_VM);
	else
		g_assert_no_error(error);
	return vm;
}

static void test_find(World *world, gconstpointer data) ON_BUS_THREAD
{
	add(world, world->a, "alpha");
	add(world, world->b, "beta");
	g_assert_true(find(world, "alpha") == world->a);
	g_assert_true(find(world, "beta") == world->b);
	g_assert_true(find(world, UUID_A) == world->a);
	g_assert_true(find(world, HEX_A) == world->a);
	g_assert_true(find(world, "AAAAAAAA-0000-4000-8000-000000000001") == world->a);
	g_assert_true(find(world, "AAAAAAAA000040008000000000000001") == world->a);
	g_assert_null(find(world, "Alpha"));
	g_assert_null(find(world, ""));
	g_assert_null(find(world, "aaaaaaaa-0000-4000-8000-000000000002"));
	g_assert_null(find(world, "aaaaaaaa-0000-4000-8000-00000000000"));
}

static void test_path_id(World *world, gconstpointer data) ON_BUS_THREAD
{
	add(world, world->a, "alpha");
	g_assert_true(registry_find_by_path_id(world->registry, HEX_A) == world->a);
	/* One object has one path. */
	g_assert_null(registry_find_by_path_id(world->registry, "AAAAAAAA000040008000000000000001"));
	g_assert_null(registry_find_by_path_id(world->registry, UUID_A));
	g_assert_null(registry_find_by_path_id(world->registry, "alpha"));
	g_assert_null(registry_find_by_path_id(world->registry, ""));
	g_assert_null(registry_find_by_path_id(world->registry, "bbbbbbbb000040008000000000000002"));
}

static void test_reserved(World *world, gconstpointer data) ON_BUS_THREAD
{
	g_autoptr(GError) error = NULL;

	g_assert_true(registry_reserve(world->registry, world->a, "alpha", &error));
	/* Not there for those who look, but taken. */
	g_assert_null(find(world, "alpha"));
	g_assert_null(find(world, UUID_A));
	g_assert_null(registry_find_by_path_id(world->registry, HEX_A));
	g_assert_cmpuint(registry_count(world->registry), ==, 0);
	g_assert_false(registry_reserve(world->registry, world->b, "alpha", &error));
	g_assert_error(error, VM_ERROR, VM_ERROR_VM_EXISTS);
	registry_publish(world->registry, world->a);
	g_assert_true(find(world, "alpha") == world->a);
	g_assert_cmpuint(registry_count(world->registry), ==, 1);
}

static void test_exists(World *world, gconstpointer data) ON_BUS_THREAD
{
	g_autoptr(Vm) twin = make_vm("gamma", UUID_A);
	g_autoptr(GError) error = NULL, other = NULL;

	add(world, world->a, "alpha");
	g_assert_false(registry_reserve(world->registry, world->b, "alpha", &error));
	g_assert_error(error, VM_ERROR, VM_ERROR_VM_EXISTS);
	g_assert_true(g_str_has_prefix(error->message, "Name: "));
	g_assert_nonnull(strstr(error->message, "'alpha'"));
	g_assert_nonnull(strstr(error->message, UUID_A));
	g_assert_false(registry_reserve(world->registry, twin, "gamma", &other));
	g_assert_error(other, VM_ERROR, VM_ERROR_VM_EXISTS);
	g_assert_true(g_str_has_prefix(other->message, "UUID: "));
	g_assert_nonnull(strstr(other->message, "'alpha'"));
	/* A refusal leaves nothing behind. */
	g_assert_null(find(world, "gamma"));
	g_assert_cmpuint(registry_count(world->registry), ==, 1);
}

static void test_remove(World *world, gconstpointer data) ON_BUS_THREAD
{
	g_autoptr(GError) error = NULL;

	add(world, world->a, "alpha");
	registry_reserve(world->registry, world->b, "beta", &error);
	registry_remove(world->registry, world->a);
	/* A reserved one, too. */
	registry_remove(world->registry, world->b);
	g_assert_null(find(world, "alpha"));
	g_assert_cmpuint(registry_count(world->registry), ==, 0);
	g_assert_cmpuint(atomic_load(&world->a->ref.count), ==, 1);
	g_assert_cmpuint(atomic_load(&world->b->ref.count), ==, 1);
	/* Name and UUID are free again. */
	add(world, world->b, "alpha");
	add(world, world->a, "beta");
	g_assert_true(find(world, "alpha") == world->b);
}

static bool reserve_name(World *world, Vm *vm, const char *name, bool *ret_reserved, int error) ON_BUS_THREAD
{
	g_autoptr(GError) refusal = NULL;
	bool done = registry_reserve_name(world->registry, vm, name, ret_reserved, &refusal);

	if (error == VM_ERROR_MAX)
		g_assert_no_error(refusal);
	else
		g_assert_error(refusal, VM_ERROR, error);
	return done;
}

static void test_rename(World *world, gconstpointer data) ON_BUS_THREAD
{
	bool reserved = true;

	add(world, world->a, "alpha");
	add(world, world->b, "beta");
	/* The name that it has. */
	g_assert_true(reserve_name(world, world->a, "alpha", &reserved, VM_ERROR_MAX));
	g_assert_false(reserved);
	g_assert_false(reserve_name(world, world->a, "beta", &reserved, VM_ERROR_VM_EXISTS));
	g_assert_true(reserve_name(world, world->a, "gamma", &reserved, VM_ERROR_MAX));
	g_assert_true(reserved);
	g_assert_false(reserve_name(world, world->a, "alpha", &reserved, VM_ERROR_BUSY));
	g_assert_false(reserve_name(world, world->b, "gamma", &reserved, VM_ERROR_VM_EXISTS));
	g_assert_true(find(world, "alpha") == world->a);
	g_assert_null(find(world, "gamma"));

	/* A view that was made before. */
	registry_follow_name(world->registry, world->a, "alpha");
	g_assert_true(find(world, "alpha") == world->a);
	registry_follow_name(world->registry, world->a, "gamma");
	g_assert_true(find(world, "gamma") == world->a);
	g_assert_null(find(world, "alpha"));
	/* Too late. */
	registry_release_name(world->registry, world->a);
	g_assert_true(find(world, "gamma") == world->a);

	g_assert_true(reserve_name(world, world->b, "alpha", &reserved, VM_ERROR_MAX));
	registry_release_name(world->registry, world->b);
	g_assert_true(reserve_name(world, world->a, "alpha", &reserved, VM_ERROR_MAX));
	registry_remove(world->registry, world->a);
	g_assert_true(reserve_name(world, world->b, "alpha", &reserved, VM_ERROR_MAX));
	registry_follow_name(world->registry, world->b, "alpha");
	g_assert_true(find(world, "alpha") == world->b);
}

/* What comes late of a VM that is gone does nothing to another VM of its UUID. */
static void test_late(World *world, gconstpointer data) ON_BUS_THREAD
{
	g_autoptr(Vm) twin = make_vm("alpha", UUID_A);
	bool reserved;

	add(world, world->a, "alpha");
	add(world, world->b, "beta");
	g_assert_true(reserve_name(world, world->a, "gamma", &reserved, VM_ERROR_MAX));
	registry_remove(world->registry, world->a);
	add(world, twin, "alpha");
	g_assert_true(reserve_name(world, twin, "gamma", &reserved, VM_ERROR_MAX));
	registry_release_name(world->registry, world->a);
	g_assert_false(reserve_name(world, world->b, "gamma", &reserved, VM_ERROR_VM_EXISTS));
	registry_follow_name(world->registry, world->a, "gamma");
	g_assert_null(find(world, "gamma"));
	registry_follow_name(world->registry, twin, "gamma");
	g_assert_true(find(world, "gamma") == twin);
	registry_remove(world->registry, twin);
}

static void append_name(Vm *vm, void *user)
{
	g_string_append_printf(user, "%c", vm->uuid[0]);
}

typedef struct Removal {
	World *world;
	unsigned n;
} Removal;

static void remove_it(Vm *vm, void *user) ON_BUS_THREAD
{
	Removal *removal = user;

	removal->n++;
	registry_remove(removal->world->registry, vm);
}

static void test_foreach(World *world, gconstpointer data) ON_BUS_THREAD
{
	GString *names = g_string_new(NULL);
	Removal removal = {world, 0};
	g_autoptr(GError) error = NULL;

	registry_reserve(world->registry, world->a, "alpha", &error);
	add(world, world->b, "beta");
	registry_foreach(world->registry, append_name, names);
	g_assert_cmpstr(names->str, ==, "b");
	registry_publish(world->registry, world->a);
	/* In the order in which they became visible. */
	g_string_truncate(names, 0);
	registry_foreach(world->registry, append_name, names);
	g_assert_cmpstr(names->str, ==, "ba");
	registry_foreach(world->registry, remove_it, &removal);
	g_assert_cmpuint(removal.n, ==, 2);
	g_assert_cmpuint(registry_count(world->registry), ==, 0);
	g_string_free(names, TRUE);
}

static void test_suggestion(World *world, gconstpointer data) ON_BUS_THREAD
{
	static const struct {
		const char *text;
		bool near;
	} rows[] = {{"Alpha", true}, {"ALPHA", true}, {"alpa", true}, {"alphaa", true}, {"alphe", true},
		{"xalpha", true}, {"al", false}, {"alphabet", false}, {"", false}, {"a", false},
		{"gamma", false}};

	add(world, world->a, "alpha");
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_null(registry_find(world->registry, rows[i].text, &error));
		g_assert_error(error, VM_ERROR, VM_ERROR_NO_SUCH_VM);
		g_assert_cmpint(strstr(error->message, "did you mean 'alpha'?") != NULL, ==, rows[i].near);
	}
}

static void test_hostile_name(World *world, gconstpointer data) ON_BUS_THREAD
{
	g_autofree char *longest = g_strnfill(100000, 'x');
	g_autoptr(GError) error = NULL, other = NULL;

	g_assert_null(registry_find(world->registry, longest, &error));
	g_assert_cmpuint(strlen(error->message), <, 200);
	g_assert_null(registry_find(world->registry, "\xff\xfe", &other));
	g_assert_true(g_utf8_validate(other->message, -1, NULL));
}

static void test_many(World *world, gconstpointer data) ON_BUS_THREAD
{
	for (unsigned i = 0; i < 500; i++) {
		g_autofree char *name = g_strdup_printf("vm%u", i);
		g_autofree char *uuid = g_strdup_printf("cccccccc-0000-4000-8000-%012u", i);
		g_autoptr(Vm) vm = make_vm(name, uuid);

		add(world, vm, name);
	}
	g_assert_cmpuint(registry_count(world->registry), ==, 500);
	g_assert_cmpstr(find(world, "vm321")->uuid, ==, "cccccccc-0000-4000-8000-000000000321");
	registry_remove(world->registry, find(world, "vm321"));
	g_assert_null(find(world, "vm321"));
	g_assert_cmpuint(registry_count(world->registry), ==, 499);
}

#define ADD(name, func) g_test_add("/registry/" name, World, NULL, setup, func, teardown)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_bus);
	ADD("find", test_find);
	ADD("path-id", test_path_id);
	ADD("reserved", test_reserved);
	ADD("exists", test_exists);
	ADD("remove", test_remove);
	ADD("rename", test_rename);
	ADD("late", test_late);
	ADD("foreach", test_foreach);
	ADD("suggestion", test_suggestion);
	ADD("hostile-name", test_hostile_name);
	ADD("many", test_many);
	return g_test_run();
}
