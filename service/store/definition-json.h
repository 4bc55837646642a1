#pragma once
/* Inside the store: a definition as JSON text (store/definition.h shows it). Pure. */
#include "store/definition.h"

#define DEFINITION_FORMAT_VERSION 1
/* Nothing but quotes and backslashes in paths, and what is in a Description, grows on its way to JSON. */
#define DEFINITION_JSON_MAX (4 * VM_CONFIG_SIZE_MAX)

/* The text, NUL-terminated; the caller frees. */
char *definition_to_json(const Definition *definition, size_t *ret_size);

/* Fills *ret, which the caller clears then. Or with *ret_complaint set:
 *  -EPROTONOSUPPORT a newer format version
 *  -EOPNOTSUPP      a key of the contract that this version does not carry out
 *  -EBADMSG, -E2BIG, -EFBIG, -EINVAL  damaged */
int definition_from_json(const char *text, size_t size, Definition *ret, char **ret_complaint);
