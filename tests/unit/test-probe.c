/*
 * Probes: with scripts in QEMU's place, and with the real one where it is installed (ROOST_TEST_QEMU names
 * another).
 */
#include "qemu/probe.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qemu/probe-internal.h"
#include "util/clock.h"

#define LONG_USEC  (30 * USEC_PER_SEC)
#define SHORT_USEC (200 * USEC_PER_MSEC)

static void assert_no_children(void)
{
	g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
	g_assert_cmpint(errno, ==, ECHILD);
}

static const char *real_qemu(void)
{
	const char *binary = g_getenv("ROOST_TEST_QEMU");

	if (!binary)
		binary = "/usr/bin/qemu-system-x86_64";
	if (access(binary, X_OK) == 0)
		return binary;
	g_test_skip("there is no QEMU here");
	return NULL;
}

/* ---- capabilities: scripts that answer otherwise than QEMU ---- */
typedef struct Row {
	const char *script;
	uint64_t timeout_usec;
	int result;
	const char *complaint; /* a pattern */
} Row;

#define ASKED "*: asked for what it can do, it "

static const Row rows[] = {
	{"exit 0", LONG_USEC, -EBADMSG, "*: asked for what it can do: it does not answer qmp_capabilities"},
	{"echo 'QEMU emulator version 7.2.22'", LONG_USEC, -EBADMSG,
		"*: asked for what it can do: what it says is not QMP"},
	{"echo '{}'", LONG_USEC, -EBADMSG, "*: it does not answer qmp_capabilities"},
	{"echo first; echo 'its words' >&2; exit 3", LONG_USEC, -EIO, ASKED "exited with code 3: its words"},
	{"kill -9 $$", LONG_USEC, -EIO, ASKED "ended by signal 9"},
	{"exec sleep 1000", SHORT_USEC, -ETIMEDOUT, ASKED "was still running after 0.2 s"},
	{"exec cat", SHORT_USEC, -ETIMEDOUT, ASKED "was still running after 0.2 s"},
	{"exec >&- 2>&-; exec sleep 1000", SHORT_USEC, -ETIMEDOUT, ASKED "was still running after 0.2 s"},
	{"exec yes", LONG_USEC, -EFBIG, ASKED "said more than any QEMU has to say"},
	{"exec yes >&2", SHORT_USEC, -ETIMEDOUT, ASKED "was still running after 0.2 s: y"},
	{"printf '\\377\\376' >&2; exit 1", LONG_USEC, -EIO, ASKED "exited with code 1: *"},
	{"printf %01000d 7 >&2; exit 1", LONG_USEC, -EIO, ASKED "exited with code 1: *000..."},
};

static void check_row(const Row *row, const char *path)
{
	g_autofree char *complaint = NULL;
	QemuCapabilities *capabilities = NULL;
	int r;

	r = qemu_probe_capabilities(path, row->timeout_usec, -1, &capabilities, &complaint);
	g_test_message("%s: %d, %s", row->script, r, complaint);
	g_assert_cmpint(r, ==, row->result);
	assert_no_children();
	g_assert_null(capabilities);
	g_assert_true(g_str_has_prefix(complaint, path));
	g_assert_true(g_utf8_validate(complaint, -1, NULL));
	g_assert_true(g_pattern_match_simple(row->complaint, complaint));
}

static void test_capabilities(void)
{
	g_autofree char *dir = g_dir_make_tmp("roost-test-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "qemu", NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *script = g_strdup_printf("#!/bin/sh\n%s\n", rows[i].script);

		g_assert_true(g_file_set_contents_full(
			path, script, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0700, NULL));
		check_row(&rows[i], path);
	}
	unlink(path);
	rmdir(dir);
}

static void test_no_binary(void)
{
	g_autofree char *complaint = NULL, *why = NULL;
	QemuCapabilities *capabilities = NULL;
	bool conclusive = true;

	g_assert_cmpint(
		qemu_probe_capabilities("/nonexistent/qemu", LONG_USEC, -1, &capabilities, &complaint), ==,
		-ENOENT);
	g_assert_cmpstr(complaint, ==, "/nonexistent/qemu: No such file or directory");
	g_assert_false(qemu_probe_kvm("/nonexistent/qemu", LONG_USEC, -1, &conclusive, &why));
	g_assert_cmpstr(why, ==, "/nonexistent/qemu: No such file or directory");
	g_assert_false(conclusive);
	assert_no_children();
}

/* The firmware does what it says: where TCG runs it, KVM does. */
static void test_firmware(void)
{
	g_autofree char *why = NULL;
	const char *qemu = real_qemu();
	bool ran, conclusive = false;

	if (!qemu)
		return;
	ran = qemu_probe_accelerator(qemu, VM_ACCELERATOR_TCG, LONG_USEC, -1, &conclusive, &why);
	g_assert_cmpstr(why, ==, NULL);
	g_assert_true(ran && conclusive);
	assert_no_children();
}

static void test_firmware_out_of_time(void)
{
	g_autofree char *why = NULL;
	const char *qemu = real_qemu();
	bool conclusive = true;

	if (!qemu)
		return;
	g_assert_false(qemu_probe_accelerator(qemu, VM_ACCELERATOR_TCG, 1, -1, &conclusive, &why));
	g_assert_true(g_pattern_match_simple("*still running after 0.0 s*", why));
	/* It has had no time to show anything. */
	g_assert_false(conclusive);
	assert_no_children();
}

/* Whatever is true of this host: an answer in time, and nothing left behind. */
static void test_kvm(void)
{
	const uint64_t timeout_usec = 2 * USEC_PER_SEC;
	g_autofree char *why = NULL;
	const char *qemu = real_qemu();
	uint64_t start_usec;
	bool ran, conclusive;

	if (!qemu)
		return;
	start_usec = clock_monotonic_usec();
	ran = qemu_probe_kvm(qemu, timeout_usec, -1, &conclusive, &why);
	g_test_message("KVM: %s after %.3f s", ran ? "runs" : why,
		(double)(clock_monotonic_usec() - start_usec) / USEC_PER_SEC);
	g_assert_true(ran == (why == NULL));
	g_assert_cmpuint(clock_monotonic_usec() - start_usec, <, timeout_usec + 10 * USEC_PER_SEC);
	assert_no_children();
}

int main(int argc, char *argv[])
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/probe/capabilities", test_capabilities);
	g_test_add_func("/probe/no-binary", test_no_binary);
	g_test_add_func("/probe/firmware", test_firmware);
	g_test_add_func("/probe/firmware-out-of-time", test_firmware_out_of_time);
	g_test_add_func("/probe/kvm", test_kvm);
	return g_test_run();
}
