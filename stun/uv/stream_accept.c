/*
 * Listeners, and connections that we begin.
 *
 * What a connection wants of its socket is set on the listener: Linux lets connections inherit it, which saves six
 * system calls each.  When descriptors run out, the listeners stop for a moment: an epoll set would report
 * what waits in their queues for ever.
 */
#include "stun/uv/sockaddr.h"
#include "stun/uv/stream_priv.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    BACKLOG = 1024,
    BATCH = 64, /* connections accepted before others have their turn */
    KEEP_IDLE_S = 60,
    KEEP_INTERVAL_S = 15,
    /* Also how long a reader may take nothing at all: the kernel counts its window probes in. */
    USER_TIMEOUT_MS = 120000,
    /* What the kernel holds for a slow reader cannot be dropped any more, so let it be little. */
    NOT_SENT = 128 << 10,
};

#define ACCEPT_PAUSE PH_MS(100)

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

/* A socket bound to an address.  Its descriptor or -errno. */
static int bound(const struct ph_addr *at, bool reuseport, const char *device)
{
    union ph_sockaddr sa;
    const socklen_t len = ph_sockaddr_set(&sa, at);

    if (!len)
        return -EAFNOSUPPORT;
    const int fd = socket(sa.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int err = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!err && at->family == PH_AF_INET6)
        err = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
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

static struct ph_addr local_of(int fd)
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

/* Opens the socket of l and puts it into the table.  0 and *id, or -errno. */
static int open_listener(struct ph_streams *s, struct ph__stream_listener *l, bool reuseport,
                         const char *device, uint32_t *id)
{
    const uint32_t at = entry(s);

    if (at == PH__STREAM_NONE)
        return -ENOMEM;
    l->any = ph_addr_is_any(&l->at);
    l->fd = bound(&l->at, reuseport, device);
    if (l->fd < 0)
        return l->fd;
    int err = listen(l->fd, BACKLOG) ? -errno : 0;
    if (!err)
        err = ph_worker_watch(s->c.worker, l->fd, PH_STREAM_ID_LISTENER | at);
    if (err) {
        close(l->fd);
        return err;
    }
    l->at = local_of(l->fd);
    s->listener[at] = *l;
    *id = at;
    return 0;
}

int ph_streams_listen(struct ph_streams *s, const struct ph_stream_listener *l, struct ph_addr *at)
{
    struct ph__stream_listener x = {
        .sock = l->sock, .plain = l->plain, .tls = l->tls, .proxy = l->proxy, .at = l->at};
    uint32_t id;

    if (s->n_served == PH_STREAM_LISTENERS)
        return -ENOSPC;
    int err = open_listener(s, &x, l->reuseport, l->device, &id);
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

/* --- accepting ------------------------------------------------------------------------------------- */

static void begin_client(struct ph_streams *s, struct ph__conn *c,
                         const struct ph__stream_listener *l)
{
    c->sock = l->sock;
    c->may_plain = l->plain;
    c->may_tls = l->tls;
    c->phase = l->proxy ? PH__STREAM_PROXY : PH__STREAM_SNIFF;
    ph__stream_arm(s, c);
}

/* Asks whether the caller wants a peer's connection. */
static void begin_raw(struct ph_streams *s, struct ph__conn *c, uint32_t listener, ph_ns now)
{
    const uint32_t num = c->num;
    const struct ph_addr peer = c->src;

    c->sock = listener;
    c->raw = true;
    c->phase = PH__STREAM_OPEN;
    if (s->c.calls.accepted && s->c.calls.accepted(s->c.ctx, listener, num, &peer, now))
        return;
    c = ph__stream_find(s, num);
    if (c)
        ph__stream_destroy(s, c);
}

/* A connection has come.  Takes the socket. */
static void welcome(struct ph_streams *s, uint32_t listener, int fd, const struct ph_addr *peer,
                    ph_ns now)
{
    const struct ph__stream_listener *l = &s->listener[listener];
    /* Behind a balancer all come from one address; the header will tell. */
    const bool counted = !l->raw && !l->proxy;
    uint32_t source = PH__SOURCE_NONE;
    struct ph__conn *c = NULL;

    if (s->n >= s->c.max_conns) {
        s->st.refused_full++;
    } else if (counted && (source = ph__sources_take(&s->sources, peer, s->c.max_per_addr)) ==
                              PH__STREAM_NONE) {
        s->st.refused_source++;
    } else {
        c = ph__stream_add(s, fd, now);
        s->st.refused_full += !c;
    }
    if (!c) {
        ph__sources_release(&s->sources, source);
        close(fd);
        return;
    }
    s->st.accepted++;
    c->source = source;
    c->src = *peer;
    c->dst = l->any ? local_of(fd) : l->at;
    if (ph_worker_watch(s->c.worker, fd, PH_STREAM_ID_CONN | c->num)) {
        ph__stream_destroy(s, c);
        return;
    }
    c->watching = EPOLLIN;
    if (l->raw)
        begin_raw(s, c, listener, now);
    else
        begin_client(s, c, l);
}

/* No descriptors, or no memory: whoever waits will still wait in a moment. */
static void stop_accepting(struct ph_streams *s, uint32_t listener, ph_ns now)
{
    struct ph__stream_listener *l = &s->listener[listener];

    s->st.accept_failed++;
    l->stopped = true;
    ph_worker_watch_for(s->c.worker, l->fd, PH_STREAM_ID_LISTENER | listener, 0);
    s->accept_at = ph_min_ns(s->accept_at, now + ACCEPT_PAUSE);
}

void ph__stream_accept(struct ph_streams *s, uint32_t listener, ph_ns now)
{
    for (unsigned i = 0; i < BATCH; i++) {
        union ph_sockaddr sa = {.in6 = {0}};
        socklen_t len = sizeof sa;
        struct ph_addr peer;

        /* A raw one may be closed by what it called. */
        if (listener >= s->n_listeners || s->listener[listener].fd < 0)
            return;
        const int fd =
            accept4(s->listener[listener].fd, &sa.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            ph_sockaddr_get(&peer, &sa, PH_TCP);
            welcome(s, listener, fd, &peer, now);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            stop_accepting(s, listener, now);
        if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO)
            return;
    }
}

void ph__stream_accept_again(struct ph_streams *s, ph_ns now)
{
    s->accept_at = PH_NEVER;
    for (uint32_t i = 0; i < s->n_listeners; i++) {
        struct ph__stream_listener *l = &s->listener[i];
        if (l->fd < 0 || !l->stopped)
            continue;
        l->stopped = false;
        if (ph_worker_watch_for(s->c.worker, l->fd, PH_STREAM_ID_LISTENER | i, EPOLLIN))
            stop_accepting(s, i, now);
    }
}

/* --- calling --------------------------------------------------------------------------------------- */

int ph_streams_connect(struct ph_streams *s, const struct ph_addr *local,
                       const struct ph_addr *peer, const char *device, uint32_t *conn, ph_ns now)
{
    union ph_sockaddr sa;
    const socklen_t len = ph_sockaddr_set(&sa, peer);

    s->now = now;
    if (!len || local->family != peer->family)
        return -EAFNOSUPPORT;
    if (s->n >= s->c.max_conns)
        return -EMFILE;
    const int fd = bound(local, true, device);
    if (fd < 0)
        return fd;
    int err = connect(fd, &sa.sa, len) && errno != EINPROGRESS ? -errno : 0;
    struct ph__conn *c = err ? NULL : ph__stream_add(s, fd, now);
    if (!c) {
        close(fd);
        return err ? err : -ENOMEM;
    }
    c->raw = true;
    c->phase = PH__STREAM_CONNECTING;
    c->src = *peer;
    c->src.proto = PH_TCP;
    c->dst = local_of(fd);
    err = ph_worker_watch(s->c.worker, fd, PH_STREAM_ID_CONN | c->num);
    if (err) {
        ph__stream_destroy(s, c);
        return err;
    }
    c->watching = EPOLLIN;
    ph__stream_watch(s, c);
    ph__stream_arm(s, c);
    *conn = c->num;
    return 0;
}
