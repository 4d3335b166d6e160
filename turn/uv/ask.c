/*
 * The public face of the TURN shell: questions to the workers, and what they are told while they run.
 *
 * All of it happens on the workers' threads, through their queues; the one who asks waits, except for answers to
 * look-ups.
 */
#include "turn/uv/server.h"

#include "stun/codec/integrity.h"
#include "turn/uv/priv.h"

#include <stdlib.h>
#include <string.h>

/* --- what there is --------------------------------------------------------------------------------- */

struct list_ask {
    struct ph__turn_worker *w;
    bool (*fn)(void *ctx, unsigned worker, const struct ph_turnd_info *info);
    void *ctx;
    uint32_t id;
    bool more, stop;
};

static void list_some(void *ctx)
{
    enum { AT_A_TIME = 256 }; /* then packets get their turn */
    struct list_ask *a = ctx;
    struct ph_turnd_info info;

    a->more = true;
    for (unsigned i = 0; i < AT_A_TIME && a->more; i++) {
        a->more = ph_turnd_list(a->w->core, &a->id, &info);
        if (a->more && !a->fn(a->ctx, a->w->index, &info)) {
            a->stop = true;
            return;
        }
    }
}

/* False when fn has said that it is enough. */
static bool list_worker(struct ph__turn_worker *w,
                        bool (*fn)(void *ctx, unsigned worker, const struct ph_turnd_info *info),
                        void *ctx)
{
    struct list_ask a = {.w = w, .fn = fn, .ctx = ctx};

    do
        ph_worker_call(w->w, list_some, &a);
    while (a.more && !a.stop);
    return !a.stop;
}

void ph_turn_uv_list(struct ph_turn_uv *t,
                     bool (*fn)(void *ctx, unsigned worker, const struct ph_turnd_info *info),
                     void *ctx)
{
    for (unsigned i = 0; i < t->n && list_worker(t->v[i], fn, ctx); i++)
        ;
}

struct peers_ask {
    struct ph__turn_worker *w;
    uint32_t id;
    struct ph_addr *v;
    unsigned max, n;
};

static void copy_peers(void *ctx)
{
    struct peers_ask *a = ctx;

    a->n = ph_turnd_peers(a->w->core, a->id, a->v, a->max);
}

unsigned ph_turn_uv_peers(struct ph_turn_uv *t, uint32_t worker, uint32_t id, struct ph_addr *v,
                          unsigned max)
{
    struct peers_ask a = {.id = id, .v = v, .max = max};

    if (worker >= t->n)
        return 0;
    a.w = t->v[worker];
    ph_worker_call(a.w->w, copy_peers, &a);
    return a.n;
}

/* --- counters -------------------------------------------------------------------------------------- */

struct stats_ask {
    struct ph__turn_worker *w;
    struct ph_turn_uv_stats *out;
};

static void add_clients(struct ph_turn_uv_stats *sum, const struct ph__turn_worker *w)
{
    if (w->streams) {
        const struct ph_stream_stats *x = ph_streams_stats(w->streams);
#define PH_X(name, text) sum->stream.name += x->name;
        PH_STREAM_COUNTERS(PH_X)
#undef PH_X
        sum->stream.now += x->now;
        sum->stream.tls_now += x->tls_now;
    }
    if (w->dtls) {
        const struct ph_dtls_stats *x = ph_dtls_stats(w->dtls);
#define PH_X(name, text) sum->dtls.name += x->name;
        PH_DTLS_COUNTERS(PH_X)
#undef PH_X
        sum->dtls.now += x->now;
    }
}

static void add_store(struct ph_store_stats *sum, const struct ph_store_stats *x)
{
#define PH_X(name, text) sum->name += x->name;
    PH_STORE_COUNTERS(PH_X)
#undef PH_X
    sum->up = sum->up && x->up;
    sum->behind = sum->behind || x->behind;
    if (x->lag_ms > sum->lag_ms)
        sum->lag_ms = x->lag_ms;
}

static void add_stats(void *ctx)
{
    const struct stats_ask *a = ctx;
    const struct ph__turn_worker *w = a->w;
    const struct ph_turnd_stats *x = ph_turnd_stats(w->core);
    struct ph_turn_uv_stats *sum = a->out;

#define PH_X(name, text) sum->turn.name += x->name;
    PH_TURND_COUNTERS(PH_X)
#undef PH_X
    ph_batch_stats_add(&sum->io, ph_batch_stats(w->batch));
    for (unsigned i = 0; i < PH_TURND_LISTENERS; i++)
        ph_stund_stats_add(&sum->stun, &w->stun[i].stats);
    add_clients(sum, w);
    if (w->userdb) {
        const struct ph_userdb_stats *u = ph_userdb_stats(w->userdb);
#define PH_X(name, text) sum->userdb.name += u->name;
        PH_USERDB_COUNTERS(PH_X)
#undef PH_X
    }
    sum->allocations_now += ph_turnd_count(w->core);
    sum->relay_opened += w->relay_opened;
    sum->relay_open_failed += w->relay_open_failed;
    sum->icmp_errors += w->icmp_errors;
    sum->not_dtls += w->not_dtls;
    sum->parked += w->park.n;
    sum->park_full += w->park.full;
    sum->moved_in += w->moved_in;
    sum->moved_out += w->moved_out;
    if (w->save.store)
        add_store(&sum->store, ph_store_stats(w->save.store));
}

static bool count_transport(void *ctx, unsigned worker, const struct ph_turnd_info *info)
{
    uint64_t *by = ctx;

    (void)worker;
    switch (info->client.proto) {
    case PH_TCP:
        by[1]++;
        break;
    case PH_TLS:
        by[2]++;
        break;
    case PH_DTLS:
        by[3]++;
        break;
    default:
        by[0]++;
    }
    by[4] += info->tcp;
    return true;
}

void ph_turn_uv_stats(struct ph_turn_uv *t, uint32_t worker, struct ph_turn_uv_stats *out)
{
    *out = (struct ph_turn_uv_stats){.store.up = t->c.store != NULL};
    for (uint32_t i = 0; i < t->n; i++) {
        if (worker != UINT32_MAX && worker != i)
            continue;
        ph_worker_call(t->v[i]->w, add_stats, &(struct stats_ask){t->v[i], out});
        list_worker(t->v[i], count_transport, out->allocations_by);
    }
}

/* --- what changes ---------------------------------------------------------------------------------- */

struct reload_ask {
    struct ph__turn_worker *w;
    const struct ph_turnd_live *live;
    struct ph_tls *tls;
};

static void reload(void *ctx)
{
    const struct reload_ask *a = ctx;
    const ph_ns now = ph_now();

    ph_turnd_reload(a->w->core, a->live, now);
    if (a->tls && a->w->streams)
        ph_streams_set_tls(a->w->streams, a->tls);
    if (a->tls && a->w->dtls)
        ph_dtls_set_tls(a->w->dtls, a->tls);
    ph__turn_worker_drain(a->w, now);
    ph__turn_worker_done(a->w, now);
}

void ph_turn_uv_reload(struct ph_turn_uv *t, const struct ph_turnd_live *live, struct ph_tls *tls)
{
    for (unsigned i = 0; i < t->n; i++)
        ph_worker_call(t->v[i]->w, reload, &(struct reload_ask){t->v[i], live, tls});
}

struct fleet_ask {
    struct ph__turn_worker *w;
    const struct ph_addr *alternate;
    const struct ph_turnd_node *node;
    unsigned n, n_nodes;
};

static void set_fleet(void *ctx)
{
    const struct fleet_ask *a = ctx;
    ph_turnd_set_fleet(a->w->core, a->alternate, a->n, a->node, a->n_nodes);
}

void ph_turn_uv_set_fleet(struct ph_turn_uv *t, const struct ph_addr *alternate, unsigned n,
                          const struct ph_turnd_node *node, unsigned n_nodes)
{
    for (unsigned i = 0; i < t->n; i++)
        ph_worker_call(t->v[i]->w, set_fleet,
                       &(struct fleet_ask){t->v[i], alternate, node, n, n_nodes});
}

static void tell_traffic(void *ctx)
{
    struct ph__turn_worker *w = ctx;
    const ph_ns now = ph_now();

    ph_turnd_tell_traffic(w->core);
    ph__turn_worker_drain(w, now);
    ph__turn_worker_done(w, now);
}

void ph_turn_uv_tell_traffic(struct ph_turn_uv *t)
{
    for (unsigned i = 0; i < t->n; i++)
        ph_worker_call(t->v[i]->w, tell_traffic, t->v[i]);
}

struct user_ask {
    struct ph__turn_worker *w;
    struct ph_slice realm, user;
    unsigned n;
};

static void revoke_user(void *ctx)
{
    struct user_ask *a = ctx;
    const ph_ns now = ph_now();

    if (a->w->userdb)
        ph_userdb_forget(a->w->userdb, a->realm, a->user);
    a->n += ph_turnd_revoke(a->w->core, a->realm, a->user, now);
    ph__turn_worker_drain(a->w, now);
    ph__turn_worker_done(a->w, now);
}

unsigned ph_turn_uv_revoke(struct ph_turn_uv *t, struct ph_slice realm, struct ph_slice user)
{
    struct user_ask a = {.realm = realm, .user = user};

    for (unsigned i = 0; i < t->n; i++) {
        a.w = t->v[i];
        ph_worker_call(a.w->w, revoke_user, &a);
    }
    return a.n;
}

static void forget(void *ctx)
{
    const struct user_ask *a = ctx;

    if (a->w->userdb)
        ph_userdb_forget(a->w->userdb, a->realm, a->user);
}

void ph_turn_uv_forget(struct ph_turn_uv *t, struct ph_slice realm, struct ph_slice name)
{
    struct user_ask a = {.realm = realm, .user = name};

    for (unsigned i = 0; i < t->n; i++) {
        a.w = t->v[i];
        ph_worker_call(a.w->w, forget, &a);
    }
}

struct end_ask {
    struct ph__turn_worker *w;
    uint32_t id;
    bool found;
};

static void end_one(void *ctx)
{
    struct end_ask *a = ctx;
    const ph_ns now = ph_now();

    a->found = ph_turnd_end(a->w->core, a->id, now);
    ph__turn_worker_drain(a->w, now);
    ph__turn_worker_done(a->w, now);
}

bool ph_turn_uv_end(struct ph_turn_uv *t, uint32_t worker, uint32_t id)
{
    struct end_ask a = {.id = id};

    if (worker >= t->n)
        return false;
    a.w = t->v[worker];
    ph_worker_call(a.w->w, end_one, &a);
    return a.found;
}

/* --- look-ups -------------------------------------------------------------------------------------- */

struct answer {
    struct ph__turn_worker *w;
    enum ph_userdb_result result;
    struct ph_userdb_user user;
    size_t realm_n, name_n;
    uint8_t text[]; /* realm, then name */
};

static void take_answer(void *ctx)
{
    struct answer *a = ctx;
    struct ph__turn_worker *w = a->w;
    const ph_ns now = ph_now();
    const struct ph_slice realm = {a->text, a->realm_n}, name = {a->text + a->realm_n, a->name_n};
    const bool found = a->result == PH_USERDB_FOUND;

    if (w->userdb) {
        ph__turn_worker_clock(w, now);
        ph_userdb_answer(w->userdb, realm, name, a->result, found ? &a->user : NULL, now);
        ph__park_answered(w, realm, name, a->result == PH_USERDB_FAILED, now);
        ph__turn_worker_drain(w, now);
        ph__turn_worker_done(w, now);
    }
    ph_wipe(&a->user, sizeof a->user);
    free(a);
}

void ph_turn_uv_answer(struct ph_turn_uv *t, unsigned worker, struct ph_slice realm,
                       struct ph_slice name, enum ph_userdb_result result,
                       const struct ph_userdb_user *user)
{
    struct answer *a = worker < t->n ? malloc(sizeof *a + realm.n + name.n) : NULL;

    if (!a) /* the look-up times out */
        return;
    *a = (struct answer){.w = t->v[worker], .result = result, .realm_n = realm.n, .name_n = name.n};
    if (user && result == PH_USERDB_FOUND)
        a->user = *user;
    else if (result == PH_USERDB_FOUND)
        a->result = PH_USERDB_FAILED;
    if (realm.n)
        memcpy(a->text, realm.p, realm.n);
    if (name.n)
        memcpy(a->text + realm.n, name.p, name.n);
    if (ph_worker_post(a->w->w, take_answer, a)) {
        ph_wipe(&a->user, sizeof a->user);
        free(a);
    }
}
