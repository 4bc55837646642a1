/*
 * The engine under random loads: one bus thread, ten VMs whose QEMUs do at any moment whatever a QEMU may do
 * (storm-qemu), random operations, kills, cancels, deadlines and pauses of the bus, for ROOST_STRESS_SECONDS.
 * Then the storm ends, and the books must balance: every operation that was accepted came back once, or was
 * taken back; every event that a QEMU sent was seen; each VM's state is what its QEMU says; no thread, file
 * descriptor, process or file is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storm.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "world.h"

#define N_VMS       10
#define PENDING_MAX 60

typedef struct Stress {
	World *world;
	GRand *rand;
	char *folder;
	Guest *guests[N_VMS];
	Storm *storms[N_VMS];
	GPtrArray *pending; /* Call: neither back nor gone */
	unsigned n_accepted, n_refused, n_gone, n_kills, n_errors[VM_ERROR_MAX + 1];
} Stress;

static unsigned pick(Stress *stress, unsigned n)
{
	return (unsigned)g_rand_int_range(stress->rand, 0, (gint32)n);
}

/* ---- the storm's files ---- */
static Storm *map_storm(Stress *stress, const char *uuid)
{
	g_autofree char *path = g_build_filename(stress->folder, uuid, NULL);
	autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	Storm *storm;

	g_assert_cmpint(ftruncate(fd, sizeof *storm), ==, 0);
	storm = mmap(NULL, sizeof *storm, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	g_assert_true(storm != MAP_FAILED);
	return storm;
}

static void unmap_storm(Stress *stress, unsigned i)
{
	g_autofree char *path = g_build_filename(stress->folder, stress->guests[i]->vm->uuid, NULL);

	munmap(stress->storms[i], sizeof *stress->storms[i]);
	g_assert_cmpint(unlink(path), ==, 0);
}

/* ---- calls ---- */
static void forget(Stress *stress, unsigned index)
{
	Call *call = stress->pending->pdata[index];

	if (call->n_replies > 0)
		stress->n_errors[call->error ? call->error->code : VM_ERROR_MAX]++;
	else
		stress->n_gone++;
	g_ptr_array_remove_index_fast(stress->pending, index);
}

static void forget_answered(Stress *stress)
{
	for (unsigned i = stress->pending->len; i > 0; i--) {
		Call *call = stress->pending->pdata[i - 1];

		if (call->n_replies > 0 || call->gone)
			forget(stress, i - 1);
	}
}

static const char *const commands[] = {
	"{\"execute\": \"query-status\"}",
	"{\"execute\": \"query-chardev\"}",
	"{\"execute\": \"stop\"}",
	"{\"execute\": \"cont\"}",
	"{\"execute\": \"no-such-command\"}",
	"no JSON",
};

static const OperationType *choose(Stress *stress, OperationArgs *args)
{
	static const OperationType *const types[] = {&operation_start, &operation_start, &operation_start,
		&operation_pause, &operation_resume, &operation_reset, &operation_shutdown, &operation_reboot,
		&operation_execute_qmp, &operation_open_console, &operation_set_autostart};
	const OperationType *type = types[pick(stress, G_N_ELEMENTS(types))];

	*args = (OperationArgs){0};
	if (type == &operation_start) {
		args->start.paused = pick(stress, 4) == 0;
	} else if (type == &operation_shutdown) {
		args->shutdown.has_timeout = true;
		args->shutdown.timeout_usec = (1 + pick(stress, 200)) * USEC_PER_MSEC;
		args->shutdown.force = pick(stress, 3) == 0;
	} else if (type == &operation_execute_qmp) {
		args->execute_qmp.command = g_strdup(commands[pick(stress, G_N_ELEMENTS(commands))]);
	} else if (type == &operation_open_console) {
		args->open_console.console = g_strdup("");
	} else if (type == &operation_set_autostart) {
		args->set_autostart.autostart = pick(stress, 2) == 0;
	}
	return type;
}

static void call_something(Stress *stress, Guest *guest) ON_BUS_THREAD
{
	OperationArgs args;
	const OperationType *type = choose(stress, &args);
	g_autoptr(GError) error = NULL;
	Call *call;

	if (world_try_call(guest, type, &args, &call, &error)) {
		stress->n_accepted++;
		g_ptr_array_add(stress->pending, call);
		return;
	}
	stress->n_refused++;
	g_assert_true(g_error_matches(error, VM_ERROR, VM_ERROR_BUSY) ||
		      g_error_matches(error, VM_ERROR, VM_ERROR_LIMIT_REACHED));
}

/* As bus/ does it: the queued ones that need QEMU are taken back and answered. */
static void kill_vm(Stress *stress, Guest *guest) ON_BUS_THREAD
{
	uint64_t before = operation_next_id();

	stress->n_kills++;
	vm_kill(guest->vm, before, VM_REASON_KILLED);
	for (unsigned i = 0; i < stress->pending->len; i++) {
		Call *call = stress->pending->pdata[i];

		if (call->vm == guest->vm && call->type->needs_qemu && call->id < before &&
			operation_take_back(call->vm, call->type->lane, call->id))
			call->gone = true;
	}
}

static void disturb(Stress *stress) ON_BUS_THREAD
{
	Call *call;

	if (stress->pending->len == 0)
		return;
	call = stress->pending->pdata[pick(stress, stress->pending->len)];
	switch (pick(stress, 4)) {
	case 0:
		operation_cancel(call->vm, call->type->lane, call->id);
		break;
	case 1:
		operation_cancel(call->vm, call->type->lane, 0);
		break;
	case 2:
		call->gone = call->gone || operation_take_back(call->vm, call->type->lane, call->id);
		break;
	default:
		if (operation_expire(call->vm, call->type->lane, call->id) == OPERATION_EXPIRY_GONE)
			call->gone = true;
		break;
	}
}

/* The bus is slow for a while with one VM's signals. */
static void keep_back_or_let_go(Guest *guest) ON_BUS_THREAD
{
	if (guest->emits_nothing)
		world_let_go(guest);
	else
		guest->emits_nothing = true;
}

static void step(Stress *stress) ON_BUS_THREAD
{
	Guest *guest = stress->guests[pick(stress, N_VMS)];
	unsigned what = pick(stress, 1000);

	if (what < 400 && stress->pending->len < PENDING_MAX)
		call_something(stress, guest);
	else if (what < 403)
		kill_vm(stress, guest);
	else if (what < 440)
		disturb(stress);
	else if (what < 460)
		keep_back_or_let_go(guest);
	world_turn(stress->world, what >= 460 ? 1 : 0);
	forget_answered(stress);
	g_string_truncate(guest->log, 0);
}

/* ---- the books ---- */
static bool is_settled(Stress *stress)
{
	for (unsigned i = 0; i < N_VMS; i++) {
		const VmView *view = stress->guests[i]->view;

		if (!guest_is_at_rest(stress->guests[i]) || !view->responsive)
			return false;
		if (vm_state_is_active(view->state)
				? view->state != VM_STATE_RUNNING && view->state != VM_STATE_PAUSED
				: view->pid != 0)
			return false;
	}
	return true;
}

static void explain(Stress *stress)
{
	for (unsigned i = 0; i < N_VMS; i++) {
		const Guest *guest = stress->guests[i];

		g_printerr("%s: %s (%s), process %u, %s, %s\n", guest->vm->config->name,
			vm_state_to_string(guest->view->state), vm_reason_to_string(guest->view->reason),
			guest->view->pid, guest->view->responsive ? "answers" : "does not answer",
			guest_is_at_rest(guest) ? "at rest" : "busy");
	}
}

static bool agrees_with_qemu(Stress *stress, Guest *guest) ON_BUS_THREAD
{
	OperationArgs args = {.execute_qmp = {.command = g_strdup("{\"execute\": \"query-status\"}")}};
	Call *call = world_call_with(guest, &operation_execute_qmp, args);
	const char *text;

	world_wait(stress->world, call);
	/* It may hang still. */
	if (call->error) {
		g_assert_true(g_error_matches(call->error, VM_ERROR, VM_ERROR_UNRESPONSIVE) ||
			      g_error_matches(call->error, VM_ERROR, VM_ERROR_TIMEOUT) ||
			      g_error_matches(call->error, VM_ERROR, VM_ERROR_QEMU_FAILED));
		return false;
	}
	g_variant_get(call->result, "(&s)", &text);
	if (guest->view->state == VM_STATE_RUNNING)
		return strstr(text, "\"running\"") != NULL;
	return guest->view->state == VM_STATE_PAUSED &&
	       (strstr(text, "\"paused\"") || strstr(text, "\"prelaunch\""));
}

/* What was carried out after its time is found by a look that may have to wait its turn; a silent QEMU would
 * be asked some time later, but this one is kept talking. */
static void assert_state(Stress *stress, Guest *guest) ON_BUS_THREAD
{
	uint64_t until_usec = world_patience();
	ProcessRecord record;

	while (!agrees_with_qemu(stress, guest)) {
		if ((uint64_t)g_get_monotonic_time() >= until_usec)
			explain(stress);
		world_check_patience(until_usec, G_STRLOC, guest->vm->config->name);
		world_turn(stress->world, 10);
	}
	/* A later service would find it. */
	g_assert_cmpint(
		runtime_dir_read_process(stress->world->runtime_dir, guest->vm->uuid, &record), ==, 0);
	g_assert_cmpint(record.pid, ==, (int)guest->view->pid);
}

static bool has_no_folder(Stress *stress, Guest *guest)
{
	g_autofree char *path = runtime_dir_vm_path(stress->world->runtime_dir, guest->vm->uuid);

	return !g_file_test(path, G_FILE_TEST_EXISTS);
}

static bool all_are_off(Stress *stress)
{
	for (unsigned i = 0; i < N_VMS; i++)
		if (stress->guests[i]->view->pid != 0 || !has_no_folder(stress, stress->guests[i]))
			return false;
	return true;
}

static void assert_counts(Stress *stress, unsigned i)
{
	uint64_t n_begun = 0, n_done = 0;
	unsigned n_runs = atomic_load(&stress->storms[i]->n_runs);

	for (unsigned run = 0; run < n_runs; run++) {
		n_begun += atomic_load(&stress->storms[i]->runs[run].n_begun);
		n_done += atomic_load(&stress->storms[i]->runs[run].n_done);
	}
	g_test_message("%s: %u runs, %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
		       " events sent, %" G_GUINT64_FORMAT " seen",
		stress->guests[i]->vm->config->name, n_runs, n_done, n_begun,
		stress->guests[i]->n_qemu_events);
	g_assert_cmpuint(n_done, >, 0);
	/* The two differ by what was being written when QEMU was killed. */
	g_assert_cmpuint(stress->guests[i]->n_qemu_events, >=, n_done);
	g_assert_cmpuint(stress->guests[i]->n_qemu_events, <=, n_begun);
}

/* Each VM comes to rest by itself: the deadlines and looks that are due see to it. */
static void wait_until_settled(Stress *stress) ON_BUS_THREAD
{
	uint64_t until_usec = world_patience();

	while (!is_settled(stress)) {
		if ((uint64_t)g_get_monotonic_time() >= until_usec)
			explain(stress);
		world_check_patience(until_usec, G_STRLOC, "every VM is settled");
		world_turn(stress->world, 2);
	}
}

static void settle(Stress *stress) ON_BUS_THREAD
{
	for (unsigned i = 0; i < N_VMS; i++) {
		atomic_store(&stress->storms[i]->calm, true);
		world_let_go(stress->guests[i]);
	}
	WORLD_UNTIL(stress->world, (forget_answered(stress), stress->pending->len == 0));
	wait_until_settled(stress);
	for (unsigned i = 0; i < N_VMS; i++)
		if (stress->guests[i]->view->pid != 0)
			assert_state(stress, stress->guests[i]);
		else
			WORLD_UNTIL(stress->world, has_no_folder(stress, stress->guests[i]));
	for (unsigned i = 0; i < N_VMS; i++)
		vm_kill(stress->guests[i]->vm, operation_next_id(), VM_REASON_KILLED);
	WORLD_UNTIL(stress->world, all_are_off(stress));
	for (unsigned i = 0; i < N_VMS; i++)
		assert_counts(stress, i);
}

/* ---- all of it ---- */
static unsigned count_entries(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	unsigned n = 0;

	while (g_dir_read_name(dir))
		n++;
	return n;
}

static void make_quick(GVariantDict *dict)
{
	/* storm-qemu is no QEMU that could be probed for KVM. */
	g_variant_dict_insert(dict, "Accelerator", "s", "tcg");
	g_variant_dict_insert(dict, "ShutdownTimeout", "t", (guint64)300 * USEC_PER_MSEC);
	g_variant_dict_insert(dict, "Accelerator", "s", "tcg");
}

static void begin(Stress *stress, const char *seed) ON_BUS_THREAD
{
	WorldOptions options = {
		.deadline_scale = 0.1,
		.max_workers = N_VMS + 2,
		.reserved_workers = 4,
		.qemu_binary = g_getenv("ROOST_STORM_QEMU"),
	};

	g_assert_nonnull(options.qemu_binary);
	stress->folder = g_dir_make_tmp("stress-engine-XXXXXX", NULL);
	g_setenv("ROOST_STORM_DIR", stress->folder, TRUE);
	g_setenv("ROOST_SEED", seed, TRUE);
	stress->rand = g_rand_new_with_seed((guint32)strtoul(seed, NULL, 10));
	stress->pending = g_ptr_array_new();
	stress->world = world_new(&options);
	for (unsigned i = 0; i < N_VMS; i++) {
		g_autofree char *name = g_strdup_printf("vm%u", i);

		stress->guests[i] = guest_new(stress->world, name, make_quick);
		stress->storms[i] = map_storm(stress, stress->guests[i]->vm->uuid);
	}
}

static void end(Stress *stress) ON_BUS_THREAD
{
	for (unsigned i = 0; i < N_VMS; i++)
		unmap_storm(stress, i);
	world_free(stress->world);
	g_assert_cmpint(rmdir(stress->folder), ==, 0);
	g_free(stress->folder);
	g_rand_free(stress->rand);
	g_ptr_array_unref(stress->pending);
}

static void report(const Stress *stress)
{
	GString *text = g_string_new(NULL);

	g_string_printf(text,
		"%u accepted, %u refused, %u taken back or lost, %u kills; came back:", stress->n_accepted,
		stress->n_refused, stress->n_gone, stress->n_kills);
	for (unsigned i = 0; i <= VM_ERROR_MAX; i++)
		if (stress->n_errors[i] > 0)
			g_string_append_printf(text, " %u %s", stress->n_errors[i],
				i < VM_ERROR_MAX ? world_error_name((VmError)i) : "ok");
	g_test_message("%s", text->str);
	g_string_free(text, TRUE);
}

static void do_nothing(void *data)
{
}

static void test_engine(void) ON_BUS_THREAD
{
	const char *seconds = g_getenv("ROOST_STRESS_SECONDS"), *seed = g_getenv("ROOST_SEED");
	g_autofree char *own_seed = g_strdup_printf("%u", g_random_int());
	unsigned n_fds, n_threads, n = 0;
	uint64_t until_usec =
		clock_monotonic_usec() + (seconds ? strtoul(seconds, NULL, 10) : 10) * USEC_PER_SEC;
	Stress stress = {0};
	uint64_t patience_usec;

	if (!seed || seed[0] == '\0')
		seed = own_seed;
	g_test_message("ROOST_SEED=%s", seed);
	/* A sanitizer may start a thread of its own beside the first of ours. */
	world_on_worker(do_nothing, NULL);
	n_fds = count_entries("/proc/self/fd");
	n_threads = count_entries("/proc/self/task");
	begin(&stress, seed);
	while (clock_monotonic_usec() < until_usec)
		step(&stress);
	settle(&stress);
	report(&stress);
	for (unsigned i = 0; i <= VM_ERROR_MAX; i++)
		n += stress.n_errors[i];
	g_assert_cmpuint(n + stress.n_gone, ==, stress.n_accepted);
	end(&stress);

	/* Nothing is left: neither threads nor descriptors, nor a child that nobody has reaped. */
	patience_usec = world_patience();
	while (count_entries("/proc/self/task") > n_threads)
		world_check_patience(patience_usec, G_STRLOC, "the workers have ended");
	g_assert_cmpuint(count_entries("/proc/self/fd"), ==, n_fds);
	g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
	g_assert_cmpint(errno, ==, ECHILD);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_bus);
	log_set_level(LOG_ERR);
	g_test_add_func("/stress/engine", test_engine);
	return g_test_run();
}
