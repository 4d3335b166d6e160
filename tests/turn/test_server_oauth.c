/*
 * Tokens in place of passwords (RFC 7635): from the challenge to the end of a token's time.
 */
#include "turn/rig.h"
#include "turn/token.h"

static const char client_text[] = "203.0.113.9:40000";
#define SERVER "turn.example.org"

enum { WALL = 1800000000 }; /* what rig_start says */

static const struct ph_oauth_key KEYS[] = {
    {.kid = "north", .key = "01234567890123456789012345678901", .key_len = 32},
    {.kid = "union", .key = "1234567890123456", .key_len = 16},
    {.kid = "north", .key = "another key that goes by one nam", .key_len = 32},
};

static struct rig *oauth_new(void)
{
    struct rig *r = rig_new();
    r->c.oauth_server = SERVER;
    r->c.live.oauth = KEYS;
    r->c.live.n_oauth = 3;
    r->own_key = true;
    r->user = "north";
    return r;
}

static struct grant grant(char fill, uint32_t lifetime_s)
{
    struct grant g = {.key_n = 20, .timestamp = (uint64_t)WALL << 16, .lifetime_s = lifetime_s};
    memset(g.key, fill, sizeof g.key);
    return g;
}

/* From now on requests are signed with this key. */
static void sign_with(struct rig *r, const struct grant *g)
{
    r->key = (struct ph_key){.n = (uint8_t)g->key_n};
    memcpy(r->key.b, g->key, g->key_n);
}

static void put_token(struct rig *r, const struct ph_oauth_key *k, const struct grant *g)
{
    struct token t = token_seal(k, SERVER, g);
    sign_with(r, g);
    ph_msgw_bytes(&r->w, PH_ATTR_ACCESS_TOKEN, token_slice(&t));
}

/* An Allocate with a token. */
static int allocate(struct rig *r, const struct ph_addr *c, const struct ph_oauth_key *k,
                    const struct grant *g)
{
    rig_challenge(r, c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 3600);
    r->user = k->kid;
    put_token(r, k, g);
    rig_send_signed(r, c);
    return rig_code(r);
}

static int refresh_with(struct rig *r, const struct ph_addr *c, const struct ph_oauth_key *k,
                        const struct grant *g)
{
    rig_begin(r, PH_REFRESH);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 3600);
    r->user = k->kid;
    put_token(r, k, g);
    rig_send_signed(r, c);
    return rig_code(r);
}

static uint64_t lifetime(const struct rig *r)
{
    uint64_t v = 0;
    ph_msg_uint(&r->out, PH_IX_LIFETIME, &v);
    return v;
}

Test(turn_oauth, challenge_names_the_server)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct ph_slice s;
    unsigned features;

    rig_start(r);
    rig_challenge(r, &c);
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_THIRD_PARTY_AUTHORIZATION, &s), 0);
    cr_expect(ph_slice_eq(s, ph_str(SERVER)));
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_NONCE, &s), 0);
    cr_expect(ph_nonce_cookie_read(s, &features));
    cr_expect_eq(features, PH_FEATURE_PASSWORD_ALGORITHMS, "a kid has no USERHASH");
    r->now += PH_SEC(601);
    rig_begin(r, PH_REFRESH);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 438);
    cr_expect(ph_msg_has(&r->out, PH_IX_THIRD_PARTY_AUTHORIZATION));
    rig_free(r);
}

Test(turn_oauth, without_keys_or_name_there_is_none)
{
    for (int i = 0; i < 2; i++) {
        struct rig *r = oauth_new();
        struct ph_addr c = rig_addr(client_text);
        struct grant g = grant('a', 600);
        if (i)
            r->c.live.n_oauth = 0;
        else
            r->c.oauth_server = NULL;
        rig_start(r);
        cr_expect_eq(allocate(r, &c, &KEYS[0], &g), 401);
        cr_expect_not(ph_msg_has(&r->out, PH_IX_THIRD_PARTY_AUTHORIZATION));
        rig_free(r);
    }
}

Test(turn_oauth, token_opens_the_door_once_and_its_key_from_then_on)
{
    for (unsigned k = 0; k < 3; k++) {
        struct rig *r = oauth_new();
        struct ph_addr c = rig_addr(client_text);
        struct grant g = grant('a', 3600);
        rig_start(r);
        cr_expect_eq(allocate(r, &c, &KEYS[k], &g), 0, "key %u", k);
        cr_expect_eq(ph_msg_check_integrity(&r->out, ph_key_slice(&r->key)), 0);
        cr_expect_eq(rig_permit(r, &c, "192.0.2.5:9"), 0);
        cr_expect_eq(rig_bind(r, &c, 0x4000, "192.0.2.5:9"), 0);
        cr_expect_eq(rig_refresh(r, &c, 600), 0);
        sign_with(r, &(struct grant){.key = "not the key of it...", .key_n = 20});
        cr_expect_eq(rig_refresh(r, &c, 600), 401);
        rig_free(r);
    }
}

/* coturn's clients sign with the first 16 of the 20 bytes: seen in what turnutils_uclient 4.6.1 sends. */
Test(turn_oauth, keys_cut_like_coturns_are_taken)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct grant g = grant('a', 3600);

    r->quota = ph_quota_new(0, 1, 64, &r->env);
    rig_start(r);
    for (uint8_t n = 15; n <= 19; n++) {
        rig_challenge(r, &c);
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        put_token(r, &KEYS[0], &g);
        r->key.n = n;
        rig_send_signed(r, &c);
        cr_expect_eq(rig_code(r), n == 16 ? 0 : 401, "%u bytes", n);
        if (n != 16)
            continue;
        cr_expect_eq(ph_msg_check_integrity(&r->out, ph_key_slice(&r->key)), 0, "in kind");
        cr_expect_eq(rig_permit(r, &c, "192.0.2.5:9"), 0);
        c.port++;
    }
    cr_expect_eq(allocate(r, &c, &KEYS[0], &g), 486, "by either length it is the same token");
    rig_free(r);
}

/* A retransmission brings the same token again and is answered like the first. */
Test(turn_oauth, retransmission_is_answered_alike)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct grant g = grant('a', 600);
    uint8_t first[512];

    rig_start(r);
    cr_assert_eq(allocate(r, &c, &KEYS[0], &g), 0);
    uint32_t n = r->pkt.b.len;
    memcpy(first, ph_buf_data(&r->pkt.b), n);
    rig_input(r, 0, &c, r->req, r->w.len);
    cr_expect_eq(r->pkt.b.len, n);
    cr_expect_eq(memcmp(first, ph_buf_data(&r->pkt.b), n), 0);
    rig_free(r);
}

Test(turn_oauth, longer_keys_sign_with_sha256)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct grant g = grant('b', 600);

    g.key_n = 32;
    r->sha256 = true;
    rig_start(r);
    cr_expect_eq(allocate(r, &c, &KEYS[0], &g), 0);
    cr_expect_eq(ph_msg_check_integrity_sha256(&r->out, ph_key_slice(&r->key)), 0);
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    rig_free(r);
}

Test(turn_oauth, what_is_wrong_with_a_token_is_not_told)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct grant good = grant('a', 600), old = good, future = good, odd = good;
    struct ph_oauth_key unknown = KEYS[0];

    rig_start(r);
    strcpy(unknown.kid, "south");
    cr_expect_eq(allocate(r, &c, &unknown, &good), 401);
    unknown = KEYS[0];
    strcpy(unknown.kid, "union"); /* another key's name */
    cr_expect_eq(allocate(r, &c, &unknown, &good), 401);
    unknown = KEYS[0];
    unknown.key[5] ^= 1;
    cr_expect_eq(allocate(r, &c, &unknown, &good), 401);
    old.timestamp = (uint64_t)(WALL - 600) << 16;
    cr_expect_eq(allocate(r, &c, &KEYS[0], &old), 401);
    future.timestamp = (uint64_t)(WALL + 6) << 16;
    cr_expect_eq(allocate(r, &c, &KEYS[0], &future), 401);
    odd.key_n = 21;
    cr_expect_eq(allocate(r, &c, &KEYS[0], &odd), 401);
    /* Somebody else's token, without its key. */
    rig_challenge(r, &c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    r->user = "north";
    put_token(r, &KEYS[0], &good);
    r->key.b[0] ^= 1;
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 401);
    /* Garbage of all lengths. */
    static uint8_t garbage[600];
    for (uint32_t n = 0; n < sizeof garbage; n += 7) {
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        ph_msgw_raw(&r->w, PH_ATTR_ACCESS_TOKEN, (struct ph_slice){garbage, n});
        rig_send_signed(r, &c);
        cr_expect_eq(rig_code(r), 401, "%u", n);
    }
    cr_expect_eq(ph_turnd_count(r->d), 0);
    rig_free(r);
}

Test(turn_oauth, session_ends_with_its_token)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct grant g = grant('a', 100);

    rig_start(r);
    cr_assert_eq(allocate(r, &c, &KEYS[0], &g), 0);
    cr_expect_eq(lifetime(r), 100, "not the 3600 it asked for");
    rig_sleep(r, PH_SEC(40));
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    cr_expect_eq(lifetime(r), 60);
    rig_sleep(r, PH_SEC(60) - 1);
    cr_expect_eq(r->downs, 0);
    rig_sleep(r, 1);
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(r->reason, PH_END_CREDENTIAL);
    rig_free(r);
}

Test(turn_oauth, a_new_token_prolongs_it)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct grant one = grant('a', 100), two = grant('b', 300);

    r->quota = ph_quota_new(0, 1, 64, &r->env);
    rig_start(r);
    cr_assert_eq(allocate(r, &c, &KEYS[0], &one), 0);
    rig_sleep(r, PH_SEC(50));
    cr_assert_eq(refresh_with(r, &c, &KEYS[1], &two), 0, "with another kid, even");
    cr_expect_eq(lifetime(r), 250);
    cr_expect_eq(ph_msg_check_integrity(&r->out, ph_key_slice(&r->key)), 0);
    cr_expect_eq(rig_permit(r, &c, "192.0.2.5:9"), 0, "the new key");
    sign_with(r, &one);
    r->user = "north";
    cr_expect_eq(rig_permit(r, &c, "192.0.2.5:9"), 401, "the old key");
    rig_sleep(r, PH_SEC(249));
    cr_expect_eq(r->downs, 0);
    rig_sleep(r, PH_SEC(1));
    cr_expect_eq(r->reason, PH_END_CREDENTIAL);
    cr_expect_eq(ph_quota_used(r->quota), 0);
    rig_free(r);
}

/* A Refresh that brings a token which has ended, signed with the key that stands. */
Test(turn_oauth, an_old_token_beside_a_standing_key_does_no_harm)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct grant g = grant('a', 100), broken = g;

    rig_start(r);
    cr_assert_eq(allocate(r, &c, &KEYS[0], &g), 0);
    rig_sleep(r, PH_SEC(50));
    broken.timestamp = 0;
    cr_expect_eq(refresh_with(r, &c, &KEYS[0], &broken), 0);
    cr_expect_eq(lifetime(r), 50);
    rig_free(r);
}

Test(turn_oauth, survives_a_reload)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct grant g = grant('a', 3600);
    struct ph_turnd_live live;

    rig_start(r);
    cr_assert_eq(allocate(r, &c, &KEYS[0], &g), 0);
    live = r->c.live;
    live.oauth = NULL;
    live.n_oauth = 0;
    ph_turnd_reload(r->d, &live, r->now);
    cr_expect_eq(rig_refresh(r, &c, 600), 0, "its key cannot be had again");
    cr_expect_eq(rig_permit(r, &c, "192.0.2.5:9"), 0);
    c.port++;
    cr_expect_eq(allocate(r, &c, &KEYS[0], &g), 401, "no new ones");
    rig_free(r);
}

/* A client's second connection brings the first one's key, and no token: RFC 7635 does not ask for one there. */
Test(turn_oauth, binds_tcp_connections_with_the_standing_key)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr_on(client_text, PH_TCP), data = c,
                   peer = rig_addr("192.0.2.7:9000");
    struct grant g = grant('a', 3600), other = grant('b', 3600);
    uint64_t id = 0;

    data.port++;
    rig_start(r);
    rig_challenge(r, &c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_TCP);
    put_token(r, &KEYS[0], &g);
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    rig_begin(r, PH_CONNECT);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    cr_assert_eq(ph_msg_uint(&r->out, PH_IX_CONNECTION_ID, &id), 0);
    for (int i = 0; i < 4; i++) {
        static const int codes[] = {401, 401, 441, 0};
        rig_begin(r, PH_CONNECTION_BIND);
        ph_msgw_uint(&r->w, PH_ATTR_CONNECTION_ID, i == 1 ? id ^ 1 : id);
        sign_with(r, i == 0 ? &other : &g);
        if (i == 2) /* somebody else's token, good as it is */
            put_token(r, &KEYS[0], &other);
        rig_send_signed(r, &data);
        cr_expect_eq(rig_code(r), codes[i], "%d: %d", i, rig_code(r));
    }
    cr_expect_eq(r->splices, 1);
    /* One that another worker has goes there, before anybody here can say whose it is. */
    rig_begin(r, PH_CONNECTION_BIND);
    ph_msgw_uint(&r->w, PH_ATTR_CONNECTION_ID, id | 0x05000000);
    rig_send_signed(r, &data);
    cr_expect_eq(r->verdict, PH_ELSEWHERE);
    r->verdict = ph_turnd_input_final(r->d, &r->pkt, r->now);
    rig_result(r);
    cr_expect_eq(rig_code(r), 401);
    rig_free(r);
}

/* All clients of an authorization server have one name, its kid: the token tells them apart. */
Test(turn_oauth, quota_is_per_token)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct grant one = grant('a', 3600), two = grant('b', 3600);

    r->quota = ph_quota_new(0, 1, 64, &r->env);
    rig_start(r);
    cr_expect_eq(allocate(r, &c, &KEYS[0], &one), 0);
    c.port++;
    cr_expect_eq(allocate(r, &c, &KEYS[0], &one), 486);
    cr_expect_eq(allocate(r, &c, &KEYS[0], &two), 0);
    cr_expect_eq(ph_quota_used(r->quota), 2);
    cr_expect_eq(ph_turnd_revoke(r->d, ph_str(""), ph_str("north"), r->now), 2, "by the kid");
    rig_drain(r);
    cr_expect_eq(ph_quota_used(r->quota), 0);
    rig_free(r);
}

Test(turn_oauth, tokens_and_passwords_do_not_mix_on_an_allocation)
{
    struct rig *r = oauth_new();
    struct ph_addr c = rig_addr(client_text);
    struct grant g = grant('a', 3600);

    rig_start(r);
    cr_assert_eq(allocate(r, &c, &KEYS[0], &g), 0);
    r->own_key = false;
    r->user = "alice";
    cr_expect_eq(rig_refresh(r, &c, 0), 441);
    c.port++;
    cr_expect_eq(rig_allocate(r, &c), 0, "both at once on one server");
    r->own_key = true;
    cr_expect_eq(refresh_with(r, &c, &KEYS[0], &g), 441);
    /* A static user that goes by a kid's name is somebody else. */
    ph_auth_add_user(r->auth, ph_str("north"), ph_str("pole"));
    r->own_key = false;
    r->user = "north";
    r->pass = "pole";
    c.port--;
    cr_expect_eq(rig_refresh(r, &c, 0), 441);
    cr_expect_eq(ph_turnd_count(r->d), 2);
    rig_free(r);
}
