#include "qemu/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "qemu/launch-packet.h"
#include "util/clock.h"
#include "util/fd.h"

#define END_USEC (1 * USEC_PER_SEC)

int qemu_launch_pair(int *ret_ours, int *ret_launchers)
{
	autofd int ours = -1, launchers = -1;
	int ends[2], yes = 1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	ours = ends[0];
	launchers = ends[1];
	if (setsockopt(ours, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) < 0)
		return -errno;
	*ret_ours = g_steal_fd(&ours);
	*ret_launchers = g_steal_fd(&launchers);
	return 0;
}

/* ---- hearing ---- */
static bool find_credentials(struct msghdr *message, struct ucred *ret)
{
	bool found = false;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header))
		if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS &&
			header->cmsg_len == CMSG_LEN(sizeof *ret)) {
			memcpy(ret, CMSG_DATA(header), sizeof *ret);
			found = true;
		}
	return found;
}

/* One word, and whose it is. There is no room for an fd that a stranger might send along: the kernel closes
 * it. */
static int hear_word(int socket_fd, uint64_t deadline_usec, struct ucred *ret_sender)
{
	union {
		char buffer[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	uint32_t word = 0;
	struct iovec iov = {.iov_base = &word, .iov_len = sizeof word};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof control.buffer};
	ssize_t n;
	int r;

	do {
		r = fd_wait(socket_fd, POLLIN, deadline_usec);
		if (r < 0)
			return r;
		n = recvmsg(socket_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;
	if (n != sizeof word || word != LAUNCH_WORD || !find_credentials(&message, ret_sender) ||
		ret_sender->pid <= 0)
		return -EPROTO;
	return 0;
}

/* Of the process that we know. */
static int hear_launcher(int socket_fd, uint64_t deadline_usec, const QemuProcess *process)
{
	struct ucred sender;
	int r = hear_word(socket_fd, deadline_usec, &sender);

	return r < 0 || sender.pid == process->pid ? r : -EPROTO;
}

/* ---- giving ---- */
static int send_packet(int socket_fd, LaunchPacket *packet, const int *fds, uint64_t deadline_usec)
{
	union {
		char buffer[CMSG_SPACE(LAUNCH_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = packet, .iov_len = sizeof *packet};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *header;
	int r;

	packet->word = LAUNCH_WORD;
	if (packet->n_fds > 0) {
		memset(&control, 0, sizeof control);
		message.msg_control = control.buffer;
		message.msg_controllen = CMSG_SPACE(packet->n_fds * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(packet->n_fds * sizeof(int));
		memcpy(CMSG_DATA(header), fds, packet->n_fds * sizeof(int));
	}
	while (sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		if (errno != EINTR && errno != EAGAIN)
			return errno == ECONNRESET ? -EPIPE : -errno;
		r = fd_wait(socket_fd, POLLOUT, deadline_usec);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The words, each with its NUL. */
static int make_argv_file(char **argv)
{
	autofd int fd = memfd_create("roost-argv", MFD_CLOEXEC);
	g_autoptr(GString) words = g_string_new(NULL);
	int r;

	if (fd < 0)
		return -errno;
	for (char **word = argv; *word; word++)
		g_string_append_len(words, *word, (gssize)strlen(*word) + 1);
	if (words->len > LAUNCH_ARGV_MAX)
		return -E2BIG;
	r = fd_write_all(fd, words->str, words->len);
	return r < 0 ? r : g_steal_fd(&fd);
}

typedef struct Gift {
	int *fds, *numbers;
	size_t n;
} Gift;

static void gift_clear(Gift *gift)
{
	g_free(gift->fds);
	g_free(gift->numbers);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Gift, gift_clear)

static void gift_add(Gift *gift, int fd, int number)
{
	gift->fds[gift->n] = fd;
	gift->numbers[gift->n++] = number;
}

static int give(int socket_fd, const Gift *gift, uint64_t deadline_usec, const QemuProcess *process)
{
	g_autofree LaunchPacket *packet = g_new0(LaunchPacket, 1);
	int r = 0;

	for (size_t at = 0; r >= 0 && at < gift->n; at += packet->n_fds) {
		packet->n_fds = (uint32_t)MIN(gift->n - at, LAUNCH_FDS_MAX);
		packet->is_last = at + packet->n_fds == gift->n;
		for (uint32_t i = 0; i < packet->n_fds; i++)
			packet->numbers[i] = gift->numbers[at + i];
		r = send_packet(socket_fd, packet, gift->fds + at, deadline_usec);
		if (r >= 0)
			r = hear_launcher(socket_fd, deadline_usec, process);
	}
	return r;
}

/* Its word, then a pidfd, then its word again: that process is alive still, so the pidfd is its own. */
static int identify(int socket_fd, uid_t uid, uint64_t deadline_usec, QemuProcess **ret_process)
{
	g_autoptr(QemuProcess) process = NULL;
	g_autofree LaunchPacket *nothing = g_new0(LaunchPacket, 1);
	uint64_t start_time;
	struct ucred sender;
	int r;

	r = hear_word(socket_fd, deadline_usec, &sender);
	if (r < 0)
		return r;
	if (uid == QEMU_LAUNCH_OTHER ? sender.uid == geteuid() : sender.uid != uid)
		return -EPROTO;
	r = process_start_time(sender.pid, &start_time);
	if (r >= 0)
		r = qemu_process_open(sender.pid, start_time, &process);
	if (r < 0)
		return r == -ESRCH ? -EPIPE : r;
	r = send_packet(socket_fd, nothing, NULL, deadline_usec);
	if (r >= 0)
		r = hear_launcher(socket_fd, deadline_usec, process);
	if (r < 0)
		return r;
	*ret_process = g_steal_pointer(&process);
	return 0;
}

int qemu_launch(int socket_fd, uid_t uid, char **argv, const int *fds, size_t n_fds, int output_fd,
	uint64_t deadline_usec, QemuProcess **ret_process)
{
	g_auto(Gift) gift = {.fds = g_new(int, n_fds + 2), .numbers = g_new(int, n_fds + 2)};
	g_autoptr(QemuProcess) process = NULL;
	autofd int argv_fd = make_argv_file(argv);
	int r;

	if (argv_fd < 0)
		return argv_fd;
	if (n_fds > LAUNCH_ALL_MAX)
		return -EMFILE;
	for (size_t i = 0; i < n_fds; i++)
		gift_add(&gift, fds[i], fds[i]);
	gift_add(&gift, output_fd, LAUNCH_FD_OUTPUT);
	gift_add(&gift, argv_fd, LAUNCH_FD_ARGV);
	r = identify(socket_fd, uid, deadline_usec, &process);
	if (r < 0)
		return r;
	r = give(socket_fd, &gift, deadline_usec, process);
	if (r < 0) {
		/* It may have all it needs, and its word be on its way. */
		qemu_process_signal(process, SIGKILL);
		fd_wait(process->pidfd, POLLIN, clock_monotonic_usec() + END_USEC);
		return r;
	}
	*ret_process = g_steal_pointer(&process);
	return 0;
}
