/*
 * Allocations that outlive the core: saved by one, restored by the next; the client notices nothing.
 */
#include "support/oom.h"
#include "turn/restore_kit.h"
#include "turn/token.h"

static const char client_text[] = "203.0.113.9:40000";
static const char peer_text[] = "192.0.2.7:9000";

/* A client with a channel to one peer and a permission for another one. */
static struct rig *with_client(struct rig *r, const struct ph_addr *c)
{
    rig_start(r);
    cr_assert_eq(rig_allocate(r, c), 0);
    cr_assert_eq(rig_bind(r, c, 0x4001, peer_text), 0);
    cr_assert_eq(rig_permit(r, c, "192.0.2.8:1"), 0);
    return r;
}

static struct rig *plain_rig(void)
{
    struct rig *r = rig_new();
    r->c.nonce.ttl_s = 36000;
    return r;
}

static bool reaches_client(struct rig *r, const struct ph_addr *c)
{
    return rig_peer(r, peer_text, "in", 2) == PH_SEND && ph_addr_eq(&r->pkt.dst, c);
}

/* --- what goes on ---------------------------------------------------------------------------------- */

Test(turn_restore, relaying_goes_on_both_ways)
{
    struct ph_addr c = rig_addr(client_text), peer = rig_addr(peer_text);
    struct rig *r = with_client(plain_rig(), &c);
    const struct ph_addr relay = kit_info(r).relay[0];
    const unsigned outputs = r->outputs;
    uint16_t len;

    kit_restart(r);
    cr_expect_eq(r->outputs, outputs, "nobody is answered");
    cr_expect_eq(r->ups, 2);
    cr_expect_eq(r->downs, 0);
    cr_expect(ph_addr_eq_endpoint(&r->opened_at, &relay), "the very same port");
    cr_assert_eq(rig_channel(r, &c, 0x4001, "out", 3), PH_SEND);
    cr_expect(ph_addr_eq_endpoint(&r->pkt.dst, &peer));
    cr_expect_eq(r->pkt.sock, r->opened_sock[0]);
    cr_expect_eq(r->pkt.b.len, 3);
    cr_assert_eq(rig_peer(r, peer_text, "in", 2), PH_SEND);
    cr_expect(ph_addr_eq(&r->pkt.dst, &c));
    cr_expect_eq(r->pkt.sock, 0);
    cr_expect_eq(ph_chandata_parse(ph_buf_data(&r->pkt.b), r->pkt.b.len, &len), 0x4001);
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.8:77", "x", 1), PH_SEND);
    cr_expect_eq(rig_peer(r, "192.0.2.8:77", "x", 1), PH_SEND);
    cr_expect_eq(rig_peer(r, "192.0.2.9:77", "x", 1), PH_DROP, "no permission");
    cr_expect_eq(ph_turnd_stats(r->d)->restored, 1);
    cr_expect_eq(ph_turnd_stats(r->d)->allocations, 0);
    rig_free(r);
}

Test(turn_restore, requests_go_on_with_the_same_nonce_and_key)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    kit_restart(r);
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    cr_expect_eq(rig_permit(r, &c, "192.0.2.10:1"), 0);
    cr_expect_eq(rig_bind(r, &c, 0x4001, peer_text), 0);
    cr_expect_eq(rig_bind(r, &c, 0x4002, peer_text), 400, "that peer has a channel");
    cr_expect_eq(rig_refresh(r, &c, 0), 0);
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(r->reason, PH_END_RELEASED);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    rig_free(r);
}

Test(turn_restore, says_what_it_was)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    rig_channel(r, &c, 0x4001, "12345", 5);
    rig_channel(r, &c, 0x4001, "12345", 5);
    rig_peer(r, peer_text, "123", 3);
    rig_channel(r, &c, 0x4007, "1", 1);
    rig_sleep(r, PH_SEC(100));
    const struct ph_turnd_info was = kit_info(r);
    kit_restart(r);
    const struct ph_turnd_info is = kit_info(r);
    cr_expect_eq(is.session, was.session);
    cr_expect(ph_addr_eq(&is.client, &c));
    cr_expect_eq(is.listener, 0);
    cr_expect_eq(is.conn, 0);
    cr_expect(is.restored);
    cr_expect_not(was.restored);
    cr_expect(ph_slice_eq(is.user, ph_str("alice")));
    cr_expect(ph_slice_eq(is.realm, ph_str(rig_realm)));
    cr_expect(ph_addr_eq(&is.relay[0], &was.relay[0]));
    cr_expect_eq(is.relay[1].family, PH_AF_NONE);
    cr_expect_eq(is.to_peer_packets, 2);
    cr_expect_eq(is.to_peer_bytes, 10);
    cr_expect_eq(is.to_client_packets, 1);
    cr_expect_eq(is.to_client_bytes, 3);
    cr_expect_eq(is.dropped, 1);
    cr_expect_eq(is.permissions, 2);
    cr_expect_eq(is.channels, 1);
    cr_expect_eq(is.created_at, r->now - PH_SEC(103));
    cr_expect_eq(is.expires_at, r->now + PH_SEC(600 - 103));
    cr_expect_eq(ph_turnd_find(r->d, was.session), is.id);
    cr_expect_eq(ph_turnd_find(r->d, was.session + 1), UINT32_MAX);
    rig_free(r);
}

/* With statistics: they go on where they were, and what was counted before is not told once more. */
Test(turn_restore, usage_goes_on)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();

    r->c.stats = true;
    with_client(r, &c);
    rig_channel(r, &c, 0x4001, "12345", 5);
    rig_peer(r, "192.0.2.99:1", "nobody", 6);
    const struct ph_turnd_usage was = kit_info(r).usage;
    cr_assert_gt(was.received_packets, 3);
    kit_restart(r);
    const struct ph_turnd_info is = kit_info(r);
    cr_expect_eq(memcmp(&is.usage, &was, sizeof was), 0);
    cr_expect_eq(is.untold.received_packets, 0);
    rig_channel(r, &c, 0x4001, "12345", 5);
    cr_expect_eq(kit_info(r).usage.received_packets, was.received_packets + 1);
    cr_expect_eq(kit_info(r).untold.received_packets, 1);
    cr_expect_eq(kit_info(r).untold.received_bytes, 9);
    rig_free(r);
}

Test(turn_restore, ends_when_it_would_have)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    rig_sleep(r, PH_SEC(200));
    kit_restart(r);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(397));
    rig_sleep(r, PH_SEC(397) - 1);
    cr_expect_eq(r->downs, 0);
    rig_sleep(r, 1);
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(r->reason, PH_END_EXPIRED);
    cr_expect_eq(r->down.id, kit.n - 1);
    rig_free(r);
}

Test(turn_restore, permissions_and_channels_end_when_they_would_have)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    rig_sleep(r, PH_SEC(200));
    cr_assert_eq(rig_permit(r, &c, "192.0.2.9:1"), 0);
    rig_sleep(r, PH_SEC(50));
    kit_restart(r); /* 253 s after the first, 53 s after the second */
    rig_sleep(r, PH_SEC(46));
    cr_expect(reaches_client(r, &c));
    rig_sleep(r, PH_SEC(1));
    cr_expect_not(reaches_client(r, &c), "300 s");
    cr_expect_eq(rig_permit(r, &c, peer_text), 0);
    cr_expect(reaches_client(r, &c));
    cr_expect_eq(rig_peer(r, "192.0.2.9:5", "x", 1), PH_SEND);
    rig_sleep(r, PH_SEC(200));
    cr_expect_eq(rig_peer(r, "192.0.2.9:5", "x", 1), PH_DROP);
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    cr_expect_eq(rig_permit(r, &c, peer_text), 0);
    rig_sleep(r, PH_SEC(99));
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_SEND);
    rig_sleep(r, PH_SEC(1));
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_DROP, "600 s");
    rig_free(r);
}

Test(turn_restore, what_has_expired_is_not_written)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    rig_sleep(r, PH_SEC(350));
    kit_keep(r);
    const size_t n = kit.record[0].n;
    cr_assert_eq(rig_permit(r, &c, "192.0.2.8:1"), 0);
    kit_restart(r);
    cr_expect_eq(kit.record[0].n, n + 11);
    cr_expect_eq(kit_info(r).permissions, 1);
    cr_expect_eq(kit_info(r).channels, 1);
    cr_assert_eq(rig_refresh(r, &c, 600), 0);
    rig_sleep(r, PH_SEC(290));
    kit_restart(r);
    cr_expect_eq(kit.record[0].n, n + 11 - 15, "the channel");
    rig_free(r);
}

Test(turn_restore, retransmitted_allocate_gets_the_same_answer)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();
    uint8_t request[1024], answer[1024];

    r->c.software = "pinhole";
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    const int n = ph_msgw_end(&r->w);
    const uint32_t len = r->pkt.b.len;
    memcpy(request, r->req, (size_t)n);
    memcpy(answer, ph_buf_data(&r->pkt.b), len);
    kit_restart(r);
    cr_assert_eq(rig_input(r, 0, &c, request, (size_t)n), PH_SEND);
    cr_expect_eq(r->pkt.b.len, len);
    cr_expect_eq(memcmp(ph_buf_data(&r->pkt.b), answer, len), 0);
    cr_expect_eq(rig_allocate(r, &c), 437, "and another one what it always got");
    cr_expect_eq(ph_turnd_count(r->d), 1);
    rig_free(r);
}

Test(turn_restore, counts_in_its_quota)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.10:40000");
    struct rig *r = plain_rig();

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    with_client(r, &c);
    kit_restart(r);
    cr_expect_eq(ph_quota_used(r->quota), 1);
    cr_expect_eq(rig_allocate(r, &other), 486);
    rig_sleep(r, PH_SEC(600));
    cr_expect_eq(ph_quota_used(r->quota), 0);
    cr_expect_eq(rig_allocate(r, &other), 0);
    rig_free(r);
}

Test(turn_restore, standing_allocations_are_carried_over_the_quota)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.10:40000");
    struct rig *r = plain_rig();

    r->quota = ph_quota_new(2, 2, 0, &r->env);
    with_client(r, &c);
    cr_assert_eq(rig_allocate(r, &other), 0);
    cr_assert_eq(kit_keep(r), 2);
    ph_quota_set(r->quota, 1, 1);
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    cr_expect_eq(kit_restore(r, 0), 0);
    cr_expect_eq(kit_restore(r, 1), 0);
    cr_expect_eq(ph_quota_used(r->quota), 2);
    rig_sleep(r, PH_SEC(600));
    cr_expect_eq(ph_quota_used(r->quota), 0);
    rig_free(r);
}

Test(turn_restore, both_families_and_what_became_of_them)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();

    rig_start(r);
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    cr_assert_eq(rig_permit(r, &c, "[2001:db8:7::1]:5"), 0);
    const struct ph_turnd_info was = kit_info(r);
    kit_restart(r);
    const struct ph_turnd_info is = kit_info(r);
    cr_expect(ph_addr_eq(&is.relay[0], &was.relay[0]));
    cr_expect(ph_addr_eq(&is.relay[1], &was.relay[1]));
    cr_expect_eq(rig_peer(r, "[2001:db8:7::1]:5", "x", 1), PH_SEND);
    cr_expect_eq(rig_indicate(r, &c, "[2001:db8:7::1]:5", "x", 1), PH_SEND);
    cr_expect_eq(r->pkt.sock, r->opened_sock[1]);
    rig_free(r);
}

/* One of two families could not be had: a retransmission is told so still. */
Test(turn_restore, address_error_code_is_remembered)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();
    struct ph_attr_value v;
    uint8_t request[1024];

    r->c.n_relays = 1;
    rig_start(r);
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    const int n = ph_msgw_end(&r->w);
    memcpy(request, r->req, (size_t)n);
    kit_restart(r);
    cr_assert_eq(rig_input(r, 0, &c, request, (size_t)n), PH_SEND);
    cr_assert_eq(ph_msg_get(&r->out, PH_IX_ADDRESS_ERROR_CODE, &v), 0);
    cr_expect_eq(v.error.code, 440);
    rig_free(r);
}

Test(turn_restore, a_given_up_family_stays_given_up)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();

    rig_start(r);
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    rig_begin(r, PH_REFRESH);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 0);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET);
    cr_assert_eq(rig_send_signed(r, &c), PH_SEND);
    cr_assert_eq(rig_code(r), 0);
    kit_restart(r);
    cr_expect_eq(kit_info(r).relay[0].family, PH_AF_NONE);
    cr_expect_eq(kit_info(r).relay[1].family, PH_AF_INET6);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    cr_expect_eq(ph_ports_used(r->ports[1]), 1);
    rig_free(r);
}

/* Twice in a row, and the second time from the second process. */
Test(turn_restore, again_and_again)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);
    const uint64_t session = kit_info(r).session;

    for (unsigned i = 0; i < 20; i++) {
        rig_sleep(r, PH_SEC(60));
        cr_assert_eq(rig_refresh(r, &c, 600), 0);
        cr_assert_eq(rig_bind(r, &c, 0x4001, peer_text), 0);
        kit_restart(r);
        cr_assert(reaches_client(r, &c), "restart %u", i);
        cr_expect_eq(kit_info(r).session, session);
    }
    cr_expect_eq(kit_info(r).to_client_packets, 20);
    cr_expect_eq(r->downs, 0);
    rig_free(r);
}

Test(turn_restore, new_sessions_have_numbers_of_their_own)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.10:40000");
    struct rig *r = with_client(plain_rig(), &c);
    const uint64_t session = kit_info(r).session;

    kit_keep(r);
    kit.wall_ms -= 60000; /* the clock was set back */
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    cr_assert_eq(kit_restore(r, 0), 0);
    cr_assert(ph_turnd_end(r->d, ph_turnd_find(r->d, session), r->now));
    rig_take(r);
    cr_assert_eq(rig_allocate(r, &other), 0);
    cr_expect_gt(kit_info(r).session, session, "not even when that one has ended");
    rig_free(r);
}

/* Of a clock that was wrong by centuries: the count does not follow, but the number is not given twice at a time. */
Test(turn_restore, session_numbers_that_are_far_off)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.10:40000");
    struct rig *r = with_client(plain_rig(), &c);
    const uint64_t session = kit_info(r).session;
    struct ph_record_room room;
    struct ph_record rec;

    kit_keep(r);
    cr_assert_eq(ph_record_read(&rec, &room, kit_slice(0)), 0);
    rec.session = 999999999999999;
    kit.record[0].n = (size_t)ph_record_write(&rec, kit.record[0].p, KIT_RECORD);
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    cr_assert_eq(kit_restore(r, 0), 0);
    cr_assert_eq(rig_allocate(r, &other), 0);
    uint32_t id = 1;
    struct ph_turnd_info info;
    cr_assert(ph_turnd_list(r->d, &id, &info));
    cr_expect_lt(info.session, rec.session);
    cr_expect_gt(info.session, session);
    rig_free(r);
}

/* Those of other workers are no reason to count on from there. */
Test(turn_restore, session_numbers_of_other_workers)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.10:40000");
    struct rig *r = with_client(plain_rig(), &c);
    const uint64_t session = kit_info(r).session;
    struct ph_record_room room;
    struct ph_record rec;

    kit_keep(r);
    cr_assert_eq(ph_record_read(&rec, &room, kit_slice(0)), 0);
    rec.session += 3000000000000000 + 100000000;
    kit.record[0].n = (size_t)ph_record_write(&rec, kit.record[0].p, KIT_RECORD);
    kit_boot(r, 0, r->now);
    cr_assert_eq(kit_restore(r, 0), 0);
    cr_expect_eq(kit_info(r).session, rec.session);
    cr_assert_eq(rig_allocate(r, &other), 0);
    uint32_t id = 1;
    struct ph_turnd_info info;
    cr_assert(ph_turnd_list(r->d, &id, &info));
    cr_expect_eq(info.session, session);
    rig_free(r);
}

/* The count has come to a number that a restored one has: it is left out. */
Test(turn_restore, session_numbers_in_use_are_left_out)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.10:40000");
    struct rig *r = with_client(plain_rig(), &c);
    const uint64_t session = kit_info(r).session;
    struct ph_record_room room;
    struct ph_record rec;

    kit_keep(r);
    cr_assert_eq(ph_record_read(&rec, &room, kit_slice(0)), 0);
    rec.session = session + 1;
    kit.record[0].n = (size_t)ph_record_write(&rec, kit.record[0].p, KIT_RECORD);
    kit_boot(r, 0, r->now);
    ph_turnd_wall_clock(r->d, 0, r->now);
    cr_assert_eq(kit_restore(r, 0), 0);
    r->d = ph_turnd_new(&r->c, &r->env, r->now); /* has seen no session but will come to this one */
    r->core[1] = r->d;
    ph_turnd_wall_clock(r->d, kit_epoch_s, r->now);
    cr_assert_eq(rig_allocate(r, &other), 0);
    cr_expect_eq(kit_info(r).session, session);
    const struct ph_turnd_where where = {.slot = 0, .session = session + 1};
    uint32_t sock[2];
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where, sock, r->now);
    cr_assert_not_null(m);
    cr_assert_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
    other.port++;
    cr_assert_eq(rig_allocate(r, &other), 0);
    uint32_t id = 2;
    struct ph_turnd_info info;
    cr_assert(ph_turnd_list(r->d, &id, &info));
    cr_expect_eq(info.session, session + 2);
    rig_free(r);
}

/* --- users ----------------------------------------------------------------------------------------- */

Test(turn_restore, sha256_keys)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();

    r->sha256 = true;
    with_client(r, &c);
    kit_restart(r);
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    cr_expect(ph_msg_has(&r->out, PH_IX_MESSAGE_INTEGRITY_SHA256));
    rig_free(r);
}

Test(turn_restore, without_authentication)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();

    r->c.live.auth = NULL;
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    kit_restart(r);
    cr_expect_eq(kit_info(r).user.n, 0);
    rig_begin(r, PH_REFRESH);
    cr_expect_eq(rig_send(r, &c), PH_SEND);
    cr_expect_eq(rig_code(r), 0);
    rig_free(r);
}

/* Who has changed the password since must use the new one: as after a reload. */
Test(turn_restore, key_is_looked_up_again)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    ph_auth_add_user(r->auth, ph_str("alice"), ph_str("changed"));
    kit_restart(r);
    cr_expect(reaches_client(r, &c), "until it asks for something");
    cr_expect_eq(rig_refresh(r, &c, 600), 401);
    rig_take_nonce(r);
    r->pass = "changed";
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    rig_free(r);
}

Test(turn_restore, rest_user_counts_by_his_id)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.10:40000");
    struct rig *r = plain_rig();

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    ph_auth_add_secret(r->auth, ph_str("S"));
    rig_rest(r, "S", "1800003600:carol");
    with_client(r, &c);
    kit_restart(r);
    cr_expect(ph_slice_eq(kit_info(r).user_id, ph_str("carol")));
    rig_rest(r, "S", "1800007200:carol");
    cr_expect_eq(rig_allocate(r, &other), 486);
    rig_free(r);
}

Test(turn_restore, user_of_a_realm_is_of_that_realm)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();
    struct ph_auth *main_auth = ph_auth_new("example.net", &r->env);
    struct ph_quota *own = ph_quota_new(0, 1, 0, &r->env);

    r->c.live.realm[0].auth = r->auth;
    r->c.live.realm[0].quota = own;
    r->c.live.n_realms = 1;
    r->c.live.auth = main_auth;
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 438);
    rig_take_nonce(r);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    kit_restart(r);
    cr_expect(ph_slice_eq(kit_info(r).realm, ph_str(rig_realm)));
    cr_expect_eq(ph_quota_used(own), 1);
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    kit_keep(r);
    r->c.live.n_realms = 0;
    kit_boot(r, 0, PH_SEC(30));
    cr_expect_eq(ph_quota_used(own), 0);
    cr_expect_eq(kit_restore(r, kit.n - 1), PH_E_MISSING, "its realm is gone");
    rig_free(r);
    ph_auth_free(main_auth);
    ph_quota_free(own);
}

static const struct ph_oauth_key oauth_key = {
    .kid = "north", .key = "0123456789abcdef0123456789abcdef", .key_len = 32};

/* A token's key cannot be looked up: what the record holds is all there is. */
Test(turn_restore, token_and_its_end)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();
    struct grant g = {.key_n = 32, .timestamp = (uint64_t)kit_epoch_s << 16, .lifetime_s = 500};

    memset(g.key, 'k', 32);
    struct token t = token_seal(&oauth_key, "turn.example.org", &g);
    r->c.oauth_server = "turn.example.org";
    r->c.live.oauth = &oauth_key;
    r->c.live.n_oauth = 1;
    r->user = "north";
    r->own_key = true;
    memcpy(r->key.b, g.key, 32);
    r->key.n = 32;
    rig_start(r);
    rig_challenge(r, &c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_bytes(&r->w, PH_ATTR_ACCESS_TOKEN, token_slice(&t));
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    kit_restart(r);
    cr_expect_eq(rig_permit(r, &c, peer_text), 0, "without a token");
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    cr_expect_eq(kit_info(r).expires_at, r->now + PH_SEC(497), "the token's end");
    kit_keep(r);
    kit_boot(r, PH_SEC(497), PH_SEC(2000));
    cr_expect_eq(kit_restore(r, kit.n - 1), PH_E_TIMEOUT);
    rig_free(r);
}

Test(turn_restore, credential_that_has_ended_with_strict_expiry)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();

    ph_auth_add_secret(r->auth, ph_str("S"));
    rig_rest(r, "S", "1800000100:carol");
    with_client(r, &c);
    kit_keep(r);
    kit_boot(r, PH_SEC(50), PH_SEC(20));
    r->c.live.strict_expiry = true;
    ph_turnd_reload(r->d, &r->c.live, r->now);
    cr_assert_eq(kit_restore(r, 0), 0);
    rig_sleep(r, PH_SEC(51));
    cr_expect_eq(r->reason, PH_END_CREDENTIAL);
    kit_boot(r, 0, PH_SEC(20));
    cr_expect_eq(kit_restore(r, 0), PH_E_TIMEOUT);
    r->c.live.strict_expiry = false;
    ph_turnd_reload(r->d, &r->c.live, r->now);
    cr_expect_eq(kit_restore(r, 0), 0, "without it a session may outlive its credential");
    rig_free(r);
}

Test(turn_restore, bounds_hold_again)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();
    uint8_t data[500] = {0};
    unsigned passed = 0;

    r->c.live.max_bps = 5000;
    with_client(r, &c);
    kit_restart(r);
    for (int i = 0; i < 20; i++)
        passed += rig_channel(r, &c, 0x4001, data, sizeof data) == PH_SEND;
    cr_expect_eq(passed, 10);
    rig_free(r);
}

/* --- tickets --------------------------------------------------------------------------------------- */

static struct rig *mobile_rig(void)
{
    struct rig *r = plain_rig();
    r->c.mobility = true;
    return r;
}

static bool take_ticket(struct rig *r, uint8_t ticket[PH_TICKET_LEN])
{
    struct ph_slice s;
    if (!r->has_out || ph_msg_bytes(&r->out, PH_IX_MOBILITY_TICKET, &s) || s.n != PH_TICKET_LEN)
        return false;
    memcpy(ticket, s.p, s.n);
    return true;
}

/* An allocation with a ticket, which is in r->ticket. */
static void allocate_mobile(struct rig *r, const struct ph_addr *c, uint8_t transport)
{
    rig_challenge(r, c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, transport);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){NULL, 0});
    rig_send_signed(r, c);
    cr_assert_eq(rig_code(r), 0);
    cr_assert(take_ticket(r, r->ticket));
}

static int resume(struct rig *r, const struct ph_addr *c, const uint8_t *ticket)
{
    rig_challenge(r, c);
    rig_begin(r, PH_REFRESH);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){ticket, PH_TICKET_LEN});
    rig_send_signed(r, c);
    return rig_code(r);
}

Test(turn_restore, tickets_are_good)
{
    struct ph_addr c = rig_addr(client_text), n = rig_addr("203.0.113.77:1234"),
                   third = rig_addr("203.0.113.88:5678");
    struct rig *r = mobile_rig();
    uint8_t before[PH_TICKET_LEN];

    rig_start(r);
    allocate_mobile(r, &c, PH_UDP);
    memcpy(before, r->ticket, sizeof before);
    cr_assert_eq(rig_bind(r, &c, 0x4001, peer_text), 0);
    cr_assert_eq(resume(r, &c, r->ticket), 0);
    cr_assert(take_ticket(r, r->ticket));
    kit_restart(r);
    cr_expect(kit_info(r).mobile);
    cr_expect(reaches_client(r, &c), "where it was");
    cr_expect_eq(resume(r, &n, before), 0, "the one before it: its answer may have been lost");
    cr_expect(reaches_client(r, &n));
    cr_expect_eq(resume(r, &third, r->ticket), 0);
    cr_expect(reaches_client(r, &third));
    rig_free(r);
}

Test(turn_restore, who_was_on_a_connection_comes_back_by_his_ticket)
{
    struct ph_addr c = rig_addr_on(client_text, PH_TCP), n = rig_addr_on("203.0.113.77:1", PH_TLS);
    struct rig *r = mobile_rig();

    rig_start(r);
    allocate_mobile(r, &c, PH_UDP);
    cr_assert_eq(rig_bind(r, &c, 0x4001, peer_text), 0);
    kit_restart(r);
    cr_expect_eq(kit_info(r).conn, 0);
    cr_expect_not(reaches_client(r, &c), "there is nobody");
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_DROP);
    cr_expect_not(ph_turnd_conn_needed(r->d, 2, &c));
    cr_expect_eq(rig_refresh(r, &c, 600), 437);
    cr_expect_eq(resume(r, &n, r->ticket), 0);
    cr_expect(reaches_client(r, &n));
    cr_expect_eq(r->pkt.conn, 1);
    rig_free(r);
}

Test(turn_restore, connections_without_tickets_are_not_carried)
{
    static const uint8_t proto[] = {PH_TCP, PH_TLS, PH_DTLS};
    struct rig *r = mobile_rig();

    rig_start(r);
    for (unsigned i = 0; i < 3; i++) {
        struct ph_addr c = rig_addr_on(client_text, proto[i]);
        cr_assert_eq(rig_allocate(r, &c), 0);
    }
    cr_expect_eq(kit_keep(r), 0);
    rig_free(r);
}

Test(turn_restore, tcp_relay_comes_back_without_its_connections)
{
    struct ph_addr c = rig_addr_on(client_text, PH_TCP), n = rig_addr_on("203.0.113.77:1", PH_TCP),
                   peer = rig_addr(peer_text);
    struct rig *r = mobile_rig();
    uint32_t id;

    rig_start(r);
    allocate_mobile(r, &c, PH_TCP);
    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    cr_assert_eq(ph_turnd_peer_accepted(r->d, r->opened_sock[0], &peer, &id, r->now), 0);
    rig_take(r);
    kit_restart(r);
    cr_expect_eq(r->opened_at.proto, PH_TCP);
    cr_expect(kit_info(r).tcp);
    cr_expect_lt(ph_turnd_peer_accepted(r->d, r->opened_sock[0], &peer, &id, r->now), 0);
    cr_assert_eq(resume(r, &n, r->ticket), 0);
    cr_expect_eq(ph_turnd_peer_accepted(r->d, r->opened_sock[0], &peer, &id, r->now), 0);
    cr_expect(rig_take(r), "the client is told");
    cr_expect_eq(ph_ports_live(r->ports[0], r->opened_at.port), false, "not over UDP");
    rig_free(r);
}

/* What waits for a ticket in vain ends when it would have. */
Test(turn_restore, away_ones_expire)
{
    struct ph_addr c = rig_addr_on(client_text, PH_TCP);
    struct rig *r = mobile_rig();

    rig_start(r);
    allocate_mobile(r, &c, PH_UDP);
    kit_restart(r);
    rig_sleep(r, PH_SEC(597));
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    rig_free(r);
}

Test(turn_restore, mobility_may_be_off_by_now)
{
    struct ph_addr c = rig_addr(client_text), tcp = rig_addr_on(client_text, PH_TCP);
    struct rig *r = mobile_rig();

    rig_start(r);
    allocate_mobile(r, &c, PH_UDP);
    allocate_mobile(r, &tcp, PH_UDP);
    kit_keep(r);
    r->c.mobility = false;
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    cr_expect_eq(kit_restore(r, 0), 0);
    cr_expect_eq(kit_restore(r, 1), PH_E_MISSING, "nobody could come back for it");
    cr_expect_eq(resume(r, &c, r->ticket), 405);
    cr_expect_not(kit_info(r).mobile);
    rig_free(r);
}

/* --- where it belongs ------------------------------------------------------------------------------- */

static int restore_with(struct rig *r)
{
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    return kit_restore(r, 0);
}

Test(turn_restore, finds_its_listener_by_address_and_transport)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    kit_keep(r);
    const struct ph_turnd_conf was = r->c;
    r->c.listener[0] = was.listener[4];
    r->c.listener[4] = was.listener[0];
    cr_assert_eq(restore_with(r), 0);
    cr_expect_eq(kit_info(r).listener, 4);
    r->c = was;
    r->c.listener[0].at = rig_addr("0.0.0.0:3478");
    r->c.listener[2].at.proto = PH_TLS;
    cr_assert_eq(restore_with(r), 0, "a wildcard has every address");
    cr_expect_eq(kit_info(r).listener, 0);
    r->c.listener[4].at = rig_addr("198.51.100.1:3478");
    cr_assert_eq(restore_with(r), 0);
    cr_expect_eq(kit_info(r).listener, 4, "but the address itself is better");
    r->c = was;
    r->c.listener[0].at.port = 3479;
    cr_expect_eq(restore_with(r), PH_E_MISSING, "the TCP listener at the address does not do");
    r->c.listener[0].at = rig_addr("198.51.100.2:3478");
    cr_expect_eq(restore_with(r), PH_E_MISSING);
    r->c.listener[0].at = rig_addr("[::]:3478");
    cr_expect_eq(restore_with(r), PH_E_MISSING);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    cr_expect_eq(ph_turnd_stats(r->d)->not_restored, 1);
    rig_free(r);
}

Test(turn_restore, relay_address_must_be_ours_and_the_port_free)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);
    const uint16_t port = kit_info(r).relay[0].port;

    kit_keep(r);
    r->c.relay[0].at = rig_addr("198.51.100.2");
    cr_expect_eq(restore_with(r), PH_E_MISSING);
    r->c.relay[0].at = rig_addr("198.51.100.1");
    kit_boot(r, 0, r->now);
    cr_assert(ph_ports_take_exact(r->ports[0], port));
    cr_expect_eq(kit_restore(r, 0), PH_E_STATE, "another one's");
    ph_ports_release(r->ports[0], port);
    cr_expect_eq(kit_restore(r, 0), 0);
    r->c.relay[0].ports = r->ports[3];
    ph_ports_free(r->ports[3]);
    r->ports[3] = r->c.relay[0].ports = ph_ports_new(1000, 2000);
    cr_expect_eq(restore_with(r), PH_E_MISSING, "out of our range");
    rig_free(r);
}

Test(turn_restore, external_address_is_that_of_now)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    kit_keep(r);
    r->c.relay[0].external = rig_addr("192.0.2.200");
    cr_assert_eq(restore_with(r), 0);
    cr_expect_eq(memcmp(kit_info(r).relay[0].ip, (uint8_t[]){192, 0, 2, 200}, 4), 0);
    rig_free(r);
}

Test(turn_restore, takes_nothing_from_who_is_there)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);
    struct ph_record_room room;
    struct ph_record rec;

    kit_keep(r);
    cr_expect_eq(kit_restore(r, 0), PH_E_STATE, "itself");
    cr_assert_eq(ph_record_read(&rec, &room, kit_slice(0)), 0);
    rec.relay[0].port ^= 1;
    for (int i = 0; i < 3; i++) {
        struct ph_record x = rec;
        x.session += i != 0;
        x.client.port ^= i == 1 ? 0 : 1;
        kit.record[1].n = (size_t)ph_record_write(&x, kit.record[1].p, KIT_RECORD);
        cr_expect_eq(kit_restore(r, 1), i < 2 ? PH_E_STATE : 0,
                     "0: its session, 1: its five-tuple, 2: nothing of it");
    }
    cr_expect_eq(ph_turnd_count(r->d), 2);
    rig_free(r);
}

Test(turn_restore, ticket_in_use)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = mobile_rig();
    struct ph_record_room room;
    struct ph_record rec;

    rig_start(r);
    allocate_mobile(r, &c, PH_UDP);
    kit_keep(r);
    cr_assert_eq(ph_record_read(&rec, &room, kit_slice(0)), 0);
    rec.relay[0].port ^= 1;
    rec.session++;
    rec.client.port ^= 1;
    kit.record[0].n = (size_t)ph_record_write(&rec, kit.record[0].p, KIT_RECORD);
    cr_expect_eq(kit_restore(r, 0), PH_E_STATE);
    rig_free(r);
}

Test(turn_restore, not_more_than_there_is_room_for)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.10:40000");
    struct rig *r = plain_rig();

    r->quota = ph_quota_new(0, 5, 0, &r->env);
    with_client(r, &c);
    cr_assert_eq(rig_allocate(r, &other), 0);
    kit_keep(r);
    r->c.max_allocations = 1;
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    cr_expect_eq(kit_restore(r, 0), 0);
    cr_expect_eq(kit_restore(r, 1), PH_E_LIMIT);
    cr_expect_eq(ph_ports_used(r->ports[0]), 1);
    cr_expect_eq(ph_quota_used(r->quota), 1);
    rig_free(r);
}

Test(turn_restore, kinds_of_relays_that_are_switched_off)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    kit_keep(r);
    r->c.no_udp_relay = true;
    cr_expect_eq(restore_with(r), PH_E_MISSING);
    r->c.no_udp_relay = false;
    r->c.live.auth = NULL;
    cr_expect_eq(restore_with(r), PH_E_MISSING, "nobody could be asked for a key");
    kit.n = 0;
    kit_boot(r, 0, r->now);
    cr_assert_eq(rig_allocate(r, &c), 0);
    kit_keep(r);
    r->c.live.auth = r->auth;
    cr_expect_eq(restore_with(r), PH_E_MISSING, "and this one is nobody's");
    rig_free(r);
}

/* --- policy ---------------------------------------------------------------------------------------- */

Test(turn_restore, peers_are_held_to_the_policy_of_now)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);
    struct ph_acl *acl = ph_acl_new();

    kit_keep(r);
    ph_acl_add(acl, false, "192.0.2.7", 9);
    r->c.live.acl = acl;
    cr_assert_eq(restore_with(r), 0);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_DROP);
    cr_expect_not(reaches_client(r, &c));
    cr_expect_eq(rig_permit(r, &c, peer_text), 403);
    cr_expect_eq(rig_peer(r, "192.0.2.8:1", "x", 1), PH_SEND, "the other one is still allowed");
    rig_free(r);
    ph_acl_free(acl);
}

/* Two clients of one server whose relay address is denied to strangers: which of them is restored first must not
 * matter. */
Test(turn_restore, relay_to_relay_goes_on)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.10:40000"), relay[2];
    struct rig *r = plain_rig();
    char text[2][PH_ADDR_TEXT];

    ph_acl_add(r->acl, false, "198.51.100.1", 12);
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay[0]);
    cr_assert_eq(rig_allocate(r, &other), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay[1]);
    for (int i = 0; i < 2; i++)
        ph_addr_text(&relay[i], text[i]);
    cr_assert_eq(rig_bind(r, &other, 0x4001, text[0]), 0);
    rig_challenge(r, &c);
    cr_assert_eq(rig_bind(r, &c, 0x4001, text[1]), 0);
    kit_restart(r);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_SEND);
    cr_expect_eq(rig_channel(r, &other, 0x4001, "x", 1), PH_SEND);
    cr_assert_eq(rig_refresh(r, &c, 0), 0);
    cr_expect_eq(rig_channel(r, &other, 0x4001, "x", 1), PH_DROP, "no relay there any more");
    rig_free(r);
}

Test(turn_restore, lists_are_bounded_by_the_configuration_of_now)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    cr_assert_eq(rig_permit(r, &c, "192.0.2.9:1"), 0);
    cr_assert_eq(rig_bind(r, &c, 0x4002, "192.0.2.7:9001"), 0);
    kit_keep(r);
    r->c.max_permissions = 2;
    r->c.max_channels = 1;
    cr_assert_eq(restore_with(r), 0);
    cr_expect_eq(kit_info(r).permissions, 2);
    cr_expect_eq(kit_info(r).channels, 1);
    cr_expect_eq(rig_permit(r, &c, "192.0.2.10:1"), 508);
    cr_expect_eq(rig_bind(r, &c, 0x4003, "192.0.2.7:9002"), 508);
    rig_free(r);
}

Test(turn_restore, channel_numbers_that_are_no_longer_ours)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();

    r->c.channels_5766 = true;
    with_client(r, &c);
    cr_assert_eq(rig_bind(r, &c, 0x6000, "192.0.2.7:9001"), 0);
    kit_keep(r);
    cr_assert_eq(restore_with(r), 0);
    cr_expect_eq(kit_info(r).channels, 2);
    r->c.channels_5766 = false;
    cr_assert_eq(restore_with(r), 0);
    cr_expect_eq(kit_info(r).channels, 1);
    rig_free(r);
}

/* --- time ------------------------------------------------------------------------------------------ */

Test(turn_restore, expired_ones_are_refused)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    kit_keep(r);
    kit_boot(r, PH_SEC(600), PH_SEC(20));
    cr_expect_eq(kit_restore(r, 0), PH_E_TIMEOUT);
    cr_expect_eq(ph_turnd_stats(r->d)->not_restored, 1);
    kit_boot(r, PH_SEC(86400), PH_SEC(20));
    cr_expect_eq(kit_restore(r, 0), PH_E_TIMEOUT);
    cr_expect_eq(r->opens, 1);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    rig_free(r);
}

/* The clock was set back by a day: nothing lasts longer than if it had been asked for now. */
Test(turn_restore, clock_that_jumped_back)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);

    kit_keep(r);
    kit.wall_ms -= INT64_C(86400000);
    cr_assert_eq(restore_with(r), 0);
    cr_expect_eq(kit_info(r).expires_at, r->now + PH_SEC(3600));
    cr_expect_leq(kit_info(r).created_at, r->now);
    rig_sleep(r, PH_SEC(299));
    cr_expect(reaches_client(r, &c));
    rig_sleep(r, PH_SEC(1));
    cr_expect_not(reaches_client(r, &c));
    rig_free(r);
}

Test(turn_restore, insane_times_are_cut)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);
    struct ph_record_room room;
    struct ph_record rec;

    kit_keep(r);
    cr_assert_eq(ph_record_read(&rec, &room, kit_slice(0)), 0);
    rec.created_ms = 0;
    rec.expires_ms = (INT64_C(1) << 48) - 1;
    room.perm[0].expires_ms = rec.expires_ms;
    room.perm[1].expires_ms = 0;
    kit.record[0].n = (size_t)ph_record_write(&rec, kit.record[0].p, KIT_RECORD);
    cr_assert_eq(restore_with(r), 0);
    cr_expect_eq(kit_info(r).expires_at, r->now + PH_SEC(3600));
    cr_expect_eq(kit_info(r).permissions, 1);
    cr_expect_lt(kit_info(r).created_at, r->now);
    rec.created_ms = rec.expires_ms;
    kit.record[0].n = (size_t)ph_record_write(&rec, kit.record[0].p, KIT_RECORD);
    cr_assert_eq(restore_with(r), 0);
    cr_expect_eq(kit_info(r).created_at, r->now);
    kit_boot(r, 0, r->now);
    ph_turnd_wall_clock(r->d, 0, r->now); /* no battery */
    cr_assert_eq(kit_restore(r, 0), 0);
    cr_expect_eq(kit_info(r).expires_at, r->now + PH_SEC(3600));
    rig_free(r);
}

/* --- sockets --------------------------------------------------------------------------------------- */

Test(turn_restore, a_socket_that_cannot_be_had_is_the_end_of_it)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    with_client(r, &c);
    kit_keep(r);
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    r->open_err = -EADDRINUSE;
    const unsigned opens = r->opens, outputs = r->outputs;
    cr_assert_eq(kit_restore(r, 0), 0);
    cr_expect_eq(r->opens, opens + 1, "never another port");
    cr_expect_eq(r->downs, 0, "nobody has heard of it");
    cr_expect_eq(r->ups, 1);
    cr_expect_eq(r->outputs, outputs);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    cr_expect_eq(ph_quota_used(r->quota), 0);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    cr_expect_eq(ph_turnd_stats(r->d)->not_restored, 1);
    cr_expect_eq(ph_turnd_deadline(r->d), PH_NEVER);
    r->open_err = 0;
    cr_expect_eq(kit_restore(r, 0), 0, "it may be tried again");
    rig_free(r);
}

/* Of two sockets one cannot be had: the other one is closed, whichever is first. */
Test(turn_restore, both_sockets_or_none)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();

    rig_start(r);
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    kit_keep(r);
    for (int first = 0; first < 2; first++)
        for (int good = 0; good < 2; good++) {
            kit_boot(r, 0, PH_SEC(20));
            r->hold_opens = true;
            r->closes = 0;
            cr_assert_eq(kit_restore(r, 0), 0);
            ph_turnd_relay_opened(r->d, r->opened_sock[first], first == good ? 0 : -EADDRINUSE,
                                  r->now);
            cr_expect_eq(ph_turnd_count(r->d), 1, "the other answer is to come");
            ph_turnd_relay_opened(r->d, r->opened_sock[!first], first != good ? 0 : -EADDRINUSE,
                                  r->now);
            rig_take(r);
            cr_expect_eq(r->closes, 1);
            cr_expect_eq(ph_turnd_count(r->d), 0);
            cr_expect_eq(ph_ports_used(r->ports[0]), 0);
            cr_expect_eq(ph_ports_used(r->ports[1]), 0);
        }
    cr_expect_eq(r->ups, 1);
    cr_expect_eq(r->downs, 0);
    rig_free(r);
}

Test(turn_restore, requests_wait_while_sockets_are_opened)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = with_client(plain_rig(), &c);
    const uint64_t session = kit_info(r).session;

    kit_keep(r);
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    r->hold_opens = true;
    cr_assert_eq(kit_restore(r, 0), 0);
    cr_expect_eq(ph_turnd_find(r->d, session), UINT32_MAX, "it is not up");
    cr_expect_eq(rig_refresh(r, &c, 600), -1, "437 would be the end of it");
    cr_expect_eq(r->verdict, PH_DROP);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), -1);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_DROP);
    cr_expect_not(reaches_client(r, &c));
    ph_turnd_relay_opened(r->d, r->held_sock, 0, r->now);
    rig_take(r);
    cr_expect_eq(r->ups, 2);
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    rig_free(r);
}

/* What happens between the record and its sockets. */
Test(turn_restore, thrown_out_while_sockets_are_opened)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = plain_rig();
    struct ph_turnd_live other;
    struct ph_auth *auth = ph_auth_new("example.net", &r->env);

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    with_client(r, &c);
    kit_keep(r);
    for (int i = 0; i < 3; i++) {
        kit_boot(r, 0, PH_SEC(20));
        r->hold_opens = true;
        r->closes = 0;
        cr_assert_eq(kit_restore(r, 0), 0);
        if (i == 0)
            cr_expect_eq(ph_turnd_revoke(r->d, ph_str(""), ph_str("alice"), r->now), 1);
        other = r->c.live;
        other.auth = auth;
        if (i == 1)
            ph_turnd_reload(r->d, &other, r->now);
        if (i == 2) /* its time runs out */
            rig_sleep(r, PH_SEC(700));
        ph_turnd_relay_opened(r->d, r->held_sock, 0, r->now);
        rig_take(r);
        rig_sleep(r, 0);
        cr_expect_eq(r->closes, 1, "%d", i);
        cr_expect_eq(r->downs, i == 2, "%d", i);
        cr_expect_eq(ph_turnd_count(r->d), 0);
        cr_expect_eq(ph_quota_used(r->quota), 0);
        cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    }
    rig_free(r);
    ph_auth_free(auth);
}

Test(turn_restore, out_of_memory_is_an_error_and_no_loss)
{
    struct ph_addr c = rig_addr_on(client_text, PH_TCP);

    if (!oom_works())
        cr_skip("shared libraries");
    for (unsigned n = 1;; n++) {
        struct rig *r = mobile_rig();
        r->c.live.max_bps = 1000000;
        r->quota = ph_quota_new(0, 1, 0, &r->env);
        rig_start(r);
        allocate_mobile(r, &c, PH_UDP);
        cr_assert_eq(rig_bind(r, &c, 0x4001, peer_text), 0);
        kit_reset();
        kit_keep(r);
        kit_boot(r, 0, PH_SEC(20));
        oom_fail_at(n);
        int err = kit_restore(r, 0);
        bool fired = oom_disarm();
        cr_assert(err == 0 || (fired && (err == PH_E_NOMEM)), "%u: %d", n, err);
        cr_assert(!fired || err || !ph_turnd_count(r->d), "%u: something is missing", n);
        cr_expect_eq(ph_turnd_count(r->d), ph_quota_used(r->quota), "%u", n);
        cr_expect_eq(ph_turnd_count(r->d), ph_ports_used(r->ports[0]));
        if (err || !ph_turnd_count(r->d))
            cr_assert_eq(kit_restore(r, 0), 0, "the second time");
        rig_free(r);
        if (!fired)
            break;
    }
}
