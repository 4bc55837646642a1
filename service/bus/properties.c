#include "bus/properties.h"

#include <errno.h>
#include <string.h>

typedef const char *(*TextFunc)(const VmPicture *picture);
typedef uint64_t (*NumberFunc)(const VmPicture *picture);

/* A property is a text, a number, or something with a writer and a comparison of its own. */
typedef struct PropertyRow {
	const char *name, *signature;
	uint64_t flags;
	TextFunc text;
	NumberFunc number;
	int (*append)(sd_bus_message *message, const VmPicture *picture);
	bool (*same)(const VmPicture *a, const VmPicture *b);
} PropertyRow;

/* As QEMU has it, else as defined. */
static const VmConfig *run_config(const VmPicture *p)
{
	return p->view->running_config ? p->view->running_config : p->view->config;
}

static const char *name_of(const VmPicture *p)
{
	return p->view->config->name;
}

static const char *uuid_of(const VmPicture *p)
{
	return p->view->config->uuid;
}

static const char *description_of(const VmPicture *p)
{
	return p->view->config->description;
}

static const char *state_of(const VmPicture *p)
{
	return vm_state_to_string(p->view->state);
}

static const char *reason_of(const VmPicture *p)
{
	return vm_reason_to_string(p->view->reason);
}

static const char *machine_type_of(const VmPicture *p)
{
	return vm_machine_type_to_string(run_config(p)->machine_type);
}

static const char *accelerator_of(const VmPicture *p)
{
	return vm_accelerator_to_string(p->view->accelerator);
}

static const char *firmware_of(const VmPicture *p)
{
	return vm_firmware_to_string(run_config(p)->firmware);
}

static uint64_t state_since_of(const VmPicture *p)
{
	return p->view->state_since_usec;
}

static uint64_t responsive_of(const VmPicture *p)
{
	return p->view->responsive;
}

static uint64_t agent_connected_of(const VmPicture *p)
{
	return p->view->agent_connected;
}

static uint64_t unresponsive_since_of(const VmPicture *p)
{
	return p->view->unresponsive_since_usec;
}

static uint64_t queued_of(const VmPicture *p)
{
	return p->n_queued;
}

static uint64_t pid_of(const VmPicture *p)
{
	return p->view->pid;
}

static const char *unit_of(const VmPicture *p)
{
	return p->view->unit;
}

static uint64_t owner_uid_of(const VmPicture *p)
{
	return p->view->owner_uid;
}

static uint64_t persistent_of(const VmPicture *p)
{
	return p->view->persistent;
}

static uint64_t autostart_of(const VmPicture *p)
{
	return p->view->config->autostart;
}

static uint64_t vcpus_of(const VmPicture *p)
{
	return run_config(p)->vcpus;
}

static uint64_t memory_of(const VmPicture *p)
{
	return run_config(p)->memory;
}

static uint64_t revision_of(const VmPicture *p)
{
	return p->view->revision;
}

static uint64_t event_sequence_of(const VmPicture *p)
{
	return p->event_sequence;
}

/* ---- CurrentOperation, PendingChanges, LastExit ---- */
int properties_append_operation(sd_bus_message *message, const CurrentOperation *op)
{
	return sd_bus_message_append(message, "{sv}{sv}{sv}{sv}{sv}{sv}", "ID", "t", op->id, "Member", "s",
		op->member, "Sender", "s", op->sender, "UID", "u", op->uid, "Since", "t", op->since_usec,
		"Deadline", "t", op->deadline_usec);
}

static int append_current(sd_bus_message *message, const VmPicture *p)
{
	int r = sd_bus_message_open_container(message, 'a', "{sv}");

	if (r >= 0 && p->current.id != 0)
		r = properties_append_operation(message, &p->current);
	return r < 0 ? r : sd_bus_message_close_container(message);
}

static bool same_current(const VmPicture *a, const VmPicture *b)
{
	return a->current.id == b->current.id;
}

static int append_pending(sd_bus_message *message, const VmPicture *p)
{
	return sd_bus_message_append_strv(message, p->pending);
}

static bool same_pending(const VmPicture *a, const VmPicture *b)
{
	if (!a->pending || !b->pending)
		return a->pending == b->pending;
	return g_strv_equal((const char *const *)a->pending, (const char *const *)b->pending);
}

static int append_last_exit(sd_bus_message *message, const VmPicture *p)
{
	const VmLastExit *exit = &p->view->last_exit;
	int r = sd_bus_message_open_container(message, 'a', "{sv}");

	if (r >= 0 && exit->known)
		r = sd_bus_message_append(message, "{sv}{sv}{sv}", "Time", "t", exit->time_usec, "Reason",
			"s", vm_reason_to_string(exit->reason), "Message", "s",
			exit->message ? exit->message : "");
	if (r >= 0 && exit->known && exit->has_code)
		r = sd_bus_message_append(message, "{sv}", "Code", "i", exit->code);
	if (r >= 0 && exit->known && exit->has_signal)
		r = sd_bus_message_append(message, "{sv}", "Signal", "i", exit->signal);
	return r < 0 ? r : sd_bus_message_close_container(message);
}

static bool same_last_exit(const VmPicture *a, const VmPicture *b)
{
	const VmLastExit *x = &a->view->last_exit, *y = &b->view->last_exit;

	return x->known == y->known && x->time_usec == y->time_usec && x->has_code == y->has_code &&
	       x->has_signal == y->has_signal && x->code == y->code && x->signal == y->signal &&
	       x->reason == y->reason && g_strcmp0(x->message, y->message) == 0;
}

/* ---- the table ---- */
#define CONST SD_BUS_VTABLE_PROPERTY_CONST
#define TOLD  SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define QUIET 0

static const PropertyRow rows[] = {
	{"Name", "s", TOLD, .text = name_of},
	{"UUID", "s", CONST, .text = uuid_of},
	{"Description", "s", TOLD, .text = description_of},
	{"State", "s", TOLD, .text = state_of},
	{"StateReason", "s", TOLD, .text = reason_of},
	{"StateSince", "t", TOLD, .number = state_since_of},
	{"Responsive", "b", TOLD, .number = responsive_of},
	{"UnresponsiveSince", "t", TOLD, .number = unresponsive_since_of},
	{"CurrentOperation", "a{sv}", TOLD, .append = append_current, .same = same_current},
	{"QueuedOperations", "u", TOLD, .number = queued_of},
	{"PID", "u", TOLD, .number = pid_of},
	{"Unit", "s", TOLD, .text = unit_of},
	{"OwnerUID", "u", TOLD, .number = owner_uid_of},
	{"Persistent", "b", CONST, .number = persistent_of},
	{"Autostart", "b", TOLD, .number = autostart_of},
	{"AgentConnected", "b", TOLD, .number = agent_connected_of},
	{"VCPUs", "u", TOLD, .number = vcpus_of},
	{"Memory", "t", TOLD, .number = memory_of},
	{"MachineType", "s", TOLD, .text = machine_type_of},
	{"Accelerator", "s", TOLD, .text = accelerator_of},
	{"Firmware", "s", TOLD, .text = firmware_of},
	{"ConfigRevision", "t", TOLD, .number = revision_of},
	{"PendingChanges", "as", TOLD, .append = append_pending, .same = same_pending},
	{"LastExit", "a{sv}", TOLD, .append = append_last_exit, .same = same_last_exit},
	{"EventSequence", "t", QUIET, .number = event_sequence_of},
};

unsigned properties_fill_vtable(sd_bus_vtable *vtable, sd_bus_property_get_t get)
{
	for (size_t i = 0; vtable && i < G_N_ELEMENTS(rows); i++) {
		vtable[i].type = _SD_BUS_VTABLE_PROPERTY;
		vtable[i].flags = rows[i].flags;
		vtable[i].x.property.member = rows[i].name;
		vtable[i].x.property.signature = rows[i].signature;
		vtable[i].x.property.get = get;
	}
	return G_N_ELEMENTS(rows);
}

static int append_row(sd_bus_message *message, const PropertyRow *row, const VmPicture *p)
{
	uint64_t number;

	if (row->append)
		return row->append(message, p);
	if (row->text)
		return sd_bus_message_append_basic(message, 's', row->text(p));
	number = row->number(p);
	switch (row->signature[0]) {
	case 't':
		return sd_bus_message_append(message, "t", number);
	case 'u':
		return sd_bus_message_append(message, "u", (uint32_t)number);
	case 'b':
		return sd_bus_message_append(message, "b", (int)number);
	}
	g_assert_not_reached();
}

static int append_entry(sd_bus_message *message, const PropertyRow *row, const VmPicture *p)
{
	int r = sd_bus_message_open_container(message, 'e', "sv");

	if (r >= 0)
		r = sd_bus_message_append_basic(message, 's', row->name);
	if (r >= 0)
		r = sd_bus_message_open_container(message, 'v', row->signature);
	if (r >= 0)
		r = append_row(message, row, p);
	if (r >= 0)
		r = sd_bus_message_close_container(message);
	return r < 0 ? r : sd_bus_message_close_container(message);
}

int properties_append_value(sd_bus_message *message, const char *name, const VmPicture *picture)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		if (strcmp(rows[i].name, name) == 0)
			return append_row(message, &rows[i], picture);
	return -ENOENT;
}

int properties_append_all(sd_bus_message *message, const VmPicture *picture)
{
	int r = sd_bus_message_open_container(message, 'a', "{sv}");

	for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(rows); i++)
		r = append_entry(message, &rows[i], picture);
	return r < 0 ? r : sd_bus_message_close_container(message);
}

static bool same_row(const PropertyRow *row, const VmPicture *a, const VmPicture *b)
{
	if (row->same)
		return row->same(a, b);
	return row->text ? strcmp(row->text(a), row->text(b)) == 0 : row->number(a) == row->number(b);
}

int properties_append_changed(sd_bus_message *message, const VmPicture *old, const VmPicture *new)
{
	int r = message ? sd_bus_message_open_container(message, 'a', "{sv}") : 0;
	bool any = false;

	for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(rows); i++) {
		if (!(rows[i].flags & TOLD) || same_row(&rows[i], old, new))
			continue;
		if (!message)
			return true;
		any = true;
		r = append_entry(message, &rows[i], new);
	}
	if (r >= 0 && message)
		r = sd_bus_message_close_container(message);
	return r < 0 ? r : any;
}

size_t properties_size(const VmPicture *p)
{
	size_t size = 2048 + strlen(description_of(p));

	if (p->view->last_exit.message)
		size += strlen(p->view->last_exit.message);
	for (char **key = p->pending; key && *key; key++)
		size += 16 + strlen(*key);
	return size;
}

void vm_picture_clear(VmPicture *picture)
{
	g_clear_pointer(&picture->view, vm_view_unref);
	g_clear_pointer(&picture->pending, g_strfreev);
	g_clear_pointer(&picture->current.sender, g_free);
}
