/* Vector vocabulary: NEON of AArch64, 4 lanes of 32 bits. See README.md for what each word means. */
#include <arm_neon.h>

#define FASTINIT_LANES32           4
#define FASTINIT_LANES64           2
#define FASTINIT_GROUPS            2
#define FASTINIT_HARDWARE_F16      1
#define FASTINIT_HARDWARE_EXPONENT 0

typedef uint16x8_t u16v;
typedef uint32x4_t u32v;
typedef uint64x2_t u64v;
typedef float32x4_t f32v;
typedef float64x2_t f64v;
typedef uint32x4_t f32m;
typedef uint64x2_t f64m;

FASTINIT_INLINE u32v u32_set1(uint32_t x) { return vdupq_n_u32(x); }
FASTINIT_INLINE u32v u32_load(const void *p) { return vreinterpretq_u32_u8(vld1q_u8(p)); }
FASTINIT_INLINE void u32_store(void *p, u32v a) { vst1q_u8(p, vreinterpretq_u8_u32(a)); }
FASTINIT_INLINE u32v u32_add(u32v a, u32v b) { return vaddq_u32(a, b); }
FASTINIT_INLINE u32v u32_sub(u32v a, u32v b) { return vsubq_u32(a, b); }
FASTINIT_INLINE u32v u32_and(u32v a, u32v b) { return vandq_u32(a, b); }
FASTINIT_INLINE u32v u32_or(u32v a, u32v b) { return vorrq_u32(a, b); }
FASTINIT_INLINE u32v u32_xor(u32v a, u32v b) { return veorq_u32(a, b); }
FASTINIT_INLINE u32v u32_shl(u32v a, int n) { return a << n; }
FASTINIT_INLINE u32v u32_shr(u32v a, int n) { return a >> n; }
FASTINIT_INLINE u16v u16_set1(uint16_t x) { return vdupq_n_u16(x); }
FASTINIT_INLINE void u16_store(uint16_t *p, u16v a) { vst1q_u16(p, a); }
FASTINIT_INLINE void u16_store_high8(void *p, u16v a) { vst1_u8(p, vshrn_n_u16(a, 8)); }
FASTINIT_INLINE u16v u16_min_signed(u16v a, u16v b)
{
    return vreinterpretq_u16_s16(vminq_s16(vreinterpretq_s16_u16(a), vreinterpretq_s16_u16(b)));
}
FASTINIT_INLINE u16v u16_min(u16v a, u16v b) { return vminq_u16(a, b); }
FASTINIT_INLINE u16v u32_high16(u32v a, u32v b) { return vuzp2q_u16(vreinterpretq_u16_u32(a), vreinterpretq_u16_u32(b)); }

FASTINIT_INLINE f32v f32_set1(float x) { return vdupq_n_f32(x); }
FASTINIT_INLINE f32v f32_load(const float *p) { return vld1q_f32(p); }
FASTINIT_INLINE void f32_store(float *p, f32v a) { vst1q_f32(p, a); }
FASTINIT_INLINE u16v f32_to_f16(f32v a, f32v b) { return vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a), b)); }
FASTINIT_INLINE void f32_from_f16(u32v a, f32v x[2])
{
    const float16x8_t halves = vreinterpretq_f16_u32(a);
    x[0] = vcvt_f32_f16(vget_low_f16(halves));
    x[1] = vcvt_high_f32_f16(halves);
}
FASTINIT_INLINE f32v f32_add(f32v a, f32v b) { return vaddq_f32(a, b); }
FASTINIT_INLINE f32v f32_sub(f32v a, f32v b) { return vsubq_f32(a, b); }
FASTINIT_INLINE f32v f32_mul(f32v a, f32v b) { return vmulq_f32(a, b); }
FASTINIT_INLINE f32v f32_div(f32v a, f32v b) { return vdivq_f32(a, b); }
FASTINIT_INLINE f32v f32_sqrt(f32v a) { return vsqrtq_f32(a); }
/* vminq and vmaxq order -0 below +0, which the stream does not: compare and choose. */
FASTINIT_INLINE f32v f32_min(f32v a, f32v b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
FASTINIT_INLINE f32v f32_max(f32v a, f32v b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
FASTINIT_INLINE f32m f32_le(f32v a, f32v b) { return vcleq_f32(a, b); }
FASTINIT_INLINE f32m f32_and_le(f32m m, f32v a, f32v b) { return vandq_u32(m, f32_le(a, b)); }
FASTINIT_INLINE f32m f32_either(f32m m, f32m n) { return vorrq_u32(m, n); }
FASTINIT_INLINE unsigned f32_lanes(f32m m) { return vaddvq_u32(vandq_u32(m, (u32v){1, 2, 4, 8})); }
FASTINIT_INLINE f32v f32_choose(f32m m, f32v a, f32v b) { return vbslq_f32(m, a, b); }
FASTINIT_INLINE u32v f32_bits(f32v a) { return vreinterpretq_u32_f32(a); }
FASTINIT_INLINE f32v f32_from_bits(u32v a) { return vreinterpretq_f32_u32(a); }
FASTINIT_INLINE f32v f32_from_signed(u32v a) { return vcvtq_f32_s32(vreinterpretq_s32_u32(a)); }
FASTINIT_INLINE f32v f32_select(u32v s, f32v a, f32v b) { return vbslq_f32(vcltzq_s32(vreinterpretq_s32_u32(s)), a, b); }

FASTINIT_INLINE u64v u64_set1(uint64_t x) { return vdupq_n_u64(x); }
FASTINIT_INLINE u64v u64_and(u64v a, u64v b) { return vandq_u64(a, b); }
FASTINIT_INLINE u64v u64_or(u64v a, u64v b) { return vorrq_u64(a, b); }
FASTINIT_INLINE u64v u64_xor(u64v a, u64v b) { return veorq_u64(a, b); }
FASTINIT_INLINE u64v u64_shr(u64v a, int n) { return a >> n; }

FASTINIT_INLINE u64v u64_load(const void *p) { return vreinterpretq_u64_u8(vld1q_u8(p)); }
FASTINIT_INLINE void u64_store(void *p, u64v a) { vst1q_u8(p, vreinterpretq_u8_u64(a)); }

FASTINIT_INLINE f64v f64_set1(double x) { return vdupq_n_f64(x); }
FASTINIT_INLINE void f64_store(double *p, f64v a) { vst1q_f64(p, a); }
FASTINIT_INLINE f64v f64_add(f64v a, f64v b) { return vaddq_f64(a, b); }
FASTINIT_INLINE f64v f64_sub(f64v a, f64v b) { return vsubq_f64(a, b); }
FASTINIT_INLINE f64v f64_mul(f64v a, f64v b) { return vmulq_f64(a, b); }
FASTINIT_INLINE f64v f64_div(f64v a, f64v b) { return vdivq_f64(a, b); }
FASTINIT_INLINE f64v f64_sqrt(f64v a) { return vsqrtq_f64(a); }
FASTINIT_INLINE f64v f64_min(f64v a, f64v b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
FASTINIT_INLINE f64v f64_max(f64v a, f64v b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
FASTINIT_INLINE f64m f64_le(f64v a, f64v b) { return vcleq_f64(a, b); }
FASTINIT_INLINE f64m f64_and_le(f64m m, f64v a, f64v b) { return vandq_u64(m, f64_le(a, b)); }
FASTINIT_INLINE f64m f64_either(f64m m, f64m n) { return vorrq_u64(m, n); }
FASTINIT_INLINE unsigned f64_lanes(f64m m) { return (unsigned)vaddvq_u64(vandq_u64(m, (u64v){1, 2})); }
FASTINIT_INLINE f64v f64_choose(f64m m, f64v a, f64v b) { return vbslq_f64(m, a, b); }
FASTINIT_INLINE u64v f64_bits(f64v a) { return vreinterpretq_u64_f64(a); }
FASTINIT_INLINE f64v f64_from_bits(u64v a) { return vreinterpretq_f64_u64(a); }
FASTINIT_INLINE f64v f64_select(u64v s, f64v a, f64v b) { return vbslq_f64(vcltzq_s64(vreinterpretq_s64_u64(s)), a, b); }

/* Philox words sit in plain 32-bit lanes: NEON multiplies half a register at a time,
 * and un-zipping the products gives the high and the low words in order. */
typedef uint32x4_t philoxv;
typedef uint32x4x2_t productv;

FASTINIT_INLINE philoxv philox_set1(uint32_t x) { return u32_set1(x); }
FASTINIT_INLINE philoxv philox_xor(philoxv x, uint32_t k) { return u32_xor(x, u32_set1(k)); }
FASTINIT_INLINE u32v philox_mul_low(philoxv x, uint32_t m) { return vreinterpretq_u32_u64(vmull_n_u32(vget_low_u32(x), m)); }
FASTINIT_INLINE u32v philox_mul_high(philoxv x, uint32_t m) { return vreinterpretq_u32_u64(vmull_high_n_u32(x, m)); }
FASTINIT_INLINE productv philox_mul(philoxv x, uint32_t m) { return vuzpq_u32(philox_mul_low(x, m), philox_mul_high(x, m)); }
FASTINIT_INLINE philoxv philox_low(productv p) { return p.val[0]; }
FASTINIT_INLINE philoxv philox_high_xor(productv p, philoxv x, uint32_t k) { return u32_xor(p.val[1], u32_xor(x, u32_set1(k))); }
FASTINIT_INLINE philoxv philox_split32(u32v x) { return x; }
FASTINIT_INLINE u32v philox_join32(philoxv x) { return x; }
FASTINIT_INLINE philoxv philox_split64(u32v x) { return x; }
FASTINIT_INLINE void philox_join64(philoxv low, philoxv high, u64v *first, u64v *second)
{
    *first = vreinterpretq_u64_u32(vzip1q_u32(low, high));
    *second = vreinterpretq_u64_u32(vzip2q_u32(low, high));
}
