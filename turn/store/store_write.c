/*
 * Writing behind.
 *
 * The source knows what has changed, the store what is under way; nothing else is kept.  Whenever a command fails or the
 * store says that it is not the one we wrote to, nobody knows what is stored: the round ends (answers that still come mean
 * nothing), and after a while the next begins with a command without records.  When that is taken, all records are
 * written, and at last what else is stored is looked at and removed, if its writer says that it has ended.
 */
#include "stun/base/error.h"
#include "turn/store/store_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 5000,
    BEAT_MS = 10000, /* with nothing to write, our claim is shown so often */
    AGAIN_MS = 5,    /* when too much was under way */
    CALM_MS = 1000   /* a store that was wiped is written to at once, but not more often */
};

static bool writing(const struct ph__store_writer *w)
{
    return w->phase == PH__STORE_ALL || w->phase == PH__STORE_SWEEP || w->phase == PH__STORE_STEADY;
}

static struct ph__store_slot *free_slot(struct ph_store *s)
{
    for (uint32_t i = 0; i < s->c.flight; i++)
        if (!s->w.slot[i].busy)
            return &s->w.slot[i];
    return NULL;
}

bool ph__store_confirmed(const struct ph__store_writer *w, uint64_t mark)
{
    for (unsigned i = 0; i < PH__STORE_SLOTS; i++)
        if (w->slot[i].busy && w->slot[i].round == w->round && w->slot[i].seq <= mark)
            return false;
    return mark && mark <= w->seq;
}

/* --- what is told ---------------------------------------------------------------------------------- */

static void tell_state(struct ph_store *s, bool up)
{
    if (s->w.told && s->stats.up == up)
        return;
    s->w.told = true;
    s->stats.up = up;
    if (s->c.on_state)
        s->c.on_state(s->c.ctx, up);
}

void ph__store_say(const struct ph_store *s, enum ph_log_level level, const char *what,
                   const char *why)
{
    char key[PH__STORE_KEY];

    ph__store_key(key, s->c.prefix, s->c.node, s->w.kind);
    ph_logf(&s->env, level, "%s: %s: %s%s%s", s->label, key, what, why ? ": " : "", why ? why : "");
}

/* Once for an outage. */
static void complain(struct ph_store *s, const char *why)
{
    ph__store_say(s, s->w.complained ? PH_LOG_DEBUG : PH_LOG_WARN,
                  "records are not stored, trying again until they are", why);
    s->w.complained = true;
}

/* --- rounds ---------------------------------------------------------------------------------------- */

/* Half of the wait is left to chance, so that workers and nodes do not come all at once. */
static uint64_t next_try(struct ph_store *s)
{
    struct ph__store_writer *w = &s->w;

    w->backoff_ms = w->backoff_ms ? w->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (w->backoff_ms > BACKOFF_MAX_MS)
        w->backoff_ms = BACKOFF_MAX_MS;
    return uv_now(s->loop) + w->backoff_ms / 2 + ph_env_below(&s->env, w->backoff_ms / 2 + 1);
}

/* Ends the round. */
static void end_round(struct ph_store *s, enum ph__store_phase phase)
{
    struct ph__store_writer *w = &s->w;

    w->phase = phase;
    w->round++;
    w->due = false;
    ph__store_batch_empty(&w->batch);
    w->sweep.n = 0;
    w->again_at = 0;
    w->mark = w->all_mark = w->since_next = 0;
    for (struct ph__store_op *op = s->op; op; op = op->next)
        op->mark = 0;
}

static void start_over(struct ph_store *s, uint64_t retry_at)
{
    end_round(s, PH__STORE_WAIT);
    if (!s->w.since)
        s->w.since = uv_now(s->loop) + 1;
    s->w.retry_at = retry_at;
}

void ph__store_lose(struct ph_store *s, const char *why)
{
    start_over(s, next_try(s));
    if (why)
        complain(s, why);
    tell_state(s, false);
}

static void wiped(struct ph_store *s)
{
    const uint64_t now = uv_now(s->loop);

    ph__store_say(s, PH_LOG_WARN, "what was stored is gone, writing everything again", NULL);
    start_over(s, now - s->w.all_at > CALM_MS ? now : next_try(s));
}

static void fence(struct ph_store *s)
{
    end_round(s, PH__STORE_FENCED);
    s->w.since = 0;
    for (struct ph__store_op *op = s->op; op; op = op->next)
        if (op->flush)
            ph__store_over(s, op, PH_E_FORBIDDEN);
    ph__store_say(s, PH_LOG_WARN, "another process has claimed the node, writing no more", NULL);
    tell_state(s, false);
    if (!s->ended && s->w.phase == PH__STORE_FENCED && s->c.on_fenced)
        s->c.on_fenced(s->c.ctx);
}

/* --- the next command ------------------------------------------------------------------------------ */

/* The source had nothing more to say: what has changed up to now is in commands up to this one. */
static void drained(struct ph_store *s)
{
    struct ph__store_writer *w = &s->w;
    const uint64_t mark = w->seq + ph__store_staged(w);

    w->due = false;
    if (w->since && !w->mark)
        w->mark = mark;
    if (w->phase == PH__STORE_ALL && !w->all_mark)
        w->all_mark = mark;
    for (struct ph__store_op *op = s->op; op; op = op->next)
        if (op->flush && !op->mark)
            op->mark = mark;
}

static void stage_changes(struct ph_store *s)
{
    struct ph__store_writer *w = &s->w;
    struct ph_store_change c;

    if (!w->due || uv_now(s->loop) < w->gather_at)
        return;
    while (!ph__store_batch_full(s)) {
        c = (struct ph_store_change){0};
        if (!w->source.next(w->source.ctx, &c)) {
            drained(s);
            return;
        }
        const int err = ph__store_batch_add(s, &c);
        if (err) {
            ph__store_lose(s, ph_strerror(err));
            return;
        }
    }
}

/* --- sending --------------------------------------------------------------------------------------- */

static bool transmit(struct ph_store *s, struct ph__store_slot *slot, bool probe)
{
    struct ph__store_writer *w = &s->w;

    slot->s = s;
    slot->probe = probe;
    slot->round = w->round;
    slot->seq = w->seq + 1;
    slot->n_set = w->batch.n_set;
    slot->n_del = w->batch.n_del;
    const int err = s->ops->write(s, slot);
    if (err == PH_E_LIMIT) {
        ph__store_block(s);
        return false;
    }
    if (err) {
        ph__store_lose(s, err == PH_E_STATE ? NULL : ph_strerror(err));
        return false;
    }
    slot->busy = true;
    w->seq++;
    const uint64_t quarter = (uint64_t)s->c.keep_s * 1000 / 4;
    w->beat_at = uv_now(s->loop) + (quarter < BEAT_MS ? quarter : BEAT_MS);
    ph__store_batch_empty(&w->batch);
    return true;
}

void ph__store_block(struct ph_store *s)
{
    s->w.again_at = uv_now(s->loop) + AGAIN_MS;
}

bool ph__store_blocked(struct ph_store *s)
{
    if (uv_now(s->loop) >= s->w.again_at)
        s->w.again_at = 0;
    return s->w.again_at != 0;
}

static void probe(struct ph_store *s)
{
    struct ph__store_slot *slot = free_slot(s);

    if (slot && !ph__store_blocked(s) && transmit(s, slot, true))
        s->w.phase = PH__STORE_PROBE;
}

/* --- what is confirmed ----------------------------------------------------------------------------- */

static void settle_all(struct ph_store *s)
{
    struct ph__store_writer *w = &s->w;

    if (w->phase != PH__STORE_ALL || !ph__store_confirmed(w, w->all_mark))
        return;
    w->backoff_ms = 0;
    if (w->complained)
        ph__store_say(s, PH_LOG_INFO, "records are stored again", NULL);
    w->complained = false;
    ph__store_sweep_begin(s);
    tell_state(s, true);
}

/* How far behind we are. */
static void settle_lag(struct ph__store_writer *w)
{
    while (w->mark && ph__store_confirmed(w, w->mark)) {
        w->since = w->since_next;
        w->since_next = 0;
        w->mark = w->since && !w->due ? w->seq + ph__store_staged(w) : 0;
    }
}

static void settle(struct ph_store *s)
{
    struct ph__store_writer *w = &s->w;

    settle_all(s);
    if (s->ended)
        return;
    ph__store_sweep_settle(s);
    if (writing(w))
        settle_lag(w);
    for (struct ph__store_op *op = s->op; op && w->phase == PH__STORE_STEADY; op = op->next)
        if (op->flush && ph__store_confirmed(w, op->mark))
            ph__store_over(s, op, 0);
}

void ph__store_pump(struct ph_store *s)
{
    struct ph__store_writer *w = &s->w;

    while (!s->ended && writing(w) && !ph__store_blocked(s)) {
        struct ph__store_slot *slot = free_slot(s);
        if (!slot)
            break;
        if (!ph__store_staged(w)) {
            stage_changes(s);
            if (!s->ended)
                ph__store_sweep_stage(s);
        }
        if (s->ended || !ph__store_staged(w) || !transmit(s, slot, false))
            break;
    }
    ph__store_sweep_on(s);
    if (!s->ended)
        settle(s);
    ph__store_sweep_on(s); /* it may have begun just now */
}

/* --- answers --------------------------------------------------------------------------------------- */

static void taken(struct ph_store *s, const struct ph__store_slot *slot, const char *life)
{
    struct ph__store_writer *w = &s->w;

    s->stats.written += slot->n_set;
    s->stats.removed += slot->n_del;
    if (!slot->probe) {
        if (strcmp(life, w->life) != 0)
            wiped(s);
        return;
    }
    snprintf(w->life, sizeof w->life, "%s", life);
    w->phase = PH__STORE_ALL;
    w->all_at = w->gather_at = uv_now(s->loop);
    w->due = true;
    s->stats.resyncs += w->again;
    w->again = true;
    w->source.all(w->source.ctx);
}

void ph__store_wrote(struct ph__store_slot *slot, int err, const char *life, const char *why)
{
    struct ph_store *s = slot->s;

    slot->busy = false;
    if (s->ended)
        return;
    if (err == PH_E_FORBIDDEN)
        s->stats.fenced++;
    else if (err)
        s->stats.failed++;
    if (slot->round == s->w.round) {
        if (err == PH_E_FORBIDDEN)
            fence(s);
        else if (err)
            ph__store_lose(s, why);
        else
            taken(s, slot, life);
    }
    if (!s->ended)
        ph__store_pump(s);
    ph__store_arm(s);
}

/* --- time and the connection ----------------------------------------------------------------------- */

uint64_t ph__store_write_due(struct ph_store *s)
{
    const struct ph__store_writer *w = &s->w;

    if (w->phase == PH__STORE_WAIT && !s->ops->up(s))
        return w->told ? UINT64_MAX : w->told_at;
    if (!free_slot(s)) /* an answer will come */
        return UINT64_MAX;
    if (w->phase == PH__STORE_WAIT)
        return w->retry_at > w->again_at ? w->retry_at : w->again_at;
    if (!writing(w))
        return UINT64_MAX;
    if (w->again_at || ph__store_staged(w))
        return w->again_at;
    return w->due && w->gather_at < w->beat_at ? w->gather_at : w->beat_at;
}

void ph__store_write_turn(struct ph_store *s)
{
    struct ph__store_writer *w = &s->w;
    const uint64_t now = uv_now(s->loop);

    if (w->phase == PH__STORE_WAIT) {
        if (s->ops->up(s) && now >= w->retry_at)
            probe(s);
        else if (!w->told && now >= w->told_at)
            tell_state(s, false);
        return;
    }
    ph__store_pump(s);
    struct ph__store_slot *slot = free_slot(s);
    if (!s->ended && writing(w) && now >= w->beat_at && slot && !ph__store_staged(w) &&
        !ph__store_blocked(s))
        transmit(s, slot, false);
}

void ph__store_write_link(struct ph_store *s, bool up)
{
    struct ph__store_writer *w = &s->w;

    if (up && w->phase == PH__STORE_WAIT)
        w->retry_at = uv_now(s->loop);
    else if (!up && (writing(w) || w->phase == PH__STORE_PROBE))
        ph__store_lose(s, NULL);
}

/* --- calls ----------------------------------------------------------------------------------------- */

int ph_store_write(struct ph_store *s, const char *kind, const char *token,
                   const struct ph_store_source *source)
{
    struct ph__store_writer *w = &s->w;

    if (!ph__store_kind_ok(kind) || !token || !ph__store_token_ok(ph_str(token)))
        return PH_E_ARG;
    snprintf(w->kind, sizeof w->kind, "%s", kind);
    snprintf(w->token, sizeof w->token, "%s", token);
    w->source = *source;
    w->again = w->phase != PH__STORE_OFF;
    w->backoff_ms = 0;
    w->told_at = uv_now(s->loop) + s->patience_ms;
    start_over(s, uv_now(s->loop));
    ph__store_arm(s);
    return 0;
}

void ph_store_kick(struct ph_store *s)
{
    struct ph__store_writer *w = &s->w;
    const uint64_t now = uv_now(s->loop);

    if (w->due || !writing(w))
        return; /* not writing: everything will be given anew */
    w->due = true;
    w->gather_at = now + s->c.gather_ms;
    if (!w->since)
        w->since = now + 1;
    else if (!w->since_next)
        w->since_next = now + 1;
    ph__store_arm(s);
}

int ph__store_write_flush(struct ph_store *s, struct ph__store_op *op)
{
    struct ph__store_writer *w = &s->w;

    (void)op;
    if (w->phase == PH__STORE_OFF)
        return PH_E_STATE;
    if (w->phase == PH__STORE_FENCED)
        return PH_E_FORBIDDEN;
    if (writing(w)) {
        w->due = true;
        w->gather_at = uv_now(s->loop);
    }
    return 0;
}

void ph__store_write_fini(struct ph_store *s)
{
    struct ph__store_writer *w = &s->w;

    ph__store_batch_fini(&w->batch);
    free(w->sweep.rubbish);
    w->sweep.rubbish = NULL;
}
