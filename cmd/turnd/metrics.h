/*
 * Numbers for Prometheus: live counters and gauges, a few histograms, names that do not change.
 *
 * Counters come from the workers when they are asked for; histograms are kept here, in atomic words, from what
 * happens to allocations.  Labels are bounded: nothing a client says becomes one, unless user labels are asked for,
 * and then at most PH_TMETRICS_USERS of them ("other" beyond).
 */
#ifndef PH_TURND_METRICS_H
#define PH_TURND_METRICS_H

#include "turn/uv/server.h"

#include <stdbool.h>
#include <stdio.h>

enum { PH_TMETRICS_USERS = 1000 };

struct ph_tops;
struct ph_tmetrics;

/* users: keep traffic by user as well (prometheus-username-labels).  NULL when out of memory. */
struct ph_tmetrics *ph_tmetrics_new(bool users);
void ph_tmetrics_free(struct ph_tmetrics *m);

/* An allocation was made or has ended.  Any thread. */
void ph_tmetrics_event(struct ph_tmetrics *m, const struct ph_turnd_ev *ev, ph_ns now);

/* Writes all of it in Prometheus' text format (version 0.0.4); coturn: with coturn's names as well.  Any thread but the workers'. */
void ph_tmetrics_write(struct ph_tmetrics *m, struct ph_tops *o, bool coturn, FILE *f);

#endif
