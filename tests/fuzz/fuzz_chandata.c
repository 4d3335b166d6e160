/*
 * ChannelData framing: what is read lies inside the packet, and is what was written.
 */
#include "fuzz/check.h"
#include "turn/chandata.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t header[PH_CHANNEL_HEADER];
    uint16_t len = 0, channel = ph_chandata_parse(data, size, &len);

    if (!channel)
        return 0;
    CHECK(channel >= PH_CHANNEL_MIN && channel <= PH_CHANNEL_MAX_5766);
    CHECK((size_t)len + PH_CHANNEL_HEADER <= size);
    ph_chandata_write(header, channel, len);
    CHECK(memcmp(header, data, sizeof header) == 0);
    /* One byte less than the whole message is no message. */
    CHECK(ph_chandata_parse(data, PH_CHANNEL_HEADER + (size_t)len - 1, &len) == 0);
    return 0;
}
