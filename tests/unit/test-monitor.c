/* qmp/monitor.h on a socketpair and a real event loop: partial writes, turns, and every way it may end. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "qmp/monitor.h"
#include "util/fd.h"

typedef struct World {
	sd_event *loop;
	QmpMonitor *monitor;
	int peer;
	GString *log;
	unsigned n_events, n_turns, n_closed, events_at_turn;
	unsigned events_per_turn_max;
	int error;
	char *why;
	bool answer; /* sends a command from within each event */
} World;

static void on_ready(void *user)
{
	g_string_append(((World *)user)->log, "ready;");
}

static void on_event(void *user, const QmpEvent *event)
{
	World *world = user;

	assert_event_thread(__func__);
	world->n_events++;
	if (world->answer)
		g_assert_cmpint(qmp_monitor_send(world->monitor, "x\n", 2), ==, 0);
}

static void on_reply(void *user, uint64_t id, QmpReply *reply_consume)
{
	World *world = user;

	g_string_append_printf(world->log, "%" G_GUINT64_FORMAT ";", id);
	qmp_reply_free(reply_consume);
}

static void on_turn(void *user)
{
	World *world = user;

	world->n_turns++;
	world->events_per_turn_max = MAX(world->events_per_turn_max, world->n_events - world->events_at_turn);
	world->events_at_turn = world->n_events;
	g_string_append(world->log, world->n_closed > 0 ? "last turn;" : "");
}

static void on_closed(void *user, int error, const char *why)
{
	World *world = user;

	assert_event_thread(__func__);
	world->n_closed++;
	world->error = error;
	world->why = g_strdup(why);
	g_string_append(world->log, "closed;");
	g_assert_cmpint(qmp_monitor_send(world->monitor, "x\n", 2), ==, -EPIPE);
}

#define GREETING     "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define CAPABILITIES "{\"execute\":\"qmp_capabilities\",\"id\":0}\n"
#define AGREED       "{\"return\": {}, \"id\": 0}\r\n"
#define EVENT        "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"A\"}\r\n"

static void peer_say(World *world, const char *text)
{
	g_assert_cmpint(fd_write_all(world->peer, text, strlen(text)), ==, 0);
}

/* One turn of the loop; false: nothing was there. */
static bool turn(World *world)
{
	int r = sd_event_run(world->loop, 0);

	g_assert_cmpint(r, >=, 0);
	return r > 0;
}

static void settle(World *world)
{
	while (turn(world))
		;
}

/* What the monitor wrote so far. */
static char *peer_hear(World *world)
{
	GString *heard = g_string_new(NULL);
	char buffer[65536];
	ssize_t n;

	while ((n = recv(world->peer, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
		g_string_append_len(heard, buffer, n);
	return g_string_free(heard, FALSE);
}

static void assert_log(World *world, const char *expected)
{
	g_assert_cmpstr(world->log->str, ==, expected);
	g_string_truncate(world->log, 0);
}

static void setup(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	static const QmpMonitorCallbacks callbacks = {
		.session = {.ready = on_ready, .event = on_event, .reply = on_reply},
		.turn = on_turn,
		.closed = on_closed,
	};
	int fds[2];

	*world = (World){.log = g_string_new(NULL)};
	g_assert_cmpint(sd_event_new(&world->loop), ==, 0);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	world->peer = fds[1];
	g_assert_cmpint(qmp_monitor_new(world->loop, fds[0], &callbacks, world, &world->monitor), ==, 0);
}

static void teardown(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	qmp_monitor_free(world->monitor);
	fd_close(&world->peer);
	sd_event_unref(world->loop);
	g_string_free(world->log, TRUE);
	g_free(world->why);
}

static void handshake(World *world) NO_THREAD_SAFETY_ANALYSIS
{
	g_autofree char *heard = NULL;

	g_assert_false(qmp_monitor_is_ready(world->monitor));
	peer_say(world, GREETING AGREED);
	settle(world);
	g_assert_true(qmp_monitor_is_ready(world->monitor));
	heard = peer_hear(world);
	g_assert_cmpstr(heard, ==, CAPABILITIES);
	assert_log(world, "ready;");
}

static void test_dialogue(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	g_autofree char *heard = NULL;

	/* Before it is ready, it keeps. */
	g_assert_cmpint(qmp_monitor_send(world->monitor, "one\n", 4), ==, 0);
	peer_say(world, GREETING);
	settle(world);
	g_assert_cmpint(qmp_monitor_send(world->monitor, "two\n", 4), ==, 0);
	peer_say(world, AGREED EVENT "{\"return\": {}, \"id\": 1}\r\n{\"return\":");
	settle(world);
	g_assert_true(qmp_monitor_is_ready(world->monitor));
	g_assert_cmpint(qmp_monitor_send(world->monitor, "three\n", 6), ==, 0);
	peer_say(world, " {}, \"id\": 2}\r\n");
	settle(world);
	heard = peer_hear(world);
	g_assert_cmpstr(heard, ==, CAPABILITIES "one\ntwo\nthree\n");
	assert_log(world, "ready;1;2;");
	g_assert_cmpuint(world->n_events, ==, 1);
	g_assert_cmpuint(world->n_turns, ==, 3);
	g_assert_cmpuint(world->n_closed, ==, 0);
}

/* A QEMU that does not read: the rest waits for EPOLLOUT, up to the bound, and nothing is lost or out of
 * order. */
static void test_full_socket(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	g_autoptr(GString) sent = g_string_new(NULL), heard = g_string_new(NULL);
	int r = 0;

	handshake(world);
	for (unsigned i = 0; r == 0; i++) {
		g_autofree char *line = g_strdup_printf("{\"execute\":\"c%01000u\",\"id\":%u}\n", i, i);

		r = qmp_monitor_send(world->monitor, line, strlen(line));
		if (r == 0)
			g_string_append(sent, line);
	}
	g_assert_cmpint(r, ==, -ENOBUFS);
	g_assert_cmpuint(sent->len, >=, QMP_OUTPUT_MAX);
	/* Nothing to do as long as nobody reads; and reading goes on meanwhile. */
	settle(world);
	peer_say(world, EVENT);
	settle(world);
	g_assert_cmpuint(world->n_events, ==, 1);
	while (heard->len < sent->len) {
		g_autofree char *some = peer_hear(world);

		g_string_append(heard, some);
		settle(world);
	}
	g_assert_cmpuint(heard->len, ==, sent->len);
	g_assert_true(g_string_equal(heard, sent));
	g_assert_cmpint(qmp_monitor_send(world->monitor, "x\n", 2), ==, 0);
}

static void flood(void *data)
{
	World *world = data;
	g_autoptr(GString) text = g_string_new(NULL);

	for (unsigned i = 0; i < 20000; i++)
		g_string_append(text, EVENT);
	g_assert_cmpint(fd_write_all(world->peer, text->str, text->len), ==, 0);
}

/* A flood is read in turns, each within the limit, and every event is answered meanwhile. */
static void test_turns(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	pthread_t thread;

	handshake(world);
	g_assert_cmpint(thread_start_joinable(&thread, "flood", &role_worker, flood, world), ==, 0);
	world->answer = true;
	while (world->n_events < 20000)
		g_assert_cmpint(sd_event_run(world->loop, UINT64_MAX), >=, 0);
	thread_join(thread);
	for (size_t n = 0; n < 40000;) {
		g_autofree char *heard = peer_hear(world);

		n += strlen(heard);
		g_assert_cmpuint(n, <=, 40000);
		settle(world);
	}
	g_assert_cmpuint(world->events_per_turn_max, <=, QMP_TURN_MAX / strlen(EVENT) + 1);
	g_assert_cmpuint(world->n_turns, >, 1);
}

/* What was said before the end is delivered before the end; half a line is not. */
static void test_eof(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	handshake(world);
	peer_say(world, EVENT "{\"return\": {}, \"id\": 5}\r\n{\"half");
	fd_close(&world->peer);
	settle(world);
	assert_log(world, "5;closed;last turn;");
	g_assert_cmpuint(world->n_events, ==, 1);
	g_assert_cmpint(world->error, ==, 0);
	g_assert_cmpstr(world->why, ==, "QEMU closed the QMP connection");
	g_assert_false(qmp_monitor_is_ready(world->monitor));
	g_assert_cmpint(qmp_monitor_send(world->monitor, "x\n", 2), ==, -EPIPE);
	qmp_monitor_finish(world->monitor);
	settle(world);
	g_assert_cmpuint(world->n_closed, ==, 1);
}

/* A peer that dies with a command unread resets the connection; what it said still comes first. */
static void test_reset(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	handshake(world);
	g_assert_cmpint(qmp_monitor_send(world->monitor, "x\n", 2), ==, 0);
	peer_say(world, EVENT);
	fd_close(&world->peer);
	settle(world);
	assert_log(world, "closed;last turn;");
	g_assert_cmpuint(world->n_events, ==, 1);
	g_assert_cmpint(world->error, ==, 0);
}

static void test_write_after_close(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	handshake(world);
	peer_say(world, EVENT);
	fd_close(&world->peer);
	/* The write fails, but the end comes in its own time, from the loop. */
	g_assert_cmpint(qmp_monitor_send(world->monitor, "x\n", 2), ==, 0);
	g_assert_cmpint(qmp_monitor_send(world->monitor, "x\n", 2), ==, -EPIPE);
	assert_log(world, "");
	settle(world);
	assert_log(world, "closed;last turn;");
	g_assert_cmpuint(world->n_events, ==, 1);
	g_assert_cmpint(world->error, ==, 0);
}

/* A peer that shuts its ears but keeps talking is of no use. */
static void test_deaf_peer(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	handshake(world);
	peer_say(world, EVENT);
	g_assert_cmpint(shutdown(world->peer, SHUT_RD), ==, 0);
	g_assert_cmpint(qmp_monitor_send(world->monitor, "x\n", 2), ==, 0);
	settle(world);
	assert_log(world, "closed;last turn;");
	g_assert_cmpuint(world->n_events, ==, 1);
	g_assert_cmpint(world->error, ==, -EPIPE);
	g_assert_cmpstr(world->why, ==, "writing to QEMU failed");
}

static void test_garbage(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	handshake(world);
	peer_say(world, EVENT "garbage\n" EVENT);
	settle(world);
	assert_log(world, "closed;last turn;");
	g_assert_cmpuint(world->n_events, ==, 1);
	g_assert_cmpint(world->error, ==, -EBADMSG);
	g_assert_cmpstr(world->why, ==, "a line that is no QMP message");
	/* Hung up on: the peer sees it. */
	g_assert_cmpint(send(world->peer, "x", 1, MSG_NOSIGNAL), ==, -1);
}

/* QEMU has exited: all of what is there comes in one go, more than a turn's worth, and then the end, even
 * when a process that it left behind holds the socket open. */
static void test_finish(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	unsigned n = 0;

	handshake(world);
	while (send(world->peer, EVENT, strlen(EVENT), MSG_DONTWAIT) == (ssize_t)strlen(EVENT))
		n++;
	qmp_monitor_finish(world->monitor);
	assert_log(world, "closed;last turn;");
	g_assert_cmpuint(world->n_events, ==, n);
	g_assert_cmpuint(world->n_turns, ==, 2);
	g_assert_cmpint(world->error, ==, 0);
	g_assert_cmpstr(world->why, ==, "QEMU has exited");
	qmp_monitor_finish(world->monitor);
	settle(world);
	g_assert_cmpuint(world->n_closed, ==, 1);
}

static int free_later(sd_event_source *source, void *user) NO_THREAD_SAFETY_ANALYSIS
{
	World *world = user;

	world->monitor = qmp_monitor_free(world->monitor);
	return 0;
}

/* As its user does it: closed() leads to a free from another event source. */
static void test_free_after_closed(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	sd_event_source *source = NULL;

	g_assert_cmpint(sd_event_add_defer(world->loop, &source, free_later, world), ==, 0);
	g_assert_cmpint(sd_event_source_set_enabled(source, SD_EVENT_OFF), ==, 0);
	handshake(world);
	fd_close(&world->peer);
	while (world->n_closed == 0)
		turn(world);
	g_assert_cmpint(sd_event_source_set_enabled(source, SD_EVENT_ONESHOT), ==, 0);
	settle(world);
	g_assert_null(world->monitor);
	sd_event_source_unref(source);
}

static void test_free_open(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	handshake(world);
	g_assert_cmpint(qmp_monitor_send(world->monitor, "x\n", 2), ==, 0);
	peer_say(world, EVENT);
	world->monitor = qmp_monitor_free(world->monitor);
	settle(world);
	g_assert_cmpuint(world->n_closed, ==, 0);
	g_assert_null(qmp_monitor_free(NULL));
}

/* The fd is taken over on failure, too. */
static void test_bad_fd(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	static const QmpMonitorCallbacks callbacks = {0};
	g_autofree char *path = NULL;
	QmpMonitor *monitor = NULL;
	int fd = g_file_open_tmp(NULL, &path, NULL);

	/* A plain file cannot be watched. */
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(qmp_monitor_new(world->loop, fd, &callbacks, NULL, &monitor), ==, -EPERM);
	g_assert_null(monitor);
	g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
	unlink(path);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *path;
		void (*func)(World *, gconstpointer);
	} tests[] = {
		{"/monitor/dialogue", test_dialogue},
		{"/monitor/full-socket", test_full_socket},
		{"/monitor/turns", test_turns},
		{"/monitor/eof", test_eof},
		{"/monitor/reset", test_reset},
		{"/monitor/write-after-close", test_write_after_close},
		{"/monitor/deaf-peer", test_deaf_peer},
		{"/monitor/garbage", test_garbage},
		{"/monitor/finish", test_finish},
		{"/monitor/free-after-closed", test_free_after_closed},
		{"/monitor/free-open", test_free_open},
		{"/monitor/bad-fd", test_bad_fd},
	};

	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_event);
	for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
		g_test_add(tests[i].path, World, NULL, setup, tests[i].func, teardown);
	return g_test_run();
}
