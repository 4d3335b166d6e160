/*
 * The fleet: who is alive, where clients are sent, what users have elsewhere.
 */
#include "turn/fleet.h"

#include "stun/base/error.h"
#include "stun/uv/env.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct ph_env env;
static struct ph_fleet *f;

static void setup(void)
{
    const struct ph_fleet_conf c = {.node = "a", .users = 4};
    env = ph_env_system(NULL);
    f = ph_fleet_new(&c, &env);
    cr_assert_not_null(f);
}

static void teardown(void)
{
    ph_fleet_free(f);
}

TestSuite(fleet, .init = setup, .fini = teardown);

static struct ph_addr addr(const char *text, uint8_t proto)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0);
    a.proto = proto;
    return a;
}

static int hear(const char *name, const char *entry, ph_ns now)
{
    return ph_fleet_heard(f, ph_str(name), ph_str(entry), 0, now);
}

static int note(const char *name, const char *text, ph_ns now)
{
    return ph_fleet_take(f, ph_str(name), ph_str(text), now);
}

/* Passes over the news that a node came. */
static bool next(struct ph_fleet_ev *ev)
{
    while (ph_fleet_event(f, ev))
        if (ev->type != PH_FLEET_JOINED)
            return true;
    return false;
}

Test(fleet, an_entry_says_what_it_was_made_of)
{
    struct ph_fleet_node_info n = {
        .state = PH_FLEET_DRAINING,
        .load = 120,
        .sessions = 37,
        .up_s = 1763769600,
        .version = "0.4.0 x%",
        .at = {addr("192.0.2.1:3478", PH_UDP), addr("[2001:db8::1]:5349", PH_TLS)}};
    char text[PH_FLEET_TEXT];
    unsigned i = 0;

    const size_t len = ph_fleet_entry(&n, text);
    cr_assert_eq(len, strlen(text));
    cr_assert_str_eq(text,
                     "1 state=draining load=120 sessions=37 up=1763769600 version=0.4.0%20x%25 "
                     "udp=192.0.2.1:3478 tls=[2001:db8::1]:5349");
    cr_assert_eq(hear("b", text, 0), 0);
    const struct ph_fleet_node_info *b = ph_fleet_each(f, &i);
    cr_assert_not_null(b);
    cr_assert_str_eq(b->name, "b");
    cr_assert_str_eq(b->version, n.version);
    cr_assert_eq(b->state, PH_FLEET_DRAINING);
    cr_assert_eq(b->load, 120);
    cr_assert_eq(b->sessions, 37);
    cr_assert_eq(b->up_s, 1763769600);
    cr_assert(ph_addr_eq(&b->at[0], &n.at[0]) && ph_addr_eq(&b->at[1], &n.at[1]) &&
              !b->at[2].family);
    cr_assert_null(ph_fleet_each(f, &i));
}

Test(fleet, entries_that_make_no_sense_are_counted)
{
    static const char *const BAD[] = {"",
                                      "x",
                                      "0 state=serving",
                                      "1 load=1001",
                                      "1 load",
                                      "1 udp=nowhere:1",
                                      "1 udp=192.0.2.1",
                                      "1 sessions=-1",
                                      "1 version=%4",
                                      "1 load=99999999999999999999"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        cr_expect_eq(hear("b", BAD[i], 0), PH_E_FORMAT, "%s", BAD[i]);
    cr_assert_eq(ph_fleet_stats(f)->bad, sizeof BAD / sizeof *BAD);
    cr_assert_eq(ph_fleet_stats(f)->alive, 0);
    /* What a later version adds is passed over. */
    cr_assert_eq(hear("b", "2 state=serving colour=blue load=1", 0), 0);
    cr_assert(ph_fleet_alive(f, "b"));
}

Test(fleet, a_node_dies_of_silence_and_comes_back)
{
    cr_assert_eq(hear("b", "1 load=1 udp=192.0.2.2:3478", 0), 0);
    cr_assert(ph_fleet_tick(f, 0), "it came");
    cr_assert(!ph_fleet_tick(f, PH_SEC(4)), "nothing is new");
    cr_assert(ph_fleet_alive(f, "b"));
    cr_assert(ph_fleet_tick(f, PH_SEC(5)));
    cr_assert(!ph_fleet_alive(f, "b"));
    cr_assert_eq(hear("b", "1 load=1 udp=192.0.2.2:3478", PH_SEC(6)), 0);
    cr_assert(ph_fleet_tick(f, PH_SEC(6)));
    cr_assert(ph_fleet_alive(f, "b"));
    cr_assert_eq(ph_fleet_stats(f)->joined, 2);
    cr_assert_eq(ph_fleet_stats(f)->died, 1);
}

Test(fleet, what_a_dead_node_left_behind_makes_no_node)
{
    cr_assert_eq(ph_fleet_heard(f, ph_str("b"), ph_str("1 load=1"), PH_SEC(60), 0), 0);
    cr_assert(!ph_fleet_alive(f, "b"));
    cr_assert_eq(hear("a", "1 load=1", 0), 0, "our own");
    cr_assert_eq(ph_fleet_stats(f)->alive, 0);
}

Test(fleet, more_nodes_than_there_is_room_for)
{
    char name[16];
    for (int i = 0; i < PH_FLEET_NODES; i++) {
        snprintf(name, sizeof name, "n%d", i);
        cr_assert_eq(hear(name, "1 load=1", 0), 0);
    }
    cr_assert_eq(hear("late", "1 load=1", 0), PH_E_LIMIT);
    ph_fleet_tick(f, PH_SEC(5));
    cr_assert_eq(hear("late", "1 load=1", PH_SEC(6)), 0, "the dead give way");
}

Test(fleet, clients_are_sent_to_the_least_busy_that_serves)
{
    struct ph_addr v[PH_FLEET_AT];

    cr_assert_eq(ph_fleet_alternates(f, 900, false, v, PH_FLEET_AT), 0, "nobody is there");
    hear("b", "1 state=serving load=500 udp=192.0.2.2:3478", 0);
    hear("c", "1 state=serving load=300 udp=192.0.2.3:3478 tls=192.0.2.3:5349", 0);
    hear("d", "1 state=draining load=10 udp=192.0.2.4:3478", 0);
    hear("e", "1 state=serving load=1000 udp=192.0.2.5:3478", 0);
    hear("g", "1 state=serving load=1", 0);
    cr_assert_eq(ph_fleet_alternates(f, 0, false, v, PH_FLEET_AT), 2);
    const struct ph_addr c = addr("192.0.2.3:5349", PH_TLS);
    cr_assert(ph_addr_eq(&v[1], &c));
    cr_assert_eq(ph_fleet_alternates(f, 0, false, v, 1), 1);
}

Test(fleet, a_node_that_is_hardly_busier_keeps_its_clients)
{
    struct ph_addr v[PH_FLEET_AT];

    hear("b", "1 state=serving load=300 udp=192.0.2.2:3478", 0);
    cr_assert_eq(ph_fleet_alternates(f, 499, true, v, PH_FLEET_AT), 0);
    cr_assert_eq(ph_fleet_alternates(f, 500, true, v, PH_FLEET_AT), 1);
}

Test(fleet, a_user_here_is_told_once_for_each_change)
{
    char text[PH_FLEET_TEXT];

    cr_assert_eq(ph_fleet_note(f, text), 0);
    ph_fleet_count(f, ph_str("r"), ph_str("alice"), 1);
    ph_fleet_count(f, ph_str("r"), ph_str("alice"), 1);
    ph_fleet_count(f, ph_str(""), ph_str("b b"), 1);
    cr_assert_eq(ph_fleet_note(f, text), strlen(text));
    cr_assert_str_eq(text, "use r alice 2 % b%20b 1");
    cr_assert_eq(ph_fleet_note(f, text), 0);
    ph_fleet_count(f, ph_str("r"), ph_str("alice"), -2);
    ph_fleet_note(f, text);
    cr_assert_str_eq(text, "use r alice 0");
    ph_fleet_tell_all(f);
    ph_fleet_note(f, text);
    cr_assert_str_eq(text, "use % b%20b 1", "who has nothing is not told of");
    ph_fleet_count(f, ph_str(""), ph_str("b b"), -7);
    ph_fleet_note(f, text);
    cr_assert_str_eq(text, "use % b%20b 0", "never less than none");
}

Test(fleet, many_users_take_several_notes)
{
    char text[PH_FLEET_TEXT], user[300];
    unsigned notes = 0, users = 0;

    memset(user, 'x', sizeof user);
    for (int i = 0; i < 100; i++) {
        user[0] = (char)('0' + i / 10);
        user[1] = (char)('0' + i % 10);
        ph_fleet_count(f, ph_str("realm"), (struct ph_slice){(uint8_t *)user, sizeof user}, 1);
    }
    for (size_t n; (n = ph_fleet_note(f, text)) > 0; notes++) {
        cr_assert_lt(n, PH_FLEET_TEXT);
        for (const char *p = text; (p = strstr(p, " realm ")) != NULL; p++)
            users++;
    }
    cr_assert_eq(users, 100);
    cr_assert_eq(notes, 4);
}

Test(fleet, what_users_have_elsewhere_is_summed)
{
    struct ph_fleet_ev ev;

    hear("b", "1 load=1", 0);
    hear("c", "1 load=1", 0);
    cr_assert_eq(note("b", "use r alice 2 r bob 1", 0), 0);
    cr_assert_eq(note("c", "use r alice 3", 0), 0);
    cr_assert(next(&ev));
    cr_assert_eq(ev.type, PH_FLEET_ELSEWHERE);
    cr_assert(ph_slice_eq(ev.user, ph_str("alice")) && ph_slice_eq(ev.realm, ph_str("r")));
    cr_assert_eq(ev.n, 5);
    cr_assert(next(&ev) && ev.n == 1);
    cr_assert(!next(&ev));
    note("b", "use r alice 0", 0);
    cr_assert(next(&ev) && ev.n == 3);
    cr_assert_eq(ph_fleet_stats(f)->users, 2);
}

Test(fleet, the_users_of_a_dead_node_count_no_more)
{
    struct ph_fleet_ev ev;

    hear("b", "1 load=1", 0);
    hear("c", "1 load=1", PH_SEC(3));
    note("b", "use r alice 2", 0);
    note("c", "use r alice 1", PH_SEC(3));
    cr_assert(next(&ev) && ev.n == 3 && !next(&ev));
    ph_fleet_tick(f, PH_SEC(6));
    cr_assert(next(&ev) && ev.n == 1 && !next(&ev));
    note("b", "use r alice 9", PH_SEC(6));
    cr_assert(!next(&ev), "the dead say nothing");
    ph_fleet_forget(f, ph_str("c"));
    cr_assert(next(&ev) && ev.n == 0 && !next(&ev));
    cr_assert_eq(ph_fleet_stats(f)->users, 0);
}

Test(fleet, a_node_that_came_is_to_be_read)
{
    struct ph_fleet_ev ev;

    hear("b", "1 load=1", 0);
    cr_assert(ph_fleet_event(f, &ev));
    cr_assert_eq(ev.type, PH_FLEET_JOINED);
    cr_assert_str_eq(ev.name, "b");
    cr_assert(!ph_fleet_event(f, &ev));
    hear("b", "1 load=2", PH_SEC(1));
    cr_assert(!ph_fleet_event(f, &ev));
}

Test(fleet, a_node_that_begins_anew_takes_back_its_word)
{
    struct ph_fleet_ev ev;

    hear("b", "1 load=1", 0);
    note("b", "use r alice 2", 0);
    cr_assert(next(&ev) && ev.n == 2 && !next(&ev));
    cr_assert_eq(note("b", "anew", 0), 0);
    cr_assert(next(&ev) && ev.n == 0 && !next(&ev));
    cr_assert(ph_fleet_alive(f, "b"));
}

Test(fleet, who_says_hello_is_to_be_told_all)
{
    struct ph_fleet_ev ev;

    cr_assert_eq(note("a", "hello", 0), 0);
    cr_assert(!ph_fleet_event(f, &ev), "our own");
    cr_assert_eq(note("b", "hello", 0), 0);
    cr_assert_eq(note("c", "hello", 0), 0);
    cr_assert(ph_fleet_event(f, &ev));
    cr_assert_eq(ev.type, PH_FLEET_GREETED);
    cr_assert(!ph_fleet_event(f, &ev), "once for both");
}

Test(fleet, users_beyond_the_bound_are_not_counted)
{
    hear("b", "1 load=1", 0);
    cr_assert_eq(note("b", "use r a 1 r b 1 r c 1 r d 1", 0), 0);
    cr_assert_eq(note("b", "use r e 1 r a 2", 0), PH_E_LIMIT);
    cr_assert_eq(ph_fleet_stats(f)->users, 4);
    cr_assert_eq(ph_fleet_stats(f)->uncounted, 1);
    cr_assert_eq(note("b", "use r a 0", 0), 0);
    cr_assert_eq(note("b", "use r e 1", 0), 0);
}

Test(fleet, rates_go_both_ways_and_grow_old)
{
    struct ph_fleet_ev ev;
    char text[PH_FLEET_TEXT];

    ph_fleet_rate(f, ph_str("r"), ph_str("alice"), 1000, 20);
    ph_fleet_note(f, text);
    cr_assert_str_eq(text, "rate r alice 1000 20");
    hear("b", "1 load=1", 0);
    hear("c", "1 load=1", 0);
    note("b", "rate r alice 100 2", 0);
    note("c", "rate r alice 50 1", PH_SEC(2));
    cr_assert(next(&ev));
    cr_assert_eq(ev.type, PH_FLEET_RATES);
    cr_assert_eq(ev.from_client, 150);
    cr_assert_eq(ev.to_client, 3);
    while (next(&ev))
        ;
    note("c", "rate r alice 60 1", PH_SEC(4));
    cr_assert(next(&ev));
    cr_assert_eq(ev.from_client, 60, "what b said is old");
}

Test(fleet, rates_of_many_users_go_in_one_note)
{
    char text[PH_FLEET_TEXT], name[8];

    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "u%u", i);
        cr_assert_eq(ph_fleet_rate(f, ph_str("r"), ph_str(name), i, 2 * i), 0);
    }
    cr_assert_gt(ph_fleet_note(f, text), 0);
    cr_expect_eq(strncmp(text, "rate r u0 0 0 r u1 1 2 ", 23), 0, "%s", text);
    cr_expect_not_null(strstr(text, " r u19 19 38"));
    cr_expect_eq(ph_fleet_note(f, text), 0, "%s", text);
}

Test(fleet, rates_that_are_told_no_more_are_an_event)
{
    struct ph_fleet_ev ev;
    uint64_t rate[2];

    hear("b", "1 state=serving load=0", 0);
    note("b", "use r u 1", 0);
    note("b", "rate r u 700 30", PH_SEC(1));
    while (next(&ev))
        continue;
    ph_fleet_wanted(f, ph_str("r"), ph_str("u"), rate, PH_SEC(3));
    cr_expect_eq(rate[0], 700);
    cr_expect_eq(rate[1], 30);
    ph_fleet_wanted(f, ph_str("r"), ph_str("u"), rate, PH_SEC(4));
    cr_expect_eq(rate[0], 0);
    ph_fleet_wanted(f, ph_str("r"), ph_str("nobody"), rate, PH_SEC(3));
    cr_expect_eq(rate[0], 0);
    hear("b", "1 state=serving load=0", PH_SEC(3));
    ph_fleet_tick(f, PH_SEC(3));
    cr_expect_not(next(&ev));
    ph_fleet_tick(f, PH_SEC(5));
    cr_assert(next(&ev));
    cr_expect_eq(ev.type, PH_FLEET_RATES);
    cr_expect_eq(ev.from_client, 0);
    cr_expect_eq(ev.to_client, 0);
    cr_assert(next(&ev));
    cr_expect_eq(ev.type, PH_FLEET_ELSEWHERE);
    cr_expect_eq(ev.n, 1, "his allocations are there");
    cr_expect_not(next(&ev));
    ph_fleet_tick(f, PH_SEC(6));
    cr_expect_not(next(&ev), "once");
}

Test(fleet, rates_alone_keep_no_user)
{
    struct ph_fleet_ev ev;

    hear("b", "1 state=serving load=0", 0);
    note("b", "rate r u 700 30 r v 0 0", 0);
    note("b", "use r u 1", 0);
    note("b", "use r u 0", 0);
    note("b", "rate r u 700 30", 0);
    while (next(&ev))
        continue;
    cr_expect_eq(ph_fleet_stats(f)->users, 2);
    for (int s = 1; s < 6; s++) {
        hear("b", "1 state=serving load=0", PH_SEC(s));
        ph_fleet_tick(f, PH_SEC(s));
    }
    cr_expect_eq(ph_fleet_stats(f)->users, 0);
    while (next(&ev))
        continue;
}

Test(fleet, orders_are_handed_on)
{
    struct ph_fleet_ev ev;
    char text[PH_FLEET_TEXT];
    const struct ph_fleet_order end = {.type = PH_FLEET_END, .session = 1000176376960000042},
                                revoke = {.type = PH_FLEET_REVOKE,
                                          .realm = ph_str(""),
                                          .user = ph_str("a b")};

    cr_assert_gt(ph_fleet_order(&end, text), 0);
    cr_assert_str_eq(text, "end 1000176376960000042");
    cr_assert_eq(note("a", text, 0), 0, "an order of our own node counts");
    cr_assert_gt(ph_fleet_order(&revoke, text), 0);
    cr_assert_str_eq(text, "revoke % a%20b");
    cr_assert_eq(note("b", text, 0), 0);
    cr_assert(next(&ev));
    cr_assert_eq(ev.order.session, end.session);
    cr_assert(next(&ev));
    cr_assert_eq(ev.order.type, PH_FLEET_REVOKE);
    cr_assert(ph_slice_eq(ev.order.user, revoke.user));
    cr_assert_eq(ev.order.realm.n, 0);
    cr_assert(!next(&ev));
    for (int i = 0; i < 64; i++)
        cr_assert_eq(note("b", "end 1", 0), 0);
    cr_assert_eq(note("b", "end 1", 0), PH_E_LIMIT);
}

Test(fleet, notes_that_make_no_sense_change_nothing_more)
{
    static const char *const BAD[] = {"",
                                      "use r",
                                      "use r a",
                                      "use r a x",
                                      "use r a 65536",
                                      "use r %G0 1",
                                      "use r %4 1",
                                      "rate r a 1",
                                      "end",
                                      "end x",
                                      "end 18446744073709551616",
                                      "revoke",
                                      "revoke r %"};
    struct ph_fleet_ev ev;

    hear("b", "1 load=1", 0);
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        cr_expect_eq(note("b", BAD[i], 0), PH_E_FORMAT, "%s", BAD[i]);
    cr_assert(!next(&ev));
    cr_assert_eq(note("b", "sing la la", 0), 0, "of a later version");
    cr_assert_eq(note("b", "use r a 1 r b", 0), PH_E_FORMAT);
    cr_assert(next(&ev) && ev.n == 1 && !next(&ev));
}
