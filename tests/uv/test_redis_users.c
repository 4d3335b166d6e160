/*
 * coturn's user database, as turnadmin writes it, read from the real server; and names that try to be more than names.
 */
#ifdef PH_HAVE_REDIS
#include "uv/redis_kit.h"

#include "turn/store/users.h"

TestSuite(uv_redis_users, .init = rkit_setup, .fini = rkit_teardown, .timeout = 60);

static struct ph_redis *real(void)
{
    rkit_server(NULL, NULL);
    const struct ph_redis_conf c = rkit_conf();
    return rkit_connect(&c);
}

/* --- users ----------------------------------------------------------------------------------------- */

static struct seen {
    unsigned calls;
    enum ph_userdb_result result;
    bool has_user;
    struct ph_userdb_user user;
} seen;

static void on_user(void *ctx, enum ph_userdb_result result, const struct ph_userdb_user *user)
{
    struct seen *s = ctx;

    s->calls++;
    s->result = result;
    s->has_user = user != NULL;
    if (user)
        s->user = *user;
}

static enum ph_userdb_result look_up_n(struct ph_redis *r, const void *name, size_t n)
{
    seen = (struct seen){0};
    ph_redis_user(r, "north.gov", (struct ph_slice){name, n}, on_user, &seen);
    cr_assert_eq(seen.calls, 0, "answered from within");
    RUN_UNTIL(seen.calls == 1);
    cr_expect_eq(seen.has_user, seen.result == PH_USERDB_FOUND);
    return seen.result;
}

static enum ph_userdb_result look_up(struct ph_redis *r, const char *name)
{
    return look_up_n(r, name, strlen(name));
}

Test(uv_redis_users, a_user_as_turnadmin_writes_it)
{
    static const uint8_t key[16] = {0xbc, 0x80, 0x7e, 0xe2, 0x9d, 0xf3, 0xc9, 0xff,
                                    0xa7, 0x36, 0x52, 0x3f, 0xb2, 0xc4, 0xe8, 0xee};
    struct ph_redis *r = real();

    rkit_ask(r, "SET turn/realm/north.gov/user/gorst/key bc807ee29df3c9ffa736523fb2c4e8ee");
    cr_assert_eq(look_up(r, "gorst"), PH_USERDB_FOUND);
    cr_expect_arr_eq(seen.user.key, key, 16);
    cr_expect_eq(seen.user.max_bps, 0);
    cr_expect_eq(seen.user.max_allocations, 0);
    cr_expect_eq(seen.user.expires_s, INT64_MAX);
    cr_expect_eq(look_up(r, "nobody"), PH_USERDB_NONE);
    rkit_ask(r, "HSET turn/realm/north.gov/user/gorst/limits max-bps 125000 user-quota 3 expires "
                "1767225600 else x");
    cr_assert_eq(look_up(r, "gorst"), PH_USERDB_FOUND);
    cr_expect_eq(seen.user.max_bps, 125000);
    cr_expect_eq(seen.user.max_allocations, 3);
    cr_expect_eq(seen.user.expires_s, 1767225600);
    rkit_close(r);
}

Test(uv_redis_users, a_record_that_makes_no_sense_is_no_user)
{
    struct ph_redis *r = real();

    rkit_ask(r, "SET turn/realm/north.gov/user/short/key bc807ee29df3c9ff");
    cr_expect_eq(look_up(r, "short"), PH_USERDB_NONE);
    rkit_ask(r, "LPUSH turn/realm/north.gov/user/list/key x");
    cr_expect_eq(look_up(r, "list"), PH_USERDB_NONE);
    rkit_ask(r, "SET turn/realm/north.gov/user/odd/key bc807ee29df3c9ffa736523fb2c4e8ee");
    rkit_ask(r, "SET turn/realm/north.gov/user/odd/limits x");
    cr_expect_eq(look_up(r, "odd"), PH_USERDB_NONE, "rather none than one without limits");
    rkit_ask(r, "DEL turn/realm/north.gov/user/odd/limits");
    rkit_ask(r, "HSET turn/realm/north.gov/user/odd/limits max-bps -1");
    cr_expect_eq(look_up(r, "odd"), PH_USERDB_NONE);
    cr_expect(strstr(rkit_log, "max-bps is not a number"), "%s", rkit_log);
    cr_expect(!strstr(rkit_log, "bc807ee2"), "keys stay out of the log");
    rkit_close(r);
}

/* turn.md 3: 8fa38032 (`%` became a format of hiredis), and names that reach other keys. */
Test(uv_redis_users, hostile_names_are_bytes_of_a_key_or_nobody)
{
    struct ph_redis *r = real();
    char longest[PH_USERDB_NAME_MAX + 2];

    rkit_ask(r, "SET turn/realm/north.gov/user/a%s%n%b/key bc807ee29df3c9ffa736523fb2c4e8ee");
    rkit_ask(r, "SET turn/realm/north.gov/user/a/b/key bc807ee29df3c9ffa736523fb2c4e8ee");
    cr_expect_eq(look_up(r, "a%s%n%b"), PH_USERDB_FOUND);
    cr_expect_eq(look_up(r, "a%"), PH_USERDB_NONE);
    cr_expect_eq(look_up(r, "*"), PH_USERDB_NONE, "no pattern");
    cr_expect_eq(look_up(r, "a?s?n?b"), PH_USERDB_NONE);
    memset(longest, 'x', sizeof longest);
    cr_expect_eq(look_up_n(r, longest, PH_USERDB_NAME_MAX), PH_USERDB_NONE);
    const uint64_t commands = ph_redis_stats(r)->commands;
    cr_expect_eq(look_up(r, "a/b"), PH_USERDB_NONE);
    cr_expect_eq(look_up(r, "../realm"), PH_USERDB_NONE);
    cr_expect_eq(look_up(r, ""), PH_USERDB_NONE);
    cr_expect_eq(look_up(r, "x\r\nFLUSHALL"), PH_USERDB_NONE);
    cr_expect_eq(look_up(r, "del\x7F"), PH_USERDB_NONE);
    cr_expect_eq(look_up_n(r, "nul\0x", 5), PH_USERDB_NONE);
    cr_expect_eq(look_up_n(r, longest, sizeof longest), PH_USERDB_NONE);
    cr_expect_eq(ph_redis_stats(r)->commands, commands, "these were not even asked for");
    rkit_close(r);
}

Test(uv_redis_users, a_database_that_is_away_is_no_answer)
{
    const struct ph_redis_conf c = rkit_conf();
    struct ph_redis *r = rkit_open(&c);
    struct seen s = {0};

    cr_expect_eq(look_up(r, "gorst"), PH_USERDB_FAILED);
    cr_expect_eq(look_up(r, "a/b"), PH_USERDB_NONE);
    ph_redis_user(r, "north.gov", ph_str("gorst"), on_user, &s);
    rkit_close(r);
    cr_expect_eq(s.calls, 1);
    cr_expect_eq(s.result, PH_USERDB_FAILED);
}

static unsigned answered_gets;

static void stops_after_get(struct fake *f, char **arg, unsigned n)
{
    (void)n;
    if (fake_greets(f, arg))
        return;
    if (strcmp(arg[0], "GET") == 0 && ++answered_gets)
        fake_say(f, "$32\r\nbc807ee29df3c9ffa736523fb2c4e8ee\r\n");
    else
        fake_hang_up(f);
}

Test(uv_redis_users, half_an_answer_is_none)
{
    const struct ph_redis_conf c = rkit_conf();

    fake_listen_unix(stops_after_get);
    struct ph_redis *r = rkit_connect(&c);
    cr_expect_eq(look_up(r, "gorst"), PH_USERDB_FAILED);
    cr_expect_eq(answered_gets, 1);
    rkit_close(r);
}

static void loading(struct fake *f, char **arg, unsigned n)
{
    (void)n;
    if (!fake_greets(f, arg))
        fake_say(f, "-LOADING Redis is loading the dataset in memory\r\n");
}

Test(uv_redis_users, a_server_that_is_loading_has_not_said_no)
{
    const struct ph_redis_conf c = rkit_conf();

    fake_listen_unix(loading);
    struct ph_redis *r = rkit_connect(&c);
    cr_expect_eq(look_up(r, "gorst"), PH_USERDB_FAILED);
    rkit_close(r);
}

/* As many look-ups as there is room for, and then some: each is answered, once, and nothing is mixed up. */
Test(uv_redis_users, more_look_ups_than_fit)
{
    enum { ROOM = PH_REDIS_PENDING / 2, MANY = ROOM + 200 };
    static struct seen s[MANY];
    unsigned found = 0, failed = 0;
    struct ph_redis *r = real();

    rkit_ask(r, "SET turn/realm/north.gov/user/gorst/key bc807ee29df3c9ffa736523fb2c4e8ee");
    for (unsigned i = 0; i < MANY; i++)
        ph_redis_user(r, "north.gov", ph_str("gorst"), on_user, &s[i]);
    rkit_run_ms(300);
    for (unsigned i = 0; i < MANY; i++) {
        cr_assert_eq(s[i].calls, 1);
        found += s[i].result == PH_USERDB_FOUND;
        failed += s[i].result == PH_USERDB_FAILED;
    }
    cr_expect_eq(found, ROOM);
    cr_expect_eq(failed, MANY - ROOM);
    rkit_close(r);
}

/* --- what is polled -------------------------------------------------------------------------------- */

struct polled {
    unsigned calls;
    bool ok;
    struct ph_redis_realm x;
};

static void on_realm(void *ctx, struct ph_redis_realm *x)
{
    struct polled *p = ctx;

    p->calls++;
    p->ok = x != NULL;
    if (x)
        p->x = *x;
}

static struct polled poll_realm(struct ph_redis *r, const char *realm)
{
    struct polled p = {0};

    ph_redis_realm(r, realm, on_realm, &p);
    cr_assert_eq(p.calls, 0);
    RUN_UNTIL(p.calls == 1);
    return p;
}

Test(uv_redis_users, a_realm)
{
    char command[64];
    struct ph_redis *r = real();

    rkit_ask(r, "SADD turn/realm/north.gov/secret two one three");
    rkit_ask(r, "SADD turn/realm/north.gov/allowed-peer-ip 172.17.13.200");
    rkit_ask(r, "SADD turn/realm/north.gov/denied-peer-ip 172.17.13.133-172.17.14.56 ::1");
    rkit_ask(r, "SET turn/realm/north.gov/max-bps 500000");
    rkit_ask(r, "SET turn/realm/north.gov/total-quota 12000");
    rkit_ask(r, "SET turn/origin/http://crinna.org:80 crinna.org");
    for (int i = 0; i < 40; i++) { /* more than one MGET's worth */
        snprintf(command, sizeof command, "SET turn/origin/http://o%02d north.gov", i);
        rkit_ask(r, command);
    }
    rkit_ask(r, "SADD turn/origin/aset north.gov");
    struct polled p = poll_realm(r, "north.gov");
    cr_assert(p.ok, "%s", rkit_log);
    cr_assert_eq(p.x.n_secrets, 3);
    cr_expect_str_eq(p.x.secret[0], "one");
    cr_expect_str_eq(p.x.secret[1], "three");
    cr_expect_str_eq(p.x.secret[2], "two");
    cr_assert_eq(p.x.n_allowed, 1);
    cr_expect_str_eq(p.x.allowed[0], "172.17.13.200");
    cr_assert_eq(p.x.n_denied, 2);
    cr_expect_eq(p.x.max_bps, 500000);
    cr_expect_eq(p.x.user_quota, 0);
    cr_expect_eq(p.x.total_quota, 12000);
    cr_assert_eq(p.x.n_origins, 40);
    cr_expect_str_eq(p.x.origin[39], "http://o39");

    struct polled again = poll_realm(r, "north.gov");
    cr_expect(ph_redis_realm_eq(&p.x, &again.x));
    ph_redis_realm_fini(&again.x);
    rkit_ask(r, "SREM turn/realm/north.gov/secret one");
    again = poll_realm(r, "north.gov");
    cr_expect(!ph_redis_realm_eq(&p.x, &again.x));
    ph_redis_realm_fini(&again.x);
    ph_redis_realm_fini(&p.x);
    again = poll_realm(r, "no.such");
    cr_expect(again.ok && again.x.n_secrets == 0 && again.x.n_origins == 0);
    rkit_close(r);
}

Test(uv_redis_users, a_realm_that_cannot_be_read_in_full_is_not_read)
{
    struct ph_redis *r = real();

    rkit_ask(r, "SADD turn/realm/a/secret one");
    rkit_ask(r, "SET turn/realm/a/denied-peer-ip 10.0.0.0-10.255.255.255");
    cr_expect(!poll_realm(r, "a").ok, "rather none than one without its rules");
    cr_expect(strstr(rkit_log, "turn/realm/a/denied-peer-ip: is not a set"), "%s", rkit_log);
    rkit_ask(r, "SET turn/realm/b/user-quota many");
    cr_expect(!poll_realm(r, "b").ok);
    rkit_kill();
    RUN_UNTIL(!ph_redis_stats(r)->up);
    cr_expect(!poll_realm(r, "c").ok);
    rkit_close(r);
}

/* Thousands of other keys: SCAN goes round many times, and KEYS is never said. */
Test(uv_redis_users, keys_are_found_among_many)
{
    struct ph_redis *r = real();

    rkit_ask(r, "CONFIG RESETSTAT");
    rkit_ask(r, "DEBUG POPULATE 30000");
    if (atoi(rkit_ask(r, "DBSIZE")) != 30000)
        rkit_ask(r, "EVAL for\ti=1,30000\tdo\tredis.call('SET','k'..i,1)\tend 0");
    cr_assert_eq(atoi(rkit_ask(r, "DBSIZE")), 30000);
    rkit_ask(r, "SET turn/origin/https://a north.gov");
    const uint64_t before = ph_redis_stats(r)->commands;
    struct polled p = poll_realm(r, "north.gov");
    cr_assert(p.ok);
    cr_expect_eq(p.x.n_origins, 1);
    cr_expect_geq(ph_redis_stats(r)->commands - before, 6 + 30 + 1);
    ph_redis_realm_fini(&p.x);
    cr_expect_null(strstr(rkit_ask(r, "INFO commandstats"), "cmdstat_keys"));
    rkit_close(r);
}

static bool scan_round_and_round;

static void scanner(struct fake *f, char **arg, unsigned n)
{
    (void)n;
    if (fake_greets(f, arg))
        return;
    if (strcmp(arg[0], "SMEMBERS") == 0)
        fake_say(f, "*0\r\n");
    else if (strcmp(arg[0], "GET") == 0)
        fake_say(f, "$-1\r\n");
    else
        fake_say(f, scan_round_and_round ? "*2\r\n$1\r\n7\r\n*0\r\n"
                                         : "*2\r\n$1\r\n0\r\n*1\r\n$3\r\nbad\r\n");
}

Test(uv_redis_users, a_scan_that_names_other_keys_is_not_believed)
{
    const struct ph_redis_conf c = rkit_conf();

    fake_listen_unix(scanner);
    struct ph_redis *r = rkit_connect(&c);
    cr_expect(!poll_realm(r, "x").ok);
    scan_round_and_round = true;
    struct polled p = {0};
    ph_redis_realm(r, "x", on_realm, &p);
    rkit_run_ms(50);
    rkit_close(r);
    cr_expect_eq(p.calls, 1);
    cr_expect(!p.ok);
}

/* --- OAuth keys ------------------------------------------------------------------------------------ */

struct fetched {
    unsigned calls, n;
    struct ph_oauth_key *keys;
    bool ok;
};

static void on_keys(void *ctx, struct ph_oauth_key *keys, unsigned n, bool ok)
{
    struct fetched *f = ctx;

    *f = (struct fetched){f->calls + 1, n, keys, ok};
}

static struct fetched fetch(struct ph_redis *r)
{
    struct fetched f = {0};

    ph_redis_oauth(r, on_keys, &f);
    cr_assert_eq(f.calls, 0);
    RUN_UNTIL(f.calls == 1);
    return f;
}

Test(uv_redis_users, oauth_keys)
{
    static const char ikm[] = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="; /* 1234567890... */
    struct ph_redis *r = real();
    char command[256];
    struct fetched f = fetch(r);

    cr_expect(f.ok && f.n == 0);
    snprintf(command, sizeof command,
             "HSET turn/oauth/kid/north ikm_key %s as_rs_alg A256GCM realm north.gov", ikm);
    rkit_ask(r, command);
    snprintf(command, sizeof command,
             "HSET turn/oauth/kid/oldempire ikm_key %s as_rs_alg A128GCM timestamp 1000 lifetime "
             "500",
             ikm);
    rkit_ask(r, command);
    rkit_ask(r, "HSET turn/oauth/kid/short ikm_key MTIz");
    rkit_ask(r, "SET turn/oauth/kid/string x");
    f = fetch(r);
    cr_assert(f.ok);
    cr_assert_eq(f.n, 2, "%s", rkit_log);
    cr_expect_str_eq(f.keys[0].kid, "north");
    cr_expect_eq(f.keys[0].key_len, 32);
    cr_expect_arr_eq(f.keys[0].key, "12345678901234567890123456789012", 32);
    cr_expect(f.keys[0].not_before_s == 0 && f.keys[0].not_after_s == 0);
    cr_expect_str_eq(f.keys[1].kid, "oldempire");
    cr_expect_eq(f.keys[1].key_len, 16);
    cr_expect_arr_eq(f.keys[1].key, "1234567890123456", 16);
    cr_expect(f.keys[1].not_before_s == 1000 && f.keys[1].not_after_s == 1500);
    cr_expect(strstr(rkit_log, "turn/oauth/kid/short is left out"), "%s", rkit_log);
    free(f.keys);
    rkit_kill();
    RUN_UNTIL(!ph_redis_stats(r)->up);
    cr_expect(!fetch(r).ok, "no keys and no answer are not the same");
    rkit_close(r);
}
#else
#include <criterion/criterion.h>

Test(uv_redis_users, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
