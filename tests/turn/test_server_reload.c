/*
 * Other users, policies and limits while sessions stand.
 */
#include "support/oom.h"
#include "turn/rig.h"

#include <stdio.h>

static const char client_text[] = "203.0.113.9:40000";
static const char peer_text[] = "192.0.2.5:9";

/* A server with one session, and a second set of users and rules to load. */
struct reload {
    struct rig *r;
    struct ph_addr c;
    struct ph_turnd_live live;
    struct ph_auth *auth;
    struct ph_acl *acl;
};

static struct reload reload_with(struct rig *r)
{
    struct reload x = {.r = r, .c = rig_addr(client_text)};
    rig_start(r);
    x.auth = ph_auth_new(rig_realm, &r->env);
    ph_auth_add_user(x.auth, ph_str("alice"), ph_str("secret"));
    x.acl = ph_acl_new();
    x.live = r->c.live;
    x.live.auth = x.auth;
    x.live.acl = x.acl;
    return x;
}

static struct reload reload_new(void)
{
    return reload_with(rig_new());
}

static void join(struct reload *x)
{
    cr_assert_eq(rig_allocate(x->r, &x->c), 0);
    cr_assert_eq(rig_permit(x->r, &x->c, peer_text), 0);
    cr_assert_eq(rig_bind(x->r, &x->c, 0x4000, peer_text), 0);
}

static void load(struct reload *x)
{
    ph_turnd_reload(x->r->d, &x->live, x->r->now);
    rig_drain(x->r);
}

static void reload_free(struct reload *x)
{
    rig_free(x->r);
    ph_auth_free(x->auth);
    ph_acl_free(x->acl);
}

static void deny(struct reload *x, const char *rule)
{
    cr_assert_eq(ph_acl_add(x->acl, false, rule, strlen(rule)), 0);
}

/* What the session can do with its peer: both ways, by channel and without. */
static bool flows(struct reload *x)
{
    bool out = rig_channel(x->r, &x->c, 0x4000, "x", 1) == PH_SEND;
    bool in = rig_peer(x->r, peer_text, "y", 1) == PH_SEND;
    bool sent = rig_indicate(x->r, &x->c, peer_text, "x", 1) == PH_SEND;
    cr_expect(out == in && in == sent);
    return out;
}

/* --- users --------------------------------------------------------------------------------------- */

Test(turn_reload, changes_nothing_for_who_is_still_welcome)
{
    struct reload x = reload_new();

    join(&x);
    load(&x);
    cr_expect(flows(&x));
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0, "not even a new nonce");
    cr_expect_eq(rig_permit(x.r, &x.c, "192.0.2.6:9"), 0);
    cr_expect(flows(&x));
    cr_expect_eq(x.r->downs, 0);
    reload_free(&x);
}

/* What was loaded first may be freed after the next load: nothing may point there. */
Test(turn_reload, keeps_nothing_of_the_old)
{
    struct reload x = reload_new();
    struct ph_auth *third = ph_auth_new(rig_realm, &x.r->env);
    struct ph_acl *rules = ph_acl_new();

    join(&x);
    load(&x);
    ph_auth_free(x.r->auth);
    ph_acl_free(x.r->acl);
    x.r->auth = NULL;
    x.r->acl = NULL;
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0);
    ph_auth_add_user(third, ph_str("alice"), ph_str("secret"));
    x.live.auth = third;
    x.live.acl = rules;
    load(&x);
    ph_auth_free(x.auth);
    ph_acl_free(x.acl);
    x.auth = third;
    x.acl = rules;
    cr_expect(flows(&x));
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0);
    reload_free(&x);
}

Test(turn_reload, users_who_are_gone_are_refused_at_their_next_request)
{
    struct reload x = reload_new();

    x.r->user = "bob";
    x.r->pass = "hidden";
    join(&x);
    load(&x); /* without bob */
    cr_expect(flows(&x), "no packet is lost");
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 401);
    cr_expect_eq(rig_permit(x.r, &x.c, peer_text), 401);
    rig_sleep(x.r, PH_SEC(600));
    cr_expect_eq(x.r->reason, PH_END_EXPIRED);
    cr_expect_eq(x.r->downs, 1);
    reload_free(&x);
}

Test(turn_reload, changed_passwords_count)
{
    struct reload x = reload_new();

    join(&x);
    ph_auth_add_user(x.auth, ph_str("alice"), ph_str("changed"));
    load(&x);
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 401, "the old one");
    x.r->pass = "changed";
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0);
    cr_expect_eq(ph_msg_check_integrity(&x.r->out, ph_key_slice(&x.r->key)), 0);
    x.r->pass = "secret";
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 401, "it does not stand any more");
    reload_free(&x);
}

Test(turn_reload, secrets_roll_over)
{
    struct rig *r = rig_new();
    ph_auth_add_secret(r->auth, ph_str("first"));
    struct reload x = reload_with(r);

    rig_rest(r, "first", "1800000600:carol");
    join(&x);
    ph_auth_add_secret(x.auth, ph_str("second"));
    ph_auth_add_secret(x.auth, ph_str("first"));
    load(&x);
    cr_expect_eq(rig_refresh(r, &x.c, 600), 0);
    struct ph_addr other = x.c;
    other.port++;
    rig_rest(r, "second", "1800000600:carol");
    cr_expect_eq(rig_allocate(r, &other), 0);
    reload_free(&x);
}

/* --- what is offered ----------------------------------------------------------------------------- */

/* A client that acts on what its nonce has offered is told to ask anew, not that it is unknown. */
Test(turn_reload, what_is_no_longer_offered_is_a_stale_nonce)
{
    struct reload x = reload_new();
    struct ph_key key;

    x.r->sha256 = true;
    join(&x);
    ph_key_long_term(&key, PH_ALG_MD5, ph_str("alice"), ph_str(rig_realm), ph_str("secret"));
    ph_auth_add_user_key(x.auth, ph_str("alice"), key.b);
    load(&x);
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 438);
    cr_expect_not(ph_msg_has(&x.r->out, PH_IX_PASSWORD_ALGORITHMS));
    rig_take_nonce(x.r);
    cr_expect_neq(memcmp(x.r->nonce, "obMatJos2", 9), 0);
    x.r->sha256 = false;
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0);
    cr_expect(flows(&x));
    x.r->pass = "wrong";
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 401, "a wrong password is one");
    reload_free(&x);
}

/* The other way round nobody is disturbed: what a nonce did not offer, its owner does not use. */
Test(turn_reload, what_is_newly_offered_waits_for_the_next_nonce)
{
    struct rig *r = rig_new();
    struct ph_key key;
    ph_key_long_term(&key, PH_ALG_MD5, ph_str("old"), ph_str(rig_realm), ph_str("x"));
    ph_auth_add_user_key(r->auth, ph_str("old"), key.b);
    struct reload x = reload_with(r);

    join(&x);
    load(&x);
    cr_expect_eq(rig_refresh(r, &x.c, 600), 0);
    rig_challenge(r, &x.c);
    cr_expect(ph_msg_has(&r->out, PH_IX_PASSWORD_ALGORITHMS));
    r->sha256 = true;
    cr_expect_eq(rig_refresh(r, &x.c, 600), 0);
    reload_free(&x);
}

Test(turn_reload, a_userhash_that_cannot_be_resolved_is_a_stale_nonce)
{
    struct reload x = reload_new();
    uint8_t hash[PH_SHA256_LEN];
    struct ph_key key;

    rig_challenge(x.r, &x.c);
    ph_auth_add_secret(x.auth, ph_str("logen"));
    load(&x);
    for (int known = 0; known < 2; known++) {
        const char *name = known ? "alice" : "1800000600:carol";
        ph_userhash(hash, ph_str(name), ph_str(rig_realm));
        ph_key_long_term(&key, PH_ALG_MD5, ph_str(name), ph_str(rig_realm), ph_str("secret"));
        rig_begin(x.r, PH_ALLOCATE);
        ph_msgw_uint(&x.r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        ph_msgw_bytes(&x.r->w, PH_ATTR_USERHASH, (struct ph_slice){hash, sizeof hash});
        ph_msgw_bytes(&x.r->w, PH_ATTR_REALM, ph_str(rig_realm));
        ph_msgw_bytes(&x.r->w, PH_ATTR_NONCE,
                      (struct ph_slice){(uint8_t *)x.r->nonce, x.r->nonce_n});
        ph_msgw_integrity(&x.r->w, ph_key_slice(&key));
        rig_send(x.r, &x.c);
        cr_expect_eq(rig_code(x.r), known ? 0 : 438, "%s", name);
    }
    reload_free(&x);
}

/* --- peers --------------------------------------------------------------------------------------- */

Test(turn_reload, permissions_that_are_forbidden_by_now_end)
{
    struct reload x = reload_new();

    join(&x);
    cr_assert_eq(rig_permit(x.r, &x.c, "192.0.2.77:9"), 0);
    deny(&x, "192.0.2.5");
    load(&x);
    cr_expect_not(flows(&x));
    cr_expect_eq(rig_indicate(x.r, &x.c, "192.0.2.77:9", "x", 1), PH_SEND, "others stay");
    cr_expect_eq(rig_permit(x.r, &x.c, peer_text), 403);
    cr_expect_eq(rig_bind(x.r, &x.c, 0x4000, "192.0.2.77:9"), 0, "the channel is free again");
    reload_free(&x);
}

Test(turn_reload, ports_that_are_forbidden_by_now_are_closed)
{
    struct reload x = reload_new();

    join(&x);
    cr_assert_eq(rig_bind(x.r, &x.c, 0x4001, "192.0.2.5:25"), 0);
    deny(&x, "*:25");
    load(&x);
    cr_expect(flows(&x), "port 9 stays open");
    cr_expect_eq(rig_channel(x.r, &x.c, 0x4001, "x", 1), PH_DROP);
    cr_expect_eq(rig_indicate(x.r, &x.c, "192.0.2.5:25", "x", 1), PH_DROP);
    cr_expect_eq(rig_peer(x.r, "192.0.2.5:25", "x", 1), PH_DROP);
    cr_expect_eq(rig_permit(x.r, &x.c, peer_text), 0);
    reload_free(&x);
}

Test(turn_reload, rules_that_are_gone_open_again)
{
    struct rig *r = rig_new();
    ph_acl_add(r->acl, false, "192.0.2.5:25", 12);
    struct reload x = reload_with(r);

    join(&x);
    cr_expect_eq(rig_indicate(r, &x.c, "192.0.2.5:25", "x", 1), PH_DROP);
    load(&x);
    cr_expect(flows(&x));
    cr_expect_eq(rig_indicate(r, &x.c, "192.0.2.5:25", "x", 1), PH_SEND);
    reload_free(&x);
}

/* Live relays may always be talked to: sessions between two clients of one server go on. */
Test(turn_reload, relay_to_relay_stays_where_its_address_is_denied_by_now)
{
    struct reload x = reload_new();
    struct ph_addr other = rig_addr("203.0.113.10:40000"), relay;
    char peer[PH_ADDR_TEXT];

    cr_assert_eq(rig_allocate(x.r, &other), 0);
    ph_msg_addr(&x.r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay);
    ph_addr_text(&relay, peer);
    cr_assert_eq(rig_allocate(x.r, &x.c), 0);
    cr_assert_eq(rig_permit(x.r, &x.c, peer), 0);
    cr_assert_eq(rig_bind(x.r, &x.c, 0x4000, peer), 0);
    deny(&x, "198.51.100.0/24");
    load(&x);
    cr_expect_eq(rig_channel(x.r, &x.c, 0x4000, "x", 1), PH_SEND);
    cr_expect_eq(rig_indicate(x.r, &x.c, peer, "x", 1), PH_SEND);
    relay.port ^= 1;
    cr_expect_eq(rig_indicate(x.r, &x.c, ph_addr_text(&relay, peer), "x", 1), PH_DROP);
    reload_free(&x);
}

Test(turn_reload, own_services_close)
{
    struct reload x = reload_new();

    cr_assert_eq(rig_allocate(x.r, &x.c), 0);
    cr_assert_eq(rig_permit(x.r, &x.c, "192.0.2.5:1"), 0);
    cr_expect_eq(rig_indicate(x.r, &x.c, "192.0.2.5:6379", "x", 1), PH_SEND);
    x.live.forbidden[0] = rig_addr("192.0.2.5:6379");
    x.live.n_forbidden = 1;
    load(&x);
    cr_expect_eq(rig_indicate(x.r, &x.c, "192.0.2.5:6379", "x", 1), PH_DROP);
    cr_expect_eq(rig_indicate(x.r, &x.c, "192.0.2.5:6380", "x", 1), PH_SEND);
    reload_free(&x);
}

/* --- realms and quotas --------------------------------------------------------------------------- */

struct two {
    struct ph_auth *a, *b;
    struct ph_quota *qa, *qb;
};

/* Realms a.example and b.example, each with a user of its name and a quota. */
static struct two two_realms(struct rig *r)
{
    struct two t = {ph_auth_new("a.example", &r->env), ph_auth_new("b.example", &r->env),
                    ph_quota_new(0, 0, 16, &r->env), ph_quota_new(0, 0, 16, &r->env)};
    ph_auth_add_user(t.a, ph_str("alice"), ph_str("secret"));
    ph_auth_add_user(t.b, ph_str("alice"), ph_str("secret"));
    r->c.live.realm[0] = (struct ph_turnd_realm){.auth = t.a, .quota = t.qa, .origin = "a:"};
    r->c.live.realm[1] = (struct ph_turnd_realm){.auth = t.b, .quota = t.qb, .origin = "b:"};
    r->c.live.n_realms = 2;
    return t;
}

static void two_free(struct two *t)
{
    ph_auth_free(t->a);
    ph_auth_free(t->b);
    ph_quota_free(t->qa);
    ph_quota_free(t->qb);
}

static void allocate_in(struct rig *r, const struct ph_addr *c, const char *realm,
                        const char *origin)
{
    r->realm = realm;
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_raw(&r->w, 0x802F, ph_str(origin));
    rig_send(r, c);
    cr_assert_eq(rig_code(r), 401);
    rig_take_nonce(r);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send_signed(r, c);
    cr_assert_eq(rig_code(r), 0);
}

Test(turn_reload, realms_are_found_by_name_and_go_with_theirs)
{
    struct rig *r = rig_new();
    struct two t = two_realms(r);
    struct reload x = reload_with(r);
    struct ph_addr b = rig_addr("203.0.113.10:40000");
    struct ph_turnd_info info;
    uint32_t id = 0;

    allocate_in(r, &x.c, "a.example", "a:");
    allocate_in(r, &b, "b.example", "b:");
    cr_expect_eq(ph_quota_used(t.qa), 1);
    /* b becomes the first and only one. */
    x.live.realm[0] = x.live.realm[1];
    x.live.n_realms = 1;
    load(&x);
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(r->reason, PH_END_REVOKED);
    cr_expect_eq(ph_quota_used(t.qa), 0);
    cr_expect_eq(ph_quota_used(t.qb), 1);
    cr_assert(ph_turnd_list(r->d, &id, &info));
    cr_expect(ph_slice_eq(info.realm, ph_str("b.example")));
    cr_expect_eq(rig_refresh(r, &b, 600), 0);
    cr_expect_eq(rig_refresh(r, &b, 0), 0);
    cr_expect_eq(ph_quota_used(t.qb), 0);
    reload_free(&x);
    two_free(&t);
}

/* What a log says of an allocation is right even when its realm has gone. */
Test(turn_reload, the_end_of_an_allocation_names_the_realm_that_is_gone)
{
    struct rig *r = rig_new();
    struct two t = two_realms(r);
    struct reload x = reload_with(r);
    struct ph_turnd_ev ev;
    bool told = false;

    allocate_in(r, &x.c, "a.example", "a:");
    x.live.n_realms = 0;
    ph_turnd_reload(r->d, &x.live, r->now);
    while (ph_turnd_event(r->d, &ev))
        if (ev.type == PH_TURND_ALLOC_DOWN) {
            told = true;
            cr_expect(ph_slice_eq(ev.info.realm, ph_str("a.example")));
        }
    cr_expect(told);
    reload_free(&x);
    two_free(&t);
}

/* While a relay is being opened nothing can end; the request fails instead. */
Test(turn_reload, an_allocation_under_way_in_a_realm_that_goes_fails)
{
    struct rig *r = rig_new();
    struct two t = two_realms(r);
    struct reload x = reload_with(r);

    r->hold_opens = true;
    r->realm = "a.example";
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_raw(&r->w, 0x802F, ph_str("a:"));
    rig_send(r, &x.c);
    rig_take_nonce(r);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send_signed(r, &x.c);
    cr_assert_eq(r->opens, 1);
    x.live.n_realms = 0;
    load(&x);
    ph_turnd_relay_opened(r->d, r->held_sock, 0, r->now);
    cr_expect(rig_take(r));
    cr_expect_eq(rig_code(r), 500);
    cr_expect_eq(r->closes, 1);
    cr_expect_eq(ph_quota_used(t.qa), 0);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    reload_free(&x);
    two_free(&t);
}

Test(turn_reload, allocations_move_to_the_quota_of_now)
{
    struct rig *r = rig_new();
    struct two t = two_realms(r);
    struct reload x = reload_with(r);
    struct ph_quota *fresh = ph_quota_new(0, 1, 16, &r->env);

    allocate_in(r, &x.c, "a.example", "a:");
    x.live.realm[0].quota = fresh;
    load(&x);
    cr_expect_eq(ph_quota_used(t.qa), 0);
    cr_expect_eq(ph_quota_used(fresh), 1);
    ph_quota_free(t.qa);
    t.qa = fresh;
    cr_expect_eq(rig_refresh(r, &x.c, 0), 0);
    cr_expect_eq(ph_quota_used(fresh), 0);
    reload_free(&x);
    two_free(&t);
}

Test(turn_reload, to_no_auth_and_back)
{
    struct rig *r = rig_new();
    r->quota = ph_quota_new(0, 2, 16, &r->env);
    struct reload x = reload_with(r);
    struct ph_turnd_live open = x.live;
    struct ph_addr anybody = rig_addr("203.0.113.10:40000");

    join(&x);
    open.auth = NULL;
    ph_turnd_reload(r->d, &open, r->now);
    cr_expect(flows(&x));
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send(r, &anybody);
    cr_assert_eq(rig_code(r), 0);
    rig_begin(r, PH_REFRESH);
    rig_send(r, &x.c);
    cr_expect_eq(rig_code(r), 0);
    load(&x);
    rig_begin(r, PH_REFRESH);
    rig_send(r, &anybody);
    cr_expect_eq(rig_code(r), 401, "who came in without a name must say one");
    rig_challenge(r, &anybody);
    cr_expect_eq(rig_refresh(r, &anybody, 600), 0);
    rig_challenge(r, &x.c);
    cr_expect_eq(rig_refresh(r, &x.c, 600), 0);
    x.c.port++;
    cr_expect_eq(rig_allocate(r, &x.c), 486, "and it is counted as his: the third");
    cr_expect_eq(ph_quota_used(r->quota), 2);
    reload_free(&x);
}

/* --- limits -------------------------------------------------------------------------------------- */

static unsigned burst(struct reload *x)
{
    uint8_t data[500] = {0};
    unsigned passed = 0;
    for (int i = 0; i < 40; i++)
        passed += rig_channel(x->r, &x->c, 0x4000, data, sizeof data) == PH_SEND;
    return passed;
}

Test(turn_reload, bounds_come_change_and_go)
{
    struct reload x = reload_new();

    join(&x);
    cr_expect_eq(burst(&x), 40);
    x.live.max_bps = 5000;
    load(&x);
    cr_expect_eq(burst(&x), 10);
    x.live.max_bps = 10000;
    load(&x);
    x.r->now += PH_SEC(5);
    cr_expect_eq(burst(&x), 20);
    x.live.max_bps = 0;
    load(&x);
    cr_expect_eq(burst(&x), 40);
    x.live.new_peers_burst = 1;
    x.live.new_peers_rate = 1;
    load(&x);
    cr_expect_eq(rig_permit(x.r, &x.c, "192.0.2.6:9"), 0);
    cr_expect_eq(rig_permit(x.r, &x.c, "192.0.2.7:9"), 508);
    x.live.new_peers_burst = 0;
    load(&x);
    cr_expect_eq(rig_permit(x.r, &x.c, "192.0.2.7:9"), 0);
    reload_free(&x);
}

/* A user's own limits are known again with his next request. */
Test(turn_reload, own_limits_follow_the_next_look_up)
{
    struct reload x = reload_new();

    join(&x);
    ph_auth_limit_user(x.auth, ph_str("alice"), &(struct ph_auth_limits){.max_bps = 5000});
    load(&x);
    cr_expect_eq(burst(&x), 40);
    cr_expect_eq(rig_permit(x.r, &x.c, peer_text), 0);
    cr_expect_eq(burst(&x), 10);
    reload_free(&x);
}

Test(turn_reload, strict_expiry_reaches_sessions_that_stand)
{
    struct rig *r = rig_new();
    ph_auth_add_secret(r->auth, ph_str("logen"));
    struct reload x = reload_with(r);

    rig_rest(r, "logen", "1800000100:carol");
    join(&x);
    ph_auth_add_secret(x.auth, ph_str("logen"));
    x.live.strict_expiry = true;
    load(&x);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(100));
    rig_sleep(r, PH_SEC(100));
    cr_expect_eq(r->reason, PH_END_CREDENTIAL);
    reload_free(&x);
}

Test(turn_reload, what_is_incomplete_changes_nothing)
{
    struct reload x = reload_new();
    struct ph_turnd_live good = x.live;

    join(&x);
    x.live.acl = NULL;
    load(&x);
    x.live = good;
    x.live.n_realms = 1;
    load(&x);
    x.live = good;
    x.live.n_forbidden = PH_TURND_FORBIDDEN + 1;
    load(&x);
    cr_expect(flows(&x));
    cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0);
    cr_expect_eq(x.r->downs, 0);
    reload_free(&x);
}

Test(turn_reload, survives_want_of_memory)
{
    for (unsigned n = 1; oom_works(); n++) {
        struct reload x = reload_new();
        join(&x);
        ph_auth_add_user(x.auth, ph_str("alice"), ph_str("changed"));
        x.live.max_bps = 5000;
        oom_fail_at(n);
        load(&x);
        x.r->pass = "changed";
        int code = rig_refresh(x.r, &x.c, 600);
        bool failed = oom_disarm();
        cr_expect(code == 0 || (failed && code == 500), "%d", code);
        cr_expect(flows(&x));
        cr_expect_eq(rig_refresh(x.r, &x.c, 600), 0, "the next one has room again");
        reload_free(&x);
        if (!failed)
            break;
    }
}
