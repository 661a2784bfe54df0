/* The NEON tier: the baseline of AArch64. */
#include "internal.h"

#if defined(FASTINIT_AARCH64)
#define FASTINIT_TIER_NAME     "neon"
#define FASTINIT_TIER_VARIABLE fastinit_tier_neon
#include "vec_neon.h"

#include "kernel.h"
#endif
