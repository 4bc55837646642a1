/*
 * Consoles of a real guest, through the fds of OpenConsole: a login, many readers, one that lags, and the
 * same fd before and after the guest boots anew.
 *
 * The cases share one guest, which the first of them starts: its serial console asks for a login, its virtio
 * console has a shell.
 */
#include <stdlib.h>
#include <string.h>

#include "guest.h"

/* house rule: what a console keeps for those who come late. */
#define RING_SIZE (64 * 1024)

static struct {
	Fixture *fixture;
	char *vm;
	Terminal *serial, *virtio; /* there from the start */
	bool logged_in;            /* on the serial one */
} world;

static Client *start(void)
{
	if (world.fixture)
		return world.fixture->client;
	world.fixture = guest_fixture(128);
	world.vm = guest_define(world.fixture, "guest", "guest.login=ttyS0",
		"'Agent': <true>, 'NICs': <[{'Type': <'none'>}]>");
	/* Opened before the guest has said a word. */
	client_do(
		world.fixture->client, world.vm, VM, "Start", g_variant_new_parsed("({'Paused': <true>},)"));
	world.serial = terminal_open(world.fixture->client, world.vm, "serial", false);
	world.virtio = terminal_open(world.fixture->client, world.vm, "virtio", false);
	client_do(world.fixture->client, world.vm, VM, "Resume", NULL);
	terminal_expect(world.serial, GUEST_UP);
	terminal_expect(world.virtio, GUEST_UP);
	terminal_expect(world.virtio, "guest# ");
	return world.fixture->client;
}

static void log_in(Terminal *t, const char *password)
{
	terminal_expect(t, "login: ");
	terminal_type(t, "guest\n");
	terminal_expect(t, "Password: ");
	terminal_type(t, password);
}

static void test_login(void)
{
	Terminal *t;
	g_autofree char *who = NULL, *secret = NULL;

	start();
	t = world.serial;
	log_in(t, "wrong\n");
	terminal_expect(t, "Login incorrect");
	log_in(t, "roost\n");
	terminal_expect(t, "guest# ");
	who = terminal_run(t, "id -un; tty; pwd; echo $((6 * 7))");
	g_assert_cmpstr(who, ==, "guest\n/dev/ttyS0\n/home/guest\n42\n");
	/* It is the user's, with the user's rights. */
	secret = terminal_run(t, "cat /etc/shadow 2>&1");
	g_assert_cmpstr(secret, ==, "cat: can't open '/etc/shadow': Permission denied\n");
	/* Not only text gets through: Ctrl-C ends a program, Ctrl-D the session. It is the program that says
	 * that it is there: the shell itself may be interrupted and yet wait for it. */
	terminal_type(t, "sh -c \"echo wait''ing; cat >/dev/null\"\n");
	terminal_expect(t, "waiting\r\n");
	/* Its echo may be thrown away by what it does; that the program has ended is what counts. */
	terminal_type(t, "\x03");
	terminal_expect(t, "guest# ");
	terminal_type(t, "\x04");
	log_in(t, "roost\n");
	terminal_expect(t, "guest# ");
	world.logged_in = true;
}

/* Who comes late gets all that was said, if the ring could keep it, and then the same as the others. */
static void test_replay(void)
{
	Client *c = start();
	Terminal *early = world.virtio;
	g_autoptr(Terminal) late = NULL, last = NULL;
	g_autofree char *said = NULL;

	g_assert_cmpuint(early->text->len, <, RING_SIZE);
	said = terminal_run(early, "echo -n sa''id; echo -before");
	g_assert_cmpstr(said, ==, "said-before\n");
	late = terminal_open(c, world.vm, "virtio", false);
	terminal_expect(late, GUEST_UP);
	terminal_expect(late, "said-before\r\n");
	/* What one of them types all of them read. */
	terminal_type(late, "echo typed-by-la''te\n");
	terminal_expect(late, "typed-by-late\r\n");
	terminal_expect(early, "typed-by-late\r\n");
	last = terminal_open(c, world.vm, "virtio", true);
	terminal_expect(last, "typed-by-late\r\n");
	g_assert_cmpuint(late->seen, ==, early->seen);
	g_assert_cmpuint(last->seen, ==, early->seen);
	g_assert_cmpmem(late->text->str, late->seen, early->text->str, early->seen);
	g_assert_cmpmem(last->text->str, last->seen, early->text->str, early->seen);
}

/* What a ReadOnly reader writes is taken, so that it never blocks, and comes nowhere. */
static void test_read_only(void)
{
	Client *c = start();
	g_autoptr(Terminal) silent = terminal_open(c, world.vm, "virtio", true);
	g_autoptr(Terminal) after = NULL;
	g_autofree char *output = NULL;

	/* More than fits between it and the guest, if it were kept. */
	for (unsigned i = 0; i < 1000; i++)
		terminal_type(silent,
			"echo spoken-by-the-si''lent; poweroff -f; : ------------------------"
			"-------------------------------------------------------------------"
			"-------------------------------------------------------------------\n");
	terminal_type_and_flush(silent, "\n");
	output = terminal_run(world.virtio, "echo alo''ud");
	g_assert_cmpstr(output, ==, "aloud\n");
	terminal_expect(silent, "aloud\r\n");
	after = terminal_open(c, world.vm, "virtio", true);
	terminal_expect(after, "aloud\r\n");
	g_assert_null(strstr(after->text->str, "silent"));
	g_assert_null(strstr(after->text->str, "si''lent"));
	client_assert_property(c, world.vm, "State", "'running'");
}

/* How many of the numbers from FIRST to LAST, one to a line, are missing. They must ascend; a line beside a
 * gap may be cut. */
#define FIRST 100000U
#define LAST  260000U

static unsigned count_missing(const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	unsigned last = FIRST - 1, missing = 0;

	for (unsigned i = 0; lines[i]; i++) {
		char *end;
		unsigned number = (unsigned)strtoul(lines[i], &end, 10);

		if (end != lines[i] + strlen("100000") || *end != '\0' || number <= last)
			continue;
		missing += number - last - 1;
		last = number;
	}
	return missing + LAST - last;
}

/*
 * 1.1 MB are printed. Who reads is done when the guest is; who does not read holds up nobody, and when it
 * reads at last it has lost the middle, not the end. Who comes then gets the last 64 KiB.
 */
static void test_laggard(void)
{
	Client *c = start();
	g_autoptr(Terminal) laggard = NULL, late = NULL;
	g_autofree char *numbers = g_strdup_printf(
		"seq %u %u >/tmp/n; stty -opost; cat /tmp/n; stty opost; echo the''-end\n", FIRST, LAST);
	g_autofree char *last = g_strdup_printf("\n%u\nthe-end\r\n", LAST);
	Terminal *reader = world.serial;
	gsize from;

	if (!world.logged_in) {
		log_in(reader, "roost\n");
		terminal_expect(reader, "guest# ");
	}
	laggard = terminal_open(c, world.vm, "serial", false);
	from = reader->seen;
	terminal_type(reader, numbers);
	terminal_expect(reader, last);
	g_test_message("the reader missed %u numbers", count_missing(reader->text->str + from));
	terminal_expect(laggard, last);
	g_test_message("the laggard missed %u", count_missing(laggard->text->str));
	g_assert_cmpuint(count_missing(laggard->text->str), >, (LAST - FIRST) / 10);
	/* It is no outcast. */
	terminal_type(laggard, "echo ba''ck\n");
	terminal_expect(laggard, "back\r\n");
	terminal_expect(reader, "back\r\n");

	late = terminal_open(c, world.vm, "serial", false);
	terminal_expect(late, "back\r\n");
	g_assert_cmpuint(late->seen, <=, RING_SIZE);
	g_assert_cmpuint(late->seen, >, RING_SIZE - 1024);
	g_assert_cmpmem(
		late->text->str, late->seen, reader->text->str + reader->seen - late->seen, late->seen);
}

static void expect_boot(void)
{
	terminal_expect(world.serial, GUEST_UP);
	terminal_expect(world.virtio, GUEST_UP);
	terminal_expect(world.virtio, "guest# ");
	world.logged_in = false;
}

/* The guest boots anew, by the button, by itself, and because it was asked to: the fds and the QEMU are the
 * same. */
static void test_boots(void)
{
	Client *c = start();
	guint pid = fixture_pid(world.fixture, world.vm);
	g_autofree char *output = NULL;
	gsize mark = client_mark(c);

	client_do(c, world.vm, VM, "Reset", NULL);
	mark = client_await(c, mark, world.vm, "Event", "(*'RESET', *'host-qmp-system-reset'*");
	expect_boot();

	terminal_type(world.virtio, "reboot -f\n");
	mark = client_await(c, mark + 1, world.vm, "Event", "(*'RESET', *'guest-reset'*");
	expect_boot();

	/* This guest powers off when it is asked: it is started again. */
	client_do(c, world.vm, VM, "Reboot", fixture_no_options());
	mark = client_await(c, mark + 1, world.vm, "StateChanged", "('running', 'stopping', 'user')");
	terminal_expect(world.virtio, "roost-guest: powering off");
	mark = client_await(c, mark + 1, world.vm, "Event", "(*'SHUTDOWN', *'guest-shutdown'*");
	expect_boot();
	client_await_property(c, world.vm, "State", "'running'");
	g_assert_cmpuint(client_count(c, 0, client_sync(c), world.vm, "StateChanged", "(*, 'off', *"), ==, 0);

	output = terminal_run(world.virtio, "echo sti''ll there");
	g_assert_cmpstr(output, ==, "still there\n");
	g_assert_cmpuint(fixture_pid(world.fixture, world.vm), ==, pid);
}

/* A guest that changes what its NIC receives, as often as it can: QEMU tells of it again and again, since it
 * is asked each time, and not as often. */
static void test_receive_filter(void)
{
	Client *c = start();
	gsize mark = client_mark(c);

	g_free(terminal_run(world.virtio,
		"(while :; do ip link set eth0 promisc on; ip link set eth0 promisc off; done) & loop=$!"));
	for (unsigned i = 0; i < 3; i++)
		mark = client_await(c, mark, world.vm, "Event", "(*'NIC_RX_FILTER_CHANGED', *'nic-nic0'*") +
		       1;
	g_free(terminal_run(world.virtio, "kill $loop"));
}

/* The power button; the consoles end with QEMU. */
static void test_shutdown(void)
{
	Client *c = start();
	gsize mark = client_mark(c);
	g_autoptr(GVariant) exit = NULL;
	g_autofree char *text = NULL;

	client_do(c, world.vm, VM, "Shutdown", g_variant_new_parsed("({'Mode': <'acpi'>},)"));
	mark = client_await(c, mark, world.vm, "StateChanged", "('running', 'stopping', 'user')");
	terminal_expect(world.serial, "roost-guest: powering off");
	client_await(c, mark, world.vm, "StateChanged", "('stopping', 'off', 'user')");
	terminal_expect_end(world.serial);
	terminal_expect_end(world.virtio);
	client_assert_property(c, world.vm, "StateReason", "'user'");
	exit = client_get(c, world.vm, VM, "LastExit");
	text = g_variant_print(exit, FALSE);
	if (!g_pattern_match_simple("*'Code': <0>*", text) ||
		!g_pattern_match_simple("*'Reason': <'user'>*", text))
		g_error("%s", text);
}

/* What an agent does first; also while no roostd runs. The port has the name that agents look for. Last: who
 * has not started QEMU does not know how it ended. */
static void test_agent(void)
{
	Client *c = start();
	g_autofree char *name = NULL;
	gsize mark;

	terminal_close(world.virtio);
	client_do(c, world.vm, VM, "Start", g_variant_new_parsed("({'Paused': <true>},)"));
	world.virtio = terminal_open(c, world.vm, "virtio", false);
	client_do(c, world.vm, VM, "Resume", NULL);
	terminal_expect(world.virtio, "guest# ");
	client_assert_property(c, world.vm, "AgentConnected", "false");
	name = terminal_run(world.virtio, "cat /sys/class/virtio-ports/vport0p16/name");
	g_assert_cmpstr(name, ==, "org.qemu.guest_agent.0\n");
	mark = client_mark(c);
	g_free(terminal_run(world.virtio, "exec 7<>/dev/vport0p16"));
	client_await_property(c, world.vm, "AgentConnected", "true");
	client_await(c, mark, world.vm, "Event", "(*'VSERPORT_CHANGE', *'qemu', *'open': <true>*");
	/* Its event may come before the name is taken, and so to nobody. */
	fixture_kill_roostd(world.fixture);
	fixture_start_roostd(world.fixture);
	client_await_property(c, world.vm, "AgentConnected", "true");
	terminal_close(world.virtio);
	world.virtio = terminal_open(c, world.vm, "virtio", false);
	terminal_type(world.virtio, "exec 7>&-\n");
	client_await_property(c, world.vm, "AgentConnected", "false");
	client_do(c, world.vm, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	int status;

	fixture_init(&argc, &argv);
	g_test_add_func("/guest-console/login", test_login);
	g_test_add_func("/guest-console/replay", test_replay);
	g_test_add_func("/guest-console/read-only", test_read_only);
	g_test_add_func("/guest-console/laggard", test_laggard);
	g_test_add_func("/guest-console/boots", test_boots);
	g_test_add_func("/guest-console/receive-filter", test_receive_filter);
	g_test_add_func("/guest-console/shutdown", test_shutdown);
	g_test_add_func("/guest-console/agent", test_agent);
	status = g_test_run();
	terminal_close(world.serial);
	terminal_close(world.virtio);
	g_free(world.vm);
	fixture_free(world.fixture);
	return status;
}
