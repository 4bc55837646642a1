/*
 * Every member, called by busctl as every kind of user: who is let in, and who is not. What is expected is
 * worked out from the service's table of actions, polkit's policy and the example rules; what was seen is
 * written as a table to the file that file descriptor 9 is.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "world.h"

#define TABLE_FD 9

typedef struct Person {
	const char *title, *user;
	Place place;
} Person;

static const Person people[] = {
	{"root", "root", ELSEWHERE},
	{"owner, at the screen", "owner", AT_THE_SCREEN},
	{"owner, elsewhere", "owner", ELSEWHERE},
	{"group roost", "member", ELSEWHERE},
	{"operator of web-*", "alice", ELSEWHERE},
	{"other", "other", ELSEWHERE},
};

/* ---- the service's table ---- */
typedef struct Row {
	char *vm_member, *kind;
	bool is_dangerous, may_ask_arguments;
} Row;

static void row_free(void *data)
{
	Row *row = data;

	g_free(row->vm_member);
	g_free(row->kind);
	g_free(row);
}

/* "interface.member" -> Row. */
static GHashTable *read_rows(void)
{
	char *argv[] = {(char *)g_getenv("PRINT_ACTIONS"), NULL};
	GHashTable *rows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, row_free);
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;
	g_autoptr(GError) error = NULL;
	int status;

	g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, &text, NULL, &status, &error);
	g_assert_no_error(error);
	g_assert_cmpint(status, ==, 0);
	lines = g_strsplit(g_strchomp(text), "\n", 0);
	for (char **line = lines; *line; line++) {
		g_auto(GStrv) words = g_strsplit(*line, " ", 0);
		Row *row = g_new0(Row, 1);

		g_assert_cmpuint(g_strv_length(words), ==, 6);
		row->vm_member = g_strdup(words[2]);
		row->kind = g_strdup(words[3]);
		row->is_dangerous = strcmp(words[4], "dangerous") == 0;
		row->may_ask_arguments = strcmp(words[5], "arguments") == 0;
		g_hash_table_insert(rows, g_strdup_printf("%s.%s", words[0], words[1]), row);
	}
	return rows;
}

/* ---- polkit's policy, as it has read it ---- */
static char *default_of(const char *kind, const char *which)
{
	g_autofree char *id = g_strdup_printf("org.roost1.%s", kind);
	g_autofree char *pattern = g_strdup_printf("implicit %s:\\s+(\\w+)", which), *text = NULL;
	const char *const argv[] = {"pkaction", "--verbose", "--action-id", id, NULL};
	g_autoptr(GRegex) regex = g_regex_new(pattern, 0, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;

	text = world_run("root", ELSEWHERE, argv, NULL);
	if (!g_regex_match(regex, text, 0, &match))
		g_error("polkit does not know %s: %s", id, text);
	return g_match_info_fetch(match, 1);
}

/* Asked for once. */
static const char *cached_default(const char *kind, Place place)
{
	static GHashTable *cache;
	const char *which = place == AT_THE_SCREEN ? "active" : "any";
	g_autofree char *key = g_strdup_printf("%s %s", kind, which);

	if (!cache)
		cache = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	if (!g_hash_table_contains(cache, key))
		g_hash_table_insert(cache, g_strdup(key), default_of(kind, which));
	return g_hash_table_lookup(cache, key);
}

/* ---- what is expected ---- */
static bool rule_allows(const Person *person, const char *action, const Row *row)
{
	static const char *const members[] = {"Start", "Shutdown", "Kill", NULL};

	if (strcmp(person->user, "member") == 0)
		return true;
	return strcmp(person->user, "alice") == 0 && strcmp(action, "manage-all") == 0 &&
	       g_strv_contains(members, row->vm_member);
}

static const char *expected(const Person *person, const Row *row, bool on_vm, bool with_arguments)
{
	bool is_owner = !on_vm || strcmp(person->user, "owner") == 0;
	const char *steps[3];
	unsigned n = 0;

	if (!row || strcmp(person->user, "root") == 0)
		return "yes";
	if (!is_owner)
		steps[n++] = "manage-all";
	if (is_owner || row->is_dangerous)
		steps[n++] = row->kind;
	if (with_arguments)
		steps[n++] = "qemu-arguments";
	for (unsigned i = 0; i < n; i++)
		if (!rule_allows(person, steps[i], row) &&
			strcmp(cached_default(steps[i], person->place), "yes") != 0)
			return "password";
	return "yes";
}

/* ---- what is seen ---- */
/* Arguments for busctl: any that are read without a complaint; what the member does with them does not
 * matter. */
static void add_arguments(GPtrArray *argv, const char *member, const char *signature, bool with_arguments)
{
	static const char *const definition[] = {"Name", "s", "new", "Memory", "t", "67108864", "Accelerator",
		"s", "tcg", "Kernel", "s", "/run/world/kernel", "KernelCommandLine", "s",
		"mock=/run/world/script", NULL};
	static const char *const qemu_arguments[] = {"QemuArguments", "as", "2", "-name", "other", NULL};
	bool defines = strcmp(signature, "a{sv}") == 0 || strcmp(signature, "a{sv}a{sv}") == 0;

	if (*signature)
		g_ptr_array_add(argv, (char *)signature);
	/* The first dictionary is a definition, or changes of one. */
	if (g_str_has_suffix(member, "VM") && defines) {
		g_ptr_array_add(argv, (char *)(with_arguments ? "6" : "5"));
		for (const char *const *word = definition; *word; word++)
			g_ptr_array_add(argv, (char *)*word);
		signature += strlen("a{sv}");
	} else if (with_arguments) {
		g_ptr_array_add(argv, (char *)"1");
		signature += strlen("a{sv}");
	}
	if (with_arguments)
		for (const char *const *word = qemu_arguments; *word; word++)
			g_ptr_array_add(argv, (char *)*word);
	while (*signature) {
		bool is_dict = g_str_has_prefix(signature, "a{sv}");

		if (*signature == 's')
			g_ptr_array_add(argv, (char *)"web-1");
		else if (*signature == 'b')
			g_ptr_array_add(argv, (char *)"false");
		else if (strchr("aut", *signature))
			g_ptr_array_add(argv, (char *)"0");
		else
			g_error("%s has an argument of a type that this test does not know: %s", member,
				signature);
		signature += is_dict ? strlen("a{sv}") : *signature == 'a' ? 2 : 1;
	}
}

static const char *seen(const Person *person, const char *path, const char *interface, const char *member,
	const char *signature, bool with_arguments)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	const char *const words[] = {"busctl", "--system", "--", "call", NAME, path, interface, member};
	g_autofree char *text = NULL;
	int status;

	for (gsize i = 0; i < G_N_ELEMENTS(words); i++)
		g_ptr_array_add(argv, (char *)words[i]);
	add_arguments(argv, member, signature, with_arguments);
	g_ptr_array_add(argv, NULL);
	text = world_run(person->user, person->place, (const char *const *)argv->pdata, &status);
	g_test_message("%s: %s: %s", person->title, member, g_strstrip(text));
	if (status != 0 && strstr(text, "not authorized to"))
		return strstr(text, "somebody must authenticate") ? "password" : "no";
	/* All else is told by the member itself: it has let them in. */
	if (status != 0 && !g_str_has_prefix(text, "Call failed: "))
		g_error("%s: busctl has not called it: %s", member, text);
	g_assert_null(strstr(text, "Access denied"));
	g_assert_null(strstr(text, "only root"));
	return "yes";
}

/* ---- the table ---- */
typedef struct Matrix {
	World *world;
	GHashTable *rows;
	char *web;
	GString *table;
	unsigned n_wrong, n_free;
} Matrix;

static void tidy(Matrix *matrix)
{
	Client *root = matrix->world->root;
	g_autoptr(GVariant) vms = client_call(root, PATH, MANAGER, "ListVMs", NULL), list = NULL;
	GVariantIter iter;
	const char *name, *state, *path;

	list = g_variant_get_child_value(vms, 0);
	g_variant_iter_init(&iter, list);
	while (g_variant_iter_next(&iter, "(&s&s&o)", &name, &state, &path)) {
		g_autoptr(GVariant) persistent = NULL;

		if (strcmp(name, "new") != 0)
			continue;
		persistent = client_get(root, path, VM, "Persistent");
		client_do(root, path, VM, "Kill", NULL);
		if (g_variant_get_boolean(persistent))
			client_do(root, path, VM, "Undefine", fixture_no_options());
	}
}

/* The VM runs, so that nobody undefines it. */
static void prepare(Matrix *matrix)
{
	Client *root = matrix->world->root;
	g_autoptr(GVariant) state = client_get(root, matrix->web, VM, "State");

	if (strcmp(g_variant_get_string(state, NULL), "running") == 0)
		return;
	client_do(root, matrix->web, VM, "Kill", NULL);
	client_do(root, matrix->web, VM, "Start", fixture_no_options());
}

static void add_row(Matrix *matrix, const char *path, const char *interface, const char *member,
	const char *signature, bool with_arguments)
{
	g_autofree char *key = g_strdup_printf("%s.%s", interface, member);
	const Row *row = g_hash_table_lookup(matrix->rows, key);
	bool on_vm = strcmp(interface, VM) == 0 || (row && strcmp(row->vm_member, member) != 0);

	g_string_append_printf(matrix->table, "| %s%s | %s%s | ", member,
		with_arguments ? ", with QemuArguments" : "", row ? row->kind : "",
		with_arguments ? ", qemu-arguments" : "");
	g_string_append_printf(matrix->table, "%s / %s |",
		row ? cached_default(row->kind, AT_THE_SCREEN) : "free",
		row ? cached_default(row->kind, ELSEWHERE) : "free");
	matrix->n_free += row == NULL;
	for (gsize i = 0; i < G_N_ELEMENTS(people); i++) {
		const char *want = expected(&people[i], row, on_vm, with_arguments), *got;

		prepare(matrix);
		got = seen(&people[i], path, interface, member, signature, with_arguments);
		if (strcmp(want, got) != 0) {
			g_test_message("%s, %s: %s, not %s", member, people[i].title, got, want);
			matrix->n_wrong++;
		}
		g_string_append_printf(matrix->table, " %s |", got);
		tidy(matrix);
	}
	g_string_append_c(matrix->table, '\n');
	if (row && row->may_ask_arguments && !with_arguments)
		add_row(matrix, path, interface, member, signature, true);
}

static char *signature_of(const GDBusMethodInfo *method)
{
	GString *signature = g_string_new(NULL);

	for (GDBusArgInfo **arg = method->in_args; arg && *arg; arg++)
		g_string_append(signature, (*arg)->signature);
	return g_string_free(signature, FALSE);
}

/* All methods that the service itself says it has. */
static void walk(Matrix *matrix, const char *path, const char *interface)
{
	g_autoptr(GVariant) result = client_call(
		matrix->world->root, path, "org.freedesktop.DBus.Introspectable", "Introspect", NULL);
	g_autoptr(GDBusNodeInfo) node = NULL;
	GDBusInterfaceInfo *info;
	const char *xml;

	g_variant_get(result, "(&s)", &xml);
	node = g_dbus_node_info_new_for_xml(xml, NULL);
	g_assert_nonnull(node);
	info = g_dbus_node_info_lookup_interface(node, interface);
	g_assert_nonnull(info);
	g_string_append_printf(matrix->table, "| **%s** | | |%s\n", interface, " | | | | | |");
	for (GDBusMethodInfo **method = info->methods; method && *method; method++) {
		g_autofree char *signature = signature_of(*method);

		add_row(matrix, path, interface, (*method)->name, signature, false);
	}
}

static void test_members(void)
{
	/* Without an action, since they only read. A member that is neither here nor in the table fails. */
	static const char *const free_members[] = {MANAGER ".GetCapabilities", MANAGER ".GetVM",
		MANAGER ".GetVMByPID", MANAGER ".ListVMs", MANAGER ".GetEvents", MANAGER ".ListOperations",
		VM ".GetConfig"};
	Matrix matrix = {.world = world_new(),
		.rows = read_rows(),
		.table = g_string_new("| member | action | default: active / else |")};
	World *world = matrix.world;

	for (gsize i = 0; i < G_N_ELEMENTS(people); i++)
		g_string_append_printf(matrix.table, " %s |", people[i].title);
	g_string_append(matrix.table, "\n|---|---|---|---|---|---|---|---|---|\n");
	world_start_roostd(world, NULL);
	matrix.web = world_define(world, "owner", "web-1", NULL);
	walk(&matrix, PATH, MANAGER);
	walk(&matrix, matrix.web, VM);
	for (gsize i = 0; i < G_N_ELEMENTS(free_members); i++)
		g_assert_false(g_hash_table_contains(matrix.rows, free_members[i]));
	g_assert_cmpuint(matrix.n_free, ==, G_N_ELEMENTS(free_members));
	if (write(TABLE_FD, matrix.table->str, matrix.table->len) != (gssize)matrix.table->len)
		g_error("the table can't be written");
	g_assert_cmpuint(matrix.n_wrong, ==, 0);
	world_undefine(world, matrix.web);
	world_free(world);
	g_hash_table_unref(matrix.rows);
	g_string_free(matrix.table, TRUE);
	g_free(matrix.web);
}

/* What is not a method of ours is free to everybody, too. */
static void test_reads(void)
{
	static const Person other = {"other", "other", ELSEWHERE};
	World *world = world_new();
	g_autofree char *web = NULL;
	const char *const calls[][10] = {
		{"get-property", NAME, "VM", VM, "State", NULL},
		{"introspect", NAME, "VM", NULL},
		{"tree", "--list", NAME, NULL},
		{"call", NAME, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL},
		{"call", NAME, "VM", "org.freedesktop.DBus.Properties", "GetAll", "s", VM, NULL},
		{"call", NAME, PATH, "org.freedesktop.DBus.Peer", "Ping", NULL},
	};

	world_start_roostd(world, NULL);
	web = world_define(world, "owner", "web-1", NULL);
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
		g_autoptr(GPtrArray) argv = g_ptr_array_new();
		g_autofree char *text = NULL;
		int status;

		g_ptr_array_add(argv, (char *)"busctl");
		for (const char *const *word = calls[i]; *word; word++)
			g_ptr_array_add(argv, strcmp(*word, "VM") == 0 ? web : (char *)*word);
		g_ptr_array_add(argv, NULL);
		text = world_run(other.user, other.place, (const char *const *)argv->pdata, &status);
		if (status != 0)
			g_error("%s: %s", calls[i][0], text);
	}
	world_undefine(world, web);
	world_free(world);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/members/who-may", test_members);
	g_test_add_func("/members/reads", test_reads);
	return g_test_run();
}
