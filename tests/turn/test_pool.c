/*
 * Ports that members share: who has which, and whose a packet is.
 */
#include "turn/pool.h"

#include "stun/base/error.h"
#include "support/oom.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static uint64_t seed;

static void toss(void *ctx, void *dst, size_t n)
{
    uint8_t *p = dst;
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(seed >> 56);
    }
}

static const struct ph_env env = {.rand = toss};

enum { PORTS = 4, PERMISSIONS = 4, FLOWS = 6 };

static const ph_ns now = PH_SEC(1000);
static const ph_ns later = PH_SEC(1300); /* permissions of now end */

static struct ph_pool *pool_new(void)
{
    struct ph_pool *p = ph_pool_new(PORTS, PERMISSIONS, FLOWS, &env);
    cr_assert_not_null(p);
    return p;
}

static struct ph_addr at(const char *text)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0);
    a.proto = PH_UDP;
    return a;
}

static int permit(struct ph_pool *p, uint32_t member, const char *ip, ph_ns until)
{
    const struct ph_addr a = at(ip);
    return ph_pool_permit(p, member, &a, until, now);
}

static int claim(struct ph_pool *p, uint32_t member, const char *peer, ph_ns when)
{
    const struct ph_addr a = at(peer);
    return ph_pool_claim(p, member, &a, when);
}

static uint32_t receiver(struct ph_pool *p, unsigned port, const char *from, ph_ns when)
{
    const struct ph_addr a = at(from);
    return ph_pool_receiver(p, port, &a, when);
}

static uint32_t named(struct ph_pool *p, unsigned port, const char *from, const char *name)
{
    const struct ph_addr a = at(from);
    return ph_pool_named(p, port, &a, ph_str(name), now);
}

/* A member with a port and permissions for 192.0.2.1 and 192.0.2.2. */
static void settle(struct ph_pool *p, uint32_t member, unsigned port)
{
    cr_assert_eq(ph_pool_join(p, member, port), 0);
    cr_assert_eq(permit(p, member, "192.0.2.1", later), 0);
    cr_assert_eq(permit(p, member, "192.0.2.2", later), 0);
}

/* --- ports --------------------------------------------------------------------------------------- */

Test(turn_pool, the_least_used_port_is_picked)
{
    struct ph_pool *p = pool_new();

    for (uint32_t member = 0; member < 3 * PORTS; member++) {
        const int port = ph_pool_pick(p, 0, PORTS, 1);
        cr_assert_geq(port, 0);
        cr_assert_eq(ph_pool_members(p, (unsigned)port), member / PORTS, "all are used alike");
        cr_assert_eq(ph_pool_join(p, member, (unsigned)port), 0);
    }
    ph_pool_leave(p, 5);
    const int left = ph_pool_pick(p, 0, PORTS, 1);
    cr_expect_eq(ph_pool_members(p, (unsigned)left), 2, "the one who has left makes room");
    ph_pool_free(p);
}

Test(turn_pool, ties_are_broken_by_chance)
{
    struct ph_pool *p = pool_new();
    unsigned picked[PORTS] = {0};

    for (int i = 0; i < 4000; i++)
        picked[ph_pool_pick(p, 0, PORTS, 1)]++;
    for (unsigned i = 0; i < PORTS; i++)
        cr_expect(picked[i] > 850 && picked[i] < 1150, "port %u: %u", i, picked[i]);
    ph_pool_free(p);
}

Test(turn_pool, a_range_and_a_step_are_kept_to)
{
    struct ph_pool *p = pool_new();

    for (uint32_t member = 0; member < 8; member++) {
        const int port = ph_pool_pick(p, 1, PORTS, 2);
        cr_assert(port == 1 || port == 3);
        cr_assert_eq(ph_pool_join(p, member, (unsigned)port), 0);
    }
    cr_expect_eq(ph_pool_members(p, 1), 4);
    cr_expect_eq(ph_pool_members(p, 3), 4);
    cr_expect_eq(ph_pool_pick(p, 2, 2, 1), PH_E_LIMIT);
    cr_expect_eq(ph_pool_pick(p, PORTS, PORTS + 3, 1), PH_E_LIMIT, "no such ports");
    ph_pool_free(p);
}

/* --- whose a packet is ----------------------------------------------------------------------------- */

Test(turn_pool, a_flow_is_of_who_has_sent_by_it)
{
    struct ph_pool *p = pool_new();

    settle(p, 7, 0);
    settle(p, 9, 0);
    cr_expect_eq(claim(p, 7, "192.0.2.1:9000", now), 0);
    cr_expect_eq(claim(p, 9, "192.0.2.1:9001", now), 0);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), 7);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9001", now), 9);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9002", now), PH_POOL_SEVERAL);
    cr_expect_eq(receiver(p, 1, "192.0.2.1:9000", now), PH_POOL_NOBODY, "another port");
    cr_expect_eq(receiver(p, 0, "192.0.2.3:9000", now), PH_POOL_NOBODY, "nobody permits it");
    ph_pool_free(p);
}

Test(turn_pool, a_flow_is_exclusive_while_the_permission_lasts)
{
    struct ph_pool *p = pool_new();
    const struct ph_addr peer = at("192.0.2.1:9000");

    settle(p, 7, 0);
    settle(p, 9, 0);
    settle(p, 11, 1);
    cr_assert_eq(claim(p, 7, "192.0.2.1:9000", now), 0);
    cr_expect(ph_pool_is_taken(p, 9, &peer, now));
    cr_expect_eq(claim(p, 9, "192.0.2.1:9000", now), PH_E_STATE);
    cr_expect_not(ph_pool_is_taken(p, 7, &peer, now));
    cr_expect_not(ph_pool_is_taken(p, 11, &peer, now), "at another port there is another flow");
    cr_expect_eq(claim(p, 11, "192.0.2.1:9000", now), 0);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", later - 1), 7);

    cr_assert_eq(permit(p, 9, "192.0.2.1", later + PH_SEC(300)), 0);
    cr_expect_eq(claim(p, 9, "192.0.2.1:9000", later - 1), PH_E_STATE);
    cr_expect_not(ph_pool_is_taken(p, 9, &peer, later));
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", later), 9, "the only one left");
    cr_expect_eq(claim(p, 9, "192.0.2.1:9000", later), 0, "taken over");
    cr_assert_eq(permit(p, 7, "192.0.2.1", later + PH_SEC(300)), 0);
    cr_expect_eq(claim(p, 7, "192.0.2.1:9000", later), PH_E_STATE, "and gone for who came back");
    ph_pool_free(p);
}

Test(turn_pool, a_flow_that_nobody_wanted_meanwhile_comes_back_with_its_permission)
{
    struct ph_pool *p = pool_new();

    settle(p, 7, 0);
    cr_assert_eq(claim(p, 7, "192.0.2.1:9000", now), 0);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", later), PH_POOL_NOBODY);
    cr_assert_eq(permit(p, 7, "192.0.2.1", later + PH_SEC(300)), 0);
    settle(p, 9, 0);
    cr_assert_eq(permit(p, 9, "192.0.2.1", later + PH_SEC(300)), 0);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", later), 7);
    ph_pool_free(p);
}

Test(turn_pool, without_a_permission_there_is_no_flow)
{
    struct ph_pool *p = pool_new();

    settle(p, 7, 0);
    cr_expect_eq(claim(p, 7, "192.0.2.3:9000", now), PH_E_MISSING);
    cr_expect_eq(claim(p, 8, "192.0.2.1:9000", now), PH_E_MISSING, "nobody of this number");
    cr_expect_eq(claim(p, 7, "192.0.2.1:9000", later), PH_E_MISSING, "it has ended");
    cr_assert_eq(permit(p, 7, "192.0.2.1", now), 0);
    cr_expect_eq(claim(p, 7, "192.0.2.1:9000", now), PH_E_MISSING, "it was ended");
    cr_expect_eq(permit(p, 99, "192.0.2.1", later), 0, "nobody of this number");
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), PH_POOL_NOBODY);
    ph_pool_free(p);
}

Test(turn_pool, what_comes_unasked_goes_to_the_only_one_who_permits_it_and_stays_his)
{
    struct ph_pool *p = pool_new();

    settle(p, 7, 0);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), 7);
    settle(p, 9, 0);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), 7, "the other one came later");
    cr_expect_eq(claim(p, 9, "192.0.2.1:9000", now), PH_E_STATE, "and cannot take it away");
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9001", now), PH_POOL_SEVERAL);
    ph_pool_leave(p, 7);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), 9);
    ph_pool_free(p);
}

/* Renewed in any order, ended early, restored with whatever was left. */
Test(turn_pool, the_only_permission_that_lasts_is_found_whatever_came_before)
{
    enum { MANY = 40 };
    struct ph_pool *p = pool_new();
    ph_ns until[MANY];

    for (uint32_t member = 0; member < MANY; member++)
        cr_assert_eq(ph_pool_join(p, member, 0), 0);
    for (int round = 0; round < 300; round++) {
        unsigned live = 0;
        uint32_t who = PH_POOL_NOBODY, want;
        char peer[32];
        for (uint32_t member = 0; member < MANY; member++) {
            uint32_t r = ph_env_below(&env, 60);
            until[member] = r < 2 ? now + 1 + r : now - r;
            cr_assert_eq(
                permit(p, (member * 7 + (uint32_t)round) % MANY, "192.0.2.1", until[member]), 0);
            live += until[member] > now;
            who = until[member] > now ? (member * 7 + (uint32_t)round) % MANY : who;
        }
        want = live == 1 ? who : live ? PH_POOL_SEVERAL : PH_POOL_NOBODY;
        snprintf(peer, sizeof peer, "192.0.2.1:%d", 1000 + round);
        cr_assert_eq(receiver(p, 0, peer, now), want, "round %d, %u live", round, live);
    }
    ph_pool_free(p);
}

Test(turn_pool, families_do_not_mix)
{
    struct ph_pool *p = pool_new();

    cr_assert_eq(ph_pool_join(p, 1, 0), 0);
    cr_assert_eq(permit(p, 1, "::ffff:192.0.2.1", later), 0);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), PH_POOL_NOBODY);
    cr_expect_eq(receiver(p, 0, "[::ffff:192.0.2.1]:9000", now), 1);
    cr_expect_eq(claim(p, 1, "[::ffff:192.0.2.1]:9000", now), 0);
    ph_pool_free(p);
}

/* --- bounds -------------------------------------------------------------------------------------- */

Test(turn_pool, flows_are_bounded_and_the_longest_unused_one_goes)
{
    struct ph_pool *p = pool_new();
    char peer[32];

    settle(p, 7, 0);
    settle(p, 9, 0);
    for (int i = 0; i < FLOWS; i++) {
        snprintf(peer, sizeof peer, "192.0.2.%d:%d", 1 + i % 2, 9000 + i);
        cr_assert_eq(claim(p, 7, peer, now + i), 0);
    }
    cr_assert_eq(claim(p, 7, "192.0.2.1:9000", now + FLOWS), 0, "used again");
    cr_assert_eq(claim(p, 7, "192.0.2.1:9100", now + FLOWS), 0, "one too many");
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), 7);
    cr_expect_eq(receiver(p, 0, "192.0.2.2:9001", now), PH_POOL_SEVERAL, "given up");
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9002", now), 7);
    cr_expect_eq(claim(p, 9, "192.0.2.2:9001", now), 0, "somebody else may have it");
    ph_pool_free(p);
}

Test(turn_pool, what_strangers_send_drives_nothing_out_and_goes_first)
{
    struct ph_pool *p = pool_new();
    char peer[32];

    settle(p, 7, 0);
    cr_assert_eq(claim(p, 7, "192.0.2.1:9000", now - PH_SEC(100)), 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(peer, sizeof peer, "192.0.2.2:%d", 1000 + i);
        cr_assert_eq(receiver(p, 0, peer, now), 7);
    }
    settle(p, 9, 0);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), 7);
    cr_expect_eq(claim(p, 9, "192.0.2.2:1999", now), 0, "there was no room to keep it");
    for (int i = 0; i < FLOWS - 1; i++) {
        snprintf(peer, sizeof peer, "192.0.2.1:%d", 9001 + i);
        cr_assert_eq(claim(p, 7, peer, now), 0);
    }
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), 7, "his oldest, but his");
    cr_expect_eq(receiver(p, 0, "192.0.2.2:1000", now), PH_POOL_SEVERAL);
    ph_pool_free(p);
}

Test(turn_pool, permissions_are_bounded_and_ended_ones_make_room)
{
    struct ph_pool *p = pool_new();
    char ip[32];

    cr_assert_eq(ph_pool_join(p, 7, 0), 0);
    for (int i = 0; i < PERMISSIONS; i++) {
        snprintf(ip, sizeof ip, "192.0.2.%d", 1 + i);
        cr_assert_eq(permit(p, 7, ip, i == 2 ? now + 1 : later), 0);
    }
    cr_assert_eq(claim(p, 7, "192.0.2.3:9000", now), 0);
    cr_expect_eq(permit(p, 7, "192.0.2.9", later), PH_E_LIMIT);
    cr_expect_eq(permit(p, 7, "192.0.2.3", now), 0, "ended");
    cr_expect_eq(permit(p, 7, "192.0.2.9", later), 0);
    cr_expect_eq(receiver(p, 0, "192.0.2.3:9000", now), PH_POOL_NOBODY);
    cr_expect_eq(receiver(p, 0, "192.0.2.9:9000", now), 7);
    cr_expect_eq(receiver(p, 0, "192.0.2.4:9000", now), 7);
    ph_pool_free(p);
}

Test(turn_pool, who_leaves_leaves_nothing)
{
    struct ph_pool *p = pool_new();

    for (int i = 0; i < 100; i++) {
        settle(p, 7, 0);
        ph_pool_learn(p, 7, ph_str("seven"));
        cr_assert_eq(claim(p, 7, "192.0.2.1:9000", now), 0);
        ph_pool_leave(p, 7);
        ph_pool_leave(p, 7);
    }
    cr_expect_eq(ph_pool_members(p, 0), 0);
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), PH_POOL_NOBODY);
    settle(p, 8, 0);
    settle(p, 9, 0);
    cr_expect_eq(named(p, 0, "192.0.2.1:9000", "seven"), PH_POOL_NOBODY);
    cr_expect_eq(claim(p, 8, "192.0.2.1:9000", now), 0);
    ph_pool_leave(p, 12345678);
    ph_pool_free(p);
}

/* --- ICE ----------------------------------------------------------------------------------------- */

Test(turn_pool, a_check_goes_to_who_has_its_name)
{
    struct ph_pool *p = pool_new();

    settle(p, 7, 0);
    settle(p, 9, 0);
    ph_pool_learn(p, 7, ph_str("seven"));
    ph_pool_learn(p, 9, ph_str("nine"));
    cr_expect_eq(named(p, 0, "192.0.2.1:9000", "ten"), PH_POOL_NOBODY);
    cr_expect_eq(named(p, 0, "192.0.2.1:9000", "nine"), 9);
    cr_expect_eq(named(p, 0, "192.0.2.3:9000", "nine"), PH_POOL_NOBODY, "he does not permit it");
    cr_expect_eq(named(p, 1, "192.0.2.1:9000", "nine"), PH_POOL_NOBODY, "not at this port");
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9000", now), 9, "it is his flow now");
    cr_expect_eq(named(p, 0, "192.0.2.1:9000", "seven"), 9, "and a name does not take it away");
    cr_expect_eq(receiver(p, 0, "192.0.2.1:9001", now), PH_POOL_SEVERAL);
    ph_pool_free(p);
}

Test(turn_pool, the_last_two_names_are_known)
{
    struct ph_pool *p = pool_new();

    settle(p, 7, 0);
    settle(p, 9, 0);
    ph_pool_learn(p, 7, ph_str("a"));
    ph_pool_learn(p, 7, ph_str("b"));
    ph_pool_learn(p, 7, ph_str("a"));
    ph_pool_learn(p, 7, ph_str("c"));
    ph_pool_learn(p, 7, ph_str(""));
    cr_expect_eq(named(p, 0, "192.0.2.1:1", "a"), 7);
    cr_expect_eq(named(p, 0, "192.0.2.1:2", "b"), PH_POOL_NOBODY);
    cr_expect_eq(named(p, 0, "192.0.2.1:3", "c"), 7);
    ph_pool_learn(p, 9, ph_str("a"));
    cr_expect_eq(named(p, 0, "192.0.2.1:4", "a"), PH_POOL_SEVERAL,
                 "who has taken it is not believed");
    for (uint32_t member = 100; member < 400; member++) {
        settle(p, member, 0);
        ph_pool_learn(p, member, ph_str("everybody"));
    }
    cr_expect_eq(named(p, 0, "192.0.2.1:5", "everybody"), PH_POOL_SEVERAL);
    ph_pool_free(p);
}

/* --- inside the pool ------------------------------------------------------------------------------- */

static const char *const own[PORTS] = {"198.51.100.1:50000", "198.51.100.1:50001",
                                       "198.51.100.1:50002", "198.51.100.1:50003"};

static void live_at(struct ph_pool *p, uint32_t member, unsigned port)
{
    cr_assert_eq(ph_pool_join(p, member, port), 0);
    cr_assert_eq(permit(p, member, "198.51.100.1", later), 0);
}

static uint32_t hop_to(struct ph_pool *p, uint32_t member, unsigned from, unsigned to,
                       const char *name, ph_ns when)
{
    const struct ph_pool_hop h = {.member = member,
                                  .to = to,
                                  .peer = at(own[to]),
                                  .from = at(own[from]),
                                  .name = ph_str(name)};
    return ph_pool_across(p, &h, when);
}

Test(turn_pool, two_meet_at_two_ports_or_at_one)
{
    for (unsigned port = 0; port < 2; port++) {
        struct ph_pool *p = pool_new();
        live_at(p, 7, 0);
        cr_expect_eq(hop_to(p, 7, 0, port, NULL, now), port ? PH_POOL_NOBODY : 7,
                     "nobody else there: at his own port he hears himself");
        live_at(p, 9, port);
        cr_expect_eq(hop_to(p, 7, 0, port, NULL, now), 9);
        cr_expect_eq(hop_to(p, 9, port, 0, NULL, now), 7);
        cr_expect_eq(hop_to(p, 7, 0, port, NULL, later), PH_POOL_NOBODY, "no permission");
        ph_pool_free(p);
    }
}

Test(turn_pool, who_does_not_permit_the_sender_hears_nothing)
{
    struct ph_pool *p = pool_new();

    live_at(p, 7, 0);
    settle(p, 9, 1);
    cr_expect_eq(hop_to(p, 7, 0, 1, NULL, now), PH_POOL_NOBODY);
    cr_expect_eq(hop_to(p, 9, 1, 0, NULL, now), PH_POOL_NOBODY, "nor may he send");
    ph_pool_free(p);
}

Test(turn_pool, pairs_with_the_same_addresses_do_not_meet)
{
    struct ph_pool *p = pool_new();

    live_at(p, 1, 0);
    live_at(p, 2, 1);
    cr_assert_eq(hop_to(p, 1, 0, 1, NULL, now), 2);
    cr_assert_eq(hop_to(p, 2, 1, 0, NULL, now), 1);
    live_at(p, 11, 0);
    cr_expect_eq(hop_to(p, 11, 0, 1, NULL, now), PH_POOL_TAKEN, "a third one does not get in");
    live_at(p, 12, 1);
    cr_expect_eq(hop_to(p, 11, 0, 1, NULL, now), 12);
    cr_expect_eq(hop_to(p, 12, 1, 0, NULL, now), 11);
    cr_expect_eq(hop_to(p, 1, 0, 1, NULL, now), 2, "the first pair goes on");
    cr_expect_eq(hop_to(p, 2, 1, 0, NULL, now), 1);
    ph_pool_leave(p, 2);
    live_at(p, 2, 1);
    cr_expect_eq(hop_to(p, 1, 0, 1, NULL, now), 2, "the only free one");
    live_at(p, 3, 1);
    ph_pool_leave(p, 2);
    live_at(p, 2, 1);
    cr_expect_eq(hop_to(p, 1, 0, 1, NULL, now), PH_POOL_SEVERAL,
                 "another one with an old number is another one");
    ph_pool_free(p);
}

Test(turn_pool, names_bring_pairs_together_and_nobody_between_them)
{
    struct ph_pool *p = pool_new();

    for (uint32_t member = 1; member <= 4; member++)
        live_at(p, member, 0); /* all at one port: 1 calls 2, 3 calls 4 */
    ph_pool_learn(p, 1, ph_str("one"));
    cr_expect_eq(hop_to(p, 1, 0, 0, "two", now), PH_POOL_SEVERAL, "2 has not spoken yet");
    ph_pool_learn(p, 2, ph_str("two"));
    cr_expect_eq(hop_to(p, 2, 0, 0, "one", now), 1);
    cr_expect_eq(hop_to(p, 1, 0, 0, NULL, now), 2, "his answer");
    ph_pool_learn(p, 3, ph_str("three"));
    ph_pool_learn(p, 4, ph_str("four"));
    cr_expect_eq(hop_to(p, 3, 0, 0, "four", now), 4);
    cr_expect_eq(hop_to(p, 4, 0, 0, "three", now), 3);
    cr_expect_eq(hop_to(p, 1, 0, 0, NULL, now), 2);
    cr_expect_eq(hop_to(p, 2, 0, 0, NULL, now), 1);
    cr_expect_eq(hop_to(p, 3, 0, 0, "one", now), PH_POOL_TAKEN, "1 talks to 2");
    cr_expect_eq(hop_to(p, 3, 0, 0, NULL, now), 4);
    cr_expect_eq(hop_to(p, 2, 0, 0, NULL, now), 1);
    ph_pool_free(p);
}

/* Somebody was there first, and gets nothing of what two others have to say. */
Test(turn_pool, a_guess_gives_way_to_a_name)
{
    struct ph_pool *p = pool_new();

    live_at(p, 1, 0);
    live_at(p, 66, 1);
    ph_pool_learn(p, 1, ph_str("one"));
    cr_expect_eq(hop_to(p, 1, 0, 1, "two", now), 66, "the only one there");
    cr_expect_eq(hop_to(p, 66, 1, 0, NULL, now), 1);
    live_at(p, 2, 1);
    ph_pool_learn(p, 2, ph_str("two"));
    cr_expect_eq(hop_to(p, 1, 0, 1, "two", now), 2);
    cr_expect_eq(hop_to(p, 2, 1, 0, "one", now), 1);
    cr_expect_eq(hop_to(p, 1, 0, 1, NULL, now), 2);
    cr_expect_eq(hop_to(p, 66, 1, 0, NULL, now), PH_POOL_TAKEN);
    cr_expect_eq(hop_to(p, 66, 1, 0, "one", now), PH_POOL_TAKEN);
    ph_pool_free(p);
}

/* Who only sends to somebody keeps nobody away from him. */
Test(turn_pool, being_sent_to_is_no_conversation)
{
    struct ph_pool *p = pool_new();

    live_at(p, 66, 0);
    live_at(p, 2, 1);
    cr_expect_eq(hop_to(p, 66, 0, 1, NULL, now), 2);
    live_at(p, 1, 0);
    ph_pool_learn(p, 1, ph_str("one"));
    ph_pool_learn(p, 2, ph_str("two"));
    cr_expect_eq(hop_to(p, 1, 0, 1, "two", now), 2);
    cr_expect_eq(hop_to(p, 2, 1, 0, "one", now), 1, "his own check says with whom he speaks");
    cr_expect_eq(hop_to(p, 2, 1, 0, NULL, now), 1);
    cr_expect_eq(hop_to(p, 66, 0, 1, NULL, now), PH_POOL_TAKEN);
    ph_pool_free(p);
}

Test(turn_pool, many_at_one_port_are_not_all_looked_at)
{
    struct ph_pool *p = pool_new();

    for (uint32_t member = 0; member < 200; member += 2) {
        live_at(p, member, 0);
        live_at(p, member + 1, 0);
        ph_pool_learn(p, member, ph_str("x"));
        ph_pool_learn(p, member + 1, ph_str("y"));
    }
    cr_expect_eq(hop_to(p, 0, 0, 0, NULL, now), PH_POOL_SEVERAL);
    cr_expect_eq(hop_to(p, 0, 0, 0, "y", now), PH_POOL_SEVERAL);
    ph_pool_free(p);
}

Test(turn_pool, flows_inside_are_bounded_too)
{
    struct ph_pool *p = ph_pool_new(100, 4, 2, &env);
    char peer[32];

    live_at(p, 0, 0);
    for (uint32_t member = 1; member < 100; member++) {
        live_at(p, member, member);
        snprintf(peer, sizeof peer, "198.51.100.1:%u", 50000 + member);
        const struct ph_pool_hop to = {
            .member = 0, .to = member, .peer = at(peer), .from = at(own[0])};
        const struct ph_pool_hop fro = {
            .member = member, .to = 0, .peer = at(own[0]), .from = at(peer)};
        cr_assert_eq(ph_pool_across(p, &to, now + member), member);
        cr_assert_eq(ph_pool_across(p, &fro, now + member), 0);
    }
    cr_expect_eq(claim(p, 0, "198.51.100.1:1", now + 100), 0);
    ph_pool_free(p);
}

/* --- memory -------------------------------------------------------------------------------------- */

/* All there is to do, whatever fails. */
static void do_it_all(struct ph_pool *p)
{
    const struct ph_addr ip = at("192.0.2.1"), home = at("198.51.100.1");
    char peer[32];

    for (uint32_t member = 0; member < 80; member++) {
        if (ph_pool_join(p, member, member % PORTS))
            continue;
        ph_pool_permit(p, member, &ip, later, now);
        ph_pool_permit(p, member, &home, later, now);
        ph_pool_learn(p, member, ph_str(member % 2 ? "odd" : "even"));
        snprintf(peer, sizeof peer, "192.0.2.1:%u", 9000 + member);
        const struct ph_addr a = at(peer);
        ph_pool_claim(p, member, &a, now);
        ph_pool_receiver(p, member % PORTS, &ip, now);
        hop_to(p, member, member % PORTS, (member + 1) % PORTS, "odd", now);
    }
    for (uint32_t member = 0; member < 80; member += 3)
        ph_pool_leave(p, member);
}

Test(turn_pool, survives_running_out_of_memory)
{
    unsigned n = 1;
    bool failed = true;

    for (; failed && oom_works() && n < 2000; n++) {
        oom_fail_at(n);
        struct ph_pool *p = ph_pool_new(PORTS, PERMISSIONS, FLOWS, &env);
        if (p)
            do_it_all(p);
        failed = oom_disarm();
        if (!p)
            continue;
        for (uint32_t member = 0; member < 80; member++)
            ph_pool_leave(p, member);
        for (unsigned port = 0; port < PORTS; port++)
            cr_assert_eq(ph_pool_members(p, port), 0);
        cr_assert_eq(receiver(p, 0, "192.0.2.1:9000", now), PH_POOL_NOBODY);
        ph_pool_free(p);
    }
    cr_expect(!failed && n > 15, "%u", n);
}
