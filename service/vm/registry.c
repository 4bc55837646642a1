#include "vm/registry.h"

#include <string.h>

#include "util/text.h"

struct Registry {
	GHashTable *by_uuid; /* bus: dashed UUID -> Row (owned) */
	GHashTable *by_name; /* bus: name -> Row (borrowed) */
	GQueue visible;      /* bus: Row, in order */
};

typedef struct Row {
	Vm *vm; /* a reference */
	char *name;
	char *next_name; /* reserved for it, or NULL */
	GList *link;     /* in visible; NULL: reserved only */
} Row;

static void row_free(gpointer data)
{
	Row *row = data;

	vm_unref(row->vm);
	g_free(row->name);
	g_free(row->next_name);
	g_free(row);
}

Registry *registry_new(void)
{
	Registry *registry = g_new0(Registry, 1);

	registry->by_uuid = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, row_free);
	registry->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	g_queue_init(&registry->visible);
	return registry;
}

Registry *registry_free(Registry *registry)
{
	if (registry) {
		g_queue_clear(&registry->visible);
		g_hash_table_unref(registry->by_name);
		g_hash_table_unref(registry->by_uuid);
		g_free(registry);
	}
	return NULL;
}

bool registry_is_free(Registry *registry, const char *name, const char *uuid, GError **error)
{
	Row *row = g_hash_table_lookup(registry->by_name, name);

	if (row) {
		g_set_error(error, VM_ERROR, VM_ERROR_VM_EXISTS, "Name: a VM named '%s' exists (%s)", name,
			row->vm->uuid);
		return false;
	}
	row = uuid ? g_hash_table_lookup(registry->by_uuid, uuid) : NULL;
	if (row) {
		g_set_error(error, VM_ERROR, VM_ERROR_VM_EXISTS, "UUID: %s is that of the VM '%s'", uuid,
			row->name);
		return false;
	}
	return true;
}

bool registry_reserve(Registry *registry, Vm *vm, const char *name, GError **error)
{
	Row *row;

	if (!registry_is_free(registry, name, vm->uuid, error))
		return false;
	row = g_new0(Row, 1);
	row->vm = vm_ref(vm);
	row->name = g_strdup(name);
	g_hash_table_insert(registry->by_uuid, vm->uuid, row);
	g_hash_table_insert(registry->by_name, row->name, row);
	return true;
}

/* NULL: it is not here any more, though another VM of its UUID may be. */
static Row *row_of(Registry *registry, const Vm *vm)
{
	Row *row = g_hash_table_lookup(registry->by_uuid, vm->uuid);

	return row && row->vm == vm ? row : NULL;
}

bool registry_reserve_name(Registry *registry, Vm *vm, const char *name, bool *ret_reserved, GError **error)
{
	Row *row = row_of(registry, vm);

	if (row->next_name) {
		g_set_error(error, VM_ERROR, VM_ERROR_BUSY, "Name: the VM '%s' is being renamed to '%s'",
			row->name, row->next_name);
		return false;
	}
	if (g_str_equal(row->name, name)) {
		*ret_reserved = false;
		return true;
	}
	if (!registry_is_free(registry, name, NULL, error))
		return false;
	row->next_name = g_strdup(name);
	g_hash_table_insert(registry->by_name, row->next_name, row);
	*ret_reserved = true;
	return true;
}

void registry_follow_name(Registry *registry, Vm *vm, const char *name)
{
	Row *row = row_of(registry, vm);

	if (!row || !row->next_name || !g_str_equal(row->next_name, name))
		return;
	g_hash_table_remove(registry->by_name, row->name);
	g_free(row->name);
	row->name = g_steal_pointer(&row->next_name);
}

static void release_name(Registry *registry, Row *row)
{
	if (!row->next_name)
		return;
	g_hash_table_remove(registry->by_name, row->next_name);
	g_clear_pointer(&row->next_name, g_free);
}

void registry_release_name(Registry *registry, Vm *vm)
{
	Row *row = row_of(registry, vm);

	if (row)
		release_name(registry, row);
}

void registry_publish(Registry *registry, Vm *vm)
{
	Row *row = row_of(registry, vm);

	g_assert(row && !row->link);
	g_queue_push_tail(&registry->visible, row);
	row->link = g_queue_peek_tail_link(&registry->visible);
}

void registry_remove(Registry *registry, Vm *vm)
{
	Row *row = row_of(registry, vm);

	g_assert(row);
	if (row->link)
		g_queue_delete_link(&registry->visible, row->link);
	release_name(registry, row);
	g_hash_table_remove(registry->by_name, row->name);
	g_hash_table_remove(registry->by_uuid, vm->uuid);
}

static Row *visible(Row *row)
{
	return row && row->link ? row : NULL;
}

/* A name that differs from `text` in case, in one character left out, put in or exchanged, or in two that
 * changed places. */
static bool is_near(const char *text, const char *name)
{
	size_t a = strlen(text), b = strlen(name), head = 0, tail = 0;

	if (g_ascii_strcasecmp(text, name) == 0)
		return true;
	if (a > b + 1 || b > a + 1 || MIN(a, b) < 2)
		return false;
	while (head < a && head < b && text[head] == name[head])
		head++;
	while (tail < a - head && tail < b - head && text[a - 1 - tail] == name[b - 1 - tail])
		tail++;
	if (a == b && a - head - tail == 2)
		return text[head] == name[head + 1] && text[head + 1] == name[head];
	return MAX(a, b) - head - tail <= 1;
}

static void no_such_vm(Registry *registry, const char *text, GError **error)
{
	const char *near = NULL;
	g_autofree char *quoted = text_quote(text);

	for (GList *link = registry->visible.head; link && !near; link = link->next)
		if (is_near(text, ((Row *)link->data)->name))
			near = ((Row *)link->data)->name;
	g_set_error(error, VM_ERROR, VM_ERROR_NO_SUCH_VM, "name: there is no VM %s%s%s%s", quoted,
		near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

Vm *registry_find(Registry *registry, const char *name_or_uuid, GError **error)
{
	char uuid[37];
	Row *row = visible(g_hash_table_lookup(registry->by_name, name_or_uuid));

	/* Found by a name that it does not have yet. */
	if (row && !g_str_equal(row->name, name_or_uuid))
		row = NULL;
	if (!row && vm_uuid_normalize(name_or_uuid, uuid))
		row = visible(g_hash_table_lookup(registry->by_uuid, uuid));
	if (row)
		return row->vm;
	no_such_vm(registry, name_or_uuid, error);
	return NULL;
}

Vm *registry_find_by_path_id(Registry *registry, const char *hex)
{
	char uuid[37];
	Row *row;

	/* One path per VM: other spellings of the UUID are no objects. */
	if (strlen(hex) != 32 || strspn(hex, "0123456789abcdef") != 32 || !vm_uuid_normalize(hex, uuid))
		return NULL;
	row = visible(g_hash_table_lookup(registry->by_uuid, uuid));
	return row ? row->vm : NULL;
}

void registry_foreach(Registry *registry, RegistryFunc func, void *user)
{
	for (GList *link = registry->visible.head, *next; link; link = next) {
		next = link->next;
		func(((Row *)link->data)->vm, user);
	}
}

unsigned registry_count(const Registry *registry)
{
	return registry->visible.length;
}

unsigned registry_count_owned(const Registry *registry, uint32_t uid)
{
	GHashTableIter iter;
	unsigned n = 0;
	void *row;

	g_hash_table_iter_init(&iter, registry->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &row))
		n += ((const Row *)row)->vm->owner_uid == uid;
	return n;
}
