#pragma once
/*
 * Registry: which VMs there are, by UUID and by name. The bus thread's alone. A name and a UUID are reserved
 * here when a DefineVM is accepted, before anything is written, so that two calls can't both get them; a VM
 * becomes visible when it is durable.
 */
#include "vm/vm.h"

typedef struct Registry Registry;

Registry *registry_new(void) ON_BUS_THREAD;
Registry *registry_free(Registry *registry) ON_BUS_THREAD;

/* Reserves the VM's UUID and name, and keeps a reference; not visible yet. VM_ERROR_VM_EXISTS names the
 * other. */
bool registry_reserve(Registry *registry, Vm *vm, const char *name, GError **error) ON_BUS_THREAD;
/* Reserves a name for a VM that is to be renamed; *ret_reserved: false if it has this name already.
 * VM_ERROR_VM_EXISTS names the other; VM_ERROR_BUSY: another change of this VM's name is under way. Whoever
 * has reserved sees to registry_release_name() if the VM is not renamed. */
bool registry_reserve_name(Registry *registry, Vm *vm, const char *name, bool *ret_reserved, GError **error)
	ON_BUS_THREAD;
/* The VM shows this name: if it was reserved, it is the VM's from now on, and the old one is free. */
void registry_follow_name(Registry *registry, Vm *vm, const char *name) ON_BUS_THREAD;
/* The name that was reserved for the VM, if there is one, is free again. */
void registry_release_name(Registry *registry, Vm *vm) ON_BUS_THREAD;
/* Whether a definition with this name and UUID could be added now. */
bool registry_is_free(Registry *registry, const char *name, const char *uuid, GError **error) ON_BUS_THREAD;

/* Makes it visible. */
void registry_publish(Registry *registry, Vm *vm) ON_BUS_THREAD;
/* Removes it, reserved or visible, and drops the reference. */
void registry_remove(Registry *registry, Vm *vm) ON_BUS_THREAD;

/* Before threads start, after all persistent VMs were loaded: the transient VMs of an earlier roostd whose
 * QEMUs still live are taken over and published; of the others, what is left is removed. adopt.c. */
void vm_adopt_transients(Engine *engine, Registry *registry) ON_BUS_THREAD;

/* By name, or by UUID (dashed or 32 hex digits, any case). Borrowed; NULL with VM_ERROR_NO_SUCH_VM (a
 * suggestion for a name that is nearly right). Visible VMs only. */
Vm *registry_find(Registry *registry, const char *name_or_uuid, GError **error) ON_BUS_THREAD;
/* By 32 hex digits in lower case, as in object paths. Borrowed, or NULL. */
Vm *registry_find_by_path_id(Registry *registry, const char *hex) ON_BUS_THREAD;

/* Visible VMs in the order in which they became so. */
typedef void (*RegistryFunc)(Vm *vm, void *user);
void registry_foreach(Registry *registry, RegistryFunc func, void *user) ON_BUS_THREAD;
/* Visible or not, of this owner. */
unsigned registry_count_owned(const Registry *registry, uint32_t uid) ON_BUS_THREAD;
unsigned registry_count(const Registry *registry) ON_BUS_THREAD;
