/*
 * The connection: opened, given its objects, watched, closed; and the bus thread's side of the inbox.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bus/audit.h"
#include "bus/authority.h"
#include "bus/autostart.h"
#include "bus/bound.h"
#include "bus/calls.h"
#include "bus/capabilities.h"
#include "bus/gate.h"
#include "bus/idle.h"
#include "bus/properties.h"
#include "bus/publish.h"
#include "bus/senders.h"
#include "bus/units.h"
#include "bus/watchdog.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

#define INBOX_TURN_MAX 64 /* items between two looks at the socket */
#define ENDING_USEC    (5 * USEC_PER_SEC)
#define FLUSH_USEC     (2 * USEC_PER_SEC)

/* ---- the inbox ---- */
static bool take_item(Bus *bus) ON_BUS_THREAD
{
	InboxItem *item = inbox_take(&bus->engine->inbox, false);

	if (!item)
		return false;
	switch ((InboxKind)item->kind) {
	case INBOX_POST:
		publish_post(bus, vm_from_post_item(item));
		break;
	case INBOX_OPERATION:
		calls_operation_done(bus, operation_from_item(item));
		break;
	case INBOX_HOST:
		capabilities_on_facts(bus, (HostFacts *)((char *)item - offsetof(HostFacts, item)));
		break;
	case INBOX_UNIT:
		units_take(bus, unit_request_from_item(item));
		break;
	}
	return true;
}

static int on_inbox(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	Bus *bus = userdata;
	unsigned n = 0;

	assert_bus_thread(__func__);
	inbox_clear_bell(&bus->engine->inbox);
	while (n < INBOX_TURN_MAX && take_item(bus))
		n++;
	/* Perhaps more is there, and its bell is silenced. */
	if (n == INBOX_TURN_MAX)
		bell_ring(bus->engine->inbox.bell);
	publish_manager(bus);
	if (bus->ending && calls_are_over(bus))
		sd_event_exit(bus->loop, bus->exit_code);
	return 0;
}

/* ---- opening ---- */
static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Bus *bus = userdata;

	if (!bus->lost)
		log_error("The connection to the bus is lost; the VMs go on");
	bus->lost = true;
	sd_event_exit(bus->loop, EXIT_FAILURE);
	return 0;
}

static int connect_to(const char *address, sd_bus **ret)
{
	sd_bus *connection = NULL;
	int r;

	if (strcmp(address, "system") == 0)
		return sd_bus_open_system_with_description(ret, "roost");
	if (strcmp(address, "session") == 0)
		return sd_bus_open_user_with_description(ret, "roost");
	r = sd_bus_new(&connection);
	if (r >= 0)
		r = sd_bus_set_address(connection, address);
	if (r >= 0)
		r = sd_bus_set_bus_client(connection, true);
	if (r >= 0)
		r = sd_bus_start(connection);
	if (r < 0) {
		sd_bus_unref(connection);
		return r;
	}
	*ret = connection;
	return 0;
}

static int set_up(Bus *bus)
{
	int r = gate_register(bus);

	if (r >= 0)
		r = manager_register(bus);
	if (r >= 0)
		r = object_manager_register(bus);
	if (r >= 0)
		r = vm_object_register(bus);
	if (r >= 0)
		r = sd_bus_match_signal(bus->connection, NULL, "org.freedesktop.DBus.Local",
			"/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
			on_disconnected, bus);
	if (r >= 0)
		r = calls_init(bus);
	if (r >= 0)
		r = authority_init(bus);
	if (r >= 0)
		r = senders_init(bus);
	if (r >= 0)
		r = publish_init(bus);
	if (r >= 0)
		r = capabilities_init(bus);
	if (r >= 0)
		r = watchdog_init(bus);
	if (r >= 0)
		r = sd_event_add_io(
			bus->loop, &bus->inbox_source, bus->engine->inbox.bell, EPOLLIN, on_inbox, bus);
	/* The last emission comes after the loop. */
	if (r >= 0)
		r = sd_bus_set_close_on_exit(bus->connection, false);
	return r < 0 ? r : sd_bus_attach_event(bus->connection, bus->loop, SD_EVENT_PRIORITY_NORMAL);
}

static void show_vm(Vm *vm, void *user)
{
	BusVm *bv = bus_vm_new(user, vm);

	assert_bus_thread(__func__);
	publish_vm(bv, PUBLISH_NEW);
	units_adopt(bv->bus, vm, bv->picture.view->unit);
}

int bus_open(const char *address, sd_event *loop, Engine *engine, Registry *registry, Bus **ret_bus,
	char **ret_complaint)
{
	Bus *bus = g_new0(Bus, 1);
	int r;

	bus->loop = loop;
	bus->engine = engine;
	bus->registry = registry;
	bus->own_uid = geteuid();
	bus->has_polkit = strcmp(address, "system") == 0;
	r = connect_to(address, &bus->connection);
	if (r < 0) {
		*ret_complaint = g_strdup_printf("--bus=%s: can't connect: %s", address, g_strerror(-r));
		g_free(bus);
		return r;
	}
	r = set_up(bus);
	if (r >= 0)
		r = units_init(bus, address);
	if (r < 0) {
		*ret_complaint = g_strdup_printf("--bus=%s: %s", address, g_strerror(-r));
		bus_free(bus);
		return r;
	}
	registry_foreach(registry, show_vm, bus);
	bound_take_over(bus);
	*ret_bus = bus;
	return 0;
}

int bus_take_name(Bus *bus, char **ret_complaint)
{
	int r = sd_bus_request_name(bus->connection, BUS_NAME, 0);

	if (r == -EEXIST)
		*ret_complaint = g_strdup(BUS_NAME ": another roostd has this name on the bus");
	else if (r == -EACCES || r == -EPERM)
		*ret_complaint =
			g_strdup_printf(BUS_NAME ": the bus's policy does not allow uid %u to own this name",
				(unsigned)bus->own_uid);
	else if (r < 0)
		*ret_complaint = g_strdup_printf(BUS_NAME ": %s", g_strerror(-r));
	return r < 0 ? r : 0;
}

/* ---- the end ---- */
static void on_ending_time(void *user)
{
	Bus *bus = user;

	log_warning("Operations are still under way after 5 s, leaving them behind");
	sd_event_exit(bus->loop, bus->exit_code);
}

int bus_exit_when_idle(Bus *bus, uint64_t usec)
{
	return idle_init(bus, usec);
}

void bus_limit_users(Bus *bus, const BusLimits *limits)
{
	bus->limits = *limits;
}

void bus_autostart(Bus *bus)
{
	autostart_begin(bus);
	restart_begin(bus);
}

void bus_begin_shutdown(Bus *bus)
{
	if (bus->ending)
		return;
	bus->ending = true;
	autostart_end(bus);
	capabilities_end(bus);
	calls_begin_shutdown(bus);
	if (calls_are_over(bus) || timer_init(&bus->ending_timer, bus->loop, on_ending_time, bus) < 0)
		sd_event_exit(bus->loop, bus->exit_code);
	else
		timer_set(&bus->ending_timer, clock_monotonic_usec() + ENDING_USEC);
}

/* Writes what is queued, but no longer than FLUSH_USEC: a bus that does not read must not hold us. */
static void flush(Bus *bus)
{
	uint64_t until = clock_monotonic_usec() + FLUSH_USEC, n = 0;

	while (!bus->lost && sd_bus_get_n_queued_write(bus->connection, &n) >= 0 && n > 0) {
		uint64_t now = clock_monotonic_usec();

		if (now >= until || sd_bus_process(bus->connection, NULL) < 0 ||
			sd_bus_wait(bus->connection, MIN(until - now, 50 * USEC_PER_MSEC)) < 0)
			break;
	}
}

void bus_finish(Bus *bus)
{
	bus->ending = true;
	while (take_item(bus))
		continue;
	publish_all_kept(bus);
	capabilities_end(bus);
	calls_finish(bus);
	publish_manager(bus);
	sd_bus_detach_event(bus->connection);
	flush(bus);
}

static void drop_vm(Vm *vm, void *user)
{
	BusVm *bv = bus_vm_of(vm);

	assert_bus_thread(__func__);
	if (!bv)
		return;
	bound_forget(bv);
	bus_vm_unref(bv);
}

Bus *bus_free(Bus *bus)
{
	if (!bus)
		return NULL;
	if (bus->senders)
		senders_done(bus);
	authority_done(bus);
	if (bus->calls_by_id)
		calls_done(bus);
	registry_foreach(bus->registry, drop_vm, NULL);
	if (bus->history)
		publish_done(bus);
	capabilities_done(bus);
	timer_done(&bus->ending_timer);
	idle_done(bus);
	watchdog_done(bus);
	units_done(bus);
	audit_done(bus);
	sd_event_source_disable_unref(bus->inbox_source);
	sd_bus_close_unref(bus->connection);
	g_free(bus->vm_vtable);
	g_free(bus);
	return NULL;
}
