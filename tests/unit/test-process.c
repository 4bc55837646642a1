/*
 * Processes, with real children: this program itself, started with a word that makes it report what it was
 * given.
 */
#include "qemu/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/thread.h"

#define SELF "/proc/self/exe"

/* ---- the child ---- */
static int report_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir))
			printf("%s ", entry->d_name);
	closedir(dir);
	return 0;
}

static int report_signals(void)
{
	sigset_t blocked;
	int n_ignored = 0, n_blocked = 0;

	sigprocmask(SIG_BLOCK, NULL, &blocked);
	for (int i = 1; i < 65; i++) {
		struct sigaction action;

		n_ignored += sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
		n_blocked += sigismember(&blocked, i) == 1;
	}
	printf("ignored %d blocked %d", n_ignored, n_blocked);
	return 0;
}

static int report_session(void)
{
	printf("session %d group %d", getsid(0) == getpid(), getpgrp() == getpid());
	return 0;
}

static int report_input(void)
{
	g_autofree char *input = g_file_read_link("/proc/self/fd/0", NULL);

	printf("%s", input);
	return 0;
}

static int report_environment(void)
{
	static const char *const names[] = {"NOTIFY_SOCKET", "LISTEN_FDS", "ROOST_TEST_KEPT"};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		printf("%s=%s ", names[i], getenv(names[i]) ? getenv(names[i]) : "none");
	return 0;
}

static int sleep_for_good(void)
{
	pause();
	return 1;
}

static const struct {
	const char *word;
	int (*func)(void);
} reports[] = {
	{"--fds", report_fds},
	{"--signals", report_signals},
	{"--session", report_session},
	{"--input", report_input},
	{"--environment", report_environment},
	{"--sleep", sleep_for_good},
};

/* ---- the parent ---- */
static void wait_until_ended(const QemuProcess *process)
{
	g_assert_cmpint(poll(&(struct pollfd){.fd = process->pidfd, .events = POLLIN}, 1, -1), ==, 1);
}

static void assert_reaped(const QemuProcess *process, int code, int signal)
{
	int found_code = -1, found_signal = -1;

	wait_until_ended(process);
	g_assert_true(qemu_process_reap(process, &found_code, &found_signal));
	g_assert_cmpint(found_code, ==, code);
	g_assert_cmpint(found_signal, ==, signal);
}

static void assert_no_children(void)
{
	g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
	g_assert_cmpint(errno, ==, ECHILD);
}

static char *file_text(int fd)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	g_assert_cmpint(n, >=, 0);
	text[n] = '\0';
	return g_strdup(text);
}

/* The output of a child, which must exit with `code`. */
static char *run(char **argv, const int *fds, size_t n_fds, int code)
{
	autofd int output = memfd_create("output", MFD_CLOEXEC);
	g_autoptr(QemuProcess) process = NULL;

	g_assert_cmpint(qemu_process_spawn(argv, fds, n_fds, output, &process), ==, 0);
	g_assert_true(process->is_child);
	g_assert_cmpuint(process->start_time, >, 0);
	assert_reaped(process, code, 0);
	return file_text(output);
}

static char *report(const char *word, const int *fds, size_t n_fds)
{
	return run((char *[]){(char *)SELF, (char *)word, NULL}, fds, n_fds, 0);
}

static QemuProcess *start_sleeper(void)
{
	autofd int output = open("/dev/null", O_WRONLY | O_CLOEXEC);
	QemuProcess *process = NULL;

	g_assert_cmpint(qemu_process_spawn(
				(char *[]){(char *)SELF, (char *)"--sleep", NULL}, NULL, 0, output, &process),
		==, 0);
	return process;
}

static void test_exit_code(void)
{
	g_autofree char *nothing = run((char *[]){(char *)"/bin/true", NULL}, NULL, 0, 0);
	g_autofree char *words = run(
		(char *[]){(char *)"/bin/sh", (char *)"-c", (char *)"echo out; echo words >&2; exit 7", NULL},
		NULL, 0, 7);

	g_assert_cmpstr(nothing, ==, "");
	g_assert_cmpstr(words, ==, "out\nwords\n");
	assert_no_children();
}

static void test_no_binary(void)
{
	static const struct {
		const char *path;
		int error;
	} rows[] = {{"/nonexistent/qemu", -ENOENT}, {"/proc/self/status", -EACCES}, {"/", -EACCES}};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		QemuProcess *process = NULL;
		char *argv[] = {(char *)rows[i].path, NULL};

		g_assert_cmpint(
			qemu_process_spawn(argv, NULL, 0, STDERR_FILENO, &process), ==, rows[i].error);
		g_assert_null(process);
		assert_no_children();
	}
}

static void test_fds(void)
{
	autofd int leaked = open("/dev/null", O_RDONLY | O_CLOEXEC);
	autofd int first = open("/dev/null", O_RDONLY | O_CLOEXEC);
	autofd int far = fcntl(first, F_DUPFD_CLOEXEC, 200);
	g_autofree char *none = report("--fds", NULL, 0);
	g_autofree char *two = report("--fds", (int[]){far, first}, 2);
	g_autofree char *expected = g_strdup_printf("0 1 2 %d %d ", first, far);

	g_assert_cmpint(leaked, <, first);
	g_assert_cmpstr(none, ==, "0 1 2 ");
	g_assert_cmpstr(two, ==, expected);
	/* Here they are as they were. */
	g_assert_cmpint(fcntl(first, F_GETFD), ==, FD_CLOEXEC);
	g_assert_cmpint(fcntl(far, F_GETFD), ==, FD_CLOEXEC);
}

static void test_signals_are_reset(void)
{
	g_autofree char *text = NULL;
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	text = report("--signals", NULL, 0);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	g_assert_cmpstr(text, ==, "ignored 0 blocked 0");
}

static void test_session(void)
{
	g_autofree char *text = report("--session", NULL, 0);

	g_assert_cmpstr(text, ==, "session 1 group 1");
}

static void test_input(void)
{
	g_autofree char *text = report("--input", NULL, 0);

	g_assert_cmpstr(text, ==, "/dev/null");
}

static void test_environment(void)
{
	g_autofree char *text = NULL;

	g_setenv("NOTIFY_SOCKET", "@x", TRUE);
	g_setenv("LISTEN_FDS", "1", TRUE);
	g_setenv("ROOST_TEST_KEPT", "yes", TRUE);
	text = report("--environment", NULL, 0);
	g_unsetenv("NOTIFY_SOCKET");
	g_unsetenv("LISTEN_FDS");
	g_assert_cmpstr(text, ==, "NOTIFY_SOCKET=none LISTEN_FDS=none ROOST_TEST_KEPT=yes ");
}

static void test_kill(void)
{
	g_autoptr(QemuProcess) process = start_sleeper();
	g_autoptr(QemuProcess) second = qemu_process_ref(process);
	int code = -1, signal = -1;

	/* Not ended: nothing is known, and nothing waits. */
	g_assert_false(qemu_process_reap(process, &code, &signal));
	g_assert_cmpint(code, ==, -1);
	g_assert_cmpint(qemu_process_signal(process, 0), ==, 0);
	g_assert_cmpint(qemu_process_signal(second, SIGKILL), ==, 0);
	assert_reaped(process, 0, SIGKILL);
	g_assert_false(qemu_process_reap(process, &code, &signal));
	g_assert_cmpint(qemu_process_signal(process, SIGKILL), ==, -ESRCH);
	assert_no_children();
}

static void test_open(void)
{
	g_autoptr(QemuProcess) child = start_sleeper();
	g_autoptr(QemuProcess) opened = NULL;
	QemuProcess *refused = NULL;
	uint64_t start_time = 0;
	int code = -1, signal = -1;

	g_assert_cmpint(process_start_time(child->pid, &start_time), ==, 0);
	g_assert_cmpuint(start_time, ==, child->start_time);
	g_assert_cmpint(qemu_process_open(child->pid, start_time, &opened), ==, 0);
	g_assert_cmpint(opened->pid, ==, child->pid);
	g_assert_false(opened->is_child);
	/* A pid that is another process's by now. */
	g_assert_cmpint(qemu_process_open(child->pid, start_time + 1, &refused), ==, -ESRCH);

	g_assert_cmpint(qemu_process_signal(opened, SIGTERM), ==, 0);
	wait_until_ended(opened);
	g_assert_false(qemu_process_reap(opened, &code, &signal));
	/* Ended, and not reaped: its number and start time are still to be read. */
	g_assert_cmpint(qemu_process_open(child->pid, start_time, &refused), ==, -ESRCH);
	assert_reaped(child, 0, SIGTERM);
	g_assert_cmpint(qemu_process_open(child->pid, start_time, &refused), ==, -ESRCH);
	g_assert_cmpint(process_start_time(child->pid, &start_time), ==, -ESRCH);
	g_assert_cmpint(qemu_process_open(0, 0, &refused), ==, -ESRCH);
	g_assert_cmpint(qemu_process_open(-1, 0, &refused), ==, -ESRCH);
	g_assert_null(refused);
}

static void open_own_thread(void *data)
{
	QemuProcess *refused = NULL;
	pid_t tid = gettid();
	uint64_t start_time = 0;

	g_assert_cmpint(tid, !=, getpid());
	g_assert_cmpint(process_start_time(tid, &start_time), ==, 0);
	g_assert_cmpint(qemu_process_open(tid, start_time, &refused), ==, -ESRCH);
	g_assert_null(refused);
}

/* A recorded pid may be a thread's number by now, and threads have a stat of their own. */
static void test_open_thread(void)
{
	pthread_t thread;

	g_assert_cmpint(thread_start_joinable(&thread, "test", &role_worker, open_own_thread, NULL), ==, 0);
	thread_join(thread);
}

/* A name that looks like the fields behind it. */
static void test_start_time_of_odd_name(void)
{
	g_autofree char *dir = g_dir_make_tmp("roost-test-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "a) S 1 (b", NULL);
	autofd int output = open("/dev/null", O_WRONLY | O_CLOEXEC);
	g_autoptr(QemuProcess) process = NULL;
	g_autoptr(QemuProcess) plain = start_sleeper();
	g_autofree char *self = g_file_read_link(SELF, NULL);

	g_assert_cmpint(symlink(self, path), ==, 0);
	g_assert_cmpint(
		qemu_process_spawn((char *[]){path, (char *)"--sleep", NULL}, NULL, 0, output, &process), ==,
		0);
	g_assert_cmpuint(process->start_time, >=, plain->start_time);
	g_assert_cmpuint(process->start_time, <, plain->start_time + 1000);
	qemu_process_signal(process, SIGKILL);
	qemu_process_signal(plain, SIGKILL);
	assert_reaped(process, 0, SIGKILL);
	assert_reaped(plain, 0, SIGKILL);
	unlink(path);
	rmdir(dir);
}

static void test_output_is_any_fd(void)
{
	autofd int saved = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	autofd int output = memfd_create("output", MFD_CLOEXEC);
	g_autoptr(QemuProcess) process = NULL;
	g_autofree char *text = NULL;

	g_assert_cmpint(dup2(output, STDIN_FILENO), ==, STDIN_FILENO);
	g_assert_cmpint(qemu_process_spawn((char *[]){(char *)SELF, (char *)"--input", NULL}, NULL, 0,
				STDIN_FILENO, &process),
		==, 0);
	g_assert_cmpint(dup2(saved, STDIN_FILENO), ==, STDIN_FILENO);
	assert_reaped(process, 0, 0);
	text = file_text(output);
	g_assert_cmpstr(text, ==, "/dev/null");
}

int main(int argc, char *argv[])
{
	for (size_t i = 0; argc == 2 && i < G_N_ELEMENTS(reports); i++)
		if (strcmp(argv[1], reports[i].word) == 0)
			return reports[i].func();
	/* What the test's own parent left open is not what is tested. */
	g_assert_cmpint(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC), ==, 0);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/process/exit-code", test_exit_code);
	g_test_add_func("/process/no-binary", test_no_binary);
	g_test_add_func("/process/fds", test_fds);
	g_test_add_func("/process/signals-are-reset", test_signals_are_reset);
	g_test_add_func("/process/session", test_session);
	g_test_add_func("/process/input", test_input);
	g_test_add_func("/process/environment", test_environment);
	g_test_add_func("/process/kill", test_kill);
	g_test_add_func("/process/open", test_open);
	g_test_add_func("/process/open-thread", test_open_thread);
	g_test_add_func("/process/start-time-of-odd-name", test_start_time_of_odd_name);
	g_test_add_func("/process/output-is-any-fd", test_output_is_any_fd);
	return g_test_run();
}
