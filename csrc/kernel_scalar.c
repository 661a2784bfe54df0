/* The scalar tier: plain C for every other machine, and the yardstick of the others. */
#include "internal.h"

#define FASTINIT_TIER_NAME     "scalar"
#define FASTINIT_TIER_VARIABLE fastinit_tier_scalar
#include "vec_scalar.h"

#include "kernel.h"
