#pragma once
/*
 * Access: who may do what, the one place that decides.
 *
 * Reading is free. Root, and the user that roostd runs as, may do everything, and nobody is asked. Others may
 * do what polkit says, on the system bus; elsewhere they may not. Which actions polkit is asked about depends
 * on the member, on whose VM it is, and on what is in the arguments.
 */
#include "bus/members.h"

typedef enum AccessAnswer { ACCESS_NO, ACCESS_YES, ACCESS_ASK } AccessAnswer;

/* ACCESS_NO: with AccessDenied. */
AccessAnswer access_check(const Bus *bus, const MemberRow *row, uint32_t uid, GError **error);

#define ACCESS_STEPS_MAX 3

/* What polkit is asked about a call: each of the steps must be allowed. */
struct AccessRequest {
	const ActionMember *member;
	Action steps[ACCESS_STEPS_MAX];
	unsigned n_steps;
	BusVm *bv; /* a reference; NULL: it is about to be defined */
	char *name;
	char *uuid;
	uint32_t owner_uid;
};

void access_request_clear(AccessRequest *request);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(AccessRequest, access_request_clear)

/* What to ask about a call of a user who is to be asked about. `bv`: its VM, or NULL. False: the arguments
 * are refused. The message is left where its arguments begin. */
bool access_describe(Call *call, BusVm *bv, AccessRequest *ret_request, GError **error) ON_BUS_THREAD;

void access_request_add(AccessRequest *request, Action action);

/* Whether an authorized call still means what was asked about: the VM is the same, and is called the same.
 * False, with an error. */
bool access_confirm(const Call *call, const AccessRequest *request, const BusVm *bv, GError **error);
