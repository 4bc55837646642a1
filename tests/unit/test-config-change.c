/* store/config-change.c: definitions changed and compared. */
#include <errno.h>
#include <string.h>

#include "config-text.h"

static void assert_pending(VmConfig *defined, VmConfig *running, const char *expected)
{
	g_auto(GStrv) keys = vm_config_pending(defined, running);
	g_autofree char *text = keys ? g_strjoinv(" ", keys) : g_strdup("");

	g_assert_cmpstr(text, ==, expected);
}

static VmConfig *change(const VmConfig *config, const char *changes, const char *const *unset)
{
	g_autoptr(GVariant) dict = parse_dict(changes);
	g_autofree char *complaint = NULL;
	VmConfig *changed = NULL;
	int r = vm_config_change(config, dict, unset, &changed, &complaint);

	g_assert_cmpstr(complaint, ==, NULL);
	g_assert_cmpint(r, ==, 0);
	return changed;
}

static void assert_no_change(const VmConfig *config, const char *changes, const char *const *unset, int error,
	const char *expected)
{
	g_autoptr(GVariant) dict = parse_dict(changes);
	g_autofree char *complaint = NULL;
	VmConfig *changed = NULL;
	int r = vm_config_change(config, dict, unset, &changed, &complaint);

	g_assert_cmpstr(complaint, ==, expected);
	g_assert_cmpint(r, ==, error);
	g_assert_null(changed);
}

static void test_change(void)
{
	g_autoptr(VmConfig) config =
		config_from_text("{" BASE ", 'VCPUs': <uint32 2>, 'Disks': <[{" DISK "}]>}");
	g_autoptr(VmConfig) same = change(config, "@a{sv} {}", NULL);
	g_autoptr(VmConfig) more = change(config, "{'VCPUs': <uint32 3>, 'RNG': <true>}", NULL);
	g_autoptr(VmConfig) fewer =
		change(config, "@a{sv} {}", (const char *const[]){"VCPUs", "Disks", NULL});
	g_autoptr(VmConfig) other = change(config,
		"{'Disks': <[{'Path': <'/b'>, 'Format': <'raw'>}, {'Path': <'/a'>, 'Format': <'raw'>}]>}",
		NULL);

	g_assert_true(vm_config_equal(config, config));
	g_assert_true(vm_config_equal(config, same));
	g_assert_false(vm_config_equal(config, more));
	g_assert_cmpuint(more->vcpus, ==, 3);
	g_assert_true(more->rng);
	g_assert_cmpuint(more->n_disks, ==, 1);
	g_assert_cmpuint(fewer->vcpus, ==, 1);
	g_assert_cmpuint(fewer->n_disks, ==, 0);
	g_assert_cmpuint(other->n_disks, ==, 2);
	g_assert_cmpstr(other->disks[0].path, ==, "/b");
	assert_pending(same, config, "");
	assert_pending(more, config, "VCPUs RNG");
	assert_pending(fewer, config, "VCPUs Disks");
	assert_pending(more, NULL, "");
}

static void test_own_keys(void)
{
	g_autoptr(VmConfig) config = config_from_text("{" BASE "}");
	g_autoptr(VmConfig) changed = change(config,
		"{'Name': <'shop'>, 'Description': <'x'>, 'Autostart': <true>, 'ShutdownTimeout': <uint64 "
		"1>, "
		"'Metadata': <{'a': 'b'}>}",
		NULL);

	g_assert_false(vm_config_equal(config, changed));
	assert_pending(changed, config, "");
}

/* Roost's own, but for the device that a panic is told by. */
static void test_policies(void)
{
	g_autoptr(VmConfig) config = config_from_text("{" BASE "}");
	g_autoptr(VmConfig) others =
		change(config, "{'OnPowerOff': <'restart'>, 'OnReboot': <'destroy'>}", NULL);
	g_autoptr(VmConfig) crash = change(config, "{'OnCrash': <'restart'>}", NULL);
	g_autoptr(VmConfig) other_crash = change(config, "{'OnCrash': <'destroy'>}", NULL);
	g_autoptr(VmConfig) panic = change(config, "{'Panic': <true>}", NULL);
	g_autoptr(VmConfig) both = change(panic, "{'OnCrash': <'restart'>}", NULL);

	assert_pending(others, config, "OnReboot");
	assert_pending(crash, config, "OnCrash");
	assert_pending(other_crash, crash, "");
	assert_pending(config, crash, "");
	assert_pending(both, panic, "");
}

static void test_refused(void)
{
	g_autoptr(VmConfig) config = config_from_text("{" BASE ", 'Kernel': <'/k'>, 'Initrd': <'/i'>, "
						      "'UUID': <'11111111-2222-4333-8444-555555555555'>}");
	static const char *const kernel[] = {"Kernel", NULL}, *const name[] = {"Name", NULL},
				 *const uuid[] = {"UUID", NULL};

	assert_no_change(config, "@a{sv} {}", kernel, -EINVAL, "Initrd: needs Kernel");
	assert_no_change(config, "@a{sv} {}", name, -EINVAL, "Name: is required");
	assert_no_change(config, "@a{sv} {}", uuid, -EINVAL,
		"UUID: is 11111111-2222-4333-8444-555555555555 and can't be changed");
	assert_no_change(
		config, "{'TPM': <true>}", NULL, -EOPNOTSUPP, "TPM: not supported by this version yet");
	assert_no_change(config, "{'VCPUs': <'2'>}", NULL, -EINVAL, "VCPUs: has type 's', needs 'u'");
	/* The same UUID, in another spelling. */
	{
		g_autoptr(VmConfig) same =
			change(config, "{'UUID': <'11111111222243338444555555555555'>}", NULL);

		g_assert_true(vm_config_equal(config, same));
	}
}

static void test_keys(void)
{
	static const struct {
		const char *key;
		int r;
		const char *complaint;
	} rows[] = {
		{"Name", 0, NULL},
		{"QemuArguments", 0, NULL},
		{"TPM", -EOPNOTSUPP, "TPM: not supported by this version yet"},
		{"memory", -EINVAL, "memory: unknown key; did you mean 'Memory'?"},
		{"", -EINVAL, "'': unknown key"},
	};

	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *complaint = NULL;

		g_assert_cmpint(vm_config_check_key(rows[i].key, &complaint), ==, rows[i].r);
		g_assert_cmpstr(complaint, ==, rows[i].complaint);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config-change/change", test_change);
	g_test_add_func("/config-change/own-keys", test_own_keys);
	g_test_add_func("/config-change/policies", test_policies);
	g_test_add_func("/config-change/refused", test_refused);
	g_test_add_func("/config-change/keys", test_keys);
	return g_test_run();
}
