#pragma once
/*
 * What the host's QEMU is and can do, as the bus tells it: QemuVersion, Accelerators, GetCapabilities. The
 * bus thread has the newest HostFacts and looks at nothing itself. A GetCapabilities waits for a look (a
 * check, on a worker) that began after it came; those that come while one is under way wait for the next.
 */
#include "bus/members.h"

#define CAPABILITIES_ACCELERATORS_MAX 3

int capabilities_init(Bus *bus);
void capabilities_done(Bus *bus);
/* Answers those that wait. */
void capabilities_end(Bus *bus) ON_BUS_THREAD;

/* INBOX_HOST. Taken over. */
void capabilities_on_facts(Bus *bus, HostFacts *facts_consume) ON_BUS_THREAD;

/* The Manager's properties: "" while it is not known; NULL ends the words. */
const char *capabilities_version(const Bus *bus);
void capabilities_accelerators(const Bus *bus, const char *ret_words[static CAPABILITIES_ACCELERATORS_MAX]);

/* The method. */
bool begin_get_capabilities(Call *call, BusVm *none, GError **error);
