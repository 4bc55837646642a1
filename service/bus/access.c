#include "bus/access.h"

#include <errno.h>
#include <string.h>

#include "bus/calls.h"
#include "bus/variant.h"

/* A call that waits for polkit is kept in memory, with its arguments: beyond a definition, its changes and
 * options nothing needs to be as large. */
#define ARGUMENTS_MAX (2U * VM_CONFIG_SIZE_MAX + 2U * BUS_OPTIONS_MAX)

AccessAnswer access_check(const Bus *bus, const MemberRow *row, uint32_t uid, GError **error)
{
	if (row->access == ACCESS_READ || uid == 0 || uid == bus->own_uid)
		return ACCESS_YES;
	if (bus->has_polkit)
		return ACCESS_ASK;
	if (bus->own_uid == 0)
		g_set_error(error, VM_ERROR, VM_ERROR_ACCESS_DENIED, "%s: only root may do this", row->name);
	else
		g_set_error(error, VM_ERROR, VM_ERROR_ACCESS_DENIED,
			"%s: only root and the user with uid %u may do this", row->name,
			(unsigned)bus->own_uid);
	return ACCESS_NO;
}

void access_request_clear(AccessRequest *request)
{
	g_clear_pointer(&request->bv, bus_vm_unref);
	g_clear_pointer(&request->name, g_free);
	g_clear_pointer(&request->uuid, g_free);
}

void access_request_add(AccessRequest *request, Action action)
{
	g_assert(request->n_steps < ACCESS_STEPS_MAX);
	request->steps[request->n_steps++] = action;
}

static void describe_vm(AccessRequest *request, BusVm *bv, const Call *call)
{
	Action action = request->member->action;
	bool is_owner = bv->vm->owner_uid == call->uid;

	request->bv = bus_vm_ref(bv);
	request->name = g_strdup(bus_vm_name(bv));
	request->uuid = g_strdup(bv->vm->uuid);
	request->owner_uid = bv->vm->owner_uid;
	if (!is_owner)
		access_request_add(request, ACTION_MANAGE_ALL);
	if (is_owner || actions[action].is_dangerous)
		access_request_add(request, action);
}

bool access_describe(Call *call, BusVm *bv, AccessRequest *ret_request, GError **error)
{
	g_auto(AccessRequest) request = {0};
	int r = sd_bus_message_rewind(call->message, true);

	if (r >= 0)
		r = variant_measure(call->message, ARGUMENTS_MAX);
	if (r == -EFBIG || r == -E2BIG) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS, "arguments: too %s, they may have %u KiB",
			r == -EFBIG ? "large" : "deep", ARGUMENTS_MAX / 1024);
		return false;
	}
	if (r < 0)
		return member_refuse_argument(r, "arguments", ARGUMENTS_MAX, VM_ERROR_INVALID_ARGS, error);
	request.member = action_member_find(call->row->interface, call->row->name);
	g_assert(request.member); /* a test compares the tables */
	if (bv) {
		describe_vm(&request, bv, call);
	} else {
		request.owner_uid = call->uid;
		access_request_add(&request, request.member->action);
	}
	if (request.member->describe && !request.member->describe(call, &request, error))
		return false;
	r = sd_bus_message_rewind(call->message, true);
	if (r < 0)
		return member_refuse_argument(r, "arguments", ARGUMENTS_MAX, VM_ERROR_INVALID_ARGS, error);
	*ret_request = request;
	request = (AccessRequest){0};
	return true;
}

bool access_confirm(const Call *call, const AccessRequest *request, const BusVm *bv, GError **error)
{
	const char *name = bv ? bus_vm_name(bv) : NULL;

	if (bv != request->bv) {
		g_set_error(error, VM_ERROR, VM_ERROR_NO_SUCH_VM,
			"%s: the virtual machine '%s' is gone, and another one is in its place",
			call->row->name, request->name);
		return false;
	}
	if (!bv || strcmp(name, request->name) == 0)
		return true;
	/* Rules and people decide by the name. */
	g_set_error(error, VM_ERROR, VM_ERROR_ACCESS_DENIED,
		"%s: the virtual machine '%s' was renamed to '%s' before this was authorized",
		call->row->name, request->name, name);
	return false;
}
