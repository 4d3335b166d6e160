/*
 * Stateless nonces.
 */
#include "turn/nonce.h"
#include "turn/rig.h"

static struct ph_nonce_conf conf(void)
{
    return (struct ph_nonce_conf){.key = "an example key of thirty-two byt",
                                  .ttl_s = 600,
                                  .features = PH_FEATURE_PASSWORD_ALGORITHMS};
}

static bool check(const struct ph_nonce_conf *c, const char *n, size_t len, const char *client,
                  int64_t at)
{
    struct ph_addr a = rig_addr(client);
    return ph_nonce_check(c, (struct ph_slice){(const uint8_t *)n, len}, &a, ph_str("r"), at);
}

Test(turn_nonce, is_good_for_its_time_and_place)
{
    struct ph_nonce_conf c = conf();
    struct ph_addr a = rig_addr("192.0.2.1:5");
    char n[PH_NONCE_MAX];
    size_t len = ph_nonce_make(&c, n, &a, ph_str("r"), 1000000);

    cr_expect_leq(len, (size_t)PH_NONCE_MAX);
    cr_expect(check(&c, n, len, "192.0.2.1:5", 1000000));
    cr_expect(check(&c, n, len, "192.0.2.1:6", 1000599));
    cr_expect_not(check(&c, n, len, "192.0.2.1:5", 1000600));
    cr_expect(check(&c, n, len, "192.0.2.1:5", 1000000 - 60), "a node whose clock is behind");
    cr_expect_not(check(&c, n, len, "192.0.2.1:5", 1000000 - 61));
    cr_expect_not(check(&c, n, len, "192.0.2.2:5", 1000000));
    cr_expect_not(check(&c, n, len - 1, "192.0.2.1:5", 1000000));
    c.ttl_s = 0;
    cr_expect(check(&c, n, len, "192.0.2.1:5", 1000000000), "0: for ever");
}

Test(turn_nonce, no_changed_character_passes)
{
    struct ph_nonce_conf c = conf();
    struct ph_addr a = rig_addr("192.0.2.1:5");
    char n[PH_NONCE_MAX];
    size_t len = ph_nonce_make(&c, n, &a, ph_str("r"), 1000000);

    for (size_t i = 0; i < len; i++)
        for (int v = 0; v < 256; v++) {
            char old = n[i];
            if ((uint8_t)old == v)
                continue;
            n[i] = (char)v;
            cr_expect_not(check(&c, n, len, "192.0.2.1:5", 1000000), "byte %zu = %d", i, v);
            n[i] = old;
        }
}

Test(turn_nonce, old_key_is_accepted_while_keys_rotate)
{
    struct ph_nonce_conf was = conf(), c = conf();
    struct ph_addr a = rig_addr("192.0.2.1:5");
    char n[PH_NONCE_MAX];
    size_t len = ph_nonce_make(&was, n, &a, ph_str("r"), 1000000);

    memcpy(c.old_key, was.key, sizeof c.old_key);
    c.key[0] ^= 1;
    cr_expect_not(check(&c, n, len, "192.0.2.1:5", 1000000));
    c.has_old_key = true;
    cr_expect(check(&c, n, len, "192.0.2.1:5", 1000000));
}

/* After a reload a core may offer other features; what an older nonce offered is under its MAC. */
Test(turn_nonce, tells_what_its_cookie_promised)
{
    struct ph_nonce_conf was = conf(), is = conf();
    struct ph_addr a = rig_addr("192.0.2.1:5");
    char n[PH_NONCE_MAX];
    static const unsigned features[] = {
        0, PH_FEATURE_PASSWORD_ALGORITHMS, PH_FEATURE_USERNAME_ANONYMITY,
        PH_FEATURE_PASSWORD_ALGORITHMS | PH_FEATURE_USERNAME_ANONYMITY};

    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 0; k < 4; k++) {
            was.features = features[i];
            is.features = features[k];
            size_t len = ph_nonce_make(&was, n, &a, ph_str("r"), 1000000);
            cr_expect(check(&is, n, len, "192.0.2.1:5", 1000000), "%u, by now %u", i, k);
            cr_expect_eq(ph_nonce_features((struct ph_slice){(uint8_t *)n, len}), features[i]);
            /* The promise cannot be taken off, nor another one put on. */
            if (was.features) {
                cr_expect_not(check(&is, n + 13, len - 13, "192.0.2.1:5", 1000000));
                ph_nonce_cookie_write(n, features[i] ^ PH_FEATURE_USERNAME_ANONYMITY);
                cr_expect_not(check(&is, n, len, "192.0.2.1:5", 1000000));
            }
        }
}

Test(turn_nonce, is_bound_to_its_realm)
{
    struct ph_nonce_conf c = conf();
    struct ph_addr a = rig_addr("192.0.2.1:5");
    char n[PH_NONCE_MAX];
    size_t len = ph_nonce_make(&c, n, &a, ph_str("one.example"), 1000000);
    struct ph_slice s = {(uint8_t *)n, len};

    cr_expect(ph_nonce_check(&c, s, &a, ph_str("one.example"), 1000000));
    cr_expect_not(ph_nonce_check(&c, s, &a, ph_str("two.example"), 1000000));
    cr_expect_not(ph_nonce_check(&c, s, &a, ph_str(""), 1000000));
}
