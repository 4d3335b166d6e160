/*
 * turnd's keys: all that coturn has are known, each does what its name says or says why not, and mistakes
 * are told with file, line, key and what would be right.
 */
#include "cmd/turnd/conf.h"
#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void fixed_rand(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    memset(dst, 7, n);
}

static const struct ph_env ENV = {.rand = fixed_rand};

/* Reads a text as the configuration file and builds what can be built from it. */
static void load(struct ph_tconf *c, const char *text)
{
    ph_tconf_init(c);
    ph_opts_read_text(c->opts, "t.conf", text, strlen(text));
    ph_tconf_apply(c);
    ph_acl_free(ph_tconf_acl(c, PH_TCONF_DEFAULT));
    ph_auth_free(ph_tconf_auth(c, PH_TCONF_DEFAULT, &ENV));
}

static const char *first_error(const struct ph_tconf *c)
{
    const struct ph_opt_message *m;
    for (size_t i = 0; (m = ph_opts_message(c->opts, i)) != NULL; i++)
        if (m->level == PH_LOG_ERROR)
            return m->text;
    return NULL;
}

static bool has_message(const struct ph_tconf *c, const char *text)
{
    const struct ph_opt_message *m;
    for (size_t i = 0; (m = ph_opts_message(c->opts, i)) != NULL; i++)
        if (strstr(m->text, text))
            return true;
    return false;
}

static void expect_fine(const char *text)
{
    struct ph_tconf c;
    load(&c, text);
    const char *why = first_error(&c);
    cr_expect_null(why, "%s: %s", text, why ? why : "");
    ph_tconf_fini(&c);
}

static void expect_error(const char *text, const char *message)
{
    struct ph_tconf c;
    load(&c, text);
    const char *got = first_error(&c);
    cr_expect(ph_opts_failed(c.opts), "%s", text);
    cr_expect_str_eq(got ? got : "(none)", message);
    ph_tconf_fini(&c);
}

static void expect_warning(const char *text, const char *part)
{
    struct ph_tconf c;
    load(&c, text);
    cr_expect(has_message(&c, part), "%s: no message has \"%s\"", text, part);
    cr_expect_not(ph_opts_failed(c.opts), "%s", text);
    ph_tconf_fini(&c);
}

/* ---- the table ---- */

Test(turnd_conf, knows_every_key_of_coturn)
{
    struct ph_tconf c;
    char line[128];
    unsigned n = 0;
    FILE *f = fopen(PH_TESTS_DIR "/vectors/coturn_keys.txt", "r");
    cr_assert_not_null(f);
    ph_tconf_init(&c);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (*line == '#')
            continue;
        n++;
        cr_expect_not_null(ph_opts_find(c.opts, line), "%s", line);
    }
    fclose(f);
    cr_expect_eq(n, 152);
    ph_tconf_fini(&c);
}

Test(turnd_conf, knows_every_letter_of_coturn)
{
    static const char LETTERS[] = "cdpLEXimlrubBeMJNOqQsCKAvVofhznaS";
    for (const char *l = LETTERS; *l; l++) {
        unsigned n = 0;
        for (size_t i = 0; i < ph_tconf_table_n; i++)
            n += ph_tconf_table[i].name && ph_tconf_table[i].letter == *l;
        cr_expect_eq(n, 1, "-%c is there %u times", *l, n);
    }
}

Test(turnd_conf, explains_every_key)
{
    for (size_t i = 0; i < ph_tconf_table_n; i++) {
        const struct ph_opt *opt = &ph_tconf_table[i];
        if (!opt->name)
            continue;
        if (opt->status == PH_OPT_HONOURED)
            cr_expect_not_null(opt->help, "%s has no help", opt->name);
        else
            cr_expect_not_null(opt->note, "%s has no reason", opt->name);
        for (size_t k = 0; k < i; k++)
            cr_expect(!ph_tconf_table[k].name || strcmp(ph_tconf_table[k].name, opt->name) != 0,
                      "%s is there twice", opt->name);
    }
}

Test(turnd_conf, takes_the_file_that_debian_installs)
{
    expect_fine("syslog\n\nno-rfc5780\nno-stun-backward-compatibility\n"
                "response-origin-only-with-rfc5780\n");
}

Test(turnd_conf, takes_a_usual_file)
{
    struct ph_tconf c;
    load(&c,
         "listening-port=3479\nlistening-ip=192.0.2.1\nlistening-ip=2001:db8::1\n"
         "relay-ip=192.0.2.2\nexternal-ip=203.0.113.1/192.0.2.2\nmin-port=50000\n"
         "max-port=50100\nverbose\nfingerprint\nlt-cred-mech\nuser=alice:secret\n"
         "realm=example.org\nuser-quota=12\ntotal-quota=1200\nstale-nonce=300\n"
         "no-multicast-peers\ndenied-peer-ip=10.0.0.0-10.255.255.255\nallowed-peer-ip=10.1.2.3\n"
         "relay-threads=3\nmax-allocate-lifetime=1800\nsoftware-attribute\n");
    cr_expect_null(first_error(&c));
    cr_expect_eq(c.port, 3479);
    cr_expect_eq(c.n_listen, 2);
    cr_expect_eq(c.n_relay, 1);
    cr_expect_eq(c.n_external, 1);
    cr_expect_eq(c.external[0].pub.ip[0], 203);
    cr_expect_eq(c.external[0].priv.ip[3], 2);
    cr_expect_eq(c.min_port, 50000);
    cr_expect_eq(c.max_port, 50100);
    cr_expect(c.verbose && c.fingerprint && c.lt_cred_mech && c.software);
    cr_expect_str_eq(c.realm, "example.org");
    cr_expect_eq(c.user_quota, 12);
    cr_expect_eq(c.total_quota, 1200);
    cr_expect_eq(c.stale_nonce_s, 300);
    cr_expect_eq(c.threads, 3);
    cr_expect_eq(c.max_lifetime_s, 1800);
    ph_tconf_fini(&c);
}

Test(turnd_conf, has_the_defaults_of_coturn)
{
    struct ph_tconf c;
    load(&c, "");
    cr_expect_null(first_error(&c));
    cr_expect_eq(c.port, 3478);
    cr_expect_eq(c.min_port, 49152);
    cr_expect_eq(c.max_port, 65535);
    cr_expect_eq(c.max_lifetime_s, 3600);
    cr_expect_eq(c.channel_lifetime_s, 600);
    cr_expect_eq(c.permission_lifetime_s, 300);
    cr_expect_eq(c.stale_nonce_s, 600);
    cr_expect_eq(c.family, PH_TCONF_IPV4);
    cr_expect_eq(c.threads, PH_TCONF_UNSET);
    cr_expect_not(c.rfc5780 || c.always_mapped || c.software || c.fingerprint);
    cr_expect(c.channels_5766);
    ph_tconf_fini(&c);
}

Test(turnd_conf, takes_the_command_line_of_the_benchmark)
{
    char *argv[] = {"turnd",
                    "-n",
                    "-L",
                    "127.0.0.1",
                    "-E",
                    "127.0.0.1",
                    "-p",
                    "3478",
                    "--min-port",
                    "50000",
                    "--max-port",
                    "60000",
                    "--lt-cred-mech",
                    "-r",
                    "bench",
                    "-u",
                    strdup("user:secret"),
                    "--allow-loopback-peers",
                    "--no-tls",
                    "--no-dtls",
                    "--no-tcp",
                    "--no-cli",
                    "--no-stdout-log",
                    "-l",
                    "/tmp/server.log",
                    "--simple-log",
                    "--pidfile",
                    "/tmp/pid",
                    "--userdb",
                    "/tmp/db",
                    "-m",
                    "1",
                    NULL};
    struct ph_tconf c;
    ph_tconf_init(&c);
    ph_tconf_read(&c, sizeof argv / sizeof *argv - 1, argv);
    cr_expect_null(first_error(&c), "%s", first_error(&c));
    cr_expect_eq(c.threads, 1);
    cr_expect(c.allow_loopback);
    cr_expect_str_eq(c.log_file, "/tmp/server.log");
    cr_expect_str_eq(argv[16], "*");
    cr_expect(has_message(&c, "--userdb: ignored: no SQLite database here"));
    ph_tconf_fini(&c);
    free(argv[16]);
}

Test(turnd_conf, takes_the_words_of_the_opposite)
{
    struct ph_tconf c;
    load(&c, "rfc5780\nno-rfc5780\nsoftware-attribute\nprod\n"
             "stun-backward-compatibility\nno-stun-backward-compatibility=no\n");
    cr_expect_not(c.rfc5780);
    cr_expect_not(c.software);
    cr_expect(c.always_mapped);
    ph_tconf_fini(&c);
    load(&c, "keep-address-family\n");
    cr_expect_eq(c.family, PH_TCONF_KEEP);
    ph_tconf_fini(&c);
    load(&c, "keep-address-family\nallocation-default-address-family=ipv6\n");
    cr_expect_eq(c.family, PH_TCONF_IPV6);
    ph_tconf_fini(&c);
}

/* ---- what does not work here ---- */

Test(turnd_conf, refuses_databases_that_are_not_there)
{
    expect_error("psql-userdb=host=db password=hunter2",
                 "t.conf:1: psql-userdb: refused: no SQL databases here: put users into user= "
                 "lines or a users-file, or use static-auth-secret or redis-userdb");
    expect_error(
        "\nmongo-userdb=\"mongodb://127.0.0.1 password=hunter2\"",
        "t.conf:2: mongo-userdb: refused: no MongoDB here: put users into user= lines or a "
        "users-file, or use static-auth-secret or redis-userdb");
}

Test(turnd_conf, tells_of_what_it_leaves_out)
{
    expect_warning("relay-port-pool=5\nno-udp-relay",
                   "relay-port-pool: without effect: there are no UDP relays");
    expect_warning("multiplex-peer", "multiplex-peer: ignored: give relay-port-pool");
    expect_warning("userdb=/var/db/turndb", "userdb: ignored: no SQLite database here");
    expect_warning("raw-public-keys", "raw-public-keys: ignored: clients are shown certificates");
    expect_warning("cli", "cli: ignored: there is no telnet console: use turnctl (api-socket)");
    expect_warning("acme-redirect=https://x", "acme-redirect: ignored: no redirects on TURN ports");
    expect_warning("secure-stun", "secure-stun: ignored: Binding requests are answered without");
    expect_warning("rfc3489-compatibility", "rfc3489-compatibility: ignored: requests without");
    expect_fine("no-tls\nno-dtls\nno-tcp\nno-cli\ncipher-list=X\nno-tlsv1\nno-sslv3\n");
}

/* A key that does not work says why and what works, never that somebody will see to it later. */
Test(turnd_conf, makes_no_excuses)
{
    for (size_t i = 0; i < ph_tconf_table_n; i++) {
        const char *note = ph_tconf_table[i].note;
        cr_expect(!note || !strstr(note, "UDP only"), "%s: %s", ph_tconf_table[i].name, note);
    }
}

/* ---- mistakes ---- */

Test(turnd_conf, names_bad_addresses)
{
    expect_error("listening-ip=example.org",
                 "t.conf:1: listening-ip: \"example.org\" is not an address: give a numeric IP "
                 "address without port, as 192.0.2.1 or 2001:db8::1");
    expect_error("relay-ip=192.0.2.1:80",
                 "t.conf:1: relay-ip: \"192.0.2.1:80\" is not an address: give a numeric IP "
                 "address without port, as 192.0.2.1 or 2001:db8::1");
    expect_error("relay-ip=0.0.0.0", "t.conf:1: relay-ip: clients cannot be told a wildcard: give "
                                     "an address, or external-ip too");
    expect_error("aux-server=192.0.2.1",
                 "t.conf:1: aux-server: \"192.0.2.1\" is not an address with port: give it as "
                 "192.0.2.1:3478 or [2001:db8::1]:3478");
    expect_error("listening-ip=",
                 "t.conf:1: listening-ip: \"\" is not an address: give a numeric IP "
                 "address without port, as 192.0.2.1 or 2001:db8::1");
    expect_error("alternate-server=0.0.0.0",
                 "t.conf:1: alternate-server: \"0.0.0.0\" is a wildcard: give an address");
}

Test(turnd_conf, takes_external_addresses_in_every_form)
{
    struct ph_tconf c;
    load(&c, "external-ip=203.0.113.1\nexternal-ip=2001:db8::1\n"
             "external-ip=203.0.113.2/10.0.0.2\nexternal-ip=203.0.113.3/10.0.0.3\n"
             "external-ip=203.0.113.1\n");
    cr_expect_null(first_error(&c));
    cr_expect_eq(c.n_external, 4);
    cr_expect_eq(c.external[0].priv.family, PH_AF_NONE);
    cr_expect_eq(c.external[1].pub.family, PH_AF_INET6);
    ph_tconf_fini(&c);
}

Test(turnd_conf, names_bad_external_addresses)
{
    static const char *const BAD[] = {"x",
                                      "203.0.113.1/",
                                      "/10.0.0.1",
                                      "203.0.113.1/10.0.0.1/1",
                                      "203.0.113.1:80",
                                      "0.0.0.0",
                                      "",
                                      "203.0.113.1/10.0.0.0/8"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char line[64], want[256];
        snprintf(line, sizeof line, "external-ip=%s", BAD[i]);
        snprintf(want, sizeof want,
                 "t.conf:1: external-ip: \"%s\" is not a mapping: give PUBLIC or PUBLIC/PRIVATE "
                 "with numeric IP addresses",
                 BAD[i]);
        expect_error(line, want);
    }
    expect_error("external-ip=203.0.113.1\nexternal-ip=203.0.113.2",
                 "t.conf:2: external-ip: \"203.0.113.2\" is a second address for this family: "
                 "write PUBLIC/PRIVATE to map several");
    expect_error("external-ip=203.0.113.1/10.0.0.1\nexternal-ip=203.0.113.2/10.0.0.1",
                 "t.conf:2: external-ip: \"203.0.113.2/10.0.0.1\" maps this private address a "
                 "second time: keep one");
    expect_error("external-ip=203.0.113.1/2001:db8::1",
                 "t.conf:1: external-ip: \"203.0.113.1/2001:db8::1\" mixes IPv4 and IPv6: give "
                 "two addresses of one family");
}

Test(turnd_conf, names_bad_ports_and_numbers)
{
    expect_error("listening-port=65536", "t.conf:1: listening-port: \"65536\" is out of range: "
                                         "give a whole number from 0 to 65535");
    expect_error("min-port=60000\nmax-port=50000",
                 "t.conf:2: max-port: min-port 60000 is above max-port 50000: no port is left for "
                 "relays");
    expect_error("max-port=40000", "t.conf:1: max-port: min-port 49152 is above max-port 40000: no "
                                   "port is left for relays");
    expect_error("relay-threads=129", "t.conf:1: relay-threads: \"129\" is out of range: give a "
                                      "whole number from 0 to 128");
    expect_error("relay-port-pool=0", "t.conf:1: relay-port-pool: \"0\" is out of range: give a "
                                      "whole number from 1 to 1024");
    expect_error("relay-port-pool=1025",
                 "t.conf:1: relay-port-pool: \"1025\" is out of range: give "
                 "a whole number from 1 to 1024");
    expect_error(
        "min-port=50000\nmax-port=50003\nrelay-port-pool=5",
        "t.conf:3: relay-port-pool: 5 ports do not fit between min-port 50000 and max-port "
        "50003: give fewer, or more room");
    expect_error(
        "relay-port-pool=5\nrelay-threads=2",
        "t.conf:2: relay-threads: 2 does not go with relay-port-pool, which needs a single "
        "worker: give 1, or remove the key");
    expect_error("user-quota=many", "t.conf:1: user-quota: \"many\" is not a number: give a whole "
                                    "number from 0 to 4294967295");
    expect_error("rfc5780\nlistening-port=3478\nalt-listening-port=3478",
                 "t.conf:3: alt-listening-port: the same as listening-port: rfc5780 needs two");
    expect_error("rfc5780\nlistening-port=65535",
                 "t.conf:2: listening-port: no port above 65535 for rfc5780: give "
                 "alt-listening-port");
}

Test(turnd_conf, names_bad_users_without_their_passwords)
{
    expect_error("user=alice", "t.conf:1: user: the \":\" is missing: give NAME:PASSWORD, or "
                               "NAME:0x and 32 hex digits");
    expect_error("user=:hunter2", "t.conf:1: user: the name is missing: give NAME:PASSWORD, or "
                                  "NAME:0x and 32 hex digits");
    expect_error("user=alice:", "t.conf:1: user: the password is missing: give NAME:PASSWORD, or "
                                "NAME:0x and 32 hex digits");
    expect_error("user=alice:0x1234",
                 "t.conf:1: user: \"alice:***\" has a malformed key: give 0x and 32 hex digits, "
                 "the MD5 of \"name:realm:password\"");
    expect_error("user=alice:0x8493fbc53ba582fb4c044c456bdc40eb00",
                 "t.conf:1: user: \"alice:***\" has a malformed key: give 0x and 32 hex digits, "
                 "the MD5 of \"name:realm:password\"");
    expect_error("static-auth-secret=", "t.conf:1: static-auth-secret: is empty: give a secret, or "
                                        "remove the key");
    char line[700] = "user=";
    memset(line + 5, 'a', 509);
    strcpy(line + 514, ":x");
    struct ph_tconf c;
    load(&c, line);
    cr_expect(has_message(&c, "has a name that is too long: 508 bytes are the most"));
    ph_tconf_fini(&c);
}

Test(turnd_conf, names_bad_rules)
{
    expect_error("denied-peer-ip=10.0.0.0/33",
                 "t.conf:1: denied-peer-ip: \"10.0.0.0/33\" is no address, range or network: give "
                 "A, A-B (A not above B) or A/BITS, with :PORT or :LO-HI if wanted");
    expect_error("\nallowed-peer-ip=localhost",
                 "t.conf:2: allowed-peer-ip: \"localhost\" is no address, range or network: give "
                 "A, A-B (A not above B) or A/BITS, with :PORT or :LO-HI if wanted");
}

Test(turnd_conf, names_what_does_not_go_together)
{
    expect_error("no-auth\nlt-cred-mech",
                 "t.conf:1: no-auth: does not go with lt-cred-mech: keep one of them");
    expect_error("static-auth-secret=x\nno-auth",
                 "t.conf:2: no-auth: does not go with static-auth-secret: keep one of them");
    expect_error("use-auth-secret", "t.conf:1: use-auth-secret: there is no secret: give "
                                    "static-auth-secret");
    expect_error("no-tcp-relay\nno-udp-relay",
                 "t.conf:2: no-udp-relay: does not go with no-tcp-relay: nothing is left to relay; "
                 "give stun-only, or remove one of them");
    expect_fine("no-tcp-relay\nno-udp-relay\nstun-only");
    expect_error("stun-only\nno-stun",
                 "t.conf:2: no-stun: does not go with stun-only: nothing is left to do");
    expect_error("rest-api-separator=::", "t.conf:1: rest-api-separator: \"::\" is not one "
                                          "character");
    expect_error("stateless-nonce-secret=",
                 "t.conf:1: stateless-nonce-secret: has no value: give a secret, or remove the "
                 "key");
    expect_fine("no-auth=no\nlt-cred-mech\nuser=a:b\n");
}

Test(turnd_conf, warns_of_relays_for_nobody_and_for_everybody)
{
    expect_warning("", "no credentials are configured");
    expect_warning("no-auth", "this is an open relay");
    expect_warning("no-auth\nuser=a:b", "user= is without effect");
    expect_warning("user=a:b", "no realm is configured");
    struct ph_tconf c;
    load(&c, "stun-only");
    cr_expect_null(ph_opts_message(c.opts, 0));
    ph_tconf_fini(&c);
}

/* ---- what is built ---- */

static struct ph_auth *auth_of(struct ph_tconf *c, const char *text)
{
    ph_tconf_init(c);
    ph_opts_read_text(c->opts, "t.conf", text, strlen(text));
    ph_tconf_apply(c);
    return ph_tconf_auth(c, PH_TCONF_DEFAULT, &ENV);
}

static void expect_key(const struct ph_auth *a, const char *name, const char *realm,
                       const char *password)
{
    struct ph_auth_match m;
    struct ph_key k;
    ph_key_long_term(&k, PH_ALG_MD5, ph_str(name), ph_str(realm), ph_str(password));
    cr_assert_eq(ph_auth_find(a, ph_str(name), PH_ALG_MD5, 1700000000, 0, &m), 0, "%s", name);
    cr_expect_eq(memcmp(m.key.b, k.b, 16), 0, "%s", name);
}

Test(turnd_conf, takes_users_whatever_the_order_of_realm)
{
    struct ph_tconf c;
    struct ph_auth *a = auth_of(&c, "user=alice:secret\nuser=bob:  pass:word\nrealm=example.org\n"
                                    "user=user:0x8493fbc53ba582fb4c044c456bdc40eb\n");
    expect_key(a, "alice", "example.org", "secret");
    expect_key(a, "bob", "example.org", "pass:word");
    expect_key(a, "user", "realm", "pass"); /* RFC 8489's example */
    ph_auth_free(a);
    ph_tconf_fini(&c);
}

Test(turnd_conf, takes_users_and_secrets_together)
{
    struct ph_tconf c;
    struct ph_auth_match m;
    struct ph_auth *a = auth_of(&c, "realm=r\nuser=alice:secret\nstatic-auth-secret=one\n"
                                    "static-auth-secret=two\nrest-api-separator=|\n");
    expect_key(a, "alice", "r", "secret");
    cr_expect_eq(ph_auth_find(a, ph_str("1800000000|x"), PH_ALG_MD5, 1700000000, 3, &m), 0,
                 "two secrets, with HMAC-SHA1 and HMAC-SHA256");
    cr_expect_eq(ph_auth_find(a, ph_str("1800000000|x"), PH_ALG_MD5, 1700000000, 4, &m),
                 PH_E_MISSING);
    ph_auth_free(a);
    ph_tconf_fini(&c);
}

Test(turnd_conf, makes_the_same_nonce_key_from_the_same_secret)
{
    struct ph_tconf c;
    struct ph_nonce_conf a, b, own;
    load(&c, "stateless-nonce-secret=fleet\nstale-nonce=60\n");
    ph_tconf_nonce(&c, &ENV, &a);
    ph_tconf_nonce(&c, &ENV, &b);
    cr_expect_eq(memcmp(a.key, b.key, sizeof a.key), 0);
    cr_expect_eq(a.ttl_s, 60);
    ph_tconf_fini(&c);
    load(&c, "");
    ph_tconf_nonce(&c, &ENV, &own);
    cr_expect_neq(memcmp(a.key, own.key, sizeof a.key), 0);
    cr_expect_eq(own.key[0], 7, "random");
    ph_tconf_fini(&c);
}

Test(turnd_conf, makes_the_peer_policy)
{
    struct ph_tconf c;
    struct ph_addr peer;
    ph_tconf_init(&c);
    const char *text = "allow-loopback-peers\nallowed-peer-ip=10.1.0.0/16\n"
                       "denied-peer-ip=203.0.113.1-203.0.113.9\n";
    ph_opts_read_text(c.opts, "t.conf", text, strlen(text));
    ph_tconf_apply(&c);
    struct ph_acl *acl = ph_tconf_acl(&c, PH_TCONF_DEFAULT);
    static const struct {
        const char *ip;
        bool allowed;
    } CASES[] = {
        {"127.0.0.1", true},    {"10.1.2.3", true},     {"10.2.0.1", false},
        {"203.0.113.5", false}, {"203.0.113.10", true}, {"224.0.0.1", false},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        cr_assert_eq(ph_addr_parse(&peer, CASES[i].ip, strlen(CASES[i].ip), 1), 0);
        cr_expect_eq(ph_acl_check(acl, &peer) == NULL, CASES[i].allowed, "%s", CASES[i].ip);
    }
    ph_acl_free(acl);
    ph_tconf_fini(&c);
}

Test(turnd_conf, makes_the_budget)
{
    struct ph_tconf c;
    load(&c, "");
    struct ph_budget_conf b = ph_tconf_budget(&c);
    cr_expect_eq(b.addr_rate, 0);
    cr_expect_not(b.unlimited);
    ph_tconf_fini(&c);
    load(&c, "unauthorized-ratelimit=no");
    cr_expect(ph_tconf_budget(&c).unlimited);
    ph_tconf_fini(&c);
    load(&c, "unauthorized-ratelimit\nunauthorized-ratelimit-rps=200\n");
    b = ph_tconf_budget(&c);
    cr_expect_eq(b.addr_rate, 25600);
    cr_expect_eq(b.addr_burst, 51200);
    cr_expect_geq(b.prefix_rate, b.addr_rate);
    cr_expect_geq(b.prefix_burst, b.addr_burst);
    ph_tconf_fini(&c);
    load(&c, "budget-rate=5\nbudget-burst=6\nbudget-prefix-rate=7\nbudget-prefix-burst=8\n");
    b = ph_tconf_budget(&c);
    cr_expect(b.addr_rate == 5 && b.addr_burst == 6 && b.prefix_rate == 7 && b.prefix_burst == 8);
    ph_tconf_fini(&c);
}

/* ---- files ---- */

Test(turnd_conf, looks_for_files_where_coturn_does)
{
    char dir[] = "/tmp/pinhole-conf-XXXXXX", path[256];
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
    cr_expect_not(ph_tconf_find_file("pinhole-test.conf", path, sizeof path));
    cr_assert_eq(mkdir("etc", 0700) | mkdir("etc/coturn", 0700), 0);
    fclose(fopen("etc/coturn/pinhole-test.conf", "w"));
    cr_expect(ph_tconf_find_file("pinhole-test.conf", path, sizeof path));
    cr_expect_str_eq(path, "./etc/coturn/pinhole-test.conf");
    fclose(fopen("pinhole-test.conf", "w"));
    cr_expect(ph_tconf_find_file("pinhole-test.conf", path, sizeof path));
    cr_expect_str_eq(path, "./pinhole-test.conf", "the current directory goes first");
    cr_expect_not(ph_tconf_find_file("/pinhole-test.conf", path, sizeof path));
    cr_expect_not(ph_tconf_find_file("etc", path, sizeof path), "a folder is no file");
    unlink("pinhole-test.conf");
    unlink("etc/coturn/pinhole-test.conf");
    rmdir("etc/coturn");
    rmdir("etc");
    cr_assert_eq(chdir("/"), 0);
    rmdir(dir);
}

Test(turnd_conf, wants_the_file_it_is_told)
{
    char *argv[] = {"turnd", "-c", "/nonexistent/turnserver.conf", NULL};
    struct ph_tconf c;
    ph_tconf_init(&c);
    ph_tconf_read(&c, 3, argv);
    cr_expect_str_eq(first_error(&c), "/nonexistent/turnserver.conf: no such file");
    ph_tconf_fini(&c);
}

Test(turnd_conf, asks_nothing_of_help_and_version)
{
    char *argv[] = {"turnd", "--version", "-c", "/nonexistent", NULL};
    struct ph_tconf c;
    ph_tconf_init(&c);
    ph_tconf_read(&c, 4, argv);
    cr_expect(c.version);
    cr_expect_null(ph_opts_message(c.opts, 0));
    ph_tconf_fini(&c);
}
