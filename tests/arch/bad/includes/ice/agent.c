#include "stun/server.h"
#include "turn/client.h"
