/*
 * Well-known kinds of NAT, by the names people use for them, and the usual home network.
 */
#include "tests/sim/priv.h"

#include <stdio.h>

struct sim_nat_conf sim_nat_kind(enum sim_kind k, const char *external)
{
    static const struct sim_nat_conf kinds[SIM_KIND_COUNT] = {
        [SIM_FULL_CONE] = {.mapping = SIM_EI, .filtering = SIM_EI},
        [SIM_RESTRICTED] = {.mapping = SIM_EI, .filtering = SIM_AD},
        [SIM_PORT_RESTRICTED] = {.mapping = SIM_EI, .filtering = SIM_APD},
        [SIM_SYMMETRIC] = {.mapping = SIM_APD, .filtering = SIM_APD, .ports = SIM_PORT_RANDOM},
        [SIM_LINUX] = {.mapping = SIM_APD,
                       .filtering = SIM_APD,
                       .ports = SIM_PORT_OVERLOAD,
                       .refresh_inbound = true,
                       .conntrack = true},
        [SIM_CGNAT] = {.mapping = SIM_EI,
                       .filtering = SIM_EI,
                       .ports = SIM_PORT_RANDOM,
                       .parity = true,
                       .hairpin = SIM_HAIRPIN_EXTERNAL},
        [SIM_UDP_BLOCKED] = {.block_udp = true},
    };
    struct sim_nat_conf c = kinds[k];
    c.external[0] = external;
    return c;
}

const char *sim_kind_name(enum sim_kind k)
{
#define NAME(name, text) [name] = (text),
    static const char *const names[] = {SIM_KINDS(NAME)};
#undef NAME
    return names[k];
}

struct sim_home sim_home_new(struct sim *s, const char *name, struct sim_net *outside,
                             const struct sim_nat_conf *nat, const char *ip)
{
    char text[SIM_NAME];
    struct sim_home h;
    snprintf(text, sizeof text, "lan-%s", name);
    h.lan = sim_net_new(s, text, NULL);
    snprintf(text, sizeof text, "nat-%s", name);
    h.nat = sim_nat_new(s, text, h.lan, outside, nat);
    h.host = sim_host_new(s, name);
    h.iface = sim_attach(h.host, h.lan, ip, NULL);
    return h;
}
