#include "cmd/common/args.h"
#include "sipalg/alg.h"
#include "tests/sim/sim.h"
