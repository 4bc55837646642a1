/* roostd on a user's session bus: started by the bus without a word, with all its files in the user's
 * folders, and with VMs that need no right of root. Needs root, for there to be another user. */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"

#define USER 65534

static char *make_folder(Fixture *f, const char *name)
{
	char *path = g_build_filename(f->dir, name, NULL);

	g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
	g_assert_cmpint(chown(path, USER, USER), ==, 0);
	return path;
}

/* Where the user may run it from, wherever it was built. */
static char *copy_roostd(Fixture *f)
{
	g_autoptr(GFile) from = g_file_new_for_path(g_getenv("ROOSTD")), to = NULL;
	g_autoptr(GError) error = NULL;
	char *path = g_build_filename(f->dir, "roostd", NULL);

	to = g_file_new_for_path(path);
	g_file_copy(from, to, G_FILE_COPY_NONE, NULL, NULL, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpint(g_chmod(path, 0755), ==, 0);
	return path;
}

static char *uuid_of(Client *c, const char *vm)
{
	g_autoptr(GVariant) uuid = client_get(c, vm, VM, "UUID");

	return g_variant_dup_string(uuid, NULL);
}

/* What starts it as the user, with the user's folders. */
static char *write_wrapper(Fixture *f, const char *home, const char *runtime)
{
	g_autofree char *roostd = copy_roostd(f);
	g_autofree char *text =
		g_strdup_printf("#!/bin/sh\n"
				"exec setpriv --reuid=%d --regid=%d --clear-groups "
				"env -u XDG_STATE_HOME HOME=%s XDG_RUNTIME_DIR=%s %s \"$@\"\n",
			USER, USER, home, runtime, roostd);
	char *path = fixture_write(f, "wrapper", text, strlen(text));

	g_assert_cmpint(g_chmod(path, 0755), ==, 0);
	return path;
}

/* The service file as it is installed, but for where roostd is. */
static void write_service_file(Fixture *f, const char *program)
{
	g_autofree char *text = NULL, *exec = g_strdup_printf("Exec=%s ", program);
	g_autoptr(GRegex) regex = g_regex_new("^Exec=\\S+ ", G_REGEX_MULTILINE, 0, NULL);
	g_autofree char *changed = NULL;
	g_autoptr(GError) error = NULL;

	g_file_get_contents(g_getenv("SESSION_SERVICE"), &text, NULL, &error);
	g_assert_no_error(error);
	changed = g_regex_replace_literal(regex, text, -1, 0, exec, 0, &error);
	g_assert_no_error(error);
	g_assert_nonnull(strstr(changed, exec));
	g_free(fixture_write(f, "services/" NAME ".service", changed, strlen(changed)));
}

static void assert_users(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		g_error("%s is not there", path);
	g_assert_cmpuint(st.st_uid, ==, USER);
	g_assert_cmpuint(st.st_mode & 0077, ==, 0);
}

static void test_user(void)
{
	g_autoptr(Fixture) f = fixture_new(
		&(FixtureOptions){.real_qemu = true, .activated = true, .own_service_file = true});
	g_autofree char *home = make_folder(f, "home"), *runtime = make_folder(f, "runtime");
	g_autofree char *program = write_wrapper(f, home, runtime), *vm = NULL, *uuid = NULL, *file = NULL,
			*folder = NULL;
	Client *c = f->client;

	write_service_file(f, program);
	vm = fixture_define(f, "web", NULL, "'Accelerator': <'tcg'>");
	fixture_start_vm(f, vm);
	client_assert_property(c, vm, "State", "'running'");
	uuid = uuid_of(c, vm);
	file = g_strdup_printf("%s/.local/state/roost/vms/%s.json", home, uuid);
	assert_users(file);
	folder = g_strdup_printf("%s/roost/vm/%s", runtime, uuid);
	assert_users(folder);
	client_do(c, vm, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	if (getuid() != 0) {
		g_test_message("needs root");
		return 77;
	}
	g_test_add_func("/session/user", test_user);
	return g_test_run();
}
