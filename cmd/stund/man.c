/* Makes stund's manual page and completion (see cmd/common/manual.h). */
#include "cmd/common/manual.h"
#include "cmd/stund/conf.h"

static const char head[] = "NAME\n"
                           "    stund - STUN server with NAT behaviour discovery\n"
                           "\n"
                           "SYNOPSIS\n"
                           "    stund [options]\n"
                           "\n"
                           "DESCRIPTION\n"
                           "    Answers Binding requests (RFC 8489) over UDP. With two addresses "
                           "of a family it also does\n"
                           "    NAT behaviour discovery (RFC 5780). It stays in the foreground and "
                           "logs to standard error\n"
                           "    unless told otherwise, and tells systemd when it is ready.\n";

static const char tail[] = "SIGNALS\n"
                           "    SIGTERM, SIGINT          end\n"
                           "    SIGHUP                   open the log file anew\n"
                           "    SIGUSR1                  write the counters to the log\n"
                           "\n"
                           "EXIT STATUS\n"
                           "    0  ended as told\n"
                           "    1  it could not start, or go on\n"
                           "    2  wrong options\n"
                           "\n"
                           "SEE ALSO\n"
                           "    turnd(8)\n";

int main(int argc, char **argv)
{
    return ph_manual_main(argc, argv,
                          &(struct ph_manual){.name = "stund",
                                              .section = 8,
                                              .head = head,
                                              .table = ph_sconf_table,
                                              .n_table = ph_sconf_table_n,
                                              .tail = tail});
}
