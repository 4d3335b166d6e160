/*
 * The server that a configuration asks for: what its workers share, and the workers.
 *
 *     ph_trun_build   peer policy, credentials, certificates, plan: finds all mistakes, opens nothing
 *     ph_trun_start   ports, quotas, sockets, threads
 *     ph_trun_swap    another set of users, policies and limits (ops.c, db.c)
 */
#ifndef PH_TURND_RUN_H
#define PH_TURND_RUN_H

#include "cmd/turnd/live.h"
#include "cmd/turnd/metrics.h"
#include "cmd/turnd/plan.h"
#include "turn/bps.h"
#include "turn/uv/server.h"

struct ph_tdb;
struct ph_tstate;
struct ph_tfleet;
struct ph_tstatsdb;

/* conf, live and tls are changed by a reload, on the main thread; the rest stays as it was made. */
struct ph_trun {
    struct ph_tconf *conf; /* what is in force now; not owned */
    struct ph_env env;
    struct ph_tplan plan;
    struct ph_tlive *live;
    struct ph_tls *tls; /* certificates in force; NULL: no TLS and DTLS */
    struct ph_ports *ports[PH_TURND_RELAYS];
    struct ph_quota *quota;
    struct ph_tquotas quotas; /* of realms */
    struct ph_reserve *reserve;
    struct ph_bps *bps;
    struct ph_userbps *userbps; /* user-max-bps; NULL: none */
    struct ph_tmetrics *metrics;
    struct ph_turn_uv *server;
    _Atomic bool serving;        /* the server is there for other threads, too */
    struct ph_tdb *db;           /* the user database; NULL: none */
    struct ph_tfleet *fleet;     /* the other nodes; NULL: it is alone */
    struct ph_tstate *state;     /* kept in Redis; NULL: it is not */
    struct ph_tstatsdb *statsdb; /* coturn's statistics; NULL: nobody wants them */
    struct ph_turnd_keys keys;   /* of nonces and tickets */
    struct ph_turn_uv_handover
        *inherit;               /* of the program before, not owned; NULL: none (any more) */
    char token[PH_STORE_TOKEN]; /* ... and its claim, "" without */
    bool enough;                /* told to end: what is still starting need not wait for Redis */
    struct ph_addr endpoint[PH_TURND_FORBIDDEN]; /* of HTTP, which must not be peers */
    unsigned n_endpoints;
    bool draining;                         /* what the workers have been told */
    _Atomic int64_t allocations;           /* now; any thread may read it */
    void (*on_down)(void *ctx, int64_t n); /* an allocation has ended, n are left; any thread */
    void *on_down_ctx;
    uint64_t bindings; /* answered until the last summary */
};

/* Makes the plan and what may still find a mistake in the configuration, as errors in conf->opts.  env's log need
 * not be there yet.  Returns 0 or PH_E_NOMEM. */
int ph_trun_build(struct ph_trun *r, struct ph_tconf *conf, const struct ph_env *env);

/* Binds, restores what there is, and starts; clients are not heard yet (ph_turn_uv_go).  env is copied and logs from now on.
 * Returns 0, PH_E_STATE when r->enough has become true meanwhile, or a negative error which has been logged. */
int ph_trun_start(struct ph_trun *r, const struct ph_env *env, uv_loop_t *loop);

/* Makes the keys of nonces and tickets anew: another day, or another fleet-key. */
void ph_trun_rekey(struct ph_trun *r);

/* Takes another configuration and the set that was made of it (and with tls not NULL other certificates) into force,
 * all of which is r's from then on, and frees the set and the certificates before; not the configuration.  0, or
 * PH_E_NOMEM: nothing has happened. */
int ph_trun_swap(struct ph_trun *r, struct ph_tconf *conf, struct ph_tlive *live,
                 struct ph_tls *tls);

/* Tells the workers again what is in r->live, with r->draining and the endpoints that must not be peers; tls may be NULL. */
void ph_trun_tell(struct ph_trun *r, struct ph_tls *tls);

/* The database says other things of realms (ctx is the ph_trun). */
void ph_trun_db_changed(void *ctx);

/* Stops the server and the database; run the loop on until nothing is left before ph_trun_free. */
void ph_trun_stop(struct ph_trun *r);

/* Stops the server, if it runs, and frees all. */
void ph_trun_free(struct ph_trun *r);

/* Logs what is served. */
void ph_trun_announce(const struct ph_trun *r);

/* Logs the counters. */
void ph_trun_counters(struct ph_trun *r);

/* Logs how many Binding requests were answered since the last call. */
void ph_trun_bindings(struct ph_trun *r);

/* Sockets that may be open at a time when all allocations are in use. */
uint64_t ph_trun_files(const struct ph_trun *r);

/* Logs an allocation that was made or has ended (ctx is the ph_trun). */
void ph_trun_audit(void *ctx, unsigned worker, const struct ph_turnd_ev *ev);

/* Logs the end of every allocation that there is, since the server is about to end; but for those that go on after a
 * restart. */
void ph_trun_audit_rest(struct ph_trun *r);

/* Logs the end of those that another program cannot go on with. */
void ph_trun_audit_lost(struct ph_trun *r);

/* Whether an allocation can be carried to another process: its client is not on a connection, or has a mobility ticket. */
bool ph_trun_can_carry(const struct ph_turnd_info *i);

/* Writes the account for --check-config: what becomes of every key, what differs from coturn, and what would run. */
void ph_trun_report(const struct ph_trun *r, FILE *f);

#endif
