/* What the files of the operations share; for nobody else. */
#ifndef PH_TURND_OPS_PRIV_H
#define PH_TURND_OPS_PRIV_H

#include "cmd/turnd/ops.h"

#include <pthread.h>

struct ph__tops_call;

struct ph_tops_priv {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct ph__tops_call *first, **last; /* guarded by the lock */
    bool ended;                          /* guarded by the lock */
    uv_async_t wake;
    uv_timer_t deadline;
    struct ph_tconf *started; /* the configuration of the start, which is not ours */
    bool done;                /* drained, and the loop is told to end */
};

#endif
