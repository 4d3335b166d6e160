/*
 * Listeners: which addresses, ports and transports, and the quads of RFC 5780.
 *
 *                          UDP                      TCP
 *     listening-port       plain, DTLS              plain, TLS          (told apart by the first bytes)
 *     tls-listening-port   DTLS, plain              TLS, plain          only with a certificate
 *     aux-server           plain, DTLS              plain, TLS
 *     tcp-proxy-port, proxy-protocol                the same behind a PROXY header
 *
 * no-udp, no-tcp, no-tls and no-dtls take their word out of it; where none is left, there is no socket.
 */
#include "cmd/turnd/plan_priv.h"

#include <string.h>

/* Sockets of one kind. */
struct sockets {
    struct ph_addr at[PH_TURND_LISTENERS];
    uint8_t accept[PH_TURND_LISTENERS];
    unsigned n;
};

struct draft {
    struct ph_tplan *p;
    struct ph_tconf *c;
    struct sockets udp, tcp;
    uint8_t udp_accept, tcp_accept; /* all that is taken there; 0: nothing */
    bool udp_plain, tcp_plain;
    bool full;
};

/* Adds a socket once.  Returns its number among its like, or PH_TURND_LISTENERS when the plan is full. */
static unsigned add(struct draft *d, struct sockets *s, const struct ph_addr *ip, uint32_t port,
                    uint8_t proto, uint8_t accept)
{
    struct ph_addr at = *ip;
    at.port = (uint16_t)port;
    at.proto = proto;
    for (unsigned i = 0; i < s->n; i++) {
        if (ph_addr_eq_endpoint(&s->at[i], &at)) {
            s->accept[i] |= accept;
            return i;
        }
    }
    if (d->udp.n + d->tcp.n == PH_TURND_LISTENERS) {
        d->full = true;
        return PH_TURND_LISTENERS;
    }
    s->at[s->n] = at;
    s->accept[s->n] = accept;
    return s->n++;
}

/* ---- RFC 5780 ---- */

/* Whether two addresses can answer for each other in RFC 5780: clients must see two. */
static bool can_pair(const struct ph_tconf *c, const struct ph_addr *a, const struct ph_addr *b)
{
    struct ph_addr xa = ph__tplan_external(c, a), xb = ph__tplan_external(c, b);
    if (a->family != b->family || ph_addr_is_any(a) || ph_addr_is_any(b))
        return false;
    if (ph_addr_is_loopback(a) != ph_addr_is_loopback(b))
        return false;
    return !xa.family || !xb.family || !ph_addr_eq_ip(&xa, &xb);
}

static bool add_quad(struct draft *d, const struct ph_addr *a, const struct ph_addr *b,
                     uint32_t port, uint32_t alt)
{
    struct ph_tplan *p = d->p;
    const uint8_t accept = d->udp_accept;
    unsigned number[PH_STUND_SOCKETS] = {
        [0] = add(d, &d->udp, a, port, PH_UDP, accept),
        [PH_STUND_ALT_PORT] = add(d, &d->udp, a, alt, PH_UDP, accept),
        [PH_STUND_ALT_IP] = add(d, &d->udp, b, port, PH_UDP, accept),
        [PH_STUND_ALT_IP | PH_STUND_ALT_PORT] = add(d, &d->udp, b, alt, PH_UDP, accept),
    };
    if (d->full || p->n_quads == PH_TURN_UV_QUADS) {
        d->full = true;
        return false;
    }
    for (int i = 0; i < PH_STUND_SOCKETS; i++)
        p->quad[p->n_quads].listener[i] = (uint8_t)number[i];
    p->n_quads++;
    return true;
}

/* Pairs each address with the next free one of its family. */
static bool add_quads(struct draft *d, struct ips ips, uint32_t port, uint32_t alt)
{
    bool taken[PH_TURND_LISTENERS] = {false};
    for (unsigned i = 0; i < ips.n; i++) {
        for (unsigned j = i + 1; j < ips.n && !taken[i]; j++) {
            if (taken[j] || !can_pair(d->c, &ips.v[i], &ips.v[j]))
                continue;
            if (!add_quad(d, &ips.v[i], &ips.v[j], port, alt))
                return false;
            taken[i] = taken[j] = true;
        }
    }
    return true;
}

static void plan_discovery(struct draft *d, struct ips ips)
{
    const struct ph_tconf *c = d->c;
    if (d->udp_plain)
        add_quads(d, ips, c->port, c->alt_port ? c->alt_port : c->port + 1);
    if (d->udp_accept & PH_ACCEPT_TLS)
        add_quads(d, ips, c->tls_port, c->alt_tls_port ? c->alt_tls_port : c->tls_port + 1);
    if (!d->p->n_quads && !d->full)
        ph_opts_say(c->opts, PH_LOG_WARN, ph_opts_last(c->opts, "rfc5780"),
                    "off: it needs two listening-ip of one family that clients see as two");
}

/* ---- all ---- */

static void plan_udp(struct draft *d, struct ips ips)
{
    const struct ph_tconf *c = d->c;
    for (unsigned i = 0; i < ips.n && d->udp_plain; i++)
        add(d, &d->udp, &ips.v[i], c->port, PH_UDP, d->udp_accept);
    for (unsigned i = 0; i < ips.n && (d->udp_accept & PH_ACCEPT_TLS); i++)
        add(d, &d->udp, &ips.v[i], c->tls_port, PH_UDP, d->udp_accept);
    for (unsigned i = 0; i < c->n_aux && d->udp_accept; i++)
        add(d, &d->udp, &c->aux[i], c->aux[i].port, PH_UDP, d->udp_accept);
}

static void plan_tcp(struct draft *d, struct ips ips)
{
    const struct ph_tconf *c = d->c;
    const uint8_t behind_proxy = d->tcp_accept | PH_ACCEPT_PROXY;
    for (unsigned i = 0; i < ips.n && d->tcp_plain; i++)
        add(d, &d->tcp, &ips.v[i], c->port, PH_TCP, d->tcp_accept);
    for (unsigned i = 0; i < ips.n && (d->tcp_accept & PH_ACCEPT_TLS); i++)
        add(d, &d->tcp, &ips.v[i], c->tls_port, PH_TLS, d->tcp_accept);
    for (unsigned i = 0; i < c->n_aux && d->tcp_accept; i++)
        add(d, &d->tcp, &c->aux[i], c->aux[i].port, PH_TCP, d->tcp_accept);
    for (unsigned i = 0; i < ips.n && c->proxy_port && d->tcp_accept; i++)
        add(d, &d->tcp, &ips.v[i], c->proxy_port, PH_TCP, behind_proxy);
    for (unsigned i = 0; i < c->n_proxy && d->tcp_accept; i++)
        add(d, &d->tcp, &c->proxy[i], c->proxy[i].port, PH_TCP, behind_proxy);
}

/* A port cannot take PROXY headers from some and none from others. */
static void check_proxy(struct draft *d)
{
    char text[PH_ADDR_TEXT];
    for (unsigned i = 0; i < d->tcp.n; i++) {
        const struct ph_addr *at = &d->tcp.at[i];
        bool also_plain = at->port == d->c->port ||
                          (d->c->tls_port == at->port && (d->tcp_accept & PH_ACCEPT_TLS));
        if ((d->tcp.accept[i] & PH_ACCEPT_PROXY) && also_plain)
            ph_opts_say(d->c->opts, PH_LOG_ERROR, NULL,
                        "%s is to have PROXY headers and is a listener without them too: give "
                        "tcp-proxy-port or proxy-protocol a port of its own",
                        ph_addr_text(at, text));
    }
}

static void join(struct draft *d, const struct sockets *s)
{
    struct ph_tplan *p = d->p;
    for (unsigned i = 0; i < s->n; i++, p->n_listeners++) {
        struct ph_addr external = ph__tplan_external(d->c, &s->at[i]);
        if (external.family) {
            external.port = s->at[i].port;
            external.proto = s->at[i].proto;
        }
        p->listener[p->n_listeners] = s->at[i];
        p->accept[p->n_listeners] = s->accept[i];
        p->listener_external[p->n_listeners] = external;
    }
}

/* Sockets that an address needs at most. */
static unsigned cost(const struct draft *d)
{
    const struct ph_tconf *c = d->c;
    unsigned udp = (unsigned)d->udp_plain + !!(d->udp_accept & PH_ACCEPT_TLS);
    unsigned tcp = (unsigned)d->tcp_plain + !!(d->tcp_accept & PH_ACCEPT_TLS);
    return (c->rfc5780 && !c->no_stun ? 2 * udp : udp) + tcp + (c->proxy_port && d->tcp_accept);
}

/* A machine may have more addresses (bridges, containers) than there can be listeners. */
static struct ips fit(const struct draft *d, struct ips ips)
{
    const struct ph_tconf *c = d->c;
    unsigned other = 2 * c->n_aux + c->n_proxy, each = cost(d);
    unsigned most = other < PH_TURND_LISTENERS && each ? (PH_TURND_LISTENERS - other) / each : 0;
    char text[PH_ADDR_TEXT];
    if (ips.n <= most || !most)
        return ips;
    ph_opts_say(c->opts, PH_LOG_WARN, NULL,
                "this machine has too many addresses for %d listeners, %u for each: those after %s "
                "are left out; choose with listening-ip",
                PH_TURND_LISTENERS, each, ph_addr_ip_text(&ips.v[most - 1], text));
    ips.n = most;
    return ips;
}

void ph__tplan_listeners(struct ph_tplan *p, struct ph_tconf *c, struct ips ips, bool found)
{
    bool cert = ph_tconf_has_tls(c);
    struct draft d = {.p = p, .c = c, .udp_plain = !c->no_udp, .tcp_plain = !c->no_tcp};
    d.udp_accept =
        (uint8_t)((c->no_udp ? 0 : PH_ACCEPT_PLAIN) | (cert && !c->no_dtls ? PH_ACCEPT_TLS : 0));
    d.tcp_accept =
        (uint8_t)((c->no_tcp ? 0 : PH_ACCEPT_PLAIN) | (cert && !c->no_tls ? PH_ACCEPT_TLS : 0));
    if (found)
        ips = fit(&d, ips);
    if (c->rfc5780 && !c->no_stun)
        plan_discovery(&d, ips);
    plan_udp(&d, ips);
    plan_tcp(&d, ips);
    check_proxy(&d);
    join(&d, &d.udp);
    join(&d, &d.tcp);
    if (d.full)
        ph_opts_say(c->opts, PH_LOG_ERROR, NULL,
                    "too many listeners: %d addresses with port and transport are the most; give "
                    "fewer listening-ip, aux-server or proxy-protocol, or no-tcp",
                    PH_TURND_LISTENERS);
}
