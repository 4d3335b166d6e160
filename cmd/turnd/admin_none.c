/*
 * turnd built without libmicrohttpd or jansson: HTTP cannot be had, and who asks for it is told.
 */
#include "cmd/turnd/admin.h"
#include "stun/base/error.h"

static bool is_wanted(const struct ph_tadmin_conf *c)
{
    return c->http.family || c->api.family || c->web.family || (c->api_socket && *c->api_socket);
}

int ph_tadmin_start(struct ph_tadmin **a, const struct ph_tadmin_conf *c, struct ph_tops *o,
                    struct ph_tmetrics *m, char why[static PH_TADMIN_WHY])
{
    (void)o;
    (void)m;
    *a = NULL;
    if (!is_wanted(c))
        return 0;
    snprintf(why, PH_TADMIN_WHY,
             "this turnd was built without HTTP (libmicrohttpd and jansson): "
             "leave http-listen, prometheus, api-listen, api-socket and web "
             "out");
    return PH_E_UNSUPPORTED;
}

void ph_tadmin_stop(struct ph_tadmin *a)
{
    (void)a;
}

unsigned ph_tadmin_leave(struct ph_tadmin *a, struct ph_thandover_door v[static PH_THANDOVER_DOORS])
{
    (void)a;
    (void)v;
    return 0;
}

unsigned ph_tadmin_endpoints(const struct ph_tadmin *a, struct ph_addr *v, unsigned max)
{
    (void)a;
    (void)v;
    (void)max;
    return 0;
}
