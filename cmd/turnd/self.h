/*
 * How this program was started, so that it (or a newer one) can be started in its place, and what goes over then.
 *
 * Arguments and environment are copied before anybody overwrites what is secret in them; the copies are as secret.
 */
#ifndef PH_TURND_SELF_H
#define PH_TURND_SELF_H

#include "cmd/turnd/handover.h"

#include <stdbool.h>

#define PH_TSELF_FD     "PINHOLE_HANDOVER" /* in the environment: the descriptor of the hand-over */
#define PH_TSELF_FAILED "PINHOLE_HANDOVER_FAILED" /* ... why the newer program gave it back */

struct ph_tself {
    char **argv, **env; /* NULL at the end; owned */
    char program
        [PH_THANDOVER_TEXT]; /* the path, not followed: what is there now may be newer.  "": not known */
    char dir[PH_THANDOVER_TEXT]; /* where it was started */
};

/* Descriptors 0 to 2 are for who is to read what we say, whatever we were started with: nothing that is handed over has one of
 * these numbers. */
void ph_tself_hold_files(void);

/* 0 or PH_E_NOMEM. */
int ph_tself_init(struct ph_tself *s, char **argv, char **env);
void ph_tself_fini(struct ph_tself *s);

/* Which state this program hands over and takes over: one line.  Programs that say the same understand each other. */
const char *ph_tself_state_version(void);

/* Puts a hand-over into memory that nobody can change any more.  The descriptor, or -errno. */
int ph_tself_seal(const struct ph_thandover *h);

/* Executes a program in our place, with the hand-over `fd`: the one at `program`, or with exe_fd >= 0 that one (argv[0] is
 * `program` all the same); failed: why it is given back, or NULL.  Only what h names stays open.  Returns only if that
 * fails: -errno. */
int ph_tself_exec(const struct ph_tself *s, const struct ph_thandover *h, int fd,
                  const char *program, int exe_fd, const char *failed);

/* Keeps the signals that tell us something for later: for the next program, if that comes before ph_tself_unblock.  Threads
 * made meanwhile never get them. */
void ph_tself_block(void);
void ph_tself_unblock(void);

#endif
