#pragma once
/*
 * roostd's side of the launcher, the program of a VM's unit that becomes its QEMU (helper-launch.c): over a
 * socket, whose other end is the launcher's standard input, it hears the launcher's word, makes sure which
 * process that is, and gives it what QEMU inherits and its command line.
 */
#include "qemu/process.h"

/* A user that systemd has made for the unit, who has no number before: anybody but us. */
#define QEMU_LAUNCH_OTHER ((uid_t)-1)

/* Any thread: a pair of ends, close-on-exec. 0 or a negative errno. */
int qemu_launch_pair(int *ret_ours, int *ret_launchers);

/* A worker, no lock held, at our end: waits for the launcher, as the user `uid` (or QEMU_LAUNCH_OTHER), and
 * makes it the QEMU of this command line, with the fds named under their own numbers (over 2), output_fd as
 * its output, and nothing else. `deadline_usec`: monotonic. shutdown(2) at our end makes it return at once.
 * 0: it becomes QEMU in a moment; or a negative errno, and it does not, nor will it: -EPIPE: our end was shut
 * down, or the launcher is gone, or will not come; -ETIMEDOUT; -EPROTO: it is no launcher. */
int qemu_launch(int socket_fd, uid_t uid, char **argv, const int *fds, size_t n_fds, int output_fd,
	uint64_t deadline_usec, QemuProcess **ret_process);
