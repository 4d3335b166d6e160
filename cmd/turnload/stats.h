/*
 * What a run measures: counters and histograms.  Each thread fills one of its own; they are added
 * up at the end.
 */
#ifndef PH_CMD_TURNLOAD_STATS_H
#define PH_CMD_TURNLOAD_STATS_H

#include "stun/base/time.h"
#include "stun/uv/batch.h"
#include "turn/client.h"

#include <stdint.h>

/* A log-linear histogram of spans: 32 steps in each doubling, so 3 % wide at most. */
enum {
    PH_LOAD_HIST_STEP_BITS = 5,
    PH_LOAD_HIST_BUCKETS = (64 - PH_LOAD_HIST_STEP_BITS) << PH_LOAD_HIST_STEP_BITS
};

struct ph_load_hist {
    uint64_t n;
    double sum;     /* ns */
    ph_ns min, max; /* exact; 0 when n is 0 */
    uint64_t bucket[PH_LOAD_HIST_BUCKETS];
};

/* Counts a span of v ns; a negative one counts as 0. */
void ph_load_hist_add(struct ph_load_hist *h, ph_ns v);

/* Adds one histogram to a sum. */
void ph_load_hist_merge(struct ph_load_hist *sum, const struct ph_load_hist *one);

/* The span that a share p (0..1) of all does not exceed; 0 when there are none. */
ph_ns ph_load_hist_at(const struct ph_load_hist *h, double p);

/* The mean, 0 when there are none. */
ph_ns ph_load_hist_mean(const struct ph_load_hist *h);

/* Failures by what they say. */
enum { PH_LOAD_STATS_ERRORS = 24, PH_LOAD_STATS_ERROR_LEN = 128 };

struct ph_load_stats_error {
    char text[PH_LOAD_STATS_ERROR_LEN];
    uint64_t n;
};

struct ph_load_stats {
    uint64_t up, failed, lost;         /* allocations: made ready, not, lost while in use */
    uint64_t release_failed;           /* the server did not confirm the release */
    uint64_t sent, sent_bytes;         /* handed to the kernel */
    uint64_t received, received_bytes; /* each packet once */
    uint64_t duplicated, reordered, corrupted;
    uint64_t strange;                    /* packets that are not of this run */
    uint64_t behind;                     /* not sent because turnload itself could not keep up */
    uint64_t echoed;                     /* by our own peer */
    uint64_t unqueued;                   /* not sent: a connection would not take it */
    char tls[96];                        /* version and cipher of a connection, "" without */
    struct ph_load_hist delay;           /* round trip, or one way with --pairs */
    struct ph_load_hist allocate, ready; /* from the start to ALLOCATED, and to the first packet */
    double jitter_sum;                   /* over flows (RFC 3550 6.4.1), ns */
    uint64_t jitter_n;
    ph_ns jitter_max;
    ph_ns run; /* how long packets were sent */
    struct ph_load_stats_error error[PH_LOAD_STATS_ERRORS];
    struct ph_batch_stats io;
    struct ph_turnc_stats turn;
};

/* Counts a failure under its text. */
void ph_load_stats_error(struct ph_load_stats *s, uint64_t n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds one to a sum; `run` is the longest. */
void ph_load_stats_merge(struct ph_load_stats *sum, const struct ph_load_stats *one);

/* Packets that left and did not come back. */
uint64_t ph_load_stats_lost(const struct ph_load_stats *s);

/* Packets that did not leave: the kernel refused them. */
uint64_t ph_load_stats_not_sent(const struct ph_load_stats *s);

/* Loss in percent of what was sent. */
double ph_load_stats_loss(const struct ph_load_stats *s);

#endif
