#include "bus/errors.h"

#include "util/text.h"

#define TEXT_MAX 4096

#define ROOST(name) "org.roost1.Error." name
#define DBUS(name)  "org.freedesktop.DBus.Error." name

static const char *const names[VM_ERROR_MAX] = {
	[VM_ERROR_FAILED] = DBUS("Failed"),
	[VM_ERROR_INVALID_ARGS] = DBUS("InvalidArgs"),
	[VM_ERROR_UNKNOWN_OBJECT] = DBUS("UnknownObject"),
	[VM_ERROR_ACCESS_DENIED] = DBUS("AccessDenied"),
	[VM_ERROR_AUTHENTICATION_NEEDED] = DBUS("InteractiveAuthorizationRequired"),
	[VM_ERROR_LIMIT_REACHED] = ROOST("LimitReached"),
	[VM_ERROR_INVALID_STATE] = ROOST("InvalidState"),
	[VM_ERROR_NOT_SUPPORTED] = ROOST("NotSupported"),
	[VM_ERROR_INVALID_CONFIG] = ROOST("InvalidConfig"),
	[VM_ERROR_VM_EXISTS] = ROOST("VMExists"),
	[VM_ERROR_STORAGE_FAILED] = ROOST("StorageFailed"),
	[VM_ERROR_NO_SUCH_VM] = ROOST("NoSuchVM"),
	[VM_ERROR_NO_SUCH_DEVICE] = ROOST("NoSuchDevice"),
	[VM_ERROR_QEMU_FAILED] = ROOST("QemuFailed"),
	[VM_ERROR_UNRESPONSIVE] = ROOST("Unresponsive"),
	[VM_ERROR_TIMEOUT] = ROOST("Timeout"),
	[VM_ERROR_BUSY] = ROOST("Busy"),
	[VM_ERROR_CANCELLED] = ROOST("Cancelled"),
	[VM_ERROR_CONFLICT] = ROOST("Conflict"),
};

const char *error_to_dbus_name(const GError *error)
{
	if (error->domain != VM_ERROR || (unsigned)error->code >= VM_ERROR_MAX)
		return names[VM_ERROR_FAILED];
	return names[error->code];
}

/* The end is what QEMU said last, the beginning names the culprit: what is too long loses its middle. A giant
 * is cut before it is looked at character by character. */
char *error_to_text(const GError *error)
{
	g_autofree char *bounded = text_cut_middle(error->message, 4 * TEXT_MAX);
	g_autofree char *shown = text_printable(bounded, true);

	return text_cut_middle(shown, TEXT_MAX);
}

int error_reply(sd_bus_message *call, const GError *error)
{
	g_autofree char *text = error_to_text(error);
	sd_bus_error dbus_error = SD_BUS_ERROR_MAKE_CONST(error_to_dbus_name(error), text);

	return sd_bus_reply_method_error(call, &dbus_error);
}
