#pragma once
/*
 * Autostart: the VMs whose definition says so are started once after the host has started, a few at a time.
 * "Once" is a mark in the run-time folder: a roostd that comes and goes does not start again what somebody
 * has shut down.
 */
#include "bus/service.h"

/* When the service is reachable. Blocks on the run-time folder for a moment. */
void autostart_begin(Bus *bus) ON_BUS_THREAD;
/* An operation of ours is done. */
void autostart_done(Bus *bus, const Operation *op) ON_BUS_THREAD;
/* Forgets those that were not begun. */
void autostart_end(Bus *bus);
