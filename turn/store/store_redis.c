/*
 * The store in Redis: its keys, its scripts, and what is sent.
 *
 * Everything is a script, so that it is done by the owner or not at all.  What they are given are counted arguments;
 * nothing is ever put into their text.
 */
#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "turn/store/redis_priv.h"
#include "turn/store/store_redis_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct back {
    struct ph_redis *r;
};

static struct ph_redis *redis_of(const struct ph_store *s)
{
    return ((struct back *)s->back)->r;
}

/* --- the scripts ----------------------------------------------------------------------------------- */

/* A token's place in the order of claims; what is no token is after all. */
#define EPOCH                                                                                      \
    "local function epoch(t) local d=string.match(t,'^(%d+)-') "                                   \
    "return d and #d<16 and tonumber(d) or math.huge end "

/*
 * KEYS owner, hash; ARGV token, milliseconds to live, how many to set, field and value of each, fields to delete.
 * Returns the hash's life, or FENCED.  An owner that is gone, or was before us, is what a server without our last writes
 * has: it is put back.  Whatever may fail (a wrong type) fails before the first write.
 */
static const char script_write[] =
    EPOCH "local o,l=redis.call('GET',KEYS[1]),redis.call('HGET',KEYS[2],'life') "
          "if o and o~=ARGV[1] and epoch(o)>=epoch(ARGV[1]) then return 'FENCED' end "
          "redis.call('SET',KEYS[1],ARGV[1],'PX',ARGV[2]) "
          "if not l or #l>23 then local t=redis.call('TIME') l=t[1]..'.'..t[2] "
          "redis.call('HSET',KEYS[2],'life',l) end "
          "local n=3+2*ARGV[3] "
          "if n>3 then redis.call('HSET',KEYS[2],unpack(ARGV,4,n)) end "
          "if #ARGV>n then redis.call('HDEL',KEYS[2],unpack(ARGV,n+1)) end "
          "redis.call('PEXPIRE',KEYS[2],ARGV[2]) "
          "return l";

/* KEYS owner; ARGV random text, milliseconds to live.  Returns the token: after all claims before, whatever the clock says. */
static const char script_claim[] =
    EPOCH "local o,t=redis.call('GET',KEYS[1]),redis.call('TIME') "
          "local e,b=t[1]*1000+math.floor(t[2]/1000),o and epoch(o) or 0 "
          "if b<999999999999999 and e<=b then e=b+1 end "
          "local k=string.format('%.0f-%s',e,ARGV[1]) "
          "redis.call('SET',KEYS[1],k,'PX',ARGV[2]) "
          "return k";

/* KEYS owner, hash; ARGV token, fields. */
static const char script_remove[] = "local o=redis.call('GET',KEYS[1]) "
                                    "if o and o~=ARGV[1] then return 'FENCED' end "
                                    "return redis.call('HDEL',KEYS[2],unpack(ARGV,2))";

/*
 * KEYS hash; ARGV cursor, longest value, entries and bytes after which it is enough.  HSCAN in small steps, as a step of
 * long values must not make a reply that nobody can take; what is too long to be a record comes as an empty one.
 */
static const char script_page[] =
    "local c,out,bytes,steps=ARGV[1],{},0,0 "
    "repeat local r=redis.call('HSCAN',KEYS[1],c,'COUNT',16) c=r[1] "
    "for i=1,#r[2],2 do local f,v=r[2][i],r[2][i+1] "
    "if #f>20 or #v>tonumber(ARGV[2]) then f,v=string.sub(f,1,21),'' end "
    "out[#out+1]=f out[#out+1]=v bytes=bytes+#v end "
    "steps=steps+1 "
    "until c=='0' or #out>=2*ARGV[3] or bytes>=tonumber(ARGV[4]) or steps>=256 "
    "return {c,out}";

/* --- sending --------------------------------------------------------------------------------------- */

enum { HEAD = 8 };
_Static_assert(HEAD + 2 * PH__STORE_BATCH <= PH_REDIS_ARGS, "a batch fits into a command");
_Static_assert(HEAD + PH__STORE_REMOVE <= PH_REDIS_ARGS, "a removal fits into a command");

/* An EVAL being put together. */
struct eval {
    struct ph_slice arg[PH_REDIS_ARGS];
    unsigned n;
    char owner[PH__STORE_KEY], hash[PH__STORE_KEY], ttl[PH__STORE_ID], count[PH__STORE_ID];
};

static void push(struct eval *e, struct ph_slice arg)
{
    e->arg[e->n++] = arg;
}

static void push_id(struct eval *e, char text[static PH__STORE_ID], uint64_t id)
{
    const size_t n = ph__store_id_write(text, id);

    push(e, (struct ph_slice){(const uint8_t *)text, n});
}

/* The keys of a node; kind NULL: its owner alone. */
static void start(struct eval *e, const struct ph_store *s, const char *script, const char *node,
                  const char *kind)
{
    e->n = 0;
    ph__store_key(e->owner, s->c.prefix, node, "owner");
    push(e, ph_str("EVAL"));
    push(e, ph_str(script));
    push(e, ph_str(kind ? "2" : "1"));
    push(e, ph_str(e->owner));
    if (!kind)
        return;
    ph__store_key(e->hash, s->c.prefix, node, kind);
    push(e, ph_str(e->hash));
}

static int finish(struct eval *e, struct ph_store *s, ph__redis_fn *fn, void *ctx)
{
    const int err = ph_redis_command(redis_of(s), e->arg, e->n, fn, ctx);

    if (!err)
        s->stats.commands++;
    return err;
}

static void push_ttl(struct eval *e, const struct ph_store *s)
{
    push_id(e, e->ttl, (uint64_t)s->c.keep_s * 1000);
}

/* No reply: the connection was lost, or it took too long. */
static const char *no_reply(const struct ph_store *s)
{
    return ph_redis_stats(redis_of(s))->up ? "no answer in time" : NULL;
}

/* --- writing --------------------------------------------------------------------------------------- */

static void on_written(void *ctx, const redisReply *reply)
{
    struct ph__store_slot *slot = ctx;
    char life[PH__STORE_LIFE] = "", why[PH__STORE_WHY] = "";

    if (!reply) {
        ph__store_wrote(slot, PH_E_TIMEOUT, NULL, no_reply(slot->s));
        return;
    }
    const int err = ph__store_reply_life(reply, life, why);
    ph__store_wrote(slot, err, life, why);
}

static int redis_write(struct ph_store *s, struct ph__store_slot *slot)
{
    const struct ph__store_batch *b = &s->w.batch;
    char text[PH__STORE_BATCH][PH__STORE_ID];
    unsigned n = 0;
    struct eval e;

    start(&e, s, script_write, s->c.node, s->w.kind);
    push(&e, ph_str(s->w.token));
    push_ttl(&e, s);
    push_id(&e, e.count, b->n_set);
    for (unsigned i = 0; i < b->n_set; i++) {
        push_id(&e, text[n++], b->set[i].id);
        push(&e, (struct ph_slice){b->bytes + b->set[i].at, b->set[i].n});
    }
    for (unsigned i = 0; i < b->n_del; i++)
        push_id(&e, text[n++], b->del[i]);
    return finish(&e, s, on_written, slot);
}

/* --- claims and removals --------------------------------------------------------------------------- */

/* What the server said goes to the log; that the connection was lost is there already. */
static void say_failed(const struct ph_store *s, int err, const char *what, const char *why)
{
    if (!s->ended && err != PH_E_FORBIDDEN && (err != PH_E_TIMEOUT || no_reply(s)))
        ph_logf(&s->env, PH_LOG_WARN, "%s: %s failed: %s", s->label, what, why);
}

static void fail(struct ph__store_op *op, int err, const char *what, const char *why)
{
    say_failed(op->s, err, what, why);
    ph__store_over(op->s, op, err);
}

static void on_claimed(void *ctx, const redisReply *reply)
{
    struct ph__store_op *op = ctx;
    char why[PH__STORE_WHY] = "no answer in time";
    const int err = reply ? ph__store_reply_token(reply, op->token, why) : PH_E_TIMEOUT;

    if (err)
        fail(op, err, "claiming a node", why);
    else
        ph__store_over(op->s, op, 0);
}

static int redis_claim(struct ph_store *s, const char *node, const char *random,
                       struct ph__store_op *op)
{
    struct eval e;

    start(&e, s, script_claim, node, NULL);
    push(&e, ph_str(random));
    push_ttl(&e, s);
    return finish(&e, s, on_claimed, op);
}

static void on_removed(void *ctx, const redisReply *reply)
{
    struct ph__store_op *op = ctx;
    char why[PH__STORE_WHY] = "no answer in time";
    unsigned count = 0;
    const int err = reply ? ph__store_reply_count(reply, &count, why) : PH_E_TIMEOUT;

    if (err)
        fail(op, err, "removing records", why);
    else
        ph__store_removed(op->s, op, 0, count);
}

static int redis_remove(struct ph_store *s, const struct ph__store_removal *x,
                        struct ph__store_op *op)
{
    char text[PH__STORE_REMOVE][PH__STORE_ID];
    struct eval e;

    start(&e, s, script_remove, x->node, x->kind);
    push(&e, ph_str(x->token));
    for (unsigned i = 0; i < x->n; i++)
        push_id(&e, text[i], x->id[i]);
    return finish(&e, s, on_removed, op);
}

/* --- reading --------------------------------------------------------------------------------------- */

static bool on_entry(void *ctx, struct ph_slice field, struct ph_slice value)
{
    struct ph__store_scan *c = ctx;

    return c->entry(c, field, value);
}

static void on_page(void *ctx, const redisReply *reply)
{
    struct ph__store_scan *c = ctx;
    struct ph_store *s = c->s;
    char why[PH__STORE_WHY] = "no answer in time", key[PH__STORE_KEY], what[PH__STORE_KEY + 8];

    if (s->ended)
        return;
    const int err = reply ? ph__store_reply_page(reply, c->cursor, on_entry, c, why) : PH_E_TIMEOUT;
    if (s->ended)
        return; /* whoever got an entry has freed it */
    if (err) {
        ph__store_key(key, s->c.prefix, c->node, c->kind);
        snprintf(what, sizeof what, "reading %s", key);
        say_failed(s, err, what, why);
    }
    c->page(c, err);
}

static int redis_page(struct ph_store *s, struct ph__store_scan *c)
{
    char longest[PH__STORE_ID], entries[PH__STORE_ID], bytes[PH__STORE_ID];
    struct eval e;

    start(&e, s, script_page, c->node, NULL);
    ph__store_key(e.owner, s->c.prefix, c->node, c->kind);
    e.arg[e.n - 1] = ph_str(e.owner);
    push(&e, ph_str(c->cursor));
    push_id(&e, longest, PH_STORE_VALUE);
    push_id(&e, entries, PH__STORE_PAGE);
    push_id(&e, bytes, PH__STORE_PAGE_BYTES);
    return finish(&e, s, on_page, c);
}

/* --- birth and death ------------------------------------------------------------------------------- */

static bool is_up(struct ph_store *s)
{
    return ph_redis_stats(redis_of(s))->up;
}

static void redis_close(struct ph_store *s)
{
    ph_redis_free(redis_of(s));
}

static const struct ph__store_ops ops = {
    .up = is_up,
    .write = redis_write,
    .page = redis_page,
    .claim = redis_claim,
    .remove = redis_remove,
    .close = redis_close,
};

static void on_link(void *ctx, bool up)
{
    ph__store_link(ctx, up);
}

struct ph_store *ph_store_redis_new(uv_loop_t *loop, const struct ph_redis_conf *redis,
                                    const struct ph_store_conf *c, const struct ph_env *env)
{
    struct back *b = c->keys.n ? malloc(sizeof *b) : NULL;
    struct ph_store *s = b ? ph__store_new(loop, &ops, b, c, env) : NULL;

    if (!s)
        return NULL;
    b->r = ph_redis_new(loop, redis, env);
    if (!b->r) {
        ph_store_free(s);
        return NULL;
    }
    s->sealed = true;
    /* In a cluster a command that is referred to another node may be overtaken by the next: there is none, then. */
    if (redis->mode == PH_REDIS_CLUSTER)
        s->c.flight = 1;
    if (redis->connect_timeout_ms)
        s->patience_ms = redis->connect_timeout_ms;
    snprintf(s->label, sizeof s->label, "%s", ph__redis_name(b->r));
    ph_redis_watch(b->r, on_link, s);
    return s;
}
