#pragma once
/* Definitions written as GVariant text. */
#include <glib.h>

#include "store/config.h"

#define BASE "'Name': <'web'>, 'Memory': <uint64 1073741824>"
#define DISK "'Path': <'/a'>, 'Format': <'raw'>"

static inline GVariant *parse_dict(const char *text)
{
	g_autoptr(GError) error = NULL;
	GVariant *dict = g_variant_parse(NULL, text, NULL, NULL, &error);

	if (error)
		g_error("%s: %s", text, error->message);
	return dict;
}

static inline VmConfig *config_from_text(const char *text)
{
	g_autoptr(GVariant) dict = parse_dict(text);
	g_autofree char *complaint = NULL;
	VmConfig *config = NULL;
	int r = vm_config_new_from_variant(dict, &config, &complaint);

	g_assert_cmpstr(complaint, ==, NULL);
	g_assert_cmpint(r, ==, 0);
	return config;
}

static inline void assert_refused(GVariant *dict, int error, const char *expected)
{
	g_autofree char *complaint = NULL;
	VmConfig *config = NULL;
	int r = vm_config_new_from_variant(dict, &config, &complaint);

	g_assert_cmpstr(complaint, ==, expected);
	g_assert_cmpint(r, ==, error);
	g_assert_null(config);
}
