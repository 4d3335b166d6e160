/*
 * Taking over the allocations of other nodes, whose addresses have come to this machine.
 *
 *     load      does anything fit?  If not, the node is left in peace
 *     claim     from now on it writes nothing; load again, since it may have until now
 *     restore   ... and have it stored as ours
 *     remove    from the other node, which sees from that what is not its own any more
 *
 * One node at a time, and only while our own claim stands.  What fails is tried again every second as long as it is due: nobody
 * else will do it.
 */
#include "cmd/turnd/state_priv.h"

#include "stun/base/error.h"
#include "stun/uv/loop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAY(s, level, ...) ph_logf(&(s)->run->env, PH_LOG_##level, __VA_ARGS__)

enum { RETRY_MS = 1000, FLUSH_MS = 2000, SETTLE_MS = 500 };

static void load(struct ph_tstate *s);
static void on_timer(uv_timer_t *timer);

/* ---- the end of one ---- */

/* Which of conf->adopt this one is; conf->n_adopt: an operator has named it. */
static unsigned number_of(const struct ph_tstate *s)
{
    const struct ph_tconf *c = s->run->conf;
    unsigned i = 0;
    while (i < c->n_adopt && strcmp(c->adopt[i], s->adoption.node) != 0)
        i++;
    return i;
}

static void finish(struct ph_tstate *s, int err)
{
    struct ph__tadoption *a = &s->adoption;
    a->busy = false;
    s->view.adoption.busy = false;
    s->view.adoption.at_s = (int64_t)time(NULL);
    s->view.adoption.ms = (ph_now() - a->began) / PH_MS(1);
    s->view.adoption.restored = a->n_ids;
    s->view.adoption.left = a->left;
    s->view.adopted_total += a->n_ids;
    snprintf(s->view.adoption.error, sizeof s->view.adoption.error, "%s",
             err ? ph_strerror(err) : "");
    ph_trecords_free(&a->records);
    free(a->ids);
    a->ids = NULL;
    unsigned i = number_of(s);
    if (i < s->run->conf->n_adopt)
        a->due[i] = err != 0;
    if (err && !s->ended) {
        SAY(s, WARN, "could not take over the allocations of node %s: %s%s", a->node,
            ph_strerror(err), i < s->run->conf->n_adopt ? "; trying again" : "");
        uv_timer_start(&a->timer, on_timer, RETRY_MS, 0);
    } else if (!s->ended) {
        uv_timer_start(&a->timer, on_timer, 0, 0);
    }
}

/* ---- restoring ---- */

static void on_removed(void *ctx, int err)
{
    struct ph_tstate *s = ctx;
    struct ph__tadoption *a = &s->adoption;
    if (err && !s->ended)
        SAY(s, WARN,
            "node %s keeps what was taken over from it, since it could not be removed there: %s",
            a->node, ph_strerror(err));
    finish(s, 0);
}

/* What was restored is ours when it is stored as ours. */
static void take_away(struct ph_tstate *s)
{
    struct ph__tadoption *a = &s->adoption;
    if (s->run->plan.workers && ph_turn_uv_flush(s->run->server, FLUSH_MS) != 0)
        SAY(s, WARN, "what was taken over from node %s is not stored yet", a->node);
    ph_store_remove(s->store, a->node, PH_TURN_UV_RECORDS, a->token, a->ids, a->n_ids, on_removed,
                    s);
}

static bool is_local(void *ctx, const struct ph_addr *ip)
{
    (void)ctx;
    return ph_tplan_is_local(ip);
}

static unsigned fitting(struct ph_tstate *s, unsigned *count)
{
    const struct ph_tplace place = {.plan = &s->run->plan, .local = is_local};
    ph_trecords_sort(&s->adoption.records, &place, ph__tstate_wall_ms(), count);
    return count[PH_TRECORD_FITS];
}

/* Restores the first n.  One whose client has come to us by itself meanwhile is ours as well. */
static int restore(struct ph_tstate *s, unsigned n, unsigned *restored)
{
    struct ph__tadoption *a = &s->adoption;
    int *err = calloc(n, sizeof *err);
    a->ids = malloc(n * sizeof *a->ids);
    if (!err || !a->ids) {
        free(err);
        return PH_E_NOMEM;
    }
    *restored = ph__tstate_restore(s, &a->records, n, err);
    for (unsigned i = 0; i < n; i++)
        if (!err[i] || err[i] == PH_E_STATE)
            a->ids[a->n_ids++] = a->records.v[i].id;
    free(err);
    return 0;
}

static void take(struct ph_tstate *s)
{
    struct ph__tadoption *a = &s->adoption;
    unsigned count[PH_TRECORD_FITS_N], restored = 0;
    char rest[160];
    unsigned n = fitting(s, count);
    int err = n ? restore(s, n, &restored) : 0;
    if (err) {
        finish(s, err);
        return;
    }
    a->left = count[PH_TRECORD_ELSEWHERE];
    SAY(s, INFO, "took over %u allocations of node %s in %" PRId64 " ms%s", restored, a->node,
        (ph_now() - a->began) / PH_MS(1), ph__tstate_rest(rest, sizeof rest, count, n - restored));
    if (!a->n_ids)
        finish(s, 0);
    else if (s->run->plan.workers)
        take_away(s);
    else /* the worker is this very loop: let it write */
        uv_timer_start(&a->timer, on_timer, SETTLE_MS, 0);
}

/* ---- reading ---- */

static void on_claimed(void *ctx, int err, const char *token)
{
    struct ph_tstate *s = ctx;
    struct ph__tadoption *a = &s->adoption;
    if (err || s->ended) {
        finish(s, err);
        return;
    }
    snprintf(a->token, sizeof a->token, "%s", token);
    a->claimed = true;
    load(s);
}

static void on_record(void *ctx, uint64_t id, struct ph_slice value)
{
    struct ph__tadoption *a = &((struct ph_tstate *)ctx)->adoption;
    int err = ph_trecords_add(&a->records, id, value);
    a->load_err = a->load_err ? a->load_err : err;
}

static void on_loaded(void *ctx, int err)
{
    struct ph_tstate *s = ctx;
    struct ph__tadoption *a = &s->adoption;
    unsigned count[PH_TRECORD_FITS_N];
    if (err || s->ended) {
        finish(s, err);
    } else if (a->claimed) {
        take(s);
    } else if (fitting(s, count)) {
        ph_store_claim(s->store, a->node, on_claimed, s);
    } else {
        ph__tstate_say_bad(s, a->node, count[PH_TRECORD_BROKEN]);
        a->left = count[PH_TRECORD_ELSEWHERE];
        SAY(s, INFO, "nothing of node %s fits here (%u records)", a->node, a->records.n);
        finish(s, 0);
    }
}

static void load(struct ph_tstate *s)
{
    struct ph__tadoption *a = &s->adoption;
    ph_trecords_free(&a->records);
    a->load_err = 0;
    ph_store_load(s->store, a->node, PH_TURN_UV_RECORDS, on_record, on_loaded, s);
}

/* ---- which, and when ---- */

bool ph_tstate_adopt(struct ph_tstate *s, const char *node)
{
    struct ph__tadoption *a = &s->adoption;
    if (a->busy || s->ended || s->asked || s->step != PH__STATE_OURS)
        return false;
    snprintf(a->node, sizeof a->node, "%s", node);
    snprintf(s->view.adoption.node, sizeof s->view.adoption.node, "%s", node);
    s->view.adoption.busy = a->busy = true;
    a->claimed = false;
    a->n_ids = a->left = 0;
    a->began = ph_now();
    load(s);
    return true;
}

void ph__tadopt_next(struct ph_tstate *s)
{
    const struct ph_tconf *c = s->run->conf;
    if (s->adoption.busy)
        return;
    if (s->again) {
        ph__tstate_reclaim(s);
        return;
    }
    for (unsigned i = 0; i < c->n_adopt; i++)
        if (s->adoption.due[i] && ph_tstate_adopt(s, c->adopt[i]))
            return;
}

static void on_timer(uv_timer_t *timer)
{
    struct ph_tstate *s = timer->data;
    if (s->ended)
        return;
    if (s->adoption.busy)
        take_away(s);
    else
        ph__tadopt_next(s);
}

void ph__tadopt_all(struct ph_tstate *s)
{
    for (unsigned i = 0; i < s->run->conf->n_adopt; i++)
        s->adoption.due[i] = true;
    ph__tadopt_next(s);
}

/* What was ours there before, somebody may have taken over meanwhile: we look at our own node first, then at others. */
static void on_address(void *ctx, const struct ph_addr *ip)
{
    struct ph_tstate *s = ctx;
    char text[PH_ADDR_TEXT];
    SAY(s, INFO, "%s is on this machine now", ph_addr_ip_text(ip, text));
    for (unsigned i = 0; i < s->run->conf->n_adopt; i++)
        s->adoption.due[i] = true;
    if (s->step == PH__STATE_OURS || s->step == PH__STATE_FENCED)
        ph__tstate_reclaim(s);
}

void ph__tadopt_init(struct ph_tstate *s)
{
    uv_timer_init(s->loop, &s->adoption.timer);
    s->adoption.timer.data = s;
    if (s->run->conf->free_bind)
        s->local = ph_tlocal_new(s->loop, &s->run->plan, on_address, s);
}

void ph__tadopt_stop(struct ph_tstate *s)
{
    uv_timer_stop(&s->adoption.timer);
}
