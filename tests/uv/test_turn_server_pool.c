/*
 * Relays that share ports, with real sockets: what goes out and comes in by them, what stays inside, and the next process.
 *
 * Shared ports are fixed numbers, so each run has an address of loopback for them that is its own.
 */
#include "uv/turn_kit.h"

#include <pthread.h>
#include <stdio.h>

enum { FIRST = 41000, CHANNEL = 0x4000 };

static struct turn_kit kit;
static struct client a, b, c;
static struct ph_addr relay_ip;

static void setup(void)
{
    const unsigned n = (unsigned)getpid();
    char text[PH_ADDR_TEXT];

    turn_kit_init(&kit);
    snprintf(text, sizeof text, "127.%u.%u.%u", 100 + n / 62500 % 100, 1 + n / 250 % 250,
             1 + n % 250);
    relay_ip = kit_addr(text);
    kit.conf.core.relay[0].at = relay_ip;
    kit.conf.core.pool_first = FIRST;
    a.fd = b.fd = c.fd = -1;
}

static void teardown(void)
{
    struct client *all[] = {&a, &b, &c};

    for (unsigned i = 0; i < 3; i++)
        if (all[i]->fd >= 0)
            client_close(all[i]);
    turn_kit_fini(&kit);
}

TestSuite(uv_turn_pool, .init = setup, .fini = teardown);

static void start(uint16_t ports)
{
    kit.conf.core.pool_ports = ports;
    turn_kit_open(&kit);
}

static struct ph_addr join(struct client *who, uint8_t proto)
{
    client_open(who, &kit, proto);
    const struct ph_addr relay = client_allocate(who);
    cr_assert(ph_addr_eq_ip(&relay, &relay_ip));
    cr_assert(relay.port >= FIRST && relay.port < FIRST + kit.conf.core.pool_ports);
    return relay;
}

static uint16_t try_bind(struct client *who, const struct ph_addr *to)
{
    struct bind_channel arg = {CHANNEL, to};
    const struct ph_msg m = client_ask(who, write_bind, &arg);

    return client_code(&m);
}

/* --- relaying -------------------------------------------------------------------------------------- */

Test(uv_turn_pool, two_clients_and_one_peer)
{
    start(2);
    const struct ph_addr at_a = join(&a, PH_UDP), at_b = join(&b, PH_TCP);
    cr_assert_neq(at_a.port, at_b.port);
    join(&c, PH_UDP);
    client_bind(&a, CHANNEL, &kit.peer_at);
    client_bind(&b, CHANNEL, &kit.peer_at);
    for (unsigned i = 0; i < 10; i++) {
        client_echo(&a, &kit, CHANNEL, &at_a, "by a");
        client_echo(&b, &kit, CHANNEL, &at_b, "by b");
    }
    cr_expect_eq(try_bind(&c, &kit.peer_at), 508);
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.turn.pool_conflicts, 1);
    cr_expect_eq(st.relay_opened, 2, "all relays use these");
    cr_expect_eq(client_refresh(&a, 0), 0);
    client_echo(&b, &kit, CHANNEL, &at_b, "b goes on");
}

Test(uv_turn_pool, on_the_callers_loop)
{
    uv_loop_t loop;

    uv_loop_init(&loop);
    kit.conf.workers = 0;
    kit.conf.loop = &loop;
    start(1);
    cr_expect_eq(turn_kit_sum(&kit).relay_opened, 1);
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

Test(uv_turn_pool, icmp_errors_reach_whose_peer_it_was)
{
    start(1);
    join(&a, PH_UDP);
    join(&b, PH_UDP);
    struct ph_udp other = kit_open("127.0.0.3:0", NULL);
    const struct ph_addr other_at = kit_local(&other);
    client_bind(&a, CHANNEL, &kit.peer_at);
    client_bind(&b, CHANNEL, &other_at);
    ph_udp_close(&other);
    client_send_data(&b, CHANNEL, "x", 1);
    const struct ph_msg m = client_hear(&b);
    cr_expect(ph_msg_has(&m, PH_IX_ICMP));
    cr_expect(client_is_quiet(&a));
    client_send_data(&b, CHANNEL, "x", 1); /* an error waits again when a sends */
    client_send_data(&a, CHANNEL, "y", 1);
    uint8_t buf[16];
    cr_expect_eq(kit_recv(&kit.peer, buf, sizeof buf, NULL), 1, "it costs others nothing");
}

/* --- from relay to relay --------------------------------------------------------------------------- */

/* A text that comes as a Data indication. */
static bool told(struct client *who, const struct ph_addr *from, const void *p, size_t n)
{
    const struct ph_msg m = client_hear(who);
    struct ph_slice data;
    struct ph_addr peer;

    return m.method == PH_DATA_METHOD && ph_msg_bytes(&m, PH_IX_DATA, &data) == 0 &&
           ph_msg_addr(&m, PH_IX_XOR_PEER_ADDRESS, &peer) == 0 &&
           ph_addr_eq_endpoint(&peer, from) && ph_slice_eq(data, (struct ph_slice){p, n});
}

Test(uv_turn_pool, clients_meet_at_one_port_by_any_transport)
{
    static const uint8_t protos[] = {PH_UDP, PH_TCP, PH_TLS, PH_DTLS};
    static const char text[] = "some text, and more";
    const uint8_t *p = NULL;

    start(1);
    for (unsigned i = 0; i < 16; i++) {
        const struct ph_addr at_a = join(&a, protos[i / 4]), at_b = join(&b, protos[i % 4]);
        client_permit(&b, at_a);
        client_bind(&a, CHANNEL, &at_b);
        for (uint16_t n = 0; n < sizeof text; n++) {
            client_send_data(&a, CHANNEL, text, n);
            cr_assert(told(&b, &at_a, text, n), "%u to %u, %u bytes", protos[i / 4], protos[i % 4],
                      n);
        }
        client_bind(&b, CHANNEL + 1, &at_a);
        client_send_data(&b, CHANNEL + 1, "back", 4);
        cr_assert_eq(client_get(&a, &p), 8);
        cr_assert_eq(memcmp(p,
                            "\x40\x00\x00\x04"
                            "back",
                            8),
                     0);
        cr_assert_eq(client_refresh(&a, 0), 0);
        cr_assert_eq(client_refresh(&b, 0), 0);
        client_close(&a);
        client_close(&b);
        a.fd = b.fd = -1;
    }
}

/* A coalesced run: each packet has the next one right behind it. */
Test(uv_turn_pool, runs_of_odd_length_from_relay_to_relay)
{
    enum { PACKETS = 20, SIZE = 4 + 101 };
    static uint8_t run[PACKETS * SIZE];
    uint8_t got[PACKETS] = {0};

    start(2);
    const struct ph_addr at_a = join(&a, PH_UDP), at_b = join(&b, PH_UDP);
    client_permit(&b, at_a);
    client_bind(&a, CHANNEL, &at_b);
    memset(run, 'r', sizeof run);
    for (unsigned i = 0; i < PACKETS; i++) {
        ph_put16(run + (size_t)i * SIZE, CHANNEL);
        ph_put16(run + (size_t)i * SIZE + 2, SIZE - 4);
        run[i * SIZE + 4] = (uint8_t)i;
    }
    struct ph_udp from = {.fd = a.fd};
    kit_send_gso(&from, run, sizeof run, SIZE, &kit.at[KIT_UDP]);
    for (unsigned i = 0; i < PACKETS; i++) {
        const struct ph_msg m = client_hear(&b);
        struct ph_slice data;
        cr_assert_eq(ph_msg_bytes(&m, PH_IX_DATA, &data), 0);
        cr_assert_eq(data.n, SIZE - 4);
        cr_assert_lt(data.p[0], PACKETS);
        got[data.p[0]]++;
        for (size_t k = 1; k < data.n; k++)
            cr_assert_eq(data.p[k], 'r');
    }
    for (unsigned i = 0; i < PACKETS; i++)
        cr_expect_eq(got[i], 1);
}

/* --- the start ------------------------------------------------------------------------------------- */

Test(uv_turn_pool, a_port_that_is_in_use_is_named_and_nothing_starts)
{
    struct ph_addr at = relay_ip, failed = {0};
    char text[PH_ADDR_TEXT];

    at.port = FIRST + 1;
    struct ph_udp other = kit_open(ph_addr_text(&at, text), NULL);
    kit.conf.core.pool_ports = 3;
    cr_expect_eq(ph_turn_uv_new(&kit.server, &kit.conf, &failed), -EADDRINUSE);
    cr_expect(ph_addr_eq_endpoint(&failed, &at));
    cr_expect_eq(ph_ports_used(kit.conf.core.relay[0].ports), 0);
    at.port = FIRST;
    struct ph_udp mine = kit_open(ph_addr_text(&at, text), NULL); /* it was closed */
    ph_udp_close(&mine);
    ph_udp_close(&other);
    start(3);
}

Test(uv_turn_pool, is_for_one_worker)
{
    kit.conf.workers = 2;
    kit.conf.core.pool_ports = 3;
    cr_expect_eq(ph_turn_uv_new(&kit.server, &kit.conf, NULL), PH_E_ARG);
}

/* --- the next process ------------------------------------------------------------------------------ */

static struct ph_turn_uv_handover leave(void)
{
    struct ph_turn_uv_handover h;

    cr_assert_eq(ph_turn_uv_leave(kit.server, &h), 0);
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    for (unsigned i = 0; i < KIT_LISTENERS; i++)
        kit.conf.core.listener[i].at = kit.at[i];
    kit.conf.inherit = NULL;
    return h;
}

static void take_over(struct ph_turn_uv_handover *h)
{
    kit.conf.inherit = h;
    turn_kit_open(&kit);
    kit.conf.inherit = NULL;
    ph_turn_uv_handover_free(h, false);
}

Test(uv_turn_pool, is_handed_over_and_what_came_meanwhile_is_not_lost)
{
    enum { WAITING = 50 };
    const uint8_t *p = NULL;

    start(2);
    const struct ph_addr at_a = join(&a, PH_UDP), at_b = join(&b, PH_UDP);
    client_bind(&a, CHANNEL, &kit.peer_at);
    client_bind(&b, CHANNEL, &kit.peer_at);
    for (int i = 0; i < 3; i++) {
        struct ph_turn_uv_handover h = leave();
        cr_expect_eq(h.n_sockets, KIT_LISTENERS + 2);
        for (uint8_t k = 0; k < WAITING; k++) {
            kit_send(&kit.peer, &k, 1, &at_a);
            kit_send(&kit.peer, &k, 1, &at_b);
        }
        take_over(&h);
        for (uint8_t k = 0; k < WAITING; k++) {
            cr_assert_eq(client_get(&a, &p), 5);
            cr_assert_eq(p[4], k);
            cr_assert_eq(client_get(&b, &p), 5);
            cr_assert_eq(p[4], k);
        }
        client_echo(&a, &kit, CHANNEL, &at_a, "still a");
        client_echo(&b, &kit, CHANNEL, &at_b, "still b");
    }
    cr_expect_eq(turn_kit_sum(&kit).turn.no_permission, 0);
}

Test(uv_turn_pool, goes_back_to_the_process_before_if_the_next_one_cannot_start)
{
    struct ph_addr at = relay_ip, failed;
    char text[PH_ADDR_TEXT];

    start(1);
    const struct ph_addr at_a = join(&a, PH_UDP);
    client_bind(&a, CHANNEL, &kit.peer_at);
    struct ph_turn_uv_handover h = leave();
    at.port = FIRST + 1;
    struct ph_udp other = kit_open(ph_addr_text(&at, text), NULL);
    kit.conf.core.pool_ports = 2;
    kit.conf.inherit = &h;
    cr_expect_eq(ph_turn_uv_new(&kit.server, &kit.conf, &failed), -EADDRINUSE);
    ph_udp_close(&other);
    kit.conf.core.pool_ports = 1;
    take_over(&h);
    client_echo(&a, &kit, CHANNEL, &at_a, "nothing has happened");
}

Test(uv_turn_pool, ports_that_become_shared_or_stop_being_so)
{
    start(1);
    const struct ph_addr at_a = join(&a, PH_UDP);
    client_bind(&a, CHANNEL, &kit.peer_at);
    struct ph_turn_uv_handover h = leave();
    kit.conf.core.pool_ports = 0;
    take_over(&h);
    client_echo(&a, &kit, CHANNEL, &at_a, "its own");
    h = leave();
    kit.conf.core.pool_ports = 1;
    take_over(&h);
    const struct ph_addr at_b = join(&b, PH_UDP);
    cr_expect(ph_addr_eq(&at_a, &at_b));
    client_echo(&a, &kit, CHANNEL, &at_a, "shared again");
}
