/*
 * The fleet: what a node knows of the others, and what follows from it.
 *
 *     an entry      a node says once a second who it is, where clients reach it and how busy it is; kept in a registry
 *     a note        what nodes tell each other at once: how many allocations a user has here, how much he sends, what an
 *                   operator wants done
 *     an order      a note that asks a node to do something: end a session, revoke a user
 *
 * A core of its own, without I/O: entries and notes come in as text (whoever carries them has opened their seal: fleetkey.h)
 * and are asked for as text.  Nodes that have not been heard of for a while count as dead: nobody is sent there, and what their
 * users had counts no more.  One thread.
 *
 * Texts are one line of words and KEY=VALUE pairs; bytes of names that would break it are written %XX.
 *
 *     1 state=serving load=120 sessions=37 up=1763769600 version=0.4.0 udp=192.0.2.1:3478 tls=192.0.2.1:5349
 *     use example.org alice 2 example.org bob 0          realm, user, allocations
 *     rate example.org alice 1000000 52000               realm, user, bytes a second from and to the client
 *     hello                                              I know nothing of you: tell me
 *     anew                                               what I have said of users is void
 *     end 1000176376960000042                            session
 *     revoke example.org alice
 */
#ifndef PH_TURN_FLEET_H
#define PH_TURN_FLEET_H

#include "stun/base/addr.h"
#include "stun/base/env.h"
#include "stun/base/slice.h"
#include "stun/base/time.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PH_FLEET_NODES = 64,  /* besides this one */
    PH_FLEET_NAME = 64,   /* bytes of a node's name, terminator included */
    PH_FLEET_AT = 8,      /* addresses of a node */
    PH_FLEET_TEXT = 8192, /* bytes of an entry or note, terminator included */
    PH_FLEET_LOAD = 1000  /* a node that is full */
};

enum ph_fleet_state { PH_FLEET_SERVING, PH_FLEET_DRAINING };

/* What a node says of itself. */
struct ph_fleet_node_info {
    char name[PH_FLEET_NAME];
    enum ph_fleet_state state;
    uint32_t load;     /* thousandths of what it can do */
    uint32_t sessions; /* allocations now */
    int64_t up_s;      /* unix time of its start */
    char version[24];
    struct ph_addr at[PH_FLEET_AT]; /* where clients reach it; proto: how; PH_AF_NONE: the end */
};

/* Zero means the default given. */
struct ph_fleet_conf {
    char node[PH_FLEET_NAME]; /* this one */
    ph_ns dead_after;         /* nothing heard for so long, 5 s */
    uint32_t users;           /* of other nodes that are counted, 65536 */
    uint32_t
        margin; /* busier than the least busy by so much (thousandths): send clients there, 200 */
};

#define PH_FLEET_COUNTERS(X)                                                                       \
    X(entries, "entries of other nodes taken")                                                     \
    X(notes, "notes of other nodes taken")                                                         \
    X(bad, "entries and notes that make no sense")                                                 \
    X(joined, "nodes that came, or came back")                                                     \
    X(died, "nodes not heard of any more")                                                         \
    X(uncounted, "users of other nodes that there was no room to count")

struct ph_fleet_stats {
#define PH_X(name, text) uint64_t name;
    PH_FLEET_COUNTERS(PH_X)
#undef PH_X
    unsigned alive; /* nodes besides this one */
    uint32_t users; /* of theirs that are counted */
};

struct ph_fleet;

struct ph_fleet *ph_fleet_new(const struct ph_fleet_conf *c, const struct ph_env *env);
void ph_fleet_free(struct ph_fleet *f);

/* ---- entries ---- */

/* Writes an entry.  Returns its length. */
size_t ph_fleet_entry(const struct ph_fleet_node_info *n, char dst[static PH_FLEET_TEXT]);

/* Takes the entry of a node that was written age ago.  Our own is ignored.  0, PH_E_FORMAT, or PH_E_LIMIT: too many nodes. */
int ph_fleet_heard(struct ph_fleet *f, struct ph_slice name, struct ph_slice entry, ph_ns age,
                   ph_ns now);

/* Lets nodes die that have not been heard of.  True if what ph_fleet_alternates or ph_fleet_each would say may have
 * changed, here or by ph_fleet_heard, since the last call. */
bool ph_fleet_tick(struct ph_fleet *f, ph_ns now);

/* Whether a node is alive. */
bool ph_fleet_alive(const struct ph_fleet *f, const char *name);

/* Steps through the nodes that are alive: *i starts at 0.  NULL at the end. */
const struct ph_fleet_node_info *ph_fleet_each(const struct ph_fleet *f, unsigned *i);

/* Where to send clients: the addresses of the least busy node that serves.  With unload = false whenever there is one
 * (this node drains), with true only if it is less busy than we are by the margin.  Returns how many. */
unsigned ph_fleet_alternates(const struct ph_fleet *f, uint32_t own_load, bool unload,
                             struct ph_addr *v, unsigned max);

/* ---- what users have ---- */

/* Another number of allocations of a user here: one more, or less.  Goes out with the next note.  0 or PH_E_NOMEM. */
int ph_fleet_count(struct ph_fleet *f, struct ph_slice realm, struct ph_slice user, int change);

/* A user wants to send and get this much here, bytes a second; goes out with the next note.  0 or PH_E_NOMEM. */
int ph_fleet_rate(struct ph_fleet *f, struct ph_slice realm, struct ph_slice user,
                  uint64_t from_client, uint64_t to_client);

/* What a user wants on all other nodes together, as far as it was told in the last 3 s: bytes a second from and to the client. */
void ph_fleet_wanted(const struct ph_fleet *f, struct ph_slice realm, struct ph_slice user,
                     uint64_t rate[static 2], ph_ns now);

/* Writes the next note about users of whom something has changed since it was told (after ph_fleet_tell_all: about all that
 * have allocations).  Returns its length, 0: nothing to tell. */
size_t ph_fleet_note(struct ph_fleet *f, char dst[static PH_FLEET_TEXT]);
void ph_fleet_tell_all(struct ph_fleet *f);

/* An order of an operator. */
enum ph_fleet_order_type { PH_FLEET_END, PH_FLEET_REVOKE };

struct ph_fleet_order {
    enum ph_fleet_order_type type;
    uint64_t session;            /* END */
    struct ph_slice realm, user; /* REVOKE; realm.n = 0: in all */
};

/* Writes it as a note; its length, or 0: the names are too long. */
size_t ph_fleet_order(const struct ph_fleet_order *o, char dst[static PH_FLEET_TEXT]);

/* Takes a note of a node (that it is for us has been looked at by whoever carries it).  What a node says of users counts only while
 * it is alive.  0, or PH_E_FORMAT: what was understood up to there counts; PH_E_LIMIT, PH_E_NOMEM: some of it is not
 * counted. */
int ph_fleet_take(struct ph_fleet *f, struct ph_slice name, struct ph_slice note, ph_ns now);

/* Forgets what a node's users have there: it is about to be told anew. */
void ph_fleet_forget(struct ph_fleet *f, struct ph_slice name);

enum ph_fleet_ev_type {
    PH_FLEET_ELSEWHERE, /* a user has `n` allocations on all other nodes together */
    PH_FLEET_RATES, /* a user wants this much on all other nodes together; 0 also when that is long ago */
    PH_FLEET_ORDERED, /* do what `order` says */
    PH_FLEET_JOINED, /* a node (`name`) came: say hello to it, for what it said before was not heard */
    PH_FLEET_GREETED /* a node has said hello: tell all (ph_fleet_tell_all) */
};

/* Slices live until the next call. */
struct ph_fleet_ev {
    enum ph_fleet_ev_type type;
    const char *name;
    struct ph_slice realm, user;
    uint32_t n;
    uint64_t from_client, to_client;
    struct ph_fleet_order order;
};

/* What has come of notes and of the deaths of nodes.  Only the last word on a user is given.  False: nothing (more). */
bool ph_fleet_event(struct ph_fleet *f, struct ph_fleet_ev *ev);

const struct ph_fleet_stats *ph_fleet_stats(const struct ph_fleet *f);

#endif
