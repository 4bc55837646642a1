#include "bus/senders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-login.h>

#include "bus/bound.h"
#include "util/log.h"

struct Sender {
	Bus *bus;
	char *name;
	bool known;
	uint32_t uid;
	char *unit; /* or NULL */
	sd_bus_slot *question;
	GQueue calls; /* Call.sender_link: not answered yet */
	GQueue line;  /* of those that wait for polkit: authority.c's */
};

static void sender_free(void *data)
{
	Sender *sender = data;

	g_assert(sender->calls.length == 0 && sender->line.length == 0);
	sd_bus_slot_unref(sender->question);
	g_free(sender->name);
	free(sender->unit);
	g_free(sender);
}

/* The connection is gone, or (not `left`) the bus does not tell whose it is. */
static void forget(Sender *sender, bool left)
{
	while (sender->calls.head) {
		if (left)
			call_drop(sender->calls.head->data);
		else
			call_unidentified(sender->calls.head->data);
	}
	g_hash_table_remove(sender->bus->senders, sender->name);
}

/* GetConnectionCredentials' answer: the uid, and the process (0: it is not told). */
static int read_credentials(sd_bus_message *message, uint32_t *ret_uid, uint32_t *ret_pid)
{
	bool found = false;
	const char *key;
	int r = sd_bus_message_enter_container(message, 'a', "{sv}");

	*ret_pid = 0;
	while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
		r = sd_bus_message_read_basic(message, 's', &key);
		if (r >= 0 && strcmp(key, "UnixUserID") == 0) {
			r = sd_bus_message_read(message, "v", "u", ret_uid);
			found = r >= 0;
		} else if (r >= 0 && strcmp(key, "ProcessID") == 0) {
			r = sd_bus_message_read(message, "v", "u", ret_pid);
		} else if (r >= 0) {
			r = sd_bus_message_skip(message, "v");
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(message);
	}
	return r < 0 ? r : found ? 0 : -ENXIO;
}

static int on_credentials(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Sender *sender = userdata;
	GList *next;
	uint32_t uid, pid;

	sender->question = sd_bus_slot_unref(sender->question);
	if (sd_bus_message_is_method_error(message, NULL) || read_credentials(message, &uid, &pid) < 0) {
		forget(sender, false);
		return 0;
	}
	/* For the log alone: the process may be another one by now. */
	if (pid > 0 && sd_pid_get_unit((pid_t)pid, &sender->unit) < 0)
		sender->unit = NULL;
	sender->uid = uid;
	sender->known = true;
	/* A call may be answered, and so leave the line, as it begins; none joins meanwhile. */
	for (GList *l = sender->calls.head; l; l = next) {
		next = l->next;
		call_identified(l->data, uid);
	}
	return 0;
}

static int ask(Sender *sender)
{
	return sd_bus_call_method_async(sender->bus->connection, &sender->question, "org.freedesktop.DBus",
		"/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionCredentials", on_credentials,
		sender, "s", sender->name);
}

void senders_take(Call *call, const char *name)
{
	Bus *bus = call->bus;
	Sender *sender = g_hash_table_lookup(bus->senders, name);

	if (!sender) {
		sender = g_new0(Sender, 1);
		sender->bus = bus;
		sender->name = g_strdup(name);
		g_queue_init(&sender->calls);
		g_queue_init(&sender->line);
		g_hash_table_insert(bus->senders, sender->name, sender);
	}
	call->sender = sender;
	call->sender_link.data = call;
	g_queue_push_tail_link(&sender->calls, &call->sender_link);
	if (sender->known)
		call_identified(call, sender->uid);
	else if (!sender->question && ask(sender) < 0)
		forget(sender, false);
}

void senders_leave(Call *call)
{
	if (!call->sender)
		return;
	g_queue_unlink(&call->sender->calls, &call->sender_link);
	call->sender = NULL;
}

GQueue *senders_line(Call *call)
{
	return &call->sender->line;
}

const char *senders_unit(const Call *call)
{
	return call->sender ? call->sender->unit : NULL;
}

Call *senders_first_waiting(Bus *bus)
{
	GHashTableIter iter;
	void *value;

	g_hash_table_iter_init(&iter, bus->senders);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Sender *sender = value;

		if (!sender->known && sender->calls.head)
			return sender->calls.head->data;
	}
	return NULL;
}

static int on_name_lost(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Bus *bus = userdata;
	const char *name, *old, *new;
	Sender *sender;

	assert_bus_thread(__func__);
	if (sd_bus_message_read(message, "sss", &name, &old, &new) < 0 || *new)
		return 0;
	sender = g_hash_table_lookup(bus->senders, name);
	if (sender)
		forget(sender, true);
	bound_sender_left(bus, name);
	return 0;
}

static int on_match_installed(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	if (sd_bus_message_is_method_error(message, NULL))
		log_warning("The bus refuses to tell who leaves it: %s",
			sd_bus_message_get_error(message)->message);
	return 0;
}

int senders_init(Bus *bus)
{
	bus->senders = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, sender_free);
	return sd_bus_add_match_async(bus->connection, NULL,
		"type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
		"interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''",
		on_name_lost, on_match_installed, bus);
}

void senders_done(Bus *bus)
{
	g_clear_pointer(&bus->senders, g_hash_table_unref);
}
