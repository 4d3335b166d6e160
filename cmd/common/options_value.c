/*
 * The option engine's values: text into the members of a plain struct.
 */
#include "cmd/common/options_priv.h"
#include "stun/base/addr.h"

#include <inttypes.h>
#include <string.h>

enum { SHOWN = 160 };

bool ph_opts_bool(const char *text, bool *out)
{
    static const char *const ON[] = {"on", "On", "ON"}, *const OFF[] = {"off", "Off", "OFF"};
    if (*text == '\0' || strchr("yYtT123456789", *text)) {
        *out = true;
        return true;
    }
    if (strchr("0nNfF", *text)) {
        *out = false;
        return true;
    }
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, ON[i]) == 0 || strcmp(text, OFF[i]) == 0) {
            *out = strcmp(text, ON[i]) == 0;
            return true;
        }
    }
    return false;
}

bool ph_opts_is_off(const struct ph_opt_set *s)
{
    bool on = true;
    return s->opt->kind == PH_OPT_BOOL && ph_opts_bool(s->value, &on) && !on;
}

/* "X is wrong": with the value, unless it must not be shown. */
static void bad(struct ph_opts *o, const struct ph_opt_set *s, const char *is, const char *want)
{
    char shown[SHOWN];
    ph_opts_say(o, PH_LOG_ERROR, s, "\"%s\" %s: %s", ph_opts_shown(s, shown, sizeof shown), is,
                want);
}

static bool read_number(const char *text, uint64_t *out)
{
    uint64_t v = 0;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9')
            return false;
        v = v > PH_OPT_WIDE_MAX ? v : v * 10 + (uint64_t)(*p - '0');
    }
    *out = v;
    return *text != '\0';
}

static void put_uint(const struct ph_opt *opt, void *dst, uint64_t v)
{
    if (opt->flags & PH_OPT_WIDE)
        memcpy(dst, &v, sizeof v);
    else
        memcpy(dst, &(uint32_t){(uint32_t)v}, sizeof(uint32_t));
}

static void store_uint(struct ph_opts *o, const struct ph_opt_set *s, void *dst)
{
    const struct ph_opt *opt = s->opt;
    uint64_t max = opt->max                   ? opt->max
                   : opt->flags & PH_OPT_WIDE ? (uint64_t)PH_OPT_WIDE_MAX
                                              : UINT32_MAX;
    uint64_t v;
    char want[SHOWN];
    if (*s->value == '\0' && (opt->flags & PH_OPT_BARE)) {
        put_uint(opt, dst, opt->dflt);
        return;
    }
    snprintf(want, sizeof want, "give a whole number from %u to %" PRIu64, opt->min, max);
    if (!read_number(s->value, &v)) {
        bad(o, s,
            strchr(s->value, '#') ? "is not a number (a comment needs a line of its own)"
                                  : "is not a number",
            want);
        return;
    }
    if (v < opt->min || v > max) {
        bad(o, s, "is out of range", want);
        return;
    }
    put_uint(opt, dst, v);
}

static void store_choice(struct ph_opts *o, const struct ph_opt_set *s, uint32_t *dst)
{
    size_t n = strlen(s->value);
    const char *word = s->opt->words;
    for (uint32_t i = 0;; i++) {
        size_t len = strcspn(word, "|");
        if (len == n && memcmp(word, s->value, n) == 0) {
            *dst = i;
            return;
        }
        if (word[len] == '\0')
            break;
        word += len + 1;
    }
    char want[SHOWN];
    snprintf(want, sizeof want, "give one of %s", s->opt->words);
    bad(o, s, "is not known", want);
}

static void store_addr(struct ph_opts *o, const struct ph_opt_set *s, struct ph_addr *dst)
{
    struct ph_addr a;
    size_t n = strlen(s->value);
    bool ip_only = s->opt->kind == PH_OPT_IP;
    uint16_t port = ip_only ? 0 : (uint16_t)s->opt->min;
    bool ok = ph_addr_parse(&a, s->value, n, port) == 0;
    if (ok && ip_only)
        ok = *s->value != '[' && (a.family == PH_AF_INET6 || !strchr(s->value, ':'));
    if (ok && !ip_only && a.port == 0) {
        bad(o, s, "has no port", "give it as 192.0.2.1:3478 or [2001:db8::1]:3478");
        return;
    }
    if (!ok) {
        bad(o, s, "is not an address",
            ip_only ? "give a numeric IP address without port, as 192.0.2.1 or 2001:db8::1"
                    : "give a numeric one, as 192.0.2.1:3478 or [2001:db8::1]:3478");
        return;
    }
    *dst = a;
}

static void store_bool(struct ph_opts *o, const struct ph_opt_set *s, bool *dst)
{
    bool on;
    if (!ph_opts_bool(s->value, &on)) {
        bad(o, s, "is neither true nor false", "give yes or no, true or false, 1 or 0, on or off");
        return;
    }
    *dst = on != ((s->opt->flags & PH_OPT_INVERT) != 0);
}

/* A value that is read but not wanted, so that its mistakes show. */
union sink {
    bool flag;
    uint32_t number;
    uint64_t wide;
    struct ph_addr addr;
    const char *text;
};

static void apply_one(struct ph_opts *o, const struct ph_opt_set *s, void *dst)
{
    union sink sink;
    void *at = s->opt->offset == PH_OPT_NOWHERE ? (void *)&sink : (char *)dst + s->opt->offset;
    switch ((enum ph_opt_kind)s->opt->kind) {
    case PH_OPT_BOOL:
        store_bool(o, s, at);
        break;
    case PH_OPT_UINT:
        store_uint(o, s, at);
        break;
    case PH_OPT_CHOICE:
        store_choice(o, s, at);
        break;
    case PH_OPT_TEXT:
        *(const char **)at = s->value;
        break;
    case PH_OPT_IP:
    case PH_OPT_ENDPOINT:
        store_addr(o, s, at);
        break;
    case PH_OPT_OTHER:
        break;
    }
}

void ph_opts_apply(struct ph_opts *o, void *dst)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(o, NULL, s));) {
        if (s->opt->status == PH_OPT_HONOURED)
            apply_one(o, s, dst);
        else if (ph_opts_is_off(s))
            continue;
        else if (s->opt->status == PH_OPT_REFUSED)
            ph_opts_say(o, PH_LOG_ERROR, s, "refused: %s", s->opt->note);
        else if (s->opt->flags & PH_OPT_TELL)
            ph_opts_say(o, PH_LOG_WARN, s, "ignored: %s", s->opt->note);
    }
}
