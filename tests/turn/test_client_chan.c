/* Channels of the client: numbers, refreshes, and the five minutes of rest. */
#include "tests/turn/client_rig.h"

static struct ph_addr peer_n(unsigned n)
{
    uint8_t ip[4] = {192, 0, 2, (uint8_t)n};
    return ph_addr_v4(ip, (uint16_t)(1000 + n), PH_UDP);
}

static void bind_peer(struct crig *r, unsigned n)
{
    struct ph_addr p = peer_n(n);
    cr_assert_eq(ph_turnc_bind(r->t, &p, r->now), 0);
}

static uint16_t number_asked(const struct crig *r)
{
    uint64_t u = 0;
    cr_assert_eq(ph_msg_uint(&r->req, PH_IX_CHANNEL_NUMBER, &u), 0);
    return (uint16_t)u;
}

/* Binds a peer and returns its number. */
static uint16_t bound(struct crig *r, unsigned n)
{
    bind_peer(r, n);
    crig_want(r, PH_CHANNEL_BIND);
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_BOUND);
    return r->ev.channel;
}

Test(turn_client_chan, is_told_once_bound)
{
    struct crig *r = crig_up();
    struct ph_addr p = peer_n(9), got;
    bind_peer(r, 9);
    cr_assert_eq(ph_turnc_channel(r->t, &p), 0);
    crig_want(r, PH_CHANNEL_BIND);
    uint16_t number = number_asked(r);
    cr_assert_geq(number, 0x4000);
    cr_assert_leq(number, 0x4FFF);
    cr_assert_eq(crig_peers(r, &got, 1), 1);
    cr_assert(ph_addr_eq_endpoint(&got, &p));
    crig_serve_one(r);
    crig_want_event(r, PH_TURNC_BOUND);
    cr_assert(ph_addr_eq(&r->ev.peer, &p));
    cr_assert_eq(r->ev.channel, number);
    cr_assert_eq(ph_turnc_channel(r->t, &p), number);
    cr_assert_eq(crig_info(r)->channels, 1);
    cr_assert_eq(crig_info(r)->permissions, 1, "binding permits");
    bind_peer(r, 9);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_chan, permit_after_bind_costs_nothing)
{
    struct crig *r = crig_up();
    struct ph_addr p = peer_n(9);
    bound(r, 9);
    cr_assert_eq(ph_turnc_permit(r->t, &p, r->now), 0);
    crig_want_event(r, PH_TURNC_PERMITTED);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_chan, two_ports_of_an_ip_have_two_channels_and_one_permission)
{
    struct crig *r = crig_up();
    struct ph_addr a = crig_addr("192.0.2.9:1000"), b = crig_addr("192.0.2.9:1001");
    cr_assert_eq(ph_turnc_bind(r->t, &a, r->now), 0);
    cr_assert_eq(ph_turnc_bind(r->t, &b, r->now), 0);
    crig_serve(r);
    crig_want_event(r, PH_TURNC_BOUND);
    uint16_t first = r->ev.channel;
    crig_want_event(r, PH_TURNC_BOUND);
    cr_assert_neq(r->ev.channel, first);
    cr_assert_eq(crig_info(r)->channels, 2);
    cr_assert_eq(crig_info(r)->permissions, 1);
    ph_turnc_forget(r->t, &a, r->now);
    cr_assert_eq(crig_info(r)->permissions, 1, "the other channel needs it");
    ph_turnc_forget(r->t, &b, r->now);
    cr_assert_eq(crig_info(r)->permissions, 0);
    crig_free(r);
}

Test(turn_client_chan, many_are_bound_side_by_side)
{
    struct crig *r = crig_up();
    unsigned n = 0;
    for (unsigned i = 1; i <= 40; i++)
        bind_peer(r, i);
    while (crig_take(r))
        n++;
    cr_assert_eq(n, 7);
    crig_run(r, PH_SEC(10), true, -1);
    for (unsigned i = 1; i <= 40; i++) {
        struct ph_addr p = peer_n(i);
        cr_assert_neq(ph_turnc_channel(r->t, &p), 0);
    }
    crig_free(r);
}

Test(turn_client_chan, binding_and_permission_are_refreshed_in_time)
{
    struct crig *r = crig_up();
    bound(r, 9);
    ph_ns bind_at = r->now, perm_at = r->now, end = r->now + PH_SEC(4 * 3600);
    while (r->now < end) {
        while (crig_take(r)) {
            if (r->req.method == PH_CHANNEL_BIND) {
                cr_assert_lt(r->now - bind_at, PH_SEC(560));
                bind_at = perm_at = r->now;
            }
            if (r->req.method == PH_CREATE_PERMISSION)
                perm_at = r->now;
            crig_serve_one(r);
        }
        cr_assert_lt(r->now - perm_at, PH_SEC(260));
        while (crig_event(r))
            cr_assert_eq(r->ev.type, PH_TURNC_REFRESHED);
        r->now = ph_turnc_deadline(r->t);
        ph_turnc_tick(r->t, r->now);
    }
    cr_assert_gt(r->served[PH_CHANNEL_BIND], 20);
    crig_free(r);
}

Test(turn_client_chan, refused_number_is_free_at_once)
{
    struct crig *r = crig_up();
    struct ph_addr p = peer_n(9);
    bind_peer(r, 9);
    crig_want(r, PH_CHANNEL_BIND);
    uint16_t number = number_asked(r);
    crig_error(r, 403, "No");
    cr_assert_eq(crig_info(r)->permissions, 0, "nobody asked for it alone");
    crig_want_event(r, PH_TURNC_BIND_FAILED);
    cr_assert(ph_addr_eq(&r->ev.peer, &p));
    cr_assert_eq(r->ev.channel, number);
    cr_assert_eq(r->ev.code, 403);
    cr_assert_str_eq(r->ev.reason, "No");
    cr_assert_eq(crig_info(r)->channels, 0);
    bind_peer(r, 10);
    crig_want(r, PH_CHANNEL_BIND);
    cr_assert_eq(number_asked(r), number);
    crig_free(r);
}

/* RFC 8656 12: neither number nor peer may be used otherwise until five minutes after the
 * binding. */
Test(turn_client_chan, number_rests_five_minutes_after_the_binding)
{
    struct crig *r = crig_up();
    struct ph_addr p = peer_n(9);
    uint16_t number = bound(r, 9);
    ph_ns bound_at = r->now;
    ph_turnc_forget(r->t, &p, r->now);
    cr_assert_eq(crig_info(r)->channels, 0);
    cr_assert_eq(ph_turnc_channel(r->t, &p), 0);
    cr_assert_neq(bound(r, 10), number);
    crig_run(r, bound_at + PH_SEC(899) - r->now, true, -1);
    cr_assert_neq(bound(r, 11), number);
    crig_run(r, PH_SEC(2), true, -1);
    cr_assert_eq(bound(r, 12), number);
    crig_free(r);
}

Test(turn_client_chan, the_same_peer_gets_its_number_back)
{
    struct crig *r = crig_up();
    struct ph_addr p = peer_n(9);
    uint16_t number = bound(r, 9);
    ph_turnc_forget(r->t, &p, r->now);
    crig_run(r, PH_SEC(700), true, -1);
    cr_assert_eq(bound(r, 9), number);
    crig_free(r);
}

Test(turn_client_chan, never_sent_means_no_rest)
{
    struct crig *r = crig_new();
    r->c.max_channels = 1;
    crig_up_with(r);
    struct ph_addr p = peer_n(9), q = peer_n(10);
    bind_peer(r, 9);
    cr_assert_eq(ph_turnc_bind(r->t, &q, r->now), PH_E_LIMIT);
    ph_turnc_forget(r->t, &p, r->now);
    bind_peer(r, 10);
    crig_want(r, PH_CHANNEL_BIND);
    ph_turnc_forget(r->t, &q, r->now);
    crig_want_quiet(r);
    cr_assert_eq(ph_turnc_bind(r->t, &p, r->now), PH_E_LIMIT, "the server may have heard it");
    crig_run(r, PH_SEC(901), true, -1);
    bind_peer(r, 9);
    crig_free(r);
}

Test(turn_client_chan, silence_is_a_failure_and_the_number_rests)
{
    struct crig *r = crig_up();
    bind_peer(r, 9);
    cr_assert(crig_run(r, PH_SEC(100), false, PH_TURNC_BIND_FAILED));
    cr_assert_eq(r->ev.err, PH_E_TIMEOUT);
    uint16_t number = r->ev.channel;
    crig_run(r, PH_SEC(60), true, -1);
    cr_assert_neq(bound(r, 10), number);
    cr_assert_eq(bound(r, 9), number);
    crig_free(r);
}

Test(turn_client_chan, refused_refresh_ends_it)
{
    struct crig *r = crig_up();
    struct ph_addr p = peer_n(9);
    bound(r, 9);
    crig_run(r, PH_SEC(440), true, -1);
    for (;;) {
        if (!crig_take(r)) {
            r->now = ph_turnc_deadline(r->t);
            ph_turnc_tick(r->t, r->now);
        } else if (r->req.method == PH_CHANNEL_BIND) {
            break;
        } else {
            crig_serve_one(r);
        }
    }
    crig_error(r, 403, NULL);
    while (crig_event(r) && r->ev.type != PH_TURNC_BIND_FAILED)
        continue;
    cr_assert_eq(r->ev.code, 403);
    cr_assert_eq(ph_turnc_channel(r->t, &p), 0);
    crig_free(r);
}

/* The policy changed under a bound channel: the permission's refresh finds out, the channel is
 * asked for again and its owner told. */
Test(turn_client_chan, refused_permission_is_asked_for_by_binding)
{
    struct crig *r = crig_up();
    bound(r, 9);
    crig_sleep(r, PH_SEC(245));
    crig_want(r, PH_CREATE_PERMISSION);
    crig_error(r, 403, NULL);
    cr_assert_not(crig_event(r));
    crig_want(r, PH_CHANNEL_BIND);
    crig_error(r, 403, NULL);
    crig_want_event(r, PH_TURNC_BIND_FAILED);
    cr_assert_eq(crig_info(r)->permissions, 0);
    crig_want_quiet(r);
    crig_free(r);
}

Test(turn_client_chan, oversleeping_binds_anew)
{
    struct crig *r = crig_new();
    r->lifetime_s = 3600;
    crig_up_with(r);
    struct ph_addr p = peer_n(9);
    uint16_t number = bound(r, 9);
    crig_sleep(r, PH_SEC(1000));
    cr_assert_eq(ph_turnc_channel(r->t, &p), 0, "the binding is over");
    crig_serve(r);
    crig_want_event(r, PH_TURNC_BOUND);
    cr_assert_eq(r->ev.channel, number);
    crig_free(r);
}
