/* What the files of csrc/ share and the public header does not show. */
#ifndef FASTINIT_INTERNAL_H
#define FASTINIT_INTERNAL_H

#ifdef __cplusplus
#error "the sources of fastinit are C11: build them with a C compiler; C++ programs include fastinit.h"
#endif

/* The stream forbids fused multiply-add. This holds even where -ffp-contract=off was forgotten. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
/* The kernel is vectors already: packing its scalar bookkeeping too costs 10 % on AVX-512. Interleaving the two pairs
 * of a super-block before registers are given out saves 4 % there, 12 % on AVX2. */
#pragma GCC optimize("fp-contract=off", "no-tree-slp-vectorize", "schedule-insns")
#endif

/* Options that change values, or let the compiler forget that there are NaNs. clang has no macros for most of them: the
 * checks of selfcheck.c find these when the library runs. */
#if defined(__FAST_MATH__) || defined(_M_FP_FAST)
#error "fastinit needs IEEE arithmetic: build it without -ffast-math, -Ofast and /fp:fast"
#elif defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "fastinit needs IEEE arithmetic: build it without -ffinite-math-only"
#elif defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error "fastinit needs IEEE arithmetic: build it without -funsafe-math-optimizations and its parts"
#endif
_Static_assert(sizeof(1.0) == sizeof(double), "fastinit needs double constants: build it without -fsingle-precision-constant");

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FASTINIT_BUILD
#include "fastinit.h"

#ifdef FASTINIT_PREFIX
#define fastinit_tier_scalar  FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_tier_scalar)
#define fastinit_tier_sse2    FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_tier_sse2)
#define fastinit_tier_avx2    FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_tier_avx2)
#define fastinit_tier_avx512  FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_tier_avx512)
#define fastinit_tier_neon    FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_tier_neon)
#define fastinit_current_tier FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_current_tier)
#define fastinit_fill_with    FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_fill_with)
#define fastinit_is_sound     FASTINIT_JOIN(FASTINIT_PREFIX, fastinit_is_sound)
#endif

#if defined(__GNUC__) && !defined(_WIN32)
#define FASTINIT_HIDDEN __attribute__((visibility("hidden")))
#else
#define FASTINIT_HIDDEN
#endif

/* x87 arithmetic keeps more bits than the stream says, and gcc computes floats as doubles on s390x where it follows
 * ISO C to the letter. 16 speaks of _Float16 alone. */
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "fastinit needs arithmetic without excess precision: -msse2 -mfpmath=sse on 32-bit x86, -std=gnu11 on s390x"
#endif

#if defined(__GNUC__) || defined(__clang__)
#define FASTINIT_INLINE   static inline __attribute__((always_inline))
#define FASTINIT_NOINLINE __attribute__((noinline))
#else
#define FASTINIT_INLINE   static __forceinline
#define FASTINIT_NOINLINE __declspec(noinline)
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
FASTINIT_INLINE unsigned fastinit_lowest_bit(uint64_t x)
{
    unsigned long i = 0;
    _BitScanForward64(&i, x);
    return (unsigned)i;
}
FASTINIT_INLINE unsigned fastinit_bit_count(uint64_t x) { return (unsigned)__popcnt64(x); }
#else
FASTINIT_INLINE unsigned fastinit_lowest_bit(uint64_t x) { return (unsigned)__builtin_ctzll(x); }
FASTINIT_INLINE unsigned fastinit_bit_count(uint64_t x) { return (unsigned)__builtin_popcountll(x); }
#endif

#if defined(__x86_64__) || defined(_M_X64) || (defined(__i386__) && defined(__SSE2__))
#define FASTINIT_X86 1
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
#define FASTINIT_AARCH64 1
#endif

/* The forms of a distribution that the kernel tells apart (fastinit_distribution.law). */
enum {
    FASTINIT_LAW_NONE,            /* not prepared */
    FASTINIT_LAW_UNIFORM,         /* the power of 2 in its u is multiplied into the scale, and no clamp needed */
    FASTINIT_LAW_UNIFORM_CLAMPED, /* any other: tiny, or between bounds that rounding would reach or cross */
    FASTINIT_LAW_NORMAL,
    FASTINIT_LAW_NORMAL_AT_0,
    FASTINIT_LAW_TRUNCATED,      /* normal proposal */
    FASTINIT_LAW_TRUNCATED_AT_0, /* its last two steps, the base and the clamp, would change nothing */
    FASTINIT_LAW_HALF,           /* |normal| proposal */
    FASTINIT_LAW_NARROW,         /* uniform proposal */
    FASTINIT_LAW_EXPONENTIAL,    /* Robert's exponential proposal */
    FASTINIT_LAW_TAIL,           /* Marsaglia's Rayleigh proposal */
    FASTINIT_LAW_COUNT
};

/* Domains: bits 24..31 of counter word 2. The float64 stream of each is the next number up. */
enum {
    FASTINIT_DOMAIN_RAW = 0,
    FASTINIT_DOMAIN_UNIFORM = 2,
    FASTINIT_DOMAIN_NORMAL = 4,
    FASTINIT_DOMAIN_PROPOSAL = 6,
    FASTINIT_DOMAIN_ACCEPT = 8,
    FASTINIT_DOMAIN_REDRAW = 10
};

/* Elements per call of a tier: the queue of rejected elements and the staging
 * buffers (32 KiB at most) live on the stack, and redraws of one call share the
 * high word of their counters because calls do not cross multiples of this. */
enum { FASTINIT_CHUNK = 4096 };

typedef struct {
    uint32_t k0[10], k1[10]; /* the key of each Philox round */
} fastinit_philox_keys;

/* The elements that a tier is to fill. */
typedef struct {
    const uint32_t *low; /* NULL, or the low words of elements in any places */
    uint64_t first;      /* the first element of the first of `count` super-blocks within one chunk; or, with `low`,
                          * the high words of all elements, shifted by 32 */
    unsigned count;      /* super-blocks; or, with `low`, elements, at most FASTINIT_SCATTERED */
} fastinit_elements;

enum { FASTINIT_SCATTERED = 512 };

/* Write whole super-blocks, or elements in any places next to each other: there `out` has room for
 * 2 * FASTINIT_SCATTERED reals, to work in. */
typedef void fastinit_elements_fill(const fastinit_distribution *d, const fastinit_philox_keys *keys, const fastinit_elements *e,
                                    void *out);
/* Round to 16 or 8 bits: positive numbers to at most `high`, negative ones to at least `low`, bits of the output's dtype
 * (8 of them in the upper half). */
typedef void fastinit_narrow(const float *in, void *out, size_t n, uint16_t high, uint16_t low);
/* Limits that nothing exceeds. */
enum { FASTINIT_NO_HIGH = 0x7FFF, FASTINIT_NO_LOW = 0xFFFF };

/* Sums and extremes of y = scale x over elements x. */
typedef struct {
    double sum, squares; /* of y - center, and of its square */
    double low, high;    /* of y */
} fastinit_moments;

/* Add elements to moments; `scale` should be a power of 2, so that the extremes are exact. */
typedef void fastinit_add_moments(const void *in, size_t n, double scale, double center, fastinit_moments *m);

typedef struct {
    const char *name;
    fastinit_elements_fill *fill[FASTINIT_LAW_COUNT][2]; /* float32, float64 */
    fastinit_narrow *narrow[4];                          /* float16, bfloat16, float8_e4m3fn, float8_e5m2 */
    fastinit_add_moments *add_moments[6];                /* by fastinit_dtype */
} fastinit_tier;

extern FASTINIT_HIDDEN const fastinit_tier fastinit_tier_scalar, fastinit_tier_sse2, fastinit_tier_avx2, fastinit_tier_avx512,
    fastinit_tier_neon;

FASTINIT_HIDDEN const fastinit_tier *fastinit_current_tier(void);

/* Fill without looking whether the build is sound; returns the bytes of an item. */
FASTINIT_HIDDEN size_t fastinit_fill_with(const fastinit_tier *tier, const fastinit_distribution *d, uint64_t key, uint64_t index,
                                          uint64_t n, void *out);

/* Whether a tier of this build computes the bits of the stream format; under the default floating-point environment. */
FASTINIT_HIDDEN int fastinit_is_sound(const fastinit_tier *tier);

#endif
