/*
 * Going into the background, and the file that says who is there.
 *
 * The parent waits until the child is ready, so its exit status tells whether the service runs; mistakes in the
 * configuration are seen where the program was started.
 */
#ifndef PH_CMD_DAEMON_H
#define PH_CMD_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

/* Forks; only the child returns, in a session of its own.  The parent waits: it exits with 0 once the child calls
 * ph_daemon_ready, and with the child's status if that ends before.  To be called before any thread or loop is
 * made.  Returns 0 or -errno (nothing has happened). */
int ph_daemon_begin(void);

/* Lets the parent go.  Standard input, output and (unless keep_stderr) error lead nowhere from now on, and the
 * working directory is "/".  Does nothing in a process that is not from ph_daemon_begin. */
void ph_daemon_ready(bool keep_stderr);

/* Writes path as one that stays right when the working directory changes.  Returns 0, PH_E_NOSPACE or -errno. */
int ph_absolute_path(char *dst, size_t n, const char *path);

/* A pidfile: it exists, locked, while the service runs. */
struct ph_pidfile {
    int fd; /* -1: none */
    char path[512];
};

/* Creates it (an old one is taken over) and writes our pid.  Returns 0, or a negative error and a message in why[n]:
 * -EAGAIN means that it belongs to another process, which is running. */
int ph_pidfile_create(struct ph_pidfile *f, const char *path, char *why, size_t n);

/* Removes it, or where our user may not do that any more, empties it.  Does nothing when there is none. */
void ph_pidfile_remove(struct ph_pidfile *f);

#endif
