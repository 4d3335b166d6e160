/*
 * A store's handle: birth and death, its one timer, and what was asked for and is under way.
 */
#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "turn/store/store_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATIENCE_MS = 3000, RANDOM = 11 /* bytes in a token: 22 digits besides 15 of the epoch */ };

/* --- the timer ------------------------------------------------------------------------------------- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When something is to be done; UINT64_MAX: nothing. */
static uint64_t deadline(struct ph_store *s)
{
    uint64_t due = s->later ? 0 : ph__store_write_due(s);

    for (const struct ph__store_op *op = s->op; op; op = op->next) {
        if (op->state == PH__OP_OVER)
            due = 0;
        else if (op->state == PH__OP_WAITS || op->flush)
            due = sooner(due, op->until);
    }
    return due;
}

static void run_later(struct ph_store *s)
{
    struct ph__store_later *o = s->later, *next;

    s->later = NULL;
    s->later_tail = &s->later;
    for (; o && !s->ended; o = next) {
        next = o->next;
        o->fn(o->ctx);
    }
}

static void give_up(struct ph_store *s)
{
    for (struct ph__store_op *op = s->op; op; op = op->next)
        if ((op->state == PH__OP_WAITS || (op->state == PH__OP_RUNS && op->flush)) &&
            uv_now(s->loop) >= op->until)
            ph__store_over(s, op, PH_E_TIMEOUT);
}

/* Tells the first that is over; whoever is told may ask again, or free the store. */
static void tell(struct ph_store *s)
{
    struct ph__store_op **at = &s->op, *op;

    while (*at && (*at)->state != PH__OP_OVER)
        at = &(*at)->next;
    op = *at;
    if (!op)
        return;
    *at = op->next;
    op->end(s, op);
}

static void on_timer(uv_timer_t *t)
{
    struct ph_store *s = t->data;

    s->turning = true;
    run_later(s);
    if (!s->ended)
        give_up(s);
    if (!s->ended)
        tell(s);
    if (!s->ended)
        ph__store_write_turn(s);
    ph__store_arm(s);
    s->turning = false;
}

void ph__store_arm(struct ph_store *s)
{
    if (s->ended)
        return;
    const uint64_t due = deadline(s), now = uv_now(s->loop);
    if (due == UINT64_MAX)
        uv_timer_stop(&s->timer);
    else if (due > now)
        uv_timer_start(&s->timer, on_timer, due - now, 0);
    else /* a timer set to "at once" by itself would not let the loop go on */
        uv_timer_start(&s->timer, on_timer, s->turning ? 1 : 0, 0);
}

void ph__store_later(struct ph_store *s, struct ph__store_later *o, void (*fn)(void *ctx),
                     void *ctx)
{
    *o = (struct ph__store_later){.fn = fn, .ctx = ctx};
    *s->later_tail = o;
    s->later_tail = &o->next;
    ph__store_arm(s);
}

/* --- what is asked for ----------------------------------------------------------------------------- */

static void begin(struct ph_store *s, struct ph__store_op *op)
{
    op->state = PH__OP_RUNS;
    const int err = op->begin(s, op);
    if (err)
        ph__store_over(s, op, err == PH_E_STATE && !op->flush ? PH_E_TIMEOUT : err);
}

static void append(struct ph_store *s, struct ph__store_op *op)
{
    struct ph__store_op **at = &s->op;

    assert(!s->ended);
    while (*at)
        at = &(*at)->next;
    *at = op;
    op->s = s;
}

void ph__store_ask(struct ph_store *s, struct ph__store_op *op, int err)
{
    append(s, op);
    op->state = PH__OP_WAITS;
    op->until = uv_now(s->loop) + s->patience_ms;
    if (err)
        ph__store_over(s, op, err);
    else if (s->ops->up(s))
        begin(s, op);
    ph__store_arm(s);
}

void ph__store_over(struct ph_store *s, struct ph__store_op *op, int err)
{
    if (s->ended || op->state == PH__OP_OVER)
        return;
    if (err && !op->flush && op->state == PH__OP_RUNS)
        s->stats.failed++;
    op->state = PH__OP_OVER;
    op->err = err;
    ph__store_arm(s);
}

void ph__store_link(struct ph_store *s, bool up)
{
    for (struct ph__store_op *op = s->op; op && up; op = op->next)
        if (op->state == PH__OP_WAITS)
            begin(s, op);
    ph__store_write_link(s, up);
    ph__store_arm(s);
}

/* --- claims ---------------------------------------------------------------------------------------- */

struct claim {
    struct ph__store_op op;
    char node[PH_STORE_NAME];
    void (*fn)(void *ctx, int err, const char *token);
    void *ctx;
};

static int claim_begin(struct ph_store *s, struct ph__store_op *op)
{
    const struct claim *q = (struct claim *)op;
    uint8_t bytes[RANDOM];
    char text[2 * RANDOM + 1];

    s->env.rand(s->env.ctx, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return s->ops->claim(s, q->node, text, op);
}

static void claim_end(struct ph_store *s, struct ph__store_op *op)
{
    struct claim *q = (struct claim *)op;

    (void)s;
    q->fn(q->ctx, op->err, op->err ? "" : op->token);
    free(q);
}

void ph_store_claim(struct ph_store *s, const char *node,
                    void (*fn)(void *ctx, int err, const char *token), void *ctx)
{
    struct claim *q = calloc(1, sizeof *q);
    const bool ok = ph_store_name_ok(node);

    if (!q) {
        fn(ctx, PH_E_NOMEM, "");
        return;
    }
    q->op.begin = claim_begin;
    q->op.end = claim_end;
    q->fn = fn;
    q->ctx = ctx;
    if (ok)
        memcpy(q->node, node, strlen(node));
    ph__store_ask(s, &q->op, ok ? 0 : PH_E_ARG);
}

/* --- removals -------------------------------------------------------------------------------------- */

struct removal {
    struct ph__store_op op;
    struct ph__store_removal x; /* x.id: what is left, of id */
    unsigned left;
    uint64_t *id;
    void (*fn)(void *ctx, int err);
    void *ctx;
};

static int removal_begin(struct ph_store *s, struct ph__store_op *op)
{
    struct removal *q = (struct removal *)op;

    if (q->left == 0) {
        ph__store_over(s, op, 0);
        return 0;
    }
    q->x.n = q->left < PH__STORE_REMOVE ? q->left : PH__STORE_REMOVE;
    return s->ops->remove(s, &q->x, op);
}

void ph__store_removed(struct ph_store *s, struct ph__store_op *op, int err, unsigned count)
{
    struct removal *q = (struct removal *)op;

    if (s->ended)
        return;
    if (!err) {
        s->stats.removed += count;
        q->x.id += q->x.n;
        q->left -= q->x.n;
        err = removal_begin(s, op);
    }
    if (err)
        ph__store_over(s, op, err);
}

static void removal_end(struct ph_store *s, struct ph__store_op *op)
{
    struct removal *q = (struct removal *)op;

    (void)s;
    if (q->fn)
        q->fn(q->ctx, op->err);
    free(q->id);
    free(q);
}

void ph_store_remove(struct ph_store *s, const char *node, const char *kind, const char *token,
                     const uint64_t *id, unsigned n, void (*fn)(void *ctx, int err), void *ctx)
{
    struct removal *q = calloc(1, sizeof *q);
    uint64_t *copy = q ? calloc(n ? n : 1, sizeof *copy) : NULL;
    const bool ok = ph_store_name_ok(node) && ph__store_kind_ok(kind) && token &&
                    ph__store_token_ok(ph_str(token));

    if (!copy) {
        free(q);
        if (fn)
            fn(ctx, PH_E_NOMEM);
        return;
    }
    q->op.begin = removal_begin;
    q->op.end = removal_end;
    q->fn = fn;
    q->ctx = ctx;
    q->x.id = q->id = copy;
    q->left = n;
    if (n)
        memcpy(copy, id, n * sizeof *copy);
    if (ok) {
        memcpy(q->x.node, node, strlen(node));
        memcpy(q->x.kind, kind, strlen(kind));
        memcpy(q->x.token, token, strlen(token));
    }
    ph__store_ask(s, &q->op, ok ? 0 : PH_E_ARG);
}

/* --- flushes --------------------------------------------------------------------------------------- */

struct flush {
    struct ph__store_op op;
    void (*fn)(void *ctx, int err);
    void *ctx;
};

static void flush_end(struct ph_store *s, struct ph__store_op *op)
{
    struct flush *q = (struct flush *)op;

    (void)s;
    q->fn(q->ctx, op->err);
    free(q);
}

void ph_store_flush(struct ph_store *s, uint32_t timeout_ms, void (*fn)(void *ctx, int err),
                    void *ctx)
{
    struct flush *q = calloc(1, sizeof *q);

    if (!q) {
        fn(ctx, PH_E_NOMEM);
        return;
    }
    q->op.flush = true;
    q->op.begin = ph__store_write_flush;
    q->op.end = flush_end;
    q->fn = fn;
    q->ctx = ctx;
    append(s, &q->op);
    q->op.until = uv_now(s->loop) + timeout_ms;
    begin(s, &q->op);
    ph__store_arm(s);
}

/* --- birth and death ------------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t v, uint32_t by_default, uint32_t min, uint32_t max)
{
    v = v ? v : by_default;
    return v < min ? min : v > max ? max : v;
}

static bool conf_ok(struct ph_store_conf *c)
{
    if (!c->prefix[0])
        memcpy(c->prefix, "pinhole", sizeof "pinhole");
    c->gather_ms = or_default(c->gather_ms, 20, 1, 60000);
    c->batch = or_default(c->batch, 64, 1, PH__STORE_BATCH);
    c->flight = or_default(c->flight, 8, 1, PH__STORE_SLOTS);
    c->keep_s = or_default(c->keep_s, 7200, 2, UINT32_MAX);
    return ph_store_name_ok(c->node) && ph__store_prefix_ok(c->prefix);
}

struct ph_store *ph__store_new(uv_loop_t *loop, const struct ph__store_ops *ops, void *back,
                               const struct ph_store_conf *c, const struct ph_env *env)
{
    struct ph_store *s = calloc(1, sizeof *s);

    if (s)
        s->c = *c;
    if (!s || !conf_ok(&s->c)) {
        free(back);
        free(s);
        return NULL;
    }
    s->loop = loop;
    s->env = *env;
    s->ops = ops;
    s->back = back;
    s->patience_ms = PATIENCE_MS;
    s->later_tail = &s->later;
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    return s;
}

static void on_closed(uv_handle_t *h)
{
    struct ph_store *s = h->data;

    free(s->back);
    free(s);
}

void ph_store_free(struct ph_store *s)
{
    if (!s || s->ended)
        return;
    s->ended = true;
    s->ops->close(s);
    while (s->op) {
        struct ph__store_op *op = s->op;
        s->op = op->next;
        op->err = PH_E_STATE;
        op->end(s, op);
    }
    ph__store_write_fini(s);
    if (s->room)
        ph_wipe(s->room, s->room_cap);
    free(s->room);
    s->room = NULL;
    ph_wipe(&s->c.keys, sizeof s->c.keys);
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

void ph_store_set_keys(struct ph_store *s, const struct ph_fleet_keys *keys)
{
    s->c.keys = *keys;
}

const struct ph_store_stats *ph_store_stats(struct ph_store *s)
{
    const uint64_t since = s->w.since, now = uv_now(s->loop) + 1;

    s->stats.lag_ms = since && now > since ? (int64_t)(now - since) : 0;
    s->stats.behind = since != 0;
    return &s->stats;
}

#ifndef PH_HAVE_REDIS
struct ph_store *ph_store_redis_new(uv_loop_t *loop, const struct ph_redis_conf *redis,
                                    const struct ph_store_conf *c, const struct ph_env *env)
{
    (void)loop;
    (void)redis;
    (void)c;
    (void)env;
    return NULL;
}
#endif
