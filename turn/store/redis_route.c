/*
 * Where a command goes in a cluster: its first key, the key's slot, and what nodes say of slots.  No connection here.
 */
#include "stun/base/error.h"
#include "turn/store/redis_priv.h"

#include <stdio.h>
#include <strings.h>

/* --- slots of keys --------------------------------------------------------------------------------- */

/* CRC-16/XMODEM. */
static uint16_t crc16(const uint8_t *p, size_t n)
{
    unsigned crc = 0;

    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned)p[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xFFFF;
    }
    return (uint16_t)crc;
}

unsigned ph__route_slot(struct ph_slice key)
{
    const uint8_t *open = key.n ? memchr(key.p, '{', key.n) : NULL;
    const uint8_t *close = open ? memchr(open + 1, '}', key.n - (size_t)(open + 1 - key.p)) : NULL;

    if (close && close > open + 1)
        return crc16(open + 1, (size_t)(close - open - 1)) % PH__REDIS_SLOTS;
    return crc16(key.p, key.n) % PH__REDIS_SLOTS;
}

/* --- keys of commands ------------------------------------------------------------------------------ */

/* Where the first key is, when it is not the first argument. */
enum { NONE = 0, COUNTED = -1, STREAMS = -2 };

static const struct {
    const char *name;
    int at;
} commands[] = {
    {"ACL", NONE},
    {"AUTH", NONE},
    {"CLIENT", NONE},
    {"CLUSTER", NONE},
    {"COMMAND", NONE},
    {"CONFIG", NONE},
    {"DBSIZE", NONE},
    {"ECHO", NONE},
    {"FLUSHALL", NONE},
    {"FLUSHDB", NONE},
    {"FUNCTION", NONE},
    {"INFO", NONE},
    {"KEYS", NONE},
    {"LATENCY", NONE},
    {"PING", NONE},
    {"PUBLISH", NONE},
    {"PUBSUB", NONE},
    {"RANDOMKEY", NONE},
    {"ROLE", NONE},
    {"SCAN", NONE},
    {"SCRIPT", NONE},
    {"TIME", NONE},
    {"WAIT", NONE},
    {"EVAL", COUNTED},
    {"EVALSHA", COUNTED},
    {"EVAL_RO", COUNTED},
    {"FCALL", COUNTED},
    {"FCALL_RO", COUNTED},
    {"XREAD", STREAMS},
    {"XREADGROUP", STREAMS},
    {"EVALSHA_RO", COUNTED},
    {"OBJECT", 2},
    {"XGROUP", 2},
    {"XINFO", 2},
    {"MEMORY", 2},
    {"BITOP", 2},
    {"LMPOP", 2},
    {"ZMPOP", 2},
    {"ZUNION", 2},
    {"ZINTER", 2},
    {"ZDIFF", 2},
    {"SINTERCARD", 2},
    {"ZINTERCARD", 2},
};

static bool is(struct ph_slice arg, const char *text)
{
    return arg.n == strlen(text) && strncasecmp((const char *)arg.p, text, arg.n) == 0;
}

/* The key after STREAMS; what precedes it in XREADGROUP are names that may be anything. */
static unsigned after_streams(const struct ph_slice *args, unsigned n)
{
    for (unsigned i = is(args[0], "XREADGROUP") ? 4 : 1; i + 1 < n; i++)
        if (is(args[i], "STREAMS"))
            return i + 1;
    return 0;
}

/* The index of the first key; 0: there is none. */
static unsigned first_key(const struct ph_slice *args, unsigned n)
{
    for (size_t i = 0; n && i < sizeof commands / sizeof *commands; i++) {
        if (!is(args[0], commands[i].name))
            continue;
        if (commands[i].at == STREAMS)
            return after_streams(args, n);
        if (commands[i].at == COUNTED)
            return n > 3 && !is(args[2], "0") ? 3 : 0;
        return (unsigned)commands[i].at;
    }
    return 1;
}

int ph__route_of(const struct ph_slice *args, unsigned n)
{
    const unsigned i = first_key(args, n);

    return i && i < n ? (int)ph__route_slot(args[i]) : PH__REDIS_ANY;
}

/* --- what nodes say -------------------------------------------------------------------------------- */

/* Digits up to `end`, which is a byte or, if it is 0, the end of the text.  NULL: no number up to max. */
static const char *number(const char *p, char end, unsigned max, unsigned *out)
{
    unsigned v = 0;

    if (*p == end)
        return NULL;
    for (; *p && *p != end; p++) {
        if (*p < '0' || *p > '9' || v > max)
            return NULL;
        v = v * 10 + (unsigned)(*p - '0');
    }
    if (*p != end || v > max)
        return NULL;
    *out = v;
    return p;
}

bool ph__route_redirect(const char *error, struct ph__redirect *out)
{
    const bool ask = strncmp(error, "ASK ", 4) == 0;
    unsigned slot, port;

    if (!ask && strncmp(error, "MOVED ", 6) != 0)
        return false;
    const char *p = number(error + (ask ? 4 : 6), ' ', PH__REDIS_SLOTS - 1, &slot);
    const char *colon = p ? strrchr(++p, ':') : NULL;
    if (!colon || (size_t)(colon - p) >= sizeof out->at.host ||
        memchr(p, ' ', (size_t)(colon - p)) || !number(colon + 1, '\0', UINT16_MAX, &port) || !port)
        return false;
    *out = (struct ph__redirect){.ask = ask, .slot = slot, .at.port = (uint16_t)port};
    memcpy(out->at.host, p, (size_t)(colon - p));
    return true;
}

/* The index of a host, which may be new.  0 or PH_E_LIMIT. */
static int index_of(struct ph__slots *s, const char *host, uint16_t port, uint8_t *i)
{
    for (*i = 0; *i < s->n_hosts; ++*i)
        if (s->host[*i].port == port && strcmp(s->host[*i].host, host) == 0)
            return 0;
    if (s->n_hosts == PH__REDIS_NODES)
        return PH_E_LIMIT;
    s->n_hosts++;
    s->host[*i].port = port;
    snprintf(s->host[*i].host, sizeof s->host[*i].host, "%s", host);
    return 0;
}

/* [host, port, ...]; a host of nil, "" or "?" is the one that was asked. */
static int read_node(const redisReply *e, const char *asked, struct ph__slots *out, uint8_t *i)
{
    if (e->type != REDIS_REPLY_ARRAY || e->elements < 2 ||
        e->element[1]->type != REDIS_REPLY_INTEGER || e->element[1]->integer < 1 ||
        e->element[1]->integer > UINT16_MAX)
        return PH_E_FORMAT;
    const redisReply *const host = e->element[0];
    const uint16_t port = (uint16_t)e->element[1]->integer;
    if (host->type == REDIS_REPLY_NIL)
        return index_of(out, asked, port, i);
    if (host->type != REDIS_REPLY_STRING || host->len >= sizeof out->host[0].host ||
        memchr(host->str, 0, host->len))
        return PH_E_FORMAT;
    const bool same = !host->len || strcmp(host->str, "?") == 0;
    return index_of(out, same ? asked : host->str, port, i);
}

/* [first, last, [master], [replica] ...] */
static int read_range(const redisReply *e, const char *asked, struct ph__slots *out)
{
    uint8_t i;

    if (e->type != REDIS_REPLY_ARRAY || e->elements < 3 ||
        e->element[0]->type != REDIS_REPLY_INTEGER || e->element[1]->type != REDIS_REPLY_INTEGER)
        return PH_E_FORMAT;
    const long long first = e->element[0]->integer, last = e->element[1]->integer;
    if (first < 0 || last < first || last >= PH__REDIS_SLOTS)
        return PH_E_FORMAT;
    const int err = read_node(e->element[2], asked, out, &i);
    if (!err)
        memset(out->of + first, i, (size_t)(last - first + 1));
    return err;
}

int ph__route_slots(const redisReply *reply, const char *asked, struct ph__slots *out)
{
    int err = 0;

    memset(out->of, 255, sizeof out->of);
    out->n_hosts = 0;
    if (reply->type != REDIS_REPLY_ARRAY)
        return PH_E_FORMAT;
    for (size_t i = 0; !err && i < reply->elements; i++)
        err = read_range(reply->element[i], asked, out);
    return err;
}
