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
 *   pooled.c    relays that share ports (pool.h)
 *   peer.c      the peer policy, own addresses, hairpin between own relays
 *   data.c      the data path: ChannelData, Send, packets from peers, ICMP
 *   tcp.c       TCP relays (RFC 6062): Connect, ConnectionBind, ConnectionAttempt
 *   conns.c     the table of TCP connections to and from peers
 *   mobility.c  clients that move (RFC 8016)
 *   moved.c     allocations that move between workers, and how others find restored ones
 *   save.c      what has changed, and allocations as records
 *   restore.c   allocations from records
 *   realm.c     which realm a request is in, and what holds there
 *   bound.c     bandwidth, new peers, the end of a credential
 *   live.c      other users, policies and limits while running; revoking
 *   usage.c     what coturn's statistics count
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
    uint8_t realm;            /* as in ph__req */
    uint32_t max_allocations; /* of his own, 0: none */
    uint64_t max_bps;         /* of his own, 0: none */
    int64_t expires_s;        /* unix time his credential ends; INT64_MAX: never */
    bool oauth;               /* the key came in a token: it cannot be looked up again */
    uint32_t slot;            /* in the core's table */
    uint64_t hash;
    struct ph_key key;
    uint16_t n;           /* bytes of name */
    uint16_t realm_n;     /* bytes of the realm's name, behind it */
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
    uint32_t pool; /* 0: it has a socket of its own; else the number which that would have, and by
                      which the pool knows it (pooled.c) */
};

/* Bits of ph__alloc.events. */
enum {
    PH__EV_OPEN = 1,  /* << leg */
    PH__EV_CLOSE = 4, /* << leg */
    PH__EV_UP = 16,
    PH__EV_DOWN = 32,
    PH__EV_TRAFFIC = 64,
    PH__EV_REFRESHED = 128
};

/* What only some allocations need; made when they do. */
struct ph__tcp;    /* conns.c: its TCP connections */
struct ph__mobile; /* mobility.c: its tickets */

/* Bandwidth and new peers (bound.c). */
struct ph__bound {
    struct ph_bps_session bps;
    struct ph_userbps_session user;
    uint64_t max_bps;   /* 0: no bound of its own */
    ph_ns peers_at;     /* when new_peers was counted */
    uint64_t new_peers; /* thousandths of a new peer that it may still have */
};

/* What coturn counts of an allocation beside what is relayed (usage.c); bytes of the client's leg are in the allocation. */
struct ph__usage {
    uint64_t in_packets, out_packets;  /* from and to the client */
    uint64_t peer_packets, peer_bytes; /* from peers */
    struct ph_turnd_usage told, due;   /* until the last TRAFFIC, and until the next one */
};

/* The tickets of an allocation, and the five-tuple it had before its client moved (mobility.c). */
struct ph__mobile {
    uint64_t serial;       /* of the last ticket given out */
    uint64_t before;       /* of the one before it, whose answer may have been lost; 0: none */
    struct ph_addr client; /* the former five-tuple, good for sending for a while */
    uint32_t listener;
    ph_ns until;       /* ... so long; 0: there is none */
    uint64_t sent;     /* packets to peers by then: more of them have come by the new one */
    uint64_t stray[2]; /* serials that other workers find it by (ph_strays), 0: none */
};

struct ph__alloc {
    struct ph_addr client;
    uint32_t listener;
    uint32_t conn;    /* 0: none, or lost (mobility) */
    uint64_t session; /* id for logs: worker * 10^15 + count */
    uint64_t dropped;
    struct ph__bound *bound; /* NULL: none */
    struct ph__tcp *tcp;     /* NULL: a UDP relay */
    struct ph__mobile *mobile;
    uint32_t auth_epoch;   /* when its key was looked up: see ph_turnd.auth_epoch */
    uint8_t realm;         /* as in ph__req */
    struct ph__leg leg[2]; /* [0] IPv4, [1] IPv6 */
    struct ph__user *user; /* NULL with no-auth */
    ph_ns created_at, expires_at;
    uint64_t to_peer_packets, to_peer_bytes, to_client_packets, to_client_bytes;
    uint64_t in_bytes,
        out_bytes;           /* of the client's leg besides payload, and 4 of each packet that was
                                     relayed; modulo 2^64 */
    int32_t usage_left;      /* counts until usage.c wants to see one */
    uint32_t refreshed_s;    /* what the last Refresh was granted */
    struct ph__usage *usage; /* NULL: nobody wants it */
    struct ph__perm *perm;
    struct ph__chan *chan;
    uint16_t n_perm, n_chan, cap_perm, cap_chan;
    uint64_t token;      /* RESERVATION-TOKEN of the answer, 0: none */
    uint32_t lifetime_s; /* granted by the Allocate */
    uint32_t event_next, output_next;
    uint32_t changed_next, changed_prev; /* in the list of what has changed, when `changed` */
    uint16_t code;                       /* of the error answer, when FAILED */
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
    bool away;        /* its client's connection is lost: no five-tuple leads here */
    bool reachable;   /* UP and not away: its client can be sent to */
    bool restored;    /* it comes from a record: while OPENING nobody waits for an answer */
    bool stray;       /* other workers find it by its five-tuple and tickets (ph_strays) */
    bool changed;     /* ... since ph_turnd_changed has told of it */
    bool stored;      /* that has told of it before */
};

enum ph__conn_state {
    PH__CONN_FREE,
    PH__CONN_CONNECTING,
    PH__CONN_WAITING, /* for ConnectionBind */
    PH__CONN_BOUND,
    PH__CONN_GONE /* only what is to be told of it is left */
};

/* Bits of ph__conn.events. */
enum { PH__CONN_EV_CONNECT = 1, PH__CONN_EV_SPLICE = 2, PH__CONN_EV_CLOSE = 4 };

/* What the client is to be told of a connection. */
enum ph__telling { PH__TELL_NOTHING, PH__TELL_ANSWER, PH__TELL_ATTEMPT };

/* A TCP connection to or from a peer. */
struct ph__conn {
    struct ph_addr peer; /* as the client knows it */
    uint32_t alloc;      /* its allocation, PH__NONE: that has ended */
    uint32_t next;       /* of the allocation's, or in the free list */
    uint32_t event_next, output_next;
    uint32_t client; /* the client's connection that it is bound to */
    uint16_t code;   /* of the answer to Connect, 0: success */
    uint8_t txid[PH_TXID_LEN];
    uint8_t state;      /* enum ph__conn_state */
    uint8_t events;     /* PH__CONN_EV_... waiting */
    uint8_t telling;    /* enum ph__telling */
    uint8_t generation; /* 1..255 */
    bool queued_event, queued_output;
    bool sha256, fingerprint; /* as in the Connect */
};

enum { PH__PEERS_KEPT = 16 /* different peers remembered for ph_turnd_peers */ };

/* The TCP side of an allocation. */
struct ph__tcp {
    uint32_t first; /* its connections, through ph__conn.next */
    uint32_t n;
    struct ph_addr peer[PH__PEERS_KEPT];
    unsigned peers;
};

/* An allocation that was released, so that the retransmission of its last Refresh gets the same answer. */
struct ph__tombstone {
    struct ph_addr client;
    uint32_t listener;
    uint8_t txid[PH_TXID_LEN];
    ph_ns until;
};

/* A packet from a client that is not relayed, to be counted when it is known what became of it. */
struct ph__heard {
    struct ph_addr client;
    uint32_t listener, bytes;
    uint32_t slot; /* its allocation, PH__NONE: to be looked for */
};

/* A singly linked list through event_next or output_next. */
struct ph__list {
    uint32_t head, tail;
};

struct ph_turnd {
    struct ph_turnd_conf c;
    struct ph_env env;
    uint32_t auth_epoch; /* counts reloads: a key of an older one is looked up again */
    unsigned auth_nth[PH_TURND_REALMS + 1]; /* which key was right last time (ph_auth_find) */
    uint64_t sessions;                      /* counts allocations, for their session ids */
    uint32_t alternate_at;                  /* next alternate server to name */
    struct ph_turnd_where elsewhere;        /* of the last PH_ELSEWHERE */
    uint32_t left; /* connection that an allocation has moved away from, see ph_turnd_left */
    struct ph_turnd_stats stats;

    struct ph__alloc **chunk;
    uint32_t chunks, free_head, count;
    struct ph_pool *pool; /* NULL: each relay has a port of its own */
    struct ph_map by_client;
    struct ph_map by_session;
    struct ph__list changed; /* through changed_next */
    struct ph_heap expiry;
    struct ph_hash_key hash_key;
    uint32_t memo; /* slot of the last client packet */

    uint8_t ticket_key[PH_TURND_TICKET_KEYS][PH_TICKET_KEY_LEN]; /* [0] makes tickets */
    unsigned n_ticket_keys;
    struct ph_map by_serial; /* of mobility tickets, the last two of each allocation */
    uint32_t moving;         /* allocations with a former five-tuple */

    struct ph__conn *conn; /* TCP connections to and from peers */
    uint32_t conns, conn_free;
    struct ph__list conn_events, conn_output;
    struct ph_heap conn_expiry;

    struct ph_map by_user;
    struct ph__user **user;
    uint32_t users, users_cap, user_free;

    struct ph__list events, output;
    uint32_t ended; /* DEAD slot whose DOWN event was given out last, freed at the next call */

    struct ph__tombstone tomb[PH__TOMBSTONES];
    uint32_t tomb_at;
    struct ph__before *before; /* usage.c; NULL: nothing is counted */

    int64_t wall_s; /* wall clock at wall_at */
    ph_ns wall_at;
    ph_ns refusals_at;   /* second whose refusals are being logged */
    uint32_t refusals;   /* in that second */
    uint64_t indication; /* counts Data indications, for their transaction ids */
    uint32_t rotate;     /* next relay address to try */
    uint32_t cost_401;   /* bytes of the last 401, given back to who authenticates */
    bool has_external;
    bool final; /* the packet at hand has been elsewhere already */
};

#define PH__NONE UINT32_MAX

/* A request on its way through the handlers.  Slices point into the packet: they are gone once the answer
 * is begun. */
struct ph__req {
    struct ph_turnd *d;
    struct ph_pkt *p;
    struct ph_msg m;
    ph_ns now;
    uint32_t slot;            /* allocation of the five-tuple, or PH__NONE */
    struct ph__alloc *a;      /* the same, or NULL */
    struct ph_key key;        /* of the authenticated user; n = 0: answer unsigned */
    bool sha256;              /* answer with MESSAGE-INTEGRITY-SHA256 */
    bool fingerprint;         /* the request had one */
    bool final;               /* no PH_LATER, no PH_ELSEWHERE */
    struct ph_slice name;     /* user name */
    struct ph_slice id;       /* part of it that quotas count */
    uint8_t realm;            /* 0: the default one; else 1 + index in live.realm */
    uint32_t max_allocations; /* these four as in ph__user */
    uint64_t max_bps;
    int64_t expires_s;
    bool oauth;
};

/* --- alloc.c ------------------------------------------------------------------------------------- */
static inline struct ph__alloc *ph__alloc_at(const struct ph_turnd *d, uint32_t slot)
{
    return &d->chunk[slot / PH__CHUNK][slot % PH__CHUNK];
}
/* The slot of a five-tuple, or PH__NONE.  One that its client has just moved away from counts too (RFC 8016), until the
 * client has sent from the new one. */
uint32_t ph__alloc_find(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener);
/* True if this is the five-tuple of an allocation now, not a former one. */
bool ph__alloc_is_at(const struct ph__alloc *a, const struct ph_addr *client, uint32_t listener);
/* Lets a five-tuple lead to a slot (0 or PH_E_NOMEM), and no more. */
int ph__tuple_add(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener,
                  uint32_t slot);
void ph__tuple_del(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener,
                   uint32_t slot);
uint32_t ph__alloc_new(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener,
                       ph_ns now);
/* The slot that a five-tuple leads to now, or PH__NONE. */
uint32_t ph__tuple_find(const struct ph_turnd *d, const struct ph_addr *client, uint32_t listener);
/* The slot of a session, whatever state it is in, or PH__NONE. */
uint32_t ph__session_find(const struct ph_turnd *d, uint64_t session);
/* A session of an earlier process is known: new ones have higher numbers, even if the clock was set back. */
void ph__session_seen(struct ph_turnd *d, uint64_t session);
/* A slot for an allocation that comes from elsewhere, found by its session, by its tickets and, unless it is away, by its
 * five-tuple.  PH_E_LIMIT or PH_E_NOMEM: none, and what *from refers to is still the caller's. */
int ph__alloc_adopt(struct ph_turnd *d, const struct ph__alloc *from, uint32_t *slot);
/* Takes a slot out of everything that finds it. */
void ph__alloc_unlink(struct ph_turnd *d, uint32_t slot);
/* Gives an unlinked slot back, leaving alone what it refers to. */
void ph__alloc_forget(struct ph_turnd *d, uint32_t slot);
/* Its client's connection is gone and it waits for the client to come back. */
void ph__alloc_lose(struct ph_turnd *d, uint32_t slot);
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
/* The record of r's realm, name and key, with r's limits and one more reference; NULL when out of memory. */
struct ph__user *ph__user_get(struct ph_turnd *d, const struct ph__req *r);
void ph__user_put(struct ph_turnd *d, struct ph__user *u);
struct ph_slice ph__user_name(const struct ph__user *u);
struct ph_slice ph__user_realm(const struct ph__user *u); /* also after it has gone */
struct ph_slice ph__user_id(const struct ph__user *u);    /* who quotas count */
/* The same for the key of a token: what both lengths of it begin with (authn.c). */
static inline struct ph_slice ph__key_id(const struct ph_key *k)
{
    return (struct ph_slice){k->b, k->n < PH_MD5_LEN ? k->n : PH_MD5_LEN};
}

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
/* The same with a reason of its own, if reasons are to be told (conf.long_reasons). */
int ph__reply_why(struct ph__req *r, uint16_t code, const char *why);
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
/* May this peer be talked to?  0 or the STUN error code. */
uint16_t ph__peer_code(const struct ph__req *r, const struct ph_addr *peer);
int ph__on_create_permission(struct ph__req *r);
int ph__on_channel_bind(struct ph__req *r);
/* 300 with another server's address. */
int ph__reply_alternate(struct ph__req *r, const struct ph_addr *to);
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
/* May a permission for this peer be given in a realm?  0, or PH_E_FORBIDDEN; fills own (its ports are checked packet by
 * packet: an own address, or the policy speaks of ports) and live_only of perm. */
int ph__peer_check(const struct ph_turnd *d, uint8_t realm, const struct ph_addr *peer,
                   struct ph__perm *perm);
/* May this very packet go, given its permission is marked own? */
bool ph__peer_port_ok(const struct ph_turnd *d, uint8_t realm, const struct ph__perm *perm,
                      const struct ph_addr *peer);
/* Is its IP one that our relays have? */
bool ph__peer_is_relay(const struct ph_turnd *d, const struct ph_addr *peer);
/* Between own relays behind an external address: public to bound, and back. */
void ph__peer_to_local(const struct ph_turnd *d, struct ph_addr *peer);
void ph__peer_to_public(const struct ph_turnd *d, struct ph_addr *peer);

/* --- pooled.c ------------------------------------------------------------------------------------ */
/* Takes the ports of conf.pool_ports, if there are to be any.  0, PH_E_LIMIT (they are in use) or PH_E_NOMEM. */
int ph__pool_init(struct ph_turnd *d);
void ph__pool_fini(struct ph_turnd *d);
/* Is this port of a relay address one of the pool? */
bool ph__pool_has(const struct ph_turnd *d, const struct ph_addr *at);
/* Gives a leg a port of the pool at a relay address: it is up.  0, PH_E_LIMIT (no even one) or PH_E_NOMEM. */
int ph__pool_open(struct ph_turnd *d, uint32_t slot, unsigned i, unsigned relay, bool even);
/* The same for a leg that knows its port.  0 or PH_E_NOMEM. */
int ph__pool_join(struct ph_turnd *d, uint32_t slot, unsigned i);
/* Ends what a leg has in the pool, if it is there. */
void ph__pool_leave(struct ph_turnd *d, const struct ph__leg *leg);
/* Tells the pool of a permission that was given, or has another end now.  0 or PH_E_NOMEM. */
int ph__pool_permit(struct ph_turnd *d, const struct ph__alloc *a, const struct ph__perm *perm,
                    ph_ns now);
/* Does another client of the same port talk to this peer? */
bool ph__pool_is_taken(const struct ph_turnd *d, const struct ph__alloc *a,
                       const struct ph_addr *peer, ph_ns now);
/* A channel was bound.  0, PH_E_STATE or PH_E_NOMEM. */
int ph__pool_bind(struct ph_turnd *d, const struct ph__alloc *a, const struct ph_addr *peer,
                  ph_ns now);
/* Tells the pool of all that a restored allocation has. */
void ph__pool_restored(struct ph_turnd *d, const struct ph__alloc *a, ph_ns now);
/* A client's payload for a peer, from a relay in the pool; the permission was looked at. */
int ph__pool_to_peer(struct ph_turnd *d, uint32_t slot, struct ph_pkt *p,
                     const struct ph_addr *peer, ph_ns now);
/* A packet that came to a port of the pool. */
int ph__pool_on_peer(struct ph_turnd *d, struct ph_pkt *p, ph_ns now);
/* The number that the relay has whose flow with a peer it is; `sock` itself: nobody's. */
uint32_t ph__pool_sock(const struct ph_turnd *d, uint32_t sock, const struct ph_addr *peer,
                       ph_ns now);

/* --- conns.c ------------------------------------------------------------------------------------- */
/* The id of a connection, and its slot, or PH__NONE. */
uint32_t ph__conn_id(const struct ph_turnd *d, uint32_t slot);
uint32_t ph__conn_slot(const struct ph_turnd *d, uint32_t id);
/* A new connection of an allocation.  0, PH_E_LIMIT or PH_E_NOMEM. */
int ph__conn_add(struct ph_turnd *d, uint32_t alloc, const struct ph_addr *peer,
                 enum ph__conn_state state, ph_ns until, uint32_t *slot);
/* The slot of the one with this peer, or PH__NONE. */
uint32_t ph__conn_find(const struct ph_turnd *d, const struct ph__alloc *a,
                       const struct ph_addr *peer);
void ph__conn_event(struct ph_turnd *d, uint32_t slot, uint8_t bit);
void ph__conn_tell(struct ph_turnd *d, uint32_t slot, enum ph__telling what);
/* Ends a connection; with `ask` the shell is asked to close it. */
void ph__conn_end(struct ph_turnd *d, uint32_t slot, bool ask);
/* Frees the slot of a connection that is gone, once all is told. */
void ph__conn_settle(struct ph_turnd *d, uint32_t slot);
/* Makes a fresh allocation a TCP relay.  0 or PH_E_NOMEM. */
int ph__tcp_init(struct ph__alloc *a);
/* Asks for all its connections to be closed and forgets them. */
void ph__tcp_end(struct ph_turnd *d, uint32_t slot);
/* Asks for those to peers that the policy forbids (any more) to be closed. */
void ph__tcp_sweep(struct ph_turnd *d, uint32_t slot);
void ph__tcp_free(struct ph__alloc *a);
bool ph__tcp_busy(const struct ph__alloc *a);
/* The peers it has had connections with, at most max.  Returns how many. */
unsigned ph__tcp_peers(const struct ph__alloc *a, struct ph_addr *v, unsigned max);
/* Remembers one. */
void ph__tcp_keep_peer(struct ph__tcp *t, const struct ph_addr *peer);
void ph__tcp_fini(struct ph_turnd *d);

/* --- tcp.c --------------------------------------------------------------------------------------- */
int ph__on_connect(struct ph__req *r);
int ph__on_connection_bind(struct ph__req *r);
/* The part of TCP relays in the core's verbs. */
void ph__tcp_tick(struct ph_turnd *d, ph_ns now);
bool ph__tcp_output(struct ph_turnd *d, struct ph_pkt *out);
bool ph__tcp_event(struct ph_turnd *d, struct ph_turnd_ev *ev);

/* --- save.c -------------------------------------------------------------------------------------- */
/* An allocation that is up has changed; with conf.save it is told to ph_turnd_changed. */
void ph__changed(struct ph_turnd *d, uint32_t slot);
/* Forgets that. */
void ph__unchanged(struct ph_turnd *d, uint32_t slot);
/* Unix time in ms of an instant, and back; what is very far away comes nearer (a lifetime of decades). */
int64_t ph__unix_ms(const struct ph_turnd *d, ph_ns at);
ph_ns ph__instant(const struct ph_turnd *d, int64_t unix_ms);

/* --- restore.c ----------------------------------------------------------------------------------- */
/* The shell has answered for all relay sockets of an allocation that is being restored. */
void ph__restore_finish(struct ph_turnd *d, uint32_t slot, ph_ns now);

/* --- moved.c ------------------------------------------------------------------------------------- */
/* Lets other workers find an allocation that was restored.  When there is no room for it only this one does. */
void ph__stray_add(struct ph_turnd *d, uint32_t slot);
/* True if another worker has the allocation of this client, or ticket: d->elsewhere says which.  Not for a packet that has
 * been elsewhere. */
bool ph__stray_elsewhere(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener,
                         ph_ns now);
bool ph__stray_ticket_elsewhere(struct ph_turnd *d, uint64_t serial, ph_ns now);
/* Other workers need not find it any more.  True if they did. */
bool ph__stray_del(struct ph_turnd *d, struct ph__alloc *a);
/* A packet of a client who has no allocation here: PH_ELSEWHERE or PH_DROP. */
int ph__no_allocation(struct ph_turnd *d, const struct ph_pkt *p, ph_ns now);

/* --- mobility.c ---------------------------------------------------------------------------------- */
/* The slot of a ticket's allocation, or PH__NONE. */
uint32_t ph__mobile_find(const struct ph_turnd *d, uint64_t serial);
/* Lets the tickets of an allocation lead to a slot.  0 or PH_E_NOMEM. */
int ph__mobile_link(struct ph_turnd *d, const struct ph__mobile *m, uint32_t slot);
/* Gives a fresh allocation its first ticket.  0 or PH_E_NOMEM. */
int ph__mobile_init(struct ph_turnd *d, uint32_t slot);
/* Writes the ticket of an allocation that has one into an answer. */
void ph__mobile_put(const struct ph_turnd *d, uint32_t slot, struct ph_msgw *w);
/* A Refresh with a ticket: finds its allocation and, unless it is being released, moves it to where the request came
 * from.  PH_CONSUMED: r->slot and r->a are set, go on; else the verdict. */
int ph__mobile_refresh(struct ph__req *r);
/* The client has sent a request: if by its new five-tuple, the former one is no longer good. */
void ph__mobile_heard(const struct ph__req *r);
/* Ends the former five-tuple, if there is one. */
void ph__mobile_settle(struct ph_turnd *d, uint32_t slot);
/* Takes tickets and former five-tuple of a slot out of what finds them. */
void ph__mobile_unlink(struct ph_turnd *d, uint32_t slot);
void ph__mobile_free(struct ph__alloc *a);

/* --- realm.c ------------------------------------------------------------------------------------- */
/* What holds in a realm. */
const struct ph_auth *ph__realm_auth(const struct ph_turnd *d, uint8_t realm);
const struct ph_acl *ph__realm_acl(const struct ph_turnd *d, uint8_t realm);
struct ph_quota *ph__realm_quota(const struct ph_turnd *d, uint8_t realm);
/* The smaller of the realm's and the server's bound on a session, 0: none. */
uint64_t ph__realm_max_bps(const struct ph_turnd *d, uint8_t realm);
/* The realm a challenge names: by ORIGIN, else the default one. */
uint8_t ph__realm_of_origin(const struct ph_turnd *d, const struct ph_msg *m);
/* The realm a request names by REALM.  0 and *realm, or PH_E_MISSING: none of ours. */
int ph__realm_named(const struct ph_turnd *d, struct ph_slice name, uint8_t *realm);

/* --- live.c -------------------------------------------------------------------------------------- */
/* PH_FEATURE_... that may be offered to every client. */
unsigned ph__features(const struct ph_turnd_conf *c);
/* True if nothing is missing and no number is beyond its array. */
bool ph__live_is_complete(const struct ph_turnd_live *live);
/* Holds an allocation to the configuration of now: peers, bounds, expiry. */
void ph__live_take_over(struct ph_turnd *d, uint32_t slot, ph_ns now);

/* --- bound.c ------------------------------------------------------------------------------------- */
/* Gives a fresh allocation the bounds of its user, realm and server.  0 or PH_E_NOMEM. */
int ph__bound_init(struct ph_turnd *d, struct ph__alloc *a, ph_ns now);
void ph__bound_free(struct ph__alloc *a);
/* May n bytes pass?  Counts the drop if not.  Only called when a->bound is not NULL. */
bool ph__bound_packet(struct ph_turnd *d, struct ph__alloc *a, enum ph_bps_way way, uint32_t n,
                      ph_ns now);
/* May n bytes pass?  Counts nothing. */
bool ph__bound_take(struct ph_turnd *d, struct ph__bound *b, enum ph_bps_way way, uint32_t n,
                    ph_ns now);
/* May it have n more peers? */
bool ph__bound_peers(struct ph_turnd *d, struct ph__alloc *a, unsigned n, ph_ns now);
/* `at`, or the earlier end of its user's credential, which counts for OAuth tokens always and else with
 * strict_expiry. */
ph_ns ph__bound_expiry(const struct ph_turnd *d, const struct ph__user *u, ph_ns at, ph_ns now);
/* Why an allocation that is due ends: PH_END_EXPIRED, or PH_END_CREDENTIAL. */
enum ph_turnd_reason ph__bound_reason(const struct ph_turnd *d, const struct ph__alloc *a,
                                      ph_ns now);

/* --- usage.c ------------------------------------------------------------------------------------- */
/* Makes what the core needs for it, and an allocation.  0 or PH_E_NOMEM. */
int ph__usage_init(struct ph_turnd *d);
int ph__usage_begin(struct ph_turnd *d, struct ph__alloc *a, ph_ns now);
/* A packet was relayed, has been counted as such, and a->usage_left is 0 or less.  bytes: as it goes on. */
void ph__usage_relayed(struct ph_turnd *d, uint32_t slot, enum ph_bps_way way, uint32_t bytes);
/* Packets that are not relayed: from the client, to it, from a peer. */
void ph__usage_in(struct ph_turnd *d, uint32_t slot, uint32_t bytes);
void ph__usage_out(struct ph_turnd *d, uint32_t slot, uint32_t bytes);
void ph__usage_peer(struct ph_turnd *d, uint32_t slot, uint32_t bytes);
/* One from a client that may have no allocation (yet); out: bytes of the answer, 0: none.  Only with d->before. */
void ph__usage_heard(struct ph_turnd *d, const struct ph__heard *h, uint32_t out, ph_ns now);
/* What goes nowhere is counted, and why: from a client with an allocation, from a peer (sock: the relay), and a message of
 * no use from anybody (why may be NULL).  PH_DROP. */
int ph__drop_from_client(struct ph_turnd *d, uint32_t slot, uint32_t bytes, uint64_t *why);
int ph__drop_from_peer(struct ph_turnd *d, uint32_t sock, uint32_t bytes, uint64_t *why);
int ph__drop_message(struct ph_turnd *d, const struct ph_pkt *p, uint64_t *why, ph_ns now);
/* A Refresh was granted; 0: the allocation is about to end. */
void ph__usage_refreshed(struct ph_turnd *d, uint32_t slot, uint32_t lifetime_s);
/* Fills in usage and untold. */
void ph__usage_info(const struct ph__alloc *a, struct ph_turnd_info *out);
/* Tells what has not been told: until the end of the last period, or all there is. */
void ph__usage_tell(struct ph__alloc *a, bool all, struct ph_turnd_usage *out);

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
