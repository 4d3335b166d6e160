/*
 * A worker: one thread's share of a run.
 *
 *     setting up -> (all workers are) -> sending -> draining -> releasing -> done
 *
 * Each allocation is a socket and a ph_turnc; on it travel one flow or, with two families, two.  A
 * worker shares nothing with the others but the few words of struct ph_load_run.
 */
#ifndef PH_CMD_TURNLOAD_WORKER_H
#define PH_CMD_TURNLOAD_WORKER_H

#include "cmd/turnload/args.h"
#include "cmd/turnload/link.h"
#include "cmd/turnload/stats.h"
#include "stun/base/env.h"
#include "stun/uv/udp.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What all workers share. */
struct ph_load_run {
    const struct ph_load_args *args;
    struct ph_env env;
    struct ph_addr server;
    struct ph_load_tls *tls;     /* NULL: plain */
    uint32_t id;                 /* in every packet */
    _Atomic unsigned setting_up; /* workers that are not ready to send yet */
    _Atomic bool stop;           /* end early, with the report */
};

/* Where a worker is, for the progress line. */
struct ph_load_progress {
    _Atomic uint64_t up, failed, sent, received;
    _Atomic uint64_t relayed; /* packets that the server has put out */
    _Atomic unsigned sending, done;
};

struct ph_load_worker {
    struct ph_load_run *run;
    unsigned first, n; /* allocations of this worker */
    struct ph_load_stats stats;
    struct ph_load_progress progress;
    char error[256]; /* why it could not start, "" if it could */
};

/* Runs to the end; stats are complete then. */
void ph_load_worker_main(struct ph_load_worker *w);

#endif
