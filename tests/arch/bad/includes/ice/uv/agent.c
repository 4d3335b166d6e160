#include "sipalg/alg.h"
#include "turn/client.h"
#include "turn/uv/client.h"
