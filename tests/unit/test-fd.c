/* util/fd.h, util/clock.h and util/ref.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/ref.h"
#include "util/thread.h"

static char *folder;
static int folder_fd;

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static bool is_close_on_exec(int fd)
{
	return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static bool is_blocking(int fd)
{
	return (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
}

static bool is_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void test_close(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), number = fd;

	errno = ENOTTY;
	fd_close(&fd);
	g_assert_cmpint(fd, ==, -1);
	g_assert_cmpint(errno, ==, ENOTTY);
	g_assert_false(is_open(number));
	errno = ENOTTY;
	fd_close(&fd);
	g_assert_cmpint(errno, ==, ENOTTY);
	{
		autofd int owned = open("/dev/null", O_RDONLY | O_CLOEXEC);

		number = owned;
		g_assert_true(is_open(number));
	}
	g_assert_false(is_open(number));
	{
		autofd int given = open("/dev/null", O_RDONLY | O_CLOEXEC);

		fd = g_steal_fd(&given);
	}
	g_assert_true(is_open(fd));
	fd_close(&fd);
}

static void test_nonblocking(void)
{
	autofd int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	g_assert_cmpint(fd_set_nonblocking(fd, true), ==, 0);
	g_assert_false(is_blocking(fd));
	g_assert_cmpint(fd_set_nonblocking(fd, true), ==, 0);
	g_assert_cmpint(fd_set_nonblocking(fd, false), ==, 0);
	g_assert_true(is_blocking(fd));
	g_assert_cmpint(fd_set_nonblocking(-1, true), ==, -EBADF);
}

static void test_unix(void)
{
	g_autofree char *path = g_build_filename(folder, "socket", NULL);
	autofd int listener = fd_listen_unix(path), again = -1, client = -1, server = -1;
	struct stat st;
	char byte;

	g_assert_cmpint(listener, >=, 0);
	g_assert_true(is_close_on_exec(listener));
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_true(S_ISSOCK(st.st_mode));
	g_assert_cmpuint(st.st_mode & 0777, ==, 0600);

	client = fd_connect_unix(path);
	g_assert_cmpint(client, >=, 0);
	g_assert_true(is_close_on_exec(client));
	g_assert_true(is_blocking(client));
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	g_assert_cmpint(fd_write_all(client, "x", 1), ==, 0);
	g_assert_cmpint(read(server, &byte, 1), ==, 1);

	/* An old socket is in nobody's way. */
	again = fd_listen_unix(path);
	g_assert_cmpint(again, >=, 0);
}

static void test_unix_fails(void)
{
	g_autofree char *path = g_build_filename(folder, "nobody", NULL);
	g_autofree char *dead = g_build_filename(folder, "dead", NULL);
	g_autofree char *deep = g_build_filename(folder, "no", "such", NULL);
	g_autofree char *longest = g_strnfill(sizeof((struct sockaddr_un *)0)->sun_path - 1, 'x');
	g_autofree char *longer = g_strnfill(sizeof((struct sockaddr_un *)0)->sun_path, 'x');
	int listener = fd_listen_unix(dead);

	fd_close(&listener);
	g_assert_cmpint(fd_connect_unix(path), ==, -ENOENT);
	g_assert_cmpint(fd_connect_unix(dead), ==, -ECONNREFUSED);
	g_assert_cmpint(fd_listen_unix(deep), ==, -ENOENT);
	g_assert_cmpint(fd_listen_unix(longer), ==, -ENAMETOOLONG);
	g_assert_cmpint(fd_connect_unix(longer), ==, -ENAMETOOLONG);
	g_assert_cmpint(fd_connect_unix(longest), ==, -ENOENT);
	/* A folder there is not removed. */
	g_assert_cmpint(fd_listen_unix(folder), ==, -EISDIR);
}

static void test_backlog(void)
{
	g_autofree char *path = g_build_filename(folder, "full", NULL);
	autofd int listener = fd_listen_unix(path);
	int fds[16];
	unsigned n = 0;

	g_assert_cmpint(listener, >=, 0);
	/* Nobody accepts: it does not wait for that. */
	for (;;) {
		int fd = fd_connect_unix(path);

		if (fd < 0) {
			g_assert_cmpint(fd, ==, -EAGAIN);
			break;
		}
		g_assert_cmpuint(n, <, G_N_ELEMENTS(fds));
		fds[n++] = fd;
	}
	g_assert_cmpuint(n, >, 0);
	while (n > 0)
		fd_close(&fds[--n]);
}

typedef struct Reading {
	int fd;
	size_t size;
} Reading;

static void read_all(void *data)
{
	Reading *reading = data;
	char buffer[4096];
	ssize_t n;

	while ((n = read(reading->fd, buffer, sizeof buffer)) > 0)
		reading->size += (size_t)n;
}

static void test_fifo(void)
{
	g_autofree char *path = g_build_filename(folder, "words", NULL);
	autofd int reader = -1, writer = -1, again = -1;
	char buffer[16];
	size_t n_written = 0;
	ssize_t n;

	/* Something is there: it goes. */
	g_assert_true(g_file_set_contents(path, "x", 1, NULL));
	g_assert_cmpint(fd_open_fifo(path), ==, -EINVAL);
	g_assert_cmpint(fd_make_fifo(path, &reader, &writer), ==, 0);
	g_assert_cmpint(read(reader, buffer, sizeof buffer), <, 0);
	g_assert_cmpint(errno, ==, EAGAIN);
	g_assert_cmpint(write(writer, "one", 3), ==, 3);
	/* Nobody reads: what is written waits for somebody, and the writer for nobody. */
	fd_close(&reader);
	g_assert_cmpint(write(writer, "two", 3), ==, 3);
	again = fd_open_fifo(path);
	g_assert_cmpint(read(again, buffer, sizeof buffer), ==, 6);
	g_assert_cmpint(memcmp(buffer, "onetwo", 6), ==, 0);
	while ((n = write(writer, buffer, sizeof buffer)) > 0)
		n_written += (size_t)n;
	g_assert_cmpint(errno, ==, EAGAIN);
	g_assert_cmpuint(n_written, >=, 4096);
	g_assert_cmpint(fd_make_fifo("/nowhere/words", &reader, &writer), ==, -ENOENT);
	g_assert_cmpint(fd_open_fifo("/nowhere/words"), ==, -ENOENT);
}

static void test_wait(void)
{
	uint64_t never = UINT64_MAX, past = clock_monotonic_usec();
	int ends[2];

	g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
	g_assert_cmpint(fd_wait(ends[0], POLLIN, past), ==, -ETIMEDOUT);
	g_assert_cmpint(fd_wait(ends[0], POLLIN, past + 2000), ==, -ETIMEDOUT);
	g_assert_cmpint(fd_wait(ends[1], POLLOUT, never), ==, 0);
	g_assert_cmpint(write(ends[1], "x", 1), ==, 1);
	g_assert_cmpint(fd_wait(ends[0], POLLIN, past), ==, 0);
	g_assert_cmpint(fd_wait(ends[0], POLLIN, never), ==, 0);
	g_assert_cmpint(read(ends[0], &(char){0}, 1), ==, 1);
	/* The other side's end. */
	fd_close(&ends[1]);
	g_assert_cmpint(fd_wait(ends[0], POLLIN, never), ==, 0);
	fd_close(&ends[0]);
}

static void test_write_all(void)
{
	size_t size = 1024 * 1024;
	g_autofree char *data = g_malloc0(size);
	Reading reading = {0};
	pthread_t thread;
	int fds[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	reading.fd = fds[1];
	/* More than the socket holds. */
	g_assert_cmpint(thread_start_joinable(&thread, "reader", &role_worker, read_all, &reading), ==, 0);
	g_assert_cmpint(fd_write_all(fds[0], data, size), ==, 0);
	fd_close(&fds[0]);
	thread_join(thread);
	g_assert_cmpuint(reading.size, ==, size);
	fd_close(&fds[1]);
	g_assert_cmpint(fd_write_all(-1, "x", 1), ==, -EBADF);
	g_assert_cmpint(fd_write_all(-1, NULL, 0), ==, 0);
}

static int read_file(const char *name, size_t max, char **ret_data, size_t *ret_size)
{
	*ret_data = NULL;
	return fd_read_file_at(folder_fd, name, max, ret_data, ret_size);
}

static void test_read_file(void)
{
	g_autofree char *path = g_build_filename(folder, "file", NULL);
	g_autofree char *empty = g_build_filename(folder, "empty", NULL);
	g_autofree char *data = NULL, *nothing = NULL;
	size_t size = 99;

	g_assert_true(g_file_set_contents(path, "hello\0you", 9, NULL));
	g_assert_true(g_file_set_contents(empty, "", 0, NULL));
	g_assert_cmpint(read_file("file", 9, &data, &size), ==, 0);
	g_assert_cmpmem(data, size, "hello\0you", 9);
	g_assert_cmpint(data[9], ==, '\0');
	g_assert_cmpint(read_file("empty", 0, &nothing, &size), ==, 0);
	g_assert_cmpuint(size, ==, 0);
	g_assert_cmpstr(nothing, ==, "");
}

static void test_read_file_fails(void)
{
	char *data = NULL;
	size_t size = 99;

	g_assert_cmpint(mkfifoat(folder_fd, "fifo", 0600), ==, 0);
	g_assert_cmpint(symlinkat("file", folder_fd, "link"), ==, 0);
	g_assert_cmpint(mkdirat(folder_fd, "folder", 0700), ==, 0);
	g_assert_cmpint(read_file("none", 9, &data, &size), ==, -ENOENT);
	g_assert_cmpint(read_file("file", 8, &data, &size), ==, -EFBIG);
	g_assert_cmpint(read_file("fifo", 9, &data, &size), ==, -EINVAL);
	g_assert_cmpint(read_file("link", 9, &data, &size), ==, -ELOOP);
	g_assert_cmpint(read_file("folder", 9, &data, &size), ==, -EISDIR);
	/* Results are written on success only. */
	g_assert_null(data);
	g_assert_cmpuint(size, ==, 99);
}

static void test_bell(void)
{
	autofd int bell = bell_new();

	g_assert_cmpint(bell, >=, 0);
	g_assert_true(is_close_on_exec(bell));
	g_assert_false(is_readable(bell));
	/* A bell that nobody rang does not keep who clears it. */
	bell_clear(bell);
	bell_ring(bell);
	bell_ring(bell);
	g_assert_true(is_readable(bell));
	bell_clear(bell);
	g_assert_false(is_readable(bell));
	bell_ring(bell);
	g_assert_true(is_readable(bell));
}

static void test_clock(void)
{
	uint64_t monotonic_usec = clock_monotonic_usec(), realtime_usec = clock_realtime_usec();

	g_assert_cmpuint(clock_monotonic_usec(), >=, monotonic_usec);
	g_assert_cmpuint(realtime_usec, >, 1600000000 * USEC_PER_SEC);
	clock_set_fake(17, 18);
	g_assert_cmpuint(clock_monotonic_usec(), ==, 17);
	g_assert_cmpuint(clock_realtime_usec(), ==, 18);
	clock_set_fake(0, 18);
	g_assert_cmpuint(clock_monotonic_usec(), >=, monotonic_usec);
	g_assert_cmpuint(clock_realtime_usec(), ==, 18);
	clock_set_fake(0, 0);
	g_assert_cmpuint(clock_realtime_usec(), >=, realtime_usec);
}

#define REF_ROUNDS 10000

typedef struct Counted {
	Ref ref;
	unsigned n_freed;
} Counted;

static void hold_and_drop(void *data)
{
	Counted *counted = data;

	for (unsigned i = 0; i < REF_ROUNDS; i++) {
		ref_get(&counted->ref);
		g_assert_false(ref_put(&counted->ref));
	}
	if (ref_put(&counted->ref))
		counted->n_freed++;
}

static void test_ref(void)
{
	Counted counted = {0};
	pthread_t threads[4];

	ref_init(&counted.ref);
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
		ref_get(&counted.ref);
		g_assert_cmpint(
			thread_start_joinable(&threads[i], "holder", &role_worker, hold_and_drop, &counted),
			==, 0);
	}
	/* The last one out, whoever it is. */
	if (ref_put(&counted.ref))
		counted.n_freed++;
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		thread_join(threads[i]);
	g_assert_cmpuint(counted.n_freed, ==, 1);
}

static void test_ref_misused(void)
{
	if (g_test_subprocess()) {
		Ref ref;

		ref_init(&ref);
		ref_put(&ref);
		ref_get(&ref);
		return;
	}
	g_test_trap_subprocess(NULL, 30 * USEC_PER_SEC, G_TEST_SUBPROCESS_DEFAULT);
	g_test_trap_assert_failed();
}

static void remove_folder(void)
{
	GDir *dir = g_dir_open(folder, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(folder, name, NULL);

		g_assert_cmpint(remove(path), ==, 0);
	}
	g_dir_close(dir);
	g_assert_cmpint(rmdir(folder), ==, 0);
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	folder = g_dir_make_tmp("test-fd-XXXXXX", NULL);
	folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	g_test_add_func("/fd/close", test_close);
	g_test_add_func("/fd/nonblocking", test_nonblocking);
	g_test_add_func("/fd/unix", test_unix);
	g_test_add_func("/fd/unix-fails", test_unix_fails);
	g_test_add_func("/fd/backlog", test_backlog);
	g_test_add_func("/fd/fifo", test_fifo);
	g_test_add_func("/fd/wait", test_wait);
	g_test_add_func("/fd/write-all", test_write_all);
	g_test_add_func("/fd/read-file", test_read_file);
	g_test_add_func("/fd/read-file-fails", test_read_file_fails);
	g_test_add_func("/fd/bell", test_bell);
	g_test_add_func("/clock/fake", test_clock);
	g_test_add_func("/ref/threads", test_ref);
	g_test_add_func("/ref/misused", test_ref_misused);
	r = g_test_run();
	fd_close(&folder_fd);
	remove_folder();
	g_free(folder);
	return r;
}
