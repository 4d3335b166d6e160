/*
 * The plan: which listeners and relays come of a configuration on a machine.
 */
#include "cmd/turnd/plan.h"

#include <criterion/criterion.h>
#include <string.h>

static struct ph_addr addr(const char *text)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0, "%s", text);
    return a;
}

/* Plans a configuration for a machine with two addresses, an IPv6 address and loopback. */
static void plan(struct ph_tconf *c, struct ph_tplan *p, const char *text)
{
    struct ph_addr machine[] = {addr("192.0.2.1"), addr("192.0.2.2"), addr("2001:db8::1"),
                                addr("127.0.0.1"), addr("::1")};
    ph_tconf_init(c);
    ph_opts_read_text(c->opts, "t.conf", text, strlen(text));
    ph_tconf_apply(c);
    ph_tplan_make(p, c, machine, sizeof machine / sizeof *machine);
}

static bool has_message(const struct ph_tconf *c, const char *text)
{
    const struct ph_opt_message *m;
    for (size_t i = 0; (m = ph_opts_message(c->opts, i)) != NULL; i++)
        if (strstr(m->text, text))
            return true;
    return false;
}

/* Compares a list with words such as "192.0.2.1:3478 [::1]:3478"; addresses of no family are "-". */
static void expect_list(const struct ph_addr *v, unsigned n, const char *want)
{
    char got[2048] = "", text[PH_ADDR_TEXT];
    for (unsigned i = 0; i < n; i++) {
        strcat(got, i ? " " : "");
        strcat(got, ph_addr_text(&v[i], text));
    }
    cr_expect_str_eq(got, want);
}

/* The listeners of one kind. */
static void expect_listeners(const struct ph_tplan *p, bool udp, const char *want)
{
    unsigned first = 0, n = 0;
    while (first < p->n_listeners && p->listener[first].proto == PH_UDP)
        first++;
    for (unsigned i = first; i < p->n_listeners; i++)
        cr_expect_neq(p->listener[i].proto, PH_UDP, "UDP listeners go before TCP ones");
    n = p->n_listeners - first;
    if (udp)
        expect_list(p->listener, first, want);
    else
        expect_list(p->listener + first, n, want);
}

Test(turnd_plan, listens_on_every_address_of_the_machine)
{
    struct ph_tconf c;
    struct ph_tplan p;
    plan(&c, &p, "");
    expect_listeners(&p, true,
                     "192.0.2.1:3478 192.0.2.2:3478 [2001:db8::1]:3478 127.0.0.1:3478 [::1]:3478");
    expect_list(p.relay, p.n_relays, "192.0.2.1 192.0.2.2 2001:db8::1");
    cr_expect_eq(p.n_quads, 0);
    cr_expect_eq(p.workers, ph_tplan_cpus());
    ph_tconf_fini(&c);
}

Test(turnd_plan, relays_from_loopback_when_there_is_nothing_else)
{
    struct ph_tconf c;
    struct ph_tplan p;
    struct ph_addr machine[] = {addr("127.0.0.1"), addr("2001:db8::1"), addr("::1")};
    ph_tconf_init(&c);
    ph_tconf_apply(&c);
    ph_tplan_make(&p, &c, machine, 3);
    expect_list(p.relay, p.n_relays, "127.0.0.1 2001:db8::1");
    ph_tconf_fini(&c);
}

Test(turnd_plan, takes_what_it_is_told)
{
    struct ph_tconf c;
    struct ph_tplan p;
    plan(&c, &p,
         "listening-ip=198.51.100.1\nlistening-ip=2001:db8::9\nlistening-port=5000\n"
         "aux-server=198.51.100.1:53\naux-server=198.51.100.1:5000\nrelay-threads=0\n");
    expect_listeners(&p, true, "198.51.100.1:5000 [2001:db8::9]:5000 198.51.100.1:53");
    expect_list(p.relay, p.n_relays, "198.51.100.1 2001:db8::9");
    cr_expect_eq(p.workers, 0);
    cr_expect_eq(p.pool_ports, 0);
    ph_tconf_fini(&c);
    plan(&c, &p, "listening-ip=198.51.100.1\nrelay-ip=198.51.100.2\nrelay-ip=127.0.0.1\n");
    expect_list(p.relay, p.n_relays, "198.51.100.2 127.0.0.1");
    ph_tconf_fini(&c);
}

Test(turnd_plan, shares_ports_with_one_worker)
{
    static const struct {
        const char *text;
        unsigned workers;
        uint16_t ports;
    } cases[] = {
        {"cpus=8\nrelay-port-pool=20\n", 1, 20},
        {"cpus=8\nrelay-port-pool=20\nrelay-threads=1\n", 1, 20},
        {"cpus=8\nrelay-port-pool=20\nrelay-threads=0\n", 0, 20},
        {"min-port=65535\nrelay-port-pool=1\n", 1, 1},
        {"cpus=8\nrelay-port-pool=20\nno-udp-relay\n", 8, 0},
        {"cpus=8\nrelay-port-pool=20\nstun-only\nrelay-threads=4\n", 4, 0},
        {"cpus=8\n", 8, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ph_tconf c;
        struct ph_tplan p;
        plan(&c, &p, cases[i].text);
        cr_expect_not(ph_opts_failed(c.opts), "%s", cases[i].text);
        cr_expect_eq(p.workers, cases[i].workers, "%s", cases[i].text);
        cr_expect_eq(p.pool_ports, cases[i].ports, "%s", cases[i].text);
        ph_tconf_fini(&c);
    }
}

Test(turnd_plan, takes_a_wildcard_for_every_address_of_its_family)
{
    struct ph_tconf c;
    struct ph_tplan p;
    plan(&c, &p, "listening-ip=0.0.0.0\n");
    expect_listeners(&p, true, "192.0.2.1:3478 192.0.2.2:3478 127.0.0.1:3478");
    expect_list(p.relay, p.n_relays, "192.0.2.1 192.0.2.2");
    ph_tconf_fini(&c);
}

Test(turnd_plan, maps_external_addresses)
{
    struct ph_tconf c;
    struct ph_tplan p;
    plan(&c, &p, "external-ip=203.0.113.9\nexternal-ip=203.0.113.2/192.0.2.2\n");
    expect_list(p.relay_external, p.n_relays, "203.0.113.9 203.0.113.2 -");
    expect_list(p.listener_external, p.n_listeners,
                "203.0.113.9:3478 203.0.113.2:3478 - 203.0.113.9:3478 - "
                "203.0.113.9:3478 203.0.113.2:3478 - 203.0.113.9:3478 -");
    ph_tconf_fini(&c);
    plan(&c, &p, "relay-ip=0.0.0.0\nexternal-ip=203.0.113.9\n");
    cr_expect_not(ph_opts_failed(c.opts));
    expect_list(p.relay_external, p.n_relays, "203.0.113.9");
    ph_tconf_fini(&c);
    plan(&c, &p, "relay-ip=::\nexternal-ip=203.0.113.9\n");
    cr_expect(has_message(&c, "t.conf:1: relay-ip: clients cannot be told ::"));
    cr_expect(ph_opts_failed(c.opts));
    ph_tconf_fini(&c);
    plan(&c, &p, "external-ip=203.0.113.2/10.9.9.9\n");
    cr_expect(has_message(&c, "external-ip: nothing listens on or relays from 10.9.9.9"));
    ph_tconf_fini(&c);
}

/* The four sockets of a quad, in the numbering of RFC 5780's two bits. */
static void expect_quad(const struct ph_tplan *p, unsigned q, const char *want)
{
    struct ph_addr v[PH_STUND_SOCKETS];
    for (unsigned i = 0; i < PH_STUND_SOCKETS; i++)
        v[i] = p->listener[p->quad[q].listener[i]];
    expect_list(v, PH_STUND_SOCKETS, want);
}

Test(turnd_plan, pairs_addresses_for_behaviour_discovery)
{
    struct ph_tconf c;
    struct ph_tplan p;
    plan(&c, &p,
         "rfc5780\nlistening-ip=192.0.2.1\nlistening-ip=192.0.2.2\n"
         "listening-ip=2001:db8::1\nlistening-ip=192.0.2.3\nlistening-ip=2001:db8::2\n");
    cr_expect_eq(p.n_quads, 2);
    expect_quad(&p, 0, "192.0.2.1:3478 192.0.2.1:3479 192.0.2.2:3478 192.0.2.2:3479");
    expect_quad(&p, 1,
                "[2001:db8::1]:3478 [2001:db8::1]:3479 [2001:db8::2]:3478 [2001:db8::2]:3479");
    cr_expect_eq(p.n_listeners, 9 + 5, "and the one without partner, and TCP");
    ph_tconf_fini(&c);
    plan(&c, &p, "rfc5780\nalt-listening-port=9\n");
    expect_quad(&p, 0, "192.0.2.1:3478 192.0.2.1:9 192.0.2.2:3478 192.0.2.2:9");
    cr_expect_eq(p.n_quads, 1, "loopback does not pair");
    ph_tconf_fini(&c);
}

Test(turnd_plan, does_without_behaviour_discovery_when_it_cannot_work)
{
    struct ph_tconf c;
    struct ph_tplan p;
    plan(&c, &p, "rfc5780\nlistening-ip=192.0.2.1\nlistening-ip=2001:db8::1\n");
    cr_expect_eq(p.n_quads, 0);
    cr_expect_eq(p.n_listeners, 4);
    cr_expect(has_message(&c, "t.conf:1: rfc5780: off: it needs two listening-ip of one family"));
    cr_expect_not(ph_opts_failed(c.opts));
    ph_tconf_fini(&c);
    /* Clients would see one address twice. */
    plan(&c, &p,
         "rfc5780\nlistening-ip=192.0.2.1\nlistening-ip=192.0.2.2\nexternal-ip=203.0.113.9\n");
    cr_expect_eq(p.n_quads, 0);
    ph_tconf_fini(&c);
    plan(&c, &p,
         "rfc5780\nlistening-ip=192.0.2.1\nlistening-ip=192.0.2.2\n"
         "external-ip=203.0.113.1/192.0.2.1\nexternal-ip=203.0.113.2/192.0.2.2\n");
    cr_expect_eq(p.n_quads, 1);
    ph_tconf_fini(&c);
}

Test(turnd_plan, has_no_relays_for_stun_alone)
{
    struct ph_tconf c;
    struct ph_tplan p;
    plan(&c, &p, "stun-only\n");
    cr_expect_eq(p.n_relays, 0);
    cr_expect_not(ph_opts_failed(c.opts));
    ph_tconf_fini(&c);
}

Test(turnd_plan, keeps_within_its_limits)
{
    struct ph_tconf c;
    struct ph_tplan p;
    struct ph_addr machine[40];
    for (uint8_t i = 0; i < 40; i++)
        machine[i] = ph_addr_v4((uint8_t[]){192, 0, 2, i}, 0, PH_PROTO_NONE);
    ph_tconf_init(&c);
    ph_tconf_apply(&c);
    ph_tplan_make(&p, &c, machine, 40);
    cr_expect_eq(p.n_listeners, 64, "UDP and TCP for each of 32");
    cr_expect(has_message(&c, "this machine has too many addresses for 64 listeners, 2 for each: "
                              "those after 192.0.2.31 are left out; choose with listening-ip"));
    cr_expect_eq(p.n_relays, PH_TURND_RELAYS);
    cr_expect(has_message(&c, "relays use the first 16 addresses only"));
    cr_expect_not(ph_opts_failed(c.opts));
    ph_tconf_fini(&c);
}

Test(turnd_plan, refuses_more_listeners_than_there_can_be)
{
    char text[4096] = "rfc5780\n";
    struct ph_tconf c;
    struct ph_tplan p;
    for (int i = 0; i < 40; i++)
        sprintf(text + strlen(text), "listening-ip=192.0.2.%d\n", i);
    plan(&c, &p, text);
    cr_expect(has_message(&c, "too many listeners: 64 addresses with port and transport are the "
                              "most; give fewer listening-ip, aux-server or proxy-protocol, or "
                              "no-tcp"));
    cr_expect(ph_opts_failed(c.opts));
    ph_tconf_fini(&c);
}

/* ---- transports ---- */

#define ONE_IP "listening-ip=192.0.2.1\n"
#define CERT   "cert=c.pem\npkey=k.pem\n"

/* What each listener speaks, as "udp 192.0.2.1:3478, tcp ...". */
static void expect_speaks(const char *text, const char *want)
{
    char got[2048] = "", at[PH_ADDR_TEXT];
    struct ph_tconf c;
    struct ph_tplan p;
    plan(&c, &p, text);
    for (unsigned i = 0; i < p.n_listeners; i++)
        sprintf(got + strlen(got), "%s%s %s", i ? ", " : "", ph_tplan_speaks(&p, i),
                ph_addr_text(&p.listener[i], at));
    cr_expect_str_eq(got, want, "%s:\n  %s\n  %s", text, got, want);
    ph_tconf_fini(&c);
}

Test(turnd_plan, speaks_udp_and_tcp_without_a_certificate)
{
    expect_speaks(ONE_IP, "udp 192.0.2.1:3478, tcp 192.0.2.1:3478");
    expect_speaks(ONE_IP "no-tcp", "udp 192.0.2.1:3478");
    expect_speaks(ONE_IP "no-udp", "tcp 192.0.2.1:3478");
    expect_speaks(ONE_IP "tls-listening-port=443", "udp 192.0.2.1:3478, tcp 192.0.2.1:3478");
    expect_speaks(ONE_IP CERT "no-tls\nno-dtls", "udp 192.0.2.1:3478, tcp 192.0.2.1:3478");
}

Test(turnd_plan, speaks_plain_and_tls_on_both_ports_with_one)
{
    expect_speaks(ONE_IP CERT, "udp and dtls 192.0.2.1:3478, udp and dtls 192.0.2.1:5349, "
                               "tcp and tls 192.0.2.1:3478, tcp and tls 192.0.2.1:5349");
    expect_speaks(ONE_IP CERT "no-dtls", "udp 192.0.2.1:3478, tcp and tls 192.0.2.1:3478, "
                                         "tcp and tls 192.0.2.1:5349");
    expect_speaks(ONE_IP CERT "no-tls", "udp and dtls 192.0.2.1:3478, udp and dtls "
                                        "192.0.2.1:5349, tcp 192.0.2.1:3478");
    expect_speaks(ONE_IP CERT "no-dtls\ndtls\nno-tls\nno-tcp",
                  "udp and dtls 192.0.2.1:3478, udp and dtls 192.0.2.1:5349");
    expect_speaks(ONE_IP CERT "no-udp\nno-tcp", "dtls 192.0.2.1:5349, tls 192.0.2.1:5349");
    expect_speaks(ONE_IP CERT "tls-listening-port=3478",
                  "udp and dtls 192.0.2.1:3478, tcp and tls 192.0.2.1:3478");
}

Test(turnd_plan, adds_listeners_of_their_own_ports)
{
    expect_speaks(ONE_IP "aux-server=192.0.2.2:443",
                  "udp 192.0.2.1:3478, udp 192.0.2.2:443, tcp 192.0.2.1:3478, tcp 192.0.2.2:443");
    expect_speaks(ONE_IP "no-udp\ntcp-proxy-port=3488\nproxy-protocol=[2001:db8::1]:99",
                  "tcp 192.0.2.1:3478, tcp behind PROXY protocol 192.0.2.1:3488, "
                  "tcp behind PROXY protocol [2001:db8::1]:99");
    expect_speaks(ONE_IP CERT "no-udp\nno-dtls\nno-tcp\ntcp-proxy-port=3488",
                  "tls 192.0.2.1:5349, tls behind PROXY protocol 192.0.2.1:3488");
}

Test(turnd_plan, keeps_proxy_headers_apart)
{
    struct ph_tconf c;
    struct ph_tplan p;
    plan(&c, &p, ONE_IP "tcp-proxy-port=3478");
    cr_expect(ph_opts_failed(c.opts));
    cr_expect(has_message(&c, "192.0.2.1:3478 is to have PROXY headers and is a listener without "
                              "them too: give tcp-proxy-port or proxy-protocol a port of its own"));
    ph_tconf_fini(&c);
}

Test(turnd_plan, discovers_behaviour_over_dtls_too)
{
    struct ph_tconf c;
    struct ph_tplan p;
    plan(&c, &p, "rfc5780\nno-tcp\nno-tls\nlistening-ip=192.0.2.1\nlistening-ip=192.0.2.2\n" CERT);
    cr_expect_eq(p.n_quads, 2);
    expect_quad(&p, 1, "192.0.2.1:5349 192.0.2.1:5350 192.0.2.2:5349 192.0.2.2:5350");
    ph_tconf_fini(&c);
}

Test(turnd_plan, needs_an_address)
{
    struct ph_tconf c;
    struct ph_tplan p;
    ph_tconf_init(&c);
    ph_tconf_apply(&c);
    ph_tplan_make(&p, &c, NULL, 0);
    cr_expect(has_message(&c, "this machine has no address to listen on: give listening-ip"));
    cr_expect(ph_opts_failed(c.opts));
    ph_tconf_fini(&c);
}

Test(turnd_plan, finds_the_addresses_of_this_machine)
{
    struct ph_addr v[64];
    int n = ph_tplan_machine(v, 64);
    cr_assert_geq(n, 1);
    for (int i = 0; i + 1 < n; i++)
        cr_expect(!ph_addr_is_loopback(&v[i]) || ph_addr_is_loopback(&v[i + 1]),
                  "loopback is last");
}
