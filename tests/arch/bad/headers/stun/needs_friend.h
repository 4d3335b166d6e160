/* Leaves <stdint.h> to whoever includes it. */
#pragma once
int ph_needs_friend(uint8_t x);
