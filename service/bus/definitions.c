/*
 * DefineVM, CreateVM, ValidateVM, Update, Rename, SetAutostart, Undefine.
 *
 * A name and a UUID are reserved here, as the call is accepted, so that two calls can't both get them; they
 * are given back when the operation fails. A VM that is defined shows when it is durable; one that is created
 * shows at once, since it can be killed from then on.
 */
#include "bus/definitions.h"

#include <errno.h>
#include <string.h>

#include "bus/access.h"
#include "bus/bound.h"
#include "bus/calls.h"
#include "bus/problems.h"
#include "bus/publish.h"
#include "bus/user-limits.h"
#include "bus/variant.h"

/* An a{sv} of a definition's keys, bounded. */
static bool read_dict(Call *call, const char *what, GVariant **ret_dict, GError **error)
{
	int r = variant_read(call->message, "a{sv}", 2 * VM_CONFIG_SIZE_MAX, ret_dict);

	return r >= 0 || member_refuse_argument(r, what, VM_CONFIG_SIZE_MAX, VM_ERROR_INVALID_CONFIG, error);
}

static bool read_config(Call *call, VmConfig **ret_config, GError **error)
{
	g_autoptr(GVariant) dict = NULL;
	g_autofree char *complaint = NULL;
	int r;

	if (!read_dict(call, "config", &dict, error))
		return false;
	r = vm_config_new_from_variant(dict, ret_config, &complaint);
	if (r < 0)
		g_set_error(error, VM_ERROR,
			r == -EOPNOTSUPP ? VM_ERROR_NOT_SUPPORTED : VM_ERROR_INVALID_CONFIG, "%s", complaint);
	return r >= 0;
}

/* ---- for polkit ---- */
static void describe_config(const VmConfig *config, AccessRequest *request)
{
	request->name = g_strdup(config->name);
}

bool describe_definition(Call *call, AccessRequest *request, GError **error)
{
	g_autoptr(VmConfig) config = NULL;

	assert_bus_thread(__func__);
	if (!read_config(call, &config, error))
		return false;
	describe_config(config, request);
	if (config->qemu_arguments)
		access_request_add(request, ACTION_QEMU_ARGUMENTS);
	return true;
}

/* One that can't be read is told so when it is its turn. */
bool describe_validation(Call *call, AccessRequest *request, GError **error)
{
	g_autoptr(VmConfig) config = NULL;

	assert_bus_thread(__func__);
	if (read_config(call, &config, NULL))
		describe_config(config, request);
	return true;
}

/* Arguments that the definition has already count as well: a change that is under way may take them away. */
bool describe_update(Call *call, AccessRequest *request, GError **error)
{
	g_autoptr(GVariant) changes = NULL, arguments = NULL;

	assert_bus_thread(__func__);
	if (!read_dict(call, "changes", &changes, error))
		return false;
	arguments = g_variant_lookup_value(changes, "QemuArguments", NULL);
	if (arguments && !(g_variant_is_container(arguments) && g_variant_n_children(arguments) == 0))
		access_request_add(request, ACTION_QEMU_ARGUMENTS);
	return true;
}

/* ---- ValidateVM, DefineVM ---- */
/* A definition that can't even be read has one problem. */
bool begin_validate(Call *call, BusVm *none, GError **error)
{
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
	g_autoptr(VmConfig) config = NULL;
	g_autoptr(Vm) vm = NULL;
	GError *problem = NULL;
	OperationArgs args = {0};
	BusVm *bv;

	assert_bus_thread(__func__);
	if (!read_config(call, &config, &problem)) {
		if (g_error_matches(problem, VM_ERROR, VM_ERROR_INVALID_ARGS)) {
			g_propagate_error(error, problem);
			return false;
		}
		g_ptr_array_add(problems, problem);
		call_reply(call, problems_append, problems);
		return true;
	}
	if (call->bus->n_validating >= CALLS_VALIDATING_MAX) {
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED, "ValidateVM: %u are under way already",
			CALLS_VALIDATING_MAX);
		return false;
	}
	vm = vm_new(call->bus->engine, g_steal_pointer(&config), call->uid, 1);
	bv = bus_vm_new(call->bus, vm);
	if (!call_submit(call, bv, &operation_validate, &args, error)) {
		bus_vm_unref(bv);
		return false;
	}
	call->bus->n_validating++;
	return true;
}

bool begin_define(Call *call, BusVm *none, GError **error)
{
	Bus *bus = call->bus;
	g_autoptr(VmConfig) config = NULL;
	g_autoptr(Vm) vm = NULL;
	g_autofree char *name = NULL;
	OperationArgs args = {0};
	BusVm *bv;

	assert_bus_thread(__func__);
	if (!read_config(call, &config, error) || !user_limits_check_new(bus, call->uid, error))
		return false;
	name = g_strdup(config->name);
	vm = vm_new(bus->engine, g_steal_pointer(&config), call->uid, 1);
	if (!registry_reserve(bus->registry, vm, name, error))
		return false;
	bv = bus_vm_new(bus, vm);
	if (call_submit(call, bv, &operation_define, &args, error))
		return true;
	registry_remove(bus->registry, vm);
	bus_vm_unref(bv);
	return false;
}

/* ---- CreateVM ---- */
typedef struct CreateOptions {
	bool paused, bind;
} CreateOptions;

static bool read_create(Call *call, VmConfig **ret_config, CreateOptions *options, GError **error)
{
	static const OptionRow rows[] = {
		{"Paused", 'b', offsetof(CreateOptions, paused), OPTION_NO_FLAG},
		{"BindToCaller", 'b', offsetof(CreateOptions, bind), OPTION_NO_FLAG},
	};
	g_autoptr(VmConfig) config = NULL;
	g_autoptr(GVariant) dict = NULL;

	if (!read_config(call, &config, error) || !member_read_options(call->message, call->row->name, rows,
							  G_N_ELEMENTS(rows), options, &dict, error))
		return false;
	if (config->autostart) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_CONFIG,
			"Autostart: a transient VM is not there when the host starts");
		return false;
	}
	*ret_config = g_steal_pointer(&config);
	return true;
}

bool begin_create(Call *call, BusVm *none, GError **error)
{
	Bus *bus = call->bus;
	g_autoptr(VmConfig) config = NULL;
	g_autoptr(Vm) vm = NULL;
	g_autofree char *name = NULL, *bound_to = NULL;
	CreateOptions options = {0};
	OperationArgs args = {0};
	BusVm *bv;

	assert_bus_thread(__func__);
	if (!read_create(call, &config, &options, error) || !user_limits_check_new(bus, call->uid, error))
		return false;
	if (options.bind)
		bound_to = bound_describe(bus, call->sender_name);
	name = g_strdup(config->name);
	vm = vm_new(bus->engine, g_steal_pointer(&config), call->uid, 1);
	vm_make_transient(vm, bound_to);
	if (!registry_reserve(bus->registry, vm, name, error))
		return false;
	bv = bus_vm_new(bus, vm);
	/* Its first view is shown; what comes after it is told. */
	publish_vm(bv, PUBLISH_PLAIN);
	args.start.paused = options.paused;
	if (!user_limits_check_start(bv, error) || !call_submit(call, bv, &operation_create, &args, error)) {
		registry_remove(bus->registry, vm);
		bus_vm_unref(bv);
		return false;
	}
	registry_publish(bus->registry, vm);
	if (options.bind)
		bound_add(bv, call->sender_name);
	publish_new(bv);
	return true;
}

/* ---- changes ---- */
/* Asks for the name that the changes give, if it is a name and another one: what is none the operation
 * refuses. */
static bool reserve_new_name(Call *call, BusVm *bv, GVariant *changes, GError **error) ON_BUS_THREAD
{
	g_autofree char *complaint = NULL;
	const char *name;

	if (!g_variant_lookup(changes, "Name", "&s", &name) || !vm_name_is_valid(name, &complaint))
		return true;
	return registry_reserve_name(call->bus->registry, bv->vm, name, &call->reserves, error);
}

static bool is_before(char *const *unset, unsigned index)
{
	for (unsigned i = 0; i < index; i++)
		if (g_str_equal(unset[i], unset[index]))
			return true;
	return false;
}

/* A key once: so they are few, and looking them up among the changes, which may be many, is quick. */
static bool check_unset(char *const *unset, GVariant *changes, GError **error)
{
	for (unsigned i = 0; unset && unset[i]; i++) {
		g_autoptr(GVariant) change = NULL;
		g_autofree char *complaint = NULL;
		int r = vm_config_check_key(unset[i], &complaint);

		if (r < 0) {
			g_set_error(error, VM_ERROR,
				r == -EOPNOTSUPP ? VM_ERROR_NOT_SUPPORTED : VM_ERROR_INVALID_ARGS,
				"options.Unset[%u]: %s", i, complaint);
			return false;
		}
		if (is_before(unset, i)) {
			g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS,
				"options.Unset[%u]: %s is given twice", i, unset[i]);
			return false;
		}
		change = g_variant_lookup_value(changes, unset[i], NULL);
		if (change) {
			g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS,
				"options.Unset[%u]: %s is among the changes, too", i, unset[i]);
			return false;
		}
	}
	return true;
}

typedef struct UpdateOptions {
	char **unset; /* owned */
	uint64_t revision;
	bool has_revision;
} UpdateOptions;

static void update_options_clear(UpdateOptions *options)
{
	g_strfreev(options->unset);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(UpdateOptions, update_options_clear)

bool begin_update(Call *call, BusVm *bv, GError **error)
{
	static const OptionRow rows[] = {
		{"Unset", OPTION_STRINGS, offsetof(UpdateOptions, unset), OPTION_NO_FLAG},
		{"Revision", 't', offsetof(UpdateOptions, revision), offsetof(UpdateOptions, has_revision)},
	};
	g_autoptr(GVariant) changes = NULL, dict = NULL;
	g_auto(UpdateOptions) options = {0};
	OperationArgs args = {0};

	assert_bus_thread(__func__);
	if (!read_dict(call, "changes", &changes, error) ||
		!member_read_options(
			call->message, call->row->name, rows, G_N_ELEMENTS(rows), &options, &dict, error) ||
		!check_unset(options.unset, changes, error) || !reserve_new_name(call, bv, changes, error))
		return false;
	user_limits_note_update(call, changes);
	args.update.changes = g_steal_pointer(&changes);
	args.update.unset = g_steal_pointer(&options.unset);
	args.update.has_revision = options.has_revision;
	args.update.revision = options.revision;
	args.update.reserves = call->reserves;
	if (call_submit(call, bv, &operation_update, &args, error))
		return true;
	if (call->reserves)
		registry_release_name(call->bus->registry, bv->vm);
	return false;
}

bool begin_rename(Call *call, BusVm *bv, GError **error)
{
	g_autofree char *complaint = NULL;
	OperationArgs args = {0};
	const char *name;

	assert_bus_thread(__func__);
	if (!member_read_text(call->message, "name", &name, error))
		return false;
	if (!vm_name_is_valid(name, &complaint)) {
		g_set_error_literal(error, VM_ERROR, VM_ERROR_INVALID_CONFIG, complaint);
		return false;
	}
	if (!registry_reserve_name(call->bus->registry, bv->vm, name, &call->reserves, error))
		return false;
	args.rename.name = g_strdup(name);
	args.rename.reserves = call->reserves;
	if (call_submit(call, bv, &operation_rename, &args, error))
		return true;
	if (call->reserves)
		registry_release_name(call->bus->registry, bv->vm);
	return false;
}

bool begin_set_autostart(Call *call, BusVm *bv, GError **error)
{
	OperationArgs args = {0};
	int autostart;
	int r = sd_bus_message_read_basic(call->message, 'b', &autostart);

	if (r < 0)
		return member_refuse_argument(r, "autostart", 0, VM_ERROR_INVALID_ARGS, error);
	args.set_autostart.autostart = autostart != 0;
	return call_submit(call, bv, &operation_set_autostart, &args, error);
}

bool begin_undefine(Call *call, BusVm *bv, GError **error)
{
	static const OptionRow rows[] = {{"Storage", 'b', 0, OPTION_NO_FLAG}};
	g_autoptr(GVariant) dict = NULL;
	OperationArgs args = {0};
	bool storage = false;

	if (!member_read_options(
		    call->message, call->row->name, rows, G_N_ELEMENTS(rows), &storage, &dict, error))
		return false;
	args.undefine.storage = storage;
	return call_submit(call, bv, &operation_undefine, &args, error);
}
