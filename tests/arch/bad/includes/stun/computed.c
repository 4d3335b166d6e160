#define HEADER <string.h>
#include HEADER
