/*
 * One question put to one server after another, over a connection of its own, until an answer will do: where the
 * master is (sentinels), who has which keys (a cluster).
 */
#include "turn/store/redis_conn.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

/* Where there are others to ask, a server that is silent is not waited for long. */
enum { PATIENCE_MS = 1000 };

struct ph__asker {
    struct ph__asker_conf c;
    struct ph_redis_conf to; /* one of the hosts */
    struct ph_redis_host *host;
    unsigned tried, open; /* connections that are not closed */
    struct ph__conn *conn;
    uv_timer_t next; /* the next host's turn: from the loop, not from within */
    bool tls, taken, closed;
    char why[PH__REDIS_WHY];
};

void ph__redis_address(char out[static PH__REDIS_ADDRESS], const char *host, uint16_t port)
{
    snprintf(out, PH__REDIS_ADDRESS, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, (unsigned)port);
}

static void release(struct ph__asker *a)
{
    if (!a->closed || a->open)
        return;
    void (*const gone)(void *) = a->c.gone;
    void *const ctx = a->c.ctx;
    explicit_bzero(&a->to, sizeof a->to);
    SSL_CTX_free(a->c.tls);
    free(a->host);
    free(a);
    gone(ctx);
}

static void on_gone(void *ctx)
{
    struct ph__asker *a = ctx;

    a->open--;
    release(a);
}

static void hang_up(struct ph__asker *a)
{
    struct ph__conn *conn = a->conn;

    a->conn = NULL;
    if (conn)
        ph__conn_close(conn);
}

static unsigned current(const struct ph__asker *a)
{
    return (a->c.first + a->tried) % a->c.n_hosts;
}

static void on_next(uv_timer_t *t);

/* This host is done with: an answer was taken, or `why` is the matter with it. */
static void move_on(struct ph__asker *a, const char *why, bool tls)
{
    char address[PH__REDIS_ADDRESS];

    if (a->closed)
        return;
    hang_up(a);
    if (why) {
        ph__redis_address(address, a->to.host, a->to.port);
        snprintf(a->why, sizeof a->why, "%.80s: %.160s", address, why);
        a->tls = a->tls || tls;
        a->tried++;
    }
    uv_timer_start(&a->next, on_next, 0, 0);
}

static void on_answer(void *ctx, const redisReply *reply)
{
    struct ph__asker *a = ctx;
    char why[PH__REDIS_WHY] = "it does not answer";

    if (a->closed || !a->conn) /* being hung up */
        return;
    a->taken = reply && a->c.take(a->c.ctx, current(a), reply, why);
    move_on(a, a->taken ? NULL : why, false);
}

static void on_up(void *ctx)
{
    struct ph__asker *a = ctx;
    struct ph_slice args[3];
    unsigned n = 0;

    for (; n < 3 && a->c.question[n]; n++)
        args[n] = ph_str(a->c.question[n]);
    if (ph__conn_send(a->conn, args, n, on_answer, a))
        move_on(a, "out of memory", false);
}

static void on_down(void *ctx, const char *why, bool tls)
{
    move_on(ctx, why, tls);
}

static void ask(struct ph__asker *a)
{
    const struct ph_redis_host *h = &a->host[current(a)];
    const struct ph__conn_conf c = {.loop = a->c.loop,
                                    .env = a->c.env,
                                    .name = a->c.name,
                                    .to = &a->to,
                                    .tls = a->c.tls,
                                    .up = on_up,
                                    .down = on_down,
                                    .gone = on_gone,
                                    .ctx = a};

    snprintf(a->to.host, sizeof a->to.host, "%s", h->host);
    a->to.port = h->port;
    a->conn = ph__conn_new(&c);
    if (a->conn)
        a->open++;
    else
        move_on(a, "out of memory", false);
}

static void on_next(uv_timer_t *t)
{
    struct ph__asker *a = t->data;

    if (a->taken)
        a->c.done(a->c.ctx, NULL, false);
    else if (a->tried == a->c.n_hosts)
        a->c.done(a->c.ctx, a->why, a->tls);
    else
        ask(a);
}

struct ph__asker *ph__asker_new(const struct ph__asker_conf *c)
{
    struct ph__asker *a = calloc(1, sizeof *a);
    struct ph_redis_host *host = a ? malloc(c->n_hosts * sizeof *host) : NULL;

    if (!host || !c->n_hosts) {
        free(host);
        free(a);
        return NULL;
    }
    memcpy(host, c->host, c->n_hosts * sizeof *host);
    a->c = *c;
    if (c->tls)
        SSL_CTX_up_ref(c->tls);
    a->host = host;
    a->to = *c->to;
    a->to.path[0] = '\0';
    if (c->n_hosts > 1 && a->to.connect_timeout_ms > PATIENCE_MS)
        a->to.connect_timeout_ms = PATIENCE_MS;
    if (c->n_hosts > 1 && a->to.command_timeout_ms > PATIENCE_MS)
        a->to.command_timeout_ms = PATIENCE_MS;
    uv_timer_init(c->loop, &a->next);
    a->next.data = a;
    a->open = 1;
    uv_timer_start(&a->next, on_next, 0, 0);
    return a;
}

static void on_next_closed(uv_handle_t *h)
{
    on_gone(h->data);
}

void ph__asker_close(struct ph__asker *a)
{
    if (a->closed)
        return;
    a->closed = true;
    uv_close((uv_handle_t *)&a->next, on_next_closed);
    hang_up(a);
}
