/* Makes turnload's manual page and completion (see cmd/common/manual.h). */
#include "cmd/common/manual.h"
#include "cmd/turnload/args.h"

int main(int argc, char **argv)
{
    return ph_manual_main(
        argc, argv,
        &(struct ph_manual){.name = "turnload", .section = 1, .help = ph_load_args_help});
}
