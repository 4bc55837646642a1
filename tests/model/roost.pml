/* Roost: the VM lock, the event set, waiters, the outbox, Kill and CancelOperation. Promela, for spin 6.5.
 *
 * Each process stands for a thread: Worker and Agent for the worker that runs the current operation of a VM's QMP lane
 * and of its agent lane, Event for the event thread, Bus for the bus thread (and the clients behind it). QEMU has no
 * process: what can still be read from it is a few bits per VM (p_*), and the event thread reads them in any order.
 *
 * Each atomic{} or d_step{} that touches what is marked "mail", "ready", "inbox" or "lane" below is one hold of that
 * leaf mutex, and none spans two of them. The comment at each step names the C function that takes the step. A step
 * that touches only what the VM lock guards, or only what one thread owns, is merged with its neighbour.
 *
 * What makes the search strict:
 * - How many events, operations, kills, crashes and cancels there are is chosen at birth, so nothing that comes later
 *   can hide a wake-up that was lost; at rest (Monitor) nothing may be owed.
 * - A deadline can pass only while nothing that is waited for has been delivered, the command has left the send queue,
 *   and the operation was not cancelled. So a missed mark, a command that is never written and a lost cancel all show
 *   as a worker that sleeps for ever.
 * - A QEMU may be hung from birth (SILENT): then only marks that Roost makes itself can end a wait.
 *
 * Spin is sequentially consistent: LOOK_EARLY stands for the reordering that a plain atomic read would allow, SPURIOUS
 * for a trylock that fails without cause.
 *
 * Every `#ifdef` that is not a size is a mutation: a plausible way to get it wrong, which must be found. The table of
 * configurations is in run-model; README.md explains it.
 */
#ifndef NVM
#define NVM 1      /* VMs */
#endif
#ifndef NEV
#define NEV 0      /* events QEMU sends of itself, at most, per VM */
#endif
#ifndef NOPS
#define NOPS 1     /* operations per VM, at most; 3 is the limit */
#endif
#ifndef NOPS0
#define NOPS0 NOPS /* the same for the first of several VMs */
#endif
#ifndef NAG
#define NAG 0      /* agent operations per VM, at most */
#endif
#ifndef NKILL
#define NKILL 0    /* Kill calls per VM, at most */
#endif
#ifndef NCRASH
#define NCRASH 0   /* exits of QEMU by itself per VM, at most */
#endif
#ifndef NCANCEL
#define NCANCEL 0  /* CancelOperation calls per VM, at most */
#endif
#ifndef NTHR
#define NTHR 1     /* threads that may pick up an operation of one VM */
#endif
#ifndef OFF
#define OFF 0      /* 1: no QEMU runs at birth, the first operation is a Start */
#endif
#ifndef UNIT
#define UNIT 0     /* 1: QEMU is started by systemd, and its launcher may never come */
#endif
#ifndef SILENT
#define SILENT 0   /* 1: a QEMU may be hung from birth */
#endif

#ifdef EXACT
#define LEAST(n) n /* for mutations: exactly so many, not up to so many */
#else
#define LEAST(n) 0
#endif

#define BIT(i)     (1 << (i))
#define UNDO(i)    ((i) + 3)       /* the number of the command that undoes operation i */
#define AGENT_BIT  BIT(7)          /* the agent's command in the send queue */

/* st: what the VM's state says */
#define ST_OFF      0
#define ST_STARTING 1
#define ST_RUNNING  2

/* proc: QEMU's process */
#define NO_PROC   0
#define LIVES     1
#define DEAD      2                /* ended, and nobody has filed it yet */

mtype = { POST, REPLY };

/* The marks: reply, event, exit, cancel, kill. */
typedef Waiter { bool on; byte id; bool r; bool a; bool x; bool c; bool k };

typedef Vm {
	/* the VM lock */
	bool lk;
	byte lock_waiters;                              /* an atomic counter, beside the lock */
	byte ver; bool dirty;                           /* guarded by it: the newest view's number, whether it is stale */
	byte st; byte st_a; byte st_gen;                /* and the state, the last event, exits applied */
	/* mail */
	byte set_n; byte set_a; bool set_x;             /* event set: how many, the last awaited event, the exit */
	byte gen;                                       /* exits filed */
	Waiter w[2];                                    /* one per lane */
	byte sq;                                        /* send queue */
	byte out_n; byte out_ver; byte out_a; byte out_st;  /* outbox: signals, the newest view */
	byte kill_before; bool shown;                   /* Kill's number; the process may be signalled */
#if UNIT
	byte launch; bool shut; bool mute;              /* whose launcher is waited for; its socket; it never comes */
#endif
	/* ready */
	bool listed;
	/* inbox */
	bool posted;
	/* lane */
	byte cur; byte q; bool hand; bool committed; byte cancelled;   /* current, queued, in want of a worker, ... */
	/* bus thread */
	bool held;                                      /* kept back by the emission limit */
	byte inst_ver; byte inst_a; byte inst_st;       /* the installed view */
	byte accepted; byte toops; byte toag; byte tokill; byte tocancel;
	/* QEMU */
	byte proc; byte spont; byte tocrash; byte p_r; byte p_a; bool p_g; bool silent;
	/* ghosts: for assertions only */
	byte ncur; byte nposts; byte filed; byte applied; byte emitted; byte replies; byte want;
	bool immortal; byte f_r; byte f_a; bool f_g; byte cancel_ok; byte done_ok; byte sq_gen; byte killed; bool started
};
Vm vm[NVM];

chan ready = [NVM] of { byte };
chan inbox = [NVM * (1 + NOPS + NAG)] of { mtype, byte, byte, byte };

/* ---- the ways between the threads ---- */

inline vm_list(v)                       /* vm_list(): inbox_post_once(the ready list) */
{
	atomic {
		if
#ifdef NO_DEDUPE
		:: true -> assert(nfull(ready)); ready!v
#else
		:: !vm[v].listed -> vm[v].listed = true; assert(nfull(ready)); ready!v
		:: else
#endif
		fi
	}
}

inline vm_post(v)                       /* vm_publish(), its second half: inbox_post_once(the bus inbox) */
{
	atomic {
		if
		:: !vm[v].posted -> vm[v].posted = true; vm[v].nposts++; assert(vm[v].nposts <= 1);
			assert(nfull(inbox)); inbox!POST,v,0,0
		:: else
		fi
	}
}

/* ---- the VM lock ---- */

inline vm_drain(v)                      /* vm_drain() */
{
	d_step {                        /* mail: event_set_take() */
		assert(vm[v].lk);
		bn = vm[v].set_n; ba = vm[v].set_a; bx = vm[v].set_x;
		vm[v].set_n = 0; vm[v].set_a = 0; vm[v].set_x = false
	};
	if
	:: bn > 0 || vm[v].dirty ->
		d_step {                /* vm_apply() of each, then vm_publish(): mail */
			vm[v].applied = vm[v].applied + bn;
			if :: ba > vm[v].st_a -> vm[v].st_a = ba :: else fi;
			if :: bx -> vm[v].st = ST_OFF; vm[v].st_gen++ :: else fi;
			vm[v].ver++; vm[v].dirty = false;
			vm[v].out_n = vm[v].out_n + bn;
			vm[v].out_ver = vm[v].ver; vm[v].out_a = vm[v].st_a; vm[v].out_st = vm[v].st;
			bn = 0; ba = 0; bx = false
		};
		vm_post(v)
	:: else
	fi
}

inline vm_look(v)                       /* vm_unlock(), after the release: mail{ are events left? }, then vm_list() */
{
	if
	:: vm[v].set_n > 0 -> vm_list(v)
	:: else
	fi
}

inline vm_lock(v)                       /* vm_lock() */
{
	vm[v].lock_waiters++;
	atomic { !vm[v].lk -> vm[v].lk = true };        /* lock_take() */
	vm[v].lock_waiters--;
#ifndef NO_LOCK_DRAIN
	vm_drain(v)
#endif
}

inline vm_unlock(v)                     /* vm_unlock() */
{
#ifndef NO_UNLOCK_DRAIN
	vm_drain(v);
#endif
#ifdef LOOK_EARLY
	vm_look(v); vm[v].lk = false
#else
	vm[v].lk = false;                               /* lock_release() */
#ifndef NO_LOOK
	vm_look(v)
#endif
#endif
}

/* ---- waiting ---- */

/* vm_wait(), its beginning: registers the waiter and appends the command in one hold of mail. refuse_locked(): an exit
 * was filed that the operation has not seen; or it was cancelled, or killed, and this is no undo step. */
#ifdef NO_REG_CHECK
#define EXITED false
#else
#define EXITED (vm[v].gen != g)
#endif
#ifdef CANCEL_OUTSIDE
#define REFUSED(undo) (EXITED || (!(undo) && (cx || op < vm[v].kill_before)))
#else
#define REFUSED(undo) (EXITED || (!(undo) && ((vm[v].cancelled & BIT(op)) || op < vm[v].kill_before)))
#endif

inline wait_begin(v, p_id, p_undo)
{
#ifdef SEND_FIRST
	d_step { vm[v].sq = vm[v].sq | BIT(p_id); vm[v].sq_gen = vm[v].gen };
	vm_list(v);
#endif
#ifdef CANCEL_OUTSIDE
	cx = (vm[v].cancelled & BIT(op)) != 0;
#endif
	d_step {                                        /* mail */
		ok = !REFUSED(p_undo);
		cx = false;
		if
		:: ok ->
			vm[v].w[0].on = true; vm[v].w[0].id = p_id;
#ifndef SEND_FIRST
			vm[v].sq = vm[v].sq | BIT(p_id); vm[v].sq_gen = vm[v].gen
#endif
		:: else
		fi
	};
#if !defined(SEND_FIRST) && !defined(SEND_UNRUNG)
	if
	:: ok -> vm_list(v)                             /* the event thread writes it */
	:: else
	fi
#endif
}

/* vm_wait(), its middle: sleep_until_over(), which unregisters the waiter in the hold in which it wakes. */
inline sleep(v, p_id, p_undo)
{
	d_step {                                        /* mail */
		(vm[v].w[0].r && (vm[v].w[0].a || p_undo)) || vm[v].w[0].x || vm[v].w[0].c || vm[v].w[0].k ||
		(vm[v].gen == g && !(vm[v].sq & BIT(p_id)) &&
		(p_undo || (!(vm[v].cancel_ok & BIT(op)) && op >= vm[v].killed)) &&
		!((vm[v].f_r & BIT(p_id)) && ((vm[v].f_a & BIT(p_id)) || p_undo)))      /* the deadline */
		->
		ok = vm[v].w[0].r && vm[v].w[0].a && !vm[v].w[0].x;
		cx = vm[v].w[0].c;
		assert(!cx || (vm[v].cancel_ok & BIT(op)));     /* nobody else's cancel */
		assert(!vm[v].w[0].k || op < vm[v].killed);     /* nor a Kill that came before it */
		cx = cx || vm[v].w[0].k;
		assert(!cx || !p_undo);                         /* undo steps ignore both */
		vm[v].w[0].on = false; vm[v].w[0].id = 0;
		vm[v].w[0].r = false; vm[v].w[0].a = false; vm[v].w[0].x = false; vm[v].w[0].c = false;
		vm[v].w[0].k = false
	}
}

/* ---- an operation's end ---- */

inline lane_commit(v)                   /* lane_commit(): lane. A cancel comes before it and is obeyed, or is refused */
{
	d_step {
		if
#ifdef COMMIT_BLIND
		:: true ->
#else
		:: !(vm[v].cancelled & BIT(op)) ->
#endif
			vm[v].committed = true; vm[v].done_ok = vm[v].done_ok | BIT(op); cx = false
		:: else -> cx = true
		fi
	}
}

/* run_operation(), its end: what is left is applied and published, the reply posted, and the lock released. p_a: the
 * event that the operation waited for and saw. */
inline finish(v, p_a)
{
#ifdef PUBLISH_LATE
	d_step { vm[v].ver++; vm[v].dirty = false; my_ver = vm[v].ver; my_a = vm[v].st_a; my_st = vm[v].st };
	vm_unlock(v);
	d_step { vm[v].out_ver = my_ver; vm[v].out_a = my_a; vm[v].out_st = my_st };
	vm_post(v);
	atomic { inbox!REPLY,v,p_a,my_ver; my_ver = 0; my_a = 0; my_st = 0; p_a = 0 }
#else
	vm_drain(v);
	atomic { assert(nfull(inbox)); inbox!REPLY,v,p_a,vm[v].ver; p_a = 0 };          /* inbox_post() */
	vm_unlock(v)
#endif
}

#if UNIT
/* unit_launch(): the request is shown to Kill and CancelOperation, and both are asked for, in one hold of mail: show().
 * Then the launcher comes; or the socket is shut down, by unit_request_cancel(); or it never comes, and the deadline
 * passes. hide() takes it back. */
inline unit_start(v)
{
#ifdef LAUNCH_SPLIT
	ok = op >= vm[v].kill_before && !(vm[v].cancelled & BIT(op));
	d_step { if :: ok -> vm[v].launch = op :: else fi };
#else
	d_step {                                        /* show(): mail */
		ok = op >= vm[v].kill_before && !(vm[v].cancelled & BIT(op));
		if :: ok -> vm[v].launch = op :: else fi
	};
#endif
	if
	:: ok ->
		if
		:: atomic { vm[v].shut -> ok = false }
		:: !vm[v].shut && !vm[v].mute           /* qemu_launch() */
		:: atomic { !vm[v].shut && vm[v].mute && !(vm[v].cancel_ok & BIT(op)) && op >= vm[v].killed ->
			ok = false }                    /* the deadline */
		fi;
		d_step { vm[v].launch = 0; vm[v].shut = false }         /* hide(): mail */
	:: else
	fi
}
#endif

/* ---- a worker, on the QMP lane ---- */

proctype Worker(byte v)
{
	byte bn, ba, g, op, seen;
	bool bx, ok, cx;
#ifdef PUBLISH_LATE
	byte my_ver, my_a, my_st;
#endif

end_idle:
	atomic { vm[v].hand -> vm[v].hand = false; vm[v].ncur++ };   /* workers_run() */
again:
	atomic { assert(vm[v].ncur == 1 && vm[v].cur != 0); op = vm[v].cur };
	vm_lock(v);
	if
	:: atomic { vm[v].st == ST_OFF && !vm[v].started -> vm[v].started = true;
		vm[v].st = ST_STARTING; vm[v].dirty = true; g = vm[v].st_gen };
		goto start                              /* at most one Start in a run: it bounds the search */
	:: vm[v].st == ST_RUNNING -> goto command
	:: else -> goto done                            /* InvalidState */
	fi;

start:
#ifdef KILL_CLEARED
	vm[v].kill_before = 0;
#endif
	vm_unlock(v);
#if UNIT
	unit_start(v);
	if
	:: !ok -> vm_lock(v); d_step { vm[v].st = ST_OFF; vm[v].dirty = true; g = 0 }; goto done
	:: else
	fi;
#endif
	d_step { assert(vm[v].proc == NO_PROC); vm[v].proc = LIVES };   /* qemu_process_spawn(): nobody else sees it yet */
#ifdef NEVER_ASKS
	vm[v].shown = true; ok = true;
#elif defined(ASK_THEN_SHOW)
	ok = op >= vm[v].kill_before;
	d_step { vm[v].shown = true; if :: !ok && vm[v].proc == LIVES -> vm[v].proc = DEAD :: else fi };
#else
	d_step {                                        /* vm_show_process(): mail */
		vm[v].shown = true; ok = op >= vm[v].kill_before;
		if :: !ok && vm[v].proc == LIVES -> vm[v].proc = DEAD :: else fi
	};
#endif
	vm_lock(v);
	if
	:: ok && vm[v].st_gen == g ->
		lane_commit(v);
		if
		:: cx -> d_step {                       /* cancelled: vm_end_process(): mail */
			if :: vm[v].shown && vm[v].proc == LIVES -> vm[v].proc = DEAD :: else fi }
		:: else -> d_step { vm[v].st = ST_RUNNING; vm[v].dirty = true }
		fi
	:: else                                         /* it stays "starting" until its exit is applied */
	fi;
	atomic { ok = false; cx = false; g = 0; goto done };

command:
	g = vm[v].st_gen;
	wait_begin(v, op, false);
	if
	:: !ok -> goto done
	:: else
	fi;
	vm_unlock(v);
	sleep(v, op, false);
	vm_lock(v);
	if
	:: atomic { ok && vm[v].st_gen == g ->
		assert(vm[v].st_a >= op);               /* it sees what woke it */
		cx = false; ok = false };
		lane_commit(v);
		if
		:: !cx -> d_step { seen = op; vm[v].dirty = true }
		:: else
		fi
	:: else
	fi;
	if
	:: atomic { cx -> cx = false };                 /* cancelled: the undo list */
		wait_begin(v, UNDO(op), true);
		if
		:: ok ->
			vm_unlock(v);
			sleep(v, UNDO(op), true);
			vm_lock(v)
		:: else
		fi
	:: else
	fi;
	d_step { ok = false; cx = false; g = 0 };

done:
	finish(v, seen);
#ifdef NEXT_SPLIT
	if
	:: vm[v].q > 0 -> atomic { vm[v].q--; vm[v].cur++; vm[v].committed = false; goto again }
	:: else -> atomic { vm[v].cur = 0; vm[v].committed = false; vm[v].ncur--; op = 0; goto end_idle }
	fi
#else
	atomic {                                        /* lane_next(): lane */
		vm[v].committed = false;
		if
		:: vm[v].q > 0 -> vm[v].q--; vm[v].cur++; goto again
		:: else -> vm[v].cur = 0; vm[v].ncur--; op = 0; goto end_idle
		fi
	}
#endif
}

/* ---- a worker, on the agent lane: it waits for a reply only ---- */

proctype Agent(byte v)
{
	byte bn, ba, g, none;
	bool bx, ok;
#ifdef PUBLISH_LATE
	byte my_ver, my_a, my_st;
#endif

end_idle:
	atomic { vm[v].toag > 0 -> vm[v].toag-- };
	vm_lock(v);
	d_step {                                        /* vm_wait(): refuse_locked(), register */
		g = vm[v].st_gen; ok = vm[v].st == ST_RUNNING && vm[v].gen == g;
		if
		:: ok -> vm[v].w[1].on = true; vm[v].f_g = false;
			vm[v].sq = vm[v].sq | AGENT_BIT; vm[v].sq_gen = vm[v].gen
		:: else
		fi
	};
	if
	:: ok ->
		vm_list(v);
		vm_unlock(v);
		d_step {                                /* sleep_until_over() */
			vm[v].w[1].r ||
#ifdef EPOCH_FLAG                               /* asks "is it dead now" in place of a mark that stays */
			vm[v].st != ST_RUNNING ||
#else
			vm[v].w[1].x ||
#endif
			(!vm[v].f_g && vm[v].gen == g && !(vm[v].sq & AGENT_BIT))       /* the deadline */
			->
			vm[v].w[1].on = false; vm[v].w[1].r = false; vm[v].w[1].x = false;
			ok = false; g = 0
		};
		vm_lock(v)
	:: else
	fi;
	finish(v, none);
	goto end_idle
}

/* ---- the event thread ---- */

#define IS_OWN 0        /* an event that nobody waits for */
#define IS_A   1        /* the event that operation p_id waits for */
#define IS_X   2        /* the exit */

inline set_add(v, p_kind, p_id)         /* event_set_add(); the exit ends the epoch and what was to be written in it */
{
	vm[v].set_n++; vm[v].filed++;
	if
	:: p_kind == IS_A -> vm[v].f_a = vm[v].f_a | BIT(p_id);
		if :: p_id > vm[v].set_a -> vm[v].set_a = p_id :: else fi
	:: p_kind == IS_X -> vm[v].set_x = true; vm[v].gen++; vm[v].proc = NO_PROC; vm[v].shown = false;
#ifndef SEND_STALE
		vm[v].sq = 0;
#endif
		vm[v].p_r = 0; vm[v].p_a = 0; vm[v].p_g = false
	:: else
	fi
}

inline mark(v, p_kind, p_id)            /* the waiters it matches; marks stay */
{
	if
	:: p_kind == IS_A && vm[v].w[0].on && vm[v].w[0].id == p_id -> vm[v].w[0].a = true
	:: p_kind == IS_X ->
		if :: vm[v].w[0].on -> vm[v].w[0].x = true :: else fi;
		if :: vm[v].w[1].on -> vm[v].w[1].x = true :: else fi
	:: else
	fi
}

inline vm_file_event(v, p_kind, p_id)   /* vm_file_event(), vm_file_exit(): mail, then vm_list() */
{
#ifdef WAKE_FIRST
	d_step { mark(v, p_kind, p_id) };
	d_step { set_add(v, p_kind, p_id); p_id = 0 };
#else
	d_step { set_add(v, p_kind, p_id); mark(v, p_kind, p_id); p_id = 0 };
#endif
	vm_list(v)
}

inline lowest(p_set)
{
	if
	:: p_set & 2 -> i = 1
	:: !(p_set & 2) && (p_set & 4) -> i = 2
	:: !(p_set & 6) && (p_set & 8) -> i = 3
	:: !(p_set & 14) && (p_set & 16) -> i = 4
	:: !(p_set & 30) && (p_set & 32) -> i = 5
	:: !(p_set & 62) -> i = 6
	fi
}

#ifdef ANY_REPLY
#define MATCH(v) true
#else
#define MATCH(v) (vm[v].w[0].id == i)
#endif

/* What may be read of VM v: an event of QEMU's own, an awaited one, a reply (vm_file_reply(): mail), the agent's reply,
 * and after the last byte the exit. */
#define READ(v) \
	:: d_step { vm[v].proc == LIVES && !vm[v].silent && vm[v].spont > 0 -> vm[v].spont--; i = 0 }; \
		vm_file_event(v, IS_OWN, i) \
	:: d_step { vm[v].p_a != 0 && !vm[v].silent -> lowest(vm[v].p_a); vm[v].p_a = vm[v].p_a & (255 - BIT(i)) }; \
		vm_file_event(v, IS_A, i) \
	:: d_step { vm[v].p_r != 0 && !vm[v].silent -> lowest(vm[v].p_r); vm[v].p_r = vm[v].p_r & (255 - BIT(i)); \
		vm[v].f_r = vm[v].f_r | BIT(i); \
		if :: vm[v].w[0].on && MATCH(v) -> assert(vm[v].w[0].id == i); vm[v].w[0].r = true \
		   :: else /* late */ fi; i = 0 } \
	:: d_step { vm[v].p_g && !vm[v].silent -> vm[v].p_g = false; vm[v].f_g = true; \
		if :: vm[v].w[1].on -> vm[v].w[1].r = true :: else fi } \
	:: d_step { vm[v].proc == DEAD && vm[v].shown -> i = 0 }; vm_file_event(v, IS_X, i)

proctype Event()
{
	byte bn, ba, i, v;
	bool bx;

end_idle:
	do
	READ(0)
#if NVM > 1
	READ(1)
#endif
#if defined(UNLIST_LATE) || defined(NO_DEDUPE)
	:: ready?v
#else
	:: atomic { ready?v -> vm[v].listed = false }   /* vm_deliver(): inbox_take(clear) */
#endif
		;
		d_step {                                /* vm_link_serve(): mail{ take the send queue }, then write it */
			assert(vm[v].sq == 0 || vm[v].sq_gen == vm[v].gen);     /* to the QEMU it was meant for */
			if
			:: vm[v].proc == LIVES && vm[v].shown ->
				vm[v].p_r = vm[v].p_r | (vm[v].sq & 127);
				vm[v].p_a = vm[v].p_a | (vm[v].sq & 14);
				vm[v].p_g = vm[v].p_g || (vm[v].sq & AGENT_BIT)
			:: else
			fi;
			vm[v].sq = 0
		};
		if
		:: vm[v].lock_waiters > 0               /* vm_deliver() gives way: that worker will drain */
		:: else ->
			if
			:: atomic { !vm[v].lk -> vm[v].lk = true };     /* lock_try() */
#ifdef UNLIST_LATE
				vm_drain(v); vm[v].lk = false; vm_look(v)
#else
				vm_unlock(v)
#endif
#ifdef SPURIOUS
			:: true
#else
			:: vm[v].lk                     /* left: the holder looks after its release */
#endif
#ifdef RETRY
				-> vm_list(v)
#endif
			fi
		fi;
#ifdef UNLIST_LATE
		vm[v].listed = false;
#endif
		v = 0
	od
}

/* ---- the bus thread ---- */

inline emit(v)                          /* vm_take_outbox(): mail; then the view is installed and the signals emitted */
{
	assert(vm[v].out_ver >= vm[v].inst_ver);        /* a property never goes back in time */
	vm[v].emitted = vm[v].emitted + vm[v].out_n;
	vm[v].inst_ver = vm[v].out_ver; vm[v].inst_a = vm[v].out_a; vm[v].inst_st = vm[v].out_st;
	vm[v].out_n = 0
}

inline take(v)                          /* inbox_clear_posted(), and only then the outbox */
{
#ifdef UNPOST_LATE
	d_step { emit(v) };
	d_step { vm[v].posted = false; vm[v].nposts-- }
#else
	d_step { vm[v].posted = false; vm[v].nposts-- };
	d_step { emit(v) }
#endif
}

/* CancelOperation: lane_cancel() compares and sets in one hold of lane, then a registered waiter is marked in a hold of
 * mail. The caller names the operation that was current when it looked (x). */
inline cancel(v)
{
	atomic { x = vm[v].cur; if :: x == 0 :: else fi };
	d_step {                                        /* lane_cancel(): lane */
		if
#ifdef CANCEL_SPLIT
		:: x != 0 && vm[v].cur != 0 && !vm[v].committed ->
			assert(vm[v].cur == x);         /* it is the one that was named */
#elif defined(CANCEL_COMMITTED)
		:: x != 0 && vm[v].cur == x ->
#else
		:: x != 0 && vm[v].cur == x && !vm[v].committed ->
#endif
#ifndef CANCEL_MARK_ONLY
			vm[v].cancelled = vm[v].cancelled | BIT(x);
#endif
			vm[v].cancel_ok = vm[v].cancel_ok | BIT(x)
		:: else -> x = 0                        /* -ENOENT, -EALREADY */
		fi
	};
	d_step {                                        /* vm_wake_cancelled(): mail */
		if
		:: x != 0 && vm[v].w[0].on &&
#ifdef CANCEL_ANY
			vm[v].w[0].id <= 3
#elif defined(CANCEL_UNDO)
			(vm[v].w[0].id == x || vm[v].w[0].id == UNDO(x))
#else
			vm[v].w[0].id == x
#endif
			-> vm[v].w[0].c = true
		:: else
		fi;
#if UNIT
		if :: x != 0 && vm[v].launch == x -> vm[v].shut = true :: else fi;
#endif
		x = 0
	}
}

/* vm_kill(): mail{ everything accepted up to now is cancelled: a waiter is marked; the process, if it is shown, is
 * signalled }. A hung QEMU may be stuck in the kernel, so that no signal ends it: Kill frees its callers all the same. */
inline signal_shown(v)
{
	if
	:: vm[v].shown && vm[v].proc == LIVES -> vm[v].proc = DEAD
	:: vm[v].shown && vm[v].proc == LIVES && vm[v].silent -> vm[v].immortal = true
	:: else
	fi
}

inline kill(v)
{
#ifdef LOOK_THEN_WANT
	atomic { signal_shown(v) };
#endif
	atomic {
		vm[v].kill_before = vm[v].accepted + 1; vm[v].killed = vm[v].kill_before;
#ifndef KILL_UNMARKED
#ifdef KILL_UNDO
		if :: vm[v].w[0].on -> vm[v].w[0].k = true :: else fi;
#else
		if :: vm[v].w[0].on && vm[v].w[0].id <= 3 -> vm[v].w[0].k = true :: else fi;
#endif
#endif
#if UNIT && !defined(LAUNCH_UNSHUT)
		if :: vm[v].launch != 0 && vm[v].launch < vm[v].kill_before -> vm[v].shut = true :: else fi;
#endif
#ifndef LOOK_THEN_WANT
		signal_shown(v)
#endif
	}
}

#define CLIENT(v) \
	:: atomic { vm[v].toops > 0 -> vm[v].toops--; vm[v].want++; vm[v].accepted++;   /* lane_submit(): lane */ \
		if :: vm[v].cur != 0 -> vm[v].q++ :: else -> vm[v].cur = vm[v].accepted; vm[v].hand = true fi } \
	:: d_step { vm[v].tokill > 0 -> vm[v].tokill-- }; kill(v) \
	:: d_step { vm[v].tocancel > 0 -> vm[v].tocancel-- }; cancel(v) \
	:: d_step { vm[v].tocrash > 0 && vm[v].proc == LIVES -> vm[v].tocrash--; vm[v].proc = DEAD } \
	:: d_step { vm[v].held -> vm[v].held = false }; take(v)

proctype Bus()
{
	byte x, n, ver;
	mtype m;

end_idle:
	do
	CLIENT(0)
#if NVM > 1
	CLIENT(1)
#endif
	:: inbox?m,x,n,ver;                                     /* inbox_take() */
		if
		:: m == POST ->
			if
			:: vm[x].held = true                    /* over its burst: a timer takes it, still posted */
			:: take(x)
			fi
		:: m == REPLY ->
			d_step {
#ifndef NO_REPLY_FLUSH
				emit(x);
#endif
#ifdef REPLY_UNPOSTS
				vm[x].posted = false;
#endif
				assert(vm[x].inst_ver >= ver);          /* the reply comes after its view */
				assert(n == 0 || vm[x].inst_a >= n);    /* and the view shows what it waited for */
				vm[x].replies++
			}
		fi;
		d_step { x = 0; n = 0; ver = 0; m = 0 }
	od
}

/* ---- at rest, nothing is owed ---- */

active proctype Monitor()
{
	byte v = 0;

end_idle:
	atomic { timeout ->
	do
	:: v < NVM ->
		assert(!vm[v].lk && vm[v].lock_waiters == 0 && !vm[v].dirty);
		assert(vm[v].set_n == 0);                       /* nobody would ever look again */
		assert(vm[v].sq == 0);                          /* nor write */
		assert(vm[v].out_n == 0 && !vm[v].held && !vm[v].posted);
		assert(vm[v].filed == vm[v].applied && vm[v].applied == vm[v].emitted);
		assert(vm[v].replies == vm[v].want);            /* each call is answered once */
		assert(vm[v].cur == 0 && vm[v].q == 0 && vm[v].toag == 0 && vm[v].toops == 0);
		assert(vm[v].inst_ver == vm[v].ver && vm[v].inst_a == vm[v].st_a && vm[v].inst_st == vm[v].st);
		assert(vm[v].st_gen == vm[v].gen);
		assert((vm[v].st == ST_OFF && vm[v].proc == NO_PROC) || (vm[v].st == ST_RUNNING && vm[v].proc == LIVES));
		assert(!(vm[v].cancel_ok & vm[v].done_ok));     /* a cancel that was accepted is obeyed */
		assert(vm[v].killed == 0 || vm[v].killed <= vm[v].accepted ||
			vm[v].proc == NO_PROC || vm[v].immortal);       /* Kill kills */
		v++
	:: else -> break
	od }
}

init {
	byte v = 0, k = 0;

	atomic {
		do
		:: v < NVM ->
#if OFF == 0
			vm[v].proc = LIVES; vm[v].shown = true;
			vm[v].st = ST_RUNNING; vm[v].out_st = ST_RUNNING; vm[v].inst_st = ST_RUNNING;
#endif
			select(k : LEAST(NEV) .. NEV);     vm[v].spont = k;
			if :: v == 0 -> select(k : LEAST(NOPS0) .. NOPS0) :: else -> select(k : LEAST(NOPS) .. NOPS) fi;
			vm[v].toops = k;
			select(k : LEAST(NAG) .. NAG);     vm[v].toag = k; vm[v].want = k;
			select(k : LEAST(NKILL) .. NKILL);   vm[v].tokill = k;
			select(k : LEAST(NCRASH) .. NCRASH);  vm[v].tocrash = k;
			select(k : LEAST(NCANCEL) .. NCANCEL); vm[v].tocancel = k;
			select(k : 0 .. SILENT);  vm[v].silent = k;
#if UNIT
			select(k : LEAST(1) .. 1);  vm[v].mute = k;
#endif
			v++
		:: else -> break
		od;
		k = 0; v = 0;
		run Event(); run Bus();
		do
		:: v < NVM ->
			k = 0;
			do :: k < NTHR -> run Worker(v); k++ :: else -> break od;
#if NAG > 0
			run Agent(v);
#endif
			v++
		:: else -> break
		od
	}
}
