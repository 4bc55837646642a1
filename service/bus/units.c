#include "bus/autostart.h"
#include "bus/units.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

#define SYSTEMD          "org.freedesktop.systemd1"
#define SYSTEMD_PATH     "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER  SYSTEMD ".Manager"
#define SYSTEMD_SERVICE  SYSTEMD ".Service"
#define AGAIN_USEC       (20 * USEC_PER_MSEC)
#define EXISTS_USEC      (5 * USEC_PER_SEC)  /* for so long an earlier unit may be on its way out */
#define STATUS_WAIT_USEC (5 * USEC_PER_MSEC) /* the first time, then twice as long */
#define STATUS_TRIES_MAX 10                  /* 5 s in all */

/* A request, until systemd has answered. */
typedef struct UnitStart {
	Bus *bus;
	GList link; /* Bus.units.starts */
	UnitRequest *request;
	uint64_t since_usec; /* monotonic */
	sd_bus_slot *slot;   /* asked; NULL: it waits */
	bool is_done;        /* the Start, before systemd has answered */
} UnitStart;

/* A unit that is held. */
typedef struct Unit {
	Bus *bus;
	char *name, *path;
	UnitRequest *request; /* of the Start that is under way; NULL: it is done */
	Vm *vm;               /* whose QEMU has ended; a reference */
	uint64_t n_exits;
	unsigned n_tries;
	sd_bus_slot *slot;
	int code; /* waitid(2)'s si_code */
	Timer timer;
} Unit;

/* ---- held units ---- */
/* systemd has nothing to say to it that we would want to know. */
static void let_go(Bus *bus, const char *name)
{
	sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(
		bus->connection, &m, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, "UnrefUnit");

	if (r >= 0)
		r = sd_bus_message_append(m, "s", name);
	if (r >= 0)
		r = sd_bus_message_set_expect_reply(m, false);
	if (r >= 0)
		r = sd_bus_message_set_auto_start(m, false);
	if (r >= 0 && !bus->lost)
		r = sd_bus_send(bus->connection, m, NULL);
	if (r < 0)
		log_warning("The unit %s can't be let go: %s", name, g_strerror(-r));
	sd_bus_message_unref(m);
}

static void unit_free(void *data)
{
	Unit *unit = data;

	sd_bus_slot_unref(unit->slot);
	timer_done(&unit->timer);
	unit_request_unref(unit->request);
	vm_unref(unit->vm);
	g_free(unit->name);
	g_free(unit->path);
	g_free(unit);
}

static void forget(Bus *bus, const char *name) ON_BUS_THREAD
{
	Unit *unit = g_hash_table_lookup(bus->units.held, name);

	g_autoptr(Vm) ended = NULL;
	BusVm *bv;

	if (!unit)
		return;
	ended = unit->vm ? vm_ref(unit->vm) : NULL;
	let_go(bus, name);
	g_hash_table_remove(bus->units.held, name);
	bv = ended ? bus_vm_of(ended) : NULL;
	if (bv)
		restart_look_at(bv);
}

static Unit *hold(Bus *bus, const char *name, UnitRequest *request)
{
	Unit *unit = g_new0(Unit, 1);

	unit->bus = bus;
	unit->name = g_strdup(name);
	unit->request = request ? unit_request_ref(request) : NULL;
	if (sd_bus_path_encode(SYSTEMD_PATH "/unit", name, &unit->path) < 0)
		unit->path = g_strdup("/");
	g_hash_table_replace(bus->units.held, unit->name, unit);
	return unit;
}

/* ---- how a QEMU ended ---- */
static void ask_code(Unit *unit) ON_BUS_THREAD;

static int ask_property(Unit *unit, const char *property, sd_bus_message_handler_t handler)
{
	sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(
		unit->bus->connection, &m, SYSTEMD, unit->path, "org.freedesktop.DBus.Properties", "Get");

	unit->slot = sd_bus_slot_unref(unit->slot);
	if (r >= 0)
		r = sd_bus_message_append(m, "ss", SYSTEMD_SERVICE, property);
	if (r >= 0)
		r = sd_bus_message_set_auto_start(m, false);
	if (r >= 0)
		r = sd_bus_call_async(unit->bus->connection, &unit->slot, m, handler, unit, 0);
	sd_bus_message_unref(m);
	return r;
}

static bool read_int(sd_bus_message *message, int *ret)
{
	return !sd_bus_message_is_method_error(message, NULL) &&
	       sd_bus_message_read(message, "v", "i", ret) >= 0;
}

static int on_status(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Unit *unit = userdata;
	int status;

	assert_bus_thread(__func__);
	if (read_int(message, &status))
		unit_file_exit_status(unit->vm, unit->n_exits, unit->code == CLD_EXITED ? status : 0,
			unit->code == CLD_EXITED ? 0 : status);
	forget(unit->bus, unit->name);
	return 0;
}

/* We may have seen the end before systemd has. */
static void ask_again(Unit *unit) ON_BUS_THREAD
{
	if (++unit->n_tries >= STATUS_TRIES_MAX) {
		log_debug("%s: systemd does not say how it ended", unit->name);
		forget(unit->bus, unit->name);
		return;
	}
	timer_set(&unit->timer, clock_monotonic_usec() + (STATUS_WAIT_USEC << unit->n_tries));
}

static int on_code(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Unit *unit = userdata;

	assert_bus_thread(__func__);
	if (!read_int(message, &unit->code))
		forget(unit->bus, unit->name);
	else if (unit->code == 0)
		ask_again(unit);
	else if (ask_property(unit, "ExecMainStatus", on_status) < 0)
		forget(unit->bus, unit->name);
	return 0;
}

static void ask_code(Unit *unit)
{
	if (ask_property(unit, "ExecMainCode", on_code) < 0)
		forget(unit->bus, unit->name);
}

static void on_unit_time(void *user)
{
	assert_bus_thread(__func__);
	ask_code(user);
}

void units_vm_ended(Bus *bus, Vm *vm, uint64_t n_exits)
{
	g_autofree char *name = bus->engine->has_units ? unit_name(vm->uuid) : NULL;
	Unit *unit = name ? g_hash_table_lookup(bus->units.held, name) : NULL;

	if (!unit || unit->vm)
		return;
	unit->vm = vm_ref(vm);
	unit->n_exits = n_exits;
	if (timer_init(&unit->timer, bus->loop, on_unit_time, unit) < 0)
		forget(bus, name);
	else
		ask_code(unit);
}

bool units_is_asking(const Bus *bus, const Vm *vm)
{
	g_autofree char *name = bus->engine->has_units ? unit_name(vm->uuid) : NULL;
	const Unit *unit = name ? g_hash_table_lookup(bus->units.held, name) : NULL;

	return unit && unit->vm;
}

void units_start_done(Bus *bus, const Vm *vm)
{
	g_autofree char *name = bus->engine->has_units ? unit_name(vm->uuid) : NULL;
	Unit *unit = name ? g_hash_table_lookup(bus->units.held, name) : NULL;

	for (GList *l = name ? bus->units.starts.head : NULL; l; l = l->next) {
		UnitStart *start = l->data;

		if (strcmp(start->request->unit, name) == 0)
			start->is_done = true;
	}
	if (!unit || !unit->request)
		return;
	/* One that came to nothing would keep its name. */
	if (!atomic_load(&unit->request->launched))
		forget(bus, name);
	else
		g_clear_pointer(&unit->request, unit_request_unref);
}

static int on_adopted(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Unit *unit = userdata;

	assert_bus_thread(__func__);
	/* Without it, how its QEMU ends will not be known. */
	if (sd_bus_message_is_method_error(message, NULL)) {
		log_debug("%s: %s", unit->name, sd_bus_message_get_error(message)->message);
		g_hash_table_remove(unit->bus->units.held, unit->name);
	} else {
		unit->slot = sd_bus_slot_unref(unit->slot);
	}
	return 0;
}

void units_adopt(Bus *bus, Vm *vm, const char *name)
{
	Unit *unit;

	if (!bus->engine->has_units || *name == '\0')
		return;
	unit = hold(bus, name, NULL);
	if (sd_bus_call_method_async(bus->connection, &unit->slot, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER,
		    "RefUnit", on_adopted, unit, "s", name) < 0)
		g_hash_table_remove(bus->units.held, name);
}

/* ---- starting one ---- */
static void start_free(UnitStart *start)
{
	g_queue_unlink(&start->bus->units.starts, &start->link);
	sd_bus_slot_unref(start->slot);
	unit_request_unref(start->request);
	g_free(start);
}

static void wait_a_little(UnitStart *start)
{
	start->slot = sd_bus_slot_unref(start->slot);
	timer_set(&start->bus->units.timer, clock_monotonic_usec() + AGAIN_USEC);
}

/* The QEMU may have come and gone before systemd's answer was read. */
static void look_for_end(const UnitStart *start) ON_BUS_THREAD
{
	const UnitRequest *request = start->request;
	Vm *vm = registry_find(start->bus->registry, request->uuid, NULL);
	const BusVm *bv = vm ? bus_vm_of(vm) : NULL;
	const VmView *view = bv ? bv->picture.view : NULL;

	if (view && view->n_exits > request->n_exits)
		units_vm_ended(start->bus, vm, view->n_exits);
	else if (!vm && start->is_done)
		forget(start->bus, request->unit);
}

/* systemd has the unit: it is the launcher's turn. */
static void on_unit_there(UnitStart *start) ON_BUS_THREAD
{
	UnitRequest *request = start->request;

	/* The other copies go with the launcher: then the worker sees that it is gone. */
	fd_close(&request->launcher_fd);
	if (atomic_load(&request->cancelled) && !atomic_load(&request->launched))
		let_go(start->bus, request->unit);
	else
		hold(start->bus, request->unit, atomic_load(&request->launched) ? NULL : request);
	look_for_end(start);
}

/* The one before is on its way out, or systemd is away. */
static bool may_ask_again(const UnitStart *start, const sd_bus_error *refusal)
{
	uint64_t now = clock_monotonic_usec();

	if (sd_bus_error_has_name(refusal, SYSTEMD ".UnitExists"))
		return now < start->since_usec + engine_scaled_usec(start->bus->engine, EXISTS_USEC);
	return now < start->request->deadline_usec &&
	       sd_bus_error_has_names(refusal, SD_BUS_ERROR_NAME_HAS_NO_OWNER, SD_BUS_ERROR_SERVICE_UNKNOWN,
		       SD_BUS_ERROR_DISCONNECTED, SD_BUS_ERROR_NO_REPLY);
}

static int on_started(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	UnitStart *start = userdata;
	UnitRequest *request = start->request;
	const sd_bus_error *refusal = sd_bus_message_get_error(message);

	assert_bus_thread(__func__);
	if (!sd_bus_message_is_method_error(message, NULL)) {
		on_unit_there(start);
		start_free(start);
		return 0;
	}
	/* Should it come of it yet, or have been ours. */
	let_go(start->bus, request->unit);
	if (may_ask_again(start, refusal)) {
		wait_a_little(start);
		return 0;
	}
	unit_request_fail(request,
		sd_bus_error_has_names(refusal, SD_BUS_ERROR_LIMITS_EXCEEDED, SD_BUS_ERROR_NO_MEMORY)
			? VM_ERROR_LIMIT_REACHED
			: VM_ERROR_QEMU_FAILED,
		g_strdup_printf("systemd does not start the unit %s: %s", request->unit, refusal->message));
	start_free(start);
	return 0;
}

static int ask_systemd(UnitStart *start, uint64_t now)
{
	Bus *bus = start->bus;
	sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(
		bus->connection, &m, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, "StartTransientUnit");

	if (r >= 0)
		r = sd_bus_message_append(m, "ss", start->request->unit, "fail");
	if (r >= 0)
		r = unit_properties_append(m, bus->engine, start->request);
	if (r >= 0)
		r = sd_bus_message_append(m, "a(sa(sv))", 0);
	if (r >= 0)
		r = sd_bus_message_set_auto_start(m, false);
	if (r >= 0)
		r = sd_bus_call_async(bus->connection, &start->slot, m, on_started, start,
			start->request->deadline_usec - now);
	sd_bus_message_unref(m);
	return r;
}

/* Asks, or waits for systemd. Frees it when there is nothing more to do. */
static void try_start(UnitStart *start) ON_BUS_THREAD
{
	UnitRequest *request = start->request;
	uint64_t now = clock_monotonic_usec();
	int r;

	if (atomic_load(&request->cancelled) || now >= request->deadline_usec) {
		start_free(start);
		return;
	}
	if (!start->bus->units.is_there) {
		timer_set(&start->bus->units.timer, request->deadline_usec);
		return;
	}
	/* How the one before ended matters less. */
	forget(start->bus, request->unit);
	r = ask_systemd(start, now);
	if (r < 0) {
		unit_request_fail(request, VM_ERROR_LIMIT_REACHED,
			g_strdup_printf(
				"systemd can't be asked for the unit %s: %s", request->unit, g_strerror(-r)));
		start_free(start);
	}
}

static void try_waiting(void *user)
{
	Bus *bus = user;
	GList *next;

	assert_bus_thread(__func__);
	for (GList *l = bus->units.starts.head; l; l = next) {
		UnitStart *start = l->data;

		next = l->next;
		if (!start->slot)
			try_start(start);
	}
}

void units_take(Bus *bus, UnitRequest *request_consume)
{
	UnitStart *start = g_new0(UnitStart, 1);

	if (bus->ending)
		unit_request_cancel(request_consume);
	start->bus = bus;
	start->request = request_consume;
	start->since_usec = clock_monotonic_usec();
	start->link.data = start;
	g_queue_push_tail_link(&bus->units.starts, &start->link);
	try_start(start);
}

/* ---- systemd itself ---- */
static int on_owner(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Bus *bus = userdata;
	const char *name, *old, *new;

	if (sd_bus_message_read(message, "sss", &name, &old, &new) < 0)
		return 0;
	bus->units.is_there = *new != '\0';
	try_waiting(bus);
	return 0;
}

static int look_for_systemd(Bus *bus)
{
	int r = sd_bus_get_name_creds(bus->connection, SYSTEMD, 0, NULL);

	if (r >= 0)
		return 1;
	return r == -ESRCH || r == -ENXIO ? 0 : r;
}

int units_init(Bus *bus, const char *address)
{
	bool system = strcmp(address, "system") == 0;
	int r;

	g_queue_init(&bus->units.starts);
	bus->units.held = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, unit_free);
	r = timer_init(&bus->units.timer, bus->loop, try_waiting, bus);
	/* The session's systemd ends with the session. */
	if (r < 0 || strcmp(address, "session") == 0)
		return r;
	if (r >= 0)
		r = sd_bus_add_match(bus->connection, NULL,
			"type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
			"interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" SYSTEMD "'",
			on_owner, bus);
	if (r >= 0)
		r = look_for_systemd(bus);
	if (r < 0)
		return r;
	bus->units.is_there = r > 0;
	/* It may be away for a moment. */
	bus->engine->has_units = bus->units.is_there || (system && sd_booted() > 0);
	return 0;
}

void units_done(Bus *bus)
{
	while (bus->units.starts.head)
		start_free(bus->units.starts.head->data);
	g_clear_pointer(&bus->units.held, g_hash_table_unref);
	timer_done(&bus->units.timer);
}
