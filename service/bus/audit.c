#include "bus/audit.h"

#include <string.h>

#include "bus/errors.h"
#include "bus/senders.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/text.h"

#define LINES_MAX    200U
#define LINES_PERIOD (10 * USEC_PER_SEC)
#define USERS_MAX    1024U
#define TEXT_MAX     512

/* ---- how much of a user's ---- */
typedef struct User {
	uint64_t since_usec; /* monotonic */
	unsigned n_lines, n_left_out;
} User;

static gboolean is_over(gpointer key, gpointer value, gpointer now)
{
	return *(const uint64_t *)now - ((const User *)value)->since_usec >= LINES_PERIOD;
}

static User *user_of(Bus *bus, uint32_t uid, uint64_t now)
{
	void *key = GUINT_TO_POINTER(uid);
	User *user;

	if (!bus->audit_by_uid)
		bus->audit_by_uid = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	user = g_hash_table_lookup(bus->audit_by_uid, key);
	if (user)
		return user;
	if (g_hash_table_size(bus->audit_by_uid) >= USERS_MAX)
		g_hash_table_foreach_remove(bus->audit_by_uid, is_over, &now);
	user = g_new0(User, 1);
	user->since_usec = now;
	g_hash_table_insert(bus->audit_by_uid, key, user);
	return user;
}

static bool may_tell(const Call *call)
{
	Bus *bus = call->bus;
	uint64_t now = clock_monotonic_usec();
	User *user;

	if (call->uid == 0 || call->uid == bus->own_uid)
		return true;
	user = user_of(bus, call->uid, now);
	if (now - user->since_usec >= LINES_PERIOD) {
		if (user->n_left_out > 0)
			log_info("%u more calls by uid %u are left out", user->n_left_out, call->uid);
		*user = (User){.since_usec = now};
	}
	if (user->n_lines >= LINES_MAX) {
		user->n_left_out++;
		return false;
	}
	user->n_lines++;
	return true;
}

/* ---- a line ---- */
/* It asks, and nothing is changed by it. */
static bool only_asks(const Call *call)
{
	return strcmp(call->row->name, "ValidateVM") == 0;
}

/* One that was refused has not come to its VM. */
static const BusVm *vm_of_message(const Call *call) ON_BUS_THREAD
{
	const char *name;

	if (!call->message)
		return NULL;
	if (strcmp(call->row->interface, BUS_VM) == 0)
		return bus_vm_by_path(call->bus, sd_bus_message_get_path(call->message));
	if (!call->row->by_name || sd_bus_message_rewind(call->message, true) < 0 ||
		sd_bus_message_read_basic(call->message, 's', &name) <= 0)
		return NULL;
	return bus_vm_by_name(call->bus, name, NULL);
}

static char *describe_result(const GError *error)
{
	const char *name = strrchr(error_to_dbus_name(error), '.') + 1;
	g_autofree char *cut = g_strndup(error->message, TEXT_MAX);
	g_autofree char *text = text_printable(cut, false);

	return g_strdup_printf("%s (%s)", name, text);
}

static void tell(const Call *call, const char *vm_name, const char *vm_uuid, const GError *error)
{
	uint64_t usec = clock_monotonic_usec() - call->taken_usec;
	g_autofree char *uid = g_strdup_printf("%u", call->uid);
	g_autofree char *duration = g_strdup_printf("%" G_GUINT64_FORMAT, usec);
	g_autofree char *result = error ? describe_result(error) : g_strdup("ok");
	const LogField fields[] = {
		{"ROOST_MEMBER", call->row->name},
		{"ROOST_VM_NAME", vm_name},
		{"ROOST_VM_UUID", vm_uuid},
		{"ROOST_SENDER_UID", uid},
		{"ROOST_SENDER_UNIT", senders_unit(call)},
		{"ROOST_RESULT", error ? error_to_dbus_name(error) : "ok"},
		{"ROOST_DURATION_USEC", duration},
	};

	log_fields(LOG_INFO, LOG_KIND_CALL, fields, G_N_ELEMENTS(fields),
		"%s%s%s%s by uid %u: %s, %" G_GUINT64_FORMAT " ms%s", call->row->name,
		vm_name ? " of VM '" : "", vm_name ? vm_name : "", vm_name ? "'" : "", call->uid, result,
		(uint64_t)(usec / USEC_PER_MSEC), call->audited ? " (it was answered before)" : "");
}

void audit_call(Call *call, const BusVm *bv, const GError *error)
{
	/* Whoever is not known has done nothing. */
	if (!call->begun || only_asks(call) || !may_tell(call))
		return;
	if (!bv && !call->vm_name)
		bv = vm_of_message(call);
	tell(call, bv ? bus_vm_name(bv) : call->vm_name,
		bv                 ? bv->vm->uuid
		: call->vm_uuid[0] ? call->vm_uuid
				   : NULL,
		error);
	call->audited = true;
}

void audit_done(Bus *bus)
{
	g_clear_pointer(&bus->audit_by_uid, g_hash_table_unref);
}
