/*
 * The TURN server on loopback: real sockets, no credentials (those are the core's matter).
 */
#include "stun/base/error.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"
#include "stun/uv/env.h"
#include "turn/chandata.h"
#include "turn/uv/server.h"
#include "uv/kit.h"

#include <stdatomic.h>

static struct ph_turn_uv *server;
static struct ph_turn_uv_conf conf;
static struct ph_acl *acl;
static struct ph_stund_conf stund;
static struct ph_addr at; /* the server */
static struct ph_udp client, peer;
static struct ph_addr client_at, peer_at;
static atomic_int ups, downs;
static uint8_t buf[65536];

static void on_event(void *ctx, unsigned worker, const struct ph_turnd_ev *ev)
{
    cr_assert_eq(ctx, &conf);
    cr_assert_lt(worker, 8);
    *(ev->type == PH_TURND_ALLOC_UP ? &ups : &downs) += 1;
}

static void setup(void)
{
    const struct ph_env e = ph_env_system(NULL);

    acl = ph_acl_new();
    ph_acl_allow_loopback(acl);
    conf =
        (struct ph_turn_uv_conf){.workers = 1, .stun = &stund, .on_event = on_event, .ctx = &conf};
    conf.core.n_listeners = conf.core.n_relays = 1;
    conf.core.listener[0].at = kit_addr("127.0.0.1:0");
    conf.core.relay[0].at = kit_addr("127.0.0.1");
    conf.core.relay[0].ports = ph_ports_new(41000, 49999);
    conf.core.live.acl = acl;
    e.rand(e.ctx, conf.core.nonce.key, sizeof conf.core.nonce.key);
    client = kit_open("127.0.0.2:0", &(struct ph_udp_opts){.gro = true});
    peer = kit_open("127.0.0.3:0", &(struct ph_udp_opts){.gro = true});
    client_at = kit_local(&client);
    peer_at = kit_local(&peer);
}

static void teardown(void)
{
    ph_turn_uv_free(server);
    ph_ports_free(conf.core.relay[0].ports);
    ph_acl_free(acl);
    ph_udp_close(&client);
    ph_udp_close(&peer);
}

TestSuite(uv_turn_server, .init = setup, .fini = teardown);

static void open_server(void)
{
    const int err = ph_turn_uv_new(&server, &conf, NULL);

    cr_assert_eq(err, 0, "%s", ph_strerror(err));
    cr_assert_eq(ph_turn_uv_local(server, 0, &at), 0);
}

/* --- requests -------------------------------------------------------------------------------------- */

static struct ph_msgw w;
static uint8_t req[1500];

static void begin(uint16_t method, enum ph_class cls)
{
    static uint8_t txid[PH_TXID_LEN];

    txid[0]++;
    ph_msgw_begin(&w, req, sizeof req, method, cls, txid);
}

static void send_from(const struct ph_udp *s)
{
    const int n = ph_msgw_end(&w);

    cr_assert_gt(n, 0);
    kit_send(s, req, (size_t)n, &at);
}

/* Sends what was begun and parses the answer. */
static struct ph_msg ask(const struct ph_udp *s)
{
    struct ph_msg m;

    send_from(s);
    const int n = kit_recv(s, buf, sizeof buf, NULL);
    cr_assert_gt(n, 0, "no answer");
    cr_assert_eq(ph_msg_parse(&m, buf, (size_t)n), 0);
    cr_assert_eq(memcmp(ph_msg_txid(&m), req + 8, PH_TXID_LEN), 0);
    return m;
}

static struct ph_addr allocate(const struct ph_udp *s)
{
    struct ph_addr relay;

    begin(PH_ALLOCATE, PH_REQUEST);
    ph_msgw_uint(&w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    const struct ph_msg m = ask(s);
    cr_assert_eq(m.cls, PH_SUCCESS);
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_RELAYED_ADDRESS, &relay), 0);
    relay.proto = PH_UDP;
    return relay;
}

static void permit(const struct ph_udp *s, const struct ph_addr *to)
{
    begin(PH_CREATE_PERMISSION, PH_REQUEST);
    ph_msgw_addr(&w, PH_ATTR_XOR_PEER_ADDRESS, to);
    cr_assert_eq(ask(s).cls, PH_SUCCESS);
}

static void bind_channel(const struct ph_udp *s, uint16_t number, const struct ph_addr *to)
{
    begin(PH_CHANNEL_BIND, PH_REQUEST);
    ph_msgw_uint(&w, PH_ATTR_CHANNEL_NUMBER, number);
    ph_msgw_addr(&w, PH_ATTR_XOR_PEER_ADDRESS, to);
    cr_assert_eq(ask(s).cls, PH_SUCCESS);
}

static void release(const struct ph_udp *s)
{
    begin(PH_REFRESH, PH_REQUEST);
    ph_msgw_uint(&w, PH_ATTR_LIFETIME, 0);
    cr_assert_eq(ask(s).cls, PH_SUCCESS);
}

static struct ph_turn_uv_stats stats(void)
{
    struct ph_turn_uv_stats st;

    ph_turn_uv_stats(server, UINT32_MAX, &st);
    return st;
}

/* --- tests ----------------------------------------------------------------------------------------- */

Test(uv_turn_server, relays_both_ways_on_a_channel)
{
    struct ph_addr from;

    open_server();
    const struct ph_addr relay = allocate(&client);
    bind_channel(&client, 0x4000, &peer_at);
    kit_send(&client, "\x40\0\0\5hello", 9, &at);
    cr_assert_eq(kit_recv(&peer, buf, sizeof buf, &from), 5);
    cr_expect_eq(memcmp(buf, "hello", 5), 0);
    cr_expect(ph_addr_eq(&from, &relay));
    kit_send(&peer, "world!", 6, &relay);
    cr_assert_eq(kit_recv(&client, buf, sizeof buf, &from), 10);
    cr_expect_eq(memcmp(buf, "\x40\0\0\6world!", 10), 0);
    cr_expect(ph_addr_eq(&from, &at));
    const struct ph_turn_uv_stats st = stats();
    cr_expect_eq(st.turn.to_peer_bytes, 5);
    cr_expect_eq(st.turn.to_client_bytes, 6);
    cr_expect_eq(st.allocations_now, 1);
    cr_expect_eq(st.relay_opened, 1);
    release(&client);
    cr_expect_eq(stats().allocations_now, 0);
    cr_expect_eq(ups, 1);
    cr_expect_eq(downs, 1);
    struct ph_udp again; /* the relay port is free again */
    cr_expect_eq(ph_udp_open(&again, &relay, &(struct ph_udp_opts){0}), 0);
}

Test(uv_turn_server, relays_both_ways_in_indications)
{
    struct ph_msg m;
    struct ph_addr shown;
    struct ph_slice data;

    open_server();
    const struct ph_addr relay = allocate(&client);
    permit(&client, &peer_at);
    begin(PH_SEND_METHOD, PH_INDICATION);
    ph_msgw_addr(&w, PH_ATTR_XOR_PEER_ADDRESS, &peer_at);
    ph_msgw_bytes(&w, PH_ATTR_DATA, ph_str("hello"));
    send_from(&client);
    cr_assert_eq(kit_recv(&peer, buf, sizeof buf, NULL), 5);
    kit_send(&peer, "world!", 6, &relay);
    const int n = kit_recv(&client, buf, sizeof buf, NULL);
    cr_assert_eq(ph_msg_parse(&m, buf, (size_t)n), 0);
    cr_expect_eq(m.method, PH_DATA_METHOD);
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_PEER_ADDRESS, &shown), 0);
    cr_expect(ph_addr_eq_endpoint(&shown, &peer_at));
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_DATA, &data), 0);
    cr_expect_eq(data.n, 6);
}

/* n datagrams of len bytes, the first byte counting, as one run. */
static void send_run(const struct ph_udp *s, unsigned n, size_t len, const struct ph_addr *to,
                     const char *head, size_t head_n)
{
    static uint8_t run[65536];

    memset(run, 'r', sizeof run);
    for (unsigned i = 0; i < n; i++) {
        memcpy(run + i * len, head, head_n);
        run[i * len + head_n] = (uint8_t)i;
    }
    kit_send_gso(s, run, n * len, (uint16_t)len, to);
}

/* Receives n datagrams of len bytes, coalesced or not, which must count at offset `at`. */
static void expect_run(const struct ph_udp *s, unsigned n, size_t len, size_t count_at)
{
    unsigned got = 0;

    while (got < n) {
        const int k = kit_recv(s, buf, sizeof buf, NULL);
        cr_assert_gt(k, 0, "got %u of %u", got, n);
        cr_assert_eq((size_t)k % len, 0, "%d bytes", k);
        for (size_t i = 0; i < (size_t)k; i += len, got++)
            cr_assert_eq(buf[i + count_at], (uint8_t)got);
    }
}

Test(uv_turn_server, bursts_stay_coalesced)
{
    open_server();
    const struct ph_addr relay = allocate(&client);
    bind_channel(&client, 0x4001, &peer_at);
    send_run(&client, 16, 1204, &at, "\x40\1\x04\xB0", 4);
    expect_run(&peer, 16, 1200, 0);
    send_run(&peer, 16, 1200, &relay, "", 0);
    expect_run(&client, 16, 1204, 4);
    const struct ph_turn_uv_stats st = stats();
    cr_expect_eq(st.turn.to_peer_packets, 16);
    cr_expect_eq(st.turn.to_client_packets, 16);
    if (st.io.rx_coalesced)
        cr_expect_eq(st.io.tx_gso, 2);
}

Test(uv_turn_server, relays_over_ipv6)
{
    struct ph_udp c6, p6;
    struct ph_addr from, relay, local = kit_addr("[::1]:0");

    if (ph_udp_open(&c6, &local, &(struct ph_udp_opts){.gro = true}) ||
        ph_udp_open(&p6, &local, &(struct ph_udp_opts){.gro = true}))
        cr_skip("no IPv6 here");
    conf.core.listener[0].at = local;
    conf.core.relay[0].at = local;
    open_server();
    begin(PH_ALLOCATE, PH_REQUEST);
    ph_msgw_uint(&w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_uint(&w, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET6);
    const struct ph_msg m = ask(&c6);
    cr_assert_eq(m.cls, PH_SUCCESS);
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_RELAYED_ADDRESS, &relay), 0);
    const struct ph_addr p6_at = kit_local(&p6);
    bind_channel(&c6, 0x4001, &p6_at);
    send_run(&c6, 16, 1204, &at, "\x40\1\x04\xB0", 4);
    expect_run(&p6, 16, 1200, 0);
    send_run(&p6, 16, 1200, &relay, "", 0);
    expect_run(&c6, 16, 1204, 4);
    ph_udp_close(&p6); /* and its ICMPv6 errors */
    kit_send(&c6, "\x40\1\0\1x", 5, &at);
    cr_assert_gt(kit_recv(&c6, buf, sizeof buf, &from), 0);
    cr_expect(ph_addr_eq(&from, &at));
    cr_expect_eq(stats().turn.icmp, 1);
}

Test(uv_turn_server, bursts_of_odd_length_into_indications)
{
    struct ph_msg m;
    struct ph_slice data;

    open_server();
    const struct ph_addr relay = allocate(&client);
    permit(&client, &peer_at);
    send_run(&peer, 10, 1001, &relay, "", 0);
    for (unsigned got = 0; got < 10;) {
        const int n = kit_recv(&client, buf, sizeof buf, NULL);
        cr_assert_gt(n, 0, "got %u", got);
        for (int i = 0; i < n; i += 36 + 1004, got++) {
            cr_assert_eq(ph_msg_parse(&m, buf + i, 36 + 1004), 0);
            cr_assert_eq(ph_msg_bytes(&m, PH_IX_DATA, &data), 0);
            cr_expect_eq(data.n, 1001);
            cr_expect_eq(data.p[0], got);
            cr_expect_eq(data.p[1000], 'r');
        }
    }
}

Test(uv_turn_server, requests_in_a_coalesced_buffer)
{
    static uint8_t run[20 * 20];

    open_server();
    for (unsigned i = 0; i < 20; i++) {
        begin(PH_BINDING, PH_REQUEST);
        memcpy(run + i * 20, req, 20);
    }
    kit_send_gso(&client, run, sizeof run, 20, &at);
    unsigned got = 0;
    for (int n; got < 20 && (n = kit_recv(&client, buf, sizeof buf, NULL)) > 0;)
        got += (unsigned)n / 32;
    cr_expect_eq(got, 20);
    cr_expect_eq(stats().stun.answers, 20);
}

Test(uv_turn_server, an_unreachable_peer_is_told_to_the_client)
{
    struct ph_msg m;
    struct ph_addr shown;
    struct ph_attr_value v;

    open_server();
    allocate(&client);
    bind_channel(&client, 0x4000, &peer_at);
    ph_udp_close(&peer);
    kit_send(&client, "\x40\0\0\1x", 5, &at);
    const int n = kit_recv(&client, buf, sizeof buf, NULL);
    cr_assert_gt(n, 0, "no indication");
    cr_assert_eq(ph_msg_parse(&m, buf, (size_t)n), 0);
    cr_expect_eq(m.method, PH_DATA_METHOD);
    cr_expect_eq(m.cls, PH_INDICATION);
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_PEER_ADDRESS, &shown), 0);
    cr_expect(ph_addr_eq_endpoint(&shown, &peer_at));
    cr_assert_eq(ph_msg_get(&m, PH_IX_ICMP, &v), 0);
    cr_expect_eq(v.icmp.type, 3);
    cr_expect_eq(v.icmp.code, 3);
    cr_expect_eq(stats().icmp_errors, 1);
    peer = kit_open("127.0.0.3:0", NULL); /* and relaying goes on */
    peer_at = kit_local(&peer);
    bind_channel(&client, 0x4001, &peer_at);
    kit_send(&client, "\x40\1\0\1x", 5, &at);
    cr_expect_eq(kit_recv(&peer, buf, sizeof buf, NULL), 1);
}

Test(uv_turn_server, icmp_can_be_kept_quiet)
{
    conf.no_icmp = true;
    open_server();
    allocate(&client);
    bind_channel(&client, 0x4000, &peer_at);
    ph_udp_close(&peer);
    kit_send(&client, "\x40\0\0\1x", 5, &at);
    cr_expect_not(kit_readable(&client, KIT_QUIET_MS));
}

Test(uv_turn_server, an_occupied_port_is_passed_over)
{
    struct ph_udp taken[3];

    ph_ports_free(conf.core.relay[0].ports);
    conf.core.relay[0].ports = ph_ports_new(40990, 40993);
    for (uint16_t i = 0; i < 3; i++) {
        struct ph_addr a = kit_addr("127.0.0.1");
        a.port = (uint16_t)(40990 + i);
        if (ph_udp_open(&taken[i], &a, &(struct ph_udp_opts){0}))
            cr_skip("somebody else has these ports");
    }
    open_server();
    const struct ph_addr relay = allocate(&client);
    cr_expect_eq(relay.port, 40993);
    cr_expect_eq(stats().relay_opened, 1);
}

Test(uv_turn_server, an_allocation_ends_by_itself)
{
    conf.core.default_lifetime_s = 1;
    open_server();
    allocate(&client);
    cr_expect_eq(stats().allocations_now, 1);
    for (int i = 0; i < 300 && !downs; i++)
        usleep(10000);
    cr_expect_eq(downs, 1);
    cr_expect_eq(stats().allocations_now, 0);
}

static bool count(void *ctx, unsigned worker, const struct ph_turnd_info *info)
{
    unsigned *n = ctx;

    (void)worker;
    cr_expect(ph_addr_is_loopback(&info->client));
    return ++*n != 350; /* more than are asked for at a time */
}

Test(uv_turn_server, allocations_are_listed_and_ended)
{
    enum { N = 400 };
    static struct ph_udp c[N];
    unsigned n = 0;

    conf.workers = 2;
    open_server();
    cr_expect_eq(ph_turn_uv_workers(server), 2);
    for (int i = 0; i < N; i++) {
        c[i] = kit_open("127.0.0.2:0", NULL);
        allocate(&c[i]);
    }
    cr_expect_eq(stats().allocations_now, N);
    ph_turn_uv_list(server, count, &n);
    cr_expect_eq(n, 350, "stopped when told to");
    ph_turn_uv_list(server, count, &n);
    cr_expect_eq(n, 350 + N);
    cr_expect_not(ph_turn_uv_end(server, 7, 0));
    cr_expect_not(ph_turn_uv_end(server, 0, 99999));
    struct ph_turn_uv_stats st;
    ph_turn_uv_stats(server, 0, &st);
    cr_expect_gt(st.allocations_now, 0, "both workers have some");
    cr_expect_lt(st.allocations_now, N);
    cr_expect(ph_turn_uv_end(server, 0, 0));
    cr_expect_eq(downs, 1);
    cr_expect_eq(stats().allocations_now, N - 1);
}

Test(uv_turn_server, one_client_stays_with_one_worker)
{
    conf.workers = 4;
    open_server();
    for (int i = 0; i < 20; i++) {
        struct ph_udp c = kit_open("127.0.0.2:0", NULL);
        allocate(&c);
        bind_channel(&c, 0x4000, &peer_at);
        kit_send(&c, "\x40\0\0\1x", 5, &at);
        cr_assert_eq(kit_recv(&peer, buf, sizeof buf, NULL), 1);
        release(&c);
        ph_udp_close(&c);
    }
    cr_expect_eq(stats().turn.no_allocation, 0);
    cr_expect_eq(downs, 20);
}

Test(uv_turn_server, discovery_over_four_listeners)
{
    struct ph_udp f[2] = {kit_open("127.0.0.1:0", NULL), kit_open("127.0.0.1:0", NULL)};
    struct ph_addr other;

    conf.core.n_listeners = 4;
    for (unsigned i = 0; i < 4; i++) {
        conf.core.listener[i].at = kit_addr(i & PH_STUND_ALT_IP ? "127.0.0.5" : "127.0.0.4");
        conf.core.listener[i].at.port = kit_local(&f[i & PH_STUND_ALT_PORT]).port;
        conf.quad[0].listener[i] = (uint8_t)i;
    }
    conf.n_quads = 1;
    open_server();
    begin(PH_BINDING, PH_REQUEST);
    ph_msgw_uint(&w, PH_ATTR_CHANGE_REQUEST, 6);
    send_from(&client);
    cr_assert_gt(kit_recv(&client, buf, sizeof buf, &other), 0);
    cr_expect(ph_addr_eq(&other, &conf.core.listener[3].at));
    allocate(&client); /* TURN goes on */
}

Test(uv_turn_server, without_stun_bindings_are_dropped)
{
    conf.stun = NULL;
    open_server();
    begin(PH_BINDING, PH_REQUEST);
    send_from(&client);
    cr_expect_not(kit_readable(&client, KIT_QUIET_MS));
    allocate(&client);
}

Test(uv_turn_server, on_the_callers_loop)
{
    uv_loop_t loop;

    uv_loop_init(&loop);
    conf.workers = 0;
    conf.loop = &loop;
    open_server();
    begin(PH_ALLOCATE, PH_REQUEST);
    ph_msgw_uint(&w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    send_from(&client);
    uv_run(&loop, UV_RUN_ONCE);
    cr_assert_gt(kit_recv(&client, buf, sizeof buf, NULL), 0);
    cr_expect_eq(stats().allocations_now, 1);
    ph_turn_uv_free(server);
    server = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

Test(uv_turn_server, what_cannot_be_started_is_named)
{
    const struct ph_addr mine = client_at;
    struct ph_addr failed;

    conf.workers = 2;
    conf.core.n_listeners = 2;
    conf.core.listener[1].at = mine;
    cr_expect_eq(ph_turn_uv_new(&server, &conf, &failed), -EADDRINUSE);
    cr_expect(ph_addr_eq(&failed, &mine));
    conf.core.listener[1].at.proto = PH_TLS; /* without certificates */
    cr_expect_eq(ph_turn_uv_new(&server, &conf, &failed), PH_E_UNSUPPORTED);
    conf.core.listener[1].at.proto = PH_DTLS; /* which is not a socket of its own */
    cr_expect_eq(ph_turn_uv_new(&server, &conf, &failed), PH_E_UNSUPPORTED);
    conf.core.n_listeners = 1;
    conf.n_quads = 1;
    conf.quad[0].listener[3] = 9;
    cr_expect_eq(ph_turn_uv_new(&server, &conf, &failed), PH_E_ARG);
    conf.n_quads = 0;
    conf.core.live.acl = NULL;
    cr_expect_lt(ph_turn_uv_new(&server, &conf, &failed), 0);
    cr_expect_null(server);
}
