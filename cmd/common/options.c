/*
 * The option engine: what was given, names, and messages.
 */
#include "cmd/common/options.h"

#include "cmd/common/options_priv.h"
#include "stun/codec/integrity.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_MAX = 1024, SHOWN_MAX = 160, NAME_MAX_LEN = 63 };

void *ph__opts_alloc(void *old, size_t count, size_t size)
{
    void *p = reallocarray(old, count, size);
    if (!p) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return p;
}

char *ph__opts_copy(const char *s, size_t n)
{
    char *copy = ph__opts_alloc(NULL, n + 1, 1);
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

struct ph_opts *ph_opts_new(const struct ph_opt *table, size_t n)
{
    struct ph_opts *o = ph__opts_alloc(NULL, 1, sizeof *o);
    *o = (struct ph_opts){.table = table, .n_table = n};
    return o;
}

static void free_sets(struct ph_opt_sets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        ph_wipe(s->v[i].value, strlen(s->v[i].value));
        free(s->v[i].value);
    }
    free(s->v);
}

void ph_opts_clear(struct ph_opts *o)
{
    for (size_t i = 0; i < o->n_messages; i++)
        free(o->message[i].text);
    o->n_messages = 0;
    o->failed = false;
}

void ph_opts_free(struct ph_opts *o)
{
    if (!o)
        return;
    free_sets(&o->file);
    free_sets(&o->env);
    free_sets(&o->argv);
    ph_opts_clear(o);
    free(o->message);
    for (size_t i = 0; i < o->n_names; i++)
        free(o->name[i]);
    free(o->name);
    free(o);
}

const char *ph__opts_keep(struct ph_opts *o, const char *name)
{
    char *copy = ph__opts_copy(name, strlen(name));
    o->name = ph__opts_alloc(o->name, o->n_names + 1, sizeof *o->name);
    o->name[o->n_names++] = copy;
    return copy;
}

void ph__opts_add(struct ph_opts *o, const struct ph_opt *opt, const char *file, unsigned line,
                  const char *value, size_t n)
{
    struct ph_opt_sets *s = !file ? &o->argv : line ? &o->file : &o->env;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 32;
        s->v = ph__opts_alloc(s->v, s->cap, sizeof *s->v);
    }
    s->v[s->n++] = (struct ph_opt_set){opt, ph__opts_copy(value, n), file, line};
}

void ph_opts_copy_argv(struct ph_opts *o, const struct ph_opts *from)
{
    for (size_t i = 0; i < from->argv.n; i++) {
        const struct ph_opt_set *s = &from->argv.v[i];
        ph__opts_add(o, s->opt, NULL, 0, s->value, strlen(s->value));
    }
}

/* ---- going over what was given ---- */

static bool is_named(const struct ph_opt_set *s, const char *name)
{
    return !name || strcmp(s->opt->name, name) == 0;
}

static const struct ph_opt_set *scan(const struct ph_opt_sets *s, const char *name, size_t from)
{
    for (size_t i = from; i < s->n; i++)
        if (is_named(&s->v[i], name))
            return &s->v[i];
    return NULL;
}

const struct ph_opt_set *ph_opts_each(const struct ph_opts *o, const char *name,
                                      const struct ph_opt_set *prev)
{
    const struct ph_opt_sets *const sources[] = {&o->file, &o->env, &o->argv};
    size_t i = 0, from = 0;
    if (prev) {
        i = !prev->file ? 2 : prev->line ? 0 : 1;
        from = (size_t)(prev - sources[i]->v) + 1;
    }
    for (; i < sizeof sources / sizeof *sources; i++, from = 0) {
        const struct ph_opt_set *s = scan(sources[i], name, from);
        if (s)
            return s;
    }
    return NULL;
}

const struct ph_opt_set *ph_opts_last(const struct ph_opts *o, const char *name)
{
    const struct ph_opt_set *last = NULL;
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(o, name, s));)
        last = s;
    return last;
}

/* ---- names ---- */

const struct ph_opt *ph_opts_find(const struct ph_opts *o, const char *name)
{
    for (size_t i = 0; i < o->n_table; i++)
        if (o->table[i].name && strcmp(o->table[i].name, name) == 0)
            return &o->table[i];
    return NULL;
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Edit distance by insertion, deletion, change and swap of neighbours (Damerau's, restricted). */
static size_t distance(const char *a, const char *b)
{
    size_t row[3][NAME_MAX_LEN + 1] = {{0}}, n = strlen(a), m = strlen(b);
    if (n > NAME_MAX_LEN || m > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = least(up[j] + 1, now[j - 1] + 1, up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < now[j])
                now[j] = up2[j - 2] + 1;
        }
    }
    return row[n % 3][m];
}

const char *ph_opts_nearest(const struct ph_opts *o, const char *name)
{
    const char *best = NULL;
    size_t limit = strlen(name) / 3 + 1;
    for (size_t i = 0; i < o->n_table; i++) {
        if (!o->table[i].name)
            continue;
        size_t d = distance(name, o->table[i].name);
        if (d < limit) {
            limit = d;
            best = o->table[i].name;
        }
    }
    return best;
}

/* ---- messages ---- */

const char *ph__opts_escape(char *dst, size_t size, const char *src, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n && at + 5 < size; i++) {
        unsigned char c = (unsigned char)src[i];
        if (c < 0x20 || c == 0x7F)
            at += (size_t)snprintf(dst + at, size - at, "\\x%02X", c);
        else
            dst[at++] = (char)c;
    }
    dst[at] = '\0';
    return dst;
}

const char *ph_opts_shown(const struct ph_opt_set *s, char *dst, size_t n)
{
    size_t len = strlen(s->value);
    if ((s->opt->flags & PH_OPT_SECRET) && len) {
        snprintf(dst, n, "***");
    } else if (s->opt->flags & (PH_OPT_SECRET_TAIL | PH_OPT_SECRET_WORD)) {
        const char *ends = s->opt->flags & PH_OPT_SECRET_TAIL ? ":" : " \t";
        size_t head_n = strcspn(s->value, ends);
        bool has_tail = s->value[head_n] != '\0';
        char head[SHOWN_MAX];
        ph__opts_escape(head, sizeof head, s->value, has_tail ? head_n : 0);
        snprintf(dst, n, "%s%.1s%s", head, has_tail ? ends : "", len ? "***" : "");
    } else {
        ph__opts_escape(dst, n, s->value, len);
    }
    return dst;
}

const char *ph_opts_place(const struct ph_opt_set *s, char *dst, size_t n)
{
    if (s->file && s->line)
        snprintf(dst, n, "%s:%u", s->file, s->line);
    else
        snprintf(dst, n, "%s", s->file ? s->file : "command line");
    return dst;
}

void ph_opts_say(struct ph_opts *o, enum ph_log_level level, const struct ph_opt_set *s,
                 const char *fmt, ...)
{
    char text[MESSAGE_MAX], place[SHOWN_MAX];
    int at = 0;
    va_list ap;
    if (s && s->file && !s->line) /* the variable's name says all */
        at = snprintf(text, sizeof text, "%s: ", ph_opts_place(s, place, sizeof place));
    else if (s)
        at = snprintf(text, sizeof text, "%s: %s%s: ", ph_opts_place(s, place, sizeof place),
                      s->file ? "" : "--", s->opt->name);
    va_start(ap, fmt);
    vsnprintf(text + at, sizeof text - (size_t)at, fmt, ap);
    va_end(ap);
    if (o->n_messages == o->cap_messages) {
        o->cap_messages = o->cap_messages ? o->cap_messages * 2 : 16;
        o->message = ph__opts_alloc(o->message, o->cap_messages, sizeof *o->message);
    }
    o->message[o->n_messages++] = (struct ph_opt_message){level, ph__opts_copy(text, strlen(text))};
    o->failed = o->failed || level == PH_LOG_ERROR;
}

bool ph_opts_failed(const struct ph_opts *o)
{
    return o->failed;
}

const struct ph_opt_message *ph_opts_message(const struct ph_opts *o, size_t i)
{
    return i < o->n_messages ? &o->message[i] : NULL;
}
