/*
 * Files that are part of the program.  The definitions are made at build time, see deploy/cmake/embed.cmake.
 */
#ifndef PH_TURND_ADMIN_EMBED_H
#define PH_TURND_ADMIN_EMBED_H

#include <stddef.h>

struct ph_tadmin_file {
    const char *name; /* "index.html" */
    const char *etag; /* of its content, quotes included */
    const unsigned char *data;
    size_t n;
};

extern const struct ph_tadmin_file ph_tadmin_files[];
extern const size_t ph_tadmin_files_n;

#endif
