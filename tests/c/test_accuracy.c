/* Errors of the transforms in units in the last place: float32 for every word that can differ,
 * float64 for a sample. All tiers have the bits of the scalar one (test_fastinit.c), so that
 * one is measured. */
#include <math.h>
#include <stdio.h>

#include "../../csrc/kernel_scalar.c"

/* In units of the spacing of floats (doubles) at the exact value. */
static double ulps32(float got, double exact) { return fabs(((double)got - exact) / ldexp(1, ilogb(exact) - 23)); }
static double ulps64(double got, long double exact) { return (double)fabsl((got - exact) / ldexpl(1, ilogbl(exact) - 52)); }

static void raise_to(double *largest, double x) { *largest = x > *largest ? x : *largest; }

/* The logarithm's argument as the stream defines it: 1 - q where g is q, else the float u. */
static double r2_error32(uint32_t w)
{
    const float q = f32_fraction(w), u = w >> 31 ? 1 - q : q;
    const double exact = u >= 0x1.6A09E6p-1f ? log1p(-(double)q) : log(u);
    return ulps32(f32_radius2(w), -2 * exact);
}

static double r2_error64(uint64_t w)
{
    const double q = f64_fraction(w), u = w >> 63 ? 1 - q : q;
    const long double exact = u >= 0x1.6A09E667F3BCDp-1 ? log1pl(-(long double)q) : logl(u);
    return ulps64(f64_radius2(w), -2 * exact);
}

int main(void)
{
    const double quarter = atan(1);
    double r2 = 0, cosine = 0, sine = 0, r2_wide = 0, cosine_wide = 0, sine_wide = 0;
    uint32_t zeros = 0;

    /* Words whose 31 bits differ only beyond 24 significant ones convert to one of two floats: take both. */
    for (uint64_t v = 0; v < UINT64_C(1) << 31; v += v < 1 << 24 ? 1 : UINT64_C(1) << (ilogb((double)v) - 23))
        for (uint32_t top = 0; top < 2; top++) {
            raise_to(&r2, r2_error32((uint32_t)v | top << 31));
            zeros += f32_radius2((uint32_t)v | top << 31) <= 0;
        }
    for (uint64_t v = 0; v < UINT64_C(1) << 29; v += v < 1 << 22 ? 1 : UINT64_C(1) << (ilogb((double)v) - 22)) {
        const float x = f32_phase((uint32_t)v), t = x * x;
        raise_to(&cosine, ulps32(f32_cos_polynomial(t), cos(quarter * x)));
        raise_to(&sine, ulps32(x * f32_sin_polynomial(t), sin(quarter * x)));
        zeros += x == 0;
    }
    const long double quarter_wide = atanl(1);
    uint64_t w = 1;
    for (int i = 0; i < 3000000; i++) {
        w = w * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        raise_to(&r2_wide, r2_error64(w));
        raise_to(&r2_wide, r2_error64(w >> i % 50)); /* small q, both far and near u = 1 */
        raise_to(&r2_wide, r2_error64(w >> i % 50 | UINT64_C(1) << 63));
        const double x = f64_phase(w >> i % 50), t = x * x;
        raise_to(&cosine_wide, ulps64(f64_cos_polynomial(t), cosl(quarter_wide * x)));
        raise_to(&sine_wide, ulps64(x * f64_sin_polynomial(t), sinl(quarter_wide * x)));
    }
    printf("float32, all words: r2 %.2f, cosine %.2f, sine %.2f ulp; zeros %u\n", r2, cosine, sine, (unsigned)zeros);
    printf("float64, sampled: r2 %.2f, cosine %.2f, sine %.2f ulp\n", r2_wide, cosine_wide, sine_wide);
    const int good = r2 <= 2 && cosine <= 2 && sine <= 2 && r2_wide <= 4 && cosine_wide <= 4 && sine_wide <= 4 && zeros == 0;
    printf("%d passed, %d failed\n", good, !good);
    return !good;
}
