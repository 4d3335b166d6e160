/* Permissions of the client: bundled, refreshed, refused one by one. */
#include "tests/turn/client_rig.h"

static struct ph_addr peer_n(unsigned n)
{
    uint8_t ip[4] = {192, 0, 2, (uint8_t)n};
    return ph_addr_v4(ip, (uint16_t)(1000 + n), PH_UDP);
}

static void permit(struct crig *r, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++) {
        struct ph_addr p = peer_n(i);
        cr_assert_eq(ph_turnc_permit(r->t, &p, r->now), 0);
    }
}

static unsigned count_events(struct crig *r, enum ph_turnc_ev_type type)
{
    unsigned n = 0;
    while (crig_event(r)) {
        cr_assert_eq(r->ev.type, type, "event %d", r->ev.type);
        n++;
    }
    return n;
}

Test(turn_client_perm, is_told_once_installed)
{
    struct crig *r = crig_up();
    struct ph_addr p = crig_addr("192.0.2.9:1000"), ip = crig_addr("192.0.2.9:0");
    cr_assert_eq(ph_turnc_permit(r->t, &p, r->now), 0);
    cr_assert_eq(ph_turnc_permit(r->t, &p, r->now), 0, "again");
    crig_want(r, PH_CREATE_PERMISSION);
    cr_assert_not(crig_event(r));
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_PERMITTED);
    cr_assert(ph_addr_eq(&r->ev.peer, &ip));
    cr_assert_eq(crig_info(r)->permissions, 1);
    cr_assert_eq(ph_turnc_permit(r->t, &p, r->now), 0);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_perm, several_share_a_request)
{
    struct crig *r = crig_up();
    struct ph_addr got[16];
    permit(r, 1, 12);
    crig_want(r, PH_CREATE_PERMISSION);
    cr_assert_eq(crig_peers(r, got, 16), 12);
    crig_serve_one(r);
    cr_assert_eq(count_events(r, PH_TURNC_PERMITTED), 12);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_perm, many_take_several_requests_within_an_mtu)
{
    struct crig *r = crig_up();
    unsigned n = 0, requests = 0;
    permit(r, 1, 60);
    while (crig_take(r)) {
        n += crig_peers(r, NULL, 0);
        requests++;
        cr_assert_leq(r->out.b.len, 1200);
        crig_serve_one(r);
    }
    cr_assert_eq(n, 60);
    cr_assert_leq(requests, 5);
    cr_assert_eq(count_events(r, PH_TURNC_PERMITTED), 60);
    crig_free(r);
}

Test(turn_client_perm, waits_when_too_many_requests_are_under_way)
{
    struct crig *r = crig_new();
    r->c.max_permissions = 200;
    crig_up_with(r);
    unsigned n = 0;
    permit(r, 1, 200);
    while (crig_take(r))
        n++;
    cr_assert_eq(n, 7);
    crig_serve_one(r); /* one ends, one more starts */
    crig_want(r, PH_CREATE_PERMISSION);
    cr_assert_not(crig_take(r));
    crig_run(r, PH_SEC(5), true, -1);
    cr_assert_eq(crig_info(r)->permissions, 200);
    struct ph_addr p = peer_n(200);
    uint8_t buf[PH_HEADROOM + 64];
    struct ph_pkt pkt = {.b = {buf, sizeof buf, PH_HEADROOM, 3}};
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_SEND);
    crig_free(r);
}

Test(turn_client_perm, is_refreshed_before_300_s)
{
    struct crig *r = crig_up();
    permit(r, 1, 3);
    crig_serve(r);
    count_events(r, PH_TURNC_PERMITTED);
    ph_ns last = r->now;
    for (int round = 0; round < 20; round++) {
        while (!crig_take(r)) {
            r->now = ph_turnc_deadline(r->t);
            ph_turnc_tick(r->t, r->now);
        }
        if (r->req.method == PH_CREATE_PERMISSION) {
            cr_assert_eq(crig_peers(r, NULL, 0), 3, "they stay together");
            cr_assert_lt(r->now - last, PH_SEC(250));
            cr_assert_gt(r->now - last, PH_SEC(180));
            last = r->now;
        }
        crig_serve_one(r);
        while (crig_event(r))
            cr_assert_eq(r->ev.type, PH_TURNC_REFRESHED, "no news of refreshed permissions");
    }
    crig_free(r);
}

Test(turn_client_perm, refused_bundle_is_asked_for_one_by_one)
{
    struct crig *r = crig_up();
    struct ph_addr got[16], bad = peer_n(2), forbidden = crig_addr("192.0.2.2:0");
    permit(r, 1, 4);
    crig_want(r, PH_CREATE_PERMISSION);
    crig_error(r, 403, "Forbidden");
    unsigned requests = 0;
    while (crig_take(r)) {
        requests++;
        cr_assert_eq(crig_peers(r, got, 16), 1);
        if (ph_addr_eq_ip(&got[0], &bad))
            crig_error(r, 403, "Not this one");
        else
            crig_serve_one(r);
    }
    cr_assert_eq(requests, 4);
    unsigned ok = 0, failed = 0;
    while (crig_event(r)) {
        ok += r->ev.type == PH_TURNC_PERMITTED;
        if (r->ev.type == PH_TURNC_PERMIT_FAILED) {
            failed++;
            cr_assert(ph_addr_eq(&r->ev.peer, &forbidden));
            cr_assert_eq(r->ev.code, 403);
        }
    }
    cr_assert_eq(ok, 3);
    cr_assert_eq(failed, 1);
    cr_assert_eq(crig_info(r)->permissions, 3);
    permit(r, 2, 2);
    crig_want(r, PH_CREATE_PERMISSION);
    cr_assert_eq(crig_peers(r, got, 16), 1, "it may be asked for again");
    crig_free(r);
}

Test(turn_client_perm, wrong_credentials_are_not_tried_peer_by_peer)
{
    struct crig *r = crig_up();
    permit(r, 1, 4);
    crig_want(r, PH_CREATE_PERMISSION);
    crig_error(r, 441, NULL);
    cr_assert_eq(count_events(r, PH_TURNC_PERMIT_FAILED), 4);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_perm, refusal_of_a_refresh_is_told)
{
    struct crig *r = crig_up();
    permit(r, 1, 1);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_PERMITTED);
    crig_sleep(r, PH_SEC(245));
    crig_want(r, PH_CREATE_PERMISSION);
    crig_error(r, 403, NULL);
    crig_want_event(r, PH_TURNC_PERMIT_FAILED);
    cr_assert_eq(crig_info(r)->permissions, 0);
    crig_free(r);
}

Test(turn_client_perm, trouble_on_the_server_is_met_with_patience)
{
    struct crig *r = crig_up();
    permit(r, 1, 1);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_PERMITTED);
    crig_sleep(r, PH_SEC(245));
    crig_want(r, PH_CREATE_PERMISSION);
    crig_error(r, 508, NULL);
    crig_want_quiet(r);
    cr_assert_not(crig_run(r, PH_SEC(50), true, PH_TURNC_PERMIT_FAILED));
    cr_assert_eq(r->served[PH_CREATE_PERMISSION], 2);
    crig_free(r);
}

Test(turn_client_perm, silence_is_a_failure_only_when_it_has_expired)
{
    struct crig *r = crig_up();
    permit(r, 1, 1);
    ph_ns start = r->now;
    cr_assert(crig_run(r, PH_SEC(100), false, PH_TURNC_PERMIT_FAILED), "never installed");
    cr_assert_eq(r->ev.err, PH_E_TIMEOUT);
    cr_assert_eq(r->now - start, PH_MS(39500));
    permit(r, 1, 1);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_PERMITTED);
    start = r->now;
    cr_assert(crig_run(r, PH_SEC(400), false, PH_TURNC_PERMIT_FAILED), "was installed");
    cr_assert_geq(r->now - start, PH_SEC(300));
    crig_free(r);
}

Test(turn_client_perm, forgotten_ones_lapse_in_silence)
{
    struct crig *r = crig_up();
    struct ph_addr p = peer_n(1), q = peer_n(2);
    permit(r, 1, 2);
    crig_want(r, PH_CREATE_PERMISSION);
    ph_turnc_forget(r->t, &p, r->now);
    ph_turnc_forget(r->t, &q, r->now);
    crig_want_quiet(r);
    cr_assert_eq(crig_info(r)->permissions, 0);
    crig_sleep(r, PH_MS(600));
    crig_want_quiet(r);
    cr_assert_eq(crig_error(r, 403, NULL), PH_DROP, "the request is forgotten, too");
    permit(r, 1, 1);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_PERMITTED);
    ph_turnc_forget(r->t, &p, r->now);
    memset(r->served, 0, sizeof r->served);
    crig_run(r, PH_SEC(400), true, -1);
    cr_assert_eq(r->served[PH_CREATE_PERMISSION], 0);
    crig_free(r);
}

Test(turn_client_perm, has_limits)
{
    struct crig *r = crig_new();
    r->c.max_permissions = 5;
    crig_up_with(r);
    permit(r, 1, 5);
    struct ph_addr p = peer_n(6);
    cr_assert_eq(ph_turnc_permit(r->t, &p, r->now), PH_E_LIMIT);
    cr_assert_eq(ph_turnc_bind(r->t, &p, r->now), PH_E_LIMIT);
    p = peer_n(1);
    ph_turnc_forget(r->t, &p, r->now);
    permit(r, 6, 6);
    crig_free(r);
}

Test(turn_client_perm, needs_a_relay_of_the_family)
{
    struct crig *r = crig_new();
    struct ph_addr none = {0};
    crig_up_with(r);
    struct ph_addr v6 = crig_addr("[2001:db8::9]:1000");
    cr_assert_eq(ph_turnc_permit(r->t, &v6, r->now), 0, "this server gave both");
    cr_assert_eq(ph_turnc_permit(r->t, &none, r->now), PH_E_FAMILY);
    crig_want(r, PH_CREATE_PERMISSION);
    crig_error(r, 443, NULL);
    crig_want_event(r, PH_TURNC_PERMIT_FAILED);
    cr_assert_eq(r->ev.code, 443);
    crig_free(r);
}

Test(turn_client_perm, oversleeping_asks_anew)
{
    struct crig *r = crig_new();
    r->lifetime_s = 3600;
    crig_up_with(r);
    permit(r, 1, 1);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_PERMITTED);
    crig_sleep(r, PH_SEC(1000));
    crig_want(r, PH_CREATE_PERMISSION);
    crig_serve_one(r);
    crig_want_quiet(r);
    crig_free(r);
}
