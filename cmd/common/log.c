/*
 * Log lines: time, level, escaped text, fields.
 */
#include "cmd/common/log.h"

#include "cmd/common/daemon.h"
#include "stun/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* A message of 1023 bytes whose every byte becomes six ("\u001b") and what goes around it fit with room for fields;
 * TAIL bytes are kept for what ends a line. */
enum { LINE = 16384, TAIL = 32, STAMP = 96, SYSLOG = -1, CLOSED = -2 };

static const struct {
    const char *text, *json;
    int priority;
} levels[] = {
    [PH_LOG_ERROR] = {"ERROR", "error", LOG_ERR},
    [PH_LOG_WARN] = {"WARN ", "warning", LOG_WARNING},
    [PH_LOG_INFO] = {"INFO ", "info", LOG_INFO},
    [PH_LOG_DEBUG] = {"DEBUG", "debug", LOG_DEBUG},
};

/* ---- text ---- */

/* A line under construction; what does not fit is cut. */
struct line {
    char b[LINE + TAIL];
    size_t n;
    bool full; /* something was cut */
};

static void put(struct line *l, const char *s, size_t n)
{
    size_t room = l->n < LINE ? LINE - l->n : 0;
    l->full = l->full || n > room;
    n = n < room ? n : room;
    memcpy(l->b + l->n, s, n);
    l->n += n;
}

/* The same into the part that is kept for the end. */
static void put_tail(struct line *l, const char *s)
{
    size_t n = strlen(s);
    memcpy(l->b + l->n, s, n);
    l->n += n;
}

static void put_text(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

/* The bytes of the UTF-8 character at p (n > 0 left), or 0 if it is broken. */
static size_t character(const uint8_t *p, size_t n)
{
    size_t k = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (k == 0 || k > n || p[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < k; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, beyond U+10FFFF. */
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
        (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return k;
}

/* The code point of a control character (C0, DEL, C1) or of one that is not seen but turns the line round or breaks it
 * (U+200B to 200F, 2028 to 202E, 2060 to 206F, FEFF), or -1. */
static int control(const uint8_t *p, size_t k)
{
    if (k == 1)
        return p[0] < 0x20 || p[0] == 0x7F ? p[0] : -1;
    if (k == 2)
        return p[0] == 0xC2 && p[1] < 0xA0 ? p[1] : -1;
    int c = k == 3 ? (p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F) : 0;
    return (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
                   (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF
               ? c
               : -1;
}

/* How text is escaped: bare text of ours, in quotes behind a key, in JSON. */
enum escape { BARE, QUOTED, JSON };

static void put_bytes(struct line *l, struct ph_slice s, enum escape how)
{
    char esc[8];
    const uint8_t *p = s.p;
    for (size_t n = s.n, k; n; p += k, n -= k) {
        k = character(p, n);
        int c = k ? control(p, k) : -1;
        if (k && c < 0) {
            if (how != BARE && (*p == '"' || *p == '\\'))
                put_text(l, "\\");
            put(l, (const char *)p, k);
            continue;
        }
        if (how == JSON && !k)
            put_text(l, "\\ufffd");
        else
            put(l, esc,
                (size_t)snprintf(esc, sizeof esc,
                                 how == JSON || (k && c > 0xFF) ? "\\u%04x" : "\\x%02x",
                                 (unsigned)(k ? c : *p)));
        k = k ? k : 1;
    }
}

static void put_escaped(struct line *l, const char *s, bool json)
{
    put_bytes(l, ph_str(s), json ? JSON : BARE);
}

/* ---- time ---- */

/* The format with "%f" replaced by the milliseconds, which strftime does not know. */
static void put_milliseconds(char *dst, size_t cap, const char *format, int ms)
{
    size_t n = 0;
    for (const char *f = format; *f && n + 4 < cap; f++) {
        if (f[0] == '%' && f[1] == 'f') {
            n += (size_t)snprintf(dst + n, cap - n, "%03d", ms);
            f++;
        } else {
            dst[n++] = *f;
            if (f[0] == '%' && f[1])
                dst[n++] = *++f;
        }
    }
    dst[n] = '\0';
}

static void stamp(const struct ph_logger *l, char dst[static STAMP])
{
    struct timespec now;
    struct tm tm;
    char format[STAMP];
    const bool utc = l->time_format[0] == '\0';
    clock_gettime(CLOCK_REALTIME, &now);
    if (utc)
        gmtime_r(&now.tv_sec, &tm);
    else
        localtime_r(&now.tv_sec, &tm);
    put_milliseconds(format, sizeof format, utc ? "%Y-%m-%dT%H:%M:%S.%fZ" : l->time_format,
                     (int)(now.tv_nsec / 1000000));
    if (strftime(dst, STAMP, format, &tm) == 0)
        dst[0] = '\0';
}

/* ---- writing ---- */

static void write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return; /* nowhere to complain */
        p += k;
        n -= (size_t)k;
    }
}

/* ---- fields ---- */

static void put_number(struct line *l, const struct ph_log_field *f)
{
    char text[32];
    if (f->kind == PH_LOG_UINT)
        snprintf(text, sizeof text, "%" PRIu64, f->uint);
    else
        snprintf(text, sizeof text, "%.3f", f->real);
    put_text(l, text);
}

static void put_string(struct line *l, struct ph_slice s, bool json)
{
    bool cut = s.n > PH_LOG_TEXT_MAX;
    s.n = cut ? PH_LOG_TEXT_MAX : s.n;
    put_text(l, "\"");
    put_bytes(l, s, json ? JSON : QUOTED);
    put_text(l, cut ? "...\"" : "\"");
}

/* Text: a,b,+3.  JSON: ["a","b","+3"]. */
static void put_addrs(struct line *l, const struct ph_log_field *f, bool json)
{
    char text[PH_ADDR_TEXT];
    bool list = json && (f->list || f->n != 1 || f->more);
    put_text(l, list ? "[" : "");
    for (unsigned i = 0; i < f->n; i++) {
        put_text(l, i ? "," : "");
        put_text(l, json ? "\"" : "");
        put_text(l, ph_addr_text(&f->addr[i], text));
        put_text(l, json ? "\"" : "");
    }
    if (f->more) {
        snprintf(text, sizeof text, json ? "%s\"+%u\"" : "%s+%u", f->n ? "," : "", f->more);
        put_text(l, text);
    }
    if (!json && !f->n && !f->more)
        put_text(l, "-");
    put_text(l, list ? "]" : "");
}

static void put_value(struct line *l, const struct ph_log_field *f, bool json)
{
    switch (f->kind) {
    case PH_LOG_WORD:
        put_text(l, json ? "\"" : "");
        put_bytes(l, f->text, json ? JSON : BARE);
        put_text(l, json ? "\"" : "");
        break;
    case PH_LOG_TEXT:
        put_string(l, f->text, json);
        break;
    case PH_LOG_UINT:
    case PH_LOG_REAL:
        put_number(l, f);
        break;
    case PH_LOG_ADDRS:
        put_addrs(l, f, json);
        break;
    }
}

/* All fields that fit as a whole. */
static void put_fields(struct line *l, const struct ph_log_field *f, size_t n, bool json)
{
    bool left_out = false;
    for (size_t i = 0; i < n; i++) {
        size_t before = l->n;
        l->full = false;
        put_text(l, json ? ",\"" : " ");
        put_text(l, f[i].key);
        put_text(l, json ? "\":" : "=");
        put_value(l, &f[i], json);
        if (l->full) {
            l->n = before;
            left_out = true;
        }
    }
    if (left_out)
        put_tail(l, json ? ",\"truncated\":true" : " truncated=true");
}

/* ---- lines ---- */

struct fields {
    const struct ph_log_field *v;
    size_t n;
};

static void format_json(const struct ph_logger *l, struct line *o, enum ph_log_level level,
                        const char *text, struct fields f)
{
    char at[STAMP];
    stamp(l, at);
    put_text(o, "{\"time\":\"");
    put_escaped(o, at, true);
    put_text(o, "\",\"level\":\"");
    put_text(o, levels[level].json);
    put_text(o, "\",\"program\":\"");
    put_escaped(o, l->program, true);
    put_text(o, "\",\"message\":\"");
    put_escaped(o, text, true);
    put_text(o, "\"");
    put_fields(o, f.v, f.n, true);
    put_tail(o, "}");
}

static void format_text(const struct ph_logger *l, struct line *o, enum ph_log_level level,
                        const char *text, struct fields f)
{
    char head[STAMP];
    if (l->journal) {
        snprintf(head, sizeof head, "<%d>", levels[level].priority);
        put_text(o, head);
    } else if (l->fd != SYSLOG) {
        stamp(l, head);
        put_escaped(o, head, false);
        put_text(o, " ");
        put_text(o, levels[level].text);
        put_text(o, " ");
    }
    put_escaped(o, text, false);
    put_fields(o, f.v, f.n, false);
}

static void write_with(const struct ph_logger *l, enum ph_log_level level, const char *text,
                       struct fields f)
{
    struct line o;
    o.n = 0;
    o.full = false;
    (l->json ? format_json : format_text)(l, &o, level, text, f);
    if (l->fd == SYSLOG)
        syslog(levels[level].priority, "%.*s", (int)o.n, o.b);
    put_tail(&o, "\n");
    if (l->fd >= 0)
        write_all(l->fd, o.b, o.n);
    if (l->also_stderr && l->fd != STDERR_FILENO)
        write_all(STDERR_FILENO, o.b, o.n);
}

static void write_line(void *ctx, enum ph_log_level level, const char *text)
{
    write_with(ctx, level, text, (struct fields){0});
}

void ph_log_fields(const struct ph_env *e, enum ph_log_level level, const char *message,
                   const struct ph_log_field *f, size_t n)
{
    const struct ph_log *log = e->log;
    if (!log || level > log->level)
        return;
    if (log->fn == write_line) {
        write_with(log->ctx, level, message, (struct fields){f, n});
        return;
    }
    struct line o; /* somebody else's log, which escapes by itself: once more does no harm */
    o.n = 0;
    o.full = false;
    put_text(&o, message);
    put_fields(&o, f, n, false);
    o.b[o.n] = '\0';
    log->fn(log->ctx, level, o.b);
}

/* ---- opening ---- */

static const struct {
    const char *name;
    int value;
} facilities[] = {
    {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"cron", LOG_CRON},
    {"daemon", LOG_DAEMON}, {"ftp", LOG_FTP},           {"kern", LOG_KERN},
    {"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1},     {"local2", LOG_LOCAL2},
    {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},     {"local5", LOG_LOCAL5},
    {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},     {"lpr", LOG_LPR},
    {"mail", LOG_MAIL},     {"news", LOG_NEWS},         {"syslog", LOG_SYSLOG},
    {"user", LOG_USER},     {"uucp", LOG_UUCP},
};

/* The facility's number, or -1.  coturn writes them as in C, "LOG_LOCAL0". */
static int facility(const char *name)
{
    if (strncasecmp(name, "LOG_", 4) == 0)
        name += 4;
    for (size_t i = 0; i < sizeof facilities / sizeof *facilities; i++)
        if (strcasecmp(name, facilities[i].name) == 0)
            return facilities[i].value;
    return -1;
}

bool ph_logger_is_facility(const char *name)
{
    return facility(name) >= 0;
}

/* systemd says in $JOURNAL_STREAM which stream leads to the journal; a later redirection is another stream. */
static bool leads_to_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    char ours[64];
    if (!stream || fstat(fd, &st) != 0)
        return false;
    snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, ours) == 0;
}

static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    return fd < 0 ? -errno : fd;
}

/* Finds or opens what `file` names.  Returns 0 and l->fd, or a negative error. */
static int open_target(struct ph_logger *l, const struct ph_logger_conf *c)
{
    const char *file = c->file ? c->file : "";
    if (!*file || strcmp(file, "stderr") == 0) {
        l->fd = STDERR_FILENO;
    } else if (strcmp(file, "stdout") == 0 || strcmp(file, "-") == 0) {
        l->fd = STDOUT_FILENO;
    } else if (strcmp(file, "syslog") == 0) {
        openlog(l->program, LOG_PID | LOG_NDELAY, facility(c->facility ? c->facility : "daemon"));
        l->fd = SYSLOG;
    } else {
        int err = ph_absolute_path(l->path, sizeof l->path, file);
        int fd = err ? err : open_file(l->path);
        if (fd < 0 && c->inherited > 0)
            fd = c->inherited;
        if (fd < 0)
            return fd;
        l->fd = fd;
    }
    return 0;
}

int ph_logger_open(struct ph_logger *l, const struct ph_logger_conf *c, char *why, size_t n)
{
    *l = (struct ph_logger){.fd = CLOSED, .json = c->json, .also_stderr = c->also_stderr};
    l->log = (struct ph_log){.fn = write_line, .ctx = l, .level = c->level};
    snprintf(l->program, sizeof l->program, "%s", c->program ? c->program : "pinhole");
    snprintf(l->time_format, sizeof l->time_format, "%s", c->time_format ? c->time_format : "");
    if (c->facility && !ph_logger_is_facility(c->facility)) {
        snprintf(why, n,
                 "there is no syslog facility \"%.32s\": user, daemon, local0 to local7 ...",
                 c->facility);
        return PH_E_ARG;
    }
    int err = open_target(l, c);
    if (err) {
        snprintf(why, n, "cannot open %s: %s", c->file, ph_strerror(err));
        return err;
    }
    l->journal = l->fd >= 0 && !l->path[0] && !l->json && leads_to_journal(l->fd);
    return 0;
}

int ph_logger_reopen(struct ph_logger *l)
{
    if (!l->path[0] || l->fd < 0)
        return 0;
    int fd = open_file(l->path);
    if (fd < 0)
        return fd;
    int err = dup3(fd, l->fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return err;
}

int ph_logger_chown(struct ph_logger *l, uid_t uid, gid_t gid)
{
    if (!l->path[0] || l->fd < 0)
        return 0;
    return fchown(l->fd, uid, gid) != 0 ? -errno : 0;
}

void ph_logger_close(struct ph_logger *l)
{
    if (l->fd == SYSLOG)
        closelog();
    else if (l->fd >= 0 && l->path[0])
        close(l->fd);
    l->fd = CLOSED;
}
