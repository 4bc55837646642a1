#pragma once
/* The methods that make, change and remove definitions: MemberRow.begin of each. */
#include "bus/members.h"

/* For polkit: ActionMember.describe of those that bring a definition. */
bool describe_definition(Call *call, AccessRequest *request, GError **error);
bool describe_validation(Call *call, AccessRequest *request, GError **error);
bool describe_update(Call *call, AccessRequest *request, GError **error);

bool begin_define(Call *call, BusVm *none, GError **error);
bool begin_create(Call *call, BusVm *none, GError **error);
bool begin_validate(Call *call, BusVm *none, GError **error);
bool begin_update(Call *call, BusVm *bv, GError **error);
bool begin_rename(Call *call, BusVm *bv, GError **error);
bool begin_set_autostart(Call *call, BusVm *bv, GError **error);
bool begin_undefine(Call *call, BusVm *bv, GError **error);
