/*
 * Bytes that are no messages. The bus looks at what it passes on, and throws out who sends nonsense; the
 * service must not notice. Each sender here is a connection of its own that speaks the protocol by hand: a
 * good call before, the bytes, and then nothing more.
 */
#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bad-input.h"

#define N_FLIPS       2000
#define REPLY_SERIAL  77
#define WAIT_SECONDS  60
#define HEADER_SIZE   16
#define AT_ENDIAN     0
#define AT_TYPE       1
#define AT_VERSION    3
#define AT_BODY_SIZE  4
#define AT_SERIAL     8
#define AT_FIELD_SIZE 12

/* ---- a connection ---- */
static void send_bytes(int fd, const void *bytes, gsize size)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

		/* Thrown out already. */
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return;
		g_assert_cmpint(n, >, 0);
		at += n;
		size -= (gsize)n;
	}
}

static void expect_line(int fd, const char *start)
{
	g_autoptr(GString) line = g_string_new(NULL);
	char c;

	while (recv(fd, &c, 1, 0) == 1 && c != '\n')
		g_string_append_c(line, c);
	g_assert_true(g_str_has_prefix(line->str, start));
}

static GByteArray *make_call(const char *destination, const char *path, const char *interface,
	const char *member, GVariant *args, guint32 serial)
{
	g_autoptr(GDBusMessage) call = g_dbus_message_new_method_call(destination, path, interface, member);
	g_autoptr(GError) error = NULL;
	gsize size;
	guchar *bytes;

	if (args)
		g_dbus_message_set_body(call, args);
	g_dbus_message_set_serial(call, serial);
	bytes = g_dbus_message_to_blob(call, &size, G_DBUS_CAPABILITY_FLAGS_UNIX_FD_PASSING, &error);
	g_assert_no_error(error);
	return g_byte_array_new_take(bytes, size);
}

static void send_call(int fd, GByteArray *call_consume)
{
	send_bytes(fd, call_consume->data, call_consume->len);
	g_byte_array_unref(call_consume);
}

static int connect_to_bus(World *world)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = WAIT_SECONDS};
	g_autofree char *uid = g_strdup_printf("%u", geteuid());
	g_autoptr(GString) hello = g_string_new("AUTH EXTERNAL ");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_assert_cmpint(fd, >=, 0);
	g_snprintf(address.sun_path, sizeof address.sun_path, "%s/bus", world->fixture->dir);
	g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	for (const char *c = uid; *c; c++)
		g_string_append_printf(hello, "%02x", *c);
	send_bytes(fd, "", 1);
	send_bytes(fd, hello->str, hello->len);
	send_bytes(fd, "\r\n", 2);
	expect_line(fd, "OK ");
	send_bytes(fd, "BEGIN\r\n", strlen("BEGIN\r\n"));
	send_call(fd, make_call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
			      "Hello", NULL, 1));
	return fd;
}

/* All that comes until the bus hangs up. */
static GByteArray *read_all(int fd)
{
	GByteArray *all = g_byte_array_new();
	guint8 buffer[65536];
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof buffer, 0)) > 0)
		g_byte_array_append(all, buffer, (guint)n);
	/* And not the limit. */
	g_assert_true(n == 0 || errno == ECONNRESET);
	return all;
}

/* Whether a reply to this call is among it. */
static bool has_reply(const GByteArray *all, guint32 serial)
{
	gsize at = 0;

	while (all->len - at >= HEADER_SIZE) {
		gssize size = g_dbus_message_bytes_needed((guchar *)all->data + at, all->len - at, NULL);
		g_autoptr(GDBusMessage) message = NULL;

		if (size < 0 || (gsize)size > all->len - at)
			break;
		message = g_dbus_message_new_from_blob(
			(guchar *)all->data + at, (gsize)size, G_DBUS_CAPABILITY_FLAGS_UNIX_FD_PASSING, NULL);
		if (message && g_dbus_message_get_reply_serial(message) == serial)
			return true;
		at += (gsize)size;
	}
	return false;
}

static GByteArray *good_call(World *world)
{
	return make_call(NAME, world->witness, VM, "GetConfig", fixture_no_options(), REPLY_SERIAL);
}

/* Waits for the reply to the good call, so that it is not what the sender's end cuts off. */
static void await_good_reply(int fd)
{
	g_autoptr(GByteArray) all = g_byte_array_new();
	guint8 buffer[4096];

	while (!has_reply(all, REPLY_SERIAL)) {
		ssize_t n = recv(fd, buffer, sizeof buffer, 0);

		g_assert_cmpint(n, >, 0);
		g_byte_array_append(all, buffer, (guint)n);
	}
}

/* A sender's whole life; whether `serial` was answered. `ends`: we close our half, otherwise the bus must. */
static bool send_nonsense(World *world, const GByteArray *bytes, guint32 serial, bool ends)
{
	int fd = connect_to_bus(world);
	g_autoptr(GByteArray) all = NULL;

	send_call(fd, good_call(world));
	await_good_reply(fd);
	send_bytes(fd, bytes->data, bytes->len);
	if (ends)
		shutdown(fd, SHUT_WR);
	all = read_all(fd);
	close(fd);
	return has_reply(all, serial);
}

/* ---- the patches ---- */
typedef void (*PatchFunc)(GByteArray *bytes);

static guint8 *find(GByteArray *bytes, const char *what)
{
	guint8 *at = memmem(bytes->data, bytes->len, what, strlen(what));

	g_assert_nonnull(at);
	return at;
}

static void patch_text(GByteArray *bytes, const char *with)
{
	memcpy(find(bytes, "patch-me"), with, strlen(with));
}

static void patch_latin1(GByteArray *bytes)
{
	patch_text(bytes, "\xe9t\xe9");
}
static void patch_overlong(GByteArray *bytes)
{
	patch_text(bytes, "\xc0\x80");
}
static void patch_surrogate(GByteArray *bytes)
{
	patch_text(bytes, "\xed\xa0\x80");
}
static void patch_beyond_unicode(GByteArray *bytes)
{
	patch_text(bytes, "\xf5\x80\x80\x80");
}
static void patch_half_character(GByteArray *bytes)
{
	find(bytes, "patch-me")[7] = 0xc3;
}
static void patch_nul(GByteArray *bytes)
{
	find(bytes, "patch-me")[3] = 0;
}
static void patch_no_end(GByteArray *bytes)
{
	find(bytes, "patch-me")[8] = 'x';
}
static void patch_string_too_long(GByteArray *bytes)
{
	find(bytes, "patch-me")[-4] = 0xff;
}
static void patch_string_giant(GByteArray *bytes)
{
	memset(find(bytes, "patch-me") - 4, 0xff, 4);
}
static void patch_endian(GByteArray *bytes)
{
	bytes->data[AT_ENDIAN] = 'x';
}
static void patch_other_endian(GByteArray *bytes)
{
	bytes->data[AT_ENDIAN] = bytes->data[AT_ENDIAN] == 'l' ? 'B' : 'l';
}
static void patch_type(GByteArray *bytes)
{
	bytes->data[AT_TYPE] = 0;
}
static void patch_version(GByteArray *bytes)
{
	bytes->data[AT_VERSION] = 2;
}
static void patch_body_too_large(GByteArray *bytes)
{
	memset(bytes->data + AT_BODY_SIZE, 0x7f, 4);
}
static void patch_fields_too_large(GByteArray *bytes)
{
	memset(bytes->data + AT_FIELD_SIZE, 0x7f, 4);
}
static void patch_serial(GByteArray *bytes)
{
	memset(bytes->data + AT_SERIAL, 0, 4);
}
static void patch_path(GByteArray *bytes)
{
	memcpy(find(bytes, PATH), "//g/roost1", strlen(PATH) - 1);
}
static void patch_member(GByteArray *bytes)
{
	find(bytes, "GetVM")[2] = '-';
}
static void patch_interface(GByteArray *bytes)
{
	memcpy(find(bytes, MANAGER), "...", 3);
}
static void patch_signature(GByteArray *bytes)
{
	/* The signature of the body: its field is (8, <'s'>). */
	guint8 *at = find(bytes, "\x08\x01g");

	at[5] = 'u';
}
static void patch_signature_nonsense(GByteArray *bytes)
{
	find(bytes, "\x08\x01g")[5] = '{';
}
static void patch_field_code(GByteArray *bytes)
{
	find(bytes, "\x08\x01g")[0] = 0;
}
static void patch_field_twice(GByteArray *bytes)
{
	/* The member becomes a second interface. */
	find(bytes, "\x03\x01s")[0] = 2;
}
static void patch_fds(GByteArray *bytes)
{
	/* The body has a string, and 9 fds that did not come. */
	find(bytes, "\x08\x01g")[0] = 9;
}

static const struct {
	const char *name;
	PatchFunc func;
} patches[] = {
	{"a string in Latin 1", patch_latin1},
	{"a NUL in two bytes", patch_overlong},
	{"half a surrogate pair", patch_surrogate},
	{"a character beyond Unicode", patch_beyond_unicode},
	{"half a character", patch_half_character},
	{"a NUL in a string", patch_nul},
	{"a string without its end", patch_no_end},
	{"a string beyond the body", patch_string_too_long},
	{"a string of 4 GiB", patch_string_giant},
	{"no byte order", patch_endian},
	{"the other byte order", patch_other_endian},
	{"no type", patch_type},
	{"protocol version 2", patch_version},
	{"a body of 2 GiB", patch_body_too_large},
	{"fields of 2 GiB", patch_fields_too_large},
	{"serial 0", patch_serial},
	{"no path", patch_path},
	{"no member", patch_member},
	{"no interface", patch_interface},
	{"another signature than the body's", patch_signature},
	{"no signature", patch_signature_nonsense},
	{"no field", patch_field_code},
	{"a field twice", patch_field_twice},
	{"fds that did not come", patch_fds},
};

static GByteArray *call_to_patch(guint32 serial)
{
	return make_call(NAME, PATH, MANAGER, "GetVM", g_variant_new("(s)", "patch-me"), serial);
}

static void test_patches(World *world)
{
	for (gsize i = 0; i < G_N_ELEMENTS(patches); i++) {
		g_autoptr(GByteArray) bytes = call_to_patch(REPLY_SERIAL + 1);

		patches[i].func(bytes);
		if (send_nonsense(world, bytes, REPLY_SERIAL + 1, false))
			g_error("%s: is answered", patches[i].name);
		world_ping(world);
	}
}

/* ---- what the bus lets nobody send ---- */
static void test_limits(World *world)
{
	g_autofree char *large = g_strnfill(33 * 1024 * 1024, 'a');
	GVariant *dict =
		dict_put(g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0), "Deep", value_nested(70));
	g_autoptr(GByteArray) too_large =
		make_call(NAME, PATH, MANAGER, "GetVM", g_variant_new("(s)", large), REPLY_SERIAL + 1);
	g_autoptr(GByteArray) too_deep =
		make_call(NAME, PATH, MANAGER, "DefineVM", g_variant_new("(@a{sv})", dict), REPLY_SERIAL + 1);

	g_assert_false(send_nonsense(world, too_large, REPLY_SERIAL + 1, false));
	g_assert_false(send_nonsense(world, too_deep, REPLY_SERIAL + 1, false));
	world_ping(world);
}

/* ---- what sd-bus drops ---- */
/* The bus takes paths of any length, sd-bus none over 64 KiB: such a call is not answered. Those behind it
 * are. */
static void test_dropped(World *world)
{
	g_autofree char *path = g_strnfill(65536 + 2, 'a');
	gsize mark = client_mark(world->client), end;
	guint32 call;

	*path = '/';
	call = client_send(world->client, path, VM, "Kill", NULL);
	world_ping(world);
	end = client_mark(world->client);
	for (gsize i = mark; i < end; i++)
		g_assert_cmpuint(g_dbus_message_get_reply_serial(client_message(world->client, i)), !=, call);
}

/* ---- bytes by chance ---- */
/* A good call with some bytes changed: the bus throws the sender out, or the call is another one, or it is as
 * if it had not been. */
static void test_flips(World *world, GRand *random)
{
	for (guint i = 0; i < N_FLIPS; i++) {
		g_autoptr(GByteArray) bytes =
			i % 2 == 0 ? call_to_patch(REPLY_SERIAL + 1)
				   : make_call(NAME, PATH, MANAGER, "ValidateVM",
					     g_variant_new("(@a{sv})", world->base), REPLY_SERIAL + 1);

		for (gint n = g_rand_int_range(random, 1, 4); n > 0; n--)
			bytes->data[g_rand_int_range(random, 0, (gint32)bytes->len)] =
				(guint8)g_rand_int(random);
		if (g_rand_int_range(random, 0, 8) == 0)
			g_byte_array_set_size(bytes, (guint)g_rand_int_range(random, 1, (gint32)bytes->len));
		send_nonsense(world, bytes, REPLY_SERIAL + 1, true);
		if (i % 16 == 0)
			world_ping(world);
	}
}

void wire_test(World *world, GRand *random)
{
	test_patches(world);
	test_limits(world);
	test_dropped(world);
	test_flips(world, random);
	world_ping(world);
	world_renew_client(world);
}
