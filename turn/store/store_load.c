/*
 * Reading all records of a node, page by page.
 */
#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "turn/store/store_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct load {
    struct ph__store_op op;
    struct ph__store_scan scan;
    uint64_t loaded, unsealed, foreign;
    void (*each)(void *ctx, uint64_t id, struct ph_slice value);
    void (*done)(void *ctx, int err);
    void *ctx;
};

bool ph__store_is_life(struct ph_slice field)
{
    return ph_slice_eq(field, ph_str("life"));
}

int ph__store_room(struct ph_store *s, size_t n)
{
    if (n <= s->room_cap)
        return 0;
    uint8_t *room = malloc(n);
    if (!room)
        return PH_E_NOMEM;
    if (s->room)
        ph_wipe(s->room, s->room_cap);
    free(s->room);
    s->room = room;
    s->room_cap = n;
    return 0;
}

int ph__store_open(struct ph_store *s, const struct ph__store_scan *c, struct ph_slice field,
                   struct ph_slice value, uint64_t *id, struct ph_slice *plain)
{
    const struct ph_fleet_keys *k = s->sealed ? &s->c.keys : NULL;

    if (k && value.n <= PH_STORE_VALUE && ph__store_room(s, value.n))
        return PH_E_NOMEM;
    const int n = ph__store_entry(k, c->node, c->kind, field, value, id, s->room);
    if (n < 0)
        return n;
    *plain = (struct ph_slice){k ? s->room : value.p, (size_t)n};
    return 0;
}

/* --- pages ----------------------------------------------------------------------------------------- */

static struct load *load_of(struct ph__store_scan *c)
{
    return (struct load *)((char *)c - offsetof(struct load, scan));
}

static bool on_entry(struct ph__store_scan *c, struct ph_slice field, struct ph_slice value)
{
    struct ph_store *s = c->s;
    struct load *q = load_of(c);
    struct ph_slice plain;
    uint64_t id;

    if (ph__store_is_life(field))
        return true;
    const int err = ph__store_open(s, c, field, value, &id, &plain);
    if (err == PH_E_NOMEM) {
        ph__store_over(s, &q->op, err);
        return false;
    }
    if (err) {
        *(err == PH_E_AUTH ? &q->unsealed : &q->foreign) += 1;
        *(err == PH_E_AUTH ? &s->stats.unsealed : &s->stats.foreign) += 1;
        return true;
    }
    q->loaded++;
    s->stats.loaded++;
    q->each(q->ctx, id, plain);
    return !s->ended;
}

/* One line for all that was left alone, and what it may come from. */
static void sum_up(const struct ph_store *s, const struct load *q)
{
    char key[PH__STORE_KEY];

    ph__store_key(key, s->c.prefix, q->scan.node, q->scan.kind);
    if (q->unsealed + q->foreign == 0)
        return;
    ph_logf(&s->env, PH_LOG_WARN,
            "%s: %s: read %" PRIu64 " records and left %" PRIu64 " alone: %" PRIu64
            " do not open%s, %" PRIu64 " are no records of this version",
            s->label, key, q->loaded, q->unsealed + q->foreign, q->unsealed,
            q->unsealed ? " (sealed with another fleet-key, or changed)" : "", q->foreign);
}

static void on_page(struct ph__store_scan *c, int err)
{
    struct ph_store *s = c->s;
    struct load *q = load_of(c);

    if (s->ended || q->op.state == PH__OP_OVER)
        return;
    const bool last = !err && strcmp(c->cursor, "0") == 0;
    if (!err && !last)
        err = ++c->pages < PH__STORE_PAGES ? s->ops->page(s, c) : PH_E_LIMIT;
    if (err || last) {
        sum_up(s, q);
        ph__store_over(s, &q->op, err == PH_E_STATE ? PH_E_TIMEOUT : err);
    }
}

/* --- the call -------------------------------------------------------------------------------------- */

static int load_begin(struct ph_store *s, struct ph__store_op *op)
{
    return s->ops->page(s, &((struct load *)op)->scan);
}

static void load_end(struct ph_store *s, struct ph__store_op *op)
{
    struct load *q = (struct load *)op;

    (void)s;
    q->done(q->ctx, op->err);
    free(q);
}

void ph_store_load(struct ph_store *s, const char *node, const char *kind,
                   void (*each)(void *ctx, uint64_t id, struct ph_slice value),
                   void (*done)(void *ctx, int err), void *ctx)
{
    struct load *q = calloc(1, sizeof *q);
    const bool ok = ph_store_name_ok(node) && ph__store_kind_ok(kind);

    if (!q) {
        done(ctx, PH_E_NOMEM);
        return;
    }
    q->op.begin = load_begin;
    q->op.end = load_end;
    q->scan.s = s;
    q->scan.entry = on_entry;
    q->scan.page = on_page;
    q->scan.cursor[0] = '0';
    q->each = each;
    q->done = done;
    q->ctx = ctx;
    if (ok) {
        memcpy(q->scan.node, node, strlen(node));
        memcpy(q->scan.kind, kind, strlen(kind));
    }
    ph__store_ask(s, &q->op, ok ? 0 : PH_E_ARG);
}
