#include "cmd/turnd/http.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SAY(o, level, ...) ph_logf(&(o)->run->env, PH_LOG_##level, __VA_ARGS__)

/* ---- the socket nobody has asked for ---- */

/* The folder must be there and be ours: then whoever made it, made it for us. */
static bool is_our_folder(const char *path)
{
    char dir[108];
    struct stat st;
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return stat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           access(dir, W_OK) == 0;
}

static bool is_in_use(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool used = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    if (fd >= 0)
        close(fd);
    return used;
}

static bool is_inherited(const struct ph_thttp *h, const char *path)
{
    for (unsigned i = 0; i < h->n_doors; i++)
        if (strcmp(h->door[i].path, path) == 0)
            return true;
    return false;
}

static void choose_socket(struct ph_thttp *h, const struct ph_tops *o)
{
    const struct ph_tconf *c = o->run->conf;
    h->socket[0] = '\0';
    if (c->api_socket)
        snprintf(h->socket, sizeof h->socket, "%s", c->api_socket);
    else if (is_inherited(h, PH_TCONF_API_SOCKET))
        snprintf(h->socket, sizeof h->socket, "%s", PH_TCONF_API_SOCKET);
    else if (!is_our_folder(PH_TCONF_API_SOCKET))
        return;
    else if (is_in_use(PH_TCONF_API_SOCKET))
        SAY(o, WARN, "another turnd serves %s: this one is without; give api-socket",
            PH_TCONF_API_SOCKET);
    else
        snprintf(h->socket, sizeof h->socket, "%s", PH_TCONF_API_SOCKET);
}

/* ---- open ---- */

static void announce(const struct ph_thttp *h, struct ph_tops *o)
{
    const struct ph_tconf *c = o->run->conf;
    char text[PH_ADDR_TEXT];
    if (c->http.family)
        SAY(o, INFO, "health and metrics: http%s://%s%s", c->prom_tls ? "s" : "",
            ph_addr_text(&c->http, text), c->prom_path);
    if (*h->socket)
        SAY(o, INFO, "API: turnctl -s %s", h->socket);
    if (c->api.family)
        SAY(o, INFO, "API: http://%s/v1/", ph_addr_text(&c->api, text));
    if (c->web.family)
        SAY(o, INFO, "web page: http://%s/", ph_addr_text(&c->web, text));
}

int ph_thttp_open(struct ph_thttp *h, struct ph_tops *o)
{
    struct ph_trun *r = o->run;
    const struct ph_tconf *c = r->conf;
    char why[PH_TADMIN_WHY], cert[PH_TCONF_PATH], key[PH_TCONF_PATH];
    bool tls = c->prom_tls && c->http.family && ph_tconf_http_cert(c, cert, key);
    choose_socket(h, o);
    const struct ph_tadmin_conf conf = {
        .http = c->http,
        .metrics_path = c->prom_path,
        .coturn_names = c->prometheus,
        .http_cert = tls ? cert : NULL,
        .http_key = tls ? key : NULL,
        .api_socket = *h->socket ? h->socket : NULL,
        .api_socket_mode = c->api_mode,
        .api = c->api,
        .web = c->web,
        .inherit = h->door,
        .n_inherit = h->n_doors,
        .token = *c->token ? c->token : NULL,
    };
    h->admin = NULL;
    int err = 0;
    if (conf.http.family || conf.api_socket || conf.api.family || conf.web.family)
        err = ph_tadmin_start(&h->admin, &conf, o, r->metrics, why);
    if (!h->admin && !err)
        return 0;
    if (err == PH_E_UNSUPPORTED && !c->http.family && !c->api_socket && !c->api.family &&
        !c->web.family)
        return 0; /* nobody has asked for it */
    if (err) {
        SAY(o, ERROR, "%s", why);
        return err;
    }
    r->n_endpoints = ph_tadmin_endpoints(h->admin, r->endpoint, PH_TURND_FORBIDDEN);
    ph_trun_tell(r, NULL);
    announce(h, o);
    return 0;
}

void ph_thttp_settled(struct ph_thttp *h)
{
    for (unsigned i = 0; i < h->n_doors; i++) {
        if (*h->door[i].path && strcmp(h->door[i].path, h->socket) != 0)
            unlink(h->door[i].path);
        close(h->door[i].fd);
    }
    h->n_doors = 0;
}

/* ---- close ---- */

struct closing {
    struct ph_tadmin *admin;
    uv_async_t done;
};

static void *close_all(void *ctx)
{
    struct closing *c = ctx;
    ph_tadmin_stop(c->admin);
    uv_async_send(&c->done);
    return NULL;
}

static void on_done(uv_async_t *h)
{
    uv_stop(h->loop);
    uv_close((uv_handle_t *)h, NULL);
}

void ph_thttp_leave(struct ph_thttp *h, struct ph_tops *o)
{
    h->n_doors = ph_tadmin_leave(h->admin, h->door);
    ph_thttp_close(h, o);
}

void ph_thttp_close(struct ph_thttp *h, struct ph_tops *o)
{
    static struct closing c; /* its handle is closed by the loop later on */
    pthread_t thread;
    ph_tops_end(o);
    if (!h->admin)
        return;
    c.admin = h->admin;
    h->admin = NULL;
    uv_async_init(o->loop, &c.done, on_done);
    if (pthread_create(&thread, NULL, close_all, &c) != 0) {
        ph_tadmin_stop(c.admin);
        uv_close((uv_handle_t *)&c.done, NULL);
        return;
    }
    uv_run(o->loop, UV_RUN_DEFAULT);
    pthread_join(thread, NULL);
}
