/*
 * OpenDisplay, Screenshot, SendKeys: for a VM that has a display.
 *
 * What QEMU shows comes through fds that are passed to it over QMP: a viewer's connection (getfd,
 * add_client), and the file that a screenshot is drawn into (add-fd, screendump into the fd set). So QEMU
 * listens to nobody and needs no path, and the caller gets an fd that is its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/text.h"
#include "vm/operation.h"

#define KEYS_MAX       16
#define KEY_LENGTH_MAX 32
#define HOLD_MAX_USEC  (10 * USEC_PER_SEC)

static bool needs_display(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;

	if (!vm_state_is_active(vm->state) || vm->state == VM_STATE_STARTING || !vm->running_config) {
		operation_refuse_state(op, "a running QEMU", error);
		return false;
	}
	if (vm->running_config->display == VM_DISPLAY_NONE) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE,
			"%s: the VM '%s' has no display (Display in its definition is none)",
			op->type->member, vm->config->name);
		return false;
	}
	return true;
}

/* ---- OpenDisplay ---- */
static bool run_open_display(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	const char *kind = op->args.open_display.kind;
	g_autofree char *name = g_strdup_printf("display-%" G_GUINT64_FORMAT, op->entry.id);
	autofd int ours = -1, theirs = -1;
	int fds[2];

	if (!needs_display(op, error))
		return false;
	if (kind[0] != '\0' && strcmp(kind, vm_display_to_string(op->vm->running_config->display)) != 0) {
		g_autofree char *quoted = text_quote(kind);

		g_set_error(error, VM_ERROR, VM_ERROR_NO_SUCH_DEVICE,
			"kind: the VM '%s' has no display %s, it has '%s'", op->vm->config->name, quoted,
			vm_display_to_string(op->vm->running_config->display));
		return false;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED, "OpenDisplay: no more sockets: %s",
			g_strerror(errno));
		return false;
	}
	ours = fds[0];
	theirs = fds[1];
	if (!operation_execute_fd(op, "getfd", g_variant_new_parsed("{'fdname': <%s>}", name),
		    g_steal_fd(&theirs), NULL, error))
		return false;
	if (!operation_execute(op, "add_client",
		    g_variant_new_parsed("{'protocol': <'vnc'>, 'fdname': <%s>, 'skipauth': <true>}", name),
		    NULL, error))
		return false;
	op->fd = g_steal_fd(&ours);
	op->result = g_variant_ref_sink(g_variant_new("(h)", 0));
	return true;
}

static void clear_open_display(OperationArgs *args)
{
	g_free(args->open_display.kind);
}

/* ---- Screenshot ---- */
/* The memfd, and another fd of it that can only be written: QEMU takes from an fd set what fits the mode it
 * opens with. */
static bool make_image(int *ret_image, int *ret_writer, GError **error)
{
	autofd int image = memfd_create("screenshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", image);
	autofd int writer = image < 0 ? -1 : open(path, O_WRONLY | O_CLOEXEC);

	if (writer < 0) {
		g_set_error(error, VM_ERROR, VM_ERROR_LIMIT_REACHED, "Screenshot: no memory file: %s",
			g_strerror(errno));
		return false;
	}
	*ret_image = g_steal_fd(&image);
	*ret_writer = g_steal_fd(&writer);
	return true;
}

static bool draw(Operation *op, int64_t set, const char *format, GError **error) REQUIRES(op->vm->lock)
{
	g_autofree char *file = g_strdup_printf("/dev/fdset/%" G_GINT64_FORMAT, set);
	g_autoptr(GError) ignored = NULL;
	bool done = operation_execute(op, "screendump",
		g_variant_new_parsed("{'filename': <%s>, 'format': <%s>}", file, format), NULL, error);

	/* Whatever came of it: QEMU's copy of the fd is of no use any more. */
	operation_execute(op, "remove-fd", g_variant_new_parsed("{'fdset-id': <%x>}", set), NULL, &ignored);
	return done;
}

static bool run_screenshot(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	const char *format = op->args.screenshot.format[0] != '\0' ? op->args.screenshot.format : "png";
	g_autoptr(QmpReply) reply = NULL;
	g_autoptr(GVariant) added = NULL;
	autofd int image = -1, writer = -1;
	int64_t set;

	if (strcmp(format, "png") != 0 && strcmp(format, "ppm") != 0) {
		g_autofree char *quoted = text_quote(format);

		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS, "format: %s is not one of 'png', 'ppm'",
			quoted);
		return false;
	}
	if (!needs_display(op, error))
		return false;
	if (op->args.screenshot.head != 0) {
		g_set_error(error, VM_ERROR, VM_ERROR_NO_SUCH_DEVICE,
			"options.Head: the VM '%s' has no head %u, only 0", op->vm->config->name,
			op->args.screenshot.head);
		return false;
	}
	if (!make_image(&image, &writer, error) ||
		!operation_execute_fd(op, "add-fd", NULL, g_steal_fd(&writer), &reply, error))
		return false;
	added = qmp_reply_to_variant(reply);
	if (!added || !g_variant_is_of_type(added, G_VARIANT_TYPE_VARDICT) ||
		!g_variant_lookup(added, "fdset-id", "x", &set)) {
		g_set_error(
			error, VM_ERROR, VM_ERROR_QEMU_FAILED, "Screenshot: QEMU answers add-fd by nonsense");
		return false;
	}
	if (!draw(op, set, format, error))
		return false;
	/* From here on nobody changes it, whoever holds it. */
	if (fcntl(image, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0 ||
		lseek(image, 0, SEEK_SET) < 0) {
		g_set_error(error, VM_ERROR, VM_ERROR_FAILED, "Screenshot: can't be sealed: %s",
			g_strerror(errno));
		return false;
	}
	op->fd = g_steal_fd(&image);
	op->result = g_variant_ref_sink(g_variant_new("(h)", 0));
	return true;
}

static void clear_screenshot(OperationArgs *args)
{
	g_free(args->screenshot.format);
}

/* ---- SendKeys ---- */
/* Which names there are is QEMU's to say. */
static bool is_key(const char *key)
{
	size_t length = strlen(key);

	return length > 0 && length <= KEY_LENGTH_MAX &&
	       strspn(key, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-") == length;
}

static bool check_keys(Operation *op, GError **error)
{
	char **keys = op->args.send_keys.keys;
	unsigned n = g_strv_length(keys);

	if (n == 0 || n > KEYS_MAX) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS,
			"keys: has %u entries, must have 1 to %u, which are pressed together", n, KEYS_MAX);
		return false;
	}
	for (unsigned i = 0; i < n; i++)
		if (!is_key(keys[i])) {
			g_autofree char *quoted = text_quote(keys[i]);

			g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS,
				"keys[%u]: %s is no key (QEMU's names: a, ret, ctrl, f1...)", i, quoted);
			return false;
		}
	if (op->args.send_keys.hold_usec > HOLD_MAX_USEC) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS,
			"options.HoldTime: %" G_GUINT64_FORMAT
			" is more than %llu (10 s; the unit is microseconds)",
			op->args.send_keys.hold_usec, (unsigned long long)HOLD_MAX_USEC);
		return false;
	}
	return true;
}

static bool run_send_keys(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	GVariantBuilder keys = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("aa{sv}"));
	GVariantDict arguments;

	if (!check_keys(op, error) || !needs_display(op, error)) {
		g_variant_builder_clear(&keys);
		return false;
	}
	for (char **key = op->args.send_keys.keys; *key; key++)
		g_variant_builder_add_value(
			&keys, g_variant_new_parsed("{'type': <'qcode'>, 'data': <%s>}", *key));
	g_variant_dict_init(&arguments, NULL);
	g_variant_dict_insert_value(&arguments, "keys", g_variant_builder_end(&keys));
	if (op->args.send_keys.hold_usec != 0)
		g_variant_dict_insert(&arguments, "hold-time", "x",
			(gint64)MAX(op->args.send_keys.hold_usec / USEC_PER_MSEC, 1));
	return operation_execute(op, "send-key", g_variant_dict_end(&arguments), NULL, error);
}

static void clear_send_keys(OperationArgs *args)
{
	g_strfreev(args->send_keys.keys);
}

const OperationType operation_open_display = {
	"OpenDisplay", VM_LANE_QMP, DEADLINE_COMMAND, true, run_open_display, clear_open_display};
const OperationType operation_screenshot = {
	"Screenshot", VM_LANE_QMP, DEADLINE_COMMAND, true, run_screenshot, clear_screenshot};
const OperationType operation_send_keys = {
	"SendKeys", VM_LANE_QMP, DEADLINE_COMMAND, true, run_send_keys, clear_send_keys};
