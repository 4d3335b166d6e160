#include "cmd/turnd/words.h"

#include "cmd/turnd/ops.h"

#include <string.h>

/* Word i of a list of n; "?" past its end. */
static const char *word(const char *const *words, size_t n, size_t i)
{
    return i < n && words[i] ? words[i] : "?";
}

#define WORD(list, i) word((list), sizeof(list) / sizeof *(list), (size_t)(i))

const char *ph_tword_reason(enum ph_turnd_reason reason)
{
    static const char *const WORDS[] = {
        [PH_END_EXPIRED] = "expired", [PH_END_RELEASED] = "released",
        [PH_END_ADMIN] = "ended",     [PH_END_CLOSED] = "closed",
        [PH_END_REVOKED] = "revoked", [PH_END_CREDENTIAL] = "credential",
        [PH_END_LOST] = "lost",       [PH_END_ADOPTED] = "adopted",
    };
    return WORD(WORDS, reason);
}

static const char *const TRANSPORTS[] = {
    [PH_UDP] = "udp",
    [PH_TCP] = "tcp",
    [PH_TLS] = "tls",
    [PH_DTLS] = "dtls",
};

const char *ph_tword_transport(uint8_t proto)
{
    return WORD(TRANSPORTS, proto);
}

uint8_t ph_tword_to_transport(const char *text)
{
    for (uint8_t i = 0; i < sizeof TRANSPORTS / sizeof *TRANSPORTS; i++)
        if (TRANSPORTS[i] && strcmp(TRANSPORTS[i], text) == 0)
            return i;
    return PH_PROTO_NONE;
}

const char *ph_tword_state(int state)
{
    static const char *const WORDS[] = {
        [PH_TOPS_STARTING] = "starting",
        [PH_TOPS_SERVING] = "serving",
        [PH_TOPS_DRAINING] = "draining",
        [PH_TOPS_STOPPING] = "stopping",
    };
    return WORD(WORDS, state);
}

const char *ph_tword_level(enum ph_log_level level)
{
    static const char *const WORDS[] = {
        [PH_LOG_ERROR] = "error",
        [PH_LOG_WARN] = "warning",
        [PH_LOG_INFO] = "info",
        [PH_LOG_DEBUG] = "debug",
    };
    return WORD(WORDS, level);
}
