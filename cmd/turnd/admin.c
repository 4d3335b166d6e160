/*
 * The doors: listening sockets, their beginning and end, and connections that take too long.
 *
 * Each door has a thread of libmicrohttpd's, which waits for the workers or the main thread while it answers.
 */
#include "cmd/turnd/admin_priv.h"
#include "stun/base/error.h"
#include "stun/uv/sockaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 64, FILE_MAX = 1 << 20, FINISH_MS = 5000 };

/* ---- sockets ---- */

static int64_t monotonic_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* Listens on an address.  The socket, and *at as bound; or -errno. */
static int listen_tcp(struct ph_addr *at)
{
    union ph_sockaddr sa;
    socklen_t n = ph_sockaddr_set(&sa, at);
    const int on = 1;
    int fd = socket(sa.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->family == PH_AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, &sa.sa, n) != 0 || listen(fd, BACKLOG) != 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    n = sizeof sa;
    if (getsockname(fd, &sa.sa, &n) == 0)
        ph_sockaddr_get(at, &sa, PH_TCP);
    return fd;
}

/* Whether somebody answers at a socket file: 0 no (and it may be replaced), else -errno. */
static int probe(const struct sockaddr_un *sa)
{
    struct stat st;
    if (lstat(sa->sun_path, &st) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    bool alive = connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0 || errno != ECONNREFUSED;
    close(fd);
    if (alive)
        return -EADDRINUSE;
    return unlink(sa->sun_path) == 0 ? 0 : -errno;
}

/* Listens on a path.  The file gets the mode of the socket, which is there before it: nobody slips in, and no link that
 * somebody puts in its place is followed. */
static int listen_unix(const char *path, mode_t mode)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path)
        return -ENAMETOOLONG;
    strcpy(sa.sun_path, path);
    int err = probe(&sa);
    if (err)
        return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    mode_t mask = umask(0);
    if (fchmod(fd, mode) != 0 || bind(fd, (const struct sockaddr *)&sa, sizeof sa) != 0 ||
        listen(fd, BACKLOG) != 0)
        err = -errno;
    umask(mask);
    if (err)
        close(fd);
    return err ? err : fd;
}

/* ---- sockets of the program before ---- */

/* One that listens there already; -1: none. */
static int inherited(const struct ph_tadmin_conf *c, enum ph_tadmin_door door, struct ph_addr *at,
                     const char *path)
{
    for (unsigned i = 0; i < c->n_inherit; i++) {
        const struct ph_thandover_door *x = &c->inherit[i];
        struct stat st;
        bool fits = path
                        ? strcmp(x->path, path) == 0 && stat(path, &st) == 0 && S_ISSOCK(st.st_mode)
                        : ph_addr_eq_ip(&x->at, at) && (!at->port || x->at.port == at->port);
        if (x->kind != door || !fits)
            continue;
        int fd = fcntl(x->fd, F_DUPFD_CLOEXEC, 3);
        if (fd >= 0 && !path)
            *at = x->at;
        return fd;
    }
    return -1;
}

unsigned ph_tadmin_leave(struct ph_tadmin *a, struct ph_thandover_door v[static PH_THANDOVER_DOORS])
{
    unsigned n = 0;
    for (unsigned i = 0; a && i < a->n; i++) {
        const struct ph__tadmin_place *p = &a->place[i];
        int fd = MHD_quiesce_daemon(p->mhd);
        if (fd < 0)
            continue;
        v[n] = (struct ph_thandover_door){.kind = (uint8_t)p->door, .at = p->at, .fd = fd};
        if (p->door == PH_DOOR_SOCKET)
            snprintf(v[n].path, sizeof v[n].path, "%s", a->socket_path);
        n++;
    }
    if (a) {
        free(a->socket_path); /* the file stays */
        a->socket_path = NULL;
    }
    return n;
}

/* ---- doors ---- */

static int fail(char why[static PH_TADMIN_WHY], int err, const char *what, const char *where)
{
    snprintf(why, PH_TADMIN_WHY, "cannot serve %s at %s: %s", what, where,
             err == -EEXIST ? "there is a file that is no socket" : ph_strerror(err));
    return err;
}

/* Opens a door and serves it. */
static int open_door(struct ph_tadmin *a, enum ph_tadmin_door door, int fd,
                     const struct ph_addr *at, bool token)
{
    struct ph__tadmin_place *p = &a->place[a->n];
    *p = (struct ph__tadmin_place){
        .a = a, .door = door, .at = *at, .token = token, .tls = door == PH_DOOR_HTTP && a->cert};
    int err = ph__tadmin_serve(p, fd); /* the socket is libmicrohttpd's, whatever comes of it */
    if (!err)
        a->n++;
    return err;
}

static int open_tcp(struct ph_tadmin *a, const struct ph_tadmin_conf *c, enum ph_tadmin_door door,
                    const struct ph_addr *want, char why[static PH_TADMIN_WHY])
{
    static const char *const WHAT[] = {
        [PH_DOOR_HTTP] = "health and metrics",
        [PH_DOOR_API] = "the API",
        [PH_DOOR_WEB] = "the web page",
    };
    char text[PH_ADDR_TEXT];
    struct ph_addr at = *want;
    bool token = door == PH_DOOR_API || (door == PH_DOOR_WEB && !ph_addr_is_loopback(want));
    if (want->family == PH_AF_NONE)
        return 0;
    if (token && !a->token) {
        snprintf(why, PH_TADMIN_WHY, "cannot serve %s at %s: a token is needed there", WHAT[door],
                 ph_addr_text(want, text));
        return PH_E_ARG;
    }
    int fd = inherited(c, door, &at, NULL);
    if (fd < 0)
        fd = listen_tcp(&at);
    int err = fd < 0 ? fd : open_door(a, door, fd, &at, token);
    return err ? fail(why, err, WHAT[door], ph_addr_text(want, text)) : 0;
}

static int open_socket(struct ph_tadmin *a, const struct ph_tadmin_conf *c,
                       char why[static PH_TADMIN_WHY])
{
    struct stat st;
    if (!c->api_socket || !*c->api_socket)
        return 0;
    int fd = inherited(c, PH_DOOR_SOCKET, NULL, c->api_socket);
    if (fd < 0)
        fd = listen_unix(c->api_socket, c->api_socket_mode ? c->api_socket_mode : 0660);
    if (fd < 0)
        return fail(why, fd, "the API", c->api_socket);
    if (stat(c->api_socket, &st) == 0) {
        a->dev = st.st_dev;
        a->ino = st.st_ino;
        a->socket_path = strdup(c->api_socket);
    }
    int err =
        a->socket_path ? open_door(a, PH_DOOR_SOCKET, fd, &(struct ph_addr){0}, false) : PH_E_NOMEM;
    return err ? fail(why, err, "the API", c->api_socket) : 0;
}

/* ---- connections that take too long ---- */

/* Inactivity is libmicrohttpd's business; this is for those who send a byte now and then. */
static void *sweep(void *ctx)
{
    struct ph_tadmin *a = ctx;
    pthread_mutex_lock(&a->lock);
    while (!a->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        for (struct ph__tadmin_conn *c = a->conns; c; c = c->next)
            if (c->since_s && until.tv_sec - c->since_s > PH_TADMIN_REQUEST_S)
                shutdown(c->fd, SHUT_RDWR);
        until.tv_sec++;
        pthread_cond_timedwait(&a->wake, &a->lock, &until);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static int start_sweeper(struct ph_tadmin *a)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wake, &attr);
    pthread_condattr_destroy(&attr);
    int err = pthread_create(&a->sweeper, NULL, sweep, a);
    a->sweeping = !err;
    return -err;
}

static void stop_sweeper(struct ph_tadmin *a)
{
    if (a->sweeping) {
        pthread_mutex_lock(&a->lock);
        a->stop = true;
        pthread_cond_signal(&a->wake);
        pthread_mutex_unlock(&a->lock);
        pthread_join(a->sweeper, NULL);
    }
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
}

struct ph__tadmin_conn *ph__tadmin_conn_new(struct ph_tadmin *a, int fd)
{
    struct ph__tadmin_conn *c = malloc(sizeof *c);
    if (!c)
        return NULL;
    *c = (struct ph__tadmin_conn){.fd = fd, .since_s = monotonic_s()};
    pthread_mutex_lock(&a->lock);
    c->next = a->conns;
    c->link = &a->conns;
    if (c->next)
        c->next->link = &c->next;
    a->conns = c;
    pthread_mutex_unlock(&a->lock);
    return c;
}

void ph__tadmin_conn_mark(struct ph_tadmin *a, struct ph__tadmin_conn *c, bool at_work)
{
    if (!c)
        return;
    pthread_mutex_lock(&a->lock);
    c->since_s = at_work ? 0 : monotonic_s();
    pthread_mutex_unlock(&a->lock);
}

void ph__tadmin_conn_free(struct ph_tadmin *a, struct ph__tadmin_conn *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&a->lock);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    pthread_mutex_unlock(&a->lock);
    free(c);
}

/* ---- life ---- */

/* A whole file as text; NULL and errno. */
static char *read_file(const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return NULL;
    char *text = malloc(FILE_MAX + 1);
    size_t n = text ? fread(text, 1, FILE_MAX, f) : 0;
    fclose(f);
    if (text)
        text[n] = '\0';
    return text;
}

static int take_certificate(struct ph_tadmin *a, const struct ph_tadmin_conf *c,
                            char why[static PH_TADMIN_WHY])
{
    if (!c->http_cert)
        return 0;
    const char *path = c->http_cert;
    a->cert = read_file(path);
    if (a->cert)
        a->key = read_file(path = c->http_key ? c->http_key : path);
    if (a->key)
        return 0;
    int err = errno ? -errno : PH_E_NOMEM;
    snprintf(why, PH_TADMIN_WHY, "cannot read %.160s: %s", path, ph_strerror(err));
    return err;
}

static int open_all(struct ph_tadmin *a, const struct ph_tadmin_conf *c,
                    char why[static PH_TADMIN_WHY])
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the main thread */
    int err = start_sweeper(a);
    if (err)
        snprintf(why, PH_TADMIN_WHY, "cannot start a thread: %s", ph_strerror(err));
    if (!err)
        err = open_tcp(a, c, PH_DOOR_HTTP, &c->http, why);
    if (!err)
        err = open_socket(a, c, why);
    if (!err)
        err = open_tcp(a, c, PH_DOOR_API, &c->api, why);
    if (!err)
        err = open_tcp(a, c, PH_DOOR_WEB, &c->web, why);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return err;
}

int ph_tadmin_start(struct ph_tadmin **out, const struct ph_tadmin_conf *c, struct ph_tops *o,
                    struct ph_tmetrics *m, char why[static PH_TADMIN_WHY])
{
    struct ph_tadmin *a = calloc(1, sizeof *a);
    const char *path = c->metrics_path && *c->metrics_path ? c->metrics_path : "/metrics";
    snprintf(why, PH_TADMIN_WHY, "%s", ph_strerror(PH_E_NOMEM));
    if (!a)
        return PH_E_NOMEM;
    a->ops = o;
    a->metrics = m;
    a->coturn_names = c->coturn_names;
    a->metrics_path = strdup(path);
    a->token = c->token && *c->token ? strdup(c->token) : NULL;
    int err = a->metrics_path && (a->token || !c->token || !*c->token) ? 0 : PH_E_NOMEM;
    if (!err)
        err = take_certificate(a, c, why);
    if (err) {
        pthread_mutex_init(&a->lock, NULL);
        pthread_cond_init(&a->wake, NULL);
    } else {
        err = open_all(a, c, why);
    }
    if (err)
        ph_tadmin_stop(a);
    else
        *out = a;
    return err;
}

/* Who has asked for the end is to have his answer. */
static void finish_requests(struct ph_tadmin *a)
{
    a->ending = true;
    for (int ms = 0; ms < FINISH_MS && a->busy; ms++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void remove_socket(const struct ph_tadmin *a)
{
    struct stat st;
    if (a->socket_path && stat(a->socket_path, &st) == 0 && st.st_dev == a->dev &&
        st.st_ino == a->ino)
        unlink(a->socket_path);
}

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void ph_tadmin_stop(struct ph_tadmin *a)
{
    if (!a)
        return;
    finish_requests(a);
    for (unsigned i = 0; i < a->n; i++)
        MHD_stop_daemon(a->place[i].mhd);
    stop_sweeper(a);
    remove_socket(a);
    wipe(a->token);
    wipe(a->key);
    free(a->cert);
    free(a->metrics_path);
    free(a->socket_path);
    free(a);
}

unsigned ph_tadmin_endpoints(const struct ph_tadmin *a, struct ph_addr *v, unsigned max)
{
    unsigned n = 0;
    for (unsigned i = 0; a && i < a->n && n < max; i++)
        if (a->place[i].at.family != PH_AF_NONE)
            v[n++] = a->place[i].at;
    return n;
}
