#include "vm/claims.h"

#include <errno.h>
#include <glib.h>

#include "util/thread.h"

typedef struct ClaimRow {
	Claim claim;
	uint64_t owner;
	char *name;
} ClaimRow;

struct Claims {
	Leaf mutex;
	GArray *rows; /* mutex: ClaimRow */
};

static void clear_row(gpointer data)
{
	ClaimRow *row = data;

	g_free(row->name);
}

Claims *claims_new(void)
{
	Claims *claims = g_new0(Claims, 1);

	leaf_init(&claims->mutex);
	claims->rows = g_array_new(FALSE, FALSE, sizeof(ClaimRow));
	g_array_set_clear_func(claims->rows, clear_row);
	return claims;
}

Claims *claims_free(Claims *claims)
{
	if (claims) {
		g_array_unref(claims->rows);
		leaf_done(&claims->mutex);
		g_free(claims);
	}
	return NULL;
}

static bool conflicts(const Claim *a, const Claim *b)
{
	return a->device == b->device && a->inode == b->inode && (a->write || b->write);
}

static const char *find_holder_locked(Claims *claims, const Claim *wanted, unsigned index)
	REQUIRES(claims->mutex)
{
	for (unsigned i = 0; i < index; i++)
		if (conflicts(&wanted[i], &wanted[index]))
			return "";
	for (unsigned i = 0; i < claims->rows->len; i++) {
		ClaimRow *row = &g_array_index(claims->rows, ClaimRow, i);

		if (conflicts(&row->claim, &wanted[index]))
			return row->name;
	}
	return NULL;
}

static int look_locked(Claims *claims, const Claim *wanted, unsigned n_wanted, unsigned *ret_index,
	char **ret_holder) REQUIRES(claims->mutex)
{
	for (unsigned i = 0; i < n_wanted; i++) {
		const char *holder = find_holder_locked(claims, wanted, i);

		if (holder) {
			*ret_index = i;
			*ret_holder = g_strdup(holder);
			return -EBUSY;
		}
	}
	return 0;
}

int claims_look(
	Claims *claims, const Claim *wanted, unsigned n_wanted, unsigned *ret_index, char **ret_holder)
{
	int r;

	leaf_lock(&claims->mutex);
	r = look_locked(claims, wanted, n_wanted, ret_index, ret_holder);
	leaf_unlock(&claims->mutex);
	return r;
}

int claims_take(Claims *claims, uint64_t owner, const char *name, const Claim *wanted, unsigned n_wanted,
	unsigned *ret_index, char **ret_holder)
{
	int r;

	leaf_lock(&claims->mutex);
	r = look_locked(claims, wanted, n_wanted, ret_index, ret_holder);
	for (unsigned i = 0; i < n_wanted && r == 0; i++) {
		ClaimRow row = {.claim = wanted[i], .owner = owner, .name = g_strdup(name)};

		g_array_append_val(claims->rows, row);
	}
	leaf_unlock(&claims->mutex);
	return r;
}

void claims_release(Claims *claims, uint64_t owner)
{
	leaf_lock(&claims->mutex);
	for (unsigned i = claims->rows->len; i > 0; i--)
		if (g_array_index(claims->rows, ClaimRow, i - 1).owner == owner)
			g_array_remove_index_fast(claims->rows, i - 1);
	leaf_unlock(&claims->mutex);
}
