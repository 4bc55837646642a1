/* vm/state.h: the words of the contract, whole. */
#include <glib.h>
#include <string.h>

#include "vm/state.h"

/* As the contract has them, in the order of the enumerations. */
static const char *const states[] = {
	"off", "starting", "running", "paused", "suspended", "stopping", "crashed"};
static const char *const reasons[] = {"defined", "user", "guest", "start-failed", "shutdown-timeout",
	"caller-left", "io-error", "no-space", "watchdog", "panic", "killed", "qemu-exit", "resync"};

static void test_states(void)
{
	g_assert_cmpuint(G_N_ELEMENTS(states), ==, VM_STATE_MAX);
	for (unsigned i = 0; i < VM_STATE_MAX; i++)
		g_assert_cmpstr(vm_state_to_string((VmState)i), ==, states[i]);
}

static void test_reasons(void)
{
	g_assert_cmpuint(G_N_ELEMENTS(reasons), ==, VM_REASON_MAX);
	for (unsigned i = 0; i < VM_REASON_MAX; i++)
		g_assert_cmpstr(vm_reason_to_string((VmReason)i), ==, reasons[i]);
}

static void test_active(void)
{
	for (unsigned i = 0; i < VM_STATE_MAX; i++)
		g_assert_cmpint(vm_state_is_active((VmState)i), ==,
			strcmp(states[i], "off") != 0 && strcmp(states[i], "crashed") != 0);
}

static void test_out_of_range(void)
{
	if (g_test_subprocess()) {
		vm_state_to_string(VM_STATE_MAX);
		return;
	}
	g_test_trap_subprocess(NULL, 30 * G_USEC_PER_SEC, G_TEST_SUBPROCESS_DEFAULT);
	g_test_trap_assert_failed();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/state/states", test_states);
	g_test_add_func("/state/reasons", test_reasons);
	g_test_add_func("/state/active", test_active);
	g_test_add_func("/state/out-of-range", test_out_of_range);
	return g_test_run();
}
