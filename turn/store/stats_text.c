/*
 * Keys and messages of coturn's statistics.
 *
 * Names are what clients say.  Consumers take keys apart at '/' and ask for them with patterns, so a byte that means something
 * there is written as %XX, and so is '%', or two names could have the same key.  All else, UTF-8 for one, is as it came.
 */
#include "turn/store/stats_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Text that is cut where the room ends, and its length in full. */
struct text {
    char *dst;
    size_t cap, n;
};

static void put(struct text *t, char c)
{
    if (t->n + 1 < t->cap)
        t->dst[t->n] = c;
    t->n++;
}

static void put_text(struct text *t, const char *text)
{
    while (*text)
        put(t, *text++);
}

static bool is_plain(uint8_t c)
{
    return c > 0x20 && c != 0x7F && !strchr("/%*?[]\\", c);
}

static void put_name(struct text *t, struct ph_slice name)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < name.n; i++) {
        const uint8_t c = name.p[i];
        if (is_plain(c)) {
            put(t, (char)c);
        } else {
            put(t, '%');
            put(t, hex[c >> 4]);
            put(t, hex[c & 15]);
        }
    }
}

size_t ph_stats_key(char *dst, size_t cap, const char *prefix, struct ph_slice realm,
                    struct ph_slice user, uint64_t session, const char *what)
{
    struct text t = {dst, cap, 0};
    char id[24];

    put_text(&t, prefix);
    if (realm.n) {
        put_text(&t, "/realm/");
        put_name(&t, realm);
    }
    put_text(&t, "/user/");
    put_name(&t, user);
    snprintf(id, sizeof id, "%018" PRIu64, session);
    put_text(&t, "/allocation/");
    put_text(&t, id);
    put_text(&t, "/");
    put_text(&t, what);
    if (cap)
        dst[t.n < cap ? t.n : cap - 1] = '\0';
    return t.n;
}

static const char *type_of(uint8_t proto)
{
    switch (proto) {
    case PH_UDP:
        return "UDP";
    case PH_TCP:
        return "TCP";
    case PH_TLS:
        return "TLS/TCP";
    case PH_DTLS:
        return "DTLS";
    default:
        return "UNKNOWN";
    }
}

const char *ph_stats_status(char dst[static PH_STATS_STATUS], const char *word, uint32_t lifetime_s,
                            const struct ph_statsdb_session *session)
{
    const uint8_t proto = session->info.client.proto;
    const char *none = proto == PH_TLS || proto == PH_DTLS ? "UNKNOWN" : "NONE";
    char local[PH_ADDR_TEXT], remote[PH_ADDR_TEXT];

    snprintf(dst, PH_STATS_STATUS,
             "%s lifetime=%" PRIu32 ", type=%s, local=%s, remote=%s, ssl=%s, cipher=%s", word,
             lifetime_s, type_of(proto), ph_addr_text(&session->local, local),
             ph_addr_text(&session->info.client, remote), session->tls ? session->tls : none,
             session->cipher ? session->cipher : none);
    return dst;
}

const char *ph_stats_traffic(char dst[static PH_STATS_TRAFFIC], const struct ph_turnd_usage *u,
                             bool peer)
{
    snprintf(dst, PH_STATS_TRAFFIC,
             "rcvp=%" PRIu64 ", rcvb=%" PRIu64 ", sentp=%" PRIu64 ", sentb=%" PRIu64,
             peer ? u->peer_received_packets : u->received_packets,
             peer ? u->peer_received_bytes : u->received_bytes,
             peer ? u->peer_sent_packets : u->sent_packets,
             peer ? u->peer_sent_bytes : u->sent_bytes);
    return dst;
}
