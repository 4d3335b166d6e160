/* Allocate: what is asked, what is understood, and what becomes of refusals and redirects. */
#include "tests/turn/client_rig.h"

#include "tests/support/oom.h"

static void allocate(struct crig *r)
{
    crig_start(r);
    cr_assert_eq(ph_turnc_allocate(r->t, r->now), 0);
}

/* Up to the authenticated Allocate, which is taken. */
static struct crig *challenged_with(struct crig *r)
{
    allocate(r);
    crig_want(r, PH_ALLOCATE);
    crig_error(r, 401, NULL);
    crig_want(r, PH_ALLOCATE);
    cr_assert(crig_authentic(r));
    return r;
}

static struct crig *challenged(void)
{
    return challenged_with(crig_new());
}

static uint64_t uint_attr(const struct crig *r, enum ph_attr_index ix)
{
    uint64_t u = UINT64_MAX;
    ph_msg_uint(&r->req, ix, &u);
    return u;
}

Test(turn_client_allocate, reports_relay_mapped_address_and_lifetime)
{
    struct crig *r = challenged();
    cr_assert_eq(crig_info(r)->state, PH_TURNC_ALLOCATING);
    cr_assert_eq(uint_attr(r, PH_IX_REQUESTED_TRANSPORT), 17);
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    r->now += PH_MS(30);
    cr_assert_eq(crig_answer(r), PH_CONSUMED);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    const struct ph_turnc_info *i = crig_info(r);
    struct ph_addr relay = crig_addr("192.0.2.1:50000"), mapped = crig_addr("203.0.113.9:40000");
    cr_assert(ph_addr_eq(&i->relay[0], &relay));
    cr_assert_eq(i->relay[1].family, PH_AF_NONE);
    cr_assert(ph_addr_eq(&i->mapped, &mapped));
    cr_assert_eq(i->state, PH_TURNC_UP);
    cr_assert_eq(i->lifetime_s, 600);
    cr_assert_eq(i->expires_at, r->now + PH_SEC(600));
    cr_assert_eq(i->rtt, PH_MS(30));
    cr_assert_eq(i->algorithm, PH_ALG_MD5);
    cr_assert_not(i->has_token);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_allocate, is_refused_twice_at_a_time)
{
    struct crig *r = challenged();
    cr_assert_eq(ph_turnc_allocate(r->t, r->now), PH_E_STATE);
    struct ph_addr peer = crig_addr("192.0.2.9:1");
    cr_assert_eq(ph_turnc_permit(r->t, &peer, r->now), PH_E_STATE);
    cr_assert_eq(ph_turnc_bind(r->t, &peer, r->now), PH_E_STATE);
    cr_assert_eq(ph_turnc_refresh(r->t, 0, r->now), PH_E_STATE);
    crig_free(r);
}

Test(turn_client_allocate, does_nothing_while_idle)
{
    struct crig *r = crig_new();
    crig_start(r);
    cr_assert_eq(ph_turnc_deadline(r->t), PH_NEVER);
    crig_sleep(r, PH_SEC(10000));
    crig_want_quiet(r);
    cr_assert_eq(ph_turnc_release(r->t, r->now), PH_E_STATE);
    memset(r->ibuf, 0, sizeof r->ibuf);
    cr_assert_eq(crig_input(r, &r->c.server, 20), PH_DROP);
    crig_free(r);
}

Test(turn_client_allocate, asks_for_what_is_configured)
{
    struct crig *r = crig_new();
    r->c.family = PH_TURNC_IPV6;
    r->c.even = PH_TURNC_EVEN_PORT;
    r->c.dont_fragment = true;
    r->c.lifetime_s = 1800;
    r->c.fingerprint = true;
    r->c.software = "pinhole test";
    allocate(r);
    crig_want(r, PH_ALLOCATE);
    cr_assert_eq(uint_attr(r, PH_IX_REQUESTED_ADDRESS_FAMILY), PH_AF_INET6);
    cr_assert_eq(uint_attr(r, PH_IX_EVEN_PORT), 0);
    cr_assert_eq(uint_attr(r, PH_IX_LIFETIME), 1800);
    cr_assert(ph_msg_has(&r->req, PH_IX_DONT_FRAGMENT));
    cr_assert(ph_msg_has(&r->req, PH_IX_FINGERPRINT));
    cr_assert(ph_msg_has(&r->req, PH_IX_SOFTWARE));
    cr_assert_not(ph_msg_has(&r->req, PH_IX_USERNAME), "the first request is bare");
    crig_free(r);
}

Test(turn_client_allocate, rejects_contradictions)
{
    struct crig *r = crig_new();
    struct ph_turnc_conf c = r->c;
    c.server.family = PH_AF_NONE;
    cr_assert_null(ph_turnc_new(&c, &r->env));
    c = r->c;
    c.has_token = true;
    c.even = PH_TURNC_EVEN_PORT;
    cr_assert_null(ph_turnc_new(&c, &r->env));
    c.even = PH_TURNC_ANY_PORT;
    c.family = PH_TURNC_IPV4;
    cr_assert_null(ph_turnc_new(&c, &r->env));
    c = r->c;
    c.family = PH_TURNC_BOTH;
    c.even = PH_TURNC_RESERVE_NEXT;
    cr_assert_null(ph_turnc_new(&c, &r->env));
    crig_free(r);
}

/* --- families ----------------------------------------------------------------------------- */

Test(turn_client_allocate, takes_both_families)
{
    struct crig *r = crig_new();
    r->c.family = PH_TURNC_BOTH;
    challenged_with(r);
    cr_assert_eq(uint_attr(r, PH_IX_ADDITIONAL_ADDRESS_FAMILY), PH_AF_INET6);
    cr_assert_not(ph_msg_has(&r->req, PH_IX_REQUESTED_ADDRESS_FAMILY));
    crig_begin_allocated(r, "192.0.2.1:50000", "[2001:db8::1]:50002");
    crig_answer(r);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    struct ph_addr v6 = crig_addr("[2001:db8::1]:50002");
    cr_assert(ph_addr_eq(&crig_info(r)->relay[1], &v6));
    cr_assert_eq(crig_info(r)->family_code, 0);
    crig_free(r);
}

Test(turn_client_allocate, tells_why_a_family_is_missing)
{
    struct crig *r = crig_new();
    r->c.family = PH_TURNC_BOTH;
    challenged_with(r);
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    struct ph_attr_value v = {.error = {.code = 440, .family = PH_AF_INET6}};
    ph_msgw_attr(&r->w, PH_ATTR_ADDRESS_ERROR_CODE, &v);
    crig_answer(r);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    cr_assert_eq(crig_info(r)->family_code, 440);
    struct ph_addr peer = crig_addr("[2001:db8::9]:1");
    cr_assert_eq(ph_turnc_permit(r->t, &peer, r->now), PH_E_FAMILY);
    crig_free(r);
}

/* RFC 8656 7.3: an allocation of the wrong family is given back. */
Test(turn_client_allocate, gives_a_wrong_family_back)
{
    struct crig *r = crig_new();
    r->c.family = PH_TURNC_IPV6;
    challenged_with(r);
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    crig_answer(r);
    crig_want(r, PH_REFRESH);
    cr_assert_eq(uint_attr(r, PH_IX_LIFETIME), 0);
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_FAILED);
    cr_assert_eq(r->ev.err, PH_E_FAMILY);
    cr_assert_eq(crig_info(r)->state, PH_TURNC_IDLE);
    crig_want_quiet(r);
    crig_free(r);
}

/* --- reservations ------------------------------------------------------------------------- */

Test(turn_client_allocate, reserves_and_redeems_a_port)
{
    struct crig *r = crig_new();
    r->c.even = PH_TURNC_RESERVE_NEXT;
    challenged_with(r);
    cr_assert_eq(uint_attr(r, PH_IX_EVEN_PORT), 0x80);
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    ph_msgw_uint(&r->w, PH_ATTR_RESERVATION_TOKEN, 0x1122334455667788);
    crig_answer(r);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    cr_assert(crig_info(r)->has_token);
    cr_assert_eq(crig_info(r)->token, 0x1122334455667788);

    struct crig *next = crig_new();
    next->c.has_token = true;
    next->c.token = crig_info(r)->token;
    challenged_with(next);
    cr_assert_eq(uint_attr(next, PH_IX_RESERVATION_TOKEN), 0x1122334455667788);
    cr_assert_not(ph_msg_has(&next->req, PH_IX_EVEN_PORT));
    crig_free(next);
    crig_free(r);
}

/* --- refusals ----------------------------------------------------------------------------- */

Test(turn_client_allocate, tells_code_and_reason_of_a_refusal)
{
    static const uint16_t codes[] = {400, 403, 420, 437, 440, 441, 442, 486, 500, 508};
    for (unsigned i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct crig *r = challenged();
        crig_error(r, codes[i], "no\x01 way\x7F");
        crig_want_event(r, PH_TURNC_FAILED);
        cr_assert_eq(r->ev.err, PH_E_REFUSED);
        cr_assert_eq(r->ev.code, codes[i]);
        cr_assert_str_eq(r->ev.reason, "no? way?");
        cr_assert_eq(crig_info(r)->state, PH_TURNC_IDLE);
        crig_want_quiet(r);
        cr_assert_eq(ph_turnc_allocate(r->t, r->now), 0, "and may be tried again");
        crig_want(r, PH_ALLOCATE);
        cr_assert(crig_authentic(r), "now with credentials at once");
        crig_free(r);
    }
}

Test(turn_client_allocate, gives_up_after_39_5_s_of_silence)
{
    struct crig *r = crig_new();
    allocate(r);
    ph_ns start = r->now;
    cr_assert(crig_run(r, PH_SEC(100), false, PH_TURNC_FAILED));
    cr_assert_eq(r->ev.err, PH_E_TIMEOUT);
    cr_assert_eq(r->ev.code, 0);
    cr_assert_eq(r->now - start, PH_MS(39500));
    cr_assert_eq(ph_turnc_stats(r->t)->requests, 1);
    cr_assert_eq(ph_turnc_stats(r->t)->retransmissions, 6);
    cr_assert_eq(ph_turnc_stats(r->t)->timeouts, 1);
    crig_free(r);
}

Test(turn_client_allocate, sends_once_over_a_reliable_transport)
{
    struct crig *r = crig_new();
    r->c.reliable = true;
    allocate(r);
    cr_assert(crig_run(r, PH_SEC(100), false, PH_TURNC_FAILED));
    cr_assert_eq(ph_turnc_stats(r->t)->retransmissions, 0);
    crig_free(r);
}

Test(turn_client_allocate, retransmits_under_the_same_id)
{
    struct crig *r = challenged();
    uint8_t id[PH_TXID_LEN];
    memcpy(id, ph_msg_txid(&r->req), sizeof id);
    crig_sleep(r, PH_MS(500));
    crig_want(r, PH_ALLOCATE);
    cr_assert_arr_eq(id, ph_msg_txid(&r->req), PH_TXID_LEN);
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    cr_assert_eq(crig_info(r)->rtt, 0, "of the 401: the second one is ambiguous (Karn)");
    cr_assert_eq(crig_send(r), PH_DROP, "a second answer answers nothing");
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_allocate, measures_retransmitted_requests_by_counter)
{
    struct crig *r = crig_new();
    r->c.transmit_counter = true;
    challenged_with(r);
    crig_sleep(r, PH_MS(500));
    crig_want(r, PH_ALLOCATE);
    struct ph_attr_value v;
    cr_assert_eq(ph_msg_get(&r->req, PH_IX_TRANSACTION_TRANSMIT_COUNTER, &v), 0);
    cr_assert_eq(v.counter.req, 2);
    r->now += PH_MS(80);
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    ph_msgw_attr(&r->w, PH_ATTR_TRANSACTION_TRANSMIT_COUNTER, &v);
    crig_answer(r);
    cr_assert_eq(crig_info(r)->rtt, PH_MS(80));
    crig_free(r);
}

Test(turn_client_allocate, drops_what_is_not_from_the_server)
{
    struct crig *r = challenged();
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    struct ph_key k = crig_key(r);
    ph_msgw_integrity(&r->w, ph_key_slice(&k));
    int n = ph_msgw_end(&r->w);
    struct ph_addr other = crig_addr("198.51.100.2:3478");
    cr_assert_eq(crig_input(r, &other, (size_t)n), PH_DROP);
    cr_assert_eq(crig_input(r, &r->c.server, (size_t)n - 1), PH_DROP);
    cr_assert_eq(ph_turnc_stats(r->t)->malformed, 1);
    cr_assert_not(crig_event(r));
    cr_assert_eq(crig_input(r, &r->c.server, (size_t)n), PH_CONSUMED);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    crig_free(r);
}

Test(turn_client_allocate, drops_a_wrong_fingerprint_and_a_wrong_method)
{
    struct crig *r = challenged();
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    struct ph_key k = crig_key(r);
    ph_msgw_integrity(&r->w, ph_key_slice(&k));
    ph_msgw_fingerprint(&r->w);
    int n = ph_msgw_end(&r->w);
    r->ibuf[PH_HEADROOM + (size_t)n - 1] ^= 1;
    cr_assert_eq(crig_input(r, &r->c.server, (size_t)n), PH_DROP);
    r->req.method = PH_REFRESH;
    crig_begin(r, PH_SUCCESS);
    cr_assert_eq(crig_answer(r), PH_DROP);
    cr_assert_not(crig_event(r));
    crig_free(r);
}

/* RFC 8489 6.3.3: a success with an unknown comprehension-required attribute is a failure; what the
 * server made is given back. */
Test(turn_client_allocate, refuses_a_success_it_does_not_understand)
{
    struct crig *r = challenged();
    crig_begin_allocated(r, "192.0.2.1:50000", NULL);
    ph_msgw_raw(&r->w, 0x7ABC, ph_str("what?"));
    crig_answer(r);
    crig_want(r, PH_REFRESH);
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_FAILED);
    cr_assert_eq(r->ev.err, PH_E_UNSUPPORTED);
    crig_free(r);
}

Test(turn_client_allocate, refuses_a_success_without_relay)
{
    struct crig *r = challenged();
    crig_begin(r, PH_SUCCESS);
    crig_answer(r);
    cr_assert(crig_run(r, PH_SEC(60), false, PH_TURNC_FAILED));
    cr_assert_eq(r->ev.err, PH_E_FORMAT);
    crig_free(r);
}

Test(turn_client_allocate, takes_an_error_without_code_as_failure)
{
    struct crig *r = challenged();
    crig_begin(r, PH_ERROR);
    crig_answer(r);
    crig_want_event(r, PH_TURNC_FAILED);
    cr_assert_eq(r->ev.err, PH_E_FORMAT);
    crig_free(r);
}

/* --- redirects ---------------------------------------------------------------------------- */

static void redirect(struct crig *r, const char *to, const char *domain)
{
    struct ph_addr a = crig_addr(to);
    crig_begin(r, PH_ERROR);
    ph_msgw_error(&r->w, 300, NULL);
    ph_msgw_addr(&r->w, PH_ATTR_ALTERNATE_SERVER, &a);
    if (domain)
        ph_msgw_bytes(&r->w, PH_ATTR_ALTERNATE_DOMAIN, ph_str(domain));
    crig_answer(r);
}

Test(turn_client_allocate, tells_the_owner_of_a_redirect)
{
    struct crig *r = challenged();
    redirect(r, "198.51.100.7:3479", "turn7.example.org");
    crig_want_event(r, PH_TURNC_REDIRECT);
    struct ph_addr to = crig_addr("198.51.100.7:3479");
    cr_assert(ph_addr_eq(&r->ev.alternate, &to));
    cr_assert_str_eq(r->ev.domain, "turn7.example.org");
    cr_assert_eq(r->ev.code, 300);
    cr_assert_eq(crig_info(r)->state, PH_TURNC_IDLE);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_allocate, follows_a_redirect_from_scratch)
{
    struct crig *r = crig_new();
    r->c.follow_redirects = true;
    challenged_with(r);
    redirect(r, "198.51.100.7:3479", NULL);
    crig_want(r, PH_ALLOCATE);
    struct ph_addr to = crig_addr("198.51.100.7:3479");
    cr_assert(ph_addr_eq(&r->out.dst, &to));
    cr_assert_not(ph_msg_has(&r->req, PH_IX_NONCE), "the other server's nonce is not ours");
    crig_serve_one(r);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    cr_assert(ph_addr_eq(&crig_info(r)->server, &to));
    crig_free(r);
}

Test(turn_client_allocate, does_not_run_in_circles)
{
    struct crig *r = crig_new();
    r->c.follow_redirects = true;
    challenged_with(r);
    redirect(r, "198.51.100.7:3479", NULL);
    crig_want(r, PH_ALLOCATE);
    redirect(r, "198.51.100.1:3478", NULL);
    crig_want_event(r, PH_TURNC_FAILED);
    cr_assert_eq(r->ev.err, PH_E_REDIRECT);
    crig_free(r);
}

Test(turn_client_allocate, follows_no_more_than_four_redirects)
{
    struct crig *r = crig_new();
    r->c.follow_redirects = true;
    challenged_with(r);
    static const char *const hops[] = {"198.51.100.11:1", "198.51.100.12:1", "198.51.100.13:1",
                                       "198.51.100.14:1"};
    for (unsigned i = 0; i < 4; i++) {
        redirect(r, hops[i], NULL);
        crig_want(r, PH_ALLOCATE);
    }
    redirect(r, "198.51.100.15:1", NULL);
    crig_want_event(r, PH_TURNC_FAILED);
    cr_assert_eq(r->ev.err, PH_E_REDIRECT);
    crig_free(r);
}

Test(turn_client_allocate, leaves_a_redirect_to_the_other_family_to_the_owner)
{
    struct crig *r = crig_new();
    r->c.follow_redirects = true;
    challenged_with(r);
    redirect(r, "[2001:db8::7]:3478", NULL);
    crig_want_event(r, PH_TURNC_REDIRECT);
    crig_free(r);
}

/* --- release ------------------------------------------------------------------------------ */

Test(turn_client_allocate, is_released_as_soon_as_it_is_answered)
{
    struct crig *r = challenged();
    cr_assert_eq(ph_turnc_release(r->t, r->now), 0);
    cr_assert_eq(ph_turnc_release(r->t, r->now), PH_E_STATE);
    cr_assert_not(crig_event(r));
    crig_serve_one(r);
    crig_want(r, PH_REFRESH);
    cr_assert_eq(uint_attr(r, PH_IX_LIFETIME), 0);
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_RELEASED);
    cr_assert_eq(r->ev.err, 0);
    crig_free(r);
}

Test(turn_client_allocate, is_released_also_when_it_fails)
{
    struct crig *r = challenged();
    cr_assert_eq(ph_turnc_release(r->t, r->now), 0);
    crig_error(r, 508, NULL);
    crig_want_event(r, PH_TURNC_RELEASED);
    cr_assert_eq(r->ev.code, 508);
    crig_want_quiet(r);
    crig_free(r);
}

/* --- memory ------------------------------------------------------------------------------- */

Test(turn_client_allocate, survives_every_failing_allocation)
{
    if (!oom_works())
        return;
    for (unsigned n = 1; n < 100; n++) {
        struct crig *r = crig_new();
        struct ph_addr peer = crig_addr("192.0.2.9:1000");
        oom_fail_at(n);
        r->t = ph_turnc_new(&r->c, &r->env);
        if (r->t) {
            ph_turnc_allocate(r->t, r->now);
            crig_serve(r);
            ph_turnc_permit(r->t, &peer, r->now);
            ph_turnc_bind(r->t, &peer, r->now);
            crig_serve(r);
        }
        bool fired = oom_disarm();
        if (r->t) {
            crig_run(r, PH_SEC(60), true, -1);
            crig_want_quiet(r);
        }
        crig_free(r);
        if (!fired)
            return;
    }
    cr_assert_fail("more than 100 allocations");
}
