/*
 * Bytes that claim to be a record, in three ways.
 *
 *     read      what is read would be written just so
 *     opened    sealed by somebody else: never; sealed under our key: what was sealed
 *     restored  into a core: no port, quota or stray is left behind when it has ended; and while it stands it is saved as a
 *               record that a second core restores and saves to the byte
 *
 * The first byte says how the shell fares with the sockets: bit 0, 1: the first, second one is not to be had; bit 2: the
 * client comes to another worker.
 */
#include "fuzz/check.h"
#include "stun/base/error.h"
#include "turn/fleetkey.h"
#include "turn/server.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NO_FIRST = 1, NO_SECOND = 2, MOVES = 4, MAX = 32768 };

static const int64_t wall_s = 1800000000;
static const ph_ns start = PH_SEC(1000);

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

static void check_read(const uint8_t *p, size_t n)
{
    static struct ph_record_room room;
    static uint8_t again[MAX];
    struct ph_record r;
    uint8_t *copy = malloc(n ? n : 1); /* it ends where its bytes do: for the sanitizer */

    CHECK(copy);
    if (n)
        memcpy(copy, p, n);
    int err = ph_record_read(&r, &room, (struct ph_slice){copy, n});
    CHECK(err == 0 || err == PH_E_SHORT || err == PH_E_FORMAT || err == PH_E_UNSUPPORTED);
    if (err == 0) {
        CHECK(ph_record_write(&r, again, sizeof again) == (int)n);
        CHECK(memcmp(again, p, n) == 0);
    }
    free(copy);
}

static void check_open(const uint8_t *p, size_t n)
{
    static uint8_t sealed[MAX + PH_FLEET_SEAL_ROOM], plain[MAX + PH_FLEET_SEAL_ROOM];
    const struct ph_fleet_keys k = {.n = 2, .secret = {"0123456789abcdef", "fedcba9876543210"}};
    const struct ph_slice name = {p, n < 8 ? n : 8};
    uint8_t *copy = malloc(n ? n : 1);

    CHECK(copy);
    if (n)
        memcpy(copy, p, n);
    CHECK(ph_fleet_open(&k, plain, name, (struct ph_slice){copy, n}) < 0);
    free(copy);
    int len = ph_fleet_seal(&k, sealed, name, (struct ph_slice){p, n}, &env);
    CHECK(len > (int)n && len <= (int)n + PH_FLEET_SEAL_ROOM);
    CHECK(ph_fleet_open(&k, plain, name, (struct ph_slice){sealed, (size_t)len}) == (int)n);
    CHECK(n == 0 || memcmp(plain, p, n) == 0);
    sealed[(size_t)len * 7 / 11] ^= 1;
    CHECK(ph_fleet_open(&k, plain, name, (struct ph_slice){sealed, (size_t)len}) < 0);
}

/* --- cores ----------------------------------------------------------------------------------------- */

static struct ph_addr addr(const char *text, uint8_t proto)
{
    struct ph_addr a;
    CHECK(ph_addr_parse(&a, text, strlen(text), 0) == 0);
    a.proto = proto;
    return a;
}

/* What the cores of one input share. */
struct world {
    struct ph_acl *acl;
    struct ph_auth *auth;
    struct ph_ports *ports;
    struct ph_quota *quota;
    struct ph_strays *strays;
    struct ph_turnd_conf c;
    uint8_t flags;
    unsigned ups, downs;
};

static void world_init(struct world *w)
{
    *w = (struct world){
        .acl = ph_acl_new(),
        .auth = ph_auth_new("example.org", &env),
        .ports = ph_ports_new(50000, 50999),
        .quota = ph_quota_new(1, 1, 16, &env),
        .strays = ph_strays_new(16, &env),
    };
    w->c = (struct ph_turnd_conf){
        .listener = {{.at = addr("198.51.100.1:3478", PH_UDP)},
                     {.at = addr("198.51.100.1:3478", PH_TCP)}},
        .n_listeners = 2,
        .relay = {{.at = addr("198.51.100.1", PH_UDP), .ports = w->ports},
                  {.at = addr("2001:db8::1", PH_UDP), .ports = w->ports}},
        .n_relays = 2,
        .live = {.acl = w->acl, .auth = w->auth, .max_bps = 1000000},
        .quota = w->quota,
        .strays = w->strays,
        .max_permissions = 16,
        .max_channels = 16,
        .mobility = true,
        .save = true,
    };
    ph_acl_add(w->acl, false, "192.0.2.0/24", 12);
    ph_auth_add_user(w->auth, ph_str("u"), ph_str("p"));
}

static struct ph_turnd *core(struct world *w, uint8_t worker)
{
    w->c.worker = worker;
    struct ph_turnd *d = ph_turnd_new(&w->c, &env, start);
    CHECK(d);
    ph_turnd_wall_clock(d, wall_s, start);
    return d;
}

static void world_fini(struct world *w)
{
    CHECK(ph_quota_used(w->quota) == 0);
    CHECK(ph_ports_used(w->ports) == 0);
    CHECK(ph_strays_count(w->strays) == 0);
    ph_acl_free(w->acl);
    ph_auth_free(w->auth);
    ph_ports_free(w->ports);
    ph_quota_free(w->quota);
    ph_strays_free(w->strays);
}

static void drain(struct world *w, struct ph_turnd *d, ph_ns now)
{
    struct ph_turnd_ev ev;
    unsigned opens = 0;

    while (ph_turnd_event(d, &ev))
        switch (ev.type) {
        case PH_TURND_RELAY_OPEN:
            CHECK(ev.at.port >= 50000 && ev.at.port < 51000);
            ph_turnd_relay_opened(d, ev.sock, w->flags >> opens & 1 ? -EADDRINUSE : 0, now);
            CHECK(++opens <= 2); /* never another port */
            break;
        case PH_TURND_ALLOC_UP:
            CHECK(ev.info.restored);
            w->ups++;
            break;
        case PH_TURND_ALLOC_DOWN:
            w->downs++;
            break;
        default:
            break;
        }
}

/* What is saved is restored by another core as it was. */
static void check_again(struct world *w, struct ph_slice record)
{
    struct world second;
    static uint8_t again[MAX];
    uint32_t id;

    (void)w;
    world_init(&second);
    struct ph_turnd *d = core(&second, 0);
    CHECK(ph_turnd_restore(d, record, &id, start) == 0);
    drain(&second, d, start);
    CHECK(second.ups == 1);
    CHECK(ph_turnd_save(d, id, again, sizeof again, start) == record.n);
    CHECK(memcmp(again, record.p, record.n) == 0);
    ph_turnd_free(d);
    world_fini(&second);
}

/* It stands: its numbers are within their bounds, and it goes where its client goes. */
static void check_standing(struct world *w, struct ph_turnd *d, uint32_t id)
{
    static uint8_t saved[MAX];
    struct ph_turnd_info info;
    uint32_t at = id, changed, sock[2];
    uint64_t session;

    CHECK(ph_turnd_list(d, &at, &info) && info.id == id);
    CHECK(info.expires_at > start && info.expires_at <= start + PH_SEC(3600));
    CHECK(info.permissions <= 16 && info.channels <= 16 && info.created_at <= start);
    CHECK(ph_turnd_find(d, info.session) == id);
    CHECK(ph_turnd_changed(d, &changed, &session) && changed == id && session == info.session);
    CHECK(!ph_turnd_changed(d, &changed, &session));
    const size_t n = ph_turnd_save(d, id, saved, sizeof saved, start);
    CHECK(n);
    check_again(w, (struct ph_slice){saved, n});
    if (!(w->flags & MOVES))
        return;
    struct ph_turnd *other = core(w, 1);
    const struct ph_turnd_where where = {.fetch = true, .slot = id, .session = info.session};
    struct ph_turnd_moved *m = ph_turnd_detach(d, &where, sock, start);
    CHECK(m && ph_turnd_attach(other, m, sock, start) == 0);
    CHECK(ph_turnd_count(other) == 1 && ph_turnd_count(d) == 0 && ph_strays_count(w->strays) == 0);
    ph_turnd_tick(other, info.expires_at);
    drain(w, other, info.expires_at);
    CHECK(w->downs == 1);
    ph_turnd_free(other);
}

static void check_restore(const uint8_t *p, size_t n, uint8_t flags)
{
    struct world w;
    uint32_t id;

    world_init(&w);
    w.flags = flags;
    struct ph_turnd *d = core(&w, 0);
    int err = ph_turnd_restore(d, (struct ph_slice){p, n}, &id, start);
    drain(&w, d, start);
    CHECK(w.downs == 0);
    CHECK(ph_turnd_count(d) == w.ups && ph_quota_used(w.quota) == w.ups);
    CHECK(ph_turnd_stats(d)->restored == w.ups);
    CHECK(ph_turnd_stats(d)->not_restored == !w.ups);
    CHECK(!err || !w.ups);
    if (w.ups)
        check_standing(&w, d, id);
    ph_turnd_tick(d, start + PH_SEC(3600));
    drain(&w, d, start + PH_SEC(3600));
    CHECK(ph_turnd_count(d) == 0 && w.downs == w.ups);
    ph_turnd_free(d);
    world_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > MAX)
        return 0;
    seed = 1;
    check_read(data + 1, size - 1);
    check_open(data + 1, size - 1);
    check_restore(data + 1, size - 1, data[0]);
    return 0;
}
