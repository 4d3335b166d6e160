/*
 * Packets that wait: for a look-up of their user, or for their allocation to come from another worker.
 *
 * A waiting packet is a copy, of which there are few and small ones; a flood of requests for unknown users fills the
 * places of its own address only, and then has its packets dropped.  Clients send again what they get no answer to,
 * and that is not taken twice.  On connections nothing is sent again: there, what finds no place is answered with an
 * error.
 */
#include "turn/uv/priv.h"

#include "stun/codec/demux.h"
#include "stun/codec/msg.h"

#include <stdlib.h>
#include <string.h>

#define LOOKUP_TIMEOUT PH_SEC(3)  /* unless configured */
#define FETCH_AT_MOST  PH_SEC(10) /* the other worker had no memory to answer */

struct ph__parked {
    struct ph__parked *next; /* in ph__park.list */
    uint32_t id;
    bool fetch;                  /* waits for an allocation, else for a look-up */
    bool orphan;                 /* its connection is gone */
    ph_ns until;                 /* then it is handed in for good */
    struct ph_slice realm, name; /* of its user, in data */
    struct ph_pkt p;             /* without b */
    uint32_t len;
    uint8_t data[];
};

void ph__park_init(struct ph__park *k)
{
    *k = (struct ph__park){.due = PH_NEVER};
}

void ph__park_fini(struct ph__park *k)
{
    while (k->n)
        free(k->v[--k->n]);
    ph__park_init(k);
}

/* --- in -------------------------------------------------------------------------------------------- */

static bool same_source(const struct ph_addr *a, const struct ph_addr *b)
{
    if (a->family == PH_AF_INET6 && b->family == PH_AF_INET6)
        return memcmp(a->ip, b->ip, 8) == 0;
    return ph_addr_eq_ip(a, b);
}

/* The same message again. */
static bool is_again(const struct ph__parked *e, const struct ph_pkt *p)
{
    enum { TXID_AT = 8 };

    return e->p.conn == p->conn && e->p.sock == p->sock && ph_addr_eq(&e->p.src, &p->src) &&
           p->b.len >= PH_STUN_HEADER && e->len >= PH_STUN_HEADER &&
           ph_demux(ph_buf_data(&p->b), p->b.len) == PH_DEMUX_STUN &&
           memcmp(e->data + TXID_AT, ph_buf_data(&p->b) + TXID_AT, PH_TXID_LEN) == 0;
}

enum place { PLACE, AGAIN, FULL };

static enum place place_for(const struct ph__park *k, const struct ph_pkt *p)
{
    unsigned of_source = 0;

    for (unsigned i = 0; i < k->n; i++) {
        if (is_again(k->v[i], p))
            return AGAIN;
        of_source += same_source(&k->v[i]->p.src, &p->src);
    }
    if (k->n == PH__PARK_PACKETS || k->bytes + p->b.len > PH__PARK_BYTES ||
        of_source >= PH__PARK_SOURCE || p->b.len > PH_BATCH_SCRATCH_ROOM)
        return FULL;
    return PLACE;
}

static struct ph__parked *copy(const struct ph_pkt *p)
{
    struct ph__parked *e = malloc(sizeof *e + p->b.len);
    struct ph_msg m;

    if (!e)
        return NULL;
    *e = (struct ph__parked){.p = *p, .len = p->b.len};
    memcpy(e->data, ph_buf_data(&p->b), p->b.len);
    if (ph_msg_parse(&m, e->data, e->len) == 0) { /* absent ones stay empty */
        ph_msg_bytes(&m, PH_IX_REALM, &e->realm);
        ph_msg_bytes(&m, PH_IX_USERNAME, &e->name);
    }
    return e;
}

/* Lets a packet wait.  NULL: it does not; *full tells whether that is for want of a place. */
static struct ph__parked *add(struct ph__park *k, const struct ph_pkt *p, ph_ns until, bool *full)
{
    const enum place place = place_for(k, p);
    struct ph__parked *e = place == PLACE ? copy(p) : NULL;

    *full = !e && place != AGAIN;
    k->full += *full;
    if (!e)
        return NULL;
    if (++k->last_id == 0)
        k->last_id = 1;
    e->id = k->last_id;
    e->until = until;
    k->v[k->n++] = e;
    k->bytes += e->len;
    k->due = ph_min_ns(k->due, until);
    return e;
}

/* What came by a connection gets an answer in any case. */
static void refuse(struct ph__turn_worker *w, const struct ph_pkt *p, ph_ns now)
{
    struct ph_pkt now_or_never = *p;

    if (p->conn)
        ph__client_input(w, &now_or_never, true, now);
}

void ph__park_lookup(struct ph__turn_worker *w, const struct ph_pkt *p, ph_ns now)
{
    const ph_ns timeout = w->owner->userdb.timeout ? w->owner->userdb.timeout : LOOKUP_TIMEOUT;
    bool full;

    if (!add(&w->park, p, w->park.until ? w->park.until : now + timeout, &full) && full)
        refuse(w, p, now);
}

uint32_t ph__park_fetch(struct ph__turn_worker *w, const struct ph_pkt *p, ph_ns now)
{
    bool full;
    struct ph__parked *e = add(&w->park, p, now + FETCH_AT_MOST, &full);

    if (e)
        e->fetch = true;
    else if (full)
        refuse(w, p, now);
    return e ? e->id : 0;
}

/* --- out ------------------------------------------------------------------------------------------- */

static struct ph__parked *take(struct ph__park *k, unsigned i)
{
    struct ph__parked *e = k->v[i];

    k->v[i] = k->v[--k->n];
    k->bytes -= e->len;
    return e;
}

static void hand_in(struct ph__turn_worker *w, struct ph__parked *e, bool final, ph_ns now)
{
    struct ph_pkt p;

    ph_batch_scratch(w->batch, &p);
    memcpy(ph_buf_data(&p.b), e->data, e->len);
    p.b.len = e->len;
    p.src = e->p.src;
    p.dst = e->p.dst;
    p.sock = e->p.sock;
    p.conn = e->p.conn;
    w->park.until = e->until; /* if it must wait again, not longer */
    if (p.conn)
        ph__client_input(w, &p, final, now);
    else
        ph__turn_act(w, &p, final ? ph__turn_input_final(w, &p, now) : ph__turn_input(w, &p, now),
                     now);
    w->park.until = 0;
    ph__client_keep(w, ph_turnd_left(w->core), false);
    ph__turn_worker_drain(w, now);
    if (e->orphan) /* an allocation that has come for it waits for its client again */
        ph_turnd_conn_closed(w->core, e->p.sock, &e->p.src, now);
    free(e);
}

/* Hands in what fits, all taken out before: they may come back. */
struct choice {
    bool (*fits)(const struct ph__parked *e, const void *ctx);
    const void *ctx;
};

static void hand_in_those(struct ph__turn_worker *w, struct choice c, bool final, ph_ns now)
{
    struct ph__park *k = &w->park;
    struct ph__parked **tail = &k->list, *e;

    for (unsigned i = 0; i < k->n;) {
        if (!c.fits(k->v[i], c.ctx)) {
            i++;
            continue;
        }
        *tail = take(k, i);
        tail = &(*tail)->next;
    }
    while ((e = k->list)) {
        k->list = e->next;
        if (e->orphan && !e->fetch) /* since then */
            free(e);
        else
            hand_in(w, e, final, now);
    }
}

void ph__park_fetched(struct ph__turn_worker *w, uint32_t id, bool final, ph_ns now)
{
    for (unsigned i = 0; i < w->park.n; i++)
        if (w->park.v[i]->id == id) {
            struct ph__parked *e = take(&w->park, i);
            e->until = 0; /* of the look-up it may still need */
            hand_in(w, e, final, now);
            return;
        }
}

struct answered {
    struct ph_slice realm, name;
};

static bool is_user(const struct ph__parked *e, const void *ctx)
{
    const struct answered *a = ctx;

    return !e->fetch && ph_slice_eq(e->name, a->name) && ph_slice_eq(e->realm, a->realm);
}

void ph__park_answered(struct ph__turn_worker *w, struct ph_slice realm, struct ph_slice name,
                       bool final, ph_ns now)
{
    const struct answered a = {realm, name};

    hand_in_those(w, (struct choice){is_user, &a}, final, now);
}

static bool is_lookup(const struct ph__parked *e, const void *ctx)
{
    (void)ctx;
    return !e->fetch;
}

void ph__park_try_all(struct ph__turn_worker *w, ph_ns now)
{
    hand_in_those(w, (struct choice){is_lookup, NULL}, false, now);
}

static bool is_due(const struct ph__parked *e, const void *ctx)
{
    const ph_ns *now = ctx;

    return e->until <= *now;
}

void ph__park_tick(struct ph__turn_worker *w, ph_ns now)
{
    struct ph__park *k = &w->park;

    if (now < k->due)
        return;
    hand_in_those(w, (struct choice){is_due, &now}, true, now);
    k->due = PH_NEVER;
    for (unsigned i = 0; i < k->n; i++)
        k->due = ph_min_ns(k->due, k->v[i]->until);
}

void ph__park_forget(struct ph__turn_worker *w, uint32_t conn)
{
    struct ph__park *k = &w->park;

    for (struct ph__parked *e = k->list; e; e = e->next)
        e->orphan |= e->p.conn == conn;
    for (unsigned i = 0; i < k->n;) {
        struct ph__parked *e = k->v[i];
        e->orphan |= e->p.conn == conn;
        if (e->orphan && !e->fetch)
            free(take(k, i));
        else
            i++;
    }
}
