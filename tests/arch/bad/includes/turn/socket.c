#include "stun/base/addr.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <uv.h>
