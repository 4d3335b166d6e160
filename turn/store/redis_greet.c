/*
 * The greeting: who we are, which database, whether the server is a master, and whether it serves us at all (PING).
 *
 * All of it is sent at once; the first that is refused is the cause that is told.  Of an error only the first word is
 * shown ("NOAUTH"): the rest may repeat what we said.
 */
#include "turn/store/redis_conn.h"

#include <stdio.h>

static bool is_error(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ERROR;
}

static void refuse(struct ph__greet *g, const char *what, const redisReply *reply)
{
    if (g->why[0])
        return;
    const int n = is_error(reply) ? (int)strcspn(reply->str, " \r\n") : 9;
    snprintf(g->why, sizeof g->why, "%s (%.*s)", what, n < 32 ? n : 32,
             is_error(reply) ? reply->str : "no answer");
}

static bool is_status(const redisReply *reply, const char *text)
{
    return reply && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, text) == 0;
}

static void on_auth(void *ctx, const redisReply *reply)
{
    struct ph__greet *g = ctx;

    if (is_error(reply) &&
        (strstr(reply->str, "without any password") || strstr(reply->str, "no password is set")))
        ph_logf(g->env, PH_LOG_WARN, "%s: has no password set, the configured one is not used",
                g->name);
    else if (!is_status(reply, "OK"))
        refuse(g, "the user or password is refused", reply);
}

static void on_select(void *ctx, const redisReply *reply)
{
    if (!is_status(reply, "OK"))
        refuse(ctx, "the database cannot be selected", reply);
}

/* A user who may not say ROLE is believed to have been led to a master: the first write shows it. */
static void on_role(void *ctx, const redisReply *reply)
{
    struct ph__greet *g = ctx;
    const redisReply *role =
        reply && reply->type == REDIS_REPLY_ARRAY && reply->elements ? reply->element[0] : NULL;

    if (is_error(reply) && strncmp(reply->str, "NOPERM", 6) == 0)
        return;
    if (!role || role->type != REDIS_REPLY_STRING)
        refuse(g, "it does not tell its role", reply);
    else if (strcmp(role->str, "master") != 0 && !g->why[0])
        snprintf(g->why, sizeof g->why, "it is not the master yet, or not any more (role %.16s)",
                 role->str);
}

static void on_ping(void *ctx, const redisReply *reply)
{
    struct ph__greet *g = ctx;

    if (is_error(reply) && strncmp(reply->str, "LOADING", 7) == 0)
        refuse(g, "it is still loading its data", reply);
    else if (!is_status(reply, "PONG"))
        refuse(g,
               g->to->password[0] ? "it does not serve us"
                                  : "it does not serve us without a password",
               reply);
    g->done(g->ctx, g->why[0] ? g->why : NULL);
}

static int say_auth(struct ph__greet *g)
{
    const struct ph_redis_conf *const c = g->to;
    const struct ph_slice args[3] = {ph_str("AUTH"), ph_str(c->user[0] ? c->user : c->password),
                                     ph_str(c->password)};

    return c->password[0] ? ph__conn_send(g->conn, args, c->user[0] ? 3 : 2, on_auth, g) : 0;
}

static int say_select(struct ph__greet *g)
{
    char db[16];

    if (!g->to->db)
        return 0;
    snprintf(db, sizeof db, "%u", (unsigned)g->to->db);
    return ph__conn_send(g->conn, (struct ph_slice[]){ph_str("SELECT"), ph_str(db)}, 2, on_select,
                         g);
}

int ph__greet(struct ph__greet *g)
{
    g->why[0] = '\0';
    int err = say_auth(g);
    if (!err)
        err = say_select(g);
    if (!err && g->master)
        err = ph__conn_send(g->conn, (struct ph_slice[]){ph_str("ROLE")}, 1, on_role, g);
    if (!err)
        err = ph__conn_send(g->conn, (struct ph_slice[]){ph_str("PING")}, 1, on_ping, g);
    return err;
}

const char *ph__greet_no_master(const char *error)
{
    static const char *const known[] = {"READONLY", "MASTERDOWN", "LOADING"};
    const size_t n = strcspn(error, " \r\n");

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i]) == n && memcmp(error, known[i], n) == 0)
            return known[i];
    /* Redis 6 wraps what a script met. */
    return strncmp(error, "ERR Error running script", 24) == 0 && strstr(error, " -READONLY ")
               ? known[0]
               : NULL;
}
