/* The words are those of QEMU 7.2, and the order of events and replies was taken down from it. */
#include "machine.h"

#include <string.h>

#include "capabilities.h"
#include "util/json.h"

static const char *const state_names[] = {
	[STATE_PRELAUNCH] = "prelaunch",
	[STATE_RUNNING] = "running",
	[STATE_PAUSED] = "paused",
	[STATE_SHUTDOWN] = "shutdown",
};

/* ---- what is read ---- */

static void complain(Command *command, char *complaint_consume)
{
	if (command->complaint)
		g_free(complaint_consume);
	else
		command->complaint = complaint_consume;
}

static void take_argument(const JsonSlice *member, void *user)
{
	Command *command = user;

	if (!command->argument)
		command->argument = g_strndup(member->key, member->key_size);
}

static void take_member(const JsonSlice *member, void *user)
{
	Command *command = user;
	g_autofree char *key = g_strndup(member->key, member->key_size);

	if (strcmp(key, "id") == 0) {
		g_free(command->id);
		command->id = g_strndup(member->value, member->value_size);
	} else if (strcmp(key, "execute") == 0) {
		g_free(command->name);
		command->name = json_slice_to_string(member->value, member->value_size);
		if (!command->name)
			complain(command, g_strdup("QMP input member 'execute' must be a string"));
	} else if (strcmp(key, "arguments") == 0) {
		g_free(command->arguments);
		command->arguments = g_strndup(member->value, member->value_size);
		if (json_scan(member->value, member->value_size, 64, take_argument, command) < 0)
			complain(command, g_strdup("QMP input member 'arguments' must be an object"));
	} else {
		complain(command, g_strdup_printf("QMP input member '%s' is unexpected", key));
	}
}

Command *command_parse(const char *line, size_t size)
{
	Command *command = g_new0(Command, 1);

	if (json_scan(line, size, 64, NULL, NULL) < 0)
		complain(command, g_strdup("JSON parse error, expecting value"));
	else if (json_scan(line, size, 64, take_member, command) < 0)
		complain(command, g_strdup("QMP input must be a JSON object"));
	else if (!command->name)
		complain(command, g_strdup("QMP input lacks member 'execute'"));
	return command;
}

Command *command_free(Command *command)
{
	if (!command)
		return NULL;
	g_free(command->name);
	g_free(command->id);
	g_free(command->argument);
	g_free(command->arguments);
	g_free(command->complaint);
	g_free(command);
	return NULL;
}

/* ---- what is said ---- */

void machine_greet(Machine *machine)
{
	g_autofree char *version = capabilities_version();

	g_string_append_printf(
		machine->output, "{\"QMP\": {\"version\": %s, \"capabilities\": [\"oob\"]}}\r\n", version);
}

void machine_event(Machine *machine, const char *event)
{
	gint64 now = g_get_real_time();
	const char *number;

	if (!machine->negotiated)
		return;
	g_string_append_printf(machine->output,
		"{\"timestamp\": {\"seconds\": %" G_GINT64_FORMAT ", \"microseconds\": %" G_GINT64_FORMAT
		"}, ",
		now / G_USEC_PER_SEC, now % G_USEC_PER_SEC);
	event = strchr(event, '{') + 1;
	machine->n_events++;
	for (; (number = strstr(event, "$N")); event = number + 2) {
		g_string_append_len(machine->output, event, number - event);
		g_string_append_printf(machine->output, "%" G_GUINT64_FORMAT, machine->n_events);
	}
	g_string_append(machine->output, event);
	g_string_append(machine->output, "\r\n");
}

void machine_return(Machine *machine, const Command *command, const char *value)
{
	if (machine->mute)
		return;
	g_string_append_printf(machine->output, "{\"return\": %s", value);
	if (command->id)
		g_string_append_printf(machine->output, ", \"id\": %s", command->id);
	g_string_append(machine->output, "}\r\n");
}

void machine_return_long(Machine *machine, const Command *command, uint64_t mib)
{
	g_autoptr(GString) value = g_string_new("\"");

	for (uint64_t i = 0; i < mib << 10; i++)
		g_string_append_printf(value, "%01024u", 0U);
	g_string_append_c(value, '"');
	machine_return(machine, command, value->str);
}

void machine_return_deep(Machine *machine, const Command *command, uint64_t n)
{
	g_autofree char *opening = g_strnfill(n, '['), *closing = g_strnfill(n, ']');
	g_autofree char *value = g_strconcat(opening, closing, NULL);

	machine_return(machine, command, value);
}

void machine_error(Machine *machine, const Command *command, const char *error_class, const char *desc)
{
	g_autoptr(JsonNode) node = json_node_init_string(json_node_alloc(), desc);
	g_autofree char *quoted = json_to_string(node, FALSE);

	if (machine->mute)
		return;
	g_string_append_c(machine->output, '{');
	if (command->id)
		g_string_append_printf(machine->output, "\"id\": %s, ", command->id);
	g_string_append_printf(
		machine->output, "\"error\": {\"class\": \"%s\", \"desc\": %s}}\r\n", error_class, quoted);
}

/* ---- commands ---- */

static void do_cont(Machine *machine, const Command *command)
{
	if (machine->state == STATE_SHUTDOWN) {
		machine_error(machine, command, "GenericError", "Resetting the Virtual Machine is required");
		return;
	}
	if (machine->state != STATE_RUNNING)
		machine_event(machine, "{\"event\": \"RESUME\"}");
	machine->state = STATE_RUNNING;
	machine_return(machine, command, "{}");
}

static void do_stop(Machine *machine, const Command *command)
{
	if (machine->state == STATE_RUNNING) {
		machine->state = STATE_PAUSED;
		machine_event(machine, "{\"event\": \"STOP\"}");
	}
	machine_return(machine, command, "{}");
}

static void do_query_status(Machine *machine, const Command *command)
{
	g_autofree char *value =
		g_strdup_printf("{\"status\": \"%s\", \"singlestep\": false, \"running\": %s}",
			state_names[machine->state], machine->state == STATE_RUNNING ? "true" : "false");

	machine_return(machine, command, value);
}

/* A machine that does not run is set back to before its start. */
static void do_system_reset(Machine *machine, const Command *command)
{
	if (machine->state != STATE_RUNNING)
		machine->state = STATE_PRELAUNCH;
	machine->powerdown_wanted = false;
	machine_event(machine, "{\"event\": \"RESET\", \"data\": {\"guest\": false, \"reason\": "
			       "\"host-qmp-system-reset\"}}");
	machine_return(machine, command, "{}");
}

static void do_system_powerdown(Machine *machine, const Command *command)
{
	machine->powerdown_wanted = true;
	machine_event(machine, "{\"event\": \"POWERDOWN\"}");
	machine_return(machine, command, "{}");
}

static void do_quit(Machine *machine, const Command *command)
{
	machine_terminate(machine, "host-qmp-quit");
	machine_return(machine, command, "{}");
}

static void do_query_chardev(Machine *machine, const Command *command)
{
	GString *value = g_string_new("[");

	for (guint i = 0; i < machine->chardevs->len; i++)
		g_string_append_printf(value,
			"%s{\"frontend-open\": true, \"filename\": \"disconnected:unix:mock,server=on\", "
			"\"label\": \"%s\"}",
			i > 0 ? ", " : "", (const char *)machine->chardevs->pdata[i]);
	g_string_append_c(value, ']');
	machine_return(machine, command, value->str);
	g_string_free(value, TRUE);
}

static const struct {
	const char *name;
	void (*func)(Machine *machine, const Command *command);
	const char *value; /* without a func */
	const char *error_class, *desc;
	bool takes_arguments;
} command_table[] = {
	{"cont", .func = do_cont},
	{"stop", .func = do_stop},
	{"quit", .func = do_quit},
	{"system_reset", .func = do_system_reset},
	{"system_powerdown", .func = do_system_powerdown},
	{"system_wakeup", .error_class = "GenericError",
		.desc = "Unable to wake up: guest is not in suspended state"},
	{"query-status", .func = do_query_status},
	{"query-chardev", .func = do_query_chardev},
	{"query-version", .func = capabilities_query_version},
	{"query-kvm", .value = "{\"enabled\": false, \"present\": true}"},
	{"query-machines", .func = capabilities_query_machines},
	{"query-cpu-definitions", .func = capabilities_query_cpu_definitions},
	{"qom-list-types", .func = capabilities_qom_list_types, .takes_arguments = true},
	{"qom-list-properties", .func = capabilities_qom_list_properties, .takes_arguments = true},
	{"query-command-line-options", .func = capabilities_query_options},
	{"query-qmp-schema", .func = capabilities_query_schema},
	{"query-block", .value = "[]"},
	{"query-jobs", .value = "[]"},
	{"query-block-jobs", .value = "[]"},
	{"query-cpus-fast", .value = "[]"},
	{"query-migrate", .value = "{}"},
	{"query-memory-devices", .value = "[]"},
	{"query-balloon", .error_class = "DeviceNotActive", .desc = "No balloon device has been activated"},
	{"qom-list", .value = "[{\"name\": \"type\", \"type\": \"string\"}]", .takes_arguments = true},
};

static void execute_row(Machine *machine, const Command *command, size_t row)
{
	g_autofree char *complaint = NULL;

	if (command->argument && !command_table[row].takes_arguments) {
		complaint = g_strdup_printf("Parameter '%s' is unexpected", command->argument);
		machine_error(machine, command, "GenericError", complaint);
	} else if (command_table[row].func) {
		command_table[row].func(machine, command);
	} else if (command_table[row].error_class) {
		machine_error(machine, command, command_table[row].error_class, command_table[row].desc);
	} else {
		machine_return(machine, command, command_table[row].value);
	}
}

static void negotiate(Machine *machine, const Command *command)
{
	bool is_handshake = strcmp(command->name, "qmp_capabilities") == 0;

	if (!is_handshake) {
		machine_error(machine, command, "CommandNotFound",
			"Expecting capabilities negotiation with 'qmp_capabilities'");
		return;
	}
	machine->negotiated = !machine->mute;
	machine_return(machine, command, "{}");
}

void machine_execute(Machine *machine, const Command *command)
{
	g_autofree char *complaint = NULL;

	if (command->complaint) {
		machine_error(machine, command, "GenericError", command->complaint);
		return;
	}
	if (!command->admitted) {
		negotiate(machine, command);
		return;
	}
	for (size_t row = 0; row < G_N_ELEMENTS(command_table); row++) {
		if (strcmp(command->name, command_table[row].name) == 0) {
			execute_row(machine, command, row);
			return;
		}
	}
	if (strcmp(command->name, "qmp_capabilities") == 0)
		complaint = g_strdup("Capabilities negotiation is already complete, command ignored");
	else
		complaint = g_strdup_printf("The command %s has not been found", command->name);
	machine_error(machine, command, "CommandNotFound", complaint);
}

void machine_power_off(Machine *machine)
{
	machine->powerdown_wanted = false;
	machine_event(machine,
		"{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}");
	if (machine->no_shutdown) {
		machine->state = STATE_SHUTDOWN;
		machine_event(machine, "{\"event\": \"STOP\"}");
	} else {
		machine->ended = true;
	}
}

void machine_terminate(Machine *machine, const char *reason)
{
	g_autofree char *event = g_strdup_printf(
		"{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": \"%s\"}}", reason);

	machine_event(machine, event);
	machine->ended = true;
}
