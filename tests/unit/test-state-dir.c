/* The state folder: durable, locked, and opened whatever is found in it. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/definition-json.h"
#include "store/definition.h"
#include "util/fd.h"

#define UUID_1 "11111111-1111-4111-8111-111111111111"
#define UUID_2 "22222222-2222-4222-8222-222222222222"
#define UUID_3 "33333333-3333-4333-8333-333333333333"

/* ---- a folder of our own ---- */
typedef struct Fixture {
	char *path;
	char *vms;
} Fixture;

static void fixture_setup(Fixture *f, gconstpointer unused)
{
	f->path = g_dir_make_tmp("roost-state-XXXXXX", NULL);
	g_assert_nonnull(f->path);
	f->vms = g_build_filename(f->path, "vms", NULL);
}

static void remove_tree(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		if (g_file_test(child, G_FILE_TEST_IS_SYMLINK) || !g_file_test(child, G_FILE_TEST_IS_DIR))
			g_assert_cmpint(unlink(child), ==, 0);
		else
			remove_tree(child);
	}
	g_assert_cmpint(rmdir(path), ==, 0);
}

static void fixture_teardown(Fixture *f, gconstpointer unused)
{
	remove_tree(f->path);
	g_free(f->path);
	g_free(f->vms);
}

static StateDir *open_dir(const char *path)
{
	g_autofree char *complaint = NULL;
	StateDir *dir = NULL;
	int r = state_dir_open(path, &dir, &complaint);

	g_assert_cmpstr(complaint, ==, NULL);
	g_assert_cmpint(r, ==, 0);
	return dir;
}

static VmConfig *make_config(const char *name, const char *uuid)
{
	g_autofree char *text =
		g_strdup_printf("{'Name': <'%s'>, 'UUID': <'%s'>, 'Memory': <uint64 1048576>}", name, uuid);
	g_autoptr(GVariant) dict = g_variant_parse(NULL, text, NULL, NULL, NULL);
	g_autofree char *complaint = NULL;
	VmConfig *config = NULL;

	g_assert_cmpint(vm_config_new_from_variant(dict, &config, &complaint), ==, 0);
	return config;
}

static void write_definition(StateDir *dir, const char *name, const char *uuid, uint64_t revision)
{
	g_autoptr(VmConfig) config = make_config(name, uuid);

	g_assert_cmpint(state_dir_write(dir, config, 1000, revision), ==, 0);
}

static char *make_json(const char *name, const char *uuid)
{
	Definition definition = {.config = make_config(name, uuid), .owner_uid = 0, .revision = 1};
	size_t size;
	char *text = definition_to_json(&definition, &size);

	vm_config_unref(definition.config);
	return text;
}

static void put_file(const Fixture *f, const char *name, const char *data, size_t size)
{
	g_autofree char *path = g_build_filename(f->vms, name, NULL);

	g_assert_cmpint(g_mkdir_with_parents(f->vms, 0700), ==, 0);
	g_assert_true(g_file_set_contents(path, data, (gssize)size, NULL));
}

static bool has_file(const Fixture *f, const char *name)
{
	g_autofree char *path = g_build_filename(f->vms, name, NULL);
	struct stat st;

	return lstat(path, &st) == 0;
}

/* What was read, as "name:owner:revision ...". */
static void note_definition(Definition *definition, void *user)
{
	g_string_append_printf(user, "%s:%u:%u ", definition->config->name, definition->owner_uid,
		(unsigned)definition->revision);
}

static void assert_loads(StateDir *dir, const char *expected)
{
	g_autoptr(GString) text = g_string_new(NULL);

	g_assert_cmpint(state_dir_load(dir, note_definition, text), ==, 0);
	g_assert_cmpstr(text->str, ==, expected);
}

static unsigned count_files(const Fixture *f)
{
	g_autoptr(GDir) dir = g_dir_open(f->vms, 0, NULL);
	unsigned n = 0;

	while (g_dir_read_name(dir))
		n++;
	return n;
}

/* ---- the plain way ---- */
static void test_write_load_remove(Fixture *f, gconstpointer unused)
{
	StateDir *dir = open_dir(f->path);
	g_autofree char *file = g_build_filename(f->vms, UUID_1 ".json", NULL);
	struct stat st;

	assert_loads(dir, "");
	write_definition(dir, "b", UUID_2, 1);
	write_definition(dir, "a", UUID_1, 1);
	assert_loads(dir, "a:1000:1 b:1000:1 ");
	write_definition(dir, "a2", UUID_1, 2);
	assert_loads(dir, "a2:1000:2 b:1000:1 ");
	g_assert_cmpint(stat(file, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
	g_assert_cmpuint(count_files(f), ==, 2);

	g_assert_cmpint(state_dir_remove(dir, UUID_1), ==, 0);
	g_assert_cmpint(state_dir_remove(dir, UUID_1), ==, -ENOENT);
	g_assert_cmpint(state_dir_remove(dir, "../lock"), ==, -EINVAL);
	assert_loads(dir, "b:1000:1 ");
	g_assert_null(state_dir_free(dir));

	dir = open_dir(f->path);
	assert_loads(dir, "b:1000:1 ");
	state_dir_free(dir);
	g_assert_null(state_dir_free(NULL));
}

static void test_made_with_parents(Fixture *f, gconstpointer unused)
{
	g_autofree char *path = g_build_filename(f->path, "a", "b", "c", NULL);
	g_autofree char *parent = g_path_get_dirname(path);
	StateDir *dir = open_dir(path);
	struct stat st;

	g_assert_cmpint(stat(parent, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0700);
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0700);
	write_definition(dir, "a", UUID_1, 1);
	assert_loads(dir, "a:1000:1 ");
	state_dir_free(dir);
}

static void test_cannot_open(Fixture *f, gconstpointer unused)
{
	g_autofree char *file = g_build_filename(f->path, "file", NULL);
	g_autofree char *below = g_build_filename(file, "dir", NULL);
	g_autofree char *complaint = NULL, *below_complaint = NULL, *vms_complaint = NULL;
	StateDir *dir = NULL;

	g_assert_true(g_file_set_contents(file, "x", 1, NULL));
	g_assert_cmpint(state_dir_open(file, &dir, &complaint), ==, -ENOTDIR);
	g_assert_true(g_str_has_prefix(complaint, file));
	g_assert_cmpint(state_dir_open(below, &dir, &below_complaint), ==, -ENOTDIR);
	g_assert_true(g_str_has_prefix(below_complaint, below));

	/* Definitions are not looked for where a link leads. */
	g_assert_cmpint(symlink("/tmp", f->vms), ==, 0);
	g_assert_cmpint(state_dir_open(f->path, &dir, &vms_complaint), ==, -ENOTDIR);
	g_assert_true(g_str_has_prefix(vms_complaint, f->vms));
	g_assert_null(dir);
}

/* ---- the lock ---- */
static void test_lock(Fixture *f, gconstpointer unused)
{
	StateDir *dir = open_dir(f->path), *second = NULL;
	g_autofree char *complaint = NULL, *expected = NULL;

	g_assert_cmpint(state_dir_open(f->path, &second, &complaint), ==, -EWOULDBLOCK);
	g_assert_null(second);
	expected = g_strdup_printf("%s: another roostd has this state folder", f->path);
	g_assert_cmpstr(complaint, ==, expected);

	g_setenv("ROOST_TEST_STATE_DIR", f->path, TRUE);
	g_test_trap_subprocess("/state-dir/lock/subprocess/refused", 0, 0);
	g_test_trap_assert_passed();
	state_dir_free(dir);

	/* A process that ends without giving it back, gives it back. */
	g_test_trap_subprocess("/state-dir/lock/subprocess/killed", 0, 0);
	g_test_trap_assert_failed();
	dir = open_dir(f->path);
	assert_loads(dir, "a:1000:1 ");
	state_dir_free(dir);
}

static void test_lock_refused(void)
{
	g_autofree char *complaint = NULL;
	StateDir *dir = NULL;

	g_assert_cmpint(state_dir_open(g_getenv("ROOST_TEST_STATE_DIR"), &dir, &complaint), ==, -EWOULDBLOCK);
}

static void test_lock_killed(void)
{
	StateDir *dir;

	dir = open_dir(g_getenv("ROOST_TEST_STATE_DIR"));
	write_definition(dir, "a", UUID_1, 1);
	raise(SIGKILL);
}

/* ---- crashes and full disks ---- */
static void test_crash_between_write_and_rename(Fixture *f, gconstpointer unused)
{
	g_autofree char *newer = make_json("newer", UUID_1);
	StateDir *dir = open_dir(f->path);

	write_definition(dir, "older", UUID_1, 1);
	state_dir_free(dir);
	put_file(f, ".tmp-" UUID_1 ".json-7", newer, strlen(newer));
	put_file(f, ".tmp-" UUID_2 ".json-0", newer, 20);
	dir = open_dir(f->path);
	assert_loads(dir, "older:1000:1 ");
	g_assert_cmpuint(count_files(f), ==, 1);
	/* One that a crash has left in the meantime is in nobody's way. */
	for (unsigned i = 0; i < 8; i++) {
		g_autofree char *name = g_strdup_printf(".tmp-" UUID_1 ".json-%u", i);

		put_file(f, name, "x", 1);
	}
	write_definition(dir, "newest", UUID_1, 2);
	assert_loads(dir, "newest:1000:2 ");
	state_dir_free(dir);
}

static void test_disk_full(Fixture *f, gconstpointer unused)
{
	g_autoptr(VmConfig) config = make_config("newer", UUID_1);
	StateDir *dir = open_dir(f->path);
	struct rlimit old, low;
	int r;

	write_definition(dir, "older", UUID_1, 1);
	g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
	low = old;
	low.rlim_cur = 100;
	signal(SIGXFSZ, SIG_IGN);
	g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &low), ==, 0);
	r = state_dir_write(dir, config, 0, 2);
	g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
	signal(SIGXFSZ, SIG_DFL);

	g_assert_cmpint(r, ==, -EFBIG);
	g_assert_cmpuint(count_files(f), ==, 1);
	assert_loads(dir, "older:1000:1 ");
	state_dir_free(dir);
}

/* ---- what does not belong there ---- */
static void test_damaged(Fixture *f, gconstpointer unused)
{
	g_autofree char *good = make_json("good", UUID_1), *large = g_strnfill(DEFINITION_JSON_MAX + 1, ' ');
	static const char *const texts[][2] = {
		{"aaaaaaaa-0000-4000-8000-000000000000.json", ""},
		{"aaaaaaaa-0000-4000-8000-000000000001.json", "hello"},
		{"aaaaaaaa-0000-4000-8000-000000000002.json", "{\"FormatVersion\": 1}"},
		{"aaaaaaaa-0000-4000-8000-000000000003.json", "[]"},
		{"not-a-uuid.json", "{}"},
		{"\n\xff.json", "{}"},
	};
	StateDir *dir;

	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		put_file(f, texts[i][0], texts[i][1], strlen(texts[i][1]));
	put_file(f, "cut.json", good, strlen(good) / 2);
	put_file(f, "large.json", large, strlen(large));
	put_file(f, UUID_2 ".json", good, strlen(good));
	put_file(f, UUID_1 ".json", good, strlen(good));
	dir = open_dir(f->path);
	assert_loads(dir, "good:0:1 ");
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autofree char *aside = g_strconcat(texts[i][0], ".damaged", NULL);

		g_assert_false(has_file(f, texts[i][0]));
		g_assert_true(has_file(f, aside));
	}
	g_assert_true(has_file(f, "cut.json.damaged"));
	g_assert_true(has_file(f, "large.json.damaged"));
	g_assert_true(has_file(f, UUID_2 ".json.damaged"));
	g_assert_true(has_file(f, UUID_1 ".json"));

	/* Again: what was set aside stays, and is not written over by the next. */
	put_file(f, UUID_2 ".json", "x", 1);
	assert_loads(dir, "good:0:1 ");
	put_file(f, UUID_2 ".json", "y", 1);
	assert_loads(dir, "good:0:1 ");
	g_assert_true(has_file(f, UUID_2 ".json.damaged.1"));
	g_assert_true(has_file(f, UUID_2 ".json.damaged.2"));
	/* Its place is free. */
	write_definition(dir, "two", UUID_2, 1);
	assert_loads(dir, "good:0:1 two:1000:1 ");
	state_dir_free(dir);
}

static void test_damaged_is_logged(Fixture *f, gconstpointer unused)
{
	put_file(f, UUID_1 ".json", "{\"FormatVersion\"", 16);
	g_setenv("ROOST_TEST_STATE_DIR", f->path, TRUE);
	g_unsetenv("JOURNAL_STREAM");
	g_test_trap_subprocess("/state-dir/logged/subprocess", 0, 0);
	g_test_trap_assert_passed();
	g_test_trap_assert_stderr(
		"roostd: */vms/" UUID_1 ".json: not a usable definition: is not JSON, or not all of it; "
		"set aside as " UUID_1 ".json.damaged\n");
}

static void test_logged_child(void)
{
	StateDir *dir;

	dir = open_dir(g_getenv("ROOST_TEST_STATE_DIR"));
	assert_loads(dir, "");
	state_dir_free(dir);
}

static void test_same_name(Fixture *f, gconstpointer unused)
{
	g_autofree char *one = make_json("web", UUID_1), *two = make_json("web", UUID_2);
	StateDir *dir;

	put_file(f, UUID_2 ".json", two, strlen(two));
	put_file(f, UUID_1 ".json", one, strlen(one));
	dir = open_dir(f->path);
	assert_loads(dir, "web:0:1 ");
	g_assert_true(has_file(f, UUID_1 ".json"));
	g_assert_true(has_file(f, UUID_2 ".json.damaged"));
	state_dir_free(dir);
}

static void test_left_alone(Fixture *f, gconstpointer unused)
{
	static const char *const names[] = {"dir.json", "fifo.json", "link.json", "dangling.json",
		UUID_3 ".json", "notes.txt", ".hidden.json", "x.json.damaged", "socket.json"};
	g_autofree char *good = make_json("good", UUID_1),
			*elsewhere = g_build_filename(f->path, "elsewhere", NULL);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autofd int fd = -1, socket_fd = -1;
	StateDir *dir;

	put_file(f, "notes.txt", "x", 1);
	put_file(f, ".hidden.json", "x", 1);
	put_file(f, "x.json.damaged", "x", 1);
	fd = open(f->vms, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	g_assert_cmpint(mkdirat(fd, "dir.json", 0700), ==, 0);
	g_assert_cmpint(mkdirat(fd, UUID_3 ".json", 0700), ==, 0);
	g_assert_cmpint(mkfifoat(fd, "fifo.json", 0600), ==, 0);
	g_assert_true(g_file_set_contents(elsewhere, good, -1, NULL));
	g_assert_cmpint(symlinkat(elsewhere, fd, "link.json"), ==, 0);
	g_assert_cmpint(symlinkat("nowhere", fd, "dangling.json"), ==, 0);
	socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_snprintf(address.sun_path, sizeof address.sun_path, "%s/socket.json", f->vms);
	g_assert_cmpint(bind(socket_fd, (struct sockaddr *)&address, sizeof address), ==, 0);

	dir = open_dir(f->path);
	assert_loads(dir, "");
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		g_assert_true(has_file(f, names[i]));
	g_assert_cmpuint(count_files(f), ==, G_N_ELEMENTS(names));
	state_dir_free(dir);
}

static void test_newer(Fixture *f, gconstpointer unused)
{
	static const char newer[] = "{\"FormatVersion\": 2, \"Anything\": {}}";
	static const char later[] =
		"{\"FormatVersion\": 1, \"OwnerUID\": 0, \"Revision\": 1, \"Config\": "
		"{\"Name\": \"w\", \"UUID\": \"" UUID_2 "\", \"Memory\": 1048576, \"TPM\": true}}";
	g_autofree char *file = g_build_filename(f->vms, UUID_1 ".json", NULL), *text = NULL;
	g_autoptr(VmConfig) one = make_config("one", UUID_1), two = make_config("two", UUID_2);
	StateDir *dir;

	put_file(f, UUID_1 ".json", newer, strlen(newer));
	put_file(f, UUID_2 ".json", later, strlen(later));
	dir = open_dir(f->path);
	assert_loads(dir, "");
	g_assert_cmpint(state_dir_write(dir, one, 0, 1), ==, -EEXIST);
	g_assert_cmpint(state_dir_write(dir, two, 0, 1), ==, -EEXIST);
	g_assert_cmpint(state_dir_remove(dir, UUID_1), ==, -ENOENT);
	g_assert_cmpuint(count_files(f), ==, 2);
	g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
	g_assert_cmpstr(text, ==, newer);
	state_dir_free(dir);
}

#define ADD(name, func) g_test_add(name, Fixture, NULL, fixture_setup, func, fixture_teardown)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("/state-dir/write-load-remove", test_write_load_remove);
	ADD("/state-dir/made-with-parents", test_made_with_parents);
	ADD("/state-dir/cannot-open", test_cannot_open);
	ADD("/state-dir/lock", test_lock);
	g_test_add_func("/state-dir/lock/subprocess/refused", test_lock_refused);
	g_test_add_func("/state-dir/lock/subprocess/killed", test_lock_killed);
	ADD("/state-dir/crash-between-write-and-rename", test_crash_between_write_and_rename);
	ADD("/state-dir/disk-full", test_disk_full);
	ADD("/state-dir/damaged", test_damaged);
	ADD("/state-dir/damaged-is-logged", test_damaged_is_logged);
	g_test_add_func("/state-dir/logged/subprocess", test_logged_child);
	ADD("/state-dir/same-name", test_same_name);
	ADD("/state-dir/left-alone", test_left_alone);
	ADD("/state-dir/newer", test_newer);
	return g_test_run();
}
