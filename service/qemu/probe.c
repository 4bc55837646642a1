/*
 * What this host's QEMU is and can do.
 *
 * Each question is one child process (run.h).
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
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "qemu/command-line.h"
#include "qemu/probe-internal.h"
#include "qemu/run.h"
#include "util/clock.h"
#include "util/fd.h"

/* The ISA debug exit device ends QEMU with a code of (value << 1) | 1. QEMU's own failures are 1, so the
 * value is not 0. */
#define EXIT_VALUE 0x2a
#define EXIT_CODE  ((EXIT_VALUE << 1) | 1)

#define FIRMWARE_SIZE (64 * 1024)
#define FIRMWARE_TAIL 256

/* A CPU needs a fiftieth of it. */
#define ENOUGH_CPU_USEC (500 * USEC_PER_MSEC)

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

/* ---- capabilities ---- */
static int run_dialogue(const char *binary, uint64_t timeout_usec, int cancel_fd, QemuRun *ret_run)
{
	/* As VMs are started, but without a machine. The sandbox forbids what a VM's does: what QEMU can't
	 * say under it, it can't do under it. */
	const char *const argv[] = {binary, "-nodefaults", "-no-user-config", "-sandbox",
		QEMU_SANDBOX_OPTIONS, "-S", "-display", "none", "-machine", "none", "-qmp", "stdio", NULL};
	g_autofree char *input = qemu_dialogue_questions();
	QemuRunOptions options = {.input = input,
		.answer_max = QEMU_DIALOGUE_MAX,
		.is_complete = qemu_dialogue_is_complete,
		.goodbye = QEMU_DIALOGUE_GOODBYE,
		.timeout_usec = timeout_usec,
		.cancel_fd = cancel_fd};

	return qemu_run_with((char **)argv, &options, ret_run);
}

static int run_to_error(const QemuRun *run)
{
	return run->timed_out         ? -ETIMEDOUT
	       : run->answer_too_long ? -EFBIG
	       : run->cancelled       ? -ECANCELED
				      : -EIO;
}

int qemu_probe_capabilities(const char *binary, uint64_t timeout_usec, int cancel_fd, QemuCapabilities **ret,
	char **ret_complaint)
{
	g_auto(QemuRun) run = {0};
	g_autofree char *words = NULL;
	int r;

	r = run_dialogue(binary, timeout_usec, cancel_fd, &run);
	if (r < 0) {
		*ret_complaint = g_strdup_printf("%s: %s", binary, g_strerror(-r));
		return r;
	}
	if (run.timed_out || run.answer_too_long || run.cancelled || run.signal != 0 || run.code != 0) {
		words = qemu_run_describe(&run, timeout_usec);
		*ret_complaint = g_strdup_printf("%s: asked for what it can do, it %s", binary, words);
		return run_to_error(&run);
	}
	r = qemu_dialogue_read(run.answer, run.answer_size, ret, &words);
	if (r < 0)
		*ret_complaint = g_strdup_printf("%s: asked for what it can do: %s", binary, words);
	return r;
}

/* ---- KVM ---- */
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

static int run_firmware(
	const char *binary, VmAccelerator accelerator, uint64_t timeout_usec, int cancel_fd, QemuRun *ret_run)
{
	autofd int firmware = firmware_new();
	g_autofree char *bios = g_strdup_printf("/dev/fd/%d", firmware);
	/* -no-reboot: a CPU that gives up on it ends QEMU at once. */
	const char *const argv[] = {binary, "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-machine", "pc", "-accel", vm_accelerator_to_string(accelerator), "-cpu",
		qemu_cpu_model(accelerator), "-m", "1M", "-bios", bios, "-device",
		"isa-debug-exit,iobase=0xf4,iosize=1", NULL};
	QemuRunOptions options = {
		.fds = &firmware, .n_fds = 1, .timeout_usec = timeout_usec, .cancel_fd = cancel_fd};

	if (firmware < 0)
		return firmware;
	return qemu_run_with((char **)argv, &options, ret_run);
}

bool qemu_probe_accelerator(const char *binary, VmAccelerator accelerator, uint64_t timeout_usec,
	int cancel_fd, bool *ret_conclusive, char **ret_why)
{
	g_auto(QemuRun) run = {0};
	g_autofree char *end = NULL;
	int r;

	*ret_conclusive = false;
	r = run_firmware(binary, accelerator, timeout_usec, cancel_fd, &run);
	if (r < 0) {
		*ret_why = g_strdup_printf("%s: %s", binary, g_strerror(-r));
		return false;
	}
	*ret_conclusive = !run.cancelled && (!run.timed_out || run.cpu_usec >= ENOUGH_CPU_USEC);
	if (!run.timed_out && run.signal == 0 && run.code == EXIT_CODE)
		return true;
	end = qemu_run_describe(&run, timeout_usec);
	*ret_why = g_strdup_printf("a trial VM %s", end);
	return false;
}

bool qemu_probe_kvm(
	const char *binary, uint64_t timeout_usec, int cancel_fd, bool *ret_conclusive, char **ret_why)
{
	return qemu_probe_accelerator(
		binary, VM_ACCELERATOR_KVM, timeout_usec, cancel_fd, ret_conclusive, ret_why);
}
