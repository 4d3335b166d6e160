/* The channels of a TURN client (RFC 8656 12).
 *
 * Slot i has number 0x4000 + i, so a packet finds its channel by index.  A slot whose binding has
 * ended rests until the server must have forgotten it, and 5 minutes more, before its number goes
 * to another peer; the same peer gets the same number back at any time, since it may not have
 * another one meanwhile.
 */
#include "stun/base/error.h"
#include "turn/client_priv.h"

/* A binding is refreshed after 500 s at most.  Its permission, which would lapse earlier, has a
 * record of its own. */
#define REFRESH_AFTER PH_SEC(500)

struct ph__tc_chan *ph__tc_chan_find(const struct ph_turnc *t, const struct ph_addr *peer)
{
    struct ph_addr key = ph__tc_peer_key(peer, true);
    struct ph_map_it it = ph_map_find(&t->chan_map, ph__tc_peer_hash(t, &key));
    for (; it.slot != PH_MAP_NONE; it = ph_map_next(&t->chan_map, it))
        if (ph_addr_eq(&t->chan[it.slot].peer, &key))
            return &t->chan[it.slot];
    return NULL;
}

struct ph__tc_chan *ph__tc_chan_by_number(const struct ph_turnc *t, uint16_t number)
{
    unsigned i = number - (unsigned)PH_CHANNEL_MIN;
    if (number < PH_CHANNEL_MIN || i >= t->n_chan)
        return NULL;
    struct ph__tc_chan *ch = &t->chan[i];
    /* While binding the answer may be behind the data it allows. */
    return ch->state == PH__TC_CHAN_BOUND || ch->state == PH__TC_CHAN_BINDING ? ch : NULL;
}

static int free_slot(struct ph_turnc *t)
{
    for (int i = 0; i < t->n_chan; i++)
        if (t->chan[i].state == PH__TC_CHAN_FREE)
            return i;
    int first_new = t->n_chan;
    void *v = t->chan;
    int err = ph__tc_grow(&v, &t->n_chan, t->c.max_channels, sizeof *t->chan);
    t->chan = v;
    return err < 0 ? err : first_new;
}

/* A slot for the peer: its old one, or a free one, in the index and without a permission. */
static int get_slot(struct ph_turnc *t, const struct ph_addr *peer)
{
    const struct ph__tc_chan *old = ph__tc_chan_find(t, peer);
    if (old)
        return (int)(old - t->chan);
    struct ph_addr key = ph__tc_peer_key(peer, true);
    int slot = free_slot(t);
    if (slot < 0)
        return slot;
    int err = ph_map_add(&t->chan_map, ph__tc_peer_hash(t, &key), (uint32_t)slot);
    if (err < 0)
        return err;
    t->chan[slot] =
        (struct ph__tc_chan){.peer = key, .state = PH__TC_CHAN_RESTING, .perm = PH__TC_NO_SLOT};
    return slot;
}

static void free_chan(struct ph_turnc *t, struct ph__tc_chan *ch)
{
    ph_map_del(&t->chan_map, ph__tc_peer_hash(t, &ch->peer), (uint32_t)(ch - t->chan));
    if (ch->ev.due) /* the record stays until it is taken */
        ch->state = PH__TC_CHAN_DEAD;
    else
        *ch = (struct ph__tc_chan){0};
}

int ph_turnc_bind(struct ph_turnc *t, const struct ph_addr *peer, ph_ns now)
{
    int err = ph__tc_peer_check(t, peer);
    if (err < 0)
        return err;
    int slot = get_slot(t, peer);
    if (slot < 0)
        return slot;
    struct ph__tc_chan *ch = &t->chan[slot];
    if (ch->state != PH__TC_CHAN_RESTING)
        return 0;
    int perm = ph__tc_perm_get(t, peer);
    if (perm < 0) {
        if (!ch->maybe_until)
            free_chan(t, ch);
        return perm;
    }
    t->perm[perm].channels++;
    ph__tc_unmark(t, &ch->ev);
    ch->perm = (uint16_t)perm;
    ch->state = PH__TC_CHAN_BINDING;
    ch->refresh_at = now;
    t->info.channels++;
    t->peers_due = true;
    return 0;
}

/* Takes the channel out of use; returns whether the server may still hold it. */
static bool unbind(struct ph_turnc *t, struct ph__tc_chan *ch)
{
    if (ch->op)
        ph__tc_op_stop(&t->op[ch->op]);
    struct ph__tc_perm *p = &t->perm[ch->perm];
    p->channels--;
    ph__tc_perm_drop_unused(t, p);
    ch->op = 0;
    ch->perm = PH__TC_NO_SLOT;
    ch->state = PH__TC_CHAN_RESTING;
    ch->refresh_at = PH_NEVER;
    t->info.channels--;
    if (ch->maybe_until)
        ph__tc_peers_due_at(t, ch->maybe_until + PH__TC_CHAN_REST);
    return ch->maybe_until != 0;
}

void ph__tc_chan_rest(struct ph_turnc *t, struct ph__tc_chan *ch)
{
    ph__tc_unmark(t, &ch->ev);
    if (!unbind(t, ch))
        free_chan(t, ch);
    t->peers_due = true; /* an operation may be free again */
}

/* --- requests ----------------------------------------------------------------------------- */

static bool in_use(const struct ph__tc_chan *ch)
{
    return ch->state == PH__TC_CHAN_BINDING || ch->state == PH__TC_CHAN_BOUND;
}

bool ph__tc_chan_start(struct ph_turnc *t, ph_ns now)
{
    for (uint16_t i = 0; i < t->n_chan; i++) {
        struct ph__tc_chan *ch = &t->chan[i];
        if (!in_use(ch) || ch->op || ch->refresh_at > now)
            continue;
        struct ph__tc_op *op = ph__tc_op_free(t);
        if (!op)
            return false;
        ph__tc_op_start(t, op, PH__TC_OP_BIND, now);
        op->chan = i;
        ch->op = ph__tc_op_number(t, op);
        return true;
    }
    return false;
}

void ph__tc_chan_rebind(struct ph_turnc *t, uint16_t perm, ph_ns now)
{
    for (uint16_t i = 0; i < t->n_chan; i++)
        if (in_use(&t->chan[i]) && t->chan[i].perm == perm && !t->chan[i].op)
            t->chan[i].refresh_at = now;
    t->peers_due = true;
}

void ph__tc_chan_append(struct ph_turnc *t, const struct ph__tc_op *op, struct ph_msgw *w,
                        ph_ns now)
{
    struct ph__tc_chan *ch = &t->chan[op->chan];
    ch->maybe_until = now + PH__TC_CHAN_TTL;
    ph_msgw_uint(w, PH_ATTR_CHANNEL_NUMBER, ph__tc_chan_number(t, ch));
    ph_msgw_addr(w, PH_ATTR_XOR_PEER_ADDRESS, &ch->peer);
}

static void bound(struct ph_turnc *t, struct ph__tc_chan *ch, ph_ns now)
{
    if (ch->state == PH__TC_CHAN_BINDING)
        ph__tc_mark(t, &ch->ev, (struct ph__tc_result){0});
    ch->state = PH__TC_CHAN_BOUND;
    ch->expires_at = now + PH__TC_CHAN_TTL;
    ch->refresh_at = now + ph__tc_jitter(t, REFRESH_AFTER);
    ph__tc_peers_due_at(t, ch->refresh_at);
    ph__tc_perm_installed(t, &t->perm[ch->perm], now);
}

void ph__tc_chan_done(struct ph_turnc *t, uint16_t slot, struct ph__tc_result r, ph_ns now)
{
    struct ph__tc_chan *ch = &t->chan[slot];
    ch->op = 0;
    if (r.err == 0) {
        bound(t, ch, now);
        return;
    }
    if (ch->state == PH__TC_CHAN_BOUND) {
        ch->refresh_at = ph__tc_retry_at(r, ch->expires_at, now);
        ph__tc_peers_due_at(t, ch->refresh_at);
        if (ch->refresh_at != PH_NEVER)
            return;
    }
    bool never = r.err == PH_E_REFUSED && ch->state == PH__TC_CHAN_BINDING;
    unbind(t, ch);
    ph__tc_mark(t, &ch->ev, r);
    if (never)
        free_chan(t, ch);
}

/* --- time --------------------------------------------------------------------------------- */

void ph__tc_chan_tick(struct ph_turnc *t, ph_ns now)
{
    for (uint16_t i = 0; i < t->n_chan; i++) {
        struct ph__tc_chan *ch = &t->chan[i];
        if (ch->state == PH__TC_CHAN_RESTING) {
            if (now >= ch->maybe_until + PH__TC_CHAN_REST)
                free_chan(t, ch);
            else
                ph__tc_peers_due_at(t, ch->maybe_until + PH__TC_CHAN_REST);
            continue;
        }
        if (!in_use(ch) || ch->op)
            continue;
        if (ch->state == PH__TC_CHAN_BOUND && ch->expires_at <= now) {
            /* Nobody refreshed it in time (the machine slept): Send indications until it is
             * back. */
            ch->state = PH__TC_CHAN_BINDING;
            ch->refresh_at = now;
        }
        if (ch->refresh_at > now)
            ph__tc_peers_due_at(t, ch->refresh_at);
    }
}
