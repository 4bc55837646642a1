#include "vm/console.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"

#define INPUT_MAX  4096
#define LAST_READS 64

typedef struct Reader Reader;
struct Reader {
	Reader *next;
	Console *console;
	int fd;
	bool read_only;
	uint64_t place; /* in the stream: what it has not seen begins here */
	sd_event_source *source;
};

struct Console {
	Vm *vm; /* borrowed: the link that owns the console holds it */
	int fd;
	sd_event_source *source;
	char ring[CONSOLE_RING_SIZE];
	uint64_t total; /* bytes that ever came; the ring has the last of them */
	Reader *readers;
	/* What readers wrote and the guest has not taken. While there is some, readers are not read. */
	char input[INPUT_MAX];
	size_t input_size;
};

ConsoleRequest *console_request_free(ConsoleRequest *request)
{
	if (request) {
		fd_close(&request->fd);
		g_free(request);
	}
	return NULL;
}

void console_reader_gone(Vm *vm)
{
	leaf_lock(&vm->mail.mutex);
	vm->mail.n_console_readers--;
	leaf_unlock(&vm->mail.mutex);
}

static void reader_free(Reader *reader) ON_EVENT_THREAD
{
	for (Reader **p = &reader->console->readers; *p; p = &(*p)->next)
		if (*p == reader) {
			*p = reader->next;
			break;
		}
	sd_event_source_disable_unref(reader->source);
	fd_close(&reader->fd);
	console_reader_gone(reader->console->vm);
	g_free(reader);
}

/* ---- guest to readers ---- */
/* Gives a reader what it has not seen, as far as its socket takes it. False: it is gone. */
static bool feed(Reader *reader)
{
	Console *console = reader->console;
	uint64_t oldest = console->total > CONSOLE_RING_SIZE ? console->total - CONSOLE_RING_SIZE : 0;

	reader->place = MAX(reader->place, oldest);
	while (reader->place < console->total) {
		size_t at = (size_t)(reader->place % CONSOLE_RING_SIZE);
		size_t size = MIN((size_t)(console->total - reader->place), CONSOLE_RING_SIZE - at);
		ssize_t n = send(reader->fd, console->ring + at, size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		reader->place += (uint64_t)n;
	}
	return true;
}

static void watch_reader(Reader *reader)
{
	Console *console = reader->console;
	uint32_t events = 0;

	/* A read-only reader is read, too, and what it writes thrown away: so its end is noticed. */
	if (console->input_size == 0 || reader->read_only)
		events |= EPOLLIN;
	if (reader->place < console->total)
		events |= EPOLLOUT;
	sd_event_source_set_io_events(reader->source, events);
}

static void feed_all(Console *console) ON_EVENT_THREAD
{
	Reader *next;

	for (Reader *reader = console->readers; reader; reader = next) {
		next = reader->next;
		if (feed(reader))
			watch_reader(reader);
		else
			reader_free(reader);
	}
}

static void put(Console *console, const char *data, size_t size)
{
	while (size > 0) {
		size_t at = (size_t)(console->total % CONSOLE_RING_SIZE);
		size_t part = MIN(size, CONSOLE_RING_SIZE - at);

		memcpy(console->ring + at, data, part);
		console->total += part;
		data += part;
		size -= part;
	}
}

/* False: nothing more now. */
static bool read_guest(Console *console)
{
	char buffer[16 * 1024];
	ssize_t n;

	do
		n = read(console->fd, buffer, sizeof buffer);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		put(console, buffer, (size_t)n);
	/* The end: nothing comes any more; what the ring has can still be read. */
	else if (n == 0 || errno != EAGAIN)
		sd_event_source_set_enabled(console->source, SD_EVENT_OFF);
	return n > 0;
}

/* ---- readers to guest ---- */
static void write_guest(Console *console)
{
	ssize_t n;

	while (console->input_size > 0) {
		n = send(console->fd, console->input, console->input_size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		/* A guest that is gone takes nothing: its typing is lost with it. */
		if (n < 0)
			n = (ssize_t)console->input_size;
		console->input_size -= (size_t)n;
		memmove(console->input, console->input + n, console->input_size);
	}
	sd_event_source_set_io_events(console->source, EPOLLIN | (console->input_size > 0 ? EPOLLOUT : 0));
}

static int on_console(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	Console *console = user;
	size_t before = (size_t)console->total;

	assert_event_thread(__func__);
	while (console->total - before < CONSOLE_TURN_MAX && read_guest(console))
		;
	if (revents & EPOLLOUT)
		write_guest(console);
	feed_all(console);
	return 0;
}

/* False: the reader is gone. */
static bool read_reader(Reader *reader)
{
	Console *console = reader->console;
	char scratch[INPUT_MAX];
	ssize_t n = read(
		reader->fd, scratch, reader->read_only ? sizeof scratch : INPUT_MAX - console->input_size);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	if (!reader->read_only) {
		memcpy(console->input + console->input_size, scratch, (size_t)n);
		console->input_size += (size_t)n;
		write_guest(console);
	}
	return true;
}

static int on_reader(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	Reader *reader = user;
	Console *console = reader->console;

	assert_event_thread(__func__);
	if ((revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) && (console->input_size == 0 || reader->read_only) &&
		!read_reader(reader)) {
		reader_free(reader);
		return 0;
	}
	if ((revents & (EPOLLHUP | EPOLLERR)) && !(revents & EPOLLIN)) {
		reader_free(reader);
		return 0;
	}
	feed_all(console);
	return 0;
}

/* ---- birth and end ---- */
int console_new(Vm *vm, int fd_consume, Console **ret_console)
{
	Console *console;
	int r;

	if (fd_consume < 0)
		return fd_consume;
	fd_set_nonblocking(fd_consume, true);
	console = g_new0(Console, 1);
	console->vm = vm;
	console->fd = fd_consume;
	r = sd_event_add_io(vm->engine->loop, &console->source, console->fd, EPOLLIN, on_console, console);
	if (r < 0) {
		console_free(console);
		return r;
	}
	*ret_console = console;
	return 0;
}

void console_finish(Console *console)
{
	if (!console)
		return;
	/* The kernel's buffer bounds it, unless a child of QEMU's holds the other end. */
	for (unsigned i = 0; i < LAST_READS && read_guest(console); i++)
		;
	feed_all(console);
}

Console *console_free(Console *console)
{
	if (console) {
		while (console->readers)
			reader_free(console->readers);
		sd_event_source_disable_unref(console->source);
		fd_close(&console->fd);
		g_free(console);
	}
	return NULL;
}

void console_add_reader(Console *console, int fd_consume, bool read_only)
{
	Reader *reader = g_new0(Reader, 1);
	int r;

	fd_set_nonblocking(fd_consume, true);
	reader->console = console;
	reader->fd = fd_consume;
	reader->read_only = read_only;
	reader->next = console->readers;
	console->readers = reader;
	r = sd_event_add_io(
		console->vm->engine->loop, &reader->source, reader->fd, EPOLLIN, on_reader, reader);
	if (r < 0 || !feed(reader))
		reader_free(reader);
	else
		watch_reader(reader);
}
