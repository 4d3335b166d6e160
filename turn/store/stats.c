/*
 * Telling Redis what coturn would.
 *
 * Everything goes through one queue, so messages arrive in the order they were made in; a few hundred are under way at a
 * time.  What is under way when the connection breaks may or may not have been taken: to send it again would tell things twice,
 * so it counts as failed.
 */
#include "turn/store/stats.h"

#include "stun/base/error.h"
#include "turn/store/stats_text.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE = 8192, FLIGHT = 512 /* commands under way */ };

enum verb { SET, DEL, PUBLISH };

struct message {
    struct message *next;
    enum verb verb;
    uint32_t ttl_s;        /* SET */
    size_t key_n, value_n; /* bytes of text, one after the other */
    char text[];
};

struct ph_statsdb {
    struct ph_redis *redis;
    struct ph_env env;
    struct ph_redis_stats_conf c;
    char *prefix, *realm;

    struct message *first, **last;
    bool up;          /* as the watcher was told */
    bool again;       /* keys are to be set again ... */
    uint32_t next_at; /* ... from this one on */
    bool complained;  /* of dropping, in this outage */

    void (*done)(void *ctx); /* ph_statsdb_finish */
    void *done_ctx;
    uv_timer_t timer;

    _Atomic uint64_t sent, dropped, failed;
    _Atomic uint64_t queued, flight; /* messages that wait, and that are under way */
    _Atomic bool is_up;
};

static void pump(struct ph_statsdb *s);

/* --- the queue ------------------------------------------------------------------------------------- */

static void count(_Atomic uint64_t *counter, int64_t n)
{
    atomic_fetch_add_explicit(counter, (uint64_t)n, memory_order_relaxed);
}

static uint64_t value(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static struct message *message_new(const struct ph_statsdb *s, const struct ph_turnd_info *i,
                                   enum verb verb, const char *what, const char *text)
{
    const struct ph_slice realm = i->realm.n ? i->realm : ph_str(s->realm);
    const size_t key_n = ph_stats_key(NULL, 0, s->prefix, realm, i->user, i->session, what);
    const size_t value_n = strlen(text);
    struct message *m = malloc(sizeof *m + key_n + value_n + 1);

    if (!m)
        return NULL;
    *m = (struct message){.verb = verb, .key_n = key_n, .value_n = value_n};
    ph_stats_key(m->text, key_n + 1, s->prefix, realm, i->user, i->session, what);
    memcpy(m->text + key_n, text, value_n);
    return m;
}

static void drop(struct ph_statsdb *s)
{
    count(&s->dropped, 1);
    s->again = true;
    s->next_at = 0;
    if (!s->complained)
        ph_logf(&s->env, PH_LOG_WARN,
                "redis-statsdb: messages are dropped, too many wait for Redis");
    s->complained = true;
}

static void say(struct ph_statsdb *s, const struct ph_turnd_info *i, enum verb verb, uint32_t ttl_s,
                const char *what, const char *text)
{
    struct message *m = value(&s->queued) < s->c.queue ? message_new(s, i, verb, what, text) : NULL;

    if (!m) {
        drop(s);
        return;
    }
    m->ttl_s = ttl_s;
    *s->last = m;
    s->last = &m->next;
    count(&s->queued, 1);
}

static void shift(struct ph_statsdb *s)
{
    struct message *m = s->first;

    s->first = m->next;
    if (!s->first)
        s->last = &s->first;
    free(m);
    count(&s->queued, -1);
}

/* --- sending --------------------------------------------------------------------------------------- */

static void finish_if_idle(struct ph_statsdb *s);

static void on_reply(void *ctx, const redisReply *reply)
{
    struct ph_statsdb *s = ctx;

    count(&s->flight, -1);
    if (!reply || reply->type == REDIS_REPLY_ERROR)
        count(&s->failed, 1);
    if (reply) /* else the connection is going, and pump is called when there is one */
        pump(s);
    finish_if_idle(s);
}

static int transmit(struct ph_statsdb *s, const struct message *m)
{
    static const char *const words[] = {[SET] = "SET", [DEL] = "DEL", [PUBLISH] = "PUBLISH"};
    char ttl[16];
    const struct ph_slice args[] = {
        ph_str(words[m->verb]),
        {(const uint8_t *)m->text, m->key_n},
        {(const uint8_t *)m->text + m->key_n, m->value_n},
        ph_str("EX"),
        {(const uint8_t *)ttl, (size_t)snprintf(ttl, sizeof ttl, "%" PRIu32, m->ttl_s)}};
    const unsigned n = m->verb == SET ? 5 : m->verb == PUBLISH ? 3 : 2;
    const int err = ph_redis_command(s->redis, args, n, on_reply, s);

    if (!err) {
        count(&s->flight, 1);
        count(&s->sent, 1);
    }
    return err;
}

/* What is left of a lifetime, in seconds; at least one: for Redis, too, nothing ends at once. */
static uint32_t seconds_left(const struct ph_turnd_info *i, ph_ns now)
{
    const ph_ns left = i->expires_at - now;
    return left > PH_SEC(1) ? (uint32_t)((left + PH_SEC(1) - 1) / PH_SEC(1)) : 1;
}

/* Puts the next key that is to be set again into the queue, which is empty.  False: there is none. */
static bool set_again(struct ph_statsdb *s)
{
    struct ph_statsdb_session next = {0};
    char text[PH_STATS_STATUS];

    if (!s->again || s->done)
        return false;
    if (!s->c.next || !s->c.next(s->c.ctx, &s->next_at, &next)) {
        s->again = false;
        return false;
    }
    const uint32_t left = seconds_left(&next.info, (ph_ns)uv_hrtime());
    say(s, &next.info, SET, left, "status", ph_stats_status(text, "refreshed", left, &next));
    return s->first; /* or there was no memory: later */
}

/* Sends what can be sent.  In a cluster a node may be away while others serve: what is for it fails. */
static void pump(struct ph_statsdb *s)
{
    while (s->up && value(&s->flight) < FLIGHT && (s->first || set_again(s))) {
        const int err = transmit(s, s->first);
        if (err == PH_E_LIMIT || (err == PH_E_STATE && !ph_redis_stats(s->redis)->up))
            return;
        if (err)
            count(&s->failed, 1);
        shift(s);
    }
    s->complained = s->complained && (s->first || s->again);
}

static void on_watch(void *ctx, bool up)
{
    struct ph_statsdb *s = ctx;

    s->up = up;
    atomic_store_explicit(&s->is_up, up, memory_order_relaxed);
    if (up) {
        pump(s);
    } else { /* whoever comes back may have forgotten all */
        s->again = true;
        s->next_at = 0;
    }
    finish_if_idle(s);
}

/* --- events ---------------------------------------------------------------------------------------- */

static void say_status(struct ph_statsdb *s, const char *word, uint32_t lifetime_s,
                       const struct ph_statsdb_session *session)
{
    char text[PH_STATS_STATUS];

    ph_stats_status(text, word, lifetime_s, session);
    say(s, &session->info, SET, lifetime_s ? lifetime_s : 1, "status", text);
    say(s, &session->info, PUBLISH, 0, "status", text);
}

static void say_traffic(struct ph_statsdb *s, const struct ph_turnd_info *i,
                        const struct ph_turnd_usage *u, bool total)
{
    char text[PH_STATS_TRAFFIC];

    say(s, i, PUBLISH, 0, total ? "total_traffic" : "traffic", ph_stats_traffic(text, u, false));
    say(s, i, PUBLISH, 0, total ? "total_traffic/peer" : "traffic/peer",
        ph_stats_traffic(text, u, true));
}

static void say_end(struct ph_statsdb *s, const struct ph_turnd_ev *ev)
{
    say_traffic(s, &ev->info, &ev->traffic, false);
    if (ev->reason == PH_END_ADOPTED)
        return;
    say(s, &ev->info, DEL, 0, "status", "");
    say(s, &ev->info, PUBLISH, 0, "status", "deleted");
    say_traffic(s, &ev->info, &ev->info.usage, true);
}

void ph_statsdb_event(struct ph_statsdb *s, const struct ph_turnd_ev *ev,
                      const struct ph_statsdb_session *session, ph_ns now)
{
    struct ph_statsdb_session told = *session;

    told.info = ev->info;
    if (s->done)
        return;
    switch (ev->type) {
    case PH_TURND_ALLOC_UP:
        if (ev->info.restored)
            say_status(s, "refreshed", seconds_left(&ev->info, now), &told);
        else
            say_status(s, "new", ev->lifetime_s, &told);
        break;
    case PH_TURND_ALLOC_REFRESHED:
        say_status(s, "refreshed", ev->lifetime_s, &told);
        break;
    case PH_TURND_ALLOC_TRAFFIC:
        say_traffic(s, &ev->info, &ev->traffic, false);
        break;
    case PH_TURND_ALLOC_DOWN:
        say_end(s, ev);
        break;
    default:
        return;
    }
    pump(s);
}

/* --- life ------------------------------------------------------------------------------------------ */

struct ph_statsdb *ph_statsdb_new(struct ph_redis *redis, const struct ph_redis_stats_conf *c,
                                  const struct ph_env *env)
{
    struct ph_statsdb *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->redis = redis;
    s->env = *env;
    s->c = *c;
    s->last = &s->first;
    s->prefix = strdup(c->prefix ? c->prefix : "turn");
    s->realm = strdup(c->realm ? c->realm : "");
    if (!s->prefix || !s->realm) {
        ph_statsdb_free(s);
        return NULL;
    }
    if (!s->c.queue)
        s->c.queue = QUEUE;
    s->up = ph_redis_stats(redis)->up;
    atomic_store(&s->is_up, s->up);
    ph_redis_watch(redis, on_watch, s);
    return s;
}

void ph_statsdb_free(struct ph_statsdb *s)
{
    if (!s)
        return;
    while (s->first)
        shift(s);
    free(s->prefix);
    free(s->realm);
    free(s);
}

static void on_closed(uv_handle_t *h)
{
    struct ph_statsdb *s = h->data;
    s->done(s->done_ctx);
}

static void on_timeout(uv_timer_t *t)
{
    uv_close((uv_handle_t *)t, on_closed);
}

static void finish_if_idle(struct ph_statsdb *s)
{
    if (s->done && (!s->up || (!s->first && !value(&s->flight))) &&
        uv_is_active((uv_handle_t *)&s->timer))
        uv_timer_start(&s->timer, on_timeout, 0, 0); /* not from within who calls us */
}

void ph_statsdb_finish(struct ph_statsdb *s, uv_loop_t *loop, uint32_t timeout_ms,
                       void (*done)(void *ctx), void *ctx)
{
    s->done = done;
    s->done_ctx = ctx;
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, on_timeout, timeout_ms, 0);
    finish_if_idle(s);
}

void ph_statsdb_stats(const struct ph_statsdb *s, struct ph_statsdb_stats *out)
{
    *out = (struct ph_statsdb_stats){
        .sent = value(&s->sent),
        .dropped = value(&s->dropped),
        .failed = value(&s->failed),
        .queued = value(&s->queued) + value(&s->flight),
        .up = atomic_load_explicit(&s->is_up, memory_order_relaxed),
    };
}
