/*
 * A server core on a virtual clock, and a hand that plays its clients, peers and shell.
 *
 * The rig answers RELAY_OPEN and PEER_CONNECT events at once (unless told not to), and keeps what came out last.
 * Requests are built with the codec: begin, add attributes, then send signed or bare.  A client's transport says by
 * which listener it comes; the number of its connection is its port.  A second core (another worker) can be had
 * beside the first: rig_other.
 */
#ifndef PH_TESTS_TURN_RIG_H
#define PH_TESTS_TURN_RIG_H

#include "stun/base/error.h"
#include "stun/codec/algs.h"
#include "stun/codec/base64.h"
#include "stun/codec/msgw.h"
#include "turn/chandata.h"
#include "turn/server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RIG_ROOM = 70000 };

struct rig {
    struct ph_env env;
    uint64_t seed;
    struct ph_acl *acl;
    struct ph_auth *auth;
    struct ph_ports *ports[4];
    struct ph_quota *quota;
    struct ph_reserve *reserve;
    struct ph_budget *budget;
    struct ph_stund stun;
    struct ph_turnd_conf c;
    struct ph_turnd *d;
    ph_ns now;

    int open_err;    /* what binding a relay answers */
    int fail_opens;  /* so many times first -EADDRINUSE */
    bool hold_opens; /* leave RELAY_OPEN unanswered; its socket is in held_sock */
    uint32_t held_sock;
    unsigned opens, closes, ups, downs;
    enum ph_turnd_reason reason;
    struct ph_addr opened_at; /* of the last RELAY_OPEN */
    uint32_t opened_sock[2];  /* of the last one per family */

    int connect_err;    /* what connecting to a peer answers */
    bool hold_connects; /* leave PEER_CONNECT unanswered */
    unsigned connects, splices, peer_closes, outputs;
    struct ph_turnd_ev connect, splice, peer_close; /* the last of each */
    struct ph_turnd_info down;     /* of the last ALLOC_DOWN; its slices are gone */
    unsigned refreshes, traffics;  /* with c.stats */
    uint32_t lifetime_s;           /* of the last ALLOC_REFRESHED */
    struct ph_turnd_usage traffic; /* of the last ALLOC_TRAFFIC or ALLOC_DOWN */

    struct ph_turnd *core[2]; /* see rig_other; d is one of them */
    uint8_t ticket[PH_TICKET_LEN];

    uint8_t buf[PH_HEADROOM + RIG_ROOM];
    struct ph_pkt pkt; /* the packet under way, and what came out */
    int verdict;
    struct ph_msg out; /* the answer, parsed, when it is STUN */
    bool has_out;

    char nonce[128];
    size_t nonce_n;
    const char *user, *pass, *realm; /* realm NULL: rig_realm */
    char rest_pass[64];
    bool sha256;
    struct ph_key key;
    bool own_key; /* sign with key as it stands */

    uint8_t req[4096]; /* a request being built */
    struct ph_msgw w;
    uint32_t txid;
};

static const char rig_realm[] = "example.org";

static inline void rig_rand(void *ctx, void *dst, size_t n)
{
    uint64_t *s = ctx;
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i++) {
        *s = *s * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(*s >> 56);
    }
}

static inline struct ph_addr rig_addr(const char *text)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0, "%s", text);
    a.proto = PH_UDP;
    return a;
}

/* The same on a connection. */
static inline struct ph_addr rig_addr_on(const char *text, uint8_t proto)
{
    struct ph_addr a = rig_addr(text);
    a.proto = proto;
    return a;
}

/* Fills in a configuration with one IPv4 and one IPv6 listener and relay, IPv4 listeners for TCP, TLS and DTLS, a user
 * and the defaults. */
static inline struct rig *rig_new(void)
{
    struct rig *r = calloc(1, sizeof *r);
    r->seed = 42;
    r->env = (struct ph_env){.rand = rig_rand, .ctx = &r->seed};
    r->now = PH_SEC(1000);
    r->acl = ph_acl_new();
    r->auth = ph_auth_new(rig_realm, &r->env);
    ph_auth_add_user(r->auth, ph_str("alice"), ph_str("secret"));
    ph_auth_add_user(r->auth, ph_str("bob"), ph_str("hidden"));
    r->user = "alice";
    r->pass = "secret";
    for (int i = 0; i < 4; i++)
        r->ports[i] = ph_ports_new(50000, 50999);
    r->reserve = ph_reserve_new();
    r->c = (struct ph_turnd_conf){
        .listener = {{.at = rig_addr("198.51.100.1:3478"), .stun = &r->stun},
                     {.at = rig_addr("[2001:db8::1]:3478"), .stun = &r->stun},
                     {.at = rig_addr_on("198.51.100.1:3478", PH_TCP), .stun = &r->stun},
                     {.at = rig_addr_on("198.51.100.1:5349", PH_TLS), .stun = &r->stun},
                     {.at = rig_addr_on("198.51.100.1:5349", PH_DTLS), .stun = &r->stun}},
        .n_listeners = 5,
        .relay = {{.at = rig_addr("198.51.100.1"), .ports = r->ports[0]},
                  {.at = rig_addr("2001:db8::1"), .ports = r->ports[1]}},
        .n_relays = 2,
        .live.acl = r->acl,
        .live.auth = r->auth,
        .reserve = r->reserve,
        .nonce = {.key = "0123456789abcdef0123456789abcde", .ttl_s = 600},
        .ticket_key = "0123456789ABCDEF0123456789ABCDE",
    };
    struct ph_stund_conf sc = {.at = {r->c.listener[0].at}};
    ph_stund_init(&r->stun, &sc);
    return r;
}

/* Makes the core of what stands in r->c. */
static inline void rig_start(struct rig *r)
{
    r->c.quota = r->quota;
    r->c.budget = r->budget;
    r->d = ph_turnd_new(&r->c, &r->env, r->now);
    cr_assert_not_null(r->d);
    r->core[0] = r->d;
    ph_turnd_wall_clock(r->d, 1800000000, r->now);
}

/* Goes on with the core of another worker, made when it is first asked for. */
static inline void rig_other(struct rig *r)
{
    unsigned i = r->d == r->core[0];
    if (!r->core[i]) {
        struct ph_turnd_conf c = r->c;
        c.worker = 1;
        c.quota = r->quota;
        c.budget = r->budget;
        r->core[i] = ph_turnd_new(&c, &r->env, r->now);
        cr_assert_not_null(r->core[i]);
        ph_turnd_wall_clock(r->core[i], 1800000000, r->now);
    }
    r->d = r->core[i];
}

static inline struct rig *rig_default(void)
{
    struct rig *r = rig_new();
    rig_start(r);
    return r;
}

static inline void rig_free(struct rig *r)
{
    ph_turnd_free(r->core[0]);
    ph_turnd_free(r->core[1]);
    for (int i = 0; i < 4; i++)
        ph_ports_free(r->ports[i]);
    ph_acl_free(r->acl);
    ph_auth_free(r->auth);
    ph_quota_free(r->quota);
    ph_reserve_free(r->reserve);
    ph_budget_free(r->budget);
    free(r);
}

static inline void rig_events(struct rig *r)
{
    struct ph_turnd_ev ev;

    while (ph_turnd_event(r->d, &ev)) {
        switch (ev.type) {
        case PH_TURND_RELAY_OPEN:
            r->opens++;
            r->opened_at = ev.at;
            r->opened_sock[ev.at.family == PH_AF_INET6] = ev.sock;
            r->held_sock = ev.sock;
            if (!r->hold_opens)
                ph_turnd_relay_opened(r->d, ev.sock,
                                      r->fail_opens-- > 0 ? -EADDRINUSE : r->open_err, r->now);
            break;
        case PH_TURND_RELAY_CLOSE:
            r->closes++;
            break;
        case PH_TURND_ALLOC_UP:
            r->ups++;
            break;
        case PH_TURND_ALLOC_DOWN:
            r->downs++;
            r->reason = ev.reason;
            r->down = ev.info;
            r->traffic = ev.traffic;
            break;
        case PH_TURND_ALLOC_REFRESHED:
            r->refreshes++;
            r->lifetime_s = ev.lifetime_s;
            break;
        case PH_TURND_ALLOC_TRAFFIC:
            r->traffics++;
            r->traffic = ev.traffic;
            break;
        case PH_TURND_PEER_CONNECT:
            r->connects++;
            r->connect = ev;
            if (!r->hold_connects)
                ph_turnd_peer_connected(r->d, ev.peer, r->connect_err, r->now);
            break;
        case PH_TURND_PEER_SPLICE:
            r->splices++;
            r->splice = ev;
            break;
        case PH_TURND_PEER_CLOSE:
            r->peer_closes++;
            r->peer_close = ev;
            break;
        }
    }
}

/* Drains outputs and events; the last output becomes the answer. */
static inline void rig_drain(struct rig *r)
{
    for (int i = 0; i < 4; i++) {
        r->pkt.b.off = PH_HEADROOM;
        for (; ph_turnd_output(r->d, &r->pkt, r->now); r->outputs++)
            r->verdict = PH_SEND;
        rig_events(r);
    }
}

static inline void rig_result(struct rig *r)
{
    const uint8_t *p = ph_buf_data(&r->pkt.b);
    r->has_out = r->verdict == PH_SEND && ph_msg_parse(&r->out, p, r->pkt.b.len) == 0;
}

/* The connection of a client: its port, 0 for UDP. */
static inline uint32_t rig_conn(const struct ph_addr *client)
{
    return client->proto == PH_UDP ? 0 : client->port;
}

/* Takes what waits in the core, after something other than a packet.  False: nothing was to be sent. */
static inline bool rig_take(struct rig *r)
{
    r->verdict = PH_CONSUMED;
    rig_drain(r);
    rig_result(r);
    return r->verdict == PH_SEND;
}

/* Hands a datagram to the core and takes what comes of it. */
static inline int rig_input(struct rig *r, uint32_t sock, const struct ph_addr *src, const void *p,
                            size_t n)
{
    memcpy(r->buf + PH_HEADROOM, p, n);
    r->pkt = (struct ph_pkt){.b = {r->buf, sizeof r->buf, PH_HEADROOM, (uint32_t)n},
                             .src = *src,
                             .sock = sock,
                             .conn = sock & PH_SOCK_RELAY ? 0 : rig_conn(src)};
    r->verdict = ph_turnd_input(r->d, &r->pkt, r->now);
    if (r->verdict == PH_CONSUMED)
        rig_drain(r);
    else
        rig_events(r);
    rig_result(r);
    return r->verdict;
}

/* Starts building a request. */
static inline struct ph_msgw *rig_begin(struct rig *r, uint16_t method)
{
    uint8_t id[PH_TXID_LEN] = {0};
    r->txid++;
    memcpy(id, &r->txid, sizeof r->txid);
    ph_msgw_begin(&r->w, r->req, sizeof r->req, method,
                  method == PH_SEND_METHOD ? PH_INDICATION : PH_REQUEST, id);
    return &r->w;
}

static inline uint32_t rig_listener(const struct ph_addr *client)
{
    switch (client->proto) {
    case PH_TCP:
        return 2;
    case PH_TLS:
        return 3;
    case PH_DTLS:
        return 4;
    default:
        return client->family == PH_AF_INET6;
    }
}

/* Sends what was built as it is. */
static inline int rig_send(struct rig *r, const struct ph_addr *client)
{
    int n = ph_msgw_end(&r->w);
    cr_assert_gt(n, 0);
    return rig_input(r, rig_listener(client), client, r->req, (size_t)n);
}

/* Signs what was built with the rig's user and nonce, without sending. */
static inline void rig_sign(struct rig *r)
{
    uint16_t alg = r->sha256 ? PH_ALG_SHA256 : PH_ALG_MD5;
    const char *realm = r->realm ? r->realm : rig_realm;
    if (!r->own_key)
        ph_key_long_term(&r->key, alg, ph_str(r->user), ph_str(realm), ph_str(r->pass));
    ph_msgw_bytes(&r->w, PH_ATTR_USERNAME, ph_str(r->user));
    ph_msgw_bytes(&r->w, PH_ATTR_REALM, ph_str(realm));
    ph_msgw_bytes(&r->w, PH_ATTR_NONCE, (struct ph_slice){(uint8_t *)r->nonce, r->nonce_n});
    if (r->sha256) {
        static const uint8_t list[] = {0, 2, 0, 0, 0, 1, 0, 0};
        struct ph_attr_value v = {.alg = {.number = PH_ALG_SHA256}};
        ph_msgw_bytes(&r->w, PH_ATTR_PASSWORD_ALGORITHMS, (struct ph_slice){list, sizeof list});
        ph_msgw_attr(&r->w, PH_ATTR_PASSWORD_ALGORITHM, &v);
        ph_msgw_integrity_sha256(&r->w, ph_key_slice(&r->key), 32);
    } else {
        ph_msgw_integrity(&r->w, ph_key_slice(&r->key));
    }
}

/* From now on a REST user. */
static inline void rig_rest(struct rig *r, const char *secret, const char *name)
{
    uint8_t mac[PH_SHA1_LEN];
    struct ph_slice s = ph_str(name);
    ph_hmac_sha1(mac, ph_str(secret), &s, 1);
    ph_base64(r->rest_pass, sizeof r->rest_pass, mac, sizeof mac);
    r->user = name;
    r->pass = r->rest_pass;
}

static inline int rig_send_signed(struct rig *r, const struct ph_addr *client)
{
    rig_sign(r);
    return rig_send(r, client);
}

/* The error code of the answer, 0 for success, -1 for none. */
static inline int rig_code(const struct rig *r)
{
    uint16_t code;
    if (!r->has_out)
        return -1;
    return ph_msg_error(&r->out, &code, NULL) == 0 ? code : 0;
}

static inline void rig_take_nonce(struct rig *r)
{
    struct ph_slice s;
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_NONCE, &s), 0);
    cr_assert_lt(s.n, sizeof r->nonce);
    memcpy(r->nonce, s.p, s.n);
    r->nonce_n = s.n;
}

/* Gets a nonce for a client with a bare Allocate. */
static inline void rig_challenge(struct rig *r, const struct ph_addr *client)
{
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send(r, client);
    cr_assert_eq(rig_code(r), 401);
    rig_take_nonce(r);
}

/* A whole allocation with one more attribute if attr is not 0.  Returns the code. */
static inline int rig_allocate_with(struct rig *r, const struct ph_addr *client, uint16_t attr,
                                    uint64_t value)
{
    if (r->c.live.auth)
        rig_challenge(r, client);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    if (attr)
        ph_msgw_uint(&r->w, attr, value);
    if (r->c.live.auth)
        rig_send_signed(r, client);
    else
        rig_send(r, client);
    return rig_code(r);
}

static inline int rig_allocate(struct rig *r, const struct ph_addr *client)
{
    return rig_allocate_with(r, client, 0, 0);
}

static inline int rig_permit(struct rig *r, const struct ph_addr *client, const char *peer)
{
    struct ph_addr a = rig_addr(peer);
    rig_begin(r, PH_CREATE_PERMISSION);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &a);
    rig_send_signed(r, client);
    return rig_code(r);
}

static inline int rig_bind(struct rig *r, const struct ph_addr *client, uint16_t channel,
                           const char *peer)
{
    struct ph_addr a = rig_addr(peer);
    rig_begin(r, PH_CHANNEL_BIND);
    ph_msgw_uint(&r->w, PH_ATTR_CHANNEL_NUMBER, channel);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &a);
    rig_send_signed(r, client);
    return rig_code(r);
}

static inline int rig_refresh(struct rig *r, const struct ph_addr *client, uint32_t lifetime)
{
    rig_begin(r, PH_REFRESH);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, lifetime);
    rig_send_signed(r, client);
    return rig_code(r);
}

/* A Send indication. */
static inline int rig_indicate(struct rig *r, const struct ph_addr *client, const char *peer,
                               const void *data, size_t n)
{
    struct ph_addr a = rig_addr(peer);
    rig_begin(r, PH_SEND_METHOD);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &a);
    ph_msgw_bytes(&r->w, PH_ATTR_DATA, (struct ph_slice){data, n});
    return rig_send(r, client);
}

/* ChannelData from a client. */
static inline int rig_channel(struct rig *r, const struct ph_addr *client, uint16_t channel,
                              const void *data, size_t n)
{
    uint8_t p[2048];
    ph_chandata_write(p, channel, (uint16_t)n);
    memcpy(p + 4, data, n);
    return rig_input(r, rig_listener(client), client, p, n + 4);
}

/* A datagram from a peer to the last relay socket of its family. */
static inline int rig_peer(struct rig *r, const char *peer, const void *data, size_t n)
{
    struct ph_addr a = rig_addr(peer);
    return rig_input(r, r->opened_sock[a.family == PH_AF_INET6], &a, data, n);
}

/* The connection of a client ends. */
static inline void rig_hang_up(struct rig *r, const struct ph_addr *client)
{
    ph_turnd_conn_closed(r->d, rig_listener(client), client, r->now);
    rig_drain(r);
}

/* Moves time on and lets the core expire. */
static inline void rig_sleep(struct rig *r, ph_ns span)
{
    r->now += span;
    ph_turnd_tick(r->d, r->now);
    rig_drain(r);
}

#endif
