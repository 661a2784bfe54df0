/* float64: the names that laws.h is written in, and what reads the bits of a number. */
#define F(word)                f64_##word
#define U(word)                u64_##word
#define FV                     f64v
#define UV                     u64v
#define MASK                   f64m
#define REAL                   double
#define C(name)                f64_set1(F64_##name)
#define SIGN_BIT               0x8000000000000000u
#define DOMAIN_OFFSET          1
#define UNIT                   0x1p-53
#define LANES                  FASTINIT_LANES64
#define HALVES                 (FASTINIT_LANES32 / FASTINIT_LANES64) /* parts of a group of FASTINIT_LANES32 blocks that fill one vector each */
#define VECTORS                (2 * HALVES)                          /* vectors that one group gives */
#define SUPER_BLOCK            32                                    /* elements */
#define POSITION(i, g)         ((i) % 2 * 16 + (g) * FASTINIT_LANES32 + (i) / 2 * FASTINIT_LANES64) /* of vector i of group g */
#define GROUPS_PER_SUPER_BLOCK (16 / FASTINIT_LANES32)

/* Numbers 0 and 1 of the first half of the blocks, then of the second half. */
FASTINIT_INLINE philoxv f64_split(u32v c0) { return philox_split64(c0); }
FASTINIT_INLINE void f64_join(const philoxv x[4], u64v w[4])
{
    philox_join64(x[0], x[1], &w[0], &w[2]);
    philox_join64(x[2], x[3], &w[1], &w[3]);
}

/* An integer x < 2^52 under the exponent of 2^52 is the double 2^52 + x: the conversion that every ISA has. */
#define BITS_2P52 0x4330000000000000u
#define LOW_52    0x000FFFFFFFFFFFFFu

/* u / UNIT, u in [0, 1): 53 bits, as 21 bits times 2^32 under the exponent of 2^84, and 32 bits; all sums are exact. */
FASTINIT_INLINE f64v f64_unit_digits(u64v w)
{
    const u64v v = u64_shr(w, 11);
    const f64v high = f64_from_bits(u64_or(u64_shr(v, 32), u64_set1(0x4530000000000000)));
    const f64v low = f64_from_bits(u64_or(u64_and(v, u64_set1(0xFFFFFFFF)), u64_set1(BITS_2P52)));
    return f64_add(f64_sub(high, f64_set1(0x1p84 + 0x1p52)), low);
}

/* y / R in (0, 1), with 52 bits and a half step; R = sqrt(2) is where the logarithm's range begins. */
FASTINIT_INLINE f64v f64_radius_uniform(u64v w)
{
    const u64v v = u64_or(u64_and(w, u64_set1(LOW_52)), u64_set1(BITS_2P52));
    return f64_mul(f64_sub(f64_from_bits(v), f64_set1(0x1p52 - 0.5)), C(RADIUS_SCALE));
}

/* x in (-1, 1): 51 bits and a half step, never zero. */
FASTINIT_INLINE f64v f64_phase(u64v w)
{
    const u64v v = u64_or(u64_and(w, u64_set1(LOW_52)), u64_set1(BITS_2P52 | 1));
    return f64_mul(f64_sub(f64_from_bits(v), f64_set1(0x1p52 + 0x1p51)), f64_set1(0x1p-51));
}

/* A bit of an angle number that the phase does not use, as a sign. */
FASTINIT_INLINE u64v f64_spare_sign(u64v w) { return u64_and(w, u64_set1(SIGN_BIT)); }

#if !FASTINIT_HARDWARE_EXPONENT
/* x = m * 2^k, m in [1, 2), for x > 0. */
FASTINIT_INLINE f64v f64_exponent(f64v x)
{
    return f64_sub(f64_from_bits(u64_or(u64_shr(f64_bits(x), 52), u64_set1(BITS_2P52))), f64_set1(0x1p52 + 1023));
}
FASTINIT_INLINE f64v f64_mantissa(f64v x)
{
    return f64_from_bits(u64_or(u64_and(f64_bits(x), u64_set1(LOW_52)), u64_set1(0x3FF0000000000000)));
}
#endif
#undef BITS_2P52
#undef LOW_52

#define HORNER(p, t, c) f64_add(f64_mul(p, t), C(c))
FASTINIT_INLINE f64v f64_log_polynomial(f64v t)
{
    const f64v p = HORNER(HORNER(HORNER(C(LOG6), t, LOG5), t, LOG4), t, LOG3);
    return HORNER(HORNER(HORNER(p, t, LOG2), t, LOG1), t, LOG0);
}
FASTINIT_INLINE f64v f64_cos_polynomial(f64v t)
{
    const f64v p = HORNER(HORNER(HORNER(C(COS6), t, COS5), t, COS4), t, COS3);
    return HORNER(HORNER(HORNER(p, t, COS2), t, COS1), t, COS0);
}
FASTINIT_INLINE f64v f64_sin_polynomial(f64v t)
{
    const f64v p = HORNER(HORNER(HORNER(C(SIN6), t, SIN5), t, SIN4), t, SIN3);
    return HORNER(HORNER(HORNER(p, t, SIN2), t, SIN1), t, SIN0);
}
#undef HORNER
