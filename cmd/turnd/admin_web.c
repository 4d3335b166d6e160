/*
 * The files of the web page, which are part of the program (deploy/cmake/embed.cmake makes them from web/).
 */
#include "cmd/turnd/admin_embed.h"
#include "cmd/turnd/admin_priv.h"

#include <string.h>

/* The content type of a name by its end. */
static const char *type_of(const char *name)
{
    static const struct {
        const char *end, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},   {".svg", "image/svg+xml"},
        {".json", "application/json"},         {".png", "image/png"},
        {".txt", "text/plain; charset=utf-8"},
    };
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t k = strlen(types[i].end);
        if (n > k && strcmp(name + n - k, types[i].end) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

void ph__tadmin_page(const struct ph_tadmin_command *c, struct ph__tadmin_reply *out)
{
    const char *name = strcmp(c->page, "/") == 0 ? "index.html" : c->page + 1;
    for (size_t i = 0; i < ph_tadmin_files_n; i++) {
        const struct ph_tadmin_file *f = &ph_tadmin_files[i];
        if (strcmp(f->name, name) != 0)
            continue;
        *out = (struct ph__tadmin_reply){.status = 200,
                                         .type = type_of(name),
                                         .etag = f->etag,
                                         .body = (void *)(uintptr_t)f->data,
                                         .n = f->n,
                                         .is_static = true};
        return;
    }
    ph__tadmin_error(out, 404, "there is nothing here");
}
