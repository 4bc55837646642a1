/*
 * bench-load: the fast half of ./bench. Everything that is timed per call or per event happens here, so that
 * the service is what is measured and not the one who asks.
 *
 *   call    calls a method again and again from some connections, a thread each, and times every reply
 *   burst   calls a method of many objects at once on one connection, and waits for all replies
 *   events  has QEMU make an event by a QMP socket of its own, and times from when QEMU says that it happened
 *           to when the signal is here
 *   qmp     stops and continues a QEMU by a QMP socket, with nobody in between
 *   kick    calls a method every now and then, and wants no reply
 *   spawn   starts the bare command line of QEMU, and ends it
 *   follow  listens for a while, and counts; of Roost's Event signals also the age, and what was merged
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- times ---- */
static uint64_t clock_usec(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t now_usec(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}

uint64_t wall_usec(void)
{
	return clock_usec(CLOCK_REALTIME);
}

void times_add(Times *times, uint64_t usec)
{
	if (times->n == times->n_max) {
		times->n_max = times->n_max ? times->n_max * 2 : 1024;
		times->usec = realloc(times->usec, times->n_max * sizeof *times->usec);
		if (!times->usec)
			abort();
	}
	times->usec[times->n++] = usec;
}

void times_take(Times *times, Times *from)
{
	for (size_t i = 0; i < from->n; i++)
		times_add(times, from->usec[i]);
	times->n_errors += from->n_errors;
	free(from->usec);
	*from = (Times){0};
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void times_print(Times *times, uint64_t duration_usec, const char *more)
{
	static const unsigned per_mille[] = {500, 900, 990};

	printf("{\"n\": %zu, \"errors\": %llu, \"seconds\": %.6f", times->n,
		(unsigned long long)times->n_errors, (double)duration_usec / 1e6);
	if (times->n > 0) {
		qsort(times->usec, times->n, sizeof *times->usec, compare);
		for (size_t i = 0; i < sizeof per_mille / sizeof *per_mille; i++)
			printf(", \"p%u\": %llu", per_mille[i] / 10,
				(unsigned long long)times->usec[(times->n - 1) * per_mille[i] / 1000]);
		printf(", \"max\": %llu, \"rate\": %.1f", (unsigned long long)times->usec[times->n - 1],
			(double)times->n * 1e6 / (double)(duration_usec ? duration_usec : 1));
	}
	printf("%s}\n", more);
	free(times->usec);
	*times = (Times){0};
}

/* ---- the bus ---- */
void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "bench-load: %s: %s\n", what, strerror(-r));
	exit(1);
}

sd_bus *load_connect(const Load *load)
{
	sd_bus *bus;

	must(sd_bus_new(&bus), "sd_bus_new");
	must(sd_bus_set_address(bus, load->bus), load->bus);
	must(sd_bus_set_bus_client(bus, true), load->bus);
	must(sd_bus_start(bus), load->bus);
	return bus;
}

static int append(sd_bus_message *message, char type, const char *text)
{
	switch (type) {
	case 's':
	case 'o':
		return sd_bus_message_append_basic(message, type, text);
	case 'u':
	case 'i':
	case 'b':
		return sd_bus_message_append_basic(
			message, type, &(uint32_t){(uint32_t)strtol(text, NULL, 0)});
	case 't':
		return sd_bus_message_append_basic(message, type, &(uint64_t){strtoull(text, NULL, 0)});
	default:
		return -EINVAL;
	}
}

sd_bus_message *load_message(sd_bus *bus, const Load *load, const char *path)
{
	sd_bus_message *message;
	int n = 0;

	must(sd_bus_message_new_method_call(
		     bus, &message, load->destination, path, load->interface, load->member),
		load->member);
	for (const char *type = load->signature; *type; type++) {
		if (*type == 'E')
			must(sd_bus_message_append(message, "a{sv}", 0), "a{sv}");
		else if (*type == 'P')
			must(sd_bus_message_append(message, "a{sv}", 1, "Paused", "b", true), "a{sv}");
		else if (*type == '0')
			must(sd_bus_message_append(message, "u", 0), "u");
		else if (n < load->n_arguments)
			must(append(message, *type, load->arguments[n++]), load->signature);
		else
			must(-EINVAL, "too few arguments");
	}
	return message;
}

/* ---- call ---- */
typedef struct Caller {
	const Load *load;
	pthread_barrier_t *start;
	pthread_t thread;
	Times times;
	char first_error[256];
} Caller;

static void *run_caller(void *data)
{
	Caller *caller = data;
	const Load *load = caller->load;
	sd_bus *bus = load_connect(load);
	Load then = *load;
	uint64_t end;

	then.member = load->then;
	sd_bus_call_method(bus, "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId", NULL, NULL, "");
	pthread_barrier_wait(caller->start);
	end = load->seconds ? now_usec() + load->seconds * 1000000 : UINT64_MAX;
	for (uint64_t i = 0; (load->seconds || i < load->count) && now_usec() < end; i++) {
		const Load *this = load->then && i % 2 == 1 ? &then : load;
		sd_bus_message *message = load_message(bus, this, load->path), *reply = NULL;
		sd_bus_error error = SD_BUS_ERROR_NULL;
		uint64_t begin = now_usec();
		int r = sd_bus_call(bus, message, load->timeout_msec * 1000, &error, &reply);

		if (r >= 0) {
			times_add(&caller->times, now_usec() - begin);
		} else if (caller->times.n_errors++ == 0) {
			snprintf(caller->first_error, sizeof caller->first_error, "%s",
				error.message ? error.message : strerror(-r));
		}
		sd_bus_error_free(&error);
		sd_bus_message_unref(reply);
		sd_bus_message_unref(message);
	}
	sd_bus_flush_close_unref(bus);
	return NULL;
}

int load_call(const Load *load)
{
	Caller *callers = calloc(load->clients, sizeof *callers);
	pthread_barrier_t start;
	Times times = {0};
	uint64_t begin;

	if (!callers)
		abort();
	pthread_barrier_init(&start, NULL, (unsigned)load->clients + 1);
	for (uint64_t i = 0; i < load->clients; i++) {
		callers[i].load = load;
		callers[i].start = &start;
		must(-pthread_create(&callers[i].thread, NULL, run_caller, &callers[i]), "pthread_create");
	}
	pthread_barrier_wait(&start);
	begin = now_usec();
	for (uint64_t i = 0; i < load->clients; i++) {
		pthread_join(callers[i].thread, NULL);
		if (callers[i].first_error[0])
			fprintf(stderr, "bench-load: %s: %s\n", load->member, callers[i].first_error);
		times_take(&times, &callers[i].times);
	}
	times_print(&times, now_usec() - begin, "");
	pthread_barrier_destroy(&start);
	free(callers);
	return 0;
}

/* ---- burst ---- */
typedef struct Burst {
	uint64_t begin_usec;
	size_t n_left;
	Times times;
} Burst;

static int take_reply(sd_bus_message *reply, void *data, sd_bus_error *ret_error)
{
	Burst *burst = data;

	burst->n_left--;
	if (sd_bus_message_is_method_error(reply, NULL)) {
		if (burst->times.n_errors++ == 0)
			fprintf(stderr, "bench-load: %s\n", sd_bus_message_get_error(reply)->message);
	} else {
		times_add(&burst->times, now_usec() - burst->begin_usec);
	}
	return 1;
}

int load_burst(const Load *load)
{
	Burst burst = {.n_left = (size_t)load->n_arguments};
	Load each = *load;
	sd_bus *bus = load_connect(load);

	each.n_arguments = 0;
	burst.begin_usec = now_usec();
	for (int i = 0; i < load->n_arguments; i++) {
		sd_bus_message *message = load_message(bus, &each, load->arguments[i]);

		must(sd_bus_call_async(bus, NULL, message, take_reply, &burst, load->timeout_msec * 1000),
			load->member);
		sd_bus_message_unref(message);
	}
	while (burst.n_left > 0) {
		int r = sd_bus_process(bus, NULL);

		must(r, "the bus");
		if (r == 0)
			must(sd_bus_wait(bus, UINT64_MAX), "the bus");
	}
	times_print(&burst.times, now_usec() - burst.begin_usec, "");
	sd_bus_flush_close_unref(bus);
	return 0;
}

/* ---- kick ---- */
int load_kick(const Load *load)
{
	sd_bus *bus = load_connect(load);
	uint64_t begin = now_usec();

	while (now_usec() < begin + load->seconds * 1000000) {
		sd_bus_message *message = load_message(bus, load, load->path);

		must(sd_bus_message_set_expect_reply(message, false), load->member);
		must(sd_bus_send(bus, message, NULL), load->member);
		must(sd_bus_flush(bus), "the bus");
		sd_bus_message_unref(message);
		usleep((useconds_t)load->pause_usec);
	}
	sd_bus_flush_close_unref(bus);
	return 0;
}

/* ---- main ---- */
static const struct {
	const char *name;
	int (*run)(const Load *load);
} ways[] = {{"call", load_call}, {"burst", load_burst}, {"events", load_events}, {"follow", load_follow},
	{"qmp", load_qmp}, {"spawn", load_spawn}, {"kick", load_kick}};

static const struct {
	const char *name;
	size_t offset;
	bool is_number;
} settings[] = {
	{"bus", offsetof(Load, bus), false},
	{"dest", offsetof(Load, destination), false},
	{"path", offsetof(Load, path), false},
	{"interface", offsetof(Load, interface), false},
	{"member", offsetof(Load, member), false},
	{"then", offsetof(Load, then), false},
	{"signature", offsetof(Load, signature), false},
	{"qmp", offsetof(Load, qmp), false},
	{"stops", offsetof(Load, stops), false},
	{"conts", offsetof(Load, conts), false},
	{"count", offsetof(Load, count), true},
	{"clients", offsetof(Load, clients), true},
	{"seconds", offsetof(Load, seconds), true},
	{"timeout-msec", offsetof(Load, timeout_msec), true},
	{"pause-usec", offsetof(Load, pause_usec), true},
};

#define N_SETTINGS (sizeof settings / sizeof *settings)

static void take_options(Load *load, int argc, char **argv)
{
	struct option options[N_SETTINGS + 1] = {0};
	int i;

	for (size_t k = 0; k < N_SETTINGS; k++)
		options[k] = (struct option){settings[k].name, required_argument, NULL, (int)k};
	while ((i = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		char *at = (char *)load;

		if (i >= (int)N_SETTINGS)
			exit(2);
		at += settings[i].offset;
		if (settings[i].is_number)
			*(uint64_t *)at = strtoull(optarg, NULL, 10);
		else
			*(const char **)at = optarg;
	}
	load->arguments = argv + optind;
	load->n_arguments = argc - optind;
}

int main(int argc, char **argv)
{
	Load load = {.signature = "", .count = 1000, .clients = 1, .timeout_msec = 25000};

	for (size_t i = 0; argc > 1 && i < sizeof ways / sizeof *ways; i++) {
		if (strcmp(argv[1], ways[i].name) != 0)
			continue;
		take_options(&load, argc - 1, argv + 1);
		return ways[i].run(&load);
	}
	fputs("Usage: bench-load call|burst|events|follow|qmp|spawn|kick --bus=ADDRESS OPTION... "
	      "[ARGUMENT...]\n"
	      "See the head of benchmark/load.c; ./bench is what uses it.\n",
		stderr);
	return 2;
}
