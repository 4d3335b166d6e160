/*
 * Giving up root: become an ordinary user once the ports are open.
 *
 *     ph_privs_use     first of all: take what the program's file grants
 *     ph_privs_find    before anything is started: do the names exist?
 *     ph_privs_drop    when sockets, pidfile and log are open
 */
#ifndef PH_CMD_PRIVS_H
#define PH_CMD_PRIVS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Whom to become. */
struct ph_privs {
    bool set_user, set_group; /* both false: stay who we are */
    uid_t uid;
    gid_t gid;
};

/* Makes the permitted capabilities effective, so that a file may have them as permitted alone (setcap
 * cap_net_bind_service=p turnd): where a container or service drops them the program then starts without them, while
 * the kernel refuses to execute a file whose capabilities are effective and not to be had.  Does nothing without any. */
void ph_privs_use(void);

/* Looks up a user and a group, by name or number; either may be NULL or "".  A user without group takes its own one
 * along.  Returns 0, or PH_E_ARG and a message naming what there is not in why[n]. */
int ph_privs_find(struct ph_privs *p, const char *user, const char *group, char *why, size_t n);

/* Becomes that user, for all threads and for good: supplementary groups go, the way back is checked to be shut,
 * and nothing that is executed later can gain privileges.  Does nothing if we are that user already.
 * Returns 0, or -errno and a message in why[n]: then the program must not go on. */
int ph_privs_drop(const struct ph_privs *p, char *why, size_t n);

#endif
