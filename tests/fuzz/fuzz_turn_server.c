/*
 * The TURN server core as a whole, with scripted time.
 *
 * The input is a list of steps {op, argument, length, bytes}.  A step hands raw bytes to the core, lets the fuzzer
 * compose a request that is signed properly (so that it gets past authentication), moves time on, answers or
 * fails a relay, or ends something.  After each step outputs and events are drained, as a shell would.
 */
#include "stun/base/bytes.h"
#include "stun/codec/msgw.h"
#include "turn/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 4096, MAX_STEPS = 200 };

static uint64_t seed;

static void fuzz_rand(void *ctx, void *dst, size_t n)
{
    uint8_t *p = dst;
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(seed >> 56);
    }
}

static const struct ph_env env = {.rand = fuzz_rand};

struct world {
    struct ph_turnd *d;
    ph_ns now;
    uint32_t socks[8];
    unsigned n_socks;
    uint8_t fail; /* the next relays do not open */
    char nonce[64];
    size_t nonce_n;
};

static struct ph_addr address(uint8_t n)
{
    struct ph_addr a = {.port = (uint16_t)(1000 + n % 4), .family = PH_AF_INET, .proto = PH_UDP};
    const uint8_t v4[4] = {198, 51, 100, (uint8_t)(n % 8)};
    const uint8_t v6[16] = {0x20, 1, 0x0d, 0xb8, [15] = (uint8_t)(n % 8)};

    if (n & 0x80)
        return ph_addr_v6(v6, a.port, PH_UDP);
    return ph_addr_v4(v4, a.port, PH_UDP);
}

static void remember_nonce(struct world *w, const struct ph_pkt *p)
{
    struct ph_msg m;
    struct ph_slice s;
    if (p->b.len && ph_msg_parse(&m, ph_buf_data(&p->b), p->b.len) == 0 &&
        ph_msg_bytes(&m, PH_IX_NONCE, &s) == 0 && s.n <= sizeof w->nonce) {
        memcpy(w->nonce, s.p, s.n);
        w->nonce_n = s.n;
    }
}

static void drain(struct world *w)
{
    static uint8_t buf[PH_HEADROOM + ROOM];
    struct ph_pkt out = {.b = {buf, sizeof buf, PH_HEADROOM, 0}};
    struct ph_turnd_ev ev;

    for (int i = 0; i < 3; i++) {
        while (ph_turnd_output(w->d, &out, w->now))
            ;
        while (ph_turnd_event(w->d, &ev)) {
            if (ev.type != PH_TURND_RELAY_OPEN)
                continue;
            w->socks[w->n_socks++ % 8] = ev.sock;
            ph_turnd_relay_opened(w->d, ev.sock, w->fail ? -EADDRINUSE : 0, w->now);
        }
    }
}

static void input(struct world *w, uint32_t sock, struct ph_addr src, const uint8_t *p, size_t n)
{
    /* An exact heap block: any access past the room that was promised is seen. */
    uint8_t *buf = malloc(PH_HEADROOM + ROOM);
    memcpy(buf + PH_HEADROOM, p, n);
    struct ph_pkt pkt = {
        .b = {buf, PH_HEADROOM + ROOM, PH_HEADROOM, (uint32_t)n}, .src = src, .sock = sock};
    if (ph_turnd_input(w->d, &pkt, w->now) == PH_SEND)
        remember_nonce(w, &pkt);
    free(buf);
}

/* The same bytes as a segment without any room around it. */
static void input_tight(struct world *w, uint32_t sock, struct ph_addr src, const uint8_t *p,
                        size_t n)
{
    uint8_t head[PH_HEADROOM], *buf = malloc(n ? n : 1);
    if (n)
        memcpy(buf, p, n);
    struct ph_pkt pkt = {
        .b = {buf, (uint32_t)n, 0, (uint32_t)n}, .src = src, .sock = sock, .head = head};
    ph_turnd_input(w->d, &pkt, w->now);
    free(buf);
}

/* Wraps attribute bytes of the fuzzer into a request with good credentials. */
static void request(struct world *w, uint8_t arg, uint16_t method, const uint8_t *p, size_t n)
{
    uint8_t buf[2048], txid[PH_TXID_LEN] = {arg};
    struct ph_key key;
    struct ph_msgw m;

    ph_key_long_term(&key, PH_ALG_MD5, ph_str("u"), ph_str("r"), ph_str("p"));
    ph_msgw_begin(&m, buf, sizeof buf, method, PH_REQUEST, txid);
    while (n >= 3) { /* {type, type, length, value} */
        size_t len = p[2] % 64;
        if (len > n - 3)
            len = n - 3;
        ph_msgw_raw(&m, ph_get16(p), (struct ph_slice){p + 3, len});
        p += 3 + len;
        n -= 3 + len;
    }
    ph_msgw_bytes(&m, PH_ATTR_USERNAME, ph_str("u"));
    ph_msgw_bytes(&m, PH_ATTR_REALM, ph_str("r"));
    ph_msgw_bytes(&m, PH_ATTR_NONCE, (struct ph_slice){(uint8_t *)w->nonce, w->nonce_n});
    ph_msgw_integrity(&m, ph_key_slice(&key));
    int len = ph_msgw_end(&m);
    if (len > 0)
        input(w, arg & 0x80 ? 1 : 0, address(arg), buf, (size_t)len);
}

static void step(struct world *w, uint8_t op, uint8_t arg, const uint8_t *p, size_t n)
{
    static const uint16_t methods[] = {PH_ALLOCATE, PH_REFRESH, PH_CREATE_PERMISSION,
                                       PH_CHANNEL_BIND};
    uint32_t relay = w->socks[arg % 8];
    switch (op % 12) {
    case 0:
        input(w, arg & 1, address(arg), p, n);
        break;
    case 1:
        input(w, relay, address(n ? p[0] : 0), p, n);
        break;
    case 2:
        input_tight(w, relay, address(n ? p[0] : 0), p, n);
        break;
    case 3:
        input_tight(w, arg & 1, address(arg), p, n);
        break;
    case 4:
        w->now += PH_SEC(arg);
        ph_turnd_tick(w->d, w->now);
        break;
    case 5:
        w->fail = arg & 1;
        break;
    case 6:
        ph_turnd_end(w->d, arg, w->now);
        break;
    case 7: {
        uint8_t buf[256];
        struct ph_pkt out = {.b = {buf, sizeof buf, PH_HEADROOM, 0}};
        struct ph_addr peer = address(n ? p[0] : 0);
        ph_turnd_icmp(w->d, relay, &peer, arg, 4, 1400, &out, w->now);
        break;
    }
    default:
        request(w, arg, methods[op % 4], p, n);
        break;
    }
    drain(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    seed = 1;
    struct ph_stund stun;
    struct ph_acl *acl = ph_acl_new();
    struct ph_auth *auth = ph_auth_new("r", &env);
    struct ph_ports *ports = ph_ports_new(50000, 50015);
    struct ph_quota *quota = ph_quota_new(10, 6, 64, &env);
    struct ph_reserve *reserve = ph_reserve_new();
    struct world w = {.now = PH_SEC(1000)};
    struct ph_turnd_conf c = {
        .listener = {{.at = address(1), .stun = &stun}, {.at = address(0x81), .stun = &stun}},
        .n_listeners = 2,
        .relay = {{.at = address(1), .ports = ports}, {.at = address(0x81), .ports = ports}},
        .n_relays = 2,
        .acl = acl,
        .auth = auth,
        .quota = quota,
        .reserve = reserve,
        .nonce.ttl_s = 600,
        .max_permissions = 4,
        .max_channels = 4,
    };
    ph_stund_init(&stun, &(struct ph_stund_conf){.at = {address(1)}});
    ph_auth_add_user(auth, ph_str("u"), ph_str("p"));
    w.d = ph_turnd_new(&c, &env, w.now);
    request(&w, 1, PH_ALLOCATE, (const uint8_t *)"", 0); /* a first nonce */
    for (unsigned i = 0; i < MAX_STEPS && size >= 3; i++) {
        size_t n = data[2] < size - 3 ? data[2] : size - 3;
        step(&w, data[0], data[1], data + 3, n);
        data += 3 + n;
        size -= 3 + n;
    }
    ph_turnd_free(w.d);
    if (ph_quota_used(quota) != 0)
        abort(); /* an allocation was not given back */
    ph_quota_free(quota);
    ph_reserve_free(reserve);
    ph_ports_free(ports);
    ph_auth_free(auth);
    ph_acl_free(acl);
    return 0;
}
