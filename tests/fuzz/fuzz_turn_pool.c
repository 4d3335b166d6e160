/*
 * The TURN server core with relays that share ports, against a model of whose a packet is.
 *
 * The input is a list of steps of four bytes: what, who, and two more.  Six clients, over UDP and TCP, talk to twelve
 * peers, and to each other's relays, by two ports.  Nobody authenticates: that is in fuzz_turn_server.
 *
 * Checked besides what the sanitizers see: a packet reaches only clients of the port it came to with a permission for
 * its sender; what one has sent to, or got a packet from, is his as long as he has that permission, and then nobody else
 * gets a packet through to it or from it; so is whom one has a conversation with at another relay; memory that is asked for
 * by packets is given back, and so are ports.
 */
#include "fuzz/check.h"
#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/msgw.h"
#include "turn/chandata.h"
#include "turn/server.h"

enum {
    CLIENTS = 6,
    PORTS = 2,
    FIRST = 50000,
    IPS = 3,
    PEERS = IPS * 4, /* four ports each */
    OWN = IPS,       /* the IP of our own relays, in permitted[] */
    ROOM = 2048,
    STEPS = 400,
    CHANNELS = 4
};

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

/* A client as the model has it. */
struct who {
    struct ph_addr at;
    bool up;
    unsigned port;                    /* of his relay, from 0 on */
    ph_ns permitted[IPS + 1];         /* until when */
    int talks[PORTS];                 /* to whom at that port of ours; -1: nobody */
    struct ph_addr channel[CHANNELS]; /* bound to; PH_AF_NONE: free, or it may have ended */
};

struct world {
    struct ph_turnd_conf c;
    struct ph_turnd *d;
    ph_ns now;
    struct who who[CLIENTS];
    int owner[PORTS][PEERS]; /* whose flow it is, -1: nobody's */
    bool restarted;          /* there may be flows that the model has forgotten */
    uint32_t txid;
    uint8_t req[ROOM];
    struct ph_msgw w;
    /* What came out last: */
    int verdict;
    struct ph_addr dst;
    uint32_t sock;
    uint16_t code;
};

/* --- addresses ----------------------------------------------------------------------------------- */

static struct ph_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, unsigned port)
{
    const uint8_t ip[4] = {a, b, c, d};
    return ph_addr_v4(ip, (uint16_t)port, PH_UDP);
}

static struct ph_addr peer_at(unsigned n)
{
    return v4(192, 0, 2, (uint8_t)(1 + n / 4), 9000 + n % 4);
}

static struct ph_addr own_at(unsigned port)
{
    return v4(198, 51, 100, 1, FIRST + port);
}

/* One of PEERS, or behind them of our own ports. */
static struct ph_addr somebody(unsigned n)
{
    n %= PEERS + PORTS;
    return n < PEERS ? peer_at(n) : own_at(n - PEERS);
}

static int client_at(const struct world *w, const struct ph_addr *at)
{
    for (int i = 0; i < CLIENTS; i++)
        if (ph_addr_eq(&w->who[i].at, at))
            return i;
    return -1;
}

/* --- the model ----------------------------------------------------------------------------------- */

static bool permits(const struct world *w, int who, unsigned ip)
{
    return who >= 0 && w->who[who].up && w->now < w->who[who].permitted[ip];
}

/* Who has the flow, -1: it is free. */
static int owner(const struct world *w, unsigned port, unsigned peer)
{
    int who = w->owner[port][peer];
    return permits(w, who, peer / 4) && w->who[who].port == port ? who : -1;
}

/* Who the other one talks with at a port, if that is mutual; else -1. */
static int conversation(const struct world *w, int who, unsigned port)
{
    int other = w->who[who].talks[port];
    bool both = permits(w, who, OWN) && permits(w, other, OWN) && w->who[other].port == port &&
                w->who[other].talks[w->who[who].port] == who;
    return both ? other : -1;
}

static void forget(struct world *w, int who)
{
    struct who *c = &w->who[who];
    *c = (struct who){.at = c->at};
    for (unsigned i = 0; i < PORTS; i++)
        c->talks[i] = -1;
    for (unsigned i = 0; i < PORTS; i++)
        for (unsigned k = 0; k < PEERS; k++)
            if (w->owner[i][k] == who)
                w->owner[i][k] = -1;
    for (int k = 0; k < CLIENTS; k++)
        for (unsigned i = 0; i < PORTS; i++)
            if (w->who[k].talks[i] == who)
                w->who[k].talks[i] = -1;
}

/* Whom the server believes to be there. */
static void sync(struct world *w)
{
    bool up[CLIENTS] = {0};
    struct ph_turnd_info info;

    for (uint32_t id = 0; ph_turnd_list(w->d, &id, &info);) {
        int who = client_at(w, &info.client);
        CHECK(who >= 0 && info.relay[0].port >= FIRST && info.relay[0].port < FIRST + PORTS);
        up[who] = true;
        w->who[who].up = true;
        w->who[who].port = info.relay[0].port - FIRST;
    }
    for (int i = 0; i < CLIENTS; i++)
        if (!up[i] && w->who[i].up)
            forget(w, i);
}

/* --- packets ------------------------------------------------------------------------------------- */

static void take(struct world *w, const struct ph_pkt *p)
{
    struct ph_msg m;

    w->dst = p->dst;
    w->sock = p->sock;
    if (!(p->sock & PH_SOCK_RELAY) && !p->head_len &&
        ph_msg_parse(&m, ph_buf_data(&p->b), p->b.len) == 0 && m.cls != PH_INDICATION)
        w->code = ph_msg_error(&m, &w->code, NULL) ? 0 : w->code;
}

static void drain(struct world *w)
{
    static uint8_t buf[PH_HEADROOM + ROOM];
    struct ph_pkt out = {.b = {buf, sizeof buf, PH_HEADROOM, 0}};
    struct ph_turnd_ev ev;

    for (int i = 0; i < 3; i++) {
        for (out.b.off = PH_HEADROOM; ph_turnd_output(w->d, &out, w->now);)
            take(w, &out);
        while (ph_turnd_event(w->d, &ev))
            CHECK(ev.type == PH_TURND_ALLOC_UP || ev.type == PH_TURND_ALLOC_DOWN);
    }
    sync(w);
}

/* Hands a packet in, in a heap block of its own: with room around it, or with none and perhaps a place for a header. */
static int input(struct world *w, uint32_t sock, const struct ph_addr *src, const void *p, size_t n,
                 uint8_t how)
{
    uint8_t head[PH_HEADROOM];
    const bool tight = how & 1;
    const uint32_t off = tight ? 0 : PH_HEADROOM, cap = tight ? (uint32_t)n : off + ROOM;
    uint8_t *buf = malloc(cap ? cap : 1);

    memcpy(buf + off, p, n);
    struct ph_pkt k = {.b = {buf, cap, off, (uint32_t)n},
                       .src = *src,
                       .sock = sock,
                       .conn = sock & PH_SOCK_RELAY || src->proto == PH_UDP ? 0 : src->port,
                       .head = tight && how & 2 ? head : NULL};
    w->code = 0;
    w->dst.family = PH_AF_NONE;
    w->verdict = ph_turnd_input(w->d, &k, w->now);
    if (w->verdict == PH_SEND)
        take(w, &k);
    CHECK(w->verdict != PH_E_NOSPACE || (tight && memcmp(ph_buf_data(&k.b), p, k.b.len) == 0));
    free(buf);
    drain(w);
    return w->verdict == PH_E_NOSPACE ? input(w, sock, src, p, n, 0) : w->verdict;
}

static struct ph_msgw *begin(struct world *w, uint16_t method, enum ph_class cls)
{
    uint8_t txid[PH_TXID_LEN] = {0};
    ph_put32(txid, ++w->txid);
    ph_msgw_begin(&w->w, w->req, sizeof w->req, method, cls, txid);
    return &w->w;
}

static int ask(struct world *w, int who, uint8_t how)
{
    const struct who *c = &w->who[who];
    const int n = ph_msgw_end(&w->w);
    CHECK(n > 0);
    return input(w, c->at.proto == PH_TCP, &c->at, w->req, (size_t)n, how);
}

/* A payload: some bytes, or an ICE check from a name to a name.  Returns its length. */
static size_t payload(uint8_t *p, uint8_t kind)
{
    static const uint8_t txid[PH_TXID_LEN] = {1};
    char user[] = "0:0";
    struct ph_msgw w;

    if (kind < 128) {
        memset(p, kind, kind % 32);
        return kind % 32;
    }
    user[0] = (char)('a' + kind % 8);
    user[2] = (char)('a' + kind / 8 % 8);
    ph_msgw_begin(&w, p, 64, PH_BINDING, PH_REQUEST, txid);
    ph_msgw_bytes(&w, PH_ATTR_USERNAME, ph_str(user));
    return (size_t)ph_msgw_end(&w);
}

/* --- what must hold ------------------------------------------------------------------------------ */

/* A client's packet has gone to where it was meant for, or not.  must: nothing but the pool can have stopped it. */
static void check_sent(struct world *w, int who, unsigned n, bool is_named, bool must)
{
    const struct who *c = &w->who[who];
    const unsigned port = n < PEERS ? c->port : n - PEERS;
    const int had = !c->up ? -1 : n < PEERS ? owner(w, port, n) : conversation(w, who, port);

    if (w->verdict != PH_SEND) {
        CHECK(!must || had < 0 || is_named || (n < PEERS && had != who));
        return;
    }
    CHECK(c->up);
    if (n < PEERS) {
        CHECK(w->sock == (PH_SOCK_RELAY | PH_SOCK_POOL | port) && permits(w, who, n / 4));
        CHECK(had < 0 || had == who);
        w->owner[port][n] = who;
        return;
    }
    const int to = client_at(w, &w->dst);
    CHECK(to >= 0 && w->who[to].port == port && permits(w, to, OWN) && permits(w, who, OWN));
    CHECK(had < 0 || had == to || is_named);
    const int with = conversation(w, to, c->port);
    CHECK(with < 0 || with == who || to == who);
    if (to != who)
        w->who[who].talks[port] = to;
}

static void check_heard(struct world *w, unsigned port, unsigned peer, bool is_named)
{
    const int had = owner(w, port, peer), to = w->verdict == PH_SEND ? client_at(w, &w->dst) : -1;
    unsigned many = 0;

    for (int i = 0; i < CLIENTS; i++)
        many += w->who[i].port == port && permits(w, i, peer / 4);
    CHECK(had < 0 || to == had);
    CHECK(had >= 0 || w->restarted || is_named || (many == 1) == (to >= 0));
    if (to < 0)
        return;
    CHECK(w->who[to].port == port && permits(w, to, peer / 4));
    w->owner[port][peer] = to;
}

/* --- steps --------------------------------------------------------------------------------------- */

static void permit(struct world *w, int who, unsigned n, bool channel, uint8_t number)
{
    const struct ph_addr to = somebody(n);
    const unsigned ip = n % (PEERS + PORTS) < PEERS ? n % (PEERS + PORTS) / 4 : OWN;
    const bool was_up = w->who[who].up;

    begin(w, channel ? PH_CHANNEL_BIND : PH_CREATE_PERMISSION, PH_REQUEST);
    if (channel)
        ph_msgw_uint(&w->w, PH_ATTR_CHANNEL_NUMBER, 0x4000u + number % CHANNELS);
    ph_msgw_addr(&w->w, PH_ATTR_XOR_PEER_ADDRESS, &to);
    if (ask(w, who, 0) != PH_SEND || w->code || !was_up)
        return;
    struct who *c = &w->who[who];
    c->permitted[ip] = w->now + PH_SEC(300);
    if (!channel)
        return;
    c->channel[number % CHANNELS] = to;
    if (ip == OWN)
        return;
    int had = owner(w, c->port, n % (PEERS + PORTS));
    CHECK(had < 0 || had == who);
    w->owner[c->port][n % (PEERS + PORTS)] = who;
}

static void send_step(struct world *w, int who, unsigned n, uint8_t more, uint8_t how)
{
    const struct ph_addr to = somebody(n);
    uint8_t data[64];
    const size_t len = payload(data, more);

    begin(w, PH_SEND_METHOD, PH_INDICATION);
    if (how & 4)
        ph_msgw_bytes(&w->w, PH_ATTR_DATA, (struct ph_slice){data, len});
    ph_msgw_addr(&w->w, PH_ATTR_XOR_PEER_ADDRESS, &to);
    if (!(how & 4))
        ph_msgw_bytes(&w->w, PH_ATTR_DATA, (struct ph_slice){data, len});
    ask(w, who, how);
    check_sent(w, who, n % (PEERS + PORTS), more >= 128, true);
}

static void channel_step(struct world *w, int who, uint8_t number, uint8_t more, uint8_t how)
{
    const struct who *c = &w->who[who];
    const struct ph_addr to = c->channel[number % CHANNELS];
    uint8_t data[80];
    const size_t len = payload(data + PH_CHANNEL_HEADER, more);

    ph_chandata_write(data, (uint16_t)(0x4000 + number % CHANNELS), (uint16_t)len);
    input(w, c->at.proto == PH_TCP, &c->at, data, len + PH_CHANNEL_HEADER, how);
    if (w->verdict != PH_SEND)
        return;
    unsigned n = 0;
    for (; n < PEERS + PORTS; n++) {
        const struct ph_addr a = somebody(n);
        if (ph_addr_eq_endpoint(&a, &to))
            break;
    }
    CHECK(n < PEERS + PORTS); /* a channel of the model leads somewhere */
    check_sent(w, who, n, more >= 128, false);
}

static void peer_step(struct world *w, uint8_t port, unsigned peer, uint8_t more, uint8_t how)
{
    const struct ph_addr from = peer_at(peer % PEERS);
    uint8_t data[64];
    const size_t len = payload(data, more);

    input(w, PH_SOCK_RELAY | PH_SOCK_POOL | port % PORTS, &from, data, len, how);
    check_heard(w, port % PORTS, peer % PEERS, more >= 128);
}

static void icmp_step(struct world *w, uint8_t port, unsigned peer)
{
    uint8_t buf[256];
    struct ph_pkt out = {.b = {buf, sizeof buf, PH_HEADROOM, 0}};
    const struct ph_addr from = peer_at(peer % PEERS);
    const int had = owner(w, port % PORTS, peer % PEERS);
    const int verdict = ph_turnd_icmp(w->d, PH_SOCK_RELAY | PH_SOCK_POOL | (port % PORTS), &from, 3,
                                      3, 0, &out, w->now);

    if (verdict != PH_SEND)
        return;
    const int to = client_at(w, &out.dst); /* of flows that were restored the model does not know */
    CHECK(had < 0 ? permits(w, to, peer % PEERS / 4) : to == had);
}

/* Another process goes on with what was saved.  Flows that no channel stands for are to be made again. */
static void restart(struct world *w)
{
    static uint8_t record[CLIENTS][4096];
    size_t n[CLIENTS] = {0};
    struct ph_turnd_info info;
    unsigned kept = 0;
    uint32_t slot;

    for (uint32_t id = 0; ph_turnd_list(w->d, &id, &info) && kept < CLIENTS;) {
        n[kept] = ph_turnd_save(w->d, info.id, record[kept], sizeof record[kept], w->now);
        kept += n[kept] > 0;
    }
    ph_turnd_free(w->d);
    CHECK(ph_ports_used(w->c.relay[0].ports) == 0);
    w->d = ph_turnd_new(&w->c, &env, w->now);
    CHECK(w->d);
    ph_turnd_wall_clock(w->d, 1800000000 + (w->now - PH_SEC(1000)) / PH_SEC(1), w->now);
    for (unsigned i = 0; i < kept; i++)
        ph_turnd_restore(w->d, (struct ph_slice){record[i], n[i]}, &slot, w->now);
    w->restarted = true;
    memset(w->owner, -1, sizeof w->owner);
    for (int i = 0; i < CLIENTS; i++)
        for (unsigned k = 0; k < PORTS; k++)
            w->who[i].talks[k] = -1;
    drain(w);
}

static void allocate(struct world *w, int who, uint8_t more)
{
    begin(w, PH_ALLOCATE, PH_REQUEST);
    ph_msgw_uint(&w->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    if (more & 1)
        ph_msgw_uint(&w->w, PH_ATTR_EVEN_PORT, more & 2 ? 0x80 : 0);
    ask(w, who, 0);
}

static void refresh(struct world *w, int who, uint8_t more)
{
    begin(w, PH_REFRESH, PH_REQUEST);
    ph_msgw_uint(&w->w, PH_ATTR_LIFETIME, more & 1 ? 0 : 3600);
    ask(w, who, 0);
}

/* A policy that denies one of the peers' networks, or none. */
static void reload(struct world *w, const struct ph_acl *strict, uint8_t more)
{
    struct ph_turnd_live live = w->c.live;

    if (more & 1)
        live.acl = strict;
    ph_turnd_reload(w->d, &live, w->now);
    for (int i = 0; i < CLIENTS && more & 1; i++)
        if (w->now < w->who[i].permitted[0])
            w->who[i].permitted[0] = w->now;
}

static void step(struct world *w, const struct ph_acl *strict, const uint8_t b[4])
{
    const int who = b[1] % CLIENTS;
    const uint8_t how = b[0] >> 4;

    switch (b[0] % 16) {
    case 0:
        allocate(w, who, b[2]);
        break;
    case 1:
        refresh(w, who, b[2]);
        break;
    case 2:
    case 3:
        permit(w, who, b[2], false, 0);
        break;
    case 4:
        permit(w, who, b[2], true, b[3]);
        break;
    case 5:
    case 6:
        send_step(w, who, b[2], b[3], how);
        break;
    case 7:
    case 8:
        channel_step(w, who, b[2], b[3], how);
        break;
    case 9:
    case 10:
        peer_step(w, b[1], b[2], b[3], how);
        break;
    case 11:
        w->now += PH_SEC(b[2]);
        ph_turnd_tick(w->d, w->now);
        break;
    case 12:
        reload(w, strict, b[2]);
        break;
    case 13:
        icmp_step(w, b[1], b[2]);
        break;
    case 14:
        if (b[1] % 4 == 0)
            restart(w);
        else
            ph_turnd_end(w->d, b[2] % 64, w->now);
        break;
    default:
        ph_turnd_conn_closed(w->d, 1, &w->who[who].at, w->now);
        break;
    }
    drain(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ph_acl *mild = ph_acl_new(), *strict = ph_acl_new();
    struct ph_ports *ports = ph_ports_new(FIRST, FIRST + 9);
    struct world w = {.now = PH_SEC(1000)};

    seed = 1;
    CHECK(ph_acl_add(strict, false, "192.0.2.1", 9) == 0);
    w.c = (struct ph_turnd_conf){
        .listener = {{.at = v4(198, 51, 100, 1, 3478)}, {.at = v4(198, 51, 100, 1, 3478)}},
        .n_listeners = 2,
        .relay = {{.at = v4(198, 51, 100, 1, 0), .ports = ports}},
        .n_relays = 1,
        .pool_first = FIRST,
        .pool_ports = PORTS,
        .live.acl = mild,
        .max_permissions = 8, /* more than there can be: none is given up that the model has */
        .max_channels = 16,
        .max_lifetime_s = 3600,
    };
    w.c.listener[1].at.proto = PH_TCP;
    w.d = ph_turnd_new(&w.c, &env, w.now);
    CHECK(w.d);
    ph_turnd_wall_clock(w.d, 1800000000, w.now);
    memset(w.owner, -1, sizeof w.owner);
    for (int i = 0; i < CLIENTS; i++) {
        w.who[i].at = v4(203, 0, 113, 9, 40000u + (unsigned)i);
        w.who[i].at.proto = i % 3 == 2 ? PH_TCP : PH_UDP;
        forget(&w, i);
    }
    for (unsigned i = 0; i < STEPS && size >= 4; i++, data += 4, size -= 4)
        step(&w, strict, data);
    CHECK(ph_ports_used(ports) == PORTS);
    ph_turnd_free(w.d);
    CHECK(ph_ports_used(ports) == 0);
    ph_ports_free(ports);
    ph_acl_free(mild);
    ph_acl_free(strict);
    return 0;
}
