#include <stdint.h>
#include <time.h>
