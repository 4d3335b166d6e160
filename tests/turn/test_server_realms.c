/*
 * Several realms on one server: which one a client is asked for, and what holds in each.
 */
#include "turn/rig.h"

enum { ORIGIN = 0x802F };

static const char client_text[] = "203.0.113.9:40000";

struct realms {
    struct rig *r;
    struct ph_auth *shop, *game;
    struct ph_acl *acl;
    struct ph_quota *quota;
    struct ph_addr c;
};

/* example.org by default, shop.example for one origin, game.example with a policy and a quota of its own. */
static struct realms realms_new(void)
{
    struct realms x = {.r = rig_new(), .c = rig_addr(client_text)};
    struct rig *r = x.r;

    x.shop = ph_auth_new("shop.example", &r->env);
    ph_auth_add_user(x.shop, ph_str("alice"), ph_str("shop secret"));
    x.game = ph_auth_new("game.example", &r->env);
    ph_auth_add_user(x.game, ph_str("carol"), ph_str("play"));
    x.acl = ph_acl_new();
    ph_acl_add(x.acl, false, "192.0.2.5", 9);
    ph_acl_add(x.acl, true, "10.0.0.5", 8);
    x.quota = ph_quota_new(0, 1, 16, &r->env);
    r->quota = ph_quota_new(0, 2, 16, &r->env);
    r->c.live.realm[0] =
        (struct ph_turnd_realm){.auth = x.shop, .origin = "https://shop.example:8443"};
    r->c.live.realm[1] = (struct ph_turnd_realm){
        .auth = x.game, .acl = x.acl, .quota = x.quota, .origin = "https://game.example"};
    r->c.live.n_realms = 2;
    return x;
}

static void realms_free(struct realms *x)
{
    rig_free(x->r);
    ph_auth_free(x->shop);
    ph_auth_free(x->game);
    ph_acl_free(x->acl);
    ph_quota_free(x->quota);
}

static void be(struct rig *r, const char *realm, const char *user, const char *pass)
{
    r->realm = realm;
    r->user = user;
    r->pass = pass;
}

static void allocate_request(struct rig *r, const char *origin)
{
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    if (origin)
        ph_msgw_raw(&r->w, ORIGIN, ph_str(origin));
}

static void expect_realm(const struct rig *r, const char *realm)
{
    struct ph_slice s;
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_REALM, &s), 0);
    cr_expect(ph_slice_eq(s, ph_str(realm)), "%.*s", (int)s.n, (const char *)s.p);
}

/* An allocation in a realm, from the challenge on.  Returns the code. */
static int allocate_in(struct realms *x, const char *origin)
{
    allocate_request(x->r, origin);
    rig_send(x->r, &x->c);
    cr_assert_eq(rig_code(x->r), 401);
    rig_take_nonce(x->r);
    allocate_request(x->r, NULL);
    rig_send_signed(x->r, &x->c);
    return rig_code(x->r);
}

Test(turn_realms, origin_chooses_the_realm_of_the_challenge)
{
    static const struct {
        const char *origin, *realm;
    } table[] = {
        {NULL, "example.org"},
        {"https://shop.example:8443", "shop.example"},
        {"HTTPS://Shop.Example:8443/", "shop.example"},
        {"https://game.example", "game.example"},
        {"https://game.example/", "game.example"},
        {"https://shop.example", "example.org"},
        {"https://game.example.evil", "example.org"},
        {"xhttps://game.example", "example.org"},
        {"%s%n", "example.org"},
        {"/", "example.org"},
        {"", "example.org"},
    };
    struct realms x = realms_new();

    rig_start(x.r);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        allocate_request(x.r, table[i].origin);
        rig_send(x.r, &x.c);
        cr_expect_eq(rig_code(x.r), 401);
        expect_realm(x.r, table[i].realm);
    }
    /* Of several origins the first that is known. */
    allocate_request(x.r, "https://nobody.example");
    ph_msgw_raw(&x.r->w, ORIGIN, ph_str("https://game.example"));
    rig_send(x.r, &x.c);
    expect_realm(x.r, "game.example");
    realms_free(&x);
}

Test(turn_realms, each_has_its_users)
{
    static const struct {
        const char *origin, *realm, *user, *pass;
        int code;
    } table[] = {
        {NULL, NULL, "alice", "secret", 0},
        {NULL, NULL, "alice", "shop secret", 401},
        {NULL, NULL, "carol", "play", 401},
        {"https://shop.example:8443", "shop.example", "alice", "shop secret", 0},
        {"https://shop.example:8443", "shop.example", "alice", "secret", 401},
        {"https://shop.example:8443", "shop.example", "bob", "hidden", 401},
        {"https://game.example", "game.example", "carol", "play", 0},
        {"https://game.example", "game.example", "alice", "secret", 401},
    };
    struct realms x = realms_new();

    rig_start(x.r);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++, x.c.port++) {
        be(x.r, table[i].realm, table[i].user, table[i].pass);
        cr_expect_eq(allocate_in(&x, table[i].origin), table[i].code, "row %zu", i);
        if (table[i].code)
            expect_realm(x.r, table[i].realm ? table[i].realm : rig_realm);
    }
    realms_free(&x);
}

Test(turn_realms, one_that_is_not_ours_is_challenged)
{
    static const char *const foreign[] = {"other.example", "Example.org", "example.org ", "%s",
                                          "shop.example/"};
    struct realms x = realms_new();

    rig_start(x.r);
    rig_challenge(x.r, &x.c);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        be(x.r, foreign[i], "alice", "secret");
        allocate_request(x.r, "https://game.example");
        rig_send_signed(x.r, &x.c);
        cr_expect_eq(rig_code(x.r), 401, "%s", foreign[i]);
        expect_realm(x.r, "game.example");
        allocate_request(x.r, NULL);
        rig_send_signed(x.r, &x.c);
        cr_expect_eq(rig_code(x.r), 401);
        expect_realm(x.r, "example.org");
    }
    realms_free(&x);
}

Test(turn_realms, nonce_is_good_in_its_own_alone)
{
    struct realms x = realms_new();

    rig_start(x.r);
    rig_challenge(x.r, &x.c);
    be(x.r, "shop.example", "alice", "shop secret");
    allocate_request(x.r, NULL);
    rig_send_signed(x.r, &x.c);
    cr_expect_eq(rig_code(x.r), 438);
    expect_realm(x.r, "shop.example");
    rig_take_nonce(x.r);
    allocate_request(x.r, NULL);
    rig_send_signed(x.r, &x.c);
    cr_expect_eq(rig_code(x.r), 0);
    realms_free(&x);
}

/* The same name in two realms is two users. */
Test(turn_realms, allocation_belongs_to_a_user_of_its_realm)
{
    struct realms x = realms_new();
    struct ph_turnd_info info;
    uint32_t id = 0;

    rig_start(x.r);
    be(x.r, "shop.example", "alice", "shop secret");
    cr_assert_eq(allocate_in(&x, "https://shop.example:8443"), 0);
    cr_assert(ph_turnd_list(x.r->d, &id, &info));
    cr_expect(ph_slice_eq(info.realm, ph_str("shop.example")));
    /* Without ORIGIN its requests are challenged in its own realm. */
    rig_begin(x.r, PH_REFRESH);
    rig_send(x.r, &x.c);
    cr_expect_eq(rig_code(x.r), 401);
    expect_realm(x.r, "shop.example");
    /* The nonce of the other realm is got from another port of the client. */
    struct ph_addr elsewhere = x.c;
    elsewhere.port++;
    rig_challenge(x.r, &elsewhere);
    be(x.r, NULL, "alice", "secret");
    cr_expect_eq(rig_refresh(x.r, &x.c, 0), 441);
    cr_expect_eq(rig_permit(x.r, &x.c, "192.0.2.7:9"), 441);
    cr_expect_eq(ph_turnd_count(x.r->d), 1);
    realms_free(&x);
}

Test(turn_realms, each_has_its_peers)
{
    struct realms x = realms_new();

    rig_start(x.r);
    be(x.r, "game.example", "carol", "play");
    cr_assert_eq(allocate_in(&x, "https://game.example"), 0);
    cr_expect_eq(rig_permit(x.r, &x.c, "192.0.2.5:9"), 403);
    cr_expect_eq(rig_permit(x.r, &x.c, "10.0.0.5:9"), 0);
    cr_expect_eq(rig_indicate(x.r, &x.c, "10.0.0.5:9", "x", 1), PH_SEND);
    x.c.port++;
    be(x.r, "shop.example", "alice", "shop secret"); /* the default policy */
    cr_assert_eq(allocate_in(&x, "https://shop.example:8443"), 0);
    cr_expect_eq(rig_permit(x.r, &x.c, "192.0.2.5:9"), 0);
    cr_expect_eq(rig_permit(x.r, &x.c, "10.0.0.5:9"), 403);
    realms_free(&x);
}

Test(turn_realms, each_has_its_quota)
{
    struct realms x = realms_new();

    rig_start(x.r);
    be(x.r, "game.example", "carol", "play");
    cr_expect_eq(allocate_in(&x, "https://game.example"), 0);
    struct ph_addr first = x.c;
    x.c.port++;
    cr_expect_eq(allocate_in(&x, "https://game.example"), 486);
    cr_expect_eq(ph_quota_used(x.quota), 1);
    cr_expect_eq(ph_quota_used(x.r->quota), 0);
    cr_expect_eq(rig_refresh(x.r, &first, 0), 0);
    cr_expect_eq(ph_quota_used(x.quota), 0);
    cr_expect_eq(allocate_in(&x, "https://game.example"), 0);
    be(x.r, "shop.example", "alice", "shop secret"); /* the default quota */
    for (int i = 0; i < 3; i++, x.c.port++) {
        x.c.ip[3] = 77;
        cr_expect_eq(allocate_in(&x, "https://shop.example:8443"), i < 2 ? 0 : 486);
    }
    cr_expect_eq(ph_quota_used(x.r->quota), 2);
    realms_free(&x);
}

/* A client does not know beforehand which realm it will be in: what one cannot do is offered in none. */
Test(turn_realms, what_one_cannot_do_is_offered_in_none)
{
    struct realms x = realms_new();
    unsigned features;
    struct ph_slice nonce;

    ph_auth_add_secret(x.game, ph_str("s"));
    rig_start(x.r);
    rig_challenge(x.r, &x.c);
    nonce = (struct ph_slice){(uint8_t *)x.r->nonce, x.r->nonce_n};
    cr_assert(ph_nonce_cookie_read(nonce, &features));
    cr_expect_eq(features, PH_FEATURE_PASSWORD_ALGORITHMS, "no USERHASH with REST secrets");
    ph_turnd_free(x.r->d);
    ph_auth_add_user_key(x.shop, ph_str("dave"), (const uint8_t *)"sixteen bytes...");
    rig_start(x.r);
    rig_challenge(x.r, &x.c);
    nonce = (struct ph_slice){(uint8_t *)x.r->nonce, x.r->nonce_n};
    cr_expect_not(ph_nonce_cookie_read(nonce, &features));
    cr_expect_not(ph_msg_has(&x.r->out, PH_IX_PASSWORD_ALGORITHMS));
    realms_free(&x);
}

Test(turn_realms, incomplete_ones_are_not_taken)
{
    struct realms x = realms_new();

    x.r->c.live.realm[1].auth = NULL;
    cr_expect_null(ph_turnd_new(&x.r->c, &x.r->env, 0));
    x.r->c.live.realm[1].auth = x.game;
    x.r->c.live.n_realms = PH_TURND_REALMS + 1;
    cr_expect_null(ph_turnd_new(&x.r->c, &x.r->env, 0));
    x.r->c.live.n_realms = 2;
    x.r->c.live.auth = NULL;
    cr_expect_null(ph_turnd_new(&x.r->c, &x.r->env, 0), "others beside no-auth");
    realms_free(&x);
}
