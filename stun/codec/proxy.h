/*
 * The PROXY protocol, version 1 (text) and 2 (binary): who is behind a TCP load balancer.
 *
 * Believed only on listeners that are configured for it, and there required: a header that is missing or broken ends
 * the connection, or anybody could choose his own address.
 */
#ifndef PH_CODEC_PROXY_H
#define PH_CODEC_PROXY_H

#include "stun/base/addr.h"

#include <stdbool.h>

enum {
    PH_PROXY_V1_MAX = 107,      /* bytes of a version 1 header, CR LF included */
    PH_PROXY_V2_MAX = 16 + 4096 /* bytes of a version 2 header that we take, TLVs included */
};

struct ph_proxy {
    struct ph_addr src, dst; /* PH_AF_NONE when not told; proto is PH_TCP */
    bool
        local; /* LOCAL or UNKNOWN: the balancer itself (a health check); use the socket's addresses */
};

/* Reads the header at the start of n bytes.  Returns its length (*out is set), 0 when more bytes are needed, or
 * PH_E_FORMAT (not a header, a bad checksum-free field, longer than allowed, not TCP). */
int ph_proxy_parse(struct ph_proxy *out, const uint8_t *p, size_t n);

#endif
