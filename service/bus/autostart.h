#pragma once
/*
 * Starts that Roost itself asks for. Autostart: the VMs whose definition says so are started once after the
 * host has started, a few at a time. "Once" is a mark in the run-time folder: a roostd that comes and goes
 * does not start again what somebody has shut down. And OnCrash: a VM whose QEMU has crashed is started again
 * when its crash has been told (vm/policy.c says which); behind what was accepted before, so that an Undefine
 * or a Start of somebody's that waits comes first.
 */
#include "bus/service.h"

/* When the service is reachable. Blocks on the run-time folder for a moment. */
void autostart_begin(Bus *bus) ON_BUS_THREAD;
/* Forgets those that were not begun. */
void autostart_end(Bus *bus);

/* A Start of ours is done; or was taken back, for a Kill. */
void own_start_done(Bus *bus, const Operation *op) ON_BUS_THREAD;
void own_start_taken_back(BusVm *bv) ON_BUS_THREAD;

/* A view was installed and told: is it to be started again? */
void restart_look_at(BusVm *bv) ON_BUS_THREAD;
/* When the service is reachable: the same of all. */
void restart_begin(Bus *bus) ON_BUS_THREAD;
