/*
 * Attacks that other servers have fallen for, as far as the core alone can show them off.  What is covered by the tests of a
 * module is not repeated here: SECURITY.md has the list of all.
 */
#include "support/oom.h"
#include "turn/rig.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char client_text[] = "203.0.113.9:40000";

/* --- whom a relay must not reach ------------------------------------------------------------------- */

/* Both ends of each range, and every spelling of an IPv4 address inside IPv6 that a system might take for it.  Without
 * ports: they do not matter. */
static const char *const forbidden[] = {
    "0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0",
    "100.127.255.255", "127.0.0.0", "127.0.0.1", "127.0.0.8", "127.255.255.254", "127.255.255.255",
    "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255",
    "192.0.0.0", "192.0.0.255", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255",
    "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.254", "255.255.255.255",
    /* IPv6 itself */
    "::", "::1", "100::1", "fc00::", "fd00:ec2::254", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::1", "febf:ffff::1", "fec0::1", "feff::1", "ff00::", "ff02::1", "ffff::1",
    /* IPv4 inside: mapped, compatible, translated, 6to4, NAT64, Teredo, ISATAP */
    "::ffff:0.0.0.0", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::127.0.0.1", "::10.0.0.1", "::ffff:0:127.0.0.1", "::ffff:0:10.0.0.1",
    "2002:7f00:1::", "2002:7f00:1::1", "2002:a00:1::", "2002:a9fe:a9fe::1", "64:ff9b::7f00:1",
    "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::", "64:ff9b:1::1",
    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "2001::1", "2001:0:7f00:1:8000:63bf:3fff:fdd2",
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8:7::5efe:a00:1"};

/* What lies beside them. */
static const char *const allowed[] = {
    "1.0.0.0",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255",  "100.128.0.0",
    "126.255.255.255", "128.0.0.0",       "169.253.255.255", "169.255.0.0",     "172.15.255.255",
    "172.32.0.0",      "192.0.1.0",       "192.167.255.255", "192.169.0.0",     "198.17.255.255",
    "198.20.0.0",      "223.255.255.255", "::ffff:8.8.8.8",  "2002:808:808::1", "64:ff9b::808:808",
    "64:ff9c::1",      "2606:4700::1",    "2001:db8:7::7"};

/* A client with a UDP relay for each family, and two with TCP relays. */
struct scene {
    struct rig *r;
    struct ph_addr udp, tcp[2];
    uint32_t udp_sock[2], tcp_sock[2];
};

static void allocate_tcp(struct rig *r, const struct ph_addr *c, uint8_t family)
{
    rig_challenge(r, c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_TCP);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_ADDRESS_FAMILY, family);
    rig_send_signed(r, c);
    cr_assert_eq(rig_code(r), 0);
}

static void scene_open(struct scene *s)
{
    struct rig *r = rig_new();

    r->c.live.forbidden[0] = rig_addr("192.0.2.200:6379"); /* Redis */
    r->c.live.forbidden[1] = rig_addr("0.0.0.0:9641");     /* metrics, on all addresses */
    r->c.live.n_forbidden = 2;
    rig_start(r);
    *s = (struct scene){.r = r,
                        .udp = rig_addr(client_text),
                        .tcp = {rig_addr_on("203.0.113.9:40001", PH_TCP),
                                rig_addr_on("203.0.113.9:40002", PH_TCP)}};
    cr_assert_eq(rig_allocate_with(r, &s->udp, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    memcpy(s->udp_sock, r->opened_sock, sizeof s->udp_sock);
    allocate_tcp(r, &s->tcp[0], PH_AF_INET);
    s->tcp_sock[0] = r->opened_sock[0];
    allocate_tcp(r, &s->tcp[1], PH_AF_INET6);
    s->tcp_sock[1] = r->opened_sock[1];
}

static int connect_to(struct rig *r, const struct ph_addr *c, const char *peer)
{
    struct ph_addr a = rig_addr(peer);

    rig_begin(r, PH_CONNECT);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &a);
    rig_send_signed(r, c);
    return rig_code(r);
}

/* The peer sends a datagram to the relay. */
static int datagram_from(struct scene *s, const char *peer)
{
    struct ph_addr a = rig_addr(peer);

    return rig_input(s->r, s->udp_sock[a.family == PH_AF_INET6], &a, "x", 1);
}

/* The peer connects to the relay. */
static int connection_from(struct scene *s, const char *peer)
{
    struct ph_addr a = rig_addr(peer);
    uint32_t id;
    int err;

    a.proto = PH_TCP;
    err = ph_turnd_peer_accepted(s->r->d, s->tcp_sock[a.family == PH_AF_INET6], &a, &id, s->r->now);
    rig_take(s->r);
    return err;
}

/* Every way there is: two requests and a packet over UDP, two requests over TCP, and the peer coming by itself. */
static void expect_forbidden(struct scene *s, const char *peer)
{
    struct rig *r = s->r;
    struct ph_addr a = rig_addr(peer);
    const struct ph_addr *tcp = &s->tcp[a.family == PH_AF_INET6];

    cr_expect_eq(rig_permit(r, &s->udp, peer), 403, "CreatePermission %s", peer);
    cr_expect_eq(rig_bind(r, &s->udp, 0x4001, peer), 403, "ChannelBind %s", peer);
    cr_expect_eq(rig_indicate(r, &s->udp, peer, "x", 1), PH_DROP, "Send %s", peer);
    cr_expect_eq(rig_channel(r, &s->udp, 0x4001, "x", 1), PH_DROP, "ChannelData %s", peer);
    cr_expect_eq(datagram_from(s, peer), PH_DROP, "datagram from %s", peer);
    cr_expect_eq(connect_to(r, tcp, peer), 403, "Connect %s", peer);
    cr_expect_eq(rig_permit(r, tcp, peer), 403, "CreatePermission for TCP %s", peer);
    cr_expect_eq(connection_from(s, peer), PH_E_FORBIDDEN, "connection from %s", peer);
}

static void expect_allowed(struct scene *s, const char *peer, uint16_t number)
{
    struct rig *r = s->r;
    struct ph_addr a = rig_addr(peer);
    const struct ph_addr *tcp = &s->tcp[a.family == PH_AF_INET6];

    cr_expect_eq(rig_permit(r, &s->udp, peer), 0, "CreatePermission %s", peer);
    cr_expect_eq(rig_indicate(r, &s->udp, peer, "x", 1), PH_SEND, "Send %s", peer);
    cr_expect_eq(rig_bind(r, &s->udp, number, peer), 0, "ChannelBind %s", peer);
    cr_expect_eq(rig_channel(r, &s->udp, number, "x", 1), PH_SEND, "ChannelData %s", peer);
    cr_expect_eq(datagram_from(s, peer), PH_SEND, "datagram from %s", peer);
    cr_expect_eq(connect_to(r, tcp, peer), 0, "Connect %s", peer);
    cr_expect_eq(rig_permit(r, tcp, peer), 0, "CreatePermission for TCP %s", peer);
}

static const char *with_port(char dst[static PH_ADDR_TEXT], const char *ip)
{
    snprintf(dst, PH_ADDR_TEXT, strchr(ip, ':') ? "[%s]:80" : "%s:80", ip);
    return dst;
}

Test(turn_attacks, forbidden_peers_are_out_of_reach_by_every_way)
{
    struct scene s;
    char text[PH_ADDR_TEXT];

    scene_open(&s);
    for (size_t i = 0; i < COUNT(forbidden); i++)
        expect_forbidden(&s, with_port(text, forbidden[i]));
    cr_expect_eq(s.r->connects, 0);
    cr_expect_eq(ph_turnd_stats(s.r->d)->to_peer_packets, 0);
    cr_expect_eq(ph_turnd_stats(s.r->d)->to_client_packets, 0);
    for (size_t i = 0; i < COUNT(allowed); i++)
        expect_allowed(&s, with_port(text, allowed[i]), (uint16_t)(0x4000 + i));
    rig_free(s.r);
}

Test(turn_attacks, what_listens_on_this_server_is_out_of_reach_by_every_way)
{
    static const char *const own[] = {
        "198.51.100.1:3478",          "[2001:db8::1]:3478",         "198.51.100.1:5349",
        "[::ffff:198.51.100.1]:3478", "[64:ff9b::c633:6401]:3478",  "[2002:c633:6401::1]:3478",
        "192.0.2.200:6379",           "[::ffff:192.0.2.200]:6379",  "198.51.100.1:9641",
        "[2001:db8::1]:9641",         "[::ffff:198.51.100.1]:9641",
    };
    struct scene s;

    scene_open(&s);
    for (size_t i = 0; i < COUNT(own); i++)
        expect_forbidden(&s, own[i]);
    cr_expect_eq(s.r->connects, 0);
    cr_expect_eq(ph_turnd_stats(s.r->d)->to_peer_packets, 0);
    rig_free(s.r);
}

/* coturn puts the private side of external-ip=PUBLIC/PRIVATE on its list of allowed peers. */
Test(turn_attacks, an_external_address_opens_no_private_one)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->c.listener[0].at = rig_addr("10.0.0.1:3478");
    r->c.relay[0].at = rig_addr("10.0.0.1");
    r->c.relay[0].external = rig_addr("192.0.2.1");
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(rig_permit(r, &c, "10.0.0.1:80"), 403);
    cr_expect_eq(rig_permit(r, &c, "10.0.0.2:80"), 403);
    cr_expect_eq(rig_bind(r, &c, 0x4000, "192.0.2.1:3478"), 403,
                 "the listener, by its public name");
    cr_expect_eq(rig_permit(r, &c, "192.0.2.2:80"), 0);
    rig_free(r);
}

/* --- what an answer must not tell ------------------------------------------------------------------ */

/* Checks that what pads the values of the last answer is zero.  Returns how many bytes there were. */
static unsigned padding(const struct rig *r)
{
    const uint8_t *p = ph_buf_data(&r->pkt.b);
    unsigned pads = 0;

    cr_assert(r->has_out);
    for (uint32_t at = PH_STUN_HEADER; at + 4 <= r->pkt.b.len;) {
        uint32_t n = (uint32_t)p[at + 2] << 8 | p[at + 3];
        for (at += 4 + n; at & 3; at++, pads++) {
            cr_assert_lt(at, r->pkt.b.len);
            cr_expect_eq(p[at], 0, "method %x, byte %u", r->out.method, at);
        }
    }
    return pads;
}

/* Makes sure that whatever an answer leaves unwritten shows. */
static void poison(struct rig *r)
{
    memset(r->buf, 0xEE, sizeof r->buf);
}

static unsigned padding_of_errors(struct rig *r, struct ph_addr *c)
{
    static const uint16_t unknown[] = {0x7F00, 0x7F01, 0x7F02};
    struct ph_addr bad = rig_addr("198.51.100.77:1");
    unsigned pads = 0;

    poison(r);
    rig_permit(r, c, "127.0.0.1:9");
    cr_expect_eq(rig_code(r), 403);
    pads += padding(r);
    poison(r);
    rig_bind(r, c, 0x3000, "192.0.2.1:9");
    cr_expect_eq(rig_code(r), 400);
    pads += padding(r);
    for (unsigned n = 1; n <= 3; n++) {
        poison(r);
        rig_begin(r, PH_REFRESH);
        for (unsigned i = 0; i < n; i++)
            ph_msgw_raw(&r->w, unknown[i], (struct ph_slice){(const uint8_t *)"abc", n});
        rig_send_signed(r, c);
        cr_expect_eq(rig_code(r), 420);
        pads += padding(r);
    }
    poison(r);
    rig_refresh(r, &bad, 600);
    cr_expect_eq(rig_code(r), 438, "a nonce of another address");
    pads += padding(r);
    return pads;
}

Test(turn_attacks, padding_tells_nothing_of_the_memory_before)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text), peer = rig_addr("192.0.2.5:9");
    static const char data[] = "eight by";
    unsigned pads = 0;

    r->c.software = "Pinhole";
    r->c.long_reasons = true;
    r->c.always_fingerprint = true;
    r->c.mobility = true;
    rig_start(r);
    poison(r);
    rig_challenge(r, &c);
    pads += padding(r);
    poison(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    pads += padding(r);
    pads += padding_of_errors(r, &c);
    cr_assert_eq(rig_permit(r, &c, "192.0.2.5:9"), 0);
    pads += padding(r);
    for (size_t n = 1; n < sizeof data; n++) {
        poison(r);
        cr_assert_eq(rig_peer(r, "192.0.2.5:9", data, n), PH_SEND);
        cr_expect_eq(padding(r), -n & 3);
    }
    poison(r);
    r->pkt.b = (struct ph_buf){r->buf, sizeof r->buf, PH_HEADROOM, 0};
    r->verdict = ph_turnd_icmp(r->d, r->opened_sock[0], &peer, 3, 1, 0, &r->pkt, r->now);
    rig_result(r);
    padding(r);
    poison(r);
    rig_begin(r, PH_BINDING);
    rig_send(r, &c);
    cr_expect_eq(rig_code(r), 0);
    pads += padding(r);
    cr_expect_gt(pads, 8, "or this shows nothing");
    rig_free(r);
}

/* rig_sign with USERHASH in the place of USERNAME. */
static void sign_by_hash(struct rig *r)
{
    uint8_t hash[PH_SHA256_LEN];
    struct ph_key key;

    ph_userhash(hash, ph_str(r->user), ph_str(rig_realm));
    ph_key_long_term(&key, PH_ALG_MD5, ph_str(r->user), ph_str(rig_realm), ph_str(r->pass));
    ph_msgw_bytes(&r->w, PH_ATTR_USERHASH, (struct ph_slice){hash, sizeof hash});
    ph_msgw_bytes(&r->w, PH_ATTR_REALM, ph_str(rig_realm));
    ph_msgw_bytes(&r->w, PH_ATTR_NONCE, (struct ph_slice){(uint8_t *)r->nonce, r->nonce_n});
    ph_msgw_integrity(&r->w, ph_key_slice(&key));
}

/* What it takes to refuse an Allocate, in nanoseconds of this process.  The request is so long that hashing it is nearly all of
 * it: who is refused without that is refused in a tenth of the time. */
static long refusing_takes(struct rig *r, struct ph_addr *c, const char *user, bool by_hash)
{
    static uint8_t request[65000], filling[60000];
    struct timespec from, to;
    long least = LONG_MAX;

    r->user = user;
    for (int i = 0; i < 20; i++) {
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_begin(&r->w, request, sizeof request, PH_ALLOCATE, PH_REQUEST, r->req + 8);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        ph_msgw_raw(&r->w, 0xFFFE, (struct ph_slice){filling, sizeof filling});
        if (by_hash)
            sign_by_hash(r);
        else
            rig_sign(r);
        int n = ph_msgw_end(&r->w);
        cr_assert_gt(n, 0);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        rig_input(r, 0, c, request, (size_t)n);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        cr_assert_eq(rig_code(r), 401);
        long took = (to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec;
        least = took < least ? took : least;
    }
    return least;
}

Test(turn_attacks, unknown_names_take_as_long_as_wrong_passwords)
{
    static const char *const unknown[] = {"mallory", "1800000600:mallory", "1700000000:mallory"};

    for (int secrets = 0; secrets < 2; secrets++) {
        struct rig *r = rig_new();
        struct ph_addr c = rig_addr(client_text);
        if (secrets)
            ph_auth_add_secret(r->auth, ph_str("logen"));
        rig_start(r);
        rig_challenge(r, &c);
        r->pass = "wrong";
        long known = refusing_takes(r, &c, "alice", false);
        for (size_t i = 0; i < COUNT(unknown); i++) {
            long takes = refusing_takes(r, &c, unknown[i], false);
            cr_expect_gt(takes, known / 2, "%s: %ld ns, not %ld", unknown[i], takes, known);
        }
        long hidden = refusing_takes(r, &c, "mallory", true);
        cr_expect_gt(hidden, known / 2, "an unknown hash: %ld ns, not %ld", hidden, known);
        rig_free(r);
    }
}

/* --- what strangers must not cost ------------------------------------------------------------------ */

static void stranger_signed(struct rig *r, struct ph_addr *c, uint16_t method)
{
    struct ph_addr peer = rig_addr("192.0.2.5:9");
    static const uint8_t junk[64] = {0, 12, 1, 2, 3};

    rig_begin(r, method);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    if (method == PH_REFRESH)
        ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){junk, PH_TICKET_LEN});
    else if (method == PH_CONNECTION_BIND)
        ph_msgw_uint(&r->w, PH_ATTR_CONNECTION_ID, 1);
    else if (method == PH_ALLOCATE)
        ph_msgw_bytes(&r->w, PH_ATTR_ACCESS_TOKEN, (struct ph_slice){junk, sizeof junk});
    else
        ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    rig_send_signed(r, c);
}

/* One of everything that somebody without a password can send. */
static void stranger(struct rig *r, struct ph_addr *c)
{
    static const uint16_t methods[] = {PH_ALLOCATE,     PH_REFRESH, PH_CREATE_PERMISSION,
                                       PH_CHANNEL_BIND, PH_CONNECT, PH_CONNECTION_BIND};

    for (size_t i = 0; i < COUNT(methods); i++) {
        rig_begin(r, methods[i]);
        rig_send(r, c);
        if (rig_code(r) == 401)
            rig_take_nonce(r);
        stranger_signed(r, c, methods[i]); /* with a nonce of his own, if he was given one */
        c->ip[2] ^= 1;
        stranger_signed(r, c, methods[i]); /* with one of somebody else */
        c->ip[2] ^= 1;
    }
    rig_begin(r, PH_BINDING);
    rig_send(r, c);
    rig_indicate(r, c, "192.0.2.5:9", "x", 1);
    rig_channel(r, c, 0x4001, "x", 1);
    rig_input(r, rig_listener(c), c, "\xff\xff garbage", 10);
}

Test(turn_attacks, floods_of_strangers_allocate_no_memory)
{
    static const uint8_t protos[] = {PH_UDP, PH_TCP, PH_TLS, PH_DTLS};
    static const struct ph_oauth_key key = {.kid = "mallory", .key_len = 32};
    struct rig *r = rig_new();
    uint32_t x = 1;

    if (!oom_works())
        cr_skip_test("shared libraries: allocations cannot be seen");
    r->c.mobility = true;
    r->c.oauth_server = "turn.example.org";
    r->c.live.oauth = &key;
    r->c.live.n_oauth = 1;
    r->budget = ph_budget_new(&(struct ph_budget_conf){0}, &r->env);
    rig_start(r);
    r->user = "mallory";
    oom_fail_at(1);
    for (int i = 0; i < 5000; i++) {
        x = x * 1664525 + 1013904223;
        uint8_t ip[4] = {(uint8_t)(1 + (x >> 24) % 223), (uint8_t)(x >> 16), (uint8_t)(x >> 8), 7};
        struct ph_addr c = ph_addr_v4(ip, (uint16_t)(1024 + i), protos[i & 3]);
        stranger(r, &c);
        r->now += PH_US(100);
    }
    cr_expect_not(oom_disarm(), "something was allocated");
    cr_expect_eq(ph_turnd_count(r->d), 0);
    cr_expect_eq(ph_turnd_deadline(r->d), PH_NEVER);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    cr_expect_gt(ph_turnd_stats(r->d)->unauthenticated, 5000);
    cr_expect_gt(ph_turnd_stats(r->d)->stale_nonce, 5000);
    rig_free(r);
}

/* --- ports ----------------------------------------------------------------------------------------- */

/* More rounds than there are ports, and none of them waits for a reservation to end. */
Test(turn_attacks, even_ports_of_a_small_range_do_not_leak)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    ph_ports_free(r->ports[0]);
    r->c.relay[0].ports = r->ports[0] = ph_ports_new(50000, 50099);
    rig_start(r);
    for (int i = 0; i < 20000; i++) {
        cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_EVEN_PORT, 0), 0, "%d", i);
        cr_assert_eq(ph_ports_used(r->ports[0]), 1);
        cr_assert_eq(rig_refresh(r, &c, 0), 0);
    }
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    rig_free(r);
}

/* A reservation outlives its allocation, so a quota does not bound them.  But what is held is an odd port each time, so even
 * who holds all of them leaves others half of the range, and after 30 s the rest. */
Test(turn_attacks, hoarded_reservations_leave_others_their_ports)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    int held = 0;

    ph_ports_free(r->ports[0]);
    r->c.relay[0].ports = r->ports[0] = ph_ports_new(50000, 50099);
    r->quota = ph_quota_new(0, 1, 0, &r->env);
    rig_start(r);
    for (; rig_allocate_with(r, &c, PH_ATTR_EVEN_PORT, 0x80) == 0; held++) {
        cr_assert_lt(held, 50);
        cr_assert_eq(rig_refresh(r, &c, 0), 0);
    }
    cr_expect_eq(rig_code(r), 508);
    cr_expect_eq(held, 50);
    cr_expect_eq(ph_quota_used(r->quota), 0);
    r->user = "bob";
    r->pass = "hidden";
    c.port++;
    cr_expect_eq(rig_allocate(r, &c), 0, "somebody else");
    cr_expect_eq(ph_ports_used(r->ports[0]), 51);
    rig_sleep(r, PH_SEC(30));
    cr_expect_eq(ph_ports_used(r->ports[0]), 1);
    rig_free(r);
}

/* --- loops ----------------------------------------------------------------------------------------- */

/* What comes to a relay goes to its client or nowhere.  If a relay answered STUN, two of them, or one and somebody's forged
 * packet, could talk to each other for ever. */
Test(turn_attacks, relays_answer_nobody)
{
    static const uint16_t methods[] = {PH_BINDING, PH_ALLOCATE, PH_REFRESH, PH_CONNECT};
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), peer = rig_addr("192.0.2.5:9");

    cr_assert_eq(rig_allocate(r, &c), 0);
    for (size_t i = 0; i < 2 * COUNT(methods); i++) {
        bool known = i >= COUNT(methods);
        if (i == COUNT(methods))
            cr_assert_eq(rig_bind(r, &c, 0x4001, "192.0.2.5:9"), 0);
        rig_begin(r, methods[i % COUNT(methods)]);
        int n = ph_msgw_end(&r->w);
        cr_assert_gt(n, 0);
        int verdict = rig_input(r, r->opened_sock[0], &peer, r->req, (size_t)n);
        cr_expect_eq(verdict, known ? PH_SEND : PH_DROP);
        cr_expect(verdict == PH_DROP || ph_addr_eq(&r->pkt.dst, &c), "to the client");
        cr_expect(verdict == PH_DROP || r->pkt.b.len == (uint32_t)n + 4, "and as it came");
    }
    rig_free(r);
}

Test(turn_attacks, an_allocation_that_is_its_own_peer_hears_itself_once)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), relay;
    char me[PH_ADDR_TEXT];

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay), 0);
    ph_addr_text(&relay, me);
    cr_assert_eq(rig_permit(r, &c, me), 0);
    cr_assert_eq(rig_indicate(r, &c, me, "round", 5), PH_SEND);
    cr_expect(ph_addr_eq_endpoint(&r->pkt.dst, &relay));
    relay.proto = PH_UDP;
    cr_assert_eq(rig_input(r, r->opened_sock[0], &relay, "round", 5), PH_SEND);
    cr_expect(ph_addr_eq(&r->pkt.dst, &c), "out to the client, not round again");
    cr_expect_eq(ph_turnd_stats(r->d)->to_peer_packets, 1);
    cr_expect_eq(ph_turnd_stats(r->d)->to_client_packets, 1);
    rig_free(r);
}

/* --- the parser ------------------------------------------------------------------------------------ */

/* Hands a packet in that begins n bytes behind an address that fits every type. */
static int input_at(struct rig *r, unsigned n, uint32_t sock, const struct ph_addr *src,
                    const void *p, size_t len)
{
    uint8_t *base = r->buf + n;

    memcpy(base + PH_HEADROOM, p, len);
    r->pkt = (struct ph_pkt){
        .b = {base, sizeof r->buf - n, PH_HEADROOM, (uint32_t)len}, .src = *src, .sock = sock};
    r->verdict = ph_turnd_input(r->d, &r->pkt, r->now);
    if (r->verdict == PH_CONSUMED)
        rig_drain(r);
    rig_result(r);
    return r->verdict;
}

static int signed_at(struct rig *r, unsigned n, const struct ph_addr *c)
{
    rig_sign(r);
    int len = ph_msgw_end(&r->w);
    cr_assert_gt(len, 0);
    input_at(r, n, 0, c, r->req, (size_t)len);
    return rig_code(r);
}

/* The undefined-behaviour sanitizer sees every load that wants an aligned address. */
Test(turn_attacks, packets_may_begin_at_any_address)
{
    struct rig *r = rig_default();
    struct ph_addr peer = rig_addr("192.0.2.5:9");

    for (unsigned n = 0; n < 8; n++) {
        struct ph_addr c = rig_addr(client_text);
        c.port = (uint16_t)(c.port + n);
        rig_challenge(r, &c);
        r->sha256 = n >= 4;
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 700);
        cr_assert_eq(signed_at(r, n, &c), 0, "offset %u", n);
        rig_begin(r, PH_CHANNEL_BIND);
        ph_msgw_uint(&r->w, PH_ATTR_CHANNEL_NUMBER, 0x4001);
        ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
        cr_assert_eq(signed_at(r, n, &c), 0, "offset %u", n);
        cr_expect_eq(input_at(r, n, 0, &c, "\x40\x01\x00\x02hi", 6), PH_SEND);
        cr_expect_eq(input_at(r, n, r->opened_sock[0], &peer, "hello", 5), PH_SEND);
        struct ph_addr other = rig_addr("192.0.2.5:10"); /* no channel: an indication */
        cr_expect_eq(input_at(r, n, r->opened_sock[0], &other, "hello", 5), PH_SEND);
        cr_expect(r->has_out);
    }
    rig_free(r);
}

/* Sums of lengths in 16 bits: a payload that is as long as a field can say, with a header to come in front of it. */
Test(turn_attacks, lengths_near_65535_do_not_wrap)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), bound = rig_addr("192.0.2.5:9"),
                   other = rig_addr("192.0.2.5:10");
    uint8_t *big = calloc(1, 65540);
    uint16_t len;

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_bind(r, &c, 0x4001, "192.0.2.5:9"), 0);
    for (uint32_t n = 65440; n <= 65535; n++) {
        if (rig_input(r, r->opened_sock[0], &bound, big, n) == PH_SEND) {
            cr_expect_eq(ph_chandata_parse(ph_buf_data(&r->pkt.b), r->pkt.b.len, &len), 0x4001);
            cr_expect_eq(len, n);
        }
        if (rig_input(r, r->opened_sock[0], &other, big, n) == PH_SEND)
            cr_expect(r->has_out, "%u bytes made no message", n);
        memcpy(big, "\x40\x01", 2);
        big[2] = (uint8_t)(n >> 8);
        big[3] = (uint8_t)n;
        cr_expect_eq(rig_input(r, 0, &c, big, n), PH_DROP, "it promises %u more bytes", n);
        cr_expect_eq(rig_input(r, 0, &c, big, n + 4), PH_SEND);
        cr_expect_eq(r->pkt.b.len, n);
        memset(big, 0, 4);
    }
    free(big);
    rig_free(r);
}
