/*
 * The new program, run beside us with what it will be run with: --state-version, then --check-config.
 */
#include "cmd/turnd/upgrade_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_MS = 10000, KEPT = PH__TUPGRADE_OUTPUT / 2 };

/* ---- what it says ---- */

static void add_output(struct ph_tupgrade *u, const char *p, size_t n)
{
    if (u->n + n > PH__TUPGRADE_OUTPUT) { /* the end is what matters */
        size_t keep = u->n < KEPT ? u->n : KEPT;
        memmove(u->output, u->output + u->n - keep, keep);
        u->n = keep;
    }
    memcpy(u->output + u->n, p, n);
    u->n += n;
    u->output[u->n] = '\0';
}

/* The lines that tell of errors, or else the last one. */
static void pick(const struct ph_tupgrade *u, char *dst, size_t room)
{
    static const char MARK[] = "error: ";
    const char *last = "", *line = u->output;
    size_t at = 0, last_n = 0;
    *dst = '\0';
    while (*line) {
        size_t n = strcspn(line, "\n");
        const char *error = memmem(line, n, MARK, sizeof MARK - 1);
        if (error && at < room)
            at += (size_t)snprintf(dst + at, room - at, "%s%.*s", at ? "; " : "",
                                   (int)(n - (size_t)(error - line) - (sizeof MARK - 1)),
                                   error + sizeof MARK - 1);
        if (n) {
            last = line;
            last_n = n;
        }
        line += n + (line[n] == '\n');
    }
    if (!at)
        snprintf(dst, room, "%.*s", (int)(last_n < room ? last_n : room), last);
}

static bool is_our_state(const struct ph_tupgrade *u)
{
    const char *want = ph_tself_state_version();
    size_t n = strlen(want);
    return strncmp(u->output, want, n) == 0 && (u->output[n] == '\n' || !u->output[n]);
}

static void judge(struct ph_tupgrade *u)
{
    char said[PH_TUPGRADE_TEXT / 2];
    pick(u, said, sizeof said);
    const char *what = u->check == PH__CHECK_STATE ? "--state-version" : "--check-config";
    if (u->late)
        ph__tupgrade_failed(u, "%s %s did not end within %d s", u->view.program, what,
                            LIMIT_MS / 1000);
    else if (u->signal)
        ph__tupgrade_failed(u, "%s %s died of signal %d", u->view.program, what, u->signal);
    else if (u->status && u->check == PH__CHECK_CONFIG)
        ph__tupgrade_failed(u, "%s refuses the configuration: %s", u->view.program, said);
    else if (u->status || (u->check == PH__CHECK_STATE && !is_our_state(u)))
        ph__tupgrade_failed(u,
                            "%s does not take over this program's state: it is no turnd, or one "
                            "that needs a restart",
                            u->view.program);
    else if (u->check == PH__CHECK_CONFIG)
        ph__tupgrade_passed(u);
    else
        ph__tupgrade_run(u, PH__CHECK_CONFIG);
}

/* ---- the child ---- */

static void on_closed(uv_handle_t *h)
{
    struct ph_tupgrade *u = h->data;
    if (--u->closing == 0 && u->view.word && strcmp(u->view.word, "checking") == 0)
        judge(u);
}

static void finish(struct ph_tupgrade *u)
{
    uv_timer_stop(&u->limit);
    u->closing = 2;
    uv_close((uv_handle_t *)&u->child, on_closed);
    uv_close((uv_handle_t *)&u->output_poll, on_closed);
    close(u->fd);
}

static void on_exit_of(uv_process_t *child, int64_t status, int signal)
{
    struct ph_tupgrade *u = child->data;
    u->status = status;
    u->signal = signal;
    u->ended = true;
    if (u->silent)
        finish(u);
}

/* The other end is closed, or is not listened to any more. */
static void end_output(struct ph_tupgrade *u)
{
    uv_poll_stop(&u->output_poll);
    u->silent = true;
    if (u->ended)
        finish(u);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct ph_tupgrade *u = poll->data;
    char text[4096];
    (void)events;
    ssize_t n = status < 0 ? 0 : read(u->fd, text, sizeof text);
    if (n > 0)
        add_output(u, text, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        end_output(u);
}

static void on_limit(uv_timer_t *timer)
{
    struct ph_tupgrade *u = timer->data;
    u->late = true;
    if (!u->ended)
        uv_process_kill(&u->child, SIGKILL);
    end_output(u); /* whatever it has started may hold the other end */
}

/* argv of the child, whose strings are ours.  NULL: out of memory. */
static char **arguments(struct ph_tupgrade *u, enum ph__tupgrade_check check)
{
    static char state[] = "--state-version", config[] = "--check-config";
    size_t n = 0, at = 0;
    while (u->self->argv[n])
        n++;
    char **v = calloc(n + 3, sizeof *v);
    if (!v)
        return NULL;
    v[at++] = u->view.program;
    v[at++] = check == PH__CHECK_STATE ? state : config;
    for (size_t i = 1; i < n && check == PH__CHECK_CONFIG; i++)
        v[at++] = u->self->argv[i];
    return v;
}

static int spawn(struct ph_tupgrade *u, char **args, int fd)
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = fd},
        {.flags = UV_INHERIT_FD, .data.fd = fd},
    };
    const uv_process_options_t o = {
        .exit_cb = on_exit_of,
        .file = u->view.program,
        .args = args,
        .env = u->self->env,
        .cwd = *u->self->dir ? u->self->dir : NULL,
        .stdio = stdio,
        .stdio_count = 3,
    };
    return uv_spawn(u->loop, &u->child, &o);
}

int ph__tupgrade_run(struct ph_tupgrade *u, enum ph__tupgrade_check check)
{
    int fd[2];
    char **args = arguments(u, check);
    int err = !args ? -ENOMEM : pipe2(fd, O_CLOEXEC) != 0 ? -errno : 0;
    if (err) {
        free(args);
        ph__tupgrade_failed(u, "cannot run %s: %s", u->view.program, strerror(-err));
        return err;
    }
    u->check = check;
    u->n = 0;
    u->output[0] = '\0';
    u->ended = u->silent = u->late = false;
    u->child = (uv_process_t){.data = u};
    u->fd = fd[0];
    uv_poll_init(u->loop, &u->output_poll, u->fd);
    u->output_poll.data = u;
    err = spawn(u, args, fd[1]);
    close(fd[1]);
    free(args);
    if (err) {
        ph__tupgrade_failed(u, "cannot run %s: %s", u->view.program, uv_strerror(err));
        finish(u);
        return err;
    }
    uv_poll_start(&u->output_poll, UV_READABLE, on_readable);
    uv_timer_start(&u->limit, on_limit, LIMIT_MS, 0);
    return 0;
}
