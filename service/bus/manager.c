/* The Manager's object: its vtable, its properties. */
#include <string.h>

#include "bus/capabilities.h"
#include "bus/members.h"

#define ARCHITECTURE "x86_64"

static int on_call(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	return member_handle(userdata, NULL, message);
}

static int get_text(sd_bus *connection, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const Bus *bus = userdata;
	const char *text = strcmp(property, "Version") == 0        ? ROOST_VERSION
			   : strcmp(property, "Architecture") == 0 ? ARCHITECTURE
								   : capabilities_version(bus);

	return sd_bus_message_append_basic(reply, 's', text);
}

static int get_accelerators(sd_bus *connection, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const char *words[CAPABILITIES_ACCELERATORS_MAX];

	capabilities_accelerators(userdata, words);
	return sd_bus_message_append_strv(reply, (char **)words);
}

static int get_features(sd_bus *connection, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	return sd_bus_message_append_strv(reply, NULL);
}

static int get_count(sd_bus *connection, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const Bus *bus = userdata;

	return sd_bus_message_append(reply, "u", strcmp(property, "NVMs") == 0 ? bus->n_vms : bus->n_running);
}

static int get_sequence(sd_bus *connection, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const Bus *bus = userdata;

	return sd_bus_message_append(reply, "t", bus->sequence);
}

/* sd-bus's own idea of privilege would ask the bus and wait; access.c decides. */
#define ANY   SD_BUS_VTABLE_UNPRIVILEGED
#define CONST SD_BUS_VTABLE_PROPERTY_CONST
#define TOLD  SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

/* clang-format off */
static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("DefineVM", SD_BUS_ARGS("a{sv}", config), SD_BUS_RESULT("o", vm), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("CreateVM", SD_BUS_ARGS("a{sv}", config, "a{sv}", options), SD_BUS_RESULT("o", vm), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("ValidateVM", SD_BUS_ARGS("a{sv}", config), SD_BUS_RESULT("a(sss)", problems), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("GetCapabilities", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("a{sv}", info), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("GetVM", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", vm), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("GetVMByPID", SD_BUS_ARGS("u", pid), SD_BUS_RESULT("o", vm), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("ListVMs", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(sso)", vms), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("StartVM", SD_BUS_ARGS("s", name, "a{sv}", options), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("ShutdownVM", SD_BUS_ARGS("s", name, "a{sv}", options), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("KillVM", SD_BUS_ARGS("s", name), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("GetEvents", SD_BUS_ARGS("t", after, "u", max, "a{sv}", options),
		SD_BUS_RESULT("b", gap, "a(otsutttsa{sv})", events), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("ListOperations", SD_BUS_NO_ARGS, SD_BUS_RESULT("aa{sv}", list), on_call, ANY),
	SD_BUS_SIGNAL_WITH_ARGS("VMNew", SD_BUS_ARGS("s", name, "o", vm), 0),
	SD_BUS_SIGNAL_WITH_ARGS("VMRemoved", SD_BUS_ARGS("s", name, "o", vm), 0),
	SD_BUS_PROPERTY("Version", "s", get_text, 0, CONST),
	SD_BUS_PROPERTY("QemuVersion", "s", get_text, 0, TOLD),
	SD_BUS_PROPERTY("Architecture", "s", get_text, 0, TOLD),
	SD_BUS_PROPERTY("Accelerators", "as", get_accelerators, 0, TOLD),
	SD_BUS_PROPERTY("Features", "as", get_features, 0, CONST),
	SD_BUS_PROPERTY("NVMs", "u", get_count, 0, TOLD),
	SD_BUS_PROPERTY("NRunning", "u", get_count, 0, TOLD),
	SD_BUS_PROPERTY("EventSequence", "t", get_sequence, 0, 0),
	SD_BUS_VTABLE_END,
};
/* clang-format on */

int manager_register(Bus *bus)
{
	return sd_bus_add_object_vtable(bus->connection, NULL, BUS_PATH, BUS_MANAGER, vtable, bus);
}
