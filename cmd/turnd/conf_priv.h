/* What the files of the configuration share; for nobody else. */
#ifndef PH_TURND_CONF_PRIV_H
#define PH_TURND_CONF_PRIV_H

#include "cmd/turnd/conf.h"

/* `"VALUE" what`, as an error at a set. */
void ph__tconf_bad(struct ph_tconf *c, const struct ph_opt_set *s, const char *what);

/* Whether a key was given at all. */
static inline bool ph__tconf_is_set(const struct ph_tconf *c, const char *name)
{
    return ph_opts_last(c->opts, name) != NULL;
}

/* Reads n bytes as a numeric IP address without port or brackets. */
bool ph__tconf_read_ip(struct ph_addr *a, const char *text, size_t n);

/* Reads a decimal number up to max. */
bool ph__tconf_read_number(const char *text, size_t n, uint64_t max, uint64_t *out);

/* Reads the variables that are keys (and, at a reload, their files again). */
void ph__tconf_read_env(struct ph_tconf *c);

/* The steps of ph_tconf_apply: what is listed, realms, endpoints, state, and the rules between keys. */
void ph__tconf_take_lists(struct ph_tconf *c);
void ph__tconf_take_realms(struct ph_tconf *c);
void ph__tconf_take_operation(struct ph_tconf *c);
void ph__tconf_take_state(struct ph_tconf *c);
void ph__tconf_check(struct ph_tconf *c);

/* Looks for the certificate that coturn would take when none is given. */
void ph__tconf_find_certs(struct ph_tconf *c);

/* The number of a realm that has been taken, PH_TCONF_DEFAULT, or -2: none has this name. */
int ph__tconf_realm_of(const struct ph_tconf *c, const char *name, size_t n);

/* Adds "NAME:PASSWORD" or "NAME:0xKEY" (n bytes).  0, or a negative error and a sentence in *what (NULL: memory). */
int ph__tconf_add_user(struct ph_auth *auth, const char *text, size_t n, const char **what);

/* Adds the users of a file, whose mistakes become errors that name it and the line.  0 or PH_E_NOMEM. */
int ph__tconf_add_users_file(struct ph_tconf *c, struct ph_auth *auth);

/* Opens an ordinary file for reading.  NULL: errno says why (EINVAL: it is no ordinary file). */
FILE *ph__tconf_open(const struct ph_tconf *c, const char *name);

#endif
