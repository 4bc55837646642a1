#include "vm/engine.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "vm/error.h"
#include "vm/link.h"
#include "vm/operation.h"
#include "vm/unit.h"

#define IDLE_THREAD_USEC (10 * USEC_PER_SEC)
#define DELIVERIES_MAX   1024 /* per turn of the loop */
#define LAST_TURNS_MAX   1000

static const uint64_t deadlines_usec[DEADLINE_MAX] = {
	[DEADLINE_QUERY] = 5 * USEC_PER_SEC,
	[DEADLINE_COMMAND] = 10 * USEC_PER_SEC,
	[DEADLINE_DEVICE] = 15 * USEC_PER_SEC,
	[DEADLINE_START] = 20 * USEC_PER_SEC,
};

uint64_t engine_scaled_usec(const Engine *engine, uint64_t usec)
{
	return (uint64_t)((double)usec * engine->options.deadline_scale);
}

uint64_t engine_deadline_usec(const Engine *engine, DeadlineClass class)
{
	return engine_scaled_usec(engine, deadlines_usec[class]);
}

uint64_t engine_next_command_id(void)
{
	static atomic_uint_fast64_t last;

	return atomic_fetch_add(&last, 1) + 1;
}

int engine_new(const EngineOptions *options, Engine **ret_engine)
{
	Engine *engine = g_new0(Engine, 1);
	long n_cores = sysconf(_SC_NPROCESSORS_ONLN);
	int r;

	/* Made before there are threads: the macro's own guard is none. */
	vm_error_quark();
	engine->options = *options;
	engine->qemu_binary = g_strdup(options->qemu_binary);
	engine->options.qemu_binary = engine->qemu_binary;
	engine->stop_bell = bell_new();
	if (engine->stop_bell < 0) {
		r = engine->stop_bell;
		goto fail;
	}
	r = engine->ask_bell = bell_new();
	if (r < 0)
		goto fail_bell;
	r = inbox_init(&engine->ready);
	if (r < 0)
		goto fail_bell;
	r = inbox_init(&engine->inbox);
	if (r < 0)
		goto fail_ready;
	engine->workers =
		workers_new(options->max_workers, options->reserved_workers, UINT32_MAX, IDLE_THREAD_USEC);
	engine->claims = claims_new();
	leaf_init(&engine->internal_mutex);
	engine->max_internal = 2 * (unsigned)MAX(n_cores, 1);
	g_queue_init(&engine->internal_waiting);
	g_queue_init(&engine->resync_waiting);
	engine->host = host_new();
	*ret_engine = engine;
	return 0;

fail_ready:
	inbox_done(&engine->ready);
fail_bell:
	fd_close(&engine->ask_bell);
	fd_close(&engine->stop_bell);
fail:
	g_free(engine->qemu_binary);
	g_free(engine);
	return r;
}

/* ---- the event thread ---- */
static int on_ready_list(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	Engine *engine = user;
	InboxItem *item;

	assert_event_thread(__func__);
	inbox_clear_bell(&engine->ready);
	/* One that is listed again while this runs comes at the end; the bound lets the sockets have their
	 * turn. */
	for (unsigned i = 0; i < DELIVERIES_MAX; i++) {
		item = inbox_take(&engine->ready, true);
		if (!item)
			return 0;
		vm_deliver(vm_from_ready_item(item));
		vm_unref(vm_from_ready_item(item));
	}
	bell_ring(engine->ready.bell);
	return 0;
}

static int on_stop(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	bool *stopping = user;

	bell_clear(fd);
	*stopping = true;
	return 0;
}

/* Among what else there is to do: so it says that the loop goes round. */
static int on_ask(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	Engine *engine = user;

	bell_clear(fd);
	atomic_store(&engine->asked, false);
	return 0;
}

void engine_ask(Engine *engine)
{
	atomic_store(&engine->asked, true);
	bell_ring(engine->ask_bell);
}

bool engine_has_answered(const Engine *engine)
{
	return !atomic_load(&engine->asked);
}

/* What has come is read and applied before the end, as far as it does not go on for ever. */
static void last_turns(Engine *engine)
{
	for (unsigned i = 0; i < LAST_TURNS_MAX; i++)
		if (sd_event_run(engine->loop, 0) <= 0)
			break;
}

static void event_thread_main(void *data)
{
	Engine *engine = data;
	int r;

	assert_event_thread(__func__);
	while (!engine->stopping) {
		r = sd_event_run(engine->loop, UINT64_MAX);
		if (r < 0)
			g_error("the event thread's loop failed: %s", g_strerror(-r));
	}
	last_turns(engine);
}

int engine_start(Engine *engine)
{
	int r;

	/* Made here, used there: the thread's start is the order between. */
	r = sd_event_new(&engine->loop);
	if (r < 0)
		return r;
	r = sd_event_add_io(engine->loop, NULL, engine->ready.bell, EPOLLIN, on_ready_list, engine);
	if (r < 0)
		return r;
	r = sd_event_add_io(engine->loop, NULL, engine->stop_bell, EPOLLIN, on_stop, &engine->stopping);
	if (r < 0)
		return r;
	r = sd_event_add_io(engine->loop, NULL, engine->ask_bell, EPOLLIN, on_ask, engine);
	if (r < 0)
		return r;
	r = thread_start_joinable(&engine->event_thread, "event", &role_event, event_thread_main, engine);
	if (r < 0)
		return r;
	engine->event_thread_runs = true;
	return 0;
}

void engine_stop(Engine *engine)
{
	if (!engine->event_thread_runs)
		return;
	bell_ring(engine->stop_bell);
	thread_join(engine->event_thread);
	engine->event_thread_runs = false;
}

static void drop_items(Inbox *inbox, bool ready)
{
	InboxItem *item;

	while ((item = inbox_take(inbox, true)))
		if (ready)
			vm_unref(vm_from_ready_item(item));
		else if (item->kind == INBOX_POST)
			vm_unref(vm_from_post_item(item));
		else if (item->kind == INBOX_OPERATION)
			operation_unref(operation_from_item(item));
		else if (item->kind == INBOX_UNIT)
			unit_request_unref(unit_request_from_item(item));
		else
			host_facts_free((HostFacts *)item);
}

static void drop_line(GQueue *line)
{
	while (!g_queue_is_empty(line))
		vm_unref(g_queue_pop_head(line));
}

void engine_drop_links(Engine *engine, Vm *vm)
{
	thread_adopt_role(&role_event);
	assert_event_thread(__func__);
	vm_link_drop(vm);
}

void engine_free(Engine *engine)
{
	g_assert(!engine->event_thread_runs);
	drop_items(&engine->ready, true);
	drop_items(&engine->inbox, false);
	drop_line(&engine->resync_waiting);
	drop_line(&engine->internal_waiting);
	sd_event_unref(engine->loop);
	workers_free(engine->workers);
	claims_free(engine->claims);
	inbox_done(&engine->ready);
	inbox_done(&engine->inbox);
	leaf_done(&engine->internal_mutex);
	host_free(engine->host);
	fd_close(&engine->ask_bell);
	fd_close(&engine->stop_bell);
	g_free(engine->qemu_binary);
	g_free(engine);
}
