/*
 * What a definition needs of its QEMU (qemu/support.c) and what its command line asks of it are the same: for
 * every pair, each device, object, netdev, block driver and so on of the .args file is among the needs of the
 * definition, and each option is known to this test. So neither can change without the other.
 */
#include "qemu/support.h"

#include <string.h>

#include "golden.h"

/* What each option asks for: the kind of word its head is, or how it is looked at. */
typedef enum OptionKind {
	OPTION_NONE,   /* asks for nothing that a QEMU can lack; has a value */
	OPTION_ALONE,  /* likewise, without a value */
	OPTION_HEAD,   /* its first part is a name: the word is the prefix and it */
	OPTION_DRIVER, /* its `driver=` is */
	OPTION_ACTION,
	OPTION_MACHINE,
} OptionKind;

static const struct {
	const char *flag;
	OptionKind kind;
	const char *prefix;
} options[] = {
	{"-device", OPTION_HEAD, "type "},
	{"-object", OPTION_HEAD, "type "},
	{"-netdev", OPTION_HEAD, "argument netdev_add.type="},
	{"-blockdev", OPTION_DRIVER, "argument blockdev-add.driver="},
	{"-action", OPTION_ACTION, "argument set-action."},
	{"-machine", OPTION_MACHINE, "machine "},
	/* The accelerator is Start's to resolve, the CPU model is looked up in a list, and each has a test of
	 * its own. */
	{"-accel", OPTION_NONE},
	{"-cpu", OPTION_NONE},
	/* What every QEMU has since long before 7.2. */
	{"-name", OPTION_NONE},
	{"-uuid", OPTION_NONE},
	{"-smp", OPTION_NONE},
	{"-m", OPTION_NONE},
	{"-rtc", OPTION_NONE},
	{"-boot", OPTION_NONE},
	{"-kernel", OPTION_NONE},
	{"-initrd", OPTION_NONE},
	{"-append", OPTION_NONE},
	{"-add-fd", OPTION_NONE},
	{"-chardev", OPTION_NONE},
	{"-mon", OPTION_NONE},
	{"-display", OPTION_NONE},
	{"-sandbox", OPTION_NONE}, /* the probe has it, too: a QEMU without can't say what it can do */
	{"-global", OPTION_NONE},  /* of a device that is named elsewhere */
	{"-vnc", OPTION_NONE},     /* likewise: Display's commands */
	{"-S", OPTION_ALONE},
	{"-nodefaults", OPTION_ALONE},
	{"-no-user-config", OPTION_ALONE},
	{"-no-shutdown", OPTION_ALONE},
};

static void take_need(const QemuNeed *need, void *user)
{
	g_assert_nonnull(strchr(need->word, ' '));
	g_hash_table_add(user, g_strdup(need->word));
}

static void assert_needed(GHashTable *needs, const char *prefix, const char *value, const char *what)
{
	g_autofree char *word = g_strconcat(prefix, value, NULL);

	if (!g_hash_table_contains(needs, word))
		g_error("%s: the command line needs '%s', which the table does not know", what, word);
}

/* The value of a part `key=value`, or NULL. */
static const char *part_value(char **parts, const char *key)
{
	g_autofree char *start = g_strconcat(key, "=", NULL);

	for (; *parts; parts++)
		if (g_str_has_prefix(*parts, start))
			return *parts + strlen(start);
	return NULL;
}

/* The parts of an option; of one in JSON, as if it were in QEMU's own words. */
static char **split(const char *value)
{
	g_autoptr(GString) text = g_string_new(value);

	if (*value == '{') {
		g_string_replace(text, "\"cache\":{", "cache.", 0);
		g_string_replace(text, "{", "", 0);
		g_string_replace(text, "}", "", 0);
		g_string_replace(text, "\"", "", 0);
		g_string_replace(text, ":", "=", 0);
	}
	return g_strsplit(text->str, ",", -1);
}

static void check_option(GHashTable *needs, unsigned row, const char *value, const char *what)
{
	g_auto(GStrv) parts = split(value);
	const char *prefix = options[row].prefix;

	switch (options[row].kind) {
	case OPTION_NONE:
	case OPTION_ALONE:
		break;
	case OPTION_HEAD:
		assert_needed(needs, prefix, parts[0], what);
		break;
	case OPTION_DRIVER:
		assert_needed(needs, prefix, part_value(parts, "driver"), what);
		if (part_value(parts, "cache.direct") || part_value(parts, "cache.no-flush"))
			assert_needed(needs, "argument blockdev-add.", "cache", what);
		if (part_value(parts, "discard"))
			assert_needed(needs, "argument blockdev-add.", "discard", what);
		break;
	case OPTION_ACTION:
		assert_needed(needs, "option ", "action", what);
		assert_needed(needs, prefix, parts[0], what);
		break;
	case OPTION_MACHINE:
		assert_needed(needs, prefix, parts[0], what);
		if (part_value(parts, "smm"))
			assert_needed(needs, "property x86-machine.", "smm", what);
		if (part_value(parts, "pflash0"))
			assert_needed(needs, "type ", "cfi.pflash01", what);
		break;
	}
}

static void test_pair(const void *data)
{
	const char *name = data;
	g_autoptr(VmConfig) config = golden_load(name, GOLDEN_IMAGES);
	g_autoptr(GHashTable) needs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	unsigned n_own = config->qemu_arguments ? g_strv_length(config->qemu_arguments) : 0;
	g_autofree char *path = golden_path(name, ".args"), *text = NULL;
	g_auto(GStrv) words = NULL;
	unsigned n_words;

	qemu_needs_foreach(config, take_need, needs);
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	words = g_strsplit(g_strchomp(text), "\n", -1);
	/* QemuArguments are the definition's own words. */
	n_words = g_strv_length(words) - n_own;
	for (unsigned i = 1, row; i < n_words; i++) {
		for (row = 0; row < G_N_ELEMENTS(options) && strcmp(words[i], options[row].flag) != 0;)
			row++;
		if (row == G_N_ELEMENTS(options))
			g_error("%s: %s is an option that this test does not know", name, words[i]);
		if (options[row].kind == OPTION_ALONE)
			continue;
		g_assert_cmpuint(i + 1, <, n_words);
		check_option(needs, row, words[++i], name);
	}
}

/* Each pair needs something: a table that lost its rows would be noticed. */
static void count_need(const QemuNeed *need, void *user)
{
	++*(unsigned *)user;
}

static void test_counts(void)
{
	g_autoptr(VmConfig) small = golden_load("minimal", GOLDEN_IMAGES);
	g_autoptr(VmConfig) large = golden_load("everything", GOLDEN_IMAGES);
	unsigned n_small = 0, n_large = 0;

	qemu_needs_foreach(small, count_need, &n_small);
	qemu_needs_foreach(large, count_need, &n_large);
	g_assert_cmpuint(n_small, >=, 2);
	g_assert_cmpuint(n_large, >=, 15);
}

int main(int argc, char **argv)
{
	g_auto(GStrv) names = NULL;

	g_test_init(&argc, &argv, NULL);
	names = golden_names();
	for (char **name = names; *name; name++) {
		g_autofree char *path = g_strconcat("/needs/", *name, NULL);

		g_test_add_data_func(path, *name, test_pair);
	}
	g_test_add_func("/needs/counts", test_counts);
	return g_test_run();
}
