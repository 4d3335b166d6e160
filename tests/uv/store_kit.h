/*
 * What the tests of the store share: a writer that keeps a book of records, what a load finds, and waiting for both.
 *
 * A test made with BOTH runs in memory and in Redis: names, claims, writing behind and reading are the same in both.
 */
#ifndef PH_TESTS_UV_STORE_KIT_H
#define PH_TESTS_UV_STORE_KIT_H

#include "stun/base/error.h"
#include "stun/uv/env.h"
#include "turn/store/store.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef PH_HAVE_REDIS
#include "uv/redis_kit.h"
#else
static uv_loop_t loop;
static char rkit_log[16384];
static struct ph_log rkit_sink;
static struct ph_env rkit_env;

static inline void rkit_turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(300);
}

static inline void rkit_run_ms(unsigned ms)
{
    const uint64_t end = uv_hrtime() + ms * UINT64_C(1000000);

    while (uv_hrtime() < end)
        rkit_turn();
}

#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        const uint64_t end_ = uv_hrtime() + 8000 * UINT64_C(1000000);                              \
        while (!(condition) && uv_hrtime() < end_)                                                 \
            rkit_turn();                                                                           \
        cr_assert(condition, "waited in vain for " #condition "; the log:\n%s", rkit_log);         \
    } while (0)

static inline void rkit_line(void *ctx, enum ph_log_level level, const char *line)
{
    const size_t at = strlen(rkit_log);

    (void)ctx;
    snprintf(rkit_log + at, sizeof rkit_log - at, "%d %s\n", (int)level, line);
}

static inline void rkit_setup(void)
{
    uv_loop_init(&loop);
    rkit_sink = (struct ph_log){.fn = rkit_line, .level = PH_LOG_DEBUG};
    rkit_env = ph_env_system(&rkit_sink);
}

static inline void rkit_teardown(void)
{
    cr_expect_eq(uv_loop_close(&loop), 0, "the loop still has handles");
}
#endif

/* As RUN_UNTIL, for what may take long on a busy machine. */
#define SKIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        const uint64_t end_ = uv_hrtime() + 40000 * UINT64_C(1000000);                             \
        while (!(condition) && uv_hrtime() < end_)                                                 \
            rkit_turn();                                                                           \
        cr_assert(condition, "waited in vain for " #condition "; the log:\n%s", rkit_log);         \
    } while (0)

/* --- which store ----------------------------------------------------------------------------------- */

static bool in_redis;
#ifdef PH_HAVE_REDIS
static uint32_t skit_patience_ms = 3000; /* timeouts of the connection */
#endif
static struct ph_store_space *space;

/* A name of the test for each of both; what follows is its body. */
#define BOTH(name)                                                                                 \
    static void both_##name(void);                                                                 \
    Test(uv_store_memory, name)                                                                    \
    {                                                                                              \
        both_##name();                                                                             \
    }                                                                                              \
    Test(uv_store_redis, name)                                                                     \
    {                                                                                              \
        in_redis = true;                                                                           \
        skit_server();                                                                             \
        both_##name();                                                                             \
    }                                                                                              \
    static void both_##name(void)

static inline void skit_server(void)
{
#ifdef PH_HAVE_REDIS
    rkit_server(NULL, NULL);
#else
    cr_skip_test("built without hiredis");
#endif
}

static inline void skit_setup(void)
{
    rkit_setup();
    space = ph_store_space_new();
    cr_assert_not_null(space);
}

static inline void skit_teardown(void)
{
    for (int i = 0; i < 20000 && uv_loop_alive(&loop); i++)
        rkit_turn();
    rkit_teardown();
    ph_store_space_free(space);
}

/* --- a writer -------------------------------------------------------------------------------------- */

struct rec {
    uint64_t id;
    uint32_t version; /* 0: it has ended */
    bool changed;
};

/* The book that a writer keeps, and what it is told. */
struct book {
    struct rec *rec;
    size_t n, cap;
    size_t at;            /* where next goes on */
    size_t n_changed;     /* how many are to be given */
    size_t size;          /* bytes of a record */
    uint64_t first, last; /* numbers that are ours; 0, 0: all */
    unsigned alls, fences, ups, downs;
    bool sparse;
    void (*told)(struct book *b);
    uint8_t *text;
    size_t text_cap;
    struct ph_store *s;
    bool freed;
};

/* What a record of this number and version holds. */
static inline void skit_text(uint8_t *dst, size_t n, uint64_t id, uint32_t version)
{
    char head[48];
    const int len =
        snprintf(head, sizeof head, "record %" PRIu64 " version %" PRIu32 " ", id, version);

    for (size_t i = 0; i < n; i++)
        dst[i] = i < (size_t)len ? (uint8_t)head[i] : (uint8_t)(id * 31 + version * 7 + i);
}

static inline size_t skit_find(const struct book *b, uint64_t id)
{
    if (id && id <= b->n && b->rec[id - 1].id == id)
        return (size_t)id - 1; /* numbers from 1 on, as most tests have them */
    for (size_t i = 0; i < b->n && b->sparse; i++)
        if (b->rec[i].id == id)
            return i;
    return SIZE_MAX;
}

/* A record is made or changed, without a kick. */
static inline void skit_put(struct book *b, uint64_t id)
{
    size_t i = skit_find(b, id);

    if (i == SIZE_MAX) {
        if (b->n == b->cap) {
            b->cap = b->cap ? 2 * b->cap : 64;
            b->rec = realloc(b->rec, b->cap * sizeof *b->rec);
            cr_assert_not_null(b->rec);
        }
        i = b->n++;
        b->sparse |= id != b->n;
        b->rec[i] = (struct rec){.id = id};
    }
    b->rec[i].version++;
    b->n_changed += !b->rec[i].changed;
    b->rec[i].changed = true;
}

static inline void skit_end(struct book *b, uint64_t id)
{
    const size_t i = skit_find(b, id);

    cr_assert_neq(i, SIZE_MAX);
    b->rec[i].version = 0;
    b->n_changed += !b->rec[i].changed;
    b->rec[i].changed = true;
}

/* It ends, and nobody tells the store. */
static inline void skit_end_unseen(struct book *b, uint64_t id)
{
    const size_t i = skit_find(b, id);

    cr_assert_neq(i, SIZE_MAX);
    b->rec[i].version = 0;
    b->n_changed -= b->rec[i].changed;
    b->rec[i].changed = false;
}

static inline bool skit_next(void *ctx, struct ph_store_change *c)
{
    struct book *b = ctx;

    if (!b->n_changed)
        return false;
    while (!b->rec[b->at % b->n].changed)
        b->at++;
    struct rec *r = &b->rec[b->at % b->n];
    r->changed = false;
    b->n_changed--;
    const size_t n = b->size ? b->size : 200;
    if (n > b->text_cap) {
        b->text = realloc(b->text, n);
        b->text_cap = n;
    }
    c->id = r->id;
    if (!r->version)
        return true;
    skit_text(b->text, n, r->id, r->version);
    c->value = (struct ph_slice){b->text, n};
    return true;
}

static inline void skit_all(void *ctx)
{
    struct book *b = ctx;

    b->alls++;
    for (size_t i = 0; i < b->n; i++)
        if (b->rec[i].version && !b->rec[i].changed) {
            b->rec[i].changed = true;
            b->n_changed++;
        }
}

static inline bool skit_has(void *ctx, uint64_t id)
{
    const struct book *b = ctx;
    const size_t i = skit_find(b, id);

    if (b->last && (id < b->first || id > b->last))
        return true; /* another one's */
    return i != SIZE_MAX && b->rec[i].version;
}

static inline void skit_fenced(void *ctx)
{
    struct book *b = ctx;

    b->fences++;
    if (b->told)
        b->told(b);
}

static inline void skit_state(void *ctx, bool up)
{
    struct book *b = ctx;

    *(up ? &b->ups : &b->downs) += 1;
    if (b->told)
        b->told(b);
}

static inline struct ph_store_source skit_source(struct book *b)
{
    return (struct ph_store_source){.next = skit_next, .all = skit_all, .has = skit_has, .ctx = b};
}

static inline struct ph_store_conf skit_conf(const char *node, struct book *b)
{
    struct ph_store_conf c = {
        .keys.n = 1, .gather_ms = 2, .on_fenced = skit_fenced, .on_state = skit_state, .ctx = b};

    snprintf(c.node, sizeof c.node, "%s", node);
    memset(c.keys.secret[0], 0x5A, sizeof c.keys.secret[0]);
    if (!b)
        c.on_fenced = NULL, c.on_state = NULL;
    return c;
}

static inline struct ph_store *skit_open_as(const struct ph_store_conf *c)
{
    struct ph_store *s = NULL;

#ifdef PH_HAVE_REDIS
    if (in_redis) {
        struct ph_redis_conf to = rkit_conf();
        to.connect_timeout_ms = to.command_timeout_ms = skit_patience_ms;
        s = ph_store_redis_new(&loop, &to, c, &rkit_env);
    }
#endif
    if (!in_redis)
        s = ph_store_memory_new(&loop, space, c, &rkit_env);
    cr_assert_not_null(s);
    return s;
}

static inline struct ph_store *skit_open(const char *node, struct book *b)
{
    const struct ph_store_conf c = skit_conf(node, b);
    struct ph_store *s = skit_open_as(&c);

    if (b)
        b->s = s;
    return s;
}

/* Ends a book's handle and forgets the book. */
static inline void skit_close(struct book *b)
{
    if (b->s && !b->freed)
        ph_store_free(b->s);
    free(b->rec);
    free(b->text);
    *b = (struct book){0};
}

/* --- asking and waiting ---------------------------------------------------------------------------- */

struct skit_answer {
    unsigned calls;
    int err;
    char token[PH_STORE_TOKEN];
};

static inline void skit_on_claim(void *ctx, int err, const char *token)
{
    struct skit_answer *a = ctx;

    a->calls++;
    a->err = err;
    snprintf(a->token, sizeof a->token, "%s", token);
}

static inline void skit_on_done(void *ctx, int err)
{
    struct skit_answer *a = ctx;

    a->calls++;
    a->err = err;
}

static inline int skit_try_claim(struct ph_store *s, const char *node,
                                 char token[static PH_STORE_TOKEN])
{
    struct skit_answer a = {0};

    ph_store_claim(s, node, skit_on_claim, &a);
    cr_assert_eq(a.calls, 0, "answered from within");
    SKIT_UNTIL(a.calls == 1);
    memcpy(token, a.token, PH_STORE_TOKEN);
    return a.err;
}

static inline void skit_claim(struct ph_store *s, const char *node,
                              char token[static PH_STORE_TOKEN])
{
    const int err = skit_try_claim(s, node, token);

    cr_assert_eq(err, 0, "%s\n%s", ph_strerror(err), rkit_log);
    cr_assert_gt(strlen(token), 20);
}

static inline int skit_flush(struct ph_store *s, uint32_t timeout_ms)
{
    struct skit_answer a = {0};

    ph_store_flush(s, timeout_ms, skit_on_done, &a);
    cr_assert_eq(a.calls, 0, "answered from within");
    SKIT_UNTIL(a.calls == 1);
    return a.err;
}

static inline int skit_remove(struct ph_store *s, const char *node, const char *token,
                              const uint64_t *id, unsigned n)
{
    struct skit_answer a = {0};

    ph_store_remove(s, node, "alloc", token, id, n, skit_on_done, &a);
    cr_assert_eq(a.calls, 0, "answered from within");
    SKIT_UNTIL(a.calls == 1);
    return a.err;
}

/* A book that writes: claimed, with records 1 to n, all of them stored. */
static inline void skit_begin(struct book *b, const char *node, uint64_t n,
                              char token[static PH_STORE_TOKEN])
{
    const struct ph_store_source from = skit_source(b);

    if (!b->s)
        skit_open(node, b);
    skit_claim(b->s, node, token);
    for (uint64_t id = 1; id <= n; id++)
        skit_put(b, id);
    cr_assert_eq(ph_store_write(b->s, "alloc", token, &from), 0);
    const int err = skit_flush(b->s, 30000);
    cr_assert_eq(err, 0, "%s\n%s", ph_strerror(err), rkit_log);
}

/* Changes or makes a record and says so. */
static inline void skit_change(struct book *b, uint64_t id)
{
    skit_put(b, id);
    ph_store_kick(b->s);
}

/* --- what a load finds ----------------------------------------------------------------------------- */

struct found {
    struct skit_answer a;
    unsigned n, broken, twice;
    uint64_t sum;      /* of the numbers */
    uint32_t *version; /* by number, up to 200000 */
    struct ph_store *s;
    bool free_in_each;
};

enum { SKIT_IDS = 200001 };

static inline void skit_on_each(void *ctx, uint64_t id, struct ph_slice value)
{
    struct found *f = ctx;
    uint8_t want[4096];
    char head[64] = "";
    uint32_t version = 0;
    uint64_t of = 0;

    cr_assert_eq(f->a.calls, 0, "done comes last");
    memcpy(head, value.p, value.n < 63 ? value.n : 63);
    f->broken +=
        sscanf(head, "record %" SCNu64 " version %" SCNu32, &of, &version) != 2 || of != id;
    if (value.n <= sizeof want) {
        skit_text(want, value.n, id, version);
        f->broken += memcmp(want, value.p, value.n) != 0;
    }
    f->n++;
    f->sum += id;
    if (id < SKIT_IDS) {
        f->twice += f->version[id] != 0;
        f->version[id] = version;
    }
    if (f->free_in_each)
        ph_store_free(f->s);
}

static inline void skit_found_fini(struct found *f)
{
    free(f->version);
    f->version = NULL;
}

/* Reads everything; the caller frees what was found. */
static inline struct found skit_load(struct ph_store *s, const char *node)
{
    struct found f = {.version = calloc(SKIT_IDS, sizeof *f.version)};

    ph_store_load(s, node, "alloc", skit_on_each, skit_on_done, &f);
    cr_assert(f.a.calls == 0 && f.n == 0, "answered from within");
    SKIT_UNTIL(f.a.calls == 1);
    cr_expect_eq(f.broken, 0);
    return f;
}

/* What is stored is what the book says, no more and no less. */
#define EXPECT_STORED(s, node, book)                                                               \
    do {                                                                                           \
        struct found f_ = skit_load(s, node);                                                      \
        size_t want_ = 0, wrong_ = 0;                                                              \
        for (size_t i_ = 0; i_ < (book)->n; i_++) {                                                \
            const struct rec *r_ = &(book)->rec[i_];                                               \
            want_ += r_->version != 0;                                                             \
            wrong_ += r_->id < SKIT_IDS && f_.version[r_->id] != r_->version;                      \
        }                                                                                          \
        cr_expect_eq(f_.a.err, 0, "%s\n%s", ph_strerror(f_.a.err), rkit_log);                      \
        cr_expect_eq(f_.n, want_, "%u records, not %zu\n%s", f_.n, want_, rkit_log);               \
        cr_expect_eq(wrong_, 0, "%zu records are not as they should be", wrong_);                  \
        skit_found_fini(&f_);                                                                      \
    } while (0)

static inline unsigned skit_lines(const char *text)
{
    unsigned n = 0;

    for (const char *p = rkit_log; (p = strstr(p, text)); p++)
        n++;
    return n;
}

#endif
