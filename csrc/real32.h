/* float32: the names that laws.h is written in, and what reads the bits of a word. */
#define F(word)                f32_##word
#define U(word)                u32_##word
#define FV                     f32v
#define UV                     u32v
#define MASK                   f32m
#define REAL                   float
#define C(name)                f32_set1(F32_##name)
#define SIGN_BIT               0x80000000u
#define DOMAIN_OFFSET          0
#define UNIT                   0x1p-24f
#define LANES                  FASTINIT_LANES32
#define HALVES                 1  /* parts of a group of FASTINIT_LANES32 blocks that fill one vector each */
#define VECTORS                4  /* vectors that one group gives */
#define SUPER_BLOCK            64 /* elements */
#define POSITION(i, g)         ((i) * 16 + (g) * FASTINIT_LANES32) /* of vector i of group g in the super-block */
#define GROUPS_PER_SUPER_BLOCK (16 / FASTINIT_LANES32)

FASTINIT_INLINE philoxv f32_split(u32v c0) { return philox_split32(c0); }
FASTINIT_INLINE void f32_join(const philoxv x[4], u32v w[4])
{
    for (int i = 0; i < 4; i++)
        w[i] = philox_join32(x[i]);
}

/* u / UNIT, u in [0, 1): 24 bits. */
FASTINIT_INLINE f32v f32_unit_digits(u32v w) { return f32_from_signed(u32_shr(w, 8)); }

/* |y| / R in (0, 1), with 31 bits and a half step; R = sqrt(2) is where the logarithm's range begins. The sign
 * of y is the top bit of the word and means nothing: n + 1/2 and its complement's have the same size. */
FASTINIT_INLINE f32v f32_radius_uniform(u32v w) { return f32_mul(f32_add(f32_from_signed(w), f32_set1(0.5f)), C(RADIUS_SCALE)); }

/* x in [-1, 1]: 31 bits and a half step, never zero. */
FASTINIT_INLINE f32v f32_phase(u32v w) { return f32_mul(f32_from_signed(u32_or(w, u32_set1(1))), f32_set1(0x1p-31f)); }

/* The bit of an angle word that the phase does not use, as a sign. */
FASTINIT_INLINE u32v f32_spare_sign(u32v w) { return u32_shl(w, 31); }

#if !FASTINIT_HARDWARE_EXPONENT
/* |x| = m * 2^k, m in [1, 2). */
FASTINIT_INLINE f32v f32_exponent(f32v x) { return f32_from_signed(u32_sub(u32_shr(u32_shl(f32_bits(x), 1), 24), u32_set1(127))); }
FASTINIT_INLINE f32v f32_mantissa(f32v x)
{
    return f32_from_bits(u32_or(u32_and(f32_bits(x), u32_set1(0x007FFFFF)), u32_set1(0x3F800000)));
}
#endif

#define HORNER(p, t, c) f32_add(f32_mul(p, t), C(c))
FASTINIT_INLINE f32v f32_log_polynomial(f32v t) { return HORNER(HORNER(C(LOG2), t, LOG1), t, LOG0); }
FASTINIT_INLINE f32v f32_cos_polynomial(f32v t) { return HORNER(HORNER(HORNER(C(COS3), t, COS2), t, COS1), t, COS0); }
FASTINIT_INLINE f32v f32_sin_polynomial(f32v t) { return HORNER(HORNER(HORNER(C(SIN3), t, SIN2), t, SIN1), t, SIN0); }
#undef HORNER
