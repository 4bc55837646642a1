/* The contract (interfaces/) and what the running service introspects are the same, member by member. */
#include <string.h>

#include "fixture.h"

static char *read_contract(const char *interface)
{
	g_autofree char *file = g_strconcat(interface, ".xml", NULL);
	g_autofree char *path = g_build_filename(g_getenv("INTERFACES"), file, NULL);
	g_autoptr(GError) error = NULL;
	char *text;

	g_file_get_contents(path, &text, NULL, &error);
	g_assert_no_error(error);
	return text;
}

static const char *emits_changed(GDBusAnnotationInfo **annotations)
{
	const char *value = g_dbus_annotation_info_lookup(
		annotations, "org.freedesktop.DBus.Property.EmitsChangedSignal");

	return value ? value : "true";
}

static void describe_args(GString *text, GDBusArgInfo **args, const char *direction)
{
	for (; args && *args; args++)
		g_string_append_printf(text, " %s %s %s", direction, (*args)->signature, (*args)->name);
}

/* One line per member, sorted: prose and what is for code generators falls away. */
static char **describe(const char *xml, const char *interface)
{
	g_autoptr(GDBusNodeInfo) node = NULL;
	g_autoptr(GError) error = NULL;
	GDBusInterfaceInfo *info;
	g_autoptr(GPtrArray) lines = g_ptr_array_new();

	node = g_dbus_node_info_new_for_xml(xml, &error);
	g_assert_no_error(error);
	info = g_dbus_node_info_lookup_interface(node, interface);
	g_assert_nonnull(info);
	for (GDBusMethodInfo **m = info->methods; m && *m; m++) {
		GString *line = g_string_new("method ");

		g_string_append(line, (*m)->name);
		describe_args(line, (*m)->in_args, "in");
		describe_args(line, (*m)->out_args, "out");
		g_ptr_array_add(lines, g_string_free(line, FALSE));
	}
	for (GDBusSignalInfo **s = info->signals; s && *s; s++) {
		GString *line = g_string_new("signal ");

		g_string_append(line, (*s)->name);
		describe_args(line, (*s)->args, "");
		g_ptr_array_add(lines, g_string_free(line, FALSE));
	}
	for (GDBusPropertyInfo **p = info->properties; p && *p; p++)
		g_ptr_array_add(
			lines, g_strdup_printf("property %s %s %s%s changes=%s", (*p)->name, (*p)->signature,
				       (*p)->flags & G_DBUS_PROPERTY_INFO_FLAGS_READABLE ? "r" : "",
				       (*p)->flags & G_DBUS_PROPERTY_INFO_FLAGS_WRITABLE ? "w" : "",
				       emits_changed((*p)->annotations)));
	g_ptr_array_add(lines, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&lines), FALSE);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void compare(Fixture *f, const char *path, const char *interface)
{
	g_autofree char *contract = read_contract(interface);
	g_autoptr(GVariant) result =
		client_call(f->client, path, "org.freedesktop.DBus.Introspectable", "Introspect", NULL);
	g_auto(GStrv) wanted = describe(contract, interface), found = NULL;
	const char *xml;

	g_variant_get(result, "(&s)", &xml);
	found = describe(xml, interface);
	qsort(wanted, g_strv_length(wanted), sizeof *wanted, compare_lines);
	qsort(found, g_strv_length(found), sizeof *found, compare_lines);
	for (guint i = 0; wanted[i] || found[i]; i++)
		g_assert_cmpstr(wanted[i], ==, found[i]);
}

static void test_interfaces(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);

	compare(f, PATH, MANAGER);
	compare(f, web, VM);
}

/* The tree can be walked from the root to the VMs. */
static void test_tree(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	static const char *const paths[] = {"/", "/org", PATH, PATH "/vm"};
	const char *last = strrchr(web, '/') + 1;

	for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
		static const char *const children[] = {"org", "roost1", "vm", NULL};
		g_autofree char *child = g_strdup_printf("*<node name=\"%s\"*", i < 3 ? children[i] : last);
		g_autoptr(GVariant) result = client_call(
			f->client, paths[i], "org.freedesktop.DBus.Introspectable", "Introspect", NULL);
		const char *xml;

		g_variant_get(result, "(&s)", &xml);
		g_assert_true(g_pattern_match_simple(child, xml));
	}
}

/* Every member of the contract has prose, and says since when it is there. */
static void test_prose(void)
{
	static const char *const interfaces[] = {MANAGER, VM};

	for (gsize i = 0; i < G_N_ELEMENTS(interfaces); i++) {
		g_autofree char *contract = read_contract(interfaces[i]);
		g_autoptr(GRegex) member =
			g_regex_new("<(method|signal|property) name=\"(\\w+)\"", 0, 0, NULL);
		g_autoptr(GMatchInfo) match = NULL;

		for (g_regex_match(member, contract, 0, &match); g_match_info_matches(match);
			g_match_info_next(match, NULL)) {
			g_autofree char *name = g_match_info_fetch(match, 2);
			g_autofree char *pattern = g_strdup_printf(
				"<!--\\s+%s:\\n(\\s+@\\w+: [^@]*)*\\s+@since: [0-9.]+\\n\\s*\\n\\s+\\S",
				name);

			if (!g_regex_match_simple(pattern, contract, 0, 0))
				g_error("%s.%s has no prose in the contract's form", interfaces[i], name);
		}
	}
}

/*
 * Code generators make get_vmby_pid of GetVMByPID: where capitals follow one another the contract says what
 * the name is in C; and which methods pass fds. (tests/clients is a client with the generated names.)
 */
static void check_annotations(const char *interface)
{
	g_autofree char *contract = read_contract(interface);
	g_autoptr(GRegex) member =
		g_regex_new("<(method|signal|property) name=\"(\\w*)\".*?(?=\\s<(method|signal|property) "
			    "|\\s</interface>)",
			G_REGEX_DOTALL, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;

	for (g_regex_match(member, contract, 0, &match); g_match_info_matches(match);
		g_match_info_next(match, NULL)) {
		g_autofree char *text = g_match_info_fetch(match, 0), *name = g_match_info_fetch(match, 2);

		if (g_regex_match_simple("[A-Z][A-Z]", name, 0, 0) &&
			!strstr(text, "\"org.gtk.GDBus.C.Name\""))
			g_error("%s.%s has no name for C", interface, name);
		if (strstr(text, "type=\"h\"") && !strstr(text, "\"org.gtk.GDBus.C.UnixFD\""))
			g_error("%s.%s does not say that it passes fds", interface, name);
	}
}

static void test_names_in_c(void)
{
	check_annotations(MANAGER);
	check_annotations(VM);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/introspect/interfaces", test_interfaces);
	g_test_add_func("/introspect/tree", test_tree);
	g_test_add_func("/introspect/prose", test_prose);
	g_test_add_func("/introspect/names-in-c", test_names_in_c);
	return g_test_run();
}
