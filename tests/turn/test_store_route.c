/*
 * Where commands go in a cluster: slots of keys, keys of commands, and what nodes say of slots, replies made by hand.
 */
#ifdef PH_HAVE_REDIS
#include "stun/base/error.h"
#include "turn/store/redis_priv.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned slot(const char *key)
{
    return ph__route_slot(ph_str(key));
}

/* What `redis-cli CLUSTER KEYSLOT` says. */
Test(turn_store_route, slots_of_keys)
{
    cr_expect_eq(slot("123456789"), 0x31C3, "the vector of the specification");
    cr_expect_eq(slot("foo"), 12182);
    cr_expect_eq(slot("bar"), 5061);
    cr_expect_eq(slot(""), 0);
    cr_expect_eq(slot("turn/realm/north.gov/secret"), 7966);
    cr_expect_eq(ph__route_slot((struct ph_slice){(const uint8_t *)"\xff\0\x80", 3}), 7915);
}

Test(turn_store_route, hash_tags)
{
    cr_expect_eq(slot("{user1000}.following"), slot("user1000"));
    cr_expect_eq(slot("x{foo}y"), slot("foo"));
    cr_expect_eq(slot("foo{}{bar}"), 8363, "an empty one is none");
    cr_expect_eq(slot("foo{{bar}}zap"), slot("{bar"));
    cr_expect_eq(slot("foo{bar}{zap}"), slot("bar"));
    cr_expect_eq(slot("foo{bar"), 15278, "one that is open is none");
    cr_expect_eq(slot("foo}bar{"), 11073);
}

/* A command as text.  -2: it has a key other than k. */
static int route(const char *text)
{
    struct ph_slice args[16];
    unsigned n = 0;

    for (const char *p = text; *p && n < 16; p += strspn(p, " ")) {
        args[n] = (struct ph_slice){(const uint8_t *)p, strcspn(p, " ")};
        p += args[n++].n;
    }
    const int got = ph__route_of(args, n);
    return got == PH__REDIS_ANY || got == (int)slot("k") ? got : -2;
}

Test(turn_store_route, keys_of_commands)
{
    static const char *const with[] = {
        "GET k",
        "set k v",
        "MGET k k2",
        "HSET k f v",
        "Eval script 1 k a",
        "EVALSHA abc 2 k k2 a",
        "FCALL f 1 k",
        "EVAL_RO s 1 k",
        "XREAD COUNT 2 BLOCK 0 STREAMS k 0",
        "XREAD streams k 0",
        "XREADGROUP GROUP STREAMS x STREAMS k >",
        "XADD k * f v",
        "XGROUP CREATE k g $",
        "OBJECT ENCODING k",
        "BITOP AND k a b",
        "ZUNION 2 k k2",
        "SPUBLISH k m",
        "unheard-of k",
    };
    static const char *const without[] = {
        "PING",          "PING k",          "ECHO k",      "PUBLISH k m",   "SCAN 0 MATCH k",
        "EVAL script 0", "EVAL script 0 k", "EVAL script", "XREAD COUNT 1", "XREAD STREAMS",
        "SCRIPT LOAD x", "CLUSTER SLOTS",   "TIME",        "GET",           "XGROUP CREATE",
    };

    for (size_t i = 0; i < sizeof with / sizeof *with; i++)
        cr_expect_eq(route(with[i]), (int)slot("k"), "%s", with[i]);
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        cr_expect_eq(route(without[i]), PH__REDIS_ANY, "%s", without[i]);
    cr_expect_eq(ph__route_of(NULL, 0), PH__REDIS_ANY);
}

Test(turn_store_route, redirections)
{
    struct ph__redirect to;

    cr_assert(ph__route_redirect("MOVED 3999 127.0.0.1:6381", &to));
    cr_expect(!to.ask && to.slot == 3999 && to.at.port == 6381);
    cr_expect_str_eq(to.at.host, "127.0.0.1");
    cr_assert(ph__route_redirect("ASK 0 2001:db8::1:7", &to));
    cr_expect(to.ask && to.slot == 0 && to.at.port == 7);
    cr_expect_str_eq(to.at.host, "2001:db8::1");
    cr_assert(ph__route_redirect("MOVED 16383 :6381", &to));
    cr_expect_str_eq(to.at.host, "", "the one that said so");
}

Test(turn_store_route, what_is_no_redirection)
{
    static char huge[400] = "MOVED 1 ";
    static const char *const text[] = {
        "",
        "MOVED",
        "MOVED ",
        "MOVED 1",
        "MOVED 1 ",
        "MOVED 1 a",
        "MOVED 1 a:",
        "MOVED 1 a:0",
        "MOVED 1 a:65536",
        "MOVED 1 a:99999999999",
        "MOVED 1 a:1x",
        "MOVED 16384 a:1",
        "MOVED -1 a:1",
        "MOVED x a:1",
        "MOVED  a:1",
        "MOVED 1 a b:1",
        "MOVED 99999999999999 a:1",
        "ASKING 1 a:1",
        "ERR MOVED 1 a:1",
        huge,
    };
    struct ph__redirect to;

    memset(huge + 8, 'h', 300);
    strcpy(huge + 308, ":1");
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        cr_expect(!ph__route_redirect(text[i], &to), "%s", text[i]);
}

/* --- maps, as bytes of the protocol ---------------------------------------------------------------- */

static int read_map(const char *bytes, struct ph__slots *out)
{
    redisReader *r = redisReaderCreate();
    redisReply *reply = NULL;

    redisReaderFeed(r, bytes, strlen(bytes));
    cr_assert(redisReaderGetReply(r, (void **)&reply) == REDIS_OK && reply, "%s", bytes);
    const int err = ph__route_slots(reply, "asked", out);
    freeReplyObject(reply);
    redisReaderFree(r);
    return err;
}

static struct ph__slots map;

Test(turn_store_route, a_map)
{
    cr_assert_eq(read_map("*3\r\n"
                          "*4\r\n:0\r\n:5460\r\n"
                          "*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*0\r\n"
                          "*3\r\n$9\r\n127.0.0.1\r\n:7003\r\n$2\r\nid\r\n"
                          "*3\r\n:5461\r\n:16382\r\n*3\r\n$-1\r\n:7001\r\n$2\r\nid\r\n"
                          "*3\r\n:16383\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n",
                          &map),
                 0);
    cr_assert_eq(map.n_hosts, 2);
    cr_expect_str_eq(map.host[0].host, "127.0.0.1");
    cr_expect_eq(map.host[0].port, 7000);
    cr_expect_str_eq(map.host[1].host, "asked", "nil: the one that was asked");
    cr_expect(map.of[0] == 0 && map.of[5460] == 0 && map.of[5461] == 1 && map.of[16382] == 1 &&
              map.of[16383] == 0);
}

Test(turn_store_route, a_map_with_holes_and_without_names)
{
    cr_assert_eq(read_map("*2\r\n*3\r\n:5\r\n:5\r\n*2\r\n$0\r\n\r\n:7000\r\n"
                          "*3\r\n:7\r\n:8\r\n*2\r\n$1\r\n?\r\n:7000\r\n",
                          &map),
                 0);
    cr_expect_eq(map.n_hosts, 1);
    cr_expect(map.of[4] == 255 && map.of[5] == 0 && map.of[6] == 255 && map.of[8] == 0);
    cr_assert_eq(read_map("*0\r\n", &map), 0);
    cr_expect_eq(map.n_hosts, 0);
}

Test(turn_store_route, what_is_no_map)
{
    static const char *const bytes[] = {
        ":1\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:-1\r\n:5\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:6\r\n:5\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n$1\r\n0\r\n:5\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n$1\r\na\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*1\r\n$1\r\na\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n:1\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\na\r\n:0\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\na\r\n:65536\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n",
    };

    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        cr_expect_eq(read_map(bytes[i], &map), PH_E_FORMAT, "%s", bytes[i]);
}

Test(turn_store_route, more_masters_than_there_is_room_for)
{
    static char bytes[16384];
    size_t n = 0;

    for (int masters = PH__REDIS_NODES; masters <= PH__REDIS_NODES + 1; masters++) {
        n = (size_t)snprintf(bytes, sizeof bytes, "*%d\r\n", masters);
        for (int i = 0; i < masters; i++)
            n += (size_t)snprintf(bytes + n, sizeof bytes - n,
                                  "*3\r\n:%d\r\n:%d\r\n*2\r\n$1\r\na\r\n:%d\r\n", i, i, i + 1);
        cr_expect_eq(read_map(bytes, &map), masters > PH__REDIS_NODES ? PH_E_LIMIT : 0);
    }
}
#else
#include <criterion/criterion.h>

Test(turn_store_route, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
