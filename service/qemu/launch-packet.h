#pragma once
/*
 * What roostd and its launcher (helper-launch.c) say to each other, over a SOCK_SEQPACKET socket that is the
 * launcher's standard input.
 *
 *   launcher  LAUNCH_WORD, with its credentials, which the kernel vouches for; from now on it waits
 *   roostd    a packet with fds, and the launcher says LAUNCH_WORD again, likewise; as often as it takes.
 *             The first has none: so roostd has a pidfd of the launcher, and knows that it is its own, before
 *             it gives it anything
 *   launcher  the last packet's LAUNCH_WORD, and then becomes QEMU
 *
 * Whichever side finds the other gone gives up: a launcher that has not got all ends.
 *
 * Plain C: the launcher has no library but libc.
 */
#include <stdint.h>

#define LAUNCH_WORD     0x726f6f73U
#define LAUNCH_FDS_MAX  250   /* of one packet; the kernel takes 253 */
#define LAUNCH_ALL_MAX  4096U /* of one launch */
#define LAUNCH_ARGV_MAX (8U * 1024 * 1024)

/* What an fd is for: its number in QEMU, which the command line names, or one of these. */
#define LAUNCH_FD_OUTPUT (-1) /* standard output and error */
#define LAUNCH_FD_ARGV   (-2) /* a file with the command line's words, each with its NUL */

typedef struct LaunchPacket {
	uint32_t word;
	uint32_t n_fds;
	uint32_t is_last;
	int32_t numbers[LAUNCH_FDS_MAX];
} LaunchPacket;
