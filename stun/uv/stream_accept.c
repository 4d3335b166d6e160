/*
 * Accepting connections, and those that we begin.
 *
 * When descriptors run out, the listeners stop for a moment: an epoll set would report what waits in their queues for
 * ever.
 */
#include "stun/uv/sockaddr.h"
#include "stun/uv/stream_priv.h"

#include <errno.h>
#include <unistd.h>

enum { BATCH = 64 /* connections accepted before others have their turn */ };

#define ACCEPT_PAUSE PH_MS(100)

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
    c->dst = l->any ? ph__stream_local(fd) : l->at;
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

void ph_streams_hold(struct ph_streams *s, bool on)
{
    s->held = on;
    for (uint32_t i = 0; i < s->n_listeners && on; i++) {
        struct ph__stream_listener *l = &s->listener[i];
        if (l->fd < 0 || l->raw)
            continue;
        l->stopped = true;
        ph_worker_watch_for(s->c.worker, l->fd, PH_STREAM_ID_LISTENER | i, 0);
    }
    if (!on)
        ph__stream_accept_again(s, s->now);
}

void ph__stream_accept_again(struct ph_streams *s, ph_ns now)
{
    s->accept_at = PH_NEVER;
    for (uint32_t i = 0; i < s->n_listeners; i++) {
        struct ph__stream_listener *l = &s->listener[i];
        if (l->fd < 0 || !l->stopped || (s->held && !l->raw))
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
    const int fd = ph__stream_bound(local, false, true, device);
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
    c->dst = ph__stream_local(fd);
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
