/*
 * Notes: what nodes tell each other at once, sealed, in a stream.
 */
#include "cmd/turnd/fleet_priv.h"

#ifdef PH_HAVE_REDIS

#include "stun/base/error.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <string.h>

enum { NAME = 192 };

static const char *note_name(char dst[static NAME], struct ph_slice from, struct ph_slice to)
{
    snprintf(dst, NAME, "fleet/note/%.*s/%.*s", (int)from.n, (const char *)from.p, (int)to.n,
             (const char *)to.p);
    return dst;
}

/* What is lost with the connection is told anew when it is back, and what is refused, when the stream will do again. */
static void on_posted(void *ctx, const struct redisReply *r)
{
    struct ph_tfleet *f = ctx;

    if (!f->ended && ph__tfleet_refused(f, PH__TFLEET_POST, r))
        f->synced = false;
}

bool ph__tfleet_post(struct ph_tfleet *f, const char *to, const char *text)
{
    char name[NAME], plain[PH_FLEET_TEXT + 24];
    uint8_t sealed[sizeof plain + PH_FLEET_SEAL_ROOM];

    snprintf(plain, sizeof plain, "%" PRId64 " %s", ph__tfleet_stamp(f), text);
    const int n = ph_fleet_seal(&f->run->conf->fleet, sealed,
                                ph_str(note_name(name, ph_str(f->run->conf->node), ph_str(to))),
                                ph_str(plain), &f->env);
    if (n < 0)
        return false;
    const struct ph_slice args[] = {
        ph_str("XADD"), ph_str(f->notes_key), ph_str("MAXLEN"), ph_str("~"),
        ph_str("8192"), ph_str("*"),          ph_str("n"),      ph_str(f->run->conf->node),
        ph_str("t"),    ph_str(to),           ph_str("v"),      {sealed, (size_t)n}};
    return ph_redis_command(f->redis, args, 12, on_posted, f) == 0;
}

/* The value of a field of a note, or nothing. */
static struct ph_slice field(const redisReply *fields, const char *name)
{
    for (size_t i = 0; i + 1 < fields->elements; i += 2)
        if (ph__tfleet_is_text(fields->element[i]) && ph__tfleet_is_text(fields->element[i + 1]) &&
            ph_slice_eq(ph__tfleet_bytes(fields->element[i]), ph_str(name)))
            return ph__tfleet_bytes(fields->element[i + 1]);
    return (struct ph_slice){NULL, 0};
}

/* Opens a note that is for us, and takes it. */
static void take_note(struct ph_tfleet *f, const redisReply *fields)
{
    const struct ph_slice from = field(fields, "n"), to = field(fields, "t"),
                          v = field(fields, "v");
    uint8_t plain[PH_FLEET_TEXT + 64];
    char name[NAME];
    int64_t at_ms;

    if (!ph__tfleet_is_node(from)) {
        ph__tfleet_not_ours(f, "a note");
        return;
    }
    if (!ph_slice_eq(to, ph_str("*")) && !ph_slice_eq(to, ph_str(f->run->conf->node)))
        return;
    const int n = v.n < sizeof plain ? ph_fleet_open(&f->run->conf->fleet, plain,
                                                     ph_str(note_name(name, from, to)), v)
                                     : PH_E_LIMIT;
    struct ph_slice text = {plain, n > 0 ? (size_t)n : 0};
    if (n < 0 || !ph__tfleet_stamped(&text, &at_ms)) {
        ph__tfleet_not_ours(f, "a note");
        return;
    }
    /* An order that was written down and is shown again would end sessions that are new. */
    if (ph__tfleet_is_news(f, from, PH_TFRESH_NOTE, at_ms))
        (void)ph_fleet_take(f->core, from, text, ph_now());
}

/* [[key, [[id, [name, value ...]] ...]]] */
static size_t take_notes(struct ph_tfleet *f, const redisReply *r)
{
    if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != 1 ||
        r->element[0]->type != REDIS_REPLY_ARRAY || r->element[0]->elements != 2 ||
        r->element[0]->element[1]->type != REDIS_REPLY_ARRAY)
        return 0;
    const redisReply *list = r->element[0]->element[1];
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *e = list->element[i];
        if (e->type != REDIS_REPLY_ARRAY || e->elements != 2 ||
            !ph__tfleet_is_text(e->element[0]) || e->element[0]->len >= PH__TFLEET_ID ||
            e->element[1]->type != REDIS_REPLY_ARRAY)
            continue;
        memcpy(f->last_id, e->element[0]->str, e->element[0]->len + 1);
        take_note(f, e->element[1]);
    }
    return list->elements;
}

static void read_notes(struct ph_tfleet *f);

static void on_notes(void *ctx, const struct redisReply *r)
{
    struct ph_tfleet *f = ctx;

    f->reading = false;
    if (f->ended)
        return;
    if (ph__tfleet_refused(f, PH__TFLEET_READ, r))
        f->synced = false;
    pthread_mutex_lock(&f->lock);
    const size_t n = take_notes(f, r);
    pthread_mutex_unlock(&f->lock);
    if (n)
        ph__tfleet_settle(f);
    if (n >= PH__TFLEET_NOTES)
        read_notes(f);
}

static void read_notes(struct ph_tfleet *f)
{
    const struct ph_slice args[] = {ph_str("XREAD"),   ph_str("COUNT"),      ph_str("256"),
                                    ph_str("STREAMS"), ph_str(f->notes_key), ph_str(f->last_id)};
    f->reading = ph_redis_command(f->redis, args, 6, on_notes, f) == 0;
}

/* What has changed here since the last time. */
void ph__tfleet_tell(struct ph_tfleet *f)
{
    enum { NOTES = 64 }; /* at a time; the rest soon */
    char text[PH_FLEET_TEXT];

    for (int i = 0; i < NOTES; i++) {
        pthread_mutex_lock(&f->lock);
        const size_t n = ph_fleet_note(f->core, text);
        pthread_mutex_unlock(&f->lock);
        if (n == 0)
            return;
        if (!ph__tfleet_post(f, "*", text)) { /* then all of it again */
            pthread_mutex_lock(&f->lock);
            ph_fleet_tell_all(f->core);
            pthread_mutex_unlock(&f->lock);
            return;
        }
    }
}

void ph__tfleet_on_poll(uv_timer_t *timer)
{
    struct ph_tfleet *f = timer->data;

    if (!f->synced || !ph_redis_stats(f->redis)->up)
        return;
    ph__tfleet_tell(f);
    if (!f->reading)
        read_notes(f);
}

#endif
