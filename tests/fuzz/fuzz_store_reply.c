/*
 * What others may have put where our records are, and what calls itself Redis.  'R' first: any bytes as what a server says,
 * taken by hiredis' reader as ph_redis does, as the answer of each of the store's scripts.  'S' first: a record that was
 * sealed by us, changed in any way: it does not open.  Anything else: a field and a value.
 */
#include "fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef PH_HAVE_REDIS
#include "stun/base/error.h"
#include "turn/store/redis.h"
#include "turn/store/store_redis_priv.h"

#include <hiredis/hiredis.h>

static struct ph_fleet_keys keys = {.n = 2, .secret = {{1}, {2}}};

/* Nothing here is to be secret: a record is the same in every run. */
static void count_up(void *ctx, void *dst, size_t n)
{
    uint8_t *p = dst;

    (void)ctx;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)i;
}

static int check_entry(struct ph_slice field, struct ph_slice value)
{
    uint64_t id = 0;
    uint8_t *room = malloc(value.n ? value.n : 1); /* no byte more */
    const int n = ph__store_entry(&keys, "node", "alloc", field, value, &id, room);
    char text[PH__STORE_ID];

    CHECK(n > 0 ? (size_t)n < value.n : n == PH_E_AUTH || n == PH_E_FORMAT);
    if (n > 0) { /* one record, one field */
        const size_t len = ph__store_id_write(text, id);
        CHECK(ph_slice_eq(field, (struct ph_slice){(const uint8_t *)text, len}));
    }
    free(room);
    return n;
}

/* --- replies --------------------------------------------------------------------------------------- */

static bool on_entry(void *ctx, struct ph_slice field, struct ph_slice value)
{
    check_entry(field, value);
    return ++*(unsigned *)ctx < 100;
}

static void check_why(int err, const char *why)
{
    CHECK(err == 0 || err == PH_E_REFUSED || err == PH_E_FORMAT || err == PH_E_FORBIDDEN);
    for (const char *p = why; err && *p; p++)
        CHECK((unsigned char)*p >= 0x20 && *p != 0x7F);
    CHECK(!err || (*why && memchr(why, 0, PH__STORE_WHY)));
}

static void check_reply(const redisReply *reply)
{
    char life[PH__STORE_LIFE] = "", token[PH_STORE_TOKEN] = "", cursor[PH__STORE_LIFE] = "0";
    char why[PH__STORE_WHY];
    unsigned count = 0, entries = 0;

    memset(why, 'x', sizeof why);
    int err = ph__store_reply_life(reply, life, why);
    check_why(err, why);
    CHECK(err ? !*life : *life && memchr(life, 0, sizeof life));
    err = ph__store_reply_token(reply, token, why);
    check_why(err, why);
    CHECK(err ? !*token : ph__store_token_ok(ph_str(token)));
    err = ph__store_reply_count(reply, &count, why);
    check_why(err, why);
    CHECK(count <= PH__STORE_REMOVE);
    err = ph__store_reply_page(reply, cursor, on_entry, &entries, why);
    check_why(err, why);
    CHECK(!err || !entries);
    CHECK(*cursor && memchr(cursor, 0, sizeof cursor) && !cursor[strspn(cursor, "0123456789")]);
}

/* The array is made only if it is small: what ph_redis does in its reader. */
static void *(*make_array)(const redisReadTask *, int);
static void *bounded_array(const redisReadTask *t, int n)
{
    return n > PH_REDIS_ELEMENTS ? NULL : make_array(t, n);
}

static void check_replies(const uint8_t *data, size_t size)
{
    redisReader *r = redisReaderCreate();
    redisReplyObjectFunctions fn = *r->fn;
    redisReply *reply;

    make_array = fn.createArray;
    fn.createArray = bounded_array;
    r->fn = &fn;
    if (redisReaderFeed(r, (const char *)data, size) == REDIS_OK)
        while (redisReaderGetReply(r, (void **)&reply) == REDIS_OK && reply) {
            check_reply(reply);
            freeReplyObject(reply);
        }
    redisReaderFree(r);
}

/* --- changed records ------------------------------------------------------------------------------- */

/* Where and with what, three bytes each; the rest is put behind. */
static void check_changed(struct fuzz_in *in)
{
    static const char plain[] = "a record of an allocation, more or less";
    const struct ph_env env = {.rand = count_up};
    uint8_t sealed[sizeof plain + PH_FLEET_SEAL_ROOM + 64], was[sizeof sealed];
    int n = ph_fleet_seal(&keys, sealed, ph_str("node/alloc/7"), ph_str(plain), &env);

    CHECK(n > (int)sizeof plain);
    memcpy(was, sealed, (size_t)n);
    const size_t whole = (size_t)n;
    size_t len = fuzz_u8(in) ? whole : fuzz_u8(in) % (whole + 1);
    for (unsigned k = fuzz_u8(in) % 8; k > 0 && len; k--)
        sealed[fuzz_u16(in) % len] ^= fuzz_u8(in);
    const size_t more = in->n < 64 ? in->n : 64;
    fuzz_bytes(in, sealed + len, more);
    len += more;
    const bool same = len == whole && memcmp(sealed, was, len) == 0;
    n = check_entry(ph_str("7"), (struct ph_slice){sealed, len});
    CHECK(same ? n == (int)strlen(plain) : n < 0);
    CHECK(check_entry(ph_str("8"), (struct ph_slice){sealed, len}) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = {data, size};

    switch (fuzz_u8(&in)) {
    case 'R':
        check_replies(in.p, in.n);
        break;
    case 'S':
        check_changed(&in);
        break;
    default: {
        const size_t n = in.n < 20 ? in.n : fuzz_u8(&in) % 24;
        const size_t field = n < in.n ? n : in.n;
        check_entry((struct ph_slice){in.p, field}, (struct ph_slice){in.p + field, in.n - field});
    }
    }
    return 0;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    return 0;
}
#endif
