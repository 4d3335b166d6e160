/*
 * Reading an address in two halves: its spelling (redis_url.c), and what its parts mean (redis_conf.c).
 */
#ifndef PH_TURN_STORE_REDIS_SPEC_H
#define PH_TURN_STORE_REDIS_SPEC_H

#include "turn/store/redis.h"

enum ph__spec_field {
    PH__HOST,
    PH__PORT,
    PH__DB,
    PH__USER,
    PH__PASSWORD,
    PH__CONNECT_TIMEOUT,
    PH__COMMAND_TIMEOUT,
    PH__PATH,
    PH__SENTINEL_USER,
    PH__SENTINEL_PASSWORD,
    PH__TLS,
    PH__CA,
    PH__CAPATH,
    PH__CERT,
    PH__KEY,
    PH__SNI,
    PH__VERIFY,
};

/* An address being read. */
struct ph__spec {
    struct ph_redis_conf c;
    char *why; /* PH_REDIS_WHY bytes */
    bool scheme_tls, tls_said,
        tls_needed; /* by the scheme, by tls=, by a name that is of use to TLS alone */
};

/* Fills in why, and returns PH_E_FORMAT. */
int ph__spec_bad(struct ph__spec *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Each: 0, or PH_E_FORMAT and why. */
int ph__spec_set(struct ph__spec *s, enum ph__spec_field field, const char *value);
int ph__spec_named(struct ph__spec *s, unsigned at, const char *name, const char *value);
int ph__spec_host(struct ph__spec *s, unsigned i, const char *host,
                  const char *port); /* port NULL: the usual */
int ph__spec_master(struct ph__spec *s, const char *name);

/* Reads an address in any spelling (redis_url.c). */
int ph__spec_parse(struct ph__spec *s, const char *text);

#endif
