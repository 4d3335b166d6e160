/*
 * A user's bound in the server core: which sessions share it, and when it begins and ends.
 */
#include "support/oom.h"
#include "turn/rig.h"
#include "turn/userbps.h"

#include <stdio.h>

static const char peer_text[] = "192.0.2.7:9000";

enum { BOUND = 10000, PACKET = 1000 };

static struct ph_userbps *table;

static struct rig *bounded(uint64_t bound)
{
    struct rig *r = rig_new();
    table = ph_userbps_new(bound, 0, &r->env);
    cr_assert_not_null(table);
    r->c.userbps = table;
    r->c.nonce.ttl_s = 36000;
    rig_start(r);
    return r;
}

static void done(struct rig *r)
{
    rig_free(r);
    ph_userbps_free(table);
}

static struct ph_addr client(unsigned i)
{
    char text[32];
    snprintf(text, sizeof text, "203.0.113.%u:40000", i);
    return rig_addr(text);
}

static void connect_as(struct rig *r, const char *user, const char *pass, const struct ph_addr *c)
{
    r->user = user;
    r->pass = pass;
    cr_assert_eq(rig_allocate(r, c), 0);
    cr_assert_eq(rig_bind(r, c, 0x4000, peer_text), 0);
}

/* How many packets in a row pass. */
static unsigned passes(struct rig *r, const struct ph_addr *c)
{
    static const uint8_t data[PACKET];
    unsigned n = 0;
    while (n < 1000 && rig_channel(r, c, 0x4000, data, sizeof data) == PH_SEND)
        n++;
    return n;
}

static unsigned passes_back(struct rig *r)
{
    static const uint8_t data[PACKET];
    unsigned n = 0;
    while (n < 1000 && rig_peer(r, peer_text, data, sizeof data) == PH_SEND)
        n++;
    return n;
}

Test(turn_server_userbps, sessions_of_one_user_share_it)
{
    struct ph_addr a = client(1), b = client(2), c = client(3);
    struct rig *r = bounded(BOUND);

    connect_as(r, "alice", "secret", &a);
    connect_as(r, "alice", "secret", &b);
    cr_expect_eq(passes(r, &a), 10);
    cr_expect_eq(passes(r, &b), 0);
    cr_expect_eq(ph_turnd_stats(r->d)->over_bps, 2);
    cr_expect_eq(passes_back(r), 10, "each direction on its own");
    connect_as(r, "bob", "hidden", &c);
    cr_expect_eq(passes(r, &c), 10);
    r->now += PH_SEC(1);
    cr_expect_eq(passes(r, &b), 10);
    cr_expect_eq(passes(r, &a), 0);
    done(r);
}

Test(turn_server_userbps, names_of_the_rest_api_are_one_user)
{
    struct ph_addr a = client(1), b = client(2), c = client(3);
    struct rig *r = bounded(BOUND);

    ph_auth_add_secret(r->auth, ph_str("north"));
    rig_rest(r, "north", "1800000600:bob");
    connect_as(r, r->user, r->pass, &a);
    rig_rest(r, "north", "1800000700:bob");
    connect_as(r, r->user, r->pass, &b);
    rig_rest(r, "north", "1800000700:carol");
    connect_as(r, r->user, r->pass, &c);
    cr_expect_eq(passes(r, &a), 10);
    cr_expect_eq(passes(r, &b), 0);
    cr_expect_eq(passes(r, &c), 10);
    done(r);
}

Test(turn_server_userbps, another_worker_has_the_same_bound)
{
    struct ph_addr a = client(1), b = client(2);
    struct rig *r = bounded(BOUND);

    connect_as(r, "alice", "secret", &a);
    cr_expect_eq(passes(r, &a), 10);
    rig_other(r);
    connect_as(r, "alice", "secret", &b);
    cr_expect_eq(passes(r, &b), 0);
    done(r);
}

Test(turn_server_userbps, it_goes_before_a_larger_bound_of_the_session_and_after_a_smaller_one)
{
    for (unsigned larger = 0; larger < 2; larger++) {
        struct ph_addr a = client(1), b = client(2);
        struct rig *r = rig_new();
        table = ph_userbps_new(BOUND, 0, &r->env);
        r->c.userbps = table;
        r->c.live.max_bps = larger ? 10 * BOUND : BOUND / 2;
        rig_start(r);
        connect_as(r, "alice", "secret", &a);
        connect_as(r, "alice", "secret", &b);
        cr_expect_eq(passes(r, &a), larger ? 10 : 5);
        cr_expect_eq(passes(r, &b), larger ? 0 : 5, "what a session's own bound refuses is left");
        cr_expect_eq(passes(r, &b), 0);
        done(r);
    }
}

Test(turn_server_userbps, a_reload_brings_and_takes_it)
{
    struct ph_addr a = client(1);
    struct rig *r = bounded(0);

    connect_as(r, "alice", "secret", &a);
    cr_expect_eq(passes(r, &a), 1000);
    ph_userbps_set_bound(table, BOUND);
    ph_turnd_reload(r->d, &r->c.live, r->now);
    cr_expect_eq(passes(r, &a), 10, "one that stands already");
    ph_userbps_set_bound(table, 0);
    ph_turnd_reload(r->d, &r->c.live, r->now);
    cr_expect_eq(passes(r, &a), 1000);
    done(r);
}

Test(turn_server_userbps, without_credentials_nobody_is_a_user)
{
    struct ph_addr a = client(1);
    struct rig *r = rig_new();
    uint8_t data[PACKET] = {0};

    table = ph_userbps_new(BOUND, 0, &r->env);
    r->c.userbps = table;
    r->c.live.auth = NULL;
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &a), 0);
    struct ph_addr peer = rig_addr(peer_text);
    rig_begin(r, PH_CREATE_PERMISSION);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    rig_send(r, &a);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(rig_indicate(r, &a, peer_text, data, sizeof data), PH_SEND);
    done(r);
}

Test(turn_server_userbps, tcp_relays_are_held_back_not_dropped)
{
    struct ph_addr c = rig_addr_on("203.0.113.1:40000", PH_TCP),
                   peer = rig_addr_on(peer_text, PH_TCP);
    struct ph_addr data = rig_addr_on("203.0.113.1:40001", PH_TCP);
    struct rig *r = bounded(BOUND);
    uint32_t id, passed = 0;

    rig_challenge(r, &c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_TCP);
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    cr_assert_eq(ph_turnd_peer_accepted(r->d, r->opened_sock[0], &peer, &id, r->now), 0);
    rig_take(r);
    rig_begin(r, PH_CONNECTION_BIND);
    ph_msgw_uint(&r->w, PH_ATTR_CONNECTION_ID, id);
    rig_send_signed(r, &data);
    cr_assert_eq(rig_code(r), 0);
    for (unsigned i = 0; i < 100; i++)
        passed += ph_turnd_peer_bytes(r->d, id, PH_BPS_FROM_CLIENT, 4096, r->now);
    cr_expect(passed > BOUND - 10 && passed <= BOUND, "%u", passed);
    cr_expect_eq(ph_turnd_stats(r->d)->over_bps, 0);
    r->now += PH_MS(500);
    cr_expect_eq(ph_turnd_peer_bytes(r->d, id, PH_BPS_FROM_CLIENT, 4096, r->now), 4096);
    done(r);
}

Test(turn_server_userbps, ends_with_the_session_and_moves_with_it)
{
    struct ph_addr a = client(1), next = client(2);
    struct rig *r = rig_new();
    struct ph_slice ticket;
    struct ph_turnd_where where;
    uint32_t sock[2];

    table = ph_userbps_new(BOUND, 1, &r->env); /* room for one user */
    r->c.userbps = table;
    r->c.mobility = true;
    rig_start(r);
    rig_challenge(r, &a);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){NULL, 0});
    rig_send_signed(r, &a);
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_MOBILITY_TICKET, &ticket), 0);
    memcpy(r->ticket, ticket.p, sizeof r->ticket);
    cr_assert_eq(rig_bind(r, &a, 0x4000, peer_text), 0);
    cr_expect_eq(passes(r, &a), 10);

    rig_other(r);
    rig_challenge(r, &next);
    rig_begin(r, PH_REFRESH);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){r->ticket, sizeof r->ticket});
    rig_send_signed(r, &next);
    cr_assert_eq(r->verdict, PH_ELSEWHERE);
    ph_turnd_elsewhere(r->d, &where);
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where, sock, r->now);
    cr_assert_not_null(m);
    cr_assert_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
    rig_input(r, 0, &next, r->req, (size_t)ph_msgw_end(&r->w));
    cr_assert_eq(rig_code(r), 0);
    cr_expect_eq(passes(r, &next), 0);

    /* Another user finds no room until this one is gone and forgotten. */
    struct ph_addr b = client(3);
    r->user = "bob";
    r->pass = "hidden";
    cr_expect_eq(rig_allocate(r, &b), 508);
    r->user = "alice";
    r->pass = "secret";
    rig_challenge(r, &next); /* a nonce for this address */
    cr_expect_eq(rig_refresh(r, &next, 0), 0);
    r->now += PH_SEC(2);
    connect_as(r, "bob", "hidden", &b);
    cr_expect_eq(passes(r, &b), 10);
    done(r);
}

Test(turn_server_userbps, without_memory_there_is_no_allocation)
{
    struct ph_addr a = client(1);
    struct rig *r = bounded(BOUND);
    unsigned n = 0;
    bool failed;

    rig_challenge(r, &a);
    do {
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        oom_fail_at(++n);
        rig_send_signed(r, &a);
        failed = oom_disarm();
        cr_assert_eq(rig_code(r), failed ? 508 : 0, "allocation %u", n);
    } while (failed);
    done(r);
}
