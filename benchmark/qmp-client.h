#pragma once
/*
 * As little of a QMP client as there can be: lines, and the time on events. It is the limit that a service
 * with a QMP client in it is compared with.
 */
#include <stddef.h>
#include <stdint.h>

typedef struct QmpClient {
	int fd;
	size_t n, n_taken;
	char buffer[65536];
} QmpClient;

/* Connects and says qmp_capabilities; -errno. */
int qmp_client_open(QmpClient *client, const char *path);
void qmp_client_close(QmpClient *client);
void qmp_client_send(QmpClient *client, const char *command);
/* The next line that is here, without waiting; NULL: none. It is good until the next call. */
const char *qmp_client_line(QmpClient *client);

/* When it happened, if the line is this event (NULL: any); 0: it is not. */
uint64_t qmp_event_usec(const char *line, const char *event);
