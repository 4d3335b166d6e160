/*
 * Authentication of requests (RFC 8489 9.2, RFC 8656 5) and what strangers can cause.
 */
#include "turn/rig.h"

#include <stdio.h>

static const char client_text[] = "203.0.113.9:40000";

static void allocate_request(struct rig *r)
{
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
}

Test(turn_auth, bare_request_is_challenged_with_realm_and_nonce)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);
    struct ph_slice s;

    allocate_request(r);
    rig_send(r, &c);
    cr_assert_eq(rig_code(r), 401);
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_REALM, &s), 0);
    cr_expect(ph_slice_eq(s, ph_str(rig_realm)));
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_NONCE, &s), 0);
    cr_expect_eq(memcmp(s.p, "obMatJos2", 9), 0);
    cr_expect(ph_msg_has(&r->out, PH_IX_PASSWORD_ALGORITHMS));
    cr_expect_not(ph_msg_has(&r->out, PH_IX_MESSAGE_INTEGRITY));
    cr_expect_not(ph_msg_has(&r->out, PH_IX_SOFTWARE));
    cr_expect_leq(r->pkt.b.len, 110, "short: %u", r->pkt.b.len);
    rig_free(r);
}

Test(turn_auth, wrong_password_and_unknown_user_are_alike)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);
    static const char *const who[][2] = {{"alice", "wrong"}, {"mallory", "secret"}};

    rig_challenge(r, &c);
    for (int i = 0; i < 2; i++) {
        r->user = who[i][0];
        r->pass = who[i][1];
        allocate_request(r);
        rig_send_signed(r, &c);
        cr_expect_eq(rig_code(r), 401);
        cr_expect_not(ph_msg_has(&r->out, PH_IX_MESSAGE_INTEGRITY));
    }
    cr_expect_eq(ph_turnd_count(r->d), 0);
    rig_free(r);
}

/* Who guesses names must learn nothing from the bytes that come back, whatever kind of users there are. */
Test(turn_auth, refusals_differ_in_nothing)
{
    static const char *const who[][2] = {
        {"alice", "wrong"},
        {"mallory", "secret"},
        {"1800000600:carol", "wrong"},
        {"1700000000:carol", "old"},
        {"expired", "right"},
        {"key", "wrong"},
        {"%s%n", "x"},
        {"*", "x"},
        {"alice/", "secret"},
        {"", "x"},
        {"1800000600:;max-bps=1", "x"},
    };
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    uint8_t first[256];
    uint32_t n = 0;

    ph_auth_add_secret(r->auth, ph_str("logen"));
    ph_auth_add_user(r->auth, ph_str("expired"), ph_str("right"));
    ph_auth_limit_user(r->auth, ph_str("expired"), &(struct ph_auth_limits){.expires_unix_s = 1});
    ph_auth_add_user_key(r->auth, ph_str("key"), (const uint8_t *)"sixteen bytes...");
    rig_start(r);
    rig_challenge(r, &c);
    for (size_t i = 0; i < sizeof who / sizeof *who; i++) {
        r->user = who[i][0];
        r->pass = who[i][1];
        r->txid = 0x700; /* the same transaction id for each */
        allocate_request(r);
        rig_send_signed(r, &c);
        cr_assert_eq(rig_code(r), 401, "%s", who[i][0]);
        cr_assert_leq(r->pkt.b.len, sizeof first);
        if (i == 0) {
            n = r->pkt.b.len;
            memcpy(first, ph_buf_data(&r->pkt.b), n);
        }
        cr_expect_eq(r->pkt.b.len, n, "%s", who[i][0]);
        cr_expect_eq(memcmp(ph_buf_data(&r->pkt.b), first, n), 0, "%s", who[i][0]);
    }
    rig_free(r);
}

static char logged[2048];
static unsigned lines;

static void keep_line(void *ctx, enum ph_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    lines++;
    snprintf(logged, sizeof logged, "%s", line);
}

/* Names and realms are bytes: no format, no path, no pattern, no terminal. */
Test(turn_auth, hostile_names_and_realms_change_nothing)
{
    static char longest[509];
    static const char *const hostile[] = {"%s%n%x", "/",        "../..",    "*?[a]",
                                          "a b",    "\r\n\x1b", "\x01\x7f", "a:b:c",
                                          ";",      "\xff\xfe", longest};
    struct rig *r = rig_new();
    struct ph_log log = {.fn = keep_line, .level = PH_LOG_INFO};
    struct ph_addr c = rig_addr(client_text);

    memset(longest, '%', 508);
    r->env.log = &log;
    rig_start(r);
    rig_challenge(r, &c);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++, r->now += PH_SEC(1)) {
        r->user = hostile[i];
        r->realm = NULL;
        allocate_request(r);
        lines = 0;
        rig_send_signed(r, &c);
        cr_expect_eq(rig_code(r), 401, "name %zu", i);
        cr_expect_eq(lines, 1);
        cr_expect_not_null(strstr(logged, hostile[i]), "the log escapes what it is given");
        r->realm = hostile[i];
        allocate_request(r);
        rig_send_signed(r, &c);
        cr_expect_eq(rig_code(r), 401, "realm %zu", i);
        struct ph_slice s;
        cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_REALM, &s), 0);
        cr_expect(ph_slice_eq(s, ph_str(rig_realm)), "ours, not what it said");
    }
    /* And as users they are like any other. */
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++, c.port++) {
        r->user = hostile[i];
        r->pass = "pw";
        r->realm = NULL;
        cr_assert_eq(ph_auth_add_user(r->auth, ph_str(hostile[i]), ph_str("pw")), 0);
        cr_expect_eq(rig_allocate(r, &c), 0, "name %zu", i);
        cr_expect_eq(rig_refresh(r, &c, 0), 0);
    }
    rig_free(r);
}

Test(turn_auth, integrity_without_name_realm_or_nonce_is_400)
{
    static const uint16_t parts[] = {PH_ATTR_USERNAME, PH_ATTR_REALM, PH_ATTR_NONCE};
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);
    struct ph_key key;

    rig_challenge(r, &c);
    ph_key_long_term(&key, PH_ALG_MD5, ph_str("alice"), ph_str(rig_realm), ph_str("secret"));
    for (int left_out = 0; left_out < 3; left_out++) {
        struct ph_slice v[] = {
            ph_str("alice"), ph_str(rig_realm), {(uint8_t *)r->nonce, r->nonce_n}};
        allocate_request(r);
        for (int i = 0; i < 3; i++)
            if (i != left_out)
                ph_msgw_bytes(&r->w, parts[i], v[i]);
        ph_msgw_integrity(&r->w, ph_key_slice(&key));
        rig_send(r, &c);
        cr_expect_eq(rig_code(r), 400, "without %x", parts[left_out]);
    }
    rig_free(r);
}

Test(turn_auth, nonce_goes_stale_and_438_brings_a_new_one)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_LIFETIME, 3600), 0);
    rig_sleep(r, PH_SEC(599));
    cr_expect_eq(rig_refresh(r, &c, 3600), 0);
    rig_sleep(r, PH_SEC(1));
    cr_expect_eq(rig_refresh(r, &c, 3600), 438);
    rig_take_nonce(r);
    cr_expect_eq(rig_refresh(r, &c, 3600), 0);
    rig_free(r);
}

Test(turn_auth, nonce_of_another_address_is_438)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), thief = rig_addr("203.0.113.10:40000");

    rig_challenge(r, &c);
    allocate_request(r);
    rig_send_signed(r, &thief);
    cr_expect_eq(rig_code(r), 438);
    c.port++; /* the same host may use it from another port: clients cache nonces */
    allocate_request(r);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 0);
    rig_free(r);
}

Test(turn_auth, fleet_shares_nonces_by_key_alone)
{
    struct rig *a = rig_default(), *b = rig_default(), *other = rig_new();
    struct ph_addr c = rig_addr(client_text);

    other->c.nonce.key[0] ^= 1;
    rig_start(other);
    rig_challenge(a, &c);
    struct rig *to[] = {b, other};
    for (int i = 0; i < 2; i++) {
        memcpy(to[i]->nonce, a->nonce, a->nonce_n);
        to[i]->nonce_n = a->nonce_n;
        allocate_request(to[i]);
        rig_send_signed(to[i], &c);
        cr_expect_eq(rig_code(to[i]), i ? 438 : 0);
    }
    rig_free(a);
    rig_free(b);
    rig_free(other);
}

Test(turn_auth, sha256_is_accepted_and_answered_in_kind)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    r->sha256 = true;
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(ph_msg_check_integrity_sha256(&r->out, ph_key_slice(&r->key)), 0);
    cr_expect_not(ph_msg_has(&r->out, PH_IX_MESSAGE_INTEGRITY));
    cr_expect_eq(rig_permit(r, &c, "192.0.2.5:9"), 0);
    rig_free(r);
}

/* RFC 8489 9.2.4: the list must be the one that was offered, and there with the choice. */
Test(turn_auth, bid_down_is_refused)
{
    static const uint8_t md5_alone[] = {0, 1, 0, 0};
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);
    struct ph_attr_value md5 = {.alg = {.number = PH_ALG_MD5}};

    rig_challenge(r, &c);
    allocate_request(r);
    ph_msgw_bytes(&r->w, PH_ATTR_PASSWORD_ALGORITHMS, (struct ph_slice){md5_alone, 4});
    ph_msgw_attr(&r->w, PH_ATTR_PASSWORD_ALGORITHM, &md5);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 400);
    allocate_request(r);
    ph_msgw_attr(&r->w, PH_ATTR_PASSWORD_ALGORITHM, &md5);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 400);
    rig_free(r);
}

Test(turn_auth, userhash_stands_for_the_name)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);
    uint8_t hash[PH_SHA256_LEN];
    struct ph_key key;

    rig_challenge(r, &c);
    for (int known = 1; known >= 0; known--) {
        ph_userhash(hash, ph_str(known ? "alice" : "nobody"), ph_str(rig_realm));
        ph_key_long_term(&key, PH_ALG_MD5, ph_str("alice"), ph_str(rig_realm), ph_str("secret"));
        allocate_request(r);
        ph_msgw_bytes(&r->w, PH_ATTR_USERHASH, (struct ph_slice){hash, sizeof hash});
        ph_msgw_bytes(&r->w, PH_ATTR_REALM, ph_str(rig_realm));
        ph_msgw_bytes(&r->w, PH_ATTR_NONCE, (struct ph_slice){(uint8_t *)r->nonce, r->nonce_n});
        ph_msgw_integrity(&r->w, ph_key_slice(&key));
        rig_send(r, &c);
        cr_expect_eq(rig_code(r), known ? 0 : 401);
        c.port++;
    }
    rig_free(r);
}

/* A server that has users by MD5 key alone must not offer what they cannot use. */
Test(turn_auth, keys_without_passwords_turn_sha256_off)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    struct ph_key key;

    ph_key_long_term(&key, PH_ALG_MD5, ph_str("carol"), ph_str(rig_realm), ph_str("opaque"));
    ph_auth_add_user_key(r->auth, ph_str("carol"), key.b);
    rig_start(r);
    rig_challenge(r, &c);
    cr_expect_not(ph_msg_has(&r->out, PH_IX_PASSWORD_ALGORITHMS));
    cr_expect_neq(memcmp(r->nonce, "obMatJos2", 9), 0);
    r->user = "carol";
    r->pass = "opaque";
    allocate_request(r);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 0);
    rig_free(r);
}

Test(turn_auth, allocation_belongs_to_its_user)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    cr_assert_eq(rig_allocate(r, &c), 0);
    r->user = "bob";
    r->pass = "hidden";
    cr_expect_eq(rig_refresh(r, &c, 0), 441);
    cr_expect_eq(rig_permit(r, &c, "192.0.2.5:9"), 441);
    cr_expect_eq(rig_bind(r, &c, 0x4000, "192.0.2.5:9"), 441);
    allocate_request(r);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 437);
    cr_expect_eq(ph_turnd_count(r->d), 1);
    rig_free(r);
}

Test(turn_auth, rest_credentials)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    char pass[64];
    uint8_t mac[PH_SHA1_LEN];
    static const struct {
        const char *name, *secret;
        int code;
    } table[] = {
        {"1800000600:carol", "new-secret", 0},   {"1800000600:carol", "old-secret", 0},
        {"carol:1800000600", "new-secret", 0},   {"1800000600", "new-secret", 0},
        {"1799999999:carol", "new-secret", 401}, {"1800000600:carol", "other", 401},
    };
    ph_auth_add_secret(r->auth, ph_str("new-secret"));
    ph_auth_add_secret(r->auth, ph_str("old-secret"));
    rig_start(r);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++, c.port++) {
        struct ph_slice name = ph_str(table[i].name);
        ph_hmac_sha1(mac, ph_str(table[i].secret), &name, 1);
        ph_base64(pass, sizeof pass, mac, sizeof mac);
        r->user = table[i].name;
        r->pass = pass;
        cr_expect_eq(rig_allocate(r, &c), table[i].code, "row %zu", i);
    }
    rig_free(r);
}

/* With several secrets and two digests there are many keys to try; the one that fits is tried first from then on. */
Test(turn_auth, rest_credentials_by_either_digest_and_any_secret)
{
    static const char *const secrets[] = {"one", "two", "three", "four"};
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    char pass[64];
    uint8_t mac[PH_SHA256_LEN];

    for (int i = 0; i < 4; i++)
        ph_auth_add_secret(r->auth, ph_str(secrets[i]));
    rig_start(r);
    r->user = "1800000600:carol";
    r->pass = pass;
    for (int i = 0; i < 64; i++, c.port++) {
        int k = i < 32 ? i / 4 : i * 5 % 8; /* first each some times in a row, then all over */
        struct ph_slice name = ph_str(r->user);
        if (k < 4)
            ph_hmac_sha1(mac, ph_str(secrets[k]), &name, 1);
        else
            ph_hmac_sha256(mac, ph_str(secrets[k - 4]), &name, 1);
        ph_base64(pass, sizeof pass, mac, k < 4 ? PH_SHA1_LEN : PH_SHA256_LEN);
        r->sha256 = i % 2;
        cr_expect_eq(rig_allocate(r, &c), 0, "secret %d", k);
        pass[3] ^= 1;
        c.port++;
        cr_expect_eq(rig_allocate(r, &c), 401);
    }
    rig_free(r);
}

/* coturn ab762f33: attributes behind MESSAGE-INTEGRITY were obeyed. */
Test(turn_auth, attributes_behind_the_integrity_are_ignored)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), peer = rig_addr("192.0.2.66:9");
    uint64_t lifetime;

    rig_challenge(r, &c);
    allocate_request(r);
    rig_sign(r);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 3600);
    rig_send(r, &c);
    cr_assert_eq(rig_code(r), 0);
    ph_msg_uint(&r->out, PH_IX_LIFETIME, &lifetime);
    cr_expect_eq(lifetime, 600);
    rig_begin(r, PH_CREATE_PERMISSION);
    rig_sign(r);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    rig_send(r, &c);
    cr_expect_eq(rig_code(r), 400);
    rig_free(r);
}

Test(turn_auth, no_auth_lets_anybody_in)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->c.live.auth = NULL;
    rig_start(r);
    cr_expect_eq(rig_allocate(r, &c), 0);
    cr_expect_not(ph_msg_has(&r->out, PH_IX_MESSAGE_INTEGRITY));
    rig_free(r);
}

Test(turn_auth, strangers_store_nothing_and_draw_less_than_they_send)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    uint64_t sent = 0, drawn = 0;

    r->budget = ph_budget_new(&(struct ph_budget_conf){0}, &r->env);
    rig_start(r);
    for (int i = 0; i < 20000; i++) {
        c.ip[3] = (uint8_t)(i % 7); /* one prefix, some addresses */
        c.port = (uint16_t)(1024 + i);
        allocate_request(r);
        sent += (uint64_t)ph_msgw_end(&r->w);
        if (rig_send(r, &c) == PH_SEND)
            drawn += r->pkt.b.len;
        r->now += PH_US(100);
    }
    cr_expect_lt(drawn, sent);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    cr_expect_gt(ph_turnd_stats(r->d)->over_budget, 0);
    struct ph_addr good = rig_addr("192.0.2.77:5000");
    cr_expect_eq(rig_allocate(r, &good), 0, "a client elsewhere is served");
    rig_free(r);
}

Test(turn_auth, big_site_behind_one_address_gets_in)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->budget = ph_budget_new(&(struct ph_budget_conf){0}, &r->env);
    rig_start(r);
    for (int i = 0; i < 800; i++, c.port++)
        cr_assert_eq(rig_allocate(r, &c), 0, "allocation %d at one instant", i);
    rig_free(r);
}

Test(turn_auth, responses_and_stray_indications_are_never_answered)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);
    uint8_t id[PH_TXID_LEN] = {9}, p[64];
    static const enum ph_class cls[] = {PH_SUCCESS, PH_ERROR, PH_INDICATION};

    for (int i = 0; i < 3; i++)
        for (unsigned m = 0; m < 0x20; m++) {
            struct ph_msgw w;
            ph_msgw_begin(&w, p, sizeof p, (uint16_t)m, cls[i], id);
            int n = ph_msgw_end(&w);
            cr_expect_eq(rig_input(r, 0, &c, p, (size_t)n), PH_DROP);
        }
    rig_free(r);
}
