/*
 * The life of a connection to Redis: connect, greet (AUTH, SELECT, PING), serve, break, wait, again.
 *
 * Replies come in the order of the commands, so what is under way is a ring.  A command that has timed out is
 * answered at once but keeps its place, for the reply that may still come; when that does not happen for as long again,
 * the server is taken for dead and the connection for broken.
 */
#include "turn/store/redis.h"
#include "stun/base/error.h"
#include "turn/store/redis_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000, STEADY_MS = 5000, LINKS_MAX = 2 };

enum state { WAITING, CONNECTING, GREETING, UP, ENDED };

struct cmd {
    ph__redis_fn *fn; /* NULL: answered already */
    void *ctx;
    uint64_t sent_at; /* loop time, ms */
    bool own;         /* of the greeting */
};

struct ph_redis {
    uv_loop_t *loop;
    struct ph_redis_conf c;
    struct ph_env env;
    struct ph_redis_stats stats;
    char name[300];
    enum state state;
    uv_timer_t timer;
    bool timer_closed;

    struct ph__link *link;
    unsigned links; /* this one and those still closing */
    struct redisReader *reader;
    redisReplyObjectFunctions make; /* of reply objects */
    void *(*make_array)(const redisReadTask *, int);
    size_t partial; /* bytes of a reply that is not complete */
    bool reading;   /* in the loop over replies */

    uint64_t due_at; /* WAITING: connect; CONNECTING, GREETING: give up */
    uint64_t up_at;
    uint32_t backoff_ms;
    bool complained; /* of this outage */
    char why[128];   /* the greeting failed */

    struct cmd ring[PH__REDIS_PENDING];
    uint32_t first, past, n; /* first command, first not answered, all */
    struct ph__redis_owed *owed, **owed_tail;
};

static struct cmd *at(struct ph_redis *r, uint32_t i)
{
    return &r->ring[(r->first + i) % PH__REDIS_PENDING];
}

const struct ph_env *ph__redis_env(const struct ph_redis *r)
{
    return &r->env;
}

const char *ph__redis_name(const struct ph_redis *r)
{
    return r->name;
}

/* --- the timer ------------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *t);

/* When something is to be done; UINT64_MAX: nothing. */
static uint64_t deadline(struct ph_redis *r)
{
    uint64_t due = UINT64_MAX;

    if (r->owed)
        return 0;
    if (r->state == WAITING || r->state == CONNECTING || r->state == GREETING)
        due = r->due_at;
    if (r->past) {
        const uint64_t dead = at(r, 0)->sent_at + 2 * (uint64_t)r->c.command_timeout_ms;
        due = dead < due ? dead : due;
    }
    if (r->state == UP && r->past < r->n) {
        const uint64_t late = at(r, r->past)->sent_at + r->c.command_timeout_ms;
        due = late < due ? late : due;
    }
    return due;
}

static void arm(struct ph_redis *r)
{
    if (r->state == ENDED)
        return;
    const uint64_t due = deadline(r), now = uv_now(r->loop);
    if (due == UINT64_MAX)
        uv_timer_stop(&r->timer);
    else
        uv_timer_start(&r->timer, on_timer, due > now ? due - now : 0, 0);
}

/* --- the end of a connection ----------------------------------------------------------------------- */

static void release(struct ph_redis *r)
{
    if (r->state != ENDED || !r->timer_closed || r->links)
        return;
    explicit_bzero(&r->c, sizeof r->c);
    free(r);
}

static void on_gone(void *ctx)
{
    struct ph_redis *r = ctx;

    r->links--;
    release(r);
}

static void answer(struct ph_redis *r, struct cmd c, const redisReply *reply)
{
    if (!c.own && (!reply || reply->type == REDIS_REPLY_ERROR))
        r->stats.errors++;
    c.fn(c.ctx, reply);
}

static void pop(struct ph_redis *r)
{
    r->first = (r->first + 1) % PH__REDIS_PENDING;
    r->n--;
    if (r->past)
        r->past--;
}

static void answer_all(struct ph_redis *r)
{
    while (r->n) {
        const struct cmd c = *at(r, 0);
        pop(r);
        if (c.fn)
            answer(r, c, NULL);
    }
}

static void free_reader(struct ph_redis *r)
{
    if (r->reader && !r->reading) {
        redisReaderFree(r->reader);
        r->reader = NULL;
    }
}

/* Half of the wait is fixed and half left to chance, so that a fleet does not come back all at once. */
static uint64_t next_try(struct ph_redis *r)
{
    r->backoff_ms = r->backoff_ms ? r->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (r->backoff_ms > BACKOFF_MAX_MS)
        r->backoff_ms = BACKOFF_MAX_MS;
    return uv_now(r->loop) + r->backoff_ms / 2 + ph_env_below(&r->env, r->backoff_ms / 2 + 1);
}

static void complain(struct ph_redis *r, const char *why)
{
    const bool first = !r->complained;

    r->complained = true;
    ph_logf(&r->env, first ? PH_LOG_WARN : PH_LOG_DEBUG, "%s: %s; trying again%s", r->name, why,
            first ? " until it works" : "");
}

/* The connection is no good, or there is none.  Commands under way are answered; then it is tried again. */
static void drop(struct ph_redis *r, const char *why)
{
    struct ph__link *l = r->link;

    if (r->state == UP && uv_now(r->loop) - r->up_at >= STEADY_MS)
        r->backoff_ms = 0;
    r->stats.failures++;
    r->stats.up = false;
    r->state = WAITING;
    r->due_at = next_try(r);
    r->link = NULL;
    if (l)
        ph__link_close(l);
    free_reader(r);
    complain(r, why);
    arm(r);
    answer_all(r);
}

static void on_down(void *ctx, int err)
{
    struct ph_redis *r = ctx;
    char why[160];

    /* libuv's numbers are -errno, and those of name look-ups beyond. */
    snprintf(why, sizeof why, "%s%s",
             r->state == CONNECTING ? "cannot connect: " : "connection lost: ",
             err ? err <= -1000 && err > -2000 ? ph_strerror(err) : uv_strerror(err)
                 : "closed by the server");
    drop(r, why);
}

/* --- sending --------------------------------------------------------------------------------------- */

static int send_command(struct ph_redis *r, const struct ph_slice *args, unsigned n,
                        ph__redis_fn *fn, void *ctx, bool own)
{
    const char *v[PH_REDIS_ARGS];
    size_t len[PH_REDIS_ARGS];
    char *bytes = NULL;

    if (n == 0 || n > PH_REDIS_ARGS)
        return PH_E_ARG;
    if (r->n == PH__REDIS_PENDING)
        return PH_E_LIMIT;
    for (unsigned i = 0; i < n; i++) {
        v[i] = args[i].n ? (const char *)args[i].p : "";
        len[i] = args[i].n;
    }
    const int size = redisFormatCommandArgv(&bytes, (int)n, v, len);
    if (size < 0)
        return PH_E_NOMEM;
    const int err = ph__link_send(r->link, bytes, (size_t)size);
    explicit_bzero(bytes, (size_t)size);
    redisFreeCommand(bytes);
    if (err)
        return err;
    r->n++;
    *at(r, r->n - 1) = (struct cmd){fn, ctx, uv_now(r->loop), own};
    if (r->n - r->past == 1)
        arm(r);
    return 0;
}

int ph_redis_command(struct ph_redis *r, const struct ph_slice *args, unsigned n,
                     void (*fn)(void *ctx, const struct redisReply *reply), void *ctx)
{
    if (r->state != UP)
        return PH_E_STATE;
    const int err = send_command(r, args, n, fn, ctx, false);
    if (!err)
        r->stats.commands++;
    return err;
}

void ph__redis_later(struct ph_redis *r, struct ph__redis_owed *o)
{
    o->next = NULL;
    *r->owed_tail = o;
    r->owed_tail = &o->next;
    arm(r);
}

void ph__redis_ask(struct ph_redis *r, struct ph__redis_owed *o, const struct ph_slice *args,
                   unsigned n, ph__redis_fn *fn, void *ctx)
{
    o->fn = fn;
    o->ctx = ctx;
    if (ph_redis_command(r, args, n, fn, ctx))
        ph__redis_later(r, o);
}

static void pay(struct ph_redis *r)
{
    struct ph__redis_owed *o = r->owed, *next;

    r->owed = NULL;
    r->owed_tail = &r->owed;
    for (; o; o = next) {
        next = o->next;
        o->fn(o->ctx, NULL);
    }
}

/* --- the greeting ---------------------------------------------------------------------------------- */

/* An error's first word ("NOAUTH"), which is all of it that is shown: the rest may repeat what we said. */
static void refuse(struct ph_redis *r, const char *what, const redisReply *reply)
{
    if (r->why[0])
        return;
    const bool error = reply && reply->type == REDIS_REPLY_ERROR;
    const int n = error ? (int)strcspn(reply->str, " \r\n") : 0;
    snprintf(r->why, sizeof r->why, "%s (%.*s)", what, error ? n < 32 ? n : 32 : 9,
             error ? reply->str : "no answer");
}

static bool is_status(const redisReply *reply, const char *text)
{
    return reply && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, text) == 0;
}

static void on_auth(void *ctx, const redisReply *reply)
{
    struct ph_redis *r = ctx;
    const bool error = reply && reply->type == REDIS_REPLY_ERROR;

    if (error &&
        (strstr(reply->str, "without any password") || strstr(reply->str, "no password is set")))
        ph_logf(&r->env, PH_LOG_WARN, "%s: has no password set, the configured one is not used",
                r->name);
    else if (!is_status(reply, "OK"))
        refuse(r, "the user or password is refused", reply);
}

static void on_select(void *ctx, const redisReply *reply)
{
    if (!is_status(reply, "OK"))
        refuse(ctx, "the database cannot be selected", reply);
}

static void on_ping(void *ctx, const redisReply *reply)
{
    struct ph_redis *r = ctx;

    if (r->state != GREETING)
        return;
    if (!is_status(reply, "PONG"))
        refuse(r,
               r->c.password[0] ? "it does not serve us"
                                : "it does not serve us without a password",
               reply);
    if (r->why[0]) {
        char why[sizeof r->why];
        memcpy(why, r->why, sizeof why);
        drop(r, why);
        return;
    }
    r->state = UP;
    r->up_at = uv_now(r->loop);
    r->complained = false;
    r->stats.up = true;
    r->stats.connects++;
    ph_logf(&r->env, PH_LOG_INFO, "%s: connected", r->name);
}

static int greet(struct ph_redis *r)
{
    char db[16];
    int err = 0;

    if (r->c.password[0]) {
        const struct ph_slice args[3] = {ph_str("AUTH"),
                                         ph_str(r->c.user[0] ? r->c.user : r->c.password),
                                         ph_str(r->c.password)};
        err = send_command(r, args, r->c.user[0] ? 3 : 2, on_auth, r, true);
    }
    if (!err && r->c.db) {
        snprintf(db, sizeof db, "%u", (unsigned)r->c.db);
        err = send_command(r, (struct ph_slice[]){ph_str("SELECT"), ph_str(db)}, 2, on_select, r,
                           true);
    }
    if (!err)
        err = send_command(r, (struct ph_slice[]){ph_str("PING")}, 1, on_ping, r, true);
    return err;
}

static void *make_array(const redisReadTask *task, int elements)
{
    const struct ph_redis *r = task->privdata;

    /* hiredis would make room for what a server merely says will come. */
    return elements > PH__REDIS_ARRAY_MAX ? NULL : r->make_array(task, elements);
}

static int make_reader(struct ph_redis *r)
{
    struct redisReader *plain = r->reader ? NULL : redisReaderCreate();

    if (!plain)
        return PH_E_NOMEM;
    r->make = *plain->fn;
    r->make_array = r->make.createArray;
    r->make.createArray = make_array;
    plain->fn = &r->make;
    plain->privdata = r;
    r->reader = plain;
    r->partial = 0;
    return 0;
}

static void on_up(void *ctx)
{
    struct ph_redis *r = ctx;

    r->state = GREETING;
    r->why[0] = '\0';
    const int err = make_reader(r);
    if (err || greet(r))
        drop(r, "out of memory");
}

/* --- replies --------------------------------------------------------------------------------------- */

/* Hands out one reply.  False: it is one too many. */
static bool take(struct ph_redis *r, redisReply *reply)
{
    if (!r->n)
        return false;
    const struct cmd c = *at(r, 0);
    pop(r);
    if (c.fn)
        answer(r, c, reply);
    return true;
}

static void on_data(void *ctx, const char *p, size_t n)
{
    struct ph_redis *r = ctx;
    const struct ph__link *const l = r->link;
    const char *trouble = NULL;
    redisReply *reply = NULL;

    r->partial += n;
    if (redisReaderFeed(r->reader, p, n) != REDIS_OK)
        trouble = "out of memory";
    r->reading = true;
    while (!trouble && r->link == l) {
        if (redisReaderGetReply(r->reader, (void **)&reply) != REDIS_OK)
            trouble = "it does not speak Redis' protocol";
        if (trouble || !reply)
            break;
        r->partial = r->reader->len - r->reader->pos;
        if (!take(r, reply))
            trouble = "it says what nobody asked for";
        freeReplyObject(reply);
        reply = NULL;
    }
    r->reading = false;
    if (r->link != l)
        free_reader(r);
    else if (trouble)
        drop(r, trouble);
    else if (r->partial > PH__REDIS_REPLY_MAX)
        drop(r, "a reply is too long");
    else
        arm(r);
}

/* --- time ------------------------------------------------------------------------------------------ */

static void try_connect(struct ph_redis *r)
{
    const struct ph__link_conf c = {.loop = r->loop,
                                    .to = &r->c,
                                    .up = on_up,
                                    .data = on_data,
                                    .down = on_down,
                                    .gone = on_gone,
                                    .ctx = r};

    if (r->links >= LINKS_MAX) { /* look-ups of the name that do not end */
        drop(r, "the host's name cannot be looked up");
        return;
    }
    r->state = CONNECTING;
    r->due_at = uv_now(r->loop) + r->c.connect_timeout_ms;
    const int err = ph__link_new(&r->link, &c);
    if (err) {
        r->link = NULL;
        on_down(r, err);
        return;
    }
    r->links++;
}

/* Commands that have waited too long; and with them, too long again, the connection. */
static void time_out(struct ph_redis *r)
{
    const uint64_t now = uv_now(r->loop);
    const struct ph__link *const l = r->link;

    ph__link_poll(r->link); /* it may have been us who were busy */
    while (r->link == l && r->state == UP && r->past < r->n) {
        struct cmd *c = at(r, r->past), was = *c;
        if (now < was.sent_at + r->c.command_timeout_ms)
            break;
        c->fn = NULL;
        r->past++;
        answer(r, was, NULL);
    }
    if (r->link == l && r->past && now >= at(r, 0)->sent_at + 2 * (uint64_t)r->c.command_timeout_ms)
        drop(r, "the server is connected but does not answer");
}

static void on_timer(uv_timer_t *t)
{
    struct ph_redis *r = t->data;

    pay(r);
    if (r->state == WAITING && uv_now(r->loop) >= r->due_at)
        try_connect(r);
    else if ((r->state == CONNECTING || r->state == GREETING) && uv_now(r->loop) >= r->due_at)
        drop(r, r->state == GREETING ? "it is connected but does not answer"
                                     : "cannot connect: no answer");
    else if (r->state == UP)
        time_out(r);
    arm(r);
}

/* --- birth and death ------------------------------------------------------------------------------- */

struct ph_redis *ph_redis_new(uv_loop_t *loop, const struct ph_redis_conf *c,
                              const struct ph_env *env)
{
    struct ph_redis *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->loop = loop;
    r->c = *c;
    r->env = *env;
    if (!r->c.port)
        r->c.port = 6379;
    if (!r->c.connect_timeout_ms)
        r->c.connect_timeout_ms = 3000;
    if (!r->c.command_timeout_ms)
        r->c.command_timeout_ms = 3000;
    const bool v6 = strchr(c->host, ':') != NULL;
    if (c->path[0])
        snprintf(r->name, sizeof r->name, "redis %s", c->path);
    else
        snprintf(r->name, sizeof r->name, v6 ? "redis [%s]:%u" : "redis %s:%u", c->host,
                 (unsigned)r->c.port);
    r->owed_tail = &r->owed;
    uv_timer_init(loop, &r->timer);
    r->timer.data = r;
    r->state = WAITING;
    r->due_at = 0; /* now, but from the loop */
    arm(r);
    return r;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct ph_redis *r = h->data;

    r->timer_closed = true;
    release(r);
}

void ph_redis_free(struct ph_redis *r)
{
    struct ph__link *l = r ? r->link : NULL;

    if (!r || r->state == ENDED)
        return;
    r->state = ENDED;
    r->stats.up = false;
    r->link = NULL;
    uv_close((uv_handle_t *)&r->timer, on_timer_closed);
    if (l)
        ph__link_close(l);
    free_reader(r);
    answer_all(r);
    while (r->owed)
        pay(r);
}

const struct ph_redis_stats *ph_redis_stats(const struct ph_redis *r)
{
    return &r->stats;
}
