/*
 * Building and running the server.
 */
#include "cmd/turnd/run_priv.h"

#include "cmd/turnd/db.h"
#include "cmd/turnd/fleet.h"
#include "cmd/turnd/keys.h"
#include "cmd/turnd/self.h"
#include "cmd/turnd/state.h"
#include "cmd/turnd/statsdb.h"
#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "stun/uv/loop.h"

#include <net/if.h>
#include <stdatomic.h>
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

/* The web page's test needs a user: where there is no secret to make one with, one is made up that nobody is told. */
static void make_test_secret(struct ph_tconf *c, const struct ph_env *env)
{
    uint8_t raw[(sizeof c->test_secret - 1) / 2];
    if (!c->web.family || c->check || ph_opts_last(c->opts, "static-auth-secret"))
        return;
    env->rand(env->ctx, raw, sizeof raw);
    for (size_t i = 0; i < sizeof raw; i++)
        snprintf(c->test_secret + 2 * i, 3, "%02x", raw[i]);
    ph_wipe(raw, sizeof raw);
}

int ph_trun_build(struct ph_trun *r, struct ph_tconf *conf, const struct ph_env *env)
{
    struct ph_addr machine[PH_TURND_LISTENERS];
    int n = ph_tplan_machine(machine, PH_TURND_LISTENERS);
    *r = (struct ph_trun){.conf = conf, .env = *env};
    ph_tplan_make(&r->plan, conf, machine, n > 0 ? (unsigned)n : 0);
    check_device(conf, "listening-device", conf->device);
    check_device(conf, "relay-device", conf->relay_device);
    make_test_secret(conf, env);
    r->live = ph_tlive_new(conf, env, NULL);
    r->tls = ph_tconf_tls(conf);
    return r->live ? 0 : PH_E_NOMEM;
}

/* ---- start ---- */

/* "turnserver.conf:3: listening-ip: ", where an address comes from; "" when it was found by ourselves. */
static const char *origin(const struct ph_trun *r, const struct ph_addr *at, char *dst, size_t n)
{
    static const char *const KEYS[] = {"listening-ip", "aux-server", "proxy-protocol", "relay-ip"};
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

static int say_failed(const struct ph_trun *r, const char *verb, const char *proto,
                      const struct ph_addr *at, int err)
{
    char from[320], text[PH_ADDR_TEXT];
    SAY(r, ERROR, "%scannot %s %s%s%s: %s", origin(r, at, from, sizeof from), verb, proto,
        *proto ? " " : "", at->port ? ph_addr_text(at, text) : ph_addr_ip_text(at, text),
        ph_strerror(err));
    return err;
}

static bool is_inherited(const struct ph_trun *r, const struct ph_addr *at)
{
    const struct ph_turn_uv_handover *h = r->inherit;
    for (unsigned i = 0; h && i < h->n_sockets; i++)
        if (!h->socket[i].relay && ph_addr_eq_endpoint(&h->socket[i].at, at) &&
            (h->socket[i].at.proto == PH_UDP) == (at->proto == PH_UDP))
            return true;
    return false;
}

/* Workers share their ports (SO_REUSEPORT), and so would a second turnd of the same user, taking half of the clients
 * away: a socket that shares nothing finds it out. */
static int try_listeners(const struct ph_trun *r)
{
    for (unsigned i = 0; i < r->plan.n_listeners && !r->conf->device; i++) {
        const struct ph_addr *at = &r->plan.listener[i];
        int err = is_inherited(r, at) ? 0 : ph_tplan_try(at, r->conf->free_bind);
        if (err)
            return say_failed(r, "listen on", at->proto == PH_UDP ? "udp" : "tcp", at, err);
    }
    return 0;
}

static int try_relays(const struct ph_trun *r)
{
    for (unsigned i = 0; i < r->plan.n_relays; i++) {
        int err = ph_tplan_try(&r->plan.relay[i], r->conf->free_bind);
        if (err)
            return say_failed(r, "relay from", "", &r->plan.relay[i], err);
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
    const uint32_t users = ports > 65536 ? ports : 65536;
    r->quota = ph_quota_new(r->live->total_quota, r->live->user_quota, users, &r->env);
    r->bps = ph_bps_new(c->bps_capacity);
    r->userbps = ph_userbps_new(c->user_max_bps, users, &r->env);
    r->metrics = ph_tmetrics_new(c->prom_users);
    r->reserve = ph_reserve_new();
    if (!r->quota || !r->bps || !r->userbps || !r->metrics || !r->reserve)
        return PH_E_NOMEM;
    return ph_tlive_quotas(r->live, c, NULL, &r->quotas, &r->env);
}

/* ---- the server ---- */

/* Is it a port that relays share? */
static bool is_pool_port(const struct ph_trun *r, const struct ph_addr *at)
{
    for (unsigned i = 0; i < r->plan.n_relays; i++)
        if (at->proto == PH_UDP && ph_addr_eq_ip(at, &r->plan.relay[i]) &&
            at->port >= r->conf->min_port && at->port - r->conf->min_port < r->plan.pool_ports)
            return true;
    return false;
}

static int start_server(struct ph_trun *r, uv_loop_t *loop)
{
    const struct ph_tconf *c = r->conf;
    const struct ph_stund_conf stun = {
        .always_mapped = c->always_mapped,
        .always_fingerprint = c->fingerprint,
        .software = c->software ? "Pinhole-" PH_VERSION : NULL,
    };
    struct ph_addr failed = {0};
    struct ph_turn_uv_conf *u = malloc(sizeof *u);
    if (!u)
        return PH_E_NOMEM;
    ph__trun_fill(r, u, loop);
    u->stun = c->no_stun ? NULL : &stun;
    ph_tself_block(); /* signals are for this thread */
    int err = ph_turn_uv_new(&r->server, u, &failed);
    ph_tself_unblock();
    r->serving = !err;
    ph_wipe(&u->core.nonce, sizeof u->core.nonce);
    ph_wipe(u->core.ticket_key, sizeof u->core.ticket_key);
    free(u);
    if (err && failed.family)
        return say_failed(r, is_pool_port(r, &failed) ? "relay from" : "listen on",
                          failed.proto == PH_UDP ? "udp" : "tcp", &failed, err);
    if (err)
        SAY(r, ERROR, "cannot start: %s", ph_strerror(err));
    return err;
}

/* What goes to other programs: Redis.  0 or PH_E_NOMEM. */
static int connect_others(struct ph_trun *r, uv_loop_t *loop)
{
    const struct ph_tconf *c = r->conf;
    if (c->redis_userdb) {
        r->db = ph_tdb_new(loop, &r->env, r->conf, &r->server, ph_trun_db_changed, r);
        if (!r->db)
            return PH_E_NOMEM;
    }
    if (c->statedb) {
        r->fleet = ph_tfleet_new(loop, &r->env, r);
        r->state = ph_tstate_new(loop, r, r->token);
        if (!r->fleet || !r->state)
            return PH_E_NOMEM;
    }
    if (c->redis_statsdb) {
        r->statsdb = ph_tstatsdb_new(loop, r);
        if (!r->statsdb)
            return PH_E_NOMEM;
    }
    return 0;
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
    if (!err)
        err = connect_others(r, loop);
    if (err) {
        SAY(r, ERROR, "cannot start: %s", ph_strerror(err));
        return err;
    }
    ph_trun_rekey(r);
    if (r->inherit)
        r->inherit->keys = r->keys;
    if (r->state && !r->inherit)
        ph_tstate_wait(r->state, &r->enough);
    if (r->enough)
        return PH_E_STATE;
    err = start_server(r, loop);
    if (err)
        return err;
    ph_turn_uv_set_keys(r->server, &r->keys);
    if (r->state)
        ph_tstate_serve(r->state);
    return 0;
}

/* ---- another set ---- */

static void forbid(struct ph_turnd_live *live, const struct ph_addr *at)
{
    if (live->n_forbidden < PH_TURND_FORBIDDEN && at->family && at->port)
        live->forbidden[live->n_forbidden++] = *at;
}

void ph_trun_tell(struct ph_trun *r, struct ph_tls *tls)
{
    struct ph_turnd_live live = r->live->live;
    const struct ph_tconf *c = r->conf;
    struct ph_addr at;
    live.draining = r->draining;
    if (live.draining && c->n_drain_alternates) {
        live.n_alternates = c->n_drain_alternates;
        memcpy(live.alternate, c->drain_alternate, sizeof live.alternate);
    }
    for (unsigned i = 0; i < r->n_endpoints; i++)
        forbid(&live, &r->endpoint[i]);
    if (r->db && ph_tdb_endpoint(r->db, &at))
        forbid(&live, &at);
    struct ph_addr store[PH_TURND_FORBIDDEN];
    unsigned n = r->state ? ph_tstate_endpoints(r->state, store, PH_TURND_FORBIDDEN) : 0;
    for (unsigned i = 0; i < n; i++)
        forbid(&live, &store[i]);
    n = r->statsdb ? ph_tstatsdb_endpoints(r->statsdb, store, PH_TURND_FORBIDDEN) : 0;
    for (unsigned i = 0; i < n; i++)
        forbid(&live, &store[i]);
    ph_tfleet_fill(r->fleet, &live);
    if (r->server)
        ph_turn_uv_reload(r->server, &live, tls);
}

int ph_trun_swap(struct ph_trun *r, struct ph_tconf *conf, struct ph_tlive *live,
                 struct ph_tls *tls)
{
    struct ph_tlive *old = r->live;
    const struct ph_tdb_data *data = r->db ? ph_tdb_data(r->db) : NULL;
    int err = ph_tlive_quotas(live, conf, data, &r->quotas, &r->env);
    if (err)
        return err;
    r->conf = conf;
    r->live = live;
    ph_quota_set(r->quota, live->total_quota, live->user_quota);
    ph_bps_set_capacity(r->bps, conf->bps_capacity);
    ph_userbps_set_bound(r->userbps, conf->user_max_bps);
    ph_trun_rekey(r);
    if (r->state && r->server)
        ph_tstate_rekey(r->state);
    ph_trun_tell(r, tls);
    ph_tlive_free(old);
    ph_tquotas_sweep(&r->quotas, live);
    if (tls) {
        ph_tls_unref(r->tls);
        r->tls = tls;
    }
    return 0;
}

void ph_trun_db_changed(void *ctx)
{
    struct ph_trun *r = ctx;
    if (!r->server)
        return;
    ph_opts_clear(r->conf->opts); /* they have been told */
    struct ph_tlive *live = ph_tlive_new(r->conf, &r->env, ph_tdb_data(r->db));
    if (live && !ph_opts_failed(r->conf->opts) && ph_trun_swap(r, r->conf, live, NULL) == 0) {
        SAY(r, INFO, "redis-userdb: what it says of realms has changed, and is in force");
        return;
    }
    ph_tlive_free(live);
    SAY(r, ERROR, "redis-userdb: what it says of realms has changed, but could not be taken");
}

/* ---- end ---- */

void ph_trun_stop(struct ph_trun *r)
{
    ph_turn_uv_free(r->server);
    r->server = NULL;
    ph_tfleet_stop(r->fleet);
    ph_tstate_stop(r->state);
    ph_tstatsdb_stop(r->statsdb);
    ph_tdb_stop(r->db);
}

void ph_trun_free(struct ph_trun *r)
{
    ph_turn_uv_free(r->server);
    ph_tfleet_free(r->fleet);
    ph_tstate_free(r->state);
    ph_tstatsdb_free(r->statsdb);
    ph_tdb_free(r->db);
    ph_reserve_free(r->reserve);
    ph_tquotas_sweep(&r->quotas, NULL);
    ph_quota_free(r->quota);
    ph_bps_free(r->bps);
    ph_userbps_free(r->userbps);
    ph_tmetrics_free(r->metrics);
    for (unsigned i = 0; i < PH_TURND_RELAYS; i++)
        ph_ports_free(r->ports[i]);
    ph_tlive_free(r->live);
    ph_tls_unref(r->tls);
    ph_wipe(&r->keys, sizeof r->keys);
    *r = (struct ph_trun){.conf = r->conf};
}
