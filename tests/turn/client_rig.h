/*
 * A TURN client on a virtual clock, and a hand that plays its server.
 *
 * crig_take takes the client's next request; begin, attributes and crig_answer make the response.
 * crig_serve answers whatever comes as a friendly server would; crig_run lets time pass under it.
 */
#ifndef PH_TESTS_TURN_CLIENT_RIG_H
#define PH_TESTS_TURN_CLIENT_RIG_H

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/algs.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msgw.h"
#include "turn/client.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { CRIG_ROOM = 70000 };

struct crig {
    struct ph_env env;
    uint64_t seed;
    struct ph_turnc_conf c;
    struct ph_turnc *t;
    ph_ns now;

    uint8_t obuf[PH_HEADROOM + CRIG_ROOM]; /* what the client sent last */
    struct ph_pkt out;
    struct ph_msg req;

    uint8_t ibuf[PH_HEADROOM + CRIG_ROOM]; /* what it is given */
    struct ph_pkt in;
    struct ph_msgw w;
    int verdict;

    struct ph_turnc_ev ev; /* the last event */

    /* the server */
    const char *realm, *user, *pass, *nonce;
    struct ph_slice algs; /* PASSWORD-ALGORITHMS of its challenges */
    uint16_t alg;
    uint32_t lifetime_s;
    unsigned served[16]; /* requests by method */
    unsigned bad_requests;
};

static inline void crig_rand(void *ctx, void *dst, size_t n)
{
    uint64_t *s = ctx;
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i++) {
        *s = *s * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(*s >> 56);
    }
}

static inline struct ph_addr crig_addr(const char *text)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0, "%s", text);
    a.proto = PH_UDP;
    return a;
}

/* A rig with alice's credentials and the defaults; change r->c, then crig_start. */
static inline struct crig *crig_new(void)
{
    struct crig *r = calloc(1, sizeof *r);
    r->seed = 7;
    r->env = (struct ph_env){.rand = crig_rand, .ctx = &r->seed};
    r->now = PH_SEC(1000);
    r->realm = "example.org";
    r->user = "alice";
    r->pass = "secret";
    r->nonce = "nonce-1";
    r->alg = PH_ALG_MD5;
    r->lifetime_s = 600;
    r->c = (struct ph_turnc_conf){.server = crig_addr("198.51.100.1:3478"),
                                  .sock = 5,
                                  .user = ph_str("alice"),
                                  .password = ph_str("secret")};
    return r;
}

static inline void crig_start(struct crig *r)
{
    r->t = ph_turnc_new(&r->c, &r->env);
    cr_assert_not_null(r->t);
}

static inline void crig_free(struct crig *r)
{
    ph_turnc_free(r->t);
    free(r);
}

static inline const struct ph_turnc_info *crig_info(const struct crig *r)
{
    return ph_turnc_info(r->t);
}

/* The server's SHA-256 set: nonce with cookie, and the list. */
static inline void crig_sha256(struct crig *r, const char *nonce)
{
    static const uint8_t list[] = {0, 2, 0, 0, 0, 1, 0, 0};
    r->algs = (struct ph_slice){list, sizeof list};
    r->alg = PH_ALG_SHA256;
    r->nonce = nonce;
}

/* Takes the next request.  False: the client has nothing to say. */
static inline bool crig_take(struct crig *r)
{
    r->out = (struct ph_pkt){.b = {r->obuf, sizeof r->obuf, PH_HEADROOM, 0}};
    if (!ph_turnc_output(r->t, &r->out, r->now))
        return false;
    cr_assert_eq(ph_msg_parse(&r->req, ph_buf_data(&r->out.b), r->out.b.len), 0);
    cr_assert_eq(r->req.cls, PH_REQUEST);
    cr_assert_eq(r->out.sock, 5);
    cr_assert(ph_addr_eq_endpoint(&r->out.dst, &crig_info(r)->server));
    return true;
}

/* Takes the next request, which must be of a method. */
static inline void crig_want(struct crig *r, uint16_t method)
{
    cr_assert(crig_take(r), "no request");
    cr_assert_eq(r->req.method, method, "got %s", ph_method_name(r->req.method));
}

static inline struct ph_key crig_key(const struct crig *r)
{
    struct ph_key k;
    ph_key_long_term(&k, r->alg, ph_str(r->user), ph_str(r->realm), ph_str(r->pass));
    return k;
}

/* True if the request taken last carries the right credentials. */
static inline bool crig_authentic(const struct crig *r)
{
    struct ph_key k = crig_key(r);
    struct ph_slice nonce;
    if (ph_msg_bytes(&r->req, PH_IX_NONCE, &nonce) < 0 || !ph_slice_eq(nonce, ph_str(r->nonce)))
        return false;
    return r->alg == PH_ALG_SHA256 ? ph_msg_check_integrity_sha256(&r->req, ph_key_slice(&k)) == 0
                                   : ph_msg_check_integrity(&r->req, ph_key_slice(&k)) == 0;
}

/* Starts a response to the request taken last. */
static inline struct ph_msgw *crig_begin(struct crig *r, enum ph_class cls)
{
    ph_msgw_begin(&r->w, r->ibuf + PH_HEADROOM, CRIG_ROOM, r->req.method, cls,
                  ph_msg_txid(&r->req));
    return &r->w;
}

/* Hands n bytes in ibuf to the client. */
static inline int crig_input(struct crig *r, const struct ph_addr *src, size_t n)
{
    r->in = (struct ph_pkt){.b = {r->ibuf, sizeof r->ibuf, PH_HEADROOM, (uint32_t)n}, .src = *src};
    return r->verdict = ph_turnc_input(r->t, &r->in, r->now);
}

/* Sends what was begun as it is. */
static inline int crig_send(struct crig *r)
{
    int n = ph_msgw_end(&r->w);
    cr_assert_gt(n, 0);
    return crig_input(r, &crig_info(r)->server, (size_t)n);
}

/* Signs what was begun, if the request was signed, and sends it. */
static inline int crig_answer(struct crig *r)
{
    struct ph_key k = crig_key(r);
    if (ph_msg_has(&r->req, PH_IX_MESSAGE_INTEGRITY_SHA256))
        ph_msgw_integrity_sha256(&r->w, ph_key_slice(&k), 32);
    else if (ph_msg_has(&r->req, PH_IX_MESSAGE_INTEGRITY))
        ph_msgw_integrity(&r->w, ph_key_slice(&k));
    return crig_send(r);
}

/* Answers with an error: 401 and 438 with realm and nonce and without integrity, others signed. */
static inline int crig_error(struct crig *r, uint16_t code, const char *reason)
{
    crig_begin(r, PH_ERROR);
    ph_msgw_error(&r->w, code, reason);
    if (code != 401 && code != 438)
        return crig_answer(r);
    ph_msgw_bytes(&r->w, PH_ATTR_REALM, ph_str(r->realm));
    ph_msgw_bytes(&r->w, PH_ATTR_NONCE, ph_str(r->nonce));
    if (r->algs.n)
        ph_msgw_bytes(&r->w, PH_ATTR_PASSWORD_ALGORITHMS, r->algs);
    return crig_send(r);
}

/* A whole Allocate success for relays (either may be NULL). */
static inline void crig_begin_allocated(struct crig *r, const char *v4, const char *v6)
{
    struct ph_addr mapped = crig_addr("203.0.113.9:40000");
    crig_begin(r, PH_SUCCESS);
    for (int i = 0; i < 2; i++) {
        if (!(i ? v6 : v4))
            continue;
        struct ph_addr a = crig_addr(i ? v6 : v4);
        ph_msgw_addr(&r->w, PH_ATTR_XOR_RELAYED_ADDRESS, &a);
    }
    ph_msgw_addr(&r->w, PH_ATTR_XOR_MAPPED_ADDRESS, &mapped);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, r->lifetime_s);
}

/* Answers the request taken last as a friendly server. */
static inline void crig_serve_one(struct crig *r)
{
    uint64_t asked;
    r->served[r->req.method & 15]++;
    if (!crig_authentic(r)) {
        r->bad_requests++;
        crig_error(r, ph_msg_has(&r->req, PH_IX_NONCE) ? 438 : 401, NULL);
        return;
    }
    if (r->req.method == PH_ALLOCATE) {
        crig_begin_allocated(r, "192.0.2.1:50000", "[2001:db8::1]:50000");
    } else {
        crig_begin(r, PH_SUCCESS);
        bool zero = ph_msg_uint(&r->req, PH_IX_LIFETIME, &asked) == 0 && asked == 0;
        if (r->req.method == PH_REFRESH)
            ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, zero ? 0 : r->lifetime_s);
    }
    cr_assert_eq(crig_answer(r), PH_CONSUMED);
}

/* Answers everything. */
static inline void crig_serve(struct crig *r)
{
    while (crig_take(r))
        crig_serve_one(r);
}

/* Takes the next event.  False: none. */
static inline bool crig_event(struct crig *r)
{
    return ph_turnc_event(r->t, &r->ev);
}

/* The next event, which must be of a type. */
static inline void crig_want_event(struct crig *r, enum ph_turnc_ev_type type)
{
    cr_assert(crig_event(r), "no event, expected %d", type);
    cr_assert_eq(r->ev.type, type, "event %d (err %d, code %d), expected %d", r->ev.type, r->ev.err,
                 r->ev.code, type);
}

/* Nothing more to send and nothing to tell. */
static inline void crig_want_quiet(struct crig *r)
{
    cr_assert_not(crig_take(r), "unexpected request %s", ph_method_name(r->req.method));
    cr_assert_not(crig_event(r), "unexpected event %d", r->ev.type);
}

/* Moves the clock without serving. */
static inline void crig_sleep(struct crig *r, ph_ns span)
{
    r->now += span;
    ph_turnc_tick(r->t, r->now);
}

/* Lets time pass from deadline to deadline, under a friendly server or (serve false) a deaf one.
 * Stops early at the first event of type `until` (-1: never); other events are dropped.  True if it
 * came. */
static inline bool crig_run(struct crig *r, ph_ns span, bool serve, int until)
{
    ph_ns end = r->now + span;
    for (unsigned steps = 0; steps < 1000000; steps++) {
        while (crig_take(r))
            if (serve)
                crig_serve_one(r);
        while (crig_event(r))
            if ((int)r->ev.type == until)
                return true;
        ph_ns at = ph_turnc_deadline(r->t);
        if (at > end) {
            r->now = end;
            return false;
        }
        r->now = at > r->now ? at : r->now;
        ph_turnc_tick(r->t, r->now);
    }
    cr_assert_fail("the client spins");
    return false;
}

/* A client with an allocation, from a friendly server. */
static inline struct crig *crig_up_with(struct crig *r)
{
    crig_start(r);
    cr_assert_eq(ph_turnc_allocate(r->t, r->now), 0);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    memset(r->served, 0, sizeof r->served);
    r->bad_requests = 0;
    return r;
}

static inline struct crig *crig_up(void)
{
    return crig_up_with(crig_new());
}

/* Addresses of XOR-PEER-ADDRESS in the request taken last. */
static inline unsigned crig_peers(const struct crig *r, struct ph_addr *dst, unsigned max)
{
    struct ph_msg_it it = {0};
    unsigned n = 0;
    while (ph_msg_next(&r->req, &it)) {
        struct ph_attr_value v;
        if (it.type != PH_ATTR_XOR_PEER_ADDRESS)
            continue;
        cr_assert_eq(ph_attr_decode(&ph_attr_table[PH_IX_XOR_PEER_ADDRESS], it.value.p, it.value.n,
                                    ph_msg_txid(&r->req), &v),
                     0);
        if (n < max)
            dst[n] = v.addr;
        n++;
    }
    return n;
}

#endif
