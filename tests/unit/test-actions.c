/*
 * The table of actions, and all that must say the same: polkit's policy, the interfaces, the manual. With
 * ROOST_REGENERATE_DOCS=1 the manual's part is written anew.
 */
#include <gio/gio.h>
#include <string.h>

#include "bus/actions.h"
#include "bus/members.h"

static char *source_path(const char *name)
{
	const char *source = g_getenv("ROOST_SOURCE");

	if (!source)
		g_error("ROOST_SOURCE is not set: run the tests by meson");
	return g_build_filename(source, name, NULL);
}

static char *read_source(const char *name)
{
	g_autofree char *path = source_path(name);
	g_autoptr(GError) error = NULL;
	char *text;

	g_file_get_contents(path, &text, NULL, &error);
	g_assert_no_error(error);
	return text;
}

/* ---- the policy ---- */
typedef struct Policy {
	GHashTable *defaults; /* "id allow_any" -> "yes" */
	char *id, *element;
	unsigned n_actions;
} Policy;

static const char *attribute(const char **names, const char **values, const char *name)
{
	for (; *names; names++, values++)
		if (strcmp(*names, name) == 0)
			return *values;
	return NULL;
}

static void on_start(GMarkupParseContext *context, const char *element, const char **names,
	const char **values, void *user, GError **error)
{
	Policy *policy = user;

	g_free(policy->element);
	policy->element = g_strdup(element);
	if (strcmp(element, "action") == 0) {
		g_free(policy->id);
		policy->id = g_strdup(attribute(names, values, "id"));
		policy->n_actions++;
	}
	/* It is translated. */
	if (strcmp(element, "description") == 0 || strcmp(element, "message") == 0)
		g_assert_cmpstr(attribute(names, values, "gettext-domain"), ==, "roost");
}

static void on_end(GMarkupParseContext *context, const char *element, void *user, GError **error)
{
	g_clear_pointer(&((Policy *)user)->element, g_free);
}

static void on_text(GMarkupParseContext *context, const char *text, gsize length, void *user, GError **error)
{
	Policy *policy = user;

	if (policy->id && policy->element)
		g_hash_table_insert(policy->defaults, g_strdup_printf("%s %s", policy->id, policy->element),
			g_strndup(text, length));
}

static void policy_read(Policy *policy)
{
	static const GMarkupParser parser = {on_start, on_end, on_text, NULL, NULL};
	g_autofree char *text = read_source("polkit-rules/org.roost1.policy");
	g_autoptr(GMarkupParseContext) context = NULL;
	g_autoptr(GError) error = NULL;

	*policy = (Policy){.defaults = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
	context = g_markup_parse_context_new(&parser, 0, policy, NULL);
	g_markup_parse_context_parse(context, text, -1, &error);
	g_assert_no_error(error);
}

static void policy_clear(Policy *policy)
{
	g_hash_table_unref(policy->defaults);
	g_free(policy->id);
	g_free(policy->element);
}

static const char *policy_get(const Policy *policy, Action action, const char *element)
{
	g_autofree char *key = g_strdup_printf("%s %s", actions[action].id, element);
	const char *text = g_hash_table_lookup(policy->defaults, key);

	if (!text)
		g_error("the policy has no %s", key);
	return text;
}

static void test_policy(void)
{
	Policy policy;

	policy_read(&policy);
	g_assert_cmpuint(policy.n_actions, ==, ACTION_MAX);
	for (Action action = 0; action < ACTION_MAX; action++) {
		const char *any = policy_get(&policy, action, "allow_any");
		const char *inactive = policy_get(&policy, action, "allow_inactive");
		const char *active = policy_get(&policy, action, "allow_active");
		g_autofree char *id = g_strdup_printf("org.roost1.%s", actions[action].kind);

		g_assert_cmpstr(actions[action].id, ==, id);
		g_assert_nonnull(strstr(policy_get(&policy, action, "message"), "$(name)"));
		/* Without a rule only who sits at the machine may do anything unasked, and only what is
		 * theirs. */
		g_assert_true(g_str_has_prefix(any, "auth_admin"));
		g_assert_cmpstr(inactive, ==, any);
		if (actions[action].is_dangerous || action == ACTION_MANAGE_ALL)
			g_assert_cmpstr(active, ==, "auth_admin");
		else
			g_assert_cmpstr(active, ==, "yes");
		/* What is kept holds for every VM, not only the one that was named. */
		if (action != ACTION_DEFINE)
			g_assert_cmpstr(any, ==, "auth_admin");
	}
	policy_clear(&policy);
}

/* ---- the interfaces ---- */
static void compare_interface(const char *interface, unsigned *n_rows)
{
	g_autofree char *name = g_strdup_printf("interfaces/%s.xml", interface), *xml = read_source(name);
	g_autoptr(GDBusNodeInfo) node = NULL;
	g_autoptr(GError) error = NULL;
	GDBusInterfaceInfo *info;

	node = g_dbus_node_info_new_for_xml(xml, &error);
	g_assert_no_error(error);
	info = g_dbus_node_info_lookup_interface(node, interface);
	for (GDBusMethodInfo **m = info->methods; m && *m; m++) {
		const ActionMember *row = action_member_find(interface, (*m)->name);
		const char *action = g_dbus_annotation_info_lookup((*m)->annotations, "org.roost1.Action");

		if (!!row == member_reads(interface, (*m)->name))
			g_error("%s.%s: it reads and has an action, or it does not and has none", interface,
				(*m)->name);
		if (g_strcmp0(action, row ? actions[row->action].id : NULL) != 0)
			g_error("%s.%s: the contract says %s", interface, (*m)->name, action);
		*n_rows += row != NULL;
	}
}

static void test_interfaces(void)
{
	unsigned n_rows = 0;
	size_t n;

	action_members(&n);
	compare_interface(BUS_MANAGER, &n_rows);
	compare_interface(BUS_VM, &n_rows);
	g_assert_cmpuint(n_rows, ==, n);
}

static void test_members(void)
{
	size_t n;
	const ActionMember *members = action_members(&n);

	for (size_t i = 0; i < n; i++) {
		/* What is done to a VM by its name is what is done to the VM. */
		const ActionMember *same =
			members[i].vm_member ? action_member_find(BUS_VM, members[i].vm_member) : NULL;

		g_assert_nonnull(strstr(members[i].message, "'$(name)'"));
		if (members[i].vm_member) {
			g_assert_nonnull(same);
			g_assert_cmpint(same->action, ==, members[i].action);
			g_assert_cmpstr(same->message, ==, members[i].message);
		}
	}
}

/* ---- the manual ---- */
#define BEGIN "<!-- actions: written by tests/unit/test-actions.c -->\n"
#define END   "<!-- end of actions -->\n"

static char *make_table(void)
{
	GString *table =
		g_string_new("| action | asked for | default: at the screen | else |\n|---|---|---|---|\n");
	Policy policy;
	size_t n;
	const ActionMember *members = action_members(&n);

	policy_read(&policy);
	for (Action action = 0; action < ACTION_MAX; action++) {
		const char *comma = "";

		g_string_append_printf(table, "| `%s` | ", actions[action].id);
		for (size_t i = 0; i < n; i++) {
			if (members[i].action != action &&
				!(action == ACTION_QEMU_ARGUMENTS && members[i].may_ask_arguments))
				continue;
			g_string_append_printf(table, "%s%s", comma, members[i].name);
			comma = ", ";
		}
		if (action == ACTION_QEMU_ARGUMENTS)
			g_string_append(table, ": beside, when QemuArguments are given");
		if (action == ACTION_MANAGE_ALL)
			g_string_append(table, "all of these, when the VM is another user's");
		g_string_append_printf(table, " | %s | %s |\n", policy_get(&policy, action, "allow_active"),
			policy_get(&policy, action, "allow_any"));
	}
	policy_clear(&policy);
	return g_string_free(table, FALSE);
}

static void test_manual(void)
{
	g_autofree char *text = read_source("docs/API.md"), *table = make_table(), *has = NULL;
	char *begin = strstr(text, BEGIN), *end = strstr(text, END);

	g_assert_true(begin && end && begin < end);
	begin += strlen(BEGIN);
	has = g_strndup(begin, (gsize)(end - begin));
	if (g_getenv("ROOST_REGENERATE_DOCS")) {
		g_autofree char *path = source_path("docs/API.md");
		g_autofree char *before = g_strndup(text, (gsize)(begin - text));
		g_autofree char *whole = g_strconcat(before, table, end, NULL);

		g_assert_true(g_file_set_contents(path, whole, -1, NULL));
		return;
	}
	g_assert_cmpstr(has, ==, table);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/actions/policy", test_policy);
	g_test_add_func("/actions/interfaces", test_interfaces);
	g_test_add_func("/actions/members", test_members);
	g_test_add_func("/actions/manual", test_manual);
	return g_test_run();
}
