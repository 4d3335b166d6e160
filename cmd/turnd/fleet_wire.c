/*
 * Coming in, and the entries of nodes in Redis.  What others have written there is anybody's bytes until its signature is
 * found good.
 */
#include "cmd/turnd/fleet_priv.h"

#ifdef PH_HAVE_REDIS

#include "stun/base/error.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME = 192,
    MAC_HEX = 2 * PH_FLEET_MAC_LEN,
    SILENT_S = 30, /* an entry as old as that is a dead node's, whatever else it is */
    LEFT_S = 24 * 3600
};

/* ---- entries ---- */

static void on_removed(void *ctx, const struct redisReply *r)
{
    (void)ctx, (void)r;
}

static const char *entry_name(char dst[static NAME], struct ph_slice node)
{
    snprintf(dst, NAME, "fleet/entry/%.*s", (int)node.n, (const char *)node.p);
    return dst;
}

static void sign(struct ph_tfleet *f, const char *node, const char *text,
                 char dst[static MAC_HEX + 1])
{
    uint8_t mac[PH_FLEET_MAC_LEN];
    char name[NAME];

    ph_fleet_sign(&f->run->conf->fleet, mac, ph_str(entry_name(name, ph_str(node))), ph_str(text));
    for (unsigned i = 0; i < PH_FLEET_MAC_LEN; i++)
        snprintf(dst + 2 * i, 3, "%02x", mac[i]);
}

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "TEXT MAC" -> TEXT, if it was signed by one of us for this node. */
static bool is_signed(struct ph_tfleet *f, struct ph_slice node, struct ph_slice *text)
{
    uint8_t mac[PH_FLEET_MAC_LEN];
    char name[NAME];

    if (text->n <= MAC_HEX || text->p[text->n - MAC_HEX - 1] != ' ')
        return false;
    const uint8_t *p = text->p + text->n - MAC_HEX;
    for (unsigned i = 0; i < PH_FLEET_MAC_LEN; i++) {
        if (hex(p[2 * i]) < 0 || hex(p[2 * i + 1]) < 0)
            return false;
        mac[i] = (uint8_t)(hex(p[2 * i]) << 4 | hex(p[2 * i + 1]));
    }
    text->n -= MAC_HEX + 1;
    return ph_fleet_signed(&f->run->conf->fleet, mac, ph_str(entry_name(name, node)), *text);
}

/* Left behind for so long, nobody will ask for it any more: nodes of clouds come with ever new names. */
static void remove_entry(struct ph_tfleet *f, struct ph_slice node)
{
    const struct ph_slice args[] = {ph_str("HDEL"), ph_str(f->nodes_key), node};
    (void)ph_redis_command(f->redis, args, 3, on_removed, NULL);
}

/* "TIME STAMP ENTRY MAC" of a node: by Redis's clock, which is now_s, and by the node's own, which is signed. */
static void take_entry(struct ph_tfleet *f, struct ph_slice node, struct ph_slice value,
                       int64_t now_s)
{
    const bool self = ph_slice_eq(node, ph_str(f->run->conf->node));
    int64_t at_s, at_ms;

    if (!ph__tfleet_is_node(node) || !ph__tfleet_stamped(&value, &at_s) ||
        !is_signed(f, node, &value) || !ph__tfleet_stamped(&value, &at_ms)) {
        ph__tfleet_not_ours(f, "a node's entry");
        return;
    }
    if (self) /* perhaps of a process before us, by a clock that was ahead: the others go by it */
        ph__tfleet_stamped_before(f, at_ms);
    else if (now_s - at_s > LEFT_S)
        remove_entry(f, node);
    else if (now_s - at_s < SILENT_S && ph__tfleet_is_news(f, node, PH_TFRESH_ENTRY, at_ms))
        (void)ph_fleet_heard(f->core, node, value, PH_SEC(now_s - at_s), ph_now());
}

static void on_entries(void *ctx, const struct redisReply *r)
{
    struct ph_tfleet *f = ctx;

    f->beating = false;
    if (f->ended || ph__tfleet_refused(f, PH__TFLEET_BEAT, r) || !r ||
        r->type != REDIS_REPLY_ARRAY || r->elements != 2 || !ph__tfleet_is_text(r->element[0]) ||
        r->element[1]->type != REDIS_REPLY_ARRAY)
        return;
    const int64_t now_s = strtoll(r->element[0]->str, NULL, 10);
    const redisReply *all = r->element[1];
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i + 1 < all->elements; i += 2)
        if (ph__tfleet_is_text(all->element[i]) && ph__tfleet_is_text(all->element[i + 1]))
            take_entry(f, ph__tfleet_bytes(all->element[i]), ph__tfleet_bytes(all->element[i + 1]),
                       now_s);
    pthread_mutex_unlock(&f->lock);
    ph__tfleet_settle(f);
}

static void beat(struct ph_tfleet *f)
{
    static const char SCRIPT[] = "local t=redis.call('TIME')\n"
                                 "local all=redis.call('HGETALL',KEYS[1])\n"
                                 "redis.call('HSET',KEYS[1],ARGV[1],t[1]..' '..ARGV[2])\n"
                                 "return {t[1],all}";
    char entry[PH_FLEET_TEXT], stamped[PH_FLEET_TEXT + 24], mac[MAC_HEX + 1];
    char text[sizeof stamped + sizeof mac];

    ph__tfleet_look(f);
    ph_fleet_entry(&f->self, entry);
    snprintf(stamped, sizeof stamped, "%" PRId64 " %s", ph__tfleet_stamp(f), entry);
    sign(f, f->self.name, stamped, mac);
    snprintf(text, sizeof text, "%s %s", stamped, mac);
    const struct ph_slice args[] = {ph_str("EVAL"),       ph_str(SCRIPT),       ph_str("1"),
                                    ph_str(f->nodes_key), ph_str(f->self.name), ph_str(text)};
    f->beating = ph_redis_command(f->redis, args, 6, on_entries, f) == 0;
}

/* ---- coming in ---- */

/* The last note there is: what comes after it is for us. */
static void on_last(void *ctx, const struct redisReply *r)
{
    struct ph_tfleet *f = ctx;

    f->coming = false;
    if (f->ended || ph__tfleet_refused(f, PH__TFLEET_READ, r) || !r || r->type != REDIS_REPLY_ARRAY)
        return; /* the connection has gone, or the key is no good: it is tried again */
    snprintf(f->last_id, sizeof f->last_id, "0-0");
    if (r->elements > 0 && r->element[0]->type == REDIS_REPLY_ARRAY &&
        r->element[0]->elements == 2 && ph__tfleet_is_text(r->element[0]->element[0]) &&
        r->element[0]->element[0]->len < PH__TFLEET_ID)
        memcpy(f->last_id, r->element[0]->element[0]->str, r->element[0]->element[0]->len + 1);
    f->synced = true;
    ph__tfleet_post(f, "*", "anew"); /* a process before us may have died with its word */
    ph__tfleet_post(f, "*", "hello");
    pthread_mutex_lock(&f->lock);
    ph_fleet_tell_all(f->core);
    pthread_mutex_unlock(&f->lock);
    ph__tfleet_tell(f);
}

static void come_in(struct ph_tfleet *f)
{
    const struct ph_slice args[] = {ph_str("XREVRANGE"), ph_str(f->notes_key), ph_str("+"),
                                    ph_str("-"),         ph_str("COUNT"),      ph_str("1")};
    f->coming = ph_redis_command(f->redis, args, 6, on_last, f) == 0;
}

void ph__tfleet_connected(void *ctx, bool up)
{
    struct ph_tfleet *f = ctx;

    f->synced = f->beating = f->reading = f->coming = false;
    if (!up || f->ended)
        return;
    f->complained = f->clock_said = false;
    beat(f); /* before the greeting: who has not been heard of is not answered */
    come_in(f);
}

/* ---- once a second ---- */

void ph__tfleet_on_beat(uv_timer_t *timer)
{
    struct ph_tfleet *f = timer->data;

    if (!f->beating && ph_redis_stats(f->redis)->up)
        beat(f);
    if (!f->synced && !f->coming && ph_redis_stats(f->redis)->up) /* it was refused */
        come_in(f);
    ph__tfleet_share(f);
    ph__tfleet_settle(f); /* nodes die of silence, Redis or not */
}

#endif
