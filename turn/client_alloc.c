/* The allocation of a TURN client: Allocate, Refresh, redirects, release (RFC 8656 7, 8). */
#include "stun/base/error.h"
#include "turn/client_priv.h"

#include <string.h>

/* Lifetimes beyond this are refreshed as if they were this long. */
enum { MAX_LIFETIME_S = 86400 };

int ph_turnc_allocate(struct ph_turnc *t, ph_ns now)
{
    if (t->info.state != PH_TURNC_IDLE)
        return PH_E_STATE;
    t->info.state = PH_TURNC_ALLOCATING;
    t->info.has_token = false;
    t->info.family_code = 0;
    t->info.mapped = t->info.relay[0] = t->info.relay[1] = (struct ph_addr){0};
    t->release_wanted = false;
    t->release_result = (struct ph__tc_result){0};
    t->visited[0] = t->info.server;
    t->n_visited = 1;
    ph__tc_op_start(t, &t->op[0], PH__TC_OP_ALLOCATE, now);
    return 0;
}

static void append_family(struct ph_msgw *w, enum ph_turnc_family family)
{
    switch (family) {
    case PH_TURNC_IPV4:
        ph_msgw_uint(w, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET);
        break;
    case PH_TURNC_IPV6:
        ph_msgw_uint(w, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET6);
        break;
    case PH_TURNC_BOTH:
        /* The draft's number for servers of its time; both are optional to understand. */
        ph_msgw_uint(w, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6);
        ph_msgw_uint(w, PH_ATTR_DRAFT_ADDITIONAL_FAMILY, PH_AF_INET6);
        break;
    case PH_TURNC_ANY:
        break;
    }
}

void ph__tc_alloc_append(const struct ph_turnc *t, struct ph_msgw *w)
{
    ph_msgw_uint(w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    if (t->c.lifetime_s)
        ph_msgw_uint(w, PH_ATTR_LIFETIME, t->c.lifetime_s);
    append_family(w, t->c.family);
    if (t->c.even != PH_TURNC_ANY_PORT)
        ph_msgw_uint(w, PH_ATTR_EVEN_PORT, t->c.even == PH_TURNC_RESERVE_NEXT ? 0x80 : 0);
    if (t->c.has_token)
        ph_msgw_uint(w, PH_ATTR_RESERVATION_TOKEN, t->c.token);
    if (t->c.dont_fragment)
        ph_msgw_flag(w, PH_ATTR_DONT_FRAGMENT);
}

/* --- states ------------------------------------------------------------------------------- */

static void go_idle(struct ph_turnc *t)
{
    for (unsigned i = 0; i < PH__TC_OPS; i++)
        ph__tc_op_stop(&t->op[i]);
    ph__tc_peers_clear(t);
    t->n_icmp_ev = 0;
    t->info.state = PH_TURNC_IDLE;
    t->info.expires_at = t->refresh_at = PH_NEVER;
    t->keep_due = false;
}

static void fail(struct ph_turnc *t, struct ph__tc_result r)
{
    enum ph_turnc_ev_type type = t->release_wanted ? PH_TURNC_RELEASED : PH_TURNC_FAILED;
    go_idle(t);
    ph__tc_say(t, type, r);
}

void ph__tc_alloc_lost(struct ph_turnc *t, struct ph__tc_result r)
{
    go_idle(t);
    ph__tc_say(t, PH_TURNC_LOST, r);
}

static void start_release(struct ph_turnc *t, ph_ns now)
{
    for (unsigned i = 0; i < PH__TC_OPS; i++)
        ph__tc_op_stop(&t->op[i]);
    ph__tc_peers_clear(t);
    t->info.state = PH_TURNC_RELEASING;
    t->refresh_at = PH_NEVER;
    ph__tc_op_start(t, &t->op[0], PH__TC_OP_RELEASE, now);
}

/* The server made an allocation that we cannot use: give it back, then say why. */
static void reject(struct ph_turnc *t, int err, ph_ns now)
{
    if (!t->release_wanted)
        t->release_result = (struct ph__tc_result){err, 0};
    start_release(t, now);
}

/* --- Allocate ----------------------------------------------------------------------------- */

/* Takes the granted lifetime and plans the next Refresh: a minute before the end or after 5/6 of
 * it, whichever is earlier, but not in its first half. */
static void take_lifetime(struct ph_turnc *t, uint32_t lifetime_s, ph_ns now)
{
    ph_ns span = PH_SEC(lifetime_s < MAX_LIFETIME_S ? lifetime_s : MAX_LIFETIME_S);
    ph_ns wait = ph_min_ns(span / 6 * 5, span - PH_SEC(60));
    if (wait < span / 2)
        wait = span / 2;
    t->info.lifetime_s = lifetime_s;
    t->info.expires_at = now + span;
    t->refresh_at = now + ph__tc_jitter(t, wait);
}

static uint32_t lifetime_of(const struct ph_msg *m)
{
    uint64_t s;
    return ph_msg_uint(m, PH_IX_LIFETIME, &s) == 0 ? (uint32_t)s : 600; /* RFC 8656 3.2 */
}

/* One or two XOR-RELAYED-ADDRESS, of different families. */
static void take_relays(struct ph_turnc *t, const struct ph_msg *m)
{
    struct ph_msg_it it = {0};
    while (ph_msg_next(m, &it)) {
        struct ph_attr_value v;
        if (it.type != PH_ATTR_XOR_RELAYED_ADDRESS ||
            ph_attr_decode(&ph_attr_table[PH_IX_XOR_RELAYED_ADDRESS], it.value.p, it.value.n,
                           ph_msg_txid(m), &v) < 0)
            continue;
        struct ph_addr *relay = &t->info.relay[v.addr.family == PH_AF_INET6];
        if (relay->family == PH_AF_NONE)
            *relay = ph__tc_peer_key(&v.addr, true);
    }
}

static bool relays_fit(const struct ph_turnc *t)
{
    bool v4 = t->info.relay[0].family != PH_AF_NONE, v6 = t->info.relay[1].family != PH_AF_NONE;
    switch (t->c.family) {
    case PH_TURNC_IPV4:
        return v4;
    case PH_TURNC_IPV6:
        return v6;
    default:
        return v4 || v6;
    }
}

static void take_extras(struct ph_turnc *t, const struct ph_msg *m)
{
    struct ph_attr_value v;
    if (ph_msg_addr(m, PH_IX_XOR_MAPPED_ADDRESS, &t->info.mapped) == 0)
        t->info.mapped.proto = PH_UDP;
    t->info.has_token = ph_msg_uint(m, PH_IX_RESERVATION_TOKEN, &t->info.token) == 0;
    if (ph_msg_get(m, PH_IX_ADDRESS_ERROR_CODE, &v) == 0 ||
        ph_msg_get(m, PH_IX_DRAFT_ADDRESS_ERROR_CODE, &v) == 0)
        t->info.family_code = v.error.code;
}

static void allocated(struct ph_turnc *t, const struct ph_msg *m, ph_ns now)
{
    take_relays(t, m);
    take_extras(t, m);
    if (!relays_fit(t)) {
        bool none = t->info.relay[0].family == PH_AF_NONE && t->info.relay[1].family == PH_AF_NONE;
        reject(t, none ? PH_E_FORMAT : PH_E_FAMILY, now);
        return;
    }
    take_lifetime(t, lifetime_of(m), now);
    if (t->release_wanted) {
        start_release(t, now);
        return;
    }
    t->info.state = PH_TURNC_UP;
    t->keep_at = t->c.keepalive > 0 ? now + t->c.keepalive : PH_NEVER;
    t->keep_due = false;
    ph__tc_say(t, PH_TURNC_ALLOCATED, (struct ph__tc_result){0});
}

/* --- redirects (RFC 8489 10) -------------------------------------------------------------- */

static bool visited(const struct ph_turnc *t, const struct ph_addr *server)
{
    for (unsigned i = 0; i < t->n_visited; i++)
        if (ph_addr_eq_endpoint(&t->visited[i], server))
            return true;
    return false;
}

static void take_domain(struct ph_turnc *t, const struct ph_msg *m)
{
    struct ph_slice s = {0};
    ph_msg_bytes(m, PH_IX_ALTERNATE_DOMAIN, &s);
    size_t n = 0;
    while (n < s.n && n < sizeof t->domain - 1 && s.p[n] > 0x20 && s.p[n] < 0x7F) {
        t->domain[n] = (char)s.p[n];
        n++;
    }
    t->domain[n] = '\0';
}

static void redirected(struct ph_turnc *t, const struct ph_msg *m, struct ph__tc_result r,
                       ph_ns now)
{
    struct ph_addr to;
    if (ph_msg_addr(m, PH_IX_ALTERNATE_SERVER, &to) < 0 || to.port == 0) {
        r.err = PH_E_FORMAT;
        fail(t, r);
        return;
    }
    to.proto = t->info.server.proto;
    r.err = PH_E_REDIRECT;
    if (visited(t, &to) || t->n_visited == PH__TC_VISITED) {
        fail(t, r); /* round and round */
        return;
    }
    bool follow = t->c.follow_redirects && !t->c.reliable && to.family == t->info.server.family;
    if (!follow || t->release_wanted) {
        t->alternate = to;
        take_domain(t, m);
        go_idle(t);
        ph__tc_say(t, t->release_wanted ? PH_TURNC_RELEASED : PH_TURNC_REDIRECT, r);
        return;
    }
    t->visited[t->n_visited++] = to;
    t->info.server = to;
    ph__tc_auth_reset(t);
    ph__tc_op_start(t, &t->op[0], PH__TC_OP_ALLOCATE, now);
}

void ph__tc_alloc_done(struct ph_turnc *t, const struct ph_msg *m, struct ph__tc_result r,
                       ph_ns now)
{
    bool success = m && m->cls == PH_SUCCESS;
    if (r.err == 0)
        allocated(t, m, now);
    else if (success && r.err == PH_E_UNSUPPORTED)
        reject(t, r.err, now);
    else if (r.code == 300 && r.err == PH_E_REFUSED)
        redirected(t, m, r, now);
    else
        fail(t, r);
}

/* --- Refresh ------------------------------------------------------------------------------ */

int ph_turnc_refresh(struct ph_turnc *t, uint32_t lifetime_s, ph_ns now)
{
    if (t->info.state != PH_TURNC_UP || t->op[0].kind != PH__TC_OP_NONE)
        return PH_E_STATE;
    ph__tc_op_start(t, &t->op[0], PH__TC_OP_REFRESH, now);
    t->op[0].lifetime_s = lifetime_s ? lifetime_s : t->c.lifetime_s;
    return 0;
}

void ph__tc_refresh_done(struct ph_turnc *t, const struct ph_msg *m, struct ph__tc_result r,
                         ph_ns now)
{
    if (r.err == 0) {
        uint32_t lifetime_s = lifetime_of(m);
        if (lifetime_s == 0) {
            ph__tc_alloc_lost(t, (struct ph__tc_result){PH_E_REFUSED, 0});
            return;
        }
        take_lifetime(t, lifetime_s, now);
        ph__tc_say(t, PH_TURNC_REFRESHED, r);
        return;
    }
    /* Silence is met with another try at once, a refusal with one after half of what is left. */
    ph_ns left = t->info.expires_at - now;
    t->refresh_at = r.code == 0 ? now : now + (left > PH_SEC(10) ? left / 2 : PH_SEC(5));
    ph__tc_say(t, PH_TURNC_REFRESH_FAILED, r);
}

/* --- time --------------------------------------------------------------------------------- */

static void keep_tick(struct ph_turnc *t, ph_ns now)
{
    if (now < t->keep_at)
        return;
    t->keep_due = !t->sent;
    t->sent = false;
    t->keep_at = now + t->c.keepalive;
}

bool ph__tc_keep_output(struct ph_turnc *t, struct ph_pkt *out)
{
    struct ph_msgw w;
    uint8_t id[PH_TXID_LEN];
    if (!t->keep_due)
        return false;
    t->keep_due = false;
    ph__tc_next_id(t, id);
    ph_msgw_begin(&w, ph_buf_data(&out->b), out->b.cap - out->b.off, PH_BINDING, PH_INDICATION, id);
    ph_msgw_fingerprint(&w);
    int n = ph_msgw_end(&w);
    if (n < 0)
        return false;
    out->b.len = (uint32_t)n;
    ph__tc_address(t, out);
    return true;
}

void ph__tc_alloc_tick(struct ph_turnc *t, ph_ns now)
{
    if (t->info.state != PH_TURNC_UP)
        return;
    keep_tick(t, now);
    if (now >= t->info.expires_at)
        ph__tc_alloc_lost(t, (struct ph__tc_result){PH_E_TIMEOUT, 0});
    else if (now >= t->refresh_at && t->op[0].kind == PH__TC_OP_NONE)
        ph_turnc_refresh(t, 0, now);
}

ph_ns ph__tc_alloc_deadline(const struct ph_turnc *t)
{
    if (t->info.state != PH_TURNC_UP)
        return PH_NEVER;
    ph_ns at = ph_min_ns(t->info.expires_at, t->keep_at);
    return t->op[0].kind == PH__TC_OP_NONE ? ph_min_ns(at, t->refresh_at) : at;
}

/* --- release ------------------------------------------------------------------------------ */

int ph_turnc_release(struct ph_turnc *t, ph_ns now)
{
    switch (t->info.state) {
    case PH_TURNC_UP:
        start_release(t, now);
        return 0;
    case PH_TURNC_ALLOCATING:
        if (t->release_wanted)
            return PH_E_STATE;
        t->release_wanted = true;
        return 0;
    default:
        return PH_E_STATE;
    }
}

void ph__tc_release_done(struct ph_turnc *t, struct ph__tc_result r)
{
    if (r.code == 437) /* gone already: what we wanted */
        r = (struct ph__tc_result){0};
    struct ph__tc_result why = t->release_result;
    go_idle(t);
    if (why.err)
        ph__tc_say(t, PH_TURNC_FAILED, why);
    else
        ph__tc_say(t, PH_TURNC_RELEASED, r);
}
