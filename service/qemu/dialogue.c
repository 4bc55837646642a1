/*
 * The dialogue in which a QEMU says what it can do. All questions are put at once, numbered by their row;
 * whatever comes, in whatever order, is read line by line when QEMU has ended. A line is JSON within bounds,
 * and nothing but slices of it is looked at: no tree is made of 300 KB that most of is not wanted.
 *
 * The schema of QMP has names for commands alone: types have numbers, and are found through the arguments of
 * commands. Of a few commands the arguments are kept, and what they may be when they are enumerations.
 */
#include "qemu/capabilities.h"

#include <errno.h>
#include <string.h>

#include "util/json.h"
#include "util/text.h"

#define DEPTH_MAX_LEVELS 32
#define WORDS_SHOWN      256

typedef struct Reader {
	QemuCapabilitiesBuilder builder;
	uint32_t answered; /* a bit for each question */
	int error;
	char *complaint;
	const char *question; /* whose answer is being read */
} Reader;

static void reader_clear(Reader *reader)
{
	qemu_capabilities_builder_clear(&reader->builder);
	g_free(reader->complaint);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Reader, reader_clear)

/* The first one counts. */
G_GNUC_PRINTF(3, 4)
static void fail(Reader *reader, int error, const char *format, ...)
{
	va_list args;

	if (reader->error < 0)
		return;
	va_start(args, format);
	reader->complaint = g_strdup_vprintf(format, args);
	va_end(args);
	reader->error = error;
}

static void fail_answer(Reader *reader)
{
	fail(reader, -EBADMSG, "its answer to %s is none", reader->question);
}

/* ---- slices ---- */
/* NULL: there is no such string. */
static char *find_string(const JsonSlice *object, const char *key)
{
	JsonSlice value;

	return json_find(object->value, object->value_size, key, &value)
		       ? json_slice_to_string(value.value, value.value_size)
		       : NULL;
}

static bool slice_is(const JsonSlice *slice, const char *text)
{
	return slice->value_size == strlen(text) && memcmp(slice->value, text, slice->value_size) == 0;
}

static bool find_true(const JsonSlice *object, const char *key)
{
	JsonSlice value;

	return json_find(object->value, object->value_size, key, &value) && slice_is(&value, "true");
}

/* False: it is no number of that size. */
static bool slice_to_number(const JsonSlice *slice, uint64_t max, uint64_t *ret)
{
	g_autofree char *text = g_strndup(slice->value, slice->value_size);
	guint64 number;

	if (!g_ascii_string_to_unsigned(text, 10, 0, max, &number, NULL))
		return false;
	*ret = number;
	return true;
}

static bool find_number(const JsonSlice *object, const char *key, uint64_t max, uint64_t *ret)
{
	JsonSlice value;

	return json_find(object->value, object->value_size, key, &value) && slice_to_number(&value, max, ret);
}

static void read_elements(Reader *reader, const JsonSlice *array, JsonMemberFunc func)
{
	if (json_scan_elements(array->value, array->value_size, DEPTH_MAX_LEVELS, func, reader) < 0)
		fail_answer(reader);
}

/* ---- the answers ---- */
static void read_nothing(Reader *reader, const JsonSlice *answer)
{
}

static void read_version(Reader *reader, const JsonSlice *answer)
{
	uint64_t major, minor, micro;
	JsonSlice qemu;

	if (!json_find(answer->value, answer->value_size, "qemu", &qemu) ||
		!find_number(&qemu, "major", 9999, &major) || !find_number(&qemu, "minor", 9999, &minor) ||
		!find_number(&qemu, "micro", 9999, &micro)) {
		fail_answer(reader);
		return;
	}
	g_free(reader->builder.version);
	reader->builder.version = g_strdup_printf(
		"%" G_GUINT64_FORMAT ".%" G_GUINT64_FORMAT ".%" G_GUINT64_FORMAT, major, minor, micro);
}

static void read_kvm(Reader *reader, const JsonSlice *answer)
{
	reader->builder.is_kvm = find_true(answer, "enabled");
}

static void read_machine(const JsonSlice *element, void *user)
{
	Reader *reader = user;
	g_autofree char *name = find_string(element, "name"), *alias = find_string(element, "alias");
	uint64_t max_vcpus;

	if (!name || !find_number(element, "cpu-max", G_MAXUINT32, &max_vcpus)) {
		fail_answer(reader);
		return;
	}
	qemu_capabilities_builder_add_machine(&reader->builder,
		&(QemuMachineInfo){.name = name, .alias = alias, .max_vcpus = (uint32_t)max_vcpus});
}

static void read_machines(Reader *reader, const JsonSlice *answer)
{
	read_elements(reader, answer, read_machine);
}

static void read_cpu_model(const JsonSlice *element, void *user)
{
	Reader *reader = user;
	g_autofree char *name = find_string(element, "name");
	JsonSlice missing;
	QemuCpuModel model = {.name = name, .deprecated = find_true(element, "deprecated")};

	if (!name) {
		fail_answer(reader);
		return;
	}
	/* A QEMU that does not say what a model lacks has no objection to it. */
	model.complete = !json_find(element->value, element->value_size, "unavailable-features", &missing) ||
			 slice_is(&missing, "[]");
	qemu_capabilities_builder_add_cpu_model(&reader->builder, &model);
}

static void read_cpu_models(Reader *reader, const JsonSlice *answer)
{
	read_elements(reader, answer, read_cpu_model);
}

static void add_named(Reader *reader, const JsonSlice *element, const char *key, const char *kind)
{
	g_autofree char *name = find_string(element, key);

	if (name)
		qemu_capabilities_builder_add_word(&reader->builder, kind, name);
	else
		fail_answer(reader);
}

static void read_type(const JsonSlice *element, void *user)
{
	add_named(user, element, "name", "type");
}

static void read_types(Reader *reader, const JsonSlice *answer)
{
	read_elements(reader, answer, read_type);
}

static void read_option(const JsonSlice *element, void *user)
{
	add_named(user, element, "option", "option");
}

static void read_options(Reader *reader, const JsonSlice *answer)
{
	read_elements(reader, answer, read_option);
}

#define MACHINE_TYPE "x86-machine" /* what pc and q35 are kinds of */

static void read_property(const JsonSlice *element, void *user)
{
	Reader *reader = user;
	g_autofree char *name = find_string(element, "name"), *word = NULL;

	if (!name) {
		fail_answer(reader);
		return;
	}
	word = g_strconcat(MACHINE_TYPE ".", name, NULL);
	qemu_capabilities_builder_add_word(&reader->builder, "property", word);
}

static void read_machine_properties(Reader *reader, const JsonSlice *answer)
{
	read_elements(reader, answer, read_property);
}

/* ---- the schema ---- */
/* The commands whose arguments are kept. */
static const char *const schema_commands[] = {
	"blockdev-add",
	"netdev_add",
	"screendump",
	"set-action",
};

typedef struct Schema {
	Reader *reader;
	GHashTable *types;    /* name -> JsonSlice, of all but commands */
	GHashTable *wanted;   /* command -> name of its arguments' type, or "" */
	const char *command;  /* whose arguments are being read */
	const char *argument; /* "COMMAND.NAME" */
} Schema;

static JsonSlice *slice_copy(const JsonSlice *slice)
{
	return g_memdup2(slice, sizeof *slice);
}

static void read_entity(const JsonSlice *element, void *user)
{
	Schema *schema = user;
	g_autofree char *name = find_string(element, "name"), *kind = find_string(element, "meta-type");
	char *argument_type;

	if (!name || !kind) {
		fail_answer(schema->reader);
		return;
	}
	if (!g_str_equal(kind, "command")) {
		g_hash_table_insert(schema->types, g_steal_pointer(&name), slice_copy(element));
		return;
	}
	qemu_capabilities_builder_add_word(&schema->reader->builder, "command", name);
	argument_type = find_string(element, "arg-type");
	if (argument_type)
		g_hash_table_insert(schema->wanted, g_steal_pointer(&name), argument_type);
}

/* An enumeration's values are strings in QEMU before 6.2, and beside it objects from then on. */
static void read_value(const JsonSlice *element, void *user)
{
	Schema *schema = user;
	g_autofree char *value = json_slice_to_string(element->value, element->value_size);
	g_autofree char *word = NULL;

	if (!value)
		value = find_string(element, "name");
	if (!value)
		return;
	word = g_strdup_printf("%s=%s", schema->argument, value);
	qemu_capabilities_builder_add_word(&schema->reader->builder, "argument", word);
}

/* The array `key` of the type of this name, if there is one. */
static bool read_type_array(Schema *schema, const char *type, const char *key, JsonMemberFunc func)
{
	const JsonSlice *entity = type ? g_hash_table_lookup(schema->types, type) : NULL;
	JsonSlice array;

	return entity && json_find(entity->value, entity->value_size, key, &array) &&
	       json_scan_elements(array.value, array.value_size, DEPTH_MAX_LEVELS, func, schema) >= 0;
}

static bool is_enumeration(const Schema *schema, const char *type)
{
	const JsonSlice *entity = type ? g_hash_table_lookup(schema->types, type) : NULL;
	g_autofree char *kind = entity ? find_string(entity, "meta-type") : NULL;

	return g_strcmp0(kind, "enum") == 0;
}

static void read_argument(const JsonSlice *element, void *user)
{
	Schema *schema = user;
	g_autofree char *name = find_string(element, "name"), *type = find_string(element, "type");
	g_autofree char *word = NULL;

	if (!name)
		return;
	word = g_strdup_printf("%s.%s", schema->command, name);
	qemu_capabilities_builder_add_word(&schema->reader->builder, "argument", word);
	schema->argument = word;
	if (is_enumeration(schema, type) && !read_type_array(schema, type, "members", read_value))
		read_type_array(schema, type, "values", read_value);
	schema->argument = NULL;
}

static void read_schema(Reader *reader, const JsonSlice *answer)
{
	g_autoptr(GHashTable) types = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_autoptr(GHashTable) wanted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	Schema schema = {.reader = reader, .types = types, .wanted = wanted};

	if (json_scan_elements(answer->value, answer->value_size, DEPTH_MAX_LEVELS, read_entity, &schema) < 0)
		fail_answer(reader);
	for (unsigned i = 0; i < G_N_ELEMENTS(schema_commands); i++) {
		schema.command = schema_commands[i];
		read_type_array(
			&schema, g_hash_table_lookup(wanted, schema.command), "members", read_argument);
	}
}

/* ---- the questions ---- */
/* An id is the row's number. A QEMU that refuses an optional one has no such thing. */
static const struct {
	const char *command, *arguments;
	void (*read)(Reader *reader, const JsonSlice *answer);
	bool optional;
} questions[] = {
	{"qmp_capabilities", NULL, read_nothing},
	{"query-version", NULL, read_version},
	{"query-kvm", NULL, read_kvm, true},
	{"query-machines", NULL, read_machines},
	{"query-cpu-definitions", NULL, read_cpu_models},
	{"qom-list-types", "{\"abstract\":false}", read_types},
	{"qom-list-properties", "{\"typename\":\"" MACHINE_TYPE "\"}", read_machine_properties, true},
	{"query-command-line-options", NULL, read_options, true},
	{"query-qmp-schema", NULL, read_schema},
};

char *qemu_dialogue_questions(void)
{
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(questions); i++) {
		g_string_append_printf(text, "{\"execute\":\"%s\",\"id\":%u", questions[i].command, i);
		if (questions[i].arguments)
			g_string_append_printf(text, ",\"arguments\":%s", questions[i].arguments);
		g_string_append(text, "}\n");
	}
	return g_string_free(text, FALSE);
}

/* Answers come in order: the last one's line is the last but for events. */
bool qemu_dialogue_is_complete(const char *text, size_t size)
{
	const char *line;
	JsonSlice value;
	uint64_t id;

	if (size == 0 || text[size - 1] != '\n')
		return false;
	line = memrchr(text, '\n', size - 1);
	line = line ? line + 1 : text;
	return json_find(line, (size_t)(text + size - line), "id", &value) &&
	       slice_to_number(&value, G_N_ELEMENTS(questions) - 1, &id) && id == G_N_ELEMENTS(questions) - 1;
}

static void read_refusal(Reader *reader, unsigned question, const JsonSlice *error)
{
	g_autofree char *words = find_string(error, "desc");
	g_autofree char *valid = text_printable(words ? words : "without a word", false);

	if (!questions[question].optional)
		fail(reader, -EPROTO, "it refuses %s: %.*s", questions[question].command, WORDS_SHOWN, valid);
}

/* Its greeting and its events have no id. */
static void read_line(Reader *reader, const char *line, size_t size)
{
	JsonSlice object = {.value = line, .value_size = size}, value;
	int r = json_scan(line, size, DEPTH_MAX_LEVELS, NULL, NULL);
	uint64_t id;

	if (r < 0) {
		fail(reader, r, r == -E2BIG ? "what it says is nested too deep" : "what it says is not QMP");
		return;
	}
	if (!find_number(&object, "id", G_N_ELEMENTS(questions) - 1, &id))
		return;
	reader->question = questions[id].command;
	if (json_find(line, size, "return", &value)) {
		questions[id].read(reader, &value);
		reader->answered |= 1U << id;
	} else if (json_find(line, size, "error", &value)) {
		read_refusal(reader, (unsigned)id, &value);
		reader->answered |= 1U << id;
	} else {
		fail_answer(reader);
	}
}

int qemu_dialogue_read(const char *text, size_t size, QemuCapabilities **ret, char **ret_complaint)
{
	g_auto(Reader) reader = {0};
	const char *end = text + size;
	int r;

	qemu_capabilities_builder_init(&reader.builder);
	for (const char *line = text, *next; line < end && reader.error >= 0; line = next) {
		const char *line_end = memchr(line, '\n', (size_t)(end - line));

		next = line_end ? line_end + 1 : end;
		line_end = line_end ? line_end : end;
		if (line_end > line && line_end[-1] == '\r')
			line_end--;
		if (line_end > line)
			read_line(&reader, line, (size_t)(line_end - line));
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(questions); i++)
		if (!(reader.answered & (1U << i)))
			fail(&reader, -EBADMSG, "it does not answer %s", questions[i].command);
	if (reader.error >= 0) {
		r = qemu_capabilities_builder_end(&reader.builder, ret);
		if (r < 0)
			fail(&reader, r, "it has more machines, devices or commands than any QEMU");
	}
	if (reader.error < 0)
		*ret_complaint = g_steal_pointer(&reader.complaint);
	return reader.error;
}
