#include "qmp-client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int qmp_client_open(QmpClient *client, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct pollfd readable = {.events = POLLIN};
	const char *line;

	client->n = client->n_taken = 0;
	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	qmp_client_send(client, "qmp_capabilities");
	readable.fd = client->fd;
	for (;;) {
		while ((line = qmp_client_line(client)))
			if (strstr(line, "\"return\""))
				return 0;
		if (poll(&readable, 1, 10000) <= 0)
			return -ETIMEDOUT;
	}
}

void qmp_client_close(QmpClient *client)
{
	close(client->fd);
	client->fd = -1;
}

void qmp_client_send(QmpClient *client, const char *command)
{
	char text[128];
	int n = snprintf(text, sizeof text, "{\"execute\": \"%s\"}\n", command);

	if (send(client->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		perror("bench: QMP");
}

static const char *take_line(QmpClient *client)
{
	char *line = client->buffer + client->n_taken, *end = memchr(line, '\n', client->n - client->n_taken);

	if (!end)
		return NULL;
	*end = '\0';
	client->n_taken = (size_t)(end + 1 - client->buffer);
	return line;
}

const char *qmp_client_line(QmpClient *client)
{
	const char *line = take_line(client);
	ssize_t n;

	if (line)
		return line;
	client->n -= client->n_taken;
	memmove(client->buffer, client->buffer + client->n_taken, client->n);
	client->n_taken = 0;
	if (client->n == sizeof client->buffer)
		client->n = 0; /* no line of interest is so long */
	n = recv(client->fd, client->buffer + client->n, sizeof client->buffer - client->n, MSG_DONTWAIT);
	if (n <= 0)
		return NULL;
	client->n += (size_t)n;
	return take_line(client);
}

uint64_t qmp_event_usec(const char *line, const char *event)
{
	const char *at = strstr(line, "\"timestamp\""), *name = strstr(line, "\"event\": \"");
	unsigned long long seconds, usec;

	if (!at || !name ||
		sscanf(at, "\"timestamp\": {\"seconds\": %llu, \"microseconds\": %llu", &seconds, &usec) != 2)
		return 0;
	name += strlen("\"event\": \"");
	if (event && (strncmp(name, event, strlen(event)) != 0 || name[strlen(event)] != '"'))
		return 0;
	return seconds * 1000000 + usec;
}
