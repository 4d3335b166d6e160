/*
 * Addresses that are given in lists: listeners, relays, mappings, other servers.
 */
#include "cmd/turnd/conf_priv.h"

#include <string.h>

static bool has_ip(const struct ph_addr *v, unsigned n, const struct ph_addr *a)
{
    for (unsigned i = 0; i < n; i++)
        if (ph_addr_eq_endpoint(&v[i], a))
            return true;
    return false;
}

/* The addresses of a repeatable key; with_port: each has one. */
static void take_addrs(struct ph_tconf *c, const char *name, bool with_port, struct ph_addr *v,
                       unsigned max, unsigned *n)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, name, s));) {
        struct ph_addr a;
        bool ok = with_port ? ph_addr_parse(&a, s->value, strlen(s->value), 0) == 0 && a.port
                            : ph__tconf_read_ip(&a, s->value, strlen(s->value));
        if (!ok)
            ph__tconf_bad(c, s,
                          with_port
                              ? "is not an address with port: give it as 192.0.2.1:3478 or "
                                "[2001:db8::1]:3478"
                              : "is not an address: give a numeric IP address without port, as "
                                "192.0.2.1 or 2001:db8::1");
        else if (has_ip(v, *n, &a))
            continue;
        else if (*n == max)
            ph_opts_say(c->opts, PH_LOG_ERROR, s, "too many: %u are the most", max);
        else
            v[(*n)++] = a;
    }
}

/* ---- external-ip ---- */

static bool read_external(struct ph_tconf_external *x, const char *text)
{
    size_t n = strcspn(text, "/");
    *x = (struct ph_tconf_external){0};
    if (!ph__tconf_read_ip(&x->pub, text, n) || ph_addr_is_any(&x->pub))
        return false;
    return text[n] == '\0' || ph__tconf_read_ip(&x->priv, text + n + 1, strlen(text + n + 1));
}

/* The mapping that an external-ip would contradict, or NULL. */
static const struct ph_tconf_external *same_target(const struct ph_tconf *c,
                                                   const struct ph_tconf_external *x)
{
    for (unsigned i = 0; i < c->n_external; i++) {
        const struct ph_tconf_external *e = &c->external[i];
        if (e->pub.family == x->pub.family && ph_addr_eq_ip(&e->priv, &x->priv))
            return e;
    }
    return NULL;
}

static void take_externals(struct ph_tconf *c)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, "external-ip", s));) {
        struct ph_tconf_external x;
        const struct ph_tconf_external *same;
        if (!read_external(&x, s->value))
            ph__tconf_bad(
                c, s, "is not a mapping: give PUBLIC or PUBLIC/PRIVATE with numeric IP addresses");
        else if (x.priv.family && x.priv.family != x.pub.family)
            ph__tconf_bad(c, s, "mixes IPv4 and IPv6: give two addresses of one family");
        else if ((same = same_target(c, &x)) != NULL && ph_addr_eq_ip(&same->pub, &x.pub))
            continue;
        else if (same)
            ph__tconf_bad(c, s,
                          x.priv.family
                              ? "maps this private address a second time: keep one"
                              : "is a second address for this family: write PUBLIC/PRIVATE "
                                "to map several");
        else if (c->n_external == PH_TCONF_EXTERNALS)
            ph_opts_say(c->opts, PH_LOG_ERROR, s, "too many: %d are the most", PH_TCONF_EXTERNALS);
        else
            c->external[c->n_external++] = x;
    }
}

/* ---- other servers ---- */

struct servers {
    struct ph_addr *v;
    unsigned *n;
};

/* The servers of a key, for clients of these transports. */
static void take_servers(struct ph_tconf *c, const char *name, uint16_t port, struct servers to,
                         const uint8_t *protos, unsigned n_protos)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, name, s));) {
        struct ph_addr a;
        if (ph_addr_parse(&a, s->value, strlen(s->value), port) != 0 || !a.port)
            ph__tconf_bad(c, s,
                          "is not an address: give a numeric one, as 192.0.2.1:3478 or "
                          "[2001:db8::1]:3478");
        else if (ph_addr_is_any(&a))
            ph__tconf_bad(c, s, "is a wildcard: give an address");
        else if (*to.n + n_protos > PH_TURND_ALTERNATES)
            ph_opts_say(c->opts, PH_LOG_ERROR, s,
                        "too many servers: %d are the most, and one for UDP and TCP counts twice",
                        PH_TURND_ALTERNATES);
        else
            for (unsigned i = 0; i < n_protos; i++) {
                a.proto = protos[i];
                to.v[(*to.n)++] = a;
            }
    }
}

/* coturn's rules: alternate-server is for plain clients, tls-alternate-server for those with TLS; a key for one
 * transport goes before the common one. */
static void take_alternates(struct ph_tconf *c)
{
    static const uint8_t PLAIN[] = {PH_UDP, PH_TCP}, SECURE[] = {PH_TLS, PH_DTLS},
                         ANY[] = {PH_PROTO_NONE};
    const struct servers to = {c->alternate, &c->n_alternates};
    const struct servers drain = {c->drain_alternate, &c->n_drain_alternates};
    bool udp = ph__tconf_is_set(c, "udp-alternate-server");
    bool tcp = ph__tconf_is_set(c, "tcp-alternate-server");
    take_servers(c, "alternate-server", 3478, to, udp ? PLAIN + 1 : PLAIN, (unsigned)(!udp + !tcp));
    take_servers(c, "udp-alternate-server", 3478, to, PLAIN, 1);
    take_servers(c, "tcp-alternate-server", 3478, to, PLAIN + 1, 1);
    take_servers(c, "tls-alternate-server", 5349, to, SECURE, 2);
    take_servers(c, "drain-alternate-server", 3478, drain, ANY, 1);
}

void ph__tconf_take_lists(struct ph_tconf *c)
{
    take_addrs(c, "listening-ip", false, c->listen, PH_TURND_LISTENERS, &c->n_listen);
    take_addrs(c, "aux-server", true, c->aux, PH_TURND_LISTENERS, &c->n_aux);
    take_addrs(c, "proxy-protocol", true, c->proxy, PH_TURND_LISTENERS, &c->n_proxy);
    take_addrs(c, "relay-ip", false, c->relay, PH_TURND_RELAYS, &c->n_relay);
    take_externals(c);
    take_alternates(c);
}
