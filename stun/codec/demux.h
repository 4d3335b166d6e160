/*
 * Telling protocols on one port apart by the first byte (RFC 7983, with RFC 9443's QUIC range).
 */
#ifndef PH_CODEC_DEMUX_H
#define PH_CODEC_DEMUX_H

#include <stddef.h>
#include <stdint.h>

enum ph_demux {
    PH_DEMUX_STUN,    /* 0..3 */
    PH_DEMUX_ZRTP,    /* 16..19 */
    PH_DEMUX_DTLS,    /* 20..63 */
    PH_DEMUX_CHANNEL, /* 64..79: TURN ChannelData */
    PH_DEMUX_QUIC,    /* 80..127 */
    PH_DEMUX_RTP,     /* 128..191: RTP and RTCP */
    PH_DEMUX_OTHER    /* anything else, or an empty packet */
};

/* Classifies a packet of n bytes. */
static inline enum ph_demux ph_demux(const uint8_t *p, size_t n)
{
    uint8_t b = n ? p[0] : 0xFF;
    if (b < 4)
        return PH_DEMUX_STUN;
    if (b < 16)
        return PH_DEMUX_OTHER;
    if (b < 20)
        return PH_DEMUX_ZRTP;
    if (b < 64)
        return PH_DEMUX_DTLS;
    if (b < 80)
        return PH_DEMUX_CHANNEL;
    if (b < 128)
        return PH_DEMUX_QUIC;
    return b < 192 ? PH_DEMUX_RTP : PH_DEMUX_OTHER;
}

#endif
