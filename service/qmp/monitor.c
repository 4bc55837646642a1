/*
 * One sd-event source per monitor, level-triggered: reading stops at the turn's limit and goes on in the next
 * turn.
 *
 * How it ends: only reading ends a monitor, so that what QEMU said before it closed is always delivered
 * first. A write that fails is remembered, and the monitor closes when there is nothing left to read.
 */
#include "qmp/monitor.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "util/fd.h"

/* More than any socket buffer holds: a bound for a peer that writes while qmp_monitor_finish() reads. */
#define FINISH_MAX (64U * 1024 * 1024)

struct QmpMonitor {
	QmpMonitorCallbacks callbacks;
	void *user;
	QmpSession *session;
	sd_event_source *source;
	int fd;
	int write_error;
	bool closed;
	int sending_fd;            /* to go along with the byte at sending_at; -1: none */
	size_t sending_at, n_sent; /* bytes, ever */
};

static void close_monitor(QmpMonitor *monitor, int error, const char *why) ON_EVENT_THREAD
{
	monitor->closed = true;
	sd_event_source_disable_unref(monitor->source);
	monitor->source = NULL;
	fd_close(&monitor->fd);
	monitor->callbacks.closed(monitor->user, error, why);
}

/* Asks for EPOLLOUT while something waits; with an error to report, too: a socket that cannot be written
 * counts as writable. */
static void watch(QmpMonitor *monitor) ON_EVENT_THREAD
{
	uint32_t events = EPOLLIN;
	size_t size;

	qmp_session_output(monitor->session, &size);
	if (size > 0 || monitor->write_error < 0)
		events |= EPOLLOUT;
	sd_event_source_set_io_events(monitor->source, events);
}

/* What belongs to an fd must not be sent before it, nor together with what comes before. */
static ssize_t send_some(QmpMonitor *monitor, const char *bytes, size_t size)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = (void *)bytes, .iov_len = size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t n;

	if (monitor->sending_fd >= 0 && monitor->n_sent < monitor->sending_at) {
		part.iov_len = MIN(size, monitor->sending_at - monitor->n_sent);
	} else if (monitor->sending_fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control.space;
		control.header = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(&control.header), &monitor->sending_fd, sizeof(int));
	}
	n = sendmsg(monitor->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0 && message.msg_control)
		fd_close(&monitor->sending_fd);
	if (n > 0)
		monitor->n_sent += (size_t)n;
	return n;
}

static void write_output(QmpMonitor *monitor) ON_EVENT_THREAD
{
	while (!monitor->closed && monitor->write_error == 0) {
		size_t size;
		const char *bytes = qmp_session_output(monitor->session, &size);
		ssize_t n;

		if (size == 0)
			break;
		n = send_some(monitor, bytes, size);
		if (n >= 0)
			qmp_session_wrote(monitor->session, (size_t)n);
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			monitor->write_error = -errno;
	}
	if (!monitor->closed)
		watch(monitor);
}

/* Reads once. 1: more may be there; 0: nothing for now; closed: see monitor->closed. */
static int read_once(QmpMonitor *monitor, size_t limit, size_t *total) ON_EVENT_THREAD
{
	size_t size;
	char *buffer = qmp_session_buffer(monitor->session, &size);
	const char *why = NULL;
	ssize_t n;
	int r;

	n = recv(monitor->fd, buffer, MIN(size, limit), MSG_DONTWAIT);
	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0 && errno == EAGAIN)
		return 0;
	/* A peer that died with something unread resets the connection: it has closed, too. */
	if (n == 0 || (n < 0 && errno == ECONNRESET)) {
		close_monitor(monitor, 0, "QEMU closed the QMP connection");
		return 0;
	}
	if (n < 0) {
		close_monitor(monitor, -errno, "reading from QEMU failed");
		return 0;
	}
	*total += (size_t)n;
	r = qmp_session_feed(monitor->session, (size_t)n, &why);
	if (r < 0) {
		close_monitor(monitor, r, why);
		return 0;
	}
	return 1;
}

/* `finish`: nothing will come after what is there. */
static void read_input(QmpMonitor *monitor, size_t limit, bool finish) ON_EVENT_THREAD
{
	size_t total = 0;
	int r = 1;

	while (r > 0 && total < limit)
		r = read_once(monitor, limit - total, &total);
	if (!monitor->closed && finish)
		close_monitor(monitor, 0, "QEMU has exited");
	if (!monitor->closed)
		write_output(monitor);
	if (!monitor->closed && r == 0 && monitor->write_error < 0)
		close_monitor(monitor, monitor->write_error, "writing to QEMU failed");
	if (total > 0 || monitor->closed)
		monitor->callbacks.turn(monitor->user);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *user)
{
	assert_event_thread(__func__);
	read_input(user, QMP_TURN_MAX, false);
	return 0;
}

int qmp_monitor_new(sd_event *loop, int fd_consume, const QmpMonitorCallbacks *callbacks, void *user,
	QmpMonitor **ret_monitor)
{
	QmpMonitor *monitor = g_new0(QmpMonitor, 1);
	int r;

	assert_event_thread(__func__);
	monitor->fd = fd_consume;
	monitor->sending_fd = -1;
	monitor->callbacks = *callbacks;
	monitor->user = user;
	r = sd_event_add_io(loop, &monitor->source, fd_consume, EPOLLIN, on_io, monitor);
	if (r < 0) {
		qmp_monitor_free(monitor);
		return r;
	}
	sd_event_source_set_description(monitor->source, "qmp");
	monitor->session = qmp_session_new(&callbacks->session, user);
	*ret_monitor = monitor;
	return 0;
}

QmpMonitor *qmp_monitor_free(QmpMonitor *monitor)
{
	if (!monitor)
		return NULL;
	sd_event_source_disable_unref(monitor->source);
	fd_close(&monitor->fd);
	fd_close(&monitor->sending_fd);
	qmp_session_free(monitor->session);
	g_free(monitor);
	return NULL;
}

int qmp_monitor_send_fd(QmpMonitor *monitor, const char *bytes, size_t size, int fd_consume, size_t offset)
{
	autofd int fd = fd_consume;
	size_t waiting;

	if (monitor->closed || monitor->write_error < 0)
		return -EPIPE;
	if (qmp_session_output_full(monitor->session))
		return -ENOBUFS;
	/* Before the handshake the session orders what is sent; nobody has an fd to pass then. */
	if (fd >= 0 && (monitor->sending_fd >= 0 || !qmp_monitor_is_ready(monitor)))
		return -EBUSY;
	if (fd >= 0) {
		qmp_session_output(monitor->session, &waiting);
		monitor->sending_fd = g_steal_fd(&fd);
		monitor->sending_at = monitor->n_sent + waiting + offset;
	}
	qmp_session_send(monitor->session, bytes, size);
	write_output(monitor);
	return 0;
}

int qmp_monitor_send(QmpMonitor *monitor, const char *bytes, size_t size)
{
	return qmp_monitor_send_fd(monitor, bytes, size, -1, 0);
}

bool qmp_monitor_is_ready(const QmpMonitor *monitor)
{
	return !monitor->closed && qmp_session_state(monitor->session) == QMP_SESSION_READY;
}

void qmp_monitor_finish(QmpMonitor *monitor)
{
	if (!monitor->closed)
		read_input(monitor, FINISH_MAX, true);
}
