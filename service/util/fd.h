#pragma once
/*
 * File descriptors with an owner. `autofd int fd = -1;` closes at the end of its scope; give away with
 * g_steal_fd(&fd). Everything made here is close-on-exec.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define autofd __attribute__((cleanup(fd_cleanup)))

/* Any thread: closes *fd if it is open and sets it to -1. Keeps errno. */
void fd_close(int *fd);
static inline void fd_cleanup(int *fd)
{
	fd_close(fd);
}

/* Any thread: 0, or a negative errno (fcntl(2)). */
int fd_set_nonblocking(int fd, bool nonblocking);

/* Any thread: a listening stream socket (close-on-exec) at `path`, mode 0600, an old socket there removed.
 * Returns the
 * fd or a negative errno. The path may be longer than an address holds (unix(7)). Blocks on the file
 * system. */
int fd_listen_unix(const char *path);

/* Any thread, never blocks: a connected stream socket (close-on-exec, blocking). The fd or a negative errno;
 * -EAGAIN: the listener's backlog is full. */
int fd_connect_unix(const char *path);

/* Any thread: a new FIFO at `path`, mode 0600, instead of what is there, and its two ends (close-on-exec,
 * never blocking). The writer has no need of a reader: what it writes stays (64 KiB) for one that comes
 * later. 0 or a negative errno. Blocks on the file system. */
int fd_make_fifo(const char *path, int *ret_reader, int *ret_writer);
/* Any thread: the reading end of one that is there; -EINVAL: it is none. */
int fd_open_fifo(const char *path);

/* A thread that may wait: until there is one of these poll(2) events, or the end of the other side. 0;
 * -ETIMEDOUT: not before the deadline (monotonic); or another negative errno. */
int fd_wait(int fd, short events, uint64_t deadline_usec);

/* Any thread: writes all of it to a blocking fd. 0 or a negative errno. */
int fd_write_all(int fd, const void *data, size_t size);

/* Any thread: reads a file of at most `max` bytes. 0, a negative errno, or -EFBIG. *ret_data is
 * NUL-terminated. */
int fd_read_file_at(int dir_fd, const char *name, size_t max, char **ret_data, size_t *ret_size);

/* ---- a bell: an eventfd that one thread rings and another sleeps on ---- */
/* The fd (non-blocking) or a negative errno. */
int bell_new(void);
void bell_ring(int bell);
void bell_clear(int bell);
