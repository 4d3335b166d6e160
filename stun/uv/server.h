/*
 * The STUN server on libuv: opens the sockets of ph_stund cores on one or more workers and answers.
 *
 * All workers bind the same addresses (SO_REUSEPORT); the kernel spreads clients over them by address.  Each
 * has cores and budgets of its own, so nothing is shared.
 *
 *     struct ph_stun_uv_conf c = {.n_servers = 1, .workers = 2};
 *     c.server[0].stund.at[0] = ...;
 *     err = ph_stun_uv_new(&s, &c);    ...    ph_stun_uv_free(s);
 */
#ifndef PH_STUN_UV_SERVER_H
#define PH_STUN_UV_SERVER_H

#include "stun/base/env.h"
#include "stun/server.h"
#include "stun/uv/batch.h"

#include <uv.h>

enum { PH_STUN_UV_SERVERS = 16 };

/* One server: a single address, or two or the four of RFC 5780. */
struct ph_stun_uv_one {
    struct ph_stund_conf stund; /* sock[] and budget are filled in by the shell */
    struct ph_addr
        bind[PH_STUND_SOCKETS]; /* where to bind, if that is not stund.at (behind a 1:1 NAT) */
};

/* Zero means the default given. */
struct ph_stun_uv_conf {
    struct ph_stun_uv_one server[PH_STUN_UV_SERVERS]; /* one for IPv4, one for IPv6 ... */
    unsigned n_servers;
    unsigned workers;             /* threads; 0: run on `loop` */
    uv_loop_t *loop;              /* the caller's, with workers = 0 */
    struct ph_budget_conf budget; /* of each worker */
    const struct ph_env *env;     /* copied; NULL: the system's randomness, no log */
    uint32_t rcvbuf,
        sndbuf;         /* bytes of each socket; 4 MB and 4 MB, cut to what the system allows */
    const char *device; /* SO_BINDTODEVICE, NULL: any */
};

/* Of all workers. */
struct ph_stun_uv_stats {
    struct ph_stund_stats stun;
    struct ph_batch_stats io;
};

struct ph_stun_uv;

/* Binds and starts.  The configuration is copied.  Returns 0 and *s, or a negative error: -errno of the first
 * socket that could not be bound (*failed, unless NULL, says which address), PH_E_ARG, PH_E_NOMEM; then
 * nothing is left running. */
int ph_stun_uv_new(struct ph_stun_uv **s, const struct ph_stun_uv_conf *c, struct ph_addr *failed);

/* Stops all workers and frees.  With workers = 0 run the loop until nothing is left before closing it. */
void ph_stun_uv_free(struct ph_stun_uv *s);

/* The address that socket `which` (0..3) of server `n` is bound to: for port 0.  0 or PH_E_ARG. */
int ph_stun_uv_local(const struct ph_stun_uv *s, unsigned n, unsigned which, struct ph_addr *at);

/* Sums the counters of all workers; waits for each to answer. */
void ph_stun_uv_stats(struct ph_stun_uv *s, struct ph_stun_uv_stats *out);

#endif
