#include "bus/reads.h"

#include <errno.h>
#include <string.h>

#include "bus/calls.h"
#include "bus/variant.h"
#include "util/text.h"

static bool built(int r, const char *member, GError **error)
{
	if (r >= 0)
		return true;
	if (r == -EFBIG)
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED, "%s: the reply would be over %u MiB",
			member, BUS_REPLY_MAX >> 20);
	else
		g_set_error(error, VM_ERROR, VM_ERROR_FAILED, "%s: the reply can't be made: %s", member,
			g_strerror(-r));
	return false;
}

bool read_get_vm(Bus *bus, BusVm *none, sd_bus_message *message, sd_bus_message *reply, GError **error)
{
	const char *name = NULL;
	const BusVm *bv;

	assert_bus_thread(__func__);
	if (!member_read_text(message, "name", &name, error))
		return false;
	bv = bus_vm_by_name(bus, name, error);
	return bv && built(sd_bus_message_append(reply, "o", bv->path), "GetVM", error);
}

typedef struct Search {
	uint32_t pid;
	const BusVm *found;
} Search;

static void look_for_pid(Vm *vm, void *user)
{
	Search *search = user;
	const BusVm *bv = bus_vm_of(vm);

	if (bv->exported && bv->picture.view->pid == search->pid)
		search->found = bv;
}

bool read_get_vm_by_pid(Bus *bus, BusVm *none, sd_bus_message *message, sd_bus_message *reply, GError **error)
{
	Search search = {0};
	int r = sd_bus_message_read_basic(message, 'u', &search.pid);

	assert_bus_thread(__func__);
	if (r < 0)
		return built(r, "GetVMByPID", error);
	/* 0 is what a VM without QEMU shows. */
	if (search.pid != 0)
		registry_foreach(bus->registry, look_for_pid, &search);
	if (!search.found) {
		g_set_error(
			error, VM_ERROR, VM_ERROR_NO_SUCH_VM, "pid: process %u is no VM's QEMU", search.pid);
		return false;
	}
	return built(sd_bus_message_append(reply, "o", search.found->path), "GetVMByPID", error);
}

/* ---- lists ---- */
typedef struct List {
	sd_bus_message *reply;
	size_t left; /* bytes */
	int r;
} List;

#define LISTED_VM_SIZE 256 /* about: name, state, path */

static void append_vm(Vm *vm, void *user)
{
	List *list = user;
	const BusVm *bv = bus_vm_of(vm);

	if (list->r < 0 || !bv->exported)
		return;
	if (list->left < LISTED_VM_SIZE) {
		list->r = -EFBIG;
		return;
	}
	list->left -= LISTED_VM_SIZE;
	list->r = sd_bus_message_append(
		list->reply, "(sso)", bus_vm_name(bv), vm_state_to_string(bv->picture.view->state), bv->path);
}

static void append_operations(Vm *vm, void *user)
{
	List *list = user;

	if (list->r >= 0)
		list->r = calls_append_list(bus_vm_of(vm), list->reply);
}

static bool read_list(Bus *bus, sd_bus_message *reply, const char *member, const char *type,
	RegistryFunc func, GError **error) ON_BUS_THREAD
{
	List list = {.reply = reply, .left = BUS_REPLY_MAX};

	list.r = sd_bus_message_open_container(reply, 'a', type);
	if (list.r >= 0)
		registry_foreach(bus->registry, func, &list);
	if (list.r >= 0)
		list.r = sd_bus_message_close_container(reply);
	return built(list.r, member, error);
}

bool read_list_vms(Bus *bus, BusVm *none, sd_bus_message *message, sd_bus_message *reply, GError **error)
{
	assert_bus_thread(__func__);
	return read_list(bus, reply, "ListVMs", "(sso)", append_vm, error);
}

bool read_list_operations(
	Bus *bus, BusVm *none, sd_bus_message *message, sd_bus_message *reply, GError **error)
{
	assert_bus_thread(__func__);
	return read_list(bus, reply, "ListOperations", "a{sv}", append_operations, error);
}

/* ---- GetEvents ---- */
static bool append_event(const HistoryEvent *event, void *user)
{
	List *list = user;
	size_t size = 256 + strlen(event->name) + 2 * g_variant_get_size(event->data);

	/* A message that is full ends early: the reader goes on from there. */
	if (size > list->left)
		return false;
	list->left -= size;
	list->r = sd_bus_message_open_container(list->reply, 'r', "otsutttsa{sv}");
	if (list->r >= 0)
		list->r = sd_bus_message_append(list->reply, "otsuttts", event->vm, event->sequence,
			event->name, event->count, event->previous, event->first_usec, event->last_usec,
			event->origin);
	if (list->r >= 0)
		list->r = variant_append(list->reply, event->data, -1);
	if (list->r >= 0)
		list->r = sd_bus_message_close_container(list->reply);
	return list->r >= 0;
}

static bool nothing(const HistoryEvent *event, void *user)
{
	return false;
}

bool read_get_events(Bus *bus, BusVm *none, sd_bus_message *message, sd_bus_message *reply, GError **error)
{
	static const OptionRow rows[] = {{"VM", 'o', 0, OPTION_NO_FLAG}};
	g_autoptr(GVariant) dict = NULL;
	List list = {.reply = reply, .left = BUS_REPLY_MAX};
	const char *vm = NULL;
	uint64_t after;
	uint32_t max;
	bool gap;
	int r = sd_bus_message_read(message, "tu", &after, &max);

	assert_bus_thread(__func__);
	if (r < 0)
		return built(r, "GetEvents", error);
	if (!member_read_options(message, "GetEvents", rows, G_N_ELEMENTS(rows), &vm, &dict, error))
		return false;
	if (vm && !bus_vm_by_path(bus, vm) && !history_knows(bus->history, vm)) {
		g_autofree char *quoted = text_quote(vm);

		g_set_error(
			error, VM_ERROR, VM_ERROR_UNKNOWN_OBJECT, "options.VM: %s is no VM's object", quoted);
		return false;
	}
	/* The gap stands before the events. */
	gap = history_read(bus->history, vm, after, 0, nothing, NULL);
	r = sd_bus_message_append(reply, "b", (int)gap);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(otsutttsa{sv})");
	if (r >= 0) {
		history_read(bus->history, vm, after, max, append_event, &list);
		r = list.r;
	}
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return built(r, "GetEvents", error);
}

/* ---- GetConfig ---- */
bool read_get_config(Bus *bus, BusVm *bv, sd_bus_message *message, sd_bus_message *reply, GError **error)
{
	static const OptionRow rows[] = {{"Running", 'b', 0, OPTION_NO_FLAG}};
	const VmView *view = bv->picture.view;
	g_autoptr(GVariant) dict = NULL, config = NULL;
	bool running = false;
	int r;

	if (!member_read_options(message, "GetConfig", rows, G_N_ELEMENTS(rows), &running, &dict, error))
		return false;
	if (running && !view->running_config) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE,
			"options.Running: the VM '%s' is %s; this needs a QEMU", bus_vm_name(bv),
			vm_state_to_string(view->state));
		return false;
	}
	config = g_variant_ref_sink(vm_config_to_variant(running ? view->running_config : view->config));
	r = variant_append(reply, config, -1);
	if (r >= 0)
		r = sd_bus_message_append(reply, "t", view->revision);
	return built(r, "GetConfig", error);
}
