/* A child that is asked in writing: shells in QEMU's place that answer, too much, not at all. */
#include "qemu/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"

#define LONG_USEC  (60 * USEC_PER_SEC)
#define SHORT_USEC (200 * USEC_PER_MSEC)

static void assert_no_children(void)
{
	g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
	g_assert_cmpint(errno, ==, ECHILD);
}

static int run_shell(const char *script, const QemuRunOptions *options, QemuRun *ret)
{
	const char *const argv[] = {"/bin/bash", "-c", script, NULL};
	int r = qemu_run_with((char **)argv, options, ret);

	assert_no_children();
	return r;
}

static void test_answer(void)
{
	const QemuRunOptions options = {
		.input = "a question\n", .answer_max = 1000, .timeout_usec = LONG_USEC, .cancel_fd = -1};
	g_auto(QemuRun) run = {0};

	g_assert_cmpint(run_shell("read -r line; echo aside >&2; printf 'to %s\\377' \"$line\"; exit 3",
				&options, &run),
		==, 0);
	g_assert_cmpuint(run.answer_size, ==, strlen("to a question") + 1);
	g_assert_cmpstr(run.answer, ==, "to a question\377");
	g_assert_cmpstr(run.output, ==, "aside\n");
	g_assert_cmpint(run.code, ==, 3);
	g_assert_false(run.timed_out || run.answer_too_long || run.cancelled);
}

/* Its input has no end before it has: a QEMU that saw one would drop what it was asked. */
static void test_input_stays_open(void)
{
	const QemuRunOptions options = {
		.input = "x\n", .answer_max = 1000, .timeout_usec = SHORT_USEC, .cancel_fd = -1};
	g_auto(QemuRun) run = {0};

	g_assert_cmpint(run_shell("exec cat", &options, &run), ==, 0);
	g_assert_true(run.timed_out && run.is_gone);
	g_assert_cmpstr(run.answer, ==, "x\n");
}

static bool is_whole(const char *answer, size_t size)
{
	return g_str_has_suffix(answer, "all of it\n");
}

/* It is told to end when it has said all, and not before: a QEMU that is told so earlier drops what a full
 * pipe does not take. */
static void test_goodbye(void)
{
	const QemuRunOptions options = {.input = "tell\n",
		.answer_max = 1000000,
		.timeout_usec = LONG_USEC,
		.cancel_fd = -1,
		.is_complete = is_whole,
		.goodbye = "bye\n"};
	g_auto(QemuRun) run = {0}, rude = {0};

	g_assert_cmpint(
		run_shell("read -r line; head -c 200000 /dev/zero | tr '\\0' x; echo; read -r -t 0 && "
			  "exit 9; echo all of it; read -r line; echo \"$line\" >&2",
			&options, &run),
		==, 0);
	g_assert_cmpint(run.code, ==, 0);
	g_assert_cmpuint(run.answer_size, ==, 200000 + strlen("\nall of it\n"));
	g_assert_cmpstr(run.output, ==, "bye\n");
	/* One that does not wait for it. */
	g_assert_cmpint(run_shell("exec echo all of it", &options, &rude), ==, 0);
	g_assert_cmpstr(rude.answer, ==, "all of it\n");
}

static void test_large_answer(void)
{
	QemuRunOptions options = {
		.input = "", .answer_max = 1000000, .timeout_usec = LONG_USEC, .cancel_fd = -1};
	g_auto(QemuRun) whole = {0}, over = {0}, endless = {0};
	g_autofree char *words = NULL;

	g_assert_cmpint(run_shell("exec head -c 1000000 /dev/zero", &options, &whole), ==, 0);
	g_assert_cmpuint(whole.answer_size, ==, 1000000);
	g_assert_false(whole.answer_too_long);
	options.answer_max--;
	g_assert_cmpint(run_shell("exec head -c 1000000 /dev/zero", &options, &over), ==, 0);
	g_assert_true(over.answer_too_long);
	g_assert_cmpint(run_shell("exec cat /dev/zero", &options, &endless), ==, 0);
	g_assert_true(endless.answer_too_long && endless.is_gone);
	g_assert_cmpuint(endless.answer_size, ==, options.answer_max);
	words = qemu_run_describe(&endless, LONG_USEC);
	g_assert_cmpstr(words, ==, "said more than any QEMU has to say");
}

static void test_cancel(void)
{
	autofd int bell = bell_new();
	int ends[2];
	QemuRunOptions options = {
		.input = "", .answer_max = 1000, .timeout_usec = LONG_USEC, .cancel_fd = -1};
	g_auto(QemuRun) run = {0}, none = {0};

	/* The child itself says when: its word arrives on the pipe that is the cancel_fd. */
	g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
	options.cancel_fd = ends[0];
	options.fds = &ends[1];
	options.n_fds = 1;
	{
		g_autofree char *script = g_strdup_printf("echo >/proc/self/fd/%d; exec sleep 1000", ends[1]);

		g_assert_cmpint(run_shell(script, &options, &run), ==, 0);
	}
	g_assert_true(run.cancelled && run.is_gone && !run.timed_out);
	close(ends[0]);
	close(ends[1]);
	bell_ring(bell);
	options.cancel_fd = bell;
	options.n_fds = 0;
	g_assert_cmpint(run_shell("true", &options, &none), ==, -ECANCELED);
}

/* One that computes until it is killed is told from one that sleeps. */
static void test_cpu_time(void)
{
	const QemuRunOptions options = {.timeout_usec = 2 * USEC_PER_SEC, .cancel_fd = -1};
	g_auto(QemuRun) busy = {0}, idle = {0};

	g_assert_cmpint(run_shell("while :; do :; done", &options, &busy), ==, 0);
	g_assert_cmpint(run_shell("exec sleep 1000", &options, &idle), ==, 0);
	g_assert_true(busy.timed_out && idle.timed_out);
	g_assert_cmpuint(busy.cpu_usec, >, 0);
	g_assert_cmpuint(busy.cpu_usec, >, idle.cpu_usec);
}

int main(int argc, char *argv[])
{
	g_test_init(&argc, &argv, NULL);
	/* As in roostd: a child may be gone when it is written to. */
	signal(SIGPIPE, SIG_IGN);
	g_test_add_func("/run/answer", test_answer);
	g_test_add_func("/run/goodbye", test_goodbye);
	g_test_add_func("/run/input-stays-open", test_input_stays_open);
	g_test_add_func("/run/large-answer", test_large_answer);
	g_test_add_func("/run/cancel", test_cancel);
	g_test_add_func("/run/cpu-time", test_cpu_time);
	return g_test_run();
}
