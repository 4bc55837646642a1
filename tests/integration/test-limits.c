/* What is bounded: unanswered calls, threads. What frees a VM gets through all the same. */
#include "fixture.h"

#define UID_MAX 256

static void test_calls_of_a_user(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	Client *clients[3];
	char *vms[26];
	guint n_sent = 0;

	for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
		clients[i] = client_new(f->address);
	for (gsize i = 0; i < G_N_ELEMENTS(vms); i++) {
		g_autofree char *name = g_strdup_printf("vm%u", (unsigned)i);

		vms[i] = fixture_define(f, name, "on stop silent\n", NULL);
		fixture_start_vm(f, vms[i]);
	}
	/* Ten on each VM, from several connections: the bus limits those of one. */
	for (gsize i = 0; i < G_N_ELEMENTS(vms) && n_sent < UID_MAX; i++)
		for (unsigned j = 0; j < 10 && n_sent < UID_MAX; j++)
			client_send(clients[n_sent++ % G_N_ELEMENTS(clients)], vms[i], VM, "Pause", NULL);
	for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
		client_sync(clients[i]);
	client_refused(c, vms[25], VM, "Reset", NULL, ROOST_ERROR("LimitReached"),
		"Reset: 256 calls of uid * are not answered yet");
	/* Reads go on, and Kill and CancelOperation are not counted. */
	client_assert_property(c, vms[0], "State", "'running'");
	client_do(c, vms[0], VM, "CancelOperation", g_variant_new("(t)", (guint64)0));
	client_do(c, vms[0], VM, "Kill", NULL);
	client_assert_property(c, vms[0], "State", "'off'");
	fixture_start_vm(f, vms[0]);
	for (gsize i = 0; i < G_N_ELEMENTS(vms); i++) {
		client_do(c, vms[i], VM, "Kill", NULL);
		g_free(vms[i]);
	}
	for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
		client_free(clients[i]);
}

static void test_threads(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.max_workers = 4});
	Client *c = f->client;
	char *vms[5];
	guint32 calls[4];

	for (gsize i = 0; i < G_N_ELEMENTS(vms); i++) {
		g_autofree char *name = g_strdup_printf("vm%u", (unsigned)i);

		vms[i] = fixture_define(f, name, "on stop silent\n", NULL);
		fixture_start_vm(f, vms[i]);
	}
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
		calls[i] = client_send(c, vms[i], VM, "Pause", NULL);
	client_refused(c, vms[4], VM, "Pause", NULL, ROOST_ERROR("LimitReached"), "Pause: *threads*");
	client_do(c, vms[0], VM, "Kill", NULL);
	client_expect_error(c, calls[0], ROOST_ERROR("Cancelled"), "*");
	client_do(c, vms[4], VM, "Reset", NULL);
	for (gsize i = 0; i < G_N_ELEMENTS(vms); i++) {
		client_do(c, vms[i], VM, "Kill", NULL);
		g_free(vms[i]);
	}
}

/* A caller that wants no reply gets none, and the method is carried out. */
static void test_no_reply(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	gsize mark = client_mark(c), end;
	guint32 serial = client_send_quietly(c, web, VM, "Start", fixture_no_options());

	end = client_await(c, mark, web, "StateChanged", "('starting', 'running', 'user')");
	end = MAX(end, client_sync(c));
	for (gsize i = mark; i < end; i++)
		g_assert_cmpuint(g_dbus_message_get_reply_serial(client_message(c, i)), !=, serial);
}

/* What GetCapabilities says of definitions is what is enforced: the limit itself is taken, one more is not.
 */
static void test_told(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autoptr(GVariant) result = NULL, info = NULL, limits = NULL;
	g_autofree char *text = NULL, *most = NULL, *more = NULL;
	guint64 vcpus, description;

	result = client_call(f->client, PATH, MANAGER, "GetCapabilities", fixture_no_options());
	info = g_variant_get_child_value(result, 0);
	limits = g_variant_lookup_value(info, "Limits", G_VARIANT_TYPE("a{st}"));
	g_assert_true(g_variant_lookup(limits, "VCPUs", "t", &vcpus));
	g_assert_true(g_variant_lookup(limits, "Description", "t", &description));
	text = g_strnfill(description, 'd');
	most = g_strdup_printf("'VCPUs': <uint32 %u>, 'Description': <'%s'>", (unsigned)vcpus, text);
	g_free(fixture_define(f, "most", NULL, most));
	more = g_strdup_printf("%sd", text);
	client_refused(f->client, PATH, MANAGER, "DefineVM",
		g_variant_new_parsed(
			"({'Name': <'more'>, 'Memory': <uint64 67108864>, 'Description': <%s>},)", more),
		ROOST_ERROR("InvalidConfig"), "Description: *");
	client_refused(f->client, PATH, MANAGER, "DefineVM",
		g_variant_new_parsed("({'Name': <'more'>, 'Memory': <uint64 67108864>, 'VCPUs': <%u>},)",
			(guint32)vcpus + 1),
		ROOST_ERROR("InvalidConfig"), "VCPUs: *");
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/limits/calls-of-a-user", test_calls_of_a_user);
	g_test_add_func("/limits/threads", test_threads);
	g_test_add_func("/limits/no-reply", test_no_reply);
	g_test_add_func("/limits/told", test_told);
	return g_test_run();
}
