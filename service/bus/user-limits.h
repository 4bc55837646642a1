#pragma once
/*
 * Limits: what VMs of one user may take of the host together. Those of root, and of the user that roostd runs
 * as, are not limited. They are looked at as a call is accepted; whoever it is that calls, it is the VM's
 * owner who has the limit.
 */
#include "bus/calls.h"

/* Whether a user may have one more VM. LimitReached. */
bool user_limits_check_new(Bus *bus, uint32_t uid, GError **error) ON_BUS_THREAD;

/* Whether a VM may be started beside those of its owner that run, or are about to. LimitReached. */
bool user_limits_check_start(BusVm *bv, GError **error) ON_BUS_THREAD;

/* An Update that is accepted: what the definition may become by it, before it is carried out. */
void user_limits_note_update(Call *call, GVariant *changes);
