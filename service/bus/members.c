#include "bus/members.h"

#include <errno.h>
#include <string.h>

#include "bus/access.h"
#include "bus/authority.h"
#include "bus/calls.h"
#include "bus/capabilities.h"
#include "bus/definitions.h"
#include "bus/errors.h"
#include "bus/options.h"
#include "bus/problems.h"
#include "bus/publish.h"
#include "bus/reads.h"
#include "bus/user-limits.h"
#include "bus/variant.h"
#include "util/text.h"

/* ---- arguments ---- */
bool member_refuse_argument(int r, const char *name, size_t max_size, VmError code, GError **error)
{
	switch (-r) {
	case EFBIG:
		g_set_error(error, VM_ERROR, code, "%s: too large, at most %zu KiB are allowed", name,
			max_size / 1024);
		break;
	case E2BIG:
		g_set_error(error, VM_ERROR, code, "%s: nested too deep, at most %u levels are allowed", name,
			VARIANT_DEPTH_MAX);
		break;
	case EBADMSG:
		/* What the bus lets pass and sd-bus does not. */
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS,
			"%s: can't be read: it has a noncharacter (such as U+FFFE), an object path of over "
			"64 KiB, or "
			"a file descriptor that did not come along",
			name);
		break;
	default:
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS, "%s: can't be read: %s", name,
			g_strerror(-r));
	}
	return false;
}

bool member_read_options(sd_bus_message *message, const char *member, const OptionRow *rows, size_t n_rows,
	void *target, GVariant **ret_dict, GError **error)
{
	g_autoptr(GVariant) dict = NULL;
	int r = variant_read(message, "a{sv}", BUS_OPTIONS_MAX, &dict);

	if (r < 0)
		return member_refuse_argument(r, "options", BUS_OPTIONS_MAX, VM_ERROR_INVALID_ARGS, error);
	if (!options_parse(dict, member, rows, n_rows, target, error))
		return false;
	*ret_dict = g_steal_pointer(&dict);
	return true;
}

bool member_read_text(sd_bus_message *message, const char *name, const char **ret_text, GError **error)
{
	int r = sd_bus_message_read_basic(message, 's', ret_text);

	return r > 0 || member_refuse_argument(r < 0 ? r : -ENXIO, name, 0, VM_ERROR_INVALID_ARGS, error);
}

/* ---- what each does ---- */
static bool begin_start(Call *call, BusVm *bv, GError **error)
{
	static const OptionRow rows[] = {{"Paused", 'b', 0, OPTION_NO_FLAG}};
	g_autoptr(GVariant) dict = NULL;
	OperationArgs args = {0};
	bool paused = false;

	assert_bus_thread(__func__);
	if (!member_read_options(
		    call->message, call->row->name, rows, G_N_ELEMENTS(rows), &paused, &dict, error))
		return false;
	if (!user_limits_check_start(bv, error))
		return false;
	args.start.paused = paused;
	return call_submit(call, bv, &operation_start, &args, error);
}

typedef struct ShutdownOptions {
	const char *mode;
	uint64_t timeout_usec;
	bool has_timeout, force;
} ShutdownOptions;

static bool check_mode(const char *mode, GError **error)
{
	g_autofree char *quoted = text_quote(mode);

	if (strcmp(mode, "auto") == 0 || strcmp(mode, "acpi") == 0)
		return true;
	if (strcmp(mode, "agent") == 0)
		g_set_error(error, VM_ERROR, VM_ERROR_NOT_SUPPORTED,
			"options.Mode: 'agent' is not supported by this version yet, use 'acpi'");
	else
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS,
			"options.Mode: %s is not one of 'auto', 'acpi'", quoted);
	return false;
}

static bool begin_shutdown_like(
	Call *call, BusVm *bv, const OperationType *type, size_t n_rows, GError **error)
{
	static const OptionRow rows[] = {
		{"Mode", 's', offsetof(ShutdownOptions, mode), OPTION_NO_FLAG},
		{"Timeout", 't', offsetof(ShutdownOptions, timeout_usec),
			offsetof(ShutdownOptions, has_timeout)},
		{"Force", 'b', offsetof(ShutdownOptions, force), OPTION_NO_FLAG},
	};
	g_autoptr(GVariant) dict = NULL;
	ShutdownOptions options = {.mode = "auto"};
	OperationArgs args = {0};

	if (!member_read_options(call->message, call->row->name, rows, MIN(n_rows, G_N_ELEMENTS(rows)),
		    &options, &dict, error) ||
		!check_mode(options.mode, error))
		return false;
	args.shutdown.has_timeout = options.has_timeout;
	args.shutdown.timeout_usec = options.timeout_usec;
	args.shutdown.force = options.force;
	return call_submit(call, bv, type, &args, error);
}

static bool begin_shutdown(Call *call, BusVm *bv, GError **error)
{
	return begin_shutdown_like(call, bv, &operation_shutdown, 3, error);
}

/* Reboot takes Mode alone. */
static bool begin_reboot(Call *call, BusVm *bv, GError **error)
{
	return begin_shutdown_like(call, bv, &operation_reboot, 1, error);
}

static bool begin_plain(Call *call, BusVm *bv, const OperationType *type, GError **error)
{
	OperationArgs args = {0};

	return call_submit(call, bv, type, &args, error);
}

static bool begin_reset(Call *call, BusVm *bv, GError **error)
{
	return begin_plain(call, bv, &operation_reset, error);
}

static bool begin_pause(Call *call, BusVm *bv, GError **error)
{
	return begin_plain(call, bv, &operation_pause, error);
}

static bool begin_resume(Call *call, BusVm *bv, GError **error)
{
	return begin_plain(call, bv, &operation_resume, error);
}

static bool begin_kill(Call *call, BusVm *bv, GError **error)
{
	call_kill(call, bv);
	return true;
}

static bool begin_cancel(Call *call, BusVm *bv, GError **error)
{
	uint64_t id;
	int r;

	assert_bus_thread(__func__);
	r = sd_bus_message_read_basic(call->message, 't', &id);
	if (r < 0)
		return member_refuse_argument(r, "id", 0, VM_ERROR_INVALID_ARGS, error);
	r = -ENOENT;
	for (unsigned lane = 0; lane < VM_LANE_MAX && r == -ENOENT; lane++)
		r = operation_cancel(bv->vm, lane, id);
	if (r == 0) {
		call_reply_empty(call);
		return true;
	}
	if (r == -EALREADY)
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE,
			"id: the current operation of the VM '%s' can't be cancelled any more",
			bus_vm_name(bv));
	else if (id == 0)
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE,
			"id: the VM '%s' has no current operation", bus_vm_name(bv));
	else
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE,
			"id: %" G_GUINT64_FORMAT " is not the current operation of the VM '%s'", id,
			bus_vm_name(bv));
	return false;
}

static bool begin_inject_nmi(Call *call, BusVm *bv, GError **error)
{
	return begin_plain(call, bv, &operation_inject_nmi, error);
}

static bool begin_open_console(Call *call, BusVm *bv, GError **error)
{
	static const OptionRow rows[] = {{"ReadOnly", 'b', 0, OPTION_NO_FLAG}};
	g_autoptr(GVariant) dict = NULL;
	OperationArgs args = {0};
	const char *name;
	bool read_only = false;

	if (!member_read_text(call->message, "name", &name, error) ||
		!member_read_options(
			call->message, call->row->name, rows, G_N_ELEMENTS(rows), &read_only, &dict, error))
		return false;
	args.open_console.console = g_strdup(name);
	args.open_console.read_only = read_only;
	return call_submit(call, bv, &operation_open_console, &args, error);
}

static bool begin_open_display(Call *call, BusVm *bv, GError **error)
{
	g_autoptr(GVariant) dict = NULL;
	OperationArgs args = {0};
	const char *kind;

	if (!member_read_text(call->message, "kind", &kind, error) ||
		!member_read_options(call->message, call->row->name, NULL, 0, NULL, &dict, error))
		return false;
	args.open_display.kind = g_strdup(kind);
	return call_submit(call, bv, &operation_open_display, &args, error);
}

static bool begin_screenshot(Call *call, BusVm *bv, GError **error)
{
	static const OptionRow rows[] = {{"Head", 'u', 0, OPTION_NO_FLAG}};
	g_autoptr(GVariant) dict = NULL;
	OperationArgs args = {0};
	const char *format;
	uint32_t head = 0;

	if (!member_read_text(call->message, "format", &format, error) ||
		!member_read_options(
			call->message, call->row->name, rows, G_N_ELEMENTS(rows), &head, &dict, error))
		return false;
	args.screenshot.format = g_strdup(format);
	args.screenshot.head = head;
	return call_submit(call, bv, &operation_screenshot, &args, error);
}

static bool begin_send_keys(Call *call, BusVm *bv, GError **error)
{
	static const OptionRow rows[] = {{"HoldTime", 't', 0, OPTION_NO_FLAG}};
	g_autoptr(GVariant) dict = NULL, keys = NULL;
	OperationArgs args = {0};
	uint64_t hold_usec = 0;
	int r = variant_read(call->message, "as", BUS_OPTIONS_MAX, &keys);

	if (r < 0)
		return member_refuse_argument(r, "keys", BUS_OPTIONS_MAX, VM_ERROR_INVALID_ARGS, error);
	if (!member_read_options(
		    call->message, call->row->name, rows, G_N_ELEMENTS(rows), &hold_usec, &dict, error))
		return false;
	args.send_keys.keys = g_variant_dup_strv(keys, NULL);
	args.send_keys.hold_usec = hold_usec;
	return call_submit(call, bv, &operation_send_keys, &args, error);
}

static bool begin_execute_qmp(Call *call, BusVm *bv, GError **error)
{
	OperationArgs args = {0};
	const char *command;

	if (!member_read_text(call->message, "command", &command, error))
		return false;
	args.execute_qmp.command = g_strdup(command);
	return call_submit(call, bv, &operation_execute_qmp, &args, error);
}

/* ---- the table ---- */
static const MemberRow members[] = {
	{BUS_MANAGER, "DefineVM", ACCESS_CHANGE, .begin = begin_define},
	{BUS_MANAGER, "CreateVM", ACCESS_CHANGE, .begin = begin_create},
	{BUS_MANAGER, "ValidateVM", ACCESS_CHANGE, .begin = begin_validate},
	{BUS_MANAGER, "GetCapabilities", ACCESS_READ, .begin = begin_get_capabilities},
	{BUS_MANAGER, "GetVM", ACCESS_READ, .read = read_get_vm},
	{BUS_MANAGER, "GetVMByPID", ACCESS_READ, .read = read_get_vm_by_pid},
	{BUS_MANAGER, "ListVMs", ACCESS_READ, .is_list = true, .read = read_list_vms},
	{BUS_MANAGER, "StartVM", ACCESS_CHANGE, .by_name = true, .begin = begin_start},
	{BUS_MANAGER, "ShutdownVM", ACCESS_CHANGE, .by_name = true, .begin = begin_shutdown},
	{BUS_MANAGER, "KillVM", ACCESS_CHANGE, .by_name = true, .unlimited = true, .begin = begin_kill},
	{BUS_MANAGER, "GetEvents", ACCESS_READ, .is_list = true, .read = read_get_events},
	{BUS_MANAGER, "ListOperations", ACCESS_READ, .is_list = true, .read = read_list_operations},
	{BUS_VM, "Start", ACCESS_CHANGE, .begin = begin_start},
	{BUS_VM, "Shutdown", ACCESS_CHANGE, .begin = begin_shutdown},
	{BUS_VM, "Reboot", ACCESS_CHANGE, .begin = begin_reboot},
	{BUS_VM, "Reset", ACCESS_CHANGE, .begin = begin_reset},
	{BUS_VM, "Pause", ACCESS_CHANGE, .begin = begin_pause},
	{BUS_VM, "Resume", ACCESS_CHANGE, .begin = begin_resume},
	{BUS_VM, "Kill", ACCESS_CHANGE, .unlimited = true, .begin = begin_kill},
	{BUS_VM, "CancelOperation", ACCESS_CHANGE, .unlimited = true, .begin = begin_cancel},
	{BUS_VM, "GetConfig", ACCESS_READ, .read = read_get_config},
	{BUS_VM, "Update", ACCESS_CHANGE, .begin = begin_update},
	{BUS_VM, "Rename", ACCESS_CHANGE, .begin = begin_rename},
	{BUS_VM, "SetAutostart", ACCESS_CHANGE, .begin = begin_set_autostart},
	{BUS_VM, "Undefine", ACCESS_CHANGE, .begin = begin_undefine},
	{BUS_VM, "OpenConsole", ACCESS_CHANGE, .begin = begin_open_console},
	{BUS_VM, "OpenDisplay", ACCESS_CHANGE, .begin = begin_open_display},
	{BUS_VM, "Screenshot", ACCESS_CHANGE, .begin = begin_screenshot},
	{BUS_VM, "SendKeys", ACCESS_CHANGE, .begin = begin_send_keys},
	{BUS_VM, "InjectNMI", ACCESS_CHANGE, .begin = begin_inject_nmi},
	{BUS_VM, "ExecuteQMP", ACCESS_CHANGE, .begin = begin_execute_qmp},
};

static const MemberRow *find_row(const char *interface, const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
		if (strcmp(members[i].interface, interface) == 0 && strcmp(members[i].name, name) == 0)
			return &members[i];
	g_assert_not_reached();
}

bool member_reads(const char *interface, const char *name)
{
	return find_row(interface, name)->access == ACCESS_READ;
}

bool member_may_list(const Bus *bus, const char *member, GError **error)
{
	uint64_t n_waiting = 0;

	if (sd_bus_get_n_queued_write(bus->connection, &n_waiting) < 0 || n_waiting <= BUS_BACKLOG_MAX)
		return true;
	g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED,
		"%s: the bus does not take what was sent before; a reader may be asking without reading",
		member);
	return false;
}

static int answer_read(Bus *bus, BusVm *bv, sd_bus_message *message, const MemberRow *row)
{
	g_autoptr(GError) error = NULL;
	sd_bus_message *reply = NULL;
	int r = sd_bus_message_new_method_return(message, &reply);

	if (r >= 0) {
		if ((row->is_list && !member_may_list(bus, row->name, &error)) ||
			!row->read(bus, bv, message, reply, &error))
			r = error_reply(message, error);
		else if (sd_bus_message_get_expect_reply(message))
			r = sd_bus_send(bus->connection, reply, NULL);
	}
	sd_bus_message_unref(reply);
	return r < 0 ? r : 1;
}

int member_handle(Bus *bus, BusVm *bv, sd_bus_message *message)
{
	/* The vtables name only members of the table, and tests call them all. */
	const MemberRow *row = find_row(bv ? BUS_VM : BUS_MANAGER, sd_bus_message_get_member(message));

	assert_bus_thread(__func__);
	if (row->read)
		return answer_read(bus, bv, message, row);
	calls_take(bus, message, row);
	return 1;
}

/* The VM that the call is for, now: it may have gone while the caller was asked for. */
static bool find_vm(Call *call, BusVm **ret_bv, GError **error) ON_BUS_THREAD
{
	const char *name;

	if (call->row->by_name) {
		if (!member_read_text(call->message, "name", &name, error))
			return false;
		*ret_bv = bus_vm_by_name(call->bus, name, error);
		return *ret_bv != NULL;
	}
	if (strcmp(call->row->interface, BUS_VM) != 0) {
		*ret_bv = NULL;
		return true;
	}
	*ret_bv = bus_vm_by_path(call->bus, sd_bus_message_get_path(call->message));
	if (!*ret_bv)
		g_set_error(error, VM_ERROR, VM_ERROR_UNKNOWN_OBJECT, "%s: there is no such VM",
			sd_bus_message_get_path(call->message));
	return *ret_bv != NULL;
}

static bool refuse_if_ending(const Call *call, GError **error)
{
	if (call->bus->ending)
		g_set_error(
			error, VM_ERROR, VM_ERROR_CANCELLED, "%s: roostd is shutting down", call->row->name);
	return !call->bus->ending;
}

/* While it waits for polkit every call counts. What frees a VM has a few places to itself. */
static bool ask_polkit(Call *call, GError **error) ON_BUS_THREAD
{
	unsigned max = CALLS_UID_MAX + (call->row->unlimited ? CALLS_UID_SPARE : 0);
	g_auto(AccessRequest) request = {0};
	BusVm *bv;

	if (!find_vm(call, &bv, error) || !access_describe(call, bv, &request, error) ||
		!call_count(call, max, error))
		return false;
	authority_ask(call, &request);
	return true;
}

bool member_begin(Call *call, GError **error)
{
	BusVm *bv;

	assert_bus_thread(__func__);
	if (!refuse_if_ending(call, error))
		return false;
	switch (access_check(call->bus, call->row, call->uid, error)) {
	case ACCESS_NO:
		return false;
	case ACCESS_ASK:
		return ask_polkit(call, error);
	case ACCESS_YES:
		break;
	}
	return find_vm(call, &bv, error) &&
	       (call->row->unlimited || call_count(call, CALLS_UID_MAX, error)) &&
	       call->row->begin(call, bv, error);
}

bool member_resume(Call *call, const AccessRequest *request, GError **error)
{
	BusVm *bv;

	if (!refuse_if_ending(call, error) || !find_vm(call, &bv, error) ||
		!access_confirm(call, request, bv, error))
		return false;
	if (call->row->unlimited)
		call_uncount(call);
	return call->row->begin(call, bv, error);
}
