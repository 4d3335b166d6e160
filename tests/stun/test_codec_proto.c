#include "stun/codec/demux.h"
#include "stun/codec/proto.h"

#include <criterion/criterion.h>
#include <string.h>

Test(codec_proto, packs_method_and_class_into_the_type)
{
    /* RFC 8489 5: a Binding response of each class. */
    cr_assert_eq(ph_stun_type(PH_BINDING, PH_REQUEST), 0x0001);
    cr_assert_eq(ph_stun_type(PH_BINDING, PH_INDICATION), 0x0011);
    cr_assert_eq(ph_stun_type(PH_BINDING, PH_SUCCESS), 0x0101);
    cr_assert_eq(ph_stun_type(PH_BINDING, PH_ERROR), 0x0111);
    cr_assert_eq(ph_stun_type(0xFFF, PH_ERROR), 0x3FFF);
    for (unsigned method = 0; method < 0x1000; method++)
        for (unsigned cls = 0; cls < 4; cls++) {
            uint16_t type = ph_stun_type((uint16_t)method, (enum ph_class)cls);
            cr_assert_lt(type, 0x4000);
            cr_assert_eq(ph_stun_method(type), method);
            cr_assert_eq(ph_stun_class(type), cls);
        }
}

Test(codec_proto, names_codes_and_methods)
{
    cr_assert_str_eq(ph_stun_reason(401), "Unauthenticated");
    cr_assert_str_eq(ph_stun_reason(486), "Allocation Quota Reached");
    cr_assert_str_eq(ph_stun_reason(0), "Error");
    cr_assert_str_eq(ph_stun_reason(699), "Error");
    cr_assert_str_eq(ph_method_name(PH_CREATE_PERMISSION), "CreatePermission");
    cr_assert_str_eq(ph_method_name(PH_CONNECTION_ATTEMPT), "ConnectionAttempt");
    cr_assert_null(ph_method_name(0x002));
    cr_assert_null(ph_method_name(0xFFF));
}

/* RFC 7983 figure 3 and RFC 9443, every first byte. */
Test(codec_demux, tells_protocols_apart_by_the_first_byte)
{
    for (unsigned b = 0; b < 256; b++) {
        uint8_t p[1] = {(uint8_t)b};
        enum ph_demux want = b <= 3                 ? PH_DEMUX_STUN
                             : b >= 16 && b <= 19   ? PH_DEMUX_ZRTP
                             : b >= 20 && b <= 63   ? PH_DEMUX_DTLS
                             : b >= 64 && b <= 79   ? PH_DEMUX_CHANNEL
                             : b >= 80 && b <= 127  ? PH_DEMUX_QUIC
                             : b >= 128 && b <= 191 ? PH_DEMUX_RTP
                                                    : PH_DEMUX_OTHER;
        cr_assert_eq(ph_demux(p, 1), want, "byte %u", b);
    }
    cr_assert_eq(ph_demux(NULL, 0), PH_DEMUX_OTHER);
}
