/*
 * What the files of the running server share; for nobody else.
 *
 *   run.c        building, starting, changing and stopping it
 *   run_fill.c   what the workers are given, and what they tell
 *   run_keys.c   the keys of nonces and tickets
 *   run_say.c    what it says in its log
 */
#ifndef PH_TURND_RUN_PRIV_H
#define PH_TURND_RUN_PRIV_H

#include "cmd/turnd/run.h"

/* What the shell is configured with; but for Binding. */
void ph__trun_fill(struct ph_trun *r, struct ph_turn_uv_conf *u, uv_loop_t *loop);

#endif
