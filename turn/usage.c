/*
 * What coturn's statistics count of a session (struct ph_turnd_usage), and when they are told.
 *
 * Each packet of an allocation counts when it comes and again when it goes on, control messages and what is dropped
 * included; after every 4096 of these counts there is an ALLOC_TRAFFIC event with what has come together since the last.
 *
 * The data path counts relayed packets and payload anyway.  All it does for this is to count down to the next event and
 * to add up bytes of headers beyond a ChannelData header each (a->in_bytes, a->out_bytes); the rest is made of these
 * when it is asked for.  What is not relayed is counted here, on the allocation; or, while a client has none yet, in a small
 * table that its allocation takes it out of: coturn's session begins with the first packet, which is answered 401.  That
 * table forgets under a flood: then the first packets of a session are missing in its numbers.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"
#include "turn/chandata.h"

#include <stdlib.h>

enum {
    PERIOD = 4096, /* counts from one ALLOC_TRAFFIC to the next */
    PLACES = 4096, /* of the table: a power of two */
    WAYS = 2,      /* places that a five-tuple may have */
    FORGET_S = 60  /* coturn's sessions end after so long without an allocation */
};

/* A client without allocation. */
struct ph__before {
    uint64_t tag; /* of its five-tuple, 0: free */
    uint32_t at_s;
    uint32_t in_packets, in_bytes, out_packets, out_bytes;
};

/* --- an allocation --------------------------------------------------------------------------------- */

static struct ph_turnd_usage total(const struct ph__alloc *a)
{
    const struct ph__usage *u = a->usage;

    return (struct ph_turnd_usage){
        .received_packets = a->to_peer_packets + u->in_packets,
        .received_bytes = a->to_peer_bytes + a->to_peer_packets * PH_CHANNEL_HEADER + a->in_bytes,
        .sent_packets = a->to_client_packets + u->out_packets,
        .sent_bytes = a->to_client_bytes + a->to_client_packets * PH_CHANNEL_HEADER + a->out_bytes,
        .peer_received_packets = a->to_client_packets + u->peer_packets,
        .peer_received_bytes = a->to_client_bytes + u->peer_bytes,
        .peer_sent_packets = a->to_peer_packets,
        .peer_sent_bytes = a->to_peer_bytes,
    };
}

static void sub(struct ph_turnd_usage *u, const struct ph_turnd_usage *less)
{
    u->received_packets -= less->received_packets;
    u->received_bytes -= less->received_bytes;
    u->sent_packets -= less->sent_packets;
    u->sent_bytes -= less->sent_bytes;
    u->peer_received_packets -= less->peer_received_packets;
    u->peer_received_bytes -= less->peer_received_bytes;
    u->peer_sent_packets -= less->peer_sent_packets;
    u->peer_sent_bytes -= less->peer_sent_bytes;
}

void ph__usage_info(const struct ph__alloc *a, struct ph_turnd_info *out)
{
    if (!a->usage)
        return;
    out->usage = out->untold = total(a);
    sub(&out->untold, &a->usage->told);
}

void ph__usage_tell(struct ph__alloc *a, bool all, struct ph_turnd_usage *out)
{
    struct ph__usage *u = a->usage;

    *out = (struct ph_turnd_usage){0};
    if (!u)
        return;
    if (all)
        u->due = total(a);
    *out = u->due;
    sub(out, &u->told);
    u->told = u->due;
}

static uint64_t packets(const struct ph_turnd_usage *u)
{
    return u->received_packets + u->sent_packets + u->peer_received_packets + u->peer_sent_packets;
}

static bool is_on_stream(const struct ph__alloc *a)
{
    return a->client.proto == PH_TCP || a->client.proto == PH_TLS;
}

/* Something has been counted, and `last` of it just now: that is not of a period which has ended with the count before. */
static void look(struct ph_turnd *d, uint32_t slot, const struct ph_turnd_usage *last)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    struct ph__usage *u = a->usage;
    const struct ph_turnd_usage now = total(a);
    uint64_t n = packets(&now) - packets(&u->due);
    if (n >= PERIOD) {
        u->due = now;
        if (n > PERIOD)
            sub(&u->due, last);
        ph__alloc_event(d, slot, PH__EV_TRAFFIC);
        n = packets(&now) - packets(&u->due);
    }
    a->usage_left = is_on_stream(a) ? 0 : (int32_t)(PERIOD - n);
}

void ph__usage_relayed(struct ph_turnd *d, uint32_t slot, enum ph_bps_way way, uint32_t bytes)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    struct ph_turnd_usage last = {0};

    if (!a->usage) {
        a->usage_left = INT32_MAX;
        return;
    }
    if (way == PH_BPS_FROM_CLIENT) {
        last.peer_sent_packets = 1;
        last.peer_sent_bytes = bytes;
    } else {
        uint32_t pad = is_on_stream(a) && !a->tcp ? -bytes & 3 : 0;
        a->out_bytes += pad;
        last.sent_packets = 1;
        last.sent_bytes = bytes + pad;
    }
    look(d, slot, &last);
}

/* A count that was made here. */
static void counted(struct ph_turnd *d, uint32_t slot)
{
    static const struct ph_turnd_usage nothing;

    if (--ph__alloc_at(d, slot)->usage_left <= 0)
        look(d, slot, &nothing);
}

void ph__usage_in(struct ph_turnd *d, uint32_t slot, uint32_t bytes)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (!a->usage)
        return;
    a->usage->in_packets++;
    a->in_bytes += bytes;
    counted(d, slot);
}

void ph__usage_out(struct ph_turnd *d, uint32_t slot, uint32_t bytes)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (!a->usage)
        return;
    a->usage->out_packets++;
    a->out_bytes += bytes;
    counted(d, slot);
}

void ph__usage_peer(struct ph_turnd *d, uint32_t slot, uint32_t bytes)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (!a->usage)
        return;
    a->usage->peer_packets++;
    a->usage->peer_bytes += bytes;
    counted(d, slot);
}

void ph_turnd_tell_traffic(struct ph_turnd *d)
{
    for (uint32_t slot = 0; slot < d->chunks * PH__CHUNK; slot++) {
        struct ph__alloc *a = ph__alloc_at(d, slot);
        if (a->state != PH__UP || !a->usage)
            continue;
        a->usage->due = total(a);
        a->usage_left = 0; /* a new period begins */
        if (packets(&a->usage->due) != packets(&a->usage->told))
            ph__alloc_event(d, slot, PH__EV_TRAFFIC);
    }
}

int ph__drop_from_client(struct ph_turnd *d, uint32_t slot, uint32_t bytes, uint64_t *why)
{
    ph__alloc_at(d, slot)->dropped++;
    ph__usage_in(d, slot, bytes);
    *why += 1;
    return PH_DROP;
}

int ph__drop_from_peer(struct ph_turnd *d, uint32_t sock, uint32_t bytes, uint64_t *why)
{
    uint32_t slot = (sock & ~PH_SOCK_RELAY) >> 1;

    ph__alloc_at(d, slot)->dropped++;
    ph__usage_peer(d, slot, bytes);
    *why += 1;
    return PH_DROP;
}

void ph__usage_refreshed(struct ph_turnd *d, uint32_t slot, uint32_t lifetime_s)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (!a->usage)
        return;
    a->refreshed_s = lifetime_s;
    ph__alloc_event(d, slot, PH__EV_REFRESHED);
}

/* --- before there is one --------------------------------------------------------------------------- */

static struct ph__before *find(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener,
                               ph_ns now)
{
    const struct {
        struct ph_addr client;
        uint32_t listener;
    } tuple = {*client, listener};
    uint64_t tag = ph_hash(&d->hash_key, &tuple, sizeof tuple) | 1;
    struct ph__before *b = &d->before[tag / 2 % (PLACES / WAYS) * WAYS], *oldest = b;
    uint32_t now_s = (uint32_t)(now / PH_SEC(1));

    for (unsigned i = 0; i < WAYS; i++) {
        if (b[i].tag == tag && now_s - b[i].at_s < FORGET_S)
            return &b[i];
        if (!b[i].tag || (oldest->tag && now_s - b[i].at_s > now_s - oldest->at_s))
            oldest = &b[i];
    }
    *oldest = (struct ph__before){.tag = tag, .at_s = now_s};
    return oldest;
}

int ph__usage_init(struct ph_turnd *d)
{
    if (!d->c.stats)
        return 0;
    d->before = calloc(PLACES, sizeof *d->before);
    return d->before ? 0 : PH_E_NOMEM;
}

int ph__usage_begin(struct ph_turnd *d, struct ph__alloc *a, ph_ns now)
{
    if (!d->before)
        return 0;
    a->usage = calloc(1, sizeof *a->usage);
    if (!a->usage)
        return PH_E_NOMEM;
    struct ph__before *b = find(d, &a->client, a->listener, now);
    a->usage->in_packets = b->in_packets;
    a->usage->out_packets = b->out_packets;
    a->in_bytes = b->in_bytes;
    a->out_bytes = b->out_bytes;
    b->tag = 0;
    return 0;
}

int ph__drop_message(struct ph_turnd *d, const struct ph_pkt *p, uint64_t *why, ph_ns now)
{
    if (why)
        *why += 1;
    if (d->before)
        ph__usage_heard(d, &(struct ph__heard){p->src, p->sock, p->b.len, PH__NONE}, 0, now);
    return PH_DROP;
}

void ph__usage_heard(struct ph_turnd *d, const struct ph__heard *h, uint32_t out, ph_ns now)
{
    uint32_t slot = h->slot != PH__NONE ? h->slot : ph__tuple_find(d, &h->client, h->listener);

    if (slot != PH__NONE) {
        ph__usage_in(d, slot, h->bytes);
        if (out)
            ph__usage_out(d, slot, out);
        return;
    }
    struct ph__before *b = find(d, &h->client, h->listener, now);
    b->in_packets++;
    b->in_bytes += h->bytes;
    b->out_packets += out > 0;
    b->out_bytes += out;
}
