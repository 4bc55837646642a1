#include "bus/idle.h"

#include <errno.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "bus/authority.h"
#include "bus/calls.h"
#include "bus/senders.h"
#include "util/clock.h"
#include "util/log.h"

#define LAST_CALLS_USEC (10 * USEC_PER_SEC) /* for so long they may be under way */
#define LOOK_USEC       (20 * USEC_PER_MSEC)

/* What comes to an end by itself. */
static bool has_operations(Bus *bus) ON_BUS_THREAD
{
	return !calls_are_over(bus) || g_hash_table_size(bus->calls_by_uid) > 0 ||
	       senders_first_waiting(bus) || authority_first_waiting(bus) || bus->n_autostarting > 0 ||
	       bus->n_restarting > 0 || !g_queue_is_empty(&bus->autostart);
}

static bool has_work(Bus *bus) ON_BUS_THREAD
{
	return bus->n_running > 0 || g_hash_table_size(bus->units.held) > 0 || has_operations(bus);
}

static void fail(Bus *bus, const char *what, int error)
{
	log_error("%s: %s", what, g_strerror(error));
	sd_event_exit(bus->loop, EXIT_FAILURE);
}

static void wait_for_idleness(Bus *bus)
{
	timer_set(&bus->idle.timer, bus->idle.last_call_usec + bus->idle.usec);
}

/* ---- back again ---- */
static int on_taken(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Bus *bus = userdata;
	uint32_t code = 0;

	assert_bus_thread(__func__);
	bus->idle.slot = sd_bus_slot_unref(bus->idle.slot);
	/* 1: it is ours. Others mean that it is another's. */
	if (sd_bus_message_is_method_error(message, NULL))
		fail(bus, "The name can't be taken again", sd_bus_message_get_errno(message));
	else if (sd_bus_message_read(message, "u", &code) < 0 || code != 1)
		fail(bus, "The name can't be taken again", EEXIST);
	else
		wait_for_idleness(bus);
	return 0;
}

static void take_again(Bus *bus)
{
	int r;

	log_debug("Not idle any more");
	r = sd_bus_request_name_async(bus->connection, &bus->idle.slot, BUS_NAME, 0, on_taken, bus);
	if (r < 0)
		fail(bus, "The name can't be taken again", -r);
}

/* ---- going ---- */
static void leave(Bus *bus) ON_BUS_THREAD
{
	log_info("Ending: idle");
	/* Of a VM that a last call started somebody must know. */
	bus->exit_code = bus->n_running > 0 ? BUS_EXIT_AGAIN : EXIT_SUCCESS;
	bus_begin_shutdown(bus);
}

/* systemd waits for the end: there is no way back. */
static void finish_last_calls(Bus *bus) ON_BUS_THREAD
{
	uint64_t now = clock_monotonic_usec();

	if (has_operations(bus) && now < bus->idle.released_usec + LAST_CALLS_USEC)
		timer_set(&bus->idle.timer, now + LOOK_USEC);
	else
		leave(bus);
}

static int on_drained(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Bus *bus = userdata;

	assert_bus_thread(__func__);
	bus->idle.slot = sd_bus_slot_unref(bus->idle.slot);
	if (bus->ending)
		return 0;
	if (bus->idle.is_last)
		finish_last_calls(bus);
	else if (bus->idle.last_call_usec > bus->idle.released_usec || has_work(bus))
		take_again(bus);
	else
		leave(bus);
	return 0;
}

static int on_released(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Bus *bus = userdata;
	int r;

	assert_bus_thread(__func__);
	bus->idle.slot = sd_bus_slot_unref(bus->idle.slot);
	if (bus->ending)
		return 0;
	/* Some call us by our unique name, and learn late that we give up the other. */
	r = sd_bus_call_method_async(bus->connection, &bus->idle.slot, "org.freedesktop.DBus",
		"/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId", on_drained, bus, NULL);
	if (r < 0)
		fail(bus, "The bus can't be asked", -r);
	return 0;
}

static void on_idle_time(void *user)
{
	Bus *bus = user;
	uint64_t now = clock_monotonic_usec();
	int r;

	assert_bus_thread(__func__);
	if (bus->ending || bus->idle.slot)
		return;
	if (bus->idle.is_last) {
		finish_last_calls(bus);
		return;
	}
	/* A VM that runs is looked at again after the same time. */
	if (has_work(bus))
		bus->idle.last_call_usec = now;
	if (bus->idle.last_call_usec + bus->idle.usec > now) {
		wait_for_idleness(bus);
		return;
	}
	bus->idle.released_usec = now;
	/* Before the name is free, so that systemd hears of it before the bus asks it for a new roostd. */
	bus->idle.is_last = sd_notify(false, "STOPPING=1") > 0;
	r = sd_bus_release_name_async(bus->connection, &bus->idle.slot, BUS_NAME, on_released, bus);
	if (r < 0)
		fail(bus, "The name can't be given up", -r);
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Bus *bus = userdata;

	if (sd_bus_message_is_method_call(message, NULL, NULL) > 0)
		bus->idle.last_call_usec = clock_monotonic_usec();
	return 0;
}

int idle_init(Bus *bus, uint64_t usec)
{
	int r;

	if (usec == 0)
		return 0;
	bus->idle.usec = usec;
	bus->idle.last_call_usec = clock_monotonic_usec();
	r = timer_init(&bus->idle.timer, bus->loop, on_idle_time, bus);
	if (r >= 0)
		r = sd_bus_add_filter(bus->connection, NULL, on_message, bus);
	if (r >= 0)
		wait_for_idleness(bus);
	return r;
}

void idle_done(Bus *bus)
{
	bus->idle.slot = sd_bus_slot_unref(bus->idle.slot);
	timer_done(&bus->idle.timer);
}
