#include "world.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"

/* ---- patience: real time, whatever the engine's clock says ---- */
uint64_t world_patience(void)
{
	return (uint64_t)g_get_monotonic_time() + WORLD_PATIENCE_USEC;
}

void world_check_patience(uint64_t until_usec, const char *where, const char *condition)
{
	if ((uint64_t)g_get_monotonic_time() >= until_usec)
		g_error("%s: waited in vain for: %s", where, condition);
}

void world_on_worker(void (*func)(void *data), void *data)
{
	pthread_t thread;

	g_assert_cmpint(thread_start_joinable(&thread, "test-worker", &role_worker, func, data), ==, 0);
	thread_join(thread);
}

/* ---- the bus thread's part ---- */
static Guest *guest_of(World *world, const Vm *vm)
{
	for (unsigned i = 0; i < world->guests->len; i++)
		if (((Guest *)world->guests->pdata[i])->vm == vm)
			return world->guests->pdata[i];
	g_assert_not_reached();
}

static void note(Guest *guest, const char *text)
{
	if (guest->log->len > 0)
		g_string_append_c(guest->log, ' ');
	g_string_append(guest->log, text);
}

static void note_change(Guest *guest, const StateChange *change)
{
	g_autofree char *text = g_strdup_printf("%s>%s(%s)", vm_state_to_string(change->from),
		vm_state_to_string(change->to), vm_reason_to_string(change->reason));

	g_assert_cmpint(change->from, !=, change->to);
	note(guest, text);
}

static void note_event(Guest *guest, const EventEntry *entry) ON_BUS_THREAD
{
	g_autoptr(GVariant) data = vm_event_data(entry);
	GString *text = g_string_new(vm_event_name(entry));

	g_assert_true(g_variant_is_of_type(data, G_VARIANT_TYPE_VARDICT));
	g_assert_false(event_row(entry->id)->internal);
	if (entry->count > 1)
		g_string_append_printf(text, "*%u", entry->count);
	if (entry->origin != EVENT_ORIGIN_QEMU)
		g_string_append_printf(text, "@%s", event_origin_to_string(entry->origin));
	else
		guest->n_qemu_events += entry->count;
	note(guest, text->str);
	g_string_free(text, TRUE);
}

/* One batch: the view, all state changes, the events in order. */
static void emit(Guest *guest, bool clear_posted) ON_BUS_THREAD
{
	Outbox outbox;

	vm_take_outbox(guest->vm, clear_posted, &outbox);
	if (outbox.view) {
		g_assert_true(!guest->view || guest->view->version < outbox.view->version);
		vm_view_unref(guest->view);
		guest->view = vm_view_ref(outbox.view);
	}
	for (unsigned i = 0; i < outbox.n_changes; i++)
		note_change(guest, &outbox.changes[i]);
	/* A client that hears of a state reads it. */
	if (outbox.n_changes > 0)
		g_assert_cmpint(guest->view->state, ==, outbox.changes[outbox.n_changes - 1].to);
	for (const EventEntry *entry = outbox.events.head; entry; entry = entry->next)
		note_event(guest, entry);
	outbox_clear(&outbox);
}

const char *world_error_name(VmError error)
{
	static const char *const names[VM_ERROR_MAX] = {
		[VM_ERROR_FAILED] = "Failed",
		[VM_ERROR_INVALID_ARGS] = "InvalidArgs",
		[VM_ERROR_UNKNOWN_OBJECT] = "UnknownObject",
		[VM_ERROR_ACCESS_DENIED] = "AccessDenied",
		[VM_ERROR_LIMIT_REACHED] = "LimitReached",
		[VM_ERROR_INVALID_STATE] = "InvalidState",
		[VM_ERROR_NOT_SUPPORTED] = "NotSupported",
		[VM_ERROR_INVALID_CONFIG] = "InvalidConfig",
		[VM_ERROR_VM_EXISTS] = "VMExists",
		[VM_ERROR_STORAGE_FAILED] = "StorageFailed",
		[VM_ERROR_NO_SUCH_VM] = "NoSuchVM",
		[VM_ERROR_NO_SUCH_DEVICE] = "NoSuchDevice",
		[VM_ERROR_QEMU_FAILED] = "QemuFailed",
		[VM_ERROR_UNRESPONSIVE] = "Unresponsive",
		[VM_ERROR_TIMEOUT] = "Timeout",
		[VM_ERROR_BUSY] = "Busy",
		[VM_ERROR_CANCELLED] = "Cancelled",
		[VM_ERROR_CONFLICT] = "Conflict",
	};

	g_assert_true((unsigned)error < VM_ERROR_MAX && names[error]);
	return names[error];
}

static Call *call_of(World *world, uint64_t id)
{
	for (unsigned i = world->calls->len; i > 0; i--)
		if (((Call *)world->calls->pdata[i - 1])->id == id)
			return world->calls->pdata[i - 1];
	g_assert_not_reached();
}

static void take_operation(World *world, Operation *op_consume) ON_BUS_THREAD
{
	g_autoptr(Operation) op = op_consume;
	Guest *guest = guest_of(world, op->vm);
	Call *call = call_of(world, op->entry.id);
	g_autofree char *text = g_strdup_printf(
		"%s:%s", op->type->member, op->error ? world_error_name((VmError)op->error->code) : "ok");

	/* What its VM shows comes first, whether it was kept back or not. */
	emit(guest, false);
	g_assert_cmpuint(call->n_replies, ==, 0);
	g_assert_false(call->gone);
	g_assert_true(!op->error || (op->error->domain == VM_ERROR && !op->result));
	call->n_replies++;
	call->error = g_steal_pointer(&op->error);
	call->result = g_steal_pointer(&op->result);
	call->fd = g_steal_fd(&op->fd);
	note(guest, text);
}

void world_let_go(Guest *guest)
{
	guest->emits_nothing = false;
	if (!guest->is_kept_back)
		return;
	guest->is_kept_back = false;
	emit(guest, true);
	vm_unref(guest->vm);
}

void world_take_view(Guest *guest)
{
	emit(guest, false);
}

static void take_post(World *world, Vm *vm) ON_BUS_THREAD
{
	Guest *guest = guest_of(world, vm);

	world->n_posts++;
	g_assert_false(guest->is_kept_back);
	guest->is_kept_back = true;
	/* One that is kept back stays posted. */
	if (!guest->emits_nothing)
		world_let_go(guest);
}

void world_turn(World *world, int timeout_msec)
{
	struct pollfd p = {.fd = world->engine->inbox.bell, .events = POLLIN};
	InboxItem *item;

	poll(&p, 1, timeout_msec);
	inbox_clear_bell(&world->engine->inbox);
	while ((item = inbox_take(&world->engine->inbox, false))) {
		switch ((InboxKind)item->kind) {
		case INBOX_POST:
			take_post(world, vm_from_post_item(item));
			break;
		case INBOX_OPERATION:
			take_operation(world, operation_from_item(item));
			break;
		case INBOX_UNIT:
			/* There is no systemd here. */
			g_assert_not_reached();
		case INBOX_HOST:
			host_facts_free((HostFacts *)item);
			break;
		}
	}
}

/* ---- calls ---- */
static void call_free(gpointer data)
{
	Call *call = data;

	g_clear_error(&call->error);
	g_clear_pointer(&call->result, g_variant_unref);
	fd_close(&call->fd);
	g_free(call);
}

bool world_try_call(
	Guest *guest, const OperationType *type, OperationArgs *args, Call **ret_call, GError **error)
{
	g_autoptr(Operation) op = operation_new(type, guest->vm, args);
	Call *call;

	if (!operation_submit(op, error))
		return false;
	call = g_new0(Call, 1);
	call->id = op->entry.id;
	call->type = type;
	call->vm = guest->vm;
	call->fd = -1;
	g_ptr_array_add(guest->world->calls, call);
	*ret_call = call;
	return true;
}

Call *world_call_with(Guest *guest, const OperationType *type, OperationArgs args)
{
	g_autoptr(GError) error = NULL;
	Call *call = NULL;

	world_try_call(guest, type, &args, &call, &error);
	g_assert_no_error(error);
	return call;
}

Call *world_call(Guest *guest, const OperationType *type)
{
	return world_call_with(guest, type, (OperationArgs){0});
}

void world_wait(World *world, Call *call)
{
	WORLD_UNTIL(world, call->n_replies > 0);
}

void world_expect(World *world, Call *call, VmError error)
{
	world_wait(world, call);
	if (error == VM_ERROR_MAX)
		g_assert_no_error(call->error);
	else
		g_assert_error(call->error, VM_ERROR, (int)error);
}

void world_expect_ok(World *world, Call *call)
{
	world_expect(world, call, VM_ERROR_MAX);
}

/* ---- birth and end ---- */
World *world_new(const WorldOptions *options)
{
	World *world = g_new0(World, 1);
	EngineOptions engine_options = {
		.qemu_binary = options && options->qemu_binary ? options->qemu_binary : "/bin/false",
		.deadline_scale = options && options->deadline_scale > 0 ? options->deadline_scale : 1,
		.max_workers = options && options->max_workers > 0 ? options->max_workers : 64,
		.reserved_workers = options ? options->reserved_workers : 0,
	};
	g_autofree char *state = NULL, *runtime = NULL, *complaint = NULL;

	signal(SIGPIPE, SIG_IGN);
	world->folder = g_dir_make_tmp("test-engine-XXXXXX", NULL);
	state = g_build_filename(world->folder, "state", NULL);
	runtime = g_build_filename(world->folder, "run", NULL);
	g_assert_cmpint(state_dir_open(state, &world->state_dir, &complaint), ==, 0);
	g_assert_cmpint(runtime_dir_open(runtime, &world->runtime_dir, &complaint), ==, 0);
	engine_options.state_dir = world->state_dir;
	engine_options.runtime_dir = world->runtime_dir;
	g_assert_cmpint(engine_new(&engine_options, &world->engine), ==, 0);
	g_assert_cmpint(engine_start(world->engine), ==, 0);
	world->guests = g_ptr_array_new();
	world->calls = g_ptr_array_new_with_free_func(call_free);
	return world;
}

static bool everybody_is_off(const World *world)
{
	for (unsigned i = 0; i < world->guests->len; i++)
		if (((Guest *)world->guests->pdata[i])->view->pid != 0)
			return false;
	return true;
}

static bool nobody_works(World *world)
{
	unsigned n_threads, n_busy;

	workers_count(world->engine->workers, &n_threads, &n_busy);
	return n_busy == 0;
}

static void remove_tree(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *below = g_build_filename(path, name, NULL);

		remove_tree(below);
	}
	g_assert_cmpint(remove(path), ==, 0);
}

static void guest_free(Guest *guest)
{
	vm_view_unref(guest->view);
	vm_unref(guest->vm);
	qemu_process_unref(guest->process);
	fd_close(&guest->peer);
	fd_close(&guest->listener);
	fd_close(&guest->output);
	fd_close(&guest->control);
	for (unsigned i = 0; guest->consoles && guest->consoles[i] != -2; i++)
		fd_close(&guest->consoles[i]);
	g_free(guest->consoles);
	g_string_free(guest->heard, TRUE);
	g_string_free(guest->log, TRUE);
	g_free(guest);
}

void world_free(World *world)
{
	clock_set_fake(0, 0);
	for (unsigned i = 0; i < world->guests->len; i++) {
		Guest *guest = world->guests->pdata[i];

		world_let_go(guest);
		vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
		guest_hang_up(guest);
	}
	WORLD_UNTIL(world, everybody_is_off(world));
	WORLD_UNTIL(world, nobody_works(world));
	engine_stop(world->engine);
	/* The event thread's last act may have been to give somebody work. */
	WORLD_UNTIL(world, nobody_works(world));
	world_turn(world, 0);
	for (unsigned i = 0; i < world->guests->len; i++)
		engine_drop_links(world->engine, ((Guest *)world->guests->pdata[i])->vm);
	for (unsigned i = 0; i < world->calls->len; i++)
		g_assert_cmpuint(((Call *)world->calls->pdata[i])->n_replies, <=, 1);
	g_ptr_array_unref(world->calls);
	/* The last reference to each VM is the guest's: the engine has kept none. */
	engine_free(world->engine);
	for (unsigned i = 0; i < world->guests->len; i++) {
		g_assert_cmpuint(atomic_load(&((Guest *)world->guests->pdata[i])->vm->ref.count), ==, 1);
		guest_free(world->guests->pdata[i]);
	}
	g_ptr_array_unref(world->guests);
	state_dir_free(world->state_dir);
	runtime_dir_free(world->runtime_dir);
	remove_tree(world->folder);
	g_free(world->folder);
	g_free(world);
}

/* ---- a gate ---- */
void gate_init(Gate *gate)
{
	*gate = (Gate){0};
	leaf_init(&gate->mutex);
	cond_init(&gate->cond);
}

void gate_done(Gate *gate)
{
	cond_done(&gate->cond);
	leaf_done(&gate->mutex);
}

void gate_pass(Gate *gate)
{
	leaf_lock(&gate->mutex);
	gate->n_entered++;
	cond_broadcast(&gate->cond);
	while (!gate->open)
		cond_wait_until(&gate->cond, &gate->mutex, UINT64_MAX);
	gate->n_left++;
	cond_broadcast(&gate->cond);
	leaf_unlock(&gate->mutex);
}

void gate_open(Gate *gate)
{
	leaf_lock(&gate->mutex);
	gate->open = true;
	cond_broadcast(&gate->cond);
	leaf_unlock(&gate->mutex);
}

void gate_wait(Gate *gate, unsigned n_entered, unsigned n_left)
{
	uint64_t until_usec = world_patience();

	leaf_lock(&gate->mutex);
	while (gate->n_entered < n_entered || gate->n_left < n_left)
		g_assert_true(cond_wait_until(&gate->cond, &gate->mutex, until_usec));
	leaf_unlock(&gate->mutex);
}
