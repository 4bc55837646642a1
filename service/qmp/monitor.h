#pragma once
/*
 * A QMP monitor: a session on a connected socket, watched by the event thread's sd-event loop. It reads at
 * most QMP_TURN_MAX bytes a turn (so that one flooding QEMU does not starve the others), writes without
 * blocking and keeps the rest for EPOLLOUT.
 */
#include <systemd/sd-event.h>

#include "qmp/session.h"
#include "util/thread.h"

#define QMP_TURN_MAX (256U * 1024)

typedef struct QmpMonitorCallbacks {
	QmpSessionCallbacks session;
	/* After each turn in which bytes were read, and after closed(): the moment to deliver what was filed.
	 */
	void (*turn)(void *user);
	/* The peer closed (error 0), or a read, a write or the protocol failed (negative errno). Called once,
	 * and no callback but turn() after it; the monitor may not be freed from within. `why` is borrowed.
	 */
	void (*closed)(void *user, int error, const char *why);
} QmpMonitorCallbacks;

typedef struct QmpMonitor QmpMonitor;

/* Takes fd over (also on failure). 0 or a negative errno (sd_event_add_io(3)). */
int qmp_monitor_new(sd_event *loop, int fd_consume, const QmpMonitorCallbacks *callbacks, void *user,
	QmpMonitor **ret_monitor) ON_EVENT_THREAD;
QmpMonitor *qmp_monitor_free(QmpMonitor *monitor) ON_EVENT_THREAD;

/* Appends commands and writes what the socket takes. -ENOBUFS: too much is waiting (QMP_OUTPUT_MAX); -EPIPE:
 * closed. */
int qmp_monitor_send(QmpMonitor *monitor, const char *bytes, size_t size) ON_EVENT_THREAD;

/* The same with an fd (taken over, also on failure) that goes along with the command that begins at `offset`
 * (SCM_RIGHTS; QMP's getfd and add-fd). -EBUSY: one is still to be sent, or the handshake is not through. */
int qmp_monitor_send_fd(QmpMonitor *monitor, const char *bytes, size_t size, int fd_consume, size_t offset)
	ON_EVENT_THREAD;

/* Whether the handshake is through. */
bool qmp_monitor_is_ready(const QmpMonitor *monitor) ON_EVENT_THREAD;

/* QEMU has exited: reads what is left in the socket, without a limit per turn (the kernel's buffer bounds
 * it), up to its end, then closed(). */
void qmp_monitor_finish(QmpMonitor *monitor) ON_EVENT_THREAD;
