/*
 * What the files of turnd's fleet share.
 *
 *   fleet.c        life, and what comes of what others say
 *   fleet_wire.c   coming in, and the entries of nodes in Redis
 *   fleet_notes.c  notes in Redis
 *   fleet_trust.c  what is believed of what is found there
 *   fleet_self.c   what this node says of itself
 *   fleet_list.c   what the others have
 */
#ifndef PH_TURND_FLEET_PRIV_H
#define PH_TURND_FLEET_PRIV_H

#include "cmd/turnd/fleet.h"
#include "cmd/turnd/fresh.h"

#ifdef PH_HAVE_REDIS

#include "stun/codec/integrity.h"
#include "turn/store/redis.h"
#include "turn/store/store.h"

#include <pthread.h>

enum {
    PH__TFLEET_BEAT_MS = 1000,
    PH__TFLEET_POLL_MS = 250,
    PH__TFLEET_NOTES = 256, /* read at a time */
    PH__TFLEET_ID = 48      /* bytes of a stream's id */
};

/* What is done with Redis, and may be refused: keys of another type, no memory, no permission. */
enum ph__tfleet_command { PH__TFLEET_BEAT, PH__TFLEET_READ, PH__TFLEET_POST, PH__TFLEET_COMMANDS };

/* How busy the processor was, between two looks. */
struct ph__tfleet_cpu {
    int64_t used_us, at_us;
};

struct ph_tfleet {
    struct ph_trun *run;
    struct ph_env env;
    uv_loop_t *loop;
    struct ph_redis *redis;
    struct ph_store *store; /* to read what the others have; NULL: nobody has asked yet */
    uv_timer_t beat, poll;
    unsigned closing; /* handles that are not closed yet */
    bool ended;

    pthread_mutex_t lock; /* of the core: workers count in it */
    struct ph_fleet *core;

    char nodes_key[64], notes_key[64];
    bool synced;                   /* last_id is good */
    bool beating, reading, coming; /* a command is under way */
    char last_id[PH__TFLEET_ID];

    struct ph_tfresh fresh;
    int64_t stamp;     /* the last one of ours */
    uint64_t unsealed; /* entries and notes sealed with another key, or changed */
    uint64_t replayed; /* that were read or written before, or by a clock far from ours */
    bool complained, clock_said;
    bool refused[PH__TFLEET_COMMANDS];

    struct ph__tfleet_cpu cpu;
    struct ph_fleet_node_info self;

    struct ph_addr alternate[PH_TURND_ALTERNATES]; /* what the workers have been told */
    unsigned n_alternates;
    struct ph_turnd_node *node;
    unsigned n_nodes;
};

/* ---- fleet.c ---- */

/* Acts on what the core has to say, and on nodes that came and went. */
void ph__tfleet_settle(struct ph_tfleet *f);
/* Tells what users want here, and sets what of their bounds is ours. */
void ph__tfleet_share(struct ph_tfleet *f);

/* ---- fleet_wire.c ---- */

/* The connection is there, or gone. */
void ph__tfleet_connected(void *ctx, bool up);
void ph__tfleet_on_beat(uv_timer_t *timer);

/* ---- fleet_notes.c ---- */

void ph__tfleet_on_poll(uv_timer_t *timer);
/* Tells the others what has changed here since the last time. */
void ph__tfleet_tell(struct ph_tfleet *f);
/* Sends a note to a node ("*": all).  False: it could not be. */
bool ph__tfleet_post(struct ph_tfleet *f, const char *to, const char *text);

/* ---- fleet_trust.c ---- */

struct redisReply;
bool ph__tfleet_is_text(const struct redisReply *r);
/* Its bytes. */
struct ph_slice ph__tfleet_bytes(const struct redisReply *r);

/* Whether bytes are the name of a node: they become part of the name that is signed, and of a log line. */
bool ph__tfleet_is_node(struct ph_slice name);

/* Counts what somebody else has written, or with another key, and says so. */
void ph__tfleet_not_ours(struct ph_tfleet *f, const char *what);

/* Whether Redis said no, which is said as well. */
bool ph__tfleet_refused(struct ph_tfleet *f, enum ph__tfleet_command what,
                        const struct redisReply *r);

/* The stamp of what we write next. */
int64_t ph__tfleet_stamp(struct ph_tfleet *f);
/* The next one shall be later than one that is found as ours. */
void ph__tfleet_stamped_before(struct ph_tfleet *f, int64_t at_ms);
/* Takes the stamp off the front of "STAMP TEXT".  False: there is none. */
bool ph__tfleet_stamped(struct ph_slice *text, int64_t *at_ms);
/* Whether what a node has signed was not read before (fresh.h). */
bool ph__tfleet_is_news(struct ph_tfleet *f, struct ph_slice node, enum ph_tfresh_what what,
                        int64_t at_ms);

/* ---- fleet_self.c ---- */

/* Brings f->self up to date. */
void ph__tfleet_look(struct ph_tfleet *f);

#endif
#endif
