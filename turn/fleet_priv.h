/*
 * What the files of the fleet share.  Not installed.
 *
 *   fleet.c        nodes: who is alive, where to send clients
 *   fleet_users.c  what users have here and elsewhere, and what is to be told of it
 *   fleet_text.c   words and pairs: reading and writing
 *   fleet_note.c   entries, notes and orders as text
 */
#ifndef PH_TURN_FLEET_PRIV_H
#define PH_TURN_FLEET_PRIV_H

#include "stun/base/hash.h"
#include "stun/base/map.h"
#include "turn/fleet.h"

enum {
    PH__FLEET_NONE = 0xFF,
    PH__FLEET_ORDERS = 64,     /* that wait to be asked for */
    PH__FLEET_REALM_MAX = 128, /* bytes of a realm's name; of a user's: */
    PH__FLEET_USER_MAX = 512
};

/* ---- text ---- */

/* A line being written; n > cap once it does not fit. */
struct ph__line {
    char *p;
    size_t n, cap;
};

void ph__line_text(struct ph__line *l, const char *text);
void ph__line_u64(struct ph__line *l, uint64_t v);
/* Bytes as a word: what would break the line is written %XX, nothing at all as "%". */
void ph__line_word(struct ph__line *l, struct ph_slice s);

/* The next word of a line; false at its end.  *rest is moved past it. */
bool ph__word(struct ph_slice *rest, struct ph_slice *word);
/* A decimal number that is the whole word, at most max. */
bool ph__word_u64(struct ph_slice word, uint64_t max, uint64_t *v);
/* The bytes a word stands for, into dst.  False: it stands for none, or for more than cap. */
bool ph__word_bytes(struct ph_slice word, uint8_t *dst, size_t cap, size_t *n);

/* ---- nodes ---- */

struct ph__fleet_node {
    struct ph_fleet_node_info info; /* name "": the place is free */
    ph_ns heard_at;
    bool alive;
    bool joined; /* to be told */
};

/* Reads an entry; the name is left alone.  0 or PH_E_FORMAT. */
int ph__fleet_entry_read(struct ph_fleet_node_info *n, struct ph_slice text);

/* ---- users ---- */

/* What a user has on one other node. */
struct ph__fleet_at {
    uint8_t node; /* index of it */
    uint32_t n;
    uint64_t rate[2];
    ph_ns rate_at;
};

struct ph__fleet_user {
    uint32_t here;    /* allocations on this node */
    uint64_t rate[2]; /* bytes a second that he wants here */
    uint64_t hash;
    struct ph__fleet_at *at;
    uint32_t n_at;
    uint32_t tell_next, event_next;
    bool tell;              /* in the list of what is to be told; of that: */
    bool tell_n, tell_rate; /* allocations, rates */
    bool event, event_rate; /* in the list of what is to be asked for */
    uint16_t realm_n, user_n;
    uint8_t text[]; /* realm, then user */
};

struct ph__list32 {
    uint32_t head, tail;
};

struct ph_fleet {
    struct ph_fleet_conf c;
    struct ph_fleet_stats stats;
    struct ph_hash_key key;

    struct ph__fleet_node node[PH_FLEET_NODES];
    bool changed; /* since the last ph_fleet_tick */
    bool greeted; /* somebody has said hello, to be told */

    struct ph_map by_user;
    struct ph__fleet_user **user;
    uint32_t users, cap; /* places */
    uint32_t *free_place, n_free;
    struct ph__list32 tell, events;
    ph_ns now;      /* of the last call that told it */
    ph_ns rates_at; /* when to look for rates that are old; PH_NEVER: there are none */
    uint32_t spent; /* user of the last event: may be freed at the next call; PH_MAP_NONE: none */

    struct {
        enum ph_fleet_order_type type;
        uint64_t session;
        size_t realm_n, user_n;
        uint8_t text[PH__FLEET_REALM_MAX + PH__FLEET_USER_MAX];
    } order[PH__FLEET_ORDERS];
    unsigned first_order, n_orders;
};

/* The number of a node, made if need be; PH__FLEET_NONE: unknown, or no room. */
uint8_t ph__fleet_find(const struct ph_fleet *f, struct ph_slice name);
uint8_t ph__fleet_make(struct ph_fleet *f, struct ph_slice name);

/* What a node says of a user: his allocations, or rates.  0, PH_E_LIMIT or PH_E_NOMEM. */
int ph__fleet_set_n(struct ph_fleet *f, uint8_t node, struct ph_slice realm, struct ph_slice user,
                    uint32_t n);
int ph__fleet_set_rate(struct ph_fleet *f, uint8_t node, struct ph_slice realm,
                       struct ph_slice user, const uint64_t rate[static 2], ph_ns now);
/* Everything a node has said of users is void. */
void ph__fleet_forget_node(struct ph_fleet *f, uint8_t node);
/* The first user of whom something is to be told, NULL: nobody; and that it has been told. */
struct ph__fleet_user *ph__fleet_to_tell(struct ph_fleet *f);
/* The one after him. */
struct ph__fleet_user *ph__fleet_next_to_tell(struct ph_fleet *f, const struct ph__fleet_user *u);
void ph__fleet_told(struct ph_fleet *f);
/* Rates that have not been told again are no more. */
void ph__fleet_rates_tick(struct ph_fleet *f, ph_ns now);
/* The next event about a user. */
bool ph__fleet_user_event(struct ph_fleet *f, struct ph_fleet_ev *ev);
void ph__fleet_users_fini(struct ph_fleet *f);

#endif
