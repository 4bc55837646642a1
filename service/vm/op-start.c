/*
 * Start: from a definition to a running QEMU.
 *
 * First what may hang is looked at, without the VM lock and with the place at stake: images, kernel, the KVM
 * probe. Then the disks are claimed, and from there on each step has its undo: QEMU is spawned with its
 * sockets passed as fds and connected already, shown to Kill, recorded for a later roostd, handed to the
 * event thread, and let go by `cont`.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/command-line.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "vm/checks.h"
#include "vm/disks.h"
#include "vm/files.h"
#include "vm/link.h"
#include "vm/unit.h"

/* What is to be started, once it has been looked at. */
typedef struct Plan {
	VmConfig *config; /* a reference */
	uint64_t revision;
	StartFacts facts;
	int nvram_fd; /* or -1 */
	char *unit;   /* of systemd's; NULL: QEMU is spawned */
} Plan;

static void plan_clear(Plan *plan)
{
	vm_config_unref(plan->config);
	start_facts_clear(&plan->facts);
	fd_close(&plan->nvram_fd);
	g_free(plan->unit);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Plan, plan_clear)

/* ---- what is undone ---- */
static void undo_claims(Operation *op) REQUIRES(op->vm->lock)
{
	/* A QEMU that would not die has the images still: its exit gives them back. */
	if (op->vm->pid != 0)
		return;
	claims_release(op->vm->engine->claims, op->entry.id);
}

static void undo_state(Operation *op) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;
	VmReason reason;

	leaf_lock(&vm->mail.mutex);
	reason = vm->mail.kill_before > op->entry.id ? vm->mail.kill_reason : VM_REASON_START_FAILED;
	leaf_unlock(&vm->mail.mutex);
	if (vm->pid != 0) {
		/* It would not die in time. Its exit ends this. */
		vm->hints.off_reason = VM_REASON_START_FAILED;
		vm_set_state(op->vm, VM_STATE_STOPPING, VM_REASON_START_FAILED, true);
	} else if (vm->state == VM_STATE_STARTING) {
		vm_set_state(op->vm, VM_STATE_OFF, reason, true);
	}
}

static void undo_process(Operation *op) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;

	if (vm->pid == 0)
		return;
	vm->hints.off_reason = VM_REASON_START_FAILED;
	vm_end_process(vm);
	if (!operation_wait_exit(op))
		log_vm(LOG_WARNING, vm->config->name, vm->uuid, "QEMU (process %u) does not end", vm->pid);
}

static void undo_folder(Operation *op) REQUIRES(op->vm->lock)
{
	/* A later roostd must find a QEMU that would not die. */
	if (op->vm->pid != 0)
		return;
	/* On memory, or at least local: this does not hang. */
	operation_release(op);
	vm_files_remove_runtime(op->vm);
	operation_retake(op);
}

/* ---- sockets and the process ---- */
typedef struct Launch {
	VmHandoff *handoff;
	char *folder;
	int qmp_listener, agent_listener, output_writer;
	int *listeners; /* of consoles */
	unsigned n_consoles;
} Launch;

static void launch_clear(Launch *launch)
{
	vm_handoff_free(launch->handoff);
	fd_close(&launch->qmp_listener);
	fd_close(&launch->agent_listener);
	fd_close(&launch->output_writer);
	for (unsigned i = 0; i < launch->n_consoles; i++)
		fd_close(&launch->listeners[i]);
	g_free(launch->listeners);
	g_free(launch->folder);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Launch, launch_clear)

/* A listening socket at folder/name and a connection to it: QEMU finds the connection waiting when it starts.
 */
static bool make_socket(
	const char *folder, const char *name, int *ret_listener, int *ret_fd, char **ret_path, GError **error)
{
	g_autofree char *path = g_strdup_printf("%s/%s", folder, name);
	autofd int listener = fd_listen_unix(path);
	autofd int fd = -1;

	if (listener >= 0)
		fd = fd_connect_unix(path);
	if (listener < 0 || fd < 0) {
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED, "%s: %s", path,
			g_strerror(listener < 0 ? -listener : -fd));
		return false;
	}
	*ret_listener = g_steal_fd(&listener);
	*ret_fd = g_steal_fd(&fd);
	*ret_path = g_steal_pointer(&path);
	return true;
}

/* Nobody is at this end yet: that the guest has opened its end is told by QEMU. */
static bool make_agent_socket(const VmConfig *config, Launch *launch, GError **error)
{
	g_autofree char *path = g_build_filename(launch->folder, "agent", NULL);

	if (!config->agent)
		return true;
	launch->handoff->has_agent = true;
	launch->agent_listener = fd_listen_unix(path);
	if (launch->agent_listener < 0)
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED, "%s: %s", path,
			g_strerror(-launch->agent_listener));
	return launch->agent_listener >= 0;
}

static void set_folder_error(const Operation *op, int r, GError **error)
{
	g_autofree char *path = runtime_dir_vm_path(op->vm->engine->options.runtime_dir, op->vm->uuid);

	g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED, "%s: %s", path, g_strerror(-r));
}

static bool make_sockets(Operation *op, const Plan *plan, Launch *launch, GError **error)
{
	const VmConfig *config = plan->config;
	VmHandoff *handoff = launch->handoff;
	g_autofree char *output = NULL;
	int r;

	handoff->vm_name = g_strdup(config->name);
	handoff->has_nics = config->n_nics > 0;
	handoff->unit = g_strdup(plan->unit);
	r = runtime_dir_make_vm(op->vm->engine->options.runtime_dir, config->uuid, &launch->folder);
	if (r < 0) {
		set_folder_error(op, r, error);
		return false;
	}
	if (!make_socket(launch->folder, "qmp", &launch->qmp_listener, &handoff->qmp_fd, &handoff->qmp_path,
		    error))
		return false;
	launch->n_consoles = handoff->n_consoles = config->n_consoles;
	launch->listeners = g_new(int, config->n_consoles + 1);
	handoff->console_fds = g_new(int, config->n_consoles + 1);
	handoff->console_paths = g_new0(char *, config->n_consoles + 1);
	for (unsigned i = 0; i < config->n_consoles; i++)
		launch->listeners[i] = handoff->console_fds[i] = -1;
	for (unsigned i = 0; i < config->n_consoles; i++) {
		g_autofree char *name = g_strdup_printf("console-%s", config->consoles[i].name);

		if (!make_socket(launch->folder, name, &launch->listeners[i], &handoff->console_fds[i],
			    &handoff->console_paths[i], error))
			return false;
	}
	if (!make_agent_socket(config, launch, error))
		return false;
	output = g_build_filename(launch->folder, VM_OUTPUT_NAME, NULL);
	r = fd_make_fifo(output, &handoff->output_fd, &launch->output_writer);
	if (r < 0) {
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED, "%s: %s", output, g_strerror(-r));
		return false;
	}
	return true;
}

/* As it is run, so that a later roostd knows what this QEMU has, whatever was changed since; and a transient
 * VM, which is written down nowhere else. */
static bool record_definitions(Operation *op, const Plan *plan, GError **error)
{
	Vm *vm = op->vm;
	Definition definition = {
		.config = plan->config, .owner_uid = vm->owner_uid, .revision = plan->revision};
	int r = runtime_dir_write_definition(
		vm->engine->options.runtime_dir, vm->uuid, RUNTIME_DEFINITION_RUNNING, &definition);

	if (r >= 0 && !vm->persistent)
		r = vm_files_write_definition(vm, plan->config, plan->revision);
	if (r < 0)
		set_folder_error(op, r, error);
	return r >= 0;
}

/* All that QEMU is given. */
static GArray *inherited_fds(const Plan *plan, const Launch *launch)
{
	GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
	const int others[] = {
		launch->agent_listener, plan->nvram_fd, plan->facts.kernel_fd, plan->facts.initrd_fd};

	g_array_append_val(fds, launch->qmp_listener);
	g_array_append_vals(fds, launch->listeners, launch->n_consoles);
	for (unsigned i = 0; i < G_N_ELEMENTS(others); i++)
		if (others[i] >= 0)
			g_array_append_val(fds, others[i]);
	for (unsigned i = 0; i < plan->facts.n_disks; i++)
		for (unsigned k = 0; k < plan->facts.disks[i].n_layers; k++)
			g_array_append_val(fds, plan->facts.disks[i].layers[k].fd);
	return fds;
}

/* QEMU as an unprivileged user, who may use KVM. */
static char **run_as_user(const Engine *engine, char **argv_consume)
{
	g_auto(GStrv) argv = argv_consume;
	GPtrArray *words = g_ptr_array_new();
	struct stat st;

	g_ptr_array_add(words, g_strdup(engine->options.helper));
	g_ptr_array_add(words, g_strdup("run"));
	g_ptr_array_add(words, g_strdup_printf("%u", (unsigned)engine->options.qemu_uid));
	g_ptr_array_add(words, g_strdup_printf("%u", (unsigned)engine->options.qemu_gid));
	g_ptr_array_add(words,
		stat("/dev/kvm", &st) == 0 ? g_strdup_printf("%u", (unsigned)st.st_gid) : g_strdup("-"));
	for (char **word = argv; *word; word++)
		g_ptr_array_add(words, g_strdup(*word));
	g_ptr_array_add(words, NULL);
	return (char **)g_ptr_array_free(words, FALSE);
}

/* The limits are a unit's. */
static void warn_of_limits(const Operation *op, const VmConfig *config)
{
	if (config->cpu_weight != 0 || config->memory_max != 0 || config->tasks_max != 0)
		log_vm(LOG_WARNING, config->name, op->vm->uuid,
			"CPUWeight, MemoryMax and TasksMax are not carried out: there is no systemd that "
			"does it");
}

static bool spawn(Operation *op, const VmConfig *config, char ***argv, const GArray *fds, Launch *launch,
	GError **error)
{
	Engine *engine = op->vm->engine;
	int r;

	warn_of_limits(op, config);
	if (engine->options.has_qemu_user)
		*argv = run_as_user(engine, *argv);
	r = qemu_process_spawn(*argv, (const int *)(const void *)fds->data, fds->len, launch->output_writer,
		&launch->handoff->process);
	/* Whether it is QEMU's fault or the service's limits. */
	if (r < 0)
		g_set_error(error, VM_ERROR,
			r == -EMFILE || r == -ENFILE || r == -EAGAIN || r == -ENOMEM ? VM_ERROR_LIMIT_REACHED
										     : VM_ERROR_QEMU_FAILED,
			"%s: %s", engine->qemu_binary, g_strerror(-r));
	return r >= 0;
}

static bool start_process(Operation *op, const Plan *plan, Launch *launch, GError **error)
{
	Engine *engine = op->vm->engine;
	g_autofree QemuDisk *disks = g_new0(QemuDisk, plan->facts.n_disks + 1);
	QemuCommandLine spec = {
		.binary = engine->qemu_binary,
		.config = plan->config,
		.accelerator = plan->facts.accelerator,
		.qmp_fd = launch->qmp_listener,
		.console_fds = launch->listeners,
		.agent_fd = launch->agent_listener,
		.nvram_fd = plan->nvram_fd,
		.kernel_fd = plan->facts.kernel_fd,
		.initrd_fd = plan->facts.initrd_fd,
		.disks = disks,
	};
	g_auto(GStrv) argv = NULL;
	g_autoptr(GArray) fds = inherited_fds(plan, launch);
	bool started;

	for (unsigned i = 0; i < plan->facts.n_disks; i++)
		disks[i] = (QemuDisk){
			.layers = plan->facts.disks[i].layers, .n_layers = plan->facts.disks[i].n_layers};
	argv = qemu_command_line_build(&spec);
	if (plan->unit)
		started = unit_launch(
			op, plan->config, argv, fds, launch->output_writer, &launch->handoff->process, error);
	else
		started = spawn(op, plan->config, &argv, fds, launch, error);
	/* Our copies of QEMU's ends: kept, they would hide its end from us. */
	fd_close(&launch->output_writer);
	fd_close(&launch->qmp_listener);
	fd_close(&launch->agent_listener);
	return started;
}

/* Before the process is there (NULL), so that a roostd that is killed amid this leaves a trace of it; and
 * with its pid. A QEMU that a later roostd would not know is not let go on. */
static bool record_process(
	Operation *op, const QemuProcess *process, const Plan *plan, uint64_t epoch, GError **error)
{
	ProcessRecord record = {
		.pid = process ? process->pid : 0,
		.start_time = process ? process->start_time : 0,
		.epoch = epoch,
		.accelerator = plan->facts.accelerator,
	};
	int r;

	g_strlcpy(record.unit, plan->unit ? plan->unit : "", sizeof record.unit);
	for (unsigned i = 0; i < plan->facts.n_disks; i++)
		for (unsigned k = 0; k < plan->facts.disks[i].n_layers; k++) {
			const Claim *claim = &plan->facts.disks[i].claims[k];

			record.claims[record.n_claims++] = (ProcessClaim){
				.device = claim->device, .inode = claim->inode, .write = claim->write};
		}
	r = runtime_dir_write_process(op->vm->engine->options.runtime_dir, op->vm->uuid, &record);
	if (r < 0)
		set_folder_error(op, r, error);
	return r >= 0;
}

/* ---- the steps ---- */
/* A QEMU that an earlier service started has what is to be made. */
static bool look_for_stray(const Operation *op, GError **error)
{
	uint32_t pid;

	if (!vm_find_stray(op->vm->engine, op->vm->uuid, &pid))
		return true;
	g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE,
		"%s: process %u is a QEMU of this VM that an earlier service started; it must end first",
		op->type->member, pid);
	return false;
}

/* Everything that QEMU gets is open then. */
static bool open_files(Operation *op, Plan *plan, Rights *rights, GError **error)
{
	return vm_files_make_images(op->vm, plan->config, rights, &plan->facts, error) &&
	       vm_files_open_firmware(op->vm, plan->config, &plan->nvram_fd, error) &&
	       (!op->vm->engine->options.has_qemu_user ||
		       (vm_files_make_readable(
				"Kernel", plan->config->kernel, &plan->facts.kernel_fd, error) &&
			       vm_files_make_readable(
				       "Initrd", plan->config->initrd, &plan->facts.initrd_fd, error)));
}

/* With the owner's rights, which are then at hand for what is to be made. */
static void look(Operation *op, Plan *plan, Rights **ret_rights, GPtrArray *problems)
{
	GError *error = NULL;

	*ret_rights = vm_owner_rights(op->vm, op->deadline_usec, &error);
	if (*ret_rights)
		vm_check_start(op->vm->engine, plan->config, *ret_rights, &plan->facts, problems);
	else
		g_ptr_array_add(problems, error);
}

/* It may take a moment to end the child. */
static void end_rights(Operation *op, Rights *rights) REQUIRES(op->vm->lock)
{
	operation_release(op);
	rights_free(rights);
	operation_retake(op);
}

static bool look_and_make(Operation *op, Plan *plan, Rights **ret_rights, GError **error)
	REQUIRES(op->vm->lock)
{
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
	g_autoptr(GError) problem = NULL;
	bool made;

	operation_block(op);
	look(op, plan, ret_rights, problems);
	/* That may have taken long: nothing is made that nobody wants any more. */
	if (!operation_unblock(op, error))
		return false;
	if (problems->len > 0) {
		g_propagate_error(error, g_error_copy(problems->pdata[0]));
		return false;
	}
	operation_block(op);
	made = look_for_stray(op, &problem) && open_files(op, plan, *ret_rights, &problem);
	if (!operation_unblock(op, error))
		return false;
	if (!made)
		g_propagate_error(error, g_steal_pointer(&problem));
	return made;
}

static bool prepare(Operation *op, Plan *plan, GError **error) REQUIRES(op->vm->lock)
{
	Rights *rights = NULL;
	bool good = look_and_make(op, plan, &rights, error);

	if (rights)
		end_rights(op, rights);
	if (!good || !vm_disks_claim(op->vm, plan->config, plan->facts.disks, op->entry.id, error))
		return false;
	operation_push_undo(op, undo_claims);
	return true;
}

/* QEMU's own words are that a resource is unavailable. */
static void name_tasks_max(const Operation *op, const Plan *plan, GError **error) REQUIRES(op->vm->lock)
{
	const char *words = op->vm->pid == 0 ? op->vm->last_exit.message : NULL;

	if (plan->unit && plan->config->tasks_max != 0 && words && strstr(words, g_strerror(EAGAIN)))
		g_prefix_error(error, "TasksMax: %u may be too few: ", plan->config->tasks_max);
}

static bool launch_qemu(Operation *op, const Plan *plan, GError **error) REQUIRES(op->vm->lock)
{
	g_auto(Launch) launch = {.qmp_listener = -1,
		.agent_listener = -1,
		.output_writer = -1,
		.handoff = vm_handoff_new(NULL)};
	Vm *vm = op->vm;
	uint64_t epoch = vm->epoch + 1;
	bool spawned, recorded;

	vm_set_state(
		op->vm, VM_STATE_STARTING, op->args.start.again ? VM_REASON_QEMU_EXIT : VM_REASON_USER, true);
	/* Whoever starts it: that is what was wanted. */
	leaf_lock(&vm->mail.mutex);
	vm->mail.restart_after = 0;
	leaf_unlock(&vm->mail.mutex);
	operation_push_undo(op, undo_state);
	operation_push_undo(op, undo_folder);
	operation_release(op);
	spawned = make_sockets(op, plan, &launch, error) && record_definitions(op, plan, error) &&
		  record_process(op, NULL, plan, epoch, error) && start_process(op, plan, &launch, error);
	recorded = spawned && record_process(op, launch.handoff->process, plan, epoch, error);
	operation_retake(op);
	if (!spawned)
		return false;

	vm->epoch = epoch;
	vm->started_id = op->entry.id;
	vm->pid = (uint32_t)launch.handoff->process->pid;
	vm->accelerator = plan->facts.accelerator;
	vm->unit = g_strdup(plan->unit);
	vm->running_config = vm_config_ref(plan->config);
	vm->claims_owner = op->entry.id;
	vm->dirty = true;
	operation_push_undo(op, undo_process);
	/* If Kill came first, the process is dead already; its exit is awaited all the same, by the first
	 * command. */
	vm_show_process(vm, launch.handoff->process, op->entry.id);
	vm_hand_over(vm, g_steal_pointer(&launch.handoff));
	return recorded;
}

static bool start(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	g_auto(Plan) plan = {.config = vm_config_ref(op->vm->config),
		.revision = op->vm->revision,
		.facts = START_FACTS_NONE,
		.nvram_fd = -1,
		.unit = op->vm->engine->has_units ? unit_name(op->vm->uuid) : NULL};
	Vm *vm = op->vm;
	bool paused = op->args.start.paused;

	/* Behind a Kill: what it has killed is as good as gone. */
	if (vm_is_being_killed(vm))
		operation_wait_exit(op);
	if (vm_state_is_active(vm->state)) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE,
			"%s: the VM '%s' is %s (QEMU is process %u); this needs off", op->type->member,
			vm->config->name, vm_state_to_string(vm->state), vm->pid);
		return false;
	}
	if (!op->args.start.again)
		policy_forget_restarts(op->vm);
	if (!prepare(op, &plan, error) || !launch_qemu(op, &plan, error))
		return false;
	/* The handshake comes before the first command's answer. */
	if (!operation_execute(op, paused ? "query-status" : "cont", NULL, NULL, error)) {
		name_tasks_max(op, &plan, error);
		return false;
	}
	if (!operation_commit(op, error))
		return false;
	log_vm_kind(LOG_INFO, LOG_KIND_STARTED, plan.config->name, vm->uuid, "its QEMU runs: process %u%s%s",
		vm->pid, vm->unit ? " in " : "", vm->unit ? vm->unit : "");
	if (vm->state == VM_STATE_STARTING)
		vm_set_state(op->vm, paused ? VM_STATE_PAUSED : VM_STATE_RUNNING, vm->reason, true);
	return true;
}

static bool run_start(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	/* Whatever its state: a QEMU that runs still may be about to end, and the VM with it. */
	if (!op->vm->persistent) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_STATE,
			"%s: the VM '%s' is transient: it can't be started again", op->type->member,
			op->vm->config->name);
		return false;
	}
	return start(op, error);
}

/* ---- a transient VM ---- */
/* One whose QEMU would not die goes with its exit. */
static void create_failed(Operation *op) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;

	if (vm->pid != 0 || vm->gone)
		return;
	operation_release(op);
	vm_files_remove_runtime(vm);
	operation_retake(op);
	vm->gone = true;
	vm->dirty = true;
}

const OperationType operation_create = {
	.member = "CreateVM",
	.lane = VM_LANE_QMP,
	.deadline = DEADLINE_START,
	.needs_qemu = true,
	.makes_qemu = true,
	.run = start,
	.failed = create_failed,
};

const OperationType operation_start = {
	.member = "Start",
	.lane = VM_LANE_QMP,
	.deadline = DEADLINE_START,
	.needs_qemu = true,
	.makes_qemu = true,
	.run = run_start,
};
