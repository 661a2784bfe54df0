/* float32: the names that laws.h is written in, and what reads the bits of a word. */
#define F(word)        f32_##word
#define U(word)        u32_##word
#define FV             f32v
#define UV             u32v
#define MASK           f32m
#define REAL           float
#define C(name)        f32_set1(F32_##name)
#define SIGN_BIT       0x80000000u
#define DOMAIN_OFFSET  0
#define LANES          FI_LANES32
#define HALVES         1                             /* parts of a group of FI_LANES32 blocks that fill one vector each */
#define VECTORS        4                             /* vectors that one group gives */
#define SUPER_BLOCK    64                            /* elements */
#define POSITION(i, g) ((i) * 16 + (g) * FI_LANES32) /* of vector i of group g in the super-block */
#define GROUPS_PER_SUPER_BLOCK (16 / FI_LANES32)

FI_INLINE philoxv f32_split(u32v c0) { return philox_split32(c0); }
FI_INLINE void f32_join(const philoxv x[4], u32v w[4])
{
    for (int i = 0; i < 4; i++)
        w[i] = philox_join32(x[i]);
}

/* u in [0, 1): 24 bits. */
FI_INLINE f32v f32_unit(u32v w) { return f32_mul(f32_from_signed(u32_shr(w, 8)), f32_set1(0x1p-24f)); }

/* q in (0, 1/2]: 31 bits and a half step. */
FI_INLINE f32v f32_fraction(u32v w)
{
    const f32v v = f32_from_signed(u32_and(w, u32_set1(0x7FFFFFFF)));
    return f32_add(f32_mul(v, f32_set1(0x1p-32f)), f32_set1(0x1p-33f));
}

/* x in [-1, 1]: 30 bits and a half step, never zero. */
FI_INLINE f32v f32_phase(u32v w) { return f32_mul(f32_from_signed(u32_or(u32_shl(w, 2), u32_set1(2))), f32_set1(0x1p-31f)); }

/* y in (0, 1] as m * 2^k, m in [sqrt(1/2), sqrt(2)): returns 1 - m; *below has its top bit set where k < 0. */
FI_INLINE f32v f32_decompose(f32v y, f32v *k, u32v *below)
{
    const u32v sqrt_half = u32_set1(0x3F3504F3), i = u32_sub(f32_bits(y), sqrt_half);
    const f32v m = f32_from_bits(u32_add(u32_and(i, u32_set1(0x007FFFFF)), sqrt_half));
    *k = f32_from_signed(u32_sar(i, 23));
    *below = i;
    return f32_sub(f32_set1(1), m);
}

#define HORNER(p, t, c) f32_add(f32_mul(p, t), C(c))
FI_INLINE f32v f32_log_polynomial(f32v t) { return HORNER(HORNER(C(LOG2), t, LOG1), t, LOG0); }
FI_INLINE f32v f32_cos_polynomial(f32v t) { return HORNER(HORNER(HORNER(C(COS3), t, COS2), t, COS1), t, COS0); }
FI_INLINE f32v f32_sin_polynomial(f32v t) { return HORNER(HORNER(HORNER(C(SIN3), t, SIN2), t, SIN1), t, SIN0); }
#undef HORNER
