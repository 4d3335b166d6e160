/* The verbs of the TURN client: what came in, what is due, what goes out.  See client_priv.h for
 * who does the work.
 */
#include "turn/client.h"

#include "stun/base/error.h"
#include "stun/codec/demux.h"
#include "stun/codec/fingerprint.h"
#include "turn/client_priv.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_PEERS = 64, CHANNELS = PH_CHANNEL_MAX - PH_CHANNEL_MIN + 1 };

int ph__tc_blob_set(struct ph__tc_blob *b, struct ph_slice s)
{
    if (s.n > UINT16_MAX)
        return PH_E_NOSPACE;
    if (s.n > b->cap) {
        uint8_t *p = malloc(s.n);
        if (!p)
            return PH_E_NOMEM;
        if (b->p)
            ph_wipe(b->p, b->cap);
        free(b->p);
        b->p = p;
        b->cap = (uint16_t)s.n;
    }
    if (s.n)
        memmove(b->p, s.p, s.n);
    b->n = (uint16_t)s.n;
    return 0;
}

int ph__tc_grow(void **v, uint16_t *n, uint16_t max, size_t size)
{
    if (*n >= max)
        return PH_E_LIMIT;
    unsigned want = *n ? *n * 2U : 4U;
    if (want > max)
        want = max;
    uint8_t *p = realloc(*v, want * size);
    if (!p)
        return PH_E_NOMEM;
    memset(p + *n * size, 0, (want - *n) * size);
    *v = p;
    *n = (uint16_t)want;
    return 0;
}

ph_ns ph__tc_jitter(struct ph_turnc *t, ph_ns span)
{
    uint32_t tenth_ms = (uint32_t)(span / PH_MS(10));
    return span - PH_MS(ph_env_below(&t->env, tenth_ms));
}

struct ph_addr ph__tc_peer_key(const struct ph_addr *peer, bool with_port)
{
    struct ph_addr key = *peer;
    key.proto = PH_UDP;
    if (!with_port)
        key.port = 0;
    return key;
}

/* --- life --------------------------------------------------------------------------------- */

static bool conf_ok(const struct ph_turnc_conf *c)
{
    if (c->server.family != PH_AF_INET && c->server.family != PH_AF_INET6)
        return false;
    if (c->has_token && (c->family != PH_TURNC_ANY || c->even != PH_TURNC_ANY_PORT))
        return false;
    /* RFC 8656 7.1: not ADDITIONAL-ADDRESS-FAMILY together with a reservation. */
    return c->family != PH_TURNC_BOTH || c->even != PH_TURNC_RESERVE_NEXT;
}

struct ph_turnc *ph_turnc_new(const struct ph_turnc_conf *c, const struct ph_env *env)
{
    struct ph_turnc *t = conf_ok(c) ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return NULL;
    t->c = *c;
    t->c.user.p = t->c.password.p = NULL; /* copied below; the caller's may go */
    t->c.login.realm.p = t->c.login.nonce.p = t->c.login.algorithms.p = NULL;
    t->env = *env;
    t->c.txn.reliable = c->reliable;
    if (!c->max_permissions)
        t->c.max_permissions = DEFAULT_PEERS;
    if (!c->max_channels)
        t->c.max_channels = DEFAULT_PEERS;
    if (t->c.max_channels > CHANNELS)
        t->c.max_channels = CHANNELS;
    if (t->c.max_permissions == UINT16_MAX)
        t->c.max_permissions--; /* PH__TC_NO_SLOT */
    env->rand(env->ctx, &t->hash_key, sizeof t->hash_key);
    env->rand(env->ctx, t->next_id, sizeof t->next_id);
    ph_map_init(&t->perm_map);
    ph_map_init(&t->chan_map);
    t->peers_at = t->refresh_at = PH_NEVER;
    t->info =
        (struct ph_turnc_info){.server = c->server, .expires_at = PH_NEVER, .rtt = -1, .srtt = -1};
    if (ph__tc_auth_init(t, c) < 0) {
        ph_turnc_free(t);
        return NULL;
    }
    return t;
}

void ph_turnc_free(struct ph_turnc *t)
{
    if (!t)
        return;
    ph__tc_auth_fini(t);
    ph__tc_peers_fini(t);
    free(t);
}

/* --- packets ------------------------------------------------------------------------------ */

static bool from_server(const struct ph_turnc *t, const struct ph_pkt *p)
{
    return t->c.reliable || ph_addr_eq_endpoint(&p->src, &t->info.server);
}

static int input_stun(struct ph_turnc *t, struct ph_pkt *p, ph_ns now)
{
    struct ph_msg m;
    if (ph_msg_parse(&m, ph_buf_data(&p->b), p->b.len) < 0 ||
        ph_msg_check_fingerprint(&m) == PH_E_FORMAT) {
        t->stats.malformed++;
        return PH_DROP;
    }
    if (m.cls == PH_INDICATION && m.method == PH_DATA_METHOD)
        return ph__tc_data_indication(t, p, &m);
    if ((m.cls == PH_SUCCESS || m.cls == PH_ERROR) && ph__tc_ops_input(t, &m, now))
        return PH_CONSUMED;
    return PH_DROP;
}

int ph_turnc_input(struct ph_turnc *t, struct ph_pkt *p, ph_ns now)
{
    if (t->info.state == PH_TURNC_IDLE || !from_server(t, p))
        return PH_DROP;
    switch (ph_demux(ph_buf_data(&p->b), p->b.len)) {
    case PH_DEMUX_CHANNEL:
        return ph__tc_data_channel(t, p);
    case PH_DEMUX_STUN:
        return input_stun(t, p, now);
    default:
        return PH_DROP;
    }
}

void ph_turnc_tick(struct ph_turnc *t, ph_ns now)
{
    if (t->info.state == PH_TURNC_IDLE)
        return;
    ph__tc_ops_tick(t, now);
    ph__tc_alloc_tick(t, now);
    if (now >= t->peers_at) {
        t->peers_at = PH_NEVER;
        t->peers_due = true;
        ph__tc_perm_tick(t, now);
        ph__tc_chan_tick(t, now);
    }
}

ph_ns ph_turnc_deadline(const struct ph_turnc *t)
{
    if (t->info.state == PH_TURNC_IDLE)
        return PH_NEVER;
    ph_ns at = ph_min_ns(ph__tc_ops_deadline(t), ph__tc_alloc_deadline(t));
    return ph_min_ns(at, t->peers_at);
}

bool ph_turnc_output(struct ph_turnc *t, struct ph_pkt *out, ph_ns now)
{
    if (t->info.state == PH_TURNC_UP && t->peers_due) {
        while (ph__tc_perm_start(t, now) || ph__tc_chan_start(t, now))
            ;
        /* Whatever found no free operation waits for one to end, which sets the flag again. */
        t->peers_due = false;
    }
    return ph__tc_ops_output(t, out, now) || ph__tc_keep_output(t, out);
}

/* --- events ------------------------------------------------------------------------------- */

void ph__tc_say(struct ph_turnc *t, enum ph_turnc_ev_type type, struct ph__tc_result r)
{
    if (t->n_main_ev == PH__TC_MAIN) /* an owner that does not drain loses the oldest */
        memmove(t->main_ev, t->main_ev + 1, --t->n_main_ev * sizeof *t->main_ev);
    t->main_ev[t->n_main_ev++] = (struct ph__tc_main_ev){.type = (uint8_t)type, .r = r};
}

void ph__tc_mark(struct ph_turnc *t, struct ph__tc_mark *m, struct ph__tc_result r)
{
    if (!m->due)
        t->marks++;
    *m = (struct ph__tc_mark){true, r};
}

void ph__tc_unmark(struct ph_turnc *t, struct ph__tc_mark *m)
{
    if (m->due)
        t->marks--;
    m->due = false;
}

static bool main_event(struct ph_turnc *t, struct ph_turnc_ev *ev)
{
    if (!t->n_main_ev)
        return false;
    struct ph__tc_main_ev e = t->main_ev[0];
    memmove(t->main_ev, t->main_ev + 1, --t->n_main_ev * sizeof *t->main_ev);
    ev->type = (enum ph_turnc_ev_type)e.type;
    ev->err = e.r.err;
    ev->code = e.r.code;
    if (ev->type == PH_TURNC_REDIRECT) {
        ev->alternate = t->alternate;
        ev->domain = t->domain;
    }
    return true;
}

static bool perm_event(struct ph_turnc *t, struct ph_turnc_ev *ev)
{
    for (uint16_t i = 0; i < t->n_perm; i++) {
        struct ph__tc_perm *p = &t->perm[i];
        if (!p->ev.due)
            continue;
        ev->type = p->ev.r.err ? PH_TURNC_PERMIT_FAILED : PH_TURNC_PERMITTED;
        ev->err = p->ev.r.err;
        ev->code = p->ev.r.code;
        ev->peer = p->ip;
        ph__tc_unmark(t, &p->ev);
        if (p->dead)
            *p = (struct ph__tc_perm){0};
        return true;
    }
    return false;
}

static bool chan_event(struct ph_turnc *t, struct ph_turnc_ev *ev)
{
    for (uint16_t i = 0; i < t->n_chan; i++) {
        struct ph__tc_chan *ch = &t->chan[i];
        if (!ch->ev.due)
            continue;
        ev->type = ch->ev.r.err ? PH_TURNC_BIND_FAILED : PH_TURNC_BOUND;
        ev->err = ch->ev.r.err;
        ev->code = ch->ev.r.code;
        ev->peer = ch->peer;
        ev->channel = ph__tc_chan_number(t, ch);
        ph__tc_unmark(t, &ch->ev);
        if (ch->state == PH__TC_CHAN_DEAD)
            *ch = (struct ph__tc_chan){0};
        return true;
    }
    return false;
}

static bool icmp_event(struct ph_turnc *t, struct ph_turnc_ev *ev)
{
    if (!t->n_icmp_ev)
        return false;
    struct ph__tc_icmp_ev e = t->icmp_ev[0];
    memmove(t->icmp_ev, t->icmp_ev + 1, --t->n_icmp_ev * sizeof *t->icmp_ev);
    ev->type = PH_TURNC_ICMP;
    ev->peer = e.peer;
    ev->icmp_type = e.type;
    ev->icmp_code = e.code;
    ev->icmp_data = e.data;
    return true;
}

bool ph_turnc_event(struct ph_turnc *t, struct ph_turnc_ev *ev)
{
    *ev = (struct ph_turnc_ev){.reason = "", .domain = ""};
    if (!main_event(t, ev) && !(t->marks && (perm_event(t, ev) || chan_event(t, ev))) &&
        !icmp_event(t, ev))
        return false;
    if (ev->code)
        ev->reason = t->reason;
    return true;
}

/* --- looking in --------------------------------------------------------------------------- */

const struct ph_turnc_info *ph_turnc_info(const struct ph_turnc *t)
{
    return &t->info;
}

const struct ph_turnc_stats *ph_turnc_stats(const struct ph_turnc *t)
{
    return &t->stats;
}

struct ph_turnc_login ph_turnc_login(const struct ph_turnc *t)
{
    if (!t->login)
        return (struct ph_turnc_login){0};
    return (struct ph_turnc_login){ph__tc_blob_slice(&t->realm), ph__tc_blob_slice(&t->nonce),
                                   ph__tc_blob_slice(&t->algs)};
}

uint16_t ph_turnc_channel(const struct ph_turnc *t, const struct ph_addr *peer)
{
    const struct ph__tc_chan *ch = ph__tc_chan_find(t, peer);
    return ch && ch->state == PH__TC_CHAN_BOUND ? ph__tc_chan_number(t, ch) : 0;
}
