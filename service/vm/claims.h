#pragma once
/*
 * Claims: which VM uses which disk image, by (device, inode), so that no spelling of a path, link or hard
 * link gets round it. A VM claims all its disks at once, for reading or for writing: many may read, one may
 * write, and nobody reads what another writes. One leaf mutex; the table holds what running VMs have, a
 * handful each.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct Claims Claims;
typedef struct Claim {
	dev_t device;
	ino_t inode;
	bool write;
} Claim;

Claims *claims_new(void);
Claims *claims_free(Claims *claims);

/* Any thread, no leaf held: all or nothing. `owner` is the number of the Start that claims, `name`
 * the VM's name for messages (copied). 0;
 * -EBUSY: another owner has claims[*ret_index], and *ret_holder is its name (the caller frees). Two on one
 * image among those wanted conflict likewise if one of them writes: then the holder is "". */
int claims_take(Claims *claims, uint64_t owner, const char *name, const Claim *wanted, unsigned n_wanted,
	unsigned *ret_index, char **ret_holder);

/* Any thread, no leaf held: the same without taking anything: whether it would be refused now. */
int claims_look(
	Claims *claims, const Claim *wanted, unsigned n_wanted, unsigned *ret_index, char **ret_holder);

/* Any thread, no leaf held: gives back all that the owner has. */
void claims_release(Claims *claims, uint64_t owner);
