/*
 * The nodes of a fleet: who is alive, and where to send clients.
 */
#include "turn/fleet.h"

#include "stun/base/error.h"
#include "turn/fleet_priv.h"

#include <stdlib.h>
#include <string.h>

struct ph_fleet *ph_fleet_new(const struct ph_fleet_conf *c, const struct ph_env *env)
{
    struct ph_fleet *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->c = *c;
    if (!f->c.dead_after)
        f->c.dead_after = PH_SEC(5);
    if (!f->c.users)
        f->c.users = 65536;
    if (!f->c.margin)
        f->c.margin = 200;
    env->rand(env->ctx, &f->key, sizeof f->key);
    ph_map_init(&f->by_user);
    f->tell.head = f->events.head = f->spent = PH_MAP_NONE;
    f->rates_at = PH_NEVER;
    return f;
}

void ph_fleet_free(struct ph_fleet *f)
{
    if (!f)
        return;
    ph__fleet_users_fini(f);
    free(f);
}

/* ---- nodes ---- */

static bool has_name(const struct ph_fleet_node_info *n, struct ph_slice name)
{
    return name.n > 0 && ph_slice_eq(ph_str(n->name), name);
}

uint8_t ph__fleet_find(const struct ph_fleet *f, struct ph_slice name)
{
    for (uint8_t i = 0; i < PH_FLEET_NODES; i++)
        if (has_name(&f->node[i].info, name))
            return i;
    return PH__FLEET_NONE;
}

uint8_t ph__fleet_make(struct ph_fleet *f, struct ph_slice name)
{
    uint8_t i = ph__fleet_find(f, name);

    if (i != PH__FLEET_NONE || name.n == 0 || name.n >= PH_FLEET_NAME)
        return i;
    /* A dead node gives way: what its users had was forgotten when it died. */
    for (i = 0; i < PH_FLEET_NODES && f->node[i].alive; i++)
        ;
    if (i == PH_FLEET_NODES)
        return PH__FLEET_NONE;
    ph__fleet_forget_node(f, i);
    f->node[i] = (struct ph__fleet_node){0};
    memcpy(f->node[i].info.name, name.p, name.n);
    return i;
}

/* What others would notice of an entry; load and sessions matter for the choice too. */
static bool is_news(const struct ph_fleet_node_info *a, const struct ph_fleet_node_info *b)
{
    return a->state != b->state || a->load != b->load || memcmp(a->at, b->at, sizeof a->at) != 0;
}

int ph_fleet_heard(struct ph_fleet *f, struct ph_slice name, struct ph_slice entry, ph_ns age,
                   ph_ns now)
{
    struct ph_fleet_node_info n;

    if (ph_slice_eq(ph_str(f->c.node), name))
        return 0;
    if (ph__fleet_entry_read(&n, entry)) {
        f->stats.bad++;
        return PH_E_FORMAT;
    }
    if (age < 0)
        age = 0; /* the clock it was stamped with has been set back */
    if (age >= f->c.dead_after && ph__fleet_find(f, name) == PH__FLEET_NONE)
        return 0; /* left behind by a node that is long gone */
    const uint8_t i = ph__fleet_make(f, name);
    if (i == PH__FLEET_NONE)
        return PH_E_LIMIT;
    struct ph__fleet_node *node = &f->node[i];
    memcpy(n.name, node->info.name, sizeof n.name);
    f->stats.entries++;
    node->heard_at = node->heard_at > now - age ? node->heard_at : now - age;
    f->changed = f->changed || (node->alive && is_news(&n, &node->info));
    node->info = n;
    if (!node->alive && age < f->c.dead_after) {
        node->alive = node->joined = true;
        f->stats.alive++;
        f->stats.joined++;
        f->changed = true;
    }
    return 0;
}

bool ph_fleet_tick(struct ph_fleet *f, ph_ns now)
{
    const bool was = f->changed;

    for (uint8_t i = 0; i < PH_FLEET_NODES; i++) {
        struct ph__fleet_node *n = &f->node[i];
        if (!n->alive || now - n->heard_at < f->c.dead_after)
            continue;
        n->alive = n->joined = false;
        f->stats.alive--;
        f->stats.died++;
        f->changed = true;
        ph__fleet_forget_node(f, i);
    }
    ph__fleet_rates_tick(f, now);
    const bool changed = was || f->changed;
    f->changed = false;
    f->now = now;
    return changed;
}

bool ph_fleet_alive(const struct ph_fleet *f, const char *name)
{
    const uint8_t i = ph__fleet_find(f, ph_str(name));
    return i != PH__FLEET_NONE && f->node[i].alive;
}

const struct ph_fleet_node_info *ph_fleet_each(const struct ph_fleet *f, unsigned *i)
{
    while (*i < PH_FLEET_NODES)
        if (f->node[(*i)++].alive)
            return &f->node[*i - 1].info;
    return NULL;
}

/* ---- where to send clients ---- */

unsigned ph_fleet_alternates(const struct ph_fleet *f, uint32_t own_load, bool unload,
                             struct ph_addr *v, unsigned max)
{
    const struct ph_fleet_node_info *best = NULL, *n;
    unsigned count = 0;

    for (unsigned i = 0; (n = ph_fleet_each(f, &i)) != NULL;)
        if (n->state == PH_FLEET_SERVING && n->load < PH_FLEET_LOAD && n->at[0].family &&
            (!best || n->load < best->load))
            best = n;
    if (!best || (unload && best->load + f->c.margin > own_load))
        return 0;
    while (count < PH_FLEET_AT && count < max && best->at[count].family) {
        v[count] = best->at[count];
        count++;
    }
    return count;
}

const struct ph_fleet_stats *ph_fleet_stats(const struct ph_fleet *f)
{
    return &f->stats;
}
