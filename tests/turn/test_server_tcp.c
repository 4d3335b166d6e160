/*
 * TCP relays (RFC 6062): Allocate for TCP, Connect, ConnectionBind, ConnectionAttempt.
 */
#include "support/oom.h"
#include "turn/rig.h"
#include "turn/token.h"

static const char client_text[] = "203.0.113.9:40000";
static const char data_text[] = "203.0.113.9:40001"; /* the client's second connection */
static const char peer_text[] = "192.0.2.7:9000";

static struct ph_addr client(void)
{
    return rig_addr_on(client_text, PH_TCP);
}

/* Asks for a TCP relay, with one more attribute if attr is not 0.  Returns the code. */
static int allocate_tcp(struct rig *r, const struct ph_addr *c, uint16_t attr, uint64_t value)
{
    if (r->c.live.auth)
        rig_challenge(r, c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_TCP);
    if (attr == PH_ATTR_DONT_FRAGMENT)
        ph_msgw_flag(&r->w, attr);
    else if (attr)
        ph_msgw_uint(&r->w, attr, value);
    if (r->c.live.auth)
        rig_send_signed(r, c);
    else
        rig_send(r, c);
    return rig_code(r);
}

static struct rig *with_relay(void)
{
    struct rig *r = rig_new();
    struct ph_addr c = client();
    r->c.nonce.ttl_s = 3600;
    rig_start(r);
    cr_assert_eq(allocate_tcp(r, &c, 0, 0), 0);
    return r;
}

static int connect_to(struct rig *r, const struct ph_addr *c, const char *peer)
{
    struct ph_addr a = rig_addr(peer);
    rig_begin(r, PH_CONNECT);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &a);
    rig_send_signed(r, c);
    return rig_code(r);
}

/* CONNECTION-ID of what came out; 0: none. */
static uint32_t id_out(const struct rig *r)
{
    uint64_t id;
    return r->has_out && ph_msg_uint(&r->out, PH_IX_CONNECTION_ID, &id) == 0 ? (uint32_t)id : 0;
}

static int bind_conn(struct rig *r, const struct ph_addr *c, uint32_t id)
{
    rig_begin(r, PH_CONNECTION_BIND);
    ph_msgw_uint(&r->w, PH_ATTR_CONNECTION_ID, id);
    rig_send_signed(r, c);
    return rig_code(r);
}

/* A peer connects to the relay.  Returns what the core says; the indication is left in r->out. */
static int accept_from(struct rig *r, const char *peer, uint32_t *id)
{
    struct ph_addr a = rig_addr_on(peer, PH_TCP);
    int err = ph_turnd_peer_accepted(r->d, r->opened_sock[a.family == PH_AF_INET6], &a, id, r->now);
    rig_take(r);
    return err;
}

/* --- Allocate -------------------------------------------------------------------------------------- */

Test(turn_tcp, relay_is_a_listening_socket)
{
    struct rig *r = with_relay();
    struct ph_turnd_info info;
    struct ph_addr relay;
    uint32_t id = 0;

    cr_expect_eq(r->opened_at.proto, PH_TCP);
    cr_expect(r->opened_at.port >= 50000 && r->opened_at.port <= 50999);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay), 0);
    cr_expect_eq(relay.port, r->opened_at.port);
    cr_assert(ph_turnd_list(r->d, &id, &info));
    cr_expect(info.tcp);
    rig_free(r);
}

/* RFC 6062 5.1. */
Test(turn_tcp, relay_is_for_clients_on_streams)
{
    static const struct {
        uint8_t proto;
        int code;
    } table[] = {{PH_UDP, 400}, {PH_DTLS, 400}, {PH_TCP, 0}, {PH_TLS, 0}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rig *r = rig_default();
        struct ph_addr c = rig_addr_on(client_text, table[i].proto);
        cr_expect_eq(allocate_tcp(r, &c, 0, 0), table[i].code, "row %zu", i);
        cr_expect_eq(ph_turnd_count(r->d), table[i].code == 0);
        rig_free(r);
    }
}

Test(turn_tcp, attributes_of_udp_relays_are_refused)
{
    static const struct {
        uint16_t attr;
        uint64_t value;
    } table[] = {{PH_ATTR_EVEN_PORT, 0x80},
                 {PH_ATTR_EVEN_PORT, 0},
                 {PH_ATTR_DONT_FRAGMENT, 0},
                 {PH_ATTR_RESERVATION_TOKEN, 12345}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rig *r = rig_default();
        struct ph_addr c = client();
        cr_expect_eq(allocate_tcp(r, &c, table[i].attr, table[i].value), 400, "row %zu", i);
        rig_free(r);
    }
}

Test(turn_tcp, relays_can_be_switched_off)
{
    struct rig *r = rig_new();
    struct ph_addr c = client();

    r->c.no_tcp_relay = true;
    rig_start(r);
    cr_expect_eq(allocate_tcp(r, &c, 0, 0), 442);
    cr_expect_eq(rig_allocate(r, &c), 0, "UDP relays are another matter");
    rig_free(r);
}

Test(turn_tcp, no_messages_to_peers)
{
    struct rig *r = with_relay();
    struct ph_addr c = client();

    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    cr_expect_eq(rig_bind(r, &c, 0x4000, peer_text), 403);
    cr_expect_eq(rig_indicate(r, &c, peer_text, "x", 1), PH_DROP);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "x", 1), PH_DROP);
    cr_expect_eq(ph_turnd_stats(r->d)->to_peer_packets, 0);
    rig_free(r);
}

/* --- Connect --------------------------------------------------------------------------------------- */

Test(turn_tcp, connect_is_answered_when_the_peer_has)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), peer = rig_addr_on(peer_text, PH_TCP);

    r->hold_connects = true;
    connect_to(r, &c, peer_text);
    cr_assert_eq(r->verdict, PH_CONSUMED);
    cr_assert_eq(r->connects, 1);
    cr_expect_eq(r->connect.sock, r->opened_sock[0]);
    cr_expect(ph_addr_eq(&r->connect.at, &peer));
    cr_expect_neq(r->connect.peer, 0);
    ph_turnd_peer_connected(r->d, r->connect.peer, 0, r->now);
    cr_assert(rig_take(r));
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(r->out.method, PH_CONNECT);
    cr_expect_eq(memcmp(ph_msg_txid(&r->out), r->req + 8, PH_TXID_LEN), 0);
    cr_expect_eq(id_out(r), r->connect.peer);
    cr_expect_eq(ph_msg_check_integrity(&r->out, ph_key_slice(&r->key)), 0);
    cr_expect_eq(r->pkt.conn, 40000);
    cr_expect(ph_addr_eq(&r->pkt.dst, &c));
    cr_expect_eq(ph_turnd_stats(r->d)->connects, 1);
    rig_free(r);
}

Test(turn_tcp, connect_that_fails_is_447)
{
    static const int errs[] = {-ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, -EADDRINUSE, -EMFILE};
    struct rig *r = with_relay();
    struct ph_addr c = client();

    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++) {
        r->connect_err = errs[i];
        cr_expect_eq(connect_to(r, &c, peer_text), 447);
        cr_expect_eq(ph_msg_check_integrity(&r->out, ph_key_slice(&r->key)), 0);
    }
    cr_expect_eq(ph_turnd_stats(r->d)->connect_failed, 5);
    cr_expect_eq(r->peer_closes, 0, "the shell knows");
    r->connect_err = 0;
    cr_expect_eq(connect_to(r, &c, peer_text), 0, "and it may be tried again");
    rig_free(r);
}

Test(turn_tcp, connect_is_given_up_after_30_s)
{
    struct rig *r = with_relay();
    struct ph_addr c = client();

    r->hold_connects = true;
    connect_to(r, &c, peer_text);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(30));
    rig_sleep(r, PH_SEC(30) - 1);
    cr_expect_eq(r->peer_closes, 0);
    r->verdict = PH_CONSUMED;
    rig_sleep(r, 1);
    rig_result(r);
    cr_expect_eq(rig_code(r), 447);
    cr_expect_eq(r->peer_closes, 1);
    cr_expect_eq(r->peer_close.peer, r->connect.peer);
    ph_turnd_peer_connected(r->d, r->connect.peer, 0, r->now); /* too late */
    cr_expect_not(rig_take(r));
    rig_free(r);
}

Test(turn_tcp, connect_needs_an_allocation_for_tcp)
{
    struct rig *r = rig_default();
    struct ph_addr c = client();

    rig_challenge(r, &c);
    cr_expect_eq(connect_to(r, &c, peer_text), 437);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(connect_to(r, &c, peer_text), 403, "a UDP relay");
    cr_expect_eq(r->connects, 0);
    rig_free(r);
}

Test(turn_tcp, connect_without_a_whole_peer_address_is_400)
{
    struct rig *r = with_relay();
    struct ph_addr c = client();

    rig_begin(r, PH_CONNECT);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 400);
    cr_expect_eq(connect_to(r, &c, "192.0.2.7"), 400, "port 0");
    cr_expect_eq(connect_to(r, &c, "[2001:db8::7]:9000"), 443);
    rig_free(r);
}

/* The table of turn.md 3 (SSRF). */
Test(turn_tcp, connect_to_forbidden_peers_is_403)
{
    static const char *const peers[] = {
        "127.0.0.1:80",       "0.0.0.0:80",    "10.0.0.1:80",       "192.168.0.1:80",
        "169.254.169.254:80", "100.64.0.1:80", "224.0.0.1:80",      "255.255.255.255:80",
        "198.18.0.1:80",      "192.0.0.1:80",  "198.51.100.1:3478", "198.51.100.1:5349",
    };
    struct rig *r = with_relay();
    struct ph_addr c = client();

    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++)
        cr_expect_eq(connect_to(r, &c, peers[i]), 403, "%s", peers[i]);
    cr_expect_eq(r->connects, 0);
    cr_expect_geq(ph_turnd_stats(r->d)->forbidden_peer, sizeof peers / sizeof *peers);
    rig_free(r);
}

Test(turn_tcp, connect_to_forbidden_ipv6_peers_is_403)
{
    static const char *const peers[] = {
        "[::1]:80",           "[::]:80",        "[::ffff:127.0.0.1]:80", "[::127.0.0.1]:80",
        "[2002:7f00:1::]:80", "[fe80::1]:80",   "[fc00::1]:80",          "[64:ff9b::7f00:1]:80",
        "[ff02::1]:80",       "[2001:0:1::]:80"};
    struct rig *r = rig_default();
    struct ph_addr c = client();

    cr_assert_eq(allocate_tcp(r, &c, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET6), 0);
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++)
        cr_expect_eq(connect_to(r, &c, peers[i]), 403, "%s", peers[i]);
    cr_expect_eq(connect_to(r, &c, "[2001:db8::7]:80"), 0);
    rig_free(r);
}

Test(turn_tcp, connect_reaches_a_live_relay_of_this_server_and_nothing_beside_it)
{
    struct rig *r = rig_new();
    struct ph_addr c = client(), e = rig_addr_on("203.0.113.10:40000", PH_TCP);
    char text[PH_ADDR_TEXT];

    r->c.relay[0].external = rig_addr("192.0.2.200");
    r->c.relay[0].at = rig_addr("10.0.0.1");
    rig_start(r);
    cr_assert_eq(allocate_tcp(r, &e, 0, 0), 0);
    struct ph_addr local = r->opened_at, shown = rig_addr("192.0.2.200");
    cr_assert_eq(allocate_tcp(r, &c, 0, 0), 0);
    shown.port = local.port;
    cr_expect_eq(connect_to(r, &c, ph_addr_text(&shown, text)), 0);
    cr_expect(ph_addr_eq_endpoint(&r->connect.at, &local), "straight to the bound address");
    local.port = 51000;
    cr_expect_eq(connect_to(r, &c, ph_addr_text(&local, text)), 403);
    rig_free(r);
}

/* turn.md 3: no port scans through a relay.  A permission is for all ports, a connection for one. */
Test(turn_tcp, connect_to_a_denied_port_is_403)
{
    struct rig *r = with_relay();
    struct ph_addr c = client();

    cr_assert_eq(ph_acl_add(r->acl, false, "*:1-1023", 8), 0);
    cr_assert_eq(rig_permit(r, &c, "192.0.2.7"), 0);
    cr_expect_eq(connect_to(r, &c, "192.0.2.7:25"), 403);
    cr_expect_eq(connect_to(r, &c, "192.0.2.7:1024"), 0);
    rig_free(r);
}

/* RFC 6062 5.2. */
Test(turn_tcp, one_connection_to_a_peer_at_a_time)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);

    r->hold_connects = true;
    connect_to(r, &c, peer_text);
    cr_expect_eq(connect_to(r, &c, peer_text), 446, "one is being made");
    ph_turnd_peer_connected(r->d, r->connect.peer, 0, r->now);
    rig_take(r);
    cr_expect_eq(connect_to(r, &c, peer_text), 446, "one waits");
    cr_assert_eq(bind_conn(r, &data, r->connect.peer), 0);
    cr_expect_eq(connect_to(r, &c, peer_text), 446, "one is in use");
    connect_to(r, &c, "192.0.2.7:9001");
    cr_expect_eq(r->connects, 2, "another port is another peer");
    ph_turnd_peer_closed(r->d, r->splice.peer, r->now);
    r->hold_connects = false;
    cr_expect_eq(connect_to(r, &c, peer_text), 0);
    rig_free(r);
}

Test(turn_tcp, connect_sent_again_is_not_a_second_one)
{
    struct rig *r = with_relay();
    struct ph_addr c = client();

    r->hold_connects = true;
    connect_to(r, &c, peer_text);
    int n = ph_msgw_end(&r->w);
    cr_expect_eq(rig_input(r, 2, &c, r->req, (size_t)n), PH_CONSUMED);
    ph_turnd_peer_connected(r->d, r->connect.peer, 0, r->now);
    rig_take(r);
    rig_input(r, 2, &c, r->req, (size_t)n);
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(id_out(r), r->connect.peer);
    cr_expect_eq(r->connects, 1);
    rig_free(r);
}

Test(turn_tcp, connections_of_an_allocation_are_limited)
{
    struct rig *r = rig_new();
    struct ph_addr c = client();
    uint32_t id;

    r->c.max_connections = 2;
    rig_start(r);
    cr_assert_eq(allocate_tcp(r, &c, 0, 0), 0);
    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    cr_expect_eq(connect_to(r, &c, "192.0.2.7:1"), 0);
    cr_expect_eq(connect_to(r, &c, "192.0.2.7:2"), 0);
    cr_expect_eq(connect_to(r, &c, "192.0.2.7:3"), 486);
    cr_expect_eq(accept_from(r, "192.0.2.7:4", &id), PH_E_LIMIT);
    ph_turnd_peer_closed(r->d, r->connect.peer, r->now);
    cr_expect_eq(accept_from(r, "192.0.2.7:4", &id), 0);
    rig_free(r);
}

Test(turn_tcp, connects_to_many_new_peers_are_held_back)
{
    struct rig *r = rig_new();
    struct ph_addr c = client();

    r->c.live.new_peers_burst = 2;
    r->c.live.new_peers_rate = 1;
    rig_start(r);
    cr_assert_eq(allocate_tcp(r, &c, 0, 0), 0);
    cr_expect_eq(connect_to(r, &c, "192.0.2.1:80"), 0);
    cr_expect_eq(connect_to(r, &c, "192.0.2.2:80"), 0);
    cr_expect_eq(connect_to(r, &c, "192.0.2.3:80"), 508);
    cr_expect_eq(ph_turnd_stats(r->d)->over_peers, 1);
    r->now += PH_SEC(1);
    cr_expect_eq(connect_to(r, &c, "192.0.2.3:80"), 0);
    rig_free(r);
}

/* --- ConnectionAttempt ----------------------------------------------------------------------------- */

Test(turn_tcp, peers_with_a_permission_are_announced)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), at, peer = rig_addr(peer_text);
    uint32_t id = 0;

    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    cr_assert_eq(accept_from(r, peer_text, &id), 0);
    cr_assert(r->has_out);
    cr_expect_eq(r->out.method, PH_CONNECTION_ATTEMPT);
    cr_expect_eq(r->out.cls, PH_INDICATION);
    cr_expect_eq(id_out(r), id);
    cr_expect_neq(id, 0);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_PEER_ADDRESS, &at), 0);
    cr_expect(ph_addr_eq_endpoint(&at, &peer));
    cr_expect_eq(r->pkt.conn, 40000);
    cr_expect(ph_addr_eq(&r->pkt.dst, &c));
    cr_expect_eq(ph_turnd_stats(r->d)->connection_attempts, 1);
    rig_free(r);
}

Test(turn_tcp, peers_without_a_permission_are_turned_away)
{
    struct rig *r = with_relay();
    struct ph_addr c = client();
    uint32_t id;

    cr_expect_eq(accept_from(r, peer_text, &id), PH_E_FORBIDDEN);
    cr_expect_not(r->has_out, "nothing is said of it");
    cr_expect_eq(ph_turnd_stats(r->d)->no_permission, 1);
    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    r->now += PH_SEC(300);
    cr_expect_eq(accept_from(r, peer_text, &id), PH_E_FORBIDDEN, "it has run out");
    rig_free(r);
}

/* The other relay's connection comes straight from its bound address. */
Test(turn_tcp, relays_of_this_server_are_announced_by_their_external_address)
{
    struct rig *r = rig_new();
    struct ph_addr c = client(), e = rig_addr_on("203.0.113.10:40000", PH_TCP), at;
    char text[PH_ADDR_TEXT];
    uint32_t id;

    r->c.relay[0].external = rig_addr("192.0.2.200");
    r->c.relay[0].at = rig_addr("10.0.0.1");
    rig_start(r);
    cr_assert_eq(allocate_tcp(r, &e, 0, 0), 0);
    struct ph_addr from = r->opened_at, shown = rig_addr("192.0.2.200");
    cr_assert_eq(allocate_tcp(r, &c, 0, 0), 0);
    shown.port = from.port;
    cr_assert_eq(rig_permit(r, &c, ph_addr_text(&shown, text)), 0);
    cr_assert_eq(accept_from(r, ph_addr_text(&from, text), &id), 0);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_PEER_ADDRESS, &at), 0);
    cr_expect(ph_addr_eq_endpoint(&at, &shown));
    from.port = 51000; /* somebody else on this machine */
    cr_expect_eq(accept_from(r, ph_addr_text(&from, text), &id), PH_E_FORBIDDEN);
    rig_free(r);
}

Test(turn_tcp, answers_that_wait_together_all_go_out)
{
    struct rig *r = with_relay();
    struct ph_addr c = client();
    uint32_t id[3];

    r->hold_connects = true;
    for (int i = 0; i < 3; i++) {
        static const char *const peers[] = {"192.0.2.7:1", "192.0.2.7:2", "192.0.2.7:3"};
        connect_to(r, &c, peers[i]);
        id[i] = r->connect.peer;
    }
    for (int i = 0; i < 3; i++)
        ph_turnd_peer_connected(r->d, id[i], i == 1 ? -ECONNREFUSED : 0, r->now);
    r->outputs = 0;
    rig_take(r);
    cr_expect_eq(r->outputs, 3);
    cr_expect_eq(id_out(r), id[2], "in their order");
    rig_free(r);
}

Test(turn_tcp, only_tcp_relays_take_connections)
{
    struct rig *r = rig_default();
    struct ph_addr c = client(), from = rig_addr_on(peer_text, PH_TCP);
    uint32_t id;

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    cr_expect_eq(ph_turnd_peer_accepted(r->d, r->opened_sock[0], &from, &id, r->now), PH_E_MISSING);
    cr_expect_eq(ph_turnd_peer_accepted(r->d, PH_SOCK_RELAY | 9999, &from, &id, r->now),
                 PH_E_MISSING);
    rig_free(r);
}

/* --- ConnectionBind -------------------------------------------------------------------------------- */

Test(turn_tcp, bind_ties_the_two_connections)
{
    static const uint8_t protos[] = {PH_TCP, PH_TLS};

    for (size_t i = 0; i < sizeof protos; i++) {
        struct rig *r = with_relay();
        struct ph_addr c = client(), data = rig_addr_on(data_text, protos[i]);

        cr_assert_eq(connect_to(r, &c, peer_text), 0);
        uint32_t id = id_out(r);
        cr_assert_eq(bind_conn(r, &data, id), 0);
        cr_expect_eq(r->pkt.conn, 40001, "the answer goes by the connection that is bound");
        cr_expect_eq(ph_msg_check_integrity(&r->out, ph_key_slice(&r->key)), 0);
        cr_expect_eq(r->splices, 1);
        cr_expect_eq(r->splice.peer, id);
        cr_expect_eq(r->splice.conn, 40001);
        cr_expect_eq(ph_turnd_stats(r->d)->connection_binds, 1);
        rig_sleep(r, PH_SEC(31));
        cr_expect_eq(r->peer_closes, 0, "bound in time");
        rig_free(r);
    }
}

Test(turn_tcp, bind_of_a_peer_that_came)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);
    uint32_t id;

    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    cr_assert_eq(accept_from(r, peer_text, &id), 0);
    cr_expect_eq(bind_conn(r, &data, id), 0);
    cr_expect_eq(r->splice.peer, id);
    rig_free(r);
}

/* RFC 6062 5.2, 5.3. */
Test(turn_tcp, what_nobody_binds_is_closed_after_30_s)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);
    uint32_t in;

    cr_assert_eq(rig_permit(r, &c, "192.0.2.8"), 0);
    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    uint32_t out = id_out(r);
    r->now += PH_SEC(10);
    cr_assert_eq(accept_from(r, "192.0.2.8:9000", &in), 0);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(20));
    rig_sleep(r, PH_SEC(20));
    cr_expect_eq(r->peer_closes, 1);
    cr_expect_eq(r->peer_close.peer, out);
    rig_sleep(r, PH_SEC(10));
    cr_expect_eq(r->peer_closes, 2);
    cr_expect_eq(r->peer_close.peer, in);
    cr_expect_eq(bind_conn(r, &data, out), 400);
    cr_expect_eq(bind_conn(r, &data, in), 400);
    rig_free(r);
}

Test(turn_tcp, bind_wants_a_pending_id)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP),
                   more = rig_addr_on("203.0.113.9:40002", PH_TCP);

    rig_begin(r, PH_CONNECTION_BIND);
    rig_send_signed(r, &data);
    cr_expect_eq(rig_code(r), 400, "no CONNECTION-ID");
    cr_expect_eq(bind_conn(r, &data, 0), 400);
    cr_expect_eq(bind_conn(r, &data, 0x00FFFFFF), 400);
    r->hold_connects = true;
    connect_to(r, &c, peer_text);
    uint32_t id = r->connect.peer;
    cr_expect_eq(bind_conn(r, &data, id), 400, "not connected yet");
    ph_turnd_peer_connected(r->d, id, 0, r->now);
    rig_take(r);
    cr_expect_eq(bind_conn(r, &data, id + 0x10000), 400, "another generation");
    cr_expect_eq(bind_conn(r, &data, id), 0);
    cr_expect_eq(bind_conn(r, &more, id), 400, "bound already");
    cr_expect_eq(r->splices, 1);
    rig_free(r);
}

Test(turn_tcp, bind_by_another_user_is_441)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);

    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    uint32_t id = id_out(r);
    r->user = "bob";
    r->pass = "hidden";
    cr_expect_eq(bind_conn(r, &data, id), 441);
    r->user = "alice";
    r->pass = "secret";
    cr_expect_eq(bind_conn(r, &data, id), 0, "and it is still to be had");
    rig_free(r);
}

/* Adds a token that holds a key of 20 times this letter. */
static void put_token(struct rig *r, const struct ph_oauth_key *k, char letter)
{
    struct grant g = {.key_n = 20, .timestamp = UINT64_C(1800000000) << 16, .lifetime_s = 3600};

    memset(g.key, letter, sizeof g.key);
    struct token t = token_seal(k, "turn.example.org", &g);
    r->key = (struct ph_key){.n = 20};
    memcpy(r->key.b, g.key, 20);
    ph_msgw_bytes(&r->w, PH_ATTR_ACCESS_TOKEN, token_slice(&t));
}

/* Ids are easy to guess, and all clients of an authorization server go by the name of its key. */
Test(turn_tcp, bind_with_another_token_is_441)
{
    static const struct ph_oauth_key key = {
        .kid = "north", .key = "01234567890123456789012345678901", .key_len = 32};
    struct rig *r = rig_new();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);

    r->c.oauth_server = "turn.example.org";
    r->c.live.oauth = &key;
    r->c.live.n_oauth = 1;
    r->own_key = true;
    r->user = key.kid;
    rig_start(r);
    rig_challenge(r, &c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_TCP);
    put_token(r, &key, 'a');
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    uint32_t id = id_out(r);
    static const struct {
        char letter;
        int code;
    } table[] = {{'b', 441}, {'a', 0}};
    for (size_t i = 0; i < 2; i++) {
        rig_begin(r, PH_CONNECTION_BIND);
        ph_msgw_uint(&r->w, PH_ATTR_CONNECTION_ID, id);
        put_token(r, &key, table[i].letter);
        rig_send_signed(r, &data);
        cr_expect_eq(rig_code(r), table[i].code, "row %zu", i);
    }
    rig_free(r);
}

Test(turn_tcp, bind_on_the_control_connection_is_437)
{
    struct rig *r = with_relay();
    struct ph_addr c = client();

    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    cr_expect_eq(bind_conn(r, &c, id_out(r)), 437);
    cr_expect_eq(r->splices, 0);
    rig_free(r);
}

/* turn.md 3: spoofed-source state by CONNECTION-BIND over UDP. */
Test(turn_tcp, bind_over_datagrams_is_refused)
{
    static const uint8_t protos[] = {PH_UDP, PH_DTLS};
    struct rig *r = with_relay();
    struct ph_addr c = client();

    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    uint32_t id = id_out(r);
    for (size_t i = 0; i < sizeof protos; i++) {
        struct ph_addr data = rig_addr_on(data_text, protos[i]);
        rig_begin(r, PH_CONNECTION_BIND);
        ph_msgw_uint(&r->w, PH_ATTR_CONNECTION_ID, id);
        rig_send(r, &data);
        cr_expect_eq(rig_code(r), 401, "without credentials there is nothing to be had");
        cr_expect_eq(bind_conn(r, &data, id), 400);
    }
    cr_expect_eq(r->splices, 0);
    rig_free(r);
}

Test(turn_tcp, bind_of_another_workers_connection_goes_there)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);
    struct ph_turnd_where where;

    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    uint32_t id = id_out(r);
    rig_other(r);
    bind_conn(r, &data, id);
    cr_assert_eq(r->verdict, PH_ELSEWHERE);
    cr_expect_eq(ph_turnd_elsewhere(r->d, &where), 0);
    cr_expect_not(where.fetch, "the connection goes, the allocation stays");
    cr_expect_eq(where.slot, id);
    int n = ph_msgw_end(&r->w);
    cr_expect_eq(r->pkt.b.len, (uint32_t)n);
    cr_expect_eq(memcmp(ph_buf_data(&r->pkt.b), r->req, (size_t)n), 0, "untouched");
    cr_expect_eq(ph_turnd_stats(r->d)->requests, 0);
    r->verdict = ph_turnd_input_final(r->d, &r->pkt, r->now);
    rig_result(r);
    cr_expect_eq(rig_code(r), 400, "nobody has it");
    rig_other(r);
    rig_input(r, 2, &data, r->req, (size_t)n);
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(r->splice.conn, 40001);
    rig_free(r);
}

Test(turn_tcp, ids_name_the_worker_and_are_not_used_again_soon)
{
    struct rig *r = rig_new();
    struct ph_addr c = client();
    uint32_t last = 0;

    r->c.worker = 200;
    rig_start(r);
    cr_assert_eq(allocate_tcp(r, &c, 0, 0), 0);
    for (int i = 0; i < 600; i++) {
        cr_assert_eq(connect_to(r, &c, peer_text), 0);
        uint32_t id = id_out(r);
        cr_assert_eq(id >> 24, 200);
        cr_assert_neq(id, last);
        cr_assert_neq(id & 0x00FF0000, 0, "never 0, not even of worker 0");
        ph_turnd_peer_closed(r->d, id, r->now);
        rig_take(r);
        last = id;
    }
    rig_free(r);
}

/* --- bytes ----------------------------------------------------------------------------------------- */

Test(turn_tcp, bytes_are_counted)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);
    struct ph_turnd_info info;
    uint32_t at = 0;

    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    uint32_t id = id_out(r);
    cr_expect_eq(ph_turnd_peer_bytes(r->d, id, PH_BPS_TO_CLIENT, 100, r->now), 0, "not bound yet");
    cr_assert_eq(bind_conn(r, &data, id), 0);
    cr_expect_eq(ph_turnd_peer_bytes(r->d, id, PH_BPS_FROM_CLIENT, 1000, r->now), 1000);
    cr_expect_eq(ph_turnd_peer_bytes(r->d, id, PH_BPS_TO_CLIENT, 65536, r->now), 65536);
    cr_expect_eq(ph_turnd_peer_bytes(r->d, id, PH_BPS_TO_CLIENT, 1, r->now), 1);
    cr_assert(ph_turnd_list(r->d, &at, &info));
    cr_expect_eq(info.to_peer_bytes, 1000);
    cr_expect_eq(info.to_client_bytes, 65537);
    cr_expect_eq(ph_turnd_stats(r->d)->to_peer_bytes, 1000);
    cr_expect_eq(ph_turnd_stats(r->d)->to_client_bytes, 65537);
    cr_expect_eq(ph_turnd_peer_bytes(r->d, id ^ 0x10000, PH_BPS_TO_CLIENT, 1, r->now), 0);
    rig_free(r);
}

/* coturn #425: max-bps did not hold on TCP relays. */
Test(turn_tcp, bytes_are_bounded)
{
    struct rig *r = rig_new();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);
    uint64_t passed = 0;

    r->c.live.max_bps = 10000;
    rig_start(r);
    cr_assert_eq(allocate_tcp(r, &c, 0, 0), 0);
    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    uint32_t id = id_out(r);
    cr_assert_eq(bind_conn(r, &data, id), 0);
    for (int i = 0; i < 1000; i++) { /* ten seconds of a shell that has always more */
        passed += ph_turnd_peer_bytes(r->d, id, PH_BPS_FROM_CLIENT, 65536, r->now);
        r->now += PH_MS(10);
    }
    cr_expect_geq(passed, 90000);
    cr_expect_leq(passed, 115000, "%llu", (unsigned long long)passed);
    cr_expect_eq(ph_turnd_stats(r->d)->over_bps, 0, "held back, not dropped");
    rig_free(r);
}

/* --- ends ------------------------------------------------------------------------------------------ */

/* RFC 6062 5.5: data connections end with their allocation. */
Test(turn_tcp, all_connections_close_when_the_allocation_ends)
{
    enum { RELEASED, EXPIRED, HUNG_UP, KILLED, WAYS };

    for (int way = 0; way < WAYS; way++) {
        struct rig *r = with_relay();
        struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);
        uint32_t in, at = 0;
        struct ph_turnd_info info;

        cr_assert_eq(rig_permit(r, &c, "192.0.2.8"), 0);
        cr_assert_eq(connect_to(r, &c, peer_text), 0);
        cr_assert_eq(bind_conn(r, &data, id_out(r)), 0);
        cr_assert_eq(accept_from(r, "192.0.2.8:9000", &in), 0);
        r->hold_connects = true;
        connect_to(r, &c, "192.0.2.9:9000");
        switch (way) {
        case RELEASED:
            cr_assert_eq(rig_refresh(r, &c, 0), 0);
            break;
        case EXPIRED:
            rig_sleep(r, PH_SEC(601));
            break;
        case HUNG_UP:
            rig_hang_up(r, &c);
            break;
        default:
            cr_assert(ph_turnd_list(r->d, &at, &info));
            cr_assert(ph_turnd_end(r->d, info.id, r->now));
            rig_take(r);
        }
        cr_expect_eq(r->peer_closes, 3, "way %d", way);
        cr_expect_eq(r->closes, 1);
        cr_expect_eq(r->downs, 1);
        cr_expect_eq(bind_conn(r, &data, in), 400);
        ph_turnd_peer_closed(r->d, in, r->now); /* the shell is a bit late */
        ph_turnd_peer_connected(r->d, r->connect.peer, 0, r->now);
        cr_expect_not(rig_take(r));
        rig_free(r);
    }
}

Test(turn_tcp, an_end_that_crosses_a_request_leaves_nothing)
{
    struct rig *r = with_relay();
    struct ph_addr c = client();

    /* The core ends the allocation before the shell has taken the events of Connect. */
    rig_begin(r, PH_CONNECT);
    struct ph_addr peer = rig_addr(peer_text);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    rig_sign(r);
    int n = ph_msgw_end(&r->w);
    memcpy(r->buf + PH_HEADROOM, r->req, (size_t)n);
    r->pkt = (struct ph_pkt){
        .b = {r->buf, sizeof r->buf, PH_HEADROOM, (uint32_t)n}, .src = c, .sock = 2, .conn = 40000};
    cr_assert_eq(ph_turnd_input(r->d, &r->pkt, r->now), PH_CONSUMED);
    rig_hang_up(r, &c);
    cr_expect_eq(r->connects, 0);
    cr_expect_eq(r->peer_closes, 0, "what was never opened");
    cr_expect_eq(r->downs, 1);
    rig_free(r);
}

Test(turn_tcp, closed_by_the_shell_before_it_was_bound)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);

    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    uint32_t id = id_out(r);
    ph_turnd_peer_closed(r->d, id, r->now);
    cr_expect_eq(bind_conn(r, &data, id), 400);
    r->hold_connects = true;
    connect_to(r, &c, peer_text);
    ph_turnd_peer_closed(r->d, r->connect.peer, r->now);
    cr_assert(rig_take(r));
    cr_expect_eq(rig_code(r), 447, "it never came up");
    cr_expect_eq(r->peer_closes, 0);
    rig_free(r);
}

Test(turn_tcp, connections_to_peers_that_a_reload_forbids_are_closed)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP);
    struct ph_turnd_live live = r->c.live;
    struct ph_acl *acl = ph_acl_new();

    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    uint32_t id = id_out(r);
    cr_assert_eq(bind_conn(r, &data, id), 0);
    cr_assert_eq(connect_to(r, &c, "192.0.3.7:9000"), 0);
    cr_assert_eq(ph_acl_add(acl, false, "192.0.2.0/24", 12), 0);
    live.acl = acl;
    ph_turnd_reload(r->d, &live, r->now);
    rig_take(r);
    cr_expect_eq(r->peer_closes, 1);
    cr_expect_eq(r->peer_close.peer, id);
    rig_free(r);
    ph_acl_free(acl);
}

Test(turn_tcp, peers_are_remembered_for_the_audit)
{
    struct rig *r = with_relay();
    struct ph_addr c = client(), v[8], one = rig_addr_on(peer_text, PH_TCP);
    uint32_t id;

    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    ph_turnd_peer_closed(r->d, id_out(r), r->now);
    cr_assert_eq(connect_to(r, &c, peer_text), 0);
    cr_assert_eq(rig_permit(r, &c, "192.0.2.8"), 0);
    cr_assert_eq(accept_from(r, "192.0.2.8:9000", &id), 0);
    cr_assert_eq(ph_turnd_peers(r->d, 0, v, 8), 3);
    cr_expect_eq(v[0].port, 0, "a permission");
    cr_expect(ph_addr_eq(&v[1], &one), "each peer once");
    cr_expect_eq(v[2].port, 9000);
    cr_expect_eq(ph_turnd_peers(r->d, 0, v, 2), 2);
    cr_expect_eq(ph_turnd_peers(r->d, 12345, v, 8), 0);
    rig_free(r);
}

Test(turn_tcp, no_auth_works_too)
{
    struct rig *r = rig_new();
    struct ph_addr c = client(), data = rig_addr_on(data_text, PH_TCP), peer = rig_addr(peer_text);

    r->c.live.auth = NULL;
    rig_start(r);
    cr_assert_eq(allocate_tcp(r, &c, 0, 0), 0);
    rig_begin(r, PH_CONNECT);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    rig_send(r, &c);
    cr_assert_eq(rig_code(r), 0);
    uint32_t id = id_out(r);
    rig_begin(r, PH_CONNECTION_BIND);
    ph_msgw_uint(&r->w, PH_ATTR_CONNECTION_ID, id);
    rig_send(r, &data);
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(r->splices, 1);
    rig_free(r);
}

Test(turn_tcp, out_of_memory_is_508_and_nothing_is_lost)
{
    if (!oom_works())
        cr_skip("shared libraries");
    for (unsigned n = 1;; n++) {
        struct rig *r = rig_default();
        struct ph_addr c = client();

        rig_challenge(r, &c);
        oom_fail_at(n);
        int code = allocate_tcp(r, &c, 0, 0);
        if (code == 0)
            code = connect_to(r, &c, peer_text);
        bool fired = oom_disarm();
        cr_assert(code == 0 || (fired && code == 508), "allocation %u: %d", n, code);
        if (code && ph_turnd_count(r->d))
            cr_assert_eq(connect_to(r, &c, peer_text), 0, "the next one");
        rig_free(r);
        if (!fired)
            break;
    }
}

Test(turn_tcp, out_of_memory_turns_a_peer_away)
{
    if (!oom_works())
        cr_skip("shared libraries");
    struct rig *r = with_relay();
    struct ph_addr c = client(), from = rig_addr_on(peer_text, PH_TCP);
    uint32_t id;

    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    oom_fail_at(1);
    int err = ph_turnd_peer_accepted(r->d, r->opened_sock[0], &from, &id, r->now);
    cr_assert(oom_disarm());
    cr_expect_eq(err, PH_E_NOMEM);
    cr_expect_eq(ph_turnd_peer_accepted(r->d, r->opened_sock[0], &from, &id, r->now), 0);
    rig_free(r);
}
