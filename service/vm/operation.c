#include "vm/operation.h"

#include <errno.h>
#include <string.h>

#include "util/clock.h"
#include "util/log.h"

static atomic_uint_fast64_t last_operation_id;

uint64_t operation_next_id(void)
{
	return atomic_fetch_add(&last_operation_id, 1) + 1;
}

static Operation *make(const OperationType *type, Vm *vm, OperationArgs *args_consume)
{
	Operation *op = g_new0(Operation, 1);
	uint64_t length_usec = engine_deadline_usec(vm->engine, type->deadline);

	ref_init(&op->ref);
	op->item.kind = INBOX_OPERATION;
	op->type = type;
	op->vm = vm_ref(vm);
	op->fd = -1;
	op->deadline_usec = clock_monotonic_usec() + length_usec;
	op->entry.id = operation_next_id();
	op->entry.member = type->member;
	op->entry.since_usec = clock_realtime_usec();
	op->entry.deadline_usec = op->entry.since_usec + length_usec;
	if (args_consume) {
		op->args = *args_consume;
		memset(args_consume, 0, sizeof *args_consume);
	}
	op->undo = g_ptr_array_new();
	return op;
}

Operation *operation_new(const OperationType *type, Vm *vm, OperationArgs *args_consume)
{
	return make(type, vm, args_consume);
}

Operation *operation_ref(Operation *op)
{
	ref_get(&op->ref);
	return op;
}

Operation *operation_unref(Operation *op)
{
	if (op && ref_put(&op->ref)) {
		if (op->type->clear_args)
			op->type->clear_args(&op->args);
		g_clear_pointer(&op->result, g_variant_unref);
		g_clear_error(&op->error);
		if (op->fd >= 0)
			close(op->fd);
		g_ptr_array_unref(op->undo);
		vm_unref(op->vm);
		g_free(op);
	}
	return NULL;
}

/* ---- running ---- */
bool operation_is_before_kill(const Operation *op)
{
	Vm *vm = op->vm;
	bool is_before;

	leaf_lock(&vm->mail.mutex);
	is_before = vm->mail.kill_before > op->entry.id;
	leaf_unlock(&vm->mail.mutex);
	return is_before;
}

static bool may_begin(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;

	if (vm->gone)
		g_set_error(error, VM_ERROR, VM_ERROR_UNKNOWN_OBJECT, "%s: the VM is no longer defined",
			vm->config->name);
	else if (op->type->needs_qemu && operation_is_before_kill(op))
		g_set_error(error, VM_ERROR, VM_ERROR_CANCELLED, "%s: cancelled by Kill", op->type->member);
	else if (clock_monotonic_usec() >= op->deadline_usec)
		g_set_error(error, VM_ERROR, VM_ERROR_TIMEOUT, "%s: its turn did not come in time",
			op->type->member);
	else if (op->type->needs_qemu && !op->type->makes_qemu && !vm->responsive)
		g_set_error(error, VM_ERROR, VM_ERROR_UNRESPONSIVE,
			"%s: QEMU does not answer since %.1f s (Kill would end it)", vm->config->name,
			(double)(clock_realtime_usec() - vm->unresponsive_since_usec) / USEC_PER_SEC);
	else
		return true;
	return false;
}

static void undo(Operation *op) REQUIRES(op->vm->lock)
{
	op->undoing = true;
	op->undo_deadline_usec =
		clock_monotonic_usec() + engine_scaled_usec(op->vm->engine, ENGINE_UNDO_USEC);
	while (op->undo->len > 0) {
		UndoFunc func;

		*(gpointer *)&func = g_ptr_array_steal_index(op->undo, op->undo->len - 1);
		func(op);
	}
}

static void run_operation(Operation *op)
{
	vm_lock(op->vm);
	if (!may_begin(op, &op->error) || !op->type->run(op, &op->error)) {
		if (!op->lost)
			undo(op);
		if (!op->lost && op->type->failed)
			op->type->failed(op);
		if (!op->error)
			g_set_error(&op->error, VM_ERROR, VM_ERROR_FAILED, "%s: failed", op->type->member);
	}
	/* One that lost its place was answered by the bus thread. */
	if (!op->lost) {
		vm_drain(op->vm);
		operation_ref(op);
		inbox_post(&op->vm->engine->inbox, &op->item);
	}
	vm_unlock(op->vm);
}

bool operation_run_own(const OperationType *type, Vm *vm, GError **error)
{
	g_autoptr(Operation) op = make(type, vm, NULL);
	bool done;

	op->own = true;
	vm_lock(op->vm);
	done = may_begin(op, error) && type->run(op, error);
	if (!done)
		undo(op);
	vm_unlock(op->vm);
	return done;
}

/* ---- the thread of a lane ---- */
typedef struct LaneRun {
	Vm *vm; /* a reference */
	VmLane lane;
	LaneEntry *entry; /* current */
} LaneRun;

static void run_entry(LaneRun *run) ON_WORKER
{
	Lane *lane = &run->vm->lanes[run->lane];

	if (run->entry == &lane->internal)
		vm_run_internal(run->vm, lane_taken(lane));
	else
		run_operation(operation_from_entry(run->entry));
}

/* Gives the place to the next. Internal work needs a slot; one that was held for this entry is kept or given
 * back. */
static LaneEntry *next_entry(LaneRun *run)
{
	Lane *lane = &run->vm->lanes[run->lane];
	LaneEntry *done = run->entry, *next;
	bool slot;

	slot = run->lane == VM_LANE_QMP && (done == &lane->internal || internal_slot_take(run->vm, false));
	next = lane_next(lane, done, slot);
	if (slot && next != &lane->internal)
		internal_slot_give(run->vm->engine);
	if (done != &lane->internal)
		operation_unref(operation_from_entry(done));
	return next;
}

static void lane_main(void *data)
{
	LaneRun *run = data;

	assert_worker(__func__);
	while (run->entry) {
		run_entry(run);
		run->entry = next_entry(run);
	}
	/* What was wanted while no slot was free. */
	if (run->lane == VM_LANE_QMP && lane_has_wanted(&run->vm->lanes[run->lane]))
		vm_start_internal(run->vm);
	vm_unref(run->vm);
	g_free(run);
}

static int start_lane(Vm *vm, VmLane lane, LaneEntry *entry, WorkerClass class)
{
	LaneRun *run = g_new0(LaneRun, 1);
	int r;

	run->vm = vm_ref(vm);
	run->lane = lane;
	run->entry = entry;
	r = workers_run(vm->engine->workers, class, lane_main, run);
	if (r < 0) {
		vm_unref(run->vm);
		g_free(run);
	}
	return r;
}

/* An operation has become current without a worker: it gets one, or fails, and so its successors. */
static void start_or_fail(Vm *vm, VmLane lane, LaneEntry *entry)
{
	while (entry && start_lane(vm, lane, entry, WORKER_FAVOURED) < 0) {
		Operation *op = operation_from_entry(entry);

		g_set_error(&op->error, VM_ERROR, VM_ERROR_LIMIT_REACHED,
			"%s: all threads of the service are taken by calls that wait for their QEMUs",
			op->type->member);
		entry = lane_next(&vm->lanes[lane], entry, false);
		/* The lane's reference goes along. */
		inbox_post(&vm->engine->inbox, &op->item);
	}
}

bool operation_run_internal_lane(Vm *vm)
{
	Lane *lane = &vm->lanes[VM_LANE_QMP];
	int r = start_lane(vm, VM_LANE_QMP, &lane->internal, WORKER_INTERNAL);

	if (r >= 0)
		return true;
	/* The host has no thread to give. The work is wanted still, and done behind the VM's next operation.
	 */
	log_warning("VM %s: no thread for internal work: %s", vm->uuid, g_strerror(-r));
	start_or_fail(vm, VM_LANE_QMP, lane_put_back(lane));
	return false;
}

static WorkerClass worker_class(Vm *vm)
{
	uint64_t last_usec = atomic_load(&vm->last_answer_usec);

	return last_usec != 0 && clock_monotonic_usec() - last_usec < USEC_PER_SEC ? WORKER_FAVOURED
										   : WORKER_NORMAL;
}

/* ---- the bus thread ---- */
static void refuse_busy(Vm *vm, const Operation *op, GError **error)
{
	LanePicture picture;

	lane_look(&vm->lanes[op->type->lane], &picture);
	g_set_error(error, VM_ERROR, VM_ERROR_BUSY,
		"%s: %u calls wait already, for %s (operation %" G_GUINT64_FORMAT ")", op->type->member,
		picture.n_queued, picture.member ? picture.member : "nothing", picture.current_id);
}

bool operation_submit(Operation *op, GError **error)
{
	Vm *vm = op->vm;
	Lane *lane = &vm->lanes[op->type->lane];
	LaneEntry *next;
	int r;

	operation_ref(op);
	r = lane_submit(lane, &op->entry, LANE_QUEUE_MAX);
	if (r == 1) {
		r = start_lane(vm, op->type->lane, &op->entry, worker_class(vm));
		if (r == 0)
			return true;
		/* Only the bus thread submits, so nothing can stand behind it. */
		next = lane_next(lane, &op->entry, false);
		g_assert(!next);
		if (lane_has_wanted(lane))
			vm_start_internal(vm);
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED,
			"%s: all threads of the service are taken by calls that wait for their QEMUs",
			op->type->member);
	} else if (r == 0) {
		return true;
	} else {
		refuse_busy(vm, op, error);
	}
	operation_unref(op);
	return false;
}

bool operation_take_back(Vm *vm, VmLane lane, uint64_t id)
{
	LaneEntry *entry = lane_remove(&vm->lanes[lane], id);

	if (entry)
		operation_unref(operation_from_entry(entry));
	return entry != NULL;
}

OperationExpiry operation_expire(Vm *vm, VmLane lane, uint64_t id)
{
	LaneEntry *removed, *next;

	switch (lane_expire(&vm->lanes[lane], id, &removed, &next)) {
	case LANE_EXPIRY_NONE:
		return OPERATION_EXPIRY_NONE;
	case LANE_EXPIRY_KEPT:
		return OPERATION_EXPIRY_LATE;
	case LANE_EXPIRY_QUEUED:
		operation_unref(operation_from_entry(removed));
		return OPERATION_EXPIRY_GONE;
	case LANE_EXPIRY_LOST:
		start_or_fail(vm, lane, next);
		if (lane == VM_LANE_QMP && lane_has_wanted(&vm->lanes[lane]))
			vm_start_internal(vm);
		return OPERATION_EXPIRY_GONE;
	}
	g_assert_not_reached();
}

int operation_cancel(Vm *vm, VmLane lane, uint64_t id)
{
	uint64_t current_id = 0;
	int r = lane_cancel(&vm->lanes[lane], id, &current_id);

	if (r == 0)
		vm_wake_cancelled(vm, lane, current_id);
	return r;
}
