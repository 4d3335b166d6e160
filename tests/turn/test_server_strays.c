/*
 * Restored on one worker, heard of on another one: the allocation comes to where its client's packets come.
 */
#include "turn/restore_kit.h"

static const char client_text[] = "203.0.113.9:40000";
static const char new_text[] = "203.0.113.77:1234";
static const char peer_text[] = "192.0.2.7:9000";

static struct ph_strays *strays;

static struct rig *stray_rig(void)
{
    struct rig *r = rig_new();
    r->c.nonce.ttl_s = 36000;
    r->c.mobility = true;
    r->c.strays = strays = ph_strays_new(100, &r->env);
    r->quota = ph_quota_new(0, 1, 0, &r->env);
    return r;
}

static void done(struct rig *r)
{
    rig_free(r);
    cr_expect_eq(ph_strays_count(strays), 0, "nothing is left behind");
    ph_strays_free(strays);
}

/* A client with a channel, on worker 0. */
static void allocate(struct rig *r, const struct ph_addr *c, bool mobile)
{
    struct ph_slice s;

    rig_challenge(r, c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    if (mobile)
        ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){NULL, 0});
    rig_send_signed(r, c);
    cr_assert_eq(rig_code(r), 0);
    if (mobile) {
        cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_MOBILITY_TICKET, &s), 0);
        memcpy(r->ticket, s.p, PH_TICKET_LEN);
    }
    cr_assert_eq(rig_bind(r, c, 0x4001, peer_text), 0);
}

/* Restarted: restored on worker 0, and r->d is worker 1. */
static void restarted_elsewhere(struct rig *r)
{
    kit_restart(r);
    rig_other(r);
    ph_turnd_wall_clock(r->d, kit.wall_ms / 1000, r->now);
}

/* What the shell does with PH_ELSEWHERE.  False: it was not to be had. */
static bool fetch(struct rig *r)
{
    uint32_t sock[2] = {0, 0};
    struct ph_turnd_where where;

    cr_assert_eq(r->verdict, PH_ELSEWHERE);
    uint8_t from = ph_turnd_elsewhere(r->d, &where);
    cr_assert(where.fetch);
    cr_assert_lt(from, 2);
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[from], &where, sock, r->now);
    if (m) {
        cr_assert_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
        r->opened_sock[0] = sock[0];
    }
    r->verdict = ph_turnd_input_final(r->d, &r->pkt, r->now);
    rig_events(r);
    rig_result(r);
    return m != NULL;
}

/* The allocation is this worker's alone, and works. */
static void expect_here(struct rig *r, const struct ph_addr *c)
{
    struct ph_turnd *there = r->core[r->d == r->core[0]];

    cr_expect_eq(ph_turnd_count(r->d), 1);
    cr_expect_eq(ph_turnd_count(there), 0);
    cr_expect_eq(rig_peer(r, peer_text, "in", 2), PH_SEND);
    cr_expect(ph_addr_eq(&r->pkt.dst, c));
    cr_expect_eq(rig_channel(r, c, 0x4001, "out", 3), PH_SEND);
    cr_expect_eq(rig_refresh(r, c, 600), 0);
    cr_expect_eq(ph_turnd_stats(r->d)->strays, 1);
    cr_expect_eq(ph_strays_count(strays), 0);
    cr_expect_eq(ph_quota_used(r->quota), 1);
    cr_expect_eq(ph_ports_used(r->ports[0]), 1);
    cr_expect_eq(r->downs, 0);
    cr_expect_eq(r->closes, 0);
}

Test(turn_server_strays, a_channel_brings_it_here)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = stray_rig();

    rig_start(r);
    allocate(r, &c, false);
    const uint64_t session = kit_info(r).session;
    restarted_elsewhere(r);
    cr_expect_eq(ph_strays_count(strays), 1);
    cr_assert_eq(rig_channel(r, &c, 0x4001, "out", 3), PH_ELSEWHERE);
    cr_expect_eq(r->pkt.b.len, 7, "untouched");
    cr_expect_eq(ph_turnd_stats(r->d)->no_allocation, 0);
    cr_assert(fetch(r));
    cr_expect_eq(r->verdict, PH_SEND);
    cr_expect_eq(r->pkt.sock, r->opened_sock[0]);
    expect_here(r, &c);
    cr_expect_eq(kit_info(r).session, session);
    cr_expect(kit_info(r).restored);
    cr_expect_not(kit_info(r).mobile);
    done(r);
}

Test(turn_server_strays, an_indication_brings_it_here)
{
    struct ph_addr c = rig_addr(client_text), peer = rig_addr(peer_text);
    struct rig *r = stray_rig();

    rig_start(r);
    allocate(r, &c, false);
    restarted_elsewhere(r);
    cr_assert_eq(rig_indicate(r, &c, peer_text, "x", 1), PH_ELSEWHERE);
    cr_assert(fetch(r));
    cr_expect_eq(r->verdict, PH_SEND);
    cr_expect(ph_addr_eq(&r->pkt.dst, &peer));
    expect_here(r, &c);
    done(r);
}

Test(turn_server_strays, a_request_brings_it_here)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = stray_rig();

    rig_start(r);
    allocate(r, &c, true);
    restarted_elsewhere(r);
    cr_expect_eq(ph_strays_count(strays), 2, "its five-tuple and its ticket");
    cr_expect_eq(rig_refresh(r, &c, 600), -1);
    cr_assert(fetch(r));
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(ph_turnd_stats(r->d)->requests, 1);
    expect_here(r, &c);
    done(r);
}

/* Even one that nobody has signed: the answer must be that of where the allocation is. */
Test(turn_server_strays, an_allocate_brings_it_here)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = stray_rig();

    rig_start(r);
    allocate(r, &c, false);
    restarted_elsewhere(r);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send_signed(r, &c);
    cr_assert(fetch(r));
    cr_expect_eq(rig_code(r), 437, "it has one");
    expect_here(r, &c);
    done(r);
}

Test(turn_server_strays, strangers_are_not_looked_for)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr(new_text);
    struct rig *r = stray_rig();

    rig_start(r);
    allocate(r, &c, false);
    restarted_elsewhere(r);
    cr_expect_eq(rig_channel(r, &other, 0x4001, "out", 3), PH_DROP);
    cr_expect_eq(ph_turnd_stats(r->d)->no_allocation, 1);
    rig_challenge(r, &other);
    cr_expect_eq(rig_refresh(r, &other, 600), 437);
    rig_begin(r, PH_BINDING);
    cr_expect_eq(rig_send(r, &c), PH_SEND, "asks for no allocation");
    rig_other(r);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "out", 3), PH_SEND, "it is here");
    done(r);
}

/* Packets that come while it is on its way are sent after it. */
Test(turn_server_strays, several_packets_at_once)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = stray_rig();
    struct ph_turnd_where where[2];
    uint32_t sock[2];

    rig_start(r);
    allocate(r, &c, false);
    restarted_elsewhere(r);
    cr_assert_eq(rig_channel(r, &c, 0x4001, "one", 3), PH_ELSEWHERE);
    ph_turnd_elsewhere(r->d, &where[0]);
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where[0], sock, r->now);
    cr_assert_not_null(m);
    cr_assert_eq(rig_channel(r, &c, 0x4001, "two", 3), PH_ELSEWHERE, "nobody has it just now");
    ph_turnd_elsewhere(r->d, &where[1]);
    cr_expect_null(ph_turnd_detach(r->core[0], &where[1], sock, r->now));
    cr_assert_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
    cr_expect_eq(ph_turnd_input_final(r->d, &r->pkt, r->now), PH_SEND);
    done(r);
}

Test(turn_server_strays, gone_meanwhile)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = stray_rig();

    rig_start(r);
    allocate(r, &c, false);
    restarted_elsewhere(r);
    cr_assert_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_ELSEWHERE);
    cr_assert(ph_turnd_end(r->core[0], 0, r->now));
    cr_expect_not(fetch(r));
    cr_expect_eq(r->verdict, PH_DROP);
    cr_expect_eq(ph_turnd_stats(r->d)->no_allocation, 1);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_DROP, "and nobody asks again");
    done(r);
}

/* What the table says may be wrong: a packet goes elsewhere once, and never to where it is. */
Test(turn_server_strays, stale_entries_do_no_harm)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = stray_rig();
    const struct ph_stray there = {.worker = 1, .slot = 3, .session = 77},
                          here = {.worker = 0, .slot = 0, .session = 77};

    rig_start(r);
    rig_other(r);
    rig_other(r);
    cr_assert_eq(ph_strays_add(strays, &c, 0, &there, PH_NEVER), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_ELSEWHERE);
        cr_expect_not(fetch(r));
        cr_expect_eq(r->verdict, PH_DROP);
    }
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    cr_assert_eq(rig_send(r, &c), PH_ELSEWHERE);
    cr_expect_not(fetch(r));
    cr_expect_eq(rig_code(r), 401, "whoever it was may begin anew");
    cr_assert_eq(ph_strays_add(strays, &c, 0, &here, PH_NEVER), 0);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_DROP);
    ph_strays_del(strays, &c, 0);
    done(r);
}

/* It ends, moves away, or is lost on the way: then others need not find it. */
Test(turn_server_strays, forgotten_with_it)
{
    struct ph_addr c = rig_addr(client_text), n = rig_addr(new_text);
    struct ph_turnd_where where;
    uint32_t sock[2];

    for (int how = 0; how < 4; how++) {
        struct rig *r = stray_rig();
        rig_start(r);
        allocate(r, &c, true);
        kit_reset();
        kit_restart(r);
        cr_expect_eq(ph_strays_count(strays), 2);
        switch (how) {
        case 0:
            cr_expect_eq(rig_refresh(r, &c, 0), 0);
            break;
        case 1:
            rig_sleep(r, PH_SEC(600));
            break;
        case 2: /* its client comes here, from elsewhere */
            rig_challenge(r, &n);
            rig_begin(r, PH_REFRESH);
            ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET,
                          (struct ph_slice){r->ticket, PH_TICKET_LEN});
            rig_send_signed(r, &n);
            cr_expect_eq(rig_code(r), 0);
            break;
        default:
            rig_other(r);
            cr_assert_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_ELSEWHERE);
            ph_turnd_elsewhere(r->d, &where);
            ph_turnd_moved_free(r->core[0], ph_turnd_detach(r->core[0], &where, sock, r->now));
            cr_expect_eq(ph_quota_used(r->quota), 0);
            break;
        }
        cr_expect_eq(ph_strays_count(strays), 0, "%d", how);
        done(r);
    }
}

/* --- tickets --------------------------------------------------------------------------------------- */

static int resume(struct rig *r, const struct ph_addr *c)
{
    rig_challenge(r, c);
    rig_begin(r, PH_REFRESH);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){r->ticket, PH_TICKET_LEN});
    rig_send_signed(r, c);
    return rig_code(r);
}

/* The ticket says worker 0, the allocation was restored on worker 1 (it had been moved, or the number of workers is
 * another one by now), and its client comes to worker 0 or 1. */
Test(turn_server_strays, tickets_find_it_wherever_it_was_restored)
{
    struct ph_addr c = rig_addr_on(client_text, PH_TCP), n = rig_addr_on(new_text, PH_TCP);

    for (unsigned to = 0; to < 2; to++) {
        struct rig *r = stray_rig();
        rig_start(r);
        allocate(r, &c, true);
        kit_reset();
        kit_keep(r);
        kit_boot(r, PH_SEC(3), PH_SEC(20));
        rig_other(r);
        ph_turnd_wall_clock(r->d, kit.wall_ms / 1000, r->now);
        cr_assert_eq(kit_restore(r, 0), 0);
        cr_expect_eq(ph_strays_count(strays), 1, "its ticket");
        r->d = r->core[to];
        cr_expect_eq(resume(r, &n), to ? 0 : -1);
        if (!to)
            cr_assert(fetch(r));
        cr_expect_eq(rig_code(r), 0);
        cr_expect_eq(ph_turnd_count(r->d), 1);
        cr_expect_eq(rig_peer(r, peer_text, "in", 2), PH_SEND);
        cr_expect(ph_addr_eq(&r->pkt.dst, &n));
        cr_expect_eq(ph_strays_count(strays), 0);
        done(r);
    }
}

/* Its client has a new address and comes to the other worker: the old one is still good for what is under way. */
Test(turn_server_strays, moved_by_ticket_and_worker_at_once)
{
    struct ph_addr c = rig_addr(client_text), n = rig_addr(new_text);
    struct rig *r = stray_rig();

    rig_start(r);
    allocate(r, &c, true);
    restarted_elsewhere(r);
    cr_expect_eq(resume(r, &n), -1);
    cr_assert(fetch(r));
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "late", 4), PH_SEND, "from where it was");
    expect_here(r, &n);
    done(r);
}

/* Adopted from another node: the ticket names that one, but it is here. */
Test(turn_server_strays, tickets_of_another_node_whose_allocation_was_adopted)
{
    struct ph_addr c = rig_addr_on(client_text, PH_TCP), n = rig_addr_on(new_text, PH_TCP);
    struct rig *r = stray_rig();

    r->c.node = 111;
    rig_start(r);
    allocate(r, &c, true);
    r->c.node = 222;
    restarted_elsewhere(r);
    cr_expect_eq(resume(r, &n), -1);
    cr_assert(fetch(r));
    cr_expect_eq(rig_code(r), 0);
    done(r);
}

/* --- fetched ones are like others ------------------------------------------------------------------- */

Test(turn_server_strays, full_worker_gives_it_back)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr(new_text);
    struct rig *r = stray_rig();
    struct ph_turnd_where where;
    uint32_t sock[2];

    r->c.max_allocations = 1;
    ph_quota_set(r->quota, 0, 2);
    rig_start(r);
    allocate(r, &c, false);
    restarted_elsewhere(r);
    cr_assert_eq(rig_allocate(r, &other), 0);
    cr_assert_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_ELSEWHERE);
    ph_turnd_elsewhere(r->d, &where);
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where, sock, r->now);
    cr_assert_not_null(m);
    cr_expect_eq(ph_turnd_attach(r->d, m, sock, r->now), PH_E_LIMIT);
    cr_expect_eq(ph_turnd_attach(r->core[0], m, sock, r->now), 0, "it is still the caller's");
    rig_other(r);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_SEND, "where it was restored");
    done(r);
}

/* Nobody else's, not restored: the session must fit the slot. */
Test(turn_server_strays, detach_wants_the_session)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = stray_rig();
    struct ph_turnd_where where;
    uint32_t sock[2];

    rig_start(r);
    allocate(r, &c, true);
    const uint64_t session = kit_info(r).session;
    where = (struct ph_turnd_where){.slot = 0, .session = session + 1};
    cr_expect_null(ph_turnd_detach(r->d, &where, sock, r->now));
    where = (struct ph_turnd_where){.slot = 1, .session = session};
    cr_expect_null(ph_turnd_detach(r->d, &where, sock, r->now));
    where = (struct ph_turnd_where){.slot = UINT32_MAX, .session = session + 1};
    cr_expect_null(ph_turnd_detach(r->d, &where, sock, r->now));
    where = (struct ph_turnd_where){.slot = 0, .session = session};
    struct ph_turnd_moved *m = ph_turnd_detach(r->d, &where, sock, r->now);
    cr_assert_not_null(m);
    cr_expect_eq(rig_refresh(r, &c, 600), 437, "it is on its way");
    cr_expect_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
    cr_expect_eq(rig_refresh(r, &c, 600), 0, "with its five-tuple");
    done(r);
}

/* Whose client is away stays so, whichever worker it is on. */
Test(turn_server_strays, away_ones_are_away_everywhere)
{
    struct ph_addr c = rig_addr_on(client_text, PH_TCP);
    struct rig *r = stray_rig();
    uint32_t sock[2];

    rig_start(r);
    allocate(r, &c, true);
    const uint64_t session = kit_info(r).session;
    restarted_elsewhere(r);
    const struct ph_turnd_where where = {.slot = 0, .session = session};
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where, sock, r->now);
    cr_assert_not_null(m);
    rig_other(r);
    cr_assert_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
    r->opened_sock[0] = sock[0];
    cr_expect_eq(rig_peer(r, peer_text, "in", 2), PH_DROP);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_DROP);
    done(r);
}

/* Its client could not wait and has made another one on the same five-tuple. */
Test(turn_server_strays, attach_takes_no_five_tuple_from_another)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = stray_rig();
    uint32_t sock[2];

    ph_quota_set(r->quota, 0, 2);
    rig_start(r);
    allocate(r, &c, false);
    const struct ph_turnd_where where = {.slot = 0, .session = kit_info(r).session};
    struct ph_turnd_moved *m = ph_turnd_detach(r->d, &where, sock, r->now);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(ph_turnd_attach(r->d, m, sock, r->now), PH_E_LIMIT);
    ph_turnd_moved_free(r->d, m);
    cr_expect_eq(ph_quota_used(r->quota), 1);
    done(r);
}

/* No room in the table: then only the worker that has it knows it. */
Test(turn_server_strays, table_is_full)
{
    struct rig *r = stray_rig();
    struct ph_addr c = rig_addr(client_text);
    const struct ph_stray at = {.worker = 7};

    rig_start(r);
    allocate(r, &c, true);
    for (uint64_t i = 1; i < 10000; i++) {
        const struct ph_addr other = ph_stray_ticket(i);
        (void)ph_strays_add(strays, &other, 9, &at, PH_NEVER);
    }
    restarted_elsewhere(r);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_DROP);
    rig_other(r);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_SEND);
    rig_free(r);
    ph_strays_free(strays);
}
