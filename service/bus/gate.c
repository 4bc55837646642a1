#include "bus/gate.h"

#include <string.h>

#include "bus/errors.h"
#include "util/text.h"

#define PROPERTIES "org.freedesktop.DBus.Properties"

/* Longer than any object's path here, and than any interface or member. */
#define PATH_MAX_SIZE 255
#define NAME_MAX_SIZE 64

/* What sd-bus carries out itself, and its arguments. */
static const struct {
	const char *interface, *member, *signature;
} standard[] = {
	{"org.freedesktop.DBus.Peer", "Ping", ""},
	{"org.freedesktop.DBus.Peer", "GetMachineId", ""},
	{"org.freedesktop.DBus.Introspectable", "Introspect", ""},
	{"org.freedesktop.DBus.ObjectManager", "GetManagedObjects", ""},
	{PROPERTIES, "Get", "ss"},
	{PROPERTIES, "GetAll", "s"},
	{PROPERTIES, "Set", "ssv"},
};

static bool is_long(const char *name, size_t max)
{
	return name && strnlen(name, max + 1) > max;
}

/* Letters, digits, '_' and '.': what sd-bus may repeat as it is. */
static bool is_plain(const char *name)
{
	if (*name == '\0' || is_long(name, NAME_MAX_SIZE))
		return false;
	for (; *name; name++)
		if (!g_ascii_isalnum(*name) && *name != '_' && *name != '.')
			return false;
	return true;
}

static void check_names(sd_bus_message *message, sd_bus_error *error)
{
	const char *interface = sd_bus_message_get_interface(message);
	g_autofree char *path = NULL, *shown_interface = NULL, *member = NULL;

	if (is_long(sd_bus_message_get_path(message), PATH_MAX_SIZE)) {
		path = text_quote(sd_bus_message_get_path(message));
		sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_OBJECT, "Unknown object %s.", path);
	} else if (is_long(sd_bus_message_get_member(message), NAME_MAX_SIZE) ||
		   is_long(interface, NAME_MAX_SIZE)) {
		shown_interface = text_quote(interface ? interface : "");
		member = text_quote(sd_bus_message_get_member(message));
		sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_METHOD, "Unknown method %s or interface %s.",
			member, shown_interface);
	}
}

/* Apart, so that a read that is none of this does not pay for it. */
static void refuse_property(const char *interface, const char *property, bool all, sd_bus_error *error)
{
	g_autofree char *shown_interface = text_quote(interface), *shown_property = text_quote(property);

	if (all)
		sd_bus_error_setf(
			error, SD_BUS_ERROR_UNKNOWN_INTERFACE, "Unknown interface %s.", shown_interface);
	else
		sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_PROPERTY,
			"Unknown interface %s or property %s.", shown_interface, shown_property);
}

/* What stands first in the message: the interface, and (not of GetAll) the property. */
static void check_property(sd_bus_message *message, bool all, sd_bus_error *error)
{
	const char *interface = "", *property = "";
	int r = sd_bus_message_read_basic(message, 's', &interface);

	if (r >= 0 && !all)
		r = sd_bus_message_read_basic(message, 's', &property);
	if (r < 0)
		sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
			"%s: can't be read: it has a noncharacter (such as U+FFFE)",
			*interface ? "property_name" : "interface_name");
	/* GetAll of no interface is of all. */
	else if ((all && *interface == '\0') || (is_plain(interface) && (all || is_plain(property))))
		sd_bus_message_rewind(message, true);
	else
		refuse_property(interface, property, all, error);
}

static void check_standard(sd_bus_message *message, sd_bus_error *error)
{
	const char *interface = sd_bus_message_get_interface(message),
		   *member = sd_bus_message_get_member(message);

	for (size_t i = 0; i < G_N_ELEMENTS(standard); i++) {
		if (strcmp(standard[i].interface, interface) != 0 || strcmp(standard[i].member, member) != 0)
			continue;
		if (!sd_bus_message_has_signature(message, standard[i].signature))
			sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
				"Invalid arguments '%s' to call %s.%s(), expecting '%s'.",
				sd_bus_message_get_signature(message, true), interface, member,
				standard[i].signature);
		else if (*standard[i].signature)
			check_property(message, strcmp(member, "GetAll") == 0, error);
	}
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *unused)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	const char *interface = sd_bus_message_get_interface(message);
	int r;

	assert_bus_thread(__func__);
	if (!sd_bus_message_is_method_call(message, NULL, NULL))
		return 0;
	check_names(message, &error);
	if (!sd_bus_error_is_set(&error) && interface && g_str_has_prefix(interface, "org.freedesktop.DBus."))
		check_standard(message, &error);
	if (!sd_bus_error_is_set(&error))
		return 0;
	r = sd_bus_reply_method_error(message, &error);
	sd_bus_error_free(&error);
	return r < 0 ? r : 1;
}

int gate_register(Bus *bus)
{
	return sd_bus_add_filter(bus->connection, NULL, on_message, bus);
}
