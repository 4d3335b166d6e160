/* Taps, traces, repeatability. */
#include "tests/sim/testkit.h"

static const struct sim_link_conf ms10 = {.delay = PH_MS(5)}; /* 10 ms from host to host */

static struct sim *s;
static struct sim_net *inet;
static struct sim_host *alice, *bob;

static void setup(void)
{
    s = sim_new(1);
    inet = sim_net_new(s, "internet", NULL);
    alice = sim_host_new(s, "alice");
    bob = sim_host_new(s, "bob");
    sim_attach(alice, inet, "192.0.2.1", &ms10);
    sim_attach(bob, inet, "192.0.2.2", &ms10);
}

static void teardown(void)
{
    sim_free(s);
}

TestSuite(sim_trace, .init = setup, .fini = teardown);

static bool drop_x(void *ctx, struct sim_hop *h)
{
    unsigned *seen = ctx;
    seen[h->at]++;
    return !(h->at == SIM_AT_SEND && ph_buf_data(&h->p->b)[0] == 'x');
}

static bool forge(void *ctx, struct sim_hop *h)
{
    (void)ctx;
    if (h->at != SIM_AT_DELIVER)
        return true;
    h->p->src = sim_addr("203.0.113.66:666");
    ph_buf_data(&h->p->b)[0] = 'F';
    ph_buf_data(&h->p->b)[h->p->b.len++] = '!';
    return true;
}

Test(sim_trace, taps_see_change_and_drop)
{
    unsigned seen[4] = {0};
    unsigned first = sim_tap(s, drop_x, seen);
    sim_tap(s, forge, NULL);
    uint32_t a = open_at(alice, "0.0.0.0:5000"), b = open_at(bob, "0.0.0.0:7000");
    send_text(s, a, sim_addr("192.0.2.2:7000"), "x");
    send_text(s, a, sim_addr("192.0.2.2:7000"), "y");
    sim_run_until_idle(s, PH_SEC(1));
    cr_assert(seen[SIM_AT_SEND] == 2 && seen[SIM_AT_DELIVER] == 1);
    cr_assert_eq(sim_host_count(alice, SIM_TAPPED), 1);
    struct sim_msg m;
    cr_assert(sim_recv(s, b, &m) && m.len == 2 && memcmp(m.data, "F!", 2) == 0);
    cr_assert_eq(m.src.port, 666);
    sim_untap(s, first);
    send_text(s, a, sim_addr("192.0.2.2:7000"), "x");
    sim_run_until_idle(s, PH_SEC(1));
    cr_assert(sim_recv(s, b, &m) && seen[SIM_AT_SEND] == 2);
}

Test(sim_trace, injects_forged_packets)
{
    uint32_t b = open_at(bob, "0.0.0.0:7000");
    sim_net_inject(inet, sim_addr("198.51.100.66:53"), sim_addr("192.0.2.2:7000"), "evil", 4);
    sim_run_until_idle(s, PH_SEC(1));
    char t[PH_ADDR_TEXT];
    cr_assert_str_eq(from(s, b, t), "198.51.100.66:53");
}

/* A noisy run, its whole trace as text. */
static void noisy_run(uint64_t seed, char *text, size_t cap)
{
    struct sim *w = sim_new(seed);
    FILE *f = fmemopen(text, cap, "w");
    sim_trace(w, f);
    struct sim_link_conf bad = {
        .delay = PH_MS(20), .jitter = PH_MS(30), .loss = 0.1, .duplicate = 0.1, .reorder = 0.1};
    sim_default_link(w, &bad);
    struct sim_net *n = sim_net_new(w, "internet", NULL);
    struct sim_nat_conf sym = sim_nat_kind(SIM_SYMMETRIC, "203.0.113.1");
    struct sim_home home = sim_home_new(w, "carol", n, &sym, "192.168.1.2");
    struct sim_host *srv = sim_host_new(w, "srv");
    sim_attach(srv, n, "198.51.100.1", NULL);
    uint32_t a = open_at(home.host, "0.0.0.0:5000");
    for (uint16_t port = 1000; port < 1040; port++) {
        struct ph_addr to = sim_addr("198.51.100.1");
        uint8_t dice[8];
        const struct ph_env *env = sim_host_env(home.host);
        to.port = port;
        env->rand(env->ctx, dice, sizeof dice);
        sim_send(w, a, to, dice, sizeof dice);
        sim_run(w, PH_MS(3));
    }
    sim_run_until_idle(w, PH_SEC(5));
    sim_free(w);
    fclose(f);
}

Test(sim_trace, same_seed_same_run_byte_for_byte)
{
    static char one[1 << 17], two[1 << 17], other[1 << 17];
    noisy_run(7, one, sizeof one);
    noisy_run(7, two, sizeof two);
    noisy_run(8, other, sizeof other);
    cr_assert_gt(strlen(one), 10000);
    cr_assert_str_eq(one, two);
    cr_assert_str_neq(one, other);
}

/* Anchors the generators: whoever changes them changes the run of every seeded test. */
Test(sim_trace, random_numbers_are_the_same_everywhere)
{
    const struct ph_env *e = sim_env(s);
    uint8_t got[11];
    e->rand(e->ctx, got, sizeof got);
    static const uint8_t want[11] = {0xa1, 0x0f, 0xc7, 0x0e, 0x30, 0x1a,
                                     0xc6, 0x85, 0x78, 0x0b, 0xef};
    cr_assert_arr_eq(got, want, sizeof want);
}

Test(sim_trace, dumps_a_readable_call_flow)
{
    uint32_t a = open_at(alice, "0.0.0.0:5000");
    open_at(bob, "0.0.0.0:7000");
    send_text(s, a, sim_addr("192.0.2.2:7000"), "hello");
    sim_note(s, "half way");
    sim_run_until_idle(s, PH_SEC(1));
    char text[1024];
    FILE *f = fmemopen(text, sizeof text, "w");
    sim_dump(s, f);
    fclose(f);
    static const char want[] = "     0.000 #1     alice                   sent        "
                               "192.0.2.1:5000 > 192.0.2.2:7000  5 B  hello\n"
                               "     0.000                                note        half way\n"
                               "    10.000 #1     bob                     delivered   "
                               "192.0.2.1:5000 > 192.0.2.2:7000  5 B  hello\n";
    cr_assert_str_eq(text, want);
}

static void shout(const uint8_t *p, size_t n, char *dst, size_t cap)
{
    snprintf(dst, cap, "<%zu:%c>", n, n ? p[0] : '-');
}

Test(sim_trace, describes_payloads_and_takes_core_logs)
{
    static const uint8_t binding[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0xde, 0xad, 0xbe, 0xef};
    uint32_t a = open_at(alice, "0.0.0.0:5000");
    sim_send(s, a, sim_addr("192.0.2.2:7000"), binding, sizeof binding);
    char text[2048];
    FILE *f = fmemopen(text, sizeof text, "w");
    sim_dump(s, f);
    fflush(f);
    cr_assert_not_null(strstr(text, "20 B  stun 0001 deadbeef"));
    rewind(f);
    sim_describe(s, shout);
    sim_trace(s, f);
    send_text(s, a, sim_addr("192.0.2.2:7000"), "zebra");
    ph_logf(sim_host_env(alice), PH_LOG_INFO, "the core says %d", 42);
    sim_trace(s, NULL);
    send_text(s, a, sim_addr("192.0.2.2:7000"), "unseen");
    fclose(f);
    cr_assert_not_null(strstr(text, "5 B  <5:z>"));
    cr_assert_not_null(strstr(text, "note        the core says 42"));
    cr_assert_null(strstr(text, "<6:u>"));
}

Test(sim_trace, the_ring_keeps_the_last_steps)
{
    for (int i = 0; i < 3000; i++)
        sim_note(s, "note %d.", i);
    static char text[1 << 18];
    FILE *f = fmemopen(text, sizeof text, "w");
    sim_dump(s, f);
    fclose(f);
    cr_assert_null(strstr(text, "note 951."));
    cr_assert_not_null(strstr(text, "note 952."));
    cr_assert_not_null(strstr(text, "note 2999."));
}
