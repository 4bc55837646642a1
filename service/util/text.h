#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Text from outside, made fit for error messages, logs and properties. */

/* Any thread: valid UTF-8 (what is not is replaced), without what can't be seen or does more than be seen
 * (control characters, marks that turn the direction of writing, line separators): line ends stay when
 * `lines`, everything else of that kind becomes \xNN. The caller frees. */
char *text_printable(const char *text, bool lines);

/* Any thread: how many insertions, deletions, replacements and swaps of neighbours make one of the other, in
 * any case of letters; UINT_MAX when either is longer than TEXT_DISTANCE_MAX. */
#define TEXT_DISTANCE_MAX 32
unsigned text_distance(const char *a, const char *b);

/* Any thread: how far a word may be from `text` to be what was meant: fewer than this. */
unsigned text_distance_limit(const char *text);

/* Any thread: in quotes and printable, of at most 64 bytes of the text; "..." says that there was more. The
 * caller frees. */
char *text_quote(const char *text);

/* Any thread: a key as a message names it: as it is when it looks like one (at most 64 letters, digits, '_'
 * and
 * '-'), else quoted. The caller frees. */
char *text_key(const char *key);

/* Any thread: no more than `max` bytes, of which the last three quarters are the text's end: what was between
 * is "[...]". Valid UTF-8 stays valid. The caller frees. */
char *text_cut_middle(const char *text, size_t max);

/* Any thread: the path of a file, printable; one of more than 255 bytes loses its middle. The caller frees.
 */
char *text_path(const char *path);
