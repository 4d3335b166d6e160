/*
 * What the files of the store share.
 *
 *     store.c          birth and death, the timer, what was asked for and is under way (claims, loads, removals, flushes)
 *     store_name.c     names, keys, numbers, sealed values: pure
 *     store_load.c     reading all records of a node, page by page
 *     store_write.c    writing behind: when, and what to do when it fails
 *     store_batch.c    the next command
 *     store_sweep.c    removing what has ended while the store was away
 *     store_memory.c, store_redis.c   where it goes: struct ph__store_ops
 */
#ifndef PH_TURN_STORE_STORE_PRIV_H
#define PH_TURN_STORE_STORE_PRIV_H

#include "turn/store/store.h"

#include <stddef.h>

enum {
    PH__STORE_BATCH = 120,      /* records in a command: EVAL, 7 more, two arguments for each */
    PH__STORE_SLOTS = 64,       /* commands under way */
    PH__STORE_SOFT = 64 * 1024, /* bytes of records after which a command takes no more */
    PH__STORE_PAGE = 512,       /* records of a page, about */
    PH__STORE_PAGE_BYTES = 512 * 1024,
    PH__STORE_PAGES = 8192, /* of a hash: some millions of records */
    PH__STORE_REMOVE = 100, /* records in a removal */
    PH__STORE_ID = 21,      /* a number in decimal, with its terminator */
    PH__STORE_KEY = 128,
    PH__STORE_LIFE = 24,
    PH__STORE_LABEL = 400,
    PH__STORE_WHY = 256
};

struct ph__store_later {
    struct ph__store_later *next;
    void (*fn)(void *ctx);
    void *ctx;
};

/* Something asked for by a call, and not over yet.  Part of its own record. */
struct ph__store_op {
    struct ph__store_op *next;
    struct ph_store *s;
    struct ph__store_later later;
    enum { PH__OP_WAITS, PH__OP_RUNS, PH__OP_OVER } state;
    uint64_t until; /* WAITS, and a flush that RUNS: given up then (loop time, ms) */
    int err;        /* OVER */
    unsigned count; /* memory: the answer */
    bool flush;
    uint64_t mark; /* of a flush: the command that holds the last it waits for; 0: not known yet */
    char token[PH_STORE_TOKEN]; /* of a claim: made by the implementation */
    int (*begin)(struct ph_store *s, struct ph__store_op *op); /* the store is connected */
    void (*end)(struct ph_store *s, struct ph__store_op *op);  /* tells it, and frees the record */
};

/* --- reading --------------------------------------------------------------------------------------- */

/* Going through a hash. */
struct ph__store_scan {
    struct ph_store *s;
    struct ph__store_later later;
    char node[PH_STORE_NAME], kind[PH_STORE_KIND];
    char cursor[PH__STORE_LIFE]; /* "0": at its beginning, or after a page, its end */
    unsigned pages;              /* read so far */
    bool asked;                  /* of a sweep: a page is under way */
    /* A field and its value.  False: no more of them.  Whoever gets it may have freed the store (s->ended): then the scan
     * is gone. */
    bool (*entry)(struct ph__store_scan *c, struct ph_slice field, struct ph_slice value);
    /* The page is over, or could not be had. */
    void (*page)(struct ph__store_scan *c, int err);
};

/* --- writing --------------------------------------------------------------------------------------- */

/* A command under way. */
struct ph__store_slot {
    struct ph_store *s;
    struct ph__store_later later;
    bool busy, probe;
    uint32_t round;
    uint64_t seq;
    unsigned n_set, n_del;
    int err; /* memory: the answer */
};

/* The next command. */
struct ph__store_batch {
    unsigned n_set, n_del;
    struct {
        uint64_t id;
        size_t at, n; /* in bytes */
    } set[PH__STORE_BATCH];
    uint64_t del[PH__STORE_BATCH];
    uint8_t *bytes;
    size_t len, cap;
};

/* Looking for what has ended. */
struct ph__store_sweep {
    struct ph__store_scan scan;
    uint32_t round;    /* in which its page was asked for */
    bool fresh;        /* is to begin at the beginning */
    bool over;         /* there is no page any more */
    uint64_t mark;     /* settled when this command is confirmed; 0: not known yet */
    uint64_t *rubbish; /* of the last page, to be removed */
    size_t n, cap;
    uint64_t removed;
};

/*  OFF -> WAIT -> PROBE -> ALL -> SWEEP -> STEADY     a failure, or something missing: back to WAIT; another claim: FENCED */
enum ph__store_phase {
    PH__STORE_OFF,
    PH__STORE_WAIT,   /* nobody knows what is stored, and it is not the time to try */
    PH__STORE_PROBE,  /* a command without records is under way */
    PH__STORE_ALL,    /* all records are being written */
    PH__STORE_SWEEP,  /* all are written; what else is there is looked at */
    PH__STORE_STEADY, /* changes are written */
    PH__STORE_FENCED
};

struct ph__store_writer {
    enum ph__store_phase phase;
    char kind[PH_STORE_KIND], token[PH_STORE_TOKEN];
    char life[PH__STORE_LIFE]; /* of the hash */
    struct ph_store_source source;
    uint32_t round; /* answers to commands of earlier ones mean nothing */
    uint64_t seq;   /* of the last command sent; begins at 1 */
    bool due;       /* something has changed: ask the source, at gather_at */
    bool told;      /* on_state was called */
    bool again;     /* not the first time that everything is written */
    bool complained, said_long;
    uint64_t gather_at, retry_at, beat_at, again_at; /* loop time, ms; again_at 0: not held up */
    uint64_t told_at;                                /* no connection till then: say so */
    uint64_t all_at;                                 /* ALL began */
    uint32_t backoff_ms;
    uint64_t all_mark;   /* ALL is over when this command is confirmed; 0: not known yet */
    uint64_t mark;       /* the command that holds the changes since `since` */
    uint64_t since;      /* the first change not confirmed (loop time, ms + 1; 0: none) */
    uint64_t since_next; /* the first after mark */
    struct ph__store_slot slot[PH__STORE_SLOTS];
    struct ph__store_batch batch;
    struct ph__store_sweep sweep;
};

/* --- the handle ------------------------------------------------------------------------------------ */

/* Records to be removed. */
struct ph__store_removal {
    char node[PH_STORE_NAME], kind[PH_STORE_KIND], token[PH_STORE_TOKEN];
    const uint64_t *id;
    unsigned n;
};

/* An implementation.  Answers come from the loop, never from within. */
struct ph__store_ops {
    bool (*up)(struct ph_store *s);
    /* Sends s->w.batch; the answer goes to ph__store_wrote.  0 or an error; PH_E_LIMIT: try again soon. */
    int (*write)(struct ph_store *s, struct ph__store_slot *slot);
    /* Has the next page read: c->entry for each, then c->page. */
    int (*page)(struct ph_store *s, struct ph__store_scan *c);
    /* Claims with this random text; op->token is the token, and then ph__store_over. */
    int (*claim)(struct ph_store *s, const char *node, const char *random, struct ph__store_op *op);
    /* Removes up to PH__STORE_REMOVE; then ph__store_removed. */
    int (*remove)(struct ph_store *s, const struct ph__store_removal *x, struct ph__store_op *op);
    void (*close)(struct ph_store *s); /* nothing comes any more after it; s->back stays */
};

struct ph_store {
    uv_loop_t *loop;
    uv_timer_t timer;
    struct ph_env env;
    struct ph_store_conf c;
    struct ph_store_stats stats;
    const struct ph__store_ops *ops;
    void *back; /* the implementation's, malloc'ed */
    bool sealed, ended;
    bool turning;                /* in the timer's callback */
    uint32_t patience_ms;        /* how long ops wait for the connection */
    char label[PH__STORE_LABEL]; /* "redis 127.0.0.1:6379" */
    struct ph__store_op *op;
    struct ph__store_later *later, **later_tail;
    struct ph__store_writer w;
    uint8_t *room; /* for what is opened */
    size_t room_cap;
};

/* --- store.c --------------------------------------------------------------------------------------- */

/* A handle without implementation; back is the handle's from then on, also when NULL is returned. */
struct ph_store *ph__store_new(uv_loop_t *loop, const struct ph__store_ops *ops, void *back,
                               const struct ph_store_conf *c, const struct ph_env *env);

/* Calls o->fn from the loop, unless the store is freed before. */
void ph__store_later(struct ph_store *s, struct ph__store_later *o, void (*fn)(void *ctx),
                     void *ctx);

/* The connection begins or ends to serve. */
void ph__store_link(struct ph_store *s, bool up);

/* Takes an op, and begins it now or when the store is connected.  err: it is over at once. */
void ph__store_ask(struct ph_store *s, struct ph__store_op *op, int err);

/* An op is over: it is told from the loop. */
void ph__store_over(struct ph_store *s, struct ph__store_op *op, int err);

/* A part of a removal is answered, with how many there were. */
void ph__store_removed(struct ph_store *s, struct ph__store_op *op, int err, unsigned count);

/* Looks at when something is to be done next. */
void ph__store_arm(struct ph_store *s);

/* --- store_name.c ---------------------------------------------------------------------------------- */

bool ph__store_prefix_ok(const char *prefix);
bool ph__store_kind_ok(const char *kind);

/* "{prefix:node}:kind" */
void ph__store_key(char dst[static PH__STORE_KEY], const char *prefix, const char *node,
                   const char *kind);

/* A number in decimal; and read, as it would be written, and nothing else. */
size_t ph__store_id_write(char dst[static PH__STORE_ID], uint64_t id);
bool ph__store_id_read(struct ph_slice text, uint64_t *id);

/* Whether a claim was made before another one.  What is no token was not. */
bool ph__store_token_older(struct ph_slice a, struct ph_slice b);
bool ph__store_token_ok(struct ph_slice token);

/* Where a record is, for sealing: "node/kind/id". */
size_t ph__store_place(char dst[static PH__STORE_KEY], const char *node, const char *kind,
                       uint64_t id);

/* Reads an entry of a hash: room has space for value.n.  Returns the length of what was sealed (k NULL: it is not, room
 * unused), or PH_E_AUTH: does not open; PH_E_FORMAT: not a record. */
int ph__store_entry(const struct ph_fleet_keys *k, const char *node, const char *kind,
                    struct ph_slice field, struct ph_slice value, uint64_t *id, uint8_t *room);

/* --- store_load.c ---------------------------------------------------------------------------------- */

/* Opens an entry with s's keys; what it holds lives until the next one.  0, or as ph__store_entry, or PH_E_NOMEM. */
int ph__store_open(struct ph_store *s, const struct ph__store_scan *c, struct ph_slice field,
                   struct ph_slice value, uint64_t *id, struct ph_slice *plain);

/* Makes s->room this long. 0 or PH_E_NOMEM. */
int ph__store_room(struct ph_store *s, size_t n);

/* The field of a hash that is no record. */
bool ph__store_is_life(struct ph_slice field);

/* --- store_batch.c --------------------------------------------------------------------------------- */

/* Takes a change into s->w.batch, which is not full.  0 (also for one that is too long: said and left out), or a negative
 * error. */
int ph__store_batch_add(struct ph_store *s, const struct ph_store_change *c);
bool ph__store_batch_full(const struct ph_store *s);
void ph__store_batch_empty(struct ph__store_batch *b);
void ph__store_batch_fini(struct ph__store_batch *b);

static inline bool ph__store_staged(const struct ph__store_writer *w)
{
    return w->batch.n_set + w->batch.n_del > 0;
}

/* --- store_sweep.c --------------------------------------------------------------------------------- */

void ph__store_sweep_begin(struct ph_store *s);
void ph__store_sweep_on(struct ph_store *s);     /* asks for a page, if it is the time */
void ph__store_sweep_stage(struct ph_store *s);  /* rubbish into the batch */
void ph__store_sweep_settle(struct ph_store *s); /* sees whether it is over */

/* --- store_write.c --------------------------------------------------------------------------------- */

/* A command is answered: 0 and the hash's life; PH_E_FORBIDDEN: fenced; or it failed, and why (NULL: no connection). */
void ph__store_wrote(struct ph__store_slot *slot, int err, const char *life, const char *why);

/* When the writer has something to do (loop time; UINT64_MAX: nothing); does it; sees to the connection. */
uint64_t ph__store_write_due(struct ph_store *s);
void ph__store_write_turn(struct ph_store *s);
void ph__store_write_link(struct ph_store *s, bool up);

/* Sends what there is, as far as may be under way, and sees what is settled.  The store may be freed by it (s->ended). */
void ph__store_pump(struct ph_store *s);

/* Whether this command (not 0) and all before it are answered. */
bool ph__store_confirmed(const struct ph__store_writer *w, uint64_t mark);

/* It failed: nobody knows what is stored.  why NULL: the connection did, which says so itself. */
void ph__store_lose(struct ph_store *s, const char *why);

/* Too much was under way: nothing is sent for a moment; whether that lasts. */
void ph__store_block(struct ph_store *s);
bool ph__store_blocked(struct ph_store *s);

/* A line of the log about the hash that is written. */
void ph__store_say(const struct ph_store *s, enum ph_log_level level, const char *what,
                   const char *why);

/* A flush has been asked for. */
int ph__store_write_flush(struct ph_store *s, struct ph__store_op *op);
void ph__store_write_fini(struct ph_store *s);

#endif
