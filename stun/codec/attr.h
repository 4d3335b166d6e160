/*
 * The typed attribute table: every attribute that Pinhole knows, once.
 *
 * A row says type number, name and kind; the kind brings decode, encode and print.  Message
 * parsing, the writer, the dump, fuzzers and tests all walk this one table.  Numbers: RFC 8489,
 * 8656, 5780, 6062, 8016, 7635, 8445, 7982, and the two numbers of the SSODA draft
 * (draft-martinsen-tram-ssoda) that coturn up to 4.7 and its clients use for what became RFC 8656's
 * ADDITIONAL-ADDRESS-FAMILY and ADDRESS-ERROR-CODE.
 */
#ifndef PH_CODEC_ATTR_H
#define PH_CODEC_ATTR_H

#include "stun/base/addr.h"
#include "stun/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(constant, type number, name as in the RFC, kind, RFC) */
#define PH_ATTRS(X)                                                                                \
    X(MAPPED_ADDRESS, 0x0001, "MAPPED-ADDRESS", ADDR, 8489)                                        \
    X(CHANGE_REQUEST, 0x0003, "CHANGE-REQUEST", U32, 5780)                                         \
    X(USERNAME, 0x0006, "USERNAME", TEXT, 8489)                                                    \
    X(MESSAGE_INTEGRITY, 0x0008, "MESSAGE-INTEGRITY", MAC, 8489)                                   \
    X(ERROR_CODE, 0x0009, "ERROR-CODE", ERRCODE, 8489)                                             \
    X(UNKNOWN_ATTRIBUTES, 0x000A, "UNKNOWN-ATTRIBUTES", TYPES, 8489)                               \
    X(CHANNEL_NUMBER, 0x000C, "CHANNEL-NUMBER", U16_PAD, 8656)                                     \
    X(LIFETIME, 0x000D, "LIFETIME", U32, 8656)                                                     \
    X(XOR_PEER_ADDRESS, 0x0012, "XOR-PEER-ADDRESS", XADDR, 8656)                                   \
    X(DATA, 0x0013, "DATA", BYTES, 8656)                                                           \
    X(REALM, 0x0014, "REALM", TEXT, 8489)                                                          \
    X(NONCE, 0x0015, "NONCE", TEXT, 8489)                                                          \
    X(XOR_RELAYED_ADDRESS, 0x0016, "XOR-RELAYED-ADDRESS", XADDR, 8656)                             \
    X(REQUESTED_ADDRESS_FAMILY, 0x0017, "REQUESTED-ADDRESS-FAMILY", U8_PAD, 8656)                  \
    X(EVEN_PORT, 0x0018, "EVEN-PORT", U8, 8656)                                                    \
    X(REQUESTED_TRANSPORT, 0x0019, "REQUESTED-TRANSPORT", U8_PAD, 8656)                            \
    X(DONT_FRAGMENT, 0x001A, "DONT-FRAGMENT", FLAG, 8656)                                          \
    X(ACCESS_TOKEN, 0x001B, "ACCESS-TOKEN", BYTES, 7635)                                           \
    X(MESSAGE_INTEGRITY_SHA256, 0x001C, "MESSAGE-INTEGRITY-SHA256", MAC256, 8489)                  \
    X(PASSWORD_ALGORITHM, 0x001D, "PASSWORD-ALGORITHM", ALGORITHM, 8489)                           \
    X(USERHASH, 0x001E, "USERHASH", HASH, 8489)                                                    \
    X(XOR_MAPPED_ADDRESS, 0x0020, "XOR-MAPPED-ADDRESS", XADDR, 8489)                               \
    X(RESERVATION_TOKEN, 0x0022, "RESERVATION-TOKEN", U64, 8656)                                   \
    X(PRIORITY, 0x0024, "PRIORITY", U32, 8445)                                                     \
    X(USE_CANDIDATE, 0x0025, "USE-CANDIDATE", FLAG, 8445)                                          \
    X(PADDING, 0x0026, "PADDING", BYTES, 5780)                                                     \
    X(RESPONSE_PORT, 0x0027, "RESPONSE-PORT", U16_PAD, 5780)                                       \
    X(CONNECTION_ID, 0x002A, "CONNECTION-ID", U32, 6062)                                           \
    X(ADDITIONAL_ADDRESS_FAMILY, 0x8000, "ADDITIONAL-ADDRESS-FAMILY", U8_PAD, 8656)                \
    X(ADDRESS_ERROR_CODE, 0x8001, "ADDRESS-ERROR-CODE", ADDR_ERRCODE, 8656)                        \
    X(PASSWORD_ALGORITHMS, 0x8002, "PASSWORD-ALGORITHMS", ALGORITHMS, 8489)                        \
    X(ALTERNATE_DOMAIN, 0x8003, "ALTERNATE-DOMAIN", TEXT, 8489)                                    \
    X(ICMP, 0x8004, "ICMP", ICMP, 8656)                                                            \
    X(SOFTWARE, 0x8022, "SOFTWARE", TEXT, 8489)                                                    \
    X(ALTERNATE_SERVER, 0x8023, "ALTERNATE-SERVER", ADDR, 8489)                                    \
    X(TRANSACTION_TRANSMIT_COUNTER, 0x8025, "TRANSACTION-TRANSMIT-COUNTER", COUNTER, 7982)         \
    X(CACHE_TIMEOUT, 0x8027, "CACHE-TIMEOUT", U32, 5780)                                           \
    X(FINGERPRINT, 0x8028, "FINGERPRINT", U32, 8489)                                               \
    X(ICE_CONTROLLED, 0x8029, "ICE-CONTROLLED", U64, 8445)                                         \
    X(ICE_CONTROLLING, 0x802A, "ICE-CONTROLLING", U64, 8445)                                       \
    X(RESPONSE_ORIGIN, 0x802B, "RESPONSE-ORIGIN", ADDR, 5780)                                      \
    X(OTHER_ADDRESS, 0x802C, "OTHER-ADDRESS", ADDR, 5780)                                          \
    X(THIRD_PARTY_AUTHORIZATION, 0x802E, "THIRD-PARTY-AUTHORIZATION", TEXT, 7635)                  \
    X(MOBILITY_TICKET, 0x8030, "MOBILITY-TICKET", BYTES, 8016)                                     \
    X(DRAFT_ADDITIONAL_FAMILY, 0x8032, "ADDITIONAL-ADDRESS-FAMILY (draft)", U8_PAD, 8656)          \
    X(DRAFT_ADDRESS_ERROR_CODE, 0x8033, "ADDRESS-ERROR-CODE (draft)", ADDR_ERRCODE, 8656)

/* PH_ATTR_USERNAME ...: the type numbers. */
enum ph_attr_type {
#define PH_X(id, type, name, kind, rfc) PH_ATTR_##id = (type),
    PH_ATTRS(PH_X)
#undef PH_X
};

/* PH_IX_USERNAME ...: position in the table, used for the offset index of a parsed message. */
enum ph_attr_index {
#define PH_X(id, type, name, kind, rfc) PH_IX_##id,
    PH_ATTRS(PH_X)
#undef PH_X
        PH_ATTR_COUNT
};

/* What an attribute's value looks like, and which member of struct ph_attr_value holds it. */
enum ph_attr_kind {
    PH_KIND_ADDR,         /* addr: family, port, IP in the clear                       */
    PH_KIND_XADDR,        /* addr: the same XORed with cookie and transaction id       */
    PH_KIND_U8,           /* u: one byte                                               */
    PH_KIND_U8_PAD,       /* u: one byte, then three reserved                          */
    PH_KIND_U16_PAD,      /* u: two bytes, then two reserved                           */
    PH_KIND_U32,          /* u                                                         */
    PH_KIND_U64,          /* u; for RESERVATION-TOKEN an opaque number                 */
    PH_KIND_FLAG,         /* no value                                                  */
    PH_KIND_TEXT,         /* bytes: UTF-8, within the RFC's length limit               */
    PH_KIND_BYTES,        /* bytes: opaque                                             */
    PH_KIND_MAC,          /* bytes: 20                                                 */
    PH_KIND_MAC256,       /* bytes: 16 to 32, a multiple of 4                          */
    PH_KIND_HASH,         /* bytes: 32                                                 */
    PH_KIND_ERRCODE,      /* error: code, reason                                       */
    PH_KIND_ADDR_ERRCODE, /* error: family, code, reason                               */
    PH_KIND_TYPES,        /* bytes: the list as on the wire, 2 bytes each              */
    PH_KIND_ALGORITHM,    /* alg: one algorithm and its parameters                     */
    PH_KIND_ALGORITHMS,   /* bytes: the list as on the wire (ph_algs_next)             */
    PH_KIND_ICMP,         /* icmp                                                      */
    PH_KIND_COUNTER,      /* counter: RFC 7982's Req and Resp                          */
};

/* One decoded value; which member counts follows from the kind.  Slices point into the message. */
struct ph_attr_value {
    union {
        uint64_t u;
        struct ph_addr addr;
        struct ph_slice bytes;
        struct {
            uint16_t code;  /* 300..699 */
            uint8_t family; /* PH_AF_... in ADDRESS-ERROR-CODE, else 0 */
            struct ph_slice reason;
        } error;
        struct {
            uint16_t number; /* PH_ALG_... */
            struct ph_slice params;
        } alg;
        struct {
            uint8_t type;  /* 7 bits */
            uint16_t code; /* 9 bits */
            uint32_t data;
        } icmp;
        struct {
            uint8_t req, resp;
        } counter;
    };
};

/* A row of the table. */
struct ph_attr_desc {
    uint16_t type;
    uint8_t kind;          /* enum ph_attr_kind */
    uint16_t rfc;          /* where it is defined */
    uint16_t min_n, max_n; /* bytes a valid value may have, without padding */
    const char *name;
};

/* The table, in the order of PH_ATTRS. */
extern const struct ph_attr_desc ph_attr_table[PH_ATTR_COUNT];

/* The row of a type number, or NULL for one that Pinhole does not know.  O(1). */
const struct ph_attr_desc *ph_attr_find(uint16_t type);

/* True for types 0x0000-0x7FFF: a receiver that does not know one must refuse (RFC 8489 14). */
static inline bool ph_attr_required(uint16_t type)
{
    return type < 0x8000;
}

/* Decodes the n value bytes at p.  txid: the message's transaction id, needed for XORed addresses.
 * Returns 0, PH_E_LENGTH for a wrong size, PH_E_FAMILY or PH_E_FORMAT for a bad content. */
int ph_attr_decode(const struct ph_attr_desc *d, const uint8_t *p, size_t n, const uint8_t *txid,
                   struct ph_attr_value *out);

/* Encodes a value into at most cap bytes at p, without header and padding.  Returns the number of
 * bytes, PH_E_NOSPACE, or PH_E_ARG for a value that the attribute cannot carry. */
int ph_attr_encode(const struct ph_attr_desc *d, const struct ph_attr_value *v, const uint8_t *txid,
                   uint8_t *p, size_t cap);

/* Writes a value as text: addresses, numbers, quoted text with escapes, hex for the rest.  Always
 * terminated, cut at cap.  Returns the length that was wanted, like snprintf. */
int ph_attr_print(const struct ph_attr_desc *d, const struct ph_attr_value *v, char *dst,
                  size_t cap);

#endif
