/*
 * Users in a database: packets that wait for a look-up, and what a slow, dead or changed database does to sessions.
 */
#include "turn/rig.h"

static const char client_text[] = "203.0.113.9:40000";

struct lookup {
    struct rig *r;
    struct ph_userdb *db;
    struct ph_addr c;
    unsigned asked;
};

/* Somebody in a database: dora with password "explorer". */
static struct ph_userdb_user dora(void)
{
    struct ph_userdb_user u = {.expires_s = INT64_MAX};
    struct ph_key k;
    ph_key_long_term(&k, PH_ALG_MD5, ph_str("dora"), ph_str(rig_realm), ph_str("explorer"));
    memcpy(u.key, k.b, sizeof u.key);
    return u;
}

static struct lookup lookup_new(void)
{
    static const struct ph_userdb_conf c;
    struct lookup x = {.r = rig_new(), .c = rig_addr(client_text)};
    x.db = ph_userdb_new(&c, &x.r->env);
    x.r->c.userdb = x.db;
    x.r->user = "dora";
    x.r->pass = "explorer";
    return x;
}

static void lookup_free(struct lookup *x)
{
    rig_free(x->r);
    ph_userdb_free(x->db);
}

/* Answers all that is asked. */
static void serve(struct lookup *x, enum ph_userdb_result result, const struct ph_userdb_user *u)
{
    struct ph_userdb_ask ask;
    while (ph_userdb_ask(x->db, &ask, x->r->now)) {
        x->asked++;
        ph_userdb_answer(x->db, ph_str(ask.realm),
                         (struct ph_slice){(uint8_t *)ask.name, ask.name_n}, result, u, x->r->now);
    }
}

/* Hands the packet in again. */
static int again(struct lookup *x, bool final)
{
    struct rig *r = x->r;
    cr_assert_eq(r->verdict, PH_LATER);
    r->verdict =
        final ? ph_turnd_input_final(r->d, &r->pkt, r->now) : ph_turnd_input(r->d, &r->pkt, r->now);
    if (r->verdict == PH_CONSUMED)
        rig_drain(r);
    rig_result(r);
    return rig_code(r);
}

static void allocate_request(struct lookup *x)
{
    rig_challenge(x->r, &x->c);
    rig_begin(x->r, PH_ALLOCATE);
    ph_msgw_uint(&x->r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send_signed(x->r, &x->c);
}

/* An allocation of a user who is in the database like this. */
static int allocate(struct lookup *x, const struct ph_userdb_user *u)
{
    allocate_request(x);
    if (x->r->verdict != PH_LATER)
        return rig_code(x->r);
    serve(x, u ? PH_USERDB_FOUND : PH_USERDB_NONE, u);
    return again(x, false);
}

Test(turn_lookup, packet_waits_untouched)
{
    struct lookup x = lookup_new();
    struct ph_userdb_user u = dora();
    uint8_t copy[1500];

    rig_start(x.r);
    allocate_request(&x);
    cr_assert_eq(x.r->verdict, PH_LATER);
    uint32_t n = x.r->pkt.b.len;
    cr_assert_leq(n, sizeof copy);
    cr_expect_eq(memcmp(x.r->req, ph_buf_data(&x.r->pkt.b), n), 0);
    cr_expect_eq(x.r->pkt.b.off, PH_HEADROOM);
    cr_expect_eq(ph_turnd_stats(x.r->d)->lookups, 1);
    cr_expect_eq(again(&x, false), -1);
    cr_expect_eq(x.r->verdict, PH_LATER);
    serve(&x, PH_USERDB_FOUND, &u);
    cr_expect_eq(x.asked, 1);
    cr_expect_eq(again(&x, false), 0);
    cr_expect_eq(ph_msg_check_integrity(&x.r->out, ph_key_slice(&x.r->key)), 0);
    cr_expect_eq(rig_permit(x.r, &x.c, "192.0.2.5:9"), 0, "by the standing key");
    cr_expect_eq(ph_userdb_stats(x.db)->hits, 1);
    lookup_free(&x);
}

Test(turn_lookup, final_packets_do_not_wait)
{
    struct lookup x = lookup_new();

    rig_start(x.r);
    allocate_request(&x);
    cr_expect_eq(again(&x, true), 500);
    allocate_request(&x);
    serve(&x, PH_USERDB_FAILED, NULL);
    cr_expect_eq(again(&x, false), 500);
    cr_expect_eq(ph_turnd_count(x.r->d), 0);
    lookup_free(&x);
}

/* One test of bytes: who guesses names must learn nothing from what comes back. */
Test(turn_lookup, unknown_users_and_wrong_passwords_are_alike)
{
    static const char *const who[][2] = {
        {"dora", "wrong"}, {"zora", "explorer"}, {"alice", "wrong"}, {"alicf", "secret"}};
    struct lookup x = lookup_new();
    struct ph_userdb_user u = dora();
    uint8_t first[256];
    uint32_t n = 0;

    rig_start(x.r);
    for (int i = 0; i < 4; i++) {
        x.r->user = who[i][0];
        x.r->pass = who[i][1];
        x.r->txid = 0x700; /* the same transaction id for each */
        allocate_request(&x);
        while (x.r->verdict == PH_LATER) {
            serve(&x, i == 0 ? PH_USERDB_FOUND : PH_USERDB_NONE, i == 0 ? &u : NULL);
            again(&x, false);
        }
        cr_assert_eq(rig_code(x.r), 401);
        cr_assert_leq(x.r->pkt.b.len, sizeof first);
        if (i == 0) {
            n = x.r->pkt.b.len;
            memcpy(first, ph_buf_data(&x.r->pkt.b), n);
        }
        cr_expect_eq(x.r->pkt.b.len, n);
        cr_expect_eq(memcmp(ph_buf_data(&x.r->pkt.b), first, n), 0, "%s", who[i][0]);
    }
    lookup_free(&x);
}

Test(turn_lookup, users_of_the_configuration_go_first)
{
    struct lookup x = lookup_new();

    ph_auth_add_secret(x.r->auth, ph_str("logen"));
    rig_start(x.r);
    x.r->user = "alice";
    x.r->pass = "secret";
    cr_expect_eq(rig_allocate(x.r, &x.c), 0);
    x.c.port++;
    rig_rest(x.r, "logen", "1800000600:carol");
    cr_expect_eq(rig_allocate(x.r, &x.c), 0);
    x.c.port++;
    rig_rest(x.r, "logen", "1700000000:carol");
    cr_expect_eq(rig_allocate(x.r, &x.c), 401, "expired");
    serve(&x, PH_USERDB_NONE, NULL);
    cr_expect_eq(x.asked, 0);
    lookup_free(&x);
}

/* The database has MD5 keys alone. */
Test(turn_lookup, no_algorithms_and_no_userhash_are_offered)
{
    struct lookup x = lookup_new();
    struct ph_userdb_user u = dora();

    rig_start(x.r);
    rig_challenge(x.r, &x.c);
    cr_expect_not(ph_msg_has(&x.r->out, PH_IX_PASSWORD_ALGORITHMS));
    cr_expect_neq(memcmp(x.r->nonce, "obMatJos2", 9), 0);
    cr_expect_eq(allocate(&x, &u), 0);
    lookup_free(&x);
}

Test(turn_lookup, limits_come_from_the_database)
{
    struct lookup x = lookup_new();
    struct ph_userdb_user u = dora();

    u.max_allocations = 1;
    u.max_bps = 1000;
    x.r->quota = ph_quota_new(0, 5, 16, &x.r->env);
    rig_start(x.r);
    cr_expect_eq(allocate(&x, &u), 0);
    cr_assert_eq(rig_permit(x.r, &x.c, "192.0.2.5:9"), 0);
    uint8_t data[600] = {0};
    cr_expect_eq(rig_indicate(x.r, &x.c, "192.0.2.5:9", data, 600), PH_SEND);
    cr_expect_eq(rig_indicate(x.r, &x.c, "192.0.2.5:9", data, 600), PH_DROP);
    x.c.port++;
    cr_expect_eq(allocate(&x, &u), 486);
    lookup_free(&x);
}

Test(turn_lookup, expired_users_are_refused)
{
    struct lookup x = lookup_new();
    struct ph_userdb_user u = dora();

    u.expires_s = 1799999999;
    rig_start(x.r);
    cr_expect_eq(allocate(&x, &u), 401);
    lookup_free(&x);
}

Test(turn_lookup, strict_expiry_ends_the_session)
{
    struct lookup x = lookup_new();
    struct ph_userdb_user u = dora();

    u.expires_s = 1800000100;
    x.r->c.live.strict_expiry = true;
    rig_start(x.r);
    cr_assert_eq(allocate(&x, &u), 0);
    rig_sleep(x.r, PH_SEC(100) - 1);
    cr_expect_eq(x.r->downs, 0);
    rig_sleep(x.r, 1);
    cr_expect_eq(x.r->downs, 1);
    cr_expect_eq(x.r->reason, PH_END_CREDENTIAL);
    lookup_free(&x);
}

/* A slow, dead or wiped database never ends what it has let in. */
Test(turn_lookup, sessions_outlive_the_database)
{
    struct lookup x = lookup_new();
    struct ph_userdb_user u = dora();

    rig_start(x.r);
    cr_assert_eq(allocate(&x, &u), 0);
    rig_sleep(x.r, PH_SEC(300));
    rig_challenge(x.r,
                  &(struct ph_addr){
                      .ip = {203, 0, 113, 9}, .port = 9, .family = PH_AF_INET, .proto = PH_UDP});
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0, "no look-up");
    ph_turnd_reload(x.r->d, &x.r->c.live, x.r->now);
    ph_userdb_forget(x.db, ph_str(""), ph_str("")); /* nor is there an old answer */
    rig_refresh(x.r, &x.c, 600);
    cr_expect_eq(x.r->verdict, PH_LATER, "one after a reload");
    serve(&x, PH_USERDB_FAILED, NULL);
    cr_expect_eq(again(&x, false), 0, "but it need not be answered");
    cr_expect_eq(rig_permit(x.r, &x.c, "192.0.2.5:9"), 0);
    x.r->now += PH_SEC(2);
    rig_refresh(x.r, &x.c, 600);
    cr_expect_eq(x.r->verdict, PH_LATER);
    cr_expect_eq(again(&x, true), 0);
    serve(&x, PH_USERDB_FOUND, &u);
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0);
    serve(&x, PH_USERDB_NONE, NULL);
    cr_expect_eq(x.asked, 3);
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0, "looked up: the standing key does again");
    lookup_free(&x);
}

Test(turn_lookup, a_user_who_is_gone_is_refused_after_a_reload)
{
    struct lookup x = lookup_new();
    struct ph_userdb_user u = dora();

    rig_start(x.r);
    cr_assert_eq(allocate(&x, &u), 0);
    cr_assert_eq(rig_permit(x.r, &x.c, "192.0.2.5:9"), 0);
    rig_sleep(x.r, PH_SEC(61));
    ph_turnd_reload(x.r->d, &x.r->c.live, x.r->now);
    rig_refresh(x.r, &x.c, 600);
    serve(&x, PH_USERDB_NONE, NULL);
    cr_expect_eq(again(&x, false), 401);
    cr_expect_eq(rig_indicate(x.r, &x.c, "192.0.2.5:9", "x", 1), PH_SEND,
                 "the data path asks nobody");
    lookup_free(&x);
}

Test(turn_lookup, a_changed_password_is_taken_over)
{
    struct lookup x = lookup_new();
    struct ph_userdb_user u = dora();
    struct ph_key k;

    rig_start(x.r);
    cr_assert_eq(allocate(&x, &u), 0);
    rig_sleep(x.r, PH_SEC(61));
    ph_turnd_reload(x.r->d, &x.r->c.live, x.r->now);
    ph_key_long_term(&k, PH_ALG_MD5, ph_str("dora"), ph_str(rig_realm), ph_str("boots"));
    memcpy(u.key, k.b, sizeof u.key);
    rig_refresh(x.r, &x.c, 600);
    serve(&x, PH_USERDB_FOUND, &u);
    cr_expect_eq(again(&x, false), 401, "the old one");
    x.r->pass = "boots";
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0);
    cr_expect_eq(ph_msg_check_integrity(&x.r->out, ph_key_slice(&x.r->key)), 0);
    uint64_t hits = ph_userdb_stats(x.db)->hits;
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0);
    cr_expect_eq(ph_userdb_stats(x.db)->hits, hits, "the new one stands by now");
    lookup_free(&x);
}

Test(turn_lookup, revoking_forgets)
{
    struct lookup x = lookup_new();
    struct ph_userdb_user u = dora();

    rig_start(x.r);
    cr_assert_eq(allocate(&x, &u), 0);
    cr_expect_eq(ph_turnd_revoke(x.r->d, ph_str(rig_realm), ph_str("dora"), x.r->now), 1);
    rig_drain(x.r);
    cr_expect_eq(x.r->reason, PH_END_REVOKED);
    cr_expect_eq(allocate(&x, NULL), 401, "asked for anew");
    cr_expect_eq(x.asked, 2);
    lookup_free(&x);
}
