/*
 * Clients on connections (TCP, TLS, DTLS): what goes to them goes by their connection, and what becomes of an
 * allocation when it closes.  Also what a packet has to wait for, session ids, draining and alternate servers.
 */
#include "turn/rig.h"

static const char client_text[] = "203.0.113.9:40000";
static const char peer_text[] = "192.0.2.7:9000";

Test(turn_conn, answers_and_data_go_by_the_clients_connection)
{
    static const uint8_t protos[] = {PH_TCP, PH_TLS, PH_DTLS};

    for (size_t i = 0; i < sizeof protos; i++) {
        struct rig *r = rig_default();
        struct ph_addr c = rig_addr_on(client_text, protos[i]);

        cr_assert_eq(rig_allocate(r, &c), 0);
        cr_expect_eq(r->pkt.conn, 40000, "the answer that waited for the relay");
        cr_expect_eq(r->pkt.sock, rig_listener(&c));
        cr_assert_eq(rig_permit(r, &c, peer_text), 0);
        cr_expect_eq(r->pkt.conn, 40000, "a direct answer");
        cr_assert_eq(rig_peer(r, peer_text, "hi", 2), PH_SEND);
        cr_expect_eq(r->pkt.conn, 40000, "a Data indication");
        cr_assert_eq(rig_bind(r, &c, 0x4000, peer_text), 0);
        cr_assert_eq(rig_peer(r, peer_text, "hi", 2), PH_SEND);
        cr_expect_eq(r->pkt.conn, 40000, "ChannelData");
        cr_expect_eq(r->pkt.sock, rig_listener(&c));
        cr_assert_eq(rig_channel(r, &c, 0x4000, "ho", 2), PH_SEND);
        cr_expect_eq(r->pkt.conn, 0, "peers have none");
        cr_assert_eq(rig_indicate(r, &c, peer_text, "ho", 2), PH_SEND);
        cr_expect_eq(r->pkt.conn, 0);
        rig_free(r);
    }
}

Test(turn_conn, icmp_is_told_by_the_clients_connection)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr_on(client_text, PH_TLS), peer = rig_addr(peer_text);

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    r->pkt = (struct ph_pkt){.b = {r->buf, sizeof r->buf, PH_HEADROOM, 0}};
    cr_assert_eq(ph_turnd_icmp(r->d, r->opened_sock[0], &peer, 3, 3, 0, &r->pkt, r->now), PH_SEND);
    cr_expect_eq(r->pkt.conn, 40000);
    cr_expect_eq(r->pkt.sock, 3);
    rig_free(r);
}

Test(turn_conn, datagrams_of_udp_clients_have_no_connection)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(r->pkt.conn, 0);
    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    cr_assert_eq(rig_peer(r, peer_text, "hi", 2), PH_SEND);
    cr_expect_eq(r->pkt.conn, 0);
    rig_free(r);
}

Test(turn_conn, one_address_on_two_transports_is_two_clients)
{
    struct rig *r = rig_default();
    struct ph_addr tcp = rig_addr_on(client_text, PH_TCP), tls = rig_addr_on(client_text, PH_TLS);

    cr_assert_eq(rig_allocate(r, &tcp), 0);
    cr_assert_eq(rig_allocate(r, &tls), 0);
    cr_expect_eq(ph_turnd_count(r->d), 2);
    rig_free(r);
}

Test(turn_conn, closing_it_ends_the_allocation)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr_on(client_text, PH_TCP);

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect(ph_turnd_conn_needed(r->d, 2, &c));
    rig_hang_up(r, &c);
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(r->reason, PH_END_CLOSED);
    cr_expect_eq(r->closes, 1);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    cr_expect_not(ph_turnd_conn_needed(r->d, 2, &c));
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    rig_free(r);
}

Test(turn_conn, closing_it_says_nothing_of_udp_clients)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), other = rig_addr_on(client_text, PH_TCP);

    cr_assert_eq(rig_allocate(r, &c), 0);
    rig_hang_up(r, &c);
    rig_hang_up(r, &other);
    cr_expect_eq(ph_turnd_count(r->d), 1);
    rig_free(r);
}

Test(turn_conn, is_not_needed_before_there_is_an_allocation)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr_on(client_text, PH_TCP);

    rig_challenge(r, &c);
    cr_expect_not(ph_turnd_conn_needed(r->d, 2, &c));
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect(ph_turnd_conn_needed(r->d, 2, &c));
    cr_assert_eq(rig_refresh(r, &c, 0), 0);
    cr_expect_not(ph_turnd_conn_needed(r->d, 2, &c));
    rig_free(r);
}

Test(turn_conn, closing_it_while_the_relay_opens_leaves_nothing_behind)
{
    for (int fails = 0; fails < 2; fails++) {
        struct rig *r = rig_default();
        struct ph_addr c = rig_addr_on(client_text, PH_TCP);

        rig_challenge(r, &c);
        r->hold_opens = true;
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        cr_assert_eq(rig_send_signed(r, &c), PH_CONSUMED);
        rig_hang_up(r, &c);
        for (int i = 0; i < 70 && ph_turnd_count(r->d); i++) {
            ph_turnd_relay_opened(r->d, r->held_sock, fails ? -EADDRINUSE : 0, r->now);
            cr_expect_not(rig_take(r), "an answer to a connection that is gone");
        }
        cr_expect_eq(ph_turnd_count(r->d), 0);
        cr_expect_eq(r->closes, fails ? 0 : 1);
        cr_expect_eq(r->ups, r->downs);
        cr_expect_eq(ph_ports_used(r->ports[0]), 0);
        rig_free(r);
    }
}

Test(turn_conn, info_names_connection_session_and_realm)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr_on(client_text, PH_TLS);
    struct ph_turnd_info info;
    uint32_t id = 0;

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert(ph_turnd_list(r->d, &id, &info));
    cr_expect_eq(info.conn, 40000);
    cr_expect_eq(info.client.proto, PH_TLS);
    cr_expect(ph_slice_eq(info.realm, ph_str(rig_realm)));
    cr_expect_not(info.tcp);
    cr_expect_not(info.mobile);
    cr_expect_eq(info.dropped, 0);
    rig_free(r);
}

Test(turn_conn, dropped_packets_of_an_allocation_are_counted_in_it)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);
    struct ph_turnd_info info;
    uint32_t id = 0;

    cr_assert_eq(rig_allocate(r, &c), 0);
    rig_peer(r, peer_text, "x", 1);               /* no permission */
    rig_indicate(r, &c, peer_text, "x", 1);       /* the same, the other way */
    rig_channel(r, &c, 0x4000, "x", 1);           /* no such channel */
    rig_input(r, 0, &c, "\x40\x00\x00\x09hi", 6); /* more promised than there */
    cr_assert(ph_turnd_list(r->d, &id, &info));
    cr_expect_eq(info.dropped, 4);
    rig_free(r);
}

Test(turn_conn, peers_of_an_allocation_can_be_asked_for_until_its_end_is_told)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), v[8], peer = rig_addr(peer_text);
    struct ph_turnd_ev ev;

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_bind(r, &c, 0x4000, peer_text), 0);
    cr_assert_eq(rig_permit(r, &c, "192.0.2.8"), 0);
    cr_assert_eq(ph_turnd_peers(r->d, 0, v, 8), 3);
    cr_expect(ph_addr_eq_ip(&v[0], &peer));
    cr_expect_eq(v[0].port, 0, "a permission is for all ports");
    cr_expect(ph_addr_eq_endpoint(&v[2], &peer), "a channel for one");
    for (unsigned n = 0; n < 3; n++)
        cr_expect_eq(ph_turnd_peers(r->d, 0, v, n), n);
    cr_assert(ph_turnd_end(r->d, 0, r->now));
    do
        cr_assert(ph_turnd_event(r->d, &ev));
    while (ev.type != PH_TURND_ALLOC_DOWN);
    cr_expect_eq(ph_turnd_peers(r->d, ev.info.id, v, 8), 3);
    cr_expect_not(ph_turnd_event(r->d, &ev));
    cr_expect_eq(ph_turnd_peers(r->d, 0, v, 8), 0);
    rig_free(r);
}

/* --- sessions -------------------------------------------------------------------------------------- */

static uint64_t session_of(struct rig *r, const struct ph_addr *c)
{
    struct ph_turnd_info info;
    for (uint32_t id = 0; ph_turnd_list(r->d, &id, &info);)
        if (ph_addr_eq(&info.client, c))
            return info.session;
    cr_assert_fail("no such allocation");
    return 0;
}

Test(turn_conn, sessions_have_ids_that_are_never_used_twice)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), e = rig_addr("203.0.113.9:40001");

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_allocate(r, &e), 0);
    uint64_t first = session_of(r, &c), second = session_of(r, &e);
    cr_expect_eq(second, first + 1);
    cr_assert_eq(rig_refresh(r, &c, 0), 0);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(session_of(r, &c), first + 2, "the slot again, but not the id");
    rig_other(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    uint64_t other = session_of(r, &c);
    cr_expect_eq(first / 1000000000000000u, 0);
    cr_expect_eq(other / 1000000000000000u, 1, "the worker");
    /* A second later this server starts anew. */
    struct ph_turnd *d = ph_turnd_new(&r->c, &r->env, r->now);
    ph_turnd_wall_clock(d, 1800000001, r->now);
    ph_turnd_free(r->core[0]);
    r->core[0] = r->d = d;
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_gt(session_of(r, &c), first + 2);
    rig_free(r);
}

Test(turn_conn, session_ids_have_18_digits_at_most)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->c.worker = 255;
    rig_start(r);
    ph_turnd_wall_clock(r->d, INT64_C(253402300799), r->now); /* 9999-12-31 */
    cr_assert_eq(rig_allocate_with(r, &c, 0, 0), 0);
    cr_expect_lt(session_of(r, &c), 1000000000000000000u);
    cr_expect_eq(session_of(r, &c) / 1000000000000000u, 255);
    rig_free(r);
}

/* --- other servers --------------------------------------------------------------------------------- */

static void ask(struct rig *r, const struct ph_addr *c)
{
    rig_challenge(r, c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send_signed(r, c);
}

static void expect_alternate(struct rig *r, const struct ph_addr *c, const char *text)
{
    struct ph_addr at, want = rig_addr(text);

    ask(r, c);
    cr_assert_eq(rig_code(r), 300);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_ALTERNATE_SERVER, &at), 0);
    cr_expect(ph_addr_eq_endpoint(&at, &want), "%s", text);
}

Test(turn_conn, alternate_servers_are_named_in_turn)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->c.live.alternate[0] = rig_addr_on("198.51.100.7:3478", PH_PROTO_NONE);
    r->c.live.alternate[1] = rig_addr_on("198.51.100.8:3478", PH_UDP);
    r->c.live.n_alternates = 2;
    rig_start(r);
    expect_alternate(r, &c, "198.51.100.7:3478");
    expect_alternate(r, &c, "198.51.100.8:3478");
    expect_alternate(r, &c, "198.51.100.7:3478");
    cr_expect_eq(ph_turnd_stats(r->d)->redirected, 3);
    cr_expect_eq(ph_turnd_stats(r->d)->drained, 0);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    rig_free(r);
}

Test(turn_conn, alternate_servers_fit_the_clients_transport_and_family)
{
    struct rig *r = rig_new();
    struct ph_addr udp = rig_addr(client_text), tls = rig_addr_on(client_text, PH_TLS),
                   six = rig_addr("[2001:db8::9]:40000");

    r->c.live.alternate[0] = rig_addr_on("198.51.100.7:5349", PH_TLS);
    r->c.live.alternate[1] = rig_addr_on("[2001:db8::7]:3478", PH_PROTO_NONE);
    r->c.live.n_alternates = 2;
    rig_start(r);
    expect_alternate(r, &tls, "198.51.100.7:5349");
    expect_alternate(r, &six, "[2001:db8::7]:3478");
    ask(r, &udp);
    cr_expect_eq(rig_code(r), 0, "there is none for it: it is served here");
    rig_free(r);
}

Test(turn_conn, draining_takes_no_new_allocations)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), late = rig_addr("203.0.113.9:40001");
    struct ph_turnd_live live = r->c.live;

    cr_assert_eq(rig_allocate(r, &c), 0);
    int n = ph_msgw_end(&r->w);
    live.draining = true;
    ph_turnd_reload(r->d, &live, r->now);
    rig_input(r, 0, &c, r->req, (size_t)n);
    cr_expect_eq(rig_code(r), 0, "the Allocate of one that stands, sent again");
    ask(r, &late);
    cr_expect_eq(rig_code(r), 508);
    cr_expect_eq(ph_turnd_stats(r->d)->drained, 1);
    cr_expect_eq(rig_refresh(r, &c, 600), 0, "and it goes on");
    live.alternate[0] = rig_addr_on("198.51.100.7:3478", PH_PROTO_NONE);
    live.n_alternates = 1;
    ph_turnd_reload(r->d, &live, r->now);
    expect_alternate(r, &late, "198.51.100.7:3478");
    live.draining = false;
    live.n_alternates = 0;
    ph_turnd_reload(r->d, &live, r->now);
    ask(r, &late);
    cr_expect_eq(rig_code(r), 0);
    rig_free(r);
}

Test(turn_conn, quota_refusals_are_counted)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text), more = rig_addr("203.0.113.9:40001");

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_allocate(r, &more), 486);
    cr_expect_eq(ph_turnd_stats(r->d)->quota, 1);
    rig_free(r);
}

/* --- waiting for a look-up ------------------------------------------------------------------------- */

Test(turn_conn, a_packet_that_must_wait_is_left_as_it_was)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    struct ph_userdb *db = ph_userdb_new(&(struct ph_userdb_conf){0}, &r->env);

    r->c.userdb = db;
    r->user = "carol";
    rig_start(r);
    rig_challenge(r, &c);
    uint64_t requests = ph_turnd_stats(r->d)->requests;
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_sign(r);
    int n = ph_msgw_end(&r->w);
    cr_assert_eq(rig_input(r, 0, &c, r->req, (size_t)n), PH_LATER);
    cr_expect_eq(r->pkt.b.len, (uint32_t)n);
    cr_expect_eq(memcmp(ph_buf_data(&r->pkt.b), r->req, (size_t)n), 0);
    cr_expect_eq(ph_turnd_stats(r->d)->lookups, 1);
    cr_expect_eq(ph_turnd_stats(r->d)->requests, requests);
    struct ph_userdb_user u = {.expires_s = INT64_MAX};
    struct ph_userdb_ask q;
    cr_assert(ph_userdb_ask(db, &q, r->now));
    memcpy(u.key, r->key.b, sizeof u.key);
    ph_userdb_answer(db, ph_str(rig_realm), ph_str("carol"), PH_USERDB_FOUND, &u, r->now);
    rig_input(r, 0, &c, r->req, (size_t)n);
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(ph_turnd_stats(r->d)->requests, requests + 1);
    cr_expect_eq(ph_turnd_stats(r->d)->lookups, 1);
    rig_free(r);
    ph_userdb_free(db);
}
