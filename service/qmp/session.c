/*
 * A reader for what comes, and two texts for what goes: `output`, which may be written now, and `held`, which
 * waits for the end of the handshake. The handshake's command has the id 0, which is nobody's; since QEMU
 * answers in order, the first reply is its.
 */
#include "qmp/session.h"

#include <errno.h>

struct QmpSession {
	QmpSessionCallbacks callbacks;
	void *user;
	QmpSessionState state;
	QmpReader *reader;
	GString *output;
	size_t written; /* of output */
	GString *held;
	const char *why; /* of FAILED */
	int error;
};

/* A text that grew large in a jam is not kept. */
#define OUTPUT_KEEP (64U * 1024)

QmpSession *qmp_session_new(const QmpSessionCallbacks *callbacks, void *user)
{
	QmpSession *session = g_new0(QmpSession, 1);

	session->callbacks = *callbacks;
	session->user = user;
	session->reader = qmp_reader_new();
	session->output = g_string_new(NULL);
	session->held = g_string_new(NULL);
	return session;
}

QmpSession *qmp_session_free(QmpSession *session)
{
	if (!session)
		return NULL;
	qmp_reader_free(session->reader);
	g_string_free(session->output, TRUE);
	g_string_free(session->held, TRUE);
	g_free(session);
	return NULL;
}

QmpSessionState qmp_session_state(const QmpSession *session)
{
	return session->state;
}

void qmp_session_send(QmpSession *session, const char *bytes, size_t size)
{
	if (session->state == QMP_SESSION_FAILED)
		return;
	g_string_append_len(
		session->state == QMP_SESSION_READY ? session->output : session->held, bytes, (gssize)size);
}

const char *qmp_session_output(QmpSession *session, size_t *ret_size)
{
	*ret_size = session->output->len - session->written;
	return session->output->str + session->written;
}

static void text_clear(GString **text)
{
	if ((*text)->allocated_len > OUTPUT_KEEP) {
		g_string_free(*text, TRUE);
		*text = g_string_new(NULL);
	} else {
		g_string_truncate(*text, 0);
	}
}

void qmp_session_wrote(QmpSession *session, size_t size)
{
	g_assert(size <= session->output->len - session->written);
	session->written += size;
	if (session->written == session->output->len) {
		text_clear(&session->output);
		session->written = 0;
	} else if (session->written > session->output->len / 2) {
		g_string_erase(session->output, 0, (gssize)session->written);
		session->written = 0;
	}
}

bool qmp_session_output_full(const QmpSession *session)
{
	return session->output->len - session->written + session->held->len >= QMP_OUTPUT_MAX;
}

char *qmp_session_buffer(QmpSession *session, size_t *ret_size)
{
	return qmp_reader_buffer(session->reader, ret_size);
}

/* ---- messages: each returns NULL, or why the peer does not speak QMP ---- */

static const char *take_greeting(QmpSession *session)
{
	static const char handshake[] = "{\"execute\":\"qmp_capabilities\",\"id\":0}\n";

	if (session->state != QMP_SESSION_GREETING)
		return "a second QMP greeting";
	g_string_append_len(session->output, handshake, sizeof handshake - 1);
	session->state = QMP_SESSION_NEGOTIATING;
	return NULL;
}

static const char *take_handshake_reply(QmpSession *session, const QmpReply *reply)
{
	if (reply->failed)
		return "QMP handshake refused";
	session->state = QMP_SESSION_READY;
	g_string_append_len(session->output, session->held->str, (gssize)session->held->len);
	text_clear(&session->held);
	session->callbacks.ready(session->user);
	return NULL;
}

static const char *take_reply(QmpSession *session, QmpMessage *message)
{
	switch (session->state) {
	case QMP_SESSION_GREETING:
		return "a QMP reply before the greeting";
	case QMP_SESSION_NEGOTIATING:
		return take_handshake_reply(session, message->reply);
	default:
		break;
	}
	/* Without an id of ours it answers nothing that anybody waits for. */
	if (message->id != 0)
		session->callbacks.reply(session->user, message->id, g_steal_pointer(&message->reply));
	return NULL;
}

static const char *take_message(QmpSession *session, QmpMessage *message)
{
	switch (message->type) {
	case QMP_MESSAGE_GREETING:
		return take_greeting(session);
	case QMP_MESSAGE_EVENT:
		session->callbacks.event(session->user, &message->event);
		return NULL;
	case QMP_MESSAGE_REPLY:
		return take_reply(session, message);
	}
	g_assert_not_reached();
}

static int fail(QmpSession *session, int error, const char *why, const char **ret_why)
{
	session->state = QMP_SESSION_FAILED;
	session->error = error;
	session->why = why;
	text_clear(&session->output);
	text_clear(&session->held);
	session->written = 0;
	*ret_why = why;
	return error;
}

static const char *reader_complaint(int error)
{
	switch (error) {
	case -EMSGSIZE:
		return "a QMP message over 16 MiB";
	case -E2BIG:
		return "a QMP message nested deeper than 32 levels";
	default:
		return "a line that is no QMP message";
	}
}

int qmp_session_feed(QmpSession *session, size_t size, const char **ret_why)
{
	qmp_reader_commit(session->reader, size);
	if (session->state == QMP_SESSION_FAILED)
		return fail(session, session->error, session->why, ret_why);
	for (;;) {
		QmpMessage message = {0};
		const char *why;
		int r;

		r = qmp_reader_next(session->reader, &message);
		if (r == 0)
			return 0;
		if (r < 0)
			return fail(session, r, reader_complaint(r), ret_why);
		why = take_message(session, &message);
		qmp_message_clear(&message);
		if (why)
			return fail(session, -EPROTO, why, ret_why);
	}
}
