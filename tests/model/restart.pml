/* Roost: a QEMU that dies, and is to be started again. How that meets Kill, a Start of somebody's and Undefine. Promela,
 * for spin 6.5.
 *
 * The lane is a queue that one worker serves; lane.pml has what is inside. Kill's way with a process is in roost.pml; here
 * it is what bears on the number that a restart goes by. Numbers are those of acceptance, the one series of the service.
 *
 * Each d_step{} that touches what is marked `mail` is one hold of that mutex. Every `#ifdef` that is not a size is a
 * mutation, which must be found. The table is in run-model.
 */
#ifndef NKILL
#define NKILL 1
#endif
#ifndef NSTART
#define NSTART 2   /* somebody's */
#endif
#ifndef NCRASH
#define NCRASH 1
#endif
#ifndef NUNDEF
#define NUNDEF 0
#endif

byte last;                              /* number given */
bool vm_lock;

/* mail */
byte kill_before, restart_after;
bool shown, killed;                     /* the process, and whether Kill has signalled it */
bool exit_filed;

/* VM lock */
bool runs, gone;
byte started;                           /* the number of the Start that QEMU came from */

/* the bus thread, and the lane */
bool posted;
mtype = { START, UNDEFINE };
chan lane = [8] of { mtype, byte };

/* the process */
byte n_alive;
bool dying, dead;

/* ghosts */
bool forbidden;                         /* a Kill was accepted, and no Start of somebody's after it */
byte n_restarts;

inline take_lock() { atomic { !vm_lock -> vm_lock = true } }
inline give_lock() { vm_lock = false }

/* apply_exit(), policy_qemu_died(): whoever holds the lock. Two holds of the mail. */
inline apply(was_killed)
{
	if
	:: exit_filed ->
		d_step { exit_filed = false; was_killed = killed }
		runs = false;
		if
		:: !was_killed && !gone ->
#ifdef FRESH_NUMBER
			d_step { last++; restart_after = last }
#else
			d_step { restart_after = started }
#endif
			posted = true
		:: else
		fi
	:: else
	fi
}

active proctype Bus()
{
	byte kills = NKILL, starts = NSTART, undefines = NUNDEF;
	bool wanted;

end:
	do
	:: kills > 0 ->                 /* vm_kill() */
		d_step {
			kills--;
			last++;
			kill_before = last;
			forbidden = true;
			if
			:: shown -> killed = true; dying = (n_alive > 0)
			:: else
			fi
		}
	:: starts > 0 && !gone ->       /* operation_submit() */
		d_step { starts--; last++; forbidden = false; lane!START, last }
	:: undefines > 0 ->
		d_step { undefines--; last++; lane!UNDEFINE, last }
	:: posted ->                    /* restart_look_at() */
		posted = false;
		d_step {                /* vm_take_restart() */
#ifdef NO_COMPARE
			wanted = (restart_after != 0);
#else
			wanted = (restart_after != 0 && kill_before < restart_after);
#endif
			restart_after = 0
		}
		if
		:: wanted ->
			n_restarts++;
			d_step { last++; lane!START, last }
		:: else
		fi
	od
}

/* run_start(): `number` is its own. */
inline start(number, was_killed, refused)
{
	take_lock();
	apply(was_killed);
#ifdef NO_GONE
	d_step { refused = (kill_before > number) }
#else
	d_step { refused = (gone || kill_before > number) }     /* operation_is_before_kill() */
#endif
	if
	:: !refused && runs && killed ->                      /* vm_is_being_killed(): operation_wait_exit() */
		give_lock();
		exit_filed || !runs;
		take_lock();
		apply(was_killed)
	:: else
	fi;
	if
#ifdef NO_STATE
	:: !refused ->
#else
	:: !refused && !runs ->
#endif
		runs = true;
		give_lock();
		d_step { n_alive++; assert(n_alive <= 1) }
		take_lock();
		started = number;
		d_step {                                        /* vm_show_process() */
			shown = true;
			killed = (kill_before > number);
			if
			:: killed && n_alive > 0 -> dying = true
			:: else
			fi
		}
	:: else
	fi;
	give_lock()
}

active proctype Worker()
{
	byte number;
	bool was_killed, refused;

end:
	do
	:: lane?START, number -> start(number, was_killed, refused)
	:: lane?UNDEFINE, number ->                             /* run_undefine() */
		take_lock();
		apply(was_killed);
		if
		:: !runs -> gone = true
		:: else
		fi;
		give_lock()
	od
}

active proctype Qemu()
{
	byte crashes = NCRASH;

end:
	do
	:: n_alive > 0 && dying && !dead -> d_step { n_alive--; dying = false; dead = true }
	:: n_alive > 0 && !dying && !dead && crashes > 0 -> d_step { crashes--; n_alive--; dead = true }
	od
}

active proctype Event()
{
	bool was_killed;

end:
	do
	:: dead && shown -> d_step { dead = false; shown = false; exit_filed = true }    /* vm_file_exit() */
	:: exit_filed ->                /* vm_deliver() */
		take_lock();
		apply(was_killed);
		give_lock()
	od
}

active proctype Rest()
{
	timeout ->
	assert(!(n_alive > 0 && forbidden));
	assert(!(n_alive > 0 && gone));
	assert(!posted && empty(lane) && !exit_filed);
	/* What nobody forbade is started again. */
	assert(n_restarts > 0 || NCRASH == 0 || NSTART == 0 || NKILL + NUNDEF > 0 || n_alive > 0)
}
