/*
 * What the workers are given, and what they tell.
 */
#include "cmd/turnd/run_priv.h"

#include "cmd/turnd/db.h"
#include "cmd/turnd/fleet.h"
#include "cmd/turnd/state.h"
#include "cmd/turnd/statsdb.h"
#include "stun/uv/loop.h"

#include <stdatomic.h>
#include <string.h>

/* ---- what the workers tell ---- */

/* The first workers run before the main thread knows of them all: then the server must not be asked for more. */
static void audit(struct ph_trun *r, unsigned worker, const struct ph_turnd_ev *ev)
{
    if (r->serving) {
        ph_trun_audit(r, worker, ev);
        return;
    }
    struct ph_trun early = {.env = r->env, .plan = r->plan, .inherit = r->inherit};
    ph_trun_audit(&early, worker, ev);
}

static void on_event(void *ctx, unsigned worker, const struct ph_turnd_ev *ev)
{
    struct ph_trun *r = ctx;
    ph_tmetrics_event(r->metrics, ev, ph_now());
    audit(r, worker, ev);
    if (r->fleet)
        ph_tfleet_event(r->fleet, ev);
    if (r->statsdb)
        ph_tstatsdb_event(r->statsdb, worker, ev);
    if (ev->type == PH_TURND_ALLOC_UP)
        atomic_fetch_add(&r->allocations, 1);
    if (ev->type != PH_TURND_ALLOC_DOWN)
        return;
    int64_t left = atomic_fetch_sub(&r->allocations, 1) - 1;
    if (r->on_down)
        r->on_down(r->on_down_ctx, left);
}

static void on_loop(void *ctx, unsigned worker, uv_loop_t *loop, struct ph_turn_uv_here *here)
{
    struct ph_trun *r = ctx;
    ph_tstatsdb_loop(r->statsdb, worker, loop, here);
}

static struct ph_store *open_store(void *ctx, unsigned worker, uv_loop_t *loop)
{
    struct ph_trun *r = ctx;
    return ph_tstate_store(r->state, worker, loop);
}

static void on_lookup(void *ctx, unsigned worker, const struct ph_userdb_ask *ask)
{
    struct ph_trun *r = ctx;
    ph_tdb_lookup(r->db, worker, ask);
}

/* ---- what they are given ---- */

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
        .pool_first = (uint16_t)c->min_port,
        .pool_ports = r->plan.pool_ports,
        .live = r->live->live,
        .bps = r->bps,
        .userbps = r->userbps,
        .oauth_server = !c->oauth                           ? NULL
                        : c->server_name && *c->server_name ? c->server_name
                                                            : c->realm,
        .quota = r->quota,
        .reserve = r->reserve,
        .software = c->software ? "Pinhole-" PH_VERSION : NULL,
        .max_lifetime_s = c->max_lifetime_s,
        .permission_lifetime_s = c->permission_lifetime_s,
        .channel_lifetime_s = c->channel_lifetime_s,
        .default_family = FAMILY[c->family],
        .channels_5766 = c->channels_5766,
        .no_udp_relay = c->no_udp_relay,
        .no_tcp_relay = c->no_tcp_relay,
        .mobility = c->mobility,
        .always_fingerprint = c->fingerprint,
        .long_reasons = c->long_reasons,
        .node = c->fleet.n ? ph_fleet_node(ph_str(c->node)) : 0,
        .stats = r->statsdb != NULL,
    };
    ph_tconf_nonce(c, &r->env, &core->nonce);
    memcpy(core->nonce.key, r->keys.nonce, sizeof core->nonce.key);
    memcpy(core->ticket_key, r->keys.ticket[0], sizeof core->ticket_key);
    for (unsigned i = 0; i < r->plan.n_listeners; i++)
        core->listener[i].at = r->plan.listener[i];
    for (unsigned i = 0; i < r->plan.n_relays; i++)
        core->relay[i] = (struct ph_turnd_relay){
            .at = r->plan.relay[i],
            .external = r->plan.relay_external[i],
            .ports = r->ports[i],
        };
}

void ph__trun_fill(struct ph_trun *r, struct ph_turn_uv_conf *u, uv_loop_t *loop)
{
    static struct ph_userdb_conf userdb; /* its defaults */
    const struct ph_tconf *c = r->conf;
    *u = (struct ph_turn_uv_conf){
        .workers = r->plan.workers,
        .loop = loop,
        .env = &r->env,
        .n_quads = r->plan.n_quads,
        .tls = r->tls,
        .http_400 = c->http_400,
        .max_conns = c->max_conns,
        .max_conns_per_addr = c->max_conns_per_ip,
        .userdb = r->db ? &userdb : NULL,
        .budget = ph_tconf_budget(c),
        .rcvbuf = c->sock_buf,
        .sndbuf = c->sock_buf,
        .relay_rcvbuf = c->sock_buf,
        .relay_sndbuf = c->sock_buf,
        .device = c->device,
        .relay_device = c->relay_device,
        .on_event = on_event,
        .on_loop = r->statsdb ? on_loop : NULL,
        .on_lookup = on_lookup,
        .ctx = r,
        .hold = true,
        .inherit = r->inherit,
        .store = r->state ? open_store : NULL,
        .free_bind = c->free_bind,
    };
    memcpy(u->external, r->plan.listener_external, sizeof u->external);
    memcpy(u->quad, r->plan.quad, sizeof u->quad);
    memcpy(u->accept, r->plan.accept, sizeof u->accept);
    fill_core(r, &u->core);
}
