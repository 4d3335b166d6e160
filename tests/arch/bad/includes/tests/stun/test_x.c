#include "cmd/common/args.h"
#include "sim/nowhere.h"
#include "sim/sim.h"
