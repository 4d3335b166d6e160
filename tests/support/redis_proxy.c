/*
 * A proxy that stands between a program and its Redis (or any other server) and makes trouble on command.
 *
 *     redis_proxy LISTEN UPSTREAM CONTROL
 *
 * LISTEN and UPSTREAM are each the path of a UNIX socket (with a '/' in it) or a port of 127.0.0.1; LISTEN 0 is any
 * free port.  Once it listens it says "ready LISTEN" on its standard output.  CONTROL is where commands come from,
 * one in a line: the path of a FIFO, which it makes, or "-" for its standard input, at whose end it ends.  Each
 * command is answered by a line on the standard output, "ok ..." once it is in force or "bad ...".
 *
 *     pass        everything goes through (as at the start), also what other commands have held back
 *     delay MS    what comes goes on MS milliseconds later, each way
 *     stall       nothing is read from anybody
 *     mute        the server hears everything, its replies vanish
 *     garbage     each byte of the server becomes another one (the same sequence in every run)
 *     cut N       N bytes more of the server, in all, then all connections are closed; after that as before
 *     reset       all connections end at once, by RST where that is possible; after that as before
 *     refuse      the same, and nobody is listening any more until `pass`
 *     stats       "ok stats connections=N open=N up=BYTES down=BYTES": accepted, still there, to the server, from it
 *
 * From Criterion tests: support/redis_proxy.h.  From a script (tests/interop/lib.sh):
 *
 *     start proxy "$PINHOLE_BUILD/tests/support/redis_proxy" 16380 16379 "$T/control"
 *     wait_for 5 "the proxy" test -p "$T/control"
 *     echo stall >"$T/control"
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CONNS = 128, BUFFER = 1 << 18, PIECES = 64, LINE = 128 };

enum mode { PASS, DELAY, STALL, MUTE, GARBAGE, REFUSE };

/* Bytes on their way, in pieces that are due one after another. */
struct way {
    char buf[BUFFER];
    size_t n;
    struct {
        size_t n;
        int64_t due_ms;
    } piece[PIECES];
    unsigned pieces;
    bool eof;
};

/* [0] is the client, [1] the server; way[i] holds what i has said. */
struct conn {
    int fd[2];
    struct way way[2];
};

static struct conn *conns[CONNS];
static enum mode mode;
static long delay_ms, cut_left = -1;
static int listener = -1;
static char listen_at[108], upstream[108];
static uint64_t accepted, bytes[2]; /* said by clients, by the server */
static uint32_t noise = 2463534242U;

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void die(const char *what)
{
    fprintf(stderr, "redis_proxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- sockets --------------------------------------------------------------------------------------- */

union address {
    struct sockaddr sa;
    struct sockaddr_un un;
    struct sockaddr_in in;
};

static socklen_t address_of(const char *text, union address *a)
{
    memset(a, 0, sizeof *a);
    if (strchr(text, '/')) {
        a->un.sun_family = AF_UNIX;
        snprintf(a->un.sun_path, sizeof a->un.sun_path, "%.107s", text);
        return sizeof a->un;
    }
    a->in.sin_family = AF_INET;
    a->in.sin_port = htons((uint16_t)atoi(text));
    a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof a->in;
}

static void listen_now(void)
{
    union address a;
    socklen_t len = address_of(listen_at, &a);

    if (a.sa.sa_family == AF_UNIX)
        unlink(listen_at);
    listener = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, &a.sa, len) != 0 || listen(listener, 64) != 0)
        die(listen_at);
    if (a.sa.sa_family == AF_INET && getsockname(listener, &a.sa, &len) == 0)
        snprintf(listen_at, sizeof listen_at, "%u", (unsigned)ntohs(a.in.sin_port));
}

static void deafen(void)
{
    if (listener >= 0)
        close(listener);
    listener = -1;
    if (strchr(listen_at, '/'))
        unlink(listen_at);
}

static void close_conn(unsigned i, bool reset)
{
    const struct linger now = {.l_onoff = 1};

    for (int k = 0; k < 2; k++) {
        if (reset)
            setsockopt(conns[i]->fd[k], SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(conns[i]->fd[k]);
    }
    free(conns[i]);
    conns[i] = NULL;
}

static void close_all(bool reset)
{
    for (unsigned i = 0; i < CONNS; i++)
        if (conns[i])
            close_conn(i, reset);
}

static int reach(void)
{
    union address a;
    const socklen_t len = address_of(upstream, &a);
    const int fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, &a.sa, len) == 0) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        return fd;
    }
    close(fd);
    return -1;
}

static void on_client(void)
{
    const int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    unsigned i = 0;

    if (client < 0)
        return;
    while (i < CONNS && conns[i])
        i++;
    const int server = i < CONNS ? reach() : -1;
    struct conn *c = server < 0 ? NULL : calloc(1, sizeof *c);
    if (!c) {
        close(client);
        if (server >= 0)
            close(server);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    c->fd[0] = client;
    c->fd[1] = server;
    conns[i] = c;
    accepted++;
}

/* --- bytes ----------------------------------------------------------------------------------------- */

static void spoil(char *p, size_t n)
{
    for (; n; n--) {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        *p++ = (char)(noise >> 24);
    }
}

static bool has_room(const struct way *w)
{
    return mode != STALL && !w->eof && w->n < BUFFER && w->pieces < PIECES;
}

/* What is to be read of a side. */
static void read_side(struct conn *c, int side)
{
    struct way *w = &c->way[side];
    char *const at = w->buf + w->n;
    const ssize_t n = recv(c->fd[side], at, BUFFER - w->n, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        w->eof = true;
        return;
    }
    bytes[side] += (uint64_t)n;
    if (side == 1 && mode == MUTE)
        return;
    if (side == 1 && mode == GARBAGE)
        spoil(at, (size_t)n);
    w->n += (size_t)n;
    w->piece[w->pieces].n = (size_t)n;
    w->piece[w->pieces++].due_ms = now_ms() + (mode == DELAY ? delay_ms : 0);
}

/* How many bytes of a side may go on now. */
static size_t ripe(const struct way *w)
{
    size_t n = 0;

    for (unsigned i = 0; i < w->pieces && w->piece[i].due_ms <= now_ms(); i++)
        n += w->piece[i].n;
    return mode == STALL ? 0 : n;
}

static void take_off(struct way *w, size_t n)
{
    unsigned gone = 0;

    w->n -= n;
    memmove(w->buf, w->buf + n, w->n);
    while (n >= w->piece[gone].n && gone < w->pieces)
        n -= w->piece[gone++].n;
    w->pieces -= gone;
    memmove(w->piece, w->piece + gone, w->pieces * sizeof *w->piece);
    if (w->pieces)
        w->piece[0].n -= n;
}

/* False: the connection is over. */
static bool write_on(struct conn *c, int side)
{
    struct way *w = &c->way[side];
    size_t n = ripe(w);

    if (side == 1 && cut_left >= 0 && n > (size_t)cut_left)
        n = (size_t)cut_left;
    const ssize_t k = n ? send(c->fd[!side], w->buf, n, MSG_NOSIGNAL) : 0;
    if (k < 0)
        return errno == EAGAIN || errno == EINTR;
    take_off(w, (size_t)k);
    if (side == 1 && cut_left > 0)
        cut_left -= k;
    return !(w->eof && w->n == 0);
}

static void move_bytes(void)
{
    for (unsigned i = 0; i < CONNS; i++)
        if (conns[i] && (!write_on(conns[i], 0) || !write_on(conns[i], 1)))
            close_conn(i, false);
    if (cut_left == 0) {
        close_all(false);
        cut_left = -1;
    }
}

/* When the next piece is due, in ms; -1: nobody knows. */
static int next_due(void)
{
    int64_t due = -1;

    for (unsigned i = 0; i < CONNS; i++)
        for (int side = 0; side < 2 && conns[i] && mode != STALL; side++) {
            const struct way *w = &conns[i]->way[side];
            if (w->pieces && ripe(w) == 0 && (due < 0 || w->piece[0].due_ms < due))
                due = w->piece[0].due_ms;
        }
    return due < 0 ? -1 : due > now_ms() ? (int)(due - now_ms()) : 0;
}

/* --- commands -------------------------------------------------------------------------------------- */

static void ripen_all(void)
{
    for (unsigned i = 0; i < CONNS; i++)
        for (int side = 0; side < 2 && conns[i]; side++)
            for (unsigned k = 0; k < conns[i]->way[side].pieces; k++)
                conns[i]->way[side].piece[k].due_ms = 0;
}

static void set_mode(enum mode m)
{
    mode = m;
    cut_left = -1;
    if (m == PASS)
        ripen_all();
    if (m == REFUSE)
        deafen();
    else if (listener < 0)
        listen_now();
    if (m == REFUSE)
        close_all(true);
}

static void say_stats(void)
{
    unsigned open = 0;

    for (unsigned i = 0; i < CONNS; i++)
        open += conns[i] != NULL;
    printf("ok stats connections=%llu open=%u up=%llu down=%llu\n", (unsigned long long)accepted,
           open, (unsigned long long)bytes[0], (unsigned long long)bytes[1]);
}

static bool obey(const char *line)
{
    static const struct {
        const char *name;
        enum mode mode;
    } modes[] = {
        {"pass", PASS}, {"stall", STALL}, {"mute", MUTE}, {"garbage", GARBAGE}, {"refuse", REFUSE}};
    long n;

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(line, modes[i].name) == 0) {
            set_mode(modes[i].mode);
            return true;
        }
    if (sscanf(line, "delay %ld", &n) == 1 && n >= 0) {
        set_mode(DELAY);
        delay_ms = n;
        return true;
    }
    if (sscanf(line, "cut %ld", &n) == 1 && n >= 0) {
        cut_left = n;
        return true;
    }
    if (strcmp(line, "reset") == 0) {
        close_all(true);
        return true;
    }
    return false;
}

static void on_line(const char *line)
{
    if (!*line)
        return;
    if (strcmp(line, "stats") == 0)
        say_stats();
    else if (obey(line))
        printf("ok %s\n", line);
    else
        printf("bad %s\n", line);
    fflush(stdout);
}

/* False: there will be no more. */
static bool on_control(int fd)
{
    static char text[LINE];
    static size_t n;
    const ssize_t k = read(fd, text + n, sizeof text - 1 - n);

    if (k <= 0)
        return k < 0 && (errno == EAGAIN || errno == EINTR);
    n += (size_t)k;
    text[n] = '\0';
    for (char *end; (end = strchr(text, '\n')) != NULL;) {
        *end = '\0';
        on_line(text);
        n -= (size_t)(end + 1 - text);
        memmove(text, end + 1, n + 1);
    }
    if (n == sizeof text - 1) /* no command is as long */
        n = 0;
    return true;
}

static int open_control(const char *path)
{
    if (strcmp(path, "-") == 0)
        return 0;
    if (mkfifo(path, 0600) != 0 && errno != EEXIST)
        die(path);
    const int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); /* RDWR: it has no end */
    if (fd < 0)
        die(path);
    return fd;
}

/* --- the loop -------------------------------------------------------------------------------------- */

static nfds_t watch(struct pollfd *p, int control)
{
    nfds_t n = 0;

    p[n++] = (struct pollfd){.fd = control, .events = POLLIN};
    p[n++] = (struct pollfd){.fd = listener, .events = POLLIN}; /* -1 is left out */
    for (unsigned i = 0; i < CONNS; i++)
        for (int side = 0; side < 2 && conns[i]; side++) {
            const struct conn *c = conns[i];
            const short events = (short)((has_room(&c->way[side]) ? POLLIN : 0) |
                                         (ripe(&c->way[!side]) ? POLLOUT : 0));
            p[n++] = (struct pollfd){.fd = events ? c->fd[side] : -1, .events = events};
        }
    return n;
}

static void read_all(const struct pollfd *p)
{
    for (unsigned i = 0; i < CONNS; i++)
        for (int side = 0; side < 2 && conns[i]; side++, p++)
            if ((p->revents & (POLLIN | POLLHUP | POLLERR)) && has_room(&conns[i]->way[side]))
                read_side(conns[i], side);
}

int main(int argc, char **argv)
{
    struct pollfd p[2 + 2 * CONNS];

    if (argc != 4) {
        fputs("usage: redis_proxy LISTEN UPSTREAM CONTROL\n", stderr);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    snprintf(listen_at, sizeof listen_at, "%s", argv[1]);
    snprintf(upstream, sizeof upstream, "%s", argv[2]);
    const int control = open_control(argv[3]);
    listen_now();
    printf("ready %s\n", listen_at);
    fflush(stdout);
    for (;;) {
        if (poll(p, watch(p, control), next_due()) < 0 && errno != EINTR)
            die("poll");
        read_all(p + 2); /* before anything changes what p stands for */
        if (p[1].revents)
            on_client();
        if (p[0].revents && !on_control(control))
            return 0;
        move_bytes();
    }
}
