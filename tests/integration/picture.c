#include "picture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIDE_MAX      8192
#define PNG_SIGNATURE "\x89PNG\r\n\x1a\n"

static guint32 read_u32(const guint8 *p)
{
	return (guint32)p[0] << 24 | (guint32)p[1] << 16 | (guint32)p[2] << 8 | p[3];
}

static Picture *make_picture(guint width, guint height)
{
	Picture *picture = g_new0(Picture, 1);

	g_assert_cmpuint(width, >, 0);
	g_assert_cmpuint(width, <=, SIDE_MAX);
	g_assert_cmpuint(height, >, 0);
	g_assert_cmpuint(height, <=, SIDE_MAX);
	picture->width = width;
	picture->height = height;
	picture->pixels = g_malloc0((gsize)width * height * 3);
	return picture;
}

Picture *picture_free(Picture *picture)
{
	if (picture) {
		g_free(picture->pixels);
		g_free(picture);
	}
	return NULL;
}

static Picture *read_ppm(const guint8 *data, gsize size)
{
	g_autofree char *text = g_strndup((const char *)data, MIN(size, 64));
	unsigned width, height;
	int head = 0;
	Picture *picture;

	g_assert_cmpint(sscanf(text, "P6 %u %u 255%n", &width, &height, &head), ==, 2);
	picture = make_picture(width, height);
	g_assert_cmpuint(size, ==, (gsize)head + 1 + (gsize)width * height * 3);
	memcpy(picture->pixels, data + head + 1, (gsize)width * height * 3);
	return picture;
}

/* ---- PNG ---- */
static guint8 paeth(int left, int above, int corner)
{
	int p = left + above - corner;
	int to_left = abs(p - left), to_above = abs(p - above), to_corner = abs(p - corner);

	if (to_left <= to_above && to_left <= to_corner)
		return (guint8)left;
	return (guint8)(to_above <= to_corner ? above : corner);
}

/* `above` is the row before, already so; zeros for the first. */
static void undo_filter(guint8 filter, guint8 *row, const guint8 *above, gsize size, gsize step)
{
	g_assert_cmpuint(filter, <=, 4);
	for (gsize i = 0; i < size; i++) {
		int left = i >= step ? row[i - step] : 0, corner = i >= step ? above[i - step] : 0;
		int guess[] = {0, left, above[i], (left + above[i]) / 2, paeth(left, above[i], corner)};

		row[i] = (guint8)(row[i] + guess[filter]);
	}
}

static GBytes *inflate(GByteArray *packed)
{
	g_autoptr(GZlibDecompressor) zlib = g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_ZLIB);
	g_autoptr(GInputStream) from = g_memory_input_stream_new_from_data(packed->data, packed->len, NULL);
	g_autoptr(GInputStream) stream = g_converter_input_stream_new(from, G_CONVERTER(zlib));
	g_autoptr(GOutputStream) to = g_memory_output_stream_new_resizable();
	g_autoptr(GError) error = NULL;

	g_output_stream_splice(to, stream, G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET, NULL, &error);
	g_assert_no_error(error);
	return g_memory_output_stream_steal_as_bytes(G_MEMORY_OUTPUT_STREAM(to));
}

static void fill(Picture *picture, GByteArray *packed, gsize step)
{
	g_autoptr(GBytes) rows = inflate(packed);
	gsize row_size = picture->width * step, size;
	g_autofree guint8 *above = g_malloc0(row_size);
	g_autofree guint8 *data = g_memdup2(g_bytes_get_data(rows, &size), g_bytes_get_size(rows));

	g_assert_cmpuint(size, ==, (row_size + 1) * picture->height);
	for (guint y = 0; y < picture->height; y++) {
		guint8 *row = data + y * (row_size + 1);

		undo_filter(row[0], row + 1, above, row_size, step);
		memcpy(above, row + 1, row_size);
		for (guint x = 0; x < picture->width; x++)
			memcpy(picture->pixels + ((gsize)y * picture->width + x) * 3, above + x * step, 3);
	}
}

static Picture *read_png(const guint8 *data, gsize size)
{
	g_autoptr(GByteArray) packed = g_byte_array_new();
	Picture *picture = NULL;
	bool ended = false;
	gsize step = 0;

	for (gsize at = strlen(PNG_SIGNATURE); at < size;) {
		guint32 length = read_u32(data + at);
		const guint8 *type = data + at + 4, *body = data + at + 8;

		g_assert_cmpuint(length, <=, size - at - 12);
		if (memcmp(type, "IHDR", 4) == 0) {
			/* Eight bits; colour, with transparency or not; not interlaced. */
			g_assert_cmpuint(body[8], ==, 8);
			g_assert_true(body[9] == 2 || body[9] == 6);
			g_assert_cmpuint(body[12], ==, 0);
			step = body[9] == 2 ? 3 : 4;
			picture = make_picture(read_u32(body), read_u32(body + 4));
		} else if (memcmp(type, "IDAT", 4) == 0) {
			g_byte_array_append(packed, body, length);
		}
		ended = memcmp(type, "IEND", 4) == 0;
		at += 12 + length;
	}
	g_assert_true(ended);
	g_assert_nonnull(picture);
	fill(picture, packed, step);
	return picture;
}

Picture *picture_new(const guint8 *data, gsize size)
{
	if (size > strlen(PNG_SIGNATURE) && memcmp(data, PNG_SIGNATURE, strlen(PNG_SIGNATURE)) == 0)
		return read_png(data, size);
	return read_ppm(data, size);
}

Picture *picture_take(Client *client, const char *vm, const char *format, const char *keep)
{
	int fd = client_result_fd(client,
		client_send(client, vm, VM, "Screenshot", g_variant_new_parsed("(%s, @a{sv} {})", format)));
	g_autofree guint8 *data = NULL;
	struct stat st;

	g_assert_cmpint(fstat(fd, &st), ==, 0);
	data = g_malloc((gsize)st.st_size);
	g_assert_cmpint(pread(fd, data, (size_t)st.st_size, 0), ==, st.st_size);
	close(fd);
	if (keep && g_getenv("ROOST_SCREENSHOTS")) {
		g_autofree char *path = g_build_filename(g_getenv("ROOST_SCREENSHOTS"), keep, NULL);

		g_file_set_contents(path, (char *)data, st.st_size, NULL);
	}
	return picture_new(data, (gsize)st.st_size);
}

guint picture_count_drawn(const Picture *picture)
{
	guint n = 0;

	for (gsize i = 0; i < (gsize)picture->width * picture->height; i++)
		n += memcmp(picture->pixels + i * 3, picture->pixels, 3) != 0;
	return n;
}
