/*
 * What roostd asks polkit, what it makes of the answers, in whatever order they come, and what becomes of the
 * calls when callers, VMs or roostd itself go away meanwhile.
 */
#include <string.h>

#include "polkit.h"

/* Slow machines are not what is tested. */
static const FixtureOptions system_bus = {.is_system = true, .deadline_scale = 20};

/* ---- what is asked ---- */
static void assert_details(const Question *question, const char *wanted)
{
	g_autoptr(GVariant) details =
		g_variant_get_child_value(g_dbus_message_get_body(question->message), 2);
	g_autofree char *text = g_variant_print(details, FALSE);

	if (!g_pattern_match_simple(wanted, text))
		g_error("%s\nis not: %s", text, wanted);
}

static void test_questions(void)
{
	Scene scene;
	Question question;
	guint32 call;
	g_autoptr(GVariant) none = g_variant_ref_sink(g_variant_new_parsed("@a{sv} {}"));

	scene_init(&scene, &system_bus);
	call = send_start(scene.owner, scene.web);
	question = polkit_next(&scene.polkit, "org.roost1.manage");
	g_assert_cmpstr(question.subject, ==, client_name(scene.owner));
	g_assert_cmpuint(question.flags, ==, 0);
	g_assert_cmpstr(question.cancellation, ==, "");
	assert_details(&question, "{'name': 'web', 'uuid': '*-*-*-*-*', 'owner': '1', 'member': 'Start', "
				  "'kind': 'manage', 'polkit.message': \"Authentication is required to start "
				  "the virtual machine "
				  "'$(name)'\", 'polkit.gettext_domain': 'roost'}");
	polkit_answer(&scene.polkit, &question, YES);
	expect_done(scene.owner, call);

	/* By its name, by another user: the VM's own member. */
	call = client_send(scene.other, PATH, MANAGER, "ShutdownVM", g_variant_new("(s@a{sv})", "web", none));
	question = polkit_next(&scene.polkit, "org.roost1.manage-all");
	assert_details(
		&question, "{'name': 'web', * 'owner': '1', 'member': 'Shutdown', 'kind': 'manage', *");
	polkit_answer(&scene.polkit, &question, NO);
	client_expect_error(scene.other, call, DENIED,
		"ShutdownVM: not authorized to manage another user's virtual machine 'web' "
		"(org.roost1.manage-all)");

	/* Raw commands of another's: both. */
	call = client_send(scene.other, scene.web, VM, "ExecuteQMP", g_variant_new("(s)", "{}"));
	question = polkit_next(&scene.polkit, "org.roost1.manage-all");
	assert_details(&question, "* 'kind': 'qmp', *");
	polkit_answer(&scene.polkit, &question, YES);
	question = polkit_next(&scene.polkit, "org.roost1.qmp");
	assert_details(&question, "* 'kind': 'qmp', *");
	polkit_answer(&scene.polkit, &question, NO);
	client_expect_error(scene.other, call, DENIED, "ExecuteQMP: not authorized to send QMP commands *");

	/* A definition, and QEMU's arguments in it. */
	call = client_send(scene.other, PATH, MANAGER, "DefineVM",
		g_variant_new_parsed(
			"({'Name': <'mine'>, 'Memory': <uint64 1048576>, 'QemuArguments': <['-x']>},)"));
	question = polkit_next(&scene.polkit, "org.roost1.define");
	assert_details(&question, "{'name': 'mine', 'uuid': '', 'owner': '2', 'member': 'DefineVM', *");
	polkit_answer(&scene.polkit, &question, YES);
	question = polkit_next(&scene.polkit, "org.roost1.qemu-arguments");
	assert_details(&question, "* 'kind': 'qemu-arguments', 'polkit.message': *QEMU's arguments*");
	polkit_answer(&scene.polkit, &question, NO);
	client_expect_error(
		scene.other, call, DENIED, "DefineVM: not authorized to choose QEMU's arguments *");
	scene_done(&scene);
}

/* No way round the question for QEMU's arguments. */
static void test_arguments(void)
{
	static const char *const changes[] = {
		"({'QemuArguments': <['-x']>}, @a{sv} {})",
		"({'QemuArguments': <'-x'>}, @a{sv} {})",
		"({'QemuArguments': <<['-x']>>}, @a{sv} {})",
		"([{'QemuArguments', <@as []>}, {'QemuArguments', <['-x']>}], @a{sv} {})",
	};
	Scene scene;

	scene_init(&scene, &system_bus);
	for (gsize i = 0; i < G_N_ELEMENTS(changes); i++) {
		guint32 call =
			client_send(scene.owner, scene.web, VM, "Update", g_variant_new_parsed(changes[i]));
		Question question = polkit_next(&scene.polkit, "org.roost1.configure");

		polkit_answer(&scene.polkit, &question, YES);
		/* A key that comes twice is refused before it does anything. */
		if (i < 3) {
			question = polkit_next(&scene.polkit, "org.roost1.qemu-arguments");
			polkit_answer(&scene.polkit, &question, NO);
			client_expect_error(scene.owner, call, DENIED, "Update: not authorized to choose *");
		} else {
			client_expect_error(
				scene.owner, call, ROOST_ERROR("InvalidConfig"), "QemuArguments: *");
		}
	}
	client_assert_property(scene.f->client, scene.web, "ConfigRevision", "uint64 1");
	scene_done(&scene);
}

/* ---- order ---- */
static void test_order(void)
{
	Scene scene;
	Question pause, resume, reset;
	guint32 calls[3];

	scene_init(&scene, &system_bus);
	scene_start(&scene);
	calls[0] = client_send(scene.owner, scene.web, VM, "Pause", NULL);
	calls[1] = client_send(scene.owner, scene.web, VM, "Resume", NULL);
	calls[2] = client_send(scene.owner, scene.web, VM, "Reset", NULL);
	pause = polkit_next(&scene.polkit, "org.roost1.manage");
	resume = polkit_next(&scene.polkit, "org.roost1.manage");
	/* The first last: the others wait for it. */
	polkit_answer(&scene.polkit, &resume, YES);
	reset = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &reset, NO);
	client_sync(scene.polkit.client);
	g_assert_false(is_answered(scene.owner, calls[1]));
	polkit_answer(&scene.polkit, &pause, YES);
	expect_done(scene.owner, calls[0]);
	expect_done(scene.owner, calls[1]);
	client_expect_error(scene.owner, calls[2], DENIED, "Reset: *");
	g_assert_cmpuint(
		client_await_reply(scene.owner, calls[0]), <, client_await_reply(scene.owner, calls[1]));
	client_assert_property(scene.f->client, scene.web, "State", "'running'");
	scene_done(&scene);
}

/* Whoever must authenticate holds up nobody, not even calls of the same connection. */
static void test_prompt(void)
{
	Scene scene;
	Question question, prompt, next;
	guint32 first, second;

	scene_init(&scene, &system_bus);
	scene_start(&scene);
	first = client_send_interactively(scene.owner, scene.web, VM, "Reset", NULL);
	second = client_send_interactively(scene.owner, scene.web, VM, "Pause", NULL);
	question = polkit_next(&scene.polkit, "org.roost1.manage");
	next = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &next, YES);
	client_sync(scene.polkit.client);
	g_assert_false(is_answered(scene.owner, second));
	polkit_answer(&scene.polkit, &question, CHALLENGE);
	prompt = polkit_next(&scene.polkit, "org.roost1.manage");
	g_assert_cmpuint(prompt.flags, ==, 1);
	g_assert_cmpstr(prompt.cancellation, !=, "");
	expect_done(scene.owner, second);
	client_assert_property(scene.owner, scene.web, "State", "'paused'");
	g_assert_false(is_answered(scene.owner, first));
	polkit_answer(&scene.polkit, &prompt, YES);
	expect_done(scene.owner, first);

	/* What else may come of it. */
	first = client_send_interactively(scene.owner, scene.web, VM, "Reset", NULL);
	question = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &question, CHALLENGE);
	prompt = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &prompt, DISMISSED);
	client_expect_error(
		scene.owner, first, DENIED, "Reset: not authorized to *: the authentication was dismissed");
	first = client_send_interactively(scene.owner, scene.web, VM, "Reset", NULL);
	question = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &question, CHALLENGE);
	prompt = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_fail(&scene.polkit, &prompt, "org.freedesktop.PolicyKit1.Error.Cancelled", "");
	client_expect_error(
		scene.owner, first, DENIED, "Reset: not authorized to *: the authentication was cancelled");
	/* One that may not be asked for is not. */
	first = client_send(scene.owner, scene.web, VM, "Reset", NULL);
	question = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &question, CHALLENGE);
	client_expect_error(scene.owner, first, CHALLENGED, "Reset: *does not allow to ask for it");
	scene_done(&scene);
}

/* ---- who leaves ---- */
static void expect_cancel(Polkit *polkit, const char *cancellation)
{
	gsize position = client_await_call(polkit->client, polkit->next, "CancelCheckAuthorization");
	const char *name;

	g_variant_get(g_dbus_message_get_body(client_message(polkit->client, position)), "(&s)", &name);
	g_assert_cmpstr(name, ==, cancellation);
	polkit->next = position + 1;
}

/* Before polkit answers, while it asks, and when all is decided but what comes before. Late answers are for
 * nobody. */
static void test_leaving(void)
{
	Scene scene;
	Client *leaver;
	Question asked, asked_too, prompt;

	scene_init(&scene, &system_bus);
	scene_start(&scene);
	leaver = client_new_as(scene.f->address, OWNER_UID);
	client_send_interactively(leaver, scene.web, VM, "Pause", NULL);
	client_send_interactively(leaver, scene.web, VM, "Kill", NULL);
	asked = polkit_next(&scene.polkit, "org.roost1.manage");
	asked_too = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &asked_too, YES);
	client_sync(scene.polkit.client);
	client_free(leaver);
	client_sync(scene.f->client);
	polkit_answer(&scene.polkit, &asked, YES);

	leaver = client_new_as(scene.f->address, OWNER_UID);
	client_send_interactively(leaver, scene.web, VM, "Pause", NULL);
	asked = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &asked, CHALLENGE);
	prompt = polkit_next(&scene.polkit, "org.roost1.manage");
	client_free(leaver);
	expect_cancel(&scene.polkit, prompt.cancellation);
	polkit_answer(&scene.polkit, &prompt, YES);
	client_sync(scene.polkit.client);
	client_sync(scene.f->client);
	client_assert_property(scene.f->client, scene.web, "State", "'running'");
	scene_done(&scene);
}

static void test_shutdown(void)
{
	Scene scene;
	Question asked, behind, prompt;
	guint32 calls[3];

	scene_init(&scene, &system_bus);
	scene_start(&scene);
	calls[0] = client_send_interactively(scene.owner, scene.web, VM, "Pause", NULL);
	asked = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &asked, CHALLENGE);
	prompt = polkit_next(&scene.polkit, "org.roost1.manage");
	calls[1] = client_send_interactively(scene.owner, scene.web, VM, "Pause", NULL);
	calls[2] = client_send_interactively(scene.owner, scene.web, VM, "Kill", NULL);
	asked = polkit_next(&scene.polkit, "org.roost1.manage");
	behind = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &behind, YES);
	client_sync(scene.polkit.client);
	client_sync(scene.owner);
	fixture_stop_roostd(scene.f);
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
		client_expect_error(
			scene.owner, calls[i], ROOST_ERROR("Cancelled"), "*: roostd is shutting down");
	expect_cancel(&scene.polkit, prompt.cancellation);
	scene_done(&scene);
}

/* The bus is gone, and with it everybody who waits. */
static void test_bus_lost(void)
{
	Scene scene;
	Question asked, prompt;

	scene_init(&scene, &system_bus);
	scene_start(&scene);
	client_send_interactively(scene.owner, scene.web, VM, "Pause", NULL);
	asked = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &asked, CHALLENGE);
	prompt = polkit_next(&scene.polkit, "org.roost1.manage");
	g_assert_cmpuint(prompt.flags, ==, 1);
	for (unsigned i = 0; i < 20; i++)
		client_send(scene.owner, scene.web, VM, "Pause", NULL);
	client_send(scene.other, scene.web, VM, "Pause", NULL);
	client_sync(scene.owner);
	client_sync(scene.other);
	g_assert_cmpint(fixture_lose_bus(scene.f), ==, 1);
	scene_done(&scene);
}

/* ---- VMs that change meanwhile ---- */
static void test_identity(void)
{
	Scene scene;
	Question question;
	g_autofree char *second = NULL;
	guint32 call;
	g_autoptr(GVariant) none = g_variant_ref_sink(g_variant_new_parsed("@a{sv} {}"));

	scene_init(&scene, &system_bus);
	call = send_start(scene.other, scene.web);
	question = polkit_next(&scene.polkit, "org.roost1.manage-all");
	client_do(scene.f->client, scene.web, VM, "Rename", g_variant_new("(s)", "db"));
	polkit_answer(&scene.polkit, &question, YES);
	client_expect_error(scene.other, call, DENIED,
		"Start: the virtual machine 'web' was renamed to 'db' before this was authorized");

	call = client_send(scene.other, PATH, MANAGER, "StartVM", g_variant_new("(s@a{sv})", "db", none));
	question = polkit_next(&scene.polkit, "org.roost1.manage-all");
	client_do(scene.f->client, scene.web, VM, "Undefine", fixture_no_options());
	second = scene_define(&scene, scene.owner, "db");
	polkit_answer(&scene.polkit, &question, YES);
	client_expect_error(scene.other, call, ROOST_ERROR("NoSuchVM"),
		"StartVM: the virtual machine 'db' is gone, and another one is in its place");

	call = send_start(scene.other, second);
	question = polkit_next(&scene.polkit, "org.roost1.manage-all");
	client_do(scene.f->client, second, VM, "Undefine", fixture_no_options());
	polkit_answer(&scene.polkit, &question, YES);
	client_expect_error(scene.other, call, DBUS_ERROR("UnknownObject"), "*");
	scene_done(&scene);
}

/* ---- answers that are none ---- */
static void test_nonsense(void)
{
	static const char *const answers[] = {"()", "(true,)", "((true, false),)", "('yes',)",
		"((true, false, @a{sv} {}),)", "(true, false, @a{ss} {})"};
	Scene scene;
	Question question;
	guint32 call;

	scene_init(&scene, &system_bus);
	for (gsize i = 0; i < G_N_ELEMENTS(answers); i++) {
		call = send_start(scene.owner, scene.web);
		question = polkit_next(&scene.polkit, "org.roost1.manage");
		polkit_answer(&scene.polkit, &question, answers[i]);
		client_expect_error(scene.owner, call, DENIED,
			"Start: only root may do this now, since polkit can't be asked: its answer can't be "
			"read");
	}
	call = send_start(scene.owner, scene.web);
	question = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_fail(&scene.polkit, &question, "org.example.Oops", "oops");
	client_expect_error(scene.owner, call, DENIED, "*: oops (org.example.Oops)");
	scene_done(&scene);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	if (!scene_is_possible())
		return 0;
	g_test_add_func("/polkit/questions", test_questions);
	g_test_add_func("/polkit/arguments", test_arguments);
	g_test_add_func("/polkit/order", test_order);
	g_test_add_func("/polkit/prompt", test_prompt);
	g_test_add_func("/polkit/leaving", test_leaving);
	g_test_add_func("/polkit/shutdown", test_shutdown);
	g_test_add_func("/polkit/bus-lost", test_bus_lost);
	g_test_add_func("/polkit/identity", test_identity);
	g_test_add_func("/polkit/nonsense", test_nonsense);
	return g_test_run();
}
