/*
 * The mapping table of a NAT box.
 *
 * A mapping ties an internal endpoint to an external one, for all remotes, one IP or one endpoint (its
 * scope).  Its sessions are the remote endpoints the inside has sent to; they are what the filter looks at,
 * and each ends after the box's ttl without traffic.  A mapping without live session is dead: its port is free
 * and nothing passes it.  (RFC 4787 4 and 5; "session" as in RFC 2663.)
 */
#include "tests/sim/priv.h"

#include <stdlib.h>

enum { MAX_SESSIONS = 65536 };

bool sim__scope_match(enum sim_scope scope, const struct ph_addr *a, const struct ph_addr *b)
{
    switch (scope) {
    case SIM_EI:
        return true;
    case SIM_AD:
        return ph_addr_eq_ip(a, b);
    default:
        return ph_addr_eq(a, b);
    }
}

static bool sess_live(const struct sim_nat *t, const struct sim_sess *e)
{
    return e->ends_at > t->sim->now;
}

bool sim__map_live(const struct sim_nat *t, const struct sim_map *m)
{
    for (const struct sim_sess *e = m->sess; e; e = e->next)
        if (sess_live(t, e))
            return true;
    return false;
}

struct sim_map *sim__map_out(const struct sim_nat *t, const struct ph_addr *in,
                             const struct ph_addr *remote)
{
    struct sim_map *m = t->by_in[sim__hash_endpoint(in)];
    for (; m; m = m->next_in)
        if (ph_addr_eq(&m->in, in) && sim__scope_match(m->scope, &m->remote, remote) &&
            sim__map_live(t, m))
            return m;
    return NULL;
}

/* How well a mapping fits a packet from outside: 0 dead or filtered, 1 admitted, 2 by a session with its IP, 3 by
 * one with its endpoint. */
static int admits(const struct sim_nat *t, const struct sim_map *m, const struct ph_addr *remote)
{
    int rank = 0;
    for (const struct sim_sess *e = m->sess; e; e = e->next) {
        if (!sess_live(t, e) || !sim__scope_match(t->conf.filtering, &e->remote, remote))
            continue;
        int r = ph_addr_eq(&e->remote, remote) ? 3 : ph_addr_eq_ip(&e->remote, remote) ? 2 : 1;
        rank = r > rank ? r : rank;
    }
    return rank;
}

/* The mapping with an external endpoint.  Overloading boxes can have several: the one that fits best wins,
 * then the one used last. */
struct sim_map *sim__map_in(const struct sim_nat *t, const struct ph_addr *ext,
                            const struct ph_addr *remote, bool *admitted)
{
    struct sim_map *best = NULL;
    int best_rank = 0;
    for (struct sim_map *m = t->by_ext[sim__hash_endpoint(ext)]; m; m = m->next_ext) {
        if (!ph_addr_eq(&m->ext, ext) || !sim__map_live(t, m))
            continue;
        int rank = admits(t, m, remote);
        if (!best || rank > best_rank || (rank == best_rank && m->used > best->used)) {
            best = m;
            best_rank = rank;
        }
    }
    *admitted = best_rank > 0;
    return best;
}

struct sim_map *sim__map_new(struct sim_nat *t, const struct ph_addr *in, const struct ph_addr *ext,
                             const struct ph_addr *remote, enum sim_scope scope)
{
    if (t->n_map >= t->conf.max_mappings)
        sim__maps_purge(t, false);
    if (t->n_map >= t->conf.max_mappings)
        return NULL;
    struct sim_map *m = sim__zalloc(sizeof *m);
    m->in = *in;
    m->ext = *ext;
    m->remote = *remote;
    m->scope = scope;
    struct sim_map **by_in = &t->by_in[sim__hash_endpoint(in)];
    struct sim_map **by_ext = &t->by_ext[sim__hash_endpoint(ext)];
    m->next_in = *by_in;
    m->next_ext = *by_ext;
    m->next = t->all;
    *by_in = *by_ext = t->all = m;
    t->n_map++;
    return m;
}

static void drop_dead_sessions(struct sim_nat *t, struct sim_map *m, bool all)
{
    for (struct sim_sess **at = &m->sess; *at;) {
        struct sim_sess *e = *at;
        if (!all && sess_live(t, e)) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        free(e);
        t->n_sess--;
    }
}

/* The inside sent to remote: opens or refreshes the session.  Returns false when there are too many. */
bool sim__map_touch(struct sim_nat *t, struct sim_map *m, const struct ph_addr *remote, ph_ns ttl)
{
    struct sim_sess *e = m->sess;
    while (e && !ph_addr_eq(&e->remote, remote))
        e = e->next;
    m->used = ++t->uses;
    if (!e) {
        if (t->n_sess >= MAX_SESSIONS)
            sim__maps_purge(t, false);
        if (t->n_sess >= MAX_SESSIONS)
            return false;
        e = sim__zalloc(sizeof *e);
        e->remote = *remote;
        e->next = m->sess;
        m->sess = e;
        t->n_sess++;
    }
    e->ends_at = t->sim->now + ttl;
    return true;
}

/* A packet came in from remote: refreshes its session, or the youngest one when the filter let a stranger
 * in. */
void sim__map_refresh(struct sim_nat *t, struct sim_map *m, const struct ph_addr *remote)
{
    struct sim_sess *youngest = NULL;
    for (struct sim_sess *e = m->sess; e; e = e->next) {
        if (!sess_live(t, e))
            continue;
        if (ph_addr_eq(&e->remote, remote)) {
            youngest = e;
            break;
        }
        if (!youngest || e->ends_at > youngest->ends_at)
            youngest = e;
    }
    if (youngest)
        youngest->ends_at = t->sim->now + t->conf.ttl;
}

static void unlink_map(struct sim_nat *t, struct sim_map *m)
{
    struct sim_map **at = &t->by_in[sim__hash_endpoint(&m->in)];
    while (*at != m)
        at = &(*at)->next_in;
    *at = m->next_in;
    at = &t->by_ext[sim__hash_endpoint(&m->ext)];
    while (*at != m)
        at = &(*at)->next_ext;
    *at = m->next_ext;
}

/* Frees what is dead, or everything. */
void sim__maps_purge(struct sim_nat *t, bool all)
{
    for (struct sim_map **at = &t->all; *at;) {
        struct sim_map *m = *at;
        drop_dead_sessions(t, m, all);
        if (m->sess) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        unlink_map(t, m);
        free(m);
        t->n_map--;
    }
}
