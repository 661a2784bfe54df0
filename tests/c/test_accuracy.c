/* Errors of the transforms in units in the last place: float32 for every word that can differ,
 * float64 for a sample. All tiers have the bits of the scalar one (test_fastinit.c), so that
 * one is measured. */
#include <math.h>
#include <stdio.h>

#include "../../csrc/kernel_scalar.c"

/* In units of the spacing of floats (doubles) at the exact value. */
static double ulps32(float got, double exact) { return fabs(((double)got - exact) / ldexp(1, ilogb(exact) - 23)); }
static double ulps64(double got, long double exact) { return (double)fabsl((got - exact) / ldexpl(1, ilogbl(exact) - 52)); }

#define LOW_52_BITS UINT64_C(0x000FFFFFFFFFFFFF) /* all of a number that the radius uses: u nearest to 1 */

static void raise_to(double *largest, double x) { *largest = x > *largest ? x : *largest; }

/* The logarithm of u = |y| / R, from the difference where it is near 1. */
static double h_error32(uint32_t w)
{
    const double y = fabs((double)f32_radius_uniform(w)), root = F32_R;
    return ulps32(f32_half_log(w), -0.5 * (y > 1 ? log1p((y - root) / root) : log(y / root)));
}

static double h_error64(uint64_t w)
{
    const long double y = f64_radius_uniform(w), root = F64_R;
    return ulps64(f64_half_log(w), -0.5L * (y > 1 ? log1pl((y - root) / root) : logl(y / root)));
}

/* How far u is from its ideal, (n + 1/2) / 2^31, relative to it. */
static double u_error32(uint32_t w)
{
    const double y = fabs((double)f32_radius_uniform(w)), n = w >> 31 ? (double)~w : (double)w;
    return fabs(y / F32_R / ((n + 0.5) * 0x1p-31) - 1);
}

int main(void)
{
    const double quarter = atan(1);
    double h = 0, cosine = 0, sine = 0, h_wide = 0, cosine_wide = 0, sine_wide = 0, u = 0;
    uint32_t zeros = 0;

    /* Words whose 31 bits differ only beyond 24 significant ones convert to one of two floats: take both. A set top bit
     * means the complement. */
    for (uint64_t v = 0; v < UINT64_C(1) << 31; v += v < 1 << 24 ? 1 : UINT64_C(1) << (ilogb((double)v) - 23))
        for (uint32_t top = 0; top < 2; top++) {
            const uint32_t w = top ? ~(uint32_t)v : (uint32_t)v;
            raise_to(&h, h_error32(w));
            raise_to(&u, u_error32(w));
            zeros += !(f32_half_log(w) > 0);
        }
    for (uint64_t v = 0; v < UINT64_C(1) << 31; v += v < 1 << 24 ? 1 : UINT64_C(1) << (ilogb((double)v) - 23)) {
        const float x = f32_phase((uint32_t)v), t = x * x;
        raise_to(&cosine, ulps32(f32_cos_polynomial(t), cos(quarter * x)));
        raise_to(&sine, ulps32(x * f32_sin_polynomial(t), sin(quarter * x)));
        zeros += x == 0;
    }
    const long double quarter_wide = atanl(1);
    uint64_t w = 1;
    for (int i = 0; i < 3000000; i++) {
        w = w * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        raise_to(&h_wide, h_error64(w));
        raise_to(&h_wide, h_error64(w >> i % 50));    /* u near 0 */
        raise_to(&h_wide, h_error64(~(w >> i % 50))); /* and near 1 */
        zeros += !(f64_half_log(~(w >> i % 50)) > 0);
        const double x = f64_phase(w >> i % 50), t = x * x;
        raise_to(&cosine_wide, ulps64(f64_cos_polynomial(t), cosl(quarter_wide * x)));
        raise_to(&sine_wide, ulps64(x * f64_sin_polynomial(t), sinl(quarter_wide * x)));
    }
    zeros += !(f64_half_log(LOW_52_BITS) > 0);
    printf("float32, all words: h %.2f, cosine %.2f, sine %.2f ulp; zeros %u\n", h, cosine, sine, (unsigned)zeros);
    printf("float64, sampled: h %.2f, cosine %.2f, sine %.2f ulp\n", h_wide, cosine_wide, sine_wide);
    printf("float32, all words: u within 2^%.2f of its ideal; largest radius %.4f and %.4f, smallest %.2e and %.2e\n", log2(u),
           2 * sqrt(f32_half_log(0)), 2 * sqrt(f64_half_log(0)), 2 * sqrt(f32_half_log(0x7FFFFFFF)), 2 * sqrt(f64_half_log(LOW_52_BITS)));
    const int good = h <= 2 && cosine <= 2 && sine <= 2 && h_wide <= 4 && cosine_wide <= 4 && sine_wide <= 4 && zeros == 0 && u < 0x1p-22;
    printf("%d passed, %d failed\n", good, !good);
    return !good;
}
