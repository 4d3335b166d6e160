/*
 * Users and REST secrets.
 *
 * Users sit in one array with two indexes, by name and by USERHASH.  A REST user exists only for the
 * length of a lookup: its password follows from a secret and its name.
 */
#include "turn/auth.h"

#include "stun/base/error.h"
#include "stun/base/hash.h"
#include "stun/base/map.h"
#include "stun/codec/base64.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LEN = 508 /* RFC 8489 14.3: fewer than 509 bytes */ };

struct user {
    uint8_t *name;
    size_t name_n;
    struct ph_key md5, sha256; /* sha256.n is 0 for users known by their MD5 key alone */
    struct ph_auth_limits limits;
    uint8_t hash[PH_SHA256_LEN];
};

struct secret {
    uint8_t *p;
    size_t n;
};

struct ph_auth {
    char *realm;
    char separator;
    struct ph_hash_key hash_key;
    struct user *user;
    uint32_t n_users, cap_users;
    uint32_t n_md5_only;
    struct ph_map by_name, by_hash;
    struct secret *secret;
    uint32_t n_secrets, cap_secrets;
};

struct ph_auth *ph_auth_new(const char *realm, const struct ph_env *env)
{
    struct ph_auth *a = calloc(1, sizeof *a);
    size_t n = strlen(realm) + 1;
    char *copy = malloc(n);
    if (!a || !copy) {
        free(a);
        free(copy);
        return NULL;
    }
    a->realm = memcpy(copy, realm, n);
    a->separator = ':';
    env->rand(env->ctx, &a->hash_key, sizeof a->hash_key);
    ph_map_init(&a->by_name);
    ph_map_init(&a->by_hash);
    return a;
}

void ph_auth_free(struct ph_auth *a)
{
    if (!a)
        return;
    for (uint32_t i = 0; i < a->n_users; i++)
        free(a->user[i].name);
    for (uint32_t i = 0; i < a->n_secrets; i++) {
        ph_wipe(a->secret[i].p, a->secret[i].n);
        free(a->secret[i].p);
    }
    if (a->user)
        ph_wipe(a->user, a->n_users * sizeof *a->user);
    free(a->user);
    free(a->secret);
    ph_map_fini(&a->by_name);
    ph_map_fini(&a->by_hash);
    free(a->realm);
    free(a);
}

/* ---- users ---- */

static uint64_t hash_of(const struct ph_auth *a, struct ph_slice s)
{
    return ph_hash(&a->hash_key, s.p, s.n);
}

static struct ph_slice name_of(const struct user *u)
{
    return (struct ph_slice){u->name, u->name_n};
}

static struct user *find_user(const struct ph_auth *a, struct ph_slice name)
{
    struct ph_map_it it = ph_map_find(&a->by_name, hash_of(a, name));
    for (; it.slot != PH_MAP_NONE; it = ph_map_next(&a->by_name, it))
        if (ph_slice_eq(name_of(&a->user[it.slot]), name))
            return &a->user[it.slot];
    return NULL;
}

/* Room for one more element of `size` bytes; moves what is there and wipes the old place. */
static int make_room(void **v, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return 0;
    uint32_t more = *cap ? *cap * 2 : 16;
    void *moved = more > *cap ? calloc(more, size) : NULL;
    if (!moved)
        return PH_E_NOMEM;
    if (n) {
        memcpy(moved, *v, n * size);
        ph_wipe(*v, n * size);
    }
    free(*v);
    *v = moved;
    *cap = more;
    return 0;
}

static int copy_bytes(uint8_t **dst, struct ph_slice s)
{
    *dst = malloc(s.n);
    if (!*dst)
        return PH_E_NOMEM;
    memcpy(*dst, s.p, s.n);
    return 0;
}

/* Adds a user without keys. */
static int new_user(struct ph_auth *a, struct ph_slice name, struct user **out)
{
    void *v = a->user;
    int err = make_room(&v, a->n_users, &a->cap_users, sizeof *a->user);
    a->user = v;
    if (err)
        return err;
    struct user *u = &a->user[a->n_users];
    err = copy_bytes(&u->name, name);
    if (err)
        return err;
    u->name_n = name.n;
    ph_userhash(u->hash, name, ph_auth_realm(a));
    err = ph_map_add(&a->by_name, hash_of(a, name), a->n_users);
    if (err)
        goto fail;
    err =
        ph_map_add(&a->by_hash, hash_of(a, (struct ph_slice){u->hash, sizeof u->hash}), a->n_users);
    if (err) {
        ph_map_del(&a->by_name, hash_of(a, name), a->n_users);
        goto fail;
    }
    a->n_users++;
    *out = u;
    return 0;
fail:
    free(u->name);
    u->name = NULL;
    return err;
}

static int set_user(struct ph_auth *a, struct ph_slice name, const struct ph_key *md5,
                    const struct ph_key *sha256)
{
    if (name.n == 0 || name.n > NAME_MAX_LEN)
        return PH_E_ARG;
    struct user *u = find_user(a, name);
    bool was_md5_only = u && u->sha256.n == 0;
    if (!u) {
        int err = new_user(a, name, &u);
        if (err)
            return err;
    }
    u->md5 = *md5;
    u->sha256 = *sha256;
    a->n_md5_only += (sha256->n == 0);
    a->n_md5_only -= was_md5_only;
    return 0;
}

int ph_auth_add_user(struct ph_auth *a, struct ph_slice name, struct ph_slice password)
{
    struct ph_key md5, sha256;
    ph_key_long_term(&md5, PH_ALG_MD5, name, ph_auth_realm(a), password);
    ph_key_long_term(&sha256, PH_ALG_SHA256, name, ph_auth_realm(a), password);
    int err = set_user(a, name, &md5, &sha256);
    ph_wipe(&md5, sizeof md5);
    ph_wipe(&sha256, sizeof sha256);
    return err;
}

int ph_auth_add_user_key(struct ph_auth *a, struct ph_slice name, const uint8_t key[static 16])
{
    struct ph_key md5 = {.n = PH_MD5_LEN, .alg = PH_ALG_MD5};
    memcpy(md5.b, key, PH_MD5_LEN);
    int err = set_user(a, name, &md5, &(struct ph_key){0});
    ph_wipe(&md5, sizeof md5);
    return err;
}

int ph_auth_limit_user(struct ph_auth *a, struct ph_slice name, const struct ph_auth_limits *l)
{
    struct user *u = find_user(a, name);
    if (!u)
        return PH_E_MISSING;
    u->limits = *l;
    return 0;
}

unsigned ph_auth_users(const struct ph_auth *a)
{
    return a->n_users;
}

int ph_auth_unhash(const struct ph_auth *a, const uint8_t hash[static PH_SHA256_LEN],
                   struct ph_slice *name)
{
    struct ph_slice key = {hash, PH_SHA256_LEN};
    struct ph_map_it it = ph_map_find(&a->by_hash, hash_of(a, key));
    for (; it.slot != PH_MAP_NONE; it = ph_map_next(&a->by_hash, it)) {
        const struct user *u = &a->user[it.slot];
        if (memcmp(u->hash, hash, PH_SHA256_LEN) == 0) {
            *name = name_of(u);
            return 0;
        }
    }
    return PH_E_MISSING;
}

/* ---- REST secrets ---- */

int ph_auth_add_secret(struct ph_auth *a, struct ph_slice secret)
{
    if (secret.n == 0)
        return PH_E_ARG;
    for (uint32_t i = 0; i < a->n_secrets; i++)
        if (ph_slice_eq((struct ph_slice){a->secret[i].p, a->secret[i].n}, secret))
            return 0;
    void *v = a->secret;
    int err = make_room(&v, a->n_secrets, &a->cap_secrets, sizeof *a->secret);
    a->secret = v;
    if (err)
        return err;
    err = copy_bytes(&a->secret[a->n_secrets].p, secret);
    if (!err)
        a->secret[a->n_secrets++].n = secret.n;
    return err;
}

unsigned ph_auth_secrets(const struct ph_auth *a)
{
    return a->n_secrets;
}

void ph_auth_rest_separator(struct ph_auth *a, char separator)
{
    a->separator = separator;
}

/* Reads digits alone as a time; one too large for the type is as good as never. */
static bool read_time(struct ph_slice s, int64_t *unix_s)
{
    int64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v > (INT64_MAX - 9) / 10 ? INT64_MAX - 9 : v * 10 + (s.p[i] - '0');
    }
    *unix_s = v;
    return s.n > 0;
}

/* Splits "time:id", "id:time" or "time" (coturn takes all three).  The id of a bare time is the time. */
static bool read_rest_name(const struct ph_auth *a, struct ph_slice name, int64_t *unix_s,
                           struct ph_slice *id)
{
    const uint8_t *first = memchr(name.p, a->separator, name.n);
    if (!first) {
        *id = name;
        return read_time(name, unix_s);
    }
    const uint8_t *end = name.p + name.n, *last = end - 1;
    if (read_time((struct ph_slice){name.p, (size_t)(first - name.p)}, unix_s)) {
        *id = (struct ph_slice){first + 1, (size_t)(end - first - 1)};
        return true;
    }
    while (*last != (uint8_t)a->separator)
        last--;
    *id = (struct ph_slice){name.p, (size_t)(last - name.p)};
    return read_time((struct ph_slice){last + 1, (size_t)(end - last - 1)}, unix_s);
}

static void rest_key(const struct ph_auth *a, const struct secret *s, bool sha256,
                     struct ph_slice name, uint16_t alg, struct ph_key *key)
{
    uint8_t mac[PH_SHA256_LEN];
    char password[4 * ((PH_SHA256_LEN + 2) / 3) + 1];
    struct ph_slice secret = {s->p, s->n};

    if (sha256)
        ph_hmac_sha256(mac, secret, &name, 1);
    else
        ph_hmac_sha1(mac, secret, &name, 1);
    size_t n = ph_base64(password, sizeof password, mac, sha256 ? PH_SHA256_LEN : PH_SHA1_LEN);
    ph_key_long_term(key, alg, name, ph_auth_realm(a),
                     (struct ph_slice){(const uint8_t *)password, n});
    ph_wipe(mac, sizeof mac);
    ph_wipe(password, sizeof password);
}

/* "max-bps=125000": takes the number if this is the parameter.  What is no number, or none of 64 bits, is ignored, as
 * unknown parameters are: names were not made for us alone. */
static void read_parameter(struct ph_slice p, const char *name, uint64_t max, uint64_t *out)
{
    size_t n = strlen(name);
    uint64_t v = 0;

    if (p.n <= n || memcmp(p.p, name, n) != 0)
        return;
    for (size_t i = n; i < p.n; i++) {
        if (p.p[i] < '0' || p.p[i] > '9' || v > (UINT64_MAX - 9) / 10)
            return;
        v = v * 10 + (uint64_t)(p.p[i] - '0');
    }
    *out = v < max ? v : max;
}

/* Reads ";max-bps=N;user-quota=N" behind an id and cuts it off. */
static void read_parameters(struct ph_auth_match *m)
{
    const uint8_t *at = m->id.n ? memchr(m->id.p, ';', m->id.n) : NULL, *end = m->id.p + m->id.n;
    uint64_t quota = 0;

    if (!at)
        return;
    m->id.n = (size_t)(at - m->id.p);
    while (at < end) {
        const uint8_t *p = at + 1;
        at = p < end ? memchr(p, ';', (size_t)(end - p)) : NULL;
        at = at ? at : end;
        struct ph_slice parameter = {p, p < at ? (size_t)(at - p) : 0};
        read_parameter(parameter, "max-bps=", UINT64_MAX, &m->max_bps);
        read_parameter(parameter, "user-quota=", UINT32_MAX, &quota);
    }
    m->max_allocations = (uint32_t)quota;
}

/* First the passwords by HMAC-SHA1, secret by secret, then those by HMAC-SHA256. */
static int find_rest(const struct ph_auth *a, struct ph_slice name, uint16_t alg, int64_t unix_s,
                     unsigned nth, struct ph_auth_match *out)
{
    int64_t ends;
    struct ph_slice id;
    if (a->n_secrets == 0 || !read_rest_name(a, name, &ends, &id))
        return PH_E_MISSING;
    if (ends < unix_s)
        return PH_E_AUTH;
    if (nth / 2 >= a->n_secrets)
        return PH_E_MISSING;
    *out = (struct ph_auth_match){.id = id, .name = name, .expires_unix_s = ends};
    rest_key(a, &a->secret[nth % a->n_secrets], nth >= a->n_secrets, name, alg, &out->key);
    if (a->separator != ';')
        read_parameters(out);
    return 0;
}

/* ---- lookup ---- */

struct ph_slice ph_auth_realm(const struct ph_auth *a)
{
    return ph_str(a->realm);
}

bool ph_auth_has_sha256(const struct ph_auth *a)
{
    return a->n_md5_only == 0;
}

bool ph_auth_has_userhash(const struct ph_auth *a)
{
    return a->n_secrets == 0;
}

static int find_static(const struct user *u, const struct ph_key *key, struct ph_slice name,
                       int64_t unix_s, struct ph_auth_match *out)
{
    int64_t ends = u->limits.expires_unix_s ? u->limits.expires_unix_s : INT64_MAX;

    if (ends < unix_s)
        return PH_E_AUTH;
    *out = (struct ph_auth_match){.key = *key,
                                  .id = name,
                                  .name = name,
                                  .expires_unix_s = ends,
                                  .max_allocations = u->limits.max_allocations,
                                  .max_bps = u->limits.max_bps};
    return 0;
}

int ph_auth_find(const struct ph_auth *a, struct ph_slice name, uint16_t alg, int64_t unix_s,
                 unsigned nth, struct ph_auth_match *out)
{
    if (name.n == 0 || name.n > NAME_MAX_LEN || (alg != PH_ALG_MD5 && alg != PH_ALG_SHA256))
        return PH_E_MISSING;
    const struct user *u = find_user(a, name);
    const struct ph_key *key = !u ? NULL : alg == PH_ALG_SHA256 ? &u->sha256 : &u->md5;
    bool is_static = key && key->n;
    if (is_static && nth == 0)
        return find_static(u, key, name, unix_s, out);
    int err = find_rest(a, name, alg, unix_s, nth - is_static, out);
    return err == PH_E_AUTH && u ? PH_E_MISSING : err; /* a user of that name is not expired */
}
