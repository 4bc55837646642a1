#pragma once
/*
 * JSON from outside (QMP, definitions on disk), bounded before it is parsed, and GVariant, which is what
 * crosses rooms. json-glib does the parsing; this file adds the bounds, and the mapping of the D-Bus
 * contract: string s, boolean b, integer x, fraction d, object a{sv}, array av. A null member of an object or
 * an array is left out: D-Bus has no null.
 */
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stddef.h>

/* A member of the outermost object: its key without quotes (escapes as they stand) and its value, both
 * pointing into the text; the value without white space around it. */
typedef struct JsonSlice {
	const char *key;
	size_t key_size;
	const char *value;
	size_t value_size;
} JsonSlice;

/* Any thread: checks that `text` is exactly one JSON value (an object when `func` is given) with at most
 * max_depth levels of {} and [], well-formed, in valid UTF-8, without a NUL (nor an escaped one, nor half a
 * surrogate pair), integers within 64 bits; calls `func` for each member of the outermost object, in order.
 * In one pass, without recursion or allocation: it makes json-glib's recursive parser safe to call, and
 * spares it where a few members are all that is needed. `func` may be called before an error is found further
 * on. 0, -EBADMSG (not JSON), -E2BIG (too deep). */
typedef void (*JsonMemberFunc)(const JsonSlice *member, void *user);
int json_scan(const char *text, size_t size, unsigned max_depth, JsonMemberFunc func, void *user);

/* The same for an array: `func` gets each element of the outermost level, as a value without a key. */
int json_scan_elements(const char *text, size_t size, unsigned max_depth, JsonMemberFunc func, void *user);

/* Any thread: the member `key` of the object `text` (well-formed already) as a value slice; false: none. A
 * repeated key: the last one, as in json-glib. */
bool json_find(const char *text, size_t size, const char *key, JsonSlice *ret);

/* Any thread: the value slice of a JSON string, decoded, NULL when it is none. The caller frees. */
char *json_slice_to_string(const char *value, size_t size);

/* Any thread: size and depth checked, then parsed by json-glib. 0, -EFBIG (over max_size), or json_scan()'s
 * errors. */
int json_parse(const char *text, size_t size, size_t max_size, unsigned max_depth, JsonNode **ret_node);

/* Any thread: a floating reference; NULL for null. */
GVariant *json_to_variant(JsonNode *node);

/* Any thread: an object's text to a{sv}, floating, for the data of an event: strings over max_string bytes
 * are cut at a character boundary. Text that is no object gives an empty a{sv}. What is beyond 16 levels or
 * 16 KiB in all is left out: message buses throw out a sender whose messages nest too deep or grow too large.
 */
GVariant *json_text_to_vardict(const char *text, size_t size, size_t max_string);
