/*
 * A small HTTP client: connect, send, read to the end, take the answer apart.
 */
#include "cmd/turnctl/http.h"

#include "stun/uv/sockaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST = 16384 };

/* ---- the answer ---- */

/* The part of an answer that is not read yet. */
struct cursor {
    const char *p;
    size_t n;
};

/* Takes a line without its end; false: there is no whole one. */
static bool take_line(struct cursor *c, struct cursor *line)
{
    const char *end = c->n ? memchr(c->p, '\n', c->n) : NULL;
    if (!end)
        return false;
    size_t n = (size_t)(end - c->p);
    *line = (struct cursor){c->p, n && end[-1] == '\r' ? n - 1 : n};
    c->p += n + 1;
    c->n -= n + 1;
    return true;
}

/* The value of a header line, if it is the one of this name. */
static bool is_header(struct cursor line, const char *name, struct cursor *value)
{
    size_t n = strlen(name);
    if (line.n <= n || strncasecmp(line.p, name, n) != 0 || line.p[n] != ':')
        return false;
    *value = (struct cursor){line.p + n + 1, line.n - n - 1};
    while (value->n && (*value->p == ' ' || *value->p == '\t')) {
        value->p++;
        value->n--;
    }
    return true;
}

static int digit(char c, unsigned base)
{
    int v = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : 99;
    return v < (int)base ? v : -1;
}

/* A number at the start of text, at most PH_CTL_ANSWER; what follows it is not looked at. */
static bool read_size(struct cursor s, unsigned base, size_t *out)
{
    size_t v = 0, i = 0;
    for (; i < s.n && digit(s.p[i], base) >= 0; i++) {
        v = v * base + (size_t)digit(s.p[i], base);
        if (v > PH_CTL_ANSWER)
            return false;
    }
    *out = v;
    return i > 0;
}

/* Puts the chunks of c together at dst, which has room for them.  False: they are broken or not all there. */
static bool join_chunks(struct cursor c, char *dst, size_t *n)
{
    struct cursor line;
    size_t size;
    *n = 0;
    while (take_line(&c, &line) && read_size(line, 16, &size)) {
        if (size == 0)
            return true; /* trailers are not ours */
        if (size > c.n)
            return false;
        memcpy(dst + *n, c.p, size);
        *n += size;
        c.p += size;
        c.n -= size;
        if (!take_line(&c, &line) || line.n)
            return false;
    }
    return false;
}

/* "HTTP/1.1 200 OK" */
static bool read_status(struct cursor line, unsigned *status)
{
    size_t v;
    if (line.n < 12 || memcmp(line.p, "HTTP/1.", 7) != 0 || line.p[8] != ' ' ||
        !read_size((struct cursor){line.p + 9, line.n - 9}, 10, &v) || v < 100 || v > 599)
        return false;
    *status = (unsigned)v;
    return true;
}

int ph_ctl_parse(const char *p, size_t n, struct ph_ctl_answer *a)
{
    struct cursor c = {p, n}, line, value;
    size_t length = 0;
    unsigned status;
    bool chunked, told;
    do { /* 100 Continue and the like are followed by the answer */
        chunked = told = false;
        if (!take_line(&c, &line) || !read_status(line, &status))
            return -EPROTO;
        for (;;) {
            if (!take_line(&c, &line))
                return -EPROTO;
            if (!line.n)
                break;
            if (is_header(line, "Content-Length", &value)) {
                told = true;
                if (!read_size(value, 10, &length))
                    return -EPROTO;
            } else if (is_header(line, "Transfer-Encoding", &value)) {
                if (value.n < 7 || strncasecmp(value.p, "chunked", 7) != 0)
                    return -EPROTO;
                chunked = true;
            }
        }
    } while (status < 200);
    char *body = malloc(c.n + 1);
    if (!body)
        return -ENOMEM;
    bool ok = true;
    if (chunked) {
        ok = join_chunks(c, body, &length);
    } else {
        ok = !told || length <= c.n;
        length = told ? length : c.n;
        if (ok && length)
            memcpy(body, c.p, length);
    }
    if (!ok) {
        free(body);
        return -EPROTO;
    }
    body[length] = '\0';
    *a = (struct ph_ctl_answer){.status = status, .body = body, .n = length};
    return 0;
}

/* ---- the connection ---- */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for a socket.  0, -ETIMEDOUT or -errno. */
static int wait_for(int fd, short events, int64_t until)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left = until - now_ms();
        if (left <= 0)
            return -ETIMEDOUT;
        int n = poll(&p, 1, (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

/* The socket, connected, or -errno. */
static int open_connection(const struct ph_ctl_server *s, int64_t until)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    union ph_sockaddr sa;
    const struct sockaddr *to = (const struct sockaddr *)&un;
    socklen_t n = sizeof un, size = sizeof(int);
    int err = 0;
    if (!s->socket) {
        n = ph_sockaddr_set(&sa, &s->at);
        to = &sa.sa;
    } else if (strlen(s->socket) >= sizeof un.sun_path) {
        return -ENAMETOOLONG;
    } else {
        strcpy(un.sun_path, s->socket);
    }
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, to, n) != 0) {
        err = -errno;
        if (err == -EINPROGRESS) {
            int got = 0;
            err = wait_for(fd, POLLOUT, until);
            if (!err && getsockopt(fd, SOL_SOCKET, SO_ERROR, &got, &size) == 0)
                err = -got;
        }
    }
    if (err)
        close(fd);
    return err ? err : fd;
}

static int send_all(int fd, const char *p, size_t n, int64_t until)
{
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k > 0) {
            p += k;
            n -= (size_t)k;
        } else if (k < 0 && errno == EAGAIN) {
            int err = wait_for(fd, POLLOUT, until);
            if (err)
                return err;
        } else if (k < 0 && errno != EINTR) {
            /* It may have answered already, and not want to hear more. */
            return errno == EPIPE || errno == ECONNRESET ? 0 : -errno;
        }
    }
    return 0;
}

/* Reads to the end.  0 and *text, which is to be freed, or -errno. */
static int receive_all(int fd, char **text, size_t *n, int64_t until)
{
    size_t room = 0;
    *text = NULL;
    *n = 0;
    for (;;) {
        if (*n == room) {
            room = room ? room * 2 : 8192;
            char *more = room > 2 * (size_t)PH_CTL_ANSWER ? NULL : realloc(*text, room);
            if (!more)
                return room > 2 * (size_t)PH_CTL_ANSWER ? -EMSGSIZE : -ENOMEM;
            *text = more;
        }
        ssize_t k = recv(fd, *text + *n, room - *n, 0);
        if (k == 0)
            return 0;
        if (k > 0) {
            *n += (size_t)k;
        } else if (errno == EAGAIN) {
            int err = wait_for(fd, POLLIN, until);
            if (err)
                return err;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

/* The request as text.  Its length, or -EMSGSIZE. */
static int format_request(char dst[static REQUEST], const struct ph_ctl_server *s,
                          const char *method, const char *target, const char *body)
{
    char host[PH_ADDR_TEXT] = "localhost", length[96] = "", token[PH_CTL_TOKEN + 32] = "";
    if (!s->socket)
        ph_addr_text(&s->at, host);
    if (*s->token)
        snprintf(token, sizeof token, "Authorization: Bearer %s\r\n", s->token);
    if (body)
        snprintf(length, sizeof length, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                 strlen(body));
    int n = snprintf(dst, REQUEST, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s\r\n%s",
                     method, target, host, token, length, body ? body : "");
    return n < REQUEST ? n : -EMSGSIZE;
}

static int exchange(int fd, const char *request, size_t n, struct ph_ctl_answer *a, int64_t until)
{
    char *text = NULL;
    size_t got = 0;
    int err = send_all(fd, request, n, until);
    if (!err)
        err = receive_all(fd, &text, &got, until);
    if (!err)
        err = got ? ph_ctl_parse(text, got, a) : -ECONNRESET;
    free(text);
    return err;
}

int ph_ctl_request(const struct ph_ctl_server *s, const char *method, const char *target,
                   const char *body, struct ph_ctl_answer *a, char why[static PH_CTL_WHY])
{
    char request[REQUEST];
    const int64_t until = now_ms() + PH_CTL_TIMEOUT_MS;
    int n = format_request(request, s, method, target, body);
    int fd = n < 0 ? n : open_connection(s, until);
    int err = fd < 0 ? fd : exchange(fd, request, (size_t)n, a, until);
    if (fd >= 0)
        close(fd);
    explicit_bzero(request, sizeof request);
    snprintf(why, PH_CTL_WHY, "%s",
             err == -EPROTO ? "what answers there is not turnd" : strerror(-err));
    return err;
}

/* ---- targets ---- */

char *ph_ctl_encode(char *dst, const char *s)
{
    static const char HEX[] = "0123456789ABCDEF";
    char *d = dst;
    for (const uint8_t *p = (const uint8_t *)s; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("-._~", *p);
        if (plain) {
            *d++ = (char)*p;
        } else {
            *d++ = '%';
            *d++ = HEX[*p >> 4];
            *d++ = HEX[*p & 15];
        }
    }
    *d = '\0';
    return dst;
}
