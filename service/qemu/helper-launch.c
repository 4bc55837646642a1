/*
 * The launcher: the first program of a VM's unit. systemd has given it the user, the limits and the sandbox,
 * but no fd beside its standard input, by which it gets QEMU's from roostd (launch-packet.h). It puts them
 * where the command line says that they are, and becomes QEMU.
 */
#include "qemu/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/launch-packet.h"

typedef struct Given {
	int fd, number;
} Given;

static Given given[LAUNCH_ALL_MAX];
static unsigned n_given;
static int output_fd = -1, argv_fd = -1;

/* ---- words with roostd ---- */
/* roostd does not want it any more, or is gone. */
static _Noreturn void give_up(void)
{
	exit(EXIT_SUCCESS);
}

static void say_word(void)
{
	union {
		char buffer[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control = {0};
	uint32_t word = LAUNCH_WORD;
	struct iovec iov = {.iov_base = &word, .iov_len = sizeof word};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof control.buffer};
	struct ucred self = {.pid = getpid(), .uid = geteuid(), .gid = getegid()};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_CREDENTIALS;
	header->cmsg_len = CMSG_LEN(sizeof self);
	memcpy(CMSG_DATA(header), &self, sizeof self);
	if (sendmsg(STDIN_FILENO, &message, MSG_NOSIGNAL) < 0) {
		if (errno == EPIPE || errno == ECONNRESET)
			give_up();
		helper_die("can't speak to roostd: %s", strerror(errno));
	}
}

static void keep_fds(const LaunchPacket *packet, const int *fds)
{
	for (uint32_t i = 0; i < packet->n_fds; i++)
		if (packet->numbers[i] == LAUNCH_FD_OUTPUT)
			output_fd = fds[i];
		else if (packet->numbers[i] == LAUNCH_FD_ARGV)
			argv_fd = fds[i];
		else if (packet->numbers[i] > STDERR_FILENO && n_given < LAUNCH_ALL_MAX)
			given[n_given++] = (Given){.fd = fds[i], .number = packet->numbers[i]};
		else
			helper_die("a packet can't be read: fd %d", packet->numbers[i]);
}

/* False: there is more to come. */
static bool take_packet(void)
{
	union {
		char buffer[CMSG_SPACE(LAUNCH_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	static LaunchPacket packet;
	struct iovec iov = {.iov_base = &packet, .iov_len = sizeof packet};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof control.buffer};
	int fds[LAUNCH_FDS_MAX];
	size_t n_fds = 0;
	ssize_t n;

	do
		n = recvmsg(STDIN_FILENO, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		give_up();
	if (n < 0)
		helper_die("can't hear roostd: %s", strerror(errno));
	for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
		if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
			n_fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(header), n_fds * sizeof(int));
		}
	if (message.msg_flags & MSG_CTRUNC)
		helper_die("some of the open files did not fit: is the limit on open files (LimitNOFILE) too "
			   "low?");
	if (n != sizeof packet || packet.word != LAUNCH_WORD || packet.n_fds != n_fds)
		helper_die("a packet can't be read");
	keep_fds(&packet, fds);
	return packet.is_last;
}

/* ---- the command line ---- */
static char **read_argv(void)
{
	struct stat st;
	size_t n_words = 0, size;
	char **argv, *words, *word;

	if (fstat(argv_fd, &st) < 0 || st.st_size <= 0 || st.st_size > (off_t)LAUNCH_ARGV_MAX)
		helper_die("the command line can't be read");
	size = (size_t)st.st_size;
	words = mmap(NULL, size, PROT_READ, MAP_PRIVATE, argv_fd, 0);
	if (words == MAP_FAILED || words[size - 1] != '\0')
		helper_die("the command line can't be read");
	for (size_t i = 0; i < size; i++)
		n_words += words[i] == '\0';
	argv = calloc(n_words + 1, sizeof *argv);
	if (!argv)
		helper_die("no memory");
	word = words;
	for (size_t i = 0; i < n_words; i++, word += strlen(word) + 1)
		argv[i] = word;
	return argv;
}

/* ---- in their places ---- */
static void move(int *fd, int above)
{
	int moved = fcntl(*fd, F_DUPFD_CLOEXEC, above);

	if (moved < 0)
		helper_die("an open file can't have a number over %d: %s; is the limit on open files "
			   "(LimitNOFILE) too low?",
			above, strerror(errno));
	close(*fd);
	*fd = moved;
}

static void put(int fd, int number)
{
	if (dup2(fd, number) < 0)
		helper_die("fd %d: %s", number, strerror(errno));
}

/* All out of the way first: where one is may be where another belongs. What is not put is close-on-exec. */
static void put_fds(void)
{
	int above = STDERR_FILENO + 1;

	for (unsigned i = 0; i < n_given; i++)
		above = given[i].number >= above ? given[i].number + 1 : above;
	for (unsigned i = 0; i < n_given; i++)
		move(&given[i].fd, above);
	move(&output_fd, above);
	move(&argv_fd, above);
	for (unsigned i = 0; i < n_given; i++)
		put(given[i].fd, given[i].number);
}

static int open_null(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		helper_die("/dev/null: %s", strerror(errno));
	return fd;
}

void helper_launch(void)
{
	char **argv;

	say_word();
	while (!take_packet())
		say_word();
	if (output_fd < 0 || argv_fd < 0)
		helper_die("a packet can't be read: something is missing");
	argv = read_argv();
	put_fds();
	say_word();
	/* What goes wrong from here on is said where QEMU's own words are heard. */
	put(open_null(), STDIN_FILENO);
	put(output_fd, STDOUT_FILENO);
	put(output_fd, STDERR_FILENO);
	execv(argv[0], argv);
	helper_die("%s: %s", argv[0], strerror(errno));
}
