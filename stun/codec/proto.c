/*
 * Texts of STUN's numbers.
 */
#include "stun/codec/proto.h"

#include <stddef.h>

const char *ph_stun_reason(uint16_t code)
{
    switch (code) {
#define PH_X(number, text)                                                                         \
    case number:                                                                                   \
        return text;
        PH_STUN_CODES(PH_X)
#undef PH_X
    default:
        return "Error";
    }
}

const char *ph_method_name(uint16_t method)
{
    switch (method) {
    case PH_BINDING:
        return "Binding";
    case PH_ALLOCATE:
        return "Allocate";
    case PH_REFRESH:
        return "Refresh";
    case PH_SEND_METHOD:
        return "Send";
    case PH_DATA_METHOD:
        return "Data";
    case PH_CREATE_PERMISSION:
        return "CreatePermission";
    case PH_CHANNEL_BIND:
        return "ChannelBind";
    case PH_CONNECT:
        return "Connect";
    case PH_CONNECTION_BIND:
        return "ConnectionBind";
    case PH_CONNECTION_ATTEMPT:
        return "ConnectionAttempt";
    default:
        return NULL;
    }
}
