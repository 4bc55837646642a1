#include "bus/bound.h"

#include <string.h>

#include "bus/calls.h"
#include "bus/publish.h"
#include "util/log.h"

char *bound_describe(Bus *bus, const char *sender)
{
	char id[SD_ID128_STRING_MAX] = "";
	sd_id128_t bus_id;

	if (sd_bus_get_bus_id(bus->connection, &bus_id) >= 0)
		sd_id128_to_string(bus_id, id);
	return g_strdup_printf("%s %s", id, sender);
}

static void end_vm(BusVm *bv) ON_BUS_THREAD
{
	uint64_t id = operation_next_id();

	log_vm(LOG_INFO, bus_vm_name(bv), bv->vm->uuid,
		"the caller to whom it is bound (%s) has left: it is ended", bv->bound_name);
	bus_vm_ref(bv);
	vm_kill(bv->vm, id, VM_REASON_CALLER_LEFT);
	calls_cancel_before(bv, id);
	publish_kept(bv);
	bus_vm_unref(bv);
}

void bound_add(BusVm *bv, const char *sender)
{
	g_assert(!bv->bound_name);
	bv->bound_name = g_strdup(sender);
	bv->bound_link.data = bv;
	g_queue_push_tail_link(&bv->bus->bound, &bv->bound_link);
}

void bound_forget(BusVm *bv)
{
	if (!bv->bound_name)
		return;
	bv->bound_question = sd_bus_slot_unref(bv->bound_question);
	g_queue_unlink(&bv->bus->bound, &bv->bound_link);
	g_clear_pointer(&bv->bound_name, g_free);
}

void bound_sender_left(Bus *bus, const char *sender)
{
	GList *next;

	for (GList *l = bus->bound.head; l; l = next) {
		BusVm *bv = l->data;

		next = l->next;
		if (strcmp(bv->bound_name, sender) == 0)
			end_vm(bv);
	}
}

/* ---- those of an earlier roostd ---- */
static int on_answer(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	BusVm *bv = userdata;
	int there = true;

	assert_bus_thread(__func__);
	bv->bound_question = sd_bus_slot_unref(bv->bound_question);
	if (sd_bus_message_is_method_error(message, NULL) || sd_bus_message_read(message, "b", &there) < 0)
		log_warning("The bus does not tell whether %s is on it", bv->bound_name);
	else if (!there)
		end_vm(bv);
	return 0;
}

static void take_over(Vm *vm, void *user)
{
	Bus *bus = user;
	BusVm *bv = bus_vm_of(vm);
	const char *sender = vm->bound_to ? strchr(vm->bound_to, ' ') : NULL;
	g_autofree char *now = NULL;
	int r;

	assert_bus_thread(__func__);
	if (!sender)
		return;
	bound_add(bv, ++sender);
	now = bound_describe(bus, sender);
	/* On another bus a unique name is somebody else's. */
	if (strcmp(now, vm->bound_to) != 0) {
		end_vm(bv);
		return;
	}
	/* That it leaves is heard from now on: the match was asked for before. */
	r = sd_bus_call_method_async(bus->connection, &bv->bound_question, "org.freedesktop.DBus",
		"/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner", on_answer, bv, "s", sender);
	if (r < 0)
		log_warning("The bus can't be asked whether %s is on it: %s", sender, g_strerror(-r));
}

void bound_take_over(Bus *bus)
{
	registry_foreach(bus->registry, take_over, bus);
}
