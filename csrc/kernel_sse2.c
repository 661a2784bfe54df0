/* The SSE2 tier: the baseline of x86-64. */
#include "internal.h"

#if defined(FASTINIT_X86)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("sched-pressure") /* only 16 registers */
#endif

#define FASTINIT_TIER_NAME     "sse2"
#define FASTINIT_TIER_VARIABLE fastinit_tier_sse2
#include "vec_sse2.h"

#include "kernel.h"
#endif
