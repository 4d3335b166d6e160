/*
 * What goes from worker to worker, on loopback: allocations that follow their clients (RFC 8016) and connections that
 * belong to an allocation elsewhere (RFC 6062).
 *
 * Which worker a client meets is the kernel's choice, so clients are opened until it was the one that is wanted.
 */
#include "uv/turn_kit.h"

enum { TRIES = 64 };

static struct turn_kit kit;
static struct client a, b;

static void setup(void)
{
    turn_kit_init(&kit);
    kit.conf.workers = 2;
    a.fd = b.fd = -1;
}

static void teardown(void)
{
    if (a.fd >= 0)
        client_close(&a);
    if (b.fd >= 0)
        client_close(&b);
    turn_kit_fini(&kit);
}

TestSuite(uv_turn_moves, .init = setup, .fini = teardown);

/* The client of an allocation is from now on `to`, a fresh one over proto. */
static void move_to(uint8_t proto)
{
    client_open(&b, &kit, proto);
    b.user = a.user;
    b.pass = a.pass;
    cr_assert_eq(client_take_over(&b, &a), 0);
    client_close(&a);
    a = b;
    b = (struct client){.fd = -1};
}

static void move_until_elsewhere(uint8_t proto)
{
    const uint64_t before = turn_kit_sum(&kit).moved_in;

    for (int i = 0; i < TRIES && turn_kit_sum(&kit).moved_in == before; i++)
        move_to(proto);
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_assert_eq(st.moved_in, before + 1);
    cr_assert_eq(st.moved_out, st.moved_in);
    cr_assert_eq(st.allocations_now, 1);
}

/* --- mobility -------------------------------------------------------------------------------------- */

static void follows(uint8_t from, uint8_t to)
{
    turn_kit_open(&kit);
    client_open(&a, &kit, from);
    const struct ph_addr relay = client_allocate_mobile(&a);
    client_bind(&a, 0x4000, &kit.peer_at);
    client_echo(&a, &kit, 0x4000, &relay, "before");
    move_until_elsewhere(to);
    client_echo(&a, &kit, 0x4000, &relay, "after");
    move_until_elsewhere(to); /* and back */
    client_echo(&a, &kit, 0x4000, &relay, "again");
    cr_expect_eq(kit.ups, 1, "nobody hears of an end");
    cr_expect_eq(kit.downs, 0);
    cr_expect_eq(client_refresh(&a, 0), 0);
    KIT_UNTIL(kit.downs == 1);
    cr_expect_eq(turn_kit_sum(&kit).allocations_now, 0);
    struct ph_udp again;
    cr_expect_eq(ph_udp_open(&again, &relay, &(struct ph_udp_opts){0}), 0, "the port is free");
    ph_udp_close(&again);
}

Test(uv_turn_moves, an_allocation_follows_from_udp_to_udp)
{
    follows(PH_UDP, PH_UDP);
}

Test(uv_turn_moves, an_allocation_follows_from_udp_to_tcp)
{
    follows(PH_UDP, PH_TCP);
}

Test(uv_turn_moves, an_allocation_follows_from_tls_to_dtls)
{
    follows(PH_TLS, PH_DTLS);
}

Test(uv_turn_moves, an_allocation_follows_with_credentials)
{
    turn_kit_realm(&kit);
    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    ph_auth_add_user(kit.auth, ph_str("bob"), ph_str("other"));
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    a.user = "alice";
    a.pass = "secret";
    const struct ph_addr relay = client_allocate_mobile(&a);
    client_bind(&a, 0x4000, &kit.peer_at);
    for (int i = 0; i < 8; i++) { /* another user's is worth nothing, on whichever worker */
        client_open(&b, &kit, PH_UDP);
        b.user = "bob";
        b.pass = "other";
        cr_expect_eq(client_take_over(&b, &a), 441);
        client_close(&b);
    }
    move_until_elsewhere(PH_TCP);
    client_echo(&a, &kit, 0x4000, &relay, "after");
}

Test(uv_turn_moves, no_packet_is_lost_on_the_way)
{
    enum { N = 200 };
    const uint8_t *p = NULL;
    unsigned got = 0;

    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    const struct ph_addr relay = client_allocate_mobile(&a);
    client_bind(&a, 0x4000, &kit.peer_at);
    for (unsigned i = 0; i < N; i++) {
        kit_send(&kit.peer, &i, sizeof i, &relay);
        if (i % 10 != 9)
            continue;
        client_open(&b, &kit, PH_UDP);
        write_refresh(&b, &(struct refresh){-1, &a});
        client_end(&b);
        client_put(&b, b.req, (size_t)b.req_n);
        for (bool answered = false; !answered;) { /* data may come before the answer */
            cr_assert_gt(client_get(&b, &p), 0);
            answered = !(p[0] & 0x40);
            got += !answered;
        }
        struct ph_msg m;
        struct ph_slice ticket;
        cr_assert_eq(ph_msg_parse(&m, p, b.taken), 0);
        cr_assert_eq(m.cls, PH_SUCCESS);
        cr_assert_eq(ph_msg_bytes(&m, PH_IX_MOBILITY_TICKET, &ticket), 0);
        memcpy(b.ticket, ticket.p, ticket.n);
        b.ticket_n = ticket.n;
        while (!(a.n == a.taken && poll(&(struct pollfd){.fd = a.fd, .events = POLLIN}, 1, 0) == 0))
            got += client_get(&a, &p) > 0;
        client_close(&a);
        a = b;
        b = (struct client){.fd = -1};
    }
    while (!client_is_quiet(&a))
        got += client_get(&a, &p) > 0;
    cr_expect_eq(got, N);
    cr_expect_gt(turn_kit_sum(&kit).moved_in, 0);
}

Test(uv_turn_moves, a_ticket_of_nothing_is_an_error)
{
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    client_allocate_mobile(&a);
    cr_expect_eq(client_refresh(&a, 0), 0);
    for (int i = 0; i < 16; i++) {
        client_open(&b, &kit, i % 2 ? PH_UDP : PH_TCP);
        cr_expect_eq(client_take_over(&b, &a), 437);
        client_close(&b);
    }
    cr_expect_eq(turn_kit_sum(&kit).parked, 0);
}

Test(uv_turn_moves, a_connection_that_was_left_is_idle)
{
    kit.conf.workers = 1; /* then with two */
    kit.conf.idle_timeout = PH_MS(200);
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_TCP);
    const struct ph_addr relay = client_allocate_mobile(&a);
    client_bind(&a, 0x4000, &kit.peer_at);
    client_open(&b, &kit, PH_TCP);
    cr_assert_eq(client_take_over(&b, &a), 0);
    cr_expect(client_is_closed(&a));
    client_echo(&b, &kit, 0x4000, &relay, "kept");
    client_close(&a);
    client_open(&a, &kit, PH_UDP);
    cr_assert_eq(client_take_over(&a, &b), 0);
    cr_expect(client_is_closed(&b));
    client_echo(&a, &kit, 0x4000, &relay, "on");
    cr_expect_eq(turn_kit_sum(&kit).stream.timed_out, 2);
    cr_expect_eq(kit.downs, 0);
}

Test(uv_turn_moves, a_connection_that_was_left_for_another_worker_is_idle)
{
    unsigned moved = 0;

    kit.conf.idle_timeout = PH_MS(200);
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_TCP);
    const struct ph_addr relay = client_allocate_mobile(&a);
    client_bind(&a, 0x4000, &kit.peer_at);
    for (int i = 0; i < TRIES && !moved; i++) {
        client_open(&b, &kit, PH_TCP);
        cr_assert_eq(client_take_over(&b, &a), 0);
        moved = (unsigned)turn_kit_sum(&kit).moved_in;
        cr_expect(client_is_closed(&a));
        client_close(&a);
        a = b;
        b = (struct client){.fd = -1};
    }
    usleep(400000);
    client_echo(&a, &kit, 0x4000, &relay, "kept");
}

Test(uv_turn_moves, a_lost_client_is_waited_for)
{
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_TCP);
    const struct ph_addr relay = client_allocate_mobile(&a);
    client_bind(&a, 0x4000, &kit.peer_at);
    shutdown(a.fd, SHUT_RDWR);
    KIT_UNTIL(turn_kit_sum(&kit).stream.now == 0);
    cr_expect_eq(turn_kit_sum(&kit).allocations_now, 1);
    kit_send(&kit.peer, "nobody hears", 12, &relay);
    move_until_elsewhere(PH_TCP);
    client_echo(&a, &kit, 0x4000, &relay, "back");
}

Test(uv_turn_moves, tcp_relays_move_too)
{
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_TCP);
    struct ph_msg m = client_ask(&a, write_allocate, &(struct allocate){PH_TCP, true});
    const struct ph_addr relay = client_relay(&m, PH_TCP);
    client_permit(&a, kit.peer_at);
    move_until_elsewhere(PH_TCP);
    const int peer = client_socket(PH_TCP, "127.0.0.3:0", &relay);
    m = client_hear(&a);
    cr_expect_eq(m.method, PH_CONNECTION_ATTEMPT);
    close(peer);
}

Test(uv_turn_moves, both_relays_of_an_allocation_move)
{
    struct ph_addr local = kit_addr("[::1]:0"), relay6, from;
    const uint8_t *p = NULL;
    uint8_t got[64];
    struct ph_udp p6;
    struct ph_msg m;

    if (ph_udp_open(&p6, &local, &(struct ph_udp_opts){0}))
        cr_skip("no IPv6 here");
    kit.conf.core.n_relays = 2;
    kit.conf.core.relay[1] = kit.conf.core.relay[0];
    kit.conf.core.relay[1].at = local;
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    client_begin(&a, PH_ALLOCATE, PH_REQUEST);
    ph_msgw_uint(&a.w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_uint(&a.w, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6);
    ph_msgw_bytes(&a.w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){0});
    client_end(&a);
    client_put(&a, a.req, (size_t)a.req_n);
    m = client_hear(&a);
    cr_assert_eq(m.cls, PH_SUCCESS);
    const struct ph_addr relay = client_relay(&m, PH_UDP);
    const struct ph_addr p6_at = kit_local(&p6);
    client_bind(&a, 0x4000, &kit.peer_at);
    client_bind(&a, 0x4001, &p6_at);
    client_send_data(&a, 0x4001, "six", 3);
    cr_assert_eq(kit_recv(&p6, got, sizeof got, &relay6), 3);
    move_until_elsewhere(PH_UDP);
    client_echo(&a, &kit, 0x4000, &relay, "four");
    client_send_data(&a, 0x4001, "six", 3);
    cr_assert_eq(kit_recv(&p6, got, sizeof got, &from), 3);
    cr_expect(ph_addr_eq(&from, &relay6));
    kit_send(&p6, "six", 3, &relay6);
    cr_assert_eq(client_get(&a, &p), 7);
    ph_udp_close(&p6);
}

/* Which worker has how many. */
static uint64_t on_worker(uint32_t worker)
{
    return turn_kit_stats(&kit, worker).allocations_now;
}

Test(uv_turn_moves, what_another_worker_has_no_room_for_stays)
{
    struct client other = {.fd = -1};

    kit.conf.core.max_allocations = 1;
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    const struct ph_addr relay = client_allocate_mobile(&a);
    const uint32_t full = on_worker(0) ? 1 : 0;
    for (int i = 0; i < TRIES && on_worker(full) == 0; i++) {
        if (other.fd >= 0)
            client_close(&other);
        client_open(&other, &kit, PH_UDP);
        client_ask(&other, write_allocate, &(struct allocate){PH_UDP, false});
    }
    cr_assert_eq(on_worker(full), 1);
    uint16_t code = 0;
    for (int i = 0; i < TRIES && !code; i++) {
        client_open(&b, &kit, PH_UDP);
        code = client_take_over(&b, &a);
        if (code) {
            client_close(&b);
            break;
        }
        client_close(&a);
        a = b;
        b = (struct client){.fd = -1};
    }
    cr_expect_eq(code, 437);
    KIT_UNTIL(turn_kit_sum(&kit).moved_out == 0);
    cr_expect_eq(turn_kit_sum(&kit).moved_in, 0);
    cr_expect_eq(on_worker(!full), 1);
    for (int i = 0; i < TRIES && code; i++) { /* who comes to that worker again has it */
        client_open(&b, &kit, PH_UDP);
        code = client_take_over(&b, &a);
        if (code)
            client_close(&b);
    }
    cr_assert_eq(code, 0);
    client_bind(&b, 0x4000, &kit.peer_at);
    client_echo(&b, &kit, 0x4000, &relay, "here again");
    client_close(&other);
}

/* --- ConnectionBind -------------------------------------------------------------------------------- */

static void write_connection_bind(struct client *c, void *arg)
{
    const uint32_t *id = arg;

    client_begin(c, PH_CONNECTION_BIND, PH_REQUEST);
    ph_msgw_uint(&c->w, PH_ATTR_CONNECTION_ID, *id);
}

/* A peer connects; its connection is bound to a client's on a fresh connection, and carries both ways. */
static void bind_one(uint8_t proto, const struct ph_addr *relay)
{
    const int peer = client_socket(PH_TCP, "127.0.0.3:0", relay);
    struct client data;
    uint64_t id;
    char got[32];

    const struct ph_msg attempt = client_hear(&a);
    cr_assert_eq(attempt.method, PH_CONNECTION_ATTEMPT);
    cr_assert_eq(ph_msg_uint(&attempt, PH_IX_CONNECTION_ID, &id), 0);
    uint32_t id32 = (uint32_t)id;
    client_open(&data, &kit, proto);
    data.user = a.user;
    data.pass = a.pass;
    const struct ph_msg m = client_ask(&data, write_connection_bind, &id32);
    cr_assert_eq(m.cls, PH_SUCCESS, "error %u", client_code(&m));
    client_put(&data, "to the peer", 11);
    cr_assert_eq(recv(peer, got, sizeof got, 0), 11);
    cr_assert_eq(send(peer, "to the client", 13, 0), 13);
    cr_assert_eq(client_bytes(&data, got, sizeof got), 13);
    close(peer);
    cr_expect(client_is_closed(&data));
    client_close(&data);
}

static void binds_elsewhere(uint8_t proto)
{
    turn_kit_realm(&kit);
    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    turn_kit_open(&kit);
    client_open(&a, &kit, proto);
    a.user = "alice";
    a.pass = "secret";
    const struct ph_addr relay = client_allocate_tcp(&a);
    client_permit(&a, kit.peer_at);
    for (int i = 0; i < TRIES && turn_kit_sum(&kit).moved_in < 3; i++)
        bind_one(proto, &relay);
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.moved_in, 3);
    cr_expect_eq(st.moved_out, 3);
    KIT_UNTIL(turn_kit_sum(&kit).stream.now == 1);
}

Test(uv_turn_moves, a_tcp_connection_goes_where_it_belongs)
{
    binds_elsewhere(PH_TCP);
}

Test(uv_turn_moves, a_tls_connection_goes_where_it_belongs)
{
    binds_elsewhere(PH_TLS);
}

Test(uv_turn_moves, a_bind_of_nothing_is_an_error_there_too)
{
    turn_kit_open(&kit);
    for (int i = 0; i < 8; i++) {
        uint32_t id = (uint32_t)(i % 2) << 24 | 1 << 16 | 7;
        client_open(&a, &kit, PH_TCP);
        struct ph_msg m = client_ask(&a, write_connection_bind, &id);
        cr_expect_eq(client_code(&m), 400);
        client_allocate(&a); /* the connection is as good as before */
        client_close(&a);
    }
    cr_expect_gt(turn_kit_sum(&kit).moved_in, 0);
}

/* --- the end --------------------------------------------------------------------------------------- */

/* Clients that snatch an allocation from each other. */
struct gang {
    struct client c[5]; /* the first one made it */
    pthread_t thread;
};

static void gang_open(struct gang *g)
{
    const struct timeval limit = {0, 20000};

    for (unsigned k = 0; k < 5; k++) {
        client_open(&g->c[k], &kit, k % 2 ? PH_TCP : PH_UDP);
        setsockopt(g->c[k].fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    client_allocate_mobile(&g->c[0]);
}

static void *snatch(void *arg)
{
    struct gang *g = arg;
    const struct client *last = &g->c[0];

    for (unsigned i = 0; i < 300; i++) {
        struct client *x = &g->c[i % 5];
        const uint8_t *p = NULL;
        struct ph_slice s;
        struct ph_msg m;
        write_refresh(x, &(struct refresh){-1, last});
        client_end(x);
        if (send(x->fd, x->req, (size_t)x->req_n, MSG_NOSIGNAL) < 0)
            break; /* the server has gone */
        const size_t n = client_get(x, &p);
        if (!n || ph_msg_parse(&m, p, n) || ph_msg_bytes(&m, PH_IX_MOBILITY_TICKET, &s))
            continue;
        memcpy(x->ticket, s.p, s.n);
        x->ticket_n = s.n;
        last = x;
    }
    return NULL;
}

Test(uv_turn_moves, the_server_may_end_while_all_move)
{
    enum { N = 3 };
    static struct gang g[N];

    kit.conf.workers = 3;
    turn_kit_open(&kit);
    for (int i = 0; i < N; i++)
        gang_open(&g[i]);
    for (int i = 0; i < N; i++)
        pthread_create(&g[i].thread, NULL, snatch, &g[i]);
    KIT_UNTIL(turn_kit_sum(&kit).moved_in > 20);
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    for (int i = 0; i < N; i++) {
        pthread_join(g[i].thread, NULL);
        for (unsigned k = 0; k < 5; k++)
            client_close(&g[i].c[k]);
    }
}
