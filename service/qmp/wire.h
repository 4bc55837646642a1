#pragma once
/*
 * The wire of QMP: bytes to messages, and commands to bytes. Pure: no fd, no thread, no clock.
 *
 * QEMU writes one JSON object a line. A line is bounded (QMP_LINE_MAX), nested at most QMP_DEPTH_MAX deep,
 * and scanned once without allocation (util/json.h): a flood of events costs a scan each, and only what is
 * kept is parsed further.
 */
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QMP_LINE_MAX  (16U * 1024 * 1024)
#define QMP_DEPTH_MAX 32

/* An event, borrowed from the reader's buffer for the time of a call. */
typedef struct QmpEvent {
	const char *name; /* not NUL-terminated; at most 128 of A-Za-z0-9_.- (anything else is not QMP) */
	size_t name_size;
	const char *data; /* the JSON text of `data`, an object, or NULL */
	size_t data_size;
	uint64_t time_usec; /* QEMU's own timestamp; 0 when it gave none */
} QmpEvent;

/* The answer to a command: owned by whoever gets it. */
typedef struct QmpReply {
	bool failed;
	char *text;        /* success: the JSON text of `return` (bounded by QMP_LINE_MAX) */
	char *error_class; /* failure: QMP's class, at most 256 bytes */
	char *error_desc;  /* failure: QMP's words, in valid UTF-8, at most 4 KiB */
} QmpReply;

QmpReply *qmp_reply_free(QmpReply *reply);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpReply, qmp_reply_free)

/* Any thread: the `return` of a successful reply as a GVariant (objects a{sv}, integers x; util/json.h), or
 * NULL when it can't be had as one. Not floating; the caller unrefs. */
GVariant *qmp_reply_to_variant(const QmpReply *reply);

/* Any thread: event data (raw text) as a{sv}, for the Event signal: strings cut at 4 KiB, host addresses left
 * out (keys named like an address or a pointer). Not floating. */
GVariant *qmp_data_to_vardict(const char *data, size_t size);

/* Any thread: a member of event data as a string ("" for absent), numbers and booleans as their JSON text;
 * for keys. The caller frees. `path` is a member, or two joined by a dot ("info.slot"). */
char *qmp_data_get(const char *data, size_t size, const char *path);

/* ---- the reader ---- */
typedef enum QmpMessageType { QMP_MESSAGE_GREETING, QMP_MESSAGE_EVENT, QMP_MESSAGE_REPLY } QmpMessageType;

typedef struct QmpMessage {
	QmpMessageType type;
	QmpEvent event;  /* for an event */
	uint64_t id;     /* for a reply: 0 when the id is absent or none of ours (then it answers nothing) */
	QmpReply *reply; /* for a reply: the receiver takes it (sets it to NULL) or it is freed */
} QmpMessage;

typedef struct QmpReader QmpReader;
QmpReader *qmp_reader_new(void);
QmpReader *qmp_reader_free(QmpReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpReader, qmp_reader_free)

/* Room for at least one more byte: read(2) into *ret_size bytes at the result, then qmp_reader_commit(). */
char *qmp_reader_buffer(QmpReader *reader, size_t *ret_size);
void qmp_reader_commit(QmpReader *reader, size_t size);

/* The next whole message. 1: *ret is filled, valid until the next call; 0: more bytes are needed; -EMSGSIZE:
 * a line over QMP_LINE_MAX; -EBADMSG, -E2BIG: not QMP. After an error the stream is lost. Empty lines are
 * skipped. */
int qmp_reader_next(QmpReader *reader, QmpMessage *ret);
/* Frees what a message owns. */
void qmp_message_clear(QmpMessage *message);

/* ---- commands ---- */
/* One line, ending in \n: {"execute":NAME,"arguments":...,"id":ID}. `arguments`: a{sv} or NULL, consumed if
 * floating; strings, booleans, integers of all sizes, doubles, arrays and nested a{sv} are understood. The
 * caller frees. */
char *qmp_command_format(const char *name, GVariant *arguments, uint64_t id);

/* The same from a caller's own JSON ({"execute":..., "arguments":{...}}), rebuilt with our id. 0 or -EINVAL
 * with *ret_complaint: not an object, no or ill-typed `execute`, an `id`, `exec-oob`, an unknown member, too
 * large (256 KiB) or too deep. */
int qmp_command_format_json(
	const char *json, uint64_t id, char **ret_line, char **ret_name, char **ret_complaint);
