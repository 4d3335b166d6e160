/* The life of an allocation: refreshed ahead of time, lost, released. */
#include "tests/turn/client_rig.h"

Test(turn_client_refresh, comes_before_the_end_and_not_too_early)
{
    static const struct {
        uint32_t lifetime_s;
        ph_ns latest;
    } cases[] = {{600, PH_SEC(500)}, {3600, PH_SEC(3000)}, {120, PH_SEC(60)}, {30, PH_SEC(15)},
                 {1, PH_MS(500)},    {400, PH_MS(333334)}, {300, PH_SEC(240)}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct crig *r = crig_new();
        r->lifetime_s = cases[i].lifetime_s;
        crig_up_with(r);
        ph_ns wait = ph_turnc_deadline(r->t) - r->now;
        cr_assert_leq(wait, cases[i].latest, "%u s: %lld", cases[i].lifetime_s, (long long)wait);
        cr_assert_geq(wait, cases[i].latest / 10 * 9, "%u s: %lld", cases[i].lifetime_s,
                      (long long)wait);
        crig_free(r);
    }
}

Test(turn_client_refresh, is_spread_over_time)
{
    ph_ns lo = PH_NEVER, hi = 0;
    for (uint64_t seed = 1; seed < 40; seed++) {
        struct crig *r = crig_new();
        r->seed = seed * 977;
        crig_up_with(r);
        ph_ns wait = ph_turnc_deadline(r->t) - r->now;
        lo = wait < lo ? wait : lo;
        hi = wait > hi ? wait : hi;
        crig_free(r);
    }
    cr_assert_gt(hi - lo, PH_SEC(30));
}

Test(turn_client_refresh, keeps_an_allocation_for_a_day)
{
    struct crig *r = crig_up();
    cr_assert_not(crig_run(r, PH_SEC(86400), true, PH_TURNC_LOST));
    cr_assert_eq(crig_info(r)->state, PH_TURNC_UP);
    cr_assert_gt(r->served[PH_REFRESH], 170);
    cr_assert_lt(r->served[PH_REFRESH], 195);
    cr_assert_eq(r->bad_requests, 0);
    crig_free(r);
}

Test(turn_client_refresh, asks_for_the_configured_lifetime)
{
    struct crig *r = crig_new();
    uint64_t s;
    r->c.lifetime_s = 1234;
    crig_up_with(r);
    cr_assert_eq(ph_turnc_refresh(r->t, 0, r->now), 0);
    crig_want(r, PH_REFRESH);
    cr_assert_eq(ph_msg_uint(&r->req, PH_IX_LIFETIME, &s), 0);
    cr_assert_eq(s, 1234);
    cr_assert_eq(ph_turnc_refresh(r->t, 0, r->now), PH_E_STATE, "one is under way");
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_REFRESHED);
    cr_assert_eq(ph_turnc_refresh(r->t, 77, r->now), 0);
    crig_want(r, PH_REFRESH);
    ph_msg_uint(&r->req, PH_IX_LIFETIME, &s);
    cr_assert_eq(s, 77);
    crig_free(r);
}

Test(turn_client_refresh, takes_the_new_lifetime)
{
    struct crig *r = crig_up();
    r->lifetime_s = 120;
    cr_assert_eq(ph_turnc_refresh(r->t, 0, r->now), 0);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_REFRESHED);
    cr_assert_eq(crig_info(r)->lifetime_s, 120);
    cr_assert_eq(crig_info(r)->expires_at, r->now + PH_SEC(120));
    cr_assert_leq(ph_turnc_deadline(r->t), r->now + PH_SEC(60));
    crig_free(r);
}

Test(turn_client_refresh, goes_on_trying_until_the_end)
{
    struct crig *r = crig_up();
    ph_ns end = crig_info(r)->expires_at;
    cr_assert(crig_run(r, PH_SEC(1000), false, PH_TURNC_LOST));
    cr_assert_eq(r->ev.err, PH_E_TIMEOUT);
    cr_assert_eq(r->now, end);
    cr_assert_gt(ph_turnc_stats(r->t)->timeouts, 1);
    cr_assert_eq(crig_info(r)->state, PH_TURNC_IDLE);
    cr_assert_eq(ph_turnc_deadline(r->t), PH_NEVER);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_refresh, recovers_when_the_server_is_back)
{
    struct crig *r = crig_up();
    cr_assert(crig_run(r, PH_SEC(1000), false, PH_TURNC_REFRESH_FAILED));
    cr_assert_eq(r->ev.err, PH_E_TIMEOUT);
    cr_assert(crig_run(r, PH_SEC(10), true, PH_TURNC_REFRESHED));
    crig_free(r);
}

Test(turn_client_refresh, mismatch_means_the_allocation_is_lost)
{
    struct crig *r = crig_up();
    struct ph_addr peer = crig_addr("192.0.2.9:1000");
    ph_turnc_bind(r->t, &peer, r->now);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_BOUND);
    cr_assert_eq(ph_turnc_refresh(r->t, 0, r->now), 0);
    crig_want(r, PH_REFRESH);
    crig_error(r, 437, "Gone");
    crig_want_event(r, PH_TURNC_LOST);
    cr_assert_eq(r->ev.code, 437);
    cr_assert_str_eq(r->ev.reason, "Gone");
    cr_assert_eq(crig_info(r)->channels, 0);
    cr_assert_eq(crig_info(r)->permissions, 0);
    cr_assert_eq(ph_turnc_allocate(r->t, r->now), 0);
    crig_want(r, PH_ALLOCATE);
    cr_assert(crig_authentic(r));
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_ALLOCATED);
    crig_free(r);
}

Test(turn_client_refresh, mismatch_on_any_request_means_the_same)
{
    struct crig *r = crig_up();
    struct ph_addr peer = crig_addr("192.0.2.9:1000");
    ph_turnc_permit(r->t, &peer, r->now);
    crig_want(r, PH_CREATE_PERMISSION);
    crig_error(r, 437, NULL);
    crig_want_event(r, PH_TURNC_LOST);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_refresh, refusal_is_told_and_tried_again_later)
{
    struct crig *r = crig_up();
    cr_assert_eq(ph_turnc_refresh(r->t, 0, r->now), 0);
    crig_want(r, PH_REFRESH);
    crig_error(r, 500, NULL);
    crig_want_event(r, PH_TURNC_REFRESH_FAILED);
    cr_assert_eq(r->ev.code, 500);
    cr_assert_eq(crig_info(r)->state, PH_TURNC_UP);
    cr_assert_eq(ph_turnc_deadline(r->t), r->now + PH_SEC(300));
    crig_run(r, PH_SEC(301), true, -1);
    cr_assert_eq(r->served[PH_REFRESH], 1);
    crig_free(r);
}

Test(turn_client_refresh, expired_credentials_end_it_in_time)
{
    struct crig *r = crig_up();
    ph_ns end = crig_info(r)->expires_at;
    unsigned requests = 0;
    bool lost = false;
    while (!lost) {
        while (crig_take(r)) {
            requests++;
            crig_error(r, 401, NULL);
        }
        while (crig_event(r))
            lost = r->ev.type == PH_TURNC_LOST;
        if (!lost) {
            r->now = ph_turnc_deadline(r->t);
            ph_turnc_tick(r->t, r->now);
        }
    }
    cr_assert_eq(r->now, end);
    cr_assert_lt(requests, 20, "%u requests", requests);
    crig_free(r);
}

Test(turn_client_refresh, lifetime_zero_nobody_asked_for_is_a_loss)
{
    struct crig *r = crig_up();
    cr_assert_eq(ph_turnc_refresh(r->t, 0, r->now), 0);
    crig_want(r, PH_REFRESH);
    crig_begin(r, PH_SUCCESS);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 0);
    crig_answer(r);
    crig_want_event(r, PH_TURNC_LOST);
    crig_free(r);
}

Test(turn_client_refresh, oversleeping_is_a_loss)
{
    struct crig *r = crig_up();
    crig_sleep(r, PH_SEC(7200));
    crig_want_event(r, PH_TURNC_LOST);
    cr_assert_eq(r->ev.err, PH_E_TIMEOUT);
    crig_want_quiet(r);
    crig_free(r);
}

/* --- keep-alive --------------------------------------------------------------------------- */

Test(turn_client_keepalive, speaks_only_into_silence)
{
    struct crig *r = crig_new();
    struct ph_addr peer = crig_addr("192.0.2.9:1000");
    unsigned indications = 0;
    r->c.keepalive = PH_SEC(15);
    crig_up_with(r);
    ph_turnc_permit(r->t, &peer, r->now);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_PERMITTED);
    for (int i = 0; i < 200; i++) {
        crig_sleep(r, PH_SEC(1));
        uint8_t buf[PH_HEADROOM + 16];
        struct ph_pkt p = {.b = {buf, sizeof buf, PH_HEADROOM, 4}};
        if (i >= 100)
            cr_assert_eq(ph_turnc_wrap(r->t, &p, &peer), PH_SEND);
        r->out = (struct ph_pkt){.b = {r->obuf, sizeof r->obuf, PH_HEADROOM, 0}};
        while (ph_turnc_output(r->t, &r->out, r->now)) {
            struct ph_msg m;
            cr_assert_eq(ph_msg_parse(&m, ph_buf_data(&r->out.b), r->out.b.len), 0);
            cr_assert_eq(m.method, PH_BINDING);
            cr_assert_eq(m.cls, PH_INDICATION);
            cr_assert(ph_addr_eq(&r->out.dst, &r->c.server));
            cr_assert_lt(i, 110);
            indications++;
        }
    }
    cr_assert_geq(indications, 5);
    cr_assert_leq(indications, 7);
    crig_free(r);
}

/* --- release ------------------------------------------------------------------------------ */

static void want_release(struct crig *r)
{
    uint64_t s;
    crig_want(r, PH_REFRESH);
    cr_assert_eq(ph_msg_uint(&r->req, PH_IX_LIFETIME, &s), 0);
    cr_assert_eq(s, 0);
}

Test(turn_client_release, says_lifetime_zero)
{
    struct crig *r = crig_up();
    cr_assert_eq(ph_turnc_release(r->t, r->now), 0);
    cr_assert_eq(crig_info(r)->state, PH_TURNC_RELEASING);
    cr_assert_eq(ph_turnc_release(r->t, r->now), PH_E_STATE);
    want_release(r);
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_RELEASED);
    cr_assert_eq(r->ev.err, 0);
    cr_assert_eq(crig_info(r)->state, PH_TURNC_IDLE);
    crig_free(r);
}

Test(turn_client_release, is_content_with_a_mismatch)
{
    struct crig *r = crig_up();
    ph_turnc_release(r->t, r->now);
    want_release(r);
    crig_error(r, 437, NULL);
    crig_want_event(r, PH_TURNC_RELEASED);
    cr_assert_eq(r->ev.err, 0);
    cr_assert_eq(r->ev.code, 0);
    crig_free(r);
}

Test(turn_client_release, survives_a_stale_nonce)
{
    struct crig *r = crig_up();
    r->nonce = "nonce-2";
    ph_turnc_release(r->t, r->now);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_RELEASED);
    cr_assert_eq(r->ev.err, 0);
    cr_assert_eq(r->served[PH_REFRESH], 2);
    crig_free(r);
}

Test(turn_client_release, tells_when_nobody_confirmed)
{
    struct crig *r = crig_up();
    ph_turnc_release(r->t, r->now);
    cr_assert(crig_run(r, PH_SEC(60), false, PH_TURNC_RELEASED));
    cr_assert_eq(r->ev.err, PH_E_TIMEOUT);
    crig_free(r);
}

Test(turn_client_release, stops_everything_else)
{
    struct crig *r = crig_up();
    struct ph_addr peer = crig_addr("192.0.2.9:1000");
    ph_turnc_permit(r->t, &peer, r->now);
    ph_turnc_bind(r->t, &peer, r->now);
    crig_want(r, PH_CREATE_PERMISSION);
    ph_turnc_release(r->t, r->now);
    want_release(r);
    cr_assert_not(crig_take(r));
    cr_assert_eq(ph_turnc_permit(r->t, &peer, r->now), PH_E_STATE);
    crig_sleep(r, PH_MS(500));
    want_release(r);
    cr_assert_not(crig_take(r));
    crig_free(r);
}
