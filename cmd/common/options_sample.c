/*
 * The option engine's other texts: the values in force, a sample file, and what differs between two configurations.
 */
#include "cmd/common/options_priv.h"
#include "stun/base/addr.h"

#include <inttypes.h>
#include <string.h>

enum { VALUE = 256, PLACE = 200, COMMENT_WIDTH = 100 };

/* ---- values ---- */

static uint64_t number_at(const struct ph_opt *opt, const void *at)
{
    uint32_t v;
    uint64_t wide;
    if (opt->flags & PH_OPT_WIDE) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&v, at, sizeof v);
    return v;
}

static void choice_text(const struct ph_opt *opt, uint64_t number, char *dst, size_t n)
{
    const char *word = opt->words;
    for (; number; number--)
        word += strcspn(word, "|") + 1;
    snprintf(dst, n, "%.*s", (int)strcspn(word, "|"), word);
}

/* The value of a member as it would be written in a file; "" when there is none. */
static const char *value_text(const struct ph_opt *opt, const void *src, char *dst, size_t n)
{
    char addr[PH_ADDR_TEXT];
    const void *at = (const char *)src + opt->offset;
    *dst = '\0';
    if (opt->offset == PH_OPT_NOWHERE)
        return dst;
    switch ((enum ph_opt_kind)opt->kind) {
    case PH_OPT_BOOL:
        snprintf(dst, n, "%s",
                 *(const bool *)at != ((opt->flags & PH_OPT_INVERT) != 0) ? "yes" : "no");
        break;
    case PH_OPT_UINT:
        /* What could not have been given says that it was not. */
        if (number_at(opt, at) >= opt->min && number_at(opt, at) != UINT32_MAX)
            snprintf(dst, n, "%" PRIu64, number_at(opt, at));
        break;
    case PH_OPT_CHOICE:
        choice_text(opt, number_at(opt, at), dst, n);
        break;
    case PH_OPT_TEXT:
        snprintf(dst, n, "%s", *(const char *const *)at ? *(const char *const *)at : "");
        break;
    case PH_OPT_IP:
    case PH_OPT_ENDPOINT:
        if (((const struct ph_addr *)at)->family)
            snprintf(dst, n, "%s", ph_addr_text(at, addr));
        break;
    case PH_OPT_OTHER:
        break;
    }
    return dst;
}

/* ---- values in force ---- */

/* The set that has decided on a member: also one with another name for it. */
static const struct ph_opt_set *decider(const struct ph_opts *o, const struct ph_opt *opt)
{
    const struct ph_opt_set *last = NULL;
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(o, NULL, s));)
        if (s->opt == opt || (opt->offset != PH_OPT_NOWHERE && s->opt->offset == opt->offset &&
                              s->opt->status == PH_OPT_HONOURED))
            last = s;
    return last;
}

static void line(FILE *f, const char *name, const char *value, const char *from, const char *as)
{
    fprintf(f, "  %s=%s%*s  (%s%s%s)\n", name, value,
            (int)(strlen(name) + strlen(value) < 40 ? 40 - strlen(name) - strlen(value) : 0), "",
            from, as ? ", as " : "", as ? as : "");
}

static void effective_list(const struct ph_opts *o, const struct ph_opt *opt, FILE *f)
{
    char shown[VALUE], place[PLACE];
    bool any = false;
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(o, opt->name, s));) {
        line(f, opt->name, ph_opts_shown(s, shown, sizeof shown),
             ph_opts_place(s, place, sizeof place), NULL);
        any = true;
    }
    if (!any)
        line(f, opt->name, "", "default", NULL);
}

static void effective_one(const struct ph_opts *o, const struct ph_opt *opt, const void *src,
                          FILE *f)
{
    char text[VALUE], shown[VALUE], place[PLACE];
    const struct ph_opt_set *s = decider(o, opt);
    if (opt->kind == PH_OPT_OTHER) {
        effective_list(o, opt, f);
        return;
    }
    value_text(opt, src, text, sizeof text);
    if (s && (opt->flags & PH_OPT_SECRETS))
        ph_opts_shown(s, shown, sizeof shown);
    else
        ph__opts_escape(shown, sizeof shown, text, strlen(text));
    line(f, opt->name, shown, s ? ph_opts_place(s, place, sizeof place) : "default",
         s && s->opt != opt ? s->opt->name : NULL);
}

/* A second name for what another row has. */
static bool is_alias(const struct ph_opts *o, const struct ph_opt *opt)
{
    for (const struct ph_opt *p = o->table; p < opt; p++)
        if (p->name && p->status == PH_OPT_HONOURED && opt->offset != PH_OPT_NOWHERE &&
            p->offset == opt->offset)
            return true;
    return false;
}

static bool is_shown(const struct ph_opt *opt)
{
    return opt->name && opt->status == PH_OPT_HONOURED && !(opt->flags & PH_OPT_ARGV);
}

void ph_opts_effective(const struct ph_opts *o, const void *src, FILE *f)
{
    for (size_t i = 0; i < o->n_table; i++)
        if (is_shown(&o->table[i]) && !is_alias(o, &o->table[i]))
            effective_one(o, &o->table[i], src, f);
}

/* ---- the sample ---- */

static void comment(FILE *f, const char *text)
{
    int at = fprintf(f, "#");
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > 1 && at + 1 + n > COMMENT_WIDTH) {
            fputc('\n', f);
            at = fprintf(f, "#");
        }
        at += fprintf(f, " %.*s", n, text);
        text += n + (text[n] == ' ');
    }
    fputc('\n', f);
}

static void sample_one(const struct ph_opt *opt, const void *defaults, FILE *f)
{
    char text[VALUE];
    const char *value = opt->example ? opt->example : value_text(opt, defaults, text, sizeof text);
    fputc('\n', f);
    comment(f, opt->help);
    fprintf(f, "#%s%s%s\n", opt->name, *value ? "=" : "", value);
}

void ph_opts_sample(const struct ph_opts *o, const void *defaults, FILE *f)
{
    const char *heading = NULL;
    for (size_t i = 0; i < o->n_table; i++) {
        const struct ph_opt *opt = &o->table[i];
        if (!opt->name)
            heading = opt->help;
        if (!is_shown(opt))
            continue;
        if (heading)
            fprintf(f, "\n# ---- %.*s ----\n", (int)strcspn(heading, ":"), heading);
        heading = NULL;
        sample_one(opt, defaults, f);
    }
}

/* ---- differences ---- */

static bool is_same(const struct ph_opts *a, const struct ph_opts *b, const char *name)
{
    const struct ph_opt_set *x = NULL, *y = NULL;
    do {
        x = ph_opts_each(a, name, x);
        y = ph_opts_each(b, name, y);
        if (x && y && strcmp(x->value, y->value) != 0)
            return false;
    } while (x && y);
    return !x && !y;
}

unsigned ph_opts_changes(const struct ph_opts *was, const struct ph_opts *now, bool live, char *dst,
                         size_t n)
{
    unsigned found = 0;
    size_t at = 0;
    *dst = '\0';
    for (size_t i = 0; i < now->n_table; i++) {
        const struct ph_opt *opt = &now->table[i];
        if (!is_shown(opt) || !(opt->flags & PH_OPT_LIVE) == live || is_same(was, now, opt->name))
            continue;
        int len = snprintf(dst + at, n - at, "%s%s", found ? ", " : "", opt->name);
        at = at + (size_t)len < n ? at + (size_t)len : n - 1;
        found++;
    }
    return found;
}
