/*
 * Leaving for another program, and having arrived as one.
 */
#include "cmd/turnd/upgrade_priv.h"

#include "cmd/common/notify.h"
#include "cmd/turnd/state.h"
#include "cmd/turnd/statsdb.h"
#include "stun/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SAY(u, level, ...) ph_logf(&(u)->ops->run->env, PH_LOG_##level, __VA_ARGS__)

enum { FLUSH_MS = 200 };

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- the check ---- */

void ph__tupgrade_failed(struct ph_tupgrade *u, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(u->view.error, sizeof u->view.error, fmt, ap);
    va_end(ap);
    u->view.word = "failed";
    u->view.at_s = (int64_t)time(NULL);
    SAY(u, ERROR, "upgrade: nothing has happened: %s", u->view.error);
}

void ph__tupgrade_passed(struct ph_tupgrade *u)
{
    if (u->ops->state != PH_TOPS_SERVING) {
        ph__tupgrade_failed(u, "this server is to end");
        return;
    }
    u->view.word = "leaving";
    u->due = true;
    uv_stop(u->loop);
}

bool ph_tupgrade_is_due(const struct ph_tupgrade *u)
{
    return u && u->due;
}

/* On a worker's thread; the one who asks waits. */
static bool count_one(void *ctx, unsigned worker, const struct ph_turnd_info *i)
{
    struct ph_tupgrade_view *v = ctx;
    (void)worker;
    if (ph_trun_can_carry(i))
        v->carried++;
    else
        v->lost++;
    return true;
}

bool ph_tupgrade_begin(struct ph_tupgrade *u, const char *program, char text[static PH_TOPS_TEXT])
{
    const char *path = program && *program ? program : u->self->program;
    const char *why =
        u->closing || strcmp(u->view.word, "checking") == 0 || u->due ? "an upgrade is under way"
        : u->ops->state == PH_TOPS_DRAINING
            ? "this server drains: call that off first, or let it end and start the new one"
        : u->ops->state != PH_TOPS_SERVING       ? "this server is to end"
        : *path != '/'                           ? "the program must be given with its whole path"
        : strlen(path) >= sizeof u->view.program ? "the path is too long"
                                                 : NULL;
    if (why || access(path, X_OK) != 0) {
        snprintf(text, PH_TOPS_TEXT, "%s%s%.400s", why ? why : strerror(errno), why ? "" : ": ",
                 why ? "" : path);
        return false;
    }
    u->view = (struct ph_tupgrade_view){.word = "checking"};
    u->ops->run->env.rand(u->ops->run->env.ctx, &u->view.id, sizeof u->view.id);
    u->view.id = u->view.id >> 12 | 1; /* exact as a number of JSON */
    snprintf(u->view.program, sizeof u->view.program, "%s", path);
    ph_turn_uv_list(u->ops->run->server, count_one, &u->view);
    SAY(u, INFO, "upgrade: checking %s", path);
    if (ph__tupgrade_run(u, PH__CHECK_STATE) == 0)
        return true;
    snprintf(text, PH_TOPS_TEXT, "%s", u->view.error);
    return false;
}

void ph_tupgrade_look(const struct ph_tupgrade *u, struct ph_tupgrade_view *v)
{
    *v = u->view;
}

/* ---- leaving ---- */

static void tell_systemd(void)
{
    char state[96];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=upgrading",
             now_ns() / 1000);
    ph_notify(state);
}

/* It could not be. */
static int go_on(struct ph_tupgrade *u, struct ph_thttp *http)
{
    ph_tself_unblock();
    ph_tops_resume(u->ops);
    if (ph_thttp_open(http, u->ops) == 0)
        ph_thttp_settled(http);
    ph_notify("READY=1\nSTATUS=serving; the last upgrade has failed");
    return 0;
}

static void fill(const struct ph_tupgrade *u, struct ph_thandover *h, const struct ph_thttp *http,
                 const struct ph_pidfile *pid)
{
    const struct ph_logger *log = u->ops->log;
    h->id = u->view.id;
    snprintf(h->version, sizeof h->version, "%s", PH_VERSION);
    snprintf(h->program, sizeof h->program, "%s", u->self->program);
    h->argv = u->self->argv;
    h->env = u->self->env;
    h->started_s = u->ops->started_s;
    h->log_fd = *log->path ? log->fd : -1;
    h->pid_fd = pid->fd;
    if (pid->fd >= 0)
        snprintf(h->pid_path, sizeof h->pid_path, "%s", pid->path);
    snprintf(h->token, sizeof h->token, "%s", ph_tstate_token(u->ops->run->state));
    h->n_doors = http->n_doors;
    memcpy(h->door, http->door, sizeof h->door);
    h->server.keys = u->ops->run->keys;
}

/* Nothing is left to go on with but the hand-over. */
static int execute(struct ph_tupgrade *u, struct ph_thandover *h)
{
    char why[PH_TUPGRADE_TEXT];
    int fd = ph_tself_seal(h);
    if (fd < 0) {
        SAY(u, ERROR, "upgrade: cannot hand over: %s", ph_strerror(fd));
        return fd;
    }
    SAY(u, INFO, "upgrade: %s goes on with %u allocations; %u cannot be carried", u->view.program,
        h->server.n_records, h->server.lost);
    int err = ph_tself_exec(u->self, h, fd, u->view.program, -1, NULL);
    snprintf(why, sizeof why, "cannot execute %.400s: %s", u->view.program, ph_strerror(err));
    SAY(u, ERROR, "upgrade: %s", why);
    err = ph_tself_exec(u->self, h, fd, u->self->program, h->exe_fd, why);
    SAY(u, ERROR, "upgrade: cannot execute ourselves either: %s", ph_strerror(err));
    return err;
}

int ph_tupgrade_leave(struct ph_tupgrade *u, struct ph_thttp *http, const struct ph_pidfile *pid)
{
    struct ph_trun *r = u->ops->run;
    struct ph_thandover h = {.exe_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC)};
    u->due = false;
    ph_tself_block();
    tell_systemd();
    ph_thttp_leave(http, u->ops);
    if (h.exe_fd < 0) {
        ph__tupgrade_failed(u, "cannot keep this program for going back: %s", strerror(errno));
        return go_on(u, http);
    }
    ph_trun_audit_lost(r);
    ph_turn_uv_flush(r->server, FLUSH_MS); /* still relaying */
    if (r->statsdb) {
        ph_turn_uv_tell_traffic(r->server);
        ph_tstatsdb_flush(r->statsdb, FLUSH_MS);
    }
    h.left_ns = now_ns();
    int err = ph_turn_uv_leave(r->server, &h.server);
    if (err) {
        close(h.exe_fd);
        ph__tupgrade_failed(u, "cannot hand over: %s", ph_strerror(err));
        return go_on(u, http);
    }
    fill(u, &h, http, pid);
    return execute(u, &h);
}

/* ---- having arrived ---- */

void ph_tupgrade_arrived(struct ph_tupgrade *u, const struct ph_tinherit *in)
{
    struct ph_tupgrade_view *v = &u->view;
    const struct ph_turn_uv_handover *s = &in->h.server;
    struct ph_turn_uv_stats stats;
    ph_turn_uv_stats(u->ops->run->server, UINT32_MAX, &stats);
    *v = (struct ph_tupgrade_view){
        .word = *in->failed ? "failed" : "done",
        .id = in->h.id,
        .carried = (unsigned)stats.turn.restored,
        .ms = (now_ns() - in->h.left_ns) / 1000000,
        .at_s = (int64_t)time(NULL),
    };
    v->lost = s->lost + (s->n_records > v->carried ? s->n_records - v->carried : 0);
    snprintf(v->program, sizeof v->program, "%s", u->self->program);
    snprintf(v->from, sizeof v->from, "%s", in->h.version);
    snprintf(v->error, sizeof v->error, "%s", in->failed);
    if (*in->failed)
        SAY(u, ERROR, "upgrade: %s; going on with %s", in->failed, PH_VERSION);
    SAY(u, INFO, "upgraded: from %s to %s, %u sessions carried, %u lost, %" PRId64 " ms", v->from,
        PH_VERSION, v->carried, v->lost, v->ms);
}

/* ---- life ---- */

struct ph_tupgrade *ph_tupgrade_new(uv_loop_t *loop, struct ph_tops *o, const struct ph_tself *self)
{
    struct ph_tupgrade *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->loop = loop;
    u->ops = o;
    u->self = self;
    u->view.word = "none";
    uv_timer_init(loop, &u->limit);
    u->limit.data = u;
    return u;
}

void ph_tupgrade_free(struct ph_tupgrade *u)
{
    free(u);
}
