/*
 * The VMs' objects: one fallback vtable for all of them, so that a VM costs the connection nothing. What the
 * bus keeps of each is its BusVm.
 */
#include <errno.h>
#include <string.h>

#include "bus/calls.h"
#include "bus/properties.h"

/* ---- BusVm ---- */
static char *make_path(const char *uuid)
{
	GString *path = g_string_new(BUS_VM_PREFIX "/");

	for (const char *c = uuid; *c; c++)
		if (*c != '-')
			g_string_append_c(path, *c);
	return g_string_free(path, FALSE);
}

BusVm *bus_vm_new(Bus *bus, Vm *vm)
{
	BusVm *bv = g_new0(BusVm, 1);

	g_assert(!vm->bus_user);
	bv->n_refs = 1;
	bv->bus = bus;
	bv->vm = vm_ref(vm);
	bv->path = make_path(vm->uuid);
	g_queue_init(&bv->calls);
	g_queue_init(&bv->kills);
	/* It may have been defined before. */
	bv->picture.event_sequence = history_last(bus->history, bv->path);
	vm->bus_user = bv;
	return bv;
}

BusVm *bus_vm_ref(BusVm *bv)
{
	bv->n_refs++;
	return bv;
}

BusVm *bus_vm_unref(BusVm *bv)
{
	g_assert(bv->n_refs > 0);
	if (--bv->n_refs > 0)
		return NULL;
	g_assert(!bv->kept_back && !bv->bound_name && bv->calls.length == 0 && bv->kills.length == 0);
	bv->vm->bus_user = NULL;
	vm_unref(bv->vm);
	vm_picture_clear(&bv->picture);
	g_free(bv->path);
	g_free(bv);
	return NULL;
}

const char *bus_vm_name(const BusVm *bv)
{
	return bv->picture.view ? bv->picture.view->config->name : bv->vm->uuid;
}

BusVm *bus_vm_by_path(Bus *bus, const char *path)
{
	Vm *vm;

	if (!g_str_has_prefix(path, BUS_VM_PREFIX "/"))
		return NULL;
	vm = registry_find_by_path_id(bus->registry, path + strlen(BUS_VM_PREFIX "/"));
	return vm ? bus_vm_of(vm) : NULL;
}

BusVm *bus_vm_by_name(Bus *bus, const char *name, GError **error)
{
	Vm *vm = registry_find(bus->registry, name, error);

	return vm ? bus_vm_of(vm) : NULL;
}

/* ---- the object ---- */
static int on_call(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	BusVm *bv = userdata;

	return member_handle(bv->bus, bv, message);
}

static int get_property(sd_bus *connection, const char *path, const char *interface, const char *property,
	sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const BusVm *bv = userdata;

	return properties_append_value(reply, property, &bv->picture);
}

/* sd-bus's own idea of privilege would ask the bus and wait; access.c decides. */
#define ANY SD_BUS_VTABLE_UNPRIVILEGED

/* clang-format off */
static const sd_bus_vtable methods[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Start", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("Shutdown", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("Reboot", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("Reset", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("Pause", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("Resume", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("Kill", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("CancelOperation", SD_BUS_ARGS("t", id), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("GetConfig", SD_BUS_ARGS("a{sv}", options),
		SD_BUS_RESULT("a{sv}", config, "t", revision), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("Update", SD_BUS_ARGS("a{sv}", changes, "a{sv}", options),
		SD_BUS_RESULT("as", pending), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("Rename", SD_BUS_ARGS("s", name), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("SetAutostart", SD_BUS_ARGS("b", autostart), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("Undefine", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("OpenConsole", SD_BUS_ARGS("s", name, "a{sv}", options),
		SD_BUS_RESULT("h", console), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("OpenDisplay", SD_BUS_ARGS("s", kind, "a{sv}", options),
		SD_BUS_RESULT("h", display), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("Screenshot", SD_BUS_ARGS("s", format, "a{sv}", options), SD_BUS_RESULT("h", image), on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("SendKeys", SD_BUS_ARGS("as", keys, "a{sv}", options), SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("InjectNMI", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, on_call, ANY),
	SD_BUS_METHOD_WITH_ARGS("ExecuteQMP", SD_BUS_ARGS("s", command), SD_BUS_RESULT("s", result), on_call, ANY),
	SD_BUS_SIGNAL_WITH_ARGS("StateChanged", SD_BUS_ARGS("s", old, "s", new, "s", reason), 0),
	SD_BUS_SIGNAL_WITH_ARGS("Event", SD_BUS_ARGS("t", sequence, "s", event, "u", count, "t", previous, "t", first,
		"t", last, "s", origin, "a{sv}", data), 0),
};
static const sd_bus_vtable end = SD_BUS_VTABLE_END;
/* clang-format on */

static sd_bus_vtable *make_vtable(void)
{
	unsigned n_properties = properties_fill_vtable(NULL, NULL);
	sd_bus_vtable *vtable = g_new0(sd_bus_vtable, G_N_ELEMENTS(methods) + n_properties + 1);

	memcpy(vtable, methods, sizeof(methods));
	properties_fill_vtable(vtable + G_N_ELEMENTS(methods), get_property);
	vtable[G_N_ELEMENTS(methods) + n_properties] = end;
	return vtable;
}

static int find_object(sd_bus *connection, const char *path, const char *interface, void *userdata,
	void **ret_found, sd_bus_error *error)
{
	assert_bus_thread(__func__);
	*ret_found = bus_vm_by_path(userdata, path);
	return *ret_found ? 1 : 0;
}

static void collect_path(Vm *vm, void *user)
{
	const BusVm *bv = bus_vm_of(vm);

	if (bv->exported)
		g_ptr_array_add(user, g_strdup(bv->path));
}

/* sd-bus frees the list by free(3), which is what GLib's allocator uses. */
static int list_objects(
	sd_bus *connection, const char *prefix, void *userdata, char ***ret_paths, sd_bus_error *error)
{
	Bus *bus = userdata;
	GPtrArray *paths = g_ptr_array_new();

	assert_bus_thread(__func__);
	registry_foreach(bus->registry, collect_path, paths);
	g_ptr_array_add(paths, NULL);
	*ret_paths = (char **)g_ptr_array_free(paths, FALSE);
	return 1;
}

int vm_object_register(Bus *bus)
{
	int r;

	bus->vm_vtable = make_vtable();
	r = sd_bus_add_fallback_vtable(
		bus->connection, NULL, BUS_VM_PREFIX, BUS_VM, bus->vm_vtable, find_object, bus);
	return r < 0 ? r
		     : sd_bus_add_node_enumerator(bus->connection, NULL, BUS_VM_PREFIX, list_objects, bus);
}
