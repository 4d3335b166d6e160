/*
 * What a worker keeps in the store: the records of its allocations.
 *
 *     core: changed  ---\
 *     ALLOC_DOWN -> gone --> next, whenever the store has room for more --> one command with many
 *
 * Nothing is queued but the numbers of what has ended, in a ring; should it be full, it is emptied, and the store compares all
 * that it has with what there is.  For that the workers have one set of sessions in common, the only thing here that
 * is locked, and only when an allocation comes or ends: a worker cannot know of another one's whether they have ended.
 * An allocation that moves to another worker is written by that one from then on; its session stays in the set.
 */
#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "turn/uv/priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { GONE_MIN = 64, GONE_MAX = 65536 };

/* --- sessions -------------------------------------------------------------------------------------- */

/* A map holds 32 bits of a hash and a slot; that a session is found again from both makes it a set.  Sessions have less than
 * 58 bits, so no slot is PH_MAP_NONE. */
static uint64_t hash_of(uint64_t session)
{
    return (uint32_t)session * 0x9E3779B1u;
}

static uint32_t slot_of(uint64_t session)
{
    return (uint32_t)(session >> 32);
}

void ph__sessions_init(struct ph__sessions *s)
{
    pthread_mutex_init(&s->lock, NULL);
    ph_map_init(&s->map);
    s->partial = false;
}

void ph__sessions_fini(struct ph__sessions *s)
{
    ph_map_fini(&s->map);
    pthread_mutex_destroy(&s->lock);
}

static void sessions_add(struct ph__sessions *s, uint64_t session)
{
    pthread_mutex_lock(&s->lock);
    if (ph_map_add(&s->map, hash_of(session), slot_of(session)))
        s->partial = true;
    pthread_mutex_unlock(&s->lock);
}

static void sessions_del(struct ph__sessions *s, uint64_t session)
{
    pthread_mutex_lock(&s->lock);
    ph_map_del(&s->map, hash_of(session), slot_of(session));
    pthread_mutex_unlock(&s->lock);
}

static bool sessions_has(struct ph__sessions *s, uint64_t session)
{
    pthread_mutex_lock(&s->lock);
    struct ph_map_it it = ph_map_find(&s->map, hash_of(session));
    while (it.slot != PH_MAP_NONE && it.slot != slot_of(session))
        it = ph_map_next(&s->map, it);
    const bool has = s->partial || it.slot != PH_MAP_NONE;
    pthread_mutex_unlock(&s->lock);
    return has;
}

void ph_turn_uv_spare(struct ph_turn_uv *t, const uint64_t *session, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!sessions_has(&t->sessions, session[i]))
            sessions_add(&t->sessions, session[i]);
}

/* --- the source of records ------------------------------------------------------------------------- */

static bool next(void *ctx, struct ph_store_change *c)
{
    struct ph__turn_worker *w = ctx;
    struct ph__save *s = &w->save;
    const ph_ns now = ph_now();
    uint64_t session;
    uint32_t id;

    if (s->n) {
        *c = (struct ph_store_change){.id = s->gone[s->first]};
        s->first = (s->first + 1) % s->cap;
        s->n--;
        return true;
    }
    ph__turn_worker_clock(w, now);
    while (ph_turnd_changed(w->core, &id, &session)) {
        const size_t n = ph_turnd_save(w->core, id, s->record, PH_RECORD_MAX, now);
        if (n) { /* else it cannot be carried, and never could */
            *c = (struct ph_store_change){.id = session, .value = {s->record, n}};
            return true;
        }
    }
    s->kicked = false;
    return false;
}

static void all(void *ctx)
{
    struct ph__turn_worker *w = ctx;

    ph_turnd_change_all(w->core);
}

static bool has(void *ctx, uint64_t id)
{
    const struct ph__turn_worker *w = ctx;

    return sessions_has(&w->owner->sessions, id);
}

/* Begins to write, and to compare. */
static void write_all(struct ph__turn_worker *w)
{
    const struct ph_store_source source = {.next = next, .all = all, .has = has, .ctx = w};
    struct ph__save *s = &w->save;

    s->kicked = true; /* it will ask by itself */
    s->claimed = ph_store_write(s->store, PH_TURN_UV_RECORDS, s->token, &source) == 0;
}

/* --- what a worker does ---------------------------------------------------------------------------- */

int ph__save_init(struct ph__turn_worker *w)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    struct ph__save *s = &w->save;
    const uint32_t most = c->core.max_allocations ? c->core.max_allocations : GONE_MAX;

    if (!c->store)
        return 0;
    s->cap = most > GONE_MAX ? GONE_MAX : most < GONE_MIN ? GONE_MIN : most;
    s->gone = malloc(s->cap * sizeof *s->gone);
    s->record = malloc(PH_RECORD_MAX);
    if (s->gone && s->record)
        s->store = c->store(c->ctx, w->index, ph_worker_loop(w->w));
    return s->store ? 0 : PH_E_NOMEM;
}

void ph__save_fini(struct ph__turn_worker *w)
{
    struct ph__save *s = &w->save;

    ph_store_free(s->store);
    free(s->gone);
    if (s->record) /* it had a user's key in it */
        ph_wipe(s->record, PH_RECORD_MAX);
    free(s->record);
    *s = (struct ph__save){0};
}

static void add_gone(struct ph__turn_worker *w, uint64_t session)
{
    struct ph__save *s = &w->save;

    if (s->n == s->cap) { /* the store compares when it can be reached again, or else now */
        s->n = 0;
        if (s->claimed && ph_store_stats(s->store)->up)
            write_all(w);
    } else {
        s->gone[(s->first + s->n++) % s->cap] = session;
    }
}

void ph__save_event(struct ph__turn_worker *w, const struct ph_turnd_ev *ev)
{
    /* That of a client on a connection without a ticket was never stored. */
    const bool stored = ev->info.client.proto == PH_UDP || ev->info.mobile;

    if (ev->type == PH_TURND_ALLOC_UP) {
        sessions_add(&w->owner->sessions, ev->info.session);
    } else if (ev->type == PH_TURND_ALLOC_DOWN) {
        sessions_del(&w->owner->sessions, ev->info.session);
        if (stored && ev->reason != PH_END_ADOPTED) /* else somebody else's by now */
            add_gone(w, ev->info.session);
    }
}

void ph__save_done(struct ph__turn_worker *w)
{
    struct ph__save *s = &w->save;

    if (!s->claimed || s->kicked || (!s->n && !ph_turnd_has_changed(w->core)))
        return;
    s->kicked = true;
    uv_update_time(ph_worker_loop(w->w)); /* it may have waited long */
    ph_store_kick(s->store);
}

void ph__save_keys(struct ph__turn_worker *w, const struct ph_fleet_keys *keys)
{
    if (!w->save.store)
        return;
    ph_store_set_keys(w->save.store, keys);
    if (w->save.claimed)
        write_all(w);
}

void ph__save_claimed(struct ph__turn_worker *w, const char *token)
{
    struct ph__save *s = &w->save;

    if (!s->store)
        return;
    snprintf(s->token, sizeof s->token, "%s", token);
    write_all(w);
}
