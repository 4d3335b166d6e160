/*
 * Requests in, answers out: the side of turnd's HTTP that knows libmicrohttpd.
 *
 * A request is looked at when its headers are there, so that what may not be is refused before its body is read, and
 * carried out when the body is there.  The target is taken as it came (the library's own decoding would turn "%2F"
 * in a user name into a slash).
 */
#include "cmd/turnd/admin_priv.h"
#include "stun/base/error.h"
#include "stun/uv/sockaddr.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

enum { COMPLAIN_S = 10 };

/* One request, from its target to the end of the answer. */
struct request {
    char *target; /* NULL: out of memory */
    bool begun, answered, at_work;
    unsigned status; /* an error found on the way, 0 none */
    struct ph_tadmin_command command;
    struct ph_tadmin_problem problem;
    char *body; /* n bytes of room, grown as it comes */
    size_t n, room;
};

static void *on_target(void *ctx, const char *uri, struct MHD_Connection *connection)
{
    struct request *q = calloc(1, sizeof *q);
    (void)ctx;
    (void)connection;
    if (q)
        q->target = strdup(uri);
    return q;
}

static const char *header(struct MHD_Connection *m, const char *name)
{
    return MHD_lookup_connection_value(m, MHD_HEADER_KIND, name);
}

/* ---- the log ---- */

/* Where a request comes from, as far as it can be known. */
static void set_from(struct MHD_Connection *m, struct ph_addr *from)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(m, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *from = (struct ph_addr){0};
    if (i && i->client_addr &&
        (i->client_addr->sa_family == AF_INET || i->client_addr->sa_family == AF_INET6))
        *from = ph_sockaddr_read(i->client_addr, PH_TCP);
}

/* Who is at the other end of a UNIX socket: the kernel knows. */
static bool set_uid(struct MHD_Connection *m, uint64_t *uid)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(m, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred who;
    socklen_t n = sizeof who;
    if (!i || getsockopt(i->connect_fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0)
        return false;
    *uid = who.uid;
    return true;
}

static void write_record(const struct ph__tadmin_place *p, struct MHD_Connection *m,
                         const struct request *q, const char *method, unsigned status)
{
    static const char *const DOORS[] = {"http", "socket", "api", "web"};
    const struct ph_env env = {.log = &p->a->ops->log->log};
    struct ph_addr from;
    uint64_t uid;
    set_from(m, &from);
    struct ph_log_field f[6] = {
        {.key = "door", .kind = PH_LOG_WORD, .text = ph_str(DOORS[p->door])},
        {.key = "method", .kind = PH_LOG_TEXT, .text = ph_str(method)},
        {.key = "target", .kind = PH_LOG_TEXT, .text = ph_str(q->target)},
        {.key = "status", .kind = PH_LOG_UINT, .uint = status},
    };
    size_t n = 4;
    if (from.family != PH_AF_NONE)
        f[n++] = (struct ph_log_field){.key = "from", .kind = PH_LOG_ADDRS, .addr = &from, .n = 1};
    if (p->door == PH_DOOR_SOCKET && set_uid(m, &uid))
        f[n++] = (struct ph_log_field){.key = "uid", .kind = PH_LOG_UINT, .uint = uid};
    if (status == 401)
        ph_log_fields(&env, PH_LOG_WARN, "admin request with a wrong token", f, n);
    else
        ph_log_fields(&env, PH_LOG_INFO, "admin request", f, n);
}

/* Wrong tokens are on record now and then, lest they fill the log. */
static bool is_due(struct ph_tadmin *a)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&a->lock);
    bool due = !a->complained_at_s || now.tv_sec - a->complained_at_s >= COMPLAIN_S;
    if (due)
        a->complained_at_s = now.tv_sec;
    pthread_mutex_unlock(&a->lock);
    return due;
}

/* What is changed through a door is on record. */
static void log_request(const struct ph__tadmin_place *p, struct MHD_Connection *m,
                        const struct request *q, const char *method, unsigned status)
{
    if (!p->a->ops || !p->a->ops->log)
        return;
    bool wrong = status == 401 && header(m, "Authorization") && is_due(p->a);
    if (wrong || (status != 401 && q->command.changes))
        write_record(p, m, q, method, status);
}

/* ---- answers ---- */

static void add_headers(const struct ph__tadmin_place *p, struct MHD_Response *r,
                        const struct ph__tadmin_reply *out)
{
    static const char *const ALWAYS[][2] = {
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"X-Frame-Options", "DENY"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; "
                                    "frame-ancestors 'none'"},
    };
    for (size_t i = 0; i < sizeof ALWAYS / sizeof *ALWAYS; i++)
        MHD_add_response_header(r, ALWAYS[i][0], ALWAYS[i][1]);
    if (out->type)
        MHD_add_response_header(r, "Content-Type", out->type);
    MHD_add_response_header(r, "Cache-Control", out->etag ? "no-cache" : "no-store");
    if (out->etag)
        MHD_add_response_header(r, "ETag", out->etag);
    if (out->allow)
        MHD_add_response_header(r, "Allow", out->allow);
    if (out->status == 401)
        MHD_add_response_header(r, "WWW-Authenticate", "Bearer realm=\"turnd\"");
    if (p->a->ending)
        MHD_add_response_header(r, "Connection", "close");
}

static enum MHD_Result send_reply(struct ph__tadmin_place *p, struct MHD_Connection *m,
                                  struct request *q, const char *method,
                                  struct ph__tadmin_reply *out)
{
    const char *known = header(m, "If-None-Match");
    if (out->etag && known && strstr(known, out->etag)) {
        out->status = 304;
        out->n = 0;
    }
    log_request(p, m, q, method, out->status);
    q->answered = true;
    struct MHD_Response *r = MHD_create_response_from_buffer(
        out->n, out->n ? out->body : (void *)"",
        out->is_static || !out->n ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (!r) {
        if (!out->is_static)
            free(out->body);
        return MHD_NO;
    }
    if (!out->is_static && !out->n)
        free(out->body);
    add_headers(p, r, out);
    enum MHD_Result result = MHD_queue_response(m, out->status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result refuse(struct ph__tadmin_place *p, struct MHD_Connection *m,
                              struct request *q, const char *method, unsigned status)
{
    struct ph__tadmin_reply out = {0};
    ph__tadmin_error(&out, status, q->problem.text);
    out.allow = q->problem.allow;
    return send_reply(p, m, q, method, &out);
}

/* ---- requests ---- */

/* The headers are there. */
static unsigned look(const struct ph__tadmin_place *p, struct MHD_Connection *m, struct request *q,
                     const char *method)
{
    const char *length = header(m, "Content-Length");
    const struct ph_tadmin_request r = {
        .door = p->door,
        .token = p->token ? p->a->token : NULL,
        .metrics_path = p->a->metrics_path,
        .method = method,
        .target = q->target,
        .host = header(m, "Host"),
        .origin = header(m, "Origin"),
        .site = header(m, "Sec-Fetch-Site"),
        .type = header(m, "Content-Type"),
        .authorization = header(m, "Authorization"),
    };
    unsigned status = ph_tadmin_route(&r, &q->command, &q->problem);
    if (!status && length && strtoull(length, NULL, 10) > PH_TADMIN_BODY)
        return ph_tadmin_wrong(&q->problem, 413, "the body is longer than %d bytes",
                               PH_TADMIN_BODY);
    return status;
}

static void take_body(struct request *q, const char *p, size_t n)
{
    if (q->status)
        return;
    if (q->n + n > PH_TADMIN_BODY) {
        q->status =
            ph_tadmin_wrong(&q->problem, 413, "the body is longer than %d bytes", PH_TADMIN_BODY);
        return;
    }
    if (q->n + n > q->room) {
        size_t room = (q->n + n) * 2;
        char *body = realloc(q->body, room);
        if (!body) {
            q->status = ph_tadmin_wrong(&q->problem, 500, "out of memory");
            return;
        }
        q->body = body;
        q->room = room;
    }
    memcpy(q->body + q->n, p, n);
    q->n += n;
}

/* All of it is there. */
static enum MHD_Result carry_out(struct ph__tadmin_place *p, struct MHD_Connection *m,
                                 struct request *q, const char *method)
{
    struct ph_tadmin *a = p->a;
    struct ph__tadmin_reply out = {0};
    if (!q->status)
        q->status = ph_tadmin_body(&q->command, (struct ph_slice){(const uint8_t *)q->body, q->n},
                                   &q->problem);
    if (q->status)
        return refuse(p, m, q, method, q->status);
    a->busy++; /* until the answer is with the client, see on_completed */
    q->at_work = true;
    if (a->ending)
        ph__tadmin_error(&out, 503, "the server is ending");
    else
        ph__tadmin_do(a, &q->command, &out);
    return send_reply(p, m, q, method, &out);
}

static struct ph__tadmin_conn *conn_of(struct MHD_Connection *m)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(m, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i ? i->socket_context : NULL;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *m, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *n, void **state)
{
    struct ph__tadmin_place *p = ctx;
    struct request *q = *state;
    (void)url;
    (void)version;
    if (!q || !q->target)
        return MHD_NO;
    if (!q->begun) {
        q->begun = true;
        unsigned status = look(p, m, q, method);
        return status ? refuse(p, m, q, method, status) : MHD_YES;
    }
    if (*n) {
        take_body(q, data, *n);
        *n = 0;
        return MHD_YES;
    }
    if (q->answered)
        return MHD_YES;
    struct ph__tadmin_conn *c = conn_of(m);
    ph__tadmin_conn_mark(p->a, c, true);
    enum MHD_Result result = carry_out(p, m, q, method);
    ph__tadmin_conn_mark(p->a, c, false);
    return result;
}

static void on_completed(void *ctx, struct MHD_Connection *m, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct ph__tadmin_place *p = ctx;
    struct request *q = *state;
    (void)code;
    if (q) {
        if (q->at_work)
            p->a->busy--;
        free(q->target);
        free(q->body);
        free(q);
    }
    *state = NULL;
    ph__tadmin_conn_mark(p->a, conn_of(m), false);
}

static void on_connection(void *ctx, struct MHD_Connection *m, void **state,
                          enum MHD_ConnectionNotificationCode code)
{
    struct ph__tadmin_place *p = ctx;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *i =
            MHD_get_connection_info(m, MHD_CONNECTION_INFO_CONNECTION_FD);
        *state = i ? ph__tadmin_conn_new(p->a, i->connect_fd) : NULL;
    } else {
        ph__tadmin_conn_free(p->a, *state);
        *state = NULL;
    }
}

/* ---- life ---- */

/* The library's complaints, mostly of clients that have gone. */
static void on_complaint(void *ctx, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void on_complaint(void *ctx, const char *fmt, va_list ap)
{
    const struct ph__tadmin_place *p = ctx;
    char text[256];
    if (!p->a->ops || !p->a->ops->log || p->a->ops->log->log.level < PH_LOG_DEBUG)
        return;
    vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\r\n")] = '\0';
    ph_logf(&(struct ph_env){.log = &p->a->ops->log->log}, PH_LOG_DEBUG, "http: %s", text);
}

int ph__tadmin_serve(struct ph__tadmin_place *p, int fd)
{
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, p->a->cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, p->a->key},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags =
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_USE_ITC;
    if (p->tls) {
        if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
            return PH_E_UNSUPPORTED;
        flags |= MHD_USE_TLS;
    } else {
        tls[0].option = MHD_OPTION_END;
    }
    p->mhd = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, p, MHD_OPTION_EXTERNAL_LOGGER, on_complaint, p,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)PH_TADMIN_CONNS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)PH_TADMIN_REQUEST_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)PH_TADMIN_CONN_MEMORY,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, p, MHD_OPTION_NOTIFY_COMPLETED, on_completed, p,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, p, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    return p->mhd ? 0 : PH_E_ARG;
}
