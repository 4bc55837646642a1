#pragma once
/*
 * A QMP session: the handshake and what may be sent when. Pure: bytes in by way of a QmpReader, bytes out by
 * qmp_session_take_output().
 *
 * States: GREETING (nothing may be sent) -> NEGOTIATING (qmp_capabilities is sent) -> READY (commands flow)
 * -> FAILED. Commands that are given before READY are kept and follow the handshake in order. Events before
 * READY are passed on too.
 */
#include "qmp/wire.h"

typedef enum QmpSessionState {
	QMP_SESSION_GREETING,
	QMP_SESSION_NEGOTIATING,
	QMP_SESSION_READY,
	QMP_SESSION_FAILED,
} QmpSessionState;

typedef struct QmpSessionCallbacks {
	void (*ready)(void *user);
	void (*event)(void *user, const QmpEvent *event);
	void (*reply)(void *user, uint64_t id, QmpReply *reply_consume);
} QmpSessionCallbacks;

typedef struct QmpSession QmpSession;
QmpSession *qmp_session_new(const QmpSessionCallbacks *callbacks, void *user);
QmpSession *qmp_session_free(QmpSession *session);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpSession, qmp_session_free)

QmpSessionState qmp_session_state(const QmpSession *session);

/* Appends bytes of one or more commands (qmp_command_format()). */
void qmp_session_send(QmpSession *session, const char *bytes, size_t size);

/* What is to be written now; qmp_session_wrote() says how much of it was. At most QMP_OUTPUT_MAX may wait:
 * beyond, qmp_session_output_full() is true and the session's owner should fail new commands. */
#define QMP_OUTPUT_MAX (4U * 1024 * 1024)
const char *qmp_session_output(QmpSession *session, size_t *ret_size);
void qmp_session_wrote(QmpSession *session, size_t size);
bool qmp_session_output_full(const QmpSession *session);

/* Room to read into, and the bytes that came. Messages are delivered through the callbacks from within. 0, or
 * a negative errno with *ret_why (static text): the peer does not speak QMP; the session is FAILED. */
char *qmp_session_buffer(QmpSession *session, size_t *ret_size);
int qmp_session_feed(QmpSession *session, size_t size, const char **ret_why);
