/* turnload: load generator and functional tester for TURN servers. */
#include "cmd/turnload/args.h"
#include "cmd/turnload/check.h"
#include "cmd/turnload/load.h"
#include "cmd/turnload/net.h"
#include "stun/codec/integrity.h"

#include <netdb.h>
#include <stdio.h>
#include <time.h>

int main(int argc, char **argv)
{
    struct ph_load_args a;
    struct ph_addr server;
    enum ph_load_args_result result = ph_load_args_read(&a, argc, argv);
    if (result != PH_LOAD_ARGS_RUN)
        return result == PH_LOAD_ARGS_DONE ? 0 : 2;
    int err = ph_load_net_resolve(a.host, a.port, a.bind.family, &server);
    if (err) {
        fprintf(stderr, "turnload: %s: %s\n", a.host, gai_strerror(err));
        return 1;
    }
    server.proto = a.proto;
    ph_load_args_make_credentials(&a, (int64_t)time(NULL));
    int status = a.check ? ph_load_check_run(&a, &server) : ph_load_run(&a, &server);
    ph_wipe(a.pass, sizeof a.pass);
    return status;
}
