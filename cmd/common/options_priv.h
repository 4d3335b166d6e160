/* What the files of the option engine share; for nobody else. */
#ifndef PH_CMD_OPTIONS_PRIV_H
#define PH_CMD_OPTIONS_PRIV_H

#include "cmd/common/options.h"

/* Sets of one source, in order. */
struct ph_opt_sets {
    struct ph_opt_set *v;
    size_t n, cap;
};

struct ph_opts {
    const struct ph_opt *table;
    size_t n_table;
    struct ph_opt_sets file, env, argv;
    struct ph_opt_message *message;
    size_t n_messages, cap_messages;
    char **name; /* of files and variables that were read */
    size_t n_names;
    bool failed;
};

/* A copy of a file's or variable's name that lives as long as the ph_opts. */
const char *ph__opts_keep(struct ph_opts *o, const char *name);

/* Keeps a set; value of n bytes is copied.  file and line tell the source, as in struct ph_opt_set. */
void ph__opts_add(struct ph_opts *o, const struct ph_opt *opt, const char *file, unsigned line,
                  const char *value, size_t n);

/* realloc() that aborts when there is no memory. */
void *ph__opts_alloc(void *old, size_t count, size_t size);

/* A copy of n bytes, terminated. */
char *ph__opts_copy(const char *s, size_t n);

/* Text for a message: n bytes of src escaped, cut to size.  Returns dst. */
const char *ph__opts_escape(char *dst, size_t size, const char *src, size_t n);

/* True when an option must be followed by a value. */
static inline bool ph__opts_wants_value(const struct ph_opt *opt)
{
    return opt->kind != PH_OPT_BOOL && !(opt->flags & PH_OPT_BARE);
}

#endif
