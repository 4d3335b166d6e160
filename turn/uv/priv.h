/*
 * What the files of the TURN shell share.  Not installed.
 *
 *   server.c   the public face: start, stop, questions to the workers
 *   worker.c   one worker: its core, its listeners, what happens when something is ready
 *   relays.c   the table of relay sockets
 */
#ifndef PH_TURN_UV_PRIV_H
#define PH_TURN_UV_PRIV_H

#include "stun/uv/loop.h"
#include "stun/uv/worker.h"
#include "turn/uv/relays.h"
#include "turn/uv/server.h"

struct ph__turn_worker {
    struct ph_turn_uv *owner;
    unsigned index;
    struct ph_worker *w;

    struct ph_turnd *core;
    struct ph_batch *batch;
    struct ph_alarm alarm;
    struct ph_relays relays;
    unsigned vlen; /* datagrams to ask a relay socket for: follows the traffic */
    ph_ns wall_at; /* when the core was last told the wall clock */
    struct ph_udp listener[PH_TURND_LISTENERS];
    struct ph_budget *budget;
    struct ph_stund stun[PH_TURND_LISTENERS];
    uint64_t relay_opened, relay_open_failed, icmp_errors;
};

struct ph_turn_uv {
    struct ph_turn_uv_conf c;
    struct ph_stund_conf stun;
    struct ph_env env;
    struct ph_addr at[PH_TURND_LISTENERS]; /* bound; settled by the first worker */
    struct ph_addr failed;                 /* what could not be bound */
    unsigned n;                            /* workers running */
    struct ph__turn_worker *v[];
};

/* Adds and starts the next worker of t.  0 or a negative error. */
int ph__turn_worker_add(struct ph_turn_uv *t);

/* Acts on what the core has to say after a call: answers to send, sockets to open and close. */
void ph__turn_worker_drain(struct ph__turn_worker *w, ph_ns now);

/* Ends a stretch of work: sends what is queued and sets the alarm. */
void ph__turn_worker_done(struct ph__turn_worker *w);

#endif
