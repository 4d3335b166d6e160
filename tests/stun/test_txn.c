/* The transaction's schedule (RFC 8489 6.2.1, 6.2.2) on a clock that only these tests move. */
#include "stun/codec/msgw.h"
#include "stun/txn.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t ID[PH_TXID_LEN] = "0123456789a";
static const uint8_t OTHER_ID[PH_TXID_LEN] = "0123456789b";

/* A response (or any other message) for ph_txn_done. */
struct answer {
    uint8_t bytes[64];
    struct ph_msg m;
};

static const struct ph_msg *answer(struct answer *a, enum ph_class cls, const uint8_t *id, int req)
{
    struct ph_msgw w;
    ph_msgw_begin(&w, a->bytes, sizeof a->bytes, PH_BINDING, cls, id);
    if (req >= 0) {
        struct ph_attr_value v = {.counter = {.req = (uint8_t)req, .resp = 1}};
        ph_msgw_attr(&w, PH_ATTR_TRANSACTION_TRANSMIT_COUNTER, &v);
    }
    int n = ph_msgw_end(&w);
    cr_assert_gt(n, 0);
    cr_assert_eq(ph_msg_parse(&a->m, a->bytes, (size_t)n), 0);
    return &a->m;
}

/* Runs a transaction that nobody answers to its end, going from deadline to deadline.  Writes when
 * it sent to `sent` (at most max) and returns when it failed. */
static ph_ns run_dry(struct ph_txn *t, ph_ns *sent, unsigned max, unsigned *n)
{
    ph_ns now = 0;
    *n = 0;
    while (t->state == PH_TXN_RUNNING) {
        now = ph_txn_deadline(t);
        cr_assert_not(ph_txn_tick(t, now - 1), "nothing is due before the deadline");
        if (ph_txn_tick(t, now) && *n < max)
            sent[(*n)++] = now;
    }
    return now;
}

Test(stun_txn, sends_seven_times_and_fails_after_39_5_s)
{
    static const int at_ms[] = {0, 500, 1500, 3500, 7500, 15500, 31500};
    const ph_ns start = PH_SEC(1000);
    struct ph_txn t;
    ph_ns sent[16];
    unsigned n;

    ph_txn_start(&t, NULL, ID, start);
    cr_assert_eq(ph_txn_deadline(&t), start);
    cr_assert_eq(t.started_at, PH_NEVER);
    ph_ns failed = run_dry(&t, sent, 16, &n);

    cr_assert_eq(n, 7);
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(sent[i], start + PH_MS(at_ms[i]), "send %u", i);
    cr_assert_eq(failed, start + PH_MS(39500));
    cr_assert_eq(t.state, PH_TXN_FAILED);
    cr_assert_eq(t.sends, 7);
    cr_assert_eq(t.started_at, start);
    cr_assert_eq(ph_txn_deadline(&t), PH_NEVER);
    cr_assert_not(ph_txn_tick(&t, failed + PH_SEC(1000)));
}

Test(stun_txn, takes_rto_rc_and_rm_from_the_configuration)
{
    const struct ph_txn_conf c = {.rto = PH_MS(100), .rc = 3, .rm = 4};
    struct ph_txn t;
    ph_ns sent[16];
    unsigned n;

    ph_txn_start(&t, &c, ID, 0);
    ph_ns failed = run_dry(&t, sent, 16, &n);
    cr_assert_eq(n, 3);
    cr_assert_eq(sent[1], PH_MS(100));
    cr_assert_eq(sent[2], PH_MS(300));
    cr_assert_eq(failed, PH_MS(700));
}

Test(stun_txn, sends_once_over_a_reliable_transport)
{
    struct ph_txn t;
    ph_ns sent[4];
    unsigned n;

    ph_txn_start(&t, &(struct ph_txn_conf){.reliable = true}, ID, 5);
    ph_ns failed = run_dry(&t, sent, 4, &n);
    cr_assert_eq(n, 1);
    cr_assert_eq(failed, 5 + PH_MS(39500));

    ph_txn_start(&t, &(struct ph_txn_conf){.reliable = true, .ti = PH_SEC(3), .rc = 9}, ID, 5);
    failed = run_dry(&t, sent, 4, &n);
    cr_assert_eq(n, 1);
    cr_assert_eq(failed, 5 + PH_SEC(3));
}

Test(stun_txn, sends_once_after_oversleeping_instead_of_in_a_burst)
{
    struct ph_txn t;
    ph_txn_start(&t, NULL, ID, 0);
    cr_assert(ph_txn_tick(&t, 0));
    cr_assert(ph_txn_tick(&t, PH_SEC(60)));
    cr_assert_not(ph_txn_tick(&t, PH_SEC(60)));
    cr_assert_eq(t.sends, 2);
    cr_assert_eq(ph_txn_deadline(&t), PH_SEC(61), "the second wait, from the late send on");
}

Test(stun_txn, is_done_by_a_success_or_error_response_with_its_id)
{
    static const struct {
        enum ph_class cls;
        const uint8_t *id;
        bool fits;
    } rows[] = {
        {PH_SUCCESS, ID, true},      {PH_ERROR, ID, true},    {PH_SUCCESS, OTHER_ID, false},
        {PH_ERROR, OTHER_ID, false}, {PH_REQUEST, ID, false}, {PH_INDICATION, ID, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ph_txn t;
        struct answer a;
        ph_ns rtt = 77;
        ph_txn_start(&t, NULL, ID, 0);
        cr_assert(ph_txn_tick(&t, 0));
        bool done = ph_txn_done(&t, answer(&a, rows[i].cls, rows[i].id, -1), PH_MS(30), &rtt);
        cr_assert_eq(done, rows[i].fits, "row %zu", i);
        cr_assert_eq(rtt, rows[i].fits ? PH_MS(30) : 77, "row %zu", i);
        cr_assert_eq(t.state, rows[i].fits ? PH_TXN_DONE : PH_TXN_RUNNING, "row %zu", i);
        cr_assert_not(ph_txn_done(&t, answer(&a, PH_SUCCESS, OTHER_ID, -1), 0, NULL));
    }
}

Test(stun_txn, takes_one_response_only_and_none_before_sending_or_after_failing)
{
    struct ph_txn t;
    struct answer a;
    const struct ph_msg *m = answer(&a, PH_SUCCESS, ID, -1);

    ph_txn_start(&t, NULL, ID, 0);
    cr_assert_not(ph_txn_done(&t, m, 0, NULL), "nothing was sent yet");
    cr_assert(ph_txn_tick(&t, 0));
    cr_assert(ph_txn_done(&t, m, 1, NULL));
    cr_assert_not(ph_txn_done(&t, m, 2, NULL), "a duplicate");
    cr_assert_eq(ph_txn_deadline(&t), PH_NEVER);

    ph_ns sent[16];
    unsigned n;
    ph_txn_start(&t, NULL, ID, 0);
    run_dry(&t, sent, 16, &n);
    cr_assert_not(ph_txn_done(&t, m, PH_SEC(40), NULL), "too late");

    ph_txn_start(&t, NULL, ID, 0);
    cr_assert(ph_txn_tick(&t, 0));
    ph_txn_cancel(&t);
    cr_assert_eq(t.state, PH_TXN_IDLE);
    cr_assert_not(ph_txn_done(&t, m, 1, NULL));
    cr_assert_not(ph_txn_tick(&t, PH_SEC(1)));
}

/* Karn: after a retransmission nobody knows which send the answer belongs to, unless the counter
 * says so. */
Test(stun_txn, knows_the_round_trip_only_when_it_knows_the_send)
{
    static const struct {
        int req; /* TRANSACTION-TRANSMIT-COUNTER's Req; -1: no such attribute */
        ph_ns rtt;
    } rows[] = {
        {-1, -1}, {0, -1}, {1, PH_MS(1600)}, {2, -1}, {3, PH_MS(100)}, {4, -1}, {255, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ph_txn t;
        struct answer a;
        ph_ns rtt = 0;
        ph_txn_start(&t, NULL, ID, 0);
        cr_assert(ph_txn_tick(&t, 0));
        cr_assert(ph_txn_tick(&t, PH_MS(500)));
        cr_assert(ph_txn_tick(&t, PH_MS(1500)));
        cr_assert(ph_txn_done(&t, answer(&a, PH_SUCCESS, ID, rows[i].req), PH_MS(1600), &rtt));
        cr_assert_eq(rtt, rows[i].rtt, "Req %d", rows[i].req);
    }
}

Test(stun_txn, survives_a_clock_that_runs_backwards)
{
    struct ph_txn t;
    struct answer a;
    ph_ns rtt = 0;
    ph_txn_start(&t, NULL, ID, PH_SEC(10));
    cr_assert(ph_txn_tick(&t, PH_SEC(10)));
    cr_assert_not(ph_txn_tick(&t, PH_SEC(3)));
    cr_assert(ph_txn_done(&t, answer(&a, PH_SUCCESS, ID, -1), PH_SEC(3), &rtt));
    cr_assert_eq(rtt, -1, "not a negative time");
}

Test(stun_txn, does_not_overflow_with_absurd_values)
{
    const struct ph_txn_conf absurd[] = {
        {.rto = INT64_MAX, .rc = 255, .rm = 255}, {.rto = 1, .rc = 255, .rm = 255},
        {.rto = INT64_MIN, .rc = 1, .rm = 1},     {.reliable = true, .ti = INT64_MAX},
        {.reliable = true, .ti = INT64_MIN},
    };
    const ph_ns starts[] = {INT64_MIN, 0, PH_NEVER - 1};
    for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++)
        for (size_t k = 0; k < 3; k++) {
            struct ph_txn t;
            unsigned sends = 0;
            ph_txn_start(&t, &absurd[i], ID, starts[k]);
            for (ph_ns at = ph_txn_deadline(&t); t.state == PH_TXN_RUNNING;) {
                sends += ph_txn_tick(&t, at);
                cr_assert_geq(ph_txn_deadline(&t), at, "deadlines never go back");
                at = ph_txn_deadline(&t);
            }
            cr_assert_eq(t.state, PH_TXN_FAILED);
            cr_assert_eq(sends, t.rc);
        }
}
