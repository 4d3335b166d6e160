/*
 * turnd: a TURN (RFC 8656) and STUN (RFC 8489) server that reads coturn's configuration.
 *
 * Order of the start: configuration, log, (background), sockets and threads, pidfile, privileges, ready.
 * Nothing is half started: what fails ends the program with a line that says why; status 2 for a mistake
 * in the configuration, 1 for anything else.
 */
#include "cmd/common/daemon.h"
#include "cmd/common/log.h"
#include "cmd/common/notify.h"
#include "cmd/common/privs.h"
#include "cmd/common/service.h"
#include "cmd/turnd/http.h"
#include "cmd/turnd/inherit.h"
#include "cmd/turnd/ops.h"
#include "cmd/turnd/print_config.h"
#include "cmd/turnd/state.h"
#include "cmd/turnd/statsdb.h"
#include "cmd/turnd/upgrade.h"
#include "stun/base/error.h"
#include "stun/uv/env.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EXIT_CONFIG = 2, WHY = 256, SIGNALS = 5, MINUTE_MS = 60000 };

struct program {
    struct ph_tconf conf;
    struct ph_trun run;
    struct ph_tops ops;
    struct ph_thttp http;
    struct ph_logger log;
    struct ph_env env;
    struct ph_privs privs;
    struct ph_pidfile pidfile;
    struct ph_tself self;
    struct ph_tinherit inherit;
    struct ph_tupgrade *upgrade;
    bool broken; /* the workers have gone, and nobody has come */
    uv_loop_t loop;
    uv_signal_t signal[SIGNALS];
    uv_timer_t minute;
};

#define SAY(p, level, ...) ph_logf(&(p)->env, PH_LOG_##level, __VA_ARGS__)

/* ---- configuration ---- */

static void print_help(const struct ph_tconf *c)
{
    puts(
        "Usage: turnd [OPTIONS]\n\n"
        "A TURN and STUN server.  Every option is also a key of the configuration file (without\n"
        "the dashes), whose syntax and keys are those of coturn's turnserver.conf, and a variable\n"
        "of the environment (TURND_LISTENING_PORT for listening-port); the command line goes\n"
        "before the environment, and that before the file.  Keys of coturn that are not listed\n"
        "are known too, and ignored or refused: --check-config says why.");
    ph_opts_help(c->opts, stdout);
    puts("\nSignals: SIGTERM and SIGINT end the program (after the grace, if there is one; a "
         "second\n"
         "one at once), SIGHUP opens the log file anew and reloads the configuration, SIGUSR1 "
         "drains,\n"
         "SIGUSR2 loads the certificates anew.");
}

/* Shows the errors, when there is no log yet. */
static void complain(const struct ph_opts *o)
{
    const struct ph_opt_message *m;
    for (size_t i = 0; (m = ph_opts_message(o, i)) != NULL; i++)
        if (m->level == PH_LOG_ERROR)
            fprintf(stderr, "turnd: %s\n", m->text);
}

static const char *log_target(const struct ph_tconf *c)
{
    if (c->syslog)
        return "syslog";
    if (c->log_file && *c->log_file)
        return c->log_file;
    return c->daemon ? "syslog" : NULL;
}

/* coturn copies a log file to standard output unless told not to; and who starts us at a terminal wants to see more
 * than nothing. */
static bool wants_copy(const struct ph_tconf *c, const char *target)
{
    if (!target || c->no_stdout_log || c->daemon)
        return false;
    if (strcmp(target, "syslog") == 0)
        return isatty(STDERR_FILENO);
    return strcmp(target, "stdout") != 0 && strcmp(target, "-") != 0;
}

static int open_log(struct program *p)
{
    const struct ph_tconf *c = &p->conf;
    const char *file = log_target(c);
    const struct ph_logger_conf conf = {
        .program = "turnd",
        .level = (enum ph_log_level)c->log_level,
        .json = c->log_format == PH_TCONF_LOG_JSON,
        .file = file,
        .facility = c->syslog_facility && *c->syslog_facility ? c->syslog_facility : NULL,
        .time_format = c->timestamp_format,
        .also_stderr = wants_copy(c, file),
        .inherited = p->inherit.h.log_fd,
    };
    char why[WHY];
    if (ph_logger_open(&p->log, &conf, why, sizeof why) == 0) {
        p->env = ph_env_system(&p->log.log);
        return 0;
    }
    ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "log-file"), "%s", why);
    return -1;
}

static void repeat_warnings(struct program *p)
{
    const struct ph_opt_message *m;
    for (size_t i = 0; (m = ph_opts_message(p->conf.opts, i)) != NULL; i++)
        ph_logf(&p->env, m->level, "%s", m->text);
}

/* Who we are to become.  A mistake in the names becomes an error. */
static void find_user(struct program *p)
{
    const struct ph_tconf *c = &p->conf;
    char why[WHY];
    if (ph_privs_find(&p->privs, c->user, c->group, why, sizeof why) != 0)
        ph_opts_say(c->opts, PH_LOG_ERROR,
                    ph_opts_last(c->opts, c->user && *c->user ? "proc-user" : "proc-group"), "%s",
                    why);
}

/* Reads the configuration, finds its mistakes and opens the log.  Returns an exit status, or -1 to go on. */
static int prepare(struct program *p, int argc, char **argv)
{
    struct ph_tconf *c = &p->conf;
    p->env = ph_env_system(NULL);
    ph_tconf_init(c);
    ph_tconf_read(c, argc, argv);
    if (c->help || c->version || c->print || c->state_version) {
        if (c->help)
            print_help(c);
        else if (c->state_version)
            puts(ph_tself_state_version());
        else if (c->print)
            ph_tconf_print(stdout);
        else
            puts("turnd (Pinhole) " PH_VERSION);
        return 0;
    }
    if (ph_trun_build(&p->run, c, &p->env) != 0) {
        fputs("turnd: out of memory\n", stderr);
        return 1;
    }
    find_user(p);
    if (c->check) {
        ph_trun_report(&p->run, stdout);
        return ph_opts_failed(c->opts) ? EXIT_CONFIG : 0;
    }
    if (ph_opts_failed(c->opts) || open_log(p) != 0) {
        complain(c->opts);
        return EXIT_CONFIG;
    }
    return -1;
}

/* ---- the program before ---- */

/* Its things become ours. */
static void inherit(struct program *p)
{
    struct ph_tinherit *in = &p->inherit;
    if (*in->odd)
        SAY(p, WARN, "%s", in->odd);
    if (!in->there)
        return;
    p->run.inherit = &in->h.server;
    p->run.keys = in->h.server.keys;
    snprintf(p->run.token, sizeof p->run.token, "%s", in->h.token);
    memcpy(p->http.door, in->h.door, sizeof p->http.door);
    p->http.n_doors = in->h.n_doors;
}

/* Its pidfile, if it is the one that is asked for. */
static bool inherit_pidfile(struct program *p)
{
    char path[sizeof p->pidfile.path];
    const struct ph_thandover *h = &p->inherit.h;
    if (!p->inherit.there || h->pid_fd < 0 || !p->conf.pidfile ||
        ph_absolute_path(path, sizeof path, p->conf.pidfile) != 0 || strcmp(path, h->pid_path) != 0)
        return false;
    p->pidfile.fd = h->pid_fd;
    snprintf(p->pidfile.path, sizeof p->pidfile.path, "%s", path);
    return true;
}

/* We serve: nobody goes back. */
static void arrive(struct program *p)
{
    struct ph_tinherit *in = &p->inherit;
    if (!in->there)
        return;
    p->ops.started_s = in->h.started_s;
    ph_tupgrade_arrived(p->upgrade, in);
    ph_thttp_settled(&p->http);
    p->run.inherit = NULL;
    ph_tinherit_done(in, p->log.fd, p->pidfile.fd);
}

/* We do not: the program before goes on.  Returns only if there is none. */
static void give_back(struct program *p, const char *what)
{
    char why[2 * WHY];
    const struct ph_opt_message *m;
    for (size_t i = 0; !what && p->conf.opts && (m = ph_opts_message(p->conf.opts, i)); i++)
        what = m->level == PH_LOG_ERROR ? m->text : NULL;
    snprintf(why, sizeof why, "%.128s (%s): %s", p->self.program, PH_VERSION,
             what ? what : "it could not start");
    ph_tinherit_back(&p->inherit, &p->self, why);
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *handle, int signum)
{
    struct program *p = handle->data;
    ph_tops_signal(&p->ops, signum);
}

static void watch_signals(struct program *p)
{
    static const int SIGNUM[SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more is no reason to end */
    for (unsigned i = 0; i < SIGNALS; i++) {
        uv_signal_init(&p->loop, &p->signal[i]);
        p->signal[i].data = p;
        uv_signal_start(&p->signal[i], on_signal, SIGNUM[i]);
    }
}

/* The clock may have been set, so that a new day cannot be waited for. */
static void on_minute(uv_timer_t *timer)
{
    struct program *p = timer->data;
    ph_trun_rekey(&p->run);
    if (p->conf.log_binding)
        ph_trun_bindings(&p->run);
}

/* ---- start and end ---- */

/* Every allocation has a socket: takes all the files the system lets us have, and says when they may not do. */
static void raise_limits(struct program *p)
{
    uint64_t want = ph_trun_files(&p->run);
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
        return;
    if (lim.rlim_max < want) { /* with privileges it can be more */
        struct rlimit more = {want, want};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return;
    }
    lim.rlim_cur = lim.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < want)
        SAY(p, WARN,
            "%" PRIu64 " files may be open, all allocations together need %" PRIu64
            ": raise the limit (systemd: LimitNOFILE=), or give fewer ports or a total-quota",
            (uint64_t)lim.rlim_cur, want);
}

static struct ph_service service(struct program *p)
{
    return (struct ph_service){&p->env, &p->log, &p->privs, &p->pidfile};
}

/* Whoever we become must be able to read the configuration again. */
static void check_reload(struct program *p)
{
    const char *file = p->conf.file;
    char path[PH_TCONF_PATH];
    if (*file && access(ph_tconf_path(&p->conf, file, path), R_OK) != 0)
        SAY(p, WARN, "%s: cannot be read any more: a reload will fail (%s)", file,
            ph_strerror(-errno));
}

/* From open sockets to being ready. */
static int settle(struct program *p)
{
    const struct ph_tconf *c = &p->conf;
    const struct ph_service s = service(p);
    if (ph_thttp_open(&p->http, &p->ops) != 0 ||
        ph_service_settle(&s, inherit_pidfile(p) ? NULL : c->pidfile) != 0)
        return -1;
    ph_turn_uv_go(p->run.server);
    check_reload(p);
    ph_trun_announce(&p->run);
    ph_service_ready(&s, c->log_file != NULL && strcmp(c->log_file, "stderr") == 0);
    ph_tops_ready(&p->ops);
    arrive(p);
    return 0;
}

/* Runs until it is to end.  An upgrade that works does not come back. */
static void run(struct program *p)
{
    uv_timer_start(&p->minute, on_minute, MINUTE_MS, MINUTE_MS);
    do
        uv_run(&p->loop, UV_RUN_DEFAULT);
    while (p->ops.state == PH_TOPS_SERVING && ph_tupgrade_is_due(p->upgrade) &&
           !(p->broken = ph_tupgrade_leave(p->upgrade, &p->http, &p->pidfile) != 0));
}

/* The end, in the reverse order of the start; nobody asks for anything any more when the server goes. */
static void wind_up(struct program *p, bool served)
{
    ph_thttp_close(&p->http, &p->ops);
    if (served) {
        if (p->run.state)
            ph_tstate_end(p->run.state, true);
        ph_tstatsdb_end(p->run.statsdb);
        ph_trun_audit_rest(&p->run);
        ph_trun_counters(&p->run);
        SAY(p, INFO, "turnd has stopped");
    }
    ph_trun_stop(&p->run);
}

static int serve(struct program *p)
{
    int status = 1;
    uv_loop_init(&p->loop);
    uv_timer_init(&p->loop, &p->minute);
    p->minute.data = p;
    ph_privs_use();
    raise_limits(p);
    if (ph_tops_init(&p->ops, &p->run, &p->log, &p->loop) == 0) {
        p->upgrade = p->ops.upgrade = ph_tupgrade_new(&p->loop, &p->ops, &p->self);
        inherit(p);
        watch_signals(p);
        ph_tself_unblock(); /* the program before has kept them for us */
        bool started = ph_trun_start(&p->run, &p->env, &p->loop) == 0;
        if (started && settle(p) == 0) {
            run(p);
            status = p->broken;
        } else if (!p->run.enough) {
            give_back(p, "it could not start: its log says why");
        }
        wind_up(p, status == 0);
        status = started || !p->run.enough ? status : 0;
    }
    ph_service_close_loop(&p->loop);
    ph_tupgrade_free(p->upgrade);
    ph_tops_fini(&p->ops);
    ph_pidfile_remove(&p->pidfile);
    return status;
}

int main(int argc, char **argv)
{
    static struct program p = {.pidfile.fd = -1};
    ph_tself_hold_files();
    ph_tinherit_take(&p.inherit);
    if (ph_tself_init(&p.self, argv, environ) != 0) {
        fputs("turnd: out of memory\n", stderr);
        return 1;
    }
    int status = prepare(&p, argc, argv);
    if (status >= 0)
        give_back(&p, NULL);
    if (status < 0) {
        int err = p.conf.daemon && !p.inherit.there ? ph_daemon_begin() : 0;
        if (err)
            SAY(&p, ERROR, "cannot go into the background: %s", ph_strerror(err));
        else
            repeat_warnings(&p);
        status = err ? 1 : serve(&p);
        ph_logger_close(&p.log);
    }
    ph_trun_free(&p.run);
    ph_tconf_fini(&p.conf);
    ph_tinherit_done(&p.inherit, -1, -1);
    ph_tself_fini(&p.self);
    return status;
}
