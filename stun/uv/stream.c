/*
 * The table of connections, what is done for them when, and the public face.
 */
#include "stun/uv/stream_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MAX_CONNS = 65536,
    MAX_PER_ADDR = 4096,
    QUEUE = 1 << 20,
    FIRST_SLOTS = 64,
};

#define HANDSHAKE_TIMEOUT PH_SEC(10)
#define IDLE_TIMEOUT      PH_SEC(60)

/* --- the table ------------------------------------------------------------------------------------- */

static bool grow(struct ph_streams *s)
{
    const uint32_t old = s->slots;
    uint32_t n = old ? 2 * old : FIRST_SLOTS;

    if (n > PH__STREAM_SLOTS)
        n = PH__STREAM_SLOTS;
    struct ph__conn **v = realloc(s->v, n * sizeof(*v));
    if (v)
        s->v = v;
    uint16_t *gen = realloc(s->gen, n * sizeof *gen);
    if (gen)
        s->gen = gen;
    uint32_t *next = realloc(s->next_free, n * sizeof *next);
    if (next)
        s->next_free = next;
    if (n == old || !v || !gen || !next)
        return false;
    for (uint32_t i = old; i < n; i++) {
        v[i] = NULL;
        gen[i] = 0;
        next[i] = i + 1 < n ? i + 1 : 0;
    }
    s->first_free = old ? old : 1; /* 0 is no number */
    s->last_free = n - 1;
    s->slots = n;
    return true;
}

/* Slots are used again in turn, the one that is free the longest first. */
static uint32_t take_slot(struct ph_streams *s)
{
    if (!s->first_free && !grow(s))
        return 0;
    const uint32_t slot = s->first_free;
    s->first_free = s->next_free[slot];
    return slot;
}

static void free_slot(struct ph_streams *s, uint32_t slot)
{
    s->v[slot] = NULL;
    s->gen[slot] = (uint16_t)((s->gen[slot] + 1) % PH__STREAM_GENERATIONS);
    s->next_free[slot] = 0;
    if (s->first_free)
        s->next_free[s->last_free] = slot;
    else
        s->first_free = slot;
    s->last_free = slot;
}

struct ph__conn *ph__stream_find(const struct ph_streams *s, uint32_t num)
{
    const uint32_t slot = ph__stream_slot(num);
    struct ph__conn *c = slot < s->slots ? s->v[slot] : NULL;

    return c && c->num == num ? c : NULL;
}

/* Not one that the caller has closed or seen ending. */
static struct ph__conn *find_ours(const struct ph_streams *s, uint32_t num)
{
    struct ph__conn *c = ph__stream_find(s, num);

    return c && c->phase < PH__STREAM_FLUSHING ? c : NULL;
}

struct ph__conn *ph__stream_open(const struct ph_streams *s, uint32_t num)
{
    struct ph__conn *c = ph__stream_find(s, num);

    return c && c->phase == PH__STREAM_OPEN && !c->broken ? c : NULL;
}

bool ph__stream_insert(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    const uint32_t slot = take_slot(s);

    if (!slot)
        return false;
    /* Whatever its deadline will be: from now on the heap has room for it. */
    c->armed_at = now + s->c.handshake_timeout;
    if (ph_heap_set(&s->timers, slot, c->armed_at)) {
        free_slot(s, slot);
        return false;
    }
    c->num = (uint32_t)s->gen[slot] << PH__STREAM_SLOT_BITS | slot;
    c->watching = 0;
    s->v[slot] = c;
    s->n++;
    s->stored += c->in.n + c->cipher.n;
    s->st.now++;
    s->st.tls_now += c->ssl != NULL;
    return true;
}

struct ph__conn *ph__stream_add(struct ph_streams *s, int fd, ph_ns now)
{
    struct ph__conn *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    *c = (struct ph__conn){
        .fd = fd, .sock = UINT32_MAX, .source = PH__SOURCE_NONE, .since = now, .last_at = now};
    if (ph__stream_insert(s, c, now))
        return c;
    free(c);
    return NULL;
}

void ph__stream_forget(struct ph_streams *s, struct ph__conn *c)
{
    ph__stream_leave(s, c);
    if (c->warm.next)
        ph__tls_cool(s, c);
    ph__list_del(&c->dirty);
    ph__list_del(&c->again);
    ph_heap_set(&s->timers, ph__stream_slot(c->num), PH_NEVER);
    ph__sources_release(&s->sources, c->source);
    c->source = PH__SOURCE_NONE;
    free_slot(s, ph__stream_slot(c->num));
    s->n--;
    s->stored -= c->in.n + c->cipher.n;
}

void ph__stream_release(struct ph__conn *c)
{
    ph__stream_purge(c);
    SSL_free(c->ssl);
    if (c->fd >= 0)
        close(c->fd);
    free(c->in.p);
    free(c->cipher.p);
    free(c->wire.p);
    free(c);
}

void ph__stream_destroy(struct ph_streams *s, struct ph__conn *c)
{
    ph__stream_forget(s, c);
    ph__stream_release(c);
}

/* --- what is to be done ---------------------------------------------------------------------------- */

void ph__stream_handed(struct ph_streams *s)
{
    const bool before = s->busy;

    s->busy = true;
    if (s->handed && s->c.calls.flush)
        s->c.calls.flush(s->c.ctx);
    s->busy = before;
    s->handed = false;
    s->in_off = 0;
}

static void see_to(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    const uint32_t num = c->num;

    if (c->broken) {
        ph__stream_lost(s, c, now);
        return;
    }
    if (c->phase >= PH__STREAM_FLUSHING) {
        ph__stream_closing(s, c, now);
        return;
    }
    if (c->full && c->queued < s->c.queue_bytes / 2) {
        c->full = false;
        if (s->c.calls.writable)
            s->c.calls.writable(s->c.ctx, num, now);
        c = ph__stream_open(s, num);
    }
    if (c && ph__stream_reads(c) && (c->in.n || c->cipher.n))
        ph__stream_read(s, c, now);
}

/* Sees to those that asked for it till now; those that ask meanwhile have the next turn. */
static void see_to_all(struct ph_streams *s, ph_ns now)
{
    struct ph__link round;

    if (ph__list_empty(&s->again))
        return;
    round = s->again;
    round.next->prev = round.prev->next = &round;
    ph__list_init(&s->again);
    while (!ph__list_empty(&round)) {
        struct ph__conn *c = ph__conn_of(round.next, offsetof(struct ph__conn, again));
        ph__list_del(&c->again);
        see_to(s, c, now);
    }
}

static void connecting_ready(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    int err = 0;
    socklen_t n = sizeof err;

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &n))
        err = errno;
    ph__stream_connected(s, c, -err, now);
}

static int socket_error(int fd)
{
    int err = 0;
    socklen_t n = sizeof err;

    getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
    return err ? err : EPIPE;
}

static void conn_ready(struct ph_streams *s, struct ph__conn *c, uint32_t events, ph_ns now)
{
    const bool gone = events & (EPOLLHUP | EPOLLERR);

    if (c->phase == PH__STREAM_CONNECTING) {
        connecting_ready(s, c, now);
        return;
    }
    if (c->phase >= PH__STREAM_FLUSHING) {
        if (c->phase == PH__STREAM_LINGERING && !ph__stream_discard(s, c))
            ph__stream_destroy(s, c);
        else if (c->phase == PH__STREAM_FLUSHING && gone)
            ph__stream_destroy(s, c);
        else
            ph__stream_closing(s, c, now);
        return;
    }
    if (events & EPOLLOUT)
        ph__stream_write(s, c);
    if (c->broken)
        ph__stream_lost(s, c, now);
    else if (ph__stream_reads(c) && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        ph__stream_read(s, c, now);
    else if (gone) /* nothing is read of it, but an error does not wait */
        ph__stream_broken(s, c, socket_error(c->fd));
}

/* --- the public face ------------------------------------------------------------------------------- */

static void defaults(struct ph_streams_conf *c)
{
    if (!c->max_conns)
        c->max_conns = MAX_CONNS;
    if (!c->max_per_addr)
        c->max_per_addr = MAX_PER_ADDR;
    if (!c->handshake_timeout)
        c->handshake_timeout = HANDSHAKE_TIMEOUT;
    if (!c->idle_timeout)
        c->idle_timeout = IDLE_TIMEOUT;
    if (!c->queue_bytes)
        c->queue_bytes = QUEUE;
}

struct ph_streams *ph_streams_new(const struct ph_streams_conf *c)
{
    struct ph_streams *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->c = *c;
    defaults(&s->c);
    s->accept_at = PH_NEVER;
    ph__list_init(&s->dirty);
    ph__list_init(&s->again);
    ph__list_init(&s->warm);
    ph_heap_init(&s->timers);
    ph__sources_init(&s->sources, c->env);
    s->in = malloc(PH__STREAM_IN);
    s->cipher = malloc(PH__STREAM_CIPHER);
    s->arena = malloc(PH__STREAM_ARENA);
    s->out = malloc(PH__STREAM_OUT);
    s->gather = malloc(PH__STREAM_RECORD);
    s->tls = c->tls ? ph_tls_ref(c->tls) : NULL;
    if (s->in && s->cipher && s->arena && s->out && s->gather)
        return s;
    ph_streams_free(s);
    return NULL;
}

void ph_streams_free(struct ph_streams *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->v[i])
            ph__stream_destroy(s, s->v[i]);
    for (uint32_t i = 0; i < s->n_listeners; i++)
        ph__stream_unlisten(s, i);
    ph_heap_fini(&s->timers);
    ph__sources_fini(&s->sources);
    ph_tls_unref(s->tls);
    free(s->listener);
    free(s->v);
    free(s->gen);
    free(s->next_free);
    free(s->in);
    free(s->cipher);
    free(s->arena);
    free(s->out);
    free(s->gather);
    free(s);
}

void ph_streams_ready(struct ph_streams *s, uint32_t id, uint32_t events, ph_ns now)
{
    s->now = now;
    if (id >> 30 == PH_STREAM_ID_CONN >> 30) {
        struct ph__conn *c = ph__stream_find(s, id & ~PH_STREAM_ID_CONN);
        if (c)
            conn_ready(s, c, events, now);
    } else if (id >> 29 == PH_STREAM_ID_LISTENER >> 29) {
        ph__stream_accept(s, id & ~PH_STREAM_ID_LISTENER, now);
    }
}

void ph_streams_flush(struct ph_streams *s, ph_ns now)
{
    s->now = now;
    ph__stream_write_all(s);
    if (s->busy || s->cur.c) /* called by what we call: the rest comes when we are done */
        return;
    s->busy = true;
    see_to_all(s, now);
    ph__stream_write_all(s);
    ph__stream_handed(s);
    s->busy = false;
}

void ph_streams_tick(struct ph_streams *s, ph_ns now)
{
    s->now = now;
    if (s->accept_at <= now)
        ph__stream_accept_again(s, now);
    for (uint32_t slot; (slot = ph_heap_pop_due(&s->timers, now)) != UINT32_MAX;) {
        struct ph__conn *c = s->v[slot];
        c->armed_at = PH_NEVER;
        if (ph__stream_due(s, c) <= now)
            ph__stream_expire(s, c, now);
        else
            ph__stream_arm(s, c);
    }
    see_to_all(s, now);
}

ph_ns ph_streams_deadline(const struct ph_streams *s)
{
    const ph_ns at = ph_min_ns(ph_heap_next(&s->timers), s->accept_at);

    return ph__list_empty(&s->again) ? at : ph_min_ns(at, s->now);
}

void ph_streams_keep(struct ph_streams *s, uint32_t conn, bool keep)
{
    struct ph__conn *c = find_ours(s, conn);

    if (!c || c->keep == keep)
        return;
    c->keep = keep;
    if (!keep)
        c->last_at = s->now;
    ph__stream_arm(s, c);
}

void ph_streams_make_raw(struct ph_streams *s, uint32_t conn)
{
    struct ph__conn *c = ph__stream_open(s, conn);

    if (!c)
        return;
    c->raw = true;
    c->held = false;
    c->begun_at = 0;
    ph__list_add(&s->again, &c->again);
    ph__stream_watch(s, c);
}

void ph_streams_resume(struct ph_streams *s, uint32_t conn)
{
    struct ph__conn *c = ph__stream_open(s, conn);

    if (!c || !c->paused)
        return;
    c->paused = false;
    ph__list_add(&s->again, &c->again);
    ph__stream_watch(s, c);
}

void ph_streams_close(struct ph_streams *s, uint32_t conn)
{
    struct ph__conn *c = find_ours(s, conn);

    if (!c)
        return;
    if (c->phase == PH__STREAM_CONNECTING || c->broken) {
        ph__stream_destroy(s, c);
        return;
    }
    ph__stream_leave(s, c);
    ph__stream_watch(s, c);
    ph__list_add(&s->again, &c->again);
}

void ph_streams_set_tls(struct ph_streams *s, struct ph_tls *tls)
{
    struct ph_tls *old = s->tls;

    s->tls = tls ? ph_tls_ref(tls) : NULL;
    ph_tls_unref(old);
}

SSL *ph_streams_ssl(const struct ph_streams *s, uint32_t conn)
{
    const struct ph__conn *c = find_ours(s, conn);

    return c ? c->ssl : NULL;
}

const struct ph_stream_stats *ph_streams_stats(const struct ph_streams *s)
{
    return &s->st;
}
