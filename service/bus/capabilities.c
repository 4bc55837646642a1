#include "bus/capabilities.h"

#include <string.h>

#include "bus/calls.h"
#include "bus/publish.h"
#include "qemu/support.h"
#include "util/clock.h"
#include "vm/console.h"

/* ---- what is told ---- */
const char *capabilities_version(const Bus *bus)
{
	const HostFacts *facts = bus->host.facts;

	return facts && facts->capabilities ? facts->capabilities->version : "";
}

void capabilities_accelerators(const Bus *bus, const char *ret_words[static CAPABILITIES_ACCELERATORS_MAX])
{
	const HostFacts *facts = bus->host.facts;
	unsigned n = 0;

	if (facts && facts->kvm)
		ret_words[n++] = vm_accelerator_to_string(VM_ACCELERATOR_KVM);
	if (facts && facts->capabilities &&
		qemu_supports_accelerator(facts->capabilities, VM_ACCELERATOR_TCG))
		ret_words[n++] = vm_accelerator_to_string(VM_ACCELERATOR_TCG);
	ret_words[n] = NULL;
}

/* Workers tell in any order: what is older than what is known is dropped. */
static void install(Bus *bus, HostFacts *facts_consume)
{
	const char *accelerators[CAPABILITIES_ACCELERATORS_MAX],
		*old_accelerators[CAPABILITIES_ACCELERATORS_MAX];
	g_autofree char *old_version = g_strdup(capabilities_version(bus));
	const char *names[3] = {NULL};
	unsigned n = 0;

	if (bus->host.facts && facts_consume->number < bus->host.facts->number) {
		host_facts_free(facts_consume);
		return;
	}
	capabilities_accelerators(bus, old_accelerators);
	host_facts_free(bus->host.facts);
	bus->host.facts = facts_consume;
	capabilities_accelerators(bus, accelerators);
	if (strcmp(old_version, capabilities_version(bus)) != 0)
		names[n++] = "QemuVersion";
	if (!g_strv_equal(old_accelerators, accelerators))
		names[n++] = "Accelerators";
	if (n > 0)
		publish_manager_properties(bus, names);
}

/* ---- GetCapabilities' answer ---- */
static const struct {
	const char *name;
	uint64_t value;
} limits[] = {
	{"VCPUs", VM_VCPUS_MAX},
	{"Memory", VM_MEMORY_MAX},
	{"Name", VM_NAME_MAX},
	{"Description", VM_DESCRIPTION_MAX},
	{"Definition", VM_CONFIG_SIZE_MAX},
	{"Disks", VM_DISKS_MAX},
	{"SATADisks", VM_SATA_MAX},
	{"USBDisks", VM_USB_DISKS_MAX},
	{"IDEDisks", VM_IDE_MAX},
	{"Floppies", VM_FLOPPIES_MAX},
	{"DiskSize", VM_DISK_SIZE_MAX},
	{"NICs", VM_NICS_MAX},
	{"Consoles", VM_CONSOLES_MAX},
	{"SerialConsoles", VM_SERIALS_MAX},
	{"DeviceName", VM_DEVICE_NAME_MAX},
	{"Metadata", VM_METADATA_MAX},
	{"QemuArguments", VM_QEMU_ARGUMENTS_MAX},
	{"ShutdownTimeout", VM_SHUTDOWN_TIMEOUT_MAX_USEC},
	{"QueuedOperations", LANE_QUEUE_MAX},
	{"CallsPerUser", CALLS_UID_MAX},
	{"Validations", CALLS_VALIDATING_MAX},
	{"ConsoleReaders", CONSOLE_READERS_MAX},
	{"Events", HISTORY_MAX},
	{"EventsPerVM", HISTORY_VM_MAX},
	{"Reply", BUS_REPLY_MAX},
};

static int append_words(sd_bus_message *reply, const char *key, GPtrArray *words_consume)
{
	int r = sd_bus_message_open_container(reply, 'e', "sv");

	g_ptr_array_add(words_consume, NULL);
	if (r >= 0)
		r = sd_bus_message_append_basic(reply, 's', key);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'v', "as");
	if (r >= 0)
		r = sd_bus_message_append_strv(reply, (char **)words_consume->pdata);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	g_ptr_array_unref(words_consume);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static GPtrArray *machine_types(const HostFacts *facts)
{
	GPtrArray *words = g_ptr_array_new();

	for (unsigned i = 0; i < VM_MACHINE_TYPE_MAX; i++)
		if (qemu_supports_machine_type(facts->capabilities, i))
			g_ptr_array_add(words, (char *)vm_machine_type_to_string(i));
	return words;
}

static GPtrArray *cpu_models(const HostFacts *facts)
{
	const QemuCapabilities *capabilities = facts->capabilities;
	GPtrArray *words = g_ptr_array_new();

	for (unsigned i = 0; i < capabilities->n_cpu_models; i++)
		if (qemu_offers_cpu_model(capabilities, &capabilities->cpu_models[i], facts->kvm))
			g_ptr_array_add(words, capabilities->cpu_models[i].name);
	return words;
}

static GPtrArray *firmwares(const HostFacts *facts)
{
	GPtrArray *words = g_ptr_array_new();

	for (unsigned i = 0; i < VM_FIRMWARE_MAX; i++)
		if ((facts->firmwares & (1U << i)) && qemu_supports_firmware(facts->capabilities, i))
			g_ptr_array_add(words, (char *)vm_firmware_to_string(i));
	return words;
}

static GPtrArray *displays(const HostFacts *facts)
{
	GPtrArray *words = g_ptr_array_new();

	for (unsigned i = 0; i < VM_DISPLAY_MAX; i++)
		if (qemu_supports_display(facts->capabilities, i))
			g_ptr_array_add(words, (char *)vm_display_to_string(i));
	return words;
}

/* 0: there is none, and it is not told. */
static int append_user_limit(sd_bus_message *reply, const char *name, uint64_t value)
{
	return value == 0 ? 0 : sd_bus_message_append(reply, "{st}", name, value);
}

static int append_limits(sd_bus_message *reply, const HostFacts *facts, const BusLimits *user)
{
	int r = sd_bus_message_open_container(reply, 'e', "sv");

	if (r >= 0)
		r = sd_bus_message_append_basic(reply, 's', "Limits");
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'v', "a{st}");
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "{st}");
	for (unsigned i = 0; i < G_N_ELEMENTS(limits) && r >= 0; i++)
		r = sd_bus_message_append(reply, "{st}", limits[i].name, limits[i].value);
	if (r >= 0)
		r = sd_bus_message_append(reply, "{st}", "HostMemory", facts->memory);
	if (r >= 0)
		r = append_user_limit(reply, "VMsPerUser", user->max_vms);
	if (r >= 0)
		r = append_user_limit(reply, "VCPUsPerUser", user->max_vcpus);
	if (r >= 0)
		r = append_user_limit(reply, "MemoryPerUser", user->max_memory);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_info(sd_bus_message *reply, const void *data)
{
	const Bus *bus = data;
	const HostFacts *facts = bus->host.facts;
	int r = sd_bus_message_open_container(reply, 'a', "{sv}");

	if (r >= 0)
		r = append_words(reply, "MachineTypes", machine_types(facts));
	if (r >= 0)
		r = append_words(reply, "CPUModels", cpu_models(facts));
	if (r >= 0)
		r = append_words(reply, "Firmwares", firmwares(facts));
	if (r >= 0)
		r = append_words(reply, "Displays", displays(facts));
	if (r >= 0)
		r = append_limits(reply, facts, &bus->limits);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static void answer(Call *call) ON_BUS_THREAD
{
	const HostFacts *facts = call->bus->host.facts;
	GError *error = NULL;

	if (!member_may_list(call->bus, call->row->name, &error))
		call_fail(call, error);
	else if (facts->capabilities)
		call_reply(call, append_info, call->bus);
	else
		call_fail(call, g_error_new(VM_ERROR, VM_ERROR_QEMU_FAILED, "%s",
					facts->complaint ? facts->complaint : "QEMU has not been asked"));
}

/* ---- those that wait ---- */
static void enter(Call *call, GQueue *line)
{
	if (call->line)
		g_queue_unlink(call->line, &call->line_link);
	call->line = line;
	call->line_link.data = call;
	g_queue_push_tail_link(line, &call->line_link);
}

static void fail_all(GQueue *line, VmError code, const char *why)
{
	while (line->head) {
		Call *call = line->head->data;

		call_fail(call, g_error_new(VM_ERROR, code, "%s: %s", call->row->name, why));
	}
}

static void begin_check(Bus *bus)
{
	HostPicture *host = &bus->host;

	if (host->checking || !host->calls.head)
		return;
	if (engine_check_host(bus->engine, host->check + 1) < 0) {
		fail_all(&host->calls, VM_ERROR_LIMIT_REACHED,
			"the service has no thread to look at QEMU with");
		return;
	}
	host->check++;
	host->checking = true;
	while (host->calls.head)
		enter(host->calls.head->data, &host->checked);
}

void capabilities_on_facts(Bus *bus, HostFacts *facts_consume)
{
	HostPicture *host = &bus->host;
	uint64_t check = facts_consume->check;

	assert_bus_thread(__func__);
	install(bus, facts_consume);
	if (!host->checking || check != host->check)
		return;
	host->checking = false;
	while (host->checked.head)
		answer(host->checked.head->data);
	begin_check(bus);
}

bool begin_get_capabilities(Call *call, BusVm *none, GError **error)
{
	g_autoptr(GVariant) dict = NULL;
	Bus *bus = call->bus;

	assert_bus_thread(__func__);
	if (!member_read_options(call->message, call->row->name, NULL, 0, NULL, &dict, error))
		return false;
	call->accepted_usec = clock_monotonic_usec();
	call->due_usec = call->accepted_usec + engine_deadline_usec(bus->engine, DEADLINE_QUERY);
	enter(call, &bus->host.calls);
	timer_set(&bus->host.timer, call->due_usec);
	begin_check(bus);
	return true;
}

/* Both lines are in the order of acceptance, and so of what is due. */
static void on_time(void *user)
{
	Bus *bus = user;
	GQueue *const lines[] = {&bus->host.checked, &bus->host.calls};
	uint64_t now = clock_monotonic_usec();

	assert_bus_thread(__func__);
	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		while (lines[i]->head && ((Call *)lines[i]->head->data)->due_usec <= now) {
			Call *call = lines[i]->head->data;

			call_fail(call,
				g_error_new(VM_ERROR, VM_ERROR_TIMEOUT,
					"%s: QEMU has not said in %.1f s what it can do", call->row->name,
					(double)(now - call->accepted_usec) / USEC_PER_SEC));
		}
		if (lines[i]->head)
			timer_set(&bus->host.timer, ((Call *)lines[i]->head->data)->due_usec);
	}
}

/* ---- life ---- */
int capabilities_init(Bus *bus)
{
	g_queue_init(&bus->host.calls);
	g_queue_init(&bus->host.checked);
	return timer_init(&bus->host.timer, bus->loop, on_time, bus);
}

void capabilities_end(Bus *bus)
{
	fail_all(&bus->host.checked, VM_ERROR_CANCELLED, "roostd is shutting down");
	fail_all(&bus->host.calls, VM_ERROR_CANCELLED, "roostd is shutting down");
}

void capabilities_done(Bus *bus)
{
	timer_done(&bus->host.timer);
	bus->host.facts = host_facts_free(bus->host.facts);
}
