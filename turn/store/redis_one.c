/*
 * The life of the connection to one server: [ask the sentinels,] connect, serve, break, wait, again.
 */
#include "stun/base/error.h"
#include "turn/store/redis_priv.h"

#include <stdio.h>

enum { BACKOFF_MAX_MS = 5000, STEADY_MS = 5000, CONNS_MAX = 2 };

/* The connection is no good, or there is none.  Commands under way are answered; then it is tried again. */
void ph__one_drop(struct ph_redis *r, const char *why, bool tls)
{
    const bool was_up = r->state == PH__UP;
    struct ph__conn *conn = r->conn;
    char address[PH__REDIS_ADDRESS], text[PH__REDIS_WHY + 120];

    if (was_up && uv_now(r->loop) - r->up_at >= STEADY_MS)
        r->backoff_ms = 0;
    if (tls)
        ph__redis_tls_drop(r);
    r->stats.up = false;
    r->conn = NULL;
    if (r->c.mode == PH_REDIS_SENTINEL && r->state != PH__RESOLVING) {
        ph__redis_address(address, r->to.host, r->to.port);
        snprintf(text, sizeof text, "%.110s: %s", address, why);
        why = text;
    }
    r->state = PH__WAITING;
    r->due_at = uv_now(r->loop) + ph__redis_backoff(r, &r->backoff_ms, BACKOFF_MAX_MS);
    ph__redis_failed(r, why);
    ph__redis_arm(r);
    if (conn)
        ph__conn_close(conn);
    if (was_up)
        ph__redis_tell(r, false);
}

static void on_up(void *ctx)
{
    struct ph_redis *r = ctx;
    char address[PH__REDIS_ADDRESS] = "";

    r->state = PH__UP;
    r->up_at = uv_now(r->loop);
    r->complained = false;
    r->stats.up = true;
    r->stats.connects++;
    if (r->parent)
        r->parent->stats.connects++;
    if (r->c.mode == PH_REDIS_SENTINEL)
        ph__redis_address(address, r->to.host, r->to.port);
    ph_logf(&r->env, PH_LOG_INFO, "%s: connected%s%s", r->name, *address ? " to " : "", address);
    ph__redis_tell(r, true);
}

static void on_down(void *ctx, const char *why, bool tls)
{
    ph__one_drop(ctx, why, tls);
}

static void on_gone(void *ctx)
{
    struct ph_redis *r = ctx;

    r->conns--;
    ph__redis_closed(r);
}

void ph__one_connect(struct ph_redis *r)
{
    char why[PH__REDIS_WHY];
    struct ph__conn_conf c = {.loop = r->loop,
                              .env = &r->env,
                              .name = r->name,
                              .to = &r->to,
                              .master = r->c.mode == PH_REDIS_SENTINEL,
                              .stats = &r->stats,
                              .up = on_up,
                              .down = on_down,
                              .gone = on_gone,
                              .ctx = r};

    r->state = PH__CONNECTING;
    if (r->conns >= CONNS_MAX) { /* look-ups of the name that do not end */
        ph__one_drop(r, "the host's name cannot be looked up", false);
        return;
    }
    if (!ph__redis_tls(r, &c.tls, why)) {
        ph__one_drop(r, why, true);
        return;
    }
    r->conn = ph__conn_new(&c);
    if (!r->conn) {
        ph__one_drop(r, "out of memory", false);
        return;
    }
    r->conns++;
    r->open++;
}

void ph__one_due(struct ph_redis *r)
{
    if (r->c.mode == PH_REDIS_SENTINEL)
        ph__sentinel_ask(r);
    else
        ph__one_connect(r);
}

void ph__one_free(struct ph_redis *r)
{
    struct ph__conn *conn = r->conn;

    r->conn = NULL;
    ph__sentinel_stop(r);
    if (conn)
        ph__conn_close(conn);
}
