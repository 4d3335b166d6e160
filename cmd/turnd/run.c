/*
 * Building and running the server.
 */
#include "cmd/turnd/run.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "stun/uv/env.h"

#include <inttypes.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define SAY(r, level, ...) ph_logf(&(r)->env, PH_LOG_##level, __VA_ARGS__)

/* ---- build ---- */

static void check_device(struct ph_tconf *c, const char *key, const char *device)
{
    if (device && *device && if_nametoindex(device) == 0)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, key),
                    "there is no device \"%.32s\" on this machine", device);
}

int ph_trun_build(struct ph_trun *r, struct ph_tconf *conf, const struct ph_env *env)
{
    struct ph_addr machine[PH_TURND_LISTENERS];
    int n = ph_tplan_machine(machine, PH_TURND_LISTENERS);
    *r = (struct ph_trun){.conf = conf, .env = *env};
    ph_tplan_make(&r->plan, conf, machine, n > 0 ? (unsigned)n : 0);
    check_device(conf, "listening-device", conf->device);
    check_device(conf, "relay-device", conf->relay_device);
    r->acl = ph_tconf_acl(conf);
    if (ph_tconf_wants_auth(conf))
        r->auth = ph_tconf_auth(conf, env);
    return r->acl && (r->auth || !ph_tconf_wants_auth(conf)) ? 0 : PH_E_NOMEM;
}

/* ---- start ---- */

/* "turnserver.conf:3: listening-ip: ", where an address comes from; "" when it was found by ourselves. */
static const char *origin(const struct ph_trun *r, const struct ph_addr *at, char *dst, size_t n)
{
    static const char *const KEYS[] = {"listening-ip", "aux-server", "relay-ip"};
    char place[256];
    for (size_t k = 0; k < sizeof KEYS / sizeof *KEYS; k++) {
        for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(r->conf->opts, KEYS[k], s));) {
            struct ph_addr a;
            if (ph_addr_parse(&a, s->value, strlen(s->value), 0) == 0 && ph_addr_eq_ip(&a, at)) {
                snprintf(dst, n, "%s: %s%s: ", ph_opts_place(s, place, sizeof place),
                         s->file ? "" : "--", KEYS[k]);
                return dst;
            }
        }
    }
    *dst = '\0';
    return dst;
}

/* Workers share their ports (SO_REUSEPORT), and so would a second turnd of the same user, taking half of the clients
 * away: a socket that shares nothing finds it out. */
static int try_listeners(const struct ph_trun *r)
{
    char from[320], text[PH_ADDR_TEXT];
    for (unsigned i = 0; i < r->plan.n_listeners && !r->conf->device; i++) {
        int err = ph_tplan_try(&r->plan.listener[i]);
        if (err) {
            SAY(r, ERROR, "%scannot listen on udp %s: %s",
                origin(r, &r->plan.listener[i], from, sizeof from),
                ph_addr_text(&r->plan.listener[i], text), ph_strerror(err));
            return err;
        }
    }
    return 0;
}

static int try_relays(const struct ph_trun *r)
{
    char from[320], text[PH_ADDR_TEXT];
    for (unsigned i = 0; i < r->plan.n_relays; i++) {
        int err = ph_tplan_try(&r->plan.relay[i]);
        if (err) {
            SAY(r, ERROR, "%scannot relay from %s: %s",
                origin(r, &r->plan.relay[i], from, sizeof from),
                ph_addr_ip_text(&r->plan.relay[i], text), ph_strerror(err));
            return err;
        }
    }
    return 0;
}

/* What the workers share.  0 or PH_E_NOMEM. */
static int make_shared(struct ph_trun *r)
{
    const struct ph_tconf *c = r->conf;
    uint32_t ports = 0;
    for (unsigned i = 0; i < r->plan.n_relays; i++) {
        r->ports[i] = ph_ports_new((uint16_t)c->min_port, (uint16_t)c->max_port);
        if (!r->ports[i])
            return PH_E_NOMEM;
        ports += ph_ports_total(r->ports[i]);
    }
    if (c->user_quota || c->total_quota) {
        r->quota =
            ph_quota_new(c->total_quota, c->user_quota, ports > 65536 ? ports : 65536, &r->env);
        if (!r->quota)
            return PH_E_NOMEM;
    }
    r->reserve = ph_reserve_new();
    return r->reserve ? 0 : PH_E_NOMEM;
}

static void fill_core(const struct ph_trun *r, struct ph_turnd_conf *core)
{
    static const enum ph_turnd_family FAMILY[] = {
        [PH_TCONF_IPV4] = PH_FAMILY_IPV4,
        [PH_TCONF_IPV6] = PH_FAMILY_IPV6,
        [PH_TCONF_KEEP] = PH_FAMILY_CLIENT,
    };
    const struct ph_tconf *c = r->conf;
    *core = (struct ph_turnd_conf){
        .n_listeners = r->plan.n_listeners,
        .n_relays = r->plan.n_relays,
        .auth = r->auth,
        .acl = r->acl,
        .quota = r->quota,
        .reserve = r->reserve,
        .software = c->software ? "Pinhole-" PH_VERSION : NULL,
        .alternate = c->alternate,
        .max_lifetime_s = c->max_lifetime_s,
        .permission_lifetime_s = c->permission_lifetime_s,
        .channel_lifetime_s = c->channel_lifetime_s,
        .default_family = FAMILY[c->family],
        .channels_5766 = c->channels_5766,
        .no_udp_relay = c->no_udp_relay,
        .always_fingerprint = c->fingerprint,
        .long_reasons = c->long_reasons,
    };
    ph_tconf_nonce(c, &r->env, &core->nonce);
    for (unsigned i = 0; i < r->plan.n_listeners; i++)
        core->listener[i].at = r->plan.listener[i];
    for (unsigned i = 0; i < r->plan.n_relays; i++)
        core->relay[i] = (struct ph_turnd_relay){
            .at = r->plan.relay[i],
            .external = r->plan.relay_external[i],
            .ports = r->ports[i],
        };
}

static void fill_shell(struct ph_trun *r, struct ph_turn_uv_conf *u, uv_loop_t *loop)
{
    const struct ph_tconf *c = r->conf;
    *u = (struct ph_turn_uv_conf){
        .workers = r->plan.workers,
        .loop = loop,
        .env = &r->env,
        .n_quads = r->plan.n_quads,
        .budget = ph_tconf_budget(c),
        .rcvbuf = c->sock_buf,
        .sndbuf = c->sock_buf,
        .relay_rcvbuf = c->sock_buf,
        .relay_sndbuf = c->sock_buf,
        .device = c->device,
        .relay_device = c->relay_device,
        .on_event = ph_trun_audit,
        .ctx = r,
    };
    memcpy(u->external, r->plan.listener_external, sizeof u->external);
    memcpy(u->quad, r->plan.quad, sizeof u->quad);
    fill_core(r, &u->core);
}

static int start_server(struct ph_trun *r, uv_loop_t *loop)
{
    const struct ph_tconf *c = r->conf;
    const struct ph_stund_conf stun = {
        .always_mapped = c->always_mapped,
        .always_fingerprint = c->fingerprint,
        .software = c->software ? "Pinhole-" PH_VERSION : NULL,
    };
    char from[320], text[PH_ADDR_TEXT];
    struct ph_addr failed = {0};
    struct ph_turn_uv_conf *u = malloc(sizeof *u);
    if (!u)
        return PH_E_NOMEM;
    fill_shell(r, u, loop);
    u->stun = c->no_stun ? NULL : &stun;
    int err = ph_turn_uv_new(&r->server, u, &failed);
    ph_wipe(&u->core.nonce, sizeof u->core.nonce);
    free(u);
    if (err && failed.family) {
        SAY(r, ERROR, "%scannot listen on udp %s: %s", origin(r, &failed, from, sizeof from),
            ph_addr_text(&failed, text), ph_strerror(err));
        return err;
    }
    if (err)
        SAY(r, ERROR, "cannot start: %s", ph_strerror(err));
    return err;
}

int ph_trun_start(struct ph_trun *r, const struct ph_env *env, uv_loop_t *loop)
{
    r->env = *env;
    int err = try_listeners(r);
    if (!err)
        err = try_relays(r);
    if (err)
        return err;
    err = make_shared(r);
    if (err) {
        SAY(r, ERROR, "cannot start: %s", ph_strerror(err));
        return err;
    }
    return start_server(r, loop);
}

void ph_trun_free(struct ph_trun *r)
{
    ph_turn_uv_free(r->server);
    ph_reserve_free(r->reserve);
    ph_quota_free(r->quota);
    for (unsigned i = 0; i < PH_TURND_RELAYS; i++)
        ph_ports_free(r->ports[i]);
    ph_auth_free(r->auth);
    ph_acl_free(r->acl);
    *r = (struct ph_trun){.conf = r->conf};
}

/* ---- what it says ---- */

uint64_t ph_trun_files(const struct ph_trun *r)
{
    const struct ph_tconf *c = r->conf;
    unsigned workers = r->plan.workers ? r->plan.workers : 1;
    uint64_t relays = (uint64_t)r->plan.n_relays * (c->max_port - c->min_port + 1);
    if (c->total_quota && relays > (uint64_t)c->total_quota * 2)
        relays = (uint64_t)c->total_quota * 2; /* IPv4 and IPv6 */
    return relays + (uint64_t)workers * (r->plan.n_listeners + 8) + 32;
}

void ph_trun_announce(const struct ph_trun *r)
{
    const struct ph_tconf *c = r->conf;
    char text[PH_ADDR_TEXT], told[PH_ADDR_TEXT];
    struct ph_addr at;
    for (unsigned i = 0; i < r->plan.n_listeners; i++)
        if (ph_turn_uv_local(r->server, i, &at) == 0)
            SAY(r, INFO, "listening on udp %s", ph_addr_text(&at, text));
    for (unsigned i = 0; i < r->plan.n_relays; i++)
        SAY(r, INFO, "relaying from %s, ports %" PRIu32 " to %" PRIu32 "%s%s",
            ph_addr_ip_text(&r->plan.relay[i], text), c->min_port, c->max_port,
            r->plan.relay_external[i].family ? ", known as " : "",
            r->plan.relay_external[i].family ? ph_addr_ip_text(&r->plan.relay_external[i], told)
                                             : "");
    if (c->rfc5780 && r->plan.n_quads)
        SAY(r, INFO, "RFC 5780 is on for %u pair%s of addresses", r->plan.n_quads,
            r->plan.n_quads == 1 ? "" : "s");
    if (c->no_budget)
        SAY(r, WARN, "no budget: anybody can have floods reflected by this server");
    SAY(r, INFO, "turnd %s is ready: realm %s, %u worker%s", PH_VERSION, c->realm,
        ph_turn_uv_workers(r->server), ph_turn_uv_workers(r->server) == 1 ? "" : "s");
}

void ph_trun_counters(struct ph_trun *r)
{
    struct ph_turn_uv_stats s;
    ph_turn_uv_stats(r->server, UINT32_MAX, &s);
    SAY(r, INFO,
        "counters: requests=%" PRIu64 " errors=%" PRIu64 " unauthenticated=%" PRIu64
        " stale_nonce=%" PRIu64 " over_budget=%" PRIu64 " malformed=%" PRIu64
        " forbidden_peer=%" PRIu64 " no_permission=%" PRIu64 " allocations=%" PRIu64
        " allocations_now=%" PRIu64 " bindings=%" PRIu64,
        s.turn.requests, s.turn.errors, s.turn.unauthenticated, s.turn.stale_nonce,
        s.turn.over_budget + s.stun.over_budget, s.turn.malformed, s.turn.forbidden_peer,
        s.turn.no_permission, s.turn.allocations, s.allocations_now, s.stun.answers);
    SAY(r, INFO,
        "counters: to_peer=%" PRIu64 "/%" PRIu64 "B to_client=%" PRIu64 "/%" PRIu64 "B rx=%" PRIu64
        "/%" PRIu64 "B tx=%" PRIu64 "/%" PRIu64 "B not_sent=%" PRIu64,
        s.turn.to_peer_packets, s.turn.to_peer_bytes, s.turn.to_client_packets,
        s.turn.to_client_bytes, s.io.rx_packets, s.io.rx_bytes, s.io.tx_packets, s.io.tx_bytes,
        s.io.drop_full + s.io.drop_too_big + s.io.drop_unreachable + s.io.drop_denied +
            s.io.drop_other);
}

void ph_trun_bindings(struct ph_trun *r)
{
    struct ph_turn_uv_stats s;
    ph_turn_uv_stats(r->server, UINT32_MAX, &s);
    if (s.stun.answers != r->bindings)
        SAY(r, INFO, "bindings: %" PRIu64 " requests were answered", s.stun.answers - r->bindings);
    r->bindings = s.stun.answers;
}
