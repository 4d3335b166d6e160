/*
 * Sockets of the process before: a sorted list, from which those that are wanted are taken while the server starts.
 *
 * A listener is found by its address and worker, so that the kernel's choice of a worker for a client stays what it was; a
 * relay by its address.  Nothing here is locked: the list is used by one thread at a time, each waiting for the next.
 */
#include "turn/uv/priv.h"

#include "stun/base/error.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int compare_addr(const struct ph_addr *a, const struct ph_addr *b)
{
    const unsigned x = (unsigned)a->family << 24 | (unsigned)a->proto << 16 | a->port;
    const unsigned y = (unsigned)b->family << 24 | (unsigned)b->proto << 16 | b->port;

    if (x != y)
        return x < y ? -1 : 1;
    return memcmp(a->ip, b->ip, ph_addr_ip_len(a));
}

static int compare(const void *left, const void *right)
{
    const struct ph_turn_uv_socket *a = left, *b = right;
    const int c = compare_addr(&a->at, &b->at);

    if (c || a->relay != b->relay)
        return c ? c : a->relay - b->relay;
    return a->relay ? 0 : a->worker - b->worker;
}

int ph__inherit_init(struct ph__inherit *h, const struct ph_turn_uv_handover *from)
{
    *h = (struct ph__inherit){0};
    if (!from->n_sockets)
        return 0;
    h->v = malloc(from->n_sockets * sizeof *h->v);
    if (!h->v)
        return PH_E_NOMEM;
    memcpy(h->v, from->socket, from->n_sockets * sizeof *h->v);
    h->n = from->n_sockets;
    qsort(h->v, h->n, sizeof *h->v, compare);
    return 0;
}

void ph__inherit_fini(struct ph__inherit *h, bool and_close)
{
    for (unsigned i = 0; i < h->n; i++)
        if (h->v[i].fd >= 0 && and_close)
            close(h->v[i].fd);
        else if (h->v[i].fd >= 0) /* somebody may have had a look at it */
            fcntl(h->v[i].fd, F_SETFD, 0);
    free(h->v);
    *h = (struct ph__inherit){0};
}

struct ph_turn_uv_socket *ph__inherit_find(const struct ph__inherit *h, const struct ph_addr *at,
                                           bool relay, unsigned worker)
{
    struct ph_turn_uv_socket key = {.at = *at, .relay = relay, .worker = (uint8_t)worker};

    if (at->proto != PH_UDP) /* what is spoken over it is not the socket's business */
        key.at.proto = PH_TCP;
    struct ph_turn_uv_socket *s = h->n ? bsearch(&key, h->v, h->n, sizeof key, compare) : NULL;
    return s && s->fd >= 0 ? s : NULL;
}
