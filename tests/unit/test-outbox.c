/* vm/outbox.h: the newest view, and which state changes are merged while they wait. */
#include <glib.h>

#include "vm/outbox.h"

#define OFF      VM_STATE_OFF
#define STARTING VM_STATE_STARTING
#define RUNNING  VM_STATE_RUNNING
#define PAUSED   VM_STATE_PAUSED
#define CRASHED  VM_STATE_CRASHED

static Outbox box;

static void put(VmState from, VmState to, bool own, VmReason reason)
{
	StateChange change = {.from = from, .to = to, .reason = reason, .own = own};

	outbox_put_change(&box, &change);
}

static void own(VmState from, VmState to)
{
	put(from, to, true, VM_REASON_USER);
}

static void guest(VmState from, VmState to)
{
	put(from, to, false, VM_REASON_GUEST);
}

static void assert_changes(const char *expected)
{
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < box.n_changes; i++)
		g_string_append_printf(text, "%s%s>%s", i > 0 ? " " : "",
			vm_state_to_string(box.changes[i].from), vm_state_to_string(box.changes[i].to));
	g_assert_cmpstr(text->str, ==, expected);
	g_string_free(text, TRUE);
}

static void test_steps_are_kept(void)
{
	outbox_init(&box);
	own(OFF, STARTING);
	own(STARTING, RUNNING);
	own(RUNNING, PAUSED);
	own(PAUSED, RUNNING);
	assert_changes("off>starting starting>running running>paused paused>running");
	outbox_clear(&box);
}

static void test_others_are_merged(void)
{
	outbox_init(&box);
	guest(RUNNING, PAUSED);
	put(PAUSED, CRASHED, false, VM_REASON_QEMU_EXIT);
	assert_changes("running>crashed");
	g_assert_cmpint(box.changes[0].reason, ==, VM_REASON_QEMU_EXIT);
	outbox_clear(&box);
}

static void test_nothing_if_equal(void)
{
	outbox_init(&box);
	guest(RUNNING, PAUSED);
	guest(PAUSED, RUNNING);
	assert_changes("");
	g_assert_true(outbox_is_empty(&box));
	for (unsigned i = 0; i < 1001; i++)
		guest(i % 2 == 0 ? RUNNING : PAUSED, i % 2 == 0 ? PAUSED : RUNNING);
	assert_changes("running>paused");
	outbox_clear(&box);
}

static void test_mixed(void)
{
	outbox_init(&box);
	own(OFF, STARTING);
	own(STARTING, RUNNING);
	guest(RUNNING, PAUSED);
	guest(PAUSED, RUNNING);
	guest(RUNNING, PAUSED);
	own(PAUSED, RUNNING);
	guest(RUNNING, PAUSED);
	guest(PAUSED, CRASHED);
	/* A step is merged with nothing, on neither side. */
	assert_changes("off>starting starting>running running>paused paused>running running>crashed");
	outbox_clear(&box);
}

static void test_equal_before_step(void)
{
	outbox_init(&box);
	own(OFF, RUNNING);
	guest(RUNNING, PAUSED);
	guest(PAUSED, RUNNING);
	own(RUNNING, PAUSED);
	assert_changes("off>running running>paused");
	outbox_clear(&box);
}

/* Whatever is put, the changes form one chain from the first state to the last, none from a state to itself.
 */
static void assert_chain(VmState first, VmState last)
{
	VmState at = first;

	g_assert_cmpuint(box.n_changes, <=, OUTBOX_STEPS_MAX);
	for (unsigned i = 0; i < box.n_changes; i++) {
		g_assert_cmpint(box.changes[i].from, ==, at);
		g_assert_cmpint(box.changes[i].to, !=, at);
		at = box.changes[i].to;
	}
	g_assert_cmpint(at, ==, last);
}

static void test_bound(void)
{
	outbox_init(&box);
	for (unsigned i = 0; i < OUTBOX_STEPS_MAX + 5; i++) {
		own(i % 2 == 0 ? RUNNING : PAUSED, i % 2 == 0 ? PAUSED : RUNNING);
		assert_chain(RUNNING, i % 2 == 0 ? PAUSED : RUNNING);
	}
	outbox_clear(&box);
}

static void test_random(void)
{
	for (unsigned round = 0; round < 2000; round++) {
		VmState first = (VmState)g_test_rand_int_range(0, VM_STATE_MAX), at = first;

		outbox_init(&box);
		for (int n = g_test_rand_int_range(0, 100); n > 0; n--) {
			VmState to = (VmState)g_test_rand_int_range(0, VM_STATE_MAX);

			if (to == at)
				continue;
			put(at, to, g_test_rand_bit(), VM_REASON_USER);
			at = to;
			assert_chain(first, at);
		}
		outbox_clear(&box);
	}
}

static VmView *view_of_version(uint64_t version)
{
	VmView *view = vm_view_new();

	view->version = version;
	return view;
}

static void test_newest_view(void)
{
	g_autoptr(VmView) old = view_of_version(1);

	outbox_init(&box);
	outbox_put_view(&box, vm_view_ref(old));
	outbox_put_view(&box, view_of_version(2));
	g_assert_cmpuint(box.view->version, ==, 2);
	/* The first was given back. */
	g_assert_cmpuint(atomic_load(&old->ref.count), ==, 1);
	g_assert_false(outbox_is_empty(&box));
	outbox_clear(&box);
	g_assert_true(outbox_is_empty(&box));
}

static void test_take(void)
{
	EventRecord record = {.id = EVENT_STOP, .key = "", .count = 1};
	Outbox taken;

	outbox_init(&box);
	g_assert_true(outbox_is_empty(&box));
	outbox_put_view(&box, view_of_version(1));
	own(OFF, RUNNING);
	event_set_add(&box.events, &record);
	outbox_take(&box, &taken);
	g_assert_true(outbox_is_empty(&box));
	g_assert_cmpuint(taken.view->version, ==, 1);
	g_assert_cmpuint(taken.n_changes, ==, 1);
	g_assert_cmpuint(taken.events.n, ==, 1);
	/* What is taken is not merged with what comes. */
	guest(RUNNING, PAUSED);
	assert_changes("running>paused");
	outbox_clear(&taken);
	event_set_add(&box.events, &record);
	g_assert_false(outbox_is_empty(&box));
	outbox_clear(&box);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/outbox/steps-are-kept", test_steps_are_kept);
	g_test_add_func("/outbox/others-are-merged", test_others_are_merged);
	g_test_add_func("/outbox/nothing-if-equal", test_nothing_if_equal);
	g_test_add_func("/outbox/mixed", test_mixed);
	g_test_add_func("/outbox/equal-before-step", test_equal_before_step);
	g_test_add_func("/outbox/newest-view", test_newest_view);
	g_test_add_func("/outbox/take", test_take);
	g_test_add_func("/outbox/bound", test_bound);
	g_test_add_func("/outbox/random", test_random);
	return g_test_run();
}
