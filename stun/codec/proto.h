/*
 * STUN's numbers: methods, classes, header layout, error codes (RFC 8489 5, 14.8; RFC 8656 17-19).
 *
 *      0                   1                   2                   3
 *     |0 0|  class and method (14)    |  length without the header    |
 *     |                 magic cookie 0x2112A442                       |
 *     |                 transaction id (96 bits)                      |
 */
#ifndef PH_CODEC_PROTO_H
#define PH_CODEC_PROTO_H

#include <stdint.h>

enum {
    PH_STUN_HEADER = 20, /* bytes */
    PH_TXID_LEN = 12,    /* bytes of a transaction id */
    PH_STUN_COOKIE = 0x2112A442,
    PH_STUN_MAX = 20 + 65532 /* the longest frame: the length field is a multiple of 4 */
};

enum ph_class { PH_REQUEST = 0, PH_INDICATION = 1, PH_SUCCESS = 2, PH_ERROR = 3 };

enum ph_method {
    PH_BINDING = 0x001,            /* RFC 8489 */
    PH_ALLOCATE = 0x003,           /* RFC 8656 */
    PH_REFRESH = 0x004,            /* RFC 8656 */
    PH_SEND_METHOD = 0x006,        /* RFC 8656, indication only */
    PH_DATA_METHOD = 0x007,        /* RFC 8656, indication only */
    PH_CREATE_PERMISSION = 0x008,  /* RFC 8656 */
    PH_CHANNEL_BIND = 0x009,       /* RFC 8656 */
    PH_CONNECT = 0x00A,            /* RFC 6062 */
    PH_CONNECTION_BIND = 0x00B,    /* RFC 6062 */
    PH_CONNECTION_ATTEMPT = 0x00C, /* RFC 6062, indication only */
};

/* Error codes and their default reason phrases (RFC 8489 14.8, 8656 19, 6062 6.3, 8445 7.3.1.1). */
#define PH_STUN_CODES(X)                                                                           \
    X(300, "Try Alternate")                                                                        \
    X(400, "Bad Request")                                                                          \
    X(401, "Unauthenticated")                                                                      \
    X(403, "Forbidden")                                                                            \
    X(405, "Mobility Forbidden")                                                                   \
    X(420, "Unknown Attribute")                                                                    \
    X(437, "Allocation Mismatch")                                                                  \
    X(438, "Stale Nonce")                                                                          \
    X(440, "Address Family not Supported")                                                         \
    X(441, "Wrong Credentials")                                                                    \
    X(442, "Unsupported Transport Protocol")                                                       \
    X(443, "Peer Address Family Mismatch")                                                         \
    X(446, "Connection Already Exists")                                                            \
    X(447, "Connection Timeout or Failure")                                                        \
    X(486, "Allocation Quota Reached")                                                             \
    X(487, "Role Conflict")                                                                        \
    X(500, "Server Error")                                                                         \
    X(508, "Insufficient Capacity")

/* The default reason phrase of an error code, "Error" for one not listed.  Never NULL. */
const char *ph_stun_reason(uint16_t code);

/* The method's name as the RFC spells it ("CreatePermission"), or NULL. */
const char *ph_method_name(uint16_t method);

/* The 16-bit message type of a method (12 bits) and class (RFC 8489 5, figure 3). */
static inline uint16_t ph_stun_type(uint16_t method, enum ph_class cls)
{
    unsigned m = method, c = cls;
    return (uint16_t)((m & 0x00F) | (m & 0x070) << 1 | (m & 0xF80) << 2 | (c & 1) << 4 |
                      (c & 2) << 7);
}

/* The method inside a message type. */
static inline uint16_t ph_stun_method(uint16_t type)
{
    return (uint16_t)((type & 0x00F) | (type >> 1 & 0x070) | (type >> 2 & 0xF80));
}

/* The class inside a message type. */
static inline enum ph_class ph_stun_class(uint16_t type)
{
    return (enum ph_class)((type >> 4 & 1) | (type >> 7 & 2));
}

#endif
