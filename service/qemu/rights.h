#pragma once
/*
 * Rights: files reached with the rights of a user. roostd is root and its callers are not: what a definition
 * names is opened as its owner would, by a child that has become the owner, and comes back as an fd; what is
 * done next is done with that fd, so nothing can be exchanged in between. For roostd's own user there is no
 * child, and none when roostd is not root: then it has no rights that its callers lack.
 *
 * One worker at a time, no lock held. Everything may take as long as the storage takes, but no longer than
 * the deadline: then the child is killed and the answer is -ETIMEDOUT. (Without a child, a system call that
 * hangs hangs here.)
 */
#include <glib.h>
#include <stdint.h>

typedef struct Rights Rights;

/* `helper`: the program (helper.c). `deadline_usec`: monotonic, of all that is done with it. 0, or a negative
 * errno with *ret_complaint (the caller frees): e.g. there is no such user any more. */
int rights_new(
	const char *helper, uint32_t uid, uint64_t deadline_usec, Rights **ret_rights, char **ret_complaint);
Rights *rights_free(Rights *rights);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Rights, rights_free)

/* open(2): close-on-exec, no controlling terminal; without O_PATH and O_DIRECTORY only a regular file or a
 * block device is opened (-EISDIR, -ENOTBLK). The fd or a negative errno. */
int rights_open(Rights *rights, const char *path, int flags);
/* A new file (mode 0600), for reading and writing; -EEXIST: there is something. The fd or a negative errno.
 */
int rights_create(Rights *rights, const char *path);
/* Without replacing: -EEXIST. 0 or a negative errno. */
int rights_move(Rights *rights, const char *from, const char *to);
int rights_remove(Rights *rights, const char *path);
/* access(2). 0 or a negative errno. */
int rights_access(Rights *rights, const char *path, int mode);
