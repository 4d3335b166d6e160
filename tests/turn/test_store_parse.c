/*
 * Addresses of Redis servers in every spelling, and replies as users and keys: no server here, replies are made by hand.
 */
#ifdef PH_HAVE_REDIS
#include "stun/base/error.h"
#include "support/oom.h"
#include "turn/store/users_priv.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct ph_redis_conf parse(const char *text)
{
    struct ph_redis_conf c;
    char why[PH_REDIS_WHY];

    cr_assert_eq(ph_redis_parse(&c, text, why), 0, "%s: %s", text, why);
    return c;
}

static void expect_bad(const char *text, const char *says)
{
    struct ph_redis_conf c = {.db = 77};
    char why[PH_REDIS_WHY] = "";

    cr_expect_eq(ph_redis_parse(&c, text, why), PH_E_FORMAT, "%s", text);
    cr_expect(strstr(why, says), "%s: \"%s\" does not say \"%s\"", text, why, says);
    cr_expect_eq(c.db, 77, "touched for %s", text);
    cr_expect(!strstr(why, "hunter2"), "%s", why);
}

Test(turn_store, nothing_means_the_usual_place)
{
    const struct ph_redis_conf c = parse("");

    cr_expect_str_eq(c.host, "127.0.0.1");
    cr_expect_eq(c.port, 6379);
    cr_expect_eq(c.db, 0);
    cr_expect_eq(c.connect_timeout_ms, 3000);
    cr_expect_eq(c.command_timeout_ms, 3000);
    cr_expect(!c.user[0] && !c.password[0] && !c.path[0]);
}

Test(turn_store, urls)
{
    struct ph_redis_conf c = parse("redis://turn:p%40ss%2Fw%20d@db.example:7000/3");

    cr_expect_str_eq(c.host, "db.example");
    cr_expect_eq(c.port, 7000);
    cr_expect_eq(c.db, 3);
    cr_expect_str_eq(c.user, "turn");
    cr_expect_str_eq(c.password, "p@ss/w d");
    c = parse("redis://[2001:db8::7]:7001");
    cr_expect_str_eq(c.host, "2001:db8::7");
    cr_expect_eq(c.port, 7001);
    cr_expect_str_eq(parse("redis://[::1]").host, "::1");
    c = parse("redis://:a@b@h");
    cr_expect_str_eq(c.password, "a@b");
    cr_expect_str_eq(c.host, "h");
    cr_expect_str_eq(c.user, "");
    cr_expect_str_eq(parse("REDIS://h/").host, "h");
    cr_expect_str_eq(parse("redis://").host, "127.0.0.1");
    cr_expect_eq(parse("redis:///4").db, 4);
    c = parse("redis://h/1?timeout=7&command_timeout=1&password=a%26b");
    cr_expect_eq(c.connect_timeout_ms, 7000);
    cr_expect_eq(c.command_timeout_ms, 1000);
    cr_expect_str_eq(c.password, "a&b");
}

Test(turn_store, unix_sockets)
{
    struct ph_redis_conf c = parse("unix:/run/redis/redis.sock");

    cr_expect_str_eq(c.path, "/run/redis/redis.sock");
    cr_expect_str_eq(c.host, "");
    c = parse("unix:///run/redis/redis.sock?db=2&password=x");
    cr_expect_str_eq(c.path, "/run/redis/redis.sock");
    cr_expect_eq(c.db, 2);
    cr_expect_str_eq(c.password, "x");
    cr_expect_str_eq(parse("path=/a dbname=1").path, "/a");
    cr_expect_str_eq(parse("host=/a").path, "/a");
    cr_expect_str_eq(parse("host=/a ip=10.0.0.1").path, "", "the last one counts");
}

Test(turn_store, coturns_string_with_all_its_names)
{
    static const char *const host[] = {"host", "ip", "addr", "ipaddr", "hostaddr"};
    static const char *const db[] = {"dbname", "db", "database"};
    static const char *const user[] = {"user", "uname", "name", "username"};
    static const char *const password[] = {"password", "pwd", "passwd", "secret"};
    static const char *const port[] = {"port", "p"};
    static const char *const timeout[] = {"connect_timeout", "timeout"};

    for (unsigned i = 0; i < 60; i++) {
        char text[256];
        snprintf(text, sizeof text, "  %s=10.1.2.3 %s=5  %s=me %s=a=b;c %s=7777 %s=30 ",
                 host[i % 5], db[i % 3], user[i % 4], password[i / 3 % 4], port[i % 2],
                 timeout[i / 2 % 2]);
        const struct ph_redis_conf c = parse(text);
        cr_expect_str_eq(c.host, "10.1.2.3");
        cr_expect_eq(c.db, 5);
        cr_expect_str_eq(c.user, "me");
        cr_expect_str_eq(c.password, "a=b;c");
        cr_expect_eq(c.port, 7777);
        cr_expect_eq(c.connect_timeout_ms, 30000);
    }
    cr_expect_str_eq(parse("ip=::1 user=alone").user, "", "coturn ignored it");
    cr_expect_eq(parse("timeout=0").connect_timeout_ms, 3000);
}

Test(turn_store, what_is_wrong_is_said_and_never_the_password)
{
    static const char long_password[] =
        "password="
        "hunter2xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxx";

    expect_bad("rediss://:hunter2@h?tls=no", "contradict");
    expect_bad("ip=1.2.3.4 tls=perhaps", "yes or no");
    expect_bad("ip=1.2.3.4 tls=yes verify=hunter2", "peer");
    expect_bad("ip=1.2.3.4 verify=none", "rediss://");
    expect_bad("ip=1.2.3.4 ca=/x", "tls=yes");
    expect_bad("redis://h?sni=a", "tls=yes");
    expect_bad("rediss://h?key=/hunter2", "goes with a cert");
    expect_bad("rediss://h?sni=hun%20ter", "character");
    expect_bad("unix:/a?tls=yes", "goes without");
    expect_bad("127.0.0.1:6379", "redis://host:port/db");
    expect_bad("password=a hunter2", "pair 2 is not name=value");
    expect_bad("password=a hunter2=x", "pair 2 has a name that is not known");
    expect_bad("dbname=zero", "number");
    expect_bad("port=0", "1 to 65535");
    expect_bad("port=65536", "1 to 65535");
    expect_bad("port=99999999999999999999", "1 to 65535");
    expect_bad("timeout=-1", "seconds");
    expect_bad("host=", "empty");
    expect_bad("host=a;b", "character");
    expect_bad("redis://:hunter2%zz@h", "hexadecimal");
    expect_bad("redis://:hunter2%00@h", "not by 00");
    expect_bad("redis://:hunter2@h:x", "port");
    expect_bad("redis://:hunter2@::1", "brackets");
    expect_bad("redis://:hunter2@[::1", "[::1]");
    expect_bad("redis://[::1]6379", "[::1]");
    expect_bad("redis://h/x", "number");
    expect_bad("redis://h#x", "%23");
    expect_bad("redis://h?hunter2", "parameter 1");
    expect_bad("redis://h?color=hunter2", "not known");
    expect_bad("redis://%2Fa", "unix:/path");
    expect_bad("unix:relative", "begin with '/'");
    expect_bad("unix:", "begin with '/'");
    expect_bad(
        "unix:/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxx",
        "at most 107");
    expect_bad("ip=1.2.3.4\npassword=hunter2", "control character");
    expect_bad(long_password, "too long: at most 255");
}

Test(turn_store, tls)
{
    struct ph_redis_conf c = parse("rediss://u:p@h:6390/1?ca=/etc/ca.pem&capath=/etc/certs&cert=/c."
                                   "pem&clientkey=/k.pem&sni=db.example");

    cr_expect(c.tls && !c.no_verify && c.db == 1 && c.port == 6390);
    cr_expect_str_eq(c.ca, "/etc/ca.pem");
    cr_expect_str_eq(c.capath, "/etc/certs");
    cr_expect_str_eq(c.cert, "/c.pem");
    cr_expect_str_eq(c.key, "/k.pem");
    cr_expect_str_eq(c.sni, "db.example");
    cr_expect(parse("rediss://h?verify=none").no_verify);
    cr_expect(!parse("rediss://h?verify=none&verify=peer").no_verify);
    cr_expect(parse("valkeys://h").tls && !parse("valkey://h").tls && !parse("redis://h").tls);
    cr_expect(parse("redis://h?tls=yes").tls);
    cr_expect_eq(parse("rediss://h").port, 6379);
}

Test(turn_store, tls_in_coturns_string)
{
    static const char *const tls[] = {"tls=yes", "ssl=1", "tls=true", "ssl=on"};
    static const char *const ca[] = {"ca", "cacert", "tls-ca"};
    static const char *const cert[] = {"cert", "tls-cert"};
    static const char *const key[] = {"clientkey", "key", "tls-key"};
    static const char *const sni[] = {"sni", "servername", "tls-sni"};

    for (unsigned i = 0; i < 12; i++) {
        char text[256];
        snprintf(text, sizeof text, "ip=10.1.2.3 %s=/a %s=/c %s=/k %s=name verify=peer %s",
                 ca[i % 3], cert[i % 2], key[i / 2 % 3], sni[i / 3 % 3], tls[i % 4]);
        const struct ph_redis_conf c = parse(text);
        cr_expect(c.tls && !c.no_verify, "%s", text);
        cr_expect_str_eq(c.ca, "/a");
        cr_expect_str_eq(c.cert, "/c");
        cr_expect_str_eq(c.key, "/k");
        cr_expect_str_eq(c.sni, "name");
    }
    cr_expect_str_eq(parse("ip=1.2.3.4 tls=no ssl=0 tls=").host, "1.2.3.4");
    cr_expect(!parse("ip=1.2.3.4 tls=no ca=/x verify=none").tls, "said to be off");
}

/* --- several hosts --------------------------------------------------------------------------------- */

Test(turn_store, sentinels)
{
    struct ph_redis_conf c = parse("redis+sentinel://u:p@a:1,[::1]:2,c/my-master_1.x/3?sentinel-"
                                   "user=su&sentinel-password=sp");

    cr_expect_eq(c.mode, PH_REDIS_SENTINEL);
    cr_expect_str_eq(c.host, "a");
    cr_expect_eq(c.port, 1);
    cr_assert_eq(c.n_more, 2);
    cr_expect_str_eq(c.more[0].host, "::1");
    cr_expect_eq(c.more[0].port, 2);
    cr_expect_str_eq(c.more[1].host, "c");
    cr_expect_eq(c.more[1].port, 26379);
    cr_expect_str_eq(c.master, "my-master_1.x");
    cr_expect_eq(c.db, 3);
    cr_expect_str_eq(c.user, "u");
    cr_expect_str_eq(c.sentinel_user, "su");
    cr_expect_str_eq(c.sentinel_password, "sp");
    c = parse("rediss+sentinel://a/m");
    cr_expect(c.tls && c.port == 26379 && c.db == 0 && !c.n_more);
    cr_expect_eq(parse("redis+sentinel://a/m/").db, 0);
    cr_expect_eq(parse("redis+sentinel://a,b,c,d,e,f,g,h/m").n_more, 7);
    cr_expect_str_eq(parse("redis+sentinel://a/m?sentinel-user=alone").sentinel_user, "");
    cr_expect_str_eq(parse("redis+sentinel:///m").host, "127.0.0.1");
}

Test(turn_store, clusters)
{
    struct ph_redis_conf c = parse("redis+cluster://:p@a,b:7001");

    cr_expect_eq(c.mode, PH_REDIS_CLUSTER);
    cr_expect_eq(c.port, 6379);
    cr_assert_eq(c.n_more, 1);
    cr_expect_str_eq(c.more[0].host, "b");
    cr_expect_eq(c.more[0].port, 7001);
    cr_expect(parse("rediss+cluster://a/0").tls);
    cr_expect_eq(parse("REDIS+CLUSTER://a/").n_more, 0);
}

Test(turn_store, what_does_not_go_together)
{
    expect_bad("redis://a,b", "redis+sentinel://");
    expect_bad("redis+sentinel://a", "NAME");
    expect_bad("redis+sentinel://:hunter2@a/", "NAME");
    expect_bad("redis+sentinel://a/hunter2!", "character");
    expect_bad("redis+sentinel://a/m/x", "number");
    expect_bad("redis+sentinel://a,,b/m", "empty");
    expect_bad("redis+sentinel://a,/m", "empty");
    expect_bad("redis+sentinel://a,b:0/m", "1 to 65535");
    expect_bad("redis+sentinel://a,b:c:d/m", "brackets");
    expect_bad("redis+sentinel://a,b;c/m", "character");
    expect_bad("redis+sentinel://a,b,c,d,e,f,g,h,i/m", "at most 8");
    expect_bad("redis+sentinel://a/m?path=/x", "UNIX socket");
    expect_bad("redis+cluster://a/1", "database but 0");
    expect_bad("redis+cluster://a?db=2", "database but 0");
    expect_bad("redis+cluster://a?path=/x", "UNIX socket");
    expect_bad("redis+cluster://a?sentinel-password=hunter2", "redis+sentinel://");
    expect_bad("ip=1.2.3.4 sentinel-user=x", "redis+sentinel://");
    expect_bad("redis+nothing://a", "redis+cluster://");
}

/* --- replies --------------------------------------------------------------------------------------- */

#define HEX "bc807ee29df3c9ffa736523fb2c4e8ee"

static redisReply string(const char *text)
{
    return (redisReply){.type = REDIS_REPLY_STRING, .str = (char *)text, .len = strlen(text)};
}

static redisReply error(const char *text)
{
    return (redisReply){.type = REDIS_REPLY_ERROR, .str = (char *)text, .len = strlen(text)};
}

static redisReply nil(void)
{
    return (redisReply){.type = REDIS_REPLY_NIL};
}

/* An array of texts; NULL stands for nil. */
static struct array {
    redisReply of[8], *at[8], reply;
} array(const char *a, const char *b, const char *c)
{
    const char *v[] = {a, b, c};
    struct array x = {0};

    for (unsigned i = 0; i < 3; i++)
        x.of[i] = v[i] ? string(v[i]) : nil();
    x.reply = (redisReply){.type = REDIS_REPLY_ARRAY, .elements = 3};
    return x;
}

static const redisReply *whole(struct array *x)
{
    for (unsigned i = 0; i < x->reply.elements; i++)
        x->at[i] = &x->of[i];
    x->reply.element = x->at;
    return &x->reply;
}

static enum ph_userdb_result convert(redisReply key, const char *bps, const char *quota,
                                     const char *expires, struct ph_userdb_user *u)
{
    struct array limits = array(bps, quota, expires);
    const char *why;

    return ph__users_convert(&key, whole(&limits), u, &why);
}

Test(turn_store, users)
{
    struct ph_userdb_user u;

    cr_assert_eq(convert(string(HEX), "1", "2", "3", &u), PH_USERDB_FOUND);
    cr_expect(u.key[0] == 0xbc && u.key[15] == 0xee && u.max_bps == 1 && u.max_allocations == 2 &&
              u.expires_s == 3);
    cr_assert_eq(convert(string("BC807EE29DF3C9FFA736523FB2C4E8EE and more"), NULL, NULL, NULL, &u),
                 PH_USERDB_FOUND);
    cr_expect(u.key[0] == 0xbc && u.max_bps == 0 && u.expires_s == INT64_MAX);
    cr_expect_eq(convert(string(HEX), " 18446744073709551615\n", "4294967295", "0", &u),
                 PH_USERDB_FOUND);
    cr_expect(u.max_bps == UINT64_MAX && u.max_allocations == UINT32_MAX &&
              u.expires_s == INT64_MAX);
}

Test(turn_store, what_is_no_user)
{
    struct ph_userdb_user u = {.max_bps = 9};
    const redisReply key = string(HEX), wrong = error("WRONGTYPE Operation against a key"),
                     loading = error("LOADING"), none = nil();
    struct array limits = array(NULL, NULL, NULL), two = array(NULL, NULL, NULL);
    const char *why;

    cr_expect_eq(convert(nil(), NULL, NULL, NULL, &u), PH_USERDB_NONE);
    cr_expect_eq(convert(string("bc80"), NULL, NULL, NULL, &u), PH_USERDB_NONE);
    cr_expect_eq(convert(string("gc807ee29df3c9ffa736523fb2c4e8ee"), NULL, NULL, NULL, &u),
                 PH_USERDB_NONE);
    cr_expect_eq(convert(string("\x10"
                                "c807ee29df3c9ffa736523fb2c4e8ee"),
                         NULL, NULL, NULL, &u),
                 PH_USERDB_NONE, "not a digit though 0x20 more would be one");
    cr_expect_eq(convert(string(HEX), "18446744073709551616", NULL, NULL, &u), PH_USERDB_NONE);
    cr_expect_eq(convert(string(HEX), NULL, "4294967296", NULL, &u), PH_USERDB_NONE);
    cr_expect_eq(convert(string(HEX), NULL, NULL, "9223372036854775808", &u), PH_USERDB_NONE);
    cr_expect_eq(convert(string(HEX), "", NULL, NULL, &u), PH_USERDB_NONE);
    cr_expect_eq(convert(string(HEX), "1k", NULL, NULL, &u), PH_USERDB_NONE);
    cr_expect_eq(ph__users_convert(&key, &wrong, &u, &why), PH_USERDB_NONE);
    cr_expect_not_null(why);
    two.reply.elements = 2;
    cr_expect_eq(ph__users_convert(&key, whole(&two), &u, &why), PH_USERDB_NONE);
    cr_expect_eq(ph__users_convert(&wrong, whole(&limits), &u, &why), PH_USERDB_NONE);
    cr_expect_eq(ph__users_convert(&loading, whole(&limits), &u, &why), PH_USERDB_FAILED);
    cr_expect_eq(ph__users_convert(&key, &loading, &u, &why), PH_USERDB_FAILED);
    cr_expect_eq(ph__users_convert(&none, &loading, &u, &why), PH_USERDB_FAILED);
    cr_expect_eq(ph__users_convert(NULL, whole(&limits), &u, &why), PH_USERDB_FAILED);
    cr_expect_eq(ph__users_convert(&key, NULL, &u, &why), PH_USERDB_FAILED);
    cr_expect_eq(u.max_bps, 9, "untouched");
}

Test(turn_store, lists_are_sorted_and_each_once)
{
    struct array x = array("b", "a", "b");
    char **v;
    unsigned n, skipped;

    cr_assert_eq(ph__reply_texts(whole(&x), &v, &n, &skipped), 0);
    cr_assert_eq(n, 2);
    cr_expect_str_eq(v[0], "a");
    cr_expect_str_eq(v[1], "b");
    ph__texts_free(v, n);
    x = array("a", "", "a\0b");
    x.of[2].len = 3;
    cr_assert_eq(ph__reply_texts(whole(&x), &v, &n, &skipped), 0);
    cr_expect(n == 1 && skipped == 2);
    ph__texts_free(v, n);
    x = array("a", NULL, "c");
    cr_expect_eq(ph__reply_texts(whole(&x), &v, &n, &skipped), PH_E_FORMAT);
    cr_expect_eq(ph__reply_texts(NULL, &v, &n, &skipped), PH_E_FORMAT);
}

Test(turn_store, lists_survive_a_lack_of_memory)
{
    struct array x = array("a", "b", "c");
    char **v = NULL;
    unsigned n = 0, skipped;

    for (unsigned at = 1;; at++) {
        oom_fail_at(at);
        const int err = ph__reply_texts(whole(&x), &v, &n, &skipped);
        if (!oom_disarm())
            break;
        cr_assert_eq(err, PH_E_NOMEM);
        cr_assert_null(v);
    }
    cr_expect_eq(n, 3);
    ph__texts_free(v, n);
}

Test(turn_store, lists_are_bounded)
{
    enum { MANY = PH__USERS_ITEMS + 1 };
    static redisReply of[MANY], *at[MANY];
    static char text[MANY][8];
    redisReply all = {.type = REDIS_REPLY_ARRAY, .elements = MANY, .element = at};
    char **v;
    unsigned n, skipped;

    for (unsigned i = 0; i < MANY; i++) {
        snprintf(text[i], sizeof text[i], "%u", i);
        of[i] = string(text[i]);
        at[i] = &of[i];
    }
    cr_expect_eq(ph__reply_texts(&all, &v, &n, &skipped), PH_E_LIMIT);
    all.elements--;
    cr_assert_eq(ph__reply_texts(&all, &v, &n, &skipped), 0);
    cr_expect_eq(n, PH__USERS_ITEMS);
    ph__texts_free(v, n);
}

static const char *oauth(const char *ikm, const char *timestamp, const char *lifetime,
                         const char *alg, struct ph_oauth_key *k)
{
    struct array x = array(ikm, timestamp, lifetime);

    x.of[3] = alg ? string(alg) : nil();
    x.reply.elements = 4;
    return ph__oauth_convert("kid", whole(&x), k);
}

#define IKM16 "MTIzNDU2Nzg5MDEyMzQ1Ng=="
#define IKM32 "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="

Test(turn_store, oauth_keys)
{
    struct ph_oauth_key k;
    char kid[PH_OAUTH_KID_MAX + 1];
    struct array x = array(IKM32, NULL, NULL);

    cr_expect_null(oauth(IKM32, NULL, NULL, NULL, &k));
    cr_expect(k.key_len == 32 && strcmp(k.kid, "kid") == 0 && k.key[31] == '2');
    cr_expect_null(oauth(IKM16, "5", "0", "a128gcm", &k));
    cr_expect(k.key_len == 16 && k.not_before_s == 5 && k.not_after_s == 0);
    cr_expect_null(oauth(IKM32, "5", "6", "", &k));
    cr_expect(k.not_after_s == 11);
    cr_expect_null(oauth(IKM32, NULL, "6", "", &k));
    cr_expect(k.not_after_s == 0, "without a beginning there is no end");
    cr_expect_not_null(oauth(IKM16, NULL, NULL, "A256GCM", &k), "too short");
    cr_expect_not_null(oauth(NULL, NULL, NULL, NULL, &k));
    cr_expect_not_null(oauth("MTIzN", NULL, NULL, "A128GCM", &k));
    cr_expect_not_null(oauth("****************************", NULL, NULL, "A128GCM", &k));
    cr_expect_not_null(oauth(IKM32, NULL, NULL, "AES", &k));
    cr_expect_not_null(oauth(IKM32, "soon", NULL, NULL, &k));
    cr_expect_not_null(oauth(IKM32, NULL, "9223372036854775807", NULL, &k));
    memset(kid, 'k', sizeof kid - 1);
    kid[sizeof kid - 1] = '\0';
    x.of[3] = nil();
    x.reply.elements = 4;
    cr_expect_not_null(ph__oauth_convert(kid, whole(&x), &k));
    cr_expect_null(ph__oauth_convert(kid + 1, whole(&x), &k));
    cr_expect_not_null(ph__oauth_convert("", whole(&x), &k));
}
#else
#include <criterion/criterion.h>

Test(turn_store, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
