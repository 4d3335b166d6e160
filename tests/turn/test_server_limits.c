/*
 * What bounds one user and one session: allocations, bandwidth, new peers, the end of the credential.
 */
#include "support/oom.h"
#include "turn/rig.h"

#include <stdio.h>

static const char client_text[] = "203.0.113.9:40000";
static const char peer_text[] = "192.0.2.5:9";

enum { WALL = 1800000000 }; /* what rig_start says */

/* A session with a permission. */
static void join(struct rig *r, const struct ph_addr *c)
{
    cr_assert_eq(rig_allocate(r, c), 0);
    cr_assert_eq(rig_permit(r, c, peer_text), 0);
}

/* Bytes that pass at one instant, in packets of 500. */
static unsigned burst(struct rig *r, const struct ph_addr *c, bool to_client)
{
    uint8_t data[500] = {0};
    unsigned passed = 0;
    for (int i = 0; i < 100; i++)
        if ((to_client ? rig_peer(r, peer_text, data, sizeof data)
                       : rig_indicate(r, c, peer_text, data, sizeof data)) == PH_SEND)
            passed += sizeof data;
    return passed;
}

/* --- allocations --------------------------------------------------------------------------------- */

Test(turn_limits, quota_counts_the_id_of_rest_names)
{
    static const struct {
        const char *name;
        int code;
    } table[] = {
        {"1800000600:carol", 0},
        {"carol:1800000700", 0},
        {"1800000800:carol;max-bps=5000", 486}, /* it is carol again */
        {"1800000600:carol;user-quota=3", 0},   /* the secret says she may have more */
        {"1800000600:carol;user-quota=3", 486},
        {"1800000600:dave;user-quota=1", 0},
        {"1800000601:dave;user-quota=1", 486},
        {"1800000601:dave", 0},
        {"1800000601:dave", 486},
    };
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    ph_auth_add_secret(r->auth, ph_str("logen"));
    r->quota = ph_quota_new(0, 2, 64, &r->env);
    rig_start(r);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++, c.port++) {
        rig_rest(r, "logen", table[i].name);
        cr_expect_eq(rig_allocate(r, &c), table[i].code, "row %zu", i);
    }
    rig_free(r);
}

Test(turn_limits, static_users_have_their_own)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    ph_auth_limit_user(r->auth, ph_str("alice"), &(struct ph_auth_limits){.max_allocations = 1});
    r->quota = ph_quota_new(0, 0, 64, &r->env);
    rig_start(r);
    cr_expect_eq(rig_allocate(r, &c), 0);
    c.port++;
    cr_expect_eq(rig_allocate(r, &c), 486);
    cr_expect_eq(ph_turnd_stats(r->d)->quota, 1);
    r->user = "bob";
    r->pass = "hidden";
    for (int i = 0; i < 5; i++, c.port++)
        cr_expect_eq(rig_allocate(r, &c), 0);
    rig_free(r);
}

/* --- bandwidth ----------------------------------------------------------------------------------- */

Test(turn_limits, max_bps_holds_in_both_directions)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    struct ph_turnd_info info;
    uint32_t id = 0;

    r->c.live.max_bps = 5000;
    rig_start(r);
    join(r, &c);
    cr_expect_eq(burst(r, &c, false), 5000);
    cr_expect_eq(burst(r, &c, true), 5000);
    cr_expect_eq(ph_turnd_stats(r->d)->over_bps, 180);
    cr_assert(ph_turnd_list(r->d, &id, &info));
    cr_expect_eq(info.dropped, 180);
    cr_expect_eq(info.to_peer_bytes, 5000, "what was dropped was not relayed");
    r->now += PH_SEC(1) / 2;
    cr_expect_eq(burst(r, &c, false), 2500);
    cr_expect_eq(burst(r, &c, true), 2500);
    r->now += PH_SEC(60);
    cr_expect_eq(burst(r, &c, false), 5000, "no more than a second's worth");
    rig_free(r);
}

Test(turn_limits, channels_are_bounded_alike)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    uint8_t data[500] = {0};
    unsigned passed = 0;

    r->c.live.max_bps = 5000;
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_bind(r, &c, 0x4000, peer_text), 0);
    for (int i = 0; i < 30; i++)
        passed += rig_channel(r, &c, 0x4000, data, sizeof data) == PH_SEND;
    cr_expect_eq(passed, 10);
    for (int i = 0; i < 30; i++)
        passed += rig_peer(r, peer_text, data, sizeof data) == PH_SEND;
    cr_expect_eq(passed, 20);
    rig_free(r);
}

/* The user's own goes before all; else the smaller one of realm and server. */
Test(turn_limits, which_bound_on_bandwidth_holds)
{
    static const struct {
        uint64_t server, realm, user;
        unsigned passed;
    } table[] = {
        {0, 0, 0, 50000},       {5000, 0, 0, 5000},    {0, 4000, 0, 4000},
        {5000, 4000, 0, 4000},  {5000, 6000, 0, 5000}, {5000, 4000, 8000, 8000},
        {5000, 4000, 500, 500}, {0, 0, 2000, 2000},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rig *r = rig_new();
        struct ph_addr c = rig_addr(client_text);
        struct ph_auth *other = ph_auth_new("other.example", &r->env);
        ph_auth_add_user(other, ph_str("alice"), ph_str("secret"));
        ph_auth_limit_user(other, ph_str("alice"),
                           &(struct ph_auth_limits){.max_bps = table[i].user});
        r->c.live.max_bps = table[i].server;
        r->c.live.realm[0] =
            (struct ph_turnd_realm){.auth = other, .max_bps = table[i].realm, .origin = "x:"};
        r->c.live.n_realms = 1;
        rig_start(r);
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_raw(&r->w, 0x802F, ph_str("x:"));
        rig_send(r, &c);
        rig_take_nonce(r);
        r->realm = "other.example";
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        rig_send_signed(r, &c);
        cr_assert_eq(rig_code(r), 0);
        cr_assert_eq(rig_permit(r, &c, peer_text), 0);
        cr_expect_eq(burst(r, &c, false), table[i].passed, "row %zu", i);
        rig_free(r);
        ph_auth_free(other);
    }
}

Test(turn_limits, rest_names_bring_theirs)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    ph_auth_add_secret(r->auth, ph_str("logen"));
    r->c.live.max_bps = 5000;
    rig_start(r);
    rig_rest(r, "logen", "1800000600:carol;max-bps=7000");
    join(r, &c);
    cr_expect_eq(burst(r, &c, false), 7000);
    c.port++;
    rig_rest(r, "logen", "1800000600:carol;max-bps=0");
    join(r, &c);
    cr_expect_eq(burst(r, &c, false), 5000, "nought says nothing");
    rig_free(r);
}

Test(turn_limits, capacity_is_shared)
{
    struct rig *r = rig_new();
    struct ph_addr a = rig_addr(client_text), b = rig_addr("203.0.113.10:40000");
    uint8_t data[1000] = {0};
    unsigned passed[2] = {0};

    r->c.bps = ph_bps_new(100000);
    rig_start(r);
    join(r, &a);
    join(r, &b);
    for (int i = 0; i < 5000; i++, r->now += PH_MS(1)) {
        bool counts = i >= 1000;
        passed[0] += rig_indicate(r, &a, peer_text, data, 1000) == PH_SEND && counts;
        if (i % 100 == 0) /* 10 kB a second */
            passed[1] += rig_indicate(r, &b, peer_text, data, 1000) == PH_SEND && counts;
    }
    cr_expect_eq(passed[1], 40, "the light one has all it wants");
    cr_expect(passed[0] >= 342 && passed[0] <= 380, "%u: what is left is the other's", passed[0]);
    ph_turnd_free(r->d);
    r->core[0] = NULL;
    ph_bps_free(r->c.bps);
    rig_free(r);
}

/* --- new peers ----------------------------------------------------------------------------------- */

static struct rig *with_peers(uint32_t at_once, uint32_t a_second, struct ph_addr *c)
{
    struct rig *r = rig_new();
    *c = rig_addr(client_text);
    r->c.live.new_peers_burst = at_once;
    r->c.live.new_peers_rate = a_second;
    rig_start(r);
    cr_assert_eq(rig_allocate(r, c), 0);
    return r;
}

static int permit_nth(struct rig *r, const struct ph_addr *c, int n)
{
    char peer[32];
    snprintf(peer, sizeof peer, "192.0.2.%d:9", n);
    return rig_permit(r, c, peer);
}

Test(turn_limits, new_peers_come_at_a_rate)
{
    struct ph_addr c;
    struct rig *r = with_peers(3, 2, &c);

    for (int i = 1; i <= 5; i++)
        cr_expect_eq(permit_nth(r, &c, i), i <= 3 ? 0 : 508);
    cr_expect_eq(ph_turnd_stats(r->d)->over_peers, 2);
    for (int i = 1; i <= 3; i++)
        cr_expect_eq(permit_nth(r, &c, i), 0, "refreshing costs nothing");
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.4:9", "x", 1), PH_DROP);
    r->now += PH_SEC(1) / 2 - 1;
    cr_expect_eq(permit_nth(r, &c, 4), 508);
    r->now += PH_US(1);
    cr_expect_eq(permit_nth(r, &c, 4), 0);
    cr_expect_eq(permit_nth(r, &c, 5), 508);
    r->now += PH_SEC(100);
    for (int i = 5; i <= 9; i++)
        cr_expect_eq(permit_nth(r, &c, i), i <= 7 ? 0 : 508, "no more than the burst");
    rig_free(r);
}

Test(turn_limits, channels_are_new_peers_too)
{
    struct ph_addr c;
    struct rig *r = with_peers(1, 1, &c);

    cr_expect_eq(rig_bind(r, &c, 0x4000, "192.0.2.1:9"), 0);
    cr_expect_eq(rig_bind(r, &c, 0x4001, "192.0.2.1:10"), 0, "another port of the same");
    cr_expect_eq(rig_bind(r, &c, 0x4000, "192.0.2.1:9"), 0, "a refresh");
    cr_expect_eq(rig_bind(r, &c, 0x4002, "192.0.2.2:9"), 508);
    cr_expect_eq(rig_channel(r, &c, 0x4002, "x", 1), PH_DROP);
    r->now += PH_SEC(1);
    cr_expect_eq(rig_bind(r, &c, 0x4002, "192.0.2.2:9"), 0);
    rig_free(r);
}

Test(turn_limits, several_new_peers_are_all_or_nothing)
{
    struct ph_addr c, one = rig_addr("192.0.2.1:9"), two = rig_addr("192.0.2.2:9");
    struct rig *r = with_peers(1, 1, &c);

    rig_begin(r, PH_CREATE_PERMISSION);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &one);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &two);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 508);
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.1:9", "x", 1), PH_DROP);
    rig_begin(r, PH_CREATE_PERMISSION); /* the same one twice is one */
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &one);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &one);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 0);
    rig_free(r);
}

Test(turn_limits, each_allocation_has_its_own_new_peers)
{
    struct ph_addr c;
    struct rig *r = with_peers(1, 1, &c);

    cr_expect_eq(permit_nth(r, &c, 1), 0);
    c.port++;
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(permit_nth(r, &c, 2), 0);
    cr_expect_eq(permit_nth(r, &c, 3), 508);
    rig_free(r);
}

/* --- the end of a credential --------------------------------------------------------------------- */

static struct rig *with_rest(bool strict, const char *name)
{
    struct rig *r = rig_new();
    ph_auth_add_secret(r->auth, ph_str("logen"));
    r->c.live.strict_expiry = strict;
    rig_start(r);
    rig_rest(r, "logen", name);
    return r;
}

Test(turn_limits, strict_expiry_ends_a_session_with_its_credential)
{
    struct rig *r = with_rest(true, "1800000100:carol");
    struct ph_addr c = rig_addr(client_text);
    uint64_t lifetime = 0;

    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_LIFETIME, 600), 0);
    ph_msg_uint(&r->out, PH_IX_LIFETIME, &lifetime);
    cr_expect_eq(lifetime, 100, "and the client is told");
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(100));
    rig_sleep(r, PH_SEC(60));
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    ph_msg_uint(&r->out, PH_IX_LIFETIME, &lifetime);
    cr_expect_eq(lifetime, 40);
    rig_sleep(r, PH_SEC(40) - 1);
    cr_expect_eq(r->downs, 0);
    rig_sleep(r, 1);
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(r->reason, PH_END_CREDENTIAL);
    rig_free(r);
}

/* The wall clock is told about once a second, and not at the instant of a request. */
Test(turn_limits, strict_expiry_counts_seconds_of_the_wall_clock)
{
    struct rig *r = with_rest(true, "1800000100:carol");
    struct ph_addr c = rig_addr(client_text);

    ph_turnd_wall_clock(r->d, WALL + 10, r->now);
    r->now += PH_MS(700);
    ph_turnd_wall_clock(r->d, WALL + 11, r->now);
    r->now += PH_MS(1250);
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_LIFETIME, 600), 0);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now - PH_MS(1250) + PH_SEC(89));
    rig_free(r);
}

Test(turn_limits, strict_expiry_leaves_others_alone)
{
    struct rig *r = with_rest(true, "1800100000:carol");
    struct ph_addr c = rig_addr(client_text);

    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_LIFETIME, 600), 0);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(600));
    c.port++;
    rig_rest(r, "logen", "99999999999999999999:carol");
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_LIFETIME, 600), 0);
    r->user = "alice";
    r->pass = "secret";
    c.port++;
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_LIFETIME, 600), 0);
    rig_sleep(r, PH_SEC(600));
    cr_expect_eq(r->downs, 3);
    cr_expect_eq(r->reason, PH_END_EXPIRED);
    rig_free(r);
}

/* coturn's habit: a credential is for coming in. */
Test(turn_limits, without_strict_expiry_a_session_outlives_its_credential)
{
    struct rig *r = with_rest(false, "1800000100:carol");
    struct ph_addr c = rig_addr(client_text);

    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_LIFETIME, 600), 0);
    rig_sleep(r, PH_SEC(200));
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    cr_expect_eq(rig_permit(r, &c, peer_text), 0);
    ph_turnd_reload(r->d, &r->c.live, r->now);
    cr_expect_eq(rig_refresh(r, &c, 600), 0, "and a reload");
    c.port++;
    cr_expect_eq(rig_allocate(r, &c), 401, "but it opens no door");
    rig_free(r);
}

Test(turn_limits, static_users_can_end_too)
{
    for (int strict = 0; strict < 2; strict++) {
        struct rig *r = rig_new();
        struct ph_addr c = rig_addr(client_text);
        ph_auth_limit_user(r->auth, ph_str("alice"),
                           &(struct ph_auth_limits){.expires_unix_s = WALL + 50});
        r->c.live.strict_expiry = strict;
        rig_start(r);
        cr_assert_eq(rig_allocate(r, &c), 0);
        rig_sleep(r, PH_SEC(51));
        cr_expect_eq(r->downs, (unsigned)strict);
        c.port++;
        cr_expect_eq(rig_allocate(r, &c), 401);
        rig_free(r);
    }
}

/* --- want of memory ------------------------------------------------------------------------------ */

Test(turn_limits, survives_want_of_memory)
{
    for (unsigned n = 1; oom_works(); n++) {
        struct rig *r = rig_new();
        struct ph_addr c = rig_addr(client_text);
        r->c.live.max_bps = 5000;
        r->quota = ph_quota_new(0, 1, 64, &r->env);
        rig_start(r);
        rig_challenge(r, &c);
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        rig_sign(r);
        oom_fail_at(n);
        rig_send(r, &c);
        bool failed = oom_disarm();
        cr_expect_eq(rig_code(r), failed ? 508 : 0, "allocation %u", n);
        cr_expect_eq(ph_quota_used(r->quota), !failed);
        cr_expect_eq(ph_ports_used(r->ports[0]), !failed);
        rig_free(r);
        if (!failed)
            break;
    }
}
