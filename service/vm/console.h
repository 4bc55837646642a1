#pragma once
/*
 * Console: QEMU's end of a guest's serial or virtio console, and its readers. The event thread reads it,
 * always, into a ring; each reader has a place in the stream and gets what it has not seen, the ring's
 * content first. A reader that does not read falls behind and loses what the ring no longer has; it delays
 * neither the guest nor the others. What a reader writes goes to the guest, unless it is read-only.
 */
#include "vm/vm.h"

#define CONSOLE_RING_SIZE   (64U * 1024)
#define CONSOLE_TURN_MAX    (64U * 1024)
#define CONSOLE_READERS_MAX 64 /* of all consoles of one VM */

/* A reader on its way to the event thread. */
struct ConsoleRequest {
	ConsoleRequest *next;
	unsigned index; /* of the console in the config */
	int fd;         /* our end of the reader's socket pair */
	bool read_only;
};
/* Any thread. */
ConsoleRequest *console_request_free(ConsoleRequest *request);

typedef struct Console Console;

/* Takes fd over. */
int console_new(Vm *vm, int fd_consume, Console **ret_console) ON_EVENT_THREAD;
/* QEMU has exited: reads what is left, gives it to the readers as far as they take it at once. */
void console_finish(Console *console) ON_EVENT_THREAD;
/* Closes it and all its readers. */
Console *console_free(Console *console) ON_EVENT_THREAD;
/* Takes fd over. */
void console_add_reader(Console *console, int fd_consume, bool read_only) ON_EVENT_THREAD;
/* One that was counted in the mail is gone. */
void console_reader_gone(Vm *vm);
