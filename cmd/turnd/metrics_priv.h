/*
 * What the files of turnd's metrics share.
 *
 *   metrics.c        what is counted here: histograms, ends by reason, traffic of users
 *   metrics_write.c  the text for Prometheus
 *   metrics_text.c   its grammar
 */
#ifndef PH_TURND_METRICS_PRIV_H
#define PH_TURND_METRICS_PRIV_H

#include "cmd/turnd/metrics.h"

#include <pthread.h>

enum {
    PH_TMETRICS_BUCKETS = 12, /* of a histogram, +Inf besides */
    PH_TMETRICS_REASONS = PH_END_ADOPTED + 1,
    PH_TMETRICS_USER = 256, /* bytes of a user name that count, terminator included */
    PH_TMETRICS_REALM = 128,
    PH_TMETRICS_SLOTS =
        2048 /* of the table of users: a power of two, twice as many as there can be */
};

/* A value lies in the first bucket whose bound it does not exceed.  Values and their sum are in parts of the unit of the
 * bounds. */
struct ph__thist {
    uint64_t bound[PH_TMETRICS_BUCKETS];
    unsigned n;
    uint64_t parts; /* of a unit: 1, or 1000 for seconds that are measured in milliseconds */
    _Atomic uint64_t count[PH_TMETRICS_BUCKETS + 1], sum;
};

enum { PH_TMETRICS_WAYS = 4 }; /* to peer packets, bytes; to client packets, bytes */

/* Traffic of a user, or of a realm. */
struct ph__tuser {
    char realm[PH_TMETRICS_REALM], user[PH_TMETRICS_USER]; /* terminated bytes of clients */
    uint64_t ended[PH_TMETRICS_WAYS];                      /* of sessions that are over */
    uint64_t live[PH_TMETRICS_WAYS]; /* the same and those that are not, while it is added up */
    uint64_t
        told[PH_TMETRICS_WAYS]; /* what was written last: it never goes back; the writer's alone */
};

struct ph_tmetrics {
    bool users;
    struct ph__thist duration, bytes, lifetime;
    _Atomic uint64_t reason[PH_TMETRICS_REASONS];

    pthread_mutex_t writing; /* one writer at a time; taken before lock */
    unsigned n_told;         /* rows to write, whose names do not change any more */
    pthread_mutex_t lock;    /* guards the rest; held for moments */
    struct ph__tuser *user;  /* n of max; the last place is for all others */
    unsigned n, max;
    uint16_t slot[PH_TMETRICS_SLOTS]; /* place + 1, 0: free */
};

/* Adds up what each user has had until now, asking the workers for sessions that are up. */
void ph__tmetrics_users(struct ph_tmetrics *m, struct ph_turn_uv *server);

/* ---- metrics_text.c ---- */

/* Writes HELP and TYPE ("counter", "gauge", "histogram") of a family. */
void ph__tmetrics_family(FILE *f, const char *name, const char *type, const char *help);

/* Writes one sample.  labels: "" or as in braces, ready made. */
void ph__tmetrics_uint(FILE *f, const char *name, const char *labels, uint64_t v);
void ph__tmetrics_real(FILE *f, const char *name, const char *labels, double v);

/* A family with a single sample. */
void ph__tmetrics_one(FILE *f, const char *name, const char *type, const char *help, uint64_t v);

void ph__tmetrics_hist(FILE *f, const char *name, const char *help, struct ph__thist *h);

/* Text of clients as the value of a label: quotes and backslashes escaped, what is no UTF-8 or a control written as
 * \xHH (whose backslash is escaped in turn). */
void ph__tmetrics_label(FILE *f, const char *text);

/* process_..., from /proc. */
void ph__tmetrics_process(FILE *f);

#endif
