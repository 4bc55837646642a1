#include "bus/authority.h"

#include <errno.h>
#include <string.h>

#include "bus/calls-private.h"
#include "bus/senders.h"
#include "util/clock.h"
#include "util/log.h"

#define POLKIT_NAME      "org.freedesktop.PolicyKit1"
#define POLKIT_PATH      "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define POLKIT_CANCELLED "org.freedesktop.PolicyKit1.Error.Cancelled"

#define FLAG_ALLOW_INTERACTION 1U

#define COMPLAINT_PERIOD_USEC (60 * USEC_PER_SEC)

/* A user of whose calls some wait. */
typedef struct Asker {
	uint32_t uid;
	unsigned n_asks, n_asked, n_prompts;
	GQueue waiting;  /* Ask.waiting_link: not sent yet */
	GList turn_link; /* Bus.askers: may send */
	bool has_turn;
} Asker;

typedef enum AskState {
	ASK_WAITING,  /* to be sent */
	ASK_ASKED,    /* polkit has the question */
	ASK_PROMPTED, /* and somebody is asked to authenticate */
	ASK_DECIDED,
} AskState;

struct Ask {
	Call *call;
	Asker *asker;
	AccessRequest request;
	AskState state;
	unsigned step;      /* of the request's, that is asked about */
	sd_bus_slot *slot;  /* of the question that polkit has */
	uint64_t sent_usec; /* monotonic */
	GList link;         /* Bus.asks */
	GList waiting_link; /* Asker.waiting, while it is */
	GList line_link;    /* its sender's line */
	bool in_line;
	GError *refusal;      /* when it is decided; NULL: authorized */
	char prompt_name[32]; /* by which polkit can be told to give up; "" while nobody was prompted */
};

/* ---- counting, and turns ---- */
static Asker *find_asker(Bus *bus, uint32_t uid)
{
	Asker *asker = g_hash_table_lookup(bus->askers_by_uid, GUINT_TO_POINTER(uid));

	if (!asker) {
		asker = g_new0(Asker, 1);
		asker->uid = uid;
		asker->turn_link.data = asker;
		g_queue_init(&asker->waiting);
		g_hash_table_insert(bus->askers_by_uid, GUINT_TO_POINTER(uid), asker);
	}
	return asker;
}

/* To the end of those who may send, or out of it. */
static void update_turn(Bus *bus, Asker *asker)
{
	if (asker->has_turn)
		g_queue_unlink(&bus->askers, &asker->turn_link);
	asker->has_turn = asker->waiting.length > 0 && asker->n_asked < AUTHORITY_USER_ASKED_MAX;
	if (asker->has_turn)
		g_queue_push_tail_link(&bus->askers, &asker->turn_link);
}

static void count(Ask *ask, int by)
{
	Bus *bus = ask->call->bus;
	Asker *asker = ask->asker;

	if (ask->state == ASK_ASKED) {
		asker->n_asked += (unsigned)by;
		bus->n_asked += (unsigned)by;
	} else if (ask->state == ASK_PROMPTED) {
		asker->n_prompts += (unsigned)by;
		bus->n_prompts += (unsigned)by;
	} else if (ask->state == ASK_WAITING && by > 0) {
		g_queue_push_tail_link(&asker->waiting, &ask->waiting_link);
	} else if (ask->state == ASK_WAITING) {
		g_queue_unlink(&asker->waiting, &ask->waiting_link);
	}
}

static void set_state(Ask *ask, AskState state)
{
	count(ask, -1);
	ask->state = state;
	count(ask, 1);
	update_turn(ask->call->bus, ask->asker);
}

/* ---- the life of an ask ---- */
static Ask *ask_new(Call *call, AccessRequest *request_consume)
{
	Bus *bus = call->bus;
	Ask *ask = g_new0(Ask, 1);

	ask->call = call;
	ask->request = *request_consume;
	*request_consume = (AccessRequest){0};
	ask->link.data = ask->waiting_link.data = ask->line_link.data = ask;
	g_queue_push_tail_link(&bus->asks, &ask->link);
	g_queue_push_tail_link(senders_line(call), &ask->line_link);
	ask->in_line = true;
	ask->asker = find_asker(bus, call->uid);
	ask->asker->n_asks++;
	ask->state = ASK_WAITING;
	count(ask, 1);
	update_turn(bus, ask->asker);
	return ask;
}

static void leave_line(Ask *ask)
{
	if (ask->in_line)
		g_queue_unlink(senders_line(ask->call), &ask->line_link);
	ask->in_line = false;
}

/* Forgets the question that polkit still has, and lets no prompt stay. */
static void take_back(Ask *ask)
{
	const Bus *bus = ask->call->bus;
	int r;

	if (!ask->slot)
		return;
	ask->slot = sd_bus_slot_unref(ask->slot);
	if (ask->state != ASK_PROMPTED || bus->lost)
		return;
	r = sd_bus_call_method_async(bus->connection, NULL, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
		"CancelCheckAuthorization", NULL, NULL, "s", ask->prompt_name);
	if (r < 0)
		log_warning("polkit can't be told that nobody waits any more: %s", g_strerror(-r));
}

static void ask_free(Ask *ask)
{
	Bus *bus = ask->call->bus;
	Asker *asker = ask->asker;

	leave_line(ask);
	take_back(ask);
	set_state(ask, ASK_DECIDED);
	if (--asker->n_asks == 0)
		g_hash_table_remove(bus->askers_by_uid, GUINT_TO_POINTER(asker->uid));
	g_queue_unlink(&bus->asks, &ask->link);
	ask->call->ask = NULL;
	access_request_clear(&ask->request);
	g_clear_error(&ask->refusal);
	g_free(ask);
}

/* Lets the call go its way. */
static void conclude(Ask *ask) ON_BUS_THREAD
{
	Call *call = ask->call;
	GError *error = g_steal_pointer(&ask->refusal);
	g_auto(AccessRequest) request = ask->request;

	ask->request = (AccessRequest){0};
	ask_free(ask);
	if (error || !member_resume(call, &request, &error))
		call_fail(call, error);
}

/* Concludes what is decided and has nobody before it. A call that goes its way may end others, but none that
 * is still in a line. */
static void conclude_line(GQueue *line) ON_BUS_THREAD
{
	Ask *ask;

	while ((ask = g_queue_peek_head(line)) && ask->state == ASK_DECIDED)
		conclude(ask);
}

/* `refusal`: NULL: it is authorized. */
static void decide(Ask *ask, GError *refusal_consume) ON_BUS_THREAD
{
	set_state(ask, ASK_DECIDED);
	ask->refusal = refusal_consume;
	if (ask->in_line)
		conclude_line(senders_line(ask->call));
	else
		conclude(ask);
}

/* ---- refusals ---- */
static GError *refuse(const Ask *ask, VmError code, const char *why)
{
	const ActionRow *action = &actions[ask->request.steps[ask->step]];

	return g_error_new(VM_ERROR, code, "%s: not authorized to %s '%s' (%s)%s%s", ask->call->row->name,
		action->phrase, ask->request.name ? ask->request.name : "", action->id, why ? ": " : "",
		why ? why : "");
}

static GError *refuse_challenge(const Ask *ask)
{
	return refuse(ask, VM_ERROR_AUTHENTICATION_NEEDED,
		ask->state == ASK_PROMPTED
			? "somebody must authenticate, and no agent is there to ask for it (a desktop has "
			  "one; "
			  "in a terminal there is pkttyagent)"
			: "somebody must authenticate, and the call does not allow to ask for it");
}

/* polkit has no answer. */
static GError *refuse_for_failure(const Ask *ask, const char *why)
{
	Bus *bus = ask->call->bus;
	uint64_t now = clock_monotonic_usec();

	/* Callers can provoke it at will. */
	if (bus->polkit_complaint_usec == 0 || now >= bus->polkit_complaint_usec + COMPLAINT_PERIOD_USEC) {
		log_warning("polkit can't be asked, and until it can only root may change anything: %s", why);
		bus->polkit_complaint_usec = now;
	}
	return g_error_new(VM_ERROR, VM_ERROR_ACCESS_DENIED,
		"%s: only root may do this now, since polkit can't be asked: %s", ask->call->row->name, why);
}

/* ---- questions ---- */
static int on_answer(sd_bus_message *message, void *userdata, sd_bus_error *error);

static int append_details(sd_bus_message *m, const Ask *ask)
{
	const AccessRequest *request = &ask->request;
	const ActionMember *member = request->member;
	Action step = request->steps[ask->step];
	Action kind = step == ACTION_MANAGE_ALL ? member->action : step;
	const char *message = actions[step].message;
	g_autofree char *owner = g_strdup_printf("%u", (unsigned)request->owner_uid);
	const char *const details[][2] = {
		{"name", request->name ? request->name : ""},
		{"uuid", request->uuid ? request->uuid : ""},
		{"owner", owner},
		{"member", member->vm_member ? member->vm_member : member->name},
		{"kind", actions[kind].kind},
		{"polkit.message", message ? message : member->message},
		{"polkit.gettext_domain", "roost"},
	};
	int r = sd_bus_message_open_container(m, 'a', "{ss}");

	for (size_t i = 0; i < G_N_ELEMENTS(details) && r >= 0; i++)
		r = sd_bus_message_append(m, "{ss}", details[i][0], details[i][1]);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int send_question(Ask *ask) ON_BUS_THREAD
{
	Bus *bus = ask->call->bus;
	bool prompts = ask->state == ASK_PROMPTED;
	sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(
		bus->connection, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE, "CheckAuthorization");

	if (r >= 0)
		r = sd_bus_message_append(m, "(sa{sv})s", "system-bus-name", 1, "name", "s",
			ask->call->sender_name, actions[ask->request.steps[ask->step]].id);
	if (r >= 0)
		r = append_details(m, ask);
	if (r >= 0)
		r = sd_bus_message_append(m, "us", prompts ? FLAG_ALLOW_INTERACTION : 0, ask->prompt_name);
	if (r >= 0)
		r = sd_bus_call_async(bus->connection, &ask->slot, m, on_answer, ask,
			prompts ? UINT64_MAX : engine_deadline_usec(bus->engine, DEADLINE_QUERY));
	sd_bus_message_unref(m);
	return r;
}

/* Perhaps it is decided when this returns. */
static void ask_now(Ask *ask) ON_BUS_THREAD
{
	int r = send_question(ask);

	ask->sent_usec = clock_monotonic_usec();
	if (r < 0)
		decide(ask, refuse_for_failure(ask, g_strerror(-r)));
}

/* Sends what may be sent, of each user in turn. */
static void send_waiting(Bus *bus) ON_BUS_THREAD
{
	Asker *asker;

	while (!bus->ending && bus->n_asked < AUTHORITY_ASKED_MAX &&
		(asker = g_queue_peek_head(&bus->askers))) {
		Ask *ask = g_queue_peek_head(&asker->waiting);

		set_state(ask, ASK_ASKED);
		ask_now(ask);
	}
}

/* polkit takes too long to answer one: those that wait would wait for as long again. */
static void give_up_waiting(Bus *bus, const char *why) ON_BUS_THREAD
{
	g_autoptr(GPtrArray) waiting = g_ptr_array_new();

	/* Deciding one lets others go, but none of these. */
	for (GList *l = bus->asks.head; l; l = l->next)
		if (((Ask *)l->data)->state == ASK_WAITING)
			g_ptr_array_add(waiting, l->data);
	for (unsigned i = 0; i < waiting->len; i++)
		decide(waiting->pdata[i], refuse_for_failure(waiting->pdata[i], why));
}

/* Somebody is asked to authenticate. Those behind it in its line don't wait for that. */
static void prompt(Ask *ask) ON_BUS_THREAD
{
	Bus *bus = ask->call->bus;
	GQueue *line = senders_line(ask->call);

	if (ask->asker->n_prompts >= AUTHORITY_USER_PROMPTS_MAX || bus->n_prompts >= AUTHORITY_PROMPTS_MAX) {
		decide(ask, g_error_new(VM_ERROR, VM_ERROR_LIMIT_REACHED,
				    "%s: for %u calls of uid %u, and %u in all, somebody is asked to "
				    "authenticate already",
				    ask->call->row->name, ask->asker->n_prompts, (unsigned)ask->call->uid,
				    bus->n_prompts));
		return;
	}
	g_snprintf(ask->prompt_name, sizeof ask->prompt_name, "roost%" G_GUINT64_FORMAT, ++bus->last_prompt);
	set_state(ask, ASK_PROMPTED);
	leave_line(ask);
	ask_now(ask);
	conclude_line(line);
}

/* ---- answers ---- */
typedef struct Answer {
	int is_authorized, is_challenge;
	bool is_dismissed;
} Answer;

static int read_answer(sd_bus_message *message, Answer *ret_answer)
{
	Answer answer = {0};
	int r = sd_bus_message_enter_container(message, 'r', "bba{ss}");

	if (r >= 0)
		r = sd_bus_message_read(message, "bb", &answer.is_authorized, &answer.is_challenge);
	if (r >= 0)
		r = sd_bus_message_enter_container(message, 'a', "{ss}");
	while (r > 0) {
		const char *key, *value;

		r = sd_bus_message_read(message, "{ss}", &key, &value);
		if (r > 0 && strcmp(key, "polkit.dismissed") == 0)
			answer.is_dismissed = *value != '\0';
	}
	if (r >= 0)
		*ret_answer = answer;
	return r;
}

static void take_answer(Ask *ask, const Answer *answer) ON_BUS_THREAD
{
	if (answer->is_authorized) {
		if (++ask->step < ask->request.n_steps)
			ask_now(ask);
		else
			decide(ask, NULL);
	} else if (answer->is_dismissed) {
		decide(ask, refuse(ask, VM_ERROR_ACCESS_DENIED, "the authentication was dismissed"));
	} else if (!answer->is_challenge) {
		decide(ask, refuse(ask, VM_ERROR_ACCESS_DENIED, NULL));
	} else if (ask->state == ASK_ASKED &&
		   sd_bus_message_get_allow_interactive_authorization(ask->call->message) > 0) {
		prompt(ask);
	} else {
		decide(ask, refuse_challenge(ask));
	}
}

static void take_failure(Ask *ask, sd_bus_message *message) ON_BUS_THREAD
{
	Bus *bus = ask->call->bus;
	const sd_bus_error *error = sd_bus_message_get_error(message);
	g_autofree char *why =
		!error ? g_strdup("its answer can't be read")
		       : g_strdup_printf("%s (%s)", error->message ? error->message : "", error->name);
	bool is_late =
		ask->state == ASK_ASKED &&
		clock_monotonic_usec() >= ask->sent_usec + engine_deadline_usec(bus->engine, DEADLINE_QUERY);

	if (error && ask->state == ASK_PROMPTED && g_strcmp0(error->name, POLKIT_CANCELLED) == 0)
		decide(ask, refuse(ask, VM_ERROR_ACCESS_DENIED, "the authentication was cancelled"));
	else
		decide(ask, refuse_for_failure(ask, why));
	if (is_late)
		give_up_waiting(bus, why);
}

static int on_answer(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Ask *ask = userdata;
	Bus *bus = ask->call->bus;
	Answer answer;

	assert_bus_thread(__func__);
	ask->slot = sd_bus_slot_unref(ask->slot);
	if (sd_bus_message_is_method_error(message, NULL) || read_answer(message, &answer) < 0) {
		take_failure(ask, message);
	} else {
		take_answer(ask, &answer);
	}
	send_waiting(bus);
	return 0;
}

/* ---- calls ---- */
void authority_ask(Call *call, AccessRequest *request_consume)
{
	g_assert(!call->ask && request_consume->n_steps > 0);
	call->ask = ask_new(call, request_consume);
	send_waiting(call->bus);
}

void authority_forget(Call *call)
{
	Bus *bus = call->bus;

	if (!call->ask)
		return;
	ask_free(call->ask);
	send_waiting(bus);
}

Call *authority_first_waiting(Bus *bus)
{
	Ask *ask = g_queue_peek_head(&bus->asks);

	return ask ? ask->call : NULL;
}

void authority_init(Bus *bus)
{
	bus->askers_by_uid = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_queue_init(&bus->askers);
	g_queue_init(&bus->asks);
}

void authority_done(Bus *bus)
{
	g_assert(bus->asks.length == 0);
	g_clear_pointer(&bus->askers_by_uid, g_hash_table_unref);
}
