/*
 * The last steps of a daemon's start and the end of its loop: the same for every program that serves.
 *
 *     sockets are open -> ph_service_settle -> (the program says what it serves) -> ph_service_ready -> uv_run
 */
#ifndef PH_CMD_SERVICE_H
#define PH_CMD_SERVICE_H

#include "cmd/common/daemon.h"
#include "cmd/common/log.h"
#include "cmd/common/privs.h"
#include "stun/base/env.h"

#include <stdbool.h>
#include <uv.h>

struct ph_service {
    const struct ph_env *env; /* for the log; not owned, nor is the rest */
    struct ph_logger *log;
    const struct ph_privs *privs;
    struct ph_pidfile *pidfile;
};

/* Writes the pidfile (path NULL or "": none), hands the log file over and drops privileges.  Returns 0, or -1 after
 * a line in the log that says what failed. */
int ph_service_settle(const struct ph_service *s, const char *pidfile);

/* Tells systemd and the parent that waits in the foreground that packets are served (see ph_daemon_ready). */
void ph_service_ready(const struct ph_service *s, bool keep_stderr);

/* What SIGHUP does: opens the log file anew, and says so there. */
void ph_service_reopen_log(const struct ph_service *s);

/* Closes every handle of a loop, runs it until they are gone, and closes it. */
void ph_service_close_loop(uv_loop_t *loop);

#endif
