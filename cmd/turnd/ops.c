/*
 * Operations: drain, stop, revoke, log level, signals, and calls from other threads.  Reloads are in ops_reload.c.
 *
 * Draining ends the program when the last allocation has ended: workers tell of each end (ph_trun.on_down), and what
 * is left is looked at on the main thread.
 */
#include "cmd/turnd/ops_priv.h"

#include "cmd/common/notify.h"
#include "cmd/common/service.h"
#include "stun/base/error.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SAY(o, level, ...) ph_logf(&(o)->run->env, PH_LOG_##level, __VA_ARGS__)

/* systemd waits so much longer than the grace for the end. */
enum { NOTIFY = 160, STOP_MARGIN_S = 10 };

/* A function that somebody waits for. */
struct ph__tops_call {
    struct ph__tops_call *next;
    void (*fn)(void *ctx);
    void *ctx;
    bool done, ran;
};

/* ---- calls ---- */

bool ph_tops_call(struct ph_tops *o, void (*fn)(void *ctx), void *ctx)
{
    struct ph_tops_priv *p = o->priv;
    struct ph__tops_call call = {.fn = fn, .ctx = ctx};
    pthread_mutex_lock(&p->lock);
    if (!p->ended) {
        *p->last = &call;
        p->last = &call.next;
        uv_async_send(&p->wake);
        while (!call.done)
            pthread_cond_wait(&p->answered, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return call.ran;
}

/* Takes the first call off the list; NULL: none. */
static struct ph__tops_call *next_call(struct ph_tops_priv *p)
{
    pthread_mutex_lock(&p->lock);
    struct ph__tops_call *call = p->first;
    if (call)
        p->first = call->next;
    if (!p->first)
        p->last = &p->first;
    pthread_mutex_unlock(&p->lock);
    return call;
}

static void answer(struct ph_tops_priv *p, struct ph__tops_call *call, bool ran)
{
    pthread_mutex_lock(&p->lock);
    call->ran = ran;
    call->done = true;
    pthread_cond_broadcast(&p->answered);
    pthread_mutex_unlock(&p->lock);
}

void ph_tops_end(struct ph_tops *o)
{
    struct ph_tops_priv *p = o->priv;
    struct ph__tops_call *call;
    pthread_mutex_lock(&p->lock);
    p->ended = true;
    pthread_mutex_unlock(&p->lock);
    while ((call = next_call(p)) != NULL)
        answer(p, call, false);
}

void ph_tops_resume(struct ph_tops *o)
{
    pthread_mutex_lock(&o->priv->lock);
    o->priv->ended = false;
    pthread_mutex_unlock(&o->priv->lock);
}

/* ---- draining ---- */

static bool is_draining(const struct ph_tops *o)
{
    return o->run->draining && (o->state == PH_TOPS_DRAINING || o->state == PH_TOPS_STOPPING);
}

static void look_whether_done(struct ph_tops *o)
{
    int64_t left = o->run->allocations;
    int64_t enough = o->state == PH_TOPS_DRAINING ? o->run->conf->drain_min : 0;
    if (!is_draining(o) || left > enough || o->priv->done)
        return;
    o->priv->done = true;
    SAY(o, INFO, "drained: %" PRId64 " allocation%s left", left, left == 1 ? " is" : "s are");
    o->state = PH_TOPS_STOPPING;
    ph_notify("STOPPING=1");
    uv_stop(o->loop);
}

static void on_deadline(uv_timer_t *timer)
{
    struct ph_tops *o = timer->data;
    SAY(o, WARN, "the time for draining is over: %" PRId64 " allocations end now",
        (int64_t)o->run->allocations);
    ph_tops_stop(o, 0);
}

static void on_wake(uv_async_t *h)
{
    struct ph_tops *o = h->data;
    struct ph__tops_call *call;
    while ((call = next_call(o->priv)) != NULL) {
        call->fn(call->ctx);
        answer(o->priv, call, true);
    }
    look_whether_done(o);
}

/* An allocation has ended; on a worker's thread. */
static void on_down(void *ctx, int64_t left)
{
    struct ph_tops *o = ctx;
    (void)left;
    if (o->state == PH_TOPS_DRAINING || o->state == PH_TOPS_STOPPING)
        uv_async_send(&o->priv->wake);
}

static void set_deadline(struct ph_tops *o, uint32_t seconds)
{
    o->drain_until_s = seconds ? (int64_t)time(NULL) + seconds : 0;
    if (seconds)
        uv_timer_start(&o->priv->deadline, on_deadline, (uint64_t)seconds * 1000, 0);
    else
        uv_timer_stop(&o->priv->deadline);
}

static void tell_workers(struct ph_tops *o, bool draining)
{
    o->run->draining = draining;
    ph_trun_tell(o->run, NULL);
}

void ph_tops_drain(struct ph_tops *o, bool on, uint32_t deadline_s)
{
    if (o->state == PH_TOPS_STOPPING || (!on && o->state != PH_TOPS_DRAINING))
        return;
    set_deadline(o, on ? deadline_s : 0);
    o->state = on ? PH_TOPS_DRAINING : PH_TOPS_SERVING;
    tell_workers(o, on);
    if (!on) {
        SAY(o, INFO, "draining has been called off: new clients are served again");
        ph_notify("STATUS=serving");
        return;
    }
    SAY(o, INFO, "draining: no new allocations; the end comes with the last of %" PRId64 "%s",
        (int64_t)o->run->allocations, deadline_s ? ", or at the deadline" : "");
    ph_notify("STATUS=draining");
    /* Not from within: who asked for it is to have an answer. */
    uv_async_send(&o->priv->wake);
}

void ph_tops_stop(struct ph_tops *o, uint32_t grace_s)
{
    char state[NOTIFY];
    o->state = PH_TOPS_STOPPING;
    o->run->enough = true;
    set_deadline(o, grace_s);
    snprintf(state, sizeof state, "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=%" PRIu64,
             ((uint64_t)grace_s + STOP_MARGIN_S) * 1000000);
    ph_notify(state);
    if (!grace_s) {
        SAY(o, INFO, "stopping");
        uv_stop(o->loop);
        return;
    }
    SAY(o, INFO,
        "stopping, in %" PRIu32 " s at the latest, or with the last of %" PRId64 " allocations",
        grace_s, (int64_t)o->run->allocations);
    tell_workers(o, true);
    uv_async_send(&o->priv->wake);
}

/* ---- users and the log ---- */

unsigned ph_tops_revoke(struct ph_tops *o, const char *realm, const char *user)
{
    const struct ph_tconf *c = o->run->conf;
    unsigned n = ph_turn_uv_revoke(o->run->server, ph_str(realm), ph_str(user));
    ph_turn_uv_forget(o->run->server, ph_str(realm ? realm : c->realm), ph_str(user));
    for (unsigned i = 0; !realm && i < c->n_more_realms; i++)
        ph_turn_uv_forget(o->run->server, ph_str(c->more_realm[i].name), ph_str(user));
    return n;
}

void ph_tops_log_level(struct ph_tops *o, enum ph_log_level level)
{
    o->log->log.level = level;
}

/* ---- signals ---- */

void ph_tops_signal(struct ph_tops *o, int signum)
{
    char text[PH_TOPS_TEXT];
    switch (signum) {
    case SIGHUP:
        ph_service_reopen_log(&(struct ph_service){.env = &o->run->env, .log = o->log});
        ph_tops_reload(o, text);
        break;
    case SIGUSR1:
        ph_trun_counters(o->run);
        ph_tops_drain(o, true, o->run->conf->drain_timeout_s);
        break;
    case SIGUSR2:
        ph_tops_reload_certs(o, text);
        break;
    default: /* SIGTERM, SIGINT */
        ph_tops_stop(o, o->state == PH_TOPS_STOPPING || o->state == PH_TOPS_STARTING
                            ? 0
                            : o->run->conf->grace_s);
        break;
    }
}

/* ---- life ---- */

int ph_tops_init(struct ph_tops *o, struct ph_trun *run, struct ph_logger *log, uv_loop_t *loop)
{
    struct ph_tops_priv *p = calloc(1, sizeof *p);
    if (!p)
        return PH_E_NOMEM;
    *o = (struct ph_tops){.run = run, .log = log, .loop = loop, .priv = p};
    o->started_s = (int64_t)time(NULL);
    p->started = run->conf;
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->answered, NULL);
    int err = uv_async_init(loop, &p->wake, on_wake);
    p->wake.data = o;
    uv_timer_init(loop, &p->deadline);
    p->deadline.data = o;
    run->on_down_ctx = o;
    run->on_down = on_down;
    return err;
}

void ph_tops_ready(struct ph_tops *o)
{
    o->started_s = (int64_t)time(NULL);
    o->state = PH_TOPS_SERVING;
}

void ph_tops_fini(struct ph_tops *o)
{
    struct ph_tops_priv *p = o->priv;
    if (!p)
        return;
    if (o->run->conf != p->started) {
        struct ph_tconf *c = o->run->conf;
        o->run->conf = p->started;
        ph_tconf_fini(c);
        free(c);
    }
    pthread_cond_destroy(&p->answered);
    pthread_mutex_destroy(&p->lock);
    free(p);
    o->priv = NULL;
}
