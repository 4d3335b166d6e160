/*
 * The hand-over: a server stops without ending its allocations, and the next process goes on with them and their sockets.
 *
 *     the store is given a moment
 *     all workers stop listening           what comes from now on waits in the sockets
 *     errands between workers end          no allocation is on its way
 *     all is saved, all memory taken       until here nothing has happened that cannot be undone
 *     connections end, sockets are taken   every one of them still open, and open after exec
 *
 * While they wait for each other the workers find sockets ready and leave them alone, which keeps them busy for some
 * milliseconds.
 */
#include "turn/uv/server.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "turn/uv/priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STORE_MS = 200,
    ERRAND_WAYS = 3 /* there, here and, if there was no room, back */
};

/* What a worker hands over. */
struct leaving {
    struct ph__turn_worker *w;
    struct ph_turn_uv_record *record;
    struct ph_turn_uv_socket *socket;
    uint32_t *number; /* of each socket: a listener's, or a relay's of the core */
    uint32_t n_records, n_sockets, lost;
    uint8_t *room; /* for one record */
    int err;
    uv_sem_t saved;
};

/* --- saving ---------------------------------------------------------------------------------------- */

static void add_socket(struct leaving *l, const struct ph_addr *at, uint32_t number)
{
    const bool relay = number & PH_SOCK_RELAY;

    l->number[l->n_sockets] = number;
    l->socket[l->n_sockets] = (struct ph_turn_uv_socket){
        .at = *at, .worker = (uint8_t)l->w->index, .relay = relay, .fd = -1};
    if (at->proto != PH_UDP)
        l->socket[l->n_sockets].at.proto = PH_TCP;
    l->n_sockets++;
}

/* The relay sockets of an allocation. */
static void add_relays(struct leaving *l, uint32_t id)
{
    struct ph_addr at;

    for (uint32_t leg = 0; leg < 2; leg++) {
        const uint32_t number = PH_SOCK_RELAY | id << 1 | leg;
        const struct ph_udp *s = ph_relays_find(&l->w->relays, number);
        if (s ? ph_udp_local(s, &at) == 0 : ph__tcprelay_local(l->w, number, &at))
            add_socket(l, &at, number);
    }
}

/* False: no memory. */
static bool save_one(struct leaving *l, uint32_t id, ph_ns now)
{
    const size_t n = ph_turnd_save(l->w->core, id, l->room, PH_RECORD_MAX, now);
    uint8_t *p = n ? malloc(n) : NULL;

    if (!n) {
        l->lost++;
        return true;
    }
    if (!p)
        return false;
    memcpy(p, l->room, n);
    l->record[l->n_records++] = (struct ph_turn_uv_record){p, n};
    add_relays(l, id);
    return true;
}

/* The relay sockets that allocations share, at most so many as there is room for.  Returns how many there are. */
static size_t add_pool(struct leaving *l, size_t room)
{
    struct ph_addr at;
    uint32_t sock;
    size_t n = 0;

    for (uint32_t i = 0; ph_turnd_pool(l->w->core, &i, &sock, &at); n++)
        if (n < room)
            add_socket(l, &at, sock);
    return n;
}

static int save_all(struct leaving *l)
{
    const struct ph_turn_uv *t = l->w->owner;
    const uint32_t allocations = ph_turnd_count(l->w->core);
    const size_t pool = add_pool(l, 0);
    const size_t sockets = t->c.core.n_listeners + pool + 2 * (size_t)allocations;
    const ph_ns now = ph_now();
    struct ph_turnd_info info;
    uint32_t id = 0;

    l->record = calloc(allocations + 1, sizeof *l->record);
    l->socket = calloc(sockets, sizeof *l->socket);
    l->number = calloc(sockets, sizeof *l->number);
    l->room = malloc(PH_RECORD_MAX);
    if (!l->record || !l->socket || !l->number || !l->room)
        return PH_E_NOMEM;
    ph__turn_worker_clock(l->w, now);
    for (uint32_t i = 0; i < t->c.core.n_listeners; i++)
        add_socket(l, &t->at[i], i);
    add_pool(l, pool);
    while (l->n_records + l->lost < allocations && ph_turnd_list(l->w->core, &id, &info))
        if (!save_one(l, info.id, now))
            return PH_E_NOMEM;
    return 0;
}

static void save(void *ctx)
{
    struct leaving *l = ctx;

    l->err = save_all(l);
    uv_sem_post(&l->saved);
}

/* All workers at the same time: meanwhile packets wait. */
static int save_everything(const struct ph_turn_uv *t, struct leaving *v)
{
    int err = 0;

    for (unsigned i = 0; i < t->n; i++)
        if (!t->c.workers || ph_worker_post(v[i].w->w, save, &v[i]))
            ph_worker_call(v[i].w->w, save, &v[i]);
    for (unsigned i = 0; i < t->n; i++) {
        uv_sem_wait(&v[i].saved);
        err = v[i].err ? v[i].err : err;
    }
    return err;
}

static void free_leaving(struct leaving *l, bool and_records)
{
    for (uint32_t i = 0; i < l->n_records && and_records; i++) {
        ph_wipe(l->record[i].p, l->record[i].n);
        free(l->record[i].p);
    }
    if (l->room)
        ph_wipe(l->room, PH_RECORD_MAX);
    free(l->room);
    free(l->record);
    free(l->socket);
    free(l->number);
}

/* --- stopping, and going on after all -------------------------------------------------------------- */

static void stop_listening(void *ctx)
{
    struct ph__turn_worker *w = ctx;

    w->leaving =
        true; /* every stretch of work has ended with nothing left to send but to slow readers */
}

static void errands_end(void *ctx)
{
    (void)ctx;
}

static void go_on(void *ctx)
{
    struct ph__turn_worker *w = ctx;
    const ph_ns now = ph_now();

    w->leaving = false;
    ph__turn_worker_drain(w, now);
    ph__turn_worker_done(w, now); /* sets the alarm that may have gone off meanwhile */
}

static void call_all(const struct ph_turn_uv *t, void (*fn)(void *ctx))
{
    for (unsigned i = 0; i < t->n; i++)
        ph_worker_call(t->v[i]->w, fn, t->v[i]);
}

/* --- taking ---------------------------------------------------------------------------------------- */

/* Says goodbye to clients with allocations; others see their connection closed. */
static void end_connections(struct ph__turn_worker *w)
{
    struct ph_turnd_info info;

    for (uint32_t id = 0; ph_turnd_list(w->core, &id, &info);)
        if (info.conn & PH_DTLS_CONN && w->dtls)
            ph_dtls_close(w->dtls, info.conn);
        else if (info.conn && w->streams)
            ph_streams_close(w->streams, info.conn);
    if (w->streams)
        ph_streams_flush(w->streams, ph_now());
    ph_batch_flush(w->batch);
}

static int take_relay(struct ph__turn_worker *w, uint32_t number)
{
    struct ph_udp *s = ph_relays_find(&w->relays, number);
    int fd;

    if (s) {
        fd = s->fd;
        s->fd = -1;
        ph_worker_unwatch(w->w, fd);
    } else {
        fd = ph__tcprelay_give(w, number);
    }
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
    return fd;
}

static void take(void *ctx)
{
    struct leaving *l = ctx;
    struct ph__turn_worker *w = l->w;

    ph__save_fini(w);
    end_connections(w);
    for (uint32_t i = 0; i < l->n_sockets; i++)
        l->socket[i].fd = l->socket[i].relay ? take_relay(w, l->number[i])
                                             : ph__turn_listener_give(w, l->number[i]);
    ph__clients_fini(w);
    ph_relays_fini(&w->relays); /* those of allocations that are lost */
}

/* Puts what the workers have together.  Memory is there. */
static void collect(const struct ph_turn_uv *t, struct leaving *v, struct ph_turn_uv_handover *h)
{
    for (unsigned i = 0; i < t->n; i++) {
        ph_worker_call(v[i].w->w, take, &v[i]);
        for (uint32_t k = 0; k < v[i].n_records; k++)
            h->record[h->n_records++] = v[i].record[k];
        for (uint32_t k = 0; k < v[i].n_sockets; k++)
            if (v[i].socket[k].fd >= 0)
                h->socket[h->n_sockets++] = v[i].socket[k];
        h->lost += v[i].lost;
    }
    h->workers = t->n;
    h->keys = t->keys;
}

/* Room for all.  0 or PH_E_NOMEM. */
static int make_room(const struct ph_turn_uv *t, const struct leaving *v,
                     struct ph_turn_uv_handover *h)
{
    size_t records = 1, sockets = 1;

    for (unsigned i = 0; i < t->n; i++) {
        records += v[i].n_records;
        sockets += v[i].n_sockets;
    }
    *h = (struct ph_turn_uv_handover){.record = malloc(records * sizeof *h->record),
                                      .socket = malloc(sockets * sizeof *h->socket)};
    return h->record && h->socket ? 0 : PH_E_NOMEM;
}

/* --- the public face ------------------------------------------------------------------------------- */

static int leave(struct ph_turn_uv *t, struct leaving *v, struct ph_turn_uv_handover *h)
{
    struct ph_turn_uv_handover all;

    call_all(t, stop_listening);
    for (unsigned i = 0; i < ERRAND_WAYS; i++)
        call_all(t, errands_end);
    int err = save_everything(t, v);
    if (!err && (err = make_room(t, v, &all)) != 0)
        ph_turn_uv_handover_free(&all, false);
    if (err) {
        call_all(t, go_on);
        return err;
    }
    collect(t, v, &all);
    *h = all;
    return 0;
}

int ph_turn_uv_leave(struct ph_turn_uv *t, struct ph_turn_uv_handover *h)
{
    struct leaving *v = calloc(t->n, sizeof *v);
    unsigned ready = 0;

    if (!v)
        return PH_E_NOMEM;
    ph_turn_uv_flush(t, STORE_MS); /* the next process writes what is left */
    for (; ready < t->n && !uv_sem_init(&v[ready].saved, 0); ready++)
        v[ready].w = t->v[ready];
    const int err = ready < t->n ? PH_E_NOMEM : leave(t, v, h);
    for (unsigned i = 0; i < ready; i++) {
        uv_sem_destroy(&v[i].saved);
        free_leaving(&v[i], err);
    }
    free(v);
    return err;
}

void ph_turn_uv_handover_free(struct ph_turn_uv_handover *h, bool sockets)
{
    for (unsigned i = 0; i < h->n_records; i++) {
        ph_wipe(h->record[i].p, h->record[i].n);
        free(h->record[i].p);
    }
    for (unsigned i = 0; i < h->n_sockets && sockets; i++)
        if (h->socket[i].fd >= 0)
            close(h->socket[i].fd);
    free(h->record);
    free(h->socket);
    ph_wipe(&h->keys, sizeof h->keys);
    *h = (struct ph_turn_uv_handover){0};
}
