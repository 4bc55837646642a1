#pragma once
/* What the files of calls share. */
#include "bus/calls.h"

/* It is answered, or nobody waits for the answer any more: it counts no longer. */
void call_close(Call *call);
void call_free(Call *call);

/* Answers with an error, and closes. */
void call_answer_error(Call *call, const GError *error);

/* Its operation waits for its turn, or it is a Kill: it joins the VM's list. */
void call_enter_vm(Call *call, BusVm *bv, GQueue *list);
/* Its operation is done or given up, or it was a Kill that is answered: it does not hold the VM any more. */
void call_leave_vm(Call *call);
/* Its operation will never come: what was reserved for it is free again. */
void call_abandon(Call *call) ON_BUS_THREAD;

void call_set_due(Call *call, int line, uint64_t due_usec);
void call_leave_due(Call *call);
void call_leave_young(Call *call);

/* calls-due.c: the timer of Bus.due and Bus.young; `user` is the Bus. */
void calls_on_time(void *user);
