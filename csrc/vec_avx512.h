/* Vector vocabulary: AVX-512 F, BW, DQ, VL; 16 lanes of 32 bits. See README.md for what each word means. */
#include <immintrin.h>

#define FASTINIT_LANES32           16
#define FASTINIT_LANES64           8
#define FASTINIT_GROUPS            2
#define FASTINIT_HARDWARE_F16      1
#define FASTINIT_HARDWARE_EXPONENT 1

/* BMI's instruction takes 0, and answers 64. */
#if defined(__x86_64__) || defined(_M_X64)
#define FASTINIT_LOWEST_BIT(x) ((unsigned)_tzcnt_u64(x))
#endif

typedef __m512i u16v;
typedef __m512i u32v;
typedef __m512i u64v;
typedef __m512 f32v;
typedef __m512d f64v;
typedef __mmask16 f32m;
typedef __mmask8 f64m;

FASTINIT_INLINE u32v u32_set1(uint32_t x) { return _mm512_set1_epi32((int32_t)x); }
FASTINIT_INLINE u32v u32_load(const void *p) { return _mm512_loadu_si512(p); }
FASTINIT_INLINE void u32_store(void *p, u32v a) { _mm512_storeu_si512(p, a); }
FASTINIT_INLINE u32v u32_add(u32v a, u32v b) { return _mm512_add_epi32(a, b); }
FASTINIT_INLINE u32v u32_sub(u32v a, u32v b) { return _mm512_sub_epi32(a, b); }
FASTINIT_INLINE u32v u32_and(u32v a, u32v b) { return _mm512_and_si512(a, b); }
FASTINIT_INLINE u32v u32_or(u32v a, u32v b) { return _mm512_or_si512(a, b); }
FASTINIT_INLINE u32v u32_xor(u32v a, u32v b) { return _mm512_xor_si512(a, b); }
FASTINIT_INLINE u32v u32_shl(u32v a, int n) { return _mm512_slli_epi32(a, (unsigned)n); }
FASTINIT_INLINE u32v u32_shr(u32v a, int n) { return _mm512_srli_epi32(a, (unsigned)n); }
FASTINIT_INLINE u16v u16_set1(uint16_t x) { return _mm512_set1_epi16((int16_t)x); }
FASTINIT_INLINE void u16_store(uint16_t *p, u16v a) { _mm512_storeu_si512(p, a); }
FASTINIT_INLINE void u16_store_high8(void *p, u16v a) { _mm256_storeu_si256(p, _mm512_cvtepi16_epi8(_mm512_srli_epi16(a, 8))); }
FASTINIT_INLINE u16v u16_min_signed(u16v a, u16v b) { return _mm512_min_epi16(a, b); }
FASTINIT_INLINE u16v u16_min(u16v a, u16v b) { return _mm512_min_epu16(a, b); }
FASTINIT_INLINE u16v u32_high16(u32v a, u32v b)
{
    static const uint16_t odd[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                     33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    return _mm512_permutex2var_epi16(a, _mm512_loadu_si512(odd), b);
}

FASTINIT_INLINE f32v f32_set1(float x) { return _mm512_set1_ps(x); }
FASTINIT_INLINE f32v f32_load(const float *p) { return _mm512_loadu_ps(p); }
FASTINIT_INLINE void f32_store(float *p, f32v a) { _mm512_storeu_ps(p, a); }
FASTINIT_INLINE u16v f32_to_f16(f32v a, f32v b)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT)),
                              _mm512_cvtps_ph(b, _MM_FROUND_TO_NEAREST_INT), 1);
}
FASTINIT_INLINE void f32_from_f16(u32v a, f32v x[2])
{
    x[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(a));
    x[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(a, 1));
}
FASTINIT_INLINE f32v f32_add(f32v a, f32v b) { return _mm512_add_ps(a, b); }
FASTINIT_INLINE f32v f32_sub(f32v a, f32v b) { return _mm512_sub_ps(a, b); }
FASTINIT_INLINE f32v f32_mul(f32v a, f32v b) { return _mm512_mul_ps(a, b); }
FASTINIT_INLINE f32v f32_div(f32v a, f32v b) { return _mm512_div_ps(a, b); }
FASTINIT_INLINE f32v f32_sqrt(f32v a) { return _mm512_sqrt_ps(a); }
FASTINIT_INLINE f32v f32_exponent(f32v a) { return _mm512_getexp_ps(a); }
FASTINIT_INLINE f32v f32_mantissa(f32v a) { return _mm512_getmant_ps(a, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero); }
FASTINIT_INLINE f32v f32_min(f32v a, f32v b) { return _mm512_min_ps(a, b); }
FASTINIT_INLINE f32v f32_max(f32v a, f32v b) { return _mm512_max_ps(a, b); }
FASTINIT_INLINE f32m f32_le(f32v a, f32v b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
FASTINIT_INLINE f32m f32_and_le(f32m m, f32v a, f32v b) { return _mm512_mask_cmp_ps_mask(m, a, b, _CMP_LE_OQ); }
FASTINIT_INLINE f32m f32_either(f32m m, f32m n) { return m | n; }
FASTINIT_INLINE unsigned f32_lanes(f32m m) { return m; }
FASTINIT_INLINE f32v f32_choose(f32m m, f32v a, f32v b) { return _mm512_mask_mov_ps(b, m, a); }
FASTINIT_INLINE u32v f32_bits(f32v a) { return _mm512_castps_si512(a); }
FASTINIT_INLINE f32v f32_from_bits(u32v a) { return _mm512_castsi512_ps(a); }
FASTINIT_INLINE f32v f32_from_signed(u32v a) { return _mm512_cvtepi32_ps(a); }
FASTINIT_INLINE f32v f32_select(u32v s, f32v a, f32v b) { return _mm512_mask_mov_ps(b, _mm512_movepi32_mask(s), a); }

FASTINIT_INLINE u64v u64_set1(uint64_t x) { return _mm512_set1_epi64((int64_t)x); }
FASTINIT_INLINE u64v u64_and(u64v a, u64v b) { return _mm512_and_si512(a, b); }
FASTINIT_INLINE u64v u64_or(u64v a, u64v b) { return _mm512_or_si512(a, b); }
FASTINIT_INLINE u64v u64_xor(u64v a, u64v b) { return _mm512_xor_si512(a, b); }
FASTINIT_INLINE u64v u64_shr(u64v a, int n) { return _mm512_srli_epi64(a, (unsigned)n); }

FASTINIT_INLINE u64v u64_load(const void *p) { return _mm512_loadu_si512(p); }
FASTINIT_INLINE void u64_store(void *p, u64v a) { _mm512_storeu_si512(p, a); }

FASTINIT_INLINE f64v f64_set1(double x) { return _mm512_set1_pd(x); }
FASTINIT_INLINE void f64_store(double *p, f64v a) { _mm512_storeu_pd(p, a); }
FASTINIT_INLINE f64v f64_add(f64v a, f64v b) { return _mm512_add_pd(a, b); }
FASTINIT_INLINE f64v f64_sub(f64v a, f64v b) { return _mm512_sub_pd(a, b); }
FASTINIT_INLINE f64v f64_mul(f64v a, f64v b) { return _mm512_mul_pd(a, b); }
FASTINIT_INLINE f64v f64_div(f64v a, f64v b) { return _mm512_div_pd(a, b); }
FASTINIT_INLINE f64v f64_sqrt(f64v a) { return _mm512_sqrt_pd(a); }
FASTINIT_INLINE f64v f64_exponent(f64v a) { return _mm512_getexp_pd(a); }
FASTINIT_INLINE f64v f64_mantissa(f64v a) { return _mm512_getmant_pd(a, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero); }
FASTINIT_INLINE f64v f64_min(f64v a, f64v b) { return _mm512_min_pd(a, b); }
FASTINIT_INLINE f64v f64_max(f64v a, f64v b) { return _mm512_max_pd(a, b); }
FASTINIT_INLINE f64m f64_le(f64v a, f64v b) { return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ); }
FASTINIT_INLINE f64m f64_and_le(f64m m, f64v a, f64v b) { return _mm512_mask_cmp_pd_mask(m, a, b, _CMP_LE_OQ); }
FASTINIT_INLINE f64m f64_either(f64m m, f64m n) { return m | n; }
FASTINIT_INLINE unsigned f64_lanes(f64m m) { return m; }
FASTINIT_INLINE f64v f64_choose(f64m m, f64v a, f64v b) { return _mm512_mask_mov_pd(b, m, a); }
FASTINIT_INLINE u64v f64_bits(f64v a) { return _mm512_castpd_si512(a); }
FASTINIT_INLINE f64v f64_from_bits(u64v a) { return _mm512_castsi512_pd(a); }
FASTINIT_INLINE f64v f64_select(u64v s, f64v a, f64v b) { return _mm512_mask_mov_pd(b, _mm512_movepi64_mask(s), a); }

/* Philox words sit in the low halves of 64-bit lanes, where the widening multiplication reads them;
 * the high halves hold leftovers that nothing reads. */
typedef struct {
    __m512i a, b;
} philoxv;
typedef philoxv productv;

FASTINIT_INLINE philoxv philox_set1(uint32_t x) { return (philoxv){u32_set1(x), u32_set1(x)}; }
FASTINIT_INLINE philoxv philox_xor(philoxv x, uint32_t k) { return (philoxv){u32_xor(x.a, u32_set1(k)), u32_xor(x.b, u32_set1(k))}; }
FASTINIT_INLINE productv philox_mul(philoxv x, uint32_t m)
{
    return (productv){_mm512_mul_epu32(x.a, u32_set1(m)), _mm512_mul_epu32(x.b, u32_set1(m))};
}
FASTINIT_INLINE philoxv philox_low(productv p) { return p; }
FASTINIT_INLINE u32v philox_xor3(u32v p, u32v x, uint32_t k) { return _mm512_ternarylogic_epi32(u64_shr(p, 32), x, u32_set1(k), 0x96); }
FASTINIT_INLINE philoxv philox_high_xor(productv p, philoxv x, uint32_t k)
{
    return (philoxv){philox_xor3(p.a, x.a, k), philox_xor3(p.b, x.b, k)};
}
FASTINIT_INLINE u32v philox_pack(u32v low, u32v high) { return _mm512_mask_shuffle_epi32(low, 0xAAAA, high, _MM_PERM_CCAA); }
FASTINIT_INLINE philoxv philox_split32(u32v x) { return (philoxv){x, u64_shr(x, 32)}; }
FASTINIT_INLINE u32v philox_join32(philoxv x) { return philox_pack(x.a, x.b); }
FASTINIT_INLINE philoxv philox_split64(u32v x)
{
    return (philoxv){_mm512_cvtepu32_epi64(_mm512_castsi512_si256(x)), _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(x, 1))};
}
FASTINIT_INLINE void philox_join64(philoxv low, philoxv high, u64v *first, u64v *second)
{
    *first = philox_pack(low.a, high.a);
    *second = philox_pack(low.b, high.b);
}
