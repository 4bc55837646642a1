#pragma once
/*
 * Definitions on disk: one JSON file per VM, `<state-dir>/vms/<uuid>.json`:
 *
 *   { "FormatVersion": 1, "OwnerUID": 0, "Revision": 1, "Config": { ...the keys of the contract... } }
 *
 * A definition is written whole to a temporary file, fsynced, renamed over the old one, and the folder is
 * fsynced: it is durable when state_dir_write() returns 0, and after a crash there is either the old or the
 * new one. A file that can't be read as a definition is renamed to `<name>.damaged` (a number appended if
 * that exists) and logged; it never keeps the service from starting. Files of a newer format version, or
 * with keys of the contract that this version does not carry out, are left in place, untouched and unread,
 * and logged; so is what is no regular file.
 *
 * Any worker, or any thread before threads start; all of it blocks on the file system.
 */
#include "store/config.h"

typedef struct Definition {
	VmConfig *config;
	uint32_t owner_uid;
	uint64_t revision; /* 1 for a new one, +1 for each change */
	/* Of a transient VM: whose leaving of the bus ends it, in bus/'s words; NULL: nobody's. */
	char *bound_to;
} Definition;

void definition_clear(Definition *definition);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Definition, definition_clear)

/* The opened, locked state folder. */
typedef struct StateDir StateDir;

/* Opens `path` (made with mode 0700 if it is missing, with its parents), takes the lock (flock(2) on
 * `<path>/lock`, held until state_dir_free()), makes vms/, removes temporary files left by a crash. 0;
 * -EWOULDBLOCK: another roostd has it; or a negative errno, with *ret_complaint naming the path. */
int state_dir_open(const char *path, StateDir **ret_dir, char **ret_complaint);
StateDir *state_dir_free(StateDir *dir);

typedef void (*DefinitionFunc)(Definition *definition, void *user);
/* Reads all definitions, in the order of file names; `func` borrows each. Two definitions of one name: the
 * one with the later file name is set aside as damaged. Damaged files are set aside as above. 0, or a
 * negative errno when the folder can't be read. */
int state_dir_load(StateDir *dir, DefinitionFunc func, void *user);

/* Durable when it returns 0. Negative errno: the old definition is as it was (but if it is the fsync of the
 * folder that failed, after a crash either may be there). -EEXIST: in its place is a file that
 * state_dir_load() left unread. */
int state_dir_write(StateDir *dir, const VmConfig *config, uint32_t owner_uid, uint64_t revision);

/* Where a definition is; the caller frees. */
char *state_dir_path(const StateDir *dir, const char *uuid);

/* Durable when it returns 0. -ENOENT: there was none. */
int state_dir_remove(StateDir *dir, const char *uuid);

/* ---- beside the definitions: state-dir-files.c ---- */
#define NVRAM_SIZE_MAX (16 * 1024 * 1024)

/* The file of a VM's UEFI variables, `<state-dir>/nvram/<uuid>.fd`, or `<uuid>.secure.fd` for UEFI_SECURE:
 * what one firmware trusts the other must not. Copied from `template` (an absolute path, a regular file) if
 * there is none yet: durable when it returns 0. *ret_path: the caller frees. -EINVAL: in its place is
 * something else. */
int state_dir_make_nvram(
	StateDir *dir, const char *uuid, VmFirmware firmware, const char *template, char **ret_path);
/* All of a VM. Durable when it returns 0, also when there was none. */
int state_dir_remove_nvram(StateDir *dir, const char *uuid);

/* Which disk images Roost has made for a VM: `<state-dir>/images/<uuid>`. */
/* To be called before `image`, a new file, is moved to `path`, an absolute path without control
 * characters: from then on the file at `path` is known as made, as long as it is that very file (its inode
 * number and time of birth). Durable when it returns 0. */
int state_dir_record_image(StateDir *dir, const char *uuid, const char *path, int image);
/* Durably; 0 or a negative errno. */
typedef int (*RemoveFileFunc)(const char *path, void *user);
/* Removes those files, by `remove`, and the record with them; what is another file by now stays. Durable when
 * it returns 0. A negative errno: some are left and still on record; *ret_path is the first of them (the
 * caller frees), or NULL. */
int state_dir_remove_images(
	StateDir *dir, const char *uuid, RemoveFileFunc remove, void *user, char **ret_path);
/* Removes the record alone. */
int state_dir_forget_images(StateDir *dir, const char *uuid);

/* ---- dumps of guests' memory: state-dir-dumps.c ---- */
#define STATE_DIR_DUMPS_MAX 3 /* whole ones of a VM */

/* A file for one, `<state-dir>/dumps/<uuid>.partial`, in place of one that is there; and of the whole ones so
 * many are removed, the oldest first, that there is a place for it. -ENOSPC: there is no room for so many
 * bytes; nothing was removed but the partial one. */
int state_dir_begin_dump(StateDir *dir, const char *uuid, uint64_t bytes, int *ret_fd);
/* It is whole: durably `<uuid>-<UTC time>.elf`. *ret_path: the caller frees; set also if only the folder
 * can't be synced. */
int state_dir_finish_dump(StateDir *dir, const char *uuid, char **ret_path);
bool state_dir_has_partial_dump(StateDir *dir, const char *uuid);
/* The partial one, if there is one. */
int state_dir_drop_dump(StateDir *dir, const char *uuid);
/* All of a VM. */
int state_dir_remove_dumps(StateDir *dir, const char *uuid);

/* ---- what need not be found out twice: state-dir-cache.c ---- */
#define STATE_DIR_CACHE_MAX (1024U * 1024)

/* What was written under this name for this key; the caller frees. 0; -ENOENT; or a negative errno for what
 * counts as nothing: -ESTALE is another key's, another format's, or damaged. */
int state_dir_read_cache(StateDir *dir, const char *name, const char *key, char **ret_body);
/* Replaces it, not durably. 0 or a negative errno; -EFBIG: over STATE_DIR_CACHE_MAX. */
int state_dir_write_cache(StateDir *dir, const char *name, const char *key, const char *body);

/* ---- the run-time folder: what is true until the host restarts ---- */
typedef struct RuntimeDir RuntimeDir;

/* `path` is made with mode 0700 if missing, with parents. */
int runtime_dir_open(const char *path, RuntimeDir **ret_dir, char **ret_complaint);
RuntimeDir *runtime_dir_free(RuntimeDir *dir);

/* Leaves a mark that stays until the host restarts. 1: it was not there before; 0: it was; or a negative
 * errno. Blocks. */
int runtime_dir_mark(RuntimeDir *dir, const char *name);

/* The folder of one VM, `<runtime-dir>/vm/<uuid>`, made if missing, its old sockets removed. *ret_path: the
 * caller frees. */
int runtime_dir_make_vm(RuntimeDir *dir, const char *uuid, char **ret_path);
/* Where it is, or would be; does not block. The caller frees. */
char *runtime_dir_vm_path(const RuntimeDir *dir, const char *uuid);
/* Removes it with all that is in it (one level). -ENOENT is 0. */
int runtime_dir_remove_vm(RuntimeDir *dir, const char *uuid);

#define VM_CLAIMS_MAX 256U /* images of one VM, those that others are based on counted */

typedef struct ProcessClaim {
	uint64_t device, inode;
	bool write;
} ProcessClaim;

/* Which process is the VM's QEMU: written before the process is let go on, read by a later roostd. */
typedef struct ProcessRecord {
	int32_t pid;         /* 0: about to be spawned */
	uint64_t start_time; /* field 22 of /proc/PID/stat: proves that the pid was not given to another
				process */
	uint64_t epoch;
	VmAccelerator accelerator; /* as run */
	char unit[64];             /* of systemd's, that it runs in; "": none */
	/* Which images it has: so that a later roostd can claim them without touching their storage. */
	ProcessClaim claims[VM_CLAIMS_MAX];
	unsigned n_claims;
} ProcessRecord;
int runtime_dir_write_process(RuntimeDir *dir, const char *uuid, const ProcessRecord *record);
/* -ENOENT: none. A damaged record: -EBADMSG. */
int runtime_dir_read_process(RuntimeDir *dir, const char *uuid, ProcessRecord *ret_record);

/* The file of UEFI variables of a transient VM, in its folder (made if missing): a copy of `template`.
 * *ret_path: the caller frees. */
int runtime_dir_make_nvram(RuntimeDir *dir, const char *uuid, const char *template, char **ret_path);

/* Definitions there: as the VM's QEMU has it; and, of a transient VM, which has none in the state folder, as
 * it is. */
typedef enum RuntimeDefinition {
	RUNTIME_DEFINITION_RUNNING,
	RUNTIME_DEFINITION_TRANSIENT,
	RUNTIME_DEFINITION_MAX,
} RuntimeDefinition;
int runtime_dir_write_definition(
	RuntimeDir *dir, const char *uuid, RuntimeDefinition which, const Definition *definition);
/* -ENOENT: none. A damaged one, or one of another version of Roost: -EBADMSG. */
int runtime_dir_read_definition(
	RuntimeDir *dir, const char *uuid, RuntimeDefinition which, Definition *ret_definition);

/* Calls `func` for the folder of each VM. 0 or a negative errno. */
int runtime_dir_foreach(RuntimeDir *dir, void (*func)(const char *uuid, void *user), void *user);
