/*
 * Of bench-load: the bare command line. So many QEMUs are started at once, each with a QMP socket in place of
 * the word @QMP@, and timed until each has answered `cont`; then all are killed, and timed until they are
 * gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"
#include "qmp-client.h"

#define QEMU_FD      3
#define GIVE_UP_MSEC 60000

extern char **environ;

typedef struct Qemu {
	pid_t pid;
	QmpClient qmp;
	unsigned n_returns;
} Qemu;

/* A listening socket without a name on disk, and an end that is connected to it already. */
static void make_sockets(int *ret_listener, int *ret_client)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(sa_family_t);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* The kernel chooses the name. */
	if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1) < 0)
		must(-errno, "a socket");
	size = sizeof address;
	if (getsockname(listener, (struct sockaddr *)&address, &size) < 0 ||
		connect(client, (struct sockaddr *)&address, size) < 0)
		must(-errno, "a socket");
	*ret_listener = listener;
	*ret_client = client;
}

static void start(Qemu *qemu, char **words)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int listener;

	make_sockets(&listener, &qemu->qmp.fd);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&actions, listener, QEMU_FD);
	/* A session each, as the services make it: the kernel may share processors out by session. */
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
	must(-posix_spawn(&qemu->pid, words[0], &actions, &attributes, words, environ), words[0]);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	close(listener);
	qmp_client_send(&qemu->qmp, "qmp_capabilities");
}

/* Until each has answered so many commands; `times` may be NULL. */
static void await_all(Qemu *qemus, size_t n, unsigned n_returns, Times *times, uint64_t begin)
{
	struct pollfd *fds = calloc(n, sizeof *fds);
	size_t n_left = n;

	if (!fds)
		abort();
	for (size_t i = 0; i < n; i++)
		fds[i] = (struct pollfd){.fd = qemus[i].qmp.fd, .events = POLLIN};
	while (n_left > 0) {
		if (poll(fds, n, GIVE_UP_MSEC) <= 0)
			must(-ETIMEDOUT, "QEMU");
		for (size_t i = 0; i < n; i++) {
			const char *line;

			if (fds[i].revents & POLLHUP && !(fds[i].revents & POLLIN))
				must(-ECONNRESET, "QEMU");
			while (fds[i].revents & POLLIN && (line = qmp_client_line(&qemus[i].qmp)))
				qemus[i].n_returns +=
					strncmp(line, "{\"return\"", strlen("{\"return\"")) == 0;
			if (qemus[i].n_returns < n_returns || fds[i].fd < 0)
				continue;
			if (times)
				times_add(times, now_usec() - begin);
			fds[i].fd = -1;
			n_left--;
		}
	}
	free(fds);
}

int load_spawn(const Load *load)
{
	size_t n = load->count;
	Qemu *qemus = calloc(n, sizeof *qemus);
	char more[64], option[] = "socket,id=qmp,fd=3,server=on,wait=off";
	Times times = {0};
	uint64_t begin, up;

	if (!qemus)
		abort();
	for (char **word = load->arguments; *word; word++)
		if (strcmp(*word, "@QMP@") == 0)
			*word = option;
	begin = now_usec();
	for (size_t i = 0; i < n; i++)
		start(&qemus[i], load->arguments);
	await_all(qemus, n, 1, NULL, begin);
	for (size_t i = 0; i < n; i++)
		qmp_client_send(&qemus[i].qmp, "cont");
	await_all(qemus, n, 2, &times, begin);
	up = now_usec();
	for (size_t i = 0; i < n; i++)
		kill(qemus[i].pid, SIGKILL);
	for (size_t i = 0; i < n; i++)
		waitpid(qemus[i].pid, NULL, 0);
	snprintf(more, sizeof more, ", \"kill\": %llu", (unsigned long long)(now_usec() - up));
	times_print(&times, up - begin, more);
	free(qemus);
	return 0;
}
