/*
 * The JSON API: any method, target, headers and body through any door. The first byte is the door and whether there is a
 * token; then come lines: method, target, host, origin, site, type, authorization, each of which may be missing ("-"),
 * and the rest is the body. What is taken keeps within its bounds; what needs a token does not come in without.
 */
#include "fuzz/check.h"

#ifdef PH_HAVE_HTTP
#include "cmd/turnd/admin_route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES = 7 };

static const char TOKEN[] = "sesame";

static void check_text(const struct ph_tadmin_text *t)
{
    if (t->given)
        CHECK(t->n > 0 && t->n < sizeof t->b && strlen(t->b) == t->n);
    else
        CHECK(t->n == 0);
}

static void check_command(const struct ph_tadmin_request *r, const struct ph_tadmin_command *c)
{
    CHECK(c->what < PH_DO_COUNT);
    CHECK(c->limit >= 1 && c->limit <= PH_TADMIN_LIST_MAX);
    CHECK(c->seconds <= PH_TADMIN_SPAN_S);
    check_text(&c->user);
    check_text(&c->realm);
    CHECK(c->what != PH_DO_REVOKE || c->user.given);
    CHECK(c->what != PH_DO_PAGE || (r->door == PH_DOOR_WEB && c->page[0] == '/'));
    CHECK(strnlen(c->page, sizeof c->page) < sizeof c->page);
    CHECK(r->door != PH_DOOR_HTTP || c->what <= PH_DO_METRICS);
    if (c->changes)
        CHECK(strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0);
    if (r->door == PH_DOOR_API || (r->door == PH_DOOR_WEB && r->token && c->what != PH_DO_PAGE))
        CHECK(r->token && r->authorization && strstr(r->authorization, TOKEN));
}

static void check_problem(unsigned status, const struct ph_tadmin_problem *p)
{
    CHECK(status >= 400 && status < 500);
    CHECK(*p->text && strnlen(p->text, sizeof p->text) < sizeof p->text);
    for (const char *s = p->text; *s; s++)
        CHECK((unsigned char)*s >= 0x20 && (unsigned char)*s < 0x7F);
    CHECK((status == 405) == (p->allow != NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line[LINES] = {0};
    struct ph_tadmin_command c;
    struct ph_tadmin_problem p;
    if (size == 0)
        return 0;
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    char *rest = text, *end = text + size - 1;
    for (int i = 0; i < LINES; i++) {
        char *stop = memchr(rest, '\n', (size_t)(end - rest));
        line[i] = rest;
        rest = stop ? stop + 1 : end;
        if (stop)
            *stop = '\0';
    }
    for (int i = 2; i < LINES; i++)
        if (strcmp(line[i], "-") == 0)
            line[i] = NULL;
    const struct ph_tadmin_request r = {.door = (enum ph_tadmin_door)(*data & 3),
                                        .token = *data & 4 ? TOKEN : NULL,
                                        .method = line[0],
                                        .target = line[1],
                                        .host = line[2],
                                        .origin = line[3],
                                        .site = line[4],
                                        .type = line[5],
                                        .authorization = line[6]};
    unsigned status = ph_tadmin_route(&r, &c, &p);
    if (!status) {
        check_command(&r, &c);
        status = ph_tadmin_body(&c, (struct ph_slice){(uint8_t *)rest, (size_t)(end - rest)}, &p);
        if (!status)
            check_command(&r, &c);
    }
    if (status)
        check_problem(status, &p);
    free(text);
    return 0;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    return 0;
}
#endif
