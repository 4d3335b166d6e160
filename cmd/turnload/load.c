/* A load run: threads, progress lines, Ctrl-C, report. */
#include "cmd/turnload/load.h"

#include "cmd/turnload/meter.h"
#include "cmd/turnload/report.h"
#include "cmd/turnload/worker.h"
#include "stun/uv/env.h"
#include "stun/uv/loop.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    if (interrupted)
        _exit(128 + number);
    interrupted = 1;
}

static void watch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

/* An allocation takes a descriptor, and a few are for the rest. */
static bool raise_limit(unsigned allocations)
{
    struct rlimit r;
    rlim_t want = allocations + 64U;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= want)
        return true;
    r.rlim_cur = r.rlim_max < want ? r.rlim_max : want;
    if (setrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur < want) {
        fprintf(stderr,
                "turnload: --allocations: %u need more open files than the limit of %" PRIuMAX
                " allows: raise it with ulimit -n\n",
                allocations, (uintmax_t)r.rlim_max);
        return false;
    }
    return true;
}

/* --- the cost of the server -------------------------------------------------------------- */

/* Between two readings, from the first packet on: what the server has used, for how many packets. */
struct cost {
    struct ph_load_meter before, begin, end; /* any allocation; the first packet; the last one */
    uint64_t packets_begin, packets_end;
    bool known, begun;
};

/* One look at the server while the workers are at it. */
static void measure(struct cost *c, int pid, uint64_t packets, bool sending)
{
    struct ph_load_meter m;
    if (!c->known || (!sending && !c->begun) || !ph_load_meter_read(&m, pid))
        return;
    if (!c->begun) {
        c->begin = m;
        c->packets_begin = packets;
        c->begun = true;
    }
    c->end = m;
    c->packets_end = packets;
}

static struct ph_load_cost summary(const struct cost *c)
{
    struct ph_load_cost s = {.known = c->known && c->begun};
    s.cpu = c->end.cpu - c->begin.cpu;
    s.user = c->end.user - c->begin.user;
    s.user = s.user < 0 ? 0 : s.user > s.cpu ? s.cpu : s.user;
    s.packets = c->packets_end - c->packets_begin;
    s.bytes_before = c->before.bytes;
    s.bytes = c->end.bytes;
    return s;
}

/* --- progress ----------------------------------------------------------------------------- */

struct totals {
    uint64_t up, failed, sent, received, relayed;
    unsigned sending, done;
};

static struct totals add_up(struct ph_load_worker *w, unsigned n)
{
    struct totals t = {0};
    for (unsigned i = 0; i < n; i++) {
        t.up += atomic_load(&w[i].progress.up);
        t.failed += atomic_load(&w[i].progress.failed);
        t.sent += atomic_load(&w[i].progress.sent);
        t.received += atomic_load(&w[i].progress.received);
        t.relayed += atomic_load(&w[i].progress.relayed);
        t.sending += atomic_load(&w[i].progress.sending);
        t.done += atomic_load(&w[i].progress.done);
    }
    return t;
}

static void print_progress(const struct totals *t, const struct totals *before, ph_ns since,
                           ph_ns span, bool tty, bool idle)
{
    double s = (double)span / 1e9;
    fprintf(stderr, "%s%5.0f s  %s, %" PRIu64 " allocations up", tty ? "\r\033[K" : "",
            (double)since / 1e9,
            t->sending ? (idle ? "holding" : "sending")
            : t->sent  ? "finishing"
                       : "setting up",
            t->up);
    if (t->failed)
        fprintf(stderr, ", %" PRIu64 " failed", t->failed);
    if (t->sent)
        fprintf(stderr, ", sent %" PRIu64 " (%.0f/s), received %" PRIu64 " (%.0f/s)", t->sent,
                (double)(t->sent - before->sent) / s, t->received,
                (double)(t->received - before->received) / s);
    fputs(tty ? "" : "\n", stderr);
    fflush(stderr);
}

/* Waits until all workers are done; the worst that can happen to the lines is that they are
 * late. */
static void watch(struct ph_load_run *run, struct ph_load_worker *w, struct cost *cost)
{
    const struct ph_load_args *a = run->args;
    bool tty = isatty(STDERR_FILENO), printed = false, sending = false;
    ph_ns every = tty ? PH_SEC(1) : PH_SEC(10), start = ph_now(), last = start;
    struct totals before = {0};
    for (;;) {
        struct timespec pause = {.tv_nsec = (long)PH_MS(20)};
        nanosleep(&pause, NULL);
        if (interrupted)
            atomic_store(&run->stop, true);
        struct totals t = add_up(w, a->threads);
        bool sends = t.sending > 0;
        if (sends || sending)
            measure(cost, (int)a->server_pid, t.relayed, sends);
        sending = sends;
        if (t.done == a->threads)
            break;
        ph_ns now = ph_now();
        if (a->quiet || now - last < every)
            continue;
        print_progress(&t, &before, now - start, now - last, tty, a->idle);
        printed = true;
        before = t;
        last = now;
    }
    if (printed && tty)
        fputs("\r\033[K", stderr);
}

/* --- threads ------------------------------------------------------------------------------ */

static void *thread_main(void *arg)
{
    ph_load_worker_main(arg);
    return NULL;
}

/* Shares the allocations out, pairs kept together. */
static void share(struct ph_load_run *run, struct ph_load_worker *w)
{
    const struct ph_load_args *a = run->args;
    unsigned unit = a->pairs ? 2 : 1, units = a->allocations / unit, first = 0;
    for (unsigned i = 0; i < a->threads; i++) {
        w[i].run = run;
        w[i].first = first;
        w[i].n = (units / a->threads + (i < units % a->threads)) * unit;
        first += w[i].n;
    }
}

static int finish(struct ph_load_run *run, struct ph_load_worker *w, const struct cost *cost)
{
    const struct ph_load_args *a = run->args;
    for (unsigned i = 0; i < a->threads; i++) {
        if (w[i].error[0]) {
            fprintf(stderr, "turnload: %s\n", w[i].error);
            return 1;
        }
        if (i)
            ph_load_stats_merge(&w->stats, &w[i].stats);
    }
    struct ph_load_report r = {a, run->server, &w->stats, summary(cost), interrupted};
    if (a->json)
        ph_load_report_json(&r, stdout);
    else
        ph_load_report_text(&r, stdout);
    return ph_load_report_verdict(&r) ? 1 : 0;
}

int ph_load_run(const struct ph_load_args *a, const struct ph_addr *server)
{
    struct ph_load_run run = {.args = a, .env = ph_env_system(NULL), .server = *server};
    struct ph_load_worker *w = calloc(a->threads, sizeof *w);
    pthread_t *thread = calloc(a->threads, sizeof *thread);
    struct cost cost = {0};
    char why[PH_LOAD_LINK_WHY];
    int status = 1;
    if (a->server_pid && !(cost.known = ph_load_meter_read(&cost.before, (int)a->server_pid))) {
        fprintf(stderr, "turnload: --server-pid: there is no process %u to be seen\n",
                a->server_pid);
        goto out;
    }
    if (a->proto == PH_TLS || a->proto == PH_DTLS) {
        run.tls = ph_load_tls_new(a->proto, a->host, a->ca, why);
        if (!run.tls) {
            fprintf(stderr, "turnload: %s\n", why);
            goto out;
        }
    }
    if (!w || !thread || !raise_limit(a->allocations))
        goto out;
    run.env.rand(run.env.ctx, &run.id, sizeof run.id);
    atomic_init(&run.setting_up, a->threads);
    share(&run, w);
    watch_signals();
    unsigned n = 0;
    for (; n < a->threads; n++)
        if (pthread_create(&thread[n], NULL, thread_main, &w[n]) != 0)
            break;
    if (n < a->threads) {
        fprintf(stderr, "turnload: --threads: the system allows only %u\n", n);
        atomic_store(&run.stop, true);
    } else {
        watch(&run, w, &cost);
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    if (n == a->threads)
        status = finish(&run, w, &cost);
out:
    ph_load_tls_free(run.tls);
    free(thread);
    free(w);
    return status;
}
