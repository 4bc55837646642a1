#pragma once
#include <stdbool.h>

/* Text from outside, made fit for error messages, logs and properties. */

/* Any thread: valid UTF-8 (what is not is replaced), without control characters: line ends stay when `lines`,
 * everything else of that kind becomes \xNN. The caller frees. */
char *text_printable(const char *text, bool lines);

/* Any thread: how many insertions, deletions, replacements and swaps of neighbours make one of the other, in
 * any case of letters; UINT_MAX when either is longer than TEXT_DISTANCE_MAX. */
#define TEXT_DISTANCE_MAX 32
unsigned text_distance(const char *a, const char *b);

/* Any thread: how far a word may be from `text` to be what was meant: fewer than this. */
unsigned text_distance_limit(const char *text);
