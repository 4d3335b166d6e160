/*
 * The queue of what goes to a connection.
 *
 * Messages are copied into an arena of the worker's and leave with the next flush, all of one connection in one write:
 * no memory is allocated.  What the socket does not take moves to the heap, and there the bound applies: the
 * oldest message that may be dropped is dropped, until what is left fits.  Answers stay; a client that asks and
 * asks but does not read the answers is not read either.
 *
 * What has begun to be written must be finished: half a message would be the end of the stream.
 */
#include "stun/uv/stream_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { IOVS = 128, PIECE = 64 << 10 };

/* --- the list -------------------------------------------------------------------------------------- */

static uint32_t cost(const struct ph__msg *m)
{
    return m->len + (uint32_t)sizeof *m;
}

static struct ph__msg *next_drop(struct ph__msg *m)
{
    while (m && m->kind != PH__MSG_DATA)
        m = m->next;
    return m;
}

static void append(struct ph__conn *c, struct ph__msg *m)
{
    m->next = NULL;
    m->prev = c->last;
    if (c->last)
        c->last->next = m;
    else
        c->first = m;
    c->last = m;
    c->queued += cost(m);
    if (!c->drop && m->kind == PH__MSG_DATA)
        c->drop = m;
}

static void take_out(struct ph__conn *c, struct ph__msg *m)
{
    if (c->drop == m)
        c->drop = next_drop(m->next);
    *(m->prev ? &m->prev->next : &c->first) = m->next;
    *(m->next ? &m->next->prev : &c->last) = m->prev;
    c->queued -= cost(m);
    if (m->heap)
        free(m);
}

void ph__stream_purge(struct ph__conn *c)
{
    while (c->first)
        take_out(c, c->first);
    c->head_off = 0;
}

/* Room for n bytes in the arena, or on the heap for one whose socket takes nothing at the moment. */
static struct ph__msg *new_msg(struct ph_streams *s, const struct ph__conn *c, uint32_t n,
                               enum ph__msg_kind kind)
{
    const uint32_t align = _Alignof(struct ph__msg);
    const uint32_t size = ((uint32_t)sizeof(struct ph__msg) + n + align - 1) & ~(align - 1);
    struct ph__msg *m;

    if (!c->blocked && s->arena_n + size > PH__STREAM_ARENA)
        ph__stream_write_all(s);
    const bool heap = c->blocked;
    if (heap) {
        m = malloc(size);
        if (!m)
            return NULL;
    } else {
        m = (struct ph__msg *)(void *)(s->arena + s->arena_n);
        s->arena_n += size;
    }
    *m = (struct ph__msg){.len = n, .kind = (uint8_t)kind, .heap = heap};
    return m;
}

/* --- the bound ------------------------------------------------------------------------------------- */

static void drop_oldest(struct ph_streams *s, struct ph__conn *c)
{
    take_out(c, c->drop);
    s->st.dropped_slow++;
}

static uint32_t limit(const struct ph_streams *s, const struct ph__conn *c)
{
    const bool stranger = !c->keep && !c->raw && s->c.queue_bytes > PH__STREAM_STRANGER;

    return stranger ? PH__STREAM_STRANGER : s->c.queue_bytes;
}

/* Makes room for `more` bytes by dropping what may be dropped.  False if that was not enough. */
static bool trim(struct ph_streams *s, struct ph__conn *c, uint32_t more)
{
    const uint32_t max = limit(s, c);

    while (c->queued + more > max && c->drop)
        drop_oldest(s, c);
    return c->queued + more <= max;
}

uint32_t ph__stream_room(const struct ph_streams *s, const struct ph__conn *c)
{
    const uint32_t used = c->queued + (uint32_t)sizeof(struct ph__msg);

    return used < s->c.queue_bytes ? s->c.queue_bytes - used : 0;
}

/* Its answers are too many: no more requests, or its answers are fewer now: go on. */
static void hold(struct ph_streams *s, struct ph__conn *c)
{
    const bool before = c->held;

    if (c->raw || c->phase != PH__STREAM_OPEN)
        return;
    if (c->queued > limit(s, c) && !c->drop)
        c->held = true;
    else if (c->queued < limit(s, c) / 2)
        c->held = false;
    if (before && !c->held)
        ph__list_add(&s->again, &c->again);
    if (before != c->held)
        ph__stream_watch(s, c);
}

void ph__stream_settle(struct ph_streams *s, struct ph__conn *c)
{
    for (struct ph__msg *m = c->first, *next; m; m = next) {
        next = m->next;
        if (m->heap)
            continue;
        struct ph__msg *h = malloc(sizeof *h + m->len);
        if (!h) { /* a hole would be the end of the stream */
            ph__stream_broken(s, c, ENOMEM);
            return;
        }
        memcpy(h, m, sizeof *h + m->len);
        h->heap = true;
        *(m->prev ? &m->prev->next : &c->first) = h;
        *(m->next ? &m->next->prev : &c->last) = h;
        if (c->drop == m)
            c->drop = h;
    }
}

/* --- queueing -------------------------------------------------------------------------------------- */

/* ChannelData and indications may be lost, as on UDP; answers may not. */
static enum ph__msg_kind kind_of(const struct ph_pkt *p)
{
    const uint8_t *b = p->head_len ? p->head : ph_buf_data(&p->b);

    if (b[0] & 0xC0)
        return PH__MSG_DATA;
    /* RFC 8489 5: the class is bits 8 and 4 of the type; an indication is 01 */
    return (b[0] & 1) == 0 && (b[1] & 0x10) ? PH__MSG_DATA : PH__MSG_ANSWER;
}

bool ph__stream_queue(struct ph_streams *s, struct ph__conn *c, enum ph__msg_kind kind,
                      const struct ph_pkt *p)
{
    const uint32_t len = ph_pkt_wire_len(p);
    const uint32_t padded = kind == PH__MSG_BYTES ? len : (len + 3) & ~3u;
    const bool fits = !c->blocked || trim(s, c, padded + (uint32_t)sizeof(struct ph__msg));
    struct ph__msg *m = fits || kind == PH__MSG_ANSWER ? new_msg(s, c, padded, kind) : NULL;

    if (c->broken) { /* found out when the arena was emptied */
        if (m && m->heap)
            free(m);
        return false;
    }
    if (!m) {
        s->st.dropped_slow++;
        return false;
    }
    if (p->head_len)
        memcpy(m->data, p->head, p->head_len);
    memcpy(m->data + p->head_len, ph_buf_data(&p->b), p->b.len);
    memset(m->data + len, 0, padded - len);
    append(c, m);
    if (c->blocked)
        hold(s, c);
    else
        ph__list_add(&s->dirty, &c->dirty);
    return true;
}

bool ph_streams_send(struct ph_streams *s, const struct ph_pkt *p)
{
    struct ph__conn *c = ph__stream_open(s, p->conn);

    if (!c || c->raw || ph_pkt_wire_len(p) < 4)
        return false;
    return ph__stream_queue(s, c, kind_of(p), p);
}

/* Straight to the socket, when nothing waits before it. */
static size_t write_now(struct ph_streams *s, struct ph__conn *c, const uint8_t *p, size_t n)
{
    const ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);

    s->st.tx_calls++;
    if (r < 0 && errno != EAGAIN && errno != EINTR)
        ph__stream_broken(s, c, errno);
    if (r < (ssize_t)n && !c->broken) {
        c->blocked = true;
        ph__stream_watch(s, c);
    }
    s->st.tx_bytes += r > 0 ? (uint64_t)r : 0;
    return r > 0 ? (size_t)r : 0;
}

size_t ph_streams_write(struct ph_streams *s, uint32_t conn, const uint8_t *p, size_t n)
{
    struct ph__conn *c = ph__stream_open(s, conn);
    size_t taken = 0;

    if (!c)
        return 0;
    if (!c->ssl && !c->first && !c->blocked)
        taken = write_now(s, c, p, n);
    while (taken < n && !c->broken) {
        const uint32_t room = ph__stream_room(s, c);
        size_t piece = n - taken < PIECE ? n - taken : PIECE;
        if (piece > room)
            piece = room;
        const struct ph_pkt pkt = {.b = {.base = (uint8_t *)(uintptr_t)(p + taken),
                                         .cap = (uint32_t)piece,
                                         .len = (uint32_t)piece}};
        if (!piece || !ph__stream_queue(s, c, PH__MSG_BYTES, &pkt))
            break;
        taken += piece;
    }
    c->full = taken < n;
    return taken;
}

/* --- writing --------------------------------------------------------------------------------------- */

void ph__stream_sent(struct ph_streams *s, struct ph__conn *c, size_t n)
{
    s->st.tx_bytes += n;
    while (n) {
        struct ph__msg *m = c->first;
        const uint32_t left = m->len - c->head_off;
        if (n < left) {
            c->head_off += (uint32_t)n;
            if (c->drop == m)
                c->drop = next_drop(m->next);
            return;
        }
        n -= left;
        c->head_off = 0;
        s->st.tx_messages += m->kind != PH__MSG_BYTES;
        take_out(c, m);
    }
}

/* One write of as much as fits.  False when the socket takes no more. */
static bool write_some(struct ph_streams *s, struct ph__conn *c)
{
    struct iovec v[IOVS];
    struct msghdr h = {.msg_iov = v};
    size_t total = 0;
    ssize_t r;

    for (struct ph__msg *m = c->first; m && h.msg_iovlen < IOVS; m = m->next) {
        const uint32_t off = m == c->first ? c->head_off : 0;
        v[h.msg_iovlen++] = (struct iovec){m->data + off, m->len - off};
        total += m->len - off;
    }
    if (h.msg_iovlen == 1)
        r = send(c->fd, v[0].iov_base, v[0].iov_len, MSG_NOSIGNAL);
    else
        r = sendmsg(c->fd, &h, MSG_NOSIGNAL);
    s->st.tx_calls++;
    if (r < 0) {
        if (errno != EAGAIN && errno != EINTR)
            ph__stream_broken(s, c, errno);
        return false;
    }
    ph__stream_sent(s, c, (size_t)r);
    return (size_t)r == total;
}

void ph__stream_write(struct ph_streams *s, struct ph__conn *c)
{
    ph__list_del(&c->dirty);
    if (c->broken)
        return;
    if (c->ssl)
        ph__tls_write(s, c);
    else
        while (c->first && write_some(s, c))
            ;
    if (c->broken)
        return;
    c->blocked = c->first || c->wire.n;
    if (c->first) {
        ph__stream_settle(s, c);
        trim(s, c, 0);
    }
    hold(s, c);
    if (c->full && c->queued < s->c.queue_bytes / 2)
        ph__list_add(&s->again, &c->again);
    ph__stream_watch(s, c);
}

void ph__stream_write_all(struct ph_streams *s)
{
    while (!ph__list_empty(&s->dirty))
        ph__stream_write(s, ph__conn_of(s->dirty.next, offsetof(struct ph__conn, dirty)));
    s->arena_n = 0;
}
