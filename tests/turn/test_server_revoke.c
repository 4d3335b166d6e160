/*
 * Users that are thrown out while the server runs.
 */
#include "turn/rig.h"

static const char client_text[] = "203.0.113.9:40000";

Test(turn_revoke, ends_all_sessions_of_a_name_or_id)
{
    static const char *const names[] = {"1800000600:carol", "1800000700:carol", "carol:1800000800",
                                        "1800000600:dave", "1800000600:carol;max-bps=900000"};
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    ph_auth_add_secret(r->auth, ph_str("logen"));
    rig_start(r);
    for (size_t i = 0; i < 5; i++, c.port++) {
        rig_rest(r, "logen", names[i]);
        cr_assert_eq(rig_allocate(r, &c), 0);
    }
    cr_expect_eq(ph_turnd_revoke(r->d, ph_str("other.example"), ph_str("carol"), r->now), 0);
    cr_expect_eq(ph_turnd_revoke(r->d, ph_str(rig_realm), ph_str("car"), r->now), 0);
    cr_expect_eq(ph_turnd_revoke(r->d, ph_str(rig_realm), ph_str(""), r->now), 0);
    cr_expect_eq(ph_turnd_revoke(r->d, ph_str(rig_realm), ph_str(names[1]), r->now), 1, "a name");
    cr_expect_eq(ph_turnd_revoke(r->d, ph_str(""), ph_str("carol"), r->now), 3, "an id");
    cr_expect_eq(ph_turnd_revoke(r->d, ph_str(""), ph_str("carol"), r->now), 0);
    rig_drain(r);
    cr_expect_eq(r->downs, 4);
    cr_expect_eq(r->reason, PH_END_REVOKED);
    cr_expect_eq(r->closes, 4);
    cr_expect_eq(ph_turnd_count(r->d), 1);
    cr_expect_eq(rig_refresh(r, &c, 0), 437);
    rig_free(r);
}

Test(turn_revoke, an_allocation_under_way_fails)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    r->hold_opens = true;
    rig_challenge(r, &c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send_signed(r, &c);
    cr_expect_eq(ph_turnd_revoke(r->d, ph_str(rig_realm), ph_str("alice"), r->now), 1);
    ph_turnd_relay_opened(r->d, r->held_sock, 0, r->now);
    cr_expect(rig_take(r));
    cr_expect_eq(rig_code(r), 500);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    rig_free(r);
}
