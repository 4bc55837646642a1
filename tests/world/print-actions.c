/* Prints the service's table of members and actions, for tests: interface, member, the VM's member that it
 * is, kind, "dangerous" if it is asked beside manage-all, "arguments" if QEMU's arguments are asked for, too.
 */
#include <stdio.h>

#include "bus/actions.h"

int main(void)
{
	size_t n;
	const ActionMember *members = action_members(&n);

	for (size_t i = 0; i < n; i++)
		printf("%s %s %s %s %s %s\n", members[i].interface, members[i].name,
			members[i].vm_member ? members[i].vm_member : members[i].name,
			actions[members[i].action].kind,
			actions[members[i].action].is_dangerous ? "dangerous" : "-",
			members[i].may_ask_arguments ? "arguments" : "-");
	return 0;
}
