#include "qemu/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "qemu/process.h"
#include "util/clock.h"
#include "util/fd.h"

#define OUTPUT_MAX     4096
#define OUTPUT_LEFT    (64 * 1024) /* what a pipe holds */
#define KILL_USEC      (1 * USEC_PER_SEC)
#define LINE_MAX_BYTES 256

/* Returns the number of bytes read, 0 when there is nothing now or no more to come; *fd is closed in the
 * latter case. */
static size_t output_read(int *fd, GString *output)
{
	char buffer[OUTPUT_MAX];
	ssize_t n;

	if (*fd < 0)
		return 0;
	n = read(*fd, buffer, sizeof buffer);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		fd_close(fd);
	if (n <= 0)
		return 0;
	g_string_append_len(output, buffer, (gssize)MIN((size_t)n, OUTPUT_MAX - output->len));
	return (size_t)n;
}

/* True when it has ended, false at the deadline. */
static bool wait_for_end(const QemuProcess *process, int *output_fd, GString *output, uint64_t deadline_usec)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = process->pidfd, .events = POLLIN},
			{.fd = *output_fd, .events = POLLIN},
		};
		uint64_t now_usec = clock_monotonic_usec();
		uint64_t left_msec =
			now_usec < deadline_usec ? (deadline_usec - now_usec) / USEC_PER_MSEC + 1 : 0;

		if (poll(fds, G_N_ELEMENTS(fds), (int)MIN(left_msec, G_MAXINT)) < 0 && errno != EINTR)
			return false;
		if (fds[0].revents)
			return true;
		if (fds[1].revents)
			output_read(output_fd, output);
		if (left_msec == 0)
			return false;
	}
}

static void run_to_end(const QemuProcess *process, int *output_fd, uint64_t timeout_usec, QemuRun *run)
{
	GString *output = g_string_new(NULL);
	size_t left = OUTPUT_LEFT;

	run->is_gone = wait_for_end(process, output_fd, output, clock_monotonic_usec() + timeout_usec);
	if (!run->is_gone) {
		run->timed_out = true;
		qemu_process_signal(process, SIGKILL);
		run->is_gone = wait_for_end(process, output_fd, output, clock_monotonic_usec() + KILL_USEC);
	}
	if (run->is_gone)
		qemu_process_reap(process, &run->code, &run->signal);
	/* Not to the end of the pipe, which a child of the child may hold open for good. */
	while (left > 0) {
		size_t n = output_read(output_fd, output);

		if (n == 0)
			break;
		left -= MIN(n, left);
	}
	run->output = g_utf8_make_valid(output->str, (gssize)output->len);
	g_string_free(output, TRUE);
}

int qemu_run(char **argv, const int *fds, size_t n_fds, uint64_t timeout_usec, QemuRun *ret_run)
{
	g_autoptr(QemuProcess) process = NULL;
	autofd int output_read_end = -1, output_write_end = -1;
	int ends[2];
	int r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	output_read_end = ends[0];
	output_write_end = ends[1];
	r = fd_set_nonblocking(output_read_end, true);
	if (r < 0)
		return r;
	r = qemu_process_spawn(argv, fds, n_fds, output_write_end, &process);
	if (r < 0)
		return r;
	fd_close(&output_write_end);
	/* QEMU aborts on some hosts: an answer, and nothing that anybody wants a core dump of. */
	prlimit(process->pid, RLIMIT_CORE, &(struct rlimit){0, 0}, NULL);
	run_to_end(process, &output_read_end, timeout_usec, ret_run);
	return 0;
}

/* The last line that is not empty, for messages. */
static char *last_line(const char *output)
{
	g_autofree char *text = g_strchomp(g_strdup(output));
	const char *line = strrchr(text, '\n');
	const char *end;

	line = line ? line + 1 : text;
	if (strlen(line) <= LINE_MAX_BYTES)
		return g_strdup(line);
	end = g_utf8_find_prev_char(line, line + LINE_MAX_BYTES + 1);
	return g_strdup_printf("%.*s...", (int)(end - line), line);
}

char *qemu_run_describe(const QemuRun *run, uint64_t timeout_usec)
{
	g_autofree char *words = last_line(run->output);
	const char *separator = *words ? ": " : "";

	if (run->timed_out)
		return g_strdup_printf("was still running after %.1f s%s%s%s",
			(double)timeout_usec / USEC_PER_SEC,
			run->is_gone ? "" : ", and not gone after SIGKILL", separator, words);
	if (run->signal != 0)
		return g_strdup_printf("ended by signal %d%s%s", run->signal, separator, words);
	return g_strdup_printf("exited with code %d%s%s", run->code, separator, words);
}
