/*
 * The journal is spoken to in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), one datagram an entry,
 * and not by sd_journal_send(3): that waits for as long as the journal does not read, and whoever logs here
 * has VMs to look after. A journal that is busy gets a moment, which it needs now and then: its queue may be
 * as short as ten entries. One that has let it pass is not waited for again for a while.
 */
#include "util/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/clock.h"

#define JOURNAL_PATH "/run/systemd/journal/socket"
#define TEXT_MAX     8192 /* of one field */
#define WAIT_MSEC    50
#define HUNG_USEC    (1 * USEC_PER_SEC)

static int log_level = LOG_INFO;
static atomic_int journal_fd = -1;
static atomic_uint n_lost;
static atomic_uint_fast64_t hung_until_usec; /* monotonic: it is not waited for */
static struct sockaddr_un journal = {.sun_family = AF_UNIX, .sun_path = JOURNAL_PATH};

static const char *const message_ids[LOG_KIND_MAX] = {
	[LOG_KIND_CALL] = "8300efe6db4e47ebaf8ff66a815e8467",
	[LOG_KIND_STARTED] = "79dca02a1b1b4f98a1bb0d1dc36ebe10",
	[LOG_KIND_ENDED] = "4d8872935d4947f1804a82aff15ae9a1",
	[LOG_KIND_CRASHED] = "46ba83fae4e847438f2f3523fe91c717",
	[LOG_KIND_UNRESPONSIVE] = "74f0ad27a56740c4b1c188e44a710408",
	[LOG_KIND_RESPONSIVE] = "0ffa0a68ade14f9c85ea1c02a7659d98",
	[LOG_KIND_OUTPUT] = "91b48f1b035d4d0787e5fd5dbdd6b00b",
};

void log_set_level(int level)
{
	log_level = level;
}

/* ---- the journal ---- */
static int set_patience(int fd, unsigned msec)
{
	const struct timeval wait = {
		.tv_sec = msec / 1000, .tv_usec = (suseconds_t)(msec % 1000 * USEC_PER_MSEC)};

	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) < 0 ? -errno : 0;
}

/* Kept for the life of the process. Who opens one at the same time as another closes his own. */
static int open_journal(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), none = -1, r;

	if (fd < 0)
		return -errno;
	r = set_patience(fd, WAIT_MSEC);
	if (r < 0 || !atomic_compare_exchange_strong(&journal_fd, &none, fd)) {
		close(fd);
		fd = r < 0 ? r : none;
	}
	return fd;
}

int log_use_journal(const char *path, unsigned wait_msec)
{
	int fd;

	if (strlen(path) >= sizeof journal.sun_path)
		return -ENAMETOOLONG;
	g_strlcpy(journal.sun_path, path, sizeof journal.sun_path);
	fd = atomic_load(&journal_fd);
	if (fd < 0)
		fd = open_journal();
	return fd < 0 ? fd : set_patience(fd, wait_msec == 0 ? WAIT_MSEC : wait_msec);
}

/* JOURNAL_STREAM names the device and inode of the stream that systemd connected (systemd.exec(5)). */
static bool look_for_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == ino;
}

/* -1: to standard error. */
static int find_journal(void)
{
	static atomic_int known; /* 0: not looked yet; who looks at the same time finds the same */
	int fd = atomic_load(&journal_fd), state = atomic_load(&known);

	if (fd >= 0)
		return fd;
	if (state == 0) {
		state = look_for_journal() ? 2 : 1;
		atomic_store(&known, state);
	}
	return state == 2 ? open_journal() : -1;
}

/* A value of more than one line comes with its length. */
static void append_field(GString *entry, const char *name, const char *value)
{
	size_t size = strnlen(value, TEXT_MAX);
	uint64_t le_size = GUINT64_TO_LE(size);

	g_string_append(entry, name);
	if (!memchr(value, '\n', size)) {
		g_string_append_c(entry, '=');
	} else {
		g_string_append_c(entry, '\n');
		g_string_append_len(entry, (const char *)&le_size, sizeof le_size);
	}
	g_string_append_len(entry, value, (gssize)size);
	g_string_append_c(entry, '\n');
}

static bool send_entry(int fd, const GString *entry)
{
	uint64_t now = clock_monotonic_usec();
	bool hung = now < atomic_load(&hung_until_usec);
	struct iovec iov = {.iov_base = entry->str, .iov_len = entry->len};
	struct msghdr message = {
		.msg_name = &journal, .msg_namelen = sizeof journal, .msg_iov = &iov, .msg_iovlen = 1};

	if (sendmsg(fd, &message, MSG_NOSIGNAL | (hung ? MSG_DONTWAIT : 0)) >= 0)
		return true;
	if (errno == EAGAIN && !hung)
		atomic_store(&hung_until_usec, now + HUNG_USEC);
	return false;
}

static GString *entry_new(int level, const char *text)
{
	char priority[2] = {(char)('0' + (level & LOG_PRIMASK)), '\0'};
	GString *entry = g_string_new(NULL);

	append_field(entry, "MESSAGE", text);
	append_field(entry, "PRIORITY", priority);
	append_field(entry, "SYSLOG_IDENTIFIER", "roostd");
	return entry;
}

static void tell_lost(int fd)
{
	unsigned n = atomic_exchange(&n_lost, 0);
	g_autofree char *text = NULL;
	GString *entry;

	if (n == 0)
		return;
	text = g_strdup_printf("%u messages are missing here: the journal did not take them", n);
	entry = entry_new(LOG_WARNING, text);
	if (!send_entry(fd, entry))
		atomic_fetch_add(&n_lost, n);
	g_string_free(entry, TRUE);
}

static void log_text(int level, LogKind kind, const LogField *fields, size_t n_fields, const char *text)
{
	int fd = find_journal();
	GString *entry;

	if (fd < 0) {
		fprintf(stderr, "roostd: %s\n", text);
		return;
	}
	entry = entry_new(level, text);
	if (message_ids[kind])
		append_field(entry, "MESSAGE_ID", message_ids[kind]);
	for (size_t i = 0; i < n_fields; i++)
		if (fields[i].value)
			append_field(entry, fields[i].name, fields[i].value);
	tell_lost(fd);
	if (!send_entry(fd, entry))
		atomic_fetch_add(&n_lost, 1);
	g_string_free(entry, TRUE);
}

/* ---- lines ---- */
void log_fields(int level, LogKind kind, const LogField *fields, size_t n_fields, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	if (level > log_level)
		return;
	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	log_text(level, kind, fields, n_fields, text);
}

void log_line(int level, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	if (level > log_level)
		return;
	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	log_text(level, LOG_KIND_PLAIN, NULL, 0, text);
}

static void log_about_vm(int level, LogKind kind, const char *vm_name, const char *vm_uuid,
	const char *format, va_list args) G_GNUC_PRINTF(5, 0);
static void log_about_vm(
	int level, LogKind kind, const char *vm_name, const char *vm_uuid, const char *format, va_list args)
{
	const LogField fields[] = {{"ROOST_VM_NAME", vm_name}, {"ROOST_VM_UUID", vm_uuid}};
	g_autofree char *words = NULL, *text = NULL;

	if (level > log_level)
		return;
	words = g_strdup_vprintf(format, args);
	text = g_strdup_printf("%s: %s", vm_name, words);
	log_text(level, kind, fields, G_N_ELEMENTS(fields), text);
}

void log_vm(int level, const char *vm_name, const char *vm_uuid, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_about_vm(level, LOG_KIND_PLAIN, vm_name, vm_uuid, format, args);
	va_end(args);
}

void log_vm_kind(int level, LogKind kind, const char *vm_name, const char *vm_uuid, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_about_vm(level, kind, vm_name, vm_uuid, format, args);
	va_end(args);
}
