/*
 * The proxy of redis_proxy.c (which says what it can do), from a test:
 *
 *     struct proxy p = proxy_start("/tmp/x/front", "/tmp/x/redis.sock");   // or ports: "0", "16379"
 *     ... connect to p.at ("/tmp/x/front", or the number of the port) ...
 *     proxy_say(&p, "delay 50");                                           // in force when it returns
 *     proxy_stop(&p);
 *
 * tests/CMakeLists.txt builds the program for those that name this header.
 */
#ifndef PH_TESTS_REDIS_PROXY_H
#define PH_TESTS_REDIS_PROXY_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct proxy {
    pid_t pid;
    int to, from;
    char at[108], answer[160];
};

/* One line of what it says, at most some seconds later. */
static inline void proxy_hear(struct proxy *p)
{
    size_t n = 0;

    for (;;) {
        struct pollfd wait = {.fd = p->from, .events = POLLIN};
        cr_assert_eq(poll(&wait, 1, 5000), 1, "the proxy does not answer");
        cr_assert_eq(read(p->from, p->answer + n, 1), 1, "the proxy has ended");
        if (p->answer[n] == '\n')
            break;
        cr_assert_lt(++n, sizeof p->answer);
    }
    p->answer[n] = '\0';
}

static inline void proxy_exec(int in, int out, const char *at, const char *upstream)
{
    char path[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);

    path[n > 0 ? n : 0] = '\0';
    for (int i = 0; i < 2; i++) /* .../tests/uv/test_x */
        if (strrchr(path, '/'))
            *strrchr(path, '/') = '\0';
    strcat(path, "/support/redis_proxy");
    dup2(in, 0);
    dup2(out, 1);
    execl(path, path, at, upstream, "-", (char *)NULL);
    _exit(127);
}

static inline struct proxy proxy_start(const char *at, const char *upstream)
{
    struct proxy p = {0};
    int in[2], out[2];

    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    p.pid = fork();
    if (p.pid == 0)
        proxy_exec(in[0], out[1], at, upstream);
    close(in[0]);
    close(out[1]);
    p.to = in[1];
    p.from = out[0];
    proxy_hear(&p);
    cr_assert_eq(sscanf(p.answer, "ready %107s", p.at), 1, "%s", p.answer);
    return p;
}

/* A command; its answer is in p->answer. */
static inline void proxy_say(struct proxy *p, const char *command)
{
    char line[64];
    const int n = snprintf(line, sizeof line, "%s\n", command);

    cr_assert_eq(write(p->to, line, (size_t)n), n);
    proxy_hear(p);
    cr_assert_eq(strncmp(p->answer, "ok", 2), 0, "%s", p->answer);
}

/* How many connections it has accepted. */
static inline unsigned proxy_connections(struct proxy *p)
{
    unsigned n = 0;

    proxy_say(p, "stats");
    cr_assert_eq(sscanf(p->answer, "ok stats connections=%u", &n), 1, "%s", p->answer);
    return n;
}

static inline void proxy_stop(struct proxy *p)
{
    close(p->to); /* it ends by that */
    waitpid(p->pid, NULL, 0);
    close(p->from);
    if (strchr(p->at, '/'))
        unlink(p->at);
}

#endif
