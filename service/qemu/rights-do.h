#pragma once
/*
 * What is done with somebody's rights: one request, one answer. It is carried out in the process that has
 * these rights: roostd itself for its own, a child (helper.c) for those of another user. Plain C: the child
 * has no library but libc.
 */
#include <limits.h>
#include <stdint.h>

typedef enum RightsVerb {
	RIGHTS_OPEN,   /* flags: open(2)'s. An fd. Without O_PATH and O_DIRECTORY a regular file or a block
			  device: -EISDIR, -ENOTBLK */
	RIGHTS_CREATE, /* a new file, mode 0600, for reading and writing; it must not be there. An fd */
	RIGHTS_MOVE,   /* to `other`, which must not be there */
	RIGHTS_REMOVE,
	RIGHTS_ACCESS, /* flags: access(2)'s mode */
	RIGHTS_VERB_MAX
} RightsVerb;

typedef struct RightsRequest {
	uint32_t verb;
	int32_t flags;
	char path[PATH_MAX], other[PATH_MAX]; /* absolute, NUL-terminated */
} RightsRequest;

/* 0, an fd, or a negative errno. */
int rights_do(const RightsRequest *request);
