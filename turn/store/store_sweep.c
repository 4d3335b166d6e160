/*
 * Sweeping: when all records have been written, what is stored is read page by page.  What its writer knows to have ended
 * is removed; what does not open is not ours to remove, whatever its number.
 */
#include "stun/base/error.h"
#include "turn/store/store_priv.h"

#include <inttypes.h>
#include <stdlib.h>

static void keep(struct ph__store_sweep *w, uint64_t id)
{
    if (w->n == w->cap) {
        const size_t cap = w->cap ? 2 * w->cap : 64;
        uint64_t *more = realloc(w->rubbish, cap * sizeof *more);
        if (!more)
            return; /* it stays till the next time */
        w->rubbish = more;
        w->cap = cap;
    }
    w->rubbish[w->n++] = id;
}

/* Whether an answer is for the sweep that is going on. */
static bool current(const struct ph_store *s)
{
    return s->w.phase == PH__STORE_SWEEP && s->w.sweep.round == s->w.round;
}

static bool on_entry(struct ph__store_scan *c, struct ph_slice field, struct ph_slice value)
{
    struct ph_store *s = c->s;
    const struct ph_store_source *from = &s->w.source;
    struct ph_slice plain;
    uint64_t id;

    if (!current(s))
        return false;
    if (ph__store_id_read(field, &id) && !from->has(from->ctx, id) &&
        ph__store_open(s, c, field, value, &id, &plain) == 0)
        keep(&s->w.sweep, id);
    return true;
}

static void on_page(struct ph__store_scan *c, int err)
{
    struct ph_store *s = c->s;

    c->asked = false;
    if (s->ended)
        return;
    if (current(s) && err == PH_E_TIMEOUT)
        ph__store_lose(s, s->ops->up(s) ? "no answer in time" : NULL);
    else if (current(s) && (err || strcmp(c->cursor, "0") == 0 || ++c->pages == PH__STORE_PAGES))
        s->w.sweep.over = true; /* or it cannot be read: then rubbish stays */
    ph__store_pump(s);
    ph__store_arm(s);
}

void ph__store_sweep_begin(struct ph_store *s)
{
    struct ph__store_sweep *w = &s->w.sweep;

    s->w.phase = s->w.source.has ? PH__STORE_SWEEP : PH__STORE_STEADY;
    w->fresh = true;
    w->over = false;
    w->mark = w->removed = 0;
    w->n = 0;
}

static void from_the_beginning(struct ph_store *s)
{
    struct ph__store_scan *c = &s->w.sweep.scan;

    *c = (struct ph__store_scan){.s = s, .cursor = "0", .entry = on_entry, .page = on_page};
    memcpy(c->node, s->c.node, sizeof c->node);
    memcpy(c->kind, s->w.kind, sizeof c->kind);
    s->w.sweep.fresh = false;
}

void ph__store_sweep_on(struct ph_store *s)
{
    struct ph__store_sweep *w = &s->w.sweep;

    if (s->ended || s->w.phase != PH__STORE_SWEEP || w->scan.asked || w->n || w->over ||
        ph__store_blocked(s))
        return;
    if (w->fresh)
        from_the_beginning(s);
    w->round = s->w.round;
    const int err = s->ops->page(s, &w->scan);
    w->scan.asked = !err;
    if (err == PH_E_LIMIT)
        ph__store_block(s);
    else if (err)
        ph__store_lose(s, err == PH_E_STATE ? NULL : ph_strerror(err));
}

void ph__store_sweep_stage(struct ph_store *s)
{
    struct ph__store_sweep *w = &s->w.sweep;
    struct ph__store_batch *b = &s->w.batch;

    while (s->w.phase == PH__STORE_SWEEP && w->n && !ph__store_batch_full(s)) {
        b->del[b->n_del++] = w->rubbish[--w->n];
        w->removed++;
    }
}

void ph__store_sweep_settle(struct ph_store *s)
{
    struct ph__store_sweep *w = &s->w.sweep;

    if (s->w.phase != PH__STORE_SWEEP || !w->over || w->n || ph__store_staged(&s->w))
        return;
    if (!w->mark)
        w->mark = s->w.seq;
    if (!ph__store_confirmed(&s->w, w->mark))
        return;
    s->w.phase = PH__STORE_STEADY;
    if (w->removed)
        ph_logf(&s->env, PH_LOG_INFO, "%s: removed %" PRIu64 " records that had ended meanwhile",
                s->label, w->removed);
}
