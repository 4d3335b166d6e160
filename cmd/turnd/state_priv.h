/*
 * What the files of turnd's state share; for nobody else.
 *
 *   state.c        life, the claim, being fenced
 *   state_take.c   what is done with the records of our own node
 *   state_adopt.c  ... of other nodes
 */
#ifndef PH_TURND_STATE_PRIV_H
#define PH_TURND_STATE_PRIV_H

#include "cmd/turnd/local.h"
#include "cmd/turnd/records.h"
#include "cmd/turnd/state.h"

#include <stdatomic.h>

enum ph__tstate_step {
    PH__STATE_CLAIMING,
    PH__STATE_LOADING,
    PH__STATE_HELD,   /* loaded, and there is no server yet */
    PH__STATE_OURS,   /* the workers write */
    PH__STATE_FENCED, /* waits, then claims again */
    PH__STATE_OUT     /* another process has our name: nothing is written any more */
};

/* An adoption under way. */
struct ph__tadoption {
    bool busy;
    char node[PH_STORE_NAME];
    char token[PH_STORE_TOKEN];
    bool claimed;
    bool due[PH_TCONF_ADOPT]; /* of conf->adopt: to be looked at */
    struct ph_trecords records;
    int load_err;
    uint64_t *ids; /* that were restored and are to be removed there */
    unsigned n_ids, left;
    int64_t began;
    uv_timer_t timer;
};

struct ph_tstate {
    struct ph_trun *run;
    uv_loop_t *loop;
    struct ph_store *store; /* for claims and loads */
    struct ph_store_conf conf;
    struct ph_env env,
        quiet; /* what our handle says, and those of most workers, which would say the same */
    struct ph_log log; /* of env */
    enum ph__tstate_step step;
    bool serving, ended, asked; /* asked: a claim or load is under way */
    bool taken;                 /* the records of our node have been looked at once */
    bool again;                 /* claim once more when this is done: an address has come */
    char token[PH_STORE_TOKEN];
    int64_t began; /* ph_now */
    struct ph_trecords records;
    int load_err;
    unsigned count[PH_TRECORD_FITS_N];
    uint64_t *left; /* of our node, not restored since their address was not here; n_left, sorted */
    unsigned n_left;

    uv_timer_t timer;
    uv_async_t wake;
    atomic_bool fence;     /* a worker has been told */
    bool fenced;           /* the claim that is being made is for that */
    int64_t idle_fence_at; /* when we were last fenced by somebody who took nothing; 0: never */

    struct ph_tlocal *local; /* NULL: no address comes and goes */
    struct ph__tadoption adoption;
    struct ph_tstate_view view;
    struct ph_addr at[8]; /* of the store */
    unsigned n_at;
    uv_getaddrinfo_t resolve;
};

/* ---- state.c ---- */

/* Claims our node anew: to see what others have left of it. */
void ph__tstate_reclaim(struct ph_tstate *s);

/* ---- state_take.c ---- */

/* The records of our node have been loaded, and the server runs: restores what is to be, and has the workers write. */
void ph__tstate_take(struct ph_tstate *s);

/* Says that there are records that make no sense; the store has said which it could not even open. */
void ph__tstate_say_bad(struct ph_tstate *s, const char *node, unsigned broken);

/* "3 expired, 1 whose address is not here" in braces and behind a blank, or "". */
const char *ph__tstate_rest(char *dst, size_t n, const unsigned *count, unsigned failed);

/* Restores the first n of a set; err[i] as of ph_turn_uv_restore.  How many. */
unsigned ph__tstate_restore(struct ph_tstate *s, const struct ph_trecords *r, unsigned n, int *err);

/* Unix time. */
int64_t ph__tstate_wall_ms(void);

/* ---- state_adopt.c ---- */

void ph__tadopt_init(struct ph_tstate *s);

/* An address has come: looks at all nodes of adopt-from once our own claim stands. */
void ph__tadopt_all(struct ph_tstate *s);

/* Goes on with what is due. */
void ph__tadopt_next(struct ph_tstate *s);
void ph__tadopt_stop(struct ph_tstate *s);

#endif
