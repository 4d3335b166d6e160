/*
 * TCP relays (RFC 6062) on loopback: connections to peers and from peers, much data, slow readers, ends.
 */
#include "uv/turn_kit.h"

#include <fcntl.h>

static struct turn_kit kit;
static struct client control, data;
static int listener = -1; /* of a peer */
static struct ph_addr listener_at;

static void setup(void)
{
    union ph_sockaddr sa;
    socklen_t len = sizeof sa;
    const struct ph_addr a = kit_addr("127.0.0.3:0");

    turn_kit_init(&kit);
    control.fd = data.fd = -1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, &sa.sa, ph_sockaddr_set(&sa, &a)), 0);
    cr_assert_eq(listen(listener, 8), 0);
    getsockname(listener, &sa.sa, &len);
    ph_sockaddr_get(&listener_at, &sa, PH_TCP);
}

static void teardown(void)
{
    if (control.fd >= 0)
        client_close(&control);
    if (data.fd >= 0)
        client_close(&data);
    close(listener);
    turn_kit_fini(&kit);
}

TestSuite(uv_turn_tcp, .init = setup, .fini = teardown);

/* --- steps ----------------------------------------------------------------------------------------- */

static void write_connect(struct client *c, void *arg)
{
    client_begin(c, PH_CONNECT, PH_REQUEST);
    ph_msgw_addr(&c->w, PH_ATTR_XOR_PEER_ADDRESS, arg);
}

static void write_connection_bind(struct client *c, void *arg)
{
    const uint32_t *id = arg;

    client_begin(c, PH_CONNECTION_BIND, PH_REQUEST);
    ph_msgw_uint(&c->w, PH_ATTR_CONNECTION_ID, *id);
}

static uint32_t id_in(const struct ph_msg *m)
{
    uint64_t id = 0;

    cr_assert_eq(ph_msg_uint(m, PH_IX_CONNECTION_ID, &id), 0, "error %u", client_code(m));
    return (uint32_t)id;
}

/* Accepts what the server connects with; it comes from the relayed address. */
static int peer_accepts(const struct ph_addr *relay)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    const struct timeval limit = {KIT_WAIT_MS / 1000, 0};
    union ph_sockaddr sa;
    socklen_t len = sizeof sa;
    struct ph_addr from;

    cr_assert_eq(poll(&p, 1, KIT_WAIT_MS), 1, "nobody connects to the peer");
    const int fd = accept(listener, &sa.sa, &len);
    cr_assert_geq(fd, 0);
    ph_sockaddr_get(&from, &sa, PH_TCP);
    cr_expect(ph_addr_eq(&from, relay));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

static void bind_data(uint8_t proto, uint32_t id)
{
    client_open(&data, &kit, proto);
    const struct ph_msg m = client_ask(&data, write_connection_bind, &id);
    cr_assert_eq(m.cls, PH_SUCCESS, "error %u", client_code(&m));
}

/* A client's data connection tied to a peer that it has connected to.  Returns the peer's end. */
static int connected_pair(uint8_t proto)
{
    client_open(&control, &kit, proto);
    const struct ph_addr relay = client_allocate_tcp(&control);
    client_permit(&control, listener_at);
    const struct ph_msg m = client_ask(&control, write_connect, &listener_at);
    const uint32_t id = id_in(&m);
    const int fd = peer_accepts(&relay);
    bind_data(proto, id);
    return fd;
}

/* --- both directions ------------------------------------------------------------------------------- */

enum { MUCH = 1 << 20 };

static uint8_t byte_at(size_t i, unsigned salt)
{
    return (uint8_t)(i * 31 + (i >> 8) * 7 + salt);
}

/* A thread that writes or reads MUCH bytes of a connection. */
struct mover {
    int fd;
    SSL *ssl;
    bool writes;
    unsigned salt, pause_us; /* before each piece */
    size_t done, wrong;
    pthread_t thread;
};

static ssize_t piece(struct mover *m, uint8_t *b, size_t n)
{
    if (m->ssl)
        return m->writes ? SSL_write(m->ssl, b, (int)n) : SSL_read(m->ssl, b, (int)n);
    return m->writes ? send(m->fd, b, n, MSG_NOSIGNAL) : recv(m->fd, b, n, 0);
}

static void *move(void *arg)
{
    struct mover *m = arg;
    uint8_t b[16384];

    while (m->done < MUCH) {
        const size_t n = MUCH - m->done < sizeof b ? MUCH - m->done : sizeof b;
        for (size_t i = 0; m->writes && i < n; i++)
            b[i] = byte_at(m->done + i, m->salt);
        if (m->pause_us)
            usleep(m->pause_us);
        const ssize_t k = piece(m, b, n);
        if (k <= 0)
            break;
        for (size_t i = 0; !m->writes && i < (size_t)k; i++)
            m->wrong += b[i] != byte_at(m->done + i, m->salt);
        m->done += (size_t)k;
    }
    return NULL;
}

static void run(struct mover *m, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(pthread_create(&m[i].thread, NULL, move, &m[i]), 0);
    for (unsigned i = 0; i < n; i++) {
        pthread_join(m[i].thread, NULL);
        cr_expect_eq(m[i].done, MUCH, "%zu bytes", m[i].done);
        cr_expect_eq(m[i].wrong, 0);
    }
}

static void moves_much(uint8_t proto, unsigned pause_us)
{
    turn_kit_open(&kit);
    const int peer = connected_pair(proto);
    /* One of a TLS connection's ends may not be used by two threads at once: one way after the other there. */
    struct mover out[] = {{.fd = data.fd, .ssl = data.ssl, .writes = true, .salt = 1},
                          {.fd = peer, .salt = 1, .pause_us = pause_us}};
    struct mover in[] = {{.fd = peer, .writes = true, .salt = 2},
                         {.fd = data.fd, .ssl = data.ssl, .salt = 2, .pause_us = pause_us}};
    if (data.ssl) {
        run(out, 2);
        run(in, 2);
    } else {
        struct mover both[] = {out[0], out[1], in[0], in[1]};
        run(both, 4);
    }
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.turn.to_peer_bytes, MUCH);
    cr_expect_eq(st.turn.to_client_bytes, MUCH);
    cr_expect_eq(st.allocations_by[4], 1);
    cr_expect_eq(st.turn.connection_binds, 1);
    close(peer);
}

Test(uv_turn_tcp, much_data_over_tcp)
{
    moves_much(PH_TCP, 0);
}

Test(uv_turn_tcp, much_data_over_tls)
{
    moves_much(PH_TLS, 0);
}

Test(uv_turn_tcp, slow_readers_lose_nothing)
{
    kit.conf.stream_queue = 64 << 10;
    moves_much(PH_TCP, 3000);
}

Test(uv_turn_tcp, slow_tls_readers_lose_nothing)
{
    kit.conf.stream_queue = 64 << 10;
    moves_much(PH_TLS, 3000);
}

Test(uv_turn_tcp, bandwidth_holds_back_but_loses_nothing)
{
    kit.conf.core.live.max_bps = MUCH; /* a second's worth at once, and what comes with the time */
    turn_kit_open(&kit);
    const int peer = connected_pair(PH_TCP);
    struct mover first[] = {{.fd = data.fd, .writes = true, .salt = 1}, {.fd = peer, .salt = 1}};
    run(first, 2);
    struct mover again[] = {{.fd = data.fd, .writes = true, .salt = 3}, {.fd = peer, .salt = 3}};
    const ph_ns before = ph_now();
    run(again, 2);
    cr_expect_gt(ph_now() - before, PH_MS(400));
    cr_expect_eq(turn_kit_sum(&kit).turn.to_peer_bytes, 2 * MUCH);
    close(peer);
}

/* --- connections from peers ------------------------------------------------------------------------ */

Test(uv_turn_tcp, a_peer_connects)
{
    struct ph_addr shown;
    char b[64];

    turn_kit_open(&kit);
    client_open(&control, &kit, PH_TCP);
    const struct ph_addr relay = client_allocate_tcp(&control);
    client_permit(&control, listener_at);
    const int peer = client_socket(PH_TCP, "127.0.0.3:0", &relay);
    cr_assert_eq(send(peer, "early", 5, 0), 5); /* waits until there is somebody to take it */
    const struct ph_msg m = client_hear(&control);
    cr_assert_eq(m.method, PH_CONNECTION_ATTEMPT);
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_PEER_ADDRESS, &shown), 0);
    cr_expect(ph_addr_eq_ip(&shown, &listener_at));
    usleep(20000);
    bind_data(PH_TCP, id_in(&m));
    cr_assert_eq(client_bytes(&data, b, sizeof b), 5);
    cr_expect_eq(memcmp(b, "early", 5), 0);
    client_put(&data, "answer", 6);
    cr_assert_eq(recv(peer, b, sizeof b, 0), 6);
    cr_expect_eq(memcmp(b, "answer", 6), 0);
    cr_expect_eq(turn_kit_sum(&kit).turn.connection_attempts, 1);
    close(peer);
    cr_expect(client_is_closed(&data));
}

Test(uv_turn_tcp, a_peer_without_permission_is_turned_away)
{
    char b[8];

    turn_kit_open(&kit);
    client_open(&control, &kit, PH_TCP);
    const struct ph_addr relay = client_allocate_tcp(&control);
    const int peer = client_socket(PH_TCP, "127.0.0.3:0", &relay);
    cr_expect_leq(recv(peer, b, sizeof b, 0), 0);
    cr_expect(client_is_quiet(&control));
    cr_expect_eq(turn_kit_sum(&kit).turn.no_permission, 1);
    close(peer);
}

Test(uv_turn_tcp, data_may_follow_the_bind_at_once)
{
    struct ph_msg m;
    uint8_t both[256];
    char b[64];

    turn_kit_open(&kit);
    client_open(&control, &kit, PH_TCP);
    const struct ph_addr relay = client_allocate_tcp(&control);
    client_permit(&control, listener_at);
    m = client_ask(&control, write_connect, &listener_at);
    uint32_t id = id_in(&m);
    const int peer = peer_accepts(&relay);
    client_open(&data, &kit, PH_TCP);
    write_connection_bind(&data, &id);
    client_end(&data);
    memcpy(both, data.req, (size_t)data.req_n);
    memcpy(both + data.req_n, "\xFFt once", 7); /* as a frame it would be the end */
    client_put(&data, both, (size_t)data.req_n + 7);
    cr_assert_eq(client_hear(&data).cls, PH_SUCCESS);
    cr_assert_eq(recv(peer, b, sizeof b, 0), 7);
    cr_expect_eq(memcmp(b, "\xFFt once", 7), 0);
    close(peer);
}

/* --- what does not work ---------------------------------------------------------------------------- */

Test(uv_turn_tcp, a_peer_that_does_not_listen_is_told)
{
    struct ph_addr nobody = listener_at;

    turn_kit_open(&kit);
    client_open(&control, &kit, PH_TCP);
    client_allocate_tcp(&control);
    client_permit(&control, listener_at);
    close(listener);
    const struct ph_msg m = client_ask(&control, write_connect, &nobody);
    cr_expect_eq(client_code(&m), 447);
    cr_expect_eq(turn_kit_sum(&kit).turn.connect_failed, 1);
    listener = -1;
}

Test(uv_turn_tcp, an_unknown_connection_is_an_error)
{
    uint32_t id = 4711;

    turn_kit_open(&kit);
    client_open(&data, &kit, PH_TCP);
    struct ph_msg m = client_ask(&data, write_connection_bind, &id);
    cr_expect_eq(client_code(&m), 400);
    id = 0xEE000001; /* of a worker that does not exist */
    m = client_ask(&data, write_connection_bind, &id);
    cr_expect_eq(client_code(&m), 400);
    cr_expect_eq(client_ask(&data, write_binding, NULL).cls, PH_SUCCESS, "the connection stands");
    client_close(&data);
    client_open(&data, &kit, PH_DTLS); /* which cannot be tied to anything */
    m = client_ask(&data, write_connection_bind, &id);
    cr_expect_eq(client_code(&m), 400);
}

/* --- requests that still wait ---------------------------------------------------------------------- */

static atomic_int asked;

static void on_lookup(void *ctx, unsigned worker, const struct ph_userdb_ask *ask)
{
    (void)ctx, (void)worker, (void)ask;
    asked++;
}

/* Before the ConnectionBind the client has asked for something whose answer is not there yet. */
Test(uv_turn_tcp, what_still_waits_is_not_answered_among_the_bytes)
{
    struct ph_userdb_conf userdb = {.timeout = PH_SEC(60)};
    uint8_t got[5];

    turn_kit_realm(&kit);
    cr_assert_eq(ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret")), 0);
    kit.conf.userdb = &userdb;
    kit.conf.on_lookup = on_lookup;
    turn_kit_open(&kit);
    client_open(&control, &kit, PH_TCP);
    control.user = "alice";
    control.pass = "secret";
    const struct ph_addr relay = client_allocate_tcp(&control);
    const struct ph_msg m = client_ask(&control, write_connect, &listener_at);
    uint32_t id = id_in(&m);
    const int fd = peer_accepts(&relay);

    client_open(&data, &kit, PH_TCP);
    data.pass = "secret";
    for (int i = 0; i < 3; i++) { /* learn the nonce, ask as bob, bind as alice */
        data.user = i == 1 ? "bob" : "alice";
        if (i < 2)
            write_allocate(&data, &(struct allocate){PH_UDP, false});
        else
            write_connection_bind(&data, &id);
        client_end(&data);
        client_put(&data, data.req, (size_t)data.req_n);
        if (i == 1)
            KIT_UNTIL(asked == 1);
        else
            client_hear(&data);
    }
    const struct ph_userdb_user bob = {.expires_s = INT64_MAX};
    ph_turn_uv_answer(kit.server, 0, ph_str("example.org"), ph_str("bob"), PH_USERDB_FOUND, &bob);
    KIT_UNTIL(turn_kit_sum(&kit).parked == 0);
    cr_assert_eq(send(fd, "hello", 5, 0), 5);
    cr_assert_eq(client_bytes(&data, got, sizeof got), 5);
    cr_expect_arr_eq(got, "hello", 5);
    close(fd);
}

/* --- ends ------------------------------------------------------------------------------------------ */

static bool closes(int fd)
{
    char b[64];

    return recv(fd, b, sizeof b, 0) <= 0 && errno != EAGAIN;
}

Test(uv_turn_tcp, each_end_closes_the_other)
{
    turn_kit_open(&kit);
    int peer = connected_pair(PH_TCP);
    client_put(&data, "last words", 10);
    client_close(&data);
    char b[64];
    cr_expect_eq(recv(peer, b, sizeof b, 0), 10);
    cr_expect(closes(peer));
    close(peer);
    client_close(&control);
    peer = connected_pair(PH_TCP);
    close(peer);
    cr_expect(client_is_closed(&data));
    cr_expect_eq(client_refresh(&control, 600), 0, "the allocation stands");
}

Test(uv_turn_tcp, the_end_of_the_allocation_closes_both)
{
    turn_kit_open(&kit);
    const int peer = connected_pair(PH_TCP);
    cr_expect_eq(client_refresh(&control, 0), 0);
    cr_expect(closes(peer));
    cr_expect(client_is_closed(&data));
    close(peer);
}

Test(uv_turn_tcp, the_end_of_the_control_connection_closes_both)
{
    turn_kit_open(&kit);
    const int peer = connected_pair(PH_TLS);
    client_close(&control);
    cr_expect(closes(peer));
    cr_expect(client_is_closed(&data));
    close(peer);
}

Test(uv_turn_tcp, data_connections_may_be_idle)
{
    char b[8];

    kit.conf.idle_timeout = PH_MS(100);
    turn_kit_open(&kit);
    const int peer = connected_pair(PH_TCP);
    usleep(400000);
    client_put(&data, "x", 1);
    cr_expect_eq(recv(peer, b, sizeof b, 0), 1);
    cr_expect_eq(turn_kit_sum(&kit).stream.timed_out, 0);
    close(peer);
}

Test(uv_turn_tcp, the_server_may_end_in_the_middle)
{
    turn_kit_open(&kit);
    const int peer = connected_pair(PH_TCP);
    static uint8_t much[1 << 20];
    fcntl(data.fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 8 && send(data.fd, much, sizeof much, MSG_NOSIGNAL) > 0; i++)
        ; /* the peer does not read: it is stuck in every buffer */
    client_permit(&control, listener_at);
    write_connect(&control, &(struct ph_addr){.family = PH_AF_INET,
                                              .ip = {127, 0, 0, 3},
                                              .port = listener_at.port,
                                              .proto = PH_TCP});
    client_end(&control);
    client_put(&control, control.req, (size_t)control.req_n);
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    close(peer);
}
