/*
 * A user's bound on bandwidth, shared by nodes that tell each other what he wants (turn/fleet_bps.h).
 */
#include "turn/fleet_bps.h"

#include "stun/uv/env.h"

#include <criterion/criterion.h>
#include <string.h>

enum { BOUND = 100000, PACKET = 1000, NODES = 3 };

struct node {
    struct ph_fleet *f;
    struct ph_userbps *u;
    struct ph_userbps_session s;
    unsigned wants;  /* packets in 100 ms */
    uint64_t passed; /* bytes, since it was set to 0 */
};

static struct node node[NODES];
static const char *const NAME[NODES] = {"a", "b", "c"};
static struct ph_env env;
static ph_ns now;
static bool apart; /* nobody hears anybody */

static void setup(void)
{
    env = ph_env_system(NULL);
    now = PH_SEC(1000);
    for (unsigned i = 0; i < NODES; i++) {
        struct ph_fleet_conf c = {0};
        strcpy(c.node, NAME[i]);
        node[i].f = ph_fleet_new(&c, &env);
        node[i].u = ph_userbps_new(BOUND, 0, &env);
        cr_assert_eq(ph_userbps_join(node[i].u, &node[i].s, ph_str("r"), ph_str("alice"), now), 0);
    }
}

static void teardown(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        ph_userbps_leave(&node[i].s);
        ph_userbps_free(node[i].u);
        ph_fleet_free(node[i].f);
    }
}

TestSuite(fleet_bps, .init = setup, .fini = teardown);

static void act(struct node *n)
{
    struct ph_fleet_ev ev;

    ph_fleet_tick(n->f, now);
    while (ph_fleet_event(n->f, &ev))
        if (ev.type == PH_FLEET_RATES)
            ph_fleet_bps_heard(n->u, &ev);
}

/* What a node does once a second. */
static void beat(unsigned i)
{
    struct ph_userbps_demand d;
    char text[PH_FLEET_TEXT];

    for (uint32_t at = 0; ph_userbps_each(node[i].u, &at, &d, now);)
        ph_fleet_bps(node[i].f, node[i].u, &d, now);
    for (unsigned k = 0; k < NODES && !apart; k++)
        ph_fleet_heard(node[k].f, ph_str(NAME[i]), ph_str("1 state=serving"), 0, now);
    while (ph_fleet_note(node[i].f, text))
        for (unsigned k = 0; k < NODES && !apart; k++)
            ph_fleet_take(node[k].f, ph_str(NAME[i]), ph_str(text), now);
    for (unsigned k = 0; k < NODES; k++)
        act(&node[k]);
}

/* Each node beats at another time. */
static void run(unsigned seconds)
{
    for (unsigned t = 0; t < seconds * 10; t++, now += PH_MS(100)) {
        for (unsigned i = 0; i < NODES; i++) {
            for (unsigned k = 0; k < node[i].wants; k++)
                if (ph_userbps_take(&node[i].s, PH_BPS_FROM_CLIENT, PACKET, now))
                    node[i].passed += PACKET;
            if (t % 10 == 3 * i)
                beat(i);
        }
    }
}

/* Bytes a second that pass in the next seconds; passed: by node. */
static uint64_t measure(unsigned seconds)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < NODES; i++)
        node[i].passed = 0;
    run(seconds);
    for (unsigned i = 0; i < NODES; i++) {
        node[i].passed /= seconds;
        sum += node[i].passed;
    }
    return sum;
}

#define NEAR(v, want)                                                                              \
    cr_expect((v) >= (want)*9 / 10 && (v) <= (want)*11 / 10, "%llu instead of %llu",               \
              (unsigned long long)(v), (unsigned long long)(want))

Test(fleet_bps, who_is_on_one_node_has_all_of_it)
{
    node[0].wants = 30;
    run(3);
    const uint64_t sum = measure(4);
    NEAR(sum, BOUND);
}

Test(fleet_bps, who_is_on_three_nodes_gets_no_more)
{
    for (unsigned i = 0; i < NODES; i++)
        node[i].wants = 10; /* his bound on each */
    run(3);
    const uint64_t sum = measure(6);
    NEAR(sum, BOUND);
    for (unsigned i = 0; i < NODES; i++)
        NEAR(node[i].passed, BOUND / NODES);
}

Test(fleet_bps, more_goes_where_more_is_wanted)
{
    node[0].wants = 30;
    node[1].wants = 10;
    run(3);
    const uint64_t sum = measure(6);
    NEAR(sum, BOUND);
    NEAR(node[0].passed, BOUND * 3 / 4);
    NEAR(node[1].passed, BOUND / 4);
}

Test(fleet_bps, when_others_fall_silent_all_of_it_is_ours_again)
{
    node[0].wants = node[1].wants = 20;
    run(4);
    node[1].wants = 0;
    run(5);
    const uint64_t sum = measure(4);
    NEAR(sum, BOUND);
    node[1].wants = 20; /* and he may begin anew */
    node[0].wants = 0;
    run(6);
    NEAR(measure(4), BOUND);
}

Test(fleet_bps, who_hears_nothing_of_the_others_gives_all_of_it)
{
    node[0].wants = node[1].wants = 20;
    run(4);
    apart = true;
    run(6);
    (void)measure(4);
    NEAR(node[0].passed, BOUND);
    NEAR(node[1].passed, BOUND);
}

Test(fleet_bps, little_is_not_told)
{
    char text[PH_FLEET_TEXT];
    struct ph_userbps_demand d = {.realm = "r", .realm_n = 1, .user = "u", .user_n = 1};

    d.wanted[PH_BPS_TO_CLIENT] = BOUND / 4 - 1;
    ph_fleet_bps(node[0].f, node[0].u, &d, now);
    cr_expect_eq(ph_fleet_note(node[0].f, text), 0);
    d.wanted[PH_BPS_TO_CLIENT]++;
    ph_fleet_bps(node[0].f, node[0].u, &d, now);
    cr_assert_gt(ph_fleet_note(node[0].f, text), 0);
    cr_expect_str_eq(text, "rate r u 0 25000");
    ph_userbps_set_bound(node[0].u, 0);
    ph_fleet_bps(node[0].f, node[0].u, &d, now);
    cr_expect_eq(ph_fleet_note(node[0].f, text), 0, "no bound, nothing to share");
}
