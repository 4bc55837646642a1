#pragma once
/* What the files of roost-helper share. */

/* Says why on standard error, and ends. */
__attribute__((format(printf, 1, 2))) _Noreturn void helper_die(const char *format, ...);

/* helper-launch.c: becomes QEMU, by what comes through standard input. */
_Noreturn void helper_launch(void);
