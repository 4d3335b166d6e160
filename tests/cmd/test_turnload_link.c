#include "cmd/turnload/link.h"
#include "cmd/turnload/meter.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/uv/sockaddr.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 5000 };

static struct ph_load_link l;
static int listener, server;

static void wait_for(int fd, short what)
{
    struct pollfd p = {.fd = fd, .events = what};
    cr_assert_eq(poll(&p, 1, WAIT_MS), 1, "nothing happened");
}

/* A connection over TCP; `server` is its other end. */
static void set_up(void)
{
    struct ph_addr at = ph_addr_v4((uint8_t[]){127, 0, 0, 1}, 0, PH_TCP), any = {0};
    union ph_sockaddr s;
    socklen_t n = ph_sockaddr_set(&s, &at);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, &s.sa, n), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, &s.sa, &n), 0);
    ph_sockaddr_get(&at, &s, PH_TCP);
    cr_assert_eq(ph_load_link_open(&l, &at, &any, NULL), 0);
    wait_for(listener, POLLIN);
    server = accept(listener, NULL, NULL);
    cr_assert_geq(server, 0);
    wait_for(l.fd, POLLOUT);
    cr_assert_eq(ph_load_link_step(&l), 1);
    cr_assert_eq(l.state, PH_LOAD_LINK_UP);
    cr_assert_eq(ph_load_link_wait(&l), PH_NEVER);
}

static void tear_down(void)
{
    ph_load_link_close(&l);
    close(server);
    close(listener);
}

TestSuite(turnload_link, .init = set_up, .fini = tear_down);

/* ChannelData of n payload bytes at p; returns its length with padding. */
static size_t channel_data(uint8_t *p, uint16_t n)
{
    size_t len = (4U + n + 3U) & ~3U;
    memset(p, (int)n, len);
    ph_put16(p, 0x4001);
    ph_put16(p + 2, n);
    return len;
}

static void put(const void *data, uint32_t n)
{
    struct ph_pkt p = {.b = {(uint8_t *)(uintptr_t)data, n, 0, n}};
    cr_assert(ph_load_link_put(&l, &p));
}

Test(turnload_link, messages_share_a_write)
{
    char got[64] = "";
    put("one ", 4);
    put("two ", 4);
    struct ph_pkt p = {.b = {(uint8_t[]){'3'}, 1, 0, 1}, .head = (uint8_t *)"head", .head_len = 4};
    cr_assert(ph_load_link_put(&l, &p));
    cr_assert_eq(recv(server, got, sizeof got, MSG_DONTWAIT), -1,
                 "nothing leaves before the flush");
    cr_assert_eq(ph_load_link_flush(&l), 0);
    wait_for(server, POLLIN);
    cr_assert_eq(recv(server, got, sizeof got, 0), 13);
    cr_assert_str_eq(got, "one two head3");
}

Test(turnload_link, frames_come_out_whole_however_they_were_cut)
{
    uint8_t stream[400];
    size_t n = channel_data(stream, 5);
    n += channel_data(stream + n, 0);
    n += channel_data(stream + n, 100);
    n += channel_data(stream + n, 3);
    for (size_t cut = 1; cut < n; cut += 3) {
        uint32_t lengths = 0, messages = 0;
        for (size_t at = 0; at < n; at += cut) {
            size_t piece = n - at < cut ? n - at : cut;
            cr_assert_eq(send(server, stream + at, piece, 0), (ssize_t)piece);
            wait_for(l.fd, POLLIN);
            cr_assert_geq(ph_load_link_read(&l), 1);
            for (struct ph_pkt p; ph_load_link_next(&l, &p); messages++) {
                const uint8_t *b = ph_buf_data(&p.b);
                cr_assert_eq(ph_get16(b + 2) + 4U, p.b.len, "without padding");
                cr_assert_eq(p.src.port, l.server.port);
                lengths += p.b.len;
            }
        }
        cr_assert_eq(messages, 4, "cut into %zu", cut);
        cr_assert_eq(lengths, 9 + 4 + 104 + 7);
        cr_assert_null(l.kept, "nothing is left");
        cr_assert_eq(ph_load_link_read(&l), 0);
    }
}

Test(turnload_link, a_stream_that_makes_no_sense_ends_the_link)
{
    struct ph_pkt p;
    cr_assert_eq(send(server, "\xFF\xFF\xFF\xFF", 4, 0), 4);
    wait_for(l.fd, POLLIN);
    cr_assert_geq(ph_load_link_read(&l), 1);
    cr_assert_not(ph_load_link_next(&l, &p));
    cr_assert_eq(ph_load_link_read(&l), PH_E_FORMAT);
}

Test(turnload_link, the_end_comes_after_the_last_message)
{
    uint8_t data[16];
    struct ph_pkt p;
    size_t n = channel_data(data, 8);
    cr_assert_eq(send(server, data, n, 0), (ssize_t)n);
    shutdown(server, SHUT_RDWR);
    wait_for(l.fd, POLLIN);
    cr_assert_geq(ph_load_link_read(&l), 1);
    cr_assert(ph_load_link_next(&l, &p));
    cr_assert_not(ph_load_link_next(&l, &p));
    wait_for(l.fd, POLLIN);
    cr_assert_eq(ph_load_link_read(&l), PH_E_STATE);
}

Test(turnload_link, a_reader_that_does_not_read_fills_the_queue_and_loses_nothing_of_it)
{
    static uint8_t block[65536];
    uint64_t taken = 0, got = 0;
    struct ph_pkt p = {.b = {block, sizeof block, 0, sizeof block}};
    for (unsigned i = 0; i < 10000 && ph_load_link_put(&l, &p); i++) {
        taken += sizeof block;
        cr_assert_eq(ph_load_link_flush(&l), 0);
    }
    cr_assert(l.want_out);
    cr_assert_leq(l.out_cap, 4U << 20, "the queue is bounded");
    cr_assert_not(ph_load_link_put(&l, &p));
    while (got < taken) {
        ssize_t n = recv(server, block, sizeof block, MSG_DONTWAIT);
        got += n > 0 ? (uint64_t)n : 0;
        cr_assert_eq(ph_load_link_flush(&l), 0);
        if (n < 0)
            wait_for(server, POLLIN);
    }
    cr_assert_eq(got, taken);
    cr_assert_not(l.want_out);
    cr_assert_null(l.out, "a large queue is given back");
}

Test(turnload_link, nobody_listening_is_an_error)
{
    struct ph_addr at = l.server, any = {0};
    int r;
    tear_down();
    r = ph_load_link_open(&l, &at, &any, NULL);
    for (unsigned i = 0; i < 100 && r == 0 && (r = ph_load_link_step(&l)) == 0; i++)
        wait_for(l.fd, POLLOUT);
    cr_assert_eq(r, -ECONNREFUSED);
    listener = server = -1;
}

Test(turnload_meter, reads_what_a_process_costs)
{
    struct ph_load_meter a, b;
    cr_assert(ph_load_meter_read(&a, getpid()));
    do {
        cr_assert(ph_load_meter_read(&b, getpid()));
    } while (b.cpu - a.cpu < PH_MS(2));
    cr_assert_gt(b.bytes, 100000);
    cr_assert_leq(b.user, b.cpu);
    cr_assert_not(ph_load_meter_read(&b, INT32_MAX));
}
