/*
 * The Binding client: a transaction, the request built anew for each send, and the answer read into an event.
 *
 * An answer is known by its transaction id alone: with CHANGE-REQUEST or RESPONSE-PORT it comes from another
 * address or on another socket than the request went by, and nobody off the path can guess 96 random bits.
 */
#include "stun/client.h"

#include "stun/codec/fingerprint.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"
#include "stun/priv.h"

#include <string.h>

void ph_stunc_init(struct ph_stunc *c, const struct ph_env *env)
{
    *c = (struct ph_stunc){.env = *env};
}

void ph_stunc_start(struct ph_stunc *c, const struct ph_stunc_ask *ask, ph_ns now)
{
    uint8_t id[PH_TXID_LEN];
    c->env.rand(c->env.ctx, id, sizeof id);
    c->ask = *ask;
    c->send_due = c->event_due = false;
    ph_txn_start(&c->txn, &ask->txn, id, now);
    ph_stunc_tick(c, now);
}

static void end(struct ph_stunc *c, enum ph_stunc_result result)
{
    c->ev.result = result;
    c->send_due = false;
    c->event_due = true;
}

void ph_stunc_tick(struct ph_stunc *c, ph_ns now)
{
    if (ph_txn_tick(&c->txn, now)) {
        c->send_due = true;
    } else if (c->txn.state == PH_TXN_FAILED) {
        ph_txn_cancel(&c->txn);
        c->ev = (struct ph_stunc_ev){.rtt = -1};
        end(c, PH_STUNC_TIMEOUT);
    }
}

ph_ns ph_stunc_deadline(const struct ph_stunc *c)
{
    return ph_txn_deadline(&c->txn);
}

static void write_request(const struct ph_stunc *c, struct ph_msgw *w, uint8_t *dst, size_t cap)
{
    const struct ph_stunc_ask *a = &c->ask;
    ph_msgw_begin(w, dst, cap, PH_BINDING, PH_REQUEST, c->txn.id);
    if (a->change_ip || a->change_port)
        ph_msgw_uint(w, PH_ATTR_CHANGE_REQUEST,
                     (a->change_ip ? PH__CHANGE_IP : 0U) | (a->change_port ? PH__CHANGE_PORT : 0U));
    if (a->response_port)
        ph_msgw_uint(w, PH_ATTR_RESPONSE_PORT, a->response_port);
    if (a->padding)
        ph__msgw_padding(w, a->padding);
    if (a->fingerprint)
        ph_msgw_fingerprint(w);
}

bool ph_stunc_output(struct ph_stunc *c, struct ph_pkt *out, ph_ns now)
{
    struct ph_msgw w;
    (void)now;
    if (!c->send_due)
        return false;
    c->send_due = false;
    write_request(c, &w, ph_buf_data(&out->b), out->b.cap - out->b.off);
    int n = ph_msgw_end(&w);
    if (n < 0)
        return false; /* a buffer too small for it: as good as lost */
    out->b.len = (uint32_t)n;
    out->dst = c->ask.server;
    out->src = (struct ph_addr){0};
    out->sock = c->ask.sock;
    out->head_len = 0;
    out->dont_fragment = false;
    return true;
}

/* Reads an optional address; family PH_AF_NONE when it is absent or broken. */
static struct ph_addr address(const struct ph_msg *m, enum ph_attr_index ix)
{
    struct ph_addr a = {0};
    (void)ph_msg_addr(m, ix, &a);
    return a;
}

/* Copies SOFTWARE, cut to what fits.  Text from the network: bytes that could steer a terminal become '?'. */
static void copy_software(struct ph_stunc_ev *ev, const struct ph_msg *m)
{
    struct ph_slice s;
    if (ph_msg_bytes(m, PH_IX_SOFTWARE, &s) != 0)
        return;
    size_t n = s.n < sizeof ev->software ? s.n : sizeof ev->software - 1;
    for (size_t i = 0; i < n; i++)
        ev->software[i] = (char)(s.p[i] < 0x20 || s.p[i] == 0x7F ? '?' : s.p[i]);
    ev->software[n] = '\0';
}

static void end_with_answer(struct ph_stunc *c, const struct ph_msg *m, const struct ph_pkt *p,
                            ph_ns rtt)
{
    struct ph_stunc_ev *ev = &c->ev;
    *ev = (struct ph_stunc_ev){.from = p->src, .rtt = rtt};
    ev->origin = address(m, PH_IX_RESPONSE_ORIGIN);
    ev->other = address(m, PH_IX_OTHER_ADDRESS);
    copy_software(ev, m);
    /* RFC 8489 6.3.3, 6.3.4: an answer with unknown comprehension-required attributes fails. */
    if (m->has_unknown) {
        end(c, PH_STUNC_ERROR);
        return;
    }
    if (m->cls == PH_ERROR) {
        (void)ph_msg_error(m, &ev->code, NULL);
        if (ev->code == 300)
            ev->alternate = address(m, PH_IX_ALTERNATE_SERVER);
        end(c, PH_STUNC_ERROR);
        return;
    }
    /* MAPPED-ADDRESS alone comes from servers of RFC 3489's time. */
    ev->mapped = address(m, PH_IX_XOR_MAPPED_ADDRESS);
    if (ev->mapped.family == PH_AF_NONE)
        ev->mapped = address(m, PH_IX_MAPPED_ADDRESS);
    end(c, ev->mapped.family == PH_AF_NONE ? PH_STUNC_ERROR : PH_STUNC_MAPPED);
}

int ph_stunc_input(struct ph_stunc *c, struct ph_pkt *p, ph_ns now)
{
    struct ph_msg m;
    ph_ns rtt;
    if (c->txn.state != PH_TXN_RUNNING || ph_msg_parse(&m, ph_buf_data(&p->b), p->b.len) != 0)
        return PH_DROP;
    if (m.method != PH_BINDING || ph_msg_check_fingerprint(&m) == PH_E_FORMAT)
        return PH_DROP;
    if (!ph_txn_done(&c->txn, &m, now, &rtt))
        return PH_DROP;
    end_with_answer(c, &m, p, rtt);
    return PH_CONSUMED;
}

bool ph_stunc_event(struct ph_stunc *c, struct ph_stunc_ev *ev)
{
    if (!c->event_due)
        return false;
    c->event_due = false;
    *ev = c->ev;
    return true;
}
