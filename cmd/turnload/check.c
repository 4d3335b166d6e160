/* The list of functional tests, and how their outcomes are told. */
#include "cmd/turnload/check.h"

#include "cmd/turnload/check_priv.h"
#include "cmd/turnload/json.h"
#include "stun/uv/env.h"
#include "stun/uv/loop.h"

#include <stdarg.h>
#include <stdio.h>

#ifndef PH_VERSION
#define PH_VERSION "unknown"
#endif

/* What a check cannot do without. */
enum { NEEDS_ANSWER = 1, NEEDS_ALLOCATION = 3, NEEDS_PEER = 7 };

static const struct {
    const char *name;
    void (*fn)(struct ph_load_check *k);
    unsigned needs;
    const char *what;
} list[] = {
    {"binding", ph_load_check_binding, 0, "Binding is answered with our address"},
    {"challenge", ph_load_check_challenge, 0,
     "a bare Allocate is answered 401 with realm and nonce"},
    {"wrong-password", ph_load_check_wrong_password, NEEDS_ANSWER, "a wrong password is refused"},
    {"allocate", ph_load_check_allocate, NEEDS_ANSWER, "an allocation is made"},
    {"mapped-address", ph_load_check_mapped, NEEDS_ALLOCATION,
     "Allocate tells the same address as Binding"},
    {"permission", ph_load_check_permission, NEEDS_ALLOCATION, "a permission is installed"},
    {"indication", ph_load_check_indication, NEEDS_PEER, "payloads by Send and Data indications"},
    {"channel", ph_load_check_channel, NEEDS_PEER, "payloads by ChannelData"},
    {"channel-refresh", ph_load_check_channel_refresh, NEEDS_PEER,
     "a channel is bound again, and to nobody else"},
    {"no-permission", ph_load_check_no_permission, NEEDS_PEER,
     "peers without permission are kept out"},
    {"relay-to-relay", ph_load_check_relay_to_relay, NEEDS_ALLOCATION,
     "two allocations reach each other"},
    {"ipv6", ph_load_check_ipv6, NEEDS_ALLOCATION, "an IPv6 relay address"},
    {"dual", ph_load_check_dual, NEEDS_ALLOCATION, "relay addresses of both families"},
    {"even-port", ph_load_check_even_port, NEEDS_ALLOCATION, "EVEN-PORT gives an even port"},
    {"reservation", ph_load_check_reservation, NEEDS_ALLOCATION,
     "the next port is reserved and redeemed"},
    {"dont-fragment", ph_load_check_dont_fragment, NEEDS_ALLOCATION, "DONT-FRAGMENT is supported"},
    {"forbidden-peers", ph_load_check_forbidden_peers, NEEDS_ALLOCATION,
     "peers inside or behind the server are refused"},
    {"unknown-attribute", ph_load_check_unknown_attribute, NEEDS_ALLOCATION,
     "an unknown required attribute is answered 420"},
    {"transport", ph_load_check_transport, NEEDS_ALLOCATION,
     "an unknown transport is answered 442, none 400"},
    {"integrity", ph_load_check_integrity, NEEDS_ALLOCATION, "a changed request is refused"},
    {"retransmission", ph_load_check_retransmission, NEEDS_ALLOCATION,
     "the same Allocate twice gives the same answer"},
    {"mismatch", ph_load_check_mismatch, NEEDS_ALLOCATION, "a second Allocate is answered 437"},
    {"stale-nonce", ph_load_check_stale_nonce, NEEDS_ALLOCATION,
     "an unknown nonce is answered 438"},
    {"refresh", ph_load_check_refresh, NEEDS_ALLOCATION, "an allocation is refreshed"},
    {"release", ph_load_check_release, NEEDS_ALLOCATION, "lifetime 0 ends it"},
};

enum { CHECKS = sizeof list / sizeof *list };

static const char *const words[] = {"ok", "FAILED", "skipped"};

static void say(struct ph_load_check *k, enum ph_load_check_result result, const char *fmt,
                va_list ap)
{
    if (k->result == PH_LOAD_CHECK_FAILED)
        return;
    k->result = result;
    vsnprintf(k->text, sizeof k->text, fmt, ap);
}

void ph_load_check_ok(struct ph_load_check *k, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(k, PH_LOAD_CHECK_OK, fmt, ap);
    va_end(ap);
}

void ph_load_check_skip(struct ph_load_check *k, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(k, PH_LOAD_CHECK_SKIPPED, fmt, ap);
    va_end(ap);
}

void ph_load_check_excuse(struct ph_load_check *k, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    k->result = PH_LOAD_CHECK_OK;
    say(k, PH_LOAD_CHECK_SKIPPED, fmt, ap);
    va_end(ap);
}

bool ph_load_check_fail(struct ph_load_check *k, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(k, PH_LOAD_CHECK_FAILED, fmt, ap);
    va_end(ap);
    return false;
}

/* Whether an earlier check has shown that this one makes no sense. */
static bool pointless(struct ph_load_check *k, unsigned needs)
{
    const char *why = NULL;
    if (needs & NEEDS_ANSWER && k->silent)
        why = "the server does not answer";
    else if (needs & NEEDS_ANSWER && k->no_credentials)
        why = "needs --user and --pass, or --secret";
    else if ((needs & NEEDS_ALLOCATION) == NEEDS_ALLOCATION && k->no_allocation)
        why = "no allocation";
    else if (needs == NEEDS_PEER && k->no_peer)
        why = "no permission for our peer";
    if (why)
        ph_load_check_skip(k, "%s", why);
    return why != NULL;
}

static void print(const struct ph_load_check *k, unsigned i, double ms, struct ph_load_json *j)
{
    if (!j) {
        printf("%-8s %-18s %9.1f ms  %s%s%s\n", words[k->result], list[i].name, ms, list[i].what,
               k->text[0] ? ": " : "", k->text);
        fflush(stdout);
        return;
    }
    ph_load_json_open(j, NULL, '{');
    ph_load_json_text(j, "name", list[i].name);
    ph_load_json_text(j, "what", list[i].what);
    ph_load_json_text(j, "result", k->result == PH_LOAD_CHECK_FAILED ? "failed" : words[k->result]);
    ph_load_json_text(j, "text", k->text);
    ph_load_json_real(j, "ms", ms);
    ph_load_json_close(j, '}');
}

static void run_one(struct ph_load_check *k, unsigned i, struct ph_load_json *j)
{
    ph_ns start = ph_now();
    k->result = PH_LOAD_CHECK_OK;
    k->text[0] = '\0';
    if (!pointless(k, list[i].needs))
        list[i].fn(k);
    print(k, i, (double)(ph_now() - start) / 1e6, j);
}

int ph_load_check_run(const struct ph_load_args *a, const struct ph_addr *server)
{
    struct ph_load_check k = {.args = a, .server = *server, .env = ph_env_system(NULL)};
    struct ph_load_json j = {.f = stdout};
    unsigned count[3] = {0};
    char text[PH_ADDR_TEXT], why[PH_LOAD_LINK_WHY];
    if (a->proto == PH_TLS || a->proto == PH_DTLS) {
        k.tls = ph_load_tls_new(a->proto, a->host, a->ca, why);
        if (!k.tls) {
            fprintf(stderr, "turnload: %s\n", why);
            return 1;
        }
    }
    if (a->json) {
        ph_load_json_open(&j, NULL, '{');
        ph_load_json_text(&j, "program", "turnload");
        ph_load_json_text(&j, "version", PH_VERSION);
        ph_load_json_text(&j, "target", a->target);
        ph_load_json_text(&j, "server", ph_addr_text(server, text));
        ph_load_json_open(&j, "checks", '[');
    }
    for (unsigned i = 0; i < CHECKS; i++) {
        run_one(&k, i, a->json ? &j : NULL);
        count[k.result]++;
    }
    if (a->json) {
        ph_load_json_close(&j, ']');
        ph_load_json_uint(&j, "ok", count[PH_LOAD_CHECK_OK]);
        ph_load_json_uint(&j, "failed", count[PH_LOAD_CHECK_FAILED]);
        ph_load_json_uint(&j, "skipped", count[PH_LOAD_CHECK_SKIPPED]);
        ph_load_json_bool(&j, "passed", count[PH_LOAD_CHECK_FAILED] == 0);
        ph_load_json_close(&j, '}');
    } else {
        printf("%u checks of %s: %u ok, %u failed, %u skipped\n", (unsigned)CHECKS,
               ph_addr_text(server, text), count[PH_LOAD_CHECK_OK], count[PH_LOAD_CHECK_FAILED],
               count[PH_LOAD_CHECK_SKIPPED]);
    }
    ph_load_tls_free(k.tls);
    return count[PH_LOAD_CHECK_FAILED] ? 1 : 0;
}
