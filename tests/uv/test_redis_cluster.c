/*
 * A cluster of real servers: three masters and a replica on loopback; slots that move, a scan over all of them, a
 * master that dies.
 */
#ifdef PH_HAVE_REDIS
#include "turn/store/users_priv.h"
#include "uv/redis_kit.h"

TestSuite(uv_redis_cluster, .init = rkit_setup, .fini = rkit_teardown, .timeout = 90);

enum { MASTERS = 3, NODES = 4 }; /* the last is a replica of the first */

static uint16_t port[NODES];
static struct ph_redis *admin[NODES]; /* a plain connection to each */
static char id[NODES][64];

static void start_node(unsigned i)
{
    char words[600];

    port[i] = rkit_port();
    snprintf(words, sizeof words,
             "--bind 127.0.0.1 --port %u --save  --dir %s --cluster-enabled yes --cluster-port %u "
             "--cluster-config-file nodes-%u.conf --cluster-node-timeout 1000 "
             "--cluster-replica-validity-factor 0 --repl-diskless-sync-delay 0 --dbfilename %u.rdb",
             port[i], rkit_dir, rkit_port(), i, i);
    rkit_start(i, port[i], words);
    const struct ph_redis_conf c = rkit_parse("redis://127.0.0.1:%u", port[i]);
    admin[i] = rkit_connect(&c);
    snprintf(id[i], sizeof id[i], "%.63s", rkit_ask(admin[i], "CLUSTER MYID"));
}

static const char *tell(unsigned i, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static const char *tell(unsigned i, const char *fmt, ...)
{
    char text[200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return rkit_ask(admin[i], text);
}

static unsigned bus_port(unsigned i)
{
    unsigned at = 0;

    cr_assert_eq(sscanf(strchr(tell(i, "CLUSTER NODES"), '@') + 1, "%u", &at), 1);
    return at;
}

/* Until a node says what is wanted, which it does in its own time. */
static void wait_until_it_says(unsigned i, const char *command, const char *what)
{
    const uint64_t end = uv_hrtime() + 30 * UINT64_C(1000000000);

    while (!strstr(rkit_ask(admin[i], command), what) && uv_hrtime() < end)
        rkit_run_ms(20);
    cr_assert(strstr(rkit_ask(admin[i], command), what), "%s: %s", command,
              rkit_ask(admin[i], command));
}

static void start_cluster(void)
{
    static const unsigned first[] = {0, 5461, 10923, 16384};

    for (unsigned i = 0; i < NODES; i++)
        start_node(i);
    for (unsigned i = 0; i < NODES; i++) {
        if (i < MASTERS)
            tell(i, "CLUSTER ADDSLOTSRANGE %u %u", first[i], first[i + 1] - 1);
        tell(i, "CLUSTER SET-CONFIG-EPOCH %u", i + 1);
        if (i > 0)
            tell(0, "CLUSTER MEET 127.0.0.1 %u %u", port[i], bus_port(i));
    }
    wait_until_it_says(3, "CLUSTER NODES", id[0]);
    wait_until_it_says(3, "CLUSTER INFO", "cluster_known_nodes:4");
    cr_assert_str_eq(tell(3, "CLUSTER REPLICATE %s", id[0]), "OK");
    for (unsigned i = 0; i < NODES; i++)
        wait_until_it_says(i, "CLUSTER INFO", "cluster_state:ok");
    wait_until_it_says(3, "INFO replication", "master_link_status:up");
}

static void end_cluster(struct ph_redis *r)
{
    for (unsigned i = 0; i < NODES; i++)
        ph_redis_free(admin[i]);
    rkit_close(r);
}

static char told[16]; /* 'u', 'd' */

static void on_state(void *ctx, bool up)
{
    (void)ctx;
    strcat(told, up ? "u" : "d");
}

/* A client that knows the second node, and one that is not there. */
static struct ph_redis *connect_all(void)
{
    const struct ph_redis_conf c =
        rkit_parse("redis+cluster://127.0.0.1:%u,127.0.0.1:%u", rkit_port(), port[1]);
    struct ph_redis *r = rkit_open(&c);

    ph_redis_watch(r, on_state, NULL);
    RUN_UNTIL(ph_redis_stats(r)->up);
    return r;
}

/* --- commands -------------------------------------------------------------------------------------- */

static void commands_find_their_nodes(struct ph_redis *r)
{
    char text[128];

    for (unsigned i = 0; i < 60; i++) {
        snprintf(text, sizeof text, "SET scan/%u value-%u", i, i);
        cr_assert_str_eq(rkit_ask(r, text), "OK");
        snprintf(text, sizeof text, "GET scan/%u", i);
        cr_assert(strstr(rkit_ask(r, text), "value-"));
    }
    for (unsigned i = 0; i < MASTERS; i++)
        cr_expect_gt(atoi(tell(i, "DBSIZE")), 5, "spread over the masters");
    cr_expect_str_eq(
        rkit_ask(r, "EVAL return(redis.call('incrby',KEYS[2],ARGV[1])) 2 {tag}a {tag}b 7"), "7");
    cr_expect_str_eq(rkit_ask(r, "GET {tag}b"), "7");
    cr_expect(strstr(rkit_ask(r, "MGET foo bar"), "!CROSSSLOT"));
    cr_expect_str_eq(rkit_ask(r, "PUBLISH channel message"), "0");
    cr_expect_str_eq(rkit_ask(r, "ECHO anywhere"), "anywhere");
    cr_expect_eq(ph_redis_stats(r)->errors, 1);
    cr_expect_str_eq(told, "u");
    rkit_ask(r, "DEL {tag}b");
}

static struct {
    unsigned calls, n;
    bool ok;
} scanned;

static void on_keys(void *ctx, char **v, unsigned n, bool ok)
{
    (void)ctx;
    scanned.calls++;
    scanned.n = n;
    scanned.ok = ok;
    ph__texts_free(v, n);
}

static void a_scan_walks_all_masters(struct ph_redis *r)
{
    scanned.calls = 0;
    ph__redis_scan(r, "scan/", on_keys, NULL);
    RUN_UNTIL(scanned.calls == 1);
    cr_expect(scanned.ok && scanned.n == 60, "%u", scanned.n);
}

static struct ph_redis_realm realm;
static unsigned realms;

static void on_realm(void *ctx, struct ph_redis_realm *x)
{
    (void)ctx;
    cr_assert_not_null(x, "%s", rkit_log);
    realm = *x;
    realms++;
}

static void the_user_database_works(struct ph_redis *r)
{
    cr_expect_str_eq(rkit_ask(r, "SADD turn/realm/north/secret one two"), "2");
    for (const char *const *p = (const char *const[]){"a", "b", "c", "d", NULL}; *p; p++) {
        char text[64];
        snprintf(text, sizeof text, "SET turn/origin/%s north", *p);
        cr_expect_str_eq(rkit_ask(r, text), "OK");
    }
    ph_redis_realm(r, "north", on_realm, NULL);
    RUN_UNTIL(realms == 1);
    cr_expect_eq(realm.n_secrets, 2);
    cr_expect_eq(realm.n_origins, 4, "keys of several slots");
    ph_redis_realm_fini(&realm);
}

/* --- slots that move ------------------------------------------------------------------------------- */

enum { FOO = 12182 }; /* the slot of "foo", of the third master */

static void a_slot_on_its_way(struct ph_redis *r)
{
    const uint64_t errors = ph_redis_stats(r)->errors;

    cr_assert_str_eq(tell(0, "CLUSTER SETSLOT %d IMPORTING %s", FOO, id[2]), "OK");
    cr_assert_str_eq(tell(2, "CLUSTER SETSLOT %d MIGRATING %s", FOO, id[0]), "OK");
    cr_expect_str_eq(rkit_ask(r, "SET foo asked"), "OK");
    cr_expect_str_eq(rkit_ask(r, "GET foo"), "asked");
    cr_expect_str_eq(tell(2, "CLUSTER COUNTKEYSINSLOT %d", FOO), "0");
    cr_expect_str_eq(tell(0, "CLUSTER COUNTKEYSINSLOT %d", FOO), "1", "by ASK, it is there");
    cr_expect_eq(ph_redis_stats(r)->errors, errors);
}

static void a_slot_that_has_moved(struct ph_redis *r)
{
    const uint64_t errors = ph_redis_stats(r)->errors;
    struct answer a[40] = {0};

    cr_assert_str_eq(tell(0, "CLUSTER SETSLOT %d NODE %s", FOO, id[0]), "OK");
    cr_assert_str_eq(tell(2, "CLUSTER SETSLOT %d NODE %s", FOO, id[0]), "OK");
    for (unsigned i = 0; i < 40; i++)
        cr_assert_eq(rkit_send(r, "GET foo", &a[i]), 0);
    for (unsigned i = 0; i < 40; i++) {
        RUN_UNTIL(a[i].calls == 1);
        cr_expect_str_eq(a[i].text, "asked");
    }
    cr_expect_eq(ph_redis_stats(r)->errors, errors);
    cr_expect_str_eq(told, "u");
}

/* --- a master that dies ---------------------------------------------------------------------------- */

static void a_master_is_replaced(struct ph_redis *r)
{
    cr_expect_str_eq(rkit_ask(r, "SET bar kept"), "OK"); /* 5061, of the first */
    cr_expect_str_eq(tell(0, "WAIT 1 2000"), "1");
    rkit_end(&rkit_pids[0]);
    RUN_UNTIL(told[1] == 'd');
    struct answer a = {0};
    cr_expect_eq(rkit_send(r, "GET bar", &a), PH_E_STATE);
    cr_expect_str_eq(rkit_ask(r, "SET foobar others"), "OK", "12325, of the third");
    for (int i = 0; i < 3 && told[2] != 'u'; i++)
        for (int ms = 0; ms < 10000 && told[2] != 'u'; ms += 50)
            rkit_run_ms(50);
    cr_assert_str_eq(told, "udu", "%s", rkit_log);
    cr_expect_str_eq(rkit_ask(r, "GET bar"), "kept");
    cr_expect_str_eq(rkit_ask(r, "SET bar new"), "OK");
}

Test(uv_redis_cluster, a_real_one)
{
    start_cluster();
    struct ph_redis *r = connect_all();
    commands_find_their_nodes(r);
    a_scan_walks_all_masters(r);
    the_user_database_works(r);
    a_slot_on_its_way(r);
    a_slot_that_has_moved(r);
    a_master_is_replaced(r);
    a_scan_walks_all_masters(r);
    end_cluster(r);
}
#else
#include <criterion/criterion.h>

Test(uv_redis_cluster, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
