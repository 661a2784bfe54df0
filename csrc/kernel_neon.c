/* The NEON tier: the baseline of AArch64. */
#include "internal.h"

#if defined(FI_AARCH64)
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#define FI_TIER_NAME     "neon"
#define FI_TIER_VARIABLE fi_tier_neon
#include "vec_neon.h"

#include "kernel.h"
#endif
