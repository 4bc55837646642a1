#include "bus/actions.h"

#include <string.h>

#include "bus/definitions.h"

const ActionRow actions[ACTION_MAX] = {
	[ACTION_DEFINE] = {"org.roost1.define", "define", "define the virtual machine"},
	[ACTION_MANAGE] = {"org.roost1.manage", "manage", "manage the virtual machine"},
	[ACTION_CONFIGURE] = {"org.roost1.configure", "configure", "change the virtual machine"},
	[ACTION_CONSOLE] = {"org.roost1.console", "console", "open a console of the virtual machine"},
	[ACTION_DISPLAY] = {"org.roost1.display", "display", "open the display of the virtual machine"},
	[ACTION_INPUT] = {"org.roost1.input", "input",
		"see the screen and press keys of the virtual machine"},
	[ACTION_QMP] = {"org.roost1.qmp", "qmp", "send QMP commands to the virtual machine",
		.is_dangerous = true},
	[ACTION_QEMU_ARGUMENTS] = {"org.roost1.qemu-arguments", "qemu-arguments",
		"choose QEMU's arguments for the virtual machine",
		.message = N_("Authentication is required to choose QEMU's arguments for the virtual machine "
			      "'$(name)'"),
		.is_dangerous = true},
	[ACTION_MANAGE_ALL] = {"org.roost1.manage-all", "manage-all",
		"manage another user's virtual machine"},
};

/* clang-format off */
static const ActionMember members[] = {
	{BUS_MANAGER, "DefineVM", ACTION_DEFINE, N_("Authentication is required to define the virtual machine '$(name)'"), .describe = describe_definition, .may_ask_arguments = true},
	{BUS_MANAGER, "CreateVM", ACTION_DEFINE, N_("Authentication is required to create the virtual machine '$(name)'"), .describe = describe_definition, .may_ask_arguments = true},
	{BUS_MANAGER, "ValidateVM", ACTION_DEFINE, N_("Authentication is required to validate the virtual machine '$(name)'"), .describe = describe_validation},
	{BUS_MANAGER, "StartVM", ACTION_MANAGE, N_("Authentication is required to start the virtual machine '$(name)'"), "Start"},
	{BUS_MANAGER, "ShutdownVM", ACTION_MANAGE, N_("Authentication is required to shut down the virtual machine '$(name)'"), "Shutdown"},
	{BUS_MANAGER, "KillVM", ACTION_MANAGE, N_("Authentication is required to kill the virtual machine '$(name)'"), "Kill"},
	{BUS_VM, "Start", ACTION_MANAGE, N_("Authentication is required to start the virtual machine '$(name)'")},
	{BUS_VM, "Shutdown", ACTION_MANAGE, N_("Authentication is required to shut down the virtual machine '$(name)'")},
	{BUS_VM, "Reboot", ACTION_MANAGE, N_("Authentication is required to reboot the virtual machine '$(name)'")},
	{BUS_VM, "Reset", ACTION_MANAGE, N_("Authentication is required to reset the virtual machine '$(name)'")},
	{BUS_VM, "Pause", ACTION_MANAGE, N_("Authentication is required to pause the virtual machine '$(name)'")},
	{BUS_VM, "Resume", ACTION_MANAGE, N_("Authentication is required to resume the virtual machine '$(name)'")},
	{BUS_VM, "Kill", ACTION_MANAGE, N_("Authentication is required to kill the virtual machine '$(name)'")},
	{BUS_VM, "CancelOperation", ACTION_MANAGE, N_("Authentication is required to cancel what is done to the virtual machine '$(name)'")},
	{BUS_VM, "InjectNMI", ACTION_MANAGE, N_("Authentication is required to send an interrupt to the virtual machine '$(name)'")},
	{BUS_VM, "Update", ACTION_CONFIGURE, N_("Authentication is required to change the virtual machine '$(name)'"), .describe = describe_update, .may_ask_arguments = true},
	{BUS_VM, "Rename", ACTION_CONFIGURE, N_("Authentication is required to rename the virtual machine '$(name)'")},
	{BUS_VM, "SetAutostart", ACTION_CONFIGURE, N_("Authentication is required to change the automatic start of the virtual machine '$(name)'")},
	{BUS_VM, "Undefine", ACTION_CONFIGURE, N_("Authentication is required to remove the virtual machine '$(name)'")},
	{BUS_VM, "OpenConsole", ACTION_CONSOLE, N_("Authentication is required to open a console of the virtual machine '$(name)'")},
	{BUS_VM, "OpenDisplay", ACTION_DISPLAY, N_("Authentication is required to open the display of the virtual machine '$(name)'")},
	{BUS_VM, "Screenshot", ACTION_INPUT, N_("Authentication is required to see the screen of the virtual machine '$(name)'")},
	{BUS_VM, "SendKeys", ACTION_INPUT, N_("Authentication is required to press keys in the virtual machine '$(name)'")},
	{BUS_VM, "ExecuteQMP", ACTION_QMP, N_("Authentication is required to send commands to the QEMU of the virtual machine '$(name)'")},
};
/* clang-format on */

const ActionMember *action_members(size_t *ret_n)
{
	*ret_n = G_N_ELEMENTS(members);
	return members;
}

const ActionMember *action_member_find(const char *interface, const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
		if (strcmp(members[i].interface, interface) == 0 && strcmp(members[i].name, name) == 0)
			return &members[i];
	return NULL;
}
