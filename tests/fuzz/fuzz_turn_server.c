/*
 * The TURN server core as a whole, with scripted time.
 *
 * The input is a list of steps {op, argument, length, bytes}.  A step hands raw bytes to the core, lets the fuzzer
 * compose a request that is signed properly (so that it gets past authentication), moves time on, answers or
 * fails a relay, or ends something.  After each step outputs and events are drained, as a shell would.  Ops from 128
 * on are of clients on connections, TCP relays and mobility; there are two cores, as of two workers, and what one says
 * is for the other is brought there.  A core may also end and be made again of its records, on either worker.
 *
 * Checked besides what the sanitizers see: every peer connection the shell has open is asked to be closed when its
 * allocation ends, none twice; quota and ports are given back.
 */
#include "stun/base/bytes.h"
#include "stun/codec/msgw.h"
#include "turn/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 4096, MAX_STEPS = 200, MAX_CONNS = 256, KEPT = 8, SLOTS = 64, RECORD = 1024 };

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
    struct ph_turnd *d;       /* the core at hand, one of: */
    struct ph_turnd *core[2]; /* both share ports and quota */
    ph_ns now;
    struct {
        uint32_t id;
        bool connecting;
    } conn[MAX_CONNS]; /* peer connections the shell has open */
    unsigned conns;
    uint32_t id[KEPT]; /* some ids, old and new */
    unsigned ids;
    uint8_t ticket[KEPT][PH_TICKET_LEN];
    unsigned tickets;
    struct ph_turnd_where away; /* of the last PH_ELSEWHERE */
    struct ph_turnd_conf c;     /* of both cores, but for the worker's number */
    struct ph_turnd_live live;
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

/* The address of a client; with bit 5 or 6 on a connection, the number of which is its port. */
static struct ph_addr client(uint8_t n)
{
    static const uint8_t proto[] = {PH_UDP, PH_TCP, PH_TLS, PH_DTLS};
    struct ph_addr a = address(n);
    a.proto = proto[n >> 5 & 3];
    return a;
}

static uint32_t listener_of(const struct ph_addr *a)
{
    bool six = a->family == PH_AF_INET6;
    return a->proto == PH_UDP ? six : a->proto == PH_TCP ? 2 : a->proto == PH_TLS ? 3 : 4;
}

/* What an answer holds that later requests may need. */
static void remember(struct world *w, const struct ph_pkt *p)
{
    struct ph_msg m;
    struct ph_slice s;
    uint64_t id;

    if (!p->b.len || ph_msg_parse(&m, ph_buf_data(&p->b), p->b.len))
        return;
    if (ph_msg_bytes(&m, PH_IX_NONCE, &s) == 0 && s.n <= sizeof w->nonce) {
        memcpy(w->nonce, s.p, s.n);
        w->nonce_n = s.n;
    }
    if (ph_msg_bytes(&m, PH_IX_MOBILITY_TICKET, &s) == 0 && s.n == PH_TICKET_LEN)
        memcpy(w->ticket[w->tickets++ % KEPT], s.p, s.n);
    if (ph_msg_uint(&m, PH_IX_CONNECTION_ID, &id) == 0)
        w->id[w->ids++ % KEPT] = (uint32_t)id;
}

/* --- the shell's peer connections ------------------------------------------------------------------ */

/* Its index; w->conns: there is none. */
static unsigned find_conn(const struct world *w, uint32_t id)
{
    unsigned i = 0;
    while (i < w->conns && w->conn[i].id != id)
        i++;
    return i;
}

static bool forget_conn(struct world *w, uint32_t id)
{
    unsigned i = find_conn(w, id);
    if (i == w->conns)
        return false;
    w->conn[i] = w->conn[--w->conns];
    return true;
}

static void keep_conn(struct world *w, uint32_t id, bool connecting)
{
    if (!id || w->conns == MAX_CONNS)
        abort(); /* never 0, and bounded by the configuration */
    if (find_conn(w, id) < w->conns)
        abort(); /* in use */
    w->conn[w->conns].id = id;
    w->conn[w->conns++].connecting = connecting;
    w->id[w->ids++ % KEPT] = id;
}

/* The shell says how it went, once; or, for one it does not have (any more), what must not matter. */
static void connected(struct world *w, uint32_t id, int err)
{
    unsigned i = find_conn(w, id);
    if (i < w->conns && !w->conn[i].connecting)
        return;
    if (i < w->conns)
        w->conn[i].connecting = false;
    if (err)
        forget_conn(w, id);
    for (int k = 0; k < 2; k++)
        ph_turnd_peer_connected(w->core[k], id, err, w->now);
}

static void drain(struct world *w)
{
    static uint8_t buf[PH_HEADROOM + ROOM];
    struct ph_pkt out = {.b = {buf, sizeof buf, PH_HEADROOM, 0}};
    struct ph_turnd_ev ev;

    for (int i = 0; i < 3; i++) {
        while (ph_turnd_output(w->d, &out, w->now))
            remember(w, &out);
        while (ph_turnd_event(w->d, &ev))
            switch (ev.type) {
            case PH_TURND_RELAY_OPEN:
                w->socks[w->n_socks++ % 8] = ev.sock;
                ph_turnd_relay_opened(w->d, ev.sock, w->fail ? -EADDRINUSE : 0, w->now);
                break;
            case PH_TURND_PEER_CONNECT:
                keep_conn(w, ev.peer, true);
                break;
            case PH_TURND_PEER_CLOSE:
                if (!forget_conn(w, ev.peer))
                    abort();
                break;
            case PH_TURND_PEER_SPLICE:
                if (!ev.conn)
                    abort();
                break;
            default:
                break;
            }
    }
}

/* A packet for the other core, or for an allocation there. */
static int bring(struct world *w, struct ph_pkt *p)
{
    uint32_t sock[2];
    unsigned there = ph_turnd_elsewhere(w->d, &w->away);

    if (there < 2 && !w->away.fetch)
        return ph_turnd_input_final(w->core[there], p, w->now);
    struct ph_turnd_moved *m =
        there < 2 ? ph_turnd_detach(w->core[there], &w->away, sock, w->now) : NULL;
    if (m && ph_turnd_attach(w->d, m, sock, w->now) == 0)
        w->socks[w->n_socks++ % 8] = sock[0] ? sock[0] : sock[1];
    else
        ph_turnd_moved_free(w->d, m);
    return ph_turnd_input_final(w->d, p, w->now);
}

static void input(struct world *w, uint32_t sock, struct ph_addr src, const uint8_t *p, size_t n)
{
    /* An exact heap block: any access past the room that was promised is seen. */
    uint8_t *buf = malloc(PH_HEADROOM + ROOM);
    memcpy(buf + PH_HEADROOM, p, n);
    struct ph_pkt pkt = {
        .b = {buf, PH_HEADROOM + ROOM, PH_HEADROOM, (uint32_t)n}, .src = src, .sock = sock};
    if (!(sock & PH_SOCK_RELAY) && src.proto != PH_UDP)
        pkt.conn = src.port;
    int verdict = ph_turnd_input(w->d, &pkt, w->now);
    if (verdict == PH_ELSEWHERE)
        verdict = bring(w, &pkt);
    if (verdict == PH_SEND)
        remember(w, &pkt);
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

/* The attribute that a request of a connected client needs to get anywhere, unless the fuzzer leaves it out. */
static void helpful(const struct world *w, struct ph_msgw *m, uint16_t method, uint8_t arg)
{
    struct ph_addr peer = address(arg);

    switch (method) {
    case PH_ALLOCATE:
        ph_msgw_uint(m, PH_ATTR_REQUESTED_TRANSPORT, arg & 1 ? PH_TCP : PH_UDP);
        if (arg & 2)
            ph_msgw_bytes(m, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){NULL, 0});
        break;
    case PH_REFRESH:
        ph_msgw_bytes(m, PH_ATTR_MOBILITY_TICKET,
                      (struct ph_slice){w->ticket[arg % KEPT], PH_TICKET_LEN});
        break;
    case PH_CONNECTION_BIND:
        ph_msgw_uint(m, PH_ATTR_CONNECTION_ID, w->id[arg % KEPT]);
        break;
    default:
        ph_msgw_addr(m, PH_ATTR_XOR_PEER_ADDRESS, &peer);
        break;
    }
}

/* Wraps attribute bytes of the fuzzer into a request with good credentials. */
static void request_by(struct world *w, struct ph_addr from, uint8_t arg, uint16_t method,
                       bool help, const uint8_t *p, size_t n)
{
    uint8_t buf[2048], txid[PH_TXID_LEN] = {arg};
    struct ph_key key;
    struct ph_msgw m;

    ph_key_long_term(&key, PH_ALG_MD5, ph_str("u"), ph_str("r"), ph_str("p"));
    ph_msgw_begin(&m, buf, sizeof buf, method, PH_REQUEST, txid);
    if (help && n) {
        helpful(w, &m, method, p[0]);
        p++;
        n--;
    }
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
        input(w, listener_of(&from), from, buf, (size_t)len);
}

static void request(struct world *w, uint8_t arg, uint16_t method, const uint8_t *p, size_t n)
{
    request_by(w, address(arg), arg, method, false, p, n);
}

/* What the shell says of peer connections. */
static void peer_step(struct world *w, uint8_t op, uint8_t arg, uint8_t more)
{
    uint32_t known = w->id[more % KEPT], id;
    struct ph_addr from = address(arg);

    switch (op % 4) {
    case 0:
        connected(w, known, arg & 1 ? -ECONNREFUSED : 0);
        break;
    case 1:
        from.proto = PH_TCP;
        if (ph_turnd_peer_accepted(w->d, w->socks[more % 8], &from, &id, w->now) == 0)
            keep_conn(w, id, false);
        break;
    case 2:
        forget_conn(w, known);
        for (int i = 0; i < 2; i++)
            ph_turnd_peer_closed(w->core[i], known, w->now);
        break;
    default:
        if (ph_turnd_peer_bytes(w->d, known, arg & 1 ? PH_BPS_TO_CLIENT : PH_BPS_FROM_CLIENT,
                                arg * 100u, w->now) > arg * 100u)
            abort();
        break;
    }
}

/* An allocation moves to the other core and, perhaps, back; or nobody takes it. */
static void move_step(struct world *w, uint8_t arg)
{
    uint32_t sock[2];
    struct ph_turnd *to = w->core[w->d == w->core[0]];
    struct ph_turnd_where where = w->away;
    where.serial += arg & 1;
    struct ph_turnd_moved *m = ph_turnd_detach(w->d, &where, sock, w->now);

    if (m && (arg & 2 || ph_turnd_attach(to, m, sock, w->now)))
        ph_turnd_moved_free(to, m);
}

/* The connections of a core that is no more: nobody asks for them to be closed. */
static void lose_conns(struct world *w, uint8_t worker)
{
    for (unsigned i = 0; i < w->conns;)
        if (w->conn[i].id >> 24 == worker)
            w->conn[i] = w->conn[--w->conns];
        else
            i++;
}

static struct ph_turnd *make_core(struct world *w, uint8_t worker)
{
    w->c.worker = worker;
    w->c.live = w->live;
    struct ph_turnd *d = ph_turnd_new(&w->c, &env, w->now);
    if (!d)
        abort();
    ph_turnd_wall_clock(d, 1000 + w->now / PH_SEC(1), w->now);
    return d;
}

/* The core at hand dies, is made again, and its records are restored: where they were, or on the other worker. */
static void restart_step(struct world *w, uint8_t arg)
{
    static uint8_t record[SLOTS][RECORD];
    size_t len[SLOTS];
    uint64_t session;
    uint32_t id;
    const uint8_t worker = w->d == w->core[1];

    while (ph_turnd_changed(w->d, &id, &session))
        if (ph_turnd_find(w->d, session) != id)
            abort();
    for (id = 0; id < SLOTS; id++)
        len[id] = ph_turnd_save(w->d, id, record[id], RECORD, w->now);
    ph_turnd_free(w->d);
    lose_conns(w, worker);
    w->core[worker] = make_core(w, worker);
    w->d = w->core[arg & 1];
    for (uint32_t i = 0; i < SLOTS; i++)
        if (len[i] && !ph_turnd_restore(w->d, (struct ph_slice){record[i], len[i]}, &id, w->now))
            drain(w);
    if (arg & 2) /* all that was stored was taken over meanwhile */
        ph_turnd_disown(w->d, NULL, 0, w->now);
}

static void conn_step(struct world *w, uint8_t op, uint8_t arg, const uint8_t *p, size_t n)
{
    static const uint16_t methods[] = {PH_ALLOCATE, PH_REFRESH,         PH_CREATE_PERMISSION,
                                       PH_CONNECT,  PH_CONNECTION_BIND, PH_CHANNEL_BIND};
    struct ph_addr c = client(arg);

    switch (op % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
        peer_step(w, op, arg, n ? p[0] : 0);
        break;
    case 4:
        ph_turnd_conn_closed(w->d, listener_of(&c), &c, w->now);
        if (c.proto != PH_UDP && ph_turnd_conn_needed(w->d, listener_of(&c), &c))
            abort();
        break;
    case 5:
        move_step(w, arg);
        break;
    case 6:
        w->d = w->core[arg & 1];
        break;
    case 7:
        w->live.draining = arg & 1;
        w->live.max_bps = arg & 2 ? 1000 : 0;
        ph_turnd_reload(w->d, &w->live, w->now);
        break;
    case 8:
        input(w, listener_of(&c), c, p, n);
        break;
    case 10:
        restart_step(w, arg);
        break;
    case 9: {
        struct ph_addr v[4];
        if (ph_turnd_peers(w->d, arg, v, 4) > 4)
            abort();
        break;
    }
    default:
        request_by(w, c, arg, methods[op % 6], true, p, n);
        break;
    }
}

static void drain_all(struct world *w)
{
    struct ph_turnd *at_hand = w->d;
    for (int i = 0; i < 2; i++) {
        w->d = w->core[i];
        drain(w);
    }
    w->d = at_hand;
}

static void step(struct world *w, uint8_t op, uint8_t arg, const uint8_t *p, size_t n)
{
    static const uint16_t methods[] = {PH_ALLOCATE, PH_REFRESH, PH_CREATE_PERMISSION,
                                       PH_CHANNEL_BIND};
    uint32_t relay = w->socks[arg % 8];
    if (op >= 128) {
        conn_step(w, op & 0x7F, arg, p, n);
        drain_all(w);
        return;
    }
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
        for (int i = 0; i < 2; i++) {
            ph_turnd_tick(w->core[i], w->now);
            if (ph_turnd_deadline(w->core[i]) <= w->now)
                abort(); /* a loop that never sleeps */
        }
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
    drain_all(w);
}

/* Ends all allocations; then the shell must have nothing left. */
static void end_all(struct world *w)
{
    drain_all(w);
    for (int i = 0; i < 2; i++)
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            ph_turnd_end(w->core[i], slot, w->now);
    drain_all(w);
    if (w->conns)
        abort();
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
    struct ph_strays *strays = ph_strays_new(64, &env);
    struct world w = {.now = PH_SEC(1000)};
    w.c = (struct ph_turnd_conf){
        .listener = {{.at = address(1), .stun = &stun},
                     {.at = address(0x81), .stun = &stun},
                     {.at = client(0x21), .stun = &stun},
                     {.at = client(0x41), .stun = &stun},
                     {.at = client(0x61), .stun = &stun}},
        .n_listeners = 5,
        .relay = {{.at = address(1), .ports = ports}, {.at = address(0x81), .ports = ports}},
        .n_relays = 2,
        .live.acl = acl,
        .live.auth = auth,
        .quota = quota,
        .reserve = reserve,
        .nonce.ttl_s = 600,
        .max_permissions = 4,
        .max_channels = 4,
        .max_connections = 3,
        .mobility = true,
        .stats = true,
        .strays = strays,
        .save = true,
    };
    ph_stund_init(&stun, &(struct ph_stund_conf){.at = {address(1)}});
    ph_auth_add_user(auth, ph_str("u"), ph_str("p"));
    w.live = w.c.live;
    for (uint8_t i = 0; i < 2; i++)
        w.core[i] = make_core(&w, i);
    w.d = w.core[0];
    request(&w, 1, PH_ALLOCATE, (const uint8_t *)"", 0); /* a first nonce */
    for (unsigned i = 0; i < MAX_STEPS && size >= 3; i++) {
        size_t n = data[2] < size - 3 ? data[2] : size - 3;
        step(&w, data[0], data[1], data + 3, n);
        data += 3 + n;
        size -= 3 + n;
    }
    end_all(&w);
    ph_turnd_free(w.core[0]);
    ph_turnd_free(w.core[1]);
    ph_reserve_tick(reserve, w.now + PH_SEC(60));
    ph_reserve_free(reserve);
    if (ph_quota_used(quota) != 0 || ph_ports_used(ports) != 0)
        abort(); /* an allocation was not given back */
    if (ph_strays_count(strays) != 0)
        abort();
    ph_strays_free(strays);
    ph_quota_free(quota);
    ph_ports_free(ports);
    ph_auth_free(auth);
    ph_acl_free(acl);
    return 0;
}
