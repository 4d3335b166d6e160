/*
 * What the tests of turn/store share: a loop, a Redis server of their own on a UNIX socket, and one that is made up
 * and misbehaves on purpose.  Both live in a temporary directory; everything runs on the test's one thread, and every
 * wait is bounded.
 */
#ifndef PH_TESTS_UV_REDIS_KIT_H
#define PH_TESTS_UV_REDIS_KIT_H

#include "stun/base/error.h"
#include "stun/uv/env.h"
#include "turn/store/redis.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RKIT_WAIT_MS = 8000, RKIT_TEXT = 512 };

static uv_loop_t loop;
static char rkit_dir[64], rkit_path[96], rkit_log[16384];
static pid_t rkit_pid;
static struct ph_log rkit_sink;
static struct ph_env rkit_env;

static inline void rkit_line(void *ctx, enum ph_log_level level, const char *line)
{
    const size_t at = strlen(rkit_log);

    (void)ctx;
    snprintf(rkit_log + at, sizeof rkit_log - at, "%d %s\n", (int)level, line);
}

/* --- the made-up server ---------------------------------------------------------------------------- */

static struct fake {
    int listener, fd;
    unsigned connections, commands;
    char in[65536];
    size_t n;
    void (*on)(struct fake *f, char **arg, unsigned n); /* a command came */
} fake = {.listener = -1, .fd = -1};

static inline void fake_say(struct fake *f, const char *text)
{
    if (f->fd >= 0)
        cr_assert_eq(send(f->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline void fake_hang_up(struct fake *f)
{
    close(f->fd);
    f->fd = -1;
    f->n = 0;
}

/* Says what a healthy server says to a greeting; true: it was one. */
static inline bool fake_greets(struct fake *f, char **arg)
{
    if (strcmp(arg[0], "PING") == 0)
        fake_say(f, "+PONG\r\n");
    else if (strcmp(arg[0], "AUTH") == 0 || strcmp(arg[0], "SELECT") == 0)
        fake_say(f, "+OK\r\n");
    else
        return false;
    return true;
}

static inline void fake_listen(const struct sockaddr *sa, socklen_t len)
{
    fake.listener = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fake.listener, sa, len), 0, "%s", strerror(errno));
    cr_assert_eq(listen(fake.listener, 8), 0);
}

static inline void fake_listen_unix(void (*on)(struct fake *, char **, unsigned))
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    memcpy(sa.sun_path, rkit_path, strlen(rkit_path));
    fake_listen((struct sockaddr *)&sa, sizeof sa);
    fake.on = on;
}

static inline uint16_t fake_listen_tcp(void (*on)(struct fake *, char **, unsigned))
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;

    fake_listen((struct sockaddr *)&sa, sizeof sa);
    cr_assert_eq(getsockname(fake.listener, (struct sockaddr *)&sa, &len), 0);
    fake.on = on;
    return ntohs(sa.sin_port);
}

/* One command of what was received, if it is complete: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n". */
static inline bool fake_command(struct fake *f)
{
    char *arg[PH_REDIS_ARGS], *p = f->in, *end;
    const unsigned long n = f->n && *p == '*' ? strtoul(p + 1, &end, 10) : 0;

    f->in[f->n] = '\0';
    if (n == 0 || n > PH_REDIS_ARGS)
        return false;
    p = end + 2;
    for (unsigned long i = 0; i < n; i++) {
        if (p >= f->in + f->n || *p != '$')
            return false;
        const unsigned long len = strtoul(p + 1, &end, 10);
        arg[i] = end + 2;
        p = arg[i] + len + 2;
        if (p > f->in + f->n)
            return false;
    }
    for (unsigned long i = 0; i < n; i++)
        arg[i][strcspn(arg[i], "\r")] = '\0'; /* no argument of ours has one */
    char used[sizeof f->in];
    const size_t left = f->n - (size_t)(p - f->in);
    memcpy(used, f->in, (size_t)(p - f->in));
    for (unsigned long i = 0; i < n; i++)
        arg[i] = used + (arg[i] - f->in);
    memmove(f->in, p, left);
    f->n = left;
    f->commands++;
    f->on(f, arg, (unsigned)n);
    return f->fd >= 0;
}

static inline void fake_step(struct fake *f)
{
    const int fd =
        f->listener < 0 ? -1 : accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        if (f->fd >= 0)
            close(f->fd);
        f->fd = fd;
        f->n = 0;
        f->connections++;
    }
    if (f->fd < 0)
        return;
    const ssize_t n = recv(f->fd, f->in + f->n, sizeof f->in - 1 - f->n, 0);
    if (n == 0)
        fake_hang_up(f);
    if (n <= 0)
        return;
    f->n += (size_t)n;
    while (fake_command(f))
        continue;
}

/* --- the loop -------------------------------------------------------------------------------------- */

static inline void rkit_turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    fake_step(&fake);
    usleep(300);
}

static inline void rkit_run_ms(unsigned ms)
{
    const uint64_t end = uv_hrtime() + ms * UINT64_C(1000000);

    while (uv_hrtime() < end)
        rkit_turn();
}

#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        const uint64_t end_ = uv_hrtime() + RKIT_WAIT_MS * UINT64_C(1000000);                      \
        while (!(condition) && uv_hrtime() < end_)                                                 \
            rkit_turn();                                                                           \
        cr_assert(condition, "waited in vain for " #condition "; the log:\n%s", rkit_log);         \
    } while (0)

/* --- the real server ------------------------------------------------------------------------------- */

static inline bool rkit_connectable(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(sa.sun_path, rkit_path, strlen(rkit_path));
    const bool ok = connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    close(fd);
    return ok;
}

/* Starts redis-server with another option (option may be NULL).  Tests are skipped where there is none. */
static inline void rkit_server(const char *option, const char *value)
{
    if (access("/usr/bin/redis-server", X_OK) != 0)
        cr_skip_test("redis-server is not installed");
    rkit_pid = fork();
    if (rkit_pid == 0) {
        const int out = open("/dev/null", O_WRONLY);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out, 1);
        dup2(out, 2);
        execl("/usr/bin/redis-server", "redis-server", "--port", "0", "--unixsocket", rkit_path,
              "--save", "", "--appendonly", "no", "--dir", rkit_dir, option, value, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000 && !rkit_connectable(); i++)
        usleep(5000);
    cr_assert(rkit_connectable(), "redis-server did not start");
}

static inline void rkit_kill(void)
{
    if (!rkit_pid)
        return;
    kill(rkit_pid, SIGKILL);
    waitpid(rkit_pid, NULL, 0);
    rkit_pid = 0;
    unlink(rkit_path);
}

/* --- clients --------------------------------------------------------------------------------------- */

/* The address of either server, ready to be changed. */
static inline struct ph_redis_conf rkit_conf(void)
{
    struct ph_redis_conf c;
    char text[128], why[PH_REDIS_WHY];

    snprintf(text, sizeof text, "unix:%s", rkit_path);
    cr_assert_eq(ph_redis_parse(&c, text, why), 0, "%s", why);
    return c;
}

static inline struct ph_redis *rkit_open(const struct ph_redis_conf *c)
{
    struct ph_redis *r = ph_redis_new(&loop, c, &rkit_env);

    cr_assert_not_null(r);
    return r;
}

static inline struct ph_redis *rkit_connect(const struct ph_redis_conf *c)
{
    struct ph_redis *r = rkit_open(c);

    RUN_UNTIL(ph_redis_stats(r)->up);
    return r;
}

/* What came back, as a line of text. */
struct answer {
    unsigned calls;
    char text[RKIT_TEXT];
};

static inline void rkit_print(char *dst, const redisReply *reply)
{
    const size_t at = strlen(dst), room = RKIT_TEXT - at;

    if (!reply)
        snprintf(dst + at, room, "nothing");
    else if (reply->type == REDIS_REPLY_INTEGER)
        snprintf(dst + at, room, "%lld", reply->integer);
    else if (reply->type == REDIS_REPLY_NIL)
        snprintf(dst + at, room, "nil");
    else if (reply->type != REDIS_REPLY_ARRAY)
        snprintf(dst + at, room, "%s%s", reply->type == REDIS_REPLY_ERROR ? "!" : "", reply->str);
    else
        for (size_t i = 0; i < reply->elements; i++) {
            if (i)
                strcat(dst, " ");
            rkit_print(dst, reply->element[i]);
        }
}

static inline void on_answer(void *ctx, const redisReply *reply)
{
    struct answer *a = ctx;

    a->calls++;
    a->text[0] = '\0';
    rkit_print(a->text, reply);
}

/* Sends a command given as text, with a blank between its arguments. */
static inline int rkit_send(struct ph_redis *r, const char *command, struct answer *a)
{
    struct ph_slice args[PH_REDIS_ARGS];
    unsigned n = 0;

    for (const char *p = command; *p && n < PH_REDIS_ARGS; p += strspn(p, " ")) {
        args[n] = (struct ph_slice){(const uint8_t *)p, strcspn(p, " ")};
        p += args[n++].n;
    }
    return ph_redis_command(r, args, n, on_answer, a);
}

/* Sends it and waits for what comes. */
static inline const char *rkit_ask(struct ph_redis *r, const char *command)
{
    static struct answer a;

    a.calls = 0;
    cr_assert_eq(rkit_send(r, command, &a), 0, "%s cannot be sent", command);
    cr_assert_eq(a.calls, 0, "answered from within");
    RUN_UNTIL(a.calls == 1);
    return a.text;
}

/* Closes everything; the loop must come to its end by itself. */
static inline void rkit_close(struct ph_redis *r)
{
    ph_redis_free(r);
    for (int i = 0; i < 20000 && uv_loop_alive(&loop); i++)
        rkit_turn();
    cr_assert(!uv_loop_alive(&loop), "a handle is left open");
}

static inline void rkit_setup(void)
{
    uv_loop_init(&loop);
    snprintf(rkit_dir, sizeof rkit_dir, "/tmp/pinhole-redis-XXXXXX");
    cr_assert_not_null(mkdtemp(rkit_dir));
    snprintf(rkit_path, sizeof rkit_path, "%s/sock", rkit_dir);
    rkit_sink = (struct ph_log){.fn = rkit_line, .level = PH_LOG_DEBUG};
    rkit_env = ph_env_system(&rkit_sink);
}

static inline void rkit_teardown(void)
{
    rkit_kill();
    if (fake.fd >= 0)
        close(fake.fd);
    if (fake.listener >= 0)
        close(fake.listener);
    unlink(rkit_path);
    rmdir(rkit_dir);
    cr_expect_eq(uv_loop_close(&loop), 0, "the loop still has handles");
}

#endif
