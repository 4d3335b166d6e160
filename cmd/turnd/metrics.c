/*
 * What is counted beside the workers: how long allocations last, how much they carry, why they end, and for whom.
 */
#include "cmd/turnd/metrics_priv.h"

#include <stdlib.h>
#include <string.h>

/* Twelve bounds each: the shape of calls (minutes), of quotas (megabytes), of what clients ask for. */
static const struct ph__thist DURATION = {
    .bound = {1, 5, 15, 60, 300, 600, 1800, 3600, 7200, 21600, 86400, 604800},
    .n = 12,
    .parts = 1000};
static const struct ph__thist BYTES = {.bound = {0, 1000, 10000, 100000, 1000000, 10000000,
                                                 100000000, 1000000000, 10000000000, 100000000000},
                                       .n = 10,
                                       .parts = 1};
static const struct ph__thist LIFETIME = {
    .bound = {60, 300, 600, 900, 1200, 1800, 3600, 7200, 86400}, .n = 9, .parts = 1};

static void hist_copy(struct ph__thist *h, const struct ph__thist *from)
{
    memcpy(h->bound, from->bound, sizeof h->bound);
    h->n = from->n;
    h->parts = from->parts;
}

static void hist_add(struct ph__thist *h, uint64_t v)
{
    unsigned i = 0;
    while (i < h->n && v > h->bound[i] * h->parts)
        i++;
    h->count[i]++;
    h->sum += v;
}

struct ph_tmetrics *ph_tmetrics_new(bool users)
{
    struct ph_tmetrics *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->users = users;
    m->max = (users ? PH_TMETRICS_USERS : PH_TURND_REALMS + 1) + 1;
    m->user = calloc(m->max, sizeof *m->user);
    if (!m->user) {
        free(m);
        return NULL;
    }
    hist_copy(&m->duration, &DURATION);
    hist_copy(&m->bytes, &BYTES);
    hist_copy(&m->lifetime, &LIFETIME);
    pthread_mutex_init(&m->writing, NULL);
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void ph_tmetrics_free(struct ph_tmetrics *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->writing);
    pthread_mutex_destroy(&m->lock);
    free(m->user);
    free(m);
}

/* ---- users ---- */

static bool all_digits(struct ph_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

/* The part of a REST name ("1735689600:alice") that stays the same from one credential to the next: else every session
 * would be a user of its own. */
static struct ph_slice user_part(struct ph_slice name)
{
    const uint8_t *colon = name.n ? memchr(name.p, ':', name.n) : NULL;
    if (!colon)
        return name;
    size_t head = (size_t)(colon - name.p);
    const struct ph_slice before = {name.p, head}, after = {colon + 1, name.n - head - 1};
    if (after.n && all_digits(before))
        return after;
    return before.n && all_digits(after) ? before : name;
}

static void put_name(char *dst, size_t room, struct ph_slice s)
{
    size_t n = 0; /* a NUL ends it: such names share a row, which is no harm */
    for (; n + 1 < room && n < s.n && s.p[n]; n++)
        dst[n] = (char)s.p[n];
    dst[n] = '\0';
}

/* FNV-1a.  Those who can choose names have authenticated, and there are a thousand rows. */
static uint32_t hash(const char *realm, const char *user)
{
    uint32_t h = 2166136261u;
    for (const char *p = realm; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    h *= 16777619u;
    for (const char *p = user; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    return h;
}

/* The row of a session; with the lock held. */
static struct ph__tuser *row_of(struct ph_tmetrics *m, const struct ph_turnd_info *i)
{
    struct ph__tuser key = {0};
    put_name(key.realm, sizeof key.realm, i->realm);
    if (m->users)
        put_name(key.user, sizeof key.user, user_part(i->user));
    uint32_t at = hash(key.realm, key.user) & (PH_TMETRICS_SLOTS - 1);
    for (; m->slot[at]; at = (at + 1) & (PH_TMETRICS_SLOTS - 1)) {
        struct ph__tuser *u = &m->user[m->slot[at] - 1];
        if (strcmp(u->realm, key.realm) == 0 && strcmp(u->user, key.user) == 0)
            return u;
    }
    if (m->n + 1 < m->max) {
        m->user[m->n] = key;
        m->slot[at] = (uint16_t)++m->n;
        return &m->user[m->n - 1];
    }
    struct ph__tuser *other = &m->user[m->max - 1]; /* in no slot: nobody's name leads here */
    if (m->n < m->max) {
        strcpy(m->users ? other->user : other->realm, "other");
        m->n = m->max;
    }
    return other;
}

static void add_traffic(uint64_t sum[static PH_TMETRICS_WAYS], const struct ph_turnd_info *i)
{
    sum[0] += i->to_peer_packets;
    sum[1] += i->to_peer_bytes;
    sum[2] += i->to_client_packets;
    sum[3] += i->to_client_bytes;
}

/* On a worker's thread. */
static bool add_live(void *ctx, unsigned worker, const struct ph_turnd_info *i)
{
    struct ph_tmetrics *m = ctx;
    (void)worker;
    pthread_mutex_lock(&m->lock);
    add_traffic(row_of(m, i)->live, i);
    pthread_mutex_unlock(&m->lock);
    return true;
}

/* A session that ends between the two looks is missed this time, so nothing is counted twice; and no counter goes
 * back, which Prometheus would take for a restart. */
void ph__tmetrics_users(struct ph_tmetrics *m, struct ph_turn_uv *server)
{
    pthread_mutex_lock(&m->lock);
    for (unsigned i = 0; i < m->max; i++)
        memcpy(m->user[i].live, m->user[i].ended, sizeof m->user[i].live);
    pthread_mutex_unlock(&m->lock);
    ph_turn_uv_list(server, add_live, m);
    pthread_mutex_lock(&m->lock);
    for (unsigned i = 0; i < m->max; i++)
        for (unsigned k = 0; k < PH_TMETRICS_WAYS; k++)
            if (m->user[i].told[k] < m->user[i].live[k])
                m->user[i].told[k] = m->user[i].live[k];
    m->n_told = m->n;
    pthread_mutex_unlock(&m->lock);
}

/* ---- events ---- */

static uint64_t in_units(ph_ns span, ph_ns unit)
{
    return span > 0 ? (uint64_t)(span / unit) : 0;
}

static void ended(struct ph_tmetrics *m, const struct ph_turnd_ev *ev, ph_ns now)
{
    const struct ph_turnd_info *i = &ev->info;
    hist_add(&m->duration, in_units(now - i->created_at, PH_MS(1)));
    hist_add(&m->bytes, i->to_peer_bytes + i->to_client_bytes);
    if ((unsigned)ev->reason < PH_TMETRICS_REASONS)
        m->reason[ev->reason]++;
    pthread_mutex_lock(&m->lock);
    add_traffic(row_of(m, i)->ended, i);
    pthread_mutex_unlock(&m->lock);
}

void ph_tmetrics_event(struct ph_tmetrics *m, const struct ph_turnd_ev *ev, ph_ns now)
{
    if (ev->type == PH_TURND_ALLOC_UP && !ev->info.restored)
        hist_add(&m->lifetime, in_units(ev->info.expires_at - ev->info.created_at, PH_SEC(1)));
    else if (ev->type == PH_TURND_ALLOC_DOWN)
        ended(m, ev, now);
}
