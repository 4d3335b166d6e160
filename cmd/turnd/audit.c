/*
 * The audit: a line for every allocation that is made and for every one that ends.
 *
 *     allocation made session=001000000000000007 slot=1.7 user="alice" realm="example.org" transport=udp
 *         client=192.0.2.9:50000 server=192.0.2.1:3478 relay=192.0.2.1:61234 lifetime=600
 *     allocation ended session=001000000000000007 ... reason=released duration=12.345 to_peer_packets=10
 *         to_peer_bytes=1600 to_client_packets=9 to_client_bytes=1440 dropped=0 peers=198.51.100.7,+3
 *
 *     allocation restored session=... (by another process, from the store)
 *     allocation kept for a restart session=... node="turn-1" (at the end of the process, with redis-statedb)
 *
 * (each on one line; with log-format=json the same as members).  The session's number is never used twice; slot is the
 * worker and the allocation's place there, which is used again later.  The user and the realm are what the client
 * has sent: they are quoted and escaped.
 */
#include "cmd/common/log.h"
#include "cmd/turnd/run.h"
#include "cmd/turnd/state.h"
#include "cmd/turnd/words.h"
#include "stun/uv/loop.h"

#include <inttypes.h>

enum {
    PEERS_TOLD = 32,
    PEERS_COUNTED = 512, /* a bound for the stack: more are told as that many */
    FIELDS = 20
};

/* A line under construction: the fields and what they point to. */
struct entry {
    struct ph_log_field f[FIELDS];
    size_t n;
    char session[24], slot[24];
    struct ph_addr relay[2];
};

static void add_word(struct entry *e, const char *key, const char *word)
{
    e->f[e->n++] = (struct ph_log_field){.key = key, .kind = PH_LOG_WORD, .text = ph_str(word)};
}

static void add_text(struct entry *e, const char *key, struct ph_slice text)
{
    e->f[e->n++] = (struct ph_log_field){.key = key, .kind = PH_LOG_TEXT, .text = text};
}

static void add_uint(struct entry *e, const char *key, uint64_t v)
{
    e->f[e->n++] = (struct ph_log_field){.key = key, .kind = PH_LOG_UINT, .uint = v};
}

static void add_addrs(struct entry *e, const char *key, const struct ph_addr *v, unsigned n)
{
    e->f[e->n++] = (struct ph_log_field){.key = key, .kind = PH_LOG_ADDRS, .addr = v, .n = n};
}

/* What both lines say. */
static void describe(struct entry *e, const struct ph_trun *r, unsigned worker,
                     const struct ph_turnd_info *i)
{
    unsigned relays = 0;
    e->n = 0;
    snprintf(e->session, sizeof e->session, "%018" PRIu64, i->session);
    snprintf(e->slot, sizeof e->slot, "%u.%" PRIu32, worker, i->id);
    for (int k = 0; k < 2; k++)
        if (i->relay[k].family)
            e->relay[relays++] = i->relay[k];
    add_word(e, "session", e->session);
    add_word(e, "slot", e->slot);
    add_text(e, "user", i->user);
    add_text(e, "realm", i->realm);
    add_word(e, "transport", ph_tword_transport(i->client.proto));
    add_addrs(e, "client", &i->client, 1);
    if (i->listener < r->plan.n_listeners)
        add_addrs(e, "server", &r->plan.listener[i->listener], 1);
    add_addrs(e, "relay", e->relay, relays);
    e->f[e->n - 1].list = true; /* two for two families */
    if (i->tcp)
        add_word(e, "relay_transport", "tcp");
}

static bool is_wanted(const struct ph_trun *r)
{
    return r->env.log && r->env.log->level >= PH_LOG_INFO;
}

/* What an upgrade carries over has never been away. */
static void log_up(const struct ph_trun *r, unsigned worker, const struct ph_turnd_info *i)
{
    struct entry e;
    describe(&e, r, worker, i);
    add_uint(&e, "lifetime",
             (uint64_t)((i->expires_at - (i->restored ? ph_now() : i->created_at)) / PH_SEC(1)));
    ph_log_fields(&r->env, r->inherit ? PH_LOG_DEBUG : PH_LOG_INFO,
                  i->restored ? "allocation restored" : "allocation made", e.f, e.n);
}

/* It goes on in another process. */
static void log_kept(const struct ph_trun *r, unsigned worker, const struct ph_turnd_info *i)
{
    struct entry e;
    describe(&e, r, worker, i);
    add_word(&e, "node", r->conf->node);
    ph_log_fields(&r->env, PH_LOG_INFO, "allocation kept for a restart", e.f, e.n);
}

static void log_down(const struct ph_trun *r, unsigned worker, const struct ph_turnd_info *i,
                     const char *reason)
{
    struct ph_addr peer[PEERS_COUNTED];
    struct entry e;
    unsigned peers =
        r->server ? ph_turn_uv_peers(r->server, worker, i->id, peer, PEERS_COUNTED) : 0;
    unsigned told = peers < PEERS_TOLD ? peers : PEERS_TOLD;
    describe(&e, r, worker, i);
    add_word(&e, "reason", reason);
    e.f[e.n++] = (struct ph_log_field){
        .key = "duration", .kind = PH_LOG_REAL, .real = (double)(ph_now() - i->created_at) / 1e9};
    add_uint(&e, "to_peer_packets", i->to_peer_packets);
    add_uint(&e, "to_peer_bytes", i->to_peer_bytes);
    add_uint(&e, "to_client_packets", i->to_client_packets);
    add_uint(&e, "to_client_bytes", i->to_client_bytes);
    add_uint(&e, "dropped", i->dropped);
    e.f[e.n++] = (struct ph_log_field){.key = "peers",
                                       .kind = PH_LOG_ADDRS,
                                       .addr = peer,
                                       .n = told,
                                       .more = peers - told,
                                       .list = true};
    ph_log_fields(&r->env, PH_LOG_INFO, "allocation ended", e.f, e.n);
}

void ph_trun_audit(void *ctx, unsigned worker, const struct ph_turnd_ev *ev)
{
    const struct ph_trun *r = ctx;
    if (!is_wanted(r))
        return;
    if (ev->type == PH_TURND_ALLOC_UP)
        log_up(r, worker, &ev->info);
    else if (ev->type == PH_TURND_ALLOC_DOWN)
        log_down(r, worker, &ev->info, ph_tword_reason(ev->reason));
}

bool ph_trun_can_carry(const struct ph_turnd_info *i)
{
    return i->mobile || (i->client.proto == PH_UDP && !i->tcp);
}

static bool log_lost(void *ctx, unsigned worker, const struct ph_turnd_info *info)
{
    if (!ph_trun_can_carry(info))
        log_down(ctx, worker, info, "upgrade");
    return true;
}

void ph_trun_audit_lost(struct ph_trun *r)
{
    if (is_wanted(r))
        ph_turn_uv_list(r->server, log_lost, r);
}

static bool log_end(void *ctx, unsigned worker, const struct ph_turnd_info *info)
{
    const struct ph_trun *r = ctx;
    if (ph_tstate_keeps(r->state, info))
        log_kept(r, worker, info);
    else
        log_down(r, worker, info, "shutdown");
    return true;
}

void ph_trun_audit_rest(struct ph_trun *r)
{
    if (is_wanted(r))
        ph_turn_uv_list(r->server, log_end, r);
}
