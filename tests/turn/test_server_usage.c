/*
 * What coturn's statistics count (struct ph_turnd_usage), by the rules read off Debian's turnserver 4.6.1, and when the core
 * tells it: tests/interop/test_statsdb.sh compares the two.
 */
#include "support/oom.h"
#include "turn/rig.h"

static const char client_text[] = "203.0.113.9:40000";
static const char peer_text[] = "192.0.2.7:9000";
static const char stranger_text[] = "192.0.2.99:9000";

enum { PERIOD = 4096 };

/* The count that is expected, kept by hand. */
static struct ph_turnd_usage want;

static struct rig *counting(void)
{
    struct rig *r = rig_new();
    r->c.stats = true;
    r->c.nonce.ttl_s = 36000;
    rig_start(r);
    want = (struct ph_turnd_usage){0};
    return r;
}

/* The request just sent, and its answer. */
static void spoke(const struct rig *r)
{
    struct ph_msgw w = r->w;
    want.received_packets++;
    want.received_bytes += (uint64_t)ph_msgw_end(&w);
    if (r->has_out) {
        want.sent_packets++;
        want.sent_bytes += r->pkt.b.len;
    }
}

static void allocate(struct rig *r, const struct ph_addr *c)
{
    rig_challenge(r, c);
    spoke(r);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send_signed(r, c);
    cr_assert_eq(rig_code(r), 0);
    spoke(r);
}

static void permit(struct rig *r, const struct ph_addr *c)
{
    cr_assert_eq(rig_permit(r, c, peer_text), 0);
    spoke(r);
}

static void bind(struct rig *r, const struct ph_addr *c)
{
    cr_assert_eq(rig_bind(r, c, 0x4000, peer_text), 0);
    spoke(r);
}

/* n bytes to the peer, and back, by what there is: a channel or a permission. */
static void to_peer(struct rig *r, const struct ph_addr *c, size_t n, bool channel)
{
    static const uint8_t data[1500];
    if (channel)
        cr_assert_eq(rig_channel(r, c, 0x4000, data, n), PH_SEND);
    else
        cr_assert_eq(rig_indicate(r, c, peer_text, data, n), PH_SEND);
    want.received_packets++;
    want.received_bytes += channel ? n + 4 : 20 + 12 + 4 + (n + 3) / 4 * 4;
    want.peer_sent_packets++;
    want.peer_sent_bytes += n;
}

static void from_peer(struct rig *r, size_t n, uint32_t padding)
{
    static const uint8_t data[1500];
    cr_assert_eq(rig_peer(r, peer_text, data, n), PH_SEND);
    want.peer_received_packets++;
    want.peer_received_bytes += n;
    want.sent_packets++;
    want.sent_bytes += r->pkt.b.len + padding;
}

static void expect(const struct ph_turnd_usage *got, const struct ph_turnd_usage *wanted,
                   const char *when)
{
#define SAME(field)                                                                                \
    cr_expect_eq(got->field, wanted->field, "%s: " #field " %llu instead of %llu", when,           \
                 (unsigned long long)got->field, (unsigned long long)wanted->field)
    SAME(received_packets);
    SAME(received_bytes);
    SAME(sent_packets);
    SAME(sent_bytes);
    SAME(peer_received_packets);
    SAME(peer_received_bytes);
    SAME(peer_sent_packets);
    SAME(peer_sent_bytes);
#undef SAME
}

static struct ph_turnd_info info_of(struct rig *r)
{
    struct ph_turnd_info info = {0};
    uint32_t id = 0;
    cr_assert(ph_turnd_list(r->d, &id, &info));
    return info;
}

static void expect_now(struct rig *r, const char *when)
{
    struct ph_turnd_info info = info_of(r);
    expect(&info.usage, &want, when);
}

static void add(struct ph_turnd_usage *sum, const struct ph_turnd_usage *u)
{
    sum->received_packets += u->received_packets;
    sum->received_bytes += u->received_bytes;
    sum->sent_packets += u->sent_packets;
    sum->sent_bytes += u->sent_bytes;
    sum->peer_received_packets += u->peer_received_packets;
    sum->peer_received_bytes += u->peer_received_bytes;
    sum->peer_sent_packets += u->peer_sent_packets;
    sum->peer_sent_bytes += u->peer_sent_bytes;
}

static uint64_t packets(const struct ph_turnd_usage *u)
{
    return u->received_packets + u->sent_packets + u->peer_received_packets + u->peer_sent_packets;
}

/* --- what counts ----------------------------------------------------------------------------------- */

Test(turn_usage, control_messages_and_payload_in_every_wrapping_count)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = counting();

    allocate(r, &c);
    expect_now(r, "allocated: from the first 401 on");
    permit(r, &c);
    for (size_t n = 0; n < 9; n++) {
        to_peer(r, &c, n, false);
        from_peer(r, n, 0);
    }
    expect_now(r, "indications");
    bind(r, &c);
    for (size_t n = 0; n < 9; n++) {
        to_peer(r, &c, n, true);
        from_peer(r, n, 0);
    }
    expect_now(r, "channels");
    cr_expect_eq(rig_refresh(r, &c, 700), 0);
    spoke(r);
    cr_expect_eq(rig_bind(r, &c, 0x1234, peer_text), 400);
    spoke(r);
    expect_now(r, "an error answer");
    rig_begin(r, PH_BINDING);
    rig_send(r, &c);
    cr_assert(r->has_out);
    spoke(r);
    expect_now(r, "a Binding request by the same five-tuple");
    rig_free(r);
}

Test(turn_usage, what_came_before_the_allocation_counts_for_a_minute)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.9:40001");
    struct rig *r = counting();

    rig_begin(r, PH_BINDING);
    rig_send(r, &other);
    rig_begin(r, PH_BINDING);
    rig_send(r, &c);
    r->now += PH_SEC(61);
    rig_begin(r, PH_BINDING);
    rig_send(r, &c);
    spoke(r);
    rig_input(r, 0, &c, "\x55 no STUN", 9);
    want.received_packets++;
    want.received_bytes += 9;
    cr_expect_eq(rig_channel(r, &c, 0x4001, "early", 5), PH_DROP);
    want.received_packets++;
    want.received_bytes += 9;
    r->now += PH_SEC(59);
    allocate(r, &c);
    expect_now(r, "the last minute of this five-tuple");

    /* And the next session begins anew. */
    cr_assert_eq(rig_refresh(r, &c, 0), 0);
    want = (struct ph_turnd_usage){0};
    allocate(r, &c);
    expect_now(r, "the next one");
    rig_free(r);
}

Test(turn_usage, a_flood_of_other_clients_costs_no_memory_and_at_most_a_few_counts)
{
    struct ph_addr c = rig_addr(client_text), other = rig_addr("198.18.0.1:1");
    struct rig *r = counting();

    rig_begin(r, PH_BINDING);
    rig_send(r, &c);
    r->now += PH_SEC(1);
    for (uint32_t i = 0; i < 100000; i++) {
        memcpy(other.ip + 1, &i, 3);
        rig_begin(r, PH_BINDING);
        rig_send(r, &other);
    }
    allocate(r, &c);
    expect_now(r, "the first Binding was forgotten, nothing else was counted");
    rig_free(r);
}

Test(turn_usage, dropped_packets_count_where_they_came)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = counting();
    uint8_t big[65500] = {0};

    allocate(r, &c);
    permit(r, &c);
    bind(r, &c);
    struct {
        int verdict;
        uint32_t bytes;
    } in[] = {
        {rig_channel(r, &c, 0x4001, "xyz", 3), 7},
        {rig_input(r, 0, &c, "\x40\x00\x00\x09tooshort", 12), 12},
        {rig_indicate(r, &c, stranger_text, "1234", 4), 40},
        {rig_input(r, 0, &c, "\x55garbage", 8), 8},
        {rig_input(r, 0, &c, "\x00\x01 no STUN message", 18), 18},
    };
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        cr_expect_eq(in[i].verdict, PH_DROP, "%zu", i);
        want.received_packets++;
        want.received_bytes += in[i].bytes;
    }
    expect_now(r, "from the client");
    cr_expect_eq(rig_peer(r, stranger_text, "hello", 5), PH_DROP);
    cr_expect_eq(rig_peer(r, peer_text, big, sizeof big), PH_DROP);
    want.peer_received_packets += 2;
    want.peer_received_bytes += 5 + sizeof big;
    expect_now(r, "from peers");
    rig_free(r);
}

Test(turn_usage, packets_beyond_a_bound_have_come_but_not_gone)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = rig_new();
    static const uint8_t data[1000];

    r->c.stats = true;
    r->c.live.max_bps = 1000;
    rig_start(r);
    want = (struct ph_turnd_usage){0};
    allocate(r, &c);
    permit(r, &c);
    to_peer(r, &c, 1000, false);
    from_peer(r, 1000, 0);
    expect_now(r, "within");
    cr_expect_eq(rig_indicate(r, &c, peer_text, data, 1000), PH_DROP);
    cr_expect_eq(rig_peer(r, peer_text, data, 999), PH_DROP);
    want.received_packets++;
    want.received_bytes += 1036;
    want.peer_received_packets++;
    want.peer_received_bytes += 999;
    expect_now(r, "an indication, each way");
    bind(r, &c);
    cr_expect_eq(rig_channel(r, &c, 0x4000, data, 998), PH_DROP);
    cr_expect_eq(rig_peer(r, peer_text, data, 997), PH_DROP);
    want.received_packets++;
    want.received_bytes += 1002;
    want.peer_received_packets++;
    want.peer_received_bytes += 997;
    expect_now(r, "ChannelData, each way");
    rig_free(r);
}

Test(turn_usage, padding_of_datagrams_counts_and_of_streams_only_what_is_sent)
{
    static const uint8_t transport[] = {PH_UDP, PH_DTLS, PH_TCP, PH_TLS};

    for (unsigned i = 0; i < sizeof transport; i++) {
        struct ph_addr c = rig_addr_on(client_text, transport[i]);
        const bool stream = transport[i] == PH_TCP || transport[i] == PH_TLS;
        struct rig *r = counting();
        allocate(r, &c);
        bind(r, &c);
        for (uint32_t n = 0; n < 8; n++) {
            to_peer(r, &c, n, true);
            from_peer(r, n, stream ? -n & 3 : 0);
        }
        expect_now(r, stream ? "stream" : "datagrams");
        if (!stream) { /* the shell takes it off what streams bring */
            cr_expect_eq(rig_input(r, rig_listener(&c), &c, "\x40\x00\x00\x01x...", 8), PH_SEND);
            want.received_packets++;
            want.received_bytes += 8;
            want.peer_sent_packets++;
            want.peer_sent_bytes++;
            expect_now(r, "padded by the client");
        }
        rig_free(r);
    }
}

Test(turn_usage, nothing_is_counted_or_told_unless_asked)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = rig_default();
    static const struct ph_turnd_usage none;

    allocate(r, &c);
    bind(r, &c);
    for (unsigned i = 0; i < 2 * PERIOD; i++)
        to_peer(r, &c, 1, true);
    cr_expect_eq(rig_refresh(r, &c, 700), 0);
    struct ph_turnd_info info = info_of(r);
    expect(&info.usage, &none, "usage");
    expect(&info.untold, &none, "untold");
    cr_expect_eq(rig_refresh(r, &c, 0), 0);
    expect(&r->traffic, &none, "traffic");
    cr_expect_eq(r->refreshes + r->traffics, 0);
    rig_free(r);
}

/* --- when it is told ------------------------------------------------------------------------------- */

/* One packet each way, and after each what has been told, if it is time. */
static unsigned relay(struct rig *r, const struct ph_addr *c, unsigned n, uint64_t total,
                      struct ph_turnd_usage *sum)
{
    const unsigned before = r->traffics;
    for (unsigned i = 0; i < n; i++) {
        for (unsigned way = 0; way < 2; way++) {
            const unsigned told = r->traffics;
            if (way)
                from_peer(r, 1 + i % 7, c->proto == PH_TCP ? -(1 + i % 7) & 3 : 0);
            else
                to_peer(r, c, 1 + i % 7, true);
            total += 2;
            cr_assert_eq(r->traffics - told, total % PERIOD < 2, "at %llu",
                         (unsigned long long)total);
            if (r->traffics == told)
                continue;
            cr_assert_eq(packets(&r->traffic), PERIOD);
            add(sum, &r->traffic);
            /* All of it, or all but what the last packet went on as. */
            struct ph_turnd_usage until = want;
            if (total % PERIOD == 1 && way) {
                until.sent_packets--;
                until.sent_bytes -= 4 + 1 + i % 7 + (c->proto == PH_TCP ? -(1 + i % 7) & 3 : 0);
            } else if (total % PERIOD == 1) {
                until.peer_sent_packets--;
                until.peer_sent_bytes -= 1 + i % 7;
            }
            expect(sum, &until, "told so far");
        }
    }
    return r->traffics - before;
}

Test(turn_usage, traffic_is_told_every_4096_counts_to_the_packet)
{
    for (unsigned odd = 0; odd < 2; odd++)
        for (unsigned tcp = 0; tcp < 2; tcp++) {
            struct ph_addr c = rig_addr_on(client_text, tcp ? PH_TCP : PH_UDP);
            struct rig *r = counting();
            struct ph_turnd_usage sum = {0};
            allocate(r, &c);
            bind(r, &c);
            if (odd) {
                cr_assert_eq(rig_peer(r, stranger_text, "", 0), PH_DROP);
                want.peer_received_packets++;
            }
            cr_expect_eq(relay(r, &c, 3 * PERIOD / 4, packets(&want), &sum), 3);
            cr_expect_eq(rig_refresh(r, &c, 0), 0);
            spoke(r);
            cr_expect_eq(r->downs, 1);
            expect(&r->down.usage, &want, "in all");
            add(&sum, &r->traffic);
            expect(&sum, &want, "what was told adds up to it");
            rig_free(r);
        }
}

/* Events are asked for after a batch of packets, which may hold more than one period. */
Test(turn_usage, periods_that_end_before_anybody_asks_are_told_together)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = counting();
    uint8_t p[] = {0x40, 0x00, 0x00, 0x01, 'x'};
    struct ph_turnd_ev ev;

    allocate(r, &c);
    bind(r, &c);
    for (unsigned i = 0; i < PERIOD + 100; i++) {
        struct ph_pkt pkt = {.b = {r->buf, sizeof r->buf, PH_HEADROOM, sizeof p}, .src = c};
        memcpy(r->buf + PH_HEADROOM, p, sizeof p);
        cr_assert_eq(ph_turnd_input(r->d, &pkt, r->now), PH_SEND);
    }
    cr_assert(ph_turnd_event(r->d, &ev));
    cr_expect_eq(ev.type, PH_TURND_ALLOC_TRAFFIC);
    cr_expect_eq(packets(&ev.traffic), 2 * PERIOD);
    cr_expect_not(ph_turnd_event(r->d, &ev));
    rig_free(r);
}

Test(turn_usage, control_messages_alone_fill_a_period_too)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = counting();

    allocate(r, &c);
    while (packets(&want) < PERIOD) {
        cr_assert_eq(r->traffics, 0);
        permit(r, &c);
    }
    cr_expect_eq(r->traffics, 1);
    expect(&r->traffic, &want, "told");
    rig_free(r);
}

Test(turn_usage, what_there_is_can_be_told_before_its_time)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = counting();
    struct ph_turnd_usage sum = {0};

    ph_turnd_tell_traffic(r->d);
    allocate(r, &c);
    bind(r, &c);
    ph_turnd_tell_traffic(r->d);
    rig_events(r);
    cr_expect_eq(r->traffics, 1);
    expect(&r->traffic, &want, "all of it");
    add(&sum, &r->traffic);
    struct ph_turnd_info info = info_of(r);
    cr_expect_eq(packets(&info.untold), 0);
    ph_turnd_tell_traffic(r->d);
    rig_events(r);
    cr_expect_eq(r->traffics, 1, "there is nothing new");
    cr_expect_eq(relay(r, &c, PERIOD / 4, 0, &sum), 1, "another period begins");
    rig_free(r);
}

Test(turn_usage, refreshes_are_told_with_what_was_granted)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = counting();

    allocate(r, &c);
    cr_expect_eq(r->ups, 1);
    cr_expect_eq(r->refreshes, 0);
    cr_expect_eq(rig_refresh(r, &c, 1234), 0);
    cr_expect_eq(r->refreshes, 1);
    cr_expect_eq(r->lifetime_s, 1234);
    cr_expect_eq(rig_refresh(r, &c, 1), 0);
    cr_expect_eq(r->lifetime_s, 600, "what was granted, not what was asked for");
    cr_expect_eq(rig_refresh(r, &c, 0), 0);
    cr_expect_eq(r->refreshes, 3);
    cr_expect_eq(r->lifetime_s, 0);
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(rig_refresh(r, &c, 0), 437);
    cr_expect_eq(r->refreshes, 3);
    rig_free(r);
}

Test(turn_usage, events_come_in_coturns_order)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = counting();
    struct ph_turnd_ev ev;
    static const enum ph_turnd_ev_type order[] = {PH_TURND_ALLOC_REFRESHED, PH_TURND_ALLOC_DOWN};
    unsigned n = 0;

    allocate(r, &c);
    rig_begin(r, PH_REFRESH);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 0);
    rig_sign(r);
    memcpy(r->buf + PH_HEADROOM, r->req, (size_t)ph_msgw_end(&r->w));
    r->pkt = (struct ph_pkt){
        .b = {r->buf, sizeof r->buf, PH_HEADROOM, (uint32_t)ph_msgw_end(&r->w)}, .src = c};
    r->verdict = ph_turnd_input(r->d, &r->pkt, r->now);
    rig_result(r);
    spoke(r);
    while (ph_turnd_event(r->d, &ev)) {
        if (ev.type == PH_TURND_RELAY_CLOSE)
            continue;
        cr_assert_lt(n, 2);
        cr_expect_eq(ev.type, order[n++]);
        expect(&ev.info.usage, &want, "with the answer that says goodbye");
    }
    expect(&ev.traffic, &want, "all of it is new");
    cr_expect_eq(n, 2);
    rig_free(r);
}

/* --- TCP relays ------------------------------------------------------------------------------------ */

Test(turn_usage, bytes_of_tcp_relays_have_no_headers)
{
    struct ph_addr c = rig_addr_on(client_text, PH_TCP), peer = rig_addr_on(peer_text, PH_TCP);
    struct ph_addr data = rig_addr_on("203.0.113.9:40001", PH_TCP);
    struct rig *r = counting();
    uint32_t id;

    rig_challenge(r, &c);
    spoke(r);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_TCP);
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    spoke(r);
    permit(r, &c);
    cr_assert_eq(ph_turnd_peer_accepted(r->d, r->opened_sock[0], &peer, &id, r->now), 0);
    cr_assert(rig_take(r));
    want.sent_packets++; /* ConnectionAttempt */
    want.sent_bytes += r->pkt.b.len;
    expect_now(r, "announced");
    rig_begin(r, PH_CONNECTION_BIND);
    ph_msgw_uint(&r->w, PH_ATTR_CONNECTION_ID, id);
    rig_send_signed(r, &data);
    cr_assert_eq(rig_code(r), 0);
    expect_now(r, "bound, by another connection");
    for (unsigned i = 0; i < PERIOD; i++) {
        const bool out = i % 3;
        const uint32_t n = 1 + i % 10;
        cr_assert_eq(
            ph_turnd_peer_bytes(r->d, id, out ? PH_BPS_FROM_CLIENT : PH_BPS_TO_CLIENT, n, r->now),
            n);
        *(out ? &want.received_packets : &want.peer_received_packets) += 1;
        *(out ? &want.received_bytes : &want.peer_received_bytes) += n;
        *(out ? &want.peer_sent_packets : &want.sent_packets) += 1;
        *(out ? &want.peer_sent_bytes : &want.sent_bytes) += n;
    }
    expect_now(r, "relayed");
    rig_events(r);
    cr_expect_eq(r->traffics, 1);
    rig_free(r);
}

/* --- moving ---------------------------------------------------------------------------------------- */

static int resume(struct rig *r, const struct ph_addr *c)
{
    rig_begin(r, PH_REFRESH);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){r->ticket, sizeof r->ticket});
    rig_send_signed(r, c);
    return rig_code(r);
}

Test(turn_usage, what_was_counted_goes_along_with_a_client_that_moves)
{
    struct ph_addr c = rig_addr(client_text), next = rig_addr_on("203.0.113.77:1234", PH_TCP);
    struct rig *r = rig_new();
    struct ph_slice ticket;

    r->c.stats = r->c.mobility = true;
    rig_start(r);
    want = (struct ph_turnd_usage){0};
    rig_challenge(r, &c);
    spoke(r);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){NULL, 0});
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    spoke(r);
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_MOBILITY_TICKET, &ticket), 0);
    memcpy(r->ticket, ticket.p, sizeof r->ticket);
    bind(r, &c);
    from_peer(r, 1, 0);
    rig_challenge(r, &next); /* by another five-tuple: this counts for whoever allocates there */
    cr_assert_eq(resume(r, &next), 0);
    spoke(r);
    cr_expect_eq(r->refreshes, 1);
    from_peer(r, 1, 3);
    expect_now(r, "on a stream now");
    rig_free(r);
}

Test(turn_usage, what_was_counted_goes_along_to_another_worker)
{
    struct ph_addr c = rig_addr(client_text), next = rig_addr("203.0.113.77:1234");
    struct rig *r = rig_new();
    struct ph_slice ticket;
    struct ph_turnd_where where;
    uint32_t sock[2];

    r->c.stats = r->c.mobility = true;
    rig_start(r);
    want = (struct ph_turnd_usage){0};
    rig_challenge(r, &c);
    spoke(r);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){NULL, 0});
    rig_send_signed(r, &c);
    spoke(r);
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_MOBILITY_TICKET, &ticket), 0);
    memcpy(r->ticket, ticket.p, sizeof r->ticket);
    permit(r, &c);
    to_peer(r, &c, 9, false);

    rig_other(r);
    rig_challenge(r, &next);
    resume(r, &next);
    cr_assert_eq(r->verdict, PH_ELSEWHERE);
    ph_turnd_elsewhere(r->d, &where);
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where, sock, r->now);
    cr_assert_not_null(m);
    cr_assert_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
    struct ph_turnd_info info = info_of(r);
    expect(&info.usage, &want, "attached");

    /* One that nobody takes is freed with its count (LeakSanitizer). */
    where = (struct ph_turnd_where){.fetch = true, .slot = info.id, .session = info.session};
    m = ph_turnd_detach(r->d, &where, sock, r->now);
    cr_assert_not_null(m);
    ph_turnd_moved_free(r->d, m);
    rig_free(r);
}

/* --- no memory ------------------------------------------------------------------------------------- */

Test(turn_usage, without_memory_there_is_no_core_and_no_allocation)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = rig_new();

    r->c.stats = true;
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        struct ph_turnd *d = ph_turnd_new(&r->c, &r->env, r->now);
        const bool failed = oom_disarm();
        cr_assert_eq(d == NULL, failed);
        ph_turnd_free(d);
        if (!failed)
            break;
    }
    rig_start(r);
    rig_challenge(r, &c);
    int code;
    unsigned failures = 0;
    do {
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        oom_fail_at(++failures);
        rig_send_signed(r, &c);
        code = oom_disarm() ? 508 : 0;
        cr_assert_eq(rig_code(r), code);
    } while (code);
    cr_expect_gt(failures, 2);
    rig_free(r);
}
