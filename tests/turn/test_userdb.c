/*
 * The cache in front of a user database: what it keeps, what it asks for, and what it does when nobody answers.
 */
#include "stun/base/buf.h"
#include "stun/base/error.h"
#include "support/oom.h"
#include "turn/rig.h"
#include "turn/userdb.h"

#include <criterion/criterion.h>
#include <stdio.h>

static uint64_t seed = 3;
static const struct ph_env env = {.rand = rig_rand, .ctx = &seed};

struct db {
    struct ph_userdb *u;
    struct ph_userdb_user user; /* the last one found */
    struct ph_addr client;
    ph_ns now;
};

static struct db *db_new(const struct ph_userdb_conf *c)
{
    static const struct ph_userdb_conf none;
    struct db *d = calloc(1, sizeof *d);
    d->u = ph_userdb_new(c ? c : &none, &env);
    cr_assert_not_null(d->u);
    d->client = rig_addr("192.0.2.1:5000");
    d->now = PH_SEC(1000);
    return d;
}

static void db_free(struct db *d)
{
    ph_userdb_free(d->u);
    free(d);
}

static int find_in(struct db *d, const char *realm, const char *name)
{
    return ph_userdb_find(d->u, ph_str(realm), ph_str(name), &d->client, &d->user, d->now);
}

static int find(struct db *d, const char *name)
{
    return find_in(d, "r", name);
}

/* The next look-up is for this name (NULL: there is none). */
static void expect_ask(struct db *d, const char *name)
{
    struct ph_userdb_ask ask;
    bool any = ph_userdb_ask(d->u, &ask, d->now);
    cr_assert_eq(any, name != NULL, "%s", any ? ask.name : "nothing asked");
    if (name) {
        cr_expect_str_eq(ask.name, name);
        cr_expect_eq(ask.name_n, strlen(name));
    }
}

static struct ph_userdb_user user_of(uint8_t key)
{
    struct ph_userdb_user u = {.max_allocations = 3, .max_bps = 4, .expires_s = INT64_MAX};
    memset(u.key, key, sizeof u.key);
    return u;
}

static void answer(struct db *d, const char *name, enum ph_userdb_result result, uint8_t key)
{
    struct ph_userdb_user u = user_of(key);
    ph_userdb_answer(d->u, ph_str("r"), ph_str(name), result, result == PH_USERDB_FOUND ? &u : NULL,
                     d->now);
}

/* Makes it know a user. */
static void teach(struct db *d, const char *name, uint8_t key)
{
    cr_assert_eq(find(d, name), PH_LATER);
    expect_ask(d, name);
    answer(d, name, PH_USERDB_FOUND, key);
}

static const struct ph_userdb_stats *stats(const struct db *d)
{
    return ph_userdb_stats(d->u);
}

Test(turn_userdb, asks_once_and_keeps_the_answer)
{
    struct db *d = db_new(NULL);

    expect_ask(d, NULL);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    expect_ask(d, "alice");
    expect_ask(d, NULL);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    expect_ask(d, NULL);
    answer(d, "alice", PH_USERDB_FOUND, 7);
    d->now += PH_SEC(60) - 1;
    cr_assert_eq(find(d, "alice"), 0);
    cr_expect_eq(d->user.key[15], 7);
    cr_expect_eq(d->user.max_allocations, 3);
    cr_expect_eq(d->user.max_bps, 4);
    cr_expect_eq(find_in(d, "s", "alice"), PH_LATER, "another realm is another user");
    cr_expect_eq(find(d, "alic"), PH_LATER);
    d->now += 1;
    cr_expect_eq(find(d, "alice"), PH_LATER, "it may have changed");
    cr_expect_eq(stats(d)->hits, 1);
    cr_expect_eq(stats(d)->misses, 4);
    cr_expect_eq(stats(d)->found, 1);
    cr_expect_eq(stats(d)->asked, 1);
    db_free(d);
}

Test(turn_userdb, keeps_that_there_is_no_such_user_for_a_shorter_time)
{
    struct db *d = db_new(NULL);

    cr_expect_eq(find(d, "nobody"), PH_LATER);
    expect_ask(d, "nobody");
    answer(d, "nobody", PH_USERDB_NONE, 0);
    d->now += PH_SEC(5) - 1;
    cr_expect_eq(find(d, "nobody"), PH_E_MISSING);
    expect_ask(d, NULL);
    d->now += 1;
    cr_expect_eq(find(d, "nobody"), PH_LATER);
    cr_expect_eq(stats(d)->none, 1);
    db_free(d);
}

Test(turn_userdb, a_change_is_seen_after_the_ttl)
{
    struct db *d = db_new(NULL);

    teach(d, "alice", 1);
    d->now += PH_SEC(60);
    teach(d, "alice", 2);
    cr_assert_eq(find(d, "alice"), 0);
    cr_expect_eq(d->user.key[0], 2);
    d->now += PH_SEC(60);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    expect_ask(d, "alice");
    answer(d, "alice", PH_USERDB_NONE, 0);
    cr_expect_eq(find(d, "alice"), PH_E_MISSING, "deleted");
    db_free(d);
}

Test(turn_userdb, answers_come_in_any_order_and_unasked_ones_are_ignored)
{
    struct db *d = db_new(NULL);

    answer(d, "alice", PH_USERDB_FOUND, 9);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    answer(d, "alice", PH_USERDB_FOUND, 9);
    cr_expect_eq(find(d, "alice"), PH_LATER, "not even handed out yet");
    cr_expect_eq(find(d, "bob"), PH_LATER);
    cr_expect_eq(find(d, "carol"), PH_LATER);
    expect_ask(d, "alice");
    expect_ask(d, "bob");
    expect_ask(d, "carol");
    answer(d, "bob", PH_USERDB_FOUND, 2);
    answer(d, "carol", PH_USERDB_FOUND, 3);
    answer(d, "alice", PH_USERDB_FOUND, 1);
    answer(d, "alice", PH_USERDB_FOUND, 8);
    cr_expect_eq(find(d, "alice"), 0);
    cr_expect_eq(d->user.key[0], 1);
    cr_expect_eq(find(d, "bob"), 0);
    cr_expect_eq(d->user.key[0], 2);
    db_free(d);
}

Test(turn_userdb, a_look_up_times_out)
{
    struct db *d = db_new(NULL);

    cr_expect_eq(ph_userdb_deadline(d->u), PH_NEVER);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    expect_ask(d, "alice");
    d->now += PH_SEC(1);
    cr_expect_eq(find(d, "bob"), PH_LATER);
    cr_expect_eq(ph_userdb_deadline(d->u), PH_SEC(1003));
    cr_expect_not(ph_userdb_tick(d->u, PH_SEC(1003) - 1));
    d->now = PH_SEC(1003);
    cr_expect(ph_userdb_tick(d->u, d->now));
    cr_expect_eq(ph_userdb_deadline(d->u), PH_SEC(1004));
    cr_expect_eq(find(d, "alice"), PH_E_LIMIT, "its packet is answered now, not sent round");
    answer(d, "alice", PH_USERDB_FOUND, 1); /* late: not what is asked any more */
    cr_expect_eq(find(d, "alice"), PH_E_LIMIT);
    d->now = PH_SEC(1004);
    cr_expect(ph_userdb_tick(d->u, d->now), "one that was never handed out times out too");
    expect_ask(d, NULL);
    cr_expect_eq(find(d, "alice"), PH_LATER, "a second later it may be tried again");
    expect_ask(d, "alice");
    cr_expect_eq(stats(d)->failed, 2);
    db_free(d);
}

Test(turn_userdb, old_answers_serve_while_the_database_is_silent)
{
    struct db *d = db_new(NULL);

    teach(d, "alice", 1);
    d->now += PH_SEC(60);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    expect_ask(d, "alice");
    answer(d, "alice", PH_USERDB_FAILED, 0);
    cr_expect_eq(find(d, "alice"), 0);
    cr_expect_eq(d->user.key[0], 1);
    cr_expect_eq(stats(d)->stale, 1);
    expect_ask(d, NULL);
    d->now += PH_SEC(599);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    answer(d, "alice", PH_USERDB_FAILED, 0);
    expect_ask(d, "alice");
    answer(d, "alice", PH_USERDB_FAILED, 0);
    cr_expect_eq(find(d, "alice"), 0);
    d->now += PH_SEC(1);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    expect_ask(d, "alice");
    answer(d, "alice", PH_USERDB_FAILED, 0);
    cr_expect_eq(find(d, "alice"), PH_E_LIMIT, "too old by now");
    db_free(d);
}

Test(turn_userdb, breaker_opens_and_tries_again)
{
    struct db *d = db_new(NULL);
    char name[16];

    teach(d, "known", 1);
    d->now += PH_SEC(60);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "u%d", i);
        cr_expect_eq(find(d, name), PH_LATER);
        expect_ask(d, name);
        answer(d, name, PH_USERDB_FAILED, 0);
        cr_expect_eq(stats(d)->breaker_opened, i == 4);
    }
    cr_expect_eq(find(d, "new"), PH_E_LIMIT);
    cr_expect_eq(find(d, "known"), 0, "at once, without waiting for a timeout");
    expect_ask(d, NULL);
    d->now += PH_SEC(5) - 1;
    cr_expect_eq(find(d, "new"), PH_E_LIMIT);
    d->now += 1;
    cr_expect_eq(find(d, "new"), PH_LATER, "one tries");
    cr_expect_eq(find(d, "other"), PH_E_LIMIT, "and one only");
    cr_expect_eq(find(d, "known"), 0);
    expect_ask(d, "new");
    d->now += PH_SEC(3);
    cr_expect(ph_userdb_tick(d->u, d->now));
    cr_expect_eq(find(d, "other"), PH_E_LIMIT, "open again");
    d->now += PH_SEC(5);
    cr_expect_eq(find(d, "other"), PH_LATER);
    expect_ask(d, "other");
    answer(d, "other", PH_USERDB_NONE, 0);
    cr_expect_eq(find(d, "new"), PH_LATER, "closed");
    cr_expect_eq(find(d, "known"), PH_LATER);
    cr_expect_eq(stats(d)->breaker_opened, 1);
    db_free(d);
}

Test(turn_userdb, success_between_failures_keeps_the_breaker_shut)
{
    struct db *d = db_new(NULL);
    char name[16];

    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "u%d", i);
        cr_assert_eq(find(d, name), PH_LATER);
        expect_ask(d, name);
        answer(d, name, i % 5 == 4 ? PH_USERDB_NONE : PH_USERDB_FAILED, 0);
    }
    cr_expect_eq(stats(d)->breaker_opened, 0);
    db_free(d);
}

Test(turn_userdb, one_site_cannot_fill_the_queue)
{
    static const char *const sites[][2] = {{"192.0.2.9:1", "192.0.2.200:2"},
                                           {"[2001:db8:1::1]:1", "[2001:db8:1:ffff::2]:2"},
                                           {"[::ffff:198.51.100.1]:1", "198.51.100.2:2"}};
    struct db *d = db_new(NULL);
    char name[32];

    for (unsigned s = 0; s < 3; s++)
        for (int i = 0; i < 20; i++) {
            d->client = rig_addr(sites[s][i % 2]);
            snprintf(name, sizeof name, "site%u-%d", s, i);
            cr_expect_eq(find(d, name), i < 16 ? PH_LATER : PH_E_LIMIT, "%s", name);
        }
    cr_expect_eq(stats(d)->refused, 12);
    d->client = rig_addr("[2001:db8:2::1]:1");
    cr_expect_eq(find(d, "elsewhere"), PH_LATER);
    db_free(d);
}

Test(turn_userdb, look_ups_under_way_are_bounded)
{
    struct db *d = db_new(&(struct ph_userdb_conf){.max_pending = 20});
    char name[32];

    for (int i = 0; i < 30; i++) {
        d->client.ip[1] = (uint8_t)i;
        snprintf(name, sizeof name, "user%d", i);
        cr_expect_eq(find(d, name), i < 20 ? PH_LATER : PH_E_LIMIT);
    }
    expect_ask(d, "user0");
    answer(d, "user0", PH_USERDB_NONE, 0);
    cr_expect_eq(find(d, "one more"), PH_LATER);
    cr_expect_eq(find(d, "and another"), PH_E_LIMIT);
    db_free(d);
}

Test(turn_userdb, least_recently_used_makes_room)
{
    struct db *d = db_new(&(struct ph_userdb_conf){.max_entries = 4});

    teach(d, "a", 1);
    teach(d, "b", 2);
    teach(d, "c", 3);
    teach(d, "d", 4);
    cr_expect_eq(find(d, "a"), 0);
    teach(d, "e", 5); /* b goes */
    cr_expect_eq(find(d, "a"), 0);
    cr_expect_eq(find(d, "c"), 0);
    cr_expect_eq(find(d, "b"), PH_LATER); /* d goes */
    cr_expect_eq(find(d, "x"), PH_LATER); /* e goes */
    cr_expect_eq(find(d, "y"), PH_LATER); /* a goes */
    cr_expect_eq(find(d, "z"), PH_LATER); /* c goes */
    cr_expect_eq(find(d, "w"), PH_E_LIMIT, "what is asked for stays");
    expect_ask(d, "b");
    answer(d, "b", PH_USERDB_FOUND, 9);
    cr_expect_eq(find(d, "b"), 0);
    cr_expect_eq(find(d, "w"), PH_LATER);
    cr_expect_eq(find(d, "b"), PH_E_LIMIT, "it has made room for w");
    db_free(d);
}

/* Made-up names by the million: the memory is that of max_entries. */
Test(turn_userdb, a_flood_of_names_is_bounded)
{
    struct db *d = db_new(&(struct ph_userdb_conf){.max_entries = 100});
    struct ph_userdb_ask ask;
    char name[32];

    for (int i = 0; i < 50000; i++) {
        snprintf(name, sizeof name, "made-up-%d", i);
        cr_assert_eq(find(d, name), PH_LATER);
        cr_assert(ph_userdb_ask(d->u, &ask, d->now));
        answer(d, name, PH_USERDB_NONE, 0);
    }
    cr_expect_eq(find(d, "made-up-49900"), PH_E_MISSING);
    cr_expect_eq(find(d, "made-up-49899"), PH_LATER);
    db_free(d);
}

Test(turn_userdb, forgets_users)
{
    struct db *d = db_new(NULL);

    teach(d, "alice", 1);
    teach(d, "bob", 2);
    ph_userdb_forget(d->u, ph_str("s"), ph_str("alice"));
    cr_expect_eq(find(d, "alice"), 0);
    ph_userdb_forget(d->u, ph_str("r"), ph_str("alice"));
    cr_expect_eq(find(d, "alice"), PH_LATER);
    cr_expect_eq(find(d, "bob"), 0);
    ph_userdb_forget(d->u, ph_str(""), ph_str("bob"));
    cr_expect_eq(find(d, "bob"), PH_LATER);
    expect_ask(d, "alice");
    expect_ask(d, "bob");
    answer(d, "alice", PH_USERDB_FOUND, 1);
    answer(d, "bob", PH_USERDB_FOUND, 1);
    ph_userdb_forget(d->u, ph_str("s"), ph_str(""));
    cr_expect_eq(find(d, "bob"), 0);
    ph_userdb_forget(d->u, ph_str(""), ph_str(""));
    cr_expect_eq(find(d, "bob"), PH_LATER);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    db_free(d);
}

/* An answer that was on its way when the user was revoked is older than that. */
Test(turn_userdb, forgetting_what_is_being_asked_asks_again)
{
    struct db *d = db_new(NULL);

    cr_expect_eq(find(d, "alice"), PH_LATER);
    ph_userdb_forget(d->u, ph_str("r"), ph_str("alice")); /* not handed out yet: nothing to do */
    expect_ask(d, "alice");
    ph_userdb_forget(d->u, ph_str("r"), ph_str("alice"));
    answer(d, "alice", PH_USERDB_FOUND, 1);
    cr_expect_eq(find(d, "alice"), PH_LATER);
    expect_ask(d, "alice");
    answer(d, "alice", PH_USERDB_NONE, 0);
    cr_expect_eq(find(d, "alice"), PH_E_MISSING);
    /* A stale answer must not come back either. */
    d->now += PH_SEC(5);
    teach(d, "bob", 2);
    d->now += PH_SEC(60);
    cr_expect_eq(find(d, "bob"), PH_LATER);
    expect_ask(d, "bob");
    ph_userdb_forget(d->u, ph_str("r"), ph_str("bob"));
    answer(d, "bob", PH_USERDB_FAILED, 0);
    cr_expect_eq(find(d, "bob"), PH_E_LIMIT);
    db_free(d);
}

/* Names are bytes: what they hold does not matter, their length does. */
Test(turn_userdb, takes_hostile_names)
{
    static uint8_t bytes[600];
    struct db *d = db_new(NULL);
    struct ph_userdb_ask ask;
    char realm[130];

    memset(realm, 'r', 129);
    realm[127] = '\0';
    for (int fill = 0; fill < 256; fill += 15) {
        memset(bytes, fill, sizeof bytes);
        memcpy(bytes, "%s%n/*?", 7);
        struct ph_slice name = {bytes, PH_USERDB_NAME_MAX};
        d->now += PH_SEC(1);
        cr_assert_eq(ph_userdb_find(d->u, ph_str(realm), name, &d->client, &d->user, d->now),
                     PH_LATER);
        cr_assert(ph_userdb_ask(d->u, &ask, d->now));
        cr_expect_eq(ask.name_n, PH_USERDB_NAME_MAX);
        cr_expect_eq(memcmp(ask.name, bytes, PH_USERDB_NAME_MAX), 0);
        cr_expect_eq(ask.name[PH_USERDB_NAME_MAX], '\0');
        cr_expect_str_eq(ask.realm, realm);
        ph_userdb_answer(d->u, ph_str(realm), name, PH_USERDB_NONE, NULL, d->now);
    }
    struct ph_slice too_long = {bytes, PH_USERDB_NAME_MAX + 1}, empty = {NULL, 0};
    cr_expect_eq(ph_userdb_find(d->u, ph_str("r"), too_long, &d->client, &d->user, d->now),
                 PH_E_MISSING);
    cr_expect_eq(ph_userdb_find(d->u, ph_str("r"), empty, &d->client, &d->user, d->now),
                 PH_E_MISSING);
    memset(realm, 'r', 129);
    realm[128] = '\0';
    cr_expect_eq(ph_userdb_find(d->u, ph_str(realm), ph_str("a"), &d->client, &d->user, d->now),
                 PH_E_MISSING);
    expect_ask(d, NULL);
    db_free(d);
}

Test(turn_userdb, survives_want_of_memory)
{
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        struct ph_userdb *u =
            ph_userdb_new(&(struct ph_userdb_conf){.max_pending_source = 99}, &env);
        struct ph_addr client = rig_addr("192.0.2.1:5");
        struct ph_userdb_user user;
        unsigned refused = 0;
        for (unsigned i = 0; i < 40 && u; i++) {
            char name[16];
            snprintf(name, sizeof name, "user%u", i);
            int err = ph_userdb_find(u, ph_str("r"), ph_str(name), &client, &user, PH_SEC(5));
            cr_assert(err == PH_LATER || err == PH_E_LIMIT);
            refused += err == PH_E_LIMIT;
        }
        bool failed = oom_disarm();
        cr_assert_eq(u == NULL || refused, failed);
        cr_expect_leq(refused, 1, "the next one has room again");
        ph_userdb_free(u);
        if (!failed)
            break;
    }
    ph_userdb_free(NULL);
}
