/*
 * A user for somebody who wants to test this server: a name of the TURN REST API that is good for a few minutes.
 */
#ifdef PH_HAVE_HTTP /* nobody asks for one without */

#include "cmd/turnd/admin_priv.h"

#include "stun/base/error.h"
#include "stun/codec/base64.h"
#include "stun/codec/integrity.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

int ph_trun_test_user(struct ph_trun *r, uint32_t ttl_s, char user[static PH_TADMIN_TEXT],
                      char pass[static PH_TADMIN_TEXT])
{
    const struct ph_tconf *c = r->conf;
    const struct ph_opt_set *s = ph_opts_last(c->opts, "static-auth-secret");
    const char *secret = s ? s->value : c->test_secret;
    uint8_t mac[PH_SHA1_LEN];
    if (!*secret)
        return PH_E_MISSING;
    snprintf(user, PH_TADMIN_TEXT, "%" PRId64 "%cturnd-test", (int64_t)time(NULL) + ttl_s,
             *c->separator);
    const struct ph_slice name = ph_str(user);
    ph_hmac_sha1(mac, ph_str(secret), &name, 1);
    ph_base64(pass, PH_TADMIN_TEXT, mac, sizeof mac);
    return 0;
}

#else
typedef int ph_no_test_user; /* ISO C wants something */
#endif
