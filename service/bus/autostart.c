#include "bus/autostart.h"

#include "bus/units.h"
#include "bus/user-limits.h"
#include "util/log.h"

#define MARK        "autostarted"
#define AT_ONCE_MAX 4

/* ---- a Start of Roost's own ---- */
static bool begin_start(BusVm *bv, bool again) ON_BUS_THREAD
{
	OperationArgs args = {.start.again = again};
	g_autoptr(Operation) op = operation_new(&operation_start, bv->vm, &args);
	g_autoptr(GError) error = NULL;

	op->own = true;
	if (user_limits_check_start(bv, &error) && operation_submit(op, &error)) {
		bv->own_start_id = op->entry.id;
		bv->own_start_again = again;
		return true;
	}
	log_vm(LOG_WARNING, bus_vm_name(bv), bv->vm->uuid,
		again ? "not started again: %s" : "not started with the service: %s", error->message);
	return false;
}

/* Some at a time, so that those who call find threads. */
static void begin_some(Bus *bus) ON_BUS_THREAD
{
	while (!bus->ending && bus->n_autostarting < AT_ONCE_MAX && !g_queue_is_empty(&bus->autostart)) {
		BusVm *bv = g_queue_pop_head(&bus->autostart);

		if (begin_start(bv, false))
			bus->n_autostarting++;
		bus_vm_unref(bv);
	}
}

/* It comes, or was taken back. */
static void is_over(Bus *bus, BusVm *bv, bool again) ON_BUS_THREAD
{
	if (bv)
		bv->own_start_id = 0;
	if (again)
		bus->n_restarting--;
	else
		bus->n_autostarting--;
	begin_some(bus);
}

void own_start_done(Bus *bus, const Operation *op)
{
	BusVm *bv = bus_vm_of(op->vm);
	bool again = op->args.start.again;

	if (op->error)
		log_vm(LOG_WARNING, bv ? bus_vm_name(bv) : op->vm->uuid, op->vm->uuid,
			again ? "not started again: %s" : "not started with the service: %s",
			op->error->message);
	is_over(bus, bv, again);
}

void own_start_taken_back(BusVm *bv)
{
	is_over(bv->bus, bv, bv->own_start_again);
}

/* ---- with the host ---- */
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

void autostart_end(Bus *bus)
{
	while (!g_queue_is_empty(&bus->autostart))
		bus_vm_unref(g_queue_pop_head(&bus->autostart));
}

/* ---- after a crash ---- */
void restart_look_at(BusVm *bv)
{
	/* How it ended systemd could not tell any more. */
	if (units_is_asking(bv->bus, bv->vm))
		return;
	if (!bv->bus->ending && bv->own_start_id == 0 && vm_take_restart(bv->vm) && begin_start(bv, true))
		bv->bus->n_restarting++;
}

static void look_for_restart(Vm *vm, void *user)
{
	assert_bus_thread(__func__);
	restart_look_at(bus_vm_of(vm));
}

void restart_begin(Bus *bus)
{
	registry_foreach(bus->registry, look_for_restart, NULL);
}
