/* The journal's entries, read by a journal of the test's own. */
#include "util/log.h"

#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/thread.h"

#define BUFFER 65536

static char *folder, *path;
static int journal = -1;

static void make_journal(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	folder = g_dir_make_tmp("roost-log-XXXXXX", NULL);
	g_assert_nonnull(folder);
	path = g_build_filename(folder, "socket", NULL);
	g_strlcpy(address.sun_path, path, sizeof address.sun_path);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	g_assert_cmpint(bind(journal, (struct sockaddr *)&address, sizeof address), ==, 0);
}

/* The oldest entry; NULL: there is none. */
static GBytes *take(void)
{
	static char buffer[BUFFER];
	ssize_t n = recv(journal, buffer, sizeof buffer, 0);

	return n < 0 ? NULL : g_bytes_new(buffer, (gsize)n);
}

/* A field of an entry, by the journal's own rules; NULL: it has none of this name. */
static char *field(GBytes *entry, const char *name)
{
	gsize size;
	const char *p = g_bytes_get_data(entry, &size), *end = p + size;

	while (p < end) {
		const char *line = memchr(p, '\n', (gsize)(end - p)), *equals;
		gsize name_size, value_size;

		g_assert_nonnull(line);
		equals = memchr(p, '=', (gsize)(line - p));
		name_size = (gsize)((equals ? equals : line) - p);
		if (equals) {
			value_size = (gsize)(line - equals - 1);
		} else {
			guint64 le_size;

			memcpy(&le_size, line + 1, sizeof le_size);
			value_size = GUINT64_FROM_LE(le_size);
			equals = line + sizeof le_size;
			g_assert_cmpuint(value_size, <, (gsize)(end - equals - 1));
		}
		g_assert_cmpint(equals[1 + value_size], ==, '\n');
		if (name_size == strlen(name) && memcmp(p, name, name_size) == 0)
			return g_strndup(equals + 1, value_size);
		p = equals + 1 + value_size + 1;
	}
	return NULL;
}

static void assert_field(GBytes *entry, const char *name, const char *value)
{
	g_autofree char *found = field(entry, name);

	g_assert_cmpstr(found, ==, value);
}

static void test_entries(void)
{
	const LogField fields[] = {
		{"ROOST_MEMBER", "Start"}, {"ROOST_RESULT", NULL}, {"ROOST_SENDER_UID", "7"}};
	g_autoptr(GBytes) plain = NULL, about = NULL, call = NULL, lines = NULL;

	log_warning("it is %d", 1);
	plain = take();
	assert_field(plain, "MESSAGE", "it is 1");
	assert_field(plain, "PRIORITY", "4");
	assert_field(plain, "SYSLOG_IDENTIFIER", "roostd");
	assert_field(plain, "MESSAGE_ID", NULL);
	assert_field(plain, "ROOST_VM_NAME", NULL);

	log_vm_kind(LOG_INFO, LOG_KIND_STARTED, "web", "a-uuid", "runs");
	about = take();
	assert_field(about, "MESSAGE", "web: runs");
	assert_field(about, "PRIORITY", "6");
	assert_field(about, "ROOST_VM_NAME", "web");
	assert_field(about, "ROOST_VM_UUID", "a-uuid");
	assert_field(about, "MESSAGE_ID", "79dca02a1b1b4f98a1bb0d1dc36ebe10");

	log_fields(LOG_INFO, LOG_KIND_CALL, fields, G_N_ELEMENTS(fields), "called");
	call = take();
	assert_field(call, "ROOST_MEMBER", "Start");
	assert_field(call, "ROOST_RESULT", NULL);
	assert_field(call, "ROOST_SENDER_UID", "7");

	/* What looks like a field in a text is none. */
	log_info("one\nPRIORITY=0\nthree");
	lines = take();
	assert_field(lines, "MESSAGE", "one\nPRIORITY=0\nthree");
	assert_field(lines, "PRIORITY", "6");
}

static void test_level(void)
{
	log_debug("not told");
	g_assert_null(take());
	log_vm(LOG_DEBUG, "web", "a-uuid", "not told");
	g_assert_null(take());
}

static void test_long(void)
{
	g_autofree char *text = g_strnfill(100000, 'x'), *found = NULL;
	g_autoptr(GBytes) entry = NULL;

	log_info("%s", text);
	entry = take();
	found = field(entry, "MESSAGE");
	g_assert_cmpuint(strlen(found), ==, 8192);
	assert_field(entry, "PRIORITY", "6");
}

static void read_entries(void *n_wanted)
{
	guint n = 0;

	while (n < GPOINTER_TO_UINT(n_wanted)) {
		GBytes *entry = take();

		if (entry) {
			n++;
			g_bytes_unref(entry);
		} else {
			g_assert_cmpint(
				poll(&(struct pollfd){.fd = journal, .events = POLLIN}, 1, 60000), ==, 1);
		}
	}
}

/* Its queue is short: one that reads gets all, however many come at once. */
static void test_burst(void)
{
	const guint n = 2000;
	pthread_t reader;

	/* On a busy machine, too. */
	g_assert_cmpint(log_use_journal(path, 60000), ==, 0);
	g_assert_cmpint(
		thread_start_joinable(&reader, "journal", &role_worker, read_entries, GUINT_TO_POINTER(n)),
		==, 0);

	for (guint i = 0; i < n; i++)
		log_info("a line");
	thread_join(reader);
	g_assert_null(take());
	g_assert_cmpint(log_use_journal(path, 0), ==, 0);
}

/* One that does not read is not waited for, and hears how much it has missed. */
static void test_hung_journal(void)
{
	const guint n = 5000;
	guint n_taken = 0, n_missing = 0;
	g_autoptr(GBytes) told = NULL;
	g_autofree char *text = NULL;
	GBytes *entry;

	for (guint i = 0; i < n; i++)
		log_info("a line");
	while ((entry = take())) {
		n_taken++;
		g_bytes_unref(entry);
	}
	g_assert_cmpuint(n_taken, >, 0);
	g_assert_cmpuint(n_taken, <, n);
	log_info("it reads again");
	told = take();
	text = field(told, "MESSAGE");
	g_assert_cmpint(sscanf(text, "%u messages are missing here", &n_missing), ==, 1);
	g_assert_cmpuint(n_missing, ==, n - n_taken);
	assert_field(told, "PRIORITY", "4");
	entry = take();
	assert_field(entry, "MESSAGE", "it reads again");
	g_bytes_unref(entry);
}

int main(int argc, char **argv)
{
	int code;

	g_test_init(&argc, &argv, NULL);
	make_journal();
	g_assert_cmpint(log_use_journal(path, 0), ==, 0);
	g_test_add_func("/log/entries", test_entries);
	g_test_add_func("/log/level", test_level);
	g_test_add_func("/log/long", test_long);
	g_test_add_func("/log/burst", test_burst);
	g_test_add_func("/log/hung-journal", test_hung_journal);
	code = g_test_run();
	close(journal);
	g_unlink(path);
	g_rmdir(folder);
	g_free(path);
	g_free(folder);
	return code;
}
