/*
 * ValidateVM: everything that Start would find, without side effects. It runs on a VM of its own that nobody
 * else knows, made from the definition and thrown away afterwards.
 */
#include <unistd.h>

#include "vm/checks.h"
#include "vm/disks.h"
#include "vm/operation.h"

static bool run_validate(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
	g_autoptr(VmConfig) config = vm_config_ref(op->vm->config);
	g_auto(StartFacts) facts = START_FACTS_NONE;
	g_autoptr(Rights) rights = NULL;
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(is)"));
	GError *conflict = NULL, *no_rights = NULL;

	operation_block(op);
	assert_worker(__func__);
	rights = vm_owner_rights(op->vm, op->deadline_usec, &no_rights);
	if (!rights)
		g_ptr_array_add(problems, no_rights);
	vm_check_start(op->vm->engine, config, rights, &facts, problems);
	/* Start tries a QEMU that can't be asked all the same. */
	if (access(op->vm->engine->qemu_binary, X_OK) == 0)
		vm_check_qemu(op->vm->engine, problems);
	g_clear_pointer(&rights, rights_free);
	if (!vm_disks_are_free(op->vm->engine, config, facts.disks, &conflict))
		g_ptr_array_add(problems, conflict);
	if (!operation_unblock(op, error))
		return false;
	for (unsigned i = 0; i < problems->len; i++) {
		const GError *problem = problems->pdata[i];

		g_variant_builder_add(&builder, "(is)", problem->code, problem->message);
	}
	/* The names of errors are bus/'s: it turns the codes into them. */
	op->result = g_variant_ref_sink(g_variant_new("(a(is))", &builder));
	return true;
}

const OperationType operation_validate = {
	"ValidateVM", VM_LANE_QMP, DEADLINE_DEVICE, false, run_validate, NULL};
