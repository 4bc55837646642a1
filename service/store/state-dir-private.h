#pragma once
/* Inside the store: the state folder, opened. */
#include "store/definition.h"

struct StateDir {
	char *path; /* of vms/ */
	char *root; /* of the folder itself */
	int root_fd;
	int lock_fd;
	int vms_fd;
	/* Names of files that were not read because they are a newer version's. Filled by state_dir_load()
	 * before threads start, immutable after. */
	GHashTable *foreign;
};

/* Before threads start: removes temporary files that a crash left in nvram/. */
void state_dir_clean_nvram(const StateDir *dir);
