/*
 * For the tests of turnd's configuration: a text as its file, and what it says about it.
 */
#ifndef PH_TESTS_CMD_SUPPORT_H
#define PH_TESTS_CMD_SUPPORT_H

#include "cmd/turnd/live.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static inline void conf_rand(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    memset(dst, 7, n);
}

static const struct ph_env CONF_ENV = {.rand = conf_rand};

/* Reads a text as the file t.conf. */
static inline void conf_load(struct ph_tconf *c, const char *text)
{
    ph_tconf_init(c);
    ph_opts_read_text(c->opts, "t.conf", text, strlen(text));
    ph_tconf_apply(c);
}

/* The same, and makes all that can be made of it but certificates. */
static inline struct ph_tlive *conf_build(struct ph_tconf *c, const char *text)
{
    conf_load(c, text);
    struct ph_tlive *l = ph_tlive_new(c, &CONF_ENV, NULL);
    cr_assert_not_null(l);
    return l;
}

static inline const char *conf_first_error(const struct ph_tconf *c)
{
    const struct ph_opt_message *m;
    for (size_t i = 0; (m = ph_opts_message(c->opts, i)) != NULL; i++)
        if (m->level == PH_LOG_ERROR)
            return m->text;
    return NULL;
}

static inline bool conf_has_message(const struct ph_tconf *c, const char *part)
{
    const struct ph_opt_message *m;
    for (size_t i = 0; (m = ph_opts_message(c->opts, i)) != NULL; i++)
        if (strstr(m->text, part))
            return true;
    return false;
}

static inline void conf_expect_fine(const char *text)
{
    struct ph_tconf c;
    struct ph_tlive *l = conf_build(&c, text);
    const char *why = conf_first_error(&c);
    cr_expect_null(why, "%s: %s", text, why ? why : "");
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}

static inline void conf_expect_error(const char *text, const char *message)
{
    struct ph_tconf c;
    struct ph_tlive *l = conf_build(&c, text);
    const char *got = conf_first_error(&c);
    cr_expect(ph_opts_failed(c.opts), "%s", text);
    cr_expect_str_eq(got ? got : "(none)", message, "%s\n   not\n%s", got ? got : "(none)",
                     message);
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}

static inline void conf_expect_warning(const char *text, const char *part)
{
    struct ph_tconf c;
    struct ph_tlive *l = conf_build(&c, text);
    cr_expect(conf_has_message(&c, part), "%s: no message has \"%s\"", text, part);
    cr_expect_not(ph_opts_failed(c.opts), "%s", text);
    ph_tlive_free(l);
    ph_tconf_fini(&c);
}

#endif
