/*
 * The port pool: names of ICE, and packets between members.
 *
 * A member's flow to a port of the pool is his alone, and leads to who is behind that port for him.  Two whose flows lead
 * to each other are in a conversation, which no third one with the same addresses can get into.  A flow that leads to
 * somebody who has not sent back is only a guess: a check that names another one, or a conversation of the other's, ends it.
 */
#include "turn/pool.h"

#include "turn/pool_priv.h"

#include <string.h>

enum {
    LOOK = 16 /* members that are looked at before it is given up to tell one from the others */
};

/* --- names --------------------------------------------------------------------------------------- */

/* A name at a port; never 0. */
static uint32_t name_hash(const struct ph_pool *p, uint32_t port, struct ph_slice name)
{
    const uint64_t whole[2] = {ph_hash(&p->hash_key, name.p, name.n), port};
    const uint32_t h = (uint32_t)ph_hash(&p->hash_key, whole, sizeof whole);
    return h ? h : 1;
}

static bool has_name(const struct ph__pool_member *m, uint32_t h)
{
    return m && (m->name[0] == h || m->name[1] == h);
}

void ph_pool_learn(struct ph_pool *p, uint32_t member, struct ph_slice ufrag)
{
    struct ph__pool_member *m = ph__member_at(p, member);
    const uint32_t h = m && ufrag.n ? name_hash(p, m->port, ufrag) : 0;
    unsigned same = 0;

    if (!h || m->name[0] == h)
        return;
    if (m->name[1] == h) {
        m->name[1] = m->name[0];
        m->name[0] = h;
        return;
    }
    for (struct ph_map_it it = ph_map_find(&p->by_name, h); it.slot != PH_MAP_NONE && same < LOOK;
         it = ph_map_next(&p->by_name, it))
        same++;
    if (same == LOOK ||
        ph_map_add(&p->by_name, h, member)) /* that many have it: it tells nothing */
        return;
    if (m->name[1])
        ph_map_del(&p->by_name, m->name[1], member);
    m->name[1] = m->name[0];
    m->name[0] = h;
}

void ph__pool_forget_names(struct ph_pool *p, uint32_t member)
{
    for (unsigned i = 0; i < 2; i++)
        if (p->member[member].name[i])
            ph_map_del(&p->by_name, p->member[member].name[i], member);
}

/* The permission for an IP of who has a name at a port, PH__POOL_NONE: nobody does.  *several: more than one. */
static uint32_t find_named(const struct ph_pool *p, uint32_t port, const struct ph_addr *from,
                           struct ph_slice name, ph_ns now, bool *several)
{
    const uint32_t h = name_hash(p, port, name);
    uint32_t found = PH__POOL_NONE;

    *several = false;
    for (struct ph_map_it it = ph_map_find(&p->by_name, h); it.slot != PH_MAP_NONE;
         it = ph_map_next(&p->by_name, it)) {
        if (!has_name(ph__member_at(p, it.slot), h) || p->member[it.slot].port != port)
            continue;
        uint32_t g = ph__grant_live(p, it.slot, from, now);
        if (g == PH__POOL_NONE)
            continue;
        *several = found != PH__POOL_NONE;
        if (*several)
            return PH__POOL_NONE;
        found = g;
    }
    return found;
}

uint32_t ph_pool_named(struct ph_pool *p, unsigned port, const struct ph_addr *from,
                       struct ph_slice ufrag, ph_ns now)
{
    bool several;
    uint32_t who = ph_pool_holder(p, port, from, now);

    if (who != PH_POOL_NOBODY)
        return who;
    uint32_t g = find_named(p, port, from, ufrag, now, &several);
    if (g == PH__POOL_NONE)
        return several ? PH_POOL_SEVERAL : PH_POOL_NOBODY;
    ph__flow_pin(p, g, from);
    return ph__grant_at(p, g)->member;
}

/* --- inside the pool ------------------------------------------------------------------------------- */

static uint32_t inside_flow(const struct ph_pool *p, uint32_t member, const struct ph_addr *peer)
{
    const struct ph__pool_key k = ph__pool_key(PH__POOL_INSIDE | member, peer);
    return ph__flow_find(p, &k);
}

/* The member that a flow leads to, if he is still there, at that port, and permits `from`; else PH__POOL_NONE. */
static uint32_t leads_to(const struct ph_pool *p, uint32_t f, uint32_t port,
                         const struct ph_addr *from, ph_ns now)
{
    if (f == PH__POOL_NONE)
        return PH__POOL_NONE;
    const struct ph__pool_flow *flow = ph__flow_at(p, f);
    const struct ph__pool_member *m = ph__member_at(p, flow->other);
    bool there = m && m->joining == flow->other_joining && m->port == port &&
                 ph__grant_live(p, flow->other, from, now) != PH__POOL_NONE;
    return there ? flow->other : PH__POOL_NONE;
}

static void lead_to(const struct ph_pool *p, uint32_t f, uint32_t member)
{
    ph__flow_at(p, f)->other = member;
    ph__flow_at(p, f)->other_joining = p->member[member].joining;
}

/* Is a member at the port in a conversation with somebody else at the sender's?  Being sent to does not make one: anybody
 * could keep others away by it. */
static bool is_engaged(const struct ph_pool *p, const struct ph_pool_hop *hop, uint32_t member,
                       ph_ns now)
{
    uint32_t port = p->member[hop->member].port;
    uint32_t f = inside_flow(p, member, &hop->from);
    uint32_t with = leads_to(p, f, port, &hop->peer, now);

    return with != PH__POOL_NONE && with != hop->member && ph__flow_at(p, f)->sent &&
           leads_to(p, inside_flow(p, with, &hop->peer), hop->to, &hop->from, now) == member;
}

/* The only member at the port who may be meant.  PH_POOL_NOBODY, PH_POOL_SEVERAL, PH_POOL_TAKEN. */
static uint32_t only_other(const struct ph_pool *p, const struct ph_pool_hop *hop, ph_ns now)
{
    uint32_t s = ph__site_find(p, hop->to, &hop->from), found = PH_POOL_NOBODY;
    uint32_t g = s == PH__POOL_NONE ? s : ph__site_at(p, s)->first;
    unsigned looked = 0;

    for (; g != PH__POOL_NONE && now < ph__grant_at(p, g)->until; g = ph__grant_at(p, g)->after) {
        uint32_t member = ph__grant_at(p, g)->member;
        if (member == hop->member)
            continue;
        if (looked++ == LOOK)
            return PH_POOL_SEVERAL;
        if (!is_engaged(p, hop, member, now)) {
            if (!PH_POOL_NO_ONE(found))
                return PH_POOL_SEVERAL;
            found = member;
        } else if (found == PH_POOL_NOBODY) {
            found = PH_POOL_TAKEN;
        }
    }
    return found;
}

/* Who is meant, as far as it can be told from the packet and f, the sender's flow. */
static uint32_t who_is_meant(const struct ph_pool *p, const struct ph_pool_hop *hop, uint32_t f,
                             ph_ns now)
{
    bool several;

    if (hop->name.n) {
        uint32_t g = find_named(p, hop->to, &hop->from, hop->name, now, &several);
        uint32_t member = g == PH__POOL_NONE ? hop->member : ph__grant_at(p, g)->member;
        if (member != hop->member)
            return is_engaged(p, hop, member, now) ? PH_POOL_TAKEN : member;
    }
    uint32_t with = leads_to(p, f, hop->to, &hop->from, now);
    if (with != PH__POOL_NONE && !is_engaged(p, hop, with, now))
        return with;
    return only_other(p, hop, now);
}

/* Lets the flow of who has been reached lead back, unless it leads elsewhere. */
static void lead_back(struct ph_pool *p, const struct ph_pool_hop *hop, uint32_t member, ph_ns now)
{
    const struct ph__pool_key k = ph__pool_key(PH__POOL_INSIDE | member, &hop->from);
    const uint32_t port = p->member[hop->member].port;
    uint32_t f = ph__flow_find(p, &k);

    if (f == PH__POOL_NONE && ph__flow_room(p, member))
        f = ph__flow_new(p, ph__grant_find(p, member, &hop->from), &k);
    if (f != PH__POOL_NONE && leads_to(p, f, port, &hop->peer, now) == PH__POOL_NONE)
        lead_to(p, f, hop->member);
}

uint32_t ph_pool_across(struct ph_pool *p, const struct ph_pool_hop *hop, ph_ns now)
{
    const struct ph__pool_key k = ph__pool_key(PH__POOL_INSIDE | hop->member, &hop->peer);
    const uint32_t mine = ph__grant_live(p, hop->member, &hop->peer, now);
    uint32_t f = ph__flow_find(p, &k);

    if (mine == PH__POOL_NONE)
        return PH_POOL_NOBODY;
    uint32_t member = who_is_meant(p, hop, f, now);
    if (PH_POOL_NO_ONE(member))
        return member == PH_POOL_NOBODY && p->member[hop->member].port == hop->to ? hop->member
                                                                                  : member;
    if (f == PH__POOL_NONE) {
        if (!ph__flow_room(p, hop->member))
            ph__flow_evict(p, hop->member);
        f = ph__flow_new(p, mine, &k);
        if (f == PH__POOL_NONE)
            return PH_POOL_NOBODY;
    }
    lead_to(p, f, member);
    ph__flow_at(p, f)->sent = true;
    ph__flow_at(p, f)->sent_at = now;
    lead_back(p, hop, member, now);
    return member;
}
