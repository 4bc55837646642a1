#include "qemu/rights-do.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Not blocking on a FIFO, and never anybody's terminal. */
#define OPEN_FLAGS (O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static int move_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	/* Some network file systems can't. */
	if (errno != EINVAL)
		return -errno;
	if (link(from, to) < 0)
		return -errno;
	unlink(from);
	return 0;
}

int rights_do(const RightsRequest *request)
{
	int r = 0;

	switch (request->verb) {
	case RIGHTS_OPEN:
		r = open(request->path, request->flags | OPEN_FLAGS);
		break;
	case RIGHTS_CREATE:
		r = open(request->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | OPEN_FLAGS, 0600);
		break;
	case RIGHTS_MOVE:
		return move_new(request->path, request->other);
	case RIGHTS_REMOVE:
		r = unlink(request->path);
		break;
	case RIGHTS_ACCESS:
		r = faccessat(AT_FDCWD, request->path, request->flags, AT_EACCESS);
		break;
	default:
		return -EINVAL;
	}
	return r < 0 ? -errno : r;
}
