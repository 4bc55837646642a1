/* Many calls that wait for polkit, some of them in vain: who waits for whom, and how much there may be. */
#include <string.h>

#include "polkit.h"

/* Slow machines are not what is tested. */
static const FixtureOptions system_bus = {.is_system = true, .deadline_scale = 20};

#define AT_ONCE         2   /* questions of one user that polkit has */
#define PROMPTS         8   /* likewise, for which somebody is asked */
#define UNANSWERED      256 /* calls of one user */
#define SPARE           32
#define REFUSED_BURST   40
#define REFUSED_PER_SEC 20
#define OF_CONNECTION   120 /* the bus allows 128 */

/* It never answers: those that wait are told after one deadline, and others are served. */
static void test_silence(void)
{
	static const FixtureOptions hasty = {.is_system = true, .deadline_scale = 0.1};
	Scene scene;
	guint32 calls[40];

	scene_init(&scene, &hasty);
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
		calls[i] = client_send(scene.owner, scene.web, VM, "Pause", NULL);
	scene_start(&scene);
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
		client_expect_error(scene.owner, calls[i], DENIED,
			"Pause: only root may do this now, *it does not answer");
	client_assert_property(scene.f->client, scene.web, "State", "'running'");
	/* When it does, nobody wants to know, and it can be asked again. */
	for (guint i = 0; i < AT_ONCE; i++) {
		Question question = polkit_next(&scene.polkit, "org.roost1.manage");

		polkit_answer(&scene.polkit, &question, YES);
	}
	client_sync(scene.polkit.client);
	client_assert_property(scene.f->client, scene.web, "State", "'running'");
	client_send(scene.owner, scene.web, VM, "Reset", NULL);
	polkit_next(&scene.polkit, "org.roost1.manage");
	scene_done(&scene);
}

static void test_turns(void)
{
	Scene scene;
	guint32 mine[100], theirs;

	scene_init(&scene, &system_bus);
	scene_start(&scene);
	for (gsize i = 0; i < G_N_ELEMENTS(mine); i++)
		mine[i] = client_send(scene.owner, scene.web, VM, "Reset", NULL);
	client_sync(scene.owner);
	theirs = client_send(scene.other, scene.web, VM, "Reset", NULL);
	client_sync(scene.other);
	/* The other's question is there, and does not stand behind a hundred. */
	g_assert_cmpuint(polkit_count(&scene.polkit, client_name(scene.owner)), ==, AT_ONCE);
	g_assert_cmpuint(polkit_count(&scene.polkit, client_name(scene.other)), ==, 1);
	for (guint i = 0; i < AT_ONCE; i++) {
		Question question = polkit_next(&scene.polkit, "org.roost1.manage");

		polkit_answer(&scene.polkit, &question, NO);
		if (i == 0)
			g_assert_cmpuint(polkit_count(&scene.polkit, client_name(scene.owner)), ==, AT_ONCE);
	}
	for (guint i = AT_ONCE; i < G_N_ELEMENTS(mine) + 1; i++) {
		Question question = polkit_next(&scene.polkit, NULL);

		polkit_answer(&scene.polkit, &question, NO);
	}
	for (gsize i = 0; i < G_N_ELEMENTS(mine); i++)
		client_expect_error(scene.owner, mine[i], DENIED, "*");
	client_expect_error(scene.other, theirs, DENIED, "*");
	scene_done(&scene);
}

/* Answers no to every question there is; how many. */
static guint say_no(Polkit *polkit)
{
	gsize end = client_sync(polkit->client);
	guint n = 0;

	for (; polkit->next < end; polkit->next++) {
		GDBusMessage *message = client_message(polkit->client, polkit->next);
		Question question;

		if (g_strcmp0(g_dbus_message_get_member(message), "CheckAuthorization") != 0)
			continue;
		read_question(message, &question);
		polkit_answer(polkit, &question, NO);
		n++;
	}
	return n;
}

/* One whose calls are refused again and again waits, and is told so; others don't. */
static void test_refused(void)
{
	static const FixtureOptions hasty = {.is_system = true, .deadline_scale = 0.2};
	gint64 begin, until = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
	guint n_asked = 0, n_told = 0, n_calls = 0;
	guint32 calls[OF_CONNECTION];
	double seconds;
	Scene scene;

	scene_init(&scene, &hasty);
	begin = g_get_monotonic_time();
	while (n_told == 0) {
		g_assert_cmpint(g_get_monotonic_time(), <, until);
		for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
			calls[i] = client_send(scene.owner, scene.web, VM, "Kill", NULL);
		n_calls += G_N_ELEMENTS(calls);
		while (!is_answered(scene.owner, calls[G_N_ELEMENTS(calls) - 1]))
			n_asked += say_no(&scene.polkit);
		for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
			GDBusMessage *reply =
				client_message(scene.owner, client_await_reply(scene.owner, calls[i]));

			n_told += g_strcmp0(g_dbus_message_get_error_name(reply),
					  ROOST_ERROR("LimitReached")) == 0;
		}
	}
	seconds = (double)(g_get_monotonic_time() - begin) / G_TIME_SPAN_SECOND;
	g_test_message("of %u calls in %.1f s polkit was asked about %u", n_calls, seconds, n_asked);
	g_assert_cmpfloat(n_asked, <=, REFUSED_BURST + REFUSED_PER_SEC * seconds + AT_ONCE + 1);
	/* Somebody else's turn comes all the same. */
	client_send(scene.owner, scene.web, VM, "Kill", NULL);
	client_send(scene.other, scene.web, VM, "Kill", NULL);
	while (strcmp(polkit_next(&scene.polkit, NULL).subject, client_name(scene.other)) != 0)
		continue;
	scene_done(&scene);
}

static void test_many_prompts(void)
{
	Scene scene;
	guint32 calls[PROMPTS], call;
	Question prompts[PROMPTS], question;

	scene_init(&scene, &system_bus);
	for (guint i = 0; i < PROMPTS; i++) {
		calls[i] =
			client_send_interactively(scene.owner, scene.web, VM, "Start", fixture_no_options());
		question = polkit_next(&scene.polkit, "org.roost1.manage");
		polkit_answer(&scene.polkit, &question, CHALLENGE);
		prompts[i] = polkit_next(&scene.polkit, "org.roost1.manage");
	}
	call = client_send_interactively(scene.owner, scene.web, VM, "Start", fixture_no_options());
	question = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &question, CHALLENGE);
	client_expect_error(scene.owner, call, ROOST_ERROR("LimitReached"),
		"Start: for 8 calls of uid 1, and 8 in all, somebody is asked to authenticate already");
	/* What needs no prompt goes on. */
	call = send_start(scene.owner, scene.web);
	question = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &question, YES);
	expect_done(scene.owner, call);
	for (guint i = 0; i < PROMPTS; i++) {
		polkit_answer(&scene.polkit, &prompts[i], NO);
		client_expect_error(scene.owner, calls[i], DENIED, "*");
	}
	scene_done(&scene);
}

static void test_unanswered(void)
{
	Scene scene;
	Client *clients[3];
	guint n = 0;

	scene_init(&scene, &system_bus);
	for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
		clients[i] = client_new_as(scene.f->address, OWNER_UID);
	for (; n < UNANSWERED; n++)
		client_send(clients[n / OF_CONNECTION], scene.web, VM, "Pause", NULL);
	for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
		client_sync(clients[i]);
	client_refused(scene.owner, scene.web, VM, "Pause", NULL, ROOST_ERROR("LimitReached"),
		"Pause: 256 calls of uid 1 are not answered yet");
	/* What frees a VM has room for some more; and without wanting an answer one gets no further. */
	for (guint i = 0; i < SPARE; i++)
		client_send_quietly(scene.owner, scene.web, VM, "Kill", NULL);
	client_refused(scene.owner, scene.web, VM, "Kill", NULL, ROOST_ERROR("LimitReached"),
		"Kill: 288 calls of uid 1 are not answered yet");
	/* Who leaves gives back all, but what polkit still has. */
	for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
		client_free(clients[i]);
	client_free(scene.owner);
	client_sync(scene.f->client);
	g_assert_cmpuint(polkit_count(&scene.polkit, NULL), ==, AT_ONCE);
	scene.owner = client_new_as(scene.f->address, OWNER_UID);
	n = client_send(scene.owner, scene.web, VM, "Kill", NULL);
	client_sync(scene.owner);
	g_assert_cmpuint(polkit_count(&scene.polkit, NULL), ==, AT_ONCE);
	for (guint i = 0; i < AT_ONCE + 1; i++) {
		Question question = polkit_next(&scene.polkit, "org.roost1.manage");

		polkit_answer(&scene.polkit, &question, YES);
	}
	expect_done(scene.owner, n);
	scene_done(&scene);
}

/* What waits is kept in memory: it may not be large. */
static void test_large(void)
{
	Scene scene;
	g_autofree char *text = g_strnfill(1 << 20, ' ');

	scene_init(&scene, &system_bus);
	client_refused(scene.owner, scene.web, VM, "ExecuteQMP", g_variant_new("(s)", text),
		DBUS_ERROR("InvalidArgs"), "arguments: too large, they may have 544 KiB");
	client_refused(scene.owner, PATH, MANAGER, "StartVM",
		g_variant_new("(s@a{sv})", "web", g_variant_new_parsed("{'x': <%s>}", text)),
		DBUS_ERROR("InvalidArgs"), "arguments: too large, *");
	g_assert_cmpuint(polkit_count(&scene.polkit, client_name(scene.owner)), ==, 0);
	scene_done(&scene);
}

/* A service that waits for an answer is not idle. */
static void test_not_idle(void)
{
	static const FixtureOptions brief = {.is_system = true, .idle_exit = 0.05};
	Scene scene;
	Question question, prompt;
	gsize mark;
	guint32 call;

	scene_init(&scene, &brief);
	call = client_send_interactively(scene.owner, scene.web, VM, "Start", fixture_no_options());
	question = polkit_next(&scene.polkit, "org.roost1.manage");
	polkit_answer(&scene.polkit, &question, CHALLENGE);
	prompt = polkit_next(&scene.polkit, "org.roost1.manage");
	/* Several times what it would have waited for. (Were this too short, a defect would pass, but no test
	 * fail.) */
	mark = client_mark(scene.f->client);
	g_usleep(300000);
	g_assert_cmpuint(client_count(scene.f->client, mark, client_mark(scene.f->client),
				 "/org/freedesktop/DBus", "NameOwnerChanged", "('" NAME "', ':*', '')"),
		==, 0);
	polkit_answer(&scene.polkit, &prompt, YES);
	expect_done(scene.owner, call);
	scene_done(&scene);
}

/* ---- everything at once ---- */
typedef struct Storm {
	Scene scene;
	GRand *rand;
	GPtrArray *open; /* Question: polkit has it */
	Client *clients[6];
	GArray *calls[6]; /* serials that are to be answered */
} Storm;

static void take_questions(Storm *storm)
{
	Polkit *polkit = &storm->scene.polkit;
	gsize end = client_mark(polkit->client);

	for (; polkit->next < end; polkit->next++) {
		GDBusMessage *message = client_message(polkit->client, polkit->next);
		Question *question;

		if (g_strcmp0(g_dbus_message_get_member(message), "CheckAuthorization") != 0)
			continue;
		question = g_new0(Question, 1);
		read_question(message, question);
		g_ptr_array_add(storm->open, question);
	}
}

static void answer_one(Storm *storm, bool at_the_end)
{
	static const char *const answers[] = {YES, YES, NO, CHALLENGE, DISMISSED, "((true,),)"};
	g_autofree Question *question = NULL;
	int which;

	if (storm->open->len == 0)
		return;
	which = g_rand_int_range(storm->rand, 0, (int)storm->open->len);
	question = g_ptr_array_steal_index_fast(storm->open, (guint)which);
	if (g_rand_int_range(storm->rand, 0, 10) == 0)
		polkit_fail(&storm->scene.polkit, question, "org.example.Oops", "oops");
	else
		polkit_answer(&storm->scene.polkit, question,
			answers[g_rand_int_range(
				storm->rand, 0, at_the_end ? 3 : (int)G_N_ELEMENTS(answers))]);
}

static void call_one(Storm *storm, guint which)
{
	static const char *const members[] = {
		"Pause", "Resume", "Reset", "Kill", "Start", "ExecuteQMP", "Update"};
	const char *member = members[g_rand_int_range(storm->rand, 0, G_N_ELEMENTS(members))];
	GVariant *args = strcmp(member, "Start") == 0    ? fixture_no_options()
			 : strcmp(member, "Update") == 0 ? g_variant_new_parsed("(@a{sv} {}, @a{sv} {})")
			 : strcmp(member, "ExecuteQMP") == 0
				 ? g_variant_new("(s)", "{\"execute\": \"query-status\"}")
				 : NULL;
	Client *client = storm->clients[which];
	guint32 serial;

	if (storm->calls[which]->len >= 100)
		return;
	if (g_rand_boolean(storm->rand)) {
		serial = client_send_interactively(client, storm->scene.web, VM, member, args);
	} else {
		serial = client_send(client, storm->scene.web, VM, member, args);
	}
	g_array_append_val(storm->calls[which], serial);
}

static void renew(Storm *storm, guint which)
{
	client_free(storm->clients[which]);
	storm->clients[which] = client_new_as(storm->scene.f->address, OWNER_UID + which % 3);
	g_array_set_size(storm->calls[which], 0);
}

static bool has_unanswered(Storm *storm)
{
	for (guint i = 0; i < G_N_ELEMENTS(storm->clients); i++)
		for (guint j = 0; j < storm->calls[i]->len; j++)
			if (!is_answered(storm->clients[i], g_array_index(storm->calls[i], guint32, j)))
				return true;
	return false;
}

/* Random calls, answers in a random order, callers that leave at random: each call that has somebody to be
 * answered is, once. */
static void test_storm(void)
{
	Storm storm = {.rand = g_rand_new_with_seed(g_test_rand_int()),
		.open = g_ptr_array_new_with_free_func(g_free)};
	gint64 until;

	scene_init(&storm.scene, &system_bus);
	for (guint i = 0; i < G_N_ELEMENTS(storm.clients); i++) {
		storm.calls[i] = g_array_new(FALSE, FALSE, sizeof(guint32));
		renew(&storm, i);
	}
	for (unsigned i = 0; i < 1500; i++) {
		guint which = (guint)g_rand_int_range(storm.rand, 0, G_N_ELEMENTS(storm.clients));

		if (g_rand_int_range(storm.rand, 0, 100) == 0)
			renew(&storm, which);
		if (g_rand_boolean(storm.rand))
			call_one(&storm, which);
		take_questions(&storm);
		if (g_rand_boolean(storm.rand))
			answer_one(&storm, false);
	}
	until = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
	while (has_unanswered(&storm)) {
		take_questions(&storm);
		while (storm.open->len > 0)
			answer_one(&storm, true);
		g_assert_cmpint(g_get_monotonic_time(), <, until);
	}
	for (guint i = 0; i < G_N_ELEMENTS(storm.clients); i++) {
		gsize end = client_sync(storm.clients[i]);

		for (guint j = 0; j < storm.calls[i]->len; j++) {
			guint n = 0;

			for (gsize k = 0; k < end; k++)
				n += g_dbus_message_get_reply_serial(client_message(storm.clients[i], k)) ==
				     g_array_index(storm.calls[i], guint32, j);
			g_assert_cmpuint(n, ==, 1);
		}
		client_free(storm.clients[i]);
		g_array_unref(storm.calls[i]);
	}
	scene_done(&storm.scene);
	g_ptr_array_unref(storm.open);
	g_rand_free(storm.rand);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	if (!scene_is_possible())
		return 0;
	g_test_add_func("/polkit-load/silence", test_silence);
	g_test_add_func("/polkit-load/turns", test_turns);
	g_test_add_func("/polkit-load/refused", test_refused);
	g_test_add_func("/polkit-load/many-prompts", test_many_prompts);
	g_test_add_func("/polkit-load/unanswered", test_unanswered);
	g_test_add_func("/polkit-load/large", test_large);
	g_test_add_func("/polkit-load/not-idle", test_not_idle);
	g_test_add_func("/polkit-load/storm", test_storm);
	return g_test_run();
}
