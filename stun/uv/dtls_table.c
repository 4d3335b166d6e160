/*
 * The sessions: slots, found by client and listener or by number, and who of them has buffers.
 *
 * OpenSSL keeps 17 kB to read and as much to write for every DTLS session, idle or not (SSL_MODE_RELEASE_BUFFERS is
 * for streams only).  Allocating them for every packet would be slow, so the PH__DTLS_WARM sessions that were used
 * of late have theirs, by the clock algorithm, and all others none.
 */
#include "stun/uv/dtls_priv.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 64, CLOCK_STEPS = 8 };

static uint64_t hash_of(const struct ph_dtls *d, uint32_t sock, const struct ph_addr *client)
{
    struct {
        struct ph_addr client;
        uint32_t sock;
    } key = {*client, sock};
    _Static_assert(sizeof key == sizeof key.client + sizeof key.sock, "hashed as a whole");
    return ph_hash(&d->key, &key, sizeof key);
}

struct ph__dtls_session *ph__dtls_find(struct ph_dtls *d, uint32_t sock,
                                       const struct ph_addr *client)
{
    struct ph_map_it it = ph_map_find(&d->by_client, hash_of(d, sock, client));

    for (; it.slot != PH_MAP_NONE; it = ph_map_next(&d->by_client, it)) {
        struct ph__dtls_session *s = &d->s[it.slot];
        if (s->sock == sock && ph_addr_eq(&s->client, client))
            return s;
    }
    return NULL;
}

struct ph__dtls_session *ph__dtls_by_conn(const struct ph_dtls *d, uint32_t conn)
{
    uint32_t slot = conn & d->slot_mask;

    if (!(conn & PH_DTLS_CONN) || slot >= d->n || d->s[slot].conn != conn || !d->s[slot].ssl)
        return NULL;
    return &d->s[slot];
}

static uint32_t slot_of(const struct ph_dtls *d, const struct ph__dtls_session *s)
{
    return (uint32_t)(s - d->s);
}

/* A free slot, or UINT32_MAX.  Sessions may move. */
static uint32_t take_slot(struct ph_dtls *d)
{
    if (d->free_first) {
        uint32_t slot = d->free_first - 1;
        d->free_first = d->s[slot].next_free;
        return slot;
    }
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : FIRST_SLOTS;
        struct ph__dtls_session *s = realloc(d->s, cap * sizeof *s);
        if (!s)
            return UINT32_MAX;
        memset(s + d->cap, 0, (cap - d->cap) * sizeof *s);
        d->s = s;
        d->cap = cap;
    }
    d->s[d->n].conn = PH_DTLS_CONN | d->n;
    return d->n++;
}

/* Back to the end of the queue, with another number. */
static void give_slot(struct ph_dtls *d, uint32_t slot)
{
    uint32_t conn = PH_DTLS_CONN | (d->s[slot].conn + d->slot_mask + 1);

    d->s[slot] = (struct ph__dtls_session){.conn = conn};
    if (d->free_first)
        d->s[d->free_last - 1].next_free = slot + 1;
    else
        d->free_first = slot + 1;
    d->free_last = slot + 1;
}

struct ph__dtls_session *ph__dtls_add(struct ph_dtls *d, SSL *ssl, uint32_t source,
                                      const struct ph_pkt *p, ph_ns now)
{
    struct ph_addr client = p->src;
    client.proto = PH_DTLS;
    uint32_t hash = (uint32_t)hash_of(d, p->sock, &client), slot = take_slot(d);

    if (slot == UINT32_MAX)
        return NULL;
    if (ph_map_add(&d->by_client, hash, slot)) {
        give_slot(d, slot);
        return NULL;
    }
    if (ph_heap_set(&d->due, slot, now + d->c.handshake_timeout)) {
        ph_map_del(&d->by_client, hash, slot);
        give_slot(d, slot);
        return NULL;
    }
    struct ph__dtls_session *s = &d->s[slot];
    *s = (struct ph__dtls_session){.ssl = ssl,
                                   .since_at = now,
                                   .client = client,
                                   .local = p->dst,
                                   .sock = p->sock,
                                   .conn = s->conn,
                                   .source = source,
                                   .hash = hash};
    d->stats.now++;
    return s;
}

void ph__dtls_remove(struct ph_dtls *d, struct ph__dtls_session *s)
{
    uint32_t slot = slot_of(d, s);

    ph_map_del(&d->by_client, s->hash, slot);
    ph_heap_set(&d->due, slot, PH_NEVER);
    ph__sources_release(&d->sources, s->source);
    SSL_free(s->ssl);
    give_slot(d, slot);
    d->stats.now--;
}

/* The place where the hand stops: its session, if there is one, has not been used for a round, or nobody has not. */
static struct ph__dtls_session *coldest(struct ph_dtls *d)
{
    for (unsigned i = 0;; i++) {
        uint32_t slot = d->warm[d->warm_hand];
        struct ph__dtls_session *s = slot < d->n ? &d->s[slot] : NULL;
        if (!s || s->warm_at != d->warm_hand + 1)
            return NULL;
        if (!s->used || i == CLOCK_STEPS)
            return s;
        s->used = false;
        d->warm_hand = (d->warm_hand + 1) % PH__DTLS_WARM;
    }
}

bool ph__dtls_warm(struct ph_dtls *d, struct ph__dtls_session *s)
{
    s->used = true;
    if (s->warm_at)
        return true;
    struct ph__dtls_session *cold = coldest(d);
    if (cold)
        ph__dtls_cool(d, cold);
    if (!SSL_alloc_buffers(s->ssl))
        return false;
    d->warm[d->warm_hand] = slot_of(d, s);
    d->warm_hand = (d->warm_hand + 1) % PH__DTLS_WARM;
    s->warm_at = (uint16_t)(d->warm_hand ? d->warm_hand : PH__DTLS_WARM);
    return true;
}

void ph__dtls_cool(struct ph_dtls *d, struct ph__dtls_session *s)
{
    (void)d;
    SSL_free_buffers(s->ssl); /* keeps them if a record waits in them */
    s->warm_at = 0;
}

void ph__dtls_table_fini(struct ph_dtls *d)
{
    for (uint32_t i = 0; i < d->n; i++)
        SSL_free(d->s[i].ssl);
    free(d->s);
    ph_map_fini(&d->by_client);
    ph_heap_fini(&d->due);
    ph__sources_fini(&d->sources);
}
