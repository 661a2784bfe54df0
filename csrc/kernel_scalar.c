/* The scalar tier: plain C for every other machine, and the yardstick of the others. */
#include "internal.h"

#define FI_TIER_NAME     "scalar"
#define FI_TIER_VARIABLE fi_tier_scalar
#include "vec_scalar.h"

#include "kernel.h"
