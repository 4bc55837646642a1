/* util/thread.h: roles, and the rules of the locks, which end the process when they are broken. Each broken
 * rule is broken in a child process of its own. */
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "util/clock.h"
#include "util/thread.h"

static Leaf leaf, other_leaf;
static Lock lock, other_lock;

/* ---- roles ---- */
typedef struct Seen {
	bool bus, event, worker;
	bool all_blocked;
	char name[32];
} Seen;

static void look(void *data)
{
	Seen *seen = data;
	sigset_t mask;

	seen->bus = thread_has_role(&role_bus);
	seen->event = thread_has_role(&role_event);
	seen->worker = thread_has_role(&role_worker);
	pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	seen->all_blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGCHLD) &&
			    sigismember(&mask, SIGHUP) && sigismember(&mask, SIGPIPE);
}

static void test_start(void)
{
	sigset_t before, after;
	pthread_t thread;
	Seen seen = {0};

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	g_assert_cmpint(
		thread_start_joinable(&thread, "a name that is too long", &role_worker, look, &seen), ==, 0);
	thread_join(thread);
	g_assert_true(seen.worker && !seen.bus && !seen.event);
	g_assert_cmpstr(seen.name, ==, "a name that is ");
	g_assert_true(seen.all_blocked);
	/* Signals stay where they were: here. */
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	g_assert_cmpint(sigismember(&before, SIGTERM), ==, sigismember(&after, SIGTERM));
	/* A role is the thread's, not the process's. */
	g_assert_false(thread_has_role(&role_worker));
}

static void in_every_role(void *data)
{
	assert_bus_thread(__func__);
	thread_adopt_role(&role_event);
	thread_adopt_role(&role_worker);
	assert_event_thread(__func__);
	assert_worker(__func__);
	/* It keeps what it had. */
	assert_bus_thread(__func__);
}

static void test_adopt(void)
{
	pthread_t thread;

	g_assert_cmpint(thread_start_joinable(&thread, "all", &role_bus, in_every_role, NULL), ==, 0);
	thread_join(thread);
}

/* ---- a condition ---- */
typedef struct Bell {
	Cond cond;
	bool rung;
	unsigned n_woken;
} Bell;

static void sleeper(void *data) NO_THREAD_SAFETY_ANALYSIS
{
	Bell *bell = data;

	leaf_lock(&leaf);
	while (!bell->rung)
		cond_wait_until(&bell->cond, &leaf, UINT64_MAX);
	bell->n_woken++;
	leaf_unlock(&leaf);
}

static void test_cond_wakes(void) NO_THREAD_SAFETY_ANALYSIS
{
	Bell bell = {0};
	pthread_t threads[3];

	cond_init(&bell.cond);
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		g_assert_cmpint(
			thread_start_joinable(&threads[i], "sleeper", &role_worker, sleeper, &bell), ==, 0);
	leaf_lock(&leaf);
	bell.rung = true;
	cond_broadcast(&bell.cond);
	leaf_unlock(&leaf);
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		thread_join(threads[i]);
	g_assert_cmpuint(bell.n_woken, ==, 3);
	cond_done(&bell.cond);
}

static void test_cond_deadline(void) NO_THREAD_SAFETY_ANALYSIS
{
	uint64_t deadline_usec = clock_monotonic_usec() + 20 * USEC_PER_MSEC;
	Cond cond;

	cond_init(&cond);
	leaf_lock(&leaf);
	while (cond_wait_until(&cond, &leaf, deadline_usec))
		;
	g_assert_cmpuint(clock_monotonic_usec(), >=, deadline_usec);
	/* One that has passed does not sleep at all, and leaves the leaf held. */
	g_assert_false(cond_wait_until(&cond, &leaf, 1));
	g_assert_false(cond_wait_until(&cond, &leaf, 0));
	leaf_unlock(&leaf);
	cond_done(&cond);
}

/* ---- the VM lock ---- */
static void try_it(void *data) NO_THREAD_SAFETY_ANALYSIS
{
	bool *got = data;

	*got = lock_try(&lock);
	if (*got)
		lock_release(&lock);
}

static bool others_get_it(void)
{
	pthread_t thread;
	bool got;

	g_assert_cmpint(thread_start_joinable(&thread, "try", &role_event, try_it, &got), ==, 0);
	thread_join(thread);
	return got;
}

static void test_try(void) NO_THREAD_SAFETY_ANALYSIS
{
	g_assert_true(others_get_it());
	lock_take(&lock);
	g_assert_false(others_get_it());
	/* A leaf within the VM lock is the order. */
	leaf_lock(&leaf);
	leaf_unlock(&leaf);
	lock_release(&lock);
	g_assert_true(others_get_it());
	thread_assert_unlocked(__func__);
}

/* ---- the rules ---- */
static void two_leaves(void) NO_THREAD_SAFETY_ANALYSIS
{
	leaf_lock(&leaf);
	leaf_lock(&other_leaf);
}

static void leaf_not_held(void) NO_THREAD_SAFETY_ANALYSIS
{
	leaf_unlock(&leaf);
}

static void lock_within_leaf(void) NO_THREAD_SAFETY_ANALYSIS
{
	leaf_lock(&leaf);
	lock_take(&lock);
}

static void try_within_leaf(void) NO_THREAD_SAFETY_ANALYSIS
{
	leaf_lock(&leaf);
	(void)lock_try(&lock);
}

static void two_locks(void) NO_THREAD_SAFETY_ANALYSIS
{
	lock_take(&lock);
	lock_take(&other_lock);
}

static void try_second_lock(void) NO_THREAD_SAFETY_ANALYSIS
{
	lock_take(&lock);
	(void)lock_try(&other_lock);
}

static void release_within_leaf(void) NO_THREAD_SAFETY_ANALYSIS
{
	lock_take(&lock);
	leaf_lock(&leaf);
	lock_release(&lock);
}

static void lock_not_held(void) NO_THREAD_SAFETY_ANALYSIS
{
	lock_release(&lock);
}

static void wait_with_lock(void) NO_THREAD_SAFETY_ANALYSIS
{
	Cond cond;

	cond_init(&cond);
	lock_take(&lock);
	leaf_lock(&leaf);
	cond_wait_until(&cond, &leaf, 1);
}

static void wait_without_leaf(void) NO_THREAD_SAFETY_ANALYSIS
{
	Cond cond;

	cond_init(&cond);
	cond_wait_until(&cond, &leaf, 1);
}

static void block_with_leaf(void) NO_THREAD_SAFETY_ANALYSIS
{
	leaf_lock(&leaf);
	thread_assert_unlocked(__func__);
}

static void block_with_lock(void) NO_THREAD_SAFETY_ANALYSIS
{
	lock_take(&lock);
	thread_assert_unlocked(__func__);
}

static void bus_takes_lock(void) NO_THREAD_SAFETY_ANALYSIS
{
	thread_adopt_role(&role_bus);
	lock_take(&lock);
}

static void no_bus_role(void) NO_THREAD_SAFETY_ANALYSIS
{
	thread_adopt_role(&role_worker);
	assert_bus_thread("somewhere");
}

static void no_event_role(void) NO_THREAD_SAFETY_ANALYSIS
{
	assert_event_thread("somewhere");
}

static void no_worker_role(void) NO_THREAD_SAFETY_ANALYSIS
{
	thread_adopt_role(&role_event);
	assert_worker("somewhere");
}

static const struct {
	const char *name;
	void (*func)(void);
	const char *words; /* on standard error */
} rules[] = {
	{"two-leaves", two_leaves, "*leaf mutex is held already*"},
	{"leaf-not-held", leaf_not_held, "*no leaf mutex is held*"},
	{"lock-within-leaf", lock_within_leaf, "*a leaf mutex is held*"},
	{"try-within-leaf", try_within_leaf, "*a leaf mutex is held*"},
	{"two-locks", two_locks, "*another VM lock is held*"},
	{"try-second-lock", try_second_lock, "*another VM lock is held*"},
	{"release-within-leaf", release_within_leaf, "*lock_release*"},
	{"lock-not-held", lock_not_held, "*lock_release*"},
	{"wait-with-lock", wait_with_lock, "*waits with a lock held*"},
	{"wait-without-leaf", wait_without_leaf, "*waits with a lock held*"},
	{"block-with-leaf", block_with_leaf, "*block_with_leaf: may block, but a lock is held*"},
	{"block-with-lock", block_with_lock, "*block_with_lock: may block, but a lock is held*"},
	{"bus-takes-lock", bus_takes_lock, "*the bus thread takes no VM lock*"},
	{"no-bus-role", no_bus_role, "*somewhere: called from the wrong thread*"},
	{"no-event-role", no_event_role, "*somewhere: called from the wrong thread*"},
	{"no-worker-role", no_worker_role, "*somewhere: called from the wrong thread*"},
};

static void test_rule(gconstpointer data)
{
	unsigned i = GPOINTER_TO_UINT(data);

	if (g_test_subprocess()) {
		rules[i].func();
		return;
	}
	g_test_trap_subprocess(NULL, 30 * USEC_PER_SEC, G_TEST_SUBPROCESS_DEFAULT);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr(rules[i].words);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	leaf_init(&leaf);
	leaf_init(&other_leaf);
	lock_init(&lock);
	lock_init(&other_lock);
	g_test_add_func("/thread/start", test_start);
	g_test_add_func("/thread/adopt", test_adopt);
	g_test_add_func("/thread/cond-wakes", test_cond_wakes);
	g_test_add_func("/thread/cond-deadline", test_cond_deadline);
	g_test_add_func("/thread/try", test_try);
	for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++) {
		g_autofree char *path = g_strconcat("/thread/rule/", rules[i].name, NULL);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_rule);
	}
	return g_test_run();
}
