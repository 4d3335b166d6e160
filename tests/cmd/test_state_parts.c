/*
 * The parts of turnd's state that need neither Redis nor sockets: its keys, the keys of a fleet, and which records fit.
 */
#include "cmd/support.h"

#include "cmd/turnd/keys.h"
#include "cmd/turnd/records.h"
#include "stun/base/error.h"

#include <stdio.h>
#include <unistd.h>

#define SECRET  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SECRET2 "a text that is long enough"

/* ---- configuration ---- */

Test(turnd_state_conf, is_off_by_default)
{
    struct ph_tconf c;
    conf_load(&c, "");
    cr_expect_null(conf_first_error(&c));
    cr_expect_null(c.statedb);
    cr_expect_eq(c.fleet.n, 0);
    cr_expect_eq(c.state_wait_ms, 1000);
    cr_expect_not(c.free_bind);
    ph_tconf_fini(&c);
}

#ifdef PH_HAVE_REDIS
Test(turnd_state_conf, needs_a_fleet_key)
{
    conf_expect_error("redis-statedb=redis://127.0.0.1/1\nnode-id=a\n",
                      "t.conf:1: redis-statedb: needs fleet-key, with which what is kept there is "
                      "sealed: it has the keys of users");
    struct ph_tconf c;
    conf_load(&c, "redis-statedb=http://x\nfleet-key=" SECRET "\nnode-id=a\n");
    cr_expect(ph_opts_failed(c.opts));
    cr_expect(conf_has_message(&c, "t.conf:1: redis-statedb: an address of a Redis server is"));
    ph_tconf_fini(&c);
}
#endif

Test(turnd_state_conf, takes_secrets_as_hex_text_and_files)
{
    struct ph_tconf c;
    char path[] = "/tmp/turnd-test-XXXXXX", text[256];
    uint8_t want[PH_FLEET_KEY_LEN];
    FILE *f = fdopen(mkstemp(path), "w");
    fputs(SECRET2 "\r\nsecond line\n", f);
    fclose(f);
    snprintf(text, sizeof text, "fleet-key=" SECRET "\nfleet-key=@%s\nfleet-key=%s\nnode-id=a\n",
             path, path);
    conf_load(&c, text);
    unlink(path);
    cr_expect_null(conf_first_error(&c), "%s", conf_first_error(&c));
    cr_assert_eq(c.fleet.n, 3);
    cr_assert_eq(ph_fleet_secret(want, ph_str(SECRET)), 0);
    cr_expect_eq(memcmp(c.fleet.secret[0], want, sizeof want), 0);
    cr_assert_eq(ph_fleet_secret(want, ph_str(SECRET2)), 0);
    cr_expect_eq(memcmp(c.fleet.secret[1], want, sizeof want), 0, "the first line of the file");
    cr_expect_eq(memcmp(c.fleet.secret[2], want, sizeof want), 0);
    ph_tconf_fini(&c);
}

Test(turnd_state_conf, tells_no_secret)
{
    struct ph_tconf c;
    conf_load(&c,
              "fleet-key=short\nfleet-key=/hunter2hunter2hunter2\nfleet-key=@hunter2\nnode-id=a\n");
    cr_expect(conf_has_message(&c, "t.conf:1: fleet-key: is too short"));
    cr_expect(conf_has_message(&c, "t.conf:2: fleet-key: names a file"));
    cr_expect(conf_has_message(&c, "t.conf:3: fleet-key: names a file"));
    cr_expect_not(conf_has_message(&c, "hunter2"));
    cr_expect_not(conf_has_message(&c, "short\""));
    ph_tconf_fini(&c);
}

Test(turnd_state_conf, takes_no_more_secrets_than_there_is_room_for)
{
    conf_expect_error("fleet-key=" SECRET "\nfleet-key=" SECRET "\nfleet-key=" SECRET
                      "\nfleet-key=" SECRET "\nfleet-key=" SECRET "\nnode-id=a\n",
                      "t.conf:5: fleet-key: too many: 4 are the most");
}

Test(turnd_state_conf, checks_the_names_of_nodes)
{
    conf_expect_error("node-id=a b\n",
                      "t.conf:1: node-id: \"a b\" is no name of a node: give letters, digits, '.', "
                      "'-' and '_', at most 63");
    conf_expect_error(
        "node-id=a{b}\n",
        "t.conf:1: node-id: \"a{b}\" is no name of a node: give letters, digits, '.', "
        "'-' and '_', at most 63");
    conf_expect_error("node-id=a\nadopt-from=a\n",
                      "t.conf:2: adopt-from: \"a\" is this node itself: name others");
    conf_expect_warning("node-id=a\nadopt-from=b\n", "without effect: there is no redis-statedb");
    cr_expect(ph_tconf_is_node("turn-1.example_org"));
    cr_expect_not(ph_tconf_is_node(""));
    cr_expect(ph_tconf_is_node("123456789012345678901234567890123456789012345678901234567890123"));
    cr_expect_not(
        ph_tconf_is_node("1234567890123456789012345678901234567890123456789012345678901234"));
}

/* ---- keys ---- */

enum { DAY = 86400, NOON = 43200 };

static struct ph_turnd_keys keys_of(const char *conf, int64_t unix_s,
                                    const struct ph_turnd_keys *was)
{
    static const struct ph_turnd_keys NONE;
    struct ph_tconf c;
    struct ph_turnd_keys k;
    conf_load(&c, conf);
    cr_assert_null(conf_first_error(&c), "%s", conf_first_error(&c));
    ph_tkeys_make(&k, &c, was ? was : &NONE, &CONF_ENV, unix_s);
    ph_tconf_fini(&c);
    return k;
}

static bool opens(const struct ph_turnd_keys *k, const uint8_t *ticket)
{
    for (unsigned i = 0; i < k->n_tickets; i++)
        if (memcmp(k->ticket[i], ticket, PH_TICKET_KEY_LEN) == 0)
            return true;
    return false;
}

static bool same_nonce(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, PH_NONCE_KEY_LEN) == 0;
}

Test(turnd_keys, of_a_fleet_are_the_same_on_each_node_and_another_each_day)
{
    const char *conf = "fleet-key=" SECRET "\nnode-id=a\n";
    struct ph_turnd_keys a = keys_of(conf, 20000 * DAY + NOON, NULL);
    struct ph_turnd_keys b = keys_of("fleet-key=" SECRET "\nnode-id=b\n", 20000 * DAY + 100, NULL);
    struct ph_turnd_keys tomorrow = keys_of(conf, 20001 * DAY + NOON, &a);
    cr_expect_eq(memcmp(&a, &b, sizeof a), 0);
    cr_expect_not(same_nonce(a.nonce, tomorrow.nonce));
    cr_expect(tomorrow.has_old_nonce && same_nonce(tomorrow.old_nonce, a.nonce));
    cr_expect_neq(memcmp(a.ticket[0], tomorrow.ticket[0], PH_TICKET_KEY_LEN), 0);
    cr_expect(opens(&a, tomorrow.ticket[0]), "of a node whose clock is ahead");
}

Test(turnd_keys, open_tickets_of_a_week)
{
    const char *conf = "fleet-key=" SECRET "\nnode-id=a\n";
    struct ph_turnd_keys old = keys_of(conf, 20000 * DAY, NULL);
    for (int day = 0; day < PH_FLEET_DAYS; day++) {
        struct ph_turnd_keys k = keys_of(conf, (20000 + day) * DAY, NULL);
        cr_expect(opens(&k, old.ticket[0]), "after %d days", day);
    }
    struct ph_turnd_keys late = keys_of(conf, (20000 + PH_FLEET_DAYS) * DAY, NULL);
    cr_expect_not(opens(&late, old.ticket[0]));
}

Test(turnd_keys, change_with_the_secret_without_a_gap)
{
    const int64_t now = 20000 * DAY + NOON;
    struct ph_turnd_keys before = keys_of("fleet-key=" SECRET "\nnode-id=a\n", now, NULL);
    struct ph_turnd_keys both =
        keys_of("fleet-key=" SECRET2 "\nfleet-key=" SECRET "\nnode-id=a\n", now, &before);
    struct ph_turnd_keys other =
        keys_of("fleet-key=" SECRET "\nfleet-key=" SECRET2 "\nnode-id=b\n", now, NULL);
    struct ph_turnd_keys after = keys_of("fleet-key=" SECRET2 "\nnode-id=a\n", now, &both);
    cr_expect(opens(&both, before.ticket[0]));
    cr_expect(same_nonce(both.old_nonce, before.nonce),
              "nodes that have not changed yet make these");
    cr_expect(opens(&other, both.ticket[0]));
    cr_expect(same_nonce(other.old_nonce, both.nonce));
    cr_expect(opens(&after, both.ticket[0]));
    cr_expect_not(opens(&after, before.ticket[0]));
}

Test(turnd_keys, after_midnight_yesterdays_nonces_go_first)
{
    const char *conf = "fleet-key=" SECRET "\nfleet-key=" SECRET2 "\nnode-id=a\nstale-nonce=600\n";
    struct ph_turnd_keys yesterday = keys_of(conf, 20001 * DAY - 1, NULL);
    struct ph_turnd_keys soon = keys_of(conf, 20001 * DAY + 599, NULL);
    struct ph_turnd_keys later = keys_of(conf, 20001 * DAY + 601, NULL);
    cr_expect(same_nonce(soon.old_nonce, yesterday.nonce));
    cr_expect_not(same_nonce(later.old_nonce, yesterday.nonce));
}

Test(turnd_keys, with_four_secrets_there_is_room_for_all)
{
    struct ph_turnd_keys k =
        keys_of("fleet-key=" SECRET "\nfleet-key=" SECRET2 "\nfleet-key=" SECRET2
                "3\nfleet-key=" SECRET2 "4\nnode-id=a\n",
                20000 * DAY, NULL);
    cr_expect_eq(k.n_tickets, PH_TURND_TICKET_KEYS);
}

Test(turnd_keys, of_one_server_last)
{
    struct ph_turnd_keys a = keys_of("", 20000 * DAY, NULL);
    struct ph_turnd_keys b = keys_of("", 20005 * DAY, &a);
    cr_expect_eq(a.n_tickets, 1);
    cr_expect_eq(memcmp(&a, &b, sizeof a), 0);
    /* A secret for nonces that comes with the next program: those that are about stay good. */
    struct ph_turnd_keys c = keys_of("stateless-nonce-secret=x\n", 20005 * DAY, &a);
    cr_expect_not(same_nonce(c.nonce, a.nonce));
    cr_expect(c.has_old_nonce && same_nonce(c.old_nonce, a.nonce));
    cr_expect(opens(&c, a.ticket[0]));
}

/* ---- records ---- */

static const int64_t NOW_MS = 1700000000000;

static struct ph_addr v4(uint8_t last, uint16_t port, uint8_t proto)
{
    return ph_addr_v4((const uint8_t[]){192, 0, 2, last}, port, proto);
}

static bool is_one(void *ctx, const struct ph_addr *ip)
{
    (void)ctx;
    return ip->ip[3] == 1;
}

/* Listens and relays at .1 and .2, of which .1 is there. */
static void make_plan(struct ph_tplan *p)
{
    *p = (struct ph_tplan){.n_listeners = 3, .n_relays = 2};
    p->listener[0] = v4(1, 3478, PH_UDP);
    p->listener[1] = v4(2, 3478, PH_UDP);
    p->listener[2] = v4(1, 3478, PH_TCP);
    p->relay[0] = v4(1, 0, PH_UDP);
    p->relay[1] = v4(2, 0, PH_UDP);
}

static struct ph_slice make_record(uint8_t *dst, size_t cap, struct ph_addr listener,
                                   struct ph_addr relay, int64_t expires_ms)
{
    const struct ph_record r = {
        .session = 1000000000000007,
        .client = v4(99, 5000, listener.proto),
        .listener = listener,
        .away = listener.proto != PH_UDP,
        .serial = 7,
        .relay = {relay},
        .lifetime_s = 600,
        .created_ms = NOW_MS - 1000,
        .expires_ms = expires_ms,
    };
    int n = ph_record_write(&r, dst, cap);
    cr_assert_gt(n, 0);
    return (struct ph_slice){dst, (size_t)n};
}

Test(turnd_records, know_what_fits)
{
    static struct ph_tplan plan;
    uint8_t b[1024];
    make_plan(&plan);
    const struct ph_tplace all = {.plan = &plan}, here = {.plan = &plan, .local = is_one};
    const struct ph_addr l1 = v4(1, 3478, PH_UDP), l2 = v4(2, 3478, PH_UDP),
                         r1 = v4(1, 50000, PH_UDP), r2 = v4(2, 50000, PH_UDP),
                         r3 = v4(3, 50000, PH_UDP), odd = v4(1, 3479, PH_UDP),
                         tcp = v4(1, 3478, PH_TCP), tls = v4(2, 3478, PH_TCP);
    const int64_t later = NOW_MS + 1000;
    const struct {
        struct ph_addr listener, relay;
        int64_t expires_ms;
        enum ph_trecord_fit all, here;
    } cases[] = {
        {l1, r1, later, PH_TRECORD_FITS, PH_TRECORD_FITS},
        {l1, r1, NOW_MS, PH_TRECORD_EXPIRED, PH_TRECORD_EXPIRED},
        {l2, r2, later, PH_TRECORD_FITS, PH_TRECORD_ELSEWHERE},
        {l1, r2, later, PH_TRECORD_FITS, PH_TRECORD_ELSEWHERE},
        {l1, r3, later, PH_TRECORD_ELSEWHERE, PH_TRECORD_ELSEWHERE},
        {odd, r1, later, PH_TRECORD_ELSEWHERE, PH_TRECORD_ELSEWHERE},
        {tcp, r1, later, PH_TRECORD_FITS, PH_TRECORD_FITS},
        {tls, r1, later, PH_TRECORD_ELSEWHERE, PH_TRECORD_ELSEWHERE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ph_slice s =
            make_record(b, sizeof b, cases[i].listener, cases[i].relay, cases[i].expires_ms);
        cr_expect_eq(ph_trecord_look(s, &all, NOW_MS), cases[i].all, "case %zu", i);
        cr_expect_eq(ph_trecord_look(s, &here, NOW_MS), cases[i].here, "case %zu, here", i);
    }
    cr_expect_eq(ph_trecord_look(ph_str("rubbish"), &all, NOW_MS), PH_TRECORD_BROKEN);
}

Test(turnd_records, are_sorted_and_given_once)
{
    static struct ph_tplan plan;
    struct ph_trecords r = {0};
    unsigned count[PH_TRECORD_FITS_N];
    uint8_t b[1024];
    make_plan(&plan);
    const struct ph_tplace place = {.plan = &plan};
    const struct ph_addr l = v4(1, 3478, PH_UDP), relay = v4(1, 50000, PH_UDP);
    struct ph_slice good = make_record(b, sizeof b, l, relay, NOW_MS + 1000);
    ph_trecords_add(&r, 9, ph_str("rubbish"));
    ph_trecords_add(&r, 5, ph_str("older"));
    ph_trecords_add(&r, 7, good);
    ph_trecords_add(&r, 5, good);
    ph_trecords_unique(&r);
    cr_assert_eq(r.n, 3);
    ph_trecords_sort(&r, &place, NOW_MS, count);
    cr_expect_eq(count[PH_TRECORD_FITS], 2);
    cr_expect_eq(count[PH_TRECORD_BROKEN], 1);
    cr_expect_eq(r.v[0].fit, PH_TRECORD_FITS);
    cr_expect_eq(r.v[1].fit, PH_TRECORD_FITS);
    cr_expect_eq(r.v[2].id, 9);
    ph_trecords_free(&r);
    cr_expect_eq(r.n, 0);
}

Test(turnd_records, are_bounded)
{
    struct ph_trecords r = {.bytes = PH_TRECORDS_BYTES};
    cr_expect_eq(ph_trecords_add(&r, 1, ph_str("x")), PH_E_LIMIT);
    r = (struct ph_trecords){.n = PH_TRECORDS_MAX};
    cr_expect_eq(ph_trecords_add(&r, 1, ph_str("x")), PH_E_LIMIT);
}
