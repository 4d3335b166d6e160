/*
 * ChannelData (RFC 8656 12): four bytes in front of a payload instead of 36.
 *
 *     | channel number (16) | length (16) | payload ... | padding to 4 bytes, on streams only |
 */
#ifndef PH_TURN_CHANDATA_H
#define PH_TURN_CHANDATA_H

#include "stun/base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PH_CHANNEL_HEADER = 4,   /* bytes */
    PH_CHANNEL_MIN = 0x4000, /* RFC 8656 12: 0x4000-0x4FFF */
    PH_CHANNEL_MAX = 0x4FFF,
    PH_CHANNEL_MAX_5766 = 0x7FFF /* the range of RFC 5766, for old clients */
};

/* Reads a datagram of n bytes.  Returns the channel number and sets *len (payload bytes) if it is a whole
 * ChannelData message; surplus bytes (padding) are fine.  0 if not. */
static inline uint16_t ph_chandata_parse(const uint8_t *p, size_t n, uint16_t *len)
{
    if (n < PH_CHANNEL_HEADER || p[0] < 0x40 || p[0] > 0x7F)
        return 0;
    *len = ph_get16(p + 2);
    return (size_t)*len + PH_CHANNEL_HEADER <= n ? ph_get16(p) : 0;
}

/* Writes the header in front of len payload bytes. */
static inline void ph_chandata_write(uint8_t p[static PH_CHANNEL_HEADER], uint16_t channel,
                                     uint16_t len)
{
    ph_put16(p, channel);
    ph_put16(p + 2, len);
}

#endif
