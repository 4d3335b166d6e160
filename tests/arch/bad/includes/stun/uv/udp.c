#include "stun/server.h"
#include "turn/client.h"

#include <sys/socket.h>
