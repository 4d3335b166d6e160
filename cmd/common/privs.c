/*
 * Giving up root.  The order matters: groups first, since a mere user may not change them.
 */
#include "cmd/common/privs.h"

#include "stun/base/error.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void ph_privs_use(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct set[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &head, set) != 0)
        return;
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        set[i].effective = set[i].permitted;
    /* What is permitted may be made effective at any time, so there is nothing to say about a failure: an operation
     * that needs it will. */
    syscall(SYS_capset, &head, set);
}

/* A number that is written out as one: "65534". */
static bool number(const char *text, unsigned long *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *out = strtoul(text, &end, 10);
    return *end == '\0' && errno == 0 && *out < UINT32_MAX;
}

int ph_privs_find(struct ph_privs *p, const char *user, const char *group, char *why, size_t n)
{
    unsigned long id;
    *p = (struct ph_privs){0};
    if (user && *user) {
        const struct passwd *pw = getpwnam(user);
        if (!pw && number(user, &id))
            pw = getpwuid((uid_t)id);
        if (!pw) {
            snprintf(why, n, "there is no user \"%.64s\"", user);
            return PH_E_ARG;
        }
        *p = (struct ph_privs){true, true, pw->pw_uid, pw->pw_gid};
    }
    if (group && *group) {
        const struct group *gr = getgrnam(group);
        if (!gr && number(group, &id))
            gr = getgrgid((gid_t)id);
        if (!gr) {
            snprintf(why, n, "there is no group \"%.64s\"", group);
            return PH_E_ARG;
        }
        p->set_group = true;
        p->gid = gr->gr_gid;
    }
    return 0;
}

static int failed(const char *what, char *why, size_t n)
{
    int err = errno;
    snprintf(why, n, "%s: %s%s", what, strerror(err),
             err == EPERM ? " (changing the user or group needs root)" : "");
    return -err;
}

static bool is_already(const struct ph_privs *p)
{
    return (!p->set_user || (getuid() == p->uid && geteuid() == p->uid)) &&
           (!p->set_group || (getgid() == p->gid && getegid() == p->gid));
}

int ph_privs_drop(const struct ph_privs *p, char *why, size_t n)
{
    if (is_already(p))
        return 0;
    if (geteuid() == 0 && setgroups(0, NULL) != 0)
        return failed("cannot leave the supplementary groups", why, n);
    if (p->set_group && setresgid(p->gid, p->gid, p->gid) != 0)
        return failed("cannot change the group", why, n);
    if (p->set_user && setresuid(p->uid, p->uid, p->uid) != 0)
        return failed("cannot change the user", why, n);
    if (p->set_user && p->uid != 0 && setuid(0) == 0) {
        snprintf(why, n, "root can still be regained");
        return -EPERM;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return failed("cannot give up gaining privileges", why, n);
    return 0;
}
