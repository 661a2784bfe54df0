/* Vector vocabulary: plain C, one lane. See README.md for what each word means. */
#include <math.h>

#define FASTINIT_LANES32           1
#define FASTINIT_LANES64           1
#define FASTINIT_GROUPS            1
#define FASTINIT_HARDWARE_F16      0
#define FASTINIT_HARDWARE_EXPONENT 0

typedef struct {
    uint16_t lane[2];
} u16v;
typedef uint32_t u32v;
typedef uint64_t u64v;
typedef float f32v;
typedef double f64v;
typedef unsigned f32m;
typedef unsigned f64m;

FASTINIT_INLINE u32v u32_set1(uint32_t x) { return x; }
/* Memory may have any alignment, and words lie where reals will. */
FASTINIT_INLINE u32v u32_load(const void *p)
{
    u32v a;
    memcpy(&a, p, sizeof a);
    return a;
}
FASTINIT_INLINE void u32_store(void *p, u32v a) { memcpy(p, &a, sizeof a); }
FASTINIT_INLINE u32v u32_add(u32v a, u32v b) { return a + b; }
FASTINIT_INLINE u32v u32_sub(u32v a, u32v b) { return a - b; }
FASTINIT_INLINE u32v u32_and(u32v a, u32v b) { return a & b; }
FASTINIT_INLINE u32v u32_or(u32v a, u32v b) { return a | b; }
FASTINIT_INLINE u32v u32_xor(u32v a, u32v b) { return a ^ b; }
FASTINIT_INLINE u32v u32_shl(u32v a, int n) { return a << n; }
FASTINIT_INLINE u32v u32_shr(u32v a, int n) { return a >> n; }
FASTINIT_INLINE u16v u16_pair(uint32_t low, uint32_t high) { return (u16v){{(uint16_t)low, (uint16_t)high}}; }
FASTINIT_INLINE u16v u16_set1(uint16_t x) { return u16_pair(x, x); }
FASTINIT_INLINE void u16_store(uint16_t *p, u16v a) { memcpy(p, a.lane, sizeof a.lane); }
FASTINIT_INLINE void u16_store_high8(void *p, u16v a)
{
    const uint8_t bytes[2] = {(uint8_t)(a.lane[0] >> 8), (uint8_t)(a.lane[1] >> 8)};
    memcpy(p, bytes, sizeof bytes);
}
FASTINIT_INLINE uint16_t u16_least(uint16_t a, uint16_t b) { return a < b ? a : b; }
FASTINIT_INLINE u16v u16_min(u16v a, u16v b) { return u16_pair(u16_least(a.lane[0], b.lane[0]), u16_least(a.lane[1], b.lane[1])); }
FASTINIT_INLINE u16v u16_flip(u16v a) { return u16_pair(a.lane[0] ^ 0x8000u, a.lane[1] ^ 0x8000u); }
FASTINIT_INLINE u16v u16_min_signed(u16v a, u16v b) { return u16_flip(u16_min(u16_flip(a), u16_flip(b))); }
FASTINIT_INLINE u16v u32_high16(u32v a, u32v b) { return u16_pair(a >> 16, b >> 16); }

FASTINIT_INLINE f32v f32_set1(float x) { return x; }
FASTINIT_INLINE f32v f32_load(const float *p)
{
    f32v a;
    memcpy(&a, p, sizeof a);
    return a;
}
FASTINIT_INLINE void f32_store(float *p, f32v a) { memcpy(p, &a, sizeof a); }
FASTINIT_INLINE f32v f32_add(f32v a, f32v b) { return a + b; }
FASTINIT_INLINE f32v f32_sub(f32v a, f32v b) { return a - b; }
FASTINIT_INLINE f32v f32_mul(f32v a, f32v b) { return a * b; }
FASTINIT_INLINE f32v f32_div(f32v a, f32v b) { return a / b; }
FASTINIT_INLINE f32v f32_sqrt(f32v a) { return sqrtf(a); }
FASTINIT_INLINE f32v f32_min(f32v a, f32v b) { return a < b ? a : b; }
FASTINIT_INLINE f32v f32_max(f32v a, f32v b) { return a > b ? a : b; }
FASTINIT_INLINE f32m f32_le(f32v a, f32v b) { return a <= b; }
FASTINIT_INLINE f32m f32_and_le(f32m m, f32v a, f32v b) { return m & (a <= b); }
FASTINIT_INLINE f32m f32_either(f32m m, f32m n) { return m | n; }
FASTINIT_INLINE unsigned f32_lanes(f32m m) { return m; }
FASTINIT_INLINE f32v f32_choose(f32m m, f32v a, f32v b) { return m ? a : b; }
FASTINIT_INLINE u32v f32_bits(f32v a)
{
    u32v b;
    memcpy(&b, &a, sizeof b);
    return b;
}
FASTINIT_INLINE f32v f32_from_bits(u32v a)
{
    f32v b;
    memcpy(&b, &a, sizeof b);
    return b;
}
FASTINIT_INLINE f32v f32_from_signed(u32v a) { return a >> 31 ? -(f32v)(~a + 1) : (f32v)a; }
FASTINIT_INLINE f32v f32_select(u32v s, f32v a, f32v b) { return s >> 31 ? a : b; }

FASTINIT_INLINE u64v u64_set1(uint64_t x) { return x; }
FASTINIT_INLINE u64v u64_and(u64v a, u64v b) { return a & b; }
FASTINIT_INLINE u64v u64_or(u64v a, u64v b) { return a | b; }
FASTINIT_INLINE u64v u64_xor(u64v a, u64v b) { return a ^ b; }
FASTINIT_INLINE u64v u64_shr(u64v a, int n) { return a >> n; }

FASTINIT_INLINE u64v u64_load(const void *p)
{
    u64v a;
    memcpy(&a, p, sizeof a);
    return a;
}
FASTINIT_INLINE void u64_store(void *p, u64v a) { memcpy(p, &a, sizeof a); }

FASTINIT_INLINE f64v f64_set1(double x) { return x; }
FASTINIT_INLINE void f64_store(double *p, f64v a) { memcpy(p, &a, sizeof a); }
FASTINIT_INLINE f64v f64_add(f64v a, f64v b) { return a + b; }
FASTINIT_INLINE f64v f64_sub(f64v a, f64v b) { return a - b; }
FASTINIT_INLINE f64v f64_mul(f64v a, f64v b) { return a * b; }
FASTINIT_INLINE f64v f64_div(f64v a, f64v b) { return a / b; }
FASTINIT_INLINE f64v f64_sqrt(f64v a) { return sqrt(a); }
FASTINIT_INLINE f64v f64_min(f64v a, f64v b) { return a < b ? a : b; }
FASTINIT_INLINE f64v f64_max(f64v a, f64v b) { return a > b ? a : b; }
FASTINIT_INLINE f64m f64_le(f64v a, f64v b) { return a <= b; }
FASTINIT_INLINE f64m f64_and_le(f64m m, f64v a, f64v b) { return m & (a <= b); }
FASTINIT_INLINE f64m f64_either(f64m m, f64m n) { return m | n; }
FASTINIT_INLINE unsigned f64_lanes(f64m m) { return m; }
FASTINIT_INLINE f64v f64_choose(f64m m, f64v a, f64v b) { return m ? a : b; }
FASTINIT_INLINE u64v f64_bits(f64v a)
{
    u64v b;
    memcpy(&b, &a, sizeof b);
    return b;
}
FASTINIT_INLINE f64v f64_from_bits(u64v a)
{
    f64v b;
    memcpy(&b, &a, sizeof b);
    return b;
}
FASTINIT_INLINE f64v f64_select(u64v s, f64v a, f64v b) { return s >> 63 ? a : b; }

typedef uint32_t philoxv;
typedef uint64_t productv;

FASTINIT_INLINE philoxv philox_set1(uint32_t x) { return x; }
FASTINIT_INLINE philoxv philox_xor(philoxv x, uint32_t k) { return x ^ k; }
FASTINIT_INLINE productv philox_mul(philoxv x, uint32_t m) { return (productv)x * m; }
FASTINIT_INLINE philoxv philox_low(productv p) { return (philoxv)p; }
FASTINIT_INLINE philoxv philox_high_xor(productv p, philoxv x, uint32_t k) { return (philoxv)(p >> 32) ^ x ^ k; }
FASTINIT_INLINE philoxv philox_split32(u32v x) { return x; }
FASTINIT_INLINE u32v philox_join32(philoxv x) { return x; }
FASTINIT_INLINE philoxv philox_split64(u32v x) { return x; }
/* One lane: a group of blocks is one block, and there is no second half. */
FASTINIT_INLINE void philox_join64(philoxv low, philoxv high, u64v *first, u64v *second)
{
    *first = low | (u64v)high << 32;
    (void)second;
}
