/*
 * The keys of a running server.
 */
#include "cmd/turnd/keys.h"
#include "cmd/turnd/run.h"
#include "stun/codec/integrity.h"

#include <string.h>
#include <time.h>

void ph_trun_rekey(struct ph_trun *r)
{
    struct ph_turnd_keys k;
    ph_tkeys_make(&k, r->conf, &r->keys, &r->env, (int64_t)time(NULL));
    if (memcmp(&k, &r->keys, sizeof k) != 0) {
        r->keys = k;
        if (r->server)
            ph_turn_uv_set_keys(r->server, &k);
    }
    ph_wipe(&k, sizeof k);
}
