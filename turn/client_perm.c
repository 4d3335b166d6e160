/* The permissions of a TURN client (RFC 8656 9, 10).
 *
 * A record says when the server will forget a peer's IP and when to ask again.  Whatever is due
 * when a request is started shares it, and so does what would be due soon after.  A server refuses
 * a request as a whole, so the peers of a refused one are asked for one by one.
 */
#include "stun/base/error.h"
#include "turn/client_priv.h"

#include <stdlib.h>
#include <string.h>

/* A permission is asked for again after 240 s at most; whatever is due within 45 s of another one
 * joins it. */
#define REFRESH_AFTER PH_SEC(240)
#define JOIN_WITHIN   PH_SEC(45)

int ph__tc_peer_check(const struct ph_turnc *t, const struct ph_addr *peer)
{
    if (t->info.state != PH_TURNC_UP)
        return PH_E_STATE;
    if (peer->family != PH_AF_INET && peer->family != PH_AF_INET6)
        return PH_E_FAMILY;
    if (t->info.relay[peer->family == PH_AF_INET6].family == PH_AF_NONE)
        return PH_E_FAMILY;
    return 0;
}

struct ph__tc_perm *ph__tc_perm_find(const struct ph_turnc *t, const struct ph_addr *peer)
{
    struct ph_addr key = ph__tc_peer_key(peer, false);
    struct ph_map_it it = ph_map_find(&t->perm_map, ph__tc_peer_hash(t, &key));
    for (; it.slot != PH_MAP_NONE; it = ph_map_next(&t->perm_map, it))
        if (ph_addr_eq(&t->perm[it.slot].ip, &key))
            return &t->perm[it.slot];
    return NULL;
}

static int free_slot(struct ph_turnc *t)
{
    for (int i = 0; i < t->n_perm; i++)
        if (t->perm[i].ip.family == PH_AF_NONE)
            return i;
    int first_new = t->n_perm;
    void *v = t->perm;
    int err = ph__tc_grow(&v, &t->n_perm, t->c.max_permissions, sizeof *t->perm);
    t->perm = v;
    return err < 0 ? err : first_new;
}

int ph__tc_perm_get(struct ph_turnc *t, const struct ph_addr *peer)
{
    const struct ph__tc_perm *have = ph__tc_perm_find(t, peer);
    if (have)
        return (int)(have - t->perm);
    struct ph_addr key = ph__tc_peer_key(peer, false);
    int slot = free_slot(t);
    if (slot < 0)
        return slot;
    int err = ph_map_add(&t->perm_map, ph__tc_peer_hash(t, &key), (uint32_t)slot);
    if (err < 0)
        return err;
    t->perm[slot] = (struct ph__tc_perm){.ip = key, .refresh_at = PH_NEVER};
    t->info.permissions++;
    return slot;
}

/* Takes a permission out of the index; the record stays until its event is taken. */
static void unlink_perm(struct ph_turnc *t, struct ph__tc_perm *p)
{
    ph_map_del(&t->perm_map, ph__tc_peer_hash(t, &p->ip), (uint32_t)(p - t->perm));
    t->info.permissions--;
    p->dead = true;
    p->op = 0;
    p->refresh_at = PH_NEVER;
    p->expires_at = 0;
}

static void discard(struct ph_turnc *t, struct ph__tc_perm *p)
{
    ph__tc_unmark(t, &p->ev);
    unlink_perm(t, p);
    *p = (struct ph__tc_perm){0};
}

void ph__tc_perm_drop_unused(struct ph_turnc *t, struct ph__tc_perm *p)
{
    if (!p->wanted && !p->channels)
        discard(t, p);
}

int ph_turnc_permit(struct ph_turnc *t, const struct ph_addr *peer, ph_ns now)
{
    int err = ph__tc_peer_check(t, peer);
    if (err < 0)
        return err;
    int slot = ph__tc_perm_get(t, peer);
    if (slot < 0)
        return slot;
    struct ph__tc_perm *p = &t->perm[slot];
    if (p->wanted)
        return 0;
    p->wanted = true;
    if (p->expires_at) { /* by a channel */
        p->told = true;
        ph__tc_mark(t, &p->ev, (struct ph__tc_result){0});
        return 0;
    }
    if (!p->op) {
        p->refresh_at = now;
        t->peers_due = true;
    }
    return 0;
}

/* Ends a request whose peers have all been forgotten. */
static void stop_if_empty(struct ph_turnc *t, uint8_t op_number)
{
    for (uint16_t i = 0; i < t->n_perm; i++)
        if (t->perm[i].op == op_number)
            return;
    ph__tc_op_stop(&t->op[op_number]);
    t->peers_due = true;
}

void ph_turnc_forget(struct ph_turnc *t, const struct ph_addr *peer, ph_ns now)
{
    (void)now;
    struct ph__tc_chan *ch = ph__tc_chan_find(t, peer);
    if (ch && ch->state != PH__TC_CHAN_RESTING)
        ph__tc_chan_rest(t, ch);
    struct ph__tc_perm *p = ph__tc_perm_find(t, peer);
    if (!p)
        return;
    uint8_t op = p->op;
    p->wanted = p->told = false;
    ph__tc_unmark(t, &p->ev);
    ph__tc_perm_drop_unused(t, p);
    if (op)
        stop_if_empty(t, op);
}

/* --- requests ----------------------------------------------------------------------------- */

static bool due(const struct ph__tc_perm *p, ph_ns now)
{
    return p->ip.family != PH_AF_NONE && !p->dead && !p->op && p->refresh_at <= now;
}

bool ph__tc_perm_start(struct ph_turnc *t, ph_ns now)
{
    uint16_t first = 0;
    while (first < t->n_perm && !due(&t->perm[first], now))
        first++;
    struct ph__tc_op *op = first < t->n_perm ? ph__tc_op_free(t) : NULL;
    if (!op)
        return false;
    ph__tc_op_start(t, op, PH__TC_OP_PERMIT, now);
    t->perm[first].op = ph__tc_op_number(t, op);
    unsigned n = t->perm[first].alone ? PH__TC_BUNDLE : 1;
    for (uint16_t i = 0; i < t->n_perm && n < PH__TC_BUNDLE; i++) {
        struct ph__tc_perm *p = &t->perm[i];
        if (p->refresh_at != PH_NEVER && !p->alone && due(p, now + JOIN_WITHIN)) {
            p->op = ph__tc_op_number(t, op);
            n++;
        }
    }
    return true;
}

void ph__tc_perm_append(const struct ph_turnc *t, const struct ph__tc_op *op, struct ph_msgw *w)
{
    uint8_t number = ph__tc_op_number(t, op);
    for (uint16_t i = 0; i < t->n_perm; i++)
        if (t->perm[i].op == number)
            ph_msgw_addr(w, PH_ATTR_XOR_PEER_ADDRESS, &t->perm[i].ip);
}

void ph__tc_perm_installed(struct ph_turnc *t, struct ph__tc_perm *p, ph_ns now)
{
    p->expires_at = now + PH__TC_PERM_TTL;
    p->refresh_at = now + ph__tc_jitter(t, REFRESH_AFTER);
    p->alone = false;
    ph__tc_peers_due_at(t, p->refresh_at);
    if (p->wanted && !p->told) {
        p->told = true;
        ph__tc_mark(t, &p->ev, (struct ph__tc_result){0});
    }
}

/* The server will not have it, or has forgotten it. */
static void lose(struct ph_turnc *t, struct ph__tc_perm *p, struct ph__tc_result r, ph_ns now)
{
    bool wanted = p->wanted;
    p->wanted = p->told = false;
    if (p->channels) { /* binding them anew brings it back, or tells that they are lost, too */
        p->expires_at = 0;
        p->refresh_at = PH_NEVER;
        ph__tc_chan_rebind(t, (uint16_t)(p - t->perm), now);
    } else {
        unlink_perm(t, p);
    }
    if (wanted)
        ph__tc_mark(t, &p->ev, r);
    else if (p->dead)
        *p = (struct ph__tc_perm){0};
}

ph_ns ph__tc_retry_at(struct ph__tc_result r, ph_ns expires_at, ph_ns now)
{
    ph_ns left = expires_at - now;
    if (r.err != PH_E_REFUSED)
        return left > 0 ? now : PH_NEVER;
    return r.code >= 500 && left > PH_SEC(10) ? now + left / 2 : PH_NEVER;
}

static void refused(struct ph_turnc *t, struct ph__tc_perm *p, struct ph__tc_result r, bool several,
                    ph_ns now)
{
    bool credentials = r.code == 401 || r.code == 438 || r.code == 441;
    if (r.err == PH_E_REFUSED && several && !credentials) {
        p->alone = true;
        p->refresh_at = now;
        return;
    }
    p->refresh_at = ph__tc_retry_at(r, p->expires_at, now);
    if (p->refresh_at == PH_NEVER)
        lose(t, p, r, now);
    else
        ph__tc_peers_due_at(t, p->refresh_at);
}

void ph__tc_perm_done(struct ph_turnc *t, uint8_t op_number, struct ph__tc_result r, ph_ns now)
{
    unsigned n = 0;
    for (uint16_t i = 0; i < t->n_perm; i++)
        n += t->perm[i].op == op_number;
    for (uint16_t i = 0; i < t->n_perm; i++) {
        struct ph__tc_perm *p = &t->perm[i];
        if (p->op != op_number)
            continue;
        p->op = 0;
        if (r.err == 0)
            ph__tc_perm_installed(t, p, now);
        else
            refused(t, p, r, n > 1, now);
    }
}

/* --- time --------------------------------------------------------------------------------- */

void ph__tc_perm_tick(struct ph_turnc *t, ph_ns now)
{
    for (uint16_t i = 0; i < t->n_perm; i++) {
        struct ph__tc_perm *p = &t->perm[i];
        if (p->ip.family == PH_AF_NONE || p->dead)
            continue;
        if (p->expires_at && p->expires_at <= now && !p->op) {
            /* Nobody refreshed it in time (the machine slept): ask anew. */
            p->expires_at = 0;
            p->refresh_at = now;
        }
        if (!p->op && p->refresh_at > now)
            ph__tc_peers_due_at(t, p->refresh_at);
    }
}

void ph__tc_peers_clear(struct ph_turnc *t)
{
    ph_map_fini(&t->perm_map);
    ph_map_fini(&t->chan_map);
    ph_map_init(&t->perm_map);
    ph_map_init(&t->chan_map);
    if (t->n_perm)
        memset(t->perm, 0, t->n_perm * sizeof *t->perm);
    if (t->n_chan)
        memset(t->chan, 0, t->n_chan * sizeof *t->chan);
    t->info.permissions = t->info.channels = 0;
    t->marks = 0;
    t->peers_due = false;
    t->peers_at = PH_NEVER;
}

void ph__tc_peers_fini(struct ph_turnc *t)
{
    ph_map_fini(&t->perm_map);
    ph_map_fini(&t->chan_map);
    free(t->perm);
    free(t->chan);
}
