/*
 * Framing and sniffing of byte streams.
 *
 * Both answer as soon as the bytes allow, and a bad byte is bad at once: a stream that can no longer become a
 * message is not waited for.  An answer once given does not change with more bytes.
 */
#include "stun/codec/stream.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/proto.h"

#include <stdbool.h>
#include <string.h>

enum {
    CHANNEL_HEADER = 4,
    TLS_SURE = 6,               /* record header and the type of the handshake message */
    TLS_RECORD_HANDSHAKE = 22,  /* RFC 8446 B.1 */
    TLS_CLIENT_HELLO = 1,       /* RFC 8446 B.3 */
    TLS_RECORD_MAX = (1 << 14), /* bytes, RFC 8446 5.1 */
    TLS_MINOR_MAX = 4
};

/* How the bytes at hand relate to something expected. */
enum fit { NO, SO_FAR, YES };

/* Do n bytes begin with the `len` bytes of `what`, or may they yet? */
static enum fit begins(const uint8_t *p, size_t n, const void *what, size_t len)
{
    if (memcmp(p, what, n < len ? n : len) != 0)
        return NO;
    return n < len ? SO_FAR : YES;
}

/* A STUN header: two zero bits, a length in fours, the cookie (RFC 8489 5).  n is not 0. */
static enum fit fits_stun(const uint8_t *p, size_t n)
{
    static const uint8_t cookie[] = {0x21, 0x12, 0xA4, 0x42};
    if ((p[0] & 0xC0) != 0 || (n > 3 && (p[3] & 3) != 0))
        return NO;
    return n > 4 ? begins(p + 4, n - 4, cookie, sizeof cookie) : SO_FAR;
}

/* A TLS record that holds the start of a ClientHello (RFC 8446 5.1, 4). */
static enum fit fits_tls(const uint8_t *p, size_t n)
{
    static const uint8_t first[] = {TLS_RECORD_HANDSHAKE, 3};
    enum fit fit = begins(p, n, first, sizeof first);
    if (fit != YES || n == sizeof first)
        return fit == NO ? NO : SO_FAR;
    if (p[2] > TLS_MINOR_MAX)
        return NO;
    if (n > 4 && (ph_get16(p + 3) == 0 || ph_get16(p + 3) > TLS_RECORD_MAX))
        return NO;
    if (n < TLS_SURE)
        return SO_FAR;
    return p[5] == TLS_CLIENT_HELLO ? YES : NO;
}

/* The first bytes of text protocols and of PROXY v2; none is longer than PH_STREAM_SNIFF. */
static const struct opening {
    const char *bytes;
    uint8_t len;
    uint8_t kind;
} OPENINGS[] = {
    {"PROXY ", 6, PH_STREAM_PROXY},  {"\r\n\r\n\0\r\nQUIT\n", 12, PH_STREAM_PROXY},
    {"GET ", 4, PH_STREAM_HTTP},     {"HEAD ", 5, PH_STREAM_HTTP},
    {"POST ", 5, PH_STREAM_HTTP},    {"PUT ", 4, PH_STREAM_HTTP},
    {"DELETE ", 7, PH_STREAM_HTTP},  {"OPTIONS ", 8, PH_STREAM_HTTP},
    {"CONNECT ", 8, PH_STREAM_HTTP}, {"TRACE ", 6, PH_STREAM_HTTP},
    {"PATCH ", 6, PH_STREAM_HTTP},   {"PRI * HTTP/2", 12, PH_STREAM_HTTP},
};

enum ph_stream_kind ph_stream_sniff(const uint8_t *p, size_t n)
{
    bool maybe = false;

    if (n == 0)
        return PH_STREAM_UNKNOWN;
    /* RFC 7983 leaves 0..3 to STUN; what lies above of the two zero bits is no method of today. */
    enum fit stun = p[0] < 4 ? fits_stun(p, n) : NO, tls = fits_tls(p, n);
    if (stun == YES)
        return PH_STREAM_PLAIN;
    if (tls == YES)
        return PH_STREAM_TLS;
    maybe = stun == SO_FAR || tls == SO_FAR;
    for (size_t i = 0; i < sizeof OPENINGS / sizeof OPENINGS[0]; i++) {
        const struct opening *o = &OPENINGS[i];
        enum fit fit = begins(p, n, o->bytes, o->len);
        if (fit == YES)
            return (enum ph_stream_kind)o->kind;
        maybe |= fit == SO_FAR;
    }
    return maybe ? PH_STREAM_UNKNOWN : PH_STREAM_GARBAGE;
}

int ph_stream_frame(const uint8_t *p, size_t n, uint32_t *bare)
{
    if (n == 0)
        return 0;
    if (p[0] >= 0x40 && p[0] <= 0x7F) {
        if (n < CHANNEL_HEADER)
            return 0;
        *bare = CHANNEL_HEADER + (uint32_t)ph_get16(p + 2);
        return (int)((*bare + 3) & ~3u); /* RFC 8656 12.5: padded to four bytes on streams */
    }
    switch (fits_stun(p, n)) {
    case YES:
        *bare = PH_STUN_HEADER + (uint32_t)ph_get16(p + 2);
        return (int)*bare;
    case SO_FAR:
        return 0;
    default:
        return PH_E_FORMAT;
    }
}
