/* The AVX2 tier. */
#include "internal.h"

#if defined(FASTINIT_X86)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,f16c,popcnt,bmi"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC target("avx2,f16c,popcnt,bmi")
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("sched-pressure") /* only 16 registers */
#endif

#define FASTINIT_TIER_NAME     "avx2"
#define FASTINIT_TIER_VARIABLE fastinit_tier_avx2
#include "vec_avx2.h"

#include "kernel.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
