/*
 * coturn's statistics (redis-statsdb) of a running server: each worker tells Redis, by a connection on its own loop.
 */
#ifndef PH_TURND_STATSDB_H
#define PH_TURND_STATSDB_H

#include "cmd/turnd/run.h"

struct ph_tstatsdb;

/* Before the server starts.  NULL when out of memory, or in a build without Redis. */
struct ph_tstatsdb *ph_tstatsdb_new(uv_loop_t *loop, struct ph_trun *run);

/* A worker starts or stops (struct ph_turn_uv_conf.on_loop). */
void ph_tstatsdb_loop(struct ph_tstatsdb *s, unsigned worker, uv_loop_t *loop,
                      struct ph_turn_uv_here *here);

/* Something has happened to an allocation (struct ph_turn_uv_conf.on_event). */
void ph_tstatsdb_event(struct ph_tstatsdb *s, unsigned worker, const struct ph_turnd_ev *ev);

/* The server is about to end: what does not go on after a restart is told as ended.  NULL: nothing. */
void ph_tstatsdb_end(struct ph_tstatsdb *s);

/* Waits until all that was told is stored, or so long. */
void ph_tstatsdb_flush(struct ph_tstatsdb *s, uint32_t timeout_ms);

/* While the loop can still run, when no worker is left.  NULL: nothing. */
void ph_tstatsdb_stop(struct ph_tstatsdb *s);

/* When the loop is closed.  NULL: nothing. */
void ph_tstatsdb_free(struct ph_tstatsdb *s);

/* Where it is, so that it is no peer: at most max addresses.  Returns how many are known. */
unsigned ph_tstatsdb_endpoints(const struct ph_tstatsdb *s, struct ph_addr *v, unsigned max);

struct ph_tstatsdb_view {
    uint64_t sent, dropped, failed, queued; /* of all workers */
    unsigned connected;                     /* workers with a connection */
};

/* While the server runs; any thread. */
void ph_tstatsdb_look(const struct ph_tstatsdb *s, struct ph_tstatsdb_view *v);

#endif
