#include "vm/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "qemu/launch.h"
#include "util/fd.h"

char *unit_name(const char *uuid)
{
	return g_strdup_printf("roost-vm-%s.service", uuid);
}

/* ---- the request ---- */
static UnitRequest *unit_request_new(
	const Operation *op, const VmConfig *config, int fd_consume, int launcher_fd_consume)
{
	UnitRequest *request = g_new0(UnitRequest, 1);

	ref_init(&request->ref);
	request->item.kind = INBOX_UNIT;
	request->unit = unit_name(op->vm->uuid);
	g_strlcpy(request->uuid, op->vm->uuid, sizeof request->uuid);
	request->config = vm_config_ref((VmConfig *)config);
	request->deadline_usec = op->deadline_usec;
	request->operation_id = op->entry.id;
	request->socket_fd = fd_consume;
	request->launcher_fd = launcher_fd_consume;
	leaf_init(&request->mutex);
	return request;
}

UnitRequest *unit_request_ref(UnitRequest *request)
{
	ref_get(&request->ref);
	return request;
}

UnitRequest *unit_request_unref(UnitRequest *request)
{
	if (request && ref_put(&request->ref)) {
		fd_close(&request->socket_fd);
		fd_close(&request->launcher_fd);
		vm_config_unref(request->config);
		leaf_done(&request->mutex);
		g_free(request->error_text);
		g_free(request->unit);
		g_free(request);
	}
	return NULL;
}

void unit_request_cancel(UnitRequest *request)
{
	atomic_store(&request->cancelled, true);
	shutdown(request->socket_fd, SHUT_RDWR);
}

void unit_request_fail(UnitRequest *request, VmError code, char *text_consume)
{
	g_autofree char *text = text_consume;

	leaf_lock(&request->mutex);
	if (!request->error_text) {
		request->error_code = code;
		request->error_text = g_steal_pointer(&text);
	}
	leaf_unlock(&request->mutex);
	shutdown(request->socket_fd, SHUT_RDWR);
}

/* ---- in the mail ---- */
/* Shows it to Kill and CancelOperation, and asks for them, in one hold. False: one of them came first. */
static bool show(Operation *op, UnitRequest *request)
{
	VmMail *mail = &op->vm->mail;
	bool wanted;

	leaf_lock(&mail->mutex);
	g_assert(!mail->launch);
	wanted = mail->kill_before < op->entry.id && !atomic_load(&op->entry.cancelled);
	if (wanted)
		mail->launch = unit_request_ref(request);
	request->n_exits = mail->n_exits;
	leaf_unlock(&mail->mutex);
	return wanted;
}

static void hide(Operation *op)
{
	VmMail *mail = &op->vm->mail;
	UnitRequest *request;

	leaf_lock(&mail->mutex);
	request = g_steal_pointer(&mail->launch);
	leaf_unlock(&mail->mutex);
	unit_request_unref(request);
}

/* ---- the worker ---- */
static void set_cancelled_error(Operation *op, GError **error)
{
	bool killed;

	leaf_lock(&op->vm->mail.mutex);
	killed = op->vm->mail.kill_before > op->entry.id;
	leaf_unlock(&op->vm->mail.mutex);
	g_set_error(error, VM_ERROR, VM_ERROR_CANCELLED, "%s: cancelled%s", op->type->member,
		killed ? " by Kill" : "");
}

static void set_launch_error(Operation *op, const UnitRequest *request, int r, GError **error)
{
	switch (r) {
	case -EPIPE:
		g_set_error(error, VM_ERROR, VM_ERROR_QEMU_FAILED,
			"%s: the unit %s ended before it became QEMU; its journal says why", op->type->member,
			request->unit);
		break;
	case -ETIMEDOUT:
		g_set_error(error, VM_ERROR, VM_ERROR_TIMEOUT, "%s: the unit %s was not started in time",
			op->type->member, request->unit);
		break;
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
	case -EAGAIN:
	case -ETOOMANYREFS:
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED, "%s: the unit %s: %s", op->type->member,
			request->unit, g_strerror(-r));
		break;
	default:
		g_set_error(error, VM_ERROR, VM_ERROR_QEMU_FAILED, "%s: the unit %s: %s", op->type->member,
			request->unit, g_strerror(-r));
	}
}

/* What the bus thread said, or what became of the socket. */
static void set_error(Operation *op, UnitRequest *request, int r, GError **error)
{
	g_autofree char *text = NULL;
	VmError code;

	leaf_lock(&request->mutex);
	text = g_strdup(request->error_text);
	code = request->error_code;
	leaf_unlock(&request->mutex);
	if (atomic_load(&request->cancelled))
		set_cancelled_error(op, error);
	else if (text)
		g_set_error(error, VM_ERROR, code, "%s: %s", op->type->member, text);
	else
		set_launch_error(op, request, r, error);
}

bool unit_launch(Operation *op, const VmConfig *config, char **argv, const GArray *fds, int output_fd,
	QemuProcess **ret_process, GError **error)
{
	Engine *engine = op->vm->engine;
	uid_t uid = engine->options.has_qemu_user ? QEMU_LAUNCH_OTHER : geteuid();
	g_autoptr(UnitRequest) request = NULL;
	int ours, launchers, r;

	r = qemu_launch_pair(&ours, &launchers);
	if (r < 0) {
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED, "%s: socketpair: %s", op->type->member,
			g_strerror(-r));
		return false;
	}
	request = unit_request_new(op, config, ours, launchers);
	if (!show(op, request)) {
		set_cancelled_error(op, error);
		return false;
	}
	unit_request_ref(request);
	inbox_post(&engine->inbox, &request->item);
	r = qemu_launch(ours, uid, argv, (const int *)(const void *)fds->data, fds->len, output_fd,
		op->deadline_usec, ret_process);
	hide(op);
	if (r >= 0) {
		atomic_store(&request->launched, true);
	} else {
		set_error(op, request, r, error);
		/* The bus thread may not have got to it yet, or have it in a line. */
		unit_request_cancel(request);
	}
	return r >= 0;
}

/* ---- afterwards ---- */
void unit_file_exit_status(Vm *vm, uint64_t n_exits, int code, int signal)
{
	EventRecord record = vm_own_record(EVENT_EXIT_STATUS);
	g_autofree char *data = g_strdup_printf("{\"exit\":%" G_GUINT64_FORMAT ",\"%s\":%d}", n_exits,
		signal != 0 ? "signal" : "code", signal != 0 ? signal : code);

	record.data = data;
	record.data_size = strlen(data);
	vm_file_event(vm, &record);
	vm_list(vm);
}
