/*
 * What the event thread does about a VM by the clock: it asks a QEMU that has been silent for long, resyncs,
 * reconnects, and tells of deadlines that have passed. One timer per link, armed for whatever is due next.
 *
 * The probe and the resync are one thing: query-status, whose answer stands in the stream among the events,
 * so that at its place it is the truth. It is filed like an event. One is under way at a time.
 */
#include "vm/link-private.h"

#include <signal.h>
#include <string.h>

#include "qemu/command-line.h"
#include "util/clock.h"

/* ---- query-status ---- */
static void file_own(Vm *vm, EventId id, const char *data) ON_EVENT_THREAD
{
	EventRecord record = vm_own_record(id);

	record.data = data;
	record.data_size = data ? strlen(data) : 0;
	vm_file_event(vm, &record);
	vm_list(vm);
}

static void ask_status(VmLink *link) ON_EVENT_THREAD
{
	uint64_t id = engine_next_command_id();
	g_autofree char *line = qmp_command_format("query-status", NULL, id);

	if (qmp_monitor_send(link->monitor, line, strlen(line)) < 0) {
		/* Again after a while: it is full, or it is about to be closed. */
		link->last_heard_usec = clock_monotonic_usec();
		return;
	}
	link->query_id = id;
	link->query_deadline_usec =
		clock_monotonic_usec() + engine_scaled_usec(link->vm->engine, ENGINE_PROBE_ANSWER_USEC);
}

/* Its answer stands in the stream likewise. One that is lost with the connection is asked for anew. */
static void ask_agent(VmLink *link) ON_EVENT_THREAD
{
	uint64_t id = engine_next_command_id();
	g_autofree char *line = qmp_command_format("query-chardev", NULL, id);

	if (qmp_monitor_send(link->monitor, line, strlen(line)) >= 0)
		link->agent_query_id = id;
}

/* A resync needs one of the engine's places; VMs that somebody waits for come first. */
static bool take_place(VmLink *link) ON_EVENT_THREAD
{
	Engine *engine = link->vm->engine;
	LanePicture picture;

	if (link->resyncing)
		return true;
	if (engine->n_resyncing < ENGINE_RESYNC_MAX) {
		engine->n_resyncing++;
		link->resyncing = true;
		return true;
	}
	if (!link->in_resync_line) {
		link->in_resync_line = true;
		lane_look(&link->vm->lanes[VM_LANE_QMP], &picture);
		if (picture.busy)
			g_queue_push_head(&engine->resync_waiting, vm_ref(link->vm));
		else
			g_queue_push_tail(&engine->resync_waiting, vm_ref(link->vm));
	}
	return false;
}

void link_resync(VmLink *link)
{
	uint64_t now_usec = clock_monotonic_usec();

	link->resync_wanted = true;
	/* What is under way will do if it was asked after this was wanted; it may have been before, so it is
	 * asked again. */
	if (link->query_id != 0 || !link->monitor || link->monitor_closed ||
		!qmp_monitor_is_ready(link->monitor))
		return;
	if (link->last_resync_usec != 0 && now_usec - link->last_resync_usec < ENGINE_RESYNC_PERIOD_USEC) {
		link_timer_arm(link);
		return;
	}
	if (!take_place(link))
		return;
	link->resync_wanted = false;
	link->last_resync_usec = now_usec;
	ask_status(link);
	if (link->query_id == 0)
		link_resync_done(link);
	else if (link->has_agent)
		ask_agent(link);
	link_timer_arm(link);
}

void link_resync_done(VmLink *link)
{
	Engine *engine = link->vm->engine;

	if (!link->resyncing)
		return;
	link->resyncing = false;
	engine->n_resyncing--;
	while (engine->n_resyncing < ENGINE_RESYNC_MAX && !g_queue_is_empty(&engine->resync_waiting)) {
		g_autoptr(Vm) next = g_queue_pop_head(&engine->resync_waiting);

		if (next->link) {
			next->link->in_resync_line = false;
			if (next->link->resync_wanted)
				link_resync(next->link);
		}
	}
}

/* Of a query-chardev: whether the guest has the agent's port open. */
static void file_agent(VmLink *link, const QmpReply *reply) ON_EVENT_THREAD
{
	g_autoptr(GVariant) list = reply->failed ? NULL : qmp_reply_to_variant(reply);

	if (!list || !g_variant_is_of_type(list, G_VARIANT_TYPE("av")))
		return;
	for (size_t i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) boxed = g_variant_get_child_value(list, i);
		g_autoptr(GVariant) chardev = g_variant_get_variant(boxed);
		const char *label;
		gboolean open;

		if (g_variant_is_of_type(chardev, G_VARIANT_TYPE_VARDICT) &&
			g_variant_lookup(chardev, "label", "&s", &label) &&
			strcmp(label, QEMU_AGENT_ID) == 0 &&
			g_variant_lookup(chardev, "frontend-open", "b", &open))
			file_own(link->vm, EVENT_RESYNC_AGENT,
				open ? "{\"open\": true}" : "{\"open\": false}");
	}
}

void link_handle_reply(VmLink *link, uint64_t id, const QmpReply *reply)
{
	if (reply && id == link->filter_query_id) {
		/* What the filter is nobody has asked. */
		link->filter_query_id = 0;
		link_timer_arm(link);
		return;
	}
	if (reply && id == link->agent_query_id) {
		link->agent_query_id = 0;
		file_agent(link, reply);
		return;
	}
	if (link->query_id == 0 || id != link->query_id) {
		/* An operation gave this command up, and it was carried out after all, or not: look what is
		 * true. Answers to what the policies send come here, too; they are rare. */
		link->resync_wanted = true;
		link_timer_arm(link);
		return;
	}
	link->query_id = link->query_deadline_usec = 0;
	if (!reply->failed)
		file_own(link->vm, EVENT_RESYNC_STATUS, reply->text);
	link_resync_done(link);
	link_timer_arm(link);
}

/* ---- query-rx-filter ---- */
#define FILTER_PERIOD_USEC (1 * USEC_PER_SEC)

/* A guest can change it at will: it is asked for once in a while, and not before the last answer. */
void link_want_filter(VmLink *link)
{
	uint64_t now_usec = clock_monotonic_usec();

	if (link->filter_usec != 0)
		return;
	link->filter_usec = link->last_filter_usec == 0
				    ? now_usec
				    : MAX(now_usec, link->last_filter_usec + FILTER_PERIOD_USEC);
	link_timer_arm(link);
}

static bool can_ask_filter(const VmLink *link) ON_EVENT_THREAD
{
	return link->filter_usec != 0 && link->filter_query_id == 0 && link->monitor &&
	       !link->monitor_closed && qmp_monitor_is_ready(link->monitor);
}

static void ask_filter(VmLink *link, uint64_t now_usec) ON_EVENT_THREAD
{
	uint64_t id = engine_next_command_id();
	g_autofree char *line = qmp_command_format("query-rx-filter", NULL, id);

	link->last_filter_usec = now_usec;
	link->filter_usec = 0;
	if (qmp_monitor_send(link->monitor, line, strlen(line)) >= 0)
		link->filter_query_id = id;
	else
		link->filter_usec = now_usec + FILTER_PERIOD_USEC;
}

/* ---- the timer ---- */
static uint64_t earlier(uint64_t a_usec, uint64_t b_usec)
{
	if (a_usec == 0 || b_usec == 0)
		return MAX(a_usec, b_usec);
	return MIN(a_usec, b_usec);
}

static bool can_ask(const VmLink *link) ON_EVENT_THREAD
{
	return link->query_id == 0 && link->monitor && !link->monitor_closed &&
	       qmp_monitor_is_ready(link->monitor);
}

void link_timer_arm(VmLink *link)
{
	uint64_t due_usec = earlier(link->shutdown_deadline_usec, link->quit_deadline_usec);

	for (unsigned i = 0; i < VM_ALARM_MAX; i++)
		due_usec = earlier(due_usec, link->alarms_usec[i]);
	due_usec = earlier(due_usec, link->query_deadline_usec);
	due_usec = earlier(due_usec, link->reconnect_usec);
	due_usec = earlier(due_usec, link->consoles_usec);
	if (can_ask(link) && !link->in_resync_line) {
		due_usec = earlier(due_usec, link->last_heard_usec + ENGINE_PROBE_IDLE_USEC);
		if (link->resync_wanted)
			due_usec = earlier(due_usec, link->last_resync_usec + ENGINE_RESYNC_PERIOD_USEC);
	}
	if (can_ask_filter(link))
		due_usec = earlier(due_usec, link->filter_usec);
	if (!link->timer)
		return;
	if (due_usec == 0) {
		sd_event_source_set_enabled(link->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(link->timer, due_usec);
	sd_event_source_set_enabled(link->timer, SD_EVENT_ONESHOT);
}

static const EventId alarm_events[VM_ALARM_MAX] = {
	[VM_ALARM_RESET_WINDOW] = EVENT_RESET_WINDOW,
	[VM_ALARM_DUMP] = EVENT_DUMP_TIMEOUT,
};

static void check_deadlines(VmLink *link, uint64_t now_usec) ON_EVENT_THREAD
{
	if (link->shutdown_deadline_usec != 0 && now_usec >= link->shutdown_deadline_usec) {
		/* Whether it still holds is seen when it is applied. */
		link->shutdown_deadline_usec = 0;
		file_own(link->vm, EVENT_SHUTDOWN_TIMEOUT, NULL);
	}
	for (unsigned i = 0; i < VM_ALARM_MAX; i++)
		if (link->alarms_usec[i] != 0 && now_usec >= link->alarms_usec[i]) {
			link->alarms_usec[i] = 0;
			file_own(link->vm, alarm_events[i], NULL);
		}
	if (link->quit_deadline_usec != 0 && now_usec >= link->quit_deadline_usec) {
		link->quit_deadline_usec = 0;
		vm_end_process(link->vm);
	}
}

static void check_query(VmLink *link, uint64_t now_usec) ON_EVENT_THREAD
{
	Vm *vm = link->vm;

	if (link->query_deadline_usec != 0 && now_usec >= link->query_deadline_usec) {
		/* It stays asked: whatever QEMU answers next shows that it is back. Its place is for others
		 * meanwhile. */
		link->query_deadline_usec = 0;
		leaf_lock(&vm->mail.mutex);
		vm->mail.silent = true;
		leaf_unlock(&vm->mail.mutex);
		file_own(vm, EVENT_UNRESPONSIVE, NULL);
		link_resync_done(link);
	} else if (link->resync_wanted) {
		link_resync(link);
	} else if (can_ask(link) && now_usec - link->last_heard_usec >= ENGINE_PROBE_IDLE_USEC) {
		ask_status(link);
	}
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	VmLink *link = user;
	uint64_t now_usec = clock_monotonic_usec();

	assert_event_thread(__func__);
	check_deadlines(link, now_usec);
	if (link->reconnect_usec != 0 && now_usec >= link->reconnect_usec) {
		if (link->monitor || link->monitor_closed)
			link_lost(link);
		if (link_reconnect(link) < 0)
			link->reconnect_usec = now_usec + ENGINE_RECONNECT_USEC;
	}
	if (link->consoles_usec != 0 && now_usec >= link->consoles_usec)
		link_connect_consoles(link);
	check_query(link, now_usec);
	if (can_ask_filter(link) && now_usec >= link->filter_usec)
		ask_filter(link, now_usec);
	link_timer_arm(link);
	return 0;
}

int link_timer_new(VmLink *link)
{
	int r = sd_event_add_time(
		link->vm->engine->loop, &link->timer, CLOCK_MONOTONIC, UINT64_MAX, 1000, on_timer, link);

	if (r < 0)
		return r;
	return sd_event_source_set_enabled(link->timer, SD_EVENT_OFF);
}
