/*
 * The launcher: the real roost-helper becomes this program, which reports what it has; and launchers that go
 * wrong, played by children of the test.
 */
#include "qemu/launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qemu/launch-packet.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/thread.h"

#define SELF     "/proc/self/exe"
#define PATIENCE (120 * USEC_PER_SEC)

static char *self;

/* ---- what QEMU would be ---- */
/* Each fd, its flags, and what is in it. */
static int report(int argc, char **argv)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	for (int i = 2; i < argc; i++)
		printf("[%s]", argv[i]);
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name);
		char text[16];
		ssize_t n;

		if (entry->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		n = fd > 2 ? pread(fd, text, sizeof text, 0) : 0;
		printf(" %d:%.*s%s", fd, (int)MAX(n, 0), text, fcntl(fd, F_GETFD) & FD_CLOEXEC ? "!" : "");
	}
	closedir(dir);
	return 0;
}

/* ---- launchers ---- */
typedef struct Launcher {
	int ours, output;
	pid_t pid;
	int writer;
} Launcher;

static pid_t spawn(char **argv, int input)
{
	pid_t pid = fork();

	if (pid == 0) {
		dup2(input, STDIN_FILENO);
		execv(argv[0], argv);
		_exit(99);
	}
	g_assert_cmpint(pid, >, 0);
	return pid;
}

static Launcher launcher_new(char **argv)
{
	Launcher launcher;
	int theirs, ends[2];

	g_assert_cmpint(qemu_launch_pair(&launcher.ours, &theirs), ==, 0);
	g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
	launcher.output = ends[0];
	launcher.writer = ends[1];
	launcher.pid = argv ? spawn(argv, theirs) : 0;
	close(theirs);
	return launcher;
}

static Launcher real_launcher(void)
{
	char *argv[] = {
		(char *)g_getenv("ROOST_HELPER"), (char *)"launch", (char *)"-uuid", (char *)"x", NULL};

	return launcher_new(argv);
}

static int launcher_end(Launcher *launcher)
{
	int status = 0;

	if (launcher->ours >= 0)
		close(launcher->ours);
	if (launcher->writer >= 0)
		close(launcher->writer);
	close(launcher->output);
	if (launcher->pid > 0)
		g_assert_cmpint(waitpid(launcher->pid, &status, 0), ==, launcher->pid);
	return status;
}

static char *read_all(int fd)
{
	GString *text = g_string_new(NULL);
	char buffer[4096];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		g_string_append_len(text, buffer, n);
	return g_string_free(text, FALSE);
}

static int memfd_with(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	g_assert_cmpint(fd_write_all(fd, text, strlen(text)), ==, 0);
	return fd;
}

static uint64_t soon(void)
{
	return clock_monotonic_usec() + PATIENCE;
}

static int launch_nothing(Launcher *launcher, uint64_t deadline_usec, QemuProcess **ret_process)
{
	char *argv[] = {self, NULL};

	return qemu_launch(
		launcher->ours, geteuid(), argv, NULL, 0, launcher->writer, deadline_usec, ret_process);
}

/* ---- the real one ---- */
/* The numbers are such that what comes lies where something else belongs. */
static void test_fds(void)
{
	Launcher launcher = real_launcher();
	char *argv[] = {self, (char *)"report", (char *)"a word", (char *)"", (char *)"three", NULL};
	g_autoptr(QemuProcess) process = NULL;
	g_autofree char *said = NULL;
	int fds[6];

	for (int i = 0; i < 6; i++) {
		g_autofree char *text = g_strdup_printf("<%d>", i);
		int fd = memfd_with(text);

		fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 60 - i);
		g_assert_cmpint(fds[i], ==, 60 - i);
		close(fd);
	}
	/* One of them in the midst of where the launcher finds them. */
	g_assert_cmpint(dup3(fds[5], 50, O_CLOEXEC), ==, 50);
	close(fds[5]);
	fds[5] = 50;
	g_assert_cmpint(
		qemu_launch(launcher.ours, geteuid(), argv, fds, 6, launcher.writer, soon(), &process), ==,
		0);
	g_assert_cmpint(process->pid, ==, launcher.pid);
	g_assert_false(process->is_child);
	fd_close(&launcher.writer);
	said = read_all(launcher.output);
	g_assert_cmpstr(said, ==, "[a word][][three] 0: 1: 2: 50:<5> 56:<4> 57:<3> 58:<2> 59:<1> 60:<0>");
	g_assert_cmpint(launcher_end(&launcher), ==, 0);
	for (int i = 0; i < 6; i++)
		close(fds[i]);
}

/* More than one packet holds. */
static void test_many(void)
{
	enum { N = 600 };
	Launcher launcher = real_launcher();
	char *argv[] = {self, (char *)"report", NULL};
	g_autoptr(QemuProcess) process = NULL;
	g_autofree char *said = NULL;
	g_auto(GStrv) words = NULL;
	int fd = memfd_with("."), fds[N];

	for (int i = 0; i < N; i++)
		fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	g_assert_cmpint(
		qemu_launch(launcher.ours, geteuid(), argv, fds, N, launcher.writer, soon(), &process), ==,
		0);
	fd_close(&launcher.writer);
	said = read_all(launcher.output);
	words = g_strsplit(said, " ", 0);
	g_assert_cmpuint(g_strv_length(words), ==, 1 + 3 + N);
	for (int i = 0; i < N; i++) {
		g_autofree char *word = g_strdup_printf("%d:.", fds[i]);

		g_assert_true(g_strv_contains((const char *const *)words, word));
		close(fds[i]);
	}
	close(fd);
	g_assert_cmpint(launcher_end(&launcher), ==, 0);
}

static void test_no_binary(void)
{
	Launcher launcher = real_launcher();
	char *argv[] = {(char *)"/nowhere/qemu", NULL};
	g_autoptr(QemuProcess) process = NULL;
	g_autofree char *said = NULL;
	int status;

	g_assert_cmpint(
		qemu_launch(launcher.ours, geteuid(), argv, NULL, 0, launcher.writer, soon(), &process), ==,
		0);
	fd_close(&launcher.writer);
	said = read_all(launcher.output);
	g_assert_cmpstr(said, ==, "roost-helper: /nowhere/qemu: No such file or directory\n");
	status = launcher_end(&launcher);
	g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 126);
}

/* Its roostd goes away before it has said what it wants, or after the first word. */
static void test_roostd_gone(void)
{
	Launcher launcher = real_launcher();
	LaunchPacket nothing = {.word = LAUNCH_WORD};
	uint32_t word;

	fd_close(&launcher.ours);
	g_assert_cmpint(launcher_end(&launcher), ==, 0);

	launcher = real_launcher();
	for (int i = 0; i < 2; i++) {
		g_assert_cmpint(recv(launcher.ours, &word, sizeof word, 0), ==, sizeof word);
		g_assert_cmpint(send(launcher.ours, &nothing, sizeof nothing, 0), ==, sizeof nothing);
	}
	g_assert_cmpint(shutdown(launcher.ours, SHUT_RDWR), ==, 0);
	g_assert_cmpint(launcher_end(&launcher), ==, 0);
}

/* ---- others ---- */
static void test_never_comes(void)
{
	Launcher launcher = launcher_new(NULL);
	QemuProcess *process = NULL;

	g_assert_cmpint(launch_nothing(&launcher, soon(), &process), ==, -EPIPE);
	launcher_end(&launcher);

	launcher = launcher_new((char *[]){(char *)"/bin/sleep", (char *)"1000", NULL});
	g_assert_cmpint(launch_nothing(&launcher, clock_monotonic_usec() + 10 * USEC_PER_MSEC, &process), ==,
		-ETIMEDOUT);
	g_assert_null(process);
	kill(launcher.pid, SIGKILL);
	launcher_end(&launcher);
}

static void shut_down(void *data)
{
	shutdown(*(const int *)data, SHUT_RDWR);
}

/* Before it begins to wait, or while it does. */
static void test_shut_down(void)
{
	Launcher launcher = launcher_new((char *[]){(char *)"/bin/sleep", (char *)"1000", NULL});
	QemuProcess *process = NULL;
	pthread_t thread;

	g_assert_cmpint(
		thread_start_joinable(&thread, "shutter", &role_worker, shut_down, &launcher.ours), ==, 0);
	g_assert_cmpint(launch_nothing(&launcher, soon(), &process), ==, -EPIPE);
	thread_join(thread);
	kill(launcher.pid, SIGKILL);
	launcher_end(&launcher);
}

/* A child that says what is asked for, word by word: w the word, x another, r takes a packet, p waits for
 * good, c closes the socket, k kills itself. */
static int play(const char *script)
{
	static LaunchPacket packet;
	uint32_t word = LAUNCH_WORD, other = 1;
	ssize_t n = 0;

	for (; *script; script++)
		switch (*script) {
		case 'w':
			n = send(STDIN_FILENO, &word, sizeof word, MSG_NOSIGNAL);
			break;
		case 'x':
			n = send(STDIN_FILENO, &other, sizeof other, MSG_NOSIGNAL);
			break;
		case 'r':
			n = recv(STDIN_FILENO, &packet, sizeof packet, 0);
			break;
		case 'p':
			pause();
			break;
		case 'c':
			close(STDIN_FILENO);
			break;
		case 'k':
			raise(SIGKILL);
			break;
		}
	return n < 0;
}

static Launcher player(const char *script)
{
	return launcher_new((char *[]){self, (char *)"play", (char *)script, NULL});
}

static void test_strangers(void)
{
	static const struct {
		const char *script;
		int result;
	} rows[] = {
		{"xp", -EPROTO},
		{"wxp", -EPROTO},
		{"k", -EPIPE},
		{"wk", -EPIPE},
		{"wrk", -EPIPE},
		{"wrwk", -EPIPE},
		{"wrwrk", -EPIPE},
		{"wrwxp", -EPROTO},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		Launcher launcher = player(rows[i].script);
		QemuProcess *process = NULL;

		g_test_message("%s", rows[i].script);
		g_assert_cmpint(launch_nothing(&launcher, soon(), &process), ==, rows[i].result);
		g_assert_null(process);
		kill(launcher.pid, SIGKILL);
		launcher_end(&launcher);
	}
}

static void test_other_user(void)
{
	/* It is ourselves, in both. */
	const uid_t wanted[] = {geteuid() + 1, QEMU_LAUNCH_OTHER};
	char *argv[] = {self, NULL};

	for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
		Launcher launcher = player("wp");
		QemuProcess *process = NULL;

		g_assert_cmpint(qemu_launch(launcher.ours, wanted[i], argv, NULL, 0, launcher.writer, soon(),
					&process),
			==, -EPROTO);
		kill(launcher.pid, SIGKILL);
		launcher_end(&launcher);
	}
}

/* One that has all it needs and does not say so may become QEMU at any time: it must not. */
static void test_no_last_word(void)
{
	Launcher launcher = player("wrwrcp");
	QemuProcess *process = NULL;
	int status;

	g_assert_cmpint(launch_nothing(&launcher, soon(), &process), ==, -EPIPE);
	status = launcher_end(&launcher);
	g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(int argc, char **argv)
{
	struct rlimit limit;

	if (argc > 1 && strcmp(argv[1], "report") == 0)
		return report(argc, argv);
	if (argc > 2 && strcmp(argv[1], "play") == 0)
		return play(argv[2]);
	/* As roostd does: what whoever started us left open would be seen in what is launched. */
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	/* Many is more than a shell allows by itself. */
	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
	limit.rlim_cur = limit.rlim_max;
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
	g_test_init(&argc, &argv, NULL);
	self = g_file_read_link(SELF, NULL);
	g_test_add_func("/launch/fds", test_fds);
	g_test_add_func("/launch/many", test_many);
	g_test_add_func("/launch/no-binary", test_no_binary);
	g_test_add_func("/launch/roostd-gone", test_roostd_gone);
	g_test_add_func("/launch/never-comes", test_never_comes);
	g_test_add_func("/launch/shut-down", test_shut_down);
	g_test_add_func("/launch/strangers", test_strangers);
	g_test_add_func("/launch/other-user", test_other_user);
	g_test_add_func("/launch/no-last-word", test_no_last_word);
	return g_test_run();
}
