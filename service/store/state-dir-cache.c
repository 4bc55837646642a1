/*
 * What was found out about the host and would cost a process to find out again: a file each, `cache/<name>`:
 *
 *   roost-cache 1
 *   key <what it is true of, escaped>
 *   sum <SHA-256 of the rest>
 *   <the rest>
 *
 * It is never trusted further than it is whole, of this format, and of the key that is asked for: everything
 * else counts as nothing, and is written over. It need not survive a crash.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "store/file.h"
#include "store/state-dir-private.h"
#include "util/fd.h"
#include "util/thread.h"

#define CACHE_FORMAT "roost-cache 1"

static char *make_head(const char *key, const char *body)
{
	g_autofree char *escaped = g_strescape(key, NULL);
	g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, body, -1);

	return g_strdup_printf(CACHE_FORMAT "\nkey %s\nsum %s\n", escaped, sum);
}

/* The rest of the text behind its third line, or NULL. */
static const char *find_body(const char *text)
{
	for (unsigned i = 0; text && i < 3; i++) {
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return text;
}

int state_dir_read_cache(StateDir *dir, const char *name, const char *key, char **ret_body)
{
	g_autofree char *text = NULL, *head = NULL;
	autofd int fd = -1;
	const char *body;
	size_t size;
	int r;

	thread_assert_unlocked(__func__);
	fd = file_open_dir_at(dir->root_fd, STATE_DIR_CACHE_FOLDER, false);
	if (fd < 0)
		return fd;
	r = fd_read_file_at(fd, name, STATE_DIR_CACHE_MAX, &text, &size);
	if (r < 0)
		return r;
	body = strlen(text) == size ? find_body(text) : NULL;
	if (!body)
		return -EBADMSG;
	head = make_head(key, body);
	if (strlen(head) != (size_t)(body - text) || memcmp(head, text, strlen(head)) != 0)
		return -ESTALE;
	*ret_body = g_strdup(body);
	return 0;
}

int state_dir_write_cache(StateDir *dir, const char *name, const char *key, const char *body)
{
	g_autofree char *head = make_head(key, body);
	g_autofree char *text = g_strconcat(head, body, NULL);
	size_t size = strlen(text);
	autofd int fd = -1;

	thread_assert_unlocked(__func__);
	if (size > STATE_DIR_CACHE_MAX)
		return -EFBIG;
	fd = file_open_dir_at(dir->root_fd, STATE_DIR_CACHE_FOLDER, true);
	if (fd < 0)
		return fd;
	return file_replace_at(fd, name, text, size, false);
}
