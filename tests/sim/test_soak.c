/*
 * A busy, hostile world: hundreds of hosts behind NATs that reboot, links that do everything links do, sockets
 * that come and go.  Whatever happens, every packet that was sent or copied ends in exactly one way.
 */
#include "tests/sim/testkit.h"

enum { HOMES = 4, HOSTS = 60, ROUNDS = 400, SERVERS = 5 };

struct soak {
    struct sim *s;
    struct sim_home home[HOMES];
    struct sim_host *host[HOSTS];
    uint32_t sock[HOSTS], server[SERVERS];
    uint64_t sends;
};

static uint32_t dice(struct soak *k, uint32_t bound)
{
    return ph_env_below(sim_env(k->s), bound);
}

static void build(struct soak *k, uint64_t seed)
{
    char ip[PH_ADDR_TEXT];
    struct sim_link_conf bad = {.delay = PH_MS(10),
                                .jitter = PH_MS(30),
                                .loss = 0.05,
                                .burst = 3,
                                .duplicate = 0.05,
                                .reorder = 0.05,
                                .rate = 2000000,
                                .mtu = 600};
    k->s = sim_new(seed);
    sim_default_link(k->s, &bad);
    struct sim_net *inet = sim_net_new(k->s, "internet", NULL);
    sim_net_unreachables(inet, true);
    for (int i = 0; i < HOMES; i++) {
        struct sim_nat_conf c = sim_nat_kind((enum sim_kind)(i + SIM_PORT_RESTRICTED), NULL);
        snprintf(ip, sizeof ip, "203.0.113.%d", i + 1);
        c.external[0] = ip;
        c.ttl = PH_SEC(5);
        c.max_mappings = 150;
        c.reject = i % 2;
        k->home[i] = sim_home_new(k->s, ip, inet, &c, "192.168.1.1");
    }
    for (int i = 0; i < HOSTS; i++) {
        snprintf(ip, sizeof ip, "192.168.1.%d", i + 2);
        k->host[i] = sim_host_new(k->s, ip);
        sim_attach(k->host[i], k->home[i % HOMES].lan, ip, NULL);
    }
    for (int i = 0; i < SERVERS; i++) {
        snprintf(ip, sizeof ip, "198.51.100.%d", i + 1);
        struct sim_host *h = sim_host_new(k->s, ip);
        sim_attach(h, inet, ip, NULL);
        k->server[i] = open_at(h, "0.0.0.0:3478");
    }
}

static void send_some(struct soak *k, uint32_t sock, struct ph_addr to)
{
    static uint8_t data[1000];
    struct ph_pkt p = {.sock = sock, .dst = to, .dont_fragment = dice(k, 4) == 0};
    p.b = (struct ph_buf){.base = data, .cap = sizeof data, .len = dice(k, sizeof data)};
    k->sends += sim_send_pkt(k->s, &p) == 0;
}

/* Somebody sends somewhere; somebody's socket goes; at times a whole NAT forgets. */
static void stir(struct soak *k)
{
    int i = (int)dice(k, HOSTS);
    char text[PH_ADDR_TEXT];
    snprintf(text, sizeof text, "198.51.100.%u:3478", 1 + dice(k, SERVERS + 1));
    if (k->sock[i] && dice(k, 5) == 0) {
        sim_close(k->s, k->sock[i]);
        k->sock[i] = 0;
    }
    if (!k->sock[i])
        k->sock[i] = sim_bind(k->host[i], sim_addr("0.0.0.0"));
    send_some(k, k->sock[i], sim_addr(text));
    uint32_t nat = 1 + dice(k, HOMES), port = 1024 + dice(k, 60000);
    snprintf(text, sizeof text, "203.0.113.%u:%u", nat, port);
    send_some(k, dice(k, 2) ? k->sock[i] : k->server[i % SERVERS], sim_addr(text));
    struct sim_msg m;
    for (int n = 0; n < SERVERS; n++)
        while (sim_recv(k->s, k->server[n], &m))
            send_some(k, k->server[n], m.src);
    if (dice(k, 100) == 0)
        sim_nat_reboot(k->home[dice(k, HOMES)].nat);
    if (dice(k, 50) == 0)
        sim_host_pause(k->host[i], dice(k, 2));
}

static uint64_t ends(const struct sim *s)
{
    uint64_t n = sim_count(s, SIM_DELIVERED) + sim_count(s, SIM_ICMP_DELIVERED);
    for (int how = SIM_LOST; how < SIM_HOW_COUNT; how++)
        n += sim_count(s, (enum sim_how)how);
    return n;
}

Test(sim_soak, every_packet_ends_once)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct soak k = {0};
        build(&k, seed);
        for (int r = 0; r < ROUNDS; r++) {
            for (int n = 0; n < 10; n++)
                stir(&k);
            cr_assert_eq(sim_run(k.s, PH_MS(50)), SIM_TIMEOUT);
        }
        cr_assert_eq(sim_run_until_idle(k.s, PH_SEC(60)), SIM_IDLE);
        cr_assert_eq(sim_in_flight(k.s), 0);
        cr_assert_eq(sim_count(k.s, SIM_SENT), k.sends);
        uint64_t began = k.sends + sim_count(k.s, SIM_DUPLICATED) + sim_count(k.s, SIM_ICMP_SENT);
        cr_assert_eq(ends(k.s), began, "seed %llu", (unsigned long long)seed);
        for (int i = 0; i < HOMES; i++)
            cr_assert_leq(sim_nat_mappings(k.home[i].nat), 150);
        cr_assert_gt(sim_count(k.s, SIM_DELIVERED), 3000);
        cr_assert_gt(sim_count(k.s, SIM_ICMP_DELIVERED), 100);
        cr_assert_gt(sim_count(k.s, SIM_FRAGMENTED), 100);
        sim_free(k.s);
    }
}
