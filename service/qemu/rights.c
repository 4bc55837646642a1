#include "qemu/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "qemu/process.h"
#include "qemu/rights-do.h"
#include "util/clock.h"
#include "util/fd.h"

#define END_USEC  (1 * USEC_PER_SEC)
#define WORDS_MAX 512

struct Rights {
	QemuProcess *child; /* NULL: our own rights */
	int socket_fd, output_fd;
	uint64_t deadline_usec;
};

/* It ends by itself when the socket is closed, unless its storage hangs. */
static void end_child(Rights *rights, bool at_once)
{
	int code, signal;

	fd_close(&rights->socket_fd);
	if (!rights->child)
		return;
	if (at_once || fd_wait(rights->child->pidfd, POLLIN, clock_monotonic_usec() + END_USEC) < 0)
		qemu_process_signal(rights->child, SIGKILL);
	if (fd_wait(rights->child->pidfd, POLLIN, clock_monotonic_usec() + END_USEC) >= 0)
		qemu_process_reap(rights->child, &code, &signal);
	g_clear_pointer(&rights->child, qemu_process_unref);
}

Rights *rights_free(Rights *rights)
{
	if (rights) {
		end_child(rights, false);
		fd_close(&rights->output_fd);
		g_free(rights);
	}
	return NULL;
}

static int start_child(Rights *rights, const char *helper, uint32_t uid)
{
	autofd int ours = -1, theirs = -1, reader = -1, writer = -1;
	g_autofree char *user = g_strdup_printf("%u", uid), *fd = NULL;
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	ours = ends[0];
	theirs = ends[1];
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	reader = ends[0];
	writer = ends[1];
	fd = g_strdup_printf("%d", theirs);
	{
		const char *const argv[] = {helper, "files", user, fd, NULL};

		r = qemu_process_spawn((char **)argv, &theirs, 1, writer, &rights->child);
	}
	if (r < 0)
		return r;
	rights->socket_fd = g_steal_fd(&ours);
	rights->output_fd = g_steal_fd(&reader);
	return 0;
}

/* What it said before it ended. */
static char *last_words(const Rights *rights)
{
	char words[WORDS_MAX + 1];
	ssize_t n = read(rights->output_fd, words, WORDS_MAX);

	words[MAX(n, 0)] = '\0';
	g_strchomp(words);
	return g_utf8_make_valid(words, -1);
}

static int read_answer(int socket_fd, int *ret_fd);

/* It says so when it has become the user. */
static int await_child(Rights *rights, char **ret_complaint)
{
	g_autofree char *words = NULL;
	int fd = -1, r = -ETIMEDOUT;

	if (fd_wait(rights->socket_fd, POLLIN, rights->deadline_usec) >= 0)
		r = read_answer(rights->socket_fd, &fd);
	if (r >= 0)
		return 0;
	end_child(rights, r == -ETIMEDOUT);
	words = last_words(rights);
	*ret_complaint = g_strdup(words[0] != '\0' ? words : g_strerror(-r));
	return r;
}

int rights_new(
	const char *helper, uint32_t uid, uint64_t deadline_usec, Rights **ret_rights, char **ret_complaint)
{
	g_autoptr(Rights) rights = g_new0(Rights, 1);
	int r;

	rights->socket_fd = rights->output_fd = -1;
	rights->deadline_usec = deadline_usec;
	/* Who is not root has but one user's rights to give, and none that others lack. */
	if (uid != geteuid() && geteuid() == 0) {
		r = start_child(rights, helper, uid);
		if (r < 0) {
			*ret_complaint = g_strdup_printf("%s: %s", helper, g_strerror(-r));
			return r;
		}
		r = await_child(rights, ret_complaint);
		if (r < 0)
			return r;
	}
	*ret_rights = g_steal_pointer(&rights);
	return 0;
}

/* ---- a request ---- */
/* 0, with an fd or -1; or a negative errno. */
static int read_answer(int socket_fd, int *ret_fd)
{
	union {
		char buffer[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	int answer = 0;
	struct iovec iov = {.iov_base = &answer, .iov_len = sizeof answer};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof control.buffer};
	ssize_t n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *header;

	if (n < 0)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	*ret_fd = -1;
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
		header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(header), sizeof *ret_fd);
	if (n != sizeof answer || answer > 0) {
		fd_close(ret_fd);
		return -ECHILD;
	}
	return answer;
}

/* It ended without an answer: what it said goes to nobody but the log. */
static int ask_child(Rights *rights, const RightsRequest *request)
{
	int fd = -1, r;

	if (!rights->child)
		return -ECHILD;
	if (send(rights->socket_fd, request, sizeof *request, MSG_NOSIGNAL) < 0) {
		r = errno == EPIPE ? -ECHILD : -errno;
	} else if (fd_wait(rights->socket_fd, POLLIN, rights->deadline_usec) < 0) {
		r = -ETIMEDOUT;
	} else {
		r = read_answer(rights->socket_fd, &fd);
	}
	if (r == -ETIMEDOUT || r == -ECHILD)
		end_child(rights, true);
	return r < 0 ? r : fd >= 0 ? fd : 0;
}

static int ask(Rights *rights, RightsVerb verb, int flags, const char *path, const char *other)
{
	g_autofree RightsRequest *request = g_new0(RightsRequest, 1);

	request->verb = verb;
	request->flags = flags;
	if (g_strlcpy(request->path, path, sizeof request->path) >= sizeof request->path ||
		g_strlcpy(request->other, other, sizeof request->other) >= sizeof request->other)
		return -ENAMETOOLONG;
	return rights->output_fd < 0 ? rights_do(request) : ask_child(rights, request);
}

int rights_open(Rights *rights, const char *path, int flags)
{
	return ask(rights, RIGHTS_OPEN, flags, path, "");
}

int rights_create(Rights *rights, const char *path)
{
	return ask(rights, RIGHTS_CREATE, 0, path, "");
}

int rights_move(Rights *rights, const char *from, const char *to)
{
	return ask(rights, RIGHTS_MOVE, 0, from, to);
}

int rights_remove(Rights *rights, const char *path)
{
	return ask(rights, RIGHTS_REMOVE, 0, path, "");
}

int rights_access(Rights *rights, const char *path, int mode)
{
	return ask(rights, RIGHTS_ACCESS, mode, path, "");
}
