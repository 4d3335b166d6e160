#include "cmd/common/service.h"

#include "cmd/common/notify.h"
#include "stun/base/error.h"

enum { WHY = 256 };

int ph_service_settle(const struct ph_service *s, const char *pidfile)
{
    char why[WHY];
    if (pidfile && *pidfile && ph_pidfile_create(s->pidfile, pidfile, why, sizeof why) != 0) {
        ph_logf(s->env, PH_LOG_ERROR, "pidfile: %s", why);
        return -1;
    }
    if (s->privs->set_user && ph_logger_chown(s->log, s->privs->uid, s->privs->gid) != 0)
        ph_logf(s->env, PH_LOG_WARN, "the log file stays another user's: it cannot be opened anew");
    if (ph_privs_drop(s->privs, why, sizeof why) != 0) {
        ph_logf(s->env, PH_LOG_ERROR, "proc-user: %s", why);
        return -1;
    }
    return 0;
}

void ph_service_ready(const struct ph_service *s, bool keep_stderr)
{
    if (ph_notify_ready("serving") != 0)
        ph_logf(s->env, PH_LOG_WARN, "cannot tell systemd that we are ready");
    ph_daemon_ready(keep_stderr);
}

void ph_service_reopen_log(const struct ph_service *s)
{
    int err = ph_logger_reopen(s->log);
    if (err)
        ph_logf(s->env, PH_LOG_ERROR, "cannot open the log file anew: %s", ph_strerror(err));
    else
        ph_logf(s->env, PH_LOG_INFO, "the log is open anew");
}

static void close_handle(uv_handle_t *h, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void ph_service_close_loop(uv_loop_t *loop)
{
    uv_walk(loop, close_handle, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
}
