/* What is shown of the calls whose operations are not done. */
#include "bus/calls.h"
#include "bus/properties.h"

static CurrentOperation describe(const Call *call)
{
	return (CurrentOperation){.id = call->id,
		.member = call->type->member,
		.sender = call->sender_name,
		.uid = call->uid,
		.since_usec = call->since_usec,
		.deadline_usec = call->deadline_usec};
}

/* Operations of a lane are done in the order of their numbers, so the first that is not done is the current
 * one. */
void calls_current(const BusVm *bv, CurrentOperation *ret_current, uint32_t *ret_n_queued)
{
	const Call *current = NULL;
	uint32_t n_queued = 0;

	for (const GList *l = bv->calls.head; l; l = l->next) {
		const Call *call = l->data;

		if (call->type->lane != VM_LANE_QMP)
			continue;
		if (!current)
			current = call;
		else if (!call->young)
			n_queued++;
	}
	*ret_current = current && !current->young ? describe(current) : (CurrentOperation){0};
	*ret_n_queued = n_queued;
}

static int append_one(const Call *call, bool queued, sd_bus_message *message)
{
	CurrentOperation op = describe(call);
	int r = sd_bus_message_open_container(message, 'a', "{sv}");

	if (r >= 0)
		r = properties_append_operation(message, &op);
	if (r >= 0)
		r = sd_bus_message_append(
			message, "{sv}{sv}", "VM", "o", call->vm->path, "Queued", "b", (int)queued);
	return r < 0 ? r : sd_bus_message_close_container(message);
}

int calls_append_list(const BusVm *bv, sd_bus_message *message)
{
	bool lane_taken_up[VM_LANE_MAX] = {false};
	int r = 0;

	for (const GList *l = bv->calls.head; l && r >= 0; l = l->next) {
		const Call *call = l->data;

		r = append_one(call, lane_taken_up[call->type->lane], message);
		lane_taken_up[call->type->lane] = true;
	}
	return r;
}
