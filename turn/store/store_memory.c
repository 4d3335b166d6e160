/*
 * The store in memory: for tests, and for whoever wants records to outlive a part of the process only.
 *
 * What is asked for is done at once, under the lock of the space, and answered from the loop; a page is read when it is
 * answered.  Records are kept as they are.
 */
#include "stun/base/error.h"
#include "stun/base/map.h"
#include "stun/codec/integrity.h"
#include "turn/store/store_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A record, or (p NULL) a free place. */
struct place {
    uint64_t id;
    uint8_t *p;
    size_t n;
    uint32_t next_free;
};

struct table {
    struct table *next;
    char kind[PH_STORE_KIND];
    struct ph_map by_id;
    struct place *place;
    uint32_t n, cap, free; /* places that were ever in use; the first free one of them */
};

struct node {
    struct node *next;
    char name[PH_STORE_NAME], token[PH_STORE_TOKEN];
    struct table *table;
};

struct ph_store_space {
    uv_mutex_t lock;
    struct node *node;
    uint64_t claims;
};

/* What a handle has of it. */
struct memory {
    struct ph_store_space *space;
};

static struct ph_store_space *enter(const struct ph_store *s)
{
    struct ph_store_space *space = ((struct memory *)s->back)->space;

    uv_mutex_lock(&space->lock);
    return space;
}

static void leave(struct ph_store_space *space)
{
    uv_mutex_unlock(&space->lock);
}

/* --- a table --------------------------------------------------------------------------------------- */

static uint64_t hash(uint64_t id)
{
    return id * UINT64_C(0x9E3779B97F4A7C15) >> 32;
}

static uint32_t find(const struct table *t, uint64_t id)
{
    struct ph_map_it it = ph_map_find(&t->by_id, hash(id));

    while (it.slot != PH_MAP_NONE && t->place[it.slot].id != id)
        it = ph_map_next(&t->by_id, it);
    return it.slot;
}

static void drop_value(struct place *p)
{
    if (p->p)
        ph_wipe(p->p, p->n);
    free(p->p);
    p->p = NULL;
}

static bool del(struct table *t, uint64_t id)
{
    const uint32_t i = find(t, id);

    if (i == PH_MAP_NONE)
        return false;
    drop_value(&t->place[i]);
    ph_map_del(&t->by_id, hash(id), i);
    t->place[i].next_free = t->free;
    t->free = i;
    return true;
}

/* A place that is free, taken from the table only when it is filled. */
static int spare(struct table *t, uint32_t *i)
{
    if (t->free == PH_MAP_NONE && t->n == t->cap) {
        const uint32_t cap = t->cap ? 2 * t->cap : 64;
        struct place *more = realloc(t->place, cap * sizeof *more);
        if (!more)
            return PH_E_NOMEM;
        t->place = more;
        t->cap = cap;
    }
    *i = t->free == PH_MAP_NONE ? t->n : t->free;
    return 0;
}

static int set(struct table *t, uint64_t id, struct ph_slice value)
{
    uint8_t *copy = malloc(value.n);
    uint32_t i = find(t, id);
    const bool is_new = i == PH_MAP_NONE;
    int err = copy ? 0 : PH_E_NOMEM;

    if (!err && is_new)
        err = spare(t, &i);
    if (!err && is_new)
        err = ph_map_add(&t->by_id, hash(id), i);
    if (err) {
        free(copy);
        return err;
    }
    if (is_new && i == t->n)
        t->n++;
    else if (is_new)
        t->free = t->place[i].next_free;
    else
        drop_value(&t->place[i]);
    memcpy(copy, value.p, value.n);
    t->place[i] = (struct place){.id = id, .p = copy, .n = value.n};
    return 0;
}

static void free_table(struct table *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        drop_value(&t->place[i]);
    ph_map_fini(&t->by_id);
    free(t->place);
    free(t);
}

/* --- nodes ----------------------------------------------------------------------------------------- */

static struct node *node_of(struct ph_store_space *space, const char *name, bool make)
{
    struct node *x = space->node;

    while (x && strcmp(x->name, name) != 0)
        x = x->next;
    if (x || !make)
        return x;
    x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    memcpy(x->name, name, strlen(name));
    x->next = space->node;
    space->node = x;
    return x;
}

static struct table *table_of(struct node *x, const char *kind, bool make)
{
    struct table *t = x ? x->table : NULL;

    while (t && strcmp(t->kind, kind) != 0)
        t = t->next;
    if (t || !x || !make)
        return t;
    t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    memcpy(t->kind, kind, strlen(kind));
    ph_map_init(&t->by_id);
    t->free = PH_MAP_NONE;
    t->next = x->table;
    x->table = t;
    return t;
}

/* Whether somebody else has claimed the node since. */
static bool fenced(const struct node *x, const char *token)
{
    return x->token[0] && strcmp(x->token, token) != 0 &&
           !ph__store_token_older(ph_str(x->token), ph_str(token));
}

/* --- what is asked for ----------------------------------------------------------------------------- */

static bool is_up(struct ph_store *s)
{
    (void)s;
    return true;
}

static int write_batch(struct ph_store_space *space, const struct ph_store *s)
{
    const struct ph__store_batch *b = &s->w.batch;
    struct node *x = node_of(space, s->c.node, true);
    struct table *t = table_of(x, s->w.kind, true);
    int err = t ? 0 : PH_E_NOMEM;

    if (!err && fenced(x, s->w.token))
        err = PH_E_FORBIDDEN;
    if (!err)
        memcpy(x->token, s->w.token, sizeof x->token);
    for (unsigned i = 0; i < b->n_set && !err; i++)
        err = set(t, b->set[i].id, (struct ph_slice){b->bytes + b->set[i].at, b->set[i].n});
    for (unsigned i = 0; i < b->n_del && !err; i++)
        del(t, b->del[i]);
    return err;
}

static void answer_write(void *ctx)
{
    struct ph__store_slot *slot = ctx;

    ph__store_wrote(slot, slot->err, "1", slot->err ? ph_strerror(slot->err) : NULL);
}

static int memory_write(struct ph_store *s, struct ph__store_slot *slot)
{
    struct ph_store_space *space = enter(s);

    slot->err = write_batch(space, s);
    leave(space);
    s->stats.commands++;
    ph__store_later(s, &slot->later, answer_write, slot);
    return 0;
}

static int memory_claim(struct ph_store *s, const char *node, const char *random,
                        struct ph__store_op *op)
{
    struct ph_store_space *space = enter(s);
    struct node *x = node_of(space, node, true);

    if (x) {
        snprintf(x->token, sizeof x->token, "%" PRIu64 "-%s", ++space->claims, random);
        memcpy(op->token, x->token, sizeof op->token);
    }
    leave(space);
    s->stats.commands++;
    if (!x)
        return PH_E_NOMEM;
    ph__store_over(s, op, 0);
    return 0;
}

static void answer_remove(void *ctx)
{
    struct ph__store_op *op = ctx;

    ph__store_removed(op->s, op, op->err, op->count);
}

static int memory_remove(struct ph_store *s, const struct ph__store_removal *x,
                         struct ph__store_op *op)
{
    struct ph_store_space *space = enter(s);
    struct node *of = node_of(space, x->node, false);
    struct table *t = table_of(of, x->kind, false);

    op->count = 0;
    op->err = of && fenced(of, x->token) ? PH_E_FORBIDDEN : 0;
    for (unsigned i = 0; t && !op->err && i < x->n; i++)
        op->count += del(t, x->id[i]);
    leave(space);
    s->stats.commands++;
    ph__store_later(s, &op->later, answer_remove, op);
    return 0;
}

/* --- reading --------------------------------------------------------------------------------------- */

/* Copies the next record from *i on into the handle's room.  Its length, 0: there is none, or PH_E_NOMEM. */
static int copy_next(struct ph_store *s, const struct ph__store_scan *c, uint32_t *i, uint64_t *id)
{
    struct ph_store_space *space = enter(s);
    const struct table *t = table_of(node_of(space, c->node, false), c->kind, false);
    int n = 0;

    while (t && *i < t->n && !t->place[*i].p)
        ++*i;
    if (t && *i < t->n) {
        const struct place *p = &t->place[(*i)++];
        n = ph__store_room(s, p->n);
        if (!n) {
            memcpy(s->room, p->p, p->n);
            *id = p->id;
            n = (int)p->n;
        }
    }
    leave(space);
    return n;
}

static void answer_page(void *ctx)
{
    struct ph__store_scan *c = ctx;
    struct ph_store *s = c->s;
    uint32_t at = (uint32_t)strtoul(c->cursor, NULL, 10);
    uint64_t id = 0;
    int n = 1;

    for (unsigned i = 0; i < PH__STORE_PAGE && n > 0; i++) {
        char field[PH__STORE_ID];
        n = copy_next(s, c, &at, &id);
        if (n <= 0)
            break;
        const size_t len = ph__store_id_write(field, id);
        const bool more = c->entry(c, (struct ph_slice){(uint8_t *)field, len},
                                   (struct ph_slice){s->room, (size_t)n});
        if (s->ended)
            return;
        if (!more)
            break;
    }
    snprintf(c->cursor, sizeof c->cursor, "%" PRIu32, n > 0 ? at : 0);
    c->page(c, n < 0 ? n : 0);
}

static int memory_page(struct ph_store *s, struct ph__store_scan *c)
{
    s->stats.commands++;
    ph__store_later(s, &c->later, answer_page, c);
    return 0;
}

/* --- birth and death ------------------------------------------------------------------------------- */

static void memory_close(struct ph_store *s)
{
    (void)s;
}

static const struct ph__store_ops ops = {
    .up = is_up,
    .write = memory_write,
    .page = memory_page,
    .claim = memory_claim,
    .remove = memory_remove,
    .close = memory_close,
};

struct ph_store_space *ph_store_space_new(void)
{
    struct ph_store_space *space = calloc(1, sizeof *space);

    if (space && uv_mutex_init(&space->lock) == 0)
        return space;
    free(space);
    return NULL;
}

void ph_store_space_free(struct ph_store_space *space)
{
    if (!space)
        return;
    for (struct node *x = space->node, *next; x; x = next) {
        next = x->next;
        for (struct table *t = x->table, *after; t; t = after) {
            after = t->next;
            free_table(t);
        }
        free(x);
    }
    uv_mutex_destroy(&space->lock);
    free(space);
}

struct ph_store *ph_store_memory_new(uv_loop_t *loop, struct ph_store_space *space,
                                     const struct ph_store_conf *c, const struct ph_env *env)
{
    struct memory *m = malloc(sizeof *m);
    struct ph_store *s = m ? ph__store_new(loop, &ops, m, c, env) : NULL;

    if (!s)
        return NULL;
    m->space = space;
    snprintf(s->label, sizeof s->label, "memory");
    return s;
}
