/*
 * The retransmission schedule of one client transaction (RFC 8489 6.2.1, 6.2.2).
 *
 * Waits are counted from the actual send, not from when it was due: after a suspended laptop wakes, one
 * request goes out and the schedule continues from there, instead of all missed ones in a burst.
 */
#include "stun/txn.h"

#include <string.h>

/* RFC 8489 6.2.1: an RTO SHOULD be greater than 500 ms; Rc 7 requests; Rm 16 RTOs after the last. */
#define DEFAULT_RTO PH_MS(500)
/* RFC 8489 6.2.2: Ti SHOULD default to 39.5 s. */
#define DEFAULT_TI PH_MS(39500)
enum { DEFAULT_RC = 7, DEFAULT_RM = 16 };

/* The latest instant that still is a deadline. */
#define LATEST (PH_NEVER - 1)

/* a + b for b >= 0, stopping at LATEST. */
static ph_ns add(ph_ns a, ph_ns b)
{
    return a > LATEST - b ? LATEST : a + b;
}

/* a * k for a >= 0, stopping at LATEST. */
static ph_ns times(ph_ns a, uint8_t k)
{
    return k && a > LATEST / k ? LATEST : a * k;
}

void ph_txn_start(struct ph_txn *t, const struct ph_txn_conf *c,
                  const uint8_t id[static PH_TXID_LEN], ph_ns now)
{
    static const struct ph_txn_conf defaults;
    if (!c)
        c = &defaults;
    *t = (struct ph_txn){.state = PH_TXN_RUNNING,
                         .rc = c->rc ? c->rc : DEFAULT_RC,
                         .rm = c->rm ? c->rm : DEFAULT_RM,
                         .reliable = c->reliable,
                         .started_at = PH_NEVER,
                         .sent_at = PH_NEVER,
                         .next_at = now,
                         .rto = c->rto > 0 ? c->rto : DEFAULT_RTO};
    t->wait = t->rto;
    if (t->reliable) {
        t->rc = 1;
        t->wait = c->ti > 0 ? c->ti : DEFAULT_TI;
    }
    memcpy(t->id, id, PH_TXID_LEN);
}

ph_ns ph_txn_deadline(const struct ph_txn *t)
{
    return t->state == PH_TXN_RUNNING ? t->next_at : PH_NEVER;
}

/* How long to wait after the send that was just made. */
static ph_ns next_wait(struct ph_txn *t)
{
    if (!t->reliable && t->sends == t->rc)
        return times(t->rto, t->rm);
    ph_ns wait = t->wait;
    t->wait = times(wait, 2);
    return wait;
}

bool ph_txn_tick(struct ph_txn *t, ph_ns now)
{
    if (t->state != PH_TXN_RUNNING || now < t->next_at)
        return false;
    if (t->sends == t->rc) {
        t->state = PH_TXN_FAILED;
        return false;
    }
    if (t->sends++ == 0)
        t->started_at = now;
    t->sent_at = now;
    t->next_at = add(now, next_wait(t));
    return true;
}

/* When the request that this response answers was sent; PH_NEVER if that cannot be told. */
static ph_ns answered_send(const struct ph_txn *t, const struct ph_msg *m)
{
    struct ph_attr_value v;
    if (t->sends == 1)
        return t->sent_at;
    /* RFC 7982 3.2: the server copies Req from the request that it answers. */
    if (ph_msg_get(m, PH_IX_TRANSACTION_TRANSMIT_COUNTER, &v))
        return PH_NEVER;
    if (v.counter.req == t->sends)
        return t->sent_at;
    return v.counter.req == 1 ? t->started_at : PH_NEVER;
}

bool ph_txn_done(struct ph_txn *t, const struct ph_msg *m, ph_ns now, ph_ns *rtt)
{
    if (t->state != PH_TXN_RUNNING || t->sends == 0)
        return false;
    if (m->cls != PH_SUCCESS && m->cls != PH_ERROR)
        return false;
    if (memcmp(ph_msg_txid(m), t->id, PH_TXID_LEN) != 0)
        return false;
    t->state = PH_TXN_DONE;
    if (rtt) {
        ph_ns sent_at = answered_send(t, m);
        *rtt = sent_at == PH_NEVER || sent_at > now ? -1 : now - sent_at;
    }
    return true;
}

void ph_txn_cancel(struct ph_txn *t)
{
    t->state = PH_TXN_IDLE;
}
