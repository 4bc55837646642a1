/*
 * A question has one answer in memory and at most one worker who is finding out another; who comes meanwhile
 * waits for that one, with a deadline. The answer is found in the cache, or by a process, and no lock is held
 * for either. A failure is an answer, too, but not for long, and never a cached one.
 *
 * That KVM does not work may have a cause that nothing here can see (another hypervisor has the processor),
 * so that answer is believed for an hour; and a trial VM that was given up without having had a processor for
 * itself shows nothing: that is believed for minutes, and not written down.
 */
#include "vm/host.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "qemu/command-line.h"
#include "qemu/fingerprint.h"
#include "qemu/probe.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/text.h"
#include "vm/engine.h"

#define KVM_PROBE_USEC      (2 * USEC_PER_SEC)
#define FAILURE_KEPT_USEC   (60 * USEC_PER_SEC)
#define NO_KVM_KEPT_USEC    (3600 * USEC_PER_SEC)
#define DOUBT_KEPT_USEC     (600 * USEC_PER_SEC)
#define CAPABILITIES_FORMAT "1" /* another one when other words are kept than before */

typedef enum Question { QUESTION_CAPABILITIES, QUESTION_KVM, QUESTION_MAX } Question;

/* Immutable. */
typedef struct Answer {
	Ref ref;
	char *key;
	QemuCapabilities *capabilities; /* QUESTION_CAPABILITIES; NULL: it failed */
	bool kvm_works;                 /* QUESTION_KVM */
	char *complaint;                /* what failed; why KVM does not work */
	uint64_t until_usec;            /* monotonic; UINT64_MAX: while the key is the same */
	bool is_lasting;                /* it was found out now, and is to be written down */
} Answer;

struct Host {
	char *fingerprint; /* immutable */
	int give_up_bell;  /* immutable; readable: nothing is found out any more */
	Leaf mutex;
	Cond answered;
	Answer *answers[QUESTION_MAX];  /* mutex; a reference each; NULL: not asked yet */
	bool being_asked[QUESTION_MAX]; /* mutex */
	uint64_t last_facts;            /* mutex: the number of the last HostFacts */
};

/* ---- answers ---- */
static Answer *answer_unref(Answer *answer)
{
	if (answer && ref_put(&answer->ref)) {
		qemu_capabilities_unref(answer->capabilities);
		g_free(answer->complaint);
		g_free(answer->key);
		g_free(answer);
	}
	return NULL;
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Answer, answer_unref)

static Answer *answer_ref(Answer *answer)
{
	ref_get(&answer->ref);
	return answer;
}

static Answer *answer_new(const char *key)
{
	Answer *answer = g_new0(Answer, 1);

	ref_init(&answer->ref);
	answer->key = g_strdup(key);
	answer->until_usec = UINT64_MAX;
	return answer;
}

static uint64_t from_now(uint64_t length_usec)
{
	return clock_monotonic_usec() + length_usec;
}

/* ---- what QEMU can do ---- */
static int make_capabilities_key(Engine *engine, char **ret_key)
{
	g_autofree char *binary = NULL;
	int r = qemu_binary_fingerprint(engine->qemu_binary, &binary);

	if (r >= 0)
		*ret_key = g_strdup_printf("Roost " ROOST_VERSION " " CAPABILITIES_FORMAT "\n%s\n%s",
			engine->host->fingerprint, binary);
	return r;
}

static bool recall_capabilities(const char *text, Answer *answer)
{
	return qemu_capabilities_from_text(text, &answer->capabilities) >= 0;
}

static void find_out_capabilities(Engine *engine, Answer *answer)
{
	uint64_t timeout_usec = engine_deadline_usec(engine, DEADLINE_COMMAND);

	int r;

	r = qemu_probe_capabilities(engine->qemu_binary, timeout_usec, engine->host->give_up_bell,
		&answer->capabilities, &answer->complaint);
	answer->is_lasting = r >= 0;
	if (r >= 0)
		return;
	answer->until_usec = from_now(engine_scaled_usec(engine, FAILURE_KEPT_USEC));
	if (r != -ECANCELED)
		log_warning("What QEMU can do is not known: %s", answer->complaint);
}

static char *write_down_capabilities(const Answer *answer)
{
	return qemu_capabilities_to_text(answer->capabilities);
}

/* ---- whether KVM works ---- */
static int make_kvm_key(Engine *engine, char **ret_key)
{
	g_autofree char *capabilities_key = NULL, *kvm = NULL;
	int r = make_capabilities_key(engine, &capabilities_key);

	if (r < 0)
		return r;
	kvm = qemu_kvm_fingerprint();
	*ret_key = g_strdup_printf("%s\n%s", capabilities_key, kvm);
	return 0;
}

/* "yes", or "no SINCE WHY" in seconds of CLOCK_REALTIME. */
static bool recall_kvm(const char *text, Answer *answer)
{
	uint64_t now_usec = clock_realtime_usec(), since_usec;
	char *end;

	answer->kvm_works = g_str_equal(text, "yes\n");
	if (answer->kvm_works)
		return true;
	if (!g_str_has_prefix(text, "no "))
		return false;
	since_usec = g_ascii_strtoull(text + strlen("no "), &end, 10) * USEC_PER_SEC;
	if (*end != ' ' || since_usec > now_usec || now_usec - since_usec >= NO_KVM_KEPT_USEC)
		return false;
	answer->until_usec = from_now(since_usec + NO_KVM_KEPT_USEC - now_usec);
	answer->complaint = g_strchomp(text_printable(end + 1, true));
	return true;
}

static void find_out_kvm(Engine *engine, Answer *answer)
{
	bool conclusive;

	answer->kvm_works = qemu_probe_kvm(engine->qemu_binary, KVM_PROBE_USEC, engine->host->give_up_bell,
		&conclusive, &answer->complaint);
	answer->is_lasting = conclusive;
	if (answer->kvm_works)
		return;
	answer->until_usec = from_now(conclusive ? NO_KVM_KEPT_USEC : DOUBT_KEPT_USEC);
	log_info("KVM is not used: %s", answer->complaint);
}

static char *write_down_kvm(const Answer *answer)
{
	if (answer->kvm_works)
		return g_strdup("yes\n");
	return g_strdup_printf("no %" G_GUINT64_FORMAT " %s\n",
		(guint64)(clock_realtime_usec() / USEC_PER_SEC), answer->complaint);
}

static const struct {
	const char *cache;
	/* What it would be true of: 0, or a negative errno: there is no QEMU. */
	int (*make_key)(Engine *engine, char **ret_key);
	bool (*recall)(const char *text, Answer *answer);
	void (*find_out)(Engine *engine, Answer *answer);
	char *(*write_down)(const Answer *answer);
} questions[QUESTION_MAX] = {
	[QUESTION_CAPABILITIES] = {"qemu", make_capabilities_key, recall_capabilities, find_out_capabilities,
		write_down_capabilities},
	[QUESTION_KVM] = {"kvm", make_kvm_key, recall_kvm, find_out_kvm, write_down_kvm},
};

/* ---- telling ---- */
HostFacts *host_facts_free(HostFacts *facts)
{
	if (facts) {
		qemu_capabilities_unref(facts->capabilities);
		g_free(facts->complaint);
		g_free(facts);
	}
	return NULL;
}

uint64_t host_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static unsigned find_firmwares(void)
{
	unsigned found = 0;

	for (unsigned i = 0; i < VM_FIRMWARE_MAX; i++) {
		const char *code = qemu_firmware_code(i), *variables = qemu_firmware_variables(i);

		if ((!code || access(code, R_OK) == 0) && (!variables || access(variables, R_OK) == 0))
			found |= 1U << i;
	}
	return found;
}

static void post_facts(Engine *engine, uint64_t check)
{
	g_autoptr(Answer) capabilities = NULL, kvm = NULL;
	HostFacts *facts = g_new0(HostFacts, 1);
	Host *host = engine->host;

	facts->item.kind = INBOX_HOST;
	facts->check = check;
	facts->memory = host_memory();
	facts->firmwares = find_firmwares();
	leaf_lock(&host->mutex);
	facts->number = ++host->last_facts;
	if (host->answers[QUESTION_CAPABILITIES])
		capabilities = answer_ref(host->answers[QUESTION_CAPABILITIES]);
	if (host->answers[QUESTION_KVM])
		kvm = answer_ref(host->answers[QUESTION_KVM]);
	leaf_unlock(&host->mutex);
	if (capabilities && capabilities->capabilities)
		facts->capabilities = qemu_capabilities_ref(capabilities->capabilities);
	if (capabilities)
		facts->complaint = g_strdup(capabilities->complaint);
	facts->kvm = kvm && kvm->kvm_works;
	inbox_post(&engine->inbox, &facts->item);
}

/* ---- asking ---- */
static bool is_true_now(const Answer *answer, const char *key)
{
	return answer && g_str_equal(answer->key, key) && clock_monotonic_usec() < answer->until_usec;
}

/* A reference, or NULL. */
static Answer *known_answer(Host *host, Question q, const char *key)
{
	Answer *answer = NULL;

	leaf_lock(&host->mutex);
	if (is_true_now(host->answers[q], key))
		answer = answer_ref(host->answers[q]);
	leaf_unlock(&host->mutex);
	return answer;
}

/* The answer, a reference; or NULL, and it is the caller's turn to find it out (*ret_turn), or it did not
 * come in time. */
static Answer *await_answer(Host *host, Question q, const char *key, uint64_t deadline_usec, bool *ret_turn)
{
	Answer *answer = NULL;
	bool in_time = true;

	*ret_turn = false;
	leaf_lock(&host->mutex);
	for (;;) {
		if (is_true_now(host->answers[q], key)) {
			answer = answer_ref(host->answers[q]);
			break;
		}
		if (!host->being_asked[q]) {
			*ret_turn = host->being_asked[q] = true;
			break;
		}
		if (!in_time)
			break;
		in_time = cond_wait_until(&host->answered, &host->mutex, deadline_usec);
	}
	leaf_unlock(&host->mutex);
	return answer;
}

/* The new one is everybody's. */
static void give_answer(Host *host, Question q, Answer *answer)
{
	g_autoptr(Answer) old = NULL;

	leaf_lock(&host->mutex);
	old = host->answers[q];
	host->answers[q] = answer_ref(answer);
	host->being_asked[q] = false;
	cond_broadcast(&host->answered);
	leaf_unlock(&host->mutex);
}

/* From the cache, or by a process. `r` is make_key()'s: without a QEMU there is nothing to ask. */
static Answer *find_out(Engine *engine, Question q, const char *key, int r)
{
	StateDir *dir = engine->options.state_dir;
	g_autofree char *text = NULL;
	Answer *answer = answer_new(key);

	if (r < 0) {
		answer->complaint = g_strdup_printf("%s: %s", engine->qemu_binary, g_strerror(-r));
		if (q == QUESTION_CAPABILITIES)
			log_warning("There is no QEMU: %s", answer->complaint);
	} else if (state_dir_read_cache(dir, questions[q].cache, key, &text) < 0 ||
		   !questions[q].recall(text, answer)) {
		questions[q].find_out(engine, answer);
	}
	return answer;
}

/* 0, or a negative errno: there is no QEMU; the key is that, then. */
static int make_key(Engine *engine, Question q, char **ret_key)
{
	int r = questions[q].make_key(engine, ret_key);

	if (r < 0)
		*ret_key = g_strdup_printf("no QEMU: %d", -r);
	return r;
}

/* A QEMU that was replaced meanwhile was asked under another's key: it is not written down. */
static void keep_answer(Engine *engine, Question q, const Answer *answer)
{
	g_autofree char *text = NULL, *key = NULL;
	int r;

	if (!answer->is_lasting || make_key(engine, q, &key) < 0 || !g_str_equal(key, answer->key))
		return;
	text = questions[q].write_down(answer);
	r = state_dir_write_cache(engine->options.state_dir, questions[q].cache, key, text);
	if (r < 0)
		log_warning("What was found out about QEMU can't be kept: %s", g_strerror(-r));
}

/* It is the caller's turn to find out. What it saw before may be old by now, and what is there now may be
 * known: it looks again, when nobody else can bring another answer, so that no answer is followed by an older
 * one. */
static Answer *take_turn(Engine *engine, Question q, bool *ret_news)
{
	g_autofree char *key = NULL;
	int r = make_key(engine, q, &key);
	Answer *answer = known_answer(engine->host, q, key);

	*ret_news = !answer;
	if (!answer)
		answer = find_out(engine, q, key, r);
	give_answer(engine->host, q, answer);
	if (*ret_news) {
		post_facts(engine, 0);
		keep_answer(engine, q, answer);
	}
	return answer;
}

/* *ret_news: it was found out now. NULL: not in time. */
static Answer *ask(Engine *engine, Question q, uint64_t deadline_usec, bool *ret_news)
{
	g_autofree char *key = NULL;
	Answer *answer;
	bool turn;

	thread_assert_unlocked(__func__);
	*ret_news = false;
	make_key(engine, q, &key);
	answer = await_answer(engine->host, q, key, deadline_usec, &turn);
	return turn ? take_turn(engine, q, ret_news) : answer;
}

static Answer *ask_capabilities(Engine *engine, bool *ret_news)
{
	return ask(engine, QUESTION_CAPABILITIES, from_now(engine_deadline_usec(engine, DEADLINE_COMMAND)),
		ret_news);
}

/* As long as another's two trials take, one before the other. */
static Answer *ask_kvm(Engine *engine)
{
	bool news;

	return ask(engine, QUESTION_KVM, from_now(3 * KVM_PROBE_USEC), &news);
}

QemuCapabilities *engine_capabilities(Engine *engine, char **ret_complaint)
{
	bool news;
	g_autoptr(Answer) answer = ask_capabilities(engine, &news);

	/* Another QEMU than before may be another one to KVM, too. */
	if (news && answer->capabilities)
		engine_check_host(engine, 0);
	if (answer && answer->capabilities)
		return qemu_capabilities_ref(answer->capabilities);
	*ret_complaint =
		answer ? g_strdup(answer->complaint)
		       : g_strdup_printf("%s: is still being asked for what it can do", engine->qemu_binary);
	return NULL;
}

bool engine_kvm_works(Engine *engine, char **ret_why)
{
	g_autoptr(Answer) answer = ask_kvm(engine);

	if (answer && answer->kvm_works)
		return true;
	*ret_why = g_strdup(answer ? answer->complaint : "it is still being tried");
	return false;
}

/* ---- looking again ---- */
typedef struct CheckWork {
	Engine *engine;
	uint64_t number;
} CheckWork;

static void check_main(void *data)
{
	g_autofree CheckWork *work = data;
	g_autoptr(Answer) capabilities = NULL, kvm = NULL;
	bool news;

	assert_worker(__func__);
	capabilities = ask_capabilities(work->engine, &news);
	/* A QEMU that can't say what it can do is no QEMU to try KVM with. */
	if (capabilities && capabilities->capabilities)
		kvm = ask_kvm(work->engine);
	if (work->number != 0)
		post_facts(work->engine, work->number);
}

int engine_check_host(Engine *engine, uint64_t check)
{
	CheckWork *work = g_new(CheckWork, 1);
	int r;

	*work = (CheckWork){.engine = engine, .number = check};
	r = workers_run(engine->workers, WORKER_INTERNAL, check_main, work);
	if (r < 0)
		g_free(work);
	return r;
}

void engine_give_up_host(Engine *engine)
{
	bell_ring(engine->host->give_up_bell);
}

/* ---- life ---- */
Host *host_new(void)
{
	Host *host = g_new0(Host, 1);

	host->give_up_bell = bell_new();
	host->fingerprint = qemu_host_fingerprint();
	leaf_init(&host->mutex);
	cond_init(&host->answered);
	return host;
}

Host *host_free(Host *host)
{
	if (!host)
		return NULL;
	for (unsigned i = 0; i < QUESTION_MAX; i++)
		answer_unref(host->answers[i]);
	fd_close(&host->give_up_bell);
	cond_done(&host->answered);
	leaf_done(&host->mutex);
	g_free(host->fingerprint);
	g_free(host);
	return NULL;
}
