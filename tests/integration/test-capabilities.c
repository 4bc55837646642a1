/*
 * What QEMU can do: GetCapabilities, definitions that it can't carry out, and how often it is asked. QEMU's
 * place is taken by scripts that write down how they are started.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

/* A line in the file `starts` for each: a probe, a trial of KVM, a VM. */
#define COUNT                                                                                                \
	"case \"$*\" in *'-qmp stdio'*) s=probe;; *isa-debug-exit*) s=trial;; *) s=vm;; esac\n"              \
	"echo $s >>@DIR@/starts\n"
#define MOCK "exec @MOCK@ \"$@\"\n"

static char *read_file(Fixture *f, const char *name)
{
	g_autofree char *path = g_build_filename(f->dir, name, NULL);
	char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) ? text : g_strdup("");
}

static void assert_starts(Fixture *f, const char *expected)
{
	g_autofree char *starts = read_file(f, "starts");

	g_assert_cmpstr(starts, ==, expected);
}

static void write_cache(Fixture *f, const char *name, const char *data, gsize size)
{
	g_autofree char *file = g_build_filename("state", "cache", name, NULL);
	g_autofree char *path = fixture_write(f, file, data, size);

	g_assert_nonnull(path);
}

static GVariant *get_capabilities(Client *c)
{
	g_autoptr(GVariant) result = client_call(c, PATH, MANAGER, "GetCapabilities", fixture_no_options());

	return g_variant_get_child_value(result, 0);
}

/* Both questions have been answered. */
static void await_probes(Fixture *f)
{
	g_variant_unref(get_capabilities(f->client));
}

static void assert_words(GVariant *info, const char *key, const char *expected)
{
	g_autoptr(GVariant) words = g_variant_lookup_value(info, key, G_VARIANT_TYPE("as"));
	g_autofree char *text = words ? g_variant_print(words, FALSE) : NULL;

	g_assert_cmpstr(text, ==, expected);
}

static bool has_word(GVariant *info, const char *key, const char *word)
{
	g_autofree const char **words = NULL;

	g_assert_true(g_variant_lookup(info, key, "^a&s", &words));
	return g_strv_contains(words, word);
}

static guint64 limit(GVariant *info, const char *name)
{
	g_autoptr(GVariant) limits = g_variant_lookup_value(info, "Limits", G_VARIANT_TYPE("a{st}"));
	guint64 value;

	g_assert_nonnull(limits);
	if (!g_variant_lookup(limits, name, "t", &value))
		g_error("no limit %s", name);
	return value;
}

static void assert_manager(Client *c, const char *property, const char *expected)
{
	g_autoptr(GVariant) value = client_get(c, PATH, MANAGER, property);
	g_autofree char *text = g_variant_print(value, FALSE);

	g_assert_cmpstr(text, ==, expected);
}

static GVariant *config(const char *name, const char *more)
{
	g_autofree char *text = g_strdup_printf(
		"({'Name': <'%s'>, 'Memory': <uint64 67108864>, 'Accelerator': <'tcg'>%s%s},)", name,
		more ? ", " : "", more ? more : "");
	g_autoptr(GError) error = NULL;
	GVariant *args = g_variant_parse(G_VARIANT_TYPE("(a{sv})"), text, NULL, NULL, &error);

	g_assert_no_error(error);
	return args;
}

static char *validate(Client *c, GVariant *args)
{
	g_autoptr(GVariant) problems = client_call(c, PATH, MANAGER, "ValidateVM", args);

	return g_variant_print(problems, FALSE);
}

static void assert_glob(const char *text, const char *glob)
{
	if (!g_pattern_match_simple(glob, text))
		g_error("%s\nnot %s", text, glob);
}

/* ---- what it says ---- */
static void test_stand_in(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autoptr(GVariant) info = get_capabilities(c);

	g_assert_cmpuint(g_variant_n_children(info), ==, 5);
	assert_words(info, "MachineTypes", "['q35', 'pc']");
	assert_words(info, "CPUModels", "['max', 'base', 'qemu64', '486']");
	assert_words(info, "Displays", "['none', 'vnc']");
	g_assert_true(has_word(info, "Firmwares", "bios"));
	g_assert_true(has_word(info, "Firmwares", "uefi") ==
		      (g_file_test("/usr/share/OVMF/OVMF_CODE_4M.fd", G_FILE_TEST_EXISTS) &&
			      g_file_test("/usr/share/OVMF/OVMF_VARS_4M.fd", G_FILE_TEST_EXISTS)));
	g_assert_cmpuint(limit(info, "VCPUs"), ==, 255);
	g_assert_cmpuint(limit(info, "Memory"), ==, 16ULL << 40);
	g_assert_cmpuint(limit(info, "HostMemory"), >, 64U << 20);
	g_assert_cmpuint(limit(info, "Disks"), ==, 64);
	g_assert_cmpuint(limit(info, "NICs"), ==, 16);
	g_assert_cmpuint(limit(info, "Consoles"), ==, 8);
	g_assert_cmpuint(limit(info, "Description"), ==, 1024);
	g_assert_cmpuint(limit(info, "Definition"), ==, 256 * 1024);
	g_assert_cmpuint(limit(info, "QueuedOperations"), ==, 10);
	g_assert_cmpuint(limit(info, "CallsPerUser"), ==, 256);
	assert_manager(c, "QemuVersion", "'7.2.22'");
	assert_manager(c, "Accelerators", "['tcg']");
	client_refused(c, PATH, MANAGER, "GetCapabilities", g_variant_new_parsed("({'All': <true>},)"),
		DBUS_ERROR("InvalidArgs"), "options.All: unknown, GetCapabilities takes no options yet");
	client_refused(c, PATH, MANAGER, "GetCapabilities", NULL, DBUS_ERROR("InvalidArgs"), "*");
}

static void test_real(void)
{
	g_autoptr(Fixture) f = NULL;
	g_autoptr(GVariant) info = NULL, accelerators = NULL;
	const char **words;
	Client *c;
	bool kvm;

	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return;
	}
	f = fixture_new(&(FixtureOptions){.real_qemu = true, .deadline_scale = 3});
	c = f->client;
	info = get_capabilities(c);
	accelerators = client_get(c, PATH, MANAGER, "Accelerators");
	words = g_variant_get_strv(accelerators, NULL);
	kvm = g_strv_contains(words, "kvm");
	g_free(words);
	assert_words(info, "MachineTypes", "['q35', 'pc']");
	assert_words(info, "Displays", "['none', 'vnc']");
	g_assert_true(has_word(info, "CPUModels", "max") && has_word(info, "CPUModels", "qemu64"));
	g_assert_true(has_word(info, "CPUModels", "host") == kvm);
	client_refused(c, PATH, MANAGER, "DefineVM", config("a", "'CPUModel': <'Skylake-Serve'>"),
		ROOST_ERROR("NotSupported"),
		"CPUModel: 'Skylake-Serve' is not supported by this QEMU (*.*.*); did you mean "
		"'Skylake-Server'?");
	client_refused(c, PATH, MANAGER, "DefineVM", config("a", "'CPUModel': <'Itanium'>"),
		ROOST_ERROR("NotSupported"), "CPUModel: 'Itanium' is not supported by this QEMU (*.*.*)");
	/* It knows a model that it does not offer. */
	client_do(c, PATH, MANAGER, "DefineVM",
		config("a",
			"'CPUModel': <'Skylake-Server'>, 'RNG': <true>, 'Panic': <true>, 'Display': <'vnc'>, "
			"'Watchdog': <'i6300esb'>, 'OnWatchdog': <'inject-nmi'>, 'NICs': <[{'Model': "
			"<'e1000e'>}, "
			"{'Model': <'virtio'>}]>, 'Consoles': <[{'Type': <'virtio'>}, {'Type': "
			"<'serial'>}]>"));
	if (kvm)
		return;
	/* Whether KVM works is the host's business, and Start's. */
	client_do(c, PATH, MANAGER, "DefineVM",
		g_variant_new_parsed(
			"({'Name': <'b'>, 'Memory': <uint64 67108864>, 'CPUModel': <'host'>},)"));
	client_refused(c, PATH, MANAGER, "StartVM", g_variant_new_parsed("('b', @a{sv} {})"),
		ROOST_ERROR("NotSupported"),
		"CPUModel: 'host' needs KVM, which does not work on this host: *");
}

/* ---- what it lacks ---- */
static void test_lacking(void)
{
	static const struct {
		const char *lacking, *config, *message;
	} rows[] = {
		{"type e1000e", "'NICs': <[{'Model': <'virtio'>}, {'Model': <'e1000e'>}]>",
			"NICs[1].Model: 'e1000e' is not supported by this QEMU (7.2.22)"},
		{"machine pc", "'MachineType': <'pc'>",
			"MachineType: 'pc' is not supported by this QEMU (7.2.22)"},
		{"cpu EPYC", "'CPUModel': <'EPYC'>",
			"CPUModel: 'EPYC' is not supported by this QEMU (7.2.22)"},
		{"type qemu-xhci", "'Disks': <[{'Path': <'/d'>, 'Format': <'raw'>, 'Bus': <'usb'>}]>",
			"Disks[0].Bus: 'usb' is not supported by this QEMU (7.2.22): it has no qemu-xhci"},
		{"argument netdev_add.type=user", "'NICs': <[{'Type': <'user'>}]>",
			"NICs[0].Type: 'user' is not supported by this QEMU (7.2.22)"},
		{"argument set-action.watchdog=pause", "'Watchdog': <'i6300esb'>, 'OnWatchdog': <'pause'>",
			"OnWatchdog: 'pause' is not supported by this QEMU (7.2.22)"},
		{"command add_client", "'Display': <'vnc'>",
			"Display: 'vnc' is not supported by this QEMU (7.2.22): it has no add_client"},
		{"property x86-machine.smm", "'Firmware': <'uefi-secure'>",
			"Firmware: 'uefi-secure' is not supported by this QEMU (7.2.22): it has no "
			"x86-machine.smm"},
	};
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.qemu_script = MOCK});
	Client *c = f->client;
	gsize mark = client_mark(c);

	/* A QEMU after another: each is looked at when it is there. */
	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strdup_printf("vm%u", (unsigned)i);
		g_autofree char *script =
			g_strdup_printf("export ROOST_MOCK_LACKS='%s'\n" MOCK, rows[i].lacking);

		fixture_write_qemu(f, script);
		client_refused(c, PATH, MANAGER, "DefineVM", config("x", rows[i].config),
			ROOST_ERROR("NotSupported"), rows[i].message);
		client_do(c, PATH, MANAGER, "DefineVM", config(name, NULL));
		fixture_write_qemu(f, MOCK);
	}
	/* Nothing half-made is left, and nothing is in the way of another try. */
	g_assert_cmpuint(client_count(c, mark, client_sync(c), PATH, "VMNew", "('x', *"), ==, 0);
	client_do(c, PATH, MANAGER, "DefineVM", config("x", rows[0].config));
}

/* Update and CreateVM are no ways around it. */
static void test_lacking_otherwise(void)
{
	g_autoptr(Fixture) f =
		fixture_new(&(FixtureOptions){.qemu_script = "export ROOST_MOCK_LACKS='type e1000e'\n" MOCK});
	g_autofree char *vm = fixture_define(f, "web", NULL, NULL);
	g_autoptr(GVariant) changes = g_variant_ref_sink(g_variant_new_parsed(
		"({'NICs': <[{'Model': <'e1000e'>}]>, 'VCPUs': <uint32 2>}, @a{sv} {})"));
	g_autoptr(GVariant) create = g_variant_ref_sink(g_variant_new_parsed(
		"({'Name': <'job'>, 'Memory': <uint64 67108864>, 'Accelerator': <'tcg'>, "
		"'NICs': <[{'Model': <'e1000e'>}]>}, @a{sv} {})"));
	Client *c = f->client;

	client_refused(c, vm, VM, "Update", changes, ROOST_ERROR("NotSupported"),
		"NICs?0?.Model: 'e1000e' is not supported by this QEMU (7.2.22)");
	client_assert_property(c, vm, "VCPUs", "uint32 1");
	client_refused(c, PATH, MANAGER, "CreateVM", create, ROOST_ERROR("NotSupported"),
		"NICs?0?.Model: 'e1000e' is not supported by this QEMU (7.2.22)");
	client_refused(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "job"), ROOST_ERROR("NoSuchVM"), "*");
}

/* ValidateVM tells all that Define would, one after the other; Start of one that was defined under another
 * QEMU tells the first. */
static void test_lacking_later(void)
{
	static const char more[] = "'Display': <'vnc'>, 'RNG': <true>, 'NICs': <[{'Model': <'e1000e'>}]>";
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.qemu_script = MOCK});
	Client *c = f->client;
	g_autofree char *none = NULL, *problems = NULL;
	g_autofree char *web = fixture_define(f, "web", NULL, more);
	g_autoptr(GVariant) info = NULL;

	none = validate(c, config("x", more));
	g_assert_cmpstr(none, ==, "([],)");
	fixture_write_qemu(
		f, "export ROOST_MOCK_LACKS='type e1000e,type rng-random,command query-vnc'\n" MOCK);
	problems = validate(c, config("x", more));
	assert_glob(problems,
		"([('NICs[0].Model', 'org.roost1.Error.NotSupported', *e1000e*), ('Display', "
		"'org.roost1.Error.NotSupported', *), ('RNG', 'org.roost1.Error.NotSupported', *)],)");
	client_refused(c, web, VM, "Start", fixture_no_options(), ROOST_ERROR("NotSupported"),
		"NICs[0].Model: 'e1000e' is not supported by this QEMU (7.2.22)");
	client_assert_property(c, web, "State", "'off'");
	info = get_capabilities(c);
	assert_words(info, "Displays", "['none']");
	fixture_write_qemu(f, MOCK);
	fixture_start_vm(f, web);
}

/* ---- how often it is asked ---- */
/* A second service on the same host with the same QEMU starts nothing at its start. */
static void test_once(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.qemu_script = COUNT MOCK});
	Client *c = f->client;
	g_autofree char *path = NULL;

	await_probes(f);
	assert_starts(f, "probe\ntrial\n");
	client_do(c, PATH, MANAGER, "DefineVM", config("a", NULL));
	g_free(validate(c, config("b", NULL)));
	await_probes(f);
	assert_starts(f, "probe\ntrial\n");
	for (unsigned i = 0; i < 3; i++) {
		fixture_stop_roostd(f);
		fixture_start_roostd(f);
		await_probes(f);
		assert_manager(c, "QemuVersion", "'7.2.22'");
		client_refused(c, PATH, MANAGER, "DefineVM", config("c", "'CPUModel': <'none'>"),
			ROOST_ERROR("NotSupported"), "CPUModel: *");
	}
	assert_starts(f, "probe\ntrial\n");
	path = fixture_define(f, "web", NULL, NULL);
	fixture_start_vm(f, path);
	assert_starts(f, "probe\ntrial\nvm\n");
}

static void test_many_at_once(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){
		.qemu_script = COUNT
		"case $s in probe) while ! [ -e @DIR@/go ]; do sleep 0.02; done;; esac\n" MOCK});
	guint32 calls[20], defines[20];
	Client *c = f->client;

	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
		g_autofree char *name = g_strdup_printf("vm%u", (unsigned)i);

		calls[i] = client_send(c, PATH, MANAGER, "GetCapabilities", fixture_no_options());
		defines[i] =
			client_send(c, PATH, MANAGER, "DefineVM", config(name, "'CPUModel': <'nonsense'>"));
	}
	client_sync(c);
	g_free(fixture_write(f, "go", "", 0));
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
		g_variant_unref(client_result(c, calls[i]));
		client_expect_error(c, defines[i], ROOST_ERROR("NotSupported"), "CPUModel: 'nonsense' *");
	}
	await_probes(f);
	assert_starts(f, "probe\ntrial\n");
}

/* The package was upgraded. */
static void test_replaced(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.qemu_script = COUNT MOCK});
	Client *c = f->client;
	g_autofree char *cache = NULL, *other = NULL;
	gsize mark, changed, reply;
	guint32 serial;

	await_probes(f);
	assert_manager(c, "QemuVersion", "'7.2.22'");
	cache = read_file(f, "state/cache/qemu");
	g_assert_nonnull(strstr(cache, "\nversion 7.2.22\n"));
	fixture_write_qemu(f, COUNT "export ROOST_MOCK_VERSION=8.1.0\n" MOCK);
	mark = client_mark(c);
	serial = client_send(c, PATH, MANAGER, "GetCapabilities", fixture_no_options());
	reply = client_await_reply(c, serial);
	g_variant_unref(client_result(c, serial));
	changed = client_find(
		c, mark, reply, PATH, "PropertiesChanged", "('" MANAGER "', {'QemuVersion': <'8.1.0'>}, *");
	g_assert_cmpuint(changed, <, reply);
	assert_manager(c, "QemuVersion", "'8.1.0'");
	assert_starts(f, "probe\ntrial\nprobe\ntrial\n");
	other = read_file(f, "state/cache/qemu");
	g_assert_nonnull(strstr(other, "\nversion 8.1.0\n"));
	/* By a method that is not about it, too. */
	fixture_write_qemu(f, COUNT "export ROOST_MOCK_VERSION=9.0.1\n" MOCK);
	mark = client_mark(c);
	client_refused(c, PATH, MANAGER, "DefineVM", config("a", "'CPUModel': <'none'>"),
		ROOST_ERROR("NotSupported"), "CPUModel: 'none' is not supported by this QEMU (9.0.1)");
	client_await(c, mark, PATH, "PropertiesChanged", "('" MANAGER "', {'QemuVersion': <'9.0.1'>}, *");
	await_probes(f);
	fixture_stop_roostd(f);
	fixture_start_roostd(f);
	await_probes(f);
	assert_manager(c, "QemuVersion", "'9.0.1'");
	assert_starts(f, "probe\ntrial\nprobe\ntrial\nprobe\ntrial\n");
}

static void test_damaged_cache(void)
{
	static const char *const garbage[] = {"", "{}", "roost-cache 1\nkey \nsum \nversion 1.0.0\n"};
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.qemu_script = COUNT MOCK});
	g_autoptr(GString) expected = g_string_new("probe\ntrial\n");
	g_autofree char *cache = NULL, *large = g_strnfill(2 << 20, 'x');

	await_probes(f);
	fixture_stop_roostd(f);
	cache = read_file(f, "state/cache/qemu");
	for (gsize i = 0; i < G_N_ELEMENTS(garbage) + 3; i++) {
		g_autofree char *whole = NULL, *bad = g_strdup(cache);

		if (i < G_N_ELEMENTS(garbage)) {
			write_cache(f, "qemu", garbage[i], strlen(garbage[i]));
		} else if (i == G_N_ELEMENTS(garbage)) {
			write_cache(f, "qemu", cache, strlen(cache) / 2);
		} else if (i == G_N_ELEMENTS(garbage) + 1) {
			*strstr(bad, "7.2.22\n") = '9';
			write_cache(f, "qemu", bad, strlen(bad));
		} else {
			write_cache(f, "qemu", large, 2 << 20);
		}
		fixture_start_roostd(f);
		await_probes(f);
		assert_manager(f->client, "QemuVersion", "'7.2.22'");
		g_string_append(expected, "probe\n");
		assert_starts(f, expected->str);
		fixture_stop_roostd(f);
		whole = read_file(f, "state/cache/qemu");
		g_assert_cmpstr(whole, ==, cache);
	}
	/* That of KVM likewise. */
	write_cache(f, "kvm", "yes\n", 4);
	fixture_start_roostd(f);
	await_probes(f);
	assert_manager(f->client, "Accelerators", "['tcg']");
	g_string_append(expected, "trial\n");
	assert_starts(f, expected->str);
}

/* ---- when it does not answer ---- */
#define HANG "case $s in probe) echo $$ >@DIR@/pid; exec sleep 1000;; esac\n"

static void test_hang(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.qemu_script = COUNT HANG MOCK});
	Client *c = f->client;
	g_autofree char *web = NULL, *problems = NULL;
	guint32 call, define;

	call = client_send(c, PATH, MANAGER, "GetCapabilities", fixture_no_options());
	/* It waits as long as the probe has, and is accepted then. */
	define = client_send(c, PATH, MANAGER, "DefineVM", config("a", "'CPUModel': <'nonsense'>"));
	client_expect_error(
		c, call, ROOST_ERROR("Timeout"), "GetCapabilities: QEMU has not said in * s what it can do");
	g_variant_unref(client_result(c, define));
	client_refused(c, PATH, MANAGER, "GetCapabilities", fixture_no_options(), ROOST_ERROR("QemuFailed"),
		"*/qemu: asked for what it can do, it was still running after 10.0 s");
	problems = validate(c, config("b", NULL));
	assert_glob(problems, "([('*', 'org.roost1.Error.QemuFailed', '*was still running after 10.0 s')],)");
	assert_manager(c, "QemuVersion", "''");
	assert_manager(c, "Accelerators", "[]");
	/* It does run VMs, it seems. */
	web = fixture_define(f, "web", NULL, NULL);
	fixture_start_vm(f, web);
	/* All of that with one that hung. */
	assert_starts(f, "probe\nvm\n");
	client_do(c, web, VM, "Kill", NULL);
	/* A failure is not kept on disk. */
	fixture_write_qemu(f, COUNT MOCK);
	await_probes(f);
	assert_manager(c, "QemuVersion", "'7.2.22'");
}

static void pause_until(gint64 until)
{
	g_assert_cmpint(g_get_monotonic_time(), <, until);
	g_usleep(10 * 1000);
}

static gint64 patience(void)
{
	return g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
}

static void await_file(Fixture *f, const char *name)
{
	g_autofree char *path = g_build_filename(f->dir, name, NULL);
	gint64 until = patience();

	while (!g_file_test(path, G_FILE_TEST_EXISTS))
		pause_until(until);
}

/* The service ends in the middle of it: who waits is told, and no process is left. */
static void test_end_amid(void)
{
	g_autoptr(Fixture) f =
		fixture_new(&(FixtureOptions){.qemu_script = COUNT HANG MOCK, .deadline_scale = 60});
	g_autofree char *pid = NULL;
	guint32 first, second;

	first = client_send(f->client, PATH, MANAGER, "GetCapabilities", fixture_no_options());
	second = client_send(f->client, PATH, MANAGER, "GetCapabilities", fixture_no_options());
	client_sync(f->client);
	await_file(f, "pid");
	fixture_stop_roostd(f);
	client_expect_error(
		f->client, first, ROOST_ERROR("Cancelled"), "GetCapabilities: roostd is shutting down");
	client_expect_error(f->client, second, ROOST_ERROR("Cancelled"), "GetCapabilities: *");
	pid = read_file(f, "pid");
	g_assert_cmpint(kill((pid_t)atoi(pid), 0), ==, -1);
	g_assert_cmpint(errno, ==, ESRCH);
}

/* Callers that leave, and callers that are too many. */
static void test_callers(void)
{
	g_autoptr(Fixture) f =
		fixture_new(&(FixtureOptions){.qemu_script = COUNT HANG MOCK, .deadline_scale = 60});
	Client *clients[3];
	gint64 until = patience();
	guint32 serial;

	for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
		clients[i] = client_new(f->address);
	/* The bus limits those of one connection. */
	for (unsigned i = 0; i < 256; i++)
		client_send(clients[i % G_N_ELEMENTS(clients)], PATH, MANAGER, "GetCapabilities",
			fixture_no_options());
	for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
		client_sync(clients[i]);
	client_refused(f->client, PATH, MANAGER, "GetCapabilities", fixture_no_options(),
		ROOST_ERROR("LimitReached"), "GetCapabilities: 256 calls of uid * are not answered yet");
	for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
		client_free(clients[i]);
	/* Those that have left count no longer, as soon as the bus has told. A definition that is none has
	 * its answer at once. */
	for (;;) {
		serial = client_send(f->client, PATH, MANAGER, "ValidateVM", fixture_no_options());
		if (g_dbus_message_get_message_type(client_message(f->client,
			    client_await_reply(f->client, serial))) == G_DBUS_MESSAGE_TYPE_METHOD_RETURN)
			break;
		pause_until(until);
	}
}

/* No QEMU: what can't be checked is accepted; it is told where it matters; and one that comes is seen. */
static void test_none(void)
{
	static const char none[] = "*/qemu: No such file or directory";
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.qemu_script = ""});
	Client *c = f->client;
	g_autofree char *problems = NULL;
	gsize mark, end;

	client_refused(
		c, PATH, MANAGER, "GetCapabilities", fixture_no_options(), ROOST_ERROR("QemuFailed"), none);
	assert_manager(c, "QemuVersion", "''");
	client_do(c, PATH, MANAGER, "DefineVM", config("a", "'CPUModel': <'nonsense'>"));
	client_refused(c, PATH, MANAGER, "StartVM", g_variant_new_parsed("('a', @a{sv} {})"),
		ROOST_ERROR("QemuFailed"), none);
	problems = validate(c, config("b", NULL));
	assert_glob(
		problems, "([('*', 'org.roost1.Error.QemuFailed', '*/qemu: No such file or directory')],)");
	mark = client_mark(c);
	fixture_write_qemu(f, MOCK);
	await_probes(f);
	end = client_sync(c);
	g_assert_cmpuint(
		client_find(c, mark, end, PATH, "PropertiesChanged", "*'QemuVersion': <'7.2.22'>*"), <, end);
	client_refused(c, PATH, MANAGER, "StartVM", g_variant_new_parsed("('a', @a{sv} {})"),
		ROOST_ERROR("NotSupported"), "CPUModel: 'nonsense' *");
}

static void test_garbage(void)
{
	static const struct {
		const char *script, *glob;
	} rows[] = {
		{"echo 'its words' >&2; exit 1\n",
			"*/qemu: asked for what it can do, it exited with code 1: its words"},
		{"echo hello\n", "*/qemu: asked for what it can do: what it says is not QMP"},
		{"kill -ABRT $$\n", "*/qemu: asked for what it can do, it ended by signal 6*"},
		{"exec yes\n", "*/qemu: asked for what it can do, it said more than any QEMU has to say"},
		{"printf '{\"QMP\": {\"version\"'\n",
			"*/qemu: asked for what it can do: what it says is not QMP"},
		{"echo '{\"QMP\": {}}'\n",
			"*/qemu: asked for what it can do: it does not answer qmp_capabilities"},
		{"printf 'on query-machines error GenericError not today\\n' >@DIR@/script\n"
		 "export ROOST_MOCK_SCRIPT=@DIR@/script\n" MOCK,
			"*/qemu: asked for what it can do: it refuses query-machines: not today"},
	};
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.qemu_script = MOCK, .deadline_scale = 10});
	Client *c = f->client;

	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strdup_printf("vm%u", (unsigned)i);

		fixture_write_qemu(f, rows[i].script);
		client_refused(c, PATH, MANAGER, "GetCapabilities", fixture_no_options(),
			ROOST_ERROR("QemuFailed"), rows[i].glob);
		assert_manager(c, "QemuVersion", "''");
		client_do(c, PATH, MANAGER, "DefineVM", config(name, NULL));
		fixture_write_qemu(f, MOCK);
		await_probes(f);
		assert_manager(c, "QemuVersion", "'7.2.22'");
	}
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/capabilities/stand-in", test_stand_in);
	g_test_add_func("/capabilities/real", test_real);
	g_test_add_func("/capabilities/lacking", test_lacking);
	g_test_add_func("/capabilities/lacking-later", test_lacking_later);
	g_test_add_func("/capabilities/lacking/otherwise", test_lacking_otherwise);
	g_test_add_func("/capabilities/once", test_once);
	g_test_add_func("/capabilities/many-at-once", test_many_at_once);
	g_test_add_func("/capabilities/replaced", test_replaced);
	g_test_add_func("/capabilities/damaged-cache", test_damaged_cache);
	g_test_add_func("/capabilities/hang", test_hang);
	g_test_add_func("/capabilities/end-amid", test_end_amid);
	g_test_add_func("/capabilities/callers", test_callers);
	g_test_add_func("/capabilities/none", test_none);
	g_test_add_func("/capabilities/garbage", test_garbage);
	return g_test_run();
}
