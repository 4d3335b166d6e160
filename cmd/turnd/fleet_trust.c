/*
 * What turnd believes of the fleet's keys in Redis, and what it says of the rest: each thing once until it works again.
 */
#include "cmd/turnd/fleet_priv.h"

#ifdef PH_HAVE_REDIS

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

bool ph__tfleet_is_text(const redisReply *r)
{
    return r && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS);
}

struct ph_slice ph__tfleet_bytes(const redisReply *r)
{
    return (struct ph_slice){(const uint8_t *)r->str, r->len};
}

bool ph__tfleet_is_node(struct ph_slice name)
{
    char text[PH_FLEET_NAME];

    if (name.n == 0 || name.n >= sizeof text || memchr(name.p, '\0', name.n))
        return false;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    return ph_tconf_is_node(text);
}

void ph__tfleet_not_ours(struct ph_tfleet *f, const char *what)
{
    f->unsealed++;
    if (!f->complained)
        ph_logf(&f->env, PH_LOG_WARN,
                "fleet: %s in Redis is not signed with our fleet-key: left alone (is fleet-key the "
                "same on all nodes?)",
                what);
    f->complained = true;
}

bool ph__tfleet_refused(struct ph_tfleet *f, enum ph__tfleet_command what, const redisReply *r)
{
    const bool refused = r && r->type == REDIS_REPLY_ERROR;

    const bool said = what == PH__TFLEET_BEAT
                          ? f->refused[what]
                          : f->refused[PH__TFLEET_READ] || f->refused[PH__TFLEET_POST];

    if (refused && !said)
        ph_logf(&f->env, PH_LOG_WARN,
                "fleet: Redis refuses what is to be done with %s: %.200s; this node goes on alone",
                what == PH__TFLEET_BEAT ? f->nodes_key : f->notes_key, r->str);
    if (r)
        f->refused[what] = refused;
    return refused;
}

static int64_t clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t ph__tfleet_stamp(struct ph_tfleet *f)
{
    return ph_tfresh_stamp(&f->stamp, clock_ms());
}

void ph__tfleet_stamped_before(struct ph_tfleet *f, int64_t at_ms)
{
    if (at_ms > f->stamp && at_ms < clock_ms() + (int64_t)PH_TFRESH_S * 1000)
        f->stamp = at_ms;
}

bool ph__tfleet_stamped(struct ph_slice *text, int64_t *at_ms)
{
    size_t i = 0;

    for (*at_ms = 0; i < text->n && i < 15 && text->p[i] >= '0' && text->p[i] <= '9'; i++)
        *at_ms = *at_ms * 10 + (text->p[i] - '0');
    if (i == 0 || i == text->n || text->p[i] != ' ')
        return false;
    *text = (struct ph_slice){text->p + i + 1, text->n - i - 1};
    return true;
}

bool ph__tfleet_is_news(struct ph_tfleet *f, struct ph_slice node, enum ph_tfresh_what what,
                        int64_t at_ms)
{
    const int64_t now = clock_ms();

    switch (ph_tfresh(&f->fresh, node, what, at_ms, now)) {
    case PH_TFRESH_NEWS:
        return true;
    case PH_TFRESH_KNOWN:
        f->replayed += what == PH_TFRESH_NOTE; /* entries stay there to be read again */
        return false;
    case PH_TFRESH_OLD:
        f->replayed++;
        return false;
    case PH_TFRESH_CLOCK:
        break;
    }
    f->replayed++;
    if (!f->clock_said)
        ph_logf(&f->env, PH_LOG_WARN,
                "fleet: what node %.*s says is of %" PRId64 " s %s: passed over (clocks of nodes "
                "may be %d s apart)",
                (int)node.n, (const char *)node.p, (at_ms > now ? at_ms - now : now - at_ms) / 1000,
                at_ms > now ? "from now" : "ago", PH_TFRESH_S);
    f->clock_said = true;
    return false;
}

#endif
