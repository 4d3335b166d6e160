/*
 * Users: user= lines, the users-file, and those of other realms.
 *
 * A users-file is for many of them, made by programs:
 *
 *     # a comment
 *     alice:password
 *     bob:0x8493fbc53ba582fb4c044c456bdc40eb max-bps=125000 user-quota=2 expires=1798761600
 *
 * Names and passwords there have no blanks.
 */
#include "cmd/turnd/conf_priv.h"

#include "cmd/common/options_priv.h"
#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 160, LINE_BYTES = 2048, ERRORS_SHOWN = 10 };

/* ---- one user ---- */

static int hex_value(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = (char)(ch | 0x20);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Exactly 32 hex digits. */
static bool read_key(uint8_t key[static 16], const char *text, size_t n)
{
    if (n != 32)
        return false;
    for (int i = 0; i < 16; i++) {
        int hi = hex_value(text[2 * i]);
        int lo = hi < 0 ? -1 : hex_value(text[2 * i + 1]);
        if (lo < 0)
            return false;
        key[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static int refuse(const char **what, const char *sentence)
{
    *what = sentence;
    return PH_E_FORMAT;
}

/* Blanks before the password go, as in coturn. */
int ph__tconf_add_user(struct ph_auth *auth, const char *text, size_t n, const char **what)
{
    const char *end = text + n, *colon = memchr(text, ':', n);
    const char *password = colon ? colon + 1 : end;
    uint8_t key[16];
    int err;
    *what = NULL;
    while (password < end && (*password == ' ' || *password == '\t'))
        password++;
    if (!colon)
        return refuse(what, "the \":\" is missing: give NAME:PASSWORD, or NAME:0x and 32 hex "
                            "digits");
    if (colon == text)
        return refuse(what, "the name is missing: give NAME:PASSWORD, or NAME:0x and 32 hex "
                            "digits");
    if (password == end)
        return refuse(what, "the password is missing: give NAME:PASSWORD, or NAME:0x and 32 hex "
                            "digits");
    const struct ph_slice name = {(const uint8_t *)text, (size_t)(colon - text)};
    if (end - password >= 2 && memcmp(password, "0x", 2) == 0) {
        if (!read_key(key, password + 2, (size_t)(end - password) - 2))
            return refuse(what, "has a malformed key: give 0x and 32 hex digits, the MD5 of "
                                "\"name:realm:password\"");
        err = ph_auth_add_user_key(auth, name, key);
        ph_wipe(key, sizeof key);
    } else {
        err = ph_auth_add_user(
            auth, name, (struct ph_slice){(const uint8_t *)password, (size_t)(end - password)});
    }
    return err == PH_E_ARG ? refuse(what, "has a name that is too long: 508 bytes are the most")
                           : err;
}

/* ---- the users-file ---- */

struct file {
    struct ph_tconf *c;
    unsigned line, mistakes;
};

static void mistake(struct file *f, const char *name, size_t n, const char *what)
{
    char shown[SHOWN];
    if (++f->mistakes > ERRORS_SHOWN)
        return;
    ph__opts_escape(shown, sizeof shown, name, n);
    ph_opts_say(f->c->opts, PH_LOG_ERROR, NULL, "%s:%u: %s%s%s%s", f->c->users_file, f->line,
                n ? "\"" : "", shown, n ? "\" " : "", what);
}

/* "max-bps=125000": a word of n bytes.  NULL, or what is wrong with it. */
static const char *read_limit(struct ph_auth_limits *l, const char *word, size_t n)
{
    static const struct {
        const char *name;
        uint64_t max;
    } KEYS[] = {{"max-bps=", PH_OPT_WIDE_MAX},
                {"user-quota=", UINT32_MAX},
                {"expires=", (uint64_t)INT64_MAX}};
    uint64_t v = 0;
    size_t k = 0, len = 0;
    for (; k < 3; k++) {
        len = strlen(KEYS[k].name);
        if (n >= len && memcmp(word, KEYS[k].name, len) == 0)
            break;
    }
    if (k == 3)
        return "has an unknown word behind it: give max-bps=N, user-quota=N or expires=UNIXTIME";
    if (!ph__tconf_read_number(word + len, n - len, KEYS[k].max, &v))
        return k == 0   ? "has a max-bps that is no number: give bytes a second"
               : k == 1 ? "has a user-quota that is no number: give how many allocations"
                        : "has an end that is no number: give expires=UNIXTIME, in seconds";
    if (k == 0)
        l->max_bps = v;
    else if (k == 1)
        l->max_allocations = (uint32_t)v;
    else
        l->expires_unix_s = (int64_t)v;
    return NULL;
}

/* A line without blanks around it.  0 or PH_E_NOMEM. */
static int add_line(struct file *f, struct ph_auth *auth, const char *s, size_t n)
{
    size_t user_n = strcspn(s, " \t"), name_n = strcspn(s, ": \t");
    struct ph_auth_limits limits = {0};
    const char *what = NULL;
    bool limited = false;
    for (const char *word = s + user_n; !what && *(word += strspn(word, " \t"));) {
        size_t len = strcspn(word, " \t");
        what = read_limit(&limits, word, len);
        word += len;
        limited = true;
    }
    if (!what && strlen(s) != n)
        what = "has a NUL byte: this is no text";
    int err = what ? PH_E_FORMAT : ph__tconf_add_user(auth, s, user_n, &what);
    if (what)
        mistake(f, s, s[name_n] == ':' ? name_n : 0, what);
    else if (!err && limited)
        err = ph_auth_limit_user(auth, (struct ph_slice){(const uint8_t *)s, name_n}, &limits);
    return what ? 0 : err;
}

static int read_users(struct file *f, struct ph_auth *auth, FILE *in)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int err = 0;
    while (!err && (n = getline(&line, &cap, in)) >= 0) {
        char *s = line;
        f->line++;
        while (n && strchr(" \t\r\n", s[n - 1]))
            n--;
        s[n] = '\0';
        while (*s == ' ' || *s == '\t') {
            s++;
            n--;
        }
        if (n > LINE_BYTES)
            mistake(f, "", 0, "the line is too long: 2048 bytes are the most");
        else if (n && *s != '#')
            err = add_line(f, auth, s, (size_t)n);
    }
    if (line)
        ph_wipe(line, cap);
    free(line);
    return err;
}

int ph__tconf_add_users_file(struct ph_tconf *c, struct ph_auth *auth)
{
    const struct ph_opt_set *s = ph_opts_last(c->opts, "users-file");
    struct file f = {c, 0, 0};
    if (!c->users_file || !*c->users_file)
        return 0;
    FILE *in = ph__tconf_open(c, c->users_file);
    if (!in) {
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "cannot read %s: %s", c->users_file,
                    errno == EINVAL ? "it is no ordinary file" : strerror(errno));
        return 0;
    }
    int err = read_users(&f, auth, in);
    fclose(in);
    if (f.mistakes > ERRORS_SHOWN)
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "%s has %u more mistakes", c->users_file,
                    f.mistakes - ERRORS_SHOWN);
    return err;
}

/* ---- realms ---- */

/* What follows the realm's name, where a key has one (realm-user); NULL: it is another realm's. */
static const char *of_realm(const struct ph_tconf *c, const struct ph_opt_set *s, int realm)
{
    size_t n = strcspn(s->value, " \t");
    if (realm == PH_TCONF_DEFAULT)
        return s->value;
    return ph__tconf_realm_of(c, s->value, n) == realm ? s->value + n + strspn(s->value + n, " \t")
                                                       : NULL;
}

static int add_users(struct ph_tconf *c, struct ph_auth *auth, int realm)
{
    const char *key = realm == PH_TCONF_DEFAULT ? "user" : "realm-user";
    int err = 0;
    for (const struct ph_opt_set *s = NULL; !err && (s = ph_opts_each(c->opts, key, s));) {
        const char *what, *text = of_realm(c, s, realm);
        if (!text)
            continue;
        err = ph__tconf_add_user(auth, text, strlen(text), &what);
        if (!what)
            continue;
        if (strncmp(what, "has ", 4) == 0)
            ph__tconf_bad(c, s, what);
        else
            ph_opts_say(c->opts, PH_LOG_ERROR, s, "%s", what);
        err = 0;
    }
    return err;
}

static int add_secrets(struct ph_tconf *c, struct ph_auth *auth, int realm)
{
    const char *key = realm == PH_TCONF_DEFAULT ? "static-auth-secret" : "realm-secret";
    int err = 0;
    for (const struct ph_opt_set *s = NULL; !err && (s = ph_opts_each(c->opts, key, s));) {
        const char *text = of_realm(c, s, realm);
        if (text && *text)
            err = ph_auth_add_secret(auth, ph_str(text));
        else if (text)
            ph_opts_say(c->opts, PH_LOG_ERROR, s, "is empty: give a secret, or remove the key");
    }
    if (!err && realm == PH_TCONF_DEFAULT && *c->test_secret)
        err = ph_auth_add_secret(auth, ph_str(c->test_secret));
    return err;
}

struct ph_auth *ph_tconf_auth(struct ph_tconf *c, int realm, const struct ph_env *env)
{
    struct ph_auth *auth =
        ph_auth_new(realm == PH_TCONF_DEFAULT ? c->realm : c->more_realm[realm].name, env);
    int err = auth ? add_users(c, auth, realm) : PH_E_NOMEM;
    if (!err && realm == PH_TCONF_DEFAULT)
        err = ph__tconf_add_users_file(c, auth);
    if (!err)
        err = add_secrets(c, auth, realm);
    if (!err) {
        ph_auth_rest_separator(auth, *c->separator);
        return auth;
    }
    ph_auth_free(auth);
    return NULL;
}

bool ph_tconf_wants_auth(const struct ph_tconf *c)
{
    return !c->no_auth;
}
