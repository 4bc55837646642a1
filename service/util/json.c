/*
 * The scanner is a loop over tokens with a state (what may come next), a depth and one bit per level (object
 * or array): no recursion and no allocation, so that text from outside can exhaust neither the stack nor the
 * heap before it is known to be harmless. It is stricter than json-glib where that one would guess:
 * surrogates come in pairs, nothing decodes to a NUL, and integers fit 64 bits (json-glib wraps them
 * silently).
 *
 * What passed it may go to json-glib, which makes nodes, and from there to GVariant. The variants for the bus
 * are bounded once more, in depth and in total: message buses throw out a sender whose messages nest too deep
 * or grow too large.
 */
#include "util/json.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define DEPTH_MAX 64U

/* Of the data of one event. Three levels of a D-Bus message per level of JSON, and 64 is what dbus-daemon
 * takes. */
#define VARDICT_DEPTH_MAX 16U
#define VARDICT_SIZE_MAX  (16U * 1024)

/* ---- tokens: each takes the start of one and returns the byte after it, or NULL ---- */

/* The bytes that a string is mostly made of. */
static inline bool is_plain(char c)
{
	unsigned char byte = (unsigned char)c;

	return byte >= ' ' && byte < 0x80 && byte != '"' && byte != '\\';
}

static inline bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *hex4(const char *at, const char *end, gunichar *ret)
{
	gunichar value = 0;

	if (end - at < 4)
		return NULL;
	for (unsigned i = 0; i < 4; i++) {
		int digit = g_ascii_xdigit_value(at[i]);

		if (digit < 0)
			return NULL;
		value = value << 4 | (gunichar)digit;
	}
	*ret = value;
	return at + 4;
}

/* `at` is behind the backslash. */
static const char *escape(const char *at, const char *end, gunichar *ret)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *name;
	gunichar high, low;

	if (at == end || *at == '\0')
		return NULL;
	if (*at != 'u') {
		name = strchr(names, *at);
		if (!name)
			return NULL;
		*ret = (gunichar)values[name - names];
		return at + 1;
	}
	at = hex4(at + 1, end, &high);
	if (!at || high == 0 || (high >= 0xdc00 && high <= 0xdfff))
		return NULL;
	if (high >= 0xd800 && high <= 0xdbff) {
		if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
			return NULL;
		at = hex4(at + 2, end, &low);
		if (!at || low < 0xdc00 || low > 0xdfff)
			return NULL;
		high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	}
	*ret = high;
	return at;
}

/* One character of two to four bytes, in its shortest form, no surrogate. */
static const char *utf8(const char *at, const char *end)
{
	gunichar c = g_utf8_get_char_validated(at, end - at);

	return c == (gunichar)-1 || c == (gunichar)-2 ? NULL : g_utf8_next_char(at);
}

/* `at` is behind the opening quote. Decodes into `text` when there is one. */
static const char *string(const char *at, const char *end, GString *text)
{
	while (at) {
		const char *from = at;
		gunichar c;

		while (at < end && is_plain(*at))
			at++;
		if (text)
			g_string_append_len(text, from, at - from);
		if (at == end)
			return NULL;
		if (*at == '"')
			return at + 1;
		if (*at == '\\') {
			at = escape(at + 1, end, &c);
			if (at && text)
				g_string_append_unichar(text, c);
		} else if ((unsigned char)*at < ' ') {
			return NULL;
		} else {
			from = at;
			at = utf8(at, end);
			if (at && text)
				g_string_append_len(text, from, at - from);
		}
	}
	return NULL;
}

static const char *digits(const char *at, const char *end)
{
	const char *from = at;

	while (at < end && is_digit(*at))
		at++;
	return at > from ? at : NULL;
}

static bool fits_64_bits(const char *at, const char *end, bool negative)
{
	const char *limit = negative ? "9223372036854775808" : "18446744073709551615";
	size_t size = (size_t)(end - at), limit_size = strlen(limit);

	return size < limit_size || (size == limit_size && memcmp(at, limit, size) <= 0);
}

static const char *number(const char *at, const char *end)
{
	bool negative = *at == '-', integer = true;
	const char *from = at + negative;

	at = digits(from, end);
	if (!at || (*from == '0' && at > from + 1))
		return NULL;
	if (at < end && *at == '.') {
		integer = false;
		at = digits(at + 1, end);
		if (!at)
			return NULL;
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		integer = false;
		at++;
		if (at < end && (*at == '+' || *at == '-'))
			at++;
		return digits(at, end);
	}
	if (integer && !fits_64_bits(from, at, negative))
		return NULL;
	return at;
}

static const char *word(const char *at, const char *end, const char *expected)
{
	size_t size = strlen(expected);

	return (size_t)(end - at) >= size && memcmp(at, expected, size) == 0 ? at + size : NULL;
}

static inline const char *scalar(const char *at, const char *end)
{
	switch (*at) {
	case '"':
		return string(at + 1, end, NULL);
	case 't':
		return word(at, end, "true");
	case 'f':
		return word(at, end, "false");
	case 'n':
		return word(at, end, "null");
	default:
		return number(at, end);
	}
}

/* ---- the scanner ---- */

typedef enum Expect {
	VALUE,
	VALUE_OR_END, /* behind [ */
	KEY,
	KEY_OR_END, /* behind { */
	COLON,
	NEXT_OR_END, /* behind a value */
} Expect;

typedef struct Scanner {
	Expect expect;
	unsigned depth, max_depth;
	uint64_t objects; /* bit n-1: level n is an object */
	JsonMemberFunc func;
	void *user;
	JsonSlice member; /* of level 1, the one being scanned */
} Scanner;

static inline bool in_object(const Scanner *scanner)
{
	return scanner->depth > 0 && (scanner->objects >> (scanner->depth - 1) & 1);
}

static inline void value_done(Scanner *scanner, const char *end)
{
	scanner->expect = NEXT_OR_END;
	if (scanner->depth != 1 || !scanner->func)
		return;
	scanner->member.value_size = (size_t)(end - scanner->member.value);
	scanner->func(&scanner->member, scanner->user);
}

static inline int open_level(Scanner *scanner, bool object)
{
	if (scanner->depth >= scanner->max_depth)
		return -E2BIG;
	scanner->objects &= ~(1ULL << scanner->depth);
	scanner->objects |= (uint64_t)object << scanner->depth;
	scanner->depth++;
	scanner->expect = object ? KEY_OR_END : VALUE_OR_END;
	return 0;
}

static inline int close_level(Scanner *scanner, const char *at)
{
	if (in_object(scanner) != (*at == '}'))
		return -EBADMSG;
	scanner->depth--;
	value_done(scanner, at + 1);
	return 0;
}

static inline int scan_value(Scanner *scanner, const char **at, const char *end)
{
	const char *from = *at;

	if (scanner->depth == 1)
		scanner->member.value = from;
	if (*from == '{' || *from == '[') {
		*at = from + 1;
		return open_level(scanner, *from == '{');
	}
	*at = scalar(from, end);
	if (!*at)
		return -EBADMSG;
	value_done(scanner, *at);
	return 0;
}

static inline int scan_key(Scanner *scanner, const char **at, const char *end)
{
	const char *from = *at;

	if (*from != '"')
		return -EBADMSG;
	*at = string(from + 1, end, NULL);
	if (!*at)
		return -EBADMSG;
	if (scanner->depth == 1) {
		scanner->member.key = from + 1;
		scanner->member.key_size = (size_t)(*at - from) - 2;
	}
	scanner->expect = COLON;
	return 0;
}

/* One token; `at` is not at the end and not at white space. */
static inline int scan_token(Scanner *scanner, const char **at, const char *end)
{
	const char *from = *at;

	switch (scanner->expect) {
	case VALUE_OR_END:
	case KEY_OR_END:
		if (*from == ']' || *from == '}') {
			*at = from + 1;
			return close_level(scanner, from);
		}
		return scanner->expect == KEY_OR_END ? scan_key(scanner, at, end)
						     : scan_value(scanner, at, end);
	case VALUE:
		return scan_value(scanner, at, end);
	case KEY:
		return scan_key(scanner, at, end);
	case COLON:
		*at = from + 1;
		scanner->expect = VALUE;
		return *from == ':' ? 0 : -EBADMSG;
	case NEXT_OR_END:
		*at = from + 1;
		if (scanner->depth == 0)
			return -EBADMSG;
		if (*from == ']' || *from == '}')
			return close_level(scanner, from);
		if (*from != ',')
			return -EBADMSG;
		scanner->expect = in_object(scanner) ? KEY : VALUE;
		return 0;
	}
	g_assert_not_reached();
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && is_space(*at))
		at++;
	return at;
}

static int scan(Scanner *scanner, const char *text, size_t size)
{
	const char *at = text, *end = text + size;
	int r;

	while (at < end) {
		if (is_space(*at)) {
			at++;
			continue;
		}
		r = scan_token(scanner, &at, end);
		if (r < 0)
			return r;
	}
	return scanner->depth == 0 && scanner->expect == NEXT_OR_END ? 0 : -EBADMSG;
}

static bool begins_with(const char *text, size_t size, char bracket)
{
	const char *at = skip_space(text, text + size);

	return at < text + size && *at == bracket;
}

int json_scan(const char *text, size_t size, unsigned max_depth, JsonMemberFunc func, void *user)
{
	Scanner scanner = {
		.expect = VALUE, .max_depth = MIN(max_depth, DEPTH_MAX), .func = func, .user = user};

	return func && !begins_with(text, size, '{') ? -EBADMSG : scan(&scanner, text, size);
}

int json_scan_elements(const char *text, size_t size, unsigned max_depth, JsonMemberFunc func, void *user)
{
	Scanner scanner = {
		.expect = VALUE, .max_depth = MIN(max_depth, DEPTH_MAX), .func = func, .user = user};

	return begins_with(text, size, '[') ? scan(&scanner, text, size) : -EBADMSG;
}

/* ---- looking things up ---- */

typedef struct Find {
	const char *key;
	size_t key_size;
	JsonSlice found;
} Find;

/* A repeated key: the last one counts, as in json-glib. */
static void find_member(const JsonSlice *member, void *user)
{
	Find *find = user;

	if (member->key_size == find->key_size && memcmp(member->key, find->key, find->key_size) == 0)
		find->found = *member;
}

bool json_find(const char *text, size_t size, const char *key, JsonSlice *ret)
{
	Find find = {.key = key, .key_size = strlen(key)};

	if (json_scan(text, size, DEPTH_MAX, find_member, &find) < 0 || !find.found.value)
		return false;
	*ret = find.found;
	return true;
}

char *json_slice_to_string(const char *value, size_t size)
{
	g_autoptr(GString) text = NULL;

	if (size < 2 || value[0] != '"')
		return NULL;
	text = g_string_sized_new(size);
	if (string(value + 1, value + size, text) != value + size)
		return NULL;
	return g_string_free(g_steal_pointer(&text), FALSE);
}

int json_parse(const char *text, size_t size, size_t max_size, unsigned max_depth, JsonNode **ret_node)
{
	g_autoptr(JsonParser) parser = NULL;
	int r;

	if (size > max_size || size > G_MAXSSIZE)
		return -EFBIG;
	r = json_scan(text, size, max_depth, NULL, NULL);
	if (r < 0)
		return r;
	parser = json_parser_new();
	if (!json_parser_load_from_data(parser, text, (gssize)size, NULL))
		return -EBADMSG;
	*ret_node = json_parser_steal_root(parser);
	return 0;
}

/* ---- GVariant ---- */

typedef struct Bounds {
	size_t max_string;
	unsigned depth; /* levels that may still be opened */
	size_t size;    /* bytes that may still be used, roughly */
} Bounds;

static GVariant *node_to_variant(JsonNode *node, Bounds *bounds);

static bool bounds_take(Bounds *bounds, size_t size)
{
	if (bounds->size < size) {
		bounds->size = 0;
		return false;
	}
	bounds->size -= size;
	return true;
}

static GVariant *string_to_variant(const char *text, Bounds *bounds)
{
	size_t size = strlen(text);
	const char *cut;

	if (size > bounds->max_string) {
		for (cut = text + bounds->max_string; cut > text && (*cut & 0xc0) == 0x80;)
			cut--;
		size = (size_t)(cut - text);
	}
	return bounds_take(bounds, size) ? g_variant_new_take_string(g_strndup(text, size)) : NULL;
}

static GVariant *array_to_variant(JsonArray *array, Bounds *bounds)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("av"));

	for (guint i = 0; i < json_array_get_length(array) && bounds->size > 0; i++) {
		GVariant *value = node_to_variant(json_array_get_element(array, i), bounds);

		if (value)
			g_variant_builder_add(&builder, "v", value);
	}
	return g_variant_builder_end(&builder);
}

static GVariant *object_to_variant(JsonObject *object, Bounds *bounds)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);
	JsonObjectIter iter;
	const char *key;
	JsonNode *node;

	json_object_iter_init_ordered(&iter, object);
	while (json_object_iter_next_ordered(&iter, &key, &node)) {
		GVariant *value = bounds_take(bounds, strlen(key)) ? node_to_variant(node, bounds) : NULL;

		if (value)
			g_variant_builder_add(&builder, "{sv}", key, value);
	}
	return g_variant_builder_end(&builder);
}

static GVariant *container_to_variant(JsonNode *node, Bounds *bounds)
{
	GVariant *variant;

	if (bounds->depth == 0)
		return NULL;
	bounds->depth--;
	variant = JSON_NODE_HOLDS_OBJECT(node) ? object_to_variant(json_node_get_object(node), bounds)
					       : array_to_variant(json_node_get_array(node), bounds);
	bounds->depth++;
	return variant;
}

/* Floating; NULL for null and for what is out of bounds. */
static GVariant *node_to_variant(JsonNode *node, Bounds *bounds)
{
	/* What a value costs besides its text: its type and its alignment. */
	if (!bounds_take(bounds, 16))
		return NULL;
	if (!JSON_NODE_HOLDS_VALUE(node))
		return JSON_NODE_HOLDS_NULL(node) ? NULL : container_to_variant(node, bounds);
	switch (json_node_get_value_type(node)) {
	case G_TYPE_STRING:
		return string_to_variant(json_node_get_string(node), bounds);
	case G_TYPE_BOOLEAN:
		return g_variant_new_boolean(json_node_get_boolean(node));
	case G_TYPE_DOUBLE:
		return g_variant_new_double(json_node_get_double(node));
	default:
		return g_variant_new_int64(json_node_get_int(node));
	}
}

GVariant *json_to_variant(JsonNode *node)
{
	Bounds bounds = {.max_string = G_MAXSIZE, .depth = DEPTH_MAX, .size = G_MAXSIZE};

	return node_to_variant(node, &bounds);
}

GVariant *json_text_to_vardict(const char *text, size_t size, size_t max_string)
{
	Bounds bounds = {.max_string = max_string, .depth = VARDICT_DEPTH_MAX, .size = VARDICT_SIZE_MAX};
	g_autoptr(JsonNode) node = NULL;

	if (json_parse(text, size, G_MAXSIZE, DEPTH_MAX, &node) < 0 || !JSON_NODE_HOLDS_OBJECT(node))
		return g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0);
	return node_to_variant(node, &bounds);
}
