/* The kernel, written once: a tier includes its vocabulary and then this. */
#include <math.h>

#include "coefficients.h"
#include "philox.h"

static const uint32_t iota[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* Ten rounds over counters (c0, c1, c2, 0) for `groups` groups of FASTINIT_LANES32 blocks, side by side because
 * one alone waits for its products. Only c0 differs between the lanes of a group, so half of the first two
 * rounds is scalar arithmetic: two of their four products. */
FASTINIT_INLINE void philox_blocks(int groups, const philoxv *c0, const uint32_t *c1, uint32_t c2, const fastinit_philox_keys *keys,
                                   philoxv out[][4])
{
    philoxv x0[FASTINIT_GROUPS], x1[FASTINIT_GROUPS], x2[FASTINIT_GROUPS], x3[FASTINIT_GROUPS];
    for (int g = 0; g < groups; g++) {
        const uint64_t p1 = (uint64_t)PHILOX_M1 * c2;
        const uint32_t c0_1 = (uint32_t)(p1 >> 32) ^ c1[g] ^ keys->k0[0], c1_1 = (uint32_t)p1;
        const productv p0 = philox_mul(c0[g], PHILOX_M0);
        const philoxv c2_1 = philox_high_xor(p0, philox_set1(0), keys->k1[0]), c3_1 = philox_low(p0);

        const uint64_t q0 = (uint64_t)PHILOX_M0 * c0_1;
        const productv q1 = philox_mul(c2_1, PHILOX_M1);
        x0[g] = philox_high_xor(q1, philox_set1(c1_1), keys->k0[1]);
        x1[g] = philox_low(q1);
        x2[g] = philox_xor(c3_1, (uint32_t)(q0 >> 32) ^ keys->k1[1]);
        x3[g] = philox_set1((uint32_t)q0);
    }
    for (int round = 2; round < 10; round++)
        for (int g = 0; g < groups; g++) {
            const productv a = philox_mul(x0[g], PHILOX_M0), b = philox_mul(x2[g], PHILOX_M1);
            x0[g] = philox_high_xor(b, x1[g], keys->k0[round]);
            x1[g] = philox_low(b);
            x2[g] = philox_high_xor(a, x3[g], keys->k1[round]);
            x3[g] = philox_low(a);
        }
    for (int g = 0; g < groups; g++) {
        out[g][0] = x0[g];
        out[g][1] = x1[g];
        out[g][2] = x2[g];
        out[g][3] = x3[g];
    }
}

/* Round to the nearest bfloat16, ties to even, by integer arithmetic: the result is in the upper halves
 * (no NaN or infinity comes here). */
FASTINIT_INLINE u32v bf16_bits(f32v x)
{
    const u32v b = f32_bits(x), odd = u32_and(u32_shr(b, 16), u32_set1(1));
    return u32_add(u32_add(b, u32_set1(0x7FFF)), odd);
}
FASTINIT_INLINE u16v f32_to_bf16(f32v x, f32v y) { return u32_high16(bf16_bits(x), bf16_bits(y)); }

/* Round to the nearest float of `exponent` and `mantissa` bits, ties to even; the result is in the top bits. Where results
 * are subnormal they are multiples of their spacing, which is that of float32 at some power of 2: adding that power
 * rounds there, and leaves the result in the low bits. */
FASTINIT_INLINE u32v small_float_bits(f32v x, int exponent, int mantissa)
{
    const int bias = (1 << (exponent - 1)) - 1, drop = 23 - mantissa;
    const u32v b = f32_bits(x), sign = u32_and(b, u32_set1(0x80000000));
    const u32v magnitude = u32_and(b, u32_set1(0x7FFFFFFF));
    const u32v odd = u32_and(u32_shr(magnitude, drop), u32_set1(1));
    const u32v rebias = u32_set1((1u << (drop - 1)) - 1 - ((127u - (unsigned)bias) << 23));
    const u32v normal = u32_shr(u32_add(magnitude, u32_add(odd, rebias)), drop);
    const u32v power = u32_set1((unsigned)(127 + 1 - bias - mantissa + 23) << 23);
    const u32v tiny = u32_sub(f32_bits(f32_add(f32_from_bits(magnitude), f32_from_bits(power))), power);
    const u32v is_tiny = u32_sub(magnitude, u32_set1((unsigned)(127 + 1 - bias) << 23)); /* sign bit set below the least normal */
    const u32v rounded = f32_bits(f32_select(is_tiny, f32_from_bits(tiny), f32_from_bits(normal)));
    return u32_or(sign, u32_shl(rounded, 31 - exponent - mantissa));
}

#if !FASTINIT_HARDWARE_F16
FASTINIT_INLINE u16v f32_to_f16(f32v x, f32v y) { return u32_high16(small_float_bits(x, 5, 10), small_float_bits(y, 5, 10)); }
#endif

/* 8-bit floats are in the upper halves of 16 bits: what clamps the one clamps the other. */
FASTINIT_INLINE u16v f32_to_e4m3(f32v x, f32v y) { return u32_high16(small_float_bits(x, 4, 3), small_float_bits(y, 4, 3)); }
FASTINIT_INLINE u16v f32_to_e5m2(f32v x, f32v y) { return u32_high16(small_float_bits(x, 5, 2), small_float_bits(y, 5, 2)); }

typedef u16v to_16_bits(f32v, f32v);

/* Floats have a sign and a magnitude: as signed integers only the positive ones can exceed a positive limit, as
 * unsigned ones only the negative ones a negative limit. So two integer minima clamp, for a third of the operations. */
FASTINIT_INLINE void narrow_step(const float *in, void *out, unsigned size, u16v high, u16v low, to_16_bits convert)
{
    const u16v x = convert(f32_load(in), f32_load(in + FASTINIT_LANES32));
    const u16v clamped = u16_min(u16_min_signed(x, high), low);
    if (size == 2)
        u16_store(out, clamped);
    else
        u16_store_high8(out, clamped);
}

FASTINIT_INLINE void narrow(const float *in, char *out, unsigned size, size_t n, uint16_t high, uint16_t low, to_16_bits convert)
{
    enum { STEP = 2 * FASTINIT_LANES32 };
    const u16v most = u16_set1(high), least = u16_set1(low);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        narrow_step(in + i, out + i * size, size, most, least, convert);
    if (i < n) {
        float rest[STEP] = {0};
        uint16_t narrowed[STEP];
        memcpy(rest, in + i, (n - i) * sizeof *in);
        narrow_step(rest, narrowed, size, most, least, convert);
        memcpy(out + i * size, narrowed, (n - i) * size);
    }
}

#define NARROW(name, size)                                                                                                                 \
    static void narrow_##name(const float *in, void *out, size_t n, uint16_t high, uint16_t low)                                           \
    {                                                                                                                                      \
        narrow(in, (char *)out, size, n, high, low, f32_to_##name);                                                                        \
    }
NARROW(f16, 2)
NARROW(bf16, 2)
NARROW(e4m3, 1)
NARROW(e5m2, 1)

#ifndef FASTINIT_LOWEST_BIT
#define FASTINIT_LOWEST_BIT(x) fastinit_lowest_bit((x) | (uint64_t)1 << 63)
#endif

/* Append the positions of the set bits to a queue; returns how many. Six at a time, needed or not: a loop
 * that ends after a random number of steps costs a misprediction per super-block. */
FASTINIT_INLINE unsigned enqueue(uint64_t bits, unsigned base, uint16_t *queue)
{
    const unsigned count = fastinit_bit_count(bits);
    do {
        for (int i = 0; i < 6; i++, bits &= bits - 1)
            *queue++ = (uint16_t)(base + FASTINIT_LOWEST_BIT(bits));
    } while (bits);
    return count;
}

/* Elements that are drawn again together: one 64-bit mask tells which are rejected. */
enum { REDRAWS = 64 };

#include "real32.h"

#include "moments.h"

#include "laws.h"

#include "real64.h"

#include "moments.h"

#include "laws.h"

/* Vectors whose sums are added in float32, before those sums are added in double. With more of them, float32 would lose the
 * sixth digit; with 64, the sums in double took a third of the time. Even vectors and odd ones have sums of their own,
 * because each addition to one sum waits for the one before. */
enum { SUMMED_VECTORS = 256 };

#if !FASTINIT_HARDWARE_F16
/* float16 in the top bits of lanes, read as a float32 with too small an exponent. */
FASTINIT_INLINE f32v f32_from_top_f16(u32v word)
{
    const u32v magnitude = u32_shr(u32_and(word, u32_set1(0x7FFF0000)), 3);
    return f32_mul(f32_from_bits(u32_or(u32_and(word, u32_set1(0x80000000)), magnitude)), f32_set1(0x1p112f));
}
FASTINIT_INLINE void f32_from_f16(u32v word, f32v x[2])
{
    x[0] = f32_from_top_f16(word);
    x[1] = f32_from_top_f16(u32_shl(word, 16));
}
#endif

/* The items in each word, in any order, as float32. */
FASTINIT_INLINE void unpack_f32(u32v word, f32v x[4]) { x[0] = f32_from_bits(word); }
FASTINIT_INLINE void unpack_f16(u32v word, f32v x[4]) { f32_from_f16(word, x); }
FASTINIT_INLINE void unpack_bf16(u32v word, f32v x[4])
{
    x[0] = f32_from_bits(u32_and(word, u32_set1(0xFFFF0000)));
    x[1] = f32_from_bits(u32_shl(word, 16));
}
FASTINIT_INLINE void unpack_e5m2(u32v word, f32v x[4])
{
    f32_from_f16(u32_and(word, u32_set1(0xFF00FF00)), x);
    f32_from_f16(u32_and(u32_shl(word, 8), u32_set1(0xFF00FF00)), x + 2);
}
/* Times 2^-8: float16 has a bit of exponent more. */
FASTINIT_INLINE u32v f16_from_high_e4m3(u32v word)
{
    return u32_or(u32_and(word, u32_set1(0x80008000)), u32_shr(u32_and(word, u32_set1(0x7F007F00)), 1));
}
FASTINIT_INLINE void unpack_e4m3(u32v word, f32v x[4])
{
    f32_from_f16(f16_from_high_e4m3(word), x);
    f32_from_f16(f16_from_high_e4m3(u32_shl(word, 8)), x + 2);
}

typedef void unpack_items(u32v, f32v[4]);

/* An item, repeated through a word. */
FASTINIT_INLINE uint32_t repeated_item(const char *p, unsigned bytes)
{
    char word[4];
    for (unsigned i = 0; i < 4; i++)
        word[i] = p[i % bytes];
    uint32_t bits;
    memcpy(&bits, word, sizeof bits);
    return bits;
}

FASTINIT_INLINE void add_moments32(const char *in, size_t n, unsigned bytes, unpack_items unpack, double scale, double center,
                                   fastinit_moments *m)
{
    const f32v s = f32_set1((float)scale), c = f32_set1((float)center);
    const unsigned items = 4 / bytes, pair = 2 * items * FASTINIT_LANES32; /* items of a word, and of two vectors of words */
    size_t pairs = n / pair;
    n -= pairs * pair;
    f32v x[4], y[4];
    while (pairs) {
        f32_sums even = f32_no_sums(), odd = even;
        size_t some = pairs < SUMMED_VECTORS / 2 / items ? pairs : SUMMED_VECTORS / 2 / items;
        pairs -= some;
        for (; some--; in += 8 * FASTINIT_LANES32) {
            unpack(u32_load(in), x);
            unpack(u32_load(in + 4 * FASTINIT_LANES32), y);
            for (unsigned i = 0; i < items; i++) {
                f32_count(&even, x[i], s, c, bytes);
                f32_count(&odd, y[i], s, c, bytes);
            }
        }
        f32_merge(&even, &odd);
        f32_add_to_moments(&even, FASTINIT_LANES32, m);
    }
    for (; n--; in += bytes) {
        f32_sums one = f32_no_sums();
        unpack(u32_set1(repeated_item(in, bytes)), x);
        f32_count(&one, x[0], s, c, bytes);
        f32_add_to_moments(&one, 1, m);
    }
}

#define ADD_MOMENTS32(name, bytes)                                                                                                         \
    static void add_moments_##name(const void *in, size_t n, double scale, double center, fastinit_moments *m)                             \
    {                                                                                                                                      \
        add_moments32((const char *)in, n, bytes, unpack_##name, scale, center, m);                                                        \
    }
ADD_MOMENTS32(f32, 4)
ADD_MOMENTS32(f16, 2)
ADD_MOMENTS32(bf16, 2)
ADD_MOMENTS32(e4m3, 1)
ADD_MOMENTS32(e5m2, 1)

static void add_moments_f64(const void *in, size_t n, double scale, double center, fastinit_moments *m)
{
    const char *p = (const char *)in;
    const f64v s = f64_set1(scale), c = f64_set1(center);
    f64_sums even = f64_no_sums(), odd = even;
    for (; n >= 2 * FASTINIT_LANES64; n -= 2 * FASTINIT_LANES64, p += 16 * FASTINIT_LANES64) {
        f64_count(&even, f64_from_bits(u64_load(p)), s, c, 8);
        f64_count(&odd, f64_from_bits(u64_load(p + 8 * FASTINIT_LANES64)), s, c, 8);
    }
    f64_merge(&even, &odd);
    f64_add_to_moments(&even, FASTINIT_LANES64, m);
    for (; n--; p += 8) {
        double x;
        memcpy(&x, p, sizeof x);
        f64_sums one = f64_no_sums();
        f64_count(&one, f64_set1(x), s, c, 8);
        f64_add_to_moments(&one, 1, m);
    }
}

#define FASTINIT_LAW_FILLS(law) {f32_fill_##law, f64_fill_##law}

const fastinit_tier FASTINIT_TIER_VARIABLE = {
    FASTINIT_TIER_NAME,
    {
        {NULL, NULL},
        FASTINIT_LAW_FILLS(uniform),
        FASTINIT_LAW_FILLS(uniform_clamped),
        FASTINIT_LAW_FILLS(normal),
        FASTINIT_LAW_FILLS(normal_at_0),
        FASTINIT_LAW_FILLS(truncated),
        FASTINIT_LAW_FILLS(truncated_at_0),
        FASTINIT_LAW_FILLS(half),
        FASTINIT_LAW_FILLS(narrow),
        FASTINIT_LAW_FILLS(exponential),
        FASTINIT_LAW_FILLS(tail),
    },
    {narrow_f16, narrow_bf16, narrow_e4m3, narrow_e5m2},
    {add_moments_f32, add_moments_f64, add_moments_f16, add_moments_bf16, add_moments_e4m3, add_moments_e5m2},
};
