#pragma once
#include <stdbool.h>

/* Text from outside, made fit for error messages, logs and properties. */

/* Any thread: valid UTF-8 (what is not is replaced), without control characters: line ends stay when `lines`,
 * everything else of that kind becomes \xNN. The caller frees. */
char *text_printable(const char *text, bool lines);
