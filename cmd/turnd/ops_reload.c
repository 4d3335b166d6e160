/*
 * Reloads: all or nothing.
 *
 * The configuration is read anew and everything that may change is made of it before anything is touched.  Then the
 * workers take it over one after another, without a packet lost; when they all have, what was before is freed.
 */
#include "cmd/turnd/ops_priv.h"

#include "cmd/common/notify.h"
#include "cmd/turnd/db.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAY(o, level, ...) ph_logf(&(o)->run->env, PH_LOG_##level, __VA_ARGS__)

enum { NAMES = 400, NOTIFY = 96 };

/* What a reload makes before it may fail no more. */
struct fresh {
    struct ph_tconf *conf;
    struct ph_tlive *live;
    struct ph_tls *tls; /* NULL: the old certificates stay */
};

/* ---- systemd ---- */

static void tell_reloading(void)
{
    char state[NOTIFY];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
    ph_notify(state);
}

/* ---- texts ---- */

static size_t add(char text[static PH_TOPS_TEXT], size_t at, const char *s)
{
    int n = snprintf(text + at, PH_TOPS_TEXT - at, "%s", s);
    return at + (size_t)n < PH_TOPS_TEXT ? at + (size_t)n : PH_TOPS_TEXT - 1;
}

/* The mistakes, in one line. */
static void tell_mistakes(const struct ph_opts *o, char text[static PH_TOPS_TEXT])
{
    const struct ph_opt_message *m;
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; (m = ph_opts_message(o, i)) != NULL; i++) {
        if (m->level != PH_LOG_ERROR)
            continue;
        at = add(text, at, at ? "; " : "");
        at = add(text, at, m->text);
    }
    if (!at)
        add(text, 0, "out of memory");
}

static void tell_warnings(struct ph_tops *o, const struct ph_opts *opts)
{
    const struct ph_opt_message *m;
    for (size_t i = 0; (m = ph_opts_message(opts, i)) != NULL; i++)
        if (m->level != PH_LOG_ERROR)
            ph_logf(&o->run->env, m->level, "%s", m->text);
}

/* What has changed since the last time, and what since the start without effect. */
static void tell_changes(const struct ph_tops *o, const struct fresh *f,
                         char text[static PH_TOPS_TEXT])
{
    const struct ph_opts *now = f->conf->opts;
    char names[NAMES];
    size_t at = add(text, 0, "taken: ");
    if (ph_opts_changes(o->run->conf->opts, now, true, names, sizeof names))
        at = add(text, at, names);
    else
        at = add(text, at, "no key has changed");
    if (f->conf->users_file && *f->conf->users_file)
        at = add(text, at, "; users-file was read");
    if (f->tls)
        at = add(text, at, "; certificates were loaded");
    if (o->run->tls && !f->tls)
        at = add(text, at, "; the old certificates stay until a restart");
    if (ph_opts_changes(o->priv->started->opts, now, false, names, sizeof names)) {
        at = add(text, at, "; needs a restart: ");
        at = add(text, at, names);
    }
    if (!o->run->tls && ph_tconf_has_tls(f->conf))
        add(text, at, "; TLS and DTLS were off at the start and need a restart");
}

/* ---- the reload ---- */

static void discard(struct fresh *f)
{
    if (f->conf)
        ph_tconf_fini(f->conf);
    free(f->conf);
    ph_tlive_free(f->live);
    ph_tls_unref(f->tls);
}

/* What cannot change while the server runs stays as it was. */
static void keep_fixed(struct ph_tconf *c, const struct ph_tconf *was)
{
    snprintf(c->realm_buf, sizeof c->realm_buf, "%s", was->realm);
    c->realm = c->realm_buf;
    c->no_auth = was->no_auth;
    c->oauth = was->oauth;
    c->free_bind = was->free_bind;
    memcpy(c->node, was->node, sizeof c->node);
    memcpy(c->adopt, was->adopt, sizeof c->adopt);
    c->n_adopt = was->n_adopt;
}

/* Mistakes in what needs a restart count too: at the next start they would be in the way. */
static void check_plan(struct ph_tconf *c)
{
    struct ph_addr machine[PH_TURND_LISTENERS];
    struct ph_tplan plan;
    int n = ph_tplan_machine(machine, PH_TURND_LISTENERS);
    ph_tplan_make(&plan, c, machine, n > 0 ? (unsigned)n : 0);
}

/* Makes everything; false: there are mistakes, in f->conf->opts. */
static bool prepare(struct ph_tops *o, struct fresh *f)
{
    struct ph_trun *r = o->run;
    f->conf = calloc(1, sizeof *f->conf);
    if (!f->conf)
        return false;
    ph_tconf_reread(f->conf, r->conf);
    if (ph_opts_failed(f->conf->opts))
        return false;
    check_plan(f->conf);
    keep_fixed(f->conf, r->conf);
    if (r->db)
        ph_tdb_realms(r->db, f->conf);
    f->live = ph_tlive_new(f->conf, &r->env, r->db ? ph_tdb_data(r->db) : NULL);
    f->tls = r->tls ? ph_tconf_tls(f->conf) : NULL;
    if (f->live && !ph_opts_failed(f->conf->opts))
        return true;
    if (r->db)
        ph_tdb_realms(r->db, r->conf);
    return false;
}

static bool fail(struct ph_tops *o, const char *text)
{
    o->reload_failures++;
    SAY(o, ERROR, "reload: nothing has changed: %s", text);
    ph_notify("READY=1\nSTATUS=serving; the last reload has failed");
    return false;
}

bool ph_tops_reload(struct ph_tops *o, char text[static PH_TOPS_TEXT])
{
    struct ph_tconf *old = o->run->conf;
    struct fresh f = {NULL, NULL, NULL};
    tell_reloading();
    if (!prepare(o, &f)) {
        if (f.conf)
            tell_mistakes(f.conf->opts, text);
        else
            add(text, 0, "out of memory");
        discard(&f);
        return fail(o, text);
    }
    tell_changes(o, &f, text);
    tell_warnings(o, f.conf->opts);
    if (ph_trun_swap(o->run, f.conf, f.live, f.tls) != 0) {
        discard(&f);
        add(text, 0, "out of memory");
        return fail(o, text);
    }
    ph_tops_log_level(o, (enum ph_log_level)f.conf->log_level);
    if (old != o->priv->started) {
        ph_tconf_fini(old);
        free(old);
    }
    o->reloads++;
    o->reloaded_s = (int64_t)time(NULL);
    SAY(o, INFO, "reload: %s", text);
    ph_notify(o->state == PH_TOPS_DRAINING ? "READY=1\nSTATUS=draining"
                                           : "READY=1\nSTATUS=serving");
    return true;
}

bool ph_tops_reload_certs(struct ph_tops *o, char text[static PH_TOPS_TEXT])
{
    struct ph_trun *r = o->run;
    if (!r->tls) {
        add(text, 0, "there are no certificates: TLS and DTLS are off");
        SAY(o, WARN, "certificates: %s", text);
        return false;
    }
    ph_opts_clear(r->conf->opts); /* they have been told */
    struct ph_tls *tls = ph_tconf_tls(r->conf);
    if (!tls) {
        tell_mistakes(r->conf->opts, text);
        o->reload_failures++;
        SAY(o, ERROR, "certificates: the old ones stay: %s", text);
        return false;
    }
    tell_warnings(o, r->conf->opts);
    ph_trun_tell(r, tls);
    ph_tls_unref(r->tls);
    r->tls = tls;
    add(text, 0, "certificates were loaded");
    SAY(o, INFO, "certificates: loaded anew; connections that stand keep the old ones");
    return true;
}
