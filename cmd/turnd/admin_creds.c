/*
 * GET /v1/credentials: iceServers to test this server with, and a user that lives for a few minutes.
 *
 * There is a URL for every listener and transport.  A browser checks the name in a certificate, so for TLS the first
 * name of the certificate stands in place of the address, unless the certificate names the address itself.
 */
#include "cmd/turnd/admin_priv.h"
#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "stun/uv/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct credentials {
    struct ph_tadmin *a;
    uint32_t ttl_s;
    int err;
    bool open; /* anybody may relay: no user is needed */
    char user[PH_TADMIN_TEXT], pass[PH_TADMIN_TEXT];
    struct ph_tls_info cert;
    bool has_cert;
};

/* On the main thread, which owns the users and certificates in force. */
static void make_user(void *ctx)
{
    struct credentials *c = ctx;
    struct ph_trun *r = c->a->ops->run;
    c->open = !ph_tconf_wants_auth(r->conf);
    c->err = c->open ? 0 : ph_trun_test_user(r, c->ttl_s, c->user, c->pass);
    c->has_cert = r->tls && ph_tls_info(r->tls, 0, &c->cert);
}

/* The next of the comma separated names of a certificate; false at the end. */
static bool next_name(const char **names, char *dst, size_t room)
{
    *names += strspn(*names, ", ");
    size_t n = strcspn(*names, ",");
    bool there = n > 0;
    snprintf(dst, room, "%.*s", (int)n, *names);
    *names += n;
    return there;
}

/* The host for a URL with TLS. */
static void tls_host(const struct credentials *c, const struct ph_addr *at, char dst[static 256])
{
    char name[256], first[256] = "", ip[PH_ADDR_TEXT];
    const char *names = c->has_cert ? c->cert.names : "";
    ph_addr_ip_text(at, ip);
    while (next_name(&names, name, sizeof name)) {
        struct ph_addr a;
        bool numeric = ph_addr_parse(&a, name, strlen(name), 0) == 0;
        if (numeric && ph_addr_eq_ip(&a, at)) {
            *first = '\0';
            break;
        }
        if (!numeric && !*first && !strchr(name, '*'))
            strcpy(first, name);
    }
    if (*first)
        strcpy(dst, first);
    else
        snprintf(dst, 256, at->family == PH_AF_INET6 ? "[%s]" : "%s", ip);
}

static void add_url(json_t *urls, const char *scheme, const char *host, uint16_t port,
                    const char *transport)
{
    char url[320];
    snprintf(url, sizeof url, "%s:%s:%u?transport=%s", scheme, host, port, transport);
    json_t *v = json_string(url);
    for (size_t i = 0; v && i < json_array_size(urls); i++)
        if (json_equal(json_array_get(urls, i), v)) {
            json_decref(v);
            return;
        }
    json_array_append_new(urls, v);
}

static json_t *urls_of(const struct credentials *c)
{
    const struct ph_trun *r = c->a->ops->run;
    json_t *urls = json_array();
    for (unsigned i = 0; i < r->plan.n_listeners; i++) {
        struct ph_addr at = r->plan.listener[i];
        char host[256], text[PH_ADDR_TEXT];
        ph_turn_uv_local(r->server, i, &at);
        const uint16_t port = at.port;
        const char *transport = at.proto == PH_UDP ? "udp" : "tcp";
        if (r->plan.listener_external[i].family)
            at = r->plan.listener_external[i];
        if (r->plan.accept[i] & PH_ACCEPT_PROXY) /* clients cannot come here by themselves */
            continue;
        snprintf(host, sizeof host, at.family == PH_AF_INET6 ? "[%s]" : "%s",
                 ph_addr_ip_text(&at, text));
        if (!r->plan.accept[i] || r->plan.accept[i] & PH_ACCEPT_PLAIN)
            add_url(urls, "turn", host, port, transport);
        if (r->plan.accept[i] & PH_ACCEPT_TLS) {
            tls_host(c, &at, host);
            add_url(urls, "turns", host, port, transport);
        }
    }
    return urls;
}

static json_t *credentials_json(const struct credentials *c)
{
    json_t *server = json_object(), *list = json_array(), *o = json_object();
    json_object_set_new(server, "urls", urls_of(c));
    if (!c->open) {
        ph__tadmin_set_text(server, "username", ph_str(c->user));
        ph__tadmin_set_text(server, "credential", ph_str(c->pass));
    }
    json_array_append_new(list, server);
    json_object_set_new(o, "iceServers", list);
    json_object_set_new(o, "ttl", json_integer(c->ttl_s));
    json_object_set_new(o, "expires", json_integer((json_int_t)time(NULL) + c->ttl_s));
    return o;
}

void ph__tadmin_credentials(struct ph_tadmin *a, const struct ph_tadmin_command *cmd,
                            struct ph__tadmin_reply *out)
{
    struct credentials *c = calloc(1, sizeof *c);
    if (!c) {
        ph__tadmin_json(out, 500, NULL);
        return;
    }
    c->a = a;
    c->ttl_s = cmd->seconds;
    if (!ph_tops_call(a->ops, make_user, c))
        ph__tadmin_error(out, 503, "the server is ending");
    else if (c->err)
        ph__tadmin_error(out, 409,
                         "there is no way to make a user for a test: that needs "
                         "static-auth-secret");
    else
        ph__tadmin_json(out, 200, credentials_json(c));
    ph_wipe(c->pass, sizeof c->pass);
    free(c);
}
