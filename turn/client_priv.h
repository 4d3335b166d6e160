/*
 * What the files of the TURN client share: state, requests under way, and who does what.
 *
 *     client.c        the verbs: what came in, what is due, what goes out
 *     client_op.c     requests: transactions, building, matching answers
 *     client_auth.c   realm, nonce, key: what a 401 or 438 teaches, what a request carries
 *     client_alloc.c  Allocate, Refresh, redirects, release
 *     client_perm.c   permissions
 *     client_chan.c   channels
 *     client_data.c   payloads: wrap and unwrap
 */
#ifndef PH_TURN_CLIENT_PRIV_H
#define PH_TURN_CLIENT_PRIV_H

#include "stun/base/hash.h"
#include "stun/base/map.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"
#include "turn/chandata.h"
#include "turn/client.h"

/* RFC 8656 9: a permission lives 300 s; 12: a channel binding 600 s, and its number and peer may be
 * used anew 300 s after that. */
#define PH__TC_PERM_TTL  PH_SEC(300)
#define PH__TC_CHAN_TTL  PH_SEC(600)
#define PH__TC_CHAN_REST PH_SEC(300)

enum {
    PH__TC_OPS = 8,      /* requests at a time; the first is for the allocation itself */
    PH__TC_BUNDLE = 16,  /* peers in a CreatePermission: with IPv6 and credentials within an MTU */
    PH__TC_VISITED = 5,  /* servers that redirects may lead through */
    PH__TC_ICMP = 8,     /* ICMP events kept between two drains, the rest is only counted */
    PH__TC_MAIN = 4,     /* events of the allocation between two drains */
    PH__TC_REASON = 128, /* bytes of a reason phrase (RFC 8489 14.8: fewer than 128 characters) */
    PH__TC_NO_SLOT = 0xFFFF
};

/* What a request asks for. */
enum ph__tc_op_kind {
    PH__TC_OP_NONE,
    PH__TC_OP_ALLOCATE,
    PH__TC_OP_REFRESH,
    PH__TC_OP_RELEASE,
    PH__TC_OP_PERMIT,
    PH__TC_OP_BIND
};

struct ph__tc_op {
    struct ph_txn txn;
    uint8_t kind; /* enum ph__tc_op_kind */
    bool send_due;
    bool authed;           /* carries credentials, so its answer must too */
    bool bad_integrity;    /* an answer was dropped for that ... */
    uint16_t dropped_code; /* ... which said this */
    uint8_t n401, n438;    /* so far */
    uint16_t chan;         /* PH__TC_OP_BIND: index */
    uint32_t lifetime_s;   /* PH__TC_OP_REFRESH: to ask for, 0: none */
};

/* How a request ended: 0, or why not. */
struct ph__tc_result {
    int err;
    uint16_t code;
};

/* An event waiting on the record it is about. */
struct ph__tc_mark {
    bool due;
    struct ph__tc_result r;
};

/* The permission of one IP. */
struct ph__tc_perm {
    struct ph_addr ip; /* port 0, PH_UDP; family PH_AF_NONE: the slot is free */
    ph_ns expires_at;  /* on the server; 0: not installed yet */
    ph_ns refresh_at;  /* next CreatePermission; PH_NEVER: a ChannelBind does it */
    uint16_t channels; /* bound or being bound to this IP */
    uint8_t op;        /* request under way, 0: none */
    bool wanted;       /* asked for by ph_turnc_permit */
    bool alone;        /* a request for several was refused */
    bool told;         /* PERMITTED was said */
    bool dead;         /* refused; waits for its event to be taken */
    struct ph__tc_mark ev;
};

enum ph__tc_chan_state {
    PH__TC_CHAN_FREE,
    PH__TC_CHAN_BINDING,
    PH__TC_CHAN_BOUND,
    PH__TC_CHAN_RESTING, /* no longer ours, but perhaps still bound on the server */
    PH__TC_CHAN_DEAD     /* refused; waits for its event to be taken */
};

/* Channel number PH_CHANNEL_MIN + index. */
struct ph__tc_chan {
    struct ph_addr peer; /* PH_UDP */
    ph_ns expires_at;    /* PH__TC_CHAN_BOUND: of the binding */
    ph_ns refresh_at;    /* next ChannelBind */
    ph_ns maybe_until;   /* the server may hold the binding until then: last request + 600 s */
    uint16_t perm;       /* its IP's permission, PH__TC_NO_SLOT while resting */
    uint8_t state;       /* enum ph__tc_chan_state */
    uint8_t op;          /* request under way, 0: none */
    struct ph__tc_mark ev;
};

struct ph__tc_main_ev {
    uint8_t type; /* enum ph_turnc_ev_type */
    struct ph__tc_result r;
};

struct ph__tc_icmp_ev {
    struct ph_addr peer;
    uint8_t type;
    uint16_t code;
    uint32_t data;
};

/* Bytes of our own that grow. */
struct ph__tc_blob {
    uint8_t *p;
    uint16_t n, cap;
};

struct ph_turnc {
    struct ph_turnc_conf c; /* slices in it are not used: see below */
    struct ph_env env;
    struct ph_turnc_info info;
    struct ph_turnc_stats stats;

    /* client_auth.c */
    struct ph__tc_blob user, password, realm, nonce, algs;
    struct ph_key key;
    uint8_t userhash[PH_SHA256_LEN];
    bool login;  /* realm, nonce and key are known: requests carry credentials */
    bool proven; /* an answer had good integrity with this key */

    /* client_op.c */
    struct ph__tc_op op[PH__TC_OPS];
    uint8_t next_id[PH_TXID_LEN]; /* of Send indications */

    /* client_alloc.c */
    ph_ns refresh_at;
    ph_ns keep_at;                       /* when it is looked whether anything was sent */
    bool sent;                           /* something was */
    bool keep_due;                       /* a Binding indication is to go out */
    bool release_wanted;                 /* as soon as Allocate is answered */
    struct ph__tc_result release_result; /* if set: FAILED with this is said instead of RELEASED */
    struct ph_addr visited[PH__TC_VISITED];
    uint8_t n_visited;

    /* client_perm.c, client_chan.c */
    struct ph_hash_key hash_key;
    struct ph__tc_perm *perm;
    struct ph__tc_chan *chan;
    uint16_t n_perm, n_chan; /* slots there are */
    struct ph_map perm_map, chan_map;
    ph_ns peers_at; /* not after the next thing due among them */
    bool peers_due; /* requests may be waiting for a free operation */
    uint16_t marks; /* events waiting on records */

    /* client.c */
    struct ph__tc_main_ev main_ev[PH__TC_MAIN];
    uint8_t n_main_ev;
    struct ph__tc_icmp_ev icmp_ev[PH__TC_ICMP];
    uint8_t n_icmp_ev;
    char reason[PH__TC_REASON];
    struct ph_addr alternate;
    char domain[256];
};

/* --- client.c ----------------------------------------------------------------------------- */

/* Notes an event of the allocation. */
void ph__tc_say(struct ph_turnc *t, enum ph_turnc_ev_type type, struct ph__tc_result r);

/* Notes an event on a record. */
void ph__tc_mark(struct ph_turnc *t, struct ph__tc_mark *m, struct ph__tc_result r);

/* Takes a noted event back. */
void ph__tc_unmark(struct ph_turnc *t, struct ph__tc_mark *m);

/* Replaces the content.  Returns 0 or PH_E_NOMEM. */
int ph__tc_blob_set(struct ph__tc_blob *b, struct ph_slice s);

static inline struct ph_slice ph__tc_blob_slice(const struct ph__tc_blob *b)
{
    return (struct ph_slice){b->p, b->n};
}

/* Doubles an array of n slots of `size` bytes, up to max; new ones are zero.  0, PH_E_LIMIT,
 * PH_E_NOMEM. */
int ph__tc_grow(void **v, uint16_t *n, uint16_t max, size_t size);

/* A span cut by up to a tenth, so that many clients started at once do not stay in step. */
ph_ns ph__tc_jitter(struct ph_turnc *t, ph_ns span);

/* The peer as records have it: transport PH_UDP; with_port false: port 0. */
struct ph_addr ph__tc_peer_key(const struct ph_addr *peer, bool with_port);

/* --- client_op.c -------------------------------------------------------------------------- */

/* Starts a request in a free operation. */
void ph__tc_op_start(struct ph_turnc *t, struct ph__tc_op *op, enum ph__tc_op_kind kind, ph_ns now);

/* Sends it again as a new transaction (RFC 8489 9.2.5). */
void ph__tc_op_again(struct ph_turnc *t, struct ph__tc_op *op, ph_ns now);

/* Forgets a request. */
void ph__tc_op_stop(struct ph__tc_op *op);

/* A free operation for permissions and channels, or NULL.  Its number is what records keep. */
struct ph__tc_op *ph__tc_op_free(struct ph_turnc *t);

static inline uint8_t ph__tc_op_number(const struct ph_turnc *t, const struct ph__tc_op *op)
{
    return (uint8_t)(op - t->op);
}

/* Moves all transactions on; ends those that got no answer. */
void ph__tc_ops_tick(struct ph_turnc *t, ph_ns now);

ph_ns ph__tc_ops_deadline(const struct ph_turnc *t);

/* Gives a packet its way to the server. */
void ph__tc_address(const struct ph_turnc *t, struct ph_pkt *out);

/* Builds what is due.  False: nothing is. */
bool ph__tc_ops_output(struct ph_turnc *t, struct ph_pkt *out, ph_ns now);

/* Takes a response.  True if it answered something, or told enough to ask again. */
bool ph__tc_ops_input(struct ph_turnc *t, const struct ph_msg *m, ph_ns now);

/* --- client_auth.c ------------------------------------------------------------------------ */

/* Copies user, password and a login kept from before.  Returns 0 or PH_E_NOMEM. */
int ph__tc_auth_init(struct ph_turnc *t, const struct ph_turnc_conf *c);
void ph__tc_auth_fini(struct ph_turnc *t);

/* Forgets realm and nonce: another server. */
void ph__tc_auth_reset(struct ph_turnc *t);

/* Learns from a 401 or 438.  Returns 0: ask again; else why not. */
int ph__tc_auth_challenged(struct ph_turnc *t, struct ph__tc_op *op, const struct ph_msg *m,
                           uint16_t code);

/* Appends credentials and integrity, if there is a login.  True if so. */
bool ph__tc_auth_append(const struct ph_turnc *t, struct ph_msgw *w);

/* Checks the integrity of a response to a request with credentials.  Returns 0 or PH_E_AUTH. */
int ph__tc_auth_check(struct ph_turnc *t, const struct ph_msg *m);

/* --- client_alloc.c ----------------------------------------------------------------------- */

void ph__tc_alloc_append(const struct ph_turnc *t, struct ph_msgw *w);
void ph__tc_alloc_done(struct ph_turnc *t, const struct ph_msg *m, struct ph__tc_result r,
                       ph_ns now);
void ph__tc_refresh_done(struct ph_turnc *t, const struct ph_msg *m, struct ph__tc_result r,
                         ph_ns now);
void ph__tc_release_done(struct ph_turnc *t, struct ph__tc_result r);

/* The allocation is gone. */
void ph__tc_alloc_lost(struct ph_turnc *t, struct ph__tc_result r);

/* Builds the Binding indication, if one is due. */
bool ph__tc_keep_output(struct ph_turnc *t, struct ph_pkt *out);

/* Refreshes when due, ends when expired. */
void ph__tc_alloc_tick(struct ph_turnc *t, ph_ns now);
ph_ns ph__tc_alloc_deadline(const struct ph_turnc *t);

/* --- client_perm.c ------------------------------------------------------------------------ */

void ph__tc_peers_fini(struct ph_turnc *t);

/* Forgets all permissions and channels. */
void ph__tc_peers_clear(struct ph_turnc *t);

/* 0 if a relayed address has the peer's family, or what ph_turnc_permit returns. */
int ph__tc_peer_check(const struct ph_turnc *t, const struct ph_addr *peer);

struct ph__tc_perm *ph__tc_perm_find(const struct ph_turnc *t, const struct ph_addr *peer);

/* Finds or makes the permission of a peer.  Returns its slot, or PH_E_LIMIT, PH_E_NOMEM. */
int ph__tc_perm_get(struct ph_turnc *t, const struct ph_addr *peer);

/* Frees a permission that nobody needs any more. */
void ph__tc_perm_drop_unused(struct ph_turnc *t, struct ph__tc_perm *p);

/* The server installed it just now. */
void ph__tc_perm_installed(struct ph_turnc *t, struct ph__tc_perm *p, ph_ns now);

/* Puts the permissions that are due into a request.  False: none is, or no operation is free. */
bool ph__tc_perm_start(struct ph_turnc *t, ph_ns now);
void ph__tc_perm_append(const struct ph_turnc *t, const struct ph__tc_op *op, struct ph_msgw *w);
void ph__tc_perm_done(struct ph_turnc *t, uint8_t op_number, struct ph__tc_result r, ph_ns now);

/* When to ask again after a failure: at once after silence while the old state lives, later after
 * trouble on the server, PH_NEVER when it is hopeless. */
ph_ns ph__tc_retry_at(struct ph__tc_result r, ph_ns expires_at, ph_ns now);

/* Drops what has expired; lowers t->peers_at to what is next. */
void ph__tc_perm_tick(struct ph_turnc *t, ph_ns now);

/* Tells that something among the peers is due at a time. */
static inline void ph__tc_peers_due_at(struct ph_turnc *t, ph_ns at)
{
    t->peers_at = ph_min_ns(t->peers_at, at);
}

static inline uint64_t ph__tc_peer_hash(const struct ph_turnc *t, const struct ph_addr *key)
{
    return ph_hash(&t->hash_key, key, sizeof *key);
}

/* --- client_chan.c ------------------------------------------------------------------------ */

struct ph__tc_chan *ph__tc_chan_find(const struct ph_turnc *t, const struct ph_addr *peer);

/* The channel of a number, if packets may come on it. */
struct ph__tc_chan *ph__tc_chan_by_number(const struct ph_turnc *t, uint16_t number);

bool ph__tc_chan_start(struct ph_turnc *t, ph_ns now);
void ph__tc_chan_append(struct ph_turnc *t, const struct ph__tc_op *op, struct ph_msgw *w,
                        ph_ns now);
void ph__tc_chan_done(struct ph_turnc *t, uint16_t slot, struct ph__tc_result r, ph_ns now);
void ph__tc_chan_tick(struct ph_turnc *t, ph_ns now);

/* Binds the channels of a permission again. */
void ph__tc_chan_rebind(struct ph_turnc *t, uint16_t perm, ph_ns now);

/* Stops using a channel: its number rests for as long as the server may hold the binding. */
void ph__tc_chan_rest(struct ph_turnc *t, struct ph__tc_chan *ch);

static inline uint16_t ph__tc_chan_number(const struct ph_turnc *t, const struct ph__tc_chan *ch)
{
    return (uint16_t)(PH_CHANNEL_MIN + (ch - t->chan));
}

/* --- client_data.c ------------------------------------------------------------------------ */

/* A transaction id for an indication. */
void ph__tc_next_id(struct ph_turnc *t, uint8_t id[static PH_TXID_LEN]);

/* Takes ChannelData, and a Data indication, from the server. */
int ph__tc_data_channel(struct ph_turnc *t, struct ph_pkt *p);
int ph__tc_data_indication(struct ph_turnc *t, struct ph_pkt *p, const struct ph_msg *m);

#endif
