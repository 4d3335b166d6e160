/*
 * Addresses: text that parses is printed and parsed again; the C library agrees on what is an
 * address. Inputs of 20 bytes and more also give a binary address, which must survive being text.
 */
#include "fuzz/check.h"
#include "stun/base/addr.h"
#include "stun/base/error.h"

#include <arpa/inet.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct ph_addr *a)
{
    char text[PH_ADDR_TEXT];
    struct ph_addr b;
    ph_addr_text(a, text);
    CHECK(strlen(text) < PH_ADDR_TEXT);
    CHECK(ph_addr_parse(&b, text, strlen(text), 0) == 0);
    CHECK(ph_addr_eq_endpoint(a, &b));
    ph_addr_ip_text(a, text);
    CHECK(ph_addr_parse(&b, text, strlen(text), a->port) == 0);
    CHECK(ph_addr_eq_endpoint(a, &b));
    ph_addr_is_any(a);
    ph_addr_is_loopback(a);
}

/* Text without port and brackets is an address exactly when inet_pton() says so. */
static void compare(const uint8_t *data, size_t size, bool ours, const struct ph_addr *a)
{
    char text[128];
    uint8_t ip[16];
    if (size >= sizeof text || memchr(data, 0, size) || memchr(data, '[', size))
        return;
    memcpy(text, data, size);
    text[size] = '\0';
    const char *colon = strchr(text, ':');
    if (colon && !strchr(colon + 1, ':'))
        return; /* IPv4 with a port */
    bool theirs = inet_pton(colon ? AF_INET6 : AF_INET, text, ip) == 1;
    CHECK(ours == theirs);
    CHECK(!ours || memcmp(ip, a->ip, ph_addr_ip_len(a)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ph_addr a = {0};
    int err = ph_addr_parse(&a, (const char *)data, size, 0);
    CHECK(err == 0 || err == PH_E_FORMAT);
    if (size)
        compare(data, size, err == 0, &a);
    if (err == 0)
        round_trip(&a);
    if (size < 20)
        return 0;
    uint16_t port = (uint16_t)(data[16] << 8 | data[17]);
    a = data[18] & 1 ? ph_addr_v4(data, port, PH_PROTO_NONE)
                     : ph_addr_v6(data, port, PH_PROTO_NONE);
    round_trip(&a);
    return 0;
}
