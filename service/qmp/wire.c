/*
 * The reader is a buffer with two marks: `start`, where the first line that was not delivered begins, and
 * `searched`, up to where no line end was found, so that a long line which comes in pieces is looked at once.
 * A line is delivered where it stands; the buffer moves and grows only when room is asked for, and shrinks
 * when a large line is over.
 *
 * A line is scanned once (util/json.h), and the scan leaves slices of the members that QMP has. What kind of
 * message it is follows from which of them are there: exactly one of QMP, event, return, error.
 */
#include "qmp/wire.h"

#include <errno.h>
#include <string.h>

#include "util/json.h"

#define BUFFER_MIN (4U * 1024)
#define BUFFER_MAX (64U * 1024) /* but for a line that is longer */

/* Texts that go into errors and keys: the longest that QEMU has any use for, and no more. */
#define EVENT_NAME_MAX 128U
#define CLASS_MAX      256U
#define DESC_MAX       4096U
#define KEY_MAX        1024U
#define STRING_MAX     4096U

struct QmpReader {
	char *buffer;
	size_t capacity;
	size_t start;    /* bytes before it were delivered */
	size_t searched; /* no line end from start to here */
	size_t end;      /* of what was read */
	bool was_filled; /* the last read took all the room there was */
	int error;       /* sticky */
};

/* The members of a message, as slices of the line; absent: value NULL. */
typedef struct Members {
	JsonSlice greeting, event, data, timestamp, result, error, id;
} Members;

static const struct {
	const char *key;
	size_t key_size;
	size_t offset;
} member_table[] = {
#define MEMBER(key, field)                                                                                   \
	{                                                                                                    \
		key, sizeof key - 1, offsetof(Members, field)                                                \
	}
	MEMBER("timestamp", timestamp),
	MEMBER("event", event),
	MEMBER("data", data),
	MEMBER("return", result),
	MEMBER("error", error),
	MEMBER("id", id),
	MEMBER("QMP", greeting),
#undef MEMBER
};

static void collect_member(const JsonSlice *member, void *user)
{
	for (size_t i = 0; i < G_N_ELEMENTS(member_table); i++) {
		if (member->key_size == member_table[i].key_size &&
			memcmp(member->key, member_table[i].key, member->key_size) == 0) {
			*(JsonSlice *)((char *)user + member_table[i].offset) = *member;
			return;
		}
	}
}

/* Digits and nothing else, below 2^64: the scanner has seen to the latter. */
static bool slice_to_uint64(const char *value, size_t size, uint64_t *ret)
{
	uint64_t number = 0;

	if (size == 0)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (!g_ascii_isdigit(value[i]))
			return false;
		number = number * 10 + (uint64_t)(value[i] - '0');
	}
	*ret = number;
	return true;
}

typedef struct Timestamp {
	uint64_t seconds, microseconds;
} Timestamp;

static void collect_time(const JsonSlice *member, void *user)
{
	Timestamp *time = user;

	if (member->key_size == strlen("seconds") && memcmp(member->key, "seconds", member->key_size) == 0)
		slice_to_uint64(member->value, member->value_size, &time->seconds);
	else if (member->key_size == strlen("microseconds") &&
		 memcmp(member->key, "microseconds", member->key_size) == 0)
		slice_to_uint64(member->value, member->value_size, &time->microseconds);
}

/* QEMU says -1 when it has no time. */
static uint64_t timestamp_to_usec(const JsonSlice *slice)
{
	Timestamp time = {0};

	if (!slice->value ||
		json_scan(slice->value, slice->value_size, QMP_DEPTH_MAX, collect_time, &time) < 0)
		return 0;
	if (time.seconds > (uint64_t)INT64_MAX / G_USEC_PER_SEC - 1 || time.microseconds >= G_USEC_PER_SEC)
		return 0;
	return time.seconds * G_USEC_PER_SEC + time.microseconds;
}

static bool slice_is(const JsonSlice *slice, char first)
{
	return slice->value && slice->value[0] == first;
}

/* As QAPI makes names; they go as they are to where a D-Bus string is expected, and into logs. */
static bool is_event_name(const JsonSlice *slice)
{
	if (!slice_is(slice, '"') || slice->value_size <= 2 || slice->value_size > EVENT_NAME_MAX + 2)
		return false;
	for (size_t i = 1; i < slice->value_size - 1; i++) {
		char c = slice->value[i];

		if (!g_ascii_isalnum(c) && c != '_' && c != '-' && c != '.')
			return false;
	}
	return true;
}

/* Cuts a valid text at a character. */
static char *cut(char *text, size_t max)
{
	if (text && strlen(text) > max) {
		while (max > 0 && (text[max] & 0xc0) == 0x80)
			max--;
		text[max] = '\0';
	}
	return text;
}

static char *error_text(const JsonSlice *error, const char *key, size_t max)
{
	JsonSlice slice;
	char *text = NULL;

	if (slice_is(error, '{') && json_find(error->value, error->value_size, key, &slice))
		text = json_slice_to_string(slice.value, slice.value_size);
	return text ? cut(text, max) : g_strdup("");
}

static QmpReply *reply_new(const Members *members)
{
	QmpReply *reply = g_new0(QmpReply, 1);

	reply->failed = members->error.value != NULL;
	if (reply->failed) {
		reply->error_class = error_text(&members->error, "class", CLASS_MAX);
		reply->error_desc = error_text(&members->error, "desc", DESC_MAX);
	} else {
		reply->text = g_strndup(members->result.value, members->result.value_size);
	}
	return reply;
}

static int parse_line(const char *line, size_t size, QmpMessage *ret)
{
	Members members = {0};
	int r;

	r = json_scan(line, size, QMP_DEPTH_MAX, collect_member, &members);
	if (r < 0)
		return r;
	if (!!members.greeting.value + !!members.event.value + !!members.result.value +
			!!members.error.value !=
		1)
		return -EBADMSG;
	*ret = (QmpMessage){.type = QMP_MESSAGE_GREETING};
	if (members.greeting.value)
		return slice_is(&members.greeting, '{') ? 1 : -EBADMSG;
	if (!members.event.value) {
		ret->type = QMP_MESSAGE_REPLY;
		if (members.id.value)
			slice_to_uint64(members.id.value, members.id.value_size, &ret->id);
		ret->reply = reply_new(&members);
		return 1;
	}
	if (!is_event_name(&members.event))
		return -EBADMSG;
	ret->type = QMP_MESSAGE_EVENT;
	ret->event = (QmpEvent){
		.name = members.event.value + 1,
		.name_size = members.event.value_size - 2,
		.data = slice_is(&members.data, '{') ? members.data.value : NULL,
		.data_size = slice_is(&members.data, '{') ? members.data.value_size : 0,
		.time_usec = timestamp_to_usec(&members.timestamp),
	};
	return 1;
}

/* ---- the buffer ---- */

QmpReader *qmp_reader_new(void)
{
	return g_new0(QmpReader, 1);
}

QmpReader *qmp_reader_free(QmpReader *reader)
{
	if (reader)
		g_free(reader->buffer);
	g_free(reader);
	return NULL;
}

char *qmp_reader_buffer(QmpReader *reader, size_t *ret_size)
{
	size_t wanted = MAX(reader->capacity, BUFFER_MIN);

	if (reader->start > 0) {
		memmove(reader->buffer, reader->buffer + reader->start, reader->end - reader->start);
		reader->end -= reader->start;
		reader->searched -= reader->start;
		reader->start = 0;
	}
	/* A peer that fills what it is given has more to say: larger reads. */
	if (reader->was_filled && wanted < BUFFER_MAX)
		wanted *= 2;
	if (reader->end == wanted)
		wanted *= 2;
	if (wanted != reader->capacity) {
		reader->buffer = g_realloc(reader->buffer, wanted);
		reader->capacity = wanted;
	}
	*ret_size = reader->capacity - reader->end;
	return reader->buffer + reader->end;
}

void qmp_reader_commit(QmpReader *reader, size_t size)
{
	g_assert(size <= reader->capacity - reader->end);
	reader->was_filled = size == reader->capacity - reader->end;
	reader->end += size;
}

/* All was delivered: nothing of a large line's memory is kept. */
static void buffer_empty(QmpReader *reader)
{
	reader->start = reader->searched = reader->end = 0;
	if (reader->capacity > BUFFER_MAX) {
		g_clear_pointer(&reader->buffer, g_free);
		reader->capacity = 0;
	}
}

/* The stream is lost, and what is left of it of no use. */
static int fail(QmpReader *reader, int error)
{
	reader->error = error;
	buffer_empty(reader);
	return error;
}

static bool is_blank(const char *line, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (line[i] != '\r' && line[i] != ' ' && line[i] != '\t')
			return false;
	}
	return true;
}

int qmp_reader_next(QmpReader *reader, QmpMessage *ret)
{
	if (reader->error < 0)
		return fail(reader, reader->error);
	while (reader->searched < reader->end) {
		const char *line = reader->buffer + reader->start;
		const char *from = reader->buffer + reader->searched;
		const char *line_end = memchr(from, '\n', reader->end - reader->searched);
		size_t size = (size_t)((line_end ? line_end : reader->buffer + reader->end) - line);
		int r;

		if (size > QMP_LINE_MAX)
			return fail(reader, -EMSGSIZE);
		if (!line_end) {
			reader->searched = reader->end;
			return 0;
		}
		reader->start = reader->searched = reader->start + size + 1;
		if (is_blank(line, size))
			continue;
		r = parse_line(line, size, ret);
		return r < 0 ? fail(reader, r) : r;
	}
	if (reader->start == reader->end)
		buffer_empty(reader);
	return 0;
}

void qmp_message_clear(QmpMessage *message)
{
	g_clear_pointer(&message->reply, qmp_reply_free);
}

/* ---- what became of a message ---- */

QmpReply *qmp_reply_free(QmpReply *reply)
{
	if (!reply)
		return NULL;
	g_free(reply->text);
	g_free(reply->error_class);
	g_free(reply->error_desc);
	g_free(reply);
	return NULL;
}

GVariant *qmp_reply_to_variant(const QmpReply *reply)
{
	g_autoptr(JsonNode) node = NULL;
	GVariant *variant;

	if (!reply->text ||
		json_parse(reply->text, strlen(reply->text), QMP_LINE_MAX, QMP_DEPTH_MAX, &node) < 0)
		return NULL;
	variant = json_to_variant(node);
	return variant ? g_variant_ref_sink(variant) : NULL;
}

/* Host addresses in what guests and viewers cause would help who wants to break out. */
static const char *const address_words[] = {"addr", "address", "ptr", "pointer", "hva"};

static bool is_address_key(const char *key)
{
	for (size_t i = 0; i < G_N_ELEMENTS(address_words); i++) {
		const char *word = address_words[i];
		const char *found = g_str_has_suffix(key, word) ? key + strlen(key) - strlen(word) : NULL;

		if (found && (found == key || found[-1] == '-' || found[-1] == '_'))
			return true;
	}
	return false;
}

static GVariant *without_addresses(GVariant *value_consume);

static GVariant *dict_without_addresses(GVariant *dict)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);
	GVariantIter iter;
	const char *key;
	GVariant *value;

	g_variant_iter_init(&iter, dict);
	while (g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
		g_autoptr(GVariant) kept = without_addresses(value);

		if (!is_address_key(key))
			g_variant_builder_add(&builder, "{sv}", key, kept);
	}
	return g_variant_ref_sink(g_variant_builder_end(&builder));
}

static GVariant *array_without_addresses(GVariant *array)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("av"));
	GVariantIter iter;
	GVariant *value;

	g_variant_iter_init(&iter, array);
	while (g_variant_iter_next(&iter, "v", &value)) {
		g_autoptr(GVariant) kept = without_addresses(value);

		g_variant_builder_add(&builder, "v", kept);
	}
	return g_variant_ref_sink(g_variant_builder_end(&builder));
}

/* As deep as json_text_to_vardict() goes. */
static GVariant *without_addresses(GVariant *value_consume)
{
	g_autoptr(GVariant) value = value_consume;

	if (g_variant_is_of_type(value, G_VARIANT_TYPE_VARDICT))
		return dict_without_addresses(value);
	if (g_variant_is_of_type(value, G_VARIANT_TYPE("av")))
		return array_without_addresses(value);
	return g_steal_pointer(&value);
}

GVariant *qmp_data_to_vardict(const char *data, size_t size)
{
	GVariant *dict;

	if (!data)
		size = 0;
	dict = g_variant_ref_sink(json_text_to_vardict(data, size, STRING_MAX));
	for (size_t i = 0; i < G_N_ELEMENTS(address_words); i++) {
		const char *word = address_words[i];

		if (size > 0 && memmem(data, size, word, strlen(word)))
			return without_addresses(dict);
	}
	return dict;
}

char *qmp_data_get(const char *data, size_t size, const char *path)
{
	const char *dot = strchr(path, '.');
	g_autofree char *first = dot ? g_strndup(path, (size_t)(dot - path)) : g_strdup(path);
	JsonSlice slice;
	char *text;

	if (!data || !json_find(data, size, first, &slice))
		return g_strdup("");
	if (dot && !json_find(slice.value, slice.value_size, dot + 1, &slice))
		return g_strdup("");
	switch (slice.value[0]) {
	case '"':
		text = json_slice_to_string(slice.value, slice.value_size);
		return text ? cut(text, KEY_MAX) : g_strdup("");
	case '{':
	case '[':
	case 'n':
		return g_strdup("");
	default:
		return g_strndup(slice.value, MIN(slice.value_size, KEY_MAX));
	}
}
