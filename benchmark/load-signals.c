/*
 * Of bench-load: the ways that wait for signals, and the one that needs no bus.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "qmp-client.h"

#define GIVE_UP_USEC 3000000

typedef struct Wait {
	const char *word; /* the signal's text has it */
	uint64_t event_usec, signal_usec;
} Wait;

/* The basic arguments that a signal begins with, as text with spaces around each. */
static void describe(sd_bus_message *message, char *text, size_t size)
{
	size_t n = (size_t)snprintf(text, size, " ");
	char type;

	while (n < size && sd_bus_message_peek_type(message, &type, NULL) > 0 && strchr("soiut", type)) {
		union {
			const char *text;
			int32_t i;
			uint32_t u;
			uint64_t t;
		} value;

		if (sd_bus_message_read_basic(message, type, &value) <= 0)
			return;
		if (type == 's' || type == 'o')
			n += (size_t)snprintf(text + n, size - n, "%s ", value.text);
		else if (type == 'i')
			n += (size_t)snprintf(text + n, size - n, "%d ", value.i);
		else if (type == 'u')
			n += (size_t)snprintf(text + n, size - n, "%u ", value.u);
		else
			n += (size_t)snprintf(text + n, size - n, "%llu ", (unsigned long long)value.t);
	}
}

static int take_signal(sd_bus_message *message, void *data, sd_bus_error *ret_error)
{
	Wait *wait = data;
	uint64_t now = wall_usec();
	char text[1024];

	describe(message, text, sizeof text);
	if (wait->word && wait->signal_usec == 0 && strstr(text, wait->word))
		wait->signal_usec = now;
	return 0;
}

static void listen_for(sd_bus *bus, const Load *load, sd_bus_message_handler_t take, void *data)
{
	must(sd_bus_match_signal(
		     bus, NULL, load->destination, load->path, load->interface, load->member, take, data),
		"AddMatch");
}

/* One round of waiting for the bus and, if there is one, for QEMU. */
static void wait_once(sd_bus *bus, int qmp, uint64_t until_usec)
{
	struct pollfd fds[2] = {{.fd = sd_bus_get_fd(bus)}, {.fd = qmp, .events = POLLIN}};
	uint64_t now = now_usec();
	int r;

	r = sd_bus_process(bus, NULL);
	must(r, "the bus");
	if (r > 0)
		return;
	fds[0].events = (short)sd_bus_get_events(bus);
	if (until_usec > now)
		poll(fds, 2, (int)((until_usec - now) / 1000 + 1));
}

static void take_events(QmpClient *qmp, Wait *wait, const char *event)
{
	const char *line;

	while ((line = qmp_client_line(qmp))) {
		uint64_t usec = qmp_event_usec(line, event);

		if (usec > 0 && wait->event_usec == 0)
			wait->event_usec = usec;
	}
}

/* Makes one event and waits for both: what QEMU says here, and the signal. */
static void time_event(sd_bus *bus, QmpClient *qmp, const Load *load, Wait *wait, bool stops, Times *times)
{
	uint64_t end = now_usec() + GIVE_UP_USEC;

	*wait = (Wait){.word = stops ? load->stops : load->conts};
	qmp_client_send(qmp, stops ? "stop" : "cont");
	while ((wait->event_usec == 0 || wait->signal_usec == 0) && now_usec() < end) {
		wait_once(bus, qmp->fd, end);
		take_events(qmp, wait, stops ? "STOP" : "RESUME");
	}
	if (wait->event_usec == 0 || wait->signal_usec == 0)
		times->n_errors++;
	else
		times_add(times,
			wait->signal_usec > wait->event_usec ? wait->signal_usec - wait->event_usec : 0);
}

int load_events(const Load *load)
{
	sd_bus *bus = load_connect(load);
	Wait wait = {0};
	Times times = {0};
	QmpClient qmp;
	uint64_t begin, end;

	listen_for(bus, load, take_signal, &wait);
	must(qmp_client_open(&qmp, load->qmp), load->qmp);
	begin = now_usec();
	end = load->seconds ? begin + load->seconds * 1000000 : UINT64_MAX;
	for (uint64_t i = 0; i < load->count && now_usec() < end; i++) {
		uint64_t next;

		/* The VM runs before, and after. */
		time_event(bus, &qmp, load, &wait, i % 2 == 0, &times);
		for (next = now_usec() + load->pause_usec; now_usec() < next;)
			wait_once(bus, qmp.fd, next);
	}
	times_print(&times, now_usec() - begin, "");
	qmp_client_close(&qmp);
	sd_bus_flush_close_unref(bus);
	return 0;
}

/* ---- follow ---- */
typedef struct Follow {
	Times times;
	uint64_t n_signals, n_merged, n_batches, last_usec;
} Follow;

/* Signals that come within this time are of one batch. */
#define BATCH_USEC 1000

static int take_any(sd_bus_message *message, void *data, sd_bus_error *ret_error)
{
	Follow *follow = data;
	uint64_t now = wall_usec(), sequence, previous, first, last;
	uint32_t count;
	const char *event;

	follow->n_signals++;
	if (now - follow->last_usec > BATCH_USEC)
		follow->n_batches++;
	follow->last_usec = now;
	if (sd_bus_message_has_signature(message, "tsutttsa{sv}") &&
		sd_bus_message_read(message, "tsuttt", &sequence, &event, &count, &previous, &first, &last) >
			0) {
		follow->n_merged += count;
		times_add(&follow->times, now > first ? now - first : 0);
	}
	return 0;
}

int load_follow(const Load *load)
{
	sd_bus *bus = load_connect(load);
	Follow follow = {0};
	uint64_t begin = now_usec(), end = begin + load->seconds * 1000000;
	char more[128];

	listen_for(bus, load, take_any, &follow);
	while (now_usec() < end)
		wait_once(bus, -1, end);
	snprintf(more, sizeof more, ", \"signals\": %llu, \"batches\": %llu, \"merged\": %llu",
		(unsigned long long)follow.n_signals, (unsigned long long)follow.n_batches,
		(unsigned long long)follow.n_merged);
	times_print(&follow.times, now_usec() - begin, more);
	sd_bus_flush_close_unref(bus);
	return 0;
}

/* ---- qmp ---- */
static bool await_return(QmpClient *qmp)
{
	struct pollfd readable = {.fd = qmp->fd, .events = POLLIN};
	const char *line;

	for (;;) {
		while ((line = qmp_client_line(qmp)))
			if (strncmp(line, "{\"return\"", strlen("{\"return\"")) == 0)
				return true;
		if (poll(&readable, 1, GIVE_UP_USEC / 1000) <= 0)
			return false;
	}
}

int load_qmp(const Load *load)
{
	Times times = {0};
	QmpClient qmp;
	uint64_t begin;

	must(qmp_client_open(&qmp, load->qmp), load->qmp);
	begin = now_usec();
	for (uint64_t i = 0; i < load->count; i++) {
		uint64_t sent = now_usec();

		qmp_client_send(&qmp, i % 2 == 0 ? "stop" : "cont");
		if (await_return(&qmp))
			times_add(&times, now_usec() - sent);
		else
			times.n_errors++;
	}
	times_print(&times, now_usec() - begin, "");
	qmp_client_close(&qmp);
	return 0;
}
