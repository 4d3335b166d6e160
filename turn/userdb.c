/*
 * A table of what is known of users, found by hash; three lists run through it:
 *
 *     used     all entries, the most recently used first: the last one that is not being asked for makes room
 *     pending  look-ups under way, oldest first; all have the same timeout, so the first one times out first
 *     asked    how far the shell has come in it: `next_ask` and what follows it have not been handed out
 *
 * An entry that is asked for stays until the answer or the timeout.  What a failed look-up leaves behind is the instant
 * until which it is not tried again, and the old answer if there was one.
 */
#include "turn/userdb.h"

#include "stun/base/buf.h"
#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/base/hash.h"
#include "stun/base/map.h"
#include "stun/codec/integrity.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* After a failure a user is not asked for again so soon: his packet would go round and round. */
static const ph_ns retry_pause = PH_SEC(1);

struct link {
    uint32_t prev, next;
};

struct entry {
    uint64_t hash;
    struct link used, pending;
    char *text; /* realm, then name */
    uint16_t realm_n, name_n;
    bool is_known, is_user; /* an answer is there; and there is such a user */
    bool is_pending;        /* ... a look-up is under way */
    bool again;             /* its answer is not good: it was forgotten meanwhile */
    ph_ns known_at;         /* when the answer came */
    ph_ns retry_at;         /* not before: the last look-up failed */
    ph_ns timeout_at;       /* of the look-up */
    uint64_t source;        /* who caused it: his prefix */
    struct ph_userdb_user user;
};

struct ph_userdb {
    struct ph_userdb_conf c;
    struct ph_hash_key key;
    struct entry *v;
    uint32_t n, cap, free_head; /* free entries are linked by used.next */
    struct ph_map map;
    struct link used, pending; /* next: the first, prev: the last */
    uint32_t n_pending, next_ask;
    uint32_t failures; /* in a row */
    ph_ns open_until;  /* the breaker */
    bool is_open;
    struct ph_userdb_stats stats;
};

static void fill_defaults(struct ph_userdb_conf *c)
{
#define PH_DEFAULT(field, value)                                                                   \
    if (!c->field)                                                                                 \
    c->field = (value)
    PH_DEFAULT(max_entries, 16384);
    PH_DEFAULT(max_pending, 256);
    PH_DEFAULT(max_pending_source, 16);
    PH_DEFAULT(ttl, PH_SEC(60));
    PH_DEFAULT(negative_ttl, PH_SEC(5));
    PH_DEFAULT(stale_ttl, PH_SEC(600));
    PH_DEFAULT(timeout, PH_SEC(3));
    PH_DEFAULT(breaker_failures, 5);
    PH_DEFAULT(breaker_pause, PH_SEC(5));
#undef PH_DEFAULT
}

struct ph_userdb *ph_userdb_new(const struct ph_userdb_conf *c, const struct ph_env *env)
{
    struct ph_userdb *u = calloc(1, sizeof *u);

    if (!u)
        return NULL;
    u->c = *c;
    fill_defaults(&u->c);
    env->rand(env->ctx, &u->key, sizeof u->key);
    ph_map_init(&u->map);
    u->free_head = u->next_ask = NONE;
    u->used = u->pending = (struct link){NONE, NONE};
    return u;
}

void ph_userdb_free(struct ph_userdb *u)
{
    if (!u)
        return;
    for (uint32_t i = 0; i < u->n; i++)
        free(u->v[i].text);
    if (u->v)
        ph_wipe(u->v, u->n * sizeof *u->v);
    free(u->v);
    ph_map_fini(&u->map);
    free(u);
}

/* ---- lists ---- */

static void used_unlink(struct ph_userdb *u, uint32_t i)
{
    struct link l = u->v[i].used;
    *(l.prev == NONE ? &u->used.next : &u->v[l.prev].used.next) = l.next;
    *(l.next == NONE ? &u->used.prev : &u->v[l.next].used.prev) = l.prev;
}

static void used_first(struct ph_userdb *u, uint32_t i)
{
    u->v[i].used = (struct link){NONE, u->used.next};
    *(u->used.next == NONE ? &u->used.prev : &u->v[u->used.next].used.prev) = i;
    u->used.next = i;
}

static void pending_unlink(struct ph_userdb *u, uint32_t i)
{
    struct link l = u->v[i].pending;
    if (u->next_ask == i)
        u->next_ask = l.next;
    *(l.prev == NONE ? &u->pending.next : &u->v[l.prev].pending.next) = l.next;
    *(l.next == NONE ? &u->pending.prev : &u->v[l.next].pending.prev) = l.prev;
    u->v[i].is_pending = false;
    u->n_pending--;
}

static void pending_last(struct ph_userdb *u, uint32_t i, ph_ns now)
{
    struct entry *e = &u->v[i];
    e->pending = (struct link){u->pending.prev, NONE};
    *(u->pending.prev == NONE ? &u->pending.next : &u->v[u->pending.prev].pending.next) = i;
    u->pending.prev = i;
    e->is_pending = true;
    e->again = false;
    e->timeout_at = now + u->c.timeout;
    u->n_pending++;
    if (u->next_ask == NONE)
        u->next_ask = i;
}

/* ---- entries ---- */

static struct ph_slice realm_of(const struct entry *e)
{
    return (struct ph_slice){(const uint8_t *)e->text, e->realm_n};
}

static struct ph_slice name_of(const struct entry *e)
{
    return (struct ph_slice){(const uint8_t *)e->text + e->realm_n, e->name_n};
}

static uint64_t hash_of(const struct ph_userdb *u, struct ph_slice realm, struct ph_slice name)
{
    return ph_hash(&u->key, name.p, name.n) ^ (ph_hash(&u->key, realm.p, realm.n) * 3);
}

static uint32_t find(const struct ph_userdb *u, struct ph_slice realm, struct ph_slice name)
{
    struct ph_map_it it = ph_map_find(&u->map, hash_of(u, realm, name));
    for (; it.slot != PH_MAP_NONE; it = ph_map_next(&u->map, it))
        if (ph_slice_eq(realm_of(&u->v[it.slot]), realm) &&
            ph_slice_eq(name_of(&u->v[it.slot]), name))
            return it.slot;
    return NONE;
}

static void drop(struct ph_userdb *u, uint32_t i)
{
    struct entry *e = &u->v[i];

    if (e->is_pending)
        pending_unlink(u, i);
    used_unlink(u, i);
    ph_map_del(&u->map, e->hash, i);
    free(e->text);
    ph_wipe(e, sizeof *e);
    e->used.next = u->free_head;
    u->free_head = i;
}

/* Makes room for one more entry.  Its index, or NONE. */
static uint32_t place(struct ph_userdb *u)
{
    if (u->free_head == NONE && u->n == u->c.max_entries) {
        uint32_t i = u->used.prev;
        while (i != NONE && u->v[i].is_pending)
            i = u->v[i].used.prev;
        if (i != NONE)
            drop(u, i);
    }
    if (u->free_head == NONE && u->n < u->c.max_entries) {
        uint32_t more = u->n ? u->n * 2 : 16;
        more = more < u->c.max_entries ? more : u->c.max_entries;
        struct entry *v = calloc(more, sizeof *v);
        if (!v)
            return NONE;
        if (u->n) { /* not realloc, which would leave keys behind */
            memcpy(v, u->v, u->n * sizeof *v);
            ph_wipe(u->v, u->n * sizeof *v);
        }
        free(u->v);
        u->v = v;
        for (; u->n < more; u->n++) {
            v[u->n].used.next = u->free_head;
            u->free_head = u->n;
        }
    }
    return u->free_head;
}

static uint32_t add(struct ph_userdb *u, struct ph_slice realm, struct ph_slice name)
{
    uint32_t i = place(u);
    char *text = i == NONE ? NULL : malloc(realm.n + name.n);
    uint64_t hash = hash_of(u, realm, name);

    if (!text || ph_map_add(&u->map, hash, i)) {
        free(text);
        return NONE;
    }
    if (realm.n)
        memcpy(text, realm.p, realm.n);
    memcpy(text + realm.n, name.p, name.n);
    u->free_head = u->v[i].used.next;
    u->v[i] = (struct entry){.hash = hash,
                             .text = text,
                             .realm_n = (uint16_t)realm.n,
                             .name_n = (uint16_t)name.n,
                             .retry_at = INT64_MIN};
    used_first(u, i);
    return i;
}

/* ---- the breaker ---- */

static void look_up_failed(struct ph_userdb *u, ph_ns now)
{
    u->stats.failed++;
    u->failures++;
    /* The one that was let through while it was open has failed too: it opens again, without another count. */
    if (u->is_open || u->failures >= u->c.breaker_failures) {
        u->stats.breaker_opened += !u->is_open;
        u->is_open = true;
        u->open_until = now + u->c.breaker_pause;
    }
}

/* Open: nobody is asked, but when the pause is over one look-up at a time tries again. */
static bool breaker_lets(const struct ph_userdb *u, ph_ns now)
{
    return !u->is_open || (now >= u->open_until && u->n_pending == 0);
}

/* ---- finding ---- */

/* The prefix that a source's look-ups are counted for: /24, or /48. */
static uint64_t prefix_of(const struct ph_addr *client)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};

    if (client->family == PH_AF_INET6 && memcmp(client->ip, mapped, sizeof mapped) != 0)
        return ph_get64(client->ip) >> 16;
    return UINT64_MAX << 24 | ph_get32(client->ip + (client->family == PH_AF_INET6 ? 12 : 0)) >> 8;
}

static bool source_may_ask(const struct ph_userdb *u, uint64_t source)
{
    uint32_t n = 0;
    for (uint32_t i = u->pending.next; i != NONE; i = u->v[i].pending.next)
        n += u->v[i].source == source;
    return n < u->c.max_pending_source;
}

static int answer_with(const struct entry *e, struct ph_userdb_user *out)
{
    if (!e->is_user)
        return PH_E_MISSING;
    *out = e->user;
    return 0;
}

static bool is_fresh(const struct ph_userdb *u, const struct entry *e, ph_ns now)
{
    return e->is_known && now - e->known_at < (e->is_user ? u->c.ttl : u->c.negative_ttl);
}

/* It cannot be asked for: the old answer, if it is not too old. */
static int make_do(struct ph_userdb *u, uint32_t i, struct ph_userdb_user *out, ph_ns now)
{
    const struct entry *e = i == NONE ? NULL : &u->v[i];

    if (e && e->is_known && e->is_user && now - e->known_at < u->c.ttl + u->c.stale_ttl) {
        u->stats.stale++;
        return answer_with(e, out);
    }
    u->stats.refused++;
    return PH_E_LIMIT;
}

int ph_userdb_find(struct ph_userdb *u, struct ph_slice realm, struct ph_slice name,
                   const struct ph_addr *client, struct ph_userdb_user *out, ph_ns now)
{
    if (name.n == 0 || name.n > PH_USERDB_NAME_MAX || realm.n >= PH_USERDB_REALM_MAX)
        return PH_E_MISSING;
    uint32_t i = find(u, realm, name);
    if (i != NONE) {
        used_unlink(u, i);
        used_first(u, i);
        if (is_fresh(u, &u->v[i], now)) {
            u->stats.hits++;
            return answer_with(&u->v[i], out);
        }
        if (u->v[i].is_pending)
            return PH_LATER;
    }
    u->stats.misses++;
    uint64_t source = prefix_of(client);
    if (!breaker_lets(u, now) || (i != NONE && now < u->v[i].retry_at) ||
        u->n_pending >= u->c.max_pending || !source_may_ask(u, source))
        return make_do(u, i, out, now);
    if (i == NONE)
        i = add(u, realm, name);
    if (i == NONE)
        return make_do(u, i, out, now);
    u->v[i].source = source;
    pending_last(u, i, now);
    return PH_LATER;
}

/* ---- asking ---- */

bool ph_userdb_ask(struct ph_userdb *u, struct ph_userdb_ask *out, ph_ns now)
{
    (void)now;
    if (u->next_ask == NONE)
        return false;
    const struct entry *e = &u->v[u->next_ask];
    memset(out, 0, sizeof *out);
    memcpy(out->realm, e->text, e->realm_n);
    memcpy(out->name, e->text + e->realm_n, e->name_n);
    out->name_n = e->name_n;
    u->next_ask = e->pending.next;
    u->stats.asked++;
    return true;
}

/* True if the entry's look-up has been handed to the shell. */
static bool was_asked(const struct ph_userdb *u, uint32_t i)
{
    for (uint32_t k = u->next_ask; k != NONE; k = u->v[k].pending.next)
        if (k == i)
            return false;
    return u->v[i].is_pending;
}

static void failed(struct ph_userdb *u, uint32_t i, ph_ns now)
{
    pending_unlink(u, i);
    u->v[i].again = false;
    u->v[i].retry_at = now + retry_pause;
    look_up_failed(u, now);
}

void ph_userdb_answer(struct ph_userdb *u, struct ph_slice realm, struct ph_slice name,
                      enum ph_userdb_result result, const struct ph_userdb_user *user, ph_ns now)
{
    uint32_t i = find(u, realm, name);

    if (i == NONE || !was_asked(u, i))
        return;
    struct entry *e = &u->v[i];
    if (result == PH_USERDB_FAILED || (result == PH_USERDB_FOUND && !user)) {
        failed(u, i, now);
        return;
    }
    u->failures = 0;
    u->is_open = false;
    pending_unlink(u, i);
    if (e->again) { /* what it says is older than what it should */
        pending_last(u, i, now);
        return;
    }
    e->is_known = true;
    e->is_user = result == PH_USERDB_FOUND;
    e->known_at = now;
    e->retry_at = INT64_MIN;
    if (e->is_user)
        e->user = *user;
    else
        ph_wipe(&e->user, sizeof e->user);
    *(e->is_user ? &u->stats.found : &u->stats.none) += 1;
}

/* A look-up that is under way goes on, since clients wait for it, but its answer will not do. */
static void forget(struct ph_userdb *u, uint32_t i)
{
    if (!u->v[i].is_pending) {
        drop(u, i);
        return;
    }
    u->v[i].is_known = false;
    u->v[i].again = was_asked(u, i);
}

void ph_userdb_forget(struct ph_userdb *u, struct ph_slice realm, struct ph_slice name)
{
    uint32_t i, next;

    if (name.n && realm.n) {
        i = find(u, realm, name);
        if (i != NONE)
            forget(u, i);
        return;
    }
    for (i = u->used.next; i != NONE; i = next) {
        next = u->v[i].used.next;
        if ((!realm.n || ph_slice_eq(realm_of(&u->v[i]), realm)) &&
            (!name.n || ph_slice_eq(name_of(&u->v[i]), name)))
            forget(u, i);
    }
}

bool ph_userdb_tick(struct ph_userdb *u, ph_ns now)
{
    bool any = false;

    while (u->pending.next != NONE && now >= u->v[u->pending.next].timeout_at) {
        failed(u, u->pending.next, now);
        any = true;
    }
    return any;
}

ph_ns ph_userdb_deadline(const struct ph_userdb *u)
{
    return u->pending.next == NONE ? PH_NEVER : u->v[u->pending.next].timeout_at;
}

const struct ph_userdb_stats *ph_userdb_stats(const struct ph_userdb *u)
{
    return &u->stats;
}
