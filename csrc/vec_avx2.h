/* Vector vocabulary: AVX2 and F16C, 8 lanes of 32 bits. See README.md for what each word means. */
#include <immintrin.h>

#define FASTINIT_LANES32           8
#define FASTINIT_LANES64           4
#define FASTINIT_GROUPS            1
#define FASTINIT_HARDWARE_F16      1
#define FASTINIT_HARDWARE_EXPONENT 0

/* BMI's instruction takes 0, and answers 64. */
#if defined(__x86_64__) || defined(_M_X64)
#define FASTINIT_LOWEST_BIT(x) ((unsigned)_tzcnt_u64(x))
#endif

typedef __m256i u16v;
typedef __m256i u32v;
typedef __m256i u64v;
typedef __m256 f32v;
typedef __m256d f64v;
typedef __m256 f32m;
typedef __m256d f64m;

FASTINIT_INLINE u32v u32_set1(uint32_t x) { return _mm256_set1_epi32((int32_t)x); }
FASTINIT_INLINE u32v u32_load(const void *p) { return _mm256_loadu_si256(p); }
FASTINIT_INLINE void u32_store(void *p, u32v a) { _mm256_storeu_si256(p, a); }
FASTINIT_INLINE u32v u32_add(u32v a, u32v b) { return _mm256_add_epi32(a, b); }
FASTINIT_INLINE u32v u32_sub(u32v a, u32v b) { return _mm256_sub_epi32(a, b); }
FASTINIT_INLINE u32v u32_and(u32v a, u32v b) { return _mm256_and_si256(a, b); }
FASTINIT_INLINE u32v u32_or(u32v a, u32v b) { return _mm256_or_si256(a, b); }
FASTINIT_INLINE u32v u32_xor(u32v a, u32v b) { return _mm256_xor_si256(a, b); }
FASTINIT_INLINE u32v u32_shl(u32v a, int n) { return _mm256_slli_epi32(a, n); }
FASTINIT_INLINE u32v u32_shr(u32v a, int n) { return _mm256_srli_epi32(a, n); }
FASTINIT_INLINE u16v u16_set1(uint16_t x) { return _mm256_set1_epi16((int16_t)x); }
FASTINIT_INLINE void u16_store(uint16_t *p, u16v a) { _mm256_storeu_si256((void *)p, a); }
FASTINIT_INLINE void u16_store_high8(void *p, u16v a)
{
    const __m256i bytes = _mm256_srli_epi16(a, 8);
    _mm_storeu_si128(p, _mm_packus_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
}
FASTINIT_INLINE u16v u16_min_signed(u16v a, u16v b) { return _mm256_min_epi16(a, b); }
FASTINIT_INLINE u16v u16_min(u16v a, u16v b) { return _mm256_min_epu16(a, b); }
/* Packing works within halves of a register: the middle quarters change places. */
FASTINIT_INLINE u16v u32_high16(u32v a, u32v b)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(u32_shr(a, 16), u32_shr(b, 16)), _MM_SHUFFLE(3, 1, 2, 0));
}

FASTINIT_INLINE f32v f32_set1(float x) { return _mm256_set1_ps(x); }
FASTINIT_INLINE f32v f32_load(const float *p) { return _mm256_loadu_ps(p); }
FASTINIT_INLINE void f32_store(float *p, f32v a) { _mm256_storeu_ps(p, a); }
FASTINIT_INLINE u16v f32_to_f16(f32v a, f32v b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT)),
                                   _mm256_cvtps_ph(b, _MM_FROUND_TO_NEAREST_INT), 1);
}
FASTINIT_INLINE void f32_from_f16(u32v a, f32v x[2])
{
    x[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(a));
    x[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1));
}
FASTINIT_INLINE f32v f32_add(f32v a, f32v b) { return _mm256_add_ps(a, b); }
FASTINIT_INLINE f32v f32_sub(f32v a, f32v b) { return _mm256_sub_ps(a, b); }
FASTINIT_INLINE f32v f32_mul(f32v a, f32v b) { return _mm256_mul_ps(a, b); }
FASTINIT_INLINE f32v f32_div(f32v a, f32v b) { return _mm256_div_ps(a, b); }
FASTINIT_INLINE f32v f32_sqrt(f32v a) { return _mm256_sqrt_ps(a); }
FASTINIT_INLINE f32v f32_min(f32v a, f32v b) { return _mm256_min_ps(a, b); }
FASTINIT_INLINE f32v f32_max(f32v a, f32v b) { return _mm256_max_ps(a, b); }
FASTINIT_INLINE f32m f32_le(f32v a, f32v b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
FASTINIT_INLINE f32m f32_and_le(f32m m, f32v a, f32v b) { return _mm256_and_ps(m, f32_le(a, b)); }
FASTINIT_INLINE f32m f32_either(f32m m, f32m n) { return _mm256_or_ps(m, n); }
FASTINIT_INLINE unsigned f32_lanes(f32m m) { return (unsigned)_mm256_movemask_ps(m); }
FASTINIT_INLINE f32v f32_choose(f32m m, f32v a, f32v b) { return _mm256_blendv_ps(b, a, m); }
FASTINIT_INLINE u32v f32_bits(f32v a) { return _mm256_castps_si256(a); }
FASTINIT_INLINE f32v f32_from_bits(u32v a) { return _mm256_castsi256_ps(a); }
FASTINIT_INLINE f32v f32_from_signed(u32v a) { return _mm256_cvtepi32_ps(a); }
FASTINIT_INLINE f32v f32_select(u32v s, f32v a, f32v b) { return _mm256_blendv_ps(b, a, f32_from_bits(s)); }

FASTINIT_INLINE u64v u64_set1(uint64_t x) { return _mm256_set1_epi64x((int64_t)x); }
FASTINIT_INLINE u64v u64_and(u64v a, u64v b) { return _mm256_and_si256(a, b); }
FASTINIT_INLINE u64v u64_or(u64v a, u64v b) { return _mm256_or_si256(a, b); }
FASTINIT_INLINE u64v u64_xor(u64v a, u64v b) { return _mm256_xor_si256(a, b); }
FASTINIT_INLINE u64v u64_shl(u64v a, int n) { return _mm256_slli_epi64(a, n); }
FASTINIT_INLINE u64v u64_shr(u64v a, int n) { return _mm256_srli_epi64(a, n); }

FASTINIT_INLINE u64v u64_load(const void *p) { return _mm256_loadu_si256(p); }
FASTINIT_INLINE void u64_store(void *p, u64v a) { _mm256_storeu_si256(p, a); }

FASTINIT_INLINE f64v f64_set1(double x) { return _mm256_set1_pd(x); }
FASTINIT_INLINE void f64_store(double *p, f64v a) { _mm256_storeu_pd(p, a); }
FASTINIT_INLINE f64v f64_add(f64v a, f64v b) { return _mm256_add_pd(a, b); }
FASTINIT_INLINE f64v f64_sub(f64v a, f64v b) { return _mm256_sub_pd(a, b); }
FASTINIT_INLINE f64v f64_mul(f64v a, f64v b) { return _mm256_mul_pd(a, b); }
FASTINIT_INLINE f64v f64_div(f64v a, f64v b) { return _mm256_div_pd(a, b); }
FASTINIT_INLINE f64v f64_sqrt(f64v a) { return _mm256_sqrt_pd(a); }
FASTINIT_INLINE f64v f64_min(f64v a, f64v b) { return _mm256_min_pd(a, b); }
FASTINIT_INLINE f64v f64_max(f64v a, f64v b) { return _mm256_max_pd(a, b); }
FASTINIT_INLINE f64m f64_le(f64v a, f64v b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
FASTINIT_INLINE f64m f64_and_le(f64m m, f64v a, f64v b) { return _mm256_and_pd(m, f64_le(a, b)); }
FASTINIT_INLINE f64m f64_either(f64m m, f64m n) { return _mm256_or_pd(m, n); }
FASTINIT_INLINE unsigned f64_lanes(f64m m) { return (unsigned)_mm256_movemask_pd(m); }
FASTINIT_INLINE f64v f64_choose(f64m m, f64v a, f64v b) { return _mm256_blendv_pd(b, a, m); }
FASTINIT_INLINE u64v f64_bits(f64v a) { return _mm256_castpd_si256(a); }
FASTINIT_INLINE f64v f64_from_bits(u64v a) { return _mm256_castsi256_pd(a); }
FASTINIT_INLINE f64v f64_select(u64v s, f64v a, f64v b) { return _mm256_blendv_pd(b, a, f64_from_bits(s)); }

/* Philox words sit in the low halves of 64-bit lanes, where the widening multiplication reads them;
 * the high halves hold leftovers that nothing reads. */
typedef struct {
    __m256i a, b;
} philoxv;
typedef philoxv productv;

FASTINIT_INLINE philoxv philox_set1(uint32_t x) { return (philoxv){u32_set1(x), u32_set1(x)}; }
FASTINIT_INLINE philoxv philox_xor(philoxv x, uint32_t k) { return (philoxv){u32_xor(x.a, u32_set1(k)), u32_xor(x.b, u32_set1(k))}; }
FASTINIT_INLINE productv philox_mul(philoxv x, uint32_t m)
{
    return (productv){_mm256_mul_epu32(x.a, u32_set1(m)), _mm256_mul_epu32(x.b, u32_set1(m))};
}
FASTINIT_INLINE philoxv philox_low(productv p) { return p; }
FASTINIT_INLINE u32v philox_xor3(u32v p, u32v x, uint32_t k) { return u32_xor(u64_shr(p, 32), u32_xor(x, u32_set1(k))); }
FASTINIT_INLINE philoxv philox_high_xor(productv p, philoxv x, uint32_t k)
{
    return (philoxv){philox_xor3(p.a, x.a, k), philox_xor3(p.b, x.b, k)};
}
FASTINIT_INLINE u32v philox_pack(u32v low, u32v high) { return _mm256_blend_epi32(low, u64_shl(high, 32), 0xAA); }
FASTINIT_INLINE philoxv philox_split32(u32v x) { return (philoxv){x, u64_shr(x, 32)}; }
FASTINIT_INLINE u32v philox_join32(philoxv x) { return philox_pack(x.a, x.b); }
FASTINIT_INLINE philoxv philox_split64(u32v x)
{
    return (philoxv){_mm256_cvtepu32_epi64(_mm256_castsi256_si128(x)), _mm256_cvtepu32_epi64(_mm256_extracti128_si256(x, 1))};
}
FASTINIT_INLINE void philox_join64(philoxv low, philoxv high, u64v *first, u64v *second)
{
    *first = philox_pack(low.a, high.a);
    *second = philox_pack(low.b, high.b);
}
