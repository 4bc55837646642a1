#include "vm/link-private.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

VmHandoff *vm_handoff_new(QemuProcess *process_consume)
{
	VmHandoff *handoff = g_new0(VmHandoff, 1);

	handoff->process = process_consume;
	handoff->qmp_fd = handoff->output_fd = -1;
	return handoff;
}

VmHandoff *vm_handoff_free(VmHandoff *handoff)
{
	if (handoff) {
		qemu_process_unref(handoff->process);
		fd_close(&handoff->qmp_fd);
		fd_close(&handoff->output_fd);
		for (unsigned i = 0; i < handoff->n_consoles; i++)
			fd_close(&handoff->console_fds[i]);
		g_free(handoff->console_fds);
		g_strfreev(handoff->console_paths);
		g_free(handoff->qmp_path);
		g_free(handoff->vm_name);
		g_free(handoff->unit);
		g_free(handoff);
	}
	return NULL;
}

void vm_hand_over(Vm *vm, VmHandoff *handoff_consume)
{
	leaf_lock(&vm->mail.mutex);
	g_assert(!vm->mail.handoff);
	vm->mail.handoff = handoff_consume;
	vm->mail.listed_for_io = true;
	if (!vm->mail.send && handoff_consume->qmp_fd >= 0)
		vm->mail.send = g_string_new(NULL);
	leaf_unlock(&vm->mail.mutex);
	vm_list(vm);
}

/* ---- the monitor's callbacks ---- */
static void on_ready(void *user)
{
	VmLink *link = user;

	assert_event_thread(__func__);
	link->told_lost = false;
	if (link->fresh) {
		link->fresh = false;
		return;
	}
	link_resync(link);
	if (link->has_nics)
		link_want_filter(link);
}

static void on_event(void *user, const QmpEvent *event)
{
	VmLink *link = user;
	uint64_t time_usec = event->time_usec != 0 ? event->time_usec : clock_realtime_usec();
	EventRecord record = {
		.id = event_id_from_name(event->name, event->name_size),
		.origin = EVENT_ORIGIN_QEMU,
		.name = event->name,
		.name_size = event->name_size,
		.data = event->data,
		.data_size = event->data_size,
		.count = 1,
		.first_usec = time_usec,
		.last_usec = time_usec,
	};

	assert_event_thread(__func__);
	vm_file_event(link->vm, &record);
	if (record.id == EVENT_NIC_RX_FILTER_CHANGED)
		link_want_filter(link);
}

static void on_reply(void *user, uint64_t id, QmpReply *reply_consume)
{
	VmLink *link = user;
	g_autoptr(QmpReply) reply = reply_consume;

	assert_event_thread(__func__);
	if (id != 0 && (id == link->query_id || id == link->agent_query_id || id == link->filter_query_id)) {
		/* Filed as an event, at its place in the stream. */
		/* That it answers comes first: what the answer begins may need it. */
		vm_file_reply(link->vm, 0, NULL);
		link_handle_reply(link, id, reply);
		return;
	}
	if (!vm_file_reply(link->vm, id, g_steal_pointer(&reply)))
		link_handle_reply(link, id, NULL);
}

static void on_turn(void *user)
{
	VmLink *link = user;

	assert_event_thread(__func__);
	link->last_heard_usec = clock_monotonic_usec();
	vm_try_apply(link->vm);
}

static void on_closed(void *user, int error, const char *why)
{
	VmLink *link = user;
	bool again = link->told_lost;

	assert_event_thread(__func__);
	link->monitor_closed = true;
	g_free(link->closed_why);
	link->closed_why = g_strdup(why);
	if (error < 0 && !again)
		log_vm(LOG_WARNING, link->name, link->vm->uuid, "the monitor is lost: %s", why);
	link->told_lost = true;
	/* An exit closes the monitor a moment before the process is seen to have ended: it gets that moment.
	 */
	link->reconnect_usec =
		clock_monotonic_usec() + (again ? ENGINE_RECONNECT_USEC : ENGINE_RECONNECT_USEC / 5);
	link_timer_arm(link);
}

static const QmpMonitorCallbacks monitor_callbacks = {
	.session = {.ready = on_ready, .event = on_event, .reply = on_reply},
	.turn = on_turn,
	.closed = on_closed,
};

/* ---- reconnecting ---- */
int link_reconnect(VmLink *link)
{
	autofd int fd = fd_connect_unix(link->qmp_path);
	Vm *vm = link->vm;
	int r;

	if (fd < 0)
		return fd;
	r = qmp_monitor_new(vm->engine->loop, g_steal_fd(&fd), &monitor_callbacks, link, &link->monitor);
	if (r < 0)
		return r;
	link->reconnect_usec = 0;
	leaf_lock(&vm->mail.mutex);
	if (!vm->mail.send)
		vm->mail.send = g_string_new(NULL);
	leaf_unlock(&vm->mail.mutex);
	return 0;
}

void link_lost(VmLink *link)
{
	link->monitor = qmp_monitor_free(link->monitor);
	link->monitor_closed = false;
	link->filter_query_id = link->filter_usec = 0;
	link->query_id = link->agent_query_id = link->query_deadline_usec = 0;
	link_resync_done(link);
	vm_file_closed(link->vm, link->closed_why);
	vm_list(link->vm);
}

/* ---- the end ---- */
static void link_free(VmLink *link) ON_EVENT_THREAD
{
	link_resync_done(link);
	sd_event_source_disable_unref(link->pidfd_source);
	sd_event_source_disable_unref(link->output_source);
	sd_event_source_disable_unref(link->timer);
	qmp_monitor_free(link->monitor);
	while (link->waiting_readers) {
		ConsoleRequest *request = link->waiting_readers;

		link->waiting_readers = request->next;
		console_reader_gone(link->vm);
		console_request_free(request);
	}
	for (unsigned i = 0; i < link->n_consoles; i++)
		console_free(link->consoles[i]);
	g_free(link->consoles);
	qemu_process_unref(link->process);
	fd_close(&link->output_fd);
	g_free(link->qmp_path);
	g_free(link->name);
	g_free(link->unit);
	g_strfreev(link->console_paths);
	g_free(link->closed_why);
	link->vm->link = NULL;
	vm_unref(link->vm);
	g_free(link);
}

void vm_link_drop(Vm *vm)
{
	if (vm->link)
		link_free(vm->link);
}

static int on_process_end(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	VmLink *link = user;
	g_autoptr(Vm) vm = vm_ref(link->vm);
	g_autofree char *words = NULL;
	int code = 0, signal = 0;
	bool known;

	assert_event_thread(__func__);
	/* What it said before it ended comes before its end. */
	if (link->monitor && !link->monitor_closed)
		qmp_monitor_finish(link->monitor);
	/* Not for ever: a child of QEMU's may hold the other end, and write. */
	link_finish_output(link);
	for (unsigned i = 0; i < link->n_consoles; i++)
		console_finish(link->consoles[i]);
	known = qemu_process_reap(link->process, &code, &signal);
	words = link_last_words(link);
	link_free(link);
	vm_file_exit(vm, known, code, signal, words);
	vm_list(vm);
	return 0;
}

/* ---- what the mail holds for the event thread ---- */
/* Gives readers to their consoles. One whose console is not connected waits; without a QEMU its socket is
 * closed, which is what it would see of a VM that has ended. */
static void add_console_readers(Vm *vm, ConsoleRequest *requests) ON_EVENT_THREAD
{
	VmLink *link = vm->link;
	ConsoleRequest *next;

	for (ConsoleRequest *request = requests; request; request = next) {
		Console *console =
			link && request->index < link->n_consoles ? link->consoles[request->index] : NULL;

		next = request->next;
		if (console) {
			console_add_reader(console, g_steal_fd(&request->fd), request->read_only);
		} else if (link && request->index < link->n_consoles) {
			request->next = link->waiting_readers;
			link->waiting_readers = request;
			continue;
		} else {
			console_reader_gone(vm);
		}
		console_request_free(request);
	}
}

void link_connect_consoles(VmLink *link)
{
	link->consoles_missing = false;
	for (unsigned i = 0; i < link->n_consoles; i++) {
		if (!link->consoles[i])
			console_new(link->vm, fd_connect_unix(link->console_paths[i]), &link->consoles[i]);
		link->consoles_missing = link->consoles_missing || !link->consoles[i];
	}
	add_console_readers(link->vm, g_steal_pointer(&link->waiting_readers));
	link->consoles_usec = link->consoles_missing ? clock_monotonic_usec() + ENGINE_RECONNECT_USEC : 0;
}

static void adopt_consoles(VmLink *link, VmHandoff *handoff) ON_EVENT_THREAD
{
	link->n_consoles = handoff->n_consoles;
	link->consoles = g_new0(Console *, handoff->n_consoles);
	link->console_paths = g_steal_pointer(&handoff->console_paths);
	for (unsigned i = 0; i < handoff->n_consoles; i++)
		if (handoff->console_fds[i] >= 0)
			console_new(link->vm, g_steal_fd(&handoff->console_fds[i]), &link->consoles[i]);
	/* A QEMU that is stopped accepts nobody now. */
	link_connect_consoles(link);
}

static int adopt_monitor(VmLink *link, VmHandoff *handoff) ON_EVENT_THREAD
{
	link->fresh = handoff->qmp_fd >= 0;
	if (handoff->qmp_fd < 0) {
		link->reconnect_usec = clock_monotonic_usec();
		return 0;
	}
	return qmp_monitor_new(link->vm->engine->loop, g_steal_fd(&handoff->qmp_fd), &monitor_callbacks, link,
		&link->monitor);
}

static int watch(VmLink *link) ON_EVENT_THREAD
{
	sd_event *loop = link->vm->engine->loop;
	int r;

	r = sd_event_add_io(loop, &link->pidfd_source, link->process->pidfd, EPOLLIN, on_process_end, link);
	if (r < 0)
		return r;
	r = link_watch_output(link);
	return r < 0 ? r : link_timer_new(link);
}

static void adopt(Vm *vm, VmHandoff *handoff_consume) ON_EVENT_THREAD
{
	g_autoptr(VmHandoff) handoff = handoff_consume;
	VmLink *link = g_new0(VmLink, 1);
	int r;

	g_assert(!vm->link);
	link->vm = vm_ref(vm);
	vm->link = link;
	link->process = g_steal_pointer(&handoff->process);
	link->qmp_path = g_steal_pointer(&handoff->qmp_path);
	link->name = g_steal_pointer(&handoff->vm_name);
	link->unit = g_steal_pointer(&handoff->unit);
	link->output_fd = g_steal_fd(&handoff->output_fd);
	link->has_agent = handoff->has_agent;
	link->has_nics = handoff->has_nics;
	link->last_heard_usec = clock_monotonic_usec();
	r = watch(link);
	if (r >= 0)
		r = adopt_monitor(link, handoff);
	if (r < 0) {
		/* The kernel has no more to give (epoll watches, memory). What can't be watched can't be
		 * trusted with a guest: it ends, and nothing else suffers. */
		log_vm(LOG_ERR, link->name, vm->uuid, "its QEMU can't be watched: %s", g_strerror(-r));
		qemu_process_signal(link->process, SIGKILL);
		link_free(link);
		vm_file_exit(vm, false, 0, 0, "the service could not watch it");
		vm_list(vm);
		return;
	}
	adopt_consoles(link, handoff);
	link_timer_arm(link);
}

static void send_commands(Vm *vm, const GString *send, int fd_consume, size_t fd_offset) ON_EVENT_THREAD
{
	VmLink *link = vm->link;
	autofd int fd = fd_consume;
	int r = -EPIPE;

	if (link && link->monitor && !link->monitor_closed)
		r = qmp_monitor_send_fd(link->monitor, send->str, send->len, g_steal_fd(&fd), fd_offset);
	/* Whoever waits for the answers has a deadline, or is told of the loss; a QEMU that has just ended is
	 * nothing to speak of. */
	if (r < 0)
		log_vm(r == -EPIPE ? LOG_DEBUG : LOG_WARNING, link ? link->name : vm->uuid, vm->uuid,
			"a command can't be sent: %s", g_strerror(-r));
}

void vm_link_serve(Vm *vm)
{
	VmHandoff *handoff = NULL;
	ConsoleRequest *consoles = NULL;
	g_autoptr(GString) send = NULL;
	uint64_t shutdown_usec = 0, quit_usec = 0;
	uint64_t alarms_usec[VM_ALARM_MAX] = {0};
	autofd int fd = -1;
	size_t fd_offset = 0;
	bool resync = false, any;

	leaf_lock(&vm->mail.mutex);
	any = vm->mail.listed_for_io;
	if (any) {
		vm->mail.listed_for_io = false;
		handoff = g_steal_pointer(&vm->mail.handoff);
		consoles = g_steal_pointer(&vm->mail.consoles);
		if (vm->mail.send && vm->mail.send->len > 0) {
			send = vm->mail.send;
			fd = g_steal_fd(&vm->mail.send_fd);
			fd_offset = vm->mail.send_fd_offset;
			vm->mail.send = g_string_new(NULL);
		}
		resync = vm->mail.resync_wanted;
		vm->mail.resync_wanted = false;
		shutdown_usec = vm->mail.shutdown_deadline_usec;
		quit_usec = vm->mail.quit_deadline_usec;
		memcpy(alarms_usec, vm->mail.alarms_usec, sizeof alarms_usec);
		memset(vm->mail.alarms_usec, 0, sizeof vm->mail.alarms_usec);
	}
	leaf_unlock(&vm->mail.mutex);
	if (!any)
		return;

	if (handoff)
		adopt(vm, handoff);
	if (send)
		send_commands(vm, send, g_steal_fd(&fd), fd_offset);
	if (consoles)
		add_console_readers(vm, consoles);
	if (vm->link) {
		vm->link->shutdown_deadline_usec = shutdown_usec;
		vm->link->quit_deadline_usec = quit_usec;
		for (unsigned i = 0; i < VM_ALARM_MAX; i++)
			if (alarms_usec[i] != 0)
				vm->link->alarms_usec[i] = alarms_usec[i];
		if (resync)
			link_resync(vm->link);
		link_timer_arm(vm->link);
	}
}
