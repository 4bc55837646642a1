/*
 * What QEMU writes to its standard output and error: its end is kept for error messages, and its lines go to
 * the log. A guest can make QEMU say something again and again: so many lines in a while and no more.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/text.h"
#include "vm/link-private.h"

#define LAST_READS   64 /* of 4 KiB, of the output of a process that has ended */
#define LINES_MAX    50
#define LINES_PERIOD (10 * USEC_PER_SEC)

/* ---- the end of it ---- */
static void keep_tail(VmLink *link, const char *text, size_t size)
{
	if (size >= LINK_TAIL_MAX) {
		text += size - LINK_TAIL_MAX;
		size = LINK_TAIL_MAX;
	}
	if (link->tail_size + size > LINK_TAIL_MAX) {
		size_t excess = link->tail_size + size - LINK_TAIL_MAX;

		memmove(link->tail, link->tail + excess, link->tail_size - excess);
		link->tail_size -= excess;
		link->tail_cut = true;
	}
	memcpy(link->tail + link->tail_size, text, size);
	link->tail_size += size;
}

char *link_last_words(const VmLink *link)
{
	g_autofree char *text = g_strndup(link->tail, link->tail_size);
	g_autofree char *valid = text_printable(text, true);

	g_strstrip(valid);
	return link->tail_cut ? g_strconcat("... ", valid, NULL) : g_steal_pointer(&valid);
}

/* ---- lines ---- */
static void log_output(const VmLink *link, const char *text)
{
	/* The unit's own name: so its status shows them, too. */
	const LogField fields[] = {{"ROOST_VM_NAME", link->name}, {"ROOST_VM_UUID", link->vm->uuid},
		{"OBJECT_SYSTEMD_UNIT", link->unit}};

	log_fields(LOG_INFO, LOG_KIND_OUTPUT, fields, G_N_ELEMENTS(fields), "%s: QEMU: %s", link->name, text);
}

static void tell_kept(VmLink *link)
{
	g_autofree char *text = NULL;

	if (link->n_lines_kept == 0)
		return;
	text = g_strdup_printf("(%u more lines are left out)", link->n_lines_kept);
	link->n_lines_kept = 0;
	log_output(link, text);
}

static void end_line(VmLink *link)
{
	uint64_t now = clock_monotonic_usec();
	g_autofree char *text = g_strndup(link->line, link->line_size), *printable = NULL;

	link->line_size = 0;
	if (now - link->lines_since_usec >= LINES_PERIOD) {
		tell_kept(link);
		link->lines_since_usec = now;
		link->n_lines = 0;
	}
	if (link->n_lines >= LINES_MAX) {
		link->n_lines_kept++;
		return;
	}
	link->n_lines++;
	printable = text_printable(text, false);
	if (printable[0] != '\0')
		log_output(link, printable);
}

/* What is too long goes on in the next line. */
static void keep_lines(VmLink *link, const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (text[i] != '\n')
			link->line[link->line_size++] = text[i];
		if (text[i] == '\n' || link->line_size == LINK_LINE_MAX)
			end_line(link);
	}
}

/* ---- reading ---- */
/* One read; false: the end, or nothing now. */
static bool read_output(VmLink *link)
{
	char buffer[4096];
	ssize_t n = read(link->output_fd, buffer, sizeof buffer);

	if (n <= 0)
		return false;
	keep_tail(link, buffer, (size_t)n);
	keep_lines(link, buffer, (size_t)n);
	return true;
}

static int on_output(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	VmLink *link = user;

	assert_event_thread(__func__);
	if (!read_output(link) && (revents & EPOLLHUP))
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

int link_watch_output(VmLink *link)
{
	if (link->output_fd < 0)
		return 0;
	fd_set_nonblocking(link->output_fd, true);
	return sd_event_add_io(
		link->vm->engine->loop, &link->output_source, link->output_fd, EPOLLIN, on_output, link);
}

void link_finish_output(VmLink *link)
{
	/* Not for ever: a child of QEMU's may hold the other end, and write. */
	for (unsigned i = 0; i < LAST_READS && link->output_fd >= 0 && read_output(link); i++)
		;
	if (link->line_size > 0)
		end_line(link);
	tell_kept(link);
}
