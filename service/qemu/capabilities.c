/*
 * Capabilities as a value, and as lines of text: a kind of line each for the version, KVM, machines and CPU
 * models, and all that does not begin with one of these is a word of the set. Names have neither spaces nor
 * control characters, words no control characters; what a QEMU says that does not keep to it is not kept.
 */
#include "qemu/capabilities.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 128
#define RECORDS_MAX    4096U  /* machines, CPU models; QEMU 7.2 has 61 and 132 */
#define WORDS_MAX      16384U /* 7.2 has 1,100 */
#define NO_ALIAS       "-"

QemuCapabilities *qemu_capabilities_ref(QemuCapabilities *capabilities)
{
	ref_get(&capabilities->ref);
	return capabilities;
}

static void free_machines(QemuMachineInfo *machines, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		g_free(machines[i].name);
		g_free(machines[i].alias);
	}
	g_free(machines);
}

static void free_cpu_models(QemuCpuModel *models, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		g_free(models[i].name);
	g_free(models);
}

QemuCapabilities *qemu_capabilities_unref(QemuCapabilities *capabilities)
{
	if (!capabilities || !ref_put(&capabilities->ref))
		return NULL;
	free_machines(capabilities->machines, capabilities->n_machines);
	free_cpu_models(capabilities->cpu_models, capabilities->n_cpu_models);
	g_strfreev(capabilities->words);
	g_free(capabilities->version);
	g_free(capabilities);
	return NULL;
}

/* ---- looking things up ---- */
static int compare_words(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool qemu_capabilities_has(const QemuCapabilities *capabilities, const char *word)
{
	return bsearch(&word, capabilities->words, capabilities->n_words, sizeof *capabilities->words,
		       compare_words) != NULL;
}

const QemuMachineInfo *qemu_capabilities_machine(const QemuCapabilities *capabilities, const char *name)
{
	for (unsigned i = 0; i < capabilities->n_machines; i++)
		if (g_str_equal(capabilities->machines[i].name, name) ||
			g_strcmp0(capabilities->machines[i].alias, name) == 0)
			return &capabilities->machines[i];
	return NULL;
}

const QemuCpuModel *qemu_capabilities_cpu_model(const QemuCapabilities *capabilities, const char *name)
{
	for (unsigned i = 0; i < capabilities->n_cpu_models; i++)
		if (g_str_equal(capabilities->cpu_models[i].name, name))
			return &capabilities->cpu_models[i];
	return NULL;
}

/* ---- building ---- */
void qemu_capabilities_builder_init(QemuCapabilitiesBuilder *builder)
{
	*builder = (QemuCapabilitiesBuilder){
		.machines = g_array_new(FALSE, FALSE, sizeof(QemuMachineInfo)),
		.cpu_models = g_array_new(FALSE, FALSE, sizeof(QemuCpuModel)),
		.words = g_ptr_array_new_with_free_func(g_free),
	};
}

void qemu_capabilities_builder_clear(QemuCapabilitiesBuilder *builder)
{
	unsigned n_machines = builder->machines->len, n_models = builder->cpu_models->len;

	free_machines((QemuMachineInfo *)(void *)g_array_free(builder->machines, FALSE), n_machines);
	free_cpu_models((QemuCpuModel *)(void *)g_array_free(builder->cpu_models, FALSE), n_models);
	g_ptr_array_unref(builder->words);
	g_free(builder->version);
}

static bool is_text(const char *text, char first)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (text[i] < first || text[i] > '~')
			return false;
	return length >= 1 && length <= NAME_MAX_BYTES;
}

static bool is_name(const char *text)
{
	return is_text(text, '!');
}

void qemu_capabilities_builder_add_machine(QemuCapabilitiesBuilder *builder, const QemuMachineInfo *machine)
{
	const char *alias = machine->alias;
	QemuMachineInfo copy = {.max_vcpus = machine->max_vcpus};

	if (!is_name(machine->name))
		return;
	copy.name = g_strdup(machine->name);
	if (alias && is_name(alias) && !g_str_equal(alias, NO_ALIAS))
		copy.alias = g_strdup(alias);
	g_array_append_val(builder->machines, copy);
}

void qemu_capabilities_builder_add_cpu_model(QemuCapabilitiesBuilder *builder, const QemuCpuModel *model)
{
	QemuCpuModel copy = *model;

	if (!is_name(model->name))
		return;
	copy.name = g_strdup(model->name);
	g_array_append_val(builder->cpu_models, copy);
}

void qemu_capabilities_builder_add_word(QemuCapabilitiesBuilder *builder, const char *kind, const char *name)
{
	if (is_text(name, ' '))
		g_ptr_array_add(builder->words, g_strconcat(kind, " ", name, NULL));
}

static void sort_words(GPtrArray *words)
{
	unsigned n = 0;

	g_ptr_array_sort(words, compare_words);
	for (unsigned i = 0; i < words->len; i++) {
		char *word = words->pdata[i];

		words->pdata[i] = NULL;
		if (n > 0 && g_str_equal(words->pdata[n - 1], word))
			g_free(word);
		else
			words->pdata[n++] = word;
	}
	g_ptr_array_set_size(words, (int)n);
	g_ptr_array_add(words, NULL);
}

int qemu_capabilities_builder_end(QemuCapabilitiesBuilder *builder, QemuCapabilities **ret)
{
	QemuCapabilities *capabilities;
	gsize n_machines, n_models, n_words;

	if (!builder->version || !is_name(builder->version))
		return -EBADMSG;
	if (builder->machines->len > RECORDS_MAX || builder->cpu_models->len > RECORDS_MAX ||
		builder->words->len > WORDS_MAX)
		return -EFBIG;
	sort_words(builder->words);
	capabilities = g_new0(QemuCapabilities, 1);
	ref_init(&capabilities->ref);
	capabilities->version = g_steal_pointer(&builder->version);
	capabilities->is_kvm = builder->is_kvm;
	capabilities->machines = g_array_steal(builder->machines, &n_machines);
	capabilities->n_machines = (unsigned)n_machines;
	capabilities->cpu_models = g_array_steal(builder->cpu_models, &n_models);
	capabilities->n_cpu_models = (unsigned)n_models;
	capabilities->words = (char **)g_ptr_array_steal(builder->words, &n_words);
	capabilities->n_words = (unsigned)n_words - 1;
	*ret = capabilities;
	return 0;
}

/* ---- as text ---- */
char *qemu_capabilities_to_text(const QemuCapabilities *capabilities)
{
	GString *text = g_string_new(NULL);

	g_string_append_printf(text, "version %s\nkvm %d\n", capabilities->version, capabilities->is_kvm);
	for (unsigned i = 0; i < capabilities->n_machines; i++) {
		const QemuMachineInfo *machine = &capabilities->machines[i];

		g_string_append_printf(text, "machine %s %s %" G_GUINT32_FORMAT "\n", machine->name,
			machine->alias ? machine->alias : NO_ALIAS, machine->max_vcpus);
	}
	for (unsigned i = 0; i < capabilities->n_cpu_models; i++) {
		const QemuCpuModel *model = &capabilities->cpu_models[i];

		g_string_append_printf(
			text, "cpu %s %d %d\n", model->name, model->deprecated, model->complete);
	}
	for (unsigned i = 0; i < capabilities->n_words; i++)
		g_string_append_printf(text, "%s\n", capabilities->words[i]);
	return g_string_free(text, FALSE);
}

static bool read_number(const char *text, uint64_t max, uint64_t *ret)
{
	guint64 number;

	if (!g_ascii_string_to_unsigned(text, 10, 0, max, &number, NULL))
		return false;
	*ret = number;
	return true;
}

static bool read_version(QemuCapabilitiesBuilder *builder, char **parts)
{
	if (builder->version)
		return false;
	builder->version = g_strdup(parts[1]);
	return true;
}

static bool read_kvm(QemuCapabilitiesBuilder *builder, char **parts)
{
	uint64_t is_kvm;

	if (!read_number(parts[1], 1, &is_kvm))
		return false;
	builder->is_kvm = is_kvm != 0;
	return true;
}

static bool read_machine(QemuCapabilitiesBuilder *builder, char **parts)
{
	QemuMachineInfo machine = {.name = parts[1], .alias = parts[2]};
	uint64_t max_vcpus;

	if (!read_number(parts[3], G_MAXUINT32, &max_vcpus))
		return false;
	machine.max_vcpus = (uint32_t)max_vcpus;
	qemu_capabilities_builder_add_machine(builder, &machine);
	return true;
}

static bool read_cpu_model(QemuCapabilitiesBuilder *builder, char **parts)
{
	uint64_t deprecated, complete;

	if (!read_number(parts[2], 1, &deprecated) || !read_number(parts[3], 1, &complete))
		return false;
	qemu_capabilities_builder_add_cpu_model(builder,
		&(QemuCpuModel){.name = parts[1], .deprecated = deprecated != 0, .complete = complete != 0});
	return true;
}

static const struct {
	const char *kind;
	unsigned n_parts;
	bool (*read)(QemuCapabilitiesBuilder *builder, char **parts);
} line_kinds[] = {
	{"version", 2, read_version},
	{"kvm", 2, read_kvm},
	{"machine", 4, read_machine},
	{"cpu", 4, read_cpu_model},
};

static bool read_line(QemuCapabilitiesBuilder *builder, const char *line)
{
	g_auto(GStrv) parts = g_strsplit(line, " ", -1);
	g_autofree char *name = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(line_kinds); i++)
		if (g_strcmp0(parts[0], line_kinds[i].kind) == 0)
			return g_strv_length(parts) == line_kinds[i].n_parts &&
			       line_kinds[i].read(builder, parts);
	if (!parts[0] || !parts[1])
		return false;
	name = g_strjoinv(" ", parts + 1);
	qemu_capabilities_builder_add_word(builder, parts[0], name);
	return true;
}

int qemu_capabilities_from_text(const char *text, QemuCapabilities **ret)
{
	g_auto(QemuCapabilitiesBuilder) builder = {0};
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	unsigned n = g_strv_length(lines);

	qemu_capabilities_builder_init(&builder);
	/* Its last line has an end, too. */
	if (n == 0 || *lines[n - 1])
		return -EBADMSG;
	for (unsigned i = 0; i + 1 < n; i++)
		if (!read_line(&builder, lines[i]))
			return -EBADMSG;
	return qemu_capabilities_builder_end(&builder, ret) < 0 ? -EBADMSG : 0;
}
