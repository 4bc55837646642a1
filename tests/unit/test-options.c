/* Options: what is taken, and what is refused in which words. */
#include <glib.h>
#include <stdint.h>

#include "bus/options.h"
#include "vm/error.h"

typedef struct Options {
	bool force, has_timeout;
	uint64_t timeout_usec;
	uint32_t head;
	const char *mode, *vm;
} Options;

static const OptionRow rows[] = {
	{"Force", 'b', offsetof(Options, force), OPTION_NO_FLAG},
	{"Timeout", 't', offsetof(Options, timeout_usec), offsetof(Options, has_timeout)},
	{"Head", 'u', offsetof(Options, head), OPTION_NO_FLAG},
	{"Mode", 's', offsetof(Options, mode), OPTION_NO_FLAG},
	{"VM", 'o', offsetof(Options, vm), OPTION_NO_FLAG},
};

static bool parse(const char *text, Options *options, GError **error)
{
	static GVariant *kept;

	g_clear_pointer(&kept, g_variant_unref);
	kept = g_variant_parse(G_VARIANT_TYPE("a{sv}"), text, NULL, NULL, NULL);
	g_assert_nonnull(kept);
	return options_parse(kept, "Shutdown", rows, G_N_ELEMENTS(rows), options, error);
}

static void test_taken(void)
{
	g_autoptr(GError) error = NULL;
	Options options = {.mode = "auto"};

	g_assert_true(parse("{}", &options, &error));
	g_assert_cmpstr(options.mode, ==, "auto");
	g_assert_false(options.has_timeout);
	g_assert_true(parse("{'Timeout': <uint64 5>, 'Mode': <'acpi'>, 'Force': <true>, 'Head': <uint32 7>,"
			    " 'VM': <objectpath '/x'>}",
		&options, &error));
	g_assert_no_error(error);
	g_assert_true(options.has_timeout && options.force);
	g_assert_cmpuint(options.timeout_usec, ==, 5);
	g_assert_cmpuint(options.head, ==, 7);
	g_assert_cmpstr(options.mode, ==, "acpi");
	g_assert_cmpstr(options.vm, ==, "/x");
}

static void test_refused(void)
{
	static const struct {
		const char *text, *complaint;
	} cases[] = {
		{"{'Froce': <true>}",
			"options.Froce: unknown, Shutdown takes Force, Timeout, Head, Mode, VM"},
		{"{'': <true>}", "options.'': unknown, Shutdown takes Force, Timeout, Head, Mode, VM"},
		{"{'force': <true>}",
			"options.force: unknown, Shutdown takes Force, Timeout, Head, Mode, VM"},
		{"{'Force': <true>, 'Force': <true>}", "options.Force: is given twice"},
		{"{'Force': <'yes'>}", "options.Force: must be a boolean (b), not of type 's'"},
		{"{'Timeout': <5>}", "options.Timeout: must be a 64-bit count (t), not of type 'i'"},
		{"{'Timeout': <uint32 5>}", "options.Timeout: must be a 64-bit count (t), not of type 'u'"},
		{"{'Head': <uint64 5>}", "options.Head: must be a 32-bit count (u), not of type 't'"},
		{"{'Mode': <objectpath '/x'>}", "options.Mode: must be a string (s), not of type 'o'"},
		{"{'VM': <'/x'>}", "options.VM: must be an object path (o), not of type 's'"},
		{"{'Mode': <@a{sv} {}>}", "options.Mode: must be a string (s), not of type 'a{sv}'"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		Options options = {0};

		g_assert_false(parse(cases[i].text, &options, &error));
		g_assert_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS);
		g_assert_cmpstr(error->message, ==, cases[i].complaint);
	}
}

static void test_none(void)
{
	g_autoptr(GVariant) dict = g_variant_ref_sink(g_variant_new_parsed("{'Paused': <true>}"));
	g_autoptr(GError) error = NULL;

	g_assert_false(options_parse(dict, "Undefine", NULL, 0, NULL, &error));
	g_assert_cmpstr(error->message, ==, "options.Paused: unknown, Undefine takes no options yet");
}

/* A caller's key is not repeated at any length. */
static void test_long_key(void)
{
	g_autofree char *key = g_strnfill(10000, 'k');
	g_autoptr(GVariant) dict = g_variant_ref_sink(g_variant_new_parsed("{%s: <true>}", key));
	g_autoptr(GError) error = NULL;
	Options options = {0};

	g_assert_false(options_parse(dict, "Shutdown", rows, G_N_ELEMENTS(rows), &options, &error));
	g_assert_cmpuint(strlen(error->message), <, 200);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/options/taken", test_taken);
	g_test_add_func("/options/refused", test_refused);
	g_test_add_func("/options/none", test_none);
	g_test_add_func("/options/long-key", test_long_key);
	return g_test_run();
}
