/*
 * What has changed, and allocations as records (record.h).
 *
 * An allocation that changes is put into a list, once, until ph_turnd_changed tells of it; so whoever keeps records may be
 * slow or away as long as he likes.  Packets that are relayed change nothing.
 *
 * Times go from our monotonic clock to the wall's and back by the pair of instants that ph_turnd_wall_clock told last, so what
 * is saved and restored at one such pair is the same to the millisecond.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"

#include <stdlib.h>

/* ---- time ---- */

/* Milliseconds of decades: more than any lifetime, and far from what overflows. */
static const int64_t far_ms = INT64_C(1000) * 86400 * 365 * 50;

static int64_t near(int64_t ms)
{
    return ms < -far_ms ? -far_ms : ms > far_ms ? far_ms : ms;
}

int64_t ph__unix_ms(const struct ph_turnd *d, ph_ns at)
{
    return d->wall_s * 1000 + near((at - d->wall_at) / PH_MS(1));
}

ph_ns ph__instant(const struct ph_turnd *d, int64_t unix_ms)
{
    return d->wall_at + near(unix_ms - d->wall_s * 1000) * PH_MS(1);
}

/* ---- changes ---- */

void ph__changed(struct ph_turnd *d, uint32_t slot)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (!d->c.save || a->changed)
        return;
    a->changed = true;
    a->changed_next = PH__NONE;
    a->changed_prev = d->changed.head == PH__NONE ? PH__NONE : d->changed.tail;
    if (a->changed_prev == PH__NONE)
        d->changed.head = slot;
    else
        ph__alloc_at(d, d->changed.tail)->changed_next = slot;
    d->changed.tail = slot;
}

void ph__unchanged(struct ph_turnd *d, uint32_t slot)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (!a->changed)
        return;
    a->changed = false;
    if (a->changed_prev == PH__NONE)
        d->changed.head = a->changed_next;
    else
        ph__alloc_at(d, a->changed_prev)->changed_next = a->changed_next;
    if (a->changed_next == PH__NONE)
        d->changed.tail = a->changed_prev;
    else
        ph__alloc_at(d, a->changed_next)->changed_prev = a->changed_prev;
}

bool ph_turnd_has_changed(const struct ph_turnd *d)
{
    return d->changed.head != PH__NONE;
}

bool ph_turnd_changed(struct ph_turnd *d, uint32_t *id, uint64_t *session)
{
    const uint32_t slot = d->changed.head;

    if (slot == PH__NONE)
        return false;
    struct ph__alloc *a = ph__alloc_at(d, slot);
    ph__unchanged(d, slot);
    a->stored = true;
    *id = slot;
    *session = a->session;
    return true;
}

void ph_turnd_change_all(struct ph_turnd *d)
{
    for (uint32_t slot = 0; slot < d->chunks * PH__CHUNK; slot++)
        if (ph__alloc_at(d, slot)->state == PH__UP)
            ph__changed(d, slot);
}

uint32_t ph_turnd_find(const struct ph_turnd *d, uint64_t session)
{
    const uint32_t slot = ph__session_find(d, session);
    return slot != PH__NONE && ph__alloc_at(d, slot)->state == PH__UP ? slot : PH__NONE;
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

unsigned ph_turnd_disown(struct ph_turnd *d, const uint64_t *session, unsigned n, ph_ns now)
{
    unsigned ended = 0;

    (void)now;
    for (uint32_t slot = 0; slot < d->chunks * PH__CHUNK; slot++) {
        const struct ph__alloc *a = ph__alloc_at(d, slot);
        if (a->state != PH__UP || !a->stored ||
            (n && bsearch(&a->session, session, n, sizeof *session, compare)))
            continue;
        ph__alloc_end(d, slot, PH_END_ADOPTED);
        ended++;
    }
    return ended;
}

/* ---- records ---- */

static void put_user(struct ph_record *r, const struct ph__user *u)
{
    r->has_user = true;
    r->oauth = u->oauth;
    r->name = ph__user_name(u);
    r->realm = ph__user_realm(u);
    r->id = u->oauth ? (struct ph_slice){NULL, 0} : ph__user_id(u);
    r->key = u->key;
    r->max_allocations = u->max_allocations;
    r->max_bps = u->max_bps;
    r->cred_expires_s = u->expires_s;
}

/* Permissions and channels that have not expired. */
static void put_lists(const struct ph_turnd *d, struct ph_record *r, const struct ph__alloc *a,
                      struct ph_record_room *room, ph_ns now)
{
    for (unsigned i = 0; i < a->n_perm && r->n_perm < PH_RECORD_LIST; i++) {
        struct ph_record_perm *p = &room->perm[r->n_perm];
        if (now >= a->perm[i].expires_at)
            continue;
        memcpy(p->ip, a->perm[i].ip, sizeof p->ip);
        p->family = a->perm[i].family;
        p->expires_ms = ph__unix_ms(d, a->perm[i].expires_at);
        r->n_perm++;
    }
    for (unsigned i = 0; i < a->n_chan && r->n_chan < PH_RECORD_LIST; i++) {
        struct ph_record_chan *c = &room->chan[r->n_chan];
        if (now >= a->chan[i].expires_at)
            continue;
        c->peer = a->chan[i].peer;
        c->number = a->chan[i].number;
        c->expires_ms = ph__unix_ms(d, a->chan[i].expires_at);
        r->n_chan++;
    }
    r->perm = room->perm;
    r->chan = room->chan;
}

/* What is counted of it beside what is relayed. */
static void put_usage(struct ph_record *r, const struct ph__alloc *a)
{
    if (!a->usage)
        return;
    r->in_packets = a->usage->in_packets;
    r->in_bytes = a->in_bytes;
    r->out_packets = a->usage->out_packets;
    r->out_bytes = a->out_bytes;
    r->peer_packets = a->usage->peer_packets;
    r->peer_bytes = a->usage->peer_bytes;
}

static void put_legs(struct ph_record *r, const struct ph__alloc *a)
{
    for (unsigned i = 0; i < 2; i++) {
        if (a->leg[i].state == PH__LEG_UP)
            r->relay[i] = a->leg[i].at;
        else if (a->leg[i].state == PH__LEG_FAILED)
            r->code[i] = a->leg[i].code;
    }
}

size_t ph_turnd_save(const struct ph_turnd *d, uint32_t id, uint8_t *dst, size_t cap, ph_ns now)
{
    const struct ph__alloc *a = id < d->chunks * PH__CHUNK ? ph__alloc_at(d, id) : NULL;
    struct ph_record_room room;

    if (!a || a->state != PH__UP)
        return 0;
    /* A connection does not outlive the process, nor do those of a TCP relay: its client comes back with its ticket. */
    const bool away = a->away || a->client.proto != PH_UDP || a->tcp;
    if (away && !a->mobile)
        return 0;
    struct ph_record r = {
        .session = a->session,
        .client = a->client,
        .listener = d->c.listener[a->listener].at,
        .away = away,
        .tcp = a->tcp != NULL,
        .sha256 = a->sha256,
        .fingerprint = a->fingerprint,
        .draft = a->draft,
        .both = a->both,
        .counted = a->counted,
        .lifetime_s = a->lifetime_s,
        .created_ms = ph__unix_ms(d, a->created_at),
        .expires_ms = ph__unix_ms(d, a->expires_at),
        .to_peer_packets = a->to_peer_packets,
        .to_peer_bytes = a->to_peer_bytes,
        .to_client_packets = a->to_client_packets,
        .to_client_bytes = a->to_client_bytes,
        .dropped = a->dropped,
        .serial = a->mobile ? a->mobile->serial : 0,
        .serial_before = a->mobile ? a->mobile->before : 0,
        .cred_expires_s = INT64_MAX,
    };
    memcpy(r.txid, a->txid, sizeof r.txid);
    put_legs(&r, a);
    put_usage(&r, a);
    if (a->user)
        put_user(&r, a->user);
    put_lists(d, &r, a, &room, now);
    const int n = ph_record_write(&r, dst, cap);
    ph_wipe(&r.key, sizeof r.key);
    return n < 0 ? 0 : (size_t)n;
}
