/*
 * The hand-over: one server leaves, the next one goes on with its allocations and sockets, on loopback and with traffic
 * flowing.  Both are in this process, which changes nothing for sockets and records.
 */
#include "uv/turn_kit.h"

#include <fcntl.h>
#include <pthread.h>

enum { FLOWS = 4, CHANNEL = 0x4000, TRIES = 64 };

static struct turn_kit kit;
static struct client a, b;

static void setup(void)
{
    turn_kit_init(&kit);
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

TestSuite(uv_turn_handover, .init = setup, .fini = teardown);

/* The server leaves. */
static struct ph_turn_uv_handover leave(void)
{
    struct ph_turn_uv_handover h;

    cr_assert_eq(ph_turn_uv_leave(kit.server, &h), 0);
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    for (unsigned i = 0; i < KIT_LISTENERS; i++)
        kit.conf.core.listener[i].at = kit.at[i];
    return h;
}

/* The next one takes over. */
static void take_over(struct ph_turn_uv_handover *h)
{
    kit.conf.inherit = h;
    turn_kit_open(&kit);
    kit.conf.inherit = NULL;
    ph_turn_uv_handover_free(h, false);
    cr_assert_null(h->record);
}

static void hand_over(void)
{
    struct ph_turn_uv_handover h = leave();

    take_over(&h);
}

/* --- traffic --------------------------------------------------------------------------------------- */

enum { ENOUGH = 20 };

/* A client and its peer, who send numbers to each other. */
struct flow {
    struct client c;
    struct ph_udp peer;
    struct ph_addr relay;
    uint32_t sent;               /* of each; the next number */
    uint32_t next_up, next_down; /* that are to come */
    unsigned wrong;              /* not in order: lost, doubled or overtaken */
};

static struct flow flow[FLOWS];
static atomic_bool stop;

static void flow_open(struct flow *f)
{
    memset(f, 0, sizeof *f);
    f->peer = kit_open("127.0.0.3:0", NULL);
    client_open(&f->c, &kit, PH_UDP);
    f->relay = client_allocate(&f->c);
    const struct ph_addr to = kit_local(&f->peer);
    client_bind(&f->c, CHANNEL, &to);
}

static void flow_close(struct flow *f)
{
    client_close(&f->c);
    ph_udp_close(&f->peer);
}

static void flow_send(struct flow *f)
{
    client_send_data(&f->c, CHANNEL, &f->sent, sizeof f->sent);
    kit_send(&f->peer, &f->sent, sizeof f->sent, &f->relay);
    f->sent++;
}

static void flow_heard(struct flow *f, uint32_t *next, const void *p, ssize_t n)
{
    uint32_t number = UINT32_MAX;

    if (n == (ssize_t)sizeof number)
        memcpy(&number, p, sizeof number);
    f->wrong += number != *next;
    *next = number + 1;
}

/* Takes what has come. */
static void flow_drain(struct flow *f)
{
    uint8_t p[64];
    ssize_t n;

    while ((n = recv(f->peer.fd, p, sizeof p, MSG_DONTWAIT)) >= 0)
        flow_heard(f, &f->next_up, p, n);
    while ((n = recv(f->c.fd, p, sizeof p, MSG_DONTWAIT)) >= 0)
        flow_heard(f, &f->next_down, p + 4, n - 4);
}

static bool flow_is_done(const struct flow *f)
{
    return f->next_up == f->sent && f->next_down == f->sent;
}

/* Sends all the time, 200 a second each, so that the system's buffers bear a gap. */
static void *traffic(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop) || flow[0].sent < ENOUGH) {
        for (unsigned i = 0; i < FLOWS; i++) {
            flow_send(&flow[i]);
            flow_drain(&flow[i]);
        }
        usleep(5000);
    }
    return NULL;
}

static pthread_t thread;

/* Flows that between them use every worker. */
static void start_traffic(void)
{
    for (int tries = 0; tries < TRIES; tries++) {
        bool all = true;
        for (unsigned i = 0; i < FLOWS; i++)
            flow_open(&flow[i]);
        for (unsigned i = 0; i < ph_turn_uv_workers(kit.server); i++)
            all = all && turn_kit_stats(&kit, i).allocations_now > 0;
        if (all)
            break;
        for (unsigned i = 0; i < FLOWS; i++) {
            client_refresh(&flow[i].c, 0);
            flow_close(&flow[i]);
        }
    }
    atomic_store(&stop, false);
    cr_assert_eq(pthread_create(&thread, NULL, traffic, NULL), 0);
    usleep(30000);
}

/* Everything that was sent has come, in order. */
static void stop_traffic(void)
{
    usleep(30000);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < FLOWS; i++) {
        struct flow *f = &flow[i];
        for (int ms = 0; ms < KIT_WAIT_MS && !flow_is_done(f); ms++) {
            flow_drain(f);
            usleep(1000);
        }
        cr_expect_geq(f->sent, ENOUGH);
        cr_expect_eq(f->wrong, 0, "flow %u", i);
        cr_expect_eq(f->next_up, f->sent, "flow %u: %u of %u to the peer", i, f->next_up, f->sent);
        cr_expect_eq(f->next_down, f->sent, "flow %u: %u of %u to the client", i, f->next_down,
                     f->sent);
        flow_close(f);
    }
}

static void no_packet_is_lost(unsigned workers)
{
    kit.conf.workers = workers;
    turn_kit_open(&kit);
    start_traffic();
    const int ups = kit.ups;
    for (int i = 1; i <= 3; i++) {
        hand_over();
        const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
        cr_expect_eq(st.allocations_now, FLOWS);
        cr_expect_eq(st.turn.restored, FLOWS);
        cr_expect_eq(kit.ups, ups + i * FLOWS, "the log hears of it");
        usleep(30000);
    }
    stop_traffic();
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.turn.no_allocation, 0);
    cr_expect_eq(st.moved_in, 0, "each is where its client's packets come to");
    cr_expect_eq(kit.downs, kit.ups - 4 * FLOWS, "nobody hears of an end");
}

Test(uv_turn_handover, no_packet_is_lost)
{
    no_packet_is_lost(1);
}

Test(uv_turn_handover, no_packet_is_lost_with_two_workers)
{
    no_packet_is_lost(2);
}

Test(uv_turn_handover, no_packet_is_lost_at_shared_ports)
{
    kit.conf.core.relay[0].at = turn_kit_alone();
    kit.conf.core.pool_first = 41000;
    kit.conf.core.pool_ports = 2;
    no_packet_is_lost(1);
}

Test(uv_turn_handover, on_the_callers_loop)
{
    struct ph_turn_uv_handover h;
    uv_loop_t loop;

    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    client_allocate(&a);
    h = leave();
    uv_loop_init(&loop);
    kit.conf.workers = 0;
    kit.conf.loop = &loop;
    take_over(&h);
    cr_expect_eq(turn_kit_sum(&kit).allocations_now, 1);
    cr_assert_eq(ph_turn_uv_leave(kit.server, &h), 0);
    cr_expect_eq(h.n_records, 1);
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
    kit.conf.workers = 1;
    take_over(&h);
    cr_expect_eq(client_refresh(&a, 600), 0);
}

/* --- clients that move meanwhile ------------------------------------------------------------------- */

enum { MOVERS = 16, ROUNDS = 8 };

/* Allocations are on their way between workers when the server leaves: none is lost there, and no request. */
Test(uv_turn_handover, clients_that_move_meanwhile)
{
    struct client c[MOVERS], next[MOVERS];
    struct ph_addr relay[MOVERS];

    kit.conf.workers = 3;
    turn_kit_open(&kit);
    for (unsigned i = 0; i < MOVERS; i++) {
        client_open(&c[i], &kit, PH_UDP);
        relay[i] = client_allocate_mobile(&c[i]);
        client_bind(&c[i], CHANNEL, &kit.peer_at);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < MOVERS; i++) {
            client_open(&next[i], &kit, PH_UDP);
            write_refresh(&next[i], &(struct refresh){-1, &c[i]});
            client_end(&next[i]);
        }
        for (unsigned i = 0; i < MOVERS; i++) /* at once, and in the middle of it: */
            client_put(&next[i], next[i].req, (size_t)next[i].req_n);
        hand_over();
        cr_assert_eq(turn_kit_sum(&kit).turn.restored, MOVERS, "in round %u", round);
        for (unsigned i = 0; i < MOVERS; i++) {
            client_close(&c[i]);
            c[i] = next[i];
            cr_assert_eq(client_hear(&c[i]).cls, PH_SUCCESS, "%u in round %u", i, round);
        }
    }
    for (unsigned i = 0; i < MOVERS; i++) {
        client_echo(&c[i], &kit, CHANNEL, &relay[i], "still here");
        client_close(&c[i]);
    }
    cr_expect_eq(turn_kit_sum(&kit).parked, 0);
    cr_expect_eq(kit.downs, 0);
}

/* --- what is carried ------------------------------------------------------------------------------- */

struct found {
    unsigned n;
    struct ph_turnd_info info;
    char user[32];
};

static bool find(void *ctx, unsigned worker, const struct ph_turnd_info *info)
{
    struct found *f = ctx;

    (void)worker;
    f->n++;
    f->info = *info;
    snprintf(f->user, sizeof f->user, "%.*s", (int)info->user.n, (const char *)info->user.p);
    return true;
}

/* The only allocation. */
static struct found only(void)
{
    struct found f = {0};

    ph_turn_uv_list(kit.server, find, &f);
    cr_assert_eq(f.n, 1);
    return f;
}

Test(uv_turn_handover, everything_of_an_allocation_is_carried)
{
    struct ph_udp other = kit_open("127.0.0.4:0", NULL);
    const struct ph_addr other_at = kit_local(&other);
    uint8_t text[64];

    turn_kit_realm(&kit);
    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    a.user = "alice";
    a.pass = "secret";
    const struct ph_addr relay = client_allocate(&a);
    client_bind(&a, CHANNEL, &kit.peer_at);
    client_echo(&a, &kit, CHANNEL, &relay, "before");
    const struct found before = only();
    hand_over();
    const struct found after = only();

    cr_expect_eq(after.info.session, before.info.session);
    cr_expect(after.info.restored);
    cr_expect(ph_addr_eq(&after.info.client, &before.info.client));
    cr_expect(ph_addr_eq(&after.info.relay[0], &before.info.relay[0]));
    cr_expect_str_eq(after.user, "alice");
    cr_expect_eq(after.info.permissions, 1);
    cr_expect_eq(after.info.channels, 1);
    cr_expect_eq(after.info.to_peer_packets, 1);
    cr_expect_eq(after.info.to_client_bytes, 6);
    const ph_ns moved = after.info.expires_at - before.info.expires_at;
    cr_expect(moved < PH_SEC(2) && moved > -PH_SEC(2), "a second of the wall clock at most");

    client_echo(&a, &kit, CHANNEL, &relay, "after");
    kit_send(&other, "who is it", 9, &relay);
    cr_expect(client_is_quiet(&a), "no permission, as before");
    client_permit(&a, other_at);
    kit_send(&other, "now", 3, &relay);
    cr_expect_gt(recv(a.fd, text, sizeof text, 0), 3);
    cr_expect_eq(client_refresh(&a, 600), 0);
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.turn.stale_nonce, 0, "its nonce is good still");
    cr_expect_eq(st.turn.unauthenticated, 0);
    cr_expect_eq(client_refresh(&a, 0), 0);
    KIT_UNTIL(kit.downs == 1);
    struct ph_udp again;
    cr_expect_eq(ph_udp_open(&again, &relay, &(struct ph_udp_opts){0}), 0, "the port is free");
    ph_udp_close(&again);
    ph_udp_close(&other);
}

Test(uv_turn_handover, both_families_and_a_wildcard_listener)
{
    struct ph_udp p6;

    if (ph_udp_open(&p6,
                    &(struct ph_addr){.ip = {[15] = 1}, .family = PH_AF_INET6, .proto = PH_UDP},
                    &(struct ph_udp_opts){0}))
        cr_skip("no IPv6 here");
    const struct ph_addr p6_at = kit_local(&p6);
    kit.conf.core.listener[KIT_UDP].at = kit_addr("0.0.0.0:0");
    kit.conf.core.n_relays = 2;
    kit.conf.core.relay[1].at = kit_addr("::1");
    kit.conf.core.relay[1].ports = kit.conf.core.relay[0].ports;
    turn_kit_open(&kit);
    const uint16_t port = kit.at[KIT_UDP].port;
    kit.at[KIT_UDP] = kit_addr("127.0.0.1");
    kit.at[KIT_UDP].port = port;
    client_open(&a, &kit, PH_UDP);
    client_begin(&a, PH_ALLOCATE, PH_REQUEST);
    ph_msgw_uint(&a.w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_uint(&a.w, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6);
    client_end(&a);
    client_put(&a, a.req, (size_t)a.req_n);
    const struct ph_addr relay = client_relay(&(struct ph_msg[]){client_hear(&a)}[0], PH_UDP);
    const struct ph_addr relay6 = only().info.relay[1];
    client_bind(&a, CHANNEL, &kit.peer_at);
    client_bind(&a, CHANNEL + 1, &p6_at);
    kit.at[KIT_UDP] = kit_addr("0.0.0.0");
    kit.at[KIT_UDP].port = port;
    hand_over();
    client_echo(&a, &kit, CHANNEL, &relay, "four");
    char b6[8];
    client_send_data(&a, CHANNEL + 1, "six", 3);
    cr_expect_eq(kit_recv(&p6, b6, sizeof b6, NULL), 3);
    kit_send(&p6, "back", 4, &relay6);
    cr_expect_eq(recv(a.fd, b6, sizeof b6, 0), 8);
    ph_udp_close(&p6);
}

static int option(int fd, int level, int name)
{
    int v = -1;
    socklen_t n = sizeof v;

    getsockopt(fd, level, name, &v, &n);
    return v;
}

Test(uv_turn_handover, what_is_handed_over_is_open_after_exec)
{
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    client_allocate(&a);
    struct ph_turn_uv_handover h = leave();

    cr_expect_eq(h.workers, 1);
    cr_expect_eq(h.n_records, 1);
    cr_expect_eq(h.lost, 0);
    cr_expect_eq(h.n_sockets, KIT_LISTENERS + 1);
    cr_expect_eq(h.keys.n_tickets, 1);
    cr_expect_eq(memcmp(h.keys.ticket[0], kit.conf.core.ticket_key, PH_TICKET_KEY_LEN), 0);
    cr_expect_eq(memcmp(h.keys.nonce, kit.conf.core.nonce.key, PH_NONCE_KEY_LEN), 0);
    for (unsigned i = 0; i < h.n_sockets; i++) {
        cr_expect_eq(fcntl(h.socket[i].fd, F_GETFD), 0);
        cr_expect(h.socket[i].at.proto == PH_UDP || h.socket[i].at.proto == PH_TCP);
        cr_expect_eq(h.socket[i].relay, i >= KIT_LISTENERS);
        cr_expect_eq(option(h.socket[i].fd, SOL_SOCKET, SO_ACCEPTCONN),
                     h.socket[i].at.proto == PH_TCP);
    }
    const int fd = h.socket[0].fd;
    ph_turn_uv_handover_free(&h, true);
    cr_expect_eq(fcntl(fd, F_GETFD), -1);
    turn_kit_open(&kit); /* nothing is in the way of a fresh start */
}

Test(uv_turn_handover, other_keys_go_along)
{
    struct ph_turnd_keys keys = {.n_tickets = 2, .has_old_nonce = true};

    memset(keys.nonce, 1, sizeof keys.nonce);
    memset(keys.old_nonce, 2, sizeof keys.old_nonce);
    memset(keys.ticket, 3, sizeof keys.ticket);
    turn_kit_realm(&kit);
    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    turn_kit_open(&kit);
    ph_turn_uv_set_keys(kit.server, &keys);
    client_open(&a, &kit, PH_UDP);
    a.user = "alice";
    a.pass = "secret";
    client_allocate_mobile(&a);
    struct ph_turn_uv_handover h = leave();
    cr_expect_eq(memcmp(&h.keys, &keys, sizeof keys), 0);
    take_over(&h);
    client_open(&b, &kit, PH_UDP);
    b.user = a.user;
    b.pass = a.pass;
    memcpy(b.realm, a.realm, sizeof b.realm);
    memcpy(b.nonce, a.nonce, sizeof b.nonce);
    cr_expect_eq(client_take_over(&b, &a), 0, "its ticket and its nonce are good");
    cr_expect_eq(turn_kit_sum(&kit).turn.stale_nonce, 0);
    h = leave();
    cr_expect_eq(memcmp(&h.keys, &keys, sizeof keys), 0, "and again");
    take_over(&h);
}

/* --- clients on connections ------------------------------------------------------------------------ */

static void a_connection_without_ticket(uint8_t proto)
{
    turn_kit_open(&kit);
    client_open(&a, &kit, proto);
    const struct ph_addr relay = client_allocate(&a);
    struct ph_turn_uv_handover h = leave();

    cr_expect_eq(h.lost, 1);
    cr_expect_eq(h.n_records, 0);
    cr_expect_eq(h.n_sockets, KIT_LISTENERS, "nor its relay socket");
    cr_expect(client_is_closed(&a));
    cr_expect_eq(kit.downs, 0, "no event");
    take_over(&h);
    cr_expect_eq(turn_kit_sum(&kit).allocations_now, 0);
    struct ph_udp again;
    cr_expect_eq(ph_udp_open(&again, &relay, &(struct ph_udp_opts){0}), 0, "the port is free");
    ph_udp_close(&again);
}

Test(uv_turn_handover, a_tcp_client_without_ticket_is_lost)
{
    a_connection_without_ticket(PH_TCP);
}

Test(uv_turn_handover, a_tls_client_without_ticket_is_lost)
{
    a_connection_without_ticket(PH_TLS);
}

Test(uv_turn_handover, a_dtls_client_without_ticket_is_lost_and_told)
{
    a_connection_without_ticket(PH_DTLS);
}

static void a_connection_with_ticket(uint8_t proto)
{
    turn_kit_open(&kit);
    client_open(&a, &kit, proto);
    const struct ph_addr relay = client_allocate_mobile(&a);
    client_bind(&a, CHANNEL, &kit.peer_at);
    struct ph_turn_uv_handover h = leave();

    cr_expect_eq(h.lost, 0);
    cr_expect(client_is_closed(&a));
    take_over(&h);
    client_open(&b, &kit, proto);
    cr_assert_eq(client_take_over(&b, &a), 0);
    client_echo(&b, &kit, CHANNEL, &relay, "back again");
}

Test(uv_turn_handover, a_tcp_client_comes_back_by_its_ticket)
{
    a_connection_with_ticket(PH_TCP);
}

Test(uv_turn_handover, a_tls_client_comes_back_by_its_ticket)
{
    kit.conf.workers = 2;
    a_connection_with_ticket(PH_TLS);
}

Test(uv_turn_handover, a_dtls_client_comes_back_by_its_ticket)
{
    a_connection_with_ticket(PH_DTLS);
}

Test(uv_turn_handover, who_calls_meanwhile_is_answered_after)
{
    turn_kit_open(&kit);
    struct ph_turn_uv_handover h = leave();
    client_open(&a, &kit, PH_TCP);
    client_open(&b, &kit, PH_UDP);
    write_binding(&a, NULL);
    client_end(&a);
    client_put(&a, a.req, (size_t)a.req_n);
    write_binding(&b, NULL);
    client_end(&b);
    client_put(&b, b.req, (size_t)b.req_n);
    cr_expect(client_is_quiet(&a));
    take_over(&h);
    cr_expect_eq(client_hear(&a).cls, PH_SUCCESS);
    cr_expect_eq(client_hear(&b).cls, PH_SUCCESS);
    client_close(&a);
    client_open(&a, &kit, PH_TCP); /* and they accept on */
    cr_expect_eq(client_ask(&a, write_binding, NULL).cls, PH_SUCCESS);
}

Test(uv_turn_handover, a_tcp_relay_listens_on)
{
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_TCP);
    const struct ph_msg m = client_ask(&a, write_allocate, &(struct allocate){PH_TCP, true});
    const struct ph_addr relay = client_relay(&m, PH_TCP);
    struct ph_turn_uv_handover h = leave();

    cr_expect_eq(h.n_sockets, KIT_LISTENERS + 1);
    const int early = client_socket(PH_TCP, "127.0.0.3:0", &relay); /* not refused */
    take_over(&h);
    client_open(&b, &kit, PH_TCP);
    cr_assert_eq(client_take_over(&b, &a), 0);
    client_permit(&b, kit.peer_at);
    const int late = client_socket(PH_TCP, "127.0.0.3:0", &relay);
    const struct ph_msg attempt = client_hear(&b);
    cr_expect_eq(attempt.method, PH_CONNECTION_ATTEMPT);
    close(early);
    close(late);
}

/* --- another configuration ------------------------------------------------------------------------- */

/* Starts with what was handed over, and says what came of it. */
static int try_to_take_over(struct ph_turn_uv_handover *h)
{
    struct ph_addr failed;

    kit.conf.inherit = h;
    const int err = ph_turn_uv_new(&kit.server, &kit.conf, &failed);
    kit.conf.inherit = NULL;
    if (err)
        kit.server = NULL;
    return err;
}

Test(uv_turn_handover, a_listener_that_is_gone)
{
    const struct ph_addr extra = kit_addr("127.0.0.1:0");

    kit.conf.core.listener[KIT_LISTENERS].at = extra;
    kit.conf.core.n_listeners = KIT_LISTENERS + 1;
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    const struct ph_addr relay = client_allocate(&a);
    client_bind(&a, CHANNEL, &kit.peer_at);
    const struct ph_addr kept = kit.at[KIT_UDP];
    cr_assert_eq(ph_turn_uv_local(kit.server, KIT_LISTENERS, &kit.at[KIT_UDP]), 0);
    const struct ph_addr gone = kit.at[KIT_UDP];
    client_open(&b, &kit, PH_UDP);
    const struct ph_addr lost = client_allocate(&b);
    kit.at[KIT_UDP] = kept;
    struct ph_turn_uv_handover h = leave();
    cr_expect_eq(h.n_records, 2);
    kit.conf.core.n_listeners = KIT_LISTENERS;
    take_over(&h);

    struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.allocations_now, 1);
    cr_expect_eq(st.turn.not_restored, 1);
    client_echo(&a, &kit, CHANNEL, &relay, "stays");
    struct ph_udp again;
    cr_expect_eq(ph_udp_open(&again, &gone, &(struct ph_udp_opts){0}), 0, "it is closed");
    ph_udp_close(&again);
    cr_expect_eq(ph_udp_open(&again, &lost, &(struct ph_udp_opts){0}), 0, "and so is its relay");
    ph_udp_close(&again);
}

Test(uv_turn_handover, a_listener_that_is_new_or_has_another_number)
{
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    const struct ph_addr relay = client_allocate(&a);
    client_bind(&a, CHANNEL, &kit.peer_at);
    struct ph_turn_uv_handover h = leave();
    kit.conf.core.listener[KIT_LISTENERS].at = kit.at[KIT_UDP]; /* it was 0, now it is 3 */
    kit.conf.accept[KIT_LISTENERS] = kit.conf.accept[KIT_UDP];
    kit.conf.core.listener[KIT_UDP].at = kit_addr("127.0.0.1:0");
    kit.conf.core.n_listeners = KIT_LISTENERS + 1;
    take_over(&h);
    client_echo(&a, &kit, CHANNEL, &relay, "found");
    cr_expect_eq(client_refresh(&a, 600), 0);
    client_open(&b, &kit, PH_UDP);
    client_allocate(&b);
}

/* Asks for an allocation as a user of this realm. */
static struct ph_msg allocate_in(struct client *c, const char *realm)
{
    snprintf(c->realm, sizeof c->realm, "%s", realm);
    write_allocate(c, &(struct allocate){PH_UDP, false});
    client_end(c);
    client_put(c, c->req, (size_t)c->req_n);
    return client_hear(c);
}

Test(uv_turn_handover, a_realm_that_is_gone)
{
    const struct ph_env e = ph_env_system(NULL);
    struct ph_auth *other = ph_auth_new("example.net", &e);

    turn_kit_realm(&kit);
    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    ph_auth_add_user(other, ph_str("bob"), ph_str("other"));
    kit.conf.core.live.realm[0] = (struct ph_turnd_realm){.auth = other};
    kit.conf.core.live.n_realms = 1;
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    a.user = "alice";
    a.pass = "secret";
    const struct ph_addr relay = client_allocate(&a);
    client_bind(&a, CHANNEL, &kit.peer_at);
    client_open(&b, &kit, PH_UDP);
    b.user = "bob";
    b.pass = "other";
    snprintf(b.nonce, sizeof b.nonce, "%s", a.nonce);
    struct ph_msg m = allocate_in(&b, "example.net"); /* 438, with a nonce for that realm */
    m = allocate_in(&b, "example.net");
    cr_assert_eq(m.cls, PH_SUCCESS, "error %u", client_code(&m));
    struct ph_turn_uv_handover h = leave();
    cr_expect_eq(h.n_records, 2);
    kit.conf.core.live.n_realms = 0;
    take_over(&h);
    ph_auth_free(other);
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.allocations_now, 1);
    cr_expect_eq(st.turn.not_restored, 1);
    client_echo(&a, &kit, CHANNEL, &relay, "stays");
}

/* With other workers clients' packets come to other ones than before: their allocations follow. */
static void another_number_of_workers(unsigned before, unsigned after)
{
    enum { N = 16 };
    struct client c[N];
    struct ph_addr relay[N];

    kit.conf.workers = before;
    turn_kit_open(&kit);
    for (unsigned i = 0; i < N; i++) {
        client_open(&c[i], &kit, PH_UDP);
        relay[i] = client_allocate(&c[i]);
        client_bind(&c[i], CHANNEL, &kit.peer_at);
    }
    struct ph_turn_uv_handover h = leave();
    kit.conf.workers = after;
    take_over(&h);
    cr_expect_eq(turn_kit_sum(&kit).turn.restored, N);
    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < N; i++)
            client_echo(&c[i], &kit, CHANNEL, &relay[i], "found");
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.allocations_now, N);
    cr_expect_eq(st.moved_in, st.turn.strays);
    cr_expect_eq(st.turn.strays > 0, after > 1, "%lu", (unsigned long)st.turn.strays);
    cr_expect_eq(kit.downs, 0);
    for (unsigned i = 0; i < N; i++) {
        cr_expect_eq(client_refresh(&c[i], 0), 0);
        client_close(&c[i]);
    }
}

Test(uv_turn_handover, more_workers)
{
    another_number_of_workers(1, 2);
}

Test(uv_turn_handover, fewer_workers)
{
    another_number_of_workers(2, 1);
}

Test(uv_turn_handover, a_server_that_cannot_start_leaves_everything_as_it_was)
{
    struct ph_udp taken = kit_open("127.0.0.1:0", NULL);

    kit.conf.workers = 2;
    turn_kit_open(&kit);
    start_traffic();
    struct ph_turn_uv_handover h = leave();
    kit.conf.core.listener[KIT_LISTENERS].at = kit_local(&taken);
    kit.conf.core.n_listeners = KIT_LISTENERS + 1;
    cr_expect_eq(try_to_take_over(&h), -EADDRINUSE);
    for (unsigned i = 0; i < h.n_sockets; i++)
        cr_expect_eq(fcntl(h.socket[i].fd, F_GETFD), 0, "open, and not close-on-exec");
    kit.conf.core.n_listeners = KIT_LISTENERS;
    take_over(&h); /* as the process before would, started again */
    stop_traffic();
    ph_udp_close(&taken);
}

Test(uv_turn_handover, sockets_that_are_none_are_not_used)
{
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    client_allocate(&a);
    struct ph_turn_uv_handover h = leave();
    for (unsigned i = 0; i < h.n_sockets; i++) {
        close(h.socket[i].fd);
        h.socket[i].fd = socket(i % 2 ? AF_INET : AF_UNIX, SOCK_DGRAM, 0);
    }
    take_over(&h);
    cr_expect_eq(turn_kit_sum(&kit).allocations_now, 1, "its relay was opened anew");
    cr_expect_eq(client_refresh(&a, 600), 0);
}

/* --- hold ------------------------------------------------------------------------------------------ */

Test(uv_turn_handover, nobody_is_heard_while_the_server_is_held)
{
    turn_kit_open(&kit);
    start_traffic();
    struct ph_turn_uv_handover h = leave();
    kit.conf.hold = true;
    take_over(&h);
    usleep(50000);
    cr_expect_eq(turn_kit_sum(&kit).turn.to_peer_packets, 0);
    ph_turn_uv_go(kit.server);
    stop_traffic();
    cr_expect_gt(turn_kit_sum(&kit).turn.to_peer_packets, 0);
    ph_turn_uv_go(kit.server); /* twice is nothing */
}
