#pragma once
/*
 * Authority: polkit, asked about callers, without waiting.
 *
 * A call that is to be authorized becomes an Ask. polkit is first asked without interaction: it answers at
 * once, or the call is refused at the deadline of a question. The asks of one connection are decided in the
 * order in which they came, so that its calls are accepted in that order, too. One for which somebody must
 * authenticate steps out of this line, if its caller allows it, and polkit is asked again, this time without
 * a limit: whoever takes long over a password holds up that call and no other. It is accepted when the answer
 * is there. When its caller leaves before, polkit is told to give up.
 *
 * The bus lets a connection have 128 questions open, and every user's are on ours. So each user has a few at
 * a time, and users take turns. polkit takes one after the other, too, and takes its time: so one whose calls
 * are refused again and again is asked about more slowly, and who floods the service with such calls waits,
 * not those who may. A Question counts until polkit has answered it, also when nobody waits for
 * the answer any more: who calls and leaves, and calls and leaves, gets no more of them.
 *
 * The subject is the caller's name on the bus: nobody else can have had it. That an answer is polkit's is the
 * bus's doing, which lets nobody else answer.
 */
#include "bus/access.h"

/* Questions that polkit has at once, in all and of one user; and apart from these, such for which somebody is
 * asked to authenticate. */
#define AUTHORITY_ASKED_MAX        48U
#define AUTHORITY_USER_ASKED_MAX   2U
#define AUTHORITY_PROMPTS_MAX      64U
#define AUTHORITY_USER_PROMPTS_MAX 8U

/* Of one user so many calls are refused at once, and then so many in a second. */
#define AUTHORITY_REFUSALS_BURST   40U
#define AUTHORITY_REFUSALS_PER_SEC 20U

int authority_init(Bus *bus);
void authority_done(Bus *bus);

/* member_resume() or call_fail() follows, perhaps from within: the call may be gone then. */
void authority_ask(Call *call, AccessRequest *request_consume) ON_BUS_THREAD;

/* The call is answered or dropped. Nothing if it does not wait for polkit. */
void authority_forget(Call *call);

/* Shutdown: the calls that wait for an answer, one at a time; NULL: none. */
Call *authority_first_waiting(Bus *bus);
