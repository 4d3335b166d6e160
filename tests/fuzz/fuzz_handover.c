/*
 * What another version of this program has left (turnctl upgrade): any bytes behind a good head are refused or read, and
 * what was read is written as the same bytes.
 */
#include "fuzz/check.h"

#include "cmd/turnd/handover.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t n = size + PH_THANDOVER_HEAD;
    struct ph_thandover h;
    uint8_t *p = malloc(n);

    memcpy(p + PH_THANDOVER_HEAD, data, size);
    ph_thandover_stamp(p, n);
    if (ph_thandover_read(&h, (struct ph_slice){p, n}) == 0) {
        CHECK(h.n_doors <= PH_THANDOVER_DOORS && h.server.keys.n_tickets <= PH_TURND_TICKET_KEYS);
        CHECK(memchr(h.version, 0, sizeof h.version) && memchr(h.program, 0, sizeof h.program));
        CHECK(memchr(h.pid_path, 0, sizeof h.pid_path) && memchr(h.token, 0, sizeof h.token));
        const size_t again = ph_thandover_size(&h);
        uint8_t *q = malloc(again);
        struct ph_thandover same;
        ph_thandover_write(&h, q);
        CHECK(ph_thandover_read(&same, (struct ph_slice){q, again}) == 0);
        CHECK(ph_thandover_size(&same) == again);
        ph_thandover_free(&same);
        ph_thandover_free(&h);
        free(q);
    }
    free(p);
    return 0;
}
