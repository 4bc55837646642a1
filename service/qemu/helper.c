/*
 * roost-helper: what roostd starts when something is to be done with other rights than its own.
 *
 * "files UID FD" becomes the user UID, with all the groups that it has, and nothing else, and does what comes
 * through the socket FD (rights-do.h), one packet an answer, until its other end is closed.
 *
 * "run UID GID GROUPS COMMAND..." becomes that user, with these further groups (numbers with commas, or "-"),
 * and then the command.
 *
 * "launch -uuid UUID" becomes QEMU, in a unit of systemd's (helper-launch.c). The words are for whoever looks
 * for the QEMU of this VM (qemu_process_find()).
 *
 * It is small on purpose: it begins with all of root's rights. Whatever fails before they are given up ends
 * it, with a line on standard error that says what.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/helper.h"
#include "qemu/rights-do.h"

#define GROUPS_MAX 1024

void helper_die(const char *format, ...)
{
	va_list args;

	fputs("roost-helper: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(126);
}

static unsigned parse_number(const char *text, unsigned max)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno != 0 || number > max)
		helper_die("%s: no number up to %u", text, max);
	return (unsigned)number;
}

/* Rights of root that were given up must be gone for good. */
static void become(uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups)
{
	if (setgroups(n_groups, groups) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		helper_die("can't become user %u: %s", (unsigned)uid, strerror(errno));
	if (uid != 0 && (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0))
		helper_die("the rights of root are still there");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		helper_die("PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
}

/* ---- files ---- */
static void become_user(uid_t uid)
{
	gid_t groups[GROUPS_MAX];
	int n_groups = GROUPS_MAX;
	const struct passwd *user;

	errno = 0;
	user = getpwuid(uid);
	if (!user)
		helper_die("there is no user %u%s%s", (unsigned)uid, errno ? ": " : "",
			errno ? strerror(errno) : "");
	if (getgrouplist(user->pw_name, user->pw_gid, groups, &n_groups) < 0)
		helper_die("user %u is in more than %d groups", (unsigned)uid, GROUPS_MAX);
	become(uid, user->pw_gid, groups, (size_t)n_groups);
}

static int send_answer(int socket_fd, int answer, int fd)
{
	union {
		char buffer[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = &answer, .iov_len = sizeof answer};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *header;

	if (fd >= 0) {
		message.msg_control = control.buffer;
		message.msg_controllen = sizeof control.buffer;
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(header), &fd, sizeof fd);
	}
	return sendmsg(socket_fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int serve_files(int socket_fd)
{
	static RightsRequest request;

	for (;;) {
		ssize_t n = recv(socket_fd, &request, sizeof request, 0);
		int r, fd = -1;

		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof request || memchr(request.path, 0, sizeof request.path) == NULL ||
			memchr(request.other, 0, sizeof request.other) == NULL)
			helper_die("a request can't be read");
		r = rights_do(&request);
		if (r >= 0 && (request.verb == RIGHTS_OPEN || request.verb == RIGHTS_CREATE))
			fd = r;
		if (send_answer(socket_fd, r < 0 ? r : 0, fd) < 0)
			helper_die("an answer can't be sent: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

/* ---- run ---- */
static size_t parse_groups(char *text, gid_t groups[static GROUPS_MAX])
{
	size_t n = 0;

	if (strcmp(text, "-") == 0)
		return 0;
	for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
		if (n == GROUPS_MAX)
			helper_die("more than %d groups", GROUPS_MAX);
		groups[n++] = parse_number(word, UINT32_MAX - 1);
	}
	return n;
}

static int run(char **argv)
{
	gid_t groups[GROUPS_MAX];
	uid_t uid = parse_number(argv[0], UINT32_MAX - 1);
	gid_t gid = parse_number(argv[1], UINT32_MAX - 1);

	become(uid, gid, groups, parse_groups(argv[2], groups));
	execv(argv[3], argv + 3);
	helper_die("%s: %s", argv[3], strerror(errno));
}

int main(int argc, char **argv)
{
	umask(077);
	if (chdir("/") < 0)
		helper_die("/: %s", strerror(errno));
	if (argc == 4 && strcmp(argv[1], "files") == 0) {
		int socket_fd = (int)parse_number(argv[3], INT32_MAX);

		become_user(parse_number(argv[2], UINT32_MAX - 1));
		/* The first answer: it is the user now. */
		if (send_answer(socket_fd, 0, -1) < 0)
			helper_die("an answer can't be sent: %s", strerror(errno));
		return serve_files(socket_fd);
	}
	if (argc >= 6 && strcmp(argv[1], "run") == 0)
		return run(argv + 2);
	if (argc == 4 && strcmp(argv[1], "launch") == 0 && strcmp(argv[2], "-uuid") == 0)
		helper_launch();
	helper_die("is started by roostd alone");
}
