/*
 * The world of the matrix: a witness that is never touched, two VMs that are called (one off, one that runs),
 * and calls that are each made between two good ones.
 */
#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bad-input.h"

#define PROPERTIES "org.freedesktop.DBus.Properties"
#define WORK_EVERY 8

void answer_clear(Answer *answer)
{
	g_clear_pointer(&answer->error, g_free);
	g_clear_pointer(&answer->text, g_free);
	g_clear_pointer(&answer->result, g_variant_unref);
}

/* ---- calls ---- */
/* The reply among the messages from `mark` on: the client keeps all, and looks from the beginning. */
static GDBusMessage *await_from(Client *client, gsize mark, guint32 serial)
{
	for (gsize i = mark;; i++) {
		GDBusMessage *message;

		client_await_message(client, i);
		message = client_message(client, i);
		if (g_dbus_message_get_reply_serial(message) == serial)
			return message;
	}
}

static void assert_good(GDBusMessage *reply)
{
	g_autoptr(GError) error = NULL;

	g_dbus_message_to_gerror(reply, &error);
	g_assert_no_error(error);
}

static void take_answer(GDBusMessage *reply, Answer *ret)
{
	GVariant *body = g_dbus_message_get_body(reply);

	*ret = (Answer){0};
	if (g_dbus_message_get_message_type(reply) == G_DBUS_MESSAGE_TYPE_ERROR) {
		const char *text = g_dbus_message_get_arg0(reply);

		ret->error = g_strdup(g_dbus_message_get_error_name(reply));
		ret->text = g_strdup(text ? text : "");
	} else {
		ret->result = body ? g_variant_ref(body) : g_variant_ref_sink(g_variant_new("()"));
	}
}

/* The call alone. */
static void ask_plainly(World *world, const char *path, const char *interface, const char *member,
	GVariant *args, Answer *ret)
{
	gsize mark = client_mark(world->client);
	guint32 call = client_send(world->client, path, interface, member, args);

	take_answer(await_from(world->client, mark, call), ret);
}

/* It must succeed. */
static GVariant *call_well(
	World *world, const char *path, const char *interface, const char *member, GVariant *args)
{
	g_auto(Answer) answer = {0};

	ask_plainly(world, path, interface, member, args, &answer);
	if (answer.error)
		g_error("%s: %s: %s", member, answer.error, answer.text);
	return g_steal_pointer(&answer.result);
}

static GVariant *get_property(World *world, const char *path, const char *name)
{
	g_autoptr(GVariant) result =
		call_well(world, path, PROPERTIES, "Get", g_variant_new("(ss)", VM, name));
	GVariant *value;

	g_variant_get(result, "(v)", &value);
	return value;
}

/* Calls that must be answered whatever stands between them: one that is read from memory, and at times one
 * that a worker carries out. */
static guint32 send_good(World *world, bool work)
{
	return work ? client_send(
			      world->client, world->witness, VM, "SetAutostart", g_variant_new("(b)", FALSE))
		    : client_send(world->client, world->witness, PROPERTIES, "Get",
			      g_variant_new("(ss)", VM, "Name"));
}

void world_ask_fd(World *world, const char *path, const char *interface, const char *member, GVariant *args,
	int fd, Answer *ret)
{
	Client *c = world->client;
	gsize mark = client_mark(c);
	guint32 before = send_good(world, false), call, after;

	if (fd >= 0) {
		g_autoptr(GUnixFDList) fds = g_unix_fd_list_new();

		g_unix_fd_list_append(fds, fd, NULL);
		call = client_send_with_fds(c, path, interface, member, args, fds);
	} else {
		call = client_send(c, path, interface, member, args);
	}
	after = send_good(world, world->n_calls % WORK_EVERY == 0);
	assert_good(await_from(c, mark, before));
	take_answer(await_from(c, mark, call), ret);
	assert_good(await_from(c, mark, after));
	world->n_calls++;
	world->n_refused += ret->error != NULL;
}

void world_ask(World *world, const char *path, const char *interface, const char *member, GVariant *args,
	Answer *ret)
{
	world_ask_fd(world, path, interface, member, args, -1, ret);
}

void world_ping(World *world)
{
	g_variant_unref(call_well(world, PATH, "org.freedesktop.DBus.Peer", "Ping", NULL));
}

/* A problem of ValidateVM's: its key is what its text begins with. */
static void append_problem(World *world, GVariant *problem, const Culprits *culprits, GVariant *args,
	const char *type, GVariant *sent, GString *outcome)
{
	const char *key, *error, *text;
	g_autofree char *plain = NULL, *start = NULL;

	g_variant_get(problem, "(&s&s&s)", &key, &error, &text);
	text_check(error, text, culprits, sent ? sent : args);
	start = g_strdup_printf("%s: ", key);
	if (!g_str_has_prefix(text, start))
		g_error("the problem's key is '%s', its text: %s", key, text);
	plain = text_normalize(text, world->fixture->dir, type, sent);
	g_string_append_printf(
		outcome, "%s%s | %s", outcome->len ? " + " : "", text_short_error(error), plain);
}

char *world_outcome(World *world, const Answer *answer, const Culprits *culprits, GVariant *args,
	const char *type, GVariant *sent)
{
	g_autoptr(GVariant) problems = NULL;
	GString *outcome;

	if (answer->error) {
		g_autofree char *plain = text_normalize(answer->text, world->fixture->dir, type, sent);

		text_check(answer->error, answer->text, culprits, sent ? sent : args);
		return g_strdup_printf("%s | %s", text_short_error(answer->error), plain);
	}
	if (!g_variant_is_of_type(answer->result, G_VARIANT_TYPE("(a(sss))")))
		return g_strdup("ok");
	problems = g_variant_get_child_value(answer->result, 0);
	outcome = g_string_new(NULL);
	for (gsize i = 0; i < g_variant_n_children(problems); i++) {
		g_autoptr(GVariant) problem = g_variant_get_child_value(problems, i);

		append_problem(world, problem, culprits, args, type, sent, outcome);
	}
	return outcome->len ? g_string_free(outcome, FALSE) : (g_string_free(outcome, TRUE), g_strdup("ok"));
}

/* ---- VMs ---- */
static bool look_at(World *world, const char *path, GVariant **ret_config, guint64 *ret_revision)
{
	g_auto(Answer) answer = {0};

	ask_plainly(world, path, VM, "GetConfig", fixture_no_options(), &answer);
	if (answer.error)
		return false;
	g_variant_get(answer.result, "(@a{sv}t)", ret_config, ret_revision);
	return true;
}

/* Whatever its state is: afterwards it is gone, and that it is was told. */
void world_remove_vm(World *world, const char *path)
{
	g_autofree char *glob = g_strdup_printf("*'%s')", path);
	gsize mark = client_mark(world->client);
	g_auto(Answer) undefined = {0};

	ask_plainly(world, path, VM, "Undefine", fixture_no_options(), &undefined);
	if (undefined.error) {
		g_auto(Answer) killed = {0}, again = {0};

		ask_plainly(world, path, VM, "Kill", NULL, &killed);
		ask_plainly(world, path, VM, "Undefine", fixture_no_options(), &again);
	}
	client_await(world->client, mark, PATH, "VMRemoved", glob);
}

static void define_target(World *world, Target *target)
{
	g_autoptr(GVariant) result =
		call_well(world, PATH, MANAGER, "DefineVM", g_variant_new("(@a{sv})", target->config));

	g_free(target->path);
	g_variant_get(result, "(o)", &target->path);
}

static void start_target(World *world, Target *target)
{
	g_autoptr(GVariant) pid = NULL;

	if (!target->runs)
		return;
	g_variant_unref(call_well(world, target->path, VM, "Start", fixture_no_options()));
	pid = get_property(world, target->path, "PID");
	target->pid = g_variant_get_uint32(pid);
}

/* Whether it is as it was made: a change would have another revision. */
static bool is_whole(World *world, Target *target)
{
	g_autoptr(GVariant) all = NULL;
	g_auto(Answer) answer = {0};
	const char *state;
	guint64 revision;
	guint32 pid;

	ask_plainly(world, target->path, PROPERTIES, "GetAll", g_variant_new("(s)", VM), &answer);
	if (answer.error)
		return false;
	all = g_variant_get_child_value(answer.result, 0);
	g_assert_true(g_variant_lookup(all, "State", "&s", &state));
	g_assert_true(g_variant_lookup(all, "PID", "u", &pid));
	g_assert_true(g_variant_lookup(all, "ConfigRevision", "t", &revision));
	return revision == target->revision && pid == target->pid &&
	       strcmp(state, target->runs ? "running" : "off") == 0;
}

void world_restore_config(World *world, Target *target)
{
	g_autoptr(GVariant) config = NULL;
	guint64 revision;

	g_variant_unref(call_well(world, target->path, VM, "Update",
		g_variant_new("(@a{sv}@a{sv})", target->config,
			g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0))));
	g_assert_true(look_at(world, target->path, &config, &revision));
	g_assert_true(g_variant_equal(config, target->config));
	/* There and back, or not even there: calls that were refused have not changed it. */
	g_assert_true(revision == target->revision || revision == target->revision + 2);
	target->revision = revision;
}

static void mend_target(World *world, Target *target)
{
	g_auto(Answer) killed = {0};

	if (is_whole(world, target))
		return;
	ask_plainly(world, target->path, VM, "Kill", NULL, &killed);
	if (killed.error) {
		define_target(world, target);
		target->revision = 1;
	}
	world_restore_config(world, target);
	start_target(world, target);
}

void world_mend(World *world)
{
	mend_target(world, &world->off);
	mend_target(world, &world->running);
}

void world_assert_whole(World *world)
{
	g_assert_true(is_whole(world, &world->off));
	g_assert_true(is_whole(world, &world->running));
}

static void begin_target(World *world, Target *target)
{
	g_autoptr(GVariant) config = g_steal_pointer(&target->config);

	target->config = g_variant_ref(config);
	define_target(world, target);
	g_variant_unref(target->config);
	g_assert_true(look_at(world, target->path, &target->config, &target->revision));
	target->pid = 0;
	start_target(world, target);
}

/* What was refused all the time has changed nothing. */
static void end_target(World *world, Target *target)
{
	g_autoptr(GVariant) config = NULL;
	guint64 revision;

	g_assert_true(is_whole(world, target));
	g_assert_true(look_at(world, target->path, &config, &revision));
	g_assert_true(g_variant_equal(config, target->config));
	world_remove_vm(world, target->path);
	g_clear_pointer(&target->path, g_free);
}

void world_begin_round(World *world)
{
	g_clear_pointer(&world->table, table_free);
	world->table = table_new();
	world->n_calls = world->n_refused = 0;
	begin_target(world, &world->off);
	begin_target(world, &world->running);
}

void world_end_round(World *world)
{
	end_target(world, &world->running);
	end_target(world, &world->off);
	world_renew_client(world);
}

void world_renew_client(World *world)
{
	client_free(world->client);
	world->client = world->fixture->client = client_new(world->fixture->address);
}

/* ---- making it ---- */
G_GNUC_PRINTF(1, 2) static GVariant *parse_config(const char *format, ...)
{
	g_autofree char *text = NULL;
	g_autoptr(GError) error = NULL;
	GVariant *dict;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	dict = g_variant_parse(G_VARIANT_TYPE_VARDICT, text, NULL, NULL, &error);
	g_assert_no_error(error);
	return dict;
}

static void make_files(Fixture *f)
{
	g_autofree char *path = NULL;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_free(fixture_write(f, "disk", "0123456789", 10));
	g_free(fixture_write(f, "initrd", "initrd", 6));
	g_free(fixture_write(f, "empty-file", "", 0));
	g_free(fixture_write(f, "file with spaces: and more", "0123456789", 10));
	path = g_build_filename(f->dir, "folder", NULL);
	g_assert_cmpint(g_mkdir(path, 0755), ==, 0);
	g_free(path);
	path = g_build_filename(f->dir, "fifo", NULL);
	g_assert_cmpint(mkfifo(path, 0600), ==, 0);
	g_free(path);
	path = g_build_filename(f->dir, "dangling", NULL);
	g_assert_cmpint(symlink("/no/such/file", path), ==, 0);
	g_free(path);
	path = g_build_filename(f->dir, "looping", NULL);
	g_assert_cmpint(symlink(path, path), ==, 0);
	g_free(path);
	path = g_build_filename(f->dir, "socket", NULL);
	g_assert_cmpuint(strlen(path), <, sizeof address.sun_path);
	strcpy(address.sun_path, path);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
	close(fd);
}

/* What QEMU would say to commands that the stand-in does not know. */
static const char script[] =
	"on getfd return {}\non add_client return {}\non add-fd return {\"fdset-id\": 0, \"fd\": 7}\n"
	"on remove-fd return {}\non screendump return {}\non send-key return {}\n"
	"on inject-nmi return {}\nignore powerdown\n";

static GVariant *running_definition(Fixture *f)
{
	g_autofree char *path = fixture_write(f, "script", script, strlen(script));
	/* A machine that finds nothing to boot from, or the stand-in's. */
	g_autofree char *more =
		f->options.real_qemu ? g_strdup("'MachineType': <'pc'>")
				     : g_strdup_printf("'Kernel': <'%s'>, 'KernelCommandLine': <'mock=%s'>",
					       f->kernel, path);

	return parse_config(
		"{'Name': <'target-running'>, 'UUID': <'0ff0ff00-0000-4000-8000-000000000002'>, "
		"'Memory': <uint64 33554432>, 'Accelerator': <'tcg'>, 'Display': <'vnc'>, 'Consoles': "
		"<[@a{sv} {}]>, %s}",
		more);
}

static void make_definitions(World *world)
{
	Fixture *f = world->fixture;

	world->base =
		g_variant_ref_sink(parse_config("{'Name': <'other'>, 'Memory': <uint64 67108864>, "
						"'Accelerator': <'tcg'>, 'Kernel': <'%s/kernel'>, "
						"'Initrd': <'%s/initrd'>, 'KernelCommandLine': <'quiet'>, "
						"'Watchdog': <'i6300esb'>, 'Metadata': "
						"<{'a': 'b'}>, 'QemuArguments': <['-no-hpet']>, 'Disks': "
						"<[{'Path': <'%s/disk'>, 'Format': <'raw'>}]>, "
						"'NICs': <[@a{sv} {}]>, 'Consoles': <[@a{sv} {}]>}",
			f->dir, f->dir, f->dir));
	world->off = (Target){.name = "off",
		.config = g_variant_ref_sink(
			dict_put(dict_put(world->base, "Name", g_variant_new_string("target-off")), "UUID",
				g_variant_new_string("0ff0ff00-0000-4000-8000-000000000001")))};
	world->running = (Target){
		.name = "running", .runs = true, .config = g_variant_ref_sink(running_definition(f))};
}

/* The base with all keys in, as GetConfig has them, but without what must be another's. */
static void complete_base(World *world)
{
	g_autoptr(GVariant) result =
		call_well(world, PATH, MANAGER, "DefineVM", g_variant_new("(@a{sv})", world->base));
	g_autoptr(GVariant) config = NULL;
	const char *path;
	guint64 revision;

	g_variant_get(result, "(&o)", &path);
	g_assert_true(look_at(world, path, &config, &revision));
	world_remove_vm(world, path);
	g_variant_unref(world->base);
	world->base = g_variant_ref_sink(dict_put(config, "UUID", NULL));
}

/* What the service makes when it is needed for the first time, timers for example, it has from now on. */
static void warm_up(World *world)
{
	world_begin_round(world);
	g_variant_unref(call_well(world, world->running.path, VM, "Shutdown",
		g_variant_new_parsed("({'Timeout': <uint64 1>},)")));
	world_mend(world);
	world_end_round(world);
}

void world_init(World *world, const FixtureOptions *options)
{
	FixtureOptions all = options ? *options : (FixtureOptions){0};

	all.bad_commands = true;
	*world = (World){.fixture = fixture_new(&all)};
	make_files(world->fixture);
	world->client = world->fixture->client;
	world->witness = fixture_define(world->fixture, "witness", NULL, NULL);
	make_definitions(world);
	complete_base(world);
	warm_up(world);
}

void world_done(World *world)
{
	g_free(world->witness);
	g_free(world->off.path);
	g_free(world->running.path);
	g_variant_unref(world->off.config);
	g_variant_unref(world->running.config);
	g_variant_unref(world->base);
	table_free(world->table);
	fixture_free(world->fixture);
}

/* ---- the picture ---- */
static void append_file(GString *picture, const char *path)
{
	g_autofree char *data = NULL, *digest = NULL;
	struct stat st;
	gsize size = 0;

	g_assert_cmpint(lstat(path, &st), ==, 0);
	if (S_ISREG(st.st_mode) && g_file_get_contents(path, &data, &size, NULL))
		digest = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *)data, size);
	g_string_append_printf(
		picture, "%s %o %" G_GSIZE_FORMAT " %s\n", path, st.st_mode, size, digest ? digest : "");
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void append_folder(GString *picture, const char *folder)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir)))
		g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, compare_names);
	for (guint i = 0; i < names->len; i++) {
		g_autofree char *path = g_build_filename(folder, names->pdata[i], NULL);

		/* What roostd learned about QEMU meanwhile is no definition. */
		if (strcmp(names->pdata[i], "cache") == 0)
			continue;
		append_file(picture, path);
		if (g_file_test(path, G_FILE_TEST_IS_DIR) && !g_file_test(path, G_FILE_TEST_IS_SYMLINK))
			append_folder(picture, path);
	}
}

static void append_result(World *world, GString *picture, const char *path, const char *interface,
	const char *member, GVariant *args)
{
	g_autoptr(GVariant) result = call_well(world, path, interface, member, args);
	g_autofree char *text = g_variant_print(result, TRUE);

	g_string_append_printf(picture, "%s %s %s\n", path, member, text);
}

char *world_picture(World *world)
{
	static const char *const folders[] = {"state", "run"};
	GString *picture = g_string_new(NULL);

	append_result(world, picture, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL);
	append_result(world, picture, PATH, MANAGER, "ListVMs", NULL);
	append_result(world, picture, PATH, MANAGER, "ListOperations", NULL);
	append_result(world, picture, world->witness, VM, "GetConfig", fixture_no_options());
	for (gsize i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autofree char *folder = g_build_filename(world->fixture->dir, folders[i], NULL);

		append_folder(picture, folder);
	}
	return g_string_free(picture, FALSE);
}
