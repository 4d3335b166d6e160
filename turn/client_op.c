/* The requests of a TURN client: transactions, building, matching answers.
 *
 * A request is built each time it is sent, so a retransmission carries the nonce known by then.  An
 * answer counts only if its transaction runs, its method fits, and its integrity is good where the
 * request had credentials (RFC 8489 9.2.5); what does not count is dropped as if it had never come.
 */
#include "stun/base/error.h"
#include "turn/client_priv.h"

#include <string.h>

void ph__tc_op_start(struct ph_turnc *t, struct ph__tc_op *op, enum ph__tc_op_kind kind, ph_ns now)
{
    *op = (struct ph__tc_op){.kind = (uint8_t)kind};
    ph__tc_op_again(t, op, now);
}

void ph__tc_op_again(struct ph_turnc *t, struct ph__tc_op *op, ph_ns now)
{
    uint8_t id[PH_TXID_LEN];
    t->env.rand(t->env.ctx, id, sizeof id);
    op->send_due = false;
    op->authed = false;
    op->bad_integrity = false;
    op->dropped_code = 0;
    ph_txn_start(&op->txn, &t->c.txn, id, now);
}

void ph__tc_op_stop(struct ph__tc_op *op)
{
    ph_txn_cancel(&op->txn);
    op->kind = PH__TC_OP_NONE;
    op->send_due = false;
}

struct ph__tc_op *ph__tc_op_free(struct ph_turnc *t)
{
    for (unsigned i = 1; i < PH__TC_OPS; i++)
        if (t->op[i].kind == PH__TC_OP_NONE)
            return &t->op[i];
    return NULL;
}

/* --- building ----------------------------------------------------------------------------- */

static uint16_t method_of(uint8_t kind)
{
    switch (kind) {
    case PH__TC_OP_ALLOCATE:
        return PH_ALLOCATE;
    case PH__TC_OP_PERMIT:
        return PH_CREATE_PERMISSION;
    case PH__TC_OP_BIND:
        return PH_CHANNEL_BIND;
    default:
        return PH_REFRESH;
    }
}

static void append_body(struct ph_turnc *t, const struct ph__tc_op *op, struct ph_msgw *w,
                        ph_ns now)
{
    switch (op->kind) {
    case PH__TC_OP_ALLOCATE:
        ph__tc_alloc_append(t, w);
        break;
    case PH__TC_OP_REFRESH:
        if (op->lifetime_s)
            ph_msgw_uint(w, PH_ATTR_LIFETIME, op->lifetime_s);
        break;
    case PH__TC_OP_RELEASE:
        ph_msgw_uint(w, PH_ATTR_LIFETIME, 0);
        break;
    case PH__TC_OP_PERMIT:
        ph__tc_perm_append(t, op, w);
        break;
    case PH__TC_OP_BIND:
        ph__tc_chan_append(t, op, w, now);
        break;
    }
}

/* Returns the length or PH_E_... */
static int build(struct ph_turnc *t, struct ph__tc_op *op, struct ph_pkt *out, ph_ns now)
{
    struct ph_msgw w;
    ph_msgw_begin(&w, ph_buf_data(&out->b), out->b.cap - out->b.off, method_of(op->kind),
                  PH_REQUEST, op->txn.id);
    append_body(t, op, &w, now);
    if (t->c.transmit_counter) {
        struct ph_attr_value v = {.counter = {.req = op->txn.sends, .resp = 0}};
        ph_msgw_attr(&w, PH_ATTR_TRANSACTION_TRANSMIT_COUNTER, &v);
    }
    if (t->c.software)
        ph_msgw_bytes(&w, PH_ATTR_SOFTWARE, ph_str(t->c.software));
    op->authed = ph__tc_auth_append(t, &w);
    if (t->c.fingerprint)
        ph_msgw_fingerprint(&w);
    return ph_msgw_end(&w);
}

/* --- the end of a request ----------------------------------------------------------------- */

static void finish(struct ph_turnc *t, struct ph__tc_op *op, const struct ph_msg *m,
                   struct ph__tc_result r, ph_ns now)
{
    struct ph__tc_op was = *op;
    ph__tc_op_stop(op);
    if (r.code == 437 && was.kind != PH__TC_OP_ALLOCATE && was.kind != PH__TC_OP_RELEASE) {
        ph__tc_alloc_lost(t, r); /* the server knows no such allocation: it expired or restarted */
        return;
    }
    switch (was.kind) {
    case PH__TC_OP_ALLOCATE:
        ph__tc_alloc_done(t, m, r, now);
        break;
    case PH__TC_OP_REFRESH:
        ph__tc_refresh_done(t, m, r, now);
        break;
    case PH__TC_OP_RELEASE:
        ph__tc_release_done(t, r);
        break;
    case PH__TC_OP_PERMIT:
        ph__tc_perm_done(t, ph__tc_op_number(t, op), r, now);
        break;
    case PH__TC_OP_BIND:
        ph__tc_chan_done(t, was.chan, r, now);
        break;
    }
    t->peers_due = true; /* an operation is free again */
}

static void give_up(struct ph_turnc *t, struct ph__tc_op *op, int err, ph_ns now)
{
    t->stats.timeouts++;
    finish(t, op, NULL, (struct ph__tc_result){err, op->dropped_code}, now);
}

/* --- time --------------------------------------------------------------------------------- */

static void tick(struct ph_turnc *t, struct ph__tc_op *op, ph_ns now)
{
    if (op->kind == PH__TC_OP_NONE || now < ph_txn_deadline(&op->txn))
        return;
    if (ph_txn_tick(&op->txn, now))
        op->send_due = true;
    else if (op->txn.state == PH_TXN_FAILED)
        give_up(t, op, op->bad_integrity ? PH_E_AUTH : PH_E_TIMEOUT, now);
}

void ph__tc_ops_tick(struct ph_turnc *t, ph_ns now)
{
    for (unsigned i = 0; i < PH__TC_OPS; i++)
        tick(t, &t->op[i], now);
}

ph_ns ph__tc_ops_deadline(const struct ph_turnc *t)
{
    ph_ns at = PH_NEVER;
    for (unsigned i = 0; i < PH__TC_OPS; i++)
        if (t->op[i].kind != PH__TC_OP_NONE)
            at = ph_min_ns(at, ph_txn_deadline(&t->op[i].txn));
    return at;
}

void ph__tc_address(const struct ph_turnc *t, struct ph_pkt *out)
{
    out->head_len = 0;
    out->dont_fragment = false;
    out->src = (struct ph_addr){0};
    out->dst = t->info.server;
    out->sock = t->c.sock;
}

bool ph__tc_ops_output(struct ph_turnc *t, struct ph_pkt *out, ph_ns now)
{
    for (unsigned i = 0; i < PH__TC_OPS; i++) {
        struct ph__tc_op *op = &t->op[i];
        tick(t, op, now); /* requests started a moment ago are due at once */
        if (!op->send_due)
            continue;
        op->send_due = false;
        int n = build(t, op, out, now);
        if (n < 0) {
            give_up(t, op, n, now);
            continue;
        }
        out->b.len = (uint32_t)n;
        ph__tc_address(t, out);
        t->sent = true;
        if (op->txn.sends > 1)
            t->stats.retransmissions++;
        else
            t->stats.requests++;
        return true;
    }
    return false;
}

/* --- answers ------------------------------------------------------------------------------ */

static struct ph__tc_op *find(struct ph_turnc *t, const struct ph_msg *m)
{
    for (unsigned i = 0; i < PH__TC_OPS; i++) {
        struct ph__tc_op *op = &t->op[i];
        if (op->kind != PH__TC_OP_NONE && op->txn.state == PH_TXN_RUNNING && op->txn.sends &&
            m->method == method_of(op->kind) &&
            memcmp(op->txn.id, ph_msg_txid(m), PH_TXID_LEN) == 0)
            return op;
    }
    return NULL;
}

static void keep_reason(struct ph_turnc *t, struct ph_slice s)
{
    size_t n = s.n < sizeof t->reason - 1 ? s.n : sizeof t->reason - 1;
    for (size_t i = 0; i < n; i++)
        t->reason[i] = (char)(s.p[i] < 0x20 || s.p[i] == 0x7F ? '?' : s.p[i]);
    t->reason[n] = '\0';
}

static void measure(struct ph_turnc *t, ph_ns rtt)
{
    if (rtt < 0)
        return;
    t->info.rtt = rtt;
    t->info.srtt = t->info.srtt < 0 ? rtt : t->info.srtt + (rtt - t->info.srtt) / 8;
}

/* The answer's integrity is missing or wrong.  Over UDP the genuine one may still come; a stream
 * brings one answer only (RFC 8489 9.2.5). */
static void refuse(struct ph_turnc *t, struct ph__tc_op *op, uint16_t code, ph_ns now)
{
    t->stats.bad_integrity++;
    op->bad_integrity = true;
    op->dropped_code = code;
    if (t->c.reliable)
        give_up(t, op, PH_E_AUTH, now);
}

/* What a response says, integrity aside. */
static struct ph__tc_result read_result(struct ph_turnc *t, const struct ph_msg *m)
{
    struct ph__tc_result r = {0, 0};
    struct ph_slice reason = {0};
    if (m->cls == PH_ERROR)
        r.err = ph_msg_error(m, &r.code, &reason) < 0 ? PH_E_FORMAT : PH_E_REFUSED;
    if (m->has_unknown)
        r.err = PH_E_UNSUPPORTED; /* RFC 8489 6.3.3, 6.3.4 */
    keep_reason(t, reason);
    return r;
}

bool ph__tc_ops_input(struct ph_turnc *t, const struct ph_msg *m, ph_ns now)
{
    struct ph__tc_op *op = find(t, m);
    if (!op) {
        t->stats.unexpected++;
        return false;
    }
    struct ph__tc_result r = read_result(t, m);
    bool challenge = r.code == 401 || r.code == 438;
    /* A request with credentials is answered under their key, unless the server refuses them. */
    if (op->authed && !challenge && ph__tc_auth_check(t, m) < 0) {
        refuse(t, op, r.code, now);
        return false;
    }
    ph_ns rtt;
    if (!ph_txn_done(&op->txn, m, now, &rtt))
        return false;
    measure(t, rtt);
    t->stats.responses++;
    if (challenge && r.err == PH_E_REFUSED) {
        r.err = ph__tc_auth_challenged(t, op, m, r.code);
        if (r.err == 0) {
            ph__tc_op_again(t, op, now);
            return true;
        }
    }
    finish(t, op, m, r, now);
    return true;
}
