/* Compiles alone. */
#pragma once
#include <stdint.h>
int ph_alone(uint8_t x);
