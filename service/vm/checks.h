#pragma once
/* What is looked at before a VM can start: by Start, which stops at the first problem, and by ValidateVM,
 * which tells all. */
#include "vm/claims.h"
#include "vm/vm.h"

/* What was found out by the way. */
typedef struct StartFacts {
	VmAccelerator accelerator; /* resolved */
	bool *block_devices;       /* for each disk of the config */
	Claim *claims; /* likewise; device and inode 0 without a medium, or while there is no image yet */
} StartFacts;
void start_facts_clear(StartFacts *facts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StartFacts, start_facts_clear)

/* A worker, no lock held; may hang on dead storage, and takes up to the KVM probe's time. `problems` (GError,
 * appended) is told everything that is wrong; facts are whole only if nothing is. */
void vm_check_start(Engine *engine, const VmConfig *config, StartFacts *facts, GPtrArray *problems);
