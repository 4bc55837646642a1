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

/* A worker, no lock held; takes up to the capabilities probe's time when QEMU is another one than before:
 * what of a definition this host's QEMU can't carry out. A QEMU that can't be asked has no objections: Start
 * will tell. `problems` (GError, appended) is told all; the other one, the first: NotSupported. */
void vm_check_support(Engine *engine, const VmConfig *config, GPtrArray *problems) ON_WORKER;
bool vm_check_supported(Engine *engine, const VmConfig *config, GError **error) ON_WORKER;

/* A worker, no lock held: the objection that there is no QEMU to be had, or that it can't be asked. */
void vm_check_qemu(Engine *engine, GPtrArray *problems) ON_WORKER;

/* A worker, no lock held; may hang on dead storage, and takes up to the KVM probe's time. `problems` (GError,
 * appended) is told everything that is wrong; facts are whole only if nothing is. */
void vm_check_start(Engine *engine, const VmConfig *config, StartFacts *facts, GPtrArray *problems);
