#pragma once
/* Inside the store: what the rows of the tables in config-keys.c are made of (ConfigCheckFunc, ConfigSetFunc,
 * ConfigGetFunc: config-keys.h). */
#include "store/config-keys.h"

int config_check_vm_name(const char *text, char **ret_problem);
int config_check_description(const char *text, char **ret_problem);
int config_check_path(const char *text, char **ret_problem);
int config_check_kernel_command_line(const char *text, char **ret_problem);
int config_check_cpu_model(const char *text, char **ret_problem);
int config_check_serial(const char *text, char **ret_problem);
int config_check_device_name(const char *text, char **ret_problem);

int config_set_string(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
int config_set_uuid(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
int config_set_mac(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
int config_set_boolean(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
int config_set_uint32(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
int config_set_uint64(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
int config_set_memory(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
/* a{ss}, bounded as Metadata, kept as a strv of keys and values. */
int config_set_pairs(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
int config_set_size(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
/* as, bounded as QemuArguments, kept as a strv. */
int config_set_strings(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);
int config_set_word(const ConfigKey *key, void *object, GVariant *value, char **ret_problem);

GVariant *config_get_string(const ConfigKey *key, const void *object);
GVariant *config_get_boolean(const ConfigKey *key, const void *object);
GVariant *config_get_uint32(const ConfigKey *key, const void *object);
GVariant *config_get_uint64(const ConfigKey *key, const void *object);
GVariant *config_get_pairs(const ConfigKey *key, const void *object);
GVariant *config_get_strings(const ConfigKey *key, const void *object);
GVariant *config_get_word(const ConfigKey *key, const void *object);
