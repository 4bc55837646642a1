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

typedef struct VersionRow {
	const char *script;
	uint64_t timeout_usec;
	int result;
	const char *version;   /* when 0 */
	const char *complaint; /* a pattern, else */
} VersionRow;

static const VersionRow version_rows[] = {
	{"echo 'QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)'; echo Copyright", LONG_USEC, 0, "7.2.22"},
	{"echo 'QEMU emulator version 10.0.0'", LONG_USEC, 0, "10.0.0"},
	{"echo 'QEMU emulator version x'", LONG_USEC, -EBADMSG, .complaint = "*: QEMU emulator version x"},
	{"echo '7.2.22'", LONG_USEC, -EBADMSG, .complaint = "*exited with code 0: 7.2.22"},
	{"exit 0", LONG_USEC, -EBADMSG, .complaint = "*: no version of QEMU, exited with code 0"},
	{"echo 'first'; echo 'its words' >&2; exit 3", LONG_USEC, -EBADMSG,
		.complaint = "*exited with code 3: its words"},
	{"echo 'QEMU emulator version 7.2.22'; exit 1", LONG_USEC, -EBADMSG, .complaint = "*code 1*"},
	{"kill -9 $$", LONG_USEC, -EBADMSG, .complaint = "*ended by signal 9"},
	{"echo 'QEMU emulator version 7.2.22'; exec sleep 1000", SHORT_USEC, -ETIMEDOUT,
		.complaint = "*still running after 0.2 s*"},
	{"exec >&- 2>&-; exec sleep 1000", SHORT_USEC, -ETIMEDOUT, .complaint = "*still running after 0.2 s"},
	{"exec yes", SHORT_USEC, -ETIMEDOUT, .complaint = "*still running*: y"},
	{"printf '\\377\\376'", LONG_USEC, -EBADMSG, .complaint = "*exited with code 0: *"},
	{"printf %01000d 7", LONG_USEC, -EBADMSG, .complaint = "*000..."},
};

static void check_version(const VersionRow *row, const char *path)
{
	g_autofree char *version = NULL, *complaint = NULL;
	int r;

	r = qemu_probe_version(path, row->timeout_usec, &version, &complaint);
	g_test_message("%s: %d, %s", row->script, r, r == 0 ? version : complaint);
	g_assert_cmpint(r, ==, row->result);
	assert_no_children();
	if (row->result == 0) {
		g_assert_cmpstr(version, ==, row->version);
		g_assert_null(complaint);
		return;
	}
	g_assert_null(version);
	g_assert_true(g_str_has_prefix(complaint, path));
	g_assert_true(g_utf8_validate(complaint, -1, NULL));
	g_assert_true(g_pattern_match_simple(row->complaint, complaint));
}

static void test_version(void)
{
	g_autofree char *dir = g_dir_make_tmp("roost-test-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "qemu", NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(version_rows); i++) {
		g_autofree char *script = g_strdup_printf("#!/bin/sh\n%s\n", version_rows[i].script);

		g_assert_true(g_file_set_contents_full(
			path, script, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0700, NULL));
		check_version(&version_rows[i], path);
	}
	unlink(path);
	rmdir(dir);
}

static void test_no_binary(void)
{
	g_autofree char *version = NULL, *complaint = NULL, *why = NULL;

	g_assert_cmpint(
		qemu_probe_version("/nonexistent/qemu", LONG_USEC, &version, &complaint), ==, -ENOENT);
	g_assert_cmpstr(complaint, ==, "/nonexistent/qemu: No such file or directory");
	g_assert_false(qemu_probe_kvm("/nonexistent/qemu", LONG_USEC, &why));
	g_assert_cmpstr(why, ==, "/nonexistent/qemu: No such file or directory");
	assert_no_children();
}

static void test_real_version(void)
{
	g_autofree char *version = NULL, *complaint = NULL;
	const char *qemu = real_qemu();

	if (!qemu)
		return;
	g_assert_cmpint(qemu_probe_version(qemu, LONG_USEC, &version, &complaint), ==, 0);
	g_assert_true(g_pattern_match_simple("?*.?*.?*", version));
}

/* The firmware does what it says: where TCG runs it, KVM does. */
static void test_firmware(void)
{
	g_autofree char *why = NULL;
	const char *qemu = real_qemu();
	bool ran;

	if (!qemu)
		return;
	ran = qemu_probe_accelerator(qemu, VM_ACCELERATOR_TCG, LONG_USEC, &why);
	g_assert_cmpstr(why, ==, NULL);
	g_assert_true(ran);
	assert_no_children();
}

static void test_firmware_out_of_time(void)
{
	g_autofree char *why = NULL;
	const char *qemu = real_qemu();

	if (!qemu)
		return;
	g_assert_false(qemu_probe_accelerator(qemu, VM_ACCELERATOR_TCG, 1, &why));
	g_assert_true(g_pattern_match_simple("*still running after 0.0 s*", why));
	assert_no_children();
}

/* Whatever is true of this host: an answer in time, and nothing left behind. */
static void test_kvm(void)
{
	const uint64_t timeout_usec = 2 * USEC_PER_SEC;
	g_autofree char *why = NULL;
	const char *qemu = real_qemu();
	uint64_t start_usec;
	bool ran;

	if (!qemu)
		return;
	start_usec = clock_monotonic_usec();
	ran = qemu_probe_kvm(qemu, timeout_usec, &why);
	g_test_message("KVM: %s after %.3f s", ran ? "runs" : why,
		(double)(clock_monotonic_usec() - start_usec) / USEC_PER_SEC);
	g_assert_true(ran == (why == NULL));
	g_assert_cmpuint(clock_monotonic_usec() - start_usec, <, timeout_usec + 10 * USEC_PER_SEC);
	assert_no_children();
}

int main(int argc, char *argv[])
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/probe/version", test_version);
	g_test_add_func("/probe/no-binary", test_no_binary);
	g_test_add_func("/probe/real-version", test_real_version);
	g_test_add_func("/probe/firmware", test_firmware);
	g_test_add_func("/probe/firmware-out-of-time", test_firmware_out_of_time);
	g_test_add_func("/probe/kvm", test_kvm);
	return g_test_run();
}
