/*
 * Upgrading in place (turnctl upgrade): another program goes on in our process, with our sockets and allocations.
 *
 *     check      the program is run twice beside us: does it take over this state, and is the configuration fine with it?
 *                Until here nothing has happened
 *     leave      HTTP is closed, the workers stop; packets wait in the sockets
 *     exec       the new program starts (inherit.h).  If it cannot serve it executes us again, and we go on
 *
 * All of it belongs to the main thread.
 */
#ifndef PH_TURND_UPGRADE_H
#define PH_TURND_UPGRADE_H

#include "cmd/common/daemon.h"
#include "cmd/turnd/http.h"
#include "cmd/turnd/inherit.h"
#include "cmd/turnd/ops.h"

enum { PH_TUPGRADE_TEXT = 512 };

struct ph_tupgrade_view {
    const char *word; /* "none", "checking", "leaving", "done", "failed" */
    uint64_t id;      /* of this attempt, 0: there was none */
    char program[PH_THANDOVER_TEXT];
    char from[32]; /* done: the version before */
    char error[PH_TUPGRADE_TEXT];
    unsigned carried, lost; /* allocations; before it is done: as far as can be told */
    int64_t ms;             /* without relaying */
    int64_t at_s;
};

struct ph_tupgrade;

/* NULL: out of memory. */
struct ph_tupgrade *ph_tupgrade_new(uv_loop_t *loop, struct ph_tops *o,
                                    const struct ph_tself *self);
void ph_tupgrade_free(struct ph_tupgrade *u); /* when the loop is closed */

/* Begins to check a program (NULL: the one we were started as).  False, and why in text: it cannot be. */
bool ph_tupgrade_begin(struct ph_tupgrade *u, const char *program, char text[static PH_TOPS_TEXT]);

void ph_tupgrade_look(const struct ph_tupgrade *u, struct ph_tupgrade_view *v);

/* The check has passed, and the loop has been stopped: time to leave. */
bool ph_tupgrade_is_due(const struct ph_tupgrade *u);

/* Leaves, for good.  Returns 0 when that could not be, and we go on (HTTP is closed), or else the error for which we cannot. */
int ph_tupgrade_leave(struct ph_tupgrade *u, struct ph_thttp *http, const struct ph_pidfile *pid);

/* We are the program that was executed, and serve: how it went. */
void ph_tupgrade_arrived(struct ph_tupgrade *u, const struct ph_tinherit *in);

#endif
