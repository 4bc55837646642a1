#include "bus/problems.h"

#include <string.h>

#include "bus/errors.h"

/* What stands before the first colon, but for one in quotes. */
static char *culprit_of(const char *text)
{
	const char *colon = strstr(text, ": ");
	bool quoted = false;

	for (const char *c = text; *c; c++) {
		quoted ^= *c == '\'';
		if (!quoted && g_str_has_prefix(c, ": "))
			return g_strndup(text, (size_t)(c - text));
	}
	return colon ? g_strndup(text, (size_t)(colon - text)) : g_strdup("");
}

static int append_problem(sd_bus_message *reply, const GError *problem)
{
	g_autofree char *text = error_to_text(problem);
	g_autofree char *key = culprit_of(text);

	return sd_bus_message_append(reply, "(sss)", key, error_to_dbus_name(problem), text);
}

int problems_append(sd_bus_message *reply, const void *data)
{
	const GPtrArray *problems = data;
	int r = sd_bus_message_open_container(reply, 'a', "(sss)");

	for (unsigned i = 0; i < problems->len && r >= 0; i++)
		r = append_problem(reply, problems->pdata[i]);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

int problems_append_validation(sd_bus_message *reply, const Bus *bus, const Operation *op)
{
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
	g_autoptr(GVariant) list = g_variant_get_child_value(op->result, 0);
	const VmConfig *config = bus_vm_of(op->vm)->picture.view->config;
	GError *taken = NULL;
	GVariantIter iter;
	const char *message;
	int code;

	if (!registry_is_free(bus->registry, config->name, config->uuid, &taken))
		g_ptr_array_add(problems, taken);
	g_variant_iter_init(&iter, list);
	while (g_variant_iter_next(&iter, "(i&s)", &code, &message))
		g_ptr_array_add(problems, g_error_new_literal(VM_ERROR, code, message));
	return problems_append(reply, problems);
}
