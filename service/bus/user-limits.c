#include "bus/user-limits.h"

typedef struct Use {
	uint64_t vcpus, memory;
} Use;

typedef struct Sum {
	uint32_t uid;
	const BusVm *starting;
	Use use;
} Sum;

static bool is_limited(const Bus *bus, uint32_t uid)
{
	return uid != 0 && uid != bus->own_uid;
}

bool user_limits_check_new(Bus *bus, uint32_t uid, GError **error)
{
	unsigned max = bus->limits.max_vms, n;

	if (max == 0 || !is_limited(bus, uid))
		return true;
	n = registry_count_owned(bus->registry, uid);
	if (n < max)
		return true;
	g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED,
		"uid %u has %u virtual machines; a user may have %u (roostd --max-vms-per-user)",
		(unsigned)uid, n, max);
	return false;
}

void user_limits_note_update(Call *call, GVariant *changes)
{
	g_variant_lookup(changes, "VCPUs", "u", &call->may_vcpus);
	g_variant_lookup(changes, "Memory", "t", &call->may_memory);
}

static bool is_starting(const BusVm *bv)
{
	if (bv->own_start_id != 0)
		return true;
	for (const GList *l = bv->calls.head; l; l = l->next)
		if (((const Call *)l->data)->type->makes_qemu)
			return true;
	return false;
}

static void use_more(Use *use, uint64_t vcpus, uint64_t memory)
{
	use->vcpus = MAX(use->vcpus, vcpus);
	use->memory = MAX(use->memory, memory);
}

/* A QEMU that is about to be has the definition of then: perhaps as changes make it that are under way. */
static Use use_of(const BusVm *bv, bool starts)
{
	const VmView *view = bv->picture.view;
	const VmConfig *running = view->running_config ? view->running_config : view->config;
	Use use = {0};

	if (vm_state_is_active(view->state))
		use_more(&use, running->vcpus, running->memory);
	if (!starts)
		return use;
	use_more(&use, view->config->vcpus, view->config->memory);
	for (const GList *l = bv->calls.head; l; l = l->next)
		use_more(&use, ((const Call *)l->data)->may_vcpus, ((const Call *)l->data)->may_memory);
	return use;
}

static void add_vm(Vm *vm, void *user)
{
	const BusVm *bv = bus_vm_of(vm);
	Sum *sum = user;
	Use use;

	if (vm->owner_uid != sum->uid || bv == sum->starting)
		return;
	use = use_of(bv, is_starting(bv));
	sum->use.vcpus += use.vcpus;
	sum->use.memory += use.memory;
}

bool user_limits_check_start(BusVm *bv, GError **error)
{
	const Bus *bus = bv->bus;
	const BusLimits *limits = &bus->limits;
	Sum sum = {.uid = bv->vm->owner_uid, .starting = bv, .use = use_of(bv, true)};

	if (!is_limited(bus, sum.uid))
		return true;
	registry_foreach(bus->registry, add_vm, &sum);
	if (limits->max_vcpus != 0 && sum.use.vcpus > limits->max_vcpus) {
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED,
			"VCPUs: with '%s', the running virtual machines of uid %u would have "
			"%" G_GUINT64_FORMAT "; a user's may have %" G_GUINT64_FORMAT
			" (roostd --max-vcpus-per-user)",
			bus_vm_name(bv), (unsigned)sum.uid, sum.use.vcpus, limits->max_vcpus);
		return false;
	}
	if (limits->max_memory != 0 && sum.use.memory > limits->max_memory) {
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED,
			"Memory: with '%s', the running virtual machines of uid %u would have "
			"%" G_GUINT64_FORMAT " MiB; a user's may have %" G_GUINT64_FORMAT
			" MiB (roostd --max-memory-per-user)",
			bus_vm_name(bv), (unsigned)sum.uid, sum.use.memory >> 20, limits->max_memory >> 20);
		return false;
	}
	return true;
}
