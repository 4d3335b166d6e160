/*
 * The records of our own node: which of them are restored, and what becomes of the others.
 *
 *     fits        restored
 *     elsewhere   its address is not here: it stays, and is restored when the address comes, or taken over by whoever gets it
 *     the rest    is removed by the workers, which compare what is stored with what they have (ph_turn_uv_claimed)
 */
#include "cmd/turnd/state_priv.h"

#include "stun/base/error.h"
#include "stun/uv/loop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAY(s, level, ...) ph_logf(&(s)->run->env, PH_LOG_##level, __VA_ARGS__)

enum { TEXT = 160 };

int64_t ph__tstate_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- words ---- */

const char *ph__tstate_rest(char *dst, size_t n, const unsigned *count, unsigned failed)
{
    const struct {
        unsigned n;
        const char *what;
    } parts[] = {
        {count[PH_TRECORD_EXPIRED], "expired"},
        {count[PH_TRECORD_ELSEWHERE], "whose address is not here"},
        {failed, "that could not be had"},
    };
    size_t at = 0;
    *dst = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts && at < n; i++)
        if (parts[i].n)
            at += (size_t)snprintf(dst + at, n - at, "%s%u %s", at ? ", " : " (", parts[i].n,
                                   parts[i].what);
    if (at && at < n)
        snprintf(dst + at, n - at, ")");
    return dst;
}

void ph__tstate_say_bad(struct ph_tstate *s, const char *node, unsigned broken)
{
    if (broken)
        SAY(s, WARN,
            "redis-statedb: %u records of node %s could be opened, but make no sense: not restored",
            broken, node);
}

static void say_restored(struct ph_tstate *s, unsigned restored, unsigned failed)
{
    char rest[TEXT];
    const char *node = s->run->conf->node;
    s->view.restored = restored;
    s->view.failed = failed;
    s->view.expired = s->count[PH_TRECORD_EXPIRED];
    s->view.elsewhere = s->count[PH_TRECORD_ELSEWHERE];
    s->view.restored_ms = (ph_now() - s->began) / PH_MS(1);
    ph__tstate_say_bad(s, node, s->count[PH_TRECORD_BROKEN]);
    if (s->records.n > s->count[PH_TRECORD_BROKEN])
        SAY(s, INFO, "restored %u allocations of node %s in %" PRId64 " ms%s", restored, node,
            s->view.restored_ms, ph__tstate_rest(rest, sizeof rest, s->count, failed));
}

/* ---- lists of ids ---- */

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool is_among(const uint64_t *v, unsigned n, uint64_t id)
{
    return n && bsearch(&id, v, n, sizeof *v, by_number) != NULL;
}

/* The ids of records for which want() is true, sorted.  NULL: none, or out of memory. */
static uint64_t *ids_of(const struct ph_trecords *r, bool (*want)(const struct ph_trecord *t),
                        unsigned *n)
{
    uint64_t *v = r->n ? malloc(r->n * sizeof *v) : NULL;
    *n = 0;
    for (unsigned i = 0; v && i < r->n; i++)
        if (want(&r->v[i]))
            v[(*n)++] = r->v[i].id;
    if (v)
        qsort(v, *n, sizeof *v, by_number);
    return v;
}

static bool is_any(const struct ph_trecord *t)
{
    (void)t;
    return true;
}

static bool is_elsewhere(const struct ph_trecord *t)
{
    return t->fit == PH_TRECORD_ELSEWHERE;
}

static void keep_left(struct ph_tstate *s)
{
    free(s->left);
    s->left = ids_of(&s->records, is_elsewhere, &s->n_left);
    ph_turn_uv_spare(s->run->server, s->left, s->n_left);
}

/* ---- what is to be restored ---- */

static bool is_local(void *ctx, const struct ph_addr *ip)
{
    (void)ctx;
    return ph_tplan_is_local(ip);
}

static void sort(struct ph_tstate *s)
{
    const struct ph_tplace place = {.plan = &s->run->plan,
                                    .local = s->run->conf->free_bind ? is_local : NULL};
    ph_trecords_sort(&s->records, &place, ph__tstate_wall_ms(), s->count);
}

struct sessions {
    uint64_t *v;
    unsigned n, room;
    bool nomem;
};

/* On a worker's thread; the one who asks waits. */
static bool add_session(void *ctx, unsigned worker, const struct ph_turnd_info *info)
{
    struct sessions *x = ctx;
    (void)worker;
    if (x->n == x->room) {
        unsigned room = x->room ? x->room * 2 : 1024;
        uint64_t *v = realloc(x->v, room * sizeof *v);
        x->nomem = !v;
        if (!v)
            return false;
        x->v = v;
        x->room = room;
    }
    x->v[x->n++] = info->session;
    return true;
}

/* Those that fit and are to be restored now go first: not those that are up, and once our node has been looked at
 * only those whose address was not here then.  What else is there has ended since. */
static unsigned choose(struct ph_tstate *s)
{
    struct sessions up = {0};
    unsigned n = 0;
    ph_turn_uv_list(s->run->server, add_session, &up);
    if (up.n)
        qsort(up.v, up.n, sizeof *up.v, by_number);
    for (unsigned i = 0; i < s->count[PH_TRECORD_FITS] && !up.nomem; i++) {
        const struct ph_trecord t = s->records.v[i];
        if (is_among(up.v, up.n, t.id) || (s->taken && !is_among(s->left, s->n_left, t.id)))
            continue;
        s->records.v[i] = s->records.v[n];
        s->records.v[n++] = t;
    }
    free(up.v);
    return n;
}

unsigned ph__tstate_restore(struct ph_tstate *s, const struct ph_trecords *r, unsigned n, int *err)
{
    struct ph_slice *v = n ? malloc(n * sizeof *v) : NULL;
    for (unsigned i = 0; v && i < n; i++)
        v[i] = r->v[i].bytes;
    unsigned restored = v ? ph_turn_uv_restore(s->run->server, v, n, err) : 0;
    free(v);
    return restored;
}

/* Whether anybody else can have taken something over: nobody can where our addresses have been here all the time,
 * whatever the store has lost. */
static bool was_away(struct ph_tstate *s)
{
    const struct ph_tplan *p = &s->run->plan;
    bool away = s->local && ph_tlocal_was_away(s->local);
    for (unsigned i = 0; i < p->n_relays && !away; i++)
        away = !ph_addr_is_any(&p->relay[i]) && !ph_tplan_is_local(&p->relay[i]);
    return away;
}

/* Ends what others have taken over: all that was stored and is not there any more. */
static void disown(struct ph_tstate *s)
{
    unsigned n, ended = 0;
    uint64_t *v = ids_of(&s->records, is_any, &n);
    if (s->load_err || (s->records.n && !v))
        return; /* not all are known: better two have an allocation than none */
    if (was_away(s))
        ended = ph_turn_uv_disown(s->run->server, v, n);
    free(v);
    if (s->fenced)
        s->idle_fence_at = ended ? 0 : ph_now();
    s->fenced = false;
    if (ended)
        SAY(s, INFO, "%u allocations of node %s are with another node now", ended,
            s->run->conf->node);
}

void ph__tstate_take(struct ph_tstate *s)
{
    sort(s);
    if (s->taken)
        disown(s);
    unsigned n = choose(s), restored = ph__tstate_restore(s, &s->records, n, NULL);
    if (!s->taken)
        say_restored(s, restored, n - restored);
    else if (n)
        SAY(s, INFO, "restored %u allocations of node %s: their address has come", restored,
            s->run->conf->node);
    keep_left(s);
    s->taken = true;
    ph_trecords_free(&s->records);
    ph_turn_uv_claimed(s->run->server, s->token);
}
