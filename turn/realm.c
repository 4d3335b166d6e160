/*
 * Realms: which one a request is in, and what holds there.
 *
 * Realm 0 is the default one; realm n is live.realm[n - 1].  A client names its realm with REALM; before it has been
 * told one, its ORIGIN (draft-ietf-tram-stun-origin) may choose.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"

enum { ATTR_ORIGIN = 0x802F };

static const struct ph_turnd_realm *extra(const struct ph_turnd *d, uint8_t realm)
{
    return realm && realm <= d->c.live.n_realms ? &d->c.live.realm[realm - 1] : NULL;
}

const struct ph_auth *ph__realm_auth(const struct ph_turnd *d, uint8_t realm)
{
    const struct ph_turnd_realm *r = extra(d, realm);
    return r ? r->auth : d->c.live.auth;
}

const struct ph_acl *ph__realm_acl(const struct ph_turnd *d, uint8_t realm)
{
    const struct ph_turnd_realm *r = extra(d, realm);
    return r && r->acl ? r->acl : d->c.live.acl;
}

struct ph_quota *ph__realm_quota(const struct ph_turnd *d, uint8_t realm)
{
    const struct ph_turnd_realm *r = extra(d, realm);
    return r && r->quota ? r->quota : d->c.quota;
}

uint64_t ph__realm_max_bps(const struct ph_turnd *d, uint8_t realm)
{
    const struct ph_turnd_realm *r = extra(d, realm);
    uint64_t here = r ? r->max_bps : 0, all = d->c.live.max_bps;
    return here && (!all || here < all) ? here : all;
}

int ph__realm_named(const struct ph_turnd *d, struct ph_slice name, uint8_t *realm)
{
    for (unsigned i = 0; i <= d->c.live.n_realms; i++) {
        const struct ph_auth *auth = ph__realm_auth(d, (uint8_t)i);
        if (auth && ph_slice_eq(ph_auth_realm(auth), name)) {
            *realm = (uint8_t)i;
            return 0;
        }
    }
    return PH_E_MISSING;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* Origins are ASCII of a scheme and a host, neither of which minds its case; some clients add a slash. */
static bool same_origin(struct ph_slice a, const char *text)
{
    struct ph_slice b = ph_str(text);

    if (a.n && a.p[a.n - 1] == '/')
        a.n--;
    if (b.n && b.p[b.n - 1] == '/')
        b.n--;
    if (a.n == 0 || a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

uint8_t ph__realm_of_origin(const struct ph_turnd *d, const struct ph_msg *m)
{
    struct ph_msg_it it = {0};

    while (d->c.live.n_realms && ph_msg_next(m, &it))
        for (unsigned i = 0; it.type == ATTR_ORIGIN && i < d->c.live.n_realms; i++)
            if (same_origin(it.value, d->c.live.realm[i].origin))
                return (uint8_t)(i + 1);
    return 0;
}
