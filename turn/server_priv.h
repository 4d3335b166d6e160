/*
 * What the files of the server core share.  Not installed.
 *
 *   server.c    life, dispatch by socket and first byte, events, deadlines
 *   alloc.c     the table of allocations: slots, five-tuple index, expiry heap, tombstones
 *   user.c      who holds allocations: one record per user name and key
 *   authn.c     RFC 8489 9.2.4: is this request authenticated, and as whom
 *   reply.c     answers, built over the request
 *   allocate.c  Allocate, and what comes of the relay sockets it needs
 *   request.c   Refresh, CreatePermission, ChannelBind
 *   perm.c      permissions and channels of one allocation
 *   peer.c      the peer policy, own addresses, hairpin between own relays
 *   data.c      the data path: ChannelData, Send, packets from peers, ICMP
 */
#ifndef PH_TURN_SERVER_PRIV_H
#define PH_TURN_SERVER_PRIV_H

#include "stun/base/hash.h"
#include "stun/base/heap.h"
#include "stun/base/map.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"
#include "turn/server.h"

enum {
    PH__CHUNK = 64,       /* allocations per block of memory */
    PH__TOMBSTONES = 256, /* ended allocations remembered for retransmitted requests */
    PH__REPLY_ROOM = 1200 /* bytes an answer may need: two addresses, realm, 420 list, integrity */
};

/* A user name with its key, as long as allocations refer to it. */
struct ph__user {
    uint32_t refs;
    uint32_t slot; /* in the core's table */
    uint64_t hash;
    struct ph_key key;
    uint16_t n;           /* bytes of name */
    uint16_t id_at, id_n; /* the part of the name that quotas count */
    uint8_t name[];
};

/* One peer IP that may be sent to and listened to. */
struct ph__perm {
    uint8_t ip[16];
    ph_ns expires_at;
    uint8_t family;
    bool own;       /* an address of this server: ports are checked packet by packet */
    bool live_only; /* denied by policy but for live relays of this server */
};

struct ph__chan {
    struct ph_addr peer;
    uint16_t number;
    ph_ns expires_at;
};

enum ph__state {
    PH__FREE,
    PH__OPENING, /* relay sockets asked for */
    PH__UP,
    PH__FAILED, /* error answer waits in the output list */
    PH__DEAD    /* only its last events are left */
};

enum ph__leg_state { PH__LEG_NONE, PH__LEG_OPENING, PH__LEG_UP, PH__LEG_FAILED };

/* One relayed transport address. */
struct ph__leg {
    struct ph_addr at; /* as bound */
    uint16_t tries;
    uint8_t relay; /* index in conf.relay */
    uint8_t state; /* enum ph__leg_state */
    uint16_t code; /* why it failed, for ADDRESS-ERROR-CODE: 440 or 508 */
};

/* Bits of ph__alloc.events. */
enum {
    PH__EV_OPEN = 1,  /* << leg */
    PH__EV_CLOSE = 4, /* << leg */
    PH__EV_UP = 16,
    PH__EV_DOWN = 32
};

struct ph__alloc {
    struct ph_addr client;
    uint32_t listener;
    struct ph__leg leg[2]; /* [0] IPv4, [1] IPv6 */
    struct ph__user *user; /* NULL with no-auth */
    ph_ns created_at, expires_at;
    uint64_t to_peer_packets, to_peer_bytes, to_client_packets, to_client_bytes;
    struct ph__perm *perm;
    struct ph__chan *chan;
    uint16_t n_perm, n_chan, cap_perm, cap_chan;
    uint64_t token;      /* RESERVATION-TOKEN of the answer, 0: none */
    uint32_t lifetime_s; /* granted by the Allocate */
    uint32_t event_next, output_next;
    uint16_t code; /* of the error answer, when FAILED */
    uint8_t txid[PH_TXID_LEN];
    uint8_t state;  /* enum ph__state */
    uint8_t events; /* PH__EV_... waiting */
    uint8_t reason; /* enum ph_turnd_reason, once DEAD */
    uint8_t want;   /* enum ph_port_want */
    bool queued_event, queued_output;
    bool sha256;      /* sign with MESSAGE-INTEGRITY-SHA256 */
    bool fingerprint; /* the Allocate had one */
    bool draft;       /* it used the SSODA draft's numbers */
    bool both;        /* it asked for both families */
    bool counted;     /* in the quota */
    bool was_up;      /* its end is worth an event */
};

/* An allocation that was released, so that the retransmission of its last Refresh gets the same answer. */
struct ph__tombstone {
    struct ph_addr client;
    uint32_t listener;
    uint8_t txid[PH_TXID_LEN];
    ph_ns until;
};

/* A singly linked list through event_next or output_next. */
struct ph__list {
    uint32_t head, tail;
};

struct ph_turnd {
    struct ph_turnd_conf c;
    struct ph_env env;
    struct ph_turnd_stats stats;

    struct ph__alloc **chunk;
    uint32_t chunks, free_head, count;
    struct ph_map by_client;
    struct ph_heap expiry;
    struct ph_hash_key hash_key;
    uint32_t memo; /* slot of the last client packet */

    struct ph_map by_user;
    struct ph__user **user;
    uint32_t users, users_cap, user_free;

    struct ph__list events, output;
    uint32_t ended; /* DEAD slot whose DOWN event was given out last, freed at the next call */

    struct ph__tombstone tomb[PH__TOMBSTONES];
    uint32_t tomb_at;

    int64_t wall_s; /* wall clock at wall_at */
    ph_ns wall_at;
    ph_ns refusals_at;   /* second whose refusals are being logged */
    uint32_t refusals;   /* in that second */
    uint64_t indication; /* counts Data indications, for their transaction ids */
    uint32_t rotate;     /* next relay address to try */
    uint32_t cost_401;   /* bytes of the last 401, given back to who authenticates */
    bool has_external;
};

#define PH__NONE UINT32_MAX

/* A request on its way through the handlers.  Slices point into the packet: they are gone once the answer
 * is begun. */
struct ph__req {
    struct ph_turnd *d;
    struct ph_pkt *p;
    struct ph_msg m;
    ph_ns now;
    uint32_t slot;        /* allocation of the five-tuple, or PH__NONE */
    struct ph__alloc *a;  /* the same, or NULL */
    struct ph_key key;    /* of the authenticated user; n = 0: answer unsigned */
    bool sha256;          /* answer with MESSAGE-INTEGRITY-SHA256 */
    bool fingerprint;     /* the request had one */
    struct ph_slice name; /* user name */
    struct ph_slice id;   /* part of it that quotas count */
};

/* --- alloc.c ------------------------------------------------------------------------------------- */
struct ph__alloc *ph__alloc_at(const struct ph_turnd *d, uint32_t slot);
uint32_t ph__alloc_find(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener);
uint32_t ph__alloc_new(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener,
                       ph_ns now);
/* Takes a slot out of the index and gives back ports and quota; its memory stays for events. */
void ph__alloc_end(struct ph_turnd *d, uint32_t slot, enum ph_turnd_reason reason);
/* Gives the slot back. */
void ph__alloc_free(struct ph_turnd *d, uint32_t slot);
int ph__alloc_expire_at(struct ph_turnd *d, uint32_t slot, ph_ns at);
void ph__alloc_info(const struct ph_turnd *d, uint32_t slot, struct ph_turnd_info *out);
void ph__alloc_event(struct ph_turnd *d, uint32_t slot, uint8_t bits);
void ph__alloc_output(struct ph_turnd *d, uint32_t slot);
uint32_t ph__list_pop(struct ph_turnd *d, struct ph__list *l);
void ph__leg_release(struct ph_turnd *d, struct ph__leg *leg);
void ph__tomb_add(struct ph_turnd *d, const struct ph__req *r);
bool ph__tomb_find(const struct ph_turnd *d, const struct ph__req *r);
void ph__alloc_fini(struct ph_turnd *d);

/* --- user.c -------------------------------------------------------------------------------------- */
/* The record of a name and key, with one more reference; NULL when out of memory. */
struct ph__user *ph__user_get(struct ph_turnd *d, struct ph_slice name, struct ph_slice id,
                              const struct ph_key *key);
void ph__user_put(struct ph_turnd *d, struct ph__user *u);
struct ph_slice ph__user_name(const struct ph__user *u);
struct ph_slice ph__user_id(const struct ph__user *u);

/* --- authn.c ------------------------------------------------------------------------------------- */
/* PH_CONSUMED: authenticated, r->key, name and id are set.  Else the verdict: the answer (401, 400, 438, 441)
 * stands in the packet, or it is to be dropped. */
int ph__authenticate(struct ph__req *r);
int64_t ph__wall(const struct ph_turnd *d, ph_ns now);
/* True for the first few refusals of a second: whoever causes refusals must not fill the log. */
bool ph__refusal_is_logged(struct ph_turnd *d, ph_ns now);

/* --- reply.c ------------------------------------------------------------------------------------- */
/* Starts the success answer over the request. */
void ph__reply_begin(struct ph__req *r, struct ph_msgw *w);
/* Signs, ends and addresses an answer.  Returns PH_SEND, or PH_DROP when it did not fit. */
int ph__reply_end(struct ph__req *r, struct ph_msgw *w);
/* A whole error answer. */
int ph__reply_error(struct ph__req *r, uint16_t code);
/* 401 and 438, with a fresh nonce; paid from the source's budget. */
int ph__reply_challenge(struct ph__req *r, uint16_t code);
/* 420 with the list of what was not understood. */
int ph__reply_unknown(struct ph__req *r);
/* The attributes and the end that every answer has: SOFTWARE, integrity, FINGERPRINT. */
int ph__reply_seal(const struct ph_turnd *d, struct ph_msgw *w, const struct ph_key *key,
                   bool sha256, bool fingerprint);

/* --- allocate.c, request.c ------------------------------------------------------------------------ */
int ph__on_allocate(struct ph__req *r);
int ph__on_refresh(struct ph__req *r);
int ph__on_create_permission(struct ph__req *r);
int ph__on_channel_bind(struct ph__req *r);
/* Builds the answer of an allocation that is UP or FAILED. */
int ph__allocate_answer(struct ph_turnd *d, uint32_t slot, struct ph_pkt *out);
/* Seconds granted for the LIFETIME of a request; 0 only if it asks for 0. */
uint32_t ph__lifetime(const struct ph_turnd *d, const struct ph_msg *m);

/* --- perm.c -------------------------------------------------------------------------------------- */
struct ph__perm *ph__perm_find(const struct ph__alloc *a, const struct ph_addr *peer, ph_ns now);
/* Installs or refreshes.  0, PH_E_LIMIT or PH_E_NOMEM. */
int ph__perm_set(struct ph_turnd *d, struct ph__alloc *a, const struct ph_addr *peer, ph_ns now);
/* How many of n peers would need a new entry: checked before any is set, so a request is all or nothing. */
bool ph__perm_room(const struct ph_turnd *d, struct ph__alloc *a, const struct ph_addr *peers,
                   unsigned n, ph_ns now);
struct ph__chan *ph__chan_by_number(const struct ph__alloc *a, uint16_t number, ph_ns now);
struct ph__chan *ph__chan_by_peer(const struct ph__alloc *a, const struct ph_addr *peer, ph_ns now);
int ph__chan_set(struct ph_turnd *d, struct ph__alloc *a, uint16_t number,
                 const struct ph_addr *peer, ph_ns now);

/* --- peer.c -------------------------------------------------------------------------------------- */
/* May a permission for this peer be given?  0, or PH_E_FORBIDDEN; fills own and live_only of perm. */
int ph__peer_check(const struct ph_turnd *d, const struct ph_addr *peer, struct ph__perm *perm);
/* May this very packet go, given its permission is marked own? */
bool ph__peer_port_ok(const struct ph_turnd *d, const struct ph__perm *perm,
                      const struct ph_addr *peer);
/* Between own relays behind an external address: public to bound, and back. */
void ph__peer_to_local(const struct ph_turnd *d, struct ph_addr *peer);
void ph__peer_to_public(const struct ph_turnd *d, struct ph_addr *peer);

/* --- data.c -------------------------------------------------------------------------------------- */
int ph__on_channel_data(struct ph_turnd *d, struct ph_pkt *p, ph_ns now);
int ph__on_send(struct ph_turnd *d, struct ph_pkt *p, const struct ph_msg *m, ph_ns now);
int ph__on_peer(struct ph_turnd *d, struct ph_pkt *p, ph_ns now);

/* The leg of an allocation for a peer's family; NULL when it has none. */
static inline struct ph__leg *ph__leg_for(struct ph__alloc *a, const struct ph_addr *peer)
{
    struct ph__leg *leg = &a->leg[peer->family == PH_AF_INET6];
    return leg->state == PH__LEG_UP ? leg : NULL;
}

/* The number of a relay socket. */
static inline uint32_t ph__relay_sock(uint32_t slot, unsigned leg)
{
    return PH_SOCK_RELAY | slot << 1 | leg;
}

#endif
