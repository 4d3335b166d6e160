/*
 * What all nodes have: read from what they have written down (turn/store/store.h).
 */
#include "cmd/turnd/fleet_priv.h"

#ifdef PH_HAVE_REDIS

#include "stun/base/error.h"

#include <stdlib.h>
#include <string.h>

struct listing {
    struct ph_tfleet *f;
    ph_tfleet_record *each;
    void (*done)(void *ctx, int err);
    void *ctx;
    unsigned left; /* nodes that are being read, and one while they are being asked for */
    int err;
};

struct reading {
    struct listing *l;
    struct ph_record_room room;
    char node[PH_FLEET_NAME];
};

static void one_less(struct listing *l, int err)
{
    l->err = l->err ? l->err : err;
    if (--l->left > 0)
        return;
    l->done(l->ctx, l->err);
    free(l);
}

static void on_record(void *ctx, uint64_t id, struct ph_slice value)
{
    struct reading *r = ctx;
    struct ph_record record;

    if (ph_record_read(&record, &r->room, value) == 0 && record.session == id)
        r->l->each(r->l->ctx, r->node, &record);
}

static void on_read(void *ctx, int err)
{
    struct reading *r = ctx;

    one_less(r->l, err);
    free(r);
}

static void read_node(struct listing *l, const char *node)
{
    struct reading *r = malloc(sizeof *r);

    if (!r) {
        l->err = PH_E_NOMEM;
        return;
    }
    r->l = l;
    snprintf(r->node, sizeof r->node, "%s", node);
    l->left++;
    ph_store_load(l->f->store, node, "alloc", on_record, on_read, r);
}

/* Made when it is first needed. */
static bool have_store(struct ph_tfleet *f)
{
    struct ph_store_conf c = {.keys = f->run->conf->fleet};

    if (f->store)
        return true;
    memcpy(c.node, f->run->conf->node, sizeof c.node);
    f->store = ph_store_redis_new(f->loop, &f->run->conf->state_redis, &c, &f->env);
    ph_wipe(&c.keys, sizeof c.keys);
    return f->store != NULL;
}

int ph_tfleet_list(struct ph_tfleet *f, ph_tfleet_record *each, void (*done)(void *ctx, int err),
                   void *ctx)
{
    struct ph_fleet_node_info *node = calloc(PH_FLEET_NODES, sizeof *node);
    struct listing *l = node && have_store(f) ? malloc(sizeof *l) : NULL;

    if (!l) {
        free(node);
        return PH_E_NOMEM;
    }
    *l = (struct listing){.f = f, .each = each, .done = done, .ctx = ctx, .left = 1};
    const unsigned n = ph_tfleet_nodes(f, node, PH_FLEET_NODES);
    for (unsigned i = 0; i < n; i++)
        read_node(l, node[i].name);
    free(node);
    one_less(l, 0);
    return 0;
}

#endif
