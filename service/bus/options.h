#pragma once
/*
 * Options: the a{sv} that is a method's last argument, read by a table into a typed struct. An unknown,
 * repeated or ill-typed key is VM_ERROR_INVALID_ARGS, with a message that names it; no integer conversion.
 * Pure.
 */
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct OptionRow {
	const char *key;
	char type;     /* b, t, u: bool, uint64_t, uint32_t; s, o: const char *, borrowed from the dictionary;
			  OPTION_STRINGS: char **, the caller g_strfreev()s */
	size_t offset; /* of the value in the struct */
	size_t set_offset; /* of a bool: whether it was given; or OPTION_NO_FLAG */
} OptionRow;

#define OPTION_STRINGS 'a' /* as */
#define OPTION_NO_FLAG ((size_t)-1)

/* `dict` is an a{sv}. The struct holds the defaults and is written to only for keys that were given. `member`
 * is for the messages. On failure what it holds is undefined. */
bool options_parse(GVariant *dict, const char *member, const OptionRow *rows, size_t n_rows, void *target,
	GError **error);
