#pragma once
/*
 * Inside the store: the keys of a definition as tables, and the reader that is driven by them. One row per
 * key serves the reading of a D-Bus a{sv}, the writing of one, and the typing of JSON.
 */
#include "store/config.h"

/* An enumeration: words[i] is the word of its value i. */
typedef struct ConfigWords {
	const char *const *words;
	unsigned n_words;
	bool open_ended; /* there are more in the world: an unknown one is NotSupported */
	const char *const
		*later; /* words of the contract that are not carried out yet, NULL-terminated, or NULL */
} ConfigWords;

typedef struct ConfigKey ConfigKey;
typedef struct ConfigList ConfigList;
typedef struct ConfigReader ConfigReader;

/* Checks `value` (of the right type) and puts it into `object`. 0, or -EINVAL / -EOPNOTSUPP with *ret_problem
 * set: what is wrong, without the key. */
typedef int (*ConfigSetFunc)(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
typedef GVariant *(*ConfigGetFunc)(const ConfigKey *key, const void *object);
/* Whether a string will do: 0, or as above. */
typedef int (*ConfigCheckFunc)(const char *text, char **ret_problem);

struct ConfigKey {
	const char *name;
	const char *signature; /* NULL: a key of the contract that is not carried out yet */
	ConfigSetFunc set;
	ConfigGetFunc get;
	size_t offset; /* of the field */
	bool required;
	ConfigCheckFunc check;    /* strings */
	const ConfigWords *words; /* enumerations */
	uint64_t min, max;        /* numbers */
	const ConfigList *list;   /* aa{sv}: instead of set and get */
};

typedef struct ConfigTable {
	const ConfigKey *keys;
	unsigned n_keys; /* at most 64: a reader keeps a bit for each */
} ConfigTable;

/* An array of devices in VmConfig, each a struct whose first field is its name. */
struct ConfigList {
	const ConfigTable *table;
	size_t array_offset, count_offset;
	size_t element_size;
	unsigned max;
	/* What concerns more than one key or more than one device: elements 0 to `index` have been read. */
	int (*check)(ConfigReader *reader, VmConfig *config, unsigned index);
	/* What a device without a name is called, before its number. */
	const char *(*prefix)(const void *element);
};

extern const ConfigTable config_vm_table;
extern const ConfigWords config_machine_type_words, config_accelerator_words, config_disk_format_words,
	config_disk_device_words, config_disk_bus_words, config_disk_cache_words, config_console_type_words,
	config_display_words, config_firmware_words, config_watchdog_words, config_watchdog_action_words,
	config_policy_words, config_crash_policy_words, config_nic_type_words, config_nic_model_words;

/* NULL: there is none of that name. */
const ConfigKey *config_table_find(const ConfigTable *table, const char *name);

static inline void *config_list_array(const ConfigList *list, const VmConfig *config)
{
	return *(void *const *)(const void *)((const char *)config + list->array_offset);
}
static inline unsigned config_list_count(const ConfigList *list, const VmConfig *config)
{
	return *(const unsigned *)(const void *)((const char *)config + list->count_offset);
}

const char *config_words_to_string(const ConfigWords *words, unsigned value);
int config_words_from_string(const ConfigWords *words, const char *text);

/* ---- reading one dict ---- */
struct ConfigReader {
	const ConfigTable *table;
	const char *where; /* "", or "Disks[0]." */
	uint64_t given;    /* bit i: the key of row i was there */
	char **ret_complaint;
};

/* Whether the key was in the dict. */
bool config_reader_given(const ConfigReader *reader, const char *key);

/* Sets the complaint, "<where><key>: ...", and returns `error`. */
int config_reader_complain(const ConfigReader *reader, int error, const char *key, const char *format, ...)
	G_GNUC_PRINTF(4, 5);

/* Devices: config-devices.c. */
int config_disk_check(ConfigReader *reader, VmConfig *config, unsigned index);
int config_nic_check(ConfigReader *reader, VmConfig *config, unsigned index);
int config_console_check(ConfigReader *reader, VmConfig *config, unsigned index);
const char *config_disk_prefix(const void *element);
const char *config_nic_prefix(const void *element);
const char *config_console_prefix(const void *element);
/* Names for those that were given none: the prefix and the first free number. */
void config_list_name_rest(const ConfigList *list, VmConfig *config);
/* Addresses for those that were given none. config->uuid is set. */
void config_nics_address_rest(VmConfig *config);
