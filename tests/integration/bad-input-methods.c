/* Methods: every argument and every option, wrong in every way. Those of VMs are called on one that is off
 * and on one that runs. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bad-input.h"

/* What may stand at the beginning of a text: the method (StartVM is Start), its arguments, and the keys of a
 * definition that it changes. */
static char **culprits_of(const World *world, const Method *method)
{
	GPtrArray *names = g_ptr_array_new();

	for (unsigned i = 0; i < method->n_arguments; i++) {
		GVariantIter iter;
		const char *key;

		g_ptr_array_add(names, g_strdup(method->arguments[i].name));
		if (method->arguments[i].kind != DICT_CONFIG)
			continue;
		g_variant_iter_init(&iter, world->base);
		while (g_variant_iter_next(&iter, "{&sv}", &key, NULL))
			g_ptr_array_add(names, g_strdup(key));
	}
	g_ptr_array_add(names, g_strdup(method->name));
	if (g_str_has_suffix(method->name, "VM"))
		g_ptr_array_add(names, g_strndup(method->name, strlen(method->name) - 2));
	g_ptr_array_add(names, NULL);
	return (char **)g_ptr_array_free(names, FALSE);
}

/* ---- one case ---- */
typedef struct Case {
	World *world;
	const Method *method;
	const char *subject, *name;
	const char *type; /* what is wrong with it, or NULL */
	GVariant *sent;   /* what it is about, or NULL */
} Case;

static void judge(const Case *c, const Target *target, const Answer *answer, GVariant *args)
{
	g_auto(GStrv) names = c->method->is_ours ? culprits_of(c->world, c->method) : NULL;
	const Culprits culprits = {.names = (const char *const *)names};
	g_autofree char *outcome = world_outcome(c->world, answer, &culprits, args, c->type, c->sent);

	if (c->subject)
		table_add(c->world->table, c->subject, target ? target->name : "", c->name, outcome);
	if (!answer->error)
		world_mend(c->world);
}

/* A new VM that came of it goes again. */
static void remove_result(World *world, const Method *method, const Answer *answer)
{
	const char *path;

	if (answer->error || method->is_vm || strcmp(method->result, "(o)") != 0)
		return;
	g_variant_get(answer->result, "(&o)", &path);
	if (strcmp(path, world->off.path) != 0 && strcmp(path, world->running.path) != 0 &&
		strcmp(path, world->witness) != 0)
		world_remove_vm(world, path);
}

static void try_on(const Case *c, const Target *target, GVariant *args, int fd)
{
	g_auto(Answer) answer = {0};

	world_ask_fd(c->world, target ? target->path : PATH, c->method->interface, c->method->name, args, fd,
		&answer);
	remove_result(c->world, c->method, &answer);
	judge(c, target, &answer, args);
}

/* `args` is consumed if floating, or NULL. */
static void try_case(const Case *c, GVariant *args, int fd)
{
	g_autoptr(GVariant) owned = args ? g_variant_ref_sink(args) : NULL;

	if (c->method->is_vm) {
		if (!c->sent || !value_is_giant(c->sent))
			try_on(c, &c->world->off, owned, fd);
		try_on(c, &c->world->running, owned, fd);
	} else {
		try_on(c, NULL, owned, fd);
	}
}

void method_try(World *world, const Method *method, GVariant *args)
{
	try_case(&(Case){.world = world, .method = method}, args, -1);
}

/* ---- signatures ---- */
/* As a message has it: without the parentheses. */
static char *inside(GVariant *args)
{
	const char *type = g_variant_get_type_string(args);

	return g_strndup(type + 1, strlen(type) - 2);
}

static GVariant *with_more(const World *world, const Method *method, GVariant *more)
{
	g_autoptr(GVariant) args = g_variant_ref_sink(method_arguments(world, method, 0, NULL));
	g_autofree GVariant **children = g_new0(GVariant *, method->n_arguments + 1);

	for (unsigned i = 0; i < method->n_arguments; i++)
		children[i] = g_variant_get_child_value(args, i);
	children[method->n_arguments] = more;
	more = g_variant_ref_sink(g_variant_new_tuple(children, method->n_arguments + 1));
	for (unsigned i = 0; i < method->n_arguments; i++)
		g_variant_unref(children[i]);
	return more;
}

static void try_too_many(World *world, const Method *method, const char *subject)
{
	static const char *const more[] = {"'more'", "@a{sv} {}", "<'more'>", NULL};

	for (gsize i = 0; more[i]; i++) {
		g_autoptr(GVariant) args = with_more(world, method, g_variant_new_parsed(more[i]));
		g_autofree char *type = inside(args);

		try_case(&(Case){world, method, subject, "too many arguments", type}, args, -1);
	}
}

static void try_too_few(World *world, const Method *method, const char *subject)
{
	for (unsigned n = 0; n < method->n_arguments; n++) {
		g_autoptr(GVariant) args = g_variant_ref_sink(method_arguments(world, method, 0, NULL));
		g_autofree GVariant **children = g_new0(GVariant *, n + 1);
		g_autoptr(GVariant) few = NULL;
		g_autofree char *type = NULL;

		for (unsigned i = 0; i < n; i++)
			children[i] = g_variant_get_child_value(args, i);
		few = g_variant_ref_sink(g_variant_new_tuple(children, n));
		for (unsigned i = 0; i < n; i++)
			g_variant_unref(children[i]);
		type = inside(few);
		try_case(&(Case){world, method, subject, n == 0 ? "no arguments" : "too few arguments", type},
			n == 0 ? NULL : few, -1);
	}
}

/* The wrong types of an argument: sd-bus looks at the signature as a whole. */
static void try_wrong_types(World *world, const Method *method, unsigned index, const char *subject)
{
	g_autoptr(GPtrArray) values = values_of_other_types(method->arguments[index].signature);

	for (guint i = 0; i < values->len; i++) {
		const Value *value = values->pdata[i];
		g_autoptr(GVariant) args =
			g_variant_ref_sink(method_arguments(world, method, index, value->value));
		g_autofree char *type = inside(args);

		if (strlen(type) <= 255)
			try_case(&(Case){world, method, subject, value->name, type}, args, -1);
	}
}

/* ---- values ---- */
/* In the table it is a word, but for one method: there one sees how it is shown. */
static GVariant *sent_of(const Method *method, const Value *value)
{
	return strcmp(method->name, "GetVM") == 0 ? NULL : value->value;
}

static GVariant *no_options(void)
{
	return g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0);
}

static void try_values(
	World *world, const Method *method, unsigned index, const Values *values, const char *subject)
{
	for (guint i = 0; i < values->len; i++) {
		const Value *value = values->pdata[i];

		try_case(&(Case){world, method, subject, value->name,
				 value->is_type ? g_variant_get_type_string(value->value) : NULL,
				 sent_of(method, value)},
			method_arguments(world, method, index, value->value), -1);
	}
	world_assert_whole(world);
}

/* Those that the service's own words speak of. */
static void try_around(World *world, const Method *method, unsigned index, const char *signature,
	const char *key, const char *subject)
{
	g_autoptr(GArray) numbers = table_numbers(world->table, subject);
	g_autoptr(GPtrArray) values = values_around(signature, numbers, NULL);

	for (guint i = 0; i < values->len; i++) {
		const Value *value = values->pdata[i];
		GVariant *argument = key ? dict_put(no_options(), key, value->value) : value->value;

		try_case(&(Case){world, method, subject, value->name, NULL, sent_of(method, value)},
			method_arguments(world, method, index, argument), -1);
	}
}

static void try_option_values(World *world, const Method *method, unsigned index, const Option *option,
	const Values *values, const char *subject)
{
	for (guint i = 0; i < values->len; i++) {
		const Value *value = values->pdata[i];

		try_case(&(Case){world, method, subject, value->name,
				 value->is_type ? g_variant_get_type_string(value->value) : NULL,
				 sent_of(method, value)},
			method_arguments(
				world, method, index, dict_put(no_options(), option->key, value->value)),
			-1);
	}
	world_assert_whole(world);
}

static void try_option_twice(World *world, const Method *method, unsigned index, const Option *option,
	const Values *values, const char *subject)
{
	const Value *value = values->pdata[0];
	GVariant *dict = dict_put(no_options(), option->key, value->value);

	try_case(&(Case){world, method, subject, "twice", NULL},
		method_arguments(world, method, index, dict_add(dict, option->key, value->value)), -1);
}

/* An fd that is one, and one that is none: the message says there is one, and brings none. */
static void try_option_fd(
	World *world, const Method *method, unsigned index, const Option *option, const char *subject)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	try_case(&(Case){world, method, subject, "(h), with its file", "h"},
		method_arguments(
			world, method, index, dict_put(no_options(), option->key, g_variant_new_handle(0))),
		fd);
	close(fd);
}

static void try_options(World *world, const Method *method, unsigned index, const char *subject)
{
	const Argument *argument = &method->arguments[index];
	g_autoptr(GVariant) none = g_variant_ref_sink(no_options());
	g_autoptr(GPtrArray) dicts = values_of_dict(none);

	try_values(world, method, index, dicts, subject);
	for (guint i = 0; i < argument->options->len; i++) {
		const Option *option = argument->options->pdata[i];
		g_autofree char *own = g_strdup_printf("%s %s.%s", method->name, argument->name, option->key);
		g_autoptr(GPtrArray) wrong = values_of_other_types(option->signature);
		g_autoptr(GPtrArray) right = values_of_type(option->signature, world->fixture->dir);
		g_autoptr(GPtrArray) named = values_of_name(option->key);

		g_assert_cmpuint(right->len, >, 0);
		try_option_values(world, method, index, option, wrong, own);
		try_option_values(world, method, index, option, right, own);
		try_option_values(world, method, index, option, named, own);
		try_around(world, method, index, option->signature, option->key, own);
		try_option_twice(world, method, index, option, right, own);
		try_option_fd(world, method, index, option, own);
	}
}

static void try_argument(World *world, const Method *method, unsigned index)
{
	const Argument *argument = &method->arguments[index];
	g_autofree char *subject = g_strdup_printf("%s %s", method->name, argument->name);

	try_wrong_types(world, method, index, subject);
	if (argument->kind == DICT_OPTIONS) {
		try_options(world, method, index, subject);
	} else if (argument->kind == DICT_NONE) {
		g_autoptr(GPtrArray) values = values_of_type(argument->signature, world->fixture->dir);
		g_autoptr(GPtrArray) named = values_of_name(argument->name);

		g_assert_cmpuint(values->len, >, 0);
		try_values(world, method, index, values, subject);
		try_values(world, method, index, named, subject);
		try_around(world, method, index, argument->signature, NULL, subject);
	}
}

/* ---- without a reply ---- */
/* Whoever wants none gets none, not of a refusal either. */
static void try_silently(World *world, const Method *method)
{
	g_autoptr(GVariant) args = with_more(world, method, g_variant_new_string("more"));
	const char *path = method->is_vm ? world->running.path : PATH;
	gsize mark = client_mark(world->client), end;
	guint32 calls[2];

	calls[0] = client_send_quietly(world->client, path, method->interface, method->name, args);
	calls[1] = client_send_quietly(
		world->client, path, method->interface, "NoSuchMethod", g_variant_new("(s)", "x"));
	world_ping(world);
	end = client_mark(world->client);
	for (gsize i = mark; i < end; i++) {
		guint32 serial = g_dbus_message_get_reply_serial(client_message(world->client, i));

		g_assert_true(serial != calls[0] && serial != calls[1]);
	}
}

static void try_method(World *world, const Method *method)
{
	g_autofree char *subject = g_strdup_printf("%s()", method->name);

	try_too_few(world, method, subject);
	try_too_many(world, method, subject);
	for (unsigned j = 0; j < method->n_arguments; j++)
		try_argument(world, method, j);
	try_silently(world, method);
	world_renew_client(world);
}

void matrix_methods(World *world, const Service *service)
{
	for (guint i = 0; i < service->methods->len; i++) {
		const Method *method = service->methods->pdata[i];

		/* What every object has is looked at once. */
		if (method->is_ours || !method->is_vm)
			try_method(world, method);
	}
}

void matrix_words_to_qemu(World *world, const Service *service)
{
	for (guint i = 0; i < service->methods->len; i++) {
		const Method *method = service->methods->pdata[i];

		if (!method->is_ours || !method->is_vm)
			continue;
		for (unsigned j = 0; j < method->n_arguments; j++)
			if (method->arguments[j].kind == DICT_NONE)
				try_argument(world, method, j);
		world_renew_client(world);
	}
}
