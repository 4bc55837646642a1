/*
 * Callers for whom somebody must authenticate: with an agent that asks on a terminal, and with none; who
 * types what; and what becomes of everybody else meanwhile.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "world.h"

#define START_MESSAGE "Authentication is required to start the virtual machine 'web-1'"
#define MANY          12 /* more than may be asked for at once for one user */

static World *world;

/* A call that is under way, by a process of its own, with an agent for it. */
typedef struct Prompt {
	Program program;
	Agent agent;
} Prompt;

static void prepare_call(Prompt *prompt, const char *user, const char *path, const char *member)
{
	g_autofree char *method = g_strdup_printf(VM ".%s", member);
	const char *const argv[] = {"gdbus", "call", "--system", "--interactive", "--timeout", "600",
		"--dest", NAME, "--object-path", path, "--method", method,
		strcmp(member, "Start") == 0 ? "{}" : NULL, NULL};

	program_spawn(&prompt->program, user, ELSEWHERE, argv);
}

/* The user is asked for the administrator's password when it returns. */
static void begin_prompt(Prompt *prompt, const char *user, const char *path)
{
	prepare_call(prompt, user, path, "Start");
	agent_spawn(world, &prompt->agent, user, prompt->program.pid);
	program_begin(&prompt->program);
	agent_await(&prompt->agent, START_MESSAGE);
	agent_await(&prompt->agent, "Authenticating as: boss");
	agent_await(&prompt->agent, "Password: ");
}

static void end_prompt(Prompt *prompt, bool works, const char *glob)
{
	int status;
	g_autofree char *text = program_finish(&prompt->program, &status);

	if ((status == 0) != works || !g_pattern_match_simple(glob, text))
		g_error("status %d, %s\nnot %s", status, text, glob);
	agent_finish(&prompt->agent);
}

/* Nobody waits for the answer any more: the right password is good for nothing. (The agent sits in a read and
 * learns it when something was typed.) */
static void assert_cancelled(Prompt *prompt)
{
	agent_type(&prompt->agent, "secret\n");
	agent_await(&prompt->agent, "==== AUTHENTICATION ");
	agent_await(&prompt->agent, "ED ");
}

static void assert_state(const char *path, const char *state)
{
	g_autofree char *text = g_strdup_printf("'%s'", state);

	client_assert_property(world->root, path, "State", text);
}

static void test_right_password(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	Prompt prompt;

	begin_prompt(&prompt, "owner", web);
	assert_state(web, "off");
	agent_type(&prompt.agent, "secret\n");
	agent_await(&prompt.agent, "AUTHENTICATION COMPLETE");
	end_prompt(&prompt, true, "()\n");
	assert_state(web, "running");
	/* It was for that call alone. */
	prepare_call(&prompt, "owner", web, "Pause");
	agent_spawn(world, &prompt.agent, "owner", prompt.program.pid);
	program_begin(&prompt.program);
	agent_await(&prompt.agent, "Authentication is required to pause the virtual machine 'web-1'");
	agent_await(&prompt.agent, "Password: ");
	agent_type(&prompt.agent, "secret\n");
	end_prompt(&prompt, true, "()\n");
	assert_state(web, "paused");
	world_undefine(world, web);
}

static void test_wrong_password(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	Prompt prompt;

	begin_prompt(&prompt, "owner", web);
	agent_type(&prompt.agent, "guess\n");
	agent_await(&prompt.agent, "AUTHENTICATION FAILED");
	end_prompt(&prompt, false,
		"Error: GDBus.Error:" DENIED ": Start: not authorized to manage the virtual machine 'web-1' "
		"(org.roost1.manage)*");
	assert_state(web, "off");
	world_undefine(world, web);
}

/* Somebody else's VM: one is asked as well, for another action. */
static void test_other(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	Prompt prompt;

	begin_prompt(&prompt, "other", web);
	agent_type(&prompt.agent, "secret\n");
	end_prompt(&prompt, true, "()\n");
	assert_state(web, "running");
	world_undefine(world, web);
}

static void test_no_agent(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	g_autoptr(Client) owner = world_client("owner");

	client_expect_error(owner, client_send_interactively(owner, web, VM, "Start", fixture_no_options()),
		CHALLENGED,
		"Start: not authorized to manage the virtual machine 'web-1' (org.roost1.manage): somebody "
		"must "
		"authenticate, and no agent is there to ask for it *");
	client_refused(owner, web, VM, "Start", fixture_no_options(), CHALLENGED,
		"Start: not authorized to manage the virtual machine 'web-1' (org.roost1.manage): somebody "
		"must "
		"authenticate, and the call does not allow to ask for it");
	world_undefine(world, web);
}

/* Nobody types: everybody goes on, the same user as well; and when the caller leaves, nobody is asked any
 * more, and nothing is left. */
static void test_no_answer(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	g_autoptr(Client) owner = world_client("owner"), member = world_client("member");
	Prompt prompt;

	begin_prompt(&prompt, "owner", web);
	client_assert_property(owner, web, "State", "'off'");
	client_refused(owner, web, VM, "Pause", NULL, CHALLENGED, "Pause: *");
	client_do(member, web, VM, "Start", fixture_no_options());
	client_do(world->root, web, VM, "Kill", NULL);
	assert_state(web, "off");

	kill(prompt.program.pid, SIGKILL);
	g_free(program_finish(&prompt.program, NULL));
	assert_cancelled(&prompt);
	agent_finish(&prompt.agent);
	assert_state(web, "off");
	world_undefine(world, web);
}

/* As often as one likes: what a caller that left had is free again. */
static void test_leaving(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	Prompt prompts[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		begin_prompt(&prompts[i], "owner", web);
		kill(prompts[i].program.pid, SIGKILL);
		g_free(program_finish(&prompts[i].program, NULL));
		agent_finish(&prompts[i].agent);
	}
	begin_prompt(&prompts[0], "owner", web);
	agent_type(&prompts[0].agent, "secret\n");
	end_prompt(&prompts[0], true, "()\n");
	assert_state(web, "running");
	world_undefine(world, web);
}

/* The agent goes away with its question: the call is answered. */
static void test_agent_dies(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	g_autofree char *text = NULL;
	Prompt prompt;
	int status;

	begin_prompt(&prompt, "owner", web);
	agent_finish(&prompt.agent);
	text = program_finish(&prompt.program, &status);
	g_assert_cmpint(status, !=, 0);
	g_assert_nonnull(strstr(text, DENIED));
	assert_state(web, "off");
	world_undefine(world, web);
}

/* What was authorized is what is done: not to a VM that has another name by then, nor to another with its
 * name. */
static void test_changed_meanwhile(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL), *other = NULL;
	Prompt prompt;

	begin_prompt(&prompt, "owner", web);
	client_do(world->root, web, VM, "Rename", g_variant_new("(s)", "db-1"));
	agent_type(&prompt.agent, "secret\n");
	end_prompt(&prompt, false,
		"Error: GDBus.Error:" DENIED
		": Start: the virtual machine 'web-1' was renamed to 'db-1' before *");
	assert_state(web, "off");

	client_do(world->root, web, VM, "Rename", g_variant_new("(s)", "web-1"));
	begin_prompt(&prompt, "owner", web);
	world_undefine(world, web);
	other = world_define(world, "owner", "web-1", NULL);
	agent_type(&prompt.agent, "secret\n");
	end_prompt(
		&prompt, false, "Error: GDBus.Error:" DBUS_ERROR("UnknownObject") ": *there is no such VM*");
	assert_state(other, "off");
	world_undefine(world, other);
}

/* roostd ends: nobody is left with a question. */
static void test_shutdown(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	Prompt prompt;

	begin_prompt(&prompt, "owner", web);
	world_stop_roostd(world);
	assert_cancelled(&prompt);
	end_prompt(&prompt, false,
		"Error: GDBus.Error:" ROOST_ERROR("Cancelled") ": Start: roostd is shutting down*");
	world_start_roostd(world, NULL);
	assert_state(web, "off");
	world_undefine(world, web);
}

/* ---- polkit itself ---- */
static void test_rules_change(void)
{
	static const char rule[] =
		"polkit.addRule(function(action, subject) {\n"
		"    if (action.id == 'org.roost1.manage-all' && subject.user == 'other' &&\n"
		"        action.lookup('member') == 'Start' && action.lookup('kind') == 'manage' &&\n"
		"        action.lookup('owner') == '%u' && action.lookup('uuid').length == 36)\n"
		"        return polkit.Result.YES;\n"
		"    if (action.id == 'org.roost1.manage-all' && subject.user == 'other')\n"
		"        return polkit.Result.NO;\n});\n";
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	g_autofree char *text = g_strdup_printf(rule, world_uid("owner"));
	g_autoptr(Client) other = world_client("other");
	g_autoptr(GVariant) none = g_variant_ref_sink(g_variant_new_parsed("@a{sv} {}"));

	client_refused(other, web, VM, "Start", fixture_no_options(), CHALLENGED, "*");
	world_set_rule(world, "48-test.rules", text);
	client_do(other, web, VM, "Start", fixture_no_options());
	assert_state(web, "running");
	/* The Manager's StartVM is the VM's Start. */
	client_refused(other, PATH, MANAGER, "StartVM", g_variant_new("(s@a{sv})", "web-1", none),
		ROOST_ERROR("InvalidState"), "*");
	client_refused(other, web, VM, "Kill", NULL, DENIED,
		"Kill: not authorized to manage another user's virtual machine 'web-1' "
		"(org.roost1.manage-all)");
	client_refused(other, PATH, MANAGER, "KillVM", g_variant_new("(s)", "web-1"), DENIED,
		"KillVM: not authorized to *");
	world_set_rule(world, "48-test.rules", NULL);
	client_refused(other, web, VM, "Kill", NULL, CHALLENGED, "*");
	world_undefine(world, web);
}

static void test_polkit_comes_and_goes(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	g_autoptr(Client) member = world_client("member");
	gsize mark;

	/* The bus starts it. */
	world_stop_polkitd(world);
	client_do(member, web, VM, "Start", fixture_no_options());
	mark = client_mark(world->root);
	kill((pid_t)client_pid_of(world->root, POLKIT), SIGTERM);
	client_await(
		world->root, mark, "/org/freedesktop/DBus", "NameOwnerChanged", "('" POLKIT "', ':*', '')");

	/* Nobody does. */
	world_set_activatable(world, POLKIT, false);
	client_refused(member, web, VM, "Pause", NULL, DENIED,
		"Pause: only root may do this now, since polkit can't be asked: * (" DBUS_ERROR(
			"ServiceUnknown") ")");
	client_assert_property(member, web, "State", "'running'");
	client_do(world->root, web, VM, "Pause", NULL);
	world_set_activatable(world, POLKIT, true);
	world_start_polkitd(world);
	client_do(member, web, VM, "Resume", NULL);
	world_undefine(world, web);
}

/* It is there, and says nothing. */
static void test_polkit_hangs(void)
{
	static const char *const hasty[] = {"--deadline-scale=0.1", NULL};
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	g_autoptr(Client) member = world_client("member");
	guint32 calls[100];

	world_stop_roostd(world);
	world_start_roostd(world, hasty);
	kill(world->polkitd, SIGSTOP);
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
		calls[i] = client_send_interactively(member, web, VM, "Pause", NULL);
	client_assert_property(member, web, "State", "'off'");
	client_do(world->root, web, VM, "Start", fixture_no_options());
	/* All of them, not one after the other. */
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
		client_expect_error(member, calls[i], DENIED, "Pause: only root may do this now, *");
	kill(world->polkitd, SIGCONT);
	client_do(world->root, web, VM, "Kill", NULL);
	world_stop_roostd(world);
	world_start_roostd(world, NULL);
	client_do(member, web, VM, "Start", fixture_no_options());
	world_undefine(world, web);
}

/* An installation without our policy. */
static void test_no_policy(void)
{
	static const char file[] = "/usr/share/polkit-1/actions/org.roost1.policy";
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	g_autoptr(Client) member = world_client("member");
	const char *const away[] = {"mv", file, "/run/world/policy", NULL};
	const char *const back[] = {"mv", "/run/world/policy", file, NULL};

	world_stop_polkitd(world);
	g_free(world_run("root", ELSEWHERE, away, NULL));
	world_start_polkitd(world);
	client_refused(member, web, VM, "Start", fixture_no_options(), DENIED,
		"Start: only root may do this now, since polkit can't be asked: *org.roost1.manage-all is "
		"not "
		"registered*");
	world_stop_polkitd(world);
	g_free(world_run("root", ELSEWHERE, back, NULL));
	world_start_polkitd(world);
	client_do(member, web, VM, "Start", fixture_no_options());
	world_undefine(world, web);
}

int main(int argc, char **argv)
{
	int result;

	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/authentication/right-password", test_right_password);
	g_test_add_func("/authentication/wrong-password", test_wrong_password);
	g_test_add_func("/authentication/other", test_other);
	g_test_add_func("/authentication/no-agent", test_no_agent);
	g_test_add_func("/authentication/no-answer", test_no_answer);
	g_test_add_func("/authentication/leaving", test_leaving);
	g_test_add_func("/authentication/agent-dies", test_agent_dies);
	g_test_add_func("/authentication/changed-meanwhile", test_changed_meanwhile);
	g_test_add_func("/authentication/shutdown", test_shutdown);
	g_test_add_func("/authentication/rules-change", test_rules_change);
	g_test_add_func("/authentication/polkit-comes-and-goes", test_polkit_comes_and_goes);
	g_test_add_func("/authentication/polkit-hangs", test_polkit_hangs);
	g_test_add_func("/authentication/no-policy", test_no_policy);
	world = world_new();
	world_start_roostd(world, NULL);
	result = g_test_run();
	world_free(world);
	return result;
}
