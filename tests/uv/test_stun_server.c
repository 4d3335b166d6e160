/*
 * The STUN server on loopback.
 */
#include "stun/base/error.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"
#include "stun/uv/server.h"
#include "uv/kit.h"

static struct ph_stun_uv *server;

static void open_server(const struct ph_stun_uv_conf *c)
{
    const int err = ph_stun_uv_new(&server, c, NULL);

    cr_assert_eq(err, 0, "%s", ph_strerror(err));
}

/* A Binding request; change: flags of CHANGE-REQUEST, 0: none.  Returns its length. */
static size_t request(uint8_t *buf, size_t n, uint8_t id, uint32_t change)
{
    uint8_t txid[PH_TXID_LEN] = {id, 2, 3};
    struct ph_msgw w;

    ph_msgw_begin(&w, buf, n, PH_BINDING, PH_REQUEST, txid);
    if (change)
        ph_msgw_uint(&w, PH_ATTR_CHANGE_REQUEST, change);
    const int len = ph_msgw_end(&w);
    cr_assert_gt(len, 0);
    return (size_t)len;
}

/* Waits for an answer and returns the mapped address in it. */
static struct ph_addr answer(const struct ph_udp *s, struct ph_addr *from)
{
    static uint8_t buf[1500];
    struct ph_addr mapped;
    struct ph_msg m;
    const int n = kit_recv(s, buf, sizeof buf, from);

    cr_assert_gt(n, 0, "no answer");
    cr_assert_eq(ph_msg_parse(&m, buf, (size_t)n), 0);
    cr_assert_eq(m.cls, PH_SUCCESS);
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_MAPPED_ADDRESS, &mapped), 0);
    return mapped;
}

static void expect_binding(const struct ph_addr *to)
{
    struct ph_udp s = kit_open("127.0.0.1:0", NULL);
    struct ph_addr from, at = kit_local(&s);
    uint8_t buf[64];

    kit_send(&s, buf, request(buf, sizeof buf, 1, 0), to);
    const struct ph_addr mapped = answer(&s, &from);
    cr_expect(ph_addr_eq_endpoint(&mapped, &at));
    cr_expect(ph_addr_eq(&from, to));
    ph_udp_close(&s);
}

Test(uv_stun_server, answers_from_every_worker)
{
    struct ph_stun_uv_conf c = {.n_servers = 1, .workers = 3};
    struct ph_stun_uv_stats st;
    struct ph_addr at;

    c.server[0].stund.at[0] = kit_addr("127.0.0.1:0");
    open_server(&c);
    cr_assert_eq(ph_stun_uv_local(server, 0, 0, &at), 0);
    cr_expect_eq(ph_stun_uv_local(server, 0, 1, &at), PH_E_ARG);
    cr_expect_eq(ph_stun_uv_local(server, 99, 0, &at), PH_E_ARG);
    for (int i = 0; i < 40; i++) /* other ports, so other workers */
        expect_binding(&at);
    ph_stun_uv_stats(server, &st);
    cr_expect_eq(st.stun.answers, 40);
    cr_expect_eq(st.io.rx_packets, 40);
    cr_expect_eq(st.io.tx_packets, 40);
    ph_stun_uv_free(server);
}

Test(uv_stun_server, several_servers)
{
    struct ph_stun_uv_conf c = {.n_servers = 3, .workers = 1};
    struct ph_addr at;

    for (unsigned i = 0; i < 3; i++)
        c.server[i].stund.at[0] = kit_addr("127.0.0.1:0");
    open_server(&c);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ph_stun_uv_local(server, i, 0, &at), 0);
        expect_binding(&at);
    }
    ph_stun_uv_free(server);
}

Test(uv_stun_server, wildcard_answers_from_the_address_asked)
{
    struct ph_stun_uv_conf c = {.n_servers = 1, .workers = 1};
    struct ph_addr at, to = kit_addr("127.0.0.77");

    c.server[0].stund.at[0] = kit_addr("0.0.0.0:0");
    open_server(&c);
    cr_assert_eq(ph_stun_uv_local(server, 0, 0, &at), 0);
    to.port = at.port;
    expect_binding(&to);
    ph_stun_uv_free(server);
}

Test(uv_stun_server, behaviour_discovery_uses_all_four_sockets)
{
    struct ph_stun_uv_conf c = {.n_servers = 1, .workers = 2};
    struct ph_stund_conf *s = &c.server[0].stund;
    struct ph_udp me = kit_open("127.0.0.1:0", NULL), free1 = kit_open("127.0.0.1:0", NULL);
    struct ph_addr from, a = kit_local(&me), b = kit_local(&free1);
    uint8_t buf[64];

    ph_udp_close(&free1);
    for (unsigned i = 0; i < 4; i++) {
        s->at[i] = kit_addr(i & PH_STUND_ALT_IP ? "127.0.0.3" : "127.0.0.2");
        s->at[i].port = i & PH_STUND_ALT_PORT ? a.port : b.port;
    }
    s->rfc5780 = true;
    open_server(&c);
    static const uint32_t change[4] = {0, 2, 4, 6}; /* none, port, IP, both */
    for (unsigned i = 0; i < 4; i++) {
        kit_send(&me, buf, request(buf, sizeof buf, (uint8_t)i, change[i]), &s->at[0]);
        answer(&me, &from);
        cr_expect(ph_addr_eq(&from, &s->at[i]), "change %u", change[i]);
    }
    ph_stun_uv_free(server);
}

Test(uv_stun_server, requests_in_a_coalesced_buffer)
{
    struct ph_stun_uv_conf c = {.n_servers = 1, .workers = 1};
    struct ph_udp s = kit_open("127.0.0.1:0", NULL);
    struct ph_stun_uv_stats st;
    struct ph_addr at;
    uint8_t buf[20 * 30];

    c.server[0].stund.at[0] = kit_addr("127.0.0.1:0");
    open_server(&c);
    cr_assert_eq(ph_stun_uv_local(server, 0, 0, &at), 0);
    for (unsigned i = 0; i < 30; i++)
        request(buf + i * 20, 20, (uint8_t)i, 0);
    kit_send_gso(&s, buf, sizeof buf, 20, &at);
    for (unsigned i = 0; i < 30; i++)
        answer(&s, NULL);
    ph_stun_uv_stats(server, &st);
    cr_expect_eq(st.stun.answers, 30);
    ph_stun_uv_free(server);
}

Test(uv_stun_server, rubbish_is_not_answered)
{
    struct ph_stun_uv_conf c = {.n_servers = 1, .workers = 1};
    struct ph_udp s = kit_open("127.0.0.1:0", NULL);
    struct ph_stun_uv_stats st;
    struct ph_addr at;

    c.server[0].stund.at[0] = kit_addr("127.0.0.1:0");
    open_server(&c);
    cr_assert_eq(ph_stun_uv_local(server, 0, 0, &at), 0);
    kit_send(&s, "", 0, &at);
    kit_send(&s, "hello", 5, &at);
    cr_expect_not(kit_readable(&s, KIT_QUIET_MS));
    ph_stun_uv_stats(server, &st);
    cr_expect_eq(st.stun.malformed, 2);
    ph_stun_uv_free(server);
}

Test(uv_stun_server, on_the_callers_loop)
{
    uv_loop_t loop;
    struct ph_stun_uv_conf c = {.n_servers = 1, .loop = &loop};
    struct ph_udp s = kit_open("127.0.0.1:0", NULL);
    struct ph_stun_uv_stats st;
    struct ph_addr at;
    uint8_t buf[64];

    uv_loop_init(&loop);
    c.server[0].stund.at[0] = kit_addr("127.0.0.1:0");
    open_server(&c);
    cr_assert_eq(ph_stun_uv_local(server, 0, 0, &at), 0);
    kit_send(&s, buf, request(buf, sizeof buf, 1, 0), &at);
    uv_run(&loop, UV_RUN_ONCE);
    answer(&s, NULL);
    ph_stun_uv_stats(server, &st);
    cr_expect_eq(st.stun.answers, 1);
    ph_stun_uv_free(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

Test(uv_stun_server, what_cannot_be_bound_is_named)
{
    struct ph_udp taken = kit_open("127.0.0.1:0", NULL);
    struct ph_stun_uv_conf c = {.n_servers = 2, .workers = 2};
    struct ph_addr failed, at = kit_local(&taken);

    c.server[0].stund.at[0] = kit_addr("127.0.0.1:0");
    c.server[1].stund.at[0] = at;
    cr_expect_eq(ph_stun_uv_new(&server, &c, &failed), -EADDRINUSE);
    cr_expect(ph_addr_eq(&failed, &at));
    c.n_servers = 0;
    cr_expect_eq(ph_stun_uv_new(&server, &c, NULL), PH_E_ARG);
    c.n_servers = 1;
    c.workers = 0;
    cr_expect_eq(ph_stun_uv_new(&server, &c, NULL), PH_E_ARG, "no loop to run on");
}
