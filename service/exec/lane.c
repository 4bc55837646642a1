#include "exec/lane.h"

#include <errno.h>
#include <glib.h>

void lane_init(Lane *lane)
{
	*lane = (Lane){.internal = {.member = "internal"}};
	lane->tail = &lane->head;
	leaf_init(&lane->mutex);
}

void lane_done(Lane *lane)
{
	g_assert(!lane->current && !lane->head);
	leaf_done(&lane->mutex);
}

int lane_submit(Lane *lane, LaneEntry *entry, unsigned max_queued)
{
	int r;

	leaf_lock(&lane->mutex);
	g_assert(entry->place == LANE_NEW && entry->id != 0);
	if (!lane->current) {
		/* Nothing can be queued while nothing is current. */
		lane->current = entry;
		entry->place = LANE_RUNNING;
		r = 1;
	} else if (lane->n_queued >= max_queued) {
		r = -EBUSY;
	} else {
		entry->place = LANE_QUEUED;
		entry->next = NULL;
		*lane->tail = entry;
		lane->tail = &entry->next;
		lane->n_queued++;
		r = 0;
	}
	leaf_unlock(&lane->mutex);
	return r;
}

static LaneEntry *advance_locked(Lane *lane, bool internal_allowed) REQUIRES(lane->mutex)
{
	LaneEntry *entry = NULL;

	if (internal_allowed && lane->wanted != 0) {
		lane->taken = lane->wanted;
		lane->wanted = 0;
		entry = &lane->internal;
	} else if (lane->head) {
		entry = lane->head;
		lane->head = entry->next;
		if (!lane->head)
			lane->tail = &lane->head;
		entry->next = NULL;
		lane->n_queued--;
	}
	if (entry)
		entry->place = LANE_RUNNING;
	lane->current = entry;
	return entry;
}

LaneEntry *lane_next(Lane *lane, LaneEntry *done, bool internal_allowed)
{
	LaneEntry *next = NULL;

	leaf_lock(&lane->mutex);
	if (done->place != LANE_LOST) {
		g_assert(lane->current == done);
		done->place = LANE_DONE;
		next = advance_locked(lane, internal_allowed);
	}
	leaf_unlock(&lane->mutex);
	return next;
}

bool lane_want(Lane *lane, unsigned bits)
{
	bool at_rest;

	leaf_lock(&lane->mutex);
	lane->wanted |= bits;
	at_rest = !lane->current;
	leaf_unlock(&lane->mutex);
	return at_rest;
}

bool lane_begin_wanted(Lane *lane)
{
	bool begun = false;

	leaf_lock(&lane->mutex);
	if (!lane->current && lane->wanted != 0) {
		advance_locked(lane, true);
		begun = true;
	}
	leaf_unlock(&lane->mutex);
	return begun;
}

LaneEntry *lane_put_back(Lane *lane)
{
	LaneEntry *next;

	leaf_lock(&lane->mutex);
	g_assert(lane->current == &lane->internal);
	lane->wanted |= lane->taken;
	lane->taken = 0;
	next = advance_locked(lane, false);
	leaf_unlock(&lane->mutex);
	return next;
}

bool lane_has_wanted(Lane *lane)
{
	bool wanted;

	leaf_lock(&lane->mutex);
	wanted = !lane->current && lane->wanted != 0;
	leaf_unlock(&lane->mutex);
	return wanted;
}

unsigned lane_taken(Lane *lane)
{
	unsigned taken;

	leaf_lock(&lane->mutex);
	g_assert(lane->current == &lane->internal);
	taken = lane->taken;
	lane->taken = 0;
	leaf_unlock(&lane->mutex);
	return taken;
}

void lane_block(Lane *lane, LaneEntry *entry)
{
	leaf_lock(&lane->mutex);
	g_assert(entry->place == LANE_RUNNING || entry->place == LANE_COMMITTED);
	if (entry->place == LANE_RUNNING)
		entry->place = LANE_BLOCKED;
	leaf_unlock(&lane->mutex);
}

bool lane_unblock(Lane *lane, LaneEntry *entry)
{
	bool kept;

	leaf_lock(&lane->mutex);
	if (entry->place == LANE_BLOCKED)
		entry->place = LANE_RUNNING;
	kept = entry->place != LANE_LOST;
	leaf_unlock(&lane->mutex);
	return kept;
}

bool lane_commit(Lane *lane, LaneEntry *entry)
{
	bool committed;

	leaf_lock(&lane->mutex);
	g_assert(entry->place == LANE_RUNNING || entry->place == LANE_COMMITTED);
	/* One hold: a cancel comes before this and is obeyed, or after it and is refused. */
	committed = !atomic_load(&entry->cancelled);
	if (committed)
		entry->place = LANE_COMMITTED;
	leaf_unlock(&lane->mutex);
	return committed;
}

static LaneEntry *unlink_queued_locked(Lane *lane, uint64_t id) REQUIRES(lane->mutex)
{
	for (LaneEntry **p = &lane->head; *p; p = &(*p)->next) {
		LaneEntry *entry = *p;

		if (entry->id != id)
			continue;
		*p = entry->next;
		if (!entry->next)
			lane->tail = p;
		entry->next = NULL;
		entry->place = LANE_DONE;
		lane->n_queued--;
		return entry;
	}
	return NULL;
}

LaneExpiry lane_expire(Lane *lane, uint64_t id, LaneEntry **ret_removed, LaneEntry **ret_next)
{
	LaneExpiry result = LANE_EXPIRY_NONE;

	*ret_removed = *ret_next = NULL;
	leaf_lock(&lane->mutex);
	if (lane->current && lane->current->id == id) {
		if (lane->current->place == LANE_BLOCKED) {
			lane->current->place = LANE_LOST;
			*ret_next = advance_locked(lane, false);
			result = LANE_EXPIRY_LOST;
		} else {
			result = LANE_EXPIRY_KEPT;
		}
	} else {
		*ret_removed = unlink_queued_locked(lane, id);
		if (*ret_removed)
			result = LANE_EXPIRY_QUEUED;
	}
	leaf_unlock(&lane->mutex);
	return result;
}

int lane_cancel(Lane *lane, uint64_t id, uint64_t *ret_id)
{
	LaneEntry *current;
	int r = 0;

	leaf_lock(&lane->mutex);
	current = lane->current;
	if (!current || current == &lane->internal || (id != 0 && current->id != id)) {
		r = -ENOENT;
	} else if (current->place == LANE_COMMITTED) {
		r = -EALREADY;
	} else {
		atomic_store(&current->cancelled, true);
		*ret_id = current->id;
	}
	leaf_unlock(&lane->mutex);
	return r;
}

LaneEntry *lane_remove(Lane *lane, uint64_t id)
{
	LaneEntry *entry;

	leaf_lock(&lane->mutex);
	entry = unlink_queued_locked(lane, id);
	leaf_unlock(&lane->mutex);
	return entry;
}

void lane_look(Lane *lane, LanePicture *ret)
{
	leaf_lock(&lane->mutex);
	*ret = (LanePicture){.n_queued = lane->n_queued};
	if (lane->current) {
		ret->busy = true;
		ret->current_id = lane->current->id;
		ret->member = lane->current->member;
		ret->since_usec = lane->current->since_usec;
		ret->deadline_usec = lane->current->deadline_usec;
	}
	leaf_unlock(&lane->mutex);
}
