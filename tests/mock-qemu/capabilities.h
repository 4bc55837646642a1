#pragma once
/*
 * What a mock-qemu says that it can do: as much of QEMU 7.2's answers as Roost looks at, in the same form. In
 * the environment, ROOST_MOCK_LACKS takes some of it away: words as qemu/capabilities.h has them, separated
 * by commas ("type e1000e,machine pc,cpu EPYC"); ROOST_MOCK_VERSION makes it another version.
 */
#include "machine.h"

/* {"qemu": {...}, "package": "mock"}. The caller frees. */
char *capabilities_version(void);

/* Commands of the table in machine.c. */
void capabilities_query_version(Machine *machine, const Command *command);
void capabilities_query_machines(Machine *machine, const Command *command);
void capabilities_query_cpu_definitions(Machine *machine, const Command *command);
void capabilities_qom_list_types(Machine *machine, const Command *command);
void capabilities_qom_list_properties(Machine *machine, const Command *command);
void capabilities_query_options(Machine *machine, const Command *command);
void capabilities_query_schema(Machine *machine, const Command *command);
