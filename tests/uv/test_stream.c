/*
 * TCP connections: framing, ends, bounds, timeouts, slow readers.  See test_stream_raw.c for raw ones and
 * test_stream_tls.c for TLS.
 */
#include "uv/stream_kit.h"

#include <netinet/in.h>
#include <sys/resource.h>

static struct rig r;

static void open_plain(const struct ph_streams_conf *c)
{
    rig_open(&r, c);
    rig_listen(&r, true, false, false);
}

/* --- framing --------------------------------------------------------------------------------------- */

Test(uv_stream, hands_out_a_message)
{
    uint8_t b[64];

    open_plain(NULL);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, rig_stun(b, 0x0001, 8, 42));
    RIG_UNTIL(&r, r.n_msg == 1);
    cr_expect_eq(r.msg[0].n, 28);
    cr_expect_eq(r.msg[0].sock, 7);
    cr_expect_eq(r.msg[0].conn, 1, "numbers begin with 1");
    cr_expect_eq(r.msg[0].src.proto, PH_TCP);
    cr_expect(ph_addr_eq(&r.msg[0].dst, &r.at));
    cr_expect_eq(ph_get32(r.msg[0].b + 8), 42);
    cr_expect_eq(rig_stats(&r)->rx_messages, 1);
    cr_expect_eq(rig_stats(&r)->rx_bytes, 28);
    cr_expect_eq(rig_stats(&r)->now, 1);
    cr_expect_geq(r.n_flush, 1, "whoever points into the buffer is told");
    close(fd);
    RIG_UNTIL(&r, r.n_ended == 1);
    rig_close(&r);
}

Test(uv_stream, coalesced_messages_come_one_by_one_without_padding)
{
    uint8_t b[4096];
    size_t n = rig_stun(b, 0x0001, 0, 0);

    open_plain(NULL);
    for (uint32_t i = 1; i <= 50; i++)
        n += rig_data(b + n, (uint16_t)(4 + i % 7), i);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, n);
    RIG_UNTIL(&r, r.n_msg == 51);
    for (uint32_t i = 1; i <= 50; i++) {
        cr_assert_eq(r.msg[i].n, 4 + 4 + i % 7);
        cr_assert_eq(ph_get32(r.msg[i].b + 4), i);
    }
    cr_expect_leq(rig_stats(&r)->rx_calls, 3);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, a_message_may_come_byte_by_byte)
{
    uint8_t b[128];
    const size_t n = rig_stun(b, 0x0001, 12, 5);
    const size_t all = n + rig_data(b + n, 5, 77);

    open_plain(NULL);
    const int fd = rig_dial(&r);
    for (size_t i = 0; i < all; i++) {
        rig_put(&r, fd, b + i, 1);
        rig_turn(&r);
        cr_assert_eq(r.n_msg, (i + 1 >= n) + (i + 1 >= all));
    }
    cr_expect_eq(r.msg[0].n, 32);
    cr_expect_eq(r.msg[1].n, 9);
    cr_expect_eq(ph_get32(r.msg[1].b + 4), 77);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, a_stream_longer_than_the_buffer_is_cut_at_the_right_places)
{
    enum { MESSAGES = 3000, EACH = 1201 };
    static uint8_t b[MESSAGES * (EACH + 8)];
    size_t n = rig_stun(b, 0x0001, 0, 0);

    open_plain(NULL);
    for (uint32_t i = 1; i <= MESSAGES; i++)
        n += rig_data(b + n, EACH, i);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, n);
    RIG_UNTIL(&r, r.n_msg == MESSAGES + 1);
    for (uint32_t i = 1; i <= MESSAGES; i++) {
        cr_assert_eq(r.msg[i].n, 4 + EACH);
        cr_assert_eq(ph_get32(r.msg[i].b + 4), i);
    }
    cr_expect_eq(rig_stats(&r)->rx_bytes, n);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, the_longest_messages_pass)
{
    static uint8_t b[20 + 65532 + 4 + 65535 + 1];
    size_t n = rig_stun(b, 0x0001, 65532, 9);

    n += rig_data(b + n, 65535, 10);
    open_plain(NULL);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, n);
    RIG_UNTIL(&r, r.n_msg == 2);
    cr_expect_eq(r.msg[0].n, 20 + 65532);
    cr_expect_eq(r.msg[1].n, 4 + 65535);
    cr_expect_eq(ph_get32(r.msg[1].b + 4), 10);
    close(fd);
    rig_close(&r);
}

/* --- sending --------------------------------------------------------------------------------------- */

static void echo_twice(struct rig *rig, struct ph_pkt *p)
{
    struct ph_pkt q = *p;
    uint8_t head[4] = {0x40, 2, 0, 1};

    cr_assert(ph_streams_send(rig->s, p));
    q.b = (struct ph_buf){.base = (uint8_t *)(uintptr_t) "x", .cap = 1, .len = 1};
    q.head = head;
    q.head_len = sizeof head;
    cr_assert(ph_streams_send(rig->s, &q));
}

Test(uv_stream, what_is_sent_between_two_flushes_leaves_in_one_write)
{
    uint8_t b[64], got[28];

    open_plain(NULL);
    r.on_message = echo_twice;
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, rig_stun(b, 0x0001, 0, 3));
    cr_assert_eq(rig_get(&r, fd, got, sizeof got), 28);
    cr_expect_arr_eq(got, b, 20);
    cr_expect_arr_eq(got + 20, "\x40\x02\x00\x01x\0\0\0", 8, "head, data, padding");
    cr_expect_eq(rig_stats(&r)->tx_calls, 1);
    cr_expect_eq(rig_stats(&r)->tx_messages, 2);
    cr_expect_eq(rig_stats(&r)->tx_bytes, 28);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, sending_to_nobody_is_harmless)
{
    uint8_t b[20];

    open_plain(NULL);
    rig_stun(b, 0x0101, 0, 0);
    cr_expect_not(rig_send(&r, 0, b, sizeof b));
    cr_expect_not(rig_send(&r, 1, b, sizeof b));
    cr_expect_not(rig_send(&r, 0x3FFFFFFF, b, sizeof b));
    const int fd = rig_dial(&r);
    const uint32_t conn = rig_hello(&r, fd);
    cr_expect_not(rig_send(&r, conn, b, 3), "that is no message");
    close(fd);
    RIG_UNTIL(&r, r.n_ended == 1);
    cr_expect_not(rig_send(&r, conn, b, sizeof b));
    ph_streams_close(r.s, conn);
    ph_streams_keep(r.s, conn, true);
    ph_streams_make_raw(r.s, conn);
    ph_streams_resume(r.s, conn);
    ph_streams_ready(r.s, PH_STREAM_ID_CONN | conn, EPOLLIN | EPOLLHUP, rig_now(&r));
    ph_streams_ready(r.s, PH_STREAM_ID_LISTENER | 63, EPOLLIN, rig_now(&r));
    ph_streams_ready(r.s, 0x80000005, EPOLLIN, rig_now(&r));
    cr_expect_null(ph_streams_detach(r.s, conn, NULL, 0));
    cr_expect_null(ph_streams_ssl(r.s, conn));
    cr_expect_eq(r.n_ended, 1);
    rig_close(&r);
}

Test(uv_stream, a_number_does_not_come_again_soon)
{
    uint32_t seen[200];

    open_plain(NULL);
    for (unsigned i = 0; i < 200; i++) {
        const int fd = rig_dial(&r);
        seen[i] = rig_hello(&r, fd);
        for (unsigned k = 0; k < i; k++)
            cr_assert_neq(seen[i], seen[k]);
        cr_assert_neq(seen[i], 0);
        cr_assert_eq(seen[i] >> 30, 0);
        close(fd);
        RIG_UNTIL(&r, r.n_ended == i + 1);
    }
    rig_close(&r);
}

/* --- ends ------------------------------------------------------------------------------------------ */

static void expect_end(enum ph_stream_end why)
{
    RIG_UNTIL(&r, r.n_ended == 1);
    cr_expect_eq(r.why, why, "ended for %d", r.why);
    cr_expect_eq(r.ended_sock, 7);
    cr_expect_eq(rig_stats(&r)->now, 0);
}

Test(uv_stream, half_closed_by_the_client_it_still_gets_its_answer)
{
    uint8_t b[20], got[28];

    open_plain(NULL);
    r.on_message = echo_twice;
    const int fd = rig_dial(&r);
    rig_stun(b, 0x0001, 0, 3);
    cr_assert_eq(send(fd, b, sizeof b, 0), 20);
    shutdown(fd, SHUT_WR);
    cr_expect_eq(rig_get(&r, fd, got, sizeof got), 28);
    cr_expect(rig_closed(&r, fd));
    expect_end(PH_STREAM_CLOSED);
    cr_expect_eq(rig_stats(&r)->closed, 1);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, reset_by_the_client)
{
    open_plain(NULL);
    const int fd = rig_dial(&r);
    rig_hello(&r, fd);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(fd);
    expect_end(PH_STREAM_RESET);
    cr_expect_eq(rig_stats(&r)->reset, 1);
    rig_close(&r);
}

Test(uv_stream, closed_by_us_after_what_is_queued)
{
    uint8_t b[20], got[20];

    open_plain(NULL);
    const int fd = rig_dial(&r);
    const uint32_t conn = rig_hello(&r, fd);
    rig_stun(b, 0x0101, 0, 8);
    cr_assert(rig_send(&r, conn, b, sizeof b));
    ph_streams_close(r.s, conn);
    cr_expect_not(rig_send(&r, conn, b, sizeof b));
    cr_expect_eq(rig_stats(&r)->now, 0);
    cr_expect_eq(rig_get(&r, fd, got, sizeof got), 20);
    cr_expect_arr_eq(got, b, sizeof b);
    cr_expect(rig_closed(&r, fd));
    close(fd);
    rig_settle(&r);
    cr_expect_eq(r.n_ended, 0, "we know");
    rig_close(&r);
}

Test(uv_stream, garbage_at_the_beginning)
{
    open_plain(NULL);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, "\xFF\xFE nothing that anybody speaks", 30);
    cr_expect(rig_closed(&r, fd));
    expect_end(PH_STREAM_BAD_FRAME);
    cr_expect_eq(rig_stats(&r)->bad_frame, 1);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, garbage_after_a_message)
{
    uint8_t b[64];
    size_t n = rig_stun(b, 0x0001, 0, 0);

    open_plain(NULL);
    memset(b + n, 0xFF, 40);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, n + 40);
    expect_end(PH_STREAM_BAD_FRAME);
    cr_expect_eq(r.n_msg, 1);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, tls_to_a_plain_port)
{
    static const uint8_t hello[] = {0x16, 3, 1, 0, 0xC8, 1, 0, 0, 0xC4, 3, 3, 1, 2, 3, 4, 5, 6};

    open_plain(NULL);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, hello, sizeof hello);
    cr_expect(rig_closed(&r, fd));
    expect_end(PH_STREAM_BAD_FRAME);
    close(fd);
    rig_close(&r);
}

static void http(bool answer)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: turn.example\r\n\r\n";
    char got[512];

    open_plain(&(struct ph_streams_conf){.http_400 = answer});
    const int fd = rig_dial(&r);
    rig_put(&r, fd, get, sizeof get - 1);
    const size_t n = rig_get(&r, fd, got, sizeof got - 1);
    got[n] = 0;
    expect_end(PH_STREAM_IS_HTTP);
    cr_expect_eq(rig_stats(&r)->http, 1);
    if (answer) {
        cr_expect_eq(strncmp(got, "HTTP/1.1 400 ", 13), 0);
        cr_expect_not_null(strstr(got, "\r\nConnection: close\r\n"));
        const char *body = strstr(got, "\r\n\r\n");
        cr_assert_not_null(body);
        cr_expect_eq(strlen(body + 4), 31, "as Content-Length says");
    } else {
        cr_expect_eq(n, 0);
    }
    cr_expect_eq(r.n_msg, 0);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, http_is_answered_400_if_asked_for)
{
    http(true);
}

Test(uv_stream, http_is_closed_otherwise)
{
    http(false);
}

/* --- the PROXY protocol ---------------------------------------------------------------------------- */

static void open_proxy(void)
{
    rig_open(&r, &(struct ph_streams_conf){.max_per_addr = 2});
    rig_listen(&r, true, false, true);
}

static int dial_v1(const char *line)
{
    uint8_t b[20];
    const int fd = rig_dial(&r);

    rig_put(&r, fd, line, strlen(line));
    rig_stun(b, 0x0001, 0, 1);
    rig_put(&r, fd, b, sizeof b);
    return fd;
}

Test(uv_stream, proxy_version_1)
{
    open_proxy();
    const int fd = dial_v1("PROXY TCP4 192.0.2.7 198.51.100.1 4711 3478\r\n");
    RIG_UNTIL(&r, r.n_msg == 1);
    const struct ph_addr src = rig_tcp("192.0.2.7:4711"), dst = rig_tcp("198.51.100.1:3478");
    cr_expect(ph_addr_eq(&r.msg[0].src, &src));
    cr_expect(ph_addr_eq(&r.msg[0].dst, &dst));
    close(fd);
    rig_close(&r);
}

Test(uv_stream, proxy_version_2_byte_by_byte)
{
    static const uint8_t head[] = {0x0D, 0x0A, 0x0D, 0x0A, 0, 0x0D, 0x0A, 'Q', 'U', 'I',
                                   'T',  0x0A, 0x21, 0x11, 0, 12,   192,  0,   2,   9,
                                   198,  51,   100,  1,    1, 0,    0x0D, 0x96};
    uint8_t b[20];

    open_proxy();
    const int fd = rig_dial(&r);
    for (size_t i = 0; i < sizeof head; i++)
        rig_put(&r, fd, head + i, 1);
    rig_put(&r, fd, b, rig_stun(b, 0x0001, 0, 1));
    RIG_UNTIL(&r, r.n_msg == 1);
    const struct ph_addr src = rig_tcp("192.0.2.9:256");
    cr_expect(ph_addr_eq(&r.msg[0].src, &src));
    cr_expect_eq(r.msg[0].dst.port, 3478);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, proxy_header_missing)
{
    uint8_t b[20];

    open_proxy();
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, rig_stun(b, 0x0001, 0, 1));
    expect_end(PH_STREAM_BAD_PROXY);
    cr_expect_eq(rig_stats(&r)->bad_proxy, 1);
    cr_expect_eq(r.n_msg, 0);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, a_proxy_header_nobody_asked_for_is_garbage)
{
    open_plain(NULL);
    const int fd = dial_v1("PROXY TCP4 192.0.2.7 198.51.100.1 4711 3478\r\n");
    expect_end(PH_STREAM_BAD_FRAME);
    cr_expect_eq(r.n_msg, 0);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, behind_a_balancer_the_client_counts_and_not_the_balancer)
{
    int fd[6];

    open_proxy();
    fd[0] = dial_v1("PROXY TCP4 192.0.2.1 198.51.100.1 1 3478\r\n");
    fd[1] = dial_v1("PROXY TCP4 192.0.2.2 198.51.100.1 1 3478\r\n");
    fd[2] = dial_v1("PROXY TCP4 192.0.2.3 198.51.100.1 1 3478\r\n");
    fd[3] = dial_v1("PROXY TCP4 192.0.2.3 198.51.100.1 2 3478\r\n");
    RIG_UNTIL(&r, r.n_msg == 4);
    fd[4] = dial_v1("PROXY TCP4 192.0.2.3 198.51.100.1 3 3478\r\n");
    RIG_UNTIL(&r, rig_stats(&r)->refused_source == 1);
    fd[5] = dial_v1("PROXY UNKNOWN\r\n"); /* a health check counts as who it is */
    RIG_UNTIL(&r, r.n_msg == 5);
    cr_expect(ph_addr_eq_ip(&r.msg[4].src, &r.at));
    for (int i = 0; i < 6; i++)
        close(fd[i]);
    rig_close(&r);
}

/* --- bounds ---------------------------------------------------------------------------------------- */

Test(uv_stream, bounded_in_all)
{
    int fd[4];

    open_plain(&(struct ph_streams_conf){.max_conns = 3});
    for (int i = 0; i < 3; i++) {
        fd[i] = rig_dial(&r);
        rig_hello(&r, fd[i]);
    }
    fd[3] = rig_dial(&r);
    RIG_UNTIL(&r, rig_stats(&r)->refused_full == 1);
    cr_expect_eq(rig_stats(&r)->now, 3);
    close(fd[3]);
    close(fd[0]);
    RIG_UNTIL(&r, r.n_ended == 1);
    fd[0] = rig_dial(&r);
    rig_hello(&r, fd[0]);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    rig_close(&r);
}

Test(uv_stream, bounded_per_address)
{
    int fd[4];

    open_plain(&(struct ph_streams_conf){.max_per_addr = 2});
    fd[0] = rig_dial_from(&r, "127.0.0.2:0", 0);
    fd[1] = rig_dial_from(&r, "127.0.0.2:0", 0);
    fd[2] = rig_dial_from(&r, "127.0.0.2:0", 0);
    RIG_UNTIL(&r, rig_stats(&r)->refused_source == 1);
    fd[3] = rig_dial_from(&r, "127.0.0.3:0", 0);
    rig_hello(&r, fd[3]);
    close(fd[0]);
    RIG_UNTIL(&r, r.n_ended == 1);
    close(fd[2]);
    fd[2] = rig_dial_from(&r, "127.0.0.2:0", 0);
    rig_hello(&r, fd[2]);
    for (int i = 1; i < 4; i++)
        close(fd[i]);
    rig_close(&r);
}

Test(uv_stream, without_descriptors_it_waits_a_moment_and_goes_on)
{
    struct rlimit old, few;

    open_plain(NULL);
    const int fd = rig_dial(&r);
    getrlimit(RLIMIT_NOFILE, &old);
    few = old;
    few.rlim_cur = (rlim_t)fd + 1;  /* all below are taken */
    for (int k; (k = dup(0)) >= 0;) /* but those that were closed before */
        if (k > fd) {
            close(k);
            break;
        }
    setrlimit(RLIMIT_NOFILE, &few);
    RIG_UNTIL(&r, rig_stats(&r)->accept_failed == 1);
    rig_settle(&r);
    cr_expect_eq(rig_stats(&r)->accept_failed, 1, "it does not spin");
    cr_expect_gt(ph_streams_deadline(r.s), rig_now(&r));
    cr_expect_leq(ph_streams_deadline(r.s), rig_now(&r) + PH_MS(100));
    rig_later(&r, PH_MS(100));
    RIG_UNTIL(&r, rig_stats(&r)->accept_failed == 2);
    setrlimit(RLIMIT_NOFILE, &old);
    rig_later(&r, PH_MS(100));
    RIG_UNTIL(&r, rig_stats(&r)->accepted == 1);
    rig_hello(&r, fd);
    close(fd);
    rig_close(&r);
}

/* --- timeouts -------------------------------------------------------------------------------------- */

Test(uv_stream, who_says_nothing_is_closed_after_the_handshake_timeout)
{
    open_plain(&(struct ph_streams_conf){.handshake_timeout = PH_SEC(3)});
    const int fd = rig_dial(&r);
    RIG_UNTIL(&r, rig_stats(&r)->accepted == 1);
    rig_put(&r, fd, "\0\1", 2); /* a few bytes change nothing */
    rig_later(&r, PH_MS(2000));
    cr_expect_eq(r.n_ended, 0);
    rig_later(&r, PH_MS(1001));
    expect_end(PH_STREAM_TIMEOUT);
    cr_expect_eq(rig_stats(&r)->timed_out, 1);
    cr_expect(rig_closed(&r, fd) || true);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, idle_unless_kept)
{
    uint8_t b[20];

    open_plain(&(struct ph_streams_conf){.idle_timeout = PH_SEC(20)});
    const int fd = rig_dial(&r);
    const uint32_t conn = rig_hello(&r, fd);
    rig_later(&r, PH_SEC(19));
    rig_put(&r, fd, b, rig_stun(b, 0x0001, 0, 1));
    RIG_UNTIL(&r, r.n_msg == 2);
    rig_later(&r, PH_SEC(19));
    cr_expect_eq(r.n_ended, 0, "each message counts");
    ph_streams_keep(r.s, conn, true);
    rig_later(&r, PH_SEC(3600));
    cr_expect_eq(r.n_ended, 0);
    ph_streams_keep(r.s, conn, false);
    rig_later(&r, PH_SEC(19));
    cr_expect_eq(r.n_ended, 0);
    rig_later(&r, PH_MS(1001));
    expect_end(PH_STREAM_TIMEOUT);
    cr_expect(rig_closed(&r, fd));
    close(fd);
    rig_close(&r);
}

Test(uv_stream, a_message_that_has_begun_must_end_even_if_kept)
{
    uint8_t b[20] = {0};

    open_plain(&(struct ph_streams_conf){.idle_timeout = PH_SEC(20)});
    const int fd = rig_dial(&r);
    const uint32_t conn = rig_hello(&r, fd);
    ph_streams_keep(r.s, conn, true);
    rig_stun(b, 0x0001, 0, 1);
    for (int i = 0; i < 9; i++) { /* a byte now and then gains nothing */
        rig_put(&r, fd, b + i, 1);
        rig_settle(&r);
        rig_later(&r, PH_SEC(2));
    }
    cr_expect_eq(r.n_ended, 0);
    rig_put(&r, fd, b + 9, 1);
    rig_settle(&r);
    rig_later(&r, PH_SEC(3));
    expect_end(PH_STREAM_TIMEOUT);
    close(fd);
    rig_close(&r);
}

/* --- slow readers ---------------------------------------------------------------------------------- */

enum { QUEUE = 64 << 10 };

/* A client that reads nothing yet. */
static int slow_client(uint32_t *conn)
{
    open_plain(&(struct ph_streams_conf){.queue_bytes = QUEUE});
    const int fd = rig_dial_from(&r, NULL, 4096);
    *conn = rig_hello(&r, fd);
    ph_streams_keep(r.s, *conn, true);
    return fd;
}

/* Reads all there is and returns the numbers of the messages, data as they are and answers with the top bit set. */
static unsigned read_numbers(int fd, uint32_t *v, unsigned max)
{
    static uint8_t b[1 << 20];
    size_t have = 0, at = 0;
    unsigned n = 0;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){1 << 20}, sizeof(int)); /* not slow any more */
    for (;;) {
        const unsigned before = n;
        const ssize_t k = recv(fd, b + have, sizeof b - have, 0);
        have += k > 0 ? (size_t)k : 0;
        while (have - at >= 20) {
            const bool data = b[at] & 0x40;
            const size_t len = (data ? 4u : 20u) + (ph_get16(b + at + 2) + 3u) / 4 * 4;
            if (have - at < len)
                break;
            cr_assert_lt(n, max);
            v[n++] = data ? ph_get32(b + at + 4) : ph_get32(b + at + 8) | 0x80000000;
            at += len;
        }
        if (at > sizeof b / 2) {
            memmove(b, b + at, have - at);
            have -= at;
            at = 0;
        }
        rig_settle(&r);
        if (n == before && k <= 0)
            break;
    }
    cr_expect_eq(have, at, "no half message");
    return n;
}

Test(uv_stream, a_slow_reader_loses_the_oldest_but_no_answer)
{
    enum { MESSAGES = 8000 };
    static uint32_t got[MESSAGES + 100];
    uint8_t b[1204];
    uint32_t conn;
    const int fd = slow_client(&conn);
    unsigned answers = 0;

    for (uint32_t i = 1; i <= MESSAGES; i++) {
        rig_send(&r, conn, b, rig_data(b, 1200, i));
        if (i % 100 == 0)
            cr_assert(rig_send(&r, conn, b, rig_stun(b, 0x0101, 0, ++answers)));
        if (i % 10 == 0)
            ph_streams_flush(r.s, rig_now(&r));
    }
    const uint64_t dropped = rig_stats(&r)->dropped_slow;
    cr_expect_gt(dropped, 0);
    cr_expect_eq(r.n_ended, 0, "it is a burst, not an attack");
    const unsigned n = read_numbers(fd, got, MESSAGES + 100);
    cr_expect_eq(n, MESSAGES + answers - dropped);
    cr_expect_eq(rig_stats(&r)->tx_messages, n);
    uint32_t data = 0, answer = 0x80000000, jumps = 0;
    for (unsigned i = 0; i < n; i++) {
        uint32_t *last = got[i] & 0x80000000 ? &answer : &data;
        cr_assert_gt(got[i], *last, "in order");
        jumps += last == &data && got[i] != data + 1;
        *last = got[i];
    }
    cr_expect_eq(answer, 0x80000000 + answers, "every answer is there");
    cr_expect_eq(data, MESSAGES, "the newest is there");
    cr_expect_leq(jumps, 1, "what is missing is in one place, where the socket was full");
    close(fd);
    rig_close(&r);
}

static void answer(struct rig *rig, struct ph_pkt *p)
{
    uint8_t b[1020];
    const size_t n = rig_stun(b, 0x0101, 1000, ph_get32(ph_buf_data(&p->b) + 8));

    cr_assert(rig_send(rig, p->conn, b, n), "answers are never refused");
}

Test(uv_stream, who_does_not_read_answers_is_not_read_either)
{
    enum { REQUESTS = 3000 };
    static uint8_t b[20 * REQUESTS];
    static uint32_t got[REQUESTS + 1];
    uint32_t conn;
    const int fd = slow_client(&conn);
    size_t sent = 0;

    r.on_message = answer;
    for (uint32_t i = 0; i < REQUESTS; i++)
        rig_stun(b + 20 * (size_t)i, 0x0001, 0, i + 1);
    for (int i = 0; i < 2000 && sent < sizeof b; i++) {
        const ssize_t k = send(fd, b + sent, sizeof b - sent, MSG_NOSIGNAL);
        sent += k > 0 ? (size_t)k : 0;
        rig_turn(&r);
    }
    const unsigned before = r.n_msg;
    cr_expect_lt(before, REQUESTS / 2, "%u requests were taken", before);
    rig_settle(&r);
    cr_expect_eq(r.n_msg, before, "nothing more is taken");
    cr_expect_eq(r.n_ended, 0);
    unsigned n = 0;
    for (int i = 0; i < 100 && n < REQUESTS; i++) {
        n += read_numbers(fd, got + n, REQUESTS - n);
        if (sent < sizeof b) {
            const ssize_t k = send(fd, b + sent, sizeof b - sent, MSG_NOSIGNAL);
            sent += k > 0 ? (size_t)k : 0;
        }
    }
    cr_assert_eq(n, REQUESTS, "%u of them", n);
    for (uint32_t i = 0; i < REQUESTS; i++)
        cr_assert_eq(got[i], (i + 1) | 0x80000000);
    cr_expect_eq(rig_stats(&r)->dropped_slow, 0);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, a_reader_that_never_reads_is_closed_in_time)
{
    uint8_t b[1204];
    uint32_t conn;
    const int fd = slow_client(&conn);

    for (uint32_t i = 1; i <= 8000; i++) {
        rig_send(&r, conn, b, rig_data(b, 1200, i));
        ph_streams_flush(r.s, rig_now(&r));
    }
    ph_streams_close(r.s, conn);
    rig_turn(&r);
    cr_expect_leq(ph_streams_deadline(r.s), rig_now(&r) + PH_SEC(10));
    rig_later(&r, PH_SEC(11));
    cr_expect_eq(ph_streams_deadline(r.s), PH_NEVER, "nothing is left of it");
    close(fd);
    rig_close(&r);
}

Test(uv_stream, a_stranger_has_little_room_for_answers)
{
    enum { REQUESTS = 3000 };
    static uint8_t b[20 * REQUESTS];

    open_plain(NULL);
    const int fd = rig_dial_from(&r, NULL, 4096);
    rig_hello(&r, fd);
    r.on_message = answer;
    for (uint32_t i = 0; i < REQUESTS; i++)
        rig_stun(b + 20 * (size_t)i, 0x0001, 0, i + 1);
    cr_assert_eq(send(fd, b, sizeof b, 0), (ssize_t)sizeof b);
    rig_settle(&r);
    const unsigned before = r.n_msg;
    cr_expect_lt(before, REQUESTS / 2, "what the socket takes, and a little more: %u", before);
    rig_later(&r, PH_SEC(61));
    cr_expect_eq(r.n_ended, 1, "and little time");
    cr_expect_eq(r.why, PH_STREAM_TIMEOUT);
    close(fd);
    rig_close(&r);
}

Test(uv_stream, halves_of_messages_are_bounded_in_all)
{
    enum { HALF = 65000, CONNS = (64 << 20) / HALF + 1 };
    static uint8_t b[20 + 65532];
    static int fd[CONNS + 1];
    struct rlimit l;

    getrlimit(RLIMIT_NOFILE, &l);
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
    if (l.rlim_cur < 2 * CONNS + 100)
        cr_skip("too few file descriptors here");
    open_plain(NULL);
    rig_stun(b, 0x0001, 65532, 1);
    ph_put32(b + 4, 0x2112A442);
    for (int i = 0; i <= CONNS; i++) {
        fd[i] = rig_dial(&r);
        rig_put(&r, fd[i], b, HALF);
        if (i < CONNS - 2)
            cr_assert_eq(r.n_ended, 0, "%d are fine", i + 1);
    }
    RIG_UNTIL(&r, r.n_ended > 0);
    cr_expect_leq(r.n_ended, 2);
    for (int i = 0; i <= CONNS; i++)
        close(fd[i]);
    RIG_UNTIL(&r, rig_stats(&r)->now == 0);
    const int again = rig_dial(&r);
    rig_put(&r, again, b, HALF);
    rig_settle(&r);
    cr_expect_eq(rig_stats(&r)->now, 1, "there is room again");
    close(again);
    rig_close(&r);
}

/* --- listeners ------------------------------------------------------------------------------------- */

Test(uv_stream, listeners_may_share_an_address_or_not)
{
    struct ph_stream_listener l = {
        .at = rig_tcp("127.0.0.1:0"), .sock = 1, .plain = true, .reuseport = true};
    struct ph_addr at;

    rig_open(&r, NULL);
    cr_assert_eq(ph_streams_listen(r.s, &l, &at), 0);
    l.at = at;
    cr_expect_eq(ph_streams_listen(r.s, &l, &at), 0);
    l.reuseport = false;
    cr_expect_eq(ph_streams_listen(r.s, &l, &at), -EADDRINUSE);
    l.at = rig_tcp("192.0.2.1:0");
    cr_expect_eq(ph_streams_listen(r.s, &l, &at), -EADDRNOTAVAIL);
    l.at = (struct ph_addr){0};
    cr_expect_eq(ph_streams_listen(r.s, &l, &at), -EAFNOSUPPORT);
    rig_close(&r);
}

Test(uv_stream, a_wildcard_listener_tells_which_address_was_called)
{
    struct ph_stream_listener l = {.at = rig_tcp("0.0.0.0:0"), .sock = 1, .plain = true};

    rig_open(&r, NULL);
    cr_assert_eq(ph_streams_listen(r.s, &l, &r.at), 0);
    const struct ph_addr want = {
        .ip = {127, 0, 0, 5}, .port = r.at.port, .family = PH_AF_INET, .proto = PH_TCP};
    r.at = want;
    const int fd = rig_dial(&r);
    rig_hello(&r, fd);
    cr_expect(ph_addr_eq(&r.msg[0].dst, &want));
    close(fd);
    rig_close(&r);
}

Test(uv_stream, ipv6)
{
    struct ph_stream_listener l = {.at = rig_tcp("[::1]:0"), .sock = 7, .plain = true};
    union ph_sockaddr sa;

    rig_open(&r, &(struct ph_streams_conf){.max_per_addr = 1});
    if (ph_streams_listen(r.s, &l, &r.at))
        cr_skip("no IPv6 here");
    const socklen_t n = ph_sockaddr_set(&sa, &r.at);
    const int fd = socket(AF_INET6, SOCK_STREAM, 0), other = socket(AF_INET6, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, &sa.sa, n), 0);
    rig_hello(&r, fd);
    cr_expect_eq(r.msg[0].src.family, PH_AF_INET6);
    cr_assert_eq(connect(other, &sa.sa, n), 0);
    RIG_UNTIL(&r, rig_stats(&r)->refused_source == 1);
    close(fd);
    close(other);
    rig_close(&r);
}
