/*
 * Commands and replies on one connection.
 *
 * Replies come in the order of the commands, so what is under way is a ring.  A command that has timed out is
 * answered at once but keeps its place, for the reply that may still come; when that does not happen for as long again,
 * the server is taken for dead and the connection for broken.
 */
#include "turn/store/redis_conn.h"
#include "stun/base/error.h"

#include <stdio.h>
#include <stdlib.h>

enum { RING_MIN = 64, TLS_ALERT = 0x15 };

enum state { CONNECTING, GREETING, UP, OVER, CLOSED };

struct cmd {
    ph__redis_fn *fn; /* NULL: answered already */
    void *ctx;
    uint64_t sent_at; /* loop time, ms */
    bool own;         /* of the greeting */
};

struct ph__conn {
    struct ph__conn_conf c;
    enum state state;
    uv_timer_t timer;
    struct ph__link *link;
    unsigned open;   /* the timer, the link */
    uint64_t due_at; /* CONNECTING, GREETING: give up */
    struct ph__greet greet;

    struct redisReader *reader;
    redisReplyObjectFunctions make; /* of reply objects */
    void *(*make_array)(const redisReadTask *, int);
    size_t partial; /* bytes of a reply that is not complete */
    bool reading;   /* in the loop over replies */
    bool heard;     /* anything at all */
    bool moved;     /* it has been said that this is a cluster */

    struct cmd *ring;             /* cap of them, a power of two */
    uint32_t cap, first, past, n; /* first command, first not answered, all */
};

static struct cmd *at(const struct ph__conn *c, uint32_t i)
{
    return &c->ring[(c->first + i) & (c->cap - 1)];
}

/* --- the timer ------------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *t);

/* When something is to be done; UINT64_MAX: nothing. */
static uint64_t deadline(const struct ph__conn *c)
{
    uint64_t due = UINT64_MAX;

    if (c->state == CONNECTING || c->state == GREETING)
        due = c->due_at;
    if (c->past) {
        const uint64_t dead = at(c, 0)->sent_at + 2 * (uint64_t)c->c.to->command_timeout_ms;
        due = dead < due ? dead : due;
    }
    if (c->state == UP && c->past < c->n) {
        const uint64_t late = at(c, c->past)->sent_at + c->c.to->command_timeout_ms;
        due = late < due ? late : due;
    }
    return due;
}

static void arm(struct ph__conn *c)
{
    if (c->state == CLOSED)
        return;
    const uint64_t due = c->state == OVER ? UINT64_MAX : deadline(c), now = uv_now(c->c.loop);
    if (due == UINT64_MAX)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, on_timer, due > now ? due - now : 0, 0);
}

/* --- the end --------------------------------------------------------------------------------------- */

static void fail(struct ph__conn *c, const char *why, bool tls)
{
    if (c->state == OVER || c->state == CLOSED)
        return;
    c->state = OVER;
    arm(c);
    c->c.down(c->c.ctx, why, tls);
}

/* What may be behind an end that comes as soon as the greeting is sent.  A server that refuses us in TLS says why,
 * but that is often lost: it does not wait until what we have sent has been read. */
static const char *guess(const struct ph__conn *c)
{
    if (c->state != GREETING || c->heard)
        return "";
    if (!c->c.tls)
        return ", at once (it may want TLS: rediss://)";
    return c->c.to->cert[0] ? ", at once (it may not like our certificate)"
                            : ", at once (it may want a certificate of ours: cert=FILE)";
}

static void on_down(void *ctx, const char *why, bool tls)
{
    struct ph__conn *c = ctx;
    const char *const more = tls ? "" : guess(c);
    char text[PH__REDIS_WHY];

    snprintf(text, sizeof text, "%s%.*s%s",
             c->state == CONNECTING ? "cannot connect: " : "connection lost: ", PH__REDIS_WHY - 80,
             why, more);
    fail(c, text, tls || (c->c.tls && *more));
}

static void answer(struct ph__conn *c, struct cmd cmd, const redisReply *reply)
{
    if (!cmd.own && c->c.stats && (!reply || reply->type == REDIS_REPLY_ERROR))
        c->c.stats->errors++;
    cmd.fn(cmd.ctx, reply);
}

static void pop(struct ph__conn *c)
{
    c->first = (c->first + 1) & (c->cap - 1);
    c->n--;
    if (c->past)
        c->past--;
}

static void answer_all(struct ph__conn *c)
{
    while (c->n) {
        const struct cmd cmd = *at(c, 0);
        pop(c);
        if (cmd.fn && !cmd.own)
            answer(c, cmd, NULL);
    }
}

static void free_reader(struct ph__conn *c)
{
    if (c->reader && !c->reading) {
        redisReaderFree(c->reader);
        c->reader = NULL;
    }
}

static void release(struct ph__conn *c)
{
    if (--c->open)
        return;
    void (*const gone)(void *) = c->c.gone;
    void *const ctx = c->c.ctx;
    free(c->ring);
    free(c);
    gone(ctx);
}

static void on_gone(void *ctx)
{
    release(ctx);
}

static void on_timer_closed(uv_handle_t *h)
{
    release(h->data);
}

void ph__conn_close(struct ph__conn *c)
{
    if (c->state == CLOSED)
        return;
    c->state = CLOSED;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
    ph__link_close(c->link);
    free_reader(c);
    answer_all(c);
}

/* --- sending --------------------------------------------------------------------------------------- */

/* Room for one command more. */
static int grow(struct ph__conn *c)
{
    const uint32_t cap = c->cap ? 2 * c->cap : RING_MIN;

    if (c->n < c->cap)
        return 0;
    if (cap > PH_REDIS_PENDING)
        return PH_E_LIMIT;
    struct cmd *ring = malloc(cap * sizeof *ring);
    if (!ring)
        return PH_E_NOMEM;
    for (uint32_t i = 0; i < c->n; i++)
        ring[i] = *at(c, i);
    free(c->ring);
    c->ring = ring;
    c->cap = cap;
    c->first = 0;
    return 0;
}

static int write_command(struct ph__conn *c, const struct ph_slice *args, unsigned n)
{
    const char *v[PH_REDIS_ARGS];
    size_t len[PH_REDIS_ARGS];
    char *bytes = NULL;

    for (unsigned i = 0; i < n; i++) {
        v[i] = args[i].n ? (const char *)args[i].p : "";
        len[i] = args[i].n;
    }
    const int size = redisFormatCommandArgv(&bytes, (int)n, v, len);
    if (size < 0)
        return PH_E_NOMEM;
    const int err = ph__link_send(c->link, bytes, (size_t)size);
    if (c->state == GREETING) /* it may hold a password */
        explicit_bzero(bytes, (size_t)size);
    redisFreeCommand(bytes);
    return err;
}

int ph__conn_send(struct ph__conn *c, const struct ph_slice *args, unsigned n, ph__redis_fn *fn,
                  void *ctx)
{
    if (c->state != UP && c->state != GREETING)
        return PH_E_STATE;
    if (n == 0 || n > PH_REDIS_ARGS)
        return PH_E_ARG;
    int err = grow(c);
    if (!err)
        err = write_command(c, args, n);
    if (err)
        return err;
    c->n++;
    *at(c, c->n - 1) = (struct cmd){fn, ctx, uv_now(c->c.loop), c->state == GREETING};
    if (c->n - c->past == 1)
        arm(c);
    return 0;
}

/* --- the greeting ---------------------------------------------------------------------------------- */

static void on_greeted(void *ctx, const char *why)
{
    struct ph__conn *c = ctx;

    if (c->state != GREETING)
        return;
    if (why) {
        fail(c, why, false);
        return;
    }
    c->state = UP;
    c->c.up(c->c.ctx);
}

static void *make_array(const redisReadTask *task, int elements)
{
    const struct ph__conn *c = task->privdata;

    /* hiredis would make room for what a server merely says will come. */
    return elements > PH_REDIS_ELEMENTS ? NULL : c->make_array(task, elements);
}

static int make_reader(struct ph__conn *c)
{
    struct redisReader *plain = redisReaderCreate();

    if (!plain)
        return PH_E_NOMEM;
    c->make = *plain->fn;
    c->make_array = c->make.createArray;
    c->make.createArray = make_array;
    plain->fn = &c->make;
    plain->privdata = c;
    c->reader = plain;
    return 0;
}

static void on_up(void *ctx)
{
    struct ph__conn *c = ctx;

    c->state = GREETING;
    c->greet = (struct ph__greet){.conn = c,
                                  .to = c->c.to,
                                  .env = c->c.env,
                                  .name = c->c.name,
                                  .master = c->c.master,
                                  .done = on_greeted,
                                  .ctx = c};
    if (make_reader(c) || ph__greet(&c->greet))
        fail(c, "out of memory", false);
}

/* --- replies --------------------------------------------------------------------------------------- */

static void look_at_error(struct ph__conn *c, const char *error)
{
    const char *const no_master = ph__greet_no_master(error);
    char why[PH__REDIS_WHY];

    if (no_master) {
        snprintf(why, sizeof why, "the server is not the master, or not ready to be (%s)",
                 no_master);
        fail(c, why, false);
    } else if (!c->moved && c->c.to->mode != PH_REDIS_CLUSTER && strncmp(error, "MOVED ", 6) == 0) {
        c->moved = true;
        ph_logf(c->c.env, PH_LOG_WARN,
                "%s: is part of a cluster and does not have all keys: redis+cluster://HOST:PORT "
                "finds them",
                c->c.name);
    }
}

/* Hands out one reply.  False: it is one too many. */
static bool take(struct ph__conn *c, redisReply *reply)
{
    if (!c->n)
        return false;
    const struct cmd cmd = *at(c, 0);
    pop(c);
    if (cmd.fn)
        answer(c, cmd, reply);
    if (c->state == UP && !cmd.own && reply->type == REDIS_REPLY_ERROR)
        look_at_error(c, reply->str);
    return true;
}

static const char *not_redis(const struct ph__conn *c, const char *p)
{
    return c->state == GREETING && *p == TLS_ALERT ? "the server speaks TLS (rediss:// or tls=yes)"
                                                   : "it does not speak Redis' protocol";
}

static void on_data(void *ctx, const char *p, size_t n)
{
    struct ph__conn *c = ctx;
    const char *trouble = NULL;
    redisReply *reply = NULL;

    c->heard = true;
    c->partial += n;
    if (redisReaderFeed(c->reader, p, n) != REDIS_OK)
        trouble = "out of memory";
    c->reading = true;
    while (!trouble && c->state < OVER) {
        if (redisReaderGetReply(c->reader, (void **)&reply) != REDIS_OK)
            trouble = not_redis(c, p);
        if (trouble || !reply)
            break;
        c->partial = c->reader->len - c->reader->pos;
        if (!take(c, reply))
            trouble = "it says what nobody asked for";
        freeReplyObject(reply);
        reply = NULL;
    }
    c->reading = false;
    if (c->state == CLOSED)
        free_reader(c);
    else if (trouble)
        fail(c, trouble, false);
    else if (c->partial > PH_REDIS_REPLY)
        fail(c, "a reply is too long", false);
    else
        arm(c);
}

/* --- time ------------------------------------------------------------------------------------------ */

/* Commands that have waited too long; and with them, too long again, the connection. */
static void time_out(struct ph__conn *c)
{
    const uint64_t now = uv_now(c->c.loop), timeout = c->c.to->command_timeout_ms;

    ph__link_poll(c->link); /* it may have been us who were busy */
    while (c->state == UP && c->past < c->n) {
        struct cmd *cmd = at(c, c->past), was = *cmd;
        if (now < was.sent_at + timeout)
            break;
        cmd->fn = NULL;
        c->past++;
        if (was.fn)
            answer(c, was, NULL);
    }
    if (c->state == UP && c->past && now >= at(c, 0)->sent_at + 2 * timeout)
        fail(c, "the server is connected but does not answer", false);
}

static void on_timer(uv_timer_t *t)
{
    struct ph__conn *c = t->data;

    if (c->state == UP)
        time_out(c);
    else if (c->state < UP && uv_now(c->c.loop) >= c->due_at)
        fail(c,
             c->state == GREETING        ? "it is connected but does not answer"
             : ph__link_shaking(c->link) ? "it is connected but does not answer; does it speak "
                                           "TLS on this port?"
                                         : "cannot connect: no answer",
             ph__link_shaking(c->link));
    arm(c);
}

/* --- birth ----------------------------------------------------------------------------------------- */

struct ph__conn *ph__conn_new(const struct ph__conn_conf *conf)
{
    struct ph__conn *c = calloc(1, sizeof *c);
    const struct ph__link_conf link = {.loop = conf->loop,
                                       .to = conf->to,
                                       .tls = conf->tls,
                                       .up = on_up,
                                       .data = on_data,
                                       .down = on_down,
                                       .gone = on_gone,
                                       .ctx = c};

    if (!c)
        return NULL;
    c->c = *conf;
    c->link = ph__link_new(&link);
    if (!c->link) {
        free(c);
        return NULL;
    }
    c->open = 2;
    uv_timer_init(conf->loop, &c->timer);
    c->timer.data = c;
    c->state = CONNECTING;
    c->due_at = uv_now(conf->loop) + conf->to->connect_timeout_ms;
    arm(c);
    return c;
}
