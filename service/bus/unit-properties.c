/*
 * What a VM's unit may do: nearly nothing. QEMU gets all its files open; what it could open by itself, even
 * when a guest has taken it over, is what every process on the host can read, of the system's own.
 */
#include "bus/units.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define KVM "/dev/kvm"

/* clang-format off */
static const struct {
	const char *name, *text; /* NULL: true */
} plain[] = {
	{"Slice", "roost.slice"},
	/* A failed one does not stay: its name is wanted for the next start. */
	{"CollectMode", "inactive-or-failed"},
	/* Done when the launcher runs: it has the socket then. */
	{"Type", "exec"},
	{"NoNewPrivileges", NULL},
	{"ProtectSystem", "strict"},
	{"ProtectHome", "yes"},
	{"ProtectProc", "invisible"},
	{"ProcSubset", "pid"},
	{"ProtectKernelTunables", NULL},
	{"ProtectKernelModules", NULL},
	{"ProtectKernelLogs", NULL},
	{"ProtectControlGroups", NULL},
	{"ProtectClock", NULL},
	{"ProtectHostname", NULL},
	{"PrivateTmp", NULL},
	{"PrivateIPC", NULL},
	{"DevicePolicy", "closed"},
	{"LockPersonality", NULL},
	{"RestrictRealtime", NULL},
	{"RestrictSUIDSGID", NULL},
	{"KeyringMode", "private"},
};
/* clang-format on */

static int append_plain(sd_bus_message *m)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(plain); i++)
		if (plain[i].text)
			r = sd_bus_message_append(m, "(sv)", plain[i].name, "s", plain[i].text);
		else
			r = sd_bus_message_append(m, "(sv)", plain[i].name, "b", true);
	return r;
}

/* A list of words: what alone is allowed, or what is not. */
static int append_words(sd_bus_message *m, const char *name, bool allowed, const char *const *words)
{
	int r = sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = sd_bus_message_append_basic(m, 's', name);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "(bas)");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'r', "bas");
	if (r >= 0)
		r = sd_bus_message_append(m, "b", allowed);
	if (r >= 0)
		r = sd_bus_message_append_strv(m, (char **)words);
	for (unsigned i = 0; r >= 0 && i < 3; i++)
		r = sd_bus_message_close_container(m);
	return r;
}

static int append_strings(sd_bus_message *m, const char *name, const char *const *words)
{
	int r = sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = sd_bus_message_append_basic(m, 's', name);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "as");
	if (r >= 0)
		r = sd_bus_message_append_strv(m, (char **)words);
	for (unsigned i = 0; r >= 0 && i < 2; i++)
		r = sd_bus_message_close_container(m);
	return r;
}

static bool has_network(const VmConfig *config)
{
	/* What the administrator's own arguments make of it is not known. */
	if (config->qemu_arguments && config->qemu_arguments[0])
		return true;
	for (unsigned i = 0; i < config->n_nics; i++)
		if (config->nics[i].type == NIC_TYPE_USER)
			return true;
	return false;
}

static int append_sandbox(sd_bus_message *m, const VmConfig *config)
{
	/* QEMU's own sandbox takes away more, and needs seccomp(2) for it. */
	static const char *const calls[] = {"@system-service", "seccomp", NULL};
	static const char *const no_calls[] = {"@privileged", NULL};
	/* By them it could say in others' names what VMs do, and ask all that a user may. */
	static const char *const hidden[] = {"-/run/systemd/journal", "-/run/dbus", "-/dev/mqueue", NULL};
	static const char *const local[] = {"AF_UNIX", NULL}, *const internet[] = {
								      "AF_UNIX", "AF_INET", "AF_INET6", NULL};
	int r = append_plain(m);

	if (r >= 0)
		r = append_words(m, "SystemCallFilter", true, calls);
	if (r >= 0)
		r = append_words(m, "SystemCallFilter", false, no_calls);
	if (r >= 0)
		r = append_words(m, "RestrictAddressFamilies", true, has_network(config) ? internet : local);
	if (r >= 0)
		r = append_strings(m, "InaccessiblePaths", hidden);
	if (r >= 0)
		r = sd_bus_message_append(
			m, "(sv)", "TemporaryFileSystem", "a(ss)", 1, "/dev/shm", "mode=1777,size=50%");
	/* No capability, no new namespace: sets of which nothing is in. What is not allowed fails, and QEMU
	 * goes on. */
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)(sv)", "SystemCallArchitectures", "as", 1,
			"native", "SystemCallErrorNumber", "i", (int32_t)EPERM, "CapabilityBoundingSet", "t",
			(uint64_t)0, "AmbientCapabilities", "t", (uint64_t)0, "RestrictNamespaces", "t",
			(uint64_t)0, "UMask", "u", (uint32_t)0077);
	return r;
}

/* A user of its own for each VM, made by systemd for as long as it runs: of one user they could signal each
 * other, and reach into each other's memory. What roost-qemu's group may read, each may. */
static int append_user(sd_bus_message *m, const Engine *engine, const VmConfig *config)
{
	g_autofree char *gid = g_strdup_printf("%u", (unsigned)engine->options.qemu_gid), *kvm_gid = NULL;
	bool has_user = engine->options.has_qemu_user;
	const char *groups[3] = {NULL};
	unsigned n_groups = 0;
	struct stat st;
	int r = 0;

	if (has_user) {
		groups[n_groups++] = gid;
		r = sd_bus_message_append(m, "(sv)(sv)", "DynamicUser", "b", true, "RemoveIPC", "b", true);
	}
	if (r >= 0 && config->accelerator != VM_ACCELERATOR_TCG && stat(KVM, &st) >= 0) {
		groups[n_groups++] = kvm_gid = g_strdup_printf("%u", (unsigned)st.st_gid);
		r = sd_bus_message_append(m, "(sv)", "DeviceAllow", "a(ss)", 1, KVM, "rw");
	}
	return r < 0 ? r : append_strings(m, "SupplementaryGroups", groups);
}

static int append_limits(sd_bus_message *m, const VmConfig *config)
{
	struct rlimit files;
	int r = 0;

	/* Whatever number a file has here it can have there. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		r = sd_bus_message_append(m, "(sv)(sv)", "LimitNOFILE", "t", (uint64_t)files.rlim_max,
			"LimitNOFILESoft", "t", (uint64_t)files.rlim_max);
	if (r >= 0 && config->cpu_weight != 0)
		r = sd_bus_message_append(m, "(sv)", "CPUWeight", "t", (uint64_t)config->cpu_weight);
	if (r >= 0 && config->memory_max != 0)
		r = sd_bus_message_append(m, "(sv)", "MemoryMax", "t", config->memory_max);
	if (r >= 0 && config->tasks_max != 0)
		r = sd_bus_message_append(m, "(sv)", "TasksMax", "t", (uint64_t)config->tasks_max);
	return r;
}

static int append_log_fields(sd_bus_message *m, const UnitRequest *request)
{
	g_autofree char *name = g_strdup_printf("ROOST_VM_NAME=%s", request->config->name);
	g_autofree char *uuid = g_strdup_printf("ROOST_VM_UUID=%s", request->uuid);
	int r = sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = sd_bus_message_append_basic(m, 's', "LogExtraFields");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "aay");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "ay");
	if (r >= 0)
		r = sd_bus_message_append_array(m, 'y', name, strlen(name));
	if (r >= 0)
		r = sd_bus_message_append_array(m, 'y', uuid, strlen(uuid));
	for (unsigned i = 0; r >= 0 && i < 3; i++)
		r = sd_bus_message_close_container(m);
	return r;
}

int unit_properties_append(sd_bus_message *m, const Engine *engine, const UnitRequest *request)
{
	const char *helper = engine->options.helper;
	g_autofree char *description = g_strdup_printf("Virtual machine %s", request->config->name);
	g_autofree char *identifier = g_strdup_printf("roost-vm-%s", request->config->name);
	int r = sd_bus_message_open_container(m, 'a', "(sv)");

	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)", "Description", "s", description,
			"SyslogIdentifier", "s", identifier, "AddRef", "b", true,
			"StandardInputFileDescriptor", "h", request->launcher_fd, "ExecStart", "a(sasb)", 1,
			helper, 4, helper, "launch", "-uuid", request->uuid, false);
	if (r >= 0)
		r = append_log_fields(m, request);
	if (r >= 0)
		r = append_user(m, engine, request->config);
	if (r >= 0)
		r = append_sandbox(m, request->config);
	if (r >= 0)
		r = append_limits(m, request->config);
	return r < 0 ? r : sd_bus_message_close_container(m);
}
