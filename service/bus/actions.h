#pragma once
/*
 * Actions: what polkit is asked about, and which member takes which.
 *
 * polkit-rules/org.roost1.policy has the same actions with the defaults; tests compare it, the interfaces and
 * docs/API.md with these tables. A member without a row reads, which is free.
 *
 * An action is for the VM's owner. Whoever is not needs ACTION_MANAGE_ALL in its place, whatever it is that
 * they do (polkit is told), and the dangerous ones beside it.
 */
#include "bus/service.h"

/* Marks a message for translation. It is polkit that translates, for who is asked. */
#define N_(text) text

typedef enum Action {
	ACTION_DEFINE,
	ACTION_MANAGE,
	ACTION_CONFIGURE,
	ACTION_CONSOLE,
	ACTION_DISPLAY,
	ACTION_INPUT,
	ACTION_QMP,
	ACTION_QEMU_ARGUMENTS,
	ACTION_MANAGE_ALL,
	ACTION_MAX,
} Action;

typedef struct ActionRow {
	const char *id;      /* polkit's */
	const char *kind;    /* its last word: the detail of this name */
	const char *phrase;  /* after "not authorized to"; a VM's name follows */
	const char *message; /* what who must authenticate is shown; NULL: the member's */
	bool is_dangerous;   /* ACTION_MANAGE_ALL does not stand for it */
} ActionRow;

extern const ActionRow actions[ACTION_MAX];

typedef struct AccessRequest AccessRequest;

typedef struct ActionMember {
	const char *interface, *name;
	Action action;
	const char *message;   /* what who must authenticate is shown */
	const char *vm_member; /* of one by name: which of the VM's members it is. NULL: `name` */
	/* What in the arguments bears on who may do it; the message stands at their beginning. Or NULL.
	 * False: they are refused. */
	bool (*describe)(Call *call, AccessRequest *request, GError **error);
	bool may_ask_arguments; /* for ACTION_QEMU_ARGUMENTS, if there are some */
} ActionMember;

/* Static; NULL: it reads. */
const ActionMember *action_member_find(const char *interface, const char *name);
/* The table. */
const ActionMember *action_members(size_t *ret_n);
