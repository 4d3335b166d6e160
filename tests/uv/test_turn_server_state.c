/*
 * Allocations in a store, and out of it: what the shell writes, what it restores, and that clients do not notice.  The store
 * is in memory; what Redis makes of it is tested where it is.
 */
#include "uv/turn_kit.h"

#include "turn/record.h"

#include <sys/resource.h>

enum { CHANNEL = 0x4000, RECORDS = 256, MANY = 16 };

static struct turn_kit kit;
static struct client a, b, many[MANY];
static struct ph_addr relay_of[MANY];

/* --- the store ------------------------------------------------------------------------------------- */

/* What the main thread of a program has: a loop and a handle of its own. */
static struct {
    struct ph_store_space *space;
    struct ph_env env;
    uv_loop_t loop;
    struct ph_store *s;
    uint32_t gather_ms;
    bool done;
    int err;
    char token[PH_STORE_TOKEN];
    struct {
        uint64_t id;
        uint8_t *p;
        size_t n;
    } v[RECORDS];
    unsigned n;
} store;

static struct ph_store *new_handle(uv_loop_t *loop)
{
    struct ph_store_conf c = {.node = "here", .gather_ms = store.gather_ms};

    return ph_store_memory_new(loop, store.space, &c, &store.env);
}

static struct ph_store *of_worker(void *ctx, unsigned worker, uv_loop_t *loop)
{
    (void)ctx, (void)worker;
    return new_handle(loop);
}

static void on_claimed(void *ctx, int err, const char *token)
{
    (void)ctx;
    store.err = err;
    store.done = true;
    snprintf(store.token, sizeof store.token, "%s", token);
}

static void on_record(void *ctx, uint64_t id, struct ph_slice value)
{
    (void)ctx;
    cr_assert_lt(store.n, RECORDS);
    store.v[store.n].id = id;
    store.v[store.n].n = value.n;
    store.v[store.n].p = malloc(value.n);
    memcpy(store.v[store.n++].p, value.p, value.n);
}

static void on_loaded(void *ctx, int err)
{
    (void)ctx;
    store.err = err;
    store.done = true;
}

static void wait_for_it(void)
{
    while (!store.done)
        uv_run(&store.loop, UV_RUN_ONCE);
    store.done = false;
    cr_assert_eq(store.err, 0);
}

/* The server writes from now on. */
static void claim(void)
{
    ph_store_claim(store.s, "here", on_claimed, NULL);
    wait_for_it();
    ph_turn_uv_claimed(kit.server, store.token);
}

static void forget(void)
{
    while (store.n)
        free(store.v[--store.n].p);
}

/* How many records there are; they are in store.v. */
static unsigned load(void)
{
    forget();
    ph_store_load(store.s, "here", PH_TURN_UV_RECORDS, on_record, on_loaded, NULL);
    wait_for_it();
    return store.n;
}

static unsigned flush_and_load(void)
{
    cr_assert_eq(ph_turn_uv_flush(kit.server, KIT_WAIT_MS), 0);
    return load();
}

static void setup(void)
{
    turn_kit_init(&kit);
    memset(&store, 0, sizeof store);
    store.env = ph_env_system(NULL);
    store.space = ph_store_space_new();
    uv_loop_init(&store.loop);
    store.s = new_handle(&store.loop);
    kit.conf.store = of_worker;
    a.fd = b.fd = -1;
    for (unsigned i = 0; i < MANY; i++)
        many[i].fd = -1;
}

static void teardown(void)
{
    for (unsigned i = 0; i < MANY; i++)
        if (many[i].fd >= 0)
            client_close(&many[i]);
    if (a.fd >= 0)
        client_close(&a);
    if (b.fd >= 0)
        client_close(&b);
    turn_kit_fini(&kit);
    forget();
    ph_store_free(store.s);
    uv_run(&store.loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&store.loop), 0);
    ph_store_space_free(store.space);
}

TestSuite(uv_turn_state, .init = setup, .fini = teardown);

/* --- a server that dies, and the next -------------------------------------------------------------- */

/* As `kill -9` does: nobody says goodbye. */
static void die(void)
{
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    for (unsigned i = 0; i < KIT_LISTENERS; i++)
        kit.conf.core.listener[i].at = kit.at[i];
}

/* Restores what was loaded.  How many. */
static unsigned restore(int *err)
{
    struct ph_slice v[RECORDS];

    for (unsigned i = 0; i < store.n; i++)
        v[i] = (struct ph_slice){store.v[i].p, store.v[i].n};
    return ph_turn_uv_restore(kit.server, v, store.n, err);
}

static unsigned come_back(void)
{
    kit.conf.hold = true;
    turn_kit_open(&kit);
    load();
    const unsigned n = restore(NULL);
    claim();
    ph_turn_uv_go(kit.server);
    return n;
}

static struct ph_addr open_client(struct client *c, uint8_t proto)
{
    client_open(c, &kit, proto);
    const struct ph_addr relay = client_allocate(c);
    client_bind(c, CHANNEL, &kit.peer_at);
    return relay;
}

static void open_many(void)
{
    for (unsigned i = 0; i < MANY; i++)
        relay_of[i] = open_client(&many[i], PH_UDP);
}

Test(uv_turn_state, a_client_survives_a_server_that_is_killed)
{
    turn_kit_realm(&kit);
    ph_auth_add_user(kit.auth, ph_str("alice"), ph_str("secret"));
    turn_kit_open(&kit);
    claim();
    client_open(&a, &kit, PH_UDP);
    a.user = "alice";
    a.pass = "secret";
    const struct ph_addr relay = client_allocate(&a);
    client_bind(&a, CHANNEL, &kit.peer_at);
    cr_expect_eq(flush_and_load(), 1);
    die();
    client_send_data(&a, CHANNEL, "lost", 4);
    cr_expect_eq(recv(a.fd, &(char){0}, 1, 0), -1, "the system says that nobody is there");
    cr_expect_eq(come_back(), 1);
    client_echo(&a, &kit, CHANNEL, &relay, "nothing has happened");
    cr_expect_eq(client_refresh(&a, 600), 0);
    cr_expect_eq(turn_kit_sum(&kit).turn.restored, 1);
    cr_expect_eq(kit.ups, 2);
    cr_expect_eq(kit.downs, 0);
    cr_expect_eq(flush_and_load(), 1, "it is written again");
    cr_expect_eq(client_refresh(&a, 0), 0);
    cr_expect_eq(flush_and_load(), 0);
}

Test(uv_turn_state, nobody_is_told_of_a_mismatch_while_records_are_restored)
{
    turn_kit_open(&kit);
    claim();
    open_client(&a, PH_UDP);
    cr_expect_eq(flush_and_load(), 1);
    die();
    kit.conf.hold = true;
    turn_kit_open(&kit);
    write_refresh(&a, &(struct refresh){600, NULL}); /* now, of all times */
    client_end(&a);
    client_put(&a, a.req, (size_t)a.req_n);
    cr_expect(client_is_quiet(&a));
    cr_expect_eq(restore(NULL), 1);
    ph_turn_uv_go(kit.server);
    const struct ph_msg m = client_hear(&a);
    cr_expect_eq(m.cls, PH_SUCCESS, "error %u", client_code(&m));
}

/* --- what is written ------------------------------------------------------------------------------- */

Test(uv_turn_state, records_follow_what_happens)
{
    struct ph_record_room room;
    struct ph_record r;

    turn_kit_open(&kit);
    open_client(&a, PH_UDP);
    cr_expect_eq(load(), 0, "nothing is written before the node was claimed");
    claim();
    cr_expect_eq(flush_and_load(), 1, "then all that there is");
    cr_assert_eq(ph_record_read(&r, &room, (struct ph_slice){store.v[0].p, store.v[0].n}), 0);
    cr_expect_eq(r.session, store.v[0].id);
    cr_expect_eq(r.n_perm, 1);
    client_permit(&a, kit_addr("127.0.0.9"));
    flush_and_load();
    cr_assert_eq(ph_record_read(&r, &room, (struct ph_slice){store.v[0].p, store.v[0].n}), 0);
    cr_expect_eq(r.n_perm, 2);
    const uint64_t written = turn_kit_sum(&kit).store.written;
    for (int i = 0; i < 100; i++)
        client_send_data(&a, CHANNEL, "data", 4);
    KIT_UNTIL(turn_kit_sum(&kit).turn.to_peer_packets == 100);
    cr_expect_eq(flush_and_load(), 1);
    cr_expect_eq(turn_kit_sum(&kit).store.written, written, "traffic is no change");
    client_open(&b, &kit, PH_UDP);
    client_allocate(&b);
    cr_expect_eq(flush_and_load(), 2);
    struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect(st.store.up);
    cr_expect_not(st.store.behind);
    cr_expect_eq(ph_turn_uv_end_all(kit.server), 2);
    cr_expect_eq(kit.reason, PH_END_ADMIN);
    cr_expect_eq(flush_and_load(), 0);
    st = turn_kit_sum(&kit);
    cr_expect_eq(st.store.removed, 2);
    cr_expect_eq(st.store.resyncs, 0);
}

Test(uv_turn_state, a_stop_leaves_records_alone)
{
    turn_kit_open(&kit);
    claim();
    open_many();
    cr_expect_eq(flush_and_load(), MANY);
    die();
    cr_expect_eq(load(), MANY);
    cr_expect_eq(kit.downs, 0);
}

Test(uv_turn_state, clients_on_connections_are_stored_if_they_have_tickets)
{
    turn_kit_open(&kit);
    claim();
    open_client(&a, PH_TCP);
    cr_expect_eq(flush_and_load(), 0);
    cr_expect_eq(client_refresh(&a, 0), 0);
    cr_expect_eq(flush_and_load(), 0);
    cr_expect_eq(turn_kit_sum(&kit).store.removed, 0, "what was never stored is not removed");
    client_open(&b, &kit, PH_TLS);
    const struct ph_addr relay = client_allocate_mobile(&b);
    client_bind(&b, CHANNEL, &kit.peer_at);
    cr_expect_eq(flush_and_load(), 1);
    die();
    cr_expect_eq(come_back(), 1);
    client_close(&a);
    client_open(&a, &kit, PH_TCP);
    cr_expect_eq(client_take_over(&a, &b), 0);
    client_echo(&a, &kit, CHANNEL, &relay, "back");
    cr_expect_eq(flush_and_load(), 1);
    cr_expect_eq(client_refresh(&a, 0), 0);
    cr_expect_eq(flush_and_load(), 0);
}

Test(uv_turn_state, what_another_process_adopts_is_left_to_it)
{
    uint64_t kept;

    turn_kit_open(&kit);
    claim();
    open_client(&a, PH_UDP);
    open_client(&b, PH_UDP);
    cr_expect_eq(flush_and_load(), 2);
    kept = store.v[0].id;
    cr_expect_eq(ph_turn_uv_disown(kit.server, &kept, 1), 1);
    KIT_UNTIL(kit.downs == 1);
    cr_expect_eq(kit.reason, PH_END_ADOPTED);
    cr_expect_eq(flush_and_load(), 2, "its record is not ours any more");
    cr_expect_eq(turn_kit_sum(&kit).allocations_now, 1);
    cr_expect_eq(ph_turn_uv_disown(kit.server, &kept, 1), 0);
}

Test(uv_turn_state, a_fenced_server_says_so)
{
    turn_kit_open(&kit);
    claim();
    open_client(&a, PH_UDP);
    cr_expect_eq(flush_and_load(), 1);
    ph_store_claim(store.s, "here", on_claimed, NULL); /* somebody else */
    wait_for_it();
    cr_expect_eq(client_refresh(&a, 600), 0, "it serves on");
    cr_expect_eq(ph_turn_uv_flush(kit.server, KIT_WAIT_MS), PH_E_FORBIDDEN);
    cr_expect_eq(turn_kit_sum(&kit).store.fenced, 1);
    cr_expect_not(turn_kit_sum(&kit).store.up);
    ph_turn_uv_claimed(kit.server, store.token); /* it was us after all */
    cr_expect_eq(flush_and_load(), 1);
}

Test(uv_turn_state, without_a_claim_there_is_nothing_to_wait_for)
{
    turn_kit_open(&kit);
    cr_expect_eq(ph_turn_uv_flush(kit.server, KIT_WAIT_MS), 0);
    die();
    kit.conf.store = NULL;
    turn_kit_open(&kit);
    ph_turn_uv_claimed(kit.server, "1-0");
    cr_expect_eq(ph_turn_uv_flush(kit.server, KIT_WAIT_MS), 0);
    cr_expect_not(turn_kit_sum(&kit).store.up);
}

static struct ph_store *no_store(void *ctx, unsigned worker, uv_loop_t *loop)
{
    return worker ? NULL : of_worker(ctx, worker, loop);
}

Test(uv_turn_state, without_its_store_a_server_does_not_start)
{
    kit.conf.workers = 2;
    kit.conf.store = no_store;
    cr_expect_eq(ph_turn_uv_new(&kit.server, &kit.conf, NULL), PH_E_NOMEM);
    kit.server = NULL;
}

/* More has ended than there is room to remember: the store compares. */
Test(uv_turn_state, records_of_too_many_that_have_ended_are_found)
{
    enum { ROOM = 64 };

    kit.conf.core.max_allocations = ROOM;
    store.gather_ms = 60000; /* it asks for nothing till it is told to flush */
    turn_kit_open(&kit);
    claim();
    open_many();
    cr_expect_eq(flush_and_load(), MANY);
    for (unsigned round = 0; round < ROOM / MANY + 2; round++) {
        cr_expect_eq(ph_turn_uv_end_all(kit.server), MANY);
        for (unsigned i = 0; i < MANY; i++)
            client_allocate(&many[i]);
    }
    cr_expect_eq(flush_and_load(), MANY);
    cr_expect_eq(turn_kit_sum(&kit).store.resyncs, 1);
    cr_expect_eq(ph_turn_uv_end_all(kit.server), MANY);
    cr_expect_eq(flush_and_load(), 0);
}

Test(uv_turn_state, on_the_callers_loop)
{
    uv_loop_t loop;

    uv_loop_init(&loop);
    kit.conf.workers = 0;
    kit.conf.loop = &loop;
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    write_allocate(&a, &(struct allocate){PH_UDP, false});
    client_end(&a);
    client_put(&a, a.req, (size_t)a.req_n);
    for (int i = 0; i < KIT_WAIT_MS && turn_kit_sum(&kit).allocations_now == 0; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    claim();
    cr_expect_eq(flush_and_load(), 1);
    cr_expect_eq(ph_turn_uv_end_all(kit.server), 1);
    cr_expect_eq(flush_and_load(), 0);
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

/* --- several workers ------------------------------------------------------------------------------- */

/* Where an allocation's client comes to another worker than it was restored on, it follows, and nothing is lost. */
Test(uv_turn_state, allocations_follow_their_clients_to_other_workers)
{
    enum { BURST = 5 };
    struct ph_addr from;
    uint8_t text[16];

    turn_kit_open(&kit); /* one worker, so all records name that */
    claim();
    open_many();
    cr_expect_eq(flush_and_load(), MANY);
    die();
    kit.conf.workers = 2;
    cr_expect_eq(come_back(), MANY);
    cr_expect_eq(turn_kit_stats(&kit, 0).allocations_now, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        for (unsigned k = 0; k < BURST; k++) /* all alike: none is taken for another one */
            client_send_data(&many[i], CHANNEL, "the first packets", 17);
        for (unsigned k = 0; k < BURST; k++) {
            cr_assert_eq(kit_recv(&kit.peer, text, sizeof text, &from), sizeof text);
            cr_expect(ph_addr_eq(&from, &relay_of[i]));
        }
        client_echo(&many[i], &kit, CHANNEL, &relay_of[i], "here");
    }
    struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_gt(st.turn.strays, 0);
    cr_expect_eq(st.turn.strays, st.moved_in);
    cr_expect_eq(turn_kit_stats(&kit, 1).allocations_now, st.moved_in);
    cr_expect_eq(st.turn.no_allocation, 0);
    cr_expect_eq(flush_and_load(), MANY, "each worker writes its own");
    for (unsigned i = 0; i < MANY; i++)
        cr_expect_eq(client_refresh(&many[i], 0), 0);
    cr_expect_eq(turn_kit_sum(&kit).moved_in, st.moved_in, "once is enough");
    cr_expect_eq(flush_and_load(), 0);
}

Test(uv_turn_state, a_request_finds_its_allocation_too)
{
    turn_kit_open(&kit);
    claim();
    open_many();
    flush_and_load();
    die();
    kit.conf.workers = 2;
    cr_expect_eq(come_back(), MANY);
    for (unsigned i = 0; i < MANY; i++)
        cr_expect_eq(client_refresh(&many[i], 600), 0);
    cr_expect_gt(turn_kit_sum(&kit).moved_in, 0);
    cr_expect_eq(flush_and_load(), MANY);
}

Test(uv_turn_state, a_record_is_the_new_workers_after_a_move)
{
    kit.conf.workers = 2;
    turn_kit_open(&kit);
    claim();
    client_open(&a, &kit, PH_UDP);
    client_allocate_mobile(&a);
    cr_expect_eq(flush_and_load(), 1);
    const uint64_t session = store.v[0].id;
    for (int i = 0; i < 64 && turn_kit_sum(&kit).moved_in < 3; i++) {
        client_open(&b, &kit, PH_UDP);
        cr_assert_eq(client_take_over(&b, &a), 0);
        client_close(&a);
        a = b;
        b.fd = -1;
        cr_expect_eq(flush_and_load(), 1);
        cr_expect_eq(store.v[0].id, session);
    }
    cr_expect_eq(turn_kit_sum(&kit).moved_in, 3);
    cr_expect_eq(client_refresh(&a, 0), 0);
    cr_expect_eq(flush_and_load(), 0);
}

Test(uv_turn_state, workers_do_not_sweep_away_each_others_records)
{
    kit.conf.workers = 4;
    turn_kit_open(&kit);
    claim();
    open_many();
    cr_expect_eq(flush_and_load(), MANY);
    for (int i = 0; i < 3; i++) {
        claim();
        cr_expect_eq(flush_and_load(), MANY);
    }
}

/* --- what cannot be restored ----------------------------------------------------------------------- */

/* A record as a worker would write it, but ... */
static struct ph_slice forge(uint8_t *room, size_t cap, void (*change)(struct ph_record *r))
{
    static struct ph_record_room lists;
    struct ph_record r;

    cr_assert_eq(ph_record_read(&r, &lists, (struct ph_slice){store.v[0].p, store.v[0].n}), 0);
    change(&r);
    const int n = ph_record_write(&r, room, cap);
    cr_assert_gt(n, 0);
    return (struct ph_slice){room, (size_t)n};
}

static void expired(struct ph_record *r)
{
    r->session++;
    r->client.port ^= 4;
    r->expires_ms = 1000;
}

static void foreign(struct ph_record *r)
{
    r->session += 2;
    r->listener.port ^= 1;
}

static void occupied(struct ph_record *r)
{
    r->session += 3;
    r->client.port ^= 1;
    r->relay[0].port = 49999; /* taken by the test */
}

static void of_a_worker_there_is_not(struct ph_record *r)
{
    r->session = 200 * UINT64_C(1000000000000000) + 7;
    r->client.port ^= 2;
    r->relay[0].port = 49997;
}

Test(uv_turn_state, what_cannot_be_restored_says_why)
{
    uint8_t room[5][1024];
    int err[6];

    turn_kit_open(&kit);
    claim();
    const struct ph_addr relay = open_client(&a, PH_UDP);
    cr_expect_eq(flush_and_load(), 1);
    die();
    turn_kit_open(&kit);
    struct ph_udp taken = kit_open("127.0.0.1:49999", NULL);
    const struct ph_slice v[] = {
        {store.v[0].p, store.v[0].n},
        {(const uint8_t *)"rubbish", 7},
        forge(room[1], sizeof room[1], expired),
        forge(room[2], sizeof room[2], foreign),
        forge(room[3], sizeof room[3], occupied),
        forge(room[4], sizeof room[4], of_a_worker_there_is_not),
    };
    cr_expect_eq(ph_turn_uv_restore(kit.server, v, 6, err), 2);
    cr_expect_eq(err[0], 0);
    cr_expect_lt(err[1], 0);
    cr_expect_eq(err[2], PH_E_TIMEOUT);
    cr_expect_eq(err[3], PH_E_MISSING);
    cr_expect_eq(err[4], -EADDRINUSE);
    cr_expect_eq(err[5], 0);
    client_echo(&a, &kit, CHANNEL, &relay, "this one was good");
    cr_expect_eq(ph_turn_uv_restore(kit.server, v, 1, err), 0);
    cr_expect_eq(err[0], PH_E_STATE, "it is there already");
    const struct ph_turn_uv_stats st = turn_kit_sum(&kit);
    cr_expect_eq(st.turn.restored, 2);
    cr_expect_eq(st.turn.not_restored, 5);
    cr_expect_eq(st.allocations_now, 2);
    cr_expect_eq(kit.downs, 0);
    ph_udp_close(&taken);
}

/* --- addresses that are not ours yet --------------------------------------------------------------- */

Test(uv_turn_state, a_floating_address)
{
    kit.conf.core.relay[0].at = kit_addr("192.0.2.1");
    turn_kit_open(&kit);
    client_open(&a, &kit, PH_UDP);
    const struct ph_msg m = client_ask(&a, write_allocate, &(struct allocate){PH_UDP, false});
    cr_expect_eq(client_code(&m), 508);
    die();
    kit.conf.free_bind = true;
    for (unsigned i = 0; i < KIT_LISTENERS; i++) { /* as the standby node does */
        const struct ph_addr mine = kit.conf.core.listener[i].at;
        kit.conf.core.listener[i].at = kit_addr("192.0.2.1:0");
        kit.conf.core.listener[i].at.proto = mine.proto;
    }
    kit.conf.core.listener[KIT_UDP].at = kit.at[KIT_UDP];
    turn_kit_open(&kit);
    const struct ph_addr relay = client_allocate(&a);
    cr_expect(ph_addr_eq_ip(&relay, &kit.conf.core.relay[0].at));
}

/* --- how long it takes ----------------------------------------------------------------------------- */

/* 5,000 allocations, for each of which a socket is bound. */
Test(uv_turn_state, thousands_are_restored_at_once)
{
    enum { THOUSANDS = 5000, ROOM = 512 };
    const struct rlimit files = {THOUSANDS + 1000, THOUSANDS + 1000};
    static struct ph_record_room lists;
    struct ph_record r;

    if (setrlimit(RLIMIT_NOFILE, &files))
        cr_skip("not allowed to open so many files");
    kit.conf.workers = 2;
    kit.conf.core.relay[0].at = turn_kit_alone();
    turn_kit_open(&kit);
    claim();
    open_client(&a, PH_UDP);
    cr_expect_eq(flush_and_load(), 1);
    die();
    uint8_t *bytes = malloc(THOUSANDS * ROOM);
    struct ph_slice *v = malloc(THOUSANDS * sizeof *v);
    cr_assert_eq(ph_record_read(&r, &lists, (struct ph_slice){store.v[0].p, store.v[0].n}), 0);
    for (unsigned i = 0; i < THOUSANDS; i++) {
        r.session = i % 2 * UINT64_C(1000000000000000) + i + 1;
        r.client.port = (uint16_t)(10000 + i);
        r.relay[0].port = (uint16_t)(41000 + i);
        const int n = ph_record_write(&r, bytes + i * ROOM, ROOM);
        cr_assert_gt(n, 0);
        v[i] = (struct ph_slice){bytes + i * ROOM, (size_t)n};
    }
    turn_kit_open(&kit);
    const uint64_t begun = uv_hrtime();
    const unsigned n = ph_turn_uv_restore(kit.server, v, THOUSANDS, NULL);
    const double ms = (double)(uv_hrtime() - begun) / 1e6;
    cr_expect_eq(n, THOUSANDS);
    cr_expect_lt(ms, 5000, "%.0f ms", ms);
    struct ph_turn_uv_handover h;
    const uint64_t left = uv_hrtime();
    cr_assert_eq(ph_turn_uv_leave(kit.server, &h), 0);
    const uint64_t gone = uv_hrtime();
    cr_expect_eq(h.n_records, n);
    ph_turn_uv_free(kit.server);
    kit.conf.inherit = &h;
    const uint64_t start = uv_hrtime();
    turn_kit_open(&kit);
    const uint64_t there = uv_hrtime();
    ph_turn_uv_handover_free(&h, false);
    cr_expect_eq(turn_kit_sum(&kit).turn.restored, n);
    fprintf(stderr, "%u restored in %.0f ms; handed over: leave %.0f ms, take over %.0f ms\n", n,
            ms, (double)(gone - left) / 1e6, (double)(there - start) / 1e6);
    free(bytes);
    free(v);
}
