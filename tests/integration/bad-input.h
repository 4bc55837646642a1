#pragma once
/*
 * The bad-input matrix: what the running service says of itself (its methods and their arguments by
 * Introspect, its options by the error that an unknown one gives, its definition keys by GetConfig) times
 * everything that a caller can get wrong. A new method, option or key is covered without a new line here.
 *
 * What comes of each case is a line of the table, bad-input.table, which is compared, and is to be read: its
 * texts are what a user of busctl sees.
 */
#include "fixture.h"

/* ---- values: bad-input-values.c ---- */
typedef struct Value {
	char *name; /* as it is called in the table */
	GVariant *value;
	bool is_type; /* what is wrong with it is its type */
} Value;

typedef GPtrArray Values; /* Value, owned */

Values *values_new(void);
void values_add(Values *values, const char *name, GVariant *value);
/* One of each of many types, but of those of this signature. */
Values *values_of_other_types(const char *signature);
/* Of the right type: empty, over-long, at its limits, with what does not belong there. `dir`: the world's
 * folder, with all kinds of files in it. */
Values *values_of_type(const char *signature, const char *dir);
/* What an argument or a key of this name can be beside. */
Values *values_of_name(const char *name);
/* Around numbers that a text of the service's named: as numbers, lengths, or counts (of `element`, or NULL).
 */
Values *values_around(const char *signature, const GArray *numbers, GVariant *element);
/* What an a{sv} can be beside its known keys' values: `base` and something. */
Values *values_of_dict(GVariant *base);
/* It takes its time to be made: it is sent once or twice, not in all ways. */
bool value_is_giant(GVariant *value);
/* "x" in variants in variants. */
GVariant *value_nested(unsigned depth);
/* `n` times the same, for a dict entry or an array. */
GVariant *value_repeated(GVariant *element, gsize n);
/* The dict with the key's value put in its place (NULL: taken out; at the end, if there is none). A floating
 * reference, as of all these. */
GVariant *dict_put(GVariant *dict, const char *key, GVariant *value);
/* The same, and the old one stays. */
GVariant *dict_add(GVariant *dict, const char *key, GVariant *value);

/* ---- the table: bad-input-table.c ---- */
typedef struct Table Table;

Table *table_new(void);
Table *table_free(Table *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)
/* `way`: by which method or on which VM, where there are several for the same subject. */
void table_add(
	Table *table, const char *subject, const char *way, const char *case_name, const char *outcome);
bool table_has_case(Table *table, const char *subject, const char *way, const char *case_name);
/* How many cases of the subject came out so. */
guint table_count(Table *table, const char *subject, const char *way, const char *outcome);
/* The numbers that the subject's texts name, without what was sent: its limits are among them. */
GArray *table_numbers(Table *table, const char *subject);
char *table_print(Table *table);
/* Fails when they differ, and says where. */
void table_assert_same(const char *wanted, const char *found, const char *complaint);
/* Compares a section of the golden file, or rewrites it. */
void table_compare(Table *table, const char *section);

/* ---- texts: bad-input-text.c ---- */
/* What may stand before a text's first colon. */
typedef struct Culprits {
	const char *const *names; /* NULL: sd-bus's own words, in its own order */
} Culprits;

/* The rules that hold for every error: a known name, a culprit, a bounded, printable line, little of what was
 * sent (`args`, or NULL). Fails the test. */
void text_check(const char *error, const char *text, const Culprits *culprits, GVariant *args);
/* What differs from run to run is replaced; and what was sent, where that is known: its type (or NULL), the
 * value that the case is about (or NULL). */
char *text_normalize(const char *text, const char *dir, const char *type, GVariant *sent);
/* "InvalidConfig", "DBus.Error.InvalidArgs". */
const char *text_short_error(const char *error);
/* Numbers (with their KiB, MiB, TiB) outside of quotes, but two: to a GArray of guint64. */
void text_collect_numbers(const char *text, guint64 but, guint64 nor, GArray *numbers);

/* ---- the world: bad-input-world.c ---- */
typedef struct Answer {
	char *error, *text; /* NULL: it succeeded */
	GVariant *result;   /* NULL: it did not */
} Answer;

typedef struct Target {
	const char *name;
	char *path;
	GVariant *config; /* as GetConfig gave it */
	guint64 revision;
	guint pid;
	bool runs;
} Target;

typedef struct World {
	Fixture *fixture;
	Client *client; /* the fixture's; replaced now and then, since it keeps all messages */
	char *witness;  /* a VM that is not touched */
	Target off, running;
	GVariant *base; /* a definition of another VM, with one of each device */
	Table *table;
	guint n_calls, n_refused;
} World;

void world_init(World *world, const FixtureOptions *options);
void world_done(World *world);
/* The VMs that are called, and a fresh table. */
void world_begin_round(World *world);
void world_end_round(World *world);
void world_renew_client(World *world);

void answer_clear(Answer *answer);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Answer, answer_clear)
/* One call between two good ones on the same connection, which must be answered. `args` may be floating. */
void world_ask(World *world, const char *path, const char *interface, const char *member, GVariant *args,
	Answer *ret);
void world_ping(World *world);
/* The same with a file descriptor along (-1: none). */
void world_ask_fd(World *world, const char *path, const char *interface, const char *member, GVariant *args,
	int fd, Answer *ret);
/* "ok", or the error and its text for the table; both are checked. */
char *world_outcome(World *world, const Answer *answer, const Culprits *culprits, GVariant *args,
	const char *type, GVariant *sent);
/* What a call that succeeded has changed is changed back. */
void world_mend(World *world);
/* What was refused has changed nothing. */
void world_assert_whole(World *world);
/* Of an Update that succeeded. */
void world_restore_config(World *world, Target *target);
/* The object of a new VM is undefined, or killed. */
void world_remove_vm(World *world, const char *path);

/* All that must be the same before and after: the service's objects, its definitions, its files. */
char *world_picture(World *world);

/* ---- the service: bad-input-service.c ---- */
typedef enum DictKind {
	DICT_NONE,    /* no a{sv} */
	DICT_OPTIONS, /* a method's own keys */
	DICT_CONFIG,  /* a definition's */
} DictKind;

typedef struct Option {
	char *key, *signature;
} Option;

typedef struct Argument {
	const char *name, *signature;
	DictKind kind;
	GPtrArray *options; /* Option, of DICT_OPTIONS */
} Argument;

typedef struct Method {
	const char *interface, *name, *result; /* result: the signature of what it returns, "()" */
	bool is_ours, is_vm;
	unsigned n_arguments;
	Argument *arguments;
} Method;

typedef struct Service {
	GDBusNodeInfo *manager, *vm;
	GPtrArray *methods; /* Method */
} Service;

Service *service_learn(World *world);
Service *service_free(Service *service);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Service, service_free)
/* Good arguments, of which one is replaced (`value`, or NULL: none is). */
GVariant *method_arguments(const World *world, const Method *method, unsigned index, GVariant *value);

/* Calls it, on both VMs if it is one of theirs; what is said is checked, what is done is undone. */
void method_try(World *world, const Method *method, GVariant *args);

/* ---- the matrix ---- */
void matrix_methods(World *world, const Service *service); /* bad-input-methods.c */
/* Those of VMs that have more arguments than options, on the VM that runs. */
void matrix_words_to_qemu(World *world, const Service *service);
void matrix_objects(
	World *world, const Service *service);          /* bad-input-objects.c: paths, members, properties */
void matrix_keys(World *world, const Service *service); /* bad-input-keys.c */
void wire_test(World *world, GRand *random);            /* bad-input-wire.c */
void random_test(World *world, const Service *service, GRand *random, guint n); /* bad-input-random.c */
