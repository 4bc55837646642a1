#pragma once
/*
 * A VM's QEMU in a unit of systemd's. vm/ knows no D-Bus: the worker of a Start makes a request, posts it to
 * the bus inbox, and listens at its end of the socket that becomes the standard input of the unit's launcher
 * (qemu/launch.h). The bus thread asks systemd; it has nothing to say if that goes well. If it does not, it
 * writes why into the request and shuts the socket down, which wakes the worker. So do Kill and
 * CancelOperation: the request stands in the VM's mail as long as it is under way.
 */
#include "vm/operation.h"

struct UnitRequest {
	Ref ref;
	InboxItem item; /* INBOX_UNIT */

	/* Immutable. */
	char *unit; /* its name */
	char uuid[37];
	VmConfig *config; /* a reference */
	uint64_t deadline_usec;
	uint64_t operation_id;
	uint64_t n_exits; /* of the VM's QEMUs, before this one */
	int socket_fd;    /* the worker's end */

	int launcher_fd; /* the other; the bus thread's once it is posted */

	atomic_bool cancelled; /* nobody wants it, or wants it any more */
	atomic_bool launched;  /* QEMU has come of it */

	Leaf mutex;
	VmError error_code; /* mutex */
	char *error_text;   /* mutex; NULL: none */
};

static inline UnitRequest *unit_request_from_item(InboxItem *item)
{
	return (UnitRequest *)((char *)item - offsetof(UnitRequest, item));
}
UnitRequest *unit_request_ref(UnitRequest *request);
UnitRequest *unit_request_unref(UnitRequest *request);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(UnitRequest, unit_request_unref)

/* The name of a VM's unit. The caller frees. */
char *unit_name(const char *uuid);

/* Any thread; a leaf may be held: nobody wants it any more. Wakes the worker. */
void unit_request_cancel(UnitRequest *request);
/* The bus thread: it comes to nothing. Wakes the worker. `text` is taken over. */
void unit_request_fail(UnitRequest *request, VmError code, char *text_consume) ON_BUS_THREAD;

/* A worker, no lock held: has QEMU started in the VM's unit, as qemu_launch() does. False: it is not, and
 * will not be. */
bool unit_launch(Operation *op, const VmConfig *config, char **argv, const GArray *fds, int output_fd,
	QemuProcess **ret_process, GError **error);

/* The bus thread, when systemd has said how the QEMU ended that was this VM's `n_exits`th. */
void unit_file_exit_status(Vm *vm, uint64_t n_exits, int code, int signal) ON_BUS_THREAD;
