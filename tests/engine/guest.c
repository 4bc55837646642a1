/* A guest: its VM, its process, and its side of the monitor. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/json.h"
#include "vm/link.h"
#include "world.h"

Gate *world_start_gate;

/* ---- a start without QEMU ---- */
static Guest *starting; /* the bus thread sets it before the call, the worker reads it */

static void undo_start(Operation *op) NO_THREAD_SAFETY_ANALYSIS
{
	Vm *vm = op->vm;

	if (vm->pid != 0) {
		vm->hints.off_reason = VM_REASON_START_FAILED;
		vm_end_process(vm);
		g_assert_true(operation_wait_exit(op));
	}
	if (vm->state == VM_STATE_STARTING)
		vm_set_state(vm, VM_STATE_OFF, VM_REASON_START_FAILED, true);
}

/* A process that ends with the code that it is told, or by a signal. */
QemuProcess *guest_spawn(Guest *guest, int output_fd)
{
	g_autofree char *script = NULL;
	char *argv[] = {(char *)"/bin/sh", (char *)"-c", NULL, NULL};
	QemuProcess *process = NULL;
	int control[2];

	g_assert_cmpint(pipe2(control, O_CLOEXEC), ==, 0);
	script = g_strdup_printf("read code </proc/self/fd/%d; exit \"$code\"", control[0]);
	argv[2] = script;
	g_assert_cmpint(qemu_process_spawn(argv, &control[0], 1, output_fd, &process), ==, 0);
	fd_close(&control[0]);
	guest->control = control[1];
	return process;
}

/* Both ends of everything. */
static VmHandoff *make_handoff(Guest *guest)
{
	unsigned n = guest->vm->config->n_consoles;
	VmHandoff *handoff;
	int output[2];

	g_assert_cmpint(pipe2(output, O_CLOEXEC), ==, 0);
	handoff = vm_handoff_new(guest_spawn(guest, output[1]));
	handoff->output_fd = output[0];
	guest->output = output[1];
	guest->process = qemu_process_ref(handoff->process);
	handoff->qmp_path = g_build_filename(guest->world->folder, guest->vm->config->name, NULL);
	handoff->qmp_fd = fd_connect_unix(handoff->qmp_path);
	g_assert_cmpint(handoff->qmp_fd, >=, 0);
	handoff->has_agent = guest->vm->config->agent;
	handoff->has_nics = guest->vm->config->n_nics > 0;
	handoff->n_consoles = n;
	handoff->console_fds = g_new0(int, n + 1);
	handoff->console_paths = g_new0(char *, n + 1);
	guest->consoles = g_new0(int, n + 1);
	for (unsigned i = 0; i < n; i++) {
		int fds[2];

		g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
		handoff->console_fds[i] = fds[0];
		handoff->console_paths[i] = g_strdup("");
		guest->consoles[i] = fds[1];
	}
	guest->consoles[n] = -2;
	return handoff;
}

static bool run_start(Operation *op, GError **error) NO_THREAD_SAFETY_ANALYSIS
{
	Vm *vm = op->vm;
	VmHandoff *handoff;
	g_autofree char *path = NULL;
	ProcessRecord record = {0};

	g_assert_false(vm_state_is_active(vm->state));
	vm_set_state(vm, VM_STATE_STARTING, VM_REASON_USER, true);
	operation_push_undo(op, undo_start);
	operation_release(op);
	handoff = make_handoff(starting);
	record.pid = handoff->process->pid;
	record.start_time = handoff->process->start_time;
	g_assert_cmpint(runtime_dir_make_vm(vm->engine->options.runtime_dir, vm->uuid, &path), ==, 0);
	g_assert_cmpint(runtime_dir_write_process(vm->engine->options.runtime_dir, vm->uuid, &record), ==, 0);
	if (world_start_gate)
		gate_pass(world_start_gate);
	operation_retake(op);
	vm->epoch++;
	vm->started_id = op->entry.id;
	vm->pid = (uint32_t)handoff->process->pid;
	vm->running_config = vm_config_ref(vm->config);
	vm->dirty = true;
	vm_show_process(vm, handoff->process, op->entry.id);
	vm_hand_over(vm, handoff);
	if (!operation_execute(op, "cont", NULL, NULL, error) || !operation_commit(op, error))
		return false;
	if (vm->state == VM_STATE_STARTING)
		vm_set_state(vm, VM_STATE_RUNNING, VM_REASON_USER, true);
	return true;
}

const OperationType world_start = {"TestStart", VM_LANE_QMP, DEADLINE_START, true, run_start, NULL};

/* ---- birth ---- */
static VmConfig *make_config(const char *name, void (*extra)(GVariantDict *dict))
{
	g_autoptr(GVariant) variant = NULL;
	g_autofree char *complaint = NULL;
	VmConfig *config = NULL;
	GVariantDict dict;

	g_variant_dict_init(&dict, NULL);
	g_variant_dict_insert(&dict, "Name", "s", name);
	g_variant_dict_insert(&dict, "Memory", "t", (guint64)64 << 20);
	if (extra)
		extra(&dict);
	variant = g_variant_ref_sink(g_variant_dict_end(&dict));
	vm_config_new_from_variant(variant, &config, &complaint);
	g_assert_cmpstr(complaint, ==, NULL);
	return config;
}

Guest *guest_new(World *world, const char *name, void (*extra)(GVariantDict *dict))
{
	g_autofree char *path = g_build_filename(world->folder, name, NULL);
	Guest *guest = g_new0(Guest, 1);
	Outbox outbox;

	guest->world = world;
	guest->listener = fd_listen_unix(path);
	g_assert_cmpint(guest->listener, >=, 0);
	guest->peer = guest->output = guest->control = -1;
	guest->heard = g_string_new(NULL);
	guest->log = g_string_new(NULL);
	guest->vm = vm_new(world->engine, make_config(name, extra), 0, 1);
	vm_take_outbox(guest->vm, false, &outbox);
	guest->view = vm_view_ref(outbox.view);
	outbox_clear(&outbox);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	g_ptr_array_add(world->guests, guest);
	return guest;
}

static bool has_connection(const Guest *guest)
{
	struct pollfd p = {.fd = guest->listener, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

void guest_accept(Guest *guest)
{
	WORLD_UNTIL(guest->world, has_connection(guest));
	guest_hang_up(guest);
	guest->peer = accept4(guest->listener, NULL, NULL, SOCK_CLOEXEC);
	g_assert_cmpint(guest->peer, >=, 0);
}

void guest_handshake(Guest *guest)
{
	guest_say(guest, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 7}}, "
			 "\"capabilities\": [\"oob\"]}}");
	guest_return(guest, guest_expect(guest, "qmp_capabilities"), "{}");
}

/* What an earlier run left is put away by the bus thread: no worker has it any more. */
static void clear_earlier(Guest *guest)
{
	qemu_process_unref(g_steal_pointer(&guest->process));
	fd_close(&guest->output);
	fd_close(&guest->control);
	for (unsigned i = 0; guest->consoles && guest->consoles[i] != -2; i++)
		fd_close(&guest->consoles[i]);
	g_clear_pointer(&guest->consoles, g_free);
	starting = guest;
}

Call *guest_start(Guest *guest)
{
	clear_earlier(guest);
	return world_call(guest, &world_start);
}

bool guest_is_at_rest(const Guest *guest)
{
	LanePicture picture;

	lane_look(&guest->vm->lanes[VM_LANE_QMP], &picture);
	return !picture.busy;
}

void guest_boot(Guest *guest)
{
	Call *call = guest_start(guest);
	uint64_t id;

	guest_accept(guest);
	guest_handshake(guest);
	id = guest_expect(guest, "cont");
	guest_event(guest, "RESUME", NULL);
	guest_return(guest, id, "{}");
	world_expect_ok(guest->world, call);
	guest_expect_log(guest, "off>starting(user) starting>running(user) RESUME TestStart:ok");
	g_assert_cmpint(guest->view->state, ==, VM_STATE_RUNNING);
	WORLD_UNTIL(guest->world, guest_is_at_rest(guest));
}

/* ---- QEMU's words ---- */
void guest_say(Guest *guest, const char *line)
{
	g_autofree char *text = g_strconcat(line, "\r\n", NULL);

	g_assert_cmpint(fd_write_all(guest->peer, text, strlen(text)), ==, 0);
}

void guest_event(Guest *guest, const char *name, const char *data)
{
	uint64_t now_usec = clock_realtime_usec();
	g_autofree char *line =
		g_strdup_printf("{\"timestamp\": {\"seconds\": %" G_GUINT64_FORMAT
				", \"microseconds\": %" G_GUINT64_FORMAT "}, \"event\": \"%s\"%s%s}",
			now_usec / G_USEC_PER_SEC, now_usec % G_USEC_PER_SEC, name,
			data ? ", \"data\": " : "", data ? data : "");

	guest_say(guest, line);
}

void guest_return(Guest *guest, uint64_t id, const char *value)
{
	g_autofree char *line = g_strdup_printf("{\"return\": %s, \"id\": %" G_GUINT64_FORMAT "}", value, id);

	guest_say(guest, line);
}

void guest_fail(Guest *guest, uint64_t id, const char *desc)
{
	g_autofree char *line = g_strdup_printf(
		"{\"id\": %" G_GUINT64_FORMAT ", \"error\": {\"class\": \"GenericError\", \"desc\": \"%s\"}}",
		id, desc);

	guest_say(guest, line);
}

static void read_peer(Guest *guest)
{
	char buffer[4096];
	ssize_t n;

	while (guest->peer >= 0 && (n = recv(guest->peer, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
		g_string_append_len(guest->heard, buffer, n);
}

char *guest_hear(Guest *guest, uint64_t *ret_id)
{
	g_autoptr(JsonNode) node = NULL;
	JsonObject *object;
	char *end;

	read_peer(guest);
	end = strchr(guest->heard->str, '\n');
	if (!end)
		return NULL;
	g_assert_cmpint(
		json_parse(guest->heard->str, (size_t)(end - guest->heard->str), 1 << 20, 32, &node), ==, 0);
	g_string_erase(guest->heard, 0, end + 1 - guest->heard->str);
	object = json_node_get_object(node);
	*ret_id = (uint64_t)json_object_get_int_member(object, "id");
	return g_strdup(json_object_get_string_member(object, "execute"));
}

uint64_t guest_expect(Guest *guest, const char *command)
{
	g_autofree char *heard = NULL;
	uint64_t id = 0;

	WORLD_UNTIL(guest->world, (heard = guest_hear(guest, &id)));
	g_assert_cmpstr(heard, ==, command);
	/* What the engine showed before it sent this has been emitted. */
	world_turn(guest->world, 0);
	return id;
}

void guest_expect_silence(Guest *guest)
{
	read_peer(guest);
	g_assert_cmpstr(guest->heard->str, ==, "");
}

void guest_hang_up(Guest *guest)
{
	fd_close(&guest->peer);
	g_string_truncate(guest->heard, 0);
}

void guest_die(Guest *guest, int signal)
{
	guest_hang_up(guest);
	fd_close(&guest->output);
	g_assert_cmpint(qemu_process_signal(guest->process, signal), ==, 0);
}

void guest_exit(Guest *guest, int code)
{
	g_autofree char *text = g_strdup_printf("%d\n", code);

	guest_hang_up(guest);
	fd_close(&guest->output);
	g_assert_cmpint(fd_write_all(guest->control, text, strlen(text)), ==, 0);
}

/* ---- the log ---- */
bool guest_log_is(const Guest *guest, const char *expected)
{
	return strcmp(guest->log->str, expected) == 0;
}

bool guest_log_has(const Guest *guest, const char *part)
{
	return strstr(guest->log->str, part) != NULL;
}

void guest_expect_log(Guest *guest, const char *expected)
{
	uint64_t until_usec = world_patience();

	/* Something may be on its way still; what is too much shows at once. */
	while (!guest_log_is(guest, expected) && strlen(guest->log->str) < strlen(expected)) {
		world_check_patience(until_usec, expected, guest->log->str);
		world_turn(guest->world, 2);
	}
	g_assert_cmpstr(guest->log->str, ==, expected);
	g_string_truncate(guest->log, 0);
}
