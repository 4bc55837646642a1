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

#define REFUSAL_USEC (USEC_PER_SEC / AUTHORITY_REFUSALS_PER_SEC)
#define BURST_USEC   (AUTHORITY_REFUSALS_BURST * REFUSAL_USEC)

/* A user of whose calls some wait, or of whom polkit is still asked. */
typedef struct Asker {
	uint32_t uid;
	unsigned n_asks, n_asked, n_prompts;
	GQueue waiting;  /* Ask.waiting_link: no question was sent yet */
	GList turn_link; /* Bus.askers: may have one sent */
	bool has_turn;
	uint64_t refused_until_usec; /* monotonic: grows with each refusal; it may be ahead of now by the
					burst */
} Asker;

/* What polkit was asked and has not answered. */
typedef struct Question {
	Bus *bus;
	Asker *asker;
	Ask *ask; /* who wants to know; NULL: nobody any more */
	sd_bus_slot *slot;
	GList link;    /* Bus.questions */
	char name[32]; /* by which polkit can be told to give up; "": it does not ask anybody else */
} Question;

struct Ask {
	Call *call;
	Asker *asker;
	AccessRequest request;
	unsigned step;       /* of the request's, that is asked about */
	Question *question;  /* NULL: it waits for its turn, or is decided */
	bool is_waiting;     /* for its turn */
	bool is_prompted;    /* somebody is asked to authenticate */
	bool is_decided;     /* and waits for those before it */
	GError *refusal;     /* then; NULL: it is authorized */
	uint64_t until_usec; /* monotonic: when it is refused without an answer */
	GList link;          /* Bus.asks, or, when it is prompted, Bus.prompted */
	GList waiting_link;  /* Asker.waiting */
	GList line_link;     /* its sender's line; not when it is prompted */
};

/* ---- turns ---- */
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

/* Nothing is under way, and no refusal weighs any more. */
static bool asker_is_done(const Asker *asker)
{
	return asker->n_asks == 0 && asker->n_asked == 0 && asker->n_prompts == 0 &&
	       asker->refused_until_usec <= clock_monotonic_usec();
}

static void forget_asker_if_done(Bus *bus, Asker *asker)
{
	if (asker_is_done(asker))
		g_hash_table_remove(bus->askers_by_uid, GUINT_TO_POINTER(asker->uid));
}

static bool asker_must_pause(const Asker *asker)
{
	return asker->refused_until_usec > clock_monotonic_usec() + BURST_USEC;
}

/* To the end of those who may have a question sent, or out of it. */
static void update_turn(Bus *bus, Asker *asker)
{
	if (asker->has_turn)
		g_queue_unlink(&bus->askers, &asker->turn_link);
	asker->has_turn = asker->waiting.length > 0 && asker->n_asked < AUTHORITY_USER_ASKED_MAX;
	if (asker->has_turn && asker_must_pause(asker)) {
		asker->has_turn = false;
		timer_set(&bus->asks_timer, asker->refused_until_usec - BURST_USEC);
	}
	if (asker->has_turn)
		g_queue_push_tail_link(&bus->askers, &asker->turn_link);
}

static void charge_refusal(Bus *bus, Asker *asker)
{
	asker->refused_until_usec = MAX(asker->refused_until_usec, clock_monotonic_usec()) + REFUSAL_USEC;
	update_turn(bus, asker);
}

static void set_waiting(Ask *ask, bool is_waiting)
{
	if (ask->is_waiting == is_waiting)
		return;
	ask->is_waiting = is_waiting;
	if (is_waiting)
		g_queue_push_tail_link(&ask->asker->waiting, &ask->waiting_link);
	else
		g_queue_unlink(&ask->asker->waiting, &ask->waiting_link);
	update_turn(ask->call->bus, ask->asker);
}

/* ---- questions ---- */
static Question *question_new(Ask *ask, const char *name)
{
	Bus *bus = ask->call->bus;
	Question *question = g_new0(Question, 1);

	question->bus = bus;
	question->asker = ask->asker;
	question->ask = ask;
	g_strlcpy(question->name, name, sizeof question->name);
	question->link.data = question;
	g_queue_push_tail_link(&bus->questions, &question->link);
	if (*name) {
		ask->asker->n_prompts++;
		bus->n_prompts++;
	} else {
		ask->asker->n_asked++;
	}
	update_turn(bus, ask->asker);
	ask->question = question;
	return question;
}

/* It was answered, or will not be. */
static void question_free(Question *question)
{
	Bus *bus = question->bus;
	Asker *asker = question->asker;

	sd_bus_slot_unref(question->slot);
	g_queue_unlink(&bus->questions, &question->link);
	if (*question->name) {
		asker->n_prompts--;
		bus->n_prompts--;
	} else {
		asker->n_asked--;
	}
	if (question->ask)
		question->ask->question = NULL;
	update_turn(bus, asker);
	forget_asker_if_done(bus, asker);
	g_free(question);
}

/* Nobody wants to know any more: then nobody need be asked for a password. */
static void question_abandon(Question *question)
{
	Bus *bus = question->bus;
	int r;

	question->ask->question = NULL;
	question->ask = NULL;
	if (!*question->name || bus->lost)
		return;
	r = sd_bus_call_method_async(bus->connection, NULL, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
		"CancelCheckAuthorization", NULL, NULL, "s", question->name);
	if (r < 0)
		log_warning("polkit can't be told that nobody waits any more: %s", g_strerror(-r));
}

/* ---- the life of an ask ---- */
static Ask *ask_new(Call *call, AccessRequest *request_consume)
{
	Bus *bus = call->bus;
	Ask *ask = g_new0(Ask, 1);

	ask->call = call;
	ask->request = *request_consume;
	*request_consume = (AccessRequest){0};
	ask->until_usec = clock_monotonic_usec() + engine_deadline_usec(bus->engine, DEADLINE_QUERY);
	timer_set(&bus->asks_timer, ask->until_usec);
	ask->link.data = ask->waiting_link.data = ask->line_link.data = ask;
	g_queue_push_tail_link(&bus->asks, &ask->link);
	g_queue_push_tail_link(senders_line(call), &ask->line_link);
	ask->asker = find_asker(bus, call->uid);
	ask->asker->n_asks++;
	set_waiting(ask, true);
	return ask;
}

static void ask_free(Ask *ask)
{
	Bus *bus = ask->call->bus;

	set_waiting(ask, false);
	if (ask->question)
		question_abandon(ask->question);
	if (!ask->is_prompted)
		g_queue_unlink(senders_line(ask->call), &ask->line_link);
	g_queue_unlink(ask->is_prompted ? &bus->prompted : &bus->asks, &ask->link);
	ask->asker->n_asks--;
	forget_asker_if_done(bus, ask->asker);
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

	while ((ask = g_queue_peek_head(line)) && ask->is_decided)
		conclude(ask);
}

/* `refusal`: NULL: it is authorized. */
static void decide(Ask *ask, GError *refusal_consume) ON_BUS_THREAD
{
	set_waiting(ask, false);
	if (ask->question)
		question_abandon(ask->question);
	ask->is_decided = true;
	ask->refusal = refusal_consume;
	if (ask->is_prompted)
		conclude(ask);
	else
		conclude_line(senders_line(ask->call));
}

/* ---- refusals ---- */
/* polkit has answered, and it is no. */
static void turn_down(Ask *ask, GError *refusal_consume) ON_BUS_THREAD
{
	charge_refusal(ask->call->bus, ask->asker);
	decide(ask, refusal_consume);
}

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
		ask->is_prompted ? "somebody must authenticate, and no agent is there to ask for it (a "
				   "desktop has one; "
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

static GError *refuse_late(const Ask *ask)
{
	if (!ask->is_waiting || !asker_must_pause(ask->asker))
		return refuse_for_failure(ask, "it does not answer");
	return g_error_new(VM_ERROR, VM_ERROR_LIMIT_REACHED,
		"%s: too many calls of uid %u were refused lately: polkit is asked about it %u times a "
		"second",
		ask->call->row->name, (unsigned)ask->call->uid, AUTHORITY_REFUSALS_PER_SEC);
}

/* ---- asking ---- */
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

/* No timeout: a question stays one until it is answered; the Ask has the deadline. */
static int send_question(Question *question) ON_BUS_THREAD
{
	const Ask *ask = question->ask;
	sd_bus *connection = question->bus->connection;
	sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(
		connection, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE, "CheckAuthorization");

	if (r >= 0)
		r = sd_bus_message_append(m, "(sa{sv})s", "system-bus-name", 1, "name", "s",
			ask->call->sender_name, actions[ask->request.steps[ask->step]].id);
	if (r >= 0)
		r = append_details(m, ask);
	if (r >= 0)
		r = sd_bus_message_append(
			m, "us", ask->is_prompted ? FLAG_ALLOW_INTERACTION : 0, question->name);
	if (r >= 0)
		r = sd_bus_call_async(connection, &question->slot, m, on_answer, question, UINT64_MAX);
	sd_bus_message_unref(m);
	return r;
}

/* Perhaps it is decided when this returns. */
static void ask_now(Ask *ask) ON_BUS_THREAD
{
	Bus *bus = ask->call->bus;
	Question *question;
	char name[32] = "";
	int r;

	if (ask->is_prompted)
		g_snprintf(name, sizeof name, "roost%" G_GUINT64_FORMAT, ++bus->last_prompt);
	question = question_new(ask, name);
	r = send_question(question);
	if (r < 0) {
		question_free(question);
		decide(ask, refuse_for_failure(ask, g_strerror(-r)));
	}
}

/* Sends what may be sent, of each user in turn. */
static void send_waiting(Bus *bus) ON_BUS_THREAD
{
	Asker *asker;

	while (!bus->ending && bus->questions.length - bus->n_prompts < AUTHORITY_ASKED_MAX &&
		(asker = g_queue_peek_head(&bus->askers))) {
		Ask *ask = g_queue_peek_head(&asker->waiting);

		set_waiting(ask, false);
		ask_now(ask);
	}
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
	g_queue_unlink(&bus->asks, &ask->link);
	g_queue_unlink(line, &ask->line_link);
	ask->is_prompted = true;
	g_queue_push_tail_link(&bus->prompted, &ask->link);
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
		turn_down(ask, refuse(ask, VM_ERROR_ACCESS_DENIED, "the authentication was dismissed"));
	} else if (!answer->is_challenge) {
		turn_down(ask, refuse(ask, VM_ERROR_ACCESS_DENIED, NULL));
	} else if (!ask->is_prompted &&
		   sd_bus_message_get_allow_interactive_authorization(ask->call->message) > 0) {
		prompt(ask);
	} else {
		turn_down(ask, refuse_challenge(ask));
	}
}

static void take_failure(Ask *ask, sd_bus_message *message) ON_BUS_THREAD
{
	const sd_bus_error *error = sd_bus_message_get_error(message);
	g_autofree char *why =
		!error ? g_strdup("its answer can't be read")
		       : g_strdup_printf("%s (%s)", error->message ? error->message : "", error->name);

	if (error && ask->is_prompted && g_strcmp0(error->name, POLKIT_CANCELLED) == 0)
		turn_down(ask, refuse(ask, VM_ERROR_ACCESS_DENIED, "the authentication was cancelled"));
	else
		turn_down(ask, refuse_for_failure(ask, why));
}

static int on_answer(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	Question *question = userdata;
	Bus *bus = question->bus;
	Ask *ask = question->ask;
	Answer answer;

	assert_bus_thread(__func__);
	question_free(question);
	if (!ask)
		;
	else if (sd_bus_message_is_method_error(message, NULL) || read_answer(message, &answer) < 0)
		take_failure(ask, message);
	else
		take_answer(ask, &answer);
	send_waiting(bus);
	return 0;
}

static void on_asks_time(void *user)
{
	Bus *bus = user;
	uint64_t now = clock_monotonic_usec();
	GHashTableIter iter;
	Ask *ask = NULL;
	void *value;

	assert_bus_thread(__func__);
	/* Those that are decided wait for one that came before, and so is due before. */
	while ((ask = g_queue_peek_head(&bus->asks)) && ask->until_usec <= now)
		decide(ask, refuse_late(ask));
	if (ask)
		timer_set(&bus->asks_timer, ask->until_usec);
	/* Whoever has paused for long enough. */
	g_hash_table_iter_init(&iter, bus->askers_by_uid);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		if (asker_is_done(value))
			g_hash_table_iter_remove(&iter);
		else if (!((Asker *)value)->has_turn)
			update_turn(bus, value);
	}
	send_waiting(bus);
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
	if (call->ask)
		ask_free(call->ask);
}

Call *authority_first_waiting(Bus *bus)
{
	Ask *ask = g_queue_peek_head(&bus->asks);

	if (!ask)
		ask = g_queue_peek_head(&bus->prompted);
	return ask ? ask->call : NULL;
}

int authority_init(Bus *bus)
{
	bus->askers_by_uid = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return timer_init(&bus->asks_timer, bus->loop, on_asks_time, bus);
}

void authority_done(Bus *bus)
{
	g_assert(!authority_first_waiting(bus));
	while (bus->questions.head)
		question_free(bus->questions.head->data);
	g_clear_pointer(&bus->askers_by_uid, g_hash_table_unref);
	timer_done(&bus->asks_timer);
}
