/*
 * Certificates: which files, in which order, and which of them is wrong.
 */
#include "cmd/turnd/conf_priv.h"

#include "stun/uv/env.h"

#include <string.h>

/* coturn's names, looked for where the configuration is. */
#define DEFAULT_CERT "turn_server_cert.pem"
#define DEFAULT_KEY  "turn_server_pkey.pem"

/* The files of a set, each with room for its whole name. */
struct files {
    struct ph_tls_conf conf;
    char cert[PH_TLS_CERTS][PH_TCONF_PATH], key[PH_TLS_CERTS][PH_TCONF_PATH];
    char ca[PH_TCONF_PATH], dh[PH_TCONF_PATH];
    const struct ph_opt_set *set[PH_TLS_CERTS]; /* NULL: the default one */
};

static void find_default(const char *name, const struct ph_tconf *c, char dst[static PH_TCONF_PATH])
{
    char found[PH_TCONF_PATH];
    if (ph_tconf_find_file(name, found, sizeof found))
        ph_tconf_path(c, found, dst);
    else
        *dst = '\0';
}

void ph__tconf_find_certs(struct ph_tconf *c)
{
    if (ph__tconf_is_set(c, "cert") || *c->default_cert)
        return;
    find_default(DEFAULT_CERT, c, c->default_cert);
    find_default(DEFAULT_KEY, c, c->default_key);
}

bool ph_tconf_has_tls(const struct ph_tconf *c)
{
    return !(c->no_tls && c->no_dtls) && (ph__tconf_is_set(c, "cert") || *c->default_cert);
}

static void take_default(const struct ph_tconf *c, struct files *f)
{
    memcpy(f->cert[0], c->default_cert, sizeof f->cert[0]);
    memcpy(f->key[0], c->default_key, sizeof f->key[0]);
    f->conf.cert[0] = (struct ph_tls_cert){f->cert[0], *f->key[0] ? f->key[0] : NULL, NULL};
    f->conf.n_certs = 1;
}

/* Pairs the certificates with the keys, in order. */
static void take_pairs(struct ph_tconf *c, struct files *f)
{
    const struct ph_opt_set *cert = NULL, *key = NULL;
    while ((cert = ph_opts_each(c->opts, "cert", cert))) {
        unsigned i = f->conf.n_certs;
        if (i == PH_TLS_CERTS) {
            ph_opts_say(c->opts, PH_LOG_ERROR, cert, "too many: %d are the most", PH_TLS_CERTS);
            return;
        }
        if (key || i == 0)
            key = ph_opts_each(c->opts, "pkey", key);
        f->set[i] = cert;
        f->conf.cert[i].cert = ph_tconf_path(c, cert->value, f->cert[i]);
        f->conf.cert[i].key = key ? ph_tconf_path(c, key->value, f->key[i]) : NULL;
        f->conf.cert[i].password = c->key_password;
        f->conf.n_certs++;
    }
    if (key && (key = ph_opts_each(c->opts, "pkey", key)))
        ph_opts_say(c->opts, PH_LOG_WARN, key, "without effect: there are fewer cert than pkey");
}

static void fill(struct ph_tconf *c, struct files *f)
{
    *f = (struct files){
        .conf.ciphers = c->ciphers,
        .conf.curves = c->curves,
        .conf.tls1_0 = c->tls1_0,
        .conf.tls1_1 = c->tls1_1,
        .conf.no_tls1_2 = c->no_tls1_2,
    };
    if (c->ca_file)
        f->conf.client_ca = ph_tconf_path(c, c->ca_file, f->ca);
    if (c->dh_file && *c->dh_file)
        f->conf.dh_file = ph_tconf_path(c, c->dh_file, f->dh);
    if (ph__tconf_is_set(c, "cert"))
        take_pairs(c, f);
    else
        take_default(c, f);
}

/* What is odd about certificates but no reason to refuse them comes as log lines. */
static void on_log(void *ctx, enum ph_log_level level, const char *line)
{
    struct ph_tconf *c = ctx;
    ph_opts_say(c->opts, level == PH_LOG_ERROR ? PH_LOG_WARN : level, ph_opts_last(c->opts, "cert"),
                "%s", line);
}

/* Finds out which certificate a set failed for, by loading each alone. */
static const struct ph_opt_set *culprit(const struct files *f, const struct ph_env *env)
{
    char why[PH_TLS_WHY];
    for (unsigned i = 0; i < f->conf.n_certs; i++) {
        struct ph_tls_conf one = f->conf;
        one.cert[0] = f->conf.cert[i];
        one.n_certs = 1;
        struct ph_tls *tls = ph_tls_new(&one, env, why);
        ph_tls_unref(tls);
        if (!tls)
            return f->set[i];
    }
    return f->set[0];
}

struct ph_tls *ph_tconf_tls(struct ph_tconf *c)
{
    struct ph_log log = {on_log, c, PH_LOG_WARN};
    struct ph_env env = ph_env_system(&log), quiet = ph_env_system(NULL);
    char why[PH_TLS_WHY];
    static struct files f; /* of the main thread; too big for a stack */
    if (!ph_tconf_has_tls(c))
        return NULL;
    fill(c, &f);
    struct ph_tls *tls = ph_tls_new(&f.conf, &env, why);
    if (!tls) {
        const struct ph_opt_set *s = culprit(&f, &quiet);
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "%s", why);
    }
    return tls;
}

bool ph_tconf_http_cert(const struct ph_tconf *c, char *cert, char *key)
{
    const struct ph_opt_set *first_cert = ph_opts_each(c->opts, "cert", NULL);
    const struct ph_opt_set *first_key = ph_opts_each(c->opts, "pkey", NULL);
    const char *name = c->prom_cert       ? c->prom_cert
                       : first_cert       ? first_cert->value
                       : *c->default_cert ? c->default_cert
                                          : NULL;
    if (!name)
        return false;
    ph_tconf_path(c, name, cert);
    name = c->prom_key       ? c->prom_key
           : c->prom_cert    ? c->prom_cert
           : first_key       ? first_key->value
           : *c->default_key ? c->default_key
                             : cert;
    ph_tconf_path(c, name, key);
    return true;
}
