/*
 * What Redis answers to the store's scripts.  Whatever calls itself Redis, and whatever it says, ends as one of a few
 * meanings.
 */
#include "stun/base/error.h"
#include "turn/store/store_redis_priv.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

static bool is_string(const redisReply *r)
{
    return r && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS);
}

/* Errors that an operator can do something about.  Within a script's error they are somewhere in the text. */
static const struct {
    const char *word, *meaning;
} errors[] = {
    {"WRONGTYPE",
     "a key that is ours is of another type: remove or rename {PREFIX:NODE}:owner if it is no "
     "string, {PREFIX:NODE}:KIND if it is no hash"},
    {"READONLY", "it is a replica that may not be written to"},
    {"OOM ", "it has no memory left, see its maxmemory"},
    {"NOPERM", "its user may not do this, see turn/store/store.h for what is needed"},
    {"The user executing the script",
     "its user may not do this in a script, see turn/store/store.h"},
    {"LOADING", "it is still reading its data"},
    {"CLUSTERDOWN", "its cluster is down"},
    {"MASTERDOWN", "it is a replica that has lost its master"},
    {"MISCONF", "it cannot save its data to disk"},
    {"NOREPLICAS", "it has too few replicas"},
    {"TRYAGAIN", "its cluster is moving our keys to another node"},
    {"BUSY", "it is busy with another script"},
    {"NOAUTH", "it wants a password"},
    {"MOVED", "it is part of a cluster: say so in its address"},
    {"NOSCRIPT", "it has no scripts"},
};

/* The first word of an error, which is all of it that is shown: the rest may repeat what we said. */
static int explain(const redisReply *reply, char why[static PH__STORE_WHY])
{
    const size_t word = strcspn(reply->str, " \r\n");
    const char *meaning = "it refuses";

    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strstr(reply->str, errors[i].word)) {
            meaning = errors[i].meaning;
            break;
        }
    snprintf(why, PH__STORE_WHY, "%s (%.*s)", meaning, (int)(word < 32 ? word : 32), reply->str);
    for (char *p = why; *p; p++)
        if (*p < 0x20 || *p == 0x7F)
            *p = '?';
    return PH_E_REFUSED;
}

static int nonsense(char why[static PH__STORE_WHY])
{
    snprintf(why, PH__STORE_WHY, "it answers what makes no sense");
    return PH_E_FORMAT;
}

/* The text of a reply, or why it is none. */
static int text_of(const redisReply *reply, struct ph_slice *text, char why[static PH__STORE_WHY])
{
    if (reply->type == REDIS_REPLY_ERROR)
        return explain(reply, why);
    if (!is_string(reply))
        return nonsense(why);
    *text = (struct ph_slice){(const uint8_t *)reply->str, reply->len};
    if (!ph_slice_eq(*text, ph_str("FENCED")))
        return 0;
    snprintf(why, PH__STORE_WHY, "another process has claimed the node");
    return PH_E_FORBIDDEN;
}

int ph__store_reply_life(const redisReply *reply, char life[static PH__STORE_LIFE],
                         char why[static PH__STORE_WHY])
{
    struct ph_slice text;
    const int err = text_of(reply, &text, why);

    if (err)
        return err;
    if (text.n == 0 || text.n >= PH__STORE_LIFE || memchr(text.p, 0, text.n))
        return nonsense(why);
    memcpy(life, text.p, text.n);
    life[text.n] = '\0';
    return 0;
}

int ph__store_reply_token(const redisReply *reply, char token[static PH_STORE_TOKEN],
                          char why[static PH__STORE_WHY])
{
    struct ph_slice text;
    const int err = text_of(reply, &text, why);

    if (err)
        return err;
    if (!ph__store_token_ok(text))
        return nonsense(why);
    memcpy(token, text.p, text.n);
    token[text.n] = '\0';
    return 0;
}

int ph__store_reply_count(const redisReply *reply, unsigned *count, char why[static PH__STORE_WHY])
{
    struct ph_slice text;

    if (reply->type != REDIS_REPLY_INTEGER) {
        const int err = text_of(reply, &text, why);
        return err ? err : nonsense(why);
    }
    if (reply->integer < 0 || reply->integer > PH__STORE_REMOVE)
        return nonsense(why);
    *count = (unsigned)reply->integer;
    return 0;
}

static bool page_ok(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return false;
    const redisReply *c = reply->element[0], *v = reply->element[1];
    if (!is_string(c) || c->len == 0 || c->len >= PH__STORE_LIFE ||
        strspn(c->str, "0123456789") != c->len)
        return false;
    if (v->type != REDIS_REPLY_ARRAY || v->elements % 2)
        return false;
    for (size_t i = 0; i < v->elements; i++)
        if (!is_string(v->element[i]))
            return false;
    return true;
}

int ph__store_reply_page(const redisReply *reply, char cursor[static PH__STORE_LIFE],
                         bool (*entry)(void *ctx, struct ph_slice field, struct ph_slice value),
                         void *ctx, char why[static PH__STORE_WHY])
{
    if (reply->type == REDIS_REPLY_ERROR)
        return explain(reply, why);
    if (!page_ok(reply))
        return nonsense(why);
    const redisReply *v = reply->element[1];
    memcpy(cursor, reply->element[0]->str, reply->element[0]->len + 1);
    for (size_t i = 0; i < v->elements; i += 2) {
        const redisReply *f = v->element[i], *x = v->element[i + 1];
        if (!entry(ctx, (struct ph_slice){(const uint8_t *)f->str, f->len},
                   (struct ph_slice){(const uint8_t *)x->str, x->len}))
            break;
    }
    return 0;
}
