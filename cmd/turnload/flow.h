/*
 * A flow: numbered packets from one place to another through an allocation, and what arrives of
 * them.
 *
 *     | run (4) | flow (4) | number (4) | sent at, ns (8) | check (4) | pattern ... |
 *
 * `run` is random, so packets of other runs and of strangers are told apart; `check` covers the
 * header and the pattern depends on the number, so a changed, cut or mixed-up packet shows.
 */
#ifndef PH_CMD_TURNLOAD_FLOW_H
#define PH_CMD_TURNLOAD_FLOW_H

#include "cmd/turnload/stats.h"
#include "stun/base/addr.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PH_LOAD_FLOW_HEADER = 24,
    PH_LOAD_FLOW_WINDOW = 4096 /* numbers back that duplicates are found for */
};

struct ph_load_flow {
    uint32_t id;
    uint32_t next;       /* number of the next packet */
    struct ph_addr peer; /* where the allocation sends to */
    ph_ns next_at;       /* when the next one is due */

    uint32_t top;  /* highest number arrived, plus 1 */
    bool late;     /* there is a last transit time */
    ph_ns transit; /* of the last packet */
    double jitter; /* ns */
    uint64_t seen[PH_LOAD_FLOW_WINDOW / 64];
};

/* Fills in n bytes (at least PH_LOAD_FLOW_HEADER) for the flow's next packet. */
void ph_load_flow_write(struct ph_load_flow *f, uint32_t run, uint8_t *p, uint32_t n, ph_ns now);

/* True if the packet begins like one of this run. */
bool ph_load_flow_is_ours(uint32_t run, const uint8_t *p, uint32_t n);

/* The flow that a packet claims to belong to; it must be one of ours. */
uint32_t ph_load_flow_id(const uint8_t *p);

/* Takes an arrived packet of the run: counts it as received, duplicated, reordered or corrupted.
 * size: what the length must be. */
void ph_load_flow_read(struct ph_load_flow *f, const uint8_t *p, uint32_t n, uint32_t size,
                       struct ph_load_stats *s, ph_ns now);

/* Adds the flow's jitter to the sums. */
void ph_load_flow_finish(const struct ph_load_flow *f, struct ph_load_stats *s);

#endif
