/*
 * The audit: a line for every allocation that is made and for every one that ends.
 *
 *     allocation 1.7 up: client=192.0.2.9:50000 server=192.0.2.1:3478 relay=192.0.2.1:61234 lifetime=600s
 *         user="alice"
 *
 * (on one line).  The number is the worker and the allocation's place there, which is used again later.  The name is
 * what the client has sent: quotes, backslashes and all that is not printable are escaped; it stands last,
 * where it can be cut.
 */
#include "cmd/turnd/run.h"
#include "stun/uv/loop.h"

#include <inttypes.h>

enum { USER = 640, RELAYS = 2 * PH_ADDR_TEXT };

static const char *quoted(char dst[static USER], struct ph_slice s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n && n + 5 < USER; i++) {
        uint8_t c = s.p[i];
        if (c < 0x20 || c == 0x7F || c == 0) {
            n += (size_t)snprintf(dst + n, USER - n, "\\x%02X", c);
        } else {
            if (c == '"' || c == '\\')
                dst[n++] = '\\';
            dst[n++] = (char)c;
        }
    }
    dst[n] = '\0';
    return dst;
}

static const char *relays(char dst[static RELAYS], const struct ph_turnd_info *i)
{
    char text[PH_ADDR_TEXT];
    size_t n = 0;
    dst[0] = '\0';
    for (int k = 0; k < 2; k++)
        if (i->relay[k].family)
            n += (size_t)snprintf(dst + n, RELAYS - n, "%s%s", n ? "," : "",
                                  ph_addr_text(&i->relay[k], text));
    return dst;
}

static const char *reason_text(enum ph_turnd_reason reason)
{
    static const char *const TEXTS[] = {
        [PH_END_EXPIRED] = "expired",
        [PH_END_RELEASED] = "released",
        [PH_END_ADMIN] = "ended",
        [PH_END_CLOSED] = "closed",
    };
    return reason < sizeof TEXTS / sizeof *TEXTS ? TEXTS[reason] : "?";
}

static bool is_wanted(const struct ph_trun *r)
{
    return r->env.log && r->env.log->level >= PH_LOG_INFO;
}

static void log_up(const struct ph_trun *r, unsigned worker, const struct ph_turnd_info *i)
{
    char client[PH_ADDR_TEXT], server[PH_ADDR_TEXT], relay[RELAYS], user[USER];
    ph_logf(&r->env, PH_LOG_INFO,
            "allocation %u.%" PRIu32 " up: client=%s server=%s relay=%s lifetime=%" PRId64
            "s user=\"%s\"",
            worker, i->id, ph_addr_text(&i->client, client),
            ph_addr_text(&r->plan.listener[i->listener], server), relays(relay, i),
            (i->expires_at - i->created_at) / PH_SEC(1), quoted(user, i->user));
}

static void log_down(const struct ph_trun *r, unsigned worker, const struct ph_turnd_info *i,
                     const char *reason)
{
    char client[PH_ADDR_TEXT], server[PH_ADDR_TEXT], relay[RELAYS], user[USER];
    ph_ns span = ph_now() - i->created_at;
    ph_logf(&r->env, PH_LOG_INFO,
            "allocation %u.%" PRIu32 " down: reason=%s client=%s server=%s relay=%s "
            "duration=%" PRId64 ".%03ds to_peer=%" PRIu64 "/%" PRIu64 "B to_client=%" PRIu64
            "/%" PRIu64 "B user=\"%s\"",
            worker, i->id, reason, ph_addr_text(&i->client, client),
            ph_addr_text(&r->plan.listener[i->listener], server), relays(relay, i),
            span / PH_SEC(1), (int)(span / PH_MS(1) % 1000), i->to_peer_packets, i->to_peer_bytes,
            i->to_client_packets, i->to_client_bytes, quoted(user, i->user));
}

void ph_trun_audit(void *ctx, unsigned worker, const struct ph_turnd_ev *ev)
{
    const struct ph_trun *r = ctx;
    if (!is_wanted(r))
        return;
    if (ev->type == PH_TURND_ALLOC_UP)
        log_up(r, worker, &ev->info);
    else if (ev->type == PH_TURND_ALLOC_DOWN)
        log_down(r, worker, &ev->info, reason_text(ev->reason));
}

static bool log_end(void *ctx, unsigned worker, const struct ph_turnd_info *info)
{
    log_down(ctx, worker, info, "shutdown");
    return true;
}

void ph_trun_audit_rest(struct ph_trun *r)
{
    if (is_wanted(r))
        ph_turn_uv_list(r->server, log_end, r);
}
