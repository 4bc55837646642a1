/*
 * The event thread's side: floods, hung QEMUs, lost connections, consoles, and QEMUs that an earlier service
 * started. tests/engine/ has the world; test-engine.c the way of one method.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "vm/console.h"
#include "vm/link.h"
#include "world.h"

static World *world;
static Guest *guest;

static void begin(void) ON_BUS_THREAD
{
	world = world_new(NULL);
	guest = guest_new(world, "vm", NULL);
	guest_boot(guest);
}

static void end(void) ON_BUS_THREAD
{
	world_free(world);
}

/* ---- many events ---- */
static unsigned outbox_size(void)
{
	unsigned n;

	leaf_lock(&guest->vm->mail.mutex);
	n = guest->vm->mail.out.events.n;
	leaf_unlock(&guest->vm->mail.mutex);
	return n;
}

static bool is_in_outbox(EventId id)
{
	bool found;

	leaf_lock(&guest->vm->mail.mutex);
	found = guest->vm->mail.out.events.last_of[id] != NULL;
	leaf_unlock(&guest->vm->mail.mutex);
	return found;
}

static void test_kept_back(void) ON_BUS_THREAD
{
	unsigned n_posts;
	Call *call;
	uint64_t id;

	begin();
	n_posts = world->n_posts;
	guest->emits_nothing = true;
	guest_event(guest, "BALLOON_CHANGE", "{\"actual\": 1}");
	WORLD_UNTIL(world, outbox_size() == 1);
	guest_event(guest, "STOP", NULL);
	guest_event(guest, "RESUME", NULL);
	guest_event(guest, "BALLOON_CHANGE", "{\"actual\": 2}");
	WORLD_UNTIL(world, outbox_size() == 4);
	/* It is posted once, however much there is to tell; the post comes a moment behind the mail. */
	WORLD_UNTIL(world, world->n_posts == n_posts + 1);
	g_assert_true(guest_log_is(guest, ""));
	/* A reply does not wait for the limit, and neither does what comes before it. */
	call = world_call(guest, &operation_pause);
	id = guest_expect(guest, "stop");
	guest_event(guest, "STOP", NULL);
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	guest_expect_log(
		guest, "running>paused(user) BALLOON_CHANGE STOP RESUME BALLOON_CHANGE STOP Pause:ok");
	g_assert_cmpuint(world->n_posts, ==, n_posts + 1);
	end();
}

#define FLOOD 20000

static void send_flood(void *data)
{
	static const char *const lines[] = {
		"{\"event\": \"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}}",
		"{\"event\": \"RTC_CHANGE\", \"data\": {\"offset\": 1}}", "{\"event\": \"SOMETHING_NEW\"}",
		"{\"event\": \"STOP\"}", "{\"event\": \"RESUME\"}"};

	for (unsigned i = 0; i < FLOOD; i++)
		guest_say(data, lines[i % G_N_ELEMENTS(lines)]);
}

static void test_flood(void) ON_BUS_THREAD
{
	uint64_t before, id;
	pthread_t thread;

	begin();
	before = guest->n_qemu_events;
	guest->emits_nothing = true;
	g_assert_cmpint(thread_start_joinable(&thread, "flood", &role_worker, send_flood, guest), ==, 0);
	/* Nobody emits: what waits is bounded, and what was merged is looked at again. */
	id = guest_expect(guest, "query-status");
	thread_join(thread);
	guest_return(guest, id, "{\"status\": \"running\"}");
	guest_event(guest, "DEVICE_DELETED", "{\"path\": \"/the/end\"}");
	WORLD_UNTIL(world, is_in_outbox(EVENT_DEVICE_DELETED));
	g_assert_cmpuint(outbox_size(), <=, EVENT_SET_MAX + EVENT_ID_MAX);
	/* Then everything comes, and each one counts. */
	world_let_go(guest);
	g_assert_cmpuint(guest->n_qemu_events - before, ==, FLOOD + 1);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_RUNNING);
	end();
}

static void test_flood_during_wait(void) ON_BUS_THREAD
{
	uint64_t before, id;
	pthread_t thread;
	Call *call;

	begin();
	before = guest->n_qemu_events;
	call = world_call(guest, &operation_reset);
	id = guest_expect(guest, "system_reset");
	g_assert_cmpint(thread_start_joinable(&thread, "flood", &role_worker, send_flood, guest), ==, 0);
	WORLD_UNTIL(world, guest->n_qemu_events - before >= FLOOD);
	thread_join(thread);
	g_assert_cmpuint(call->n_replies, ==, 0);
	guest_event(guest, "RESET", NULL);
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	g_assert_cmpuint(guest->n_qemu_events - before, ==, FLOOD + 1);
	end();
}

/* ---- hung ---- */
/* Has the event thread set its timer anew: it was set before the clock was the test's. */
static void wake_timer(void)
{
	leaf_lock(&guest->vm->mail.mutex);
	guest->vm->mail.listed_for_io = true;
	leaf_unlock(&guest->vm->mail.mutex);
	vm_list(guest->vm);
}

static void test_probe(void) ON_BUS_THREAD
{
	uint64_t id, start_usec = USEC_PER_SEC;

	/* A clock of the test's own, long past in real time: timers are always due, and look at it. */
	world = world_new(NULL);
	guest = guest_new(world, "vm", NULL);
	guest_boot(guest);
	clock_set_fake(start_usec, 0);
	guest_event(guest, "RTC_CHANGE", "{\"offset\": 1}");
	guest_expect_log(guest, "RTC_CHANGE");
	clock_set_fake(start_usec + ENGINE_PROBE_IDLE_USEC + 1, 0);
	/* It said nothing for long: it is asked. */
	wake_timer();
	id = guest_expect(guest, "query-status");
	g_assert_true(guest->view->responsive);
	clock_set_fake(start_usec + ENGINE_PROBE_IDLE_USEC + ENGINE_PROBE_ANSWER_USEC + 2, 0);
	WORLD_UNTIL(world, !guest->view->responsive);
	/* It is asked no second time; any answer will do. */
	guest_expect_silence(guest);
	guest_return(guest, id, "{\"status\": \"running\"}");
	WORLD_UNTIL(world, guest->view->responsive);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_RUNNING);
	end();
}

static void test_probe_answered(void) ON_BUS_THREAD
{
	uint64_t id;

	world = world_new(NULL);
	guest = guest_new(world, "vm", NULL);
	guest_boot(guest);
	clock_set_fake(USEC_PER_SEC, 0);
	guest_event(guest, "RTC_CHANGE", "{\"offset\": 1}");
	guest_expect_log(guest, "RTC_CHANGE");
	clock_set_fake(USEC_PER_SEC + ENGINE_PROBE_IDLE_USEC + 1, 0);
	wake_timer();
	id = guest_expect(guest, "query-status");
	/* What it finds different is told. */
	guest_return(guest, id, "{\"status\": \"io-error\"}");
	guest_expect_log(guest, "running>paused(io-error) STOP@resync");
	clock_set_fake(USEC_PER_SEC + ENGINE_PROBE_IDLE_USEC + ENGINE_PROBE_ANSWER_USEC + 2, 0);
	guest_event(guest, "RTC_CHANGE", "{\"offset\": 2}");
	guest_expect_log(guest, "RTC_CHANGE");
	g_assert_true(guest->view->responsive);
	end();
}

/* ---- the connection ---- */
static void test_reconnect(void) ON_BUS_THREAD
{
	Call *call;

	begin();
	call = world_call(guest, &operation_pause);
	guest_expect(guest, "stop");
	guest_hang_up(guest);
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	WORLD_UNTIL(world, !guest->view->responsive);
	world_expect(world, world_call(guest, &operation_pause), VM_ERROR_UNRESPONSIVE);
	guest_accept(guest);
	guest_handshake(guest);
	guest_return(guest, guest_expect(guest, "query-status"), "{\"status\": \"paused\"}");
	WORLD_UNTIL(world, guest->view->responsive);
	guest_expect_log(guest, "Pause:QemuFailed Pause:Unresponsive running>paused(resync) STOP@resync");
	/* And everything is as before. */
	call = world_call(guest, &operation_resume);
	guest_return(guest, guest_expect(guest, "cont"), "{}");
	world_expect_ok(world, call);
	end();
}

static void test_reconnect_refused(void) ON_BUS_THREAD
{
	g_autofree char *path = NULL;

	begin();
	path = g_build_filename(world->folder, "vm", NULL);
	g_assert_cmpint(unlink(path), ==, 0);
	guest_hang_up(guest);
	WORLD_UNTIL(world, !guest->view->responsive);
	/* It tries again until there is somebody. */
	fd_close(&guest->listener);
	guest->listener = fd_listen_unix(path);
	guest_accept(guest);
	guest_handshake(guest);
	guest_return(guest, guest_expect(guest, "query-status"), "{\"status\": \"running\"}");
	WORLD_UNTIL(world, guest->view->responsive);
	end();
}

static void test_exit_while_disconnected(void) ON_BUS_THREAD
{
	begin();
	guest_hang_up(guest);
	fd_close(&guest->listener);
	WORLD_UNTIL(world, !guest->view->responsive);
	guest_die(guest, SIGTERM);
	guest_expect_log(guest, "running>crashed(qemu-exit) EXIT@roost");
	g_assert_true(guest->view->responsive);
	end();
}

static void test_kill_while_disconnected(void) ON_BUS_THREAD
{
	begin();
	guest_hang_up(guest);
	WORLD_UNTIL(world, !guest->view->responsive);
	g_assert_true(vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED));
	guest_expect_log(guest, "running>off(killed) EXIT@roost");
	end();
}

#define CROWD (ENGINE_RESYNC_MAX + 6)

static unsigned n_asked(Guest **guests, uint64_t *ids)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CROWD; i++) {
		g_autofree char *command = ids[i] == 0 ? guest_hear(guests[i], &ids[i]) : NULL;

		if (command)
			g_assert_cmpstr(command, ==, "query-status");
		n += ids[i] != 0;
	}
	return n;
}

static unsigned n_responsive(Guest **guests)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CROWD; i++)
		n += guests[i]->view->responsive;
	return n;
}

static void test_resync_places(void) ON_BUS_THREAD
{
	Guest *guests[CROWD];
	uint64_t ids[CROWD] = {0};

	world = world_new(NULL);
	for (unsigned i = 0; i < CROWD; i++) {
		g_autofree char *name = g_strdup_printf("vm%u", i);

		guests[i] = guest_new(world, name, NULL);
		guest_boot(guests[i]);
	}
	for (unsigned i = 0; i < CROWD; i++)
		guest_hang_up(guests[i]);
	for (unsigned i = 0; i < CROWD; i++) {
		guest_accept(guests[i]);
		guest_handshake(guests[i]);
	}
	WORLD_UNTIL(world, n_asked(guests, ids) == ENGINE_RESYNC_MAX);
	for (unsigned turns = 0; turns < 10; turns++)
		world_turn(world, 1);
	g_assert_cmpuint(n_asked(guests, ids), ==, ENGINE_RESYNC_MAX);
	/* Each that is done makes room for the next. */
	for (unsigned i = 0; i < CROWD; i++)
		if (ids[i] != 0)
			guest_return(guests[i], ids[i], "{\"status\": \"running\"}");
	WORLD_UNTIL(world, n_asked(guests, ids) == CROWD);
	for (unsigned i = 0; i < CROWD; i++)
		if (!guests[i]->view->responsive)
			guest_return(guests[i], ids[i], "{\"status\": \"running\"}");
	WORLD_UNTIL(world, n_responsive(guests) == CROWD);
	end();
}

/* ---- consoles ---- */
static void two_consoles(GVariantDict *dict)
{
	GVariantBuilder builder;
	GVariantDict one, two;

	g_variant_dict_init(&one, NULL);
	g_variant_dict_insert(&one, "Name", "s", "first");
	g_variant_dict_init(&two, NULL);
	g_variant_dict_insert(&two, "Name", "s", "second");
	g_variant_builder_init(&builder, G_VARIANT_TYPE("aa{sv}"));
	g_variant_builder_add_value(&builder, g_variant_dict_end(&one));
	g_variant_builder_add_value(&builder, g_variant_dict_end(&two));
	g_variant_dict_insert_value(dict, "Consoles", g_variant_builder_end(&builder));
}

static void begin_consoles(void) ON_BUS_THREAD
{
	world = world_new(NULL);
	guest = guest_new(world, "vm", two_consoles);
	guest_boot(guest);
}

static int open_console(const char *name, bool read_only) ON_BUS_THREAD
{
	Call *call = world_call_with(guest, &operation_open_console,
		(OperationArgs){.open_console = {.console = g_strdup(name), .read_only = read_only}});

	world_expect_ok(world, call);
	g_assert_cmpint(call->fd, >=, 0);
	return g_steal_fd(&call->fd);
}

static void print(unsigned console, const char *text)
{
	g_assert_cmpint(fd_write_all(guest->consoles[console], text, strlen(text)), ==, 0);
}

/* Reads until it has come to end so. The caller frees what came. */
static char *read_until(int fd, const char *tail)
{
	uint64_t until_usec = world_patience();
	GString *text = g_string_new(NULL);

	while (!g_str_has_suffix(text->str, tail)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char buffer[8192];
		ssize_t n;

		world_check_patience(until_usec, G_STRLOC, tail);
		if (poll(&p, 1, 10) == 0)
			continue;
		n = read(fd, buffer, sizeof buffer);
		g_assert_cmpint(n, >, 0);
		g_string_append_len(text, buffer, n);
	}
	return g_string_free(text, FALSE);
}

static void expect_text(int fd, const char *text)
{
	g_autofree char *got = read_until(fd, text);

	g_assert_cmpstr(got, ==, text);
}

static void test_console(void) ON_BUS_THREAD
{
	autofd int first = -1, second = -1, other = -1;
	Call *call;

	begin_consoles();
	/* What was printed before anybody looked is shown first. */
	print(0, "booting\n");
	first = open_console("", false);
	expect_text(first, "booting\n");
	print(0, "login: ");
	expect_text(first, "login: ");
	second = open_console("first", true);
	expect_text(second, "booting\nlogin: ");
	other = open_console("second", false);
	print(1, "elsewhere");
	expect_text(other, "elsewhere");

	/* Typing goes to the guest; not that of one who may only read. */
	g_assert_cmpint(fd_write_all(second, "no", 2), ==, 0);
	g_assert_cmpint(fd_write_all(first, "root\n", 5), ==, 0);
	expect_text(guest->consoles[0], "root\n");

	call = world_call_with(guest, &operation_open_console,
		(OperationArgs){.open_console = {.console = g_strdup("third")}});
	world_expect(world, call, VM_ERROR_NO_SUCH_DEVICE);
	end();
}

static void test_console_of_a_hung_guest(void) ON_BUS_THREAD
{
	autofd int fd = -1;

	begin_consoles();
	guest_hang_up(guest);
	WORLD_UNTIL(world, !guest->view->responsive);
	fd = open_console("", false);
	print(0, "oops");
	expect_text(fd, "oops");
	end();
}

static void test_console_at_the_exit(void) ON_BUS_THREAD
{
	autofd int fd = -1;
	char byte;

	begin_consoles();
	fd = open_console("", false);
	print(0, "power down");
	guest_exit(guest, 0);
	/* The last words come, and then the end. */
	expect_text(fd, "power down");
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_cmpint(read(fd, &byte, 1), ==, 0);
	world_expect(world,
		world_call_with(guest, &operation_open_console,
			(OperationArgs){.open_console = {.console = g_strdup("")}}),
		VM_ERROR_INVALID_STATE);
	end();
}

#define LINE_SIZE 64
#define N_LINES   20000

static void print_much(void *data)
{
	for (unsigned i = 0; i < N_LINES; i++) {
		char line[LINE_SIZE + 1];

		snprintf(line, sizeof line, "%-*u\n", LINE_SIZE - 1, i);
		print(0, line);
	}
	print(0, "done");
}

static void test_console_laggard(void) ON_BUS_THREAD
{
	autofd int laggard = -1, diligent = -1;
	g_autofree char *all = NULL, *rest = NULL;
	pthread_t thread;
	Call *call;

	begin_consoles();
	laggard = open_console("", true);
	diligent = open_console("", true);
	g_assert_cmpint(thread_start_joinable(&thread, "printer", &role_worker, print_much, NULL), ==, 0);
	all = read_until(diligent, "done");
	thread_join(thread);
	/* It held up nobody: the guest printed everything, and who read got the end of it at least. */
	g_assert_cmpuint(strlen(all), >, 0);
	call = world_call(guest, &operation_reset);
	guest_return(guest, guest_expect(guest, "system_reset"), "{}");
	guest_event(guest, "RESET", NULL);
	world_expect_ok(world, call);
	/* The laggard has lost something, and is at the end when it reads. */
	rest = read_until(laggard, "done");
	g_assert_cmpuint(strlen(rest), <, (size_t)N_LINES * LINE_SIZE);
	end();
}

static unsigned n_console_readers(void)
{
	unsigned n;

	leaf_lock(&guest->vm->mail.mutex);
	n = guest->vm->mail.n_console_readers;
	leaf_unlock(&guest->vm->mail.mutex);
	return n;
}

static void test_console_limit(void) ON_BUS_THREAD
{
	int fds[CONSOLE_READERS_MAX];
	OperationArgs args = {0};

	begin_consoles();
	for (unsigned i = 0; i < CONSOLE_READERS_MAX; i++)
		fds[i] = open_console(i % 2 == 0 ? "" : "second", false);
	args.open_console.console = g_strdup("");
	world_expect(world, world_call_with(guest, &operation_open_console, args), VM_ERROR_LIMIT_REACHED);
	/* One that leaves makes room. */
	fd_close(&fds[5]);
	WORLD_UNTIL(world, n_console_readers() == CONSOLE_READERS_MAX - 1);
	fds[5] = open_console("", false);
	print(0, "x");
	for (unsigned i = 0; i < CONSOLE_READERS_MAX; i++) {
		if (i % 2 == 0)
			expect_text(fds[i], "x");
		fd_close(&fds[i]);
	}
	WORLD_UNTIL(world, n_console_readers() == 0);
	end();
}

/* ---- a QEMU that an earlier service started ---- */
static void test_adopt(void) ON_BUS_THREAD
{
	ProcessRecord record = {.epoch = 17, .accelerator = VM_ACCELERATOR_TCG};
	g_autofree char *folder = NULL, *path = NULL;
	autofd int null = -1;
	Call *call;

	world = world_new(NULL);
	guest = guest_new(world, "vm", NULL);
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	guest->process = guest_spawn(guest, null);
	g_assert_cmpint(runtime_dir_make_vm(world->runtime_dir, guest->vm->uuid, &folder), ==, 0);
	path = g_build_filename(folder, "qmp", NULL);
	fd_close(&guest->listener);
	guest->listener = fd_listen_unix(path);
	record.pid = guest->process->pid;
	record.start_time = guest->process->start_time;
	g_assert_cmpint(runtime_dir_write_process(world->runtime_dir, guest->vm->uuid, &record), ==, 0);

	g_assert_cmpint(vm_adopt_process(guest->vm), ==, 1);
	guest_accept(guest);
	world_take_view(guest);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_RUNNING);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_RESYNC);
	g_assert_false(guest->view->responsive);
	g_assert_cmpuint(guest->view->pid, ==, (uint32_t)guest->process->pid);
	/* Not twice. */
	world_expect(world, world_call(guest, &operation_start), VM_ERROR_INVALID_STATE);
	world_expect(world, world_call(guest, &operation_pause), VM_ERROR_UNRESPONSIVE);

	guest_handshake(guest);
	guest_return(guest, guest_expect(guest, "query-status"), "{\"status\": \"paused\"}");
	WORLD_UNTIL(world, guest->view->responsive);
	guest_expect_log(guest, "Start:InvalidState Pause:Unresponsive running>paused(resync) STOP@resync");
	call = world_call(guest, &operation_resume);
	guest_return(guest, guest_expect(guest, "cont"), "{}");
	world_expect_ok(world, call);
	end();
}

static void test_adopt_none(void) ON_BUS_THREAD
{
	ProcessRecord record = {.pid = getpid(), .start_time = 1};
	g_autofree char *folder = NULL;

	world = world_new(NULL);
	guest = guest_new(world, "vm", NULL);
	g_assert_cmpint(vm_adopt_process(guest->vm), ==, 0);
	/* The number is another process's by now: it ended while nobody was there to see. */
	g_assert_cmpint(runtime_dir_make_vm(world->runtime_dir, guest->vm->uuid, &folder), ==, 0);
	g_assert_cmpint(runtime_dir_write_process(world->runtime_dir, guest->vm->uuid, &record), ==, 0);
	g_assert_cmpint(vm_adopt_process(guest->vm), ==, 0);
	world_take_view(guest);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_CRASHED);
	g_assert_true(guest->view->last_exit.known);
	WORLD_UNTIL(world, !g_file_test(folder, G_FILE_TEST_EXISTS));
	end();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_bus);
	g_test_add_func("/engine-link/kept-back", test_kept_back);
	g_test_add_func("/engine-link/flood/nobody-emits", test_flood);
	g_test_add_func("/engine-link/flood/during-wait", test_flood_during_wait);
	g_test_add_func("/engine-link/probe/hung", test_probe);
	g_test_add_func("/engine-link/probe/answered", test_probe_answered);
	g_test_add_func("/engine-link/reconnect/at-once", test_reconnect);
	g_test_add_func("/engine-link/reconnect/refused", test_reconnect_refused);
	g_test_add_func("/engine-link/reconnect/exit", test_exit_while_disconnected);
	g_test_add_func("/engine-link/reconnect/kill", test_kill_while_disconnected);
	g_test_add_func("/engine-link/reconnect/places", test_resync_places);
	g_test_add_func("/engine-link/console/readers", test_console);
	g_test_add_func("/engine-link/console/hung-guest", test_console_of_a_hung_guest);
	g_test_add_func("/engine-link/console/exit", test_console_at_the_exit);
	g_test_add_func("/engine-link/console/laggard", test_console_laggard);
	g_test_add_func("/engine-link/console/limit", test_console_limit);
	g_test_add_func("/engine-link/adopt/running", test_adopt);
	g_test_add_func("/engine-link/adopt/none", test_adopt_none);
	return g_test_run();
}
