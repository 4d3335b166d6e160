/*
 * Short words for the simulator's own tests: send a text, expect a text.
 */
#ifndef PH_TESTS_SIM_TESTKIT_H
#define PH_TESTS_SIM_TESTKIT_H

#include "tests/sim/sim.h"

#include <criterion/criterion.h>
#include <string.h>

static inline uint32_t open_at(struct sim_host *h, const char *at)
{
    uint32_t k = sim_bind(h, sim_addr(at));
    cr_assert_neq(k, 0, "cannot bind %s", at);
    return k;
}

static inline void send_text(struct sim *s, uint32_t sock, struct ph_addr to, const char *text)
{
    cr_assert_eq(sim_send(s, sock, to, text, strlen(text)), 0);
}

/* The next packet's source as text, or "-" when nothing came. */
static inline const char *from(struct sim *s, uint32_t sock, char dst[static PH_ADDR_TEXT])
{
    struct sim_msg m;
    struct ph_addr none = {0};
    return ph_addr_text(sim_recv(s, sock, &m) ? &m.src : &none, dst);
}

/* Sends, lets everything arrive, and returns whether `to_sock` got it; *src is where from. */
static inline bool reaches(struct sim *s, uint32_t sock, struct ph_addr to, uint32_t to_sock,
                           struct ph_addr *src)
{
    struct sim_msg m;
    while (sim_recv(s, to_sock, &m))
        continue;
    send_text(s, sock, to, "probe");
    cr_assert_eq(sim_run(s, PH_MS(1000)), SIM_TIMEOUT);
    if (!sim_recv(s, to_sock, &m))
        return false;
    if (src)
        *src = m.src;
    return true;
}

#endif
