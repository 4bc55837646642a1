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

#define STATE_DIR_IMAGES_FOLDER "images"
#define STATE_DIR_CACHE_FOLDER  "cache"

/* Before threads start: removes temporary files that a crash left beside the definitions. */
void state_dir_clean_files(const StateDir *dir);

static inline bool state_dir_uuid_is_normal(const char *uuid)
{
	char normal[37];

	return vm_uuid_normalize(uuid, normal) && g_str_equal(uuid, normal);
}
