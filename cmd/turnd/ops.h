/*
 * What an operator does with a running server: reload, drain, stop, revoke, change the log level.
 *
 * Signals, the HTTP API and turnctl all end here, so that they do the same.  These functions belong to the main thread;
 * ph_tops_call brings others there.
 */
#ifndef PH_TURND_OPS_H
#define PH_TURND_OPS_H

#include "cmd/common/log.h"
#include "cmd/turnd/run.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum ph_tops_state { PH_TOPS_STARTING, PH_TOPS_SERVING, PH_TOPS_DRAINING, PH_TOPS_STOPPING };

enum { PH_TOPS_TEXT = 1024 };

struct ph_tupgrade;

struct ph_tops {
    struct ph_trun *run;
    struct ph_logger *log;
    uv_loop_t *loop;
    _Atomic int state;          /* enum ph_tops_state; any thread may read it */
    _Atomic int64_t started_s;  /* unix time */
    _Atomic int64_t reloaded_s; /* unix time of the last good reload, 0: none */
    _Atomic uint64_t reloads, reload_failures;
    _Atomic int64_t drain_until_s; /* unix time at which draining ends by force; 0: never */
    struct ph_tupgrade *upgrade;   /* not owned */
    struct ph_tops_priv *priv;
};

/* 0 or a negative error.  The state is PH_TOPS_STARTING. */
int ph_tops_init(struct ph_tops *o, struct ph_trun *run, struct ph_logger *log, uv_loop_t *loop);

/* Packets are served: PH_TOPS_SERVING. */
void ph_tops_ready(struct ph_tops *o);

/* From now on ph_tops_call returns false, also to those who wait: before whoever may call is waited for. */
void ph_tops_end(struct ph_tops *o);

/* From now on it works again. */
void ph_tops_resume(struct ph_tops *o);

/* When the loop is closed, and nobody calls any more.  Frees a configuration that a reload has brought, so that
 * run->conf is the one of the start again. */
void ph_tops_fini(struct ph_tops *o);

/* What a signal asks for.  SIGHUP: the log file anew and a reload; SIGUSR1: drain; SIGUSR2: certificates; SIGTERM and
 * SIGINT: stop with the configured grace, a second one at once. */
void ph_tops_signal(struct ph_tops *o, int signum);

/* Runs fn(ctx) on the main thread and waits for it.  Any other thread.  False: the server is ending, it was not run. */
bool ph_tops_call(struct ph_tops *o, void (*fn)(void *ctx), void *ctx);

/* Reads the configuration again and takes what can change while running: users and users-file, secrets, peer policy,
 * limits, certificates, alternate servers, log level.  What cannot (listeners, ports ...) and is different is named in
 * text, and so is what was taken.  A configuration with a mistake changes nothing: false, and the mistakes are in text. */
bool ph_tops_reload(struct ph_tops *o, char text[static PH_TOPS_TEXT]);

/* Certificates alone (SIGUSR2). */
bool ph_tops_reload_certs(struct ph_tops *o, char text[static PH_TOPS_TEXT]);

/* Draining: not ready, no new allocations (300 or 508), the process ends when the last allocation has (or no more than
 * drain-min-allocations are left), at the latest after deadline_s seconds (0: whenever).  on = false: serves again. */
void ph_tops_drain(struct ph_tops *o, bool on, uint32_t deadline_s);

/* Ends the process: after grace_s seconds in which it drains, or at once with 0. */
void ph_tops_stop(struct ph_tops *o, uint32_t grace_s);

/* Ends the allocations of a user (and forgets what is cached of him).  Returns how many. */
unsigned ph_tops_revoke(struct ph_tops *o, const char *realm, const char *user);

/* Another level for the log, until the next reload. */
void ph_tops_log_level(struct ph_tops *o, enum ph_log_level level);

#endif
