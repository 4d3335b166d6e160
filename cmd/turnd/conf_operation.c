/*
 * What operators and programs connect to: HTTP, the API, the web page, the database; and bounds that are words.
 */
#include "cmd/turnd/conf_priv.h"

#include "stun/codec/integrity.h"

#include <errno.h>
#include <string.h>

/* ---- new-peer-rate ---- */

static void take_peer_rate(struct ph_tconf *c)
{
    const char *text = c->peer_rate;
    size_t n = strcspn(text, "/");
    uint64_t rate, burst = 128;
    bool ok = ph__tconf_read_number(text, n, 1000000, &rate);
    if (ok && text[n])
        ok =
            ph__tconf_read_number(text + n + 1, strlen(text + n + 1), 1000000, &burst) && burst > 0;
    if (!ok) {
        ph__tconf_bad(c, ph_opts_last(c->opts, "new-peer-rate"),
                      "is no rate: give N or N/BURST, each up to 1000000; 0: no limit");
        return;
    }
    c->new_peers_rate = (uint32_t)rate;
    c->new_peers_burst = rate == 0 ? 0 : (uint32_t)burst;
}

/* ---- tokens ---- */

static void read_token(struct ph_tconf *c, const struct ph_opt_set *s)
{
    FILE *f = ph__tconf_open(c, c->api_token_file);
    if (!f || !fgets(c->token, sizeof c->token, f)) {
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "cannot read %s: %s", c->api_token_file,
                    f                 ? "it is empty"
                    : errno == EINVAL ? "it is no ordinary file"
                                      : strerror(errno));
        c->token[0] = '\0';
    }
    if (f)
        fclose(f);
    c->token[strcspn(c->token, "\r\n")] = '\0';
}

static void take_token(struct ph_tconf *c)
{
    const struct ph_opt_set *file = ph_opts_last(c->opts, "api-token-file");
    const struct ph_opt_set *s = ph_opts_last(c->opts, "api-token");
    if (file && s)
        ph_opts_say(c->opts, PH_LOG_WARN, s, "without effect: api-token-file goes first");
    if (file)
        read_token(c, file);
    else if (s && strlen(s->value) >= sizeof c->token)
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "is too long: 255 bytes are the most");
    else if (s)
        snprintf(c->token, sizeof c->token, "%s", s->value);
    if (s && !*s->value)
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "is empty: give a token, or remove the key");
}

/* ---- endpoints ---- */

static void need_token(struct ph_tconf *c, const char *key, const struct ph_addr *at,
                       bool everywhere)
{
    if (at->family && !*c->token && (everywhere || !ph_addr_is_loopback(at)))
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, key),
                    "needs a token%s: give api-token-file or api-token",
                    everywhere ? "" : " where it is not on loopback");
}

/* Two cannot listen at one place. */
static void check_places(struct ph_tconf *c)
{
    const struct ph_addr *at[] = {&c->http, &c->api, &c->web};
    static const char *const KEYS[] = {"http-listen", "api-listen", "web"};
    char text[PH_ADDR_TEXT];
    for (int i = 0; i < 3; i++)
        for (int k = i + 1; k < 3; k++)
            if (at[i]->family && at[i]->port && ph_addr_eq_endpoint(at[i], at[k]))
                ph_opts_say(c->opts, PH_LOG_ERROR, NULL,
                            "%s and %s are both to be at %s: give each a port of its own", KEYS[i],
                            KEYS[k], ph_addr_text(at[i], text));
}

/* "", yes: the default address; no: none; a port; an address with or without port. */
static void take_web(struct ph_tconf *c, const struct ph_opt_set *s)
{
    uint64_t port = 8080;
    bool on;
    struct ph_addr at = ph_addr_v4((const uint8_t[]){127, 0, 0, 1}, 8080, PH_PROTO_NONE);
    if (strlen(s->value) > 1 && ph__tconf_read_number(s->value, strlen(s->value), 65535, &port))
        at.port = (uint16_t)port;
    else if (strchr(s->value, '.') || strchr(s->value, ':')) {
        if (ph_addr_parse(&at, s->value, strlen(s->value), 8080) != 0)
            ph__tconf_bad(c, s, "is not an address: give IP:PORT, as 127.0.0.1:8080");
    } else if (!ph_opts_bool(s->value, &on))
        ph__tconf_bad(c, s, "is not an address: give IP:PORT, as 127.0.0.1:8080");
    else if (!on)
        return;
    c->web = at;
}

static void take_web_admin(struct ph_tconf *c)
{
    const struct ph_opt_set *web = ph_opts_last(c->opts, "web");
    if (web)
        take_web(c, web);
    if (web || !c->web_admin)
        return;
    c->web = c->web_ip.family ? c->web_ip
                              : ph_addr_v4((const uint8_t[]){127, 0, 0, 1}, 0, PH_PROTO_NONE);
    c->web.port = (uint16_t)c->web_port;
}

static void take_http(struct ph_tconf *c)
{
    if (c->prometheus && !c->http.family) {
        c->http = c->prom_ip.family ? c->prom_ip
                                    : ph_addr_v4((const uint8_t[]){0, 0, 0, 0}, 0, PH_PROTO_NONE);
        c->http.port = (uint16_t)c->prom_port;
    } else if (c->http.family && (ph__tconf_is_set(c, "prometheus-port") ||
                                  ph__tconf_is_set(c, "prometheus-address"))) {
        ph_opts_say(c->opts, PH_LOG_WARN, ph_opts_last(c->opts, "http-listen"),
                    "goes before prometheus-address and prometheus-port");
    }
    if (*c->prom_path != '/')
        ph__tconf_bad(c, ph_opts_last(c->opts, "prometheus-path"),
                      "is not a path: give one that begins with \"/\"");
    if (c->prom_tls && c->http.family && !c->prom_cert && !ph__tconf_is_set(c, "cert"))
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "prometheus-tls"),
                    "needs a certificate: give prometheus-cert and prometheus-key");
}

static void take_socket(struct ph_tconf *c)
{
    uint32_t mode = 0;
    const char *p = c->api_socket_mode;
    for (; *p >= '0' && *p <= '7' && mode <= 0777; p++)
        mode = mode * 8 + (uint32_t)(*p - '0');
    if (*p || mode > 0777 || !mode)
        ph__tconf_bad(c, ph_opts_last(c->opts, "api-socket-mode"),
                      "is no file mode: give octal digits, as 660");
    else
        c->api_mode = mode;
    if (c->api_socket && strcmp(c->api_socket, "none") == 0)
        c->api_socket = "";
    if (c->api_socket && strlen(c->api_socket) > 107)
        ph__tconf_bad(c, ph_opts_last(c->opts, "api-socket"),
                      "is too long: 107 bytes are the most for a socket");
}

/* ---- the databases ---- */

static void take_redis(struct ph_tconf *c, const char *key, struct ph_redis_conf *redis)
{
    const struct ph_opt_set *s = ph_opts_last(c->opts, key);
    if (!s)
        return;
#ifdef PH_HAVE_REDIS
    char why[PH_REDIS_WHY];
    if (ph_redis_parse(redis, s->value, why) != 0)
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "%s", why);
#else
    (void)redis;
    ph_opts_say(c->opts, PH_LOG_ERROR, s,
                "this turnd was built without Redis (hiredis): remove the key, or build it anew");
#endif
}

void ph__tconf_take_operation(struct ph_tconf *c)
{
    take_peer_rate(c);
    take_token(c);
    take_http(c);
    take_socket(c);
    take_web_admin(c);
    take_redis(c, "redis-userdb", &c->redis);
    take_redis(c, "redis-statsdb", &c->stats_redis);
    check_places(c);
    need_token(c, "api-listen", &c->api, true);
    need_token(c, ph__tconf_is_set(c, "web") ? "web" : "web-admin", &c->web, false);
}
