/*
 * The run-time folder: for each VM that runs, a folder with its sockets and the record of its QEMU process.
 * It is on a file system that does not outlive the host's boot, and neither do the processes: whole files
 * matter here, durable ones don't.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/definition-json.h"
#include "store/file.h"
#include "util/fd.h"
#include "util/json.h"
#include "util/log.h"
#include "util/thread.h"

#define NVRAM_NAME      "nvram"
#define RECORD_NAME     "process"
#define RECORD_SIZE_MAX (32 * 1024)

struct RuntimeDir {
	char *path; /* of vm/; immutable. By path each time: somebody may have cleared the folder away. */
};

RuntimeDir *runtime_dir_free(RuntimeDir *dir)
{
	if (!dir)
		return NULL;
	g_free(dir->path);
	g_free(dir);
	return NULL;
}

int runtime_dir_open(const char *path, RuntimeDir **ret_dir, char **ret_complaint)
{
	g_autofree char *absolute = g_canonicalize_filename(path, NULL);
	autofd int fd = file_open_dir(absolute);
	autofd int vm_fd = -1;
	RuntimeDir *dir;

	if (fd < 0) {
		*ret_complaint = g_strdup_printf(
			"%s: can't make or open the run-time folder: %s", absolute, g_strerror(-fd));
		return fd;
	}
	vm_fd = file_open_dir_at(fd, "vm", true);
	if (vm_fd < 0) {
		*ret_complaint =
			g_strdup_printf("%s/vm: can't make or open: %s", absolute, g_strerror(-vm_fd));
		return vm_fd;
	}
	dir = g_new0(RuntimeDir, 1);
	dir->path = g_build_filename(absolute, "vm", NULL);
	*ret_dir = dir;
	return 0;
}

/* The fd or a negative errno. */
static int open_vm(const RuntimeDir *dir, const char *uuid, bool make)
{
	autofd int vm_fd = -1;
	char normal[37];

	if (!vm_uuid_normalize(uuid, normal) || strcmp(uuid, normal) != 0)
		return -EINVAL;
	vm_fd = make ? file_open_dir(dir->path) : open(dir->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (vm_fd < 0)
		return make ? vm_fd : -errno;
	return file_open_dir_at(vm_fd, uuid, make);
}

char *runtime_dir_vm_path(const RuntimeDir *dir, const char *uuid)
{
	return g_build_filename(dir->path, uuid, NULL);
}

int runtime_dir_make_vm(RuntimeDir *dir, const char *uuid, char **ret_path)
{
	autofd int fd = open_vm(dir, uuid, true);
	g_autoptr(GPtrArray) names = NULL;
	int r;

	if (fd < 0)
		return fd;
	r = file_list_dir(fd, &names);
	if (r < 0)
		return r;
	file_remove_temporary(fd, names);
	for (unsigned i = 0; i < names->len; i++) {
		struct stat st;

		if (fstatat(fd, names->pdata[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode) &&
			unlinkat(fd, names->pdata[i], 0) < 0)
			return -errno;
	}
	*ret_path = runtime_dir_vm_path(dir, uuid);
	return 0;
}

int runtime_dir_remove_vm(RuntimeDir *dir, const char *uuid)
{
	autofd int fd = open_vm(dir, uuid, false);
	g_autoptr(GPtrArray) names = NULL;
	g_autofree char *path = NULL;
	int r;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = file_list_dir(fd, &names);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < names->len; i++)
		if (unlinkat(fd, names->pdata[i], 0) < 0 && errno != ENOENT)
			return -errno;
	path = runtime_dir_vm_path(dir, uuid);
	if (rmdir(path) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

/* ---- the record of the process ---- */
/* "device:inode:r" or ":w", in hex: JSON's numbers don't hold all of 64 bits. */
static char *format_claims(const ProcessRecord *record)
{
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < record->n_claims; i++)
		g_string_append_printf(text, "%s\"%" G_GINT64_MODIFIER "x:%" G_GINT64_MODIFIER "x:%c\"",
			i > 0 ? ", " : "", record->claims[i].device, record->claims[i].inode,
			record->claims[i].write ? 'w' : 'r');
	return g_string_free(text, FALSE);
}

int runtime_dir_write_process(RuntimeDir *dir, const char *uuid, const ProcessRecord *record)
{
	autofd int fd = open_vm(dir, uuid, false);
	g_autofree char *text = NULL, *claims = NULL;

	if (fd < 0)
		return fd;
	claims = format_claims(record);
	text = g_strdup_printf("{ \"PID\": %d, \"StartTime\": %" G_GUINT64_FORMAT
			       ", \"Epoch\": %" G_GUINT64_FORMAT
			       ", \"Accelerator\": \"%s\", \"Unit\": \"%s\", \"Claims\": [%s] }\n",
		record->pid, record->start_time, record->epoch, vm_accelerator_to_string(record->accelerator),
		record->unit, claims);
	return file_replace_at(fd, RECORD_NAME, text, strlen(text), false);
}

static bool read_number(JsonObject *object, const char *key, gint64 max, gint64 *ret)
{
	JsonNode *node = json_object_get_member(object, key);

	if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64)
		return false;
	*ret = json_node_get_int(node);
	return *ret >= 0 && *ret <= max;
}

static bool parse_claims(JsonObject *object, ProcessRecord *ret)
{
	JsonNode *node = json_object_get_member(object, "Claims");
	JsonArray *array;

	if (!node || !JSON_NODE_HOLDS_ARRAY(node))
		return false;
	array = json_node_get_array(node);
	if (json_array_get_length(array) > VM_CLAIMS_MAX)
		return false;
	for (unsigned i = 0; i < json_array_get_length(array); i++) {
		JsonNode *element = json_array_get_element(array, i);
		ProcessClaim *claim = &ret->claims[i];
		char mode;

		if (!JSON_NODE_HOLDS_VALUE(element) || json_node_get_value_type(element) != G_TYPE_STRING ||
			sscanf(json_node_get_string(element),
				"%" G_GINT64_MODIFIER "x:%" G_GINT64_MODIFIER "x:%c", &claim->device,
				&claim->inode, &mode) != 3)
			return false;
		claim->write = mode == 'w';
	}
	ret->n_claims = json_array_get_length(array);
	return true;
}

/* NULL: it is no string. */
static const char *read_text(JsonObject *object, const char *key)
{
	JsonNode *node = json_object_get_member(object, key);

	if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
		return NULL;
	return json_node_get_string(node);
}

static bool parse_record(JsonObject *object, ProcessRecord *ret)
{
	const char *accelerator = read_text(object, "Accelerator"), *unit = read_text(object, "Unit");
	ProcessRecord record;
	gint64 pid, start_time, epoch;
	int word;

	if (!read_number(object, "PID", G_MAXINT32, &pid) ||
		!read_number(object, "StartTime", G_MAXINT64, &start_time) ||
		!read_number(object, "Epoch", G_MAXINT64, &epoch))
		return false;
	word = vm_accelerator_from_string(accelerator);
	if (word < 0)
		return false;
	/* Older records have no unit. */
	if (!unit && json_object_has_member(object, "Unit"))
		return false;
	record = (ProcessRecord){.pid = (int32_t)pid,
		.start_time = (uint64_t)start_time,
		.epoch = (uint64_t)epoch,
		.accelerator = (VmAccelerator)word};
	if (unit && g_strlcpy(record.unit, unit, sizeof record.unit) >= sizeof record.unit)
		return false;
	if (!parse_claims(object, &record))
		return false;
	*ret = record;
	return true;
}

/* Too large a file, or no regular one, is nothing of ours. */
static bool is_foreign(int r)
{
	return r == -EFBIG || file_is_something_else(r);
}

int runtime_dir_read_process(RuntimeDir *dir, const char *uuid, ProcessRecord *ret_record)
{
	autofd int fd = open_vm(dir, uuid, false);
	g_autoptr(JsonNode) root = NULL;
	g_autofree char *text = NULL;
	size_t size;
	int r;

	if (fd < 0)
		return fd;
	r = fd_read_file_at(fd, RECORD_NAME, RECORD_SIZE_MAX, &text, &size);
	if (r < 0)
		return is_foreign(r) ? -EBADMSG : r;
	r = json_parse(text, size, RECORD_SIZE_MAX, 2, &root);
	if (r < 0 || !JSON_NODE_HOLDS_OBJECT(root) || !parse_record(json_node_get_object(root), ret_record))
		return -EBADMSG;
	return 0;
}

/* ---- definitions ---- */
static const char *const definition_names[RUNTIME_DEFINITION_MAX] = {
	[RUNTIME_DEFINITION_RUNNING] = "running",
	[RUNTIME_DEFINITION_TRANSIENT] = "transient",
};

int runtime_dir_write_definition(
	RuntimeDir *dir, const char *uuid, RuntimeDefinition which, const Definition *definition)
{
	autofd int fd = open_vm(dir, uuid, false);
	g_autofree char *text = NULL;
	size_t size;

	if (fd < 0)
		return fd;
	text = definition_to_json(definition, &size);
	return file_replace_at(fd, definition_names[which], text, size, false);
}

int runtime_dir_read_definition(
	RuntimeDir *dir, const char *uuid, RuntimeDefinition which, Definition *ret_definition)
{
	autofd int fd = open_vm(dir, uuid, false);
	g_autofree char *text = NULL, *complaint = NULL;
	g_auto(Definition) definition = {0};
	size_t size;
	int r;

	if (fd < 0)
		return fd;
	r = fd_read_file_at(fd, definition_names[which], DEFINITION_JSON_MAX, &text, &size);
	if (r < 0)
		return is_foreign(r) ? -EBADMSG : r;
	r = definition_from_json(text, size, &definition, &complaint);
	if (r >= 0 && strcmp(definition.config->uuid, uuid) != 0) {
		complaint = g_strdup("is another VM's");
		r = -EBADMSG;
	}
	if (r < 0) {
		log_warning("%s/%s/%s: %s", dir->path, uuid, definition_names[which], complaint);
		return -EBADMSG;
	}
	*ret_definition = definition;
	definition = (Definition){0};
	return 0;
}

int runtime_dir_make_nvram(RuntimeDir *dir, const char *uuid, const char *template, char **ret_path)
{
	autofd int fd = open_vm(dir, uuid, true);
	g_autofree char *data = NULL;
	size_t size;
	int r;

	if (fd < 0)
		return fd;
	r = fd_read_file_at(AT_FDCWD, template, NVRAM_SIZE_MAX, &data, &size);
	if (r >= 0)
		r = file_replace_at(fd, NVRAM_NAME, data, size, false);
	if (r >= 0)
		*ret_path = g_build_filename(dir->path, uuid, NVRAM_NAME, NULL);
	return r;
}

int runtime_dir_foreach(RuntimeDir *dir, void (*func)(const char *uuid, void *user), void *user)
{
	autofd int fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	g_autoptr(GPtrArray) names = NULL;
	char normal[37];
	int r;

	if (fd < 0)
		return -errno;
	r = file_list_dir(fd, &names);
	for (unsigned i = 0; r >= 0 && i < names->len; i++)
		if (vm_uuid_normalize(names->pdata[i], normal) && strcmp(names->pdata[i], normal) == 0)
			func(names->pdata[i], user);
	return r < 0 ? r : 0;
}

int runtime_dir_mark(RuntimeDir *dir, const char *name)
{
	g_autofree char *parent = g_path_get_dirname(dir->path), *path = g_build_filename(parent, name, NULL);
	autofd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0)
		return 1;
	return errno == EEXIST ? 0 : -errno;
}
