/* The run-time folder: one folder for each VM, and the record of its process. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config-text.h"
#include "store/definition.h"
#include "util/fd.h"

#define UUID  "11111111-1111-4111-8111-111111111111"
#define OTHER "22222222-2222-4222-8222-222222222222"

typedef struct Fixture {
	char *path;
	RuntimeDir *dir;
	char *vm;
} Fixture;

static void fixture_setup(Fixture *f, gconstpointer unused)
{
	g_autofree char *root = g_dir_make_tmp("roost-run-XXXXXX", NULL);
	g_autofree char *complaint = NULL, *expected = NULL;

	f->path = g_build_filename(root, "run", "roost", NULL);
	g_assert_cmpint(runtime_dir_open(f->path, &f->dir, &complaint), ==, 0);
	g_assert_cmpint(runtime_dir_make_vm(f->dir, UUID, &f->vm), ==, 0);
	expected = g_build_filename(f->path, "vm", UUID, NULL);
	g_assert_cmpstr(f->vm, ==, expected);
}

static void fixture_teardown(Fixture *f, gconstpointer unused)
{
	g_autofree char *run = g_path_get_dirname(f->path), *root = g_path_get_dirname(run);
	g_autofree char *vms = g_build_filename(f->path, "vm", NULL);

	g_assert_cmpint(runtime_dir_remove_vm(f->dir, UUID), ==, 0);
	g_assert_null(runtime_dir_free(f->dir));
	g_assert_cmpint(rmdir(vms), ==, 0);
	g_assert_cmpint(rmdir(f->path), ==, 0);
	g_assert_cmpint(rmdir(run), ==, 0);
	g_assert_cmpint(rmdir(root), ==, 0);
	g_free(f->path);
	g_free(f->vm);
}

static void put_file(const Fixture *f, const char *name, const char *text)
{
	g_autofree char *path = g_build_filename(f->vm, name, NULL);

	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static bool has_file(const Fixture *f, const char *name)
{
	g_autofree char *path = g_build_filename(f->vm, name, NULL);
	struct stat st;

	return lstat(path, &st) == 0;
}

static void test_modes(Fixture *f, gconstpointer unused)
{
	const ProcessRecord record = {.pid = 1, .accelerator = VM_ACCELERATOR_KVM};
	g_autofree char *file = g_build_filename(f->vm, "process", NULL);
	struct stat st;

	g_assert_cmpint(runtime_dir_write_process(f->dir, UUID, &record), ==, 0);
	g_assert_cmpint(stat(f->path, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0700);
	g_assert_cmpint(stat(f->vm, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0700);
	g_assert_cmpint(stat(file, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
}

static void test_made_again(Fixture *f, gconstpointer unused)
{
	g_autofree char *socket_path = g_build_filename(f->vm, "qmp", NULL), *again = NULL;
	autofd int fd = fd_listen_unix(socket_path);

	g_assert_cmpint(fd, >=, 0);
	put_file(f, "process", "x");
	put_file(f, ".tmp-process-3", "x");
	g_assert_cmpint(runtime_dir_make_vm(f->dir, UUID, &again), ==, 0);
	g_assert_cmpstr(again, ==, f->vm);
	g_assert_false(has_file(f, "qmp"));
	g_assert_false(has_file(f, ".tmp-process-3"));
	g_assert_true(has_file(f, "process"));
}

static void test_remove(Fixture *f, gconstpointer unused)
{
	g_autofree char *inner = g_build_filename(f->vm, "inner", NULL);

	put_file(f, "process", "x");
	put_file(f, "anything", "x");
	g_assert_cmpint(mkdir(inner, 0700), ==, 0);
	g_assert_cmpint(runtime_dir_remove_vm(f->dir, UUID), ==, -EISDIR);
	g_assert_cmpint(rmdir(inner), ==, 0);
	g_assert_cmpint(runtime_dir_remove_vm(f->dir, UUID), ==, 0);
	g_assert_false(g_file_test(f->vm, G_FILE_TEST_EXISTS));
	g_assert_cmpint(runtime_dir_remove_vm(f->dir, UUID), ==, 0);
}

static void test_bad_uuids(Fixture *f, gconstpointer unused)
{
	static const char *const bad[] = {"", ".", "..", "../vm", "11111111111141118111111111111111",
		"11111111-1111-4111-8111-11111111111A"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		ProcessRecord record;
		char *path = NULL;

		g_assert_cmpint(runtime_dir_make_vm(f->dir, bad[i], &path), ==, -EINVAL);
		g_assert_cmpint(runtime_dir_remove_vm(f->dir, bad[i]), ==, -EINVAL);
		g_assert_cmpint(runtime_dir_read_process(f->dir, bad[i], &record), ==, -EINVAL);
	}
}

static void test_link_refused(Fixture *f, gconstpointer unused)
{
	g_autofree char *link = g_build_filename(f->path, "vm", OTHER, NULL);
	char *path = NULL;

	g_assert_cmpint(symlink(f->vm, link), ==, 0);
	put_file(f, "process", "x");
	g_assert_cmpint(runtime_dir_make_vm(f->dir, OTHER, &path), ==, -ENOTDIR);
	g_assert_cmpint(runtime_dir_remove_vm(f->dir, OTHER), ==, -ENOTDIR);
	g_assert_true(has_file(f, "process"));
	g_assert_cmpint(unlink(link), ==, 0);
}

static void test_record(Fixture *f, gconstpointer unused)
{
	for (unsigned i = 0; i < 200; i++) {
		const ProcessRecord record = {.pid = g_test_rand_int_range(1, G_MAXINT32),
			.start_time = (uint64_t)g_test_rand_int_range(0, G_MAXINT32) << 31,
			.epoch = i,
			.accelerator = (VmAccelerator)(i % VM_ACCELERATOR_MAX)};
		ProcessRecord back;

		g_assert_cmpint(runtime_dir_write_process(f->dir, UUID, &record), ==, 0);
		g_assert_cmpint(runtime_dir_read_process(f->dir, UUID, &back), ==, 0);
		g_assert_cmpint(back.pid, ==, record.pid);
		g_assert_cmpuint(back.start_time, ==, record.start_time);
		g_assert_cmpuint(back.epoch, ==, record.epoch);
		g_assert_cmpint(back.accelerator, ==, record.accelerator);
	}
}

static void test_record_missing(Fixture *f, gconstpointer unused)
{
	ProcessRecord record;

	g_assert_cmpint(runtime_dir_read_process(f->dir, UUID, &record), ==, -ENOENT);
	g_assert_cmpint(runtime_dir_read_process(f->dir, OTHER, &record), ==, -ENOENT);
	record = (ProcessRecord){.pid = 1};
	g_assert_cmpint(runtime_dir_write_process(f->dir, OTHER, &record), ==, -ENOENT);
}

#define RECORD(pid, start, epoch, accelerator)                                                               \
	"{\"PID\": " pid ", \"StartTime\": " start ", \"Epoch\": " epoch ", \"Accelerator\": " accelerator "}"

static void test_record_damaged(Fixture *f, gconstpointer unused)
{
	static const char *const texts[] = {"", "x", "[]", "{}", "{\"PID\": 1}",
		RECORD("0", "1", "1", "\"kvm\""), RECORD("-1", "1", "1", "\"kvm\""),
		RECORD("2147483648", "1", "1", "\"kvm\""), RECORD("1.5", "1", "1", "\"kvm\""),
		RECORD("\"1\"", "1", "1", "\"kvm\""), RECORD("1", "-1", "1", "\"kvm\""),
		RECORD("1", "1", "null", "\"kvm\""), RECORD("1", "1", "1", "1"),
		RECORD("1", "1", "1", "\"vax\""), RECORD("1", "1", "1", "\"kvm\"") "}"};
	g_autofree char *large = g_strnfill(5000, ' '), *path = g_build_filename(f->vm, "process", NULL);
	ProcessRecord record = {.pid = -7};

	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		put_file(f, "process", texts[i]);
		g_assert_cmpint(runtime_dir_read_process(f->dir, UUID, &record), ==, -EBADMSG);
	}
	put_file(f, "process", large);
	g_assert_cmpint(runtime_dir_read_process(f->dir, UUID, &record), ==, -EBADMSG);
	g_assert_cmpint(unlink(path), ==, 0);
	g_assert_cmpint(symlink("/etc/passwd", path), ==, 0);
	g_assert_cmpint(runtime_dir_read_process(f->dir, UUID, &record), ==, -EBADMSG);
	g_assert_cmpint(record.pid, ==, -7);
	/* It is replaced, not written through. */
	record = (ProcessRecord){.pid = 5, .accelerator = VM_ACCELERATOR_TCG};
	g_assert_cmpint(runtime_dir_write_process(f->dir, UUID, &record), ==, 0);
	g_assert_false(g_file_test(path, G_FILE_TEST_IS_SYMLINK));
}

/* ---- definitions ---- */
static void test_definition(Fixture *f, gconstpointer unused)
{
	g_autoptr(VmConfig) config =
		config_from_text("{" BASE ", 'UUID': <'" UUID "'>, 'Description': <'a\"b'>}");
	Definition written = {
		.config = config, .owner_uid = 7, .revision = 3, .bound_to = (char *)"0123 :1.5"};
	g_auto(Definition) none = {0}, read = {0}, running = {0};

	g_assert_cmpint(
		runtime_dir_read_definition(f->dir, UUID, RUNTIME_DEFINITION_RUNNING, &none), ==, -ENOENT);
	g_assert_cmpint(
		runtime_dir_write_definition(f->dir, UUID, RUNTIME_DEFINITION_TRANSIENT, &written), ==, 0);
	g_assert_cmpint(
		runtime_dir_read_definition(f->dir, UUID, RUNTIME_DEFINITION_RUNNING, &none), ==, -ENOENT);
	written.bound_to = NULL;
	g_assert_cmpint(
		runtime_dir_write_definition(f->dir, UUID, RUNTIME_DEFINITION_RUNNING, &written), ==, 0);
	g_assert_cmpint(
		runtime_dir_read_definition(f->dir, UUID, RUNTIME_DEFINITION_TRANSIENT, &read), ==, 0);
	g_assert_cmpint(
		runtime_dir_read_definition(f->dir, UUID, RUNTIME_DEFINITION_RUNNING, &running), ==, 0);
	g_assert_true(vm_config_equal(read.config, config));
	g_assert_cmpuint(read.owner_uid, ==, 7);
	g_assert_cmpuint(read.revision, ==, 3);
	g_assert_cmpstr(read.bound_to, ==, "0123 :1.5");
	g_assert_null(running.bound_to);
	g_assert_cmpint(runtime_dir_write_definition(f->dir, OTHER, RUNTIME_DEFINITION_RUNNING, &written), ==,
		-ENOENT);
}

static void test_definition_damaged(Fixture *f, gconstpointer unused)
{
	static const char *const texts[] = {"", "{", "[]", "{\"FormatVersion\": 9}",
		"{\"FormatVersion\": 1, \"OwnerUID\": 0, \"Revision\": 1, \"BoundTo\": 5, \"Config\": "
		"{\"Name\": "
		"\"web\", \"Memory\": 1073741824, \"UUID\": \"" UUID "\"}}",
		/* Another VM's. */
		"{\"FormatVersion\": 1, \"OwnerUID\": 0, \"Revision\": 1, \"Config\": {\"Name\": \"web\", "
		"\"Memory\": 1073741824, \"UUID\": \"" OTHER "\"}}"};

	for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
		Definition read = {0};

		put_file(f, "running", texts[i]);
		g_assert_cmpint(runtime_dir_read_definition(f->dir, UUID, RUNTIME_DEFINITION_RUNNING, &read),
			==, -EBADMSG);
		g_assert_null(read.config);
		g_assert_null(read.bound_to);
	}
}

static void test_nvram(Fixture *f, gconstpointer unused)
{
	g_autofree char *template = g_build_filename(f->vm, "template", NULL), *path = NULL, *text = NULL;

	put_file(f, "template", "variables");
	g_assert_cmpint(runtime_dir_make_nvram(f->dir, OTHER, template, &path), ==, 0);
	g_assert_true(g_str_has_suffix(path, "/vm/" OTHER "/nvram"));
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	g_assert_cmpstr(text, ==, "variables");
	g_assert_cmpint(runtime_dir_remove_vm(f->dir, OTHER), ==, 0);
	g_clear_pointer(&path, g_free);
	g_assert_cmpint(runtime_dir_make_nvram(f->dir, OTHER, "/nowhere", &path), ==, -ENOENT);
	g_assert_null(path);
	g_assert_cmpint(runtime_dir_remove_vm(f->dir, OTHER), ==, 0);
}

static void test_cannot_open(Fixture *f, gconstpointer unused)
{
	g_autofree char *file = g_build_filename(f->vm, "process", NULL);
	g_autofree char *complaint = NULL;
	RuntimeDir *dir = NULL;

	put_file(f, "process", "x");
	g_assert_cmpint(runtime_dir_open(file, &dir, &complaint), ==, -ENOTDIR);
	g_assert_true(g_str_has_prefix(complaint, file));
	g_assert_null(dir);
}

#define ADD(name, func) g_test_add(name, Fixture, NULL, fixture_setup, func, fixture_teardown)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("/runtime-dir/modes", test_modes);
	ADD("/runtime-dir/made-again", test_made_again);
	ADD("/runtime-dir/remove", test_remove);
	ADD("/runtime-dir/bad-uuids", test_bad_uuids);
	ADD("/runtime-dir/link-refused", test_link_refused);
	ADD("/runtime-dir/record", test_record);
	ADD("/runtime-dir/record-missing", test_record_missing);
	ADD("/runtime-dir/record-damaged", test_record_damaged);
	ADD("/runtime-dir/definition", test_definition);
	ADD("/runtime-dir/definition-damaged", test_definition_damaged);
	ADD("/runtime-dir/nvram", test_nvram);
	ADD("/runtime-dir/cannot-open", test_cannot_open);
	return g_test_run();
}
