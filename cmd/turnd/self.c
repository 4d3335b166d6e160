/*
 * Starting a program in our place.
 */
#include "cmd/turnd/self.h"

#include "cmd/common/daemon.h"
#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { VARIABLE = 512 };

void ph_tself_hold_files(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return;
}

/* ---- copies ---- */

static size_t count(char *const *v)
{
    size_t n = 0;
    while (v[n])
        n++;
    return n;
}

static void free_list(char **v)
{
    for (size_t i = 0; v && v[i]; i++) {
        ph_wipe(v[i], strlen(v[i]));
        free(v[i]);
    }
    free(v);
}

static bool is_ours(const char *variable)
{
    return strncmp(variable, PH_TSELF_FD "=", sizeof PH_TSELF_FD) == 0 ||
           strncmp(variable, PH_TSELF_FAILED "=", sizeof PH_TSELF_FAILED) == 0;
}

/* A copy, with room for two more. */
static char **copy_list(char *const *v)
{
    char **copy = calloc(count(v) + 3, sizeof *copy);
    for (size_t i = 0, n = 0; copy && v[i]; i++) {
        if (is_ours(v[i]))
            continue;
        copy[n] = strdup(v[i]);
        if (!copy[n++]) {
            free_list(copy);
            return NULL;
        }
    }
    return copy;
}

/* ---- where we are ---- */

static bool find_in_path(const char *name, char *dst, size_t n)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        int k = (int)strcspn(path, ":");
        int len = snprintf(dst, n, "%.*s/%s", k, path, name);
        if (k && *path == '/' && len > 0 && (size_t)len < n && access(dst, X_OK) == 0)
            return true;
        path += k + (path[k] == ':');
    }
    return false;
}

/* A link stays one: whoever installs a new version lets it point there. */
static void find_program(struct ph_tself *s)
{
    const char *name = s->argv[0] ? s->argv[0] : "";
    if (strchr(name, '/') && ph_absolute_path(s->program, sizeof s->program, name) == 0)
        return;
    if (*name && !strchr(name, '/') && find_in_path(name, s->program, sizeof s->program))
        return;
    ssize_t n = readlink("/proc/self/exe", s->program, sizeof s->program - 1);
    s->program[n > 0 ? n : 0] = '\0';
}

int ph_tself_init(struct ph_tself *s, char **argv, char **env)
{
    *s = (struct ph_tself){.argv = copy_list(argv), .env = copy_list(env)};
    if (!s->argv || !s->env) {
        ph_tself_fini(s);
        return PH_E_NOMEM;
    }
    find_program(s);
    if (!getcwd(s->dir, sizeof s->dir))
        s->dir[0] = '\0';
    return 0;
}

void ph_tself_fini(struct ph_tself *s)
{
    free_list(s->argv);
    free_list(s->env);
    *s = (struct ph_tself){0};
}

const char *ph_tself_state_version(void)
{
    _Static_assert(PH_THANDOVER_VERSION == 1 && PH_RECORD_VERSION == 1, "it is told below");
    return "turnd state: hand-over 1, records 1";
}

/* ---- the hand-over ---- */

int ph_tself_seal(const struct ph_thandover *h)
{
    const size_t n = ph_thandover_size(h);
    int fd = memfd_create("turnd hand-over", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    uint8_t *p = MAP_FAILED;
    if (ftruncate(fd, (off_t)n) == 0 && posix_fallocate(fd, 0, (off_t)n) == 0)
        p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        int err = errno ? -errno : -ENOMEM;
        close(fd);
        return err;
    }
    ph_thandover_write(h, p);
    munmap(p, n);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    int err = -errno;
    close(fd);
    return err;
}

/* ---- exec ---- */

static void keep(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
}

/* Everything is closed by exec but what goes over; libraries may have opened more than we know. */
static void keep_only(const struct ph_thandover *h, int fd)
{
    if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) != 0) { /* Linux before 5.11 */
        long max = sysconf(_SC_OPEN_MAX);
        for (int i = 3; i < max; i++)
            fcntl(i, F_SETFD, FD_CLOEXEC);
    }
    keep(fd);
    keep(h->exe_fd);
    keep(h->log_fd);
    keep(h->pid_fd);
    for (unsigned i = 0; i < h->n_doors; i++)
        keep(h->door[i].fd);
    for (unsigned i = 0; i < h->server.n_sockets; i++)
        keep(h->server.socket[i].fd);
}

static void our_signals(int how)
{
    static const int SIGNALS[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++)
        sigaddset(&set, SIGNALS[i]);
    pthread_sigmask(how, &set, NULL);
}

void ph_tself_block(void)
{
    our_signals(SIG_BLOCK);
}

void ph_tself_unblock(void)
{
    our_signals(SIG_UNBLOCK);
}

int ph_tself_exec(const struct ph_tself *s, const struct ph_thandover *h, int fd,
                  const char *program, int exe_fd, const char *failed)
{
    char number[VARIABLE], reason[VARIABLE];
    size_t n = count(s->env);
    char *name = s->argv[0];
    keep_only(h, fd);
    snprintf(number, sizeof number, PH_TSELF_FD "=%d", fd);
    snprintf(reason, sizeof reason, PH_TSELF_FAILED "=%s", failed ? failed : "");
    s->env[n] = number;
    s->env[n + 1] = failed ? reason : NULL;
    s->argv[0] = (char *)(uintptr_t)program;
    if (*s->dir && chdir(s->dir) != 0) {
        /* Relative names will not be found, which the program says. */
    }
    if (exe_fd >= 0)
        fexecve(exe_fd, s->argv, s->env);
    else
        execve(program, s->argv, s->env);
    int err = -errno;
    s->argv[0] = name;
    s->env[n] = s->env[n + 1] = NULL;
    return err;
}
