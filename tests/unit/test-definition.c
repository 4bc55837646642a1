/* Definitions as JSON: what is written is read again; what is no definition is refused with words that say
 * why. */
#include <errno.h>
#include <string.h>

#include "random-config.h"
#include "store/definition-json.h"

#define UUID       "01234567-89ab-cdef-0123-456789abcdef"
#define CONFIG     "\"Name\": \"web\", \"UUID\": \"" UUID "\", \"Memory\": 1048576"
#define WITH(more) "{\"FormatVersion\": 1, \"OwnerUID\": 0, \"Revision\": 1, \"Config\": {" CONFIG more "}}"

static void test_round_trip(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		g_autoptr(GVariant) dict = random_config_dict();
		Definition definition = {.owner_uid = i % 2 ? 1000 : G_MAXUINT32 - 1, .revision = 1 + i},
			   back;
		g_autofree char *text = NULL, *complaint = NULL;
		size_t size;

		g_assert_cmpint(vm_config_new_from_variant(dict, &definition.config, &complaint), ==, 0);
		text = definition_to_json(&definition, &size);
		g_assert_cmpuint(strlen(text), ==, size);
		if (definition_from_json(text, size, &back, &complaint) < 0)
			g_error("%s: %s", text, complaint);
		assert_configs_equal(definition.config, back.config);
		g_assert_cmpuint(back.owner_uid, ==, definition.owner_uid);
		g_assert_cmpuint(back.revision, ==, definition.revision);
		vm_config_unref(definition.config);
		vm_config_unref(back.config);
	}
}

/* The largest definition there is, with what JSON makes longest, is small enough to be read again. */
static void test_largest(void)
{
	g_autofree char *path = g_strnfill(3700, '"'), *description = g_strnfill(1024, '\001');
	g_autofree char *text = NULL, *complaint = NULL;
	Definition definition = {.revision = 1}, back;
	GVariantBuilder disks;
	GVariantDict dict;
	g_autoptr(GVariant) whole = NULL;
	size_t size;

	*path = '/';
	g_variant_builder_init(&disks, G_VARIANT_TYPE("aa{sv}"));
	for (unsigned i = 0; i < VM_DISKS_MAX; i++)
		g_variant_builder_add_parsed(&disks, "{'Path': <%s>, 'Format': <'raw'>}", path);
	g_variant_dict_init(&dict, NULL);
	g_variant_dict_insert(&dict, "Name", "s", "web");
	g_variant_dict_insert(&dict, "Memory", "t", (guint64)1 << 20);
	g_variant_dict_insert(&dict, "Description", "s", description);
	g_variant_dict_insert_value(&dict, "Disks", g_variant_builder_end(&disks));
	whole = g_variant_ref_sink(g_variant_dict_end(&dict));
	g_assert_cmpint(vm_config_new_from_variant(whole, &definition.config, &complaint), ==, 0);
	text = definition_to_json(&definition, &size);
	g_assert_cmpuint(size, >, 2 * 3700 * VM_DISKS_MAX);
	g_assert_cmpuint(size, <, DEFINITION_JSON_MAX);
	g_assert_cmpint(definition_from_json(text, size, &back, &complaint), ==, 0);
	assert_configs_equal(definition.config, back.config);
	vm_config_unref(definition.config);
	vm_config_unref(back.config);
}

static const struct {
	const char *text;
	int error;
	const char *complaint;
} refusals[] = {
	{"", -EBADMSG, "is empty"},
	{" ", -EBADMSG, "is not JSON, or not all of it"},
	{"hello", -EBADMSG, "is not JSON, or not all of it"},
	{"\xff\xfe", -EBADMSG, "is not JSON, or not all of it"},
	{"[]", -EBADMSG, "is not a JSON object"},
	{"null", -EBADMSG, "is not a JSON object"},
	{"[[[[[[[[[[[[]]]]]]]]]]]]", -E2BIG, "is nested too deeply"},
	{"{}", -EINVAL, "FormatVersion: is required"},
	{"{\"FormatVersion\": \"1\"}", -EINVAL, "FormatVersion: is not a whole number"},
	{"{\"FormatVersion\": 1.5}", -EINVAL, "FormatVersion: is not a whole number"},
	{"{\"FormatVersion\": 0}", -EINVAL, "FormatVersion: 0 is out of range"},
	{"{\"FormatVersion\": 2, \"Anything\": []}", -EPROTONOSUPPORT,
		"FormatVersion: 2 is newer than 1, which this version reads"},
	{"{\"FormatVersion\": 1}", -EINVAL, "OwnerUID: is required"},
	{"{\"FormatVersion\": 1, \"OwnerUID\": -1}", -EINVAL, "OwnerUID: -1 is out of range"},
	{"{\"FormatVersion\": 1, \"OwnerUID\": 4294967295}", -EINVAL, "OwnerUID: 4294967295 is out of range"},
	{"{\"FormatVersion\": 1, \"OwnerUID\": 0, \"Revision\": 0}", -EINVAL, "Revision: 0 is out of range"},
	{"{\"FormatVersion\": 1, \"OwnerUID\": 0, \"Revision\": 18446744073709551615}", -EINVAL,
		"Revision: -1 is out of range"},
	{"{\"FormatVersion\": 1, \"OwnerUID\": 0, \"Revision\": 1}", -EINVAL, "Config: is required"},
	{"{\"FormatVersion\": 1, \"OwnerUID\": 0, \"Revision\": 1, \"Config\": []}", -EINVAL,
		"Config: is not an object"},
	{"{\"FormatVersion\": 1, \"OwnerUID\": 0, \"Revision\": 1, \"Config\": {\"Name\": \"web\"}}", -EINVAL,
		"Config: has no UUID"},
	{"{\"FormatVersion\": 1, \"Extra\": 0}", -EINVAL, "'Extra': unknown member"},
	{WITH(", \"VCPUs\": \"2\""), -EINVAL, "VCPUs: has type 's', needs 'u'"},
	{WITH(", \"VCPUs\": -2"), -EINVAL, "VCPUs: has type 'x', needs 'u'"},
	{WITH(", \"VCPUs\": 4294967297"), -EINVAL, "VCPUs: has type 'x', needs 'u'"},
	{WITH(", \"VCPUs\": 2.0"), -EINVAL, "VCPUs: has type 'd', needs 'u'"},
	{WITH(", \"VCPUs\": null"), -EINVAL, "Config: 'VCPUs' is null"},
	{WITH(", \"ShutdownTimeout\": -1"), -EINVAL, "ShutdownTimeout: has type 'x', needs 't'"},
	{WITH(", \"Autostart\": 1"), -EINVAL, "Autostart: has type 'x', needs 'b'"},
	{WITH(", \"Description\": 1"), -EINVAL, "Description: has type 'x', needs 's'"},
	{WITH(", \"Disks\": {}"), -EINVAL, "Disks: has type 'a{sv}', needs 'aa{sv}'"},
	{WITH(", \"Disks\": [1]"), -EINVAL, "Disks: has type 'av', needs 'aa{sv}'"},
	{WITH(", \"Disks\": [{}, []]"), -EINVAL, "Disks: has type 'av', needs 'aa{sv}'"},
	{WITH(", \"Disks\": [{\"Path\": null}]"), -EINVAL, "Config: 'Path' is null"},
	{WITH(", \"Disks\": [{\"Path\": \"/a\", \"Format\": 1}]"), -EINVAL,
		"Disks[0].Format: has type 'x', needs 's'"},
	{WITH(", \"Disks\": [{\"Path\": \"/a\", \"Format\": \"raw\", \"AIO\": \"native\"}]"), -EOPNOTSUPP,
		"Disks[0].AIO: not supported by this version yet"},
	{WITH(", \"TPM\": [\"a\", {\"b\": null}]"), -EOPNOTSUPP, "TPM: not supported by this version yet"},
	{WITH(", \"Metadata\": {\"a\": \"b\", \"c\": 1}"), -EINVAL,
		"Metadata: has type 'a{sv}', needs 'a{ss}'"},
	{WITH(", \"Metadata\": {\"a\": null}"), -EINVAL, "Metadata: has type 'a{sv}', needs 'a{ss}'"},
	{WITH(", \"QemuArguments\": [\"a\", 1]"), -EINVAL, "QemuArguments: has type 'av', needs 'as'"},
	{WITH(", \"QemuArguments\": \"a\""), -EINVAL, "QemuArguments: has type 's', needs 'as'"},
	{WITH(", \"Metadata\": [\"a\"]"), -EINVAL, "Metadata: has type 'av', needs 'a{ss}'"},
	{WITH(", \"Memroy\": 1"), -EINVAL, "Memroy: unknown key; did you mean 'Memory'?"},
	{WITH("") "x", -EBADMSG, "is not JSON, or not all of it"},
};

static void test_refusals(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++) {
		g_autofree char *complaint = NULL;
		Definition definition = {.config = NULL};
		int r = definition_from_json(
			refusals[i].text, strlen(refusals[i].text), &definition, &complaint);

		g_assert_cmpstr(complaint, ==, refusals[i].complaint);
		g_assert_cmpint(r, ==, refusals[i].error);
		g_assert_null(definition.config);
	}
}

/* However much of a file is there: never a definition before it is whole. */
static void test_cut(void)
{
	const char *text = WITH(", \"Disks\": [{\"Path\": \"/a\", \"Format\": \"raw\"}]");
	g_autofree char *complaint = NULL;
	Definition definition;

	for (size_t size = 0; size < strlen(text); size++) {
		g_autofree char *cut = g_strndup(text, size), *why = NULL;

		g_assert_cmpint(definition_from_json(cut, size, &definition, &why), ==, -EBADMSG);
	}
	g_assert_cmpint(definition_from_json(text, strlen(text), &definition, &complaint), ==, 0);
	g_assert_cmpstr(definition.config->disks[0].name, ==, "disk0");
	vm_config_unref(definition.config);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/definition/round-trip", test_round_trip);
	g_test_add_func("/definition/largest", test_largest);
	g_test_add_func("/definition/refusals", test_refusals);
	g_test_add_func("/definition/cut", test_cut);
	return g_test_run();
}
