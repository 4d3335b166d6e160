/*
 * stund: a STUN server (RFC 8489) with NAT behaviour discovery (RFC 5780), and nothing else.
 *
 * Order of the start: options, log, (background), sockets, pidfile, privileges, ready.  Nothing is half started:
 * what fails ends the program with a line that says why; status 2 for a mistake in the options, 1 for anything
 * else.
 */
#include "cmd/common/daemon.h"
#include "cmd/common/log.h"
#include "cmd/common/notify.h"
#include "cmd/common/privs.h"
#include "cmd/common/service.h"
#include "cmd/stund/conf.h"
#include "stun/base/error.h"
#include "stun/uv/env.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXIT_OPTIONS = 2, WHY = 256, SIGNALS = 4 };

struct program {
    struct ph_sconf conf;
    struct ph_stun_uv_conf plan;
    struct ph_logger log;
    struct ph_env env;
    struct ph_privs privs;
    struct ph_pidfile pidfile;
    uv_loop_t loop;
    uv_signal_t signal[SIGNALS];
    struct ph_stun_uv *server;
};

#define SAY(p, level, ...) ph_logf(&(p)->env, PH_LOG_##level, __VA_ARGS__)

/* ---- options ---- */

/* Prints the mistakes.  Returns the exit status for them, or -1 when there are none. */
static int complain(const struct ph_opts *o)
{
    const struct ph_opt_message *m;
    for (size_t i = 0; (m = ph_opts_message(o, i)); i++)
        fprintf(stderr, "stund: %s\n", m->text);
    return ph_opts_failed(o) ? EXIT_OPTIONS : -1;
}

/* Reads the options and opens the log.  Returns an exit status, or -1 to go on. */
static int prepare(struct program *p, int argc, char **argv)
{
    char why[WHY];
    ph_sconf_read(&p->conf, argc, argv);
    const struct ph_sconf *c = &p->conf;
    if (c->help && !ph_opts_failed(c->opts)) {
        puts(
            "Usage: stund [OPTIONS]\n\nA STUN server: tells clients their public address, and with "
            "two addresses how\ntheir NAT behaves.");
        ph_opts_help(c->opts, stdout);
        return 0;
    }
    if (c->version && !ph_opts_failed(c->opts)) {
        puts("stund (Pinhole) " PH_VERSION);
        return 0;
    }
    ph_sconf_plan(&p->conf, &p->plan);
    if (ph_privs_find(&p->privs, c->user, c->group, why, sizeof why) != 0)
        ph_opts_say(c->opts, PH_LOG_ERROR,
                    ph_opts_last(c->opts, c->group ? "proc-group" : "proc-user"), "%s", why);
    int status = complain(c->opts);
    if (status >= 0)
        return status;
    const struct ph_logger_conf log = {.program = "stund",
                                       .level = (enum ph_log_level)c->log_level,
                                       .json = c->log_format == 1,
                                       .file = c->log_file ? c->log_file
                                               : c->daemon ? "syslog"
                                                           : NULL,
                                       .facility = c->log_facility};
    if (ph_logger_open(&p->log, &log, why, sizeof why) != 0) {
        fprintf(stderr, "stund: command line: log-file: %s\n", why);
        return EXIT_OPTIONS;
    }
    p->env = ph_env_system(&p->log.log);
    return -1;
}

/* ---- signals ---- */

static void write_counters(struct program *p)
{
    struct ph_stun_uv_stats s;
    ph_stun_uv_stats(p->server, &s);
    SAY(p, INFO,
        "counters: requests=%" PRIu64 " answers=%" PRIu64 " errors=%" PRIu64 " over_budget=%" PRIu64
        " malformed=%" PRIu64 " ignored=%" PRIu64 " rx_bytes=%" PRIu64 " tx_bytes=%" PRIu64
        " not_sent=%" PRIu64,
        s.stun.requests, s.stun.answers, s.stun.errors, s.stun.over_budget, s.stun.malformed,
        s.stun.ignored, s.io.rx_bytes, s.io.tx_bytes,
        s.io.drop_full + s.io.drop_too_big + s.io.drop_unreachable + s.io.drop_denied +
            s.io.drop_other);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct program *p = handle->data;
    switch (signum) {
    case SIGHUP:
        ph_service_reopen_log(&(struct ph_service){.env = &p->env, .log = &p->log});
        break;
    case SIGUSR1:
        write_counters(p);
        break;
    default: /* SIGTERM, SIGINT */
        SAY(p, INFO, "stopping");
        ph_notify("STOPPING=1");
        uv_stop(&p->loop);
        break;
    }
}

static void watch_signals(struct program *p)
{
    static const int signals[SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more is no reason to end */
    for (unsigned i = 0; i < SIGNALS; i++) {
        uv_signal_init(&p->loop, &p->signal[i]);
        p->signal[i].data = p;
        uv_signal_start(&p->signal[i], on_signal, signals[i]);
    }
}

/* ---- start and end ---- */

/* Without listening-ip we ask for both families, but a machine need not have both. */
static bool do_without(struct program *p, int err, const struct ph_addr *failed)
{
    struct ph_stun_uv_conf *plan = &p->plan;
    if (p->conf.n_listen || plan->n_servers < 2 || (err != -EAFNOSUPPORT && err != -EADDRNOTAVAIL))
        return false;
    SAY(p, WARN, "this machine has no %s", failed->family == PH_AF_INET6 ? "IPv6" : "IPv4");
    if (failed->family == PH_AF_INET)
        plan->server[0] = plan->server[1];
    plan->n_servers = 1;
    return true;
}

static int open_server(struct program *p)
{
    struct ph_addr failed = {0};
    char text[PH_ADDR_TEXT];
    int err;
    p->plan.loop = &p->loop;
    p->plan.env = &p->env;
    do
        err = ph_stun_uv_new(&p->server, &p->plan, &failed);
    while (err && do_without(p, err, &failed));
    if (err && failed.family)
        SAY(p, ERROR, "cannot listen on udp:%s: %s", ph_addr_text(&failed, text), ph_strerror(err));
    else if (err)
        SAY(p, ERROR, "cannot start: %s", ph_strerror(err));
    return err;
}

static void report(struct program *p)
{
    struct ph_addr at;
    char text[PH_ADDR_TEXT];
    for (unsigned n = 0; n < p->plan.n_servers; n++) {
        for (unsigned i = 0; i < PH_STUND_SOCKETS; i++)
            if (ph_stun_uv_local(p->server, n, i, &at) == 0)
                SAY(p, INFO, "listening on udp:%s", ph_addr_text(&at, text));
        if (p->plan.server[n].stund.rfc5780)
            SAY(p, INFO, "RFC 5780 is on for %s", at.family == PH_AF_INET ? "IPv4" : "IPv6");
    }
    if (p->conf.no_budget)
        SAY(p, WARN, "no budget: anybody can have floods reflected by this server");
    SAY(p, INFO, "stund %s is ready", PH_VERSION);
}

static struct ph_service service(struct program *p)
{
    return (struct ph_service){&p->env, &p->log, &p->privs, &p->pidfile};
}

/* From open sockets to being ready. */
static int settle(struct program *p)
{
    const struct ph_service s = service(p);
    if (ph_service_settle(&s, p->conf.pidfile) != 0)
        return -1;
    report(p);
    ph_service_ready(&s, false);
    return 0;
}

static int serve(struct program *p)
{
    int status = 1;
    uv_loop_init(&p->loop);
    watch_signals(p);
    if (open_server(p) == 0) {
        if (settle(p) == 0) {
            uv_run(&p->loop, UV_RUN_DEFAULT);
            write_counters(p);
            status = 0;
        }
        ph_stun_uv_free(p->server);
        uv_run(&p->loop, UV_RUN_NOWAIT);
    }
    ph_service_close_loop(&p->loop);
    ph_pidfile_remove(&p->pidfile);
    return status;
}

int main(int argc, char **argv)
{
    static struct program p = {.pidfile.fd = -1};
    int status = prepare(&p, argc, argv);
    if (status < 0) {
        int err = p.conf.daemon ? ph_daemon_begin() : 0;
        if (err)
            SAY(&p, ERROR, "cannot go into the background: %s", ph_strerror(err));
        status = err ? 1 : serve(&p);
        ph_logger_close(&p.log);
    }
    ph_sconf_fini(&p.conf);
    return status;
}
