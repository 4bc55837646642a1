#include "vm/event-table.h"

#include <glib.h>
#include <string.h>

#define LAST      EVENT_MERGE_LAST
#define COUNT     EVENT_MERGE_COUNT
#define NEVER     EVENT_MERGE_NEVER
#define FIRST     EVENT_MERGE_AFTER_FIRST
#define S         .state = true
#define W         .wakes = true
#define R         .reason = true
#define KEEP      .never_drop = true
#define KEYS(...) .keys = {__VA_ARGS__}

/* clang-format off */
static const EventRow rows[EVENT_ID_MAX] = {
	[EVENT_SHUTDOWN]                   = {"SHUTDOWN", NEVER, S, W, KEEP},
	[EVENT_RESET]                      = {"RESET", COUNT, S, W},
	[EVENT_STOP]                       = {"STOP", COUNT, S},
	[EVENT_RESUME]                     = {"RESUME", COUNT, S},
	[EVENT_POWERDOWN]                  = {"POWERDOWN", COUNT},
	[EVENT_SUSPEND]                    = {"SUSPEND", COUNT, S, W},
	[EVENT_SUSPEND_DISK]               = {"SUSPEND_DISK", COUNT, S, W},
	[EVENT_WAKEUP]                     = {"WAKEUP", COUNT, S, W},
	[EVENT_WATCHDOG]                   = {"WATCHDOG", COUNT, S, R, W, KEYS("action")},
	[EVENT_GUEST_PANICKED]             = {"GUEST_PANICKED", FIRST, S, R, KEEP},
	[EVENT_GUEST_CRASHLOADED]          = {"GUEST_CRASHLOADED", COUNT},
	[EVENT_MEMORY_FAILURE]             = {"MEMORY_FAILURE", FIRST, KEEP, KEYS("recipient", "action")},
	[EVENT_BLOCK_IO_ERROR]             = {"BLOCK_IO_ERROR", COUNT, S, R, KEEP, KEYS("device|node-name", "operation", "action")},
	[EVENT_BLOCK_IMAGE_CORRUPTED]      = {"BLOCK_IMAGE_CORRUPTED", NEVER, KEEP},
	[EVENT_BLOCK_WRITE_THRESHOLD]      = {"BLOCK_WRITE_THRESHOLD", NEVER, KEEP, KEYS("node-name")},
	[EVENT_JOB_STATUS_CHANGE]          = {"JOB_STATUS_CHANGE", LAST, W, KEEP, KEYS("id")},
	[EVENT_BLOCK_JOB_READY]            = {"BLOCK_JOB_READY", LAST, W, KEYS("device")},
	[EVENT_BLOCK_JOB_PENDING]          = {"BLOCK_JOB_PENDING", LAST, W, KEYS("id")},
	[EVENT_BLOCK_JOB_COMPLETED]        = {"BLOCK_JOB_COMPLETED", NEVER, W, KEEP, KEYS("device")},
	[EVENT_BLOCK_JOB_CANCELLED]        = {"BLOCK_JOB_CANCELLED", NEVER, W, KEEP, KEYS("device")},
	[EVENT_BLOCK_JOB_ERROR]            = {"BLOCK_JOB_ERROR", COUNT, KEYS("device", "operation")},
	[EVENT_BLOCK_EXPORT_DELETED]       = {"BLOCK_EXPORT_DELETED", NEVER, W, KEEP, KEYS("id")},
	[EVENT_DEVICE_DELETED]             = {"DEVICE_DELETED", NEVER, W, KEEP, KEYS("path")},
	[EVENT_DEVICE_UNPLUG_GUEST_ERROR]  = {"DEVICE_UNPLUG_GUEST_ERROR", NEVER, W, KEEP, KEYS("path")},
	[EVENT_MEM_UNPLUG_ERROR]           = {"MEM_UNPLUG_ERROR", NEVER, W, KEEP, KEYS("device")},
	[EVENT_ACPI_DEVICE_OST]            = {"ACPI_DEVICE_OST", LAST, W, KEYS("info.slot-type", "info.slot")},
	[EVENT_DEVICE_TRAY_MOVED]          = {"DEVICE_TRAY_MOVED", LAST, W, KEYS("id")},
	/* Each status is kept: the terminal ones must not be lost. */
	[EVENT_MIGRATION]                  = {"MIGRATION", LAST, S, W, KEEP, KEYS("status")},
	[EVENT_MIGRATION_PASS]             = {"MIGRATION_PASS", LAST},
	[EVENT_UNPLUG_PRIMARY]             = {"UNPLUG_PRIMARY", NEVER, KEYS("device-id")},
	[EVENT_FAILOVER_NEGOTIATED]        = {"FAILOVER_NEGOTIATED", NEVER, KEYS("device-id")},
	[EVENT_COLO_EXIT]                  = {"COLO_EXIT", NEVER, S},
	[EVENT_DUMP_COMPLETED]             = {"DUMP_COMPLETED", NEVER, W, KEEP},
	[EVENT_BALLOON_CHANGE]             = {"BALLOON_CHANGE", LAST},
	[EVENT_MEMORY_DEVICE_SIZE_CHANGE]  = {"MEMORY_DEVICE_SIZE_CHANGE", LAST, W, KEYS("qom-path")},
	[EVENT_RTC_CHANGE]                 = {"RTC_CHANGE", LAST},
	[EVENT_VSERPORT_CHANGE]            = {"VSERPORT_CHANGE", LAST, W, KEYS("id")},
	[EVENT_NIC_RX_FILTER_CHANGED]      = {"NIC_RX_FILTER_CHANGED", LAST, KEYS("path")},
	[EVENT_SPICE_CONNECTED]            = {"SPICE_CONNECTED", FIRST, KEYS("client.host")},
	[EVENT_SPICE_INITIALIZED]          = {"SPICE_INITIALIZED", FIRST, KEYS("client.host")},
	[EVENT_SPICE_DISCONNECTED]         = {"SPICE_DISCONNECTED", FIRST, KEYS("client.host")},
	[EVENT_SPICE_MIGRATE_COMPLETED]    = {"SPICE_MIGRATE_COMPLETED", NEVER, W},
	[EVENT_VNC_CONNECTED]              = {"VNC_CONNECTED", FIRST, KEYS("client.host")},
	[EVENT_VNC_INITIALIZED]            = {"VNC_INITIALIZED", FIRST, KEYS("client.host")},
	[EVENT_VNC_DISCONNECTED]           = {"VNC_DISCONNECTED", FIRST, KEYS("client.host")},
	[EVENT_NETDEV_STREAM_CONNECTED]    = {"NETDEV_STREAM_CONNECTED", LAST, KEYS("netdev-id")},
	[EVENT_NETDEV_STREAM_DISCONNECTED] = {"NETDEV_STREAM_DISCONNECTED", LAST, KEYS("netdev-id")},
	[EVENT_PR_MANAGER_STATUS_CHANGED]  = {"PR_MANAGER_STATUS_CHANGED", LAST, W, KEYS("id")},
	[EVENT_RDMA_GID_STATUS_CHANGED]    = {"RDMA_GID_STATUS_CHANGED", LAST, KEYS("netdev")},
	[EVENT_QUORUM_FAILURE]             = {"QUORUM_FAILURE", COUNT, KEYS("reference")},
	[EVENT_QUORUM_REPORT_BAD]          = {"QUORUM_REPORT_BAD", COUNT, KEYS("node-name")},
	[EVENT_VFU_CLIENT_HANGUP]          = {"VFU_CLIENT_HANGUP", NEVER, KEYS("dev-id")},
	[EVENT_UNKNOWN]                    = {"", NEVER},
	[EVENT_EXIT]                       = {"EXIT", NEVER, S, KEEP},
	[EVENT_RESYNC_STATUS]              = {"resync query-status", NEVER, S, KEEP, .internal = true},
	[EVENT_UNRESPONSIVE]               = {"unresponsive", COUNT, S, KEEP, .internal = true},
	[EVENT_RESPONSIVE]                 = {"responsive", COUNT, S, KEEP, .internal = true},
	[EVENT_SHUTDOWN_TIMEOUT]           = {"shutdown timeout", NEVER, S, KEEP, .internal = true},
	[EVENT_RESYNC_AGENT]               = {"resync query-chardev", LAST, KEEP, .internal = true},
	[EVENT_DUMP_TIMEOUT]               = {"dump timeout", COUNT, S, KEEP, .internal = true},
	[EVENT_RESET_WINDOW]               = {"reset window", COUNT, S, KEEP, .internal = true},
	[EVENT_EXIT_STATUS]                = {"exit status", NEVER, S, KEEP, .internal = true},
};
/* clang-format on */

const EventRow *event_row(EventId id)
{
	g_assert((unsigned)id < EVENT_ID_MAX);
	return &rows[id];
}

EventId event_id_from_name(const char *name, size_t size)
{
	if (size == 0)
		return EVENT_UNKNOWN;
	for (int id = 0; id < EVENT_UNKNOWN; id++) {
		const char *known = rows[id].name;

		if (known[0] == name[0] && strlen(known) == size && memcmp(known, name, size) == 0)
			return (EventId)id;
	}
	return EVENT_UNKNOWN;
}
