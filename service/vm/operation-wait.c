/* What operations call while they run: commands to QEMU, system calls, the commit, undo. operation.h has the
 * contracts. */
#include "util/clock.h"
#include "util/fd.h"
#include "util/text.h"
#include "vm/operation.h"

static void cancelled(Operation *op, GError **error)
{
	g_set_error(error, VM_ERROR, VM_ERROR_CANCELLED, "%s: cancelled", op->type->member);
}

/* How long a command may take: what is left of the operation's time; undo steps have a little of their own.
 */
static uint64_t wait_deadline_usec(const Operation *op)
{
	return op->undoing ? op->undo_deadline_usec : op->deadline_usec;
}

static void set_exit_error(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	const VmLastExit *last = &op->vm->last_exit;
	g_autoptr(GString) text = g_string_new(NULL);

	g_string_append_printf(text, "%s: QEMU exited", op->type->member);
	if (last->known && last->has_signal)
		g_string_append_printf(text, " by signal %d", last->signal);
	else if (last->known && last->has_code)
		g_string_append_printf(text, " with code %d", last->code);
	if (last->known && last->message && last->message[0] != '\0')
		g_string_append_printf(text, ": %s", last->message);
	g_set_error_literal(error, VM_ERROR, VM_ERROR_QEMU_FAILED, text->str);
}

static void set_closed_error(Operation *op, GError **error)
{
	VmMail *mail = &op->vm->mail;
	g_autofree char *why = NULL;

	leaf_lock(&mail->mutex);
	why = g_strdup(mail->closed_why);
	leaf_unlock(&mail->mutex);
	g_set_error(error, VM_ERROR, VM_ERROR_QEMU_FAILED, "%s: the connection to QEMU was lost: %s",
		op->type->member, why ? why : "unknown");
}

static void set_wait_error(Operation *op, WaitResult result, const char *command, GError **error)
	REQUIRES(op->vm->lock)
{
	g_autofree char *quoted = text_quote(command);

	switch (result) {
	case WAIT_OK:
		g_assert_not_reached();
	case WAIT_EXIT:
		set_exit_error(op, error);
		break;
	case WAIT_NO_QEMU:
		if (op->vm->pid == 0)
			set_exit_error(op, error);
		else
			g_set_error(error, VM_ERROR, VM_ERROR_UNRESPONSIVE, "%s: QEMU can't be reached",
				op->type->member);
		break;
	case WAIT_CLOSED:
		set_closed_error(op, error);
		break;
	case WAIT_CANCELLED:
		cancelled(op, error);
		break;
	case WAIT_KILLED:
		g_set_error(error, VM_ERROR, VM_ERROR_CANCELLED, "%s: cancelled by Kill", op->type->member);
		break;
	case WAIT_TIMEOUT:
		g_set_error(error, VM_ERROR, VM_ERROR_TIMEOUT,
			"%s: QEMU did not answer %s in time; it may still do it", op->type->member, quoted);
		break;
	}
}

static bool run_waiter(Operation *op, Waiter *waiter, const char *line, const char *command,
	QmpReply **ret_reply, GError **error) REQUIRES(op->vm->lock)
{
	g_autoptr(QmpReply) reply = NULL;
	WaitResult result;

	cond_init(&waiter->cond);
	waiter->operation_id = op->entry.id;
	waiter->cancellable = !op->undoing;
	result = vm_wait(op->vm, op->type->lane, waiter, line, wait_deadline_usec(op), &op->entry);
	cond_done(&waiter->cond);
	reply = g_steal_pointer(&waiter->reply);
	if (result != WAIT_OK) {
		set_wait_error(op, result, command, error);
		return false;
	}
	if (reply->failed) {
		g_autofree char *quoted = text_quote(command);

		g_set_error(error, VM_ERROR, VM_ERROR_QEMU_FAILED, "%s: QEMU refuses %s: %s",
			op->type->member, quoted,
			reply->error_desc[0] != '\0' ? reply->error_desc : reply->error_class);
		return false;
	}
	if (ret_reply)
		*ret_reply = g_steal_pointer(&reply);
	return true;
}

bool operation_execute_line(Operation *op, const char *line, uint64_t command_id, const char *command,
	QmpReply **ret_reply, GError **error)
{
	Waiter waiter = {.command_id = command_id, .reply_suffices = true};

	return run_waiter(op, &waiter, line, command, ret_reply, error);
}

bool operation_execute(
	Operation *op, const char *command, GVariant *arguments, QmpReply **ret_reply, GError **error)
{
	Waiter waiter = {.command_id = engine_next_command_id()};
	g_autofree char *line = qmp_command_format(command, arguments, waiter.command_id);

	return run_waiter(op, &waiter, line, command, ret_reply, error);
}

bool operation_execute_fd(Operation *op, const char *command, GVariant *arguments, int fd_consume,
	QmpReply **ret_reply, GError **error)
{
	autofd int fd = fd_consume;
	Waiter waiter = {.command_id = engine_next_command_id(), .fd = &fd};
	g_autofree char *line = qmp_command_format(command, arguments, waiter.command_id);

	return run_waiter(op, &waiter, line, command, ret_reply, error);
}

bool operation_execute_and_wait(Operation *op, const char *command, GVariant *arguments, EventId event_id,
	const char *event_key, GError **error)
{
	Waiter waiter = {
		.command_id = engine_next_command_id(),
		.want_event = true,
		.event_id = event_id,
		.event_key = event_key,
	};
	g_autofree char *line = qmp_command_format(command, arguments, waiter.command_id);

	g_assert(event_row(event_id)->wakes);
	return run_waiter(op, &waiter, line, command, NULL, error);
}

bool operation_wait_exit(Operation *op)
{
	Waiter waiter = {.exit_only = true, .operation_id = op->entry.id, .cancellable = !op->undoing};
	WaitResult result;

	cond_init(&waiter.cond);
	result = vm_wait(op->vm, op->type->lane, &waiter, NULL, wait_deadline_usec(op), &op->entry);
	cond_done(&waiter.cond);
	return result == WAIT_EXIT || result == WAIT_KILLED || op->vm->pid == 0;
}

void operation_block(Operation *op)
{
	lane_block(&op->vm->lanes[op->type->lane], &op->entry);
	vm_unlock(op->vm);
	thread_assert_unlocked(__func__);
}

bool operation_unblock(Operation *op, GError **error)
{
	bool kept = lane_unblock(&op->vm->lanes[op->type->lane], &op->entry);

	vm_lock(op->vm);
	if (!kept) {
		op->lost = true;
		g_set_error(error, VM_ERROR, VM_ERROR_TIMEOUT, "%s: a system call took too long",
			op->type->member);
		return false;
	}
	if (atomic_load(&op->entry.cancelled) && !op->undoing) {
		cancelled(op, error);
		return false;
	}
	if (op->type->needs_qemu && !op->undoing && operation_is_before_kill(op)) {
		g_set_error(error, VM_ERROR, VM_ERROR_CANCELLED, "%s: cancelled by Kill", op->type->member);
		return false;
	}
	return true;
}

void operation_release(Operation *op)
{
	vm_unlock(op->vm);
	thread_assert_unlocked(__func__);
}

void operation_retake(Operation *op)
{
	vm_lock(op->vm);
}

bool operation_commit(Operation *op, GError **error)
{
	if (lane_commit(&op->vm->lanes[op->type->lane], &op->entry))
		return true;
	cancelled(op, error);
	return false;
}

void operation_push_undo(Operation *op, UndoFunc func)
{
	gpointer pointer;

	*(UndoFunc *)&pointer = func;
	g_ptr_array_add(op->undo, pointer);
}

void operation_refuse_state(Operation *op, const char *needs, GError **error)
{
	g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE, "%s: the VM '%s' is %s; this needs %s",
		op->type->member, op->vm->config->name, vm_state_to_string(op->vm->state), needs);
}
