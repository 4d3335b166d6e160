/* The Binding client by itself: what it asks, which answers it takes, and how a request ends. */
#include "stun/base/error.h"
#include "stun/client.h"
#include "stun/codec/fingerprint.h"
#include "stun/codec/msgw.h"
#include "support/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const ph_ns NOW = PH_SEC(1000);
static uint64_t seed = 1;

static void seeded(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    for (uint8_t *p = dst; n; n--)
        *p++ = (uint8_t)test_random(&seed);
}

static struct ph_addr addr(const char *text)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0, "%s", text);
    a.proto = PH_UDP;
    return a;
}

/* A client, and a packet's worth of memory for what it sends and gets. */
static struct ph_stunc c;
static uint8_t room[4096];
static struct ph_pkt pkt;
static struct ph_msgw w;
static struct ph_stunc_ev ev;

static void start(const struct ph_stunc_ask *ask)
{
    struct ph_stunc_ask a = ask ? *ask : (struct ph_stunc_ask){0};
    a.server = addr("192.0.2.1:3478");
    a.sock = 7;
    ph_stunc_init(&c, &(struct ph_env){.rand = seeded});
    ph_stunc_start(&c, &a, NOW);
}

/* The next packet to be sent, parsed. */
static bool sends(struct ph_msg *m, ph_ns now)
{
    pkt = (struct ph_pkt){.b = {room, sizeof room, PH_HEADROOM, 0}};
    if (!ph_stunc_output(&c, &pkt, now))
        return false;
    cr_assert_eq(ph_msg_parse(m, ph_buf_data(&pkt.b), pkt.b.len), 0);
    cr_assert_eq(m->method, PH_BINDING);
    cr_assert_eq(m->cls, PH_REQUEST);
    struct ph_addr server = addr("192.0.2.1:3478");
    cr_assert(ph_addr_eq(&pkt.dst, &server));
    cr_assert_eq(pkt.sock, 7);
    return true;
}

/* Begins an answer to the request that is running; the test appends to `w`. */
static void begin(enum ph_class cls)
{
    ph_msgw_begin(&w, room + PH_HEADROOM, sizeof room - PH_HEADROOM, PH_BINDING, cls, c.txn.id);
}

static int deliver(ph_ns now)
{
    int n = ph_msgw_end(&w);
    cr_assert_gt(n, 0);
    pkt = (struct ph_pkt){.b = {room, sizeof room, PH_HEADROOM, (uint32_t)n}, .sock = 7};
    pkt.src = addr("192.0.2.1:3478");
    return ph_stunc_input(&c, &pkt, now);
}

static void expect_addr(const struct ph_addr *a, const char *want)
{
    char text[PH_ADDR_TEXT];
    cr_assert_str_eq(ph_addr_text(a, text), want);
}

Test(stun_client, asks_and_reports_the_mapped_address)
{
    struct ph_msg m;
    struct ph_addr mapped = addr("203.0.113.5:40000"), origin = addr("192.0.2.1:3478");
    struct ph_addr other = addr("192.0.2.2:3479"), lie = addr("10.0.0.1:1");
    start(NULL);
    cr_assert(sends(&m, NOW));
    cr_assert_eq(m.len, 20, "a bare request");
    cr_assert_not(sends(&m, NOW), "once");
    cr_assert_not(ph_stunc_event(&c, &ev));

    begin(PH_SUCCESS);
    ph_msgw_addr(&w, PH_ATTR_MAPPED_ADDRESS, &lie);
    ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &mapped);
    ph_msgw_addr(&w, PH_ATTR_RESPONSE_ORIGIN, &origin);
    ph_msgw_addr(&w, PH_ATTR_OTHER_ADDRESS, &other);
    ph_msgw_bytes(&w, PH_ATTR_SOFTWARE, ph_str("some server"));
    ph_msgw_fingerprint(&w);
    cr_assert_eq(deliver(NOW + PH_MS(40)), PH_CONSUMED);

    cr_assert(ph_stunc_event(&c, &ev));
    cr_assert_eq(ev.result, PH_STUNC_MAPPED);
    expect_addr(&ev.mapped, "203.0.113.5:40000");
    expect_addr(&ev.from, "192.0.2.1:3478");
    expect_addr(&ev.origin, "192.0.2.1:3478");
    expect_addr(&ev.other, "192.0.2.2:3479");
    cr_assert_str_eq(ev.software, "some server");
    cr_assert_eq(ev.rtt, PH_MS(40));
    cr_assert_eq(ev.code, 0);
    cr_assert_not(ph_stunc_event(&c, &ev), "one event");
    cr_assert_eq(ph_stunc_deadline(&c), PH_NEVER);
}

Test(stun_client, puts_into_the_request_what_is_asked_for)
{
    struct ph_msg m;
    uint64_t u;
    struct ph_slice s;
    start(&(struct ph_stunc_ask){.change_ip = true, .fingerprint = true});
    cr_assert(sends(&m, NOW));
    cr_assert_eq(ph_msg_uint(&m, PH_IX_CHANGE_REQUEST, &u), 0);
    cr_assert_eq(u, 4);
    cr_assert_eq(ph_msg_check_fingerprint(&m), 0);

    start(&(struct ph_stunc_ask){.change_port = true});
    cr_assert(sends(&m, NOW));
    cr_assert_eq(ph_msg_uint(&m, PH_IX_CHANGE_REQUEST, &u), 0);
    cr_assert_eq(u, 2);

    start(&(struct ph_stunc_ask){.change_ip = true, .change_port = true});
    cr_assert(sends(&m, NOW));
    cr_assert_eq(ph_msg_uint(&m, PH_IX_CHANGE_REQUEST, &u), 0);
    cr_assert_eq(u, 6);

    start(&(struct ph_stunc_ask){.response_port = 6000});
    cr_assert(sends(&m, NOW));
    cr_assert_eq(ph_msg_uint(&m, PH_IX_RESPONSE_PORT, &u), 0);
    cr_assert_eq(u, 6000);

    start(&(struct ph_stunc_ask){.padding = 1500, .fingerprint = true});
    memset(room, 0x5A, sizeof room);
    cr_assert(sends(&m, NOW));
    cr_assert_eq(m.len, 20 + 4 + 1500 + 8);
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_PADDING, &s), 0);
    for (size_t i = 0; i < s.n; i++)
        cr_assert_eq(s.p[i], 0);
}

Test(stun_client, sends_nothing_when_the_buffer_is_too_small)
{
    start(&(struct ph_stunc_ask){.padding = 1000});
    pkt = (struct ph_pkt){.b = {room, 1000, PH_HEADROOM, 0}};
    cr_assert_not(ph_stunc_output(&c, &pkt, NOW));
    cr_assert_neq(ph_stunc_deadline(&c), PH_NEVER, "it will be tried again");
}

Test(stun_client, sends_again_and_gives_up)
{
    struct ph_msg m;
    uint8_t id[PH_TXID_LEN];
    unsigned n = 0;
    ph_ns now = NOW;
    start(NULL);
    memcpy(id, c.txn.id, sizeof id);
    while (!ph_stunc_event(&c, &ev)) {
        while (sends(&m, now)) {
            cr_assert_arr_eq(ph_msg_txid(&m), id, sizeof id, "the same transaction");
            n++;
        }
        now = ph_stunc_deadline(&c);
        cr_assert_neq(now, PH_NEVER);
        ph_stunc_tick(&c, now);
    }
    cr_assert_eq(n, 7);
    cr_assert_eq(now - NOW, PH_MS(39500));
    cr_assert_eq(ev.result, PH_STUNC_TIMEOUT);
    cr_assert_eq(ev.rtt, -1);
    cr_assert_eq(ph_stunc_deadline(&c), PH_NEVER);
    ph_stunc_tick(&c, now + PH_SEC(100));
    cr_assert_not(ph_stunc_event(&c, &ev), "reported once");

    struct ph_addr mapped = addr("203.0.113.5:40000");
    begin(PH_SUCCESS);
    ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &mapped);
    cr_assert_eq(deliver(now), PH_DROP, "too late");
}

Test(stun_client, does_not_send_again_what_was_answered_before_the_send)
{
    struct ph_msg m;
    struct ph_addr mapped = addr("203.0.113.5:40000");
    start(NULL);
    cr_assert(sends(&m, NOW));
    ph_stunc_tick(&c, NOW + PH_MS(500)); /* a second send is due, but first the answer is read */
    begin(PH_SUCCESS);
    ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &mapped);
    cr_assert_eq(deliver(NOW + PH_MS(500)), PH_CONSUMED);
    cr_assert_not(sends(&m, NOW + PH_MS(500)));
    cr_assert(ph_stunc_event(&c, &ev));
    cr_assert_eq(ev.rtt, -1, "two sends: nobody knows");
}

Test(stun_client, falls_back_to_mapped_address)
{
    struct ph_msg m;
    struct ph_addr mapped = addr("[2001:db8::5]:40000");
    start(NULL);
    cr_assert(sends(&m, NOW));
    begin(PH_SUCCESS);
    ph_msgw_addr(&w, PH_ATTR_MAPPED_ADDRESS, &mapped);
    cr_assert_eq(deliver(NOW), PH_CONSUMED);
    cr_assert(ph_stunc_event(&c, &ev));
    cr_assert_eq(ev.result, PH_STUNC_MAPPED);
    expect_addr(&ev.mapped, "[2001:db8::5]:40000");
    cr_assert_eq(ev.software[0], '\0');
    cr_assert_eq(ev.other.family, PH_AF_NONE);
}

Test(stun_client, reports_errors_and_where_a_300_points)
{
    struct ph_msg m;
    struct ph_addr alternate = addr("192.0.2.9:3478");
    start(NULL);
    cr_assert(sends(&m, NOW));
    begin(PH_ERROR);
    ph_msgw_error(&w, 420, NULL);
    cr_assert_eq(deliver(NOW), PH_CONSUMED);
    cr_assert(ph_stunc_event(&c, &ev));
    cr_assert_eq(ev.result, PH_STUNC_ERROR);
    cr_assert_eq(ev.code, 420);

    start(NULL);
    cr_assert(sends(&m, NOW));
    begin(PH_ERROR);
    ph_msgw_error(&w, 300, NULL);
    ph_msgw_addr(&w, PH_ATTR_ALTERNATE_SERVER, &alternate);
    cr_assert_eq(deliver(NOW), PH_CONSUMED);
    cr_assert(ph_stunc_event(&c, &ev));
    cr_assert_eq(ev.code, 300);
    expect_addr(&ev.alternate, "192.0.2.9:3478");
}

/* RFC 8489 6.3.3 and 6.3.4: the transaction has failed all the same. */
Test(stun_client, ends_with_code_0_when_the_answer_makes_no_sense)
{
    struct ph_addr mapped = addr("203.0.113.5:40000");
    for (int i = 0; i < 4; i++) {
        struct ph_msg m;
        start(NULL);
        cr_assert(sends(&m, NOW));
        begin(i == 2 ? PH_ERROR : PH_SUCCESS);
        if (i == 1) { /* an attribute that must be understood and is not */
            ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &mapped);
            ph_msgw_raw(&w, 0x7FFF, ph_str("?"));
        } else if (i == 3) {
            ph_msgw_raw(&w, PH_ATTR_XOR_MAPPED_ADDRESS, ph_str("short"));
        }
        cr_assert_eq(deliver(NOW), PH_CONSUMED);
        cr_assert(ph_stunc_event(&c, &ev));
        cr_assert_eq(ev.result, PH_STUNC_ERROR, "case %d", i);
        cr_assert_eq(ev.code, 0, "case %d", i);
    }
}

Test(stun_client, drops_what_is_not_its_answer)
{
    struct ph_addr mapped = addr("203.0.113.5:40000");
    for (int i = 0; i < 6; i++) {
        struct ph_msg m;
        start(NULL);
        cr_assert(sends(&m, NOW));
        begin(i == 0 ? PH_REQUEST : i == 1 ? PH_INDICATION : PH_SUCCESS);
        ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &mapped);
        if (i == 2)
            room[PH_HEADROOM + 19] ^= 1; /* the last byte of the transaction id */
        if (i == 3) {
            ph_msgw_fingerprint(&w);
            room[PH_HEADROOM + w.len - 1] ^= 1;
        }
        if (i == 4)
            room[PH_HEADROOM + 1] ^= 2; /* Allocate's answer */
        if (i == 5)
            room[PH_HEADROOM + 4] ^= 1; /* no cookie */
        cr_assert_eq(deliver(NOW), PH_DROP, "case %d", i);
        cr_assert_not(ph_stunc_event(&c, &ev));
        cr_assert_neq(ph_stunc_deadline(&c), PH_NEVER, "still waiting");
    }
    ph_stunc_init(&c, &(struct ph_env){.rand = seeded});
    begin(PH_SUCCESS);
    ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &mapped);
    cr_assert_eq(deliver(NOW), PH_DROP, "nothing was asked");
}

Test(stun_client, cuts_and_cleans_software)
{
    struct ph_msg m;
    struct ph_addr mapped = addr("203.0.113.5:40000");
    char text[301];
    memset(text, 'x', 300);
    memcpy(text, "a\x1B[2Jb\x7F\n", 8);
    text[300] = '\0';
    start(NULL);
    cr_assert(sends(&m, NOW));
    begin(PH_SUCCESS);
    ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &mapped);
    ph_msgw_bytes(&w, PH_ATTR_SOFTWARE, ph_str(text));
    cr_assert_eq(deliver(NOW), PH_CONSUMED);
    cr_assert(ph_stunc_event(&c, &ev));
    cr_assert_eq(strlen(ev.software), sizeof ev.software - 1);
    cr_assert_eq(strncmp(ev.software, "a?[2Jb??xxx", 11), 0, "%s", ev.software);
}

Test(stun_client, forgets_a_running_request_when_started_again)
{
    struct ph_msg m;
    uint8_t first[PH_TXID_LEN];
    struct ph_addr mapped = addr("203.0.113.5:40000");
    start(NULL);
    cr_assert(sends(&m, NOW));
    memcpy(first, c.txn.id, sizeof first);
    ph_stunc_start(&c, &c.ask, NOW + PH_SEC(1));
    cr_assert_neq(memcmp(first, c.txn.id, sizeof first), 0, "a fresh transaction id");
    cr_assert(sends(&m, NOW + PH_SEC(1)));

    ph_msgw_begin(&w, room + PH_HEADROOM, 1000, PH_BINDING, PH_SUCCESS, first);
    ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &mapped);
    cr_assert_eq(deliver(NOW + PH_SEC(1)), PH_DROP, "the answer to the first request");
    begin(PH_SUCCESS);
    ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &mapped);
    cr_assert_eq(deliver(NOW + PH_SEC(1)), PH_CONSUMED);
}
