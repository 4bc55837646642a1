#pragma once
/* What stress-engine and the QEMUs that it runs share: a file for each VM, mapped by both. */
#include <stdatomic.h>
#include <stdint.h>

#define STORM_RUNS_MAX 65536

typedef struct StormRun {
	atomic_uint_fast64_t n_begun; /* events given to the socket, or about to be */
	atomic_uint_fast64_t n_done;  /* of these, in the socket for certain */
} StormRun;

typedef struct Storm {
	atomic_bool calm; /* the stress is over: no tricks any more */
	atomic_uint n_runs;
	StormRun runs[STORM_RUNS_MAX];
} Storm;
