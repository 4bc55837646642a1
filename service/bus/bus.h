#pragma once
/*
 * Bus: Roost's D-Bus service, all of it, on the bus thread. This header is what main.c sees.
 *
 * Life: bus_open() connects and shows the VMs that the registry holds; bus_take_name() makes them reachable;
 * the loop runs; bus_begin_shutdown() refuses what comes and cancels what is under way, and leaves the loop
 * when that is done; bus_finish() sends the rest.
 */
#include <systemd/sd-event.h>

#include "vm/engine.h"
#include "vm/registry.h"

#define BUS_NAME "org.roost1"

/* The exit code of a roostd that would go on if systemd did not wait for its end: it is to be started again.
 */
#define BUS_EXIT_AGAIN 75

typedef struct Bus Bus;

/* 0, or a negative errno with *ret_complaint. `address`: "system", "session", or a D-Bus address. The rest is
 * borrowed for the bus's life; the registry's VMs must be published already, and the engine not have ended.
 */
int bus_open(const char *address, sd_event *loop, Engine *engine, Registry *registry, Bus **ret_bus,
	char **ret_complaint) ON_BUS_THREAD;

/* 0, or a negative errno with *ret_complaint. */
int bus_take_name(Bus *bus, char **ret_complaint) ON_BUS_THREAD;

/* The loop ends (sd_event_exit()) when every operation has come back, or after 5 s. When the connection is
 * lost it ends with EXIT_FAILURE, at any time. */
void bus_begin_shutdown(Bus *bus) ON_BUS_THREAD;

/* What a user's VMs may have together; 0: no limit. Root's, and those of the user that roostd runs as, have
 * none. */
typedef struct BusLimits {
	unsigned max_vms;
	uint64_t max_vcpus, max_memory; /* of those that run; bytes */
} BusLimits;

/* Before the service is reachable; until then there are none. */
void bus_limit_users(Bus *bus, const BusLimits *limits) ON_BUS_THREAD;

/* When the service is reachable: it ends (as by bus_begin_shutdown(), without losing a call) after this long
 * without a call, a running VM or an operation. 0: never. */
int bus_exit_when_idle(Bus *bus, uint64_t usec) ON_BUS_THREAD;

/* Starts the VMs that are to be started with the host, if that was not done since the host has started. */
void bus_autostart(Bus *bus) ON_BUS_THREAD;

/* After engine_stop(): emits and answers what is left, and writes it out, for at most 2 s. */
void bus_finish(Bus *bus) ON_BUS_THREAD;

Bus *bus_free(Bus *bus) ON_BUS_THREAD;
