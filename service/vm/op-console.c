/* OpenConsole: a socket pair, one end for the caller, the other for the event thread. Works on a hung QEMU,
 * too. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "util/fd.h"
#include "util/text.h"
#include "vm/console.h"
#include "vm/operation.h"

static bool find_console(Operation *op, const VmConfig *config, unsigned *ret_index, GError **error)
{
	const char *name = op->args.open_console.console;
	g_autofree char *quoted = text_quote(name);

	for (unsigned i = 0; i < config->n_consoles; i++)
		if (name[0] == '\0' || strcmp(config->consoles[i].name, name) == 0) {
			*ret_index = i;
			return true;
		}
	if (config->n_consoles == 0)
		g_set_error(error, VM_ERROR, VM_ERROR_NO_SUCH_DEVICE,
			"OpenConsole: the VM '%s' has no console", config->name);
	else
		g_set_error(error, VM_ERROR, VM_ERROR_NO_SUCH_DEVICE, "name: the VM '%s' has no console %s",
			config->name, quoted);
	return false;
}

static bool run_open_console(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;
	ConsoleRequest *request;
	unsigned index;
	bool full;
	int fds[2];

	if (!vm_state_is_active(vm->state) || !vm->running_config) {
		operation_refuse_state(op, "a running QEMU", error);
		return false;
	}
	if (!find_console(op, vm->running_config, &index, error))
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED, "OpenConsole: no more sockets: %s",
			g_strerror(errno));
		return false;
	}
	request = g_new0(ConsoleRequest, 1);
	request->index = index;
	request->fd = fds[0];
	request->read_only = op->args.open_console.read_only;

	leaf_lock(&vm->mail.mutex);
	full = vm->mail.n_console_readers >= CONSOLE_READERS_MAX;
	if (!full) {
		vm->mail.n_console_readers++;
		request->next = vm->mail.consoles;
		vm->mail.consoles = request;
		vm->mail.listed_for_io = true;
	}
	leaf_unlock(&vm->mail.mutex);
	if (full) {
		console_request_free(request);
		fd_close(&fds[1]);
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED,
			"OpenConsole: %u consoles of the VM '%s' are open already", CONSOLE_READERS_MAX,
			vm->config->name);
		return false;
	}
	vm_list(vm);
	op->fd = fds[1];
	op->result = g_variant_ref_sink(g_variant_new("(h)", 0));
	return true;
}

static void clear_open_console(OperationArgs *args)
{
	g_free(args->open_console.console);
}

const OperationType operation_open_console = {
	"OpenConsole", VM_LANE_QMP, DEADLINE_QUERY, false, run_open_console, clear_open_console};
