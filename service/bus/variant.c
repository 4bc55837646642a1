#include "bus/variant.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct Reader {
	sd_bus_message *message;
	size_t left; /* bytes */
} Reader;

/* What a value costs in memory beside its bytes: a message of many tiny values may not become a giant. */
#define VALUE_COST 16

static int spend(Reader *reader, size_t size)
{
	if (size > reader->left)
		return -EFBIG;
	reader->left -= size;
	return 0;
}

/* Any basic value, as sd-bus reads it. */
typedef union Basic {
	uint8_t y;
	int b;
	int16_t n;
	uint16_t q;
	int32_t i;
	uint32_t u;
	int64_t x;
	uint64_t t;
	double d;
	const char *s;
	int h;
} Basic;

static GVariant *make_text(char type, const char *text)
{
	switch (type) {
	case 's':
		return g_variant_new_string(text);
	case 'o':
		return g_variant_new_object_path(text);
	case 'g':
		return g_variant_new_signature(text);
	}
	return NULL;
}

static GVariant *make_number(char type, const Basic *v)
{
	switch (type) {
	case 'y':
		return g_variant_new_byte(v->y);
	case 'b':
		return g_variant_new_boolean(v->b != 0);
	case 'n':
		return g_variant_new_int16(v->n);
	case 'q':
		return g_variant_new_uint16(v->q);
	case 'i':
		return g_variant_new_int32(v->i);
	case 'u':
		return g_variant_new_uint32(v->u);
	case 'x':
		return g_variant_new_int64(v->x);
	case 't':
		return g_variant_new_uint64(v->t);
	case 'd':
		return g_variant_new_double(v->d);
	case 'h':
		/* No method takes one yet: what is asked of it is only its type. */
		return g_variant_new_handle(0);
	}
	return NULL;
}

static int read_basic(Reader *reader, char type, GVariant **ret)
{
	bool is_text = strchr("sog", type) != NULL;
	Basic v = {0};
	int r = sd_bus_message_read_basic(reader->message, type, &v);

	if (r < 0)
		return r;
	if (r == 0)
		return -ENXIO;
	r = spend(reader, VALUE_COST + (is_text ? strlen(v.s) : 0));
	if (r < 0)
		return r;
	*ret = is_text ? make_text(type, v.s) : make_number(type, &v);
	return *ret ? 0 : -EINVAL;
}

/* The signature of a container in GVariant's terms: sd-bus names only what is inside. */
static char *container_type(char type, const char *contents)
{
	switch (type) {
	case 'a':
		return g_strconcat("a", contents, NULL);
	case 'r':
		return g_strconcat("(", contents, ")", NULL);
	case 'e':
		return g_strconcat("{", contents, "}", NULL);
	case 'v':
		return g_strdup("v");
	}
	return NULL;
}

static int read_value(Reader *reader, unsigned depth, GVariant **ret);

static int read_children(Reader *reader, unsigned depth, GVariantBuilder *builder)
{
	for (;;) {
		GVariant *child = NULL;
		int r = sd_bus_message_at_end(reader->message, 0);

		if (r < 0)
			return r;
		if (r > 0)
			return 0;
		r = read_value(reader, depth, &child);
		if (r < 0)
			return r;
		g_variant_builder_add_value(builder, child);
	}
}

static int read_value(Reader *reader, unsigned depth, GVariant **ret)
{
	g_autofree char *type_string = NULL;
	g_autofree char *contents_copy = NULL;
	const char *contents;
	GVariantBuilder builder;
	char type;
	int r = sd_bus_message_peek_type(reader->message, &type, &contents);

	if (r < 0)
		return r;
	if (r == 0)
		return -ENXIO;
	if (!strchr("arev", type))
		return read_basic(reader, type, ret);
	if (depth == 0)
		return -E2BIG;
	r = spend(reader, VALUE_COST);
	if (r < 0)
		return r;
	contents_copy = g_strdup(contents);
	type_string = container_type(type, contents_copy);
	r = sd_bus_message_enter_container(reader->message, type, contents_copy);
	if (r < 0)
		return r;
	g_variant_builder_init(&builder, G_VARIANT_TYPE(type_string));
	r = read_children(reader, depth - 1, &builder);
	if (r >= 0)
		r = sd_bus_message_exit_container(reader->message);
	if (r < 0) {
		g_variant_builder_clear(&builder);
		return r;
	}
	*ret = g_variant_builder_end(&builder);
	return 0;
}

int variant_read(sd_bus_message *message, const char *signature, size_t max_size, GVariant **ret_value)
{
	Reader reader = {.message = message, .left = max_size};
	GVariant *value = NULL;
	int r = read_value(&reader, VARIANT_DEPTH_MAX, &value);

	if (r < 0)
		return r;
	g_variant_ref_sink(value);
	if (strcmp(g_variant_get_type_string(value), signature) != 0) {
		g_variant_unref(value);
		return -EINVAL;
	}
	*ret_value = value;
	return 0;
}

int variant_measure(sd_bus_message *message, size_t max_size)
{
	Reader reader = {.message = message, .left = max_size};
	int r;

	while ((r = sd_bus_message_at_end(message, true)) == 0) {
		GVariant *value = NULL;

		r = read_value(&reader, VARIANT_DEPTH_MAX, &value);
		if (r < 0)
			return r;
		g_variant_unref(g_variant_ref_sink(value));
	}
	return r < 0 ? r : sd_bus_message_rewind(message, true);
}

static int append_basic(sd_bus_message *message, GVariant *value, char type, int fd)
{
	switch (type) {
	case 'y':
		return sd_bus_message_append(message, "y", g_variant_get_byte(value));
	case 'b':
		return sd_bus_message_append(message, "b", (int)g_variant_get_boolean(value));
	case 'n':
		return sd_bus_message_append(message, "n", g_variant_get_int16(value));
	case 'q':
		return sd_bus_message_append(message, "q", g_variant_get_uint16(value));
	case 'i':
		return sd_bus_message_append(message, "i", g_variant_get_int32(value));
	case 'u':
		return sd_bus_message_append(message, "u", g_variant_get_uint32(value));
	case 'x':
		return sd_bus_message_append(message, "x", g_variant_get_int64(value));
	case 't':
		return sd_bus_message_append(message, "t", g_variant_get_uint64(value));
	case 'd':
		return sd_bus_message_append(message, "d", g_variant_get_double(value));
	case 's':
	case 'o':
	case 'g':
		return sd_bus_message_append_basic(message, type, g_variant_get_string(value, NULL));
	case 'h':
		return sd_bus_message_append_basic(message, 'h', &fd);
	}
	return -EINVAL;
}

static int append_children(sd_bus_message *message, GVariant *value, int fd)
{
	GVariantIter iter;
	GVariant *child;

	g_variant_iter_init(&iter, value);
	while ((child = g_variant_iter_next_value(&iter))) {
		int r = variant_append(message, child, fd);

		g_variant_unref(child);
		if (r < 0)
			return r;
	}
	return 0;
}

int variant_append(sd_bus_message *message, GVariant *value, int fd)
{
	const char *type = g_variant_get_type_string(value);
	g_autofree char *contents = NULL;
	char container;
	int r;

	switch (type[0]) {
	case 'a':
		container = 'a';
		contents = g_strdup(type + 1);
		break;
	case '(':
		container = 'r';
		contents = g_strndup(type + 1, strlen(type) - 2);
		break;
	case '{':
		container = 'e';
		contents = g_strndup(type + 1, strlen(type) - 2);
		break;
	case 'v': {
		g_autoptr(GVariant) inner = g_variant_get_variant(value);

		container = 'v';
		contents = g_strdup(g_variant_get_type_string(inner));
		break;
	}
	default:
		return append_basic(message, value, type[0], fd);
	}
	r = sd_bus_message_open_container(message, container, contents);
	if (r >= 0)
		r = append_children(message, value, fd);
	return r < 0 ? r : sd_bus_message_close_container(message);
}

int variant_append_body(sd_bus_message *message, GVariant *tuple, int fd)
{
	return append_children(message, tuple, fd);
}
