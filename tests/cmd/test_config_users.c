/*
 * The users-file, realms besides the default one, OAuth keys, peer rules with ports, and what is made of them.
 */
#include "cmd/support.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <sys/stat.h>
#include <unistd.h>

enum { NOW = 1700000000 };

static void expect_key(const struct ph_auth *a, const char *name, const char *realm,
                       const char *password, struct ph_auth_match *m)
{
    struct ph_key k;
    ph_key_long_term(&k, PH_ALG_MD5, ph_str(name), ph_str(realm), ph_str(password));
    cr_assert_eq(ph_auth_find(a, ph_str(name), PH_ALG_MD5, NOW, 0, m), 0, "%s", name);
    cr_expect_eq(memcmp(m->key.b, k.b, 16), 0, "%s", name);
}

/* ---- the users-file ---- */

static char path[64];

static void write_users(const char *text, size_t n)
{
    strcpy(path, "/tmp/pinhole-users-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, n), (ssize_t)n);
    close(fd);
}

static struct ph_tlive *with_users(struct ph_tconf *c, const char *text, size_t n)
{
    char conf[256];
    write_users(text, n);
    snprintf(conf, sizeof conf, "realm=r\nuser=eve:x\nusers-file=%s\n", path);
    struct ph_tlive *l = conf_build(c, conf);
    unlink(path);
    return l;
}

Test(turnd_users_file, adds_users_with_their_limits)
{
    static const char TEXT[] = "# people\r\n\r\n  alice:secret  \n"
                               "bob:pass:word max-bps=125000 user-quota=2 expires=1798761600\n"
                               "user:0x8493fbc53ba582fb4c044c456bdc40eb\tuser-quota=9\n"
                               "last:line";
    struct ph_tconf c;
    struct ph_auth_match m;
    struct ph_tlive *l = with_users(&c, TEXT, sizeof TEXT - 1);
    cr_expect_null(conf_first_error(&c), "%s", conf_first_error(&c));
    expect_key(l->auth, "alice", "r", "secret", &m);
    cr_expect(m.max_bps == 0 && m.max_allocations == 0 && m.expires_unix_s == INT64_MAX);
    expect_key(l->auth, "bob", "r", "pass:word", &m);
    cr_expect(m.max_bps == 125000 && m.max_allocations == 2 && m.expires_unix_s == 1798761600);
    expect_key(l->auth, "user", "realm", "pass", &m); /* RFC 8489's example */
    cr_expect_eq(m.max_allocations, 9);
    expect_key(l->auth, "last", "r", "line", &m);
    expect_key(l->auth, "eve", "r", "x", &m);
    cr_expect_eq(ph_auth_users(l->auth), 5);
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}

static void expect_mistake(const char *text, size_t n, unsigned line, const char *what)
{
    struct ph_tconf c;
    char want[256];
    struct ph_tlive *l = with_users(&c, text, n);
    const char *got = conf_first_error(&c);
    snprintf(want, sizeof want, "%s:%u: %s", path, line, what);
    cr_expect_str_eq(got ? got : "(none)", want, "%s\n   not\n%s", got ? got : "(none)", want);
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}

#define MISTAKE(text, line, what) expect_mistake(text, sizeof(text) - 1, line, what)

Test(turnd_users_file, names_mistakes_by_line_and_never_passwords)
{
    MISTAKE("a:b\nalice", 2,
            "the \":\" is missing: give NAME:PASSWORD, or NAME:0x and 32 hex digits");
    MISTAKE(":hunter2", 1, "the name is missing: give NAME:PASSWORD, or NAME:0x and 32 hex digits");
    MISTAKE("\n\nalice: max-bps=1", 3,
            "\"alice\" the password is missing: give NAME:PASSWORD, or NAME:0x and 32 hex digits");
    MISTAKE("alice:0x12", 1,
            "\"alice\" has a malformed key: give 0x and 32 hex digits, the MD5 of "
            "\"name:realm:password\"");
    MISTAKE("alice:hunter2 quota=1", 1,
            "\"alice\" has an unknown word behind it: give max-bps=N, user-quota=N or "
            "expires=UNIXTIME");
    MISTAKE("alice:hunter2 max-bps=fast", 1,
            "\"alice\" has a max-bps that is no number: give bytes a second");
    MISTAKE("alice:hunter2 user-quota=4294967296", 1,
            "\"alice\" has a user-quota that is no number: give how many allocations");
    MISTAKE("alice:hunter2 expires=tomorrow", 1,
            "\"alice\" has an end that is no number: give expires=UNIXTIME, in seconds");
    MISTAKE("al\x1bice:x y", 1,
            "\"al\\x1Bice\" has an unknown word behind it: give max-bps=N, user-quota=N or "
            "expires=UNIXTIME");
    MISTAKE("alice:a\0b", 1, "\"alice\" has a NUL byte: this is no text");
}

Test(turnd_users_file, may_have_many_mistakes)
{
    struct ph_tconf c;
    char text[1000] = "";
    for (int i = 0; i < 100; i++)
        strcat(text, "x\n");
    struct ph_tlive *l = with_users(&c, text, strlen(text));
    cr_expect(conf_has_message(&c, "t.conf:3: users-file: "));
    cr_expect(conf_has_message(&c, "has 90 more mistakes"));
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}

Test(turnd_users_file, must_be_an_ordinary_file)
{
    conf_expect_error("realm=r\nusers-file=/nonexistent/users",
                      "t.conf:2: users-file: cannot read /nonexistent/users: No such file or "
                      "directory");
    conf_expect_error("realm=r\nusers-file=/dev/zero",
                      "t.conf:2: users-file: cannot read /dev/zero: it is no ordinary file");
}

Test(turnd_users_file, takes_a_long_line_for_a_mistake)
{
    static char text[3000];
    memset(text, 'x', sizeof text);
    expect_mistake(text, sizeof text, 1, "the line is too long: 2048 bytes are the most");
}

Test(turnd_users_file, is_found_from_where_the_program_was_started)
{
    char dir[] = "/tmp/pinhole-dir-XXXXXX", text[] = "realm=r\nusers-file=u\n";
    struct ph_tconf c;
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
    FILE *f = fopen("u", "w");
    fputs("alice:secret\n", f);
    fclose(f);
    conf_load(&c, text);
    cr_assert_eq(chdir("/"), 0); /* as the background does */
    struct ph_auth *a = ph_tconf_auth(&c, PH_TCONF_DEFAULT, &CONF_ENV);
    cr_expect_eq(ph_auth_users(a), 1);
    ph_auth_free(a);
    ph_tconf_fini(&c);
    cr_assert_eq(chdir(dir) | unlink("u") | chdir("/") | rmdir(dir), 0);
}

/* ---- realms ---- */

#define NORTH                                                                                      \
    "realm=home\nuser=a:b\nrealm-user=north alice:secret\nrealm-secret=north s1\n"                 \
    "realm-origin=north https://n.example\nrealm-origin=north https://m.example\n"                 \
    "realm-denied-peer-ip=north 203.0.113.0/24\nrealm-max-bps=north 1000\n"                        \
    "realm-user-quota=north 3\nrealm-user=south bob:x\ndenied-peer-ip=198.51.100.0/24\n"

static bool allows(const struct ph_acl *acl, const char *ip)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, ip, strlen(ip), 5000), 0);
    return ph_acl_check(acl, &a) == NULL;
}

Test(turnd_realms, have_users_rules_and_limits_of_their_own)
{
    struct ph_tconf c;
    struct ph_auth_match m;
    struct ph_tlive *l = conf_build(&c, NORTH);
    cr_expect_null(conf_first_error(&c), "%s", conf_first_error(&c));
    cr_assert_eq(c.n_more_realms, 2);
    cr_assert_eq(l->live.n_realms, 3, "north twice, for its two origins");
    const struct ph_turnd_realm *north = &l->live.realm[0], *south = &l->live.realm[1],
                                *again = &l->live.realm[2];
    expect_key(north->auth, "alice", "north", "secret", &m);
    cr_expect_eq(ph_auth_secrets(north->auth), 1);
    cr_expect_eq(north->max_bps, 1000);
    cr_expect_str_eq(north->origin, "https://n.example");
    cr_expect_str_eq(again->origin, "https://m.example");
    cr_expect(again->auth == north->auth && again->acl == north->acl && again->max_bps == 1000);
    cr_expect(!allows(north->acl, "203.0.113.1") && !allows(north->acl, "198.51.100.1"));
    cr_expect(allows(l->live.acl, "203.0.113.1"));
    cr_expect_null(south->acl, "the default realm's");
    cr_expect_null(south->origin);
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}

Test(turnd_realms, keep_their_quotas_over_reloads)
{
    struct ph_tconf c;
    struct ph_tquotas q = {0};
    struct ph_tlive *l = conf_build(&c, NORTH);
    cr_assert_eq(ph_tlive_quotas(l, &c, NULL, &q, &CONF_ENV), 0);
    cr_assert_eq(q.n, 1, "only north has limits");
    struct ph_quota *quota = l->live.realm[0].quota;
    cr_assert_not_null(quota);
    cr_expect_eq(l->live.realm[2].quota, quota);
    cr_expect_null(l->live.realm[1].quota);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(ph_quota_take(quota, ph_str("alice")), 0);
    cr_expect_eq(ph_quota_take(quota, ph_str("alice")), PH_E_LIMIT);
    ph_tlive_free(l);
    ph_tconf_fini(&c);

    l = conf_build(&c, "realm=home\nuser=a:b\nrealm-user=north alice:secret\n"
                       "realm-user-quota=north 4\n");
    cr_assert_eq(ph_tlive_quotas(l, &c, NULL, &q, &CONF_ENV), 0);
    cr_expect_eq(l->live.realm[0].quota, quota, "with what it has counted");
    cr_expect_eq(ph_quota_take(quota, ph_str("alice")), 0);
    cr_expect_eq(ph_quota_take(quota, ph_str("alice")), PH_E_LIMIT);
    ph_tlive_free(l);
    ph_tconf_fini(&c);

    l = conf_build(&c, "realm=home\nuser=a:b\n");
    ph_tquotas_sweep(&q, l);
    cr_expect_eq(q.n, 1, "allocations that stand are counted there");
    for (int i = 0; i < 4; i++)
        ph_quota_release(quota, ph_str("alice"));
    ph_tquotas_sweep(&q, l);
    cr_expect_eq(q.n, 0);
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}

Test(turnd_realms, name_bad_values)
{
    conf_expect_error("realm=home\nrealm-user=north",
                      "t.conf:2: realm-user: is incomplete: give REALM NAME:PASSWORD");
    conf_expect_error("realm=home\nrealm-user=north alice",
                      "t.conf:2: realm-user: the \":\" is missing: give NAME:PASSWORD, or NAME:0x "
                      "and 32 hex digits");
    conf_expect_error("realm=home\nrealm-user=north alice:0x1",
                      "t.conf:2: realm-user: \"north alice:***\" has a malformed key: give 0x and "
                      "32 hex digits, the MD5 of \"name:realm:password\"");
    conf_expect_error("realm=home\nrealm-secret=home s",
                      "t.conf:2: realm-secret: home is the default realm: give the key without "
                      "\"realm-\"");
    conf_expect_error("realm=home\nrealm-max-bps=north fast",
                      "t.conf:2: realm-max-bps: \"north fast\" has no number behind the realm: "
                      "give REALM N");
    conf_expect_error("realm=home\nrealm-denied-peer-ip=north 10.0.0.0/99",
                      "t.conf:2: realm-denied-peer-ip: \"north 10.0.0.0/99\" is no address, range "
                      "or network: give A, A-B (A not above B) or A/BITS, with :PORT or :LO-HI if "
                      "wanted");
    conf_expect_error("realm=home\nrealm-origin=north https://x\nrealm-origin=south https://x",
                      "t.conf:3: realm-origin: \"south https://x\" names an origin that leads to "
                      "another realm already");
    char text[8192] = "realm=home\n";
    for (int i = 0; i < 65; i++)
        sprintf(text + strlen(text), "realm-user=r%d a:b\n", i);
    conf_expect_error(text, "t.conf:66: realm-user: too many realms: 64 are the most");
    char line[256] = "realm=home\nrealm-user=";
    memset(line + strlen(line), 'r', 128);
    strcat(line, " a:b");
    conf_expect_error(line, "t.conf:2: realm-user: has a realm that is too long: 127 bytes are the "
                            "most");
}

/* ---- what a database says ---- */

Test(turnd_realms, take_what_a_database_says_besides_the_file)
{
    char *secrets[] = {"s1", "s2"}, *denied[] = {"203.0.113.0/24", "nonsense"},
         *origins[] = {"https://db.example"};
    struct ph_tdb_data data = {
        .n_realms = 2,
        .known = {true, true},
        .realm = {{.secret = secrets, .n_secrets = 2, .max_bps = 5000, .total_quota = 7},
                  {.denied = denied,
                   .n_denied = 2,
                   .origin = origins,
                   .n_origins = 1,
                   .max_bps = 99,
                   .user_quota = 2}},
    };
    struct ph_tconf c;
    struct ph_tquotas q = {0};
    conf_load(&c, "realm=home\nuser=a:b\nrealm-user=north alice:x\nuser-quota=5\n");
    struct ph_tlive *l = ph_tlive_new(&c, &CONF_ENV, &data);
    cr_assert_not_null(l);
    cr_expect_not(ph_opts_failed(c.opts), "a bad rule in the database is no mistake of the file");
    cr_expect_eq(ph_auth_secrets(l->auth), 2);
    cr_expect_eq(l->live.max_bps, 5000);
    cr_expect(l->user_quota == 5 && l->total_quota == 7);
    cr_expect_not(allows(l->live.realm[0].acl, "203.0.113.1"));
    cr_expect_str_eq(l->live.realm[0].origin, "https://db.example");
    cr_expect_eq(l->live.realm[0].max_bps, 99);
    cr_assert_eq(ph_tlive_quotas(l, &c, &data, &q, &CONF_ENV), 0);
    cr_expect_not_null(l->live.realm[0].quota);
    ph_tlive_free(l);
    ph_tquotas_sweep(&q, NULL);
    c.no_db_peers = c.no_db_realms = true; /* no-dynamic-ip-list, no-dynamic-realms */
    l = ph_tlive_new(&c, &CONF_ENV, &data);
    cr_expect_eq(ph_auth_secrets(l->auth), 2);
    cr_expect_null(l->live.realm[0].acl);
    cr_expect(l->live.max_bps == 0 && l->total_quota == 0 && !l->live.realm[0].origin);
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}

/* ---- OAuth ---- */

#define KEY32 "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define KEY16 "MDEyMzQ1Njc4OWFiY2RlZg=="

Test(turnd_oauth, takes_keys_of_both_algorithms)
{
    struct ph_tconf c;
    struct ph_tlive *l =
        conf_build(&c, "realm=r\noauth\nserver-name=turn.example\noauth-key=north:" KEY32 "\n"
                       "oauth-key=south:" KEY16 ":A128GCM\noauth-key=east:" KEY16 "\n");
    cr_expect_null(conf_first_error(&c), "%s", conf_first_error(&c));
    cr_assert_eq(l->live.n_oauth, 3);
    cr_expect_str_eq(l->live.oauth[0].kid, "north");
    cr_expect(l->live.oauth[0].key_len == 32 && l->live.oauth[1].key_len == 16);
    cr_expect_eq(memcmp(l->live.oauth[0].key, "0123456789abcdef0123456789abcdef", 32), 0);
    cr_expect_eq(l->live.oauth[2].key_len, 16);
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}

Test(turnd_oauth, is_off_unless_asked_for)
{
    struct ph_tconf c;
    struct ph_tlive *l = conf_build(&c, "realm=r\nuser=a:b\noauth-key=north:" KEY32 "\n");
    cr_expect_eq(l->live.n_oauth, 0);
    cr_expect_null(l->live.oauth);
    ph_tlive_free(l);
    ph_tconf_fini(&c);
    conf_expect_warning("realm=r\noauth", "t.conf:2: oauth: there is no key for tokens");
}

Test(turnd_oauth, names_bad_keys_without_the_key)
{
    static const char *const BAD[][2] = {
        {"north", "is no key: give KID:BASE64, or KID:BASE64:A256GCM or :A128GCM"},
        {":x", "is no key: give KID:BASE64, or KID:BASE64:A256GCM or :A128GCM"},
        {"north:" KEY16 ":A256GCM", "has a key that is not 32 bytes in base64, for A256GCM"},
        {"north:" KEY32 ":A128GCM", "has a key that is not 16 bytes in base64, for A128GCM"},
        {"north:!!!!", "has a key that is not 32 bytes in base64, for A256GCM"},
        {"north:" KEY32 ":DES", "names an unknown algorithm: give A256GCM or A128GCM"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char line[160], want[256];
        bool tail = strchr(BAD[i][0], ':') != NULL;
        snprintf(line, sizeof line, "realm=r\noauth\noauth-key=%s", BAD[i][0]);
        snprintf(want, sizeof want, "t.conf:3: oauth-key: \"%.*s%s\" %s",
                 tail ? (int)strcspn(BAD[i][0], ":") : 0, BAD[i][0], tail ? ":***" : "***",
                 BAD[i][1]);
        conf_expect_error(line, want);
    }
}

/* ---- peers ---- */

Test(turnd_peers, may_have_ports)
{
    struct ph_tconf c;
    struct ph_tlive *l = conf_build(
        &c, "realm=r\nuser=a:b\ndenied-peer-ip=*:1-1023\nallowed-peer-ip=10.1.0.0/16:5000-5999\n");
    struct ph_addr a;
    cr_expect_null(conf_first_error(&c), "%s", conf_first_error(&c));
    static const struct {
        const char *at;
        bool allowed;
    } CASES[] = {{"203.0.113.1:25", false},
                 {"203.0.113.1:1024", true},
                 {"10.1.2.3:5000", true},
                 {"10.1.2.3:6000", false}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        cr_assert_eq(ph_addr_parse(&a, CASES[i].at, strlen(CASES[i].at), 0), 0);
        cr_expect_eq(ph_acl_check(l->acl, &a) == NULL, CASES[i].allowed, "%s", CASES[i].at);
    }
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}
