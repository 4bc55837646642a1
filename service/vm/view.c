#include "vm/view.h"

VmView *vm_view_new(void)
{
	VmView *view = g_new0(VmView, 1);

	ref_init(&view->ref);
	return view;
}

VmView *vm_view_ref(VmView *view)
{
	ref_get(&view->ref);
	return view;
}

VmView *vm_view_unref(VmView *view)
{
	if (view && ref_put(&view->ref)) {
		vm_config_unref(view->config);
		vm_config_unref(view->running_config);
		g_free(view->last_exit.message);
		g_free(view->unit);
		g_free(view);
	}
	return NULL;
}
