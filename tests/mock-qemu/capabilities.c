/* Taken down from QEMU 7.2.22, as machine.c; a test compares it with a recording. */
#include "capabilities.h"

#include <string.h>

static const char *const machines[] = {"pc-q35-7.2 q35 288", "pc-i440fx-7.2 pc 255", "microvm - 288"};

/* With what TCG can't give them. */
static const struct {
	const char *name, *unavailable;
} cpu_models[] = {
	{"max", ""},
	{"host", "\"kvm\""},
	{"base", ""},
	{"qemu64", ""},
	{"Skylake-Server", "\"pcid\", \"avx512f\""},
	{"EPYC", "\"fxsr-opt\""},
	{"Haswell", "\"pcid\""},
	{"486", ""},
};

static const char *const types[] = {"pcie-root-port", "cfi.pflash01", "kvm-accel", "tcg-accel", "VGA",
	"i6300esb", "ib700", "virtio-rng-pci", "rng-random", "pvpanic", "isa-serial", "virtio-serial-pci",
	"virtconsole", "virtserialport", "virtio-net-pci", "e1000e", "virtio-blk-pci", "ich9-ahci", "ide-hd",
	"ide-cd", "nvme", "virtio-scsi-pci", "scsi-hd", "scsi-cd", "qemu-xhci", "usb-bot", "isa-fdc",
	"floppy"};

static const char *const properties[] = {"x86-machine.smm", "x86-machine.acpi"};

static const char *const options[] = {"machine", "sandbox", "vnc", "action", "object", "netdev", "device"};

static const char *const commands[] = {"qmp_capabilities", "quit", "cont", "stop", "query-status",
	"query-vnc", "add_client", "inject-nmi", "send-key"};

/* Arguments with the values that they may have, if they are an enumeration. */
static const struct {
	const char *command, *argument;
	const char *values[10];
} arguments[] = {
	{"blockdev-add", "driver", {"file", "host_device", "qcow2", "raw"}},
	{"blockdev-add", "discard", {"ignore", "unmap"}},
	{"blockdev-add", "cache"},
	{"netdev_add", "type", {"none", "user", "tap", "bridge"}},
	{"screendump", "filename"},
	{"screendump", "format", {"ppm", "png"}},
	{"set-action", "reboot", {"reset", "shutdown"}},
	{"set-action", "watchdog", {"reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"}},
};

static bool lacks(const char *kind, const char *name)
{
	g_auto(GStrv) lacking =
		g_strsplit(g_getenv("ROOST_MOCK_LACKS") ? g_getenv("ROOST_MOCK_LACKS") : "", ",", -1);
	g_autofree char *word = g_strconcat(kind, " ", name, NULL);

	return g_strv_contains((const char *const *)lacking, word);
}

char *capabilities_version(void)
{
	const char *version = g_getenv("ROOST_MOCK_VERSION");
	g_auto(GStrv) parts = g_strsplit(version ? version : "7.2.22", ".", 3);

	return g_strdup_printf(
		"{\"qemu\": {\"micro\": %s, \"minor\": %s, \"major\": %s}, \"package\": \"mock\"}", parts[2],
		parts[1], parts[0]);
}

void capabilities_query_version(Machine *machine, const Command *command)
{
	g_autofree char *value = capabilities_version();

	machine_return(machine, command, value);
}

static void append(GString *list, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void append(GString *list, const char *format, ...)
{
	va_list args;

	if (list->len > 1)
		g_string_append(list, ", ");
	va_start(args, format);
	g_string_append_vprintf(list, format, args);
	va_end(args);
}

static void answer(Machine *machine, const Command *command, GString *list_consume)
{
	g_string_append_c(list_consume, ']');
	machine_return(machine, command, list_consume->str);
	g_string_free(list_consume, TRUE);
}

void capabilities_query_machines(Machine *machine, const Command *command)
{
	GString *list = g_string_new("[");

	for (unsigned i = 0; i < G_N_ELEMENTS(machines); i++) {
		g_auto(GStrv) parts = g_strsplit(machines[i], " ", 3);
		bool has_alias = strcmp(parts[1], "-") != 0;

		if (!lacks("machine", has_alias ? parts[1] : parts[0]))
			append(list,
				"{\"hotpluggable-cpus\": true, \"name\": \"%s\", \"cpu-max\": %s, "
				"\"deprecated\": false%s%s%s}",
				parts[0], parts[2], has_alias ? ", \"alias\": \"" : "",
				has_alias ? parts[1] : "", has_alias ? "\"" : "");
	}
	answer(machine, command, list);
}

void capabilities_query_cpu_definitions(Machine *machine, const Command *command)
{
	GString *list = g_string_new("[");

	for (unsigned i = 0; i < G_N_ELEMENTS(cpu_models); i++)
		if (!lacks("cpu", cpu_models[i].name))
			append(list,
				"{\"name\": \"%s\", \"typename\": \"%s-x86_64-cpu\", "
				"\"unavailable-features\": "
				"[%s], \"static\": false, \"deprecated\": false}",
				cpu_models[i].name, cpu_models[i].name, cpu_models[i].unavailable);
	answer(machine, command, list);
}

static void answer_names(Machine *machine, const Command *command, const char *const *names, unsigned n,
	const char *kind, const char *key, unsigned n_prefix)
{
	GString *list = g_string_new("[");

	for (unsigned i = 0; i < n; i++)
		if (!lacks(kind, names[i]))
			append(list, "{\"%s\": \"%s\"}", key, names[i] + n_prefix);
	answer(machine, command, list);
}

void capabilities_qom_list_types(Machine *machine, const Command *command)
{
	answer_names(machine, command, types, G_N_ELEMENTS(types), "type", "name", 0);
}

void capabilities_qom_list_properties(Machine *machine, const Command *command)
{
	answer_names(machine, command, properties, G_N_ELEMENTS(properties), "property", "name",
		strlen("x86-machine."));
}

void capabilities_query_options(Machine *machine, const Command *command)
{
	answer_names(machine, command, options, G_N_ELEMENTS(options), "option", "option", 0);
}

/* ---- the schema ---- */
/* An enumeration's number is its argument's row, an object's that of its first argument and 100 more. */
static void append_values(GString *list, unsigned row)
{
	GString *members = g_string_new("["), *values = g_string_new("[");

	for (unsigned i = 0; i < G_N_ELEMENTS(arguments[row].values) && arguments[row].values[i]; i++) {
		const char *value = arguments[row].values[i];
		g_autofree char *word =
			g_strdup_printf("%s.%s=%s", arguments[row].command, arguments[row].argument, value);

		if (lacks("argument", word))
			continue;
		append(members, "{\"name\": \"%s\"}", value);
		append(values, "\"%s\"", value);
	}
	append(list, "{\"name\": \"%u\", \"meta-type\": \"enum\", \"members\": %s], \"values\": %s]}", row,
		members->str, values->str);
	g_string_free(members, TRUE);
	g_string_free(values, TRUE);
}

/* The command whose arguments begin in this row; returns the row after them. */
static unsigned append_command(GString *list, unsigned first)
{
	const char *name = arguments[first].command;
	GString *members = g_string_new("[");
	unsigned row;

	for (row = first; row < G_N_ELEMENTS(arguments) && strcmp(arguments[row].command, name) == 0; row++) {
		g_autofree char *word = g_strdup_printf("%s.%s", name, arguments[row].argument), *type = NULL;

		type = arguments[row].values[0] ? g_strdup_printf("%u", row) : g_strdup("str");
		if (!lacks("argument", word))
			append(members, "{\"name\": \"%s\", \"type\": \"%s\"}", arguments[row].argument,
				type);
	}
	append(list,
		"{\"name\": \"%s\", \"ret-type\": \"0\", \"meta-type\": \"command\", \"arg-type\": \"%u\"}",
		name, 100 + first);
	append(list, "{\"name\": \"%u\", \"meta-type\": \"object\", \"members\": %s]}", 100 + first,
		members->str);
	g_string_free(members, TRUE);
	return row;
}

void capabilities_query_schema(Machine *machine, const Command *command)
{
	GString *list = g_string_new("[");

	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++)
		if (!lacks("command", commands[i]))
			append(list,
				"{\"name\": \"%s\", \"ret-type\": \"0\", \"meta-type\": \"command\", "
				"\"arg-type\": \"0\"}",
				commands[i]);
	for (unsigned row = 0; row < G_N_ELEMENTS(arguments);)
		row = append_command(list, row);
	for (unsigned row = 0; row < G_N_ELEMENTS(arguments); row++)
		if (arguments[row].values[0])
			append_values(list, row);
	answer(machine, command, list);
}
