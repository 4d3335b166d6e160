/*
 * Sockets that listen: opened, taken over from the process before, given to the next one.
 *
 * What a connection wants of its socket is set on the listener: Linux lets connections inherit it, which saves six
 * system calls each.
 */
#include "stun/uv/sockaddr.h"
#include "stun/uv/stream_priv.h"
#include "stun/uv/udp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    BACKLOG = 1024,
    KEEP_IDLE_S = 60,
    KEEP_INTERVAL_S = 15,
    /* Also how long a reader may take nothing at all: the kernel counts its window probes in. */
    USER_TIMEOUT_MS = 120000,
    /* What the kernel holds for a slow reader cannot be dropped any more, so let it be little. */
    NOT_SENT = 128 << 10,
};

/* --- sockets --------------------------------------------------------------------------------------- */

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) ? -errno : 0;
}

/* What connections do better with; none is worth failing for. */
static void set_habits(int fd)
{
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
    set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOT_SENT);
}

int ph__stream_bound(const struct ph_addr *at, bool free_bind, bool reuseport, const char *device)
{
    const bool v6 = at->family == PH_AF_INET6;
    union ph_sockaddr sa;
    const socklen_t len = ph_sockaddr_set(&sa, at);

    if (!len)
        return -EAFNOSUPPORT;
    const int fd = socket(sa.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int err = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!err && v6)
        err = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (!err && free_bind)
        err = v6 ? set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
                 : set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
    if (!err && reuseport)
        err = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (!err && device &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)))
        err = -errno;
    if (!err && bind(fd, &sa.sa, len))
        err = -errno;
    if (err) {
        close(fd);
        return err;
    }
    set_habits(fd);
    return fd;
}

struct ph_addr ph__stream_local(int fd)
{
    union ph_sockaddr sa = {.in6 = {0}};
    socklen_t len = sizeof sa;
    struct ph_addr a;

    getsockname(fd, &sa.sa, &len);
    ph_sockaddr_get(&a, &sa, PH_TCP);
    return a;
}

/* --- listeners ------------------------------------------------------------------------------------- */

/* A free entry, or PH__STREAM_NONE. */
static uint32_t entry(struct ph_streams *s)
{
    for (uint32_t i = 0; i < s->n_listeners; i++)
        if (s->listener[i].fd < 0)
            return i;
    const uint32_t n = s->n_listeners ? 2 * s->n_listeners : 8;
    struct ph__stream_listener *v = realloc(s->listener, n * sizeof *v);
    if (!v)
        return PH__STREAM_NONE;
    const uint32_t at = s->n_listeners;
    for (uint32_t i = at; i < n; i++)
        v[i] = (struct ph__stream_listener){.fd = -1};
    s->listener = v;
    s->n_listeners = n;
    return at;
}

/* Puts a listener with its socket into the table.  0 and *id, or -errno: the socket is still the caller's. */
static int add_listener(struct ph_streams *s, struct ph__stream_listener *l, uint32_t *id)
{
    const uint32_t at = entry(s);
    int err = at == PH__STREAM_NONE ? -ENOMEM : 0;

    if (!err)
        err = ph_worker_watch(s->c.worker, l->fd, PH_STREAM_ID_LISTENER | at);
    if (err)
        return err;
    l->at = ph__stream_local(l->fd);
    l->any = ph_addr_is_any(&l->at);
    if (s->held && !l->raw) {
        l->stopped = true;
        ph_worker_watch_for(s->c.worker, l->fd, PH_STREAM_ID_LISTENER | at, 0);
    }
    s->listener[at] = *l;
    *id = at;
    return 0;
}

/* Opens the socket of l and puts it into the table.  0 and *id, or -errno. */
static int open_listener(struct ph_streams *s, struct ph__stream_listener *l, bool reuseport,
                         const char *device, uint32_t *id)
{
    l->fd = ph__stream_bound(&l->at, s->c.free_bind, reuseport, device);
    if (l->fd < 0)
        return l->fd;
    int err = listen(l->fd, BACKLOG) ? -errno : 0;
    if (!err)
        err = add_listener(s, l, id);
    if (err)
        close(l->fd);
    return err;
}

static bool is_listening(int fd)
{
    int type = 0, accepts = 0;
    socklen_t n = sizeof type, k = sizeof accepts;

    return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) && type == SOCK_STREAM &&
           !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &k) && accepts;
}

/* The same with a socket that is open. */
static int adopt_listener(struct ph_streams *s, struct ph__stream_listener *l, bool reuseport,
                          const char *device, uint32_t *id)
{
    if (!is_listening(l->fd) || !ph_udp_is_on(l->fd, device))
        return -EINVAL;
    int err = fcntl(l->fd, F_SETFL, O_NONBLOCK) ? -errno : 0;
    if (!err && reuseport)
        err = set_int(l->fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (!err)
        err = add_listener(s, l, id);
    if (err) /* then it is still to be handed on */
        return err;
    set_habits(l->fd);
    fcntl(l->fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

int ph_streams_listen(struct ph_streams *s, const struct ph_stream_listener *l, struct ph_addr *at)
{
    struct ph__stream_listener x = {
        .sock = l->sock, .plain = l->plain, .tls = l->tls, .proxy = l->proxy, .at = l->at};
    uint32_t id;

    if (s->n_served == PH_STREAM_LISTENERS)
        return -ENOSPC;
    x.fd = l->fd;
    int err = l->inherited ? adopt_listener(s, &x, l->reuseport, l->device, &id)
                           : open_listener(s, &x, l->reuseport, l->device, &id);
    if (err)
        return err;
    s->n_served++;
    *at = x.at;
    return 0;
}

int ph_streams_listen_raw(struct ph_streams *s, const struct ph_addr *at, const char *device,
                          uint32_t *id)
{
    struct ph__stream_listener x = {.raw = true, .at = *at};
    int err = open_listener(s, &x, false, device, id);

    if (err)
        return err;
    /* Bound alone, or another listener's connections might come here and ours go there; shared from now on, but only with
     * those that do not listen. */
    err = set_int(s->listener[*id].fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (err)
        ph__stream_unlisten(s, *id);
    return err;
}

int ph_streams_adopt_raw(struct ph_streams *s, int fd, const char *device, uint32_t *id)
{
    struct ph__stream_listener x = {.raw = true, .fd = fd};

    return adopt_listener(s, &x, true, device, id);
}

/* Takes a listener's socket out of the table. */
static int give(struct ph_streams *s, uint32_t listener)
{
    const int fd = s->listener[listener].fd;

    ph_worker_unwatch(s->c.worker, fd);
    s->listener[listener].fd = -1;
    return fd;
}

int ph_streams_unlisten(struct ph_streams *s, uint32_t sock)
{
    for (uint32_t i = 0; i < s->n_listeners; i++) {
        const struct ph__stream_listener *l = &s->listener[i];
        if (l->fd >= 0 && !l->raw && l->sock == sock) {
            s->n_served--;
            return give(s, i);
        }
    }
    return -1;
}

int ph_streams_give_raw(struct ph_streams *s, uint32_t id)
{
    return id < s->n_listeners && s->listener[id].raw && s->listener[id].fd >= 0 ? give(s, id) : -1;
}

void ph__stream_unlisten(struct ph_streams *s, uint32_t listener)
{
    if (listener >= s->n_listeners || s->listener[listener].fd < 0)
        return;
    close(s->listener[listener].fd);
    s->listener[listener].fd = -1;
}

void ph_streams_unlisten_raw(struct ph_streams *s, uint32_t id)
{
    if (id < s->n_listeners && s->listener[id].raw)
        ph__stream_unlisten(s, id);
}
