#include "stun/base/addr.h"
#include "stun/server.h"
