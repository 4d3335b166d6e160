/*
 * Batches over loopback with real sockets: receiving, taking coalesced buffers apart, sending in place.
 */
#include "stun/uv/batch.h"
#include "uv/kit.h"

#include <stdlib.h>

static struct ph_batch *b;
static struct ph_udp in, out; /* `in` is read by the batch, `out` is the other side */
static struct ph_addr in_at, out_at;

static void setup(void)
{
    const struct ph_udp_opts o = {.gro = true, .rcvbuf = 1 << 20};

    b = ph_batch_new(NULL);
    in = kit_open("127.0.0.1:0", &o);
    out = kit_open("127.0.0.1:0", &o);
    in_at = kit_local(&in);
    out_at = kit_local(&out);
}

static void teardown(void)
{
    ph_batch_free(b);
    ph_udp_close(&in);
    ph_udp_close(&out);
}

TestSuite(uv_batch, .init = setup, .fini = teardown);

static void fill(uint8_t *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(seed + i * 31 + (i >> 8));
}

static bool filled(const uint8_t *p, size_t n, unsigned seed, size_t at)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (uint8_t)(seed + (at + i) * 31 + ((at + i) >> 8)))
            return false;
    return true;
}

Test(uv_batch, many_datagrams_in_one_call)
{
    uint8_t data[300] = {0};
    struct ph_pkt p;

    for (unsigned i = 0; i < 40; i++) {
        fill(data, i, i);
        kit_send(&out, data, i, &in_at);
    }
    cr_assert(kit_readable(&in, KIT_WAIT_MS));
    cr_assert_eq(ph_batch_recv(b, &in, PH_BATCH_VLEN), 40);
    for (unsigned i = 0; i < 40; i++) {
        memset(&p, 0xEE, sizeof p);
        cr_assert(ph_batch_next(b, &p));
        cr_expect_eq(p.b.len, i);
        cr_expect_eq(p.b.off, PH_HEADROOM);
        cr_expect_geq(p.b.cap - p.b.off - p.b.len, 1500, "room to grow");
        cr_expect(filled(ph_buf_data(&p.b), i, i, 0));
        cr_expect(ph_addr_eq(&p.src, &out_at));
        cr_expect_null(p.head);
        cr_expect_eq(p.head_len, 0);
        cr_expect_not(p.dont_fragment);
    }
    cr_expect_not(ph_batch_next(b, &p));
    cr_expect_not(ph_batch_next(b, &p));
    cr_expect_eq(ph_batch_stats(b)->rx_packets, 40);
    cr_expect_eq(ph_batch_stats(b)->rx_calls, 1);
}

Test(uv_batch, nothing_to_read)
{
    struct ph_pkt p;

    cr_expect_eq(ph_batch_recv(b, &in, PH_BATCH_VLEN), 0);
    cr_expect_not(ph_batch_next(b, &p));
}

Test(uv_batch, as_many_as_asked_for)
{
    struct ph_pkt p;

    for (int i = 0; i < 5; i++)
        kit_send(&out, "abc", 3, &in_at);
    cr_assert(kit_readable(&in, KIT_WAIT_MS));
    cr_expect_eq(ph_batch_recv(b, &in, 2), 2);
    while (ph_batch_next(b, &p))
        ;
    cr_expect_eq(ph_batch_recv(b, &in, 2), 2);
    while (ph_batch_next(b, &p))
        ;
    cr_expect_eq(ph_batch_recv(b, &in, 2), 1);
}

/* Receives a run of `total` bytes in datagrams of `segment` from `out`.  False: no GRO here. */
static bool receive_run(uint8_t *data, size_t total, uint16_t segment)
{
    fill(data, total, 1);
    kit_send_gso(&out, data, total, segment, &in_at);
    cr_assert(kit_readable(&in, KIT_WAIT_MS));
    ph_batch_recv(b, &in, PH_BATCH_VLEN);
    return in.flags & PH_UDP_GRO;
}

Test(uv_batch, a_coalesced_buffer_is_taken_apart)
{
    static uint8_t data[10 * 1000 + 300];
    struct ph_pkt p;

    if (!receive_run(data, sizeof data, 1000))
        cr_skip("no UDP_GRO");
    for (unsigned i = 0; i < 11; i++) {
        cr_assert(ph_batch_next(b, &p));
        cr_expect_eq(p.b.len, i < 10 ? 1000 : 300);
        cr_expect(filled(ph_buf_data(&p.b), p.b.len, 1, i * 1000));
        cr_expect(ph_addr_eq(&p.src, &out_at));
        cr_expect_eq(p.b.cap, p.b.off + p.b.len, "its neighbour begins where it ends");
        if (i == 0) {
            cr_expect_eq(p.b.off, PH_HEADROOM);
        } else {
            cr_expect_eq(p.b.off, 0);
            cr_expect_not_null(p.head);
        }
    }
    cr_expect_not(ph_batch_next(b, &p));
    cr_expect_eq(ph_batch_stats(b)->rx_coalesced, 1);
    cr_expect_eq(ph_batch_stats(b)->rx_packets, 11);
}

Test(uv_batch, a_coalesced_buffer_goes_back_with_headers_in_front)
{
    static uint8_t data[8 * 1000 + 500], back[65536];
    struct ph_pkt p;

    if (!receive_run(data, sizeof data, 1000))
        cr_skip("no UDP_GRO");
    while (ph_batch_next(b, &p)) { /* as if wrapped into ChannelData */
        memcpy(ph_pkt_push(&p, 4), "HEAD", 4);
        p.dst = p.src;
        ph_batch_send(b, &in, &p);
    }
    ph_batch_flush(b);
    cr_expect_eq(ph_batch_stats(b)->tx_gso, 1);
    cr_expect_eq(ph_batch_stats(b)->tx_calls, 1);
    cr_assert_eq(kit_recv(&out, back, sizeof back, NULL), (int)sizeof data + 9 * 4,
                 "coalesced again");
    for (unsigned i = 0; i < 9; i++) {
        cr_expect_eq(memcmp(back + i * 1004, "HEAD", 4), 0);
        cr_expect(filled(back + i * 1004 + 4, i < 8 ? 1000 : 500, 1, i * 1000));
    }
}

Test(uv_batch, a_coalesced_buffer_goes_on_with_headers_taken_off)
{
    static uint8_t data[20 * 1204], back[65536];
    struct ph_pkt p;

    if (!receive_run(data, sizeof data, 1204))
        cr_skip("no UDP_GRO");
    while (ph_batch_next(b, &p)) {
        ph_buf_pull(&p.b, 4);
        p.dst = p.src;
        ph_batch_send(b, &in, &p);
    }
    ph_batch_flush(b);
    cr_assert_eq(kit_recv(&out, back, sizeof back, NULL), 20 * 1200);
    for (unsigned i = 0; i < 20; i++)
        cr_expect(filled(back + i * 1200, 1200, 1, i * 1204 + 4));
}

Test(uv_batch, many_small_datagrams_with_headers_outgrow_the_scratch_area)
{
    static uint8_t data[64 * 50], back[65536];
    struct ph_pkt p;
    unsigned got = 0;

    for (int round = 0; round < 40; round++) {
        if (!receive_run(data, sizeof data, 50))
            cr_skip("no UDP_GRO");
        while (ph_batch_next(b, &p)) {
            memset(ph_pkt_push(&p, 48), 'A' + round, 48);
            p.dst = p.src;
            ph_batch_send(b, &in, &p);
        }
    }
    ph_batch_flush(b);
    for (int n; got < 40 * 64 && (n = kit_recv(&out, back, sizeof back, NULL)) > 0;)
        for (int at = 0; at < n; at += 98, got++) {
            cr_assert_eq(back[at], 'A' + got / 64);
            cr_assert_eq(back[at + 47], 'A' + got / 64);
            cr_assert(filled(back + at + 48, 50, 1, got % 64 * 50));
        }
    cr_expect_eq(got, 40 * 64);
}

Test(uv_batch, own_memory_for_a_piece_of_a_coalesced_buffer)
{
    static uint8_t data[4 * 500];
    struct ph_pkt p[4];

    if (!receive_run(data, sizeof data, 500))
        cr_skip("no UDP_GRO");
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(ph_batch_next(b, &p[i]));
        cr_assert(ph_batch_own(b, &p[i]));
        cr_expect_eq(p[i].b.off, PH_HEADROOM);
        cr_expect_eq(p[i].b.len, 500);
        cr_expect_geq(p[i].b.cap - p[i].b.off, 1500);
        cr_expect(filled(ph_buf_data(&p[i].b), 500, 1, i * 500));
        memset(ph_buf_data(&p[i].b), 'a' + (int)i, 600); /* an answer that is longer */
        p[i].b.len = 600;
        p[i].dst = p[i].src;
        ph_batch_send(b, &in, &p[i]);
    }
    ph_batch_flush(b);
    uint8_t back[65536];
    cr_assert_eq(kit_recv(&out, back, sizeof back, NULL), 2400);
    for (unsigned i = 0; i < 2400; i++)
        cr_assert_eq(back[i], 'a' + i / 600);
}

Test(uv_batch, a_whole_slot_is_its_own)
{
    struct ph_pkt p;

    kit_send(&out, "abc", 3, &in_at);
    cr_assert(kit_readable(&in, KIT_WAIT_MS));
    ph_batch_recv(b, &in, 1);
    cr_assert(ph_batch_next(b, &p));
    const uint8_t *base = p.b.base;
    cr_expect(ph_batch_own(b, &p));
    cr_expect_eq(p.b.base, base);
}

Test(uv_batch, too_long_to_own)
{
    static uint8_t data[2 * 5000];
    struct ph_pkt p;

    if (!receive_run(data, sizeof data, 5000))
        cr_skip("no UDP_GRO");
    cr_assert(ph_batch_next(b, &p));
    const struct ph_pkt before = p;
    cr_expect_not(ph_batch_own(b, &p));
    cr_expect_eq(memcmp(&p.b, &before.b, sizeof p.b), 0);
}

Test(uv_batch, scratch_packets_are_given_again_until_queued)
{
    struct ph_pkt p, again;
    uint8_t back[64];

    ph_batch_scratch(b, &p);
    ph_batch_scratch(b, &again);
    cr_expect_eq(p.b.base, again.b.base);
    for (unsigned i = 0; i < 3 * PH_BATCH_SCRATCH; i++) {
        ph_batch_scratch(b, &p);
        cr_expect_eq(p.b.len, 0);
        cr_expect_eq(p.b.cap - p.b.off, PH_BATCH_SCRATCH_ROOM + PH_TAILROOM);
        memset(ph_buf_data(&p.b), (int)i, i % 2 + 1); /* two lengths: no runs */
        p.b.len = i % 2 + 1;
        p.dst = out_at;
        ph_batch_send(b, &in, &p);
    }
    ph_batch_flush(b);
    /* A shorter packet ends a run, so some came together. */
    unsigned got = 0;
    for (int n; got < 3 * PH_BATCH_SCRATCH && (n = kit_recv(&out, back, sizeof back, NULL)) > 0;)
        for (int at = 0; at < n; at += (int)(got++ % 2) + 1)
            cr_assert_eq(back[at], (uint8_t)got);
    cr_expect_eq(got, 3 * PH_BATCH_SCRATCH);
}

Test(uv_batch, slots_stay_until_the_flush)
{
    uint8_t data[64];
    struct ph_pkt p;
    unsigned queued = 0;

    /* More than there are slots, read one by one: recv must flush by itself and lose nothing. */
    for (unsigned i = 0; i < PH_BATCH_SLOTS + 20; i++) {
        fill(data, sizeof data, i);
        kit_send(&out, data, sizeof data, &in_at);
        cr_assert(kit_readable(&in, KIT_WAIT_MS));
        cr_assert_eq(ph_batch_recv(b, &in, 1), 1);
        while (ph_batch_next(b, &p)) {
            p.dst = out_at;
            ph_batch_send(b, &in, &p);
            queued++;
        }
    }
    ph_batch_flush(b);
    cr_expect_eq(queued, PH_BATCH_SLOTS + 20);
    uint8_t back[65536];
    unsigned got = 0;
    for (int n; got < queued && (n = kit_recv(&out, back, sizeof back, NULL)) > 0;)
        for (int at = 0; at < n; at += 64, got++)
            cr_assert(filled(back + at, 64, got, 0), "packet %u", got);
    cr_expect_eq(got, queued);
}

Test(uv_batch, a_flush_in_the_middle_keeps_what_is_still_to_be_taken)
{
    uint8_t data[64];
    struct ph_pkt p;

    for (unsigned i = 0; i < 10; i++) {
        fill(data, sizeof data, i);
        kit_send(&out, data, sizeof data, &in_at);
    }
    cr_assert(kit_readable(&in, KIT_WAIT_MS));
    cr_assert_eq(ph_batch_recv(b, &in, 10), 10);
    for (unsigned i = 0; i < 10; i++) {
        cr_assert(ph_batch_next(b, &p));
        cr_expect(filled(ph_buf_data(&p.b), 64, i, 0));
        if (i == 3)
            ph_batch_flush(b); /* a socket is about to be closed */
    }
    kit_send(&out, "late", 4, &in_at);
    cr_assert(kit_readable(&in, KIT_WAIT_MS));
    const uint8_t *last = ph_buf_data(&p.b);
    cr_assert_eq(ph_batch_recv(b, &in, 1), 1);
    cr_expect(filled(last, 64, 9, 0), "not overwritten: it might be queued");
}

Test(uv_batch, wildcard_sockets_answer_from_the_address_asked)
{
    const struct ph_udp_opts o = {.pktinfo = true, .gro = true};
    struct ph_udp any = kit_open("0.0.0.0:0", &o);
    struct ph_addr to = kit_addr("127.0.0.9"), from;
    struct ph_pkt p;
    char back[16];

    cr_expect(any.flags & PH_UDP_PKTINFO);
    to.port = kit_local(&any).port;
    kit_send(&out, "abc", 3, &to);
    cr_assert(kit_readable(&any, KIT_WAIT_MS));
    cr_assert_eq(ph_batch_recv(b, &any, 4), 1);
    cr_assert(ph_batch_next(b, &p));
    cr_expect(ph_addr_eq_ip(&p.dst, &to));
    const struct ph_addr client = p.src;
    p.src = p.dst;
    p.dst = client;
    ph_batch_send(b, &any, &p);
    ph_batch_flush(b);
    cr_assert_eq(kit_recv(&out, back, sizeof back, &from), 3);
    cr_expect(ph_addr_eq(&from, &to));
}

Test(uv_batch, df_follows_the_packets)
{
    struct ph_pkt p;
    int v;
    socklen_t len = sizeof v;

    for (int i = 0; i < 3; i++) {
        ph_batch_scratch(b, &p);
        p.b.len = 10;
        p.dst = out_at;
        p.dont_fragment = i == 1;
        ph_batch_send(b, &in, &p);
        if (i == 1) {
            ph_batch_flush(b);
            cr_expect_eq(getsockopt(in.fd, IPPROTO_IP, IP_MTU_DISCOVER, &v, &len), 0);
            cr_expect_eq(v, IP_PMTUDISC_DO);
        }
    }
    ph_batch_flush(b);
    cr_expect_eq(getsockopt(in.fd, IPPROTO_IP, IP_MTU_DISCOVER, &v, &len), 0);
    cr_expect_eq(v, IP_PMTUDISC_DONT);
    cr_expect_eq(ph_batch_stats(b)->tx_packets, 3);
    cr_expect_eq(ph_batch_stats(b)->tx_gso, 0, "packets with and without DF do not mix");
}

Test(uv_batch, the_kernel_refuses_segments_above_the_mtu)
{
    /* On loopback (MTU 65536) 30000 bytes twice are a valid run; here the sizes are such that it is not: the packets
     * must arrive one by one all the same. */
    static uint8_t data[40000];
    struct ph_pkt p = {.b = {.base = data, .cap = sizeof data, .len = 33000}, .dst = out_at};
    static uint8_t back[65536];

    ph_batch_send(b, &in, &p);
    p.b.len = 30000;
    ph_batch_send(b, &in, &p);
    ph_batch_flush(b);
    int got = 0;
    for (int n; got < 63000 && (n = kit_recv(&out, back, sizeof back, NULL)) > 0;)
        got += n;
    cr_expect_eq(got, 63000);
    cr_expect_eq(ph_batch_stats(b)->tx_packets, 2);
}

Test(uv_batch, an_icmp_error_does_not_cost_the_next_packet)
{
    struct ph_udp s = kit_open("127.0.0.1:0", &(struct ph_udp_opts){.recverr = true});
    struct ph_udp dead = kit_open("127.0.0.1:0", NULL);
    struct ph_addr dead_at = kit_local(&dead);
    struct ph_pkt p;
    char back[16];

    ph_udp_close(&dead);
    for (int i = 0; i < 2; i++) { /* the first makes an error, the second would be refused for it */
        ph_batch_scratch(b, &p);
        p.b.len = 3;
        p.dst = i ? out_at : dead_at;
        ph_batch_send(b, &s, &p);
        ph_batch_flush(b);
    }
    cr_expect_eq(kit_recv(&out, back, sizeof back, NULL), 3);
    cr_expect_eq(ph_batch_stats(b)->tx_packets, 2);
}
