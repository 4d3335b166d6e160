#include "cmd/turnd/print_config.h"

#include "cmd/turnd/conf.h"

void ph_tconf_print(FILE *f)
{
    struct ph_tconf c;
    ph_tconf_init(&c);
    fputs("# turnd " PH_VERSION
          ": every key of its configuration, which is that of coturn's turnserver.conf and "
          "more.\n"
          "#\n"
          "#   turnd -c FILE --check-config    says what becomes of every key that is given\n"
          "#   turnd --help                    lists the keys, which are command line options as "
          "well\n"
          "#\n"
          "# One key a line. \"#\" starts a comment only at the beginning of a line: what follows "
          "a key is all\n"
          "# value. Keys show their default; addresses, names and secrets are examples.\n",
          f);
    ph_opts_sample(c.opts, &c, f);
    ph_tconf_fini(&c);
}
