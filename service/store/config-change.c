/*
 * A definition changed, and two compared. A change is made on the dict that GetConfig gives: what is to be
 * changed is taken out, the new values are put in, and the whole is read as if it came from outside. So what
 * a change may be is what a definition may be.
 */
#include "store/config-keys.h"

#include <errno.h>
#include <string.h>

static bool is_in_dict(GVariant *dict, const char *key)
{
	g_autoptr(GVariant) value = g_variant_lookup_value(dict, key, NULL);

	return value != NULL;
}

int vm_config_change(const VmConfig *config, GVariant *changes, const char *const *unset,
	VmConfig **ret_config, char **ret_complaint)
{
	g_autoptr(GVariant) old = g_variant_ref_sink(vm_config_to_variant(config)), merged = NULL;
	g_autoptr(VmConfig) changed = NULL;
	GVariantBuilder builder;
	GVariantIter iter;
	const char *key;
	GVariant *value;
	int r;

	g_variant_builder_init(&builder, G_VARIANT_TYPE_VARDICT);
	g_variant_iter_init(&iter, old);
	while (g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
		if (!is_in_dict(changes, key) && !(unset && g_strv_contains(unset, key)))
			g_variant_builder_add(&builder, "{sv}", key, value);
		g_variant_unref(value);
	}
	/* In their order, repeated ones as well: the reader complains. */
	g_variant_iter_init(&iter, changes);
	while ((value = g_variant_iter_next_value(&iter))) {
		g_variant_builder_add_value(&builder, value);
		g_variant_unref(value);
	}
	merged = g_variant_ref_sink(g_variant_builder_end(&builder));
	r = vm_config_new_from_variant(merged, &changed, ret_complaint);
	if (r < 0)
		return r;
	if (strcmp(changed->uuid, config->uuid) != 0) {
		*ret_complaint = g_strdup_printf("UUID: is %s and can't be changed", config->uuid);
		return -EINVAL;
	}
	*ret_config = g_steal_pointer(&changed);
	return 0;
}

bool vm_config_equal(const VmConfig *a, const VmConfig *b)
{
	g_autoptr(GVariant) x = NULL, y = NULL;

	if (a == b)
		return true;
	x = g_variant_ref_sink(vm_config_to_variant(a));
	y = g_variant_ref_sink(vm_config_to_variant(b));
	return g_variant_equal(x, y);
}

/* Roost's own business: a change of them waits for nothing. */
static bool is_own_key(const char *key)
{
	static const char *const own[] = {"Name", "Description", "Autostart", "ShutdownTimeout", "OnPowerOff",
		"OnCrash", "Metadata", NULL};

	return g_strv_contains(own, key);
}

/* What it is to be told by comes with the next start. */
static bool lacks_panic(const VmConfig *defined, const VmConfig *running)
{
	return defined->on_crash != running->on_crash && vm_config_has_panic(defined) &&
	       !vm_config_has_panic(running);
}

char **vm_config_pending(const VmConfig *defined, const VmConfig *running)
{
	g_autoptr(GVariant) now_dict = NULL, then_dict = NULL;
	g_autoptr(GPtrArray) keys = NULL;
	GVariantIter iter;
	const char *key;
	GVariant *value;

	if (!running || running == defined)
		return NULL;
	now_dict = g_variant_ref_sink(vm_config_to_variant(defined));
	then_dict = g_variant_ref_sink(vm_config_to_variant(running));
	keys = g_ptr_array_new_with_free_func(g_free);
	g_variant_iter_init(&iter, now_dict);
	while (g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
		g_autoptr(GVariant) now = value, then = g_variant_lookup_value(then_dict, key, NULL);

		if (strcmp(key, "OnCrash") == 0 && lacks_panic(defined, running))
			g_ptr_array_add(keys, g_strdup(key));
		else if (!is_own_key(key) && (!then || !g_variant_equal(now, then)))
			g_ptr_array_add(keys, g_strdup(key));
	}
	if (keys->len == 0)
		return NULL;
	g_ptr_array_add(keys, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&keys), FALSE);
}
