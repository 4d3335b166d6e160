/*
 * Where the log lines of a program go: standard error, standard output, a file or syslog; as text or as JSON.
 *
 *     2026-11-22T18:31:05.123Z INFO  listening on 192.0.2.1:3478
 *     {"time":"2026-11-22T18:31:05.123Z","level":"info","program":"stund","message":"listening on ..."}
 *
 * A line may carry fields (ph_log_fields), for those who read logs by program:
 *
 *     2026-11-22T18:31:05.123Z INFO  allocation ended session=001000000000000007 user="alice" to_peer_bytes=1200
 *     {"time":...,"message":"allocation ended","session":"001000000000000007","user":"alice","to_peer_bytes":1200}
 *
 * A line is written by one write(), so lines of several threads do not mix and no lock is needed.  What
 * could steer a terminal or fake another line (controls, broken UTF-8) is escaped.  On standard error that
 * leads to the systemd journal, lines carry the journal's level prefix and no time, which it has itself.
 */
#ifndef PH_CMD_LOG_H
#define PH_CMD_LOG_H

#include "stun/base/addr.h"
#include "stun/base/env.h"
#include "stun/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The words for levels in options, in the order of enum ph_log_level. */
#define PH_LOGGER_LEVELS "error|warning|info|debug"

/* Zero: standard error, text, errors only.  The strings are copied. */
struct ph_logger_conf {
    const char *program; /* for JSON and syslog */
    enum ph_log_level level;
    bool json;
    const char
        *file; /* NULL, "" or "stderr"; "stdout" or "-"; "syslog"; else a file to append to */
    const char *facility;    /* of syslog: "daemon", "LOG_LOCAL0" ...; NULL: daemon */
    const char *time_format; /* as strftime, in local time, %f: milliseconds; NULL: as above, UTC */
    bool also_stderr;        /* a copy to standard error as well */
    int inherited; /* a descriptor of the file, to be used (and closed) if it cannot be opened; 0: none */
};

struct ph_logger {
    struct ph_log log; /* for ph_env */
    int fd;            /* -1: syslog; -2: not open */
    bool json, journal, also_stderr;
    char program[32], time_format[64];
    char path[512]; /* "": not a file of ours */
};

/* Opens it.  Must stay where it is from then on.  Returns 0, or a negative error and a message in why[n]. */
int ph_logger_open(struct ph_logger *l, const struct ph_logger_conf *c, char *why, size_t n);

/* Opens the file anew (after logrotate has moved it).  Lines of other threads go to the old or the new one, none is
 * lost.  Returns 0 (also when it is no file) or -errno: then the old one goes on. */
int ph_logger_reopen(struct ph_logger *l);

/* Gives the file to the user that the program is about to become, so that it can be opened anew.  0 or -errno. */
int ph_logger_chown(struct ph_logger *l, uid_t uid, gid_t gid);

/* Closes it; standard output and error stay open. */
void ph_logger_close(struct ph_logger *l);

/* True if a facility of that name exists. */
bool ph_logger_is_facility(const char *name);

/* ---- fields ---- */

enum ph_log_kind {
    PH_LOG_WORD, /* text: ours, harmless as it is */
    PH_LOG_TEXT, /* text: anybody's; quoted and escaped, cut at PH_LOG_TEXT_MAX bytes */
    PH_LOG_UINT, /* uint */
    PH_LOG_REAL, /* real, with three decimals */
    PH_LOG_ADDRS, /* n addresses (one: a string, not a list, unless `list`) and `more` that are not told */
};

enum { PH_LOG_TEXT_MAX = 1024 };

/* A field of a line.  Nothing is owned. */
struct ph_log_field {
    const char *key; /* as in JSON; not time, level, program or message */
    enum ph_log_kind kind;
    struct ph_slice text;
    uint64_t uint;
    double real;
    const struct ph_addr *addr;
    unsigned n, more;
    bool list;
};

/* Logs a message (ours, no newline) with n fields, if the level is wanted.  In text fields are key=value, in JSON
 * members; numbers are numbers there, addresses strings, and a byte of text that is no UTF-8 becomes U+FFFD.  Fields
 * that would make the line longer than 16 kB are left out: then it ends with truncated=true.  A log that is none of
 * ph_logger_open's gets the text.  Any thread. */
void ph_log_fields(const struct ph_env *e, enum ph_log_level level, const char *message,
                   const struct ph_log_field *f, size_t n);

#endif
