/*
 * The user database (redis-userdb) of a running server.
 *
 * Workers ask for users, one by one; realms' secrets, rules and limits and the OAuth keys are asked for every ten
 * seconds.  While the database is silent, what it has said last stays in force.
 */
#ifndef PH_TURND_DB_H
#define PH_TURND_DB_H

#include "cmd/turnd/live.h"
#include "turn/uv/server.h"

struct ph_tdb;

/* Begins to ask.  `server` is where answers go; it may still point to NULL.  `changed` is called on the loop when what
 * the database says of realms is not what it was.  NULL when out of memory, or in a build without Redis. */
struct ph_tdb *ph_tdb_new(uv_loop_t *loop, const struct ph_env *env, const struct ph_tconf *c,
                          struct ph_turn_uv **server, void (*changed)(void *ctx), void *ctx);

/* No more questions: to be called while the loop can still run, when no worker is left.  NULL: nothing. */
void ph_tdb_stop(struct ph_tdb *db);

/* When the loop is closed.  NULL: nothing. */
void ph_tdb_free(struct ph_tdb *db);

/* A worker wants a user (struct ph_turn_uv_conf.on_lookup).  Any thread. */
void ph_tdb_lookup(struct ph_tdb *db, unsigned worker, const struct ph_userdb_ask *ask);

/* What is known of realms.  Belongs to db; changes while the loop runs. */
const struct ph_tdb_data *ph_tdb_data(const struct ph_tdb *db);

/* The configuration has other realms by now. */
void ph_tdb_realms(struct ph_tdb *db, const struct ph_tconf *c);

/* Where the database is, so that it is no peer; false: not known (yet), or not over IP. */
bool ph_tdb_endpoint(const struct ph_tdb *db, struct ph_addr *at);

/* Whether it answers. */
bool ph_tdb_up(const struct ph_tdb *db);

#endif
