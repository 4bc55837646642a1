/* Roost: what QEMU can do. Who asks it, who waits for that, and what GetCapabilities is answered. Promela, for spin 6.5.
 *
 * The QEMU that is there has a number, and each upgrade the next one. A key is the number as it was looked at; what is found
 * out under a key is what was there when it was found out, or what the cache has under that key. Askers stand for workers
 * in engine_capabilities() and check_main(), Bus for the bus thread.
 *
 * Each d_step{} that touches `answer`, `asking` or `facts_no` is one hold of host.mutex. A condition is a flag for each
 * sleeper, and a broadcast sets them all.
 *
 * Every `#ifdef` that is not a size is a mutation, which must be found. The table is in run-model.
 */
#ifndef NASK
#define NASK 2     /* workers that need the answer for something else than a check */
#endif
#ifndef NUPGRADE
#define NUPGRADE 1
#endif
#ifndef NCALL
#define NCALL 2    /* GetCapabilities */
#endif

#define NOTHING 255
#define NTHREAD (NASK + NCALL)          /* a check for each call, at most */

byte qemu;                              /* the one that is there */
byte cached;                            /* the key of what is in the cache; what it says is as old as its key */

/* host.mutex */
byte answer_key = NOTHING, answer;
bool asking;
byte facts_no;
bool asleep[NTHREAD]; bool woken[NTHREAD];

/* bus thread */
chan inbox = [8] of { byte, byte, byte };     /* HostFacts: number, what it says, check */
byte installed_no, installed, check, n_threads;
bool checking;
#define WAITING  1
#define CHECKED  2
#define ANSWERED 3
byte call[NCALL];
byte came[NCALL];                       /* ghost: which QEMU was there when it came */

byte probing, n_done;                   /* ghosts */

inline broadcast()
{
	i = 0;
	do
	:: i < NTHREAD -> woken[i] = woken[i] || asleep[i]; i++
	:: else -> break
	od;
	i = 0
}

/* One hold. What is posted may be overtaken by what is posted later. */
inline post_facts(number)
{
	d_step { facts_no++; no = facts_no; is = answer }       /* post_facts() */
	atomic { assert(nfull(inbox)); inbox!no,is,number; no = 0; is = 0 }
}

proctype Asker(byte me; byte number)
{
	byte key, i, no, is;
	bool turn;

	key = qemu;                                             /* make_key() */
	do
	:: d_step { true ->                                     /* await_answer() */
		woken[me] = false; asleep[me] = false; turn = false;
		if
		:: answer_key == key
		:: answer_key != key && !asking ->
#ifndef ASK_SPLIT
			asking = true;
#endif
			turn = true
		:: answer_key != key && asking -> asleep[me] = true
		fi };
		if
		:: asleep[me] -> woken[me]
		:: else -> break
		fi
	od;
	if
	:: turn ->
#ifdef ASK_SPLIT
		asking = true;
#endif
#ifndef NO_SECOND_LOOK
		key = qemu;                                     /* take_turn() */
#endif
		if
		:: d_step { answer_key == key -> is = answer }  /* known_answer() */
		:: else ->
			d_step { assert(probing == 0); probing++ }      /* find_out() */
			if
			:: cached == key -> is = cached
			:: else -> is = qemu
			fi;
			d_step { probing--; turn = false }
		fi;
		d_step {                                        /* give_answer() */
			assert(answer_key == NOTHING || is >= answer);
			answer_key = key; answer = is; is = 0;
			asking = false;
#ifndef NO_BROADCAST
			broadcast()
#endif
		}
		if
		:: !turn ->
			post_facts(0);
			if
			:: qemu == key -> cached = key          /* keep_answer() */
			:: else
			fi
		:: else -> turn = false
		fi
	:: else
	fi;
	if
	:: number > 0 -> post_facts(number)                     /* check_main() */
	:: else
	fi;
	n_done++
}

inline begin_check()
{
	d_step {                                                /* begin_check() */
		c = 0; begin = false;
		do
		:: c < NCALL -> begin = begin || call[c] == WAITING; c++
		:: else -> break
		od;
		begin = begin && !checking;
		c = 0;
		if
		:: begin ->
			check++; checking = true;
			do
			:: c < NCALL ->
				if :: call[c] == WAITING -> call[c] = CHECKED :: else fi;
				c++
			:: else -> break
			od;
			c = 0
		:: else
		fi
	}
	if
	:: begin -> atomic { assert(n_threads < NTHREAD); run Asker(n_threads, check); n_threads++; begin = false }
	:: else
	fi
}

proctype Bus()
{
	byte c, n_came, no, is, number;
	bool begin;

end_idle:
	do
	:: n_came < NCALL ->
#ifdef JOIN_CHECK
		d_step { call[n_came] = (checking -> CHECKED : WAITING); came[n_came] = qemu; n_came++ }
#else
		d_step { call[n_came] = WAITING; came[n_came] = qemu; n_came++ }       /* begin_get_capabilities() */
#endif
		begin_check()
	:: inbox?no,is,number ->
		d_step {                                        /* install() */
			if
#ifdef NO_ORDER
			:: true ->
#else
			:: no >= installed_no ->
#endif
				assert(is >= installed);        /* QemuVersion does not go back */
				installed_no = no; installed = is
#ifndef NO_ORDER
			:: else
#endif
			fi
		}
		if
#ifdef ANY_FACTS
		:: checking ->
#else
		:: checking && number == check ->               /* capabilities_on_facts() */
#endif
			d_step {
				checking = false; c = 0;
				do
				:: c < NCALL ->
					if
					:: call[c] == CHECKED ->
						assert(installed >= came[c]);   /* it is told what was there when it came */
						call[c] = ANSWERED
					:: else
					fi;
					c++
				:: else -> break
				od;
				c = 0; no = 0; is = 0; number = 0
			}
			begin_check()
		:: else
		fi
	od
}

proctype Packager()
{
	byte n = 0;

	do
	:: n < NUPGRADE -> atomic { qemu++; n++ }
	:: break
	od
}

/* ---- at rest, everybody has an answer ---- */
active proctype Monitor()
{
	byte c = 0;

end_idle:
	atomic { timeout ->
		assert(n_done == n_threads);
		do
		:: c < NCALL -> assert(call[c] == ANSWERED); c++
		:: else -> break
		od;
		assert(!asking && !checking && probing == 0)
	}
}

init {
	atomic {
		run Bus();
		run Packager();
		do
		:: n_threads < NASK -> run Asker(n_threads, 0); n_threads++
		:: else -> break
		od
	}
}
