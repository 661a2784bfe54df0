/* Errors of the transforms in units in the last place, and what they can give: float32 for every word that can differ,
 * float64 for a sample. All tiers have the bits of the scalar one (test_fastinit.c, test_transforms.c), so that one is measured.
 *
 *     test_accuracy        seconds: each distinct float of the words
 *     test_accuracy all    minutes and 0.5 GB: each of the 2^32 words, and the law that they give the radius
 *
 * The reference is libm in long double or, with -DREFERENCE_MPFR and -lmpfr -lgmp, MPFR (Fousse et al., 2007), which rounds
 * correctly.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../csrc/kernel_scalar.c"

#ifdef REFERENCE_MPFR
#include <mpfr.h>
static mpfr_t number, other, quarter_pi; /* of 128 bits */

static void prepare_reference(void)
{
    mpfr_inits2(128, number, other, quarter_pi, (mpfr_ptr)NULL);
    mpfr_const_pi(quarter_pi, MPFR_RNDN);
    mpfr_div_ui(quarter_pi, quarter_pi, 4, MPFR_RNDN);
}

static long double exact_half_log(long double y, long double root)
{
    mpfr_set_ld(number, y, MPFR_RNDN);
    mpfr_set_ld(other, root, MPFR_RNDN);
    mpfr_div(number, number, other, MPFR_RNDN);
    mpfr_log(number, number, MPFR_RNDN);
    return -0.5L * mpfr_get_ld(number, MPFR_RNDN);
}

static void exact_angle(long double x, long double *sine, long double *cosine)
{
    mpfr_mul_d(number, quarter_pi, (double)x, MPFR_RNDN);
    mpfr_sin_cos(number, other, number, MPFR_RNDN);
    *sine = mpfr_get_ld(number, MPFR_RNDN);
    *cosine = mpfr_get_ld(other, MPFR_RNDN);
}
#else
static void prepare_reference(void) {}

/* From the difference where the quotient is near 1. */
static long double exact_half_log(long double y, long double root) { return -0.5L * (y > 1 ? log1pl((y - root) / root) : logl(y / root)); }

static void exact_angle(long double x, long double *sine, long double *cosine)
{
    const long double angle = 0.785398163397448309616L * x;
    *sine = sinl(angle);
    *cosine = cosl(angle);
}
#endif

/* In units of the spacing of floats of `bits` bits at the exact value. */
static double ulps(long double got, long double exact, int bits)
{
    return (double)fabsl((got - exact) / ldexpl(1, ilogbl(exact) - (bits - 1)));
}

static void raise_to(double *largest, double x) { *largest = x > *largest ? x : *largest; }
static void lower_to(double *least, double x) { *least = x < *least ? x : *least; }

#define LOW_52_BITS UINT64_C(0x000FFFFFFFFFFFFF) /* all of a number that the radius uses: u nearest to 1 */

static int all_words;
static uint64_t wrong; /* zeros, NaNs, asymmetries, units that are not exact */

/* Words of 31 bits; those that differ only beyond 24 significant bits convert to one of two floats, but for the last
 * ones, which convert to 2^31. */
#define LAST_WORD ((UINT64_C(1) << 31) - 1)
static uint64_t next_word(uint64_t v)
{
    const uint64_t next = v + (all_words || v < 1 << 24 ? 1 : UINT64_C(1) << (ilogb((double)v) - 23));
    return v < LAST_WORD && next > LAST_WORD ? LAST_WORD : next;
}

/* How often each radius occurs, by its bits from those of 2^-12 on, and the largest distance of the law that this makes
 * from the exact one, P(radius <= r) = 1 - exp(-r * r / 2). */
enum { LEAST_RADIUS = (127 - 12) << 23, RADII = 15 << 23 };
static uint32_t *radius_counts;

static double distance_of_radius_law(void)
{
    double distance = 0, below = 0;
    for (uint32_t i = 0; i < RADII; i++)
        if (radius_counts[i]) {
            const double r = f32_from_bits(LEAST_RADIUS + i), law = -expm1(-r * r / 2);
            raise_to(&distance, law - below);
            below += radius_counts[i] * 0x1p-32;
            raise_to(&distance, below - law);
        }
    wrong += below != 1;
    return distance;
}

typedef struct {
    double ulps, least, largest;
    uint64_t falls; /* how often a larger input gives a smaller value, or the other way round */
} transform;

static void measure(transform *t, float got, double error)
{
    raise_to(&t->ulps, error);
    lower_to(&t->least, fabsf(got));
    raise_to(&t->largest, fabsf(got));
    wrong += !(fabsf(got) > 0 && fabsf(got) < INFINITY);
}

/* The logarithm of u = |y| / R: errors, u's distance from its ideal (n + 1/2) / 2^31, relative to it, and the radius. */
static transform measure_half_log(double *u_error, transform *radius)
{
    transform h = {.least = INFINITY};
    for (uint32_t top = 0; top < 2; top++) {
        float last_y = 0, last = INFINITY;
        long double exact = 0;
        for (uint64_t v = 0; v <= LAST_WORD; v = next_word(v)) {
            const uint32_t w = top ? ~(uint32_t)v : (uint32_t)v; /* a set top bit means the complement */
            const float y = fabsf(f32_radius_uniform(w)), got = f32_half_log(w), r = f32_sqrt(got) * 2;
            if (y != last_y)
                exact = exact_half_log(y, F32_R);
            last_y = y;
            measure(&h, got, ulps(got, exact, 24));
            measure(radius, r, ulps(r, 2 * sqrtl(exact), 24));
            h.falls += got > last;
            last = got;
            raise_to(u_error, fabs(y / (double)F32_R / (((double)v + 0.5) * 0x1p-31) - 1));
            if (radius_counts)
                radius_counts[f32_bits(r) - LEAST_RADIUS]++;
        }
    }
    return h;
}

/* Sine and cosine for the positive angles; the negative ones are their mirror image. */
static void measure_angle(transform *sine, transform *cosine, double *distance)
{
    float last_x = 0, last_s = 0, last_c = 1;
    long double exact_s = 0, exact_c = 0;
    for (uint64_t v = 0; v <= LAST_WORD; v = next_word(v)) {
        const uint32_t w = (uint32_t)v;
        const float x = f32_phase(w), t = x * x, c = f32_cos_polynomial(t), s = x * f32_sin_polynomial(t);
        wrong += !(x > 0) || f32_phase(0 - (w | 1)) != -x;
        if (x != last_x)
            exact_angle(x, &exact_s, &exact_c);
        last_x = x;
        measure(sine, s, ulps(s, exact_s, 24));
        measure(cosine, c, ulps(c, exact_c, 24));
        sine->falls += s < last_s;
        cosine->falls += c > last_c;
        last_s = s;
        last_c = c;
        raise_to(distance, fabs(x - (double)(w | 1) * 0x1p-31) / 2);
    }
}

static uint64_t inexact_units(void)
{
    uint64_t inexact = 0;
    for (uint64_t w = 0; w <= UINT32_MAX; w += all_words ? 1 : 251)
        inexact += f32_unit((uint32_t)w) != (double)(w >> 8) / (1 << 24);
    return inexact;
}

static void measure_float64(transform *h, transform *sine, transform *cosine)
{
    uint64_t w = 1;
    for (int i = 0; i < 3000000; i++) {
        w = w * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const uint64_t numbers[] = {w, w >> i % 50, ~(w >> i % 50)}; /* u near 0 and near 1 too */
        for (int k = 0; k < 3; k++) {
            const double got = f64_half_log(numbers[k]);
            raise_to(&h->ulps, ulps(got, exact_half_log(f64_radius_uniform(numbers[k]), F64_R), 53));
            wrong += !(got > 0);
        }
        const double x = f64_phase(w >> i % 50), t = x * x;
        long double exact_s, exact_c;
        exact_angle(x, &exact_s, &exact_c);
        raise_to(&sine->ulps, ulps(x * f64_sin_polynomial(t), exact_s, 53));
        raise_to(&cosine->ulps, ulps(f64_cos_polynomial(t), exact_c, 53));
    }
    wrong += !(f64_half_log(LOW_52_BITS) > 0);
}

static void print_transform(const char *name, transform t)
{
    printf("%s: error %.4f ulp, values from %.9g to %.9g, not monotonic at %llu words\n", name, t.ulps, t.least, t.largest,
           (unsigned long long)t.falls);
}

int main(int argc, char **argv)
{
    transform sine = {.least = INFINITY}, cosine = sine, radius = sine, h, h64 = sine, sine64 = sine, cosine64 = sine;
    double u_error = 0, angle_distance = 0;

    prepare_reference();
    all_words = argc == 2 && strcmp(argv[1], "all") == 0;
    radius_counts = all_words ? calloc(RADII, sizeof *radius_counts) : NULL;
    h = measure_half_log(&u_error, &radius);
    measure_angle(&sine, &cosine, &angle_distance);
    measure_float64(&h64, &sine64, &cosine64);
    const uint64_t inexact = inexact_units();

    printf("float32, all words: h %.2f, cosine %.2f, sine %.2f ulp\n", h.ulps, cosine.ulps, sine.ulps);
    printf("float64, sampled: h %.2f, cosine %.2f, sine %.2f ulp\n", h64.ulps, cosine64.ulps, sine64.ulps);
    print_transform("h", h);
    print_transform("radius", radius);
    print_transform("cosine", cosine);
    print_transform("sine", sine);
    printf("u within 2^%.2f of its ideal; angle within 2^%.2f of its law; float64 radius from %.2e to %.4f\n", log2(u_error),
           log2(angle_distance), 2 * sqrt(f64_half_log(LOW_52_BITS)), 2 * sqrt(f64_half_log(0)));
    if (radius_counts)
        printf("sup|F_hat - F| of the radius: 2^%.3f\n", log2(distance_of_radius_law()));
    printf("zeros, NaNs and asymmetries: %llu; inexact units: %llu\n", (unsigned long long)wrong, (unsigned long long)inexact);

    const double limit = 2, limit64 = 4;
    const int good = wrong == 0 && inexact == 0 && u_error < 0x1p-22 && h.ulps <= limit && cosine.ulps <= limit && sine.ulps <= limit &&
                     h64.ulps <= limit64 && cosine64.ulps <= limit64 && sine64.ulps <= limit64;
    printf("%d passed, %d failed\n", good, !good);
    return !good;
}
