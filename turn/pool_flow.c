/*
 * The port pool: flows to and from peers, each of one member.
 *
 * A flow hangs on the permission that its member has for the peer's IP: it holds as long as that, and is gone with it.
 * One whose permission has ended is still good should it be renewed, unless somebody else has claimed it by then.
 */
#include "turn/pool.h"

#include "stun/base/error.h"
#include "turn/pool_priv.h"

#include <string.h>

/* --- records ------------------------------------------------------------------------------------- */

uint32_t ph__flow_find(const struct ph_pool *p, const struct ph__pool_key *k)
{
    struct ph_map_it it = ph_map_find(&p->by_flow, ph__pool_hash(p, k));

    while (it.slot != PH_MAP_NONE && memcmp(&ph__flow_at(p, it.slot)->key, k, sizeof *k) != 0)
        it = ph_map_next(&p->by_flow, it);
    return it.slot; /* PH_MAP_NONE is PH__POOL_NONE */
}

static struct ph__pool_member *owner(const struct ph_pool *p, uint32_t grant)
{
    return &p->member[ph__grant_at(p, grant)->member];
}

static void link_to_grant(struct ph_pool *p, uint32_t f, uint32_t grant)
{
    struct ph__pool_flow *flow = ph__flow_at(p, f);

    flow->grant = grant;
    flow->next = ph__grant_at(p, grant)->flow;
    ph__grant_at(p, grant)->flow = f;
    owner(p, grant)->flows++;
}

static void unlink_from_grant(struct ph_pool *p, uint32_t f)
{
    const struct ph__pool_flow *flow = ph__flow_at(p, f);
    uint32_t *at = &ph__grant_at(p, flow->grant)->flow;

    while (*at != f)
        at = &ph__flow_at(p, *at)->next;
    *at = flow->next;
    owner(p, flow->grant)->flows--;
}

uint32_t ph__flow_new(struct ph_pool *p, uint32_t grant, const struct ph__pool_key *k)
{
    uint32_t f = ph__pool_take(&p->flow);

    if (f == PH__POOL_NONE)
        return f;
    *ph__flow_at(p, f) = (struct ph__pool_flow){.key = *k, .other = PH__POOL_NONE};
    if (ph_map_add(&p->by_flow, ph__pool_hash(p, k), f)) {
        ph__pool_put(&p->flow, f);
        return PH__POOL_NONE;
    }
    link_to_grant(p, f, grant);
    return f;
}

static void end_flow(struct ph_pool *p, uint32_t f)
{
    unlink_from_grant(p, f);
    ph_map_del(&p->by_flow, ph__pool_hash(p, &ph__flow_at(p, f)->key), f);
    ph__pool_put(&p->flow, f);
}

void ph__flow_end_all(struct ph_pool *p, uint32_t grant)
{
    while (ph__grant_at(p, grant)->flow != PH__POOL_NONE)
        end_flow(p, ph__grant_at(p, grant)->flow);
}

bool ph__flow_room(const struct ph_pool *p, uint32_t member)
{
    return p->member[member].flows < p->max_flows;
}

/* Is a worth less to its client than b?  Those he has never sent by go first. */
static bool is_less(const struct ph__pool_flow *a, const struct ph__pool_flow *b)
{
    return a->sent == b->sent ? a->sent_at < b->sent_at : b->sent;
}

void ph__flow_evict(struct ph_pool *p, uint32_t member)
{
    uint32_t least = PH__POOL_NONE;

    for (uint32_t g = p->member[member].first; g != PH__POOL_NONE; g = ph__grant_at(p, g)->next)
        for (uint32_t f = ph__grant_at(p, g)->flow; f != PH__POOL_NONE; f = ph__flow_at(p, f)->next)
            if (least == PH__POOL_NONE || is_less(ph__flow_at(p, f), ph__flow_at(p, least)))
                least = f;
    if (least != PH__POOL_NONE)
        end_flow(p, least);
}

/* --- whose ----------------------------------------------------------------------------------------- */

/* The member that a flow belongs to now, or PH_POOL_NOBODY. */
static uint32_t holder(const struct ph_pool *p, uint32_t f, ph_ns now)
{
    if (f == PH__POOL_NONE)
        return PH_POOL_NOBODY;
    const struct ph__pool_grant *g = ph__grant_at(p, ph__flow_at(p, f)->grant);
    return now < g->until ? g->member : PH_POOL_NOBODY;
}

uint32_t ph_pool_holder(const struct ph_pool *p, unsigned port, const struct ph_addr *peer,
                        ph_ns now)
{
    const struct ph__pool_key k = ph__pool_key(port, peer);
    return holder(p, ph__flow_find(p, &k), now);
}

bool ph_pool_is_taken(const struct ph_pool *p, uint32_t member, const struct ph_addr *peer,
                      ph_ns now)
{
    const struct ph__pool_member *m = ph__member_at(p, member);
    uint32_t who = m ? ph_pool_holder(p, m->port, peer, now) : PH_POOL_NOBODY;
    return who != PH_POOL_NOBODY && who != member;
}

/* Makes a flow, which nobody holds, the one of a permission; f: its record, if there is one.  Its member has room. */
static uint32_t settle(struct ph_pool *p, uint32_t f, uint32_t grant, const struct ph__pool_key *k)
{
    if (f == PH__POOL_NONE)
        return ph__flow_new(p, grant, k);
    unlink_from_grant(p, f);
    link_to_grant(p, f, grant);
    ph__flow_at(p, f)->sent = false;
    ph__flow_at(p, f)->sent_at = 0;
    return f;
}

int ph_pool_claim(struct ph_pool *p, uint32_t member, const struct ph_addr *peer, ph_ns now)
{
    const struct ph__pool_member *m = ph__member_at(p, member);
    const struct ph__pool_key k = ph__pool_key(m ? m->port : PH__POOL_NONE, peer);
    uint32_t f = ph__flow_find(p, &k), who = holder(p, f, now);

    if (who != member) {
        if (who != PH_POOL_NOBODY)
            return PH_E_STATE;
        uint32_t g = ph__grant_live(p, member, peer, now);
        if (g == PH__POOL_NONE)
            return PH_E_MISSING;
        if (!ph__flow_room(p, member))
            ph__flow_evict(p, member); /* not f, or it would be his */
        f = settle(p, f, g, &k);
        if (f == PH__POOL_NONE)
            return PH_E_NOMEM;
    }
    ph__flow_at(p, f)->sent = true;
    ph__flow_at(p, f)->sent_at = now;
    return 0;
}

void ph__flow_pin(struct ph_pool *p, uint32_t grant, const struct ph_addr *from)
{
    const uint32_t member = ph__grant_at(p, grant)->member;
    const struct ph__pool_key k = ph__pool_key(p->member[member].port, from);

    if (ph__flow_room(p, member)) /* what strangers send drives nothing out */
        settle(p, ph__flow_find(p, &k), grant, &k);
}

/* The only permission at a site that lasts, or PH__POOL_NONE; *several: there are more. */
static uint32_t only_one(const struct ph_pool *p, uint32_t s, ph_ns now, bool *several)
{
    uint32_t g = s == PH__POOL_NONE ? s : ph__site_at(p, s)->first;

    *several = false;
    if (g == PH__POOL_NONE || now >= ph__grant_at(p, g)->until)
        return PH__POOL_NONE;
    uint32_t second = ph__grant_at(p, g)->after;
    *several = second != PH__POOL_NONE && now < ph__grant_at(p, second)->until;
    return *several ? PH__POOL_NONE : g;
}

uint32_t ph_pool_receiver(struct ph_pool *p, unsigned port, const struct ph_addr *from, ph_ns now)
{
    bool several;
    uint32_t who = ph_pool_holder(p, port, from, now);

    if (who != PH_POOL_NOBODY)
        return who;
    uint32_t g = only_one(p, ph__site_find(p, port, from), now, &several);
    if (g == PH__POOL_NONE)
        return several ? PH_POOL_SEVERAL : PH_POOL_NOBODY;
    ph__flow_pin(p, g, from);
    return ph__grant_at(p, g)->member;
}
