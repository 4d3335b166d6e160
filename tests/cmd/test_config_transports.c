/*
 * Keys of transports, certificates, other servers and bandwidth: what they store, and what bad values get.
 */
#include "cmd/support.h"

#include "cmd/turnd/conf.h"

/* ---- transports ---- */

Test(turnd_transports, are_all_on_by_default)
{
    struct ph_tconf c;
    conf_load(&c, "realm=r\nuser=a:b\n");
    cr_expect_eq(c.tls_port, 5349);
    cr_expect_eq(c.proxy_port, 0);
    cr_expect_not(c.no_udp || c.no_tcp || c.no_tls || c.no_dtls || c.http_400);
    cr_expect_not(ph_tconf_has_tls(&c), "there is no certificate");
    ph_tconf_fini(&c);
}

Test(turnd_transports, are_chosen_by_keys)
{
    struct ph_tconf c;
    conf_load(&c, "tls-listening-port=443\nalt-tls-listening-port=444\ntcp-proxy-port=99\n"
                  "proxy-protocol=192.0.2.1:3488\nproxy-protocol=[::1]:3489\nno-dtls\n"
                  "respond-http-unsupported\naux-server=192.0.2.1:80\n");
    cr_expect(c.tls_port == 443 && c.alt_tls_port == 444 && c.proxy_port == 99);
    cr_expect_eq(c.n_proxy, 2);
    cr_expect_eq(c.proxy[1].port, 3489);
    cr_expect(c.no_dtls && c.http_400);
    ph_tconf_fini(&c);
    conf_load(&c, "no-dtls\ndtls\n");
    cr_expect_not(c.no_dtls, "the last word counts");
    ph_tconf_fini(&c);
}

Test(turnd_transports, must_leave_something)
{
    conf_expect_error("no-udp\nno-tcp",
                      "t.conf:1: no-udp: does not go with no-tcp where there is no TLS or DTLS: "
                      "nothing is left to listen on; give cert and pkey, or remove one of them");
    conf_expect_fine("no-udp");
    conf_expect_fine("no-udp\nno-tcp\ncert=c.pem\npkey=k.pem");
    conf_expect_fine("no-tcp");
}

Test(turnd_transports, name_bad_values)
{
    conf_expect_error("tls-listening-port=70000",
                      "t.conf:1: tls-listening-port: \"70000\" is out of range: give a whole "
                      "number from 0 to 65535");
    conf_expect_error("tcp-proxy-port=0", "t.conf:1: tcp-proxy-port: \"0\" is out of range: give a "
                                          "whole number from 1 to 65535");
    conf_expect_error("proxy-protocol=192.0.2.1",
                      "t.conf:1: proxy-protocol: \"192.0.2.1\" is not an address with port: give "
                      "it as 192.0.2.1:3478 or [2001:db8::1]:3478");
    conf_expect_error("no-tls=perhaps",
                      "t.conf:1: no-tls: \"perhaps\" is neither true nor false: give yes or no, "
                      "true or false, 1 or 0, on or off");
    conf_expect_warning("dtls", "t.conf:1: dtls: without effect: it needs a certificate");
    conf_expect_warning("pkey=x", "t.conf:1: pkey: without effect: there is no cert");
}

/* ---- certificates ---- */

Test(turnd_certificates, are_wanted_when_given)
{
    struct ph_tconf c;
    conf_load(&c, "cert=a.pem\npkey=a.key\npkey-pwd=hunter2\nCA-file=ca.pem\ncipher-list=X\n"
                  "ec-curve-name=P-256\ndh-file=dh.pem\ntlsv1\ntlsv1_1\nno-tlsv1\nno-tlsv1_2\n");
    cr_expect(ph_tconf_has_tls(&c));
    cr_expect_str_eq(c.key_password, "hunter2");
    cr_expect_str_eq(c.ca_file, "ca.pem");
    cr_expect_str_eq(c.ciphers, "X");
    cr_expect_str_eq(c.curves, "P-256");
    cr_expect_str_eq(c.dh_file, "dh.pem");
    cr_expect(!c.tls1_0 && c.tls1_1 && c.no_tls1_2);
    ph_tconf_fini(&c);
    conf_load(&c, "cert=a.pem\npkey=a.key\nno-tls\nno-dtls\n");
    cr_expect_not(ph_tconf_has_tls(&c));
    cr_expect_null(ph_tconf_tls(&c));
    cr_expect_not(ph_opts_failed(c.opts), "the files are not even opened");
    ph_tconf_fini(&c);
}

Test(turnd_certificates, that_cannot_be_loaded_are_named)
{
    struct ph_tconf c;
    conf_load(&c, "realm=r\ncert=/nonexistent/cert.pem\npkey=/nonexistent/key.pem\n");
    cr_expect_null(ph_tconf_tls(&c));
    const char *got = conf_first_error(&c);
    cr_assert_not_null(got);
    cr_expect(strncmp(got, "t.conf:2: cert: ", 16) == 0, "%s", got);
    cr_expect(strstr(got, "/nonexistent/cert.pem") != NULL, "%s", got);
    ph_tconf_fini(&c);
}

/* ---- other servers ---- */

static void expect_servers(const char *text, const char *want)
{
    char got[512] = "", at[PH_ADDR_TEXT];
    struct ph_tconf c;
    conf_load(&c, text);
    for (unsigned i = 0; i < c.n_alternates; i++)
        sprintf(got + strlen(got), "%s%s/%d", i ? " " : "", ph_addr_text(&c.alternate[i], at),
                c.alternate[i].proto);
    cr_expect_str_eq(got, want);
    ph_tconf_fini(&c);
}

Test(turnd_servers, are_for_the_transports_that_coturn_means)
{
    expect_servers("alternate-server=192.0.2.2\n", "192.0.2.2:3478/17 192.0.2.2:3478/6");
    expect_servers("alternate-server=192.0.2.2:99\nudp-alternate-server=192.0.2.3\n",
                   "192.0.2.2:99/6 192.0.2.3:3478/17");
    expect_servers("alternate-server=192.0.2.2\nudp-alternate-server=192.0.2.3\n"
                   "tcp-alternate-server=192.0.2.4\n",
                   "192.0.2.3:3478/17 192.0.2.4:3478/6");
    expect_servers("tls-alternate-server=[2001:db8::2]\n",
                   "[2001:db8::2]:5349/1 [2001:db8::2]:5349/2");
}

Test(turnd_servers, may_be_for_draining_alone)
{
    struct ph_tconf c;
    conf_load(&c, "drain-alternate-server=192.0.2.2\ndrain-alternate-server=192.0.2.3:99\n");
    cr_expect(c.n_alternates == 0 && c.n_drain_alternates == 2);
    cr_expect_eq(c.drain_alternate[1].port, 99);
    cr_expect_eq(c.drain_alternate[1].proto, PH_PROTO_NONE);
    ph_tconf_fini(&c);
}

Test(turnd_servers, are_named_when_bad)
{
    conf_expect_error("tls-alternate-server=example.org",
                      "t.conf:1: tls-alternate-server: \"example.org\" is not an address: give a "
                      "numeric one, as 192.0.2.1:3478 or [2001:db8::1]:3478");
    conf_expect_error(
        "drain-alternate-server=[::]:1",
        "t.conf:1: drain-alternate-server: \"[::]:1\" is a wildcard: give an address");
    char text[2048] = "";
    for (int i = 1; i <= 9; i++)
        sprintf(text + strlen(text), "alternate-server=192.0.2.%d\n", i);
    conf_expect_error(text,
                      "t.conf:9: alternate-server: too many servers: 16 are the most, and one "
                      "for UDP and TCP counts twice");
}

/* ---- bandwidth and rates ---- */

Test(turnd_limits, of_bandwidth_may_be_large)
{
    struct ph_tconf c;
    conf_load(&c, "max-bps=125000\nuser-max-bps=250000\nbps-capacity=12500000000\n");
    cr_expect_eq(c.max_bps, 125000);
    cr_expect_eq(c.user_max_bps, 250000);
    cr_expect_eq(c.bps_capacity, 12500000000);
    ph_tconf_fini(&c);
    conf_expect_error("max-bps=1k", "t.conf:1: max-bps: \"1k\" is not a number: give a whole "
                                    "number from 0 to 1000000000000000");
    conf_expect_error("bps-capacity=99999999999999999999",
                      "t.conf:1: bps-capacity: \"99999999999999999999\" is out of range: give a "
                      "whole number from 0 to 1000000000000000");
}

Test(turnd_limits, of_new_peers)
{
    static const struct {
        const char *text;
        uint32_t rate, burst;
    } CASES[] = {{"", 10, 128},
                 {"new-peer-rate=5", 5, 128},
                 {"new-peer-rate=5/20", 5, 20},
                 {"new-peer-rate=0", 0, 0}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct ph_tconf c;
        conf_load(&c, CASES[i].text);
        cr_expect_eq(c.new_peers_rate, CASES[i].rate, "%s", CASES[i].text);
        cr_expect_eq(c.new_peers_burst, CASES[i].burst, "%s", CASES[i].text);
        ph_tconf_fini(&c);
    }
    static const char *const BAD[] = {"", "x", "5/", "5/0", "/5", "5/x", "-1", "1000001"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char line[64], want[160];
        snprintf(line, sizeof line, "new-peer-rate=%s", BAD[i]);
        snprintf(want, sizeof want,
                 "t.conf:1: new-peer-rate: \"%s\" is no rate: give N or N/BURST, each up to "
                 "1000000; 0: no limit",
                 BAD[i]);
        conf_expect_error(line, want);
    }
}

Test(turnd_limits, of_connections)
{
    struct ph_tconf c;
    conf_load(&c, "");
    cr_expect(c.max_conns == 0 && c.max_conns_per_ip == 0, "the shell's");
    ph_tconf_fini(&c);
    conf_load(&c, "max-connections=100\nmax-connections-per-ip=10\n");
    cr_expect(c.max_conns == 100 && c.max_conns_per_ip == 10);
    ph_tconf_fini(&c);
    conf_expect_error("max-connections=0",
                      "t.conf:1: max-connections: \"0\" is out of range: give a "
                      "whole number from 1 to 16777216");
}

Test(turnd_limits, of_tcp_relays_and_mobility)
{
    struct ph_tconf c;
    conf_load(&c, "no-tcp-relay\nmobility\nstrict-expiry\n");
    cr_expect(c.no_tcp_relay && c.mobility && c.strict_expiry);
    ph_tconf_fini(&c);
}
