/* Makes turnctl's manual page and completion (see cmd/common/manual.h). */
#include "cmd/common/manual.h"
#include "cmd/turnctl/args.h"

int main(int argc, char **argv)
{
    return ph_manual_main(
        argc, argv, &(struct ph_manual){.name = "turnctl", .section = 1, .help = ph_ctl_help});
}
