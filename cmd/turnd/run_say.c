/*
 * What a running server says in its log.
 */
#include "cmd/turnd/run.h"

#include <inttypes.h>
#include <time.h>

#define SAY(r, level, ...) ph_logf(&(r)->env, PH_LOG_##level, __VA_ARGS__)

enum { POOLED = 65536 /* clients that may share ports */ };

uint64_t ph_trun_files(const struct ph_trun *r)
{
    const struct ph_tconf *c = r->conf;
    unsigned workers = r->plan.workers ? r->plan.workers : 1;
    uint64_t relays = (uint64_t)r->plan.n_relays * (c->max_port - c->min_port + 1);
    if (r->plan.pool_ports && relays < POOLED) /* clients do not end with the ports */
        relays = POOLED;
    if (c->total_quota && relays > (uint64_t)c->total_quota * 2)
        relays = (uint64_t)c->total_quota * 2; /* IPv4 and IPv6 */
    if (r->plan.n_listeners && r->plan.listener[r->plan.n_listeners - 1].proto != PH_UDP)
        relays *= 2; /* and a connection for each client */
    return relays + (uint64_t)workers * (r->plan.n_listeners + 8) + 32;
}

static void announce_tls(const struct ph_trun *r)
{
    struct ph_tls_info info;
    char until[32];
    struct tm tm;
    for (unsigned i = 0; r->tls && ph_tls_info(r->tls, i, &info); i++) {
        time_t end = (time_t)info.not_after_s;
        gmtime_r(&end, &tm);
        strftime(until, sizeof until, "%F", &tm);
        SAY(r, INFO, "certificate for %s, good until %s", *info.names ? info.names : "no name",
            until);
    }
    if (!r->tls && !(r->conf->no_tls && r->conf->no_dtls))
        SAY(r, INFO, "TLS and DTLS are off: there is no certificate (give cert and pkey)");
}

void ph_trun_announce(const struct ph_trun *r)
{
    const struct ph_tconf *c = r->conf;
    char text[PH_ADDR_TEXT], told[PH_ADDR_TEXT];
    struct ph_addr at;
    for (unsigned i = 0; i < r->plan.n_listeners; i++)
        if (ph_turn_uv_local(r->server, i, &at) == 0)
            SAY(r, INFO, "listening on %s %s", ph_tplan_speaks(&r->plan, i),
                ph_addr_text(&at, text));
    announce_tls(r);
    for (unsigned i = 0; i < r->plan.n_relays; i++)
        SAY(r, INFO, "relaying from %s, ports %" PRIu32 " to %" PRIu32 "%s%s",
            ph_addr_ip_text(&r->plan.relay[i], text), c->min_port, c->max_port,
            r->plan.relay_external[i].family ? ", known as " : "",
            r->plan.relay_external[i].family ? ph_addr_ip_text(&r->plan.relay_external[i], told)
                                             : "");
    if (r->plan.pool_ports)
        SAY(r, INFO, "UDP relays share %u port%s from %" PRIu32 " on", r->plan.pool_ports,
            r->plan.pool_ports == 1 ? "" : "s", c->min_port);
    if (c->rfc5780 && r->plan.n_quads)
        SAY(r, INFO, "RFC 5780 is on for %u pair%s of addresses", r->plan.n_quads,
            r->plan.n_quads == 1 ? "" : "s");
    if (c->redis_userdb)
        SAY(r, INFO, "users come from Redis as well");
    if (c->redis_statsdb)
        SAY(r, INFO, "sessions and traffic are told in Redis");
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
