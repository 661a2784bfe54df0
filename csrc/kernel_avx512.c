/* The AVX-512 tier. */
#include "internal.h"

#if defined(FASTINIT_X86)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi")
#endif

#define FASTINIT_TIER_NAME     "avx512"
#define FASTINIT_TIER_VARIABLE fastinit_tier_avx512
#include "vec_avx512.h"

#include "kernel.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
