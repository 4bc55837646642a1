/* What this host's QEMU is and can do: asked once, on workers, told to the bus thread through the inbox. */
#include "qemu/probe.h"
#include "util/clock.h"
#include "util/log.h"
#include "vm/engine.h"

#define VERSION_PROBE_USEC (10 * USEC_PER_SEC)
#define KVM_PROBE_USEC     (2 * USEC_PER_SEC)

HostFacts *host_facts_free(HostFacts *facts)
{
	if (facts) {
		g_free(facts->qemu_version);
		g_free(facts->complaint);
		g_free(facts);
	}
	return NULL;
}

bool engine_kvm_works(Engine *engine, char **ret_why)
{
	g_autofree char *why = NULL;
	int known;

	leaf_lock(&engine->host_mutex);
	known = engine->kvm_works;
	if (known == 0)
		*ret_why = g_strdup(engine->kvm_why);
	leaf_unlock(&engine->host_mutex);
	if (known >= 0)
		return known;

	/* Two that ask at the same time both find out: the answer is the same. */
	known = qemu_probe_kvm(engine->qemu_binary, KVM_PROBE_USEC, &why);
	leaf_lock(&engine->host_mutex);
	if (engine->kvm_works < 0) {
		engine->kvm_works = known;
		engine->kvm_why = g_strdup(why);
	}
	leaf_unlock(&engine->host_mutex);
	if (!known)
		*ret_why = g_steal_pointer(&why);
	return known;
}

static void post_facts(Engine *engine, const char *version, const char *complaint, bool kvm)
{
	HostFacts *facts = g_new0(HostFacts, 1);

	facts->item.kind = INBOX_HOST;
	facts->qemu_version = g_strdup(version ? version : "");
	facts->complaint = g_strdup(complaint);
	facts->kvm = kvm;
	inbox_post(&engine->inbox, &facts->item);
}

static void probe_main(void *data)
{
	Engine *engine = data;
	g_autofree char *version = NULL, *complaint = NULL, *why = NULL;

	assert_worker(__func__);
	if (qemu_probe_version(engine->qemu_binary, VERSION_PROBE_USEC, &version, &complaint) < 0)
		log_warning("no QEMU: %s", complaint);
	post_facts(engine, version, complaint, false);
	if (!version)
		return;
	if (engine_kvm_works(engine, &why))
		post_facts(engine, version, NULL, true);
	else
		log_info("KVM is not used: %s", why);
}

void engine_probe_host(Engine *engine)
{
	int r = workers_run(engine->workers, WORKER_INTERNAL, probe_main, engine);

	if (r < 0)
		log_warning("QEMU can't be asked for its version: %s", g_strerror(-r));
}
