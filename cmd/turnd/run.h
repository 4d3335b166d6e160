/*
 * The server that a configuration asks for: what its workers share, and the workers.
 *
 *     ph_trun_build   peer policy, credentials, plan: finds all mistakes, opens nothing
 *     ph_trun_start   ports, quotas, sockets, threads
 */
#ifndef PH_TURND_RUN_H
#define PH_TURND_RUN_H

#include "cmd/turnd/plan.h"
#include "turn/uv/server.h"

struct ph_trun {
    struct ph_tconf *conf; /* not owned */
    struct ph_env env;
    struct ph_tplan plan;
    struct ph_acl *acl;
    struct ph_auth *auth; /* NULL with no-auth */
    struct ph_ports *ports[PH_TURND_RELAYS];
    struct ph_quota *quota;
    struct ph_reserve *reserve;
    struct ph_turn_uv *server;
    uint64_t bindings; /* answered until the last summary */
};

/* Makes the plan and what may still find a mistake in the configuration, as errors in conf->opts.  env's log need
 * not be there yet.  Returns 0 or PH_E_NOMEM. */
int ph_trun_build(struct ph_trun *r, struct ph_tconf *conf, const struct ph_env *env);

/* Binds and starts.  env is copied and logs from now on.  Returns 0 or a negative error, which has been logged. */
int ph_trun_start(struct ph_trun *r, const struct ph_env *env, uv_loop_t *loop);

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

/* Logs an allocation that was made or has ended (struct ph_turn_uv_conf.on_event; ctx is the ph_trun). */
void ph_trun_audit(void *ctx, unsigned worker, const struct ph_turnd_ev *ev);

/* Logs the end of every allocation that there is, since the server is about to end. */
void ph_trun_audit_rest(struct ph_trun *r);

/* Writes the account for --check-config: what becomes of every key, what differs from coturn, and what would run. */
void ph_trun_report(const struct ph_trun *r, FILE *f);

#endif
