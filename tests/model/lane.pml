/* Roost: the lanes. Who has the place of a VM's operations, who gets it next, deadlines, internal work and its slots.
 * Promela, for spin 6.5.
 *
 * Here an operation is only its life: it touches the VM's state, is stuck in a system call or not, commits or not. What
 * it does with QEMU is roost.pml's. Worker processes stand for the threads of workers_run(), Bus for the bus thread and
 * its timers, Asker for whoever finds internal work to do: a worker in vm_unlock(), or the event thread in vm_deliver().
 *
 * Each d_step{} that touches a Lane is one hold of that lane's mutex, each that touches the slots one of the engine's
 * internal mutex. None spans two. The VM lock plays no part: the place is what makes an operation the only one.
 *
 * Every `#ifdef` that is not a size is a mutation, which must be found. The table is in run-model.
 */
#ifndef NLANE
#define NLANE 1    /* VMs, each with its QMP lane */
#endif
#ifndef NOPS
#define NOPS 2     /* operations on the first lane; 2 is the limit */
#endif
#ifndef NOPS1
#define NOPS1 NOPS /* on the second */
#endif
#define OPS(l) ((l) == 0 -> NOPS : NOPS1)
#ifndef NWANT
#define NWANT 1    /* times that internal work is asked for, on each lane */
#endif
#ifndef NSLOT
#define NSLOT 1    /* internal operations at once, in the whole service */
#endif
#ifndef NWORK
#define NWORK 2    /* threads */
#endif
#ifndef STUCK
#define STUCK 0    /* 1: a system call may never return */
#endif

#define NONE      0
#define INTERNAL  7                     /* &lane->internal; operations are 1 to NOPS */

#define NEW       0
#define QUEUED    1
#define RUNNING   2
#define BLOCKED   3
#define COMMITTED 4
#define LOST      5
#define DONE      6

typedef Lane {
	byte current;
	byte place[4];
	byte head; byte tail;                   /* the queue: operations come in the order of their numbers */
	bool gone[4];                           /* taken off the queue */
	bool wanted; bool taken;
	/* bus thread */
	bool answered[4];
	/* ghosts */
	byte asked; byte served; byte touching; byte n_answers[4]; bool committed[4]; bool stuck
};
Lane lane[NLANE];

/* The slots: internal_mutex. */
byte n_internal;
bool waiting[NLANE];
chan line = [NLANE] of { byte };

chan work = [NLANE * (NOPS + 1)] of { byte, byte };     /* workers_run(): it never queues, so there are threads enough */
chan inbox = [NLANE * NOPS] of { byte, byte };

/* advance_locked(): to be called in a hold */
inline advance_locked(l, p_slot)
{
	next = NONE;
	do
	:: lane[l].head < lane[l].tail && lane[l].gone[lane[l].head + 1] -> lane[l].head++
	:: else -> break
	od;
	if
	:: p_slot && lane[l].wanted ->
		lane[l].taken = true; lane[l].wanted = false; lane[l].served = lane[l].asked; next = INTERNAL
	:: !(p_slot && lane[l].wanted) && lane[l].head < lane[l].tail ->
		lane[l].head++; next = lane[l].head; lane[l].place[next] = RUNNING
	:: else
	fi;
	lane[l].current = next
}

/* ---- internal work (internal.c) ---- */

inline slot_take(l, p_wait)             /* internal_slot_take() */
{
	d_step {
		if
		:: n_internal < NSLOT -> n_internal++; slot = true
		:: else -> slot = false;
#ifndef NO_LINE
			if
			:: p_wait && !waiting[l] -> waiting[l] = true; line!l
			:: else
			fi
#endif
		fi
	}
}

inline start_with_slot(l)               /* start_with_slot(): lane_begin_wanted(), and a thread for it */
{
	d_step {
		slot = false;
		if
		:: lane[l].current == NONE && lane[l].wanted ->
			lane[l].current = INTERNAL; lane[l].taken = true; lane[l].wanted = false;
			lane[l].served = lane[l].asked; slot = true
		:: else
		fi
	};
	if
	:: slot -> atomic { slot = false; assert(nfull(work)); work!l,INTERNAL; given = true }
	:: else
	fi
}

inline slot_give()                      /* internal_slot_give(): to the first in line, or back */
{
	given = false;
	do
	:: given -> given = false; break
	:: else ->
#ifdef SLOT_SPLIT
		d_step {
			if
			:: line?who -> waiting[who] = false
			:: empty(line) -> given = true
			fi
		};
		d_step { if :: given -> n_internal-- :: else fi };
#else
		d_step {
			if
			:: line?who -> waiting[who] = false
			:: empty(line) -> n_internal--; given = true
			fi
		};
#endif
		if
		:: given
		:: else -> start_with_slot(who)
		fi;
		who = 0
	od
}

inline start_internal(l)                /* vm_start_internal() */
{
	slot_take(l, true);
	if
	:: slot ->
		slot = false; start_with_slot(l);
		if
		:: given -> given = false
		:: else -> slot_give()
		fi
	:: else
	fi
}

inline start_if_wanted(l)               /* lane_has_wanted(), then vm_start_internal() */
{
	d_step { slot = lane[l].current == NONE && lane[l].wanted };
	if
	:: slot -> slot = false; start_internal(l)
	:: else
	fi
}

/* ---- a worker: lane_main() ---- */

inline touch(l)                         /* looks at the VM's state, and changes it */
{
	atomic { assert(lane[l].touching == 0 && lane[l].current == e); lane[l].touching = e };
	atomic { lane[l].touching = 0 }
}

proctype Worker()
{
	byte l, e, next, who;
	bool slot, given, kept;
#ifdef WANT_OUTSIDE
	bool saw, blind;
#endif

end_idle:
	atomic { work?l,e -> kept = true };
again:
	if
	:: e == INTERNAL ->
		touch(l);
		d_step { assert(lane[l].taken); lane[l].taken = false }         /* lane_taken(), vm_run_internal() */
	:: else ->
		touch(l);
		if
		:: d_step { assert(lane[l].place[e] == RUNNING); lane[l].place[e] = COMMITTED; /* lane_commit() */
			lane[l].committed[e] = true }
		:: true
		fi;
		d_step {                                /* lane_block(): operation_block() */
#ifdef BLOCK_COMMITTED
			lane[l].place[e] = BLOCKED
#else
			if :: lane[l].place[e] == RUNNING -> lane[l].place[e] = BLOCKED :: else fi
#endif
		};
		if
		:: true
#if STUCK
		:: lane[l].stuck = true;
end_stuck:		false
#endif
		fi;
		d_step {                                /* lane_unblock(): operation_unblock() */
			if :: lane[l].place[e] == BLOCKED -> lane[l].place[e] = RUNNING :: else fi;
			kept = lane[l].place[e] != LOST
		};
#ifdef NO_UNBLOCK_CHECK
		kept = true;
#endif
		if
		:: kept ->
			touch(l);
			atomic { assert(nfull(inbox)); inbox!l,e }      /* the reply */
		:: else
		fi
	fi;

	/* next_entry() */
	if
	:: e == INTERNAL -> slot = true
	:: else -> slot_take(l, false)
	fi;
#ifdef WANT_OUTSIDE
	saw = lane[l].wanted;
	blind = slot && !saw;                           /* nothing is wanted, so nothing is left to do at the end */
#else
#define saw true
#endif
	d_step {                                        /* lane_next() */
		next = NONE;
		if
#ifdef LOST_NEXT
		:: true ->
#else
		:: e == INTERNAL || lane[l].place[e] != LOST ->
			assert(lane[l].current == e);
#endif
			if :: e != INTERNAL -> lane[l].place[e] = DONE :: else fi;
			advance_locked(l, slot && saw)
		:: else
		fi;
		e = NONE
	};
	if
	:: slot && next != INTERNAL -> slot_give()
	:: else
	fi;
	slot = false;
	if
	:: atomic { next != NONE -> e = next; next = NONE; kept = true; goto again }
	:: else
#ifdef WANT_OUTSIDE
		-> if :: blind :: else -> start_if_wanted(l) fi
#elif !defined(FORGET)
		-> start_if_wanted(l)                   /* what was wanted while no slot was free */
#endif
	fi;
	atomic { l = 0; kept = false; who = 0; goto end_idle }
}

/* ---- whoever asks for internal work ---- */

proctype Asker(byte l)
{
	byte n, who;
	bool slot, given, rest;

	do
	:: n < NWANT -> n++;
#ifdef WANT_SPLIT
		rest = lane[l].current == NONE;
		d_step { lane[l].wanted = true; lane[l].asked++ };
#else
		d_step { lane[l].wanted = true; lane[l].asked++; rest = lane[l].current == NONE };      /* lane_want() */
#endif
		if
		:: rest -> rest = false; start_internal(l)
		:: else                                 /* the current one will look before it gives its place away */
		fi
	:: else -> break
	od
}

/* ---- the bus thread ---- */

inline answer(l, p_op)
{
	d_step {
		if
		:: !lane[l].answered[p_op] -> lane[l].answered[p_op] = true; lane[l].n_answers[p_op]++
		:: else                                 /* a late one: what it did is seen in the view */
		fi
	}
}

inline expire(l, p_op)                  /* operation_expire(): lane_expire(), then what follows from it */
{
	d_step {
		next = NONE; lost = false;
		if
		:: lane[l].current == p_op ->
			if
#ifdef EXPIRE_RUNNING
			:: lane[l].place[p_op] == BLOCKED || lane[l].place[p_op] == RUNNING ->
#else
			:: lane[l].place[p_op] == BLOCKED ->
#endif
				assert(!lane[l].committed[p_op]);       /* not amid a commit section */
				lane[l].place[p_op] = LOST; lost = true; lane[l].stuck = false;
				advance_locked(l, false)
			:: else                         /* it keeps its place */
			fi
		:: lane[l].place[p_op] == QUEUED ->
			lane[l].gone[p_op] = true; lane[l].place[p_op] = DONE
		:: else                                 /* it is done */
		fi
	};
	if
	:: next != NONE -> atomic { assert(nfull(work)); work!l,next; next = NONE }
	:: else
#ifndef EXPIRE_FORGETS
		-> if :: lost -> start_if_wanted(l) :: else fi
#endif
	fi;
	lost = false;
	answer(l, p_op)                                 /* Timeout */
}

#define TIMERS(l) \
	:: lane[l].place[1] != NEW && !lane[l].answered[1]; expire(l, 1) \
	:: lane[l].place[2] != NEW && !lane[l].answered[2]; expire(l, 2)

#define SUBMIT(l) \
	:: atomic { made[l] < OPS(l) -> made[l]++ }; \
		d_step { op = made[l];              /* operation_submit(): lane_submit() */ \
			if \
			:: lane[l].current == NONE -> lane[l].current = op; lane[l].place[op] = RUNNING; \
				lane[l].head = op; lane[l].tail = op; next = op \
			:: else -> lane[l].place[op] = QUEUED; lane[l].tail = op; next = NONE \
			fi; op = 0 }; \
		if :: next != NONE -> atomic { assert(nfull(work)); work!l,next; next = NONE } :: else fi

proctype Bus()
{
	byte next, who, l, op;
	byte made[NLANE];
	bool slot, given, lost;

end_idle:
	do
	SUBMIT(0)
	TIMERS(0)
#if NLANE > 1
	SUBMIT(1)
	TIMERS(1)
#endif
	:: inbox?l,op -> answer(l, op); atomic { l = 0; op = 0 }
	od
}

/* ---- at rest, nothing is owed ---- */

active proctype Monitor()
{
	byte l, i;

end_idle:
	atomic { timeout ->
	do
	:: l < NLANE ->
		i = 1;
		do
		:: i <= OPS(l) -> assert(lane[l].n_answers[i] == 1); i++  /* each call is answered exactly once */
		:: else -> break
		od;
		if
		:: lane[l].stuck                        /* in its commit section, for ever: it keeps its place */
		:: else ->
			assert(lane[l].current == NONE);
			assert(lane[l].head == lane[l].tail || lane[l].gone[lane[l].tail]);
			assert(!lane[l].wanted && !lane[l].taken && lane[l].served == lane[l].asked)   /* no bit is forgotten */
		fi;
		l++
	:: else -> break
	od;
	assert(n_internal == 0);
	}
}

init {
	byte i = 0;

	atomic {
		run Bus();
		do :: i < NWORK -> run Worker(); i++ :: else -> break od;
		i = 0;
		do :: i < NLANE -> run Asker(i); i++ :: else -> break od
	}
}
