#include "uv/dtls_kit.h"

#include "stun/uv/dtls_priv.h"
#include "stun/uv/loop.h"
#include "support/oom.h"

#include <malloc.h>
#include <time.h>

static struct rig r;

static const struct ph_dtls_stats *stats(void)
{
    return ph_dtls_stats(r.d);
}

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* The first datagram of a new client. */
static struct rig_datagram first_hello(unsigned i)
{
    struct rig_client *c = rig_client(&r, i);
    struct rig_datagram g;

    SSL_do_handshake(c->ssl);
    ERR_clear_error();
    cr_assert(wire_pop(&c->up, &g));
    return g;
}

/* ---- the cookie ------------------------------------------------------------------------------------ */

Test(dtls, exchanges_a_cookie_and_then_messages)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    cr_assert_eq(stats()->hellos, 1);
    cr_assert_eq(stats()->handshakes, 1);
    cr_assert_eq(stats()->now, 1);
    cr_assert_str_eq(SSL_get_version(c->ssl), "DTLSv1.2");

    rig_say(&r, c, "one");
    rig_say(&r, c, "two");
    cr_assert_str_eq(r.got, "one|two|");
    cr_assert_eq(stats()->rx_messages, 2);
    cr_assert_eq(r.last.src.port, 5000);
    cr_assert_eq(rig_tell(&r, r.conn, "yes", c), PH_SEND);
    cr_assert_eq(rig_tell(&r, r.conn, "no", c), PH_SEND);
    cr_assert_str_eq(rig_hear(c), "yes");
    cr_assert_str_eq(rig_hear(c), "no");
    cr_assert_eq(stats()->tx_messages, 2);
    cr_assert_not_null(ph_dtls_ssl(r.d, r.conn));
    rig_fini(&r);
}

Test(dtls, a_message_lies_where_its_datagram_was)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    struct rig_datagram g;
    uint8_t slot[PH_HEADROOM + 512];
    struct ph_pkt p = {.src = c->at, .sock = RIG_LISTENER};

    cr_assert_eq(SSL_write(c->ssl, "in place", 8), 8);
    cr_assert(wire_pop(&c->up, &g));
    memcpy(slot + PH_HEADROOM, g.b, g.len);
    p.b = (struct ph_buf){slot, sizeof slot, PH_HEADROOM, g.len};
    cr_assert_eq(ph_dtls_input(r.d, &p, r.now), PH_DATA);
    cr_assert_eq(p.b.base, slot);
    cr_assert_eq(p.b.cap, sizeof slot);
    cr_assert_geq(p.b.off, PH_HEADROOM, "with at least the headroom it had");
    cr_assert_leq(p.b.off + p.b.len + PH_TAILROOM, PH_HEADROOM + g.len, "and room behind");
    cr_assert_eq(p.b.len, 8);
    cr_assert_eq(memcmp(ph_buf_data(&p.b), "in place", 8), 0);
    cr_assert_not(ph_dtls_next(r.d, &p));
    rig_fini(&r);
}

/* Bytes on the heap, by the sanitizer's count if it owns the heap. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t heap_bytes(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    return mallinfo2().uordblks;
}

Test(dtls, keeps_nothing_for_ten_thousand_spoofed_hellos)
{
    size_t before = 0;
    rig_init(&r, NULL);
    struct rig_datagram g = first_hello(0);
    SSL_free(r.c[0].ssl); /* it must not hear of the answers */
    r.c[0].ssl = NULL;
    for (uint32_t i = 0; i < 10000; i++) {
        struct ph_addr from =
            ph_addr_v4((uint8_t[]){203, 0, (uint8_t)(i >> 8), (uint8_t)i}, 1024, PH_UDP);
        cr_assert_eq(rig_input(&r, &from, g.b, g.len), PH_CONSUMED);
        cr_assert(ph_addr_eq(&r.stray, &from));
        if (i == 10)
            before = heap_bytes();
    }
    cr_assert_leq(heap_bytes(), before, "%zu bytes more", heap_bytes() - before);
    cr_assert_eq(stats()->hellos, 10000);
    cr_assert_eq(stats()->now, 0);
    cr_assert_eq(ph_dtls_deadline(r.d), PH_NEVER, "not even a timer");
    cr_assert_eq(r.n_flights, 10000);
    cr_assert_leq(r.largest_flight, g.len, "answered with no more than it brought");
    rig_fini(&r);
}

Test(dtls, hellos_are_paid_from_their_sources_budget)
{
    struct ph_env env = ph_env_system(NULL);
    struct ph_budget *b =
        ph_budget_new(&(struct ph_budget_conf){.addr_burst = 300, .addr_rate = 100}, &env);
    rig_init(&r, &(struct ph_dtls_conf){.budget = b});
    struct rig_datagram g = first_hello(0);
    struct ph_addr victim = ph_addr_v4((uint8_t[]){203, 0, 113, 9}, 1024, PH_UDP);
    for (unsigned i = 0; i < 50; i++)
        rig_input(&r, &victim, g.b, g.len);
    cr_assert_eq(stats()->hellos, 50);
    cr_assert_gt(r.n_flights, 1);
    cr_assert_leq(r.n_flights * r.largest_flight, 300 + r.largest_flight);
    cr_assert_eq(stats()->over_budget, 50 - r.n_flights);
    /* Others get their answer, and who returns the cookie gets back what it cost. */
    for (unsigned i = 0; i < 10; i++)
        rig_connect(&r, 1);
    cr_assert_eq(stats()->handshakes, 10);
    rig_fini(&r);
    ph_budget_free(b);
}

Test(dtls, refuses_a_cookie_of_somebody_else)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_client(&r, 0);
    struct rig_datagram g;
    SSL_do_handshake(c->ssl);
    rig_up(&r, c);
    SSL_do_handshake(c->ssl); /* with the cookie */
    ERR_clear_error();
    cr_assert(wire_pop(&c->up, &g));
    struct ph_addr other = c->at;
    other.port++;
    rig_input(&r, &other, g.b, g.len);
    cr_assert_eq(stats()->now, 0);
    cr_assert_eq(stats()->hellos, 2, "it is asked for a cookie of its own");
    rig_input(&r, &c->at, g.b, g.len);
    cr_assert_eq(stats()->now, 1);
    rig_fini(&r);
}

Test(dtls, refuses_a_broken_hello)
{
    rig_init(&r, NULL);
    struct rig_datagram g = first_hello(0), bad = g;
    for (uint32_t n = 0; n < g.len; n++)
        cr_assert_eq(rig_input(&r, &r.c[0].at, g.b, n), PH_DROP, "cut to %u bytes", n);
    bad.b[1] = 3; /* TLS */
    cr_assert_eq(rig_input(&r, &r.c[0].at, bad.b, bad.len), PH_DROP);
    bad = g;
    bad.b[21] = 1; /* a fragment from the middle, whose hello we cannot know */
    cr_assert_eq(rig_input(&r, &r.c[0].at, bad.b, bad.len), PH_DROP);
    cr_assert_eq(r.n_flights, 0);
    cr_assert_eq(stats()->now, 0);
    cr_assert_eq(stats()->bad_record, g.len + 2);
    rig_fini(&r);
}

Test(dtls, takes_a_hello_in_fragments_once_the_first_has_the_cookie)
{
    char name[200];
    rig_init(&r, NULL);
    struct rig_client *c = rig_client(&r, 0);
    memset(name, 'n', sizeof name);
    for (size_t i = 50; i < sizeof name; i += 50)
        name[i] = '.';
    name[sizeof name - 1] = 0;
    SSL_set_tlsext_host_name(c->ssl, name);
    SSL_set_mtu(c->ssl, 256);
    SSL_do_handshake(c->ssl);
    cr_assert_geq(c->up.n, 2, "it is in fragments");
    rig_up(&r, c);
    cr_assert_eq(stats()->hellos, 1);
    cr_assert_eq(stats()->bad_record, 1, "the second one is nothing by itself");
    cr_assert(rig_shake(&r, c));
    rig_say(&r, c, "small steps");
    cr_assert_str_eq(r.got, "small steps|");
    rig_fini(&r);
}

/* ---- datagrams ------------------------------------------------------------------------------------- */

Test(dtls, two_messages_in_one_datagram)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    struct rig_datagram g[3];
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(SSL_write(c->ssl, &"m0\0m1\0m2"[3 * i], 2), 2);
        cr_assert(wire_pop(&c->up, &g[i]));
    }
    memcpy(g[0].b + g[0].len, g[1].b, g[1].len);
    g[0].len += g[1].len;
    cr_assert_eq(rig_input(&r, &c->at, g[0].b, g[0].len), PH_DATA);
    cr_assert_str_eq(r.got, "m0|m1|");
    cr_assert_geq(r.last.b.off, PH_HEADROOM);
    cr_assert_geq(r.last.b.cap, r.last.b.off + r.last.b.len + PH_TAILROOM);
    rig_input(&r, &c->at, g[2].b, g[2].len);
    cr_assert_str_eq(r.got, "m0|m1|m2|");
    rig_fini(&r);
}

Test(dtls, an_owner_that_leaves_messages_unread_does_not_get_them_later)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    struct rig_datagram a, b;
    uint8_t slot[PH_HEADROOM + 256];
    struct ph_pkt p = {.src = c->at, .sock = RIG_LISTENER};
    cr_assert_eq(SSL_write(c->ssl, "one", 3), 3);
    cr_assert_eq(SSL_write(c->ssl, "two", 3), 3);
    wire_pop(&c->up, &a);
    wire_pop(&c->up, &b);
    memcpy(slot + PH_HEADROOM, a.b, a.len);
    memcpy(slot + PH_HEADROOM + a.len, b.b, b.len);
    p.b = (struct ph_buf){slot, sizeof slot, PH_HEADROOM, a.len + b.len};
    cr_assert_eq(ph_dtls_input(r.d, &p, r.now), PH_DATA);
    rig_say(&r, c, "three");
    cr_assert_str_eq(r.got, "three|");
    rig_fini(&r);
}

Test(dtls, lost_flights_are_sent_again)
{
    rig_client_ms = RIG_SOON_MS;
    for (unsigned loss = 20; loss <= 30; loss += 5) {
        rig_init(&r, &(struct ph_dtls_conf){.retransmit = PH_MS(RIG_SOON_MS)});
        struct rig_client *c = rig_client(&r, 0);
        bool done = false;
        c->up.loss = c->down.loss = loss;
        c->down.seed = 7;
        for (unsigned i = 0; i < 600 && !done; i++) {
            done = rig_shake(&r, c);
            nap_ms(5);
            r.now += PH_MS(5);
            ph_dtls_tick(r.d, r.now);
            cr_assert_gt(ph_dtls_deadline(r.d), r.now);
            DTLSv1_handle_timeout(c->ssl);
        }
        cr_assert(done, "%u %% lost", loss);
        c->up.loss = c->down.loss = 0;
        rig_say(&r, c, "through");
        cr_assert_str_eq(r.got, "through|");
        rig_fini(&r);
    }
}

Test(dtls, the_server_itself_sends_a_lost_flight_again)
{
    rig_init(&r, &(struct ph_dtls_conf){.retransmit = PH_MS(RIG_SOON_MS)});
    struct rig_client *c = rig_client(&r, 0);
    for (unsigned i = 0; i < 2; i++) {
        SSL_do_handshake(c->ssl);
        rig_up(&r, c);
    }
    unsigned flights = r.n_flights;
    cr_assert_gt(c->down.n, 0);
    c->down.n = 0; /* ServerHello to ServerHelloDone, lost */
    cr_assert_leq(ph_dtls_deadline(r.d), r.now + PH_MS(4 * RIG_SOON_MS));
    nap_ms(RIG_SOON_MS);
    r.now += PH_MS(RIG_SOON_MS);
    ph_dtls_tick(r.d, r.now);
    cr_assert_gt(r.n_flights, flights);
    cr_assert(rig_shake(&r, c));
    rig_fini(&r);
}

Test(dtls, it_waits_twice_as_long_each_time)
{
    rig_init(&r, &(struct ph_dtls_conf){.retransmit = 1}); /* taken for the least there is */
    struct rig_client *c = rig_client(&r, 0);
    ph_ns took = ph_now();
    for (unsigned i = 0; i < 2; i++) {
        SSL_do_handshake(c->ssl);
        rig_up(&r, c);
    }
    took = ph_now() - took; /* what a busy machine lets pass counts */
    if (took < PH_MS(5))
        cr_assert_leq(ph_dtls_deadline(r.d), r.now + PH_MS(RIG_SOON_MS));
    unsigned flights = r.n_flights;
    for (unsigned i = 0; i < 100 && r.n_flights == flights; i++) {
        nap_ms(5);
        r.now += PH_MS(5);
        took = ph_now();
        ph_dtls_tick(r.d, r.now);
        took = ph_now() - took;
    }
    cr_assert_gt(r.n_flights, flights);
    if (took < PH_MS(RIG_SOON_MS))
        cr_assert_geq(ph_dtls_deadline(r.d), r.now + PH_MS(2 * RIG_SOON_MS) - took);
    rig_fini(&r);
}

Test(dtls, messages_that_overtake_the_handshake_are_kept)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_client(&r, 0);
    struct rig_datagram g, finished;
    /* The client's last flight is held back, and what it says then comes first. */
    for (unsigned i = 0; i < 3; i++) {
        SSL_do_handshake(c->ssl);
        if (i < 2)
            rig_up(&r, c);
    }
    cr_assert(wire_pop(&c->up, &finished));
    cr_assert_eq(c->up.n, 0, "the flight is one datagram");
    cr_assert_eq(stats()->handshakes, 0);
    /* Nothing can be said before the server's Finished: let another handle of the flight through first. */
    rig_input(&r, &c->at, finished.b, finished.len);
    cr_assert_eq(SSL_do_handshake(c->ssl), 1);
    cr_assert_eq(SSL_write(c->ssl, "early", 5), 5);
    cr_assert(wire_pop(&c->up, &g));
    memcpy(finished.b + finished.len, g.b, g.len);
    /* The repeated last flight, with a message right behind it. */
    rig_input(&r, &c->at, finished.b, finished.len + g.len);
    cr_assert_str_eq(r.got, "early|");
    rig_fini(&r);
}

Test(dtls, a_large_message_goes_both_ways)
{
    static uint8_t big[PH__DTLS_PLAIN_MAX], room[PH__DTLS_PLAIN_MAX + PH_DTLS_OVERHEAD],
        back[20000];
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7);
    cr_assert_eq(SSL_write(c->ssl, big, sizeof big), (int)sizeof big);
    rig_up(&r, c);
    cr_assert_eq(r.last.b.len, sizeof big);

    struct ph_pkt in = {.conn = r.conn, .b = {.base = big, .cap = sizeof big, .len = sizeof big}};
    struct ph_pkt out = {.b = {.base = room, .cap = sizeof room}};
    cr_assert_eq(ph_dtls_seal(r.d, &in, &out), PH_SEND);
    wire_push(&c->down, room, out.b.len);
    cr_assert_eq(SSL_read(c->ssl, back, sizeof back), (int)sizeof big);
    cr_assert_eq(memcmp(back, big, sizeof big), 0);
    /* One byte more, with what waits in front; and a packet that has no room for it. */
    in.head = back;
    in.head_len = 1;
    cr_assert_eq(ph_dtls_seal(r.d, &in, &out), PH_DROP);
    in.head_len = 0;
    out.b.cap = sizeof big + 8;
    cr_assert_eq(ph_dtls_seal(r.d, &in, &out), PH_DROP);
    cr_assert_eq(rig_tell(&r, r.conn, "still here", c), PH_SEND);
    cr_assert_str_eq(rig_hear(c), "still here");
    rig_fini(&r);
}

Test(dtls, head_and_data_leave_as_one_message)
{
    uint8_t head[PH_HEADROOM] = "he", data[] = "llo", room[128];
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    rig_say(&r, c, "x");
    struct ph_pkt in = {.conn = r.conn, .b = {.base = data, .cap = 3, .len = 3}};
    struct ph_pkt out = {.b = {.base = room, .cap = sizeof room, .off = 9}};
    in.head = head;
    in.head_len = 2;
    cr_assert_eq(ph_dtls_seal(r.d, &in, &out), PH_SEND);
    cr_assert_eq(out.b.off, 9);
    wire_push(&c->down, room + 9, out.b.len);
    cr_assert_str_eq(rig_hear(c), "hello");
    rig_fini(&r);
}

Test(dtls, garbage_changes_nothing)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    struct rig_datagram g;
    uint8_t junk[200];
    struct ph_addr stranger = ph_addr_v4((uint8_t[]){203, 0, 113, 1}, 9, PH_UDP);
    uint64_t bad = 0;
    for (unsigned first = 20; first < 64; first++) {
        memset(junk, (int)first, sizeof junk);
        for (size_t n = 1; n < sizeof junk; n += 13) {
            cr_assert_eq(rig_input(&r, &stranger, junk, n), PH_DROP);
            bad++;
        }
    }
    cr_assert_eq(stats()->bad_record, bad);
    for (unsigned first = 0; first < 256; first++) {
        memset(junk, (int)first, sizeof junk);
        for (size_t n = 0; n < sizeof junk; n += 13)
            cr_assert_neq(rig_input(&r, &c->at, junk, n), PH_DATA);
    }
    /* Every byte of a good record flipped in turn; then the record itself, twice. */
    cr_assert_eq(SSL_write(c->ssl, "good", 4), 4);
    cr_assert(wire_pop(&c->up, &g));
    bad = stats()->bad_record;
    for (uint32_t i = 13; i < g.len; i++) {
        g.b[i] ^= 1;
        cr_assert_eq(rig_input(&r, &c->at, g.b, g.len), PH_DROP);
        g.b[i] ^= 1;
    }
    cr_assert_eq(stats()->bad_record, bad + g.len - 13);
    cr_assert_eq(rig_input(&r, &c->at, g.b, g.len), PH_DATA);
    cr_assert_eq(rig_input(&r, &c->at, g.b, g.len), PH_DROP, "replayed");
    cr_assert_str_eq(r.got, "good|");
    cr_assert_eq(stats()->now, 1);
    cr_assert_eq(r.n_ended, 0);
    rig_fini(&r);
}

Test(dtls, errors_that_others_left_are_not_taken_for_ours)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    struct rig_datagram g;
    cr_assert_eq(SSL_write(c->ssl, "x", 1), 1);
    cr_assert(wire_pop(&c->up, &g));
    g.b[g.len - 1] ^= 1;
    ERR_raise(ERR_LIB_EVP, 1);
    cr_assert_eq(rig_input(&r, &c->at, g.b, g.len), PH_DROP);
    cr_assert_eq(stats()->now, 1);
    rig_fini(&r);
}

Test(dtls, a_client_at_another_listener_is_another_client)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    struct rig_datagram g;
    cr_assert_eq(SSL_write(c->ssl, "x", 1), 1);
    cr_assert(wire_pop(&c->up, &g));
    struct ph_pkt p = {.src = c->at, .sock = RIG_LISTENER + 1, .b = {g.b, g.len, 0, g.len}};
    cr_assert_eq(ph_dtls_input(r.d, &p, r.now), PH_DROP);
    rig_fini(&r);
}

/* ---- the end of sessions --------------------------------------------------------------------------- */

Test(dtls, a_full_table_refuses_until_somebody_leaves)
{
    rig_init(&r, &(struct ph_dtls_conf){.max_sessions = 2});
    rig_connect(&r, 0);
    struct rig_client *b = rig_connect(&r, 1);
    rig_client_ms = RIG_SOON_MS;
    struct rig_client *c = rig_client(&r, 2);
    cr_assert_not(rig_shake(&r, c));
    cr_assert_geq(stats()->refused_full, 1); /* and once more if it sent its hello again */
    cr_assert_eq(stats()->now, 2);
    rig_say(&r, b, "x");
    ph_dtls_close(r.d, r.conn);
    cr_assert_eq(stats()->now, 1);
    nap_ms(RIG_SOON_MS);
    DTLSv1_handle_timeout(c->ssl);
    cr_assert(rig_shake(&r, c));
    cr_assert_eq(stats()->now, 2);
    rig_fini(&r);
}

/* Nobody needs credentials for a session: without a bound for each, one address could have them all. */
Test(dtls, an_address_has_so_many_sessions_and_no_more)
{
    rig_init(&r, &(struct ph_dtls_conf){.max_per_addr = 1});
    struct rig_client *a = rig_connect(&r, 0);
    rig_say(&r, a, "x");
    const uint32_t first = r.conn;
    rig_client_ms = RIG_SOON_MS;
    struct rig_client *same = rig_client(&r, 1);
    same->at = a->at;
    same->at.port++;
    cr_assert_not(rig_shake(&r, same));
    cr_assert_geq(stats()->refused_source, 1); /* and once more if it sent its hello again */
    cr_assert_eq(stats()->now, 1);
    rig_connect(&r, 2); /* from another address */
    cr_assert_eq(stats()->now, 2);
    rig_connect(&r, 0); /* begins anew: its old session makes way */
    cr_assert_eq(stats()->now, 2);
    cr_assert_eq(r.ended_conn, first);
    rig_say(&r, &r.c[0], "x");
    ph_dtls_close(r.d, r.conn);
    nap_ms(RIG_SOON_MS);
    DTLSv1_handle_timeout(same->ssl);
    cr_assert(rig_shake(&r, same));
    cr_assert_eq(stats()->now, 2);
    rig_fini(&r);
}

Test(dtls, a_handshake_that_stops_is_given_up)
{
    rig_init(&r, &(struct ph_dtls_conf){.handshake_timeout = PH_SEC(15)});
    struct rig_client *c = rig_client(&r, 0);
    SSL_do_handshake(c->ssl);
    rig_up(&r, c);
    SSL_do_handshake(c->ssl);
    rig_up(&r, c);
    ERR_clear_error();
    cr_assert_eq(stats()->now, 1);
    r.now += PH_SEC(15) - 1;
    ph_dtls_tick(r.d, r.now);
    cr_assert_eq(stats()->now, 1);
    cr_assert_leq(ph_dtls_deadline(r.d), r.now + 1);
    r.now += 1;
    ph_dtls_tick(r.d, r.now);
    cr_assert_eq(stats()->now, 0);
    cr_assert_eq(stats()->timed_out, 1);
    cr_assert_eq(r.n_ended, 0, "the owner had not heard of it");
    cr_assert_eq(ph_dtls_deadline(r.d), PH_NEVER);
    rig_fini(&r);
}

Test(dtls, an_idle_session_ends_unless_kept)
{
    rig_init(&r, &(struct ph_dtls_conf){.idle_timeout = PH_SEC(60)});
    struct rig_client *a = rig_connect(&r, 0), *b = rig_connect(&r, 1);
    rig_say(&r, b, "b");
    uint32_t kept = r.conn;
    ph_dtls_keep(r.d, kept, true);
    r.now += PH_SEC(30);
    rig_say(&r, a, "a");
    uint32_t other = r.conn;
    r.now += PH_SEC(30);
    ph_dtls_tick(r.d, r.now);
    cr_assert_eq(stats()->now, 2, "a said something 30 s ago");
    r.now += PH_SEC(30);
    cr_assert_leq(ph_dtls_deadline(r.d), r.now);
    ph_dtls_tick(r.d, r.now);
    cr_assert_eq(stats()->now, 1);
    cr_assert_eq(r.n_ended, 1);
    cr_assert_eq(r.ended_conn, other);
    cr_assert_eq(r.ended_client.proto, PH_DTLS);
    cr_assert(ph_addr_eq_endpoint(&r.ended_client, &a->at));
    cr_assert_str_eq(rig_hear(a), "");
    cr_assert_eq(SSL_get_shutdown(a->ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);

    r.now += PH_SEC(600);
    ph_dtls_tick(r.d, r.now);
    rig_say(&r, b, "still");
    cr_assert_eq(r.conn, kept);
    ph_dtls_keep(r.d, kept, false);
    r.now += PH_SEC(120);
    ph_dtls_tick(r.d, r.now);
    cr_assert_eq(stats()->now, 0);
    cr_assert_eq(stats()->timed_out, 2);
    rig_fini(&r);
}

Test(dtls, close_notify_ends_the_session)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    rig_say(&r, c, "x");
    uint32_t conn = r.conn;
    SSL_shutdown(c->ssl);
    rig_up(&r, c);
    cr_assert_eq(stats()->closed, 1);
    cr_assert_eq(stats()->now, 0);
    cr_assert_eq(r.n_ended, 1);
    cr_assert_eq(r.ended_conn, conn);
    cr_assert_eq(SSL_shutdown(c->ssl), 1, "it has been answered");
    cr_assert_eq(rig_tell(&r, conn, "gone", c), PH_DROP);
    cr_assert_null(ph_dtls_ssl(r.d, conn));
    rig_fini(&r);
}

Test(dtls, our_close_notify_reaches_the_client)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    rig_say(&r, c, "x");
    ph_dtls_close(r.d, r.conn);
    cr_assert_eq(r.n_ended, 0, "it knows");
    cr_assert_str_eq(rig_hear(c), "");
    cr_assert_eq(SSL_get_shutdown(c->ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    ph_dtls_close(r.d, r.conn);
    ph_dtls_keep(r.d, r.conn, true);
    rig_fini(&r);
}

Test(dtls, a_number_does_not_come_again_soon)
{
    uint32_t seen[20];
    rig_init(&r, &(struct ph_dtls_conf){.max_sessions = 1});
    for (unsigned i = 0; i < 20; i++) {
        rig_say(&r, rig_connect(&r, 0), "x");
        seen[i] = r.conn;
        for (unsigned k = 0; k < i; k++)
            cr_assert_neq(seen[k], r.conn);
        ph_dtls_close(r.d, r.conn);
    }
    rig_fini(&r);
}

Test(dtls, a_restarted_client_must_return_the_cookie_before_its_old_session_ends)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_connect(&r, 0);
    rig_say(&r, c, "old");
    uint32_t old = r.conn;
    struct rig_datagram g = first_hello(0); /* from the same address */
    cr_assert_eq(rig_input(&r, &r.c[0].at, g.b, g.len), PH_CONSUMED);
    cr_assert_eq(r.n_ended, 0);
    cr_assert_not_null(ph_dtls_ssl(r.d, old), "anybody could have sent it");
    cr_assert_eq(stats()->now, 1);
    cr_assert(rig_shake(&r, c));
    cr_assert_eq(r.n_ended, 1);
    cr_assert_eq(r.ended_conn, old);
    cr_assert_eq(stats()->now, 1);
    cr_assert_eq(stats()->closed, 1);
    rig_say(&r, c, "new");
    cr_assert_neq(r.conn, old);
    cr_assert_eq(rig_tell(&r, old, "x", c), PH_DROP);
    rig_fini(&r);
}

Test(dtls, a_hello_sent_again_does_not_end_the_session_it_began)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_client(&r, 0);
    struct rig_datagram hello[2];
    for (unsigned i = 0; i < 2; i++) {
        SSL_do_handshake(c->ssl);
        cr_assert(wire_pop(&c->up, &hello[i]));
        rig_input(&r, &c->at, hello[i].b, hello[i].len);
    }
    rig_input(&r, &c->at, hello[1].b, hello[1].len); /* while it shakes hands */
    cr_assert(rig_shake(&r, c));
    rig_input(&r, &c->at, hello[1].b, hello[1].len); /* and after */
    rig_input(&r, &c->at, hello[0].b, hello[0].len);
    cr_assert_eq(stats()->handshakes, 1);
    cr_assert_eq(r.n_ended, 0);
    rig_say(&r, c, "same");
    cr_assert_str_eq(r.got, "same|");
    rig_fini(&r);
}

Test(dtls, a_handshake_that_cannot_succeed_fails)
{
    rig_init(&r, NULL);
    struct rig_client *c = rig_client(&r, 0);
    SSL_set_cipher_list(c->ssl, "AES128-SHA"); /* RSA: our key is none */
    cr_assert_not(rig_shake(&r, c));
    cr_assert_eq(stats()->failed, 1);
    cr_assert_eq(stats()->now, 0);
    cr_assert_eq(r.n_ended, 0);
    rig_fini(&r);
}

/* ---- certificates and memory ----------------------------------------------------------------------- */

Test(dtls, new_sessions_use_new_certificates_and_old_ones_go_on)
{
    char name[64], why[PH_TLS_WHY];
    rig_init(&r, NULL);
    struct rig_client *a = rig_connect(&r, 0);
    rig_say(&r, a, "a");
    uint32_t conn = r.conn;
    struct kit_cert next = kit_cert(r.dir, "next.example", "DNS:next.example", NULL);
    struct ph_tls_conf conf = {.cert = {{.cert = next.cert, .key = next.key}}, .n_certs = 1};
    struct ph_tls *t = ph_tls_new(&conf, &r.env, why);
    cr_assert_not_null(t, "%s", why);
    ph_dtls_set_tls(r.d, t);
    ph_tls_unref(t);
    kit_peer_name(rig_connect(&r, 1)->ssl, name, sizeof name);
    cr_assert_str_eq(name, "next.example");
    kit_peer_name(a->ssl, name, sizeof name);
    cr_assert_str_eq(name, "turn.example");
    rig_say(&r, a, "b");
    cr_assert_eq(r.conn, conn);
    cr_assert_eq(rig_tell(&r, conn, "c", a), PH_SEND);
    cr_assert_str_eq(rig_hear(a), "c");
    kit_cert_free(&next);
    rig_fini(&r);
}

Test(dtls, sessions_give_their_buffers_back_and_work_without)
{
    rig_init(&r, &(struct ph_dtls_conf){.idle_timeout = PH_SEC(60)});
    struct rig_client *c[3];
    uint32_t conn[3];
    for (unsigned i = 0; i < 3; i++) {
        c[i] = rig_connect(&r, i);
        rig_say(&r, c[i], "x");
        conn[i] = r.conn;
        ph_dtls_keep(r.d, conn[i], true);
    }
    r.got[0] = 0;
    for (unsigned round = 0; round < 3; round++) {
        r.now += PH_SEC(200);
        ph_dtls_tick(r.d, r.now); /* all are cold now: first seal, then open */
        for (unsigned i = 0; i < 3; i++) {
            cr_assert_eq(ph__dtls_by_conn(r.d, conn[i])->warm_at, 0);
            cr_assert_eq(rig_tell(&r, conn[i], "hi", c[i]), PH_SEND);
            cr_assert_str_eq(rig_hear(c[i]), "hi");
            cr_assert_neq(ph__dtls_by_conn(r.d, conn[i])->warm_at, 0);
        }
        r.now += PH_SEC(200);
        ph_dtls_tick(r.d, r.now);
        for (unsigned i = 0; i < 3; i++)
            rig_say(&r, c[i], "y");
    }
    cr_assert_str_eq(r.got, "y|y|y|y|y|y|y|y|y|");
    rig_fini(&r);
}

Test(dtls, more_sessions_than_buffers)
{
    enum { MANY = PH__DTLS_WARM + 20 };
    static SSL *ssl[MANY];
    static struct ph_addr at[MANY];
    rig_init(&r, NULL);
    /* One client after the other takes the place of client 0, each at a port of its own. */
    for (unsigned i = 0; i < MANY; i++) {
        struct rig_client *c = rig_client(&r, 0);
        c->at.port = (uint16_t)(6000 + i);
        cr_assert(rig_shake(&r, c));
        ssl[i] = c->ssl;
        at[i] = c->at;
        c->ssl = NULL;
    }
    unsigned warm = 0;
    for (uint32_t i = 0; i < r.d->n; i++)
        warm += r.d->s[i].warm_at != 0;
    cr_assert_eq(warm, PH__DTLS_WARM);
    for (unsigned i = 0; i < MANY; i++) {
        r.c[0].ssl = ssl[i];
        r.c[0].at = at[i];
        r.got[0] = 0;
        rig_say(&r, &r.c[0], "ping");
        cr_assert_str_eq(r.got, "ping|");
        cr_assert_eq(rig_tell(&r, r.conn, "pong", &r.c[0]), PH_SEND);
        cr_assert_str_eq(rig_hear(&r.c[0]), "pong");
        SSL_free(ssl[i]);
        r.c[0].ssl = NULL;
    }
    rig_fini(&r);
}

Test(dtls, survives_a_lack_of_memory)
{
    if (!oom_works())
        return;
    rig_init(&r, NULL);
    rig_client(&r, 0); /* its queues, while there is memory */
    ph_dtls_free(r.d);
    struct ph_dtls_conf c = {.env = &r.env, .tls = r.tls, .send = rig_send, .ctx = &r};
    for (unsigned n = 1; n < 50; n++) {
        oom_fail_at(n);
        r.d = ph_dtls_new(&c);
        if (r.d) {
            struct rig_client *k = rig_client(&r, 0);
            bool through = rig_shake(&r, k);
            if (!oom_disarm()) {
                cr_assert(through);
                break;
            }
            ph_dtls_free(r.d);
        }
        oom_disarm();
    }
    cr_assert_not_null(r.d);
    rig_fini(&r);
}
