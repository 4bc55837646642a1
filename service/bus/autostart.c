#include "bus/autostart.h"

#include "bus/user-limits.h"
#include "util/log.h"

#define MARK        "autostarted"
#define AT_ONCE_MAX 4

static void begin_some(Bus *bus) ON_BUS_THREAD
{
	while (!bus->ending && bus->n_autostarting < AT_ONCE_MAX && !g_queue_is_empty(&bus->autostart)) {
		BusVm *bv = g_queue_pop_head(&bus->autostart);
		OperationArgs args = {0};
		g_autoptr(Operation) op = operation_new(&operation_start, bv->vm, &args);
		g_autoptr(GError) error = NULL;

		op->own = true;
		bv->autostarting = user_limits_check_start(bv, &error) && operation_submit(op, &error);
		if (bv->autostarting)
			bus->n_autostarting++;
		else
			log_vm(LOG_WARNING, bus_vm_name(bv), bv->vm->uuid, "not started with the service: %s",
				error->message);
		bus_vm_unref(bv);
	}
}

static void look_at_vm(Vm *vm, void *user)
{
	Bus *bus = user;
	BusVm *bv = bus_vm_of(vm);

	if (bv->picture.view->config->autostart && !vm_state_is_active(bv->picture.view->state))
		g_queue_push_tail(&bus->autostart, bus_vm_ref(bv));
}

void autostart_begin(Bus *bus)
{
	int r = runtime_dir_mark(bus->engine->options.runtime_dir, MARK);

	if (r < 0)
		log_warning("Whether VMs were started with the host already can't be found out: %s",
			g_strerror(-r));
	if (r <= 0)
		return;
	registry_foreach(bus->registry, look_at_vm, bus);
	begin_some(bus);
}

void autostart_done(Bus *bus, const Operation *op)
{
	BusVm *bv = bus_vm_of(op->vm);

	bus->n_autostarting--;
	if (bv)
		bv->autostarting = false;
	if (op->error)
		log_vm(LOG_WARNING, bv ? bus_vm_name(bv) : op->vm->uuid, op->vm->uuid,
			"not started with the service: %s", op->error->message);
	begin_some(bus);
}

void autostart_end(Bus *bus)
{
	while (!g_queue_is_empty(&bus->autostart))
		bus_vm_unref(g_queue_pop_head(&bus->autostart));
}
