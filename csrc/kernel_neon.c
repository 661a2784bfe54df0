/* The NEON tier: the baseline of AArch64. */
#include "internal.h"

#if defined(FI_AARCH64)
#define FI_TIER_NAME     "neon"
#define FI_TIER_VARIABLE fi_tier_neon
#include "vec_neon.h"

#include "kernel.h"
#endif
