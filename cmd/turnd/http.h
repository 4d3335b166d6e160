/*
 * The HTTP of a running server, as configured: opening it before privileges are dropped, closing it while the loop
 * still answers what requests under way ask the main thread.
 */
#ifndef PH_TURND_HTTP_H
#define PH_TURND_HTTP_H

#include "cmd/turnd/admin.h"

struct ph_thttp {
    struct ph_tadmin *admin; /* NULL: none */
    char socket[108];        /* of the API, "" without */
    struct ph_thandover_door
        door[PH_THANDOVER_DOORS]; /* that listen already: the program before's; n_doors */
    unsigned n_doors;
};

/* Opens what run->conf asks for, forbids it as a peer, and logs the addresses.  0, or a negative error that has been
 * logged. */
int ph_thttp_open(struct ph_thttp *h, struct ph_tops *o);

/* Nobody goes back to the program before: closes those of its sockets that were not used. */
void ph_thttp_settled(struct ph_thttp *h);

/* Closes it, running the loop meanwhile.  Calls ph_tops_end. */
void ph_thttp_close(struct ph_thttp *h, struct ph_tops *o);

/* The same for a program that is to go on with its sockets, which stay open and listen: they are in h->door. */
void ph_thttp_leave(struct ph_thttp *h, struct ph_tops *o);

#endif
