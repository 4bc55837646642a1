#pragma once
/* What link.c and link-timer.c share: the event thread's alone. */
#include "qmp/monitor.h"
#include "vm/console.h"
#include "vm/link.h"

#define LINK_TAIL_MAX 2048 /* of QEMU's output, kept for error messages */
#define LINK_LINE_MAX 1024 /* of it, in one line of the log */

struct VmLink {
	Vm *vm; /* a reference */
	QemuProcess *process;
	char *name; /* the VM's when QEMU was started: for the log */
	char *unit; /* likewise, of systemd's; NULL: none */
	char *qmp_path;
	QmpMonitor *monitor; /* NULL while disconnected */
	char *closed_why;    /* or NULL */
	bool monitor_closed; /* it is to be freed when its callbacks have returned */
	sd_event_source *pidfd_source, *output_source, *timer;
	int output_fd;
	char tail[LINK_TAIL_MAX];
	size_t tail_size;
	bool tail_cut;
	char line[LINK_LINE_MAX]; /* one that is not whole yet */
	size_t line_size;
	uint64_t lines_since_usec; /* monotonic: since then so many lines went to the log, and others did not
				    */
	unsigned n_lines, n_lines_kept;
	Console **consoles; /* NULL where there is no connection */
	char **console_paths;
	ConsoleRequest *waiting_readers; /* whose console is not connected yet */
	bool consoles_missing;           /* to be tried again with the monitor's timer */
	uint64_t consoles_usec;          /* when */
	bool told_lost;                  /* the loss of the monitor was logged, and it was not back since */
	unsigned n_consoles;

	uint64_t last_heard_usec; /* monotonic: when bytes last came from the monitor */
	uint64_t query_id;        /* the query-status that is under way: a probe or a resync; 0: none */
	uint64_t agent_query_id;  /* the query-chardev behind it; 0: none */
	bool has_agent, has_nics;
	uint64_t query_deadline_usec; /* then it does not answer; 0: none */
	uint64_t filter_query_id;     /* the query-rx-filter that is under way; 0: none */
	uint64_t filter_usec;         /* when it is due; 0: it is not wanted */
	uint64_t last_filter_usec;    /* when it was last sent */
	bool resyncing;               /* holds one of the engine's places */
	bool in_resync_line;
	bool resync_wanted;
	uint64_t last_resync_usec;
	uint64_t reconnect_usec; /* when to try again; 0: connected */
	bool fresh;              /* started by us a moment ago: nothing to be found out */
	uint64_t shutdown_deadline_usec, quit_deadline_usec; /* copies of the mail's */
	uint64_t alarms_usec[VM_ALARM_MAX];                  /* 0: not set */
};

/* link-timer.c */
int link_timer_new(VmLink *link) ON_EVENT_THREAD;
/* Sets the timer to the next thing that is due. */
void link_timer_arm(VmLink *link) ON_EVENT_THREAD;
/* The monitor is ready, or asks are due: sends query-status if allowed now. */
void link_resync(VmLink *link) ON_EVENT_THREAD;
/* A NIC has told of a new receive filter, or may have: it tells of the next one once it was asked. */
void link_want_filter(VmLink *link) ON_EVENT_THREAD;
/* A reply nobody waits for. */
void link_handle_reply(VmLink *link, uint64_t id, const QmpReply *reply) ON_EVENT_THREAD;
/* Gives the place back and starts the next in line. */
void link_resync_done(VmLink *link) ON_EVENT_THREAD;

/* link-output.c */
int link_watch_output(VmLink *link) ON_EVENT_THREAD;
/* Of a process that has ended: reads what is left. */
void link_finish_output(VmLink *link) ON_EVENT_THREAD;
/* What it said last. The caller frees. */
char *link_last_words(const VmLink *link);

/* link.c */
/* Connects to the path; then the handshake runs. 0 or a negative errno. */
int link_reconnect(VmLink *link) ON_EVENT_THREAD;
/* Connects the consoles that are not. */
void link_connect_consoles(VmLink *link) ON_EVENT_THREAD;
/* The monitor is gone, the process is not: files it and plans the next attempt. */
void link_lost(VmLink *link) ON_EVENT_THREAD;
