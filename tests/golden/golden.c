#include "golden.h"

#include <string.h>

#include "store/definition-json.h"

static int compare_names(const void *a, const void *b)
{
	return g_strcmp0(*(char *const *)a, *(char *const *)b);
}

char **golden_names(void)
{
	g_autofree char *folder = g_test_build_filename(G_TEST_DIST, "golden", NULL);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	GPtrArray *names = g_ptr_array_new();
	const char *entry;

	g_assert_nonnull(dir);
	while ((entry = g_dir_read_name(dir)))
		if (g_str_has_suffix(entry, ".json"))
			g_ptr_array_add(names, g_strndup(entry, strlen(entry) - strlen(".json")));
	g_ptr_array_sort(names, compare_names);
	g_ptr_array_add(names, NULL);
	return (char **)g_ptr_array_free(names, FALSE);
}

char *golden_path(const char *name, const char *suffix)
{
	g_autofree char *file = g_strconcat(name, suffix, NULL);

	return g_test_build_filename(G_TEST_DIST, "golden", file, NULL);
}

VmConfig *golden_parse(const char *json, const char *images)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_autofree char *complaint = NULL;
	Definition definition = {0};
	int r;

	g_string_printf(
		text, "{\"FormatVersion\": 1, \"OwnerUID\": 0, \"Revision\": 1, \"Config\": %s}", json);
	g_string_replace(text, "@IMAGES@", images, 0);
	r = definition_from_json(text->str, text->len, &definition, &complaint);
	g_assert_cmpstr(complaint, ==, NULL);
	g_assert_cmpint(r, ==, 0);
	return definition.config;
}

VmConfig *golden_load(const char *name, const char *images)
{
	g_autofree char *path = golden_path(name, ".json");
	g_autofree char *json = NULL;
	g_autoptr(GError) error = NULL;

	g_file_get_contents(path, &json, NULL, &error);
	g_assert_no_error(error);
	return golden_parse(json, images);
}
