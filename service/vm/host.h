#pragma once
/*
 * What this host's QEMU is and can do. There are two questions, what QEMU can do and whether KVM works; an
 * answer is true of a key (qemu/fingerprint.h), is found out by starting a process, and is kept for as long
 * as the key is the same: in memory, and in the state folder's cache for the next roostd. Each use looks at
 * the key first, so a QEMU that was replaced is asked anew; when there is news, the bus thread is told by an
 * INBOX_HOST.
 */
#include <stdbool.h>
#include <stdint.h>

#include "exec/inbox.h"
#include "qemu/capabilities.h"
#include "util/thread.h"

typedef struct Engine Engine;
typedef struct Host Host;

/* What is known, for the bus thread. */
typedef struct HostFacts {
	InboxItem item;
	uint64_t number;                /* the newest have the highest */
	QemuCapabilities *capabilities; /* a reference; NULL: not known, or it could not be asked */
	char *complaint;                /* why not, or NULL */
	bool kvm;                       /* it works */
	unsigned firmwares;             /* a bit for each VmFirmware whose files are there */
	uint64_t memory;                /* of the host */
	uint64_t check;                 /* the bus's number of the check that this answers; 0: it is news */
} HostFacts;
HostFacts *host_facts_free(HostFacts *facts);

/* Before threads start, and after they have ended; looks at files. */
Host *host_new(void);
Host *host_free(Host *host);

/* Any thread: looks again, on a worker: facts with this number follow when both questions are answered (or
 * could not be). 0, or a negative errno: there is no thread to be had. */
int engine_check_host(Engine *engine, uint64_t check);

/* Any thread, at the end: what is being found out is given up, and nothing is from now on. */
void engine_give_up_host(Engine *engine);

/* A worker, no lock held: what QEMU can do; waits for whoever is asking it already, in all for the length of
 * a command. The caller unrefs. NULL with *ret_complaint (the caller frees): it could not be asked, or not in
 * time. That is remembered for a while, so that not everybody waits for a QEMU that hangs. */
QemuCapabilities *engine_capabilities(Engine *engine, char **ret_complaint) ON_WORKER;

/* A worker, no lock held: whether a vCPU runs under KVM here. *ret_why: when it does not; the caller frees.
 */
bool engine_kvm_works(Engine *engine, char **ret_why) ON_WORKER;

/* Any thread: the host's memory in bytes. */
uint64_t host_memory(void);
