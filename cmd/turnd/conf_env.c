/*
 * turnd's environment: TURND_ and the name of any key, and what eturnal's containers are configured with.
 */
#include "cmd/turnd/conf_priv.h"

#include <unistd.h>

static const struct ph_opt_alias ALIASES[] = {
    {"ETURNAL_SECRET", "static-auth-secret"},
    /* eturnal binds the address of the machine and tells clients this one. */
    {"ETURNAL_RELAY_IPV4_ADDR", "external-ip"},
    {"ETURNAL_RELAY_IPV6_ADDR", "external-ip"},
    {"ETURNAL_RELAY_MIN_PORT", "min-port"},
    {"ETURNAL_RELAY_MAX_PORT", "max-port"},
};

const struct ph_opt_env ph_tconf_env = {"TURND_", ALIASES, sizeof ALIASES / sizeof *ALIASES};

void ph__tconf_read_env(struct ph_tconf *c)
{
    ph_opts_read_env(c->opts, &ph_tconf_env, environ);
}
