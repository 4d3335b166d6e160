/*
 * The TURN server's clients over TCP, TLS and DTLS, on loopback.
 */
#include "uv/turn_kit.h"

static struct turn_kit kit;
static struct client c;

static void setup(void)
{
    turn_kit_init(&kit);
    c.fd = -1;
}

static void teardown(void)
{
    if (c.fd >= 0)
        client_close(&c);
    turn_kit_fini(&kit);
}

TestSuite(uv_turn_clients, .init = setup, .fini = teardown);

/* --- every transport ------------------------------------------------------------------------------- */

static void relays(uint8_t proto, unsigned by)
{
    turn_kit_open(&kit);
    client_open(&c, &kit, proto);
    const struct ph_addr relay = client_allocate(&c);
    client_bind(&c, 0x4001, &kit.peer_at);
    client_echo(&c, &kit, 0x4001, &relay, "x"); /* three bytes of padding on streams */
    client_echo(&c, &kit, 0x4001, &relay, "hello");
    client_echo(&c, &kit, 0x4001, &relay, "four");
    client_echo(&c, &kit, 0x4001, &relay, "a");
    struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.allocations_now, 1);
    cr_expect_eq(st.allocations_by[by], 1);
    cr_expect_eq(st.allocations_by[0] + st.allocations_by[1] + st.allocations_by[2] +
                     st.allocations_by[3],
                 1);
    cr_expect_eq(st.turn.to_peer_bytes, 11);
    cr_expect_eq(st.turn.to_client_bytes, 11);
    cr_expect_eq(st.stream.now, client_is_stream(&c));
    cr_expect_eq(st.stream.tls_now, proto == PH_TLS);
    cr_expect_eq(st.dtls.now, proto == PH_DTLS);
    cr_expect_eq(client_refresh(&c, 0), 0);
    cr_expect_eq(turn_kit_sum(&kit).allocations_now, 0);
    KIT_UNTIL(kit.downs == 1);
    cr_expect_eq(kit.reason, PH_END_RELEASED);
}

Test(uv_turn_clients, relays_over_tcp)
{
    relays(PH_TCP, 1);
}

Test(uv_turn_clients, relays_over_tls)
{
    relays(PH_TLS, 2);
}

Test(uv_turn_clients, relays_over_dtls)
{
    relays(PH_DTLS, 3);
}

Test(uv_turn_clients, relays_over_udp_beside_them)
{
    relays(PH_UDP, 0);
}

/* Data indications need padding inside the message, and room in front of it. */
static void indications(uint8_t proto)
{
    struct ph_slice data;
    struct ph_addr from;
    uint8_t b[64];

    turn_kit_open(&kit);
    client_open(&c, &kit, proto);
    const struct ph_addr relay = client_allocate(&c);
    client_permit(&c, kit.peer_at);
    client_begin(&c, PH_SEND_METHOD, PH_INDICATION);
    ph_msgw_addr(&c.w, PH_ATTR_XOR_PEER_ADDRESS, &kit.peer_at);
    ph_msgw_bytes(&c.w, PH_ATTR_DATA, ph_str("hello"));
    client_end(&c);
    client_put(&c, c.req, (size_t)c.req_n);
    cr_assert_eq(kit_recv(&kit.peer, b, sizeof b, &from), 5);
    cr_expect_eq(memcmp(b, "hello", 5), 0);
    kit_send(&kit.peer, "world!!", 7, &relay);
    const struct ph_msg m = client_hear(&c);
    cr_expect_eq(m.method, PH_DATA_METHOD);
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_DATA, &data), 0);
    cr_assert_eq(data.n, 7);
    cr_expect_eq(memcmp(data.p, "world!!", 7), 0);
}

Test(uv_turn_clients, indications_over_tcp)
{
    indications(PH_TCP);
}

Test(uv_turn_clients, indications_over_tls)
{
    indications(PH_TLS);
}

Test(uv_turn_clients, indications_over_dtls)
{
    indications(PH_DTLS);
}

Test(uv_turn_clients,
     an_unreachable_peer_is_told_over_dtls) /* built in a buffer that sealing would take */
{
    struct ph_attr_value v;

    turn_kit_open(&kit);
    client_open(&c, &kit, PH_DTLS);
    client_allocate(&c);
    client_bind(&c, 0x4000, &kit.peer_at);
    ph_udp_close(&kit.peer);
    client_send_data(&c, 0x4000, "x", 1);
    const struct ph_msg m = client_hear(&c);
    cr_expect_eq(m.method, PH_DATA_METHOD);
    cr_assert_eq(ph_msg_get(&m, PH_IX_ICMP, &v), 0);
    cr_expect_eq(v.icmp.type, 3);
}

Test(uv_turn_clients, bursts_from_a_peer_reach_a_dtls_client)
{
    enum { N = 16, LEN = 501 };
    static uint8_t run[N * LEN];
    const uint8_t *p = NULL;

    turn_kit_open(&kit);
    client_open(&c, &kit, PH_DTLS);
    const struct ph_addr relay = client_allocate(&c);
    client_permit(&c, kit.peer_at); /* indications: each must be moved to be padded */
    for (unsigned i = 0; i < N; i++)
        memset(run + i * LEN, 'a' + (int)i, LEN);
    kit_send_gso(&kit.peer, run, sizeof run, LEN, &relay);
    for (unsigned i = 0; i < N; i++) {
        c.taken = c.n; /* one datagram, one message */
        const size_t n = client_get(&c, &p);
        cr_assert_gt(n, LEN, "got %u", i);
        cr_assert_eq(p[36], 'a' + i);
        cr_assert_eq(p[36 + LEN - 1], 'a' + i);
    }
}

Test(uv_turn_clients, binding_is_answered_everywhere)
{
    static const uint8_t all[] = {PH_UDP, PH_TCP, PH_TLS, PH_DTLS};
    struct ph_addr mapped;
    union ph_sockaddr sa;

    turn_kit_open(&kit);
    for (unsigned i = 0; i < sizeof all; i++) {
        socklen_t len = sizeof sa;
        client_open(&c, &kit, all[i]);
        const struct ph_msg m = client_ask(&c, write_binding, NULL);
        cr_assert_eq(m.cls, PH_SUCCESS);
        cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_MAPPED_ADDRESS, &mapped), 0);
        getsockname(c.fd, &sa.sa, &len);
        cr_expect_eq(mapped.port, ntohs(sa.in.sin_port));
        client_close(&c);
    }
    cr_expect_eq(turn_kit_sum(&kit).stun.answers, 4);
}

Test(uv_turn_clients, no_budget_bounds_who_has_a_connection)
{
    kit.conf.budget = (struct ph_budget_conf){.addr_burst = 200,
                                              .addr_rate = 1,
                                              .prefix_burst = 200,
                                              .prefix_rate = 1,
                                              .count_loopback = true};
    turn_kit_open(&kit);
    client_open(&c, &kit, PH_TCP);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(client_ask(&c, write_binding, NULL).cls, PH_SUCCESS);
}

/* --- streams --------------------------------------------------------------------------------------- */

Test(uv_turn_clients, messages_may_come_in_pieces_or_together)
{
    uint8_t b[64], all[3 * 20];
    struct ph_addr from;

    turn_kit_open(&kit);
    client_open(&c, &kit, PH_TCP);
    client_allocate(&c);
    client_bind(&c, 0x4000, &kit.peer_at);
    for (unsigned i = 0; i < 6; i++) {
        client_put(&c, &"\x40\0\0\5he"[i], 1);
        usleep(2000);
    }
    client_put(&c, "llo\0\0\0\x40\0\0\4next\x40\0\0\1", 18);
    client_put(&c, "z\0\0\0", 4);
    cr_assert_eq(kit_recv(&kit.peer, b, sizeof b, &from), 5);
    cr_expect_eq(memcmp(b, "hello", 5), 0);
    cr_assert_eq(kit_recv(&kit.peer, b, sizeof b, &from), 4);
    cr_expect_eq(memcmp(b, "next", 4), 0);
    cr_assert_eq(kit_recv(&kit.peer, b, sizeof b, &from), 1);
    for (unsigned i = 0; i < 3; i++) { /* several requests at once */
        write_binding(&c, NULL);
        client_end(&c);
        memcpy(all + 20 * i, c.req, 20);
    }
    client_put(&c, all, sizeof all);
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(client_hear(&c).cls, PH_SUCCESS);
}

Test(uv_turn_clients, much_data_in_one_read_leaves_in_few_calls)
{
    enum { N = 400, LEN = 160 };
    static uint8_t b[N * (LEN + 4)];
    uint8_t got[2048];
    unsigned n = 0;

    turn_kit_open(&kit);
    setsockopt(kit.peer.fd, SOL_SOCKET, SO_RCVBUF, &(int){4 << 20}, sizeof(int));
    client_open(&c, &kit, PH_TCP);
    client_allocate(&c);
    client_bind(&c, 0x4000, &kit.peer_at);
    const struct ph_turn_uv_stats before = turn_kit_sum(&kit);
    for (unsigned i = 0; i < N; i++) {
        ph_put16(b + i * (LEN + 4), 0x4000);
        ph_put16(b + i * (LEN + 4) + 2, LEN);
        ph_put16(b + i * (LEN + 4) + 4, (uint16_t)i);
    }
    client_put(&c, b, sizeof b);
    for (; n < N && kit_recv(&kit.peer, got, sizeof got, NULL) == LEN; n++)
        cr_assert_eq(ph_get16(got), n);
    cr_expect_eq(n, N);
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_lt(st.io.tx_calls - before.io.tx_calls, N / 8);
}

enum { BLASTS = 1500, BLAST = 1000 };

static void *blast(void *arg)
{
    static const struct timespec a_while = {0, 1000000};
    struct client *x = arg;
    uint8_t b[BLAST];

    for (unsigned i = 0; i < BLASTS; i++) {
        memset(b, (uint8_t)i, sizeof b);
        client_send_data(x, 0x4000, b, sizeof b);
        if (i % 500 == 499)
            nanosleep(&a_while, NULL);
    }
    return NULL;
}

/* More than the read buffers hold at once: what is relayed must have left before they are used again. */
Test(uv_turn_clients, what_many_send_at_once_stays_whole)
{
    enum { N = 6 };
    static struct client many[N];
    pthread_t t[N];
    uint8_t b[2048];
    unsigned got = 0, torn = 0;

    turn_kit_open(&kit);
    for (unsigned i = 0; i < N; i++) {
        client_open(&many[i], &kit, i % 2 ? PH_TCP : PH_TLS);
        client_allocate(&many[i]);
        client_bind(&many[i], 0x4000, &kit.peer_at);
    }
    for (unsigned i = 0; i < N; i++)
        pthread_create(&t[i], NULL, blast, &many[i]);
    while (got < N * BLASTS && kit_readable(&kit.peer, 1000)) { /* UDP: some may be lost */
        cr_assert_eq(kit_recv(&kit.peer, b, sizeof b, NULL), BLAST);
        torn += memcmp(b, b + 1, BLAST - 1) != 0;
        got++;
    }
    for (unsigned i = 0; i < N; i++)
        pthread_join(t[i], NULL);
    cr_expect_eq(torn, 0, "%u of %u", torn, got);
    cr_expect_gt(got, 0);
    cr_expect_eq(turn_kit_sum(&kit).turn.to_peer_packets, N * BLASTS);
    for (unsigned i = 0; i < N; i++)
        client_close(&many[i]);
}

Test(uv_turn_clients, tls_alone_turns_plain_away)
{
    turn_kit_open(&kit);
    kit.at[KIT_TCP] = kit.at[KIT_TLS_ONLY];
    client_open(&c, &kit, PH_TLS);
    client_allocate(&c);
    client_close(&c);
    client_open(&c, &kit, PH_TCP);
    write_binding(&c, NULL);
    client_end(&c);
    client_put(&c, c.req, (size_t)c.req_n);
    cr_expect(client_is_closed(&c));
    cr_expect_eq(turn_kit_sum(&kit).stream.tls_failed, 1);
}

Test(uv_turn_clients, dtls_alone_drops_plain)
{
    kit.conf.accept[KIT_UDP] = PH_ACCEPT_TLS;
    turn_kit_open(&kit);
    client_open(&c, &kit, PH_UDP);
    write_binding(&c, NULL);
    client_end(&c);
    client_put(&c, c.req, (size_t)c.req_n);
    cr_expect(client_is_quiet(&c));
    cr_expect_eq(turn_kit_sum(&kit).not_dtls, 1);
    client_close(&c);
    client_open(&c, &kit, PH_DTLS);
    client_allocate(&c);
}

Test(uv_turn_clients, a_proxy_header_tells_who_it_is)
{
    struct ph_addr mapped;
    char text[PH_ADDR_TEXT];

    kit.conf.accept[KIT_TCP] = PH_ACCEPT_PLAIN | PH_ACCEPT_PROXY;
    turn_kit_open(&kit);
    client_open(&c, &kit, PH_TCP);
    client_put(&c, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 3478\r\n", 45);
    const struct ph_msg m = client_ask(&c, write_binding, NULL);
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_MAPPED_ADDRESS, &mapped), 0);
    cr_expect_str_eq(ph_addr_text(&mapped, text), "192.0.2.7:4711");
    client_allocate(&c);
    cr_expect_eq(turn_kit_sum(&kit).allocations_by[1], 1);
    client_close(&c); /* and its end is known by the same address */
    KIT_UNTIL(kit.downs == 1);
    cr_expect_eq(kit.reason, PH_END_CLOSED);
    client_open(&c, &kit, PH_TCP);
    write_binding(&c, NULL);
    client_end(&c);
    client_put(&c, c.req, (size_t)c.req_n);
    cr_expect(client_is_closed(&c));
    cr_expect_eq(turn_kit_sum(&kit).stream.bad_proxy, 1);
}

Test(uv_turn_clients, garbage_and_http_are_closed)
{
    char b[256] = "";

    kit.conf.http_400 = true;
    turn_kit_open(&kit);
    client_open(&c, &kit, PH_TCP);
    client_put(&c, "\xFF\xFE\xFD\xFC\xFF\xFE\xFD\xFC\xFF\xFE\xFD\xFC\xFF\xFE\xFD\xFC\xFF", 17);
    cr_expect(client_is_closed(&c));
    client_close(&c);
    client_open(&c, &kit, PH_TCP);
    client_put(&c, "GET / HTTP/1.1\r\n\r\n", 18);
    cr_assert_gt(client_read(&c, b, sizeof b - 1), 12);
    cr_expect_eq(strncmp(b, "HTTP/1.1 400", 12), 0);
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.stream.http, 1);
    cr_expect_eq(st.stream.bad_frame, 1);
}

/* --- how connections end --------------------------------------------------------------------------- */

static void ends_with_its_connection(uint8_t proto)
{
    turn_kit_open(&kit);
    client_open(&c, &kit, proto);
    const struct ph_addr relay = client_allocate(&c);
    client_close(&c);
    KIT_UNTIL(kit.downs == 1);
    cr_expect_eq(kit.reason, PH_END_CLOSED);
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.allocations_now, 0);
    cr_expect_eq(st.stream.now + st.dtls.now, 0);
    struct ph_udp again;
    cr_expect_eq(ph_udp_open(&again, &relay, &(struct ph_udp_opts){0}), 0, "the port is free");
}

Test(uv_turn_clients, an_allocation_ends_with_its_tcp_connection)
{
    ends_with_its_connection(PH_TCP);
}

Test(uv_turn_clients, an_allocation_ends_with_its_tls_connection)
{
    ends_with_its_connection(PH_TLS);
}

Test(uv_turn_clients, an_allocation_ends_with_its_dtls_session)
{
    ends_with_its_connection(PH_DTLS);
}

/* One with an allocation stays, one without goes; and when the allocation is given back, its connection goes too. */
static void idle(uint8_t proto)
{
    struct client bored;

    kit.conf.idle_timeout = PH_MS(150);
    turn_kit_open(&kit);
    client_open(&c, &kit, proto);
    const struct ph_addr relay = client_allocate(&c);
    client_bind(&c, 0x4000, &kit.peer_at);
    client_open(&bored, &kit, proto);
    cr_expect_eq(client_ask(&bored, write_binding, NULL).cls, PH_SUCCESS);
    KIT_UNTIL(turn_kit_sum(&kit).stream.timed_out + turn_kit_sum(&kit).dtls.timed_out == 1);
    usleep(400000);
    cr_expect(client_is_closed(&bored));
    client_echo(&c, &kit, 0x4000, &relay, "still here");
    cr_expect_eq(client_refresh(&c, 0), 0);
    KIT_UNTIL(turn_kit_sum(&kit).stream.timed_out + turn_kit_sum(&kit).dtls.timed_out == 2);
    cr_expect(client_is_closed(&c));
    client_close(&bored);
}

Test(uv_turn_clients, idle_tcp_connections_are_closed)
{
    idle(PH_TCP);
}

Test(uv_turn_clients, idle_dtls_sessions_are_closed)
{
    idle(PH_DTLS);
}

Test(uv_turn_clients, an_expired_allocation_lets_its_connection_go)
{
    kit.conf.idle_timeout = PH_MS(100);
    kit.conf.core.default_lifetime_s = 1;
    turn_kit_open(&kit);
    client_open(&c, &kit, PH_TCP);
    client_allocate(&c);
    KIT_UNTIL(kit.downs == 1);
    cr_expect_eq(kit.reason, PH_END_EXPIRED);
    KIT_UNTIL(turn_kit_sum(&kit).stream.timed_out == 1);
}

Test(uv_turn_clients, connections_are_bounded)
{
    struct client more[3];

    kit.conf.max_conns_per_addr = 2;
    turn_kit_open(&kit);
    for (unsigned i = 0; i < 3; i++)
        client_open(&more[i], &kit, PH_TCP);
    KIT_UNTIL(turn_kit_sum(&kit).stream.refused_source == 1);
    cr_expect(client_is_closed(&more[2]));
    client_allocate(&more[0]);
    for (unsigned i = 0; i < 3; i++)
        client_close(&more[i]);
}

Test(uv_turn_clients, a_slow_reader_loses_messages_but_stays)
{
    enum { N = 4000, LEN = 1200 };
    static uint8_t b[LEN];
    const uint8_t *p = NULL;

    kit.conf.stream_queue = 64 << 10;
    turn_kit_open(&kit);
    client_open(&c, &kit, PH_TCP);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &(int){65536}, sizeof(int));
    const struct ph_addr relay = client_allocate(&c);
    client_bind(&c, 0x4000, &kit.peer_at);
    for (unsigned i = 0; i < N; i++) {
        ph_put16(b, (uint16_t)i);
        kit_send(&kit.peer, b, LEN, &relay);
        if (i % 50 == 49)
            usleep(1000);
    }
    KIT_UNTIL(turn_kit_sum(&kit).stream.dropped_slow > 0);
    unsigned got = 0, last = 0;
    while (!client_is_quiet(&c)) { /* what is left is whole and in order */
        cr_assert_eq(client_get(&c, &p), LEN + 4u);
        const unsigned i = ph_get16(p + 4);
        cr_assert(got == 0 || i > last);
        last = i;
        got++;
    }
    cr_expect_gt(got, 0);
    write_refresh(&c, &(struct refresh){600, NULL});
    client_end(&c);
    client_put(&c, c.req, (size_t)c.req_n);
    do
        cr_assert_gt(client_get(&c, &p), 0, "no answer behind the data");
    while (p[0] & 0x40 && ++got < N);
    cr_expect_lt(got, N);
}

/* --- starting and ending --------------------------------------------------------------------------- */

Test(uv_turn_clients, tls_wants_certificates)
{
    kit.conf.tls = NULL;
    struct ph_addr failed;

    cr_expect_eq(ph_turn_uv_new(&kit.server, &kit.conf, &failed), PH_E_UNSUPPORTED);
    cr_expect_eq(failed.proto, PH_UDP);
    kit.conf.accept[KIT_UDP] = kit.conf.accept[KIT_TCP] = 0;
    cr_expect_eq(ph_turn_uv_new(&kit.server, &kit.conf, &failed), PH_E_UNSUPPORTED);
    cr_expect_eq(failed.proto, PH_TLS);
    kit.conf.core.listener[KIT_TLS_ONLY].at.proto = PH_TCP;
    turn_kit_open(&kit);
    client_open(&c, &kit, PH_TCP);
    client_allocate(&c);
    const int taken = client_socket(PH_TCP, "127.0.0.1:0", &kit.at[KIT_TCP]);
    close(taken);
}

Test(uv_turn_clients, an_occupied_tcp_port_is_named)
{
    struct ph_turn_uv *second = NULL;
    struct ph_addr failed;

    turn_kit_open(&kit);
    kit.conf.core.listener[KIT_TCP].at = kit.at[KIT_TCP];
    cr_expect_eq(ph_turn_uv_new(&second, &kit.conf, &failed), -EADDRINUSE);
    cr_expect(ph_addr_eq(&failed, &kit.at[KIT_TCP]));
    cr_expect_null(second);
}

Test(uv_turn_clients, the_server_may_end_while_they_talk)
{
    static const uint8_t all[] = {PH_UDP, PH_TCP, PH_TLS, PH_DTLS};
    struct client many[8];

    kit.conf.workers = 2;
    turn_kit_open(&kit);
    for (unsigned i = 0; i < 8; i++) {
        client_open(&many[i], &kit, all[i % 4]);
        const struct ph_addr relay = client_allocate(&many[i]);
        client_bind(&many[i], 0x4000, &kit.peer_at);
        for (unsigned k = 0; k < 20; k++) {
            client_send_data(&many[i], 0x4000, "to the peer", 11);
            kit_send(&kit.peer, "to the client", 13, &relay);
        }
    }
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    for (unsigned i = 0; i < 8; i++)
        client_close(&many[i]);
}

/* Turns the caller's loop until a client has a message. */
static void turn_until_readable(uv_loop_t *loop, const struct client *x)
{
    struct pollfd p = {.fd = x->fd, .events = POLLIN};

    for (int i = 0; i < KIT_WAIT_MS && poll(&p, 1, 1) == 0; i++)
        uv_run(loop, UV_RUN_NOWAIT);
}

Test(uv_turn_clients, on_the_callers_loop)
{
    uv_loop_t loop;

    uv_loop_init(&loop);
    kit.conf.workers = 0;
    kit.conf.loop = &loop;
    turn_kit_open(&kit);
    client_open(&c, &kit, PH_TCP);
    write_allocate(&c, &(struct allocate){PH_UDP, false});
    client_end(&c);
    client_put(&c, c.req, (size_t)c.req_n);
    turn_until_readable(&loop, &c);
    const struct ph_msg m = client_hear(&c);
    cr_expect_eq(m.cls, PH_SUCCESS);
    cr_expect_eq(turn_kit_sum(&kit).allocations_by[1], 1);
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}
