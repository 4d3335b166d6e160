/*
 * What a connection waits for, and how it ends.
 *
 * Deadlines are kept lazily: the heap has one that is never too late, and what is really due is asked when it comes.
 * So a message costs no heap operation.
 *
 * An end has two halves.  To the caller a connection is gone at once; its socket stays until what is queued is out and
 * the other side has closed too: closing a socket with something unread resets the connection, and what was
 * sent last (a 400, an alert) would be lost.
 */
#include "stun/uv/stream_priv.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#define CONNECT_TIMEOUT PH_SEC(30) /* RFC 6062 5.2 */
#define FLUSH_TIMEOUT   PH_SEC(10)
#define LINGER_TIMEOUT  PH_SEC(1)

enum {
    FLUSH_RATE = 8 << 10 /* bytes a second that a reader has to take, or he is not waited for */
};

/* --- deadlines and events -------------------------------------------------------------------------- */

ph_ns ph__stream_due(const struct ph_streams *s, const struct ph__conn *c)
{
    ph_ns at = PH_NEVER;

    switch ((enum ph__stream_phase)c->phase) {
    case PH__STREAM_CONNECTING:
        return c->since + CONNECT_TIMEOUT;
    case PH__STREAM_SNIFF:
        if (c->ssl)
            return c->last_at + s->c.idle_timeout;
        return c->since + s->c.handshake_timeout;
    case PH__STREAM_PROXY:
    case PH__STREAM_HANDSHAKE:
        return c->since + s->c.handshake_timeout;
    case PH__STREAM_OPEN:
        if (c->raw)
            return PH_NEVER;
        if (!c->keep)
            at = c->last_at + s->c.idle_timeout;
        if (c->begun_at && !c->held)
            at = ph_min_ns(at, c->begun_at + s->c.idle_timeout);
        return at;
    case PH__STREAM_FLUSHING:
    case PH__STREAM_LINGERING:
        return c->close_at;
    }
    return at;
}

void ph__stream_arm(struct ph_streams *s, struct ph__conn *c)
{
    const ph_ns at = ph__stream_due(s, c);

    if (at < c->armed_at && ph_heap_set(&s->timers, ph__stream_slot(c->num), at) == 0)
        c->armed_at = at;
}

bool ph__stream_reads(const struct ph__conn *c)
{
    return c->phase != PH__STREAM_CONNECTING && c->phase <= PH__STREAM_OPEN && !c->paused &&
           !c->held && !c->broken;
}

void ph__stream_watch(struct ph_streams *s, struct ph__conn *c)
{
    uint32_t events = ph__stream_reads(c) || c->phase == PH__STREAM_LINGERING ? EPOLLIN : 0;

    if (c->phase == PH__STREAM_CONNECTING || c->blocked)
        events |= EPOLLOUT;
    if (c->broken)
        events = 0;
    if (events == c->watching)
        return;
    c->watching = events;
    ph_worker_watch_for(s->c.worker, c->fd, PH_STREAM_ID_CONN | c->num, events);
}

/* --- ends ------------------------------------------------------------------------------------------ */

void ph__stream_leave(struct ph_streams *s, struct ph__conn *c)
{
    if (c->phase >= PH__STREAM_FLUSHING)
        return;
    c->phase = PH__STREAM_FLUSHING;
    c->close_at = PH_NEVER;
    s->st.now--;
    s->st.tls_now -= c->ssl != NULL;
    if (s->cur.c == c)
        s->cur.c = NULL;
}

static void count_end(struct ph_stream_stats *st, enum ph_stream_end why)
{
    switch (why) {
    case PH_STREAM_CLOSED:
        st->closed++;
        break;
    case PH_STREAM_RESET:
        st->reset++;
        break;
    case PH_STREAM_TIMEOUT:
        st->timed_out++;
        break;
    case PH_STREAM_BAD_FRAME:
        st->bad_frame++;
        break;
    case PH_STREAM_BAD_PROXY:
        st->bad_proxy++;
        break;
    case PH_STREAM_IS_HTTP:
        st->http++;
        break;
    case PH_STREAM_BAD_TLS:
        st->tls_failed++;
        break;
    case PH_STREAM_BY_US:
        break;
    }
}

void ph__stream_end(struct ph_streams *s, struct ph__conn *c, enum ph_stream_end why, ph_ns now)
{
    const uint32_t num = c->num, sock = c->sock;
    const struct ph_addr peer = c->src;
    const bool abrupt = c->broken || why == PH_STREAM_RESET ||
                        (why == PH_STREAM_TIMEOUT && c->phase < PH__STREAM_OPEN);

    count_end(&s->st, why);
    ph__stream_leave(s, c);
    if (abrupt)
        ph__stream_destroy(s, c);
    else
        ph__stream_closing(s, c, now);
    if (s->c.calls.ended)
        s->c.calls.ended(s->c.ctx, num, sock, &peer, why, now);
}

void ph__stream_connected(struct ph_streams *s, struct ph__conn *c, int err, ph_ns now)
{
    const uint32_t num = c->num;

    if (err) {
        ph__stream_destroy(s, c);
    } else {
        c->phase = PH__STREAM_OPEN;
        ph__stream_watch(s, c);
    }
    if (s->c.calls.connected)
        s->c.calls.connected(s->c.ctx, num, err, now);
}

/* Something is still to be written.  Cut off it would look like a good end to whoever reads it, so a reader that is merely
 * slow is waited for: as long as he takes some of it, but not for ever. */
static void wait_for_reader(struct ph__conn *c, ph_ns now)
{
    const uint32_t left = c->queued - c->head_off + c->wire.n - c->wire_off;

    if (c->close_at == PH_NEVER)
        c->flush_by = now + FLUSH_TIMEOUT + PH_SEC(left / FLUSH_RATE);
    else if (left >= c->left)
        return;
    c->left = left;
    c->close_at = ph_min_ns(now + FLUSH_TIMEOUT, c->flush_by);
}

/* Bytes that the kernel has and the other side has not acknowledged, its FIN among them. */
static uint32_t on_its_way(const struct ph__conn *c)
{
    int n = 0;

    return ioctl(c->fd, SIOCOUTQ, &n) || n < 0 ? 0 : (uint32_t)n;
}

/* All is written.  What the kernel has of it would be lost if the socket were closed now and the other side said one more
 * word. */
static void linger(struct ph__conn *c, ph_ns now)
{
    c->phase = PH__STREAM_LINGERING;
    c->close_at = now + LINGER_TIMEOUT;
    shutdown(c->fd, SHUT_WR);
    c->flush_by = c->raw ? now + FLUSH_TIMEOUT + PH_SEC(on_its_way(c) / FLUSH_RATE) : now;
}

/* Its time is over: does it stay for another moment? */
static bool lingers_on(struct ph__conn *c, ph_ns now)
{
    if (c->phase != PH__STREAM_LINGERING || now >= c->flush_by || !on_its_way(c))
        return false;
    c->close_at = now + LINGER_TIMEOUT;
    return true;
}

void ph__stream_closing(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    if (!c->shut && !c->first) {
        c->shut = true;
        if (c->ssl)
            ph__tls_shut(s, c);
    }
    ph__stream_write(s, c);
    if (c->broken) {
        ph__stream_destroy(s, c);
        return;
    }
    if (c->first || c->wire.n) {
        wait_for_reader(c, now);
    } else if (!c->shut) { /* the queue has just become empty */
        ph__stream_closing(s, c, now);
        return;
    } else if (c->eof) {
        ph__stream_destroy(s, c);
        return;
    } else if (c->phase == PH__STREAM_FLUSHING) {
        linger(c, now);
    }
    ph__stream_arm(s, c);
    ph__stream_watch(s, c);
}

void ph__stream_broken(struct ph_streams *s, struct ph__conn *c, int err)
{
    if (c->broken)
        return;
    c->broken = err;
    ph__stream_purge(c);
    ph__stream_watch(s, c);
    ph__list_add(&s->again, &c->again);
}

void ph__stream_lost(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    if (c->phase == PH__STREAM_CONNECTING)
        ph__stream_connected(s, c, -c->broken, now);
    else if (c->phase < PH__STREAM_FLUSHING)
        ph__stream_end(s, c, PH_STREAM_RESET, now);
    else
        ph__stream_destroy(s, c);
}

void ph__stream_expire(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    if (c->phase == PH__STREAM_CONNECTING)
        ph__stream_connected(s, c, -ETIMEDOUT, now);
    else if (c->phase < PH__STREAM_FLUSHING)
        ph__stream_end(s, c, PH_STREAM_TIMEOUT, now);
    else if (lingers_on(c, now))
        ph__stream_arm(s, c);
    else
        ph__stream_destroy(s, c);
}
