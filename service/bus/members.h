#pragma once
/*
 * The methods, in one table: who may call each, and what it does. Those that only read what is installed are
 * answered at once; the others become a Call, and begin when the caller is known.
 */
#include "bus/actions.h"
#include "bus/options.h"
#include "bus/service.h"

typedef enum MemberAccess {
	ACCESS_READ,   /* everybody */
	ACCESS_CHANGE, /* changes, opens or sends: as its row in actions.c and access.c say */
} MemberAccess;

typedef struct MemberRow {
	const char *interface, *name;
	MemberAccess access;
	bool is_list;   /* a read whose reply may be large */
	bool by_name;   /* the first argument names the VM */
	bool unlimited; /* not counted: what frees a VM must get through */
	/* Answered at once, free to everybody: appends to the reply. */
	bool (*read)(Bus *bus, BusVm *bv, sd_bus_message *message, sd_bus_message *reply, GError **error);
	/* Or it becomes a Call. True: it will be answered; false: it is answered by the error now. */
	bool (*begin)(Call *call, BusVm *bv, GError **error);
} MemberRow;

/* Whether a member of the table only reads. Any thread. */
bool member_reads(const char *interface, const char *name);

/* Reads the a{sv} where the message stands. The strings that `target` points to live as long as *ret_dict. */
bool member_read_options(sd_bus_message *message, const char *member, const OptionRow *rows, size_t n_rows,
	void *target, GVariant **ret_dict, GError **error);

/* The string argument `name`, where the message stands; borrowed. */
bool member_read_text(sd_bus_message *message, const char *name, const char **ret_text, GError **error);

/* The argument `name` can't be read, as variant_read() or sd-bus says: `code` when it is too large or too
 * deep, else InvalidArgs. False. */
bool member_refuse_argument(int r, const char *name, size_t max_size, VmError code, GError **error);

/* Whether a large reply may be made now: not while the bus does not take what was sent before (a reader that
 * asks and does not read would make the service grow). */
bool member_may_list(const Bus *bus, const char *member, GError **error);

/* sd-bus's handler of all methods; `userdata` is the Bus. */
int member_handle(Bus *bus, BusVm *bv, sd_bus_message *message);

/* Runs a call whose caller is known: the decision, which may take polkit's answer, the limit, begin(). */
bool member_begin(Call *call, GError **error);
/* Goes on with it when it is authorized for what was asked. */
bool member_resume(Call *call, const AccessRequest *request, GError **error) ON_BUS_THREAD;
