/*
 * TCP relays (RFC 6062): listeners of relays, connections to and from peers, and tying them to clients'.
 *
 *     client ==data connection== [ pair ] ==peer connection== peer
 *
 * A pair begins with its peer connection alone: nothing is read from that until the client's has come (the bytes
 * wait in the kernel, and the peer is held back by TCP).  Then what one side sends is written to the other, as much as
 * that takes and as bandwidth bounds allow; reading stops until it takes more, or for 10 ms.
 */
#include "turn/uv/priv.h"

#include "stun/base/error.h"

#include <errno.h>
#include <stdlib.h>

#define RETRY PH_MS(10) /* when there was no bandwidth to be had */

struct ph__tcprelay_listener {
    uint32_t sock;   /* the core's number; 0: free */
    uint32_t number; /* the streams' */
    uint32_t next;   /* free one */
    struct ph_addr at;
};

struct ph__tcprelay_pair {
    uint32_t id;     /* the core's number; 0: free */
    uint32_t peer;   /* connections */
    uint32_t client; /* 0: has not come yet */
    uint32_t
        credit[2]; /* bytes that were allowed, enum ph_bps_way, but not taken by the other side */
    bool waits[2]; /* for bandwidth */
    uint32_t before, after; /* in the list of those that wait */
    uint32_t next;          /* free one */
};

#define NONE PH_MAP_NONE

void ph__tcprelay_init(struct ph__tcprelay *t)
{
    *t = (struct ph__tcprelay){
        .free_listener = NONE, .free_pair = NONE, .waiting = NONE, .retry_at = PH_NEVER};
    ph_map_init(&t->by_listener);
    ph_map_init(&t->by_pair);
}

void ph__tcprelay_fini(struct ph__tcprelay *t)
{
    ph_map_fini(&t->by_listener);
    ph_map_fini(&t->by_pair);
    free(t->listener);
    free(t->pair);
    ph__tcprelay_init(t);
}

/* --- tables ---------------------------------------------------------------------------------------- */

/* All numbers here are ours: nobody can choose them to collide. */
static uint64_t mix(uint32_t number)
{
    return (number * UINT64_C(0x9E3779B97F4A7C15)) >> 32;
}

/* A free place, with all others free behind it if the table had to grow.  NONE when out of memory. */
static uint32_t take_listener(struct ph__tcprelay *t)
{
    const uint32_t n = t->listeners ? t->listeners * 2 : 16;

    if (t->free_listener == NONE) {
        struct ph__tcprelay_listener *v = realloc(t->listener, n * sizeof *v);
        if (!v)
            return NONE;
        t->listener = v;
        for (uint32_t i = n; i-- > t->listeners; t->free_listener = i)
            v[i] = (struct ph__tcprelay_listener){.next = t->free_listener};
        t->listeners = n;
    }
    const uint32_t i = t->free_listener;
    t->free_listener = t->listener[i].next;
    return i;
}

static uint32_t take_pair(struct ph__tcprelay *t)
{
    const uint32_t n = t->pairs ? t->pairs * 2 : 16;

    if (t->free_pair == NONE) {
        struct ph__tcprelay_pair *v = realloc(t->pair, n * sizeof *v);
        if (!v)
            return NONE;
        t->pair = v;
        for (uint32_t i = n; i-- > t->pairs; t->free_pair = i)
            v[i] = (struct ph__tcprelay_pair){.next = t->free_pair};
        t->pairs = n;
    }
    const uint32_t i = t->free_pair;
    t->free_pair = t->pair[i].next;
    return i;
}

/* Adds an entry under two numbers, or under none. */
static bool index_both(struct ph_map *m, uint32_t a, uint32_t b, uint32_t slot)
{
    if (ph_map_add(m, mix(a), slot))
        return false;
    if (ph_map_add(m, mix(b), slot) == 0)
        return true;
    ph_map_del(m, mix(a), slot);
    return false;
}

static struct ph__tcprelay_listener *find_listener(const struct ph__tcprelay *t, uint32_t sock)
{
    struct ph_map_it it = ph_map_find(&t->by_listener, mix(sock));

    for (; it.slot != NONE; it = ph_map_next(&t->by_listener, it))
        if (t->listener[it.slot].sock == sock)
            return &t->listener[it.slot];
    return NULL;
}

static struct ph__tcprelay_listener *listener_numbered(const struct ph__tcprelay *t,
                                                       uint32_t number)
{
    struct ph_map_it it = ph_map_find(&t->by_listener, mix(number));

    for (; it.slot != NONE; it = ph_map_next(&t->by_listener, it))
        if (t->listener[it.slot].number == number)
            return &t->listener[it.slot];
    return NULL;
}

static struct ph__tcprelay_pair *find_pair(const struct ph__tcprelay *t, uint32_t id)
{
    struct ph_map_it it = ph_map_find(&t->by_pair, mix(id));

    for (; it.slot != NONE; it = ph_map_next(&t->by_pair, it))
        if (t->pair[it.slot].id == id)
            return &t->pair[it.slot];
    return NULL;
}

static struct ph__tcprelay_pair *pair_of(const struct ph__tcprelay *t, uint32_t conn)
{
    struct ph_map_it it = ph_map_find(&t->by_pair, mix(conn));

    for (; it.slot != NONE; it = ph_map_next(&t->by_pair, it))
        if (t->pair[it.slot].peer == conn || t->pair[it.slot].client == conn)
            return &t->pair[it.slot];
    return NULL;
}

/* --- those that wait for bandwidth ----------------------------------------------------------------- */

static void begin_wait(struct ph__tcprelay *t, struct ph__tcprelay_pair *x, enum ph_bps_way way,
                       ph_ns now)
{
    const uint32_t slot = (uint32_t)(x - t->pair);
    const bool listed = x->waits[0] || x->waits[1];

    x->waits[way] = true;
    t->retry_at = ph_min_ns(t->retry_at, now + RETRY);
    if (listed)
        return;
    x->before = NONE;
    x->after = t->waiting;
    if (x->after != NONE)
        t->pair[x->after].before = slot;
    t->waiting = slot;
}

static void end_wait(struct ph__tcprelay *t, struct ph__tcprelay_pair *x)
{
    if (!x->waits[0] && !x->waits[1])
        return;
    if (x->before != NONE)
        t->pair[x->before].after = x->after;
    else
        t->waiting = x->after;
    if (x->after != NONE)
        t->pair[x->after].before = x->before;
    x->waits[0] = x->waits[1] = false;
}

void ph__tcprelay_tick(struct ph__turn_worker *w, ph_ns now)
{
    struct ph__tcprelay *t = &w->tcp;

    if (now < t->retry_at)
        return;
    t->retry_at = PH_NEVER;
    while (t->waiting != NONE) {
        struct ph__tcprelay_pair *x = &t->pair[t->waiting];
        const bool from_client = x->waits[PH_BPS_FROM_CLIENT],
                   to_client = x->waits[PH_BPS_TO_CLIENT];
        end_wait(t, x);
        if (from_client)
            ph_streams_resume(w->streams, x->client);
        if (to_client)
            ph_streams_resume(w->streams, x->peer);
    }
}

/* --- relays ---------------------------------------------------------------------------------------- */

/* On the socket that the process before had there, or a fresh one. */
static int listen_at(struct ph__turn_worker *w, const struct ph_addr *at, uint32_t *number)
{
    const char *device = w->owner->c.relay_device;
    struct ph_turn_uv_socket *before = ph__inherit_find(&w->owner->inherit, at, true, 0);

    if (!before || ph_streams_adopt_raw(w->streams, before->fd, device, number))
        return ph_streams_listen_raw(w->streams, at, device, number);
    before->fd = -1;
    return 0;
}

int ph__tcprelay_open(struct ph__turn_worker *w, uint32_t sock, const struct ph_addr *at)
{
    struct ph__tcprelay *t = &w->tcp;
    const uint32_t slot = w->streams ? take_listener(t) : NONE;
    uint32_t number;

    if (slot == NONE)
        return w->streams ? -ENOMEM : -EOPNOTSUPP;
    int err = listen_at(w, at, &number);
    if (!err && !index_both(&t->by_listener, sock, number, slot)) {
        ph_streams_unlisten_raw(w->streams, number);
        err = -ENOMEM;
    }
    struct ph__tcprelay_listener *l = &t->listener[slot];
    if (err) {
        l->next = t->free_listener;
        t->free_listener = slot;
        return err;
    }
    *l = (struct ph__tcprelay_listener){.sock = sock, .number = number, .at = *at};
    return 0;
}

static void drop_listener(struct ph__tcprelay *t, struct ph__tcprelay_listener *l)
{
    const uint32_t slot = (uint32_t)(l - t->listener);

    ph_map_del(&t->by_listener, mix(l->sock), slot);
    ph_map_del(&t->by_listener, mix(l->number), slot);
    *l = (struct ph__tcprelay_listener){.next = t->free_listener};
    t->free_listener = slot;
}

bool ph__tcprelay_close(struct ph__turn_worker *w, uint32_t sock)
{
    struct ph__tcprelay_listener *l = find_listener(&w->tcp, sock);

    if (!l)
        return false;
    ph_streams_unlisten_raw(w->streams, l->number);
    drop_listener(&w->tcp, l);
    return true;
}

int ph__tcprelay_give(struct ph__turn_worker *w, uint32_t sock)
{
    struct ph__tcprelay_listener *l = find_listener(&w->tcp, sock);

    if (!l)
        return -1;
    const int fd = ph_streams_give_raw(w->streams, l->number);
    drop_listener(&w->tcp, l);
    return fd;
}

bool ph__tcprelay_local(const struct ph__turn_worker *w, uint32_t sock, struct ph_addr *at)
{
    const struct ph__tcprelay_listener *l = find_listener(&w->tcp, sock);

    if (l)
        *at = l->at;
    return l;
}

/* --- connections to and from peers ----------------------------------------------------------------- */

/* Begins a pair with its peer connection.  False when out of memory. */
static bool add_pair(struct ph__turn_worker *w, uint32_t id, uint32_t conn)
{
    struct ph__tcprelay *t = &w->tcp;
    const uint32_t slot = take_pair(t);

    if (slot == NONE)
        return false;
    if (!index_both(&t->by_pair, id, conn, slot)) {
        t->pair[slot].next = t->free_pair;
        t->free_pair = slot;
        return false;
    }
    t->pair[slot] = (struct ph__tcprelay_pair){.id = id, .peer = conn};
    ph_streams_keep(w->streams, conn, true); /* the core knows how long */
    return true;
}

static void drop_pair(struct ph__tcprelay *t, struct ph__tcprelay_pair *x)
{
    const uint32_t slot = (uint32_t)(x - t->pair);

    end_wait(t, x);
    ph_map_del(&t->by_pair, mix(x->id), slot);
    ph_map_del(&t->by_pair, mix(x->peer), slot);
    if (x->client)
        ph_map_del(&t->by_pair, mix(x->client), slot);
    *x = (struct ph__tcprelay_pair){.next = t->free_pair};
    t->free_pair = slot;
}

void ph__tcprelay_connect(struct ph__turn_worker *w, const struct ph_turnd_ev *ev, ph_ns now)
{
    struct ph_addr local;
    uint32_t conn;
    int err = ph__tcprelay_local(w, ev->sock, &local) ? 0 : -EADDRNOTAVAIL;

    if (!err)
        err = ph_streams_connect(w->streams, &local, &ev->at, w->owner->c.relay_device, &conn, now);
    if (!err && !add_pair(w, ev->peer, conn)) {
        ph_streams_close(w->streams, conn);
        err = -ENOMEM;
    }
    if (err)
        ph_turnd_peer_connected(w->core, ev->peer, err, now);
}

void ph__tcprelay_connected(struct ph__turn_worker *w, uint32_t conn, int err, ph_ns now)
{
    struct ph__tcprelay_pair *x = pair_of(&w->tcp, conn);

    if (!x)
        return;
    const uint32_t id = x->id;
    if (err)
        drop_pair(&w->tcp, x);
    ph_turnd_peer_connected(w->core, id, err, now);
}

bool ph__tcprelay_accepted(struct ph__turn_worker *w, uint32_t listener, uint32_t conn,
                           const struct ph_addr *peer, ph_ns now)
{
    const struct ph__tcprelay_listener *l = listener_numbered(&w->tcp, listener);
    uint32_t id;

    if (!l || ph_turnd_peer_accepted(w->core, l->sock, peer, &id, now))
        return false;
    if (add_pair(w, id, conn))
        return true;
    ph_turnd_peer_closed(w->core, id, now);
    return false;
}

void ph__tcprelay_splice(struct ph__turn_worker *w, uint32_t id, uint32_t client, ph_ns now)
{
    struct ph__tcprelay *t = &w->tcp;
    struct ph__tcprelay_pair *x = find_pair(t, id);

    ph_streams_make_raw(w->streams, client);
    ph__park_forget(w, client); /* an answer would stand among the bytes */
    if (!x || ph_map_add(&t->by_pair, mix(client), (uint32_t)(x - t->pair))) {
        ph_streams_close(w->streams, client);
        if (x)
            ph__tcprelay_end(w, id);
        ph_turnd_peer_closed(w->core, id, now);
        return;
    }
    x->client = client;
    ph_streams_keep(w->streams, client, true);
    ph_streams_resume(w->streams, x->peer);
}

void ph__tcprelay_end(struct ph__turn_worker *w, uint32_t id)
{
    struct ph__tcprelay_pair *x = find_pair(&w->tcp, id);

    if (!x)
        return;
    const uint32_t peer = x->peer, client = x->client;
    drop_pair(&w->tcp, x);
    ph_streams_close(w->streams, peer);
    if (client)
        ph_streams_close(w->streams, client);
}

bool ph__tcprelay_ended(struct ph__turn_worker *w, uint32_t conn, ph_ns now)
{
    struct ph__tcprelay_pair *x = pair_of(&w->tcp, conn);

    if (!x)
        return false;
    const uint32_t id = x->id, other = conn == x->peer ? x->client : x->peer;
    drop_pair(&w->tcp, x);
    if (other)
        ph_streams_close(w->streams, other); /* after it has got what is on its way */
    ph_turnd_peer_closed(w->core, id, now);
    return true;
}

/* --- bytes ----------------------------------------------------------------------------------------- */

/* How many of n bytes may pass: credit first, then what the core grants. */
static uint32_t allowed(struct ph__turn_worker *w, struct ph__tcprelay_pair *x, enum ph_bps_way way,
                        uint32_t n, ph_ns now)
{
    if (x->credit[way] < n)
        x->credit[way] += ph_turnd_peer_bytes(w->core, x->id, way, n - x->credit[way], now);
    return x->credit[way] < n ? x->credit[way] : n;
}

size_t ph__tcprelay_bytes(struct ph__turn_worker *w, uint32_t conn, const uint8_t *p, size_t n,
                          ph_ns now)
{
    struct ph__tcprelay_pair *x = pair_of(&w->tcp, conn);

    if (!x || !x->client)
        return 0;
    const bool from_client = conn == x->client;
    const enum ph_bps_way way = from_client ? PH_BPS_FROM_CLIENT : PH_BPS_TO_CLIENT;
    const uint32_t may = allowed(w, x, way, n < UINT32_MAX ? (uint32_t)n : UINT32_MAX, now);
    const size_t k =
        may ? ph_streams_write(w->streams, from_client ? x->peer : x->client, p, may) : 0;
    x->credit[way] -= (uint32_t)k;
    if (k == may && k < n) /* else the other side will say when it has room again */
        begin_wait(&w->tcp, x, way, now);
    return k;
}

void ph__tcprelay_writable(struct ph__turn_worker *w, uint32_t conn)
{
    const struct ph__tcprelay_pair *x = pair_of(&w->tcp, conn);

    if (x && x->client)
        ph_streams_resume(w->streams, conn == x->client ? x->peer : x->client);
}
