#include "cmd/common/args.h"
#include "cmd/stund/stund.h"
#include "turn/uv/client.h"
