#include "qemu/rights-do.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Never waiting, and never anybody's terminal. */
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

/* Its place first: what is neither a file nor a block device is not opened, for a device may do something
 * when it is, and who opens a FIFO takes part in it. Then what is at this place, so that it can't be another
 * by then. */
static int open_data(const char *path, int flags)
{
	char link[sizeof "/proc/self/fd/" + 3 * sizeof(int)];
	int place = open(path, O_PATH | O_CLOEXEC), r;
	struct stat st;

	if (place < 0)
		return -errno;
	snprintf(link, sizeof link, "/proc/self/fd/%d", place);
	r = fstat(place, &st);
	if (r == 0 && S_ISDIR(st.st_mode))
		r = -EISDIR;
	else if (r == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		r = -ENOTBLK;
	else if (r == 0)
		r = open(link, flags | OPEN_FLAGS);
	if (r == -1)
		r = -errno;
	close(place);
	return r;
}

int rights_do(const RightsRequest *request)
{
	int r = 0;

	switch (request->verb) {
	case RIGHTS_OPEN:
		if (!(request->flags & (O_PATH | O_DIRECTORY)))
			return open_data(request->path, request->flags);
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
