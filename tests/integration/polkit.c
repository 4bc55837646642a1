#include "polkit.h"

#include <string.h>
#include <unistd.h>

static void polkit_init(Polkit *polkit, Fixture *f)
{
	polkit->client = client_new(f->address);
	client_own_name(polkit->client, POLKIT);
	polkit->next = client_mark(polkit->client);
}

void read_question(GDBusMessage *message, Question *ret_question)
{
	g_autoptr(GVariant) subject = NULL;
	GVariant *body = g_dbus_message_get_body(message);
	const char *kind;

	g_assert_cmpstr(g_variant_get_type_string(body), ==, "((sa{sv})sa{ss}us)");
	ret_question->message = message;
	g_variant_get(body, "((&s@a{sv})&s@a{ss}u&s)", &kind, &subject, &ret_question->action, NULL,
		&ret_question->flags, &ret_question->cancellation);
	g_assert_cmpstr(kind, ==, "system-bus-name");
	g_assert_true(g_variant_lookup(subject, "name", "&s", &ret_question->subject));
}

Question polkit_next(Polkit *polkit, const char *action)
{
	gsize position = client_await_call(polkit->client, polkit->next, "CheckAuthorization");
	Question question;

	read_question(client_message(polkit->client, position), &question);
	polkit->next = position + 1;
	if (action)
		g_assert_cmpstr(question.action, ==, action);
	return question;
}

static void polkit_send(Polkit *polkit, const Question *question, GVariant *body)
{
	g_autoptr(GDBusMessage) reply = g_dbus_message_new_method_reply(question->message);

	g_dbus_message_set_body(reply, body);
	client_send_message(polkit->client, reply);
}

void polkit_answer(Polkit *polkit, const Question *question, const char *answer)
{
	polkit_send(polkit, question, g_variant_new_parsed(answer));
}

void polkit_fail(Polkit *polkit, const Question *question, const char *name, const char *text)
{
	g_autoptr(GDBusMessage) reply =
		g_dbus_message_new_method_error_literal(question->message, name, text);

	client_send_message(polkit->client, reply);
}

guint polkit_count(Polkit *polkit, const char *subject)
{
	gsize end = client_sync(polkit->client);
	guint n = 0;

	for (gsize i = polkit->next; i < end; i++) {
		GDBusMessage *message = client_message(polkit->client, i);
		Question question;

		if (g_strcmp0(g_dbus_message_get_member(message), "CheckAuthorization") != 0)
			continue;
		read_question(message, &question);
		n += !subject || strcmp(question.subject, subject) == 0;
	}
	return n;
}

/* ---- the scene ---- */
bool scene_is_possible(void)
{
	if (geteuid() == 0)
		return true;
	g_print("1..0 # SKIP needs root, to be other users\n");
	return false;
}

char *scene_define(Scene *scene, Client *client, const char *name)
{
	g_autofree char *script = fixture_write(scene->f, "script", "", 0);
	g_autofree char *text =
		g_strdup_printf("({'Name': <'%s'>, 'Memory': <uint64 67108864>, 'Kernel': <'%s'>, "
				"'KernelCommandLine': <'mock=%s'>, 'Accelerator': <'tcg'>},)",
			name, scene->f->kernel, script);
	guint32 call = client_send(client, PATH, MANAGER, "DefineVM", g_variant_new_parsed(text));
	Question question = polkit_next(&scene->polkit, "org.roost1.define");
	g_autoptr(GVariant) result = NULL;
	char *path;

	polkit_answer(&scene->polkit, &question, YES);
	result = client_result(client, call);
	g_variant_get(result, "(o)", &path);
	return path;
}

void scene_init(Scene *scene, const FixtureOptions *options)
{
	*scene = (Scene){.f = fixture_new(options)};
	polkit_init(&scene->polkit, scene->f);
	scene->owner = client_new_as(scene->f->address, OWNER_UID);
	scene->other = client_new_as(scene->f->address, OTHER_UID);
	scene->web = scene_define(scene, scene->owner, "web");
}

void scene_done(Scene *scene)
{
	g_free(scene->web);
	client_free(scene->owner);
	client_free(scene->other);
	fixture_free(scene->f);
	client_free(scene->polkit.client);
}

guint32 send_start(Client *client, const char *path)
{
	return client_send(client, path, VM, "Start", fixture_no_options());
}

void scene_start(Scene *scene)
{
	client_do(scene->f->client, scene->web, VM, "Start", fixture_no_options());
}

bool is_answered(Client *client, guint32 serial)
{
	gsize end = client_sync(client);

	for (gsize i = 0; i < end; i++)
		if (g_dbus_message_get_reply_serial(client_message(client, i)) == serial)
			return true;
	return false;
}

void expect_done(Client *client, guint32 call)
{
	g_variant_unref(client_result(client, call));
}
