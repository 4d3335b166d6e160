/*
 * Questions to Redis: users for the workers, and the poll of realms.
 *
 * All of it is on the main thread but ph_tdb_lookup, which puts a question on a list and wakes that thread.  The list
 * is bounded by what the workers may have pending (struct ph_userdb_conf).
 */
#include "cmd/turnd/db.h"

#ifdef PH_HAVE_REDIS

#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "stun/uv/sockaddr.h"

#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_MS = 10000, RETRY_MS = 1000 };

struct question {
    struct question *next;
    struct ph_tdb *db;
    unsigned worker;
    struct ph_userdb_ask ask;
};

/* One realm being asked about; `round` tells answers of an earlier list of realms apart. */
struct realm_poll {
    struct ph_tdb *db;
    unsigned index, round;
};

struct ph_tdb {
    struct ph_redis *redis;
    struct ph_env env;
    struct ph_turn_uv **server;
    void (*changed)(void *ctx);
    void *ctx;
    uv_loop_t *loop;

    pthread_mutex_t lock;
    struct question *first, **last; /* guarded by the lock */
    uv_async_t wake;

    uv_timer_t poll;
    unsigned round, waiting; /* answers of this round that are to come */
    bool dirty, ended, oauth;
    char name[PH_TURND_REALMS + 1][PH_TCONF_REALM];
    struct ph_tdb_data data;

    uv_getaddrinfo_t resolve;
    struct ph_addr at;
};

/* ---- users ---- */

static void on_user(void *ctx, enum ph_userdb_result result, const struct ph_userdb_user *user)
{
    struct question *q = ctx;
    struct ph_slice name = {(const uint8_t *)q->ask.name, q->ask.name_n};
    if (!q->db->ended && *q->db->server)
        ph_turn_uv_answer(*q->db->server, q->worker, ph_str(q->ask.realm), name, result, user);
    free(q);
}

static void on_wake(uv_async_t *h)
{
    struct ph_tdb *db = h->data;
    pthread_mutex_lock(&db->lock);
    struct question *q = db->first;
    db->first = NULL;
    db->last = &db->first;
    pthread_mutex_unlock(&db->lock);
    while (q) {
        struct question *next = q->next;
        ph_redis_user(db->redis, q->ask.realm,
                      (struct ph_slice){(const uint8_t *)q->ask.name, q->ask.name_n}, on_user, q);
        q = next;
    }
}

void ph_tdb_lookup(struct ph_tdb *db, unsigned worker, const struct ph_userdb_ask *ask)
{
    struct question *q = malloc(sizeof *q);
    if (!q)
        return; /* the worker's own timeout tells it */
    *q = (struct question){NULL, db, worker, *ask};
    pthread_mutex_lock(&db->lock);
    *db->last = q;
    db->last = &q->next;
    pthread_mutex_unlock(&db->lock);
    uv_async_send(&db->wake);
}

/* ---- realms ---- */

static void arm(struct ph_tdb *db);

static void one_less(struct ph_tdb *db)
{
    if (--db->waiting > 0)
        return;
    if (db->dirty) {
        db->dirty = false;
        db->changed(db->ctx);
    }
    arm(db);
}

static void on_realm(void *ctx, struct ph_redis_realm *x)
{
    struct realm_poll *p = ctx;
    struct ph_tdb *db = p->db;
    unsigned i = p->index;
    bool current = p->round == db->round && !db->ended;
    free(p);
    if (x && current && (!db->data.known[i] || !ph_redis_realm_eq(x, &db->data.realm[i]))) {
        struct ph_redis_realm old = db->data.realm[i];
        db->data.realm[i] = *x;
        *x = old;
        db->data.known[i] = true;
        db->dirty = true;
    }
    if (x)
        ph_redis_realm_fini(x);
    if (current)
        one_less(db);
}

static int by_kid(const void *a, const void *b)
{
    return strcmp(((const struct ph_oauth_key *)a)->kid, ((const struct ph_oauth_key *)b)->kid);
}

static void free_keys(struct ph_oauth_key *keys, unsigned n)
{
    if (keys)
        ph_wipe(keys, n * sizeof *keys);
    free(keys);
}

/* The keys belong to us. */
static void on_oauth(void *ctx, struct ph_oauth_key *keys, unsigned n, bool ok)
{
    struct realm_poll *p = ctx;
    struct ph_tdb *db = p->db;
    struct ph_tdb_data *d = &db->data;
    bool current = p->round == db->round && !db->ended;
    free(p);
    if (n > 1)
        qsort(keys, n, sizeof *keys, by_kid); /* they come in any order */
    if (ok && current &&
        (n != d->n_oauth || (n && memcmp(keys, d->oauth, n * sizeof *keys) != 0))) {
        free_keys(d->oauth, d->n_oauth);
        d->oauth = keys;
        d->n_oauth = n;
        db->dirty = true;
    } else {
        free_keys(keys, n);
    }
    if (current)
        one_less(db);
}

static struct realm_poll *poll_of(struct ph_tdb *db, unsigned index)
{
    struct realm_poll *p = malloc(sizeof *p);
    if (p)
        *p = (struct realm_poll){db, index, db->round};
    else
        one_less(db);
    return p;
}

/* One more than there are questions is counted until all have been put, so that the round ends once. */
static void on_poll(uv_timer_t *timer)
{
    struct ph_tdb *db = timer->data;
    const unsigned round = ++db->round;
    db->waiting = db->data.n_realms + db->oauth + 1;
    for (unsigned i = 0; i < db->data.n_realms && round == db->round; i++) {
        struct realm_poll *p = poll_of(db, i);
        if (p)
            ph_redis_realm(db->redis, db->name[i], on_realm, p);
    }
    if (db->oauth && round == db->round) {
        struct realm_poll *p = poll_of(db, 0);
        if (p)
            ph_redis_oauth(db->redis, on_oauth, p);
    }
    if (round == db->round)
        one_less(db);
}

/* Until it has answered once it is asked more often: its secrets are waited for. */
static void arm(struct ph_tdb *db)
{
    bool all = true;
    for (unsigned i = 0; i < db->data.n_realms; i++)
        all = all && db->data.known[i];
    uv_timer_start(&db->poll, on_poll, all ? POLL_MS : RETRY_MS, 0);
}

static void forget_realms(struct ph_tdb_data *d)
{
    for (unsigned i = 0; i < d->n_realms; i++)
        if (d->known[i])
            ph_redis_realm_fini(&d->realm[i]);
    d->n_realms = 0;
}

/* Takes over what is known of a realm with this name. */
static void keep_known(struct ph_tdb *db, unsigned n_old, char (*old_name)[PH_TCONF_REALM],
                       struct ph_tdb_data *old, unsigned i)
{
    for (unsigned k = 0; k < n_old; k++) {
        if (old->known[k] && strcmp(old_name[k], db->name[i]) == 0) {
            db->data.realm[i] = old->realm[k];
            db->data.known[i] = true;
            old->known[k] = false;
        }
    }
}

void ph_tdb_realms(struct ph_tdb *db, const struct ph_tconf *c)
{
    char(*old_name)[PH_TCONF_REALM] = malloc(sizeof db->name);
    struct ph_tdb_data *old = malloc(sizeof *old);
    if (!old_name || !old) {
        free(old_name);
        free(old);
        return; /* what is known stays; realms that are new have to wait */
    }
    memcpy(old_name, db->name, sizeof db->name);
    *old = db->data;
    db->round++;
    memset(db->name, 0, sizeof db->name);
    memset(db->data.known, 0, sizeof db->data.known);
    db->data.n_realms = 1 + c->n_more_realms;
    db->oauth = c->oauth;
    for (unsigned i = 0; i < db->data.n_realms; i++) {
        snprintf(db->name[i], sizeof db->name[i], "%s", i ? c->more_realm[i - 1].name : c->realm);
        keep_known(db, old->n_realms, old_name, old, i);
    }
    forget_realms(old);
    free(old_name);
    free(old);
    uv_timer_start(&db->poll, on_poll, 0, 0);
}

/* ---- where it is ---- */

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct ph_tdb *db = req->data;
    if (status == 0 && list && !db->ended) {
        struct ph_addr at = ph_sockaddr_read(list->ai_addr, PH_PROTO_NONE);
        db->at = at;
        db->changed(db->ctx);
    }
    uv_freeaddrinfo(list);
}

static void find_address(struct ph_tdb *db, const struct ph_redis_conf *c)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)c->port);
    db->resolve.data = db;
    if (ph_addr_parse(&db->at, c->host, strlen(c->host), c->port) != 0 && *c->host)
        uv_getaddrinfo(db->loop, &db->resolve, on_resolved, c->host, port, &hints);
}

bool ph_tdb_endpoint(const struct ph_tdb *db, struct ph_addr *at)
{
    *at = db->at;
    return db->at.family != PH_AF_NONE;
}

/* ---- life ---- */

struct ph_tdb *ph_tdb_new(uv_loop_t *loop, const struct ph_env *env, const struct ph_tconf *c,
                          struct ph_turn_uv **server, void (*changed)(void *ctx), void *ctx)
{
    struct ph_tdb *db = calloc(1, sizeof *db);
    if (!db)
        return NULL;
    db->env = *env;
    db->server = server;
    db->changed = changed;
    db->ctx = ctx;
    db->loop = loop;
    db->last = &db->first;
    db->redis = ph_redis_new(loop, &c->redis, env);
    if (!db->redis) {
        free(db);
        return NULL;
    }
    pthread_mutex_init(&db->lock, NULL);
    uv_async_init(loop, &db->wake, on_wake);
    db->wake.data = db;
    uv_timer_init(loop, &db->poll);
    db->poll.data = db;
    find_address(db, &c->redis);
    ph_tdb_realms(db, c);
    return db;
}

void ph_tdb_stop(struct ph_tdb *db)
{
    if (!db || db->ended)
        return;
    db->ended = true;
    uv_cancel((uv_req_t *)&db->resolve);
    uv_timer_stop(&db->poll);
    ph_redis_free(db->redis);
    while (db->first) {
        struct question *q = db->first;
        db->first = q->next;
        free(q);
    }
}

void ph_tdb_free(struct ph_tdb *db)
{
    if (!db)
        return;
    forget_realms(&db->data);
    free_keys(db->data.oauth, db->data.n_oauth);
    pthread_mutex_destroy(&db->lock);
    free(db);
}

const struct ph_tdb_data *ph_tdb_data(const struct ph_tdb *db)
{
    return db ? &db->data : NULL;
}

bool ph_tdb_up(const struct ph_tdb *db)
{
    return !db->ended && ph_redis_stats(db->redis)->up;
}

#else /* without Redis; a configuration that wants it has been refused (conf_operation.c) */

struct ph_tdb *ph_tdb_new(uv_loop_t *loop, const struct ph_env *env, const struct ph_tconf *c,
                          struct ph_turn_uv **server, void (*changed)(void *ctx), void *ctx)
{
    (void)loop, (void)env, (void)c, (void)server, (void)changed, (void)ctx;
    return NULL;
}

void ph_tdb_stop(struct ph_tdb *db)
{
    (void)db;
}

void ph_tdb_free(struct ph_tdb *db)
{
    (void)db;
}

void ph_tdb_lookup(struct ph_tdb *db, unsigned worker, const struct ph_userdb_ask *ask)
{
    (void)db, (void)worker, (void)ask;
}

const struct ph_tdb_data *ph_tdb_data(const struct ph_tdb *db)
{
    (void)db;
    return NULL;
}

void ph_tdb_realms(struct ph_tdb *db, const struct ph_tconf *c)
{
    (void)db, (void)c;
}

bool ph_tdb_endpoint(const struct ph_tdb *db, struct ph_addr *at)
{
    (void)db, (void)at;
    return false;
}

bool ph_tdb_up(const struct ph_tdb *db)
{
    (void)db;
    return false;
}

#endif
