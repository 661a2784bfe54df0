/* The kernel, written once: a tier includes its vocabulary and then this. */
#include "coefficients.h"
#include "philox.h"

/* Ten rounds over counters (c0, c1, c2, 0) for `groups` groups of FI_LANES32 blocks, side by side because
 * one alone waits for its products. Only c0 differs between the lanes of a group, so half of the first two
 * rounds is scalar arithmetic: two of their four products. */
FI_INLINE void philox_blocks(int groups, const philoxv *c0, const uint32_t *c1, uint32_t c2, const fi_philox_keys *keys,
                             philoxv out[][4])
{
    philoxv x0[FI_GROUPS], x1[FI_GROUPS], x2[FI_GROUPS], x3[FI_GROUPS];
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

/* Round to the nearest bfloat16, ties to even, by integer arithmetic (no NaN or infinity comes here). */
FI_INLINE u32v bf16_bits(f32v x)
{
    const u32v b = f32_bits(x), odd = u32_and(u32_shr(b, 16), u32_set1(1));
    return u32_shr(u32_add(b, u32_add(odd, u32_set1(0x7FFF))), 16);
}

#if !FI_HARDWARE_F16
/* Round to the nearest float16, ties to even. Below 2^-14 the results are subnormal, multiples of
 * 2^-24, the spacing of float32 at 0.5: adding 0.5 rounds there, and leaves the result in the low bits. */
FI_INLINE u32v f16_bits(f32v x)
{
    const u32v b = f32_bits(x), sign = u32_and(u32_shr(b, 16), u32_set1(0x8000));
    const u32v magnitude = u32_and(b, u32_set1(0x7FFFFFFF));
    const u32v odd = u32_and(u32_shr(magnitude, 13), u32_set1(1));
    const u32v rebias = u32_set1(0xFFFu - ((127u - 15u) << 23));
    const u32v normal = u32_shr(u32_add(magnitude, u32_add(odd, rebias)), 13);
    const u32v half = u32_set1(0x3F000000);
    const u32v tiny = u32_sub(f32_bits(f32_add(f32_from_bits(magnitude), f32_from_bits(half))), half);
    const u32v is_tiny = u32_sub(magnitude, u32_set1(0x38800000)); /* sign bit set below 2^-14 */
    return u32_or(sign, f32_bits(f32_select(is_tiny, f32_from_bits(tiny), f32_from_bits(normal))));
}
FI_INLINE void f32_store_f16(uint16_t *p, f32v x) { u32_store_low16(p, f16_bits(x)); }
#endif
FI_INLINE void f32_store_bf16(uint16_t *p, f32v x) { u32_store_low16(p, bf16_bits(x)); }

FI_INLINE void narrow(const float *in, uint16_t *out, size_t n, void store(uint16_t *, f32v))
{
    size_t i = 0;
    for (; i + FI_LANES32 <= n; i += FI_LANES32)
        store(out + i, f32_load(in + i));
    if (i < n) {
        float rest[FI_LANES32] = {0};
        uint16_t narrowed[FI_LANES32];
        memcpy(rest, in + i, (n - i) * sizeof *in);
        store(narrowed, f32_load(rest));
        memcpy(out + i, narrowed, (n - i) * sizeof *out);
    }
}
static void narrow_f16(const float *in, uint16_t *out, size_t n) { narrow(in, out, n, f32_store_f16); }
static void narrow_bf16(const float *in, uint16_t *out, size_t n) { narrow(in, out, n, f32_store_bf16); }

/* Append the positions of the set bits to a queue; returns how many. Eight at a time, needed or
 * not: a loop that ends after a random number of steps costs a misprediction per super-block. */
FI_INLINE unsigned fi_enqueue(uint64_t bits, unsigned base, uint16_t *queue)
{
    const unsigned count = fi_bit_count(bits);
    do {
        for (int i = 0; i < 8; i++, bits &= bits - 1)
            *queue++ = (uint16_t)(base + fi_lowest_bit(bits | (uint64_t)1 << 63));
    } while (bits);
    return count;
}

#include "real32.h"

#include "laws.h"

#include "real64.h"

#include "laws.h"

#define FI_LAW_FILLS(law) {f32_fill_##law, f64_fill_##law}

const fi_tier FI_TIER_VARIABLE = {
    FI_TIER_NAME,
    {
        FI_LAW_FILLS(uniform),
        FI_LAW_FILLS(normal),
        FI_LAW_FILLS(truncated),
        FI_LAW_FILLS(half),
        FI_LAW_FILLS(narrow),
        FI_LAW_FILLS(exponential),
        FI_LAW_FILLS(tail),
    },
    {narrow_f16, narrow_bf16},
};
