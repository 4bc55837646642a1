/*
 * bench-floor: the least that a D-Bus service can do, as the limit that ./bench compares with. A method and a
 * property that do nothing, a list and a tree of objects in Roost's shapes, and a signal for each line that a
 * QEMU says on its QMP socket.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "qmp-client.h"

#define NAME         "org.roost1.Floor"
#define PATH         "/floor"
#define N_PROPERTIES 26 /* as many as a VM of Roost's has */

typedef struct Floor {
	sd_bus *bus;
	sd_event *event;
	QmpClient qmp;
} Floor;

static int ping(sd_bus_message *call, void *data, sd_bus_error *ret_error)
{
	return sd_bus_reply_method_return(call, "");
}

static int get_name(sd_bus *bus, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *data, sd_bus_error *ret_error)
{
	return sd_bus_message_append(reply, "s", "floor");
}

static void vm_path(char *text, size_t size, uint32_t i)
{
	snprintf(text, size, "/org/roost1/vm/%032x", i);
}

/* List(u n) -> a(sso): as ListVMs. */
static int list(sd_bus_message *call, void *data, sd_bus_error *ret_error)
{
	sd_bus_message *reply = NULL;
	char path[64], name[32];
	uint32_t n;
	int r = sd_bus_message_read(call, "u", &n);

	if (r >= 0)
		r = sd_bus_message_new_method_return(call, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(sso)");
	for (uint32_t i = 0; r >= 0 && i < n; i++) {
		vm_path(path, sizeof path, i);
		snprintf(name, sizeof name, "vm%u", i);
		r = sd_bus_message_append(reply, "(sso)", name, "off", path);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	if (r >= 0)
		r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r;
}

static int append_object(sd_bus_message *reply, uint32_t i)
{
	char path[64], key[32];
	int r;

	vm_path(path, sizeof path, i);
	r = sd_bus_message_open_container(reply, 'e', "oa{sa{sv}}");
	if (r >= 0)
		r = sd_bus_message_append(reply, "o", path);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "{sa{sv}}");
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'e', "sa{sv}");
	if (r >= 0)
		r = sd_bus_message_append(reply, "s", "org.roost1.VM");
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "{sv}");
	for (unsigned k = 0; r >= 0 && k < N_PROPERTIES; k++) {
		snprintf(key, sizeof key, "Property%u", k);
		r = k % 2 ? sd_bus_message_append(reply, "{sv}", key, "t", (uint64_t)k)
			  : sd_bus_message_append(reply, "{sv}", key, "s", "a value");
	}
	for (unsigned k = 0; r >= 0 && k < 4; k++)
		r = sd_bus_message_close_container(reply);
	return r;
}

/* Objects(u n) -> a{oa{sa{sv}}}: as GetManagedObjects. */
static int objects(sd_bus_message *call, void *data, sd_bus_error *ret_error)
{
	sd_bus_message *reply = NULL;
	uint32_t n;
	int r = sd_bus_message_read(call, "u", &n);

	if (r >= 0)
		r = sd_bus_message_new_method_return(call, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "{oa{sa{sv}}}");
	for (uint32_t i = 0; r >= 0 && i < n; i++)
		r = append_object(reply, i);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	if (r >= 0)
		r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r;
}

/* ---- a QEMU ---- */
static int take_qmp(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	Floor *floor = data;
	const char *line;

	while ((line = qmp_client_line(&floor->qmp))) {
		if (qmp_event_usec(line, "STOP") > 0)
			sd_bus_emit_signal(floor->bus, PATH, NAME, "Event", "s", "STOP");
		else if (qmp_event_usec(line, "RESUME") > 0)
			sd_bus_emit_signal(floor->bus, PATH, NAME, "Event", "s", "RESUME");
	}
	return 0;
}

/* Watch(s path): signals tell what is said on this socket. */
static int watch(sd_bus_message *call, void *data, sd_bus_error *ret_error)
{
	Floor *floor = data;
	const char *path;
	int r = sd_bus_message_read(call, "s", &path);

	if (r >= 0)
		r = qmp_client_open(&floor->qmp, path);
	if (r >= 0)
		r = sd_event_add_io(floor->event, NULL, floor->qmp.fd, 1 /* EPOLLIN */, take_qmp, floor);
	return r < 0 ? r : sd_bus_reply_method_return(call, "");
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Ping", "", "", ping, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("List", "u", "a(sso)", list, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Objects", "u", "a{oa{sa{sv}}}", objects, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Watch", "s", "", watch, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Name", "s", get_name, 0, 0),
	SD_BUS_SIGNAL("Event", "s", 0),
	SD_BUS_VTABLE_END,
};

static int run(Floor *floor, const char *address)
{
	int r = sd_event_default(&floor->event);

	if (r >= 0)
		r = sd_bus_new(&floor->bus);
	if (r >= 0)
		r = sd_bus_set_address(floor->bus, address);
	if (r >= 0)
		r = sd_bus_set_bus_client(floor->bus, true);
	if (r >= 0)
		r = sd_bus_start(floor->bus);
	if (r >= 0)
		r = sd_bus_attach_event(floor->bus, floor->event, 0);
	if (r >= 0)
		r = sd_bus_set_exit_on_disconnect(floor->bus, true);
	if (r >= 0)
		r = sd_bus_add_object_vtable(floor->bus, NULL, PATH, NAME, vtable, floor);
	if (r >= 0)
		r = sd_bus_request_name(floor->bus, NAME, 0);
	return r < 0 ? r : sd_event_loop(floor->event);
}

int main(int argc, char **argv)
{
	static Floor floor;
	int r = argc == 2 ? run(&floor, argv[1]) : -EINVAL;

	if (r < 0)
		fprintf(stderr, "bench-floor: %s: %s\n", argc == 2 ? argv[1] : "an address is needed",
			strerror(-r));
	return r < 0;
}
