/*
 * What has changed is told once, whatever happens meanwhile; records made up at random are restored and saved as they were;
 * allocations that others have taken over end; keys and other nodes change while running.
 */
#include "turn/record_kit.h"
#include "turn/restore_kit.h"

static const char client_text[] = "203.0.113.9:40000";
static const char new_text[] = "203.0.113.77:1234";
static const char peer_text[] = "192.0.2.7:9000";

static struct rig *saving_rig(void)
{
    struct rig *r = rig_new();
    r->c.nonce.ttl_s = 36000;
    r->c.mobility = true;
    r->c.save = true;
    return r;
}

/* How many have changed; *session: the last one of them. */
static unsigned changed(struct rig *r, uint64_t *session)
{
    unsigned n = 0;
    uint32_t id;
    uint64_t s;

    for (; ph_turnd_changed(r->d, &id, &s); n++) {
        cr_expect_eq(ph_turnd_find(r->d, s), id);
        if (session)
            *session = s;
    }
    return n;
}

static void take_ticket(struct rig *r)
{
    struct ph_slice s;
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_MOBILITY_TICKET, &s), 0);
    cr_assert_eq(s.n, PH_TICKET_LEN);
    memcpy(r->ticket, s.p, s.n);
}

static void allocate_mobile(struct rig *r, const struct ph_addr *c)
{
    rig_challenge(r, c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){NULL, 0});
    rig_send_signed(r, c);
    cr_assert_eq(rig_code(r), 0);
    take_ticket(r);
}

static int resume(struct rig *r, const struct ph_addr *c)
{
    rig_challenge(r, c);
    rig_begin(r, PH_REFRESH);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){r->ticket, PH_TICKET_LEN});
    rig_send_signed(r, c);
    return rig_code(r);
}

/* --- changes --------------------------------------------------------------------------------------- */

/* A Refresh that is refused for a family it has not got: its ticket has been used up all the same. */
static void refused_with_ticket(struct rig *r, const struct ph_addr *c)
{
    rig_challenge(r, c);
    rig_begin(r, PH_REFRESH);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET6);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){r->ticket, PH_TICKET_LEN});
    rig_send_signed(r, c);
    cr_assert_eq(rig_code(r), 443);
}

Test(turn_save, what_is_a_change)
{
    struct ph_addr c = rig_addr(client_text), n = rig_addr(new_text);
    struct rig *r = saving_rig();

    rig_start(r);
    cr_expect_eq(changed(r, NULL), 0);
    allocate_mobile(r, &c);
    cr_expect_eq(changed(r, NULL), 1);
    cr_expect_eq(changed(r, NULL), 0, "told once");
    cr_assert_eq(rig_permit(r, &c, "192.0.2.8:1"), 0);
    cr_expect_eq(changed(r, NULL), 1, "a permission");
    cr_assert_eq(rig_bind(r, &c, 0x4001, peer_text), 0);
    cr_expect_eq(changed(r, NULL), 1, "a channel");
    cr_assert_eq(rig_refresh(r, &c, 600), 0);
    cr_expect_eq(changed(r, NULL), 1, "a lifetime");
    cr_assert_eq(resume(r, &n), 0);
    take_ticket(r);
    cr_expect_eq(changed(r, NULL), 1, "an address and a ticket");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(rig_permit(r, &n, "192.0.2.8:1"), 0);
        cr_assert_eq(rig_bind(r, &n, 0x4001, peer_text), 0);
    }
    cr_expect_eq(changed(r, NULL), 1, "many at once are one");
    refused_with_ticket(r, &n);
    cr_expect_eq(changed(r, NULL), 1, "a ticket alone");
    rig_free(r);
}

Test(turn_save, a_family_given_up_is_a_change)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = saving_rig();

    rig_start(r);
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    cr_expect_eq(changed(r, NULL), 1);
    rig_begin(r, PH_REFRESH);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 0);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET);
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    cr_expect_eq(changed(r, NULL), 1);
    rig_free(r);
}

Test(turn_save, what_is_none)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = saving_rig();

    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_bind(r, &c, 0x4001, peer_text), 0);
    cr_expect_eq(changed(r, NULL), 1);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_SEND);
    cr_expect_eq(rig_peer(r, peer_text, "x", 1), PH_SEND);
    cr_expect_eq(rig_indicate(r, &c, peer_text, "x", 1), PH_SEND);
    cr_expect_eq(rig_bind(r, &c, 0x4002, peer_text), 400);
    cr_expect_eq(rig_allocate(r, &c), 437);
    r->user = "bob";
    r->pass = "hidden";
    cr_expect_eq(rig_refresh(r, &c, 600), 441);
    cr_expect_eq(changed(r, NULL), 0);
    rig_free(r);
}

Test(turn_save, nothing_is_kept_track_of_unless_asked_for)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = rig_default();

    cr_assert_eq(rig_allocate(r, &c), 0);
    ph_turnd_change_all(r->d);
    cr_expect_eq(changed(r, NULL), 0);
    kit_keep(r);
    cr_expect_eq(kit.n, 1, "but it can be saved");
    rig_free(r);
}

/* In the order in which they changed first; what has ended is not told of. */
Test(turn_save, first_changed_first_told)
{
    struct rig *r = saving_rig();
    struct ph_addr c[6];
    uint64_t session[6], s;
    uint32_t id;

    rig_start(r);
    for (uint16_t i = 0; i < 6; i++) {
        c[i] = rig_addr(client_text);
        c[i].port = (uint16_t)(1000 + i);
        cr_assert_eq(rig_allocate(r, &c[i]), 0);
        cr_assert(ph_turnd_changed(r->d, &id, &session[i]));
    }
    static const unsigned order[] = {3, 0, 5, 1, 4, 2};
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(rig_refresh(r, &c[order[i]], 600), 0);
    cr_assert_eq(rig_refresh(r, &c[3], 600), 0, "the first again");
    cr_assert_eq(rig_refresh(r, &c[3], 0), 0, "the first of the list ends");
    cr_assert_eq(rig_refresh(r, &c[1], 0), 0, "one in the middle");
    cr_assert_eq(rig_refresh(r, &c[2], 0), 0, "the last");
    static const unsigned left[] = {0, 5, 4};
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(ph_turnd_changed(r->d, &id, &s));
        cr_expect_eq(s, session[left[i]], "%u", i);
    }
    cr_expect_not(ph_turnd_changed(r->d, &id, &s));
    cr_assert_eq(rig_refresh(r, &c[0], 600), 0);
    cr_assert_eq(rig_refresh(r, &c[0], 0), 0, "the only one");
    cr_expect_eq(changed(r, NULL), 0);
    cr_assert_eq(rig_refresh(r, &c[4], 600), 0);
    cr_expect_eq(changed(r, &s), 1);
    cr_expect_eq(s, session[4]);
    rig_free(r);
}

Test(turn_save, all_of_them_again)
{
    struct rig *r = saving_rig();

    rig_start(r);
    for (uint16_t i = 0; i < 100; i++) {
        struct ph_addr c = rig_addr(client_text);
        c.port = (uint16_t)(1000 + i);
        cr_assert_eq(rig_allocate(r, &c), 0);
        if (i % 3 == 0)
            cr_assert_eq(rig_refresh(r, &c, 0), 0);
    }
    cr_expect_eq(changed(r, NULL), 66);
    ph_turnd_change_all(r->d);
    ph_turnd_change_all(r->d);
    cr_expect_eq(changed(r, NULL), 66);
    rig_free(r);
}

Test(turn_save, restored_and_moved_ones_are_changed)
{
    struct ph_addr c = rig_addr(client_text), n = rig_addr(new_text);
    struct rig *r = saving_rig();
    struct ph_turnd_where where;
    uint32_t sock[2];

    rig_start(r);
    allocate_mobile(r, &c);
    kit_restart(r);
    cr_expect_eq(changed(r, NULL), 1);
    cr_assert_eq(rig_permit(r, &c, peer_text), 0);
    rig_other(r);
    resume(r, &n);
    cr_assert_eq(r->verdict, PH_ELSEWHERE);
    ph_turnd_elsewhere(r->d, &where);
    struct ph_turnd_moved *m = ph_turnd_detach(r->core[0], &where, sock, r->now);
    cr_assert_not_null(m);
    cr_assert_eq(ph_turnd_attach(r->d, m, sock, r->now), 0);
    cr_expect_eq(changed(r, NULL), 1, "on the worker where it is");
    rig_other(r);
    cr_expect_eq(changed(r, NULL), 0, "and there alone");
    rig_free(r);
}

/* --- taken over ------------------------------------------------------------------------------------ */

static int up(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

Test(turn_save, disowned_is_what_was_stored_and_is_no_longer_there)
{
    struct rig *r = saving_rig();
    uint64_t session[4];
    uint32_t id;

    rig_start(r);
    for (uint16_t i = 0; i < 5; i++) {
        struct ph_addr c = rig_addr(client_text);
        c.port = (uint16_t)(1000 + i);
        cr_assert_eq(rig_allocate(r, &c), 0);
        if (i < 4)
            cr_assert(ph_turnd_changed(r->d, &id, &session[i]));
    }
    const uint64_t kept[] = {session[2], 5, session[1] + 1000000, session[0]};
    uint64_t sorted[4];
    memcpy(sorted, kept, sizeof sorted);
    qsort(sorted, 4, sizeof *sorted, up);
    cr_expect_eq(ph_turnd_disown(r->d, sorted, 4, r->now), 2);
    rig_take(r);
    cr_expect_eq(r->downs, 2);
    cr_expect_eq(r->reason, PH_END_ADOPTED);
    cr_expect_eq(ph_turnd_find(r->d, session[1]), UINT32_MAX);
    cr_expect_eq(ph_turnd_find(r->d, session[3]), UINT32_MAX);
    cr_expect_eq(ph_turnd_count(r->d), 3, "the last one was never stored: nobody can have it");
    cr_expect_eq(ph_turnd_disown(r->d, NULL, 0, r->now), 2);
    rig_take(r);
    cr_expect_eq(ph_turnd_count(r->d), 1);
    cr_expect_eq(ph_ports_used(r->ports[0]), 1);
    rig_free(r);
}

/* --- records --------------------------------------------------------------------------------------- */

Test(turn_save, saves_what_is_up_alone)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = saving_rig();
    uint8_t p[1000];

    rig_start(r);
    cr_expect_eq(ph_turnd_save(r->d, 0, p, sizeof p, r->now), 0);
    r->hold_opens = true;
    cr_expect_eq(rig_allocate(r, &c), -1);
    cr_expect_eq(ph_turnd_save(r->d, 0, p, sizeof p, r->now), 0, "it is being opened");
    ph_turnd_relay_opened(r->d, r->held_sock, 0, r->now);
    rig_take(r);
    const size_t n = ph_turnd_save(r->d, 0, p, sizeof p, r->now);
    cr_expect_gt(n, 50);
    cr_expect_eq(ph_turnd_save(r->d, 0, p, n - 1, r->now), 0, "no room");
    cr_expect_eq(ph_turnd_save(r->d, 1, p, sizeof p, r->now), 0);
    cr_expect_eq(ph_turnd_save(r->d, UINT32_MAX, p, sizeof p, r->now), 0);
    cr_assert_eq(rig_refresh(r, &c, 0), 0);
    cr_expect_eq(ph_turnd_save(r->d, 0, p, sizeof p, r->now), 0);
    rig_free(r);
}

/* Whatever a record says comes out again, down to the byte. */
Test(turn_save, made_up_records_are_restored_and_saved_as_they_were)
{
    static struct record_kit k;
    static uint8_t was[PH_RECORD_MAX], is[PH_RECORD_MAX];
    struct rig *r = saving_rig();
    const struct ph_addr listener[] = {r->c.listener[0].at, r->c.listener[2].at},
                         relay[] = {r->c.relay[0].at, r->c.relay[1].at};

    r->quota = ph_quota_new(0, 0, 0, &r->env);
    r->c.stats = true;
    for (unsigned no_auth = 0; no_auth < 2; no_auth++) {
        kit_reset();
        r->now = kit.at;
        if (no_auth)
            r->c.live.auth = NULL;
        kit_boot(r, 0, r->now);
        for (uint64_t i = 0; i < 500; i++) {
            k.seed = i * 2 + no_auth;
            const struct ph_record rec =
                kit_record_at(&k, listener, relay, no_auth ? NULL : rig_realm,
                              kit.wall_ms + (r->now - kit.at) / PH_MS(1));
            const int n = ph_record_write(&rec, was, sizeof was);
            uint32_t id;
            cr_assert_eq(ph_turnd_restore(r->d, (struct ph_slice){was, (size_t)n}, &id, r->now), 0,
                         "%d", (int)i);
            rig_take(r);
            cr_assert_eq(ph_turnd_save(r->d, id, is, sizeof is, r->now), (size_t)n, "%d", (int)i);
            cr_assert_eq(memcmp(was, is, (size_t)n), 0, "%d", (int)i);
            cr_assert(ph_turnd_end(r->d, id, r->now));
            r->now += PH_US(999983);
            rig_take(r);
        }
        cr_expect_eq(ph_turnd_count(r->d), 0);
        cr_expect_eq(ph_quota_used(r->quota), 0);
        cr_expect_eq(ph_ports_used(r->ports[0]) + ph_ports_used(r->ports[1]), 0);
    }
    rig_free(r);
}

/* Bytes that are no record do nothing. */
Test(turn_save, rubbish_is_not_restored)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = saving_rig();
    uint32_t id;

    rig_start(r);
    allocate_mobile(r, &c);
    cr_assert_eq(rig_bind(r, &c, 0x4001, peer_text), 0);
    kit_keep(r);
    kit_boot(r, 0, r->now);
    struct kit_record *rec = &kit.record[0];
    cr_expect_eq(ph_turnd_restore(r->d, (struct ph_slice){NULL, 0}, &id, r->now), PH_E_SHORT);
    for (size_t n = 0; n < rec->n; n++)
        cr_expect_eq(ph_turnd_restore(r->d, (struct ph_slice){rec->p, n}, &id, r->now), PH_E_SHORT);
    rec->p[0]++;
    cr_expect_eq(kit_restore(r, 0), PH_E_UNSUPPORTED);
    rec->p[0]--;
    rec->p[rec->n++] = 0;
    cr_expect_eq(kit_restore(r, 0), PH_E_FORMAT);
    rec->n--;
    cr_expect_eq(ph_turnd_count(r->d), 0);
    cr_expect_eq(r->opens, 1);
    cr_expect_eq(ph_turnd_stats(r->d)->not_restored, rec->n + 3);
    cr_expect_eq(kit_restore(r, 0), 0, "it was good");
    rig_free(r);
}

/* 5,000 of these in Redis, see the issue: what is inside must be small. */
Test(turn_save, idle_allocation_is_small)
{
    struct ph_addr c = rig_addr(client_text);
    struct rig *r = saving_rig();

    ph_auth_add_secret(r->auth, ph_str("S"));
    rig_rest(r, "S", "1800086400:carol.xyz");
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_bind(r, &c, 0x4001, peer_text), 0);
    kit_keep(r);
    cr_expect_leq(kit.record[0].n, 200, "%zu bytes", kit.record[0].n);
    rig_free(r);
}

/* --- keys and nodes -------------------------------------------------------------------------------- */

/* Nonces and tickets of before are good as long as their keys are kept. */
Test(turn_save, keys_change)
{
    struct ph_addr c = rig_addr(client_text), n = rig_addr(new_text);
    struct rig *r = saving_rig();
    static struct ph_turnd_keys k;

    rig_start(r);
    allocate_mobile(r, &c);
    memcpy(k.old_nonce, r->c.nonce.key, PH_NONCE_KEY_LEN);
    memset(k.nonce, 'n', sizeof k.nonce);
    k.has_old_nonce = true;
    memset(k.ticket[0], 't', PH_TICKET_KEY_LEN);
    memcpy(k.ticket[1], r->c.ticket_key, PH_TICKET_KEY_LEN);
    k.n_tickets = 2;
    ph_turnd_set_keys(r->d, &k);
    cr_expect_eq(rig_refresh(r, &c, 600), 0, "the nonce of before");
    cr_expect_eq(resume(r, &n), 0, "and the ticket; this nonce is a new one");
    take_ticket(r);
    k.has_old_nonce = false;
    memset(k.ticket[1], 0, PH_TICKET_KEY_LEN);
    k.n_tickets = 0;
    ph_turnd_set_keys(r->d, &k);
    cr_expect_eq(rig_refresh(r, &n, 600), 0, "made with the new key");
    cr_expect_eq(resume(r, &c), 0, "of tickets nothing was said");
    take_ticket(r);
    k.n_tickets = 1;
    memset(k.ticket[0], 'x', PH_TICKET_KEY_LEN);
    memset(k.nonce, 'x', sizeof k.nonce);
    ph_turnd_set_keys(r->d, &k);
    cr_expect_eq(rig_refresh(r, &c, 600), 438);
    rig_take_nonce(r);
    cr_expect_eq(rig_refresh(r, &c, 600), 0);
    cr_expect_eq(resume(r, &n), 441, "nobody knows this key any more");
    rig_free(r);
}

static struct ph_turnd_node nodes[3];

/* A server of a fleet, number 1; number 2 is known, 3 is not. */
static struct rig *fleet_rig(void)
{
    struct rig *r = saving_rig();

    nodes[0] = (struct ph_turnd_node){.number = 5, .at = {rig_addr("192.0.2.55:3478")}};
    nodes[1] = (struct ph_turnd_node){
        .number = 2,
        .at = {rig_addr_on("192.0.2.22:3478", PH_TCP), rig_addr("[2001:db8:2::2]:3478"),
               rig_addr("192.0.2.22:3479"), rig_addr_on("192.0.2.22:3480", PH_PROTO_NONE)}};
    r->c.node = 1;
    r->c.live.node = nodes;
    r->c.live.n_nodes = 2;
    return r;
}

/* Shows this server a ticket of node `number`, from a client.  Returns the code. */
static int show_ticket(struct rig *r, uint32_t number, const struct ph_addr *c)
{
    const struct ph_ticket t = {.worker = 0, .node = number, .slot = 7, .serial = 77};

    ph_ticket_make(r->ticket, r->c.ticket_key, &t, ph_str("alice"), ph_str(rig_realm));
    return resume(r, c);
}

Test(turn_save, tickets_of_other_nodes_are_sent_there)
{
    struct ph_addr c = rig_addr(client_text), six = rig_addr("[2001:db8:9::9]:4000"),
                   tcp = rig_addr_on(client_text, PH_TCP), tls = rig_addr_on(client_text, PH_TLS),
                   at;
    struct rig *r = fleet_rig();

    rig_start(r);
    cr_expect_eq(show_ticket(r, 2, &c), 300);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_ALTERNATE_SERVER, &at), 0);
    cr_expect_eq(at.port, 3479, "over UDP");
    cr_expect(ph_msg_has(&r->out, PH_IX_MESSAGE_INTEGRITY), "or anybody could say so");
    cr_expect_eq(show_ticket(r, 2, &six), 300);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_ALTERNATE_SERVER, &at), 0);
    cr_expect_eq(at.family, PH_AF_INET6);
    cr_expect_eq(show_ticket(r, 2, &tcp), 300);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_ALTERNATE_SERVER, &at), 0);
    cr_expect_eq(at.port, 3478);
    cr_expect_eq(show_ticket(r, 2, &tls), 300);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_ALTERNATE_SERVER, &at), 0);
    cr_expect_eq(at.port, 3480, "the one for whatever transport");
    cr_expect_eq(ph_turnd_stats(r->d)->redirected_tickets, 4);
    cr_expect_eq(show_ticket(r, 3, &c), 437, "nobody knows it");
    cr_expect_eq(show_ticket(r, 5, &six), 437, "it has no address for this client");
    cr_expect_eq(show_ticket(r, 1, &c), 437, "our own, but there is none");
    cr_expect_eq(show_ticket(r, 0, &c), 437, "from before we had a number");
    const struct ph_ticket old = {.worker = 3, .slot = 7, .serial = 77};
    ph_ticket_make(r->ticket, r->c.ticket_key, &old, ph_str("alice"), ph_str(rig_realm));
    resume(r, &c);
    cr_expect_eq(r->verdict, PH_ELSEWHERE, "the same, of another worker");
    cr_expect_eq(ph_turnd_stats(r->d)->redirected_tickets, 4);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(show_ticket(r, 2, &c), 437, "the five-tuple has an allocation");
    rig_free(r);
}

/* Where the allocation has been adopted the number of its old node in the ticket does not matter. */
Test(turn_save, tickets_of_another_node_are_good_where_it_is)
{
    struct ph_addr c = rig_addr(client_text), n = rig_addr(new_text);
    struct rig *r = fleet_rig();

    r->c.node = 2;
    rig_start(r);
    allocate_mobile(r, &c);
    r->c.node = 1;
    kit_restart(r);
    cr_expect_eq(resume(r, &n), 0);
    take_ticket(r);
    struct ph_ticket t;
    cr_assert_eq(ph_ticket_read(&t, r->c.ticket_key, 1, (struct ph_slice){r->ticket, PH_TICKET_LEN},
                                ph_str("alice"), ph_str(rig_realm)),
                 0);
    cr_expect_eq(t.node, 1, "the next one is ours");
    rig_free(r);
}

/* A ticket of our own node is for the worker it names, and another user's is worth nothing. */
Test(turn_save, tickets_of_our_node_go_to_their_worker)
{
    struct ph_addr c = rig_addr(client_text), n = rig_addr(new_text);
    struct rig *r = fleet_rig();
    struct ph_turnd_where where;

    rig_start(r);
    allocate_mobile(r, &c);
    rig_other(r);
    resume(r, &n);
    cr_assert_eq(r->verdict, PH_ELSEWHERE);
    cr_expect_eq(ph_turnd_elsewhere(r->d, &where), 0);
    cr_expect_neq(where.serial, 0);
    cr_expect_eq(where.session, 0);
    r->user = "bob";
    r->pass = "hidden";
    cr_expect_eq(show_ticket(r, 2, &n), 441);
    rig_free(r);
}
