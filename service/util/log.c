#include "util/log.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

static int log_level = LOG_INFO;

void log_set_level(int level)
{
	log_level = level;
}

/* JOURNAL_STREAM names the device and inode of the stream that systemd connected (systemd.exec(5)). */
static bool look_for_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == ino;
}

static bool to_journal(void)
{
	static atomic_int known; /* 0: not looked yet; who looks at the same time finds the same */
	int state = atomic_load(&known);

	if (state == 0) {
		state = look_for_journal() ? 2 : 1;
		atomic_store(&known, state);
	}
	return state == 2;
}

static void log_text(int level, const char *vm_name, const char *vm_uuid, const char *text)
{
	if (to_journal()) {
		if (vm_name)
			sd_journal_send("PRIORITY=%d", level, "MESSAGE=%s: %s", vm_name, text, "ROOST_VM=%s",
				vm_name, "ROOST_UUID=%s", vm_uuid, NULL);
		else
			sd_journal_send("PRIORITY=%d", level, "MESSAGE=%s", text, NULL);
		return;
	}
	if (vm_name)
		fprintf(stderr, "roostd: %s: %s\n", vm_name, text);
	else
		fprintf(stderr, "roostd: %s\n", text);
}

void log_line(int level, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	if (level > log_level)
		return;
	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	log_text(level, NULL, NULL, text);
}

void log_vm(int level, const char *vm_name, const char *vm_uuid, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	if (level > log_level)
		return;
	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	log_text(level, vm_name, vm_uuid, text);
}
