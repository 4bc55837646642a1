#pragma once
/*
 * Golden pairs: NAME.json, a definition with the keys of the contract, and NAME.args, the command line that
 * it must give, a word to a line. In the definitions @IMAGES@ stands for a folder: one that does not exist
 * where only words are compared, a real one where QEMU is started.
 */
#include "store/config.h"

#define GOLDEN_IMAGES "/srv/images"

/* All names, sorted; the caller g_strfreev()s. */
char **golden_names(void);

/* The path of a pair's file. The caller frees. */
char *golden_path(const char *name, const char *suffix);

/* The definition. Fails the test when it is none. */
VmConfig *golden_load(const char *name, const char *images);
VmConfig *golden_parse(const char *json, const char *images);
