#pragma once
/*
 * Audit: one line in the log for each call that changes something, when it is answered: who did what to which
 * VM, and what came of it. As fields, too: `journalctl ROOST_VM_NAME=web` tells the VM's story.
 *
 * A user can call as often as he likes: so many lines in a while, and then a number. Root's are all there.
 */
#include "bus/calls.h"

/* A call is being answered, with an error or without (NULL). `bv`: its VM, if it is known to the caller. */
void audit_call(Call *call, const BusVm *bv, const GError *error) ON_BUS_THREAD;
void audit_done(Bus *bus);
