#pragma once
/*
 * QEMU's process: started with posix_spawn(3) only (a fork from a big process is slow), known by a pidfd. The
 * handle is counted: the event thread watches it, Kill signals it from the bus thread, Start owns it on a
 * worker.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/ref.h"

typedef struct QemuProcess {
	Ref ref;
	pid_t pid;           /* immutable */
	int pidfd;           /* immutable; closed with the last reference */
	uint64_t start_time; /* immutable: /proc/PID/stat's field 22 */
	bool is_child;       /* immutable: we reap it */
} QemuProcess;

QemuProcess *qemu_process_ref(QemuProcess *process);
QemuProcess *qemu_process_unref(QemuProcess *process);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QemuProcess, qemu_process_unref)

/* Any thread, no lock held: starts argv with standard input from /dev/null, standard output and error to
 * output_fd, and the fds named, under their own numbers (over 2); everything else is close-on-exec. The
 * environment is ours without what systemd and the bus gave to us alone. A session of its own (a terminal's
 * signals don't reach it), default signal handling, no signal blocked. 0, or a negative errno
 * (posix_spawn(3): -ENOENT: no such binary). */
int qemu_process_spawn(char **argv, const int *fds, size_t n_fds, int output_fd, QemuProcess **ret_process);

/* The same with these three, each over 2; input -1: /dev/null. */
typedef struct QemuStdio {
	int input_fd, output_fd, error_fd;
} QemuStdio;
int qemu_process_spawn_stdio(
	char **argv, const int *fds, size_t n_fds, const QemuStdio *stdio, QemuProcess **ret_process);

/* Any thread: the time on CPUs that it has had so far, 0 when it is gone. */
uint64_t qemu_process_cpu_usec(const QemuProcess *process);

/* Any thread: a process that an earlier roostd started. -ESRCH: it is gone, or the pid is another process's
 * by now. */
int qemu_process_open(pid_t pid, uint64_t start_time, QemuProcess **ret_process);

/* Any thread: sends a signal by pidfd. 0 or a negative errno; -ESRCH: it has exited. */
int qemu_process_signal(const QemuProcess *process, int signal);

/* Any thread, when pidfd is readable: how it ended, a code (signal 0) or a signal (code 0). Reaps a child, so
 * it answers once. False when it is no child: nothing is known. */
bool qemu_process_reap(const QemuProcess *process, int *ret_code, int *ret_signal);

/* Any thread: field 22 of /proc/PID/stat. 0 or a negative errno. */
int process_start_time(pid_t pid, uint64_t *ret_start_time);

/* Before threads start, or a worker: looks through /proc for a process with `-uuid UUID` on its command line:
 * a QEMU that was spawned and not recorded. One of a user's who only has these words there is none: it is
 * root's, our own, `qemu_uid`'s, or that of a user whom systemd made for a unit. 0; -ESRCH: there is none; or
 * a negative errno. */
int qemu_process_find(const char *uuid, uid_t qemu_uid, pid_t *ret_pid, uint64_t *ret_start_time);
