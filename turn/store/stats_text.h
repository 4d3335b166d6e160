/*
 * The words of coturn's statistics in Redis (stats.h): keys and messages.
 */
#ifndef PH_TURN_STORE_STATS_TEXT_H
#define PH_TURN_STORE_STATS_TEXT_H

#include "turn/store/stats.h"

enum {
    PH_STATS_STATUS = 512, /* bytes of a status message, terminator included */
    PH_STATS_TRAFFIC = 128 /* and of a traffic message: four numbers */
};

/* Writes <prefix>/realm/<realm>/user/<user>/allocation/<id>/<what>, without the realm's part if it is empty, as much as fits
 * with a terminator (dst may be NULL with cap 0).  Returns its length in full. */
size_t ph_stats_key(char *dst, size_t cap, const char *prefix, struct ph_slice realm,
                    struct ph_slice user, uint64_t session, const char *what);

/* "new lifetime=600, type=UDP, ..."; word is "new" or "refreshed".  Returns dst. */
const char *ph_stats_status(char dst[static PH_STATS_STATUS], const char *word, uint32_t lifetime_s,
                            const struct ph_statsdb_session *session);

/* "rcvp=1, rcvb=2, ..." of the client's leg, or of the peers'.  Returns dst. */
const char *ph_stats_traffic(char dst[static PH_STATS_TRAFFIC], const struct ph_turnd_usage *u,
                             bool peer);

#endif
