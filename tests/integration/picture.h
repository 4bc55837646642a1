#pragma once
/*
 * A screenshot, as a client that has no library for it would read it: PNG (8 bits a channel, not interlaced)
 * or PPM, to rows of red, green and blue. What is not as it should be fails the test.
 */
#include "fixture.h"

typedef struct Picture {
	guint width, height;
	guint8 *pixels; /* three bytes each */
} Picture;

/* Of the VM's first head, in this format. With ROOST_SCREENSHOTS, a folder, in the environment the file is
 * left there under the name `keep` (NULL: it is not), for a human to look at. */
Picture *picture_take(Client *client, const char *vm, const char *format, const char *keep);
/* The bytes of a file. */
Picture *picture_new(const guint8 *data, gsize size);
Picture *picture_free(Picture *picture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Picture, picture_free)

/* How many pixels are not as the first one is. */
guint picture_count_drawn(const Picture *picture);
