/*
 * QEMU's process.
 *
 * posix_spawn(3) does between fork and exec all that a child of a threaded program may do there: descriptors,
 * signals, session. A descriptor that is duplicated onto itself loses close-on-exec in the child and keeps it
 * here; so what QEMU is to inherit is named, and what is not named can't be forgotten.
 *
 * A pid is only a number, and may be another process's tomorrow. The pidfd is the process; a pid is turned
 * into one either while the process is our own child and not reaped, or with the start time to prove that it
 * is still the same.
 */
#include "qemu/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util/fd.h"

#define STAT_SIZE_MAX    1024
#define START_TIME_FIELD 22

/* Words of systemd and the shell to roostd alone: a QEMU that had them could speak in its name. */
static const char *const own_variables[] = {
	"DBUS_SESSION_BUS_ADDRESS",
	"DBUS_STARTER_ADDRESS",
	"DBUS_STARTER_BUS_TYPE",
	"DBUS_SYSTEM_BUS_ADDRESS",
	"FDSTORE",
	"INVOCATION_ID",
	"JOURNAL_STREAM",
	"LISTEN_FDNAMES",
	"LISTEN_FDS",
	"LISTEN_PID",
	"NOTIFY_SOCKET",
	"WATCHDOG_PID",
	"WATCHDOG_USEC",
};

QemuProcess *qemu_process_ref(QemuProcess *process)
{
	ref_get(&process->ref);
	return process;
}

QemuProcess *qemu_process_unref(QemuProcess *process)
{
	if (process && ref_put(&process->ref)) {
		close(process->pidfd);
		g_free(process);
	}
	return NULL;
}

static QemuProcess *process_new(pid_t pid, int pidfd_consume, uint64_t start_time, bool is_child)
{
	QemuProcess *process = g_new(QemuProcess, 1);

	*process = (QemuProcess){
		.pid = pid, .pidfd = pidfd_consume, .start_time = start_time, .is_child = is_child};
	ref_init(&process->ref);
	return process;
}

static bool is_own_variable(const char *assignment)
{
	for (size_t i = 0; i < G_N_ELEMENTS(own_variables); i++) {
		size_t n = strlen(own_variables[i]);

		if (strncmp(assignment, own_variables[i], n) == 0 && assignment[n] == '=')
			return true;
	}
	return false;
}

/* An array of its own, the strings are environ's. */
static char **child_environment(void)
{
	GPtrArray *environment = g_ptr_array_new();

	for (char **variable = environ; variable && *variable; variable++)
		if (!is_own_variable(*variable))
			g_ptr_array_add(environment, *variable);
	g_ptr_array_add(environment, NULL);
	return (char **)g_ptr_array_free(environment, FALSE);
}

/* A positive errno, as posix_spawn's family has it. */
static int actions_add(
	posix_spawn_file_actions_t *actions, const int *fds, size_t n_fds, const QemuStdio *stdio)
{
	int r;

	/* Input last: when there is but one for output, it may be any of the three. */
	r = posix_spawn_file_actions_adddup2(actions, stdio->output_fd, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, stdio->error_fd, STDERR_FILENO);
	if (r == 0)
		r = stdio->input_fd < 0
			    ? posix_spawn_file_actions_addopen(
				      actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
			    : posix_spawn_file_actions_adddup2(actions, stdio->input_fd, STDIN_FILENO);
	for (size_t i = 0; i < n_fds && r == 0; i++) {
		g_assert(fds[i] > STDERR_FILENO);
		r = posix_spawn_file_actions_adddup2(actions, fds[i], fds[i]);
	}
	return r;
}

static int attributes_set(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawnattr_setsigmask(attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attributes, &all);
	if (r == 0)
		r = posix_spawnattr_setflags(
			attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return r;
}

static int spawn(char **argv, const int *fds, size_t n_fds, const QemuStdio *stdio, pid_t *ret_pid)
{
	g_autofree char **environment = child_environment();
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r;

	r = posix_spawn_file_actions_init(&actions);
	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r == 0) {
		r = actions_add(&actions, fds, n_fds, stdio);
		if (r == 0)
			r = attributes_set(&attributes);
		if (r == 0)
			r = posix_spawn(ret_pid, argv[0], &actions, &attributes, argv, environment);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static void child_end(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int spawn_process(
	char **argv, const int *fds, size_t n_fds, const QemuStdio *stdio, QemuProcess **ret_process)
{
	autofd int pidfd = -1;
	uint64_t start_time = 0;
	pid_t pid = -1;
	int r;

	r = spawn(argv, fds, n_fds, stdio, &pid);
	if (r < 0)
		return r;
	/* Nobody else reaps it: the number stays its own, though it may have ended already. */
	pidfd = pidfd_open(pid, 0);
	r = pidfd < 0 ? -errno : process_start_time(pid, &start_time);
	if (r < 0) {
		child_end(pid);
		return r;
	}
	*ret_process = process_new(pid, g_steal_fd(&pidfd), start_time, true);
	return 0;
}

int qemu_process_spawn(char **argv, const int *fds, size_t n_fds, int output_fd, QemuProcess **ret_process)
{
	QemuStdio stdio = {.input_fd = -1, .output_fd = output_fd, .error_fd = output_fd};

	return spawn_process(argv, fds, n_fds, &stdio, ret_process);
}

int qemu_process_spawn_stdio(
	char **argv, const int *fds, size_t n_fds, const QemuStdio *stdio, QemuProcess **ret_process)
{
	g_assert(stdio->output_fd > STDERR_FILENO && stdio->error_fd > STDERR_FILENO);
	g_assert(stdio->input_fd < 0 || stdio->input_fd > STDERR_FILENO);
	return spawn_process(argv, fds, n_fds, stdio, ret_process);
}

uint64_t qemu_process_cpu_usec(const QemuProcess *process)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(process->pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* A process that nobody has reaped yet still has its number and its start time. */
static bool has_ended(int pidfd)
{
	return poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, 0) == 1;
}

int qemu_process_open(pid_t pid, uint64_t start_time, QemuProcess **ret_process)
{
	autofd int pidfd = -1;
	uint64_t found;
	int r;

	if (pid <= 0)
		return -ESRCH;
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) /* EINVAL, from newer kernels ENOENT: by now it is the number of a thread. */
		return errno == EINVAL || errno == ENOENT ? -ESRCH : -errno;
	/* The pidfd first: what it is can't change any more while the start time is looked at. */
	r = process_start_time(pid, &found);
	if (r < 0)
		return r;
	if (found != start_time || has_ended(pidfd))
		return -ESRCH;
	*ret_process = process_new(pid, g_steal_fd(&pidfd), start_time, false);
	return 0;
}

int qemu_process_signal(const QemuProcess *process, int signal)
{
	return pidfd_send_signal(process->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

bool qemu_process_reap(const QemuProcess *process, int *ret_code, int *ret_signal)
{
	siginfo_t info = {0};

	if (!process->is_child)
		return false;
	/* WNOHANG: the event thread must not sleep here, should the pidfd not be readable after all. */
	if (waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
		return false;
	*ret_code = info.si_code == CLD_EXITED ? info.si_status : 0;
	*ret_signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
	return true;
}

/* What /proc says about itself has no size to stat, but comes whole with one read. */
static int stat_read(pid_t pid, char ret_text[static STAT_SIZE_MAX])
{
	char path[sizeof "/proc//stat" + 3 * sizeof pid];
	autofd int fd = -1;
	ssize_t n;

	g_snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, ret_text, STAT_SIZE_MAX - 1);
	if (n < 0)
		return -errno;
	ret_text[n] = '\0';
	return 0;
}

int process_start_time(pid_t pid, uint64_t *ret_start_time)
{
	char stat[STAT_SIZE_MAX];
	uint64_t start_time;
	char *p, *end;
	int r;

	r = stat_read(pid, stat);
	if (r < 0)
		return r;
	/* Field 2 is the command's name in brackets, and may hold brackets and spaces: count from its end. */
	p = strrchr(stat, ')');
	for (unsigned field = 3; p && field <= START_TIME_FIELD; field++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	if (!p || !g_ascii_isdigit(*p))
		return -EBADMSG;
	errno = 0;
	start_time = g_ascii_strtoull(p, &end, 10);
	if (errno != 0 || *end != ' ')
		return -EBADMSG;
	*ret_start_time = start_time;
	return 0;
}

/* ---- by its command line ---- */
#define COMMAND_LINE_MAX (256 * 1024)
#define DYNAMIC_UID_MIN  61184 /* of systemd's DynamicUser */
#define DYNAMIC_UID_MAX  65519

static bool is_qemu_of(const char *pid, const char *uuid)
{
	g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", pid);
	g_autofree char *words = g_malloc(COMMAND_LINE_MAX);
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = 0;
	ssize_t n = 1;

	while (fd >= 0 && n > 0 && size < COMMAND_LINE_MAX) {
		n = read(fd, words + size, COMMAND_LINE_MAX - size);
		size += n > 0 ? (size_t)n : 0;
	}
	for (size_t at = 0; at < size; at += strnlen(words + at, size - at) + 1) {
		size_t next = at + strnlen(words + at, size - at) + 1;

		if (next + strlen(uuid) < size && strncmp(words + at, "-uuid", 6) == 0 &&
			strncmp(words + next, uuid, strlen(uuid) + 1) == 0)
			return true;
	}
	return false;
}

/* Its real uid: the owner of its folder in /proc is root for one that hides its memory, too. */
static bool is_ours(const char *pid, uid_t qemu_uid)
{
	g_autofree char *path = g_strdup_printf("/proc/%s/status", pid), *text = NULL;
	const char *line;
	unsigned long uid;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return false;
	/* The name, which a process chooses, is in the first line, without a newline. */
	line = strstr(text, "\nUid:");
	if (!line)
		return false;
	uid = strtoul(line + strlen("\nUid:"), NULL, 10);
	return uid == 0 || uid == geteuid() || uid == qemu_uid ||
	       (uid >= DYNAMIC_UID_MIN && uid <= DYNAMIC_UID_MAX);
}

int qemu_process_find(const char *uuid, uid_t qemu_uid, pid_t *ret_pid, uint64_t *ret_start_time)
{
	g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
	const char *name;

	if (!proc)
		return -ENOENT;
	while ((name = g_dir_read_name(proc))) {
		pid_t pid = (pid_t)g_ascii_strtoll(name, NULL, 10);

		if (pid > 0 && is_qemu_of(name, uuid) && is_ours(name, qemu_uid) &&
			process_start_time(pid, ret_start_time) >= 0) {
			*ret_pid = pid;
			return 0;
		}
	}
	return -ESRCH;
}
