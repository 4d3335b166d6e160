/* A TURN client under a script: the input's bytes choose calls, spans of time, and what its server
 * says.
 *
 * Responses are built for the last request, signed or not, with attributes from the input, so that
 * the fuzzer gets past transaction ids and integrity; raw packets are given as well.  Whatever
 * happens, the client must not send without end, must not have deadlines in the past once all is
 * drained, and must give its memory back.
 */
#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msgw.h"
#include "tests/fuzz/check.h"
#include "turn/chandata.h"
#include "turn/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct ph_turnc *t;
    struct ph_env env;
    uint64_t seed;
    ph_ns now;
    struct ph_addr server;
    uint8_t req[PH_TURNC_OUTPUT];
    size_t req_n;
    uint8_t pkt[PH_HEADROOM + 2048 + PH_TAILROOM];
    uint8_t algs;
};

static const char *const nonces[] = {"nonce", "other", "obMatJos2AAABx", "obMatJos2wAAAx"};

static void rand_bytes(void *ctx, void *dst, size_t n)
{
    uint64_t *s = ctx;
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i++) {
        *s = *s * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(*s >> 56);
    }
}

static struct ph_addr addr(uint8_t b)
{
    uint8_t ip[16] = {192, 0, 2, b & 31};
    struct ph_addr a =
        b & 0x80 ? ph_addr_v6(ip, b & 0x40, PH_UDP) : ph_addr_v4(ip, b & 0x40, PH_UDP);
    return a;
}

static void drain(struct world *w)
{
    struct ph_pkt out = {.b = {w->req, sizeof w->req, 0, 0}};
    struct ph_turnc_ev ev;
    unsigned n = 0;
    while (ph_turnc_output(w->t, &out, w->now)) {
        CHECK(out.b.off == 0 && out.b.len >= PH_STUN_HEADER && out.b.len <= sizeof w->req);
        w->req_n = out.b.len;
        CHECK(n++ < 100);
    }
    for (n = 0; ph_turnc_event(w->t, &ev); n++)
        CHECK(n < 1000 && ev.reason && ev.domain);
    CHECK(!ph_turnc_output(w->t, &out, w->now));
}

/* Sleeps until the deadline or less; afterwards nothing may be overdue. */
static void sleep_some(struct world *w, struct fuzz_in *in)
{
    static const ph_ns units[] = {PH_MS(1), PH_MS(100), PH_SEC(1), PH_SEC(40)};
    uint8_t b = fuzz_u8(in);
    ph_ns at = ph_turnc_deadline(w->t), span = (b >> 2) * units[b & 3];
    w->now = b >> 2 == 63 && at != PH_NEVER && at > w->now ? at : w->now + span;
    for (unsigned i = 0; i < 3; i++) {
        ph_turnc_tick(w->t, w->now);
        drain(w);
    }
    CHECK(ph_turnc_deadline(w->t) > w->now);
}

static void input_packet(struct world *w, size_t n)
{
    struct ph_pkt p = {.b = {w->pkt, sizeof w->pkt, PH_HEADROOM, (uint32_t)n}, .src = w->server};
    int verdict = ph_turnc_input(w->t, &p, w->now);
    CHECK(verdict == PH_DROP || verdict == PH_CONSUMED || verdict == PH_DATA);
    CHECK(p.b.off + p.b.len <= p.b.cap);
    if (verdict == PH_DROP)
        CHECK(p.b.off == PH_HEADROOM && p.b.len == n);
}

static void raw(struct world *w, struct fuzz_in *in)
{
    size_t n = fuzz_u8(in) * 4U;
    n = n < in->n ? n : in->n;
    memcpy(w->pkt + PH_HEADROOM, in->p, n);
    in->p += n;
    in->n -= n;
    input_packet(w, n);
}

static void append(struct ph_msgw *m, struct fuzz_in *in, uint8_t algs)
{
    static const uint8_t lists[][8] = {{0, 2, 0, 0, 0, 1, 0, 0}, {0, 1, 0, 0, 0, 9, 0, 0}};
    static const uint16_t codes[] = {300, 400, 401, 403, 437, 438, 441, 443, 486, 500, 508};
    struct ph_addr a = addr(fuzz_u8(in));
    uint8_t b = fuzz_u8(in);
    switch (b % 12) {
    case 0:
        ph_msgw_addr(m, PH_ATTR_XOR_RELAYED_ADDRESS, &a);
        break;
    case 1:
        ph_msgw_addr(m, PH_ATTR_ALTERNATE_SERVER, &a);
        break;
    case 2:
        ph_msgw_uint(m, PH_ATTR_LIFETIME, b & 0x80 ? 0xFFFFFFFFU : b);
        break;
    case 3:
        ph_msgw_error(m, codes[(b >> 4) % (sizeof codes / sizeof *codes)], "why");
        break;
    case 4:
        ph_msgw_bytes(m, PH_ATTR_REALM, ph_str(b & 0x80 ? "realm" : "example.org"));
        break;
    case 5:
        ph_msgw_bytes(m, PH_ATTR_NONCE, ph_str(nonces[b >> 6]));
        break;
    case 6:
        ph_msgw_bytes(m, PH_ATTR_PASSWORD_ALGORITHMS, (struct ph_slice){lists[algs & 1], 8});
        break;
    case 7:
        ph_msgw_uint(m, PH_ATTR_RESERVATION_TOKEN, b);
        break;
    case 8:
        ph_msgw_addr(m, PH_ATTR_XOR_PEER_ADDRESS, &a);
        break;
    case 9:
        ph_msgw_bytes(m, PH_ATTR_DATA, ph_str("payload"));
        break;
    case 10:
        ph_msgw_raw(m, (uint16_t)(b << 8), ph_str("raw"));
        break;
    default:
        ph_msgw_addr(m, PH_ATTR_XOR_MAPPED_ADDRESS, &a);
        break;
    }
}

/* The key under which the last request was signed: the server knows the password. */
static struct ph_key key_of(const struct ph_msg *req)
{
    struct ph_slice realm = {0};
    struct ph_key k;
    uint16_t alg = ph_msg_has(req, PH_IX_MESSAGE_INTEGRITY_SHA256) ? PH_ALG_SHA256 : PH_ALG_MD5;
    ph_msg_bytes(req, PH_IX_REALM, &realm);
    ph_key_long_term(&k, alg, ph_str("user"), realm, ph_str("pass"));
    return k;
}

/* A response to the last request, or an indication. */
static void respond(struct world *w, struct fuzz_in *in)
{
    struct ph_msg req;
    struct ph_msgw m;
    uint8_t how = fuzz_u8(in);
    if (ph_msg_parse(&req, w->req, w->req_n) < 0)
        return;
    enum ph_class cls = (enum ph_class)(how & 3);
    uint16_t method = cls == PH_INDICATION ? (uint16_t)PH_DATA_METHOD : req.method;
    ph_msgw_begin(&m, w->pkt + PH_HEADROOM, 2048, method, cls, ph_msg_txid(&req));
    for (unsigned i = 0; i < (how >> 2 & 7U); i++)
        append(&m, in, how >> 7);
    struct ph_key k = key_of(&req);
    if (how & 0x20 && ph_msg_has(&req, PH_IX_MESSAGE_INTEGRITY_SHA256))
        ph_msgw_integrity_sha256(&m, ph_key_slice(&k), 32);
    else if (how & 0x20 && ph_msg_has(&req, PH_IX_MESSAGE_INTEGRITY))
        ph_msgw_integrity(&m, ph_key_slice(&k));
    int n = ph_msgw_end(&m);
    if (n > 0)
        input_packet(w, (size_t)n);
}

static void channel_data(struct world *w, struct fuzz_in *in)
{
    uint8_t b = fuzz_u8(in);
    ph_chandata_write(w->pkt + PH_HEADROOM, (uint16_t)(PH_CHANNEL_MIN + (b & 15)), b);
    input_packet(w, PH_CHANNEL_HEADER + (size_t)fuzz_u8(in));
}

static void wrap(struct world *w, struct fuzz_in *in)
{
    struct ph_addr peer = addr(fuzz_u8(in));
    uint8_t n = fuzz_u8(in);
    uint32_t room = n & 1 ? PH_TAILROOM : 0;
    struct ph_pkt p = {.b = {w->pkt, PH_HEADROOM + n + room, PH_HEADROOM, n}};
    p.dont_fragment = n & 2;
    int verdict = ph_turnc_wrap(w->t, &p, &peer);
    if (verdict == PH_SEND)
        CHECK(p.b.off + p.b.len <= p.b.cap && p.b.len >= n + 4U);
    else
        CHECK(verdict < 0 && p.b.off == PH_HEADROOM && p.b.len == n);
}

static void step(struct world *w, struct fuzz_in *in)
{
    uint8_t op = fuzz_u8(in);
    struct ph_addr peer = addr(op >> 4 | (op & 0x80));
    switch (op & 15) {
    case 0:
        ph_turnc_allocate(w->t, w->now);
        break;
    case 1:
        peer = addr(fuzz_u8(in));
        ph_turnc_permit(w->t, &peer, w->now);
        break;
    case 2:
        peer = addr(fuzz_u8(in));
        ph_turnc_bind(w->t, &peer, w->now);
        break;
    case 3:
        ph_turnc_forget(w->t, &peer, w->now);
        break;
    case 4:
        ph_turnc_release(w->t, w->now);
        break;
    case 5:
        ph_turnc_refresh(w->t, op >> 4, w->now);
        break;
    case 6:
        raw(w, in);
        break;
    case 7:
        channel_data(w, in);
        break;
    case 8:
        wrap(w, in);
        break;
    case 9:
    case 10:
        sleep_some(w, in);
        break;
    case 11:
        return; /* no drain: calls in a row */
    default:
        respond(w, in);
        break;
    }
    if (op & 0x80)
        drain(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    struct fuzz_in in = {data, size};
    uint8_t flags = fuzz_u8(&in), more = fuzz_u8(&in);
    w = (struct world){.now = PH_SEC(1000), .seed = 1, .server = addr(0x41)};
    w.env = (struct ph_env){.rand = rand_bytes, .ctx = &w.seed};
    struct ph_turnc_conf c = {
        .server = w.server,
        .reliable = flags & 1,
        .user = flags & 2 ? ph_str("user") : ph_str(NULL),
        .password = ph_str("pass"),
        .family = (enum ph_turnc_family)(flags >> 2 & 3),
        .even = (enum ph_turnc_even)((flags >> 4 & 3) % 3),
        .has_token = flags & 0x40,
        .follow_redirects = flags & 0x80,
        .fingerprint = more & 1,
        .transmit_counter = more & 2,
        .keepalive = more & 8 ? PH_SEC(15) : 0,
        .max_permissions = more >> 4,
        .max_channels = more >> 4,
    };
    if (more & 4)
        c.login = (struct ph_turnc_login){ph_str("realm"), ph_str("nonce"), {0}};
    w.t = ph_turnc_new(&c, &w.env);
    while (w.t && in.n)
        step(&w, &in);
    ph_turnc_free(w.t);
    return 0;
}
