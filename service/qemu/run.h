#pragma once
/*
 * A child process that answers a question: started, listened to, and gone, by itself or killed at the
 * deadline, before the answer is given. Its output is kept up to a limit, and the rest thrown away, so that
 * it never blocks on us. One that is asked in writing has its answer kept apart from what it says on standard
 * error; when the answer is over its limit, it is no answer, and the child is killed.
 */
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A child's whole story. */
typedef struct QemuRun {
	char *output; /* valid UTF-8; of one that is asked in writing, standard error alone */
	char *answer; /* its standard output as it came, if it was asked in writing: NUL-terminated */
	size_t answer_size;
	int code, signal;
	bool timed_out, answer_too_long, cancelled; /* killed, then */
	uint64_t cpu_usec;                          /* that it had used when it was killed */
	bool is_gone;                               /* false: it did not even end when killed */
} QemuRun;

static inline void qemu_run_clear(QemuRun *run)
{
	g_free(run->output);
	g_free(run->answer);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(QemuRun, qemu_run_clear)

/* Any thread, no lock held; blocks up to the timeout and a second: 0 when the child ran, whatever came of it;
 * or a negative errno: it could not be started. The fds named are inherited. */
int qemu_run(char **argv, const int *fds, size_t n_fds, uint64_t timeout_usec, QemuRun *ret_run);

/* How a child is run. */
typedef struct QemuRunOptions {
	const int *fds; /* inherited */
	size_t n_fds;
	const char *input; /* what it finds on standard input, which is not closed before it ends; at most
			      PIPE_BUF bytes. NULL: nothing, and it is not asked in writing */
	size_t answer_max; /* bytes */
	/* Of one that is asked in writing: when its answer up to now is all that is wanted, it is told this
	 * (at most PIPE_BUF bytes), by which it should end. A child that is told earlier may end before it
	 * has said all: it does not wait for a pipe that is full. NULL: it ends by itself. */
	bool (*is_complete)(const char *answer, size_t size);
	const char *goodbye;
	uint64_t timeout_usec;
	int cancel_fd; /* readable: the child is killed at once. -1: none */
} QemuRunOptions;

/* The same. -ECANCELED: the cancel_fd was readable before the child was started. */
int qemu_run_with(char **argv, const QemuRunOptions *options, QemuRun *ret_run);

/* How it ended when it should have ended otherwise, with its last words. The caller frees. */
char *qemu_run_describe(const QemuRun *run, uint64_t timeout_usec);
