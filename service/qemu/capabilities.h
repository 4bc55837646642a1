#pragma once
/*
 * What a QEMU can do, as it said itself: an immutable, counted picture. The parsing is pure; probe.h asks.
 *
 * Machines and CPU models are records; everything else is a set of words, each with its kind before it:
 *
 *   type NAME                        a device, an object, an accelerator: QOM's types
 *   command NAME                     of QMP
 *   argument COMMAND.NAME            of one of a few commands
 *   argument COMMAND.NAME=VALUE      which the argument, an enumeration, can be
 *   option NAME                      of the command line
 *   property TYPE.NAME               of one of a few types
 */
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/ref.h"

typedef struct QemuMachineInfo {
	char *name;  /* pc-q35-7.2 */
	char *alias; /* q35, or NULL */
	uint32_t max_vcpus;
} QemuMachineInfo;

typedef struct QemuCpuModel {
	char *name;
	bool deprecated;
	bool complete; /* the accelerator that was asked under can give it all its features */
} QemuCpuModel;

typedef struct QemuCapabilities {
	Ref ref;
	char *version; /* "7.2.22" */
	bool is_kvm;   /* which accelerator QemuCpuModel.complete is about */
	QemuMachineInfo *machines;
	unsigned n_machines;
	QemuCpuModel *cpu_models;
	unsigned n_cpu_models;
	char **words; /* sorted, each but once */
	unsigned n_words;
} QemuCapabilities;

/* Any thread that has a reference. */
QemuCapabilities *qemu_capabilities_ref(QemuCapabilities *capabilities);
QemuCapabilities *qemu_capabilities_unref(QemuCapabilities *capabilities);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QemuCapabilities, qemu_capabilities_unref)

/* Any thread. */
bool qemu_capabilities_has(const QemuCapabilities *capabilities, const char *word);
/* By name or alias; NULL: it has none of that name. */
const QemuMachineInfo *qemu_capabilities_machine(const QemuCapabilities *capabilities, const char *name);
const QemuCpuModel *qemu_capabilities_cpu_model(const QemuCapabilities *capabilities, const char *name);

/* ---- the dialogue: dialogue.c ---- */
#define QEMU_DIALOGUE_MAX (16U * 1024 * 1024)

/* Any thread: all that is to be said to a QEMU, a line for each question. The caller frees. */
char *qemu_dialogue_questions(void);
/* Whether all of them are answered; then QEMU is told QEMU_DIALOGUE_GOODBYE. */
bool qemu_dialogue_is_complete(const char *text, size_t size);
#define QEMU_DIALOGUE_GOODBYE "{\"execute\":\"quit\"}\n"

/* Any thread: reads what it said to that, hostile, to its end. 0, or with *ret_complaint set (the caller
 * frees): -EBADMSG, no answers, or not such; -E2BIG, -EFBIG, deeper or more than any QEMU's; -EPROTO: it
 * refused to answer, in its words. */
int qemu_dialogue_read(const char *text, size_t size, QemuCapabilities **ret, char **ret_complaint);

/* ---- as text, for the cache ---- */
/* Any thread: the caller frees. */
char *qemu_capabilities_to_text(const QemuCapabilities *capabilities);
/* Any thread: 0, or -EBADMSG: not what qemu_capabilities_to_text() writes. */
int qemu_capabilities_from_text(const char *text, QemuCapabilities **ret);

/* ---- for both readers: what is being read ---- */
typedef struct QemuCapabilitiesBuilder {
	char *version;
	bool is_kvm;
	GArray *machines;   /* QemuMachineInfo */
	GArray *cpu_models; /* QemuCpuModel */
	GPtrArray *words;
} QemuCapabilitiesBuilder;

void qemu_capabilities_builder_init(QemuCapabilitiesBuilder *builder);
void qemu_capabilities_builder_clear(QemuCapabilitiesBuilder *builder);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(QemuCapabilitiesBuilder, qemu_capabilities_builder_clear)
/* A copy is kept of names; one that no QEMU has (empty, long, not printable) is left out. */
void qemu_capabilities_builder_add_machine(QemuCapabilitiesBuilder *builder, const QemuMachineInfo *machine);
void qemu_capabilities_builder_add_cpu_model(QemuCapabilitiesBuilder *builder, const QemuCpuModel *model);
void qemu_capabilities_builder_add_word(QemuCapabilitiesBuilder *builder, const char *kind, const char *name);
/* Takes what was read, if it is within bounds. 0, -EFBIG: too many; -EBADMSG: no version. */
int qemu_capabilities_builder_end(QemuCapabilitiesBuilder *builder, QemuCapabilities **ret);
