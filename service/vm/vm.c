#include "vm/vm.h"

#include <string.h>

#include "util/clock.h"
#include "util/fd.h"
#include "vm/console.h"
#include "vm/link.h"
#include "vm/unit.h"

Vm *vm_new(Engine *engine, VmConfig *config_consume, uint32_t owner_uid,
	uint64_t revision) NO_THREAD_SAFETY_ANALYSIS
{
	Vm *vm = g_new0(Vm, 1);

	ref_init(&vm->ref);
	vm->engine = engine;
	g_strlcpy(vm->uuid, config_consume->uuid, sizeof vm->uuid);
	vm->owner_uid = owner_uid;
	vm->persistent = true;
	vm->post_item.kind = INBOX_POST;
	for (unsigned i = 0; i < VM_LANE_MAX; i++)
		lane_init(&vm->lanes[i]);
	lock_init(&vm->lock);
	leaf_init(&vm->mail.mutex);
	vm->mail.send_fd = -1;
	event_set_init(&vm->mail.events);
	outbox_init(&vm->mail.out);
	outbox_init(&vm->staged);
	vm->config = config_consume;
	vm->revision = revision;
	vm->state = vm->shown_state = VM_STATE_OFF;
	vm->reason = VM_REASON_DEFINED;
	vm->shown_reason = VM_REASON_DEFINED;
	vm->state_since_usec = vm->shown_since_usec = clock_realtime_usec();
	vm->responsive = true;
	vm->hints = VM_HINTS_NONE;
	outbox_put_view(&vm->mail.out, vm_make_view(vm));
	return vm;
}

void vm_make_transient(Vm *vm, const char *bound_to) NO_THREAD_SAFETY_ANALYSIS
{
	vm->persistent = false;
	vm->bound_to = g_strdup(bound_to);
	outbox_put_view(&vm->mail.out, vm_make_view(vm));
}

Vm *vm_ref(Vm *vm)
{
	ref_get(&vm->ref);
	return vm;
}

static void mail_done(VmMail *mail)
{
	ConsoleRequest *next;

	for (ConsoleRequest *request = mail->consoles; request; request = next) {
		next = request->next;
		console_request_free(request);
	}
	event_set_clear(&mail->events);
	outbox_clear(&mail->out);
	qemu_process_unref(mail->process);
	unit_request_unref(mail->launch);
	vm_handoff_free(mail->handoff);
	g_free(mail->last_words);
	g_free(mail->closed_why);
	if (mail->send)
		g_string_free(mail->send, TRUE);
	fd_close(&mail->send_fd);
	leaf_done(&mail->mutex);
}

Vm *vm_unref(Vm *vm)
{
	if (vm && ref_put(&vm->ref)) {
		g_assert(!vm->link && !vm->ready_item.posted && !vm->post_item.posted);
		mail_done(&vm->mail);
		outbox_clear(&vm->staged);
		for (unsigned i = 0; i < VM_LANE_MAX; i++)
			lane_done(&vm->lanes[i]);
		lock_done(&vm->lock);
		vm_config_unref(vm->config);
		vm_config_unref(vm->running_config);
		g_free(vm->last_exit.message);
		g_free(vm->unit);
		g_free(vm->bound_to);
		g_free(vm);
	}
	return NULL;
}
