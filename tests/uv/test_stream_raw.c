/*
 * Raw connections (RFC 6062): bytes, back pressure, calling and being called; and moving to another table.
 */
#include "uv/stream_kit.h"

static struct rig r;

/* A client's connection that has become raw. */
static uint32_t raw_client(int *fd)
{
    *fd = rig_dial(&r);
    const uint32_t conn = rig_hello(&r, *fd);
    ph_streams_make_raw(r.s, conn);
    return conn;
}

static void open_plain(const struct ph_streams_conf *c)
{
    rig_open(&r, c);
    rig_listen(&r, true, false, false);
}

/* A peer that listens, and its address. */
static int peer_listens(struct ph_addr *at)
{
    union ph_sockaddr sa;
    *at = rig_tcp("127.0.0.1:0");
    socklen_t n = ph_sockaddr_set(&sa, at);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    cr_assert_eq(bind(fd, &sa.sa, n), 0);
    cr_assert_eq(listen(fd, 8), 0);
    n = sizeof sa;
    getsockname(fd, &sa.sa, &n);
    ph_sockaddr_get(at, &sa, PH_TCP);
    return fd;
}

static int peer_accepts(int listener)
{
    int fd = -1;

    RIG_UNTIL(&r, (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0);
    return fd;
}

/* --- raw ------------------------------------------------------------------------------------------- */

static void make_raw(struct rig *rig, struct ph_pkt *p)
{
    ph_streams_make_raw(rig->s, p->conn);
}

Test(uv_stream_raw, begins_with_what_follows_the_last_message)
{
    uint8_t b[64], got[8];
    const size_t n = rig_stun(b, 0x000B, 0, 1); /* a ConnectionBind */

    open_plain(NULL);
    r.on_message = make_raw;
    memcpy(b + n, "\xFFhello", 6);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, n + 6);
    RIG_UNTIL(&r, r.n_bytes == 6);
    cr_expect_eq(r.n_msg, 1);
    cr_expect_arr_eq(r.bytes, "\xFFhello", 6);
    cr_expect_eq(ph_streams_write(r.s, r.conn, (const uint8_t *)"world", 5), 5);
    cr_expect_eq(rig_get(&r, fd, got, 5), 5);
    cr_expect_arr_eq(got, "world", 5);
    rig_later(&r, PH_SEC(3600));
    cr_expect_eq(r.n_ended, 0, "nobody times it out but its owner");
    close(fd);
    RIG_UNTIL(&r, r.n_ended == 1);
    cr_expect_eq(r.why, PH_STREAM_CLOSED);
    rig_close(&r);
}

Test(uv_stream_raw, half_a_message_that_was_kept_becomes_bytes)
{
    int fd;

    open_plain(NULL);
    fd = rig_dial(&r);
    const uint32_t conn = rig_hello(&r, fd);
    rig_put(&r, fd, "\0\1\0\4\x21\x12\xA4", 7);
    rig_settle(&r);
    ph_streams_make_raw(r.s, conn);
    cr_expect_leq(ph_streams_deadline(r.s), rig_now(&r), "there is something to do");
    cr_expect_eq(r.n_bytes, 0, "not from here");
    rig_turn(&r);
    cr_expect_eq(r.n_bytes, 7);
    close(fd);
    rig_close(&r);
}

Test(uv_stream_raw, bytes_not_taken_stay_and_the_sender_is_stopped)
{
    enum { ALL = 8 << 20 };
    static uint8_t b[ALL];
    int fd;
    size_t sent = 0;

    open_plain(NULL);
    const uint32_t conn = raw_client(&fd);
    for (size_t i = 0; i < ALL; i++)
        b[i] = (uint8_t)(i % 251);
    r.take = 1000;
    for (int i = 0; i < 500; i++) {
        const ssize_t k = send(fd, b + sent, ALL - sent, MSG_NOSIGNAL);
        sent += k > 0 ? (size_t)k : 0;
        rig_turn(&r);
    }
    cr_expect_eq(r.n_bytes, 1000);
    cr_expect_eq(r.calls, 1, "paused");
    cr_expect_lt(sent, ALL, "the sender is stopped");
    r.take = 5000;
    ph_streams_resume(r.s, conn);
    rig_settle(&r);
    cr_expect_eq(r.n_bytes, 6000);
    r.take = SIZE_MAX;
    ph_streams_resume(r.s, conn);
    while (sent < ALL) {
        const ssize_t k = send(fd, b + sent, ALL - sent, MSG_NOSIGNAL);
        sent += k > 0 ? (size_t)k : 0;
        rig_turn(&r);
    }
    RIG_UNTIL(&r, r.n_bytes == ALL);
    for (size_t i = 0; i < sizeof r.bytes; i++)
        cr_assert_eq(r.bytes[i], b[ALL - sizeof r.bytes + i]);
    close(fd);
    rig_close(&r);
}

Test(uv_stream_raw, a_paused_connection_that_dies_does_not_spin)
{
    int fd;

    open_plain(NULL);
    raw_client(&fd);
    r.take = 1;
    rig_put(&r, fd, "abc", 3);
    RIG_UNTIL(&r, r.n_bytes == 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(fd);
    RIG_UNTIL(&r, r.n_ended == 1);
    cr_expect_eq(r.why, PH_STREAM_RESET);
    rig_close(&r);
}

Test(uv_stream_raw, a_full_queue_takes_no_more_until_it_has_drained)
{
    enum { QUEUE = 128 << 10, ALL = 4 << 20 };
    static uint8_t b[ALL], got[ALL];
    size_t taken = 0, have = 0;

    open_plain(&(struct ph_streams_conf){.queue_bytes = QUEUE});
    for (size_t i = 0; i < ALL; i++)
        b[i] = (uint8_t)(i % 253);
    const int fd = rig_dial_from(&r, NULL, 4096);
    const uint32_t conn = rig_hello(&r, fd);
    ph_streams_make_raw(r.s, conn);
    for (size_t k = 1; k > 0; taken += k)
        k = ph_streams_write(r.s, conn, b + taken, ALL - taken);
    cr_assert_lt(taken, ALL);
    cr_expect_eq(r.n_writable, 0);
    for (int i = 0; i < 20000 && have < ALL; i++) {
        const unsigned told = r.n_writable;
        const ssize_t k = recv(fd, got + have, ALL - have, 0);
        have += k > 0 ? (size_t)k : 0;
        rig_turn(&r);
        if (r.n_writable > told)
            taken += ph_streams_write(r.s, conn, b + taken, ALL - taken);
    }
    cr_expect_eq(taken, ALL);
    cr_expect_eq(have, ALL);
    cr_expect_eq(memcmp(b, got, ALL), 0);
    cr_expect_gt(r.n_writable, 1);
    cr_expect_eq(rig_stats(&r)->dropped_slow, 0, "bytes are never dropped");
    close(fd);
    rig_close(&r);
}

/* Closes a connection with its queue full; its client's socket, and how much is in the queue and on the way. */
static size_t close_full(int *fd)
{
    static const uint8_t b[64 << 10];
    size_t all = 0;

    open_plain(&(struct ph_streams_conf){.queue_bytes = 512 << 10});
    *fd = rig_dial_from(&r, NULL, 4096);
    const uint32_t conn = rig_hello(&r, *fd);
    ph_streams_make_raw(r.s, conn);
    for (size_t k = 1; k > 0; all += k)
        k = ph_streams_write(r.s, conn, b, sizeof b);
    rig_settle(&r);
    ph_streams_close(r.s, conn);
    rig_settle(&r);
    return all;
}

/* Takes n bytes, or what there is until the end.  False at the end. */
static bool sip(int fd, size_t n, size_t *have)
{
    static uint8_t b[4096];

    for (int i = 0; n && i < 20000; i++) {
        const ssize_t k = recv(fd, b, n < sizeof b ? n : sizeof b, 0);
        if (k == 0)
            return false;
        cr_assert(k > 0 || errno == EAGAIN, "reset");
        n -= k > 0 ? (size_t)k : 0;
        *have += k > 0 ? (size_t)k : 0;
        rig_turn(&r);
    }
    return true;
}

Test(uv_stream_raw, a_slow_reader_gets_all_of_it_after_the_close)
{
    size_t have = 0;
    int fd;

    const size_t all = close_full(&fd);
    while (have + (96 << 10) < all) {
        cr_assert(sip(fd, 64 << 10, &have), "only %zu of %zu bytes", have, all);
        rig_later(&r, PH_SEC(6));
    }
    while (sip(fd, 64 << 10, &have))
        ;
    cr_expect_eq(have, all);
    close(fd);
    rig_close(&r);
}

/* A socket that is closed resets the connection when its client says one more word. */
Test(uv_stream_raw, what_the_kernel_still_has_is_not_lost_to_a_client_that_goes_on_sending)
{
    enum { ALL = 96 << 10 };
    static const uint8_t b[ALL];
    size_t have = 0;

    open_plain(NULL);
    const int fd = rig_dial_from(&r, NULL, 4096);
    const uint32_t conn = rig_hello(&r, fd);
    ph_streams_make_raw(r.s, conn);
    cr_assert_eq(ph_streams_write(r.s, conn, b, ALL), ALL);
    ph_streams_close(r.s, conn);
    rig_settle(&r);
    for (int i = 0; i < 3; i++) {
        rig_later(&r, PH_SEC(2));
        cr_assert_eq(send(fd, "more", 4, MSG_NOSIGNAL), 4);
        rig_settle(&r);
    }
    while (sip(fd, 64 << 10, &have))
        ;
    cr_expect_eq(have, ALL);
    rig_later(&r, PH_SEC(2));
    cr_expect_eq(ph_streams_deadline(r.s), PH_NEVER, "then it is over");
    close(fd);
    rig_close(&r);
}

Test(uv_stream_raw, a_reader_that_takes_nothing_is_not_waited_for)
{
    int fd;

    close_full(&fd);
    rig_later(&r, PH_SEC(9));
    cr_expect_leq(ph_streams_deadline(r.s), rig_now(&r) + PH_SEC(1));
    rig_later(&r, PH_SEC(2));
    cr_expect_eq(ph_streams_deadline(r.s), PH_NEVER);
    close(fd);
    rig_close(&r);
}

Test(uv_stream_raw, a_reader_that_takes_next_to_nothing_is_not_waited_for_long)
{
    size_t have = 0;
    int fd;

    close_full(&fd);
    for (int i = 0; i < 20 && ph_streams_deadline(r.s) != PH_NEVER; i++) {
        sip(fd, 4096, &have);
        rig_later(&r, PH_SEC(6));
    }
    cr_expect_eq(ph_streams_deadline(r.s), PH_NEVER, "512 kB at 8 kB a second: 64 s and 10");
    close(fd);
    rig_close(&r);
}

/* --- calling and being called ---------------------------------------------------------------------- */

Test(uv_stream_raw, calls_a_peer)
{
    struct ph_addr at;
    uint32_t conn = 0;
    uint8_t got[4];

    rig_open(&r, NULL);
    const int peer = peer_listens(&at);
    const struct ph_addr local = rig_tcp("127.0.0.1:0");
    cr_assert_eq(ph_streams_connect(r.s, &local, &at, NULL, &conn, rig_now(&r)), 0);
    cr_expect_eq(r.n_connected, 0, "not from here");
    cr_expect_eq(ph_streams_write(r.s, conn, (const uint8_t *)"x", 1), 0, "not there yet");
    RIG_UNTIL(&r, r.n_connected == 1);
    cr_expect_eq(r.connect_err, 0);
    cr_expect_eq(r.conn, conn);
    const int fd = peer_accepts(peer);
    cr_expect_eq(ph_streams_write(r.s, conn, (const uint8_t *)"abcd", 4), 4);
    cr_expect_eq(rig_get(&r, fd, got, 4), 4);
    rig_put(&r, fd, "hey", 3);
    RIG_UNTIL(&r, r.n_bytes == 3);
    close(fd);
    RIG_UNTIL(&r, r.n_ended == 1);
    cr_expect_eq(r.ended_sock, UINT32_MAX);
    close(peer);
    rig_close(&r);
}

Test(uv_stream_raw, a_peer_that_refuses)
{
    struct ph_addr at;
    uint32_t conn;

    rig_open(&r, NULL);
    close(peer_listens(&at));
    const struct ph_addr local = rig_tcp("127.0.0.1:0");
    cr_assert_eq(ph_streams_connect(r.s, &local, &at, NULL, &conn, rig_now(&r)), 0);
    RIG_UNTIL(&r, r.n_connected == 1);
    cr_expect_eq(r.connect_err, -ECONNREFUSED);
    cr_expect_eq(r.n_ended, 0);
    cr_expect_eq(rig_stats(&r)->now, 0);
    rig_close(&r);
}

Test(uv_stream_raw, a_peer_that_does_not_answer)
{
    struct ph_addr at;
    uint32_t conn;
    union ph_sockaddr sa;
    int fill[4];

    /* a listener whose queue is full drops what comes */
    rig_open(&r, NULL);
    at = rig_tcp("127.0.0.1:0");
    socklen_t n = ph_sockaddr_set(&sa, &at);
    const int peer = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(peer, &sa.sa, n), 0);
    cr_assert_eq(listen(peer, 0), 0);
    n = sizeof sa;
    getsockname(peer, &sa.sa, &n);
    ph_sockaddr_get(&at, &sa, PH_TCP);
    for (int i = 0; i < 4; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fill[i], &sa.sa, n);
    }
    usleep(10000);
    const struct ph_addr local = rig_tcp("127.0.0.1:0");
    cr_assert_eq(ph_streams_connect(r.s, &local, &at, NULL, &conn, rig_now(&r)), 0);
    rig_settle(&r);
    rig_later(&r, PH_SEC(29));
    cr_expect_eq(r.n_connected, 0);
    rig_later(&r, PH_MS(1001));
    cr_expect_eq(r.n_connected, 1);
    cr_expect_eq(r.connect_err, -ETIMEDOUT);
    cr_assert_eq(ph_streams_connect(r.s, &local, &at, NULL, &conn, rig_now(&r)), 0);
    ph_streams_close(r.s, conn);
    rig_later(&r, PH_SEC(60));
    cr_expect_eq(r.n_connected, 1, "who closes is not told");
    for (int i = 0; i < 4; i++)
        close(fill[i]);
    close(peer);
    rig_close(&r);
}

Test(uv_stream_raw, listens_and_calls_from_the_same_address)
{
    struct ph_addr peer_at, relay = rig_tcp("127.0.0.1:0");
    union ph_sockaddr sa;
    uint32_t id, conn;

    rig_open(&r, NULL);
    /* a port of our own choice, to be told: the one the system gives a probe */
    close(peer_listens(&relay));
    cr_assert_eq(ph_streams_listen_raw(r.s, &relay, NULL, &id), 0);
    const int peer = peer_listens(&peer_at);
    cr_assert_eq(ph_streams_connect(r.s, &relay, &peer_at, NULL, &conn, rig_now(&r)), 0);
    RIG_UNTIL(&r, r.n_connected == 1);
    cr_expect_eq(r.connect_err, 0);
    const int fd = peer_accepts(peer);
    struct ph_addr seen;
    socklen_t n = sizeof sa;
    getpeername(fd, &sa.sa, &n);
    ph_sockaddr_get(&seen, &sa, PH_TCP);
    cr_expect(ph_addr_eq(&seen, &relay), "the peer sees the relayed address");
    cr_expect_eq(ph_streams_connect(r.s, &relay, &peer_at, NULL, &conn, rig_now(&r)),
                 -EADDRNOTAVAIL, "one connection to a peer at a time");

    r.at = relay;
    const int in = rig_dial(&r);
    RIG_UNTIL(&r, r.n_accepted == 1);
    rig_put(&r, in, "early", 5);
    RIG_UNTIL(&r, r.n_bytes == 5);
    r.refuse = true;
    const int refused = rig_dial(&r);
    cr_expect(rig_closed(&r, refused));
    cr_expect_eq(r.n_accepted, 2);
    ph_streams_unlisten_raw(r.s, id);
    const int late = socket(AF_INET, SOCK_STREAM, 0);
    n = ph_sockaddr_set(&sa, &relay);
    cr_expect_eq(connect(late, &sa.sa, n), -1);
    cr_expect_eq(errno, ECONNREFUSED);
    ph_streams_unlisten_raw(r.s, id);
    ph_streams_unlisten_raw(r.s, 12345);
    close(late);
    close(refused);
    close(in);
    close(fd);
    close(peer);
    rig_close(&r);
}

/* Sharing it is for those who call from it: a listener that shared it too would take somebody else's connections. */
Test(uv_stream_raw, a_listener_has_its_port_for_itself)
{
    struct ph_addr peer_at, relay = rig_tcp("127.0.0.1:0");
    uint32_t id, other, conn;

    rig_open(&r, NULL);
    const struct ph_stream_listener l = {
        .at = rig_tcp("127.0.0.1:0"), .sock = 7, .plain = true, .reuseport = true};
    cr_assert_eq(ph_streams_listen(r.s, &l, &r.at), 0);
    cr_expect_eq(ph_streams_listen_raw(r.s, &r.at, NULL, &id), -EADDRINUSE, "it is the clients'");
    close(peer_listens(&relay));
    cr_assert_eq(ph_streams_listen_raw(r.s, &relay, NULL, &id), 0);
    cr_expect_eq(ph_streams_listen_raw(r.s, &relay, NULL, &other), -EADDRINUSE, "it is a relay's");
    const int peer = peer_listens(&peer_at);
    cr_assert_eq(ph_streams_connect(r.s, &relay, &peer_at, NULL, &conn, rig_now(&r)), 0);
    const int fd = peer_accepts(peer);
    ph_streams_unlisten_raw(r.s, id);
    cr_expect_eq(ph_streams_listen_raw(r.s, &relay, NULL, &id), 0,
                 "connections from it are no hindrance");
    close(fd);
    close(peer);
    rig_close(&r);
}

/* --- to another worker ----------------------------------------------------------------------------- */

/* A second table on the same loop; from then on the rig's callbacks speak of it. */
static void open_second(void)
{
    const struct ph_streams_conf c = {
        .worker = r.w, .env = &r.env, .calls = rig_calls, .ctx = &r, .max_per_addr = 1};

    r.second = ph_streams_new(&c);
    cr_assert_not_null(r.second);
}

static void swap(void)
{
    struct ph_streams *s = r.s;

    r.s = r.second;
    r.second = s;
}

static struct ph_stream_moved *moved;

static void take_away(struct rig *rig, struct ph_pkt *p)
{
    if (ph_get16(ph_buf_data(&p->b)) != 0x4001)
        return;
    moved = ph_streams_detach(rig->s, p->conn, ph_buf_data(&p->b), p->b.len);
    cr_assert_not_null(moved);
    rig->on_message = NULL;
}

Test(uv_stream_raw, moves_with_the_message_at_hand_and_what_follows)
{
    uint8_t b[256], got[20];
    size_t n = rig_stun(b, 0x0001, 0, 0);

    open_plain(NULL);
    open_second();
    r.on_message = take_away;
    n += rig_data(b + n, 5, 1);
    n += rig_data(b + n, 9, 2);
    n += rig_data(b + n, 8, 3) - 4; /* not all of it */
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, n);
    RIG_UNTIL(&r, moved != NULL);
    const uint32_t old = r.msg[0].conn;
    cr_expect_eq(r.n_msg, 2);
    cr_expect_eq(rig_stats(&r)->now, 0);
    cr_expect_eq(r.n_ended, 0);
    cr_expect_not(rig_send(&r, old, b, 20));

    swap();
    const uint32_t conn = ph_streams_attach(r.s, moved, rig_now(&r));
    cr_assert_neq(conn, 0);
    cr_expect_eq(r.n_msg, 2, "not from here");
    cr_expect_leq(ph_streams_deadline(r.s), rig_now(&r));
    rig_turn(&r);
    cr_assert_eq(r.n_msg, 4);
    cr_expect_eq(ph_get32(r.msg[2].b + 4), 1, "the one that was at hand");
    cr_expect_eq(r.msg[2].n, 9);
    cr_expect_eq(ph_get32(r.msg[3].b + 4), 2);
    cr_expect_eq(r.msg[3].n, 13);
    cr_expect_eq(r.msg[3].conn, conn);
    cr_expect_eq(r.msg[3].sock, 7);
    cr_expect(ph_addr_eq(&r.msg[3].dst, &r.at));
    rig_put(&r, fd, "\0\0\0\0", 4);
    RIG_UNTIL(&r, r.n_msg == 5);
    cr_expect_eq(ph_get32(r.msg[4].b + 4), 3);
    cr_assert(rig_send(&r, conn, b, 20));
    cr_expect_eq(rig_get(&r, fd, got, 20), 20);
    close(fd);
    RIG_UNTIL(&r, r.n_ended == 1);
    cr_expect_eq(r.ended_conn, conn);
    rig_close(&r);
}

Test(uv_stream_raw, moves_with_its_queue_and_its_timers)
{
    enum { MESSAGES = 500 };
    static uint8_t got[MESSAGES * 1204];
    uint8_t b[1204];

    open_plain(NULL);
    open_second();
    const int fd = rig_dial_from(&r, NULL, 4096);
    uint32_t conn = rig_hello(&r, fd);
    ph_streams_keep(r.s, conn, true);
    for (uint32_t i = 0; i < MESSAGES; i++)
        cr_assert(rig_send(&r, conn, b, rig_data(b, 1200, i)));
    moved = ph_streams_detach(r.s, conn, NULL, 0);
    cr_assert_not_null(moved);
    swap();
    conn = ph_streams_attach(r.s, moved, rig_now(&r));
    cr_assert_neq(conn, 0);
    cr_assert_eq(rig_get(&r, fd, got, sizeof got), sizeof got);
    for (uint32_t i = 0; i < MESSAGES; i++)
        cr_assert_eq(ph_get32(got + i * 1204 + 4), i);
    rig_later(&r, PH_SEC(61));
    cr_expect_eq(r.n_ended, 0, "it is still kept");
    ph_streams_keep(r.s, conn, false);
    rig_later(&r, PH_SEC(61));
    cr_expect_eq(r.n_ended, 1);
    cr_expect_eq(r.why, PH_STREAM_TIMEOUT);
    close(fd);
    rig_close(&r);
}

Test(uv_stream_raw, moves_raw_and_may_be_freed_on_the_way)
{
    int fd;

    open_plain(NULL);
    open_second();
    uint32_t conn = raw_client(&fd);
    r.take = 2;
    rig_put(&r, fd, "abcdef", 6);
    RIG_UNTIL(&r, r.n_bytes == 2);
    moved = ph_streams_detach(r.s, conn, NULL, 0);
    swap();
    conn = ph_streams_attach(r.s, moved, rig_now(&r));
    cr_assert_neq(conn, 0);
    rig_settle(&r);
    cr_expect_eq(r.n_bytes, 2, "it is still paused");
    r.take = SIZE_MAX;
    ph_streams_resume(r.s, conn);
    RIG_UNTIL(&r, r.n_bytes == 6);
    cr_expect_arr_eq(r.bytes, "abcdef", 6);
    ph_stream_moved_free(ph_streams_detach(r.s, conn, NULL, 0));
    cr_expect(rig_closed(&r, fd));
    ph_stream_moved_free(NULL);
    close(fd);
    rig_close(&r);
}
