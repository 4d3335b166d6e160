/*
 * Mobility (RFC 8016): an allocation follows its client to another address, connection, listener and worker.
 */
#include "support/oom.h"
#include "turn/rig.h"
#include "turn/token.h"

static const char old_text[] = "203.0.113.9:40000";
static const char new_text[] = "203.0.113.77:1234";
static const char third_text[] = "203.0.113.88:5678";
static const char peer_text[] = "192.0.2.7:9000";

static struct rig *mobile_rig(void)
{
    struct rig *r = rig_new();
    r->c.mobility = true;
    r->c.nonce.ttl_s = 36000;
    return r;
}

/* Keeps the ticket of the last answer.  False: it had none. */
static bool take_ticket(struct rig *r)
{
    struct ph_slice s;
    if (!r->has_out || ph_msg_bytes(&r->out, PH_IX_MOBILITY_TICKET, &s))
        return false;
    cr_assert_eq(s.n, PH_TICKET_LEN);
    memcpy(r->ticket, s.p, s.n);
    return true;
}

/* The nonce was for another realm; the right one has come with the answer. */
static bool stale(struct rig *r)
{
    if (rig_code(r) != 438)
        return false;
    rig_take_nonce(r);
    return true;
}

static int allocate_with_ticket(struct rig *r, const struct ph_addr *c, uint8_t transport,
                                struct ph_slice ticket)
{
    if (r->c.live.auth)
        rig_challenge(r, c);
    do {
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, transport);
        ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, ticket);
        if (r->c.live.auth)
            rig_send_signed(r, c);
        else
            rig_send(r, c);
    } while (stale(r));
    return rig_code(r);
}

static void allocate(struct rig *r, const struct ph_addr *c)
{
    cr_assert_eq(allocate_with_ticket(r, c, PH_UDP, (struct ph_slice){NULL, 0}), 0);
    cr_assert(take_ticket(r));
}

/* A core with one mobile allocation of `c`, which has a permission and a channel. */
static struct rig *with_mobile(const struct ph_addr *c)
{
    struct rig *r = mobile_rig();
    rig_start(r);
    allocate(r, c);
    cr_assert_eq(rig_bind(r, c, 0x4000, peer_text), 0);
    return r;
}

/* A Refresh with a ticket, from where a nonce is needed first. */
static int resume_with(struct rig *r, const struct ph_addr *c, const uint8_t *ticket, size_t n,
                       uint32_t lifetime)
{
    rig_challenge(r, c);
    do {
        rig_begin(r, PH_REFRESH);
        ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, lifetime);
        ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){ticket, n});
        rig_send_signed(r, c);
    } while (stale(r));
    return rig_code(r);
}

static int resume(struct rig *r, const struct ph_addr *c)
{
    return resume_with(r, c, r->ticket, sizeof r->ticket, 600);
}

/* Sends the last request once more. */
static int again(struct rig *r, const struct ph_addr *c)
{
    rig_input(r, rig_listener(c), c, r->req, (size_t)ph_msgw_end(&r->w));
    return rig_code(r);
}

static struct ph_turnd_info info_of(struct rig *r)
{
    struct ph_turnd_info info = {0};
    uint32_t id = 0;
    cr_assert(ph_turnd_list(r->d, &id, &info));
    return info;
}

/* Where the next packet from the peer goes. */
static bool peer_reaches(struct rig *r, const struct ph_addr *c)
{
    return rig_peer(r, peer_text, "hi", 2) == PH_SEND && ph_addr_eq(&r->pkt.dst, c) &&
           r->pkt.sock == rig_listener(c) && r->pkt.conn == rig_conn(c);
}

/* --- tickets --------------------------------------------------------------------------------------- */

Test(turn_mobility, allocation_gets_a_ticket_if_it_asks)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr(old_text), other = rig_addr(new_text);
    uint8_t first[PH_TICKET_LEN];

    rig_start(r);
    allocate(r, &c);
    memcpy(first, r->ticket, sizeof first);
    cr_expect(info_of(r).mobile);
    cr_expect_eq(again(r, &c), 0);
    cr_assert(take_ticket(r));
    cr_expect_eq(memcmp(first, r->ticket, sizeof first), 0, "the same answer again");
    cr_assert_eq(rig_allocate(r, &other), 0);
    cr_expect_not(take_ticket(r), "who does not ask gets none");
    rig_free(r);
}

Test(turn_mobility, switched_off_is_405)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(old_text);

    cr_expect_eq(allocate_with_ticket(r, &c, PH_UDP, (struct ph_slice){NULL, 0}), 405);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    cr_expect_eq(resume(r, &c), 405);
    rig_free(r);
}

Test(turn_mobility, allocate_with_a_ticket_in_it_is_400)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    cr_expect_eq(allocate_with_ticket(r, &n, PH_UDP, (struct ph_slice){r->ticket, PH_TICKET_LEN}),
                 400);
    rig_free(r);
}

Test(turn_mobility, refresh_where_it_is_keeps_the_ticket_and_with_it_renews_it)
{
    struct ph_addr c = rig_addr(old_text);
    struct rig *r = with_mobile(&c);
    uint8_t first[PH_TICKET_LEN];

    memcpy(first, r->ticket, sizeof first);
    cr_assert_eq(rig_refresh(r, &c, 600), 0);
    cr_assert(take_ticket(r));
    cr_expect_eq(memcmp(first, r->ticket, sizeof first), 0);
    cr_assert_eq(resume(r, &c), 0);
    cr_assert(take_ticket(r));
    cr_expect_neq(memcmp(first, r->ticket, sizeof first), 0);
    cr_expect_eq(ph_turnd_stats(r->d)->moved, 0);
    rig_free(r);
}

/* --- moving ---------------------------------------------------------------------------------------- */

Test(turn_mobility, allocation_follows_its_client)
{
    static const struct {
        uint8_t from, to;
        const char *text;
    } table[] = {
        {PH_UDP, PH_UDP, new_text},  {PH_UDP, PH_UDP, "[2001:db8::77]:1234"},
        {PH_UDP, PH_TLS, new_text},  {PH_TLS, PH_UDP, new_text},
        {PH_TCP, PH_TCP, old_text},  {PH_TCP, PH_DTLS, new_text},
        {PH_DTLS, PH_TCP, new_text}, {PH_TCP, PH_TCP, "203.0.113.9:40001"},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ph_addr c = rig_addr_on(old_text, table[i].from),
                       n = rig_addr_on(table[i].text, table[i].to);
        struct rig *r = with_mobile(&c);
        uint8_t first[PH_TICKET_LEN];
        bool same = ph_addr_eq(&c, &n);
        uint64_t lifetime;

        memcpy(first, r->ticket, sizeof first);
        struct ph_turnd_info before = info_of(r);
        cr_expect(peer_reaches(r, &c));
        cr_assert_eq(resume(r, &n), 0, "row %zu", i);
        cr_expect_eq(ph_msg_uint(&r->out, PH_IX_LIFETIME, &lifetime), 0);
        cr_expect_eq(lifetime, 600);
        cr_expect(ph_addr_eq(&r->pkt.dst, &n), "row %zu", i);
        cr_assert(take_ticket(r));
        cr_expect_neq(memcmp(first, r->ticket, sizeof first), 0);
        cr_expect(peer_reaches(r, &n), "row %zu", i);
        cr_expect_eq(rig_channel(r, &n, 0x4000, "ho", 2), PH_SEND);
        cr_expect_eq(ph_turnd_stats(r->d)->moved, same ? 0 : 1);
        cr_expect_eq(ph_turnd_left(r->d), same ? 0 : rig_conn(&c), "row %zu", i);
        cr_expect_eq(ph_turnd_left(r->d), 0);
        struct ph_turnd_info after = info_of(r);
        cr_expect_eq(after.session, before.session);
        cr_expect(ph_addr_eq(&after.relay[0], &before.relay[0]));
        cr_expect_eq(after.permissions, 1);
        cr_expect_eq(after.channels, 1);
        cr_expect_eq(after.conn, rig_conn(&n));
        cr_expect_eq(r->ups, 1);
        cr_expect_eq(r->downs, 0);
        cr_expect(n.proto == PH_UDP || ph_turnd_conn_needed(r->d, rig_listener(&n), &n));
        cr_expect(same || !ph_turnd_conn_needed(r->d, rig_listener(&c), &c));
        rig_free(r);
    }
}

Test(turn_mobility, works_without_authentication)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);

    r->c.live.auth = NULL;
    rig_start(r);
    allocate(r, &c);
    rig_begin(r, PH_REFRESH);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){r->ticket, PH_TICKET_LEN});
    rig_send(r, &n);
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(ph_turnd_stats(r->d)->moved, 1);
    rig_free(r);
}

Test(turn_mobility, refresh_sent_again_gets_the_same_kind_of_answer_and_no_second_move)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);
    uint8_t given[PH_TICKET_LEN];

    cr_assert_eq(resume(r, &n), 0);
    cr_assert(take_ticket(r));
    memcpy(given, r->ticket, sizeof given);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(again(r, &n), 0);
        cr_assert(take_ticket(r));
        cr_expect_eq(memcmp(given, r->ticket, sizeof given), 0,
                     "whichever answer arrives, its ticket is good");
    }
    cr_expect_eq(ph_turnd_stats(r->d)->moved, 1);
    cr_expect_eq(resume(r, &c), 0);
    rig_free(r);
}

Test(turn_mobility, lost_answer_does_not_lose_the_allocation)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text), third = rig_addr(third_text);
    struct rig *r = with_mobile(&c);

    cr_assert_eq(resume(r, &n), 0); /* and the client never sees it */
    cr_assert_eq(resume(r, &third), 0);
    cr_assert(take_ticket(r));
    cr_expect(peer_reaches(r, &third));
    cr_assert_eq(resume(r, &n), 0);
    cr_expect(peer_reaches(r, &n));
    rig_free(r);
}

Test(turn_mobility, older_tickets_are_worth_nothing)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text), third = rig_addr(third_text);
    struct rig *r = with_mobile(&c);
    uint8_t first[PH_TICKET_LEN];

    memcpy(first, r->ticket, sizeof first);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(resume(r, &n), 0);
        cr_assert(take_ticket(r));
    }
    cr_expect_eq(resume_with(r, &third, first, sizeof first, 600), 437);
    cr_expect(peer_reaches(r, &n));
    rig_free(r);
}

/* --- what is refused ------------------------------------------------------------------------------- */

/* turn.md 3, coturn #1969: another user presents the ticket. */
Test(turn_mobility, ticket_of_another_user_is_441)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    r->user = "bob";
    r->pass = "hidden";
    cr_expect_eq(resume(r, &n), 441);
    cr_expect_eq(resume_with(r, &n, r->ticket, PH_TICKET_LEN, 0), 441, "nor is it released");
    r->user = "alice";
    r->pass = "secret";
    cr_expect(peer_reaches(r, &c));
    cr_expect_eq(ph_turnd_stats(r->d)->moved, 0);
    cr_expect_eq(resume(r, &n), 0);
    rig_free(r);
}

Test(turn_mobility, made_up_tickets)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);
    uint8_t b[64] = {0};

    for (size_t len = 0; len <= sizeof b; len++)
        cr_expect_eq(resume_with(r, &n, b, len, 600), len == PH_TICKET_LEN ? 441 : 400, "%zu", len);
    memcpy(b, r->ticket, PH_TICKET_LEN);
    b[PH_TICKET_LEN - 1] ^= 1;
    cr_expect_eq(resume_with(r, &n, b, PH_TICKET_LEN, 600), 441);
    cr_expect_eq(resume_with(r, &c, b, PH_TICKET_LEN, 600), 441, "where it is, too");
    cr_expect(peer_reaches(r, &c));
    rig_free(r);
}

Test(turn_mobility, ticket_of_an_allocation_that_ended_is_437)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    cr_assert_eq(rig_refresh(r, &c, 0), 0);
    cr_expect_eq(resume(r, &n), 437);
    cr_assert_eq(rig_allocate(r, &c), 0); /* the slot again */
    cr_expect_eq(resume(r, &n), 437);
    rig_free(r);
}

/* turn.md 3: ticketless REFRESH under mobility. */
Test(turn_mobility, refresh_without_ticket_from_elsewhere_is_437_and_leaves_no_state)
{
    struct ph_addr c = rig_addr(old_text);
    struct rig *r = with_mobile(&c);

    for (uint16_t i = 0; i < 300; i++) {
        struct ph_addr n = rig_addr(new_text);
        n.port = (uint16_t)(1000 + i);
        rig_begin(r, PH_REFRESH);
        rig_send(r, &n);
        cr_expect_eq(rig_code(r), 401);
        rig_take_nonce(r);
        cr_expect_eq(rig_refresh(r, &n, 600), 437);
    }
    cr_expect_eq(ph_turnd_count(r->d), 1);
    cr_expect(peer_reaches(r, &c));
    rig_free(r);
}

Test(turn_mobility, five_tuple_that_has_an_allocation_already_is_437)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    cr_assert_eq(rig_allocate(r, &n), 0);
    cr_expect_eq(resume(r, &n), 437);
    cr_expect_eq(ph_turnd_count(r->d), 2);
    rig_free(r);
}

/* --- make before break ----------------------------------------------------------------------------- */

Test(turn_mobility, old_five_tuple_is_good_until_the_new_one_is_used)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    cr_assert_eq(resume(r, &n), 0);
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(rig_channel(r, &c, 0x4000, "late", 4), PH_SEND, "packet %d", i);
        cr_expect_eq(rig_indicate(r, &c, peer_text, "late", 4), PH_SEND);
        cr_expect(peer_reaches(r, &n));
    }
    cr_expect_eq(rig_channel(r, &n, 0x4000, "new", 3), PH_SEND);
    cr_expect_eq(rig_channel(r, &n, 0x4000, "new", 3), PH_SEND);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "late", 4), PH_DROP);
    cr_expect_eq(rig_indicate(r, &c, peer_text, "late", 4), PH_DROP);
    cr_expect_eq(ph_turnd_stats(r->d)->no_allocation, 2);
    rig_free(r);
}

Test(turn_mobility, a_request_by_the_new_five_tuple_ends_the_old_one)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    cr_assert_eq(resume(r, &n), 0);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "late", 4), PH_SEND);
    cr_expect_eq(rig_refresh(r, &n, 600), 0);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "late", 4), PH_SEND, "a Refresh does not");
    cr_assert_eq(rig_permit(r, &n, peer_text), 0);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "late", 4), PH_DROP);
    rig_free(r);
}

Test(turn_mobility, old_five_tuple_is_good_for_10_s_at_most)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    cr_assert_eq(resume(r, &n), 0);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(10));
    rig_sleep(r, PH_SEC(10) - 1);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "late", 4), PH_SEND);
    rig_sleep(r, 1);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "late", 4), PH_DROP);
    cr_expect_eq(r->downs, 0);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(590), "the allocation goes on");
    cr_expect_eq(rig_channel(r, &n, 0x4000, "new", 3), PH_SEND);
    rig_sleep(r, PH_SEC(590));
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(r->reason, PH_END_EXPIRED);
    rig_free(r);
}

Test(turn_mobility, moving_back_is_a_move_too)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    cr_assert_eq(resume(r, &n), 0);
    cr_assert(take_ticket(r));
    cr_assert_eq(resume(r, &c), 0);
    cr_expect(peer_reaches(r, &c));
    cr_expect_eq(rig_channel(r, &n, 0x4000, "late", 4), PH_SEND, "and now that is the old one");
    cr_expect_eq(ph_turnd_stats(r->d)->moved, 2);
    rig_free(r);
}

/* --- connections that are lost --------------------------------------------------------------------- */

Test(turn_mobility, old_connection_closing_ends_nothing)
{
    struct ph_addr c = rig_addr_on(old_text, PH_TCP), n = rig_addr_on(new_text, PH_TCP);
    struct rig *r = with_mobile(&c);

    cr_assert_eq(resume(r, &n), 0);
    rig_hang_up(r, &c);
    cr_expect_eq(ph_turnd_count(r->d), 1);
    cr_expect(peer_reaches(r, &n));
    cr_expect_eq(rig_channel(r, &c, 0x4000, "late", 4), PH_DROP, "it is gone");
    rig_free(r);
}

Test(turn_mobility, lost_connection_leaves_the_allocation_waiting)
{
    struct ph_addr c = rig_addr_on(old_text, PH_TLS), n = rig_addr_on(new_text, PH_TLS);
    struct rig *r = with_mobile(&c);

    rig_hang_up(r, &c);
    cr_expect_eq(r->downs, 0);
    cr_expect_eq(ph_turnd_count(r->d), 1);
    cr_expect_not(ph_turnd_conn_needed(r->d, rig_listener(&c), &c));
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rig_peer(r, peer_text, "hi", 2), PH_DROP);
    struct ph_turnd_info info = info_of(r);
    cr_expect_eq(info.conn, 0);
    cr_expect_eq(info.dropped, 3);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "x", 1), PH_DROP, "another one with its address");
    cr_assert_eq(resume(r, &n), 0);
    cr_expect(peer_reaches(r, &n));
    cr_expect_eq(ph_turnd_left(r->d), 0, "it had left before");
    rig_free(r);
}

Test(turn_mobility, lost_connection_and_no_return_expires)
{
    struct ph_addr c = rig_addr_on(old_text, PH_TLS);
    struct rig *r = with_mobile(&c);

    rig_hang_up(r, &c);
    rig_sleep(r, PH_SEC(600));
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(r->reason, PH_END_EXPIRED);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    rig_free(r);
}

Test(turn_mobility, an_admin_can_end_one_that_waits)
{
    struct ph_addr c = rig_addr_on(old_text, PH_TLS);
    struct rig *r = with_mobile(&c);

    rig_hang_up(r, &c);
    cr_expect(ph_turnd_end(r->d, info_of(r).id, r->now));
    rig_take(r);
    cr_expect_eq(r->downs, 1);
    rig_free(r);
}

/* turn.md 3, coturn 3c5b2615: the quota was released while the allocation survived its connection. */
Test(turn_mobility, quota_is_taken_as_long_as_the_allocation_lives)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr_on(old_text, PH_TCP), n = rig_addr_on(new_text, PH_TCP),
                   more = rig_addr_on(third_text, PH_TCP);

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    rig_start(r);
    allocate(r, &c);
    cr_expect_eq(rig_allocate(r, &more), 486);
    rig_hang_up(r, &c);
    cr_expect_eq(rig_allocate(r, &more), 486, "it waits for its client");
    cr_assert_eq(resume(r, &n), 0);
    cr_expect_eq(rig_allocate(r, &more), 486);
    cr_expect_eq(ph_quota_used(r->quota), 1);
    rig_challenge(r, &n);
    cr_assert_eq(rig_refresh(r, &n, 0), 0);
    cr_expect_eq(ph_quota_used(r->quota), 0);
    cr_expect_eq(rig_allocate(r, &more), 0);
    rig_free(r);
}

/* turn.md 3, coturn a97f1924: chained resumes leaked sessions.  user-quota = 1. */
Test(turn_mobility, resume_flood_leaves_one_allocation)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr(old_text), last = c;

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    rig_start(r);
    allocate(r, &c);
    for (uint16_t i = 0; i < 1000; i++) {
        struct ph_addr n = rig_addr_on(new_text, i & 1 ? PH_UDP : PH_TCP);
        n.port = (uint16_t)(1000 + i);
        cr_assert_eq(resume(r, &n), 0, "resume %u", i);
        cr_assert(take_ticket(r));
        if (i % 3 == 0)
            rig_hang_up(r, &n);
        last = n;
    }
    cr_expect_eq(ph_turnd_count(r->d), 1);
    cr_expect_eq(ph_quota_used(r->quota), 1);
    cr_expect_eq(ph_ports_used(r->ports[0]), 1);
    cr_expect_eq(r->opens, 1);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "x", 1), PH_DROP);
    rig_sleep(r, PH_SEC(10));
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(590));
    cr_assert_eq(rig_refresh(r, &last, 0), 0);
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(ph_quota_used(r->quota), 0);
    cr_expect_eq(ph_turnd_deadline(r->d), PH_NEVER);
    rig_free(r);
}

/* --- ends ------------------------------------------------------------------------------------------ */

Test(turn_mobility, lifetime_0_with_a_ticket_releases_from_anywhere)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);
    uint64_t lifetime;

    cr_assert_eq(resume_with(r, &n, r->ticket, PH_TICKET_LEN, 0), 0);
    cr_expect_eq(ph_msg_uint(&r->out, PH_IX_LIFETIME, &lifetime), 0);
    cr_expect_eq(lifetime, 0);
    cr_expect_not(take_ticket(r));
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    cr_expect_eq(ph_turnd_stats(r->d)->moved, 0);
    cr_expect_eq(again(r, &n), 0, "its answer was lost");
    cr_expect_eq(rig_channel(r, &c, 0x4000, "x", 1), PH_DROP);
    rig_free(r);
}

Test(turn_mobility, end_while_moving_leaves_nothing)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    cr_assert_eq(resume(r, &n), 0);
    rig_challenge(r, &c);
    cr_assert_eq(rig_refresh(r, &c, 0), 0, "by the old five-tuple, which is good still");
    cr_expect_eq(ph_turnd_count(r->d), 0);
    cr_expect_eq(rig_channel(r, &n, 0x4000, "x", 1), PH_DROP);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "x", 1), PH_DROP);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_allocate(r, &n), 0);
    rig_free(r);
}

Test(turn_mobility, tcp_relay_keeps_its_connections)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr_on(old_text, PH_TCP), n = rig_addr_on(new_text, PH_TLS),
                   peer = rig_addr(peer_text), from = rig_addr_on("192.0.2.8:99", PH_TCP);
    uint32_t id;

    rig_start(r);
    cr_assert_eq(allocate_with_ticket(r, &c, PH_TCP, (struct ph_slice){NULL, 0}), 0);
    cr_assert(take_ticket(r));
    cr_assert_eq(rig_permit(r, &c, "192.0.2.8"), 0);
    r->hold_connects = true;
    rig_begin(r, PH_CONNECT);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    rig_send_signed(r, &c);
    rig_hang_up(r, &c);
    cr_expect_eq(ph_turnd_peer_accepted(r->d, r->opened_sock[0], &from, &id, r->now), PH_E_MISSING,
                 "there is nobody to be told");
    cr_assert_eq(resume(r, &n), 0);
    ph_turnd_peer_connected(r->d, r->connect.peer, 0, r->now);
    cr_assert(rig_take(r));
    cr_expect_eq(r->out.method, PH_CONNECT);
    cr_expect(ph_addr_eq(&r->pkt.dst, &n), "the answer to Connect finds its client");
    cr_expect_eq(r->pkt.conn, rig_conn(&n));
    cr_assert_eq(ph_turnd_peer_accepted(r->d, r->opened_sock[0], &from, &id, r->now), 0);
    cr_assert(rig_take(r));
    cr_expect(ph_addr_eq(&r->pkt.dst, &n));
    cr_expect_eq(r->peer_closes, 0);
    rig_free(r);
}

Test(turn_mobility, tcp_relay_whose_client_is_away_keeps_quiet)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr_on(old_text, PH_TCP), peer = rig_addr(peer_text);

    rig_start(r);
    cr_assert_eq(allocate_with_ticket(r, &c, PH_TCP, (struct ph_slice){NULL, 0}), 0);
    r->hold_connects = true;
    rig_begin(r, PH_CONNECT);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    rig_send_signed(r, &c);
    rig_hang_up(r, &c);
    ph_turnd_peer_connected(r->d, r->connect.peer, 0, r->now);
    cr_expect_not(rig_take(r), "there is nobody to be told");
    rig_sleep(r, PH_SEC(30));
    cr_expect_eq(r->peer_closes, 1, "so nobody binds it");
    rig_free(r);
}

/* --- tokens ---------------------------------------------------------------------------------------- */

static const struct ph_oauth_key oauth_key = {
    .kid = "north", .key = "01234567890123456789012345678901", .key_len = 32};

/* Puts a token whose key is all `fill` into a request that will be signed with it. */
static void put_token(struct rig *r, char fill)
{
    enum { WALL = 1800000000 /* what rig_start says */ };
    struct grant g = {.key_n = 20, .timestamp = (uint64_t)WALL << 16, .lifetime_s = 3600};

    memset(g.key, fill, sizeof g.key);
    struct token t = token_seal(&oauth_key, "turn.example.org", &g);
    r->key = (struct ph_key){.n = 20};
    memcpy(r->key.b, g.key, 20);
    ph_msgw_bytes(&r->w, PH_ATTR_ACCESS_TOKEN, token_slice(&t));
}

static int resume_with_token(struct rig *r, const struct ph_addr *c, char fill)
{
    rig_challenge(r, c);
    rig_begin(r, PH_REFRESH);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){r->ticket, sizeof r->ticket});
    put_token(r, fill);
    rig_send_signed(r, c);
    return rig_code(r);
}

static bool is_of(struct rig *r, const struct ph_addr *c)
{
    struct ph_turnd_info info = info_of(r);
    return ph_addr_eq(&info.client, c);
}

/* An allocation of `c` by a token whose key is all 'a'. */
static struct rig *with_token(const struct ph_addr *c)
{
    struct rig *r = mobile_rig();

    r->c.oauth_server = "turn.example.org";
    r->c.live.oauth = &oauth_key;
    r->c.live.n_oauth = 1;
    r->own_key = true;
    r->user = "north";
    rig_start(r);
    rig_challenge(r, c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){NULL, 0});
    put_token(r, 'a');
    rig_send_signed(r, c);
    cr_assert_eq(rig_code(r), 0);
    cr_assert(take_ticket(r));
    return r;
}

/* All clients of an authorization server have one name, the kid: a ticket that somebody else of them has overheard must be
 * worth no more than one of another user. */
Test(turn_mobility, ticket_of_another_token_is_441)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_token(&c);
    struct ph_turnd *there = r->d;

    cr_expect_eq(resume_with_token(r, &n, 'b'), 441);
    cr_expect(is_of(r, &c));
    rig_other(r);
    cr_expect_eq(resume_with_token(r, &n, 'b'), 441, "nor does it leave its worker");
    cr_expect_eq(ph_turnd_count(there), 1);
    r->d = there;
    cr_expect_eq(resume_with_token(r, &n, 'a'), 0);
    cr_assert(take_ticket(r));
    cr_expect(is_of(r, &n));
    rig_free(r);
}

Test(turn_mobility, a_new_token_and_the_ticket_of_the_old_one)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_token(&c);

    cr_expect_eq(resume_with_token(r, &c, 'b'), 0, "where it is the ticket is not needed");
    cr_assert(take_ticket(r), "and there is a new one");
    cr_expect_eq(resume_with_token(r, &n, 'a'), 441, "the old token is no longer its own");
    cr_expect_eq(resume_with_token(r, &n, 'b'), 0);
    cr_expect(is_of(r, &n));
    rig_free(r);
}

/* --- between workers ------------------------------------------------------------------------------- */

/* What the shell does with PH_ELSEWHERE: the allocation comes here and the packet is handed in for good.  Returns the
 * code. */
static int fetch(struct rig *r)
{
    uint32_t sock[2] = {0, 0};
    struct ph_turnd_where where;

    cr_assert_eq(r->verdict, PH_ELSEWHERE);
    uint8_t from = ph_turnd_elsewhere(r->d, &where);
    cr_assert(where.fetch);
    cr_assert_lt(from, 2);
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[from], &where, sock, r->now);
    if (m) {
        cr_assert_eq(sock[0], r->opened_sock[0]);
        cr_assert_eq(sock[1], 0);
        cr_assert_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
        r->opened_sock[0] = sock[0];
    }
    r->verdict = ph_turnd_input_final(r->d, &r->pkt, r->now);
    rig_events(r);
    rig_result(r);
    return rig_code(r);
}

Test(turn_mobility, ticket_of_another_worker_brings_the_allocation_here)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr_on(new_text, PH_TCP);
    struct rig *r = with_mobile(&c);
    struct ph_turnd_info before = info_of(r);
    struct ph_turnd *there = r->d;

    rig_other(r);
    resume(r, &n);
    cr_assert_eq(r->verdict, PH_ELSEWHERE);
    int len = ph_msgw_end(&r->w);
    cr_expect_eq(r->pkt.b.len, (uint32_t)len);
    cr_expect_eq(memcmp(ph_buf_data(&r->pkt.b), r->req, (size_t)len), 0, "untouched");
    cr_assert_eq(fetch(r), 0);
    cr_assert(take_ticket(r));
    cr_expect_eq(ph_turnd_count(there), 0);
    cr_expect_eq(ph_turnd_count(r->d), 1);
    struct ph_turnd_info after = info_of(r);
    cr_expect_eq(after.session, before.session);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "hi", 2), PH_DROP, "the old five-tuple did not come");
    cr_expect(ph_addr_eq(&after.relay[0], &before.relay[0]));
    cr_expect(ph_slice_eq(after.user, ph_str("alice")));
    cr_expect(ph_slice_eq(after.realm, ph_str(rig_realm)));
    cr_expect_eq(after.permissions, 1);
    cr_expect(peer_reaches(r, &n));
    cr_expect_eq(rig_channel(r, &n, 0x4000, "hi", 2), PH_SEND);
    cr_expect_eq(rig_refresh(r, &n, 600), 0);
    cr_expect_eq(r->downs, 0, "the session goes on");
    cr_expect_eq(r->closes, 0);
    rig_sleep(r, PH_SEC(600));
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    rig_free(r);
}

/* The number of the connection it had means nothing here. */
Test(turn_mobility, connection_of_before_is_the_other_workers)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr_on(old_text, PH_TCP), n = rig_addr_on(new_text, PH_TCP);

    rig_start(r);
    cr_assert_eq(allocate_with_ticket(r, &c, PH_UDP, (struct ph_slice){NULL, 0}), 0);
    cr_assert(take_ticket(r));
    rig_other(r);
    resume(r, &n);
    cr_assert_eq(fetch(r), 0);
    cr_expect_eq(ph_turnd_left(r->d), 0);
    rig_free(r);
}

Test(turn_mobility, there_and_back_again)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr(old_text);

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    rig_start(r);
    allocate(r, &c);
    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    for (uint16_t i = 0; i < 200; i++) {
        struct ph_addr n = rig_addr(new_text);
        n.port = (uint16_t)(2000 + i);
        rig_other(r);
        resume(r, &n);
        cr_assert_eq(fetch(r), 0, "move %u", i);
        cr_assert(take_ticket(r));
        cr_assert(peer_reaches(r, &n));
        cr_assert_eq(again(r, &n), 0, "its answer was lost");
    }
    cr_expect_eq(ph_turnd_count(r->core[0]) + ph_turnd_count(r->core[1]), 1);
    cr_expect_eq(ph_quota_used(r->quota), 1);
    cr_expect_eq(ph_ports_used(r->ports[0]), 1);
    cr_expect_eq(r->opens, 1);
    ph_turnd_free(r->core[0]);
    ph_turnd_free(r->core[1]);
    r->core[0] = r->core[1] = NULL;
    cr_expect_eq(ph_quota_used(r->quota), 0);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    rig_free(r);
}

/* A ticket from before the move, known here by its serial. */
Test(turn_mobility, lost_answer_after_a_change_of_worker)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text), third = rig_addr(third_text);
    struct rig *r = with_mobile(&c);

    rig_other(r);
    resume(r, &n);
    cr_assert_eq(fetch(r), 0); /* the client never sees it */
    cr_assert_eq(resume(r, &third), 0, "still with the first worker's ticket");
    cr_expect(peer_reaches(r, &third));
    rig_free(r);
}

Test(turn_mobility, what_cannot_be_fetched_is_437)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    cr_assert_eq(rig_refresh(r, &c, 0), 0);
    rig_other(r);
    resume(r, &n);
    cr_expect_eq(fetch(r), 437);
    cr_assert_eq(rig_allocate(r, &n), 0);
    cr_expect_eq(resume(r, &n), 437, "not even asked for: the five-tuple has one");
    rig_free(r);
}

Test(turn_mobility, other_users_tickets_do_not_leave_the_worker)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);

    rig_other(r);
    r->user = "bob";
    r->pass = "hidden";
    cr_expect_eq(resume(r, &n), 441);
    rig_free(r);
}

Test(turn_mobility, detach_wants_the_ticket_and_nothing_under_way)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr_on(old_text, PH_TCP), peer = rig_addr(peer_text),
                   n = rig_addr_on(new_text, PH_TCP);
    uint32_t sock[2];
    struct ph_turnd_where where;

    rig_start(r);
    cr_assert_eq(allocate_with_ticket(r, &c, PH_TCP, (struct ph_slice){NULL, 0}), 0);
    cr_assert(take_ticket(r));
    rig_other(r);
    resume(r, &n);
    cr_assert_eq(r->verdict, PH_ELSEWHERE);
    ph_turnd_elsewhere(r->d, &where);
    rig_other(r);
    struct ph_turnd_where wrong = where;
    wrong.serial++;
    cr_expect_null(ph_turnd_detach(r->d, &wrong, sock, r->now));
    wrong = where;
    wrong.slot++;
    cr_expect_null(ph_turnd_detach(r->d, &wrong, sock, r->now));
    wrong = (struct ph_turnd_where){.slot = PH_SOCK_RELAY};
    cr_expect_null(ph_turnd_detach(r->d, &wrong, sock, r->now));
    wrong.slot = where.slot;
    cr_expect_null(ph_turnd_detach(r->d, &wrong, sock, r->now), "neither ticket nor session");
    rig_challenge(r, &c);
    rig_begin(r, PH_CONNECT);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    rig_send_signed(r, &c);
    cr_expect_null(ph_turnd_detach(r->d, &where, sock, r->now), "it has connections");
    ph_turnd_peer_closed(r->d, r->connect.peer, r->now);
    struct ph_turnd_moved *m = ph_turnd_detach(r->d, &where, sock, r->now);
    cr_assert_not_null(m, "it has none any more");
    cr_expect_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
    cr_expect_eq(sock[0], PH_SOCK_RELAY | where.slot << 1);
    rig_free(r);
}

Test(turn_mobility, what_nobody_takes_is_given_back)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    uint32_t sock[2];
    struct ph_turnd_where where;

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    rig_start(r);
    allocate(r, &c);
    rig_other(r);
    resume(r, &n);
    ph_turnd_elsewhere(r->d, &where);
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where, sock, r->now);
    cr_assert_not_null(m);
    cr_expect_eq(ph_quota_used(r->quota), 1, "on the way it is still one");
    cr_expect_eq(ph_ports_used(r->ports[0]), 1);
    ph_turnd_moved_free(r->d, m);
    cr_expect_eq(ph_quota_used(r->quota), 0);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    rig_free(r);
}

/* A reload may come between: what it forbids does not get in by another worker's door. */
Test(turn_mobility, attach_holds_it_to_the_policy_of_now)
{
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct rig *r = with_mobile(&c);
    struct ph_acl *acl = ph_acl_new();
    struct ph_turnd_live live = r->c.live;

    ph_acl_add(acl, false, "192.0.2.7", 9);
    live.acl = acl;
    live.max_bps = 5000;
    rig_other(r);
    resume(r, &n);
    ph_turnd_reload(r->d, &live, r->now);
    cr_assert_eq(fetch(r), 0);
    cr_expect_eq(rig_channel(r, &n, 0x4000, "hi", 2), PH_DROP);
    cr_expect_not(peer_reaches(r, &n));
    cr_expect_eq(rig_permit(r, &n, peer_text), 403);
    uint8_t data[500] = {0};
    unsigned passed = 0;
    cr_assert_eq(rig_permit(r, &n, "192.0.2.8:9"), 0);
    for (int i = 0; i < 20; i++)
        passed += rig_indicate(r, &n, "192.0.2.8:9", data, sizeof data) == PH_SEND;
    cr_expect_eq(passed, 10);
    rig_free(r);
    ph_acl_free(acl);
}

Test(turn_mobility, full_worker_takes_nothing)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text), other = rig_addr(third_text);
    uint32_t sock[2];
    struct ph_turnd_where where;

    r->c.max_allocations = 1;
    rig_start(r);
    allocate(r, &c);
    rig_other(r);
    resume(r, &n);
    ph_turnd_elsewhere(r->d, &where);
    cr_assert_eq(rig_allocate(r, &other), 0);
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where, sock, r->now);
    cr_assert_not_null(m);
    cr_expect_eq(ph_turnd_attach(r->d, m, sock, r->now), PH_E_LIMIT);
    cr_expect_eq(ph_turnd_attach(r->core[0], m, sock, r->now), 0, "it is still the caller's");
    cr_expect_eq(ph_turnd_count(r->core[0]), 1);
    cr_expect_eq(ph_turnd_count(r->core[1]), 1);
    rig_free(r);
}

/* A reload on the way has given the realm a quota of its own, or taken it away. */
Test(turn_mobility, attach_counts_in_the_quota_that_holds_by_now)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text), third = rig_addr(third_text);
    struct ph_turnd_live live = r->c.live, own;
    struct ph_auth *other = ph_auth_new("example.net", &r->env);
    struct ph_quota *quota = ph_quota_new(0, 5, 0, &r->env);

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    r->c.live.realm[0].auth = r->auth;
    r->c.live.n_realms = 1;
    r->c.live.auth = other;
    live = own = r->c.live;
    own.realm[0].quota = quota;
    rig_start(r);
    rig_other(r);
    rig_other(r);
    allocate(r, &c);
    cr_expect_eq(ph_quota_used(r->quota), 1);
    ph_turnd_reload(r->core[1], &own, r->now);
    rig_other(r);
    resume(r, &n);
    cr_assert_eq(fetch(r), 0);
    cr_assert(take_ticket(r));
    cr_expect_eq(ph_quota_used(r->quota), 0);
    cr_expect_eq(ph_quota_used(quota), 1);
    rig_other(r); /* the first core still goes by the old configuration */
    resume(r, &third);
    cr_assert_eq(fetch(r), 0);
    cr_expect_eq(ph_quota_used(r->quota), 1);
    ph_turnd_reload(r->d, &live, r->now);
    rig_free(r);
    ph_quota_free(quota);
    ph_auth_free(other);
}

/* A reload on the way has taken the realm away. */
Test(turn_mobility, attach_finds_the_realm_by_its_name)
{
    struct rig *r = mobile_rig();
    struct ph_addr c = rig_addr(old_text), n = rig_addr(new_text);
    struct ph_turnd_live live = r->c.live;
    struct ph_auth *other = ph_auth_new("example.net", &r->env);
    uint32_t sock[2];
    struct ph_turnd_where where;

    r->quota = ph_quota_new(0, 1, 0, &r->env);
    rig_start(r);
    allocate(r, &c);
    rig_other(r);
    resume(r, &n);
    ph_turnd_elsewhere(r->d, &where);
    live.auth = other;
    ph_turnd_reload(r->d, &live, r->now);
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where, sock, r->now);
    cr_expect_lt(ph_turnd_attach(r->d, m, sock, r->now), 0);
    live.realm[0].auth = r->auth;
    live.n_realms = 1;
    ph_turnd_reload(r->d, &live, r->now);
    cr_assert_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
    cr_expect(ph_slice_eq(info_of(r).realm, ph_str(rig_realm)));
    cr_assert(ph_turnd_end(r->d, info_of(r).id, r->now));
    rig_take(r);
    cr_expect_eq(ph_quota_used(r->quota), 0);
    rig_free(r);
    ph_auth_free(other);
}

Test(turn_mobility, out_of_memory_while_moving_between_workers)
{
    if (!oom_works())
        cr_skip("shared libraries");
    for (unsigned n = 1;; n++) {
        struct rig *r = mobile_rig();
        struct ph_addr c = rig_addr(old_text), to = rig_addr(new_text);
        uint32_t sock[2];
        struct ph_turnd_where where;
        bool fired = false;

        r->c.live.max_bps = 1000000; /* it has bounds */
        r->quota = ph_quota_new(0, 1, 0, &r->env);
        rig_start(r);
        allocate(r, &c);
        rig_other(r);
        resume(r, &to);
        ph_turnd_elsewhere(r->d, &where);
        oom_fail_at(n);
        struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where, sock, r->now);
        if (m) {
            int err = ph_turnd_attach(r->d, m, sock, r->now);
            fired = oom_disarm();
            cr_assert_eq(err, fired ? PH_E_NOMEM : 0, "allocation %u", n);
            if (err)
                cr_assert_eq(ph_turnd_attach(r->d, m, sock, r->now), 0, "the second time");
        } else {
            fired = oom_disarm();
            cr_assert(fired);
            cr_assert_eq(ph_turnd_count(r->core[0]), 1, "it stays where it is");
        }
        cr_expect_eq(ph_quota_used(r->quota), 1);
        rig_free(r);
        if (!fired)
            break;
    }
}

Test(turn_mobility, out_of_memory_on_the_way_is_an_error_and_no_loss)
{
    if (!oom_works())
        cr_skip("shared libraries");
    for (unsigned n = 1;; n++) {
        struct rig *r = mobile_rig();
        struct ph_addr c = rig_addr(old_text), to = rig_addr(new_text);

        r->quota = ph_quota_new(0, 1, 0, &r->env);
        rig_start(r);
        rig_challenge(r, &c);
        oom_fail_at(n);
        int code = allocate_with_ticket(r, &c, PH_UDP, (struct ph_slice){NULL, 0});
        if (code == 0) {
            cr_assert(take_ticket(r));
            code = resume(r, &to);
        }
        bool fired = oom_disarm();
        cr_assert(code == 0 || (fired && (code == 508 || code == 500)), "%u: %d", n, code);
        if (code == 500)
            cr_assert_eq(resume(r, &to), 0, "the second time");
        cr_expect_eq(ph_quota_used(r->quota), ph_turnd_count(r->d));
        rig_free(r);
        if (!fired)
            break;
    }
}

/* The index of five-tuples grows now and then, also by a move. */
Test(turn_mobility, out_of_memory_for_the_new_five_tuple_is_500_and_no_loss)
{
    unsigned failed = 0;

    if (!oom_works())
        cr_skip("shared libraries");
    struct rig *r = mobile_rig();
    rig_start(r);
    struct ph_addr odd = rig_addr(third_text);
    allocate(r, &odd);
    for (uint16_t i = 0; i < 50; i++) {
        struct ph_addr c = rig_addr(old_text), to = rig_addr(new_text);
        c.port = to.port = (uint16_t)(1000 + i);
        allocate(r, &c);
        cr_assert_eq(rig_permit(r, &c, peer_text), 0);
        rig_challenge(r, &to);
        oom_fail_at(1);
        int code = resume(r, &to);
        if (oom_disarm() && code == 500) {
            failed++;
            cr_assert(peer_reaches(r, &c));
            cr_assert_eq(resume(r, &to), 0, "the second time");
        }
        cr_assert(peer_reaches(r, &to));
    }
    cr_expect_gt(failed, 0);
    rig_free(r);
}
