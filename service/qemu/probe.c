/*
 * What this host's QEMU is and can do.
 *
 * Each question is one child process: started, listened to, and gone, by itself or killed at the deadline,
 * before the answer is given. Its output is kept up to a limit, and the rest thrown away, so that it never
 * blocks on us.
 *
 * That KVM can be opened and that it runs a vCPU are two things: in sandboxes and nested hosts, QEMU may
 * abort over the CPU it is to offer, the vCPU may never come to its first instruction, or the kernel may
 * interpret a guest's instructions one by one, in which case a few of them work and an operating system would
 * take hours to boot. So the firmware below does what none of these survives: with the CPU model that VMs
 * get, it goes to 64-bit mode with paging, as kernels do, and counts to 16 million: 10 ms on a CPU, 100 ms
 * under TCG, half a minute when interpreted.
 */
#include "qemu/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "qemu/command-line.h"
#include "qemu/probe-internal.h"
#include "qemu/process.h"
#include "util/clock.h"
#include "util/fd.h"

#define OUTPUT_MAX     4096
#define OUTPUT_LEFT    (64 * 1024) /* what a pipe holds */
#define KILL_USEC      (1 * USEC_PER_SEC)
#define LINE_MAX_BYTES 256
#define VERSION_PREFIX "QEMU emulator version "

/* The ISA debug exit device ends QEMU with a code of (value << 1) | 1. QEMU's own failures are 1, so the
 * value is not 0. */
#define EXIT_VALUE 0x2a
#define EXIT_CODE  ((EXIT_VALUE << 1) | 1)

#define FIRMWARE_SIZE (64 * 1024)
#define FIRMWARE_TAIL 256

/* The last 256 bytes of 4 GiB. The page tables are made in RAM that is zero: 1000, 2000, 3000 map the last 2
 * MiB. */
/* clang-format off */
static const uint8_t firmware_start[] = {
	/* ffffff00 */ 0xfa,                                                 /* cli */
	/* ffffff01 */ 0x31, 0xc0,                                           /* xor %ax, %ax */
	/* ffffff03 */ 0x8e, 0xd8,                                           /* mov %ax, %ds */
	/* ffffff05 */ 0x66, 0xc7, 0x06, 0x00, 0x10, 0x03, 0x20, 0x00, 0x00, /* movl $0x2003, 0x1000 */
	/* ffffff0e */ 0x66, 0xc7, 0x06, 0x18, 0x20, 0x03, 0x30, 0x00, 0x00, /* movl $0x3003, 0x2018 */
	/* ffffff17 */ 0x66, 0xc7, 0x06, 0xf8, 0x3f, 0x83, 0x00, 0xe0, 0xff, /* movl $0xffe00083, 0x3ff8 */
	/* ffffff20 */ 0x66, 0xb8, 0x00, 0x10, 0x00, 0x00,                   /* mov $0x1000, %eax */
	/* ffffff26 */ 0x0f, 0x22, 0xd8,                                     /* mov %eax, %cr3 */
	/* ffffff29 */ 0x0f, 0x20, 0xe0,                                     /* mov %cr4, %eax */
	/* ffffff2c */ 0x0c, 0x20,                                           /* or $0x20, %al: PAE */
	/* ffffff2e */ 0x0f, 0x22, 0xe0,                                     /* mov %eax, %cr4 */
	/* ffffff31 */ 0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0,                   /* mov $0xc0000080, %ecx: EFER */
	/* ffffff37 */ 0x0f, 0x32,                                           /* rdmsr */
	/* ffffff39 */ 0x80, 0xcc, 0x01,                                     /* or $0x1, %ah: LME */
	/* ffffff3c */ 0x0f, 0x30,                                           /* wrmsr */
	/* ffffff3e */ 0x2e, 0x66, 0x0f, 0x01, 0x16, 0x80, 0xff,             /* lgdtl %cs:0xff80 */
	/* ffffff45 */ 0x0f, 0x20, 0xc0,                                     /* mov %cr0, %eax */
	/* ffffff48 */ 0x66, 0x0d, 0x01, 0x00, 0x00, 0x80,                   /* or $0x80000001, %eax: PG, PE */
	/* ffffff4e */ 0x0f, 0x22, 0xc0,                                     /* mov %eax, %cr0 */
	/* ffffff51 */ 0x66, 0xea, 0x59, 0xff, 0xff, 0xff, 0x08, 0x00,       /* ljmpl $8, $0xffffff59: 64 bit */
	/* ffffff59 */ 0xb9, 0x00, 0x00, 0x00, 0x01,                         /* mov $0x1000000, %ecx */
	/* ffffff5e */ 0xff, 0xc9,                                           /* dec %ecx */
	/* ffffff60 */ 0x75, 0xfc,                                           /* jnz 0xffffff5e */
	/* ffffff62 */ 0x66, 0xba, 0xf4, 0x00,                               /* mov $0xf4, %dx */
	/* ffffff66 */ 0xb0, EXIT_VALUE,                                     /* mov $EXIT_VALUE, %al */
	/* ffffff68 */ 0xee,                                                 /* out %al, (%dx) */
	/* ffffff69 */ 0xf4,                                                 /* hlt */
	/* ffffff6a */ 0xeb, 0xfd,                                           /* jmp 0xffffff69 */
	/* ffffff6c */ 0x00, 0x00, 0x00, 0x00,
	/* ffffff70 */ 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,       /* the GDT: null, 64-bit code */
	/* ffffff78 */ 0x00, 0x00, 0x00, 0x00, 0x00, 0x9b, 0x20, 0x00,
	/* ffffff80 */ 0x0f, 0x00, 0x70, 0xff, 0xff, 0xff,                   /* its limit and address */
};
static const uint8_t firmware_reset[] = {
	/* fffffff0 */ 0xe9, 0x0d, 0xff,                                     /* jmp 0xffffff00 */
};
/* clang-format on */
#define RESET_OFFSET 0xf0

G_STATIC_ASSERT(sizeof firmware_start <= RESET_OFFSET);

/* A child's whole story. */
typedef struct Run {
	char *output; /* valid UTF-8 */
	int code, signal;
	bool timed_out;
	bool is_gone; /* false: it did not even end when killed */
} Run;

static void run_clear(Run *run)
{
	g_free(run->output);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Run, run_clear)

/* Returns the number of bytes read, 0 when there is nothing now or no more to come; *fd is closed in the
 * latter case. */
static size_t output_read(int *fd, GString *output)
{
	char buffer[OUTPUT_MAX];
	ssize_t n;

	if (*fd < 0)
		return 0;
	n = read(*fd, buffer, sizeof buffer);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		fd_close(fd);
	if (n <= 0)
		return 0;
	g_string_append_len(output, buffer, (gssize)MIN((size_t)n, OUTPUT_MAX - output->len));
	return (size_t)n;
}

/* True when it has ended, false at the deadline. */
static bool wait_for_end(const QemuProcess *process, int *output_fd, GString *output, uint64_t deadline_usec)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = process->pidfd, .events = POLLIN},
			{.fd = *output_fd, .events = POLLIN},
		};
		uint64_t now_usec = clock_monotonic_usec();
		uint64_t left_msec =
			now_usec < deadline_usec ? (deadline_usec - now_usec) / USEC_PER_MSEC + 1 : 0;

		if (poll(fds, G_N_ELEMENTS(fds), (int)MIN(left_msec, G_MAXINT)) < 0 && errno != EINTR)
			return false;
		if (fds[0].revents)
			return true;
		if (fds[1].revents)
			output_read(output_fd, output);
		if (left_msec == 0)
			return false;
	}
}

static void run_to_end(const QemuProcess *process, int *output_fd, uint64_t timeout_usec, Run *run)
{
	GString *output = g_string_new(NULL);
	size_t left = OUTPUT_LEFT;

	run->is_gone = wait_for_end(process, output_fd, output, clock_monotonic_usec() + timeout_usec);
	if (!run->is_gone) {
		run->timed_out = true;
		qemu_process_signal(process, SIGKILL);
		run->is_gone = wait_for_end(process, output_fd, output, clock_monotonic_usec() + KILL_USEC);
	}
	if (run->is_gone)
		qemu_process_reap(process, &run->code, &run->signal);
	/* Not to the end of the pipe, which a child of the child may hold open for good. */
	while (left > 0) {
		size_t n = output_read(output_fd, output);

		if (n == 0)
			break;
		left -= MIN(n, left);
	}
	run->output = g_utf8_make_valid(output->str, (gssize)output->len);
	g_string_free(output, TRUE);
}

/* 0 when the child ran, whatever came of it; or a negative errno: it could not be started. */
static int run_child(char **argv, const int *fds, size_t n_fds, uint64_t timeout_usec, Run *ret_run)
{
	g_autoptr(QemuProcess) process = NULL;
	autofd int output_read_end = -1, output_write_end = -1;
	int ends[2];
	int r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	output_read_end = ends[0];
	output_write_end = ends[1];
	r = fd_set_nonblocking(output_read_end, true);
	if (r < 0)
		return r;
	r = qemu_process_spawn(argv, fds, n_fds, output_write_end, &process);
	if (r < 0)
		return r;
	fd_close(&output_write_end);
	/* QEMU aborts on some hosts: an answer, and nothing that anybody wants a core dump of. */
	prlimit(process->pid, RLIMIT_CORE, &(struct rlimit){0, 0}, NULL);
	run_to_end(process, &output_read_end, timeout_usec, ret_run);
	return 0;
}

/* The last line that is not empty, for messages. */
static char *last_line(const char *output)
{
	g_autofree char *text = g_strchomp(g_strdup(output));
	const char *line = strrchr(text, '\n');
	const char *end;

	line = line ? line + 1 : text;
	if (strlen(line) <= LINE_MAX_BYTES)
		return g_strdup(line);
	end = g_utf8_find_prev_char(line, line + LINE_MAX_BYTES + 1);
	return g_strdup_printf("%.*s...", (int)(end - line), line);
}

/* How it ended when it should have ended otherwise, with its last words. */
static char *run_describe(const Run *run, uint64_t timeout_usec)
{
	g_autofree char *words = last_line(run->output);
	const char *separator = *words ? ": " : "";

	if (run->timed_out)
		return g_strdup_printf("was still running after %.1f s%s%s%s",
			(double)timeout_usec / USEC_PER_SEC,
			run->is_gone ? "" : ", and not gone after SIGKILL", separator, words);
	if (run->signal != 0)
		return g_strdup_printf("ended by signal %d%s%s", run->signal, separator, words);
	return g_strdup_printf("exited with code %d%s%s", run->code, separator, words);
}

/* NULL: no version in it. */
static char *version_from_output(const char *output)
{
	const char *version = output + strlen(VERSION_PREFIX);
	size_t size;

	if (!g_str_has_prefix(output, VERSION_PREFIX) || !g_ascii_isdigit(*version))
		return NULL;
	size = strcspn(version, " \t\r\n(");
	return size < LINE_MAX_BYTES ? g_strndup(version, size) : NULL;
}

int qemu_probe_version(const char *binary, uint64_t timeout_usec, char **ret_version, char **ret_complaint)
{
	char *argv[] = {(char *)binary, (char *)"--version", NULL};
	g_auto(Run) run = {0};
	g_autofree char *version = NULL, *end = NULL;
	int r;

	r = run_child(argv, NULL, 0, timeout_usec, &run);
	if (r < 0) {
		*ret_complaint = g_strdup_printf("%s: %s", binary, g_strerror(-r));
		return r;
	}
	if (!run.timed_out && run.code == 0 && run.signal == 0) {
		version = version_from_output(run.output);
		if (version) {
			*ret_version = g_steal_pointer(&version);
			return 0;
		}
	}
	end = run_describe(&run, timeout_usec);
	*ret_complaint = g_strdup_printf("%s --version: no version of QEMU, %s", binary, end);
	return run.timed_out ? -ETIMEDOUT : -EBADMSG;
}

/* A file of FIRMWARE_SIZE, as the descriptor or a negative errno. */
static int firmware_new(void)
{
	autofd int fd = memfd_create("roost-probe-firmware", MFD_CLOEXEC);
	uint8_t tail[FIRMWARE_TAIL] = {0};
	int r;

	if (fd < 0)
		return -errno;
	memcpy(tail, firmware_start, sizeof firmware_start);
	memcpy(tail + RESET_OFFSET, firmware_reset, sizeof firmware_reset);
	if (ftruncate(fd, FIRMWARE_SIZE) < 0 || lseek(fd, FIRMWARE_SIZE - FIRMWARE_TAIL, SEEK_SET) < 0)
		return -errno;
	r = fd_write_all(fd, tail, sizeof tail);
	return r < 0 ? r : g_steal_fd(&fd);
}

static int run_firmware(const char *binary, VmAccelerator accelerator, uint64_t timeout_usec, Run *ret_run)
{
	autofd int firmware = firmware_new();
	g_autofree char *bios = g_strdup_printf("/dev/fd/%d", firmware);
	/* -no-reboot: a CPU that gives up on it ends QEMU at once. */
	const char *const argv[] = {binary, "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-machine", "pc", "-accel", vm_accelerator_to_string(accelerator), "-cpu",
		qemu_cpu_model(accelerator), "-m", "1M", "-bios", bios, "-device",
		"isa-debug-exit,iobase=0xf4,iosize=1", NULL};

	if (firmware < 0)
		return firmware;
	return run_child((char **)argv, &firmware, 1, timeout_usec, ret_run);
}

bool qemu_probe_accelerator(
	const char *binary, VmAccelerator accelerator, uint64_t timeout_usec, char **ret_why)
{
	g_auto(Run) run = {0};
	g_autofree char *end = NULL;
	int r;

	r = run_firmware(binary, accelerator, timeout_usec, &run);
	if (r < 0) {
		*ret_why = g_strdup_printf("%s: %s", binary, g_strerror(-r));
		return false;
	}
	if (!run.timed_out && run.signal == 0 && run.code == EXIT_CODE)
		return true;
	end = run_describe(&run, timeout_usec);
	*ret_why = g_strdup_printf("a trial VM %s", end);
	return false;
}

bool qemu_probe_kvm(const char *binary, uint64_t timeout_usec, char **ret_why)
{
	return qemu_probe_accelerator(binary, VM_ACCELERATOR_KVM, timeout_usec, ret_why);
}
