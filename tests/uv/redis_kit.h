/*
 * What the tests of turn/store share: a loop, a Redis server of their own on a UNIX socket (others on free ports, for
 * sentinels and clusters), and ones that are made up and misbehave on purpose.  All live in a temporary directory;
 * everything runs on the test's one thread, and every wait is bounded.
 */
#ifndef PH_TESTS_UV_REDIS_KIT_H
#define PH_TESTS_UV_REDIS_KIT_H

#include "stun/base/error.h"
#include "stun/uv/env.h"
#include "turn/store/redis.h"

#include <criterion/criterion.h>
#include <dirent.h>
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

enum {
    RKIT_WAIT_MS = 8000,
    RKIT_TEXT = 512,
    RKIT_SERVERS = 8,
    RKIT_FAKES = 4,
    RKIT_CONNS = 4,
    RKIT_OPTIONS = 40
};

static uv_loop_t loop;
static char rkit_dir[64], rkit_path[96], rkit_log[16384];
static pid_t rkit_pid, rkit_pids[RKIT_SERVERS]; /* the one on rkit_path, the others */
static struct ph_log rkit_sink;
static struct ph_env rkit_env;

static inline void rkit_line(void *ctx, enum ph_log_level level, const char *line)
{
    const size_t at = strlen(rkit_log);

    (void)ctx;
    snprintf(rkit_log + at, sizeof rkit_log - at, "%d %s\n", (int)level, line);
}

/* --- the made-up servers --------------------------------------------------------------------------- */

struct fake_conn {
    int fd; /* 0: none */
    char in[65536];
    size_t n;
};

static struct fake {
    int listener;
    struct fake_conn conn[RKIT_CONNS];
    int fd; /* of the connection that spoke, or came, last: that is spoken to */
    unsigned connections, commands;
    uint16_t port;
    void (*on)(struct fake *f, char **arg, unsigned n); /* a command came */
} fake, fake_more[RKIT_FAKES - 1];

static inline struct fake *fake_ith(unsigned i)
{
    return i ? &fake_more[i - 1] : &fake;
}

static inline void fake_say(struct fake *f, const char *text)
{
    if (f->fd > 0)
        cr_assert_eq(send(f->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline void fake_hang_up(struct fake *f)
{
    for (unsigned i = 0; i < RKIT_CONNS && f->fd > 0; i++)
        if (f->conn[i].fd == f->fd)
            f->conn[i].fd = 0;
    if (f->fd > 0)
        close(f->fd);
    f->fd = 0;
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

static inline void fake_listen(struct fake *f, const struct sockaddr *sa, socklen_t len)
{
    f->listener = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    cr_assert_eq(bind(f->listener, sa, len), 0, "%s", strerror(errno));
    cr_assert_eq(listen(f->listener, 8), 0);
}

static inline void fake_listen_unix(void (*on)(struct fake *, char **, unsigned))
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    memcpy(sa.sun_path, rkit_path, strlen(rkit_path));
    fake_listen(&fake, (struct sockaddr *)&sa, sizeof sa);
    fake.on = on;
}

/* The ith of them; on the port that it had before, if there was one. */
static inline uint16_t fake_listen_ith(unsigned i, void (*on)(struct fake *, char **, unsigned))
{
    struct fake *f = fake_ith(i);
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(f->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;

    fake_listen(f, (struct sockaddr *)&sa, sizeof sa);
    cr_assert_eq(getsockname(f->listener, (struct sockaddr *)&sa, &len), 0);
    f->on = on;
    f->port = ntohs(sa.sin_port);
    return f->port;
}

static inline uint16_t fake_listen_tcp(void (*on)(struct fake *, char **, unsigned))
{
    return fake_listen_ith(0, on);
}

static inline void fake_stop(struct fake *f)
{
    for (unsigned i = 0; i < RKIT_CONNS; i++)
        if ((f->fd = f->conn[i].fd) > 0)
            fake_hang_up(f);
    if (f->listener > 0)
        close(f->listener);
    f->listener = 0;
}

/* One command of what was received, if it is complete: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n". */
static inline bool fake_command(struct fake *f, struct fake_conn *c)
{
    char *arg[PH_REDIS_ARGS], *p = c->in, *end;
    const unsigned long n = c->n && *p == '*' ? strtoul(p + 1, &end, 10) : 0;

    c->in[c->n] = '\0';
    if (n == 0 || n > PH_REDIS_ARGS)
        return false;
    p = end + 2;
    for (unsigned long i = 0; i < n; i++) {
        if (p >= c->in + c->n || *p != '$')
            return false;
        const unsigned long len = strtoul(p + 1, &end, 10);
        arg[i] = end + 2;
        p = arg[i] + len + 2;
        if (p > c->in + c->n)
            return false;
    }
    for (unsigned long i = 0; i < n; i++)
        arg[i][strcspn(arg[i], "\r")] = '\0'; /* no argument of ours has one */
    char used[sizeof c->in];
    const size_t left = c->n - (size_t)(p - c->in);
    memcpy(used, c->in, (size_t)(p - c->in));
    for (unsigned long i = 0; i < n; i++)
        arg[i] = used + (arg[i] - c->in);
    memmove(c->in, p, left);
    c->n = left;
    f->commands++;
    f->fd = c->fd;
    f->on(f, arg, (unsigned)n);
    return c->fd > 0;
}

static inline void fake_accept(struct fake *f)
{
    const int fd =
        f->listener > 0 ? accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : 0;
    unsigned i = 0;

    if (fd <= 0)
        return;
    while (i < RKIT_CONNS && f->conn[i].fd > 0)
        i++;
    cr_assert_lt(i, RKIT_CONNS, "too many connections to a made-up server");
    f->conn[i].fd = f->fd = fd;
    f->conn[i].n = 0;
    f->connections++;
}

static inline void fake_step(struct fake *f)
{
    fake_accept(f);
    for (unsigned i = 0; i < RKIT_CONNS; i++) {
        struct fake_conn *c = &f->conn[i];
        const ssize_t n = c->fd > 0 ? recv(c->fd, c->in + c->n, sizeof c->in - 1 - c->n, 0) : -1;
        if (n == 0) {
            f->fd = c->fd;
            fake_hang_up(f);
        }
        if (n <= 0)
            continue;
        c->n += (size_t)n;
        while (fake_command(f, c))
            continue;
    }
}

/* --- the loop -------------------------------------------------------------------------------------- */

static inline void rkit_turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    for (unsigned i = 0; i < RKIT_FAKES; i++)
        fake_step(fake_ith(i));
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

static inline bool rkit_reachable(const struct sockaddr *sa, socklen_t len)
{
    const int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool ok = connect(fd, sa, len) == 0;

    close(fd);
    return ok;
}

static inline bool rkit_connectable(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    memcpy(sa.sun_path, rkit_path, strlen(rkit_path));
    return rkit_reachable((struct sockaddr *)&sa, sizeof sa);
}

static inline void rkit_exec(char **argv)
{
    const int out = open("/dev/null", O_WRONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, 1);
    dup2(out, 2);
    execv("/usr/bin/redis-server", argv);
    _exit(127);
}

/* Starts redis-server with another option (option may be NULL).  Tests are skipped where there is none. */
static inline void rkit_server(const char *option, const char *value)
{
    const char *const argv[] = {
        "redis-server", "--port",       "0",  "--unixsocket", rkit_path, "--save", "", "--dir",
        rkit_dir,       "--appendonly", "no", option,         value,     NULL};

    if (access("/usr/bin/redis-server", X_OK) != 0)
        cr_skip_test("redis-server is not installed");
    rkit_pid = fork();
    if (rkit_pid == 0)
        rkit_exec((char **)argv);
    for (int i = 0; i < 1000 && !rkit_connectable(); i++)
        usleep(5000);
    cr_assert(rkit_connectable(), "redis-server did not start");
}

static inline void rkit_end(pid_t *pid)
{
    if (!*pid)
        return;
    kill(*pid, SIGKILL);
    waitpid(*pid, NULL, 0);
    *pid = 0;
}

static inline void rkit_kill(void)
{
    if (rkit_pid)
        unlink(rkit_path);
    rkit_end(&rkit_pid);
}

static inline bool rkit_is_free(uint16_t port)
{
    const struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool ok = bind(fd, (const struct sockaddr *)&sa, sizeof sa) == 0;

    close(fd);
    return ok;
}

/* A port that nobody listens on, a new one each time.  Not of those that the system gives to connections: one might be
 * taken before we use it. */
static inline uint16_t rkit_port(void)
{
    static unsigned at;

    for (int i = 0; i < 1000; i++) {
        const uint16_t port = (uint16_t)(20000 + ((unsigned)getpid() * 37 + at++) % 12000);
        if (rkit_is_free(port))
            return port;
    }
    cr_assert_fail("there is no free port");
    return 0;
}

static inline void rkit_wait_for(uint16_t port)
{
    const struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool ok = false;

    for (int i = 0; i < 1000 && !(ok = rkit_reachable((const struct sockaddr *)&sa, sizeof sa));
         i++)
        usleep(5000);
    cr_assert(ok, "redis-server did not start");
}

/* Starts redis-server number i (and first ends the one that was) with the words of a text as its arguments; it is
 * to listen on that port of 127.0.0.1.  Tests are skipped where there is none. */
static inline void rkit_start(unsigned i, uint16_t port, const char *words)
{
    static char text[2048];
    char *argv[RKIT_OPTIONS] = {"redis-server"};
    unsigned n = 1;

    if (access("/usr/bin/redis-server", X_OK) != 0)
        cr_skip_test("redis-server is not installed");
    snprintf(text, sizeof text, "%s", words);
    for (char *p = strtok(text, " "); p && n < RKIT_OPTIONS - 1; p = strtok(NULL, " "))
        argv[n++] = p;
    rkit_end(&rkit_pids[i]);
    rkit_pids[i] = fork();
    if (rkit_pids[i] == 0)
        rkit_exec(argv);
    rkit_wait_for(port);
}

/* --- clients --------------------------------------------------------------------------------------- */

/* What an address says. */
static inline struct ph_redis_conf rkit_parse(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static inline struct ph_redis_conf rkit_parse(const char *fmt, ...)
{
    struct ph_redis_conf c;
    char text[1024], why[PH_REDIS_WHY];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cr_assert_eq(ph_redis_parse(&c, text, why), 0, "%s: %s", text, why);
    return c;
}

/* The address of either server, ready to be changed. */
static inline struct ph_redis_conf rkit_conf(void)
{
    return rkit_parse("unix:%s", rkit_path);
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

/* The directory and the files in it. */
static inline void rkit_clear(void)
{
    char path[sizeof rkit_dir + 256];
    DIR *d = opendir(rkit_dir);

    for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "%s/%.250s", rkit_dir, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(rkit_dir);
}

static inline void rkit_teardown(void)
{
    rkit_kill();
    for (unsigned i = 0; i < RKIT_SERVERS; i++)
        rkit_end(&rkit_pids[i]);
    for (unsigned i = 0; i < RKIT_FAKES; i++)
        fake_stop(fake_ith(i));
    rkit_clear();
    cr_expect_eq(uv_loop_close(&loop), 0, "the loop still has handles");
}

#endif
