/*
 * The port pool: life, ports, members, permissions.
 *
 * Permissions are kept by port and IP, so that "who permits this peer, and is he the only one" takes two compares however
 * many do: those of one IP lie in a row, the longest lasting first.  As all are given for the same span, a new or renewed
 * one goes to the front; looking for another place is for what is ended early or restored.
 */
#include "turn/pool.h"

#include "stun/base/error.h"
#include "turn/pool_priv.h"

#include <stdlib.h>
#include <string.h>

/* --- tables -------------------------------------------------------------------------------------- */

uint32_t ph__pool_take(struct ph__pool_table *t)
{
    uint32_t i = t->free;

    if (i != PH__POOL_NONE) {
        memcpy(&t->free, t->v + (size_t)i * t->size, sizeof t->free);
    } else {
        if (t->used == t->cap) {
            uint32_t cap = t->cap ? t->cap * 2 : 16;
            uint8_t *v = realloc(t->v, (size_t)cap * t->size);
            if (!v)
                return PH__POOL_NONE;
            t->v = v;
            t->cap = cap;
        }
        i = t->used++;
    }
    memset(t->v + (size_t)i * t->size, 0, t->size);
    return i;
}

void ph__pool_put(struct ph__pool_table *t, uint32_t i)
{
    memcpy(t->v + (size_t)i * t->size, &t->free, sizeof t->free);
    t->free = i;
}

/* --- life ---------------------------------------------------------------------------------------- */

struct ph_pool *ph_pool_new(unsigned ports, unsigned permissions, unsigned flows,
                            const struct ph_env *env)
{
    struct ph_pool *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->members = calloc(ports ? ports : 1, sizeof *p->members);
    if (!p->members) {
        free(p);
        return NULL;
    }
    p->env = *env;
    p->ports = ports;
    p->max_grants = permissions < UINT16_MAX ? permissions : UINT16_MAX;
    p->max_flows = flows < UINT16_MAX ? flows : UINT16_MAX;
    env->rand(env->ctx, &p->hash_key, sizeof p->hash_key);
    p->grant =
        (struct ph__pool_table){.size = sizeof(struct ph__pool_grant), .free = PH__POOL_NONE};
    p->site = (struct ph__pool_table){.size = sizeof(struct ph__pool_site), .free = PH__POOL_NONE};
    p->flow = (struct ph__pool_table){.size = sizeof(struct ph__pool_flow), .free = PH__POOL_NONE};
    ph_map_init(&p->by_site);
    ph_map_init(&p->by_flow);
    ph_map_init(&p->by_name);
    return p;
}

void ph_pool_free(struct ph_pool *p)
{
    if (!p)
        return;
    ph_map_fini(&p->by_site);
    ph_map_fini(&p->by_flow);
    ph_map_fini(&p->by_name);
    free(p->grant.v);
    free(p->site.v);
    free(p->flow.v);
    free(p->member);
    free(p->members);
    free(p);
}

/* --- keys ---------------------------------------------------------------------------------------- */

struct ph__pool_key ph__pool_key(uint32_t port, const struct ph_addr *peer)
{
    struct ph__pool_key k = {.port = port, .at = *peer};
    k.at.proto = PH_PROTO_NONE;
    return k;
}

static struct ph__pool_key key_of_ip(uint32_t port, const struct ph_addr *ip)
{
    struct ph__pool_key k = ph__pool_key(port, ip);
    k.at.port = 0;
    return k;
}

uint64_t ph__pool_hash(const struct ph_pool *p, const struct ph__pool_key *k)
{
    return ph_hash(&p->hash_key, k, sizeof *k);
}

/* --- ports and their members --------------------------------------------------------------------- */

int ph_pool_pick(const struct ph_pool *p, unsigned first, unsigned end, unsigned step)
{
    uint32_t least = UINT32_MAX, ties = 0;

    if (end > p->ports)
        end = p->ports;
    for (unsigned i = first; i < end; i += step) {
        ties = p->members[i] < least ? 1 : ties + (p->members[i] == least);
        if (p->members[i] < least)
            least = p->members[i];
    }
    uint32_t nth = ph_env_below(&p->env, ties);
    for (unsigned i = first; i < end; i += step)
        if (p->members[i] == least && nth-- == 0)
            return (int)i;
    return PH_E_LIMIT;
}

int ph_pool_join(struct ph_pool *p, uint32_t member, unsigned port)
{
    if (member >= p->member_cap) {
        uint32_t cap = p->member_cap ? p->member_cap : 64;
        while (cap <= member)
            cap *= 2;
        struct ph__pool_member *v = realloc(p->member, cap * sizeof *v);
        if (!v)
            return PH_E_NOMEM;
        for (uint32_t i = p->member_cap; i < cap; i++)
            v[i].port = PH__POOL_NONE;
        p->member = v;
        p->member_cap = cap;
    }
    p->member[member] =
        (struct ph__pool_member){.port = port, .joining = ++p->joinings, .first = PH__POOL_NONE};
    p->members[port]++;
    return 0;
}

unsigned ph_pool_members(const struct ph_pool *p, unsigned port)
{
    return p->members[port];
}

/* --- permissions --------------------------------------------------------------------------------- */

uint32_t ph__site_find(const struct ph_pool *p, uint32_t port, const struct ph_addr *ip)
{
    const struct ph__pool_key k = key_of_ip(port, ip);
    struct ph_map_it it = ph_map_find(&p->by_site, ph__pool_hash(p, &k));

    while (it.slot != PH_MAP_NONE && memcmp(&ph__site_at(p, it.slot)->key, &k, sizeof k) != 0)
        it = ph_map_next(&p->by_site, it);
    return it.slot; /* PH_MAP_NONE is PH__POOL_NONE */
}

uint32_t ph__grant_find(const struct ph_pool *p, uint32_t member, const struct ph_addr *ip)
{
    const struct ph__pool_member *m = ph__member_at(p, member);
    uint32_t g = m ? m->first : PH__POOL_NONE;

    while (g != PH__POOL_NONE &&
           !ph_addr_eq_ip(&ph__site_at(p, ph__grant_at(p, g)->site)->key.at, ip))
        g = ph__grant_at(p, g)->next;
    return g;
}

uint32_t ph__grant_live(const struct ph_pool *p, uint32_t member, const struct ph_addr *ip,
                        ph_ns now)
{
    uint32_t g = ph__grant_find(p, member, ip);
    return g != PH__POOL_NONE && now < ph__grant_at(p, g)->until ? g : PH__POOL_NONE;
}

/* The site of an IP, made if need be: then it has no permissions yet. */
static uint32_t site_of(struct ph_pool *p, uint32_t port, const struct ph_addr *ip)
{
    uint32_t s = ph__site_find(p, port, ip);

    if (s != PH__POOL_NONE || (s = ph__pool_take(&p->site)) == PH__POOL_NONE)
        return s;
    *ph__site_at(p, s) = (struct ph__pool_site){
        .key = key_of_ip(port, ip), .first = PH__POOL_NONE, .last = PH__POOL_NONE};
    if (ph_map_add(&p->by_site, ph__pool_hash(p, &ph__site_at(p, s)->key), s)) {
        ph__pool_put(&p->site, s);
        return PH__POOL_NONE;
    }
    return s;
}

/* Frees a site that nobody has a permission at. */
static void tidy_site(struct ph_pool *p, uint32_t s)
{
    const struct ph__pool_site *site = ph__site_at(p, s);

    if (site->first != PH__POOL_NONE)
        return;
    ph_map_del(&p->by_site, ph__pool_hash(p, &site->key), s);
    ph__pool_put(&p->site, s);
}

/* Puts a permission behind another one at its site; PH__POOL_NONE: in front of all. */
static void link_behind(struct ph_pool *p, uint32_t g, uint32_t before)
{
    struct ph__pool_grant *grant = ph__grant_at(p, g);
    struct ph__pool_site *site = ph__site_at(p, grant->site);
    uint32_t *to_here = before == PH__POOL_NONE ? &site->first : &ph__grant_at(p, before)->after;

    grant->before = before;
    grant->after = *to_here;
    *to_here = g;
    *(grant->after == PH__POOL_NONE ? &site->last : &ph__grant_at(p, grant->after)->before) = g;
}

/* Puts a permission where it belongs at its site. */
static void link_to_site(struct ph_pool *p, uint32_t g)
{
    const struct ph__pool_grant *grant = ph__grant_at(p, g);
    const struct ph__pool_site *site = ph__site_at(p, grant->site);
    uint32_t before = PH__POOL_NONE, at = site->first;

    if (site->last != PH__POOL_NONE && grant->until <= ph__grant_at(p, site->last)->until)
        before = site->last;
    else
        for (; at != PH__POOL_NONE && grant->until < ph__grant_at(p, at)->until;
             at = ph__grant_at(p, at)->after)
            before = at;
    link_behind(p, g, before);
}

static void unlink_from_site(struct ph_pool *p, uint32_t g)
{
    const struct ph__pool_grant *grant = ph__grant_at(p, g);
    struct ph__pool_site *site = ph__site_at(p, grant->site);

    *(grant->before == PH__POOL_NONE ? &site->first : &ph__grant_at(p, grant->before)->after) =
        grant->after;
    *(grant->after == PH__POOL_NONE ? &site->last : &ph__grant_at(p, grant->after)->before) =
        grant->before;
}

/* Ends a permission that is no longer in its member's list, with its flows. */
static void drop_grant(struct ph_pool *p, uint32_t g)
{
    const uint32_t s = ph__grant_at(p, g)->site;

    ph__flow_end_all(p, g);
    p->member[ph__grant_at(p, g)->member].grants--;
    unlink_from_site(p, g);
    ph__pool_put(&p->grant, g);
    tidy_site(p, s);
}

/* Drops the permissions of a member that do not last; all of them with now = PH_NEVER. */
static void drop_grants(struct ph_pool *p, uint32_t member, ph_ns now)
{
    uint32_t g = p->member[member].first, kept = PH__POOL_NONE, next;

    for (; g != PH__POOL_NONE; g = next) {
        next = ph__grant_at(p, g)->next;
        if (now < ph__grant_at(p, g)->until) {
            ph__grant_at(p, g)->next = kept;
            kept = g;
        } else {
            drop_grant(p, g);
        }
    }
    p->member[member].first = kept;
}

/* A new permission.  PH__POOL_NONE: no memory. */
static uint32_t new_grant(struct ph_pool *p, uint32_t member, const struct ph_addr *ip, ph_ns until)
{
    struct ph__pool_member *m = &p->member[member];
    uint32_t s = site_of(p, m->port, ip);
    uint32_t g = s == PH__POOL_NONE ? s : ph__pool_take(&p->grant);

    if (g == PH__POOL_NONE) {
        if (s != PH__POOL_NONE)
            tidy_site(p, s);
        return g;
    }
    *ph__grant_at(p, g) = (struct ph__pool_grant){
        .next = m->first, .member = member, .site = s, .flow = PH__POOL_NONE, .until = until};
    m->first = g;
    m->grants++;
    link_to_site(p, g);
    return g;
}

int ph_pool_permit(struct ph_pool *p, uint32_t member, const struct ph_addr *ip, ph_ns until,
                   ph_ns now)
{
    uint32_t g = ph__grant_find(p, member, ip);

    if (g != PH__POOL_NONE) {
        unlink_from_site(p, g);
        ph__grant_at(p, g)->until = until;
        link_to_site(p, g);
        return 0;
    }
    if (until <= now || !ph__member_at(p, member))
        return 0;
    if (p->member[member].grants >= p->max_grants)
        drop_grants(p, member, now);
    if (p->member[member].grants >= p->max_grants)
        return PH_E_LIMIT;
    return new_grant(p, member, ip, until) == PH__POOL_NONE ? PH_E_NOMEM : 0;
}

void ph_pool_leave(struct ph_pool *p, uint32_t member)
{
    if (!ph__member_at(p, member))
        return;
    drop_grants(p, member, PH_NEVER);
    ph__pool_forget_names(p, member);
    p->members[p->member[member].port]--;
    p->member[member].port = PH__POOL_NONE;
}
