#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/clock.h"

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

int fd_set_nonblocking(int fd, bool nonblocking)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

/* An address for a path of any length: one that does not fit goes by way of its folder's fd, which
 * *ret_folder keeps open. */
static int unix_address(const char *path, struct sockaddr_un *ret, int *ret_folder)
{
	g_autofree char *folder = NULL, *name = NULL;
	int n;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) < sizeof ret->sun_path) {
		g_strlcpy(ret->sun_path, path, sizeof ret->sun_path);
		return 0;
	}
	folder = g_path_get_dirname(path);
	name = g_path_get_basename(path);
	*ret_folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_folder < 0)
		return -errno;
	n = snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", *ret_folder, name);
	return n < (int)sizeof ret->sun_path ? 0 : -ENAMETOOLONG;
}

int fd_listen_unix(const char *path)
{
	struct sockaddr_un address;
	autofd int fd = -1, folder = -1;
	int r;

	r = unix_address(path, &address, &folder);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	/* The mode of the socket is set before it exists under its name: no moment when others may connect.
	 */
	if (fchmod(fd, 0600) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0)
		return -errno;
	return g_steal_fd(&fd);
}

int fd_connect_unix(const char *path)
{
	struct sockaddr_un address;
	autofd int fd = -1, folder = -1;
	int r;

	r = unix_address(path, &address, &folder);
	if (r < 0)
		return r;
	/* A listener that does not accept, its backlog full, gives EAGAIN instead of keeping us. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	r = fd_set_nonblocking(fd, false);
	if (r < 0)
		return r;
	return g_steal_fd(&fd);
}

int fd_open_fifo(const char *path)
{
	autofd int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISFIFO(st.st_mode) ? g_steal_fd(&fd) : -EINVAL;
}

int fd_make_fifo(const char *path, int *ret_reader, int *ret_writer)
{
	autofd int reader = -1, writer = -1;

	if ((unlink(path) < 0 && errno != ENOENT) || mkfifo(path, 0600) < 0)
		return -errno;
	reader = fd_open_fifo(path);
	if (reader < 0)
		return reader;
	/* For both: so it can be opened, and written to, when nobody reads. */
	writer = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (writer < 0)
		return -errno;
	*ret_reader = g_steal_fd(&reader);
	*ret_writer = g_steal_fd(&writer);
	return 0;
}

int fd_wait(int fd, short events, uint64_t deadline_usec)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		uint64_t now = clock_monotonic_usec();
		uint64_t left_msec = now < deadline_usec ? (deadline_usec - now) / USEC_PER_MSEC + 1 : 0;
		int n = poll(&p, 1, (int)MIN(left_msec, G_MAXINT));

		if (n > 0)
			return 0;
		if (n == 0 && left_msec == 0)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

int fd_write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_read_file_at(int dir_fd, const char *name, size_t max, char **ret_data, size_t *ret_size)
{
	/* Not blocking on a FIFO that somebody put there, and not following a link out of the folder. */
	autofd int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	g_autofree char *data = NULL;
	size_t size = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return -EFBIG;
	data = g_malloc(max + 1 < (size_t)st.st_size + 1 ? max + 1 : (size_t)st.st_size + 1);
	while (size < (size_t)st.st_size) {
		ssize_t n = read(fd, data + size, (size_t)st.st_size - size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		size += (size_t)n;
	}
	data[size] = '\0';
	*ret_data = g_steal_pointer(&data);
	*ret_size = size;
	return 0;
}

int bell_new(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

void bell_ring(int bell)
{
	uint64_t one = 1;
	ssize_t n;

	/* EAGAIN: the counter is full, so it rings already. */
	do
		n = write(bell, &one, sizeof one);
	while (n < 0 && errno == EINTR);
}

void bell_clear(int bell)
{
	uint64_t value;
	ssize_t n;

	do
		n = read(bell, &value, sizeof value);
	while (n < 0 && errno == EINTR);
}
