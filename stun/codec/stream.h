/*
 * Messages on a byte stream (RFC 8489 6.2.2, RFC 8656 12.5): where one ends and the next begins.
 *
 * STUN messages say their length in the header, ChannelData too, and is padded to four bytes on streams.  Pure
 * arithmetic over the bytes at hand: no state, no copies.  And the other question of a stream: what kind of
 * traffic does it open with (TLS and plain share a port; what is neither is turned away by its name).
 */
#ifndef PH_CODEC_STREAM_H
#define PH_CODEC_STREAM_H

#include <stddef.h>
#include <stdint.h>

enum {
    PH_STREAM_MAX = 65535 + 20 + 3, /* bytes of the longest message with its padding */
    PH_STREAM_SNIFF = 16            /* bytes after which ph_stream_sniff always has an answer */
};

/* What a stream opens with. */
enum ph_stream_kind {
    PH_STREAM_UNKNOWN, /* too few bytes to tell */
    PH_STREAM_PLAIN,   /* STUN (a TURN client without TLS) */
    PH_STREAM_TLS,     /* a TLS record with a handshake */
    PH_STREAM_PROXY,   /* a PROXY protocol header, v1 or v2 */
    PH_STREAM_HTTP,    /* "GET ", "POST " ... */
    PH_STREAM_GARBAGE  /* anything else */
};

/* Tells by the first n bytes of a connection. */
enum ph_stream_kind ph_stream_sniff(const uint8_t *p, size_t n);

/* The first message in n bytes of a stream.  Returns its length with padding (it may be more than n: then that
 * many bytes are needed; at most PH_STREAM_MAX), 0 when not even the length can be told (which takes 4 bytes of
 * ChannelData, 8 of STUN: with the cookie), or PH_E_FORMAT: neither STUN (magic cookie, length a multiple of 4) nor
 * ChannelData (0x4000-0x7FFF), the stream is lost.  *bare, set with a positive result, is the length without padding. */
int ph_stream_frame(const uint8_t *p, size_t n, uint32_t *bare);

#endif
