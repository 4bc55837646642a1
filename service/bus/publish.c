#include "bus/publish.h"

#include <errno.h>

#include "bus/autostart.h"
#include "bus/bound.h"
#include "bus/calls.h"
#include "bus/object-manager.h"
#include "bus/properties.h"
#include "bus/units.h"
#include "bus/variant.h"
#include "util/clock.h"
#include "util/log.h"

#define CONGESTED_MESSAGES   1024 /* not written to the bus yet */
#define CONGESTED_RETRY_USEC (20 * USEC_PER_MSEC)

/* ---- signals ---- */
static void send_signal(Bus *bus, sd_bus_message *message, int r)
{
	if (r >= 0 && !bus->lost)
		r = sd_bus_send(bus->connection, message, NULL);
	if (r < 0 && !bus->lost)
		log_warning("A signal could not be sent: %s", g_strerror(-r));
	sd_bus_message_unref(message);
}

static unsigned send_properties(BusVm *bv, const VmPicture *old)
{
	sd_bus_message *m = NULL;
	int r;

	if (!old->view || properties_append_changed(NULL, old, &bv->picture) == 0)
		return 0;
	r = sd_bus_message_new_signal(
		bv->bus->connection, &m, bv->path, "org.freedesktop.DBus.Properties", "PropertiesChanged");
	if (r >= 0)
		r = sd_bus_message_append(m, "s", BUS_VM);
	if (r >= 0)
		r = properties_append_changed(m, old, &bv->picture);
	if (r >= 0)
		r = sd_bus_message_append(m, "as", 0);
	send_signal(bv->bus, m, r);
	return 1;
}

static void send_state_change(BusVm *bv, const StateChange *change)
{
	sd_bus_message *m = NULL;
	int r = sd_bus_message_new_signal(bv->bus->connection, &m, bv->path, BUS_VM, "StateChanged");

	if (r >= 0)
		r = sd_bus_message_append(m, "sss", vm_state_to_string(change->from),
			vm_state_to_string(change->to), vm_reason_to_string(change->reason));
	send_signal(bv->bus, m, r);
}

static void send_event(BusVm *bv, const EventEntry *entry) ON_BUS_THREAD
{
	Bus *bus = bv->bus;
	g_autoptr(GVariant) data = vm_event_data(entry);
	HistoryEvent event = {.vm = bv->path,
		.sequence = ++bus->sequence,
		.name = vm_event_name(entry),
		.count = entry->count,
		.first_usec = entry->first_usec,
		.last_usec = entry->last_usec,
		.origin = event_origin_to_string(entry->origin),
		.data = data};
	sd_bus_message *m = NULL;
	int r;

	event.previous = history_add(bus->history, &event);
	bv->picture.event_sequence = event.sequence;
	r = sd_bus_message_new_signal(bus->connection, &m, bv->path, BUS_VM, "Event");
	if (r >= 0)
		r = sd_bus_message_append(m, "tsuttts", event.sequence, event.name, event.count,
			event.previous, event.first_usec, event.last_usec, event.origin);
	if (r >= 0)
		r = variant_append(m, data, -1);
	send_signal(bus, m, r);
}

static void send_vm_signal(BusVm *bv, const char *member)
{
	sd_bus_message *m = NULL;
	int r = sd_bus_message_new_signal(bv->bus->connection, &m, BUS_PATH, BUS_MANAGER, member);

	if (r >= 0)
		r = sd_bus_message_append(m, "so", bus_vm_name(bv), bv->path);
	send_signal(bv->bus, m, r);
}

static void send_interfaces(BusVm *bv, bool added)
{
	sd_bus_message *m = NULL;
	int r = object_manager_new_signal(bv, added, &m);

	send_signal(bv->bus, m, r);
}

void publish_manager_properties(Bus *bus, const char *const *names)
{
	int r = bus->lost ? 0
			  : sd_bus_emit_properties_changed_strv(
				    bus->connection, BUS_PATH, BUS_MANAGER, (char **)names);

	if (r < 0)
		log_warning("A signal could not be sent: %s", g_strerror(-r));
}

void publish_manager(Bus *bus)
{
	const char *names[3] = {NULL};
	unsigned n = 0;

	if (bus->n_vms != bus->shown_vms)
		names[n++] = "NVMs";
	if (bus->n_running != bus->shown_running)
		names[n++] = "NRunning";
	bus->shown_vms = bus->n_vms;
	bus->shown_running = bus->n_running;
	if (n > 0)
		publish_manager_properties(bus, names);
}

/* ---- a batch ---- */
/* The picture that follows the VM's present one, with a newer view if there is one. */
static VmPicture next_picture(BusVm *bv, VmView *view)
{
	const VmPicture *old = &bv->picture;
	VmPicture new = {.event_sequence = old->event_sequence};

	new.view = view ? vm_view_ref(view) : old->view ? vm_view_ref(old->view) : NULL;
	if (view && old->view && view->config == old->view->config &&
		view->running_config == old->view->running_config)
		new.pending = g_strdupv(old->pending);
	else if (new.view)
		new.pending = view ? vm_config_pending(view->config, view->running_config)
				   : g_strdupv(old->pending);
	calls_current(bv, &new.current, &new.n_queued);
	new.current.sender = g_strdup(new.current.sender);
	return new;
}

static bool is_running(const VmPicture *picture)
{
	return picture->view && vm_state_is_active(picture->view->state);
}

/* What a batch tells of the VM's being there. */
typedef enum Appearance { APPEARS_AS_BEFORE, APPEARS_NEW, APPEARS_GONE } Appearance;

/* Installs the view and the overlay, and counts the VM. The old picture is the caller's. */
static void install(BusVm *bv, VmView *view, Appearance appears, VmPicture *ret_old) ON_BUS_THREAD
{
	Bus *bus = bv->bus;
	VmPicture new = next_picture(bv, view);

	/* Who hears of a name finds the VM by it. */
	if (view)
		registry_follow_name(bus->registry, bv->vm, view->config->name);
	*ret_old = bv->picture;
	if (bv->exported && is_running(ret_old))
		bus->n_running--;
	bv->picture = new;
	if (view && ret_old->view && view->n_exits != ret_old->view->n_exits)
		units_vm_ended(bus, bv->vm, view->n_exits);
	if (appears == APPEARS_NEW && !bv->exported) {
		g_assert(bv->picture.view);
		bv->exported = true;
		bus->n_vms++;
	} else if (appears == APPEARS_GONE && bv->exported) {
		bv->exported = false;
		bus->n_vms--;
	}
	if (bv->exported && is_running(&bv->picture))
		bus->n_running++;
}

/* The signals of a batch; returns how many. */
static unsigned send_batch(BusVm *bv, const VmPicture *old, const Outbox *out, Appearance appears)
	ON_BUS_THREAD
{
	unsigned n = appears == APPEARS_NEW ? 0 : send_properties(bv, old);

	if (appears != APPEARS_AS_BEFORE) {
		publish_manager(bv->bus);
		send_interfaces(bv, appears == APPEARS_NEW);
		send_vm_signal(bv, appears == APPEARS_NEW ? "VMNew" : "VMRemoved");
		n += 2;
	}
	for (unsigned i = 0; i < out->n_changes; i++, n++)
		send_state_change(bv, &out->changes[i]);
	for (const EventEntry *entry = out->events.head; entry; entry = entry->next, n++)
		send_event(bv, entry);
	if (appears == APPEARS_GONE)
		history_forget(bv->bus->history, bv->path);
	return n;
}

static void take_and_emit(BusVm *bv, bool clear_posted, PublishChange change) ON_BUS_THREAD
{
	Appearance appears = change == PUBLISH_NEW ? APPEARS_NEW : APPEARS_AS_BEFORE;
	Outbox out;
	VmPicture old;
	unsigned n;

	vm_take_outbox(bv->vm, clear_posted, &out);
	if (out.view && out.view->gone && bv->exported)
		appears = APPEARS_GONE;
	install(bv, out.view, appears, &old);
	if (bv->exported || appears == APPEARS_GONE) {
		n = send_batch(bv, &old, &out, appears);
		if (n > 0)
			limiter_charge(&bv->limiter, clock_monotonic_usec(), n);
	}
	if (appears == APPEARS_GONE) {
		bound_forget(bv);
		registry_remove(bv->bus->registry, bv->vm);
		bus_vm_unref(bv);
	} else if (out.view && old.view && out.view->n_exits != old.view->n_exits) {
		/* It is told that it crashed; then that it starts. */
		restart_look_at(bv);
	}
	vm_picture_clear(&old);
	outbox_clear(&out);
}

void publish_new(BusVm *bv)
{
	Outbox none;
	VmPicture old;

	outbox_init(&none);
	install(bv, NULL, APPEARS_NEW, &old);
	send_batch(bv, &old, &none, APPEARS_NEW);
	vm_picture_clear(&old);
	publish_manager(bv->bus);
}

void publish_vm(BusVm *bv, PublishChange change)
{
	take_and_emit(bv, false, change);
	publish_manager(bv->bus);
}

void publish_overlay(BusVm *bv)
{
	VmPicture old;

	if (!bv->exported)
		return;
	install(bv, NULL, APPEARS_AS_BEFORE, &old);
	send_properties(bv, &old);
	vm_picture_clear(&old);
}

/* ---- keeping back ---- */
/* Up to when: now or earlier means not at all. */
static uint64_t keep_until(const BusVm *bv, uint64_t now)
{
	uint64_t until, n_waiting = 0;

	if (!bv->exported || bv->kills.length > 0 || bv->bus->ending)
		return 0;
	until = limiter_next_usec(&bv->limiter);
	if (sd_bus_get_n_queued_write(bv->bus->connection, &n_waiting) >= 0 && n_waiting > CONGESTED_MESSAGES)
		until = MAX(until, now + CONGESTED_RETRY_USEC);
	return until;
}

static void keep(BusVm *bv, uint64_t until)
{
	g_assert(!bv->kept_back);
	bv->kept_back = true;
	bv->kept_until_usec = until;
	bv->kept_link.data = bus_vm_ref(bv);
	g_queue_push_tail_link(&bv->bus->kept, &bv->kept_link);
	timer_set(&bv->bus->kept_timer, until);
}

/* Emits, and gives back the post. */
static void emit_posted(BusVm *bv) ON_BUS_THREAD
{
	Vm *vm = bv->vm;

	bus_vm_ref(bv);
	take_and_emit(bv, true, PUBLISH_PLAIN);
	calls_look_at_kills(bv);
	bus_vm_unref(bv);
	vm_unref(vm);
}

void publish_post(Bus *bus, Vm *vm)
{
	BusVm *bv = bus_vm_of(vm);
	uint64_t now = clock_monotonic_usec(), until;

	if (!bv) {
		/* It was undefined: nobody can hear of it any more. */
		Outbox out;

		vm_take_outbox(vm, true, &out);
		outbox_clear(&out);
		vm_unref(vm);
		return;
	}
	until = keep_until(bv, now);
	if (until > now)
		keep(bv, until);
	else
		emit_posted(bv);
}

void publish_kept(BusVm *bv)
{
	if (!bv->kept_back)
		return;
	g_queue_unlink(&bv->bus->kept, &bv->kept_link);
	bv->kept_back = false;
	emit_posted(bv);
	bus_vm_unref(bv);
}

static void on_kept_time(void *user)
{
	Bus *bus = user;
	uint64_t now = clock_monotonic_usec(), next_until = UINT64_MAX;
	GList *next;

	assert_bus_thread(__func__);
	/* In the order in which they were kept back: when the bus is congested, the first ones go first. */
	for (GList *l = bus->kept.head; l; l = next) {
		BusVm *bv = l->data;

		next = l->next;
		bv->kept_until_usec = keep_until(bv, now);
		if (bv->kept_until_usec <= now)
			publish_kept(bv);
		else
			next_until = MIN(next_until, bv->kept_until_usec);
	}
	timer_set(&bus->kept_timer, next_until);
	publish_manager(bus);
}

void publish_all_kept(Bus *bus)
{
	while (bus->kept.head)
		publish_kept(bus->kept.head->data);
}

int publish_init(Bus *bus)
{
	g_queue_init(&bus->kept);
	bus->history = history_new();
	return timer_init(&bus->kept_timer, bus->loop, on_kept_time, bus);
}

void publish_done(Bus *bus)
{
	g_assert(bus->kept.length == 0);
	timer_done(&bus->kept_timer);
	g_clear_pointer(&bus->history, history_free);
}
