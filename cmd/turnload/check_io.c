/* A TURN client and a peer for the checks: they wait for what they asked. */
#include "cmd/turnload/check_priv.h"
#include "cmd/turnload/net.h"
#include "stun/base/error.h"
#include "stun/client.h"
#include "stun/codec/demux.h"
#include "stun/uv/loop.h"
#include "stun/uv/sockaddr.h"

#include <stdio.h>
#include <string.h>

/* Given up after 4.5 s: five sends within 2.1 s and some patience. */
static const struct ph_txn_conf timing = {.rto = PH_MS(300), .rc = 4, .rm = 8, .ti = PH_MS(4500)};

enum { CONNECT_MS = 6000, BINDING_RTO_MS = 200 };
enum { ASK_MS = 6000, DATA_MS = 1500, DATA_TRIES = 3, BINDING_MS = 1000 };

struct ph_turnc_conf ph_load_client_conf(const struct ph_load_check *k)
{
    return (struct ph_turnc_conf){.server = k->server,
                                  .reliable = ph_load_is_stream(k->args->proto),
                                  .user = ph_str(k->args->user),
                                  .password = ph_str(k->args->pass),
                                  .txn = timing};
}

bool ph_load_check_connect(struct ph_load_check *k, struct ph_load_link *l)
{
    struct ph_addr at =
        k->args->bind.family == k->server.family ? k->args->bind : (struct ph_addr){0};
    ph_ns end = ph_now() + PH_MS(CONNECT_MS);
    int r = ph_load_link_open(l, &k->server, &at, k->tls);
    while (r >= 0 && (r = ph_load_link_step(l)) == 0) {
        ph_ns left = ph_min_ns(end - ph_now(), ph_load_link_wait(l));
        if (ph_now() >= end)
            r = PH_E_TIMEOUT;
        else
            ph_load_link_poll(l, (int)(left / PH_MS(1)) + 1);
    }
    if (r > 0)
        return true;
    const char *tls = ph_load_link_why();
    k->silent |= r == PH_E_TIMEOUT;
    return ph_load_check_fail(k, "cannot connect: %s", *tls ? tls : ph_strerror(r));
}

/* The next message; reads if there is none left of the last time. */
static bool take_message(struct ph_load_link *l, struct ph_pkt *p)
{
    return ph_load_link_next(l, p) || (ph_load_link_read(l) > 0 && ph_load_link_next(l, p));
}

bool ph_load_check_mapped_of(struct ph_load_check *k, struct ph_load_link *l, int timeout_ms,
                             struct ph_addr *mapped)
{
    struct ph_stunc c;
    struct ph_stunc_ev ev = {0};
    struct ph_stunc_ask ask = {
        .server = k->server,
        .txn = {.rto = PH_MS(BINDING_RTO_MS), .reliable = ph_load_is_stream(l->proto)}};
    ph_ns end = ph_now() + PH_MS(timeout_ms);
    ph_stunc_init(&c, &k->env);
    ph_stunc_start(&c, &ask, ph_now());
    while (ph_now() < end) {
        uint8_t buf[512];
        struct ph_pkt p = {.b = {buf, sizeof buf, 0, 0}};
        while (ph_stunc_output(&c, &p, ph_now()))
            ph_load_link_put(l, &p);
        ph_ns until = ph_min_ns(end, ph_stunc_deadline(&c)) - ph_now();
        ph_load_link_poll(l, (int)(until / PH_MS(1)) + 1);
        while (take_message(l, &p))
            ph_stunc_input(&c, &p, ph_now());
        ph_stunc_tick(&c, ph_now());
        if (ph_stunc_event(&c, &ev)) {
            *mapped = ev.mapped;
            mapped->proto = PH_UDP;
            return ev.result == PH_STUNC_MAPPED;
        }
    }
    return false;
}

bool ph_load_client_open(struct ph_load_check *k, struct ph_load_client *c,
                         const struct ph_turnc_conf *conf)
{
    *c = (struct ph_load_client){.k = k, .link = {.fd = -1}};
    if (!ph_load_check_connect(k, &c->link))
        return false;
    c->t = ph_turnc_new(conf, &k->env);
    if (!c->t)
        return ph_load_check_fail(k, "out of memory");
    return true;
}

static void send_due(struct ph_load_client *c)
{
    uint8_t buf[PH_TURNC_OUTPUT];
    struct ph_pkt p = {.b = {buf, sizeof buf, 0, 0}};
    while (ph_turnc_output(c->t, &p, ph_now()))
        ph_load_link_put(&c->link, &p);
}

/* Takes what has come up to the first payload.  Returns true if there was one. */
static bool take(struct ph_load_client *c)
{
    struct ph_pkt p;
    while (take_message(&c->link, &p)) {
        c->by_channel = ph_demux(ph_buf_data(&p.b), p.b.len) == PH_DEMUX_CHANNEL;
        if (ph_turnc_input(c->t, &p, ph_now()) != PH_DATA || p.b.len > sizeof c->buf)
            continue;
        c->in = p;
        c->in.b = (struct ph_buf){c->buf, sizeof c->buf, 0, p.b.len};
        memcpy(c->buf, ph_buf_data(&p.b), p.b.len);
        return true;
    }
    return false;
}

static int next_event(struct ph_load_client *c, int what, int or_what)
{
    struct ph_turnc_ev ev;
    while (ph_turnc_event(c->t, &ev)) {
        c->ev = ev;
        snprintf(c->reason, sizeof c->reason, "%s", ev.reason);
        if ((int)ev.type == what || (int)ev.type == or_what)
            return (int)ev.type;
    }
    return -1;
}

int ph_load_client_wait(struct ph_load_client *c, int what, int or_what, int timeout_ms)
{
    ph_ns end = ph_now() + PH_MS(timeout_ms);
    for (;;) {
        send_due(c);
        int got = next_event(c, what, or_what);
        if (got >= 0)
            return got;
        ph_ns now = ph_now(), until = ph_min_ns(end, ph_turnc_deadline(c->t));
        if (now >= end)
            return -1;
        if (ph_load_link_poll(&c->link, until > now ? (int)((until - now) / PH_MS(1)) + 1 : 0) &&
            take(c) && (what == PH_LOAD_CLIENT_DATA || or_what == PH_LOAD_CLIENT_DATA))
            return PH_LOAD_CLIENT_DATA;
        ph_turnc_tick(c->t, ph_now());
    }
}

const char *ph_load_client_why(const struct ph_load_client *c, char dst[static 160])
{
    if (c->ev.code)
        snprintf(dst, 160, "%u %s", c->ev.code,
                 c->reason[0] ? c->reason : ph_stun_reason(c->ev.code));
    else
        snprintf(dst, 160, "%s", ph_strerror(c->ev.err));
    return dst;
}

bool ph_load_client_up(struct ph_load_check *k, struct ph_load_client *c,
                       const struct ph_turnc_conf *conf)
{
    struct ph_turnc_conf usual = ph_load_client_conf(k);
    char why[160];
    if (!ph_load_client_open(k, c, conf ? conf : &usual))
        return false;
    ph_turnc_allocate(c->t, ph_now());
    int got = ph_load_client_wait(c, PH_TURNC_ALLOCATED, PH_TURNC_FAILED, ASK_MS);
    if (got == PH_TURNC_ALLOCATED)
        return true;
    return ph_load_check_fail(k, "Allocate: %s",
                              got < 0 ? "no answer" : ph_load_client_why(c, why));
}

void ph_load_client_close(struct ph_load_client *c)
{
    if (c->t && ph_turnc_release(c->t, ph_now()) == 0)
        ph_load_client_wait(c, PH_TURNC_RELEASED, -1, 1000);
    ph_turnc_free(c->t);
    c->t = NULL;
    ph_load_link_flush(&c->link);
    ph_load_link_close(&c->link);
}

static bool ask(struct ph_load_client *c, int err, const char *name, int good, int bad,
                const struct ph_addr *peer)
{
    char text[PH_ADDR_TEXT], why[160];
    int got = err < 0 ? -1 : ph_load_client_wait(c, good, bad, ASK_MS);
    if (got == good)
        return true;
    return ph_load_check_fail(c->k, "%s for %s: %s", name, ph_addr_text(peer, text),
                              err < 0      ? ph_strerror(err)
                              : got == bad ? ph_load_client_why(c, why)
                                           : "no answer");
}

bool ph_load_client_permit(struct ph_load_client *c, const struct ph_addr *peer)
{
    return ask(c, ph_turnc_permit(c->t, peer, ph_now()), "CreatePermission", PH_TURNC_PERMITTED,
               PH_TURNC_PERMIT_FAILED, peer);
}

bool ph_load_client_bind(struct ph_load_client *c, const struct ph_addr *peer)
{
    return ask(c, ph_turnc_bind(c->t, peer, ph_now()), "ChannelBind", PH_TURNC_BOUND,
               PH_TURNC_BIND_FAILED, peer);
}

bool ph_load_client_send(struct ph_load_client *c, const struct ph_addr *to, const uint8_t *data,
                         uint32_t n)
{
    uint8_t buf[PH_HEADROOM + 2048 + PH_TAILROOM];
    struct ph_pkt p = {.b = {buf, sizeof buf, PH_HEADROOM, n}};
    memcpy(ph_buf_data(&p.b), data, n);
    int err = ph_turnc_wrap(c->t, &p, to);
    if (err < 0)
        return ph_load_check_fail(c->k, "cannot send: %s", ph_strerror(err));
    ph_load_link_put(&c->link, &p);
    ph_load_link_flush(&c->link);
    return true;
}

/* --- the peer ----------------------------------------------------------------------------- */

bool ph_load_peer_end_open(struct ph_load_check *k, struct ph_load_peer_end *p, uint8_t family)
{
    struct ph_addr at =
        k->args->bind.family == family ? k->args->bind : ph_load_net_peer_ip(&k->server, family);
    struct ph_addr mapped;
    *p = (struct ph_load_peer_end){.sock = {.fd = -1}};
    if (at.family == PH_AF_NONE || ph_udp_open(&p->sock, &at, &(struct ph_udp_opts){0}) < 0)
        return false;
    ph_udp_local(&p->sock, &p->at);
    if (family == k->server.family && !ph_addr_is_loopback(&p->at) &&
        ph_load_net_mapped(&p->sock, &k->server, &k->env, BINDING_MS, &mapped) &&
        !ph_addr_eq_endpoint(&mapped, &p->at)) {
        p->at = mapped;
        p->behind_nat = true;
    }
    return true;
}

void ph_load_peer_end_close(struct ph_load_peer_end *p)
{
    ph_udp_close(&p->sock);
}

void ph_load_peer_end_send(const struct ph_load_peer_end *p, const struct ph_addr *to,
                           const uint8_t *data, uint32_t n)
{
    union ph_sockaddr s;
    socklen_t s_n = ph_sockaddr_set(&s, to);
    sendto(p->sock.fd, data, n, 0, &s.sa, s_n);
}

/* Waits for the very bytes, whoever else may send something. */
static bool peer_takes(const struct ph_load_peer_end *p, const uint8_t *data, uint32_t n,
                       struct ph_addr *from)
{
    uint8_t buf[2048];
    union ph_sockaddr s;
    socklen_t s_n = sizeof s;
    ph_ns end = ph_now() + PH_MS(DATA_MS);
    while (ph_now() < end) {
        if (!ph_load_net_wait(p->sock.fd, (int)((end - ph_now()) / PH_MS(1)) + 1))
            return false;
        ssize_t got = recvfrom(p->sock.fd, buf, sizeof buf, MSG_DONTWAIT, &s.sa, &s_n);
        ph_sockaddr_get(from, &s, PH_UDP);
        if (got == (ssize_t)n && memcmp(buf, data, n) == 0)
            return true;
    }
    return false;
}

static bool client_takes(struct ph_load_client *c, const struct ph_addr *peer, const uint8_t *data,
                         uint32_t n)
{
    while (ph_load_client_wait(c, PH_LOAD_CLIENT_DATA, -1, DATA_MS) == PH_LOAD_CLIENT_DATA)
        if (c->in.b.len == n && memcmp(ph_buf_data(&c->in.b), data, n) == 0 &&
            ph_addr_eq_endpoint(&c->in.src, peer))
            return true;
    return false;
}

bool ph_load_exchange(struct ph_load_client *c, struct ph_load_peer_end *p, uint32_t n)
{
    uint8_t data[2048];
    struct ph_addr from = {0};
    const struct ph_addr *relay = &ph_turnc_info(c->t)->relay[p->at.family == PH_AF_INET6];
    char a[PH_ADDR_TEXT], b[PH_ADDR_TEXT];
    bool there = false, back = false;
    c->k->env.rand(c->k->env.ctx, data, n);
    for (int i = 0; i < DATA_TRIES && !there; i++) {
        if (p->behind_nat)
            ph_load_peer_end_send(p, relay, data, 1);
        if (!ph_load_client_send(c, &p->at, data, n))
            return false;
        there = peer_takes(p, data, n, &from);
    }
    if (!there)
        return ph_load_check_fail(c->k, "%u bytes did not reach the peer %s", n,
                                  ph_addr_text(&p->at, a));
    if (!ph_addr_eq_endpoint(&from, relay))
        return ph_load_check_fail(c->k, "the payload came from %s instead of %s",
                                  ph_addr_text(&from, a), ph_addr_text(relay, b));
    for (int i = 0; i < DATA_TRIES && !back; i++) {
        ph_load_peer_end_send(p, relay, data, n);
        back = client_takes(c, &p->at, data, n);
    }
    return back || ph_load_check_fail(c->k, "%u bytes of the peer did not come back", n);
}
