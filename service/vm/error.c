#include "vm/error.h"

G_DEFINE_QUARK(roost - vm - error - quark, vm_error)
