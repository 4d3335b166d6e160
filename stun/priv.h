/*
 * Shared by the files of stun/, not for users of the library.
 */
#ifndef PH_STUN_PRIV_H
#define PH_STUN_PRIV_H

#include "stun/base/error.h"
#include "stun/codec/msgw.h"

#include <stdint.h>
#include <string.h>

/* CHANGE-REQUEST's flags (RFC 5780 7.2). */
enum { PH__CHANGE_IP = 4, PH__CHANGE_PORT = 2 };

/* Appends PADDING of n zero bytes, which need no memory of their own: they are zeroed where they will stand. */
static inline void ph__msgw_padding(struct ph_msgw *w, uint32_t n)
{
    uint32_t room = w->cap - w->len;
    if (w->err)
        return;
    if (room < 4 || n > room - 4) {
        w->err = PH_E_NOSPACE;
        return;
    }
    uint8_t *at = w->p + w->len + 4;
    memset(at, 0, n);
    ph_msgw_bytes(w, PH_ATTR_PADDING, (struct ph_slice){at, n});
}

#endif
