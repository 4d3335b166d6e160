/* Credentials: challenges, keys, downgrades, and answers that cannot be trusted (RFC 8489 9.2). */
#include "tests/turn/client_rig.h"

/* Both spellings of the feature bits; the RFC counts them from the left, its test vector from the
 * right. */
#define COOKIE_ALGS_LSB "obMatJos2AAABtail"
#define COOKIE_ALGS_MSB "obMatJos2gAAAtail"
#define COOKIE_BOTH_LSB "obMatJos2AAADtail"
#define COOKIE_BOTH_MSB "obMatJos2wAAAtail"

static void allocate(struct crig *r)
{
    crig_start(r);
    cr_assert_eq(ph_turnc_allocate(r->t, r->now), 0);
    crig_want(r, PH_ALLOCATE);
}

static void want_failed(struct crig *r, int err, uint16_t code)
{
    crig_want_event(r, PH_TURNC_FAILED);
    cr_assert_eq(r->ev.err, err, "err %d", r->ev.err);
    cr_assert_eq(r->ev.code, code, "code %d", r->ev.code);
    crig_want_quiet(r);
}

Test(turn_client_auth, first_request_is_bare_then_signed)
{
    struct crig *r = crig_new();
    allocate(r);
    cr_assert_not(ph_msg_has(&r->req, PH_IX_USERNAME));
    cr_assert_not(ph_msg_has(&r->req, PH_IX_MESSAGE_INTEGRITY));
    uint8_t id[PH_TXID_LEN];
    memcpy(id, ph_msg_txid(&r->req), sizeof id);
    cr_assert_eq(crig_error(r, 401, NULL), PH_CONSUMED);
    crig_want(r, PH_ALLOCATE);
    cr_assert_neq(memcmp(id, ph_msg_txid(&r->req), sizeof id), 0, "a new transaction");
    cr_assert(crig_authentic(r));
    struct ph_slice s;
    cr_assert_eq(ph_msg_bytes(&r->req, PH_IX_USERNAME, &s), 0);
    cr_assert(ph_slice_eq(s, ph_str("alice")));
    cr_assert_eq(ph_msg_bytes(&r->req, PH_IX_REALM, &s), 0);
    cr_assert(ph_slice_eq(s, ph_str("example.org")));
    cr_assert_not(ph_msg_has(&r->req, PH_IX_MESSAGE_INTEGRITY_SHA256));
    cr_assert_not(ph_msg_has(&r->req, PH_IX_PASSWORD_ALGORITHM));
    crig_free(r);
}

Test(turn_client_auth, takes_sha256_in_both_bit_orders)
{
    static const char *const nonces[] = {COOKIE_ALGS_LSB, COOKIE_ALGS_MSB};
    for (unsigned i = 0; i < 2; i++) {
        struct crig *r = crig_new();
        struct ph_attr_value v;
        crig_sha256(r, nonces[i]);
        allocate(r);
        crig_error(r, 401, NULL);
        crig_want(r, PH_ALLOCATE);
        cr_assert(crig_authentic(r));
        cr_assert_not(ph_msg_has(&r->req, PH_IX_MESSAGE_INTEGRITY));
        cr_assert(ph_msg_has(&r->req, PH_IX_USERNAME));
        cr_assert_eq(ph_msg_get(&r->req, PH_IX_PASSWORD_ALGORITHM, &v), 0);
        cr_assert_eq(v.alg.number, PH_ALG_SHA256);
        cr_assert_eq(ph_msg_get(&r->req, PH_IX_PASSWORD_ALGORITHMS, &v), 0);
        cr_assert(ph_slice_eq(v.bytes, r->algs), "the list is echoed");
        crig_serve_one(r);
        crig_want_event(r, PH_TURNC_ALLOCATED);
        cr_assert_eq(crig_info(r)->algorithm, PH_ALG_SHA256);
        crig_free(r);
    }
}

Test(turn_client_auth, hides_the_user_name_when_asked)
{
    static const char *const nonces[] = {COOKIE_BOTH_LSB, COOKIE_BOTH_MSB};
    for (unsigned i = 0; i < 2; i++) {
        struct crig *r = crig_new();
        uint8_t want[PH_SHA256_LEN];
        struct ph_slice s;
        crig_sha256(r, nonces[i]);
        allocate(r);
        crig_error(r, 401, NULL);
        crig_want(r, PH_ALLOCATE);
        cr_assert(crig_authentic(r));
        cr_assert_not(ph_msg_has(&r->req, PH_IX_USERNAME));
        cr_assert_eq(ph_msg_bytes(&r->req, PH_IX_USERHASH, &s), 0);
        ph_userhash(want, ph_str("alice"), ph_str("example.org"));
        cr_assert_arr_eq(s.p, want, PH_SHA256_LEN);
        cr_assert(crig_info(r)->userhash);
        crig_free(r);
    }
}

Test(turn_client_auth, takes_md5_when_that_is_all_there_is)
{
    static const uint8_t list[] = {0, 9, 0, 2, 1, 2, 0, 0, 0, 1, 0, 0};
    struct crig *r = crig_new();
    struct ph_attr_value v;
    crig_sha256(r, COOKIE_ALGS_LSB);
    r->alg = PH_ALG_MD5;
    r->algs = (struct ph_slice){list, sizeof list};
    allocate(r);
    crig_error(r, 401, NULL);
    crig_want(r, PH_ALLOCATE);
    cr_assert(crig_authentic(r));
    cr_assert_eq(ph_msg_get(&r->req, PH_IX_PASSWORD_ALGORITHM, &v), 0);
    cr_assert_eq(v.alg.number, PH_ALG_MD5);
    crig_free(r);
}

Test(turn_client_auth, will_not_be_bidden_down)
{
    struct crig *r = crig_new();
    crig_sha256(r, COOKIE_ALGS_LSB);
    r->algs.n = 0; /* stripped on the way */
    allocate(r);
    crig_error(r, 401, NULL);
    want_failed(r, PH_E_AUTH, 401);
    crig_free(r);
}

Test(turn_client_auth, needs_an_algorithm_it_knows)
{
    static const uint8_t list[] = {0, 9, 0, 0};
    struct crig *r = crig_new();
    crig_sha256(r, COOKIE_ALGS_LSB);
    r->algs = (struct ph_slice){list, sizeof list};
    allocate(r);
    crig_error(r, 401, NULL);
    want_failed(r, PH_E_UNSUPPORTED, 401);
    crig_free(r);
}

Test(turn_client_auth, wrong_password_is_tried_once)
{
    struct crig *r = crig_new();
    allocate(r);
    crig_error(r, 401, NULL);
    crig_want(r, PH_ALLOCATE);
    r->nonce = "nonce-2"; /* servers like to send a fresh one each time */
    crig_error(r, 401, NULL);
    want_failed(r, PH_E_REFUSED, 401);
    crig_free(r);
}

Test(turn_client_auth, a_new_realm_is_a_new_attempt_but_not_for_ever)
{
    struct crig *r = crig_new();
    allocate(r);
    crig_error(r, 401, NULL);
    crig_want(r, PH_ALLOCATE);
    r->realm = "example.net";
    crig_error(r, 401, NULL);
    crig_want(r, PH_ALLOCATE);
    cr_assert(crig_authentic(r));
    r->realm = "example.com";
    crig_error(r, 401, NULL);
    want_failed(r, PH_E_REFUSED, 401);
    crig_free(r);
}

Test(turn_client_auth, anonymous_clients_take_no_for_an_answer)
{
    struct crig *r = crig_new();
    r->c.user = r->c.password = (struct ph_slice){0};
    allocate(r);
    crig_error(r, 401, NULL);
    want_failed(r, PH_E_REFUSED, 401);
    crig_free(r);
}

Test(turn_client_auth, server_without_credentials_gets_none)
{
    struct crig *r = crig_new();
    allocate(r);
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    crig_send(r);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    struct ph_addr peer = crig_addr("192.0.2.9:0");
    cr_assert_eq(ph_turnc_permit(r->t, &peer, r->now), 0);
    crig_want(r, PH_CREATE_PERMISSION);
    cr_assert_not(ph_msg_has(&r->req, PH_IX_USERNAME));
    crig_begin(r, PH_SUCCESS);
    crig_send(r);
    crig_want_event(r, PH_TURNC_PERMITTED);
    cr_assert_eq(ph_turnc_login(r->t).nonce.n, 0);
    crig_free(r);
}

Test(turn_client_auth, challenge_must_have_realm_and_nonce)
{
    for (int i = 0; i < 2; i++) {
        struct crig *r = crig_new();
        allocate(r);
        crig_begin(r, PH_ERROR);
        ph_msgw_error(&r->w, 401, NULL);
        ph_msgw_bytes(&r->w, i ? PH_ATTR_REALM : PH_ATTR_NONCE, ph_str("x"));
        crig_send(r);
        want_failed(r, PH_E_FORMAT, 401);
        crig_free(r);
    }
}

/* --- stale nonces ------------------------------------------------------------------------- */

Test(turn_client_auth, stale_nonce_is_replaced)
{
    struct crig *r = crig_up();
    r->nonce = "nonce-2";
    cr_assert_eq(ph_turnc_refresh(r->t, 0, r->now), 0);
    crig_want(r, PH_REFRESH);
    cr_assert_not(crig_authentic(r));
    crig_error(r, 438, NULL);
    crig_want(r, PH_REFRESH);
    cr_assert(crig_authentic(r));
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_REFRESHED);
    crig_free(r);
}

Test(turn_client_auth, stale_nonce_of_one_request_helps_the_others)
{
    struct crig *r = crig_up();
    struct ph_addr a = crig_addr("192.0.2.9:1000"), b = crig_addr("192.0.2.10:1000");
    cr_assert_eq(ph_turnc_bind(r->t, &a, r->now), 0);
    cr_assert_eq(ph_turnc_bind(r->t, &b, r->now), 0);
    crig_want(r, PH_CHANNEL_BIND);
    crig_want(r, PH_CHANNEL_BIND); /* the first one got lost */
    r->nonce = "nonce-2";
    crig_error(r, 438, NULL);
    crig_want(r, PH_CHANNEL_BIND);
    crig_serve_one(r);
    crig_sleep(r, PH_MS(500));
    crig_want(r, PH_CHANNEL_BIND);
    cr_assert(crig_authentic(r), "built late, so with the new nonce");
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_BOUND);
    crig_want_event(r, PH_TURNC_BOUND);
    crig_free(r);
}

Test(turn_client_auth, server_that_likes_no_nonce_is_given_up)
{
    struct crig *r = crig_up();
    unsigned n = 0;
    cr_assert_eq(ph_turnc_refresh(r->t, 0, r->now), 0);
    while (crig_take(r)) {
        cr_assert_lt(n++, 10, "a storm");
        crig_error(r, 438, NULL);
    }
    cr_assert_eq(n, 5);
    crig_want_event(r, PH_TURNC_REFRESH_FAILED);
    cr_assert_eq(r->ev.code, 438);
    crig_free(r);
}

Test(turn_client_auth, stale_nonce_without_realm_keeps_the_old_one)
{
    struct crig *r = crig_up();
    cr_assert_eq(ph_turnc_refresh(r->t, 0, r->now), 0);
    crig_want(r, PH_REFRESH);
    r->nonce = "nonce-2";
    crig_begin(r, PH_ERROR);
    ph_msgw_error(&r->w, 438, NULL);
    ph_msgw_bytes(&r->w, PH_ATTR_NONCE, ph_str(r->nonce));
    crig_send(r);
    crig_want(r, PH_REFRESH);
    cr_assert(crig_authentic(r));
    crig_free(r);
}

/* --- logins handed on --------------------------------------------------------------------- */

Test(turn_client_auth, login_is_handed_to_the_next_client)
{
    struct crig *first = crig_new();
    crig_sha256(first, COOKIE_BOTH_LSB);
    crig_up_with(first);
    struct crig *r = crig_new();
    crig_sha256(r, COOKIE_BOTH_LSB);
    r->c.login = ph_turnc_login(first->t);
    allocate(r);
    cr_assert(crig_authentic(r), "no 401 needed");
    cr_assert(ph_msg_has(&r->req, PH_IX_USERHASH));
    cr_assert(ph_msg_has(&r->req, PH_IX_PASSWORD_ALGORITHM));
    crig_free(first);
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    crig_free(r);
}

Test(turn_client_auth, login_out_of_date_does_not_condemn_the_password)
{
    static const uint16_t codes[] = {401, 438};
    for (unsigned i = 0; i < 2; i++) {
        struct crig *r = crig_new();
        r->c.login = (struct ph_turnc_login){ph_str("example.org"), ph_str("old"), {0}};
        allocate(r);
        cr_assert_not(crig_authentic(r));
        crig_error(r, codes[i], NULL);
        crig_want(r, PH_ALLOCATE);
        cr_assert(crig_authentic(r));
        if (codes[i] == 401) {
            crig_error(r, 401, NULL);
            want_failed(r, PH_E_REFUSED, 401);
        }
        crig_free(r);
    }
}

Test(turn_client_auth, login_that_makes_no_sense_is_not_used)
{
    struct crig *r = crig_new();
    r->c.login = (struct ph_turnc_login){ph_str("example.org"), ph_str(COOKIE_ALGS_LSB), {0}};
    allocate(r);
    cr_assert_not(ph_msg_has(&r->req, PH_IX_NONCE));
    crig_free(r);
}

/* --- answers nobody can trust ------------------------------------------------------------- */

static struct crig *signed_allocate(void)
{
    struct crig *r = crig_new();
    allocate(r);
    crig_error(r, 401, NULL);
    crig_want(r, PH_ALLOCATE);
    return r;
}

Test(turn_client_auth, unsigned_answers_are_as_if_never_received)
{
    struct crig *r = signed_allocate();
    crig_begin_allocated(r, "192.0.2.66:6666", NULL);
    cr_assert_eq(crig_send(r), PH_DROP);
    crig_begin(r, PH_ERROR);
    ph_msgw_error(&r->w, 400, NULL);
    cr_assert_eq(crig_send(r), PH_DROP);
    crig_want_quiet(r);
    cr_assert_eq(ph_turnc_stats(r->t)->bad_integrity, 2);
    crig_sleep(r, PH_MS(500));
    crig_want(r, PH_ALLOCATE);
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    crig_free(r);
}

Test(turn_client_auth, wrongly_signed_answers_are_dropped)
{
    struct crig *r = signed_allocate();
    r->pass = "guess";
    crig_begin_allocated(r, "192.0.2.66:6666", NULL);
    cr_assert_eq(crig_answer(r), PH_DROP);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_auth, answer_must_be_signed_as_the_request_was)
{
    struct crig *r = crig_new();
    crig_sha256(r, COOKIE_ALGS_LSB);
    allocate(r);
    crig_error(r, 401, NULL);
    crig_want(r, PH_ALLOCATE);
    struct ph_key k = crig_key(r);
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    ph_msgw_integrity(&r->w, ph_key_slice(&k));
    cr_assert_eq(crig_send(r), PH_DROP, "SHA-1 in answer to SHA-256");
    crig_free(r);
}

Test(turn_client_auth, silence_after_untrusted_answers_is_told_apart)
{
    struct crig *r = signed_allocate();
    crig_begin(r, PH_ERROR);
    ph_msgw_error(&r->w, 508, "Full");
    crig_send(r);
    cr_assert(crig_run(r, PH_SEC(60), false, PH_TURNC_FAILED));
    cr_assert_eq(r->ev.err, PH_E_AUTH);
    cr_assert_eq(r->ev.code, 508, "what the untrusted answer said");
    cr_assert_str_eq(r->ev.reason, "Full");
    crig_free(r);
}

Test(turn_client_auth, untrusted_answer_on_a_stream_ends_it)
{
    struct crig *r = crig_new();
    r->c.reliable = true;
    allocate(r);
    crig_error(r, 401, NULL);
    crig_want(r, PH_ALLOCATE);
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    crig_send(r);
    want_failed(r, PH_E_AUTH, 0);
    crig_free(r);
}

Test(turn_client_auth, attributes_behind_the_integrity_are_not_seen)
{
    struct crig *r = signed_allocate();
    struct ph_key k = crig_key(r);
    struct ph_addr evil = crig_addr("[2001:db8::66]:6666");
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    ph_msgw_integrity(&r->w, ph_key_slice(&k));
    ph_msgw_addr(&r->w, PH_ATTR_XOR_RELAYED_ADDRESS, &evil);
    cr_assert_eq(crig_send(r), PH_CONSUMED);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    cr_assert_eq(crig_info(r)->relay[1].family, PH_AF_NONE);
    crig_free(r);
}
