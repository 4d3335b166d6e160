/*
 * A transport address in 20 bytes: IP, port, family and transport.
 *
 * The bytes not used by the family are zero, so two addresses are equal exactly when their 20 bytes
 * are, and the whole struct can be hashed.  The port is in host byte order.  No system socket
 * header is needed; stun/uv converts from and to sockaddr.
 */
#ifndef PH_BASE_ADDR_H
#define PH_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Address families, numbered as in STUN's address attributes (RFC 8489 14.1). */
enum { PH_AF_NONE = 0, PH_AF_INET = 1, PH_AF_INET6 = 2 };

/* Transports between a client and a server.  UDP and TCP have their IANA protocol numbers, as in
 * REQUESTED-TRANSPORT (RFC 8656 18.7); TLS and DTLS are ours. */
enum { PH_PROTO_NONE = 0, PH_UDP = 17, PH_TCP = 6, PH_TLS = 1, PH_DTLS = 2 };

struct ph_addr {
    uint8_t ip[16]; /* network order; IPv4 in ip[0..3], the rest zero */
    uint16_t port;  /* host order */
    uint8_t family; /* PH_AF_... */
    uint8_t proto;  /* PH_UDP ... or PH_PROTO_NONE where only IP and port matter */
};

/* Longest text of an address with port and terminator: "[ffff:...:255.255.255.255]:65535". */
enum { PH_ADDR_TEXT = 56 };

/* Bytes of the family's IP address: 4, 16, or 0 for PH_AF_NONE. */
static inline size_t ph_addr_ip_len(const struct ph_addr *a)
{
    return a->family == PH_AF_INET ? 4 : a->family == PH_AF_INET6 ? 16 : 0;
}

/* An IPv4 address from four bytes in network order. */
struct ph_addr ph_addr_v4(const uint8_t ip[static 4], uint16_t port, uint8_t proto);

/* An IPv6 address from sixteen bytes in network order. */
struct ph_addr ph_addr_v6(const uint8_t ip[static 16], uint16_t port, uint8_t proto);

/* Same IP, port, family and transport. */
static inline bool ph_addr_eq(const struct ph_addr *a, const struct ph_addr *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Same family, IP and port, whatever the transport. */
static inline bool ph_addr_eq_endpoint(const struct ph_addr *a, const struct ph_addr *b)
{
    return memcmp(a, b, offsetof(struct ph_addr, proto)) == 0;
}

/* Same family and IP, whatever the port and transport. */
static inline bool ph_addr_eq_ip(const struct ph_addr *a, const struct ph_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* 127.0.0.0/8, ::1, and 127.0.0.0/8 mapped into IPv6. */
bool ph_addr_is_loopback(const struct ph_addr *a);

/* 0.0.0.0 or ::. */
bool ph_addr_is_any(const struct ph_addr *a);

/* Reads "192.0.2.1", "192.0.2.1:3478", "2001:db8::1", "[2001:db8::1]" or "[2001:db8::1]:3478" (n
 * bytes of text).  Text without a port gets default_port.  Numeric only, never a name.  The
 * transport is set to PH_PROTO_NONE.  Returns 0, or PH_E_FORMAT and leaves *a alone. */
int ph_addr_parse(struct ph_addr *a, const char *text, size_t n, uint16_t default_port);

/* Writes "192.0.2.1:3478" or "[2001:db8::1]:3478" (RFC 5952 form); without port and brackets when
 * port is 0. PH_AF_NONE gives "-".  Always terminated.  Returns dst. */
const char *ph_addr_text(const struct ph_addr *a, char dst[static PH_ADDR_TEXT]);

/* The IP alone, without port or brackets.  Returns dst. */
const char *ph_addr_ip_text(const struct ph_addr *a, char dst[static PH_ADDR_TEXT]);

#endif
