#pragma once
/* What is looked at before a VM can start: by Start, which stops at the first problem, and by ValidateVM,
 * which tells all. */
#include "vm/disks.h"
#include "vm/vm.h"

/* What was found out by the way. */
typedef struct StartFacts {
	VmAccelerator accelerator; /* resolved */
	DiskImages *disks;         /* one for each of the config's */
	unsigned n_disks;
	int kernel_fd, initrd_fd; /* open for reading; -1: none */
} StartFacts;
#define START_FACTS_NONE                                                                                     \
	(StartFacts)                                                                                         \
	{                                                                                                    \
		.kernel_fd = -1, .initrd_fd = -1                                                             \
	}
void start_facts_clear(StartFacts *facts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StartFacts, start_facts_clear)

/* A worker, no lock held; takes up to the capabilities probe's time when QEMU is another one than before:
 * what of a definition this host's QEMU can't carry out. A QEMU that can't be asked has no objections: Start
 * will tell. `problems` (GError, appended) is told all; the other one, the first: NotSupported. */
void vm_check_support(Engine *engine, const VmConfig *config, GPtrArray *problems) ON_WORKER;
bool vm_check_supported(Engine *engine, const VmConfig *config, GError **error) ON_WORKER;

/* A worker, no lock held: the objection that there is no QEMU to be had, or that it can't be asked. */
void vm_check_qemu(Engine *engine, GPtrArray *problems) ON_WORKER;

/* A worker, no lock held; may hang on dead storage, and takes up to the KVM probe's time. What the definition
 * names is opened with these rights; NULL: they could not be had, and no file is looked at. `problems`
 * (GError, appended) is told everything that is wrong; facts are whole only if nothing is. */
void vm_check_start(
	Engine *engine, const VmConfig *config, Rights *rights, StartFacts *facts, GPtrArray *problems);

/* A worker, no lock held: the rights of the VM's owner, up to that time (monotonic). NULL, with a problem. */
Rights *vm_owner_rights(Vm *vm, uint64_t deadline_usec, GError **error);
