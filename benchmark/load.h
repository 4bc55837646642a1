#pragma once
/*
 * What the load generator's ways share: what is to be called or waited for, the times taken, and how they are
 * told: one line of JSON on standard output, times in microseconds.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

typedef struct Load {
	const char *bus, *destination, *path, *interface, *member;
	const char *then;      /* every second call is of this member */
	const char *signature; /* basic types; E: an empty a{sv}; P: Paused in one; 0: a u of 0 */
	char **arguments;      /* one for each basic type in it; in `burst` the paths */
	int n_arguments;
	const char *qmp;           /* a socket where QEMU speaks QMP */
	const char *stops, *conts; /* what a signal's text has in it after `stop` and `cont` */
	uint64_t count, clients, seconds, timeout_msec, pause_usec;
} Load;

typedef struct Times {
	uint64_t *usec;
	size_t n, n_max;
	uint64_t n_errors;
} Times;

void times_add(Times *times, uint64_t usec);
/* `from` is empty afterwards. */
void times_take(Times *times, Times *from);
/* Prints; `more` is further members, beginning with a comma. The times are freed. */
void times_print(Times *times, uint64_t duration_usec, const char *more);

uint64_t now_usec(void);  /* since some time */
uint64_t wall_usec(void); /* since 1970: what QEMU writes on events */

/* Ends the program with a complaint if `r` is negative. */
void must(int r, const char *what);
sd_bus *load_connect(const Load *load);
sd_bus_message *load_message(sd_bus *bus, const Load *load, const char *path);

int load_call(const Load *load);
int load_burst(const Load *load);
int load_events(const Load *load);
int load_follow(const Load *load);
int load_qmp(const Load *load);
int load_spawn(const Load *load);
int load_kick(const Load *load);
