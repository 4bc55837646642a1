#include "bus/access.h"

bool access_check(const Bus *bus, const MemberRow *row, uint32_t uid, GError **error)
{
	if (row->access == ACCESS_READ || uid == 0 || uid == bus->own_uid)
		return true;
	if (bus->own_uid == 0)
		g_set_error(error, VM_ERROR, VM_ERROR_ACCESS_DENIED, "%s: only root may do this", row->name);
	else
		g_set_error(error, VM_ERROR, VM_ERROR_ACCESS_DENIED,
			"%s: only root and the user with uid %u may do this", row->name,
			(unsigned)bus->own_uid);
	return false;
}
