/*
 * roostd: options, wiring, and the order in which things begin and end.
 *
 * Beginning: signals are blocked before there are threads; folders are opened and locked; definitions become
 * VMs; the event thread starts; the bus is connected and shows the VMs; last comes the name, so that whoever
 * finds roostd finds it whole. Ending is the reverse, bounded at each step: QEMUs stay.
 */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "bus/bus.h"
#include "util/clock.h"
#include "util/log.h"
#include "vm/link.h"

#define MAX_WORKERS         512
#define RESERVED_WORKERS    64
#define MAX_USER_VMS        64
#define USER_VCPUS_PER_CPU  4
#define WORKERS_WAIT_USEC   (3 * USEC_PER_SEC)
#define STATE_DIR_WAIT_USEC (5 * USEC_PER_SEC)

typedef struct Options {
	char *bus, *state_dir, *runtime_dir, *qemu, *qemu_user, *log_level;
	double deadline_scale, idle_exit_sec;
	int max_workers, max_vms, max_vcpus; /* the latter two: of one user's */
	gint64 max_memory;
	gboolean version;
	/* Found by them. */
	char *helper;
	uid_t qemu_uid;
	gid_t qemu_gid;
} Options;

typedef struct Service {
	Options options;
	StateDir *state_dir;
	RuntimeDir *runtime_dir;
	Engine *engine;
	Registry *registry;
	sd_event *loop;
	Bus *bus;
} Service;

static bool complain(const char *format, ...) G_GNUC_PRINTF(1, 2);
static bool complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("roostd: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return false;
}

/* ---- options ---- */
static bool set_log_level(const char *name)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};

	for (size_t i = 0; i < G_N_ELEMENTS(levels); i++)
		if (strcmp(levels[i].name, name) == 0) {
			log_set_level(levels[i].level);
			return true;
		}
	return complain("--log-level=%s: must be error, warning, info or debug", name);
}

/* On the system bus the host's folders, elsewhere the user's. */
static void set_defaults(Options *options)
{
	bool system = !options->bus || strcmp(options->bus, "system") == 0;

	if (!options->bus)
		options->bus = g_strdup("system");
	if (!options->qemu)
		options->qemu = g_strdup(ROOST_QEMU);
	if (!options->log_level)
		options->log_level = g_strdup("info");
	if (!options->state_dir)
		options->state_dir = system ? g_strdup("/var/lib/roost")
					    : g_build_filename(g_get_user_state_dir(), "roost", NULL);
	if (!options->runtime_dir)
		options->runtime_dir = system ? g_strdup("/run/roost")
					      : g_build_filename(g_get_user_runtime_dir(), "roost", NULL);
}

/* Beside roostd, wherever it is. */
static bool find_helper(Options *options)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *folder = self ? g_path_get_dirname(self) : NULL;

	if (!folder)
		return complain("/proc/self/exe: %s", g_strerror(errno));
	options->helper = g_build_filename(folder, "roost-helper", NULL);
	return true;
}

static bool find_qemu_user(Options *options)
{
	const struct passwd *user;

	if (!options->qemu_user)
		return true;
	if (geteuid() != 0)
		return complain(
			"--qemu-user=%s: only root can start QEMU as somebody else", options->qemu_user);
	errno = 0;
	user = getpwnam(options->qemu_user);
	if (!user)
		return complain("--qemu-user=%s: %s", options->qemu_user,
			errno ? g_strerror(errno) : "there is no such user");
	options->qemu_uid = user->pw_uid;
	options->qemu_gid = user->pw_gid;
	return true;
}

/* Of one user's VMs: more virtual processors than the host has are common, more memory is not. */
static void set_default_limits(Options *options)
{
	long n_cpus = sysconf(_SC_NPROCESSORS_ONLN), n_pages = sysconf(_SC_PHYS_PAGES);

	options->max_vms = MAX_USER_VMS;
	options->max_vcpus = (int)(n_cpus > 0 ? n_cpus * USER_VCPUS_PER_CPU : USER_VCPUS_PER_CPU);
	options->max_memory = n_pages > 0 ? (gint64)n_pages * sysconf(_SC_PAGESIZE) : 0;
}

static bool check_options(Options *options)
{
	set_defaults(options);
	if (strcmp(options->bus, "system") != 0 && strcmp(options->bus, "session") != 0 &&
		!strchr(options->bus, ':'))
		return complain(
			"--bus=%s: must be system, session, or a D-Bus address such as unix:path=/run/bus",
			options->bus);
	if (options->deadline_scale < 0.01 || options->deadline_scale > 1000)
		return complain("--deadline-scale=%g: must be from 0.01 to 1000", options->deadline_scale);
	if (!(options->idle_exit_sec >= 0 && options->idle_exit_sec <= 1e6))
		return complain(
			"--idle-exit=%g: must be from 0 (never) to 1000000 s", options->idle_exit_sec);
	if (options->max_workers < 2 || options->max_workers > 4096)
		return complain("--max-workers=%d: must be from 2 to 4096", options->max_workers);
	if (options->max_vms < 0 || options->max_vcpus < 0 || options->max_memory < 0)
		return complain("--max-vms-per-user, --max-vcpus-per-user, --max-memory-per-user: can't be "
				"negative; 0: no limit");
	if (!g_path_is_absolute(options->qemu))
		return complain("--qemu=%s: must be an absolute path", options->qemu);
	if (!g_path_is_absolute(options->state_dir))
		return complain("--state-dir=%s: must be an absolute path", options->state_dir);
	if (!g_path_is_absolute(options->runtime_dir))
		return complain("--runtime-dir=%s: must be an absolute path", options->runtime_dir);
	return find_helper(options) && find_qemu_user(options) && set_log_level(options->log_level);
}

static bool parse_options(int argc, char **argv, Options *options)
{
	/* clang-format off */
	const GOptionEntry entries[] = {
		{"bus", 0, 0, G_OPTION_ARG_STRING, &options->bus, "The bus to serve: system (the default), session, or an address", "BUS"},
		{"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->state_dir, "Where definitions are kept", "DIR"},
		{"runtime-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->runtime_dir, "Where sockets are made", "DIR"},
		{"qemu", 0, 0, G_OPTION_ARG_FILENAME, &options->qemu, "The QEMU to run (" ROOST_QEMU ")", "PATH"},
		{"qemu-user", 0, 0, G_OPTION_ARG_STRING, &options->qemu_user, "Runs QEMU as this user (as itself)", "USER"},
		{"deadline-scale", 0, 0, G_OPTION_ARG_DOUBLE, &options->deadline_scale, "Multiplies all deadlines, for slow hosts (1)", "X"},
		{"max-workers", 0, 0, G_OPTION_ARG_INT, &options->max_workers, "How many methods may be under way at once (512)", "N"},
		{"max-vms-per-user", 0, 0, G_OPTION_ARG_INT, &options->max_vms, "How many VMs a user but root may have (64; 0: no limit)", "N"},
		{"max-vcpus-per-user", 0, 0, G_OPTION_ARG_INT, &options->max_vcpus, "How many virtual processors a user's running VMs may have (4 for each of the host's; 0: no limit)", "N"},
		{"max-memory-per-user", 0, 0, G_OPTION_ARG_INT64, &options->max_memory, "How much memory they may have (the host's; 0: no limit)", "BYTES"},
		{"idle-exit", 0, 0, G_OPTION_ARG_DOUBLE, &options->idle_exit_sec, "Ends when for so long nobody has called and no VM runs (0: never)", "SECONDS"},
		{"log-level", 0, 0, G_OPTION_ARG_STRING, &options->log_level, "error, warning, info (the default) or debug", "LEVEL"},
		{"version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Prints the version", NULL},
		{0},
	};
	/* clang-format on */
	g_autoptr(GOptionContext) context =
		g_option_context_new("- runs virtual machines, on D-Bus as " BUS_NAME);
	g_autoptr(GError) error = NULL;

	options->deadline_scale = 1.0;
	options->max_workers = MAX_WORKERS;
	set_default_limits(options);
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error))
		return complain("%s; see roostd --help", error->message);
	if (argc > 1)
		return complain("%s: roostd takes options only; see roostd --help", argv[1]);
	return options->version || check_options(options);
}

static void clear_options(Options *options)
{
	g_free(options->bus);
	g_free(options->state_dir);
	g_free(options->runtime_dir);
	g_free(options->qemu);
	g_free(options->log_level);
	g_free(options->qemu_user);
	g_free(options->helper);
}

/* ---- beginning ---- */
static void load_vm(Definition *definition, void *user)
{
	Service *service = user;
	g_autoptr(GError) error = NULL;
	g_autoptr(Vm) vm = NULL;

	assert_bus_thread(__func__);
	vm = vm_new(service->engine, vm_config_ref(definition->config), definition->owner_uid,
		definition->revision);
	if (!registry_reserve(service->registry, vm, definition->config->name, &error)) {
		log_error("%s: not loaded: %s", definition->config->name, error->message);
		return;
	}
	vm_adopt_process(vm);
	registry_publish(service->registry, vm);
}

/* One that ends because it is idle is waited for; so is a child that a killed roostd was just about to spawn,
 * which holds its lock until it has become a QEMU. */
static int open_state_dir(Service *service, char **ret_complaint)
{
	uint64_t until = clock_monotonic_usec() + STATE_DIR_WAIT_USEC;
	int r;

	for (;;) {
		g_autofree char *complaint = NULL;

		r = state_dir_open(service->options.state_dir, &service->state_dir, &complaint);
		if (r != -EWOULDBLOCK || clock_monotonic_usec() >= until) {
			*ret_complaint = g_steal_pointer(&complaint);
			return r;
		}
		g_usleep(10 * USEC_PER_MSEC);
	}
}

static bool is_loaded(const char *uuid, void *user)
{
	Service *service = user;

	assert_bus_thread(__func__);
	return registry_find(service->registry, uuid, NULL) != NULL;
}

static bool open_folders(Service *service)
{
	g_autofree char *complaint = NULL;

	if (open_state_dir(service, &complaint) < 0)
		return complain("--state-dir=%s", complaint);
	if (runtime_dir_open(service->options.runtime_dir, &service->runtime_dir, &complaint) < 0)
		return complain("--runtime-dir=%s", complaint);
	return true;
}

static bool start_engine(Service *service) ON_BUS_THREAD
{
	unsigned max = (unsigned)service->options.max_workers;
	EngineOptions options = {.qemu_binary = service->options.qemu,
		.helper = service->options.helper,
		.has_qemu_user = service->options.qemu_user != NULL,
		.qemu_uid = service->options.qemu_uid,
		.qemu_gid = service->options.qemu_gid,
		.state_dir = service->state_dir,
		.runtime_dir = service->runtime_dir,
		.deadline_scale = service->options.deadline_scale,
		.max_workers = max,
		.reserved_workers = MIN(RESERVED_WORKERS, max / 8)};
	int r = engine_new(&options, &service->engine);

	if (r < 0)
		return complain("can't begin: %s", g_strerror(-r));
	service->registry = registry_new();
	r = state_dir_load(service->state_dir, load_vm, service);
	if (r < 0)
		return complain(
			"--state-dir=%s: can't be read: %s", service->options.state_dir, g_strerror(-r));
	vm_adopt_transients(service->engine, service->registry);
	vm_adopt_orphans(service->engine, is_loaded, service);
	r = engine_start(service->engine);
	if (r < 0)
		return complain("can't begin: %s", g_strerror(-r));
	r = engine_check_host(service->engine, 0);
	if (r < 0)
		log_warning("QEMU can't be asked for what it can do: %s", g_strerror(-r));
	return true;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	Service *service = userdata;

	assert_bus_thread(__func__);
	log_info("Ending, on SIG%s", sigabbrev_np((int)info->ssi_signo));
	sd_notify(false, "STOPPING=1");
	bus_begin_shutdown(service->bus);
	return 0;
}

static bool open_bus(Service *service) ON_BUS_THREAD
{
	g_autofree char *complaint = NULL;
	BusLimits limits;
	int r = sd_event_new(&service->loop);

	if (r >= 0)
		r = sd_event_add_signal(service->loop, NULL, SIGTERM, on_signal, service);
	if (r >= 0)
		r = sd_event_add_signal(service->loop, NULL, SIGINT, on_signal, service);
	if (r < 0)
		return complain("can't begin: %s", g_strerror(-r));
	if (bus_open(service->options.bus, service->loop, service->engine, service->registry, &service->bus,
		    &complaint) < 0)
		return complain("%s", complaint);
	limits = (BusLimits){.max_vms = (unsigned)service->options.max_vms,
		.max_vcpus = (uint64_t)service->options.max_vcpus,
		.max_memory = (uint64_t)service->options.max_memory};
	bus_limit_users(service->bus, &limits);
	if (bus_take_name(service->bus, &complaint) < 0)
		return complain("%s", complaint);
	return true;
}

/* Before any thread starts: they inherit the mask. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- ending ---- */
static void drop_links(Vm *vm, void *user)
{
	engine_drop_links(user, vm);
}

/* A worker that is stuck in a system call can't be waited for: then nothing may be freed under it. */
static void end_service(Service *service, int code) ON_BUS_THREAD
{
	bool idle = true;

	if (service->engine) {
		engine_give_up_host(service->engine);
		idle = workers_wait_idle(
			service->engine->workers, clock_monotonic_usec() + WORKERS_WAIT_USEC);
		engine_stop(service->engine);
		/* An exit that was applied in the last turns may have given a worker something to clean up.
		 */
		idle = idle && workers_wait_idle(
				       service->engine->workers, clock_monotonic_usec() + WORKERS_WAIT_USEC);
	}
	if (service->bus)
		bus_finish(service->bus);
	if (!idle) {
		log_warning("A worker is stuck and left behind");
		_exit(code);
	}
	bus_free(service->bus);
	if (service->registry)
		registry_foreach(service->registry, drop_links, service->engine);
	registry_free(service->registry);
	if (service->engine)
		engine_free(service->engine);
	sd_event_unref(service->loop);
	runtime_dir_free(service->runtime_dir);
	state_dir_free(service->state_dir);
	clear_options(&service->options);
}

int main(int argc, char **argv)
{
	Service service = {0};
	int code = EXIT_FAILURE;

	thread_adopt_role(&role_bus);
	assert_bus_thread(__func__);
	if (!parse_options(argc, argv, &service.options)) {
		clear_options(&service.options);
		return EXIT_FAILURE;
	}
	if (service.options.version) {
		puts("roostd " ROOST_VERSION);
		clear_options(&service.options);
		return EXIT_SUCCESS;
	}
	/* What whoever started us left open must not reach the guests' QEMUs. */
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	block_signals();
	if (open_folders(&service) && start_engine(&service) && open_bus(&service)) {
		log_info("Serving %u VMs as " BUS_NAME " on %s", registry_count(service.registry),
			service.options.bus);
		sd_notify(false, "READY=1");
		code = bus_exit_when_idle(
			service.bus, (uint64_t)(service.options.idle_exit_sec * USEC_PER_SEC));
		if (code < 0)
			log_warning("It will not end when idle: %s", g_strerror(-code));
		bus_autostart(service.bus);
		code = sd_event_loop(service.loop);
		sd_notify(false, "STOPPING=1");
		if (code < 0)
			code = EXIT_FAILURE;
	}
	end_service(&service, code);
	return code;
}
