/*
 * The sd_notify protocol: one datagram to a UNIX socket, whose name may be abstract ("@...").
 */
#include "cmd/common/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int ph_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@'))
        return 0;
    size_t n = strlen(path);
    if (n >= sizeof at.sun_path)
        return -ENAMETOOLONG;
    memcpy(at.sun_path, path, n);
    if (path[0] == '@')
        at.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&at, len);
    int err = sent < 0 ? -errno : 0;
    close(fd);
    return err;
}

int ph_notify_ready(const char *status)
{
    char state[512];
    snprintf(state, sizeof state, "READY=1\nMAINPID=%ld\nSTATUS=%.400s", (long)getpid(), status);
    return ph_notify(state);
}
