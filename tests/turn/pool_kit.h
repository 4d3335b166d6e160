/*
 * Clients of a server whose relays share ports, around the rig.  Nobody has to authenticate.
 */
#ifndef PH_TESTS_TURN_POOL_KIT_H
#define PH_TESTS_TURN_POOL_KIT_H

#include "stun/base/bytes.h"
#include "turn/rig.h"

#include <stdio.h>

enum { POOL_FIRST = 50000 };

/* A rig with so many shared ports at each of its relay addresses, not started yet. */
static inline struct rig *pool_rig(uint16_t ports)
{
    struct rig *r = rig_new();

    r->c.live.auth = NULL;
    r->c.pool_first = POOL_FIRST;
    r->c.pool_ports = ports;
    return r;
}

static inline struct rig *pool_start(uint16_t ports)
{
    struct rig *r = pool_rig(ports);
    rig_start(r);
    return r;
}

/* A client with an IPv4 relay. */
struct guest {
    struct ph_addr at, relay;
    uint32_t sock; /* that the relay shares with others */
    char relay_text[PH_ADDR_TEXT];
};

/* The socket of a relayed address, 0: it is not shared. */
static inline uint32_t pool_sock(const struct rig *r, const struct ph_addr *relay)
{
    struct ph_addr at;
    uint32_t sock;

    for (uint32_t i = 0; ph_turnd_pool(r->d, &i, &sock, &at);)
        if (ph_addr_eq_endpoint(&at, relay))
            return sock;
    return 0;
}

static inline void guest_takes(struct rig *r, struct guest *g)
{
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &g->relay), 0);
    g->relay.proto = PH_UDP;
    g->sock = pool_sock(r, &g->relay);
    ph_addr_text(&g->relay, g->relay_text);
}

static inline struct guest guest_on(struct rig *r, unsigned n, uint8_t proto)
{
    struct guest g;
    char text[PH_ADDR_TEXT];

    snprintf(text, sizeof text, "203.0.113.9:%u", 40000 + n);
    g.at = rig_addr_on(text, proto);
    cr_assert_eq(rig_allocate(r, &g.at), 0);
    guest_takes(r, &g);
    return g;
}

/* The nth one. */
static inline struct guest guest(struct rig *r, unsigned n)
{
    return guest_on(r, n, PH_UDP);
}

/* What a peer sends to a client's relay. */
static inline int peer_sends(struct rig *r, const struct guest *to, const char *peer,
                             const char *text)
{
    const struct ph_addr a = rig_addr(peer);
    return rig_input(r, to->sock, &a, text, strlen(text));
}

/* True if what came out last goes to this client, from this peer, as a Data indication or on his channel. */
static inline bool heard(const struct rig *r, const struct guest *g, const char *peer,
                         const char *text)
{
    const struct ph_addr want = rig_addr(peer);
    struct ph_slice data = {0};
    struct ph_addr from;

    if (r->verdict != PH_SEND || !ph_addr_eq(&r->pkt.dst, &g->at) ||
        r->pkt.sock != rig_listener(&g->at) || r->pkt.conn != rig_conn(&g->at))
        return false;
    if (!r->has_out) { /* whose channel it is, is in other tests */
        const uint8_t *p = ph_buf_data(&r->pkt.b);
        data = (struct ph_slice){p + 4, r->pkt.b.len - 4};
        return p[0] >= 0x40 && ph_get16(p + 2) == data.n && ph_slice_eq(data, ph_str(text));
    }
    return ph_msg_addr(&r->out, PH_IX_XOR_PEER_ADDRESS, &from) == 0 &&
           ph_addr_eq_endpoint(&from, &want) && ph_msg_bytes(&r->out, PH_IX_DATA, &data) == 0 &&
           ph_slice_eq(data, ph_str(text));
}

/* A client sends a text to a peer by a Send indication. */
static inline int guest_sends(struct rig *r, const struct guest *g, const char *peer,
                              const char *text)
{
    return rig_indicate(r, &g->at, peer, text, strlen(text));
}

/* True if what came out last leaves by this client's relay for this peer. */
static inline bool left(const struct rig *r, const struct guest *g, const char *peer)
{
    const struct ph_addr to = rig_addr(peer);
    return r->verdict == PH_SEND && r->pkt.sock == g->sock && r->pkt.conn == 0 &&
           ph_addr_eq_endpoint(&r->pkt.dst, &to);
}

/* An ICE check: a Binding request from `of` to `to`.  Returns its length. */
static inline size_t check_write(uint8_t *p, size_t room, const char *to, const char *of)
{
    static const uint8_t txid[PH_TXID_LEN] = {7};
    char user[64];
    struct ph_msgw w;

    snprintf(user, sizeof user, "%s:%s", to, of);
    ph_msgw_begin(&w, p, room, PH_BINDING, PH_REQUEST, txid);
    ph_msgw_raw(&w, 0x0024,
                (struct ph_slice){(const uint8_t *)"\x6e\x7f\x00\xff", 4}); /* PRIORITY */
    ph_msgw_bytes(&w, PH_ATTR_USERNAME, ph_str(user));
    ph_msgw_integrity(&w, ph_str("password"));
    ph_msgw_fingerprint(&w);
    const int n = ph_msgw_end(&w);
    cr_assert_gt(n, 0);
    return (size_t)n;
}

static inline int guest_checks(struct rig *r, const struct guest *g, const char *peer,
                               const char *to, const char *of)
{
    uint8_t p[256];
    const size_t n = check_write(p, sizeof p, to, of);
    return rig_indicate(r, &g->at, peer, p, n);
}

static inline int peer_checks(struct rig *r, uint32_t sock, const char *peer, const char *to,
                              const char *of)
{
    const struct ph_addr a = rig_addr(peer);
    uint8_t p[256];
    const size_t n = check_write(p, sizeof p, to, of);
    return rig_input(r, sock, &a, p, n);
}

#define POOL_COUNT(r, name) (ph_turnd_stats((r)->d)->name)

#endif
