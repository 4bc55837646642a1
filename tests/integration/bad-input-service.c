/* What the service says of itself. */
#include <string.h>

#include "bad-input.h"

/* A key that nothing has, and a value that no key takes. */
#define UNKNOWN_KEY "NoSuchKey"

static void option_free(gpointer data)
{
	Option *option = data;

	g_free(option->key);
	g_free(option->signature);
	g_free(option);
}

static void method_free(gpointer data)
{
	Method *method = data;

	for (unsigned i = 0; i < method->n_arguments; i++)
		g_clear_pointer(&method->arguments[i].options, g_ptr_array_unref);
	g_free(method->arguments);
	g_free((char *)method->result);
	g_free(method);
}

Service *service_free(Service *service)
{
	if (!service)
		return NULL;
	g_ptr_array_unref(service->methods);
	g_dbus_node_info_unref(service->manager);
	g_dbus_node_info_unref(service->vm);
	g_free(service);
	return NULL;
}

/* ---- arguments ---- */
/* Good ones that a method's argument has by its name; all others have the nothing of their type. */
static GVariant *good_value(const World *world, const Method *method, const Argument *argument)
{
	const char *name = argument->name, *signature = argument->signature;

	if (argument->kind == DICT_CONFIG)
		return strcmp(name, "config") == 0 ? world->base
						   : g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0);
	if (!method->is_ours && strcmp(name, "interface_name") == 0)
		return g_variant_new_string(method->is_vm ? VM : MANAGER);
	if (!method->is_ours && strcmp(name, "property_name") == 0)
		return g_variant_new_string(method->is_vm ? "Name" : "Version");
	if (strcmp(name, "name") == 0 && !method->is_vm)
		return g_variant_new_string("target-off");
	if (strcmp(name, "keys") == 0)
		return g_variant_new_parsed("['a']");
	if (strcmp(name, "command") == 0)
		return g_variant_new_string("{\"execute\": \"query-status\"}");
	if (strcmp(signature, "v") == 0)
		return g_variant_new_parsed("<'text'>");
	if (strcmp(signature, "o") == 0)
		return g_variant_new_object_path("/");
	if (*signature == 's')
		return g_variant_new_string("");
	/* A container without children, a zero. */
	return g_variant_new_from_data(G_VARIANT_TYPE(signature), "\0\0\0\0\0\0\0\0",
		*signature == 'a'           ? 0
		: strchr("xtd", *signature) ? 8
		: strchr("iuh", *signature) ? 4
		: strchr("nq", *signature)  ? 2
					    : 1,
		TRUE, NULL, NULL);
}

GVariant *method_arguments(const World *world, const Method *method, unsigned index, GVariant *value)
{
	g_autofree GVariant **children = g_new0(GVariant *, method->n_arguments + 1);

	for (unsigned i = 0; i < method->n_arguments; i++)
		children[i] = value && i == index ? value : good_value(world, method, &method->arguments[i]);
	return g_variant_new_tuple(children, method->n_arguments);
}

/* ---- options ---- */
static const char *path_of(const World *world, const Method *method)
{
	return method->is_vm ? world->running.path : PATH;
}

static char *ask_for_refusal(World *world, const Method *method, unsigned index, const char *key)
{
	GVariant *dict = g_variant_new_parsed("{%s: <(byte 1, byte 2)>}", key);
	g_auto(Answer) answer = {0};

	world_ask(world, path_of(world, method), method->interface, method->name,
		method_arguments(world, method, index, dict), &answer);
	if (answer.result) {
		g_autofree char *text = g_variant_print(answer.result, FALSE);

		return g_steal_pointer(&text);
	}
	return g_strdup(answer.text);
}

/* "options.Timeout: must be a 64-bit count (t), not of type (yy)" */
static char *learn_type(World *world, const Method *method, unsigned index, const char *key)
{
	g_autofree char *text = ask_for_refusal(world, method, index, key);
	g_autofree char *start = g_strdup_printf("options.%s: ", key);
	g_autoptr(GRegex) regex = g_regex_new("\\(([a-z{}()]+)\\), not ", 0, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;

	if (!g_str_has_prefix(text, start) || !g_regex_match(regex, text, 0, &match))
		g_error("%s does not tell the type of options.%s: %s", method->name, key, text);
	return g_match_info_fetch(match, 1);
}

/* "options.NoSuchKey: unknown, Shutdown takes Mode, Timeout, Force" */
static void learn_dict(World *world, const Method *method, unsigned index)
{
	Argument *argument = &method->arguments[index];
	g_autofree char *text = ask_for_refusal(world, method, index, UNKNOWN_KEY);
	g_autofree char *start = g_strdup_printf("options." UNKNOWN_KEY ": unknown, %s takes ", method->name);
	g_auto(GStrv) keys = NULL;

	if (strstr(text, UNKNOWN_KEY ": unknown key")) {
		argument->kind = DICT_CONFIG;
		return;
	}
	if (!g_str_has_prefix(text, start))
		g_error("%s does not refuse an unknown key of %s by name: %s", method->name, argument->name,
			text);
	argument->kind = DICT_OPTIONS;
	argument->options = g_ptr_array_new_with_free_func(option_free);
	if (strcmp(text + strlen(start), "no options yet") == 0)
		return;
	keys = g_strsplit(text + strlen(start), ", ", -1);
	for (char **key = keys; *key; key++) {
		Option *option = g_new0(Option, 1);

		option->key = g_strdup(*key);
		option->signature = learn_type(world, method, index, *key);
		g_ptr_array_add(argument->options, option);
	}
}

/* ---- methods ---- */
static char *result_of(const GDBusMethodInfo *info)
{
	g_autoptr(GString) signature = g_string_new("(");

	for (GDBusArgInfo **arg = info->out_args; arg && *arg; arg++)
		g_string_append(signature, (*arg)->signature);
	return g_string_free(g_string_append_c(g_steal_pointer(&signature), ')'), FALSE);
}

static void learn_method(
	Service *service, const GDBusInterfaceInfo *interface, const GDBusMethodInfo *info, bool is_vm)
{
	Method *method = g_new0(Method, 1);

	method->interface = interface->name;
	method->name = info->name;
	method->result = result_of(info);
	method->is_vm = is_vm;
	method->is_ours = g_str_has_prefix(interface->name, NAME);
	for (GDBusArgInfo **arg = info->in_args; arg && *arg; arg++)
		method->n_arguments++;
	method->arguments = g_new0(Argument, method->n_arguments + 1);
	for (unsigned i = 0; i < method->n_arguments; i++) {
		method->arguments[i].name = info->in_args[i]->name;
		method->arguments[i].signature = info->in_args[i]->signature;
	}
	g_ptr_array_add(service->methods, method);
}

static GDBusNodeInfo *introspect(World *world, const char *path)
{
	g_auto(Answer) answer = {0};
	g_autoptr(GError) error = NULL;
	GDBusNodeInfo *info;
	const char *xml;

	world_ask(world, path, "org.freedesktop.DBus.Introspectable", "Introspect", NULL, &answer);
	g_variant_get(answer.result, "(&s)", &xml);
	info = g_dbus_node_info_new_for_xml(xml, &error);
	g_assert_no_error(error);
	return info;
}

static void learn_methods(Service *service, GDBusNodeInfo *node, bool is_vm)
{
	for (GDBusInterfaceInfo **interface = node->interfaces; interface && *interface; interface++)
		for (GDBusMethodInfo **method = (*interface)->methods; method && *method; method++)
			learn_method(service, *interface, *method, is_vm);
}

Service *service_learn(World *world)
{
	Service *service = g_new0(Service, 1);
	guint n_options = 0, n_configs = 0;

	service->manager = introspect(world, PATH);
	service->vm = introspect(world, world->running.path);
	service->methods = g_ptr_array_new_with_free_func(method_free);
	learn_methods(service, service->manager, false);
	learn_methods(service, service->vm, true);
	for (guint i = 0; i < service->methods->len; i++) {
		const Method *method = service->methods->pdata[i];

		for (unsigned j = 0; method->is_ours && j < method->n_arguments; j++)
			if (strcmp(method->arguments[j].signature, "a{sv}") == 0) {
				learn_dict(world, method, j);
				n_options += method->arguments[j].kind == DICT_OPTIONS;
				n_configs += method->arguments[j].kind == DICT_CONFIG;
			}
	}
	g_test_message("%u methods, %u with options, %u with definitions", service->methods->len, n_options,
		n_configs);
	/* One that learns nothing would test nothing. */
	g_assert_cmpuint(n_options, >=, 10);
	g_assert_cmpuint(n_configs, >=, 4);
	return service;
}
