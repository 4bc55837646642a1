#pragma once
/*
 * A child process that answers a question: started, listened to, and gone, by itself or killed at the
 * deadline, before the answer is given. Its output is kept up to a limit, and the rest thrown away, so that
 * it never blocks on us.
 */
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A child's whole story. */
typedef struct QemuRun {
	char *output; /* valid UTF-8 */
	int code, signal;
	bool timed_out;
	bool is_gone; /* false: it did not even end when killed */
} QemuRun;

static inline void qemu_run_clear(QemuRun *run)
{
	g_free(run->output);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(QemuRun, qemu_run_clear)

/* Any thread, no lock held; blocks up to the timeout and a second: 0 when the child ran, whatever came of it;
 * or a negative errno: it could not be started. The fds named are inherited. */
int qemu_run(char **argv, const int *fds, size_t n_fds, uint64_t timeout_usec, QemuRun *ret_run);

/* How it ended when it should have ended otherwise, with its last words. The caller frees. */
char *qemu_run_describe(const QemuRun *run, uint64_t timeout_usec);
