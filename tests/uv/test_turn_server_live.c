/*
 * The TURN server while it runs, on loopback: look-ups of users, reload, revoke.
 */
#include "uv/turn_kit.h"

static struct turn_kit kit;
static struct client c;
static struct ph_userdb_conf userdb;

/* What was asked last. */
static atomic_int asked;
static struct ph_userdb_ask last;
static atomic_uint last_worker;

static void on_lookup(void *ctx, unsigned worker, const struct ph_userdb_ask *ask)
{
    (void)ctx;
    last = *ask;
    last_worker = worker;
    asked++;
}

static void setup(void)
{
    turn_kit_init(&kit);
    turn_kit_realm(&kit);
    c.fd = -1;
}

static void teardown(void)
{
    if (c.fd >= 0)
        client_close(&c);
    turn_kit_fini(&kit);
}

TestSuite(uv_turn_live, .init = setup, .fini = teardown);

/* Users are kept elsewhere. */
static void with_userdb(ph_ns timeout)
{
    userdb.timeout = timeout;
    kit.conf.userdb = &userdb;
    kit.conf.on_lookup = on_lookup;
}

static void open_as(const char *user, uint8_t proto)
{
    client_open(&c, &kit, proto);
    c.user = user;
    c.pass = "secret";
}

static void answer(enum ph_userdb_result result)
{
    struct ph_userdb_user u = {.expires_s = INT64_MAX};
    struct ph_key key;

    ph_key_long_term(&key, PH_ALG_MD5, ph_str(last.name), ph_str(last.realm), ph_str("secret"));
    memcpy(u.key, key.b, sizeof u.key);
    ph_turn_uv_answer(kit.server, last_worker, ph_str(last.realm),
                      (struct ph_slice){(const uint8_t *)last.name, last.name_n}, result,
                      result == PH_USERDB_FOUND ? &u : NULL);
}

/* Sends a signed Allocate and leaves the answer to come. */
static void send_allocate(struct client *x)
{
    write_allocate(x, &(struct allocate){PH_UDP, false});
    client_end(x);
    client_put(x, x->req, (size_t)x->req_n);
}

/* The same for one that does not know the nonce yet. */
static void begin_allocate(struct client *x)
{
    send_allocate(x);
    const struct ph_msg m = client_hear(x);
    cr_assert_eq(client_code(&m), 401);
    send_allocate(x);
}

/* --- look-ups -------------------------------------------------------------------------------------- */

static void waits_for_a_look_up(uint8_t proto)
{
    with_userdb(PH_SEC(30));
    turn_kit_open(&kit);
    open_as("alice", proto);
    begin_allocate(&c);
    KIT_UNTIL(asked == 1);
    cr_expect_str_eq(last.name, "alice");
    cr_expect_str_eq(last.realm, "example.org");
    cr_expect_eq(turn_kit_sum(&kit).parked, 1);
    cr_expect(client_is_quiet(&c));
    answer(PH_USERDB_FOUND);
    struct ph_msg m = client_hear(&c);
    cr_expect_eq(m.cls, PH_SUCCESS, "error %u", client_code(&m));
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.parked, 0);
    cr_expect_eq(st.allocations_now, 1);
    cr_expect_eq(st.userdb.found, 1);
    cr_expect_eq(client_refresh(&c, 600), 0);
    cr_expect_eq(asked, 1, "it is in the cache");
    ph_turn_uv_forget(kit.server, ph_str("example.org"), ph_str("alice"));
    client_close(&c);
    open_as("alice", proto);
    begin_allocate(&c);
    KIT_UNTIL(asked == 2);
    answer(PH_USERDB_FOUND);
    m = client_hear(&c);
    cr_expect_eq(m.cls, PH_SUCCESS);
}

Test(uv_turn_live, a_udp_client_waits_for_a_look_up)
{
    waits_for_a_look_up(PH_UDP);
}

Test(uv_turn_live, a_tls_client_waits_for_a_look_up)
{
    waits_for_a_look_up(PH_TLS);
}

Test(uv_turn_live, a_dtls_client_waits_for_a_look_up)
{
    waits_for_a_look_up(PH_DTLS);
}

Test(uv_turn_live, sent_again_while_it_waits_it_is_answered_once)
{
    with_userdb(PH_SEC(30));
    turn_kit_open(&kit);
    open_as("alice", PH_UDP);
    begin_allocate(&c);
    KIT_UNTIL(asked == 1);
    client_put(&c, c.req, (size_t)c.req_n);
    client_put(&c, c.req, (size_t)c.req_n);
    cr_expect_eq(turn_kit_sum(&kit).parked, 1);
    answer(PH_USERDB_FOUND);
    cr_expect_eq(client_hear(&c).cls, PH_SUCCESS);
    cr_expect(client_is_quiet(&c));
    cr_expect_eq(turn_kit_sum(&kit).park_full, 0);
}

Test(uv_turn_live, a_user_that_is_nowhere)
{
    with_userdb(PH_SEC(30));
    turn_kit_open(&kit);
    open_as("mallory", PH_UDP);
    begin_allocate(&c);
    KIT_UNTIL(asked == 1);
    answer(PH_USERDB_NONE);
    const struct ph_msg m = client_hear(&c);
    cr_expect_eq(client_code(&m), 401);
    cr_expect_eq(turn_kit_sum(&kit).userdb.none, 1);
}

Test(uv_turn_live, a_database_that_fails)
{
    with_userdb(PH_SEC(30));
    turn_kit_open(&kit);
    open_as("alice", PH_TCP);
    begin_allocate(&c);
    KIT_UNTIL(asked == 1);
    answer(PH_USERDB_FAILED);
    const struct ph_msg m = client_hear(&c);
    cr_expect_eq(client_code(&m), 500);
}

Test(uv_turn_live, a_database_that_says_nothing)
{
    with_userdb(PH_MS(200));
    turn_kit_open(&kit);
    open_as("alice", PH_UDP);
    begin_allocate(&c);
    KIT_UNTIL(asked >= 1);
    const struct ph_msg m = client_hear(&c);
    cr_expect_eq(client_code(&m), 500);
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.parked, 0);
    cr_expect_geq(st.userdb.failed, 1);
    answer(PH_USERDB_FOUND); /* too late for that one; nothing breaks */
    ph_turn_uv_answer(kit.server, 7, ph_str("x"), ph_str("y"), PH_USERDB_FOUND, NULL);
}

Test(uv_turn_live, static_users_are_not_looked_up)
{
    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    with_userdb(PH_SEC(30));
    turn_kit_open(&kit);
    open_as("alice", PH_UDP);
    client_allocate(&c);
    cr_expect_eq(asked, 0);
}

Test(uv_turn_live, places_to_wait_are_bounded)
{
    enum { N = 100, PLACES = 64 };
    static struct client many[N];
    unsigned answered = 0;

    with_userdb(PH_SEC(30));
    turn_kit_open(&kit);
    for (unsigned i = 0; i < N; i++) {
        client_open(&many[i], &kit, PH_UDP);
        many[i].user = "alice";
        many[i].pass = "secret";
        begin_allocate(&many[i]);
    }
    KIT_UNTIL(turn_kit_sum(&kit).park_full == N - PLACES);
    cr_expect_eq(turn_kit_sum(&kit).parked, PLACES);
    cr_expect_eq(asked, 1, "they all wait for the same");
    open_as("alice", PH_TCP); /* from the same address: nothing is sent again, so it is answered */
    begin_allocate(&c);
    const struct ph_msg m = client_hear(&c);
    cr_expect_eq(client_code(&m), 500);
    client_close(&c);
    client_open_from(&c, &kit, PH_UDP, "127.0.0.9:0"); /* another one has a place */
    c.user = "alice";
    c.pass = "secret";
    begin_allocate(&c);
    KIT_UNTIL(turn_kit_sum(&kit).parked == PLACES + 1);
    answer(PH_USERDB_FOUND);
    cr_expect_eq(client_hear(&c).cls, PH_SUCCESS);
    for (unsigned i = 0; i < N; i++) {
        answered += kit_readable(&(struct ph_udp){.fd = many[i].fd}, 20);
        client_close(&many[i]);
    }
    cr_expect_eq(answered, PLACES);
}

static void gone_while_it_waits(uint8_t proto)
{
    with_userdb(PH_SEC(30));
    turn_kit_open(&kit);
    open_as("alice", proto);
    begin_allocate(&c);
    KIT_UNTIL(asked == 1);
    client_close(&c);
    KIT_UNTIL(turn_kit_sum(&kit).parked == 0);
    answer(PH_USERDB_FOUND);
    cr_expect_eq(turn_kit_sum(&kit).turn.allocations, 0);
}

Test(uv_turn_live, a_tcp_client_that_does_not_wait)
{
    gone_while_it_waits(PH_TCP);
}

Test(uv_turn_live, a_dtls_client_that_does_not_wait)
{
    gone_while_it_waits(PH_DTLS);
}

Test(uv_turn_live, the_server_may_end_while_they_wait)
{
    with_userdb(PH_SEC(30));
    turn_kit_open(&kit);
    open_as("alice", PH_TCP);
    begin_allocate(&c);
    KIT_UNTIL(asked == 1);
    answer(PH_USERDB_FOUND); /* in the queue, perhaps */
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
}

Test(uv_turn_live, a_database_wants_somebody_to_ask_it)
{
    with_userdb(0);
    kit.conf.on_lookup = NULL;
    cr_expect_eq(ph_turn_uv_new(&kit.server, &kit.conf, NULL), PH_E_ARG);
}

/* --- on the caller's loop -------------------------------------------------------------------------- */

/* A loop with the server on it, in a thread so that clients may block. */
struct inline_server {
    uv_loop_t loop;
    uv_async_t stop;
    uv_sem_t ready;
    pthread_t thread;
};

static void end_inline(uv_async_t *async)
{
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    uv_close((uv_handle_t *)async, NULL);
}

static void *run_inline(void *arg)
{
    struct inline_server *s = arg;

    uv_loop_init(&s->loop);
    uv_async_init(&s->loop, &s->stop, end_inline);
    kit.conf.workers = 0;
    kit.conf.loop = &s->loop;
    turn_kit_open(&kit);
    uv_sem_post(&s->ready);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&s->loop) ? s : NULL;
}

Test(uv_turn_live, all_of_it_on_the_callers_loop)
{
    struct ph_turnd_live live = kit.conf.core.live;
    struct inline_server s;
    void *left;

    with_userdb(PH_SEC(30));
    uv_sem_init(&s.ready, 0);
    pthread_create(&s.thread, NULL, run_inline, &s);
    uv_sem_wait(&s.ready);
    open_as("alice", PH_TLS);
    begin_allocate(&c);
    KIT_UNTIL(asked == 1);
    answer(PH_USERDB_FOUND);
    const struct ph_msg m = client_hear(&c);
    const struct ph_addr relay = client_relay(&m, PH_UDP);
    client_bind(&c, 0x4000, &kit.peer_at);
    ph_turn_uv_reload(kit.server, &live, NULL);
    client_echo(&c, &kit, 0x4000, &relay, "inline");
    cr_expect_eq(turn_kit_sum(&kit).allocations_by[2], 1);
    cr_expect_eq(ph_turn_uv_revoke(kit.server, ph_str("example.org"), ph_str("alice")), 1);
    uv_async_send(&s.stop);
    pthread_join(s.thread, &left);
    cr_expect_null(left, "handles are left on the loop");
    uv_sem_destroy(&s.ready);
}

/* --- reload ---------------------------------------------------------------------------------------- */

/* A client that sends and counts what comes back, until it is told to stop. */
struct traffic {
    uint8_t proto;
    unsigned sent, got;
    atomic_bool stop;
    pthread_t thread;
};

static void *talk(void *arg)
{
    struct traffic *t = arg;
    struct client x;

    client_open(&x, &kit, t->proto);
    x.user = "alice";
    x.pass = "secret";
    const struct ph_addr relay = client_allocate(&x);
    client_bind(&x, 0x4000, &kit.peer_at);
    while (!t->stop) {
        const uint8_t *p = NULL;
        t->sent++;
        kit_send(&kit.peer, &t->sent, sizeof t->sent, &relay);
        const size_t n = client_get(&x, &p);
        t->got += n == 8 && memcmp(p + 4, &t->sent, 4) == 0;
    }
    client_close(&x);
    return NULL;
}

Test(uv_turn_live, users_are_exchanged_under_traffic)
{
    const struct ph_env e = ph_env_system(NULL);
    struct traffic t[2] = {{.proto = PH_UDP}, {.proto = PH_TLS}};
    struct ph_turnd_live live = kit.conf.core.live;
    struct ph_auth *old = kit.auth;

    kit.conf.workers = 2;
    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    turn_kit_open(&kit);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&t[i].thread, NULL, talk, &t[i]);
    KIT_UNTIL(kit.ups == 2);
    for (unsigned i = 0; i < 30; i++) {
        struct ph_auth *a = ph_auth_new("example.org", &e);
        struct ph_acl *acl = ph_acl_new();
        ph_auth_add_user(a, ph_str("alice"), ph_str("secret"));
        if (i == 29)
            ph_auth_add_user(a, ph_str("bob"), ph_str("secret"));
        ph_acl_allow_loopback(acl);
        live.auth = a;
        live.acl = acl;
        ph_turn_uv_reload(kit.server, &live, NULL);
        ph_auth_free(old); /* nobody uses it any more: the address sanitizer would tell */
        ph_acl_free(kit.acl);
        old = kit.auth = a;
        kit.acl = acl;
        usleep(3000);
    }
    for (unsigned i = 0; i < 2; i++) {
        t[i].stop = true;
        pthread_join(t[i].thread, NULL);
        cr_expect_gt(t[i].sent, 0);
        cr_expect_eq(t[i].got, t[i].sent);
    }
    open_as("bob", PH_UDP);
    client_allocate(&c);
}

Test(uv_turn_live, a_policy_that_changes_ends_permissions)
{
    struct ph_turnd_live live = kit.conf.core.live;
    struct ph_acl *strict = ph_acl_new();

    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    turn_kit_open(&kit);
    open_as("alice", PH_TCP);
    const struct ph_addr relay = client_allocate(&c);
    client_bind(&c, 0x4000, &kit.peer_at);
    client_echo(&c, &kit, 0x4000, &relay, "allowed");
    live.acl = strict; /* loopback is denied */
    ph_turn_uv_reload(kit.server, &live, NULL);
    kit_send(&kit.peer, "no", 2, &relay);
    cr_expect(client_is_quiet(&c));
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    ph_acl_free(strict);
}

Test(uv_turn_live, certificates_are_exchanged)
{
    static const uint8_t both[] = {PH_TLS, PH_DTLS};
    const struct ph_env e = ph_env_system(NULL);
    struct kit_cert cert = kit_cert(kit.dir, "next", "DNS:turn.example", NULL);
    const struct ph_tls_conf conf = {.cert = {{.cert = cert.cert, .key = cert.key}}, .n_certs = 1};
    char why[PH_TLS_WHY], name[64];
    struct ph_tls *next = ph_tls_new(&conf, &e, why);
    struct client before[2];
    struct ph_addr relay[2];

    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    turn_kit_open(&kit);
    for (unsigned i = 0; i < 2; i++) {
        client_open(&before[i], &kit, both[i]);
        before[i].user = "alice";
        before[i].pass = "secret";
        relay[i] = client_allocate(&before[i]);
        client_bind(&before[i], 0x4000, &kit.peer_at);
    }
    ph_turn_uv_reload(kit.server, &kit.conf.core.live, next);
    ph_tls_unref(next);
    ph_tls_unref(kit.tls);
    kit.tls = NULL;
    for (unsigned i = 0; i < 2; i++) {
        client_echo(&before[i], &kit, 0x4000, &relay[i], "goes on");
        open_as("alice", both[i]);
        kit_peer_name(c.ssl, name, sizeof name);
        cr_expect_str_eq(name, "next");
        client_allocate(&c);
        client_close(&c);
        client_close(&before[i]);
    }
    kit_cert_free(&cert);
}

/* --- revoke, peers --------------------------------------------------------------------------------- */

Test(uv_turn_live, a_user_is_revoked)
{
    static const uint8_t all[] = {PH_UDP, PH_TCP, PH_TLS, PH_DTLS};
    struct client many[4];

    kit.conf.workers = 2;
    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    ph_auth_add_user(kit.auth, ph_str("bob"), ph_str("secret"));
    turn_kit_open(&kit);
    for (unsigned i = 0; i < 4; i++) {
        client_open(&many[i], &kit, all[i]);
        many[i].user = "alice";
        many[i].pass = "secret";
        client_allocate(&many[i]);
    }
    open_as("bob", PH_UDP);
    client_allocate(&c);
    cr_expect_eq(ph_turn_uv_revoke(kit.server, ph_str("example.org"), ph_str("alice")), 4);
    cr_expect_eq(kit.downs, 4);
    cr_expect_eq(kit.reason, PH_END_REVOKED);
    cr_expect_eq(turn_kit_sum(&kit).allocations_now, 1);
    cr_expect_eq(ph_turn_uv_revoke(kit.server, ph_str("example.org"), ph_str("alice")), 0);
    cr_expect_eq(client_refresh(&many[1], 600), 437);
    for (unsigned i = 0; i < 4; i++)
        client_close(&many[i]);
}

struct found {
    unsigned worker, n;
    uint32_t id;
};

static bool find_it(void *ctx, unsigned worker, const struct ph_turnd_info *info)
{
    struct found *f = ctx;

    f->worker = worker;
    f->id = info->id;
    f->n++;
    return true;
}

Test(uv_turn_live, peers_are_listed)
{
    struct ph_addr peers[8];
    struct found f = {0};

    kit.conf.workers = 2;
    kit.conf.core.live.auth = NULL;
    turn_kit_open(&kit);
    client_open(&c, &kit, PH_TCP);
    client_allocate(&c);
    client_bind(&c, 0x4000, &kit.peer_at);
    ph_turn_uv_list(kit.server, find_it, &f);
    cr_assert_eq(f.n, 1);
    const unsigned n = ph_turn_uv_peers(kit.server, f.worker, f.id, peers, 8);
    cr_assert_geq(n, 1);
    cr_expect(ph_addr_eq_ip(&peers[0], &kit.peer_at));
    cr_expect_eq(ph_turn_uv_peers(kit.server, 9, f.id, peers, 8), 0);
    cr_expect(ph_turn_uv_end(kit.server, f.worker, f.id));
    cr_expect_eq(kit.reason, PH_END_ADMIN);
}
