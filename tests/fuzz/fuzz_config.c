/*
 * turnd's configuration: any bytes as the file ('F' first), or as a command line with an argument on each line
 * ('A' first). What is accepted keeps within its bounds, and messages are lines that a terminal can take.
 */
#include "fuzz/check.h"

#include "cmd/turnd/plan.h"
#include "cmd/turnd/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARGS = 64 };

static void fixed_rand(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    memset(dst, 7, n);
}

static void read_args(struct ph_tconf *c, const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    char *argv[ARGS + 1] = {"turnd"};
    int argc = 1;
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *arg = text; arg && argc < ARGS;) {
        char *end = strchr(arg, '\n');
        if (end)
            *end++ = '\0';
        argv[argc++] = arg;
        arg = end;
    }
    ph_opts_read_argv(c->opts, argc, argv);
    free(text);
}

static void check_messages(const struct ph_opts *o)
{
    const struct ph_opt_message *m;
    bool error = false;
    for (size_t i = 0; (m = ph_opts_message(o, i)) != NULL; i++) {
        CHECK(*m->text);
        for (const char *p = m->text; *p; p++)
            CHECK((unsigned char)*p >= 0x20 && *p != 0x7F);
        error = error || m->level == PH_LOG_ERROR;
    }
    CHECK(error == ph_opts_failed(o));
}

static void check_plan(const struct ph_trun *r)
{
    const struct ph_tconf *c = r->conf;
    CHECK(c->min_port >= 1 && c->min_port <= c->max_port && c->max_port <= 65535);
    CHECK(c->realm && *c->realm && strlen(c->realm) <= 127);
    CHECK(strlen(c->separator) == 1);
    CHECK(c->family <= PH_TCONF_KEEP && c->log_level <= PH_LOG_DEBUG);
    CHECK(c->n_more_realms <= PH_TURND_REALMS && c->n_alternates <= PH_TURND_ALTERNATES);
    CHECK(c->new_peers_rate <= 1000000 && c->api_mode >= 1 && c->api_mode <= 0777);
    for (unsigned i = 0; i < r->plan.n_listeners; i++)
        CHECK(r->plan.accept[i] & (PH_ACCEPT_PLAIN | PH_ACCEPT_TLS));
    CHECK(r->plan.n_listeners >= 1 && r->plan.n_listeners <= PH_TURND_LISTENERS);
    CHECK(r->plan.n_relays <= PH_TURND_RELAYS && (r->plan.n_relays > 0) == !c->stun_only);
    CHECK(r->plan.workers <= 128);
    for (unsigned q = 0; q < r->plan.n_quads; q++)
        for (unsigned i = 0; i < PH_STUND_SOCKETS; i++)
            CHECK(r->plan.quad[q].listener[i] < r->plan.n_listeners);
}

static void check_live(const struct ph_tlive *l)
{
    CHECK(l->live.acl && l->live.n_realms <= PH_TURND_REALMS);
    CHECK(l->live.n_oauth <= PH_TURND_OAUTH_KEYS && l->live.n_alternates <= PH_TURND_ALTERNATES);
    for (unsigned i = 0; i < l->live.n_realms; i++)
        CHECK(l->live.auth && l->live.realm[i].auth);
}

/* The account names every key that was given, and is read to its end. */
static void check_report(const struct ph_trun *r)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    CHECK(f != NULL);
    ph_trun_report(r, f);
    fclose(f);
    CHECK(n > 0 && strlen(text) == n);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ph_env env = {.rand = fixed_rand};
    const struct ph_addr machine[] = {
        {.ip = {192, 0, 2, 1}, .family = PH_AF_INET},
        {.ip = {192, 0, 2, 2}, .family = PH_AF_INET},
        {.ip = {0x20, 0x01, 0x0D, 0xB8, [15] = 1}, .family = PH_AF_INET6},
        {.ip = {127, 0, 0, 1}, .family = PH_AF_INET},
    };
    struct ph_tconf c;
    struct ph_trun r = {.conf = &c, .env = env};
    if (size == 0)
        return 0;
    ph_tconf_init(&c);
    if (*data == 'A')
        read_args(&c, data + 1, size - 1);
    else
        ph_opts_read_text(c.opts, "t.conf", (const char *)data + 1, size - 1);
    ph_tconf_apply(&c);
    ph_tplan_make(&r.plan, &c, machine, sizeof machine / sizeof *machine);
    r.live = ph_tlive_new(&c, &env, NULL);
    CHECK(r.live != NULL);
    check_live(r.live);
    check_messages(c.opts);
    check_report(&r);
    if (!ph_opts_failed(c.opts))
        check_plan(&r);
    ph_trun_free(&r);
    ph_tconf_fini(&c);
    return 0;
}
