/* qmp/wire.h, the reader and what becomes of messages: every split, damage at every place, sizes and depths.
 */
#include <errno.h>
#include <string.h>

#include "qmp/wire.h"

static void push(QmpReader *reader, const char *bytes, size_t size)
{
	while (size > 0) {
		size_t room, n;
		char *buffer = qmp_reader_buffer(reader, &room);

		g_assert_cmpuint(room, >, 0);
		n = MIN(room, size);
		memcpy(buffer, bytes, n);
		qmp_reader_commit(reader, n);
		bytes += n;
		size -= n;
	}
}

static void describe(const QmpMessage *message, GString *log)
{
	const QmpEvent *event = &message->event;
	const QmpReply *reply = message->reply;

	switch (message->type) {
	case QMP_MESSAGE_GREETING:
		g_string_append(log, "greeting;");
		break;
	case QMP_MESSAGE_EVENT:
		g_string_append_printf(log, "event %.*s %.*s %" G_GUINT64_FORMAT ";", (int)event->name_size,
			event->name, (int)event->data_size, event->data ? event->data : "", event->time_usec);
		break;
	case QMP_MESSAGE_REPLY:
		g_string_append_printf(log, "reply %" G_GUINT64_FORMAT " %s %s %s;", message->id,
			reply->failed ? "failed" : reply->text, reply->failed ? reply->error_class : "",
			reply->failed ? reply->error_desc : "");
		break;
	}
}

/* Delivers what is there; what qmp_reader_next() said last. */
static int pull(QmpReader *reader, GString *log)
{
	for (;;) {
		QmpMessage message = {0};
		int r = qmp_reader_next(reader, &message);

		if (r <= 0)
			return r;
		describe(&message, log);
		qmp_message_clear(&message);
	}
}

static int read_all(const char *text, size_t size, GString *log)
{
	g_autoptr(QmpReader) reader = qmp_reader_new();

	push(reader, text, size);
	return pull(reader, log);
}

/* As QEMU 7.2 says it. */
static const char dialogue[] =
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"\"}, "
	"\"capabilities\": "
	"[\"oob\"]}}\r\n"
	"{\"return\": {}, \"id\": 0}\r\n"
	"\r\n"
	"{\"timestamp\": {\"seconds\": 1795301203, \"microseconds\": 575381}, \"event\": \"RESUME\"}\r\n"
	"{\"return\": {\"status\": \"running\", \"singlestep\": false, \"running\": true}, \"id\": "
	"18446744073709551615}\r\n"
	"{\"timestamp\": {\"seconds\": -1, \"microseconds\": -1}, \"event\": \"RESET\", \"data\": "
	"{\"guest\": false}}\r\n"
	"{\"id\": 3, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command n\\u00f6pe\"}}\r\n"
	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"\"}}\n";

static const char dialogue_log[] =
	"greeting;"
	"reply 0 {}  ;"
	"event RESUME  1795301203575381;"
	"reply 18446744073709551615 {\"status\": \"running\", \"singlestep\": false, \"running\": true}  ;"
	"event RESET {\"guest\": false} 0;"
	"reply 3 failed CommandNotFound The command n\xc3\xb6pe;"
	"reply 0 failed GenericError ;";

static void test_every_split(void)
{
	size_t size = strlen(dialogue);

	for (size_t i = 0; i <= size; i++) {
		g_autoptr(QmpReader) reader = qmp_reader_new();
		g_autoptr(GString) log = g_string_new(NULL);

		push(reader, dialogue, i);
		g_assert_cmpint(pull(reader, log), ==, 0);
		push(reader, dialogue + i, size - i);
		g_assert_cmpint(pull(reader, log), ==, 0);
		g_assert_cmpstr(log->str, ==, dialogue_log);
	}
}

static void test_byte_by_byte(void)
{
	g_autoptr(QmpReader) reader = qmp_reader_new();
	g_autoptr(GString) log = g_string_new(NULL);

	for (size_t i = 0; i < strlen(dialogue); i++) {
		push(reader, dialogue + i, 1);
		g_assert_cmpint(pull(reader, log), ==, 0);
	}
	g_assert_cmpstr(log->str, ==, dialogue_log);
}

static void test_messages(void)
{
	static const struct {
		const char *line;
		int result;
		const char *log;
	} rows[] = {
		{"", 0, ""},
		{"\n \r\n\t\n", 0, ""},
		{"{\"return\": 1}\n", 0, "reply 0 1  ;"},
		{"{\"return\": [ ], \"id\": 1}\n", 0, "reply 1 [ ]  ;"},
		/* Ids that are none of ours. */
		{"{\"return\": {}, \"id\": \"x\"}\n", 0, "reply 0 {}  ;"},
		{"{\"return\": {}, \"id\": {\"a\": [1]}}\n", 0, "reply 0 {}  ;"},
		{"{\"return\": {}, \"id\": 1.5}\n", 0, "reply 0 {}  ;"},
		{"{\"return\": {}, \"id\": 1e3}\n", 0, "reply 0 {}  ;"},
		{"{\"return\": {}, \"id\": -1}\n", 0, "reply 0 {}  ;"},
		{"{\"return\": {}, \"id\": null}\n", 0, "reply 0 {}  ;"},
		{"{\"return\": {}, \"id\": 18446744073709551616}\n", -EBADMSG, ""},
		/* Errors with less in them than QEMU's. */
		{"{\"error\": \"x\", \"id\": 1}\n", 0, "reply 1 failed  ;"},
		{"{\"error\": {\"class\": 1, \"desc\": null}, \"id\": 1}\n", 0, "reply 1 failed  ;"},
		/* Members QEMU may add one day. */
		{"{\"event\": \"A\", \"new\": {\"event\": 1}}\n", 0, "event A  0;"},
		{"{\"event\": \"__com.redhat_X-1\", \"data\": null}\n", 0, "event __com.redhat_X-1  0;"},
		{"{\"timestamp\": 5, \"event\": \"A\"}\n", 0, "event A  0;"},
		{"{\"timestamp\": {\"seconds\": 1, \"microseconds\": 1000000}, \"event\": \"A\"}\n", 0,
			"event A  0;"},
		{"{\"timestamp\": {\"seconds\": 18446744073709551615}, \"event\": \"A\"}\n", 0,
			"event A  0;"},
		/* What is not QMP. */
		{"x\n", -EBADMSG, ""},
		{"\x01\n", -EBADMSG, ""},
		{"SSH-2.0-OpenSSH_9.2\r\n", -EBADMSG, ""},
		{"{}\n", -EBADMSG, ""},
		{"[]\n", -EBADMSG, ""},
		{"null\n", -EBADMSG, ""},
		{"{\"QMP\": 1}\n", -EBADMSG, ""},
		{"{\"event\": 1}\n", -EBADMSG, ""},
		{"{\"event\": \"\"}\n", -EBADMSG, ""},
		{"{\"event\": \"A B\"}\n", -EBADMSG, ""},
		{"{\"event\": \"A\\u0041\"}\n", -EBADMSG, ""},
		{"{\"event\": \"A\", \"return\": {}}\n", -EBADMSG, ""},
		{"{\"return\": {}, \"error\": {}}\n", -EBADMSG, ""},
		{"{\"return\": {}} {\"return\": {}}\n", -EBADMSG, ""},
		{"{\"return\": {}\n}\n", -EBADMSG, ""},
		{"{\"return\": \"\xff\"}\n", -EBADMSG, ""},
		{"{\"event\": \"\xc3\xa4\"}\n", -EBADMSG, ""},
		{"{\"return\": {}}\nx\n{\"return\": {}}\n", -EBADMSG, "reply 0 {}  ;"},
		/* Half a line is no line. */
		{"{\"return\": {}}", 0, ""},
		{"x", 0, ""},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GString) log = g_string_new(NULL);

		g_assert_cmpint(read_all(rows[i].line, strlen(rows[i].line), log), ==, rows[i].result);
		g_assert_cmpstr(log->str, ==, rows[i].log);
	}
	g_autoptr(GString) log = g_string_new(NULL);

	g_assert_cmpint(read_all("{\"return\": {}}\0\n", 16, log), ==, -EBADMSG);
}

static void test_error_is_sticky(void)
{
	g_autoptr(QmpReader) reader = qmp_reader_new();
	g_autoptr(GString) log = g_string_new(NULL);

	push(reader, "x\n", 2);
	g_assert_cmpint(pull(reader, log), ==, -EBADMSG);
	push(reader, dialogue, strlen(dialogue));
	g_assert_cmpint(pull(reader, log), ==, -EBADMSG);
	g_assert_cmpint(pull(reader, log), ==, -EBADMSG);
	g_assert_cmpstr(log->str, ==, "");
}

static void test_depth(void)
{
	for (unsigned depth = QMP_DEPTH_MAX - 2; depth <= QMP_DEPTH_MAX + 1; depth++) {
		g_autoptr(GString) text = g_string_new("{\"return\": ");
		g_autoptr(GString) log = g_string_new(NULL);

		for (unsigned i = 1; i < depth; i++)
			g_string_append_c(text, '[');
		for (unsigned i = 1; i < depth; i++)
			g_string_append_c(text, ']');
		g_string_append(text, "}\n");
		g_assert_cmpint(read_all(text->str, text->len, log), ==, depth > QMP_DEPTH_MAX ? -E2BIG : 0);
	}
}

/* A line of exactly `size` bytes before its end. */
static char *long_line(size_t size)
{
	static const char head[] = "{\"return\": \"", tail[] = "\", \"id\": 7}\n";
	char *line = g_malloc(size + 1);

	memset(line, 'x', size + 1);
	memcpy(line, head, strlen(head));
	memcpy(line + size + 1 - strlen(tail), tail, strlen(tail));
	return line;
}

static void test_line_max(void)
{
	g_autofree char *line = long_line(QMP_LINE_MAX);
	g_autofree char *longer = long_line(QMP_LINE_MAX + 1);
	g_autoptr(QmpReader) reader = qmp_reader_new();
	g_autoptr(GString) log = g_string_new(NULL);
	QmpMessage message = {0};
	size_t room;

	push(reader, line, QMP_LINE_MAX + 1);
	g_assert_cmpint(qmp_reader_next(reader, &message), ==, 1);
	g_assert_cmpuint(message.id, ==, 7);
	g_assert_cmpuint(strlen(message.reply->text), ==, QMP_LINE_MAX - strlen("{\"return\": , \"id\": 7}"));
	qmp_message_clear(&message);
	g_assert_cmpint(qmp_reader_next(reader, &message), ==, 0);
	/* Its memory is not kept. */
	qmp_reader_buffer(reader, &room);
	g_assert_cmpuint(room, <=, 64 * 1024);

	/* Too long with its end in sight, and without. */
	g_assert_cmpint(read_all(longer, QMP_LINE_MAX + 2, log), ==, -EMSGSIZE);
	push(reader, longer, QMP_LINE_MAX);
	g_assert_cmpint(qmp_reader_next(reader, &message), ==, 0);
	push(reader, longer + QMP_LINE_MAX, 1);
	g_assert_cmpint(qmp_reader_next(reader, &message), ==, -EMSGSIZE);
	qmp_reader_buffer(reader, &room);
	g_assert_cmpuint(room, <=, 64 * 1024);
}

static void test_bounded_texts(void)
{
	g_autofree char *name = g_strnfill(128, 'A'), *desc = g_strnfill(5000, 'd'),
			*class = g_strnfill(300, 'c');
	g_autofree char *event = g_strdup_printf("{\"event\": \"%s\"}\n", name);
	g_autofree char *too_long = g_strdup_printf("{\"event\": \"%sA\"}\n", name);
	g_autofree char *error =
		g_strdup_printf("{\"error\": {\"class\": \"%s\", \"desc\": \"%s\xc3\xa4\"}}\n", class, desc);
	g_autoptr(QmpReader) reader = qmp_reader_new();
	g_autoptr(GString) log = g_string_new(NULL);
	QmpMessage message = {0};

	g_assert_cmpint(read_all(event, strlen(event), log), ==, 0);
	g_assert_cmpint(read_all(too_long, strlen(too_long), log), ==, -EBADMSG);
	push(reader, error, strlen(error));
	g_assert_cmpint(qmp_reader_next(reader, &message), ==, 1);
	g_assert_cmpuint(strlen(message.reply->error_class), ==, 256);
	g_assert_cmpuint(strlen(message.reply->error_desc), ==, 4096);
	qmp_message_clear(&message);
}

/* A receiver takes the reply by setting it to NULL. */
static void test_reply_taken(void)
{
	g_autoptr(QmpReader) reader = qmp_reader_new();
	g_autoptr(QmpReply) reply = NULL;
	QmpMessage message = {0};

	push(reader, "{\"return\": {\"a\": \"b\\n\", \"t\": true, \"f\": false, \"n\": 1}}\n", 57);
	g_assert_cmpint(qmp_reader_next(reader, &message), ==, 1);
	reply = g_steal_pointer(&message.reply);
	qmp_message_clear(&message);

	g_autoptr(GVariant) variant = qmp_reply_to_variant(reply);
	g_autofree char *printed = g_variant_print(variant, TRUE);

	g_assert_false(g_variant_is_floating(variant));
	g_assert_cmpstr(printed, ==, "{'a': <'b\\n'>, 't': <true>, 'f': <false>, 'n': <int64 1>}");
}

static void test_reply_without_members(void)
{
	QmpReply nothing = {.text = (char *)"null"};
	QmpReply failed = {.failed = true, .error_class = (char *)"C", .error_desc = (char *)"d"};

	g_assert_null(qmp_reply_to_variant(&failed));
	g_assert_null(qmp_reply_to_variant(&nothing));
	g_assert_null(qmp_reply_free(NULL));
}

static void test_data_get(void)
{
	static const char data[] = "{\"id\": \"a\\u00e4\", \"n\": -12.5, \"b\": true, \"z\": null, \"l\": "
				   "[1], \"info\": {\"slot\": \"3\", \"deep\": {\"x\": 1}}}";
	static const struct {
		const char *path, *value;
	} rows[] = {
		{"id", "a\xc3\xa4"},
		{"n", "-12.5"},
		{"b", "true"},
		{"z", ""},
		{"l", ""},
		{"info", ""},
		{"x", ""},
		{"info.slot", "3"},
		{"info.x", ""},
		{"info.deep", ""},
		{"id.x", ""},
		{"x.y", ""},
		{"", ""},
		{".", ""},
	};
	g_autofree char *none = qmp_data_get(NULL, 0, "id");
	g_autofree char *id = g_strnfill(3000, 'x');
	g_autofree char *long_data = g_strdup_printf("{\"id\": \"%s\"}", id);
	g_autofree char *long_id = qmp_data_get(long_data, strlen(long_data), "id");

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *value = qmp_data_get(data, strlen(data), rows[i].path);

		g_assert_cmpstr(value, ==, rows[i].value);
	}
	g_assert_cmpstr(none, ==, "");
	g_assert_cmpuint(strlen(long_id), ==, 1024);
}

static void test_data_to_vardict(void)
{
	static const struct {
		const char *data, *variant;
	} rows[] = {
		{NULL, "@a{sv} {}"},
		{"{}", "@a{sv} {}"},
		{"{\"guest\": true, \"reason\": \"guest-reset\"}",
			"{'guest': <true>, 'reason': <'guest-reset'>}"},
		{"{\"a\": null, \"l\": [1, {\"x\": 1.5}]}", "{'l': <[<int64 1>, <{'x': <1.5>}>]>}"},
		{"{\"psw-addr\": 1, \"x\": [{\"host_ptr\": 1, \"k\": \"addr\"}], \"addr\": 2}",
			"{'x': <[<{'k': <'addr'>}>]>}"},
		{"{\"pointer\": 1, \"o\": {\"base-address\": 1}}", "{'o': <@a{sv} {}>}"},
		{"{\"addressed\": 1, \"readdr\": 2}", "{'addressed': <int64 1>, 'readdr': <int64 2>}"},
	};
	g_autofree char *text = g_strnfill(100000, 'x');
	g_autofree char *data = g_strdup_printf("{\"t\": \"%s\"}", text);
	g_autoptr(GVariant) long_dict = qmp_data_to_vardict(data, strlen(data));
	const char *cut = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GVariant) dict =
			qmp_data_to_vardict(rows[i].data, rows[i].data ? strlen(rows[i].data) : 0);
		g_autofree char *printed = g_variant_print(dict, TRUE);

		g_assert_false(g_variant_is_floating(dict));
		g_assert_cmpstr(printed, ==, rows[i].variant);
	}
	g_assert_true(g_variant_lookup(long_dict, "t", "&s", &cut));
	g_assert_cmpuint(strlen(cut), ==, 4096);
}

/* What a flooding guest costs, far below what any machine does. */
static void test_flood(void)
{
	static const char line[] =
		"{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 123456}, \"event\": "
		"\"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}}\r\n";
	g_autoptr(GString) chunk = g_string_new(NULL);
	g_autoptr(QmpReader) reader = qmp_reader_new();
	unsigned rounds = g_test_perf() ? 6000 : 600, n = 0;
	gint64 start = g_get_monotonic_time(), took;

	for (unsigned i = 0; i < 500; i++)
		g_string_append(chunk, line);
	for (unsigned i = 0; i < rounds; i++) {
		QmpMessage message = {0};

		push(reader, chunk->str, chunk->len);
		while (qmp_reader_next(reader, &message) == 1)
			n++;
	}
	took = g_get_monotonic_time() - start;
	g_assert_cmpuint(n, ==, rounds * 500);
	g_test_message("%.2f million events a second", (double)n / (double)took);
	g_assert_cmpint(took, <, n * 20);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/wire/every-split", test_every_split);
	g_test_add_func("/wire/byte-by-byte", test_byte_by_byte);
	g_test_add_func("/wire/messages", test_messages);
	g_test_add_func("/wire/error-is-sticky", test_error_is_sticky);
	g_test_add_func("/wire/depth", test_depth);
	g_test_add_func("/wire/line-max", test_line_max);
	g_test_add_func("/wire/bounded-texts", test_bounded_texts);
	g_test_add_func("/wire/reply-taken", test_reply_taken);
	g_test_add_func("/wire/reply-without-members", test_reply_without_members);
	g_test_add_func("/wire/data-get", test_data_get);
	g_test_add_func("/wire/data-to-vardict", test_data_to_vardict);
	g_test_add_func("/wire/flood", test_flood);
	return g_test_run();
}
