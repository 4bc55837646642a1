#pragma once
/*
 * The one table of events: every event that QEMU 7.2 has, and the few that Roost makes itself, each with how
 * it may be coalesced, by which key, whether it bears on the VM's state, and whether an operation may wait
 * for it. How an event changes the state is in apply.c, by the same identifiers. docs/ARCHITECTURE.md
 * explains the classes.
 */
#include <stdbool.h>
#include <stddef.h>

typedef enum EventId {
	EVENT_SHUTDOWN,
	EVENT_RESET,
	EVENT_STOP,
	EVENT_RESUME,
	EVENT_POWERDOWN,
	EVENT_SUSPEND,
	EVENT_SUSPEND_DISK,
	EVENT_WAKEUP,
	EVENT_WATCHDOG,
	EVENT_GUEST_PANICKED,
	EVENT_GUEST_CRASHLOADED,
	EVENT_MEMORY_FAILURE,
	EVENT_BLOCK_IO_ERROR,
	EVENT_BLOCK_IMAGE_CORRUPTED,
	EVENT_BLOCK_WRITE_THRESHOLD,
	EVENT_JOB_STATUS_CHANGE,
	EVENT_BLOCK_JOB_READY,
	EVENT_BLOCK_JOB_PENDING,
	EVENT_BLOCK_JOB_COMPLETED,
	EVENT_BLOCK_JOB_CANCELLED,
	EVENT_BLOCK_JOB_ERROR,
	EVENT_BLOCK_EXPORT_DELETED,
	EVENT_DEVICE_DELETED,
	EVENT_DEVICE_UNPLUG_GUEST_ERROR,
	EVENT_MEM_UNPLUG_ERROR,
	EVENT_ACPI_DEVICE_OST,
	EVENT_DEVICE_TRAY_MOVED,
	EVENT_MIGRATION,
	EVENT_MIGRATION_PASS,
	EVENT_UNPLUG_PRIMARY,
	EVENT_FAILOVER_NEGOTIATED,
	EVENT_COLO_EXIT,
	EVENT_DUMP_COMPLETED,
	EVENT_BALLOON_CHANGE,
	EVENT_MEMORY_DEVICE_SIZE_CHANGE,
	EVENT_RTC_CHANGE,
	EVENT_VSERPORT_CHANGE,
	EVENT_NIC_RX_FILTER_CHANGED,
	EVENT_SPICE_CONNECTED,
	EVENT_SPICE_INITIALIZED,
	EVENT_SPICE_DISCONNECTED,
	EVENT_SPICE_MIGRATE_COMPLETED,
	EVENT_VNC_CONNECTED,
	EVENT_VNC_INITIALIZED,
	EVENT_VNC_DISCONNECTED,
	EVENT_NETDEV_STREAM_CONNECTED,
	EVENT_NETDEV_STREAM_DISCONNECTED,
	EVENT_PR_MANAGER_STATUS_CHANGED,
	EVENT_RDMA_GID_STATUS_CHANGED,
	EVENT_QUORUM_FAILURE,
	EVENT_QUORUM_REPORT_BAD,
	EVENT_VFU_CLIENT_HANGUP,
	/* Any event that is not named above. */
	EVENT_UNKNOWN,
	/* Roost's own: made without a QMP message. EXIT becomes an Event signal, the others only change the
	   state. */
	EVENT_EXIT,
	EVENT_RESYNC_STATUS,
	EVENT_UNRESPONSIVE,
	EVENT_RESPONSIVE,
	EVENT_SHUTDOWN_TIMEOUT,
	EVENT_EXIT_STATUS,
	EVENT_RESYNC_AGENT,
	EVENT_RESET_WINDOW,
	EVENT_DUMP_TIMEOUT,
	EVENT_ID_MAX,
} EventId;

typedef enum EventMerge {
	EVENT_MERGE_LAST,        /* class L: the last value wins, by key */
	EVENT_MERGE_COUNT,       /* class C: a counter and the last value */
	EVENT_MERGE_NEVER,       /* class E: each is kept, up to the cap */
	EVENT_MERGE_AFTER_FIRST, /* class E->C: the first is kept as it is, the ones after it are counted */
} EventMerge;

typedef struct EventRow {
	const char *name;
	EventMerge merge;
	bool state;  /* class S: bears on the VM's state; its place among the others of that class is kept */
	bool reason; /* explains a STOP or an exit that follows: stays before it */
	bool never_drop; /* has a reserve beyond the cap */
	bool wakes;      /* class W: an operation may wait for it */
	bool internal;   /* makes no Event signal */
	/* What tells one from another, in `data`: members, or paths of two ("info.slot"); "a|b": the first
	 * that is not empty. */
	const char *keys[3];
} EventRow;

/* Any thread. */
const EventRow *event_row(EventId id);
/* Any thread: EVENT_UNKNOWN for a name that QEMU events don't have (also for Roost's own names). */
EventId event_id_from_name(const char *name, size_t size);
