/*
 * What a QEMU says that it can do: read from a recording of QEMU 7.2.22 (qemu-7.2.replies; most machines,
 * models, types and commands are left out of it, what is there is word for word), from the stand-in, from the
 * QEMU that is installed, and from what no QEMU says.
 */
#include "qemu/capabilities.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "qemu/probe.h"
#include "util/clock.h"

#define LONG_USEC (60 * USEC_PER_SEC)

/* ---- the recording ---- */
static char *recording(gsize *ret_size)
{
	g_autofree char *path = g_test_build_filename(G_TEST_DIST, "unit", "qemu-7.2.replies", NULL);
	g_autoptr(GError) error = NULL;
	char *text;

	g_file_get_contents(path, &text, ret_size, &error);
	g_assert_no_error(error);
	return text;
}

static QemuCapabilities *read_recording(void)
{
	QemuCapabilities *capabilities = NULL;
	g_autofree char *complaint = NULL, *text = NULL;
	gsize size;

	text = recording(&size);
	g_assert_cmpint(qemu_dialogue_read(text, size, &capabilities, &complaint), ==, 0);
	g_assert_null(complaint);
	return capabilities;
}

/* Not before the last question is answered, and its line whole. */
static void test_complete(void)
{
	g_autofree char *text = NULL;
	unsigned n_complete = 0;
	gsize size;

	text = recording(&size);
	for (gsize i = 0; i <= size; i++)
		if (qemu_dialogue_is_complete(text, i)) {
			QemuCapabilities *capabilities = NULL;
			g_autofree char *complaint = NULL;

			g_assert_cmpint(qemu_dialogue_read(text, i, &capabilities, &complaint), ==, 0);
			qemu_capabilities_unref(capabilities);
			n_complete++;
		}
	g_assert_cmpuint(n_complete, ==, 1);
}

static void test_recording(void)
{
	static const char *const words[] = {"type e1000e", "type virtio-blk-pci", "type kvm-accel",
		"type rng-random", "command query-vnc", "command blockdev-add",
		"argument blockdev-add.driver=qcow2", "argument blockdev-add.discard",
		"argument blockdev-add.cache", "argument netdev_add.type=user",
		"argument set-action.watchdog=inject-nmi", "argument screendump.format=png", "option action",
		"property x86-machine.smm"};
	static const char *const none[] = {"", "type", "type nonsense", "e1000e", "type e1000e ",
		"command screendump.format",
		"argument blockdev-add.driver=", "argument screendump.format=jpeg", "machine q35"};
	g_autoptr(QemuCapabilities) c = read_recording();
	const QemuMachineInfo *machine;

	g_assert_cmpstr(c->version, ==, "7.2.22");
	g_assert_false(c->is_kvm);
	machine = qemu_capabilities_machine(c, "q35");
	g_assert_nonnull(machine);
	g_assert_cmpstr(machine->name, ==, "pc-q35-7.2");
	g_assert_cmpuint(machine->max_vcpus, ==, 288);
	g_assert_true(qemu_capabilities_machine(c, "pc-q35-7.2") == machine);
	g_assert_cmpstr(qemu_capabilities_machine(c, "pc")->name, ==, "pc-i440fx-7.2");
	g_assert_cmpstr(qemu_capabilities_machine(c, "isapc")->alias, ==, NULL);
	g_assert_null(qemu_capabilities_machine(c, "Q35"));
	g_assert_true(qemu_capabilities_cpu_model(c, "max")->complete);
	g_assert_false(qemu_capabilities_cpu_model(c, "host")->complete);
	g_assert_false(qemu_capabilities_cpu_model(c, "Skylake-Server")->complete);
	g_assert_false(qemu_capabilities_cpu_model(c, "486")->deprecated);
	g_assert_null(qemu_capabilities_cpu_model(c, "skylake-server"));
	for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
		if (!qemu_capabilities_has(c, words[i]))
			g_error("not there: %s", words[i]);
	for (size_t i = 0; i < G_N_ELEMENTS(none); i++)
		if (qemu_capabilities_has(c, none[i]))
			g_error("there: %s", none[i]);
}

/* ---- as text ---- */
static void test_text(void)
{
	g_autoptr(QemuCapabilities) c = read_recording(), again = NULL;
	g_autofree char *text = qemu_capabilities_to_text(c), *other = NULL;

	g_assert_cmpint(qemu_capabilities_from_text(text, &again), ==, 0);
	other = qemu_capabilities_to_text(again);
	g_assert_cmpstr(text, ==, other);
	g_assert_cmpuint(again->n_words, ==, c->n_words);
	g_assert_cmpstr(qemu_capabilities_machine(again, "q35")->name, ==, "pc-q35-7.2");
	g_assert_null(qemu_capabilities_machine(again, "-"));
}

static void test_bad_text(void)
{
	static const char *const texts[] = {
		"",
		"\n",
		"version 7.2.22",
		"kvm 0\n",
		"version 7.2.22\nversion 7.2.22\n",
		"version 7.2.22 x\n",
		"version \n",
		"version 7.2.22\nkvm 2\n",
		"version 7.2.22\nkvm yes\n",
		"version 7.2.22\nmachine pc\n",
		"version 7.2.22\nmachine pc - many\n",
		"version 7.2.22\nmachine pc - 4294967296\n",
		"version 7.2.22\nmachine pc - -1\n",
		"version 7.2.22\ncpu max 0\n",
		"version 7.2.22\ncpu max 0 2\n",
		"version 7.2.22\nalone\n",
		"version 7.2.22\n\ntype x\n",
	};
	g_autofree char *text = NULL;
	g_autoptr(QemuCapabilities) whole = read_recording();

	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		QemuCapabilities *c = NULL;

		g_test_message("%s", texts[i]);
		g_assert_cmpint(qemu_capabilities_from_text(texts[i], &c), ==, -EBADMSG);
		g_assert_null(c);
	}
	/* Whatever becomes of it, it is capabilities or nothing. */
	text = qemu_capabilities_to_text(whole);
	for (size_t i = 0; text[i]; i++) {
		g_autoptr(QemuCapabilities) c = NULL;
		char kept = text[i];

		text[i] = i % 3 == 0 ? '\n' : i % 3 == 1 ? ' ' : '\x80';
		if (qemu_capabilities_from_text(text, &c) == 0)
			g_assert_nonnull(c->version);
		text[i] = kept;
	}
}

/* ---- what no QEMU says ---- */
static int read_text(const char *text, gsize size, const char *glob)
{
	g_autoptr(QemuCapabilities) c = NULL;
	g_autofree char *complaint = NULL;
	int r = qemu_dialogue_read(text, size, &c, &complaint);

	g_assert_true((r == 0) == (c != NULL) && (r == 0) == (complaint == NULL));
	if (complaint && glob && !g_pattern_match_simple(glob, complaint))
		g_error("%s\nnot %s", complaint, glob);
	return r;
}

/* The recording with the line that has `mark` in its place taken by another. */
static char *with_answer(unsigned id, const char *line)
{
	g_autofree char *text = recording(NULL), *mark = g_strdup_printf("\"id\": %u}", id);
	g_auto(GStrv) lines = g_strsplit(text, "\r\n", -1);
	unsigned n = 0;

	for (char **each = lines; *each; each++) {
		if (!g_str_has_suffix(*each, mark))
			continue;
		g_free(*each);
		*each = g_strdup(line);
		n++;
	}
	g_assert_cmpuint(n, ==, 1);
	return g_strjoinv("\r\n", lines);
}

static void test_wrong_answers(void)
{
	static const struct {
		unsigned id;
		const char *line;
		int result;
		const char *glob;
	} rows[] = {
		{1, "", -EBADMSG, "it does not answer query-version"},
		{1, "{\"id\": 1}", -EBADMSG, "its answer to query-version is none"},
		{1, "{\"id\": 1, \"return\": {}}", -EBADMSG, "its answer to query-version is none"},
		{1, "{\"id\": 1, \"return\": {\"qemu\": {\"major\": 7, \"minor\": 2}}}", -EBADMSG,
			"*is none"},
		{1, "{\"id\": 1, \"return\": {\"qemu\": {\"major\": 7, \"minor\": 2, \"micro\": -1}}}",
			-EBADMSG, "*is none"},
		{1, "{\"id\": 1, \"return\": {\"qemu\": {\"major\": \"7\", \"minor\": 2, \"micro\": 1}}}",
			-EBADMSG, "*is none"},
		{1, "{\"id\": 1, \"return\": {\"qemu\": {\"major\": 10000, \"minor\": 2, \"micro\": 1}}}",
			-EBADMSG, "*is none"},
		{1, "{\"id\": 1, \"return\": {\"qemu\": {\"major\": 10, \"minor\": 2, \"micro\": 1}}}", 0},
		{1, "{\"id\": 1, \"error\": {\"class\": \"GenericError\", \"desc\": \"not\\ntoday\"}}",
			-EPROTO, "it refuses query-version: not\\x0atoday"},
		{1, "{\"id\": 1, \"error\": 5}", -EPROTO, "it refuses query-version: without a word"},
		{1, "no JSON", -EBADMSG, "what it says is not QMP"},
		{1, "[1]", -EBADMSG, "it does not answer query-version"},
		{1, "{\"id\": 99, \"return\": {}}", -EBADMSG, "it does not answer query-version"},
		{1, "{\"id\": \"1\", \"return\": {}}", -EBADMSG, "it does not answer query-version"},
		/* What not every QEMU knows. */
		{2, "{\"id\": 2, \"error\": {\"desc\": \"no such command\"}}", 0},
		{6, "{\"id\": 6, \"error\": {\"desc\": \"no such type\"}}", 0},
		{7, "{\"id\": 7, \"error\": {\"desc\": \"no such command\"}}", 0},
		{3, "{\"id\": 3, \"return\": {}}", -EBADMSG, "its answer to query-machines is none"},
		{3, "{\"id\": 3, \"return\": []}", 0},
		{3, "{\"id\": 3, \"return\": [1]}", -EBADMSG, "*is none"},
		{3, "{\"id\": 3, \"return\": [{\"name\": 1, \"cpu-max\": 1}]}", -EBADMSG, "*is none"},
		{3, "{\"id\": 3, \"return\": [{\"name\": \"pc\"}]}", -EBADMSG, "*is none"},
		{3, "{\"id\": 3, \"return\": [{\"name\": \"pc\", \"cpu-max\": 1, \"alias\": 7}]}", 0},
		{4, "{\"id\": 4, \"return\": [{\"name\": null}]}", -EBADMSG,
			"*query-cpu-definitions is none"},
		{4, "{\"id\": 4, \"return\": [{\"name\": \"max\", \"unavailable-features\": 7}]}", 0},
		{5, "{\"id\": 5, \"return\": [\"e1000e\"]}", -EBADMSG,
			"its answer to qom-list-types is none"},
		{5, "{\"id\": 5, \"return\": \"e1000e\"}", -EBADMSG, "its answer to qom-list-types is none"},
		{8, "{\"id\": 8, \"return\": [{\"name\": \"x\"}]}", -EBADMSG, "*query-qmp-schema is none"},
		{8,
			"{\"id\": 8, \"return\": [{\"name\": \"netdev_add\", \"meta-type\": \"command\", "
			"\"arg-type\": "
			"\"1\"}, {\"name\": \"1\", \"meta-type\": \"object\", \"members\": [{\"name\": "
			"\"type\", "
			"\"type\": \"1\"}, 5, {\"name\": 6}]}]}",
			0},
		{8,
			"{\"id\": 8, \"return\": [{\"name\": \"netdev_add\", \"meta-type\": \"command\", "
			"\"arg-type\": "
			"\"1\"}, {\"name\": \"1\", \"meta-type\": \"enum\", \"members\": 7}]}",
			0},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *text = with_answer(rows[i].id, rows[i].line);

		g_test_message("%s", rows[i].line);
		g_assert_cmpint(read_text(text, strlen(text), rows[i].glob), ==, rows[i].result);
	}
}

/* Names that are none are left out; those beside them stay. */
static void test_odd_names(void)
{
	g_autofree char *long_name = g_strnfill(129, 'x');
	g_autofree char *line =
		g_strdup_printf("{\"id\": 5, \"return\": [{\"name\": \"\"}, {\"name\": \"a\\nb\"}, "
				"{\"name\": \"\\u00e4\"}, {\"name\": \"%s\"}, {\"name\": \"good "
				"one\"}, {\"name\": \"good\"}, {\"name\": \"good\"}]}",
			long_name);
	g_autofree char *text = with_answer(5, line), *models = NULL, *complaint = NULL;
	g_autoptr(QemuCapabilities) c = NULL, other = NULL;
	unsigned n = 0;

	g_assert_cmpint(qemu_dialogue_read(text, strlen(text), &c, &complaint), ==, 0);
	for (unsigned i = 0; i < c->n_words; i++)
		n += g_str_has_prefix(c->words[i], "type ");
	g_assert_cmpuint(n, ==, 2);
	g_assert_true(qemu_capabilities_has(c, "type good") && qemu_capabilities_has(c, "type good one"));
	models = with_answer(
		4, "{\"id\": 4, \"return\": [{\"name\": \"a b\"}, {\"name\": \"\"}, {\"name\": \"ok\"}]}");
	g_assert_cmpint(qemu_dialogue_read(models, strlen(models), &other, &complaint), ==, 0);
	g_assert_cmpuint(other->n_cpu_models, ==, 1);
}

static void test_bounds(void)
{
	g_autoptr(GString) deep = g_string_new("{\"id\": 5, \"return\": ");
	g_autoptr(GString) many = g_string_new("{\"id\": 5, \"return\": [");
	g_autofree char *text = NULL, *other = NULL;

	for (unsigned i = 0; i < 40; i++)
		g_string_append_c(deep, '[');
	for (unsigned i = 0; i < 40; i++)
		g_string_append_c(deep, ']');
	g_string_append_c(deep, '}');
	text = with_answer(5, deep->str);
	g_assert_cmpint(read_text(text, strlen(text), "what it says is nested too deep"), ==, -E2BIG);
	for (unsigned i = 0; i < 20000; i++)
		g_string_append_printf(many, "%s{\"name\": \"t%u\"}", i == 0 ? "" : ",", i);
	g_string_append(many, "]}");
	other = with_answer(5, many->str);
	g_assert_cmpint(read_text(other, strlen(other), "it has more * than any QEMU"), ==, -EFBIG);
}

/* However early it ends, and whatever byte is another: an error, or capabilities. */
static void test_damage(void)
{
	gsize size;
	g_autofree char *text = recording(&size);
	gsize last = (gsize)(g_strrstr(text, "\"id\": 8}") - text) + strlen("\"id\": 8}");

	for (gsize i = 0; i < last; i += 13)
		g_assert_cmpint(read_text(text, i, NULL), <, 0);
	g_assert_cmpint(read_text(text, last, NULL), ==, 0);
	for (gsize i = 0; i < size; i += 5) {
		char kept = text[i];

		text[i] = "\"{}[],:\\\n\x80\0 1"[i % 13];
		read_text(text, size, NULL);
		text[i] = kept;
	}
}

/* ---- others than the recording ---- */
static QemuCapabilities *probe(const char *binary)
{
	g_autofree char *complaint = NULL;
	QemuCapabilities *c = NULL;
	int r = qemu_probe_capabilities(binary, LONG_USEC, -1, &c, &complaint);

	g_assert_cmpstr(complaint, ==, NULL);
	g_assert_cmpint(r, ==, 0);
	return c;
}

/* The stand-in says nothing that a QEMU of its version would not. */
static void test_stand_in(void)
{
	g_autofree char *binary = g_test_build_filename(G_TEST_BUILT, "mock-qemu", "mock-qemu", NULL);
	g_autoptr(QemuCapabilities) mock = probe(binary), real = read_recording();

	g_assert_cmpstr(mock->version, ==, real->version);
	for (unsigned i = 0; i < mock->n_words; i++)
		if (!qemu_capabilities_has(real, mock->words[i]))
			g_error("the stand-in alone has: %s", mock->words[i]);
	for (unsigned i = 0; i < mock->n_machines; i++) {
		const QemuMachineInfo *machine = qemu_capabilities_machine(real, mock->machines[i].name);

		g_assert_nonnull(machine);
		g_assert_cmpstr(machine->alias, ==, mock->machines[i].alias);
		g_assert_cmpuint(machine->max_vcpus, ==, mock->machines[i].max_vcpus);
	}
	for (unsigned i = 0; i < mock->n_cpu_models; i++) {
		const QemuCpuModel *model = qemu_capabilities_cpu_model(real, mock->cpu_models[i].name);

		g_assert_nonnull(model);
		g_assert_true(model->complete == mock->cpu_models[i].complete);
	}
}

static void test_real(void)
{
	const char *binary = g_getenv("ROOST_TEST_QEMU");
	g_autoptr(QemuCapabilities) c = NULL;

	binary = binary ? binary : "/usr/bin/qemu-system-x86_64";
	if (access(binary, X_OK) < 0) {
		g_test_skip("there is no QEMU here");
		return;
	}
	c = probe(binary);
	g_test_message("%s, %u machines, %u CPU models, %u words", c->version, c->n_machines, c->n_cpu_models,
		c->n_words);
	g_assert_true(g_pattern_match_simple("?*.?*.?*", c->version));
	g_assert_nonnull(qemu_capabilities_machine(c, "q35"));
	g_assert_nonnull(qemu_capabilities_cpu_model(c, "max"));
	g_assert_true(qemu_capabilities_has(c, "type virtio-blk-pci"));
	g_assert_true(qemu_capabilities_has(c, "argument blockdev-add.driver=raw"));
}

int main(int argc, char *argv[])
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/capabilities/recording", test_recording);
	g_test_add_func("/capabilities/complete", test_complete);
	g_test_add_func("/capabilities/text", test_text);
	g_test_add_func("/capabilities/bad-text", test_bad_text);
	g_test_add_func("/capabilities/wrong-answers", test_wrong_answers);
	g_test_add_func("/capabilities/odd-names", test_odd_names);
	g_test_add_func("/capabilities/bounds", test_bounds);
	g_test_add_func("/capabilities/damage", test_damage);
	g_test_add_func("/capabilities/stand-in", test_stand_in);
	g_test_add_func("/capabilities/real", test_real);
	return g_test_run();
}
