#include "bus/object-manager.h"

#include <errno.h>

#include "bus/errors.h"
#include "bus/members.h"
#include "bus/properties.h"

#define OBJECT_MANAGER "org.freedesktop.DBus.ObjectManager"

/* a{sa{sv}}: what is at a VM's path. */
static int append_interfaces(sd_bus_message *message, const BusVm *bv)
{
	int r = sd_bus_message_open_container(message, 'a', "{sa{sv}}");

	if (r >= 0)
		r = sd_bus_message_open_container(message, 'e', "sa{sv}");
	if (r >= 0)
		r = sd_bus_message_append(message, "s", BUS_VM);
	if (r >= 0)
		r = properties_append_all(message, &bv->picture);
	if (r >= 0)
		r = sd_bus_message_close_container(message);
	return r < 0 ? r : sd_bus_message_close_container(message);
}

int object_manager_new_signal(BusVm *bv, bool added, sd_bus_message **ret_message)
{
	int r = sd_bus_message_new_signal(bv->bus->connection, ret_message, BUS_PATH, OBJECT_MANAGER,
		added ? "InterfacesAdded" : "InterfacesRemoved");

	if (r >= 0)
		r = sd_bus_message_append(*ret_message, "o", bv->path);
	if (r < 0)
		return r;
	return added ? append_interfaces(*ret_message, bv)
		     : sd_bus_message_append(*ret_message, "as", 1, BUS_VM);
}

typedef struct Listing {
	sd_bus_message *reply;
	size_t size;
	int r;
} Listing;

static void append_object(Vm *vm, void *user)
{
	Listing *listing = user;
	const BusVm *bv = bus_vm_of(vm);

	if (listing->r < 0 || !bv || !bv->exported)
		return;
	listing->size += properties_size(&bv->picture);
	if (listing->size > BUS_REPLY_MAX) {
		listing->r = -EFBIG;
		return;
	}
	listing->r = sd_bus_message_open_container(listing->reply, 'e', "oa{sa{sv}}");
	if (listing->r >= 0)
		listing->r = sd_bus_message_append(listing->reply, "o", bv->path);
	if (listing->r >= 0)
		listing->r = append_interfaces(listing->reply, bv);
	if (listing->r >= 0)
		listing->r = sd_bus_message_close_container(listing->reply);
}

static int append_objects(Bus *bus, sd_bus_message *reply) ON_BUS_THREAD
{
	Listing listing = {.reply = reply};

	listing.r = sd_bus_message_open_container(reply, 'a', "{oa{sa{sv}}}");
	if (listing.r >= 0)
		registry_foreach(bus->registry, append_object, &listing);
	return listing.r < 0 ? listing.r : sd_bus_message_close_container(reply);
}

/* sees every message to /org/roost1 before the vtables do: takes one method, lets the others pass. */
static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Bus *bus = userdata;
	sd_bus_message *reply = NULL;
	g_autoptr(GError) refusal = NULL;
	int r;

	assert_bus_thread(__func__);
	if (!sd_bus_message_is_method_call(message, OBJECT_MANAGER, "GetManagedObjects") ||
		!sd_bus_message_has_signature(message, ""))
		return 0;
	if (!member_may_list(bus, "GetManagedObjects", &refusal)) {
		r = error_reply(message, refusal);
		return r < 0 ? r : 1;
	}
	r = sd_bus_message_new_method_return(message, &reply);
	if (r >= 0)
		r = append_objects(bus, reply);
	if (r == -EFBIG) {
		refusal = g_error_new(VM_ERROR, VM_ERROR_LIMIT_REACHED,
			"GetManagedObjects: the reply would be over %u MiB, read the VMs one by one",
			BUS_REPLY_MAX >> 20);

		r = error_reply(message, refusal);
	} else if (r >= 0 && sd_bus_message_get_expect_reply(message)) {
		r = sd_bus_send(bus->connection, reply, NULL);
	}
	sd_bus_message_unref(reply);
	return r < 0 ? r : 1;
}

int object_manager_register(Bus *bus)
{
	int r = sd_bus_add_object_manager(bus->connection, NULL, BUS_PATH);

	return r < 0 ? r : sd_bus_add_object(bus->connection, NULL, BUS_PATH, on_message, bus);
}
