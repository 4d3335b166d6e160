/*
 * Going into the background.
 *
 * Parent and child share a pipe: one byte through it means "ready", its end without a byte "dead".  The lock on a
 * pidfile is one of the open file (not of the process), so it survives the fork and dies with the child.
 */
#include "cmd/common/daemon.h"

#include "stun/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready_fd = -1; /* the child's end of the pipe */

/* The parent's part: never returns. */
static void wait_for(pid_t child, int fd)
{
    char byte;
    int status;
    ssize_t n;
    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(0);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int ph_daemon_begin(void)
{
    int fd[2];
    if (pipe2(fd, O_CLOEXEC) != 0)
        return -errno;
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        int err = -errno;
        close(fd[0]);
        close(fd[1]);
        return err;
    }
    if (child > 0) {
        close(fd[1]);
        wait_for(child, fd[0]);
    }
    close(fd[0]);
    ready_fd = fd[1];
    setsid();
    return 0;
}

void ph_daemon_ready(bool keep_stderr)
{
    if (ready_fd < 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        for (int fd = 0; fd < (keep_stderr ? 2 : 3); fd++)
            dup2(null, fd);
        close(null);
    }
    if (chdir("/") != 0 || write(ready_fd, "", 1) != 1) {
        /* The parent is gone, which is no reason to end. */
    }
    close(ready_fd);
    ready_fd = -1;
}

int ph_absolute_path(char *dst, size_t n, const char *path)
{
    size_t at = 0;
    if (path[0] != '/') {
        if (!getcwd(dst, n))
            return errno == ERANGE ? PH_E_NOSPACE : -errno;
        at = strlen(dst);
        if (at + 1 < n)
            dst[at++] = '/';
    }
    if (strlen(path) >= n - at)
        return PH_E_NOSPACE;
    memcpy(dst + at, path, strlen(path) + 1);
    return 0;
}

/* ---- the pidfile ---- */

static int give_up(struct ph_pidfile *f, const char *what, const char *path, char *why, size_t n)
{
    int err = errno;
    snprintf(why, n, "%s %s: %s", what, path, strerror(err));
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    return -err;
}

static int taken(struct ph_pidfile *f, const char *path, char *why, size_t n)
{
    char pid[16];
    ssize_t k = read(f->fd, pid, sizeof pid - 1);
    pid[k > 0 ? k : 0] = '\0';
    snprintf(why, n, "%s belongs to process %ld, which is running", path, strtol(pid, NULL, 10));
    close(f->fd);
    f->fd = -1;
    return -EAGAIN;
}

int ph_pidfile_create(struct ph_pidfile *f, const char *path, char *why, size_t n)
{
    char pid[16];
    f->fd = -1;
    int err = ph_absolute_path(f->path, sizeof f->path, path);
    if (err) {
        snprintf(why, n, "cannot use %s: %s", path, ph_strerror(err));
        return err;
    }
    f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (f->fd < 0)
        return give_up(f, "cannot open", path, why, n);
    if (flock(f->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? taken(f, path, why, n)
                                    : give_up(f, "cannot lock", path, why, n);
    int len = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(f->fd, 0) != 0 || write(f->fd, pid, (size_t)len) != len)
        return give_up(f, "cannot write", path, why, n);
    return 0;
}

void ph_pidfile_remove(struct ph_pidfile *f)
{
    if (f->fd < 0)
        return;
    if (unlink(f->path) != 0 && ftruncate(f->fd, 0) != 0) {
        /* What stays behind is not locked, so it bothers nobody. */
    }
    close(f->fd);
    f->fd = -1;
}
