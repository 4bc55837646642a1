/* qmp/session.h, fed by strings: the handshake, what may be sent when, and every way a peer may not speak
 * QMP. */
#include <errno.h>
#include <string.h>

#include "qmp/session.h"

typedef struct World {
	QmpSession *session;
	GString *log;
	char *on_ready; /* sent from within ready() */
	int result;
	const char *why;
} World;

static void on_ready(void *user)
{
	World *world = user;

	g_string_append(world->log, "ready;");
	if (world->on_ready)
		qmp_session_send(world->session, world->on_ready, strlen(world->on_ready));
}

static void on_event(void *user, const QmpEvent *event)
{
	World *world = user;

	g_string_append_printf(world->log, "event %.*s;", (int)event->name_size, event->name);
}

static void on_reply(void *user, uint64_t id, QmpReply *reply_consume)
{
	g_autoptr(QmpReply) reply = reply_consume;
	World *world = user;

	g_string_append_printf(
		world->log, "%" G_GUINT64_FORMAT " %s;", id, reply->failed ? reply->error_desc : reply->text);
}

static void setup(World *world, gconstpointer data)
{
	static const QmpSessionCallbacks callbacks = {
		.ready = on_ready, .event = on_event, .reply = on_reply};

	*world = (World){.log = g_string_new(NULL)};
	world->session = qmp_session_new(&callbacks, world);
}

static void teardown(World *world, gconstpointer data)
{
	g_assert_null(qmp_session_free(world->session));
	g_string_free(world->log, TRUE);
}

static int feed(World *world, const char *text, size_t size)
{
	while (size > 0 && world->result == 0) {
		size_t room;
		char *buffer = qmp_session_buffer(world->session, &room);
		size_t n = MIN(room, size);

		memcpy(buffer, text, n);
		world->result = qmp_session_feed(world->session, n, &world->why);
		text += n;
		size -= n;
	}
	return world->result;
}

static int say(World *world, const char *text)
{
	return feed(world, text, strlen(text));
}

static void send_text(World *world, const char *text)
{
	qmp_session_send(world->session, text, strlen(text));
}

static void assert_log(World *world, const char *expected)
{
	g_assert_cmpstr(world->log->str, ==, expected);
	g_string_truncate(world->log, 0);
}

/* What would be written now, taken as written. */
static void assert_output(World *world, const char *expected)
{
	size_t size;
	const char *output = qmp_session_output(world->session, &size);

	g_assert_cmpmem(output, size, expected, strlen(expected));
	qmp_session_wrote(world->session, size);
}

#define GREETING     "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define CAPABILITIES "{\"execute\":\"qmp_capabilities\",\"id\":0}\n"
#define AGREED       "{\"return\": {}, \"id\": 0}\r\n"
#define EVENT(name)  "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"" name "\"}\r\n"

static void handshake(World *world)
{
	g_assert_cmpint(say(world, GREETING AGREED), ==, 0);
	g_assert_cmpint(qmp_session_state(world->session), ==, QMP_SESSION_READY);
	assert_output(world, CAPABILITIES);
	assert_log(world, "ready;");
}

static void test_handshake(World *world, gconstpointer data)
{
	g_assert_cmpint(qmp_session_state(world->session), ==, QMP_SESSION_GREETING);
	assert_output(world, "");
	send_text(world, "one\n");
	assert_output(world, "");
	g_assert_cmpint(say(world, GREETING), ==, 0);
	g_assert_cmpint(qmp_session_state(world->session), ==, QMP_SESSION_NEGOTIATING);
	assert_output(world, CAPABILITIES);
	send_text(world, "two\n");
	assert_output(world, "");
	world->on_ready = (char *)"three\n";
	g_assert_cmpint(say(world, AGREED), ==, 0);
	assert_log(world, "ready;");
	send_text(world, "four\n");
	assert_output(world, "one\ntwo\nthree\nfour\n");
}

static void test_every_split(World *unused, gconstpointer data)
{
	static const char text[] = GREETING EVENT("A") AGREED EVENT(
		"B") "{\"return\": {\"x\": 1}, \"id\": 1}\r\n"
		     "{\"id\": 2, \"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\r\n" EVENT("C");

	for (size_t i = 0; i < sizeof text; i++) {
		World world;

		setup(&world, NULL);
		g_assert_cmpint(feed(&world, text, i), ==, 0);
		g_assert_cmpint(feed(&world, text + i, sizeof text - 1 - i), ==, 0);
		assert_output(&world, CAPABILITIES);
		assert_log(&world, "event A;ready;event B;1 {\"x\": 1};2 no;event C;");
		teardown(&world, NULL);
	}
}

static void test_events_before_ready(World *world, gconstpointer data)
{
	g_assert_cmpint(say(world, EVENT("A") GREETING EVENT("B") AGREED EVENT("C")), ==, 0);
	assert_log(world, "event A;event B;ready;event C;");
}

static void test_replies(World *world, gconstpointer data)
{
	handshake(world);
	/* Whether an id is somebody's is for the receiver to know; without one it is nobody's. */
	g_assert_cmpint(say(world, "{\"return\": 1, \"id\": 18446744073709551615}\n{\"return\": 2}\n"
				   "{\"return\": 3, \"id\": \"x\"}\n{\"error\": {\"class\": "
				   "\"GenericError\", \"desc\": \"JSON parse error\"}}\n"
				   "{\"return\": 4, \"id\": 4}\n"),
		==, 0);
	assert_log(world, "18446744073709551615 1;4 4;");
}

static void test_not_qmp(World *unused, gconstpointer data)
{
	static const struct {
		const char *text;
		int result;
		const char *why, *log;
	} rows[] = {
		{"\n", 0, NULL, ""},
		{"garbage\n", -EBADMSG, "a line that is no QMP message", ""},
		{AGREED, -EPROTO, "a QMP reply before the greeting", ""},
		{GREETING GREETING, -EPROTO, "a second QMP greeting", ""},
		{GREETING AGREED GREETING, -EPROTO, "a second QMP greeting", "ready;"},
		{GREETING "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"x\"}, \"id\": 0}\n",
			-EPROTO, "QMP handshake refused", ""},
		{GREETING AGREED "{\"return\": \"\xff\"}\n", -EBADMSG, "a line that is no QMP message",
			"ready;"},
		{GREETING AGREED EVENT("A") "half{\n" EVENT("B"), -EBADMSG, "a line that is no QMP message",
			"ready;event A;"},
		{GREETING AGREED
			"{\"return\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}\n",
			-E2BIG, "a QMP message nested deeper than 32 levels", "ready;"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		World world;

		setup(&world, NULL);
		g_assert_cmpint(say(&world, rows[i].text), ==, rows[i].result);
		g_assert_cmpstr(world.why, ==, rows[i].why);
		assert_log(&world, rows[i].log);
		if (rows[i].result < 0) {
			g_assert_cmpint(qmp_session_state(world.session), ==, QMP_SESSION_FAILED);
			/* Nothing goes in or out any more. */
			send_text(&world, "late\n");
			assert_output(&world, "");
			world.result = 0;
			g_assert_cmpint(say(&world, GREETING AGREED EVENT("D")), ==, rows[i].result);
			assert_log(&world, "");
		}
		teardown(&world, NULL);
	}
}

static void test_endless_line(World *world, gconstpointer data)
{
	g_autofree char *line = g_strnfill(QMP_LINE_MAX + 1, ' ');

	handshake(world);
	g_assert_cmpint(feed(world, line, QMP_LINE_MAX), ==, 0);
	g_assert_cmpint(feed(world, line, 1), ==, -EMSGSIZE);
	g_assert_cmpstr(world->why, ==, "a QMP message over 16 MiB");
}

static void test_partial_writes(World *world, gconstpointer data)
{
	g_autoptr(GString) expected = g_string_new(NULL), written = g_string_new(NULL);

	handshake(world);
	for (unsigned i = 0; i < 1000; i++) {
		g_autofree char *line = g_strdup_printf("{\"execute\":\"c\",\"id\":%u}\n", i);
		const char *output;
		size_t size;

		send_text(world, line);
		g_string_append(expected, line);
		output = qmp_session_output(world->session, &size);
		size = MIN(size, i % 31);
		g_string_append_len(written, output, (gssize)size);
		qmp_session_wrote(world->session, size);
	}
	for (;;) {
		size_t size;
		const char *output = qmp_session_output(world->session, &size);

		if (size == 0)
			break;
		g_string_append_len(written, output, (gssize)MIN(size, 7));
		qmp_session_wrote(world->session, MIN(size, 7));
	}
	g_assert_cmpstr(written->str, ==, expected->str);
}

static void test_output_full(World *world, gconstpointer data)
{
	g_autofree char *bytes = g_strnfill(QMP_OUTPUT_MAX - 1, 'x');
	size_t size;

	/* What is held counts. */
	send_text(world, bytes);
	g_assert_false(qmp_session_output_full(world->session));
	send_text(world, "x");
	g_assert_true(qmp_session_output_full(world->session));
	g_assert_cmpint(say(world, GREETING AGREED), ==, 0);
	g_assert_true(qmp_session_output_full(world->session));
	qmp_session_output(world->session, &size);
	g_assert_cmpuint(size, ==, strlen(CAPABILITIES) + QMP_OUTPUT_MAX);
	qmp_session_wrote(world->session, strlen(CAPABILITIES) + 1);
	g_assert_false(qmp_session_output_full(world->session));
	qmp_session_wrote(world->session, QMP_OUTPUT_MAX - 1);
	assert_output(world, "");
	send_text(world, "more\n");
	assert_output(world, "more\n");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *path;
		void (*func)(World *, gconstpointer);
	} tests[] = {
		{"/session/handshake", test_handshake},
		{"/session/every-split", test_every_split},
		{"/session/events-before-ready", test_events_before_ready},
		{"/session/replies", test_replies},
		{"/session/not-qmp", test_not_qmp},
		{"/session/endless-line", test_endless_line},
		{"/session/partial-writes", test_partial_writes},
		{"/session/output-full", test_output_full},
	};

	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
		g_test_add(tests[i].path, World, NULL, setup, tests[i].func, teardown);
	return g_test_run();
}
