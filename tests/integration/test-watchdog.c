/* A watchdog that fires, on real QEMU, with each of its actions. The guest is a boot sector that arms an
 * ib700 and halts; an NMI makes it power off. */
#include "fixture.h"

/* cli; xor ax,ax; mov ds,ax; mov word [8],0x7c17; mov [10],ax (the NMI's vector);
 * mov dx,0x443; mov al,0x0f (0 s); out dx,al; hlt; jmp to the hlt;
 * 7c17: mov dx,0x604; mov ax,0x2000; out dx,ax; jmp $ */
static const unsigned char code[] = {0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xc7, 0x06, 0x08, 0x00, 0x17, 0x7c, 0xa3,
	0x0a, 0x00, 0xba, 0x43, 0x04, 0xb0, 0x0f, 0xee, 0xf4, 0xeb, 0xfd, 0xba, 0x04, 0x06, 0xb8, 0x00, 0x20,
	0xef, 0xeb, 0xfe};

static const struct {
	const char *action;
	const char *event; /* what QEMU says of itself, after the WATCHDOG */
	const char *state; /* NULL: it goes on as before */
	const char *reason;
} rows[] = {
	{"none", NULL, NULL, NULL},
	{"inject-nmi", "SHUTDOWN", "'off'", "'guest'"},
	{"reset", "RESET", NULL, NULL},
	{"shutdown", "POWERDOWN", NULL, NULL},
	{"pause", "STOP", "'paused'", "'watchdog'"},
	{"poweroff", NULL, "'off'", "'watchdog'"},
};

static void test_action(gconstpointer data)
{
	unsigned row = GPOINTER_TO_UINT(data);
	FixtureOptions options = {.real_qemu = true};
	g_autoptr(Fixture) f = NULL;
	g_autofree char *web = NULL, *keys = NULL, *glob = NULL;
	gsize mark;

	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return;
	}
	f = fixture_new(&options);
	keys = g_strdup_printf("'Watchdog': <'ib700'>, 'OnWatchdog': <'%s'>", rows[row].action);
	web = fixture_define_boot(f, "web", code, sizeof code, keys);
	mark = client_mark(f->client);
	fixture_start_vm(f, web);
	glob = g_strdup_printf("(*'WATCHDOG', *'action': <'%s'>*", rows[row].action);
	mark = client_await(f->client, mark, web, "Event", glob);
	if (rows[row].event) {
		g_autofree char *event = g_strdup_printf("(*'%s', *", rows[row].event);

		client_await(f->client, mark, web, "Event", event);
	}
	if (rows[row].state) {
		client_await_property(f->client, web, "State", rows[row].state);
		client_assert_property(f->client, web, "StateReason", rows[row].reason);
	} else {
		client_assert_property(f->client, web, "State", "'running'");
	}
	client_do(f->client, web, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strconcat("/watchdog/", rows[i].action, NULL);

		g_test_add_data_func(name, GUINT_TO_POINTER(i), test_action);
	}
	return g_test_run();
}
