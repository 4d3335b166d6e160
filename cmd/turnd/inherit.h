/*
 * What the program before has left to this one (turnctl upgrade), and giving it back.
 *
 *     ph_tinherit_take    first of all: reads what the environment names
 *     ...                 the start, with in->h.server as struct ph_trun.inherit
 *     ph_tinherit_done    clients are heard: nobody goes back any more
 *     ph_tinherit_back    it cannot be done: the program before takes its things again, and goes on
 */
#ifndef PH_TURND_INHERIT_H
#define PH_TURND_INHERIT_H

#include "cmd/turnd/self.h"

struct ph_tinherit {
    bool there; /* and h is */
    int fd;     /* -1: none */
    struct ph_thandover h;
    char failed
        [256]; /* why the newer program has given it back, "": it has not, we are the newer one */
    char odd[128]; /* something was named that cannot be trusted or read: to be logged */
};

/* Takes the variables out of the environment, and what they name, if it is ours. */
void ph_tinherit_take(struct ph_tinherit *in);

/* Returns only if that fails, or if there is nobody to give it back to. */
void ph_tinherit_back(struct ph_tinherit *in, const struct ph_tself *self, const char *why);

/* Closes and frees what was needed for going back, and what was not used: the log and the pidfile, if ours are others. */
void ph_tinherit_done(struct ph_tinherit *in, int log_fd, int pid_fd);

#endif
