#pragma once
/* Who may do what: the one place that decides. */
#include "bus/members.h"

/* False with AccessDenied. */
bool access_check(const Bus *bus, const MemberRow *row, uint32_t uid, GError **error);
