/*
 * Taking over from the program before.
 *
 * Whoever can name a descriptor in our environment could start us as he likes anyway; still only memory that is sealed and of
 * our own user is read, and each descriptor must be what it is said to be.
 */
#include "cmd/turnd/inherit.h"

#include "stun/base/error.h"
#include "stun/uv/sockaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- trust ---- */

static bool is_sealed(int fd, struct stat *st)
{
    const int want = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & want) == want && fstat(fd, st) == 0 && st->st_uid == geteuid() &&
           st->st_size > 0;
}

static bool is_socket(int fd, const struct ph_addr *at)
{
    union ph_sockaddr s;
    struct ph_addr bound;
    int type = 0;
    socklen_t n = sizeof type, size = sizeof s;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0 ||
        type != (at->proto == PH_UDP ? SOCK_DGRAM : SOCK_STREAM) ||
        getsockname(fd, &s.sa, &size) != 0)
        return false;
    ph_sockaddr_get(&bound, &s, at->proto);
    return ph_addr_eq_endpoint(&bound, at);
}

static bool is_listening(int fd)
{
    int on = 0;
    socklen_t n = sizeof on;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) == 0 && on;
}

static bool is_file(int fd)
{
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static void set_cloexec(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* What is not what it is said to be is dropped. */
static void check_descriptors(struct ph_thandover *h)
{
    struct ph_turn_uv_handover *s = &h->server;
    unsigned kept = 0;
    for (unsigned i = 0; i < s->n_sockets; i++)
        if (is_socket(s->socket[i].fd, &s->socket[i].at))
            s->socket[kept++] = s->socket[i];
    s->n_sockets = kept;
    kept = 0;
    for (unsigned i = 0; i < h->n_doors; i++)
        if (is_listening(h->door[i].fd))
            h->door[kept++] = h->door[i];
    h->n_doors = kept;
    h->pid_fd = is_file(h->pid_fd) ? h->pid_fd : -1;
    h->log_fd = is_file(h->log_fd) ? h->log_fd : -1;
    h->exe_fd = is_file(h->exe_fd) ? h->exe_fd : -1;
}

/* They are ours from now on, and do not go to whoever else we may start. */
static void own_descriptors(const struct ph_thandover *h)
{
    for (unsigned i = 0; i < h->server.n_sockets; i++)
        set_cloexec(h->server.socket[i].fd);
    for (unsigned i = 0; i < h->n_doors; i++)
        set_cloexec(h->door[i].fd);
    set_cloexec(h->pid_fd);
    set_cloexec(h->log_fd);
    set_cloexec(h->exe_fd);
}

/* ---- taking ---- */

static int read_handover(struct ph_tinherit *in, int fd)
{
    struct stat st;
    if (!is_sealed(fd, &st))
        return PH_E_FORBIDDEN;
    const size_t n = (size_t)st.st_size;
    uint8_t *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    int err = ph_thandover_read(&in->h, (struct ph_slice){p, n});
    munmap(p, n);
    return err;
}

static int number(const char *text)
{
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    return errno || *end || *text < '0' || *text > '9' || v < 3 || v > INT32_MAX ? -1 : (int)v;
}

void ph_tinherit_take(struct ph_tinherit *in)
{
    const char *text = getenv(PH_TSELF_FD), *failed = getenv(PH_TSELF_FAILED);
    *in = (struct ph_tinherit){.fd = -1, .h = {.exe_fd = -1, .log_fd = -1, .pid_fd = -1}};
    if (!text)
        return;
    int fd = number(text);
    int err = fd < 0 ? PH_E_FORMAT : read_handover(in, fd);
    if (err) {
        snprintf(in->odd, sizeof in->odd,
                 PH_TSELF_FD " names nothing that can be taken over (%s): starting without",
                 ph_strerror(err));
    } else {
        in->there = true;
        in->fd = fd;
        snprintf(in->failed, sizeof in->failed, "%s", failed ? failed : "");
        check_descriptors(&in->h);
        own_descriptors(&in->h);
        set_cloexec(fd);
        prctl(PR_SET_NAME,
              "turnd"); /* a program that was executed by a descriptor has its number for a name */
    }
    unsetenv(PH_TSELF_FD);
    unsetenv(PH_TSELF_FAILED);
}

/* ---- and after ---- */

void ph_tinherit_back(struct ph_tinherit *in, const struct ph_tself *self, const char *why)
{
    if (!in->there || *in->failed || in->h.exe_fd < 0)
        return;
    /* As it was started: whoever has started us may have added something. */
    struct ph_tself before = {.argv = in->h.argv, .env = in->h.env};
    snprintf(before.dir, sizeof before.dir, "%s", self->dir);
    if (before.argv[0])
        ph_tself_exec(&before, &in->h, in->fd, in->h.program, in->h.exe_fd, why);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void ph_tinherit_done(struct ph_tinherit *in, int log_fd, int pid_fd)
{
    if (!in->there)
        return;
    close_fd(&in->fd);
    close_fd(&in->h.exe_fd);
    if (in->h.log_fd != log_fd)
        close_fd(&in->h.log_fd);
    if (in->h.pid_fd != pid_fd) {
        if (in->h.pid_fd >= 0)
            unlink(in->h.pid_path);
        close_fd(&in->h.pid_fd);
    }
    ph_thandover_free(&in->h);
    in->there = false;
}
